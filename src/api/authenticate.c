/* SPDX-License-Identifier: Apache-2.0 */
/* Who asks, and whether it may (SV3): token or password, tenant, decision. Every refusal for want of valid
 * credentials has the same text, whatever was wrong. */

#include <errno.h>

#include "api/api_internal.h"
#include "api/rate_limit.h"
#include "api/sign_in.h"
#include "base/string.h"
#include "crypto/hash.h"
#include "domain/access/scope.h"

/* Noting each use would make every read a write. */
static const Usec USE_RESOLUTION = 60 * USEC_PER_SEC;

static int unauthorized(Error *error)
{
    return error_set(error, ERROR_UNAUTHENTICATED, "Unauthorized User");
}

typedef struct TokenUse {
    char id[ID_SIZE];
} TokenUse;

static int note_use(StoreTransaction *transaction, void *context, Error *error)
{
    const TokenUse *use = context;
    return statement_token_note_use(
        transaction,
        &(TokenNoteUseParameters){.id = use->id, .last_used_at = (int64_t)store_now(transaction)}, error);
}

static void use_noted(int result, const Error *error, void *context)
{
    (void)result;
    (void)error;
    free(context);
}

static int find_token(ApiCall *call, const uint8_t hash[static 32], TokenFindRow *row, Error *error)
{
    AccessCache *cache = call->api->access_cache;
    if (call->is_inline && access_cache_get_token(cache, call->access_generation, hash, row))
        return 1;
    int r = statement_token_find(call->transaction, &(TokenFindParameters){.secret_hash = {hash, 32}}, row,
                                 error);
    if (r == 1 && call->is_inline)
        access_cache_put_token(cache, call->access_generation, hash, row);
    return r;
}

/* A session that nobody has used for too long is over, by the policy of when it was made and of now. */
static bool is_idle(ApiCall *call, const TokenFindRow *row, int64_t now)
{
    int64_t limit =
        MIN(row->idle_limit, policy_of_system(call->api, POLICY_SESSION_IDLE) * (int64_t)USEC_PER_SEC);
    return row->idle_limit > 0 && row->last_used_at + limit <= now;
}

static void note_use_later(ApiCall *call, const TokenFindRow *row, const uint8_t hash[static 32], int64_t now)
{
    Usec resolution = row->idle_limit > 0 ? MIN(USE_RESOLUTION, (Usec)row->idle_limit / 8) : USE_RESOLUTION;
    if (row->last_used_at + (int64_t)resolution >= now)
        return;
    TokenUse *use = NEW(TokenUse);
    (void)string_copy(use->id, sizeof(use->id), row->id);
    if (call->is_inline)
        access_cache_note_use(call->api->access_cache, hash, now);
    Error ignored = ERROR_INIT;
    if (store_submit(call->api->settings.store, STORE_WRITE, note_use, use_noted, use, &ignored) < 0)
        free(use);
}

int authenticate_token(ApiCall *call, const uint8_t hash[static 32], bool is_session, Error *error)
{
    TokenFindRow row;
    int r = find_token(call, hash, &row, error);
    if (r < 0)
        return r;
    int64_t now = (int64_t)store_now(call->transaction);
    if (r == 0 || row.expires_at <= now || !row.is_active ||
        string_equal(row.kind, "session") != is_session || is_idle(call, &row, now))
        return unauthorized(error);
    call->principal = (Principal){.username = arena_string(call->arena, row.username),
                                  .token_id = arena_string(call->arena, row.id)};
    call->is_session = is_session;
    call->scope = arena_string(call->arena, row.scope);
    call->has_second_factor = row.has_second_factor;
    /* A one-time password makes no tokens: those of the account are of its local administration. */
    call->must_change_password = is_session && row.must_change_password;
    if (*row.default_tenant)
        call->principal.tenant = arena_string(call->arena, row.default_tenant);
    note_use_later(call, &row, hash, now);
    return 0;
}

int authenticate_password(ApiCall *call, const Credentials *credentials, Error *error)
{
    SignIn attempt = {.username = credentials->username,
                      .password = credentials->password,
                      .code = http_exchange_header(call->exchange, SECOND_FACTOR_HEADER)};
    return sign_in(call, &attempt, error);
}

/* A user-id header must tell the truth. */
static bool claims_are_true(const ApiCall *call)
{
    const char *claimed = http_exchange_header(call->exchange, "Coopr-UserID");
    return !claimed || string_equal(claimed, call->principal.username);
}

static int find_rights(ApiCall *call, const char *tenant, AccessRights *rights, Error *error)
{
    AccessCache *cache = call->api->access_cache;
    const char *username = call->principal.username;
    if (call->is_inline &&
        access_cache_get_rights(cache, call->access_generation, tenant ?: "", username, rights))
        return 0;
    int r = rights_load(call->transaction, call->arena, username, tenant, false, rights, error);
    if (r >= 0 && call->is_inline && rights->is_active && (rights->is_tenant || !tenant))
        access_cache_put_rights(cache, call->access_generation, tenant ?: "", username, rights);
    return r;
}

/* What the token of the request is limited to. */
static int apply_scope(ApiCall *call, Error *error)
{
    _cleanup_token_scope_ TokenScope scope = {0};
    if (string_is_empty(call->scope))
        return 0;
    if (token_scope_parse(call->scope, &scope) < 0)
        return unauthorized(error);
    token_scope_apply(&scope, call->tenant, &call->principal);
    /* Nor does a grant on an object give what the token shall not do. */
    if (scope.has_permissions && !permission_set_has(&scope.permissions, call->route->permission))
        return error_set(error, ERROR_FORBIDDEN,
                         "This needs the permission '%s', which the token is not for.",
                         permission_describe(call->route->permission)->name);
    return 0;
}

static const char *tenant_of_request(ApiCall *call)
{
    if (call->route->tenant == TENANT_OF_PATH)
        return call->parameters[0];
    return http_exchange_header(call->exchange, "Tenant") ?: call->principal.tenant;
}

/* The tenant of the request and what the caller may do there. */
static int find_principal(ApiCall *call, Error *error)
{
    Principal *principal = &call->principal;
    const char *tenant = NULL;
    if (call->route->tenant != NO_TENANT) {
        tenant = tenant_of_request(call);
        if (string_is_empty(tenant))
            return error_set(error, ERROR_FORBIDDEN,
                             "This needs a tenant; none was provided: send the header 'Tenant'.");
        call->tenant = principal->tenant = arena_string(call->arena, tenant);
    }
    AccessRights rights;
    int r = find_rights(call, tenant, &rights, error);
    if (r < 0)
        return r;
    if (!rights.is_active)
        return unauthorized(error);
    principal->role = arena_string(call->arena, rights.role);
    principal->is_member = rights.is_member;
    principal->rights = rights.permissions;
    if (tenant && !rights.is_tenant && principal_has(principal, PERMISSION_ALL_TENANTS))
        return error_set(error, ERROR_NOT_FOUND, "There is no tenant '%s'.", tenant);
    return apply_scope(call, error);
}

/* What one can do in any case: look at oneself, and set right what is missing. */
static bool is_about_oneself(Permission permission)
{
    return permission == PERMISSION_USER_GET_SELF || permission == PERMISSION_USER_PASSWORD_SELF ||
           permission == PERMISSION_SECOND_FACTOR_SELF || permission == PERMISSION_SESSION_LIST ||
           permission == PERMISSION_SESSION_DELETE;
}

/* Roles that the policy demands a second factor of, also when they are held through a group. */
static int check_second_factor(ApiCall *call, Error *error)
{
    AccessRights rights;
    if (call->has_second_factor || is_about_oneself(call->route->permission) ||
        !policy_names_any(call->api, call->tenant, POLICY_SECOND_FACTOR_ROLES))
        return 0;
    int r = rights_load(call->transaction, call->arena, call->principal.username, call->tenant, true, &rights,
                        error);
    for (size_t i = 0; r >= 0 && i < rights.role_count; i++)
        if (policy_names_role(call->api, call->tenant, POLICY_SECOND_FACTOR_ROLES, rights.roles[i].role))
            return error_set(
                error, ERROR_FORBIDDEN,
                "The role '%s' needs a second factor: set one up (POST /user/second-factor), and "
                "sign in with it.",
                rights.roles[i].role);
    return MIN(r, 0);
}

static int take_rate(ApiCall *call, RateKind kind, const char *key, int64_t rate, const char *of,
                     Error *error)
{
    Usec wait = rate_limiter_take(call->api->rate_limiter, kind, key, strlen(key), (uint64_t)rate,
                                  clock_monotonic(call->api->settings.clock));
    if (wait == 0)
        return 0;
    call->retry_after = (unsigned)((wait + USEC_PER_SEC - 1) / USEC_PER_SEC);
    return error_set(error, ERROR_RATE_LIMITED, "Too many requests of this %s; try again later.", of);
}

/* Once a request, though it may be let in twice. */
static int check_rates(ApiCall *call, Error *error)
{
    Api *api = call->api;
    if (call->is_counted)
        return 0;
    call->is_counted = true;
    int r = take_rate(call, RATE_ACCOUNT, call->principal.username,
                      policy_of_system(api, POLICY_RATE_ACCOUNT), "account", error);
    if (r >= 0 && call->tenant)
        r = take_rate(call, RATE_TENANT, call->tenant,
                      policy_of_tenant(api, call->tenant, POLICY_RATE_TENANT), "tenant", error);
    return r;
}

int authorise(ApiCall *call, Error *error)
{
    const ApiRoute *route = call->route;
    if (route->permission == PERMISSION_OPEN)
        return 0;
    if (!call->principal.username || !claims_are_true(call))
        return unauthorized(error);
    if (call->must_change_password && route->permission != PERMISSION_USER_PASSWORD_SELF &&
        route->permission != PERMISSION_USER_GET_SELF && route->permission != PERMISSION_SESSION_DELETE)
        return error_set(error, ERROR_FORBIDDEN,
                         "The password was for one use: change it first (POST /user/password).");
    int r = find_principal(call, error);
    if (r >= 0 &&
        (call->principal.is_member || !call->tenant)) /* others must not use up what is a tenant's */
        r = check_rates(call, error);
    if (r >= 0)
        r = check_second_factor(call, error);
    if (r < 0)
        return r;
    AccessVerdict verdict = access_decide(&call->principal, route->permission, NULL);
    bool is_about_object = route->object && (verdict.is_allowed || verdict.rule == ACCESS_RULE_NO_PERMISSION);
    if (is_about_object) /* a grant may give what no role does, or there may be nothing for the caller */
        return api_object_require(call, route->object, route->permission, error);
    return access_verdict_to_error(&verdict, NULL, error);
}
