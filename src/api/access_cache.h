/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* What the database says about tokens and rights, remembered for reads on the loop's thread, so that a read
 * costs one query and not three. It holds while nobody changes a table that says who may do what: the
 * generation is the store's count of such changes (store_watched_changes()), which grows after the commit and
 * before the answer, so a revocation acts at once. Nothing is remembered about what does not exist.
 *
 * A reader asks for the generation before its snapshot begins and gives it to every call: what it puts in
 * after a later change is void from the start. The loop's thread only. For the embedded database only, which
 * no other process writes to. */

#include "api/rights.h"
#include "store/statements.h"

typedef struct AccessCache AccessCache;

enum { ACCESS_CACHE_HASH_SIZE = 32 };

AccessCache *access_cache_new(void);
AccessCache *access_cache_free(AccessCache *cache);
DEFINE_CLEANUP(AccessCache, access_cache_free);

/* Strings of a row that was found belong to the cache: copy them before the next call. */
bool access_cache_get_token(AccessCache *cache, uint64_t generation,
                            const uint8_t hash[static ACCESS_CACHE_HASH_SIZE], TokenFindRow *ret_row);
void access_cache_put_token(AccessCache *cache, uint64_t generation,
                            const uint8_t hash[static ACCESS_CACHE_HASH_SIZE], const TokenFindRow *row);
/* The use is being noted in the database. */
void access_cache_note_use(AccessCache *cache, const uint8_t hash[static ACCESS_CACHE_HASH_SIZE],
                           int64_t last_used_at);

/* The tenant "" stands for the installation alone. Without the roles they are made of. */
bool access_cache_get_rights(AccessCache *cache, uint64_t generation, const char *tenant,
                             const char *username, AccessRights *ret_rights);
void access_cache_put_rights(AccessCache *cache, uint64_t generation, const char *tenant,
                             const char *username, const AccessRights *rights);
