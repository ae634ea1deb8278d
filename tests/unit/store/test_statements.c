/* SPDX-License-Identifier: Apache-2.0 */

/* Lists as parameters, and statements without an answer, on both databases: test_statements sqlite |
 * postgresql. */

#include <stdio.h>

#include "support.h"

static bool is_postgresql(void)
{
    return string_equal(test_dialect, "postgresql");
}

/* --- lists as parameters --- */

static const char *const odd_ids[] = {"plain",
                                      "q\"uote",
                                      "back\\slash",
                                      "{brace}",
                                      "[bracket]",
                                      "com,ma",
                                      "",
                                      "NULL",
                                      "Gr\xc3\xbc\xc3\x9f"
                                      "e"};

static int add_odd_job(StoreTransaction *t, _unused_ void *context, Error *e)
{
    int r = 0;
    for (size_t i = 0; i < ELEMENTSOF(odd_ids) && r >= 0; i++)
        r = statement_group_send(
            t,
            &(GroupSendParameters){.tenant = "l", .id = odd_ids[i], .name = odd_ids[i], .size = (int64_t)i},
            e);
    return r;
}

static size_t count_among(StoreTransaction *t, StoreTexts ids, StoreIntegers sizes, Error *e)
{
    GroupAmongRow *rows;
    size_t count = 0;
    assert_int_equal(statement_group_among(t,
                                           &(GroupAmongParameters){.tenant = "l", .ids = ids, .sizes = sizes},
                                           &rows, &count, e),
                     0);
    return count;
}

static int among_job(StoreTransaction *t, _unused_ void *context, Error *e)
{
    enum { COUNT = ELEMENTSOF(odd_ids) };
    static const int64_t sizes[] = {INT64_MIN, 0, 1, 2, 3, 4, 5, 6, 7, 8, INT64_MAX}, one[] = {3};
    const StoreTexts all = {odd_ids, COUNT};
    const StoreIntegers every = {sizes, ELEMENTSOF(sizes)};
    assert_int_equal(count_among(t, all, every, e), COUNT);
    assert_int_equal(count_among(t, all, (StoreIntegers){one, 1}, e), 1);
    assert_int_equal(count_among(t, (StoreTexts){odd_ids + 1, 2}, every, e), 2);
    assert_int_equal(count_among(t, (StoreTexts){0}, every, e), 0);
    assert_int_equal(count_among(t, all, (StoreIntegers){0}, e), 0);
    return 0;
}

static int among_control_job(StoreTransaction *t, _unused_ void *context, Error *e)
{
    static const char *const ids[] = {"a\nb"};
    GroupAmongRow *rows;
    size_t count;
    return statement_group_among(t, &(GroupAmongParameters){.tenant = "l", .ids = {ids, 1}}, &rows, &count,
                                 e);
}

static void test_lists(_unused_ void **state)
{
    Store *store = test_open_new(1, false);
    test_run(store, STORE_WRITE, add_odd_job, NULL);
    test_run(store, STORE_READ, among_job, NULL);
    test_run_fails(store, STORE_READ, among_control_job, NULL, ERROR_INTERNAL);
    store_close(store);
}

/* --- statements without an answer --- */

static int send_group(StoreTransaction *t, const char *id, const char *name, Error *e)
{
    return statement_group_send(t, &(GroupSendParameters){.tenant = "s", .id = id, .name = name, .size = 1},
                                e);
}

static int count_groups(StoreTransaction *t, int64_t *ret_count, Error *e)
{
    return statement_group_count(t, &(GroupCountParameters){.tenant = "s"}, ret_count, e);
}

static int expect_groups_job(StoreTransaction *t, void *context, Error *e)
{
    int64_t count = 0;
    assert_int_equal(count_groups(t, &count, e), 0);
    assert_int_equal(count, *(const int64_t *)context);
    return 0;
}

static int send_many_job(StoreTransaction *t, _unused_ void *context, Error *e)
{
    enum { COUNT = 1000 }; /* more than may be outstanding */
    for (unsigned i = 0; i < COUNT; i++) {
        char id[16];
        (void)snprintf(id, sizeof(id), "%05u", i);
        assert_int_equal(send_group(t, id, id, e), 0);
    }
    int64_t count = 0;
    int r = count_groups(t, &count, e);
    assert_int_equal(count, COUNT);
    return r;
}

/* Told by the statement that has an answer, at the latest. */
static int send_then_count_job(StoreTransaction *t, _unused_ void *context, Error *e)
{
    int64_t count;
    int r = send_group(t, "fresh", "fresh", e);
    if (r >= 0)
        r = send_group(t, "00000", "again", e);
    if (r >= 0)
        r = count_groups(t, &count, e);
    assert_true(r < 0);
    assert_int_equal(e->code, ERROR_CONFLICT);
    return r;
}

/* Told at the end of the job. */
static int send_last_job(StoreTransaction *t, _unused_ void *context, Error *e)
{
    int r = send_group(t, "fresh", "fresh", e);
    return r < 0 ? r : send_group(t, "00000", "again", e);
}

static int send_own_failure_job(StoreTransaction *t, _unused_ void *context, Error *e)
{
    int r = send_group(t, "fresh", "fresh", e);
    return r < 0 ? r : error_set(e, ERROR_QUOTA, "own");
}

/* The conflict is the savepoint's, not that of what was sent before or after it. */
static int send_nested_job(StoreTransaction *t, _unused_ void *context, Error *e)
{
    assert_int_equal(send_group(t, "before", "before", e), 0);
    assert_true(store_nested(t, send_last_job, NULL, e) < 0);
    assert_int_equal(e->code, ERROR_CONFLICT);
    error_clear(e);
    assert_int_equal(send_group(t, "after", "after", e), 0);
    assert_true(store_nested(t, send_own_failure_job, NULL, e) < 0);
    assert_int_equal(e->code, ERROR_QUOTA);
    error_clear(e);
    return send_group(t, "last", "last", e);
}

/* A failure from before the savepoint does not end as the savepoint's. */
static int send_before_nested_job(StoreTransaction *t, _unused_ void *context, Error *e)
{
    int r = send_group(t, "00000", "again", e);
    if (r >= 0)
        r = store_nested(t, send_own_failure_job, NULL, e);
    assert_true(r < 0);
    assert_int_equal(e->code, ERROR_CONFLICT);
    error_clear(e);
    return 0; /* swallowed: the job cannot commit all the same */
}

static void test_sent_statements(_unused_ void **state)
{
    for (unsigned is_synchronous = 0; is_synchronous < 2; is_synchronous++) {
        Store *store = test_open_new(1, is_synchronous);
        test_run(store, STORE_WRITE, send_many_job, NULL);
        test_run_fails(store, STORE_WRITE, send_then_count_job, NULL, ERROR_CONFLICT);
        test_run_fails(store, STORE_WRITE, send_last_job, NULL, ERROR_CONFLICT);
        test_run_fails(store, STORE_WRITE, send_own_failure_job, NULL, ERROR_QUOTA);
        test_run_fails(store, STORE_WRITE, send_before_nested_job, NULL, ERROR_INTERNAL);
        test_run_fails(store, STORE_READ, send_last_job, NULL, ERROR_INTERNAL);
        test_run(store, STORE_READ, expect_groups_job, &(int64_t){1000});
        test_run(store, STORE_WRITE, send_nested_job, NULL);
        test_run(store, STORE_READ, expect_groups_job, &(int64_t){1003});
        store_close(store);
    }
}

int main(int count, char **arguments)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_lists),
        cmocka_unit_test(test_sent_statements),
    };
    if (count != 2 || (!string_equal(arguments[1], "sqlite") && !string_equal(arguments[1], "postgresql")))
        return 64;
    test_dialect = arguments[1];
    if (is_postgresql() && !getenv("BASTIDE_TEST_POSTGRESQL"))
        return 64;
    int failed = cmocka_run_group_tests_name(test_dialect, tests, NULL, NULL);
    test_database_done();
    return failed;
}
