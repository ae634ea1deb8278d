/* SPDX-License-Identifier: Apache-2.0 */
/* Tokens: made, shown once, listed, revoked. */

#include "api/tokens.h"

#include <errno.h>
#include <inttypes.h>

#include "api/api_internal.h"
#include "api/rights.h"
#include "base/string.h"
#include "crypto/hash.h"
#include "crypto/token.h"
#include "domain/access/scope.h"

enum { LIFE_DEFAULT_DAYS = 30 };
static const int64_t SECOND = (int64_t)USEC_PER_SEC;
static const int64_t DAY = 86400 * (int64_t)USEC_PER_SEC;
static const int64_t PURGE_INTERVAL = 3600 * (int64_t)USEC_PER_SEC;

int token_create(StoreTransaction *transaction, Random *random, const NewToken *new_token,
                 char ret_id[static ID_SIZE], Secret **ret_token, Error *error)
{
    uint8_t hash[HASH_SIZE];
    _cleanup_secret_ Secret *token = NULL;
    const int64_t now = (int64_t)store_now(transaction);
    const bool is_session = string_equal(new_token->kind, "session");
    if (token_make(random, is_session ? SESSION_PREFIX : TOKEN_PREFIX, ret_id, &token, hash) < 0)
        return error_set(error, ERROR_INTERNAL, "No memory for a token.");
    int r = statement_token_insert(transaction,
                                   &(TokenInsertParameters){
                                       .id = ret_id,
                                       .secret_hash = {hash, sizeof(hash)},
                                       .username = new_token->username,
                                       .default_tenant = new_token->tenant ?: "",
                                       .description = new_token->description ?: "",
                                       .created_at = now,
                                       .expires_at = new_token->expires_at,
                                       .last_used_at = is_session ? now : 0,
                                       .kind = new_token->kind,
                                       .scope = new_token->scope ?: "",
                                       .idle_limit = new_token->idle_limit,
                                       .has_second_factor = new_token->has_second_factor,
                                       .source = new_token->source ?: "",
                                   },
                                   error);
    if (r < 0)
        return r;
    *ret_token = TAKE_PTR(token);
    return 0;
}

/* Making
 * ------------------------------------------------------------------------------------------------------------
 */

typedef struct TokenBody {
    const char *description, *expiration_date, *tenant;
    json_t *permissions, *tenants;
} TokenBody;

static const JsonField token_fields[] = {
    {"description", JSON_FIELD_STRING, offsetof(TokenBody, description), JSON_FIELD_NULLABLE, 0, 255,
     "what it is for"},
    {"expiration_date", JSON_FIELD_STRING, offsetof(TokenBody, expiration_date), JSON_FIELD_NULLABLE, 1, 40,
     "RFC 3339; in 30 days when absent, and never later than the policy token_life allows"},
    {"tenant", JSON_FIELD_STRING, offsetof(TokenBody, tenant), JSON_FIELD_NULLABLE | JSON_FIELD_IDENTIFIER, 1,
     255, "tenant of requests that name none"},
    {"permissions", JSON_FIELD_STRING_ARRAY, offsetof(TokenBody, permissions), JSON_FIELD_NULLABLE, 0,
     TOKEN_SCOPE_PERMISSIONS_MAX, "all that it is good for, of what its owner may; everything when absent"},
    {"tenants", JSON_FIELD_STRING_ARRAY, offsetof(TokenBody, tenants), JSON_FIELD_NULLABLE, 0,
     TOKEN_SCOPE_TENANTS_MAX, "where it is good; in all tenants of its owner when absent"},
    {0},
};

static int read_expiry(ApiCall *call, const char *text, int64_t *ret_expiry, Error *error)
{
    _cleanup_policy_ Policy policy = {0};
    int r = policy_of_account(call->api, call->transaction, call->principal.username, &policy, error);
    if (r < 0)
        return r;
    const int64_t now = (int64_t)store_now(call->transaction);
    const int64_t life = policy.numbers[POLICY_TOKEN_LIFE];
    *ret_expiry = now + MIN(LIFE_DEFAULT_DAYS * DAY, life * SECOND);
    if (!text)
        return 0;
    Usec time;
    if (timestamp_parse(text, &time) < 0)
        return error_set_field(error, ERROR_BAD_FIELD, "expiration_date", "'%s' is not an RFC 3339 time.",
                               text);
    if ((int64_t)time <= now || (int64_t)time > now + life * SECOND)
        return error_set_field(error, ERROR_BAD_FIELD, "expiration_date",
                               "A token expires in the future, within %" PRId64 " seconds.", life);
    *ret_expiry = (int64_t)time;
    return 0;
}

static int check_membership(ApiCall *call, const char *tenant, Error *error)
{
    if (principal_has(&call->principal, PERMISSION_ALL_TENANTS)) {
        TenantGetRow row;
        int r = statement_tenant_get(call->transaction, &(TenantGetParameters){.name = tenant}, &row, error);
        return r != 0 ? MIN(r, 0) : error_set(error, ERROR_NOT_FOUND, "There is no tenant '%s'.", tenant);
    }
    AccessRights rights; /* also through a group */
    int r =
        rights_load(call->transaction, call->arena, call->principal.username, tenant, false, &rights, error);
    if (r < 0 || (rights.is_tenant && rights.is_member))
        return MIN(r, 0);
    return error_set(error, ERROR_NOT_FOUND, "There is no tenant '%s'.", tenant);
}

/* The scope that is asked for, within that of the token which makes it. */
static int read_scope(ApiCall *call, const TokenBody *body, const char **ret_text, Error *error)
{
    _cleanup_token_scope_ TokenScope scope = {0}, of_maker = {0};
    int r = token_scope_read(body->permissions, body->tenants, &scope, error);
    for (size_t i = 0; r >= 0 && i < scope.tenants.count; i++)
        r = check_membership(call, scope.tenants.items[i], error);
    if (r >= 0 && token_scope_parse(call->scope ?: "", &of_maker) < 0)
        r = error_set(error, ERROR_FORBIDDEN, "The scope of this token cannot be read.");
    if (r >= 0)
        r = token_scope_narrow(&scope, &of_maker, error);
    if (r >= 0 && body->tenant && scope.has_tenants && !string_list_contains(&scope.tenants, body->tenant))
        r = error_set_field(error, ERROR_BAD_FIELD, "tenant", "The tenant is none of those in 'tenants'.");
    if (r < 0)
        return r;
    _cleanup_free_ char *text = token_scope_to_text(&scope);
    *ret_text = arena_string(call->arena, text);
    return 0;
}

/* Now and then, because it looks at all tokens. */
static void purge_tokens(ApiCall *call)
{
    const int64_t now = (int64_t)store_now(call->transaction);
    int64_t last = atomic_load(&call->api->tokens_purged_at);
    if (last + PURGE_INTERVAL > now ||
        !atomic_compare_exchange_strong(&call->api->tokens_purged_at, &last, now))
        return;
    Error error = ERROR_INIT; /* a failure spoils the job, which then says so */
    (void)statement_tokens_purge_expired(call->transaction,
                                         &(TokensPurgeExpiredParameters){.now = now - 7 * DAY}, &error);
}

static int post_token(ApiCall *call, Error *error)
{
    TokenBody body = {0};
    int64_t expires_at;
    int r = call->body ? body_dispatch(call, token_fields, &body, error) : 0;
    if (r >= 0)
        r = read_expiry(call, body.expiration_date, &expires_at, error);
    if (r >= 0 && body.tenant)
        r = check_membership(call, body.tenant, error);
    const char *scope = "";
    if (r >= 0)
        r = read_scope(call, &body, &scope, error);
    if (r < 0)
        return r;
    purge_tokens(call);
    char id[ID_SIZE];
    _cleanup_secret_ Secret *token = NULL;
    r = token_create(call->transaction, call->api->settings.random,
                     &(NewToken){.kind = "token",
                                 .username = call->principal.username,
                                 .tenant = body.tenant,
                                 .description = body.description,
                                 .scope = scope,
                                 .source = call->request->remote_address,
                                 .expires_at = expires_at,
                                 .has_second_factor = call->has_second_factor},
                     id, &token, error);
    if (r < 0)
        return r;
    call->audit_object = arena_format(call->arena, "token:%s", id);
    Writer writer = writer_new(&call->answer);
    writer_begin_object(&writer, NULL);
    writer_string(&writer, "id", id);
    writer_string_n(&writer, "value", (const char *)secret_bytes(token), secret_size(token));
    writer_string(&writer, "username", call->principal.username);
    writer_string(&writer, "role", call->principal.role);
    writer_string(&writer, "tenant", body.tenant);
    writer_time(&writer, "expiration_date", expires_at);
    writer_boolean(&writer, "has_second_factor", call->has_second_factor);
    writer_string(&writer, "description", body.description ?: "");
    writer_raw(&writer, "scope", *scope ? scope : "null");
    writer_end_object(&writer);
    return writer.status;
}

/* Seeing
 * ------------------------------------------------------------------------------------------------------------
 */

static void write_token(Writer *writer, const TokenListRow *row)
{
    writer_begin_object(writer, NULL);
    writer_string(writer, "id", row->id);
    writer_string(writer, "value", "********");
    writer_string(writer, "username", row->username);
    writer_string(writer, "tenant", *row->default_tenant ? row->default_tenant : NULL);
    writer_string(writer, "description", row->description);
    writer_raw(writer, "scope", *row->scope ? row->scope : "null");
    writer_boolean(writer, "has_second_factor", row->has_second_factor);
    writer_string(writer, "source", *row->source ? row->source : NULL);
    writer_time(writer, "created_at", row->created_at);
    writer_time(writer, "expiration_date", row->expires_at);
    writer_time(writer, "last_used", row->last_used_at);
    writer_end_object(writer);
}

static bool may_manage_others(const ApiCall *call)
{
    return principal_has(&call->principal, PERMISSION_TOKEN_MANAGE_OTHERS);
}

/* One's own; all, or those of one account, with the right to manage them. */
static int list_tokens(ApiCall *call, Error *error)
{
    Page page;
    TokenListRow *rows;
    TokenCountRow total;
    size_t count;
    const int64_t now = (int64_t)store_now(call->transaction);
    const char *username = query_or_empty(call, "username");
    if (!may_manage_others(call)) {
        if (*username && !string_equal(username, call->principal.username))
            return error_set(error, ERROR_NOT_FOUND, "There is no account '%s'.", username);
        username = call->principal.username;
    }
    int r = page_read(call, &page, error);
    if (r >= 0)
        r = statement_token_list(call->transaction,
                                 &(TokenListParameters){.kind = "token",
                                                        .username = username,
                                                        .now = now,
                                                        .maximum = page.size,
                                                        .offset = page.offset},
                                 &rows, &count, error);
    if (r >= 0)
        r = statement_token_count(call->transaction,
                                  &(TokenCountParameters){.kind = "token", .username = username, .now = now},
                                  &total, error);
    if (r < 0)
        return r;
    Writer writer = list_begin(call);
    for (size_t i = 0; i < count; i++)
        write_token(&writer, &rows[i]);
    list_end(call, &writer, &page, total.total);
    return writer.status;
}

static int find_token(ApiCall *call, TokenGetRow *row, Error *error)
{
    int r =
        statement_token_get(call->transaction, &(TokenGetParameters){.id = call->parameters[0]}, row, error);
    if (r < 0)
        return r;
    bool is_visible = r == 1 && string_equal(row->kind, "token") &&
                      (string_equal(row->username, call->principal.username) || may_manage_others(call));
    return is_visible ? 0 : error_set(error, ERROR_NOT_FOUND, "There is no token '%s'.", call->parameters[0]);
}

static int get_token(ApiCall *call, Error *error)
{
    TokenGetRow row;
    int r = find_token(call, &row, error);
    if (r < 0)
        return r;
    Writer writer = writer_new(&call->answer);
    write_token(&writer, &(TokenListRow){.id = row.id,
                                         .username = row.username,
                                         .default_tenant = row.default_tenant,
                                         .description = row.description,
                                         .created_at = row.created_at,
                                         .expires_at = row.expires_at,
                                         .last_used_at = row.last_used_at,
                                         .scope = row.scope,
                                         .has_second_factor = row.has_second_factor,
                                         .source = row.source});
    return writer.status;
}

/* Ending
 * ------------------------------------------------------------------------------------------------------------
 */

static int delete_token(ApiCall *call, Error *error)
{
    TokenGetRow row;
    int r = find_token(call, &row, error);
    if (r >= 0)
        r = statement_token_revoke(call->transaction, &(TokenRevokeParameters){.id = row.id}, error);
    if (r < 0)
        return r;
    call->audit_object = arena_format(call->arena, "token:%s", row.id);
    answer_empty(call);
    return 0;
}

/* The name must be said, also one's own: an empty query must not end everything. */
static int delete_tokens(ApiCall *call, Error *error)
{
    const char *username = query_or_empty(call, "username");
    UserGetRow user;
    if (!*username)
        return error_set_field(error, ERROR_BAD_REQUEST, "username", "Say whose tokens: username=NAME.");
    int r = statement_user_get(call->transaction, &(UserGetParameters){.username = username}, &user, error);
    if (r < 0)
        return r;
    if (r == 0 || (!string_equal(username, call->principal.username) && !may_manage_others(call)))
        return error_set(error, ERROR_NOT_FOUND, "There is no account '%s'.", username);
    r = statement_tokens_revoke_of_user(
        call->transaction, &(TokensRevokeOfUserParameters){.username = username, .kind = "token", .but = ""},
        error);
    if (r < 0)
        return r;
    call->audit_object = arena_format(call->arena, "user:%s", username);
    answer_empty(call);
    return 0;
}

static const RouteQuery query_tokens[] = {
    {"_size", "rows at most, 100 when absent", 0, API_PAGE_MAX},
    {"_offset", "rows to leave out", 0, INT32_MAX},
    {"username", "only those of this account", 0, 0},
    {0},
};
static const RouteQuery query_whose[] = {{"username", "of which account; needed", 0, 0}, {0}};

const ApiRoute routes_tokens[] = {
    ROUTE(GET, "/tokens", TOKEN_LIST, NO_TENANT, READ, NO_BODY, list_tokens, NULL, 200,
          "One's own tokens; all for those who manage them", .query = query_tokens),
    ROUTE(POST, "/tokens", TOKEN_CREATE, NO_TENANT, WRITE, JSON_BODY, post_token, "token_create", 201,
          "Makes a token, shown once", .fields = token_fields, .has_secret_answer = true),
    ROUTE(DELETE, "/tokens", TOKEN_DELETE, NO_TENANT, WRITE, NO_BODY, delete_tokens, "tokens_delete", 204,
          "Revokes all tokens of an account at once", .query = query_whose,
          .unshown = "it is about many objects"),
    ROUTE(GET, "/tokens/{id}", TOKEN_LIST, NO_TENANT, READ, NO_BODY, get_token, NULL, 200, "A token"),
    ROUTE(DELETE, "/tokens/{id}", TOKEN_DELETE, NO_TENANT, WRITE, NO_BODY, delete_token, "token_delete", 204,
          "Revokes a token at once"),
    {0},
};
