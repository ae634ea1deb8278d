/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* One task, from its start to its report, on a thread of its own. What a task may use is in its context; what
 * it gives back in its outcome. Each kind of task has one executor in the table of execute.c; providers and
 * automators have registries of their own. */

#include <stdatomic.h>

#include "provisioner/approval.h"
#include "provisioner/credentials.h"
#include "provisioner/manager.h"
#include "provisioner/mask.h"
#include "provisioner/node.h"
#include "provisioner/task.h"

typedef struct ExecuteServices { /* of the process, shared by all tasks */
    Manager *manager;
    Credentials *credentials;
    Approval *approval;
    SshPool *pool;
    const Secret *envelope_key;
    const char *sandbox_socket;
    const char *ca_file; /* PEM of the internal CA, given to nodes with their certificates */
    uint64_t epoch;
    /* Queues masked output for the manager; blocks while the queue is full. */
    void (*send_output)(const Task *task, RunnerStream stream, uint64_t offset, const void *data, size_t size,
                        void *userdata);
    void *userdata;
} ExecuteServices;

typedef struct ExecuteContext {
    const ExecuteServices *services;
    const Task *task;
    Usec deadline;            /* monotonic */
    atomic_bool is_cancelled; /* by the manager: end it on the node too */
    atomic_bool is_abandoned; /* stop waiting, leave the node alone (we stop, or the lease is lost) */
    Mask *mask;
    Secret **secrets; /* opened, beside their names */
    const char **secret_names;
    size_t secret_count;
} ExecuteContext;

typedef enum OutcomeState {
    OUTCOME_SUCCEEDED,
    OUTCOME_FAILED,
    OUTCOME_CANCELLED,
    OUTCOME_UNKNOWN
} OutcomeState;
const char *outcome_state_to_string(OutcomeState state);

typedef struct Outcome {
    OutcomeState state;
    bool is_retry_sensible;
    json_t *result; /* owned, or NULL */
    Error error;    /* unless it succeeded; masked */
} Outcome;
void outcome_done(Outcome *outcome);

/* Never fails: every end is an outcome. */
void execute_task(ExecuteContext *context, Outcome *ret_outcome);

/* For executors: the way to the task's node, or ERROR_BAD_FIELD when the task has no address or host key. */
int execute_door(ExecuteContext *context, NodeDoor *ret_door, Error *error);
/* Runs a script of the task's bundle on its node under the given step id; fills state and result. */
int execute_script(ExecuteContext *context, const char *step, const char *script, Outcome *outcome,
                   Error *error);

/* The executors. 0 or negative with an Error; they may set state and result. */
int execute_provider(ExecuteContext *context, Outcome *outcome, Error *error);
int execute_automator(ExecuteContext *context, Outcome *outcome, Error *error);
int execute_firewall(ExecuteContext *context, Outcome *outcome, Error *error);
int execute_certificate(ExecuteContext *context, Outcome *outcome, Error *error);
int execute_bootstrap(ExecuteContext *context, Outcome *outcome, Error *error);
