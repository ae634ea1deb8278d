/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Reads text/event-stream as its bytes come (WHATWG HTML, 9.2.6). Pure. One thread at a time. */

#include "base/buffer.h"

enum {
    EVENT_STREAM_LIMIT = 1024 * 1024,
    EVENT_NAME_SIZE = 128
}; /* bytes of a line, and of an event's data */

typedef struct EventStreamParser {
    Buffer line, data;
    char event[EVENT_NAME_SIZE];
    uint64_t id;                 /* the last one seen; 0 = none */
    uint64_t retry_milliseconds; /* 0 = not told */
    bool is_after_cr, has_data, is_started;
} EventStreamParser;
#define EVENT_STREAM_PARSER_INIT                                                                             \
    ((EventStreamParser){.line.limit = EVENT_STREAM_LIMIT, .data.limit = EVENT_STREAM_LIMIT})

/* A result other than 0 stops the reading. `event` is "message" when the stream does not name it. */
typedef int (*EventStreamCallback)(uint64_t id, const char *event, const char *data, void *userdata);

/* 0, the callback's result, -E2BIG (line, data or name too long), -EBADMSG (not UTF-8, or a NUL). */
int event_stream_feed(EventStreamParser *parser, const char *bytes, size_t size, EventStreamCallback callback,
                      void *userdata);
void event_stream_done(EventStreamParser *parser);
