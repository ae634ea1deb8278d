/* SPDX-License-Identifier: Apache-2.0 */
#include "base/secret.h"

#include <sodium.h>
#include <string.h>
#include <threads.h>

#include "base/memory.h"
#include "base/sodium_start.h"

static void start_once(void)
{
    ASSERT(sodium_init() >= 0);
}

void sodium_start(void)
{
    static once_flag flag = ONCE_FLAG_INIT;
    call_once(&flag, start_once);
}

struct Secret {
    size_t size;
    uint8_t *bytes; /* guarded, read-only after secret_new */
};

Secret *secret_new(const void *data, size_t size)
{
    if (size == SIZE_MAX)
        return NULL;
    sodium_start();
    uint8_t *bytes = sodium_malloc(size + 1);
    if (!bytes)
        return NULL;
    if (size > 0)
        memcpy(bytes, data, size);
    bytes[size] = 0;
    ASSERT(sodium_mprotect_readonly(bytes) == 0);
    Secret *secret = NEW(Secret);
    *secret = (Secret){.size = size, .bytes = bytes};
    return secret;
}

Secret *secret_free(Secret *secret)
{
    if (!secret)
        return NULL;
    sodium_free(secret->bytes); /* makes it writable, overwrites it, checks the canary */
    free(secret);
    return NULL;
}

const uint8_t *secret_bytes(const Secret *secret)
{
    return secret->bytes;
}

size_t secret_size(const Secret *secret)
{
    return secret->size;
}

bool secret_equal(const Secret *a, const Secret *b)
{
    return a->size == b->size && memory_equal_constant_time(a->bytes, b->bytes, a->size);
}

void memory_wipe(void *data, size_t size)
{
    if (size > 0)
        sodium_memzero(data, size);
}

bool memory_equal_constant_time(const void *a, const void *b, size_t size)
{
    return size == 0 || sodium_memcmp(a, b, size) == 0;
}
