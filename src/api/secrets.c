/* SPDX-License-Identifier: Apache-2.0 */
#include "api/secrets.h"

#include <errno.h>
#include <inttypes.h>

#include "api/resources.h"
#include "api/rights.h"
#include "api/sealed_store.h"
#include "base/string.h"

static const int64_t EXPIRY_WARNING = 14 * 86400 * (int64_t)USEC_PER_SEC;

char *secret_context(const char *key, int64_t version)
{
    return string_format("sealed_values/secret/%s/%" PRId64, key, version);
}

int secret_check_key(const char *key, Error *error)
{
    if (key && strlen(key) <= SECRET_KEY_MAX && name_is_valid(key))
        return 0;
    return error_set_field(error, ERROR_BAD_FIELD, "key",
                           "The key of a secret has 1 to %d letters, digits, '_', '.' and '-'.",
                           SECRET_KEY_MAX);
}

/* Showing
 * --------------------------------------------------------------------------------------------------------------------
 */

static void write_secret(const ApiCall *call, Writer *writer, const SecretListRow *row, const Secret *value,
                         int64_t version)
{
    int64_t now = (int64_t)clock_realtime(call->api->settings.clock);
    writer_begin_object(writer, NULL);
    writer_string(writer, "key", row->secret_key);
    if (value)
        writer_string_n(writer, "value", (const char *)secret_bytes(value), secret_size(value));
    writer_string(writer, "description", row->description);
    writer_string(writer, "visibility", row->visibility);
    writer_boolean(writer, "is_hidden_value", row->is_hidden);
    writer_string(writer, "created_by", *row->owner ? row->owner : NULL);
    writer_integer(writer, "version", version);
    writer_time(writer, "created_at", row->created_at);
    writer_time(writer, "updated_at", row->updated_at);
    writer_string(writer, "updated_by", row->updated_by);
    writer_time(writer, "expires_at", row->expires_at);
    writer_string(writer, "expiry",
                  row->expires_at == 0                     ? "none"
                  : row->expires_at <= now                 ? "expired"
                  : row->expires_at - now < EXPIRY_WARNING ? "soon"
                                                           : "ok");
    writer_string(writer, "tenant_name", call->object.tenant ?: call->tenant);
    writer_end_object(writer);
}

static int list_secrets(ApiCall *call, Error *error)
{
    Page page;
    SecretListRow *rows;
    SecretCountRow total;
    size_t count;
    bool sees_private = principal_has(&call->principal, PERMISSION_ADMINISTRATORS);
    const char *visibility = query_or_empty(call, "visibility");
    int r = page_read(call, &page, error);
    if (r >= 0)
        r = statement_secret_list(call->transaction,
                                  &(SecretListParameters){.tenant = call->tenant,
                                                          .visibility = visibility,
                                                          .sees_private = sees_private,
                                                          .username = call->principal.username,
                                                          .maximum = page.size,
                                                          .offset = page.offset},
                                  &rows, &count, error);
    if (r >= 0)
        r = statement_secret_count(call->transaction,
                                   &(SecretCountParameters){.tenant = call->tenant,
                                                            .visibility = visibility,
                                                            .sees_private = sees_private,
                                                            .username = call->principal.username},
                                   &total, error);
    if (r < 0)
        return r;
    Writer writer = list_begin(call);
    for (size_t i = 0; i < count; i++)
        write_secret(call, &writer, &rows[i], NULL, rows[i].version);
    list_end(call, &writer, &page, total.total);
    return writer.status;
}

/* Reading
 * --------------------------------------------------------------------------------------------------------------------
 */

bool secret_shows_hidden(const ApiCall *call)
{
    return string_equal(call->object.owner, call->principal.username) ||
           principal_has(&call->principal, PERMISSION_ADMINISTRATORS) || (call->object.rights & GRANT_READ);
}

typedef struct Reading {
    SecretListRow row; /* strings in the call's arena */
    int64_t version;   /* asked for; 0 = the present one */
    char *context;     /* owned */
    Buffer sealed;
} Reading;

static void reading_done(Reading *reading)
{
    free(reading->context);
    buffer_done(&reading->sealed);
}

static int find_row(ApiCall *call, SecretListRow *ret_row, Error *error)
{
    SecretGetRow row;
    const char *tenant = call->object.tenant ?: call->tenant;
    int r = statement_secret_get(call->transaction,
                                 &(SecretGetParameters){.tenant = tenant, .secret_key = call->parameters[0]},
                                 &row, error);
    if (r < 0)
        return r;
    if (r == 0)
        return error_set(error, ERROR_NOT_FOUND, "There is no secret '%s'.", call->parameters[0]);
    Arena *arena = call->arena;
    *ret_row = (SecretListRow){.secret_key = arena_string(arena, row.secret_key),
                               .description = arena_string(arena, row.description),
                               .is_hidden = row.is_hidden,
                               .version = row.version,
                               .created_at = row.created_at,
                               .created_by = arena_string(arena, row.created_by),
                               .updated_at = row.updated_at,
                               .updated_by = arena_string(arena, row.updated_by),
                               .expires_at = row.expires_at,
                               .owner = arena_string(arena, row.owner),
                               .visibility = arena_string(arena, row.visibility)};
    return 0;
}

static int find_value(ApiCall *call, Reading *reading, Error *error)
{
    const char *tenant = call->object.tenant ?: call->tenant, *key = call->parameters[0];
    char name[32];
    SealedValueGetRow value;
    if (reading->version == 0)
        reading->version = reading->row.version;
    (void)string_print(name, sizeof(name), "%" PRId64, reading->version);
    int r = statement_sealed_value_get(
        call->transaction,
        &(SealedValueGetParameters){.tenant = tenant, .owner_kind = "secret", .owner = key, .name = name},
        &value, error);
    if (r < 0)
        return r;
    if (r == 0)
        return error_set(error, ERROR_NOT_FOUND, "The secret '%s' has no version %" PRId64 ".", key,
                         reading->version);
    reading_done(reading);
    reading->sealed = BUFFER_INIT;
    reading->context = string_duplicate(value.context);
    return buffer_append(&reading->sealed, value.value.data, value.value.size);
}

/* The record of the reading is committed before the value is opened. */
static int note_reading(ApiCall *call, void *context, Error *error)
{
    Reading *reading = context;
    int r = find_row(call, &reading->row, error);
    if (r >= 0)
        r = find_value(call, reading, error);
    if (r < 0)
        return r;
    call->audit_object = arena_format(call->arena, "secret:%s", call->parameters[0]);
    call->audit_details = arena_format(call->arena, "{\"version\":%" PRId64 "}", reading->version);
    return 0;
}

static int read_only(ApiCall *call, void *context, Error *error)
{
    Reading *reading = context;
    int r = find_row(call, &reading->row, error);
    reading->version = reading->version ?: reading->row.version;
    return r;
}

static int open_value(ApiCall *call, const Reading *reading, Secret **ret_value, Error *error)
{
    KeeperClient *keeper = keeper_take(call->api, error);
    int r = keeper ? keeper_client_open_value(keeper, call->object.tenant ?: call->tenant, reading->context,
                                              reading->sealed.data, reading->sealed.size, ret_value, error)
                   : -EIO;
    keeper_give(call->api, keeper);
    return r;
}

static int read_version(ApiCall *call, int64_t *ret_version, Error *error)
{
    const char *text = query_or_empty(call, "version");
    *ret_version = 0;
    if (*text && string_to_i64(text, 1, INT64_MAX, ret_version) < 0)
        return error_set_field(error, ERROR_BAD_FIELD, "version", "A version is a number from 1.");
    return 0;
}

static int get_secret(ApiCall *call, Error *error)
{
    _cleanup_(reading_done) Reading reading = {.sealed = BUFFER_INIT};
    _cleanup_secret_ Secret *value = NULL;
    const char *text = query_or_empty(call, "_skip_value");
    bool is_skipped = false;
    int r = read_version(call, &reading.version, error);
    if (r >= 0 && *text && string_to_bool(text, &is_skipped) < 0)
        r = error_set_field(error, ERROR_BAD_FIELD, "_skip_value", "_skip_value is true or false.");
    if (r >= 0)
        r = api_call_run(call, STORE_READ, read_only, &reading, error);
    if (r < 0)
        return r;
    if (!is_skipped && (!reading.row.is_hidden || secret_shows_hidden(call))) {
        r = api_call_run(call, STORE_WRITE, note_reading, &reading, error);
        if (r >= 0)
            r = open_value(call, &reading, &value, error);
    } else
        value = is_skipped ? NULL : secret_new("", 0);
    if (r < 0)
        return r;
    http_exchange_set_header(call->exchange, "Cache-Control", "no-store");
    Writer writer = writer_new(&call->answer);
    write_secret(call, &writer, &reading.row, value, reading.version);
    return writer.status;
}

static int list_versions(ApiCall *call, Error *error)
{
    SecretVersionsListRow *rows;
    SecretListRow secret;
    size_t count;
    int r = find_row(call, &secret, error);
    if (r >= 0)
        r = statement_secret_versions_list(
            call->transaction,
            &(SecretVersionsListParameters){.tenant = call->object.tenant ?: call->tenant,
                                            .secret_key = call->parameters[0],
                                            .maximum = SECRET_VERSIONS_MAX},
            &rows, &count, error);
    if (r < 0)
        return r;
    Page page = {.size = SECRET_VERSIONS_MAX};
    Writer writer = list_begin(call);
    for (size_t i = 0; i < count; i++) {
        writer_begin_object(&writer, NULL);
        writer_integer(&writer, "version", rows[i].version);
        writer_boolean(&writer, "is_present", rows[i].version == secret.version);
        writer_time(&writer, "created_at", rows[i].created_at);
        writer_string(&writer, "created_by", rows[i].created_by);
        writer_end_object(&writer);
    }
    list_end(call, &writer, &page, (int64_t)count);
    return writer.status;
}

/* Writing
 * --------------------------------------------------------------------------------------------------------------------
 */

typedef struct SecretBody {
    const char *value, *description, *expires_at, *visibility;
    bool is_hidden_value, update_if_exists;
} SecretBody;

static const JsonField put_fields[] = {
    {"value", JSON_FIELD_STRING, offsetof(SecretBody, value), JSON_FIELD_REQUIRED | JSON_FIELD_SECRET, 0,
     SECRET_VALUE_MAX, "what is to be kept"},
    {"description", JSON_FIELD_STRING, offsetof(SecretBody, description), JSON_FIELD_NULLABLE, 0, 1000,
     "what it is for"},
    {"is_hidden_value", JSON_FIELD_BOOLEAN, offsetof(SecretBody, is_hidden_value), 0, 0, 0,
     "the value is for the owner, administrators and holders of a grant to read"},
    {"visibility", JSON_FIELD_STRING, offsetof(SecretBody, visibility), JSON_FIELD_NULLABLE, 1, 16,
     "of a new one: private or tenant (the default)"},
    {"update_if_exists", JSON_FIELD_BOOLEAN, offsetof(SecretBody, update_if_exists), 0, 0, 0,
     "makes a new version of a secret that is there"},
    {"expires_at", JSON_FIELD_STRING, offsetof(SecretBody, expires_at), JSON_FIELD_NULLABLE, 1, 40,
     "RFC 3339; from 14 days before on it is shown as expiring soon"},
    {0},
};
static const JsonField patch_fields[] = {
    {"value", JSON_FIELD_STRING, offsetof(SecretBody, value), JSON_FIELD_NULLABLE | JSON_FIELD_SECRET, 0,
     SECRET_VALUE_MAX, "becomes a new version"},
    {"description", JSON_FIELD_STRING, offsetof(SecretBody, description), JSON_FIELD_NULLABLE, 0, 1000,
     "what it is for"},
    {"is_hidden_value", JSON_FIELD_BOOLEAN, offsetof(SecretBody, is_hidden_value), 0, 0, 0,
     "the value is for the owner, administrators and holders of a grant to read"},
    {"expires_at", JSON_FIELD_STRING, offsetof(SecretBody, expires_at), JSON_FIELD_NULLABLE, 0, 40,
     "RFC 3339; empty = never"},
    {0},
};

typedef struct Writing {
    SecretBody body;
    bool is_patch;
    bool is_made; /* there was none */
    int64_t version, expires_at;
    Buffer sealed;
} Writing;

static int check_body(Writing *writing, Error *error)
{
    Usec time = 0;
    const char *visibility = writing->body.visibility;
    if (visibility && !string_equal(visibility, "private") && !string_equal(visibility, "tenant"))
        return error_set_field(error, ERROR_BAD_FIELD, "visibility",
                               "A new secret is private or seen by the tenant.");
    if (writing->body.expires_at && *writing->body.expires_at &&
        timestamp_parse(writing->body.expires_at, &time) < 0)
        return error_set_field(error, ERROR_BAD_FIELD, "expires_at", "'%s' is not an RFC 3339 time.",
                               writing->body.expires_at);
    writing->expires_at = (int64_t)time;
    return 0;
}

/* The version that the next value gets; the sealing needs to know it before the transaction. */
static int find_version(ApiCall *call, void *context, Error *error)
{
    Writing *writing = context;
    SecretGetRow row;
    int r = statement_secret_get(
        call->transaction, &(SecretGetParameters){.tenant = call->tenant, .secret_key = call->parameters[0]},
        &row, error);
    if (r < 0)
        return r;
    if (r == 1 && !writing->is_patch && !writing->body.update_if_exists)
        return error_set(error, ERROR_CONFLICT,
                         "There is a secret '%s'; with update_if_exists it gets a new version.",
                         call->parameters[0]);
    if (r == 1 && row.is_hidden && !secret_shows_hidden(call))
        return error_set(error, ERROR_FORBIDDEN,
                         "A hidden secret is changed by its owner and administrators.");
    writing->version = r == 1 ? row.version + 1 : 1;
    return 0;
}

static int seal(ApiCall *call, Writing *writing, Error *error)
{
    const char *text = writing->body.value;
    if (!text)
        return 0;
    size_t length = strlen(text);
    _cleanup_secret_ Secret *plain = secret_new(text, length);
    _cleanup_free_ char *context = secret_context(call->parameters[0], writing->version);
    memory_wipe((char *)(uintptr_t)text, length); /* of the parsed body */
    if (!plain)
        return error_set(error, ERROR_INTERNAL, "There is no guarded memory for a secret.");
    KeeperClient *keeper = keeper_take(call->api, error);
    int r = keeper ? keeper_client_seal_value(keeper, SEALED_USER, call->tenant, context, plain,
                                              &writing->sealed, error)
                   : -EIO;
    keeper_give(call->api, keeper);
    return r;
}

int secret_put_version(ApiCall *call, const char *key, int64_t version, const Buffer *sealed, Error *error)
{
    int64_t now = (int64_t)store_now(call->transaction);
    char name[32];
    _cleanup_free_ char *context = secret_context(key, version);
    (void)string_print(name, sizeof(name), "%" PRId64, version);
    int r = sealed_store_put(call->transaction,
                             &(SealedValuePutParameters){.tenant = call->tenant,
                                                         .owner_kind = "secret",
                                                         .owner = key,
                                                         .name = name,
                                                         .context = context,
                                                         .value = {sealed->data, sealed->size},
                                                         .created_at = now},
                             error);
    if (r >= 0)
        r = statement_secret_version_insert(
            call->transaction,
            &(SecretVersionInsertParameters){.tenant = call->tenant,
                                             .secret_key = key,
                                             .version = version,
                                             .created_at = now,
                                             .created_by = call->principal.username},
            error);
    return MIN(r, 0);
}

int secret_create(ApiCall *call, const NewSecret *secret, Error *error)
{
    int r =
        statement_secret_insert(call->transaction,
                                &(SecretInsertParameters){.tenant = call->tenant,
                                                          .secret_key = secret->key,
                                                          .description = secret->description ?: "",
                                                          .is_hidden = secret->is_hidden,
                                                          .created_at = (int64_t)store_now(call->transaction),
                                                          .created_by = call->principal.username,
                                                          .expires_at = secret->expires_at},
                                error);
    if (r >= 0)
        r = resource_add(call, "secret", secret->key, error);
    if (r >= 0 && secret->is_private)
        r = statement_secret_make_private(
            call->transaction,
            &(SecretMakePrivateParameters){.tenant = call->tenant, .secret_key = secret->key}, error);
    return r < 0 ? r : secret_put_version(call, secret->key, 1, secret->sealed, error);
}

/* Old versions beyond the limit go. */
static int forget_version(ApiCall *call, const char *key, int64_t version, Error *error)
{
    char name[32];
    (void)string_print(name, sizeof(name), "%" PRId64, version);
    int r = statement_secret_version_delete(
        call->transaction,
        &(SecretVersionDeleteParameters){.tenant = call->tenant, .secret_key = key, .version = version},
        error);
    if (r > 0)
        r = statement_sealed_value_delete(
            call->transaction,
            &(SealedValueDeleteParameters){
                .tenant = call->tenant, .owner_kind = "secret", .owner = key, .name = name},
            error);
    return r;
}

static int update(ApiCall *call, const Writing *writing, const SecretListRow *row, Error *error)
{
    const SecretBody *body = &writing->body;
    bool has_value = writing->sealed.size > 0;
    if (has_value && writing->version != row->version + 1)
        return error_set(error, ERROR_STALE, "Somebody changed the secret at the same time; try again.");
    bool says_hidden = json_object_get(call->body, "is_hidden_value") != NULL;
    int r = statement_secret_update(
        call->transaction,
        &(SecretUpdateParameters){.tenant = call->tenant,
                                  .secret_key = row->secret_key,
                                  .description = body->description ?: row->description,
                                  .is_hidden = says_hidden ? body->is_hidden_value : row->is_hidden,
                                  .version = has_value ? writing->version : row->version,
                                  .updated_at = (int64_t)store_now(call->transaction),
                                  .updated_by = call->principal.username,
                                  .expires_at = body->expires_at ? writing->expires_at : row->expires_at},
        error);
    if (r >= 0 && has_value)
        r = secret_put_version(call, row->secret_key, writing->version, &writing->sealed, error);
    if (r >= 0 && has_value && writing->version > SECRET_VERSIONS_MAX)
        r = forget_version(call, row->secret_key, writing->version - SECRET_VERSIONS_MAX, error);
    return MIN(r, 0);
}

static int write_job(ApiCall *call, void *context, Error *error)
{
    Writing *writing = context;
    SecretListRow row;
    Error missing = ERROR_INIT;
    int r = find_row(call, &row, &missing);
    if (r < 0 && missing.code != ERROR_NOT_FOUND) {
        *error = missing;
        return r;
    }
    writing->is_made = r < 0;
    if (writing->is_made)
        r = secret_create(call,
                          &(NewSecret){.key = call->parameters[0],
                                       .description = writing->body.description,
                                       .is_hidden = writing->body.is_hidden_value,
                                       .is_private = string_equal(writing->body.visibility, "private"),
                                       .expires_at = writing->expires_at,
                                       .sealed = &writing->sealed},
                          error);
    else
        r = update(call, writing, &row, error);
    if (r >= 0)
        r = find_row(call, &row, error);
    if (r < 0)
        return r;
    call->audit_object = arena_format(call->arena, "secret:%s", call->parameters[0]);
    call->audit_details = arena_format(call->arena, "{\"version\":%" PRId64 ",\"is_hidden_value\":%s}",
                                       row.version, row.is_hidden ? "true" : "false");
    buffer_clear(&call->answer);
    Writer writer = writer_new(&call->answer);
    write_secret(call, &writer, &row, NULL, row.version);
    return writer.status;
}

static int write_handler(ApiCall *call, const JsonField *fields, bool is_patch, Error *error)
{
    Writing writing = {.is_patch = is_patch, .sealed = BUFFER_INIT};
    if (!call->body)
        return error_set(error, ERROR_BAD_REQUEST, "The request needs a JSON object as its body.");
    int r = secret_check_key(call->parameters[0], error);
    if (r >= 0)
        r = body_dispatch(call, fields, &writing.body, error);
    if (r >= 0)
        r = check_body(&writing, error);
    if (r >= 0)
        r = api_call_run(call, STORE_READ, find_version, &writing, error);
    if (r >= 0)
        r = seal(call, &writing, error);
    if (r >= 0)
        r = api_call_run(call, STORE_WRITE, write_job, &writing, error);
    buffer_done(&writing.sealed);
    if (r >= 0 && !is_patch)
        call->status = writing.is_made ? 201 : 200;
    return r;
}

static int put_secret(ApiCall *call, Error *error)
{
    return write_handler(call, put_fields, false, error);
}

static int patch_secret(ApiCall *call, Error *error)
{
    return write_handler(call, patch_fields, true, error);
}

static int delete_secret(ApiCall *call, Error *error)
{
    const char *key = call->parameters[0];
    SecretListRow row;
    int r = find_row(call, &row, error);
    if (r >= 0 && row.is_hidden && !secret_shows_hidden(call))
        r = error_set(error, ERROR_FORBIDDEN, "A hidden secret is removed by its owner and administrators.");
    if (r >= 0)
        r = statement_sealed_values_delete_owner(call->transaction,
                                                 &(SealedValuesDeleteOwnerParameters){.tenant = call->tenant,
                                                                                      .owner_kind = "secret",
                                                                                      .owner = key},
                                                 error);
    if (r >= 0)
        r = statement_secret_versions_delete(
            call->transaction, &(SecretVersionsDeleteParameters){.tenant = call->tenant, .secret_key = key},
            error);
    if (r >= 0)
        r = statement_secret_delete(
            call->transaction, &(SecretDeleteParameters){.tenant = call->tenant, .secret_key = key}, error);
    if (r >= 0)
        r = resource_remove(call, "secret", key, error);
    call->audit_object = arena_format(call->arena, "secret:%s", key);
    answer_empty(call);
    return MIN(r, 0);
}

static int delete_version(ApiCall *call, Error *error)
{
    const char *key = call->parameters[0];
    int64_t version;
    SecretListRow row;
    int r = find_row(call, &row, error);
    if (r < 0)
        return r;
    if (row.is_hidden && !secret_shows_hidden(call))
        return error_set(error, ERROR_FORBIDDEN,
                         "A hidden secret is changed by its owner and administrators.");
    if (string_to_i64(call->parameters[1], 1, INT64_MAX, &version) < 0)
        return error_set_field(error, ERROR_BAD_FIELD, "version", "A version is a number from 1.");
    if (version == row.version)
        return error_set(error, ERROR_CONFLICT, "This is the present version; make a new one first.");
    r = forget_version(call, key, version, error);
    if (r == 0)
        return error_set(error, ERROR_NOT_FOUND, "The secret '%s' has no version %" PRId64 ".", key, version);
    call->audit_object = arena_format(call->arena, "secret:%s", key);
    call->audit_details = arena_format(call->arena, "{\"version\":%" PRId64 "}", version);
    answer_empty(call);
    return MIN(r, 0);
}

/* Using
 * ----------------------------------------------------------------------------------------------------------------------
 */

static int find_resource(StoreTransaction *transaction, Arena *arena, AccessObject *object, Error *error)
{
    ResourceGetRow row;
    int r = statement_resource_get(
        transaction,
        &(ResourceGetParameters){.tenant = object->tenant, .kind = object->kind, .id = object->id}, &row,
        error);
    if (r == 1) {
        object->owner = arena_string(arena, row.owner);
        object->visibility = visibility_from_string(row.visibility);
    } else if (r == 0) {
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

/* As the account's rights are now, not as they were when it asked for the run. */
static int may_use(StoreTransaction *transaction, Arena *arena, const char *tenant, const char *username,
                   AccessObject *object, Error *error)
{
    AccessRights rights;
    int r = rights_load(transaction, arena, username, tenant, false, &rights, error);
    if (r < 0 || !rights.is_active)
        return MIN(r, 0);
    r = find_resource(transaction, arena, object, error);
    if (r == 1 && string_equal(object->tenant, tenant))
        r = resource_grants(transaction, username, object, error) < 0 ? -EIO : 1;
    if (r != 1)
        return r;
    const Principal principal = {
        .username = username, .tenant = tenant, .is_member = rights.is_member, .rights = rights.permissions};
    return access_decide(&principal, PERMISSION_SECRET_USE, object).is_allowed;
}

int secret_for_use(StoreTransaction *transaction, Arena *arena, const char *tenant, const char *username,
                   const char *key, StoredSecret *ret_secret, Error *error)
{
    AccessObject object = {.tenant = tenant, .kind = "secret", .id = key};
    SecretGetRow row;
    SealedValueGetRow value;
    char name[32];
    int r = may_use(transaction, arena, tenant, username, &object, error);
    if (r == 1)
        r = statement_secret_get(
            transaction, &(SecretGetParameters){.tenant = object.tenant, .secret_key = key}, &row, error);
    if (r == 1) {
        (void)string_print(name, sizeof(name), "%" PRId64, row.version);
        r = statement_sealed_value_get(
            transaction,
            &(SealedValueGetParameters){
                .tenant = object.tenant, .owner_kind = "secret", .owner = key, .name = name},
            &value, error);
    }
    if (r < 0)
        return r;
    if (r == 0)
        return error_set(error, ERROR_BAD_REFERENCE, "There is no secret '%s' that '%s' may use.", key,
                         username);
    *ret_secret = (StoredSecret){
        .tenant = arena_string(arena, object.tenant),
        .key = arena_string(arena, key),
        .context = arena_string(arena, value.context),
        .version = row.version,
        .value = {arena_duplicate(arena, value.value.data, value.value.size), value.value.size}};
    return 0;
}

static const RouteQuery query_secret[] = {
    {"_skip_value", "true: everything but the value; nothing is recorded then", 0, 0},
    {"version", "an earlier version", 1, INT64_MAX},
    {0},
};
static const RouteQuery query_secrets[] = {
    {"_size", "rows of a page", 1, API_PAGE_MAX},
    {"_offset", "rows left out before", 0, INT64_MAX},
    {"visibility", "private, tenant or global", 0, 0},
    {0},
};

const ApiRoute routes_secrets[] = {
    ROUTE(GET, "/secrets", SECRET_LIST, NEEDS_TENANT, READ, NO_BODY, list_secrets, NULL, 200,
          "Secrets, never their values", .query = query_secrets),
    ROUTE(GET, "/secrets/{key}", SECRET_GET, NEEDS_TENANT, POOL, NO_BODY, get_secret, "secret_get", 200,
          "A secret with its value; the reading is recorded first", .query = query_secret,
          .object = &object_secret),
    ROUTE(PUT, "/secrets/{key}", SECRET_CREATE, NEEDS_TENANT, POOL, JSON_BODY, put_secret, "secret_create",
          201, "Makes a secret, or with update_if_exists a new version of it", .fields = put_fields,
          .object = &object_new_secret, .shown_by = "/secrets/{key}/versions"),
    ROUTE(PATCH, "/secrets/{key}", SECRET_UPDATE, NEEDS_TENANT, POOL, JSON_BODY, patch_secret,
          "secret_update", 200, "Changes a secret; a value becomes a new version", .fields = patch_fields,
          .object = &object_secret, .shown_by = "/secrets/{key}/versions"),
    ROUTE(DELETE, "/secrets/{key}", SECRET_DELETE, NEEDS_TENANT, WRITE, NO_BODY, delete_secret,
          "secret_delete", 204, "Removes a secret with all versions", .object = &object_secret,
          .shown_by = "/secrets/{key}/versions"),
    ROUTE(GET, "/secrets/{key}/versions", SECRET_GET, NEEDS_TENANT, READ, NO_BODY, list_versions, NULL, 200,
          "Versions of a secret, without values", .object = &object_secret),
    ROUTE(DELETE, "/secrets/{key}/versions/{version}", SECRET_UPDATE, NEEDS_TENANT, WRITE, NO_BODY,
          delete_version, "secret_version_delete", 204, "Removes an earlier version",
          .object = &object_secret, .shown_by = "/secrets/{key}/versions"),
    {0},
};
