/* SPDX-License-Identifier: Apache-2.0 */
/* The transitions that tasks of one execution share: becoming ready, counting down, ending. */

#include <inttypes.h>

#include "base/string.h"
#include "engine/engine_internal.h"

/* What an execution does to its cluster. */
typedef struct Workflow {
    const char *name;
    const char *cluster_running, *cluster_succeeded, *cluster_failed;
    const char *node_succeeded; /* status of all nodes afterwards; NULL = as they are */
} Workflow;

static const Workflow workflows[] = {
    {"create", "pending", "active", "incomplete", "ready"},
    {"delete", "deleting", "terminated", "incomplete", NULL},
    {"configure", "pending", "active", "inconsistent", "ready"},
    {"start", "pending", "active", "inconsistent", "ready"},
    {"stop", "pending", "active", "inconsistent", "ready"},
    {"restart", "pending", "active", "inconsistent", "ready"},
    {"add_services", "pending", "active", "inconsistent", "ready"},
    {"scale", "pending", "active", "inconsistent", "ready"},
    {"replace", "pending", "active", "inconsistent", "ready"},
};

static const Workflow *find_workflow(const char *name)
{
    for (size_t i = 0; i < ELEMENTSOF(workflows); i++)
        if (string_equal(workflows[i].name, name))
            return &workflows[i];
    return &workflows[0];
}

static int64_t now(const Transition *transition)
{
    return (int64_t)store_now(transition->transaction);
}

int engine_publish(StoreTransaction *transaction, const EngineEvent *event, EngineEffects *effects,
                   Error *error)
{
    int r = statement_event_insert(transaction,
                                   &(EventInsertParameters){.tenant = event->tenant,
                                                            .time = (int64_t)store_now(transaction),
                                                            .type = event->type,
                                                            .severity = event->severity ?: "info",
                                                            .cluster_id = event->cluster_id ?: "",
                                                            .execution_id = event->execution_id ?: "",
                                                            .node_id = event->node_id ?: "",
                                                            .task = event->task,
                                                            .message = event->message,
                                                            .data = event->data ?: "{}"},
                                   error);
    if (r < 0)
        return r;
    effects->has_events = true;
    return 0;
}

void *transition_grow(Transition *transition, void *items, size_t count, size_t *capacity, size_t item_size)
{
    if (count < *capacity)
        return items;
    *capacity = MAX(*capacity * 2, (size_t)16);
    void *larger = arena_allocate_array(store_arena(transition->transaction), *capacity, item_size);
    if (count > 0)
        memcpy(larger, items, count * item_size);
    return larger;
}

static void batch_add_record(Transition *transition, const AuditRecord *record)
{
    TransitionBatch *batch = transition->batch;
    batch->records = transition_grow(transition, batch->records, batch->record_count, &batch->record_capacity,
                                     sizeof(*record));
    batch->records[batch->record_count++] = *record;
}

/* The executions of a batch are few, and mostly the last one. */
static void batch_add_progress(Transition *transition, const char *tenant, const char *execution_id,
                               ExecutionProgress progress)
{
    TransitionBatch *batch = transition->batch;
    size_t i = batch->pending_count;
    while (i > 0 && !string_equal(batch->pending[i - 1].execution_id, execution_id))
        i--;
    if (i == 0) {
        batch->pending = transition_grow(transition, batch->pending, batch->pending_count,
                                         &batch->pending_capacity, sizeof(*batch->pending));
        batch->pending[batch->pending_count++] =
            (struct PendingProgress){.tenant = tenant, .execution_id = execution_id, .progress = progress};
        return;
    }
    ExecutionProgress *sum = &batch->pending[i - 1].progress;
    sum->finished += progress.finished;
    sum->leased += progress.leased;
    sum->failed += progress.failed;
    sum->undecided += progress.undecided;
}

int transition_flush(Transition *transition)
{
    int r = transition_release_batch(transition);
    TransitionBatch *batch = TAKE_PTR(transition->batch);
    for (size_t i = 0; i < batch->pending_count && r >= 0; i++)
        r = transition_progress(transition, batch->pending[i].tenant, batch->pending[i].execution_id,
                                batch->pending[i].progress);
    return r < 0 ? r
                 : audit_trail_append_many(transition->transaction, batch->records, batch->record_count,
                                           transition->error);
}

int transition_record_task(Transition *transition, TaskKey key, const char *cluster_id, const char *node_id,
                           const char *state, const char *severity, const char *message)
{
    int r = engine_publish(transition->transaction,
                           &(EngineEvent){.tenant = key.tenant,
                                          .type = state,
                                          .severity = severity,
                                          .cluster_id = cluster_id,
                                          .execution_id = key.execution_id,
                                          .node_id = node_id,
                                          .task = key.number,
                                          .message = message},
                           transition->effects, transition->error);
    if (r < 0)
        return r;
    char task[TASK_ID_SIZE];
    task_id_format(task, key.execution_id, key.number);
    AuditRecord record = {.actor = transition->actor,
                          .tenant = key.tenant,
                          .action = state,
                          .object = arena_format(store_arena(transition->transaction), "task:%s", task)};
    if (!transition->batch)
        return audit_trail_append(transition->transaction, &record, transition->error);
    batch_add_record(transition, &record);
    return 0;
}

static int set_cluster_status(Transition *transition, const char *tenant, const char *cluster_id,
                              const char *execution_id, const char *status, const char *message)
{
    int r = statement_cluster_set_status(transition->transaction,
                                         &(ClusterSetStatusParameters){.tenant = tenant,
                                                                       .id = cluster_id,
                                                                       .status = status,
                                                                       .status_message = message,
                                                                       .updated_at = now(transition)},
                                         transition->error);
    if (r < 0)
        return r;
    const char *text = arena_format(store_arena(transition->transaction), "The cluster is %s%s%s.", status,
                                    *message ? ": " : "", message);
    return engine_publish(transition->transaction,
                          &(EngineEvent){.tenant = tenant,
                                         .type = "cluster_status",
                                         .cluster_id = cluster_id,
                                         .execution_id = execution_id,
                                         .message = text,
                                         .severity = *message ? "error" : "info"},
                          transition->effects, transition->error);
}

int transition_begin_execution(Transition *transition, const char *tenant, const char *cluster_id)
{
    ExecutionNextPendingRow next;
    int r = statement_execution_next_pending(
        transition->transaction,
        &(ExecutionNextPendingParameters){.tenant = tenant, .cluster_id = cluster_id}, &next,
        transition->error);
    if (r <= 0 || !string_equal(next.status, "pending"))
        return MIN(r, 0);
    r = statement_execution_start(
        transition->transaction,
        &(ExecutionStartParameters){.tenant = tenant, .id = next.id, .started_at = now(transition)},
        transition->error);
    if (r < 0)
        return r;

    ExecutionGetRow execution;
    r = statement_execution_get(transition->transaction,
                                &(ExecutionGetParameters){.tenant = tenant, .id = next.id}, &execution,
                                transition->error);
    return r < 0 ? r : transition_take_up(transition, tenant, &execution);
}

int transition_take_up(Transition *transition, const char *tenant, const ExecutionGetRow *execution)
{
    int r = set_cluster_status(transition, tenant, execution->cluster_id, execution->id,
                               find_workflow(execution->workflow)->cluster_running, "");
    ExecutionProgress progress = {0};
    if (r >= 0)
        r = transition_release_roots(transition, (TaskKey){tenant, execution->id, 0}, &progress);
    return r < 0 ? r : transition_progress(transition, tenant, execution->id, progress);
}

static int finish_execution(Transition *transition, const char *tenant, const char *id,
                            const char *cluster_id, const Workflow *workflow, const char *status)
{
    ExecutionGetRow execution;
    int r = statement_execution_get(transition->transaction,
                                    &(ExecutionGetParameters){.tenant = tenant, .id = id}, &execution,
                                    transition->error);
    if (r >= 0)
        r = statement_execution_finish(
            transition->transaction,
            &(ExecutionFinishParameters){
                .tenant = tenant, .id = id, .status = status, .finished_at = now(transition)},
            transition->error);
    if (r >= 0)
        r = statement_nodes_release(transition->transaction,
                                    &(NodesReleaseParameters){.tenant = tenant, .cluster_id = cluster_id},
                                    transition->error);
    bool is_success = string_equal(status, "terminated");
    if (r >= 0 && is_success && workflow->node_succeeded)
        r = statement_nodes_all_set_status(transition->transaction,
                                           &(NodesAllSetStatusParameters){.tenant = tenant,
                                                                          .cluster_id = cluster_id,
                                                                          .status = workflow->node_succeeded,
                                                                          .updated_at = now(transition)},
                                           transition->error);
    /* The generated secrets of a cluster die with it. */
    if (r >= 0 && is_success && string_equal(workflow->cluster_succeeded, "terminated"))
        r = statement_sealed_values_delete_owner(transition->transaction,
                                                 &(SealedValuesDeleteOwnerParameters){.tenant = tenant,
                                                                                      .owner_kind = "cluster",
                                                                                      .owner = cluster_id},
                                                 transition->error);
    if (r >= 0)
        r = set_cluster_status(transition, tenant, cluster_id, id,
                               is_success ? workflow->cluster_succeeded : workflow->cluster_failed,
                               is_success ? "" : execution.error);
    if (r >= 0)
        r = engine_publish(
            transition->transaction,
            &(EngineEvent){.tenant = tenant,
                           .type = is_success                          ? "execution_succeeded"
                                   : string_equal(status, "cancelled") ? "execution_cancelled"
                                                                       : "execution_failed",
                           .severity = is_success ? "info" : "error",
                           .cluster_id = cluster_id,
                           .execution_id = id,
                           .message = is_success ? "All tasks have succeeded." : execution.error},
            transition->effects, transition->error);
    if (r < 0)
        return r;
    return transition_begin_execution(transition, tenant, cluster_id);
}

int transition_progress(Transition *transition, const char *tenant, const char *execution_id,
                        ExecutionProgress progress)
{
    if (transition->batch) {
        batch_add_progress(transition, tenant, execution_id, progress);
        return 0;
    }
    ExecutionCountTasksRow row;
    int r = statement_execution_count_tasks(transition->transaction,
                                            &(ExecutionCountTasksParameters){.tenant = tenant,
                                                                             .id = execution_id,
                                                                             .finished = progress.finished,
                                                                             .leased = progress.leased,
                                                                             .failed = progress.failed,
                                                                             .undecided = progress.undecided},
                                            &row, transition->error);
    if (r <= 0)
        return r;
    const Workflow *workflow = find_workflow(row.workflow);
    if (execution_is_going(row.status) && row.tasks_finished >= row.tasks_total)
        return finish_execution(transition, tenant, execution_id, row.cluster_id, workflow, "terminated");
    if (execution_is_going(row.status))
        return string_equal(row.status, "paused") ? transition_hold(transition, tenant, execution_id) : 0;
    bool is_failing = string_equal(row.status, "failing"),
         is_cancelling = string_equal(row.status, "cancelling");
    if ((!is_failing && !is_cancelling) || row.tasks_leased > 0)
        return 0;
    r = statement_tasks_give_up_undecided(transition->transaction,
                                          &(TasksGiveUpUndecidedParameters){.tenant = tenant,
                                                                            .execution_id = execution_id,
                                                                            .finished_at = now(transition)},
                                          transition->error);
    if (r > 0)
        r = statement_execution_count_tasks(
            transition->transaction,
            &(ExecutionCountTasksParameters){
                .tenant = tenant, .id = execution_id, .finished = r, .failed = r, .undecided = -r},
            &row, transition->error);
    if (r < 0)
        return r;
    return finish_execution(transition, tenant, execution_id, row.cluster_id, workflow,
                            is_failing ? "failed" : "cancelled");
}

int transition_stop_execution(Transition *transition, const char *tenant, const char *execution_id,
                              const char *status, const char *reason, ExecutionProgress progress)
{
    int r = statement_execution_set_status(
        transition->transaction,
        &(ExecutionSetStatusParameters){
            .tenant = tenant, .id = execution_id, .status = status, .error = reason},
        transition->error);
    if (r < 0)
        return r;
    r = statement_tasks_cancel_open(transition->transaction,
                                    &(TasksCancelOpenParameters){.tenant = tenant,
                                                                 .execution_id = execution_id,
                                                                 .finished_at = now(transition)},
                                    transition->error);
    if (r < 0)
        return r;
    progress.finished += r;
    return transition_progress(transition, tenant, execution_id, progress);
}
