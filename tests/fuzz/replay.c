/* SPDX-License-Identifier: Apache-2.0 */
/* A main for fuzz targets where there is no libFuzzer: runs every file of the given corpus folder, then a few
 * hundred mutations of each that are the same on every machine. One thread. A broken target aborts; the
 * environment variable REPLAY_KEEP names a file that always holds the input that is running. */
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/file.h"
#include "base/memory.h"
#include "base/string.h"

enum { SEED_LIMIT = 1024 * 1024, MUTATIONS = 400, ROOM = 256 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

typedef struct Seed {
    char *name;
    uint8_t *data;
    size_t size;
} Seed;

static void run(const void *data, size_t size)
{
    const char *keep = getenv("REPLAY_KEEP");
    if (keep)
        ASSERT(file_write_atomic(keep, data, size, 0600) >= 0);
    /* A copy of exactly this size, so that the sanitizer sees a read behind its end. */
    uint8_t *exact = malloc(size ? size : 1);
    ASSERT(exact);
    if (size > 0)
        memcpy(exact, data, size);
    (void)LLVMFuzzerTestOneInput(exact, size);
    free(exact);
}

static int compare_seeds(const void *a, const void *b)
{
    return strcmp(((const Seed *)a)->name, ((const Seed *)b)->name);
}

static Seed *read_corpus(const char *folder, size_t *ret_count)
{
    DIR *stream = opendir(folder);
    if (!stream) {
        (void)fprintf(stderr, "%s: %s\n", folder, strerror(errno));
        exit(EXIT_FAILURE);
    }
    Seed *seeds = NULL;
    size_t count = 0;
    for (const struct dirent *entry; (entry = readdir(stream));) {
        if (entry->d_name[0] == '.')
            continue;
        _cleanup_free_ char *path = path_join(folder, entry->d_name);
        char *data;
        size_t size;
        int r = file_read(path, SEED_LIMIT, &data, &size);
        if (r < 0) {
            (void)fprintf(stderr, "%s: %s\n", path, strerror(-r));
            exit(EXIT_FAILURE);
        }
        seeds = memory_resize_array(seeds, count + 1, sizeof(Seed));
        seeds[count++] =
            (Seed){.name = string_duplicate(entry->d_name), .data = (uint8_t *)data, .size = size};
    }
    (void)closedir(stream);
    if (count > 0)
        qsort(seeds, count, sizeof(Seed), compare_seeds);
    *ret_count = count;
    return seeds;
}

static size_t pick(Random *random, size_t bound)
{
    return bound ? (size_t)random_below(random, bound) : 0;
}

/* Bytes on which parsers like to stumble. */
static const uint8_t interesting[] = {0,   1,   0x7f, 0x80, 0xff, '\n', '\r', ' ', '"', '\\',
                                      '[', ']', '{',  '}',  ':',  ',',  '-',  '#', '&', '*',
                                      '!', '%', '=',  '.',  '0',  '9',  'e',  0xc2};

/* One change in place; the array has ROOM bytes more than size at first. Returns the new size. */
static size_t change(Random *random, const Seed *other, uint8_t *data, size_t size, size_t capacity)
{
    size_t at = pick(random, size);
    switch (pick(random, 7)) {
    case 0: /* a bit */
        if (size > 0)
            data[at] ^= (uint8_t)(1u << pick(random, 8));
        return size;
    case 1: /* a byte */
        if (size > 0)
            data[at] = interesting[pick(random, sizeof(interesting))];
        return size;
    case 2: /* cut the end */
        return at;
    case 3: { /* take a piece out */
        size_t count = pick(random, MIN(size - at, (size_t)32) + 1);
        memmove(data + at, data + at + count, size - at - count);
        return size - count;
    }
    case 4: { /* put a byte in */
        if (size >= capacity)
            return size;
        memmove(data + at + 1, data + at, size - at);
        data[at] = interesting[pick(random, sizeof(interesting))];
        return size + 1;
    }
    case 5: { /* repeat a piece */
        size_t count = MIN(pick(random, MIN(size - at, (size_t)32) + 1), capacity - size);
        memmove(data + at + count, data + at, size - at);
        return size + count;
    }
    default: { /* a piece of another seed over this one */
        size_t from = pick(random, other->size);
        size_t count = pick(random, MIN(MIN(other->size - from, size - at), (size_t)64) + 1);
        memcpy(data + at, other->data + from, count);
        return size;
    }
    }
}

static void run_mutations(Random *random, const Seed *seeds, size_t count, const Seed *seed)
{
    size_t capacity = seed->size + ROOM;
    _cleanup_free_ uint8_t *data = memory_new(capacity);
    for (unsigned i = 0; i < MUTATIONS; i++) {
        size_t size = seed->size;
        memcpy(data, seed->data, size);
        for (size_t changes = 1 + pick(random, 4); changes > 0; changes--)
            size = change(random, &seeds[pick(random, count)], data, size, capacity);
        run(data, size);
    }
}

int main(int argc, char **argv)
{
    if (argc != 2) {
        (void)fprintf(stderr, "usage: %s CORPUS-FOLDER or FILE\n", argv[0]);
        return EXIT_FAILURE;
    }
    char *single;
    size_t size;
    if (file_read(argv[1], SEED_LIMIT, &single, &size) >= 0) { /* one input, as libFuzzer does it */
        run(single, size);
        free(single);
        return EXIT_SUCCESS;
    }
    size_t count;
    Seed *seeds = read_corpus(argv[1], &count);
    if (count == 0) {
        (void)fprintf(stderr, "%s: there are no seeds\n", argv[1]);
        return EXIT_FAILURE;
    }
    SeededRandom random;
    seeded_random_init(&random, 1);
    run("", 0);
    for (size_t i = 0; i < count; i++)
        run(seeds[i].data, seeds[i].size);
    for (size_t i = 0; i < count; i++)
        run_mutations(&random.random, seeds, count, &seeds[i]);
    (void)printf("%zu seeds, %zu mutations\n", count, count * MUTATIONS);
    for (size_t i = 0; i < count; i++) {
        free(seeds[i].name);
        free(seeds[i].data);
    }
    free(seeds);
    return EXIT_SUCCESS;
}
