/* SPDX-License-Identifier: Apache-2.0 */
#include "api/rate_limit.h"

#include <pthread.h>
#include <sodium.h>

#include "base/memory.h"
#include "base/string.h"

enum { SETS = 1024, WAYS = 4 };
static const uint64_t NSEC_PER_USEC = 1000, NSEC_PER_SEC = 1000000000;

/* The bucket as the time at which it will be full again: a request moves it on by one interval, and it may
 * not be further ahead than a second. */
typedef struct Bucket {
    uint64_t tag;     /* keyed hash; 0 = empty */
    uint64_t full_at; /* ns */
} Bucket;

typedef struct BucketTable {
    pthread_mutex_t lock;
    Bucket buckets[SETS][WAYS];
} BucketTable;

struct RateLimiter {
    uint8_t key[crypto_shorthash_KEYBYTES];
    BucketTable tables[_RATE_MAX];
};

RateLimiter *rate_limiter_new(Random *random)
{
    RateLimiter *limiter = NEW(RateLimiter);
    random_bytes(random, limiter->key, sizeof(limiter->key));
    for (unsigned i = 0; i < _RATE_MAX; i++)
        ASSERT(pthread_mutex_init(&limiter->tables[i].lock, NULL) == 0);
    return limiter;
}

RateLimiter *rate_limiter_free(RateLimiter *limiter)
{
    if (!limiter)
        return NULL;
    for (unsigned i = 0; i < _RATE_MAX; i++)
        (void)pthread_mutex_destroy(&limiter->tables[i].lock);
    free(limiter);
    return NULL;
}

static Bucket *find_bucket(BucketTable *table, uint64_t tag)
{
    Bucket *set = table->buckets[tag % SETS], *oldest = set;
    for (unsigned i = 0; i < WAYS; i++) {
        if (set[i].tag == tag)
            return &set[i];
        if (set[i].full_at < oldest->full_at)
            oldest = &set[i];
    }
    *oldest = (Bucket){.tag = tag};
    return oldest;
}

Usec rate_limiter_take(RateLimiter *limiter, RateKind kind, const void *key, size_t size, uint64_t rate,
                       Usec now)
{
    uint8_t bytes[crypto_shorthash_BYTES];
    uint64_t tag, now_ns = now * NSEC_PER_USEC, interval = NSEC_PER_SEC / MAX(rate, (uint64_t)1), wait = 0;
    BucketTable *table = &limiter->tables[kind];
    (void)crypto_shorthash(bytes, key, size, limiter->key);
    memcpy(&tag, bytes, sizeof(tag));
    ASSERT(pthread_mutex_lock(&table->lock) == 0);
    Bucket *bucket = find_bucket(table, tag ?: 1);
    uint64_t full_at = MAX(bucket->full_at, now_ns) + interval;
    if (full_at > now_ns + MAX(NSEC_PER_SEC, interval))
        wait = full_at - now_ns - MAX(NSEC_PER_SEC, interval);
    else
        bucket->full_at = full_at;
    ASSERT(pthread_mutex_unlock(&table->lock) == 0);
    return wait == 0 ? 0 : MAX(wait / NSEC_PER_USEC, (Usec)1);
}
