/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* SHA-256, at once or in pieces. The one-shot functions: any thread. A Hash: one thread at a time. Failing is
 * impossible short of a broken library or no memory, which abort. */

#include <sys/types.h>

#include "base/macros.h"

enum { HASH_SIZE = 32, HASH_HEX_SIZE = 2 * HASH_SIZE + 1 };

void hash_sha256(const void *data, size_t size, uint8_t ret_digest[static HASH_SIZE]);
/* Lower case, terminated. */
void hash_sha256_hex(const void *data, size_t size, char ret_hex[static HASH_HEX_SIZE]);

typedef struct Hash Hash;
Hash *hash_new(void);
Hash *hash_free(Hash *hash);
DEFINE_CLEANUP(Hash, hash_free);
#define _cleanup_hash_ _cleanup_(hash_free_pointer)
void hash_add(Hash *hash, const void *data, size_t size);
/* Ends the hash; it then starts anew. */
void hash_finish(Hash *hash, uint8_t ret_digest[static HASH_SIZE]);
/* From the present position of the descriptor to its end; -EFBIG beyond limit bytes. */
int hash_descriptor(int descriptor, uint64_t limit, uint8_t ret_digest[static HASH_SIZE], uint64_t *ret_size);
