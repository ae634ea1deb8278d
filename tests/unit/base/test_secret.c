/* SPDX-License-Identifier: Apache-2.0 */
#include <signal.h>

#include "base/secret.h"
#include "helper.h"

static void test_bytes(void **state)
{
    _cleanup_secret_ Secret *secret = secret_new("pass\0word", 9), *same = secret_new("pass\0word", 9),
                            *other = secret_new("pass\0worx", 9), *shorter = secret_new("pass", 4),
                            *empty = secret_new(NULL, 0);
    assert_int_equal(secret_size(secret), 9);
    assert_memory_equal(secret_bytes(secret), "pass\0word", 10);
    assert_true(secret_equal(secret, same));
    assert_false(secret_equal(secret, other) || secret_equal(secret, shorter));
    assert_int_equal(secret_size(empty), 0);
    assert_int_equal(secret_bytes(empty)[0], 0);
    assert_null(secret_new("x", SIZE_MAX));
    assert_null(secret_free(NULL));
}

static void write_secret(void)
{
    Secret *secret = secret_new("abc", 3);
    (void)signal(SIGSEGV, SIG_DFL); /* a sanitizer turns it into an exit */
    *(volatile uint8_t *)(uintptr_t)secret_bytes(secret) = 'x';
}

static void overrun_secret(void)
{
    Secret *secret = secret_new("abc", 3);
    (void)signal(SIGSEGV, SIG_DFL);
    const volatile uint8_t *bytes = secret_bytes(secret);
    (void)bytes[4];
}

static void test_is_guarded(void **state)
{
    assert_int_equal(signal_of(write_secret), SIGSEGV);
    assert_int_equal(signal_of(overrun_secret), SIGSEGV);
}

static void test_wipe_and_compare(void **state)
{
    uint8_t data[4] = {1, 2, 3, 4};
    assert_true(memory_equal_constant_time(data, "\1\2\3\4", 4));
    assert_false(memory_equal_constant_time(data, "\1\2\3\5", 4));
    assert_true(memory_equal_constant_time(NULL, NULL, 0));
    memory_wipe(data, 3);
    assert_memory_equal(data, "\0\0\0\4", 4);
    memory_wipe(NULL, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_bytes),
        cmocka_unit_test(test_is_guarded),
        cmocka_unit_test(test_wipe_and_compare),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
