/* SPDX-License-Identifier: Apache-2.0 */
#include "crypto/aead.h"

#include <errno.h>
#include <openssl/evp.h>

#include "base/secret.h"
#include "crypto/openssl-internal.h"

static bool is_within_limits(size_t associated_size, size_t size)
{
    return associated_size <= AEAD_LIMIT && size <= AEAD_LIMIT;
}

int aead_seal(const uint8_t key[static AEAD_KEY_SIZE], const uint8_t nonce[static AEAD_NONCE_SIZE],
              const void *associated, size_t associated_size, const void *plain, size_t size,
              uint8_t *ret_sealed)
{
    _cleanup_(evp_cipher_context_free) EVP_CIPHER_CTX *context = EVP_CIPHER_CTX_new();
    int written = 0, rest = 0;

    if (!is_within_limits(associated_size, size))
        return -E2BIG;
    if (!context || EVP_EncryptInit_ex2(context, EVP_aes_256_gcm(), key, nonce, NULL) != 1)
        return -EIO;
    if (associated_size > 0 && EVP_EncryptUpdate(context, NULL, &rest, associated, (int)associated_size) != 1)
        return -EIO;
    if (size > 0 && EVP_EncryptUpdate(context, ret_sealed, &written, plain, (int)size) != 1)
        return -EIO;
    if (EVP_EncryptFinal_ex(context, ret_sealed + written, &rest) != 1 || (size_t)(written + rest) != size)
        return -EIO;
    if (EVP_CIPHER_CTX_ctrl(context, EVP_CTRL_AEAD_GET_TAG, AEAD_TAG_SIZE, ret_sealed + size) != 1)
        return -EIO;
    return 0;
}

static int open_into(EVP_CIPHER_CTX *context, const void *associated, size_t associated_size,
                     const uint8_t *sealed, size_t size, uint8_t *ret_plain)
{
    uint8_t tag[AEAD_TAG_SIZE];
    int written = 0, rest = 0;

    if (associated_size > 0 && EVP_DecryptUpdate(context, NULL, &rest, associated, (int)associated_size) != 1)
        return -EIO;
    if (size > 0 && EVP_DecryptUpdate(context, ret_plain, &written, sealed, (int)size) != 1)
        return -EIO;
    memcpy(tag, sealed + size, sizeof(tag));
    if (EVP_CIPHER_CTX_ctrl(context, EVP_CTRL_AEAD_SET_TAG, AEAD_TAG_SIZE, tag) != 1)
        return -EIO;
    /* GCM has no final block: the pointer is only there because the interface wants one. */
    if (EVP_DecryptFinal_ex(context, tag, &rest) != 1 || (size_t)written != size)
        return -EBADMSG;
    return 0;
}

int aead_open(const uint8_t key[static AEAD_KEY_SIZE], const uint8_t nonce[static AEAD_NONCE_SIZE],
              const void *associated, size_t associated_size, const void *sealed, size_t sealed_size,
              uint8_t *ret_plain)
{
    _cleanup_(evp_cipher_context_free) EVP_CIPHER_CTX *context = EVP_CIPHER_CTX_new();
    int r;

    if (sealed_size < AEAD_TAG_SIZE)
        return -EBADMSG;
    if (!is_within_limits(associated_size, sealed_size - AEAD_TAG_SIZE))
        return -E2BIG;
    if (!context || EVP_DecryptInit_ex2(context, EVP_aes_256_gcm(), key, nonce, NULL) != 1)
        return -EIO;
    r = open_into(context, associated, associated_size, sealed, sealed_size - AEAD_TAG_SIZE, ret_plain);
    if (r < 0) {
        memory_wipe(ret_plain, sealed_size - AEAD_TAG_SIZE);
        forget_openssl_errors();
    }
    return r;
}
