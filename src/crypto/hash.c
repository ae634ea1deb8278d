/* SPDX-License-Identifier: Apache-2.0 */
#include "crypto/hash.h"

#include <errno.h>
#include <openssl/evp.h>

#include "base/file.h"
#include "base/memory.h"
#include "base/string.h"
#include "crypto/openssl-internal.h"

struct Hash {
    EVP_MD_CTX *context;
};

void hash_sha256(const void *data, size_t size, uint8_t ret_digest[static HASH_SIZE])
{
    unsigned written = 0;

    ASSERT(EVP_Digest(data ? data : "", size, ret_digest, &written, EVP_sha256(), NULL) == 1);
    ASSERT(written == HASH_SIZE);
}

void hash_sha256_hex(const void *data, size_t size, char ret_hex[static HASH_HEX_SIZE])
{
    uint8_t digest[HASH_SIZE];

    hash_sha256(data, size, digest);
    hex_encode(digest, sizeof(digest), ret_hex);
}

Hash *hash_new(void)
{
    Hash *hash = NEW(Hash);

    hash->context = EVP_MD_CTX_new();
    ASSERT(hash->context && EVP_DigestInit_ex2(hash->context, EVP_sha256(), NULL) == 1);
    return hash;
}

Hash *hash_free(Hash *hash)
{
    if (!hash)
        return NULL;
    EVP_MD_CTX_free(hash->context);
    free(hash);
    return NULL;
}

void hash_add(Hash *hash, const void *data, size_t size)
{
    ASSERT(size == 0 || EVP_DigestUpdate(hash->context, data, size) == 1);
}

void hash_finish(Hash *hash, uint8_t ret_digest[static HASH_SIZE])
{
    unsigned written = 0;

    ASSERT(EVP_DigestFinal_ex(hash->context, ret_digest, &written) == 1 && written == HASH_SIZE);
    ASSERT(EVP_DigestInit_ex2(hash->context, EVP_sha256(), NULL) == 1);
}

int hash_descriptor(int descriptor, uint64_t limit, uint8_t ret_digest[static HASH_SIZE], uint64_t *ret_size)
{
    _cleanup_hash_ Hash *hash = hash_new();
    uint8_t block[16384];
    uint64_t total = 0;

    for (;;) {
        ssize_t count = read_full(descriptor, block, sizeof(block));

        if (count < 0)
            return (int)count;
        total += (uint64_t)count;
        if (total > limit)
            return -EFBIG;
        hash_add(hash, block, (size_t)count);
        if ((size_t)count < sizeof(block))
            break;
    }
    hash_finish(hash, ret_digest);
    if (ret_size)
        *ret_size = total;
    return 0;
}
