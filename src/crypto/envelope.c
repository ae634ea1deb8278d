/* SPDX-License-Identifier: Apache-2.0 */
#include "crypto/envelope.h"

#include <errno.h>
#include <sodium.h>

#include "base/memory.h"
#include "base/string.h"

_Static_assert(ENVELOPE_KEY_SIZE == crypto_box_PUBLICKEYBYTES &&
                   ENVELOPE_KEY_SIZE == crypto_box_SECRETKEYBYTES &&
                   ENVELOPE_OVERHEAD == crypto_box_SEALBYTES + 4,
               "sizes of sealed boxes");

int envelope_generate_key(Secret **ret_private, uint8_t ret_public[static ENVELOPE_KEY_SIZE])
{
    uint8_t private_key[ENVELOPE_KEY_SIZE];
    Secret *secret;

    if (sodium_init() < 0)
        return -ENOSYS;
    crypto_box_keypair(ret_public, private_key);
    secret = secret_new(private_key, sizeof(private_key));
    memory_wipe(private_key, sizeof(private_key));
    if (!secret)
        return -ENOMEM;
    *ret_private = secret;
    return 0;
}

int envelope_public_from_private(const Secret *private_key, uint8_t ret_public[static ENVELOPE_KEY_SIZE])
{
    if (secret_size(private_key) != ENVELOPE_KEY_SIZE)
        return -EINVAL;
    return crypto_scalarmult_base(ret_public, secret_bytes(private_key)) == 0 ? 0 : -EIO;
}

int envelope_check_public(const uint8_t public_key[static ENVELOPE_KEY_SIZE])
{
    static const uint8_t scalar[ENVELOPE_KEY_SIZE] = {1};
    uint8_t product[crypto_scalarmult_BYTES];

    if (sodium_init() < 0)
        return -ENOSYS;
    /* X25519 with a point of small order gives zero, which libsodium reports as a failure. */
    return crypto_scalarmult(product, scalar, public_key) == 0 ? 0 : -EKEYREJECTED;
}

int envelope_seal(const uint8_t public_key[static ENVELOPE_KEY_SIZE], const char *context, const void *plain,
                  size_t size, Buffer *ret_sealed)
{
    _cleanup_free_ uint8_t *box = NULL;
    Buffer inner = BUFFER_INIT;
    size_t context_length = strlen(context);
    int r;

    if (context_length > ENVELOPE_CONTEXT_MAX || size > ENVELOPE_PLAIN_MAX)
        return -E2BIG;
    r = envelope_check_public(public_key);
    if (r < 0)
        return r;
    /* Reserved as a whole, so that growing leaves no copy of the plaintext behind. */
    r = buffer_reserve(&inner, 4 + context_length + size);
    if (r >= 0)
        r = buffer_append_u32(&inner, (uint32_t)context_length);
    if (r >= 0)
        r = buffer_append(&inner, context, context_length);
    if (r >= 0)
        r = buffer_append(&inner, plain, size);
    if (r >= 0) {
        box = NEW_ARRAY(uint8_t, inner.size + crypto_box_SEALBYTES);
        r = crypto_box_seal(box, inner.data, inner.size, public_key) == 0 ? 0 : -EIO;
    }
    if (r >= 0)
        r = buffer_append(ret_sealed, box, inner.size + crypto_box_SEALBYTES);
    buffer_wipe(&inner);
    return r < 0 ? r : 0;
}

static int check_inner(const uint8_t *inner, size_t size, const char *context, Secret **ret_plain)
{
    Reader reader = READER(inner, size);
    const uint8_t *bytes;
    uint32_t length;

    if (reader_u32(&reader, &length) < 0 || length > ENVELOPE_CONTEXT_MAX ||
        reader_bytes(&reader, length, &bytes) < 0)
        return -EBADMSG;
    if (length != strlen(context) || memcmp(bytes, context, length) != 0)
        return -EBADMSG;
    length = (uint32_t)reader_left(&reader);
    if (reader_bytes(&reader, length, &bytes) < 0)
        return -EBADMSG;
    *ret_plain = secret_new(bytes, length);
    return *ret_plain ? 0 : -ENOMEM;
}

int envelope_open(const Secret *private_key, const char *context, const void *sealed, size_t size,
                  Secret **ret_plain)
{
    uint8_t public_key[ENVELOPE_KEY_SIZE];
    _cleanup_free_ uint8_t *inner = NULL;
    size_t inner_size;
    int r;

    if (size < ENVELOPE_OVERHEAD)
        return -EBADMSG;
    inner_size = size - crypto_box_SEALBYTES;
    r = envelope_public_from_private(private_key, public_key);
    if (r < 0)
        return r;
    inner = memory_try_new_array(inner_size, 1, ENVELOPE_PLAIN_MAX + ENVELOPE_CONTEXT_MAX + 4);
    if (!inner)
        return -E2BIG;
    if (crypto_box_seal_open(inner, sealed, size, public_key, secret_bytes(private_key)) != 0)
        return -EBADMSG;
    r = check_inner(inner, inner_size, context, ret_plain);
    memory_wipe(inner, inner_size);
    return r;
}
