/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/text.h"

#include <locale.h>
#include <pthread.h>
#include <wchar.h>

#include "base/memory.h"
#include "base/string.h"

static bool has_unicode = true;
static locale_t unicode_locale;

void text_set_unicode(bool is_unicode)
{
    has_unicode = is_unicode;
}

bool text_is_unicode(void)
{
    return has_unicode;
}

/* Decodes one well-formed sequence; its length, or 0. */
static size_t decode(const char *text, size_t length, uint32_t *ret_code)
{
    size_t size = utf8_sequence(text, length);
    const uint8_t *bytes = (const uint8_t *)text;
    static const uint8_t masks[] = {0, 0x7f, 0x1f, 0x0f, 0x07};
    if (size == 0)
        return 0;
    uint32_t code = bytes[0] & masks[size];
    for (size_t i = 1; i < size; i++)
        code = code << 6 | (bytes[i] & 0x3f);
    *ret_code = code;
    return size;
}

/* Characters that a terminal acts on, or that change or hide how other text looks. */
static bool is_hidden(uint32_t code)
{
    static const struct {
        uint32_t first, last;
    } ranges[] = {{0x00, 0x1f},       {0x7f, 0x9f},     {0xad, 0xad},       {0x34f, 0x34f},
                  {0x61c, 0x61c},     {0x115f, 0x1160}, {0x17b4, 0x17b5},   {0x180b, 0x180f},
                  {0x200b, 0x200f},   {0x2028, 0x202e}, {0x2060, 0x206f},   {0x3164, 0x3164},
                  {0xe000, 0xf8ff},   {0xfe00, 0xfe0f}, {0xfeff, 0xfeff},   {0xffa0, 0xffa0},
                  {0xfff0, 0xfffb},   {0xfffe, 0xffff}, {0x1d173, 0x1d17a}, {0xe0000, 0xe0fff},
                  {0xf0000, 0x10ffff}};
    for (size_t i = 0; i < ELEMENTSOF(ranges); i++)
        if (code >= ranges[i].first && code <= ranges[i].last)
            return true;
    return false;
}

static void append_character(Buffer *buffer, const char *text, size_t size, uint32_t code, const char *keep)
{
    if (code > 0 && code < 0x80 && keep && strchr(keep, (int)code))
        (void)buffer_append(buffer, text, size);
    else if (code < 0x20 || code == 0x7f)
        (void)buffer_append_format(buffer, "\\x%02x", code);
    else if (is_hidden(code) || (code >= 0x80 && !has_unicode))
        (void)buffer_append_format(buffer, "\\u{%x}", code);
    else
        (void)buffer_append(buffer, text, size);
}

void text_append_safe(Buffer *buffer, const char *text, size_t length, const char *keep)
{
    while (length > 0) {
        uint32_t code = 0;
        size_t size = decode(text, length, &code);
        if (size == 0) {
            (void)buffer_append_format(buffer, "\\x%02x", (unsigned)(uint8_t)*text);
            size = 1;
        } else {
            append_character(buffer, text, size, code, keep);
        }
        text += size;
        length -= size;
    }
}

char *text_safe(const char *text)
{
    Buffer buffer = BUFFER_INIT;
    if (text)
        text_append_safe(&buffer, text, strlen(text), NULL);
    return buffer_take_string(&buffer);
}

/* Bytes of an SGR sequence ("ESC [ 31 m") that text begins with, or 0. */
static size_t colour_sequence(const char *text, size_t length)
{
    if (length < 3 || text[0] != '\033' || text[1] != '[')
        return 0;
    size_t i = 2;
    while (i < length && i < 32 && strchr("0123456789;:", text[i]) && text[i])
        i++;
    return i < length && text[i] == 'm' ? i + 1 : 0;
}

void text_append_log(Buffer *buffer, const char *text, size_t length)
{
    size_t start = 0;
    for (size_t i = 0; i < length;) {
        size_t skip = colour_sequence(text + i, length - i);
        if (skip == 0 && text[i] == '\r')
            skip = 1;
        if (skip == 0) {
            i++;
            continue;
        }
        text_append_safe(buffer, text + start, i - start, "\n\t");
        /* A return without a new line overwrites on a terminal; here it begins a line. */
        if (text[i] == '\r' && i + 1 < length && text[i + 1] != '\n' && text[i + 1] != '\r')
            (void)buffer_append_byte(buffer, '\n');
        start = i += skip;
    }
    text_append_safe(buffer, text + start, length - start, "\n\t");
}

void text_append_structured(Buffer *buffer, const char *text, size_t length)
{
    while (length > 0) {
        uint32_t code = 0;
        size_t size = decode(text, length, &code);
        if (size == 0)
            (void)buffer_append_string(buffer, "\\ufffd");
        else if (code < 0x80 && (code >= 0x20 || strchr("\n\t", (int)code)) && code != 0x7f)
            (void)buffer_append(buffer, text, size);
        else if (code >= 0x10000 && (is_hidden(code) || !has_unicode))
            (void)buffer_append_format(buffer, "\\u%04x\\u%04x", 0xd800 + ((code - 0x10000) >> 10),
                                       0xdc00 + ((code - 0x10000) & 0x3ff));
        else if (is_hidden(code) || !has_unicode)
            (void)buffer_append_format(buffer, "\\u%04x", code);
        else
            (void)buffer_append(buffer, text, size);
        size = MAX(size, (size_t)1);
        text += size;
        length -= size;
    }
}

static void open_locale(void)
{
    unicode_locale = newlocale(LC_CTYPE_MASK, "C.UTF-8", (locale_t)0);
}

/* Columns of one character. */
static size_t character_width(uint32_t code)
{
    if (code < 0x80)
        return 1;
    int width = wcwidth((wchar_t)code);
    return width < 0 ? 1 : (size_t)width;
}

/* Calls back with the C library's table of widths at hand, whatever the locale of the user is. */
static size_t measure(const char *text, size_t limit, size_t *ret_bytes)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    (void)pthread_once(&once, open_locale);
    locale_t previous = unicode_locale ? uselocale(unicode_locale) : (locale_t)0;
    size_t columns = 0, left = strlen(text);
    const char *position = text;
    while (left > 0) {
        uint32_t code = '?';
        size_t size = MAX(decode(position, left, &code), (size_t)1), width = character_width(code);
        if (columns + width > limit)
            break;
        columns += width;
        position += size;
        left -= size;
    }
    if (previous)
        (void)uselocale(previous);
    *ret_bytes = (size_t)(position - text);
    return columns;
}

size_t text_width(const char *text)
{
    size_t bytes;
    return measure(text, SIZE_MAX / 2, &bytes);
}

char *text_cut(const char *text, size_t width)
{
    size_t bytes;
    (void)measure(text, width, &bytes);
    if (text[bytes] == '\0')
        return string_duplicate(text);
    if (width == 0)
        return string_duplicate("");
    (void)measure(text, width - 1, &bytes);
    return string_format("%.*s%s", (int)bytes, text, has_unicode ? "…" : "~");
}
