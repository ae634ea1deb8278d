/* SPDX-License-Identifier: Apache-2.0 */
/* Any bytes as a stream of frames. The wire form is canonical: what decodes and is built again field by field
 * is the same bytes. */
#include <errno.h>
#include <string.h>

#include "base/memory.h"
#include "base/message.h"
#include "base/string.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const MessageField hello_fields[] = {
    {.tag = 1, .name = "version", .type = MESSAGE_U32, .is_mandatory = true},
    {.tag = 2, .name = "epoch", .type = MESSAGE_U64},
    {.tag = 3, .name = "name", .type = MESSAGE_STRING, .is_mandatory = true, .maximum = 64},
    {.tag = 0},
};
static const MessageField put_fields[] = {
    {.tag = 1, .name = "digests", .type = MESSAGE_BYTES, .is_repeatable = true, .maximum = 32},
    {.tag = 9, .name = "note", .type = MESSAGE_STRING},
    {.tag = 0},
};
static const MessageType types[] = {
    {.type = 1, .name = "HELLO", .fields = hello_fields},
    {.type = 2, .name = "PUT", .fields = put_fields},
    {.type = 3, .name = "NOTHING"},
    {.name = NULL},
};

static void check_frame(const uint8_t *frame, size_t size)
{
    MessageView view;
    if (message_decode(frame, size, types, &view) < 0)
        return;
    _cleanup_buffer_ Buffer again = BUFFER_INIT;
    size_t start = message_begin(&again, view.type, view.request_id);
    for (const MessageField *field = view.description->fields; field && field->tag != 0; field++) {
        const uint8_t *value;
        size_t value_size;
        for (unsigned i = 0; message_get_bytes(&view, field->tag, i, &value, &value_size) >= 0; i++) {
            ASSERT(i == 0 || field->is_repeatable);
            if (field->type == MESSAGE_U32)
                (void)message_put_u32(&again, field->tag, (uint32_t)message_get_u64(&view, field->tag, 0));
            else if (field->type == MESSAGE_U64)
                (void)message_put_u64(&again, field->tag, message_get_u64(&view, field->tag, 0));
            else
                (void)message_put_bytes(&again, field->tag, value, value_size);
            if (field->type == MESSAGE_STRING) {
                _cleanup_free_ char *text = message_get_string(&view, field->tag, i);
                ASSERT(text && strlen(text) == value_size);
            }
        }
    }
    ASSERT(message_end(&again, start) >= 0);
    ASSERT(again.size == size && memcmp(again.data, frame, size) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    for (size_t position = 0; position < size;) {
        ssize_t frame = message_frame_size(data + position, size - position);
        if (frame <= 0) {
            ASSERT(frame == 0 || frame == -EBADMSG || frame == -E2BIG);
            MessageView view;
            ASSERT(message_decode(data + position, size - position, types, &view) < 0);
            return 0;
        }
        check_frame(data + position, (size_t)frame);
        position += (size_t)frame;
    }
    return 0;
}
