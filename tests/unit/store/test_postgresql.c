/* SPDX-License-Identifier: Apache-2.0 */

/* What only PostgreSQL has: where it may connect to, races between jobs, and connections that end. */

#include <errno.h>
#include <libpq-fe.h>
#include <semaphore.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

#include "support.h"

static int nothing_job(_unused_ StoreTransaction *t, _unused_ void *context, _unused_ Error *e)
{
    return 0;
}

static void assert_refused(const char *conninfo, ErrorCode code)
{
    _cleanup_free_ char *location = string_format("postgresql:%s", conninfo);
    StoreSettings settings = {.location = location, .is_synchronous = true};
    Store *store = NULL;
    Error error = ERROR_INIT;
    assert_true(store_open(&settings, &store, &error) < 0);
    if (error.code != code)
        fail_msg("%s: %s (%s)", conninfo, error.text, error.details);
    assert_null(strstr(error.text, "hunter2"));
    assert_null(strstr(error.details, "hunter2"));
    assert_null(store);
}

/* A connection that others could read or answer is refused before a packet is sent. */
static void test_insecure_locations(_unused_ void **state)
{
    static const char *const refused[] = {
        "host=127.0.0.1 user=x password=hunter2",
        "host=localhost sslmode=disable",
        "host=localhost sslmode=prefer",
        "host=localhost sslmode=require",
        "host=db.example sslmode=verify-ca password=hunter2",
        "host=/tmp,db.example sslmode=require",
        "host=/tmp hostaddr=127.0.0.1",
        "hostaddr=127.0.0.1 sslmode=require",
        "user=x dbname=y",
        "",
        "service=elsewhere host=/tmp",
        "postgresql://x:hunter2@db.example/y?sslmode=require",
        "postgresql://x:hunter2@db.example/y",
    };
    for (size_t i = 0; i < ELEMENTSOF(refused); i++)
        assert_refused(refused[i], ERROR_INSECURE);
    assert_refused("host=/tmp password='hunter2", ERROR_CONFIGURATION);
    assert_refused("hunter2", ERROR_CONFIGURATION);
    assert_refused("host=/tmp nonsense=hunter2", ERROR_CONFIGURATION);
    /* Allowed, but nobody is there. */
    assert_refused("host=/nonexistent password=hunter2", ERROR_UNAVAILABLE);
    assert_refused("host=127.0.0.1 port=1 sslmode=verify-full sslrootcert=/nonexistent password=hunter2",
                   ERROR_UNAVAILABLE);

    /* The environment does not redirect it. */
    assert_int_equal(setenv("PGHOSTADDR", "127.0.0.1", 1), 0);
    assert_refused("host=/tmp", ERROR_INSECURE);
    assert_int_equal(unsetenv("PGHOSTADDR"), 0);
    assert_int_equal(setenv("PGSERVICE", "elsewhere", 1), 0);
    assert_refused("host=/tmp", ERROR_INSECURE);
    assert_int_equal(unsetenv("PGSERVICE"), 0);
}

static void test_no_reading_in_place(_unused_ void **state)
{
    Store *store = test_open_new(1, false);
    Error error = ERROR_INIT;
    assert_int_equal(store_read(store, nothing_job, NULL, &error), -EOPNOTSUPP);
    assert_true(error_is_set(&error));
    store_close(store);
}

static int open_over_network(const char *host, const char *authority, Error *error)
{
    Store *store = NULL;
    _cleanup_free_ char *location = string_format(
        "postgresql:host=%s port=%s user=%s dbname=postgres sslmode=verify-full sslrootcert=%s", host,
        getenv("BASTIDE_TEST_POSTGRESQL_PORT"), getenv("BASTIDE_TEST_POSTGRESQL_USER"), authority);
    StoreSettings settings = {.location = location, .is_synchronous = true};
    int r = store_open(&settings, &store, error);
    if (r >= 0)
        r = store_run(store, STORE_READ, nothing_job, NULL, error);
    store_close(store);
    return r;
}

/* Over the network: the right name from the right authority, or nothing. */
static void test_network(_unused_ void **state)
{
    const char *authority = getenv("BASTIDE_TEST_POSTGRESQL_CA");
    const char *other = getenv("BASTIDE_TEST_POSTGRESQL_OTHER_CA");
    assert_non_null(authority);
    assert_non_null(other);
    Error error = ERROR_INIT;
    if (open_over_network("localhost", authority, &error) < 0)
        fail_msg("%s (%s)", error.text, error.details);
    assert_true(open_over_network("127.0.0.1", authority, &error) < 0);
    assert_int_equal(error.code, ERROR_UNAVAILABLE);
    assert_non_null(strstr(error.details, "does not match"));
    error_clear(&error);
    assert_true(open_over_network("localhost", other, &error) < 0);
    assert_int_equal(error.code, ERROR_UNAVAILABLE);
    assert_non_null(strstr(error.details, "certificate verify failed"));
}

/* --- races --- */

typedef struct Race {
    pthread_barrier_t both_have_read;
    atomic_uint attempts;
} Race;

static int race_job(StoreTransaction *t, void *context, Error *e)
{
    Race *race = context;
    CounterGetRow row;
    int r = statement_counter_get(t, &(CounterGetParameters){.name = "second"}, &row, e);
    if (r < 0)
        return r;
    if (atomic_fetch_add(&race->attempts, 1) < 2)
        (void)pthread_barrier_wait(&race->both_have_read);
    return statement_counter_set(t, &(CounterSetParameters){.name = "second", .value = row.value + 1}, e);
}

static sem_t finished;

static void post_done(int result, _unused_ const Error *error, void *context)
{
    if (result < 0)
        atomic_fetch_add(&((Race *)context)->attempts, 1000);
    (void)sem_post(&finished);
}

static int counter_job(StoreTransaction *t, void *context, Error *e)
{
    CounterGetRow row = {0};
    int r = statement_counter_get(t, &(CounterGetParameters){.name = "second"}, &row, e);
    *(int64_t *)context = row.value;
    return r;
}

/* Two programs, for a store has one writer. */
static void run_race(StoreJob job)
{
    Store *store = test_open_new(1, false), *other = test_open(1, false);
    Race race = {0};
    Error error = ERROR_INIT;
    assert_int_equal(pthread_barrier_init(&race.both_have_read, NULL, 2), 0);
    assert_int_equal(sem_init(&finished, 0, 0), 0);
    assert_int_equal(store_submit(store, STORE_WRITE, job, post_done, &race, &error), 0);
    assert_int_equal(store_submit(other, STORE_WRITE, job, post_done, &race, &error), 0);
    (void)sem_wait(&finished);
    (void)sem_wait(&finished);
    assert_in_range(atomic_load(&race.attempts), 3, 13);
    int64_t value = 0;
    test_run(store, STORE_READ, counter_job, &value);
    assert_int_equal(value, 2);
    (void)sem_destroy(&finished);
    (void)pthread_barrier_destroy(&race.both_have_read);
    store_close(other);
    store_close(store);
}

/* Two jobs read the same and write what follows from it: one is run again. */
static void test_lost_race_runs_again(_unused_ void **state)
{
    run_race(race_job);
}

/* Inside a savepoint too: the race is lost for the whole job. */
static int nested_race_job(StoreTransaction *t, void *context, Error *e)
{
    int r = store_nested(t, race_job, context, e);
    if (r < 0)
        error_clear(e); /* as one who expects a conflict would */
    return 0;
}

static void test_lost_race_in_savepoint(_unused_ void **state)
{
    run_race(nested_race_job);
}

/* --- connections that end --- */

#define END_ALL                                                                                              \
    "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE application_name = 'bastide'"

static unsigned attempts;

static int cut_once_job(StoreTransaction *t, _unused_ void *context, Error *e)
{
    int r = test_journal_job(t, (char[]){"first"}, e);
    assert_true(r >= 0);
    if (attempts++ == 0)
        test_postgresql(END_ALL);
    return test_journal_job(t, (char[]){"second"}, e);
}

static int cut_before_commit_job(StoreTransaction *t, _unused_ void *context, Error *e)
{
    attempts++;
    return test_journal_job(t, (char[]){"x"}, e);
}

static int64_t count_rows(const char *sql)
{
    int64_t count = -1;
    PGconn *connection = PQconnectdb(getenv("BASTIDE_TEST_POSTGRESQL"));
    PGresult *result = PQexec(connection, sql);
    assert_int_equal(PQresultStatus(result), PGRES_TUPLES_OK);
    assert_int_equal(string_to_i64(PQgetvalue(result, 0, 0), 0, INT64_MAX, &count), 0);
    PQclear(result);
    PQfinish(connection);
    return count;
}

static void test_connection_ends(_unused_ void **state)
{
    Store *store = test_open_new(1, false);
    /* Between two jobs. */
    test_run(store, STORE_WRITE, test_journal_job, (char[]){"x"});
    test_postgresql(END_ALL);
    test_run(store, STORE_WRITE, test_journal_job, (char[]){"x"});
    assert_int_equal(test_count_journal(store), 2);

    /* In the middle of one: it is run again, and what it did before is not there twice. */
    attempts = 0;
    test_run(store, STORE_WRITE, cut_once_job, NULL);
    assert_int_equal(attempts, 2);
    assert_int_equal(test_count_journal(store), 4);

    /* During the COMMIT: nobody knows, so it is neither repeated nor called done. */
    test_postgresql("CREATE FUNCTION die() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN "
                    "PERFORM pg_terminate_backend(pg_backend_pid()); RETURN NULL; END $$;"
                    "CREATE CONSTRAINT TRIGGER die AFTER INSERT ON journal DEFERRABLE INITIALLY DEFERRED "
                    "FOR EACH ROW EXECUTE FUNCTION die()");
    attempts = 0;
    Error error = ERROR_INIT;
    assert_true(store_run(store, STORE_WRITE, cut_before_commit_job, NULL, &error) < 0);
    assert_int_equal(error.code, ERROR_UNAVAILABLE);
    assert_non_null(strstr(error.text, "commit"));
    assert_int_equal(attempts, 1);
    test_postgresql("DROP TRIGGER die ON journal; DROP FUNCTION die");
    assert_int_equal(test_count_journal(store), 4);
    store_close(store);
    assert_int_equal(count_rows("SELECT COUNT(*) FROM pg_stat_activity WHERE application_name = 'bastide'"),
                     0);
}

static void postgresql_elsewhere(const char *sql)
{
    _cleanup_free_ char *before = string_duplicate(getenv("BASTIDE_TEST_POSTGRESQL"));
    _cleanup_free_ char *other = string_format("%s dbname=template1", before);
    assert_int_equal(setenv("BASTIDE_TEST_POSTGRESQL", other, 1), 0);
    test_postgresql(sql);
    assert_int_equal(setenv("BASTIDE_TEST_POSTGRESQL", before, 1), 0);
}

/* While nobody can connect, jobs are refused at once; afterwards it goes on by itself. */
static void test_outage(_unused_ void **state)
{
    Store *store = test_open_new(1, false);
    postgresql_elsewhere("ALTER DATABASE postgres ALLOW_CONNECTIONS false");
    postgresql_elsewhere(END_ALL);
    unsigned without_trying = 0;
    for (unsigned i = 0; i < 200; i++) {
        Error error = ERROR_INIT;
        assert_true(store_run(store, STORE_WRITE, test_journal_job, (char[]){"x"}, &error) < 0);
        assert_int_equal(error.code, ERROR_UNAVAILABLE);
        without_trying += strstr(error.text, "in a moment") != NULL;
    }
    assert_in_range(without_trying, 100, 199);
    postgresql_elsewhere("ALTER DATABASE postgres ALLOW_CONNECTIONS true");
    int r = -1;
    for (unsigned i = 0; i < 150 && r < 0; i++) {
        Error error = ERROR_INIT;
        r = store_run(store, STORE_WRITE, test_journal_job, (char[]){"x"}, &error);
        if (r < 0)
            (void)nanosleep(&(struct timespec){.tv_nsec = 100 * 1000 * 1000}, NULL);
    }
    assert_true(r >= 0);
    assert_int_equal(test_count_journal(store), 1);
    store_close(store);
}

/* The session is what the store asked for, whatever the database's own settings are. */
static void test_session_settings(_unused_ void **state)
{
    test_postgresql("ALTER DATABASE postgres SET statement_timeout = 0; ALTER DATABASE postgres SET "
                    "synchronous_commit = off; ALTER DATABASE postgres SET bytea_output = 'escape';"
                    "ALTER DATABASE postgres SET default_transaction_isolation = 'read committed'");
    Store *store = test_open_new(1, true);
    test_run(store, STORE_WRITE, test_journal_job, (char[]){"x"});
    store_close(store);
    store = test_open(1, true);
    test_postgresql("CREATE TABLE seen AS SELECT ''::text AS name, ''::text AS setting WHERE false;"
                    "CREATE FUNCTION look() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN "
                    "INSERT INTO seen SELECT s.name, s.setting FROM pg_settings s; RETURN NULL; END $$;"
                    "CREATE TRIGGER look AFTER INSERT ON journal FOR EACH ROW EXECUTE FUNCTION look()");
    test_run(store, STORE_WRITE, test_journal_job, (char[]){"x"});
    assert_int_equal(
        count_rows("SELECT COUNT(*) FROM seen WHERE (name, setting) IN (('statement_timeout', '30000'), "
                   "('lock_timeout', '10000'), ('idle_in_transaction_session_timeout', '60000'), "
                   "('synchronous_commit', 'on'), ('bytea_output', 'hex'), "
                   "('transaction_isolation', 'serializable'), ('client_encoding', 'UTF8'))"),
        7);
    store_close(store);
    test_postgresql("ALTER DATABASE postgres RESET ALL");
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_insecure_locations),
        cmocka_unit_test(test_no_reading_in_place),
        cmocka_unit_test(test_network),
        cmocka_unit_test(test_lost_race_runs_again),
        cmocka_unit_test(test_lost_race_in_savepoint),
        cmocka_unit_test(test_connection_ends),
        cmocka_unit_test(test_outage),
        cmocka_unit_test(test_session_settings),
    };
    if (!getenv("BASTIDE_TEST_POSTGRESQL"))
        return 64;
    test_dialect = "postgresql";
    int failed = cmocka_run_group_tests_name("postgresql only", tests, NULL, NULL);
    test_database_done();
    return failed;
}
