/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* The rights of an account in a tenant, as the database has them: the union of what its roles have. In jobs;
 * names are copied to the arena that is given. */

#include "domain/access/access.h"
#include "store/store.h"

/* Where a role comes from. */
typedef struct HeldRole {
    const char *role;
    const char *group; /* through which it is held, or NULL */
    bool is_tenant;    /* held in the tenant, not in the installation */
    PermissionSet permissions;
} HeldRole;

enum { HELD_ROLES_MAX = 512 };

typedef struct AccessRights {
    bool is_active; /* there is the account, and it may act */
    bool is_tenant; /* there is the tenant */
    bool is_member; /* of that tenant, or of all by right */
    const char *role;
    PermissionSet permissions;
    HeldRole *roles; /* NULL unless asked for */
    size_t role_count;
} AccessRights;

/* tenant NULL: of the installation alone. With `with_roles` what explain and review need, too. */
int rights_load(StoreTransaction *transaction, Arena *arena, const char *username, const char *tenant,
                bool with_roles, AccessRights *ret_rights, Error *error);
/* An account goes: its groups, what it was given and what it owned do not wait for the next of its name. */
int forget_rights_of_user(StoreTransaction *transaction, const char *username, Error *error);
/* What a role has here: built in or of the installation's own. -ENOENT without *error when there is none. */
int rights_of_role(StoreTransaction *transaction, const char *role, PermissionSet *ret_permissions,
                   bool *ret_is_system, Error *error);
