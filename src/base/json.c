/* SPDX-License-Identifier: Apache-2.0 */
#include "base/json.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/string.h"

enum { STRING_LIMIT_DEFAULT = 64 * 1024, PATH_SIZE = sizeof(((Error *)NULL)->field) };

static int set_place(Error *error, int result, unsigned line, unsigned column)
{
    if (error && error->line == 0) {
        error->line = line;
        error->column = column;
    }
    return result;
}

/* Jansson's own limit is 2,048 levels, and it counts them on the stack; ours is checked before it starts. */
static int check_depth(const char *text, size_t size, Error *error)
{
    unsigned depth = 0, line = 1;
    size_t line_start = 0;
    bool is_in_string = false;
    for (size_t i = 0; i < size; i++) {
        char c = text[i];
        if (c == '\n') {
            line++;
            line_start = i + 1;
        } else if (is_in_string && c == '\\')
            i++;
        else if (c == '"')
            is_in_string = !is_in_string;
        else if (!is_in_string && (c == '{' || c == '['))
            depth++;
        else if (!is_in_string && (c == '}' || c == ']') && depth > 0)
            depth--;
        if (depth > JSON_DEPTH_LIMIT)
            return set_place(error,
                             error_set(error, ERROR_BAD_DOCUMENT,
                                       "the document is nested deeper than %d levels", JSON_DEPTH_LIMIT),
                             line, (unsigned)(i - line_start) + 1);
    }
    return 0;
}

int json_parse(const char *text, size_t size, size_t limit, json_t **ret_value, Error *error)
{
    if (size > limit)
        return error_set(error, ERROR_TOO_LARGE, "the document has %zu bytes, more than the limit of %zu",
                         size, limit);
    int r = check_depth(text, size, error);
    if (r < 0)
        return r;
    json_error_t problem;
    json_t *value = json_loadb(text, size, JSON_REJECT_DUPLICATES, &problem);
    if (!value) {
        /* Jansson goes on with "near '<text of the document>'", which may be a secret. */
        const char *near = strstr(problem.text, " near '");
        int length = near ? (int)(near - problem.text) : (int)strlen(problem.text);
        return set_place(
            error, error_set(error, ERROR_BAD_DOCUMENT, "not valid JSON: %.*s", length, problem.text),
            problem.line > 0 ? (unsigned)problem.line : 0, problem.column > 0 ? (unsigned)problem.column : 0);
    }
    *ret_value = value;
    return 0;
}

static char *dump(const json_t *value, size_t flags)
{
    char *text = json_dumps(value, JSON_COMPACT | JSON_ENCODE_ANY | flags);
    ASSERT(text);
    return text;
}

char *json_to_text(const json_t *value)
{
    return dump(value, 0);
}

char *json_to_sorted_text(const json_t *value)
{
    return dump(value, JSON_SORT_KEYS);
}

/* One member on its way from the document to the struct. */
typedef struct Member {
    const JsonField *field;
    json_t *value;
    void *destination; /* of this member */
    char path[PATH_SIZE];
    Error *error;
} Member;

_printf_(2, 3) static int member_fail(const Member *member, const char *format, ...)
{
    char text[sizeof(((Error *)NULL)->text)];
    va_list arguments;
    va_start(arguments, format);
    int length = vsnprintf(text, sizeof(text), format, arguments);
    va_end(arguments);
    return error_set_field(member->error, ERROR_BAD_FIELD, member->path, "%s",
                           length < 0 ? "is wrong" : text);
}

static const char *const type_names[] = {
    [JSON_FIELD_STRING] = "a string",       [JSON_FIELD_INTEGER] = "an integer",
    [JSON_FIELD_BOOLEAN] = "true or false", [JSON_FIELD_OBJECT] = "an object",
    [JSON_FIELD_ARRAY] = "an array",        [JSON_FIELD_STRING_ARRAY] = "an array of strings",
    [JSON_FIELD_ANY] = "a value",
};

static int fail_type(const Member *member)
{
    return member_fail(member, "must be %s", type_names[member->field->type]);
}

static int take_string(const Member *member)
{
    const JsonField *field = member->field;
    if (!json_is_string(member->value))
        return fail_type(member);
    const char *text = json_string_value(member->value);
    int64_t length = (int64_t)json_string_length(member->value);
    int64_t maximum = field->maximum > 0 ? field->maximum : STRING_LIMIT_DEFAULT;
    if (length < field->minimum && length == 0)
        return member_fail(member, "must not be empty");
    if (length < field->minimum || length > maximum)
        return member_fail(member, "must have %lld to %lld bytes", (long long)field->minimum,
                           (long long)maximum);
    if ((field->flags & JSON_FIELD_NAME) && !name_is_valid(text))
        return member_fail(member, "must be a name: 1 to 255 letters, digits, '_', '.' or '-'");
    if ((field->flags & JSON_FIELD_IDENTIFIER) && !identifier_is_valid(text))
        return member_fail(member,
                           "must be a name: a letter, then letters, digits, '-', '.', '_', '~' or '@', "
                           "255 at most");
    *(const char **)member->destination = text;
    return 0;
}

static int take_integer(const Member *member)
{
    const JsonField *field = member->field;
    int64_t value = 0;
    if (json_is_integer(member->value))
        value = json_integer_value(member->value);
    else if (!(field->flags & JSON_FIELD_LOOSE) || !json_is_string(member->value) ||
             string_to_i64(json_string_value(member->value), INT64_MIN, INT64_MAX, &value) < 0)
        return fail_type(member);
    bool has_range = field->minimum != 0 || field->maximum != 0;
    if (has_range && (value < field->minimum || value > field->maximum))
        return member_fail(member, "must be from %lld to %lld", (long long)field->minimum,
                           (long long)field->maximum);
    *(int64_t *)member->destination = value;
    return 0;
}

static int take_boolean(const Member *member)
{
    bool value = json_is_true(member->value);
    bool is_loose_text = (member->field->flags & JSON_FIELD_LOOSE) && json_is_string(member->value);
    if (is_loose_text ? string_to_bool(json_string_value(member->value), &value) < 0
                      : !json_is_boolean(member->value))
        return fail_type(member);
    *(bool *)member->destination = value;
    return 0;
}

static int take_object(const Member *member)
{
    if (!json_is_object(member->value))
        return fail_type(member);
    *(json_t **)member->destination = member->value;
    return 0;
}

static int take_array(const Member *member)
{
    const JsonField *field = member->field;
    if (!json_is_array(member->value))
        return fail_type(member);
    int64_t count = (int64_t)json_array_size(member->value);
    bool has_range = field->minimum != 0 || field->maximum != 0;
    if (has_range && count < field->minimum)
        return member_fail(member, "must have at least %lld elements", (long long)field->minimum);
    if (has_range && field->maximum > 0 && count > field->maximum)
        return member_fail(member, "must have at most %lld elements", (long long)field->maximum);
    *(json_t **)member->destination = member->value;
    return 0;
}

static int take_string_array(const Member *member)
{
    size_t index;
    json_t *element;
    json_array_foreach (member->value, index, element) {
        if (!json_is_string(element))
            return member_fail(member, "must be an array of strings; element %zu is none", index);
        if (json_string_length(element) > STRING_LIMIT_DEFAULT)
            return member_fail(member, "element %zu has more than %d bytes", index, STRING_LIMIT_DEFAULT);
    }
    return take_array(member);
}

static int take_any(const Member *member)
{
    *(json_t **)member->destination = member->value;
    return 0;
}

static int (*const takers[])(const Member *member) = {
    [JSON_FIELD_STRING] = take_string,   [JSON_FIELD_INTEGER] = take_integer,
    [JSON_FIELD_BOOLEAN] = take_boolean, [JSON_FIELD_OBJECT] = take_object,
    [JSON_FIELD_ARRAY] = take_array,     [JSON_FIELD_STRING_ARRAY] = take_string_array,
    [JSON_FIELD_ANY] = take_any,
};

static void join_path(char destination[static PATH_SIZE], const char *path, const char *name)
{
    /* Too long a path is cut: it is for people. */
    (void)string_print(destination, PATH_SIZE, "%s%s%s", string_is_empty(path) ? "" : path,
                       string_is_empty(path) ? "" : ".", name);
}

static const char *nearest_field(const JsonField *fields, const char *name)
{
    const char *best = NULL;
    unsigned best_distance = 3;
    for (const JsonField *field = fields; field->name; field++) {
        unsigned distance = string_distance(name, field->name);
        if (distance < best_distance && distance < strlen(field->name)) {
            best = field->name;
            best_distance = distance;
        }
    }
    return best;
}

static bool is_known(const JsonField *fields, const char *name)
{
    for (const JsonField *field = fields; field->name; field++)
        if (string_equal(field->name, name))
            return true;
    return false;
}

static int check_unknown(json_t *object, const JsonField *fields, const char *path, JsonUnknown unknown,
                         Buffer *warnings, Error *error)
{
    const char *name;
    json_t *value;
    json_object_foreach (object, name, value) {
        if (is_known(fields, name))
            continue;
        char full[PATH_SIZE];
        join_path(full, path, name);
        if (unknown == JSON_UNKNOWN_ERROR) {
            const char *nearest = nearest_field(fields, name);
            if (nearest)
                return error_set_field(error, ERROR_BAD_FIELD, full, "is unknown; did you mean '%s'?",
                                       nearest);
            return error_set_field(error, ERROR_BAD_FIELD, full, "is unknown");
        }
        if (warnings) /* a full list of warnings is no reason to refuse the document */
            (void)buffer_append_format(warnings, "%s: is unknown and ignored\n", full);
    }
    return 0;
}

int json_dispatch(json_t *object, const JsonField *fields, void *destination, const char *path,
                  JsonUnknown unknown, Buffer *warnings, Error *error)
{
    if (!json_is_object(object))
        return error_set_field(error, ERROR_BAD_FIELD, path ? path : "", "must be an object");
    if (unknown != JSON_UNKNOWN_IGNORE) {
        int r = check_unknown(object, fields, path, unknown, warnings, error);
        if (r < 0)
            return r;
    }
    for (const JsonField *field = fields; field->name; field++) {
        Member member = {.field = field,
                         .value = json_object_get(object, field->name),
                         .destination = (char *)destination + field->offset,
                         .error = error};
        join_path(member.path, path, field->name);
        bool is_absent =
            !member.value || (json_is_null(member.value) && (field->flags & JSON_FIELD_NULLABLE));
        if (is_absent && (field->flags & JSON_FIELD_REQUIRED))
            return member_fail(&member, "is required");
        if (is_absent)
            continue;
        int r = takers[field->type](&member);
        if (r < 0)
            return r;
    }
    return 0;
}
