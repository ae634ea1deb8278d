/* SPDX-License-Identifier: Apache-2.0 */

/* The reader of event streams, for every split of its bytes. */

#include <errno.h>

#include "base/string.h"
#include "net/event_stream.h"
#include "net_testing.h"

static int collect(uint64_t id, const char *event, const char *data, void *userdata)
{
    return buffer_append_format(userdata, "%llu|%s|%s\n", (unsigned long long)id, event, data) < 0 ? -ENOMEM
                                                                                                   : 0;
}

static int stop_at_once(uint64_t id, const char *event, const char *data, void *userdata)
{
    return 42;
}

static void check(const char *stream, size_t size, const char *expected)
{
    for (size_t step = 1; step <= size; step++) {
        EventStreamParser parser = EVENT_STREAM_PARSER_INIT;
        _cleanup_buffer_ Buffer events = BUFFER_INIT;
        for (size_t i = 0; i < size; i += step)
            assert_int_equal(event_stream_feed(&parser, stream + i, MIN(step, size - i), collect, &events),
                             0);
        assert_string_equal(buffer_string(&events), expected);
        event_stream_done(&parser);
    }
}

static void test_streams(void **state)
{
    static const char plain[] =
        "retry: 2000\n\nid: 7\nevent: task\ndata: {\"a\":1}\n\n:\n\ndata:x\ndata:  y\n\n";
    static const char ends[] = "data: a\rdata: b\r\rdata: c\r\n\r\ndata: d\n\n";
    static const char odd[] = "\xef\xbb\xbf"
                              "data\n\nid: x\nunknown: 1\nevent: e\n\nid:9\ndata: cut off\n";
    static const char two[] = "data: 1\nid: 5\n\ndata: 2\n\n";

    check(plain, sizeof(plain) - 1, "7|task|{\"a\":1}\n7|message|x\n y\n");
    check(ends, sizeof(ends) - 1, "0|message|a\nb\n0|message|c\n0|message|d\n");
    check(odd, sizeof(odd) - 1, "0|message|\n");
    check(two, sizeof(two) - 1, "5|message|1\n5|message|2\n");
}

static void test_refusals(void **state)
{
    _cleanup_buffer_ Buffer events = BUFFER_INIT;
    EventStreamParser parser = EVENT_STREAM_PARSER_INIT;
    char *line = memory_new(EVENT_STREAM_LIMIT + 1);

    assert_int_equal(event_stream_feed(&parser, "data: a\0b\n", 10, collect, &events), -EBADMSG);
    event_stream_done(&parser);
    parser = EVENT_STREAM_PARSER_INIT;
    assert_int_equal(event_stream_feed(&parser, "data: \xff\n", 8, collect, &events), -EBADMSG);
    event_stream_done(&parser);
    parser = EVENT_STREAM_PARSER_INIT;
    memset(line, 'x', EVENT_STREAM_LIMIT + 1);
    assert_int_equal(event_stream_feed(&parser, line, EVENT_STREAM_LIMIT + 1, collect, &events), -E2BIG);
    event_stream_done(&parser);
    parser = EVENT_STREAM_PARSER_INIT;
    assert_int_equal(event_stream_feed(&parser, "data: a\n\ndata: b\n\n", 18, stop_at_once, NULL), 42);
    event_stream_done(&parser);
    assert_int_equal(events.size, 0);
    free(line);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_streams), cmocka_unit_test(test_refusals)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
