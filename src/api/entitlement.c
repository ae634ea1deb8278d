/* SPDX-License-Identifier: Apache-2.0 */
#include "api/entitlement.h"

#include "api/resources.h"
#include "api/rights.h"
#include "base/string.h"

Permission permission_of_workflow(const char *workflow)
{
    static const struct {
        const char *workflow;
        Permission permission;
    } rows[] = {{"create", PERMISSION_CLUSTER_CREATE},
                {"delete", PERMISSION_CLUSTER_DELETE},
                {"scale", PERMISSION_CLUSTER_SCALE},
                {"add_services", PERMISSION_CLUSTER_SCALE},
                {"replace", PERMISSION_CLUSTER_SCALE}};
    for (size_t i = 0; i < ELEMENTSOF(rows); i++)
        if (string_equal(rows[i].workflow, workflow))
            return rows[i].permission;
    return PERMISSION_CLUSTER_SERVICES;
}

int execution_is_entitled(StoreTransaction *transaction, const char *tenant, const char *username,
                          const char *cluster_id, const char *workflow, void *userdata, Error *error)
{
    (void)userdata;
    Arena *arena = store_arena(transaction);
    AccessRights rights;
    AccessObject object = {.tenant = tenant, .kind = "cluster", .id = cluster_id};
    ResourceGetRow row;
    if (string_equal(username, "system"))
        return 1;
    int r = rights_load(transaction, arena, username, tenant, false, &rights, error);
    if (r < 0 || !rights.is_active)
        return MIN(r, 0);
    r = statement_resource_get(
        transaction, &(ResourceGetParameters){.tenant = tenant, .kind = object.kind, .id = cluster_id}, &row,
        error);
    if (r < 0)
        return r;
    if (r == 1) {
        object.owner = arena_string(arena, row.owner);
        object.visibility = visibility_from_string(row.visibility);
        r = resource_grants(transaction, username, &object, error);
        if (r < 0)
            return r;
    }
    Principal principal = {
        .username = username, .tenant = tenant, .is_member = rights.is_member, .rights = rights.permissions};
    /* Without a row the cluster is being taken away, and only the permission counts. */
    AccessVerdict verdict =
        access_decide(&principal, permission_of_workflow(workflow), object.owner ? &object : NULL);
    return verdict.is_allowed;
}
