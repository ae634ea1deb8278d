/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* What the generated "store/statements.h" is made of: descriptions of statements and of the structures that
 * carry their parameters and rows, and the four ways to run one. Others include "store/statements.h" and call
 * the typed functions there. To be called from the job that has the transaction. */

#include "store/store.h"

/* The last two are lists, for parameters only. */
typedef enum StoreType { STORE_INTEGER, STORE_TEXT, STORE_BLOB, STORE_INTEGERS, STORE_TEXTS } StoreType;

/* data == NULL is NULL where that is allowed; where it is not, NULL with size 0 is an empty value. */
typedef struct StoreBlob {
    const uint8_t *data;
    size_t size;
} StoreBlob;

/* Lists; texts without control characters. */
typedef struct StoreIntegers {
    const int64_t *values;
    size_t count;
} StoreIntegers;
typedef struct StoreTexts {
    const char *const *values;
    size_t count;
} StoreTexts;

/* A member of a parameters or row structure: const char *, int64_t, StoreBlob or a list at `offset`. A
 * nullable integer has a bool at `presence_offset`. */
typedef struct StatementField {
    const char *name;
    StoreType type;
    bool is_nullable;
    size_t offset, presence_offset;
} StatementField;

typedef enum StatementKind {
    STATEMENT_ONE,
    STATEMENT_MANY,
    STATEMENT_EXEC,
    STATEMENT_SEND,
    STATEMENT_COUNT
} StatementKind;

typedef struct StatementDescription {
    const char *name;
    unsigned index; /* in the schema's list */
    StatementKind kind;
    bool is_write;
    bool is_watched; /* writes a table whose changes the store counts */
    const StatementField *parameters;
    size_t parameter_count;
    const StatementField *columns;
    size_t column_count;
    size_t row_size;
    const char *sqlite, *postgresql;
} StatementDescription;

typedef struct StoreMigration {
    int64_t version;
    const char *name, *digest; /* SHA-256 of the file, hex */
    const char *sqlite, *postgresql;
} StoreMigration;

typedef struct StoreSchema {
    const StoreMigration
        *migrations; /* the first one makes the table of migrations and is applied each time */
    size_t migration_count;
    const StatementDescription *statements;
    size_t statement_count;
} StoreSchema;

/* Defined by the generated source that is linked in. */
extern const StoreSchema store_schema;

/* A `many` with more rows, or a transaction with more bytes of results, fails with ERROR_TOO_LARGE. */
enum { STATEMENT_ROWS_MAXIMUM = 100 * 1000, STATEMENT_BYTES_MAXIMUM = 256 * 1024 * 1024 };

int statement_execute(StoreTransaction *transaction, const StatementDescription *statement,
                      const void *parameters, Error *error);
int statement_execute_send(StoreTransaction *transaction, const StatementDescription *statement,
                           const void *parameters, Error *error);
int statement_execute_one(StoreTransaction *transaction, const StatementDescription *statement,
                          const void *parameters, void *ret_row, Error *error);
int statement_execute_many(StoreTransaction *transaction, const StatementDescription *statement,
                           const void *parameters, void **ret_rows, size_t *ret_count, Error *error);
int statement_execute_count(StoreTransaction *transaction, const StatementDescription *statement,
                            const void *parameters, int64_t *ret_count, Error *error);
