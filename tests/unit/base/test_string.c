/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <limits.h>

#include "helper.h"

static void test_compare(void **state)
{
    assert_true(string_equal(NULL, NULL));
    assert_false(string_equal(NULL, ""));
    assert_true(string_equal("a", "a"));
    assert_true(string_is_empty(NULL) && string_is_empty("") && !string_is_empty("a"));
    assert_true(string_starts_with("abc", "ab") && string_starts_with("abc", ""));
    assert_false(string_starts_with("ab", "abc") || string_starts_with(NULL, ""));
    assert_true(string_ends_with("a.conf", ".conf"));
    assert_false(string_ends_with("conf", ".conf") || string_ends_with(NULL, ""));
}

static void test_fixed_arrays(void **state)
{
    char text[5];
    assert_int_equal(string_print(text, sizeof(text), "%d", 1234), 0);
    assert_string_equal(text, "1234");
    assert_int_equal(string_print(text, sizeof(text), "%d", 12345), -E2BIG);
    assert_string_equal(text, "1234");
    assert_int_equal(string_copy(text, sizeof(text), "abcd"), 0);
    assert_int_equal(string_copy(text, sizeof(text), "abcde"), -E2BIG);
    assert_string_equal(text, "abcd");
    /* A cut falls between characters. */
    assert_int_equal(string_copy(text, sizeof(text), "abc\xc3\xa9"), -E2BIG);
    assert_string_equal(text, "abc");
    assert_int_equal(string_copy(text, sizeof(text), "\xf0\x9f\x98\x80x"), -E2BIG);
    assert_string_equal(text, "\xf0\x9f\x98\x80");
    assert_int_equal(string_print(text, sizeof(text), "ab%s", "\xf0\x9f\x98\x80"), -E2BIG);
    assert_string_equal(text, "ab");
    assert_int_equal(string_copy(text, 1, ""), 0);
    assert_int_equal(string_copy(text, 1, "a"), -E2BIG);
}

static void test_duplicates(void **state)
{
    assert_null(string_duplicate(NULL));
    _cleanup_free_ char *part = string_duplicate_n("abcdef", 3), *text = string_format("%s-%d", "a", 5);
    assert_string_equal(part, "abc");
    assert_string_equal(text, "a-5");
}

static void test_to_i64(void **state)
{
    int64_t value = 77;
    assert_int_equal(string_to_i64("-9223372036854775808", INT64_MIN, INT64_MAX, &value), 0);
    assert_int_equal(value, INT64_MIN);
    assert_int_equal(string_to_i64("9223372036854775807", INT64_MIN, INT64_MAX, &value), 0);
    assert_int_equal(value, INT64_MAX);
    assert_int_equal(string_to_i64("9223372036854775808", INT64_MIN, INT64_MAX, &value), -ERANGE);
    assert_int_equal(string_to_i64("-9223372036854775809", INT64_MIN, INT64_MAX, &value), -ERANGE);
    assert_int_equal(string_to_i64("99999999999999999999999", INT64_MIN, INT64_MAX, &value), -ERANGE);
    assert_int_equal(string_to_i64("11", 0, 10, &value), -ERANGE);
    assert_int_equal(string_to_i64("-1", 0, 10, &value), -ERANGE);
    static const char *const wrong[] = {"", "-", "+1", " 1", "1 ", "1a", "0x1", "--1", "1.0"};
    for (size_t i = 0; i < ELEMENTSOF(wrong); i++)
        assert_int_equal(string_to_i64(wrong[i], INT64_MIN, INT64_MAX, &value), -EINVAL);
    assert_int_equal(string_to_i64(NULL, 0, 1, &value), -EINVAL);
    assert_int_equal(value, INT64_MAX);
}

static void test_to_u64(void **state)
{
    uint64_t value = 0;
    assert_int_equal(string_to_u64("18446744073709551615", UINT64_MAX, &value), 0);
    assert_true(value == UINT64_MAX);
    assert_int_equal(string_to_u64("18446744073709551616", UINT64_MAX, &value), -ERANGE);
    assert_int_equal(string_to_u64("5", 4, &value), -ERANGE);
    assert_int_equal(string_to_u64("-1", UINT64_MAX, &value), -EINVAL);
    assert_int_equal(string_to_u64("99999999999999999999999x", UINT64_MAX, &value), -EINVAL);
}

static void test_to_bool(void **state)
{
    bool value = false;
    static const char *const yes[] = {"true", "TRUE", "1", "Yes", "on", "t"};
    static const char *const no[] = {"false", "0", "NO", "off", "F"};
    for (size_t i = 0; i < ELEMENTSOF(yes); i++) {
        value = false;
        assert_int_equal(string_to_bool(yes[i], &value), 0);
        assert_true(value);
    }
    for (size_t i = 0; i < ELEMENTSOF(no); i++) {
        value = true;
        assert_int_equal(string_to_bool(no[i], &value), 0);
        assert_false(value);
    }
    assert_int_equal(string_to_bool("", &value), -EINVAL);
    assert_int_equal(string_to_bool("2", &value), -EINVAL);
    assert_int_equal(string_to_bool("truely", &value), -EINVAL);
    assert_int_equal(string_to_bool(NULL, &value), -EINVAL);
}

static void test_units(void **state)
{
    static const struct {
        const char *text;
        int64_t value;
    } times[] = {{"90", 90},
                 {"90ms", 90},
                 {"15s", 15000},
                 {"5m", 300000},
                 {"2h", 7200000},
                 {"7d", 604800000},
                 {"0s", 0},
                 {"9223372036854775s", 9223372036854775000},
                 {"10s ", -EINVAL},
                 {"s", -EINVAL},
                 {"", -EINVAL},
                 {"-5s", -EINVAL},
                 {"1.5s", -EINVAL},
                 {"5S", -EINVAL},
                 {"5w", -EINVAL},
                 {"9223372036854776s", -ERANGE},
                 {"99999999999999999999d", -ERANGE}};
    for (size_t i = 0; i < ELEMENTSOF(times); i++) {
        int64_t value = 0;
        int r = string_to_milliseconds(times[i].text, &value);
        assert_int_equal(r < 0 ? r : value, times[i].value);
    }
    uint64_t bytes = 0;
    assert_int_equal(string_to_bytes("64K", &bytes), 0);
    assert_int_equal(bytes, 65536);
    assert_int_equal(string_to_bytes("2G", &bytes), 0);
    assert_int_equal(bytes, UINT64_C(2) << 30);
    assert_int_equal(string_to_bytes("512", &bytes), 0);
    assert_int_equal(bytes, 512);
    assert_int_equal(string_to_bytes("99999999999G", &bytes), -ERANGE);
    assert_int_equal(string_to_bytes("1k", &bytes), -EINVAL);
    assert_int_equal(string_to_bytes("K", &bytes), -EINVAL);
    assert_int_equal(string_to_bytes(NULL, &bytes), -EINVAL);
}

static void test_utf8(void **state)
{
    static const struct {
        const char *bytes;
        size_t size;
        bool is_valid;
    } cases[] = {
        {"", 0, true},
        {"abc", 3, true},
        {"a\0b", 3, true},
        {"\xc3\xa9", 2, true},
        {"\xe2\x82\xac", 3, true},
        {"\xf4\x8f\xbf\xbf", 4, true},
        {"\xed\x9f\xbf\xee\x80\x80", 6, true},
        {"\x80", 1, false},
        {"\xc0\x80", 2, false},         /* overlong */
        {"\xc1\xbf", 2, false},         /* overlong */
        {"\xe0\x9f\xbf", 3, false},     /* overlong */
        {"\xf0\x8f\xbf\xbf", 4, false}, /* overlong */
        {"\xed\xa0\x80", 3, false},     /* surrogate */
        {"\xf4\x90\x80\x80", 4, false}, /* beyond U+10FFFF */
        {"\xf5\x80\x80\x80", 4, false},
        {"\xc3", 1, false},
        {"\xe2\x82", 2, false},
        {"\xe2\x28\xa1", 3, false},
        {"\xff", 1, false},
    };
    for (size_t i = 0; i < ELEMENTSOF(cases); i++)
        assert_int_equal(utf8_is_valid(cases[i].bytes, cases[i].size), cases[i].is_valid);
}

static void test_control(void **state)
{
    assert_false(string_has_control("plain text \xc3\xa9", 13, NULL));
    assert_true(string_has_control("a\nb", 3, NULL));
    assert_false(string_has_control("a\nb\t", 4, "\n\t"));
    assert_true(string_has_control("a\rb", 3, "\n\t"));
    assert_true(string_has_control("a\0b", 3, "\n\t"));
    assert_true(string_has_control("\x7f", 1, NULL));
    assert_true(string_has_control("\x1b[31m", 5, NULL));
    assert_true(string_has_control("\xc2\x9b", 2, NULL)); /* the one-character CSI */
}

static void test_distance(void **state)
{
    assert_int_equal(string_distance("", ""), 0);
    assert_int_equal(string_distance("abc", ""), 3);
    assert_int_equal(string_distance("clusters", "clutsers"), 1);
    assert_int_equal(string_distance("kitten", "sitting"), 3);
    assert_int_equal(string_distance("list", "lsit"), 1);
    assert_int_equal(string_distance("a", "b"), 1);
    char longest[65];
    memset(longest, 'a', 64);
    longest[64] = 0;
    assert_true(string_distance(longest, "a") == UINT_MAX);
    longest[63] = 0;
    assert_int_equal(string_distance(longest, ""), 63);
}

static void test_names(void **state)
{
    char longest[257];
    memset(longest, 'a', 256);
    longest[256] = 0;
    assert_false(name_is_valid(longest) || identifier_is_valid(longest));
    longest[255] = 0;
    assert_true(name_is_valid(longest) && identifier_is_valid(longest));
    assert_true(name_is_valid("web-1_a.B") && name_is_valid("1") && name_is_valid("-") &&
                name_is_valid("..."));
    static const char *const bad_names[] = {NULL, "", ".", "..", "a b", "a/b", "\xc3\xa9", "a\n", "a:b"};
    for (size_t i = 0; i < ELEMENTSOF(bad_names); i++)
        assert_false(name_is_valid(bad_names[i]));
    assert_true(identifier_is_valid("anna.b@example~x"));
    static const char *const bad_identifiers[] = {NULL, "", "1a", "-a", "a b", "a/b", "_a", "a:b"};
    for (size_t i = 0; i < ELEMENTSOF(bad_identifiers); i++)
        assert_false(identifier_is_valid(bad_identifiers[i]));
}

static void test_hostname(void **state)
{
    static const char *const good[] = {"a", "web-1.example.org", "1a.b2", "xn--bcher-kva.example"};
    static const char *const bad[] = {"",   NULL, "-a",  "a-",  "a..b", ".a",
                                      "a.", "A",  "a_b", "a b", "a.-b", "a-.b"};
    for (size_t i = 0; i < ELEMENTSOF(good); i++)
        assert_true(hostname_is_valid(good[i]));
    for (size_t i = 0; i < ELEMENTSOF(bad); i++)
        assert_false(hostname_is_valid(bad[i]));
    char label[66];
    memset(label, 'a', 64);
    label[64] = 0;
    assert_false(hostname_is_valid(label));
    label[63] = 0;
    assert_true(hostname_is_valid(label));
    _cleanup_free_ char *fits = string_format("%s.%s.%s.%.61s", label, label, label, label);
    assert_int_equal(strlen(fits), 253);
    assert_true(hostname_is_valid(fits));
    _cleanup_free_ char *exceeds = string_format("%s.%s.%s.%.62s", label, label, label, label);
    assert_false(hostname_is_valid(exceeds));
}

static void test_hex(void **state)
{
    char text[9];
    hex_encode("\x00\xab\xcd\xff", 4, text);
    assert_string_equal(text, "00abcdff");
    uint8_t bytes[4];
    size_t size = 0;
    assert_int_equal(hex_decode("00ABcdff", bytes, sizeof(bytes), &size), 0);
    assert_int_equal(size, 4);
    assert_memory_equal(bytes, "\x00\xab\xcd\xff", 4);
    assert_int_equal(hex_decode("0", bytes, sizeof(bytes), &size), -EINVAL);
    assert_int_equal(hex_decode("000", bytes, sizeof(bytes), &size), -EINVAL);
    assert_int_equal(hex_decode("0g", bytes, sizeof(bytes), &size), -EINVAL);
    assert_int_equal(hex_decode("0011223344", bytes, sizeof(bytes), &size), -E2BIG);
    assert_int_equal(hex_decode("", bytes, 0, &size), 0);
    assert_int_equal(size, 0);
}

static void test_base64(void **state)
{
    static const struct {
        const char *plain, *encoded, *url;
    } cases[] = {{"", "", ""},
                 {"f", "Zg==", "Zg"},
                 {"fo", "Zm8=", "Zm8"},
                 {"foo", "Zm9v", "Zm9v"},
                 {"foob", "Zm9vYg==", "Zm9vYg"},
                 {"\xfb\xff\xfe", "+//+", "-__-"}};
    for (size_t i = 0; i < ELEMENTSOF(cases); i++) {
        char text[16];
        _cleanup_free_ uint8_t *data = NULL;
        size_t size = 0, expected = strlen(cases[i].plain);
        base64_encode(cases[i].plain, expected, text);
        assert_string_equal(text, cases[i].encoded);
        assert_int_equal(base64_decode(text, strlen(text), expected, &data, &size), 0);
        assert_int_equal(size, expected);
        assert_string_equal(data, cases[i].plain);
        base64url_encode(cases[i].plain, expected, text);
        assert_string_equal(text, cases[i].url);
    }
    static const char *const wrong[] = {"Z",      "Zg",       "Zg=",  "Zh==",  "Zm9=", "====", "Z===",
                                        "Zg==\n", "Zg==Zm9v", "Zm 9", "Zm9v=", "-__-", "=Zg=", "Zg=a"};
    for (size_t i = 0; i < ELEMENTSOF(wrong); i++) {
        uint8_t *data = NULL;
        size_t size = 0;
        assert_int_equal(base64_decode(wrong[i], strlen(wrong[i]), 100, &data, &size), -EINVAL);
        assert_null(data);
    }
    uint8_t *data = NULL;
    size_t size = 0;
    assert_int_equal(base64_decode("Zm9v", 4, 2, &data, &size), -E2BIG);
}

static void test_list(void **state)
{
    _cleanup_string_list_ StringList list = {0};
    string_list_split(&list, "b,,a,", ',');
    assert_int_equal(list.count, 4);
    assert_string_equal(list.items[1], "");
    assert_string_equal(list.items[3], "");
    string_list_append(&list, "c");
    string_list_split(&list, NULL, ',');
    assert_true(string_list_contains(&list, "a"));
    assert_false(string_list_contains(&list, "d"));
    string_list_sort(&list);
    assert_string_equal(list.items[2], "a");
    assert_string_equal(list.items[4], "c");
    _cleanup_string_list_ StringList empty = {0};
    string_list_sort(&empty);
    string_list_split(&empty, "", ',');
    assert_int_equal(empty.count, 1);
    for (unsigned i = 0; i < 100; i++)
        string_list_append(&empty, "x");
    assert_int_equal(empty.count, 101);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_compare),    cmocka_unit_test(test_fixed_arrays),
        cmocka_unit_test(test_duplicates), cmocka_unit_test(test_to_i64),
        cmocka_unit_test(test_to_u64),     cmocka_unit_test(test_to_bool),
        cmocka_unit_test(test_units),      cmocka_unit_test(test_utf8),
        cmocka_unit_test(test_control),    cmocka_unit_test(test_distance),
        cmocka_unit_test(test_names),      cmocka_unit_test(test_hostname),
        cmocka_unit_test(test_hex),        cmocka_unit_test(test_base64),
        cmocka_unit_test(test_list),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
