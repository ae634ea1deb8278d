/* SPDX-License-Identifier: Apache-2.0 */
/* What provisioners and people say about tasks: results, cancellation, decisions. */

#include <inttypes.h>

#include "base/string.h"
#include "engine/engine_internal.h"

enum { ERROR_MESSAGE_LIMIT = 2000 };

/* A task that is being reported on. */
typedef struct Reported {
    TaskKey key;
    TasksForReportRow row;
    bool was_leased; /* else it needed a decision */
} Reported;

static int64_t now(const Transition *transition)
{
    return (int64_t)store_now(transition->transaction);
}

int transition_find_task(Transition *transition, TaskKey key, TasksForReportRow *ret_row)
{
    TasksForReportRow *rows;
    size_t count;
    int r = statement_tasks_for_report(transition->transaction,
                                       &(TasksForReportParameters){.tenant = key.tenant,
                                                                   .execution_id = key.execution_id,
                                                                   .numbers = {&key.number, 1}},
                                       &rows, &count, transition->error);
    if (r < 0 || count == 0)
        return MIN(r, 0);
    *ret_row = rows[0];
    return 1;
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
    ExecutionProgress progress = ending(reported);
    if (r >= 0)
        r = transition_release(transition, reported->key, reported->row.node_id, &progress);
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
    if (!execution_is_going(execution.status))
        return transition_progress(transition, reported->key.tenant, reported->key.execution_id, progress);
    return transition_stop_execution(transition, reported->key.tenant, reported->key.execution_id, "failing",
                                     describe(transition, reported, message), progress);
}

/* code: "cancelled" when the step was seen to end, "abandoned" when nobody waited for it. */
static int cancelled(Transition *transition, const Reported *reported, const char *code)
{
    int r = finish(transition, reported, "cancelled", code, "", "{}");
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
    bool may_retry = report->is_retry_sensible && execution_is_going(execution.status) &&
                     reported->row.failures + 1 < reported->row.maximum_failures;
    return may_retry ? try_again(transition, reported, code, message)
                     : fail(transition, reported, code, message);
}

/* A step that ended early in an execution that goes on is a run that failed, however it came to that. */
static int settle_cancellation(Transition *transition, const Reported *reported, const EngineReport *report)
{
    ExecutionGetRow execution;
    int r = statement_execution_get(
        transition->transaction,
        &(ExecutionGetParameters){.tenant = reported->key.tenant, .id = reported->key.execution_id},
        &execution, transition->error);
    if (r <= 0)
        return r;
    if (!execution_is_going(execution.status))
        return cancelled(transition, reported, "cancelled");
    EngineReport failure = *report;
    failure.is_retry_sensible = true;
    return settle_failure(transition, reported, &failure, "ended_early", "The step was ended early.");
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
        return settle_cancellation(transition, reported, report);
    case ENGINE_REPORT_UNKNOWN:
        return undecided(transition, reported,
                         *message ? message : "Nobody can know whether the step took effect.");
    case _ENGINE_REPORT_MAX:
    case _ENGINE_REPORT_INVALID:
    default:
        return error_set(transition->error, ERROR_BAD_FIELD, "Unknown state in a report.");
    }
}

/* The tasks of the execution that report `first` names, for it and those after it. */
static int find_of_execution(Transition *transition, Reported *reported, size_t first, size_t count)
{
    const char *execution_id = reported[first].key.execution_id;
    ExecutionTenantRow owner = {0};
    int r = statement_execution_tenant(
        transition->transaction, &(ExecutionTenantParameters){.id = execution_id}, &owner, transition->error);
    if (r <= 0)
        return r;
    int64_t *numbers = arena_allocate_array(store_arena(transition->transaction), count, sizeof(*numbers));
    StoreIntegers list = {numbers, 0};
    for (size_t i = first; i < count; i++)
        if (string_equal(reported[i].key.execution_id, execution_id))
            numbers[list.count++] = reported[i].key.number;
    TasksForReportRow *rows;
    size_t row_count;
    r = statement_tasks_for_report(
        transition->transaction,
        &(TasksForReportParameters){.tenant = owner.tenant, .execution_id = execution_id, .numbers = list},
        &rows, &row_count, transition->error);
    for (size_t i = first; i < count && r >= 0; i++) {
        if (!string_equal(reported[i].key.execution_id, execution_id))
            continue;
        reported[i].key.tenant = owner.tenant;
        for (size_t row = 0; row < row_count; row++)
            if (rows[row].number == reported[i].key.number)
                reported[i].row = rows[row];
    }
    return r;
}

/* What is not there, or no id at all, has no state. */
static int find_reported(Transition *transition, const EngineReport *reports, Reported *reported,
                         size_t count)
{
    for (size_t i = 0; i < count; i++) {
        char execution_id[ID_SIZE] = "";
        reported[i] = (Reported){.was_leased = true, .row.state = ""};
        (void)engine_task_parse(reports[i].task, execution_id, &reported[i].key.number);
        reported[i].key.execution_id = arena_string(store_arena(transition->transaction), execution_id);
    }
    int r = 0;
    for (size_t i = 0; i < count && r >= 0; i++)
        if (*reported[i].key.execution_id && !reported[i].key.tenant)
            r = find_of_execution(transition, reported, i, count);
    return MIN(r, 0);
}

static int settle_report(Transition *transition, const char *provisioner_id, int64_t epoch,
                         const Reported *reported, const EngineReport *report)
{
    if (!string_equal(reported->row.state, "leased") || reported->row.attempt != report->attempt ||
        !string_equal(reported->row.provisioner_id, provisioner_id) || reported->row.epoch != epoch)
        return 0;
    int r = settle(transition, reported, report);
    return r < 0 ? r : 1;
}

/* Whoever reports on the same task again is late. */
static void mark_settled(Reported *reported, size_t count, const TaskKey *key)
{
    for (size_t i = 0; i < count; i++)
        if (reported[i].key.number == key->number &&
            string_equal(reported[i].key.execution_id, key->execution_id))
            reported[i].row.state = "";
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
    Reported *reported =
        arena_allocate_array(store_arena(transaction), MAX(count, (size_t)1), sizeof(*reported));
    int r = find_reported(&transition, reports, reported, count);
    for (size_t i = 0; i < count && r >= 0; i++) {
        r = settle_report(&transition, provisioner_id, epoch, &reported[i], &reports[i]);
        ret_is_accepted[i] = r == 1;
        if (r == 1)
            mark_settled(reported + i + 1, count - i - 1, &reported[i].key);
    }
    return r < 0 ? r : transition_flush(&transition);
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
    bool is_open = string_equal(execution.status, "pending") || execution_is_going(execution.status) ||
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
            Reported reported = {.key = {tenant, execution_id, rows[i].number}, .was_leased = true};
            r = transition_find_task(&transition, reported.key, &reported.row);
            if (r > 0)
                r = cancelled(&transition, &reported, "abandoned");
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
    char execution_id[ID_SIZE];
    Reported reported = {.was_leased = false};
    int r = 0;
    if (engine_task_parse(task, execution_id, &reported.key.number)) {
        reported.key.tenant = tenant;
        reported.key.execution_id = arena_string(store_arena(transaction), execution_id);
        r = transition_find_task(&transition, reported.key, &reported.row);
    }
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
