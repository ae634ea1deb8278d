/* SPDX-License-Identifier: Apache-2.0 */
/* One-time codes by time; the known answers are those of RFC 6238, the last six of their eight digits. S10.
 */

#include <errno.h>

#include "crypto/totp.h"
#include "run.h"

static void test_known_answers(void **state)
{
    (void)state;
    static const struct {
        uint64_t seconds;
        const char *code;
    } rows[] = {
        {59, "287082"},         {1111111109, "081804"}, {1111111111, "050471"},
        {1234567890, "005924"}, {2000000000, "279037"}, {20000000000, "353130"},
    };
    _cleanup_secret_ Secret *key = secret_new("12345678901234567890", 20);
    char text[TOTP_KEY_TEXT_SIZE];
    totp_key_text(key, text);
    assert_string_equal(text, "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ");
    for (size_t i = 0; i < ELEMENTSOF(rows); i++) {
        char code[TOTP_CODE_LENGTH + 1];
        int64_t step = 0;
        totp_code(key, totp_step(rows[i].seconds * USEC_PER_SEC), code);
        assert_string_equal(code, rows[i].code);
        assert_int_equal(totp_check(key, rows[i].code, rows[i].seconds * USEC_PER_SEC, &step), 0);
        assert_int_equal(step, rows[i].seconds / 30);
    }
}

static void test_one_step_off(void **state)
{
    (void)state;
    _cleanup_secret_ Secret *key = totp_key_new(&system_random);
    const Usec now = 1000000 * 30 * USEC_PER_SEC;
    for (int64_t off = -3; off <= 3; off++) {
        char code[TOTP_CODE_LENGTH + 1];
        int64_t step = 0;
        totp_code(key, 1000000 + off, code);
        int r = totp_check(key, code, now, &step);
        if (off >= -1 && off <= 1) {
            assert_int_equal(r, 0);
            assert_int_equal(step, 1000000 + off);
        } else if (r == 0) { /* one in some hundred thousand codes is that of another step, too */
            assert_true(step >= 999999 && step <= 1000001);
        }
    }
}

static void test_shapes(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "", "28708", "2870820", " 287082", "287082 ", "28708x", "\xd9\xa1\xd9\xa2\xd9\xa3"};
    _cleanup_secret_ Secret *key = secret_new("12345678901234567890", 20);
    for (size_t i = 0; i < ELEMENTSOF(bad); i++) {
        int64_t step = 0;
        assert_int_equal(totp_check(key, bad[i], 59 * USEC_PER_SEC, &step), -EKEYREJECTED);
    }
}

static void test_recovery_codes(void **state)
{
    (void)state;
    char code[RECOVERY_CODE_SIZE], bare[RECOVERY_CODE_SIZE], other[RECOVERY_CODE_SIZE];
    uint8_t hash[HASH_SIZE], again[HASH_SIZE];
    recovery_code_new(&system_random, code);
    recovery_code_new(&system_random, other);
    assert_string_not_equal(code, other);
    assert_int_equal(strlen(code), 19);
    assert_true(recovery_code_hash("ann", code, hash));
    size_t length = 0;
    for (const char *c = code; *c; c++)
        if (*c != '-')
            bare[length++] = *c >= 'a' ? (char)(*c - 'a' + 'A') : *c;
    bare[length] = '\0';
    assert_true(recovery_code_hash("ann", bare, again));
    assert_memory_equal(hash, again, HASH_SIZE);
    assert_true(recovery_code_hash("bob", code, again)); /* each name has its own hashes */
    assert_memory_not_equal(hash, again, HASH_SIZE);
    static const char *const bad[] = {"",
                                      "123456",
                                      "abcd-efgh-ijkl-mno",
                                      "abcd-efgh-ijkl-mnop-q",
                                      "abcd-efgh-ijkl-mn0p",
                                      "abcd efgh ijkl mnop"};
    for (size_t i = 0; i < ELEMENTSOF(bad); i++)
        assert_false(recovery_code_hash("ann", bad[i], again));
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_known_answers),
        cmocka_unit_test(test_one_step_off),
        cmocka_unit_test(test_shapes),
        cmocka_unit_test(test_recovery_codes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
