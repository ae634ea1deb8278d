/* SPDX-License-Identifier: Apache-2.0 */
#include "crypto/sign.h"

#include <errno.h>
#include <sodium.h>

_Static_assert(SIGN_PUBLIC_SIZE == crypto_sign_PUBLICKEYBYTES && SIGN_SEED_SIZE == crypto_sign_SEEDBYTES &&
                   SIGN_SIGNATURE_SIZE == crypto_sign_BYTES,
               "sizes of Ed25519");

int sign_generate(Secret **ret_seed, uint8_t ret_public[static SIGN_PUBLIC_SIZE])
{
    _cleanup_secret_ Secret *seed = NULL;
    uint8_t bytes[SIGN_SEED_SIZE];
    int r;

    if (sodium_init() < 0)
        return -ENOSYS;
    randombytes_buf(bytes, sizeof(bytes));
    seed = secret_new(bytes, sizeof(bytes));
    memory_wipe(bytes, sizeof(bytes));
    if (!seed)
        return -ENOMEM;
    r = sign_public_from_seed(seed, ret_public);
    if (r < 0)
        return r;
    *ret_seed = TAKE_PTR(seed);
    return 0;
}

static int expand(const Secret *seed, uint8_t ret_public[static SIGN_PUBLIC_SIZE],
                  uint8_t ret_secret[static crypto_sign_SECRETKEYBYTES])
{
    if (secret_size(seed) != SIGN_SEED_SIZE)
        return -EINVAL;
    if (sodium_init() < 0)
        return -ENOSYS;
    return crypto_sign_seed_keypair(ret_public, ret_secret, secret_bytes(seed)) == 0 ? 0 : -EIO;
}

int sign_public_from_seed(const Secret *seed, uint8_t ret_public[static SIGN_PUBLIC_SIZE])
{
    uint8_t expanded[crypto_sign_SECRETKEYBYTES];
    int r = expand(seed, ret_public, expanded);

    memory_wipe(expanded, sizeof(expanded));
    return r;
}

int sign_message(const Secret *seed, const void *message, size_t size,
                 uint8_t ret_signature[static SIGN_SIGNATURE_SIZE])
{
    uint8_t expanded[crypto_sign_SECRETKEYBYTES], public_key[SIGN_PUBLIC_SIZE];
    int r = expand(seed, public_key, expanded);

    if (r == 0 && crypto_sign_detached(ret_signature, NULL, message, size, expanded) != 0)
        r = -EIO;
    memory_wipe(expanded, sizeof(expanded));
    return r;
}

int sign_verify(const uint8_t public_key[static SIGN_PUBLIC_SIZE], const void *message, size_t size,
                const uint8_t signature[static SIGN_SIGNATURE_SIZE])
{
    if (sodium_init() < 0)
        return -ENOSYS;
    return crypto_sign_verify_detached(signature, message, size, public_key) == 0 ? 0 : -EKEYREJECTED;
}
