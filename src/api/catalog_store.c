/* SPDX-License-Identifier: Apache-2.0 */
#include "api/catalog_store.h"

#include <errno.h>
#include <inttypes.h>

#include "api/resources.h"
#include "api/sealed_store.h"
#include "base/log.h"
#include "base/string.h"
#include "crypto/hash.h"

static void take_row(MemoryCatalog *catalog, const char *kind_name, const char *name, int64_t version,
                     const char *body)
{
    _cleanup_json_ json_t *document = NULL;
    _cleanup_issues_ IssueList issues = {0};
    _cleanup_catalog_entry_ CatalogEntry *entry = NULL;
    Error parse_error = ERROR_INIT;
    CatalogKind kind = catalog_kind_from_string(kind_name);
    if (kind < 0 || json_parse(body, strlen(body), CATALOG_DOCUMENT_LIMIT, &document, &parse_error) < 0 ||
        catalog_entry_parse(kind, document, version, &entry, &issues) < 0) {
        log_warning("The stored %s '%s' is not valid any more and is left out.", kind_name, name);
        return;
    }
    memory_catalog_put(catalog, entry);
}

int catalog_store_load(StoreTransaction *transaction, const ApiCall *call, unsigned right,
                       MemoryCatalog **ret_catalog, Error *error)
{
    CatalogAllRow *own;
    CatalogGlobalRow *global;
    size_t own_count, global_count;
    int r = statement_catalog_all(transaction,
                                  &(CatalogAllParameters){.tenant = call->tenant,
                                                          .sees_private = viewer_sees_private(call),
                                                          .username = call->principal.username,
                                                          .right = right},
                                  &own, &own_count, error);
    if (r >= 0)
        r = statement_catalog_global(transaction, &(CatalogGlobalParameters){.tenant = call->tenant}, &global,
                                     &global_count, error);
    if (r < 0)
        return r;
    _cleanup_memory_catalog_ MemoryCatalog *catalog = memory_catalog_new();
    for (size_t i = 0; i < global_count; i++)
        take_row(catalog, global[i].kind, global[i].name, global[i].version, global[i].body);
    for (size_t i = 0; i < own_count; i++)
        take_row(catalog, own[i].kind, own[i].name, own[i].version, own[i].body);
    *ret_catalog = TAKE_PTR(catalog);
    return 0;
}

void catalog_write_done(CatalogWrite *write)
{
    json_decref(write->document);
    catalog_entry_unref(write->entry);
    for (size_t i = 0; i < write->field_count; i++) {
        free(write->fields[i].name);
        free(write->fields[i].context);
        secret_free(write->fields[i].plain);
        buffer_done(&write->fields[i].sealed);
    }
    free(write->fields);
    *write = (CatalogWrite){0};
}

static bool is_sealed_marker(const json_t *value)
{
    return json_is_object(value) && json_is_true(json_object_get(value, "sealed"));
}

/* Values that are already {"sealed": true} (a document read back and written again) keep what is stored. */
static int take_fields(const char *name, const json_t *document, CatalogWrite *write, Error *error)
{
    const char *type = json_string_value(json_object_get(document, "providertype"));
    const json_t *fields = json_object_get(document, "provisioner");
    write->fields = NEW_ARRAY(struct SealedField, json_object_size(fields) + 1);
    const char *key;
    json_t *value;
    json_object_foreach ((json_t *)(uintptr_t)fields, key, value) {
        if (!type || !provider_field_is_sensitive(type, key) || is_sealed_marker(value))
            continue;
        if (!json_is_string(value))
            return error_set_field(error, ERROR_BAD_FIELD, key,
                                   "The field '%s' is secret and must be a string.", key);
        struct SealedField *field = &write->fields[write->field_count++];
        field->name = string_duplicate(key);
        field->context = string_format("sealed_values/provider/%s/%s/1", name, key);
        field->plain = secret_new(json_string_value(value), json_string_length(value));
        field->sealed = BUFFER_INIT;
        if (!field->plain)
            return error_set(error, ERROR_INTERNAL, "There is no locked memory for a secret.");
    }
    return 0;
}

int catalog_write_prepare(ApiCall *call, CatalogKind kind, const char *name, json_t *document,
                          CatalogWrite *ret_write, Error *error)
{
    *ret_write = (CatalogWrite){.kind = kind, .name = arena_string(call->arena, name)};
    if (kind != CATALOG_PROVIDER) {
        ret_write->document = json_incref(document);
        return 0;
    }
    int r = take_fields(name, document, ret_write, error);
    ret_write->document = provider_document_redact(document);
    return r;
}

int catalog_write_seal(ApiCall *call, CatalogWrite *write, Error *error)
{
    if (write->field_count == 0)
        return 0;
    KeeperClient *keeper = keeper_take(call->api, error);
    if (!keeper)
        return -ECONNREFUSED;
    int r = 0;
    for (size_t i = 0; i < write->field_count && r >= 0; i++)
        r = keeper_client_seal_value(keeper, SEALED_TASK, call->tenant, write->fields[i].context,
                                     write->fields[i].plain, &write->fields[i].sealed, error);
    keeper_give(call->api, keeper);
    return r;
}

static int store_fields(ApiCall *call, const CatalogWrite *write, Error *error)
{
    for (size_t i = 0; i < write->field_count; i++) {
        const struct SealedField *field = &write->fields[i];
        int r =
            sealed_store_put(call->transaction,
                             &(SealedValuePutParameters){.tenant = call->tenant,
                                                         .owner_kind = "provider",
                                                         .owner = write->name,
                                                         .name = field->name,
                                                         .context = field->context,
                                                         .value = {field->sealed.data, field->sealed.size},
                                                         .created_at = (int64_t)store_now(call->transaction)},
                             error);
        if (r < 0)
            return r;
    }
    return 0;
}

int catalog_write_store(ApiCall *call, CatalogWrite *write, Error *error)
{
    const char *kind = catalog_kind_to_string(write->kind);
    int r = resource_require_document(call, resource_kind_of_catalog(kind), write->name, error);
    if (r < 0)
        return r;
    _cleanup_free_ char *body = json_to_text(write->document);
    _cleanup_free_ char *sorted = json_to_sorted_text(write->document);
    char digest[HASH_HEX_SIZE];
    hash_sha256_hex(sorted, strlen(sorted), digest);
    CatalogLatestVersionRow latest = {0};
    r = statement_catalog_latest_version(
        call->transaction,
        &(CatalogLatestVersionParameters){.tenant = call->tenant, .kind = kind, .name = write->name}, &latest,
        error);
    if (r < 0)
        return r;
    bool is_same = r == 1 && !latest.is_deleted && string_equal(latest.digest, digest);
    write->version = is_same ? latest.version : latest.version + 1;
    write->is_changed = !is_same || write->field_count > 0;
    if (is_same)
        return store_fields(call, write, error);
    r = statement_catalog_unset_latest(
        call->transaction,
        &(CatalogUnsetLatestParameters){.tenant = call->tenant, .kind = kind, .name = write->name}, error);
    const char *description = json_string_value(json_object_get(write->document, "description"));
    if (r >= 0)
        r = statement_catalog_insert(
            call->transaction,
            &(CatalogInsertParameters){.tenant = call->tenant,
                                       .kind = kind,
                                       .name = write->name,
                                       .version = write->version,
                                       .body = body,
                                       .digest = digest,
                                       .description = description ?: "",
                                       .created_at = (int64_t)store_now(call->transaction),
                                       .created_by = call->principal.username},
            error);
    bool is_new = latest.version == 0 || latest.is_deleted;
    if (r >= 0 && is_new)
        r = resource_add(call, resource_kind_of_catalog(kind), write->name, error);
    return r < 0 ? r : store_fields(call, write, error);
}
