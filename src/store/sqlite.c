/* SPDX-License-Identifier: Apache-2.0 */

/* SQLite: write-ahead log, every commit synced, foreign keys, nothing of the file trusted. The writer's
 * checkpoints run between batches, after the replies, and never inside a COMMIT.
 *
 * A COMMIT that fails while writing or syncing leaves it open whether the transaction will be there after a
 * crash, so the store then refuses to write (a failed sync must not be tried again: the kernel may have
 * dropped the pages). A full disk is different: the commit record is not there, the batch is undone and
 * everything goes on. */

#include <errno.h>
#include <fcntl.h>
#include <sqlite3.h>
#include <sys/stat.h>
#include <time.h>

#include "base/file.h"
#include "base/log.h"
#include "store/backend.h"

typedef enum Control {
    CONTROL_BEGIN_READ,
    CONTROL_BEGIN_WRITE,
    CONTROL_COMMIT,
    CONTROL_ROLL_BACK,
    CONTROL_SAVEPOINT,
    CONTROL_RELEASE,
    CONTROL_ROLL_BACK_TO,
    _CONTROL_MAX,
} Control;

static const char *const controls[_CONTROL_MAX] = {
    [CONTROL_BEGIN_READ] = "BEGIN",
    [CONTROL_BEGIN_WRITE] = "BEGIN IMMEDIATE",
    [CONTROL_COMMIT] = "COMMIT",
    [CONTROL_ROLL_BACK] = "ROLLBACK",
    [CONTROL_SAVEPOINT] = "SAVEPOINT job",
    [CONTROL_RELEASE] = "RELEASE job",
    [CONTROL_ROLL_BACK_TO] = "ROLLBACK TO job",
};

typedef struct SqliteConnection {
    StoreConnection common;
    sqlite3 *database;
    sqlite3_stmt *controls[_CONTROL_MAX];
    sqlite3_stmt **statements; /* by index in the schema; NULL = not prepared yet */
    time_t deadline;           /* monotonic; 0 = none */
    int log_pages, next_checkpoint;
    bool has_checkpoint_failed;
} SqliteConnection;

enum {
    BUSY_MILLISECONDS = 5000,
    PROGRESS_INTERVAL = 50 * 1000, /* steps of the virtual machine, about a millisecond */
    CHECKPOINT_PAGES = 1000,
    CHECKPOINT_FORCED_PAGES = 16 * 1024,
    CHECKPOINT_BUSY_MILLISECONDS = 100,
};

static SqliteConnection *sqlite_connection(StoreConnection *connection)
{
    return (SqliteConnection *)connection;
}

/* --- errors --- */

static const struct {
    int code; /* extended, or primary */
    ErrorCode error;
    const char *text;
} sqlite_errors[] = {
    {SQLITE_CONSTRAINT_UNIQUE, ERROR_CONFLICT, "It exists already"},
    {SQLITE_CONSTRAINT_PRIMARYKEY, ERROR_CONFLICT, "It exists already"},
    {SQLITE_CONSTRAINT_ROWID, ERROR_CONFLICT, "It exists already"},
    {SQLITE_CONSTRAINT_FOREIGNKEY, ERROR_BAD_REFERENCE, "Something that is referred to does not exist"},
    {SQLITE_BUSY, ERROR_BUSY, "Another program holds the database"},
    {SQLITE_FULL, ERROR_IO, "The disk of the database is full"},
    {SQLITE_IOERR, ERROR_IO, "Reading or writing the database failed"},
    {SQLITE_CORRUPT, ERROR_IO, "The database file is damaged"},
    {SQLITE_NOTADB, ERROR_IO, "The database file is not a database"},
    {SQLITE_CANTOPEN, ERROR_IO, "The database file cannot be opened"},
    {SQLITE_READONLY, ERROR_IO, "The database file cannot be written"},
    {SQLITE_TOOBIG, ERROR_TOO_LARGE, "A value is too large for the database"},
    {SQLITE_INTERRUPT, ERROR_TIMED_OUT, "The database took too long"},
};

static int fail(SqliteConnection *connection, const char *what, Error *error)
{
    int code = sqlite3_extended_errcode(connection->database);
    ErrorCode mapped = ERROR_INTERNAL;
    const char *text = "The database refused a statement";
    for (size_t i = 0; i < ELEMENTSOF(sqlite_errors); i++) {
        if (code == sqlite_errors[i].code || (code & 0xff) == sqlite_errors[i].code) {
            mapped = sqlite_errors[i].error;
            text = sqlite_errors[i].text;
            break;
        }
    }
    int r = error_set(error, mapped, "%s", text);
    error_add_details(error, "%s: %s (%d)", what, sqlite3_errmsg(connection->database), code);
    return r;
}

/* --- control of transactions --- */

static int prepare(SqliteConnection *connection, const char *what, const char *sql,
                   sqlite3_stmt **ret_statement, Error *error)
{
    int code =
        sqlite3_prepare_v3(connection->database, sql, -1, SQLITE_PREPARE_PERSISTENT, ret_statement, NULL);
    return code == SQLITE_OK ? 0 : fail(connection, what, error);
}

static int control(SqliteConnection *connection, Control index, Error *error)
{
    sqlite3_stmt **statement = &connection->controls[index];
    if (!*statement) {
        int r = prepare(connection, controls[index], controls[index], statement, error);
        if (r < 0)
            return r;
    }
    int r = 0;
    if (sqlite3_step(*statement) != SQLITE_DONE)
        r = fail(connection, controls[index], error);
    (void)sqlite3_reset(*statement);
    return r;
}

static bool sqlite_is_open(const StoreConnection *connection)
{
    return sqlite3_get_autocommit(((const SqliteConnection *)connection)->database) == 0;
}

static int sqlite_begin(StoreConnection *connection, StoreAccess access, Error *error)
{
    return control(sqlite_connection(connection),
                   access == STORE_WRITE ? CONTROL_BEGIN_WRITE : CONTROL_BEGIN_READ, error);
}

static int sqlite_settle(StoreConnection *common, Error *error)
{
    SqliteConnection *connection = sqlite_connection(common);
    int unresolved = 0, highest;
    if (sqlite3_db_status(connection->database, SQLITE_DBSTATUS_DEFERRED_FKS, &unresolved, &highest, 0) ==
            SQLITE_OK &&
        unresolved > 0)
        return error_set(error, ERROR_BAD_REFERENCE, "Something that is referred to does not exist");
    return 0;
}

static int sqlite_commit(StoreConnection *common, Error *error)
{
    SqliteConnection *connection = sqlite_connection(common);
    Error own = ERROR_INIT;
    int r = control(connection, CONTROL_COMMIT, &own);
    if (r >= 0)
        return 0;
    int code = sqlite3_errcode(connection->database) & 0xff;
    if (code == SQLITE_IOERR || code == SQLITE_CORRUPT)
        store_fail(common->store, &own);
    *error = own;
    return r;
}

static void sqlite_roll_back(StoreConnection *connection)
{
    Error error = ERROR_INIT;
    int r = control(sqlite_connection(connection), CONTROL_ROLL_BACK, &error);
    if (r < 0 && sqlite_is_open(connection))
        store_fail(connection->store, &error);
}

static int sqlite_savepoint(StoreConnection *connection, Error *error)
{
    return control(sqlite_connection(connection), CONTROL_SAVEPOINT, error);
}

static int sqlite_release(StoreConnection *connection, Error *error)
{
    return control(sqlite_connection(connection), CONTROL_RELEASE, error);
}

static int sqlite_roll_back_savepoint(StoreConnection *connection, Error *error)
{
    int r = control(sqlite_connection(connection), CONTROL_ROLL_BACK_TO, error);
    return r < 0 ? r : control(sqlite_connection(connection), CONTROL_RELEASE, error);
}

/* --- statements --- */

static void start_deadline(SqliteConnection *connection)
{
    struct timespec now;
    (void)clock_gettime(CLOCK_MONOTONIC_COARSE, &now);
    connection->deadline = now.tv_sec + STORE_STATEMENT_SECONDS;
}

static int on_progress(void *context)
{
    const SqliteConnection *connection = context;
    struct timespec now;
    (void)clock_gettime(CLOCK_MONOTONIC_COARSE, &now);
    return connection->deadline != 0 && now.tv_sec > connection->deadline;
}

static int bind(sqlite3_stmt *prepared, int index, StoreType type, const StatementValue *value)
{
    if (value->is_null)
        return sqlite3_bind_null(prepared, index);
    switch (type) {
    case STORE_INTEGER:
        return sqlite3_bind_int64(prepared, index, value->integer);
    case STORE_TEXT:
    case STORE_INTEGERS:
    case STORE_TEXTS:
        return sqlite3_bind_text64(prepared, index, value->text, strlen(value->text), SQLITE_STATIC,
                                   SQLITE_UTF8);
    case STORE_BLOB:
        return sqlite3_bind_blob64(prepared, index, value->blob.data, value->blob.size, SQLITE_STATIC);
    }
    return SQLITE_MISUSE;
}

static int bind_all(SqliteConnection *connection, sqlite3_stmt *prepared,
                    const StatementDescription *statement, const void *parameters, Error *error)
{
    for (size_t i = 0; i < statement->parameter_count; i++) {
        StatementValue value;
        int r = statement_get_parameter(&connection->common, statement, i, parameters, &value, error);
        if (r < 0)
            return r;
        if (bind(prepared, (int)i + 1, statement->parameters[i].type, &value) != SQLITE_OK)
            return fail(connection, statement->name, error);
    }
    return 0;
}

static int read_column(sqlite3_stmt *prepared, StatementRows *rows, size_t index, StatementValue *ret_value,
                       Error *error)
{
    static const int types[] = {
        [STORE_INTEGER] = SQLITE_INTEGER, [STORE_TEXT] = SQLITE_TEXT, [STORE_BLOB] = SQLITE_BLOB};
    const StatementField *field = &rows->columns[index];
    const int column = (int)index;
    const int type = sqlite3_column_type(prepared, column);
    StatementValue value = {.is_null = type == SQLITE_NULL};
    void *copy = NULL;
    int r = 0;

    if (!value.is_null && type != types[field->type]) {
        r = error_set(error, ERROR_INTERNAL, "A stored value has the wrong type");
        error_add_details(error, "column %s of statement %s", field->name, rows->statement->name);
        return r;
    }
    if (type == SQLITE_INTEGER) {
        value.integer = sqlite3_column_int64(prepared, column);
    } else if (type == SQLITE_TEXT || type == SQLITE_BLOB) {
        const void *data = type == SQLITE_TEXT ? sqlite3_column_text(prepared, column)
                                               : sqlite3_column_blob(prepared, column);
        const size_t size = (size_t)sqlite3_column_bytes(prepared, column);
        r = statement_rows_copy(rows, data, size, &copy, error);
        value.text = copy;
        value.blob = (StoreBlob){.data = copy, .size = size};
    }
    *ret_value = value;
    return r;
}

static int read_row(sqlite3_stmt *prepared, StatementRows *rows, Error *error)
{
    void *row = NULL;
    int r = statement_rows_add(rows, &row, error);
    for (size_t i = 0; r >= 0 && i < rows->column_count; i++) {
        StatementValue value;
        r = read_column(prepared, rows, i, &value, error);
        if (r >= 0)
            r = statement_set_column(rows, i, row, &value, error);
    }
    return r;
}

static int find_prepared(SqliteConnection *connection, const StatementDescription *statement,
                         sqlite3_stmt **ret_prepared, Error *error)
{
    sqlite3_stmt **slot = &connection->statements[statement->index];
    if (!*slot) {
        int r = prepare(connection, statement->name, statement->sqlite, slot, error);
        if (r < 0)
            return r;
    }
    *ret_prepared = *slot;
    return 0;
}

static int sqlite_execute(StoreConnection *common, const StatementDescription *statement,
                          const void *parameters, StatementRows *rows, int64_t *ret_affected, Error *error)
{
    SqliteConnection *connection = sqlite_connection(common);
    sqlite3_stmt *prepared = NULL;
    int r = find_prepared(connection, statement, &prepared, error);
    if (r < 0)
        return r;
    start_deadline(connection);
    r = bind_all(connection, prepared, statement, parameters, error);
    while (r >= 0) {
        int code = sqlite3_step(prepared);
        if (code == SQLITE_DONE)
            break;
        if (code != SQLITE_ROW)
            r = fail(connection, statement->name, error);
        else if (rows)
            r = read_row(prepared, rows, error);
    }
    *ret_affected = r >= 0 && statement->is_write ? sqlite3_changes64(connection->database) : 0;
    (void)sqlite3_reset(prepared);
    (void)sqlite3_clear_bindings(prepared);
    return r;
}

static int sqlite_check_statement(StoreConnection *common, const StatementDescription *statement,
                                  Error *error)
{
    sqlite3_stmt *prepared = NULL;
    int r = find_prepared(sqlite_connection(common), statement, &prepared, error);
    if (r < 0)
        return r;
    const int columns = statement->kind == STATEMENT_COUNT ? 1 : (int)statement->column_count;
    if (sqlite3_column_count(prepared) != columns ||
        sqlite3_bind_parameter_count(prepared) != (int)statement->parameter_count ||
        (sqlite3_stmt_readonly(prepared) == 0) != statement->is_write) {
        r = error_set(error, ERROR_INTERNAL, "A statement is not what its description says");
        error_add_details(error, "statement %s", statement->name);
    }
    return r;
}

static int sqlite_lock_schema(_unused_ StoreConnection *connection, _unused_ Error *error)
{
    return 0; /* the write transaction is the lock */
}

static int sqlite_run_script(StoreConnection *common, const char *sql, Error *error)
{
    SqliteConnection *connection = sqlite_connection(common);
    connection->deadline = 0;
    if (sqlite3_exec(connection->database, sql, NULL, NULL, NULL) != SQLITE_OK)
        return fail(connection, "script", error);
    return 0;
}

/* --- opening --- */

static int on_log_grown(void *context, _unused_ sqlite3 *database, _unused_ const char *name, int pages)
{
    ((SqliteConnection *)context)->log_pages = pages;
    return SQLITE_OK;
}

static void sqlite_idle(StoreConnection *common)
{
    SqliteConnection *connection = sqlite_connection(common);
    if (connection->log_pages < connection->next_checkpoint)
        return;
    /* Readers that never pause keep the log from starting over; a long log is worth waiting a moment for
     * them. */
    const bool is_forced = connection->log_pages >= CHECKPOINT_FORCED_PAGES;
    if (is_forced)
        (void)sqlite3_busy_timeout(connection->database, CHECKPOINT_BUSY_MILLISECONDS);
    int frames = 0, moved = 0;
    int code = sqlite3_wal_checkpoint_v2(connection->database, NULL,
                                         is_forced ? SQLITE_CHECKPOINT_RESTART : SQLITE_CHECKPOINT_PASSIVE,
                                         &frames, &moved);
    if (is_forced)
        (void)sqlite3_busy_timeout(connection->database, BUSY_MILLISECONDS);
    const bool has_failed = code != SQLITE_OK && code != SQLITE_BUSY;
    /* Nothing is lost, the log has everything, but it grows. */
    if (has_failed && !connection->has_checkpoint_failed)
        log_warning("The database's log cannot be moved into its file: %s",
                    sqlite3_errmsg(connection->database));
    connection->has_checkpoint_failed = has_failed;
    const bool is_done = code == SQLITE_OK && moved == frames;
    connection->next_checkpoint = is_done ? CHECKPOINT_PAGES : connection->log_pages + CHECKPOINT_PAGES;
    connection->log_pages = 0;
}

/* Made private before SQLite sees it; its log and index files take the same mode. An existing file is not
 * opened here: closing it again would drop the locks that this process may have on it. */
static int make_private(const char *path, Error *error)
{
    struct stat status;
    _cleanup_close_ int descriptor = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (descriptor >= 0) {
        int r = file_sync_parent(path);
        return r < 0 ? error_set_errno(error, ERROR_IO, -r, "Cannot sync the folder of the database") : 0;
    }
    if (errno != EEXIST)
        return error_set_errno(error, ERROR_IO, errno, "Cannot make the database file %s", path);
    if (lstat(path, &status) < 0)
        return error_set_errno(error, ERROR_IO, errno, "Cannot look at the database file %s", path);
    if (!S_ISREG(status.st_mode))
        return error_set(error, ERROR_CONFIGURATION, "The database %s is not a regular file", path);
    if ((status.st_mode & 0077) != 0 && fchmodat(AT_FDCWD, path, 0600, 0) < 0)
        return error_set_errno(error, ERROR_INSECURE, errno, "Others can read the database file %s", path);
    return 0;
}

static int sqlite_prepare(Store *store, const char *location, Error *error)
{
    store->is_memory = string_equal(location, ":memory:");
    if (store->is_memory)
        return 0;
    if (location[0] != '/')
        return error_set(error, ERROR_CONFIGURATION, "The path of the database must begin with a slash");
    return make_private(location, error);
}

static const struct {
    int option, value;
} options[] = {
    {SQLITE_DBCONFIG_DEFENSIVE, 1},      {SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0},
    {SQLITE_DBCONFIG_ENABLE_FKEY, 1},    {SQLITE_DBCONFIG_DQS_DML, 0},
    {SQLITE_DBCONFIG_DQS_DDL, 0},        {SQLITE_DBCONFIG_ENABLE_VIEW, 0},
    {SQLITE_DBCONFIG_ENABLE_TRIGGER, 0}, {SQLITE_DBCONFIG_ENABLE_LOAD_EXTENSION, 0},
};

static const struct {
    int limit, value;
} limits[] = {
    {SQLITE_LIMIT_LENGTH, 64 * 1024 * 1024},
    {SQLITE_LIMIT_SQL_LENGTH, 256 * 1024},
    {SQLITE_LIMIT_COLUMN, 200},
    {SQLITE_LIMIT_EXPR_DEPTH, 100},
    {SQLITE_LIMIT_COMPOUND_SELECT, 20},
    {SQLITE_LIMIT_FUNCTION_ARG, 20},
    {SQLITE_LIMIT_ATTACHED, 0},
    {SQLITE_LIMIT_LIKE_PATTERN_LENGTH, 1000},
    {SQLITE_LIMIT_VARIABLE_NUMBER, 250},
    {SQLITE_LIMIT_TRIGGER_DEPTH, 10},
    {SQLITE_LIMIT_WORKER_THREADS, 0},
};

static const char common_settings[] = "PRAGMA synchronous = FULL;"
                                      "PRAGMA temp_store = MEMORY;"
                                      "PRAGMA cell_size_check = ON;"
                                      "PRAGMA wal_autocheckpoint = 0;"
                                      "PRAGMA case_sensitive_like = ON;"; /* as PostgreSQL */
static const char write_settings[] = "PRAGMA journal_mode = WAL;"
                                     "PRAGMA journal_size_limit = 67108864;"
                                     "PRAGMA cache_size = -16000;";
static const char read_settings[] = "PRAGMA query_only = ON;"
                                    "PRAGMA cache_size = -4000;";

static int configure(SqliteConnection *connection, StoreAccess access, Error *error)
{
    sqlite3 *database = connection->database;
    for (size_t i = 0; i < ELEMENTSOF(options); i++) {
        int value = -1;
        if (sqlite3_db_config(database, options[i].option, options[i].value, &value) != SQLITE_OK ||
            value != options[i].value)
            return fail(connection, "configuration", error);
    }
    for (size_t i = 0; i < ELEMENTSOF(limits); i++)
        (void)sqlite3_limit(database, limits[i].limit, limits[i].value);
    (void)sqlite3_extended_result_codes(database, 1);
    (void)sqlite3_busy_timeout(database, BUSY_MILLISECONDS);
    if (sqlite3_exec(database, access == STORE_WRITE ? write_settings : read_settings, NULL, NULL, NULL) !=
            SQLITE_OK ||
        sqlite3_exec(database, common_settings, NULL, NULL, NULL) != SQLITE_OK)
        return fail(connection, "settings", error);
    sqlite3_progress_handler(database, PROGRESS_INTERVAL, on_progress, connection);
    if (access == STORE_WRITE)
        (void)sqlite3_wal_hook(database, on_log_grown, connection);
    connection->next_checkpoint = CHECKPOINT_PAGES;
    return 0;
}

static void sqlite_disconnect(StoreConnection *common)
{
    SqliteConnection *connection = sqlite_connection(common);
    for (size_t i = 0; i < ELEMENTSOF(connection->controls); i++)
        (void)sqlite3_finalize(connection->controls[i]);
    for (size_t i = 0; i < common->store->schema->statement_count; i++)
        (void)sqlite3_finalize(connection->statements[i]);
    if (sqlite3_close(connection->database) != SQLITE_OK)
        log_error("Closing the database failed: %s", sqlite3_errmsg(connection->database));
    free(connection->statements);
    free(connection);
}

static int sqlite_connect(Store *store, StoreAccess access, StoreConnection **ret_connection, Error *error)
{
    SqliteConnection *connection = NEW(SqliteConnection);
    connection->common.store = store;
    connection->statements = NEW_ARRAY(sqlite3_stmt *, store->schema->statement_count);
    /* The file is there already. */
    int flags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_PRIVATECACHE;
    if (store->is_memory)
        flags |= SQLITE_OPEN_MEMORY | SQLITE_OPEN_CREATE;
    int r;
    if (sqlite3_open_v2(store->location, &connection->database, flags, NULL) != SQLITE_OK)
        r = connection->database ? fail(connection, "open", error)
                                 : error_set(error, ERROR_INTERNAL, "No memory for a database");
    else
        r = configure(connection, access, error);
    if (r < 0) {
        sqlite_disconnect(&connection->common);
        return r;
    }
    *ret_connection = &connection->common;
    return 0;
}

const StoreBackend sqlite_backend = {
    .name = "sqlite",
    .batch_maximum = STORE_BATCH_MAXIMUM,
    .reads_in_place = true,
    .list_open = '[',
    .list_close = ']',
    .prepare = sqlite_prepare,
    .connect = sqlite_connect,
    .disconnect = sqlite_disconnect,
    .begin = sqlite_begin,
    .settle = sqlite_settle,
    .commit = sqlite_commit,
    .roll_back = sqlite_roll_back,
    .is_open = sqlite_is_open,
    .savepoint = sqlite_savepoint,
    .release = sqlite_release,
    .roll_back_savepoint = sqlite_roll_back_savepoint,
    .execute = sqlite_execute,
    .check_statement = sqlite_check_statement,
    .lock_schema = sqlite_lock_schema,
    .run_script = sqlite_run_script,
    .idle = sqlite_idle,
};
