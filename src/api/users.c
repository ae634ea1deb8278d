/* SPDX-License-Identifier: Apache-2.0 */
/* Accounts: who there is, with which system role, active or not. Passwords are in passwords.c. */

#include <errno.h>

#include "api/api_internal.h"
#include "api/passwords.h"
#include "api/rights.h"
#include "base/string.h"

/* Names are ASCII without it. */
static const char AFTER_ALL_NAMES[] = "\x7f";

/* What is shown
 * ------------------------------------------------------------------------------------------------------- */

static int find_user(ApiCall *call, const char *username, UserGetRow *row, Error *error)
{
    int r = statement_user_get(call->transaction, &(UserGetParameters){.username = username}, row, error);
    return r != 0 ? MIN(r, 0) : error_set(error, ERROR_NOT_FOUND, "There is no account '%s'.", username);
}

static void write_account(Writer *writer, const UserListRow *row, int64_t now)
{
    writer_string(writer, "username", row->username);
    writer_string(writer, "role", row->role);
    writer_string(writer, "origin", row->origin);
    writer_boolean(writer, "active", row->is_active);
    writer_boolean(writer, "is_locked", row->locked_until > now);
    writer_boolean(writer, "must_change_password", row->must_change_password);
    writer_boolean(writer, "has_second_factor", row->second_factors > 0);
    writer_time(writer, "created_at", row->created_at);
    writer_time(writer, "first_login_at", row->first_login_at);
    writer_time(writer, "last_login_at", row->last_login_at);
    writer_boolean(writer, "show_getting_started", false);
}

/* Counts, or with _get_data=true the things themselves. */
static int wants_data(ApiCall *call, bool *ret_wants, Error *error)
{
    const char *text = http_exchange_query(call->exchange, "_get_data", 0);
    *ret_wants = false;
    if (text && string_to_bool(text, ret_wants) < 0)
        return error_set_field(error, ERROR_BAD_REQUEST, "_get_data", "'_get_data' is true or false.");
    return 0;
}

static int write_tenants(ApiCall *call, Writer *writer, const char *username, bool in_full, Error *error)
{
    MembershipsOfUserRow *rows;
    size_t count;
    int r = statement_memberships_of_user(
        call->transaction, &(MembershipsOfUserParameters){.username = username}, &rows, &count, error);
    if (r < 0)
        return r;
    if (!in_full) {
        writer_integer(writer, "tenants", (int64_t)count);
        return 0;
    }
    writer_begin_object(writer, "tenants");
    for (size_t i = 0; i < count; i++)
        writer_string(writer, rows[i].tenant, rows[i].role);
    writer_end_object(writer);
    writer_begin_object(writer, "tenant_roles");
    writer_begin_object(writer, "direct");
    for (size_t i = 0; i < count; i++)
        writer_string(writer, rows[i].tenant, rows[i].role);
    writer_end_object(writer);
    writer_end_object(writer);
    return 0;
}

static int write_user(ApiCall *call, const char *username, Error *error)
{
    UserListRow *rows;
    size_t count;
    bool in_full;
    int r = wants_data(call, &in_full, error);
    if (r >= 0)
        r = statement_user_list(call->transaction,
                                &(UserListParameters){.first = username, .last = username, .maximum = 1},
                                &rows, &count, error);
    if (r < 0)
        return r;
    if (count == 0)
        return error_set(error, ERROR_NOT_FOUND, "There is no account '%s'.", username);
    buffer_clear(&call->answer); /* the job may run again */
    Writer writer = writer_new(&call->answer);
    writer_begin_object(&writer, NULL);
    write_account(&writer, &rows[0], (int64_t)store_now(call->transaction));
    r = write_tenants(call, &writer, username, in_full, error);
    writer_end_object(&writer);
    return r < 0 ? r : writer.status;
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
    bool in_full;
    int r = page_read(call, &page, error);
    if (r >= 0)
        r = wants_data(call, &in_full, error);
    if (r >= 0)
        r = statement_user_list(
            call->transaction,
            &(UserListParameters){
                .first = "", .last = AFTER_ALL_NAMES, .maximum = page.size, .offset = page.offset},
            &rows, &count, error);
    if (r >= 0)
        r = statement_user_count(call->transaction, &total, error);
    if (r < 0)
        return r;
    Writer writer = list_begin(call);
    for (size_t i = 0; i < count && r >= 0; i++) {
        writer_begin_object(&writer, NULL);
        write_account(&writer, &rows[i], (int64_t)store_now(call->transaction));
        if (in_full)
            r = write_tenants(call, &writer, rows[i].username, true, error);
        else
            writer_integer(&writer, "tenants", rows[i].tenants);
        writer_end_object(&writer);
    }
    list_end(call, &writer, &page, total.total);
    return r < 0 ? r : writer.status;
}

/* Making
 * ------------------------------------------------------------------------------------------------------------
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
    {"role", JSON_FIELD_STRING, offsetof(UserBody, role), JSON_FIELD_NULLABLE, 1, 255,
     "its system role; default when absent"},
    {"must_change_password", JSON_FIELD_BOOLEAN, offsetof(UserBody, must_change_password), 0, 0, 0,
     "at the first sign-in, which must come before the password expires"},
    {0},
};

typedef struct NewUser {
    const UserBody *body;
    AccessRole role;
    char hash[PASSWORD_HASH_SIZE];
} NewUser;

static int insert_user(ApiCall *call, void *context, Error *error)
{
    const NewUser *user = context;
    int64_t now = (int64_t)store_now(call->transaction);
    int r = statement_user_insert(
        call->transaction,
        &(UserInsertParameters){.username = user->body->username,
                                .password_hash = user->hash,
                                .role = access_role_to_string(user->role),
                                .must_change_password = user->body->must_change_password,
                                .created_at = now,
                                .password_expires_at =
                                    user->body->must_change_password ? password_expiry(call->api, now) : 0},
        error);
    if (r < 0) {
        error_prefix(error, "The account '%s'", user->body->username);
        return r;
    }
    call->audit_object = arena_format(call->arena, "user:%s", user->body->username);
    return write_user(call, user->body->username, error);
}

static int read_system_role(const char *text, AccessRole *ret_role, Error *error)
{
    *ret_role = text ? access_role_from_string(text) : ACCESS_ROLE_DEFAULT;
    if (*ret_role < 0 || !access_role_is_system(*ret_role))
        return error_set_field(error, ERROR_BAD_FIELD, "role",
                               "A system role is sys_admin, default, auditor or security_officer.");
    return 0;
}

/* Words that stand where a name could: in paths, in records of who did something. */
static bool is_reserved(const char *username)
{
    static const char *const words[] = {"active", "unlock", "system", "nobody"};
    for (size_t i = 0; i < ELEMENTSOF(words); i++)
        if (string_equal(username, words[i]))
            return true;
    return false;
}

static int put_user(ApiCall *call, Error *error)
{
    UserBody body = {0};
    NewUser user = {.body = &body};
    int r = body_dispatch(call, user_fields, &body, error);
    if (r >= 0)
        r = read_system_role(body.role, &user.role, error);
    if (r < 0)
        return r;
    if (is_reserved(body.username))
        return error_set_field(error, ERROR_BAD_FIELD, "username", "'%s' is a word of the interface's own.",
                               body.username);
    _cleanup_policy_ Policy policy;
    policy_of_installation(call->api, &policy);
    r = policy_check_password(&policy, body.username, body.password, error);
    if (r >= 0)
        r = password_hash_text(body.password, user.hash, error);
    if (r >= 0)
        r = api_call_run(call, STORE_WRITE, insert_user, &user, error);
    memory_wipe(user.hash, sizeof(user.hash));
    return r;
}

/* Changing
 * ----------------------------------------------------------------------------------------------------------
 */

static int keep_an_administrator(ApiCall *call, const UserGetRow *user, Error *error)
{
    if (string_equal(user->username, call->principal.username))
        return error_set(error, ERROR_CONFLICT,
                         "Nobody can take away their own administration; ask another administrator.");
    if (!user->is_active || !string_equal(user->role, "sys_admin"))
        return 0;
    UserCountAdministratorsRow row;
    int r = statement_user_count_administrators(call->transaction, &row, error);
    if (r < 0)
        return r;
    return row.total > 1 ? 0 : error_set(error, ERROR_CONFLICT, "The last administrator must stay.");
}

/* Whoever has other rights than before signs in anew, so that no cookie of before lives on. */
static int end_sessions(ApiCall *call, const char *username, Error *error)
{
    int r = statement_tokens_revoke_of_user(
        call->transaction,
        &(TokensRevokeOfUserParameters){.username = username, .kind = "session", .but = ""}, error);
    return MIN(r, 0);
}

typedef struct RoleChange {
    const char *username;
    AccessRole role;
} RoleChange;

static int store_role(ApiCall *call, void *context, Error *error)
{
    const RoleChange *change = context;
    UserGetRow user;
    int r = find_user(call, change->username, &user, error);
    if (r < 0)
        return r;
    if (change->role != ACCESS_ROLE_SYS_ADMIN && string_equal(user.role, "sys_admin"))
        r = keep_an_administrator(call, &user, error);
    if (r >= 0)
        r = statement_user_set_role(
            call->transaction,
            &(UserSetRoleParameters){.username = user.username, .role = access_role_to_string(change->role)},
            error);
    if (r >= 0)
        r = end_sessions(call, user.username, error);
    if (r < 0)
        return r;
    call->audit_object = arena_format(call->arena, "user:%s", change->username);
    call->audit_details = arena_format(call->arena, "{\"role\":\"%s\"}", access_role_to_string(change->role));
    return write_user(call, change->username, error);
}

typedef struct UserChange {
    const char *password, *role;
} UserChange;

static const JsonField user_change_fields[] = {
    {"password", JSON_FIELD_STRING, offsetof(UserChange, password), JSON_FIELD_SECRET, 1, 1024,
     "a new one, for one sign-in; ends all tokens and sessions"},
    {"role", JSON_FIELD_STRING, offsetof(UserChange, role), 0, 1, 255, "system role"},
    {0},
};

static int answer_user(ApiCall *call, void *context, Error *error)
{
    return write_user(call, context, error);
}

static int post_user(ApiCall *call, Error *error)
{
    UserChange body = {0};
    const char *username = call->parameters[0];
    int r = body_dispatch(call, user_change_fields, &body, error);
    if (r < 0)
        return r;
    if (!body.password == !body.role)
        return error_set(error, ERROR_BAD_REQUEST, "Give exactly one of password and role.");
    if (body.password) {
        r = password_set_for_other(call, username, body.password, error);
        return r < 0 ? r : api_call_run(call, STORE_READ, answer_user, (void *)(uintptr_t)username, error);
    }
    RoleChange change = {.username = username};
    r = read_system_role(body.role, &change.role, error);
    return r < 0 ? r : api_call_run(call, STORE_WRITE, store_role, &change, error);
}

typedef struct ActionBody {
    const char *action;
} ActionBody;

static const JsonField action_fields[] = {
    {"action", JSON_FIELD_STRING, offsetof(ActionBody, action), JSON_FIELD_REQUIRED, 1, 32,
     "activate or deactivate"},
    {0},
};

static int post_active(ApiCall *call, Error *error)
{
    ActionBody body = {0};
    UserGetRow user;
    int r = body_dispatch(call, action_fields, &body, error);
    if (r < 0)
        return r;
    bool is_active = string_equal(body.action, "activate");
    if (!is_active && !string_equal(body.action, "deactivate"))
        return error_set_field(error, ERROR_BAD_FIELD, "action", "The actions are activate and deactivate.");
    r = find_user(call, call->parameters[0], &user, error);
    if (r >= 0 && !is_active)
        r = keep_an_administrator(call, &user, error);
    if (r >= 0 && !is_active)
        r = end_sessions(call, user.username, error);
    if (r >= 0)
        r = statement_user_set_active(
            call->transaction, &(UserSetActiveParameters){.username = user.username, .is_active = is_active},
            error);
    if (r < 0)
        return r;
    call->audit_object = arena_format(call->arena, "user:%s", user.username);
    call->audit_details = arena_format(call->arena, "{\"active\":%s}", is_active ? "true" : "false");
    return write_user(call, user.username, error);
}

static int post_unlock(ApiCall *call, Error *error)
{
    UserGetRow user;
    int r = find_user(call, call->parameters[0], &user, error);
    if (r >= 0)
        r = statement_user_unlock(call->transaction, &(UserUnlockParameters){.username = user.username},
                                  error);
    if (r < 0)
        return r;
    call->audit_object = arena_format(call->arena, "user:%s", user.username);
    return write_user(call, user.username, error);
}

static int delete_user(ApiCall *call, Error *error)
{
    const char *username = call->parameters[0];
    UserGetRow user;
    int r = find_user(call, username, &user, error);
    if (r >= 0)
        r = keep_an_administrator(call, &user, error);
    if (r >= 0)
        r = statement_tokens_purge_of_user(call->transaction,
                                           &(TokensPurgeOfUserParameters){.username = username}, error);
    if (r >= 0)
        r = statement_recovery_codes_delete(call->transaction,
                                            &(RecoveryCodesDeleteParameters){.username = username}, error);
    if (r >= 0)
        r = statement_second_factor_delete(call->transaction,
                                           &(SecondFactorDeleteParameters){.username = username}, error);
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

static const RouteQuery query_user[] = {{"_get_data", "true: tenants with roles, not their number", 0, 0},
                                        {0}};
static const RouteQuery query_users[] = {
    {"_size", "rows at most, 100 when absent", 0, API_PAGE_MAX},
    {"_offset", "rows to leave out", 0, INT32_MAX},
    {"_get_data", "true: tenants with roles, not their number", 0, 0},
    {0},
};

const ApiRoute routes_users[] = {
    ROUTE(GET, "/user", USER_GET_SELF, NO_TENANT, READ, NO_BODY, get_self, NULL, 200, "One's own account",
          .query = query_user, .shows_object = true),
    ROUTE(GET, "/users", USER_LIST, NO_TENANT, READ, NO_BODY, list_users, NULL, 200, "Accounts",
          .query = query_users),
    ROUTE(PUT, "/users", USER_CREATE, NO_TENANT, POOL, JSON_BODY, put_user, "user_create", 201,
          "Makes an account", .fields = user_fields, .shown_member = "username"),
    ROUTE(POST, "/users/active/{name}", USER_SET_ACTIVATED, NO_TENANT, WRITE, JSON_BODY, post_active,
          "user_set_activated", 200, "Activates or deactivates an account; every right goes at once",
          .fields = action_fields, .shown_by = "/users/{name}"),
    ROUTE(POST, "/users/unlock/{name}", USER_UNLOCK, NO_TENANT, WRITE, NO_BODY, post_unlock, "user_unlock",
          200, "Ends the lock-out of an account", .shown_by = "/users/{name}"),
    ROUTE(GET, "/users/{name}", USER_LIST, NO_TENANT, READ, NO_BODY, get_user, NULL, 200, "An account",
          .query = query_user),
    ROUTE(POST, "/users/{name}", USER_UPDATE, NO_TENANT, POOL, JSON_BODY, post_user, "user_update", 200,
          "Changes an account's role, or sets its password", .fields = user_change_fields),
    ROUTE(DELETE, "/users/{name}", USER_DELETE, NO_TENANT, WRITE, NO_BODY, delete_user, "user_delete", 204,
          "Removes an account"),
    {0},
};
