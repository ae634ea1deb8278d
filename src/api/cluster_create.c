/* SPDX-License-Identifier: Apache-2.0 */
/* From a request to a plan, and from a plan to a cluster: what the preview shows is what is made. Planning
 * happens outside of any transaction; one transaction then writes cluster, nodes, secrets and the whole
 * graph. */

#include <errno.h>

#include "api/catalog_store.h"
#include "api/clusters.h"
#include "api/resources.h"
#include "api/sealed_store.h"
#include "base/string.h"
#include "custody/keeper_protocol.h"
#include "domain/topology/hostname.h"

typedef struct GeneratedSecret {
    const char *name;
    char *context; /* owned */
    Buffer sealed;
} GeneratedSecret;

typedef struct Creation {
    ClusterRequest *request;
    MemoryCatalog *catalog;
    Plan *plan;
    json_t *snapshot;
    char id[ID_SIZE];
    GeneratedSecret *secrets;
    size_t secret_count;
    json_t *bundles; /* name to {version, digest} */
    const char *execution_id;
    int64_t created_at;
} Creation;

static void creation_done(Creation *creation)
{
    cluster_request_free(creation->request);
    memory_catalog_free(creation->catalog);
    plan_free(creation->plan);
    json_decref(creation->snapshot);
    json_decref(creation->bundles);
    for (size_t i = 0; i < creation->secret_count; i++) {
        free(creation->secrets[i].context);
        buffer_done(&creation->secrets[i].sealed);
    }
    free(creation->secrets);
}
#define _cleanup_creation_ _cleanup_(creation_done)

typedef struct LoadJob {
    ApiCall *call;
    Creation *creation;
} LoadJob;

static int load(StoreTransaction *transaction, void *context, Error *error)
{
    LoadJob *job = context;
    job->creation->catalog = memory_catalog_free(job->creation->catalog);
    return catalog_store_load(transaction, job->call->tenant, &job->creation->catalog, error);
}

static int make_plan(ApiCall *call, Creation *creation, Error *error)
{
    _cleanup_issues_ IssueList issues = {0};
    int r = cluster_request_parse(call->body, &creation->request, &issues);
    if (r < 0) {
        issue_list_locate(&issues, call->request->body, call->request->body_size);
        return issue_list_to_error(&issues, error);
    }
    LoadJob job = {call, creation};
    r = store_run(call->api->settings.store, STORE_READ, load, &job, error);
    if (r < 0)
        return r;
    r = plan_create(memory_catalog_interface(creation->catalog), creation->request, NULL, &creation->plan,
                    &issues, error);
    if (r < 0 && !error_is_set(error))
        return issue_list_to_error(&issues, error);
    return r;
}

static int post_plan(ApiCall *call, Error *error)
{
    if (!call->body)
        return error_set(error, ERROR_BAD_REQUEST, "The request needs a JSON object as its body.");
    _cleanup_creation_ Creation creation = {0};
    int r = make_plan(call, &creation, error);
    if (r < 0)
        return r;
    _cleanup_json_ json_t *document = plan_to_json(creation.plan);
    _cleanup_free_ char *text = json_to_text(document);
    return buffer_append_string(&call->answer, text);
}

int cluster_plan_handler(ApiCall *call, Error *error)
{
    return post_plan(call, error);
}

/* What a plan needs beyond the catalog
 * ---------------------------------------------------------------------------------------- */

static int pin_bundles(StoreTransaction *transaction, void *context, Error *error)
{
    LoadJob *job = context;
    Creation *creation = job->creation;
    json_decref(creation->bundles);
    creation->bundles = json_object();
    return cluster_pin_bundles(transaction, job->call->tenant, creation->plan->services,
                               creation->plan->service_count, creation->bundles, error);
}

static int generate_secrets(ApiCall *call, Creation *creation, Error *error)
{
    const CatalogTemplate *template = &creation->plan->template->template;
    if (template->secret_count == 0)
        return 0;
    creation->secrets = NEW_ARRAY(GeneratedSecret, template->secret_count);
    KeeperClient *keeper = keeper_take(call->api, error);
    if (!keeper)
        return -ECONNREFUSED;
    int r = 0;
    for (size_t i = 0; i < template->secret_count && r >= 0; i++) {
        const TemplateSecret *wanted = &template->secrets[i];
        GeneratedSecret *secret = &creation->secrets[creation->secret_count++];
        SecretAlphabet alphabet =
            wanted->alphabet ? secret_alphabet_from_string(wanted->alphabet) : SECRET_ALPHANUMERIC;
        secret->name = wanted->name;
        secret->context = string_format("sealed_values/cluster/%s/%s/1", creation->id, wanted->name);
        secret->sealed = BUFFER_INIT;
        r = keeper_client_generate_secret(keeper, SEALED_TASK, call->tenant, secret->context,
                                          wanted->length > 0 ? (uint32_t)wanted->length : 32,
                                          alphabet < 0 ? SECRET_ALPHANUMERIC : alphabet, &secret->sealed,
                                          error);
    }
    keeper_give(call->api, keeper);
    return r;
}

/* The documents as they are now: later changes of the catalog do not touch this cluster. */
static void make_snapshot(Creation *creation)
{
    const Plan *plan = creation->plan;
    json_t *services = json_object();
    for (size_t i = 0; i < plan->service_count; i++)
        (void)json_object_set(services, plan->services[i]->name, plan->services[i]->document);
    creation->snapshot = json_pack("{s:O, s:o, s:o, s:O}", "template", plan->template->document, "provider",
                                   provider_document_redact(plan->provider->document), "services", services,
                                   "bundles", creation->bundles);
}

/* Writing
 * ---------------------------------------------------------------------------------------------------------------------
 */

static int insert_cluster(ApiCall *call, Creation *creation, Error *error)
{
    const Plan *plan = creation->plan;
    _cleanup_json_ json_t *plan_document = plan_to_json(plan);
    _cleanup_free_ char *plan_text = json_to_text(plan_document);
    _cleanup_free_ char *request = json_to_text(call->body);
    _cleanup_free_ char *snapshot = json_to_text(creation->snapshot);
    _cleanup_free_ char *config = plan->config ? json_to_text(plan->config) : string_duplicate("{}");
    creation->created_at = (int64_t)store_now(call->transaction);
    int r = statement_cluster_insert(
        call->transaction,
        &(ClusterInsertParameters){
            .tenant = call->tenant,
            .id = creation->id,
            .name = plan->cluster_name,
            .description = creation->request->description ?: "",
            .owner = call->principal.username,
            .template = plan->template->name,
            .template_version = plan->template->version,
            .provider = plan->provider->name,
            .request = request,
            .plan = plan_text,
            .snapshot = snapshot,
            .config = config,
            .node_count = (int64_t)plan->node_count,
            .created_at = creation->created_at,
            .expires_at = plan->lease > 0 ? creation->created_at + plan->lease * (int64_t)USEC_PER_MSEC : 0,
        },
        error);
    if (r < 0 && error->code == ERROR_CONFLICT) {
        error_clear(error);
        return error_set_field(error, ERROR_CONFLICT, "name", "There is a cluster named '%s' already.",
                               plan->cluster_name);
    }
    return r < 0 ? r : resource_add(call, "cluster", creation->id, error);
}

static int insert_secrets(ApiCall *call, const Creation *creation, Error *error)
{
    for (size_t i = 0; i < creation->secret_count; i++) {
        const GeneratedSecret *secret = &creation->secrets[i];
        int r =
            sealed_store_put(call->transaction,
                             &(SealedValuePutParameters){.tenant = call->tenant,
                                                         .owner_kind = "cluster",
                                                         .owner = creation->id,
                                                         .name = secret->name,
                                                         .context = secret->context,
                                                         .value = {secret->sealed.data, secret->sealed.size},
                                                         .created_at = creation->created_at},
                             error);
        if (r < 0)
            return r;
    }
    return 0;
}

int cluster_submit_graph(ApiCall *call, const Plan *plan, const ClusterSubmission *submission,
                         const char **ret_execution_id, Error *error)
{
    const TaskGraph *graph = plan->graph;
    EngineTask *tasks =
        arena_allocate_array(store_arena(call->transaction), graph->task_count + 1, sizeof(*tasks));
    EngineEdge *edges =
        arena_allocate_array(store_arena(call->transaction), graph->edge_count + 1, sizeof(*edges));
    for (size_t i = 0; i < graph->task_count; i++) {
        const PlanTask *task = &graph->tasks[i];
        _cleanup_json_ json_t *details = plan_task_details(plan, (uint32_t)i);
        _cleanup_free_ char *text = json_to_text(details);
        tasks[i] = (EngineTask){
            .kind = task_kind_to_string(task_action_kind(task->action)),
            .action = task_action_to_string(task->action),
            .service = task->service == TASK_NOTHING ? NULL : plan->services[task->service]->name,
            .node_id = task->node == TASK_NOTHING ? NULL : submission->node_ids[task->node],
            .details = arena_string(store_arena(call->transaction), text),
            .timeout_ms = plan_task_timeout(plan, (uint32_t)i),
            .is_idempotent = true,
        };
    }
    for (size_t i = 0; i < graph->edge_count; i++)
        edges[i] = (EngineEdge){graph->edges[i].before + 1, graph->edges[i].after + 1};
    return engine_submit(call->api->engine, call->transaction,
                         &(EngineGraph){.tenant = call->tenant,
                                        .cluster_id = submission->cluster_id,
                                        .workflow = submission->workflow,
                                        .created_by = call->principal.username,
                                        .parameters = submission->parameters,
                                        .tasks = tasks,
                                        .task_count = graph->task_count,
                                        .edges = edges,
                                        .edge_count = graph->edge_count},
                         ret_execution_id, &call->effects, error);
}

static int create_job(ApiCall *call, void *context, Error *error)
{
    Creation *creation = context;
    const char **node_ids =
        arena_allocate_array(store_arena(call->transaction), creation->plan->node_count + 1, sizeof(char *));
    const char *execution_id;
    int r = cluster_check_quota(call, 1, creation->plan->node_count, error);
    if (r >= 0)
        r = insert_cluster(call, creation, error);
    if (r >= 0)
        r = cluster_insert_nodes(call, creation->plan, creation->id, 0, node_ids, error);
    if (r >= 0)
        r = insert_secrets(call, creation, error);
    if (r >= 0)
        r = cluster_submit_graph(
            call, creation->plan,
            &(ClusterSubmission){.cluster_id = creation->id, .workflow = "create", .node_ids = node_ids},
            &execution_id, error);
    if (r < 0)
        return r;
    creation->execution_id = arena_string(call->arena, execution_id);
    call->audit_object = arena_format(call->arena, "cluster:%s", creation->id);
    return 0;
}

int cluster_create_handler(ApiCall *call, Error *error)
{
    if (!call->body)
        return error_set(error, ERROR_BAD_REQUEST, "The request needs a JSON object as its body.");
    _cleanup_creation_ Creation creation = {0};
    id_generate(call->api->settings.random, creation.id);
    int r = make_plan(call, &creation, error);
    LoadJob job = {call, &creation};
    if (r >= 0)
        r = store_run(call->api->settings.store, STORE_READ, pin_bundles, &job, error);
    if (r >= 0)
        r = generate_secrets(call, &creation, error);
    if (r < 0)
        return r;
    make_snapshot(&creation);
    r = api_call_run(call, STORE_WRITE, create_job, &creation, error);
    if (r < 0)
        return r;
    Writer writer = writer_new(&call->answer);
    writer_begin_object(&writer, NULL);
    writer_string(&writer, "id", creation.id);
    writer_string(&writer, "name", creation.plan->cluster_name);
    writer_string(&writer, "execution_id", creation.execution_id);
    writer_end_object(&writer);
    return writer.status;
}
