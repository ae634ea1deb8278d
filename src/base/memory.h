/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Memory. Small fixed allocations abort the process when there is none (the state is in the database and a
 * supervisor restarts us); sizes influenced from outside use the _try variants with an explicit limit.
 * Any thread; an Arena belongs to one thread at a time. */

#include <stdlib.h>

#include "base/macros.h"

/* Zeroed; never NULL; size 0 gives a unique pointer. Caller frees with free(). */
void *memory_new(size_t size) __attribute__((malloc, returns_nonnull));
/* Zeroed array; aborts on multiplication overflow. */
void *memory_new_array(size_t count, size_t size) __attribute__((malloc, returns_nonnull));
/* Grows or shrinks; new bytes are not zeroed; aborts on overflow. */
void *memory_resize_array(void *pointer, size_t count, size_t size) __attribute__((returns_nonnull));
/* NULL when count * size overflows, exceeds limit, or there is no memory. */
void *memory_try_new_array(size_t count, size_t size, size_t limit) __attribute__((malloc));
void *memory_duplicate(const void *data, size_t size) __attribute__((malloc, returns_nonnull));

#define NEW(type)              ((type *)memory_new(sizeof(type)))
#define NEW_ARRAY(type, count) ((type *)memory_new_array((count), sizeof(type)))

static inline void free_pointer(void *pointer)
{
    free(*(void **)pointer);
}
#define _cleanup_free_ _cleanup_(free_pointer)

/* An arena: many allocations, freed as a whole. One per request and per task. In sanitizer builds each
 * allocation is its own malloc, so that overruns are found. */
typedef struct Arena Arena;
Arena *arena_new(void);
Arena *arena_free(Arena *arena);
/* Frees all allocations and keeps the first block. */
void arena_reset(Arena *arena);
/* Zeroed and aligned for every type; aborts without memory. */
void *arena_allocate(Arena *arena, size_t size) __attribute__((returns_nonnull));
void *arena_allocate_array(Arena *arena, size_t count, size_t size) __attribute__((returns_nonnull));
/* NULL gives NULL. */
char *arena_string(Arena *arena, const char *text);
char *arena_string_n(Arena *arena, const char *text, size_t length);
void *arena_duplicate(Arena *arena, const void *data, size_t size);
char *arena_format(Arena *arena, const char *format, ...) _printf_(2, 3);
/* Bytes handed out since the last reset. */
size_t arena_used(const Arena *arena);
DEFINE_CLEANUP(Arena, arena_free);
#define _cleanup_arena_ _cleanup_(arena_free_pointer)
