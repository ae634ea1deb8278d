/* SPDX-License-Identifier: Apache-2.0 */
/* Catalog documents: list, read, write, check, export, import. */

#include <errno.h>

#include "api/catalog_store.h"
#include "api/resources.h"
#include "base/string.h"

enum { IMPORT_DOCUMENTS_MAX = 5000 };

static int read_kind(const char *text, CatalogKind *ret_kind, Error *error)
{
    *ret_kind = catalog_kind_from_string(text);
    if (*ret_kind >= 0)
        return 0;
    return error_set(error, ERROR_NOT_FOUND,
                     "There is no kind '%s'; the kinds are providers, hardwaretypes, imagetypes, services "
                     "and clustertemplates.",
                     text);
}

/* A kind that a body names, rather than the path. */
static int read_kind_member(const char *field, const char *text, CatalogKind *ret_kind, Error *error)
{
    int r = read_kind(text, ret_kind, error);
    if (r < 0 && error) {
        error->code = ERROR_BAD_FIELD;
        (void)string_copy(error->field, sizeof(error->field), field);
    }
    return r;
}

static int list_documents(ApiCall *call, Error *error)
{
    Page page;
    CatalogKind kind;
    CatalogListRow *rows;
    CatalogCountRow total;
    size_t count;
    int r = read_kind(call->parameters[0], &kind, error);
    if (r >= 0)
        r = page_read(call, &page, error);
    if (r >= 0)
        r = statement_catalog_list(
            call->transaction,
            &(CatalogListParameters){.sees_private = viewer_sees_private(call),
                                     .username = call->principal.username,
                                     .right = GRANT_ALL,
                                     .tenant = call->tenant,
                                     .kind = call->parameters[0],
                                     .resource_kind = resource_kind_of_catalog(call->parameters[0]),
                                     .maximum = page.size,
                                     .offset = page.offset},
            &rows, &count, error);
    if (r >= 0)
        r = statement_catalog_count(
            call->transaction,
            &(CatalogCountParameters){.sees_private = viewer_sees_private(call),
                                      .username = call->principal.username,
                                      .right = GRANT_ALL,
                                      .tenant = call->tenant,
                                      .kind = call->parameters[0],
                                      .resource_kind = resource_kind_of_catalog(call->parameters[0])},
            &total, error);
    if (r < 0)
        return r;
    Writer writer = list_begin(call);
    for (size_t i = 0; i < count; i++) {
        writer_begin_object(&writer, NULL);
        writer_string(&writer, "name", rows[i].name);
        writer_integer(&writer, "version", rows[i].version);
        writer_string(&writer, "description", rows[i].description);
        writer_string(&writer, "digest", rows[i].digest);
        writer_time(&writer, "created_at", rows[i].created_at);
        writer_string(&writer, "created_by", *rows[i].created_by ? rows[i].created_by : NULL);
        writer_string(&writer, "visibility", rows[i].visibility);
        writer_end_object(&writer);
    }
    list_end(call, &writer, &page, total.total);
    return writer.status;
}

/* Who made what is there for all tenants is known in its own only. */
static void write_document(const ApiCall *call, Writer *writer, const CatalogGetLatestRow *row)
{
    bool is_own = string_equal(call->object.tenant, call->tenant);
    writer_begin_object(writer, NULL);
    writer_string(writer, "name", row->name);
    writer_string(writer, "kind", row->kind);
    writer_integer(writer, "version", row->version);
    writer_string(writer, "digest", row->digest);
    writer_time(writer, "created_at", row->created_at);
    writer_string(writer, "created_by", is_own ? row->created_by : NULL);
    writer_string(writer, "visibility", visibility_to_string(call->object.visibility));
    writer_raw(writer, "document", row->body);
    writer_end_object(writer);
}

static int get_document(ApiCall *call, Error *error)
{
    CatalogGetLatestRow row;
    CatalogKind kind;
    const char *version_text = query_or_empty(call, "version");
    int r = read_kind(call->parameters[0], &kind, error);
    if (r < 0)
        return r;
    if (*version_text) {
        int64_t version;
        if (string_to_i64(version_text, 1, INT64_MAX, &version) < 0)
            return error_set_field(error, ERROR_BAD_REQUEST, "version", "'version' must be a number.");
        CatalogGetVersionRow old;
        r = statement_catalog_get_version(call->transaction,
                                          &(CatalogGetVersionParameters){.tenant = call->object.tenant,
                                                                         .kind = call->parameters[0],
                                                                         .name = call->parameters[1],
                                                                         .version = version},
                                          &old, error);
        if (r == 1)
            row = (CatalogGetLatestRow){old.kind,   old.name,        old.version,    old.body,
                                        old.digest, old.description, old.created_at, old.created_by};
    } else {
        r = statement_catalog_get_latest(call->transaction,
                                         &(CatalogGetLatestParameters){.tenant = call->object.tenant,
                                                                       .kind = call->parameters[0],
                                                                       .name = call->parameters[1]},
                                         &row, error);
    }
    if (r < 0)
        return r;
    if (r == 0)
        return error_set(error, ERROR_NOT_FOUND, "There is no '%s' among the %s.", call->parameters[1],
                         call->parameters[0]);
    Writer writer = writer_new(&call->answer);
    write_document(call, &writer, &row);
    return writer.status;
}

/* Checking and writing
 * ------------------------------------------------------------------------------------------------------ */

typedef struct Loading {
    const ApiCall *call;
    MemoryCatalog *catalog;
} Loading;

static int load_catalog(StoreTransaction *transaction, void *context, Error *error)
{
    Loading *loading = context;
    loading->catalog = memory_catalog_free(loading->catalog);
    return catalog_store_load(transaction, loading->call, GRANT_ALL, &loading->catalog, error);
}

static int put_job(ApiCall *call, void *context, Error *error)
{
    return catalog_write_store(call, context, error);
}

static int put_checked(ApiCall *call, CatalogKind kind, MemoryCatalog *catalog, Error *error)
{
    _cleanup_issues_ IssueList issues = {0};
    _cleanup_catalog_entry_ CatalogEntry *entry = NULL;
    const char *name = call->parameters[1];
    int r =
        catalog_validate(memory_catalog_interface(catalog), kind, name, call->body, &entry, &issues, error);
    issue_list_locate(&issues, call->request->body, call->request->body_size);
    if (r < 0)
        return error_is_set(error) ? r : issue_list_to_error(&issues, error);
    CatalogWrite write;
    r = catalog_write_prepare(call, kind, name, call->body, &write, error);
    if (r >= 0)
        r = catalog_write_seal(call, &write, error);
    call->audit_object = arena_format(call->arena, "%s:%s", call->parameters[0], name);
    if (r >= 0)
        r = api_call_run(call, STORE_WRITE, put_job, &write, error);
    if (r >= 0) {
        call->status = write.is_changed ? 201 : 200;
        _cleanup_json_ json_t *warnings = issue_list_to_json(&issues, ISSUE_WARNING);
        Writer writer = writer_new(&call->answer);
        writer_begin_object(&writer, NULL);
        writer_string(&writer, "name", name);
        writer_string(&writer, "kind", call->parameters[0]);
        writer_integer(&writer, "version", write.version);
        writer_json(&writer, "warnings", warnings);
        writer_end_object(&writer);
    }
    catalog_write_done(&write);
    return r;
}

static int put_document(ApiCall *call, Error *error)
{
    CatalogKind kind;
    int r = read_kind(call->parameters[0], &kind, error);
    if (r >= 0 && !call->body)
        r = error_set(error, ERROR_BAD_REQUEST, "The request needs the document as its body.");
    if (r < 0)
        return r;
    Loading loading = {.call = call};
    r = store_run(call->api->settings.store, STORE_READ, load_catalog, &loading, error);
    if (r >= 0)
        r = put_checked(call, kind, loading.catalog, error);
    memory_catalog_free(loading.catalog);
    return r;
}

static int delete_document(ApiCall *call, Error *error)
{
    const char *kind = call->parameters[0], *name = call->parameters[1];
    CatalogGetLatestRow row;
    int r = statement_catalog_get_latest(
        call->transaction, &(CatalogGetLatestParameters){.tenant = call->tenant, .kind = kind, .name = name},
        &row, error);
    if (r < 0)
        return r;
    if (r == 0)
        return error_set(error, ERROR_NOT_FOUND, "There is no '%s' among the %s.", name, kind);
    r = statement_catalog_unset_latest(
        call->transaction,
        &(CatalogUnsetLatestParameters){.tenant = call->tenant, .kind = kind, .name = name}, error);
    if (r >= 0)
        r = statement_catalog_insert(
            call->transaction,
            &(CatalogInsertParameters){.tenant = call->tenant,
                                       .kind = kind,
                                       .name = name,
                                       .version = row.version + 1,
                                       .is_deleted = 1,
                                       .body = "{}",
                                       .digest = "",
                                       .description = "",
                                       .created_at = (int64_t)store_now(call->transaction),
                                       .created_by = call->principal.username},
            error);
    if (r >= 0)
        r = resource_remove(call, resource_kind_of_catalog(kind), name, error);
    if (r >= 0 && string_equal(kind, "providers"))
        r = statement_sealed_values_delete_owner(
            call->transaction,
            &(SealedValuesDeleteOwnerParameters){
                .tenant = call->tenant, .owner_kind = "provider", .owner = name},
            error);
    if (r < 0)
        return r;
    call->audit_object = arena_format(call->arena, "%s:%s", kind, name);
    answer_empty(call);
    return 0;
}

typedef struct ValidateBody {
    const char *kind;
    json_t *document;
} ValidateBody;

static const JsonField validate_fields[] = {
    {"kind", JSON_FIELD_STRING, offsetof(ValidateBody, kind), JSON_FIELD_REQUIRED, 1, 32,
     "providers, services, ..."},
    {"document", JSON_FIELD_OBJECT, offsetof(ValidateBody, document), JSON_FIELD_REQUIRED, 0, 100000,
     "the document"},
    {0},
};

static int post_validate(ApiCall *call, Error *error)
{
    ValidateBody body = {0};
    CatalogKind kind;
    int r = body_dispatch(call, validate_fields, &body, error);
    if (r >= 0)
        r = read_kind_member("kind", body.kind, &kind, error);
    if (r < 0)
        return r;
    Loading loading = {.call = call};
    r = store_run(call->api->settings.store, STORE_READ, load_catalog, &loading, error);
    if (r < 0)
        return r;
    _cleanup_issues_ IssueList issues = {0};
    r = catalog_validate(memory_catalog_interface(loading.catalog), kind, NULL, body.document, NULL, &issues,
                         error);
    memory_catalog_free(loading.catalog);
    if (r < 0 && error_is_set(error))
        return r;
    _cleanup_json_ json_t *errors = issue_list_to_json(&issues, ISSUE_ERROR);
    _cleanup_json_ json_t *warnings = issue_list_to_json(&issues, ISSUE_WARNING);
    Writer writer = writer_new(&call->answer);
    writer_begin_object(&writer, NULL);
    writer_boolean(&writer, "valid", issues.error_count == 0);
    writer_json(&writer, "errors", errors);
    writer_json(&writer, "warnings", warnings);
    writer_end_object(&writer);
    return writer.status;
}

static int get_export(ApiCall *call, Error *error)
{
    CatalogAllRow *rows;
    size_t count;
    int r = statement_catalog_all(call->transaction,
                                  &(CatalogAllParameters){.sees_private = viewer_sees_private(call),
                                                          .username = call->principal.username,
                                                          .right = GRANT_ALL,
                                                          .tenant = call->tenant},
                                  &rows, &count, error);
    if (r < 0)
        return r;
    Writer writer = writer_new(&call->answer);
    writer_begin_object(&writer, NULL);
    for (CatalogKind kind = 0; kind < _CATALOG_KIND_MAX; kind++) {
        const char *name = catalog_kind_to_string(kind);
        writer_begin_array(&writer, name);
        for (size_t i = 0; i < count; i++)
            if (string_equal(rows[i].kind, name))
                writer_raw(&writer, NULL, rows[i].body);
        writer_end_array(&writer);
    }
    writer_end_object(&writer);
    return writer.status;
}

/* Import: all or nothing
 * ------------------------------------------------------------------------------------------------------ */

typedef struct Import {
    CatalogWrite *writes;
    size_t count, capacity;
    IssueList issues;
    MemoryCatalog *catalog;
} Import;

static int import_document(ApiCall *call, Import *import, CatalogKind kind, json_t *document, Error *error)
{
    const char *name = json_string_value(json_object_get(document, "name"));
    IssueList issues = {0};
    CatalogEntry *entry = NULL;
    int r = catalog_validate(memory_catalog_interface(import->catalog), kind, NULL, document, &entry, &issues,
                             error);
    if (r < 0 && !error_is_set(error)) {
        r = issue_list_to_error(&issues, error);
        error_prefix(error, "%s '%s'", catalog_kind_to_string(kind), name ?: "?");
    }
    for (size_t i = 0; i < issues.count; i++)
        if (issues.items[i].severity == ISSUE_WARNING)
            issue_add(&import->issues, ISSUE_WARNING, issues.items[i].field, "imported", "%s '%s': %s",
                      catalog_kind_to_string(kind), name ?: "?", issues.items[i].message);
    issue_list_done(&issues);
    if (r < 0)
        return r;
    memory_catalog_put(import->catalog, entry);
    if (import->count == import->capacity) {
        import->capacity = MAX(import->capacity * 2, (size_t)64);
        import->writes = memory_resize_array(import->writes, import->capacity, sizeof(*import->writes));
    }
    CatalogWrite *write = &import->writes[import->count++];
    r = catalog_write_prepare(call, kind, entry->name, document, write, error);
    catalog_entry_unref(entry);
    return r < 0 ? r : catalog_write_seal(call, write, error);
}

/* What the import itself brings counts as there while its documents are checked, in whatever order they come.
 */
static void announce(Import *import, CatalogKind kind, const json_t *documents)
{
    size_t index;
    json_t *document;
    json_array_foreach (documents, index, document) {
        _cleanup_issues_ IssueList ignored = {0};
        _cleanup_catalog_entry_ CatalogEntry *entry = NULL;
        if (index < IMPORT_DOCUMENTS_MAX && catalog_entry_parse(kind, document, 0, &entry, &ignored) >= 0)
            memory_catalog_put(import->catalog, entry);
    }
}

static int import_all(ApiCall *call, Import *import, Error *error)
{
    /* Types and services before templates, so that fewer references are unknown while they are checked. */
    static const CatalogKind order[] = {CATALOG_PROVIDER, CATALOG_HARDWARE_TYPE, CATALOG_IMAGE_TYPE,
                                        CATALOG_SERVICE, CATALOG_CLUSTER_TEMPLATE};
    for (size_t k = 0; k < ELEMENTSOF(order); k++)
        announce(import, order[k], json_object_get(call->body, catalog_kind_to_string(order[k])));
    for (size_t k = 0; k < ELEMENTSOF(order); k++) {
        json_t *documents = json_object_get(call->body, catalog_kind_to_string(order[k]));
        if (documents && !json_is_array(documents))
            return error_set_field(error, ERROR_BAD_FIELD, catalog_kind_to_string(order[k]),
                                   "'%s' must be an array.", catalog_kind_to_string(order[k]));
        size_t index;
        json_t *document;
        json_array_foreach (documents, index, document) {
            if (import->count >= IMPORT_DOCUMENTS_MAX)
                return error_set(error, ERROR_TOO_LARGE, "An import may have %d documents.",
                                 IMPORT_DOCUMENTS_MAX);
            int r = import_document(call, import, order[k], document, error);
            if (r < 0)
                return r;
        }
    }
    return 0;
}

static int import_job(ApiCall *call, void *context, Error *error)
{
    Import *import = context;
    for (size_t i = 0; i < import->count; i++) {
        int r = catalog_write_store(call, &import->writes[i], error);
        if (r < 0)
            return r;
    }
    return 0;
}

static int check_import_members(ApiCall *call, Error *error)
{
    if (!call->body)
        return error_set(error, ERROR_BAD_REQUEST, "The request needs a JSON object as its body.");
    const char *key;
    json_t *value;
    json_object_foreach (call->body, key, value) {
        CatalogKind kind;
        (void)value;
        if (!string_equal(key, "partialtemplates") && read_kind_member(key, key, &kind, error) < 0)
            return -EINVAL;
    }
    return 0;
}

static int post_import(ApiCall *call, Error *error)
{
    int r = check_import_members(call, error);
    if (r < 0)
        return r;
    Loading loading = {.call = call};
    r = store_run(call->api->settings.store, STORE_READ, load_catalog, &loading, error);
    if (r < 0)
        return r;
    Import import = {.catalog = loading.catalog};
    call->audit_object = "catalog";
    r = import_all(call, &import, error);
    if (r >= 0)
        r = api_call_run(call, STORE_WRITE, import_job, &import, error);
    size_t changed = 0;
    for (size_t i = 0; i < import.count; i++)
        changed += r >= 0 && import.writes[i].is_changed;
    if (r >= 0) {
        _cleanup_json_ json_t *warnings = issue_list_to_json(&import.issues, ISSUE_WARNING);
        Writer writer = writer_new(&call->answer);
        writer_begin_object(&writer, NULL);
        writer_integer(&writer, "documents", (int64_t)import.count);
        writer_integer(&writer, "changed", (int64_t)changed);
        writer_json(&writer, "warnings", warnings);
        writer_end_object(&writer);
    }
    for (size_t i = 0; i < import.count; i++)
        catalog_write_done(&import.writes[i]);
    free(import.writes);
    issue_list_done(&import.issues);
    memory_catalog_free(import.catalog);
    return r;
}

const ApiRoute routes_catalog[] = {
    ROUTE(GET, "/catalog/export", CATALOG_GET, NEEDS_TENANT, READ, NO_BODY, get_export, NULL, 200,
          "The whole catalog, without secrets"),
    ROUTE(POST, "/catalog/import", CATALOG_WRITE, NEEDS_TENANT, POOL, JSON_BODY, post_import,
          "catalog_import", 200, "Writes many documents, all or none", .body_limit = 16 * 1024 * 1024),
    ROUTE(POST, "/catalog/validate", CATALOG_GET, NEEDS_TENANT, POOL, JSON_BODY, post_validate, NULL, 200,
          "Names every fault of a document", .fields = validate_fields),
    ROUTE(GET, "/catalog/{kind}", CATALOG_LIST, NEEDS_TENANT, READ, NO_BODY, list_documents, NULL, 200,
          "Documents of a kind", .query = query_page, .columns = columns_catalog),
    ROUTE(GET, "/catalog/{kind}/{name}", CATALOG_GET, NEEDS_TENANT, READ, NO_BODY, get_document, NULL, 200,
          "A document, the latest or version=N", .query = query_version, .object = &object_document),
    ROUTE(PUT, "/catalog/{kind}/{name}", CATALOG_WRITE, NEEDS_TENANT, POOL, JSON_BODY, put_document,
          "catalog_write", 201, "Writes a document; an unchanged one keeps its version",
          .object = &object_new_document),
    ROUTE(DELETE, "/catalog/{kind}/{name}", CATALOG_WRITE, NEEDS_TENANT, WRITE, NO_BODY, delete_document,
          "catalog_delete", 204, "Removes a document; clusters made from it keep their copy",
          .object = &object_document),
    {0},
};
