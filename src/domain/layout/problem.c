/* SPDX-License-Identifier: Apache-2.0 */
/* A problem's names resolved to indexes, its limits checked, its types put in order of preference. */

#include <errno.h>

#include "base/memory.h"
#include "base/string.h"
#include "domain/layout/internal.h"

enum { NOT_FOUND = UINT16_MAX };

static size_t find_service(const Prepared *prepared, const char *name)
{
    size_t low = 0, high = prepared->problem->service_count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        uint16_t service = prepared->by_name[middle];
        int order = strcmp(name, prepared->problem->services[service].name);
        if (order == 0)
            return service;
        if (order < 0)
            high = middle;
        else
            low = middle + 1;
    }
    return NOT_FOUND;
}

static size_t find_type(const TypeTable *table, const char *name)
{
    for (size_t i = 0; i < table->count; i++)
        if (string_equal(table->names[i], name))
            return i;
    return NOT_FOUND;
}

static int check_limits(const LayoutProblem *problem, Error *error)
{
    const struct {
        size_t value, limit;
        const char *what;
    } limits[] = {
        {problem->service_count, LAYOUT_SERVICES_MAX, "services"},
        {problem->must_coexist_count, LAYOUT_SETS_MAX, "must-coexist sets"},
        {problem->cant_coexist_count, LAYOUT_SETS_MAX, "cant-coexist sets"},
        {problem->hardware.count, LAYOUT_TYPES_MAX, "hardware types"},
        {problem->images.count, LAYOUT_TYPES_MAX, "image types"},
        {problem->existing_count, LAYOUT_CLASSES_MAX, "kinds of existing nodes"},
        {problem->node_count, LAYOUT_NODES_MAX, "nodes"},
    };
    for (size_t i = 0; i < ELEMENTSOF(limits); i++)
        if (limits[i].value > limits[i].limit) {
            error_set(error, ERROR_TOO_LARGE, "A layout may have at most %zu %s, not %zu", limits[i].limit,
                      limits[i].what, limits[i].value);
            return -E2BIG;
        }
    if (problem->service_count == 0)
        return error_set(error, ERROR_BAD_FIELD, "A cluster needs at least one service"), -EINVAL;
    if (problem->node_count == 0)
        return error_set(error, ERROR_BAD_FIELD, "A cluster needs at least one node"), -EINVAL;
    if (problem->hardware.count == 0)
        return error_set(error, ERROR_BAD_FIELD, "There is no hardware type to choose from"), -EINVAL;
    if (problem->images.count == 0)
        return error_set(error, ERROR_BAD_FIELD, "There is no image type to choose from"), -EINVAL;
    return 0;
}

static int sort_services(Prepared *prepared, Error *error)
{
    const LayoutProblem *problem = prepared->problem;
    uint16_t *order = prepared->by_name;
    for (size_t i = 0; i < problem->service_count; i++) {
        size_t at = i;
        for (; at > 0 && strcmp(problem->services[order[at - 1]].name, problem->services[i].name) > 0; at--)
            order[at] = order[at - 1];
        order[at] = (uint16_t)i;
    }
    for (size_t i = 0; i < problem->service_count; i++) {
        prepared->name_rank[order[i]] = (uint16_t)i;
        if (i > 0 && string_equal(problem->services[order[i - 1]].name, problem->services[order[i]].name)) {
            error_set(error, ERROR_BAD_FIELD, "The service '%s' is named twice",
                      problem->services[order[i]].name);
            return -EINVAL;
        }
    }
    return 0;
}

/* Preferred types in the order of the list, then the others by name. */
static void order_types(TypeTable *table, const LayoutNames *preference)
{
    _cleanup_free_ bool *is_placed = NEW_ARRAY(bool, table->count);
    size_t placed = 0;
    for (size_t i = 0; i < preference->count; i++) {
        size_t type = find_type(table, preference->items[i]);
        if (type != NOT_FOUND && !is_placed[type]) {
            is_placed[type] = true;
            table->order[placed++] = type;
        }
    }
    size_t start = placed;
    for (size_t i = 0; i < table->count; i++) {
        if (is_placed[i])
            continue;
        size_t at = placed++;
        for (; at > start && strcmp(table->names[table->order[at - 1]], table->names[i]) > 0; at--)
            table->order[at] = table->order[at - 1];
        table->order[at] = i;
    }
    for (size_t i = 0; i < table->count; i++)
        table->rank[table->order[i]] = i;
}

static int make_types(TypeTable *table, const Prepared *prepared, const LayoutNames *candidates,
                      const LayoutNames *preference, bool is_hardware, Error *error)
{
    const LayoutProblem *problem = prepared->problem;
    size_t capacity = candidates->count + problem->existing_count;
    table->names = NEW_ARRAY(const char *, capacity);
    table->order = NEW_ARRAY(size_t, capacity);
    table->rank = NEW_ARRAY(size_t, capacity);
    for (size_t i = 0; i < candidates->count; i++) {
        if (find_type(table, candidates->items[i]) != NOT_FOUND) {
            error_set(error, ERROR_BAD_FIELD, "The %s type '%s' is named twice",
                      is_hardware ? "hardware" : "image", candidates->items[i]);
            return -EINVAL;
        }
        table->names[table->count++] = candidates->items[i];
    }
    table->candidate_count = table->count;
    for (size_t i = 0; i < problem->existing_count; i++) {
        const char *name = is_hardware ? problem->existing[i].hardware : problem->existing[i].image;
        size_t type = find_type(table, name);
        if (type == NOT_FOUND) {
            type = table->count++;
            table->names[type] = name;
        }
        (is_hardware ? prepared->class_hardware : prepared->class_image)[i] = type;
    }
    order_types(table, preference);
    return 0;
}

static void resolve_allowed(bool *may, const TypeTable *table, const LayoutNames *names)
{
    for (size_t i = 0; i < table->count; i++)
        may[i] = names->count == 0;
    for (size_t i = 0; i < names->count; i++) {
        size_t type = find_type(table, names->items[i]);
        if (type != NOT_FOUND)
            may[type] = true;
    }
}

/* The present members of a set, each once, in ascending order; *ret_all says whether all are present. */
static uint16_t *resolve_set(const Prepared *prepared, const LayoutNames *names, size_t *ret_count,
                             bool *ret_all)
{
    size_t service_count = prepared->problem->service_count;
    _cleanup_free_ bool *is_member = NEW_ARRAY(bool, service_count);
    *ret_all = true;
    for (size_t i = 0; i < names->count; i++) {
        size_t service = find_service(prepared, names->items[i]);
        if (service == NOT_FOUND)
            *ret_all = false;
        else
            is_member[service] = true;
    }
    uint16_t *members = NEW_ARRAY(uint16_t, service_count);
    *ret_count = 0;
    for (size_t i = 0; i < service_count; i++)
        if (is_member[i])
            members[(*ret_count)++] = (uint16_t)i;
    return members;
}

static void resolve_sets(Prepared *prepared)
{
    const LayoutProblem *problem = prepared->problem;
    bool is_complete;
    for (size_t i = 0; i < problem->must_coexist_count; i++) {
        prepared->must[i] =
            resolve_set(prepared, &problem->must_coexist[i], &prepared->must_counts[i], &is_complete);
        for (size_t k = 0; k < prepared->must_counts[i]; k++)
            prepared->is_constrained[prepared->must[i][k]] = true;
    }
    for (size_t i = 0; i < problem->cant_coexist_count; i++) {
        prepared->cant[i] =
            resolve_set(prepared, &problem->cant_coexist[i], &prepared->cant_counts[i], &is_complete);
        for (size_t k = 0; k < prepared->cant_counts[i]; k++)
            prepared->is_constrained[prepared->cant[i][k]] = true;
        if (!is_complete || prepared->cant_counts[i] == 0) {
            free(prepared->cant[i]);
            prepared->cant[i] = NULL;
        }
    }
}

static int resolve_classes(Prepared *prepared, Error *error)
{
    const LayoutProblem *problem = prepared->problem;
    uint64_t total = 0;
    for (size_t i = 0; i < problem->existing_count; i++) {
        const LayoutClass *class = &problem->existing[i];
        total += class->count;
        prepared->class_services[i] = NEW_ARRAY(uint16_t, class->services.count);
        for (size_t k = 0; k < class->services.count; k++) {
            size_t service = find_service(prepared, class->services.items[k]);
            bool is_twice = false;
            for (size_t other = 0; other < k; other++)
                is_twice = is_twice || prepared->class_services[i][other] == service;
            if (service == NOT_FOUND || is_twice) {
                error_set(error, ERROR_BAD_FIELD, "An existing node has the service '%s' %s",
                          class->services.items[k], is_twice ? "twice" : "that the cluster lacks");
                return -EINVAL;
            }
            prepared->class_services[i][k] = (uint16_t)service;
        }
    }
    if (total > LAYOUT_NODES_MAX) {
        error_set(error, ERROR_TOO_LARGE, "A layout may have at most %d nodes", LAYOUT_NODES_MAX);
        return -E2BIG;
    }
    return 0;
}

static int check_names(const LayoutProblem *problem, Error *error)
{
    for (size_t i = 0; i < problem->service_count; i++) {
        const LayoutService *service = &problem->services[i];
        if (string_is_empty(service->name))
            return error_set(error, ERROR_BAD_FIELD, "A service has no name"), -EINVAL;
        if (service->hardware.count > LAYOUT_TYPES_MAX || service->images.count > LAYOUT_TYPES_MAX)
            return error_set(error, ERROR_TOO_LARGE, "'%s' names too many types", service->name), -E2BIG;
    }
    for (size_t i = 0; i < problem->must_coexist_count + problem->cant_coexist_count; i++) {
        const LayoutNames *set = i < problem->must_coexist_count
                                     ? &problem->must_coexist[i]
                                     : &problem->cant_coexist[i - problem->must_coexist_count];
        if (set->count > LAYOUT_SERVICES_MAX)
            return error_set(error, ERROR_TOO_LARGE, "A coexist set has more than %d members",
                             LAYOUT_SERVICES_MAX),
                   -E2BIG;
    }
    for (size_t i = 0; i < problem->existing_count; i++) {
        const LayoutClass *class = &problem->existing[i];
        if (class->services.count == 0 || class->services.count > problem->service_count)
            return error_set(error, ERROR_BAD_FIELD,
                             "An existing node has no service, or more than the cluster"),
                   -EINVAL;
        if (string_is_empty(class->hardware) || string_is_empty(class->image))
            return error_set(error, ERROR_BAD_FIELD, "An existing node has no hardware or image type"),
                   -EINVAL;
    }
    if (problem->hardware_preference.count > LAYOUT_TYPES_MAX ||
        problem->image_preference.count > LAYOUT_TYPES_MAX)
        return error_set(error, ERROR_TOO_LARGE, "A preference list has more than %d names",
                         LAYOUT_TYPES_MAX),
               -E2BIG;
    return 0;
}

static void resolve_services(Prepared *prepared)
{
    for (size_t i = 0; i < prepared->problem->service_count; i++) {
        const LayoutService *service = &prepared->problem->services[i];
        prepared->is_constrained[i] = service->is_constrained || service->has_quantity ||
                                      service->minimum > 0 || service->is_minimum_stated ||
                                      service->maximum != LAYOUT_UNLIMITED || service->hardware.count > 0 ||
                                      service->images.count > 0;
        resolve_allowed(&prepared->may_hardware[i * prepared->hardware.count], &prepared->hardware,
                        &service->hardware);
        resolve_allowed(&prepared->may_image[i * prepared->images.count], &prepared->images,
                        &service->images);
    }
}

int prepared_make(const LayoutProblem *problem, Prepared **ret_prepared, Error *error)
{
    int r = check_limits(problem, error);
    if (r < 0)
        return r;
    r = check_names(problem, error);
    if (r < 0)
        return r;
    _cleanup_prepared_ Prepared *prepared = NEW(Prepared);
    prepared->problem = problem;
    prepared->by_name = NEW_ARRAY(uint16_t, problem->service_count);
    prepared->name_rank = NEW_ARRAY(uint16_t, problem->service_count);
    prepared->is_constrained = NEW_ARRAY(bool, problem->service_count);
    prepared->must = NEW_ARRAY(uint16_t *, problem->must_coexist_count);
    prepared->cant = NEW_ARRAY(uint16_t *, problem->cant_coexist_count);
    prepared->must_counts = NEW_ARRAY(size_t, problem->must_coexist_count);
    prepared->cant_counts = NEW_ARRAY(size_t, problem->cant_coexist_count);
    prepared->class_services = NEW_ARRAY(uint16_t *, problem->existing_count);
    prepared->class_hardware = NEW_ARRAY(size_t, problem->existing_count);
    prepared->class_image = NEW_ARRAY(size_t, problem->existing_count);
    r = sort_services(prepared, error);
    if (r < 0)
        return r;
    r = make_types(&prepared->hardware, prepared, &problem->hardware, &problem->hardware_preference, true,
                   error);
    if (r < 0)
        return r;
    r = make_types(&prepared->images, prepared, &problem->images, &problem->image_preference, false, error);
    if (r < 0)
        return r;
    prepared->may_hardware = NEW_ARRAY(bool, problem->service_count * prepared->hardware.count);
    prepared->may_image = NEW_ARRAY(bool, problem->service_count * prepared->images.count);
    resolve_services(prepared);
    resolve_sets(prepared);
    r = resolve_classes(prepared, error);
    if (r < 0)
        return r;
    *ret_prepared = TAKE_PTR(prepared);
    return 0;
}

static void type_table_done(TypeTable *table)
{
    free(table->names);
    free(table->order);
    free(table->rank);
}

Prepared *prepared_free(Prepared *prepared)
{
    if (!prepared)
        return NULL;
    const LayoutProblem *problem = prepared->problem;
    for (size_t i = 0; i < problem->must_coexist_count; i++)
        free(prepared->must[i]);
    for (size_t i = 0; i < problem->cant_coexist_count; i++)
        free(prepared->cant[i]);
    for (size_t i = 0; i < problem->existing_count; i++)
        free(prepared->class_services[i]);
    free(prepared->by_name);
    free(prepared->name_rank);
    free(prepared->is_constrained);
    free(prepared->may_hardware);
    free(prepared->may_image);
    type_table_done(&prepared->hardware);
    type_table_done(&prepared->images);
    free(prepared->must);
    free(prepared->cant);
    free(prepared->must_counts);
    free(prepared->cant_counts);
    free(prepared->class_services);
    free(prepared->class_hardware);
    free(prepared->class_image);
    free(prepared);
    return NULL;
}
