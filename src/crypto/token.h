/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Bearer tokens: "<prefix>-<id>-<43 base64url characters of 256 random bits>", e.g. "btk-<id>-…". The id
 * finds the row, the store keeps only the SHA-256 of the whole text, and the comparison is in constant time.
 * The random part makes a slow hash needless. Any thread. */

#include "base/clock.h"
#include "base/macros.h"
#include "base/secret.h"
#include "crypto/hash.h"

enum { TOKEN_PREFIX_LENGTH_MAX = 8, TOKEN_RANDOM_LENGTH = 43, TOKEN_SIZE_MAX = 8 + 1 + ID_SIZE + 1 + 43 + 1 };

/* A new token with a new id. The text is shown once; ret_hash is what is stored. */
int token_make(Random *random, const char *prefix, char ret_id[static ID_SIZE], Secret **ret_token,
               uint8_t ret_hash[static HASH_SIZE]);
/* Checks the shape, gives id and hash. -EBADMSG when it is no token with this prefix. */
int token_parse(const char *text, size_t length, const char *prefix, char ret_id[static ID_SIZE],
                uint8_t ret_hash[static HASH_SIZE]);
bool token_hash_equal(const uint8_t a[static HASH_SIZE], const uint8_t b[static HASH_SIZE]);
