/* SPDX-License-Identifier: Apache-2.0 */

/* Leases: what a template allows, when somebody is warned, and clocks that jump. */

#include "domain/lease/lease.h"
#include "support.h"

static const int64_t SECOND = (int64_t)USEC_PER_SEC, HOUR = 3600 * (int64_t)USEC_PER_SEC;

static void check_prolong(void **state)
{
    (void)state;
    static const int64_t created = 1000 * (int64_t)USEC_PER_SEC;
    const int64_t now = created + HOUR, end = created + 2 * HOUR;
    const struct {
        LeaseTerms terms;
        int64_t expires_at, wanted;
        bool is_allowed;
    } cases[] = {
        {{0, 0}, end, end + 1000 * HOUR, true}, /* no terms */
        {{0, 0}, end, 0, true},
        {{0, 0}, 0, end, true}, /* a life without an end may get one */
        {{0, 0}, end, now, false},
        {{0, 0}, end, now - SECOND, false},
        {{0, 0}, end, now + SECOND, true}, /* shorter */
        {{8 * 3600 * 1000, 0}, end, created + 8 * HOUR, true},
        {{8 * 3600 * 1000, 0}, end, created + 8 * HOUR + 1, false},
        {{8 * 3600 * 1000, 0}, end, 0, false},
        {{0, 3600 * 1000}, end, end + HOUR, true},
        {{0, 3600 * 1000}, end, end + HOUR + 1, false},
        {{8 * 3600 * 1000, 3600 * 1000}, created + 7 * HOUR, created + 8 * HOUR, true},
        {{8 * 3600 * 1000, 3600 * 1000}, created + 8 * HOUR, created + 9 * HOUR, false},
    };
    for (size_t i = 0; i < ELEMENTSOF(cases); i++) {
        Error error = ERROR_INIT;
        int r =
            lease_check_prolong(&cases[i].terms, created, cases[i].expires_at, now, cases[i].wanted, &error);
        if ((r >= 0) != cases[i].is_allowed)
            fail_msg("case %zu: %s", i, r < 0 ? error.text : "allowed");
        assert_true(r >= 0 || string_equal(error.field, "expires_at"));
    }
}

static void check_warnings(void **state)
{
    (void)state;
    assert_int_equal(lease_warning_level(0, HOUR), 0);
    assert_int_equal(lease_warning_level(30 * HOUR, HOUR), 0);
    assert_int_equal(lease_warning_level(25 * HOUR, HOUR), 1);
    assert_int_equal(lease_warning_level(2 * HOUR + 1, HOUR), 1);
    assert_int_equal(lease_warning_level(2 * HOUR, HOUR), 2);
}

/* A clock that jumps ends nothing until it has had time to be put right; one that only runs does. */
static void check_clock(void **state)
{
    (void)state;
    LeaseClock clock = {0};
    Usec wall = 1000000 * USEC_PER_SEC, monotonic = 50 * USEC_PER_SEC;
    assert_true(lease_clock_observe(&clock, wall, monotonic)); /* a fresh start knows no jump */
    assert_true(lease_clock_observe(&clock, wall + 5 * USEC_PER_SEC, monotonic + 5 * USEC_PER_SEC));
    assert_true(
        lease_clock_observe(&clock, wall + 70 * USEC_PER_SEC, monotonic + 30 * USEC_PER_SEC)); /* slewed */
    wall += 365 * 24 * 3600 * USEC_PER_SEC;
    assert_false(lease_clock_observe(&clock, wall, monotonic + 40 * USEC_PER_SEC));
    assert_false(lease_clock_observe(&clock, wall + 500 * USEC_PER_SEC, monotonic + 540 * USEC_PER_SEC));
    assert_true(lease_clock_observe(&clock, wall + 601 * USEC_PER_SEC, monotonic + 641 * USEC_PER_SEC));
    assert_false(
        lease_clock_observe(&clock, wall - 3600 * USEC_PER_SEC, monotonic + 650 * USEC_PER_SEC)); /* back */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(check_prolong),
        cmocka_unit_test(check_warnings),
        cmocka_unit_test(check_clock),
    };
    return cmocka_run_group_tests_name("leases (PR3)", tests, NULL, NULL);
}
