/* SPDX-License-Identifier: Apache-2.0 */
#include "api/access_cache.h"

#include <sodium.h>
#include <stdatomic.h>

#include "base/memory.h"
#include "base/string.h"

/* One place for each key: who comes later replaces who was there. */
enum { PLACES = 512 };

typedef struct TokenEntry {
    uint64_t generation; /* 0 = empty */
    uint8_t hash[ACCESS_CACHE_HASH_SIZE];
    TokenFindRow row; /* strings owned */
} TokenEntry;

typedef struct MembershipEntry {
    uint64_t generation;
    char *tenant, *username;
    MembershipGetRow row;
} MembershipEntry;

struct AccessCache {
    _Atomic(uint64_t) generation;
    TokenEntry tokens[PLACES];
    MembershipEntry memberships[PLACES];
};

AccessCache *access_cache_new(void)
{
    AccessCache *cache = NEW(AccessCache);
    atomic_init(&cache->generation, 1);
    return cache;
}

static void token_entry_clear(TokenEntry *entry)
{
    free((char *)(uintptr_t)entry->row.id);
    free((char *)(uintptr_t)entry->row.username);
    free((char *)(uintptr_t)entry->row.default_tenant);
    free((char *)(uintptr_t)entry->row.role);
    free((char *)(uintptr_t)entry->row.kind);
    free((char *)(uintptr_t)entry->row.scope);
    sodium_memzero(entry, sizeof(*entry));
}

static void membership_entry_clear(MembershipEntry *entry)
{
    free(entry->tenant);
    free(entry->username);
    free((char *)(uintptr_t)entry->row.role);
    *entry = (MembershipEntry){0};
}

AccessCache *access_cache_free(AccessCache *cache)
{
    if (!cache)
        return NULL;
    for (size_t i = 0; i < PLACES; i++) {
        token_entry_clear(&cache->tokens[i]);
        membership_entry_clear(&cache->memberships[i]);
    }
    free(cache);
    return NULL;
}

void access_cache_drop(AccessCache *cache)
{
    atomic_fetch_add(&cache->generation, 1);
}

uint64_t access_cache_generation(AccessCache *cache)
{
    return atomic_load(&cache->generation);
}

/* The hash is one of a random secret: any two bytes of it are as good as others. */
static TokenEntry *token_place(AccessCache *cache, const uint8_t *hash)
{
    return &cache->tokens[((unsigned)hash[0] << 8 | hash[1]) % PLACES];
}

bool access_cache_get_token(AccessCache *cache, uint64_t generation,
                            const uint8_t hash[static ACCESS_CACHE_HASH_SIZE], TokenFindRow *ret_row)
{
    const TokenEntry *entry = token_place(cache, hash);
    if (entry->generation != generation || sodium_memcmp(entry->hash, hash, ACCESS_CACHE_HASH_SIZE) != 0)
        return false;
    *ret_row = entry->row;
    return true;
}

void access_cache_put_token(AccessCache *cache, uint64_t generation,
                            const uint8_t hash[static ACCESS_CACHE_HASH_SIZE], const TokenFindRow *row)
{
    TokenEntry *entry = token_place(cache, hash);
    token_entry_clear(entry);
    entry->generation = generation;
    memcpy(entry->hash, hash, ACCESS_CACHE_HASH_SIZE);
    entry->row = *row;
    entry->row.id = string_duplicate(row->id);
    entry->row.username = string_duplicate(row->username);
    entry->row.default_tenant = string_duplicate(row->default_tenant);
    entry->row.role = string_duplicate(row->role);
    entry->row.kind = string_duplicate(row->kind);
    entry->row.scope = string_duplicate(row->scope);
}

void access_cache_note_use(AccessCache *cache, const uint8_t hash[static ACCESS_CACHE_HASH_SIZE],
                           int64_t last_used_at)
{
    TokenEntry *entry = token_place(cache, hash);
    if (entry->generation != 0 && sodium_memcmp(entry->hash, hash, ACCESS_CACHE_HASH_SIZE) == 0)
        entry->row.last_used_at = last_used_at;
}

static MembershipEntry *membership_place(AccessCache *cache, const char *tenant, const char *username)
{
    uint32_t sum = 2166136261; /* FNV-1a: a collision only costs a query */
    for (const char *c = tenant; *c; c++)
        sum = (sum ^ (uint8_t)*c) * 16777619;
    for (const char *c = username; *c; c++)
        sum = (sum ^ (uint8_t)*c) * 16777619;
    return &cache->memberships[sum % PLACES];
}

bool access_cache_get_membership(AccessCache *cache, uint64_t generation, const char *tenant,
                                 const char *username, MembershipGetRow *ret_row)
{
    const MembershipEntry *entry = membership_place(cache, tenant, username);
    if (entry->generation != generation || !string_equal(entry->tenant, tenant) ||
        !string_equal(entry->username, username))
        return false;
    *ret_row = entry->row;
    return true;
}

void access_cache_put_membership(AccessCache *cache, uint64_t generation, const char *tenant,
                                 const char *username, const MembershipGetRow *row)
{
    MembershipEntry *entry = membership_place(cache, tenant, username);
    membership_entry_clear(entry);
    entry->generation = generation;
    entry->tenant = string_duplicate(tenant);
    entry->username = string_duplicate(username);
    entry->row = *row;
    entry->row.role = string_duplicate(row->role);
}
