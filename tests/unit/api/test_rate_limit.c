/* SPDX-License-Identifier: Apache-2.0 */

/* SV24: buckets of requests, in a table of a fixed size. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "api/rate_limit.h"
#include "base/string.h"

static Usec take(RateLimiter *limiter, RateKind kind, const char *key, uint64_t rate, Usec now)
{
    return rate_limiter_take(limiter, kind, key, strlen(key), rate, now);
}

static unsigned count_passed(RateLimiter *limiter, const char *key, uint64_t rate, unsigned requests,
                             Usec now)
{
    unsigned passed = 0;
    for (unsigned i = 0; i < requests; i++)
        passed += take(limiter, RATE_TENANT, key, rate, now) == 0;
    return passed;
}

static void test_burst_and_steady_rate(void **state)
{
    (void)state;
    RateLimiter *limiter = rate_limiter_new(&system_random);
    Usec now = 1000 * USEC_PER_SEC;
    assert_int_equal(count_passed(limiter, "shop", 10, 100, now), 10); /* what a second gives */
    assert_int_equal(take(limiter, RATE_TENANT, "shop", 10, now), 100 * USEC_PER_MSEC);
    assert_int_equal(count_passed(limiter, "shop", 10, 100, now + USEC_PER_SEC / 2), 5);
    assert_int_equal(count_passed(limiter, "shop", 10, 100, now + 100 * USEC_PER_SEC),
                     10); /* no more saved up */
    rate_limiter_free(limiter);
}

static void test_keys_and_kinds_are_apart(void **state)
{
    (void)state;
    RateLimiter *limiter = rate_limiter_new(&system_random);
    Usec now = 1000 * USEC_PER_SEC;
    assert_int_equal(count_passed(limiter, "shop", 1, 5, now), 1);
    assert_int_equal(count_passed(limiter, "bank", 1, 5, now), 1);
    assert_int_equal(take(limiter, RATE_ACCOUNT, "shop", 1, now), 0);
    rate_limiter_free(limiter);
}

static void test_lower_rate_counts_at_once(void **state)
{
    (void)state;
    RateLimiter *limiter = rate_limiter_new(&system_random);
    Usec now = 1000 * USEC_PER_SEC;
    assert_int_equal(count_passed(limiter, "shop", 1000, 500, now), 500);
    assert_true(count_passed(limiter, "shop", 2, 10, now) <= 1);
    rate_limiter_free(limiter);
}

/* A flood of keys does not fill the buckets of others, and costs no memory. */
static void test_flood_of_keys(void **state)
{
    (void)state;
    RateLimiter *limiter = rate_limiter_new(&system_random);
    Usec now = 1000 * USEC_PER_SEC;
    for (unsigned i = 0; i < 100000; i++) {
        char key[16];
        (void)string_print(key, sizeof(key), "k%u", i);
        assert_int_equal(take(limiter, RATE_SOURCE, key, 1, now), 0);
    }
    rate_limiter_free(limiter);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_burst_and_steady_rate),
        cmocka_unit_test(test_keys_and_kinds_are_apart),
        cmocka_unit_test(test_lower_rate_counts_at_once),
        cmocka_unit_test(test_flood_of_keys),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
