/* SPDX-License-Identifier: Apache-2.0 */
#include "base/map.h"
#include "helper.h"

static unsigned freed;

static void count_free(void *value)
{
    freed++;
    free(value);
}

static void test_order_and_replacement(void **state)
{
    freed = 0;
    StringMap *map = string_map_new(count_free);
    assert_null(string_map_get(map, "a"));
    string_map_set(map, "b", string_duplicate("1"));
    string_map_set(map, "a", string_duplicate("2"));
    string_map_set(map, "c", string_duplicate("3"));
    string_map_set(map, "a", string_duplicate("4"));
    assert_int_equal(freed, 1);
    assert_int_equal(string_map_count(map), 3);
    _cleanup_buffer_ Buffer order = BUFFER_INIT;
    STRING_MAP_FOREACH (map, i)
        assert_int_equal(buffer_append_format(&order, "%s=%s ", i.key, (const char *)i.value), 0);
    assert_string_equal(buffer_string(&order), "b=1 a=4 c=3 ");
    _cleanup_free_ char *taken = string_map_take(map, "b");
    assert_string_equal(taken, "1");
    assert_int_equal(freed, 1);
    assert_true(string_map_remove(map, "a"));
    assert_false(string_map_remove(map, "a"));
    assert_null(string_map_take(map, "a"));
    assert_int_equal(freed, 2);
    assert_true(string_map_has(map, "c") && !string_map_has(map, "a"));
    map = string_map_free(map);
    assert_null(map);
    assert_int_equal(freed, 3);
}

static void test_same_value_is_not_freed(void **state)
{
    freed = 0;
    _cleanup_string_map_ StringMap *map = string_map_new(count_free);
    char *value = string_duplicate("x");
    string_map_set(map, "k", value);
    string_map_set(map, "k", value);
    assert_int_equal(freed, 0);
    assert_string_equal(string_map_get(map, "k"), "x");
}

static void test_null_values(void **state)
{
    _cleanup_string_map_ StringMap *map = string_map_new(NULL);
    string_map_set(map, "", NULL);
    assert_true(string_map_has(map, ""));
    assert_null(string_map_get(map, ""));
    assert_int_equal(string_map_count(map), 1);
}

/* Against a plain array, through growth, removal and reuse. */
static void test_many(void **state)
{
    enum { COUNT = 5000 };
    static int numbers[COUNT];
    _cleanup_string_map_ StringMap *map = string_map_new(NULL);
    char key[32];
    for (unsigned round = 0; round < 3; round++) {
        for (unsigned i = 0; i < COUNT; i++) {
            assert_int_equal(string_print(key, sizeof(key), "key-%u", i), 0);
            string_map_set(map, key, &numbers[i]);
        }
        assert_int_equal(string_map_count(map), COUNT);
        for (unsigned i = 0; i < COUNT; i += 2) {
            assert_int_equal(string_print(key, sizeof(key), "key-%u", i), 0);
            assert_ptr_equal(string_map_take(map, key), &numbers[i]);
        }
        assert_int_equal(string_map_count(map), COUNT / 2);
        for (unsigned i = 0; i < COUNT; i++) {
            assert_int_equal(string_print(key, sizeof(key), "key-%u", i), 0);
            assert_ptr_equal(string_map_get(map, key), i % 2 ? &numbers[i] : NULL);
        }
    }
    unsigned seen = 0;
    STRING_MAP_FOREACH (map, i) {
        assert_ptr_equal(i.value, &numbers[2 * seen + 1]);
        seen++;
    }
    assert_int_equal(seen, COUNT / 2);
}

static void test_removal_while_iterating(void **state)
{
    _cleanup_string_map_ StringMap *map = string_map_new(NULL);
    string_map_set(map, "a", NULL);
    string_map_set(map, "b", NULL);
    string_map_set(map, "c", NULL);
    unsigned seen = 0;
    STRING_MAP_FOREACH (map, i) {
        seen++;
        assert_true(string_map_remove(map, i.key));
    }
    assert_int_equal(seen, 3);
    assert_int_equal(string_map_count(map), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_order_and_replacement),
        cmocka_unit_test(test_same_value_is_not_freed),
        cmocka_unit_test(test_null_values),
        cmocka_unit_test(test_many),
        cmocka_unit_test(test_removal_while_iterating),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
