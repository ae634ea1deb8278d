/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Ed25519 over libsodium, for what Bastide itself signs (audit heads, approved sets, SSH certificates). Any
 * thread. */

#include <sys/types.h>

#include "base/macros.h"
#include "base/secret.h"

enum { SIGN_PUBLIC_SIZE = 32, SIGN_SEED_SIZE = 32, SIGN_SIGNATURE_SIZE = 64 };

/* The private key is its 32-byte seed. */
int sign_generate(Secret **ret_seed, uint8_t ret_public[static SIGN_PUBLIC_SIZE]);
int sign_public_from_seed(const Secret *seed, uint8_t ret_public[static SIGN_PUBLIC_SIZE]);
int sign_message(const Secret *seed, const void *message, size_t size,
                 uint8_t ret_signature[static SIGN_SIGNATURE_SIZE]);
/* 0 or -EKEYREJECTED. */
int sign_verify(const uint8_t public_key[static SIGN_PUBLIC_SIZE], const void *message, size_t size,
                const uint8_t signature[static SIGN_SIGNATURE_SIZE]);
