/* SPDX-License-Identifier: Apache-2.0 */

/* S05: failures by name and by source, in a table of a fixed size. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "api/sign_in_guard.h"
#include "base/string.h"

static const Usec second = USEC_PER_SEC, minute = 60 * USEC_PER_SEC;

static void test_delay_doubles_with_each_failure(void **state)
{
    (void)state;
    static const Usec expected[] = {0, 0, 50, 100, 200, 400, 800, 1600, 1600, 1600};
    SignInGuard *guard = sign_in_guard_new(&system_random);
    for (size_t i = 0; i < ELEMENTSOF(expected); i++)
        assert_int_equal(sign_in_guard_failed(guard, "192.0.2.1", "ann", minute, second),
                         expected[i] * USEC_PER_MSEC);
    assert_int_equal(sign_in_guard_failed(guard, "192.0.2.1", "bob", minute, second), 0);
    sign_in_guard_succeeded(guard, "ann");
    assert_int_equal(sign_in_guard_failed(guard, "192.0.2.1", "ann", minute, second), 0);
    sign_in_guard_succeeded(guard, "nobody");
    sign_in_guard_free(guard);
}

static void test_source_waits_and_may_come_back(void **state)
{
    (void)state;
    SignInGuard *guard = sign_in_guard_new(&system_random);
    Usec now = 100 * second;
    for (unsigned i = 0; i < 5; i++) {
        char name[16];
        assert_int_equal(sign_in_guard_wait(guard, "192.0.2.1", 5, minute, now), 0);
        (void)string_print(name, sizeof(name), "name%u", i);
        (void)sign_in_guard_failed(guard, "192.0.2.1", name, minute, now);
    }
    assert_int_equal(sign_in_guard_wait(guard, "192.0.2.1", 5, minute, now + second), minute - second);
    assert_int_equal(sign_in_guard_wait(guard, "192.0.2.2", 5, minute, now), 0);
    sign_in_guard_succeeded(guard, "name1"); /* one good account does not free the source */
    assert_true(sign_in_guard_wait(guard, "192.0.2.1", 5, minute, now) > 0);
    assert_int_equal(sign_in_guard_wait(guard, "192.0.2.1", 5, minute, now + minute), 0);
    /* What is older than the memory does not count any more. */
    (void)sign_in_guard_failed(guard, "192.0.2.1", "x", minute, now + minute);
    assert_int_equal(sign_in_guard_wait(guard, "192.0.2.1", 5, minute, now + minute), 0);
    sign_in_guard_free(guard);
}

/* Whoever has a /64 has all addresses in it. */
static void test_sources_of_ipv6(void **state)
{
    (void)state;
    static const struct {
        const char *one, *other;
        bool is_same;
    } rows[] = {
        {"2001:db8:1:2:3:4:5:6", "2001:db8:1:2:ffff::1", true},
        {"2001:db8:1:2:3:4:5:6", "2001:db8:1:3:3:4:5:6", false},
        {"::ffff:192.0.2.1", "::ffff:192.0.2.2", false},
        {"192.0.2.1", "192.0.2.10", false},
    };
    for (size_t i = 0; i < ELEMENTSOF(rows); i++) {
        SignInGuard *guard = sign_in_guard_new(&system_random);
        (void)sign_in_guard_failed(guard, rows[i].one, "ann", minute, second);
        bool is_same = sign_in_guard_wait(guard, rows[i].other, 1, minute, second) > 0;
        assert_int_equal(is_same, rows[i].is_same);
        sign_in_guard_free(guard);
    }
}

/* A flood of names from one address neither grows the table nor makes it forget the address. */
static void test_flood_of_names(void **state)
{
    (void)state;
    SignInGuard *guard = sign_in_guard_new(&system_random);
    for (unsigned i = 0; i < 100000; i++) {
        char name[16];
        (void)string_print(name, sizeof(name), "n%u", i);
        (void)sign_in_guard_failed(guard, "192.0.2.1", name, minute, second + i);
    }
    assert_true(sign_in_guard_wait(guard, "192.0.2.1", 100000, minute, second + 100000) > 0);
    sign_in_guard_free(guard);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_delay_doubles_with_each_failure),
        cmocka_unit_test(test_source_waits_and_may_come_back),
        cmocka_unit_test(test_sources_of_ipv6),
        cmocka_unit_test(test_flood_of_names),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
