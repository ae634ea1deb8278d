/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* The task engine: executions of clusters as graphs of persistent tasks.
 *
 * Theory of operation. A graph is stored whole before its first task is handed out. A task is `waiting` until
 * its last predecessor has succeeded, then `ready`, then `leased` by a provisioner, then `succeeded`,
 * `failed`, `cancelled` or `needs_decision`. There is no stage barrier and no polling: the transaction that
 * ends a task also counts down its successors. At most one task holds a node; a ready task whose node is
 * taken waits for it (is_runnable = 0) and is made runnable by the transaction that gives the node back.
 * Tasks of kind `join` are ended by the engine itself; they stand for "all of these" without a quadratic
 * number of edges.
 *
 * One transition is one transaction: state, counters of successors, node, execution, cluster, event and audit
 * rows. A lease carries the attempt (how often the task was delivered) and the epoch of the provisioner's
 * session; a report of any other attempt or epoch is refused. Deadlines of leases are monotonic and live in
 * memory only: after a restart each lease gets fresh grace. `run` counts effects: a lost lease delivers the
 * same run again (the runner on the node then answers with what it has recorded), a failed run is followed by
 * the next.
 *
 * Threads: the functions that take a StoreTransaction run in write jobs of the store and touch no memory of
 * the engine but through EngineEffects, which the job's owner applies with engine_apply() after the commit,
 * and drops otherwise. All other functions may be called from any thread; they take the engine's one lock and
 * never block on anything else. */

#include "base/clock.h"
#include "base/error.h"
#include "store/store.h"

typedef struct Engine Engine;

typedef struct EngineSettings {
    const Clock *clock;
    Random *random;
    Usec lease;           /* 0 = 30 s */
    Usec retry_base;      /* first back-off; doubles; 0 = 2 s */
    Usec retry_maximum;   /* 0 = 5 min */
    int maximum_failures; /* of a task that does not say; 0 = 3 */
    /* Called by engine_apply() without the lock: there may be tasks to hand out. */
    void (*wake)(void *userdata);
    /* Called by engine_apply(): there are new events. */
    void (*published)(void *userdata);
    /* In the job that hands out tasks, before the first of an execution: 1 when who answers for it may still
     * have it done, else 0, and it then stands still until somebody entitled has it go on. NULL = always. */
    int (*is_entitled)(StoreTransaction *transaction, const char *tenant, const char *username,
                       const char *cluster_id, const char *workflow, void *userdata, Error *error);
    void *userdata;
} EngineSettings;

Engine *engine_new(const EngineSettings *settings);
Engine *engine_free(Engine *engine);
DEFINE_CLEANUP(Engine, engine_free);

/* What a job did that memory must follow once it is committed. */
typedef struct EngineEffects {
    struct EngineLeaseChange {
        char *task; /* owned id */
        char *provisioner_id;
        int64_t attempt; /* 0 = the lease ended */
        bool is_recovered;
    } * changes;
    size_t change_count, change_capacity;
    bool has_events, has_runnable;
    bool was_limited; /* tasks were kept back by a quota: the end of any lease may make room for them */
} EngineEffects;
/* Jobs may run more than once: called at the start of each run. */
void engine_effects_reset(EngineEffects *effects);
void engine_effects_done(EngineEffects *effects);
void engine_apply(Engine *engine, EngineEffects *effects);

/* Graph to be run. Numbers of tasks are their index + 1. */
typedef struct EngineTask {
    const char *kind, *action;
    const char *service; /* NULL = none */
    const char *node_id; /* NULL = none */
    const char *details; /* JSON text; NULL = {} */
    int64_t timeout_ms;
    int maximum_failures; /* 0 = default */
    bool is_idempotent;
} EngineTask;

typedef struct EngineEdge {
    uint32_t predecessor, successor; /* numbers */
} EngineEdge;

typedef struct EngineGraph {
    const char *tenant, *cluster_id, *workflow, *created_by;
    const char *parameters; /* JSON text */
    const EngineTask *tasks;
    size_t task_count;
    const EngineEdge *edges;
    size_t edge_count;
} EngineGraph;

enum { ENGINE_TASKS_MAX = 1000000, ENGINE_EDGES_MAX = 4000000 };

/* Stores the graph and starts it, unless another execution of the cluster is open: then it starts when that
 * one has ended. ERROR_CYCLE when the graph has one. The id is in the transaction's arena. */
int engine_submit(Engine *engine, StoreTransaction *transaction, const EngineGraph *graph,
                  const char **ret_execution_id, EngineEffects *effects, Error *error);

/* A task handed out. Strings are in the transaction's arena. */
typedef struct EngineLease {
    const char *tenant, *task, *step, *execution_id, *cluster_id, *node_id, *kind, *action, *service,
        *details;
    int64_t attempt, failures, timeout_ms;
    bool is_idempotent;
} EngineLease;

/* Leases up to `maximum` tasks, turning from tenant to tenant. */
int engine_lease(Engine *engine, StoreTransaction *transaction, const char *provisioner_id, int64_t epoch,
                 unsigned maximum, EngineLease **ret_leases, size_t *ret_count, EngineEffects *effects,
                 Error *error);

typedef enum EngineReportState {
    ENGINE_REPORT_SUCCEEDED,
    ENGINE_REPORT_FAILED,
    ENGINE_REPORT_CANCELLED,
    ENGINE_REPORT_UNKNOWN, /* nobody can know whether the step took effect */
    _ENGINE_REPORT_MAX,
    _ENGINE_REPORT_INVALID = -22,
} EngineReportState;
EngineReportState engine_report_state_from_string(const char *text);

typedef struct EngineReport {
    const char *task;
    int64_t attempt;
    EngineReportState state;
    bool is_retry_sensible; /* for FAILED */
    const char *error_code, *error_message;
    const char *result; /* JSON object text; NULL = {} */
} EngineReport;

/* 1 = accepted, 0 = stale (another attempt, session or state), negative on errors of the store. */
int engine_report(Engine *engine, StoreTransaction *transaction, const char *provisioner_id, int64_t epoch,
                  const EngineReport *report, EngineEffects *effects, Error *error);

/* All or nothing, in this order; what the tasks share is written once. Accepted or stale, one by one. */
int engine_report_many(Engine *engine, StoreTransaction *transaction, const char *provisioner_id,
                       int64_t epoch, const EngineReport *reports, size_t count, bool *ret_is_accepted,
                       EngineEffects *effects, Error *error);

/* Gives a task back without a run: the provisioner drains or could not begin. 1 = done, 0 = stale. */
int engine_give_back(Engine *engine, StoreTransaction *transaction, const char *provisioner_id, int64_t epoch,
                     const char *task, int64_t attempt, EngineEffects *effects, Error *error);

/* Stops handing out tasks of the execution; what runs is told through the heartbeat. Force: does not wait for
 * it. ERROR_CONFLICT when it has ended. */
int engine_cancel(Engine *engine, StoreTransaction *transaction, const char *tenant, const char *execution_id,
                  bool is_forced, const char *actor, EngineEffects *effects, Error *error);

/* Nothing more is handed out; what runs goes on. Paused already: nothing happens. ERROR_CONFLICT when it does
 * not run. */
int engine_pause(Engine *engine, StoreTransaction *transaction, const char *tenant, const char *execution_id,
                 const char *actor, EngineEffects *effects, Error *error);
/* A paused one goes on. ERROR_CONFLICT when it neither runs nor is paused. */
int engine_unpause(Engine *engine, StoreTransaction *transaction, const char *tenant,
                   const char *execution_id, const char *actor, EngineEffects *effects, Error *error);
/* Takes up an execution that failed or was cancelled where it stopped: only what has not succeeded is run.
 * The actor, whose right to it was checked, answers for it from
 * now on. ERROR_CONFLICT when it has not failed, or is not the cluster's last. */
int engine_retry(Engine *engine, StoreTransaction *transaction, const char *tenant, const char *execution_id,
                 const char *actor, EngineEffects *effects, Error *error);
/* An execution that stands still goes on; the actor, whose right to it was checked, answers for it from now
 * on. ERROR_CONFLICT when it does not stand still. */
int engine_resume(Engine *engine, StoreTransaction *transaction, const char *tenant, const char *execution_id,
                  const char *actor, EngineEffects *effects, Error *error);

typedef enum EngineDecision {
    ENGINE_DECISION_RETRY, /* run the step again */
    ENGINE_DECISION_DONE,  /* it took effect */
    ENGINE_DECISION_FAIL,
    _ENGINE_DECISION_MAX,
    _ENGINE_DECISION_INVALID = -22,
} EngineDecision;
EngineDecision engine_decision_from_string(const char *text);
int engine_decide(Engine *engine, StoreTransaction *transaction, const char *tenant, const char *task,
                  EngineDecision decision, const char *actor, EngineEffects *effects, Error *error);

/* Splits "<execution>-<number>"; false when malformed. */
bool engine_task_parse(const char *task, char execution_id[static ID_SIZE], int64_t *ret_number);

/* Leases in memory
 * ----------------------------------------------------------------------------------------------- */

/* After a start: every lease in the database gets fresh grace. In a job of its own (read). */
int engine_recover(Engine *engine, StoreTransaction *transaction, EngineEffects *effects, Error *error);
/* A heartbeat: renews the leases of this provisioner that it names; gives the tasks it holds but should not
 * (`lost`) and those to cancel. It names all that it holds: what this manager found leased at its start and
 * the first heartbeat does not name never reached the provisioner, because the answer with it was lost with
 * the manager's process, and lapses at once. */
typedef struct EngineHeld {
    const char *task;
    int64_t attempt;
} EngineHeld;
void engine_renew(Engine *engine, const char *provisioner_id, const EngineHeld *held, size_t count,
                  bool *is_lost);
/* Leases whose deadline has passed: owned array of owned ids with attempts. Each is given to engine_expire().
 */
typedef struct EngineExpired {
    char task[40];
    int64_t attempt;
} EngineExpired;
size_t engine_collect_expired(Engine *engine, EngineExpired **ret_expired);
/* Offers a task again whose lease lapsed; nothing happens when it was reported meanwhile. */
int engine_expire(Engine *engine, StoreTransaction *transaction, const EngineExpired *expired,
                  EngineEffects *effects, Error *error);
/* The earliest deadline of a lease on the monotonic clock, or USEC_INFINITY. */
Usec engine_next_deadline(Engine *engine);
size_t engine_lease_count(Engine *engine);

/* Events and audit
 * ------------------------------------------------------------------------------------------------ */

typedef struct EngineEvent {
    const char *tenant, *type, *severity;            /* NULL severity = info */
    const char *cluster_id, *execution_id, *node_id; /* NULL = none */
    int64_t task;
    const char *message;
    const char *data; /* JSON text; NULL = {} */
} EngineEvent;
int engine_publish(StoreTransaction *transaction, const EngineEvent *event, EngineEffects *effects,
                   Error *error);
