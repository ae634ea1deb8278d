/* SPDX-License-Identifier: Apache-2.0 */
#include "base/message.h"

#include <errno.h>
#include <string.h>

#include "base/string.h"

enum { LENGTH_SIZE = 4, AFTER_LENGTH = MESSAGE_HEADER_SIZE - LENGTH_SIZE, FIELD_HEADER_SIZE = 5 };

ssize_t message_frame_size(const uint8_t *data, size_t size)
{
    Reader reader = READER(data, size);
    uint32_t length;
    if (reader_u32(&reader, &length) < 0)
        return 0;
    if (length < AFTER_LENGTH)
        return -EBADMSG;
    if (length > MESSAGE_LIMIT)
        return -E2BIG;
    return size - LENGTH_SIZE < length ? 0 : (ssize_t)length + LENGTH_SIZE;
}

typedef struct RawField {
    uint8_t tag;
    const uint8_t *data;
    uint32_t size;
} RawField;

static int read_field(Reader *reader, RawField *ret_field)
{
    uint8_t tag;
    uint32_t size;
    const uint8_t *data;
    int r = reader_u8(reader, &tag);
    if (r >= 0)
        r = reader_u32(reader, &size);
    if (r >= 0)
        r = reader_bytes(reader, size, &data);
    if (r >= 0)
        *ret_field = (RawField){.tag = tag, .data = data, .size = size};
    return r;
}

static bool field_is_well_formed(const MessageField *description, const RawField *field)
{
    const char *text = (const char *)field->data;
    switch (description->type) {
    case MESSAGE_U32:
        return field->size == 4;
    case MESSAGE_U64:
        return field->size == 8;
    case MESSAGE_STRING:
        if (memchr(text, 0, field->size) || !utf8_is_valid(text, field->size))
            return false;
        return description->maximum == 0 || field->size <= description->maximum;
    case MESSAGE_BYTES:
        return description->maximum == 0 || field->size <= description->maximum;
    }
    return false;
}

/* Walks the fields and the table together: both are in ascending order of tags. */
static int check_fields(const uint8_t *body, size_t size, const MessageField *descriptions)
{
    static const MessageField none[] = {{0}};
    const MessageField *description = descriptions ? descriptions : none;
    Reader reader = READER(body, size);
    unsigned count = 0; /* of fields that the present row has had */
    while (reader_left(&reader) > 0) {
        RawField field;
        int r = read_field(&reader, &field);
        if (r < 0)
            return r;
        while (description->tag != 0 && description->tag < field.tag) {
            if (description->is_mandatory && count == 0)
                return -EBADMSG;
            description++;
            count = 0;
        }
        if (description->tag != field.tag || field.tag == 0)
            return -EBADMSG;
        if (count > 0 && !description->is_repeatable)
            return -EBADMSG;
        if (!field_is_well_formed(description, &field))
            return -EBADMSG;
        count++;
    }
    for (; description->tag != 0; description++, count = 0)
        if (description->is_mandatory && count == 0)
            return -EBADMSG;
    return 0;
}

int message_decode(const uint8_t *frame, size_t size, const MessageType *types, MessageView *ret_view)
{
    ssize_t expected = message_frame_size(frame, size);
    if (expected < 0)
        return (int)expected;
    if (expected == 0 || (size_t)expected != size)
        return -EBADMSG;
    Reader reader = {.data = frame, .size = size, .position = LENGTH_SIZE};
    MessageView view = {0};
    if (reader_u16(&reader, &view.type) < 0 || reader_u32(&reader, &view.request_id) < 0)
        return -EBADMSG;
    for (const MessageType *type = types; (type->name || type->fields) && !view.description; type++)
        if (type->type == view.type)
            view.description = type;
    if (!view.description)
        return -EBADMSG;
    view.body = frame + MESSAGE_HEADER_SIZE;
    view.body_size = size - MESSAGE_HEADER_SIZE;
    int r = check_fields(view.body, view.body_size, view.description->fields);
    if (r < 0)
        return r;
    *ret_view = view;
    return 0;
}

int message_get_bytes(const MessageView *view, uint8_t tag, unsigned index, const uint8_t **ret_data,
                      size_t *ret_size)
{
    Reader reader = READER(view->body, view->body_size);
    RawField field;
    while (reader_left(&reader) > 0 && read_field(&reader, &field) >= 0 && field.tag <= tag) {
        if (field.tag != tag || index-- > 0)
            continue;
        *ret_data = field.data;
        *ret_size = field.size;
        return 0;
    }
    return -ENOENT;
}

char *message_get_string(const MessageView *view, uint8_t tag, unsigned index)
{
    const uint8_t *data;
    size_t size;
    if (message_get_bytes(view, tag, index, &data, &size) < 0)
        return NULL;
    return string_duplicate_n((const char *)data, size);
}

uint64_t message_get_u64(const MessageView *view, uint8_t tag, uint64_t default_value)
{
    const uint8_t *data;
    size_t size;
    if (message_get_bytes(view, tag, 0, &data, &size) < 0 || (size != 4 && size != 8))
        return default_value;
    uint64_t value = 0;
    for (size_t i = 0; i < size; i++)
        value = value << 8 | data[i];
    return value;
}

size_t message_begin(Buffer *buffer, uint16_t type, uint32_t request_id)
{
    size_t start = buffer->size;
    buffer->has_overflowed = false;
    if (buffer_append_u32(buffer, 0) >= 0 && buffer_append_u16(buffer, type) >= 0)
        (void)buffer_append_u32(buffer, request_id);
    return start;
}

static int put_header(Buffer *buffer, uint8_t tag, size_t size)
{
    if (buffer->has_overflowed)
        return -E2BIG;
    if (size > MESSAGE_LIMIT) {
        buffer->has_overflowed = true;
        return -E2BIG;
    }
    /* All or nothing, so that a failed field leaves no header behind. */
    int r = buffer_reserve(buffer, FIELD_HEADER_SIZE + size);
    if (r < 0)
        return r;
    (void)buffer_append_byte(buffer, tag);
    return buffer_append_u32(buffer, (uint32_t)size);
}

int message_put_u32(Buffer *buffer, uint8_t tag, uint32_t value)
{
    int r = put_header(buffer, tag, 4);
    return r < 0 ? r : buffer_append_u32(buffer, value);
}

int message_put_u64(Buffer *buffer, uint8_t tag, uint64_t value)
{
    int r = put_header(buffer, tag, 8);
    return r < 0 ? r : buffer_append_u64(buffer, value);
}

int message_put_bytes(Buffer *buffer, uint8_t tag, const void *data, size_t size)
{
    int r = put_header(buffer, tag, size);
    return r < 0 ? r : buffer_append(buffer, data, size);
}

int message_put_string(Buffer *buffer, uint8_t tag, const char *text)
{
    return text ? message_put_bytes(buffer, tag, text, strlen(text)) : 0;
}

int message_end(Buffer *buffer, size_t start)
{
    ASSERT(start <= buffer->size);
    size_t size = buffer->size - start;
    if (buffer->has_overflowed || size < MESSAGE_HEADER_SIZE || size - LENGTH_SIZE > MESSAGE_LIMIT) {
        buffer_truncate(buffer, start);
        buffer->has_overflowed = false;
        return -E2BIG;
    }
    uint32_t length = (uint32_t)(size - LENGTH_SIZE);
    for (unsigned i = 0; i < LENGTH_SIZE; i++)
        buffer->data[start + i] = (uint8_t)(length >> (24 - 8 * i));
    return 0;
}
