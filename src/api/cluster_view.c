/* SPDX-License-Identifier: Apache-2.0 */
#include "api/cluster_view.h"

#include "base/string.h"
#include "domain/catalog/catalog.h"
#include "domain/topology/graph.h"

enum { SNAPSHOT_LIMIT = 16 * 1024 * 1024, SERVICES_PER_NODE_MAX = 1000, NAMES_MAX = 100 };

/* Where SSH may come from when the provider does not say: the machines of an operator are known to him alone.
 */
static const char *const anywhere[] = {"0.0.0.0/0", "::/0"};

ClusterView *cluster_view_free(ClusterView *view)
{
    if (!view)
        return NULL;
    for (size_t i = 0; i < view->node_count; i++) {
        json_decref(view->nodes[i].addresses);
        json_decref(view->nodes[i].host_keys);
    }
    for (size_t i = 0; i < view->entry_count; i++)
        catalog_entry_unref(view->entries[i]);
    macro_view_free(view->macros);
    json_decref(view->snapshot);
    json_decref(view->config);
    arena_free(view->arena);
    free(view);
    return NULL;
}

static int parse(const char *text, json_t **ret_value, Error *error)
{
    return json_parse(text, strlen(text), SNAPSHOT_LIMIT, ret_value, error);
}

static int read_services(ClusterView *view, const char *text, MacroNode *node, Error *error)
{
    _cleanup_json_ json_t *services = NULL;
    int r = parse(text, &services, error);
    if (r < 0)
        return r;
    size_t count = json_array_size(services);
    const char **names = arena_allocate_array(view->arena, count + 1, sizeof(*names));
    for (size_t i = 0; i < count; i++)
        names[i] = arena_string(view->arena, json_string_value(json_array_get(services, i)));
    node->services = names;
    node->service_count = count;
    return 0;
}

static int read_node(ClusterView *view, const NodesOfClusterRow *row, ViewNode *node, Error *error)
{
    Arena *arena = view->arena;
    *node = (ViewNode){
        .id = arena_string(arena, row->id),
        .hardware_type = arena_string(arena, row->hardware_type),
        .flavor = arena_string(arena, row->flavor),
        .image_type = arena_string(arena, row->image_type),
        .image = arena_string(arena, row->image),
        .ssh_user = arena_string(arena, row->ssh_user),
        .provider_id = arena_string(arena, row->provider_id),
        .ssh_port = row->ssh_port,
        .macro = {.number = (uint32_t)row->number, .hostname = arena_string(arena, row->hostname)}};
    int r = parse(row->addresses, &node->addresses, error);
    if (r >= 0)
        r = parse(row->host_keys, &node->host_keys, error);
    if (r >= 0)
        r = read_services(view, row->services, &node->macro, error);
    for (AddressType type = 0; r >= 0 && type < _ADDRESS_TYPE_MAX; type++)
        node->macro.addresses[type] =
            json_string_value(json_object_get(node->addresses, address_type_to_string(type)));
    return r;
}

typedef struct ViewJob {
    const char *tenant, *cluster_id, *node_id;
    bool is_final; /* without nodes that are about to leave */
    ClusterView *view;
} ViewJob;

static bool is_there(const ViewJob *job, const NodesOfClusterRow *row)
{
    if (string_equal(row->id, job->node_id))
        return true;
    bool is_leaving = row->leaving == NODE_LEAVING;
    return !string_equal(row->status, "deleted") && row->leaving != NODE_LOST &&
           !(is_leaving && job->is_final);
}

static int read_nodes(StoreTransaction *transaction, const ViewJob *job, Error *error)
{
    ClusterView *view = job->view;
    NodesOfClusterRow *rows;
    size_t count;
    int r = statement_nodes_of_cluster(
        transaction, &(NodesOfClusterParameters){.tenant = job->tenant, .cluster_id = job->cluster_id}, &rows,
        &count, error);
    if (r < 0)
        return r;
    view->nodes = arena_allocate_array(view->arena, count + 1, sizeof(*view->nodes));
    view->macro_nodes = arena_allocate_array(view->arena, count + 1, sizeof(*view->macro_nodes));
    for (size_t i = 0; i < count; i++) {
        if (!is_there(job, &rows[i]))
            continue;
        ViewNode *node = &view->nodes[view->node_count++];
        r = read_node(view, &rows[i], node, error);
        if (r < 0)
            return r;
        view->macro_nodes[view->node_count - 1] = node->macro;
        if (string_equal(rows[i].id, job->node_id))
            view->self = node;
    }
    return view->self ? 0 : error_set(error, ERROR_INTERNAL, "The node of the task is gone.");
}

static int read_secrets(StoreTransaction *transaction, const ViewJob *job, const char *owner_kind,
                        const char *owner, ViewSecret **ret_secrets, size_t *ret_count, Error *error)
{
    Arena *arena = job->view->arena;
    SealedValuesOfOwnerRow *rows;
    int r = statement_sealed_values_of_owner(transaction,
                                             &(SealedValuesOfOwnerParameters){.tenant = job->tenant,
                                                                              .owner_kind = owner_kind,
                                                                              .owner = owner ?: ""},
                                             &rows, ret_count, error);
    if (r < 0)
        return r;
    *ret_secrets = arena_allocate_array(arena, *ret_count + 1, sizeof(**ret_secrets));
    for (size_t i = 0; i < *ret_count; i++)
        (*ret_secrets)[i] = (ViewSecret){
            .name = arena_string(arena, rows[i].name),
            .context = arena_string(arena, rows[i].context),
            .value = {arena_duplicate(arena, rows[i].value.data, rows[i].value.size), rows[i].value.size}};
    return 0;
}

static int read_view(StoreTransaction *transaction, const ViewJob *job, Error *error)
{
    ClusterView *view = job->view;
    ClusterGetRow row;
    int r = statement_cluster_get(
        transaction, &(ClusterGetParameters){.tenant = job->tenant, .id = job->cluster_id}, &row, error);
    if (r < 0)
        return r;
    if (r == 0)
        return error_set(error, ERROR_INTERNAL, "The cluster of the task is gone.");
    view->cluster_id = arena_string(view->arena, row.id);
    view->cluster_name = arena_string(view->arena, row.name);
    view->owner = arena_string(view->arena, row.owner);
    r = parse(row.snapshot, &view->snapshot, error);
    if (r >= 0)
        r = parse(row.config, &view->config, error);
    if (r < 0)
        return r;
    view->template = json_object_get(view->snapshot, "template");
    view->provider = json_object_get(view->snapshot, "provider");
    view->services = json_object_get(view->snapshot, "services");
    view->bundles = json_object_get(view->snapshot, "bundles");
    r = read_nodes(transaction, job, error);
    if (r >= 0)
        r = read_secrets(transaction, job, "cluster", job->cluster_id, &view->secrets, &view->secret_count,
                         error);
    if (r >= 0)
        r = read_secrets(transaction, job, "provider",
                         json_string_value(json_object_get(view->provider, "name")), &view->provider_secrets,
                         &view->provider_secret_count, error);
    return r;
}

/* The catalog's services that this cluster does not have may still be named in its configuration. */
static void make_macros(ClusterView *view)
{
    const json_t *compatible = json_object_get(json_object_get(view->template, "compatibility"), "services");
    size_t count = json_array_size(compatible), absent_count = 0, index;
    const char **absent = arena_allocate_array(view->arena, count + 1, sizeof(*absent));
    const json_t *name;
    json_array_foreach (compatible, index, name)
        if (!json_object_get(view->services, json_string_value(name)))
            absent[absent_count++] = json_string_value(name);
    view->macros = macro_view_new(view->cluster_name, view->cluster_id, view->owner, view->macro_nodes,
                                  view->node_count, absent, absent_count);
}

static int view_job(StoreTransaction *transaction, void *context, Error *error)
{
    ViewJob *job = context;
    cluster_view_free(job->view);
    job->view = NEW(ClusterView);
    job->view->arena = arena_new();
    return read_view(transaction, job, error);
}

static int read_details(const char *text, bool *ret_is_final, Error *error)
{
    _cleanup_json_ json_t *details = NULL;
    int r = parse(text, &details, error);
    *ret_is_final = json_is_true(json_object_get(details, "final"));
    return r;
}

int cluster_view_read(Api *api, const char *tenant, const char *cluster_id, const char *node_id,
                      const char *details, ClusterView **ret_view, Error *error)
{
    ViewJob job = {.tenant = tenant, .cluster_id = cluster_id, .node_id = node_id};
    int r = read_details(details, &job.is_final, error);
    if (r < 0)
        return r;
    r = store_run(api->settings.store, STORE_READ, view_job, &job, error);
    if (r < 0) {
        cluster_view_free(job.view);
        return r;
    }
    make_macros(job.view);
    *ret_view = job.view;
    return 0;
}

/* Firewall
 * ------------------------------------------------------------------------------------------------------------------
 */

static int make_entries(ClusterView *view, Error *error)
{
    const MacroNode *self = &view->self->macro;
    view->entries = arena_allocate_array(view->arena, self->service_count + 1, sizeof(*view->entries));
    for (size_t i = 0; i < self->service_count; i++) {
        json_t *document = json_object_get(view->services, self->services[i]);
        _cleanup_issues_ IssueList issues = {0};
        int r = document ? catalog_entry_parse(CATALOG_SERVICE, document, 0,
                                               &view->entries[view->entry_count], &issues)
                         : -1;
        if (r < 0)
            return error_set(error, ERROR_INTERNAL, "The service '%s' of the cluster cannot be read.",
                             self->services[i]);
        view->entry_count++;
    }
    return 0;
}

static size_t append_addresses(const MacroNode *node, const char **list, size_t count)
{
    for (AddressType type = 0; type < _ADDRESS_TYPE_MAX; type++) {
        const char *address = node->addresses[type];
        bool is_known = !address;
        for (size_t i = 0; i < count && !is_known; i++)
            is_known = string_equal(list[i], address);
        if (!is_known)
            list[count++] = address;
    }
    return count;
}

static bool has_service(const MacroNode *node, const char *service)
{
    for (size_t i = 0; i < node->service_count; i++)
        if (string_equal(node->services[i], service))
            return true;
    return false;
}

static void collect_peer(ClusterView *view, Arena *arena, const char *service, FirewallPeer *peer)
{
    const char **list = arena_allocate_array(arena, view->node_count * _ADDRESS_TYPE_MAX + 1, sizeof(*list));
    size_t count = 0;
    for (size_t i = 0; i < view->node_count; i++)
        if (!service || has_service(&view->macro_nodes[i], service)) {
            const char **own = list + count;
            count += append_addresses(&view->macro_nodes[i], own, 0);
        }
    *peer = (FirewallPeer){.service = service, .addresses = list, .address_count = count};
}

static void collect_management(const ClusterView *view, Arena *arena, FirewallInput *input)
{
    const json_t *sources =
        json_object_get(json_object_get(view->provider, "provisioner"), "management_sources");
    const json_t *told = json_object_get(view->self->addresses, "management");
    const char **list = arena_allocate_array(arena, json_array_size(sources) + 2, sizeof(*list));
    size_t count = 0, index;
    const json_t *source;
    json_array_foreach (sources, index, source)
        if (json_is_string(source))
            list[count++] = json_string_value(source);
    if (count == 0 && json_is_string(told))
        list[count++] = json_string_value(told);
    input->management = count > 0 ? list : anywhere;
    input->management_count = count > 0 ? count : ELEMENTSOF(anywhere);
}

int cluster_view_firewall(ClusterView *view, Arena *arena, FirewallInput *ret_input, Error *error)
{
    int r = make_entries(view, error);
    if (r < 0)
        return r;
    size_t service_count = json_object_size(view->services), count = 0;
    FirewallPeer *peers = arena_allocate_array(arena, service_count + 1, sizeof(*peers));
    const char *name;
    json_t *document;
    json_object_foreach ((json_t *)(uintptr_t)view->services, name, document) {
        (void)document;
        collect_peer(view, arena, name, &peers[count++]);
    }
    FirewallPeer all;
    collect_peer(view, arena, NULL, &all);
    *ret_input = (FirewallInput){.services = view->entries,
                                 .service_count = view->entry_count,
                                 .peers = peers,
                                 .peer_count = count,
                                 .cluster = all.addresses,
                                 .cluster_count = all.address_count,
                                 .ssh_port = (uint16_t)view->self->ssh_port};
    collect_management(view, arena, ret_input);
    return 0;
}

/* Certificates
 * --------------------------------------------------------------------------------------------------------------
 */

static int evaluate_names(ClusterView *view, Arena *arena, const char *details, StringList *dns_names,
                          IpAddress *addresses, size_t *address_count, Error *error)
{
    _cleanup_json_ json_t *document = NULL, *names = NULL;
    int r = parse(details, &document, error);
    const json_t *wanted = json_object_get(json_object_get(document, "certificate"), "dns_names");
    if (r >= 0 && wanted)
        r = macro_expand_json(view->macros, view->self->macro.number, wanted, &names, NULL, error);
    if (r < 0)
        return r;
    (void)arena;
    string_list_append(dns_names, view->self->macro.hostname);
    size_t index;
    json_t *name;
    json_array_foreach (names, index, name)
        if (index < NAMES_MAX && json_is_string(name) &&
            !string_list_contains(dns_names, json_string_value(name)))
            string_list_append(dns_names, json_string_value(name));
    for (AddressType type = 0; type < _ADDRESS_TYPE_MAX; type++) {
        const char *address = view->self->macro.addresses[type];
        if (address && ip_address_parse(address, &addresses[*address_count]) == 0)
            (*address_count)++;
    }
    return 0;
}

int certificate_names(StoreTransaction *transaction, Arena *arena, const char *tenant, const char *cluster_id,
                      const char *node_id, const char *service, const char *details,
                      const char **ret_common_name, StringList *ret_dns_names, IpAddress **ret_addresses,
                      size_t *ret_address_count, Error *error)
{
    (void)service;
    ViewJob job = {.tenant = tenant, .cluster_id = cluster_id, .node_id = node_id};
    job.view = NEW(ClusterView);
    job.view->arena = arena_new();
    string_list_done(ret_dns_names);
    *ret_addresses = arena_allocate_array(arena, _ADDRESS_TYPE_MAX, sizeof(**ret_addresses));
    *ret_address_count = 0;
    int r = read_view(transaction, &job, error);
    if (r >= 0) {
        make_macros(job.view);
        *ret_common_name = arena_string(arena, job.view->self->macro.hostname);
        r = evaluate_names(job.view, arena, details, ret_dns_names, *ret_addresses, ret_address_count, error);
    }
    cluster_view_free(job.view);
    return r;
}
