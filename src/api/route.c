/* SPDX-License-Identifier: Apache-2.0 */
#include "api/route.h"

#include <errno.h>

#include "api/api_internal.h"
#include "base/string.h"

const ApiRoute *const api_route_tables[] = {
    routes_system,
    routes_users,
    routes_passwords,
    routes_tokens,
    routes_sessions,
    routes_second_factor,
    routes_policies,
    routes_quotas,
    routes_tenants,
    routes_catalog,
    routes_clusters,
    routes_executions,
    routes_events,
    routes_provisioners,
    routes_bundles,
    routes_audit,
    routes_keys,
    routes_directory,
    NULL,
};

#define PAGE_QUERY                                                                                           \
    {"_size", "rows of the answer at most; 100 when absent", 0, API_PAGE_MAX},                               \
    {                                                                                                        \
        "_offset", "rows left out at the start", 0, INT32_MAX                                                \
    }
#define CLUSTER_QUERY                                                                                        \
    {                                                                                                        \
        "cluster_id", "only of this cluster", 0, 0                                                           \
    }
#define EXECUTION_QUERY                                                                                      \
    {                                                                                                        \
        "execution_id", "only of this execution", 0, 0                                                       \
    }
#define AFTER_QUERY                                                                                          \
    {                                                                                                        \
        "after", "only what follows the event with this sequence", 0, INT64_MAX                              \
    }

const RouteQuery query_page[] = {PAGE_QUERY, {0}};
const RouteQuery query_version[] = {{"version", "not the latest but this version", 1, INT64_MAX}, {0}};
const RouteQuery query_clusters[] = {
    PAGE_QUERY,
    {"status", "only those in this state", 0, 0},
    {"all", "true: terminated ones, too", 0, 0},
    {0},
};
const RouteQuery query_of_cluster[] = {PAGE_QUERY, CLUSTER_QUERY, {0}};
const RouteQuery query_log[] = {{"task_id", "only the output of this operation", 0, 0}, {0}};
const RouteQuery query_operations[] = {
    PAGE_QUERY,
    {"execution_id", "of which execution; needed", 0, 0},
    {"state", "only those in this state", 0, 0},
    {0},
};
const RouteQuery query_events[] = {PAGE_QUERY, AFTER_QUERY, CLUSTER_QUERY, EXECUTION_QUERY, {0}};
const RouteQuery query_stream[] = {AFTER_QUERY, CLUSTER_QUERY, EXECUTION_QUERY, {0}};
const RouteQuery query_audit[] = {
    PAGE_QUERY,
    {"actor", "only by this account, or in its name", 0, 0},
    {"tenant", "only in this tenant", 0, 0},
    {"action", "only this action", 0, 0},
    {"object", "only about this object, kind:id", 0, 0},
    {"outcome", "done, denied, failed or replayed", 0, 0},
    {"request_id", "only of this request", 0, 0},
    {"since", "not before this time (RFC 3339)", 0, 0},
    {"until", "before this time (RFC 3339)", 0, 0},
    {0},
};

const char *http_method_name(HttpMethod method)
{
    static const char *const names[_HTTP_METHOD_MAX] = {
        [HTTP_METHOD_GET] = "GET",         [HTTP_METHOD_HEAD] = "HEAD",   [HTTP_METHOD_POST] = "POST",
        [HTTP_METHOD_PUT] = "PUT",         [HTTP_METHOD_PATCH] = "PATCH", [HTTP_METHOD_DELETE] = "DELETE",
        [HTTP_METHOD_OPTIONS] = "OPTIONS",
    };
    return method >= 0 && method < _HTTP_METHOD_MAX ? names[method] : "?";
}

bool route_path_matches(const char *pattern, const char *path, Arena *arena,
                        const char *parameters[static ROUTE_PARAMETERS_MAX])
{
    unsigned count = 0;
    while (*pattern) {
        if (*pattern != '{') {
            if (*pattern++ != *path++)
                return false;
            continue;
        }
        size_t length = strcspn(path, "/");
        if (length == 0 || count == ROUTE_PARAMETERS_MAX)
            return false;
        parameters[count++] = arena_string_n(arena, path, length);
        path += length;
        pattern = strchr(pattern, '}') + 1;
    }
    return *path == '\0';
}

int route_find(const ApiRoute *const *tables, HttpMethod method, const char *path, Arena *arena,
               const ApiRoute **ret_route, const char *ret_parameters[static ROUTE_PARAMETERS_MAX])
{
    bool is_known = false;
    HttpMethod wanted = method == HTTP_METHOD_HEAD ? HTTP_METHOD_GET : method;
    for (size_t t = 0; tables[t]; t++)
        for (const ApiRoute *route = tables[t]; route->path; route++) {
            const char *parameters[ROUTE_PARAMETERS_MAX] = {0};
            if (!route_path_matches(route->path, path, arena, parameters))
                continue;
            is_known = true;
            if (route->method != wanted)
                continue;
            *ret_route = route;
            memcpy(ret_parameters, parameters, sizeof(parameters));
            return 0;
        }
    return is_known ? -EOPNOTSUPP : -ENOENT;
}

static const ApiRoute *find_shown(const char *path, size_t length)
{
    for (size_t t = 0; api_route_tables[t]; t++)
        for (const ApiRoute *route = api_route_tables[t]; route->path; route++)
            if (route->method == HTTP_METHOD_GET && route->mode == ROUTE_READ &&
                strlen(route->path) == length && strncmp(route->path, path, length) == 0)
                return route;
    return NULL;
}

/* "/clusters/{id}" for "/clusters". */
static const ApiRoute *find_made(const char *path)
{
    size_t length = strlen(path);
    for (size_t t = 0; api_route_tables[t]; t++)
        for (const ApiRoute *route = api_route_tables[t]; route->path; route++)
            if (route->method == HTTP_METHOD_GET && route->mode == ROUTE_READ &&
                string_starts_with(route->path, path) && string_starts_with(route->path + length, "/{") &&
                !strchr(route->path + length + 1, '/'))
                return route;
    return NULL;
}

const ApiRoute *route_object(const ApiRoute *route)
{
    if (route->shown_by)
        return find_shown(route->shown_by, strlen(route->shown_by));
    for (const char *end = strrchr(route->path, '}'); end;) {
        size_t length = (size_t)(end - route->path) + 1;
        const ApiRoute *shown = find_shown(route->path, length);
        if (shown)
            return shown;
        while (end > route->path && *--end != '}')
            ;
        if (end == route->path)
            break;
    }
    return find_made(route->path);
}

bool route_shows_object(const ApiRoute *route)
{
    return route->method == HTTP_METHOD_GET && route->mode == ROUTE_READ && !route->content_type &&
           (route->shows_object || string_ends_with(route->path, "}"));
}
