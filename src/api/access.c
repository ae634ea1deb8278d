/* SPDX-License-Identifier: Apache-2.0 */
/* Tokens, accounts, tenants. */

#include <errno.h>

#include "api/access_tokens.h"
#include "api/api_internal.h"
#include "api/rights.h"
#include "base/string.h"
#include "crypto/hash.h"
#include "crypto/password.h"
#include "crypto/token.h"

enum { PASSWORD_MINIMUM = 12, TOKEN_LIFE_DEFAULT_DAYS = 30, TOKEN_LIFE_MAX_DAYS = 365 };
static const int64_t DAY = 86400 * (int64_t)USEC_PER_SEC;
static const int64_t PURGE_INTERVAL = 3600 * (int64_t)USEC_PER_SEC;

/* Tokens
 * ------------------------------------------------------------------------------------------------------------------
 */

typedef struct TokenBody {
    const char *description, *expiration_date, *tenant;
} TokenBody;

static const JsonField token_fields[] = {
    {"description", JSON_FIELD_STRING, offsetof(TokenBody, description), JSON_FIELD_NULLABLE, 0, 255,
     "what it is for"},
    {"expiration_date", JSON_FIELD_STRING, offsetof(TokenBody, expiration_date), JSON_FIELD_NULLABLE, 1, 40,
     "RFC 3339; in 30 days when absent, in a year at most"},
    {"tenant", JSON_FIELD_STRING, offsetof(TokenBody, tenant), JSON_FIELD_NULLABLE | JSON_FIELD_IDENTIFIER, 1,
     255, "tenant of requests that name none"},
    {0},
};

static int read_expiry(ApiCall *call, const char *text, int64_t *ret_expiry, Error *error)
{
    int64_t now = (int64_t)store_now(call->transaction);
    *ret_expiry = now + TOKEN_LIFE_DEFAULT_DAYS * DAY;
    if (!text)
        return 0;
    Usec time;
    if (timestamp_parse(text, &time) < 0)
        return error_set_field(error, ERROR_BAD_FIELD, "expiration_date", "'%s' is not an RFC 3339 time.",
                               text);
    if ((int64_t)time <= now || (int64_t)time > now + TOKEN_LIFE_MAX_DAYS * DAY)
        return error_set_field(error, ERROR_BAD_FIELD, "expiration_date",
                               "A token expires in the future, within %d days.", TOKEN_LIFE_MAX_DAYS);
    *ret_expiry = (int64_t)time;
    return 0;
}

int token_create(StoreTransaction *transaction, Random *random, const char *username, const char *tenant,
                 const char *description, int64_t expires_at, char ret_id[static ID_SIZE], Secret **ret_token,
                 Error *error)
{
    uint8_t hash[HASH_SIZE];
    _cleanup_secret_ Secret *token = NULL;
    if (token_make(random, "btk", ret_id, &token, hash) < 0)
        return error_set(error, ERROR_INTERNAL, "No memory for a token.");
    int r = statement_token_insert(transaction,
                                   &(TokenInsertParameters){.id = ret_id,
                                                            .secret_hash = {hash, sizeof(hash)},
                                                            .username = username,
                                                            .default_tenant = tenant ?: "",
                                                            .description = description ?: "",
                                                            .created_at = (int64_t)store_now(transaction),
                                                            .expires_at = expires_at},
                                   error);
    if (r < 0)
        return r;
    *ret_token = TAKE_PTR(token);
    return 0;
}

static int check_membership(ApiCall *call, const char *tenant, Error *error)
{
    if (principal_has(&call->principal, PERMISSION_ALL_TENANTS)) {
        TenantGetRow row;
        int r = statement_tenant_get(call->transaction, &(TenantGetParameters){.name = tenant}, &row, error);
        return r != 0 ? MIN(r, 0) : error_set(error, ERROR_NOT_FOUND, "There is no tenant '%s'.", tenant);
    }
    MembershipGetRow row;
    int r = statement_membership_get(
        call->transaction, &(MembershipGetParameters){.tenant = tenant, .username = call->principal.username},
        &row, error);
    return r != 0 ? MIN(r, 0) : error_set(error, ERROR_NOT_FOUND, "There is no tenant '%s'.", tenant);
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
    if (r < 0)
        return r;
    purge_tokens(call);
    char id[ID_SIZE];
    _cleanup_secret_ Secret *token = NULL;
    r = token_create(call->transaction, call->api->settings.random, call->principal.username, body.tenant,
                     body.description, expires_at, id, &token, error);
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
    writer_string(&writer, "description", body.description ?: "");
    writer_end_object(&writer);
    return writer.status;
}

static void write_token(Writer *writer, const TokenListRow *row)
{
    writer_begin_object(writer, NULL);
    writer_string(writer, "id", row->id);
    writer_string(writer, "value", "********");
    writer_string(writer, "username", row->username);
    writer_string(writer, "tenant", *row->default_tenant ? row->default_tenant : NULL);
    writer_string(writer, "description", row->description);
    writer_time(writer, "created_at", row->created_at);
    writer_time(writer, "expiration_date", row->expires_at);
    writer_time(writer, "last_used", row->last_used_at);
    writer_end_object(writer);
}

static int list_tokens(ApiCall *call, Error *error)
{
    Page page;
    TokenListRow *rows;
    size_t count;
    int r = page_read(call, &page, error);
    if (r >= 0)
        r = statement_token_list(call->transaction,
                                 &(TokenListParameters){.username = call->principal.username,
                                                        .maximum = page.size,
                                                        .offset = page.offset},
                                 &rows, &count, error);
    if (r < 0)
        return r;
    Writer writer = list_begin(call);
    for (size_t i = 0; i < count; i++)
        write_token(&writer, &rows[i]);
    list_end(call, &writer, &page, page.offset + (int64_t)count);
    return writer.status;
}

/* One's own, or anybody's with the right to manage them. */
static int find_token(ApiCall *call, TokenGetRow *row, Error *error)
{
    int r =
        statement_token_get(call->transaction, &(TokenGetParameters){.id = call->parameters[0]}, row, error);
    if (r < 0)
        return r;
    bool is_visible = r == 1 && (string_equal(row->username, call->principal.username) ||
                                 principal_has(&call->principal, PERMISSION_TOKEN_MANAGE_OTHERS));
    return is_visible ? 0 : error_set(error, ERROR_NOT_FOUND, "There is no token '%s'.", call->parameters[0]);
}

static int get_token(ApiCall *call, Error *error)
{
    TokenGetRow row;
    int r = find_token(call, &row, error);
    if (r < 0)
        return r;
    Writer writer = writer_new(&call->answer);
    write_token(&writer, &(TokenListRow){row.id, row.username, row.default_tenant, row.description,
                                         row.created_at, row.expires_at, row.last_used_at});
    return writer.status;
}

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

/* Accounts
 * ----------------------------------------------------------------------------------------------------------------
 */

typedef struct UserBody {
    const char *username, *password, *role;
    bool must_change_password;
} UserBody;

static const JsonField user_fields[] = {
    {"username", JSON_FIELD_STRING, offsetof(UserBody, username), JSON_FIELD_REQUIRED | JSON_FIELD_IDENTIFIER,
     1, 255, "its name"},
    {"password", JSON_FIELD_STRING, offsetof(UserBody, password), JSON_FIELD_REQUIRED | JSON_FIELD_SECRET, 1,
     1024, "its password"},
    {"role", JSON_FIELD_STRING, offsetof(UserBody, role), JSON_FIELD_NULLABLE, 1, 32, "sys_admin or default"},
    {"must_change_password", JSON_FIELD_BOOLEAN, offsetof(UserBody, must_change_password), 0, 0, 0,
     "at the first sign-in"},
    {0},
};

/* Length is what counts (NIST SP 800-63B); what is easily guessed from the account is refused. */
static int check_password(const char *username, const char *password, Error *error)
{
    if (strlen(password) < PASSWORD_MINIMUM)
        return error_set_field(error, ERROR_BAD_FIELD, "password", "A password has at least %d characters.",
                               PASSWORD_MINIMUM);
    if (strcasestr(password, username))
        return error_set_field(error, ERROR_BAD_FIELD, "password",
                               "A password must not contain the name of the account.");
    if (strspn(password, (char[]){password[0], '\0'}) == strlen(password))
        return error_set_field(error, ERROR_BAD_FIELD, "password",
                               "A password is more than one character repeated.");
    return 0;
}

static int hash_password(const char *text, char ret_hash[static PASSWORD_HASH_SIZE], Error *error)
{
    _cleanup_secret_ Secret *password = secret_new(text, strlen(text));
    int r = password ? password_hash(password, ret_hash) : -ENOMEM;
    return r < 0 ? error_set_errno(error, ERROR_BAD_FIELD, -r, "The password cannot be hashed") : 0;
}

static int write_user(ApiCall *call, const char *username, Error *error)
{
    UserGetRow row;
    int r = statement_user_get(call->transaction, &(UserGetParameters){.username = username}, &row, error);
    if (r < 0)
        return r;
    if (r == 0)
        return error_set(error, ERROR_NOT_FOUND, "There is no account '%s'.", username);
    MembershipsOfUserRow *memberships;
    size_t count;
    r = statement_memberships_of_user(call->transaction, &(MembershipsOfUserParameters){.username = username},
                                      &memberships, &count, error);
    if (r < 0)
        return r;
    Writer writer = writer_new(&call->answer);
    writer_begin_object(&writer, NULL);
    writer_string(&writer, "username", row.username);
    writer_string(&writer, "role", row.role);
    writer_boolean(&writer, "active", row.is_active);
    writer_boolean(&writer, "is_locked", row.locked_until > (int64_t)store_now(call->transaction));
    writer_boolean(&writer, "must_change_password", row.must_change_password);
    writer_time(&writer, "created_at", row.created_at);
    writer_time(&writer, "last_login_at", row.last_login_at);
    writer_begin_object(&writer, "tenants");
    for (size_t i = 0; i < count; i++)
        writer_string(&writer, memberships[i].tenant, memberships[i].role);
    writer_end_object(&writer);
    writer_end_object(&writer);
    return writer.status;
}

static int get_self(ApiCall *call, Error *error)
{
    return write_user(call, call->principal.username, error);
}

static int get_user(ApiCall *call, Error *error)
{
    return write_user(call, call->parameters[0], error);
}

static int list_users(ApiCall *call, Error *error)
{
    Page page;
    UserListRow *rows;
    UserCountRow total;
    size_t count;
    int r = page_read(call, &page, error);
    if (r >= 0)
        r = statement_user_list(
            call->transaction,
            &(UserListParameters){.after = "", .maximum = page.size, .offset = page.offset}, &rows, &count,
            error);
    if (r >= 0)
        r = statement_user_count(call->transaction, &total, error);
    if (r < 0)
        return r;
    int64_t now = (int64_t)store_now(call->transaction);
    Writer writer = list_begin(call);
    for (size_t i = 0; i < count; i++) {
        writer_begin_object(&writer, NULL);
        writer_string(&writer, "username", rows[i].username);
        writer_string(&writer, "role", rows[i].role);
        writer_boolean(&writer, "active", rows[i].is_active);
        writer_boolean(&writer, "is_locked", rows[i].locked_until > now);
        writer_time(&writer, "created_at", rows[i].created_at);
        writer_time(&writer, "last_login_at", rows[i].last_login_at);
        writer_end_object(&writer);
    }
    list_end(call, &writer, &page, total.total);
    return writer.status;
}

typedef struct NewUser {
    const UserBody *body;
    AccessRole role;
    char hash[PASSWORD_HASH_SIZE];
} NewUser;

static int insert_user(ApiCall *call, void *context, Error *error)
{
    const NewUser *user = context;
    int r = statement_user_insert(
        call->transaction,
        &(UserInsertParameters){.username = user->body->username,
                                .password_hash = user->hash,
                                .role = access_role_to_string(user->role),
                                .must_change_password = user->body->must_change_password,
                                .created_at = (int64_t)store_now(call->transaction)},
        error);
    if (r < 0) {
        error_prefix(error, "The account '%s'", user->body->username);
        return r;
    }
    call->audit_object = arena_format(call->arena, "user:%s", user->body->username);
    buffer_clear(&call->answer); /* the job may run again */
    return write_user(call, user->body->username, error);
}

static int put_user(ApiCall *call, Error *error)
{
    UserBody body = {0};
    int r = body_dispatch(call, user_fields, &body, error);
    if (r < 0)
        return r;
    NewUser user = {.body = &body,
                    .role = body.role ? access_role_from_string(body.role) : ACCESS_ROLE_DEFAULT};
    if (user.role < 0 || !access_role_is_system(user.role))
        return error_set_field(error, ERROR_BAD_FIELD, "role", "A system role is sys_admin or default.");
    r = check_password(body.username, body.password, error);
    if (r >= 0)
        r = hash_password(body.password, user.hash, error);
    if (r >= 0)
        r = api_call_run(call, STORE_WRITE, insert_user, &user, error);
    memory_wipe(user.hash, sizeof(user.hash));
    return r;
}

typedef struct UserChange {
    const char *password, *role;
    json_t *active;
} UserChange;

static const JsonField user_change_fields[] = {
    {"role", JSON_FIELD_STRING, offsetof(UserChange, role), 0, 1, 32, "sys_admin or default"},
    {"active", JSON_FIELD_ANY, offsetof(UserChange, active), 0, 0, 0, "false takes every right away at once"},
    {0},
};

static int keep_an_administrator(ApiCall *call, const char *username, Error *error)
{
    if (string_equal(username, call->principal.username))
        return error_set(error, ERROR_CONFLICT,
                         "Nobody can take away their own administration; ask another administrator.");
    UserCountAdministratorsRow row;
    int r = statement_user_count_administrators(call->transaction, &row, error);
    if (r < 0)
        return r;
    return row.total > 1 ? 0 : error_set(error, ERROR_CONFLICT, "The last administrator must stay.");
}

static int apply_user_change(ApiCall *call, const UserGetRow *user, const UserChange *change, Error *error)
{
    bool is_active = json_is_true(change->active);
    AccessRole role =
        change->role ? access_role_from_string(change->role) : access_role_from_string(user->role);
    if (role < 0 || !access_role_is_system(role))
        return error_set_field(error, ERROR_BAD_FIELD, "role", "A system role is sys_admin or default.");
    if (change->active && !json_is_boolean(change->active))
        return error_set_field(error, ERROR_BAD_FIELD, "active", "'active' is true or false.");
    bool loses = user->is_active && string_equal(user->role, "sys_admin") &&
                 (role != ACCESS_ROLE_SYS_ADMIN || (change->active && !is_active));
    int r = loses ? keep_an_administrator(call, user->username, error) : 0;
    if (r >= 0)
        r = statement_user_set_role(
            call->transaction,
            &(UserSetRoleParameters){.username = user->username, .role = access_role_to_string(role)}, error);
    if (r >= 0 && change->active)
        r = statement_user_set_active(
            call->transaction, &(UserSetActiveParameters){.username = user->username, .is_active = is_active},
            error);
    return r;
}

static int post_user(ApiCall *call, Error *error)
{
    UserChange change = {0};
    UserGetRow user;
    int r = body_dispatch(call, user_change_fields, &change, error);
    if (r >= 0)
        r = statement_user_get(call->transaction, &(UserGetParameters){.username = call->parameters[0]},
                               &user, error);
    if (r < 0)
        return r;
    if (r == 0)
        return error_set(error, ERROR_NOT_FOUND, "There is no account '%s'.", call->parameters[0]);
    r = apply_user_change(call, &user, &change, error);
    if (r < 0)
        return r;
    call->audit_object = arena_format(call->arena, "user:%s", user.username);
    return write_user(call, user.username, error);
}

static int delete_user(ApiCall *call, Error *error)
{
    const char *username = call->parameters[0];
    UserGetRow user;
    int r = statement_user_get(call->transaction, &(UserGetParameters){.username = username}, &user, error);
    if (r < 0)
        return r;
    if (r == 0)
        return error_set(error, ERROR_NOT_FOUND, "There is no account '%s'.", username);
    bool is_administrator = user.is_active && string_equal(user.role, "sys_admin");
    if (is_administrator || string_equal(username, call->principal.username))
        r = keep_an_administrator(call, username, error);
    else
        r = 0;
    if (r >= 0)
        r = statement_tokens_purge_of_user(call->transaction,
                                           &(TokensPurgeOfUserParameters){.username = username}, error);
    if (r >= 0)
        r = statement_memberships_delete_of_user(
            call->transaction, &(MembershipsDeleteOfUserParameters){.username = username}, error);
    if (r >= 0)
        r = forget_rights_of_user(call->transaction, username, error);
    if (r >= 0)
        r = statement_user_delete(call->transaction, &(UserDeleteParameters){.username = username}, error);
    if (r < 0)
        return r;
    call->audit_object = arena_format(call->arena, "user:%s", username);
    answer_empty(call);
    return 0;
}

typedef struct PasswordBody {
    const char *password, *current_password;
} PasswordBody;

static const JsonField password_fields[] = {
    {"password", JSON_FIELD_STRING, offsetof(PasswordBody, password), JSON_FIELD_REQUIRED | JSON_FIELD_SECRET,
     1, 1024, "the new one"},
    {"current_password", JSON_FIELD_STRING, offsetof(PasswordBody, current_password), JSON_FIELD_SECRET, 1,
     1024, "needed for one's own"},
    {0},
};

typedef struct PasswordChange {
    const char *username;
    char old_hash[PASSWORD_HASH_SIZE], new_hash[PASSWORD_HASH_SIZE];
} PasswordChange;

static int read_hash(StoreTransaction *transaction, void *context, Error *error)
{
    PasswordChange *change = context;
    UserGetRow row;
    int r = statement_user_get(transaction, &(UserGetParameters){.username = change->username}, &row, error);
    if (r < 0)
        return r;
    if (r == 0)
        return error_set(error, ERROR_NOT_FOUND, "There is no account '%s'.", change->username);
    return string_copy(change->old_hash, sizeof(change->old_hash), row.password_hash);
}

static int store_hash(ApiCall *call, void *context, Error *error)
{
    const PasswordChange *change = context;
    int r = statement_user_set_password(
        call->transaction,
        &(UserSetPasswordParameters){.username = change->username, .password_hash = change->new_hash}, error);
    /* Whoever knew the old password may have made tokens with it. */
    if (r >= 0)
        r = statement_tokens_revoke_of_user(
            call->transaction, &(TokensRevokeOfUserParameters){.username = change->username}, error);
    if (r < 0)
        return r;
    call->audit_object = arena_format(call->arena, "user:%s", change->username);
    answer_empty(call);
    return 0;
}

static int change_password(ApiCall *call, const char *username, bool needs_current, Error *error)
{
    PasswordBody body = {0};
    PasswordChange change = {.username = username};
    int r = body_dispatch(call, password_fields, &body, error);
    if (r >= 0)
        r = check_password(username, body.password, error);
    if (r >= 0)
        r = store_run(call->api->settings.store, STORE_READ, read_hash, &change, error);
    if (r >= 0 && needs_current) {
        _cleanup_secret_ Secret *current =
            secret_new(body.current_password ?: "", strlen(body.current_password ?: ""));
        if (!current || password_verify(change.old_hash, current) < 0)
            r = error_set_field(error, ERROR_FORBIDDEN, "current_password",
                                "The current password is not right.");
    }
    if (r >= 0)
        r = hash_password(body.password, change.new_hash, error);
    if (r >= 0)
        r = api_call_run(call, STORE_WRITE, store_hash, &change, error);
    memory_wipe(&change, sizeof(change));
    return r;
}

static int post_own_password(ApiCall *call, Error *error)
{
    return change_password(call, call->principal.username, true, error);
}

static int post_password(ApiCall *call, Error *error)
{
    return change_password(call, call->parameters[0], false, error);
}

const ApiRoute routes_access[] = {
    ROUTE(GET, "/tokens", TOKEN_LIST, NO_TENANT, READ, NO_BODY, list_tokens, NULL, 200, "One's own tokens",
          .query = query_page),
    ROUTE(POST, "/tokens", TOKEN_CREATE, NO_TENANT, WRITE, JSON_BODY, post_token, "token_create", 201,
          "Makes a token, shown once", .fields = token_fields, .has_secret_answer = true),
    ROUTE(GET, "/tokens/{id}", TOKEN_LIST, NO_TENANT, READ, NO_BODY, get_token, NULL, 200, "A token"),
    ROUTE(DELETE, "/tokens/{id}", TOKEN_DELETE, NO_TENANT, WRITE, NO_BODY, delete_token, "token_delete", 204,
          "Revokes a token at once"),
    ROUTE(GET, "/user", USER_GET_SELF, NO_TENANT, READ, NO_BODY, get_self, NULL, 200, "One's own account",
          .shows_object = true),
    ROUTE(POST, "/user/password", USER_PASSWORD_SELF, NO_TENANT, POOL, JSON_BODY, post_own_password,
          "user_password", 204, "Changes one's own password; ends all one's tokens",
          .fields = password_fields, .shown_by = "/user"),
    ROUTE(GET, "/users", USER_LIST, NO_TENANT, READ, NO_BODY, list_users, NULL, 200, "Accounts",
          .query = query_page),
    ROUTE(PUT, "/users", USER_CREATE, NO_TENANT, POOL, JSON_BODY, put_user, "user_create", 201,
          "Makes an account", .fields = user_fields, .shown_member = "username"),
    ROUTE(GET, "/users/{name}", USER_LIST, NO_TENANT, READ, NO_BODY, get_user, NULL, 200, "An account"),
    ROUTE(POST, "/users/{name}", USER_UPDATE, NO_TENANT, WRITE, JSON_BODY, post_user, "user_update", 200,
          "Changes an account's role, activates or deactivates it", .fields = user_change_fields),
    ROUTE(DELETE, "/users/{name}", USER_DELETE, NO_TENANT, WRITE, NO_BODY, delete_user, "user_delete", 204,
          "Removes an account"),
    ROUTE(POST, "/users/{name}/password", USER_UPDATE, NO_TENANT, POOL, JSON_BODY, post_password,
          "user_password", 204, "Sets an account's password; ends all its tokens", .fields = password_fields),
    {0},
};
