/* SPDX-License-Identifier: Apache-2.0 */
/* What has an owner, a visibility and grants: finding what a request is about, and deciding (SV4, SV10,
 * SV11). What the caller may not see is answered exactly as what is not there. */

#include "api/resources.h"

#include "base/string.h"

const char *resource_kind_of_catalog(const char *catalog_kind)
{
    static const char *const kinds[_CATALOG_KIND_MAX] = {
        [CATALOG_PROVIDER] = "provider",         [CATALOG_HARDWARE_TYPE] = "hardware_type",
        [CATALOG_IMAGE_TYPE] = "image_type",     [CATALOG_SERVICE] = "service",
        [CATALOG_CLUSTER_TEMPLATE] = "template",
    };
    CatalogKind kind = catalog_kind_from_string(catalog_kind);
    return kind >= 0 ? kinds[kind] : NULL;
}

/* Finding
 * ----------------------------------------------------------------------------------------------------------------
 */

static int found(AccessObject *object, const char *kind, const char *id)
{
    object->kind = kind;
    object->id = id;
    return 1;
}

/* By id, or by name among those that are not terminated; the name is replaced by the id for the handler. */
static int find_cluster(ApiCall *call, AccessObject *object, Error *error)
{
    const char *id = call->parameters[0];
    ResourceGetRow row;
    int r = statement_resource_get(
        call->transaction, &(ResourceGetParameters){.tenant = call->tenant, .kind = "cluster", .id = id},
        &row, error);
    if (r == 0) {
        ClusterFindByNameRow named;
        r = statement_cluster_find_by_name(call->transaction,
                                           &(ClusterFindByNameParameters){.tenant = call->tenant, .name = id},
                                           &named, error);
        if (r == 1)
            id = call->parameters[0] = arena_string(call->arena, named.id);
    }
    return r == 1 ? found(object, "cluster", id) : r;
}

static int find_node(ApiCall *call, AccessObject *object, Error *error)
{
    NodeClusterRow row;
    int r = statement_node_cluster(
        call->transaction, &(NodeClusterParameters){.tenant = call->tenant, .id = call->parameters[0]}, &row,
        error);
    return r == 1 ? found(object, "cluster", arena_string(call->arena, row.cluster_id)) : r;
}

static int find_cluster_of_execution(ApiCall *call, const char *id, AccessObject *object, Error *error)
{
    ExecutionClusterRow row;
    int r = statement_execution_cluster(
        call->transaction, &(ExecutionClusterParameters){.tenant = call->tenant, .id = id}, &row, error);
    return r == 1 ? found(object, "cluster", arena_string(call->arena, row.cluster_id)) : r;
}

static int find_execution(ApiCall *call, AccessObject *object, Error *error)
{
    return find_cluster_of_execution(call, call->parameters[0], object, error);
}

static int find_execution_of_query(ApiCall *call, AccessObject *object, Error *error)
{
    const char *id = query_or_empty(call, "execution_id");
    if (!*id && !principal_has(&call->principal, call->route->permission))
        return 0;
    if (!*id)
        return error_set_field(error, ERROR_BAD_REQUEST, "execution_id",
                               "Say of which execution: execution_id=ID.");
    return find_cluster_of_execution(call, id, object, error);
}

static int find_operation(ApiCall *call, AccessObject *object, Error *error)
{
    char execution_id[ID_SIZE];
    int64_t number;
    if (!engine_task_parse(call->parameters[0], execution_id, &number))
        return 0;
    return find_cluster_of_execution(call, execution_id, object, error);
}

static int find_document(ApiCall *call, AccessObject *object, Error *error)
{
    (void)error;
    const char *kind = resource_kind_of_catalog(call->parameters[0]);
    return kind ? found(object, kind, call->parameters[1]) : 0;
}

static int find_bundle(ApiCall *call, AccessObject *object, Error *error)
{
    (void)error;
    return found(object, "bundle", call->parameters[0]);
}

const RouteObject object_cluster = {.name = "cluster", .find = find_cluster};
const RouteObject object_node = {.name = "node", .find = find_node};
const RouteObject object_execution = {.name = "execution", .find = find_execution};
const RouteObject object_execution_of_query = {.name = "execution", .find = find_execution_of_query};
const RouteObject object_operation = {.name = "operation", .find = find_operation};
const RouteObject object_document = {.name = "document", .find = find_document, .can_be_global = true};
const RouteObject object_new_document = {
    .name = "document", .find = find_document, .can_be_global = true, .can_be_new = true};
static int find_secret(ApiCall *call, AccessObject *object, Error *error)
{
    (void)error;
    return found(object, "secret", call->parameters[0]);
}

const RouteObject object_secret = {.name = "secret", .find = find_secret, .can_be_global = true};
const RouteObject object_new_secret = {.name = "secret", .find = find_secret, .can_be_new = true};
const RouteObject object_bundle = {.name = "bundle", .find = find_bundle};

/* Deciding
 * ----------------------------------------------------------------------------------------------------------------
 */

/* Its row in the tenant of the request, or the global one of another; 0 when there is neither. */
static int read_resource(StoreTransaction *transaction, Arena *arena, bool can_be_global,
                         AccessObject *object, Error *error)
{
    ResourceGetRow row;
    int r = statement_resource_get(
        transaction,
        &(ResourceGetParameters){.tenant = object->tenant, .kind = object->kind, .id = object->id}, &row,
        error);
    if (r == 1) {
        object->owner = arena_string(arena, row.owner);
        object->visibility = visibility_from_string(row.visibility);
    } else if (r == 0 && can_be_global) {
        ResourceGetGlobalRow global;
        r = statement_resource_get_global(
            transaction, &(ResourceGetGlobalParameters){.kind = object->kind, .id = object->id}, &global,
            error);
        if (r == 1) {
            object->tenant = arena_string(arena, global.tenant);
            object->owner = arena_string(arena, global.owner);
            object->visibility = VISIBILITY_GLOBAL;
        }
    }
    return r;
}

/* Grants matter only where nothing else answers. */
static bool needs_grants(const Principal *principal, Permission permission, const AccessObject *object)
{
    if (!principal_has(principal, permission))
        return true;
    return object->visibility == VISIBILITY_PRIVATE && !string_equal(object->owner, principal->username) &&
           !principal_has(principal, PERMISSION_ADMINISTRATORS);
}

int resource_grants(StoreTransaction *transaction, const char *username, AccessObject *object, Error *error)
{
    GrantsOfAccountRow *rows;
    size_t count;
    int r = statement_grants_of_account(
        transaction,
        &(GrantsOfAccountParameters){
            .tenant = object->tenant, .kind = object->kind, .id = object->id, .username = username},
        &rows, &count, error);
    object->rights = 0;
    for (size_t i = 0; i < count && r >= 0; i++)
        object->rights |= (unsigned)rows[i].rights & GRANT_ALL;
    return MIN(r, 0);
}

static int missing(ApiCall *call, const RouteObject *what, Error *error)
{
    if (what->find == find_document)
        return error_set(error, ERROR_NOT_FOUND, "There is no '%s' among the %s.", call->parameters[1],
                         call->parameters[0]);
    const char *name = call->parameters[0] ?: query_or_empty(call, "execution_id");
    return error_set(error, ERROR_NOT_FOUND, "There is no %s '%s'.", what->name, name);
}

/* 1 = there is one and object is complete, 0 = there is none. */
static int read_object(ApiCall *call, Permission permission, bool can_be_global, AccessObject *object,
                       Error *error)
{
    int r = read_resource(call->transaction, call->arena, can_be_global, object, error);
    if (r == 1 && string_equal(object->tenant, call->tenant) &&
        needs_grants(&call->principal, permission, object)) {
        int failure = resource_grants(call->transaction, call->principal.username, object, error);
        r = failure < 0 ? failure : 1;
    }
    return r;
}

int api_object_require(ApiCall *call, const RouteObject *what, Permission permission, Error *error)
{
    const char *asked = call->parameters[0];
    AccessObject object = {.tenant = call->tenant};
    int r = what->find(call, &object, error);
    if (r == 1)
        r = read_object(call, permission, what->can_be_global, &object, error);
    if (r < 0)
        return r;
    AccessVerdict verdict = access_decide(&call->principal, permission, r == 1 ? &object : NULL);
    if (verdict.rule == ACCESS_RULE_HIDDEN || (r == 0 && verdict.is_allowed && !what->can_be_new)) {
        call->parameters[0] = asked;
        return missing(call, what, error);
    }
    if (r == 1 && verdict.is_allowed)
        call->object = object;
    return access_verdict_to_error(&verdict, &object, error);
}

int resource_require_document(ApiCall *call, const char *kind, const char *name, Error *error)
{
    AccessObject object = {.tenant = call->tenant, .kind = kind, .id = name};
    int r = read_object(call, PERMISSION_CATALOG_WRITE, true, &object, error);
    if (r < 0)
        return r;
    AccessVerdict verdict =
        access_decide(&call->principal, PERMISSION_CATALOG_WRITE, r == 1 ? &object : NULL);
    return access_verdict_to_error(&verdict, &object, error);
}

int resource_read(ApiCall *call, AccessObject *object, Error *error)
{
    return read_resource(call->transaction, call->arena, true, object, error);
}

bool viewer_sees_private(const ApiCall *call)
{
    return principal_has(&call->principal, PERMISSION_ADMINISTRATORS);
}

/* Rows
 * ----------------------------------------------------------------------------------------------------------------
 */

int resource_add(ApiCall *call, const char *kind, const char *id, Error *error)
{
    int64_t now = (int64_t)store_now(call->transaction);
    const char *owner = call->principal.username;
    int r = statement_resource_insert(call->transaction,
                                      &(ResourceInsertParameters){.tenant = call->tenant,
                                                                  .kind = kind,
                                                                  .id = id,
                                                                  .owner = owner,
                                                                  .visibility = "tenant",
                                                                  .created_at = now},
                                      error);
    if (r >= 0)
        r = statement_grant_put(call->transaction,
                                &(GrantPutParameters){.tenant = call->tenant,
                                                      .kind = kind,
                                                      .id = id,
                                                      .subject_kind = "user",
                                                      .subject = owner,
                                                      .rights = GRANT_GRANT,
                                                      .granted_by = owner,
                                                      .created_at = now},
                                error);
    return MIN(r, 0);
}

int resource_remove(ApiCall *call, const char *kind, const char *id, Error *error)
{
    int r = statement_grants_delete_of_resource(
        call->transaction,
        &(GrantsDeleteOfResourceParameters){.tenant = call->tenant, .kind = kind, .id = id}, error);
    if (r >= 0)
        r = statement_resource_delete(
            call->transaction, &(ResourceDeleteParameters){.tenant = call->tenant, .kind = kind, .id = id},
            error);
    return MIN(r, 0);
}
