/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* For the tests of the store: an empty database of either kind, and jobs as small values. */

/* cmocka.h needs the others before it. */
/* clang-format off */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
/* clang-format on */

#include "store/backend.h"
#include "test_statements.h"

/* "sqlite" or "postgresql"; the latter needs BASTIDE_TEST_POSTGRESQL (tests/lib/with-postgresql). */
extern const char *test_dialect;
/* Empties the database; the location stays the same until the next call. */
void test_database_new(void);
void test_database_done(void);
const char *test_location(void);
const char *test_folder(void);
/* Opens it; fails the test when that fails. */
Store *test_open(unsigned readers, bool is_synchronous);
/* Empties, opens and migrates. */
Store *test_open_new(unsigned readers, bool is_synchronous);

/* Runs and asserts success. */
void test_run(Store *store, StoreAccess access, StoreJob job, void *context);
/* Runs and asserts that it fails with this code. */
void test_run_fails(Store *store, StoreAccess access, StoreJob job, void *context, ErrorCode code);

int64_t test_count_journal(Store *store);
/* A job that adds one row with context (a const char *) as text to the journal. */
int test_journal_job(StoreTransaction *transaction, void *context, Error *error);

/* Runs SQL beside the store, on a connection of its own. PostgreSQL only. */
void test_postgresql(const char *sql);
