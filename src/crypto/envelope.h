/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Envelopes: a secret value on its way from the keeper to one provisioner, readable by nobody in between. An
 * anonymous sealed box (X25519, XSalsa20-Poly1305) over: u32 length of the context, context, plaintext. The
 * receiver names the context it expects, so a value cannot be handed to it in another's place. Any thread. */

#include "base/buffer.h"
#include "base/macros.h"
#include "base/secret.h"

enum {
    ENVELOPE_KEY_SIZE = 32,
    ENVELOPE_OVERHEAD = 48 + 4,
    ENVELOPE_CONTEXT_MAX = 1024,
    ENVELOPE_PLAIN_MAX = 128 * 1024
};

int envelope_generate_key(Secret **ret_private, uint8_t ret_public[static ENVELOPE_KEY_SIZE]);
int envelope_public_from_private(const Secret *private_key, uint8_t ret_public[static ENVELOPE_KEY_SIZE]);
/* Refuses keys with which the box would be no secret (-EKEYREJECTED): all zero and the other points of small
 * order. */
int envelope_check_public(const uint8_t public_key[static ENVELOPE_KEY_SIZE]);
/* Appends to ret_sealed. */
int envelope_seal(const uint8_t public_key[static ENVELOPE_KEY_SIZE], const char *context, const void *plain,
                  size_t size, Buffer *ret_sealed);
/* -EBADMSG when it was changed, is for another key or has another context. */
int envelope_open(const Secret *private_key, const char *context, const void *sealed, size_t size,
                  Secret **ret_plain);
