/* SPDX-License-Identifier: Apache-2.0 */
/* Sessions, heartbeats, reports and output of provisioners. */

#include "api/internal.h"

#include <errno.h>
#include <inttypes.h>

#include "api/audit_heads.h"
#include "base/log.h"
#include "base/string.h"

static const char INTERNAL_BASE[] = "/internal/v1";
static const char PEER_PREFIX[] = "bastide:provisioner:";
enum { RUNNING_MAX = 4096, REPORTS_MAX = 256, CHUNKS_MAX = 256, CHUNK_LIMIT = 64 * 1024 };

int internal_admit(ApiCall *call, int64_t epoch, Error *error)
{
    const char *uri = call->request->peer_uri, *serial = call->request->peer_serial;
    if (!uri || !serial || !string_starts_with(uri, PEER_PREFIX))
        return error_set(error, ERROR_UNAUTHENTICATED, "This needs the certificate of a provisioner.");
    const char *id = uri + strlen(PEER_PREFIX);
    CertificateGetRow certificate;
    int r = statement_certificate_get(call->transaction, &(CertificateGetParameters){.serial = serial},
                                      &certificate, error);
    if (r < 0)
        return r;
    bool is_valid = r == 1 && certificate.revoked_at == 0 && string_equal(certificate.holder, id) &&
                    certificate.expires_at > (int64_t)store_now(call->transaction);
    ProvisionerGetRow row;
    r = is_valid
            ? statement_provisioner_get(call->transaction, &(ProvisionerGetParameters){.id = id}, &row, error)
            : 0;
    if (r < 0)
        return r;
    if (r == 0 || string_equal(row.status, "removed"))
        return error_set(error, ERROR_UNAUTHENTICATED,
                         "The certificate was revoked or the provisioner removed.");
    if (epoch >= 0 && row.epoch != epoch)
        return error_set(error, ERROR_STALE, "A newer session of this provisioner has begun.");
    call->principal.token_id = arena_string(call->arena, id);
    call->principal.username = arena_format(call->arena, "provisioner:%s", id);
    call->authentication = arena_format(call->arena, "certificate:%s", serial);
    return 0;
}

/* Session
 * -----------------------------------------------------------------------------------------------------------------
 */

typedef struct SessionBody {
    const char *name, *version;
    int64_t capacity;
    json_t *capabilities;
} SessionBody;

static const JsonField session_fields[] = {
    {"name", JSON_FIELD_STRING, offsetof(SessionBody, name), JSON_FIELD_REQUIRED | JSON_FIELD_NAME, 1, 255,
     "its name"},
    {"version", JSON_FIELD_STRING, offsetof(SessionBody, version), JSON_FIELD_REQUIRED, 1, 64, "its version"},
    {"capacity", JSON_FIELD_INTEGER, offsetof(SessionBody, capacity), JSON_FIELD_REQUIRED, 1, 10000,
     "tasks at a time"},
    {"capabilities", JSON_FIELD_OBJECT, offsetof(SessionBody, capabilities), 0, 0, 32,
     "providers and automators"},
    {0},
};

static int handle_session(ApiCall *call, Error *error)
{
    SessionBody body = {0};
    int r = body_dispatch(call, session_fields, &body, error);
    if (r < 0)
        return r;
    _cleanup_free_ char *capabilities =
        body.capabilities ? json_to_text(body.capabilities) : string_duplicate("{}");
    const char *id = internal_provisioner(call);
    ProvisionerBeginSessionRow row;
    r = statement_provisioner_begin_session(
        call->transaction,
        &(ProvisionerBeginSessionParameters){.id = id,
                                             .version = body.version,
                                             .capacity = body.capacity,
                                             .capabilities = capabilities,
                                             .last_heartbeat_at = (int64_t)store_now(call->transaction)},
        &row, error);
    if (r <= 0)
        return r < 0 ? r : error_set(error, ERROR_UNAUTHENTICATED, "The provisioner was removed.");
    /* What the process before this one held is offered again at once. */
    TasksLeasedOfProvisionerRow *rows;
    size_t count;
    r = statement_tasks_leased_of_provisioner(
        call->transaction, &(TasksLeasedOfProvisionerParameters){.provisioner_id = id}, &rows, &count, error);
    for (size_t i = 0; i < count && r >= 0; i++) {
        EngineExpired expired = {.attempt = rows[i].attempt};
        (void)string_print(expired.task, sizeof(expired.task), "%s-%" PRId64, rows[i].execution_id,
                           rows[i].number);
        r = engine_expire(call->api->engine, call->transaction, &expired, &call->effects, error);
    }
    if (r < 0)
        return r;
    Writer writer = writer_new(&call->answer);
    writer_begin_object(&writer, NULL);
    writer_integer(&writer, "epoch", row.epoch);
    writer_integer(&writer, "heartbeat_ms", (int64_t)(call->api->settings.heartbeat / USEC_PER_MSEC));
    writer_integer(&writer, "lease_ms", (int64_t)(call->api->settings.lease / USEC_PER_MSEC));
    writer_end_object(&writer);
    return 0;
}

/* Heartbeat
 * ---------------------------------------------------------------------------------------------------------------
 */

typedef struct HeartbeatBody {
    int64_t epoch, free_slots;
    json_t *running;
} HeartbeatBody;

static const JsonField heartbeat_fields[] = {
    {"epoch", JSON_FIELD_INTEGER, offsetof(HeartbeatBody, epoch), JSON_FIELD_REQUIRED, 1, INT64_MAX,
     "of the session"},
    {"free", JSON_FIELD_INTEGER, offsetof(HeartbeatBody, free_slots), 0, 0, 10000, "tasks it could take"},
    {"running", JSON_FIELD_ARRAY, offsetof(HeartbeatBody, running), JSON_FIELD_REQUIRED, 0, RUNNING_MAX,
     "tasks it has"},
    {0},
};

typedef struct RunningItem {
    const char *task;
    int64_t attempt;
} RunningItem;

static const JsonField running_fields[] = {
    {"task", JSON_FIELD_STRING, offsetof(RunningItem, task), JSON_FIELD_REQUIRED, 1, 39, "id of the task"},
    {"attempt", JSON_FIELD_INTEGER, offsetof(RunningItem, attempt), JSON_FIELD_REQUIRED, 1, INT32_MAX,
     "its attempt"},
    {0},
};

static int write_cancellations(ApiCall *call, Writer *writer, Error *error)
{
    TasksToCancelRow *rows;
    size_t count;
    int r = statement_tasks_to_cancel(
        call->transaction, &(TasksToCancelParameters){.provisioner_id = internal_provisioner(call)}, &rows,
        &count, error);
    if (r < 0)
        return r;
    writer_begin_array(writer, "cancel");
    for (size_t i = 0; i < count; i++)
        writer_string(writer, NULL,
                      arena_format(call->arena, "%s-%" PRId64, rows[i].execution_id, rows[i].number));
    writer_end_array(writer);
    return 0;
}

static int renew_running(ApiCall *call, json_t *running, Writer *writer, Error *error)
{
    size_t count = json_array_size(running);
    EngineHeld *held = arena_allocate_array(call->arena, count + 1, sizeof(*held));
    bool *is_lost = arena_allocate_array(call->arena, count + 1, sizeof(*is_lost));
    for (size_t i = 0; i < count; i++) {
        RunningItem item = {0};
        int r = json_dispatch(json_array_get(running, i), running_fields, &item, "running",
                              JSON_UNKNOWN_ERROR, NULL, error);
        if (r < 0)
            return r;
        held[i] = (EngineHeld){item.task, item.attempt};
    }
    engine_renew(call->api->engine, internal_provisioner(call), held, count, is_lost);
    writer_begin_array(writer, "lost");
    for (size_t i = 0; i < count; i++)
        if (is_lost[i])
            writer_string(writer, NULL, held[i].task);
    writer_end_array(writer);
    return 0;
}

static int handle_heartbeat(ApiCall *call, Error *error)
{
    HeartbeatBody body = {0};
    int r = body_dispatch(call, heartbeat_fields, &body, error);
    if (r < 0)
        return r;
    ProvisionerGetRow row;
    const char *id = internal_provisioner(call);
    r = statement_provisioner_get(call->transaction, &(ProvisionerGetParameters){.id = id}, &row, error);
    if (r <= 0)
        return r;
    r = statement_provisioner_note_heartbeat(
        call->transaction,
        &(ProvisionerNoteHeartbeatParameters){.id = id,
                                              .last_heartbeat_at = (int64_t)store_now(call->transaction)},
        error);
    if (r < 0)
        return r;
    Writer writer = writer_new(&call->answer);
    writer_begin_object(&writer, NULL);
    writer_boolean(&writer, "drain", string_equal(row.status, "draining"));
    r = write_cancellations(call, &writer, error);
    if (r >= 0)
        r = renew_running(call, body.running, &writer, error);
    writer_end_object(&writer);
    return r;
}

/* Reports
 * -----------------------------------------------------------------------------------------------------------------
 */

typedef struct ReportsBody {
    int64_t epoch;
    json_t *reports;
} ReportsBody;

static const JsonField reports_fields[] = {
    {"epoch", JSON_FIELD_INTEGER, offsetof(ReportsBody, epoch), JSON_FIELD_REQUIRED, 1, INT64_MAX,
     "of the session"},
    {"reports", JSON_FIELD_ARRAY, offsetof(ReportsBody, reports), JSON_FIELD_REQUIRED, 1, REPORTS_MAX,
     "what has ended"},
    {0},
};

typedef struct ReportItem {
    const char *task, *state;
    int64_t attempt;
    bool retry;
    json_t *error, *result;
} ReportItem;

static const JsonField report_fields[] = {
    {"task", JSON_FIELD_STRING, offsetof(ReportItem, task), JSON_FIELD_REQUIRED, 1, 39, "id of the task"},
    {"attempt", JSON_FIELD_INTEGER, offsetof(ReportItem, attempt), JSON_FIELD_REQUIRED, 1, INT32_MAX,
     "its attempt"},
    {"state", JSON_FIELD_STRING, offsetof(ReportItem, state), JSON_FIELD_REQUIRED, 1, 16,
     "succeeded, failed, cancelled, unknown or returned"},
    {"retry", JSON_FIELD_BOOLEAN, offsetof(ReportItem, retry), 0, 0, 0, "trying again is sensible"},
    {"error", JSON_FIELD_OBJECT, offsetof(ReportItem, error), JSON_FIELD_NULLABLE, 0, 8, "code and message"},
    {"result", JSON_FIELD_OBJECT, offsetof(ReportItem, result), JSON_FIELD_NULLABLE, 0, 32,
     "facts and outputs"},
    {0},
};

/* What a request reports, in its order. */
typedef struct Reports {
    size_t count, ended_count;
    ReportItem *items;
    bool *is_accepted;
    EngineReport *ended; /* all but those given back */
    bool *ended_is_accepted;
    size_t *ended_index; /* to items */
} Reports;

static int read_report(ApiCall *call, const ReportItem *item, EngineReport *ret_report, Error *error)
{
    EngineReportState state = engine_report_state_from_string(item->state);
    if (state < 0)
        return error_set_field(error, ERROR_BAD_FIELD, "reports.state", "'%s' is not a state of a report.",
                               item->state);
    _cleanup_free_ char *result = item->result ? json_to_text(item->result) : NULL;
    *ret_report = (EngineReport){
        .task = item->task,
        .attempt = item->attempt,
        .state = state,
        .is_retry_sensible = item->retry,
        .error_code = json_string_value(json_object_get(item->error, "code")),
        .error_message = json_string_value(json_object_get(item->error, "message")),
        .result = result ? arena_string(call->arena, result) : NULL,
    };
    return 0;
}

static int read_reports(ApiCall *call, const json_t *values, Reports *reports, Error *error)
{
    Arena *arena = call->arena;
    const size_t count = json_array_size(values);
    *reports = (Reports){
        .count = count,
        .items = arena_allocate_array(arena, count, sizeof(*reports->items)),
        .is_accepted = arena_allocate_array(arena, count, sizeof(*reports->is_accepted)),
        .ended = arena_allocate_array(arena, count, sizeof(*reports->ended)),
        .ended_is_accepted = arena_allocate_array(arena, count, sizeof(*reports->ended_is_accepted)),
        .ended_index = arena_allocate_array(arena, count, sizeof(*reports->ended_index)),
    };
    int r = 0;
    for (size_t i = 0; i < count && r >= 0; i++) {
        ReportItem *item = &reports->items[i];
        *item = (ReportItem){0};
        r = json_dispatch(json_array_get(values, i), report_fields, item, "reports", JSON_UNKNOWN_ERROR, NULL,
                          error);
        if (r < 0 || string_equal(item->state, "returned"))
            continue;
        r = read_report(call, item, &reports->ended[reports->ended_count], error);
        reports->ended_index[reports->ended_count++] = i;
    }
    return r;
}

static int settle_reports(ApiCall *call, int64_t epoch, Reports *reports, Error *error)
{
    Engine *engine = call->api->engine;
    const char *id = internal_provisioner(call);
    for (size_t i = 0; i < reports->count; i++) {
        const ReportItem *item = &reports->items[i];
        if (!string_equal(item->state, "returned"))
            continue;
        int r = engine_give_back(engine, call->transaction, id, epoch, item->task, item->attempt,
                                 &call->effects, error);
        if (r < 0)
            return r;
        reports->is_accepted[i] = r == 1;
    }
    int r = engine_report_many(engine, call->transaction, id, epoch, reports->ended, reports->ended_count,
                               reports->ended_is_accepted, &call->effects, error);
    for (size_t i = 0; i < reports->ended_count && r >= 0; i++)
        reports->is_accepted[reports->ended_index[i]] = reports->ended_is_accepted[i];
    return r;
}

static int handle_reports(ApiCall *call, Error *error)
{
    ReportsBody body = {0};
    Reports reports;
    int r = body_dispatch(call, reports_fields, &body, error);
    if (r >= 0)
        r = read_reports(call, body.reports, &reports, error);
    if (r >= 0)
        r = settle_reports(call, body.epoch, &reports, error);
    if (r < 0)
        return r;
    Writer writer = writer_new(&call->answer);
    writer_begin_object(&writer, NULL);
    writer_begin_array(&writer, "results");
    for (size_t i = 0; i < reports.count; i++) {
        writer_begin_object(&writer, NULL);
        writer_string(&writer, "task", reports.items[i].task);
        writer_string(&writer, "status", reports.is_accepted[i] ? "accepted" : "stale");
        writer_end_object(&writer);
    }
    writer_end_array(&writer);
    writer_end_object(&writer);
    return 0;
}

/* Output
 * ------------------------------------------------------------------------------------------------------------------
 */

typedef struct OutputBody {
    int64_t epoch;
    json_t *chunks;
} OutputBody;

static const JsonField output_fields[] = {
    {"epoch", JSON_FIELD_INTEGER, offsetof(OutputBody, epoch), JSON_FIELD_REQUIRED, 1, INT64_MAX,
     "of the session"},
    {"chunks", JSON_FIELD_ARRAY, offsetof(OutputBody, chunks), JSON_FIELD_REQUIRED, 1, CHUNKS_MAX,
     "pieces of output"},
    {0},
};

typedef struct ChunkItem {
    const char *task, *stream, *data;
    int64_t attempt, offset;
} ChunkItem;

static const JsonField chunk_fields[] = {
    {"task", JSON_FIELD_STRING, offsetof(ChunkItem, task), JSON_FIELD_REQUIRED, 1, 39, "id of the task"},
    {"attempt", JSON_FIELD_INTEGER, offsetof(ChunkItem, attempt), JSON_FIELD_REQUIRED, 1, INT32_MAX,
     "its attempt"},
    {"stream", JSON_FIELD_STRING, offsetof(ChunkItem, stream), JSON_FIELD_REQUIRED, 1, 8, "stdout or stderr"},
    {"offset", JSON_FIELD_INTEGER, offsetof(ChunkItem, offset), JSON_FIELD_REQUIRED, 0, INT64_MAX,
     "from the start"},
    {"data", JSON_FIELD_STRING, offsetof(ChunkItem, data), JSON_FIELD_REQUIRED, 0, 2 * CHUNK_LIMIT, "base64"},
    {0},
};

static int store_chunk(ApiCall *call, int64_t epoch, const ChunkItem *item, Error *error)
{
    char execution_id[ID_SIZE];
    int64_t number;
    if (!engine_task_parse(item->task, execution_id, &number))
        return error_set_field(error, ERROR_BAD_FIELD, "chunks.task", "'%s' is not the id of a task.",
                               item->task);
    if (!string_equal(item->stream, "stdout") && !string_equal(item->stream, "stderr"))
        return error_set_field(error, ERROR_BAD_FIELD, "chunks.stream", "A stream is stdout or stderr.");
    TaskIsLeasedByRow lease;
    int r =
        statement_task_is_leased_by(call->transaction,
                                    &(TaskIsLeasedByParameters){.execution_id = execution_id,
                                                                .number = number,
                                                                .attempt = item->attempt,
                                                                .provisioner_id = internal_provisioner(call),
                                                                .epoch = epoch},
                                    &lease, error);
    if (r <= 0) /* of a lease that is gone: dropped */
        return r;
    _cleanup_free_ uint8_t *data = NULL;
    size_t size;
    if (base64_decode(item->data, strlen(item->data), CHUNK_LIMIT, &data, &size) < 0)
        return error_set_field(error, ERROR_BAD_FIELD, "chunks.data",
                               "The data of a chunk must be base64 of at most %d bytes.", CHUNK_LIMIT);
    r = statement_task_output_insert(
        call->transaction,
        &(TaskOutputInsertParameters){.tenant = lease.tenant,
                                      .execution_id = execution_id,
                                      .number = number,
                                      .attempt = item->attempt,
                                      .stream = item->stream,
                                      .position = item->offset,
                                      .created_at = (int64_t)store_now(call->transaction),
                                      .data = {data, size}},
        error);
    return MIN(r, 0);
}

static int handle_output(ApiCall *call, Error *error)
{
    OutputBody body = {0};
    int r = body_dispatch(call, output_fields, &body, error);
    size_t index;
    json_t *value;
    if (r < 0)
        return r;
    json_array_foreach (body.chunks, index, value) {
        ChunkItem item = {0};
        r = json_dispatch(value, chunk_fields, &item, "chunks", JSON_UNKNOWN_ERROR, NULL, error);
        if (r >= 0)
            r = store_chunk(call, body.epoch, &item, error);
        if (r < 0)
            return r;
    }
    return buffer_append_string(&call->answer, "{}");
}

static const InternalRoute routes[] = {
    {HTTP_METHOD_POST, "/session", ROUTE_WRITE, false, false, handle_session, "begins a session"},
    {HTTP_METHOD_POST, "/heartbeat", ROUTE_WRITE, false, true, handle_heartbeat, "renews leases"},
    {HTTP_METHOD_POST, "/tasks/lease", ROUTE_READ, true, true, NULL, "takes tasks, waiting for some"},
    {HTTP_METHOD_POST, "/tasks/report", ROUTE_WRITE, false, true, handle_reports, "tells how tasks ended"},
    {HTTP_METHOD_POST, "/tasks/output", ROUTE_WRITE, false, true, handle_output, "sends output of steps"},
    {HTTP_METHOD_GET, "/bundles/{digest}", ROUTE_POOL, false, false, internal_get_bundle,
     "an approved archive"},
    {HTTP_METHOD_GET, "/approved-sets/{tenant}", ROUTE_POOL, false, false, internal_get_approved_set,
     "the signed set of a tenant"},
    {HTTP_METHOD_POST, "/ssh-certificates", ROUTE_POOL, false, true, internal_ssh_certificate,
     "an SSH user certificate for a cluster"},
    {HTTP_METHOD_POST, "/tasks/{id}/certificate", ROUTE_POOL, false, true, internal_task_certificate,
     "the certificate of a task"},
    {HTTP_METHOD_POST, "/certificate", ROUTE_POOL, false, false, internal_renew_certificate,
     "renews the provisioner's own"},
};

typedef struct InternalCall {
    ApiCall *call;
    const InternalRoute *route;
    int64_t epoch;
} InternalCall;

static int read_epoch(InternalCall *internal, Error *error)
{
    ApiCall *call = internal->call;
    internal->epoch = -1;
    if (call->request->body_size > 0 && !call->body) {
        int r = json_parse(call->request->body, call->request->body_size, call->request->body_size,
                           &call->body, error);
        if (r < 0)
            return r;
    }
    if (!internal->route->needs_epoch)
        return 0;
    const json_t *epoch = json_object_get(call->body, "epoch");
    if (!json_is_integer(epoch) || json_integer_value(epoch) < 1)
        return error_set_field(error, ERROR_BAD_FIELD, "epoch", "'epoch' is missing: begin a session first.");
    internal->epoch = json_integer_value(epoch);
    return 0;
}

static int run_internal(StoreTransaction *transaction, void *context, Error *error)
{
    InternalCall *internal = context;
    ApiCall *call = internal->call;
    engine_effects_reset(&call->effects);
    buffer_clear(&call->answer);
    call->transaction = transaction;
    int r = audit_heads_check(call->api, error);
    if (r >= 0)
        r = read_epoch(internal, error);
    if (r >= 0)
        r = internal_admit(call, internal->epoch, error);
    if (r >= 0 && !internal->route->is_poll && internal->route->mode != ROUTE_POOL)
        r = internal->route->handler(call, error);
    call->transaction = NULL;
    return r;
}

static void begin_poll(Api *api, void *context)
{
    (void)api;
    polls_begin(context);
}

static void pool_handler(Api *api, void *context)
{
    (void)api;
    InternalCall *internal = context;
    ApiCall *call = internal->call;
    int r = internal->route->handler(call, &call->error);
    free(internal);
    api_call_finish(call, r);
}

static void internal_done(int result, const Error *error, void *context)
{
    InternalCall *internal = context;
    ApiCall *call = internal->call;
    if (result < 0) {
        call->error = *error;
        free(internal);
        api_call_finish(call, result);
        return;
    }
    engine_apply(call->api->engine, &call->effects);
    if (internal->route->is_poll) {
        free(internal);
        loop_post(call->api, begin_poll, call);
    } else if (internal->route->mode == ROUTE_POOL) {
        if (pool_submit(call->api, pool_handler, internal) < 0) {
            free(internal);
            (void)error_set(&call->error, ERROR_BUSY, "Too many requests are waiting.");
            api_call_finish(call, -EAGAIN);
        }
    } else {
        free(internal);
        api_call_finish(call, 0);
    }
}

/* The call machinery answers with the status of a route: all of these succeed with 200. */
static const ApiRoute internal_route = {.path = "/internal", .success_status = 200, .body = JSON_BODY};

static const InternalRoute *find_route(ApiCall *call)
{
    const char *path = call->request->path;
    if (!string_starts_with(path, INTERNAL_BASE))
        return NULL;
    for (size_t i = 0; i < ELEMENTSOF(routes); i++)
        if (routes[i].method == call->request->method &&
            route_path_matches(routes[i].path, path + strlen(INTERNAL_BASE), call->arena, call->parameters))
            return &routes[i];
    return NULL;
}

void internal_begin(Api *api, HttpExchange *exchange)
{
    ApiCall *call = api_call_new(api, exchange);
    call->route = &internal_route;
    call->status = 200;
    const InternalRoute *route = find_route(call);
    if (!route) {
        (void)error_set(&call->error, ERROR_NOT_FOUND, "There is no such resource.");
        api_call_finish(call, -ENOENT);
        return;
    }
    InternalCall *internal = NEW(InternalCall);
    *internal = (InternalCall){.call = call, .route = route};
    StoreAccess access = route->mode == ROUTE_WRITE ? STORE_WRITE : STORE_READ;
    int r = store_submit(api->settings.store, access, run_internal, internal_done, internal, &call->error);
    if (r < 0) {
        free(internal);
        api_call_finish(call, r);
    }
}
