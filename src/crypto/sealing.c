/* SPDX-License-Identifier: Apache-2.0 */
#include "crypto/sealing.h"

#include <errno.h>
#include <sodium.h>
#include <string.h>

#include "base/clock.h"
#include "base/memory.h"

enum {
    SALT_SIZE = crypto_pwhash_SALTBYTES,
    NONCE_SIZE = crypto_aead_xchacha20poly1305_ietf_NPUBBYTES,
    KEY_SIZE = crypto_aead_xchacha20poly1305_ietf_KEYBYTES,
    TAG_SIZE = crypto_aead_xchacha20poly1305_ietf_ABYTES,
    PASSES = 4,
    KIBIBYTES = 64 * 1024,
    PASSES_MAX = 8,
    KIBIBYTES_MAX = 256 * 1024,
};
_Static_assert(SEALING_HEADER_SIZE == 4 + 4 + 4 + SALT_SIZE + NONCE_SIZE, "the header's parts");
_Static_assert(SEALING_OVERHEAD == SEALING_HEADER_SIZE + TAG_SIZE, "header and tag");

static const uint8_t magic[4] = {'B', 'S', 'X', '1'};

static int derive(const Secret *passphrase, uint32_t passes, uint32_t kibibytes, const uint8_t *salt,
                  uint8_t ret_key[static KEY_SIZE])
{
    return crypto_pwhash(ret_key, KEY_SIZE, (const char *)secret_bytes(passphrase), secret_size(passphrase),
                         salt, passes, (size_t)kibibytes * 1024, crypto_pwhash_ALG_ARGON2ID13) == 0
               ? 0
               : -ENOMEM;
}

static int append_header(const uint8_t salt[static SALT_SIZE], const uint8_t nonce[static NONCE_SIZE],
                         Buffer *header)
{
    int r = buffer_append(header, magic, sizeof(magic));

    if (r >= 0)
        r = buffer_append_u32(header, PASSES);
    if (r >= 0)
        r = buffer_append_u32(header, KIBIBYTES);
    if (r >= 0)
        r = buffer_append(header, salt, SALT_SIZE);
    return r < 0 ? r : buffer_append(header, nonce, NONCE_SIZE);
}

int sealing_seal(const Secret *passphrase, const void *plain, size_t size, Buffer *ret_sealed, Error *error)
{
    _cleanup_buffer_ Buffer header = BUFFER_INIT;
    uint8_t salt[SALT_SIZE], nonce[NONCE_SIZE], key[KEY_SIZE];
    int r;

    if (secret_size(passphrase) < SEALING_PASSPHRASE_LEAST)
        return error_set_field(error, ERROR_INSECURE, "passphrase",
                               "a passphrase needs at least %d characters", SEALING_PASSPHRASE_LEAST);
    random_bytes(&system_random, salt, sizeof(salt));
    random_bytes(&system_random, nonce, sizeof(nonce));
    r = append_header(salt, nonce, &header);
    if (r >= 0)
        r = derive(passphrase, PASSES, KIBIBYTES, salt, key);
    if (r >= 0)
        r = buffer_append(ret_sealed, header.data, header.size);
    if (r >= 0)
        r = buffer_reserve(ret_sealed, size + TAG_SIZE);
    if (r >= 0) {
        (void)crypto_aead_xchacha20poly1305_ietf_encrypt(ret_sealed->data + ret_sealed->size, NULL, plain,
                                                         size, header.data, header.size, NULL, nonce, key);
        ret_sealed->size += size + TAG_SIZE;
    }
    memory_wipe(key, sizeof(key));
    return r < 0 ? error_set_errno(error, ERROR_INTERNAL, -r, "sealing to a passphrase failed") : 0;
}

static int open_with(const uint8_t key[static KEY_SIZE], const uint8_t *sealed, size_t size,
                     Secret **ret_plain, Error *error)
{
    size_t plain_size = size - SEALING_OVERHEAD;
    _cleanup_free_ uint8_t *plain = NEW_ARRAY(uint8_t, plain_size + 1);
    int r = crypto_aead_xchacha20poly1305_ietf_decrypt(
        plain, NULL, NULL, sealed + SEALING_HEADER_SIZE, size - SEALING_HEADER_SIZE, sealed,
        SEALING_HEADER_SIZE, sealed + SEALING_HEADER_SIZE - NONCE_SIZE, key);

    if (r != 0)
        return error_set(error, ERROR_FORBIDDEN, "the passphrase is wrong, or the bytes were changed");
    *ret_plain = secret_new(plain, plain_size);
    memory_wipe(plain, plain_size);
    return *ret_plain ? 0 : error_set(error, ERROR_INTERNAL, "no guarded memory");
}

int sealing_open(const Secret *passphrase, const void *sealed, size_t size, Secret **ret_plain, Error *error)
{
    Reader reader = READER(sealed, size);
    const uint8_t *mark, *salt;
    uint8_t key[KEY_SIZE];
    uint32_t passes, kibibytes;
    int r;

    if (size < SEALING_OVERHEAD || reader_bytes(&reader, sizeof(magic), &mark) < 0 ||
        memcmp(mark, magic, sizeof(magic)) != 0 || reader_u32(&reader, &passes) < 0 ||
        reader_u32(&reader, &kibibytes) < 0 || passes < 1 || passes > PASSES_MAX || kibibytes < 8 ||
        kibibytes > KIBIBYTES_MAX || reader_bytes(&reader, SALT_SIZE, &salt) < 0)
        return error_set(error, ERROR_BAD_DOCUMENT, "this is nothing that was sealed to a passphrase");
    if (derive(passphrase, passes, kibibytes, salt, key) < 0)
        return error_set(error, ERROR_BUSY, "no memory to try the passphrase");
    r = open_with(key, sealed, size, ret_plain, error);
    memory_wipe(key, sizeof(key));
    return r;
}
