/* SPDX-License-Identifier: Apache-2.0 */

/* Migrations go forward only. Each one runs in a job of its own, which looks again, under the database's
 * lock, which is the next: several managers may start at once. The digest of each file is kept, so that a
 * database made by a different history is noticed. */

#include <errno.h>

#include "store/backend.h"
#include "store/migrations.h"

/* What the database says must be a beginning of what the binary has. */
static int compare(const StoreSchema *schema, const SchemaMigrationListRow *rows, size_t count, Error *error)
{
    for (size_t i = 0; i < count; i++) {
        if (i + 1 >= schema->migration_count)
            return error_set(
                error, ERROR_CONFIGURATION,
                "The database was made by a newer version (it has migration %04lld %s); use that version, "
                "or the backup made before",
                (long long)rows[i].version, rows[i].name);
        const StoreMigration *migration = &schema->migrations[i + 1];
        if (rows[i].version != migration->version || !string_equal(rows[i].digest, migration->digest))
            return error_set(error, ERROR_CONFIGURATION,
                             "Migration %04lld %s of the database is not the one of this version",
                             (long long)rows[i].version, rows[i].name);
    }
    return 0;
}

/* Returns 1 when it applied a migration, 0 when there is none left. */
static int migrate_one(StoreTransaction *transaction, _unused_ void *context, Error *error)
{
    const StoreSchema *schema = transaction->store->schema;
    const StoreBackend *backend = transaction->store->backend;
    const bool is_sqlite = backend == &sqlite_backend;
    const StoreMigration *first = &schema->migrations[0];

    int r = backend->lock_schema(transaction->connection, error);
    if (r >= 0)
        r = backend->run_script(transaction->connection, is_sqlite ? first->sqlite : first->postgresql,
                                error);
    if (r < 0)
        return r;
    SchemaMigrationListRow *rows = NULL;
    size_t count = 0;
    r = statement_schema_migration_list(transaction, &rows, &count, error);
    if (r >= 0)
        r = compare(schema, rows, count, error);
    if (r < 0 || count + 1 >= schema->migration_count)
        return r;

    const StoreMigration *next = &schema->migrations[count + 1];
    r = backend->run_script(transaction->connection, is_sqlite ? next->sqlite : next->postgresql, error);
    if (r < 0) {
        error_prefix(error, "Migration %04lld %s", (long long)next->version, next->name);
        return r;
    }
    r = statement_schema_migration_add(transaction,
                                       &(SchemaMigrationAddParameters){
                                           .version = next->version,
                                           .name = next->name,
                                           .digest = next->digest,
                                           .applied = (int64_t)store_now(transaction),
                                       },
                                       error);
    return r < 0 ? r : 1;
}

int store_migrate(Store *store, unsigned *ret_applied, Error *error)
{
    unsigned applied = 0;
    for (;;) {
        int r = store_run(store, STORE_WRITE, migrate_one, NULL, error);
        if (r < 0)
            return r;
        if (r == 0)
            break;
        applied++;
    }
    if (ret_applied)
        *ret_applied = applied;
    return 0;
}

static int check_job(StoreTransaction *transaction, _unused_ void *context, Error *error)
{
    const StoreSchema *schema = transaction->store->schema;
    SchemaMigrationListRow *rows = NULL;
    size_t count = 0;
    int r = statement_schema_migration_list(transaction, &rows, &count, error);
    if (r < 0) {
        if (error->code != ERROR_INTERNAL)
            return r;
        error_clear(error);
        return error_set(error, ERROR_CONFIGURATION, "The database has no tables yet; it has to be migrated");
    }
    r = compare(schema, rows, count, error);
    if (r < 0)
        return r;
    if (count + 1 < schema->migration_count)
        return error_set(error, ERROR_CONFIGURATION,
                         "The database is of an older version; it has to be migrated");
    return 0;
}

int store_check_schema(Store *store, Error *error)
{
    return store_run(store, STORE_READ, check_job, NULL, error);
}

static int check_statements_job(StoreTransaction *transaction, _unused_ void *context, Error *error)
{
    const StoreSchema *schema = transaction->store->schema;
    int r = 0;
    for (size_t i = 0; r >= 0 && i < schema->statement_count; i++)
        r = transaction->store->backend->check_statement(transaction->connection, &schema->statements[i],
                                                         error);
    return r;
}

int store_check_statements(Store *store, Error *error)
{
    return store_run(store, STORE_READ, check_statements_job, NULL, error);
}
