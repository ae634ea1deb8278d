/* SPDX-License-Identifier: Apache-2.0 */
/* Who asks, and whether it may (SV3): token or password, tenant, decision. Every refusal for want of valid
 * credentials has the same text, whatever was wrong. */

#include <errno.h>

#include "api/api_internal.h"
#include "api/sign_in.h"
#include "base/string.h"
#include "crypto/hash.h"

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
                                  .system_role = access_role_from_string(row.role),
                                  .token_id = arena_string(call->arena, row.id)};
    call->is_session = is_session;
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

/* The role of an account in a tenant; with the username "" whether there is the tenant. */
static int find_membership(ApiCall *call, const char *tenant, const char *username, MembershipGetRow *row,
                           Error *error)
{
    AccessCache *cache = call->api->access_cache;
    if (call->is_inline && access_cache_get_membership(cache, call->access_generation, tenant, username, row))
        return 1;
    int r;
    if (*username) {
        r = statement_membership_get(call->transaction,
                                     &(MembershipGetParameters){.tenant = tenant, .username = username}, row,
                                     error);
    } else {
        TenantGetRow tenant_row;
        r = statement_tenant_get(call->transaction, &(TenantGetParameters){.name = tenant}, &tenant_row,
                                 error);
        *row = (MembershipGetRow){.role = "", .is_active = r == 1 && tenant_row.is_active};
    }
    if (r == 1 && call->is_inline)
        access_cache_put_membership(cache, call->access_generation, tenant, username, row);
    return r;
}

static int find_tenant(ApiCall *call, Error *error)
{
    const char *tenant = call->route->tenant == TENANT_OF_PATH
                             ? call->parameters[0]
                             : http_exchange_header(call->exchange, "Tenant") ?: call->principal.tenant;
    if (string_is_empty(tenant))
        return error_set(error, ERROR_FORBIDDEN,
                         "This needs a tenant; none was provided: send the header 'Tenant'.");
    call->tenant = arena_string(call->arena, tenant);
    call->principal.tenant = call->tenant;
    if (call->principal.system_role == ACCESS_ROLE_SYS_ADMIN) {
        MembershipGetRow row;
        int r = find_membership(call, tenant, "", &row, error);
        return r != 0 ? MIN(r, 0) : error_set(error, ERROR_NOT_FOUND, "There is no tenant '%s'.", tenant);
    }
    MembershipGetRow row;
    int r = find_membership(call, tenant, call->principal.username, &row, error);
    if (r < 0)
        return r;
    if (r == 0 || !row.is_active)
        return unauthorized(error);
    call->principal.tenant_role = access_role_from_string(row.role);
    return 0;
}

int authorise(ApiCall *call, Error *error)
{
    if (call->route->permission == PERMISSION_OPEN)
        return 0;
    if (!call->principal.username || !claims_are_true(call))
        return unauthorized(error);
    if (call->must_change_password && call->route->permission != PERMISSION_USER_PASSWORD_SELF &&
        call->route->permission != PERMISSION_USER_GET_SELF)
        return error_set(error, ERROR_FORBIDDEN,
                         "The password was for one use: change it first (POST /user/password).");
    if (call->route->tenant != NO_TENANT) {
        int r = find_tenant(call, error);
        if (r < 0)
            return r;
    }
    return access_decide(&call->principal, call->route->permission, error);
}
