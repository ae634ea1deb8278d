/* SPDX-License-Identifier: Apache-2.0 */
#include "api/list.h"

#include <stdlib.h>

#include "base/string.h"

static const char *const paging[] = {"_size", "_offset", "_get_all_results", "_get_data"};

static bool is_parameter(const ApiRoute *route, const char *name)
{
    for (size_t i = 0; i < ELEMENTSOF(paging); i++)
        if (string_equal(paging[i], name))
            return true;
    for (const RouteQuery *query = route->query; query && query->name; query++)
        if (string_equal(query->name, name))
            return true;
    return false;
}

static const ListColumn *find_column(const ApiRoute *route, const char *name, size_t length)
{
    for (const ListColumn *column = route->columns; column->name; column++)
        if (strlen(column->name) == length && memcmp(column->name, name, length) == 0)
            return column;
    return NULL;
}

static int unknown_column(const char *parameter, const char *name, size_t length, Error *error)
{
    return error_set_field(error, ERROR_BAD_REQUEST, parameter, "This list has no column '%.*s'.",
                           (int)MIN(length, (size_t)64), name);
}

/* "+name", "-name", "name": the name without its sign. */
static const char *sort_column(const char *text)
{
    return text + (*text == '+' || *text == '-' || *text == ' '); /* '+' of a query is a space */
}

static int check_value(const ApiRoute *route, const char *name, const char *value, Error *error)
{
    if (string_equal(name, "_search"))
        return 0;
    if (string_equal(name, "_sort")) {
        const char *column = sort_column(value);
        return find_column(route, column, strlen(column))
                   ? 0
                   : unknown_column(name, column, strlen(column), error);
    }
    if (string_equal(name, "_include")) {
        for (const char *c = value; *c; c += strcspn(c, ","), c += *c == ',') {
            size_t length = strcspn(c, ",");
            if (!find_column(route, c, length))
                return unknown_column(name, c, length, error);
        }
        return 0;
    }
    return find_column(route, name, strlen(name)) ? 0 : unknown_column(name, name, strlen(name), error);
}

int list_prepare(ApiCall *call, Error *error)
{
    const ApiRoute *route = call->route;
    const char *name, *value;
    call->is_shaped = false;
    for (unsigned i = 0; route->columns && http_exchange_query_at(call->exchange, i, &name, &value); i++) {
        if (is_parameter(route, name))
            continue;
        int r = check_value(route, name, value, error);
        if (r < 0)
            return r;
        call->is_shaped = true;
    }
    return 0;
}

/* Rows
 * --------------------------------------------------------------------------------------------------------------------
 */

static bool value_equals(const json_t *value, const char *text)
{
    if (json_is_string(value))
        return string_equal(json_string_value(value), text);
    if (json_is_boolean(value)) {
        bool wanted;
        return string_to_bool(text, &wanted) >= 0 && wanted == json_is_true(value);
    }
    int64_t number;
    if (json_is_integer(value))
        return string_to_i64(text, INT64_MIN, INT64_MAX, &number) >= 0 && number == json_integer_value(value);
    return json_is_null(value) && !*text;
}

/* The same column again: one of the values; different columns: all of them. */
static bool passes_filters(ApiCall *call, const json_t *row)
{
    for (const ListColumn *column = call->route->columns; column->name; column++) {
        const char *text = http_exchange_query(call->exchange, column->name, 0);
        if (!text || is_parameter(call->route, column->name))
            continue;
        bool is_equal = false;
        for (unsigned i = 0; text && !is_equal; text = http_exchange_query(call->exchange, column->name, ++i))
            is_equal = value_equals(json_object_get(row, column->name), text);
        if (!is_equal)
            return false;
    }
    return true;
}

static bool passes_search(ApiCall *call, const json_t *row)
{
    const char *wanted = http_exchange_query(call->exchange, "_search", 0);
    if (!wanted)
        return true;
    for (const ListColumn *column = call->route->columns; column->name; column++) {
        const char *text = json_string_value(json_object_get(row, column->name));
        if (column->is_searched && text && strcasestr(text, wanted))
            return true;
    }
    return false;
}

static int compare_values(const json_t *a, const json_t *b)
{
    if (json_is_string(a) && json_is_string(b))
        return strcmp(json_string_value(a), json_string_value(b));
    json_int_t x = json_is_true(a) ? 1 : json_integer_value(a),
               y = json_is_true(b) ? 1 : json_integer_value(b);
    if (json_is_string(a) != json_is_string(b)) /* nothing comes before something */
        return json_is_string(a) ? 1 : -1;
    return (x > y) - (x < y);
}

typedef struct SortRow {
    json_t *row;
    size_t position; /* of the list as it came: ties keep it */
} SortRow;

static int compare_rows(const void *left, const void *right, void *context)
{
    ApiCall *call = context;
    const SortRow *a = left, *b = right;
    const char *text;
    for (unsigned i = 0; (text = http_exchange_query(call->exchange, "_sort", i)); i++) {
        const char *column = sort_column(text);
        int order = compare_values(json_object_get(a->row, column), json_object_get(b->row, column));
        if (order != 0)
            return *text == '-' ? -order : order;
    }
    return (a->position > b->position) - (a->position < b->position);
}

/* Only the members that _include names. */
static json_t *project(ApiCall *call, json_t *row)
{
    const char *names = http_exchange_query(call->exchange, "_include", 0);
    if (!names)
        return json_incref(row);
    json_t *projected = json_object();
    for (const char *c = names; *c; c += strcspn(c, ","), c += *c == ',') {
        size_t length = strcspn(c, ",");
        const ListColumn *column = find_column(call->route, c, length);
        json_t *value = column ? json_object_get(row, column->name) : NULL;
        if (value)
            (void)json_object_set(projected, column->name, value);
    }
    return projected;
}

static int write_shaped(ApiCall *call, const SortRow *rows, size_t count, Error *error)
{
    Page page;
    call->is_shaped = false; /* now the page that was asked for */
    int r = page_read(call, &page, error);
    if (r < 0)
        return r;
    buffer_clear(&call->answer);
    Writer writer = list_begin(call);
    for (size_t i = (size_t)page.offset; i < count && i < (size_t)(page.offset + page.size); i++) {
        _cleanup_json_ json_t *row = project(call, rows[i].row);
        writer_json(&writer, NULL, row);
    }
    list_end(call, &writer, &page, (int64_t)count);
    return writer.status;
}

int list_shape(ApiCall *call, Error *error)
{
    _cleanup_json_ json_t *document = NULL;
    int r =
        json_parse((const char *)call->answer.data, call->answer.size, call->answer.size, &document, error);
    if (r < 0)
        return r;
    const json_t *items = json_object_get(document, "items");
    const json_t *pagination = json_object_get(json_object_get(document, "metadata"), "pagination");
    if (json_integer_value(json_object_get(pagination, "total")) > LIST_SHAPED_MAX)
        return error_set(error, ERROR_TOO_LARGE,
                         "A list of more than %d rows is not filtered, searched or sorted; read it in pages.",
                         LIST_SHAPED_MAX);
    SortRow *rows = arena_allocate_array(call->arena, json_array_size(items) + 1, sizeof(*rows));
    size_t count = 0, index;
    json_t *row;
    json_array_foreach (items, index, row)
        if (passes_filters(call, row) && passes_search(call, row))
            rows[count++] = (SortRow){row, index};
    if (http_exchange_query(call->exchange, "_sort", 0))
        qsort_r(rows, count, sizeof(*rows), compare_rows, call);
    return write_shaped(call, rows, count, error);
}
