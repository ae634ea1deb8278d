/* SPDX-License-Identifier: Apache-2.0 */
#include "base/map.h"

#include <sodium.h>
#include <string.h>
#include <threads.h>

#include "base/memory.h"
#include "base/sodium_start.h"
#include "base/string.h"

/* The entries lie in an array in the order of insertion; removed ones stay as holes (key NULL) until the next
 * growth. The index is a table of open addressing with linear probing whose slots hold the entry's number
 * plus one. A hole keeps its slot, so that probing goes on behind it. */

typedef struct Entry {
    char *key; /* NULL = removed */
    void *value;
    uint64_t hash;
} Entry;

struct StringMap {
    StringMapFree free_value;
    Entry *entries;
    size_t used, count; /* used counts the holes */
    uint32_t *slots;
    size_t slot_count; /* a power of two, at least 4/3 of used */
};

enum { SLOTS_FIRST = 16 };

static uint8_t hash_key[crypto_shorthash_KEYBYTES];

static void hash_start(void)
{
    sodium_start();
    randombytes_buf(hash_key, sizeof(hash_key));
}

static uint64_t hash_string(const char *text)
{
    static once_flag flag = ONCE_FLAG_INIT;
    call_once(&flag, hash_start);
    uint64_t hash;
    _Static_assert(sizeof(hash) == crypto_shorthash_BYTES, "SipHash-2-4 gives 64 bits");
    (void)crypto_shorthash((uint8_t *)&hash, (const uint8_t *)text, strlen(text), hash_key);
    return hash;
}

StringMap *string_map_new(StringMapFree free_value)
{
    StringMap *map = NEW(StringMap);
    map->free_value = free_value;
    return map;
}

StringMap *string_map_free(StringMap *map)
{
    if (!map)
        return NULL;
    for (size_t i = 0; i < map->used; i++) {
        if (map->entries[i].key && map->free_value)
            map->free_value(map->entries[i].value);
        free(map->entries[i].key);
    }
    free(map->entries);
    free(map->slots);
    free(map);
    return NULL;
}

static Entry *find(const StringMap *map, const char *key, uint64_t hash)
{
    if (map->slot_count == 0)
        return NULL;
    for (size_t i = hash & (map->slot_count - 1); map->slots[i]; i = (i + 1) & (map->slot_count - 1)) {
        Entry *entry = &map->entries[map->slots[i] - 1];
        if (entry->hash == hash && entry->key && strcmp(entry->key, key) == 0)
            return entry;
    }
    return NULL;
}

static void put_slot(StringMap *map, size_t number)
{
    size_t i = map->entries[number].hash & (map->slot_count - 1);
    while (map->slots[i])
        i = (i + 1) & (map->slot_count - 1);
    map->slots[i] = (uint32_t)number + 1;
}

/* Closes the holes and makes room for twice the entries there are. */
static void rebuild(StringMap *map)
{
    size_t kept = 0;
    for (size_t i = 0; i < map->used; i++)
        if (map->entries[i].key)
            map->entries[kept++] = map->entries[i];
    map->used = kept;
    size_t slot_count = SLOTS_FIRST;
    while (slot_count / 4 * 3 < kept * 2)
        slot_count *= 2;
    ASSERT(slot_count <= UINT32_MAX);
    free(map->slots);
    map->slots = NEW_ARRAY(uint32_t, slot_count);
    map->slot_count = slot_count;
    map->entries = memory_resize_array(map->entries, slot_count / 4 * 3, sizeof(Entry));
    for (size_t i = 0; i < kept; i++)
        put_slot(map, i);
}

void string_map_set(StringMap *map, const char *key, void *value)
{
    uint64_t hash = hash_string(key);
    Entry *entry = find(map, key, hash);
    if (entry) {
        void *old = entry->value;
        entry->value = value;
        if (map->free_value && old != value)
            map->free_value(old);
        return;
    }
    if (map->used >= map->slot_count / 4 * 3)
        rebuild(map);
    map->entries[map->used] = (Entry){.key = string_duplicate(key), .value = value, .hash = hash};
    put_slot(map, map->used);
    map->used++;
    map->count++;
}

void *string_map_get(const StringMap *map, const char *key)
{
    const Entry *entry = find(map, key, hash_string(key));
    return entry ? entry->value : NULL;
}

bool string_map_has(const StringMap *map, const char *key)
{
    return find(map, key, hash_string(key));
}

static bool take_entry(StringMap *map, const char *key, void **ret_value)
{
    Entry *entry = find(map, key, hash_string(key));
    if (!entry)
        return false;
    *ret_value = entry->value;
    free(entry->key);
    entry->key = NULL;
    entry->value = NULL;
    map->count--;
    return true;
}

void *string_map_take(StringMap *map, const char *key)
{
    void *value = NULL;
    (void)take_entry(map, key, &value);
    return value;
}

bool string_map_remove(StringMap *map, const char *key)
{
    void *value = NULL;
    if (!take_entry(map, key, &value))
        return false;
    if (map->free_value)
        map->free_value(value);
    return true;
}

size_t string_map_count(const StringMap *map)
{
    return map->count;
}

bool string_map_next(const StringMap *map, StringMapIterator *iterator)
{
    while (iterator->position < map->used) {
        const Entry *entry = &map->entries[iterator->position++];
        if (!entry->key)
            continue;
        iterator->key = entry->key;
        iterator->value = entry->value;
        return true;
    }
    return false;
}
