/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Bytes sealed to a passphrase, to travel outside of Bastide: "BSX1", u32 passes, u32 KiB (of Argon2id), salt
 * 16, nonce 24, then XChaCha20-Poly1305 over the plaintext with all that as associated data. What is opened
 * may come from anybody, so the work it asks for is bounded. Any thread; no state; slow by intent. */

#include "base/buffer.h"
#include "base/error.h"
#include "base/secret.h"

enum {
    SEALING_HEADER_SIZE = 4 + 4 + 4 + 16 + 24,
    SEALING_OVERHEAD = SEALING_HEADER_SIZE + 16,
    SEALING_PASSPHRASE_LEAST = 12
};

/* Appended. ERROR_INSECURE for a passphrase that is too short. */
int sealing_seal(const Secret *passphrase, const void *plain, size_t size, Buffer *ret_sealed, Error *error);
/* ERROR_BAD_DOCUMENT for what is nothing of this form, ERROR_FORBIDDEN for a wrong passphrase or changed
 * bytes. */
int sealing_open(const Secret *passphrase, const void *sealed, size_t size, Secret **ret_plain, Error *error);
