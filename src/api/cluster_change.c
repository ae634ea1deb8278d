/* SPDX-License-Identifier: Apache-2.0 */
/* Operations on clusters that exist: preview and run. Both make the plan by the same code from what the
 * database holds; the job that runs it makes sure that the cluster is still the one that was planned for. */

#include <errno.h>
#include <inttypes.h>
#include <string.h>

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

/* Only who finishes what was begun, or takes it away, may work on nodes that were not completed. */
static int check_members(const ClusterState *state, Error *error)
{
    for (size_t i = 0; i < state->node_count; i++) {
        const StateNode *node = &state->nodes[i];
        if (!node->is_member || node->leaving != NODE_KEPT)
            return error_set(error, ERROR_CONFLICT,
                             "Node %u %s: retry that work, or scale the cluster with this node removed.",
                             node->number,
                             node->is_member ? "was about to leave" : "was not completed by earlier work");
    }
    return 0;
}

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
    if (r >= 0)
        r = loaded_state_read(call->transaction, call->tenant, &row, &changing->loaded, error);
    if (r >= 0 && !change_is_of_members(changing->request.operation))
        return check_members(&changing->loaded->state, error);
    if (r >= 0)
        r = loaded_state_read_catalog(call->transaction, call->tenant, &changing->request.services,
                                      changing->loaded, error);
    return r;
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

static json_t *service_names(const Plan *plan, const ClusterNode *node)
{
    json_t *names = json_array();
    for (size_t i = 0; i < node->service_count; i++)
        (void)json_array_append_new(names, json_string(plan->services[node->services[i]]->name));
    return names;
}

/* Nodes that exist: services that come to them, and whether they are about to leave. */
static int write_node(const Changing *changing, size_t index, Error *error)
{
    ApiCall *call = changing->call;
    const Change *change = changing->change;
    const StateNode *before = &changing->loaded->state.nodes[index];
    int64_t now = (int64_t)store_now(call->transaction);
    const char *id = changing->loaded->node_ids[index];
    int r = 0;
    if (change->plan->nodes[index].service_count != before->services.count) {
        _cleanup_json_ json_t *names = service_names(change->plan, &change->plan->nodes[index]);
        _cleanup_free_ char *text = json_to_text(names);
        r = statement_node_set_services(
            call->transaction,
            &(NodeSetServicesParameters){
                .services = text, .updated_at = now, .tenant = call->tenant, .id = id},
            error);
    }
    if (r >= 0 && change->fates[index] != (uint8_t)before->leaving)
        r = statement_node_set_leaving(
            call->transaction,
            &(NodeSetLeavingParameters){
                .leaving = change->fates[index], .updated_at = now, .tenant = call->tenant, .id = id},
            error);
    return MIN(r, 0);
}

static size_t count_staying(const Change *change)
{
    size_t count = 0;
    for (size_t i = 0; i < change->plan->node_count; i++)
        count += change->fates[i] == NODE_KEPT || change->fates[i] == NODE_NEW;
    return count;
}

/* What the cluster is to become, before the first step towards it. */
static int write_members(Changing *changing, const char **node_ids, Error *error)
{
    ApiCall *call = changing->call;
    const Change *change = changing->change;
    const Plan *plan = change->plan;
    json_t *services = json_object_get(changing->loaded->snapshot, "services");
    for (size_t i = 0; i < plan->service_count; i++)
        if (!json_object_get(services, plan->services[i]->name))
            (void)json_object_set(services, plan->services[i]->name, plan->services[i]->document);
    _cleanup_free_ char *request = json_to_text(change->request), *config = json_to_text(plan->config),
                        *snapshot = json_to_text(changing->loaded->snapshot);
    int r = cluster_check_quota(call, 0, plan->node_count - change->existing_count, error);
    for (size_t i = 0; i < change->existing_count && r >= 0; i++)
        r = write_node(changing, i, error);
    if (r >= 0)
        r = cluster_insert_nodes(call, plan, changing->loaded->state.id, change->existing_count, node_ids,
                                 error);
    if (r >= 0)
        r = statement_cluster_set_members(
            call->transaction,
            &(ClusterSetMembersParameters){.request = request,
                                           .snapshot = snapshot,
                                           .config = config,
                                           .node_count = (int64_t)count_staying(change),
                                           .updated_at = (int64_t)store_now(call->transaction),
                                           .tenant = call->tenant,
                                           .id = changing->loaded->state.id},
            error);
    return MIN(r, 0);
}

static int submit(ApiCall *call, void *context, Error *error)
{
    Changing *changing = context;
    ClusterGetRow row;
    int r = check_unchanged(changing, &row, error);
    if (r < 0)
        return r;
    const Change *change = changing->change;
    const char *execution_id;
    const char **node_ids =
        arena_allocate_array(store_arena(call->transaction), change->plan->node_count + 1, sizeof(char *));
    memcpy(node_ids, changing->loaded->node_ids, changing->loaded->state.node_count * sizeof(char *));
    if (change_is_of_members(change->operation))
        r = write_members(changing, node_ids, error);
    if (r < 0)
        return r;
    _cleanup_json_ json_t *parameters =
        json_pack("{s:s, s:O}", "digest", change->digest, "plan", changing->document);
    _cleanup_free_ char *text = json_to_text(parameters);
    r = cluster_submit_graph(call, changing->change->plan,
                             &(ClusterSubmission){.cluster_id = row.id,
                                                  .node_ids = node_ids,
                                                  .workflow = change_operation_to_string(change->operation),
                                                  .parameters = text},
                             &execution_id, error);
    if (r < 0)
        return r;
    changing->execution_id = arena_string(call->arena, execution_id);
    call->audit_object = arena_format(call->arena, "cluster:%s", row.id);
    call->audit_details = arena_format(call->arena, "{\"operation\":\"%s\",\"plan\":\"%s\"}",
                                       change_operation_to_string(change->operation), change->digest);
    return 0;
}

/* Each route takes the operations that its permission is about. */
static int check_route(const Changing *changing, Error *error)
{
    static const char *const routes[_CHANGE_OPERATION_MAX] = {
        [CHANGE_START] = "services",       [CHANGE_STOP] = "services", [CHANGE_RESTART] = "services",
        [CHANGE_ADD_SERVICES] = "members", [CHANGE_SCALE] = "members", [CHANGE_REPLACE] = "members",
    };
    const char *wanted = routes[changing->request.operation];
    if (string_ends_with(changing->call->route->path, wanted))
        return 0;
    return error_set_field(error, ERROR_BAD_FIELD, "operation",
                           "The operation '%s' is asked for at /clusters/ID/%s.",
                           change_operation_to_string(changing->request.operation), wanted);
}

int cluster_change_handler(ApiCall *call, Error *error)
{
    _cleanup_changing_ Changing changing = {.call = call};
    int r = read_request(&changing, error);
    if (r >= 0)
        r = check_route(&changing, error);
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
