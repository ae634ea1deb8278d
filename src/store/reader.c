/* SPDX-License-Identifier: Apache-2.0 */

/* store_read(): a connection for each thread that reads in place. A thread's connection ends with the thread
 * or with the store, whichever is first; the registry, under its lock, says which of them are still there. */

#include <errno.h>

#include "store/backend.h"

typedef struct ThreadReader ThreadReader;
struct ThreadReader {
    StoreConnection *connection;
    ThreadReader *previous, *next;
};

static pthread_mutex_t registry_lock = PTHREAD_MUTEX_INITIALIZER;
static ThreadReader *registry;

static void registry_add(ThreadReader *reader)
{
    (void)pthread_mutex_lock(&registry_lock);
    reader->next = registry;
    if (registry)
        registry->previous = reader;
    registry = reader;
    (void)pthread_mutex_unlock(&registry_lock);
}

/* With the lock held. */
static void registry_remove(ThreadReader *reader)
{
    if (reader->previous)
        reader->previous->next = reader->next;
    else
        registry = reader->next;
    if (reader->next)
        reader->next->previous = reader->previous;
    (void)store_disconnect(reader->connection);
    free(reader);
}

/* A thread ends. Its store may be closing at the same moment: only who finds the entry in the registry frees
 * it. */
static void thread_ends(void *value)
{
    (void)pthread_mutex_lock(&registry_lock);
    for (ThreadReader *reader = registry; reader; reader = reader->next) {
        if (reader == value) {
            registry_remove(reader);
            break;
        }
    }
    (void)pthread_mutex_unlock(&registry_lock);
}

int store_readers_open(Store *store, Error *error)
{
    int e = pthread_key_create(&store->reader_key, thread_ends);
    if (e != 0)
        return error_set_errno(error, ERROR_INTERNAL, e, "Cannot prepare reading from threads");
    store->has_reader_key = true;
    return 0;
}

void store_readers_close(Store *store)
{
    if (!store->has_reader_key)
        return;
    (void)pthread_key_delete(store->reader_key);
    store->has_reader_key = false;
    (void)pthread_mutex_lock(&registry_lock);
    for (ThreadReader *reader = registry, *next; reader; reader = next) {
        next = reader->next;
        if (reader->connection->store == store)
            registry_remove(reader);
    }
    (void)pthread_mutex_unlock(&registry_lock);
}

int store_read(Store *store, StoreJob job, void *context, Error *error)
{
    if (!store->backend->reads_in_place) {
        (void)error_set(error, ERROR_INTERNAL, "Reading in place is for SQLite only");
        return -EOPNOTSUPP;
    }
    /* A database in memory is one connection. */
    if (store->is_memory || store->is_synchronous)
        return store_run(store, STORE_READ, job, context, error);
    if (store_thread_is_busy())
        return error_set(error, ERROR_INTERNAL, "A job asked the store to run another one");

    ThreadReader *reader = pthread_getspecific(store->reader_key);
    if (!reader) {
        StoreConnection *connection = NULL;
        int r = store_connect(store, STORE_READ, &connection, error);
        if (r < 0)
            return r;
        reader = NEW(ThreadReader);
        reader->connection = connection;
        int e = pthread_setspecific(store->reader_key, reader);
        if (e != 0) {
            (void)store_disconnect(connection);
            free(reader);
            return error_set_errno(error, ERROR_INTERNAL, e, "Cannot keep a connection for this thread");
        }
        registry_add(reader);
    }
    Error own = ERROR_INIT;
    store_thread_set_busy(true);
    int r = store_run_on(store, reader->connection, STORE_READ, job, context, &own);
    store_thread_set_busy(false);
    arena_reset(reader->connection->arena);
    if (r < 0 && error)
        *error = own;
    return r;
}
