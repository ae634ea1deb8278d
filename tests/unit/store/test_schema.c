/* SPDX-License-Identifier: Apache-2.0 */

/* The product's own schema and statements, on both databases: the migrations apply, every statement prepares,
 * and its types are those of its description. test_schema sqlite | postgresql */

/* cmocka.h needs the others before it. */
/* clang-format off */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
/* clang-format on */

#include <stdlib.h>
#include <unistd.h>

#include "base/file.h"
#include "store/backend.h"
#include "store/statements.h"

static const char *dialect;

static int many_job(StoreTransaction *t, _unused_ void *context, Error *e)
{
    SchemaMigrationListRow *rows = NULL;
    size_t count = 0;
    int r = statement_schema_migration_list(t, &rows, &count, e);
    assert_int_equal(count + 1, store_schema.migration_count);
    return r;
}

static void test_schema(_unused_ void **state)
{
    char folder[] = "/tmp/bastide-schema-XXXXXX";
    assert_non_null(mkdtemp(folder));
    const bool is_sqlite = string_equal(dialect, "sqlite");
    _cleanup_free_ char *location = is_sqlite
                                        ? string_format("sqlite:%s/test.db", folder)
                                        : string_format("postgresql:%s", getenv("BASTIDE_TEST_POSTGRESQL"));
    StoreSettings settings = {.location = location, .is_synchronous = true};
    Store *store = NULL;
    Error error = ERROR_INIT;
    unsigned applied = 0;
    if (store_open(&settings, &store, &error) < 0 || store_migrate(store, &applied, &error) < 0 ||
        store_check_schema(store, &error) < 0 || store_check_statements(store, &error) < 0 ||
        store_run(store, STORE_READ, many_job, NULL, &error) < 0)
        fail_msg("%s (%s)", error.text, error.details);
    assert_int_equal(applied + 1, store_schema.migration_count);
    assert_true(store_schema.statement_count > 2);
    store_close(store);
    assert_int_equal(directory_remove(folder), 0);
}

int main(int count, char **arguments)
{
    static const struct CMUnitTest tests[] = {cmocka_unit_test(test_schema)};
    if (count != 2)
        return 64;
    dialect = arguments[1];
    return cmocka_run_group_tests_name(dialect, tests, NULL, NULL);
}
