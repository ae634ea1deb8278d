/* SPDX-License-Identifier: Apache-2.0 */
#include "sandbox/host_key.h"

#include <errno.h>
#include <sodium.h>

#include "base/memory.h"
#include "base/secret.h"
#include "base/string.h"

static const char type[] = "ssh-ed25519";

static void append_field(Buffer *buffer, const void *data, size_t size)
{
    buffer_append_u32(buffer, (uint32_t)size);
    buffer_append(buffer, data, size);
}

static void append_public(Buffer *buffer, const uint8_t *key)
{
    append_field(buffer, type, sizeof(type) - 1);
    append_field(buffer, key, crypto_sign_PUBLICKEYBYTES);
}

/* The part that a passphrase would encrypt. */
static void append_private(Buffer *buffer, const uint8_t *public_key, const uint8_t *secret_key)
{
    uint32_t check = randombytes_random();
    buffer_append_u32(buffer, check);
    buffer_append_u32(buffer, check);
    append_public(buffer, public_key);
    append_field(buffer, secret_key, crypto_sign_SECRETKEYBYTES);
    append_field(buffer, "", 0); /* comment */
    for (uint8_t padding = 1; buffer->size % 8 != 0; padding++)
        buffer_append_byte(buffer, padding);
}

static void append_pem(Buffer *buffer, const Buffer *body)
{
    enum { LINE = 70 };
    size_t size = 4 * ((body->size + 2) / 3) + 1;
    char *text = memory_new(size);
    base64_encode(body->data, body->size, text);
    buffer_append_string(buffer, "-----BEGIN OPENSSH PRIVATE KEY-----\n");
    for (size_t i = 0; i < size - 1; i += LINE) {
        buffer_append(buffer, text + i, MIN((size_t)LINE, size - 1 - i));
        buffer_append_byte(buffer, '\n');
    }
    buffer_append_string(buffer, "-----END OPENSSH PRIVATE KEY-----\n");
    memory_wipe(text, size);
    free(text);
}

int host_key_generate(Buffer *private_key, char **ret_public_key)
{
    static const char magic[] = "openssh-key-v1"; /* its NUL belongs to it */
    uint8_t public_key[crypto_sign_PUBLICKEYBYTES], secret_key[crypto_sign_SECRETKEYBYTES];
    if (crypto_sign_keypair(public_key, secret_key) != 0)
        return -EIO;
    Buffer public_blob = BUFFER_INIT, private_part = BUFFER_INIT, body = BUFFER_INIT;
    append_public(&public_blob, public_key);
    append_private(&private_part, public_key, secret_key);
    memory_wipe(secret_key, sizeof(secret_key));
    buffer_append(&body, magic, sizeof(magic));
    append_field(&body, "none", 4); /* cipher */
    append_field(&body, "none", 4); /* key derivation */
    append_field(&body, "", 0);
    buffer_append_u32(&body, 1); /* keys */
    append_field(&body, public_blob.data, public_blob.size);
    append_field(&body, private_part.data, private_part.size);
    append_pem(private_key, &body);
    char encoded[128];
    base64_encode(public_blob.data, public_blob.size, encoded);
    *ret_public_key = string_format("%s %s", type, encoded);
    buffer_done(&public_blob);
    buffer_wipe(&private_part);
    buffer_wipe(&body);
    return 0;
}
