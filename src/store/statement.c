/* SPDX-License-Identifier: Apache-2.0 */

#include "store/statement.h"

#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>

#include "store/backend.h"

enum { INTEGER_DIGITS = 20 }; /* with a sign */

/* Members are reached by offset, and copied, so that no pointer is ever cast to a stricter type. */
static void read_member(const void *structure, size_t offset, void *ret_value, size_t size)
{
    memcpy(ret_value, (const uint8_t *)structure + offset, size);
}

static void write_member(void *structure, size_t offset, const void *value, size_t size)
{
    memcpy((uint8_t *)structure + offset, value, size);
}

static const char *integers_text(const StoreConnection *connection, const StoreIntegers *list)
{
    const StoreBackend *backend = connection->store->backend;
    const size_t size = list->count * (INTEGER_DIGITS + 1) + 3;
    char *text = arena_allocate(connection->arena, size), *end = text;
    *end++ = backend->list_open;
    for (size_t i = 0; i < list->count; i++) {
        if (i > 0)
            *end++ = ',';
        end += snprintf(end, INTEGER_DIGITS + 1, "%" PRId64, list->values[i]);
    }
    *end++ = backend->list_close;
    *end = '\0';
    return text;
}

/* Quotes and backslashes are escaped alike in JSON and in array literals. */
static int texts_text(const StoreConnection *connection, const StoreTexts *list, const char **ret_text,
                      Error *error)
{
    const StoreBackend *backend = connection->store->backend;
    size_t size = 3;
    for (size_t i = 0; i < list->count; i++)
        size += strlen(list->values[i]) * 2 + 3;
    char *text = arena_allocate(connection->arena, size), *end = text;
    *end++ = backend->list_open;
    for (size_t i = 0; i < list->count; i++) {
        if (i > 0)
            *end++ = ',';
        *end++ = '"';
        for (const char *c = list->values[i]; *c; c++) {
            if ((unsigned char)*c < ' ')
                return error_set(error, ERROR_INTERNAL, "A text in a list has a control character");
            if (*c == '"' || *c == '\\')
                *end++ = '\\';
            *end++ = *c;
        }
        *end++ = '"';
    }
    *end++ = backend->list_close;
    *end = '\0';
    *ret_text = text;
    return 0;
}

int statement_get_parameter(const StoreConnection *connection, const StatementDescription *statement,
                            size_t index, const void *parameters, StatementValue *ret_value, Error *error)
{
    const StatementField *field = &statement->parameters[index];
    StatementValue value = {0};

    switch (field->type) {
    case STORE_INTEGER:
        read_member(parameters, field->offset, &value.integer, sizeof(value.integer));
        if (field->is_nullable) {
            bool is_present;
            read_member(parameters, field->presence_offset, &is_present, sizeof(is_present));
            value.is_null = !is_present;
        }
        break;
    case STORE_TEXT:
        read_member(parameters, field->offset, &value.text, sizeof(value.text));
        value.is_null = !value.text;
        break;
    case STORE_BLOB:
        read_member(parameters, field->offset, &value.blob, sizeof(value.blob));
        value.is_null = !value.blob.data;
        if (value.is_null && !field->is_nullable && value.blob.size == 0)
            value = (StatementValue){.blob.data = (const uint8_t *)""};
        break;
    case STORE_INTEGERS: {
        StoreIntegers list;
        read_member(parameters, field->offset, &list, sizeof(list));
        value.text = integers_text(connection, &list);
        break;
    }
    case STORE_TEXTS: {
        StoreTexts list;
        read_member(parameters, field->offset, &list, sizeof(list));
        int r = texts_text(connection, &list, &value.text, error);
        if (r < 0)
            return r;
        break;
    }
    }
    if (value.is_null && !field->is_nullable) {
        int r = error_set(error, ERROR_INTERNAL, "A value is missing");
        error_add_details(error, "parameter %s of statement %s is NULL", field->name, statement->name);
        return r;
    }
    *ret_value = value;
    return 0;
}

int statement_rows_add(StatementRows *rows, void **ret_row, Error *error)
{
    if (rows->count >= rows->limit) {
        if (rows->limit == STATEMENT_ROWS_MAXIMUM)
            return error_set(error, ERROR_TOO_LARGE, "The answer has more than %d rows; narrow the question",
                             STATEMENT_ROWS_MAXIMUM);
        int r = error_set(error, ERROR_INTERNAL, "An answer has more rows than expected");
        error_add_details(error, "statement %s returned a second row", rows->statement->name);
        return r;
    }
    if (rows->count == rows->capacity) {
        size_t capacity = rows->capacity ? rows->capacity * 2 : 16;
        uint8_t *data = arena_allocate_array(rows->arena, capacity, rows->row_size);
        if (rows->count > 0)
            memcpy(data, rows->data, rows->count * rows->row_size);
        rows->data = data;
        rows->capacity = capacity;
    }
    void *row = rows->data + rows->count * rows->row_size;
    memset(row, 0, rows->row_size);
    rows->count++;
    *ret_row = row;
    return 0;
}

int statement_rows_copy(const StatementRows *rows, const void *data, size_t size, void **ret_copy,
                        Error *error)
{
    if (size >= STATEMENT_BYTES_MAXIMUM || arena_used(rows->arena) + size > STATEMENT_BYTES_MAXIMUM)
        return error_set(error, ERROR_TOO_LARGE, "The answer is larger than %d MiB; narrow the question",
                         STATEMENT_BYTES_MAXIMUM / (1024 * 1024));
    uint8_t *copy = arena_allocate(rows->arena, size + 1);
    if (size > 0 && data)
        memcpy(copy, data, size);
    copy[size] = 0;
    *ret_copy = copy;
    return 0;
}

int statement_set_column(const StatementRows *rows, size_t index, void *row, const StatementValue *value,
                         Error *error)
{
    const StatementField *field = &rows->columns[index];
    if (value->is_null) {
        if (field->is_nullable)
            return 0; /* the row is zeroed */
        int r = error_set(error, ERROR_INTERNAL, "A stored value is missing");
        error_add_details(error, "column %s of statement %s is NULL", field->name, rows->statement->name);
        return r;
    }
    switch (field->type) {
    case STORE_INTEGER:
        write_member(row, field->offset, &value->integer, sizeof(value->integer));
        if (field->is_nullable)
            write_member(row, field->presence_offset, &(bool){true}, sizeof(bool));
        break;
    case STORE_TEXT:
        write_member(row, field->offset, &value->text, sizeof(value->text));
        break;
    case STORE_BLOB:
        write_member(row, field->offset, &value->blob, sizeof(value->blob));
        break;
    case STORE_INTEGERS:
    case STORE_TEXTS:
        return error_set(error, ERROR_INTERNAL, "A column is no list");
    }
    return 0;
}

static int execute(StoreTransaction *transaction, const StatementDescription *statement,
                   const void *parameters, StatementRows *rows, int64_t *ret_affected, Error *error)
{
    const StoreBackend *backend = transaction->store->backend;
    Error own = ERROR_INIT; /* the caller's may be set already, or NULL */
    if (!error)
        error = &own;
    if (transaction->has_failed)
        return error_set(error, ERROR_INTERNAL, "A statement failed earlier in this transaction");
    if (statement->is_write && transaction->access == STORE_READ) {
        int r = error_set(error, ERROR_INTERNAL, "A job that only reads tried to write");
        error_add_details(error, "statement %s", statement->name);
        transaction->has_failed = true;
        return r;
    }
    if (arena_used(transaction->connection->arena) > STATEMENT_BYTES_MAXIMUM) {
        transaction->has_failed = true;
        return error_set(error, ERROR_TOO_LARGE, "The work needs more than %d MiB of results",
                         STATEMENT_BYTES_MAXIMUM / (1024 * 1024));
    }
    if (statement->is_watched)
        transaction->has_watched_change = transaction->connection->has_watched_change = true;
    int r = backend->execute(transaction->connection, statement, parameters, rows, ret_affected, error);
    if (r < 0)
        transaction->has_failed = true;
    return r;
}

int statement_execute(StoreTransaction *transaction, const StatementDescription *statement,
                      const void *parameters, Error *error)
{
    int64_t affected = 0;
    int r = execute(transaction, statement, parameters, NULL, &affected, error);
    if (r < 0)
        return r;
    return (int)MIN(affected, (int64_t)INT_MAX);
}

int statement_execute_send(StoreTransaction *transaction, const StatementDescription *statement,
                           const void *parameters, Error *error)
{
    int64_t affected;
    return execute(transaction, statement, parameters, NULL, &affected, error);
}

int statement_execute_one(StoreTransaction *transaction, const StatementDescription *statement,
                          const void *parameters, void *ret_row, Error *error)
{
    StatementRows rows = {
        .statement = statement,
        .columns = statement->columns,
        .column_count = statement->column_count,
        .row_size = statement->row_size,
        .arena = transaction->connection->arena,
        .data = ret_row,
        .capacity = 1,
        .limit = 1,
    };
    int64_t affected;
    int r = execute(transaction, statement, parameters, &rows, &affected, error);
    if (r < 0)
        return r;
    return rows.count > 0;
}

int statement_execute_many(StoreTransaction *transaction, const StatementDescription *statement,
                           const void *parameters, void **ret_rows, size_t *ret_count, Error *error)
{
    StatementRows rows = {
        .statement = statement,
        .columns = statement->columns,
        .column_count = statement->column_count,
        .row_size = statement->row_size,
        .arena = transaction->connection->arena,
        .limit = STATEMENT_ROWS_MAXIMUM,
    };
    int64_t affected;
    *ret_rows = NULL;
    *ret_count = 0;
    int r = execute(transaction, statement, parameters, &rows, &affected, error);
    if (r < 0)
        return r;
    *ret_rows = rows.data;
    *ret_count = rows.count;
    return 0;
}

int statement_execute_count(StoreTransaction *transaction, const StatementDescription *statement,
                            const void *parameters, int64_t *ret_count, Error *error)
{
    static const StatementField column = {.name = "count", .type = STORE_INTEGER};
    int64_t count = 0, affected;
    StatementRows rows = {
        .statement = statement,
        .columns = &column,
        .column_count = 1,
        .row_size = sizeof(count),
        .arena = transaction->connection->arena,
        .data = (uint8_t *)&count,
        .capacity = 1,
        .limit = 1,
    };
    int r = execute(transaction, statement, parameters, &rows, &affected, error);
    if (r < 0)
        return r;
    if (rows.count == 0) {
        transaction->has_failed = true;
        r = error_set(error, ERROR_INTERNAL, "A count is missing");
        error_add_details(error, "statement %s returned no row", statement->name);
        return r;
    }
    *ret_count = count;
    return 0;
}
