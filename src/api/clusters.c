/* SPDX-License-Identifier: Apache-2.0 */
/* Clusters and nodes: lists, details, deletion, logs, SSH certificates. */

#include "api/clusters.h"

#include <inttypes.h>

#include "api/issuing.h"
#include "base/string.h"
#include "domain/topology/change.h"

enum { LOG_CHUNKS_MAX = 4096, LOG_TASKS_MAX = 1000, SSH_LIFE_SECONDS = 600 };

static void write_summary(Writer *writer, const ClusterListRow *row)
{
    writer_begin_object(writer, NULL);
    writer_string(writer, "id", row->id);
    writer_string(writer, "name", row->name);
    writer_string(writer, "description", row->description);
    writer_string(writer, "owner", row->owner);
    writer_string(writer, "template", row->template);
    writer_integer(writer, "template_version", row->template_version);
    writer_string(writer, "provider", row->provider);
    writer_string(writer, "status", row->status);
    writer_string(writer, "status_message", row->status_message);
    writer_integer(writer, "nodes", row->node_count);
    writer_time(writer, "created_at", row->created_at);
    writer_time(writer, "updated_at", row->updated_at);
    writer_time(writer, "expires_at", row->expires_at);
    writer_integer(writer, "revision", row->revision);
    writer_begin_object(writer, "progress");
    writer_string(writer, "execution_id", *row->execution_id ? row->execution_id : NULL);
    writer_string(writer, "action", row->workflow);
    writer_string(writer, "status", row->execution_status);
    writer_integer(writer, "steps_total", row->tasks_total);
    writer_integer(writer, "steps_completed", row->tasks_finished);
    writer_end_object(writer);
    writer_end_object(writer);
}

static int list_clusters(ApiCall *call, Error *error)
{
    Page page;
    ClusterListRow *rows;
    ClusterCountRow total;
    size_t count;
    bool with_terminated = false;
    const char *status = query_or_empty(call, "status"), *all = query_or_empty(call, "all");
    int r = page_read(call, &page, error);
    if (r >= 0 && *all && string_to_bool(all, &with_terminated) < 0)
        r = error_set_field(error, ERROR_BAD_REQUEST, "all", "'all' is true or false.");
    with_terminated |= string_equal(status, "terminated");
    if (r >= 0)
        r = statement_cluster_list(call->transaction,
                                   &(ClusterListParameters){.tenant = call->tenant,
                                                            .status = status,
                                                            .with_terminated = with_terminated,
                                                            .maximum = page.size,
                                                            .offset = page.offset},
                                   &rows, &count, error);
    if (r >= 0)
        r = statement_cluster_count(call->transaction,
                                    &(ClusterCountParameters){.tenant = call->tenant,
                                                              .status = status,
                                                              .with_terminated = with_terminated},
                                    &total, error);
    if (r < 0)
        return r;
    Writer writer = list_begin(call);
    for (size_t i = 0; i < count; i++)
        write_summary(&writer, &rows[i]);
    list_end(call, &writer, &page, total.total);
    return writer.status;
}

int cluster_find(ApiCall *call, const char *id_or_name, ClusterGetRow *row, Error *error)
{
    int r = statement_cluster_get(
        call->transaction, &(ClusterGetParameters){.tenant = call->tenant, .id = id_or_name}, row, error);
    if (r == 0) {
        ClusterFindByNameRow named;
        r = statement_cluster_find_by_name(
            call->transaction, &(ClusterFindByNameParameters){.tenant = call->tenant, .name = id_or_name},
            &named, error);
        if (r == 1)
            r = statement_cluster_get(call->transaction,
                                      &(ClusterGetParameters){.tenant = call->tenant, .id = named.id}, row,
                                      error);
    }
    if (r < 0)
        return r;
    return r == 1 ? 0 : error_set(error, ERROR_NOT_FOUND, "There is no cluster '%s'.", id_or_name);
}

static void write_node(Writer *writer, const NodesOfClusterRow *row)
{
    writer_begin_object(writer, NULL);
    writer_string(writer, "id", row->id);
    writer_string(writer, "cluster_id", row->cluster_id);
    writer_integer(writer, "number", row->number);
    writer_string(writer, "hostname", row->hostname);
    writer_string(writer, "status", row->status);
    writer_raw(writer, "services", row->services);
    writer_string(writer, "hardware_type", row->hardware_type);
    writer_string(writer, "image_type", row->image_type);
    writer_string(writer, "provider_id", *row->provider_id ? row->provider_id : NULL);
    writer_raw(writer, "addresses", row->addresses);
    writer_raw(writer, "host_keys", row->host_keys);
    writer_string(writer, "ssh_user", row->ssh_user);
    writer_integer(writer, "ssh_port", row->ssh_port);
    writer_raw(writer, "outputs", row->outputs);
    writer_time(writer, "created_at", row->created_at);
    writer_time(writer, "updated_at", row->updated_at);
    writer_end_object(writer);
}

/* Nodes that were taken away are no part of a cluster that lives; of one that is gone they all are. */
static int write_cluster_nodes(ApiCall *call, Writer *writer, const ClusterGetRow *cluster, Error *error)
{
    bool with_deleted = string_equal(cluster->status, "terminated");
    NodesOfClusterRow *rows;
    size_t count;
    int r = statement_nodes_of_cluster(
        call->transaction, &(NodesOfClusterParameters){.tenant = call->tenant, .cluster_id = cluster->id},
        &rows, &count, error);
    if (r < 0)
        return r;
    writer_begin_array(writer, "node_list");
    for (size_t i = 0; i < count; i++)
        if (with_deleted || !string_equal(rows[i].status, "deleted"))
            write_node(writer, &rows[i]);
    writer_end_array(writer);
    return 0;
}

static int get_cluster(ApiCall *call, Error *error)
{
    ClusterGetRow row;
    ExecutionGetRow execution = {0};
    int r = cluster_find(call, call->parameters[0], &row, error);
    if (r >= 0 && *row.execution_id)
        r = statement_execution_get(call->transaction,
                                    &(ExecutionGetParameters){.tenant = call->tenant, .id = row.execution_id},
                                    &execution, error);
    if (r < 0)
        return r;
    http_exchange_set_header(call->exchange, "ETag",
                             arena_format(call->arena, "\"%" PRId64 "\"", row.revision));
    Writer writer = writer_new(&call->answer);
    writer_begin_object(&writer, NULL);
    writer_string(&writer, "id", row.id);
    writer_string(&writer, "name", row.name);
    writer_string(&writer, "description", row.description);
    writer_string(&writer, "owner", row.owner);
    writer_string(&writer, "template", row.template);
    writer_integer(&writer, "template_version", row.template_version);
    writer_string(&writer, "provider", row.provider);
    writer_string(&writer, "status", row.status);
    writer_string(&writer, "status_message", row.status_message);
    writer_integer(&writer, "nodes", row.node_count);
    writer_raw(&writer, "config", row.config);
    writer_time(&writer, "created_at", row.created_at);
    writer_time(&writer, "updated_at", row.updated_at);
    writer_time(&writer, "expires_at", row.expires_at);
    writer_integer(&writer, "revision", row.revision);
    writer_begin_object(&writer, "progress");
    writer_string(&writer, "execution_id", *row.execution_id ? row.execution_id : NULL);
    writer_string(&writer, "action", execution.workflow);
    writer_string(&writer, "status", execution.status);
    writer_integer(&writer, "steps_total", execution.tasks_total);
    writer_integer(&writer, "steps_completed", execution.tasks_finished);
    writer_integer(&writer, "steps_running", execution.tasks_leased);
    writer_integer(&writer, "steps_failed", execution.tasks_failed);
    writer_integer(&writer, "steps_undecided", execution.tasks_undecided);
    writer_end_object(&writer);
    r = write_cluster_nodes(call, &writer, &row, error);
    writer_end_object(&writer);
    return MIN(r, writer.status);
}

static int get_cluster_plan(ApiCall *call, Error *error)
{
    ClusterGetRow row;
    int r = cluster_find(call, call->parameters[0], &row, error);
    return r < 0 ? r : buffer_append_string(&call->answer, row.plan);
}

/* Deleting: what runs is cancelled, every node that may exist is deleted
 * -------------------------------------------------------- */

static int cancel_open_executions(ApiCall *call, const char *cluster_id, Error *error)
{
    ExecutionsOpenListRow *rows;
    size_t count;
    int r = statement_executions_open_list(
        call->transaction, &(ExecutionsOpenListParameters){.tenant = call->tenant, .cluster_id = cluster_id},
        &rows, &count, error);
    for (size_t i = 0; i < count && r >= 0; i++)
        r = engine_cancel(call->api->engine, call->transaction, call->tenant, rows[i].id, false,
                          call->principal.username, &call->effects, error);
    return MIN(r, 0);
}

static int submit_delete(ApiCall *call, const ClusterGetRow *cluster, const char **ret_execution_id,
                         Error *error)
{
    NodesOfClusterRow *rows;
    size_t count, task_count = 0;
    int r = statement_nodes_of_cluster(
        call->transaction, &(NodesOfClusterParameters){.tenant = call->tenant, .cluster_id = cluster->id},
        &rows, &count, error);
    if (r < 0)
        return r;
    EngineTask *tasks = arena_allocate_array(store_arena(call->transaction), count + 1, sizeof(*tasks));
    for (size_t i = 0; i < count; i++)
        if (!string_equal(rows[i].status, "deleted"))
            tasks[task_count++] = (EngineTask){.kind = "provider",
                                               .action = "delete",
                                               .node_id = rows[i].id,
                                               .timeout_ms = 10 * 60 * 1000,
                                               .maximum_failures = 10,
                                               .is_idempotent = true};
    return engine_submit(call->api->engine, call->transaction,
                         &(EngineGraph){.tenant = call->tenant,
                                        .cluster_id = cluster->id,
                                        .workflow = "delete",
                                        .created_by = call->principal.username,
                                        .tasks = tasks,
                                        .task_count = task_count},
                         ret_execution_id, &call->effects, error);
}

static int answer_deletion(ApiCall *call, const char *id, const char *execution_id, int status)
{
    call->status = status;
    Writer writer = writer_new(&call->answer);
    writer_begin_object(&writer, NULL);
    writer_string(&writer, "id", id);
    writer_string(&writer, "execution_id", execution_id);
    writer_end_object(&writer);
    return writer.status;
}

static int delete_cluster(ApiCall *call, Error *error)
{
    ClusterGetRow row;
    ExecutionOpenOfClusterRow open;
    int r = cluster_find(call, call->parameters[0], &row, error);
    if (r < 0)
        return r;
    call->audit_object = arena_format(call->arena, "cluster:%s", row.id);
    if (string_equal(row.status, "terminated"))
        return answer_deletion(call, row.id, row.execution_id, 200);
    r = statement_execution_open_of_cluster(call->transaction,
                                            &(ExecutionOpenOfClusterParameters){.tenant = call->tenant,
                                                                                .cluster_id = row.id,
                                                                                .workflow = "delete"},
                                            &open, error);
    if (r < 0)
        return r;
    if (open.total > 0)
        return answer_deletion(call, row.id, row.execution_id, 202);
    const char *execution_id;
    r = cancel_open_executions(call, row.id, error);
    if (r >= 0)
        r = submit_delete(call, &row, &execution_id, error);
    return r < 0 ? r : answer_deletion(call, row.id, execution_id, 202);
}

/* Nodes
 * -------------------------------------------------------------------------------------------------------------------------
 */

static int list_nodes(ApiCall *call, Error *error)
{
    Page page;
    NodeListRow *rows;
    NodeCountRow total;
    size_t count;
    const char *cluster = query_or_empty(call, "cluster_id");
    int r = page_read(call, &page, error);
    if (r >= 0)
        r = statement_node_list(
            call->transaction,
            &(NodeListParameters){
                .tenant = call->tenant, .cluster_id = cluster, .maximum = page.size, .offset = page.offset},
            &rows, &count, error);
    if (r >= 0)
        r = statement_node_count(call->transaction,
                                 &(NodeCountParameters){.tenant = call->tenant, .cluster_id = cluster},
                                 &total, error);
    if (r < 0)
        return r;
    Writer writer = list_begin(call);
    _Static_assert(sizeof(NodeListRow) == sizeof(NodesOfClusterRow), "one shape of rows");
    for (size_t i = 0; i < count; i++) {
        NodesOfClusterRow row;
        memcpy(&row, &rows[i], sizeof(row));
        write_node(&writer, &row);
    }
    list_end(call, &writer, &page, total.total);
    return writer.status;
}

static int find_node(ApiCall *call, NodeGetRow *row, Error *error)
{
    int r = statement_node_get(call->transaction,
                               &(NodeGetParameters){.tenant = call->tenant, .id = call->parameters[0]}, row,
                               error);
    if (r < 0)
        return r;
    return r == 1 ? 0 : error_set(error, ERROR_NOT_FOUND, "There is no node '%s'.", call->parameters[0]);
}

static int get_node(ApiCall *call, Error *error)
{
    NodeGetRow row;
    int r = find_node(call, &row, error);
    if (r < 0)
        return r;
    _Static_assert(sizeof(NodeGetRow) == sizeof(NodesOfClusterRow), "one shape of rows");
    NodesOfClusterRow copy;
    memcpy(&copy, &row, sizeof(copy));
    Writer writer = writer_new(&call->answer);
    write_node(&writer, &copy);
    return writer.status;
}

static int append_output(ApiCall *call, const char *execution_id, int64_t number, Error *error)
{
    TaskOutputGetRow *rows;
    size_t count;
    int r = statement_task_output_get(call->transaction,
                                      &(TaskOutputGetParameters){.tenant = call->tenant,
                                                                 .execution_id = execution_id,
                                                                 .number = number,
                                                                 .maximum = LOG_CHUNKS_MAX},
                                      &rows, &count, error);
    for (size_t i = 0; i < count && r >= 0; i++)
        r = buffer_append(&call->answer, rows[i].data.data, rows[i].data.size);
    if (r >= 0 && call->answer.size > 0 && call->answer.data[call->answer.size - 1] != '\n')
        r = buffer_append_byte(&call->answer, '\n');
    return r;
}

static int append_node_tasks(ApiCall *call, const char *node_id, Error *error)
{
    TasksOfNodeRow *rows;
    size_t count;
    int r = statement_tasks_of_node(
        call->transaction,
        &(TasksOfNodeParameters){.tenant = call->tenant, .node_id = node_id, .maximum = LOG_TASKS_MAX}, &rows,
        &count, error);
    for (size_t i = 0; i < count && r >= 0; i++) {
        char time[TIMESTAMP_SIZE] = "-";
        if (rows[i].started_at > 0)
            timestamp_format((Usec)rows[i].started_at, time);
        r = buffer_append_format(&call->answer, "=== %s %s%s%s: %s\n", time, rows[i].action,
                                 *rows[i].service ? " " : "", rows[i].service, rows[i].state);
        if (r >= 0 && *rows[i].error_message)
            r = buffer_append_format(&call->answer, "%s\n", rows[i].error_message);
        if (r >= 0)
            r = append_output(call, rows[i].execution_id, rows[i].number, error);
    }
    return r;
}

static int get_node_log(ApiCall *call, Error *error)
{
    NodeGetRow node;
    int r = find_node(call, &node, error);
    if (r < 0)
        return r;
    const char *task = query_or_empty(call, "task_id");
    if (!*task)
        return append_node_tasks(call, node.id, error);
    char execution_id[ID_SIZE];
    int64_t number;
    if (!engine_task_parse(task, execution_id, &number))
        return error_set_field(error, ERROR_BAD_REQUEST, "task_id", "'%s' is not the id of an operation.",
                               task);
    TaskDetailsRow details;
    r = statement_task_details(
        call->transaction,
        &(TaskDetailsParameters){.tenant = call->tenant, .execution_id = execution_id, .number = number},
        &details, error);
    if (r < 0)
        return r;
    if (r == 0 || !string_equal(details.node_id, node.id))
        return error_set(error, ERROR_NOT_FOUND, "The node has no operation '%s'.", task);
    return append_output(call, execution_id, number, error);
}

typedef struct SshBody {
    const char *public_key;
} SshBody;

static const JsonField ssh_fields[] = {
    {"public_key", JSON_FIELD_STRING, offsetof(SshBody, public_key), JSON_FIELD_REQUIRED, 1, 4096,
     "OpenSSH public key line"},
    {0},
};

typedef struct SshTarget {
    const char *cluster_id, *addresses, *host_keys, *hostname;
    int64_t port;
} SshTarget;

static int read_ssh_target(ApiCall *call, void *context, Error *error)
{
    SshTarget *target = context;
    NodeGetRow row;
    int r = find_node(call, &row, error);
    if (r < 0)
        return r;
    if (string_equal(row.status, "planned") || string_equal(row.status, "deleted"))
        return error_set(error, ERROR_CONFLICT, "The node is %s; there is nothing to sign in to.",
                         row.status);
    call->audit_object = arena_format(call->arena, "node:%s", row.id);
    *target = (SshTarget){.cluster_id = arena_string(call->arena, row.cluster_id),
                          .addresses = arena_string(call->arena, row.addresses),
                          .host_keys = arena_string(call->arena, row.host_keys),
                          .hostname = arena_string(call->arena, row.hostname),
                          .port = row.ssh_port};
    return 0;
}

static int post_ssh_certificate(ApiCall *call, Error *error)
{
    SshBody body = {0};
    SshTarget target;
    int r = body_dispatch(call, ssh_fields, &body, error);
    if (r >= 0)
        r = api_call_run(call, STORE_WRITE, read_ssh_target, &target, error);
    if (r < 0)
        return r;
    _cleanup_free_ char *line = NULL;
    r = issue_ssh_certificate(
        call->api,
        &(SshIssueRequest){.public_key = body.public_key,
                           .key_id = call->principal.username,
                           .principal = arena_format(call->arena, "person:%s", target.cluster_id),
                           .life_seconds = SSH_LIFE_SECONDS,
                           .is_pty_allowed = true},
        &line, error);
    if (r < 0)
        return r;
    Writer writer = writer_new(&call->answer);
    writer_begin_object(&writer, NULL);
    writer_string(&writer, "certificate", line);
    writer_raw(&writer, "host_keys", target.host_keys);
    writer_raw(&writer, "addresses", target.addresses);
    writer_string(&writer, "hostname", target.hostname);
    writer_integer(&writer, "port", target.port);
    writer_string(&writer, "user", "operator");
    writer_time(&writer, "expires_at",
                (int64_t)(clock_realtime(call->api->settings.clock) + SSH_LIFE_SECONDS * USEC_PER_SEC));
    writer_end_object(&writer);
    return writer.status;
}

const ApiRoute routes_clusters[] = {
    ROUTE(POST, "/cluster-plans", CLUSTER_PLAN, NEEDS_TENANT, POOL, JSON_BODY, cluster_plan_handler, NULL,
          200, "What a request would make, without doing anything"),
    ROUTE(GET, "/clusters", CLUSTER_LIST, NEEDS_TENANT, READ, NO_BODY, list_clusters, NULL, 200,
          "Clusters, newest first", .query = query_clusters),
    ROUTE(POST, "/clusters", CLUSTER_CREATE, NEEDS_TENANT, POOL, JSON_BODY, cluster_create_handler,
          "cluster_create", 202, "Requests a cluster"),
    ROUTE(GET, "/clusters/{id}", CLUSTER_GET, NEEDS_TENANT, READ, NO_BODY, get_cluster, NULL, 200,
          "A cluster, by id or name", .object = &object_cluster),
    ROUTE(DELETE, "/clusters/{id}", CLUSTER_DELETE, NEEDS_TENANT, WRITE, NO_BODY, delete_cluster,
          "cluster_delete", 202, "Deletes a cluster; what runs is cancelled first",
          .object = &object_cluster),
    ROUTE(GET, "/clusters/{id}/plan", CLUSTER_GET, NEEDS_TENANT, READ, NO_BODY, get_cluster_plan, NULL, 200,
          "The plan that a cluster was made from", .object = &object_cluster, .shows_object = true),
    ROUTE(POST, "/clusters/{id}/plans", CLUSTER_PLAN, NEEDS_TENANT, POOL, JSON_BODY,
          cluster_change_plan_handler, NULL, 200, "What an operation on a cluster would do, without doing it",
          .fields = change_fields, .object = &object_cluster),
    ROUTE(POST, "/clusters/{id}/services", CLUSTER_SERVICES, NEEDS_TENANT, POOL, JSON_BODY,
          cluster_change_handler, "cluster_services", 202, "Starts, stops or restarts services of a cluster",
          .fields = change_fields, .object = &object_cluster),
    ROUTE(POST, "/clusters/{id}/members", CLUSTER_SCALE, NEEDS_TENANT, POOL, JSON_BODY,
          cluster_change_handler, "cluster_members", 202,
          "Scales a cluster, adds services to it, replaces nodes of it", .fields = change_fields,
          .object = &object_cluster),
    ROUTE(GET, "/nodes", NODE_LIST, NEEDS_TENANT, READ, NO_BODY, list_nodes, NULL, 200, "Nodes",
          .query = query_of_cluster),
    ROUTE(GET, "/nodes/{id}", NODE_GET, NEEDS_TENANT, READ, NO_BODY, get_node, NULL, 200, "A node",
          .object = &object_node),
    ROUTE(GET, "/nodes/{id}/log", NODE_LOG, NEEDS_TENANT, READ, NO_BODY, get_node_log, NULL, 200,
          "Output of the steps on a node, secrets masked", .query = query_log,
          .content_type = "text/plain; charset=utf-8", .object = &object_node),
    ROUTE(POST, "/nodes/{id}/ssh-certificate", NODE_SSH, NEEDS_TENANT, POOL, JSON_BODY, post_ssh_certificate,
          "node_ssh_certificate", 200, "A user certificate of ten minutes for a node's operator account",
          .fields = ssh_fields, .object = &object_node),
    {0},
};
