/* SPDX-License-Identifier: Apache-2.0 */
/* The life of a call: found in the table, authenticated, authorised, run, audited, answered. */

#include <errno.h>

#include "api/api_internal.h"
#include "api/keys.h"
#include "api/rate_limit.h"
#include "api/source.h"
#include "base/log.h"
#include "base/string.h"

static const char JSON_TYPE[] = "application/json";
static const char PROBLEM_TYPE[] = "application/problem+json";

ApiCall *api_call_new(Api *api, HttpExchange *exchange)
{
    ApiCall *call = NEW(ApiCall);
    call->api = api;
    call->exchange = exchange;
    call->request = http_exchange_request(exchange);
    call->arena = http_exchange_arena(exchange);
    call->content_type = JSON_TYPE;
    return call;
}

void api_call_release(ApiCall *call)
{
    json_decref(call->body);
    engine_effects_done(&call->effects);
    buffer_wipe(&call->answer);
    free(call);
}

static void set_error_answer(ApiCall *call)
{
    buffer_clear(&call->answer);
    reply_error(&call->answer, &call->error, call->request->request_id);
    call->status = error_describe(call->error.code)->http_status;
    call->content_type = PROBLEM_TYPE;
    if (call->status == 401)
        http_exchange_set_header(call->exchange, "WWW-Authenticate",
                                 "Basic realm=\"Bastide\", charset=\"UTF-8\"");
    if (call->status == 503 || call->status == 429)
        http_exchange_set_header(call->exchange, "Retry-After",
                                 arena_format(call->arena, "%u", MAX(call->retry_after, 1U)));
    if (call->status >= 500)
        log_error_record(LOG_LEVEL_ERROR, call->request->path, &call->error);
}

static void answer(ApiCall *call, int result);

/* Refusals that are held back wait on the loop, not on a thread of the pool. */
typedef struct HeldAnswer {
    ApiCall *call;
    int result;
} HeldAnswer;

static int held_long_enough(sd_event_source *source, uint64_t time, void *userdata)
{
    (void)source;
    (void)time;
    HeldAnswer *held = userdata;
    answer(held->call, held->result);
    free(held);
    return 0;
}

static void hold_answer(Api *api, void *context)
{
    HeldAnswer *held = context;
    Usec delay = held->call->delay;
    held->call->delay = 0;
    if (sd_event_add_time_relative(api->settings.event, NULL, CLOCK_MONOTONIC, delay, USEC_PER_MSEC,
                                   held_long_enough, held) < 0)
        (void)held_long_enough(NULL, 0, held);
}

static void answer(ApiCall *call, int result)
{
    if (result < 0 && call->delay > 0 && !call->api->is_draining) {
        HeldAnswer *held = NEW(HeldAnswer);
        *held = (HeldAnswer){call, result};
        loop_post(call->api, hold_answer, held);
        return;
    }
    log_set_request(call->request->request_id);
    if (result < 0) {
        if (!error_is_set(&call->error))
            (void)error_set_errno(&call->error, ERROR_INTERNAL, -result, "The request failed");
        set_error_answer(call);
    } else if (call->change && call->change->is_replayed) {
        idempotency_replay(call);
    } else if (call->route) {
        tags_answer(call);
    }
    log_set_request(NULL);
    HttpExchange *exchange = call->exchange;
    int status = call->status;
    const char *type = call->content_type;
    http_exchange_post(exchange, status, type, call->answer.data, call->answer.size);
    api_call_release(call);
}

/* The last words about a call
 * ------------------------------------------------------------------------------------------ */

/* What the transaction of the change did not or could not write: the record of a request that changed
 * nothing, the answer of one that did on a pool thread. In a job of its own, before the answer goes out. */
typedef struct Closing {
    ApiCall *call;
    int result;
    bool is_record_due, is_key_due;
} Closing;

static bool is_denial(const ApiCall *call)
{
    return call->is_refused || call->error.code == ERROR_FORBIDDEN ||
           call->error.code == ERROR_UNAUTHENTICATED;
}

static bool is_record_due(const ApiCall *call, int result)
{
    if (call->is_recorded || !call->principal.username || !call->route)
        return false;
    return call->route->action || (result < 0 && is_denial(call));
}

static int write_closing(StoreTransaction *transaction, void *context, Error *error)
{
    const Closing *closing = context;
    ApiCall *call = closing->call;
    bool has_failed = closing->result < 0, is_replayed = call->change && call->change->is_replayed;
    const char *outcome = !has_failed       ? is_replayed ? "replayed" : "done"
                          : is_denial(call) ? "denied"
                                            : "failed";
    call->transaction = transaction;
    int r = 0;
    if (has_failed && call->change) /* nothing was changed: what the attempt saw is of no account */
        call->change->before[0] = call->change->after[0] = '\0';
    if (closing->is_record_due)
        r = change_record(call, outcome,
                          has_failed ? arena_format(store_arena(transaction), "{\"error\":\"%s\"}",
                                                    error_describe(call->error.code)->name)
                                     : call->audit_details,
                          error);
    if (r >= 0 && closing->is_key_due)
        r = has_failed ? idempotency_forget(call, error) : idempotency_store(call, error);
    call->transaction = NULL;
    return r;
}

static void closing_written(int result, const Error *error, void *context)
{
    Closing *closing = context;
    ApiCall *call = closing->call;
    int outcome = closing->result;
    free(closing);
    if (result < 0) {
        log_error_record(LOG_LEVEL_ERROR, "recording the end of a request", error);
        atomic_fetch_add(&call->api->records_lost, 1);
        if (outcome >= 0) { /* what is not recorded is not answered */
            call->error = *error;
            outcome = result;
        }
    }
    answer(call, outcome);
}

void api_call_finish(ApiCall *call, int result)
{
    if (result < 0 && !call->is_recorded && !call->principal.username &&
        call->error.code == ERROR_UNAUTHENTICATED)
        denials_note(call->api, call);
    Closing closing = {.call = call,
                       .result = result,
                       .is_record_due = is_record_due(call, result),
                       .is_key_due =
                           call->change && call->change->is_claimed && call->route->mode == ROUTE_POOL};
    Error error = ERROR_INIT;
    if (!closing.is_record_due && !closing.is_key_due) {
        answer(call, result);
        return;
    }
    Closing *copy = memory_duplicate(&closing, sizeof(closing));
    int r =
        store_submit(call->api->settings.store, STORE_WRITE, write_closing, closing_written, copy, &error);
    if (r < 0)
        closing_written(r, &error, copy);
}

/* With or without parameters. */
static bool is_json(const char *type)
{
    size_t length = type ? strcspn(type, "; \t") : 0;
    return length == strlen(JSON_TYPE) && strncasecmp(type, JSON_TYPE, length) == 0;
}

static int parse_body(ApiCall *call, Error *error)
{
    if (call->route->body != JSON_BODY || call->request->body_size == 0)
        return 0;
    if (!is_json(http_exchange_header(call->exchange, "Content-Type")))
        return error_set(error, ERROR_UNSUPPORTED_MEDIA, "The body must be sent as application/json.");
    int r = json_parse(call->request->body, call->request->body_size, call->request->body_size, &call->body,
                       error);
    if (r < 0)
        return r;
    if (!json_is_object(call->body))
        return error_set(error, ERROR_BAD_REQUEST, "The body must be a JSON object.");
    return 0;
}

/* Authentication by token, authorisation and handler in one job. */
typedef struct TokenCall {
    ApiCall *call;
    uint8_t hash[32];
    bool has_credentials;
    bool is_session;
} TokenCall;

static int admit(TokenCall *token_call, Error *error)
{
    ApiCall *call = token_call->call;
    if (call->principal.username == NULL && token_call->has_credentials) {
        int r = authenticate_token(call, token_call->hash, token_call->is_session, error);
        if (r < 0)
            return r;
    }
    return authorise(call, error);
}

/* The work of a route that needs no pool thread. */
static int run_handler(ApiCall *call, Error *error)
{
    if (call->route->mode == ROUTE_READ)
        return call->route->handler(call, error);
    int r = change_begin(call, error);
    if (r != 0) /* it failed, or was done before */
        return MIN(r, 0);
    r = call->route->handler(call, error);
    return r < 0 ? r : change_end(call, error);
}

static int run_in_job(StoreTransaction *transaction, void *context, Error *error)
{
    TokenCall *token_call = context;
    ApiCall *call = token_call->call;
    engine_effects_reset(&call->effects);
    buffer_clear(&call->answer);
    call->status = call->route->success_status;
    call->is_refused = false;
    call->transaction = transaction;
    call->content_type = call->route->content_type ?: JSON_TYPE;
    int r = admit(token_call, error);
    if (r >= 0)
        r = change_prepare(call, error);
    if (r >= 0 && !call->body)
        r = parse_body(call, error);
    if (r >= 0 && (call->route->mode == ROUTE_READ || call->route->mode == ROUTE_WRITE))
        r = run_handler(call, error);
    else if (r >= 0)
        r = idempotency_find(call, error);
    call->transaction = NULL;
    return MIN(r, 0);
}

static void job_done(int result, const Error *error, void *context)
{
    TokenCall *token_call = context;
    ApiCall *call = token_call->call;
    free(token_call);
    if (result < 0) {
        call->error = *error;
        api_call_finish(call, result);
        return;
    }
    call->is_recorded = call->change != NULL;
    engine_apply(call->api->engine, &call->effects);
    api_call_finish(call, 0);
}

static void begin_stream(Api *api, void *context)
{
    (void)api;
    streams_begin(context);
}

static void pool_work(Api *api, void *context)
{
    TokenCall *token_call = context;
    ApiCall *call = token_call->call;
    free(token_call);
    (void)api;
    log_set_request(call->request->request_id);
    int r = call->route->handler(call, &call->error);
    if (r < 0 && call->change && call->change->is_replayed) {
        call->error = ERROR_INIT;
        r = 0;
    }
    api_call_finish(call, r);
}

static void admitted(int result, const Error *error, void *context)
{
    TokenCall *token_call = context;
    ApiCall *call = token_call->call;
    if (result < 0) {
        free(token_call);
        call->error = *error;
        api_call_finish(call, result);
        return;
    }
    if (call->change && call->change->is_replayed) {
        free(token_call);
        api_call_finish(call, 0);
        return;
    }
    if (call->route->mode == ROUTE_STREAM) {
        free(token_call);
        loop_post(call->api, begin_stream, call);
        return;
    }
    if (pool_submit(call->api, pool_work, token_call) < 0) {
        free(token_call);
        (void)error_set(&call->error, ERROR_BUSY, "Too many requests are waiting; try again in a moment.");
        api_call_finish(call, -EAGAIN);
    }
}

static void submit(TokenCall *token_call)
{
    ApiCall *call = token_call->call;
    bool is_direct = call->route->mode == ROUTE_READ || call->route->mode == ROUTE_WRITE;
    StoreAccess access = call->route->mode == ROUTE_WRITE ? STORE_WRITE : STORE_READ;
    int r = store_submit(call->api->settings.store, access, run_in_job, is_direct ? job_done : admitted,
                         token_call, &call->error);
    if (r < 0) {
        free(token_call);
        api_call_finish(call, r);
    }
}

/* The quick way for reads on the embedded database: no other thread is asked. */
static bool try_inline(TokenCall *token_call)
{
    ApiCall *call = token_call->call;
    Store *store = call->api->settings.store;
    if (call->route->mode != ROUTE_READ || !string_equal(store_dialect(store), "sqlite"))
        return false;
    call->is_inline = true;
    call->access_generation = store_watched_changes(store);
    Error error = ERROR_INIT;
    int r = store_read(store, run_in_job, token_call, &error);
    job_done(r, &error, token_call);
    return true;
}

static void password_work(Api *api, void *context)
{
    (void)api;
    TokenCall *token_call = context;
    ApiCall *call = token_call->call;
    Credentials credentials;
    credentials_read(call->exchange, &credentials);
    int r = authenticate_password(call, &credentials, &call->error);
    credentials_done(&credentials);
    if (r < 0) {
        free(token_call);
        api_call_finish(call, r);
        return;
    }
    submit(token_call);
}

static void refuse(ApiCall *call, ErrorCode code, const char *text)
{
    (void)error_set(&call->error, code, "%s", text);
    api_call_finish(call, -EINVAL);
}

/* Before anything is looked up: by address, and by what a token hashes to, whether or not there is one. */
static int check_rates(ApiCall *call, const Credentials *credentials)
{
    Api *api = call->api;
    char source[SOURCE_SIZE];
    source_of_address(call->request->remote_address, source);
    Usec now = clock_monotonic(api->settings.clock);
    Usec wait = rate_limiter_take(api->rate_limiter, RATE_SOURCE, source, strlen(source),
                                  (uint64_t)policy_of_system(api, POLICY_RATE_SOURCE), now);
    if (wait == 0 && (credentials->kind == CREDENTIALS_TOKEN || credentials->kind == CREDENTIALS_SESSION))
        wait = rate_limiter_take(api->rate_limiter, RATE_TOKEN, credentials->token_hash, HASH_SIZE,
                                 (uint64_t)policy_of_system(api, POLICY_RATE_TOKEN), now);
    call->retry_after = (unsigned)((wait + USEC_PER_SEC - 1) / USEC_PER_SEC);
    return wait == 0 ? 0 : -EAGAIN;
}

static bool is_reading(const ApiCall *call)
{
    return call->request->method == HTTP_METHOD_GET || call->request->method == HTTP_METHOD_HEAD;
}

void api_call_begin(Api *api, HttpExchange *exchange, const ApiRoute *const *tables, const char *base)
{
    ApiCall *call = api_call_new(api, exchange);
    Credentials credentials;
    credentials_read(exchange, &credentials);
    if (check_rates(call, &credentials) < 0) {
        credentials_done(&credentials);
        refuse(call, ERROR_RATE_LIMITED, "Too many requests from here; try again later.");
        return;
    }
    const char *path = call->request->path;
    int r = string_starts_with(path, base) ? route_find(tables, call->request->method, path + strlen(base),
                                                        call->arena, &call->route, call->parameters)
                                           : -ENOENT;
    if (r < 0) {
        /* Who is not signed in learns nothing about what exists. */
        CredentialKind kind = credentials.kind;
        credentials_done(&credentials);
        if (kind == CREDENTIALS_NONE || kind == CREDENTIALS_BAD)
            refuse(call, ERROR_UNAUTHENTICATED, "Unauthorized User");
        else if (r == -EOPNOTSUPP)
            refuse(call, ERROR_METHOD_NOT_ALLOWED, "This resource does not know the method.");
        else
            refuse(call, ERROR_NOT_FOUND, "There is no such resource.");
        return;
    }
    if (keys_is_sealed(api) && !call->route->while_sealed) {
        credentials_done(&credentials);
        refuse(call, ERROR_SEALED, "The keeper is sealed; only the status is served until it is unsealed.");
        return;
    }
    bool is_forged = credentials.kind == CREDENTIALS_SESSION && !is_reading(call) &&
                     call->route->permission != PERMISSION_OPEN &&
                     !credentials_are_of_own_page(exchange, &credentials);
    TokenCall *token_call = NEW(TokenCall);
    token_call->call = call;
    /* A browser sends its cookie also to where nobody needs to be signed in; one that is over does no harm.
     */
    token_call->is_session = credentials.kind == CREDENTIALS_SESSION;
    token_call->has_credentials = credentials.kind == CREDENTIALS_TOKEN ||
                                  (token_call->is_session && call->route->permission != PERMISSION_OPEN);
    memcpy(token_call->hash, credentials.token_hash, sizeof(token_call->hash));
    CredentialKind kind = credentials.kind;
    credentials_done(&credentials);

    if (kind == CREDENTIALS_BAD || (kind == CREDENTIALS_NONE && call->route->permission != PERMISSION_OPEN)) {
        free(token_call);
        refuse(call, ERROR_UNAUTHENTICATED, "Unauthorized User");
        return;
    }
    if (is_forged) {
        free(token_call);
        refuse(call, ERROR_FORBIDDEN,
               "A change by a session comes from a page of this host and shows its X-CSRF-Token.");
        return;
    }
    if (kind == CREDENTIALS_PASSWORD && call->route->permission != PERMISSION_OPEN) {
        if (pool_submit(api, password_work, token_call) < 0) {
            free(token_call);
            refuse(call, ERROR_BUSY, "Too many sign-ins at once; try again in a moment.");
        }
        return;
    }
    if (!try_inline(token_call))
        submit(token_call);
}

/* Jobs of handlers on pool threads
 * ------------------------------------------------------------------------------------------ */

typedef struct PoolJob {
    ApiCall *call;
    ApiJob job;
    void *context;
    StoreAccess access;
} PoolJob;

static int run_pool_job(StoreTransaction *transaction, void *context, Error *error)
{
    PoolJob *pool_job = context;
    ApiCall *call = pool_job->call;
    bool is_change = pool_job->access == STORE_WRITE;
    engine_effects_reset(&call->effects);
    call->transaction = transaction;
    /* Rights may have changed since the request was let in. */
    int r = is_change ? authorise(call, error) : 0;
    if (r >= 0 && is_change)
        r = change_begin(call, error);
    if (r == 1) /* another one with the same key was quicker: the handler ends, its answer is not wanted */
        r = error_set(error, ERROR_CONFLICT, "This was done meanwhile.");
    if (r >= 0)
        r = pool_job->job(call, pool_job->context, error);
    if (r >= 0 && is_change)
        r = change_end(call, error);
    call->transaction = NULL;
    return MIN(r, 0);
}

int api_call_run(ApiCall *call, StoreAccess access, ApiJob job, void *context, Error *error)
{
    PoolJob pool_job = {.call = call, .job = job, .context = context, .access = access};
    int r = store_run(call->api->settings.store, access, run_pool_job, &pool_job, error);
    call->is_recorded |= r >= 0 && access == STORE_WRITE && call->change;
    if (r >= 0)
        engine_apply(call->api->engine, &call->effects);
    return r;
}
