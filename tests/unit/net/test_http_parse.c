/* SPDX-License-Identifier: Apache-2.0 */

/* The pure parser against the framing table (S30), whole and byte by byte, and its decoders. */

#include <stdlib.h>

#include "base/string.h"
#include "net_testing.h"

enum { TEST_BODY_LIMIT = 64 * 1024 };

/* Walks the bytes as a connection does; writes one line per outcome, as in the table. `step` is how many
 * bytes come at a time. */
typedef struct Walk {
    const char *data;
    size_t size, step, available, position;
    Buffer outcomes;
} Walk;

static bool more_bytes(Walk *walk)
{
    if (walk->available == walk->size)
        return false;
    walk->available = MIN(walk->available + walk->step, walk->size);
    return true;
}

static void say_fault(Walk *walk, HttpFault fault)
{
    assert_true(buffer_append_format(&walk->outcomes, "fault %s\n", http_fault_name(fault)) >= 0);
}

/* True when the body is whole. */
static bool walk_body(Walk *walk, const HttpHead *head, Buffer *ret_body)
{
    HttpChunked chunked = HTTP_CHUNKED_INIT;

    if (head->content_length > TEST_BODY_LIMIT) {
        say_fault(walk, HTTP_FAULT_BODY_TOO_LARGE);
        return false;
    }
    while (head->is_chunked ? !http_chunked_is_complete(&chunked) : ret_body->size < head->content_length) {
        const char *start = walk->data + walk->position, *part = start;
        size_t left = walk->available - walk->position;
        size_t taken = (size_t)MIN((uint64_t)left, head->content_length - ret_body->size), part_size = taken;
        HttpFault fault = HTTP_FAULT_NONE;
        if (left == 0) {
            if (more_bytes(walk))
                continue;
            assert_true(buffer_append_string(&walk->outcomes, "more\n") >= 0);
            return false;
        }
        if (head->is_chunked)
            fault = http_chunked_step(&chunked, start, left, &taken, &part, &part_size);
        if (fault == HTTP_FAULT_NONE && ret_body->size + part_size > TEST_BODY_LIMIT)
            fault = HTTP_FAULT_BODY_TOO_LARGE;
        if (fault != HTTP_FAULT_NONE) {
            say_fault(walk, fault);
            return false;
        }
        if (part_size > 0)
            assert_true(buffer_append(ret_body, part, part_size) >= 0);
        walk->position += taken;
    }
    return true;
}

static bool walk_request(Walk *walk)
{
    size_t scanned = 0, head_size = 0;
    HttpHead head;
    _cleanup_buffer_ Buffer body = BUFFER_INIT;
    char path[HTTP_LINE_LIMIT + 1];
    HttpFault fault;

    for (;;) {
        const char *start = walk->data + walk->position;
        fault = http_head_find(start, walk->available - walk->position, &scanned, &head_size);
        if (fault != HTTP_FAULT_NONE || head_size > 0)
            break;
        if (!more_bytes(walk)) {
            if (walk->available > walk->position)
                assert_true(buffer_append_string(&walk->outcomes, "more\n") >= 0);
            return false;
        }
    }
    if (fault == HTTP_FAULT_NONE)
        fault = http_head_parse(walk->data + walk->position, head_size, &head);
    if (fault != HTTP_FAULT_NONE) {
        say_fault(walk, fault);
        return false;
    }
    const char *start = walk->data + walk->position;
    assert_true(http_percent_decode(start + head.path.offset, head.path.length, false, path) >= 0);
    walk->position += head_size;
    if (!walk_body(walk, &head, &body))
        return false;
    assert_true(buffer_append_format(&walk->outcomes, "%s %s%s%.*s%s%s\n", http_method_to_string(head.method),
                                     path, head.query.length > 0 ? "?" : "", (int)head.query.length,
                                     start + head.query.offset, body.size > 0 ? " " : "",
                                     buffer_string(&body)) >= 0);
    return head.is_keep_alive;
}

static void check_case(const FramingCase *one, size_t step)
{
    Walk walk = {.data = (const char *)one->bytes.data, .size = one->bytes.size, .step = step};
    _cleanup_buffer_ Buffer expected = BUFFER_INIT;

    for (size_t i = 0; i < one->expectation_count; i++)
        assert_true(buffer_append_format(&expected, "%s\n", one->expectations[i]) >= 0);
    while (walk_request(&walk))
        continue;
    if (!string_equal(buffer_string(&walk.outcomes), buffer_string(&expected)))
        print_error("case \"%s\", %zu bytes at a time\n", one->name, step);
    assert_string_equal(buffer_string(&walk.outcomes), buffer_string(&expected));
    buffer_done(&walk.outcomes);
}

static void test_framing_table(void **state)
{
    FramingTable table = framing_table_load();
    static const size_t steps[] = {SIZE_MAX / 2, 1, 7, 1000};

    assert_true(table.count >= 100);
    for (size_t i = 0; i < table.count; i++) {
        for (size_t j = 0; j < ELEMENTSOF(steps); j++)
            check_case(&table.cases[i], MIN(steps[j], table.cases[i].bytes.size));
    }
    print_message("%zu framing cases, four ways each\n", table.count);
    framing_table_done(&table);
}

static void test_every_fault_has_a_case(void **state)
{
    FramingTable table = framing_table_load();

    for (HttpFault fault = HTTP_FAULT_NONE + 1; fault < _HTTP_FAULT_MAX; fault++) {
        char expectation[64];
        bool is_covered = false;
        (void)string_print(expectation, sizeof(expectation), "fault %s", http_fault_name(fault));
        for (size_t i = 0; i < table.count; i++) {
            for (size_t j = 0; j < table.cases[i].expectation_count; j++)
                is_covered |= string_equal(table.cases[i].expectations[j], expectation);
        }
        if (!is_covered)
            print_error("no case for %s\n", expectation);
        assert_true(is_covered);
        assert_true(http_fault_status(fault) >= 400 && http_fault_status(fault) < 600);
        assert_true(strlen(http_fault_text(fault)) > 10);
    }
    framing_table_done(&table);
}

/* No byte put anywhere into a good request makes the parser see another end of head or body than the
 * Content-Length field says: the request is refused, or the field is what it says, or the field is gone. */
static void test_one_byte_never_moves_the_end(void **state)
{
    static const char good[] = "POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nX-Y: z\r\n\r\n";
    char mutated[sizeof(good)];
    unsigned accepted = 0;

    for (size_t i = 0; i < sizeof(good) - 1; i++) {
        for (unsigned byte = 0; byte < 256; byte++) {
            size_t scanned = 0, size;
            HttpHead head;
            memcpy(mutated, good, sizeof(good));
            mutated[i] = (char)byte;
            if (http_head_find(mutated, sizeof(good) - 1, &scanned, &size) != HTTP_FAULT_NONE || size == 0 ||
                http_head_parse(mutated, size, &head) != HTTP_FAULT_NONE)
                continue;
            accepted++;
            assert_int_equal(size, sizeof(good) - 1);
            assert_false(head.is_chunked);
            const HttpField *length = http_head_field(&head, mutated, "Content-Length");
            assert_int_equal(head.content_length,
                             length ? strtoul(mutated + length->value.offset, NULL, 10) : 0);
        }
    }
    assert_true(accepted > 1000);
}

static void test_fields(void **state)
{
    static const char text[] = "GET / HTTP/1.1\r\nHost: a\r\nAccept:  text/html \r\nX-Empty:\r\n\r\n";
    HttpHead head;

    assert_int_equal(http_head_parse(text, sizeof(text) - 1, &head), HTTP_FAULT_NONE);
    assert_int_equal(head.field_count, 3);
    const HttpField *accept = http_head_field(&head, text, "aCCEPT");
    assert_non_null(accept);
    assert_int_equal(accept->value.length, 9);
    assert_memory_equal(text + accept->value.offset, "text/html", 9);
    assert_int_equal(http_head_field(&head, text, "x-empty")->value.length, 0);
    assert_null(http_head_field(&head, text, "accep"));
    /* A head that is cut anywhere is never a whole head. */
    for (size_t size = 0; size < sizeof(text) - 1; size++)
        assert_int_not_equal(http_head_parse(text, size, &head), HTTP_FAULT_NONE);
}

static void test_expectation(void **state)
{
    static const char text[] =
        "PUT / HTTP/1.1\r\nHost: a\r\nExpect: 100-Continue\r\nContent-Length: 1\r\n\r\n";
    HttpHead head;

    assert_int_equal(http_head_parse(text, sizeof(text) - 1, &head), HTTP_FAULT_NONE);
    assert_true(head.expects_continue);
    assert_int_equal(head.content_length, 1);
}

static void test_percent_decode(void **state)
{
    char decoded[64];

    assert_int_equal(http_percent_decode("a+b%2Bc", 7, true, decoded), 5);
    assert_string_equal(decoded, "a b+c");
    assert_int_equal(http_percent_decode("a+b", 3, false, decoded), 3);
    assert_string_equal(decoded, "a+b");
    assert_int_equal(http_percent_decode("%C3%bc", 6, false, decoded), 2);
    assert_string_equal(decoded, "\xc3\xbc");
    assert_int_equal(http_percent_decode("", 0, false, decoded), 0);
    static const char *const bad[] = {"%",   "%1",  "%g0",       "%0g", "%00",
                                      "%ff", "%c3", "%ed%a0%80", "%-1", "% 1"};
    for (size_t i = 0; i < ELEMENTSOF(bad); i++)
        assert_true(http_percent_decode(bad[i], strlen(bad[i]), false, decoded) < 0);
}

static void test_query(void **state)
{
    static const char query[] = "&a=1&&b&=c&d=e=f&";
    static const char *const expected[][2] = {{"a", "1"}, {"b", ""}, {"", "c"}, {"d", "e=f"}};
    const char *cursor = query, *end = query + sizeof(query) - 1;
    HttpQueryPart part;
    size_t count = 0;

    while (http_query_next(&cursor, end, &part)) {
        assert_true(count < ELEMENTSOF(expected));
        assert_int_equal(part.name_length, strlen(expected[count][0]));
        assert_memory_equal(part.name, expected[count][0], part.name_length);
        assert_int_equal(part.value_length, strlen(expected[count][1]));
        assert_memory_equal(part.value, expected[count][1], part.value_length);
        count++;
    }
    assert_int_equal(count, ELEMENTSOF(expected));
}

static void test_methods(void **state)
{
    for (HttpMethod method = 0; method < _HTTP_METHOD_MAX; method++) {
        const char *name = http_method_to_string(method);
        assert_int_equal(http_method_from_string(name, strlen(name)), method);
    }
    assert_null(http_method_to_string(_HTTP_METHOD_INVALID));
    assert_null(http_method_to_string(_HTTP_METHOD_MAX));
    assert_int_equal(http_method_from_string("GETX", 4), _HTTP_METHOD_INVALID);
    assert_int_equal(http_method_from_string("GE", 2), _HTTP_METHOD_INVALID);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_framing_table),
        cmocka_unit_test(test_every_fault_has_a_case),
        cmocka_unit_test(test_one_byte_never_moves_the_end),
        cmocka_unit_test(test_fields),
        cmocka_unit_test(test_expectation),
        cmocka_unit_test(test_percent_decode),
        cmocka_unit_test(test_query),
        cmocka_unit_test(test_methods),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
