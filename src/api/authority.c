/* SPDX-License-Identifier: Apache-2.0 */
#include "api/authority.h"

#include <errno.h>

#include "api/rights.h"
#include "base/string.h"

/* What the caller has in a tenant, or in the installation. */
static int own_rights(ApiCall *call, const char *tenant, PermissionSet *ret_rights, Error *error)
{
    AccessRights rights;
    int r =
        rights_load(call->transaction, call->arena, call->principal.username, tenant, false, &rights, error);
    *ret_rights = rights.permissions;
    return r;
}

static int require(const PermissionSet *own, const PermissionSet *wanted, const char *what, const char *name,
                   Error *error)
{
    if (permission_set_covers(own, wanted))
        return 0;
    return error_set(error, ERROR_FORBIDDEN,
                     "Nobody gives or changes what he does not have himself: the %s '%s' has permissions "
                     "that you lack.",
                     what, name);
}

int authority_over_role(ApiCall *call, const char *role, const char *tenant, Error *error)
{
    PermissionSet wanted, own;
    bool is_system;
    int r = rights_of_role(call->transaction, role, &wanted, &is_system, error);
    if (r == -ENOENT || (r >= 0 && is_system != !tenant))
        return error_set_field(error, ERROR_BAD_FIELD, "role", "There is no role '%s' of %s.", role,
                               tenant ? "tenants" : "the installation");
    if (r >= 0)
        r = own_rights(call, tenant, &own, error);
    return r < 0 ? r : require(&own, &wanted, "role", role, error);
}

int authority_over_group(ApiCall *call, const char *group, Error *error)
{
    UserGroupGetRow row;
    GroupTenantsListRow *tenants;
    size_t count;
    int r =
        statement_user_group_get(call->transaction, &(UserGroupGetParameters){.name = group}, &row, error);
    if (r <= 0)
        return r < 0 ? r : error_set(error, ERROR_NOT_FOUND, "There is no group '%s'.", group);
    r = *row.role ? authority_over_role(call, row.role, NULL, error) : 0;
    if (r >= 0)
        r = statement_group_tenants_list(
            call->transaction, &(GroupTenantsListParameters){.group_name = group}, &tenants, &count, error);
    for (size_t i = 0; r >= 0 && i < count; i++)
        r = authority_over_role(call, tenants[i].role, tenants[i].tenant, error);
    return MIN(r, 0);
}

static int compare_rights(ApiCall *call, const char *username, const char *tenant, Error *error)
{
    AccessRights rights;
    PermissionSet own;
    int r = rights_load(call->transaction, call->arena, username, tenant, false, &rights, error);
    if (r >= 0)
        r = own_rights(call, tenant, &own, error);
    return r < 0 ? r : require(&own, &rights.permissions, "account", username, error);
}

int authority_over_account(ApiCall *call, const char *username, Error *error)
{
    if (string_equal(username, call->principal.username))
        return 0;
    MembershipsOfUserRow *direct = NULL;
    GroupRolesOfUserRow *groups = NULL;
    size_t direct_count = 0, group_count = 0;
    int r = compare_rights(call, username, NULL, error);
    if (r >= 0)
        r = statement_memberships_of_user(call->transaction,
                                          &(MembershipsOfUserParameters){.username = username}, &direct,
                                          &direct_count, error);
    if (r >= 0)
        r = statement_group_roles_of_user(call->transaction,
                                          &(GroupRolesOfUserParameters){.username = username}, &groups,
                                          &group_count, error);
    for (size_t i = 0; r >= 0 && i < direct_count; i++)
        r = compare_rights(call, username, direct[i].tenant, error);
    for (size_t i = 0; r >= 0 && i < group_count; i++)
        r = compare_rights(call, username, groups[i].tenant, error);
    return MIN(r, 0);
}

int authority_check_administrators(ApiCall *call, Error *error)
{
    if (!store_has_watched_change(call->transaction))
        return 0;
    AdministratorsCountRow row;
    int r = statement_administrators_count(call->transaction, &row, error);
    if (r < 0)
        return r;
    return row.total > 0 ? 0 : error_set(error, ERROR_CONFLICT, "The last administrator must stay.");
}
