/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <time.h>

#include "base/clock.h"
#include "helper.h"

static void test_system_clock(void **state)
{
    Usec before = clock_monotonic(&system_clock);
    assert_true(clock_monotonic(&system_clock) >= before);
    Usec now = clock_realtime(&system_clock), other = (Usec)time(NULL) * USEC_PER_SEC;
    assert_true(now + 5 * USEC_PER_SEC > other && now < other + 5 * USEC_PER_SEC);
}

static void test_random_below(void **state)
{
    SeededRandom seeded;
    seeded_random_init(&seeded, 42);
    unsigned counts[5] = {0};
    for (unsigned i = 0; i < 10000; i++)
        counts[random_below(&seeded.random, 5)]++;
    for (unsigned i = 0; i < 5; i++)
        assert_in_range(counts[i], 1800, 2200);
    assert_int_equal(random_below(&system_random, 1), 0);
    assert_true(random_below(&system_random, UINT64_C(1) << 63) < UINT64_C(1) << 63);
}

static void test_seeded_is_reproducible(void **state)
{
    SeededRandom a, b, c;
    seeded_random_init(&a, 7);
    seeded_random_init(&b, 7);
    seeded_random_init(&c, 8);
    uint8_t from_a[37], from_b[37], from_c[37];
    random_bytes(&a.random, from_a, sizeof(from_a));
    random_bytes(&b.random, from_b, sizeof(from_b));
    random_bytes(&c.random, from_c, sizeof(from_c));
    assert_memory_equal(from_a, from_b, sizeof(from_a));
    assert_memory_not_equal(from_a, from_c, sizeof(from_a));
}

static void test_ids(void **state)
{
    char previous[ID_SIZE] = "", id[ID_SIZE];
    for (unsigned i = 0; i < 1000; i++) {
        id_generate(&system_random, id);
        assert_int_equal(strlen(id), ID_LENGTH);
        assert_true(id_is_valid(id));
        assert_true(name_is_valid(id) && identifier_is_valid(id));
        assert_string_not_equal(id, previous);
        memcpy(previous, id, sizeof(id));
    }
    assert_true(id_is_valid("abcdefghijklmnopqrst"));
    static const char *const wrong[] = {NULL,
                                        "",
                                        "abcdefghijklmnopqrs",
                                        "abcdefghijklmnopqrstu",
                                        "2bcdefghijklmnopqrst",
                                        "Abcdefghijklmnopqrst",
                                        "abcdefghijklmnopqrs1",
                                        "abcdefghijklmnopqrs/"};
    for (size_t i = 0; i < ELEMENTSOF(wrong); i++)
        assert_false(id_is_valid(wrong[i]));
}

static void test_timestamp_format(void **state)
{
    char text[TIMESTAMP_SIZE];
    timestamp_format(0, text);
    assert_string_equal(text, "1970-01-01T00:00:00.000Z");
    timestamp_format(UINT64_C(1795341600123456), text);
    assert_string_equal(text, "2026-11-22T10:00:00.123Z");
    timestamp_format(USEC_INFINITY, text);
    assert_int_equal(strlen(text), TIMESTAMP_SIZE - 1);
    assert_true(string_starts_with(text, "9999-12-31T23:59:59."));
}

static void test_timestamp_parse(void **state)
{
    static const struct {
        const char *text;
        int64_t value;
    } cases[] = {
        {"1970-01-01T00:00:00Z", 0},
        {"2026-11-22T10:00:00.000Z", 1795341600000000},
        {"2026-11-22T10:00:00.1Z", 1795341600100000},
        {"2026-11-22T10:00:00.123456789Z", 1795341600123456},
        {"2026-11-22T12:30:00+02:30", 1795341600000000},
        {"2026-11-22T05:00:00-05:00", 1795341600000000},
        {"2024-02-29T00:00:00Z", 1709164800000000},
        {"1970-01-01T00:00:00+00:01", -ERANGE},
        {"1969-12-31T23:59:59Z", -ERANGE},
        {"9999-12-31T23:59:59-00:01", -ERANGE},
        {"2023-02-29T00:00:00Z", -EINVAL},
        {"2023-04-31T00:00:00Z", -EINVAL},
        {"2023-13-01T00:00:00Z", -EINVAL},
        {"2023-00-01T00:00:00Z", -EINVAL},
        {"2023-01-00T00:00:00Z", -EINVAL},
        {"2023-01-01T24:00:00Z", -EINVAL},
        {"2023-01-01T00:60:00Z", -EINVAL},
        {"2023-01-01T00:00:60Z", -EINVAL},
        {"2023-01-01T00:00:00", -EINVAL},
        {"2023-01-01 00:00:00Z", -EINVAL},
        {"2023-01-01T00:00:00.Z", -EINVAL},
        {"2023-01-01T00:00:00.1234567890Z", -EINVAL},
        {"2023-01-01T00:00:00Zx", -EINVAL},
        {"2023-01-01T00:00:00+24:00", -EINVAL},
        {"2023-1-01T00:00:00Z", -EINVAL},
        {"", -EINVAL},
        {NULL, -EINVAL},
    };
    for (size_t i = 0; i < ELEMENTSOF(cases); i++) {
        Usec value = 0;
        int r = timestamp_parse(cases[i].text, &value);
        assert_int_equal(r < 0 ? r : (int64_t)value, cases[i].value);
    }
}

static void test_timestamp_round_trip(void **state)
{
    SeededRandom seeded;
    seeded_random_init(&seeded, 3);
    for (unsigned i = 0; i < 1000; i++) {
        Usec time = random_below(&seeded.random, UINT64_C(253402300800000)) * USEC_PER_MSEC, again = 0;
        char text[TIMESTAMP_SIZE];
        timestamp_format(time, text);
        assert_int_equal(timestamp_parse(text, &again), 0);
        assert_int_equal(again, time);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_system_clock),           cmocka_unit_test(test_random_below),
        cmocka_unit_test(test_seeded_is_reproducible), cmocka_unit_test(test_ids),
        cmocka_unit_test(test_timestamp_format),       cmocka_unit_test(test_timestamp_parse),
        cmocka_unit_test(test_timestamp_round_trip),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
