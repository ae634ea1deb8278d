/* SPDX-License-Identifier: Apache-2.0 */
/* Groups of accounts: what they are, who is in them, in which tenants they are. */

#include "api/authority.h"
#include "api/sessions.h"
#include "base/string.h"

static bool wants_data(ApiCall *call)
{
    bool is_wanted = false;
    return string_to_bool(query_or_empty(call, "_get_data"), &is_wanted) >= 0 && is_wanted;
}

static int write_members(ApiCall *call, Writer *writer, const char *group, Error *error)
{
    GroupMembersListRow *rows;
    size_t count;
    int r = statement_group_members_list(
        call->transaction, &(GroupMembersListParameters){.group_name = group}, &rows, &count, error);
    writer_begin_array(writer, "users");
    for (size_t i = 0; r >= 0 && i < count; i++)
        writer_string(writer, NULL, rows[i].username);
    writer_end_array(writer);
    return r;
}

static int write_tenants(ApiCall *call, Writer *writer, const char *group, bool in_full, Error *error)
{
    GroupTenantsListRow *rows;
    size_t count;
    int r = statement_group_tenants_list(
        call->transaction, &(GroupTenantsListParameters){.group_name = group}, &rows, &count, error);
    if (r < 0)
        return r;
    if (!in_full) {
        writer_integer(writer, "tenants", (int64_t)count);
        return 0;
    }
    writer_begin_object(writer, "tenants");
    for (size_t i = 0; i < count; i++)
        writer_string(writer, rows[i].tenant, rows[i].role);
    writer_end_object(writer);
    return 0;
}

static int write_group(ApiCall *call, Writer *writer, const UserGroupListRow *row, bool in_full, Error *error)
{
    writer_begin_object(writer, NULL);
    writer_string(writer, "name", row->name);
    writer_string(writer, "ldap_dn", *row->ldap_group_dn ? row->ldap_group_dn : NULL);
    writer_string(writer, "role", *row->role ? row->role : NULL);
    writer_time(writer, "created_at", row->created_at);
    int r = 0;
    if (in_full)
        r = write_members(call, writer, row->name, error);
    else
        writer_integer(writer, "users", row->member_count);
    if (r >= 0)
        r = write_tenants(call, writer, row->name, in_full, error);
    writer_end_object(writer);
    return MIN(r, writer->status);
}

static int list_groups(ApiCall *call, Error *error)
{
    Page page;
    UserGroupListRow *rows;
    UserGroupCountRow total;
    size_t count;
    int r = page_read(call, &page, error);
    if (r >= 0)
        r = statement_user_group_list(call->transaction,
                                      &(UserGroupListParameters){.maximum = page.size, .offset = page.offset},
                                      &rows, &count, error);
    if (r >= 0)
        r = statement_user_group_count(call->transaction, &total, error);
    if (r < 0)
        return r;
    Writer writer = list_begin(call);
    for (size_t i = 0; r >= 0 && i < count; i++)
        r = write_group(call, &writer, &rows[i], wants_data(call), error);
    list_end(call, &writer, &page, total.total);
    return r < 0 ? r : writer.status;
}

static int answer_group(ApiCall *call, const char *name, Error *error)
{
    UserGroupGetRow row;
    int r = statement_user_group_get(call->transaction, &(UserGroupGetParameters){.name = name}, &row, error);
    if (r <= 0)
        return r < 0 ? r : error_set(error, ERROR_NOT_FOUND, "There is no group '%s'.", name);
    call->audit_object = arena_format(call->arena, "user_group:%s", name);
    Writer writer = writer_new(&call->answer);
    return write_group(call, &writer,
                       &(UserGroupListRow){.name = row.name,
                                           .ldap_group_dn = row.ldap_group_dn,
                                           .role = row.role,
                                           .created_at = row.created_at},
                       true, error);
}

static int get_group(ApiCall *call, Error *error)
{
    return answer_group(call, call->parameters[0], error);
}

typedef struct GroupBody {
    const char *group_name, *ldap_group_dn, *role;
} GroupBody;

static const JsonField group_fields[] = {
    {"group_name", JSON_FIELD_STRING, offsetof(GroupBody, group_name),
     JSON_FIELD_REQUIRED | JSON_FIELD_IDENTIFIER, 1, 255, "its name"},
    {"ldap_group_dn", JSON_FIELD_STRING, offsetof(GroupBody, ldap_group_dn), JSON_FIELD_NULLABLE, 1, 1024,
     "the group of a directory that it stands for"},
    {"role", JSON_FIELD_STRING, offsetof(GroupBody, role), JSON_FIELD_NULLABLE, 1, 64,
     "the system role of its members; none when absent"},
    {0},
};
static const JsonField group_change_fields[] = {
    {"ldap_group_dn", JSON_FIELD_STRING, offsetof(GroupBody, ldap_group_dn), 0, 0, 1024,
     "the group of a directory; \"\" for none"},
    {"role", JSON_FIELD_STRING, offsetof(GroupBody, role), 0, 0, 64, "the system role; \"\" for none"},
    {0},
};

/* A group of a directory stands for one group here. */
static int check_dn(ApiCall *call, const char *group, const char *dn, Error *error)
{
    UserGroupFindByDnRow row;
    if (string_is_empty(dn))
        return 0;
    int r = statement_user_group_find_by_dn(call->transaction,
                                            &(UserGroupFindByDnParameters){.ldap_group_dn = dn}, &row, error);
    if (r <= 0 || string_equal(row.name, group))
        return MIN(r, 0);
    return error_set_field(error, ERROR_CONFLICT, "ldap_group_dn", "The group '%s' stands for it already.",
                           row.name);
}

static int post_group(ApiCall *call, Error *error)
{
    GroupBody body = {0};
    int r = body_dispatch(call, group_fields, &body, error);
    if (r >= 0 && string_equal(body.group_name, "users"))
        r = error_set_field(error, ERROR_BAD_FIELD, "group_name", "'users' is a reserved word.");
    if (r >= 0 && body.role)
        r = authority_over_role(call, body.role, NULL, error);
    if (r >= 0)
        r = check_dn(call, body.group_name, body.ldap_group_dn, error);
    if (r >= 0)
        r = statement_user_group_insert(
            call->transaction,
            &(UserGroupInsertParameters){.name = body.group_name,
                                         .ldap_group_dn = body.ldap_group_dn ?: "",
                                         .role = body.role ?: "",
                                         .created_at = (int64_t)store_now(call->transaction)},
            error);
    if (r < 0) {
        if (error->code == ERROR_CONFLICT && !*error->field)
            error_prefix(error, "The group '%s'", body.group_name);
        return r;
    }
    return answer_group(call, body.group_name, error);
}

static int post_group_change(ApiCall *call, Error *error)
{
    GroupBody body = {0};
    UserGroupGetRow row;
    const char *name = call->parameters[0];
    int r = body_dispatch(call, group_change_fields, &body, error);
    if (r >= 0) /* also who takes a role away has it */
        r = authority_over_group(call, name, error);
    if (r >= 0)
        r = statement_user_group_get(call->transaction, &(UserGroupGetParameters){.name = name}, &row, error);
    if (r >= 0 && !string_is_empty(body.role))
        r = authority_over_role(call, body.role, NULL, error);
    if (r >= 0)
        r = check_dn(call, name, body.ldap_group_dn, error);
    if (r >= 0)
        r = statement_user_group_update(
            call->transaction,
            &(UserGroupUpdateParameters){.name = name,
                                         .ldap_group_dn = body.ldap_group_dn ?: row.ldap_group_dn,
                                         .role = body.role ?: row.role},
            error);
    if (r >= 0 && body.role)
        r = sessions_end_of_group(call, name, error);
    return r < 0 ? r : answer_group(call, name, error);
}

/* Only an empty one, so that nobody loses rights unseen; what it was given goes with it. */
static int delete_group(ApiCall *call, Error *error)
{
    const char *name = call->parameters[0];
    int r = authority_over_group(call, name, error);
    if (r >= 0)
        r = statement_grants_delete_of_subject(
            call->transaction, &(GrantsDeleteOfSubjectParameters){.subject_kind = "group", .subject = name},
            error);
    if (r >= 0)
        r = statement_user_group_delete(call->transaction, &(UserGroupDeleteParameters){.name = name}, error);
    if (r < 0 && error->code == ERROR_BAD_REFERENCE) {
        error_clear(error);
        return error_set(error, ERROR_CONFLICT, "The group '%s' still has members or is in tenants.", name);
    }
    if (r < 0)
        return r;
    call->audit_object = arena_format(call->arena, "user_group:%s", name);
    answer_empty(call);
    return 0;
}

/* Members
 * ----------------------------------------------------------------------------------------------------------------
 */

typedef struct MemberBody {
    const char *username, *group_name;
} MemberBody;

static const JsonField member_fields[] = {
    {"username", JSON_FIELD_STRING, offsetof(MemberBody, username),
     JSON_FIELD_REQUIRED | JSON_FIELD_IDENTIFIER, 1, 255, "the account"},
    {"group_name", JSON_FIELD_STRING, offsetof(MemberBody, group_name),
     JSON_FIELD_REQUIRED | JSON_FIELD_IDENTIFIER, 1, 255, "the group"},
    {0},
};

static void name_member(ApiCall *call, const MemberBody *body)
{
    call->audit_object = arena_format(call->arena, "user_group:%s user:%s", body->group_name, body->username);
}

static int put_member(ApiCall *call, Error *error)
{
    MemberBody body = {0};
    int r = body_dispatch(call, member_fields, &body, error);
    if (r >= 0)
        r = authority_over_group(call, body.group_name, error);
    if (r >= 0)
        r = statement_group_member_add(
            call->transaction,
            &(GroupMemberAddParameters){.group_name = body.group_name, .username = body.username}, error);
    if (r >= 0)
        r = sessions_end(call, body.username, error);
    if (r < 0 && error->code == ERROR_BAD_REFERENCE) {
        error_clear(error);
        return error_set(error, ERROR_NOT_FOUND, "There is no account '%s'.", body.username);
    }
    if (r >= 0)
        r = answer_group(call, body.group_name, error);
    name_member(call, &body);
    return r;
}

static int delete_member(ApiCall *call, Error *error)
{
    MemberBody body = {0};
    int r = body_dispatch(call, member_fields, &body, error);
    if (r >= 0)
        r = authority_over_group(call, body.group_name, error);
    if (r >= 0)
        r = statement_group_member_remove(
            call->transaction,
            &(GroupMemberRemoveParameters){.group_name = body.group_name, .username = body.username}, error);
    if (r < 0)
        return r;
    if (r == 0)
        return error_set(error, ERROR_NOT_FOUND, "The account is not a member of this group.");
    r = sessions_end(call, body.username, error);
    if (r < 0)
        return r;
    name_member(call, &body);
    answer_empty(call);
    return 0;
}

/* What an account has through its groups
 * ----------------------------------------------------------------------------------------------------------------
 */

/* {tenant: {role: [groups]}}; the rows come in that order. */
static void write_roles_of_user(Writer *writer, const GroupRolesOfUserRow *rows, size_t count)
{
    for (size_t i = 0, next; i < count; i = next) {
        writer_begin_object(writer, rows[i].tenant);
        for (next = i; next < count && string_equal(rows[next].tenant, rows[i].tenant);) {
            const char *role = rows[next].role;
            writer_begin_array(writer, role);
            for (; next < count && string_equal(rows[next].tenant, rows[i].tenant) &&
                   string_equal(rows[next].role, role);
                 next++)
                writer_string(writer, NULL, rows[next].group_name);
            writer_end_array(writer);
        }
        writer_end_object(writer);
    }
}

int write_groups_of_user(ApiCall *call, Writer *writer, const char *username, Error *error)
{
    GroupsOfUserRow *groups;
    MembershipsOfUserRow *direct;
    GroupRolesOfUserRow *through;
    size_t group_count, direct_count, through_count;
    StoreTransaction *transaction = call->transaction;
    int r = statement_groups_of_user(transaction, &(GroupsOfUserParameters){.username = username}, &groups,
                                     &group_count, error);
    if (r >= 0)
        r = statement_memberships_of_user(transaction, &(MembershipsOfUserParameters){.username = username},
                                          &direct, &direct_count, error);
    if (r >= 0)
        r = statement_group_roles_of_user(transaction, &(GroupRolesOfUserParameters){.username = username},
                                          &through, &through_count, error);
    if (r < 0)
        return r;
    writer_begin_array(writer, "groups");
    for (size_t i = 0; i < group_count; i++)
        writer_string(writer, NULL, groups[i].name);
    writer_end_array(writer);
    writer_begin_object(writer, "group_system_roles");
    for (size_t i = 0; i < group_count; i++)
        if (*groups[i].role)
            writer_string(writer, groups[i].name, groups[i].role);
    writer_end_object(writer);
    writer_begin_object(writer, "tenant_roles");
    writer_begin_object(writer, "direct");
    for (size_t i = 0; i < direct_count; i++)
        writer_string(writer, direct[i].tenant, direct[i].role);
    writer_end_object(writer);
    writer_begin_object(writer, "groups");
    write_roles_of_user(writer, through, through_count);
    writer_end_object(writer);
    writer_end_object(writer);
    return 0;
}

const ApiRoute routes_groups[] = {
    ROUTE(GET, "/user-groups", USER_GROUP_LIST, NO_TENANT, READ, NO_BODY, list_groups, NULL, 200,
          "Groups of accounts", .query = query_page, .columns = columns_groups),
    ROUTE(POST, "/user-groups", USER_GROUP_CREATE, NO_TENANT, WRITE, JSON_BODY, post_group,
          "user_group_create", 201, "Makes a group", .fields = group_fields),
    ROUTE(PUT, "/user-groups/users", USER_GROUP_ADD_USER, NO_TENANT, WRITE, JSON_BODY, put_member,
          "user_group_add_user", 200, "Puts an account into a group", .fields = member_fields,
          .shown_by = "/user-groups/{name}", .shown_member = "group_name"),
    ROUTE(DELETE, "/user-groups/users", USER_GROUP_REMOVE_USER, NO_TENANT, WRITE, JSON_BODY, delete_member,
          "user_group_remove_user", 204, "Takes an account out of a group", .fields = member_fields,
          .shown_by = "/user-groups/{name}", .shown_member = "group_name"),
    ROUTE(GET, "/user-groups/{name}", USER_GROUP_GET, NO_TENANT, READ, NO_BODY, get_group, NULL, 200,
          "A group with its members and tenants"),
    ROUTE(POST, "/user-groups/{name}", USER_GROUP_UPDATE, NO_TENANT, WRITE, JSON_BODY, post_group_change,
          "user_group_update", 200, "Changes a group's system role or its group of a directory",
          .fields = group_change_fields),
    ROUTE(DELETE, "/user-groups/{name}", USER_GROUP_DELETE, NO_TENANT, WRITE, NO_BODY, delete_group,
          "user_group_delete", 204, "Removes a group without members"),
    {0},
};
