/* SPDX-License-Identifier: Apache-2.0 */
#include "domain/catalog/members.h"

#include <inttypes.h>

#include "base/string.h"

const char *member_path(Members *members, const char *parent, const char *name)
{
    return *parent ? arena_format(members->arena, "%s.%s", parent, name) : name;
}

const char *item_path(Members *members, const char *parent, size_t index)
{
    return arena_format(members->arena, "%s[%zu]", parent, index);
}

static void issue_v(Members *members, IssueSeverity severity, const char *path, const char *rule,
                    const char *format, va_list arguments) _printf_(5, 0);

static void issue_v(Members *members, IssueSeverity severity, const char *path, const char *rule,
                    const char *format, va_list arguments)
{
    _cleanup_free_ char *message = string_format_v(format, arguments);
    issue_add(members->issues, severity, path, rule, "%s%s%s", path, *path ? ": " : "", message);
}

void member_issue(Members *members, const char *path, const char *rule, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    issue_v(members, ISSUE_ERROR, path, rule, format, arguments);
    va_end(arguments);
}

void member_warning(Members *members, const char *path, const char *rule, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    issue_v(members, ISSUE_WARNING, path, rule, format, arguments);
    va_end(arguments);
}

static const char *type_name(const json_t *value)
{
    static const char *const names[] = {
        [JSON_OBJECT] = "an object", [JSON_ARRAY] = "an array", [JSON_STRING] = "a string",
        [JSON_INTEGER] = "a number", [JSON_REAL] = "a number",  [JSON_TRUE] = "a boolean",
        [JSON_FALSE] = "a boolean",  [JSON_NULL] = "null",
    };
    return value ? names[json_typeof(value)] : "nothing";
}

const char *member_string(Members *members, const json_t *value, const char *path)
{
    if (!json_is_string(value)) {
        member_issue(members, path, "wrong_type", "must be a string, not %s", type_name(value));
        return NULL;
    }
    if (json_string_length(value) > STRING_LIMIT) {
        member_issue(members, path, "too_long", "must have at most %d bytes", STRING_LIMIT);
        return NULL;
    }
    return json_string_value(value);
}

const char *member_name(Members *members, const json_t *value, const char *path)
{
    const char *name = member_string(members, value, path);
    if (name && !name_is_valid(name)) {
        member_issue(members, path, "bad_name", "must have 1 to 255 letters, digits, '.', '-' or '_'");
        return NULL;
    }
    return name;
}

bool member_is_array(Members *members, const json_t *value, const char *path, size_t limit)
{
    if (!json_is_array(value)) {
        member_issue(members, path, "wrong_type", "must be an array, not %s", type_name(value));
        return false;
    }
    if (json_array_size(value) > limit) {
        member_issue(members, path, "too_long", "must have at most %zu items", limit);
        return false;
    }
    return true;
}

bool name_list_contains(const NameList *list, const char *name)
{
    for (size_t i = 0; i < list->count; i++)
        if (string_equal(list->items[i], name))
            return true;
    return false;
}

void member_names(Members *members, const json_t *value, const char *path, NameList *destination)
{
    if (!member_is_array(members, value, path, NAME_LIST_LIMIT))
        return;
    NameList list = {.items =
                         arena_allocate_array(members->arena, json_array_size(value) + 1, sizeof(char *))};
    size_t i;
    json_t *item;
    json_array_foreach (value, i, item) {
        const char *name = member_name(members, item, item_path(members, path, i));
        if (!name)
            continue;
        if (name_list_contains(&list, name))
            member_warning(members, item_path(members, path, i), "repeated", "'%s' is named twice", name);
        else
            list.items[list.count++] = name;
    }
    *destination = list;
}

static void member_strings(Members *members, const json_t *value, const char *path, NameList *destination)
{
    if (!member_is_array(members, value, path, NAME_LIST_LIMIT))
        return;
    NameList list = {.items =
                         arena_allocate_array(members->arena, json_array_size(value) + 1, sizeof(char *))};
    size_t i;
    json_t *item;
    json_array_foreach (value, i, item) {
        const char *text = member_string(members, item, item_path(members, path, i));
        if (text)
            list.items[list.count++] = text;
    }
    *destination = list;
}

bool member_integer(Members *members, const json_t *value, const char *path, int64_t minimum, int64_t maximum,
                    int64_t *ret_value)
{
    int64_t number = 0;
    if (json_is_integer(value))
        number = json_integer_value(value);
    else if (!json_is_string(value) ||
             string_to_i64(json_string_value(value), INT64_MIN, INT64_MAX, &number) < 0) {
        member_issue(members, path, "wrong_type", "must be a whole number, not %s", type_name(value));
        return false;
    }
    if (number < minimum || number > maximum) {
        member_issue(members, path, "out_of_range", "must be from %" PRId64 " to %" PRId64, minimum, maximum);
        return false;
    }
    *ret_value = number;
    return true;
}

bool member_duration(Members *members, const json_t *value, const char *path, int64_t *ret_milliseconds)
{
    int64_t duration = 0;
    bool is_good =
        json_is_integer(value)
            ? (duration = json_integer_value(value)) >= 0
            : json_is_string(value) && string_to_milliseconds(json_string_value(value), &duration) == 0;
    if (!is_good || duration < 0) {
        member_issue(members, path, "bad_duration",
                     "must be milliseconds, or a text such as \"90s\", \"15m\", \"12h\" or \"7d\"");
        return false;
    }
    *ret_milliseconds = duration;
    return true;
}

static void parse_member(Members *members, const json_t *value, const char *path, const Member *row,
                         void *destination)
{
    void *field = (char *)destination + row->offset;
    const char *text = NULL;
    switch (row->type) {
    case MEMBER_IGNORED:
        break;
    case MEMBER_STRING:
        text = member_string(members, value, path);
        if (text && (row->flags & MEMBER_NONEMPTY) && !*text)
            member_issue(members, path, "empty", "must not be empty");
        *(const char **)field = text;
        break;
    case MEMBER_NAME:
        *(const char **)field = member_name(members, value, path);
        break;
    case MEMBER_NAMES:
        member_names(members, value, path, field);
        break;
    case MEMBER_STRINGS:
        member_strings(members, value, path, field);
        break;
    case MEMBER_INTEGER:
        (void)member_integer(members, value, path, row->minimum, row->maximum, field);
        break;
    case MEMBER_DURATION:
        (void)member_duration(members, value, path, field);
        break;
    case MEMBER_OBJECT:
        if (json_is_object(value))
            *(const json_t **)field = value;
        else
            member_issue(members, path, "wrong_type", "must be an object, not %s", type_name(value));
        break;
    case MEMBER_CUSTOM:
        row->parse(members, value, path, field);
        break;
    }
}

static const Member *find_member(const Member *table, const char *name)
{
    for (const Member *row = table; row->name; row++)
        if (string_equal(row->name, name))
            return row;
    return NULL;
}

void members_parse(Members *members, const json_t *object, const char *path, const Member *table,
                   IssueSeverity unknown, void *destination)
{
    if (!json_is_object(object)) {
        member_issue(members, path, "wrong_type", "must be an object, not %s", type_name(object));
        return;
    }
    void *iterator = json_object_iter((json_t *)(uintptr_t)object);
    for (; iterator; iterator = json_object_iter_next((json_t *)(uintptr_t)object, iterator)) {
        const char *name = json_object_iter_key(iterator);
        const json_t *value = json_object_iter_value(iterator);
        const Member *row = find_member(table, name);
        const char *child = member_path(members, path, name);
        if (!row && unknown == ISSUE_ERROR)
            member_issue(members, child, "unknown_member", "is not a member that is known here");
        else if (!row)
            member_warning(members, child, "unknown_member",
                           "is not a member that is known here; it is ignored");
        else if (json_is_null(value) && !(row->flags & MEMBER_REQUIRED))
            continue;
        else
            parse_member(members, value, child, row, destination);
    }
    for (const Member *row = table; row->name; row++)
        if ((row->flags & MEMBER_REQUIRED) && !json_object_get(object, row->name))
            member_issue(members, member_path(members, path, row->name), "missing", "is required");
}
