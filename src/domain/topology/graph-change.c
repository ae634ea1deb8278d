/* SPDX-License-Identifier: Apache-2.0 */

/* The graph of an operation that changes who is in a cluster or what its services are told. It has two parts.
 * In the first the cluster grows: new nodes and services come up, providers before what needs them, and what
 * is there already is told of them. In the second it shrinks: what points at the nodes that leave is told
 * first, then they are stopped, then the others are told, and last the machines go. The second begins when
 * the first is complete, so that nothing is taken away before its successor works. */

#include <errno.h>

#include "base/string.h"
#include "domain/topology/internal.h"

typedef struct Group {
    uint32_t *items;
    size_t count;
} Group;

/* One service on one node. first and last are those of its tasks that others wait with and wait for. */
typedef struct Slot {
    uint32_t node, service;
    uint32_t install, initialize, start; /* of new ones */
    uint32_t first, last;                /* while it grows */
    uint32_t told_first, told_last;      /* while it shrinks */
    uint32_t stop, removal;              /* of those that leave */
} Slot;

typedef struct Builder {
    const ClusterShape *shape;
    const GraphChange *change;
    TaskGraph *graph;
    Arena *arena; /* scratch */
    Slot *slots;
    size_t slot_count;
    size_t *node_slots; /* first slot of each node, and the end */
    uint32_t *confirm, *firewall, *later_firewall, *removal;
    bool *runtime_reach, *install_reach;
    size_t grown; /* how many tasks belong to the first part */
} Builder;

typedef uint32_t (*SlotTask)(const Slot *slot);

static uint32_t *no_tasks(Builder *builder, size_t count)
{
    uint32_t *tasks = arena_allocate_array(builder->arena, count + 1, sizeof(uint32_t));
    memset(tasks, 0xff, (count + 1) * sizeof(uint32_t));
    return tasks;
}

static Group new_group(Builder *builder, size_t capacity)
{
    return (Group){.items = arena_allocate_array(builder->arena, capacity + 1, sizeof(uint32_t))};
}

static void group_add(Group *group, uint32_t task)
{
    if (task != TASK_NOTHING)
        group->items[group->count++] = task;
}

static void connect(Builder *builder, Group before, Group after, const char *label)
{
    uint32_t join = TASK_NOTHING;
    graph_connect(builder->graph, before.items, before.count, after.items, after.count,
                  builder->change->flags, &join, label);
}

static uint32_t append_task(Builder *builder, uint32_t previous, TaskAction action, uint32_t node,
                            uint32_t service)
{
    uint32_t task = graph_add_task(builder->graph, action, node, service);
    if (previous != TASK_NOTHING)
        graph_add_edge(builder->graph, previous, task);
    return task;
}

static bool has_action(const Builder *builder, const Slot *slot, ServiceAction action)
{
    return service_has_action(builder->shape->services[slot->service], action);
}

static void make_slots(Builder *builder)
{
    const ClusterShape *shape = builder->shape;
    size_t total = 0;
    for (size_t i = 0; i < shape->node_count; i++)
        total += shape->nodes[i].service_count;
    builder->slots = arena_allocate_array(builder->arena, total + 1, sizeof(Slot));
    builder->node_slots = arena_allocate_array(builder->arena, shape->node_count + 1, sizeof(size_t));
    for (size_t i = 0; i < shape->node_count; i++) {
        builder->node_slots[i] = builder->slot_count;
        for (size_t j = 0; j < shape->nodes[i].service_count; j++) {
            Slot *slot = &builder->slots[builder->slot_count++];
            memset(slot, 0xff, sizeof(*slot));
            slot->node = (uint32_t)i;
            slot->service = shape->nodes[i].services[j];
        }
    }
    builder->node_slots[shape->node_count] = total;
    builder->confirm = no_tasks(builder, shape->node_count);
    builder->firewall = no_tasks(builder, shape->node_count);
    builder->later_firewall = no_tasks(builder, shape->node_count);
    builder->removal = no_tasks(builder, shape->node_count);
}

/* Growing
 * -------------------------------------------------------------------------------------------------------------------
 */

static uint32_t add_certificates(Builder *builder, uint32_t previous, const Slot *slot)
{
    const CatalogService *service = &builder->shape->services[slot->service]->service;
    for (size_t i = 0; i < service->certificate_count; i++) {
        previous = append_task(builder, previous, TASK_CERTIFICATE, slot->node, slot->service);
        builder->graph->tasks[previous].certificate = (uint32_t)i;
    }
    return previous;
}

static void add_new_slot(Builder *builder, uint32_t previous, Slot *slot)
{
    static const struct {
        ServiceAction action;
        TaskAction task;
    } chain[] = {{SERVICE_INSTALL, TASK_INSTALL},
                 {SERVICE_CONFIGURE, TASK_CONFIGURE},
                 {SERVICE_INITIALIZE, TASK_INITIALIZE},
                 {SERVICE_START, TASK_START}};
    for (size_t i = 0; i < ELEMENTSOF(chain); i++) {
        if (has_action(builder, slot, chain[i].action)) {
            previous = append_task(builder, previous, chain[i].task, slot->node, slot->service);
            if (slot->first == TASK_NOTHING)
                slot->first = previous;
            if (chain[i].action == SERVICE_INSTALL)
                slot->install = previous;
            else if (chain[i].action == SERVICE_INITIALIZE)
                slot->initialize = previous;
            else if (chain[i].action == SERVICE_START)
                slot->start = slot->last = previous;
        }
        if (chain[i].action == SERVICE_INSTALL)
            previous = add_certificates(builder, previous, slot);
    }
}

/* Stop, configure, start; or configure alone where the service takes it while it runs. */
static void add_told_slot(Builder *builder, const Slot *slot, bool is_final, uint32_t *ret_first,
                          uint32_t *ret_last)
{
    const CatalogEntry *service = builder->shape->services[slot->service];
    if (!has_action(builder, slot, SERVICE_CONFIGURE))
        return;
    bool is_restarted = service_restarts_to_configure(service);
    uint32_t previous = TASK_NOTHING;
    const struct {
        TaskAction task;
        bool is_wanted;
    } chain[] = {{TASK_STOP, is_restarted && has_action(builder, slot, SERVICE_STOP)},
                 {TASK_CONFIGURE, true},
                 {TASK_START, is_restarted && has_action(builder, slot, SERVICE_START)}};
    for (size_t i = 0; i < ELEMENTSOF(chain); i++) {
        if (!chain[i].is_wanted)
            continue;
        previous = append_task(builder, previous, chain[i].task, slot->node, slot->service);
        builder->graph->tasks[previous].is_final = is_final;
        if (*ret_first == TASK_NOTHING)
            *ret_first = previous;
    }
    *ret_last = previous;
}

static void grow_node(Builder *builder, uint32_t node)
{
    const GraphChange *change = builder->change;
    uint32_t previous = TASK_NOTHING;
    if (change->nodes[node] == NODE_NEW) {
        previous = append_task(builder, previous, TASK_CREATE, node, TASK_NOTHING);
        previous = builder->confirm[node] = append_task(builder, previous, TASK_CONFIRM, node, TASK_NOTHING);
        previous = append_task(builder, previous, TASK_BOOTSTRAP, node, TASK_NOTHING);
    }
    if (change->nodes[node] == NODE_NEW || change->firewalls[node])
        builder->firewall[node] = append_task(builder, previous, TASK_FIREWALL, node, TASK_NOTHING);
    for (size_t i = builder->node_slots[node]; i < builder->node_slots[node + 1]; i++) {
        Slot *slot = &builder->slots[i];
        if (change->slots[i] & SLOT_NEW)
            add_new_slot(builder, previous, slot);
        else if (change->slots[i] & SLOT_TOLD)
            add_told_slot(builder, slot, false, &slot->first, &slot->last);
    }
}

static uint32_t slot_install(const Slot *slot)
{
    return slot->install;
}
static uint32_t slot_last(const Slot *slot)
{
    return slot->last;
}
static uint32_t slot_stop(const Slot *slot)
{
    return slot->stop;
}
static uint32_t slot_begin(const Slot *slot)
{
    /* A new service may be installed at any time; it needs its providers when it begins to work. */
    return slot->initialize != TASK_NOTHING ? slot->initialize
           : slot->start != TASK_NOTHING    ? slot->start
           : slot->install != TASK_NOTHING  ? TASK_NOTHING
                                            : slot->first;
}

static Group service_group(Builder *builder, size_t service, SlotTask task)
{
    Group group = new_group(builder, builder->slot_count);
    for (size_t i = 0; i < builder->slot_count; i++)
        if (builder->slots[i].service == service)
            group_add(&group, task(&builder->slots[i]));
    return group;
}

/* `after` of a service waits for `before` of those that it depends on; reversed, the other way round. */
static void connect_services(Builder *builder, const bool *reach, SlotTask before, SlotTask after,
                             bool is_reversed, const char *what)
{
    size_t n = builder->shape->service_count;
    bool *has_task = arena_allocate_array(builder->arena, n + 1, sizeof(bool));
    for (size_t i = 0; i < n; i++)
        has_task[i] = service_group(builder, i, before).count > 0;
    _cleanup_free_ bool *matrix = matrix_minimal(reach, has_task, n);
    for (size_t a = 0; a < n; a++)
        for (size_t b = 0; b < n; b++) {
            if (!matrix[a * n + b])
                continue;
            size_t first = is_reversed ? a : b, second = is_reversed ? b : a;
            connect(builder, service_group(builder, first, before), service_group(builder, second, after),
                    arena_format(builder->arena, "%s of %s", what, builder->shape->services[first]->name));
        }
}

/* Batches of a service follow each other: so many nodes at a time are told, and may be down. */
static void connect_batches(Builder *builder)
{
    size_t batch = builder->change->batch;
    if (batch == 0)
        return;
    for (size_t service = 0; service < builder->shape->service_count; service++) {
        Group previous = new_group(builder, batch), firsts = new_group(builder, batch),
              lasts = new_group(builder, batch);
        for (size_t i = 0; i < builder->slot_count; i++) {
            const Slot *slot = &builder->slots[i];
            if (slot->service != service || !(builder->change->slots[i] & SLOT_TOLD) ||
                slot->last == TASK_NOTHING)
                continue;
            group_add(&firsts, slot->first);
            group_add(&lasts, slot->last);
            if (firsts.count < batch)
                continue;
            connect(builder, previous, firsts, "the batch before");
            previous = lasts;
            firsts = new_group(builder, batch);
            lasts = new_group(builder, batch);
        }
        connect(builder, previous, firsts, "the batch before");
    }
}

static Group node_group(Builder *builder, const uint32_t *tasks)
{
    Group group = new_group(builder, builder->shape->node_count);
    for (size_t i = 0; i < builder->shape->node_count; i++)
        group_add(&group, tasks[i]);
    return group;
}

/* What names addresses of nodes that are made now waits until they are known. */
static int connect_addresses(Builder *builder, Error *error)
{
    _cleanup_macro_references_ MacroReferences references = {0};
    if (!builder->shape->config)
        return 0;
    int r = macro_references(builder->shape->config, &references, error);
    if (r < 0)
        return r;
    Group before = new_group(builder, builder->shape->node_count),
          after = new_group(builder, builder->slot_count);
    for (size_t i = 0; i < builder->shape->node_count; i++) {
        bool is_needed = false;
        for (size_t j = builder->node_slots[i]; j < builder->node_slots[i + 1] && !is_needed; j++)
            is_needed = string_list_contains(&references.address_services,
                                             builder->shape->services[builder->slots[j].service]->name);
        if (is_needed)
            group_add(&before, builder->confirm[i]);
    }
    for (size_t i = 0; i < builder->slot_count; i++) {
        bool is_alone =
            before.count == 1 && builder->graph->tasks[before.items[0]].node == builder->slots[i].node;
        if (!is_alone)
            group_add(&after, builder->slots[i].first);
    }
    connect(builder, before, after, "addresses in the configuration");
    return 0;
}

/* New nodes are let in before anything on them begins to talk. */
static void connect_firewalls(Builder *builder)
{
    Group confirms = node_group(builder, builder->confirm),
          firewalls = node_group(builder, builder->firewall),
          begins = new_group(builder, builder->slot_count);
    connect(builder, confirms, firewalls, "addresses of the new nodes");
    for (size_t i = 0; i < builder->slot_count; i++)
        if (builder->slots[i].install != TASK_NOTHING || builder->slots[i].start != TASK_NOTHING)
            group_add(&begins, slot_begin(&builder->slots[i]));
    connect(builder, firewalls, begins, "firewalls of the cluster");
}

static int grow(Builder *builder, Error *error)
{
    for (size_t i = 0; i < builder->shape->node_count; i++)
        grow_node(builder, (uint32_t)i);
    connect_services(builder, builder->install_reach, slot_install, slot_install, false, "install");
    connect_services(builder, builder->runtime_reach, slot_last, slot_begin, false, "start");
    connect_batches(builder);
    int r = connect_addresses(builder, error);
    if (r < 0)
        return r;
    connect_firewalls(builder);
    builder->grown = builder->graph->task_count;
    return 0;
}

/* Shrinking
 * -----------------------------------------------------------------------------------------------------------------
 */

static void shrink_node(Builder *builder, uint32_t node)
{
    const GraphChange *change = builder->change;
    bool is_leaving = change->nodes[node] == NODE_LEAVING;
    for (size_t i = builder->node_slots[node]; i < builder->node_slots[node + 1]; i++) {
        Slot *slot = &builder->slots[i];
        if (change->slots[i] & SLOT_TOLD_AGAIN)
            add_told_slot(builder, slot, true, &slot->told_first, &slot->told_last);
        if (is_leaving && has_action(builder, slot, SERVICE_STOP))
            slot->stop = append_task(builder, TASK_NOTHING, TASK_STOP, node, slot->service);
        if (is_leaving && has_action(builder, slot, SERVICE_REMOVE))
            slot->removal = append_task(builder, slot->stop, TASK_REMOVE, node, slot->service);
    }
    if (change->later_firewalls[node]) {
        builder->later_firewall[node] = append_task(builder, TASK_NOTHING, TASK_FIREWALL, node, TASK_NOTHING);
        builder->graph->tasks[builder->later_firewall[node]].is_final = true;
    }
}

/* Whether a service depends on one that leaves some node. */
static bool is_drainer(const Builder *builder, size_t service)
{
    for (size_t i = 0; i < builder->slot_count; i++)
        if (builder->change->nodes[builder->slots[i].node] == NODE_LEAVING &&
            builder->runtime_reach[service * builder->shape->service_count + builder->slots[i].service])
            return true;
    return false;
}

/* Those that use what leaves are told before it stops, all others afterwards. */
static void connect_told(Builder *builder)
{
    size_t n = builder->shape->service_count;
    Group stops = new_group(builder, builder->slot_count), others = new_group(builder, builder->slot_count);
    for (size_t i = 0; i < builder->slot_count; i++)
        group_add(&stops, builder->slots[i].stop);
    for (size_t service = 0; service < n; service++) {
        Group lasts = new_group(builder, builder->slot_count), used = new_group(builder, builder->slot_count);
        bool is_first = is_drainer(builder, service);
        for (size_t i = 0; i < builder->slot_count; i++) {
            const Slot *slot = &builder->slots[i];
            if (slot->service == service && is_first)
                group_add(&lasts, slot->told_last);
            else if (slot->service == service)
                group_add(&others, slot->told_first);
            if (builder->runtime_reach[service * n + slot->service])
                group_add(&used, slot->stop);
        }
        connect(builder, lasts, used,
                arena_format(builder->arena, "%s without the nodes that leave",
                             builder->shape->services[service]->name));
    }
    for (size_t i = 0; i < builder->shape->node_count; i++)
        group_add(&others, builder->later_firewall[i]);
    connect(builder, stops, others, "what leaves is stopped");
}

/* Machines go last: an address that somebody else may get must not be let in any more. */
static void connect_removals(Builder *builder)
{
    Group told = new_group(builder, builder->slot_count + builder->shape->node_count);
    for (size_t i = 0; i < builder->slot_count; i++)
        group_add(&told, builder->slots[i].told_last);
    for (size_t i = 0; i < builder->shape->node_count; i++)
        group_add(&told, builder->later_firewall[i]);
    for (size_t i = 0; i < builder->shape->node_count; i++) {
        if (builder->change->nodes[i] != NODE_LEAVING && builder->change->nodes[i] != NODE_LOST)
            continue;
        builder->removal[i] = append_task(builder, TASK_NOTHING, TASK_DELETE, (uint32_t)i, TASK_NOTHING);
        for (size_t j = builder->node_slots[i]; j < builder->node_slots[i + 1]; j++) {
            const Slot *slot = &builder->slots[j];
            uint32_t last = slot->removal != TASK_NOTHING ? slot->removal : slot->stop;
            if (last != TASK_NOTHING)
                graph_add_edge(builder->graph, last, builder->removal[i]);
        }
    }
    connect(builder, told, node_group(builder, builder->removal), "all are told");
}

/* The second part waits for the first: its beginnings for the ends of the first. */
static void connect_parts(Builder *builder)
{
    TaskGraph *graph = builder->graph;
    size_t total = graph->task_count;
    bool *has_successor = arena_allocate_array(builder->arena, total + 1, sizeof(bool)),
         *has_predecessor = arena_allocate_array(builder->arena, total + 1, sizeof(bool));
    for (size_t i = 0; i < graph->edge_count; i++) {
        has_successor[graph->edges[i].before] = true;
        has_predecessor[graph->edges[i].after] = true;
    }
    Group ends = new_group(builder, total), begins = new_group(builder, total);
    for (size_t i = 0; i < total; i++) {
        if (i < builder->grown && !has_successor[i])
            group_add(&ends, (uint32_t)i);
        else if (i >= builder->grown && !has_predecessor[i])
            group_add(&begins, (uint32_t)i);
    }
    connect(builder, ends, begins, "all that is new works");
}

static void shrink(Builder *builder)
{
    for (size_t i = 0; i < builder->shape->node_count; i++)
        shrink_node(builder, (uint32_t)i);
    connect_services(builder, builder->runtime_reach, slot_stop, slot_stop, true, "stop");
    connect_told(builder);
    connect_removals(builder);
    connect_parts(builder);
}

static int build(Builder *builder, Error *error)
{
    int r = service_reach(builder->shape, true, &builder->runtime_reach, error);
    if (r >= 0)
        r = service_reach(builder->shape, false, &builder->install_reach, error);
    if (r < 0)
        return r;
    make_slots(builder);
    r = grow(builder, error);
    if (r < 0)
        return r;
    shrink(builder);
    graph_unique_edges(builder->graph);
    return 0;
}

int task_graph_build_change(const ClusterShape *shape, const GraphChange *change, TaskGraph **ret_graph,
                            Error *error)
{
    _cleanup_task_graph_ TaskGraph *graph = NEW(TaskGraph);
    graph->arena = arena_new();
    _cleanup_arena_ Arena *arena = arena_new();
    Builder builder = {.shape = shape, .change = change, .graph = graph, .arena = arena};
    int r = build(&builder, error);
    free(builder.runtime_reach);
    free(builder.install_reach);
    if (r < 0)
        return r;
    *ret_graph = TAKE_PTR(graph);
    return 0;
}
