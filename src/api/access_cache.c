/* SPDX-License-Identifier: Apache-2.0 */
#include "api/access_cache.h"

#include <sodium.h>

#include "base/memory.h"
#include "base/string.h"

/* One place for each key: who comes later replaces who was there. */
enum { PLACES = 512 };

typedef struct TokenEntry {
    bool is_used;
    uint64_t generation;
    uint8_t hash[ACCESS_CACHE_HASH_SIZE];
    TokenFindRow row; /* strings owned */
} TokenEntry;

typedef struct RightsEntry {
    bool is_used;
    uint64_t generation;
    char *tenant, *username;
    AccessRights rights; /* its string is owned */
} RightsEntry;

struct AccessCache {
    TokenEntry tokens[PLACES];
    RightsEntry rights[PLACES];
};

AccessCache *access_cache_new(void)
{
    return NEW(AccessCache);
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

static void rights_entry_clear(RightsEntry *entry)
{
    free(entry->tenant);
    free(entry->username);
    free((char *)(uintptr_t)entry->rights.role);
    *entry = (RightsEntry){0};
}

AccessCache *access_cache_free(AccessCache *cache)
{
    if (!cache)
        return NULL;
    for (size_t i = 0; i < PLACES; i++) {
        token_entry_clear(&cache->tokens[i]);
        rights_entry_clear(&cache->rights[i]);
    }
    free(cache);
    return NULL;
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
    if (!entry->is_used || entry->generation != generation ||
        sodium_memcmp(entry->hash, hash, ACCESS_CACHE_HASH_SIZE) != 0)
        return false;
    *ret_row = entry->row;
    return true;
}

void access_cache_put_token(AccessCache *cache, uint64_t generation,
                            const uint8_t hash[static ACCESS_CACHE_HASH_SIZE], const TokenFindRow *row)
{
    TokenEntry *entry = token_place(cache, hash);
    token_entry_clear(entry);
    entry->is_used = true;
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
    if (entry->is_used && sodium_memcmp(entry->hash, hash, ACCESS_CACHE_HASH_SIZE) == 0)
        entry->row.last_used_at = last_used_at;
}

static RightsEntry *rights_place(AccessCache *cache, const char *tenant, const char *username)
{
    uint32_t sum = 2166136261; /* FNV-1a: a collision only costs a query */
    for (const char *c = tenant; *c; c++)
        sum = (sum ^ (uint8_t)*c) * 16777619;
    for (const char *c = username; *c; c++)
        sum = (sum ^ (uint8_t)*c) * 16777619;
    return &cache->rights[sum % PLACES];
}

bool access_cache_get_rights(AccessCache *cache, uint64_t generation, const char *tenant,
                             const char *username, AccessRights *ret_rights)
{
    const RightsEntry *entry = rights_place(cache, tenant, username);
    if (!entry->is_used || entry->generation != generation || !string_equal(entry->tenant, tenant) ||
        !string_equal(entry->username, username))
        return false;
    *ret_rights = entry->rights;
    return true;
}

void access_cache_put_rights(AccessCache *cache, uint64_t generation, const char *tenant,
                             const char *username, const AccessRights *rights)
{
    RightsEntry *entry = rights_place(cache, tenant, username);
    rights_entry_clear(entry);
    entry->is_used = true;
    entry->generation = generation;
    entry->tenant = string_duplicate(tenant);
    entry->username = string_duplicate(username);
    entry->rights = *rights;
    entry->rights.role = string_duplicate(rights->role);
    entry->rights.roles = NULL;
    entry->rights.role_count = 0;
}
