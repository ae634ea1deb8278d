/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* The one growing byte buffer; also the string builder (data is always followed by a NUL that is not
 * counted). A buffer has a hard limit: growing past it fails with -E2BIG and leaves the content as it was;
 * the failure is remembered in has_overflowed, so that a long run of appends can be checked once at its end.
 * The bytes of a secret buffer are overwritten whenever it grows or is freed. One thread at a time. Integers
 * are big endian. */

#include <stdarg.h>
#include <sys/types.h>

#include "base/macros.h"

typedef struct Buffer {
    uint8_t *data; /* owned; NULL while empty */
    size_t size, capacity;
    size_t limit;        /* 0 = BUFFER_LIMIT_DEFAULT */
    bool has_overflowed; /* an append failed since the last buffer_clear or buffer_done */
    bool is_secret;
} Buffer;

enum { BUFFER_LIMIT_DEFAULT = 16 * 1024 * 1024 };
#define BUFFER_INIT               ((Buffer){0})
#define BUFFER_INIT_LIMIT(bytes)  ((Buffer){.limit = (bytes)})
#define BUFFER_INIT_SECRET(bytes) ((Buffer){.limit = (bytes), .is_secret = true})

void buffer_done(Buffer *buffer);
/* As buffer_done, and the bytes are overwritten first. */
void buffer_wipe(Buffer *buffer);
#define _cleanup_buffer_ _cleanup_(buffer_done)
void buffer_clear(Buffer *buffer); /* size 0, memory kept */
/* Cuts the content to size bytes (at most the present size). */
void buffer_truncate(Buffer *buffer, size_t size);

int buffer_reserve(Buffer *buffer, size_t additional) _warn_unused_;
int buffer_append(Buffer *buffer, const void *data, size_t size);
int buffer_append_string(Buffer *buffer, const char *text);
int buffer_append_byte(Buffer *buffer, uint8_t value);
int buffer_append_u16(Buffer *buffer, uint16_t value);
int buffer_append_u32(Buffer *buffer, uint32_t value);
int buffer_append_u64(Buffer *buffer, uint64_t value);
int buffer_append_format(Buffer *buffer, const char *format, ...) _printf_(2, 3);
int buffer_append_format_v(Buffer *buffer, const char *format, va_list arguments) _printf_(2, 0);
/* A JSON string literal with its quotes; invalid UTF-8 becomes U+FFFD. */
int buffer_append_json_string(Buffer *buffer, const char *text, size_t length);
/* Removes the first count bytes (count <= size). */
void buffer_consume(Buffer *buffer, size_t count);
/* The content as a string ("" when empty); borrowed. */
const char *buffer_string(const Buffer *buffer);
/* The content as an owned string; the buffer is empty afterwards. Never NULL. */
char *buffer_take_string(Buffer *buffer);

/* Reads from a byte range without copying; every read is checked. */
typedef struct Reader {
    const uint8_t *data;
    size_t size, position;
} Reader;
#define READER(bytes, length) ((Reader){.data = (bytes), .size = (length)})
int reader_u8(Reader *reader, uint8_t *ret_value); /* 0 or -EBADMSG */
int reader_u16(Reader *reader, uint16_t *ret_value);
int reader_u32(Reader *reader, uint32_t *ret_value);
int reader_u64(Reader *reader, uint64_t *ret_value);
int reader_bytes(Reader *reader, size_t size, const uint8_t **ret_data);
static inline size_t reader_left(const Reader *reader)
{
    return reader->size - reader->position;
}
