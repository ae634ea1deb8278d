/* SPDX-License-Identifier: Apache-2.0 */
#include "api/cluster_state.h"

#include "base/string.h"

enum { STATE_LIMIT = 16 * 1024 * 1024 };

LoadedState *loaded_state_free(LoadedState *loaded)
{
    if (!loaded)
        return NULL;
    json_decref(loaded->snapshot);
    json_decref(loaded->request);
    json_decref(loaded->config);
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
                        .ssh_user = arena_string(arena, row->ssh_user)};
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
                                   .snapshot = loaded->snapshot,
                                   .request = loaded->request,
                                   .config = loaded->config};
    r = read_nodes(transaction, tenant, loaded, error);
    if (r < 0)
        return r;
    *ret_state = TAKE_PTR(loaded);
    return 0;
}
