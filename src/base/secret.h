/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Secrets are a type, not a string: they cannot be formatted, logged or put into JSON by accident. The bytes
 * live in guarded memory of libsodium (locked where the limit allows, zeroed when freed, left out of core
 * dumps). Any thread; one owner at a time. */

#include <sys/types.h>

#include "base/macros.h"

typedef struct Secret Secret;

/* Copies the bytes; NULL when there is no guarded memory. A NUL follows the bytes and is not counted. */
Secret *secret_new(const void *data, size_t size);
Secret *secret_free(Secret *secret);
DEFINE_CLEANUP(Secret, secret_free);
#define _cleanup_secret_ _cleanup_(secret_free_pointer)

/* The only door to the bytes; borrowed. */
const uint8_t *secret_bytes(const Secret *secret);
size_t secret_size(const Secret *secret);
/* Constant time for equal sizes. */
bool secret_equal(const Secret *a, const Secret *b);
/* Overwrites memory in a way the compiler keeps. */
void memory_wipe(void *data, size_t size);
/* Constant time comparison of equally long byte strings. */
bool memory_equal_constant_time(const void *a, const void *b, size_t size);
