/* SPDX-License-Identifier: Apache-2.0 */
/* What a task does to its node: status, and the facts that its result tells (addresses, host keys, outputs).
 */

#include <errno.h>
#include <inttypes.h>

#include "base/json.h"
#include "base/string.h"
#include "engine/engine_internal.h"

typedef struct NodeAction {
    const char *action;
    const char *status_begun, *status_done; /* NULL = as it is */
} NodeAction;

static const NodeAction node_actions[] = {
    {"create", "creating", "created"},
    {"confirm", NULL, "created"},
    {"bootstrap", "configuring", NULL},
    {"delete", "deleting", "deleted"},
};

enum { OUTPUT_LIMIT = 16 * 1024, RESULT_LIMIT = 64 * 1024, HOST_KEYS_MAX = 8 };

static const NodeAction *find_action(const char *action)
{
    for (size_t i = 0; i < ELEMENTSOF(node_actions); i++)
        if (string_equal(node_actions[i].action, action))
            return &node_actions[i];
    return NULL;
}

static int set_status(Transition *transition, const char *tenant, const char *cluster_id, const char *node_id,
                      const char *status)
{
    int r = statement_node_set_status(
        transition->transaction,
        &(NodeSetStatusParameters){.tenant = tenant,
                                   .id = node_id,
                                   .status = status,
                                   .updated_at = (int64_t)store_now(transition->transaction)},
        transition->error);
    if (r < 0)
        return r;
    return engine_publish(transition->transaction,
                          &(EngineEvent){.tenant = tenant,
                                         .type = "node_status",
                                         .severity = string_equal(status, "failed") ? "error" : "info",
                                         .cluster_id = cluster_id,
                                         .node_id = node_id,
                                         .message = status},
                          transition->effects, transition->error);
}

int node_state_begin(Transition *transition, const char *tenant, const char *cluster_id, const char *node_id,
                     const char *action)
{
    const NodeAction *row = find_action(action);
    return row && row->status_begun && *node_id
               ? set_status(transition, tenant, cluster_id, node_id, row->status_begun)
               : 0;
}

int node_state_fail(Transition *transition, const char *tenant, const char *cluster_id, const char *node_id)
{
    return *node_id ? set_status(transition, tenant, cluster_id, node_id, "failed") : 0;
}

typedef struct ResultFields {
    const char *provider_id, *ssh_user;
    int64_t ssh_port;
    json_t *addresses, *host_keys, *outputs;
} ResultFields;

static const JsonField result_fields[] = {
    {"provider_id", JSON_FIELD_STRING, offsetof(ResultFields, provider_id), 0, 0, 255,
     "the provider's id of the machine"},
    {"addresses", JSON_FIELD_OBJECT, offsetof(ResultFields, addresses), 0, 0, 16, "address by type"},
    {"host_keys", JSON_FIELD_STRING_ARRAY, offsetof(ResultFields, host_keys), 0, 0, HOST_KEYS_MAX,
     "public host keys"},
    {"ssh_user", JSON_FIELD_STRING, offsetof(ResultFields, ssh_user), 0, 0, 64, "user to sign in as"},
    {"ssh_port", JSON_FIELD_INTEGER, offsetof(ResultFields, ssh_port), 0, 1, 65535, "port of the SSH server"},
    {"outputs", JSON_FIELD_OBJECT, offsetof(ResultFields, outputs), 0, 0, 256, "what the step says"},
    {0},
};

static int parse_result(const char *result, json_t **ret_document, ResultFields *fields, Error *error)
{
    int r = json_parse(result, strlen(result), RESULT_LIMIT, ret_document, error);
    if (r < 0)
        return r;
    return json_dispatch(*ret_document, result_fields, fields, "result", JSON_UNKNOWN_ERROR, NULL, error);
}

int node_state_check(const char *result, Error *error)
{
    _cleanup_json_ json_t *document = NULL;
    ResultFields fields = {0};
    int r = parse_result(result, &document, &fields, error);
    return r < 0 ? r : 0;
}

/* Outputs are kept under "<service>.<name>", those of no service under their name. */
static char *merge_outputs(const char *existing, const char *service, json_t *outputs, Error *error)
{
    _cleanup_json_ json_t *merged = NULL;
    if (json_parse(existing, strlen(existing), RESULT_LIMIT, &merged, error) < 0)
        return NULL;
    const char *name;
    json_t *value;
    json_object_foreach (outputs, name, value) {
        _cleanup_free_ char *key = *service ? string_format("%s.%s", service, name) : string_duplicate(name);
        (void)json_object_set(merged, key, value);
    }
    char *text = json_to_text(merged);
    if (strlen(text) > OUTPUT_LIMIT) {
        free(text);
        (void)error_set(error, ERROR_TOO_LARGE, "The outputs of a node may have %d bytes in all.",
                        OUTPUT_LIMIT);
        return NULL;
    }
    return text;
}

static int store_facts(Transition *transition, TaskKey key, const char *node_id, const char *service,
                       const ResultFields *fields)
{
    NodeGetForEngineRow node;
    int r = statement_node_get_for_engine(transition->transaction,
                                          &(NodeGetForEngineParameters){.tenant = key.tenant, .id = node_id},
                                          &node, transition->error);
    if (r <= 0)
        return r;
    _cleanup_free_ char *outputs =
        fields->outputs ? merge_outputs(node.outputs, service, fields->outputs, transition->error)
                        : string_duplicate(node.outputs);
    if (!outputs)
        return -E2BIG;
    _cleanup_free_ char *addresses =
        fields->addresses ? json_to_text(fields->addresses) : string_duplicate(node.addresses);
    _cleanup_free_ char *host_keys =
        fields->host_keys ? json_to_text(fields->host_keys) : string_duplicate(node.host_keys);
    r = statement_node_set_facts(
        transition->transaction,
        &(NodeSetFactsParameters){.tenant = key.tenant,
                                  .id = node_id,
                                  .provider_id = fields->provider_id ?: node.provider_id,
                                  .addresses = addresses,
                                  .host_keys = host_keys,
                                  .ssh_user = fields->ssh_user ?: node.ssh_user,
                                  .ssh_port = fields->ssh_port ?: node.ssh_port,
                                  .outputs = outputs,
                                  .updated_at = (int64_t)store_now(transition->transaction)},
        transition->error);
    return MIN(r, 0);
}

int node_state_finish(Transition *transition, TaskKey key, const char *cluster_id, const char *node_id,
                      const char *action, const char *service, const char *result)
{
    if (!*node_id)
        return 0;
    if (result && !string_equal(result, "{}")) {
        _cleanup_json_ json_t *document = NULL;
        ResultFields fields = {0};
        int r = parse_result(result, &document, &fields, transition->error);
        if (r >= 0)
            r = store_facts(transition, key, node_id, service, &fields);
        if (r < 0)
            return r;
    }
    const NodeAction *row = find_action(action);
    return row && row->status_done ? set_status(transition, key.tenant, cluster_id, node_id, row->status_done)
                                   : 0;
}
