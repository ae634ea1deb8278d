/* SPDX-License-Identifier: Apache-2.0 */
/* What people do to executions while they run and after they failed: pause, resume, retry.
 *
 * Pausing holds back every task that could be handed out (is_runnable = 2: ready, its node free, held); what
 * runs goes on, and what becomes ready meanwhile is held by the transaction that makes it so. Retrying takes
 * up the same graph: what succeeded stays as it is, all else waits again for what it waited for. A step whose
 * run was seen to end gets the next run; one whose outcome nobody knows keeps its run, so that the node
 * answers with what it has recorded, or is attached to. */

#include <inttypes.h>

#include "base/string.h"
#include "engine/engine_internal.h"

bool execution_is_going(const char *status)
{
    return string_equal(status, "started") || string_equal(status, "paused");
}

static int find(Transition *transition, const char *tenant, const char *id, ExecutionGetRow *row)
{
    int r = statement_execution_get(transition->transaction,
                                    &(ExecutionGetParameters){.tenant = tenant, .id = id}, row,
                                    transition->error);
    if (r < 0)
        return r;
    return r == 1 ? 0 : error_set(transition->error, ERROR_NOT_FOUND, "There is no execution '%s'.", id);
}

static int set_status(Transition *transition, const char *tenant, const ExecutionGetRow *execution,
                      const char *status, const char *event)
{
    int r = statement_execution_set_status(
        transition->transaction,
        &(ExecutionSetStatusParameters){.status = status, .error = "", .tenant = tenant, .id = execution->id},
        transition->error);
    if (r < 0)
        return r;
    return engine_publish(
        transition->transaction,
        &(EngineEvent){.tenant = tenant,
                       .type = event,
                       .cluster_id = execution->cluster_id,
                       .execution_id = execution->id,
                       .message = arena_format(store_arena(transition->transaction), "%s by %s",
                                               string_equal(status, "paused") ? "paused" : "resumed",
                                               transition->actor)},
        transition->effects, transition->error);
}

int transition_hold(Transition *transition, const char *tenant, const char *execution_id)
{
    return MIN(0, statement_tasks_hold(transition->transaction,
                                       &(TasksHoldParameters){.tenant = tenant, .execution_id = execution_id},
                                       transition->error));
}

int engine_pause(Engine *engine, StoreTransaction *transaction, const char *tenant, const char *execution_id,
                 const char *actor, EngineEffects *effects, Error *error)
{
    Transition transition = {
        .engine = engine, .transaction = transaction, .effects = effects, .error = error, .actor = actor};
    ExecutionGetRow execution;
    int r = find(&transition, tenant, execution_id, &execution);
    if (r < 0 || string_equal(execution.status, "paused"))
        return r;
    if (!string_equal(execution.status, "started"))
        return error_set(error, ERROR_CONFLICT, "The execution is %s and cannot be paused.",
                         execution.status);
    r = set_status(&transition, tenant, &execution, "paused", "execution_paused");
    return r < 0 ? r : transition_hold(&transition, tenant, execution_id);
}

int engine_unpause(Engine *engine, StoreTransaction *transaction, const char *tenant,
                   const char *execution_id, const char *actor, EngineEffects *effects, Error *error)
{
    Transition transition = {
        .engine = engine, .transaction = transaction, .effects = effects, .error = error, .actor = actor};
    ExecutionGetRow execution;
    int r = find(&transition, tenant, execution_id, &execution);
    if (r < 0 || string_equal(execution.status, "started"))
        return r;
    if (!string_equal(execution.status, "paused"))
        return error_set(error, ERROR_CONFLICT, "The execution is %s, not paused.", execution.status);
    r = set_status(&transition, tenant, &execution, "started", "execution_resumed");
    if (r >= 0)
        r = statement_tasks_unhold(
            transaction, &(TasksUnholdParameters){.tenant = tenant, .execution_id = execution_id}, error);
    effects->has_runnable = true;
    return MIN(r, 0);
}

/* Only the cluster's last work, and only while nothing else is under way. */
static int check_retry(Transition *transition, const char *tenant, const ExecutionGetRow *execution)
{
    if (!string_equal(execution->status, "failed") && !string_equal(execution->status, "cancelled"))
        return error_set(transition->error, ERROR_CONFLICT, "The execution is %s; there is nothing to retry.",
                         string_equal(execution->status, "terminated") ? "complete" : execution->status);
    ClusterGetRow cluster;
    ExecutionNextPendingRow open;
    int r = statement_cluster_get(transition->transaction,
                                  &(ClusterGetParameters){.tenant = tenant, .id = execution->cluster_id},
                                  &cluster, transition->error);
    if (r <= 0)
        return r < 0 ? r : error_set(transition->error, ERROR_NOT_FOUND, "The cluster is gone.");
    if (!string_equal(cluster.execution_id, execution->id))
        return error_set(transition->error, ERROR_CONFLICT,
                         "The cluster has had other work since; only the last one can be retried.");
    r = statement_execution_next_pending(
        transition->transaction,
        &(ExecutionNextPendingParameters){.tenant = tenant, .cluster_id = execution->cluster_id}, &open,
        transition->error);
    if (r > 0)
        return error_set(transition->error, ERROR_CONFLICT, "Work on the cluster is under way.");
    return r;
}

int engine_retry(Engine *engine, StoreTransaction *transaction, const char *tenant, const char *execution_id,
                 const char *actor, EngineEffects *effects, Error *error)
{
    Transition transition = {
        .engine = engine, .transaction = transaction, .effects = effects, .error = error, .actor = actor};
    ExecutionGetRow execution;
    int r = find(&transition, tenant, execution_id, &execution);
    if (r >= 0)
        r = check_retry(&transition, tenant, &execution);
    if (r >= 0)
        r = statement_tasks_reopen(
            transaction, &(TasksReopenParameters){.tenant = tenant, .execution_id = execution_id}, error);
    if (r >= 0)
        r = statement_execution_reopen(
            transaction,
            &(ExecutionReopenParameters){.responsible = actor, .tenant = tenant, .id = execution_id}, error);
    if (r >= 0)
        r = engine_publish(
            transaction,
            &(EngineEvent){.tenant = tenant,
                           .type = "execution_retried",
                           .cluster_id = execution.cluster_id,
                           .execution_id = execution_id,
                           .message = arena_format(store_arena(transaction), "retried by %s", actor)},
            effects, error);
    return r < 0 ? r : transition_take_up(&transition, tenant, &execution);
}
