/* SPDX-License-Identifier: Apache-2.0 */
/* Tenants and who belongs to them. */

#include "api/api_internal.h"
#include "base/string.h"

static void write_tenant(Writer *writer, const TenantListRow *row)
{
    writer_begin_object(writer, NULL);
    writer_string(writer, "name", row->name);
    writer_string(writer, "description", row->description);
    writer_boolean(writer, "active", row->is_active);
    writer_time(writer, "created_at", row->created_at);
    writer_end_object(writer);
}

static int list_tenants(ApiCall *call, Error *error)
{
    Page page;
    int r = page_read(call, &page, error);
    if (r < 0)
        return r;
    TenantListRow *rows;
    size_t count;
    int64_t total;
    if (principal_has(&call->principal, PERMISSION_ALL_TENANTS)) {
        TenantCountRow counted;
        r = statement_tenant_list(call->transaction,
                                  &(TenantListParameters){.maximum = page.size, .offset = page.offset}, &rows,
                                  &count, error);
        if (r >= 0)
            r = statement_tenant_count(call->transaction, &counted, error);
        total = r >= 0 ? counted.total : 0;
    } else {
        TenantListOfUserRow *own;
        r = statement_tenant_list_of_user(call->transaction,
                                          &(TenantListOfUserParameters){.username = call->principal.username,
                                                                        .maximum = page.size,
                                                                        .offset = page.offset},
                                          &own, &count, error);
        rows = arena_allocate_array(call->arena, (r >= 0 ? count : 0) + 1, sizeof(*rows));
        for (size_t i = 0; r >= 0 && i < count; i++)
            rows[i] = (TenantListRow){own[i].name, own[i].description, own[i].created_at, own[i].is_active};
        total = r >= 0 ? page.offset + (int64_t)count : 0;
    }
    if (r < 0)
        return r;
    Writer writer = list_begin(call);
    for (size_t i = 0; i < count; i++)
        write_tenant(&writer, &rows[i]);
    list_end(call, &writer, &page, total);
    return writer.status;
}

/* For members and administrators; others learn nothing. */
static int find_tenant(ApiCall *call, const char *name, TenantGetRow *row, Error *error)
{
    int r = statement_tenant_get(call->transaction, &(TenantGetParameters){.name = name}, row, error);
    if (r == 1 && !principal_has(&call->principal, PERMISSION_ALL_TENANTS)) {
        MembershipGetRow membership;
        r = statement_membership_get(
            call->transaction,
            &(MembershipGetParameters){.tenant = name, .username = call->principal.username}, &membership,
            error);
    }
    if (r < 0)
        return r;
    return r == 1 ? 0 : error_set(error, ERROR_NOT_FOUND, "There is no tenant '%s'.", name);
}

static int write_tenant_in_full(ApiCall *call, const char *name, Error *error)
{
    TenantGetRow row;
    MembershipsOfTenantRow *members;
    size_t count;
    int r = find_tenant(call, name, &row, error);
    if (r >= 0)
        r = statement_memberships_of_tenant(
            call->transaction, &(MembershipsOfTenantParameters){.tenant = name}, &members, &count, error);
    if (r < 0)
        return r;
    Writer writer = writer_new(&call->answer);
    writer_begin_object(&writer, NULL);
    writer_string(&writer, "name", row.name);
    writer_string(&writer, "description", row.description);
    writer_boolean(&writer, "active", row.is_active);
    writer_time(&writer, "created_at", row.created_at);
    writer_begin_object(&writer, "users");
    for (size_t i = 0; i < count; i++)
        writer_string(&writer, members[i].username, members[i].role);
    writer_end_object(&writer);
    writer_end_object(&writer);
    return writer.status;
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

typedef struct MemberBody {
    const char *tenant_name, *username, *role;
} MemberBody;

static const JsonField member_fields[] = {
    {"tenant_name", JSON_FIELD_STRING, offsetof(MemberBody, tenant_name),
     JSON_FIELD_REQUIRED | JSON_FIELD_IDENTIFIER, 1, 255, "the tenant"},
    {"username", JSON_FIELD_STRING, offsetof(MemberBody, username),
     JSON_FIELD_REQUIRED | JSON_FIELD_IDENTIFIER, 1, 255, "the account"},
    {"role", JSON_FIELD_STRING, offsetof(MemberBody, role), JSON_FIELD_NULLABLE, 1, 32,
     "manager, user, operations or viewer"},
    {0},
};

static int put_member(ApiCall *call, Error *error)
{
    MemberBody body = {0};
    int r = body_dispatch(call, member_fields, &body, error);
    if (r < 0)
        return r;
    AccessRole role = body.role ? access_role_from_string(body.role) : ACCESS_ROLE_USER;
    if (role < 0 || !access_role_is_tenant(role))
        return error_set_field(error, ERROR_BAD_FIELD, "role",
                               "A tenant role is manager, user, operations or viewer.");
    r = statement_membership_put(call->transaction,
                                 &(MembershipPutParameters){.tenant = body.tenant_name,
                                                            .username = body.username,
                                                            .role = access_role_to_string(role)},
                                 error);
    if (r < 0 && error->code == ERROR_BAD_REFERENCE) {
        error_clear(error);
        return error_set(error, ERROR_NOT_FOUND, "There is no such tenant or account.");
    }
    if (r < 0)
        return r;
    call->audit_object = arena_format(call->arena, "tenant:%s user:%s", body.tenant_name, body.username);
    return write_tenant_in_full(call, body.tenant_name, error);
}

static int delete_member(ApiCall *call, Error *error)
{
    MemberBody body = {0};
    int r = body_dispatch(call, member_fields, &body, error);
    if (r >= 0)
        r = statement_membership_delete(
            call->transaction,
            &(MembershipDeleteParameters){.tenant = body.tenant_name, .username = body.username}, error);
    if (r < 0)
        return r;
    if (r == 0)
        return error_set(error, ERROR_NOT_FOUND, "The account is not a member of this tenant.");
    call->audit_object = arena_format(call->arena, "tenant:%s user:%s", body.tenant_name, body.username);
    answer_empty(call);
    return 0;
}

const ApiRoute routes_tenants[] = {
    ROUTE(GET, "/tenants", TENANT_LIST, NO_TENANT, READ, NO_BODY, list_tenants, NULL, 200,
          "Tenants one belongs to; all for administrators", .query = query_page),
    ROUTE(PUT, "/tenants/users", TENANT_MEMBERS, NO_TENANT, WRITE, JSON_BODY, put_member, "tenant_add_user",
          201, "Puts an account into a tenant", .fields = member_fields, .shown_by = "/tenants/{name}",
          .shown_member = "tenant_name"),
    ROUTE(PATCH, "/tenants/users", TENANT_MEMBERS, NO_TENANT, WRITE, JSON_BODY, put_member,
          "tenant_update_user", 200, "Changes an account's role in a tenant", .fields = member_fields,
          .shown_by = "/tenants/{name}", .shown_member = "tenant_name"),
    ROUTE(DELETE, "/tenants/users", TENANT_MEMBERS, NO_TENANT, WRITE, JSON_BODY, delete_member,
          "tenant_remove_user", 204, "Takes an account out of a tenant", .fields = member_fields,
          .shown_by = "/tenants/{name}", .shown_member = "tenant_name"),
    ROUTE(GET, "/tenants/{name}", TENANT_LIST, NO_TENANT, READ, NO_BODY, get_tenant, NULL, 200,
          "A tenant with its members"),
    ROUTE(POST, "/tenants/{name}", TENANT_CREATE, NO_TENANT, WRITE, JSON_BODY, post_tenant, "tenant_create",
          201, "Makes a tenant", .fields = tenant_fields),
    ROUTE(DELETE, "/tenants/{name}", TENANT_DELETE, NO_TENANT, WRITE, NO_BODY, delete_tenant, "tenant_delete",
          204, "Removes an empty tenant"),
    {0},
};
