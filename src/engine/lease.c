/* SPDX-License-Identifier: Apache-2.0 */
/* Handing out tasks and taking them back. */

#include <inttypes.h>

#include "base/string.h"
#include "engine/engine_internal.h"

/* How many tasks one tenant gets before the next tenant's turn. */
enum { TURN_SIZE = 16, LEASE_MAXIMUM = 256 };

static int describe(Transition *transition, const TasksLeaseRow *row, const char *provisioner_id,
                    EngineLease *lease)
{
    Arena *arena = store_arena(transition->transaction);
    char task[TASK_ID_SIZE];
    task_id_format(task, row->execution_id, row->number);
    *lease = (EngineLease){
        .tenant = row->tenant,
        .task = arena_string(arena, task),
        .step = arena_format(arena, "%s.%" PRId64, task, row->run),
        .execution_id = row->execution_id,
        .cluster_id = row->cluster_id,
        .node_id = row->node_id,
        .kind = row->kind,
        .action = row->action,
        .service = row->service,
        .details = row->details,
        .attempt = row->attempt,
        .failures = row->failures,
        .timeout_ms = row->timeout_ms,
        .is_idempotent = row->is_idempotent,
    };
    effects_lease(transition->effects, row->execution_id, row->number, provisioner_id, row->attempt);
    int r = node_state_begin(transition, row->tenant, row->cluster_id, row->node_id, row->action);
    if (r >= 0)
        r = transition_progress(transition, row->tenant, row->execution_id, (ExecutionProgress){.leased = 1});
    if (r >= 0)
        r = transition_record_task(
            transition, (TaskKey){row->tenant, row->execution_id, row->number}, row->cluster_id, row->node_id,
            "task_started", "info",
            arena_format(arena, "%s%s%s", row->action, *row->service ? " " : "", row->service));
    return r;
}

/* Nobody may have this done any more: the task waits with its execution. */
static int take_back(Transition *transition, const TasksLeaseRow *row)
{
    int r = statement_task_offer_again(
        transition->transaction,
        &(TaskOfferAgainParameters){.tenant = row->tenant,
                                    .execution_id = row->execution_id,
                                    .number = row->number,
                                    .attempt = row->attempt,
                                    .not_before = (int64_t)store_now(transition->transaction)},
        transition->error);
    return MIN(r, 0);
}

/* How many more tasks the tenant may have handed out, of those that are wanted; its counters do not know yet
 * of what this job has handed out. */
static int find_room(Transition *transition, const char *tenant, const EngineLease *leases, size_t count,
                     unsigned *wanted)
{
    TenantTaskRoomRow row;
    int r = statement_tenant_task_room(transition->transaction, &(TenantTaskRoomParameters){.tenant = tenant},
                                       &row, transition->error);
    if (r <= 0 || row.maximum_running_tasks == 0)
        return MIN(r, 0);
    int64_t room = row.maximum_running_tasks - row.running_tasks;
    for (size_t i = 0; i < count; i++)
        room -= string_equal(leases[i].tenant, tenant);
    transition->effects->was_limited |= room < (int64_t)*wanted;
    *wanted = (unsigned)MAX(MIN(room, (int64_t)*wanted), (int64_t)0);
    return 0;
}

static int lease_of_tenant(Transition *transition, const char *tenant, const char *provisioner_id,
                           int64_t epoch, unsigned maximum, EngineLease *leases, size_t *count)
{
    TasksLeaseRow *rows;
    size_t row_count = 0;
    int r = find_room(transition, tenant, leases, *count, &maximum);
    if (r < 0 || maximum == 0)
        return r;
    r = statement_tasks_lease(transition->transaction,
                              &(TasksLeaseParameters){.tenant = tenant,
                                                      .provisioner_id = provisioner_id,
                                                      .epoch = epoch,
                                                      .now = (int64_t)store_now(transition->transaction),
                                                      .maximum = maximum},
                              &rows, &row_count, transition->error);
    for (size_t i = 0; i < row_count && r >= 0; i++) {
        r = execution_check_entitled(transition, tenant, rows[i].execution_id);
        if (r == 0)
            r = take_back(transition, &rows[i]);
        else if (r > 0)
            r = describe(transition, &rows[i], provisioner_id, &leases[(*count)++]);
    }
    return r < 0 ? r : (int)row_count;
}

int engine_lease(Engine *engine, StoreTransaction *transaction, const char *provisioner_id, int64_t epoch,
                 unsigned maximum, EngineLease **ret_leases, size_t *ret_count, EngineEffects *effects,
                 Error *error)
{
    Arena *arena = store_arena(transaction);
    TransitionBatch batch = {0};
    Transition transition = {.engine = engine,
                             .transaction = transaction,
                             .effects = effects,
                             .error = error,
                             .actor = arena_format(arena, "provisioner:%s", provisioner_id),
                             .batch = &batch};
    maximum = MIN(maximum, (unsigned)LEASE_MAXIMUM);
    EngineLease *leases = arena_allocate_array(arena, MAX(maximum, 1U), sizeof(*leases));
    size_t count = 0;
    bool is_progress = true;
    while (count < maximum && is_progress) {
        is_progress = false;
        const char *after = "";
        while (count < maximum) {
            TenantWithRunnableTasksRow row;
            int r = statement_tenant_with_runnable_tasks(
                transaction,
                &(TenantWithRunnableTasksParameters){.after = after, .now = (int64_t)store_now(transaction)},
                &row, error);
            if (r < 0)
                return r;
            if (r == 0)
                break;
            r = lease_of_tenant(&transition, row.tenant, provisioner_id, epoch,
                                MIN(maximum - (unsigned)count, (unsigned)TURN_SIZE), leases, &count);
            if (r < 0)
                return r;
            is_progress |= r > 0;
            after = row.tenant;
        }
    }
    *ret_leases = leases;
    *ret_count = count;
    return transition_flush(&transition);
}

/* The execution is ending: a task that comes back is cancelled, not offered again. */
static int cancel_returned(Transition *transition, TaskKey key, const char *cluster_id, const char *node_id,
                           int64_t failures)
{
    int r = statement_task_finish(
        transition->transaction,
        &(TaskFinishParameters){.tenant = key.tenant,
                                .execution_id = key.execution_id,
                                .number = key.number,
                                .state = "cancelled",
                                .error_code = "",
                                .error_message = "",
                                .result = "{}",
                                .failures = failures,
                                .finished_at = (int64_t)store_now(transition->transaction)},
        transition->error);
    if (r >= 0)
        r = transition_record_task(transition, key, cluster_id, node_id, "task_cancelled", "warning",
                                   "The task was given back while its execution was ending.");
    if (r >= 0)
        r = transition_progress(transition, key.tenant, key.execution_id,
                                (ExecutionProgress){.finished = 1, .leased = -1});
    return r;
}

static int offer_again(Transition *transition, TaskKey key, const TasksForReportRow *task, const char *reason)
{
    ExecutionGetRow execution;
    int r = statement_execution_get(transition->transaction,
                                    &(ExecutionGetParameters){.tenant = key.tenant, .id = key.execution_id},
                                    &execution, transition->error);
    if (r <= 0)
        return r;
    effects_release(transition->effects, key.execution_id, key.number);
    if (!execution_is_going(execution.status))
        return cancel_returned(transition, key, task->cluster_id, task->node_id, task->failures);
    r = statement_task_offer_again(
        transition->transaction,
        &(TaskOfferAgainParameters){.tenant = key.tenant,
                                    .execution_id = key.execution_id,
                                    .number = key.number,
                                    .attempt = task->attempt,
                                    .not_before = (int64_t)store_now(transition->transaction)},
        transition->error);
    if (r >= 0)
        r = transition_record_task(transition, key, task->cluster_id, task->node_id, "task_offered_again",
                                   "warning", reason);
    if (r >= 0)
        r = transition_progress(transition, key.tenant, key.execution_id, (ExecutionProgress){.leased = -1});
    transition->effects->has_runnable = true;
    return r;
}

/* Finds a task that is leased with this attempt; 0 when it is not. */
static int find_leased(Transition *transition, const char *task, int64_t attempt, TaskKey *ret_key,
                       TasksForReportRow *ret_row)
{
    char execution_id[ID_SIZE];
    int64_t number;
    if (!engine_task_parse(task, execution_id, &number))
        return 0;
    ExecutionTenantRow owner;
    int r = statement_execution_tenant(
        transition->transaction, &(ExecutionTenantParameters){.id = execution_id}, &owner, transition->error);
    if (r <= 0)
        return r;
    *ret_key =
        (TaskKey){owner.tenant, arena_string(store_arena(transition->transaction), execution_id), number};
    r = transition_find_task(transition, *ret_key, ret_row);
    if (r <= 0)
        return r;
    return string_equal(ret_row->state, "leased") && ret_row->attempt == attempt;
}

int engine_expire(Engine *engine, StoreTransaction *transaction, const EngineExpired *expired,
                  EngineEffects *effects, Error *error)
{
    Transition transition = {
        .engine = engine, .transaction = transaction, .effects = effects, .error = error, .actor = "system"};
    TaskKey key;
    TasksForReportRow task;
    int r = find_leased(&transition, expired->task, expired->attempt, &key, &task);
    if (r < 0)
        return r;
    if (r == 0) { /* reported meanwhile; nothing in the database holds it any more */
        char execution_id[ID_SIZE];
        int64_t number;
        if (engine_task_parse(expired->task, execution_id, &number))
            effects_release(effects, execution_id, number);
        return 0;
    }
    return offer_again(&transition, key, &task,
                       "The provisioner did not answer in time; the task is offered again.");
}

int engine_give_back(Engine *engine, StoreTransaction *transaction, const char *provisioner_id, int64_t epoch,
                     const char *task_id, int64_t attempt, EngineEffects *effects, Error *error)
{
    Transition transition = {.engine = engine,
                             .transaction = transaction,
                             .effects = effects,
                             .error = error,
                             .actor =
                                 arena_format(store_arena(transaction), "provisioner:%s", provisioner_id)};
    TaskKey key;
    TasksForReportRow task;
    int r = find_leased(&transition, task_id, attempt, &key, &task);
    if (r <= 0)
        return r;
    if (!string_equal(task.provisioner_id, provisioner_id) || task.epoch != epoch)
        return 0;
    r = offer_again(&transition, key, &task, "The provisioner gave the task back.");
    return r < 0 ? r : 1;
}
