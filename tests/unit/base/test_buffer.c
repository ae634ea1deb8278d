/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <string.h>

#include "base/buffer.h"
#include "helper.h"

static void test_append(void **state)
{
    _cleanup_buffer_ Buffer buffer = BUFFER_INIT;
    assert_string_equal(buffer_string(&buffer), "");
    assert_int_equal(buffer_append_string(&buffer, "ab"), 0);
    assert_int_equal(buffer_append_string(&buffer, NULL), 0);
    assert_int_equal(buffer_append(&buffer, NULL, 0), 0);
    assert_int_equal(buffer_append_format(&buffer, "%d-%s", 7, "x"), 0);
    assert_int_equal(buffer_append_byte(&buffer, '!'), 0);
    assert_string_equal(buffer_string(&buffer), "ab7-x!");
    assert_int_equal(buffer.size, 6);
    buffer_consume(&buffer, 2);
    assert_string_equal(buffer_string(&buffer), "7-x!");
    buffer_truncate(&buffer, 1);
    assert_string_equal(buffer_string(&buffer), "7");
    buffer_clear(&buffer);
    assert_string_equal(buffer_string(&buffer), "");
    _cleanup_free_ char *empty = buffer_take_string(&buffer);
    assert_string_equal(empty, "");
    _cleanup_free_ char *none = buffer_take_string(&buffer);
    assert_string_equal(none, "");
}

static void test_growth_keeps_content(void **state)
{
    _cleanup_buffer_ Buffer buffer = BUFFER_INIT;
    for (unsigned i = 0; i < 10000; i++)
        assert_int_equal(buffer_append_u32(&buffer, i), 0);
    Reader reader = READER(buffer.data, buffer.size);
    for (unsigned i = 0; i < 10000; i++) {
        uint32_t value = 0;
        assert_int_equal(reader_u32(&reader, &value), 0);
        assert_int_equal(value, i);
    }
    assert_int_equal(buffer.data[buffer.size], 0);
}

static void test_limit_leaves_content(void **state)
{
    _cleanup_buffer_ Buffer buffer = BUFFER_INIT_LIMIT(10);
    assert_int_equal(buffer_append_string(&buffer, "12345678"), 0);
    assert_false(buffer.has_overflowed);
    assert_int_equal(buffer_append_string(&buffer, "abc"), -E2BIG);
    assert_true(buffer.has_overflowed);
    assert_int_equal(buffer_append_format(&buffer, "%03d", 1), -E2BIG);
    assert_int_equal(buffer_append_json_string(&buffer, "x", 1), -E2BIG);
    assert_string_equal(buffer_string(&buffer), "12345678");
    assert_int_equal(buffer_append_string(&buffer, "90"), 0);
    assert_string_equal(buffer_string(&buffer), "1234567890");
    assert_int_equal(buffer_reserve(&buffer, SIZE_MAX), -E2BIG);
    buffer_clear(&buffer);
    assert_false(buffer.has_overflowed);
    assert_int_equal(buffer.limit, 10);
    _cleanup_buffer_ Buffer normal = BUFFER_INIT;
    assert_int_equal(buffer_reserve(&normal, BUFFER_LIMIT_DEFAULT + 1), -E2BIG);
}

static void test_secret_is_wiped_when_it_shrinks(void **state)
{
    _cleanup_buffer_ Buffer buffer = BUFFER_INIT_SECRET(100000);
    for (unsigned i = 0; i < 1000; i++)
        assert_int_equal(buffer_append_string(&buffer, "password"), 0);
    size_t size = buffer.size;
    buffer_consume(&buffer, 7992);
    assert_string_equal(buffer_string(&buffer), "password");
    for (size_t i = buffer.size; i < size; i++)
        assert_int_equal(buffer.data[i], 0);
    buffer_clear(&buffer);
    for (size_t i = 0; i < size; i++)
        assert_int_equal(buffer.data[i], 0);
    buffer_wipe(&buffer);
    assert_null(buffer.data);
    assert_true(buffer.is_secret);
}

static void check_json(const char *text, size_t length, const char *expected)
{
    _cleanup_buffer_ Buffer buffer = BUFFER_INIT;
    assert_int_equal(buffer_append_json_string(&buffer, text, length), 0);
    assert_string_equal(buffer_string(&buffer), expected);
}

static void test_json_string(void **state)
{
    check_json("", 0, "\"\"");
    check_json("plain", 5, "\"plain\"");
    check_json("a\"b\\c\n\r\t\x01\x7f", 10, "\"a\\\"b\\\\c\\n\\r\\t\\u0001\\u007f\"");
    check_json("\0", 1, "\"\\u0000\"");
    check_json("\xc3\xa9", 2, "\"\xc3\xa9\"");
    check_json("a\xff\xc3", 3, "\"a\xef\xbf\xbd\xef\xbf\xbd\"");
}

static void test_integers_are_big_endian(void **state)
{
    _cleanup_buffer_ Buffer buffer = BUFFER_INIT;
    assert_int_equal(buffer_append_byte(&buffer, 1), 0);
    assert_int_equal(buffer_append_u16(&buffer, 0x0203), 0);
    assert_int_equal(buffer_append_u32(&buffer, 0x04050607), 0);
    assert_int_equal(buffer_append_u64(&buffer, UINT64_C(0x08090a0b0c0d0e0f)), 0);
    for (size_t i = 0; i < buffer.size; i++)
        assert_int_equal(buffer.data[i], i + 1);
    Reader reader = READER(buffer.data, buffer.size);
    uint8_t a;
    uint16_t b;
    uint32_t c;
    uint64_t d;
    assert_int_equal(reader_u8(&reader, &a), 0);
    assert_int_equal(reader_u16(&reader, &b), 0);
    assert_int_equal(reader_u32(&reader, &c), 0);
    assert_int_equal(reader_u64(&reader, &d), 0);
    assert_int_equal(d, UINT64_C(0x08090a0b0c0d0e0f));
    assert_int_equal(reader_left(&reader), 0);
    assert_int_equal(reader_u8(&reader, &a), -EBADMSG);
}

static void test_reader_stays_in_bounds(void **state)
{
    const uint8_t data[3] = {1, 2, 3};
    Reader reader = READER(data, sizeof(data));
    uint32_t value = 9;
    const uint8_t *bytes = NULL;
    assert_int_equal(reader_u32(&reader, &value), -EBADMSG);
    assert_int_equal(value, 9);
    assert_int_equal(reader_left(&reader), 3);
    assert_int_equal(reader_bytes(&reader, SIZE_MAX, &bytes), -EBADMSG);
    assert_int_equal(reader_bytes(&reader, 3, &bytes), 0);
    assert_ptr_equal(bytes, data);
    assert_int_equal(reader_bytes(&reader, 0, &bytes), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_append),
        cmocka_unit_test(test_growth_keeps_content),
        cmocka_unit_test(test_limit_leaves_content),
        cmocka_unit_test(test_secret_is_wiped_when_it_shrinks),
        cmocka_unit_test(test_json_string),
        cmocka_unit_test(test_integers_are_big_endian),
        cmocka_unit_test(test_reader_stays_in_bounds),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
