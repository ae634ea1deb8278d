/* SPDX-License-Identifier: Apache-2.0 */
#include "domain/access/access.h"

#include "base/string.h"

static const PermissionDescription permissions[_PERMISSION_MAX] = {
    [PERMISSION_OPEN] = {"open", ACCESS_SCOPE_SYSTEM, 0, "open to everybody"},
#define PERMISSION_ROW(symbol, name, scope, roles, meaning)                                                  \
    [PERMISSION_##symbol] = {name, ACCESS_SCOPE_##scope, roles, meaning},
#include "domain/access/permission-table.h"
#undef PERMISSION_ROW
};

static const char *const role_names[_ACCESS_ROLE_MAX] = {
    [ACCESS_ROLE_NONE] = "none",       [ACCESS_ROLE_SYS_ADMIN] = "sys_admin",
    [ACCESS_ROLE_DEFAULT] = "default", [ACCESS_ROLE_MANAGER] = "manager",
    [ACCESS_ROLE_USER] = "user",       [ACCESS_ROLE_OPERATIONS] = "operations",
    [ACCESS_ROLE_VIEWER] = "viewer",
};

const PermissionDescription *permission_describe(Permission permission)
{
    ASSERT(permission >= 0 && permission < _PERMISSION_MAX);
    return &permissions[permission];
}

AccessRole access_role_from_string(const char *text)
{
    for (unsigned i = ACCESS_ROLE_SYS_ADMIN; i < _ACCESS_ROLE_MAX; i++)
        if (string_equal(text, role_names[i]))
            return (AccessRole)i;
    return _ACCESS_ROLE_INVALID;
}

const char *access_role_to_string(AccessRole role)
{
    ASSERT(role >= 0 && role < _ACCESS_ROLE_MAX);
    return role_names[role];
}

bool access_role_is_system(AccessRole role)
{
    return role == ACCESS_ROLE_SYS_ADMIN || role == ACCESS_ROLE_DEFAULT;
}

bool access_role_is_tenant(AccessRole role)
{
    return role >= ACCESS_ROLE_MANAGER && role < _ACCESS_ROLE_MAX;
}

int access_decide(const Principal *principal, Permission permission, Error *error)
{
    const PermissionDescription *description = permission_describe(permission);
    if (permission == PERMISSION_OPEN)
        return 0;
    if (!principal->username)
        return error_set(error, ERROR_UNAUTHENTICATED, "Sign in first.");
    if (principal->system_role == ACCESS_ROLE_SYS_ADMIN)
        return 0;
    AccessRole role = principal->system_role;
    if (description->scope == ACCESS_SCOPE_TENANT) {
        if (principal->tenant_role == ACCESS_ROLE_NONE)
            return error_set(error, ERROR_UNAUTHENTICATED, "You are not a member of this tenant.");
        role = principal->tenant_role;
    }
    if (description->roles & (1U << role))
        return 0;
    return error_set(error, ERROR_FORBIDDEN,
                     "This needs the permission '%s', which the role '%s' does not have.", description->name,
                     access_role_to_string(role));
}
