/* SPDX-License-Identifier: Apache-2.0 */

/* What the store promises on both databases; runs once for each: test_store sqlite | postgresql. */

#include <errno.h>
#include <semaphore.h>
#include <stdio.h>
#include <unistd.h>

#include "support.h"

static bool is_postgresql(void)
{
    return string_equal(test_dialect, "postgresql");
}

/* --- values --- */

static const uint8_t bytes[] = {0, 1, 0xff, '\\', '\'', 0};

static int add_all_job(StoreTransaction *t, _unused_ void *context, Error *e)
{
    int r = statement_group_add(t,
                                &(GroupAddParameters){
                                    .tenant = "a",
                                    .id = "full",
                                    .name = "Grüße, 'quoted' \"twice\" \\x00 \xf0\x9f\x8f\xb0",
                                    .description = "",
                                    .size = INT64_MAX,
                                    .has_expires = true,
                                    .expires = INT64_MIN,
                                    .content = {bytes, sizeof(bytes)},
                                },
                                e);
    if (r < 0)
        return r;
    assert_int_equal(r, 1);
    return statement_group_add(t, &(GroupAddParameters){.tenant = "a", .id = "empty", .name = "none"}, e);
}

static int get_all_job(StoreTransaction *t, _unused_ void *context, Error *e)
{
    GroupGetRow row;
    int r = statement_group_get(t, &(GroupGetParameters){.tenant = "a", .id = "full"}, &row, e);
    assert_int_equal(r, 1);
    assert_string_equal(row.name, "Grüße, 'quoted' \"twice\" \\x00 \xf0\x9f\x8f\xb0");
    assert_string_equal(row.description, "");
    assert_true(row.members == INT64_MAX);
    assert_true(row.has_expires);
    assert_true(row.expires == INT64_MIN);
    assert_int_equal(row.content.size, sizeof(bytes));
    assert_memory_equal(row.content.data, bytes, sizeof(bytes));
    assert_null(row.colour);
    assert_int_equal(row.weight, 7);

    r = statement_group_get(t, &(GroupGetParameters){.tenant = "a", .id = "empty"}, &row, e);
    assert_int_equal(r, 1);
    assert_null(row.description);
    assert_false(row.has_expires);
    assert_null(row.content.data);
    assert_int_equal(row.members, 0);

    /* The same id, another tenant. */
    r = statement_group_get(t, &(GroupGetParameters){.tenant = "b", .id = "full"}, &row, e);
    assert_int_equal(r, 0);
    return 0;
}

static void test_values_round_trip(_unused_ void **state)
{
    Store *store = test_open_new(0, false);
    assert_string_equal(store_dialect(store), test_dialect);
    test_run(store, STORE_WRITE, add_all_job, NULL);
    test_run(store, STORE_READ, get_all_job, NULL);
    store_close(store);
}

static int add_group(StoreTransaction *t, const char *tenant, const char *id, const char *name, int64_t size,
                     Error *e)
{
    return statement_group_add(
        t, &(GroupAddParameters){.tenant = tenant, .id = id, .name = name, .size = size}, e);
}

static int kinds_job(StoreTransaction *t, _unused_ void *context, Error *e)
{
    GroupListRow *rows = NULL;
    size_t count = 99;
    assert_int_equal(
        statement_group_list(t, &(GroupListParameters){.tenant = "a", .limit = 10}, &rows, &count, e), 0);
    assert_int_equal(count, 0);
    /* Bytewise order, capital letters first, in both databases. */
    static const char *const names[] = {"b", "B", "a", "ä", "a b", "aa", "_"};
    for (size_t i = 0; i < ELEMENTSOF(names); i++) {
        char id[8];
        (void)snprintf(id, sizeof(id), "g%zu", i);
        assert_int_equal(add_group(t, "a", id, names[i], (int64_t)i, e), 1);
    }
    assert_int_equal(add_group(t, "b", "g0", "b", 5, e), 1);
    assert_int_equal(
        statement_group_list(t, &(GroupListParameters){.tenant = "a", .limit = 100}, &rows, &count, e), 0);
    assert_int_equal(count, ELEMENTSOF(names));
    static const char *const sorted[] = {"B", "_", "a", "a b", "aa", "b", "ä"};
    for (size_t i = 0; i < count; i++)
        assert_string_equal(rows[i].name, sorted[i]);
    int64_t total = 0;
    assert_int_equal(statement_group_count(t, &(GroupCountParameters){.tenant = "a"}, &total, e), 0);
    assert_int_equal(total, ELEMENTSOF(names));
    assert_int_equal(statement_group_everywhere(t, &total, e), 0);
    assert_int_equal(total, ELEMENTSOF(names) + 1);
    assert_int_equal(
        statement_group_like(t, &(GroupLikeParameters){.tenant = "a", .pattern = "B%"}, &total, e), 0);
    assert_int_equal(total, 1);
    /* NULL equals NULL with IS NOT DISTINCT FROM. */
    assert_int_equal(
        statement_group_same_description(t, &(GroupSameDescriptionParameters){.tenant = "a"}, &total, e), 0);
    assert_int_equal(total, ELEMENTSOF(names));
    assert_int_equal(
        statement_group_resize(
            t, &(GroupResizeParameters){.tenant = "a", .id = "g1", .size = 9, .has_expires = true}, e),
        1);
    assert_int_equal(
        statement_group_resize(t, &(GroupResizeParameters){.tenant = "c", .id = "g1", .size = 9}, e), 0);
    return 0;
}

static int expressions_job(StoreTransaction *t, _unused_ void *context, Error *e)
{
    GroupPutRow put;
    assert_int_equal(statement_group_put(
                         t, &(GroupPutParameters){.tenant = "z", .id = "1", .name = "n", .size = 2}, &put, e),
                     1);
    assert_int_equal(put.size, 2);
    assert_int_equal(statement_group_put(
                         t, &(GroupPutParameters){.tenant = "z", .id = "2", .name = "n", .size = 3}, &put, e),
                     1);
    assert_string_equal(put.id, "1");
    assert_int_equal(put.size, 5);

    CounterSumRow sum;
    assert_int_equal(statement_counter_sum(t, &(CounterSumParameters){.least = 0}, &sum, e), 1);
    assert_true(sum.has_total);
    assert_int_equal(sum.total, 0);
    assert_string_equal(sum.last, "second");
    assert_int_equal(sum.is_several, 1);
    assert_int_equal(statement_counter_sum(t, &(CounterSumParameters){.least = 1}, &sum, e), 1);
    assert_false(sum.has_total);
    assert_null(sum.last);
    assert_int_equal(sum.is_several, 0);
    CounterGetRow counter; /* text of a migration */
    assert_int_equal(
        statement_counter_get(t, &(CounterGetParameters){.name = "first; with ' and \" in it"}, &counter, e),
        1);

    DialectNameRow dialect;
    assert_int_equal(statement_dialect_name(t, &dialect, e), 1);
    assert_string_equal(dialect.name, test_dialect);

    /* Left joins make columns optional; an empty blob is not NULL. */
    assert_int_equal(add_group(t, "z", "3", "o", 0, e), 1);
    assert_int_equal(
        statement_member_add(t, &(MemberAddParameters){.tenant = "z", .group_id = "1", .id = "m"}, e), 1);
    GroupMembersRow *rows = NULL;
    size_t count = 0;
    assert_int_equal(statement_group_members(t, &(GroupMembersParameters){.tenant = "z"}, &rows, &count, e),
                     0);
    assert_int_equal(count, 2);
    assert_string_equal(rows[0].member, "m");
    assert_non_null(rows[0].payload.data);
    assert_int_equal(rows[0].payload.size, 0);
    assert_null(rows[1].member);
    assert_null(rows[1].payload.data);

    JournalAddRow first, second;
    assert_int_equal(statement_journal_add(t, &(JournalAddParameters){.at = 1, .text = "x"}, &first, e), 1);
    assert_int_equal(statement_journal_add(t, &(JournalAddParameters){.at = 1, .text = "y"}, &second, e), 1);
    assert_true(first.sequence >= 1);
    assert_int_equal(second.sequence, first.sequence + 1);
    return 0;
}

static void test_kinds_of_statements(_unused_ void **state)
{
    Store *store = test_open_new(1, false);
    test_run(store, STORE_WRITE, kinds_job, NULL);
    test_run(store, STORE_WRITE, expressions_job, NULL);
    Error error = ERROR_INIT;
    assert_int_equal(store_check_statements(store, &error), 0);
    store_close(store);
}

/* --- errors --- */

static int two_rows_job(StoreTransaction *t, void *context, Error *e)
{
    JournalTwoRow row;
    int r = test_journal_job(t, context, e);
    if (r >= 0)
        r = test_journal_job(t, context, e);
    return r < 0 ? r : statement_journal_two(t, &row, e);
}

static int missing_parameter_job(StoreTransaction *t, _unused_ void *context, Error *e)
{
    return add_group(t, "a", "1", NULL, 0, e);
}

static int same_name_job(StoreTransaction *t, _unused_ void *context, Error *e)
{
    int r = add_group(t, "a", "1", "n", 0, e);
    return r < 0 ? r : add_group(t, "a", "2", "n", 0, e);
}

static int same_key_job(StoreTransaction *t, _unused_ void *context, Error *e)
{
    int r = add_group(t, "a", "1", "n", 0, e);
    return r < 0 ? r : add_group(t, "a", "1", "m", 0, e);
}

static int no_parent_job(StoreTransaction *t, _unused_ void *context, Error *e)
{
    return statement_member_add(
        t, &(MemberAddParameters){.tenant = "a", .group_id = "no", .id = "m", .payload = {bytes, 1}}, e);
}

static int no_parent_at_commit_job(StoreTransaction *t, _unused_ void *context, Error *e)
{
    return statement_later_add(t, &(LaterAddParameters){.id = "1", .counter = "no"}, e);
}

static int check_job(StoreTransaction *t, _unused_ void *context, Error *e)
{
    return add_group(t, "a", "1", "n", -1, e);
}

static int write_in_read_job(StoreTransaction *t, void *context, Error *e)
{
    return test_journal_job(t, context, e);
}

static int no_reason_job(StoreTransaction *t, void *context, Error *e)
{
    (void)test_journal_job(t, context, e);
    return -ENOENT;
}

/* Goes on after an error as if nothing had happened. */
static int swallowing_job(StoreTransaction *t, _unused_ void *context, Error *e)
{
    int r = same_name_job(t, NULL, e);
    assert_true(r < 0);
    error_clear(e);
    return 0;
}

static int going_on_job(StoreTransaction *t, void *context, Error *e)
{
    assert_true(same_name_job(t, NULL, e) < 0);
    error_clear(e);
    assert_true(test_journal_job(t, context, e) < 0);
    return 0;
}

static int many_rows_job(StoreTransaction *t, void *context, Error *e)
{
    const int64_t *count = context;
    JournalListRow *rows = NULL;
    size_t found = 0;
    int r = statement_journal_fill(t, &(JournalFillParameters){.count = *count, .text = "t"}, e);
    if (r >= 0) {
        assert_int_equal(r, *count);
        r = statement_journal_list(t, &rows, &found, e);
    }
    if (r >= 0) {
        assert_int_equal(found, *count);
        assert_string_equal(rows[found - 1].text, "t");
        r = -ECANCELED;
        (void)error_set(e, ERROR_CANCELLED, "undo");
    }
    return r;
}

static void test_errors(_unused_ void **state)
{
    static const struct {
        const char *name;
        StoreJob job;
        ErrorCode code;
        StoreAccess access;
    } cases[] = {
        {"two rows where one is expected", two_rows_job, ERROR_INTERNAL, STORE_WRITE},
        {"a parameter is NULL", missing_parameter_job, ERROR_INTERNAL, STORE_WRITE},
        {"unique", same_name_job, ERROR_CONFLICT, STORE_WRITE},
        {"primary key", same_key_job, ERROR_CONFLICT, STORE_WRITE},
        {"foreign key", no_parent_job, ERROR_BAD_REFERENCE, STORE_WRITE},
        {"deferred foreign key", no_parent_at_commit_job, ERROR_BAD_REFERENCE, STORE_WRITE},
        {"check", check_job, ERROR_INTERNAL, STORE_WRITE},
        {"writes in a read job", write_in_read_job, ERROR_INTERNAL, STORE_READ},
        {"no reason", no_reason_job, ERROR_INTERNAL, STORE_WRITE},
        {"swallowed", swallowing_job, ERROR_INTERNAL, STORE_WRITE},
        {"goes on", going_on_job, ERROR_INTERNAL, STORE_WRITE},
    };
    Store *store = test_open_new(0, false);
    char text[] = "text";
    for (size_t i = 0; i < ELEMENTSOF(cases); i++) {
        print_message("%s\n", cases[i].name);
        test_run_fails(store, cases[i].access, cases[i].job, text, cases[i].code);
        assert_int_equal(test_count_journal(store), 0);
    }
    /* And it goes on. */
    test_run(store, STORE_WRITE, test_journal_job, text);
    assert_int_equal(test_count_journal(store), 1);
    store_close(store);
}

static void test_row_limit(_unused_ void **state)
{
    Store *store = test_open_new(0, false);
    int64_t count = STATEMENT_ROWS_MAXIMUM;
    test_run_fails(store, STORE_WRITE, many_rows_job, &count, ERROR_CANCELLED);
    count++;
    test_run_fails(store, STORE_WRITE, many_rows_job, &count, ERROR_TOO_LARGE);
    assert_int_equal(test_count_journal(store), 0);
    store_close(store);
}

/* --- savepoints --- */

static int nested_fails(StoreTransaction *t, void *context, Error *e)
{
    int r = test_journal_job(t, context, e);
    return r < 0 ? r : same_name_job(t, NULL, e);
}

static int nested_job(StoreTransaction *t, void *context, Error *e)
{
    int r = test_journal_job(t, context, e);
    assert_true(r >= 0);
    r = store_nested(t, nested_fails, context, e);
    assert_true(r < 0);
    assert_int_equal(e->code, ERROR_CONFLICT);
    error_clear(e);
    r = store_nested(t, test_journal_job, context, e);
    assert_true(r >= 0);
    int64_t count = 0;
    r = statement_journal_count(t, &count, e);
    assert_int_equal(count, 2);
    return r;
}

/* The failure is neither cleared nor returned. */
static int nested_ignored_job(StoreTransaction *t, void *context, Error *e)
{
    (void)store_nested(t, nested_fails, context, e);
    return 0;
}

typedef struct Depth {
    unsigned now, reached;
} Depth;

static int deep_job(StoreTransaction *t, void *context, Error *e)
{
    Depth *depth = context;
    char text[] = "deep";
    int r = test_journal_job(t, text, e);
    if (r < 0)
        return r;
    depth->reached = ++depth->now;
    return store_nested(t, deep_job, depth, e);
}

static int catch_deep_job(StoreTransaction *t, void *context, Error *e)
{
    assert_true(store_nested(t, deep_job, context, e) < 0);
    error_clear(e);
    return 0;
}

static void test_nested(_unused_ void **state)
{
    Store *store = test_open_new(0, false);
    char text[] = "text";
    test_run(store, STORE_WRITE, nested_job, text);
    assert_int_equal(test_count_journal(store), 2);
    test_run(store, STORE_WRITE, nested_ignored_job, text);
    assert_int_equal(test_count_journal(store), 2);
    Depth depth = {0};
    test_run(store, STORE_WRITE, catch_deep_job, &depth);
    assert_int_equal(depth.reached, STORE_NESTING_MAXIMUM);
    assert_int_equal(test_count_journal(store), 2);
    store_close(store);
}

/* --- batches --- */

typedef struct Item {
    sem_t *finished;
    char id[16];
    unsigned number;
    int result;
    ErrorCode code;
} Item;

/* Every third fails after it has written; every seventh hits a unique violation inside a savepoint and goes
 * on; every eleventh leaves a reference to nothing, which the database itself would only notice in the
 * COMMIT. */
static ErrorCode item_expected(unsigned number)
{
    return number % 3 == 0 ? ERROR_QUOTA : number % 11 == 5 ? ERROR_BAD_REFERENCE : ERROR_NONE;
}

static int item_job(StoreTransaction *t, void *context, Error *e)
{
    const Item *item = context;
    int r = add_group(t, "a", item->id, item->id, item->number, e);
    if (r >= 0 && item->number % 7 == 0) {
        r = store_nested(t, nested_fails, (char[]){"x"}, e);
        assert_true(r < 0);
        error_clear(e);
        r = 0;
    }
    if (r >= 0 && item->number % 3 == 0)
        return error_set(e, ERROR_QUOTA, "third");
    if (r >= 0 && item->number % 11 == 5)
        return statement_later_add(t, &(LaterAddParameters){.id = item->id, .counter = "no"}, e);
    return r;
}

static void item_done(int result, const Error *error, void *context)
{
    Item *item = context;
    item->result = result;
    item->code = error->code;
    assert_int_equal(sem_post(item->finished), 0);
}

static int list_job(StoreTransaction *t, void *context, Error *e)
{
    Item *items = context;
    GroupListRow *rows = NULL;
    size_t count = 0;
    int r = statement_group_list(t, &(GroupListParameters){.tenant = "a", .limit = 10000}, &rows, &count, e);
    for (size_t i = 0; r >= 0 && i < count; i++) {
        unsigned number = (unsigned)strtoul(rows[i].name, NULL, 10);
        items[number].code = ERROR_NONE;
        items[number].result = 77; /* found */
    }
    return r;
}

static void test_batch_isolation(_unused_ void **state)
{
    enum { COUNT = 700 };
    Store *store = test_open_new(3, false);
    Item *items = NEW_ARRAY(Item, COUNT);
    sem_t finished;
    assert_int_equal(sem_init(&finished, 0, 0), 0);
    Error error = ERROR_INIT;
    for (unsigned i = 0; i < COUNT; i++) {
        items[i].finished = &finished;
        items[i].number = i;
        items[i].result = 1234;
        (void)snprintf(items[i].id, sizeof(items[i].id), "%05u", i);
        assert_int_equal(store_submit(store, STORE_WRITE, item_job, item_done, &items[i], &error), 0);
    }
    for (unsigned i = 0; i < COUNT; i++)
        assert_int_equal(sem_wait(&finished), 0);
    for (unsigned i = 0; i < COUNT; i++) {
        assert_int_equal(items[i].code, item_expected(i));
        assert_true((items[i].result >= 0) == (item_expected(i) == ERROR_NONE));
        assert_int_not_equal(items[i].result, 1234);
    }
    test_run(store, STORE_READ, list_job, items);
    for (unsigned i = 0; i < COUNT; i++)
        assert_true((items[i].result == 77) == (item_expected(i) == ERROR_NONE));
    assert_int_equal(test_count_journal(store), 0);
    (void)sem_destroy(&finished);
    free(items);
    store_close(store);
}

/* --- many at once --- */

static int increment_job(StoreTransaction *t, _unused_ void *context, Error *e)
{
    CounterGetRow row;
    int r = statement_counter_get(t, &(CounterGetParameters){.name = "second"}, &row, e);
    if (r < 0)
        return r;
    assert_int_equal(r, 1);
    return statement_counter_set(t, &(CounterSetParameters){.name = "second", .value = row.value + 1}, e);
}

enum { THREADS = 4, INCREMENTS = 40 };

static void *increment_thread(void *context)
{
    for (unsigned i = 0; i < INCREMENTS; i++) {
        Error error = ERROR_INIT;
        int r;
        do { /* what is refused as busy may be tried again */
            error_clear(&error);
            r = store_run(context, STORE_WRITE, increment_job, NULL, &error);
        } while (r < 0 && error.code == ERROR_BUSY);
        if (r < 0)
            return string_format("%s (%s)", error.text, error.details);
    }
    return NULL;
}

static int counter_job(StoreTransaction *t, void *context, Error *e)
{
    CounterGetRow row = {0};
    int r = statement_counter_get(t, &(CounterGetParameters){.name = "second"}, &row, e);
    *(int64_t *)context = row.value;
    return r;
}

static void test_concurrent_counters(_unused_ void **state)
{
    Store *store = test_open_new(THREADS, false);
    pthread_t threads[THREADS];
    for (size_t i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, increment_thread, store), 0);
    for (size_t i = 0; i < THREADS; i++) {
        void *failure = NULL;
        assert_int_equal(pthread_join(threads[i], &failure), 0);
        if (failure)
            fail_msg("%s", (char *)failure);
    }
    int64_t value = 0;
    test_run(store, STORE_READ, counter_job, &value);
    assert_int_equal(value, THREADS * INCREMENTS);
    store_close(store);
}

/* A read job sees one moment: what is committed while it runs is not for it. */
typedef struct Snapshot {
    sem_t has_read, may_go_on;
    int64_t before, after;
} Snapshot;

static int snapshot_job(StoreTransaction *t, void *context, Error *e)
{
    Snapshot *snapshot = context;
    int r = statement_journal_count(t, &snapshot->before, e);
    (void)sem_post(&snapshot->has_read);
    (void)sem_wait(&snapshot->may_go_on);
    return r < 0 ? r : statement_journal_count(t, &snapshot->after, e);
}

static void snapshot_done(int result, _unused_ const Error *error, void *context)
{
    Snapshot *snapshot = context;
    if (result < 0)
        snapshot->after = -100;
    (void)sem_post(&snapshot->has_read);
}

static void test_snapshot(_unused_ void **state)
{
    Store *store = test_open_new(2, false);
    Snapshot snapshot = {.before = -1, .after = -2};
    Error error = ERROR_INIT;
    (void)sem_init(&snapshot.has_read, 0, 0);
    (void)sem_init(&snapshot.may_go_on, 0, 0);
    assert_int_equal(store_submit(store, STORE_READ, snapshot_job, snapshot_done, &snapshot, &error), 0);
    (void)sem_wait(&snapshot.has_read);
    test_run(store, STORE_WRITE, test_journal_job, (char[]){"x"});
    assert_int_equal(test_count_journal(store), 1);
    (void)sem_post(&snapshot.may_go_on);
    (void)sem_wait(&snapshot.has_read);
    assert_int_equal(snapshot.before, 0);
    assert_int_equal(snapshot.after, 0);
    (void)sem_destroy(&snapshot.has_read);
    (void)sem_destroy(&snapshot.may_go_on);
    store_close(store);
}

static atomic_uint finished_count;

static int wait_job(_unused_ StoreTransaction *t, void *context, _unused_ Error *e)
{
    return sem_wait(context) == 0 ? 0 : -EIO;
}

static void count_done(int result, _unused_ const Error *error, _unused_ void *context)
{
    if (result >= 0)
        atomic_fetch_add(&finished_count, 1);
}

static int nothing_job(_unused_ StoreTransaction *t, _unused_ void *context, _unused_ Error *e)
{
    return 0;
}

/* The queue has an end, and what is in it when the store is closed is done. */
static void test_full_queue_and_close(_unused_ void **state)
{
    Store *store = test_open_new(1, false);
    sem_t gate;
    unsigned accepted = 0;
    int r;
    Error error = ERROR_INIT;
    (void)sem_init(&gate, 0, 0);
    atomic_store(&finished_count, 0);
    assert_int_equal(store_submit(store, STORE_WRITE, wait_job, count_done, &gate, &error), 0);
    do {
        r = store_submit(store, STORE_WRITE, nothing_job, count_done, NULL, &error);
        accepted += r == 0;
    } while (r == 0 && accepted < 2 * STORE_QUEUE_MAXIMUM);
    assert_int_equal(r, -EAGAIN);
    assert_int_equal(error.code, ERROR_BUSY);
    assert_in_range(accepted, STORE_QUEUE_MAXIMUM - 1, STORE_QUEUE_MAXIMUM);
    (void)sem_post(&gate);
    store_close(store);
    assert_int_equal(atomic_load(&finished_count), accepted + 1);
    (void)sem_destroy(&gate);
}

static int run_in_job(StoreTransaction *t, _unused_ void *context, Error *e)
{
    Error error = ERROR_INIT;
    assert_true(store_run(store_of(t), STORE_READ, nothing_job, NULL, &error) < 0);
    assert_int_equal(error.code, ERROR_INTERNAL);
    error_clear(&error);
    assert_true(store_read(store_of(t), nothing_job, NULL, &error) < 0);
    return 0;
}

static void test_no_store_in_a_job(_unused_ void **state)
{
    for (int i = 0; i < 2; i++) {
        Store *store = test_open_new(1, i == 1);
        test_run(store, STORE_WRITE, run_in_job, NULL);
        test_run(store, STORE_READ, run_in_job, NULL);
        store_close(store);
    }
}

/* --- clock, ids, synchronous mode --- */

static Usec fixed_time = 1000;

static Usec ticking(_unused_ const Clock *clock)
{
    return fixed_time++;
}

static int now_job(StoreTransaction *t, void *context, _unused_ Error *e)
{
    Usec *times = context;
    times[0] = store_now(t);
    times[1] = store_now(t);
    const char *first = store_new_id(t), *second = store_new_id(t);
    assert_true(id_is_valid(first));
    assert_true(id_is_valid(second));
    assert_string_not_equal(first, second);
    assert_non_null(store_arena(t));
    return 0;
}

static void test_time_and_ids(_unused_ void **state)
{
    static const Clock clock = {.monotonic = ticking, .realtime = ticking};
    SeededRandom random;
    seeded_random_init(&random, 1);
    test_database_new();
    Store *store = NULL;
    Error error = ERROR_INIT;
    StoreSettings settings = {
        .location = test_location(), .clock = &clock, .random = &random.random, .is_synchronous = true};
    assert_int_equal(store_open(&settings, &store, &error), 0);
    Usec first[2] = {0}, second[2] = {0};
    test_run(store, STORE_READ, now_job, first);
    test_run(store, STORE_READ, now_job, second);
    assert_int_equal(first[0], first[1]);
    assert_true(second[0] > first[0]);
    assert_int_equal(second[0], second[1]);
    store_close(store);
}

typedef struct Chain {
    Store *store;
    unsigned left, depth, deepest;
    int64_t seen;
} Chain;

static int chain_job(StoreTransaction *t, void *context, Error *e)
{
    Chain *chain = context;
    chain->depth++;
    chain->deepest = MAX(chain->deepest, chain->depth);
    return test_journal_job(t, (char[]){"chain"}, e);
}

static void chain_done(int result, _unused_ const Error *error, void *context)
{
    Chain *chain = context;
    Error own = ERROR_INIT;
    assert_true(result >= 0);
    chain->depth--;
    /* What it did is committed, and `done` may look. */
    chain->seen = test_count_journal(chain->store);
    if (--chain->left > 0)
        assert_int_equal(store_submit(chain->store, STORE_WRITE, chain_job, chain_done, chain, &own), 0);
}

static void test_synchronous(_unused_ void **state)
{
    Store *store = test_open_new(0, true);
    Chain chain = {.store = store, .left = 50};
    Error error = ERROR_INIT;
    assert_int_equal(store_submit(store, STORE_WRITE, chain_job, chain_done, &chain, &error), 0);
    assert_int_equal(chain.left, 0);
    assert_int_equal(chain.deepest, 1);
    assert_int_equal(chain.seen, 50);
    test_run_fails(store, STORE_WRITE, same_name_job, NULL, ERROR_CONFLICT);
    assert_int_equal(store_check_health(store, &error), 0);
    store_close(store);
}

/* --- migrations --- */

static StoreMigration changed[8];
static StoreSchema changed_schema;

/* A store as another build of the program would have it. */
static Store *open_with(const char *digest_of_second, bool has_third)
{
    Store *store = test_open(1, false);
    assert_int_equal(store->schema->migration_count, 3);
    memcpy(changed, store->schema->migrations, 3 * sizeof(StoreMigration));
    changed_schema = *store->schema;
    changed_schema.migrations = changed;
    if (digest_of_second)
        changed[2].digest = digest_of_second;
    if (has_third) {
        changed[3] = (StoreMigration){3, "third", "33", "CREATE TABLE third (id TEXT) STRICT;",
                                      "CREATE TABLE third (id TEXT);"};
        changed_schema.migration_count = 4;
    }
    store->schema = &changed_schema;
    return store;
}

static void test_migrations(_unused_ void **state)
{
    test_database_new();
    Store *store = test_open(1, false);
    Error error = ERROR_INIT;
    unsigned applied = 99;
    assert_true(store_check_schema(store, &error) < 0);
    assert_int_equal(error.code, ERROR_CONFIGURATION);
    error_clear(&error);
    assert_int_equal(store_migrate(store, &applied, &error), 0);
    assert_int_equal(applied, 2);
    assert_int_equal(store_migrate(store, &applied, &error), 0);
    assert_int_equal(applied, 0);
    assert_int_equal(store_check_schema(store, &error), 0);
    store_close(store);

    store = open_with(NULL, true);
    assert_true(store_check_schema(store, &error) < 0); /* older than the program */
    assert_int_equal(error.code, ERROR_CONFIGURATION);
    error_clear(&error);
    assert_int_equal(store_migrate(store, &applied, &error), 0);
    assert_int_equal(applied, 1);
    assert_int_equal(store_check_schema(store, &error), 0);
    store_close(store);

    store = test_open(1, false); /* newer than the program */
    assert_true(store_check_schema(store, &error) < 0);
    assert_int_equal(error.code, ERROR_CONFIGURATION);
    error_clear(&error);
    assert_true(store_migrate(store, &applied, &error) < 0);
    assert_int_equal(error.code, ERROR_CONFIGURATION);
    error_clear(&error);
    store_close(store);

    store = open_with("other", true);
    assert_true(store_migrate(store, &applied, &error) < 0);
    assert_int_equal(error.code, ERROR_CONFIGURATION);
    assert_non_null(strstr(error.text, "0002"));
    store_close(store);
}

/* A migration that fails in the middle leaves nothing. */
static void test_failed_migration(_unused_ void **state)
{
    Store *store = test_open_new(1, false);
    store_close(store);
    store = open_with(NULL, true);
    changed[3].sqlite = changed[3].postgresql = "CREATE TABLE third (id TEXT); INSERT INTO journal (at, "
                                                "text) VALUES (1, 'x'); INSERT INTO no_table VALUES (1);";
    Error error = ERROR_INIT;
    assert_true(store_migrate(store, NULL, &error) < 0);
    assert_int_equal(error.code, ERROR_INTERNAL);
    assert_int_equal(test_count_journal(store), 0);
    changed[3].sqlite = changed[3].postgresql = "CREATE TABLE third (id TEXT);";
    error_clear(&error);
    assert_int_equal(store_migrate(store, NULL, &error), 0);
    store_close(store);
}

static void *migrate_thread(void *context)
{
    Error error = ERROR_INIT;
    Store *store = context;
    unsigned applied = 0;
    int r = store_migrate(store, &applied, &error);
    return r < 0 ? string_format("%s (%s)", error.text, error.details) : NULL;
}

/* Several managers start at once. */
static void test_concurrent_migrations(_unused_ void **state)
{
    Store *stores[3];
    pthread_t threads[3];
    test_database_new();
    for (size_t i = 0; i < 3; i++)
        stores[i] = test_open(1, false);
    for (size_t i = 0; i < 3; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, migrate_thread, stores[i]), 0);
    for (size_t i = 0; i < 3; i++) {
        void *failure = NULL;
        assert_int_equal(pthread_join(threads[i], &failure), 0);
        if (failure)
            fail_msg("%s", (char *)failure);
    }
    Error error = ERROR_INIT;
    for (size_t i = 0; i < 3; i++) {
        assert_int_equal(store_check_schema(stores[i], &error), 0);
        store_close(stores[i]);
    }
}

static void test_bad_locations(_unused_ void **state)
{
    static const char *const locations[] = {
        NULL, "", "sqlite", "mysql:x", "/var/lib/x.db", "sqlite:relative.db", "sqlite:", "postgresql:"};
    for (size_t i = 0; i < ELEMENTSOF(locations); i++) {
        StoreSettings settings = {.location = locations[i]};
        Store *store = NULL;
        Error error = ERROR_INIT;
        assert_true(store_open(&settings, &store, &error) < 0);
        assert_true(error.code == ERROR_CONFIGURATION || error.code == ERROR_INSECURE);
        assert_null(store);
    }
}

/* --- watched tables --- */

static int set_counter_job(StoreTransaction *t, void *context, Error *e)
{
    int64_t *value = context;
    assert_false(store_has_watched_change(t));
    int r = statement_counter_set(t, &(CounterSetParameters){.name = "one", .value = *value}, e);
    assert_true(store_has_watched_change(t));
    return *value < 0 ? error_set(e, ERROR_CONFLICT, "not that") : MIN(r, 0);
}

static int touch_counter_job(StoreTransaction *t, _unused_ void *context, Error *e)
{
    int r = statement_counter_touch(t, &(CounterTouchParameters){.name = "one"}, e);
    assert_false(store_has_watched_change(t));
    return MIN(r, 0);
}

/* Who waits for a change finds the count grown; what does not concern a watched table leaves it alone. */
static void check_watching(bool is_synchronous)
{
    Store *store = test_open_new(0, is_synchronous);
    const uint64_t start = store_watched_changes(store);
    char text[] = "nothing to do with it";
    test_run(store, STORE_WRITE, test_journal_job, text);
    test_run(store, STORE_WRITE, touch_counter_job, NULL);
    assert_true(store_watched_changes(store) == start);
    test_run(store, STORE_WRITE, set_counter_job, &(int64_t){5});
    const uint64_t after = store_watched_changes(store);
    assert_true(after > start);
    /* Nobody can tell what became of it: it counts, too. */
    test_run_fails(store, STORE_WRITE, set_counter_job, &(int64_t){-1}, ERROR_CONFLICT);
    assert_true(store_watched_changes(store) > after);
    store_close(store);
}

static void test_watched_changes_are_counted(_unused_ void **state)
{
    check_watching(false);
    check_watching(true);
}

int main(int count, char **arguments)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_values_round_trip),
        cmocka_unit_test(test_kinds_of_statements),
        cmocka_unit_test(test_errors),
        cmocka_unit_test(test_row_limit),
        cmocka_unit_test(test_nested),
        cmocka_unit_test(test_batch_isolation),
        cmocka_unit_test(test_concurrent_counters),
        cmocka_unit_test(test_snapshot),
        cmocka_unit_test(test_full_queue_and_close),
        cmocka_unit_test(test_no_store_in_a_job),
        cmocka_unit_test(test_time_and_ids),
        cmocka_unit_test(test_synchronous),
        cmocka_unit_test(test_migrations),
        cmocka_unit_test(test_failed_migration),
        cmocka_unit_test(test_concurrent_migrations),
        cmocka_unit_test(test_bad_locations),
        cmocka_unit_test(test_watched_changes_are_counted),
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
