/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/view.h"

#include <inttypes.h>

#include "base/string.h"
#include "base/yaml.h"
#include "cli/text.h"

enum { FIELDS_MAX = 24, SHORT_LENGTH = 12 };

OutputFormat output_format_from_string(const char *text)
{
    static const char *const names[_OUTPUT_MAX] = {"table", "json", "yaml"};
    for (OutputFormat format = 0; format < _OUTPUT_MAX; format++)
        if (string_equal(text, names[format]))
            return format;
    return _OUTPUT_INVALID;
}

json_t *json_at(const json_t *object, const char *path)
{
    json_t *value = NULL;
    while (object && path) {
        size_t length = strcspn(path, ".");
        value = json_object_getn(object, path, length);
        path = path[length] ? path + length + 1 : NULL;
        object = value;
    }
    return value;
}

const char *json_text_at(const json_t *object, const char *path)
{
    const char *text = json_string_value(json_at(object, path));
    return text ? text : "";
}

int64_t json_number_at(const json_t *object, const char *path)
{
    return json_integer_value(json_at(object, path));
}

Style state_style(const char *state)
{
    static const struct {
        const char *state;
        Style style;
    } rows[] = {
        {"active", STYLE_GOOD},       {"ready", STYLE_GOOD},
        {"succeeded", STYLE_GOOD},    {"approved", STYLE_GOOD},
        {"OK", STYLE_GOOD},           {"Active", STYLE_GOOD},
        {"done", STYLE_GOOD},         {"created", STYLE_GOOD},
        {"pending", STYLE_BUSY},      {"creating", STYLE_BUSY},
        {"configuring", STYLE_BUSY},  {"deleting", STYLE_BUSY},
        {"started", STYLE_BUSY},      {"leased", STYLE_BUSY},
        {"running", STYLE_BUSY},      {"cancelling", STYLE_WARNING},
        {"failing", STYLE_WARNING},   {"draining", STYLE_WARNING},
        {"uploaded", STYLE_WARNING},  {"enrolled", STYLE_WARNING},
        {"cancelled", STYLE_WARNING}, {"failed", STYLE_BAD},
        {"incomplete", STYLE_BAD},    {"inconsistent", STYLE_BAD},
        {"lost", STYLE_BAD},          {"needs_decision", STYLE_BAD},
        {"revoked", STYLE_BAD},       {"Fail", STYLE_BAD},
        {"Inactive", STYLE_BAD},      {"denied", STYLE_BAD},
        {"error", STYLE_BAD},         {"warning", STYLE_WARNING},
        {"terminated", STYLE_FAINT},  {"deleted", STYLE_FAINT},
        {"planned", STYLE_FAINT},     {"waiting", STYLE_FAINT},
    };
    for (size_t i = 0; i < ELEMENTSOF(rows); i++)
        if (string_equal(rows[i].state, state))
            return rows[i].style;
    return STYLE_PLAIN;
}

/* Times, sizes ------------------------------------------------------------------------------ */

char *time_relative(const char *timestamp, Usec now)
{
    static const struct {
        int64_t seconds, unit;
        const char *name;
    } rows[] = {{120, 1, "s"}, {120 * 60, 60, "min"}, {48 * 3600, 3600, "h"}, {INT64_MAX, 86400, "d"}};
    Usec time;
    if (string_is_empty(timestamp) || timestamp_parse(timestamp, &time) < 0)
        return string_duplicate("");
    bool is_past = time <= now;
    int64_t seconds = (int64_t)((is_past ? now - time : time - now) / USEC_PER_SEC);
    if (seconds < 2)
        return string_duplicate("now");
    size_t i = 0;
    while (seconds >= rows[i].seconds)
        i++;
    int64_t count = (seconds + rows[i].unit / 2) / rows[i].unit;
    return is_past ? string_format("%" PRId64 " %s ago", count, rows[i].name)
                   : string_format("in %" PRId64 " %s", count, rows[i].name);
}

void duration_format(Usec duration, char destination[static 24])
{
    uint64_t seconds = MIN(duration / USEC_PER_SEC, (Usec)(9999 * 3600));
    if (seconds >= 3600)
        (void)string_print(destination, 24, "%" PRIu64 ":%02" PRIu64 ":%02" PRIu64, seconds / 3600,
                           seconds / 60 % 60, seconds % 60);
    else
        (void)string_print(destination, 24, "%" PRIu64 ":%02" PRIu64, seconds / 60, seconds % 60);
}

char *duration_precise(Usec duration)
{
    char text[24];
    uint64_t centiseconds = MIN(duration, (Usec)60 * USEC_PER_SEC) / (10 * USEC_PER_MSEC);
    if (centiseconds < 1000)
        return string_format("%" PRIu64 ".%02" PRIu64 " s", centiseconds / 100, centiseconds % 100);
    if (centiseconds < 6000)
        return string_format("%" PRIu64 ".%" PRIu64 " s", centiseconds / 100, centiseconds / 10 % 10);
    duration_format(duration, text);
    return string_duplicate(text);
}

char *bytes_format(int64_t bytes)
{
    static const char *const units[] = {"B", "KiB", "MiB", "GiB", "TiB"};
    size_t unit = 0;
    int64_t whole = MAX(bytes, 0), rest = 0;
    while (whole >= 1024 && unit + 1 < ELEMENTSOF(units)) {
        rest = whole % 1024;
        whole /= 1024;
        unit++;
    }
    return unit == 0 || whole >= 100
               ? string_format("%" PRId64 " %s", whole, units[unit])
               : string_format("%" PRId64 ".%" PRId64 " %s", whole, rest * 10 / 1024, units[unit]);
}

/* "2026-11-22 10:00:00 UTC" */
static char *time_absolute(const char *timestamp)
{
    Usec time;
    char text[TIMESTAMP_SIZE];
    if (string_is_empty(timestamp) || timestamp_parse(timestamp, &time) < 0)
        return string_duplicate("");
    timestamp_format(time, text);
    return string_format("%.10s %.8s UTC", text, text + 11);
}

/* Fields ------------------------------------------------------------------------------------ */

static char *list_text(const json_t *list)
{
    _cleanup_buffer_ Buffer buffer = BUFFER_INIT;
    size_t index;
    json_t *item;
    json_array_foreach (list, index, item) {
        _cleanup_free_ char *text =
            json_is_string(item) ? string_duplicate(json_string_value(item)) : json_to_text(item);
        (void)buffer_append_format(&buffer, "%s%s", index ? ", " : "", text);
    }
    return buffer_take_string(&buffer);
}

static char *map_text(const json_t *map, bool with_values)
{
    _cleanup_buffer_ Buffer buffer = BUFFER_INIT;
    const char *name;
    json_t *value;
    json_object_foreach ((json_t *)(uintptr_t)map, name, value) {
        _cleanup_free_ char *text =
            json_is_string(value) ? string_duplicate(json_string_value(value)) : json_to_text(value);
        (void)buffer_append_format(&buffer, "%s%s", buffer.size ? ", " : "", name);
        if (with_values)
            (void)buffer_append_format(&buffer, ": %s", text);
    }
    return buffer_take_string(&buffer);
}

static char *time_text(const char *timestamp, bool is_list, Usec now)
{
    char *relative = time_relative(timestamp, now);
    if (is_list || !*relative)
        return relative;
    _cleanup_free_ char *absolute = time_absolute(timestamp);
    char *both = string_format("%s (%s)", absolute, relative);
    free(relative);
    return both;
}

static char *plain_text(const json_t *value)
{
    if (!value || json_is_null(value))
        return string_duplicate("");
    return json_is_string(value) ? string_duplicate(json_string_value(value)) : json_to_text(value);
}

static char *raw_text(const json_t *object, const ViewField *field, bool is_list, Usec now)
{
    const json_t *value = json_at(object, field->member);
    switch (field->kind) {
    case FIELD_TIME:
        return time_text(json_string_value(value), is_list, now);
    case FIELD_LIST:
        return list_text(value);
    case FIELD_MAP:
        return map_text(value, true);
    case FIELD_NAMES:
        return map_text(value, false);
    case FIELD_BYTES:
        return json_is_integer(value) ? bytes_format(json_integer_value(value)) : plain_text(value);
    case FIELD_FLAG:
        return string_duplicate(json_is_true(value) ? "yes" : json_is_false(value) ? "no" : "");
    case FIELD_SHORT:
        return is_list && json_is_string(value)
                   ? string_duplicate_n(json_string_value(value),
                                        MIN(json_string_length(value), SHORT_LENGTH))
                   : plain_text(value);
    case FIELD_TEXT:
    case FIELD_STRONG:
    case FIELD_STATE:
    case FIELD_NUMBER:
        break;
    }
    return plain_text(value);
}

char *field_text(const json_t *object, const ViewField *field, bool is_list, Usec now)
{
    _cleanup_free_ char *raw = raw_text(object, field, is_list, now);
    return text_safe(raw);
}

static Style field_style(const ViewField *field, const char *text)
{
    if (field->kind == FIELD_STRONG)
        return STYLE_STRONG;
    return field->kind == FIELD_STATE ? state_style(text) : STYLE_PLAIN;
}

/* Printing ---------------------------------------------------------------------------------- */

void view_print_json(const json_t *value, OutputFormat format)
{
    _cleanup_free_ char *text = NULL;
    _cleanup_buffer_ Buffer safe = BUFFER_INIT_LIMIT(512 * 1024 * 1024);
    if (format == OUTPUT_YAML)
        text = yaml_from_json(value);
    else
        text = json_dumps(value, JSON_INDENT(2) | JSON_ENCODE_ANY);
    if (!text)
        return;
    text_append_structured(&safe, text, strlen(text));
    (void)fputs(buffer_string(&safe), stdout);
    if (safe.size == 0 || safe.data[safe.size - 1] != '\n')
        (void)fputc('\n', stdout);
}

void view_list(const json_t *items, const ViewField *fields, const char *nothing)
{
    Column columns[FIELDS_MAX];
    const ViewField *shown[FIELDS_MAX];
    size_t count = 0, index;
    json_t *item;
    Usec now = clock_realtime(&system_clock);
    if (json_array_size(items) == 0) {
        (void)printf("%s\n", nothing);
        return;
    }
    for (const ViewField *field = fields; field->title; field++) {
        if (!(field->flags & IN_LIST))
            continue;
        ASSERT(count < FIELDS_MAX);
        bool is_right = field->kind == FIELD_NUMBER || field->kind == FIELD_BYTES;
        shown[count] = field;
        columns[count++] = (Column){.title = field->title,
                                    .flags = (is_right ? COLUMN_RIGHT : 0) |
                                             (field->flags & MAY_LACK ? COLUMN_OPTIONAL : 0) |
                                             (field->flags & MAY_SHRINK ? COLUMN_FLEXIBLE : 0)};
    }
    _cleanup_table_ Table *table = table_new(columns, count);
    json_array_foreach (items, index, item)
        for (size_t i = 0; i < count; i++) {
            _cleanup_free_ char *text = raw_text(item, shown[i], true, now);
            table_cell(table, text, field_style(shown[i], text));
        }
    table_print(table);
}

static bool is_shown(const ViewField *field, const char *text)
{
    return (field->flags & IN_DETAILS) && (*text || !(field->flags & MAY_LACK));
}

/* The parts of lists and maps, which have a line each in details; owned. */
static json_t *parts_of(const json_t *object, const ViewField *field)
{
    const json_t *value = json_at(object, field->member);
    json_t *parts = json_array(), *item;
    const char *name;
    size_t index;
    if (field->kind == FIELD_LIST && field->flags & HAS_LINES)
        json_array_foreach (value, index, item) {
            _cleanup_free_ char *text = plain_text(item);
            (void)json_array_append_new(parts, json_string(text));
        }
    if (field->kind == FIELD_MAP)
        json_object_foreach ((json_t *)(uintptr_t)value, name, item) {
            _cleanup_free_ char *plain = plain_text(item), *text = string_format("%s: %s", name, plain);
            (void)json_array_append_new(parts, json_string(text));
        }
    return parts;
}

static void print_label(const char *title, size_t width)
{
    (void)printf("%s%-*s%s  ", style_begin(stdout, STYLE_FAINT), (int)width, title, style_end(stdout));
}

static void print_parts(const json_t *parts, const char *title, size_t width)
{
    size_t index;
    json_t *part;
    json_array_foreach (parts, index, part) {
        _cleanup_free_ char *text = text_safe(json_string_value(part));
        print_label(index ? "" : title, width);
        (void)printf("%s\n", text);
    }
}

void view_details(const json_t *object, const ViewField *fields)
{
    size_t width = 0;
    Usec now = clock_realtime(&system_clock);
    for (const ViewField *field = fields; field->title; field++)
        if (field->flags & IN_DETAILS)
            width = MAX(width, strlen(field->title));
    for (const ViewField *field = fields; field->title; field++) {
        _cleanup_free_ char *text = field_text(object, field, false, now);
        _cleanup_json_ json_t *parts = parts_of(object, field);
        if (!is_shown(field, text))
            continue;
        if (json_array_size(parts) > 1) {
            print_parts(parts, field->title, width);
            continue;
        }
        print_label(field->title, width);
        (void)printf("%s%s%s\n", style_begin(stdout, field_style(field, text)), *text ? text : "-",
                     style_end(stdout));
    }
}

void view_heading(const char *title)
{
    (void)printf("\n%s%s%s\n", style_begin(stdout, STYLE_STRONG), title, style_end(stdout));
}
