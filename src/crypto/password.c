/* SPDX-License-Identifier: Apache-2.0 */
#include "crypto/password.h"

#include <errno.h>
#include <sodium.h>

#include "base/string.h"

static const unsigned long long operations = 3;
static const size_t memory = 64 * 1024 * 1024;

/* Of a random password that nobody kept; only its parameters matter, and the test checks that they are
 * today's. */
static const char decoy[] =
    "$argon2id$v=19$m=65536,t=3,p=1$nMCJkEPj0p9yA8GaZCtZbQ$Lf0vGkgWwzYyHxTpvfnLXKX1TjvLHLVZGhXKTNxo3aE";

_Static_assert(PASSWORD_HASH_SIZE >= crypto_pwhash_STRBYTES, "the hash fits its buffer");

int password_hash(const Secret *password, char ret_hash[static PASSWORD_HASH_SIZE])
{
    if (secret_size(password) > PASSWORD_LENGTH_MAX)
        return -E2BIG;
    if (sodium_init() < 0)
        return -ENOSYS;
    if (crypto_pwhash_str_alg(ret_hash, (const char *)secret_bytes(password), secret_size(password),
                              operations, memory, crypto_pwhash_ALG_ARGON2ID13) != 0)
        return -ENOMEM;
    return 0;
}

int password_verify(const char *hash, const Secret *password)
{
    bool is_real = hash && strlen(hash) < crypto_pwhash_STRBYTES && string_starts_with(hash, "$argon2id$") &&
                   crypto_pwhash_str_needs_rehash(hash, operations, memory) >= 0;
    bool is_too_long = secret_size(password) > PASSWORD_LENGTH_MAX;
    char tried[crypto_pwhash_STRBYTES] = "";
    int r;

    if (sodium_init() < 0)
        return -ENOSYS;
    (void)string_copy(tried, sizeof(tried), is_real ? hash : decoy);
    /* Too long is refused after the usual work, with a piece of the password that is certainly short enough.
     */
    r = crypto_pwhash_str_verify(tried, (const char *)secret_bytes(password),
                                 is_too_long ? PASSWORD_LENGTH_MAX : secret_size(password));
    return r == 0 && is_real && !is_too_long ? 0 : -EKEYREJECTED;
}

bool password_needs_rehash(const char *hash)
{
    return !hash || strlen(hash) >= crypto_pwhash_STRBYTES ||
           crypto_pwhash_str_needs_rehash(hash, operations, memory) != 0;
}

/* Letters that are not mistaken for others; some 135 bits. */
Secret *password_generate(Random *random)
{
    static const char letters[] = "abcdefghijkmnpqrstuvwxyzABCDEFGHJKLMNPQRSTUVWXYZ23456789";
    char text[PASSWORD_GENERATED_LENGTH];
    for (size_t i = 0; i < sizeof(text); i++)
        text[i] = letters[random_below(random, sizeof(letters) - 1)];
    Secret *password = secret_new(text, sizeof(text));
    memory_wipe(text, sizeof(text));
    return password;
}
