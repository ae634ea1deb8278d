/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* The store: one interface, SQLite (embedded) and PostgreSQL behind it. Everything that reads or writes does so in a job: a
 * synchronous function run on a store thread inside a transaction.
 *
 * SQLite: one writer thread; up to 256 write jobs or 2 ms make one batch, each in a SAVEPOINT; `done` is called after the COMMIT,
 * so what was acknowledged is durable. Read jobs run on reader threads on a snapshot, or at once in the caller's thread with
 * store_read(). PostgreSQL: jobs run on pool connections; serialisation failures are retried (a job may therefore run more
 * than once and must have no effect outside the transaction; what must happen after the commit goes into `done`).
 *
 * Statements are generated from src/store/statements/<aggregate>.sql into typed functions `int statement_<name>(StoreTransaction *, const
 * <Name>Parameters *, ...)` in "store/statements.h"; the generator refuses a statement that does not name the tenant where the table has
 * one. Rows live in the transaction's arena. */

#include "base/clock.h"
#include "base/error.h"
#include "base/memory.h"

typedef struct Store Store;
typedef struct StoreTransaction StoreTransaction;

typedef struct StoreSettings {
    /* "sqlite:/path/to/file" (or "sqlite::memory:" for tests), or "postgresql:<libpq conninfo>", which must say
     * sslmode=verify-full unless the host is a Unix socket. */
    const char *location;
    unsigned readers; /* reader threads or pool connections; 0 = 2 */
    const Clock *clock;
    Random *random;
    /* Test doubles call store_run() only: no threads are started. */
    bool is_synchronous;
} StoreSettings;

int store_open(const StoreSettings *settings, Store **ret_store, Error *error);
/* Finishes what is queued. */
Store *store_close(Store *store);
DEFINE_CLEANUP(Store, store_close);
/* Runs the migrations that are missing (each in a transaction). ret_applied may be NULL. */
int store_migrate(Store *store, unsigned *ret_applied, Error *error);
/* 0 when the schema is the one this binary was built for. */
int store_check_schema(Store *store, Error *error);
/* "sqlite" or "postgresql". */
const char *store_dialect(const Store *store);

typedef enum StoreAccess { STORE_READ, STORE_WRITE } StoreAccess;
/* Returns 0 to commit, negative (with *error set) to roll back. */
typedef int (*StoreJob)(StoreTransaction *transaction, void *context, Error *error);
/* Called once on a store thread, after commit or roll-back. */
typedef void (*StoreDone)(int result, const Error *error, void *context);

/* Queues a job; -EAGAIN with ERROR_BUSY when the bounded queue (16,384) is full, and `done` is then not called. */
int store_submit(Store *store, StoreAccess access, StoreJob job, StoreDone done, void *context, Error *error);
/* Runs a job and waits for its commit. */
int store_run(Store *store, StoreAccess access, StoreJob job, void *context, Error *error);
/* Runs a read job in the calling thread on that thread's own connection; SQLite only (-EOPNOTSUPP otherwise). */
int store_read(Store *store, StoreJob job, void *context, Error *error);

Arena *store_arena(StoreTransaction *transaction);
Usec store_now(StoreTransaction *transaction); /* wall clock, the same all through the job */
Store *store_of(StoreTransaction *transaction);
/* A fresh random id in the transaction's arena. */
const char *store_new_id(StoreTransaction *transaction);
/* A savepoint inside a job: runs `inner`; its failure undoes only its own changes. */
int store_nested(StoreTransaction *transaction, StoreJob inner, void *context, Error *error);
