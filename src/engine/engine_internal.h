/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* What the files of the engine share. A `Transition` is one job's view: the transaction, its effects and the
 * error. */

#include <pthread.h>

#include "base/map.h"
#include "engine/audit_trail.h"
#include "engine/engine.h"
#include "store/statements.h"

enum { TASK_ID_SIZE = 40 };

struct Engine {
    EngineSettings settings;
    pthread_mutex_t lock; /* over leases */
    StringMap *leases;    /* task id to HeldLease */
    bool is_limited;      /* a quota has kept tasks back since the start; under the lock */
    bool has_recovered;   /* leases may be there that no heartbeat has named since the start */
};

typedef struct HeldLease {
    int64_t attempt;
    char provisioner_id[ID_SIZE];
    Usec deadline;     /* monotonic */
    bool is_recovered; /* found at the start; no heartbeat of its provisioner since */
} HeldLease;

/* A task as its execution knows it. */
typedef struct TaskKey {
    const char *tenant, *execution_id;
    int64_t number;
} TaskKey;

typedef struct ExecutionProgress {
    int64_t finished, leased, failed, undecided; /* to add */
} ExecutionProgress;

/* A task that has succeeded, and the node it held ('' = none). */
typedef struct ReleasedTask {
    TaskKey key;
    const char *node_id;
} ReleasedTask;

/* What many tasks of one job share and is done once at its end: the counters of their executions, the audit
 * records, what waits for them. In the transaction's arena. */
typedef struct TransitionBatch {
    struct PendingProgress {
        const char *tenant, *execution_id;
        ExecutionProgress progress;
    } * pending;
    size_t pending_count, pending_capacity;
    AuditRecord *records;
    size_t record_count, record_capacity;
    ReleasedTask *released;
    size_t released_count, released_capacity;
    const char *entitled_execution; /* whose right to go on was asked for last, and is there */
} TransitionBatch;

typedef struct Transition {
    Engine *engine;
    StoreTransaction *transaction;
    EngineEffects *effects;
    Error *error;
    const char *actor;      /* for the audit trail */
    TransitionBatch *batch; /* NULL = everything is written at once */
} Transition;

void task_id_format(char destination[static TASK_ID_SIZE], const char *execution_id, int64_t number);

/* effects.c */
void effects_lease(EngineEffects *effects, const char *execution_id, int64_t number,
                   const char *provisioner_id, int64_t attempt);
/* As effects_lease, for one that the manager found at its start. */
void effects_recover(EngineEffects *effects, const char *execution_id, int64_t number,
                     const char *provisioner_id, int64_t attempt);
void effects_release(EngineEffects *effects, const char *execution_id, int64_t number);

/* transitions.c */
int transition_begin_execution(Transition *transition, const char *tenant, const char *cluster_id);
/* Room for one more in an array of the arena; what was there stays. */
void *transition_grow(Transition *transition, void *items, size_t count, size_t *capacity, size_t item_size);
/* Adds to the counters; ends the execution when nothing is left to wait for. In a batch: at its end. */
int transition_progress(Transition *transition, const char *tenant, const char *execution_id,
                        ExecutionProgress progress);
/* Writes what the batch has gathered; then there is none. */
int transition_flush(Transition *transition);
/* Cancels what nobody began and adds *progress; status is `failing` or `cancelling`. */
int transition_stop_execution(Transition *transition, const char *tenant, const char *execution_id,
                              const char *status, const char *reason, ExecutionProgress progress);
/* The cluster works again for an execution that was opened again. */
int transition_take_up(Transition *transition, const char *tenant, const ExecutionGetRow *execution);
int transition_record_task(Transition *transition, TaskKey key, const char *cluster_id, const char *node_id,
                           const char *state, const char *severity, const char *message);

/* report.c */
int transition_find_task(Transition *transition, TaskKey key, TasksForReportRow *ret_row); /* 1 = found */

/* release.c */
/* The node of a task that has succeeded goes to the next, and its successors are counted down; joins that
 * this ends are added to *progress. In a batch: at its end, for all of its tasks. */
int transition_release(Transition *transition, TaskKey key, const char *node_id, ExecutionProgress *progress);
int transition_release_batch(Transition *transition);
/* The tasks of a fresh execution that wait for nothing. */
int transition_release_roots(Transition *transition, TaskKey key, ExecutionProgress *progress);

/* steer.c */
/* Started or paused: neither ending nor ended. */
bool execution_is_going(const char *status);
/* Nothing of a paused execution may be handed out. */
int transition_hold(Transition *transition, const char *tenant, const char *execution_id);
/* hold.c: 1 when who answers for the execution may still have it done; otherwise it stands still from now on
 * and the answer is 0. */
int execution_check_entitled(Transition *transition, const char *tenant, const char *execution_id);

/* node_state.c */
int node_state_begin(Transition *transition, const char *tenant, const char *cluster_id, const char *node_id,
                     const char *action);
/* Checks the result of a task without storing it; the error says what is wrong with it. */
int node_state_check(const char *result, Error *error);
int node_state_finish(Transition *transition, TaskKey key, const char *cluster_id, const char *node_id,
                      const char *action, const char *service, const char *result);
int node_state_fail(Transition *transition, const char *tenant, const char *cluster_id, const char *node_id);
