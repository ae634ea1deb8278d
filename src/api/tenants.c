/* SPDX-License-Identifier: Apache-2.0 */
/* Tenants and who belongs to them. */

#include "api/authority.h"
#include "api/rights.h"
#include "api/sessions.h"
#include "base/string.h"

static bool wants_data(ApiCall *call)
{
    bool is_wanted = false;
    return string_to_bool(query_or_empty(call, "_get_data"), &is_wanted) >= 0 && is_wanted;
}

/* Who is in a tenant, by itself and through groups. */
typedef struct Members {
    MembershipsOfTenantRow *direct;
    GroupsOfTenantRow *groups;
    GroupRolesOfTenantRow *through;
    size_t direct_count, group_count, through_count;
} Members;

static int read_members(ApiCall *call, const char *tenant, Members *members, Error *error)
{
    StoreTransaction *transaction = call->transaction;
    int r = statement_memberships_of_tenant(transaction, &(MembershipsOfTenantParameters){.tenant = tenant},
                                            &members->direct, &members->direct_count, error);
    if (r >= 0)
        r = statement_groups_of_tenant(transaction, &(GroupsOfTenantParameters){.tenant = tenant},
                                       &members->groups, &members->group_count, error);
    if (r >= 0)
        r = statement_group_roles_of_tenant(transaction, &(GroupRolesOfTenantParameters){.tenant = tenant},
                                            &members->through, &members->through_count, error);
    return r;
}

static void write_names(Writer *writer, const Members *members)
{
    writer_begin_array(writer, "users");
    for (size_t i = 0; i < members->direct_count; i++)
        writer_string(writer, NULL, members->direct[i].username);
    writer_end_array(writer);
    writer_begin_array(writer, "groups");
    for (size_t i = 0; i < members->group_count; i++)
        writer_string(writer, NULL, members->groups[i].group_name);
    writer_end_array(writer);
}

/* {account: {role: [groups]}}; the rows come in that order. */
static void write_roles_through_groups(Writer *writer, const Members *members)
{
    const GroupRolesOfTenantRow *rows = members->through;
    for (size_t i = 0, next; i < members->through_count; i = next) {
        writer_begin_object(writer, rows[i].username);
        for (next = i;
             next < members->through_count && string_equal(rows[next].username, rows[i].username);) {
            const char *role = rows[next].role;
            writer_begin_array(writer, role);
            for (; next < members->through_count && string_equal(rows[next].username, rows[i].username) &&
                   string_equal(rows[next].role, role);
                 next++)
                writer_string(writer, NULL, rows[next].group_name);
            writer_end_array(writer);
        }
        writer_end_object(writer);
    }
}

static void write_roles(Writer *writer, const Members *members)
{
    writer_begin_object(writer, "user_roles");
    writer_begin_object(writer, "direct");
    for (size_t i = 0; i < members->direct_count; i++)
        writer_string(writer, members->direct[i].username, members->direct[i].role);
    writer_end_object(writer);
    writer_begin_object(writer, "groups");
    write_roles_through_groups(writer, members);
    writer_end_object(writer);
    writer_end_object(writer);
    writer_begin_object(writer, "group_roles");
    for (size_t i = 0; i < members->group_count; i++)
        writer_string(writer, members->groups[i].group_name, members->groups[i].role);
    writer_end_object(writer);
}

static int write_tenant(ApiCall *call, Writer *writer, const TenantListRow *row, bool in_full, Error *error)
{
    Members members = {0};
    int r = read_members(call, row->name, &members, error);
    if (r < 0)
        return r;
    writer_begin_object(writer, NULL);
    writer_string(writer, "name", row->name);
    writer_string(writer, "description", row->description);
    writer_boolean(writer, "active", row->is_active);
    writer_time(writer, "created_at", row->created_at);
    if (in_full) {
        write_names(writer, &members);
        write_roles(writer, &members);
    } else {
        writer_integer(writer, "users", (int64_t)members.direct_count);
        writer_integer(writer, "groups", (int64_t)members.group_count);
    }
    writer_end_object(writer);
    return writer->status;
}

static int list_own(ApiCall *call, const Page *page, TenantListRow **ret_rows, size_t *count, Error *error)
{
    TenantListOfUserRow *own;
    int r = statement_tenant_list_of_user(call->transaction,
                                          &(TenantListOfUserParameters){.username = call->principal.username,
                                                                        .maximum = page->size,
                                                                        .offset = page->offset},
                                          &own, count, error);
    *ret_rows = arena_allocate_array(call->arena, (r >= 0 ? *count : 0) + 1, sizeof(**ret_rows));
    for (size_t i = 0; r >= 0 && i < *count; i++)
        (*ret_rows)[i] =
            (TenantListRow){own[i].name, own[i].description, own[i].created_at, own[i].is_active};
    return r;
}

static int list_tenants(ApiCall *call, Error *error)
{
    Page page;
    TenantListRow *rows;
    size_t count;
    int64_t total = 0;
    bool is_all = principal_has(&call->principal, PERMISSION_ALL_TENANTS);
    int r = page_read(call, &page, error);
    if (r < 0)
        return r;
    if (is_all) {
        TenantCountRow counted = {0};
        r = statement_tenant_list(call->transaction,
                                  &(TenantListParameters){.maximum = page.size, .offset = page.offset}, &rows,
                                  &count, error);
        if (r >= 0)
            r = statement_tenant_count(call->transaction, &counted, error);
        total = counted.total;
    } else {
        TenantCountOfUserRow counted = {0};
        r = list_own(call, &page, &rows, &count, error);
        if (r >= 0)
            r = statement_tenant_count_of_user(
                call->transaction, &(TenantCountOfUserParameters){.username = call->principal.username},
                &counted, error);
        total = counted.total;
    }
    if (r < 0)
        return r;
    Writer writer = list_begin(call);
    for (size_t i = 0; r >= 0 && i < count; i++)
        r = write_tenant(call, &writer, &rows[i], wants_data(call), error);
    list_end(call, &writer, &page, total);
    return r < 0 ? r : writer.status;
}

/* For members and those who may act in all tenants; others learn nothing. */
static int find_tenant(ApiCall *call, const char *name, TenantGetRow *row, Error *error)
{
    AccessRights rights;
    int r = statement_tenant_get(call->transaction, &(TenantGetParameters){.name = name}, row, error);
    if (r == 1 && !principal_has(&call->principal, PERMISSION_ALL_TENANTS)) {
        r = rights_load(call->transaction, call->arena, call->principal.username, name, false, &rights,
                        error);
        r = r < 0 ? r : rights.is_member;
    }
    if (r < 0)
        return r;
    return r == 1 ? 0 : error_set(error, ERROR_NOT_FOUND, "There is no tenant '%s'.", name);
}

static int write_tenant_in_full(ApiCall *call, const char *name, Error *error)
{
    TenantGetRow row;
    int r = find_tenant(call, name, &row, error);
    if (r < 0)
        return r;
    Writer writer = writer_new(&call->answer);
    return write_tenant(call, &writer,
                        &(TenantListRow){row.name, row.description, row.created_at, row.is_active}, true,
                        error);
}

static int get_tenant(ApiCall *call, Error *error)
{
    return write_tenant_in_full(call, call->parameters[0], error);
}

typedef struct TenantBody {
    const char *description;
} TenantBody;

static const JsonField tenant_fields[] = {
    {"description", JSON_FIELD_STRING, offsetof(TenantBody, description), 0, 0, 1000, "what it is for"},
    {0},
};

static int post_tenant(ApiCall *call, Error *error)
{
    TenantBody body = {0};
    const char *name = call->parameters[0];
    int r = call->body ? body_dispatch(call, tenant_fields, &body, error) : 0;
    if (r < 0)
        return r;
    if (!identifier_is_valid(name) || string_equal(name, "users") || string_equal(name, "user-groups"))
        return error_set_field(
            error, ERROR_BAD_FIELD, "name",
            "A tenant's name is a letter followed by letters, digits and -._~@, and no reserved word.");
    r = statement_tenant_insert(
        call->transaction,
        &(TenantInsertParameters){.name = name,
                                  .description = body.description ?: "",
                                  .created_at = (int64_t)store_now(call->transaction)},
        error);
    if (r < 0) {
        error_prefix(error, "The tenant '%s'", name);
        return r;
    }
    call->audit_object = arena_format(call->arena, "tenant:%s", name);
    return write_tenant_in_full(call, name, error);
}

static int delete_tenant(ApiCall *call, Error *error)
{
    const char *name = call->parameters[0];
    TenantGetRow row;
    int r = find_tenant(call, name, &row, error);
    if (r < 0)
        return r;
    if (string_equal(name, "default_tenant"))
        return error_set(error, ERROR_CONFLICT, "The default tenant must stay.");
    r = statement_tenant_delete(call->transaction, &(TenantDeleteParameters){.name = name}, error);
    if (r < 0 && error->code == ERROR_BAD_REFERENCE) {
        error_clear(error);
        return error_set(error, ERROR_CONFLICT, "The tenant '%s' still has members, documents or clusters.",
                         name);
    }
    call->audit_object = arena_format(call->arena, "tenant:%s", name);
    answer_empty(call);
    return MIN(r, 0);
}

/* Members
 * ----------------------------------------------------------------------------------------------------------------
 */

typedef struct MemberBody {
    const char *tenant_name, *username, *group_name, *role;
} MemberBody;

#define TENANT_FIELD                                                                                         \
    {                                                                                                        \
        "tenant_name", JSON_FIELD_STRING, offsetof(MemberBody, tenant_name),                                 \
            JSON_FIELD_REQUIRED | JSON_FIELD_IDENTIFIER, 1, 255, "the tenant"                                \
    }
#define ROLE_FIELD                                                                                           \
    {                                                                                                        \
        "role", JSON_FIELD_STRING, offsetof(MemberBody, role), JSON_FIELD_NULLABLE, 1, 64,                   \
            "a role of tenants; user when absent"                                                            \
    }

static const JsonField user_fields[] = {
    TENANT_FIELD,
    {"username", JSON_FIELD_STRING, offsetof(MemberBody, username),
     JSON_FIELD_REQUIRED | JSON_FIELD_IDENTIFIER, 1, 255, "the account"},
    ROLE_FIELD,
    {0},
};
static const JsonField group_fields[] = {
    TENANT_FIELD,
    {"group_name", JSON_FIELD_STRING, offsetof(MemberBody, group_name),
     JSON_FIELD_REQUIRED | JSON_FIELD_IDENTIFIER, 1, 255, "the group"},
    ROLE_FIELD,
    {0},
};

static int put_row(ApiCall *call, const MemberBody *body, const char *role, Error *error)
{
    if (body->group_name)
        return statement_group_tenant_put(call->transaction,
                                          &(GroupTenantPutParameters){.tenant = body->tenant_name,
                                                                      .group_name = body->group_name,
                                                                      .role = role},
                                          error);
    return statement_membership_put(
        call->transaction,
        &(MembershipPutParameters){.tenant = body->tenant_name, .username = body->username, .role = role},
        error);
}

static int remove_row(ApiCall *call, const MemberBody *body, Error *error)
{
    if (body->group_name)
        return statement_group_tenant_remove(
            call->transaction,
            &(GroupTenantRemoveParameters){.tenant = body->tenant_name, .group_name = body->group_name},
            error);
    return statement_membership_delete(
        call->transaction,
        &(MembershipDeleteParameters){.tenant = body->tenant_name, .username = body->username}, error);
}

static int end_sessions(ApiCall *call, const MemberBody *body, Error *error)
{
    return body->group_name ? sessions_end_of_group(call, body->group_name, error)
                            : sessions_end(call, body->username, error);
}

static void name_object(ApiCall *call, const MemberBody *body)
{
    call->audit_object =
        arena_format(call->arena, "tenant:%s %s:%s", body->tenant_name,
                     body->group_name ? "user_group" : "user", body->group_name ?: body->username);
}

static int put(ApiCall *call, const JsonField *fields, Error *error)
{
    MemberBody body = {0};
    TenantGetRow tenant;
    int r = body_dispatch(call, fields, &body, error);
    const char *role = body.role ?: "user";
    if (r >= 0)
        r = find_tenant(call, body.tenant_name, &tenant, error);
    if (r >= 0)
        r = authority_over_role(call, role, body.tenant_name, error);
    if (r >= 0)
        r = put_row(call, &body, role, error);
    if (r >= 0)
        r = end_sessions(call, &body, error);
    if (r < 0 && error->code == ERROR_BAD_REFERENCE) {
        error_clear(error);
        return error_set(error, ERROR_NOT_FOUND, "There is no such tenant, account or group.");
    }
    if (r < 0)
        return r;
    name_object(call, &body);
    return write_tenant_in_full(call, body.tenant_name, error);
}

static int take_out(ApiCall *call, const JsonField *fields, Error *error)
{
    MemberBody body = {0};
    int r = body_dispatch(call, fields, &body, error);
    if (r >= 0)
        r = remove_row(call, &body, error);
    if (r == 0)
        return error_set(error, ERROR_NOT_FOUND, "That is not a member of this tenant.");
    if (r >= 0)
        r = end_sessions(call, &body, error);
    if (r < 0)
        return r;
    name_object(call, &body);
    answer_empty(call);
    return 0;
}

static int put_user(ApiCall *call, Error *error)
{
    return put(call, user_fields, error);
}

static int delete_user(ApiCall *call, Error *error)
{
    return take_out(call, user_fields, error);
}

static int put_group(ApiCall *call, Error *error)
{
    return put(call, group_fields, error);
}

static int delete_group(ApiCall *call, Error *error)
{
    return take_out(call, group_fields, error);
}

const ApiRoute routes_tenants[] = {
    ROUTE(GET, "/tenants", TENANT_LIST, NO_TENANT, READ, NO_BODY, list_tenants, NULL, 200,
          "Tenants one belongs to; all for who may act in all", .query = query_page,
          .columns = columns_tenants),
    ROUTE(PUT, "/tenants/users", TENANT_ADD_USER, NO_TENANT, WRITE, JSON_BODY, put_user, "tenant_add_user",
          201, "Puts an account into a tenant", .fields = user_fields),
    ROUTE(PATCH, "/tenants/users", TENANT_UPDATE_USER, NO_TENANT, WRITE, JSON_BODY, put_user,
          "tenant_update_user", 200, "Changes an account's role in a tenant", .fields = user_fields),
    ROUTE(DELETE, "/tenants/users", TENANT_REMOVE_USER, NO_TENANT, WRITE, JSON_BODY, delete_user,
          "tenant_remove_user", 204, "Takes an account out of a tenant", .fields = user_fields),
    ROUTE(PUT, "/tenants/user-groups", TENANT_ADD_GROUP, NO_TENANT, WRITE, JSON_BODY, put_group,
          "tenant_add_group", 201, "Puts a group into a tenant", .fields = group_fields),
    ROUTE(PATCH, "/tenants/user-groups", TENANT_UPDATE_GROUP, NO_TENANT, WRITE, JSON_BODY, put_group,
          "tenant_update_group", 200, "Changes a group's role in a tenant", .fields = group_fields),
    ROUTE(DELETE, "/tenants/user-groups", TENANT_REMOVE_GROUP, NO_TENANT, WRITE, JSON_BODY, delete_group,
          "tenant_remove_group", 204, "Takes a group out of a tenant", .fields = group_fields),
    ROUTE(GET, "/tenants/{name}", TENANT_LIST, NO_TENANT, READ, NO_BODY, get_tenant, NULL, 200,
          "A tenant with its members"),
    ROUTE(POST, "/tenants/{name}", TENANT_CREATE, NO_TENANT, WRITE, JSON_BODY, post_tenant, "tenant_create",
          201, "Makes a tenant", .fields = tenant_fields),
    ROUTE(DELETE, "/tenants/{name}", TENANT_DELETE, NO_TENANT, WRITE, NO_BODY, delete_tenant, "tenant_delete",
          204, "Removes an empty tenant"),
    {0},
};
