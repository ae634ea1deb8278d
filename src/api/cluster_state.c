/* SPDX-License-Identifier: Apache-2.0 */
#include "api/cluster_state.h"

#include "api/clusters.h"
#include "base/string.h"
#include "domain/topology/hostname.h"

enum { STATE_LIMIT = 16 * 1024 * 1024 };

LoadedState *loaded_state_free(LoadedState *loaded)
{
    if (!loaded)
        return NULL;
    json_decref(loaded->snapshot);
    json_decref(loaded->request);
    json_decref(loaded->config);
    json_decref(loaded->manifests);
    memory_catalog_free(loaded->catalog);
    arena_free(loaded->arena);
    free(loaded);
    return NULL;
}

static int parse(const char *text, json_t **ret_value, Error *error)
{
    return json_parse(text, strlen(text), STATE_LIMIT, ret_value, error);
}

static int read_addresses(Arena *arena, const char *text, StateNode *node, Error *error)
{
    _cleanup_json_ json_t *addresses = NULL;
    int r = parse(text, &addresses, error);
    for (AddressType type = 0; r >= 0 && type < _ADDRESS_TYPE_MAX; type++) {
        const char *address = json_string_value(json_object_get(addresses, address_type_to_string(type)));
        node->addresses[type] = address ? arena_string(arena, address) : NULL;
    }
    return r;
}

static int read_node(Arena *arena, const NodesOfClusterRow *row, StateNode *node, Error *error)
{
    *node = (StateNode){.number = (uint32_t)row->number,
                        .hostname = arena_string(arena, row->hostname),
                        .status = arena_string(arena, row->status),
                        .hardware_type = arena_string(arena, row->hardware_type),
                        .image_type = arena_string(arena, row->image_type),
                        .flavor = arena_string(arena, row->flavor),
                        .image = arena_string(arena, row->image),
                        .ssh_user = arena_string(arena, row->ssh_user),
                        .is_member = row->is_member,
                        .leaving = (NodeFate)row->leaving};
    _cleanup_json_ json_t *services = NULL;
    int r = parse(row->services, &services, error);
    if (r < 0)
        return r;
    node->services.items = arena_allocate_array(arena, json_array_size(services) + 1, sizeof(char *));
    for (size_t i = 0; i < json_array_size(services); i++)
        node->services.items[node->services.count++] =
            arena_string(arena, json_string_value(json_array_get(services, i)));
    return read_addresses(arena, row->addresses, node, error);
}

static int read_nodes(StoreTransaction *transaction, const char *tenant, LoadedState *loaded, Error *error)
{
    NodesOfClusterRow *rows;
    size_t count;
    int r = statement_nodes_of_cluster(
        transaction, &(NodesOfClusterParameters){.tenant = tenant, .cluster_id = loaded->state.id}, &rows,
        &count, error);
    if (r < 0)
        return r;
    StateNode *nodes = arena_allocate_array(loaded->arena, count + 1, sizeof(*nodes));
    loaded->node_ids = arena_allocate_array(loaded->arena, count + 1, sizeof(char *));
    loaded->state.nodes = nodes;
    for (size_t i = 0; i < count; i++) {
        loaded->state.next_number = MAX(loaded->state.next_number, (uint32_t)rows[i].number + 1);
        if (string_equal(rows[i].status, "deleted"))
            continue;
        r = read_node(loaded->arena, &rows[i], &nodes[loaded->state.node_count], error);
        if (r < 0)
            return r;
        loaded->node_ids[loaded->state.node_count++] = arena_string(loaded->arena, rows[i].id);
    }
    return 0;
}

int loaded_state_read(StoreTransaction *transaction, const char *tenant, const ClusterGetRow *row,
                      LoadedState **ret_state, Error *error)
{
    _cleanup_loaded_state_ LoadedState *loaded = NEW(LoadedState);
    loaded->arena = arena_new();
    int r = parse(row->snapshot, &loaded->snapshot, error);
    if (r >= 0)
        r = parse(row->request, &loaded->request, error);
    if (r >= 0)
        r = parse(row->config, &loaded->config, error);
    if (r < 0)
        return r;
    loaded->state = (ClusterState){.id = arena_string(loaded->arena, row->id),
                                   .name = arena_string(loaded->arena, row->name),
                                   .owner = arena_string(loaded->arena, row->owner),
                                   .template_version = row->template_version,
                                   .revision = row->revision,
                                   .next_number = NODE_NUMBER_FIRST,
                                   .is_settled = string_equal(row->status, "active"),
                                   .snapshot = loaded->snapshot,
                                   .request = loaded->request,
                                   .config = loaded->config};
    r = read_nodes(transaction, tenant, loaded, error);
    if (r < 0)
        return r;
    *ret_state = TAKE_PTR(loaded);
    return 0;
}

/* Catalog
 * -------------------------------------------------------------------------------------------------------------------
 */

/* The cluster's own documents stand before newer ones of the same name. */
static void put_document(LoadedState *loaded, CatalogKind kind, json_t *document, int64_t version)
{
    _cleanup_issues_ IssueList issues = {0};
    _cleanup_catalog_entry_ CatalogEntry *entry = NULL;
    if (document && catalog_entry_parse(kind, document, version, &entry, &issues) >= 0)
        memory_catalog_put(loaded->catalog, entry);
}

/* The provider as it is now: its pool may have got machines. */
static int take_provider(LoadedState *loaded, Error *error)
{
    _cleanup_catalog_entry_ CatalogEntry *entry = NULL;
    const json_t *old = json_object_get(loaded->snapshot, "provider");
    const char *name = json_string_value(json_object_get(old, "name")),
               *type = json_string_value(json_object_get(old, "providertype"));
    int r =
        name ? catalog_get(memory_catalog_interface(loaded->catalog), CATALOG_PROVIDER, name, &entry, error)
             : 0;
    if (r >= 0 && entry && string_equal(entry->provider.provider_type, type))
        (void)json_object_set_new(loaded->snapshot, "provider", provider_document_redact(entry->document));
    put_document(loaded, CATALOG_PROVIDER, json_object_get(loaded->snapshot, "provider"), 0);
    return r;
}

static int pin_added(StoreTransaction *transaction, const char *tenant, const NameList *services,
                     LoadedState *loaded, Error *error)
{
    json_t *bundles = json_object_get(loaded->snapshot, "bundles");
    for (size_t i = 0; i < services->count; i++) {
        _cleanup_catalog_entry_ CatalogEntry *entry = NULL;
        int r = catalog_get(memory_catalog_interface(loaded->catalog), CATALOG_SERVICE, services->items[i],
                            &entry, error);
        if (r >= 0 && entry)
            r = cluster_pin_bundles(transaction, tenant, &entry, 1, bundles, error);
        if (r < 0)
            return r;
    }
    return 0;
}

static int read_manifests(StoreTransaction *transaction, const char *tenant, LoadedState *loaded,
                          Error *error)
{
    const char *name;
    json_t *bundle;
    loaded->manifests = json_object();
    json_object_foreach (json_object_get(loaded->snapshot, "bundles"), name, bundle) {
        BundleGetRow row;
        json_t *manifest = NULL;
        int r = statement_bundle_get(
            transaction,
            &(BundleGetParameters){.tenant = tenant,
                                   .digest = json_string_value(json_object_get(bundle, "digest")) ?: ""},
            &row, error);
        if (r > 0)
            r = parse(row.manifest, &manifest, error);
        if (r < 0)
            return r;
        if (manifest)
            (void)json_object_set_new(loaded->manifests, name, manifest);
    }
    return 0;
}

int loaded_state_read_catalog(StoreTransaction *transaction, const char *tenant, const NameList *services,
                              LoadedState *loaded, Error *error)
{
    int r = catalog_store_load(transaction, tenant, &loaded->catalog, error);
    if (r >= 0)
        r = take_provider(loaded, error);
    if (r < 0)
        return r;
    put_document(loaded, CATALOG_CLUSTER_TEMPLATE, json_object_get(loaded->snapshot, "template"),
                 loaded->state.template_version);
    const char *name;
    json_t *document;
    json_object_foreach (json_object_get(loaded->snapshot, "services"), name, document)
        put_document(loaded, CATALOG_SERVICE, document, 0);
    r = pin_added(transaction, tenant, services, loaded, error);
    if (r >= 0)
        r = read_manifests(transaction, tenant, loaded, error);
    loaded->state.catalog = memory_catalog_interface(loaded->catalog);
    loaded->state.manifests = loaded->manifests;
    return r;
}
