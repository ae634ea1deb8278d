/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Who may do what: the table of permissions, the roles, and the one decision function. Pure; any thread. Deny
 * is the default: what no row grants is refused. */

#include "base/error.h"
#include "base/macros.h"

typedef enum AccessRole {
    ACCESS_ROLE_NONE,
    ACCESS_ROLE_SYS_ADMIN, /* system role: everything, in every tenant */
    ACCESS_ROLE_DEFAULT,   /* system role: an ordinary account */
    ACCESS_ROLE_MANAGER,   /* tenant roles */
    ACCESS_ROLE_USER,
    ACCESS_ROLE_OPERATIONS,
    ACCESS_ROLE_VIEWER,
    _ACCESS_ROLE_MAX,
    _ACCESS_ROLE_INVALID = -22,
} AccessRole;

#define ROLE_BIT(role)  (1U << ACCESS_ROLE_##role)
#define ROLES_WORKERS   (ROLE_BIT(MANAGER) | ROLE_BIT(USER) | ROLE_BIT(OPERATIONS))
#define ROLES_MEMBERS   (ROLES_WORKERS | ROLE_BIT(VIEWER))
#define ROLES_EVERYBODY ROLE_BIT(DEFAULT)

typedef enum AccessScope { ACCESS_SCOPE_SYSTEM, ACCESS_SCOPE_TENANT } AccessScope;

typedef enum Permission {
    PERMISSION_OPEN, /* no credentials needed: the table of SV3, no more */
#define PERMISSION_ROW(symbol, name, scope, roles, meaning) PERMISSION_##symbol,
#include "domain/access/permission-table.h"
#undef PERMISSION_ROW
    _PERMISSION_MAX,
    _PERMISSION_INVALID = -22,
} Permission;

typedef struct PermissionDescription {
    const char *name;
    AccessScope scope;
    unsigned roles; /* bits of AccessRole; sys_admin has all */
    const char *meaning;
} PermissionDescription;

const PermissionDescription *permission_describe(Permission permission);
AccessRole access_role_from_string(const char *text);
const char *access_role_to_string(AccessRole role);
bool access_role_is_system(AccessRole role);
bool access_role_is_tenant(AccessRole role);

/* Who asks. */
typedef struct Principal {
    const char *username;
    AccessRole system_role;
    AccessRole tenant_role; /* in the tenant of the request; NONE when not a member */
    const char *tenant;     /* of the request, or NULL */
    const char *token_id;   /* the token used, or NULL */
} Principal;

/* 0 when allowed. ERROR_UNAUTHENTICATED when a tenant is needed that the caller is not in, ERROR_FORBIDDEN
 * when the right is missing. The text names the permission. */
int access_decide(const Principal *principal, Permission permission, Error *error);
