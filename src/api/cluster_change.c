/* SPDX-License-Identifier: Apache-2.0 */
/* Operations on clusters that exist: preview and run. Both make the plan by the same code from what the
 * database holds; the job that runs it makes sure that the cluster is still the one that was planned for. */

#include <errno.h>
#include <inttypes.h>

#include "api/cluster_state.h"
#include "api/clusters.h"
#include "base/string.h"
#include "domain/topology/change.h"

enum { ETAG_LIMIT = 40 };

typedef struct Changing {
    ApiCall *call;
    ChangeRequest request;
    int64_t expected_revision; /* 0 = any */
    LoadedState *loaded;
    Change *change;
    json_t *document; /* the preview */
    const char *execution_id;
} Changing;

static void changing_done(Changing *changing)
{
    change_free(changing->change);
    loaded_state_free(changing->loaded);
    json_decref(changing->document);
}
#define _cleanup_changing_ _cleanup_(changing_done)

/* Asking
 * --------------------------------------------------------------------------------------------------------------------
 */

/* If-Match: "7", as the ETag of the cluster says it. */
static int read_if_match(ApiCall *call, int64_t *ret_revision, Error *error)
{
    const char *header = http_exchange_header(call->exchange, "If-Match");
    if (!header || string_equal(header, "*"))
        return 0;
    size_t length = strnlen(header, ETAG_LIMIT);
    _cleanup_free_ char *digits =
        length > 2 && length < ETAG_LIMIT && header[0] == '"' && header[length - 1] == '"'
            ? string_duplicate_n(header + 1, length - 2)
            : NULL;
    if (!digits || string_to_i64(digits, 1, INT64_MAX, ret_revision) < 0)
        return error_set_field(error, ERROR_BAD_REQUEST, "If-Match",
                               "If-Match holds the ETag of the cluster, such as \"7\".");
    return 0;
}

static int read_request(Changing *changing, Error *error)
{
    ApiCall *call = changing->call;
    if (!call->body)
        return error_set(error, ERROR_BAD_REQUEST, "The request needs a JSON object as its body.");
    int r = change_request_parse(call->arena, call->body, &changing->request, error);
    changing->expected_revision = changing->request.revision;
    return r < 0 ? r : read_if_match(call, &changing->expected_revision, error);
}

static int check_revision(const Changing *changing, int64_t revision, Error *error)
{
    if (changing->expected_revision == 0 || changing->expected_revision == revision)
        return 0;
    return error_set(error, ERROR_PRECONDITION,
                     "The cluster has changed: it has revision %" PRId64 ", not %" PRId64
                     ". Look at it again.",
                     revision, changing->expected_revision);
}

static int check_status(const char *status, Error *error)
{
    if (string_equal(status, "active") || string_equal(status, "inconsistent"))
        return 0;
    return error_set(
        error, ERROR_CONFLICT, "The cluster is %s; operations need one that is active%s.", status,
        string_equal(status, "pending") ? ": wait for the work that is under way, or cancel it" : "");
}

/* Planning
 * ------------------------------------------------------------------------------------------------------------------
 */

static int load(ApiCall *call, void *context, Error *error)
{
    Changing *changing = context;
    ClusterGetRow row;
    changing->loaded = loaded_state_free(changing->loaded);
    int r = cluster_find(call, call->parameters[0], &row, error);
    if (r >= 0)
        r = check_status(row.status, error);
    if (r >= 0)
        r = check_revision(changing, row.revision, error);
    return r < 0 ? r : loaded_state_read(call->transaction, call->tenant, &row, &changing->loaded, error);
}

static int make(Changing *changing, Error *error)
{
    _cleanup_issues_ IssueList issues = {0};
    int r = api_call_run(changing->call, STORE_READ, load, changing, error);
    if (r < 0)
        return r;
    const ClusterState *state = &changing->loaded->state;
    r = change_make(state, &changing->request, &changing->change, &issues, error);
    if (r < 0)
        return error_is_set(error) ? r : issue_list_to_error(&issues, error);
    changing->document = change_to_json(state, changing->change);
    return 0;
}

int cluster_change_plan_handler(ApiCall *call, Error *error)
{
    _cleanup_changing_ Changing changing = {.call = call};
    int r = read_request(&changing, error);
    if (r >= 0)
        r = make(&changing, error);
    if (r < 0)
        return r;
    _cleanup_free_ char *text = json_to_text(changing.document);
    return buffer_append_string(&call->answer, text);
}

/* Running
 * -------------------------------------------------------------------------------------------------------------------
 */

static int check_digest(const Changing *changing, Error *error)
{
    const char *expected = changing->request.plan_digest;
    if (!expected || string_equal(expected, changing->change->digest))
        return 0;
    return error_set_field(error, ERROR_PRECONDITION, "plan_digest",
                           "The plan is another one now (%s); look at the preview again.",
                           changing->change->digest);
}

/* Nothing may have happened to the cluster since it was planned for. */
static int check_unchanged(const Changing *changing, ClusterGetRow *row, Error *error)
{
    ApiCall *call = changing->call;
    const ClusterState *state = &changing->loaded->state;
    ExecutionsOpenListRow *open;
    size_t count;
    int r = cluster_find(call, state->id, row, error);
    if (r >= 0)
        r = statement_executions_open_list(
            call->transaction,
            &(ExecutionsOpenListParameters){.tenant = call->tenant, .cluster_id = state->id}, &open, &count,
            error);
    if (r < 0)
        return r;
    if (count > 0)
        return error_set(error, ERROR_CONFLICT,
                         "Work on the cluster is under way (%s): wait for it, or cancel it.",
                         open[0].workflow);
    if (row->revision != state->revision)
        return error_set(error, ERROR_STALE, "The cluster changed while this was planned; try again.");
    return check_status(row->status, error);
}

static int submit(ApiCall *call, void *context, Error *error)
{
    Changing *changing = context;
    ClusterGetRow row;
    int r = check_unchanged(changing, &row, error);
    if (r < 0)
        return r;
    const char *execution_id;
    _cleanup_json_ json_t *parameters =
        json_pack("{s:s, s:O}", "digest", changing->change->digest, "plan", changing->document);
    _cleanup_free_ char *text = json_to_text(parameters);
    r = cluster_submit_graph(
        call, changing->change->plan,
        &(ClusterSubmission){.cluster_id = row.id,
                             .node_ids = changing->loaded->node_ids,
                             .workflow = change_operation_to_string(changing->change->operation),
                             .parameters = text},
        &execution_id, error);
    if (r < 0)
        return r;
    changing->execution_id = arena_string(call->arena, execution_id);
    call->audit_object = arena_format(call->arena, "cluster:%s", row.id);
    call->audit_details =
        arena_format(call->arena, "{\"operation\":\"%s\",\"plan\":\"%s\"}",
                     change_operation_to_string(changing->change->operation), changing->change->digest);
    return 0;
}

int cluster_change_handler(ApiCall *call, Error *error)
{
    _cleanup_changing_ Changing changing = {.call = call};
    int r = read_request(&changing, error);
    if (r >= 0)
        r = make(&changing, error);
    if (r >= 0)
        r = check_digest(&changing, error);
    if (r >= 0)
        r = api_call_run(call, STORE_WRITE, submit, &changing, error);
    if (r < 0)
        return r;
    Writer writer = writer_new(&call->answer);
    writer_begin_object(&writer, NULL);
    writer_string(&writer, "id", changing.loaded->state.id);
    writer_string(&writer, "name", changing.loaded->state.name);
    writer_string(&writer, "execution_id", changing.execution_id);
    writer_string(&writer, "plan_digest", changing.change->digest);
    writer_end_object(&writer);
    return writer.status;
}
