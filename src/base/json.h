/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* JSON over jansson. Parsing is bounded (size, depth 64, no duplicate names, no NUL in strings) and
 * errors carry line and column. Objects are taken apart by a table: each row names a member, its type,
 * its limits and where it goes; unknown members are errors, or warnings for documents of the older systems.
 * Any thread; a json_t belongs to one thread at a time. */

#include <jansson.h>

#include "base/buffer.h"
#include "base/error.h"
#include "base/memory.h"

enum { JSON_DEPTH_LIMIT = 64 };

/* Owned reference (json_decref). */
int json_parse(const char *text, size_t size, size_t limit, json_t **ret_value, Error *error);
/* Compact, members in order of insertion (or sorted). Owned string. */
char *json_to_text(const json_t *value);
char *json_to_sorted_text(const json_t *value);

static inline void json_decref_pointer(json_t **value)
{
    json_decref(*value);
}
#define _cleanup_json_ _cleanup_(json_decref_pointer)

typedef enum JsonFieldType {
    JSON_FIELD_STRING,       /* const char *, borrowed from the document */
    JSON_FIELD_INTEGER,      /* int64_t within [minimum, maximum] */
    JSON_FIELD_BOOLEAN,      /* bool; also the strings that string_to_bool takes when JSON_FIELD_LOOSE */
    JSON_FIELD_OBJECT,       /* json_t *, borrowed */
    JSON_FIELD_ARRAY,        /* json_t *, borrowed; count within [minimum, maximum] */
    JSON_FIELD_STRING_ARRAY, /* json_t * to an array of strings; count within [minimum, maximum] */
    JSON_FIELD_ANY,          /* json_t *, borrowed */
} JsonFieldType;

enum {
    JSON_FIELD_REQUIRED = 1 << 0,
    JSON_FIELD_NULLABLE = 1 << 1, /* null counts as absent */
    JSON_FIELD_SECRET = 1 << 2,   /* never quoted in an error */
    JSON_FIELD_LOOSE = 1 << 3,
    JSON_FIELD_NAME = 1 << 4,       /* string must satisfy name_is_valid */
    JSON_FIELD_IDENTIFIER = 1 << 5, /* string must satisfy identifier_is_valid */
};

typedef struct JsonField {
    const char *name; /* NULL ends the table */
    JsonFieldType type;
    size_t offset; /* into the destination struct */
    unsigned flags;
    int64_t minimum, maximum; /* integers: value; strings: length in bytes; arrays: count. Both 0 = no further
                                 limit than 64 KiB for strings */
    const char *description;  /* for the OpenAPI file */
} JsonField;

typedef enum JsonUnknown { JSON_UNKNOWN_ERROR, JSON_UNKNOWN_WARN, JSON_UNKNOWN_IGNORE } JsonUnknown;

/* Fills *destination (members that are absent stay as they are). `path` prefixes the field names in errors
 * ("" at the top). `warnings` (may be NULL) gets one line for each unknown member under JSON_UNKNOWN_WARN. */
int json_dispatch(json_t *object, const JsonField *fields, void *destination, const char *path,
                  JsonUnknown unknown, Buffer *warnings, Error *error);
