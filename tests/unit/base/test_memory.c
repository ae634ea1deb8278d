/* SPDX-License-Identifier: Apache-2.0 */
#include <signal.h>
#include <string.h>

#include "helper.h"

static void test_new_is_zeroed(void **state)
{
    _cleanup_free_ uint8_t *bytes = memory_new(1000);
    for (size_t i = 0; i < 1000; i++)
        assert_int_equal(bytes[i], 0);
    _cleanup_free_ void *nothing = memory_new(0);
    assert_non_null(nothing);
    _cleanup_free_ uint64_t *numbers = NEW_ARRAY(uint64_t, 7);
    assert_int_equal(numbers[6], 0);
}

static void overflow_array(void)
{
    free(memory_new_array(SIZE_MAX / 2, 3));
}

static void overflow_resize(void)
{
    free(memory_resize_array(NULL, SIZE_MAX / 2, 3));
}

static void fail_assertion(void)
{
    ASSERT(1 + 1 == 3);
}

static void test_overflow_aborts(void **state)
{
    assert_int_equal(signal_of(overflow_array), SIGABRT);
    assert_int_equal(signal_of(overflow_resize), SIGABRT);
    assert_int_equal(signal_of(fail_assertion), SIGABRT);
}

static void test_try_new_array(void **state)
{
    assert_null(memory_try_new_array(SIZE_MAX / 2, 3, SIZE_MAX));
    assert_null(memory_try_new_array(11, 10, 109));
    _cleanup_free_ void *fits = memory_try_new_array(11, 10, 110);
    assert_non_null(fits);
}

static void test_duplicate(void **state)
{
    _cleanup_free_ char *copy = memory_duplicate("abc", 4);
    assert_string_equal(copy, "abc");
    _cleanup_free_ char *nothing = memory_duplicate(NULL, 0);
    assert_non_null(nothing);
}

static void test_arena(void **state)
{
    _cleanup_arena_ Arena *arena = arena_new();
    assert_int_equal(arena_used(arena), 0);
    char *previous = NULL;
    for (size_t i = 0; i < 2000; i++) {
        char *text = arena_format(arena, "number %zu", i);
        assert_int_equal((uintptr_t)text % 16, 0);
        assert_true(text != previous);
        previous = text;
    }
    assert_string_equal(previous, "number 1999");
    uint8_t *large = arena_allocate(arena, 3 * 1024 * 1024);
    for (size_t i = 0; i < 3 * 1024 * 1024; i += 4096)
        assert_int_equal(large[i], 0);
    assert_true(arena_used(arena) > 3 * 1024 * 1024);
    memset(large, 0xff, 3 * 1024 * 1024);
    arena_reset(arena);
    assert_int_equal(arena_used(arena), 0);
    const uint8_t *again = arena_allocate(arena, 4000);
    for (size_t i = 0; i < 4000; i++)
        assert_int_equal(again[i], 0);
    assert_null(arena_free(NULL));
}

static void test_arena_strings(void **state)
{
    _cleanup_arena_ Arena *arena = arena_new();
    assert_null(arena_string(arena, NULL));
    assert_string_equal(arena_string(arena, "abc"), "abc");
    assert_string_equal(arena_string_n(arena, "abcdef", 2), "ab");
    assert_memory_equal(arena_duplicate(arena, "a\0b", 3), "a\0b", 3);
    const uint32_t *numbers = arena_allocate_array(arena, 3, sizeof(uint32_t));
    assert_int_equal(numbers[2], 0);
}

static void test_take(void **state)
{
    char *owned = string_duplicate("x");
    _cleanup_free_ char *taken = TAKE_PTR(owned);
    assert_null(owned);
    assert_string_equal(taken, "x");
    int descriptor = 7, moved = TAKE_FD(descriptor);
    assert_int_equal(descriptor, -1);
    assert_int_equal(moved, 7);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_new_is_zeroed), cmocka_unit_test(test_overflow_aborts),
        cmocka_unit_test(test_try_new_array), cmocka_unit_test(test_duplicate),
        cmocka_unit_test(test_arena),         cmocka_unit_test(test_arena_strings),
        cmocka_unit_test(test_take),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
