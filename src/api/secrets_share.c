/* SPDX-License-Identifier: Apache-2.0 */
/* Export and import of the secrets of a tenant, sealed to a passphrase. The passphrase comes in the body of a
 * POST: an address would end in logs. On pool threads; the reading of each secret is recorded before it is
 * opened, and all that is imported comes in one transaction. */

#include <errno.h>
#include <inttypes.h>

#include "api/rights.h"
#include "api/secrets.h"
#include "base/string.h"
#include "crypto/sealing.h"

enum { SHARED_MAX = 1000, SHARED_BYTES_MAX = 8 * 1024 * 1024 };

/* Export
 * ---------------------------------------------------------------------------------------------------------------------
 */

typedef struct Exported {
    SecretListRow row; /* strings in the call's arena */
    const char *context;
    StoreBlob sealed;
} Exported;

typedef struct Export {
    Exported *secrets;
    size_t count;
} Export;

static int note_export(ApiCall *call, const Exported *secret, Error *error)
{
    return audit_trail_append(
        call->transaction,
        &(AuditRecord){.actor = call->principal.username,
                       .tenant = call->tenant,
                       .source = call->request->remote_address,
                       .request_id = call->request->request_id,
                       .action = "secret_get",
                       .object = arena_format(call->arena, "secret:%s", secret->row.secret_key),
                       .details = arena_format(call->arena, "{\"version\":%" PRId64 ",\"export\":true}",
                                               secret->row.version)},
        error);
}

static int take_value(ApiCall *call, Exported *secret, Error *error)
{
    SealedValueGetRow value;
    char name[32];
    (void)string_print(name, sizeof(name), "%" PRId64, secret->row.version);
    int r = statement_sealed_value_get(
        call->transaction,
        &(SealedValueGetParameters){
            .tenant = call->tenant, .owner_kind = "secret", .owner = secret->row.secret_key, .name = name},
        &value, error);
    if (r <= 0)
        return r < 0 ? r : error_set(error, ERROR_INTERNAL, "A secret has no value.");
    secret->context = arena_string(call->arena, value.context);
    secret->sealed =
        (StoreBlob){arena_duplicate(call->arena, value.value.data, value.value.size), value.value.size};
    return note_export(call, secret, error);
}

static int collect(ApiCall *call, void *context, Error *error)
{
    Export *export = context;
    SecretListRow *rows;
    size_t count;
    int r = statement_secret_list(
        call->transaction,
        &(SecretListParameters){.tenant = call->tenant,
                                .visibility = "",
                                .sees_private = principal_has(&call->principal, PERMISSION_ADMINISTRATORS),
                                .username = call->principal.username,
                                .maximum = SHARED_MAX + 1},
        &rows, &count, error);
    if (r < 0)
        return r;
    if (count > SHARED_MAX)
        return error_set(error, ERROR_TOO_LARGE, "At most %d secrets are exported at once.", SHARED_MAX);
    export->secrets = arena_allocate_array(call->arena, count + 1, sizeof(*export->secrets));
    export->count = count;
    for (size_t i = 0; i < count && r >= 0; i++) {
        Exported *secret = &export->secrets[i];
        secret->row = rows[i];
        secret->row.secret_key = arena_string(call->arena, rows[i].secret_key);
        secret->row.description = arena_string(call->arena, rows[i].description);
        secret->row.visibility = arena_string(call->arena, rows[i].visibility);
        r = take_value(call, secret, error);
    }
    call->audit_object = "secrets";
    call->audit_details = arena_format(call->arena, "{\"count\":%zu}", count);
    return r;
}

static int write_secrets(ApiCall *call, const Export *export, Buffer *plain, Error *error)
{
    KeeperClient *keeper = keeper_take(call->api, error);
    if (!keeper)
        return -EIO;
    Writer writer = writer_new(plain);
    int r = 0;
    writer_begin_object(&writer, NULL);
    writer_begin_array(&writer, "secrets");
    for (size_t i = 0; i < export->count && r >= 0; i++) {
        const Exported *secret = &export->secrets[i];
        _cleanup_secret_ Secret *value = NULL;
        r = keeper_client_open_value(keeper, call->tenant, secret->context, secret->sealed.data,
                                     secret->sealed.size, &value, error);
        if (r < 0)
            break;
        writer_begin_object(&writer, NULL);
        writer_string(&writer, "key", secret->row.secret_key);
        writer_string_n(&writer, "value", (const char *)secret_bytes(value), secret_size(value));
        writer_string(&writer, "description", secret->row.description);
        writer_string(&writer, "visibility", secret->row.visibility);
        writer_boolean(&writer, "is_hidden_value", secret->row.is_hidden);
        writer_time(&writer, "expires_at", secret->row.expires_at);
        writer_end_object(&writer);
    }
    keeper_give(call->api, keeper);
    if (r < 0)
        return r;
    writer_end_array(&writer);
    writer_end_object(&writer);
    return writer.status < 0 ? error_set(error, ERROR_TOO_LARGE, "The secrets are more than %d MiB together.",
                                         SHARED_BYTES_MAX / 1024 / 1024)
                             : 0;
}

typedef struct ShareBody {
    const char *passphrase, *sealed;
    bool override_collisions;
} ShareBody;

static const JsonField export_fields[] = {
    {"passphrase", JSON_FIELD_STRING, offsetof(ShareBody, passphrase),
     JSON_FIELD_REQUIRED | JSON_FIELD_SECRET, SEALING_PASSPHRASE_LEAST, 1024, "that opens what is exported"},
    {0},
};

/* A passphrase out of the parsed body, which is wiped. */
static Secret *take_passphrase(const char *text)
{
    size_t length = strlen(text);
    Secret *passphrase = secret_new(text, length);
    memory_wipe((char *)(uintptr_t)text, length);
    return passphrase;
}

static int post_export(ApiCall *call, Error *error)
{
    ShareBody body = {0};
    Export export = {0};
    Buffer plain = BUFFER_INIT_SECRET(SHARED_BYTES_MAX), sealed = BUFFER_INIT;
    int r = body_dispatch(call, export_fields, &body, error);
    if (r < 0)
        return r;
    _cleanup_secret_ Secret *passphrase = take_passphrase(body.passphrase);
    if (!passphrase)
        return error_set(error, ERROR_INTERNAL, "There is no guarded memory for a passphrase.");
    r = api_call_run(call, STORE_WRITE, collect, &export, error);
    if (r >= 0)
        r = write_secrets(call, &export, &plain, error);
    if (r >= 0)
        r = sealing_seal(passphrase, plain.data, plain.size, &sealed, error);
    buffer_wipe(&plain);
    if (r >= 0) {
        _cleanup_free_ char *text = NEW_ARRAY(char, 4 * (sealed.size / 3 + 2));
        base64_encode(sealed.data, sealed.size, text);
        call->answer.limit = 2 * SHARED_BYTES_MAX;
        Writer writer = writer_new(&call->answer);
        writer_begin_object(&writer, NULL);
        writer_string(&writer, "format", "bastide-secrets-1");
        writer_integer(&writer, "count", (int64_t) export.count);
        writer_string(&writer, "sealed", text);
        writer_end_object(&writer);
        r = writer.status;
    }
    buffer_done(&sealed);
    return r;
}

/* Import
 * ---------------------------------------------------------------------------------------------------------------------
 */

static const JsonField import_fields[] = {
    {"passphrase", JSON_FIELD_STRING, offsetof(ShareBody, passphrase),
     JSON_FIELD_REQUIRED | JSON_FIELD_SECRET, SEALING_PASSPHRASE_LEAST, 1024,
     "that the export was sealed to"},
    {"sealed", JSON_FIELD_STRING, offsetof(ShareBody, sealed), JSON_FIELD_REQUIRED, 1, 12 * 1024 * 1024,
     "as the export gave it (base64)"},
    {"override_collisions", JSON_FIELD_BOOLEAN, offsetof(ShareBody, override_collisions), 0, 0, 0,
     "secrets that are there get a new version"},
    {0},
};

typedef struct Imported {
    const char *key, *value, *description, *visibility, *expires_at;
    bool is_hidden_value;
    /* found and made */
    bool is_there;
    int64_t version, expiry;
    Buffer sealed;
} Imported;

static const JsonField secret_fields[] = {
    {"key", JSON_FIELD_STRING, offsetof(Imported, key), JSON_FIELD_REQUIRED, 1, SECRET_KEY_MAX, ""},
    {"value", JSON_FIELD_STRING, offsetof(Imported, value), JSON_FIELD_REQUIRED | JSON_FIELD_SECRET, 0,
     SECRET_VALUE_MAX, ""},
    {"description", JSON_FIELD_STRING, offsetof(Imported, description), JSON_FIELD_NULLABLE, 0, 1000, ""},
    {"visibility", JSON_FIELD_STRING, offsetof(Imported, visibility), JSON_FIELD_NULLABLE, 0, 16, ""},
    {"is_hidden_value", JSON_FIELD_BOOLEAN, offsetof(Imported, is_hidden_value), 0, 0, 0, ""},
    {"expires_at", JSON_FIELD_STRING, offsetof(Imported, expires_at), JSON_FIELD_NULLABLE, 0, 40, ""},
    {0},
};

typedef struct Import {
    bool overrides;
    json_t *document; /* owned */
    Imported *secrets;
    size_t count;
} Import;

static void import_done(Import *import)
{
    for (size_t i = 0; i < import->count; i++) {
        const char *value = import->secrets[i].value;
        if (value)
            memory_wipe((char *)(uintptr_t)value, strlen(value));
        buffer_done(&import->secrets[i].sealed);
    }
    json_decref(import->document);
}

static int open_import(const ShareBody *body, Import *import, Error *error)
{
    _cleanup_secret_ Secret *passphrase = take_passphrase(body->passphrase), *plain = NULL;
    _cleanup_free_ uint8_t *sealed = NULL;
    size_t size;
    if (!passphrase)
        return error_set(error, ERROR_INTERNAL, "There is no guarded memory for a passphrase.");
    if (base64_decode(body->sealed, strlen(body->sealed), SHARED_BYTES_MAX + SEALING_OVERHEAD, &sealed,
                      &size) < 0)
        return error_set_field(error, ERROR_BAD_FIELD, "sealed", "This is not base64 of an export.");
    int r = sealing_open(passphrase, sealed, size, &plain, error);
    return r < 0 ? r
                 : json_parse((const char *)secret_bytes(plain), secret_size(plain), SHARED_BYTES_MAX,
                              &import->document, error);
}

static int read_import(ApiCall *call, Import *import, Error *error)
{
    const json_t *array = json_object_get(import->document, "secrets");
    size_t count = json_array_size(array), index;
    json_t *item;
    if (!json_is_array(array) || count > SHARED_MAX)
        return error_set_field(error, ERROR_BAD_FIELD, "sealed",
                               "An export has an array of at most %d secrets.", SHARED_MAX);
    import->secrets = arena_allocate_array(call->arena, count + 1, sizeof(*import->secrets));
    json_array_foreach (array, index, item) {
        Imported *secret = &import->secrets[import->count++];
        *secret = (Imported){.sealed = BUFFER_INIT};
        Usec expiry = 0;
        int r = json_dispatch(item, secret_fields, secret, arena_format(call->arena, "secrets[%zu]", index),
                              JSON_UNKNOWN_ERROR, NULL, error);
        if (r >= 0)
            r = secret_check_key(secret->key, error);
        if (r >= 0 && secret->expires_at && *secret->expires_at &&
            timestamp_parse(secret->expires_at, &expiry) < 0)
            r = error_set_field(error, ERROR_BAD_FIELD, "expires_at", "This is not an RFC 3339 time.");
        if (r < 0)
            return r;
        for (size_t i = 0; i < index; i++)
            if (string_equal(import->secrets[i].key, secret->key))
                return error_set_field(error, ERROR_BAD_FIELD, "sealed",
                                       "The export has the secret '%s' twice.", secret->key);
        secret->expiry = (int64_t)expiry;
    }
    return 0;
}

static int find_collisions(ApiCall *call, void *context, Error *error)
{
    Import *import = context;
    for (size_t i = 0; i < import->count; i++) {
        SecretGetRow row;
        int r = statement_secret_get(
            call->transaction,
            &(SecretGetParameters){.tenant = call->tenant, .secret_key = import->secrets[i].key}, &row,
            error);
        if (r < 0)
            return r;
        import->secrets[i].is_there = r == 1;
        import->secrets[i].version = r == 1 ? row.version + 1 : 1;
    }
    return 0;
}

static bool is_taken(const Import *import, const Imported *secret)
{
    return !secret->is_there || import->overrides;
}

static int seal_all(ApiCall *call, Import *import, Error *error)
{
    KeeperClient *keeper = keeper_take(call->api, error);
    int r = keeper ? 0 : -EIO;
    for (size_t i = 0; i < import->count && r >= 0; i++) {
        Imported *secret = &import->secrets[i];
        if (!is_taken(import, secret))
            continue;
        _cleanup_secret_ Secret *plain = secret_new(secret->value, strlen(secret->value));
        _cleanup_free_ char *name = secret_context(secret->key, secret->version);
        r = plain ? keeper_client_seal_value(keeper, SEALED_USER, call->tenant, name, plain, &secret->sealed,
                                             error)
                  : error_set(error, ERROR_INTERNAL, "There is no guarded memory for a secret.");
    }
    keeper_give(call->api, keeper);
    return r;
}

static int replace(ApiCall *call, const Imported *secret, Error *error)
{
    SecretGetRow row;
    int r = statement_secret_get(call->transaction,
                                 &(SecretGetParameters){.tenant = call->tenant, .secret_key = secret->key},
                                 &row, error);
    if (r < 0)
        return r;
    if (r == 0 || row.version + 1 != secret->version)
        return error_set(error, ERROR_STALE, "Somebody changed the secret '%s' at the same time; try again.",
                         secret->key);
    r = statement_secret_update(
        call->transaction,
        &(SecretUpdateParameters){.tenant = call->tenant,
                                  .secret_key = secret->key,
                                  .description =
                                      arena_string(call->arena, secret->description ?: row.description),
                                  .is_hidden = secret->is_hidden_value,
                                  .version = secret->version,
                                  .updated_at = (int64_t)store_now(call->transaction),
                                  .updated_by = call->principal.username,
                                  .expires_at = secret->expiry},
        error);
    return r < 0 ? r : secret_put_version(call, secret->key, secret->version, &secret->sealed, error);
}

static int import_job(ApiCall *call, void *context, Error *error)
{
    const Import *import = context;
    size_t taken = 0;
    int r = 0;
    for (size_t i = 0; i < import->count && r >= 0; i++) {
        const Imported *secret = &import->secrets[i];
        if (!is_taken(import, secret))
            continue;
        taken++;
        r = secret->is_there
                ? replace(call, secret, error)
                : secret_create(call,
                                &(NewSecret){.key = secret->key,
                                             .description = secret->description,
                                             .is_hidden = secret->is_hidden_value,
                                             .is_private = string_equal(secret->visibility, "private"),
                                             .expires_at = secret->expiry,
                                             .sealed = &secret->sealed},
                                error);
    }
    call->audit_object = "secrets";
    call->audit_details = arena_format(call->arena, "{\"count\":%zu}", taken);
    return r;
}

static int write_result(ApiCall *call, const Import *import)
{
    Writer writer = writer_new(&call->answer);
    int64_t taken = 0;
    writer_begin_object(&writer, NULL);
    writer_begin_array(&writer, "colliding_secrets");
    for (size_t i = 0; i < import->count; i++) {
        taken += is_taken(import, &import->secrets[i]);
        if (import->secrets[i].is_there)
            writer_string(&writer, NULL, import->secrets[i].key);
    }
    writer_end_array(&writer);
    writer_begin_array(&writer, "secrets_errors");
    writer_end_array(&writer);
    writer_integer(&writer, "imported", taken);
    writer_end_object(&writer);
    return writer.status;
}

static int post_import(ApiCall *call, Error *error)
{
    ShareBody body = {0};
    _cleanup_(import_done) Import import = {0};
    int r = body_dispatch(call, import_fields, &body, error);
    import.overrides = body.override_collisions;
    if (r >= 0)
        r = open_import(&body, &import, error);
    if (r >= 0)
        r = read_import(call, &import, error);
    if (r >= 0)
        r = api_call_run(call, STORE_READ, find_collisions, &import, error);
    if (r >= 0)
        r = seal_all(call, &import, error);
    if (r >= 0)
        r = api_call_run(call, STORE_WRITE, import_job, &import, error);
    return r < 0 ? r : write_result(call, &import);
}

const ApiRoute routes_secrets_share[] = {
    ROUTE(POST, "/secrets/share/export", SECRET_EXPORT, NEEDS_TENANT, POOL, JSON_BODY, post_export,
          "secret_export", 200, "All secrets of the tenant, sealed to a passphrase", .fields = export_fields,
          .unshown = "it is about many objects", .has_secret_answer = true),
    ROUTE(POST, "/secrets/share/import", SECRET_IMPORT, NEEDS_TENANT, POOL, JSON_BODY, post_import,
          "secret_import", 200,
          "Takes what an export gave; what is there stays unless override_collisions says otherwise",
          .fields = import_fields, .body_limit = 16 * 1024 * 1024, .unshown = "it is about many objects"),
    {0},
};
