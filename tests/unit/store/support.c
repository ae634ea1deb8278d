/* SPDX-License-Identifier: Apache-2.0 */

#include "support.h"

#include <libpq-fe.h>
#include <stdio.h>
#include <unistd.h>

#include "base/file.h"

const char *test_dialect = "sqlite";
static char *folder, *location;

void test_postgresql(const char *sql)
{
    const char *conninfo = getenv("BASTIDE_TEST_POSTGRESQL");
    assert_non_null(conninfo);
    PGconn *connection = PQconnectdb(conninfo);
    assert_int_equal(PQstatus(connection), CONNECTION_OK);
    PGresult *result = PQexec(connection, sql);
    if (PQresultStatus(result) != PGRES_COMMAND_OK && PQresultStatus(result) != PGRES_TUPLES_OK)
        fail_msg("%s: %s", sql, PQerrorMessage(connection));
    PQclear(result);
    PQfinish(connection);
}

void test_database_done(void)
{
    if (folder)
        assert_int_equal(directory_remove(folder), 0);
    free(folder);
    free(location);
    folder = location = NULL;
}

void test_database_new(void)
{
    test_database_done();
    char path[] = "/tmp/bastide-store-XXXXXX";
    assert_non_null(mkdtemp(path));
    folder = string_duplicate(path);
    if (string_equal(test_dialect, "postgresql")) {
        test_postgresql(
            "SET client_min_messages = warning; DROP SCHEMA public CASCADE; CREATE SCHEMA public");
        location = string_format("postgresql:%s", getenv("BASTIDE_TEST_POSTGRESQL"));
    } else {
        location = string_format("sqlite:%s/test.db", folder);
    }
}

const char *test_location(void)
{
    return location;
}

const char *test_folder(void)
{
    return folder;
}

Store *test_open(unsigned readers, bool is_synchronous)
{
    Error error = ERROR_INIT;
    Store *store = NULL;
    StoreSettings settings = {.location = location, .readers = readers, .is_synchronous = is_synchronous};
    int r = store_open(&settings, &store, &error);
    if (r < 0)
        fail_msg("open: %s (%s)", error.text, error.details);
    return store;
}

Store *test_open_new(unsigned readers, bool is_synchronous)
{
    Error error = ERROR_INIT;
    test_database_new();
    Store *store = test_open(readers, is_synchronous);
    int r = store_migrate(store, NULL, &error);
    if (r < 0)
        fail_msg("migrate: %s (%s)", error.text, error.details);
    return store;
}

void test_run(Store *store, StoreAccess access, StoreJob job, void *context)
{
    Error error = ERROR_INIT;
    int r = store_run(store, access, job, context, &error);
    if (r < 0)
        fail_msg("run: %s (%s)", error.text, error.details);
    assert_int_equal(error.code, ERROR_NONE);
}

void test_run_fails(Store *store, StoreAccess access, StoreJob job, void *context, ErrorCode code)
{
    Error error = ERROR_INIT;
    int r = store_run(store, access, job, context, &error);
    assert_true(r < 0);
    if (error.code != code)
        fail_msg("%s instead of %s: %s (%s)", error_describe(error.code)->symbol,
                 error_describe(code)->symbol, error.text, error.details);
    assert_true(error.text[0] != '\0');
}

static int count_job(StoreTransaction *transaction, void *context, Error *error)
{
    return statement_journal_count(transaction, context, error);
}

int64_t test_count_journal(Store *store)
{
    int64_t count = -1;
    test_run(store, STORE_READ, count_job, &count);
    return count;
}

int test_journal_job(StoreTransaction *transaction, void *context, Error *error)
{
    JournalAddRow row;
    return statement_journal_add(transaction, &(JournalAddParameters){.at = 1, .text = context}, &row, error);
}
