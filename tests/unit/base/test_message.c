/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>

#include "base/message.h"
#include "helper.h"

static const MessageField hello_fields[] = {
    {.tag = 1, .name = "version", .type = MESSAGE_U32, .is_mandatory = true},
    {.tag = 2, .name = "epoch", .type = MESSAGE_U64},
    {.tag = 5, .name = "name", .type = MESSAGE_STRING, .is_mandatory = true, .maximum = 8},
    {.tag = 6, .name = "digest", .type = MESSAGE_BYTES, .is_repeatable = true, .maximum = 4},
    {.tag = 0},
};
static const MessageType types[] = {
    {.type = 1, .name = "HELLO", .fields = hello_fields},
    {.type = 2, .name = "EMPTY"},
    {.name = NULL},
};

static void put_hello(Buffer *buffer)
{
    size_t start = message_begin(buffer, 1, 77);
    assert_int_equal(message_put_u32(buffer, 1, 3), 0);
    assert_int_equal(message_put_u64(buffer, 2, UINT64_C(1) << 40), 0);
    assert_int_equal(message_put_string(buffer, 5, "node-1"), 0);
    assert_int_equal(message_put_bytes(buffer, 6, "a\0b", 3), 0);
    assert_int_equal(message_put_bytes(buffer, 6, "", 0), 0);
    assert_int_equal(message_end(buffer, start), 0);
}

static void test_round_trip(void **state)
{
    _cleanup_buffer_ Buffer buffer = BUFFER_INIT;
    put_hello(&buffer);
    MessageView view;
    assert_int_equal(message_frame_size(buffer.data, buffer.size), buffer.size);
    assert_int_equal(message_decode(buffer.data, buffer.size, types, &view), 0);
    assert_int_equal(view.type, 1);
    assert_int_equal(view.request_id, 77);
    assert_string_equal(view.description->name, "HELLO");
    assert_int_equal(message_get_u64(&view, 1, 0), 3);
    assert_true(message_get_u64(&view, 2, 0) == UINT64_C(1) << 40);
    assert_int_equal(message_get_u64(&view, 3, 99), 99);
    _cleanup_free_ char *name = message_get_string(&view, 5, 0);
    assert_string_equal(name, "node-1");
    assert_null(message_get_string(&view, 5, 1));
    const uint8_t *data = NULL;
    size_t size = 0;
    assert_int_equal(message_get_bytes(&view, 6, 0, &data, &size), 0);
    assert_int_equal(size, 3);
    assert_memory_equal(data, "a\0b", 3);
    assert_int_equal(message_get_bytes(&view, 6, 1, &data, &size), 0);
    assert_int_equal(size, 0);
    assert_int_equal(message_get_bytes(&view, 6, 2, &data, &size), -ENOENT);
    assert_int_equal(message_get_bytes(&view, 200, 0, &data, &size), -ENOENT);
}

static void test_wire_form(void **state)
{
    _cleanup_buffer_ Buffer buffer = BUFFER_INIT;
    size_t start = message_begin(&buffer, 0x0102, 0x03040506);
    assert_int_equal(message_put_u32(&buffer, 7, 0x0a0b0c0d), 0);
    assert_int_equal(message_put_string(&buffer, 8, NULL), 0); /* left out */
    assert_int_equal(message_end(&buffer, start), 0);
    static const uint8_t expected[] = {0, 0, 0, 15, 1, 2, 3, 4, 5, 6, 7, 0, 0, 0, 4, 10, 11, 12, 13};
    assert_int_equal(buffer.size, sizeof(expected));
    assert_memory_equal(buffer.data, expected, sizeof(expected));
}

/* Frames come in pieces; each prefix asks for more and decodes as nothing. */
static void test_every_prefix_is_incomplete(void **state)
{
    _cleanup_buffer_ Buffer buffer = BUFFER_INIT;
    put_hello(&buffer);
    size_t single = buffer.size;
    put_hello(&buffer);
    MessageView view;
    for (size_t size = 0; size < single; size++) {
        assert_int_equal(message_frame_size(buffer.data, size), 0);
        assert_int_equal(message_decode(buffer.data, size, types, &view), -EBADMSG);
    }
    assert_int_equal(message_frame_size(buffer.data, buffer.size), single);
    assert_int_equal(message_decode(buffer.data, buffer.size, types, &view), -EBADMSG);
    assert_int_equal(message_decode(buffer.data + single, single, types, &view), 0);
}

/* Each single flipped bit is either refused or changes what is read; nothing crashes. */
static void test_every_flipped_bit(void **state)
{
    _cleanup_buffer_ Buffer buffer = BUFFER_INIT;
    put_hello(&buffer);
    unsigned refused = 0;
    for (size_t bit = 0; bit < buffer.size * 8; bit++) {
        _cleanup_free_ uint8_t *copy = memory_duplicate(buffer.data, buffer.size);
        copy[bit / 8] ^= (uint8_t)(1u << bit % 8);
        MessageView view;
        if (message_decode(copy, buffer.size, types, &view) < 0)
            refused++;
        else
            assert_int_equal(view.type, 1);
    }
    assert_in_range(refused, buffer.size * 3, buffer.size * 8);
}

typedef struct Piece {
    uint8_t tag;
    const char *data;
    size_t size;
} Piece;

static int decode_pieces(uint16_t type, const Piece *pieces)
{
    _cleanup_buffer_ Buffer buffer = BUFFER_INIT;
    size_t start = message_begin(&buffer, type, 1);
    for (; pieces->tag != 0 || pieces->data; pieces++)
        assert_int_equal(message_put_bytes(&buffer, pieces->tag, pieces->data, pieces->size), 0);
    assert_int_equal(message_end(&buffer, start), 0);
    MessageView view;
    return message_decode(buffer.data, buffer.size, types, &view);
}

static void test_rules(void **state)
{
    static const struct {
        uint16_t type;
        int result;
        Piece pieces[4];
    } cases[] = {
        {1, 0, {{1, "\0\0\0\1", 4}, {5, "a", 1}}},
        {2, 0, {{0}}},
        {3, -EBADMSG, {{0}}},                                                 /* unknown type */
        {1, -EBADMSG, {{1, "\0\0\0\1", 4}}},                                  /* name is missing */
        {1, -EBADMSG, {{5, "a", 1}}},                                         /* version is missing */
        {1, -EBADMSG, {{5, "a", 1}, {1, "\0\0\0\1", 4}}},                     /* descending */
        {1, -EBADMSG, {{1, "\0\0\0\1", 4}, {1, "\0\0\0\1", 4}, {5, "a", 1}}}, /* twice */
        {1, -EBADMSG, {{1, "\0\0\0\1", 4}, {3, "x", 1}, {5, "a", 1}}},        /* unknown tag */
        {1, -EBADMSG, {{0, "x", 1}, {1, "\0\0\0\1", 4}, {5, "a", 1}}},        /* tag 0 */
        {1, -EBADMSG, {{1, "\0\0\0\1", 4}, {5, "a", 1}, {7, "x", 1}}},        /* behind the last */
        {1, -EBADMSG, {{1, "\0\0\1", 3}, {5, "a", 1}}},                       /* u32 of three bytes */
        {1, -EBADMSG, {{1, "\0\0\0\1", 4}, {2, "\0\0\0\1", 4}, {5, "a", 1}}}, /* u64 of four */
        {1, -EBADMSG, {{1, "\0\0\0\1", 4}, {5, "123456789", 9}}},             /* string too long */
        {1, -EBADMSG, {{1, "\0\0\0\1", 4}, {5, "a\0b", 3}}},                  /* NUL */
        {1, -EBADMSG, {{1, "\0\0\0\1", 4}, {5, "\xff", 1}}},                  /* not UTF-8 */
        {1, -EBADMSG, {{1, "\0\0\0\1", 4}, {5, "a", 1}, {6, "12345", 5}}},    /* bytes too long */
        {1, 0, {{1, "\0\0\0\1", 4}, {5, "", 0}, {6, "\0\xff", 2}}},
        {2, -EBADMSG, {{1, "x", 1}}},
    };
    for (size_t i = 0; i < ELEMENTSOF(cases); i++)
        assert_int_equal(decode_pieces(cases[i].type, cases[i].pieces), cases[i].result);
}

static void test_frame_limits(void **state)
{
    assert_int_equal(message_frame_size((const uint8_t *)"\xff\xff\xff\xff", 4), -E2BIG);
    assert_int_equal(message_frame_size((const uint8_t *)"\x00\x10\x00\x01", 4), -E2BIG);
    assert_int_equal(message_frame_size((const uint8_t *)"\x00\x10\x00\x00", 4), 0);
    assert_int_equal(message_frame_size((const uint8_t *)"\x00\x00\x00\x05", 4), -EBADMSG);
    /* A field that claims more than there is. */
    static const uint8_t overrun[] = {0, 0, 0, 11, 0, 1, 0, 0, 0, 1, 6, 0xff, 0xff, 0xff, 0xff};
    MessageView view;
    assert_int_equal(message_decode(overrun, sizeof(overrun), types, &view), -EBADMSG);
}

static void test_failed_put_takes_the_frame_out(void **state)
{
    _cleanup_buffer_ Buffer buffer = BUFFER_INIT_LIMIT(100);
    put_hello(&buffer);
    size_t before = buffer.size;
    char many[100] = {0};
    size_t start = message_begin(&buffer, 1, 2);
    assert_int_equal(message_put_u32(&buffer, 1, 3), 0);
    assert_int_equal(message_put_bytes(&buffer, 2, many, sizeof(many)), -E2BIG);
    assert_int_equal(message_put_u32(&buffer, 3, 3), -E2BIG);
    assert_int_equal(message_end(&buffer, start), -E2BIG);
    assert_int_equal(buffer.size, before);
    start = message_begin(&buffer, 2, 3);
    assert_int_equal(message_end(&buffer, start), 0);
    /* No room even for the header. */
    _cleanup_buffer_ Buffer tiny = BUFFER_INIT_LIMIT(7);
    start = message_begin(&tiny, 2, 3);
    assert_int_equal(message_end(&tiny, start), -E2BIG);
    assert_int_equal(tiny.size, 0);
    /* A frame beyond MESSAGE_LIMIT. */
    _cleanup_buffer_ Buffer large = BUFFER_INIT;
    _cleanup_free_ char *megabyte = memory_new(MESSAGE_LIMIT + 1);
    start = message_begin(&large, 1, 1);
    assert_int_equal(message_put_bytes(&large, 6, megabyte, MESSAGE_LIMIT + 1), -E2BIG);
    assert_int_equal(message_end(&large, start), -E2BIG);
    start = message_begin(&large, 1, 1);
    assert_int_equal(message_put_bytes(&large, 6, megabyte, MESSAGE_LIMIT), 0);
    assert_int_equal(message_end(&large, start), -E2BIG);
    assert_int_equal(large.size, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_round_trip),
        cmocka_unit_test(test_wire_form),
        cmocka_unit_test(test_every_prefix_is_incomplete),
        cmocka_unit_test(test_every_flipped_bit),
        cmocka_unit_test(test_rules),
        cmocka_unit_test(test_frame_limits),
        cmocka_unit_test(test_failed_put_takes_the_frame_out),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
