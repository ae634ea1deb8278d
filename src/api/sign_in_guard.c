/* SPDX-License-Identifier: Apache-2.0 */
#include "api/sign_in_guard.h"

#include <pthread.h>
#include <sodium.h>

#include "api/source.h"
#include "base/memory.h"
#include "base/string.h"

enum { SETS = 1024, WAYS = 4, FREE_FAILURES = 2, DOUBLINGS_MAX = 6 };
static const Usec FIRST_DELAY = 50 * USEC_PER_MSEC;
static const Usec NAME_MEMORY = 900 * USEC_PER_SEC;

typedef struct GuardEntry {
    uint64_t tag; /* keyed hash; 0 = empty */
    uint32_t failures;
    Usec last;
} GuardEntry;

struct SignInGuard {
    pthread_mutex_t lock;
    uint8_t key[crypto_shorthash_KEYBYTES];
    GuardEntry entries[2][SETS][WAYS]; /* sources, names: neither pushes out the other */
};

enum { SOURCES, NAMES };

SignInGuard *sign_in_guard_new(Random *random)
{
    SignInGuard *guard = NEW(SignInGuard);
    ASSERT(pthread_mutex_init(&guard->lock, NULL) == 0);
    random_bytes(random, guard->key, sizeof(guard->key));
    return guard;
}

SignInGuard *sign_in_guard_free(SignInGuard *guard)
{
    if (!guard)
        return NULL;
    (void)pthread_mutex_destroy(&guard->lock);
    free(guard);
    return NULL;
}

static uint64_t make_tag(const SignInGuard *guard, const char *key)
{
    uint8_t bytes[crypto_shorthash_BYTES];
    uint64_t tag;
    (void)crypto_shorthash(bytes, (const uint8_t *)key, strlen(key), guard->key);
    memcpy(&tag, bytes, sizeof(tag));
    return tag ?: 1;
}

static GuardEntry *find_entry(SignInGuard *guard, unsigned kind, uint64_t tag)
{
    GuardEntry *set = guard->entries[kind][tag % SETS];
    for (unsigned i = 0; i < WAYS; i++)
        if (set[i].tag == tag)
            return &set[i];
    return NULL;
}

static GuardEntry *take_entry(SignInGuard *guard, unsigned kind, uint64_t tag)
{
    GuardEntry *found = find_entry(guard, kind, tag);
    if (found)
        return found;
    GuardEntry *set = guard->entries[kind][tag % SETS], *oldest = set;
    for (unsigned i = 1; i < WAYS; i++)
        if (set[i].last < oldest->last)
            oldest = &set[i];
    *oldest = (GuardEntry){.tag = tag};
    return oldest;
}

static uint32_t count_failure(SignInGuard *guard, unsigned kind, const char *key, Usec memory, Usec now)
{
    GuardEntry *entry = take_entry(guard, kind, make_tag(guard, key));
    if (entry->last + memory <= now)
        entry->failures = 0;
    entry->last = now;
    return ++entry->failures;
}

Usec sign_in_guard_wait(SignInGuard *guard, const char *source, unsigned maximum, Usec lock, Usec now)
{
    char key[SOURCE_SIZE];
    Usec wait = 0;
    source_of_address(source, key);
    ASSERT(pthread_mutex_lock(&guard->lock) == 0);
    const GuardEntry *entry = find_entry(guard, SOURCES, make_tag(guard, key));
    if (entry && entry->failures >= maximum && entry->last + lock > now)
        wait = entry->last + lock - now;
    ASSERT(pthread_mutex_unlock(&guard->lock) == 0);
    return wait;
}

Usec sign_in_guard_failed(SignInGuard *guard, const char *source, const char *username, Usec memory, Usec now)
{
    char key[SOURCE_SIZE];
    source_of_address(source, key);
    ASSERT(pthread_mutex_lock(&guard->lock) == 0);
    (void)count_failure(guard, SOURCES, key, memory, now);
    uint32_t failures = count_failure(guard, NAMES, username, NAME_MEMORY, now);
    ASSERT(pthread_mutex_unlock(&guard->lock) == 0);
    if (failures <= FREE_FAILURES)
        return 0;
    return FIRST_DELAY << MIN(failures - FREE_FAILURES - 1, (uint32_t)DOUBLINGS_MAX - 1);
}

void sign_in_guard_succeeded(SignInGuard *guard, const char *username)
{
    ASSERT(pthread_mutex_lock(&guard->lock) == 0);
    GuardEntry *entry = find_entry(guard, NAMES, make_tag(guard, username));
    if (entry)
        entry->failures = 0;
    ASSERT(pthread_mutex_unlock(&guard->lock) == 0);
}
