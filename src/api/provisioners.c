/* SPDX-License-Identifier: Apache-2.0 */
/* Provisioners: enrolment with a one-time token, list, drain, removal. */

#include <errno.h>

#include "api/issuing.h"
#include "base/string.h"
#include "crypto/token.h"

enum { ENROLMENT_LIFE_DEFAULT = 3600, ENROLMENT_LIFE_MAX = 86400 };
/* A provisioner that was silent for longer counts as lost in lists. */
static const int64_t SILENCE = 60 * (int64_t)USEC_PER_SEC;

static void write_provisioner(Writer *writer, const ProvisionerListRow *row, int64_t now)
{
    bool is_alive = row->last_heartbeat_at + SILENCE > now;
    const char *state = string_equal(row->status, "draining") ? "draining"
                        : row->last_heartbeat_at == 0         ? "enrolled"
                        : is_alive                            ? "ready"
                                                              : "lost";
    writer_begin_object(writer, NULL);
    writer_string(writer, "id", row->id);
    writer_string(writer, "name", row->name);
    writer_string(writer, "state", state);
    writer_string(writer, "version", *row->version ? row->version : NULL);
    writer_integer(writer, "capacity", row->capacity);
    writer_raw(writer, "capabilities", row->capabilities);
    writer_time(writer, "enrolled_at", row->enrolled_at);
    writer_string(writer, "enrolled_by", row->enrolled_by);
    writer_time(writer, "last_heartbeat_at", row->last_heartbeat_at);
    writer_end_object(writer);
}

static int list_provisioners(ApiCall *call, Error *error)
{
    Page page;
    ProvisionerListRow *rows;
    ProvisionerCountRow total;
    size_t count;
    int r = page_read(call, &page, error);
    if (r >= 0)
        r = statement_provisioner_list(
            call->transaction, &(ProvisionerListParameters){.maximum = page.size, .offset = page.offset},
            &rows, &count, error);
    if (r >= 0)
        r = statement_provisioner_count(call->transaction, &total, error);
    if (r < 0)
        return r;
    Writer writer = list_begin(call);
    for (size_t i = 0; i < count; i++)
        write_provisioner(&writer, &rows[i], (int64_t)store_now(call->transaction));
    list_end(call, &writer, &page, total.total);
    return writer.status;
}

/* By id or by name. */
static int find_provisioner(ApiCall *call, ProvisionerGetRow *row, Error *error)
{
    const char *id = call->parameters[0];
    int r = statement_provisioner_get(call->transaction, &(ProvisionerGetParameters){.id = id}, row, error);
    if (r == 0) {
        ProvisionerFindByNameRow named;
        r = statement_provisioner_find_by_name(call->transaction,
                                               &(ProvisionerFindByNameParameters){.name = id}, &named, error);
        if (r == 1)
            r = statement_provisioner_get(call->transaction, &(ProvisionerGetParameters){.id = named.id}, row,
                                          error);
    }
    if (r < 0)
        return r;
    return r == 1 && !string_equal(row->status, "removed")
               ? 0
               : error_set(error, ERROR_NOT_FOUND, "There is no provisioner '%s'.", id);
}

static int answer_provisioner(ApiCall *call, Error *error)
{
    ProvisionerGetRow row;
    int r = find_provisioner(call, &row, error);
    if (r < 0)
        return r;
    Writer writer = writer_new(&call->answer);
    write_provisioner(&writer,
                      &(ProvisionerListRow){.id = row.id,
                                            .name = row.name,
                                            .status = row.status,
                                            .version = row.version,
                                            .capacity = row.capacity,
                                            .capabilities = row.capabilities,
                                            .epoch = row.epoch,
                                            .enrolled_at = row.enrolled_at,
                                            .enrolled_by = row.enrolled_by,
                                            .last_heartbeat_at = row.last_heartbeat_at},
                      (int64_t)store_now(call->transaction));
    return writer.status;
}

static int set_status(ApiCall *call, const char *id, const char *status, Error *error)
{
    call->audit_object = arena_format(call->arena, "provisioner:%s", id);
    int r = statement_provisioner_set_status(
        call->transaction, &(ProvisionerSetStatusParameters){.id = id, .status = status}, error);
    return MIN(r, 0);
}

static int post_drain(ApiCall *call, Error *error)
{
    ProvisionerGetRow row;
    int r = find_provisioner(call, &row, error);
    if (r >= 0)
        r = set_status(call, row.id, "draining", error);
    return r < 0 ? r : answer_provisioner(call, error);
}

static int remove_in_job(ApiCall *call, void *context, Error *error)
{
    char *id = context;
    ProvisionerGetRow row;
    int r = find_provisioner(call, &row, error);
    if (r < 0)
        return r;
    (void)string_copy(id, ID_SIZE, row.id);
    TasksLeasedOfProvisionerRow *rows;
    size_t count;
    r = set_status(call, row.id, "removed", error);
    if (r >= 0)
        r = statement_certificates_revoke_of_holder(
            call->transaction,
            &(CertificatesRevokeOfHolderParameters){.holder = row.id,
                                                    .revoked_at = (int64_t)store_now(call->transaction)},
            error);
    if (r >= 0)
        r = statement_tasks_leased_of_provisioner(
            call->transaction, &(TasksLeasedOfProvisionerParameters){.provisioner_id = row.id}, &rows, &count,
            error);
    for (size_t i = 0; r >= 0 && i < count; i++) {
        EngineExpired expired = {.attempt = rows[i].attempt};
        (void)string_print(expired.task, sizeof(expired.task), "%s-%lld", rows[i].execution_id,
                           (long long)rows[i].number);
        r = engine_expire(call->api->engine, call->transaction, &expired, &call->effects, error);
    }
    return r;
}

static int delete_provisioner(ApiCall *call, Error *error)
{
    char id[ID_SIZE];
    int r = api_call_run(call, STORE_WRITE, remove_in_job, id, error);
    if (r < 0)
        return r;
    KeeperClient *keeper = keeper_take(call->api, error);
    r = keeper ? keeper_client_remove_provisioner(keeper, id, error) : -ECONNREFUSED;
    keeper_give(call->api, keeper);
    if (r >= 0)
        answer_empty(call);
    return r;
}

/* Enrolment
 * -----------------------------------------------------------------------------------------------------------------
 */

typedef struct EnrolmentTokenBody {
    const char *name;
    int64_t life_seconds;
} EnrolmentTokenBody;

static const JsonField enrolment_token_fields[] = {
    {"name", JSON_FIELD_STRING, offsetof(EnrolmentTokenBody, name), JSON_FIELD_REQUIRED | JSON_FIELD_NAME, 1,
     64, "name of the provisioner to come"},
    {"life_seconds", JSON_FIELD_INTEGER, offsetof(EnrolmentTokenBody, life_seconds), 0, 60,
     ENROLMENT_LIFE_MAX, "an hour when absent"},
    {0},
};

static int get_enrolment_token(ApiCall *call, Error *error)
{
    EnrolmentTokenGetRow row;
    int r = statement_enrolment_token_get(
        call->transaction, &(EnrolmentTokenGetParameters){.id = call->parameters[0]}, &row, error);
    if (r < 0)
        return r;
    if (r == 0)
        return error_set(error, ERROR_NOT_FOUND, "There is no enrolment token '%s'.", call->parameters[0]);
    Writer writer = writer_new(&call->answer);
    writer_begin_object(&writer, NULL);
    writer_string(&writer, "id", row.id);
    writer_string(&writer, "name", row.name);
    writer_string(&writer, "created_by", row.created_by);
    writer_time(&writer, "created_at", row.created_at);
    writer_time(&writer, "expires_at", row.expires_at);
    writer_time(&writer, "used_at", row.used_at);
    writer_end_object(&writer);
    return writer.status;
}

static int post_enrolment_token(ApiCall *call, Error *error)
{
    EnrolmentTokenBody body = {.life_seconds = ENROLMENT_LIFE_DEFAULT};
    ProvisionerFindByNameRow existing;
    int r = body_dispatch(call, enrolment_token_fields, &body, error);
    if (r >= 0)
        r = statement_provisioner_find_by_name(
            call->transaction, &(ProvisionerFindByNameParameters){.name = body.name}, &existing, error);
    if (r < 0)
        return r;
    if (r == 1)
        return error_set_field(error, ERROR_CONFLICT, "name", "There is a provisioner named '%s' already.",
                               body.name);
    char id[ID_SIZE];
    uint8_t hash[HASH_SIZE];
    _cleanup_secret_ Secret *token = NULL;
    if (token_make(call->api->settings.random, "bpe", id, &token, hash) < 0)
        return error_set(error, ERROR_INTERNAL, "No memory for a token.");
    int64_t now = (int64_t)store_now(call->transaction),
            expires_at = now + body.life_seconds * (int64_t)USEC_PER_SEC;
    r = statement_enrolment_token_insert(
        call->transaction,
        &(EnrolmentTokenInsertParameters){.id = id,
                                          .secret_hash = {hash, sizeof(hash)},
                                          .name = body.name,
                                          .created_by = call->principal.username,
                                          .created_at = now,
                                          .expires_at = expires_at},
        error);
    if (r < 0)
        return r;
    call->audit_object = arena_format(call->arena, "enrolment-token:%s", id);
    Writer writer = writer_new(&call->answer);
    writer_begin_object(&writer, NULL);
    writer_string(&writer, "id", id);
    writer_string_n(&writer, "value", (const char *)secret_bytes(token), secret_size(token));
    writer_time(&writer, "expires_at", expires_at);
    writer_end_object(&writer);
    return writer.status;
}

typedef struct EnrolBody {
    const char *token, *name, *tls_csr, *envelope_key;
} EnrolBody;

static const JsonField enrol_fields[] = {
    {"token", JSON_FIELD_STRING, offsetof(EnrolBody, token), JSON_FIELD_REQUIRED | JSON_FIELD_SECRET, 1, 128,
     "the one-time token"},
    {"name", JSON_FIELD_STRING, offsetof(EnrolBody, name), JSON_FIELD_REQUIRED | JSON_FIELD_NAME, 1, 64,
     "name as the token has it"},
    {"tls_csr", JSON_FIELD_STRING, offsetof(EnrolBody, tls_csr), JSON_FIELD_REQUIRED, 1, 16384,
     "signing request, PEM"},
    {"envelope_key", JSON_FIELD_STRING, offsetof(EnrolBody, envelope_key), JSON_FIELD_REQUIRED, 44, 44,
     "X25519 key, base64"},
    {0},
};

typedef struct Enrolment {
    const EnrolBody *body;
    char token_id[ID_SIZE];
    uint8_t token_hash[HASH_SIZE];
    char id[ID_SIZE]; /* of the provisioner */
    uint8_t envelope_key[ENVELOPE_KEY_SIZE];
    uint8_t *spki; /* owned */
    size_t spki_size;
    char *chain; /* owned */
    char serial[SERIAL_HEX_SIZE];
} Enrolment;

/* At most one caller gets past here with a token: it is used up before anything is issued. */
static int use_token(ApiCall *call, void *context, Error *error)
{
    Enrolment *enrolment = context;
    int64_t now = (int64_t)store_now(call->transaction);
    EnrolmentTokenFindRow row;
    int r = statement_enrolment_token_find(
        call->transaction,
        &(EnrolmentTokenFindParameters){
            .secret_hash = {enrolment->token_hash, sizeof(enrolment->token_hash)}},
        &row, error);
    if (r < 0)
        return r;
    if (r == 0 || row.expires_at <= now || row.used_at != 0 || !string_equal(row.name, enrolment->body->name))
        return error_set(error, ERROR_UNAUTHENTICATED,
                         "The enrolment token is not valid for this provisioner.");
    r = statement_enrolment_token_use(call->transaction,
                                      &(EnrolmentTokenUseParameters){.id = row.id, .used_at = now}, error);
    if (r == 0)
        return error_set(error, ERROR_UNAUTHENTICATED,
                         "The enrolment token is not valid for this provisioner.");
    if (r < 0)
        return r;
    r = statement_provisioner_insert(
        call->transaction,
        &(ProvisionerInsertParameters){
            .id = enrolment->id,
            .name = enrolment->body->name,
            .certificate_serial = "",
            .envelope_key = {enrolment->envelope_key, sizeof(enrolment->envelope_key)},
            .enrolled_at = now,
            .enrolled_by = row.created_by},
        error);
    call->principal.username = arena_format(call->arena, "provisioner:%s", enrolment->id);
    call->audit_object = call->principal.username;
    return r;
}

static int store_certificate(StoreTransaction *transaction, void *context, Error *error)
{
    const Enrolment *enrolment = context;
    int r = record_certificate(transaction, enrolment->serial, NULL, "provisioner", enrolment->body->name,
                               enrolment->id, enrolment->chain, error);
    if (r >= 0)
        r = statement_provisioner_set_certificate(
            transaction,
            &(ProvisionerSetCertificateParameters){.id = enrolment->id,
                                                   .certificate_serial = enrolment->serial},
            error);
    return MIN(r, 0);
}

static int read_enrolment(const EnrolBody *body, Enrolment *enrolment, Error *error)
{
    _cleanup_free_ uint8_t *key = NULL;
    size_t key_size;
    if (base64_decode(body->envelope_key, strlen(body->envelope_key), ENVELOPE_KEY_SIZE, &key, &key_size) <
            0 ||
        key_size != ENVELOPE_KEY_SIZE)
        return error_set_field(error, ERROR_BAD_FIELD, "envelope_key",
                               "The envelope key must be 32 bytes in base64.");
    memcpy(enrolment->envelope_key, key, ENVELOPE_KEY_SIZE);
    if (token_parse(body->token, strlen(body->token), "bpe", enrolment->token_id, enrolment->token_hash) < 0)
        return error_set(error, ERROR_UNAUTHENTICATED,
                         "The enrolment token is not valid for this provisioner.");
    return csr_parse(body->tls_csr, strlen(body->tls_csr), &enrolment->spki, &enrolment->spki_size, error);
}

static int issue_identity(ApiCall *call, Enrolment *enrolment, KeeperPublic *public_, Error *error)
{
    KeeperClient *keeper = keeper_take(call->api, error);
    if (!keeper)
        return -ECONNREFUSED;
    int r = keeper_client_public(keeper, public_, error);
    if (r >= 0)
        r = keeper_client_enrol_provisioner(keeper, enrolment->id, enrolment->spki, enrolment->spki_size,
                                            enrolment->envelope_key, &enrolment->chain, enrolment->serial,
                                            error);
    keeper_give(call->api, keeper);
    return r < 0 ? r : store_run(call->api->settings.store, STORE_WRITE, store_certificate, enrolment, error);
}

static int post_enrol(ApiCall *call, Error *error)
{
    EnrolBody body = {0};
    int r = body_dispatch(call, enrol_fields, &body, error);
    if (r < 0)
        return r;
    Enrolment enrolment = {.body = &body};
    KeeperPublic public_ = {0};
    id_generate(call->api->settings.random, enrolment.id);
    r = read_enrolment(&body, &enrolment, error);
    if (r >= 0)
        r = api_call_run(call, STORE_WRITE, use_token, &enrolment, error);
    if (r >= 0)
        r = issue_identity(call, &enrolment, &public_, error);
    if (r >= 0) {
        char signing_key[64];
        base64_encode(public_.signing_key, sizeof(public_.signing_key), signing_key);
        Writer writer = writer_new(&call->answer);
        writer_begin_object(&writer, NULL);
        writer_string(&writer, "id", enrolment.id);
        writer_string(&writer, "certificate", enrolment.chain);
        writer_string(&writer, "ca_certificate", call->api->settings.ca_certificate);
        writer_string(&writer, "internal_url", call->api->settings.internal_url);
        writer_string(&writer, "signing_key", signing_key);
        writer_string(&writer, "ssh_user_ca", public_.ssh_user_ca);
        writer_end_object(&writer);
    }
    keeper_public_done(&public_);
    free(enrolment.spki);
    free(enrolment.chain);
    return r;
}

const ApiRoute routes_provisioners[] = {
    ROUTE(GET, "/provisioners", PROVISIONER_LIST, NO_TENANT, READ, NO_BODY, list_provisioners, NULL, 200,
          "Provisioners", .query = query_page),
    ROUTE(POST, "/provisioners/enrolment-tokens", PROVISIONER_ENROL, NO_TENANT, WRITE, JSON_BODY,
          post_enrolment_token, "provisioner_enrolment_token", 201, "A one-time token for a new provisioner",
          .fields = enrolment_token_fields, .shown_by = "/provisioners/enrolment-tokens/{id}",
          .has_secret_answer = true),
    ROUTE(GET, "/provisioners/enrolment-tokens/{id}", PROVISIONER_LIST, NO_TENANT, READ, NO_BODY,
          get_enrolment_token, NULL, 200, "An enrolment token, without its value"),
    ROUTE(POST, "/provisioners/enrol", OPEN, NO_TENANT, POOL, JSON_BODY, post_enrol, "provisioner_enrol", 201,
          "Enrols a provisioner with its one-time token", .fields = enrol_fields,
          .shown_by = "/provisioners/{id}"),
    ROUTE(GET, "/provisioners/{id}", PROVISIONER_LIST, NO_TENANT, READ, NO_BODY, answer_provisioner, NULL,
          200, "A provisioner, by id or name"),
    ROUTE(POST, "/provisioners/{id}/drain", PROVISIONER_MANAGE, NO_TENANT, WRITE, NO_BODY, post_drain,
          "provisioner_drain", 200, "Gives a provisioner no more tasks"),
    ROUTE(DELETE, "/provisioners/{id}", PROVISIONER_MANAGE, NO_TENANT, POOL, NO_BODY, delete_provisioner,
          "provisioner_remove", 204,
          "Removes a provisioner: its certificate is refused at once, its tasks are offered again"),
    {0},
};
