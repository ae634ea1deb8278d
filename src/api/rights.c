/* SPDX-License-Identifier: Apache-2.0 */
#include "api/rights.h"

#include <errno.h>

#include "base/string.h"
#include "store/statements.h"

/* A permission that this program does not know (any more) gives nothing. */
static void change(PermissionSet *set, const char *name, bool is_granted)
{
    Permission permission = permission_from_string(name);
    if (permission < 0 || (is_granted && permission_is_reserved(permission)))
        return;
    if (is_granted)
        permission_set_add(set, permission);
    else
        permission_set_remove(set, permission);
}

/* Of a role of the program's own; nothing for others, whose rows say all. */
static PermissionSet base_of_role(const char *role)
{
    AccessRole built_in = access_role_from_string(role);
    return built_in >= 0 ? access_role_permissions(built_in) : (PermissionSet){0};
}

/* No role of a tenant reaches the installation, whatever is written about it. */
static void bound_to_tenant(PermissionSet *set)
{
    const PermissionSet bound = permission_set_of_tenants();
    for (unsigned i = 0; i < PERMISSION_SET_WORDS; i++)
        set->words[i] &= bound.words[i];
}

static bool is_same_role(const RightsOfRow *a, const RightsOfRow *b)
{
    return string_equal(a->source, b->source) && string_equal(a->via, b->via) &&
           string_equal(a->role, b->role);
}

/* The rows of one role, from `first` on; returns how many. */
static size_t read_role(const RightsOfRow *rows, size_t count, HeldRole *ret_role)
{
    const RightsOfRow *first = rows;
    *ret_role = (HeldRole){.role = first->role,
                           .group = *first->via ? first->via : NULL,
                           .is_tenant = string_starts_with(first->source, "tenant"),
                           .permissions = base_of_role(first->role)};
    bool is_fixed = string_equal(first->role, "sys_admin");
    size_t used = 0;
    for (; used < count && is_same_role(first, &rows[used]); used++)
        if (*rows[used].permission && !is_fixed)
            change(&ret_role->permissions, rows[used].permission, rows[used].is_granted);
    if (ret_role->is_tenant)
        bound_to_tenant(&ret_role->permissions);
    return used;
}

static void keep_role(AccessRights *rights, Arena *arena, const HeldRole *role)
{
    if (rights->role_count == HELD_ROLES_MAX)
        return;
    HeldRole *copy = &rights->roles[rights->role_count++];
    *copy = *role;
    copy->role = arena_string(arena, role->role);
    copy->group = role->group ? arena_string(arena, role->group) : NULL;
}

int rights_load(StoreTransaction *transaction, Arena *arena, const char *username, const char *tenant,
                bool with_roles, AccessRights *ret_rights, Error *error)
{
    RightsOfRow *rows;
    size_t count;
    *ret_rights = (AccessRights){.role = ""};
    int r =
        statement_rights_of(transaction, &(RightsOfParameters){.username = username, .tenant = tenant ?: ""},
                            &rows, &count, error);
    if (r < 0)
        return r;
    AccessRights rights = {.role = ""};
    bool is_open = false, is_member = false;
    if (with_roles)
        rights.roles = arena_allocate_array(arena, HELD_ROLES_MAX, sizeof(*rights.roles));
    for (size_t i = 0; i < count;) {
        if (!*rows[i].role) {
            rights.is_tenant = true;
            is_open = string_equal(rows[i].source, "open");
            i++;
            continue;
        }
        HeldRole role;
        if (string_equal(rows[i].source, "account")) {
            rights.is_active = true;
            rights.role = arena_string(arena, rows[i].role);
        }
        i += read_role(&rows[i], count - i, &role);
        is_member |= role.is_tenant;
        permission_set_unite(&rights.permissions, &role.permissions);
        if (with_roles)
            keep_role(&rights, arena, &role);
    }
    if (!rights.is_active) {
        ret_rights->is_tenant = rights.is_tenant;
        return 0;
    }
    rights.is_member = rights.is_tenant && ((is_member && is_open) ||
                                            permission_set_has(&rights.permissions, PERMISSION_ALL_TENANTS));
    *ret_rights = rights;
    return 0;
}

int rights_of_role(StoreTransaction *transaction, const char *role, PermissionSet *ret_permissions,
                   bool *ret_is_system, Error *error)
{
    AccessRole built_in = access_role_from_string(role);
    *ret_permissions = base_of_role(role);
    if (built_in >= 0) {
        *ret_is_system = access_role_is_system(built_in);
    } else {
        RoleGetRow row;
        int r = statement_role_get(transaction, &(RoleGetParameters){.name = role}, &row, error);
        if (r <= 0)
            return r < 0 ? r : -ENOENT;
        *ret_is_system = string_equal(row.kind, "system");
    }
    if (built_in == ACCESS_ROLE_SYS_ADMIN)
        return 0;
    RoleChangesRow *rows;
    size_t count;
    int r = statement_role_changes(transaction, &(RoleChangesParameters){.role = role}, &rows, &count, error);
    if (r < 0)
        return r;
    for (size_t i = 0; i < count; i++)
        change(ret_permissions, rows[i].permission, rows[i].is_granted);
    if (!*ret_is_system)
        bound_to_tenant(ret_permissions);
    return 0;
}

int forget_rights_of_user(StoreTransaction *transaction, const char *username, Error *error)
{
    int r = statement_group_members_delete_of_user(
        transaction, &(GroupMembersDeleteOfUserParameters){.username = username}, error);
    if (r >= 0)
        r = statement_grants_delete_of_subject(
            transaction, &(GrantsDeleteOfSubjectParameters){.subject_kind = "user", .subject = username},
            error);
    if (r >= 0)
        r = statement_resources_disown(transaction, &(ResourcesDisownParameters){.owner = username}, error);
    return MIN(r, 0);
}
