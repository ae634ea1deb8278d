/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* What the database says about tokens and memberships, remembered for reads on the loop's thread, so that a
 * read costs one query and not three. It holds only while nobody writes: access_cache_drop() makes all of it
 * void, and is called after every write job of a person's request and before its answer, so a revocation acts
 * at once. Nothing is remembered about what does not exist.
 *
 * A reader asks for the generation before its snapshot begins and gives it to every call: what it puts in
 * after a later drop is void from the start. access_cache_drop() and access_cache_generation(): any thread;
 * all others: the loop's thread. For the embedded database only, which no other process writes to. */

#include "store/statements.h"

typedef struct AccessCache AccessCache;

enum { ACCESS_CACHE_HASH_SIZE = 32 };

AccessCache *access_cache_new(void);
AccessCache *access_cache_free(AccessCache *cache);
DEFINE_CLEANUP(AccessCache, access_cache_free);

void access_cache_drop(AccessCache *cache);
uint64_t access_cache_generation(AccessCache *cache);

/* Strings of a row that was found belong to the cache: copy them before the next call. */
bool access_cache_get_token(AccessCache *cache, uint64_t generation,
                            const uint8_t hash[static ACCESS_CACHE_HASH_SIZE], TokenFindRow *ret_row);
void access_cache_put_token(AccessCache *cache, uint64_t generation,
                            const uint8_t hash[static ACCESS_CACHE_HASH_SIZE], const TokenFindRow *row);
/* The use is being noted in the database. */
void access_cache_note_use(AccessCache *cache, const uint8_t hash[static ACCESS_CACHE_HASH_SIZE],
                           int64_t last_used_at);

/* The username "" stands for the tenant itself. */
bool access_cache_get_membership(AccessCache *cache, uint64_t generation, const char *tenant,
                                 const char *username, MembershipGetRow *ret_row);
void access_cache_put_membership(AccessCache *cache, uint64_t generation, const char *tenant,
                                 const char *username, const MembershipGetRow *row);
