/* SPDX-License-Identifier: Apache-2.0 */

/* Who must be told of a change. Each service's configure script says in its manifest which parameters it
 * reads (one that says nothing reads everything). They are expanded for its node as the cluster is, as it is
 * once everything new is there, and as it is when what leaves is gone; only where the texts differ the
 * service is configured again. Addresses of nodes that are yet to be made are stood in for by texts that no
 * address equals. Firewalls follow from who has which service. */

#include <errno.h>

#include "base/string.h"
#include "domain/bundle/bundle.h"
#include "domain/topology/change-internal.h"

enum { PLACEHOLDER_SIZE = 32 };

typedef enum Moment { BEFORE, GROWN, AFTER, _MOMENT_MAX } Moment;

typedef struct Telling {
    Maker *maker;
    Arena *arena; /* scratch */
    MacroView *views[_MOMENT_MAX];
    const json_t *configs[_MOMENT_MAX];
} Telling;

static bool is_present(const Maker *maker, size_t node, Moment moment)
{
    switch (maker->fates[node]) {
    case NODE_NEW:
        return moment != BEFORE;
    case NODE_LEAVING:
        return moment != AFTER;
    case NODE_LOST:
        return moment == BEFORE;
    default:
        return true;
    }
}

static const ClusterNode *node_at(const Maker *maker, size_t node, Moment moment)
{
    return moment == BEFORE ? &maker->nodes_before[node] : &maker->change->plan->nodes[node];
}

static MacroNode macro_node(Telling *telling, size_t index, Moment moment)
{
    const Maker *maker = telling->maker;
    const ClusterNode *node = node_at(maker, index, moment);
    const char **services = arena_allocate_array(telling->arena, node->service_count + 1, sizeof(char *));
    for (size_t i = 0; i < node->service_count; i++)
        services[i] = maker->change->plan->services[node->services[i]]->name;
    MacroNode result = {.number = node->number,
                        .hostname = node->hostname,
                        .services = services,
                        .service_count = node->service_count};
    for (AddressType type = 0; type < _ADDRESS_TYPE_MAX; type++)
        result.addresses[type] =
            index < maker->existing
                ? maker->state->nodes[index].addresses[type]
                : arena_format(telling->arena, "%s of node %u", address_type_to_string(type), node->number);
    return result;
}

/* Services that the template knows and the cluster does not have may be named in its configuration. */
static const char **absent_services(Telling *telling, const MacroNode *nodes, size_t count, size_t *ret_count)
{
    const Plan *plan = telling->maker->change->plan;
    const NameList *compatible = &plan->template->template.compatible_services;
    const char **absent =
        arena_allocate_array(telling->arena, compatible->count + plan->service_count + 1, sizeof(char *));
    bool *is_there = arena_allocate_array(telling->arena, plan->service_count + 1, sizeof(bool));
    for (size_t i = 0; i < count; i++)
        for (size_t j = 0; j < nodes[i].service_count; j++)
            is_there[plan_find_service(plan, nodes[i].services[j])] = true;
    *ret_count = 0;
    for (size_t i = 0; i < compatible->count; i++)
        if (plan_find_service(plan, compatible->items[i]) < 0)
            absent[(*ret_count)++] = compatible->items[i];
    for (size_t i = 0; i < plan->service_count; i++)
        if (!is_there[i])
            absent[(*ret_count)++] = plan->services[i]->name;
    return absent;
}

static void make_view(Telling *telling, Moment moment)
{
    const Maker *maker = telling->maker;
    size_t total = moment == BEFORE ? maker->existing : maker->change->plan->node_count, count = 0;
    MacroNode *nodes = arena_allocate_array(telling->arena, total + 1, sizeof(*nodes));
    for (size_t i = 0; i < total; i++)
        if (is_present(maker, i, moment))
            nodes[count++] = macro_node(telling, i, moment);
    size_t absent_count;
    const char **absent = absent_services(telling, nodes, count, &absent_count);
    telling->views[moment] = macro_view_new(maker->state->name, maker->state->id, maker->state->owner, nodes,
                                            count, absent, absent_count);
    telling->configs[moment] = moment == BEFORE ? maker->state->config : maker->change->plan->config;
}

/* The text of a parameter for a node, or "" when it cannot be told (then it will not be told later either).
 * Owned. */
static char *expand(const Telling *telling, Moment moment, uint32_t node, const char *parameter)
{
    const json_t *value =
        parameter ? bundle_find_parameter(telling->configs[moment], parameter) : telling->configs[moment];
    _cleanup_json_ json_t *expanded = NULL;
    _cleanup_json_ json_t *wrapped = value ? json_pack("{s:O}", "value", value) : NULL;
    Error ignored = ERROR_INIT;
    if (!wrapped || macro_expand_json(telling->views[moment], node, wrapped, &expanded, NULL, &ignored) < 0)
        return string_duplicate("");
    return json_to_sorted_text(expanded);
}

static bool is_changed(const Telling *telling, Moment from, Moment to, uint32_t node, const char *parameter)
{
    _cleanup_free_ char *old = expand(telling, from, node, parameter),
                        *new = expand(telling, to, node, parameter);
    return !string_equal(old, new);
}

/* The parameters that a service's configure script says it reads; NULL = all. */
static const json_t *declared_parameters(const Maker *maker, const CatalogEntry *service)
{
    const json_t *fields = service->service.actions[SERVICE_CONFIGURE].fields;
    const char *bundle = json_string_value(json_object_get(fields, "bundle")),
               *script = json_string_value(json_object_get(fields, "script"));
    const json_t *manifest = bundle ? json_object_get(maker->state->manifests, bundle) : NULL;
    const json_t *row = script ? json_object_get(json_object_get(manifest, "scripts"), script) : NULL;
    return json_object_get(row, "parameters");
}

/* What is new to a service between two moments; an empty array when nothing is. Owned. */
static json_t *compare(const Telling *telling, const CatalogEntry *service, uint32_t node, Moment from,
                       Moment to)
{
    json_t *names = json_array();
    const json_t *declared = declared_parameters(telling->maker, service);
    const char *name;
    json_t *ignored;
    if (!declared && is_changed(telling, from, to, node, NULL))
        (void)json_array_append_new(names, json_string("configuration"));
    json_object_foreach ((json_t *)(uintptr_t)declared, name, ignored)
        if (is_changed(telling, from, to, node, name))
            (void)json_array_append_new(names, json_string(name));
    return names;
}

static bool is_new_here(const Maker *maker, size_t node, uint32_t service)
{
    if (maker->fates[node] == NODE_NEW)
        return true;
    const ClusterNode *before = &maker->nodes_before[node];
    for (size_t i = 0; i < before->service_count; i++)
        if (before->services[i] == service)
            return false;
    return true;
}

static void note(Maker *maker, const char *when, const ClusterNode *node, const CatalogEntry *service,
                 json_t *names)
{
    (void)json_array_append_new(maker->change->told,
                                json_pack("{s:i, s:s, s:s, s:o}", "node", (int)node->number, "service",
                                          service->name, "when", when, "parameters", names));
}

static void tell_slot(Telling *telling, size_t index, uint32_t service_index, uint8_t *flags)
{
    Maker *maker = telling->maker;
    const ClusterNode *node = &maker->change->plan->nodes[index];
    const CatalogEntry *service = maker->change->plan->services[service_index];
    bool is_new = is_new_here(maker, index, service_index);
    *flags = is_new ? SLOT_NEW : 0;
    if (!service_has_action(service, SERVICE_CONFIGURE))
        return;
    _cleanup_json_ json_t *first =
        is_new ? json_array() : compare(telling, service, node->number, BEFORE, GROWN);
    _cleanup_json_ json_t *second = compare(telling, service, node->number, GROWN, AFTER);
    /* After work that failed nobody knows what a service was told last. */
    bool is_unsure = !is_new && !maker->state->is_settled;
    if (json_array_size(first) > 0 || is_unsure) {
        *flags |= SLOT_TOLD;
        note(maker, "growing", node, service, json_incref(first));
    }
    if (json_array_size(second) > 0) {
        *flags |= SLOT_TOLD_AGAIN;
        note(maker, "shrinking", node, service, json_incref(second));
    }
}

/* Firewalls
 * -----------------------------------------------------------------------------------------------------------------
 */

static bool is_member(const ClusterNode *node, const Plan *plan, const char *service)
{
    for (size_t i = 0; i < node->service_count; i++)
        if (!service || string_equal(plan->services[node->services[i]]->name, service))
            return true;
    return false;
}

/* Whether the nodes behind a source are others between two moments. */
static bool source_changes(const Maker *maker, const PortSource *source, Moment from, Moment to)
{
    const Plan *plan = maker->change->plan;
    const char *service = source->kind == PORT_FROM_SERVICE ? source->text : NULL;
    if (!service && source->kind != PORT_FROM_CLUSTER)
        return false;
    for (size_t i = 0; i < plan->node_count; i++) {
        bool was = (i < maker->existing || from != BEFORE) && is_present(maker, i, from) &&
                   is_member(node_at(maker, i, from), plan, service);
        bool is = is_present(maker, i, to) && is_member(node_at(maker, i, to), plan, service);
        if (was != is)
            return true;
    }
    return false;
}

static bool firewall_changes(const Maker *maker, size_t index, Moment from, Moment to)
{
    const Plan *plan = maker->change->plan;
    const ClusterNode *node = &plan->nodes[index];
    for (size_t i = 0; i < node->service_count; i++) {
        const CatalogService *service = &plan->services[node->services[i]]->service;
        if (from == BEFORE && service->port_count > 0 && is_new_here(maker, index, node->services[i]))
            return true;
        for (size_t j = 0; j < service->port_count; j++)
            for (size_t k = 0; k < service->ports[j].source_count; k++)
                if (source_changes(maker, &service->ports[j].sources[k], from, to))
                    return true;
    }
    return false;
}

int change_find_told(Maker *maker)
{
    Plan *plan = maker->change->plan;
    _cleanup_arena_ Arena *scratch = arena_new();
    Telling telling = {.maker = maker, .arena = scratch};
    size_t slot_count = 0;
    for (size_t i = 0; i < plan->node_count; i++)
        slot_count += plan->nodes[i].service_count;
    maker->slots = arena_allocate_array(maker->arena, slot_count + 1, sizeof(uint8_t));
    maker->firewalls = arena_allocate_array(maker->arena, plan->node_count + 1, sizeof(bool));
    maker->later_firewalls = arena_allocate_array(maker->arena, plan->node_count + 1, sizeof(bool));
    maker->change->told = json_array();
    for (Moment moment = BEFORE; moment < _MOMENT_MAX; moment++)
        make_view(&telling, moment);
    for (size_t i = 0, slot = 0; i < plan->node_count; i++) {
        bool stays = maker->fates[i] == NODE_KEPT || maker->fates[i] == NODE_NEW;
        for (size_t j = 0; j < plan->nodes[i].service_count; j++, slot++)
            if (stays)
                tell_slot(&telling, i, plan->nodes[i].services[j], &maker->slots[slot]);
        if (!stays)
            continue;
        maker->firewalls[i] = maker->fates[i] == NODE_NEW || !maker->state->is_settled ||
                              firewall_changes(maker, i, BEFORE, GROWN);
        maker->later_firewalls[i] = firewall_changes(maker, i, GROWN, AFTER);
    }
    for (Moment moment = BEFORE; moment < _MOMENT_MAX; moment++)
        macro_view_free(telling.views[moment]);
    return 0;
}
