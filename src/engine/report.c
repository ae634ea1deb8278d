/* SPDX-License-Identifier: Apache-2.0 */
/* What provisioners and people say about tasks: results, cancellation, decisions. */

#include <inttypes.h>

#include "base/string.h"
#include "engine/engine_internal.h"

enum { ERROR_MESSAGE_LIMIT = 2000 };

/* A task that is being reported on. */
typedef struct Reported {
    TaskKey key;
    TaskForReportRow row;
    bool was_leased; /* else it needed a decision */
} Reported;

static int64_t now(const Transition *transition)
{
    return (int64_t)store_now(transition->transaction);
}

static int find_task(Transition *transition, const char *tenant, const char *task, Reported *reported)
{
    char execution_id[ID_SIZE];
    int64_t number;
    if (!engine_task_parse(task, execution_id, &number))
        return 0;
    TransitionBatch *batch = transition->batch;
    if (!tenant && batch && batch->execution_id && string_equal(batch->execution_id, execution_id)) {
        tenant = batch->tenant;
    } else if (!tenant) {
        ExecutionTenantRow owner;
        int r = statement_execution_tenant(transition->transaction,
                                           &(ExecutionTenantParameters){.id = execution_id}, &owner,
                                           transition->error);
        if (r <= 0)
            return r;
        tenant = owner.tenant;
    }
    reported->key =
        (TaskKey){tenant, arena_string(store_arena(transition->transaction), execution_id), number};
    if (batch) {
        batch->tenant = tenant;
        batch->execution_id = reported->key.execution_id;
    }
    return statement_task_for_report(
        transition->transaction,
        &(TaskForReportParameters){.tenant = tenant, .execution_id = execution_id, .number = number},
        &reported->row, transition->error);
}

static int finish(Transition *transition, const Reported *reported, const char *state, const char *error_code,
                  const char *error_message, const char *result)
{
    bool is_failed = string_equal(state, "failed");
    int r = statement_task_finish(transition->transaction,
                                  &(TaskFinishParameters){.tenant = reported->key.tenant,
                                                          .execution_id = reported->key.execution_id,
                                                          .number = reported->key.number,
                                                          .state = state,
                                                          .error_code = error_code,
                                                          .error_message = error_message,
                                                          .result = result,
                                                          .failures = reported->row.failures + is_failed,
                                                          .finished_at = now(transition)},
                                  transition->error);
    if (r < 0)
        return r;
    if (reported->was_leased)
        effects_release(transition->effects, reported->key.execution_id, reported->key.number);
    return 0;
}

static const char *describe(Transition *transition, const Reported *reported, const char *message)
{
    return arena_format(store_arena(transition->transaction), "%s%s%s%s%s", reported->row.action,
                        *reported->row.service ? " " : "", reported->row.service, *message ? ": " : "",
                        message);
}

static int record(Transition *transition, const Reported *reported, const char *type, const char *severity,
                  const char *message)
{
    return transition_record_task(transition, reported->key, reported->row.cluster_id, reported->row.node_id,
                                  type, severity, describe(transition, reported, message));
}

static ExecutionProgress ending(const Reported *reported)
{
    return (ExecutionProgress){
        .finished = 1, .leased = reported->was_leased ? -1 : 0, .undecided = reported->was_leased ? 0 : -1};
}

static int succeed(Transition *transition, const Reported *reported, const char *result)
{
    int r = finish(transition, reported, "succeeded", "", "", result);
    if (r >= 0)
        r = node_state_finish(transition, reported->key, reported->row.cluster_id, reported->row.node_id,
                              reported->row.action, reported->row.service, result);
    if (r >= 0)
        r = record(transition, reported, "task_succeeded", "info", "");
    if (r >= 0)
        r = transition_release_node(transition, reported->key.tenant, reported->row.node_id);
    ExecutionProgress progress = ending(reported);
    if (r >= 0)
        r = transition_release_successors(transition, reported->key, &progress);
    if (r >= 0)
        r = transition_progress(transition, reported->key.tenant, reported->key.execution_id, progress);
    return r;
}

static Usec back_off(Engine *engine, int64_t failures)
{
    Usec delay = engine->settings.retry_base;
    for (int64_t i = 1; i < failures && delay < engine->settings.retry_maximum; i++)
        delay *= 2;
    delay = MIN(delay, engine->settings.retry_maximum);
    /* Up to a quarter more, so that what failed together does not come back together. */
    return delay + random_below(engine->settings.random, delay / 4 + 1);
}

static int try_again(Transition *transition, const Reported *reported, const char *code, const char *message)
{
    int64_t failures = reported->row.failures + 1;
    Usec delay = back_off(transition->engine, failures);
    effects_release(transition->effects, reported->key.execution_id, reported->key.number);
    int r = statement_task_retry(transition->transaction,
                                 &(TaskRetryParameters){.tenant = reported->key.tenant,
                                                        .execution_id = reported->key.execution_id,
                                                        .number = reported->key.number,
                                                        .failures = failures,
                                                        .not_before = now(transition) + (int64_t)delay,
                                                        .error_code = code,
                                                        .error_message = message},
                                 transition->error);
    if (r >= 0)
        r = record(transition, reported, "task_retried", "warning",
                   arena_format(store_arena(transition->transaction),
                                "failed (%" PRId64 " of %" PRId64 "), tried again in %.1f s: %s", failures,
                                reported->row.maximum_failures, (double)delay / (double)USEC_PER_SEC,
                                message));
    transition->effects->has_runnable = true;
    if (r >= 0)
        r = transition_progress(transition, reported->key.tenant, reported->key.execution_id,
                                (ExecutionProgress){.leased = -1});
    return r;
}

static int fail(Transition *transition, const Reported *reported, const char *code, const char *message)
{
    int r = finish(transition, reported, "failed", code, message, "{}");
    if (r >= 0)
        r = node_state_fail(transition, reported->key.tenant, reported->row.cluster_id,
                            reported->row.node_id);
    if (r >= 0)
        r = record(transition, reported, "task_failed", "error", message);
    ExecutionGetRow execution;
    if (r >= 0)
        r = statement_execution_get(
            transition->transaction,
            &(ExecutionGetParameters){.tenant = reported->key.tenant, .id = reported->key.execution_id},
            &execution, transition->error);
    if (r <= 0)
        return r;
    ExecutionProgress progress = ending(reported);
    progress.failed = 1;
    if (!string_equal(execution.status, "started"))
        return transition_progress(transition, reported->key.tenant, reported->key.execution_id, progress);
    return transition_stop_execution(transition, reported->key.tenant, reported->key.execution_id, "failing",
                                     describe(transition, reported, message), progress);
}

static int cancelled(Transition *transition, const Reported *reported)
{
    int r = finish(transition, reported, "cancelled", "cancelled", "", "{}");
    if (r >= 0)
        r = record(transition, reported, "task_cancelled", "warning", "");
    if (r >= 0)
        r = transition_progress(transition, reported->key.tenant, reported->key.execution_id,
                                ending(reported));
    return r;
}

static int undecided(Transition *transition, const Reported *reported, const char *message)
{
    int r = statement_task_finish(transition->transaction,
                                  &(TaskFinishParameters){.tenant = reported->key.tenant,
                                                          .execution_id = reported->key.execution_id,
                                                          .number = reported->key.number,
                                                          .state = "needs_decision",
                                                          .error_code = "outcome_unknown",
                                                          .error_message = message,
                                                          .result = "{}",
                                                          .failures = reported->row.failures},
                                  transition->error);
    effects_release(transition->effects, reported->key.execution_id, reported->key.number);
    if (r >= 0)
        r = record(transition, reported, "task_needs_decision", "error", message);
    if (r >= 0)
        r = transition_progress(transition, reported->key.tenant, reported->key.execution_id,
                                (ExecutionProgress){.leased = -1, .undecided = 1});
    return r;
}

static int settle_failure(Transition *transition, const Reported *reported, const EngineReport *report,
                          const char *code, const char *message)
{
    ExecutionGetRow execution;
    int r = statement_execution_get(
        transition->transaction,
        &(ExecutionGetParameters){.tenant = reported->key.tenant, .id = reported->key.execution_id},
        &execution, transition->error);
    if (r <= 0)
        return r;
    bool may_retry = report->is_retry_sensible && string_equal(execution.status, "started") &&
                     reported->row.failures + 1 < reported->row.maximum_failures;
    return may_retry ? try_again(transition, reported, code, message)
                     : fail(transition, reported, code, message);
}

static int settle(Transition *transition, const Reported *reported, const EngineReport *report)
{
    Arena *arena = store_arena(transition->transaction);
    const char *message = arena_string_n(arena, report->error_message ?: "",
                                         strnlen(report->error_message ?: "", ERROR_MESSAGE_LIMIT));
    const char *code = report->error_code ?: "";
    const char *result = report->result ?: "{}";
    switch (report->state) {
    case ENGINE_REPORT_SUCCEEDED: {
        Error bad = ERROR_INIT;
        if (node_state_check(result, &bad) < 0)
            return settle_failure(transition, reported, report, "bad_result",
                                  arena_format(arena, "The provisioner sent a bad result: %s", bad.text));
        return succeed(transition, reported, result);
    }
    case ENGINE_REPORT_FAILED:
        return settle_failure(transition, reported, report, code, message);
    case ENGINE_REPORT_CANCELLED:
        return cancelled(transition, reported);
    case ENGINE_REPORT_UNKNOWN:
        return undecided(transition, reported,
                         *message ? message : "Nobody can know whether the step took effect.");
    case _ENGINE_REPORT_MAX:
    case _ENGINE_REPORT_INVALID:
    default:
        return error_set(transition->error, ERROR_BAD_FIELD, "Unknown state in a report.");
    }
}

static int settle_report(Transition *transition, const char *provisioner_id, int64_t epoch,
                         const EngineReport *report)
{
    Reported reported = {.was_leased = true};
    int r = find_task(transition, NULL, report->task, &reported);
    if (r <= 0)
        return r;
    if (!string_equal(reported.row.state, "leased") || reported.row.attempt != report->attempt ||
        !string_equal(reported.row.provisioner_id, provisioner_id) || reported.row.epoch != epoch)
        return 0;
    r = settle(transition, &reported, report);
    return r < 0 ? r : 1;
}

int engine_report_many(Engine *engine, StoreTransaction *transaction, const char *provisioner_id,
                       int64_t epoch, const EngineReport *reports, size_t count, bool *ret_is_accepted,
                       EngineEffects *effects, Error *error)
{
    TransitionBatch batch = {0};
    Transition transition = {.engine = engine,
                             .transaction = transaction,
                             .effects = effects,
                             .error = error,
                             .actor =
                                 arena_format(store_arena(transaction), "provisioner:%s", provisioner_id),
                             .batch = &batch};
    for (size_t i = 0; i < count; i++) {
        int r = settle_report(&transition, provisioner_id, epoch, &reports[i]);
        if (r < 0)
            return r;
        ret_is_accepted[i] = r == 1;
    }
    return transition_flush(&transition);
}

int engine_report(Engine *engine, StoreTransaction *transaction, const char *provisioner_id, int64_t epoch,
                  const EngineReport *report, EngineEffects *effects, Error *error)
{
    bool is_accepted;
    int r = engine_report_many(engine, transaction, provisioner_id, epoch, report, 1, &is_accepted, effects,
                               error);
    return r < 0 ? r : is_accepted;
}

int engine_cancel(Engine *engine, StoreTransaction *transaction, const char *tenant, const char *execution_id,
                  bool is_forced, const char *actor, EngineEffects *effects, Error *error)
{
    Transition transition = {
        .engine = engine, .transaction = transaction, .effects = effects, .error = error, .actor = actor};
    ExecutionGetRow execution;
    int r = statement_execution_get(
        transaction, &(ExecutionGetParameters){.tenant = tenant, .id = execution_id}, &execution, error);
    if (r < 0)
        return r;
    if (r == 0)
        return error_set(error, ERROR_NOT_FOUND, "There is no execution '%s'.", execution_id);
    bool is_open = string_equal(execution.status, "pending") || string_equal(execution.status, "started") ||
                   string_equal(execution.status, "cancelling") || string_equal(execution.status, "failing");
    if (!is_open)
        return error_set(error, ERROR_CONFLICT, "The execution has ended already (%s).", execution.status);
    if (is_forced) {
        TasksLeasedOfExecutionRow *rows;
        size_t count;
        r = statement_tasks_leased_of_execution(
            transaction, &(TasksLeasedOfExecutionParameters){.tenant = tenant, .execution_id = execution_id},
            &rows, &count, error);
        for (size_t i = 0; i < count && r >= 0; i++) {
            Reported reported = {.was_leased = true};
            char task[TASK_ID_SIZE];
            task_id_format(task, execution_id, rows[i].number);
            r = find_task(&transition, tenant, task, &reported);
            if (r > 0)
                r = cancelled(&transition, &reported);
        }
        if (r < 0)
            return r;
    }
    return transition_stop_execution(&transition, tenant, execution_id, "cancelling",
                                     arena_format(store_arena(transaction), "cancelled by %s", actor),
                                     (ExecutionProgress){0});
}

int engine_decide(Engine *engine, StoreTransaction *transaction, const char *tenant, const char *task,
                  EngineDecision decision, const char *actor, EngineEffects *effects, Error *error)
{
    Transition transition = {
        .engine = engine, .transaction = transaction, .effects = effects, .error = error, .actor = actor};
    Reported reported = {.was_leased = false};
    int r = find_task(&transition, tenant, task, &reported);
    if (r < 0)
        return r;
    if (r == 0)
        return error_set(error, ERROR_NOT_FOUND, "There is no operation '%s'.", task);
    if (!string_equal(reported.row.state, "needs_decision"))
        return error_set(error, ERROR_CONFLICT, "The operation is %s and needs no decision.",
                         reported.row.state);
    if (decision == ENGINE_DECISION_DONE)
        return succeed(&transition, &reported, "{}");
    if (decision == ENGINE_DECISION_FAIL)
        return fail(&transition, &reported, "decided", "declared as failed");
    r = statement_task_retry(transaction,
                             &(TaskRetryParameters){.tenant = tenant,
                                                    .execution_id = reported.key.execution_id,
                                                    .number = reported.key.number,
                                                    .failures = reported.row.failures,
                                                    .not_before = now(&transition),
                                                    .error_code = "",
                                                    .error_message = ""},
                             error);
    if (r >= 0)
        r = record(&transition, &reported, "task_retried", "warning", "run again by decision");
    if (r >= 0)
        r = transition_progress(&transition, tenant, reported.key.execution_id,
                                (ExecutionProgress){.undecided = -1});
    effects->has_runnable = true;
    return r;
}
