/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* The inside of PrivateKey and certificates, for the files of this folder. */

#include "crypto/key.h"
#include "crypto/openssl-internal.h"

struct PrivateKey {
    EVP_PKEY *key;
    KeyType type;
};

/* The policy for an OpenSSL key; `what` begins the error text. */
int key_check_policy(const EVP_PKEY *key, const char *what, KeyType *ret_type, Error *error);
/* Decodes and checks; owned. */
int public_key_decode(const uint8_t *spki, size_t size, EVP_PKEY **ret_key, KeyType *ret_type, Error *error);
