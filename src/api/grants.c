/* SPDX-License-Identifier: Apache-2.0 */
/* Visibility of objects and grants on them (SV4, SV5, SV11): given and taken by who administers the tenant or
 * holds the right to grant on that object; nobody gives what he does not have there. */

#include "api/resources.h"
#include "api/rights.h"
#include "base/string.h"

static const struct RightName {
    unsigned right;
    const char *name;
} right_names[] = {{GRANT_READ, "read"}, {GRANT_USE, "use"}, {GRANT_WRITE, "write"}, {GRANT_GRANT, "grant"}};

static void name_object(ApiCall *call)
{
    call->audit_object = arena_format(call->arena, "%s:%s", call->object.kind, call->object.id);
}

/* Visibility
 * ----------------------------------------------------------------------------------------------------------------
 */

typedef struct VisibilityBody {
    const char *visibility;
} VisibilityBody;

static const JsonField visibility_fields[] = {
    {"visibility", JSON_FIELD_STRING, offsetof(VisibilityBody, visibility), JSON_FIELD_REQUIRED, 1, 16,
     "private, tenant or global"},
    {0},
};

/* Credentials, machines and the approval of code are one tenant's; what only describes can be for all. */
static bool can_be_global(const char *kind)
{
    static const char *const kinds[] = {"hardware_type", "image_type", "service", "template"};
    for (size_t i = 0; i < ELEMENTSOF(kinds); i++)
        if (string_equal(kinds[i], kind))
            return true;
    return false;
}

static int check_global(ApiCall *call, Error *error)
{
    const AccessObject *object = &call->object;
    ResourceCountElsewhereRow row;
    if (!can_be_global(object->kind))
        return error_set_field(error, ERROR_BAD_FIELD, "visibility", "A %s cannot be global.", object->kind);
    AccessVerdict verdict = access_decide(&call->principal, PERMISSION_RESOURCE_SET_GLOBAL, object);
    int r = access_verdict_to_error(&verdict, object, error);
    if (r >= 0)
        r = statement_resource_count_elsewhere(call->transaction,
                                               &(ResourceCountElsewhereParameters){.tenant = object->tenant,
                                                                                   .kind = object->kind,
                                                                                   .id = object->id},
                                               &row, error);
    if (r < 0)
        return r;
    if (row.total > 0)
        return error_set(error, ERROR_CONFLICT, "The name '%s' is in use elsewhere.", object->id);
    return 0;
}

static int patch_visibility(ApiCall *call, Error *error)
{
    VisibilityBody body = {0};
    const AccessObject *object = &call->object;
    int r = body_dispatch(call, visibility_fields, &body, error);
    if (r < 0)
        return r;
    Visibility visibility = visibility_from_string(body.visibility);
    if (visibility < 0)
        return error_set_field(error, ERROR_BAD_FIELD, "visibility",
                               "A visibility is private, tenant or global.");
    if (visibility == VISIBILITY_GLOBAL)
        r = check_global(call, error);
    if (r >= 0)
        r = statement_resource_set_visibility(
            call->transaction,
            &(ResourceSetVisibilityParameters){.tenant = object->tenant,
                                               .kind = object->kind,
                                               .id = object->id,
                                               .visibility = visibility_to_string(visibility)},
            error);
    if (r < 0)
        return r;
    name_object(call);
    Writer writer = writer_new(&call->answer);
    writer_begin_object(&writer, NULL);
    writer_string(&writer, "kind", object->kind);
    writer_string(&writer, "id", object->id);
    writer_string(&writer, "owner", *object->owner ? object->owner : NULL);
    writer_string(&writer, "visibility", visibility_to_string(visibility));
    writer_end_object(&writer);
    return writer.status;
}

/* Grants
 * --------------------------------------------------------------------------------------------------------------------
 */

void grant_write_rights(Writer *writer, int64_t rights)
{
    writer_begin_array(writer, "rights");
    for (size_t i = 0; i < ELEMENTSOF(right_names); i++)
        if (rights & right_names[i].right)
            writer_string(writer, NULL, right_names[i].name);
    writer_end_array(writer);
}

static void write_grant(Writer *writer, const GrantsOfResourceRow *row)
{
    writer_begin_object(writer, NULL);
    writer_string(writer, "subject_kind", row->subject_kind);
    writer_string(writer, "subject", row->subject);
    grant_write_rights(writer, row->rights);
    writer_string(writer, "granted_by", row->granted_by);
    writer_time(writer, "created_at", row->created_at);
    writer_end_object(writer);
}

static int list_grants(ApiCall *call, Error *error)
{
    Page page;
    GrantsOfResourceRow *rows;
    GrantsCountRow total;
    size_t count;
    const AccessObject *object = &call->object;
    int r = page_read(call, &page, error);
    if (r >= 0)
        r = statement_grants_of_resource(call->transaction,
                                         &(GrantsOfResourceParameters){.tenant = object->tenant,
                                                                       .kind = object->kind,
                                                                       .id = object->id,
                                                                       .maximum = page.size,
                                                                       .offset = page.offset},
                                         &rows, &count, error);
    if (r >= 0)
        r = statement_grants_count(
            call->transaction,
            &(GrantsCountParameters){.tenant = object->tenant, .kind = object->kind, .id = object->id},
            &total, error);
    if (r < 0)
        return r;
    Writer writer = list_begin(call);
    for (size_t i = 0; i < count; i++)
        write_grant(&writer, &rows[i]);
    list_end(call, &writer, &page, total.total);
    return writer.status;
}

typedef struct GrantBody {
    const char *username, *group_name;
    json_t *rights;
} GrantBody;

#define SUBJECT_FIELDS                                                                                       \
    {"username",                                                                                             \
     JSON_FIELD_STRING,                                                                                      \
     offsetof(GrantBody, username),                                                                          \
     JSON_FIELD_IDENTIFIER,                                                                                  \
     1,                                                                                                      \
     255,                                                                                                    \
     "to an account; either this or group_name"},                                                            \
    {                                                                                                        \
        "group_name", JSON_FIELD_STRING, offsetof(GrantBody, group_name), JSON_FIELD_IDENTIFIER, 1, 255,     \
            "to a group"                                                                                     \
    }

static const JsonField grant_fields[] = {
    SUBJECT_FIELDS,
    {"rights", JSON_FIELD_STRING_ARRAY, offsetof(GrantBody, rights), JSON_FIELD_REQUIRED, 1, 4,
     "read, use, write, grant"},
    {0},
};
static const JsonField subject_fields[] = {SUBJECT_FIELDS, {0}};

static int read_rights(const json_t *names, unsigned *ret_rights, Error *error)
{
    size_t index;
    const json_t *name;
    *ret_rights = 0;
    json_array_foreach (names, index, name) {
        unsigned right = 0;
        for (size_t i = 0; i < ELEMENTSOF(right_names); i++)
            if (string_equal(json_string_value(name), right_names[i].name))
                right = right_names[i].right;
        if (!right)
            return error_set_field(error, ERROR_BAD_FIELD, "rights",
                                   "The rights are read, use, write and grant.");
        *ret_rights |= right;
    }
    return 0;
}

/* What the caller can do with the object, as rights that it can give. */
static int own_rights(ApiCall *call, unsigned *ret_rights, Error *error)
{
    static const struct {
        unsigned right;
        Permission documents, clusters, bundles;
    } map[] = {
        {GRANT_READ, PERMISSION_CATALOG_GET, PERMISSION_CLUSTER_GET, PERMISSION_BUNDLE_GET},
        {GRANT_USE, PERMISSION_CLUSTER_PLAN, PERMISSION_NODE_SSH, PERMISSION_CLUSTER_CREATE},
        {GRANT_WRITE, PERMISSION_CATALOG_WRITE, PERMISSION_CLUSTER_DELETE, PERMISSION_BUNDLE_UPLOAD},
        {GRANT_GRANT, PERMISSION_RESOURCE_GRANT, PERMISSION_RESOURCE_GRANT, PERMISSION_RESOURCE_GRANT},
    };
    AccessObject object = call->object;
    const Principal *principal = &call->principal;
    int r = resource_grants(call->transaction, principal->username, &object, error);
    if (r < 0)
        return r;
    *ret_rights = object.rights;
    bool is_seen_by_grant = object.visibility == VISIBILITY_PRIVATE &&
                            !string_equal(object.owner, principal->username) &&
                            !principal_has(principal, PERMISSION_ADMINISTRATORS);
    for (size_t i = 0; i < ELEMENTSOF(map) && !is_seen_by_grant; i++) {
        Permission permission = string_equal(object.kind, "cluster")  ? map[i].clusters
                                : string_equal(object.kind, "bundle") ? map[i].bundles
                                                                      : map[i].documents;
        if (principal_has(principal, permission))
            *ret_rights |= map[i].right;
    }
    return 0;
}

static int check_subject(const GrantBody *body, Error *error)
{
    if (!body->username == !body->group_name)
        return error_set_field(error, ERROR_BAD_FIELD, "username",
                               "A grant is to one: say username or group_name.");
    return 0;
}

/* Only to who is in the tenant: the answer tells nothing about other accounts. */
static int check_membership(ApiCall *call, const GrantBody *body, Error *error)
{
    GroupIsInTenantRow group = {0};
    AccessRights rights = {0};
    int r;
    if (body->group_name)
        r = statement_group_is_in_tenant(
            call->transaction,
            &(GroupIsInTenantParameters){.tenant = call->tenant, .group_name = body->group_name}, &group,
            error);
    else
        r = rights_load(call->transaction, call->arena, body->username, call->tenant, false, &rights, error);
    if (r < 0 || group.total > 0 || rights.is_member)
        return MIN(r, 0);
    return error_set(error, ERROR_NOT_FOUND, "The tenant has no member '%s'.",
                     body->group_name ?: body->username);
}

static int put_grant(ApiCall *call, Error *error)
{
    GrantBody body = {0};
    unsigned rights = 0, own = 0;
    const AccessObject *object = &call->object;
    int r = body_dispatch(call, grant_fields, &body, error);
    if (r >= 0)
        r = check_subject(&body, error);
    if (r >= 0)
        r = read_rights(body.rights, &rights, error);
    if (r >= 0)
        r = own_rights(call, &own, error);
    if (r >= 0 && (rights & ~own))
        r = error_set_field(error, ERROR_FORBIDDEN, "rights",
                            "Nobody gives rights on an object that he does not have there.");
    if (r >= 0)
        r = check_membership(call, &body, error);
    if (r < 0)
        return r;
    GrantPutParameters parameters = {.tenant = object->tenant,
                                     .kind = object->kind,
                                     .id = object->id,
                                     .subject_kind = body.group_name ? "group" : "user",
                                     .subject = body.group_name ?: body.username,
                                     .rights = rights,
                                     .granted_by = call->principal.username,
                                     .created_at = (int64_t)store_now(call->transaction)};
    r = statement_grant_put(call->transaction, &parameters, error);
    if (r < 0)
        return r;
    name_object(call);
    Writer writer = writer_new(&call->answer);
    write_grant(&writer, &(GrantsOfResourceRow){.subject_kind = parameters.subject_kind,
                                                .subject = parameters.subject,
                                                .rights = parameters.rights,
                                                .granted_by = parameters.granted_by,
                                                .created_at = parameters.created_at});
    return writer.status;
}

static int delete_grant(ApiCall *call, Error *error)
{
    GrantBody body = {0};
    const AccessObject *object = &call->object;
    int r = body_dispatch(call, subject_fields, &body, error);
    if (r >= 0)
        r = check_subject(&body, error);
    if (r >= 0)
        r = statement_grant_delete(
            call->transaction,
            &(GrantDeleteParameters){.tenant = object->tenant,
                                     .kind = object->kind,
                                     .id = object->id,
                                     .subject_kind = body.group_name ? "group" : "user",
                                     .subject = body.group_name ?: body.username},
            error);
    if (r < 0)
        return r;
    if (r == 0)
        return error_set(error, ERROR_NOT_FOUND, "There is no such grant.");
    name_object(call);
    answer_empty(call);
    return 0;
}

const ApiRoute routes_grants[] = {
    ROUTE(PATCH, "/catalog/{kind}/{name}/set-visibility", RESOURCE_SET_VISIBILITY, NEEDS_TENANT, WRITE,
          JSON_BODY, patch_visibility, "resource_set_visibility", 200, "Says who sees a document",
          .fields = visibility_fields, .object = &object_document),
    ROUTE(GET, "/catalog/{kind}/{name}/grants", RESOURCE_GRANT, NEEDS_TENANT, READ, NO_BODY, list_grants,
          NULL, 200, "Who was given rights on a document", .query = query_page, .columns = columns_grants,
          .object = &object_document),
    ROUTE(PUT, "/catalog/{kind}/{name}/grants", RESOURCE_GRANT, NEEDS_TENANT, WRITE, JSON_BODY, put_grant,
          "resource_grant", 200, "Gives rights on a document to an account or a group",
          .fields = grant_fields, .object = &object_document),
    ROUTE(DELETE, "/catalog/{kind}/{name}/grants", RESOURCE_GRANT, NEEDS_TENANT, WRITE, JSON_BODY,
          delete_grant, "resource_ungrant", 204, "Takes rights on a document away", .fields = subject_fields,
          .object = &object_document),
    ROUTE(PATCH, "/clusters/{id}/set-visibility", RESOURCE_SET_VISIBILITY, NEEDS_TENANT, WRITE, JSON_BODY,
          patch_visibility, "resource_set_visibility", 200, "Says who sees a cluster",
          .fields = visibility_fields, .object = &object_cluster),
    ROUTE(GET, "/clusters/{id}/grants", RESOURCE_GRANT, NEEDS_TENANT, READ, NO_BODY, list_grants, NULL, 200,
          "Who was given rights on a cluster", .query = query_page, .columns = columns_grants,
          .object = &object_cluster),
    ROUTE(PUT, "/clusters/{id}/grants", RESOURCE_GRANT, NEEDS_TENANT, WRITE, JSON_BODY, put_grant,
          "resource_grant", 200, "Gives rights on a cluster to an account or a group", .fields = grant_fields,
          .object = &object_cluster),
    ROUTE(DELETE, "/clusters/{id}/grants", RESOURCE_GRANT, NEEDS_TENANT, WRITE, JSON_BODY, delete_grant,
          "resource_ungrant", 204, "Takes rights on a cluster away", .fields = subject_fields,
          .object = &object_cluster),
    ROUTE(PATCH, "/bundles/{digest}/set-visibility", RESOURCE_SET_VISIBILITY, NEEDS_TENANT, WRITE, JSON_BODY,
          patch_visibility, "resource_set_visibility", 200, "Says who sees a bundle",
          .fields = visibility_fields, .object = &object_bundle),
    ROUTE(GET, "/bundles/{digest}/grants", RESOURCE_GRANT, NEEDS_TENANT, READ, NO_BODY, list_grants, NULL,
          200, "Who was given rights on a bundle", .query = query_page, .columns = columns_grants,
          .object = &object_bundle),
    ROUTE(PUT, "/bundles/{digest}/grants", RESOURCE_GRANT, NEEDS_TENANT, WRITE, JSON_BODY, put_grant,
          "resource_grant", 200, "Gives rights on a bundle to an account or a group", .fields = grant_fields,
          .object = &object_bundle),
    ROUTE(DELETE, "/bundles/{digest}/grants", RESOURCE_GRANT, NEEDS_TENANT, WRITE, JSON_BODY, delete_grant,
          "resource_ungrant", 204, "Takes rights on a bundle away", .fields = subject_fields,
          .object = &object_bundle),
    {0},
};
