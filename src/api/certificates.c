/* SPDX-License-Identifier: Apache-2.0 */
/* Certificates: what was issued to whom, what expires when, revocation, and the pairs of the manager's own
 * listeners (PK2, PK3, PK6). A revoked certificate of a provisioner is refused with its next request, because
 * the listener asks the database. */

#include "api/certificates.h"

#include <errno.h>
#include <pthread.h>

#include "base/string.h"
#include "crypto/x509.h"

static const char *const listener_names[] = {"external", "internal"};

/* List
 * ---------------------------------------------------------------------------------------------------------------------
 */

static const char *state_of(const CertificateListRow *row, int64_t now)
{
    if (row->revoked_at > 0)
        return "revoked";
    return row->expires_at <= now ? "expired" : "valid";
}

static void write_certificate(ApiCall *call, Writer *writer, const CertificateListRow *row)
{
    writer_begin_object(writer, NULL);
    writer_string(writer, "serial", row->serial);
    writer_string(writer, "profile", row->profile);
    writer_string(writer, "subject", row->subject);
    writer_string(writer, "holder", row->holder);
    writer_string(writer, "tenant_name", *row->owner_tenant ? row->owner_tenant : NULL);
    writer_string(writer, "state", state_of(row, (int64_t)store_now(call->transaction)));
    writer_time(writer, "issued_at", row->issued_at);
    writer_time(writer, "expires_at", row->expires_at);
    writer_time(writer, "revoked_at", row->revoked_at);
    writer_end_object(writer);
}

static int list_certificates(ApiCall *call, Error *error)
{
    Page page;
    CertificateListRow *rows;
    CertificateCountRow total;
    size_t count;
    const char *state = query_or_empty(call, "state");
    int r = page_read(call, &page, error);
    if (r >= 0 && *state && !string_equal(state, "valid") && !string_equal(state, "expired") &&
        !string_equal(state, "revoked"))
        r = error_set_field(error, ERROR_BAD_FIELD, "state", "The states are valid, expired and revoked.");
    if (r < 0)
        return r;
    CertificateListParameters wanted = {.profile = query_or_empty(call, "profile"),
                                        .holder = query_or_empty(call, "holder"),
                                        .search = query_or_empty(call, "search"),
                                        .state = state,
                                        .now = (int64_t)store_now(call->transaction),
                                        .maximum = page.size,
                                        .offset = page.offset};
    r = statement_certificate_list(call->transaction, &wanted, &rows, &count, error);
    if (r >= 0)
        r = statement_certificate_count(call->transaction,
                                        &(CertificateCountParameters){.profile = wanted.profile,
                                                                      .holder = wanted.holder,
                                                                      .search = wanted.search,
                                                                      .state = wanted.state,
                                                                      .now = wanted.now},
                                        &total, error);
    if (r < 0)
        return r;
    Writer writer = list_begin(call);
    for (size_t i = 0; i < count; i++)
        write_certificate(call, &writer, &rows[i]);
    list_end(call, &writer, &page, total.total);
    return writer.status;
}

static int answer_certificate(ApiCall *call, Error *error)
{
    CertificateDescribeRow row;
    const char *serial = call->parameters[0];
    int r = statement_certificate_describe(call->transaction,
                                           &(CertificateDescribeParameters){.serial = serial}, &row, error);
    if (r <= 0)
        return r < 0 ? r : error_set(error, ERROR_NOT_FOUND, "There is no certificate '%s'.", serial);
    Writer writer = writer_new(&call->answer);
    write_certificate(call, &writer,
                      &(CertificateListRow){.serial = row.serial,
                                            .owner_tenant = row.owner_tenant,
                                            .profile = row.profile,
                                            .subject = row.subject,
                                            .holder = row.holder,
                                            .issued_at = row.issued_at,
                                            .expires_at = row.expires_at,
                                            .revoked_at = row.revoked_at});
    return writer.status;
}

static int get_certificate(ApiCall *call, Error *error)
{
    return answer_certificate(call, error);
}

static int revoke_certificate(ApiCall *call, Error *error)
{
    const char *serial = call->parameters[0];
    int64_t now = (int64_t)store_now(call->transaction);
    int r = statement_certificate_revoke(
        call->transaction, &(CertificateRevokeParameters){.serial = serial, .revoked_at = now}, error);
    call->audit_object = arena_format(call->arena, "certificate:%s", serial);
    /* Not there, or revoked before: the answer tells which. */
    return r < 0 ? r : answer_certificate(call, error);
}

/* Listeners
 * ----------------------------------------------------------------------------------------------------------------
 */

typedef struct Note {
    const char *profile, *chain;
} Note;

static int note_certificate(StoreTransaction *transaction, void *context, Error *error)
{
    const Note *note = context;
    _cleanup_certificate_ Certificate *certificate = NULL;
    _cleanup_certificate_info_ CertificateInfo info = {0};
    int r = certificate_from_pem(note->chain, strlen(note->chain), &certificate, error);
    if (r < 0)
        return r;
    certificate_info(certificate, &info);
    r = statement_certificate_note(transaction,
                                   &(CertificateNoteParameters){.serial = info.serial,
                                                                .profile = note->profile,
                                                                .subject = info.common_name ?: "",
                                                                .issued_at = (int64_t)info.not_before,
                                                                .expires_at = (int64_t)info.not_after},
                                   error);
    return MIN(r, 0);
}

int certificates_note_listeners(Api *api, Error *error)
{
    const ApiListeners *listeners = api->settings.listeners;
    int r = 0;
    for (size_t i = 0; listeners && r >= 0 && i < ELEMENTSOF(listener_names); i++) {
        _cleanup_free_ char *chain = NULL;
        bool is_given = false;
        r = listeners->read(listeners->userdata, listener_names[i], &chain, &is_given, error);
        Note note = {i == 0 ? "external-server" : "internal-server", chain};
        if (r >= 0)
            r = store_run(api->settings.store, STORE_WRITE, note_certificate, &note, error);
    }
    return r;
}

static void write_names(Writer *writer, const CertificateInfo *info)
{
    writer_begin_array(writer, "names");
    for (size_t i = 0; i < info->dns_names.count; i++)
        writer_string(writer, NULL, info->dns_names.items[i]);
    for (size_t i = 0; i < info->ip_addresses.count; i++)
        writer_string(writer, NULL, info->ip_addresses.items[i]);
    writer_end_array(writer);
}

static int write_parsed(Writer *writer, const char *pem, const char *name, const char *source, Error *error)
{
    _cleanup_certificate_ Certificate *certificate = NULL;
    _cleanup_certificate_info_ CertificateInfo info = {0};
    int r = certificate_from_pem(pem, strlen(pem), &certificate, error);
    if (r < 0)
        return r;
    certificate_info(certificate, &info);
    bool is_own = string_equal(source, "own");
    writer_begin_object(writer, NULL);
    if (name)
        writer_string(writer, "name", name);
    if (source)
        writer_string(writer, "source", source);
    writer_string(writer, "subject", info.subject);
    writer_string(writer, "issuer", info.issuer);
    writer_string(writer, "serial", info.serial);
    writer_string(writer, "fingerprint", info.fingerprint);
    writer_time(writer, "issued_at", (int64_t)info.not_before);
    writer_time(writer, "expires_at", (int64_t)info.not_after);
    /* At two thirds of its life; what was given is renewed by whoever gave it. */
    writer_time(writer, "renewed_at",
                is_own ? (int64_t)(info.not_before + (info.not_after - info.not_before) / 3 * 2) : 0);
    if (name)
        write_names(writer, &info);
    writer_end_object(writer);
    return 0;
}

static int get_status(ApiCall *call, Error *error)
{
    const ApiListeners *listeners = call->api->settings.listeners;
    const char *ca = call->api->settings.ca_certificate;
    int r = 0, count = chain_count(ca, strlen(ca));
    Writer writer = writer_new(&call->answer);
    writer_begin_object(&writer, NULL);
    writer_begin_array(&writer, "listeners");
    for (size_t i = 0; listeners && r >= 0 && i < ELEMENTSOF(listener_names); i++) {
        _cleanup_free_ char *chain = NULL;
        bool is_given = false;
        r = listeners->read(listeners->userdata, listener_names[i], &chain, &is_given, error);
        if (r >= 0)
            r = write_parsed(&writer, chain, listener_names[i], is_given ? "given" : "own", error);
    }
    writer_end_array(&writer);
    writer_begin_array(&writer, "authorities");
    for (int i = 0; r >= 0 && i < count; i++) {
        _cleanup_free_ char *one = chain_nth(ca, strlen(ca), (unsigned)i);
        r = one ? write_parsed(&writer, one, NULL, NULL, error) : 0;
    }
    writer_end_array(&writer);
    writer_end_object(&writer);
    return r < 0 ? r : writer.status;
}

/* Taking a pair into use
 * --------------------------------------------------------------------------------------------------- */

/* The answer goes out when new connections get the new certificate, so the loop is waited for. */
typedef struct Reload {
    pthread_mutex_t lock;
    pthread_cond_t done;
    bool is_done;
} Reload;

static void reload_on_loop(Api *api, void *context)
{
    Reload *reload = context;
    api->settings.listeners->reload(api->settings.listeners->userdata);
    ASSERT(pthread_mutex_lock(&reload->lock) == 0);
    reload->is_done = true;
    ASSERT(pthread_cond_signal(&reload->done) == 0);
    ASSERT(pthread_mutex_unlock(&reload->lock) == 0);
}

static void reload_and_wait(Api *api)
{
    Reload reload = {.lock = PTHREAD_MUTEX_INITIALIZER, .done = PTHREAD_COND_INITIALIZER};
    loop_post(api, reload_on_loop, &reload);
    ASSERT(pthread_mutex_lock(&reload.lock) == 0);
    while (!reload.is_done)
        ASSERT(pthread_cond_wait(&reload.done, &reload.lock) == 0);
    ASSERT(pthread_mutex_unlock(&reload.lock) == 0);
}

typedef struct PairBody {
    const char *certificate, *key, *ca_certificate;
} PairBody;

static const JsonField pair_fields[] = {
    {"certificate", JSON_FIELD_STRING, offsetof(PairBody, certificate), JSON_FIELD_REQUIRED, 1, CHAIN_LIMIT,
     "PEM, the listener's own first, then its chain"},
    {"key", JSON_FIELD_STRING, offsetof(PairBody, key), JSON_FIELD_REQUIRED | JSON_FIELD_SECRET, 1,
     KEY_PEM_LIMIT, "PEM, not encrypted"},
    {"ca_certificate", JSON_FIELD_STRING, offsetof(PairBody, ca_certificate), JSON_FIELD_NULLABLE, 1,
     CHAIN_LIMIT, "PEM of the authority; the chain must then lead to it"},
    {0},
};

static int find_listener(ApiCall *call, Error *error)
{
    for (size_t i = 0; i < ELEMENTSOF(listener_names); i++)
        if (string_equal(call->parameters[0], listener_names[i]))
            return call->api->settings.listeners
                       ? 0
                       : error_set(error, ERROR_UNAVAILABLE, "This manager has no listeners of its own.");
    return error_set(error, ERROR_NOT_FOUND, "There is no listener '%s'; they are external and internal.",
                     call->parameters[0]);
}

static int note_change(ApiCall *call, void *context, Error *error)
{
    (void)context;
    (void)error;
    call->audit_object = arena_format(call->arena, "listener:%s", call->parameters[0]);
    return 0;
}

static int finish_change(ApiCall *call, Error *error)
{
    reload_and_wait(call->api);
    int r = certificates_note_listeners(call->api, error);
    return r < 0 ? r : get_status(call, error);
}

static int put_listener(ApiCall *call, Error *error)
{
    const ApiListeners *listeners = call->api->settings.listeners;
    PairBody body = {0};
    int r = find_listener(call, error);
    if (r >= 0)
        r = body_dispatch(call, pair_fields, &body, error);
    if (r < 0)
        return r;
    _cleanup_secret_ Secret *key = secret_new(body.key, strlen(body.key));
    memory_wipe((char *)(uintptr_t)body.key, strlen(body.key));
    if (!key)
        return error_set(error, ERROR_INTERNAL, "There is no guarded memory for a key.");
    r = listeners->check(listeners->userdata, call->parameters[0], body.certificate, key, body.ca_certificate,
                         error);
    if (r >= 0)
        r = api_call_run(call, STORE_WRITE, note_change, NULL, error);
    if (r >= 0)
        r = listeners->replace(listeners->userdata, call->parameters[0], body.certificate, key, error);
    return r < 0 ? r : finish_change(call, error);
}

static int delete_listener(ApiCall *call, Error *error)
{
    const ApiListeners *listeners = call->api->settings.listeners;
    int r = find_listener(call, error);
    if (r >= 0)
        r = api_call_run(call, STORE_WRITE, note_change, NULL, error);
    if (r >= 0)
        r = listeners->reset(listeners->userdata, call->parameters[0], error);
    return r < 0 ? r : finish_change(call, error);
}

static const RouteQuery query_certificates[] = {
    {"_size", "rows of a page", 1, API_PAGE_MAX},
    {"_offset", "rows left out before", 0, INT64_MAX},
    {"profile", "external-server, internal-server, provisioner, cluster-server", 0, 0},
    {"holder", "id of a provisioner or node, or manager", 0, 0},
    {"state", "valid, expired or revoked", 0, 0},
    {"search", "a serial, subject or holder", 0, 0},
    {0},
};

const ApiRoute routes_certificates[] = {
    ROUTE(GET, "/certificates", CERTIFICATE_LIST, NO_TENANT, READ, NO_BODY, list_certificates, NULL, 200,
          "Certificates of every domain, the newest first", .query = query_certificates),
    ROUTE(GET, "/certificates/status", CERTIFICATE_LIST, NO_TENANT, POOL, NO_BODY, get_status, NULL, 200,
          "The listeners' certificates and the authorities that are trusted"),
    ROUTE(PUT, "/certificates/listeners/{name}", CERTIFICATE_MANAGE, NO_TENANT, POOL, JSON_BODY, put_listener,
          "certificate_replace", 200, "Another pair for a listener, from the next connection on",
          .fields = pair_fields, .unshown = "the pair lies in a file of the manager"),
    ROUTE(DELETE, "/certificates/listeners/{name}", CERTIFICATE_MANAGE, NO_TENANT, POOL, NO_BODY,
          delete_listener, "certificate_reset", 200, "Back to a pair of our own authority",
          .unshown = "the pair lies in a file of the manager"),
    ROUTE(GET, "/certificates/{serial}", CERTIFICATE_LIST, NO_TENANT, READ, NO_BODY, get_certificate, NULL,
          200, "A certificate"),
    ROUTE(POST, "/certificates/{serial}/revoke", CERTIFICATE_MANAGE, NO_TENANT, WRITE, NO_BODY,
          revoke_certificate, "certificate_revoke", 200, "Revokes a certificate at once"),
    {0},
};
