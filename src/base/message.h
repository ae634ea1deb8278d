/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Framed messages between our own processes (keeper, runner): a table describes each type, and the one codec
 * checks every field against it, so no handler reads raw bytes.
 *
 * Wire form, big endian: u32 length of what follows (at most MESSAGE_LIMIT), u16 type, u32 request id, then
 * fields: u8 tag, u32 length, bytes. Fields come in ascending tags; a repeatable field repeats its tag.
 * Unknown tags, wrong sizes, missing mandatory fields and trailing bytes make the message invalid. No
 * allocation: decoded fields point into the frame. Any thread. Free of other libraries: the static runner
 * links it. */

#include "base/buffer.h"

enum { MESSAGE_LIMIT = 1024 * 1024, MESSAGE_HEADER_SIZE = 10 };

typedef enum MessageFieldType {
    MESSAGE_U32,
    MESSAGE_U64,
    MESSAGE_BYTES,
    MESSAGE_STRING, /* UTF-8 without NUL; the decoder checks, the value is not terminated */
} MessageFieldType;

typedef struct MessageField {
    uint8_t tag; /* from 1, ascending; 0 ends the list */
    const char *name;
    MessageFieldType type;
    bool is_mandatory, is_repeatable;
    uint32_t maximum; /* bytes, for BYTES and STRING; 0 = what a message can hold */
} MessageField;

typedef struct MessageType {
    uint16_t type;
    const char *name;
    const MessageField *fields;
} MessageType;

typedef struct MessageView { /* of a decoded message */
    uint16_t type;
    uint32_t request_id;
    const MessageType *description;
    const uint8_t *body;
    size_t body_size;
} MessageView;

/* How many bytes the first frame in [data, data+size) has: 0 = need more, negative = -EBADMSG / -E2BIG. */
ssize_t message_frame_size(const uint8_t *data, size_t size);
/* Checks a whole frame against the table (an array ended by a row with fields NULL and name NULL). */
int message_decode(const uint8_t *frame, size_t size, const MessageType *types, MessageView *ret_view);
/* First occurrence, or the index-th of a repeatable field. -ENOENT when absent. */
int message_get_bytes(const MessageView *view, uint8_t tag, unsigned index, const uint8_t **ret_data,
                      size_t *ret_size);
/* Owned, terminated copy of a string field; NULL when absent. */
char *message_get_string(const MessageView *view, uint8_t tag, unsigned index);
uint64_t message_get_u64(const MessageView *view, uint8_t tag, uint64_t default_value); /* U32 too */

/* Building: begin, put in ascending tag order, end (writes the length). The buffer may hold earlier frames. A
 * put that fails makes message_end fail with -E2BIG too, which then takes the unfinished frame out again: it
 * is enough to check message_end. */
size_t message_begin(Buffer *buffer, uint16_t type, uint32_t request_id);
int message_put_u32(Buffer *buffer, uint8_t tag, uint32_t value);
int message_put_u64(Buffer *buffer, uint8_t tag, uint64_t value);
int message_put_bytes(Buffer *buffer, uint8_t tag, const void *data, size_t size);
int message_put_string(Buffer *buffer, uint8_t tag, const char *text); /* NULL = leave the field out */
int message_end(Buffer *buffer, size_t start);
