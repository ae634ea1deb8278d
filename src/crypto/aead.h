/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Authenticated encryption: AES-256-GCM with a random 96-bit nonce chosen by the caller. Any thread, no
 * state. A key may seal at most 2^32 messages with random nonces; callers that could reach that use a key per
 * purpose. */

#include <sys/types.h>

#include "base/macros.h"

enum { AEAD_KEY_SIZE = 32, AEAD_NONCE_SIZE = 12, AEAD_TAG_SIZE = 16, AEAD_LIMIT = 16 * 1024 * 1024 };

/* Writes size + AEAD_TAG_SIZE bytes (ciphertext, then tag) to ret_sealed. 0, -E2BIG above AEAD_LIMIT, -EIO.
 */
int aead_seal(const uint8_t key[static AEAD_KEY_SIZE], const uint8_t nonce[static AEAD_NONCE_SIZE],
              const void *associated, size_t associated_size, const void *plain, size_t size,
              uint8_t *ret_sealed);
/* Writes sealed_size - AEAD_TAG_SIZE bytes to ret_plain. -EBADMSG when anything was changed; the
 * destination is then wiped. */
int aead_open(const uint8_t key[static AEAD_KEY_SIZE], const uint8_t nonce[static AEAD_NONCE_SIZE],
              const void *associated, size_t associated_size, const void *sealed, size_t sealed_size,
              uint8_t *ret_plain);
