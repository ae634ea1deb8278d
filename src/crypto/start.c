/* SPDX-License-Identifier: Apache-2.0 */
#include "crypto/start.h"

#include <errno.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/rand.h>
#include <sodium.h>

#include "crypto/hash.h"
#include "crypto/key.h"

int crypto_start(void)
{
    _cleanup_private_key_ PrivateKey *key = NULL;
    uint8_t bytes[HASH_SIZE];

    if (OPENSSL_init_crypto(OPENSSL_INIT_NO_LOAD_CONFIG | OPENSSL_INIT_ADD_ALL_CIPHERS |
                                OPENSSL_INIT_ADD_ALL_DIGESTS | OPENSSL_INIT_LOAD_CRYPTO_STRINGS,
                            NULL) != 1 ||
        sodium_init() < 0 || RAND_bytes(bytes, sizeof(bytes)) != 1)
        return -ENOSYS;
    hash_sha256(bytes, sizeof(bytes), bytes);
    return private_key_generate(KEY_P256, &key) < 0 ? -ENOSYS : 0;
}
