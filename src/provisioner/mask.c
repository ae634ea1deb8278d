/* SPDX-License-Identifier: Apache-2.0 */
#include "provisioner/mask.h"

#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "base/string.h"

static const char replacement[] = "***";

struct Mask {
    Secret **patterns;
    size_t count, capacity;
    bool is_first[256]; /* bytes that a pattern begins with */
};

Mask *mask_new(void)
{
    return NEW(Mask);
}

Mask *mask_free(Mask *mask)
{
    for (size_t i = 0; i < mask->count; i++)
        secret_free(mask->patterns[i]);
    free(mask->patterns);
    free(mask);
    return NULL;
}

static void add_pattern(Mask *mask, const void *data, size_t size)
{
    if (size < MASK_MINIMUM)
        return;
    Secret *pattern = secret_new(data, size);
    if (!pattern)
        abort(); /* going on would print it */
    if (mask->count == mask->capacity) {
        mask->capacity = MAX(mask->capacity * 2, (size_t)16);
        mask->patterns = memory_resize_array(mask->patterns, mask->capacity, sizeof(*mask->patterns));
    }
    mask->patterns[mask->count++] = pattern;
    mask->is_first[*(const uint8_t *)data] = true;
}

static void add_hex(Mask *mask, const uint8_t *data, size_t size)
{
    char *hex = memory_new(2 * size + 1);
    hex_encode(data, size, hex);
    add_pattern(mask, hex, 2 * size);
    for (size_t i = 0; i < 2 * size; i++)
        hex[i] = (char)toupper((unsigned char)hex[i]);
    add_pattern(mask, hex, 2 * size);
    memory_wipe(hex, 2 * size);
    free(hex);
}

/* Inside of a longer text the value begins at any of three places of a group of four; only the characters
 * that depend on nothing else count. */
static void add_base64(Mask *mask, const uint8_t *data, size_t size, unsigned shift)
{
    size_t padded = size + shift, capacity = 4 * ((padded + 2) / 3) + 1;
    uint8_t *bytes = memory_new(padded);
    char *text = memory_new(capacity);
    memcpy(bytes + shift, data, size);
    base64_encode(bytes, padded, text);
    size_t begin = shift == 0 ? 0 : shift + 1, end = padded * 8 / 6;
    if (end > begin + MASK_MINIMUM) {
        add_pattern(mask, text + begin, end - begin);
        bool is_different = false;
        for (size_t i = begin; i < end; i++) {
            is_different = is_different || text[i] == '+' || text[i] == '/';
            text[i] = text[i] == '+' ? '-' : text[i] == '/' ? '_' : text[i];
        }
        if (is_different)
            add_pattern(mask, text + begin, end - begin);
    }
    memory_wipe(bytes, padded);
    memory_wipe(text, capacity);
    free(bytes);
    free(text);
}

static void add_lines(Mask *mask, const uint8_t *data, size_t size)
{
    enum { LINE_MINIMUM = 16 };
    for (size_t at = 0; at < size;) {
        const uint8_t *end = memchr(data + at, '\n', size - at);
        size_t length = end ? (size_t)(end - data) - at : size - at;
        if (length >= LINE_MINIMUM && length < size)
            add_pattern(mask, data + at, length);
        at += length + 1;
    }
}

void mask_add(Mask *mask, const Secret *secret)
{
    const uint8_t *data = secret_bytes(secret);
    size_t size = secret_size(secret);
    if (size < MASK_MINIMUM)
        return;
    add_pattern(mask, data, size);
    add_hex(mask, data, size);
    for (unsigned shift = 0; shift < 3; shift++)
        add_base64(mask, data, size, shift);
    add_lines(mask, data, size);
}

void mask_stream_done(MaskStream *stream)
{
    buffer_wipe(&stream->held);
}

typedef struct Match {
    size_t length; /* of the longest pattern that is here, 0 = none */
    bool may_grow; /* the text ends inside of a pattern */
} Match;

static Match match_at(const Mask *mask, const uint8_t *data, size_t size)
{
    Match match = {0};
    if (!mask->is_first[*data])
        return match;
    for (size_t i = 0; i < mask->count; i++) {
        size_t length = secret_size(mask->patterns[i]);
        if (memcmp(data, secret_bytes(mask->patterns[i]), MIN(length, size)) != 0)
            continue;
        if (length > size)
            match.may_grow = true;
        else
            match.length = MAX(match.length, length);
    }
    return match;
}

int mask_stream_feed(MaskStream *stream, const void *data, size_t size, bool is_end, Buffer *ret_masked)
{
    int r = buffer_append(&stream->held, data, size);
    size_t at = 0, plain = 0; /* [plain, at) goes out as it is */
    Buffer *held = &stream->held;
    while (r >= 0 && at < held->size) {
        Match match = match_at(stream->mask, held->data + at, held->size - at);
        if (match.may_grow && !is_end)
            break;
        if (match.length == 0) {
            at++;
            continue;
        }
        r = buffer_append(ret_masked, held->data + plain, at - plain);
        if (r >= 0)
            r = buffer_append_string(ret_masked, replacement);
        at += match.length;
        plain = at;
    }
    if (r >= 0)
        r = buffer_append(ret_masked, held->data + plain, at - plain);
    buffer_consume(held, at);
    if (held->size == 0)
        buffer_wipe(held);
    return r;
}

char *mask_text(const Mask *mask, const char *text)
{
    if (!text)
        return NULL;
    MaskStream stream = MASK_STREAM(mask);
    _cleanup_buffer_ Buffer masked = BUFFER_INIT;
    int r = mask_stream_feed(&stream, text, strlen(text), true, &masked);
    mask_stream_done(&stream);
    return r < 0 ? string_duplicate(replacement) : buffer_take_string(&masked);
}
