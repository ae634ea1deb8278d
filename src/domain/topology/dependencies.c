/* SPDX-License-Identifier: Apache-2.0 */

/* Dependencies among the services of one cluster, as small boolean matrices: tens of services, hundreds at
 * most. */

#include <errno.h>

#include "base/map.h"
#include "base/string.h"
#include "domain/topology/internal.h"

bool service_has_action(const CatalogEntry *service, ServiceAction action)
{
    return service->service.actions[action].type != NULL;
}

bool service_restarts_to_configure(const CatalogEntry *service)
{
    return !service->service.actions[SERVICE_CONFIGURE].is_live;
}

static void add_names(const ClusterShape *shape, const NameList *names, size_t from, const StringMap *by_name,
                      bool *matrix)
{
    size_t n = shape->service_count;
    for (size_t i = 0; i < names->count; i++) {
        size_t index = (size_t)(uintptr_t)string_map_get(by_name, names->items[i]);
        if (index > 0)
            matrix[from * n + index - 1] = true;
        for (size_t j = 0; j < n; j++)
            if (j != from && name_list_contains(&shape->services[j]->service.provides, names->items[i]))
                matrix[from * n + j] = true;
    }
}

bool *service_matrix(const ClusterShape *shape, bool is_runtime)
{
    size_t n = shape->service_count;
    bool *matrix = NEW_ARRAY(bool, n *n);
    _cleanup_string_map_ StringMap *by_name = string_map_new(NULL);
    for (size_t i = 0; i < n; i++)
        string_map_set(by_name, shape->services[i]->name, (void *)(uintptr_t)(i + 1));
    for (size_t i = 0; i < n; i++) {
        const CatalogService *service = &shape->services[i]->service;
        add_names(shape, is_runtime ? &service->runtime_requires : &service->install_requires, i, by_name,
                  matrix);
        add_names(shape, is_runtime ? &service->runtime_uses : &service->install_uses, i, by_name, matrix);
    }
    return matrix;
}

bool *matrix_closure(const bool *matrix, size_t n)
{
    bool *reach = memory_duplicate(matrix, n * n * sizeof(bool));
    for (size_t k = 0; k < n; k++)
        for (size_t i = 0; i < n; i++)
            if (reach[i * n + k])
                for (size_t j = 0; j < n; j++)
                    reach[i * n + j] |= reach[k * n + j];
    return reach;
}

static int refuse_cycle(const ClusterShape *shape, const bool *reach, bool is_runtime, Error *error)
{
    size_t n = shape->service_count;
    for (size_t i = 0; i < n; i++) {
        if (!reach[i * n + i])
            continue;
        _cleanup_buffer_ Buffer names = BUFFER_INIT;
        for (size_t j = 0; j < n; j++)
            if (reach[i * n + j] && reach[j * n + i])
                (void)buffer_append_format(&names, "%s%s", names.size > 0 ? ", " : "",
                                           shape->services[j]->name);
        return error_set(error, ERROR_CYCLE, "services wait for each other %s: %s",
                         is_runtime ? "to start" : "to install", buffer_string(&names));
    }
    return 0;
}

bool *matrix_minimal(const bool *reach, const bool *has_action, size_t n)
{
    /* Only services with the action can be waited for. Reaching one over others that lack it is the passing
     * on; reaching it over one that has it follows from that one and is left out. Since there is no cycle,
     * both at once are: b is kept when no c with the action lies between a and b. */
    bool *matrix = NEW_ARRAY(bool, n *n);
    for (size_t a = 0; a < n; a++)
        for (size_t b = 0; b < n; b++) {
            bool is_kept = reach[a * n + b] && has_action[b];
            for (size_t c = 0; c < n && is_kept; c++)
                is_kept = !(reach[a * n + c] && has_action[c] && reach[c * n + b]);
            matrix[a * n + b] = is_kept;
        }
    return matrix;
}

int service_reach(const ClusterShape *shape, bool is_runtime, bool **ret_reach, Error *error)
{
    _cleanup_free_ bool *direct = service_matrix(shape, is_runtime);
    _cleanup_free_ bool *reach = matrix_closure(direct, shape->service_count);
    int r = refuse_cycle(shape, reach, is_runtime, error);
    if (r < 0)
        return r;
    *ret_reach = TAKE_PTR(reach);
    return 0;
}

int service_dependencies(const ClusterShape *shape, ServiceAction action, bool **ret_matrix, Error *error)
{
    size_t n = shape->service_count;
    _cleanup_free_ bool *reach = NULL, *has_action = NEW_ARRAY(bool, n);
    int r = service_reach(shape, action != SERVICE_INSTALL, &reach, error);
    if (r < 0)
        return r;
    for (size_t i = 0; i < n; i++)
        has_action[i] = service_has_action(shape->services[i], action);
    *ret_matrix = matrix_minimal(reach, has_action, n);
    return 0;
}
