/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Cleanup functions for OpenSSL's types; only for the files of this folder. Any thread. */

#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>
#include <string.h>

#include "base/macros.h"

#define DEFINE_OPENSSL_CLEANUP(type, name, function)                                                         \
    static inline void name(type **pointer)                                                                  \
    {                                                                                                        \
        if (*pointer)                                                                                        \
            function(*pointer);                                                                              \
    }                                                                                                        \
    struct name##_semicolon_eater

DEFINE_OPENSSL_CLEANUP(EVP_CIPHER_CTX, evp_cipher_context_free, EVP_CIPHER_CTX_free);
DEFINE_OPENSSL_CLEANUP(EVP_MD_CTX, evp_digest_context_free, EVP_MD_CTX_free);
DEFINE_OPENSSL_CLEANUP(EVP_PKEY, evp_key_free, EVP_PKEY_free);
DEFINE_OPENSSL_CLEANUP(EVP_PKEY_CTX, evp_key_context_free, EVP_PKEY_CTX_free);
DEFINE_OPENSSL_CLEANUP(BIO, bio_free, BIO_free_all);
DEFINE_OPENSSL_CLEANUP(X509, x509_free, X509_free);
DEFINE_OPENSSL_CLEANUP(X509_REQ, x509_request_free, X509_REQ_free);
DEFINE_OPENSSL_CLEANUP(X509_NAME, x509_name_free, X509_NAME_free);
DEFINE_OPENSSL_CLEANUP(X509_STORE, x509_store_free, X509_STORE_free);
DEFINE_OPENSSL_CLEANUP(X509_STORE_CTX, x509_store_context_free, X509_STORE_CTX_free);
DEFINE_OPENSSL_CLEANUP(X509_EXTENSION, x509_extension_free, X509_EXTENSION_free);
DEFINE_OPENSSL_CLEANUP(GENERAL_NAMES, general_names_free, GENERAL_NAMES_free);
DEFINE_OPENSSL_CLEANUP(ASN1_STRING, asn1_string_free, ASN1_STRING_free);
DEFINE_OPENSSL_CLEANUP(BIGNUM, bignum_free, BN_free);

static inline void x509_stack_free(STACK_OF(X509) * *stack)
{
    if (*stack)
        sk_X509_pop_free(*stack, X509_free);
}

/* The error queue is per thread and nobody reads it later: what is left there would confuse the next TLS
 * call. */
static inline void forget_openssl_errors(void)
{
    ERR_clear_error();
}
