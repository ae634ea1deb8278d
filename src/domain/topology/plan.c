/* SPDX-License-Identifier: Apache-2.0 */
#include "domain/topology/plan.h"

#include <errno.h>

#include "base/string.h"
#include "domain/topology/hostname.h"
#include "domain/topology/plan-internal.h"

/* The layout problem of a resolution. */

static LayoutNames layout_names(const NameList *list)
{
    return (LayoutNames){list->items, list->count};
}

static LayoutNames *layout_sets(Arena *arena, const NameLists *sets)
{
    LayoutNames *names = arena_allocate_array(arena, sets->count + 1, sizeof(LayoutNames));
    for (size_t i = 0; i < sets->count; i++)
        names[i] = layout_names(&sets->items[i]);
    return names;
}

static LayoutNames candidate_names(Arena *arena, const TypeCandidate *candidates, size_t count)
{
    const char **names = arena_allocate_array(arena, count + 1, sizeof(char *));
    for (size_t i = 0; i < count; i++)
        names[i] = candidates[i].entry->name;
    return (LayoutNames){names, count};
}

static LayoutService layout_service(const Resolution *resolution, size_t index)
{
    const ResolvedConstraint *constraint = &resolution->constraints[index];
    const ServiceConstraint *given = constraint->given;
    LayoutService service = {
        .name = resolution->services[index]->name,
        .maximum = LAYOUT_UNLIMITED,
        .is_constrained = given != NULL,
        .has_quantity = constraint->has_quantity,
        .quantity = (uint32_t)constraint->quantity,
    };
    if (given) {
        service.minimum = (uint32_t)given->minimum;
        service.maximum = given->maximum == INT32_MAX ? LAYOUT_UNLIMITED : (uint32_t)given->maximum;
        service.is_minimum_stated = given->has_minimum;
        service.hardware = layout_names(&given->hardware_types);
        service.images = layout_names(&given->image_types);
    }
    return service;
}

int plan_solve(Arena *arena, const Resolution *resolution, const LayoutClass *existing, size_t existing_count,
               uint64_t budget, LayoutResult *ret_result, Error *error)
{
    const CatalogTemplate *template = &resolution->template->template;
    LayoutService *services =
        arena_allocate_array(arena, resolution->service_count + 1, sizeof(LayoutService));
    for (size_t i = 0; i < resolution->service_count; i++)
        services[i] = layout_service(resolution, i);
    LayoutProblem problem = {
        .services = services,
        .service_count = resolution->service_count,
        .must_coexist = layout_sets(arena, &template->must_coexist),
        .must_coexist_count = template->must_coexist.count,
        .cant_coexist = layout_sets(arena, &template->cant_coexist),
        .cant_coexist_count = template->cant_coexist.count,
        .hardware = candidate_names(arena, resolution->hardware, resolution->hardware_count),
        .images = candidate_names(arena, resolution->images, resolution->image_count),
        .node_count = (uint32_t)resolution->node_count,
        .existing = existing,
        .existing_count = existing_count,
        .budget = budget,
    };
    return layout_solve(&problem, ret_result, error);
}

int plan_report_unsolved(const LayoutResult *result, IssueList *issues)
{
    bool gave_up = result->status == LAYOUT_GAVE_UP;
    issue_add(issues, ISSUE_ERROR, "", gave_up ? "gave_up" : "impossible", "%s",
              result->summary ? result->summary : "no layout satisfies the constraints");
    for (size_t i = 0; i < result->conflict_count; i++)
        issue_add(issues, ISSUE_ERROR, "", layout_conflict_kind_to_string(result->conflicts[i].kind), "%s",
                  result->conflicts[i].sentence);
    return -EINVAL;
}

/* The plan takes over what the resolution looked up. */
static Plan *plan_new(const ClusterRequest *request, const Resolution *resolution)
{
    Plan *plan = NEW(Plan);
    plan->arena = arena_new();
    plan->cluster_name = arena_string(plan->arena, request->name);
    plan->dns_suffix = arena_string(plan->arena, resolution->dns_suffix);
    plan->template = catalog_entry_ref(resolution->template);
    plan->provider = catalog_entry_ref(resolution->provider);
    plan->services = arena_allocate_array(plan->arena, resolution->service_count + 1, sizeof(CatalogEntry *));
    for (size_t i = 0; i < resolution->service_count; i++)
        plan->services[plan->service_count++] = catalog_entry_ref(resolution->services[i]);
    plan->config = resolution->config ? json_deep_copy(resolution->config) : json_object();
    plan->lease = resolution->lease;
    plan->warnings = json_array();
    return plan;
}

static const TypeCandidate *find_candidate(const TypeCandidate *candidates, size_t count, const char *name)
{
    for (size_t i = 0; i < count; i++)
        if (string_equal(candidates[i].entry->name, name))
            return &candidates[i];
    return NULL;
}

static void add_cost(Plan *plan, const CatalogMapping *mapping, uint32_t count)
{
    Decimal cost = 0;
    if (!mapping->cost || decimal_parse(mapping->cost, &cost) < 0 ||
        decimal_add_times(&plan->hourly_cost, cost, count) < 0)
        plan->is_cost_complete = false;
}

void plan_map_types(const Plan *plan, const Resolution *resolution, ClusterNode *node)
{
    const TypeCandidate *hardware =
        find_candidate(resolution->hardware, resolution->hardware_count, node->hardware_type);
    const TypeCandidate *image =
        find_candidate(resolution->images, resolution->image_count, node->image_type);
    ASSERT(hardware && image);
    node->flavor = arena_string(plan->arena, hardware->mapping->flavor);
    node->image = arena_string(plan->arena, image->mapping->image);
    node->ssh_user = arena_string(plan->arena, image->mapping->ssh_user ? image->mapping->ssh_user : "root");
}

static int add_nodes(Plan *plan, const Resolution *resolution, const LayoutNodes *group,
                     const PlanLayout *layout, const PlanSettings *settings, IssueList *issues)
{
    const TypeCandidate *hardware =
        find_candidate(resolution->hardware, resolution->hardware_count, group->hardware);
    ASSERT(hardware);
    ClusterNode node = {.hardware_type = layout->hardware_type,
                        .image_type = layout->image_type,
                        .services = layout->services,
                        .service_count = layout->service_count};
    plan_map_types(plan, resolution, &node);
    add_cost(plan, hardware->mapping, group->count);
    for (uint32_t i = 0; i < group->count; i++) {
        char hostname[HOSTNAME_LIMIT + 1];
        uint32_t number = NODE_NUMBER_FIRST + (uint32_t)plan->node_count;
        if (node_hostname(plan->cluster_name, settings->cluster_number, number, plan->dns_suffix, hostname) <
            0) {
            issue_add(issues, ISSUE_ERROR, "dns_suffix", "bad_name",
                      "with this suffix the host names of nodes are not valid");
            return -EINVAL;
        }
        node.number = number;
        node.hostname = arena_string(plan->arena, hostname);
        plan->nodes[plan->node_count++] = node;
    }
    return 0;
}

static int compare_numbers(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return x < y ? -1 : x > y;
}

static int take_layout(Plan *plan, const Resolution *resolution, const LayoutResult *result,
                       const PlanSettings *settings, IssueList *issues)
{
    plan->is_cost_complete = true;
    plan->layout = arena_allocate_array(plan->arena, result->node_class_count + 1, sizeof(PlanLayout));
    plan->nodes = arena_allocate_array(plan->arena, (size_t)resolution->node_count + 1, sizeof(ClusterNode));
    for (size_t i = 0; i < result->node_class_count; i++) {
        const LayoutNodes *group = &result->nodes[i];
        uint32_t *services = arena_allocate_array(plan->arena, group->service_count + 1, sizeof(uint32_t));
        for (size_t j = 0; j < group->service_count; j++)
            services[j] = (uint32_t)resolution_find(resolution, group->services[j]);
        if (group->service_count > 1)
            qsort(services, group->service_count, sizeof(uint32_t), compare_numbers);
        PlanLayout *layout = &plan->layout[plan->layout_count++];
        *layout = (PlanLayout){.count = group->count,
                               .services = services,
                               .service_count = group->service_count,
                               .hardware_type = arena_string(plan->arena, group->hardware),
                               .image_type = arena_string(plan->arena, group->image)};
        int r = add_nodes(plan, resolution, group, layout, settings, issues);
        if (r < 0)
            return r;
    }
    return 0;
}

/* %host.service.S[i]% beyond the nodes that S got: known now, and cheaper to hear before anything runs. */
typedef struct IndexCheck {
    const Plan *plan;
    IssueList *issues;
} IndexCheck;

static int check_indexes(void *context, const char *path, const MacroText *text, Error *error)
{
    const IndexCheck *check = context;
    const Plan *plan = check->plan;
    for (size_t i = 0; i < text->count; i++) {
        const Macro *macro = &text->parts[i].macro;
        if (text->parts[i].literal || !macro->service || macro->index < 0)
            continue;
        size_t count = 0;
        bool is_present = false;
        for (size_t j = 0; j < plan->layout_count; j++)
            for (size_t k = 0; k < plan->layout[j].service_count; k++)
                if (string_equal(plan->services[plan->layout[j].services[k]]->name, macro->service)) {
                    is_present = true;
                    count += plan->layout[j].count;
                }
        if (is_present && (size_t)macro->index >= count)
            issue_add(check->issues, ISSUE_ERROR, path, "bad_macro", "%s: %s: the service has only %zu nodes",
                      path, text->parts[i].text, count);
    }
    return 0;
}

/* What a user should know about the network: silence means closed. */
static void check_ports(const Plan *plan, IssueList *issues)
{
    bool has_ports = false;
    for (size_t i = 0; i < plan->service_count; i++) {
        const CatalogService *service = &plan->services[i]->service;
        has_ports |= service->port_count > 0;
        for (size_t j = 0; j < service->port_count; j++)
            for (size_t k = 0; k < service->ports[j].source_count; k++) {
                const PortSource *source = &service->ports[j].sources[k];
                bool is_present = source->kind != PORT_FROM_SERVICE;
                for (size_t l = 0; l < plan->service_count && !is_present; l++)
                    is_present = string_equal(plan->services[l]->name, source->text);
                if (!is_present)
                    issue_add(issues, ISSUE_WARNING, "services", "absent_service",
                              "port %u of '%s' is for '%s', which is not in this cluster",
                              service->ports[j].first, plan->services[i]->name, source->text);
            }
    }
    if (!has_ports)
        issue_add(issues, ISSUE_WARNING, "services", "no_ports",
                  "no service declares ports, so the firewall lets nothing in but management");
}

/* Secrets that go to services which are not there, and what else is worth a word. */
static void check_template(const Plan *plan, IssueList *issues)
{
    const CatalogTemplate *template = &plan->template->template;
    if (template->extends || template->includes.count > 0)
        issue_add(issues, ISSUE_WARNING, "template", "not_resolved",
                  "the parents of the template '%s' are not merged; it is used as it stands",
                  plan->template->name);
    if (!plan->is_cost_complete)
        issue_add(issues, ISSUE_WARNING, "hardwaretype", "no_cost",
                  "not every hardware type has a cost on '%s', so the cost is too low", plan->provider->name);
    for (size_t i = 0; i < plan->service_count; i++)
        if (plan->services[i]->service.certificate_count > 0 &&
            !plan->services[i]->service.actions[SERVICE_START].type)
            issue_add(issues, ISSUE_WARNING, "services", "no_effect",
                      "'%s' gets a certificate and is never started", plan->services[i]->name);
}

static int finish(Plan *plan, const PlanSettings *settings, IssueList *issues, Error *error)
{
    _cleanup_arena_ Arena *scratch = arena_new();
    IndexCheck check = {plan, issues};
    int r = macro_walk(scratch, plan->config, "config", check_indexes, NULL, &check, error);
    if (r < 0)
        return r;
    check_ports(plan, issues);
    check_template(plan, issues);
    ClusterShape shape = plan_shape(plan);
    Error cycle = ERROR_INIT;
    r = task_graph_build(&shape, CLUSTER_CREATE, &(GraphScope){.flags = settings->graph_flags}, &plan->graph,
                         &cycle);
    if (r < 0) {
        issue_add(issues, ISSUE_ERROR, "services", cycle.code == ERROR_CYCLE ? "cycle" : "bad_macro", "%s",
                  cycle.text);
        return -EINVAL;
    }
    r = task_graph_critical_path(plan->graph, &plan->critical_path, &plan->critical_path_length, error);
    if (r < 0)
        return r;
    for (size_t i = 0; i < issues->count; i++)
        if (issues->items[i].severity == ISSUE_WARNING)
            (void)json_array_append_new(plan->warnings, json_string(issues->items[i].message));
    return 0;
}

int plan_create(Catalog *catalog, const ClusterRequest *request, const PlanSettings *settings,
                Plan **ret_plan, IssueList *issues, Error *error)
{
    static const PlanSettings preview = {0};
    settings = settings ? settings : &preview;
    size_t errors_before = issues->error_count;
    _cleanup_resolution_ Resolution *resolution = NULL;
    int r = cluster_resolve(catalog, request, &resolution, issues, error);
    if (r < 0)
        return r;
    _cleanup_arena_ Arena *arena = arena_new();
    _cleanup_layout_result_ LayoutResult result = {0};
    Error malformed = ERROR_INIT;
    r = plan_solve(arena, resolution, NULL, 0, settings->solver_step_budget, &result, &malformed);
    if (r < 0) {
        issue_add(issues, ISSUE_ERROR, malformed.field, "bad_constraints", "%s", malformed.text);
        return -EINVAL;
    }
    if (result.status != LAYOUT_SOLVED)
        return plan_report_unsolved(&result, issues);
    _cleanup_plan_ Plan *plan = plan_new(request, resolution);
    r = take_layout(plan, resolution, &result, settings, issues);
    if (r == 0)
        r = finish(plan, settings, issues, error);
    if (r < 0)
        return r;
    if (issues->error_count > errors_before)
        return -EINVAL;
    *ret_plan = TAKE_PTR(plan);
    return 0;
}

Plan *plan_free(Plan *plan)
{
    if (!plan)
        return NULL;
    catalog_entry_unref(plan->template);
    catalog_entry_unref(plan->provider);
    for (size_t i = 0; i < plan->service_count; i++)
        catalog_entry_unref(plan->services[i]);
    json_decref(plan->config);
    json_decref(plan->warnings);
    task_graph_free(plan->graph);
    free(plan->critical_path);
    arena_free(plan->arena);
    free(plan);
    return NULL;
}

ClusterShape plan_shape(const Plan *plan)
{
    return (ClusterShape){.services = plan->services,
                          .service_count = plan->service_count,
                          .nodes = plan->nodes,
                          .node_count = plan->node_count,
                          .config = plan->config};
}
