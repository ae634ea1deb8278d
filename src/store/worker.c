/* SPDX-License-Identifier: Apache-2.0 */

/* Queues and the threads behind them. A reader runs one job a transaction. The writer collects: while jobs
 * are waiting, until there are enough or 2 ms are over, they go into one transaction, and all get their
 * answer after its COMMIT. While that syncs, the next batch gathers, so the batch grows with the load and a
 * lone job waits for nobody.
 *
 * In a batch the first job needs no savepoint: if it fails, the transaction has nothing else and is rolled
 * back. Later ones are undone to their savepoint. On PostgreSQL the transaction may lose a race, or its
 * COMMIT be refused for what one job did: nothing of it is there then, and each of its jobs is run again in a
 * transaction of its own. */

#include <errno.h>
#include <signal.h>
#include <time.h>

#include "store/backend.h"

void store_queue_init(StoreQueue *queue)
{
    (void)pthread_mutex_init(&queue->lock, NULL);
    (void)pthread_cond_init(&queue->filled, NULL);
    queue->ring = NEW_ARRAY(StoreWork, STORE_QUEUE_MAXIMUM);
}

void store_queue_done(StoreQueue *queue)
{
    (void)pthread_mutex_destroy(&queue->lock);
    (void)pthread_cond_destroy(&queue->filled);
    free(queue->ring);
}

int store_queue_put(StoreQueue *queue, const StoreWork *work)
{
    int r = 0;
    (void)pthread_mutex_lock(&queue->lock);
    if (queue->is_closing)
        r = -ESHUTDOWN;
    else if (queue->count == STORE_QUEUE_MAXIMUM)
        r = -EAGAIN;
    else
        queue->ring[(queue->first + queue->count++) % STORE_QUEUE_MAXIMUM] = *work;
    (void)pthread_mutex_unlock(&queue->lock);
    if (r == 0)
        (void)pthread_cond_signal(&queue->filled);
    return r;
}

bool store_queue_take(StoreQueue *queue, bool is_waiting, StoreWork *ret_work)
{
    (void)pthread_mutex_lock(&queue->lock);
    while (is_waiting && queue->count == 0 && !queue->is_closing)
        (void)pthread_cond_wait(&queue->filled, &queue->lock);
    bool has_work = queue->count > 0;
    if (has_work) {
        *ret_work = queue->ring[queue->first];
        queue->first = (queue->first + 1) % STORE_QUEUE_MAXIMUM;
        queue->count--;
    }
    (void)pthread_mutex_unlock(&queue->lock);
    return has_work;
}

void store_queue_close(StoreQueue *queue)
{
    (void)pthread_mutex_lock(&queue->lock);
    queue->is_closing = true;
    (void)pthread_mutex_unlock(&queue->lock);
    (void)pthread_cond_broadcast(&queue->filled);
}

static _Thread_local bool thread_is_busy;

bool store_thread_is_busy(void)
{
    return thread_is_busy;
}

void store_thread_set_busy(bool is_busy)
{
    thread_is_busy = is_busy;
}

/* --- one job a transaction --- */

static void run_single(StoreThread *thread, const StoreWork *work)
{
    Error error = ERROR_INIT;
    int r = store_run_on(thread->store, thread->connection, work->access, work->job, work->context, &error);
    if (work->done)
        work->done(r, &error, work->context);
    arena_reset(thread->connection->arena);
}

/* --- batches --- */

typedef struct BatchEntry {
    StoreWork work;
    int result;
    Error error;
} BatchEntry;

typedef struct Batch {
    StoreConnection *connection;
    size_t count;
    size_t kept; /* jobs whose changes are in the open transaction */
    bool is_run_again;
    BatchEntry entries[STORE_BATCH_MAXIMUM];
} Batch;

static Usec elapsed_now(void)
{
    struct timespec now;
    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (Usec)now.tv_sec * USEC_PER_SEC + (Usec)now.tv_nsec / 1000;
}

/* The database dropped the whole transaction: nothing of the batch is there. */
static void batch_lose(Batch *batch, int result, const Error *error)
{
    for (size_t i = 0; i < batch->count; i++) {
        BatchEntry *entry = &batch->entries[i];
        if (entry->result < 0)
            continue;
        entry->result = result;
        entry->error = *error;
    }
    batch->kept = 0;
}

static void batch_undo_job(Batch *batch, const BatchEntry *entry)
{
    const StoreBackend *backend = batch->connection->store->backend;
    if (!backend->is_open(batch->connection)) {
        batch_lose(batch, entry->result, &entry->error);
        return;
    }
    if (batch->kept == 0) {
        backend->roll_back(batch->connection);
        return;
    }
    Error error = ERROR_INIT;
    int r = backend->roll_back_savepoint(batch->connection, &error);
    if (r < 0) { /* what this job did cannot be told from the others' any more */
        if (backend->is_open(batch->connection))
            backend->roll_back(batch->connection);
        batch_lose(batch, r, &error);
    }
}

static void batch_run_job(Batch *batch, BatchEntry *entry)
{
    StoreConnection *connection = batch->connection;
    const StoreBackend *backend = connection->store->backend;
    int r = 0;

    entry->result = -EIO; /* not among those that batch_lose() changes */
    connection->wants_retry = false;
    if (!backend->is_open(connection))
        r = backend->begin(connection, STORE_WRITE, &entry->error);
    else if (batch->kept > 0)
        r = backend->savepoint(connection, &entry->error);
    if (r < 0) {
        entry->result = r;
        batch->is_run_again = connection->wants_retry;
        if (!backend->is_open(connection))
            batch_lose(batch, r, &entry->error);
        return;
    }
    r = store_call_job(connection, entry->work.access, entry->work.job, entry->work.context, &entry->error);
    if (r >= 0 && batch->kept > 0) {
        int released = backend->release(connection, &entry->error);
        r = released < 0 ? released : r;
    }
    entry->result = r;
    if (r >= 0)
        batch->kept++;
    else if (connection->wants_retry)
        batch->is_run_again = true;
    else
        batch_undo_job(batch, entry);
}

static void batch_commit(Batch *batch)
{
    StoreConnection *connection = batch->connection;
    const StoreBackend *backend = connection->store->backend;
    if (!backend->is_open(connection))
        return;
    Error error = ERROR_INIT;
    int r = backend->commit(connection, &error);
    if (r >= 0)
        return;
    batch->is_run_again = connection->wants_retry || (connection->is_commit_refused && batch->kept > 1);
    if (backend->is_open(connection))
        backend->roll_back(connection);
    batch_lose(batch, r, &error);
}

/* Also those that failed: what they saw may never have been. */
static void batch_run_again(StoreThread *thread, const Batch *batch)
{
    if (thread->store->backend->is_open(thread->connection))
        thread->store->backend->roll_back(thread->connection);
    arena_reset(thread->connection->arena);
    for (size_t i = 0; i < batch->count; i++)
        run_single(thread, &batch->entries[i].work);
}

static void batch_answer(StoreThread *thread, const Batch *batch)
{
    for (size_t i = 0; i < batch->count; i++) {
        const BatchEntry *entry = &batch->entries[i];
        if (entry->work.done)
            entry->work.done(entry->result, &entry->error, entry->work.context);
    }
    arena_reset(thread->connection->arena);
}

static void run_batch(StoreThread *thread, Batch *batch, const StoreWork *first)
{
    Usec start = elapsed_now();
    StoreWork work = *first;
    batch->connection = thread->connection;
    batch->count = batch->kept = 0;
    batch->is_run_again = false;
    const size_t maximum = MIN((size_t)thread->store->backend->batch_maximum, (size_t)STORE_BATCH_MAXIMUM);
    do {
        BatchEntry *entry = &batch->entries[batch->count++];
        entry->work = work;
        error_clear(&entry->error);
        if (atomic_load(&thread->store->has_failed))
            entry->result = store_check_health(thread->store, &entry->error);
        else
            batch_run_job(batch, entry);
    } while (!batch->is_run_again && batch->count < maximum && elapsed_now() - start < STORE_BATCH_USEC &&
             store_queue_take(thread->queue, false, &work));
    if (!batch->is_run_again)
        batch_commit(batch);
    store_count_watched(batch->connection);
    if (batch->is_run_again)
        batch_run_again(thread, batch);
    else
        batch_answer(thread, batch);
    if (thread->store->backend->idle)
        thread->store->backend->idle(thread->connection);
}

static void *thread_main(void *context)
{
    StoreThread *thread = context;
    _cleanup_free_ Batch *batch = thread->is_batching ? NEW(Batch) : NULL;
    StoreWork work;
    store_thread_set_busy(true);
    while (store_queue_take(thread->queue, true, &work)) {
        if (batch)
            run_batch(thread, batch, &work);
        else
            run_single(thread, &work);
    }
    return NULL;
}

static int thread_start(Store *store, bool is_writer, StoreAccess access, Error *error)
{
    StoreThread *thread = &store->threads[store->thread_count];
    thread->store = store;
    thread->queue = is_writer ? &store->writes : &store->reads;
    thread->is_batching = is_writer;
    int r = store_connect(store, access, &thread->connection, error);
    if (r < 0)
        return r;
    sigset_t all, before;
    (void)sigfillset(&all);
    (void)pthread_sigmask(SIG_SETMASK, &all, &before);
    int e = pthread_create(&thread->id, NULL, thread_main, thread);
    (void)pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (e != 0) {
        thread->connection = store_disconnect(thread->connection);
        return error_set_errno(error, ERROR_INTERNAL, e, "Cannot start a thread of the store");
    }
    (void)pthread_setname_np(thread->id, is_writer ? "store-writer" : "store");
    store->thread_count++;
    return 0;
}

int store_threads_start(Store *store, unsigned readers, Error *error)
{
    store->threads = NEW_ARRAY(StoreThread, readers + 1);
    int r = thread_start(store, true, STORE_WRITE, error);
    if (store->is_memory)
        readers = 0;
    for (unsigned i = 0; r >= 0 && i < readers; i++)
        r = thread_start(store, false, STORE_READ, error);
    return r;
}

void store_threads_stop(Store *store)
{
    store_queue_close(&store->reads);
    store_queue_close(&store->writes);
    for (size_t i = 0; i < store->thread_count; i++)
        (void)pthread_join(store->threads[i].id, NULL);
    /* The writer's connection last: it is the one that puts the log into the database file. */
    for (size_t i = store->thread_count; i-- > 0;)
        store->threads[i].connection = store_disconnect(store->threads[i].connection);
    store->thread_count = 0;
    free(store->threads);
    store->threads = NULL;
}
