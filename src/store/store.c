/* SPDX-License-Identifier: Apache-2.0 */

#include "store/store.h"

#include <errno.h>
#include <string.h>
#include <time.h>

#include "base/log.h"
#include "store/backend.h"

/* --- connections and transactions --- */

int store_connect(Store *store, StoreAccess access, StoreConnection **ret_connection, Error *error)
{
    StoreConnection *connection = NULL;
    int r = store->backend->connect(store, access, &connection, error);
    if (r < 0)
        return r;
    connection->store = store;
    connection->arena = arena_new();
    *ret_connection = connection;
    return 0;
}

StoreConnection *store_disconnect(StoreConnection *connection)
{
    if (!connection)
        return NULL;
    connection->arena = arena_free(connection->arena);
    connection->store->backend->disconnect(connection);
    return NULL;
}

int store_call_job(StoreConnection *connection, StoreAccess access, StoreJob job, void *context, Error *error)
{
    StoreTransaction transaction = {
        .store = connection->store,
        .connection = connection,
        .access = access,
        .now = clock_realtime(connection->store->clock),
    };
    int r = job(&transaction, context, error);
    if (r < 0) {
        if (!error_is_set(error))
            (void)error_set_errno(error, ERROR_INTERNAL, -r, "A job failed without a reason");
        return r;
    }
    if (transaction.has_failed) /* it swallowed the error of a statement */
        return error_is_set(error)
                   ? -EIO
                   : error_set(error, ERROR_INTERNAL, "A statement failed and the job went on");
    error_clear(error); /* that of a savepoint which the job did without */
    int settled = connection->store->backend->settle(connection, error);
    return settled < 0 ? settled : r;
}

static int run_once(Store *store, StoreConnection *connection, StoreAccess access, StoreJob job,
                    void *context, Error *error)
{
    const StoreBackend *backend = store->backend;
    connection->wants_retry = false;
    int r = backend->begin(connection, access, error);
    if (r < 0)
        return r;
    int result = store_call_job(connection, access, job, context, error);
    if (result >= 0) {
        r = backend->commit(connection, error);
        if (r < 0)
            result = r;
    }
    if (result < 0 && backend->is_open(connection))
        backend->roll_back(connection);
    return result;
}

void store_count_watched(StoreConnection *connection)
{
    if (!connection->has_watched_change)
        return;
    connection->has_watched_change = false;
    atomic_fetch_add(&connection->store->watched_changes, 1);
}

uint64_t store_watched_changes(const Store *store)
{
    return atomic_load(&store->watched_changes);
}

bool store_has_watched_change(const StoreTransaction *transaction)
{
    return transaction->has_watched_change;
}

int store_run_on(Store *store, StoreConnection *connection, StoreAccess access, StoreJob job, void *context,
                 Error *error)
{
    for (unsigned attempt = 0;; attempt++) {
        int r = run_once(store, connection, access, job, context, error);
        store_count_watched(connection);
        if (r >= 0 || !connection->wants_retry)
            return r;
        if (attempt + 1 == STORE_ATTEMPTS_MAXIMUM) {
            error_clear(error);
            return error_set(error, ERROR_BUSY, "Too many others change the same data; try again");
        }
        error_clear(error);
        arena_reset(connection->arena);
        /* Losers come back at different moments: 0 to 1, 2, 4 .. 64 ms. */
        Usec wait = random_below(&system_random, USEC_PER_MSEC << MIN(attempt, 6u));
        (void)nanosleep(&(struct timespec){.tv_nsec = (long)(wait * 1000)}, NULL);
    }
}

int store_nested(StoreTransaction *transaction, StoreJob inner, void *context, Error *error)
{
    StoreConnection *connection = transaction->connection;
    const StoreBackend *backend = transaction->store->backend;
    Error own = ERROR_INIT;
    if (!error)
        error = &own;
    if (transaction->has_failed)
        return error_set(error, ERROR_INTERNAL, "A statement failed earlier in this transaction");
    if (transaction->depth == STORE_NESTING_MAXIMUM)
        return error_set(error, ERROR_INTERNAL, "Savepoints are nested too deeply");
    int r = backend->savepoint(connection, error);
    if (r < 0) {
        transaction->has_failed = true;
        return r;
    }
    transaction->depth++;
    int result = inner(transaction, context, error);
    transaction->depth--;
    if (result >= 0 && !transaction->has_failed && backend->collect)
        result = backend->collect(connection, error);
    if (result >= 0 && transaction->has_failed)
        result = error_is_set(error)
                     ? -EIO
                     : error_set(error, ERROR_INTERNAL, "A statement failed and the job went on");
    if (result < 0 && !error_is_set(error))
        (void)error_set_errno(error, ERROR_INTERNAL, -result, "A job failed without a reason");
    Error second = ERROR_INIT; /* the first one is what the caller wants to know */
    r = result < 0 ? backend->roll_back_savepoint(connection, &second) : backend->release(connection, error);
    /* When the savepoint cannot be left, or the race is lost anyway, the whole job is. */
    transaction->has_failed = r < 0 || connection->wants_retry || !backend->is_open(connection);
    return r < 0 && result >= 0 ? r : MIN(result, 0);
}

Arena *store_arena(StoreTransaction *transaction)
{
    return transaction->connection->arena;
}

Usec store_now(StoreTransaction *transaction)
{
    return transaction->now;
}

Store *store_of(StoreTransaction *transaction)
{
    return transaction->store;
}

const char *store_new_id(StoreTransaction *transaction)
{
    char id[ID_SIZE];
    id_generate(transaction->store->random, id);
    return arena_string(store_arena(transaction), id);
}

/* --- opening and closing --- */

static const StoreBackend *const backends[] = {&sqlite_backend, &postgresql_backend};

static const StoreBackend *find_backend(const char *location, const char **ret_rest)
{
    for (size_t i = 0; i < ELEMENTSOF(backends); i++) {
        size_t length = strlen(backends[i]->name);
        if (strncmp(location, backends[i]->name, length) == 0 && location[length] == ':') {
            *ret_rest = location + length + 1;
            return backends[i];
        }
    }
    return NULL;
}

int store_open(const StoreSettings *settings, Store **ret_store, Error *error)
{
    const char *rest = NULL;
    const StoreBackend *backend = settings->location ? find_backend(settings->location, &rest) : NULL;
    if (!backend)
        return error_set(error, ERROR_CONFIGURATION,
                         "The database is given as sqlite:<path> or postgresql:<connection string>");

    _cleanup_(store_close_pointer) Store *store = NEW(Store);
    store->backend = backend;
    store->schema = &store_schema;
    store->clock = settings->clock ? settings->clock : &system_clock;
    store->random = settings->random ? settings->random : &system_random;
    store->is_synchronous = settings->is_synchronous;
    store->location = string_duplicate(rest);
    store_queue_init(&store->reads);
    store_queue_init(&store->writes);
    int r = store_readers_open(store, error);
    if (r >= 0)
        r = backend->prepare(store, rest, error);
    if (r < 0)
        return r;
    if (store->is_synchronous)
        r = store_connect(store, STORE_WRITE, &store->connection, error);
    else
        r = store_threads_start(store, MIN(settings->readers ? settings->readers : 2, STORE_READERS_MAXIMUM),
                                error);
    if (r < 0)
        return r;
    *ret_store = TAKE_PTR(store);
    return 0;
}

Store *store_close(Store *store)
{
    if (!store)
        return NULL;
    store_readers_close(store);
    store_threads_stop(store);
    store->connection = store_disconnect(store->connection);
    store_queue_done(&store->reads);
    store_queue_done(&store->writes);
    free(store->backend_data);
    explicit_bzero(store->location, strlen(store->location));
    free(store->location);
    free(store);
    return NULL;
}

void store_fail(Store *store, const Error *error)
{
    if (!atomic_exchange(&store->has_failed, true))
        log_error_record(LOG_LEVEL_ERROR, "The database cannot be trusted any more and takes no more writes",
                         error);
}

int store_check_health(Store *store, Error *error)
{
    if (atomic_load(&store->has_failed))
        return error_set(error, ERROR_UNAVAILABLE,
                         "Writing to the database failed; the program has to be restarted");
    return 0;
}

const char *store_dialect(const Store *store)
{
    return store->backend->name;
}

/* --- submitting --- */

static StoreQueue *queue_for(Store *store, StoreAccess access)
{
    return access == STORE_WRITE || store->is_memory ? &store->writes : &store->reads;
}

/* Works off what a job or a `done` of a synchronous store submitted. */
static void drain(Store *store)
{
    if (store->is_draining)
        return;
    store->is_draining = true;
    StoreWork work;
    while (store_queue_take(&store->writes, false, &work)) {
        Error error = ERROR_INIT;
        store->is_in_job = true;
        int r = store_run_on(store, store->connection, work.access, work.job, work.context, &error);
        store->is_in_job = false;
        if (work.done)
            work.done(r, &error, work.context);
        arena_reset(store->connection->arena);
    }
    store->is_draining = false;
}

int store_submit(Store *store, StoreAccess access, StoreJob job, StoreDone done, void *context, Error *error)
{
    if (access == STORE_WRITE) {
        int r = store_check_health(store, error);
        if (r < 0)
            return r;
    }
    StoreWork work = {.job = job, .done = done, .context = context, .access = access};
    StoreQueue *queue = store->is_synchronous ? &store->writes : queue_for(store, access);
    int r = store_queue_put(queue, &work);
    if (r == -EAGAIN) {
        (void)error_set(error, ERROR_BUSY, "Too much is waiting for the database; try again");
        return -EAGAIN;
    }
    if (r < 0)
        return error_set(error, ERROR_UNAVAILABLE, "The database is being closed");
    if (store->is_synchronous && !store->is_in_job)
        drain(store);
    return 0;
}

typedef struct Waiter {
    StoreJob job;
    void *context;
    pthread_mutex_t lock;
    pthread_cond_t finished;
    bool is_finished;
    int result;
    Error *error;
} Waiter;

static int waiter_job(StoreTransaction *transaction, void *context, Error *error)
{
    Waiter *waiter = context;
    return waiter->job(transaction, waiter->context, error);
}

static void waiter_done(int result, const Error *error, void *context)
{
    Waiter *waiter = context;
    (void)pthread_mutex_lock(&waiter->lock);
    waiter->result = result;
    if (result < 0 && waiter->error)
        *waiter->error = *error;
    waiter->is_finished = true;
    /* Within the lock: the waiter and its condition are gone once it could have been taken. */
    (void)pthread_cond_signal(&waiter->finished);
    (void)pthread_mutex_unlock(&waiter->lock);
}

static int run_synchronous(Store *store, StoreAccess access, StoreJob job, void *context, Error *error)
{
    if (store->is_in_job)
        return error_set(error, ERROR_INTERNAL, "A job asked the store to run another one");
    if (access == STORE_WRITE) {
        int r = store_check_health(store, error);
        if (r < 0)
            return r;
    }
    Error own = ERROR_INIT;
    store->is_in_job = true;
    int r = store_run_on(store, store->connection, access, job, context, &own);
    store->is_in_job = false;
    /* In a `done` the arena still has what that one's job left. */
    if (!store->is_draining)
        arena_reset(store->connection->arena);
    drain(store);
    if (r < 0 && error)
        *error = own;
    return r;
}

int store_run(Store *store, StoreAccess access, StoreJob job, void *context, Error *error)
{
    if (store->is_synchronous)
        return run_synchronous(store, access, job, context, error);
    if (store_thread_is_busy())
        return error_set(error, ERROR_INTERNAL, "A job asked the store to run another one");
    Waiter waiter = {
        .job = job,
        .context = context,
        .lock = PTHREAD_MUTEX_INITIALIZER,
        .finished = PTHREAD_COND_INITIALIZER,
        .error = error,
    };
    int r = store_submit(store, access, waiter_job, waiter_done, &waiter, error);
    if (r < 0)
        return r;
    (void)pthread_mutex_lock(&waiter.lock);
    while (!waiter.is_finished)
        (void)pthread_cond_wait(&waiter.finished, &waiter.lock);
    (void)pthread_mutex_unlock(&waiter.lock);
    (void)pthread_cond_destroy(&waiter.finished);
    (void)pthread_mutex_destroy(&waiter.lock);
    return waiter.result;
}
