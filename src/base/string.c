/* SPDX-License-Identifier: Apache-2.0 */
#include "base/string.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <strings.h>

#include "base/memory.h"

bool string_starts_with(const char *text, const char *prefix)
{
    return text && strncmp(text, prefix, strlen(prefix)) == 0;
}

bool string_ends_with(const char *text, const char *suffix)
{
    if (!text)
        return false;
    size_t length = strlen(text), wanted = strlen(suffix);
    return length >= wanted && memcmp(text + length - wanted, suffix, wanted) == 0;
}

char *string_duplicate(const char *text)
{
    return text ? string_duplicate_n(text, strlen(text)) : NULL;
}

char *string_duplicate_n(const char *text, size_t length)
{
    if (!text)
        return NULL;
    ASSERT(length < SIZE_MAX);
    char *copy = memory_new(length + 1);
    memcpy(copy, text, length);
    return copy;
}

char *string_format(const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    char *text = string_format_v(format, arguments);
    va_end(arguments);
    return text;
}

char *string_format_v(const char *format, va_list arguments)
{
    char *text = NULL;
    int length = vasprintf(&text, format, arguments);
    ASSERT(length >= 0);
    return text;
}

/* Takes away an UTF-8 sequence that was cut in the middle. */
static void utf8_trim_end(char *text)
{
    size_t length = strlen(text), start = length;
    while (start > 0 && length - start < 4 && ((unsigned char)text[start - 1] & 0xc0) == 0x80)
        start--;
    if (start == 0 || (unsigned char)text[start - 1] < 0xc0)
        return;
    start--;
    if (utf8_sequence(text + start, length - start) == 0)
        text[start] = 0;
}

int string_print(char *destination, size_t size, const char *format, ...)
{
    ASSERT(size > 0);
    va_list arguments;
    va_start(arguments, format);
    int length = vsnprintf(destination, size, format, arguments);
    va_end(arguments);
    ASSERT(length >= 0);
    if ((size_t)length < size)
        return 0;
    utf8_trim_end(destination);
    return -E2BIG;
}

int string_copy(char *destination, size_t size, const char *source)
{
    ASSERT(size > 0);
    size_t length = strnlen(source, size);
    bool fits = length < size;
    if (!fits)
        length = size - 1;
    memmove(destination, source, length);
    destination[length] = 0;
    if (fits)
        return 0;
    utf8_trim_end(destination);
    return -E2BIG;
}

/* Decimal digits up to the first other character. */
static int parse_digits(const char **text, uint64_t *ret_value)
{
    const char *p = *text;
    if (*p < '0' || *p > '9')
        return -EINVAL;
    uint64_t value = 0;
    bool is_too_large = false;
    for (; *p >= '0' && *p <= '9'; p++)
        if (__builtin_mul_overflow(value, (uint64_t)10, &value) ||
            __builtin_add_overflow(value, (uint64_t)(*p - '0'), &value))
            is_too_large = true;
    *text = p;
    *ret_value = value;
    return is_too_large ? -ERANGE : 0;
}

int string_to_u64(const char *text, uint64_t maximum, uint64_t *ret_value)
{
    if (!text)
        return -EINVAL;
    uint64_t value = 0;
    int r = parse_digits(&text, &value);
    if (r == -EINVAL || *text)
        return -EINVAL;
    if (r < 0 || value > maximum)
        return -ERANGE;
    *ret_value = value;
    return 0;
}

int string_to_i64(const char *text, int64_t minimum, int64_t maximum, int64_t *ret_value)
{
    if (!text)
        return -EINVAL;
    bool is_negative = *text == '-';
    uint64_t magnitude = 0;
    int r = string_to_u64(text + is_negative, (uint64_t)INT64_MAX + is_negative, &magnitude);
    if (r < 0)
        return r;
    int64_t value = is_negative ? (int64_t)(0 - magnitude) : (int64_t)magnitude;
    if (value < minimum || value > maximum)
        return -ERANGE;
    *ret_value = value;
    return 0;
}

int string_to_bool(const char *text, bool *ret_value)
{
    static const struct {
        const char *text;
        bool value;
    } words[] = {
        {"true", true}, {"false", false}, {"1", true},    {"0", false}, {"yes", true},
        {"no", false},  {"on", true},     {"off", false}, {"t", true},  {"f", false},
    };
    for (size_t i = 0; text && i < ELEMENTSOF(words); i++)
        if (strcasecmp(text, words[i].text) == 0) {
            *ret_value = words[i].value;
            return 0;
        }
    return -EINVAL;
}

typedef struct Unit {
    const char *name;
    uint64_t factor;
} Unit;

static int parse_with_unit(const char *text, const Unit *units, size_t count, uint64_t maximum,
                           uint64_t *ret_value)
{
    if (!text)
        return -EINVAL;
    uint64_t value = 0;
    int r = parse_digits(&text, &value);
    if (r == -EINVAL)
        return r;
    for (size_t i = 0; i < count; i++) {
        if (!string_equal(text, units[i].name))
            continue;
        if (r < 0 || __builtin_mul_overflow(value, units[i].factor, &value) || value > maximum)
            return -ERANGE;
        *ret_value = value;
        return 0;
    }
    return -EINVAL;
}

int string_to_milliseconds(const char *text, int64_t *ret_milliseconds)
{
    static const Unit units[] = {{"", 1},          {"ms", 1},          {"s", 1000},
                                 {"m", 60 * 1000}, {"h", 3600 * 1000}, {"d", 86400 * 1000}};
    uint64_t value;
    int r = parse_with_unit(text, units, ELEMENTSOF(units), INT64_MAX, &value);
    if (r >= 0)
        *ret_milliseconds = (int64_t)value;
    return r;
}

int string_to_bytes(const char *text, uint64_t *ret_bytes)
{
    static const Unit units[] = {{"", 1},
                                 {"K", 1024},
                                 {"M", 1024 * 1024},
                                 {"G", 1024 * 1024 * 1024},
                                 {"T", UINT64_C(1024) * 1024 * 1024 * 1024}};
    return parse_with_unit(text, units, ELEMENTSOF(units), UINT64_MAX, ret_bytes);
}

size_t utf8_sequence(const char *text, size_t length)
{
    if (length == 0)
        return 0;
    const unsigned char *p = (const unsigned char *)text;
    if (p[0] < 0x80)
        return 1;
    size_t size = p[0] >= 0xf0 ? 4 : p[0] >= 0xe0 ? 3 : 2;
    if (p[0] < 0xc2 || p[0] > 0xf4 || length < size)
        return 0;
    for (size_t i = 1; i < size; i++)
        if ((p[i] & 0xc0) != 0x80)
            return 0;
    /* Overlong forms, surrogates, beyond U+10FFFF. */
    if ((p[0] == 0xe0 && p[1] < 0xa0) || (p[0] == 0xed && p[1] > 0x9f) || (p[0] == 0xf0 && p[1] < 0x90) ||
        (p[0] == 0xf4 && p[1] > 0x8f))
        return 0;
    return size;
}

bool utf8_is_valid(const char *text, size_t length)
{
    for (size_t position = 0; position < length;) {
        size_t size = utf8_sequence(text + position, length - position);
        if (size == 0)
            return false;
        position += size;
    }
    return true;
}

bool string_has_control(const char *text, size_t length, const char *allowed)
{
    for (size_t i = 0; i < length; i++) {
        unsigned char c = (unsigned char)text[i];
        if ((c < 0x20 || c == 0x7f) && !(c != 0 && allowed && strchr(allowed, c)))
            return true;
        /* C1 controls, in UTF-8 0xc2 0x80..0x9f: terminals take them as commands. */
        if (c == 0xc2 && i + 1 < length && (unsigned char)text[i + 1] >= 0x80 &&
            (unsigned char)text[i + 1] <= 0x9f)
            return true;
    }
    return false;
}

unsigned string_distance(const char *a, const char *b)
{
    enum { MOST = 64 };
    size_t length_a = strlen(a), length_b = strlen(b);
    if (length_a >= MOST || length_b >= MOST)
        return UINT_MAX;
    unsigned rows[3][MOST]; /* before the previous, previous, present */
    unsigned *older = rows[0], *previous = rows[1], *present = rows[2];
    memset(rows, 0, sizeof(rows));
    for (size_t j = 0; j <= length_b; j++)
        previous[j] = (unsigned)j;
    for (size_t i = 1; i <= length_a; i++) {
        present[0] = (unsigned)i;
        for (size_t j = 1; j <= length_b; j++) {
            unsigned best = previous[j - 1] + (a[i - 1] != b[j - 1]);
            best = MIN(best, MIN(previous[j], present[j - 1]) + 1);
            if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1])
                best = MIN(best, older[j - 2] + 1);
            present[j] = best;
        }
        unsigned *freed = older;
        older = previous;
        previous = present;
        present = freed;
    }
    return previous[length_b];
}

static bool is_letter(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

bool name_is_valid(const char *name)
{
    if (!name || string_equal(name, ".") || string_equal(name, ".."))
        return false;
    size_t length = 0;
    for (; name[length]; length++)
        if (length >= 255 ||
            !(is_letter(name[length]) || is_digit(name[length]) || strchr("_.-", name[length])))
            return false;
    return length > 0;
}

bool identifier_is_valid(const char *name)
{
    if (!name || !is_letter(name[0]))
        return false;
    for (size_t i = 1; name[i]; i++)
        if (i >= 255 || !(is_letter(name[i]) || is_digit(name[i]) || strchr("-._~@", name[i])))
            return false;
    return true;
}

bool hostname_is_valid(const char *name)
{
    if (string_is_empty(name) || strnlen(name, 254) > 253)
        return false;
    size_t label = 0; /* length of the present label */
    for (const char *p = name;; p++) {
        if (*p == '.' || *p == 0) {
            if (label == 0 || label > 63 || p[-1] == '-')
                return false;
            if (*p == 0)
                return true;
            label = 0;
        } else if ((*p >= 'a' && *p <= 'z') || is_digit(*p) || (*p == '-' && label > 0))
            label++;
        else
            return false;
    }
}

void hex_encode(const void *data, size_t size, char *destination)
{
    const uint8_t *bytes = data;
    for (size_t i = 0; i < size; i++) {
        *destination++ = "0123456789abcdef"[bytes[i] >> 4];
        *destination++ = "0123456789abcdef"[bytes[i] & 15];
    }
    *destination = 0;
}

static int hex_digit(char c)
{
    if (is_digit(c))
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    if (c >= 'A' && c <= 'F')
        return c - 'A' + 10;
    return -EINVAL;
}

int hex_decode(const char *text, void *destination, size_t capacity, size_t *ret_size)
{
    uint8_t *bytes = destination;
    size_t size = 0;
    for (; *text; text += 2, size++) {
        int high = hex_digit(text[0]);
        int low = high < 0 ? high : hex_digit(text[1]);
        if (high < 0 || low < 0)
            return -EINVAL;
        if (size >= capacity)
            return -E2BIG;
        bytes[size] = (uint8_t)(high << 4 | low);
    }
    *ret_size = size;
    return 0;
}

static const char BASE64[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
static const char BASE64URL[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

static void base64_encode_with(const char *alphabet, bool is_padded, const void *data, size_t size,
                               char *destination)
{
    const uint8_t *bytes = data;
    for (size_t i = 0; i < size; i += 3) {
        size_t count = MIN(size - i, (size_t)3);
        uint32_t group = (uint32_t)bytes[i] << 16;
        if (count > 1)
            group |= (uint32_t)bytes[i + 1] << 8;
        if (count > 2)
            group |= bytes[i + 2];
        for (unsigned j = 0; j < 4; j++)
            if (j <= count)
                *destination++ = alphabet[group >> (18 - 6 * j) & 63];
            else if (is_padded)
                *destination++ = '=';
    }
    *destination = 0;
}

void base64_encode(const void *data, size_t size, char *destination)
{
    base64_encode_with(BASE64, true, data, size, destination);
}

void base64url_encode(const void *data, size_t size, char *destination)
{
    base64_encode_with(BASE64URL, false, data, size, destination);
}

static int base64_digit(char c)
{
    if (c >= 'A' && c <= 'Z')
        return c - 'A';
    if (c >= 'a' && c <= 'z')
        return c - 'a' + 26;
    if (is_digit(c))
        return c - '0' + 52;
    return c == '+' ? 62 : c == '/' ? 63 : -EINVAL;
}

/* Four characters into at most three bytes; returns their count. */
static int base64_decode_group(const char *text, size_t padding, uint8_t *destination)
{
    uint32_t group = 0;
    for (size_t i = 0; i < 4; i++) {
        int digit = i >= 4 - padding ? 0 : base64_digit(text[i]);
        if (digit < 0)
            return -EINVAL;
        group = group << 6 | (uint32_t)digit;
    }
    if ((padding == 1 && (group & 0xff)) || (padding == 2 && (group & 0xffff)))
        return -EINVAL;
    for (size_t i = 0; i < 3 - padding; i++)
        destination[i] = (uint8_t)(group >> (16 - 8 * i));
    return (int)(3 - padding);
}

int base64_decode(const char *text, size_t length, size_t limit, uint8_t **ret_data, size_t *ret_size)
{
    if (length % 4 != 0)
        return -EINVAL;
    size_t padding = length == 0 || text[length - 1] != '=' ? 0 : text[length - 2] == '=' ? 2 : 1;
    size_t size = length / 4 * 3 - padding;
    if (size > limit)
        return -E2BIG;
    _cleanup_free_ uint8_t *data = malloc(length / 4 * 3 + 1);
    if (!data)
        return -ENOMEM;
    uint8_t *end = data;
    for (size_t i = 0; i < length; i += 4) {
        int r = base64_decode_group(text + i, i + 4 == length ? padding : 0, end);
        if (r < 0) {
            explicit_bzero(data, size);
            return r;
        }
        end += r;
    }
    *end = 0;
    *ret_data = TAKE_PTR(data);
    *ret_size = size;
    return 0;
}

void string_list_done(StringList *list)
{
    for (size_t i = 0; i < list->count; i++)
        free(list->items[i]);
    free(list->items);
    *list = (StringList){0};
}

static void string_list_append_n(StringList *list, const char *text, size_t length)
{
    if (list->count == list->capacity) {
        ASSERT(list->capacity <= SIZE_MAX / 4);
        list->capacity = list->capacity ? list->capacity * 2 : 8;
        list->items = memory_resize_array(list->items, list->capacity, sizeof(char *));
    }
    list->items[list->count++] = string_duplicate_n(text, length);
}

void string_list_append(StringList *list, const char *text)
{
    ASSERT(text);
    string_list_append_n(list, text, strlen(text));
}

bool string_list_contains(const StringList *list, const char *text)
{
    for (size_t i = 0; i < list->count; i++)
        if (string_equal(list->items[i], text))
            return true;
    return false;
}

static int compare_strings(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

void string_list_sort(StringList *list)
{
    if (list->count > 1)
        qsort(list->items, list->count, sizeof(char *), compare_strings);
}

void string_list_split(StringList *list, const char *text, char separator)
{
    if (!text)
        return;
    for (;;) {
        const char *end = strchrnul(text, separator);
        string_list_append_n(list, text, (size_t)(end - text));
        if (!*end)
            return;
        text = end + 1;
    }
}
