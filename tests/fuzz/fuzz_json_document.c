/* SPDX-License-Identifier: Apache-2.0 */
/* Any bytes as a JSON document: what parses survives writing, reading, YAML, and a table of fields; what does
 * not parse leaves an error that can be shown. Any bytes as a JSON string literal: always parses. */
#include <string.h>

#include "base/json.h"
#include "base/string.h"
#include "base/yaml.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

typedef struct Destination {
    const char *text, *name, *identifier;
    int64_t number;
    bool flag;
    json_t *object, *array, *strings, *any;
} Destination;

static const JsonField fields[] = {
    {.name = "text",
     .type = JSON_FIELD_STRING,
     .offset = offsetof(Destination, text),
     .minimum = 1,
     .maximum = 10},
    {.name = "name",
     .type = JSON_FIELD_STRING,
     .offset = offsetof(Destination, name),
     .flags = JSON_FIELD_NAME | JSON_FIELD_REQUIRED},
    {.name = "identifier",
     .type = JSON_FIELD_STRING,
     .offset = offsetof(Destination, identifier),
     .flags = JSON_FIELD_IDENTIFIER | JSON_FIELD_NULLABLE},
    {.name = "number",
     .type = JSON_FIELD_INTEGER,
     .offset = offsetof(Destination, number),
     .flags = JSON_FIELD_LOOSE,
     .minimum = -5,
     .maximum = 5},
    {.name = "flag",
     .type = JSON_FIELD_BOOLEAN,
     .offset = offsetof(Destination, flag),
     .flags = JSON_FIELD_LOOSE},
    {.name = "object", .type = JSON_FIELD_OBJECT, .offset = offsetof(Destination, object)},
    {.name = "array", .type = JSON_FIELD_ARRAY, .offset = offsetof(Destination, array), .maximum = 3},
    {.name = "strings", .type = JSON_FIELD_STRING_ARRAY, .offset = offsetof(Destination, strings)},
    {.name = "any", .type = JSON_FIELD_ANY, .offset = offsetof(Destination, any)},
    {.name = NULL},
};

static void check_error(const Error *error)
{
    ASSERT(error_is_set(error));
    ASSERT(error->text[0]);
    ASSERT(utf8_is_valid(error->text, strlen(error->text)));
    ASSERT(utf8_is_valid(error->field, strlen(error->field)));
}

static void check_dispatch(json_t *value)
{
    static const JsonUnknown ways[] = {JSON_UNKNOWN_ERROR, JSON_UNKNOWN_WARN, JSON_UNKNOWN_IGNORE};
    for (size_t i = 0; i < ELEMENTSOF(ways); i++) {
        Destination destination = {.name = NULL};
        Error error = ERROR_INIT;
        _cleanup_buffer_ Buffer warnings = BUFFER_INIT;
        int r = json_dispatch(value, fields, &destination, "top", ways[i], &warnings, &error);
        ASSERT((r < 0) == error_is_set(&error));
        if (r < 0) {
            check_error(&error);
            continue;
        }
        ASSERT(name_is_valid(destination.name));
        ASSERT(destination.number >= -5 && destination.number <= 5);
        ASSERT(!destination.text || strlen(destination.text) <= 10);
    }
}

static void check_same(const char *text, const json_t *value, bool is_yaml)
{
    _cleanup_json_ json_t *again = NULL;
    Error error = ERROR_INIT;
    size_t size = strlen(text);
    int r =
        is_yaml ? yaml_parse(text, size, size, &again, &error) : json_parse(text, size, size, &again, &error);
    ASSERT(r >= 0);
    ASSERT(json_equal(again, value));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    _cleanup_buffer_ Buffer literal = BUFFER_INIT;
    ASSERT(buffer_append_byte(&literal, '[') >= 0);
    bool has_nul = size > 0 && memchr(data, 0, size);
    ASSERT(buffer_append_json_string(&literal, (const char *)data, size) >= 0);
    ASSERT(buffer_append_byte(&literal, ']') >= 0);
    _cleanup_json_ json_t *strings = NULL;
    int r = json_parse(buffer_string(&literal), literal.size, literal.size, &strings, NULL);
    ASSERT((r >= 0) == !has_nul);

    _cleanup_json_ json_t *value = NULL;
    Error error = ERROR_INIT;
    r = json_parse((const char *)data, size, 64 * 1024, &value, &error);
    ASSERT((r < 0) == error_is_set(&error));
    if (r < 0) {
        check_error(&error);
        return 0;
    }
    _cleanup_free_ char *text = json_to_text(value), *sorted = json_to_sorted_text(value),
                        *yaml = yaml_from_json(value);
    check_same(text, value, false);
    check_same(sorted, value, false);
    check_same(yaml, value, true);
    check_dispatch(value);
    return 0;
}
