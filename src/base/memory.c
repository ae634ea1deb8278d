/* SPDX-License-Identifier: Apache-2.0 */
#include "base/memory.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#if defined(__SANITIZE_ADDRESS__)
#    define ARENA_OWN_BLOCKS 1
#elif defined(__has_feature)
#    if __has_feature(address_sanitizer)
#        define ARENA_OWN_BLOCKS 1
#    endif
#endif
#ifndef ARENA_OWN_BLOCKS
#    define ARENA_OWN_BLOCKS 0
#endif

enum { ARENA_ALIGNMENT = 16, ARENA_BLOCK_FIRST = 4096, ARENA_BLOCK_LARGEST = 1024 * 1024 };

_noreturn_ void assert_failed(const char *expression, const char *file, int line, const char *function)
{
    /* No stdio streams and no allocation: their state may be what is broken. */
    char text[512];
    int length = snprintf(text, sizeof(text), "assertion '%s' failed at %s:%d, %s()\n", expression, file,
                          line, function);
    if (length > 0) {
        size_t size = MIN((size_t)length, sizeof(text) - 1);
        ssize_t written = write(STDERR_FILENO, text, size);
        (void)written;
    }
    abort();
}

void *memory_new(size_t size)
{
    void *memory = calloc(1, size ? size : 1);
    ASSERT(memory);
    return memory;
}

void *memory_new_array(size_t count, size_t size)
{
    size_t total;
    ASSERT(!__builtin_mul_overflow(count, size, &total));
    return memory_new(total);
}

void *memory_resize_array(void *pointer, size_t count, size_t size)
{
    size_t total;
    ASSERT(!__builtin_mul_overflow(count, size, &total));
    void *memory = realloc(pointer, total ? total : 1);
    ASSERT(memory);
    return memory;
}

void *memory_try_new_array(size_t count, size_t size, size_t limit)
{
    size_t total;
    if (__builtin_mul_overflow(count, size, &total) || total > limit)
        return NULL;
    return calloc(1, total ? total : 1);
}

void *memory_duplicate(const void *data, size_t size)
{
    void *memory = memory_new(size);
    if (size > 0)
        memcpy(memory, data, size);
    return memory;
}

typedef struct ArenaBlock ArenaBlock;
struct ArenaBlock {
    ArenaBlock *next;
    size_t size, used;
    _Alignas(ARENA_ALIGNMENT) uint8_t data[];
};

struct Arena {
    ArenaBlock *newest; /* the one that is filled; the oldest is last */
    size_t next_size, used;
};

Arena *arena_new(void)
{
    Arena *arena = NEW(Arena);
    arena->next_size = ARENA_BLOCK_FIRST;
    return arena;
}

static void arena_free_blocks(Arena *arena, bool is_first_kept)
{
    ArenaBlock *block = arena->newest;
    while (block && (block->next || !is_first_kept)) {
        ArenaBlock *next = block->next;
        free(block);
        block = next;
    }
    arena->newest = block;
}

Arena *arena_free(Arena *arena)
{
    if (!arena)
        return NULL;
    arena_free_blocks(arena, false);
    free(arena);
    return NULL;
}

void arena_reset(Arena *arena)
{
    arena_free_blocks(arena, !ARENA_OWN_BLOCKS);
    if (arena->newest)
        arena->newest->used = 0;
    arena->used = 0;
    arena->next_size = ARENA_BLOCK_FIRST;
}

static ArenaBlock *arena_add_block(Arena *arena, size_t least)
{
    size_t size = least;
    if (!ARENA_OWN_BLOCKS) {
        size = MAX(arena->next_size, least);
        arena->next_size = MIN(arena->next_size * 2, (size_t)ARENA_BLOCK_LARGEST);
    }
    size_t total;
    ASSERT(!__builtin_add_overflow(size, sizeof(ArenaBlock), &total));
    ArenaBlock *block = malloc(total);
    ASSERT(block);
    block->size = size;
    block->used = 0;
    block->next = arena->newest;
    arena->newest = block;
    return block;
}

void *arena_allocate(Arena *arena, size_t size)
{
    size_t rounded;
    if (ARENA_OWN_BLOCKS)
        rounded = size ? size : 1;
    else {
        ASSERT(!__builtin_add_overflow(size ? size : 1, (size_t)ARENA_ALIGNMENT - 1, &rounded));
        rounded &= ~((size_t)ARENA_ALIGNMENT - 1);
    }
    ArenaBlock *block = arena->newest;
    if (!block || block->size - block->used < rounded)
        block = arena_add_block(arena, rounded);
    void *memory = block->data + block->used;
    block->used += rounded;
    arena->used += size;
    memset(memory, 0, rounded);
    return memory;
}

void *arena_allocate_array(Arena *arena, size_t count, size_t size)
{
    size_t total;
    ASSERT(!__builtin_mul_overflow(count, size, &total));
    return arena_allocate(arena, total);
}

char *arena_string(Arena *arena, const char *text)
{
    return text ? arena_string_n(arena, text, strlen(text)) : NULL;
}

char *arena_string_n(Arena *arena, const char *text, size_t length)
{
    if (!text)
        return NULL;
    ASSERT(length < SIZE_MAX);
    char *copy = arena_allocate(arena, length + 1);
    memcpy(copy, text, length);
    return copy;
}

void *arena_duplicate(Arena *arena, const void *data, size_t size)
{
    void *copy = arena_allocate(arena, size);
    if (size > 0)
        memcpy(copy, data, size);
    return copy;
}

char *arena_format(Arena *arena, const char *format, ...)
{
    va_list arguments, again;
    va_start(arguments, format);
    va_copy(again, arguments);
    int length = vsnprintf(NULL, 0, format, arguments);
    va_end(arguments);
    ASSERT(length >= 0);
    char *text = arena_allocate(arena, (size_t)length + 1);
    (void)vsnprintf(text, (size_t)length + 1, format, again);
    va_end(again);
    return text;
}

size_t arena_used(const Arena *arena)
{
    return arena->used;
}
