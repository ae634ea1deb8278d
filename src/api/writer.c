/* SPDX-License-Identifier: Apache-2.0 */
#include "api/writer.h"

#include <inttypes.h>
#include <stdlib.h>

#include "base/json.h"
#include "base/memory.h"
#include "base/string.h"

Writer writer_new(Buffer *buffer)
{
    return (Writer){.buffer = buffer};
}

static void note(Writer *writer, int status)
{
    if (status < 0 && writer->status == 0)
        writer->status = status;
}

static void begin_value(Writer *writer, const char *name)
{
    if (writer->has_member[writer->depth])
        note(writer, buffer_append_byte(writer->buffer, ','));
    writer->has_member[writer->depth] = true;
    if (!name)
        return;
    note(writer, buffer_append_json_string(writer->buffer, name, strlen(name)));
    note(writer, buffer_append_byte(writer->buffer, ':'));
}

static void enter(Writer *writer, const char *name, uint8_t bracket)
{
    begin_value(writer, name);
    note(writer, buffer_append_byte(writer->buffer, bracket));
    ASSERT(writer->depth + 1 < WRITER_DEPTH_MAX);
    writer->has_member[++writer->depth] = false;
}

static void leave(Writer *writer, uint8_t bracket)
{
    ASSERT(writer->depth > 0);
    writer->depth--;
    note(writer, buffer_append_byte(writer->buffer, bracket));
}

void writer_begin_object(Writer *writer, const char *name)
{
    enter(writer, name, '{');
}

void writer_end_object(Writer *writer)
{
    leave(writer, '}');
}

void writer_begin_array(Writer *writer, const char *name)
{
    enter(writer, name, '[');
}

void writer_end_array(Writer *writer)
{
    leave(writer, ']');
}

void writer_string_n(Writer *writer, const char *name, const char *value, size_t length)
{
    begin_value(writer, name);
    note(writer, buffer_append_json_string(writer->buffer, value, length));
}

void writer_string(Writer *writer, const char *name, const char *value)
{
    if (value)
        writer_string_n(writer, name, value, strlen(value));
    else
        writer_raw(writer, name, "null");
}

void writer_integer(Writer *writer, const char *name, int64_t value)
{
    char text[24];
    (void)string_print(text, sizeof(text), "%" PRId64, value);
    writer_raw(writer, name, text);
}

void writer_boolean(Writer *writer, const char *name, bool value)
{
    writer_raw(writer, name, value ? "true" : "false");
}

void writer_time(Writer *writer, const char *name, int64_t time)
{
    if (time <= 0) {
        writer_raw(writer, name, "null");
        return;
    }
    char text[TIMESTAMP_SIZE];
    timestamp_format((Usec)time, text);
    writer_string(writer, name, text);
}

void writer_raw(Writer *writer, const char *name, const char *json)
{
    begin_value(writer, name);
    note(writer, buffer_append_string(writer->buffer, json));
}

void writer_json(Writer *writer, const char *name, const json_t *value)
{
    _cleanup_free_ char *text = json_to_text(value);
    writer_raw(writer, name, text);
}
