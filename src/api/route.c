/* SPDX-License-Identifier: Apache-2.0 */
#include "api/route.h"

#include <errno.h>

#include "api/api_internal.h"
#include "base/string.h"

const ApiRoute *const api_route_tables[] = {
    routes_system,       routes_users,
    routes_passwords,    routes_tokens,
    routes_sessions,     routes_second_factor,
    routes_policies,     routes_quotas,
    routes_explain,      routes_grants,
    routes_groups,       routes_roles,
    routes_tenants,      routes_catalog,
    routes_clusters,     routes_executions,
    routes_events,       routes_provisioners,
    routes_bundles,      routes_audit,
    routes_certificates, routes_keys,
    routes_secrets,      routes_secrets_share,
    routes_directory,    NULL,
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
    {"actor", "only by this account", 0, 0},
    {"tenant", "only in this tenant", 0, 0},
    {"action", "only this action", 0, 0},
    {0},
};

const ListColumn columns_users[] = {
    {"username", true},
    {"role", false},
    {"active", false},
    {"is_locked", false},
    {"must_change_password", false},
    {"has_second_factor", false},
    {"created_at", false},
    {"first_login_at", false},
    {"last_login_at", false},
    {"tenants", false},
    {"groups", false},
    {0},
};
const ListColumn columns_tokens[] = {
    {"id", true},          {"username", true},         {"tenant", false},    {"description", true},
    {"created_at", false}, {"expiration_date", false}, {"last_used", false}, {0},
};
const ListColumn columns_tenants[] = {
    {"name", true},   {"description", true}, {"active", false},     {"created_at", false},
    {"users", false}, {"groups", false},     {"user_roles", false}, {0},
};
const ListColumn columns_groups[] = {
    {"name", true},
    {"ldap_dn", true},
    {"role", false},
    {"created_at", false},
    {"users", false},
    {"tenants", false},
    {0},
};
const ListColumn columns_roles[] = {
    {"name", true}, {"type", false}, {"built_in", false}, {"description", false}, {0},
};
const ListColumn columns_permissions[] = {
    {"role", true},
    {"permission", true},
    {"description", false},
    {0},
};
const ListColumn columns_catalog[] = {
    {"name", true},        {"version", false},    {"description", true}, {"digest", false},
    {"created_at", false}, {"created_by", false}, {"visibility", false}, {0},
};
const ListColumn columns_clusters[] = {
    {"id", true},
    {"name", true},
    {"description", true},
    {"owner", false},
    {"template", false},
    {"template_version", false},
    {"provider", false},
    {"status", false},
    {"status_message", false},
    {"nodes", false},
    {"created_at", false},
    {"updated_at", false},
    {"expires_at", false},
    {"revision", false},
    {"visibility", false},
    {"progress", false},
    {0},
};
const ListColumn columns_nodes[] = {
    {"id", true},
    {"hostname", true},
    {"cluster_id", false},
    {"number", false},
    {"status", false},
    {"services", false},
    {"hardware_type", false},
    {"image_type", false},
    {"provider_id", false},
    {"addresses", false},
    {0},
};
const ListColumn columns_executions[] = {
    {"id", true},          {"cluster_id", false}, {"workflow_id", false},
    {"status", false},     {"created_by", false}, {"created_at", false},
    {"started_at", false}, {"ended_at", false},   {0},
};
const ListColumn columns_bundles[] = {
    {"digest", true},
    {"name", true},
    {"version", false},
    {"status", false},
    {"size", false},
    {"uploaded_by", false},
    {"uploaded_at", false},
    {"decided_by", false},
    {"decided_at", false},
    {"visibility", false},
    {0},
};
const ListColumn columns_grants[] = {
    {"subject_kind", false}, {"subject", true},     {"rights", false},
    {"granted_by", false},   {"created_at", false}, {0},
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
