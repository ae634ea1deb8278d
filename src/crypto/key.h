/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Private keys for TLS and X.509. A PrivateKey is OpenSSL's object; the PEM form is a Secret. Any thread; one
 * owner at a time, and reading functions may run at the same time. */

#include "base/error.h"
#include "base/macros.h"
#include "base/secret.h"

typedef struct PrivateKey PrivateKey;

typedef enum KeyType {
    KEY_P256, /* what Bastide makes */
    KEY_P384,
    KEY_ED25519,
    KEY_RSA, /* at least 3,072 bits; accepted, never made */
    _KEY_TYPE_MAX,
    _KEY_TYPE_INVALID = -22,
} KeyType;

enum {
    KEY_PEM_LIMIT = 64 * 1024,
    PUBLIC_KEY_LIMIT = 2048,
    KEY_RSA_BITS_MINIMUM = 3072,
    KEY_RSA_BITS_MAXIMUM = 8192
};

const char *key_type_to_string(KeyType type);

/* KEY_P256, KEY_P384 or KEY_ED25519. */
int private_key_generate(KeyType type, PrivateKey **ret_key);
PrivateKey *private_key_free(PrivateKey *key);
DEFINE_CLEANUP(PrivateKey, private_key_free);
#define _cleanup_private_key_ _cleanup_(private_key_free_pointer)

/* Unencrypted PKCS#8 (or the older) PEM; with a passphrase also encrypted PEM. Keys outside of the policy are
 * refused (ERROR_INSECURE). passphrase may be NULL. */
int private_key_from_pem(const void *pem, size_t size, const Secret *passphrase, PrivateKey **ret_key,
                         Error *error);
int private_key_to_pem(const PrivateKey *key, Secret **ret_pem);
/* A new file with mode 0600 (-EEXIST when there is one), synced. */
int private_key_write(const PrivateKey *key, const char *path);
/* Refuses files that others can read. */
int private_key_read(const char *path, PrivateKey **ret_key, Error *error);
KeyType private_key_type(const PrivateKey *key);
/* SubjectPublicKeyInfo; owned. */
int private_key_public_der(const PrivateKey *key, uint8_t **ret_spki, size_t *ret_size);

/* Checks a SubjectPublicKeyInfo against the policy: P-256, P-384 (named curves, point on the curve), Ed25519,
 * RSA from 3,072 to 8,192 bits with a sensible exponent; nothing after it, and encoded canonically. The error
 * says which rule was broken. */
int public_key_check(const uint8_t *spki, size_t size, KeyType *ret_type, Error *error);
