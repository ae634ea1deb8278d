/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Text. Comparison, checked numbers, encodings, names. Any thread; no state. Included as "base/string.h",
 * never by its bare name. */

#include <stdarg.h>
#include <string.h>
#include <sys/types.h>

#include "base/macros.h"

static inline bool string_equal(const char *a, const char *b)
{
    return a == b || (a && b && strcmp(a, b) == 0);
}
static inline bool string_is_empty(const char *text)
{
    return !text || !*text;
}
bool string_starts_with(const char *text, const char *prefix);
bool string_ends_with(const char *text, const char *suffix);
/* Owned copies; abort without memory. NULL gives NULL. */
char *string_duplicate(const char *text);
char *string_duplicate_n(const char *text, size_t length);
char *string_format(const char *format, ...) _printf_(1, 2);
char *string_format_v(const char *format, va_list arguments) _printf_(1, 0);
/* Formats into a fixed array; -E2BIG when it does not fit (the array then holds a cut, terminated text). */
int string_print(char *destination, size_t size, const char *format, ...) _printf_(3, 4);
/* Copies with the same rule. */
int string_copy(char *destination, size_t size, const char *source);

/* Whole text must be the number in decimal, without white space or '+': -EINVAL, or -ERANGE outside [minimum,
 * maximum]. */
int string_to_i64(const char *text, int64_t minimum, int64_t maximum, int64_t *ret_value);
int string_to_u64(const char *text, uint64_t maximum, uint64_t *ret_value);
/* "true"/"false" in any case, "1"/"0", "yes"/"no", "on"/"off", "t"/"f". */
int string_to_bool(const char *text, bool *ret_value);
/* "90" (ms), "90ms", "15s", "5m", "2h", "7d" to milliseconds; -EINVAL, -ERANGE. */
int string_to_milliseconds(const char *text, int64_t *ret_milliseconds);
/* "512", "64K", "16M", "2G" to bytes. */
int string_to_bytes(const char *text, uint64_t *ret_bytes);

bool utf8_is_valid(const char *text, size_t length);
/* Bytes of the well-formed UTF-8 sequence that text begins with, 0 when it begins with none. */
size_t utf8_sequence(const char *text, size_t length);
/* Insertions, deletions, replacements and swaps of neighbours that turn a into b; for suggestions. Texts
 * longer than 63 bytes have distance UINT_MAX. */
unsigned string_distance(const char *a, const char *b);
/* True when the text has a control character other than those in allowed ("\n\t", or NULL). */
bool string_has_control(const char *text, size_t length, const char *allowed);

/* Names of catalog entries, clusters and so on: 1..255 of [A-Za-z0-9_.-], neither "." nor "..". */
bool name_is_valid(const char *name);
/* Names of people and tenants: first a letter, then letters, digits and -._~@ ; 1..255. */
bool identifier_is_valid(const char *name);
/* A DNS host name with at most 253 characters, labels 1..63 of [a-z0-9-] not at the ends. */
bool hostname_is_valid(const char *name);

/* Encodings. Destinations: hex 2n+1, base64 4*((n+2)/3)+1 bytes. hex_decode takes both
 * cases: -EINVAL, -E2BIG beyond capacity. */
void hex_encode(const void *data, size_t size, char *destination);
int hex_decode(const char *text, void *destination, size_t capacity, size_t *ret_size);
void base64_encode(const void *data, size_t size, char *destination);
/* Strict: padded, no white space, no stray bits. Owned result with a NUL after its end; limit in decoded
 * bytes
 * (-E2BIG). */
int base64_decode(const char *text, size_t length, size_t limit, uint8_t **ret_data, size_t *ret_size);
/* RFC 4648 base64url without padding. */
void base64url_encode(const void *data, size_t size, char *destination);

/* A list of owned strings. */
typedef struct StringList {
    char **items;
    size_t count, capacity;
} StringList;
void string_list_done(StringList *list);
void string_list_append(StringList *list, const char *text);
bool string_list_contains(const StringList *list, const char *text);
/* Bytewise. */
void string_list_sort(StringList *list);
/* Splits at the separator; empty parts are kept. */
void string_list_split(StringList *list, const char *text, char separator);
#define _cleanup_string_list_ _cleanup_(string_list_done)
