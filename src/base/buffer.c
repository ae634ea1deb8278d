/* SPDX-License-Identifier: Apache-2.0 */
#include "base/buffer.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "base/string.h"

void buffer_done(Buffer *buffer)
{
    if (buffer->is_secret && buffer->data)
        explicit_bzero(buffer->data, buffer->capacity);
    free(buffer->data);
    *buffer = (Buffer){.limit = buffer->limit, .is_secret = buffer->is_secret};
}

void buffer_wipe(Buffer *buffer)
{
    if (buffer->data)
        explicit_bzero(buffer->data, buffer->capacity);
    buffer_done(buffer);
}

void buffer_clear(Buffer *buffer)
{
    buffer_truncate(buffer, 0);
    buffer->has_overflowed = false;
}

void buffer_truncate(Buffer *buffer, size_t size)
{
    ASSERT(size <= buffer->size);
    if (!buffer->data)
        return;
    if (buffer->is_secret)
        explicit_bzero(buffer->data + size, buffer->size - size);
    buffer->size = size;
    buffer->data[size] = 0;
}

static size_t buffer_limit(const Buffer *buffer)
{
    return buffer->limit ? buffer->limit : (size_t)BUFFER_LIMIT_DEFAULT;
}

static int buffer_fail(Buffer *buffer, int error)
{
    buffer->has_overflowed = true;
    return error;
}

static int buffer_grow(Buffer *buffer, size_t needed)
{
    size_t most = buffer_limit(buffer) + 1;
    size_t capacity = MAX(needed, buffer->capacity < SIZE_MAX / 2 ? buffer->capacity * 2 : needed);
    capacity = MIN(MAX(capacity, (size_t)64), MAX(most, needed));
    uint8_t *data;
    if (buffer->is_secret) {
        data = malloc(capacity);
        if (!data)
            return buffer_fail(buffer, -ENOMEM);
        if (buffer->data) {
            memcpy(data, buffer->data, buffer->size);
            explicit_bzero(buffer->data, buffer->capacity);
            free(buffer->data);
        }
    } else {
        data = realloc(buffer->data, capacity);
        if (!data)
            return buffer_fail(buffer, -ENOMEM);
    }
    data[buffer->size] = 0;
    buffer->data = data;
    buffer->capacity = capacity;
    return 0;
}

int buffer_reserve(Buffer *buffer, size_t additional)
{
    size_t limit = buffer_limit(buffer);
    if (buffer->size > limit || additional > limit - buffer->size || limit == SIZE_MAX)
        return buffer_fail(buffer, -E2BIG);
    size_t needed = buffer->size + additional + 1; /* the NUL */
    return needed <= buffer->capacity ? 0 : buffer_grow(buffer, needed);
}

int buffer_append(Buffer *buffer, const void *data, size_t size)
{
    int r = buffer_reserve(buffer, size);
    if (r < 0)
        return r;
    if (size > 0)
        memcpy(buffer->data + buffer->size, data, size);
    buffer->size += size;
    buffer->data[buffer->size] = 0;
    return 0;
}

int buffer_append_string(Buffer *buffer, const char *text)
{
    return text ? buffer_append(buffer, text, strlen(text)) : 0;
}

int buffer_append_byte(Buffer *buffer, uint8_t value)
{
    return buffer_append(buffer, &value, 1);
}

int buffer_append_u16(Buffer *buffer, uint16_t value)
{
    const uint8_t bytes[2] = {(uint8_t)(value >> 8), (uint8_t)value};
    return buffer_append(buffer, bytes, sizeof(bytes));
}

int buffer_append_u32(Buffer *buffer, uint32_t value)
{
    const uint8_t bytes[4] = {(uint8_t)(value >> 24), (uint8_t)(value >> 16), (uint8_t)(value >> 8),
                              (uint8_t)value};
    return buffer_append(buffer, bytes, sizeof(bytes));
}

int buffer_append_u64(Buffer *buffer, uint64_t value)
{
    uint8_t bytes[8];
    for (unsigned i = 0; i < 8; i++)
        bytes[i] = (uint8_t)(value >> (56 - 8 * i));
    return buffer_append(buffer, bytes, sizeof(bytes));
}

int buffer_append_format(Buffer *buffer, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    int r = buffer_append_format_v(buffer, format, arguments);
    va_end(arguments);
    return r;
}

int buffer_append_format_v(Buffer *buffer, const char *format, va_list arguments)
{
    va_list again;
    va_copy(again, arguments);
    int length = vsnprintf(NULL, 0, format, again);
    va_end(again);
    if (length < 0)
        return buffer_fail(buffer, -EINVAL);
    int r = buffer_reserve(buffer, (size_t)length);
    if (r < 0)
        return r;
    (void)vsnprintf((char *)buffer->data + buffer->size, (size_t)length + 1, format, arguments);
    buffer->size += (size_t)length;
    return 0;
}

/* The escape of one ASCII character in JSON, or NULL when it stands for itself. */
static const char *json_escape(unsigned char c, char scratch[static 8])
{
    switch (c) {
    case '"':
        return "\\\"";
    case '\\':
        return "\\\\";
    case '\n':
        return "\\n";
    case '\r':
        return "\\r";
    case '\t':
        return "\\t";
    default:
        if (c >= 0x20 && c != 0x7f)
            return NULL;
        (void)snprintf(scratch, 8, "\\u%04x", c);
        return scratch;
    }
}

int buffer_append_json_string(Buffer *buffer, const char *text, size_t length)
{
    size_t before = buffer->size;
    char scratch[8];
    int r = buffer_append_byte(buffer, '"');
    size_t run = 0; /* bytes before position that stand for themselves */
    for (size_t position = 0; r >= 0 && position < length;) {
        unsigned char c = (unsigned char)text[position];
        size_t sequence = utf8_sequence(text + position, length - position);
        const char *escape = sequence == 0 ? "\xef\xbf\xbd" : c < 0x80 ? json_escape(c, scratch) : NULL;
        if (!escape) {
            position += sequence;
            run += sequence;
            continue;
        }
        r = buffer_append(buffer, text + position - run, run);
        if (r >= 0)
            r = buffer_append_string(buffer, escape);
        position++;
        run = 0;
    }
    if (r >= 0)
        r = buffer_append(buffer, length ? text + length - run : "", run);
    if (r >= 0)
        r = buffer_append_byte(buffer, '"');
    if (r < 0)
        buffer_truncate(buffer, before);
    return r;
}

void buffer_consume(Buffer *buffer, size_t count)
{
    ASSERT(count <= buffer->size);
    if (count == 0)
        return;
    size_t left = buffer->size - count;
    memmove(buffer->data, buffer->data + count, left);
    buffer_truncate(buffer, left);
}

const char *buffer_string(const Buffer *buffer)
{
    return buffer->data ? (const char *)buffer->data : "";
}

char *buffer_take_string(Buffer *buffer)
{
    char *text = buffer->data ? (char *)buffer->data : string_duplicate("");
    *buffer = (Buffer){.limit = buffer->limit, .is_secret = buffer->is_secret};
    return text;
}

int reader_bytes(Reader *reader, size_t size, const uint8_t **ret_data)
{
    if (size > reader_left(reader))
        return -EBADMSG;
    *ret_data = reader->data + reader->position;
    reader->position += size;
    return 0;
}

static int reader_integer(Reader *reader, unsigned bytes, uint64_t *ret_value)
{
    const uint8_t *data;
    int r = reader_bytes(reader, bytes, &data);
    if (r < 0)
        return r;
    uint64_t value = 0;
    for (unsigned i = 0; i < bytes; i++)
        value = value << 8 | data[i];
    *ret_value = value;
    return 0;
}

int reader_u8(Reader *reader, uint8_t *ret_value)
{
    uint64_t value;
    int r = reader_integer(reader, 1, &value);
    if (r >= 0)
        *ret_value = (uint8_t)value;
    return r;
}

int reader_u16(Reader *reader, uint16_t *ret_value)
{
    uint64_t value;
    int r = reader_integer(reader, 2, &value);
    if (r >= 0)
        *ret_value = (uint16_t)value;
    return r;
}

int reader_u32(Reader *reader, uint32_t *ret_value)
{
    uint64_t value;
    int r = reader_integer(reader, 4, &value);
    if (r >= 0)
        *ret_value = (uint32_t)value;
    return r;
}

int reader_u64(Reader *reader, uint64_t *ret_value)
{
    return reader_integer(reader, 8, ret_value);
}
