/* SPDX-License-Identifier: Apache-2.0 */
#include "crypto/totp.h"

#include <errno.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>

#include "base/string.h"

enum { STEP_SECONDS = 30, MODULUS = 1000000, RECOVERY_BYTES = 10, RECOVERY_LETTERS = 16 };
static const char BASE32[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";

static void base32_encode(const uint8_t *data, size_t size, char *text)
{
    unsigned bits = 0, count = 0;
    for (size_t i = 0; i < size; i++) {
        bits = (bits << 8 | data[i]) & 0xffff;
        for (count += 8; count >= 5; count -= 5)
            *text++ = BASE32[bits >> (count - 5) & 31];
    }
    if (count > 0)
        *text++ = BASE32[bits << (5 - count) & 31];
    *text = '\0';
}

Secret *totp_key_new(Random *random)
{
    uint8_t bytes[TOTP_KEY_SIZE];
    random_bytes(random, bytes, sizeof(bytes));
    Secret *key = secret_new(bytes, sizeof(bytes));
    memory_wipe(bytes, sizeof(bytes));
    return key;
}

void totp_key_text(const Secret *key, char ret_text[static TOTP_KEY_TEXT_SIZE])
{
    ASSERT(secret_size(key) == TOTP_KEY_SIZE);
    base32_encode(secret_bytes(key), TOTP_KEY_SIZE, ret_text);
}

void totp_code(const Secret *key, int64_t step, char ret_code[static TOTP_CODE_LENGTH + 1])
{
    uint8_t counter[8], digest[EVP_MAX_MD_SIZE];
    unsigned size = 0;
    for (unsigned i = 0; i < sizeof(counter); i++)
        counter[i] = (uint8_t)((uint64_t)step >> (56 - 8 * i));
    ASSERT(
        HMAC(EVP_sha1(), secret_bytes(key), (int)secret_size(key), counter, sizeof(counter), digest, &size) &&
        size == 20);
    const uint8_t *piece = digest + (digest[19] & 15);
    uint32_t number =
        (uint32_t)(piece[0] & 0x7f) << 24 | (uint32_t)piece[1] << 16 | (uint32_t)piece[2] << 8 | piece[3];
    memory_wipe(digest, sizeof(digest));
    (void)string_print(ret_code, TOTP_CODE_LENGTH + 1, "%06u", number % MODULUS);
}

int64_t totp_step(Usec realtime)
{
    return (int64_t)(realtime / (STEP_SECONDS * USEC_PER_SEC));
}

/* All three are computed and compared in any case. */
int totp_check(const Secret *key, const char *code, Usec realtime, int64_t *ret_step)
{
    int64_t now = totp_step(realtime), found = -1;
    bool is_shaped = strlen(code) == TOTP_CODE_LENGTH;
    for (int64_t step = now - 1; step <= now + 1; step++) {
        char expected[TOTP_CODE_LENGTH + 1];
        totp_code(key, step, expected);
        if (memory_equal_constant_time(is_shaped ? code : "      ", expected, TOTP_CODE_LENGTH))
            found = step;
        memory_wipe(expected, sizeof(expected));
    }
    if (found < 0)
        return -EKEYREJECTED;
    *ret_step = found;
    return 0;
}

void recovery_code_new(Random *random, char ret_code[static RECOVERY_CODE_SIZE])
{
    uint8_t bytes[RECOVERY_BYTES];
    char letters[RECOVERY_LETTERS + 1];
    random_bytes(random, bytes, sizeof(bytes));
    base32_encode(bytes, sizeof(bytes), letters);
    for (char *c = letters; *c; c++)
        *c = *c >= 'A' ? (char)(*c - 'A' + 'a') : *c;
    (void)string_print(ret_code, RECOVERY_CODE_SIZE, "%.4s-%.4s-%.4s-%.4s", letters, letters + 4, letters + 8,
                       letters + 12);
    memory_wipe(bytes, sizeof(bytes));
    memory_wipe(letters, sizeof(letters));
}

bool recovery_code_hash(const char *username, const char *code, uint8_t ret_hash[static HASH_SIZE])
{
    char letters[RECOVERY_LETTERS + 1] = "";
    size_t count = 0;
    for (; *code; code++) {
        char c = *code >= 'a' && *code <= 'z' ? (char)(*code - 'a' + 'A') : *code;
        if (c == '-')
            continue;
        if (!strchr(BASE32, c) || count == RECOVERY_LETTERS)
            return false;
        letters[count++] = c;
    }
    if (count != RECOVERY_LETTERS)
        return false;
    _cleanup_hash_ Hash *hash = hash_new();
    hash_add(hash, username, strlen(username) + 1);
    hash_add(hash, letters, RECOVERY_LETTERS);
    hash_finish(hash, ret_hash);
    memory_wipe(letters, sizeof(letters));
    return true;
}
