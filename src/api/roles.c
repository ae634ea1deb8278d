/* SPDX-License-Identifier: Apache-2.0 */
/* Roles and what they have. The program's own roles are always there; the database holds those of the
 * installation and what it changed. */

#include <errno.h>

#include "api/authority.h"
#include "api/rights.h"
#include "base/string.h"

enum { ROLES_MAX = 1000 };

static const char *kind_name(bool is_system)
{
    return is_system ? "system" : "tenant";
}

/* A page of a list that is made in memory. */
static bool is_on_page(const Page *page, size_t index)
{
    return (int64_t)index >= page->offset && (int64_t)index < page->offset + page->size;
}

/* Roles
 * ------------------------------------------------------------------------------------------------------------------
 */

static int list_roles(ApiCall *call, Error *error)
{
    Page page;
    RoleListRow *rows;
    size_t count, index = 0;
    int r = page_read(call, &page, error);
    if (r >= 0)
        r = statement_role_list(call->transaction, &(RoleListParameters){.maximum = ROLES_MAX}, &rows, &count,
                                error);
    if (r < 0)
        return r;
    Writer writer = list_begin(call);
    for (unsigned i = ACCESS_ROLE_SYS_ADMIN; i < _ACCESS_ROLE_MAX; i++, index++) {
        if (!is_on_page(&page, index))
            continue;
        writer_begin_object(&writer, NULL);
        writer_string(&writer, "name", access_role_to_string((AccessRole)i));
        writer_string(&writer, "type", kind_name(access_role_is_system((AccessRole)i)));
        writer_boolean(&writer, "built_in", true);
        writer_string(&writer, "description", access_role_describe((AccessRole)i));
        writer_end_object(&writer);
    }
    for (size_t i = 0; i < count; i++, index++) {
        if (!is_on_page(&page, index))
            continue;
        writer_begin_object(&writer, NULL);
        writer_string(&writer, "name", rows[i].name);
        writer_string(&writer, "type", rows[i].kind);
        writer_boolean(&writer, "built_in", false);
        writer_string(&writer, "description", rows[i].description);
        writer_end_object(&writer);
    }
    list_end(call, &writer, &page, (int64_t)index);
    return writer.status;
}

static int find_role(ApiCall *call, const char *name, PermissionSet *set, bool *is_system, Error *error)
{
    int r = rights_of_role(call->transaction, name, set, is_system, error);
    return r == -ENOENT ? error_set(error, ERROR_NOT_FOUND, "There is no role '%s'.", name) : r;
}

static int answer_role(ApiCall *call, const char *name, Error *error)
{
    PermissionSet set;
    RoleGetRow row = {0};
    bool is_system;
    AccessRole built_in = access_role_from_string(name);
    int r = find_role(call, name, &set, &is_system, error);
    if (r >= 0 && built_in < 0)
        r = statement_role_get(call->transaction, &(RoleGetParameters){.name = name}, &row, error);
    if (r < 0)
        return r;
    call->audit_object = arena_format(call->arena, "role:%s", name);
    Writer writer = writer_new(&call->answer);
    writer_begin_object(&writer, NULL);
    writer_string(&writer, "name", name);
    writer_string(&writer, "type", kind_name(is_system));
    writer_boolean(&writer, "built_in", built_in >= 0);
    writer_string(&writer, "description", built_in >= 0 ? access_role_describe(built_in) : row.description);
    writer_begin_array(&writer, "permissions");
    for (unsigned p = PERMISSION_OPEN + 1; p < _PERMISSION_MAX; p++)
        if (permission_set_has(&set, (Permission)p))
            writer_string(&writer, NULL, permission_describe((Permission)p)->name);
    writer_end_array(&writer);
    writer_end_object(&writer);
    return writer.status;
}

static int get_role(ApiCall *call, Error *error)
{
    return answer_role(call, call->parameters[0], error);
}

typedef struct RoleBody {
    const char *name, *type, *description;
} RoleBody;

static const JsonField role_fields[] = {
    {"name", JSON_FIELD_STRING, offsetof(RoleBody, name), JSON_FIELD_REQUIRED | JSON_FIELD_IDENTIFIER, 1, 64,
     "its name"},
    {"type", JSON_FIELD_STRING, offsetof(RoleBody, type), JSON_FIELD_REQUIRED, 1, 16, "system or tenant"},
    {"description", JSON_FIELD_STRING, offsetof(RoleBody, description), JSON_FIELD_NULLABLE, 0, 255,
     "what it is for"},
    {0},
};

static int post_role(ApiCall *call, Error *error)
{
    RoleBody body = {0};
    int r = body_dispatch(call, role_fields, &body, error);
    if (r < 0)
        return r;
    if (!string_equal(body.type, "system") && !string_equal(body.type, "tenant"))
        return error_set_field(error, ERROR_BAD_FIELD, "type", "A role is of the type system or tenant.");
    if (access_role_from_string(body.name) >= 0 || string_equal(body.name, "none"))
        return error_set_field(error, ERROR_CONFLICT, "name", "The role '%s' exists already.", body.name);
    r = statement_role_insert(call->transaction,
                              &(RoleInsertParameters){.name = body.name,
                                                      .kind = body.type,
                                                      .description = body.description ?: "",
                                                      .created_at = (int64_t)store_now(call->transaction),
                                                      .created_by = call->principal.username},
                              error);
    if (r < 0) {
        error_prefix(error, "The role '%s'", body.name);
        return r;
    }
    return answer_role(call, body.name, error);
}

static int delete_role(ApiCall *call, Error *error)
{
    const char *name = call->parameters[0];
    PermissionSet set;
    bool is_system;
    RoleUsesRow uses;
    int r = find_role(call, name, &set, &is_system, error);
    if (r >= 0 && access_role_from_string(name) >= 0)
        return error_set(error, ERROR_CONFLICT, "The role '%s' is built in.", name);
    if (r >= 0)
        r = statement_role_uses(call->transaction, &(RoleUsesParameters){.role = name}, &uses, error);
    if (r >= 0 && uses.total > 0)
        return error_set(error, ERROR_CONFLICT, "Accounts or groups still have the role '%s'.", name);
    if (r >= 0)
        r = statement_role_changes_delete(call->transaction, &(RoleChangesDeleteParameters){.role = name},
                                          error);
    if (r >= 0)
        r = statement_role_delete(call->transaction, &(RoleDeleteParameters){.name = name}, error);
    if (r < 0)
        return r;
    call->audit_object = arena_format(call->arena, "role:%s", name);
    answer_empty(call);
    return 0;
}

/* Permissions
 * ------------------------------------------------------------------------------------------------------------
 */

typedef struct PermissionList {
    Writer writer;
    Page page;
    size_t index;
} PermissionList;

static void list_set(PermissionList *list, const char *role, const PermissionSet *set)
{
    for (unsigned p = PERMISSION_OPEN + 1; p < _PERMISSION_MAX; p++) {
        if (!permission_set_has(set, (Permission)p) || !is_on_page(&list->page, list->index++))
            continue;
        const PermissionDescription *description = permission_describe((Permission)p);
        writer_begin_object(&list->writer, NULL);
        writer_string(&list->writer, "role", role);
        writer_string(&list->writer, "permission", description->name);
        writer_string(&list->writer, "description", description->meaning);
        writer_end_object(&list->writer);
    }
}

static int list_role(ApiCall *call, PermissionList *list, const char *role, Error *error)
{
    PermissionSet set;
    bool is_system;
    int r = find_role(call, role, &set, &is_system, error);
    if (r >= 0)
        list_set(list, role, &set);
    return r;
}

static int list_permissions(ApiCall *call, Error *error)
{
    PermissionList list = {0};
    RoleListRow *rows;
    size_t count;
    int r = page_read(call, &list.page, error);
    if (r >= 0)
        r = statement_role_list(call->transaction, &(RoleListParameters){.maximum = ROLES_MAX}, &rows, &count,
                                error);
    if (r < 0)
        return r;
    list.writer = list_begin(call);
    for (unsigned i = ACCESS_ROLE_SYS_ADMIN; r >= 0 && i < _ACCESS_ROLE_MAX; i++)
        r = list_role(call, &list, access_role_to_string((AccessRole)i), error);
    for (size_t i = 0; r >= 0 && i < count; i++)
        r = list_role(call, &list, rows[i].name, error);
    list_end(call, &list.writer, &list.page, (int64_t)list.index);
    return r < 0 ? r : list.writer.status;
}

static int list_permissions_of_role(ApiCall *call, Error *error)
{
    PermissionList list = {0};
    int r = page_read(call, &list.page, error);
    if (r < 0)
        return r;
    list.writer = list_begin(call);
    r = list_role(call, &list, call->parameters[0], error);
    list_end(call, &list.writer, &list.page, (int64_t)list.index);
    return r < 0 ? r : list.writer.status;
}

static int check_change(ApiCall *call, bool is_granted, Permission *ret_permission, bool *ret_has,
                        Error *error)
{
    const char *role = call->parameters[0], *name = call->parameters[1];
    PermissionSet set;
    bool is_system;
    int r = find_role(call, role, &set, &is_system, error);
    Permission permission = permission_from_string(name);
    if (r < 0)
        return r;
    if (permission < 0)
        return error_set(error, ERROR_NOT_FOUND, "There is no permission '%s'.", name);
    if (access_role_from_string(role) == ACCESS_ROLE_SYS_ADMIN)
        return error_set(error, ERROR_CONFLICT, "The role sys_admin has everything, always.");
    if (permission_is_reserved(permission))
        return error_set(error, ERROR_CONFLICT, "The permission '%s' is of administrators alone.", name);
    if (is_granted && !is_system && permission_describe(permission)->scope == ACCESS_SCOPE_SYSTEM)
        return error_set(error, ERROR_CONFLICT,
                         "The permission '%s' is of the installation, the role '%s' of tenants.", name, role);
    *ret_permission = permission;
    *ret_has = permission_set_has(&set, permission);
    return 0;
}

/* The database says only what differs from the program's table. */
static int change_permission(ApiCall *call, Permission permission, bool is_granted, Error *error)
{
    const char *role = call->parameters[0], *name = call->parameters[1];
    AccessRole built_in = access_role_from_string(role);
    PermissionSet base = built_in >= 0 ? access_role_permissions(built_in) : (PermissionSet){0};
    int r;
    if (permission_set_has(&base, permission) == is_granted)
        r = statement_role_change_remove(
            call->transaction, &(RoleChangeRemoveParameters){.role = role, .permission = name}, error);
    else
        r = statement_role_change_put(
            call->transaction,
            &(RoleChangePutParameters){.role = role, .permission = name, .is_granted = is_granted}, error);
    call->audit_object = arena_format(call->arena, "role:%s permission:%s", role, name);
    return MIN(r, 0);
}

static int put_permission(ApiCall *call, Error *error)
{
    Permission permission;
    bool has;
    int r = check_change(call, true, &permission, &has, error);
    if (r >= 0)
        r = change_permission(call, permission, true, error);
    if (r < 0)
        return r;
    Writer writer = writer_new(&call->answer);
    writer_begin_object(&writer, NULL);
    writer_string(&writer, "role", call->parameters[0]);
    writer_string(&writer, "permission", call->parameters[1]);
    writer_end_object(&writer);
    return writer.status;
}

static int delete_permission(ApiCall *call, Error *error)
{
    Permission permission;
    bool has;
    int r = check_change(call, false, &permission, &has, error);
    if (r >= 0 && !has)
        return error_set(error, ERROR_NOT_FOUND, "The role '%s' has no permission '%s'.", call->parameters[0],
                         call->parameters[1]);
    if (r >= 0)
        r = change_permission(call, permission, false, error);
    if (r < 0)
        return r;
    answer_empty(call);
    return 0;
}

const ApiRoute routes_roles[] = {
    ROUTE(GET, "/roles", ROLE_LIST, NO_TENANT, READ, NO_BODY, list_roles, NULL, 200, "Roles",
          .query = query_page, .columns = columns_roles),
    ROUTE(POST, "/roles", ROLE_MANAGE, NO_TENANT, WRITE, JSON_BODY, post_role, "role_create", 201,
          "Makes a role without permissions", .fields = role_fields),
    ROUTE(GET, "/roles/{name}", ROLE_LIST, NO_TENANT, READ, NO_BODY, get_role, NULL, 200,
          "A role with its permissions"),
    ROUTE(DELETE, "/roles/{name}", ROLE_MANAGE, NO_TENANT, WRITE, NO_BODY, delete_role, "role_delete", 204,
          "Removes a role that nobody has"),
    ROUTE(GET, "/permissions", ROLE_LIST, NO_TENANT, READ, NO_BODY, list_permissions, NULL, 200,
          "The permissions of all roles", .query = query_page, .columns = columns_permissions),
    ROUTE(GET, "/permissions/{role}", ROLE_LIST, NO_TENANT, READ, NO_BODY, list_permissions_of_role, NULL,
          200, "The permissions of a role", .query = query_page, .columns = columns_permissions),
    ROUTE(PUT, "/permissions/{role}/{permission}", PERMISSION_MANAGE, NO_TENANT, WRITE, NO_BODY,
          put_permission, "permission_add", 200, "Gives a permission to a role"),
    ROUTE(DELETE, "/permissions/{role}/{permission}", PERMISSION_MANAGE, NO_TENANT, WRITE, NO_BODY,
          delete_permission, "permission_remove", 204, "Takes a permission from a role"),
    {0},
};
