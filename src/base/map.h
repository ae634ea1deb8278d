/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* A hash map from strings (copied) to pointers (borrowed unless a free function is given). Hash keyed with a
 * random value per process (SipHash), so that outside names cannot collide on purpose. Iteration is in order
 * of insertion, so results do not depend on the hash. Removal keeps the order. One thread at a time. */

#include "base/macros.h"

typedef struct StringMap StringMap;
typedef void (*StringMapFree)(void *value);

StringMap *string_map_new(StringMapFree free_value /* or NULL */);
StringMap *string_map_free(StringMap *map);
DEFINE_CLEANUP(StringMap, string_map_free);
#define _cleanup_string_map_ _cleanup_(string_map_free_pointer)

/* Adds or replaces (the old value is freed). */
void string_map_set(StringMap *map, const char *key, void *value);
void *string_map_get(const StringMap *map, const char *key); /* NULL when absent */
bool string_map_has(const StringMap *map, const char *key);
/* Removes and returns the value without freeing it. */
void *string_map_take(StringMap *map, const char *key);
bool string_map_remove(StringMap *map, const char *key);
size_t string_map_count(const StringMap *map);

typedef struct StringMapIterator {
    size_t position;
    const char *key;
    void *value;
} StringMapIterator;
bool string_map_next(const StringMap *map, StringMapIterator *iterator);
/* for (StringMapIterator i = {0}; string_map_next(map, &i);) */
#define STRING_MAP_FOREACH(map, iterator)                                                                    \
    for (StringMapIterator iterator = {0}; string_map_next(map, &(iterator));)
