/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Inside the store: what a database has to offer, and what the store's own files share. A connection is used
 * by one thread at a time. Included only by src/store and its tests. */

#include <pthread.h>
#include <stdatomic.h>

#include "base/string.h"
#include "store/statement.h"

typedef struct StoreConnection StoreConnection;
typedef struct StatementRows StatementRows;

/* Every function but `disconnect` fills *error when it returns negative. */
typedef struct StoreBackend {
    const char *name;
    unsigned batch_maximum;     /* jobs that the writer puts into one transaction */
    bool reads_in_place;        /* store_read() */
    char list_open, list_close; /* around the values of a list that is a parameter */
    /* Checks and notes the location once, before any connection. */
    int (*prepare)(Store *store, const char *location, Error *error);
    int (*connect)(Store *store, StoreAccess access, StoreConnection **ret_connection, Error *error);
    void (*disconnect)(StoreConnection *connection);
    int (*begin)(StoreConnection *connection, StoreAccess access, Error *error);
    /* Checks at the end of a job what would otherwise fail the whole commit. */
    int (*settle)(StoreConnection *connection, Error *error);
    /* Waits for statements that were sent ahead. NULL = they are never. */
    int (*collect)(StoreConnection *connection, Error *error);
    /* May set store_fail(). After a failure the transaction may be open or not. */
    int (*commit)(StoreConnection *connection, Error *error);
    void (*roll_back)(StoreConnection *connection);
    bool (*is_open)(const StoreConnection *connection);
    /* Savepoints nest; the inner functions are about the latest one. Roll-back also removes it. */
    int (*savepoint)(StoreConnection *connection, Error *error);
    int (*release)(StoreConnection *connection, Error *error);
    int (*roll_back_savepoint)(StoreConnection *connection, Error *error);
    /* Runs a prepared statement; rows go to `rows` unless NULL. */
    int (*execute)(StoreConnection *connection, const StatementDescription *statement, const void *parameters,
                   StatementRows *rows, int64_t *ret_affected, Error *error);
    /* Makes sure that a statement is prepared, and that its types are those of its description. */
    int (*check_statement)(StoreConnection *connection, const StatementDescription *statement, Error *error);
    /* Waits for others who migrate, so that the list of migrations read next is the latest. */
    int (*lock_schema)(StoreConnection *connection, Error *error);
    int (*run_script)(StoreConnection *connection, const char *sql, Error *error);
    /* Housekeeping when replies are out. May be NULL. */
    void (*idle)(StoreConnection *connection);
} StoreBackend;

extern const StoreBackend sqlite_backend, postgresql_backend;

/* The backend's connection begins with this. */
struct StoreConnection {
    Store *store;
    Arena *arena;
    bool has_watched_change; /* in the open transaction, undone or not */
    /* Set by the backend: the transaction lost a race and may be run again. */
    bool wants_retry;
    /* Set by the backend: a COMMIT was refused for what a job did, and nothing of the transaction is there.
     */
    bool is_commit_refused;
};

struct StoreTransaction {
    Store *store;
    StoreConnection *connection;
    StoreAccess access;
    Usec now;
    unsigned depth;
    bool has_failed;
    bool has_watched_change;
};

enum {
    STORE_QUEUE_MAXIMUM = 16 * 1024,
    STORE_BATCH_MAXIMUM = 256,
    STORE_BATCH_USEC = 2000,
    STORE_READERS_MAXIMUM = 64,
    STORE_NESTING_MAXIMUM = 8,
    STORE_ATTEMPTS_MAXIMUM = 12,
    STORE_STATEMENT_SECONDS = 30, /* one statement, and on SQLite also its job */
};

typedef struct StoreWork {
    StoreJob job;
    StoreDone done;
    void *context;
    StoreAccess access;
} StoreWork;

/* A ring of work and the threads that take from it. */
typedef struct StoreQueue {
    pthread_mutex_t lock;
    pthread_cond_t filled;
    StoreWork *ring; /* STORE_QUEUE_MAXIMUM */
    size_t first, count;
    bool is_closing;
} StoreQueue;

typedef struct StoreThread {
    Store *store;
    StoreQueue *queue;
    StoreConnection *connection;
    bool is_batching;
    pthread_t id;
} StoreThread;

struct Store {
    const StoreBackend *backend;
    const StoreSchema *schema;
    const Clock *clock;
    Random *random;
    char *location; /* without the scheme; wiped at the end, for it may have a password */
    bool is_memory; /* one connection only */
    bool is_synchronous;
    StoreQueue reads, writes;
    StoreThread *threads;
    size_t thread_count;
    StoreConnection *connection; /* of a synchronous store */
    bool is_draining;            /* a synchronous store is working off its queue */
    bool is_in_job;
    pthread_key_t reader_key; /* store_read()'s connection of a thread */
    bool has_reader_key;
    atomic_bool has_failed;
    _Atomic(uint64_t) watched_changes;
    void *backend_data; /* free()d at the end */
};

/* store.c */
/* Stops writing for good. Any thread. */
void store_fail(Store *store, const Error *error);
/* After a transaction, whatever became of it: counts it when it wrote to a watched table. */
void store_count_watched(StoreConnection *connection);
/* Runs one job in its own transaction, again when it lost a race. */
int store_run_on(Store *store, StoreConnection *connection, StoreAccess access, StoreJob job, void *context,
                 Error *error);
/* The job alone, within an open transaction; fills *error when it fails. */
int store_call_job(StoreConnection *connection, StoreAccess access, StoreJob job, void *context,
                   Error *error);
/* Prepares every statement of the schema. For tests: what SQLite accepts, PostgreSQL must too. */
int store_check_statements(Store *store, Error *error);
int store_connect(Store *store, StoreAccess access, StoreConnection **ret_connection, Error *error);
StoreConnection *store_disconnect(StoreConnection *connection);
DEFINE_CLEANUP(StoreConnection, store_disconnect);

/* worker.c */
void store_queue_init(StoreQueue *queue);
void store_queue_done(StoreQueue *queue);
/* -EAGAIN when full, -ESHUTDOWN when closing. */
int store_queue_put(StoreQueue *queue, const StoreWork *work);
/* False when empty and, if waiting, closing. */
bool store_queue_take(StoreQueue *queue, bool is_waiting, StoreWork *ret_work);
void store_queue_close(StoreQueue *queue);
int store_threads_start(Store *store, unsigned readers, Error *error);
void store_threads_stop(Store *store);
/* This thread is running a job or a `done`. */
bool store_thread_is_busy(void);
void store_thread_set_busy(bool is_busy);

/* reader.c */
int store_readers_open(Store *store, Error *error);
void store_readers_close(Store *store);

/* statement.c: structures to values and back */
typedef struct StatementValue {
    bool is_null;
    int64_t integer;
    const char *text;
    StoreBlob blob;
} StatementValue;

/* Lists become text in the connection's arena: a JSON array or an array literal. */
int statement_get_parameter(const StoreConnection *connection, const StatementDescription *statement,
                            size_t index, const void *parameters, StatementValue *ret_value, Error *error);

/* Where rows go: a fixed row (one) or an array in the arena (many). */
struct StatementRows {
    const StatementDescription *statement;
    const StatementField *columns;
    size_t column_count, row_size;
    Arena *arena;
    uint8_t *data;
    size_t count, capacity, limit;
};
/* A new, zeroed row. */
int statement_rows_add(StatementRows *rows, void **ret_row, Error *error);
/* Text and blobs must be in the arena already. */
int statement_set_column(const StatementRows *rows, size_t index, void *row, const StatementValue *value,
                         Error *error);
/* Room for text or a blob of a row, with a NUL after it. */
int statement_rows_copy(const StatementRows *rows, const void *data, size_t size, void **ret_copy,
                        Error *error);
