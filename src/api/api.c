/* SPDX-License-Identifier: Apache-2.0 */
#include "api/api.h"

#include <errno.h>

#include "api/audit_heads.h"
#include "api/certificates.h"
#include "api/directory_accounts.h"
#include "api/entitlement.h"
#include "api/internal.h"
#include "api/keys.h"
#include "api/rate_limit.h"
#include "api/sign_in_guard.h"
#include "api/tokens.h"
#include "base/log.h"
#include "base/string.h"

static const char EXTERNAL_BASE[] = "/api/v3.1";
static const Usec LEASE_DEFAULT = 30 * USEC_PER_SEC;
static const Usec HEARTBEAT_DEFAULT = 5 * USEC_PER_SEC;
enum { POOL_THREADS_DEFAULT = 4, INTERNAL_BODY_LIMIT = 32 * 1024 * 1024 };

/* From the store's threads. */
static void on_wake(void *userdata)
{
    polls_wake(userdata);
}

static void on_published(void *userdata)
{
    streams_published(userdata);
}

/* A directory that hangs keeps at most its own share of them. */
static unsigned pool_threads(const ApiSettings *settings)
{
    return (settings->pool_threads ?: POOL_THREADS_DEFAULT) + (settings->directory ? DIRECTORY_CALLS_MAX : 0);
}

int api_new(const ApiSettings *settings, Api **ret_api, Error *error)
{
    Api *api = NEW(Api);
    api->settings = *settings;
    api->directory = settings->directory;
    api->kerberos = settings->kerberos;
    api->settings.lease = settings->lease ?: LEASE_DEFAULT;
    api->settings.heartbeat = settings->heartbeat ?: HEARTBEAT_DEFAULT;
    api->loop_descriptor = -1;
    api->access_cache = access_cache_new();
    api->denials = denials_new();
    api->policies = policy_book_new();
    api->sign_in_guard = sign_in_guard_new(settings->random);
    api->rate_limiter = rate_limiter_new(settings->random);
    ASSERT(pthread_mutex_init(&api->keeper_lock, NULL) == 0);
    int r = loop_attach(api);
    if (r >= 0)
        r = pool_start(api, pool_threads(settings));
    if (r < 0)
        (void)error_set_errno(error, ERROR_INTERNAL, -r, "Starting the API's threads");
    else
        r = tags_load_key(api, error);
    if (r < 0) {
        api_free(api);
        return r;
    }
    api->engine = engine_new(&(EngineSettings){.clock = settings->clock,
                                               .random = settings->random,
                                               .lease = api->settings.lease,
                                               .wake = on_wake,
                                               .published = on_published,
                                               .is_entitled = execution_is_entitled,
                                               .userdata = api});
    streams_new(api);
    leases_new(api);
    polls_new(api);
    *ret_api = api;
    return 0;
}

static void free_keepers(Api *api)
{
    for (unsigned i = 0; i < api->keeper_count; i++)
        keeper_client_free(api->keepers[i]);
    free(api->keepers);
    (void)pthread_mutex_destroy(&api->keeper_lock);
}

Api *api_free(Api *api)
{
    if (!api)
        return NULL;
    api_drain(api);
    pool_stop(api);
    polls_free(api);
    streams_free(api);
    keys_stop(api);
    loop_detach(api);
    leases_free(api);
    engine_free(api->engine);
    directory_sync_stop(api);
    free_keepers(api);
    access_cache_free(api->access_cache);
    denials_free(api->denials);
    free(api->audit_heads);
    free(api->shipping);
    policy_book_free(api->policies);
    sign_in_guard_free(api->sign_in_guard);
    rate_limiter_free(api->rate_limiter);
    free(api);
    return NULL;
}

typedef struct Recovery {
    Api *api;
    EngineEffects effects;
} Recovery;

static int recover(StoreTransaction *transaction, void *context, Error *error)
{
    Recovery *recovery = context;
    engine_effects_reset(&recovery->effects);
    return engine_recover(recovery->api->engine, transaction, &recovery->effects, error);
}

int api_start(Api *api, Error *error)
{
    Recovery recovery = {.api = api};
    int r = policies_load(api, error);
    if (r >= 0)
        r = store_run(api->settings.store, STORE_READ, recover, &recovery, error);
    if (r >= 0)
        engine_apply(api->engine, &recovery.effects);
    engine_effects_done(&recovery.effects);
    if (r >= 0)
        r = certificates_note_listeners(api, error);
    if (r >= 0)
        r = directory_sync_start(api, error);
    if (r >= 0)
        r = keys_start(api, error);
    return r < 0 ? r : care_start(api, error);
}

void api_drain(Api *api)
{
    api->is_draining = true;
    if (api->polls)
        polls_drain(api);
    if (api->streams)
        streams_drain(api);
}

void api_stop_work(Api *api)
{
    care_stop(api);
    pool_stop(api);
}

Engine *api_engine(Api *api)
{
    return api->engine;
}

/* What the HTTP server asks
 * ----------------------------------------------------------------------------------------------------- */

/* Limits are known before anything of the body is read; the route is looked up again when it is complete. */
static ssize_t external_body_limit(HttpMethod method, const char *path, void *userdata)
{
    (void)userdata;
    _cleanup_arena_ Arena *arena = arena_new();
    const ApiRoute *route;
    const char *parameters[ROUTE_PARAMETERS_MAX];
    if (!string_starts_with(path, EXTERNAL_BASE) ||
        route_find(api_route_tables, method, path + strlen(EXTERNAL_BASE), arena, &route, parameters) < 0)
        return ROUTE_BODY_DEFAULT;
    if (route->body == NO_BODY)
        return 4096; /* clients may send an empty object */
    return (ssize_t)(route->body_limit ?: ROUTE_BODY_DEFAULT);
}

static void external_handle(HttpExchange *exchange, void *userdata)
{
    /* The client library of the Conductor asks for the version without naming one. */
    const HttpRequest *request = http_exchange_request(exchange);
    bool is_bare = string_equal(request->path, "/api/version");
    api_call_begin(userdata, exchange, api_route_tables, is_bare ? "/api" : EXTERNAL_BASE, NULL);
}

/* The certificate was verified by the listener; its name must be one that is configured. */
static void proxy_handle(HttpExchange *exchange, void *userdata)
{
    Api *api = userdata;
    const char *name = http_exchange_request(exchange)->peer_uri;
    if (name && string_list_contains(api->settings.proxies->names, name)) {
        api_call_begin(api, exchange, api_route_tables, EXTERNAL_BASE, name);
        return;
    }
    log_warning("A client with a certificate of '%s' is no proxy of ours.", name ?: "nobody");
    ApiCall *call = api_call_new(api, exchange);
    api_call_finish(call, error_set(&call->error, ERROR_UNAUTHENTICATED, "Unauthorized User"));
}

static ssize_t internal_body_limit(HttpMethod method, const char *path, void *userdata)
{
    (void)method;
    (void)path;
    (void)userdata;
    return INTERNAL_BODY_LIMIT;
}

static void internal_handle(HttpExchange *exchange, void *userdata)
{
    internal_begin(userdata, exchange);
}

static void log_access(const HttpRequest *request, int status, size_t sent, Usec duration, void *userdata)
{
    (void)userdata;
    log_debug("%s %s %s %d %zu bytes %.1f ms", request->remote_address, http_method_name(request->method),
              request->path, status, sent, (double)duration / 1000.0);
}

const HttpServerHandler api_external_handler = {external_body_limit, external_handle, log_access};
const HttpServerHandler api_proxy_handler = {external_body_limit, proxy_handle, log_access};
const HttpServerHandler api_internal_handler = {internal_body_limit, internal_handle, log_access};

/* Local administration
 * ------------------------------------------------------------------------------------------------------------
 */

typedef struct AdminToken {
    Api *api;
    const char *username;
    Usec life;
    Secret *token;
} AdminToken;

static int make_admin_token(StoreTransaction *transaction, void *context, Error *error)
{
    AdminToken *admin = context;
    char id[ID_SIZE];
    UserGetRow user;
    int r = statement_user_get(transaction, &(UserGetParameters){.username = admin->username}, &user, error);
    if (r < 0)
        return r;
    if (r == 0 || !user.is_active)
        return error_set(error, ERROR_NOT_FOUND, "There is no active account '%s'.", admin->username);
    admin->token = secret_free(admin->token);
    /* Whoever is root on the manager's machine needs no second factor to get in, and none to go on. */
    r = token_create(transaction, admin->api->settings.random,
                     &(NewToken){.kind = "token",
                                 .username = admin->username,
                                 .tenant = "default_tenant",
                                 .description = "local administration",
                                 .expires_at = (int64_t)store_now(transaction) + (int64_t)admin->life,
                                 .has_second_factor = true},
                     id, &admin->token, error);
    if (r < 0)
        return r;
    return audit_trail_append(
        transaction,
        &(AuditRecord){.actor = "local administration",
                       .effective_actor = admin->username,
                       .authentication = "local",
                       .action = "token_create",
                       .object = arena_format(store_arena(transaction), "token:%s", id)},
        error);
}

int api_admin_accept_restore(Api *api, const char *reason, Error *error)
{
    return audit_heads_accept(api, reason, error);
}

int api_admin_token(Api *api, const char *username, Usec life, char **ret_token, Error *error)
{
    AdminToken admin = {.api = api, .username = username, .life = life};
    int r = store_run(api->settings.store, STORE_WRITE, make_admin_token, &admin, error);
    if (r >= 0)
        *ret_token = string_duplicate_n((const char *)secret_bytes(admin.token), secret_size(admin.token));
    secret_free(admin.token);
    return r;
}
