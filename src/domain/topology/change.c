/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>

#include "base/string.h"
#include "domain/catalog/members.h"
#include "domain/topology/change-internal.h"

/* Members of a request. */
enum {
    TAKES_SERVICES = 1 << 0,
    TAKES_NODES = 1 << 1,
    TAKES_QUANTITIES = 1 << 2,
    TAKES_REMOVE = 1 << 3,
    TAKES_NUMBERS = 1 << 4,
    TAKES_DEAD = 1 << 5,
    NEEDS_ONE = 1 << 6, /* of those that it takes */
    NEEDS_FIRST = 1 << 7,
};

static const struct {
    const char *name;
    unsigned members;
    ClusterAction action;       /* of services */
    int (*members_of)(Maker *); /* of members */
} operations[_CHANGE_OPERATION_MAX] = {
    [CHANGE_START] = {"start", TAKES_SERVICES, CLUSTER_START_SERVICES, NULL},
    [CHANGE_STOP] = {"stop", TAKES_SERVICES, CLUSTER_STOP_SERVICES, NULL},
    [CHANGE_RESTART] = {"restart", TAKES_SERVICES, CLUSTER_RESTART_SERVICES, NULL},
    [CHANGE_ADD_SERVICES] = {"add_services", TAKES_SERVICES | TAKES_QUANTITIES | NEEDS_FIRST, 0,
                             change_add_services},
    [CHANGE_SCALE] = {"scale", TAKES_NODES | TAKES_QUANTITIES | TAKES_REMOVE | TAKES_DEAD | NEEDS_ONE, 0,
                      change_scale},
    [CHANGE_REPLACE] = {"replace", TAKES_NUMBERS | TAKES_DEAD | NEEDS_FIRST, 0, change_replace},
};

const char *change_operation_to_string(ChangeOperation operation)
{
    return operation >= 0 && operation < _CHANGE_OPERATION_MAX ? operations[operation].name : NULL;
}

ChangeOperation change_operation_from_string(const char *text)
{
    for (ChangeOperation operation = 0; operation < _CHANGE_OPERATION_MAX; operation++)
        if (string_equal(operations[operation].name, text))
            return operation;
    return _CHANGE_OPERATION_INVALID;
}

bool change_is_of_members(ChangeOperation operation)
{
    return operations[operation].members_of != NULL;
}

/* Request
 * -------------------------------------------------------------------------------------------------------------------
 */

const JsonField change_fields[] = {
    {"operation", JSON_FIELD_STRING, offsetof(ChangeRequest, operation_name), JSON_FIELD_REQUIRED, 1, 32,
     "start, stop, restart, add_services, scale or replace"},
    {"services", JSON_FIELD_STRING_ARRAY, offsetof(ChangeRequest, service_array), 0, 1, NAME_LIST_LIMIT,
     "which services; without it all, where the operation can do without"},
    {"nodes", JSON_FIELD_ANY, offsetof(ChangeRequest, node_array), 0, 0, 0,
     "scale: number of nodes in all; replace: numbers of the nodes to replace"},
    {"quantities", JSON_FIELD_OBJECT, offsetof(ChangeRequest, quantity_object), 0, 0, 0,
     "scale, add_services: service to its number of nodes"},
    {"remove", JSON_FIELD_ARRAY, offsetof(ChangeRequest, remove_array), 0, 1, NAME_LIST_LIMIT,
     "scale: numbers of nodes that must go"},
    {"dead", JSON_FIELD_BOOLEAN, offsetof(ChangeRequest, is_dead), 0, 0, 0,
     "scale, replace: the nodes that go cannot be reached; nothing is stopped on them"},
    {"revision", JSON_FIELD_INTEGER, offsetof(ChangeRequest, revision), 0, 1, INT64_MAX,
     "refuse when the cluster has another revision"},
    {"plan_digest", JSON_FIELD_STRING, offsetof(ChangeRequest, plan_digest), 0, 64, 64,
     "refuse when the plan is another one than the preview with this digest"},
    {0},
};

static int parse_services(Arena *arena, ChangeRequest *request, Error *error)
{
    size_t count = json_array_size(request->service_array);
    request->services.items = arena_allocate_array(arena, count + 1, sizeof(char *));
    for (size_t i = 0; i < count; i++) {
        const char *name = json_string_value(json_array_get(request->service_array, i));
        if (!name_is_valid(name))
            return error_set_field(error, ERROR_BAD_FIELD, "services",
                                   "services[%zu] is no name of a service", i);
        if (name_list_contains(&request->services, name))
            return error_set_field(error, ERROR_BAD_FIELD, "services", "'%s' is named twice", name);
        request->services.items[request->services.count++] = name;
    }
    return 0;
}

static int parse_quantities(Arena *arena, ChangeRequest *request, Error *error)
{
    size_t count = json_object_size(request->quantity_object);
    if (count > NAME_LIST_LIMIT)
        return error_set_field(error, ERROR_BAD_FIELD, "quantities", "at most %d services", NAME_LIST_LIMIT);
    request->quantities = arena_allocate_array(arena, count + 1, sizeof(RequestQuantity));
    const char *name;
    json_t *value;
    json_object_foreach (request->quantity_object, name, value) {
        if (!name_is_valid(name) || !json_is_integer(value) || json_integer_value(value) < 0 ||
            json_integer_value(value) > CLUSTER_NODES_LIMIT)
            return error_set_field(error, ERROR_BAD_FIELD, "quantities",
                                   "quantities are names of services with numbers from 0 to %d",
                                   CLUSTER_NODES_LIMIT);
        request->quantities[request->quantity_count++] = (RequestQuantity){name, json_integer_value(value)};
    }
    return 0;
}

static int parse_numbers(Arena *arena, ChangeRequest *request, const json_t *array, const char *field,
                         Error *error)
{
    size_t count = json_array_size(array);
    if (!array)
        return 0;
    if (!json_is_array(array) || count == 0 || count > NAME_LIST_LIMIT)
        return error_set_field(error, ERROR_BAD_FIELD, field, "must be an array of 1 to %d numbers of nodes",
                               NAME_LIST_LIMIT);
    request->numbers = arena_allocate_array(arena, count + 1, sizeof(int64_t));
    for (size_t i = 0; i < count; i++) {
        const json_t *item = json_array_get(array, i);
        if (!json_is_integer(item))
            return error_set_field(error, ERROR_BAD_FIELD, field, "%s[%zu] is no number of a node", field, i);
        for (size_t j = 0; j < i; j++)
            if (request->numbers[j] == json_integer_value(item))
                return error_set_field(error, ERROR_BAD_FIELD, field, "node %lld is named twice",
                                       (long long)request->numbers[j]);
        request->numbers[request->number_count++] = json_integer_value(item);
    }
    return 0;
}

/* "nodes" is a number of nodes for one operation and a list of them for another. */
static int parse_nodes(Arena *arena, ChangeRequest *request, Error *error)
{
    const json_t *nodes = request->node_array;
    if (!nodes || request->operation == CHANGE_REPLACE)
        return parse_numbers(arena, request, nodes, "nodes", error);
    if (!json_is_integer(nodes) || json_integer_value(nodes) < 1 ||
        json_integer_value(nodes) > CLUSTER_NODES_LIMIT)
        return error_set_field(error, ERROR_BAD_FIELD, "nodes", "must be a number from 1 to %d",
                               CLUSTER_NODES_LIMIT);
    request->nodes = json_integer_value(nodes);
    return 0;
}

static int check_members(const ChangeRequest *request, Error *error)
{
    unsigned takes = operations[request->operation].members;
    const struct {
        const char *name;
        bool is_given;
        unsigned flags;
    } members[] = {
        {"services", request->service_array != NULL, TAKES_SERVICES},
        {"nodes", request->node_array != NULL, TAKES_NODES | TAKES_NUMBERS},
        {"quantities", request->quantity_count > 0, TAKES_QUANTITIES},
        {"remove", request->remove_array != NULL, TAKES_REMOVE},
        {"dead", request->is_dead, TAKES_DEAD},
    };
    bool has_one = false, is_first = true;
    for (size_t i = 0; i < ELEMENTSOF(members); i++) {
        if (members[i].is_given && !(takes & members[i].flags))
            return error_set_field(error, ERROR_BAD_FIELD, members[i].name, "'%s' takes no '%s'",
                                   operations[request->operation].name, members[i].name);
        if (!(takes & members[i].flags) || members[i].flags == TAKES_DEAD)
            continue;
        if (is_first && !members[i].is_given && (takes & NEEDS_FIRST))
            return error_set_field(error, ERROR_BAD_FIELD, members[i].name, "'%s' needs '%s'",
                                   operations[request->operation].name, members[i].name);
        is_first = false;
        has_one |= members[i].is_given;
    }
    return has_one || !(takes & NEEDS_ONE)
               ? 0
               : error_set_field(error, ERROR_BAD_FIELD, "nodes",
                                 "'scale' needs 'nodes', 'quantities' or 'remove'");
}

int change_request_parse(Arena *arena, json_t *document, ChangeRequest *ret_request, Error *error)
{
    *ret_request = (ChangeRequest){0};
    int r = json_dispatch(document, change_fields, ret_request, "", JSON_UNKNOWN_ERROR, NULL, error);
    if (r < 0)
        return r;
    ret_request->operation = change_operation_from_string(ret_request->operation_name);
    if (ret_request->operation < 0)
        return error_set_field(error, ERROR_BAD_FIELD, "operation",
                               "The operations are start, stop, restart, add_services, scale and replace.");
    r = parse_services(arena, ret_request, error);
    if (r >= 0)
        r = parse_quantities(arena, ret_request, error);
    if (r >= 0)
        r = parse_nodes(arena, ret_request, error);
    if (r >= 0)
        r = parse_numbers(arena, ret_request, ret_request->remove_array, "remove", error);
    return r < 0 ? r : check_members(ret_request, error);
}

/* The cluster as a plan
 * ---------------------------------------------------------------------------------------------------------
 */

static int parse_entry(CatalogKind kind, json_t *document, int64_t version, const char *what,
                       CatalogEntry **ret_entry, Error *error)
{
    _cleanup_issues_ IssueList issues = {0};
    if (!document || catalog_entry_parse(kind, document, version, ret_entry, &issues) < 0)
        return error_set(error, ERROR_INTERNAL, "The %s that the cluster was made from cannot be read.",
                         what);
    return 0;
}

static int compare_entries(const void *a, const void *b)
{
    const CatalogEntry *const *x = a, *const *y = b;
    return strcmp((*x)->name, (*y)->name);
}

static int take_documents(const ClusterState *state, CatalogEntry *const *added, size_t added_count,
                          Plan *plan, Error *error)
{
    json_t *services = json_object_get(state->snapshot, "services"), *document;
    int r = parse_entry(CATALOG_CLUSTER_TEMPLATE, json_object_get(state->snapshot, "template"),
                        state->template_version, "template", &plan->template, error);
    if (r >= 0)
        r = parse_entry(CATALOG_PROVIDER, json_object_get(state->snapshot, "provider"), 0, "provider",
                        &plan->provider, error);
    plan->services = arena_allocate_array(plan->arena, json_object_size(services) + added_count + 1,
                                          sizeof(CatalogEntry *));
    const char *name;
    json_object_foreach (services, name, document) {
        if (r < 0)
            return r;
        r = parse_entry(CATALOG_SERVICE, document, 0, "service", &plan->services[plan->service_count], error);
        plan->service_count += r >= 0;
    }
    for (size_t i = 0; i < added_count; i++)
        plan->services[plan->service_count++] = catalog_entry_ref(added[i]);
    if (plan->service_count > 1)
        qsort(plan->services, plan->service_count, sizeof(CatalogEntry *), compare_entries);
    return r;
}

ssize_t plan_find_service(const Plan *plan, const char *name)
{
    for (size_t i = 0; i < plan->service_count; i++)
        if (string_equal(plan->services[i]->name, name))
            return (ssize_t)i;
    return -1;
}

static int compare_numbers(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return x < y ? -1 : x > y;
}

static int take_node(Plan *plan, const StateNode *from, Error *error)
{
    Arena *arena = plan->arena;
    uint32_t *services = arena_allocate_array(arena, from->services.count + 1, sizeof(uint32_t));
    for (size_t i = 0; i < from->services.count; i++) {
        ssize_t index = plan_find_service(plan, from->services.items[i]);
        if (index < 0)
            return error_set(error, ERROR_INTERNAL, "The service '%s' of node %u is not among the cluster's.",
                             from->services.items[i], from->number);
        services[i] = (uint32_t)index;
    }
    if (from->services.count > 1)
        qsort(services, from->services.count, sizeof(uint32_t), compare_numbers);
    plan->nodes[plan->node_count++] = (ClusterNode){
        .number = from->number,
        .hostname = arena_string(arena, from->hostname),
        .hardware_type = arena_string(arena, from->hardware_type),
        .image_type = arena_string(arena, from->image_type),
        .flavor = arena_string(arena, from->flavor),
        .image = arena_string(arena, from->image),
        .ssh_user = arena_string(arena, from->ssh_user),
        .services = services,
        .service_count = from->services.count,
    };
    return 0;
}

static int take_nodes(const ClusterState *state, Plan *plan, Error *error)
{
    plan->nodes = arena_allocate_array(plan->arena, state->node_count + 1, sizeof(ClusterNode));
    for (size_t i = 0; i < state->node_count; i++) {
        int r = take_node(plan, &state->nodes[i], error);
        if (r < 0)
            return r;
    }
    return 0;
}

static bool is_same_layout(const ClusterNode *node, const PlanLayout *layout)
{
    return node->service_count == layout->service_count &&
           string_equal(node->hardware_type, layout->hardware_type) &&
           string_equal(node->image_type, layout->image_type) &&
           memcmp(node->services, layout->services, node->service_count * sizeof(uint32_t)) == 0;
}

/* Equal nodes are counted together, in the order of their first. */
static void count_layout(Plan *plan, const uint8_t *fates)
{
    plan->layout = arena_allocate_array(plan->arena, plan->node_count + 1, sizeof(PlanLayout));
    for (size_t i = 0; i < plan->node_count; i++) {
        const ClusterNode *node = &plan->nodes[i];
        size_t j = 0;
        if (fates && fates[i] != NODE_KEPT && fates[i] != NODE_NEW)
            continue;
        while (j < plan->layout_count && !is_same_layout(node, &plan->layout[j]))
            j++;
        if (j == plan->layout_count)
            plan->layout[plan->layout_count++] = (PlanLayout){.services = node->services,
                                                              .service_count = node->service_count,
                                                              .hardware_type = node->hardware_type,
                                                              .image_type = node->image_type};
        plan->layout[j].count++;
    }
}

static int plan_of_state(const ClusterState *state, CatalogEntry *const *added, size_t added_count,
                         Plan **ret_plan, Error *error)
{
    _cleanup_plan_ Plan *plan = NEW(Plan);
    plan->arena = arena_new();
    plan->cluster_name = arena_string(plan->arena, state->name);
    plan->config = state->config ? json_deep_copy(state->config) : json_object();
    plan->warnings = json_array();
    int r = take_documents(state, added, added_count, plan, error);
    if (r >= 0)
        r = take_nodes(state, plan, error);
    if (r < 0)
        return r;
    count_layout(plan, NULL);
    *ret_plan = TAKE_PTR(plan);
    return 0;
}

/* Services
 * ------------------------------------------------------------------------------------------------------------------
 */

/* One flag a service, or NULL for all of them. */
static int choose_services(Plan *plan, const ChangeRequest *request, bool **ret_chosen, IssueList *issues)
{
    *ret_chosen = NULL;
    if (request->services.count == 0)
        return 0;
    bool *chosen = arena_allocate_array(plan->arena, plan->service_count + 1, sizeof(bool));
    for (size_t i = 0; i < request->services.count; i++) {
        ssize_t index = plan_find_service(plan, request->services.items[i]);
        if (index < 0)
            issue_add(issues, ISSUE_ERROR, "services", "unknown_reference", "the cluster has no service '%s'",
                      request->services.items[i]);
        else
            chosen[index] = true;
    }
    *ret_chosen = chosen;
    return issues->error_count > 0 ? -EINVAL : 0;
}

/* A graph that cannot be is the fault of documents, and becomes an issue. */
static int finish_graph(Plan *plan, int result, const Error *fault, IssueList *issues, Error *error)
{
    if (result < 0) {
        issue_add(issues, ISSUE_ERROR, "services", fault->code == ERROR_CYCLE ? "cycle" : "bad_macro", "%s",
                  fault->text);
        return -EINVAL;
    }
    return task_graph_critical_path(plan->graph, &plan->critical_path, &plan->critical_path_length, error);
}

/* What lies in the way of having an effect. */
static void warn_about_nothing(const Plan *plan, ChangeOperation operation)
{
    if (plan->graph->task_count == 0)
        (void)json_array_append_new(plan->warnings,
                                    json_sprintf("none of these services has an action that '%s' would run",
                                                 change_operation_to_string(operation)));
}

static int change_services(Plan *plan, const ChangeRequest *request, IssueList *issues, Error *error)
{
    bool *chosen;
    int r = choose_services(plan, request, &chosen, issues);
    if (r < 0)
        return r;
    ClusterShape shape = plan_shape(plan);
    Error fault = ERROR_INIT;
    r = task_graph_build(&shape, operations[request->operation].action, &(GraphScope){.services = chosen},
                         &plan->graph, &fault);
    r = finish_graph(plan, r, &fault, issues, error);
    if (r >= 0)
        warn_about_nothing(plan, request->operation);
    return r;
}

/* Members
 * -------------------------------------------------------------------------------------------------------------------
 */

/* Services of the catalog that come to those that the cluster has. */
static int find_added(const ClusterState *state, const ChangeRequest *request, CatalogEntry **added,
                      size_t *ret_count, IssueList *issues, Error *error)
{
    *ret_count = 0;
    for (size_t i = 0; i < request->services.count; i++) {
        const char *name = request->services.items[i];
        if (json_object_get(json_object_get(state->snapshot, "services"), name)) {
            issue_add(issues, ISSUE_ERROR, "services", "duplicate",
                      "the cluster has the service '%s' already", name);
            continue;
        }
        int r = catalog_get(state->catalog, CATALOG_SERVICE, name, &added[*ret_count], error);
        if (r < 0)
            return r;
        if (added[*ret_count])
            (*ret_count)++;
        else
            issue_add(issues, ISSUE_ERROR, "services", "unknown_reference", "there is no service '%s'", name);
    }
    return issues->error_count > 0 ? -EINVAL : 0;
}

/* The services that each node has now, before any is added. */
static const ClusterNode *copy_nodes(const Plan *plan)
{
    ClusterNode *nodes = arena_allocate_array(plan->arena, plan->node_count + 1, sizeof(ClusterNode));
    memcpy(nodes, plan->nodes, plan->node_count * sizeof(ClusterNode));
    return nodes;
}

static int change_members(Maker *maker)
{
    Plan *plan = maker->change->plan;
    maker->arena = plan->arena;
    maker->existing = maker->change->existing_count = plan->node_count;
    maker->nodes_before = copy_nodes(plan);
    maker->fates = maker->change->fates =
        arena_allocate_array(plan->arena, plan->node_count + 1, sizeof(uint8_t));
    int r = operations[maker->request->operation].members_of(maker);
    if (r >= 0)
        r = change_find_told(maker);
    if (r < 0)
        return r;
    plan->layout_count = 0;
    count_layout(plan, maker->fates);
    ClusterShape shape = plan_shape(plan);
    Error fault = ERROR_INIT;
    r = task_graph_build_change(&shape,
                                &(GraphChange){.nodes = maker->fates,
                                               .slots = maker->slots,
                                               .firewalls = maker->firewalls,
                                               .later_firewalls = maker->later_firewalls},
                                &plan->graph, &fault);
    return finish_graph(plan, r, &fault, maker->issues, maker->error);
}

/* Result
 * --------------------------------------------------------------------------------------------------------------------
 */

/* Everything that the tasks depend on, and nothing that changes by itself. */
static void make_digest(const ClusterState *state, Change *change)
{
    const Plan *plan = change->plan;
    json_t *tasks = json_array(), *edges = json_array();
    for (size_t i = 0; i < plan->graph->task_count; i++) {
        _cleanup_free_ char *text = plan_task_describe(plan, (uint32_t)i);
        (void)json_array_append_new(tasks, json_pack("{s:s, s:o, s:I}", "task", text, "details",
                                                     plan_task_details(plan, (uint32_t)i), "timeout",
                                                     (json_int_t)plan_task_timeout(plan, (uint32_t)i)));
    }
    for (size_t i = 0; i < plan->graph->edge_count; i++)
        (void)json_array_append_new(edges, json_pack("[I, I]", (json_int_t)plan->graph->edges[i].before,
                                                     (json_int_t)plan->graph->edges[i].after));
    _cleanup_json_ json_t *shown = plan_to_json(plan);
    _cleanup_json_ json_t *all =
        json_pack("{s:s, s:s, s:o, s:o, s:O, s:O*, s:O*}", "cluster", state->id, "operation",
                  change_operation_to_string(change->operation), "tasks", tasks, "edges", edges, "plan",
                  shown, "config", plan->config, "bundles", json_object_get(state->snapshot, "bundles"));
    _cleanup_free_ char *text = json_to_sorted_text(all);
    hash_sha256_hex(text, strlen(text), change->digest);
}

int change_make(const ClusterState *state, const ChangeRequest *request, Change **ret_change,
                IssueList *issues, Error *error)
{
    _cleanup_change_ Change *change = NEW(Change);
    _cleanup_arena_ Arena *scratch = arena_new();
    bool is_of_members = change_is_of_members(request->operation);
    CatalogEntry **added = arena_allocate_array(scratch, request->services.count + 1, sizeof(CatalogEntry *));
    size_t added_count = 0;
    int r = 0;
    change->operation = request->operation;
    if (is_of_members)
        r = find_added(state, request, added, &added_count, issues, error);
    if (r >= 0)
        r = plan_of_state(state, added, added_count, &change->plan, error);
    for (size_t i = 0; i < added_count; i++)
        catalog_entry_unref(added[i]);
    if (r < 0)
        return r;
    Maker maker = {.state = state, .request = request, .change = change, .issues = issues, .error = error};
    r = is_of_members ? change_members(&maker) : change_services(change->plan, request, issues, error);
    if (r < 0)
        return r;
    make_digest(state, change);
    *ret_change = TAKE_PTR(change);
    return 0;
}

Change *change_free(Change *change)
{
    if (!change)
        return NULL;
    plan_free(change->plan);
    json_decref(change->request);
    json_decref(change->told);
    free(change);
    return NULL;
}

static json_t *steps_to_json(const Plan *plan)
{
    json_t *steps = json_array();
    _cleanup_free_ uint32_t *order = NULL;
    if (task_graph_order(plan->graph, &order, NULL) < 0)
        return steps;
    for (size_t i = 0; i < plan->graph->task_count; i++) {
        if (plan->graph->tasks[order[i]].action == TASK_JOIN)
            continue;
        _cleanup_free_ char *text = plan_task_describe(plan, order[i]);
        (void)json_array_append_new(steps, json_string(text));
    }
    return steps;
}

/* Says beside each node what becomes of it. */
static void add_fates(const Change *change, json_t *nodes)
{
    static const char *const fates[] = {"kept", "new", "leaving", "lost"};
    for (size_t i = 0; i < change->plan->node_count && change->fates; i++)
        (void)json_object_set_new(json_array_get(nodes, i), "change", json_string(fates[change->fates[i]]));
}

json_t *change_to_json(const ClusterState *state, const Change *change)
{
    json_t *result = plan_to_json(change->plan);
    /* Nothing new is made of these. */
    (void)json_object_del(result, "secrets");
    (void)json_object_del(result, "cost");
    (void)json_object_set_new(result, "operation",
                              json_string(change_operation_to_string(change->operation)));
    (void)json_object_set_new(result, "cluster", json_string(state->name));
    (void)json_object_set_new(result, "revision", json_integer(state->revision));
    add_fates(change, json_object_get(result, "nodes"));
    if (change->told)
        (void)json_object_set(result, "told", change->told);
    (void)json_object_set_new(result, "steps", steps_to_json(change->plan));
    (void)json_object_set_new(result, "digest", json_string(change->digest));
    return result;
}
