/* SPDX-License-Identifier: Apache-2.0 */

/* From the shape of a cluster and an operation to the graph of tasks. First all tasks (per node: hardware,
 * then the chains of its services), then the edges across nodes, which find their tasks through the slots:
 * one slot for each service on each node. */

#include <errno.h>

#include "base/string.h"
#include "domain/topology/internal.h"

enum {
    HARDWARE_CREATE,
    HARDWARE_CONFIRM,
    HARDWARE_BOOTSTRAP,
    HARDWARE_FIREWALL,
    HARDWARE_DELETE,
    _HARDWARE_MAX
};

typedef enum Expansion { EXPAND_NOTHING, EXPAND_DEPENDENTS, EXPAND_DEPENDENCIES } Expansion;

/* What an operation consists of. */
typedef struct Recipe {
    const char *name;
    bool makes_nodes, deletes_nodes, bootstraps, changes_network;
    Expansion expansion;
    ServiceAction chain[4];
    size_t chain_length;
} Recipe;

static const Recipe recipes[_CLUSTER_ACTION_MAX] = {
    [CLUSTER_CREATE] = {"create",
                        true,
                        false,
                        true,
                        true,
                        EXPAND_NOTHING,
                        {SERVICE_INSTALL, SERVICE_CONFIGURE, SERVICE_INITIALIZE, SERVICE_START},
                        4},
    [CLUSTER_DELETE] = {"delete", false, true, false, false, EXPAND_NOTHING, {0}, 0},
    [CLUSTER_CONFIGURE] = {"configure", false, false, true, false, EXPAND_NOTHING, {SERVICE_CONFIGURE}, 1},
    [CLUSTER_CONFIGURE_WITH_RESTART] = {"configure_with_restart",
                                        false,
                                        false,
                                        true,
                                        false,
                                        EXPAND_NOTHING,
                                        {SERVICE_STOP, SERVICE_CONFIGURE, SERVICE_START},
                                        3},
    [CLUSTER_STOP_SERVICES] = {"stop", false, false, false, false, EXPAND_DEPENDENTS, {SERVICE_STOP}, 1},
    [CLUSTER_START_SERVICES] = {"start", false, false, false, false, EXPAND_DEPENDENCIES, {SERVICE_START}, 1},
    [CLUSTER_RESTART_SERVICES] =
        {"restart", false, false, false, false, EXPAND_DEPENDENTS, {SERVICE_STOP, SERVICE_START}, 2},
    [CLUSTER_ADD_SERVICES] = {"add_services",
                              false,
                              false,
                              true,
                              true,
                              EXPAND_NOTHING,
                              {SERVICE_INSTALL, SERVICE_CONFIGURE, SERVICE_INITIALIZE, SERVICE_START},
                              4},
};

static const TaskAction task_actions[_SERVICE_ACTION_MAX] = {
    [SERVICE_INSTALL] = TASK_INSTALL,
    [SERVICE_CONFIGURE] = TASK_CONFIGURE,
    [SERVICE_INITIALIZE] = TASK_INITIALIZE,
    [SERVICE_START] = TASK_START,
    [SERVICE_STOP] = TASK_STOP,
    [SERVICE_REMOVE] = TASK_REMOVE,
};

const char *cluster_action_to_string(ClusterAction action)
{
    return action >= 0 && action < _CLUSTER_ACTION_MAX ? recipes[action].name : NULL;
}

/* One service on one node. */
typedef struct Slot {
    uint32_t node, service;
    uint32_t tasks[_SERVICE_ACTION_MAX];
    uint32_t head; /* first automator task of the chain */
} Slot;

typedef struct Group {
    uint32_t *items;
    size_t count;
} Group;

typedef struct Builder {
    const ClusterShape *shape;
    const Recipe *recipe;
    const GraphScope *scope;
    TaskGraph *graph;
    Arena *arena; /* scratch */
    Slot *slots;
    size_t slot_count;
    size_t *node_slots; /* first slot of each node, and the end */
    size_t **service_slots;
    size_t *service_slot_count;
    uint32_t (*hardware)[_HARDWARE_MAX];
    bool *planned; /* services */
    bool *runtime_reach, *install_reach;
} Builder;

static bool node_is_planned(const Builder *builder, size_t node)
{
    return !builder->scope->nodes || builder->scope->nodes[node];
}

static void make_slots(Builder *builder)
{
    const ClusterShape *shape = builder->shape;
    size_t total = 0;
    for (size_t i = 0; i < shape->node_count; i++)
        total += shape->nodes[i].service_count;
    builder->slots = NEW_ARRAY(Slot, total);
    builder->node_slots = arena_allocate_array(builder->arena, shape->node_count + 1, sizeof(size_t));
    builder->service_slot_count =
        arena_allocate_array(builder->arena, shape->service_count + 1, sizeof(size_t));
    builder->service_slots = arena_allocate_array(builder->arena, shape->service_count + 1, sizeof(size_t *));
    for (size_t i = 0; i < shape->node_count; i++) {
        builder->node_slots[i] = builder->slot_count;
        for (size_t j = 0; j < shape->nodes[i].service_count; j++) {
            Slot *slot = &builder->slots[builder->slot_count++];
            *slot = (Slot){.node = (uint32_t)i, .service = shape->nodes[i].services[j], .head = TASK_NOTHING};
            memset(slot->tasks, 0xff, sizeof(slot->tasks));
            builder->service_slot_count[slot->service]++;
        }
    }
    builder->node_slots[shape->node_count] = total;
    for (size_t i = 0; i < shape->service_count; i++) {
        builder->service_slots[i] =
            arena_allocate_array(builder->arena, builder->service_slot_count[i] + 1, sizeof(size_t));
        builder->service_slot_count[i] = 0;
    }
    for (size_t i = 0; i < total; i++) {
        uint32_t service = builder->slots[i].service;
        builder->service_slots[service][builder->service_slot_count[service]++] = i;
    }
}

static void choose_services(Builder *builder)
{
    size_t n = builder->shape->service_count;
    builder->planned = arena_allocate_array(builder->arena, n + 1, sizeof(bool));
    const bool *wanted = builder->scope->services;
    for (size_t i = 0; i < n; i++) {
        builder->planned[i] = !wanted || wanted[i];
        for (size_t j = 0; j < n && wanted && !builder->planned[i]; j++) {
            if (!wanted[j])
                continue;
            if (builder->recipe->expansion == EXPAND_DEPENDENTS)
                builder->planned[i] = builder->runtime_reach[i * n + j];
            else if (builder->recipe->expansion == EXPAND_DEPENDENCIES)
                builder->planned[i] = builder->runtime_reach[j * n + i];
        }
    }
}

static bool slot_has_work(const Builder *builder, const Slot *slot)
{
    if (!builder->planned[slot->service])
        return false;
    for (size_t i = 0; i < builder->recipe->chain_length; i++)
        if (service_has_action(builder->shape->services[slot->service], builder->recipe->chain[i]))
            return true;
    return false;
}

/* The tasks follow each other when there is one before. */
static uint32_t append_task(Builder *builder, uint32_t previous, TaskAction action, uint32_t node,
                            uint32_t service)
{
    uint32_t task = graph_add_task(builder->graph, action, node, service);
    if (previous != TASK_NOTHING)
        graph_add_edge(builder->graph, previous, task);
    return task;
}

static uint32_t add_certificates(Builder *builder, uint32_t previous, const Slot *slot)
{
    const CatalogService *service = &builder->shape->services[slot->service]->service;
    for (size_t i = 0; i < service->certificate_count; i++) {
        previous = append_task(builder, previous, TASK_CERTIFICATE, slot->node, slot->service);
        builder->graph->tasks[previous].certificate = (uint32_t)i;
    }
    return previous;
}

static void add_chain(Builder *builder, uint32_t bootstrap, Slot *slot)
{
    const CatalogEntry *service = builder->shape->services[slot->service];
    uint32_t previous = bootstrap;
    for (size_t i = 0; i < builder->recipe->chain_length; i++) {
        ServiceAction action = builder->recipe->chain[i];
        if (service_has_action(service, action)) {
            previous = slot->tasks[action] =
                append_task(builder, previous, task_actions[action], slot->node, slot->service);
            if (slot->head == TASK_NOTHING)
                slot->head = previous;
        }
        /* After the software is there, before anything that reads the certificate. */
        if (action == SERVICE_INSTALL && !(builder->scope->flags & GRAPH_WITHOUT_CERTIFICATES))
            previous = add_certificates(builder, previous, slot);
    }
}

static bool wants_firewall(const Builder *builder)
{
    return builder->recipe->changes_network && !(builder->scope->flags & GRAPH_WITHOUT_FIREWALL);
}

static void add_node(Builder *builder, uint32_t node)
{
    const Recipe *recipe = builder->recipe;
    uint32_t *hardware = builder->hardware[node];
    uint32_t previous = TASK_NOTHING;
    bool is_planned = node_is_planned(builder, node), has_work = false;
    for (size_t i = builder->node_slots[node]; i < builder->node_slots[node + 1]; i++)
        has_work |= slot_has_work(builder, &builder->slots[i]);
    if (is_planned && recipe->deletes_nodes)
        hardware[HARDWARE_DELETE] = append_task(builder, previous, TASK_DELETE, node, TASK_NOTHING);
    if (is_planned && recipe->makes_nodes) {
        previous = hardware[HARDWARE_CREATE] =
            append_task(builder, previous, TASK_CREATE, node, TASK_NOTHING);
        previous = hardware[HARDWARE_CONFIRM] =
            append_task(builder, previous, TASK_CONFIRM, node, TASK_NOTHING);
    }
    if (is_planned && recipe->bootstraps && (has_work || recipe->makes_nodes))
        previous = hardware[HARDWARE_BOOTSTRAP] =
            append_task(builder, previous, TASK_BOOTSTRAP, node, TASK_NOTHING);
    /* Also on nodes that get nothing else: their peers change. */
    if (wants_firewall(builder))
        hardware[HARDWARE_FIREWALL] = append_task(builder, previous, TASK_FIREWALL, node, TASK_NOTHING);
    for (size_t i = builder->node_slots[node]; is_planned && i < builder->node_slots[node + 1]; i++)
        if (slot_has_work(builder, &builder->slots[i]))
            add_chain(builder, previous, &builder->slots[i]);
}

static bool chain_has(const Recipe *recipe, ServiceAction action)
{
    for (size_t i = 0; i < recipe->chain_length; i++)
        if (recipe->chain[i] == action)
            return true;
    return false;
}

/* Services outside the plan that planned ones need to run are started too: starting again is harmless. */
static void add_outside_starts(Builder *builder)
{
    size_t n = builder->shape->service_count;
    if (!chain_has(builder->recipe, SERVICE_START) || (builder->scope->flags & GRAPH_ASSUME_RUNNING))
        return;
    bool *is_active = arena_allocate_array(builder->arena, n + 1, sizeof(bool));
    for (size_t i = 0; i < builder->slot_count; i++)
        is_active[builder->slots[i].service] |= builder->slots[i].tasks[SERVICE_START] != TASK_NOTHING ||
                                                builder->slots[i].tasks[SERVICE_INITIALIZE] != TASK_NOTHING;
    for (size_t i = 0; i < builder->slot_count; i++) {
        Slot *slot = &builder->slots[i];
        if (slot->tasks[SERVICE_START] != TASK_NOTHING ||
            !service_has_action(builder->shape->services[slot->service], SERVICE_START))
            continue;
        bool is_needed = false;
        for (size_t j = 0; j < n && !is_needed; j++)
            is_needed = is_active[j] && builder->runtime_reach[j * n + slot->service];
        if (is_needed)
            slot->tasks[SERVICE_START] = slot->head =
                graph_add_task(builder->graph, TASK_START, slot->node, slot->service);
    }
}

static void connect(Builder *builder, Group before, Group after, uint32_t *join, const char *label)
{
    graph_connect(builder->graph, before.items, before.count, after.items, after.count, builder->scope->flags,
                  join, label);
}

static Group service_group(Builder *builder, size_t service, ServiceAction action)
{
    Group group = {.items = arena_allocate_array(builder->arena, builder->service_slot_count[service] + 1,
                                                 sizeof(uint32_t))};
    for (size_t i = 0; i < builder->service_slot_count[service]; i++) {
        uint32_t task = builder->slots[builder->service_slots[service][i]].tasks[action];
        if (task != TASK_NOTHING)
            group.items[group.count++] = task;
    }
    return group;
}

/* Edges between services for one action: `after` of a service waits for `action` of those it depends on (or,
 * reversed, the other way round). */
static void connect_services(Builder *builder, const bool *reach, ServiceAction action,
                             const ServiceAction *after, size_t after_count, bool is_reversed)
{
    size_t n = builder->shape->service_count;
    Group *groups = arena_allocate_array(builder->arena, n + 1, sizeof(Group));
    bool *has_action = arena_allocate_array(builder->arena, n + 1, sizeof(bool));
    uint32_t *joins = arena_allocate_array(builder->arena, n + 1, sizeof(uint32_t));
    memset(joins, 0xff, n * sizeof(uint32_t));
    for (size_t i = 0; i < n; i++) {
        groups[i] = service_group(builder, i, action);
        has_action[i] = groups[i].count > 0;
    }
    _cleanup_free_ bool *matrix = matrix_minimal(reach, has_action, n);
    for (size_t a = 0; a < n; a++)
        for (size_t b = 0; b < n; b++) {
            if (!matrix[a * n + b])
                continue;
            size_t first = is_reversed ? a : b, second = is_reversed ? b : a;
            const char *label =
                arena_format(builder->arena, "%s of %s", task_action_to_string(task_actions[action]),
                             builder->shape->services[first]->name);
            for (size_t i = 0; i < after_count; i++)
                connect(builder, groups[first], service_group(builder, second, after[i]), &joins[first],
                        label);
        }
}

static Group confirm_group(Builder *builder, const bool *nodes)
{
    Group group = {
        .items = arena_allocate_array(builder->arena, builder->shape->node_count + 1, sizeof(uint32_t))};
    for (size_t i = 0; i < builder->shape->node_count; i++)
        if ((!nodes || nodes[i]) && builder->hardware[i][HARDWARE_CONFIRM] != TASK_NOTHING)
            group.items[group.count++] = builder->hardware[i][HARDWARE_CONFIRM];
    return group;
}

static void mark_nodes(const Builder *builder, size_t service, bool *nodes)
{
    for (size_t i = 0; i < builder->service_slot_count[service]; i++)
        nodes[builder->slots[builder->service_slots[service][i]].node] = true;
}

/* Tasks whose parameters hold addresses of other nodes wait until those are confirmed. */
static int connect_addresses(Builder *builder, Error *error)
{
    const ClusterShape *shape = builder->shape;
    if (!shape->config || !builder->recipe->makes_nodes)
        return 0;
    _cleanup_macro_references_ MacroReferences references = {0};
    int r = macro_references(shape->config, &references, error);
    if (r < 0)
        return r;
    bool *nodes = arena_allocate_array(builder->arena, shape->node_count + 1, sizeof(bool));
    for (size_t i = 0; i < shape->service_count; i++)
        if (string_list_contains(&references.address_services, shape->services[i]->name))
            mark_nodes(builder, i, nodes);
    Group before = confirm_group(builder, nodes);
    Group after = {.items = arena_allocate_array(builder->arena, builder->slot_count + 1, sizeof(uint32_t))};
    for (size_t i = 0; i < builder->slot_count; i++) {
        uint32_t head = builder->slots[i].head;
        bool is_alone =
            before.count == 1 && builder->graph->tasks[before.items[0]].node == builder->slots[i].node;
        if (head != TASK_NOTHING && !is_alone)
            after.items[after.count++] = head;
    }
    uint32_t join = TASK_NOTHING;
    connect(builder, before, after, &join, "addresses in the configuration");
    return 0;
}

/* Which firewall tasks need the addresses behind one source: that of a service, or of the whole cluster. */
static Group firewall_group(Builder *builder, const char *source_service)
{
    const ClusterShape *shape = builder->shape;
    Group group = {.items = arena_allocate_array(builder->arena, shape->node_count + 1, sizeof(uint32_t))};
    bool *needs = arena_allocate_array(builder->arena, shape->service_count + 1, sizeof(bool));
    for (size_t i = 0; i < shape->service_count; i++) {
        const CatalogService *service = &shape->services[i]->service;
        for (size_t j = 0; j < service->port_count; j++)
            for (size_t k = 0; k < service->ports[j].source_count; k++) {
                const PortSource *source = &service->ports[j].sources[k];
                needs[i] |= source_service ? source->kind == PORT_FROM_SERVICE &&
                                                 string_equal(source->text, source_service)
                                           : source->kind == PORT_FROM_CLUSTER;
            }
    }
    for (size_t i = 0; i < shape->node_count; i++) {
        bool is_needed = false;
        for (size_t j = builder->node_slots[i]; j < builder->node_slots[i + 1] && !is_needed; j++)
            is_needed = needs[builder->slots[j].service];
        if (is_needed && builder->hardware[i][HARDWARE_FIREWALL] != TASK_NOTHING)
            group.items[group.count++] = builder->hardware[i][HARDWARE_FIREWALL];
    }
    return group;
}

static void connect_firewalls(Builder *builder)
{
    const ClusterShape *shape = builder->shape;
    if (!wants_firewall(builder))
        return;
    uint32_t join = TASK_NOTHING;
    connect(builder, confirm_group(builder, NULL), firewall_group(builder, NULL), &join,
            "addresses of the cluster");
    for (size_t i = 0; i < shape->service_count; i++) {
        bool *nodes = arena_allocate_array(builder->arena, shape->node_count + 1, sizeof(bool));
        mark_nodes(builder, i, nodes);
        join = TASK_NOTHING;
        connect(builder, confirm_group(builder, nodes), firewall_group(builder, shape->services[i]->name),
                &join, arena_format(builder->arena, "addresses of %s", shape->services[i]->name));
    }
    bool is_partial = !builder->recipe->makes_nodes || builder->scope->nodes;
    Group firewalls = {.items =
                           arena_allocate_array(builder->arena, shape->node_count + 1, sizeof(uint32_t))};
    Group starts = {.items = arena_allocate_array(builder->arena, builder->slot_count + 1, sizeof(uint32_t))};
    for (size_t i = 0; i < shape->node_count; i++)
        if (builder->hardware[i][HARDWARE_FIREWALL] != TASK_NOTHING)
            firewalls.items[firewalls.count++] = builder->hardware[i][HARDWARE_FIREWALL];
    for (size_t i = 0; i < builder->slot_count; i++) {
        uint32_t start = builder->slots[i].tasks[SERVICE_START];
        if (start != TASK_NOTHING && is_partial)
            starts.items[starts.count++] = start;
        else if (start != TASK_NOTHING)
            graph_add_edge(builder->graph, builder->hardware[builder->slots[i].node][HARDWARE_FIREWALL],
                           start);
    }
    /* What runs already on other nodes must let the new ones in before they start. */
    join = TASK_NOTHING;
    connect(builder, firewalls, starts, &join, "firewalls of the cluster");
}

static int build(Builder *builder, Error *error)
{
    int r = service_reach(builder->shape, true, &builder->runtime_reach, error);
    if (r < 0)
        return r;
    r = service_reach(builder->shape, false, &builder->install_reach, error);
    if (r < 0)
        return r;
    make_slots(builder);
    choose_services(builder);
    for (size_t i = 0; i < builder->shape->node_count; i++)
        add_node(builder, (uint32_t)i);
    add_outside_starts(builder);
    static const ServiceAction install[] = {SERVICE_INSTALL}, run[] = {SERVICE_INITIALIZE, SERVICE_START},
                               stop[] = {SERVICE_STOP};
    connect_services(builder, builder->install_reach, SERVICE_INSTALL, install, ELEMENTSOF(install), false);
    connect_services(builder, builder->runtime_reach, SERVICE_STOP, stop, ELEMENTSOF(stop), true);
    connect_services(builder, builder->runtime_reach, SERVICE_START, run, ELEMENTSOF(run), false);
    r = connect_addresses(builder, error);
    if (r < 0)
        return r;
    connect_firewalls(builder);
    return 0;
}

int task_graph_build(const ClusterShape *shape, ClusterAction action, const GraphScope *scope,
                     TaskGraph **ret_graph, Error *error)
{
    static const GraphScope everything = {0};
    _cleanup_task_graph_ TaskGraph *graph = NEW(TaskGraph);
    graph->arena = arena_new();
    _cleanup_arena_ Arena *arena = arena_new();
    _cleanup_free_ uint32_t(*hardware)[_HARDWARE_MAX] =
        memory_new_array(shape->node_count, sizeof(*hardware));
    memset(hardware, 0xff, shape->node_count * sizeof(*hardware));
    Builder builder = {.shape = shape,
                       .recipe = &recipes[action],
                       .scope = scope ? scope : &everything,
                       .graph = graph,
                       .arena = arena,
                       .hardware = hardware};
    int r = build(&builder, error);
    free(builder.slots);
    free(builder.runtime_reach);
    free(builder.install_reach);
    if (r < 0)
        return r;
    *ret_graph = TAKE_PTR(graph);
    return 0;
}
