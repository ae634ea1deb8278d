/* SPDX-License-Identifier: Apache-2.0 */
/* Why somebody may do something or not, and who may do what in a tenant (SV23): the same rules and rows as
 * the decision, said in words. */

#include "api/resources.h"
#include "api/rights.h"
#include "base/string.h"

enum { REVIEW_GRANTS_MAX = 1000 };

static const RouteQuery query_explain[] = {
    {"user", "whose right; one's own when absent", 0, 0},
    {"permission", "which permission; needed", 0, 0},
    {"kind", "of the object: provider, hardware_type, image_type, service, template, cluster, bundle", 0, 0},
    {"id", "of the object; a cluster's may be its name", 0, 0},
    {0},
};

static void write_held_roles(Writer *writer, const AccessRights *rights, Permission permission)
{
    writer_begin_array(writer, "roles");
    for (size_t i = 0; i < rights->role_count; i++) {
        const HeldRole *role = &rights->roles[i];
        writer_begin_object(writer, NULL);
        writer_string(writer, "role", role->role);
        writer_string(writer, "scope", role->is_tenant ? "tenant" : "system");
        writer_string(writer, "group", role->group);
        if (permission > PERMISSION_OPEN)
            writer_boolean(writer, "gives", permission_set_has(&role->permissions, permission));
        writer_end_object(writer);
    }
    writer_end_array(writer);
}

static void write_grants(Writer *writer, const ReviewGrantsRow *rows, size_t count,
                         const AccessObject *object)
{
    writer_begin_array(writer, "grants");
    for (size_t i = 0; i < count; i++) {
        if (object && (!string_equal(rows[i].kind, object->kind) || !string_equal(rows[i].id, object->id)))
            continue;
        writer_begin_object(writer, NULL);
        writer_string(writer, "kind", rows[i].kind);
        writer_string(writer, "id", rows[i].id);
        writer_string(writer, "group", string_equal(rows[i].subject_kind, "group") ? rows[i].subject : NULL);
        grant_write_rights(writer, rows[i].rights);
        writer_end_object(writer);
    }
    writer_end_array(writer);
}

/* Explain
 * -------------------------------------------------------------------------------------------------------------------
 */

/* About others: those who administer the tenant, about its members; those who may list accounts, about all.
 */
static int check_subject(ApiCall *call, const char *username, const AccessRights *rights, Error *error)
{
    const Principal *principal = &call->principal;
    if (string_equal(username, principal->username) || principal_has(principal, PERMISSION_USER_LIST))
        return rights->is_active
                   ? 0
                   : error_set(error, ERROR_NOT_FOUND, "There is no active account '%s'.", username);
    if (!principal_has(principal, PERMISSION_ADMINISTRATORS))
        return error_set(error, ERROR_FORBIDDEN,
                         "The rights of others are explained to those who administer the tenant.");
    if (!rights->is_member)
        return error_set(error, ERROR_NOT_FOUND, "The tenant has no member '%s'.", username);
    return 0;
}

static int find_cluster_id(ApiCall *call, const char **id, Error *error)
{
    ClusterFindByNameRow row;
    int r = statement_cluster_find_by_name(
        call->transaction, &(ClusterFindByNameParameters){.tenant = call->tenant, .name = *id}, &row, error);
    if (r == 1)
        *id = arena_string(call->arena, row.id);
    return r;
}

/* 1 = the object of the query is complete, 0 = there is none of that name. */
static int read_queried_object(ApiCall *call, const char *username, AccessObject *object, Error *error)
{
    *object = (AccessObject){
        .tenant = call->tenant, .kind = query_or_empty(call, "kind"), .id = query_or_empty(call, "id")};
    int r = resource_read(call, object, error);
    if (r == 0 && string_equal(object->kind, "cluster")) {
        r = find_cluster_id(call, &object->id, error);
        r = r == 1 ? resource_read(call, object, error) : r;
    }
    if (r != 1 || !string_equal(object->tenant, call->tenant))
        return r;
    int failure = resource_grants(call->transaction, username, object, error);
    return failure < 0 ? failure : 1;
}

typedef struct Explanation {
    const char *username;
    Permission permission;
    AccessRights rights;
    AccessObject object;
    bool has_object;
    AccessVerdict verdict;
} Explanation;

static int write_explanation(ApiCall *call, const Explanation *explanation, Error *error)
{
    ReviewGrantsRow *grants;
    size_t count;
    char text[256];
    const AccessVerdict *verdict = &explanation->verdict;
    int r = statement_review_grants(call->transaction,
                                    &(ReviewGrantsParameters){.tenant = call->tenant,
                                                              .username = explanation->username,
                                                              .maximum = REVIEW_GRANTS_MAX},
                                    &grants, &count, error);
    if (r < 0)
        return r;
    Writer writer = writer_new(&call->answer);
    writer_begin_object(&writer, NULL);
    writer_string(&writer, "username", explanation->username);
    writer_string(&writer, "tenant", call->tenant);
    writer_string(&writer, "permission", permission_describe(explanation->permission)->name);
    writer_string(&writer, "kind", explanation->has_object ? explanation->object.kind : NULL);
    writer_string(&writer, "id", explanation->has_object ? explanation->object.id : NULL);
    writer_boolean(&writer, "allowed", verdict->is_allowed);
    writer_string(&writer, "rule", access_rule_to_string(verdict->rule));
    writer_string(&writer, "text", access_verdict_text(verdict, text, sizeof(text)));
    write_held_roles(&writer, &explanation->rights, explanation->permission);
    bool is_seen = explanation->has_object && verdict->rule != ACCESS_RULE_HIDDEN;
    write_grants(&writer, grants, is_seen ? count : 0, &explanation->object);
    writer_end_object(&writer);
    return writer.status;
}

static int get_explanation(ApiCall *call, Error *error)
{
    const char *user = query_or_empty(call, "user");
    Explanation explanation = {.username = *user ? user : call->principal.username,
                               .permission = permission_from_string(query_or_empty(call, "permission")),
                               .has_object = *query_or_empty(call, "kind") != '\0'};
    if (explanation.permission < 0)
        return error_set_field(error, ERROR_BAD_REQUEST, "permission",
                               "Say which permission: permission=NAME.");
    AccessRights *rights = &explanation.rights;
    int r =
        rights_load(call->transaction, call->arena, explanation.username, call->tenant, true, rights, error);
    if (r >= 0)
        r = check_subject(call, explanation.username, rights, error);
    if (r < 0)
        return r;
    int found = 0;
    if (explanation.has_object)
        r = found = read_queried_object(call, explanation.username, &explanation.object, error);
    if (r < 0)
        return r;
    Principal principal = {.username = explanation.username,
                           .tenant = call->tenant,
                           .is_member = rights->is_member,
                           .rights = rights->permissions};
    AccessVerdict *verdict = &explanation.verdict;
    *verdict = access_decide(&principal, explanation.permission, found ? &explanation.object : NULL);
    if (explanation.has_object && !found &&
        verdict->is_allowed) /* nothing there looks like something hidden */
        *verdict = (AccessVerdict){.rule = ACCESS_RULE_HIDDEN, .permission = explanation.permission};
    return write_explanation(call, &explanation, error);
}

/* Review
 * --------------------------------------------------------------------------------------------------------------------
 */

static int write_account(ApiCall *call, Writer *writer, const ReviewAccountsRow *row, Error *error)
{
    AccessRights rights;
    ReviewGrantsRow *grants;
    ReviewOwnedRow owned;
    size_t count;
    int r = rights_load(call->transaction, call->arena, row->username, call->tenant, true, &rights, error);
    if (r >= 0)
        r = statement_review_grants(call->transaction,
                                    &(ReviewGrantsParameters){.tenant = call->tenant,
                                                              .username = row->username,
                                                              .maximum = REVIEW_GRANTS_MAX},
                                    &grants, &count, error);
    if (r >= 0)
        r = statement_review_owned(
            call->transaction, &(ReviewOwnedParameters){.tenant = call->tenant, .username = row->username},
            &owned, error);
    if (r < 0)
        return r;
    writer_begin_object(writer, NULL);
    writer_string(writer, "username", row->username);
    writer_boolean(writer, "active", row->is_active);
    write_held_roles(writer, &rights, PERMISSION_OPEN);
    writer_begin_array(writer, "permissions");
    for (unsigned p = PERMISSION_OPEN + 1; p < _PERMISSION_MAX; p++) {
        bool counts = permission_describe((Permission)p)->scope == ACCESS_SCOPE_SYSTEM || rights.is_member;
        if (counts && permission_set_has(&rights.permissions, (Permission)p))
            writer_string(writer, NULL, permission_describe((Permission)p)->name);
    }
    writer_end_array(writer);
    write_grants(writer, grants, count, NULL);
    writer_integer(writer, "owned_objects", owned.total);
    writer_end_object(writer);
    return writer->status;
}

static int get_review(ApiCall *call, Error *error)
{
    Page page;
    ReviewAccountsRow *rows;
    ReviewCountRow total;
    size_t count;
    /* Who administers the tenant sees its members; who may list accounts sees also those above it. */
    bool with_system = principal_has(&call->principal, PERMISSION_USER_LIST);
    int r = page_read(call, &page, error);
    if (r >= 0)
        r = statement_review_accounts(call->transaction,
                                      &(ReviewAccountsParameters){.tenant = call->tenant,
                                                                  .with_system = with_system,
                                                                  .maximum = page.size,
                                                                  .offset = page.offset},
                                      &rows, &count, error);
    if (r >= 0)
        r = statement_review_count(
            call->transaction, &(ReviewCountParameters){.tenant = call->tenant, .with_system = with_system},
            &total, error);
    if (r < 0)
        return r;
    Writer writer = list_begin(call);
    for (size_t i = 0; r >= 0 && i < count; i++)
        r = write_account(call, &writer, &rows[i], error);
    list_end(call, &writer, &page, total.total);
    return r < 0 ? r : writer.status;
}

const ApiRoute routes_explain[] = {
    ROUTE(GET, "/access/explain", ACCESS_EXPLAIN, NEEDS_TENANT, READ, NO_BODY, get_explanation, NULL, 200,
          "Which rule allows or denies, with the roles, groups and grants it came through",
          .query = query_explain),
    ROUTE(GET, "/access/review", ACCESS_REVIEW, NEEDS_TENANT, READ, NO_BODY, get_review, NULL, 200,
          "Who may do what in a tenant, and through what", .query = query_page),
    {0},
};
