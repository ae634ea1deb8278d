/* SPDX-License-Identifier: Apache-2.0 */
#include "net/event_stream.h"

#include <errno.h>

#include "base/string.h"

/* An event ends with an empty line; one without data is dropped, as is one that the end of the stream cuts.
 */
static int dispatch(EventStreamParser *parser, EventStreamCallback callback, void *userdata)
{
    int r = 0;

    if (parser->has_data) {
        if (parser->data.size > 0 && parser->data.data[parser->data.size - 1] == '\n') {
            parser->data.size--;
            parser->data.data[parser->data.size] = '\0';
        }
        r = callback(parser->id, *parser->event ? parser->event : "message", buffer_string(&parser->data),
                     userdata);
    }
    buffer_clear(&parser->data);
    parser->has_data = false;
    *parser->event = '\0';
    return r;
}

static int take_field(EventStreamParser *parser, const char *name, const char *value)
{
    uint64_t number;
    int r = 0;

    if (string_equal(name, "data")) {
        parser->has_data = true;
        r = buffer_append_string(&parser->data, value);
        if (r >= 0)
            r = buffer_append_byte(&parser->data, '\n');
    } else if (string_equal(name, "event")) {
        r = string_copy(parser->event, sizeof(parser->event), value);
    } else if (string_equal(name, "id")) {
        if (string_to_u64(value, UINT64_MAX, &number) >= 0)
            parser->id = number;
    } else if (string_equal(name, "retry")) {
        if (string_to_u64(value, 3600 * 1000, &number) >= 0)
            parser->retry_milliseconds = number;
    }
    return r;
}

static int take_line(EventStreamParser *parser, EventStreamCallback callback, void *userdata)
{
    static const char byte_order_mark[] = "\xef\xbb\xbf";
    char *line = (char *)parser->line.data;
    size_t size = parser->line.size;

    if (!parser->is_started && size >= 3 && memcmp(line, byte_order_mark, 3) == 0) {
        line += 3;
        size -= 3;
    }
    parser->is_started = true;
    if (size == 0)
        return dispatch(parser, callback, userdata);
    if (memchr(line, '\0', size) || !utf8_is_valid(line, size))
        return -EBADMSG;
    char *colon = memchr(line, ':', size);
    if (colon == line) /* a comment: the heartbeat */
        return 0;
    if (!colon)
        return take_field(parser, line, "");
    *colon = '\0';
    return take_field(parser, line, colon[1] == ' ' ? colon + 2 : colon + 1);
}

int event_stream_feed(EventStreamParser *parser, const char *bytes, size_t size, EventStreamCallback callback,
                      void *userdata)
{
    int r = 0;

    for (size_t i = 0; i < size && r == 0;) {
        if (parser->is_after_cr && bytes[i] == '\n') {
            parser->is_after_cr = false;
            i++;
            continue;
        }
        parser->is_after_cr = false;
        size_t start = i;
        while (i < size && bytes[i] != '\n' && bytes[i] != '\r')
            i++;
        r = buffer_append(&parser->line, bytes + start, i - start);
        if (r < 0 || i == size)
            break;
        parser->is_after_cr = bytes[i++] == '\r';
        r = take_line(parser, callback, userdata);
        buffer_clear(&parser->line);
    }
    return r;
}

void event_stream_done(EventStreamParser *parser)
{
    buffer_done(&parser->line);
    buffer_done(&parser->data);
}
