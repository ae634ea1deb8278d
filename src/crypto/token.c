/* SPDX-License-Identifier: Apache-2.0 */
#include "crypto/token.h"

#include <errno.h>

#include "base/string.h"

int token_make(Random *random, const char *prefix, char ret_id[static ID_SIZE], Secret **ret_token,
               uint8_t ret_hash[static HASH_SIZE])
{
    uint8_t bytes[32];
    char text[TOKEN_SIZE_MAX], tail[TOKEN_RANDOM_LENGTH + 1];
    Secret *token;
    int r;

    if (strlen(prefix) > TOKEN_PREFIX_LENGTH_MAX)
        return -EINVAL;
    id_generate(random, ret_id);
    random_bytes(random, bytes, sizeof(bytes));
    base64url_encode(bytes, sizeof(bytes), tail);
    memory_wipe(bytes, sizeof(bytes));
    r = string_print(text, sizeof(text), "%s-%s-%s", prefix, ret_id, tail);
    memory_wipe(tail, sizeof(tail));
    if (r < 0)
        return r;
    hash_sha256(text, strlen(text), ret_hash);
    token = secret_new(text, strlen(text));
    memory_wipe(text, sizeof(text));
    if (!token)
        return -ENOMEM;
    *ret_token = token;
    return 0;
}

static bool is_base64url(char c)
{
    return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' || c == '_';
}

int token_parse(const char *text, size_t length, const char *prefix, char ret_id[static ID_SIZE],
                uint8_t ret_hash[static HASH_SIZE])
{
    size_t prefix_length = strlen(prefix);
    const char *id = text + prefix_length + 1, *tail = id + ID_LENGTH + 1;

    if (length != prefix_length + 1 + ID_LENGTH + 1 + TOKEN_RANDOM_LENGTH)
        return -EBADMSG;
    if (memcmp(text, prefix, prefix_length) != 0 || text[prefix_length] != '-' || id[ID_LENGTH] != '-')
        return -EBADMSG;
    for (size_t i = 0; i < TOKEN_RANDOM_LENGTH; i++)
        if (!is_base64url(tail[i]))
            return -EBADMSG;
    memcpy(ret_id, id, ID_LENGTH);
    ret_id[ID_LENGTH] = '\0';
    if (!id_is_valid(ret_id))
        return -EBADMSG;
    hash_sha256(text, length, ret_hash);
    return 0;
}

bool token_hash_equal(const uint8_t a[static HASH_SIZE], const uint8_t b[static HASH_SIZE])
{
    return memory_equal_constant_time(a, b, HASH_SIZE);
}
