/* SPDX-License-Identifier: Apache-2.0 */
/* The checker of answers. It works on names and on the rules as they are written in layout.h, with loops as
 * plain as they can be, and shares nothing with the solver. */

#include <errno.h>

#include "base/string.h"
#include "domain/layout/layout.h"

static bool has_name(const char *const *names, size_t count, const char *name)
{
    for (size_t i = 0; i < count; i++)
        if (string_equal(names[i], name))
            return true;
    return false;
}

static bool set_has(const LayoutNames *names, const char *name)
{
    return has_name(names->items, names->count, name);
}

static bool node_has(const LayoutNodes *nodes, const char *name)
{
    return has_name(nodes->services, nodes->service_count, name);
}

static bool is_requested(const LayoutProblem *problem, const char *name)
{
    for (size_t i = 0; i < problem->service_count; i++)
        if (string_equal(problem->services[i].name, name))
            return true;
    return false;
}

static bool is_in_any_set(const LayoutProblem *problem, const char *name)
{
    for (size_t i = 0; i < problem->must_coexist_count; i++)
        if (set_has(&problem->must_coexist[i], name))
            return true;
    for (size_t i = 0; i < problem->cant_coexist_count; i++)
        if (set_has(&problem->cant_coexist[i], name))
            return true;
    return false;
}

static bool is_unconstrained(const LayoutProblem *problem, const LayoutService *service)
{
    return !service->is_constrained && !service->has_quantity && !service->is_minimum_stated &&
           service->minimum == 0 && service->maximum == LAYOUT_UNLIMITED && service->hardware.count == 0 &&
           service->images.count == 0 && !is_in_any_set(problem, service->name);
}

static int broken(Error *error, const char *format, ...) _printf_(2, 3);
static int broken(Error *error, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    error_set_v(error, ERROR_IMPOSSIBLE, format, arguments);
    va_end(arguments);
    return -EBADMSG;
}

static int check_sets(const LayoutProblem *problem, const LayoutNodes *nodes, Error *error)
{
    for (size_t i = 0; i < problem->must_coexist_count; i++) {
        const LayoutNames *set = &problem->must_coexist[i];
        const char *has = NULL, *lacks = NULL;
        for (size_t k = 0; k < set->count; k++)
            if (is_requested(problem, set->items[k]))
                *(node_has(nodes, set->items[k]) ? &has : &lacks) = set->items[k];
        if (has && lacks)
            return broken(error, "A node has '%s' without '%s', which must share its machines", has, lacks);
    }
    for (size_t i = 0; i < problem->cant_coexist_count; i++) {
        const LayoutNames *set = &problem->cant_coexist[i];
        bool has_all = set->count > 0;
        for (size_t k = 0; k < set->count; k++)
            has_all = has_all && node_has(nodes, set->items[k]);
        if (has_all)
            return broken(error, "A node has all of a set that must not share a machine, among them '%s'",
                          set->items[0]);
    }
    return 0;
}

static int check_nodes(const LayoutProblem *problem, const LayoutNodes *nodes, Error *error)
{
    if (nodes->count == 0)
        return broken(error, "A layout is used by no node");
    if (nodes->service_count == 0)
        return broken(error, "A node has no service");
    for (size_t i = 0; i < nodes->service_count; i++) {
        if (!is_requested(problem, nodes->services[i]))
            return broken(error, "A node has '%s', which was not asked for", nodes->services[i]);
        if (i > 0 && strcmp(nodes->services[i - 1], nodes->services[i]) >= 0)
            return broken(error, "The services of a node are not in order");
    }
    for (size_t i = 0; i < problem->service_count; i++) {
        const LayoutService *service = &problem->services[i];
        if (!node_has(nodes, service->name)) {
            if (is_unconstrained(problem, service))
                return broken(error, "A node lacks '%s', which belongs on every node", service->name);
            continue;
        }
        if (service->hardware.count > 0 && !set_has(&service->hardware, nodes->hardware))
            return broken(error, "'%s' does not allow hardware '%s'", service->name, nodes->hardware);
        if (service->images.count > 0 && !set_has(&service->images, nodes->image))
            return broken(error, "'%s' does not allow image '%s'", service->name, nodes->image);
    }
    return check_sets(problem, nodes, error);
}

static int check_quantity(const LayoutService *service, uint64_t count, Error *error)
{
    uint64_t minimum = service->is_minimum_stated ? service->minimum : MAX(service->minimum, 1U);
    if (count < minimum)
        return broken(error, "'%s' is on %llu nodes, fewer than %llu", service->name,
                      (unsigned long long)count, (unsigned long long)minimum);
    if (service->maximum != LAYOUT_UNLIMITED && count > service->maximum)
        return broken(error, "'%s' is on %llu nodes, more than %u", service->name, (unsigned long long)count,
                      service->maximum);
    if (service->has_quantity && count != service->quantity)
        return broken(error, "'%s' is on %llu nodes, not %u", service->name, (unsigned long long)count,
                      service->quantity);
    return 0;
}

int layout_check(const LayoutProblem *problem, const LayoutNodes *nodes, size_t node_class_count,
                 Error *error)
{
    uint64_t total = 0;
    int r = 0;
    for (size_t i = 0; i < node_class_count && r == 0; i++) {
        total += nodes[i].count;
        r = check_nodes(problem, &nodes[i], error);
    }
    if (r == 0 && total != problem->node_count)
        r = broken(error, "There are %llu nodes, not %u", (unsigned long long)total, problem->node_count);
    for (size_t i = 0; i < problem->service_count && r == 0; i++) {
        uint64_t count = 0;
        for (size_t k = 0; k < node_class_count; k++)
            if (node_has(&nodes[k], problem->services[i].name))
                count += nodes[k].count;
        r = check_quantity(&problem->services[i], count, error);
    }
    return r;
}

static size_t preference_rank(const LayoutNames *preference, const char *name)
{
    for (size_t i = 0; i < preference->count; i++)
        if (string_equal(preference->items[i], name))
            return i;
    return SIZE_MAX;
}

static int compare_types(const LayoutNames *preference, const char *a, const char *b)
{
    size_t left = preference_rank(preference, a), right = preference_rank(preference, b);
    if (left != right)
        return left < right ? -1 : 1;
    return strcmp(a, b);
}

/* Is there a candidate before the chosen one that all services of the node allow? */
static bool has_better(const LayoutProblem *problem, const LayoutNodes *nodes, bool is_hardware)
{
    const LayoutNames *candidates = is_hardware ? &problem->hardware : &problem->images;
    const LayoutNames *preference = is_hardware ? &problem->hardware_preference : &problem->image_preference;
    for (size_t i = 0; i < candidates->count; i++) {
        if (compare_types(preference, candidates->items[i], is_hardware ? nodes->hardware : nodes->image) >=
            0)
            continue;
        bool is_allowed = true;
        for (size_t k = 0; k < problem->service_count && is_allowed; k++) {
            const LayoutService *service = &problem->services[k];
            const LayoutNames *allowed = is_hardware ? &service->hardware : &service->images;
            if (allowed->count > 0 && node_has(nodes, service->name))
                is_allowed = set_has(allowed, candidates->items[i]);
        }
        if (is_allowed)
            return true;
    }
    return false;
}

static int compare_layouts(const LayoutProblem *problem, const LayoutNodes *a, const LayoutNodes *b)
{
    if (a->service_count != b->service_count)
        return a->service_count > b->service_count ? -1 : 1;
    int order = compare_types(&problem->hardware_preference, a->hardware, b->hardware);
    if (order == 0)
        order = compare_types(&problem->image_preference, a->image, b->image);
    for (size_t i = 0; i < a->service_count && order == 0; i++)
        order = strcmp(a->services[i], b->services[i]);
    if (order != 0)
        return order;
    int64_t left = a->existing < 0 ? INT64_MAX : a->existing,
            right = b->existing < 0 ? INT64_MAX : b->existing;
    return left < right ? -1 : left > right;
}

static int check_existing_nodes(const LayoutProblem *problem, const LayoutNodes *nodes, Error *error)
{
    if ((size_t)nodes->existing >= problem->existing_count)
        return broken(error, "A node stands for an existing one that is not there");
    const LayoutClass *class = &problem->existing[nodes->existing];
    if (!string_equal(class->hardware, nodes->hardware) || !string_equal(class->image, nodes->image))
        return broken(error, "An existing node changes its hardware or image");
    for (size_t i = 0; i < class->services.count; i++)
        if (!node_has(nodes, class->services.items[i]))
            return broken(error, "An existing node loses '%s'", class->services.items[i]);
    if (!class->may_extend && nodes->service_count != class->services.count)
        return broken(error, "An existing node takes services although it may not");
    return 0;
}

static int check_existing(const LayoutProblem *problem, const LayoutResult *result, Error *error)
{
    uint64_t existing = 0, removed = 0, added = 0;
    if (result->removed_count != problem->existing_count)
        return broken(error, "The removed nodes are not told for each class");
    for (size_t i = 0; i < problem->existing_count; i++) {
        uint64_t kept = 0;
        for (size_t k = 0; k < result->node_class_count; k++)
            if (result->nodes[k].existing == (int)i)
                kept += result->nodes[k].count;
        if (kept + result->removed[i] != problem->existing[i].count)
            return broken(error, "Existing nodes are lost or doubled");
        if (result->removed[i] > 0 && !problem->existing[i].may_remove)
            return broken(error, "A node goes that may not be removed");
        existing += problem->existing[i].count;
        removed += result->removed[i];
    }
    for (size_t k = 0; k < result->node_class_count; k++)
        if (result->nodes[k].existing < 0)
            added += result->nodes[k].count;
    if (removed > 0 && added > 0)
        return broken(error, "Nodes are removed and added at once");
    if (existing + added - removed != problem->node_count)
        return broken(error, "The number of nodes is wrong");
    return 0;
}

int layout_verify(const LayoutProblem *problem, const LayoutResult *result, Error *error)
{
    if (result->status != LAYOUT_SOLVED)
        return broken(error, "There is no layout to check");
    int r = layout_check(problem, result->nodes, result->node_class_count, error);
    for (size_t i = 0; i < result->node_class_count && r == 0; i++) {
        const LayoutNodes *nodes = &result->nodes[i];
        if (nodes->existing >= 0)
            r = check_existing_nodes(problem, nodes, error);
        else if (!set_has(&problem->hardware, nodes->hardware) || !set_has(&problem->images, nodes->image))
            r = broken(error, "A new node has a hardware or image type that is not offered");
        else if (has_better(problem, nodes, true) || has_better(problem, nodes, false))
            r = broken(error,
                       "A new node does not have the first hardware and image that its services allow");
        if (r == 0 && i > 0 && compare_layouts(problem, &result->nodes[i - 1], nodes) >= 0)
            r = broken(error, "The layouts are not in order");
    }
    return r < 0 ? r : check_existing(problem, result, error);
}
