/* SPDX-License-Identifier: Apache-2.0 */
/* Who asks, and whether it may (SV3): token or password, tenant, decision. Every refusal for want of valid
 * credentials has the same text, whatever was wrong. */

#include <errno.h>

#include "api/api_internal.h"
#include "base/string.h"
#include "crypto/hash.h"
#include "crypto/password.h"
#include "crypto/token.h"

enum { BASIC_LIMIT = 2048 };
/* Noting each use would make every read a write. */
static const Usec USE_RESOLUTION = 60 * USEC_PER_SEC;

static int unauthorized(Error *error)
{
    return error_set(error, ERROR_UNAUTHENTICATED, "Unauthorized User");
}

void credentials_done(Credentials *credentials)
{
    free(credentials->username);
    secret_free(credentials->password);
    memory_wipe(credentials, sizeof(*credentials));
}

static void read_token(const char *text, Credentials *credentials)
{
    char id[ID_SIZE];
    credentials->kind = token_parse(text, strlen(text), "btk", id, credentials->token_hash) < 0
                            ? CREDENTIALS_BAD
                            : CREDENTIALS_TOKEN;
}

static void read_basic(const char *text, Credentials *credentials)
{
    uint8_t *data;
    size_t size;
    credentials->kind = CREDENTIALS_BAD;
    if (base64_decode(text, strlen(text), BASIC_LIMIT, &data, &size) < 0)
        return;
    uint8_t *colon = memchr(data, ':', size);
    if (colon && utf8_is_valid((const char *)data, size)) {
        credentials->username = string_duplicate_n((const char *)data, (size_t)(colon - data));
        credentials->password = secret_new(colon + 1, size - (size_t)(colon - data) - 1);
        if (credentials->password && identifier_is_valid(credentials->username))
            credentials->kind = CREDENTIALS_PASSWORD;
    }
    memory_wipe(data, size);
    free(data);
}

void credentials_read(HttpExchange *exchange, Credentials *ret_credentials)
{
    *ret_credentials = (Credentials){.kind = CREDENTIALS_NONE};
    const char *authorization = http_exchange_header(exchange, "Authorization");
    const char *token = http_exchange_header(exchange, "Authentication-Token");
    if (authorization && token) /* two identities at once are none */
        ret_credentials->kind = CREDENTIALS_BAD;
    else if (token)
        read_token(token, ret_credentials);
    else if (authorization && strncasecmp(authorization, "Bearer ", 7) == 0)
        read_token(authorization + 7, ret_credentials);
    else if (authorization && strncasecmp(authorization, "Basic ", 6) == 0)
        read_basic(authorization + 6, ret_credentials);
    else if (authorization)
        ret_credentials->kind = CREDENTIALS_BAD;
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

int authenticate_token(ApiCall *call, const uint8_t hash[static 32], Error *error)
{
    TokenFindRow row;
    int r = find_token(call, hash, &row, error);
    if (r < 0)
        return r;
    int64_t now = (int64_t)store_now(call->transaction);
    if (r == 0 || row.expires_at <= now || !row.is_active)
        return unauthorized(error);
    call->principal = (Principal){.username = arena_string(call->arena, row.username),
                                  .token_id = arena_string(call->arena, row.id)};
    if (*row.default_tenant)
        call->principal.tenant = arena_string(call->arena, row.default_tenant);
    if (row.last_used_at + (int64_t)USE_RESOLUTION < now) {
        TokenUse *use = NEW(TokenUse);
        (void)string_copy(use->id, sizeof(use->id), row.id);
        if (call->is_inline)
            access_cache_note_use(call->api->access_cache, hash, now);
        Error ignored = ERROR_INIT;
        if (store_submit(call->api->settings.store, STORE_WRITE, note_use, use_noted, use, &ignored) < 0)
            free(use);
    }
    return 0;
}

typedef struct PasswordCheck {
    ApiCall *call;
    const char *username;
    char hash[PASSWORD_HASH_SIZE];
    bool is_known, is_usable, is_correct, must_change;
} PasswordCheck;

static int read_account(StoreTransaction *transaction, void *context, Error *error)
{
    PasswordCheck *check = context;
    UserGetRow row;
    int r = statement_user_get(transaction, &(UserGetParameters){.username = check->username}, &row, error);
    if (r <= 0)
        return r;
    check->is_known = true;
    check->is_usable = row.is_active && row.locked_until <= (int64_t)store_now(transaction) &&
                       string_copy(check->hash, sizeof(check->hash), row.password_hash) == 0;
    check->must_change = row.must_change_password;
    return 0;
}

static int note_login(StoreTransaction *transaction, void *context, Error *error)
{
    const PasswordCheck *check = context;
    const ApiSettings *settings = &check->call->api->settings;
    int64_t now = (int64_t)store_now(transaction);
    UserGetRow row;
    int r = statement_user_get(transaction, &(UserGetParameters){.username = check->username}, &row, error);
    if (r <= 0)
        return r;
    if (check->is_correct) {
        r = statement_user_note_login(
            transaction, &(UserNoteLoginParameters){.username = check->username, .last_login_at = now},
            error);
    } else {
        int64_t failures = row.failed_logins + 1;
        int64_t locked_until = failures >= (int64_t)settings->login_failures
                                   ? now + (int64_t)settings->login_lock
                                   : row.locked_until;
        r = statement_user_note_failure(
            transaction,
            &(UserNoteFailureParameters){.username = check->username, .locked_until = locked_until}, error);
    }
    if (r < 0)
        return r;
    return audit_trail_append(transaction,
                              &(AuditRecord){.actor = check->username,
                                             .authentication = "password",
                                             .source = check->call->request->remote_address,
                                             .request_id = check->call->request->request_id,
                                             .action = "sign_in",
                                             .object = "user",
                                             .outcome = check->is_correct ? "done" : "denied"},
                              error);
}

int authenticate_password(ApiCall *call, const Credentials *credentials, Error *error)
{
    PasswordCheck check = {.call = call, .username = credentials->username};
    int r = store_run(call->api->settings.store, STORE_READ, read_account, &check, error);
    if (r < 0)
        return r;
    /* The work is done for accounts that do not exist or are locked, too. */
    bool is_match = password_verify(check.is_usable ? check.hash : NULL, credentials->password) == 0;
    check.is_correct = is_match && check.is_usable;
    r = store_run(call->api->settings.store, STORE_WRITE, note_login, &check, error);
    memory_wipe(check.hash, sizeof(check.hash));
    if (r < 0)
        return r;
    if (!check.is_correct) {
        call->is_recorded = check.is_known;
        return unauthorized(error);
    }
    call->principal = (Principal){.username = arena_string(call->arena, credentials->username)};
    call->must_change_password = check.must_change;
    return 0;
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

/* The tenant of the request and what the caller may do there. */
static int find_principal(ApiCall *call, Error *error)
{
    Principal *principal = &call->principal;
    const char *tenant = NULL;
    if (call->route->tenant == NEEDS_TENANT) {
        tenant = http_exchange_header(call->exchange, "Tenant") ?: principal->tenant;
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
    return 0;
}

int authorise(ApiCall *call, Error *error)
{
    const ApiRoute *route = call->route;
    if (route->permission == PERMISSION_OPEN)
        return 0;
    if (!call->principal.username || !claims_are_true(call))
        return unauthorized(error);
    if (call->must_change_password && route->permission != PERMISSION_USER_PASSWORD_SELF &&
        route->permission != PERMISSION_USER_GET_SELF)
        return error_set(error, ERROR_FORBIDDEN,
                         "The password was for one use: change it first (POST /user/password).");
    int r = find_principal(call, error);
    if (r < 0)
        return r;
    AccessVerdict verdict = access_decide(&call->principal, route->permission, NULL);
    bool is_about_object = route->object && (verdict.is_allowed || verdict.rule == ACCESS_RULE_NO_PERMISSION);
    if (is_about_object) /* a grant may give what no role does, or there may be nothing for the caller */
        return api_object_require(call, route->object, route->permission, error);
    return access_verdict_to_error(&verdict, NULL, error);
}
