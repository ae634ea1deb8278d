/* SPDX-License-Identifier: Apache-2.0 */

/* Which nodes and services a cluster has after it was scaled, got services or a node replaced. Nodes that
 * exist are classes of equal nodes for the layout solver: they keep what they have, and of the answers that
 * satisfy the constraints it takes the one that moves least. */

#include <errno.h>
#include <inttypes.h>

#include "base/string.h"
#include "domain/catalog/members.h"
#include "domain/layout/layout.h"
#include "domain/topology/change-internal.h"
#include "domain/topology/hostname.h"
#include "domain/topology/plan-internal.h"

/* Nodes with the same services and types, as the solver counts them. */
typedef struct NodeClass {
    LayoutClass layout;
    size_t *nodes; /* indexes, ascending */
    size_t taken;  /* so many of them the solution has used */
} NodeClass;

typedef struct Scaling {
    Maker *maker;
    Arena *arena; /* scratch */
    ClusterRequest *request;
    Resolution *resolution;
    NodeClass *classes;
    LayoutClass *layouts;
    size_t class_count, kept;
    LayoutResult result;
} Scaling;

static void scaling_done(Scaling *scaling)
{
    layout_result_done(&scaling->result);
    resolution_free(scaling->resolution);
    cluster_request_free(scaling->request);
    arena_free(scaling->arena);
}
#define _cleanup_scaling_ _cleanup_(scaling_done)

/* Nodes that go
 * ---------------------------------------------------------------------------------------------------------------
 */

static ssize_t find_node(const Maker *maker, int64_t number)
{
    for (size_t i = 0; i < maker->existing; i++)
        if (maker->change->plan->nodes[i].number == number)
            return (ssize_t)i;
    return -1;
}

/* Those that the request names, and those that earlier work was about to take away. */
static int mark_leaving(Maker *maker, const char *field)
{
    const ChangeRequest *request = maker->request;
    for (size_t i = 0; i < maker->existing; i++)
        if (maker->state->nodes[i].leaving != NODE_KEPT)
            maker->fates[i] = (uint8_t)maker->state->nodes[i].leaving;
    for (size_t i = 0; i < request->number_count; i++) {
        ssize_t index = find_node(maker, request->numbers[i]);
        if (index < 0)
            issue_add(maker->issues, ISSUE_ERROR, field, "unknown_reference",
                      "the cluster has no node %" PRId64, request->numbers[i]);
        else
            maker->fates[index] =
                request->is_dead || !maker->state->nodes[index].is_member ? NODE_LOST : NODE_LEAVING;
    }
    for (size_t i = 0; i < maker->existing; i++)
        if (maker->fates[i] == NODE_KEPT && !maker->state->nodes[i].is_member)
            issue_add(maker->issues, ISSUE_ERROR, field, "incomplete_node",
                      "node %u was not completed by earlier work: retry that, or remove the node",
                      maker->state->nodes[i].number);
    return maker->issues->error_count > 0 ? -EINVAL : 0;
}

/* New nodes
 * -------------------------------------------------------------------------------------------------------------------
 */

/* The suffix that the cluster's names have. */
static const char *dns_suffix(const Maker *maker)
{
    const char *dot = maker->existing > 0 ? strchr(maker->state->nodes[0].hostname, '.') : NULL;
    return dot ? dot + 1 : NULL;
}

static int add_node(Maker *maker, ClusterNode node)
{
    Plan *plan = maker->change->plan;
    char hostname[HOSTNAME_LIMIT + 1];
    node.number = (uint32_t)maker->state->next_number + (uint32_t)(plan->node_count - maker->existing);
    if (node_hostname(plan->cluster_name, 0, node.number, dns_suffix(maker), hostname) < 0)
        return error_set(maker->error, ERROR_INTERNAL, "The host name of node %u is not valid.", node.number);
    node.hostname = arena_string(maker->arena, hostname);
    maker->fates[plan->node_count] = NODE_NEW;
    plan->nodes[plan->node_count++] = node;
    return 0;
}

/* The plan's arrays with room for so many more. */
static void make_room(Maker *maker, size_t more)
{
    Plan *plan = maker->change->plan;
    ClusterNode *nodes = arena_allocate_array(maker->arena, plan->node_count + more + 1, sizeof(ClusterNode));
    uint8_t *fates = arena_allocate_array(maker->arena, plan->node_count + more + 1, sizeof(uint8_t));
    memcpy(nodes, plan->nodes, plan->node_count * sizeof(ClusterNode));
    memcpy(fates, maker->fates, plan->node_count);
    plan->nodes = nodes;
    maker->fates = maker->change->fates = fates;
}

/* Scaling: the request that the cluster would have been made from
 * ----------------------------------------------------------------------
 */

static size_t count_kept(const Maker *maker, const char *service)
{
    const Plan *plan = maker->change->plan;
    size_t count = 0;
    for (size_t i = 0; i < maker->existing; i++) {
        if (maker->fates[i] != NODE_KEPT)
            continue;
        bool has_service = !service;
        for (size_t j = 0; j < plan->nodes[i].service_count && !has_service; j++)
            has_service = string_equal(plan->services[plan->nodes[i].services[j]]->name, service);
        count += has_service;
    }
    return count;
}

static json_t *all_service_names(const Plan *plan)
{
    json_t *names = json_array();
    for (size_t i = 0; i < plan->service_count; i++)
        (void)json_array_append_new(names, json_string(plan->services[i]->name));
    return names;
}

/* Numbers that the new request does not fix are the solver's to choose. */
static json_t *merge_quantities(const Maker *maker)
{
    const ChangeRequest *request = maker->request;
    bool keeps_old = request->nodes == 0 && request->number_count == 0;
    json_t *old = json_object_get(maker->state->request, "quantities");
    json_t *merged = keeps_old && old ? json_deep_copy(old) : json_object();
    for (size_t i = 0; i < request->quantity_count; i++)
        (void)json_object_set_new(merged, request->quantities[i].service,
                                  json_integer(request->quantities[i].count));
    return merged;
}

static json_t *make_document(const Maker *maker, int64_t nodes)
{
    static const char *const replaced[] = {"numMachines", "lease", "initialLeaseDuration", "providerFields"};
    json_t *document = json_deep_copy(maker->state->request);
    for (size_t i = 0; i < ELEMENTSOF(replaced); i++)
        (void)json_object_del(document, replaced[i]);
    (void)json_object_set_new(document, "nodes", json_integer(nodes));
    (void)json_object_set_new(document, "services", all_service_names(maker->change->plan));
    (void)json_object_set_new(document, "quantities", merge_quantities(maker));
    (void)json_object_set(document, "config", maker->change->plan->config);
    (void)json_object_set_new(document, "provider", json_string(maker->change->plan->provider->name));
    return document;
}

static int resolve(Scaling *scaling, int64_t nodes)
{
    Maker *maker = scaling->maker;
    layout_result_done(&scaling->result);
    scaling->result = (LayoutResult){0};
    scaling->resolution = resolution_free(scaling->resolution);
    scaling->request = cluster_request_free(scaling->request);
    json_decref(maker->change->request);
    maker->change->request = make_document(maker, nodes);
    int r = cluster_request_parse(maker->change->request, &scaling->request, maker->issues);
    if (r >= 0)
        r = cluster_resolve(maker->state->catalog, scaling->request, &scaling->resolution, maker->issues,
                            maker->error);
    return r;
}

static bool fits(const Maker *maker, size_t node, const NodeClass *class)
{
    const ClusterNode *a = &maker->change->plan->nodes[node],
                      *b = &maker->change->plan->nodes[class->nodes[0]];
    return a->service_count == b->service_count && string_equal(a->hardware_type, b->hardware_type) &&
           string_equal(a->image_type, b->image_type) &&
           memcmp(a->services, b->services, a->service_count * sizeof(uint32_t)) == 0;
}

static void add_to_class(Scaling *scaling, size_t node)
{
    const Maker *maker = scaling->maker;
    const Plan *plan = maker->change->plan;
    const ClusterNode *row = &plan->nodes[node];
    size_t i = 0;
    while (i < scaling->class_count && !fits(maker, node, &scaling->classes[i]))
        i++;
    NodeClass *class = &scaling->classes[i];
    if (i == scaling->class_count) {
        const char **names = arena_allocate_array(scaling->arena, row->service_count + 1, sizeof(char *));
        for (size_t j = 0; j < row->service_count; j++)
            names[j] = plan->services[row->services[j]]->name;
        class->nodes = arena_allocate_array(scaling->arena, maker->existing + 1, sizeof(size_t));
        class->layout = (LayoutClass){.services = {names, row->service_count},
                                      .hardware = row->hardware_type,
                                      .image = row->image_type,
                                      .may_extend = true,
                                      .may_remove = true};
        scaling->class_count++;
    }
    class->nodes[class->layout.count++] = node;
}

static void make_classes(Scaling *scaling)
{
    const Maker *maker = scaling->maker;
    scaling->classes = arena_allocate_array(scaling->arena, maker->existing + 1, sizeof(NodeClass));
    for (size_t i = 0; i < maker->existing; i++)
        if (maker->fates[i] == NODE_KEPT)
            add_to_class(scaling, i);
    scaling->layouts = arena_allocate_array(scaling->arena, scaling->class_count + 1, sizeof(LayoutClass));
    for (size_t i = 0; i < scaling->class_count; i++)
        scaling->layouts[i] = scaling->classes[i].layout;
}

/* 1 = solved, 0 = there is no layout with so many nodes. */
static int solve_for(Scaling *scaling, int64_t nodes)
{
    int r = resolve(scaling, nodes);
    if (r < 0)
        return r;
    r = plan_solve(scaling->arena, scaling->resolution, scaling->layouts, scaling->class_count, 0,
                   &scaling->result, scaling->maker->error);
    return r < 0 ? r : scaling->result.status == LAYOUT_SOLVED;
}

/* How many nodes there would be when each further one of a service came with a node of its own. */
static int64_t expected_nodes(const Maker *maker)
{
    int64_t nodes = (int64_t)count_kept(maker, NULL);
    for (size_t i = 0; i < maker->request->quantity_count; i++)
        nodes += maker->request->quantities[i].count -
                 (int64_t)count_kept(maker, maker->request->quantities[i].service);
    return MAX(nodes, 1);
}

/* Either the number that was asked for, or the first that works from the expected one towards what there is.
 */
static int solve(Scaling *scaling)
{
    Maker *maker = scaling->maker;
    int64_t kept = (int64_t)count_kept(maker, NULL), nodes = maker->request->nodes;
    bool is_free =
        nodes == 0 && maker->request->operation == CHANGE_SCALE && maker->request->quantity_count > 0;
    if (nodes == 0)
        nodes = is_free ? expected_nodes(maker) : kept;
    make_classes(scaling);
    for (int64_t step = nodes > kept ? -1 : 1;; nodes += step) {
        int r = solve_for(scaling, nodes);
        if (r != 0)
            return MIN(r, 0);
        if (!is_free || nodes == kept)
            return plan_report_unsolved(&scaling->result, maker->issues);
    }
}

/* Scaling: from the solution to nodes
 * ---------------------------------------------------------------------------------------------------
 */

static int compare_indexes(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return x < y ? -1 : x > y;
}

static const uint32_t *service_indexes(Maker *maker, const LayoutNodes *group)
{
    uint32_t *services = arena_allocate_array(maker->arena, group->service_count + 1, sizeof(uint32_t));
    for (size_t i = 0; i < group->service_count; i++)
        services[i] = (uint32_t)plan_find_service(maker->change->plan, group->services[i]);
    if (group->service_count > 1)
        qsort(services, group->service_count, sizeof(uint32_t), compare_indexes);
    return services;
}

static int take_new(Scaling *scaling, const LayoutNodes *group, const uint32_t *services)
{
    Maker *maker = scaling->maker;
    ClusterNode node = {.services = services,
                        .service_count = group->service_count,
                        .hardware_type = arena_string(maker->arena, group->hardware),
                        .image_type = arena_string(maker->arena, group->image)};
    plan_map_types(maker->change->plan, scaling->resolution, &node);
    for (uint32_t i = 0; i < group->count; i++) {
        int r = add_node(maker, node);
        if (r < 0)
            return r;
    }
    return 0;
}

/* Lower numbers stay, higher ones go. */
static int take_solution(Scaling *scaling)
{
    Maker *maker = scaling->maker;
    Plan *plan = maker->change->plan;
    make_room(maker, (size_t)scaling->resolution->node_count);
    for (size_t i = 0; i < scaling->result.node_class_count; i++) {
        const LayoutNodes *group = &scaling->result.nodes[i];
        const uint32_t *services = service_indexes(maker, group);
        if (group->existing < 0) {
            int r = take_new(scaling, group, services);
            if (r < 0)
                return r;
            continue;
        }
        NodeClass *class = &scaling->classes[group->existing];
        for (uint32_t j = 0; j < group->count; j++) {
            ClusterNode *node = &plan->nodes[class->nodes[class->taken++]];
            node->services = services;
            node->service_count = group->service_count;
        }
    }
    for (size_t i = 0; i < scaling->class_count; i++)
        for (size_t j = scaling->classes[i].taken; j < scaling->classes[i].layout.count; j++)
            maker->fates[scaling->classes[i].nodes[j]] = NODE_LEAVING;
    return 0;
}

static int check_quantities(Maker *maker)
{
    for (size_t i = 0; i < maker->request->quantity_count; i++)
        if (plan_find_service(maker->change->plan, maker->request->quantities[i].service) < 0)
            issue_add(maker->issues, ISSUE_ERROR, "quantities", "unknown_reference",
                      "the cluster has no service '%s'", maker->request->quantities[i].service);
    return maker->issues->error_count > 0 ? -EINVAL : 0;
}

static int run_solver(Maker *maker)
{
    _cleanup_scaling_ Scaling scaling = {.maker = maker, .arena = arena_new()};
    int r = solve(&scaling);
    return r < 0 ? r : take_solution(&scaling);
}

int change_scale(Maker *maker)
{
    int r = check_quantities(maker);
    if (r >= 0)
        r = mark_leaving(maker, "remove");
    return r < 0 ? r : run_solver(maker);
}

int change_add_services(Maker *maker)
{
    int r = check_quantities(maker);
    if (r >= 0)
        r = mark_leaving(maker, "services");
    return r < 0 ? r : run_solver(maker);
}

/* Replacing: a new node that is like the old one
 * ----------------------------------------------------------------------------------------
 */

int change_replace(Maker *maker)
{
    Plan *plan = maker->change->plan;
    int r = mark_leaving(maker, "nodes");
    if (r < 0)
        return r;
    make_room(maker, maker->request->number_count);
    for (size_t i = 0; i < maker->request->number_count && r >= 0; i++)
        r = add_node(maker, plan->nodes[find_node(maker, maker->request->numbers[i])]);
    maker->change->request = json_deep_copy(maker->state->request);
    return r;
}
