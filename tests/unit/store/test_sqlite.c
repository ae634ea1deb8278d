/* SPDX-License-Identifier: Apache-2.0 */

/* What only SQLite has: the file and its mode, reading in place, a database in memory, and what happens when
 * the process dies or the disk fails. "Accepted means durable" is tested here. */

#include <errno.h>
#include <semaphore.h>
#include <signal.h>
#include <sqlite3.h>
#include <stdio.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/file.h"
#include "fault_vfs.h"
#include "support.h"

static mode_t mode_of(const char *suffix)
{
    struct stat status;
    _cleanup_free_ char *path = string_format("%s/test.db%s", test_folder(), suffix);
    assert_int_equal(lstat(path, &status), 0);
    return status.st_mode & 07777;
}

static off_t size_of(const char *suffix)
{
    struct stat status;
    _cleanup_free_ char *path = string_format("%s/test.db%s", test_folder(), suffix);
    return lstat(path, &status) < 0 ? -1 : status.st_size;
}

static void test_file_mode(_unused_ void **state)
{
    const mode_t before = umask(0);
    Store *store = test_open_new(1, false);
    assert_int_equal(mode_of(""), 0600);
    assert_int_equal(mode_of("-wal"), 0600);
    assert_int_equal(mode_of("-shm"), 0600);
    store_close(store);
    (void)umask(before);

    /* One that was left open to others is closed to them. */
    _cleanup_free_ char *path = string_format("%s/test.db", test_folder());
    assert_int_equal(chmod(path, 0664), 0);
    store = test_open(1, false);
    assert_int_equal(mode_of(""), 0600);
    assert_int_equal(mode_of("-wal"), 0600);
    store_close(store);
}

static void test_refused_paths(_unused_ void **state)
{
    test_database_new();
    _cleanup_free_ char *target = string_format("%s/target", test_folder());
    _cleanup_free_ char *path = string_format("%s/test.db", test_folder());
    assert_int_equal(symlink(target, path), 0);
    Store *store = NULL;
    Error error = ERROR_INIT;
    StoreSettings settings = {.location = test_location()};
    assert_true(store_open(&settings, &store, &error) < 0);
    assert_int_equal(access(target, F_OK), -1);
    assert_int_equal(unlink(path), 0);
    assert_int_equal(mkdir(path, 0700), 0);
    error_clear(&error);
    assert_true(store_open(&settings, &store, &error) < 0);
    assert_int_equal(rmdir(path), 0);

    /* Not a database. */
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    for (int i = 0; i < 1000; i++)
        (void)fputs("this is a diary, not a database\n", file);
    (void)fclose(file);
    error_clear(&error);
    assert_true(store_open(&settings, &store, &error) < 0);
    assert_int_equal(error.code, ERROR_IO);
    assert_null(store);
}

/* --- reading in place --- */

static int count_job(StoreTransaction *t, void *context, Error *e)
{
    return statement_journal_count(t, context, e);
}

static int write_job(StoreTransaction *t, _unused_ void *context, Error *e)
{
    return test_journal_job(t, (char[]){"x"}, e);
}

typedef struct Reading {
    Store *store;
    sem_t *has_read, *is_closed;
    const char *failure;
} Reading;

static void *reading_thread(void *context)
{
    Reading *reading = context;
    int64_t last = 0;
    for (int i = 0; i < 200; i++) {
        int64_t count = -1;
        Error error = ERROR_INIT;
        if (store_read(reading->store, count_job, &count, &error) < 0)
            reading->failure = "read failed";
        if (count < last)
            reading->failure = "went back in time";
        last = count;
    }
    if (reading->has_read)
        (void)sem_post(reading->has_read);
    if (reading->is_closed) /* ends after its store: the connection is gone already */
        (void)sem_wait(reading->is_closed);
    return NULL;
}

static void test_read_in_place(_unused_ void **state)
{
    Store *store = test_open_new(1, false);
    int64_t count = -1;
    Error error = ERROR_INIT;
    assert_int_equal(store_read(store, count_job, &count, &error), 0);
    assert_int_equal(count, 0);
    sem_t has_read, is_closed;
    (void)sem_init(&has_read, 0, 0);
    (void)sem_init(&is_closed, 0, 0);
    Reading short_lived = {.store = store};
    Reading long_lived = {.store = store, .has_read = &has_read, .is_closed = &is_closed};
    pthread_t threads[2];
    assert_int_equal(pthread_create(&threads[0], NULL, reading_thread, &short_lived), 0);
    assert_int_equal(pthread_create(&threads[1], NULL, reading_thread, &long_lived), 0);
    for (int i = 0; i < 100; i++) {
        test_run(store, STORE_WRITE, write_job, NULL);
        /* What was acknowledged is seen. */
        assert_int_equal(store_read(store, count_job, &count, &error), 0);
        assert_int_equal(count, i + 1);
    }
    assert_int_equal(pthread_join(threads[0], NULL), 0);
    (void)sem_wait(&has_read);
    assert_true(store_read(store, write_job, NULL, &error) < 0);
    assert_int_equal(error.code, ERROR_INTERNAL);
    store_close(store);
    (void)sem_post(&is_closed);
    assert_int_equal(pthread_join(threads[1], NULL), 0);
    assert_null(short_lived.failure);
    assert_null(long_lived.failure);
    (void)sem_destroy(&has_read);
    (void)sem_destroy(&is_closed);
}

static void test_memory(_unused_ void **state)
{
    for (int i = 0; i < 2; i++) {
        Store *store = NULL;
        Error error = ERROR_INIT;
        StoreSettings settings = {.location = "sqlite::memory:", .is_synchronous = i == 1};
        assert_int_equal(store_open(&settings, &store, &error), 0);
        assert_int_equal(store_migrate(store, NULL, &error), 0);
        test_run(store, STORE_WRITE, write_job, NULL);
        assert_int_equal(test_count_journal(store), 1);
        int64_t count = -1;
        assert_int_equal(store_read(store, count_job, &count, &error), 0);
        assert_int_equal(count, 1);
        test_run_fails(store, STORE_READ, write_job, NULL, ERROR_INTERNAL);
        store_close(store);
    }
}

/* --- growth --- */

static int blob_job(StoreTransaction *t, void *context, Error *e)
{
    static const uint8_t bytes[4000];
    const int64_t *number = context;
    char id[24];
    (void)snprintf(id, sizeof(id), "%lld", (long long)*number);
    return statement_group_add(
        t,
        &(GroupAddParameters){
            .tenant = "t", .id = id, .name = id, .size = *number, .content = {bytes, sizeof(bytes)}},
        e);
}

/* The log is moved into the file while the store works, and starts over. */
static void test_log_does_not_grow(_unused_ void **state)
{
    Store *store = test_open_new(1, false);
    off_t largest = 0;
    for (int64_t i = 0; i < 4000; i++) {
        test_run(store, STORE_WRITE, blob_job, &i);
        largest = MAX(largest, size_of("-wal"));
    }
    assert_true(size_of("") > 10 * 1000 * 1000);
    assert_in_range(largest, 1000 * 1000, 6 * 1000 * 1000);
    store_close(store);
    assert_int_equal(size_of("-wal"), -1);
}

/* --- the process dies (P: accepted means durable) --- */

static int id_job(StoreTransaction *t, void *context, Error *e)
{
    const uint32_t *number = context;
    char id[16];
    (void)snprintf(id, sizeof(id), "%u", *number);
    return statement_group_add(t, &(GroupAddParameters){.tenant = "t", .id = id, .name = id, .size = 1}, e);
}

static int acknowledgements = -1;
static sem_t room;

static void report_done(int result, _unused_ const Error *error, void *context)
{
    uint32_t *number = context;
    if (result >= 0 && write(acknowledgements, number, sizeof(*number)) != sizeof(*number))
        _exit(3);
    free(number);
    (void)sem_post(&room);
}

_noreturn_ static void child_writes(void)
{
    (void)sem_init(&room, 0, 300);
    Store *store = test_open(1, false);
    for (uint32_t i = 0;; i++) {
        Error error = ERROR_INIT;
        uint32_t *number = NEW(uint32_t);
        *number = i;
        (void)sem_wait(&room);
        if (store_submit(store, STORE_WRITE, id_job, report_done, number, &error) < 0)
            _exit(2);
    }
}

typedef struct Found {
    uint32_t number;
    bool is_there;
} Found;

static int find_job(StoreTransaction *t, void *context, Error *e)
{
    Found *found = context;
    GroupGetRow row;
    char id[16];
    (void)snprintf(id, sizeof(id), "%u", found->number);
    int r = statement_group_get(t, &(GroupGetParameters){.tenant = "t", .id = id}, &row, e);
    found->is_there = r == 1;
    return r;
}

static bool is_there(Store *store, uint32_t number)
{
    Found found = {.number = number};
    test_run(store, STORE_READ, find_job, &found);
    return found.is_there;
}

static void assert_integrity(void)
{
    _cleanup_free_ char *path = string_format("%s/test.db", test_folder());
    sqlite3 *database = NULL;
    sqlite3_stmt *check = NULL;
    assert_int_equal(sqlite3_open(path, &database), SQLITE_OK);
    assert_int_equal(sqlite3_prepare_v2(database, "PRAGMA integrity_check", -1, &check, NULL), SQLITE_OK);
    assert_int_equal(sqlite3_step(check), SQLITE_ROW);
    assert_string_equal((const char *)sqlite3_column_text(check, 0), "ok");
    (void)sqlite3_finalize(check);
    (void)sqlite3_close(database);
}

static void test_killed_process(_unused_ void **state)
{
    for (unsigned round = 0; round < 5; round++) {
        Store *store = test_open_new(1, true);
        store_close(store);
        int ends[2];
        assert_int_equal(pipe(ends), 0);
        const pid_t child = fork();
        assert_true(child >= 0);
        if (child == 0) {
            (void)close(ends[0]);
            acknowledgements = ends[1];
            child_writes();
        }
        (void)close(ends[1]);
        uint32_t number, count = 0, kill_after = 200 + 777 * round;
        while (read_full(ends[0], &number, sizeof(number)) == (ssize_t)sizeof(number)) {
            assert_int_equal(number, count); /* one writer: in order */
            if (++count == kill_after)
                assert_int_equal(kill(child, SIGKILL), 0);
        }
        (void)close(ends[0]);
        int status = 0;
        assert_int_equal(waitpid(child, &status, 0), child);
        assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
        assert_true(count >= kill_after);
        store = test_open(1, true);
        for (uint32_t i = 0; i < count; i++)
            assert_true(is_there(store, i));
        store_close(store);
        assert_integrity();
    }
}

/* --- the disk fails --- */

/* Each write in turn fails, by a full disk or an I/O error, once or from then on: whatever was acknowledged
 * is there, whatever was refused is not (but where the store said that it does not know), and the file stays
 * sound. */
static void test_nth_write_fails(_unused_ void **state)
{
    enum { JOBS = 12, LAST = 60 };
    unsigned struck = 0, failed_stores = 0;
    for (unsigned number = 1; number <= LAST; number++) {
        const Fault fault = number % 2 ? FAULT_DISK_FULL : FAULT_WRITE;
        const int is_lasting = number % 4 >= 2;
        Store *store = test_open_new(1, true);
        bool is_accepted[JOBS];
        fault_vfs_arm(fault, number, is_lasting);
        for (uint32_t i = 0; i < JOBS; i++) {
            Error error = ERROR_INIT;
            is_accepted[i] = store_run(store, STORE_WRITE, id_job, &i, &error) >= 0;
            if (!is_accepted[i])
                assert_true(error.code == ERROR_IO || error.code == ERROR_UNAVAILABLE);
        }
        struck += fault_vfs_hits() > 0;
        fault_vfs_arm(FAULT_NONE, 0, 0);
        Error error = ERROR_INIT;
        const bool has_failed = store_check_health(store, &error) < 0;
        failed_stores += has_failed;
        uint32_t extra = 1000;
        assert_true((store_run(store, STORE_WRITE, id_job, &extra, &error) >= 0) == !has_failed);
        store_close(store);
        store = test_open(1, true);
        for (uint32_t i = 0; i < JOBS; i++) {
            if (is_accepted[i])
                assert_true(is_there(store, i));
            else if (!has_failed)
                assert_false(is_there(store, i));
        }
        store_close(store);
        assert_integrity();
    }
    assert_true(struck > 20);
    assert_true(failed_stores > 0);
}

typedef struct Counting {
    sem_t *finished;
    atomic_uint accepted, refused;
} Counting;

static void counting_done(int result, const Error *error, void *context)
{
    Counting *counting = context;
    if (result >= 0)
        atomic_fetch_add(&counting->accepted, 1);
    else if (error->code == ERROR_IO || error->code == ERROR_UNAVAILABLE)
        atomic_fetch_add(&counting->refused, 1);
    (void)sem_post(counting->finished);
}

static int gate_job(StoreTransaction *t, void *context, Error *e)
{
    (void)sem_wait(context);
    return test_journal_job(t, (char[]){"gate"}, e);
}

static int plain_job(StoreTransaction *t, _unused_ void *context, Error *e)
{
    return test_journal_job(t, (char[]){"plain"}, e);
}

/* One job holds the writer until 50 more are waiting; returns how many of those were accepted. */
static unsigned run_batch(Store *store)
{
    enum { JOBS = 50 };
    sem_t gate, finished;
    (void)sem_init(&gate, 0, 0);
    (void)sem_init(&finished, 0, 0);
    Counting counting = {.finished = &finished};
    Error error = ERROR_INIT;
    assert_int_equal(store_submit(store, STORE_WRITE, gate_job, NULL, &gate, &error), 0);
    for (unsigned i = 0; i < JOBS; i++)
        assert_int_equal(store_submit(store, STORE_WRITE, plain_job, counting_done, &counting, &error), 0);
    (void)sem_post(&gate);
    for (unsigned i = 0; i < JOBS; i++)
        (void)sem_wait(&finished);
    assert_int_equal(atomic_load(&counting.accepted) + atomic_load(&counting.refused), JOBS);
    return atomic_load(&counting.accepted);
}

/* A sync that fails refuses the whole batch, and everything after it: a second try would prove nothing. */
static void test_sync_fails(_unused_ void **state)
{
    Store *store = test_open_new(1, false);
    test_run(store, STORE_WRITE, plain_job, NULL);
    fault_vfs_arm(FAULT_SYNC, 1, 0);
    uint32_t number = 1;
    test_run_fails(store, STORE_WRITE, id_job, &number, ERROR_IO);
    assert_int_equal(fault_vfs_hits(), 1);
    Error error = ERROR_INIT;
    assert_true(store_check_health(store, &error) < 0);
    assert_int_equal(error.code, ERROR_UNAVAILABLE);
    number = 2;
    test_run_fails(store, STORE_WRITE, id_job, &number, ERROR_UNAVAILABLE);
    /* Reading goes on, and shows what was known to be safe. */
    assert_int_equal(test_count_journal(store), 1);
    assert_false(is_there(store, 1));
    fault_vfs_arm(FAULT_NONE, 0, 0);
    store_close(store);
}

_noreturn_ static void child_hits_limit(int report)
{
    struct rlimit limit = {.rlim_cur = 700 * 1000, .rlim_max = 700 * 1000};
    (void)signal(SIGXFSZ, SIG_IGN);
    Store *store = test_open(1, false);
    if (setrlimit(RLIMIT_FSIZE, &limit) < 0)
        _exit(4);
    for (uint32_t i = 0; i < 100000; i++) {
        Error error = ERROR_INIT;
        int64_t number = i;
        if (store_run(store, STORE_WRITE, blob_job, &number, &error) < 0)
            _exit(error.code == ERROR_IO ? 0 : 5);
        if (write(report, &i, sizeof(i)) != sizeof(i))
            _exit(6);
    }
    _exit(7);
}

/* The file may not grow any more: the real system call fails. */
static void test_file_limit(_unused_ void **state)
{
    Store *store = test_open_new(1, true);
    store_close(store);
    int ends[2];
    assert_int_equal(pipe(ends), 0);
    const pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        (void)close(ends[0]);
        child_hits_limit(ends[1]);
    }
    (void)close(ends[1]);
    uint32_t number, count = 0;
    while (read_full(ends[0], &number, sizeof(number)) == (ssize_t)sizeof(number))
        count++;
    (void)close(ends[0]);
    int status = 0;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
    assert_true(count > 10);
    store = test_open(1, true);
    for (uint32_t i = 0; i < count; i++)
        assert_true(is_there(store, i));
    store_close(store);
    assert_integrity();
}

/* A full disk undoes the batch and nothing else: there is no doubt, and it goes on when there is room. */
static void test_disk_full_in_a_batch(_unused_ void **state)
{
    Store *store = test_open_new(1, false);
    test_run(store, STORE_WRITE, plain_job, NULL);
    fault_vfs_arm(FAULT_DISK_FULL, 1, 1);
    assert_int_equal(run_batch(store), 0);
    assert_true(fault_vfs_hits() > 0);
    assert_int_equal(test_count_journal(store), 1);
    fault_vfs_arm(FAULT_NONE, 0, 0);
    Error error = ERROR_INIT;
    assert_int_equal(store_check_health(store, &error), 0);
    assert_int_equal(run_batch(store), 50);
    assert_int_equal(test_count_journal(store), 1 + 51);
    store_close(store);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_file_mode),         cmocka_unit_test(test_refused_paths),
        cmocka_unit_test(test_read_in_place),     cmocka_unit_test(test_memory),
        cmocka_unit_test(test_log_does_not_grow), cmocka_unit_test(test_killed_process),
        cmocka_unit_test(test_nth_write_fails),   cmocka_unit_test(test_sync_fails),
        cmocka_unit_test(test_file_limit),        cmocka_unit_test(test_disk_full_in_a_batch),
    };
    fault_vfs_install();
    int failed = cmocka_run_group_tests_name("sqlite only", tests, NULL, NULL);
    test_database_done();
    return failed;
}
