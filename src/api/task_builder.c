/* SPDX-License-Identifier: Apache-2.0 */
/* What a provisioner is told about a task (docs/internals/protocols.md section 4): node, provider, script and
 * bundle, the configuration with its macros expanded, the firewall's rules, the names of a certificate;
 * secrets only as envelopes for this provisioner. Made when the task is handed out, from what is known then,
 * so addresses are those of now. */

#include <errno.h>
#include <inttypes.h>

#include "api/cluster_view.h"
#include "api/internal.h"
#include "api/secrets.h"
#include "base/string.h"
#include "domain/firewall/firewall.h"

typedef struct Build {
    ApiCall *call;
    const EngineLease *lease;
    const char *provisioner_id;
    Writer *writer;
    KeeperClient *keeper;
    ClusterView *view;
    json_t *details;      /* owned */
    StoredSecret *stored; /* of the tenant's store, for this task; in the call's arena */
    size_t stored_count;
    const char *secrets; /* names of what was sealed for the provisioner; in the call's arena */
    Error *error;
} Build;

enum { DETAILS_LIMIT = 1024 * 1024, FIREWALL_CONFIRM_SECONDS = 20 };

static void write_node(Build *build)
{
    Writer *writer = build->writer;
    const ViewNode *node = build->view->self;
    writer_begin_object(writer, "node");
    writer_string(writer, "id", node->id);
    writer_integer(writer, "number", node->macro.number);
    writer_string(writer, "hostname", node->macro.hostname);
    writer_string(writer, "hardware_type", node->hardware_type);
    writer_string(writer, "flavor", node->flavor);
    writer_string(writer, "image_type", node->image_type);
    writer_string(writer, "image", node->image);
    writer_json(writer, "addresses", node->addresses);
    writer_json(writer, "host_keys", node->host_keys);
    writer_string(writer, "ssh_user", node->ssh_user);
    writer_integer(writer, "ssh_port", node->ssh_port);
    writer_string(writer, "provider_id", *node->provider_id ? node->provider_id : NULL);
    writer_begin_array(writer, "services");
    for (size_t i = 0; i < node->macro.service_count; i++)
        writer_string(writer, NULL, node->macro.services[i]);
    writer_end_array(writer);
    writer_end_object(writer);
}

/* Secrets
 * -------------------------------------------------------------------------------------------------------------------
 */

static int write_envelope(Build *build, const char *tenant, const char *name, const char *context,
                          const StoreBlob *value)
{
    if (!build->keeper) {
        build->keeper = keeper_take(build->call->api, build->error);
        if (!build->keeper)
            return -ECONNREFUSED;
    }
    _cleanup_buffer_ Buffer envelope = BUFFER_INIT;
    int r = keeper_client_reseal_value(build->keeper, tenant, context, value->data, value->size,
                                       build->provisioner_id, &envelope, build->error);
    if (r < 0)
        return r;
    char *text = arena_allocate(build->call->arena, 4 * (envelope.size / 3 + 2));
    base64_encode(envelope.data, envelope.size, text);
    writer_string(build->writer, name, text);
    build->secrets = build->secrets ? arena_format(build->call->arena, "%s, %s", build->secrets, name)
                                    : arena_string(build->call->arena, name);
    return 0;
}

/* Whether the template gives a secret to a service; those of no named service go to none. */
static bool secret_is_for(const json_t *template, const char *secret, const char *service)
{
    size_t index;
    const json_t *row;
    json_array_foreach (json_object_get(template, "secrets"), index, row) {
        if (!string_equal(json_string_value(json_object_get(row, "name")), secret))
            continue;
        size_t i;
        const json_t *name;
        json_array_foreach (json_object_get(row, "services"), i, name)
            if (string_equal(json_string_value(name), service))
                return true;
    }
    return false;
}

/* Names that the script of this task reads, as its approved bundle's manifest says. */
static int read_wanted(StoreTransaction *transaction, Build *build, json_t **ret_manifest, Error *error)
{
    const json_t *fields = json_object_get(json_object_get(build->details, "action"), "fields");
    const char *name = json_string_value(json_object_get(fields, "bundle"));
    const json_t *bundle = name ? json_object_get(build->view->bundles, name) : NULL;
    const char *digest = json_string_value(json_object_get(bundle, "digest"));
    BundleGetRow row;
    int r = digest
                ? statement_bundle_get(
                      transaction, &(BundleGetParameters){.tenant = build->lease->tenant, .digest = digest},
                      &row, error)
                : 0;
    return r == 1 ? json_parse(row.manifest, strlen(row.manifest), DETAILS_LIMIT, ret_manifest, error) : r;
}

static bool is_wanted(const Build *build, const json_t *manifest, const char *secret)
{
    const json_t *fields = json_object_get(json_object_get(build->details, "action"), "fields");
    const char *script = json_string_value(json_object_get(fields, "script"));
    const json_t *entry = script ? json_object_get(json_object_get(manifest, "scripts"), script) : NULL;
    size_t index;
    const json_t *name;
    json_array_foreach (json_object_get(entry, "secrets"), index, name)
        if (string_equal(json_string_value(name), secret))
            return true;
    return false;
}

/* Looks at the rights of whoever asked for the run as they are now, and records that the task gets the
 * secret. */
static int take_stored(StoreTransaction *transaction, Build *build, const char *requester, const char *name,
                       Error *error)
{
    Arena *arena = build->call->arena;
    const EngineLease *lease = build->lease;
    StoredSecret *secret = &build->stored[build->stored_count];
    int r = secret_for_use(transaction, arena, lease->tenant, requester, name, secret, error);
    if (r < 0)
        return r;
    build->stored_count++;
    return audit_trail_append(
        transaction,
        &(AuditRecord){.actor = requester,
                       .tenant = lease->tenant,
                       .request_id = build->call->request->request_id,
                       .source = build->call->request->remote_address,
                       .action = "secret_use",
                       .object = arena_format(arena, "secret:%s", name),
                       .details = arena_format(arena, "{\"task\":\"%s\",\"version\":%" PRId64 "}",
                                               lease->task, secret->version)},
        error);
}

static int find_stored(StoreTransaction *transaction, void *context, Error *error)
{
    Build *build = context;
    const json_t *names = json_object_get(build->view->snapshot, "store_secrets"), *name;
    _cleanup_json_ json_t *manifest = NULL;
    ExecutionGetRow execution;
    size_t index;
    build->stored_count = 0;
    build->stored =
        arena_allocate_array(build->call->arena, json_array_size(names) + 1, sizeof(*build->stored));
    int r = statement_execution_get(
        transaction,
        &(ExecutionGetParameters){.tenant = build->lease->tenant, .id = build->lease->execution_id},
        &execution, error);
    if (r == 1)
        r = read_wanted(transaction, build, &manifest, error);
    json_array_foreach (names, index, name)
        if (r >= 0 && is_wanted(build, manifest, json_string_value(name)))
            r = take_stored(transaction, build, execution.created_by, json_string_value(name), error);
    return MIN(r, 0);
}

/* A cluster without secrets of the store costs no transaction. */
static int read_stored(Build *build)
{
    if (json_array_size(json_object_get(build->view->snapshot, "store_secrets")) == 0 ||
        !string_equal(build->lease->kind, "automator"))
        return 0;
    return store_run(build->call->api->settings.store, STORE_WRITE, find_stored, build, build->error);
}

static int write_cluster_secrets(Build *build)
{
    Writer *writer = build->writer;
    int r = 0;
    writer_begin_object(writer, "secrets");
    for (size_t i = 0; i < build->view->secret_count && r >= 0; i++) {
        const ViewSecret *secret = &build->view->secrets[i];
        if (secret_is_for(build->view->template, secret->name, build->lease->service))
            r = write_envelope(build, build->lease->tenant, secret->name, secret->context, &secret->value);
    }
    for (size_t i = 0; i < build->stored_count && r >= 0; i++)
        r = write_envelope(build, build->stored[i].tenant, build->stored[i].key, build->stored[i].context,
                           &build->stored[i].value);
    writer_end_object(writer);
    writer_begin_object(writer, "secret_contexts");
    for (size_t i = 0; i < build->view->secret_count; i++)
        if (secret_is_for(build->view->template, build->view->secrets[i].name, build->lease->service))
            writer_string(writer, build->view->secrets[i].name, build->view->secrets[i].context);
    for (size_t i = 0; i < build->stored_count; i++)
        writer_string(writer, build->stored[i].key, build->stored[i].context);
    writer_end_object(writer);
    return r;
}

static int write_provider(Build *build)
{
    Writer *writer = build->writer;
    const json_t *provider = build->view->provider;
    bool is_provider_task = string_equal(build->lease->kind, "provider");
    int r = 0;
    writer_begin_object(writer, "provider");
    writer_string(writer, "name", json_string_value(json_object_get(provider, "name")));
    writer_string(writer, "type", json_string_value(json_object_get(provider, "providertype")));
    const json_t *fields = json_object_get(provider, "provisioner");
    if (is_provider_task && fields)
        writer_json(writer, "fields", fields);
    else
        writer_raw(writer, "fields", "{}");
    writer_begin_object(writer, "secrets");
    for (size_t i = 0; is_provider_task && i < build->view->provider_secret_count && r >= 0; i++) {
        const ViewSecret *secret = &build->view->provider_secrets[i];
        r = write_envelope(build, build->lease->tenant, secret->name, secret->context, &secret->value);
    }
    writer_end_object(writer);
    writer_begin_object(writer, "secret_contexts");
    for (size_t i = 0; is_provider_task && i < build->view->provider_secret_count; i++)
        writer_string(writer, build->view->provider_secrets[i].name,
                      build->view->provider_secrets[i].context);
    writer_end_object(writer);
    writer_end_object(writer);
    return r;
}

/* Scripts
 * -------------------------------------------------------------------------------------------------------------------
 */

static void write_facts(Build *build, json_t *parameters)
{
    const ViewNode *node = build->view->self;
    json_t *services = json_array();
    for (size_t i = 0; i < node->macro.service_count; i++)
        (void)json_array_append_new(services, json_string(node->macro.services[i]));
    (void)json_object_set_new(parameters, "bastide",
                              json_pack("{s:{s:s, s:s}, s:{s:s, s:s, s:i, s:O, s:o}, s:s, s:s}", "cluster",
                                        "id", build->lease->cluster_id, "name", build->view->cluster_name,
                                        "node", "id", node->id, "hostname", node->macro.hostname, "number",
                                        (int)node->macro.number, "addresses", node->addresses, "services",
                                        services, "service", build->lease->service, "action",
                                        build->lease->action));
}

static int write_parameters(Build *build)
{
    _cleanup_json_ json_t *parameters = NULL;
    int r = macro_expand_json(build->view->macros, build->view->self->macro.number, build->view->config,
                              &parameters, NULL, build->error);
    if (r < 0)
        return r;
    write_facts(build, parameters);
    writer_json(build->writer, "parameters", parameters);
    return 0;
}

static int write_bundle(Build *build, const char *name)
{
    const json_t *bundle = name ? json_object_get(build->view->bundles, name) : NULL;
    if (!bundle)
        return error_set(build->error, ERROR_NOT_APPROVED, "The cluster has no approved bundle '%s'.",
                         name ?: "");
    Writer *writer = build->writer;
    writer_begin_object(writer, "bundle");
    writer_string(writer, "name", name);
    writer_string(writer, "version", json_string_value(json_object_get(bundle, "version")));
    writer_string(writer, "digest", json_string_value(json_object_get(bundle, "digest")));
    writer_end_object(writer);
    return write_parameters(build);
}

static int write_script(Build *build)
{
    const json_t *action = json_object_get(build->details, "action");
    const char *type = json_string_value(json_object_get(action, "type"));
    if (!action_type_has_executor(type ?: ""))
        return error_set(build->error, ERROR_CONFIGURATION, "Actions of the type '%s' have no executor here.",
                         type ?: "");
    writer_begin_object(build->writer, "service");
    writer_string(build->writer, "name", build->lease->service);
    writer_json(build->writer, "action", action);
    writer_end_object(build->writer);
    return write_bundle(build,
                        json_string_value(json_object_get(json_object_get(action, "fields"), "bundle")));
}

/* Firewall
 * ------------------------------------------------------------------------------------------------------------------
 */

static int write_firewall(Build *build)
{
    FirewallInput input;
    int r = cluster_view_firewall(build->view, build->call->arena, &input, build->error);
    _cleanup_free_ char *ruleset = NULL;
    char digest[FIREWALL_DIGEST_SIZE];
    if (r >= 0)
        r = firewall_render(&input, &ruleset, digest, build->error);
    if (r < 0)
        return r;
    Writer *writer = build->writer;
    writer_begin_object(writer, "firewall");
    writer_string(writer, "ruleset", ruleset);
    writer_string(writer, "digest", digest);
    writer_integer(writer, "confirm_seconds", FIREWALL_CONFIRM_SECONDS);
    writer_end_object(writer);
    return 0;
}

/* Certificates
 * --------------------------------------------------------------------------------------------------------------
 */

/* The bundle that the service's own actions come from: the script that reloads after a new certificate is in
 * it. */
static const char *bundle_of_service(const Build *build)
{
    const json_t *service = json_object_get(build->view->services, build->lease->service);
    json_t *actions = json_object_get(json_object_get(service, "provisioner"), "actions");
    const char *name;
    json_t *action;
    json_object_foreach (actions, name, action) {
        const char *bundle = json_string_value(json_object_get(json_object_get(action, "fields"), "bundle"));
        if (bundle)
            return bundle;
    }
    return NULL;
}

static int write_certificate(Build *build)
{
    _cleanup_json_ json_t *certificate = NULL;
    int r =
        macro_expand_json(build->view->macros, build->view->self->macro.number,
                          json_object_get(build->details, "certificate"), &certificate, NULL, build->error);
    if (r < 0)
        return r;
    (void)json_object_set_new(certificate, "common_name", json_string(build->view->self->macro.hostname));
    writer_json(build->writer, "certificate", certificate);
    return json_object_get(certificate, "reload") ? write_bundle(build, bundle_of_service(build)) : 0;
}

static int write_particulars(Build *build)
{
    const char *kind = build->lease->kind;
    if (string_equal(kind, "automator"))
        return write_script(build);
    if (string_equal(kind, "firewall"))
        return write_firewall(build);
    if (string_equal(kind, "certificate"))
        return write_certificate(build);
    return 0;
}

static int build_members(Build *build)
{
    const EngineLease *lease = build->lease;
    Writer *writer = build->writer;
    writer_string(writer, "id", lease->task);
    writer_string(writer, "step", lease->step);
    writer_integer(writer, "attempt", lease->attempt);
    writer_string(writer, "tenant", lease->tenant);
    writer_string(writer, "cluster", lease->cluster_id);
    writer_string(writer, "cluster_name", build->view->cluster_name);
    writer_string(writer, "execution", lease->execution_id);
    writer_string(writer, "kind", lease->kind);
    writer_string(writer, "action", lease->action);
    writer_integer(writer, "timeout_ms", lease->timeout_ms);
    writer_boolean(writer, "idempotent", lease->is_idempotent);
    write_node(build);
    int r = write_provider(build);
    if (r >= 0)
        r = write_particulars(build);
    if (r >= 0)
        r = write_cluster_secrets(build);
    return r;
}

int task_build(ApiCall *call, const EngineLease *lease, const char *provisioner_id, Writer *writer,
               const char **ret_secrets, Error *error)
{
    Buffer text = BUFFER_INIT;
    Writer part = writer_new(&text);
    Build build = {
        .call = call, .lease = lease, .provisioner_id = provisioner_id, .writer = &part, .error = error};
    int r = cluster_view_read(call->api, lease->tenant, lease->cluster_id, lease->node_id, lease->details,
                              &build.view, error);
    if (r >= 0)
        r = json_parse(lease->details, strlen(lease->details), DETAILS_LIMIT, &build.details, error);
    if (r >= 0)
        r = read_stored(&build);
    if (r >= 0) {
        writer_begin_object(&part, NULL);
        r = build_members(&build);
    }
    if (r >= 0) {
        writer_end_object(&part);
        writer_raw(writer, NULL, buffer_string(&text));
        r = MIN(part.status, writer->status);
        *ret_secrets = build.secrets;
    }
    keeper_give(call->api, build.keeper);
    json_decref(build.details);
    cluster_view_free(build.view);
    buffer_done(&text);
    return r;
}
