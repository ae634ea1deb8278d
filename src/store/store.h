/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* The store: one interface, SQLite (embedded) and PostgreSQL behind it. Everything that reads or writes does
 * so in a job: a synchronous function run on a store thread inside a transaction. Any thread may submit, run
 * and read; a StoreTransaction belongs to its job.
 *
 * One writer thread; as many write jobs as are waiting, or 2 ms, make one batch, each undone on its own when
 * it fails; `done` is called after the COMMIT, so what was acknowledged is durable. Read jobs run on reader
 * threads on a snapshot, on SQLite also at once in the caller's thread with store_read(). On PostgreSQL
 * others may write, too, and what loses a race is run again: a job may run more than once and must have no
 * effect outside the transaction; what must happen after the commit goes into `done`.
 *
 * Statements are generated from src/store/statements/<aggregate>.sql into typed functions `int
 * statement_<name>(StoreTransaction *, const <Name>Parameters *, ...)` in "store/statements.h" (no parameters
 * argument when there are none); the generator refuses a statement that does not name the tenant where the
 * table has one. Rows live in the transaction's arena, which lasts until `done` has returned, or until
 * store_run() or store_read() returns: copy what must live longer.
 *
 * A statement that fails spoils its transaction: every later one is refused and the job cannot commit. A job
 * that expects a failure (say ERROR_CONFLICT) and wants to go on runs the statement in store_nested(). Unique
 * violations are ERROR_CONFLICT, missing references ERROR_BAD_REFERENCE.
 *
 * Statements of the kind `send` have no answer. On PostgreSQL they travel with the next one that has, and
 * what they failed with is told by it, or at the end of the savepoint or job: who wants to say more about a
 * failure than its code uses `exec`. */

#include "base/clock.h"
#include "base/error.h"
#include "base/memory.h"

typedef struct Store Store;
typedef struct StoreTransaction StoreTransaction;

typedef struct StoreSettings {
    /* "sqlite:/path/to/file" (or "sqlite::memory:" for tests), or "postgresql:<libpq conninfo>", which must
     * say sslmode=verify-full unless the host is a Unix socket. */
    const char *location; /* copied */
    unsigned readers;     /* threads that read, each with a connection; 0 = 2 */
    const Clock *clock;   /* NULL = the system's; as `random` must outlive the store */
    Random *random;
    /* For tests and the simulator: no threads. store_run() and store_submit() run the job at once in the
     * caller's thread; `done` is called before store_submit() returns, or, when called from a job or a
     * `done`, before the outermost call returns. One thread at a time. */
    bool is_synchronous;
} StoreSettings;

int store_open(const StoreSettings *settings, Store **ret_store, Error *error);
/* Finishes what is queued. No other thread may be inside a function of the store. Returns NULL. */
Store *store_close(Store *store);
DEFINE_CLEANUP(Store, store_close);
/* Runs the migrations that are missing (each in a transaction). ret_applied may be NULL. */
int store_migrate(Store *store, unsigned *ret_applied, Error *error);
/* 0 when the schema is the one this binary was built for. */
int store_check_schema(Store *store, Error *error);
/* 0, or negative when the store refuses to write because a sync to disk failed and what is on disk is not
 * known: the program should end and be started again. */
int store_check_health(Store *store, Error *error);
/* How many transactions may have changed the watched tables (those that say who may do what; the build names
 * them). Grows after the commit and before `done`, so what was read from the database is still true while the
 * number is the same as before the reading began. Of this process only. Any thread. */
uint64_t store_watched_changes(const Store *store);
/* "sqlite" or "postgresql". */
const char *store_dialect(const Store *store);

typedef enum StoreAccess { STORE_READ, STORE_WRITE } StoreAccess;
/* Returns 0 to commit, negative (with *error set) to roll back. */
typedef int (*StoreJob)(StoreTransaction *transaction, void *context, Error *error);
/* Called once on a store thread, after commit or roll-back. Must be quick, and must not call store_run(). */
typedef void (*StoreDone)(int result, const Error *error, void *context);

/* Queues a job; -EAGAIN with ERROR_BUSY when the bounded queue (16,384) is full, and `done` is then not
 * called. */
int store_submit(Store *store, StoreAccess access, StoreJob job, StoreDone done, void *context, Error *error);
/* Runs a job and waits for its commit; never from a job or a `done`. Returns what the job returned, or
 * negative. */
int store_run(Store *store, StoreAccess access, StoreJob job, void *context, Error *error);
/* Runs a read job in the calling thread on that thread's own connection; SQLite only (-EOPNOTSUPP otherwise).
 */
int store_read(Store *store, StoreJob job, void *context, Error *error);

Arena *store_arena(StoreTransaction *transaction);
Usec store_now(StoreTransaction *transaction); /* wall clock, the same all through the job */
Store *store_of(StoreTransaction *transaction);
/* A fresh random id in the transaction's arena; another one when the job is run again. */
const char *store_new_id(StoreTransaction *transaction);
/* Whether this job has written to a watched table. */
bool store_has_watched_change(const StoreTransaction *transaction);
/* A savepoint inside a job: runs `inner`; its failure undoes only its own changes. *error is then set: clear
 * it when the job goes on. At most 8 deep. */
int store_nested(StoreTransaction *transaction, StoreJob inner, void *context, Error *error);
