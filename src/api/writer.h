/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Writes JSON answers straight into a buffer: no tree, one pass. Commas and quoting are its business,
 * matching begins and ends the caller's (checked by assertion). A writer whose buffer overflowed stays silent
 * and says so at the end. One thread. */

#include <jansson.h>

#include "base/buffer.h"
#include "base/clock.h"
#include "base/macros.h"

enum { WRITER_DEPTH_MAX = 16 };

typedef struct Writer {
    Buffer *buffer;
    unsigned depth;
    bool has_member[WRITER_DEPTH_MAX];
    int status; /* first error of the buffer */
} Writer;

Writer writer_new(Buffer *buffer);
/* name NULL inside arrays and at the top. */
void writer_begin_object(Writer *writer, const char *name);
void writer_end_object(Writer *writer);
void writer_begin_array(Writer *writer, const char *name);
void writer_end_array(Writer *writer);
void writer_string(Writer *writer, const char *name, const char *value); /* NULL = null */
void writer_string_n(Writer *writer, const char *name, const char *value, size_t length);
void writer_integer(Writer *writer, const char *name, int64_t value);
void writer_boolean(Writer *writer, const char *name, bool value);
/* Microseconds since 1970 as RFC 3339; 0 = null. */
void writer_time(Writer *writer, const char *name, int64_t time);
/* Text that is JSON already. */
void writer_raw(Writer *writer, const char *name, const char *json);
void writer_json(Writer *writer, const char *name, const json_t *value);
