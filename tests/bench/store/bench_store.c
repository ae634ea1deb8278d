/* SPDX-License-Identifier: Apache-2.0 */

/* Transactions a second through store_submit(), beside the limit in the same run: a bare SQLite loop that
 * writes the same rows with the same settings in batches of the same size. A transaction here is what a
 * change costs at least: one row read, one updated, one event and one audit row inserted.
 *
 *     bench_store [seconds [folder]]                         SQLite, and the bare loop
 *     BASTIDE_TEST_POSTGRESQL_FSYNC=on tests/lib/with-postgresql bench_store [seconds]   PostgreSQL as well
 *
 * `one at a time` waits for each commit before the next job, `many` keeps 2,000 jobs in the queue. */

#include <semaphore.h>
#include <sqlite3.h>
#include <stdio.h>
#include <unistd.h>

#include "base/file.h"
#include "store/backend.h"
#include "test_statements.h"

enum { OUTSTANDING = 2000, GROUPS = 1000, ROUNDS = 5 };

static double seconds = 1; /* each measurement */
static sem_t room;
static atomic_ulong failures;

static double now(void)
{
    return (double)clock_monotonic(&system_clock) / (double)USEC_PER_SEC;
}

_noreturn_ static void die(const char *what, const Error *error)
{
    (void)fprintf(stderr, "bench_store: %s: %s (%s)\n", what, error->text, error->details);
    exit(1);
}

/* --- through the store --- */

static int fill_job(StoreTransaction *t, _unused_ void *context, Error *e)
{
    int r = 0;
    for (unsigned i = 0; r >= 0 && i < GROUPS; i++) {
        char id[16];
        (void)snprintf(id, sizeof(id), "group%06u", i);
        r = statement_group_add(t, &(GroupAddParameters){.tenant = "tenant", .id = id, .name = id}, e);
    }
    return r;
}

static int change_job(StoreTransaction *t, void *context, Error *e)
{
    static const char text[] =
        "{\"type\":\"task_state\",\"execution\":\"abcdefghij0123456789\",\"state\":\"succeeded\"}";
    const unsigned number = *(const unsigned *)context;
    char id[16];
    (void)snprintf(id, sizeof(id), "group%06u", number % GROUPS);
    GroupGetRow group;
    JournalAddRow row;
    int r = statement_group_get(t, &(GroupGetParameters){.tenant = "tenant", .id = id}, &group, e);
    if (r < 1)
        return r < 0 ? r : error_set(e, ERROR_NOT_FOUND, "no group %s", id);
    r = statement_group_resize(
        t, &(GroupResizeParameters){.tenant = "tenant", .id = id, .size = group.members + 1}, e);
    for (int i = 0; r >= 0 && i < 2; i++)
        r = statement_journal_add(t, &(JournalAddParameters){.at = (int64_t)store_now(t), .text = text}, &row,
                                  e);
    return r;
}

static void change_done(int result, const Error *error, _unused_ void *context)
{
    if (result < 0 && error->code != ERROR_BUSY)
        die("job", error);
    if (result < 0)
        atomic_fetch_add(&failures, 1);
    (void)sem_post(&room);
}

static double measure_many(Store *store)
{
    static unsigned numbers[OUTSTANDING];
    Error error = ERROR_INIT;
    unsigned long count = 0;
    (void)sem_init(&room, 0, OUTSTANDING);
    const double start = now();
    while (now() - start < seconds) {
        for (int i = 0; i < 64; i++) {
            unsigned *number = &numbers[count % OUTSTANDING];
            *number = (unsigned)(count * 7919);
            (void)sem_wait(&room);
            if (store_submit(store, STORE_WRITE, change_job, change_done, number, &error) < 0)
                die("submit", &error);
            count++;
        }
    }
    for (int i = 0; i < OUTSTANDING; i++)
        (void)sem_wait(&room);
    return (double)(count - atomic_exchange(&failures, 0)) / (now() - start);
}

static double measure_single(Store *store)
{
    Error error = ERROR_INIT;
    unsigned count = 0;
    const double start = now();
    while (now() - start < seconds) {
        if (store_run(store, STORE_WRITE, change_job, &count, &error) < 0)
            die("run", &error);
        count++;
    }
    return (double)count / (now() - start);
}

static int read_job(StoreTransaction *t, void *context, Error *e)
{
    GroupGetRow group;
    const unsigned number = *(const unsigned *)context;
    char id[16];
    (void)snprintf(id, sizeof(id), "group%06u", number % GROUPS);
    return statement_group_get(t, &(GroupGetParameters){.tenant = "tenant", .id = id}, &group, e);
}

static double measure_reads(Store *store)
{
    const bool is_sqlite = string_equal(store_dialect(store), "sqlite");
    Error error = ERROR_INIT;
    unsigned count = 0;
    const double start = now();
    while (now() - start < seconds) {
        for (int i = 0; i < 64; i++, count++) {
            int r = is_sqlite ? store_read(store, read_job, &count, &error)
                              : store_run(store, STORE_READ, read_job, &count, &error);
            if (r != 1)
                die("read", &error);
        }
    }
    return (double)count / (now() - start);
}

static Store *open_filled(const char *location, unsigned readers)
{
    Error error = ERROR_INIT;
    Store *store = NULL;
    StoreSettings settings = {.location = location, .readers = readers};
    if (store_open(&settings, &store, &error) < 0 || store_migrate(store, NULL, &error) < 0 ||
        store_run(store, STORE_WRITE, fill_job, NULL, &error) < 0)
        die("open", &error);
    return store;
}

/* --- the limit --- */

static sqlite3_stmt *prepare(sqlite3 *database, const char *sql)
{
    sqlite3_stmt *statement = NULL;
    if (sqlite3_prepare_v2(database, sql, -1, &statement, NULL) != SQLITE_OK) {
        (void)fprintf(stderr, "bench_store: %s\n", sqlite3_errmsg(database));
        exit(1);
    }
    return statement;
}

static void step(sqlite3 *database, sqlite3_stmt *statement)
{
    int code = sqlite3_step(statement);
    if (code != SQLITE_ROW && code != SQLITE_DONE) {
        (void)fprintf(stderr, "bench_store: %s\n", sqlite3_errmsg(database));
        exit(1);
    }
    while (code == SQLITE_ROW)
        code = sqlite3_step(statement);
    (void)sqlite3_reset(statement);
}

typedef struct Bare {
    sqlite3 *database;
    sqlite3_stmt *begin, *commit, *get, *set, *add;
} Bare;

static void bare_change(Bare *bare, unsigned number)
{
    static const char text[] =
        "{\"type\":\"task_state\",\"execution\":\"abcdefghij0123456789\",\"state\":\"succeeded\"}";
    char id[16];
    (void)snprintf(id, sizeof(id), "group%06u", number % GROUPS);
    (void)sqlite3_bind_text(bare->get, 1, id, -1, SQLITE_STATIC);
    (void)sqlite3_step(bare->get);
    const sqlite3_int64 size = sqlite3_column_int64(bare->get, 3);
    (void)sqlite3_reset(bare->get);
    (void)sqlite3_bind_int64(bare->set, 1, size + 1);
    (void)sqlite3_bind_text(bare->set, 2, id, -1, SQLITE_STATIC);
    step(bare->database, bare->set);
    for (int i = 0; i < 2; i++) {
        (void)sqlite3_bind_text(bare->add, 1, text, -1, SQLITE_STATIC);
        step(bare->database, bare->add);
    }
}

/* On the store's own file; the store is idle meanwhile. */
static double measure_bare(const char *path, unsigned batch)
{
    Bare bare = {0};
    if (sqlite3_open(path, &bare.database) != SQLITE_OK ||
        sqlite3_exec(bare.database,
                     "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA foreign_keys = ON;"
                     "PRAGMA cache_size = -16000; PRAGMA temp_store = MEMORY",
                     NULL, NULL, NULL) != SQLITE_OK)
        exit(1);
    bare.begin = prepare(bare.database, "BEGIN IMMEDIATE");
    bare.commit = prepare(bare.database, "COMMIT");
    bare.get = prepare(bare.database,
                       "SELECT id, name, description, size, expires, content, colour, weight FROM groups "
                       "WHERE tenant = 'tenant' AND id = ?1");
    bare.set = prepare(bare.database,
                       "UPDATE groups SET size = ?1, expires = NULL WHERE tenant = 'tenant' AND id = ?2");
    bare.add = prepare(bare.database,
                       "INSERT INTO journal (at, text) VALUES (1763776800000000, ?1) RETURNING sequence");
    unsigned count = 0;
    const double start = now();
    while (now() - start < seconds) {
        step(bare.database, bare.begin);
        for (unsigned i = 0; i < batch; i++)
            bare_change(&bare, count++ * 7919);
        step(bare.database, bare.commit);
    }
    const double rate = (double)count / (now() - start);
    sqlite3_stmt *const all[] = {bare.begin, bare.commit, bare.get, bare.set, bare.add};
    for (size_t i = 0; i < ELEMENTSOF(all); i++)
        (void)sqlite3_finalize(all[i]);
    (void)sqlite3_close(bare.database);
    return rate;
}

static int compare_numbers(const void *a, const void *b)
{
    const double *left = a, *right = b;
    return (*left > *right) - (*left < *right);
}

typedef struct Series {
    double ours[ROUNDS], bare[ROUNDS], ratio[ROUNDS];
} Series;

static void print_series(const char *what, Series *series)
{
    for (size_t i = 0; i < ROUNDS; i++)
        series->ratio[i] = series->ours[i] / series->bare[i];
    qsort(series->ours, ROUNDS, sizeof(double), compare_numbers);
    qsort(series->bare, ROUNDS, sizeof(double), compare_numbers);
    qsort(series->ratio, ROUNDS, sizeof(double), compare_numbers);
    (void)printf("sqlite      %-14s %9.0f /s   bare loop %9.0f /s   ratio %.2f (%.2f to %.2f)\n", what,
                 series->ours[ROUNDS / 2], series->bare[ROUNDS / 2], series->ratio[ROUNDS / 2],
                 series->ratio[0], series->ratio[ROUNDS - 1]);
}

/* Ours and the limit in turn, several times, for the machine may be shared. */
static void bench_sqlite(const char *parent)
{
    _cleanup_free_ char *folder = string_format("%s/bastide-bench-XXXXXX", parent);
    if (!mkdtemp(folder)) {
        perror("bench_store: mkdtemp");
        exit(1);
    }
    _cleanup_free_ char *path = path_join(folder, "bench.db");
    _cleanup_free_ char *location = string_format("sqlite:%s", path);
    Series many = {0}, single = {0};
    double reads[ROUNDS] = {0};
    Store *store = open_filled(location, 2);
    for (size_t i = 0; i < ROUNDS; i++) {
        many.ours[i] = measure_many(store);
        many.bare[i] = measure_bare(path, STORE_BATCH_MAXIMUM);
        single.ours[i] = measure_single(store);
        single.bare[i] = measure_bare(path, 1);
        reads[i] = measure_reads(store);
    }
    store_close(store);
    qsort(reads, ROUNDS, sizeof(double), compare_numbers);
    print_series("many", &many);
    print_series("one at a time", &single);
    (void)printf("sqlite      reads in place %9.0f /s\n", reads[ROUNDS / 2]);
    (void)directory_remove(folder);
}

static void bench_postgresql(const char *conninfo)
{
    _cleanup_free_ char *location = string_format("postgresql:%s", conninfo);
    Store *store = open_filled(location, 8);
    const double many = measure_many(store), single = measure_single(store), reads = measure_reads(store);
    store_close(store);
    (void)printf("postgresql  many           %9.0f /s   (8 connections)\n", many);
    (void)printf("postgresql  one at a time  %9.0f /s\n", single);
    (void)printf("postgresql  reads          %9.0f /s\n", reads);
}

int main(int count, char **arguments)
{
    uint64_t given = 0;
    if (count > 1 && (string_to_u64(arguments[1], 600, &given) < 0 || given == 0)) {
        (void)fprintf(stderr, "usage: bench_store [seconds [folder]]\n");
        return 64;
    }
    if (given > 0)
        seconds = (double)given;
    bench_sqlite(count > 2 ? arguments[2] : "/tmp");
    if (getenv("BASTIDE_TEST_POSTGRESQL"))
        bench_postgresql(getenv("BASTIDE_TEST_POSTGRESQL"));
    return 0;
}
