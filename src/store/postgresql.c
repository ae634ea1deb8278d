/* SPDX-License-Identifier: Apache-2.0 */

/* PostgreSQL: each thread has its own connection, statements are prepared by name when first used. One thread
 * writes, so that jobs do not lose to each other and events get their numbers in the order of their commits;
 * its transactions are SERIALIZABLE nevertheless, for others may write too, and what loses a race is run
 * again. A connection that was lost is made again with growing pauses, during which jobs are refused at once;
 * a job that lost it before its COMMIT was sent is run again.
 *
 * Round trips are what a job costs. So the connection is in libpq's pipeline mode: what has no answer that
 * somebody waits for (BEGIN, savepoints, statements of the kind `send`) is only sent, and collect() takes all
 * answers when one is needed, or at the job's end. After a failure the server skips the rest up to the
 * synchronisation point that collect() sets, so the first failure is the one that counts.
 *
 * The planner knows nothing about tables that have just been filled, and then reads them whole; everything
 * that the writer does has an index to go by, so there it is told not to.
 *
 * The connection string must name the host, and sslmode=verify-full unless that is a Unix socket; nothing
 * that decides where the connection goes is taken from the environment. */

#include <errno.h>
#include <libpq-fe.h>
#include <stdio.h>
#include <time.h>

#include "store/backend.h"

enum {
    OLDEST_SERVER = 130000,
    PARAMETERS_MAXIMUM = 64, /* the generator has the same limit */
    INTEGER_TEXT_SIZE = 24,
    STATEMENT_NAME_SIZE = 16,
    KEYWORDS_MAXIMUM = 64,
    BACKOFF_FIRST_USEC = 100 * 1000,
    BACKOFF_LAST_USEC = 10 * 1000 * 1000,
    PENDING_MAXIMUM = 256,   /* answers that may be outstanding */
    PENDING_FLUSH_EVERY = 8, /* the server begins before the client has all of it together */
};

/* Object ids of PostgreSQL's own types, fixed since its beginnings. */
enum {
    TYPE_BOOL = 16,
    TYPE_BYTEA = 17,
    TYPE_INT8 = 20,
    TYPE_INT2 = 21,
    TYPE_INT4 = 23,
    TYPE_TEXT = 25,
    TYPE_TEXT_ARRAY = 1009,
    TYPE_INT8_ARRAY = 1016,
    TYPE_NUMERIC = 1700
};

typedef struct PostgresqlConnection {
    StoreConnection common;
    StoreAccess access;
    PGconn *handle; /* NULL = not connected */
    bool *is_prepared;
    Usec backoff, retry_at; /* monotonic */
    bool is_committing;
    unsigned savepoints;
    /* What was sent and not answered yet: texts that tell what failed. */
    const char *pending[PENDING_MAXIMUM];
    size_t pending_count;
    bool has_sent_statements; /* not only control of the transaction is pending */
} PostgresqlConnection;

/* The store's backend_data. */
typedef struct PostgresqlState {
    bool has_connected; /* once; used while the store is opened only */
} PostgresqlState;

static PostgresqlConnection *postgresql_connection(StoreConnection *connection)
{
    return (PostgresqlConnection *)connection;
}

/* --- errors --- */

static const struct {
    const char *state; /* five characters, or the two of a class */
    ErrorCode error;
    const char *text;
} states[] = {
    {"23505", ERROR_CONFLICT, "It exists already"},
    {"23503", ERROR_BAD_REFERENCE, "Something that is referred to does not exist"},
    {"40001", ERROR_BUSY, "Others change the same data; try again"},
    {"40P01", ERROR_BUSY, "Others change the same data; try again"},
    {"55P03", ERROR_BUSY, "Others hold the same data; try again"},
    {"57014", ERROR_TIMED_OUT, "The database took too long"},
    {"53100", ERROR_IO, "The disk of the database is full"},
    {"53", ERROR_BUSY, "The database has no resources left; try again"},
    {"54", ERROR_TOO_LARGE, "A value is too large for the database"},
    {"58", ERROR_IO, "Reading or writing the database failed"},
    {"57P", ERROR_UNAVAILABLE, "The database is shutting down or starting"},
    {"25006", ERROR_UNAVAILABLE, "The database takes no changes"},
    {"25P03", ERROR_TIMED_OUT, "A job took too long"},
    {"22021", ERROR_BAD_FIELD, "A text is not valid UTF-8"},
    {"08", ERROR_UNAVAILABLE, "The connection to the database was lost"},
};

static void drop(PostgresqlConnection *connection)
{
    if (connection->handle)
        PQfinish(connection->handle);
    connection->handle = NULL;
    connection->pending_count = 0;
    connection->has_sent_statements = false;
}

static int fail_lost(PostgresqlConnection *connection, Error *error)
{
    drop(connection);
    if (connection->is_committing)
        return error_set(
            error, ERROR_UNAVAILABLE,
            "The connection to the database was lost during a commit; the change may have been made or not");
    connection->common.wants_retry = true;
    return error_set(error, ERROR_UNAVAILABLE, "The connection to the database was lost");
}

/* From a result, or NULL when there is not even that. The message of the server is short and without values.
 */
static int fail(PostgresqlConnection *connection, const char *what, const PGresult *result, Error *error)
{
    const char *state = result ? PQresultErrorField(result, PG_DIAG_SQLSTATE) : NULL;
    if (PQstatus(connection->handle) == CONNECTION_BAD || !state || string_starts_with(state, "57P") ||
        string_starts_with(state, "08") || string_equal(state, "25P03"))
        return fail_lost(connection, error);

    const char *message = PQresultErrorField(result, PG_DIAG_MESSAGE_PRIMARY);
    ErrorCode mapped = ERROR_INTERNAL;
    const char *text = "The database refused a statement";
    for (size_t i = 0; i < ELEMENTSOF(states); i++) {
        if (string_starts_with(state, states[i].state)) {
            mapped = states[i].error;
            text = states[i].text;
            break;
        }
    }
    if (string_equal(state, "40001") || string_equal(state, "40P01"))
        connection->common.wants_retry = true;
    int r = error_set(error, mapped, "%s", text);
    error_add_details(error, "%s: %s (%s)", what, message ? message : "no message", state);
    return r;
}

static void clear_result(PGresult **result)
{
    if (*result)
        PQclear(*result);
}
#define _cleanup_result_ _cleanup_(clear_result)

/* --- sending ahead --- */

static const char commit_command[] = "COMMIT";

/* The rest of an answer that is not wanted any more. */
static void cancel(PostgresqlConnection *connection)
{
    char message[256];
    PGcancel *handle = PQgetCancel(connection->handle);
    if (handle)
        (void)PQcancel(handle, message, sizeof(message));
    PQfreeCancel(handle);
}

static int read_rows(const PGresult *result, StatementRows *rows, Error *error);

/* Whose answer is taken, and where to. */
typedef struct Answer {
    const StatementDescription *statement; /* NULL = nobody asks for it */
    StatementRows *rows;
    int64_t affected;
} Answer;

static int read_answer(PostgresqlConnection *connection, const char *what, PGresult *result, Answer *answer,
                       Error *error)
{
    const ExecStatusType status = PQresultStatus(result);
    if (status == PGRES_PIPELINE_ABORTED) /* after a failure, which was told */
        return -EIO;
    if (status != PGRES_SINGLE_TUPLE && status != PGRES_TUPLES_OK && status != PGRES_COMMAND_OK)
        return fail(connection, what, result, error);
    if (what == commit_command && !string_equal(PQcmdStatus(result), commit_command))
        return error_set(error, ERROR_INTERNAL, "The database rolled a job back");
    if (!answer)
        return 0;
    int r = answer->rows ? read_rows(result, answer->rows, error) : 0;
    if (r >= 0 && status != PGRES_SINGLE_TUPLE && answer->statement->is_write)
        (void)string_to_i64(PQcmdTuples(result), 0, INT64_MAX, &answer->affected);
    if (r < 0 && status == PGRES_SINGLE_TUPLE)
        cancel(connection);
    return r;
}

/* Takes the results of one thing that was sent; row by row where there may be many, so that a limit is kept
 * without having them all. */
static int take_results(PostgresqlConnection *connection, const char *what, Answer *answer, Error *error)
{
    int r = 0;
    if (answer && answer->statement->kind == STATEMENT_MANY)
        (void)PQsetSingleRowMode(connection->handle);
    while (connection->handle) {
        _cleanup_result_ PGresult *result = PQgetResult(connection->handle);
        if (!result)
            break;
        if (r >= 0) /* else it is drained only */
            r = read_answer(connection, what, result, answer, error);
    }
    return r;
}

/* Waits for all that was sent, and says what failed first. `answer` belongs to the last of it. */
static int collect(PostgresqlConnection *connection, Answer *answer, Error *error)
{
    const size_t count = connection->pending_count;
    connection->pending_count = 0;
    connection->has_sent_statements = false;
    if (!connection->handle)
        return fail_lost(connection, error);
    if (count == 0)
        return 0;
    if (!PQpipelineSync(connection->handle))
        return fail_lost(connection, error);
    int r = 0;
    Error later = ERROR_INIT;
    for (size_t i = 0; i < count && connection->handle; i++) {
        const bool is_last = i + 1 == count;
        const int taken = take_results(connection, connection->pending[i], is_last && r >= 0 ? answer : NULL,
                                       r >= 0 ? error : &later);
        r = r < 0 ? r : taken;
    }
    if (!connection->handle)
        return r;
    _cleanup_result_ PGresult *synchronised = PQgetResult(connection->handle);
    if (PQresultStatus(synchronised) != PGRES_PIPELINE_SYNC)
        return fail_lost(connection, r >= 0 ? error : &later);
    return r;
}

/* Notes that something was sent; `what` must live until it is collected. */
static int note_sent(PostgresqlConnection *connection, int is_sent, const char *what, Error *error)
{
    if (!is_sent)
        return fail_lost(connection, error);
    connection->pending[connection->pending_count++] = what;
    return 0;
}

static int make_room(PostgresqlConnection *connection, Error *error)
{
    if (!connection->handle)
        return fail_lost(connection, error);
    return connection->pending_count < PENDING_MAXIMUM ? 0 : collect(connection, NULL, error);
}

static int send_command(PostgresqlConnection *connection, const char *sql, Error *error)
{
    int r = make_room(connection, error);
    if (r < 0)
        return r;
    return note_sent(connection, PQsendQueryParams(connection->handle, sql, 0, NULL, NULL, NULL, NULL, 0),
                     sql, error);
}

/* Scripts and descriptions are not for the pipeline. */
static int leave_pipeline(PostgresqlConnection *connection, Error *error)
{
    int r = collect(connection, NULL, error);
    if (r >= 0 && !PQexitPipelineMode(connection->handle))
        r = fail_lost(connection, error);
    return r;
}

static int enter_pipeline(PostgresqlConnection *connection, int r, Error *error)
{
    if (connection->handle && !PQenterPipelineMode(connection->handle))
        return fail_lost(connection, error);
    return r;
}

/* Several commands, outside of the pipeline. */
static int run_commands(PostgresqlConnection *connection, const char *what, const char *sql, Error *error)
{
    _cleanup_result_ PGresult *result = PQexec(connection->handle, sql);
    const ExecStatusType status = PQresultStatus(result);
    if (status != PGRES_COMMAND_OK && status != PGRES_TUPLES_OK)
        return fail(connection, what, result, error);
    return 0;
}

static int run_apart(PostgresqlConnection *connection, const char *what, const char *sql, Error *error)
{
    int r = leave_pipeline(connection, error);
    return r < 0 ? r : enter_pipeline(connection, run_commands(connection, what, sql, error), error);
}

/* --- connecting --- */

static const char *option_value(const PQconninfoOption *options, const char *keyword)
{
    for (; options->keyword; options++)
        if (string_equal(options->keyword, keyword))
            return options->val && *options->val ? options->val : NULL;
    return NULL;
}

/* Every host of a comma-separated list is a path (or an abstract name). */
static bool is_socket_list(const char *hosts)
{
    for (const char *host = hosts; host; host = strchr(host, ',') ? strchr(host, ',') + 1 : NULL)
        if (*host != '/' && *host != '@')
            return false;
    return true;
}

static int check_location(const PQconninfoOption *options, Error *error)
{
    const char *host = option_value(options, "host"), *address = option_value(options, "hostaddr");
    const char *mode = option_value(options, "sslmode");
    if (option_value(options, "service") || getenv("PGSERVICE") || getenv("PGHOSTADDR"))
        return error_set(
            error, ERROR_INSECURE,
            "The database's connection string must say itself where to connect to: no service, and neither "
            "PGSERVICE nor PGHOSTADDR in the environment");
    if (!host && !address)
        return error_set(error, ERROR_INSECURE, "The database's connection string must name the host");
    if (!address && is_socket_list(host))
        return 0;
    if (!string_equal(mode, "verify-full"))
        return error_set(error, ERROR_INSECURE,
                         "A database over the network needs sslmode=verify-full (and sslrootcert) in its "
                         "connection string");
    return 0;
}

/* The parser's messages may repeat a password, so they are not passed on. */
static int parse_location(const char *location, PQconninfoOption **ret_options, Error *error)
{
    PQconninfoOption *options = PQconninfoParse(location, NULL);
    if (!options)
        return error_set(error, ERROR_CONFIGURATION, "The database's connection string cannot be read");
    int r = check_location(options, error);
    if (r < 0) {
        PQconninfoFree(options);
        return r;
    }
    *ret_options = options;
    return 0;
}

static int postgresql_prepare(Store *store, const char *location, Error *error)
{
    PQconninfoOption *options = NULL;
    int r = parse_location(location, &options, error);
    if (r < 0)
        return r;
    PQconninfoFree(options);
    store->backend_data = NEW(PostgresqlState);
    return 0;
}

/* What the connection string leaves open. */
static const struct {
    const char *keyword, *value;
    bool is_forced;
} defaults[] = {
    {"gssencmode", "disable", true}, /* the only encryption is the one that sslmode is about */
    {"client_encoding", "UTF8", true}, {"application_name", "bastide", false},
    {"connect_timeout", "10", false},  {"tcp_user_timeout", "15000", false},
    {"keepalives_idle", "30", false},  {"target_session_attrs", "read-write", false},
};

static const char session_settings[] = "SET statement_timeout = '30s';"
                                       "SET lock_timeout = '10s';"
                                       "SET idle_in_transaction_session_timeout = '60s';"
                                       "SET synchronous_commit = on;"
                                       "SET standard_conforming_strings = on;"
                                       "SET bytea_output = hex;"
                                       "SET timezone = 'UTC'";
static const char writer_settings[] = "SET plan_cache_mode = force_generic_plan;"
                                      "SET enable_seqscan = off;"
                                      "SET jit = off";

static void ignore_notice(_unused_ void *context, _unused_ const char *message) {}

static int set_up(PostgresqlConnection *connection, Error *error)
{
    PGconn *handle = connection->handle;
    if (!handle || PQstatus(handle) != CONNECTION_OK) {
        int r = error_set(error, ERROR_UNAVAILABLE, "The database cannot be reached");
        error_add_details(error, "%s", handle ? PQerrorMessage(handle) : "no memory");
        return r;
    }
    (void)PQsetNoticeProcessor(handle, ignore_notice, NULL);
    if (PQserverVersion(handle) < OLDEST_SERVER)
        return error_set(error, ERROR_CONFIGURATION, "PostgreSQL %d or newer is needed",
                         OLDEST_SERVER / 10000);
    if (!string_equal(PQparameterStatus(handle, "server_encoding"), "UTF8"))
        return error_set(error, ERROR_CONFIGURATION, "The database must have the encoding UTF8");
    int r = run_commands(connection, "settings", session_settings, error);
    if (r >= 0 && connection->access == STORE_WRITE)
        r = run_commands(connection, "settings", writer_settings, error);
    return r < 0 ? r : enter_pipeline(connection, r, error);
}

static int open_handle(PostgresqlConnection *connection, Error *error)
{
    const char *keywords[KEYWORDS_MAXIMUM + 1] = {0}, *values[KEYWORDS_MAXIMUM + 1] = {0};
    PQconninfoOption *options = NULL;
    size_t count = 0;
    int r = parse_location(connection->common.store->location, &options, error);
    if (r < 0)
        return r;
    ASSERT(options);
    for (const PQconninfoOption *option = options; option->keyword && count < KEYWORDS_MAXIMUM / 2;
         option++) {
        if (!option->val)
            continue;
        keywords[count] = option->keyword;
        values[count++] = option->val;
    }
    for (size_t i = 0; i < ELEMENTSOF(defaults); i++) {
        if (!defaults[i].is_forced && option_value(options, defaults[i].keyword))
            continue;
        keywords[count] = defaults[i].keyword; /* the last one counts */
        values[count++] = defaults[i].value;
    }
    connection->handle = PQconnectdbParams(keywords, values, 0);
    PQconninfoFree(options);
    memset(connection->is_prepared, 0, connection->common.store->schema->statement_count * sizeof(bool));
    r = set_up(connection, error);
    if (r < 0)
        drop(connection);
    return r;
}

static Usec monotonic_now(void)
{
    struct timespec now;
    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (Usec)now.tv_sec * USEC_PER_SEC + (Usec)now.tv_nsec / 1000;
}

static int ensure_connected(PostgresqlConnection *connection, Error *error)
{
    if (connection->handle && PQstatus(connection->handle) == CONNECTION_OK)
        return 0;
    drop(connection);
    if (monotonic_now() < connection->retry_at)
        return error_set(error, ERROR_UNAVAILABLE,
                         "The database cannot be reached; trying again in a moment");
    int r = open_handle(connection, error);
    if (r >= 0) {
        connection->backoff = 0;
        return 0;
    }
    connection->common.wants_retry = false;
    connection->backoff =
        MIN(MAX(connection->backoff * 2, (Usec)BACKOFF_FIRST_USEC), (Usec)BACKOFF_LAST_USEC);
    connection->retry_at =
        monotonic_now() + connection->backoff / 2 + random_below(&system_random, connection->backoff / 2);
    return r;
}

static void postgresql_disconnect(StoreConnection *common)
{
    PostgresqlConnection *connection = postgresql_connection(common);
    drop(connection);
    free(connection->is_prepared);
    free(connection);
}

/* The first one must work, so that a wrong setting is seen at the start; the others connect when they have
 * work. */
static int postgresql_connect(Store *store, StoreAccess access, StoreConnection **ret_connection,
                              Error *error)
{
    PostgresqlState *state = store->backend_data;
    PostgresqlConnection *connection = NEW(PostgresqlConnection);
    connection->common.store = store;
    connection->access = access;
    connection->is_prepared = NEW_ARRAY(bool, store->schema->statement_count);
    if (!state->has_connected) {
        int r = open_handle(connection, error);
        if (r < 0) {
            postgresql_disconnect(&connection->common);
            return r;
        }
        state->has_connected = true;
    }
    *ret_connection = &connection->common;
    return 0;
}

/* --- transactions --- */

static bool postgresql_is_open(const StoreConnection *common)
{
    const PostgresqlConnection *connection = (const PostgresqlConnection *)common;
    if (!connection->handle)
        return false;
    const PGTransactionStatusType status = PQtransactionStatus(connection->handle);
    return status == PQTRANS_INTRANS || status == PQTRANS_INERROR || status == PQTRANS_ACTIVE;
}

static int postgresql_begin(StoreConnection *common, StoreAccess access, Error *error)
{
    PostgresqlConnection *connection = postgresql_connection(common);
    int r = ensure_connected(connection, error);
    if (r < 0)
        return r;
    connection->savepoints = 0;
    return send_command(connection,
                        access == STORE_WRITE ? "BEGIN ISOLATION LEVEL SERIALIZABLE"
                                              : "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY",
                        error);
}

static int postgresql_collect(StoreConnection *connection, Error *error)
{
    return collect(postgresql_connection(connection), NULL, error);
}

static int postgresql_commit(StoreConnection *common, Error *error)
{
    PostgresqlConnection *connection = postgresql_connection(common);
    connection->is_committing = true;
    int r = send_command(connection, commit_command, error);
    if (r >= 0)
        r = collect(connection, NULL, error);
    connection->is_committing = false;
    common->is_commit_refused = r < 0 && connection->handle;
    return r;
}

/* What is pending is of no interest any more, but for a lost connection. */
static void discard_pending(PostgresqlConnection *connection)
{
    Error error = ERROR_INIT;
    if (connection->pending_count > 0)
        (void)collect(connection, NULL, &error);
}

static void postgresql_roll_back(StoreConnection *common)
{
    PostgresqlConnection *connection = postgresql_connection(common);
    const bool wants_retry = common->wants_retry;
    Error error = ERROR_INIT;
    discard_pending(connection);
    if (send_command(connection, "ROLLBACK", &error) < 0 || collect(connection, NULL, &error) < 0)
        drop(connection); /* the server rolls back what it cannot talk about */
    common->wants_retry = wants_retry;
}

/* Failures of what was sent before are not the savepoint's. */
static int postgresql_savepoint(StoreConnection *common, Error *error)
{
    PostgresqlConnection *connection = postgresql_connection(common);
    int r = connection->has_sent_statements ? collect(connection, NULL, error) : 0;
    if (r >= 0)
        r = send_command(connection, "SAVEPOINT job", error);
    if (r >= 0)
        connection->savepoints++;
    return r;
}

static int postgresql_release(StoreConnection *common, Error *error)
{
    PostgresqlConnection *connection = postgresql_connection(common);
    connection->savepoints--;
    return send_command(connection, "RELEASE job", error);
}

static int postgresql_roll_back_savepoint(StoreConnection *common, Error *error)
{
    PostgresqlConnection *connection = postgresql_connection(common);
    discard_pending(connection);
    connection->savepoints--;
    if (!postgresql_is_open(common))
        return error_set(error, ERROR_UNAVAILABLE, "The connection to the database was lost");
    int r = send_command(connection, "ROLLBACK TO job", error);
    if (r >= 0)
        r = send_command(connection, "RELEASE job", error);
    return r < 0 ? r : collect(connection, NULL, error);
}

/* --- statements --- */

static const Oid parameter_types[] = {[STORE_INTEGER] = TYPE_INT8,
                                      [STORE_TEXT] = TYPE_TEXT,
                                      [STORE_BLOB] = TYPE_BYTEA,
                                      [STORE_INTEGERS] = TYPE_INT8_ARRAY,
                                      [STORE_TEXTS] = TYPE_TEXT_ARRAY};

static void statement_name(const StatementDescription *statement, char name[static STATEMENT_NAME_SIZE])
{
    (void)snprintf(name, STATEMENT_NAME_SIZE, "s%u", statement->index);
}

static int prepare(PostgresqlConnection *connection, const StatementDescription *statement, Error *error)
{
    Oid types[PARAMETERS_MAXIMUM];
    for (size_t i = 0; i < statement->parameter_count; i++)
        types[i] = parameter_types[statement->parameters[i].type];
    char name[STATEMENT_NAME_SIZE];
    statement_name(statement, name);
    _cleanup_result_ PGresult *result =
        PQprepare(connection->handle, name, statement->postgresql, (int)statement->parameter_count, types);
    if (PQresultStatus(result) != PGRES_COMMAND_OK)
        return fail(connection, statement->name, result, error);
    connection->is_prepared[statement->index] = true;
    return 0;
}

static int ensure_prepared(PostgresqlConnection *connection, const StatementDescription *statement,
                           Error *error)
{
    if (!connection->handle)
        return fail_lost(connection, error);
    if (connection->is_prepared[statement->index])
        return 0;
    ASSERT(statement->parameter_count <= PARAMETERS_MAXIMUM);
    int r = leave_pipeline(connection, error);
    return r < 0 ? r : enter_pipeline(connection, prepare(connection, statement, error), error);
}

/* Parameters as libpq wants them; integers as text, blobs as bytes. */
typedef struct Arguments {
    const char *values[PARAMETERS_MAXIMUM];
    int lengths[PARAMETERS_MAXIMUM];
    int formats[PARAMETERS_MAXIMUM];
    char integers[PARAMETERS_MAXIMUM][INTEGER_TEXT_SIZE];
} Arguments;

static int fill_arguments(const StoreConnection *connection, const StatementDescription *statement,
                          const void *parameters, Arguments *arguments, Error *error)
{
    for (size_t i = 0; i < statement->parameter_count; i++) {
        StatementValue value;
        int r = statement_get_parameter(connection, statement, i, parameters, &value, error);
        if (r < 0)
            return r;
        arguments->values[i] = NULL;
        arguments->lengths[i] = arguments->formats[i] = 0;
        if (value.is_null)
            continue;
        switch (statement->parameters[i].type) {
        case STORE_INTEGER:
            (void)snprintf(arguments->integers[i], INTEGER_TEXT_SIZE, "%lld", (long long)value.integer);
            arguments->values[i] = arguments->integers[i];
            break;
        case STORE_TEXT:
        case STORE_INTEGERS:
        case STORE_TEXTS:
            arguments->values[i] = value.text;
            break;
        case STORE_BLOB:
            if (value.blob.size > STATEMENT_BYTES_MAXIMUM)
                return error_set(error, ERROR_TOO_LARGE, "A value is too large for the database");
            arguments->values[i] = (const char *)value.blob.data;
            arguments->lengths[i] = (int)value.blob.size;
            arguments->formats[i] = 1;
            break;
        }
    }
    return 0;
}

static int read_integer(const char *text, int64_t *ret_value)
{
    if (string_equal(text, "t") || string_equal(text, "f")) { /* a condition, 1 or 0 on SQLite */
        *ret_value = *text == 't';
        return 0;
    }
    return string_to_i64(text, INT64_MIN, INT64_MAX, ret_value);
}

static int read_column(const PGresult *result, int row, StatementRows *rows, size_t index,
                       StatementValue *ret_value, Error *error)
{
    const StatementField *field = &rows->columns[index];
    const int column = (int)index;
    const char *text = PQgetvalue(result, row, column);
    const size_t length = (size_t)PQgetlength(result, row, column);
    StatementValue value = {.is_null = PQgetisnull(result, row, column) != 0};
    void *copy = NULL;
    int r = 0;

    if (value.is_null) {
        *ret_value = value;
        return 0;
    }
    switch (field->type) {
    case STORE_INTEGER:
        r = read_integer(text, &value.integer);
        break;
    case STORE_TEXT:
        r = statement_rows_copy(rows, text, length, &copy, error);
        value.text = copy;
        break;
    case STORE_BLOB:
        if (!string_starts_with(text, "\\x")) {
            r = -EBADMSG;
            break;
        }
        r = statement_rows_copy(rows, NULL, (length - 2) / 2, &copy, error);
        value.blob.data = copy;
        if (r >= 0)
            r = hex_decode(text + 2, copy, (length - 2) / 2, &value.blob.size);
        break;
    case STORE_INTEGERS:
    case STORE_TEXTS:
        r = -EBADMSG;
        break;
    }
    if (r < 0 && !error_is_set(error)) {
        r = error_set(error, ERROR_INTERNAL, "A stored value has the wrong type");
        error_add_details(error, "column %s of statement %s", field->name, rows->statement->name);
    }
    *ret_value = value;
    return r;
}

static int read_rows(const PGresult *result, StatementRows *rows, Error *error)
{
    const int count = PQntuples(result);
    if (count > 0 && PQnfields(result) != (int)rows->column_count)
        return error_set(error, ERROR_INTERNAL, "An answer of the database has the wrong columns");
    for (int i = 0; i < count; i++) {
        void *row = NULL;
        int r = statement_rows_add(rows, &row, error);
        for (size_t column = 0; r >= 0 && column < rows->column_count; column++) {
            StatementValue value;
            r = read_column(result, i, rows, column, &value, error);
            if (r >= 0)
                r = statement_set_column(rows, column, row, &value, error);
        }
        if (r < 0)
            return r;
    }
    return 0;
}

static int send_statement(PostgresqlConnection *connection, const StatementDescription *statement,
                          const Arguments *arguments, Error *error)
{
    char name[STATEMENT_NAME_SIZE];
    statement_name(statement, name);
    int r = make_room(connection, error);
    if (r < 0)
        return r;
    return note_sent(connection,
                     PQsendQueryPrepared(connection->handle, name, (int)statement->parameter_count,
                                         arguments->values, arguments->lengths, arguments->formats, 0),
                     statement->name, error);
}

static int postgresql_execute(StoreConnection *common, const StatementDescription *statement,
                              const void *parameters, StatementRows *rows, int64_t *ret_affected,
                              Error *error)
{
    PostgresqlConnection *connection = postgresql_connection(common);
    Arguments arguments;
    *ret_affected = 0;
    int r = ensure_prepared(connection, statement, error);
    if (r >= 0)
        r = fill_arguments(common, statement, parameters, &arguments, error);
    if (r >= 0)
        r = send_statement(connection, statement, &arguments, error);
    if (r < 0)
        return r;
    if (statement->kind == STATEMENT_SEND) {
        connection->has_sent_statements = true;
        if (connection->pending_count % PENDING_FLUSH_EVERY == 0 && PQflush(connection->handle) < 0)
            return fail_lost(connection, error);
        return 0;
    }
    Answer answer = {.statement = statement, .rows = rows};
    r = collect(connection, &answer, error);
    *ret_affected = answer.affected;
    return r;
}

static bool is_type_of(Oid type, StoreType expected)
{
    switch (expected) {
    case STORE_INTEGER:
        return type == TYPE_INT8 || type == TYPE_INT4 || type == TYPE_INT2 || type == TYPE_NUMERIC ||
               type == TYPE_BOOL;
    case STORE_TEXT:
        return type == TYPE_TEXT;
    case STORE_BLOB:
        return type == TYPE_BYTEA;
    case STORE_INTEGERS:
    case STORE_TEXTS:
        break;
    }
    return false;
}

static int check_types(PostgresqlConnection *connection, const StatementDescription *statement, Error *error)
{
    char name[STATEMENT_NAME_SIZE];
    statement_name(statement, name);
    _cleanup_result_ PGresult *result = PQdescribePrepared(connection->handle, name);
    if (PQresultStatus(result) != PGRES_COMMAND_OK)
        return fail(connection, statement->name, result, error);
    const bool is_count = statement->kind == STATEMENT_COUNT;
    bool is_right = PQnfields(result) == (is_count ? 1 : (int)statement->column_count);
    for (int i = 0; is_right && i < PQnfields(result); i++)
        is_right = is_type_of(PQftype(result, i), is_count ? STORE_INTEGER : statement->columns[i].type);
    if (is_right)
        return 0;
    int r = error_set(error, ERROR_INTERNAL, "A statement is not what its description says");
    error_add_details(error, "statement %s", statement->name);
    return r;
}

static int postgresql_check_statement(StoreConnection *common, const StatementDescription *statement,
                                      Error *error)
{
    PostgresqlConnection *connection = postgresql_connection(common);
    int r = ensure_prepared(connection, statement, error);
    if (r >= 0)
        r = leave_pipeline(connection, error);
    return r < 0 ? r : enter_pipeline(connection, check_types(connection, statement, error), error);
}

/* --- migrations --- */

/* Read committed: what is read after the lock is the latest, not what was there when the waiting began. */
static int postgresql_lock_schema(StoreConnection *common, Error *error)
{
    PostgresqlConnection *connection = postgresql_connection(common);
    if (connection->savepoints > 0) /* the transaction has other jobs already */
        return error_set(error, ERROR_BUSY, "The schema cannot change while other work is going on");
    return run_apart(connection, "lock",
                     "ROLLBACK; BEGIN ISOLATION LEVEL READ COMMITTED; SET LOCAL statement_timeout = 0;"
                     "SET LOCAL lock_timeout = 0; SELECT pg_advisory_xact_lock(7238533219154617441)",
                     error);
}

static int postgresql_run_script(StoreConnection *connection, const char *sql, Error *error)
{
    return run_apart(postgresql_connection(connection), "script", sql, error);
}

const StoreBackend postgresql_backend = {
    .name = "postgresql",
    .batch_maximum = 64,
    .list_open = '{',
    .list_close = '}',
    .prepare = postgresql_prepare,
    .connect = postgresql_connect,
    .disconnect = postgresql_disconnect,
    .begin = postgresql_begin,
    .settle = postgresql_collect,
    .collect = postgresql_collect,
    .commit = postgresql_commit,
    .roll_back = postgresql_roll_back,
    .is_open = postgresql_is_open,
    .savepoint = postgresql_savepoint,
    .release = postgresql_release,
    .roll_back_savepoint = postgresql_roll_back_savepoint,
    .execute = postgresql_execute,
    .check_statement = postgresql_check_statement,
    .lock_schema = postgresql_lock_schema,
    .run_script = postgresql_run_script,
};
