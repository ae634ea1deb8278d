/* SPDX-License-Identifier: Apache-2.0 */
/* Any bytes on their way to a terminal: what comes out is valid UTF-8 without anything that a terminal acts
 * on, and cuts keep to their width. */
#include <stdlib.h>

#include "base/memory.h"
#include "base/string.h"
#include "cli/text.h"
#include "cli/trust.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(const Buffer *buffer, const char *allowed)
{
    const char *text = buffer_string(buffer);
    ASSERT(utf8_is_valid(text, buffer->size));
    ASSERT(!string_has_control(text, buffer->size, allowed));
    ASSERT(!memmem(text, buffer->size, "\xc2\x9b", 2) && !memmem(text, buffer->size, "\xe2\x80\xae", 3));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    _cleanup_buffer_ Buffer safe = BUFFER_INIT, log = BUFFER_INIT, structured = BUFFER_INIT;
    char fingerprint[HASH_HEX_SIZE];
    if (size > 65536)
        return 0;
    text_append_safe(&safe, (const char *)data, size, NULL);
    check(&safe, NULL);
    text_append_log(&log, (const char *)data, size);
    check(&log, "\n\t");
    _cleanup_free_ char *copy = string_duplicate_n((const char *)data, size);
    text_append_structured(&structured, copy, strlen(copy));
    check(&structured, "\n\t");
    for (size_t width = 0; width < 12; width++) {
        _cleanup_free_ char *cut = text_cut(buffer_string(&safe), width);
        ASSERT(text_width(cut) <= width);
    }
    if (trust_parse_fingerprint(copy, fingerprint) == 0)
        ASSERT(strlen(fingerprint) == HASH_HEX_SIZE - 1);
    return 0;
}
