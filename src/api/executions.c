/* SPDX-License-Identifier: Apache-2.0 */
/* Executions and their operations (tasks). */

#include <inttypes.h>

#include "api/api_internal.h"
#include "api/entitlement.h"
#include "base/string.h"

enum { PARAMETERS_LIMIT = 64 * 1024 * 1024 };

static void write_execution(Writer *writer, const ExecutionListRow *row)
{
    writer_begin_object(writer, NULL);
    writer_string(writer, "id", row->id);
    writer_string(writer, "cluster_id", row->cluster_id);
    writer_string(writer, "workflow_id", row->workflow);
    writer_string(writer, "status", row->status);
    writer_string(writer, "error", *row->error ? row->error : NULL);
    writer_string(writer, "created_by", row->created_by);
    writer_string(writer, "responsible", *row->responsible ? row->responsible : row->created_by);
    writer_boolean(writer, "is_held", row->is_held);
    writer_time(writer, "created_at", row->created_at);
    writer_time(writer, "started_at", row->started_at);
    writer_time(writer, "ended_at", row->finished_at);
    writer_integer(writer, "total_operations", row->tasks_total);
    writer_integer(writer, "finished_operations", row->tasks_finished);
    writer_integer(writer, "running_operations", row->tasks_leased);
    writer_integer(writer, "failed_operations", row->tasks_failed);
    writer_integer(writer, "undecided_operations", row->tasks_undecided);
    writer_end_object(writer);
}

static int list_executions(ApiCall *call, Error *error)
{
    Page page;
    ExecutionListRow *rows;
    ExecutionCountRow total;
    size_t count;
    const char *cluster = query_or_empty(call, "cluster_id");
    int r = page_read(call, &page, error);
    if (r >= 0)
        r = statement_execution_list(
            call->transaction,
            &(ExecutionListParameters){
                .tenant = call->tenant, .cluster_id = cluster, .maximum = page.size, .offset = page.offset},
            &rows, &count, error);
    if (r >= 0)
        r = statement_execution_count(
            call->transaction, &(ExecutionCountParameters){.tenant = call->tenant, .cluster_id = cluster},
            &total, error);
    if (r < 0)
        return r;
    Writer writer = list_begin(call);
    for (size_t i = 0; i < count; i++)
        write_execution(&writer, &rows[i]);
    list_end(call, &writer, &page, total.total);
    return writer.status;
}

static int find_execution(ApiCall *call, const char *id, ExecutionGetRow *row, Error *error)
{
    int r = statement_execution_get(call->transaction,
                                    &(ExecutionGetParameters){.tenant = call->tenant, .id = id}, row, error);
    return r != 0 ? MIN(r, 0) : error_set(error, ERROR_NOT_FOUND, "There is no execution '%s'.", id);
}

static int answer_execution(ApiCall *call, const char *id, Error *error)
{
    ExecutionGetRow row;
    int r = find_execution(call, id, &row, error);
    if (r < 0)
        return r;
    Writer writer = writer_new(&call->answer);
    write_execution(&writer, &(ExecutionListRow){
                                 .id = row.id,
                                 .cluster_id = row.cluster_id,
                                 .workflow = row.workflow,
                                 .status = row.status,
                                 .error = row.error,
                                 .created_by = row.created_by,
                                 .responsible = row.responsible,
                                 .is_held = row.is_held,
                                 .created_at = row.created_at,
                                 .started_at = row.started_at,
                                 .finished_at = row.finished_at,
                                 .tasks_total = row.tasks_total,
                                 .tasks_finished = row.tasks_finished,
                                 .tasks_leased = row.tasks_leased,
                                 .tasks_failed = row.tasks_failed,
                                 .tasks_undecided = row.tasks_undecided,
                             });
    return writer.status;
}

static int get_execution(ApiCall *call, Error *error)
{
    return answer_execution(call, call->parameters[0], error);
}

/* What was shown before it ran; the plan of a creation is the cluster's own. */
static int get_execution_plan(ApiCall *call, Error *error)
{
    ExecutionGetRow row;
    _cleanup_json_ json_t *parameters = NULL;
    int r = find_execution(call, call->parameters[0], &row, error);
    if (r >= 0)
        r = json_parse(row.parameters, strlen(row.parameters), PARAMETERS_LIMIT, &parameters, error);
    if (r < 0)
        return r;
    const json_t *plan = json_object_get(parameters, "plan");
    if (!plan)
        return error_set(error, ERROR_NOT_FOUND,
                         "The execution (%s) was not planned by a request of its own.", row.workflow);
    _cleanup_free_ char *text = json_to_text(plan);
    return buffer_append_string(&call->answer, text);
}

typedef struct ActionBody {
    const char *action;
} ActionBody;

static const JsonField action_fields[] = {
    {"action", JSON_FIELD_STRING, offsetof(ActionBody, action), JSON_FIELD_REQUIRED, 1, 32,
     "cancel, force-cancel, pause, resume or retry"},
    {0},
};

/* Whoever has work go on may have it done. */
static int require_workflow(ApiCall *call, ExecutionGetRow *ret_row, Error *error)
{
    int r = find_execution(call, call->parameters[0], ret_row, error);
    return r < 0 ? r
                 : api_object_require(call, &object_execution, permission_of_workflow(ret_row->workflow),
                                      error);
}

/* Of what somebody paused, and of what stands still because nobody entitled answers for it. */
static int resume(ApiCall *call, Error *error)
{
    ExecutionGetRow row;
    const char *actor = call->principal.username;
    int r = require_workflow(call, &row, error);
    if (r >= 0 && row.is_held)
        r = engine_resume(call->api->engine, call->transaction, call->tenant, row.id, actor, &call->effects,
                          error);
    if (r >= 0 && (!row.is_held || string_equal(row.status, "paused")))
        r = engine_unpause(call->api->engine, call->transaction, call->tenant, row.id, actor, &call->effects,
                           error);
    return r;
}

static int retry(ApiCall *call, Error *error)
{
    ExecutionGetRow row;
    int r = require_workflow(call, &row, error);
    return r < 0 ? r
                 : engine_retry(call->api->engine, call->transaction, call->tenant, row.id,
                                call->principal.username, &call->effects, error);
}

static int steer(ApiCall *call, const char *action, Error *error)
{
    const char *id = call->parameters[0], *actor = call->principal.username;
    if (string_equal(action, "resume"))
        return resume(call, error);
    if (string_equal(action, "retry"))
        return retry(call, error);
    if (string_equal(action, "pause"))
        return engine_pause(call->api->engine, call->transaction, call->tenant, id, actor, &call->effects,
                            error);
    bool is_forced = string_equal(action, "force-cancel");
    if (!is_forced && !string_equal(action, "cancel"))
        return error_set_field(error, ERROR_BAD_FIELD, "action",
                               "The actions are cancel, force-cancel, pause, resume and retry.");
    return engine_cancel(call->api->engine, call->transaction, call->tenant, id, is_forced, actor,
                         &call->effects, error);
}

static int post_execution(ApiCall *call, Error *error)
{
    ActionBody body = {0};
    int r = body_dispatch(call, action_fields, &body, error);
    if (r < 0)
        return r;
    r = steer(call, body.action, error);
    if (r < 0)
        return r;
    call->audit_details = arena_format(call->arena, "{\"action\":\"%s\"}", body.action);
    call->audit_object = arena_format(call->arena, "execution:%s", call->parameters[0]);
    return answer_execution(call, call->parameters[0], error);
}

static void write_operation(Writer *writer, const char *execution_id, const TaskListRow *row)
{
    char id[40];
    (void)string_print(id, sizeof(id), "%s-%" PRId64, execution_id, row->number);
    writer_begin_object(writer, NULL);
    writer_string(writer, "id", id);
    writer_integer(writer, "number", row->number);
    writer_string(writer, "node_id", *row->node_id ? row->node_id : NULL);
    writer_string(writer, "hostname", *row->hostname ? row->hostname : NULL);
    writer_string(writer, "kind", row->kind);
    writer_string(writer, "action", row->action);
    writer_string(writer, "service", *row->service ? row->service : NULL);
    writer_string(writer, "state", row->state);
    writer_integer(writer, "waiting_for", row->waiting_for);
    writer_integer(writer, "attempt", row->attempt);
    writer_integer(writer, "failures", row->failures);
    writer_string(writer, "provisioner_id", *row->provisioner_id ? row->provisioner_id : NULL);
    writer_string(writer, "error_code", *row->error_code ? row->error_code : NULL);
    writer_string(writer, "error", *row->error_message ? row->error_message : NULL);
    writer_raw(writer, "result", row->result);
    writer_time(writer, "ready_at", row->ready_at);
    writer_time(writer, "started_at", row->started_at);
    writer_time(writer, "ended_at", row->finished_at);
    writer_end_object(writer);
}

static int list_operations(ApiCall *call, Error *error)
{
    Page page;
    TaskListRow *rows;
    TaskCountRow total;
    ExecutionGetRow execution;
    size_t count;
    const char *id = query_or_empty(call, "execution_id"), *state = query_or_empty(call, "state");
    if (!*id)
        return error_set_field(error, ERROR_BAD_REQUEST, "execution_id",
                               "Say of which execution: execution_id=ID.");
    int r = page_read(call, &page, error);
    if (r >= 0)
        r = find_execution(call, id, &execution, error);
    if (r >= 0)
        r = statement_task_list(call->transaction,
                                &(TaskListParameters){.tenant = call->tenant,
                                                      .execution_id = id,
                                                      .state = state,
                                                      .maximum = page.size,
                                                      .offset = page.offset},
                                &rows, &count, error);
    if (r >= 0)
        r = statement_task_count(
            call->transaction,
            &(TaskCountParameters){.tenant = call->tenant, .execution_id = id, .state = state}, &total,
            error);
    if (r < 0)
        return r;
    Writer writer = list_begin(call);
    for (size_t i = 0; i < count; i++)
        write_operation(&writer, id, &rows[i]);
    list_end(call, &writer, &page, total.total);
    return writer.status;
}

static int get_operation(ApiCall *call, Error *error)
{
    char execution_id[ID_SIZE];
    int64_t number;
    TaskShowRow row;
    int r = 0;
    if (engine_task_parse(call->parameters[0], execution_id, &number))
        r = statement_task_show(
            call->transaction,
            &(TaskShowParameters){.tenant = call->tenant, .execution_id = execution_id, .number = number},
            &row, error);
    if (r < 0)
        return r;
    if (r == 0)
        return error_set(error, ERROR_NOT_FOUND, "There is no operation '%s'.", call->parameters[0]);
    Writer writer = writer_new(&call->answer);
    write_operation(&writer, execution_id,
                    &(TaskListRow){.number = row.number,
                                   .node_id = row.node_id,
                                   .kind = row.kind,
                                   .action = row.action,
                                   .service = row.service,
                                   .state = row.state,
                                   .waiting_for = row.waiting_for,
                                   .attempt = row.attempt,
                                   .failures = row.failures,
                                   .provisioner_id = row.provisioner_id,
                                   .error_code = row.error_code,
                                   .error_message = row.error_message,
                                   .result = row.result,
                                   .ready_at = row.ready_at,
                                   .started_at = row.started_at,
                                   .finished_at = row.finished_at,
                                   .hostname = row.hostname});
    return writer.status;
}

typedef struct DecisionBody {
    const char *decision;
} DecisionBody;

static const JsonField decision_fields[] = {
    {"decision", JSON_FIELD_STRING, offsetof(DecisionBody, decision), JSON_FIELD_REQUIRED, 1, 16,
     "retry, done or fail"},
    {0},
};

static int post_operation(ApiCall *call, Error *error)
{
    DecisionBody body = {0};
    int r = body_dispatch(call, decision_fields, &body, error);
    if (r < 0)
        return r;
    EngineDecision decision = engine_decision_from_string(body.decision);
    if (decision < 0)
        return error_set_field(error, ERROR_BAD_FIELD, "decision", "A decision is retry, done or fail.");
    r = engine_decide(call->api->engine, call->transaction, call->tenant, call->parameters[0], decision,
                      call->principal.username, &call->effects, error);
    if (r < 0)
        return r;
    call->audit_object = arena_format(call->arena, "task:%s", call->parameters[0]);
    Writer writer = writer_new(&call->answer);
    writer_begin_object(&writer, NULL);
    writer_string(&writer, "id", call->parameters[0]);
    writer_string(&writer, "decision", body.decision);
    writer_end_object(&writer);
    return writer.status;
}

const ApiRoute routes_executions[] = {
    ROUTE(GET, "/executions", EXECUTION_LIST, NEEDS_TENANT, READ, NO_BODY, list_executions, NULL, 200,
          "Executions, newest first", .query = query_of_cluster),
    ROUTE(GET, "/executions/{id}", EXECUTION_GET, NEEDS_TENANT, READ, NO_BODY, get_execution, NULL, 200,
          "An execution", .object = &object_execution),
    ROUTE(GET, "/executions/{id}/plan", EXECUTION_GET, NEEDS_TENANT, READ, NO_BODY, get_execution_plan, NULL,
          200, "The plan that an operation on a cluster runs", .object = &object_execution),
    ROUTE(POST, "/executions/{id}", EXECUTION_CANCEL, NEEDS_TENANT, WRITE, JSON_BODY, post_execution,
          "execution_cancel", 200, "Cancels, pauses, resumes or retries an execution",
          .fields = action_fields, .object = &object_execution),
    ROUTE(GET, "/operations", EXECUTION_GET, NEEDS_TENANT, READ, NO_BODY, list_operations, NULL, 200,
          "Operations of an execution", .query = query_operations, .object = &object_execution_of_query),
    ROUTE(GET, "/operations/{id}", EXECUTION_GET, NEEDS_TENANT, READ, NO_BODY, get_operation, NULL, 200,
          "An operation", .object = &object_operation),
    ROUTE(POST, "/operations/{id}", EXECUTION_DECIDE, NEEDS_TENANT, WRITE, JSON_BODY, post_operation,
          "operation_decide", 200, "Decides about an operation whose outcome nobody can know",
          .fields = decision_fields, .object = &object_operation),
    {0},
};
