/* SPDX-License-Identifier: Apache-2.0 */
/* AEAD, hash, passwords, tokens, signatures, envelopes. Known answers are of the algorithms' own documents.
 */

#include <time.h>

#include "crypto/aead.h"
#include "crypto/envelope.h"
#include "crypto/hash.h"
#include "crypto/password.h"
#include "crypto/sealing.h"
#include "crypto/shamir.h"
#include "crypto/sign.h"
#include "crypto/start.h"
#include "crypto/token.h"
#include "run.h"

static void from_hex(const char *text, uint8_t *destination, size_t size)
{
    size_t written = 0;

    assert_true(hex_decode(text, destination, size, &written) >= 0);
    assert_int_equal(written, size);
}

static void test_aead_known_answer(void **state)
{
    static const uint8_t zeros[32];
    uint8_t sealed[32], expected[32], plain[16];

    assert_int_equal(aead_seal(zeros, zeros, NULL, 0, zeros, 16, sealed), 0);
    from_hex("cea7403d4d606b6e074ec5d3baf39d18d0d1c8a799996bf0265b98b5d48ab919", expected, 32);
    assert_memory_equal(sealed, expected, 32);
    assert_int_equal(aead_open(zeros, zeros, NULL, 0, sealed, 32, plain), 0);
    assert_memory_equal(plain, zeros, 16);
    assert_int_equal(aead_seal(zeros, zeros, NULL, 0, NULL, 0, sealed), 0);
    from_hex("530f8afbc74536b9a963b4f1c4cb738b", expected, 16);
    assert_memory_equal(sealed, expected, 16);
    assert_int_equal(aead_open(zeros, zeros, NULL, 0, sealed, 16, plain), 0);
}

static void test_aead_refuses_every_changed_bit(void **state)
{
    uint8_t key[32], nonce[12], sealed[20 + AEAD_TAG_SIZE], plain[20], zeros[20] = {0};
    const char text[] = "attack at dawn, ten.";

    random_bytes(&system_random, key, sizeof(key));
    random_bytes(&system_random, nonce, sizeof(nonce));
    assert_int_equal(aead_seal(key, nonce, "where", 5, text, 20, sealed), 0);
    assert_int_equal(aead_open(key, nonce, "where", 5, sealed, sizeof(sealed), plain), 0);
    assert_memory_equal(plain, text, 20);
    for (size_t bit = 0; bit < sizeof(sealed) * 8; bit++) {
        sealed[bit / 8] ^= (uint8_t)(1 << (bit % 8));
        assert_int_equal(aead_open(key, nonce, "where", 5, sealed, sizeof(sealed), plain), -EBADMSG);
        assert_memory_equal(plain, zeros, 20);
        sealed[bit / 8] ^= (uint8_t)(1 << (bit % 8));
    }
    assert_int_equal(aead_open(key, nonce, "there", 5, sealed, sizeof(sealed), plain), -EBADMSG);
    assert_int_equal(aead_open(key, nonce, NULL, 0, sealed, sizeof(sealed), plain), -EBADMSG);
    assert_int_equal(aead_open(key, nonce, "where", 5, sealed, sizeof(sealed) - 1, plain), -EBADMSG);
    assert_int_equal(aead_open(key, nonce, "where", 5, sealed, AEAD_TAG_SIZE - 1, plain), -EBADMSG);
    nonce[0] ^= 1;
    assert_int_equal(aead_open(key, nonce, "where", 5, sealed, sizeof(sealed), plain), -EBADMSG);
    nonce[0] ^= 1;
    key[31] ^= 1;
    assert_int_equal(aead_open(key, nonce, "where", 5, sealed, sizeof(sealed), plain), -EBADMSG);
}

static void test_hash(void **state)
{
    _cleanup_hash_ Hash *hash = hash_new();
    uint8_t digest[HASH_SIZE], expected[HASH_SIZE];
    char hex[HASH_HEX_SIZE];

    hash_sha256_hex("abc", 3, hex);
    assert_string_equal(hex, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    from_hex(hex, expected, sizeof(expected));
    for (int round = 0; round < 2; round++) { /* starts anew after its end */
        hash_add(hash, "a", 1);
        hash_add(hash, NULL, 0);
        hash_add(hash, "bc", 2);
        hash_finish(hash, digest);
        assert_memory_equal(digest, expected, HASH_SIZE);
    }
    hash_sha256_hex(NULL, 0, hex);
    assert_string_equal(hex, "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
}

static void test_hash_of_a_file(void **state)
{
    _cleanup_directory_ char *directory = temporary_directory();
    _cleanup_free_ char *path = path_join(directory, "file");
    _cleanup_free_ uint8_t *content = NEW_ARRAY(uint8_t, 100000);
    uint8_t digest[HASH_SIZE], expected[HASH_SIZE];
    uint64_t size = 0;
    int descriptor;

    random_bytes(&system_random, content, 100000);
    assert_true(file_write_new(path, content, 100000, 0600) >= 0);
    descriptor = open(path, O_RDONLY | O_CLOEXEC);
    assert_int_equal(hash_descriptor(descriptor, 100000, digest, &size), 0);
    assert_int_equal(size, 100000);
    hash_sha256(content, 100000, expected);
    assert_memory_equal(digest, expected, HASH_SIZE);
    assert_int_equal(lseek(descriptor, 0, SEEK_SET), 0);
    assert_int_equal(hash_descriptor(descriptor, 99999, digest, &size), -EFBIG);
    (void)close(descriptor);
}

static double seconds(void)
{
    struct timespec now;

    (void)clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

static void test_password(void **state)
{
    _cleanup_secret_ Secret *right = secret_new("correct horse", 13),
                            *wrong = secret_new("correct horsf", 13);
    _cleanup_secret_ Secret *with_nul = secret_new("correct horse\0x", 15);
    char hash[PASSWORD_HASH_SIZE];
    double known, unknown, start;

    assert_int_equal(password_hash(right, hash), 0);
    assert_true(string_starts_with(hash, "$argon2id$v=19$m=65536,t=3,p=1$"));
    assert_false(password_needs_rehash(hash));
    start = seconds();
    assert_int_equal(password_verify(hash, right), 0);
    known = seconds() - start;
    assert_int_equal(password_verify(hash, wrong), -EKEYREJECTED);
    assert_int_equal(password_verify(hash, with_nul), -EKEYREJECTED);
    start = seconds();
    assert_int_equal(password_verify(NULL, right), -EKEYREJECTED);
    unknown = seconds() - start;
    /* Same work for an account that does not exist: not a tenth of the time, as it would be without it. */
    assert_true(unknown > known / 3 && unknown < known * 3);
    assert_int_equal(password_verify("$argon2id$nonsense", right), -EKEYREJECTED);
    assert_int_equal(password_verify("", right), -EKEYREJECTED);
}

static void test_password_limits(void **state)
{
    char long_text[PASSWORD_LENGTH_MAX + 1], hash[PASSWORD_HASH_SIZE];
    _cleanup_secret_ Secret *too_long = NULL, *longest = NULL;

    memset(long_text, 'x', sizeof(long_text));
    too_long = secret_new(long_text, sizeof(long_text));
    longest = secret_new(long_text, PASSWORD_LENGTH_MAX);
    assert_int_equal(password_hash(too_long, hash), -E2BIG);
    assert_int_equal(password_hash(longest, hash), 0);
    /* The first PASSWORD_LENGTH_MAX bytes are right, and that is not enough. */
    assert_int_equal(password_verify(hash, too_long), -EKEYREJECTED);
    assert_true(password_needs_rehash(
        "$argon2id$v=19$m=4096,t=3,p=1$nMCJkEPj0p9yA8GaZCtZbQ$Lf0vGkgWwzYyHxTpvfnLXKX1TjvLHLVZGhXKTNxo3aE"));
    assert_true(password_needs_rehash(NULL));
    assert_true(password_needs_rehash("plain"));
}

static void test_token(void **state)
{
    _cleanup_secret_ Secret *token = NULL;
    char id[ID_SIZE], parsed[ID_SIZE], text[TOKEN_SIZE_MAX + 8];
    uint8_t hash[HASH_SIZE], again[HASH_SIZE];
    size_t length;

    assert_int_equal(token_make(&system_random, "btk", id, &token, hash), 0);
    length = secret_size(token);
    assert_int_equal(length, 3 + 1 + ID_LENGTH + 1 + TOKEN_RANDOM_LENGTH);
    memcpy(text, secret_bytes(token), length + 1);
    assert_int_equal(token_parse(text, length, "btk", parsed, again), 0);
    assert_string_equal(id, parsed);
    assert_true(token_hash_equal(hash, again));
    assert_int_equal(token_parse(text, length, "bpe", parsed, again), -EBADMSG);
    assert_int_equal(token_parse(text, length - 1, "btk", parsed, again), -EBADMSG);
    assert_int_equal(token_parse("", 0, "btk", parsed, again), -EBADMSG);
    text[length] = 'A';
    assert_int_equal(token_parse(text, length + 1, "btk", parsed, again), -EBADMSG);
    text[length - 1] = text[length - 1] == 'A' ? 'B' : 'A';
    assert_int_equal(token_parse(text, length, "btk", parsed, again), 0);
    assert_false(token_hash_equal(hash, again));
    text[length - 1] = ' ';
    assert_int_equal(token_parse(text, length, "btk", parsed, again), -EBADMSG);
    text[length - 1] = 'A';
    text[4] = '/';
    assert_int_equal(token_parse(text, length, "btk", parsed, again), -EBADMSG);
}

static void test_sign_known_answer(void **state)
{
    uint8_t seed_bytes[32], public_key[32], expected_key[32], signature[64], expected[64];
    _cleanup_secret_ Secret *seed = NULL, *broken = secret_new("short", 5);

    from_hex("9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60", seed_bytes, 32);
    from_hex("d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a", expected_key, 32);
    from_hex("e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701cf9b46"
             "bd25bf5f0"
             "595bbe24655141438e7a100b",
             expected, 64);
    seed = secret_new(seed_bytes, 32);
    assert_int_equal(sign_public_from_seed(seed, public_key), 0);
    assert_memory_equal(public_key, expected_key, 32);
    assert_int_equal(sign_message(seed, "", 0, signature), 0);
    assert_memory_equal(signature, expected, 64);
    assert_int_equal(sign_verify(public_key, "", 0, signature), 0);
    assert_int_equal(sign_verify(public_key, "x", 1, signature), -EKEYREJECTED);
    signature[10] ^= 1;
    assert_int_equal(sign_verify(public_key, "", 0, signature), -EKEYREJECTED);
    assert_int_equal(sign_message(broken, "", 0, signature), -EINVAL);
}

static void test_envelope(void **state)
{
    _cleanup_secret_ Secret *key = NULL, *other = NULL, *plain = NULL;
    _cleanup_buffer_ Buffer sealed = BUFFER_INIT;
    uint8_t public_key[ENVELOPE_KEY_SIZE], other_public[ENVELOPE_KEY_SIZE], derived[ENVELOPE_KEY_SIZE];

    assert_int_equal(envelope_generate_key(&key, public_key), 0);
    assert_int_equal(envelope_generate_key(&other, other_public), 0);
    assert_int_equal(envelope_public_from_private(key, derived), 0);
    assert_memory_equal(derived, public_key, ENVELOPE_KEY_SIZE);
    assert_int_equal(envelope_seal(public_key, "cluster/1/password", "hunter2", 7, &sealed), 0);
    assert_int_equal(sealed.size, ENVELOPE_OVERHEAD + strlen("cluster/1/password") + 7);
    assert_int_equal(envelope_open(key, "cluster/1/password", sealed.data, sealed.size, &plain), 0);
    assert_int_equal(secret_size(plain), 7);
    assert_memory_equal(secret_bytes(plain), "hunter2", 7);
    plain = secret_free(plain);
    assert_int_equal(envelope_open(key, "cluster/2/password", sealed.data, sealed.size, &plain), -EBADMSG);
    assert_int_equal(envelope_open(key, "cluster/1/passwor", sealed.data, sealed.size, &plain), -EBADMSG);
    assert_int_equal(envelope_open(other, "cluster/1/password", sealed.data, sealed.size, &plain), -EBADMSG);
    assert_int_equal(envelope_open(key, "cluster/1/password", sealed.data, sealed.size - 1, &plain),
                     -EBADMSG);
    assert_int_equal(envelope_open(key, "cluster/1/password", sealed.data, 10, &plain), -EBADMSG);
    sealed.data[40] ^= 1;
    assert_int_equal(envelope_open(key, "cluster/1/password", sealed.data, sealed.size, &plain), -EBADMSG);
    assert_null(plain);
}

static void test_envelope_refuses_weak_keys(void **state)
{
    _cleanup_buffer_ Buffer sealed = BUFFER_INIT;
    uint8_t weak[ENVELOPE_KEY_SIZE] = {0};

    assert_int_equal(envelope_check_public(weak), -EKEYREJECTED);
    assert_int_equal(envelope_seal(weak, "c", "x", 1, &sealed), -EKEYREJECTED);
    weak[0] = 1;
    assert_int_equal(envelope_check_public(weak), -EKEYREJECTED);
    from_hex("e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800", weak, 32);
    assert_int_equal(envelope_check_public(weak), -EKEYREJECTED);
    assert_int_equal(sealed.size, 0);
}

/* FIPS 197, 4.2 and 4.2.1, and the inverse of its S-box example. */
static void test_field_known_answers(void **state)
{
    assert_int_equal(shamir_multiply(0x57, 0x83), 0xc1);
    assert_int_equal(shamir_multiply(0x57, 0x13), 0xfe);
    assert_int_equal(shamir_multiply(0x57, 0x02), 0xae);
    assert_int_equal(shamir_multiply(0x57, 0x10), 0x07);
    assert_int_equal(shamir_invert(0x53), 0xca);
    assert_int_equal(shamir_invert(0), 0);
    for (unsigned i = 1; i < 256; i++)
        assert_int_equal(shamir_multiply((uint8_t)i, shamir_invert((uint8_t)i)), 1);
}

/* Every choice of three shares out of five, and none of two. */
static void test_shares(void **state)
{
    enum { SIZE = 32, COUNT = 5 };
    uint8_t secret[SIZE], shares[COUNT * SIZE], result[SIZE], points[3];
    const uint8_t *chosen[3];

    random_bytes(&system_random, secret, sizeof(secret));
    assert_int_equal(shamir_split(secret, SIZE, 3, COUNT, &system_random, shares), 0);
    for (unsigned i = 0; i < COUNT; i++)
        for (unsigned j = 0; j < COUNT; j++)
            for (unsigned k = 0; k < COUNT; k++) {
                const unsigned index[3] = {i, j, k};
                int r;

                for (unsigned n = 0; n < 3; n++) {
                    points[n] = (uint8_t)(index[n] + 1);
                    chosen[n] = shares + index[n] * SIZE;
                }
                r = shamir_combine(points, chosen, 3, SIZE, result);
                if (i == j || j == k || i == k) {
                    assert_int_equal(r, -EINVAL);
                    continue;
                }
                assert_int_equal(r, 0);
                assert_memory_equal(result, secret, SIZE);
                assert_int_equal(shamir_combine(points, chosen, 2, SIZE, result), 0);
                assert_memory_not_equal(result, secret, SIZE);
            }
    points[0] = 0;
    assert_int_equal(shamir_combine(points, chosen, 3, SIZE, result), -EINVAL);
    assert_int_equal(shamir_split(secret, SIZE, 1, COUNT, &system_random, shares), -EINVAL);
    assert_int_equal(shamir_split(secret, SIZE, 4, 3, &system_random, shares), -EINVAL);
    assert_int_equal(shamir_split(secret, SIZE, 2, SHAMIR_SHARES_MAX + 1, &system_random, shares), -EINVAL);
    assert_int_equal(shamir_split(secret, 0, 2, 3, &system_random, shares), -EINVAL);
}

static void test_sealing_to_a_passphrase(void **state)
{
    _cleanup_secret_ Secret *passphrase = secret_new("correct horse battery", 21),
                            *other = secret_new("another passphrase", 18), *is_short = secret_new("short", 5),
                            *plain = NULL;
    _cleanup_buffer_ Buffer sealed = BUFFER_INIT, again = BUFFER_INIT;
    Error error = ERROR_INIT;
    Secret *none = NULL;

    assert_int_equal(sealing_seal(passphrase, "value", 5, &sealed, &error), 0);
    assert_int_equal(sealed.size, SEALING_OVERHEAD + 5);
    assert_null(memmem(sealed.data, sealed.size, "value", 5));
    assert_int_equal(sealing_seal(passphrase, "value", 5, &again, &error), 0);
    assert_memory_not_equal(sealed.data + 12, again.data + 12, 40); /* salt and nonce */
    assert_int_equal(sealing_open(passphrase, sealed.data, sealed.size, &plain, &error), 0);
    assert_int_equal(secret_size(plain), 5);
    assert_memory_equal(secret_bytes(plain), "value", 5);
    assert_true(sealing_open(other, sealed.data, sealed.size, &none, &error) < 0);
    assert_int_equal(error.code, ERROR_FORBIDDEN);
    error_clear(&error);
    sealed.data[sealed.size - 1] ^= 1;
    assert_true(sealing_open(passphrase, sealed.data, sealed.size, &none, &error) < 0);
    assert_int_equal(error.code, ERROR_FORBIDDEN);
    error_clear(&error);
    /* It asks for more work than anything of ours does. */
    sealed.data[4] = 0xff;
    assert_true(sealing_open(passphrase, sealed.data, sealed.size, &none, &error) < 0);
    assert_int_equal(error.code, ERROR_BAD_DOCUMENT);
    error_clear(&error);
    assert_true(sealing_open(passphrase, sealed.data, SEALING_OVERHEAD - 1, &none, &error) < 0);
    error_clear(&error);
    buffer_clear(&again);
    assert_true(sealing_seal(is_short, "value", 5, &again, &error) < 0);
    assert_int_equal(error.code, ERROR_INSECURE);
    assert_int_equal(again.size, 0);
    assert_null(none);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_aead_known_answer),
        cmocka_unit_test(test_aead_refuses_every_changed_bit),
        cmocka_unit_test(test_hash),
        cmocka_unit_test(test_hash_of_a_file),
        cmocka_unit_test(test_password),
        cmocka_unit_test(test_password_limits),
        cmocka_unit_test(test_token),
        cmocka_unit_test(test_sign_known_answer),
        cmocka_unit_test(test_envelope),
        cmocka_unit_test(test_envelope_refuses_weak_keys),
        cmocka_unit_test(test_field_known_answers),
        cmocka_unit_test(test_shares),
        cmocka_unit_test(test_sealing_to_a_passphrase),
    };

    if (crypto_start() < 0)
        return 1;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
