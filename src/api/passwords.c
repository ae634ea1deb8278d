/* SPDX-License-Identifier: Apache-2.0 */
/* Changing and resetting passwords. What somebody else has set is good for one thing: choosing one's own. */

#include "api/passwords.h"

#include <errno.h>

#include "api/api_internal.h"
#include "api/sign_in.h"
#include "base/string.h"

int password_hash_text(const char *text, char ret_hash[static PASSWORD_HASH_SIZE], Error *error)
{
    _cleanup_secret_ Secret *password = secret_new(text, strlen(text));
    int r = password ? password_hash(password, ret_hash) : -ENOMEM;
    return r < 0 ? error_set_errno(error, ERROR_BAD_FIELD, -r, "The password cannot be hashed") : 0;
}

int64_t password_expiry(Api *api, int64_t now)
{
    return now + policy_of_system(api, POLICY_ONE_TIME_PASSWORD_LIFE) * (int64_t)USEC_PER_SEC;
}

typedef struct PasswordChange {
    Api *api;
    const char *username;
    char old_hash[PASSWORD_HASH_SIZE], new_hash[PASSWORD_HASH_SIZE];
    Policy policy;
    bool is_one_time;
    int64_t expires_at;
} PasswordChange;

static void change_done(PasswordChange *change)
{
    policy_done(&change->policy);
    memory_wipe(change, sizeof(*change));
}
#define _cleanup_change_ _cleanup_(change_done)

static int read_account(StoreTransaction *transaction, void *context, Error *error)
{
    PasswordChange *change = context;
    UserGetRow row;
    policy_done(&change->policy); /* the job may run again */
    change->policy = (Policy){0};
    int r = statement_user_get(transaction, &(UserGetParameters){.username = change->username}, &row, error);
    if (r < 0)
        return r;
    if (r == 0)
        return error_set(error, ERROR_NOT_FOUND, "There is no account '%s'.", change->username);
    if (!string_equal(row.origin, "local"))
        return error_set(error, ERROR_CONFLICT,
                         "'%s' is an account of the directory: it has no password here.", change->username);
    if (!change->is_one_time)
        r = sign_in_check_inside(transaction, row.locked_until, error);
    if (r >= 0)
        r = policy_of_account(change->api, transaction, change->username, &change->policy, error);
    return r < 0 ? r : string_copy(change->old_hash, sizeof(change->old_hash), row.password_hash);
}

static int store_hash(ApiCall *call, void *context, Error *error)
{
    PasswordChange *change = context;
    if (change->is_one_time)
        change->expires_at = password_expiry(call->api, (int64_t)store_now(call->transaction));
    int r = statement_user_set_password(call->transaction,
                                        &(UserSetPasswordParameters){
                                            .username = change->username,
                                            .password_hash = change->new_hash,
                                            .must_change_password = change->is_one_time,
                                            .password_expires_at = change->expires_at,
                                        },
                                        error);
    /* Whoever knew the old password may have made tokens with it. */
    if (r >= 0)
        r = statement_tokens_revoke_of_user(
            call->transaction,
            &(TokensRevokeOfUserParameters){.username = change->username, .kind = "", .but = ""}, error);
    if (r < 0)
        return r;
    call->audit_object = arena_format(call->arena, "user:%s", change->username);
    return 0;
}

static int set_password(ApiCall *call, PasswordChange *change, const char *password, Error *error)
{
    int r = policy_check_password(&change->policy, change->username, password, error);
    if (r >= 0)
        r = password_hash_text(password, change->new_hash, error);
    return r < 0 ? r : api_call_run(call, STORE_WRITE, store_hash, change, error);
}

int password_set_for_other(ApiCall *call, const char *username, const char *password, Error *error)
{
    _cleanup_change_ PasswordChange change = {.api = call->api, .username = username, .is_one_time = true};
    int r = store_run(call->api->settings.store, STORE_READ, read_account, &change, error);
    return r < 0 ? r : set_password(call, &change, password, error);
}

/* One's own
 * ---------------------------------------------------------------------------------------------------------
 */

typedef struct OwnPasswordBody {
    const char *password, *current_password;
} OwnPasswordBody;

static const JsonField own_password_fields[] = {
    {"password", JSON_FIELD_STRING, offsetof(OwnPasswordBody, password),
     JSON_FIELD_REQUIRED | JSON_FIELD_SECRET, 1, 1024, "the new one"},
    {"current_password", JSON_FIELD_STRING, offsetof(OwnPasswordBody, current_password),
     JSON_FIELD_REQUIRED | JSON_FIELD_SECRET, 1, 1024, "the present one"},
    {0},
};

static int post_own_password(ApiCall *call, Error *error)
{
    OwnPasswordBody body = {0};
    _cleanup_change_ PasswordChange change = {.api = call->api, .username = call->principal.username};
    int r = body_dispatch(call, own_password_fields, &body, error);
    if (r >= 0)
        r = store_run(call->api->settings.store, STORE_READ, read_account, &change, error);
    if (r < 0)
        return r;
    _cleanup_secret_ Secret *current = secret_new(body.current_password, strlen(body.current_password));
    if (!current || password_verify(change.old_hash, current) < 0)
        return sign_in_failed_inside(call, error_set_field(error, ERROR_FORBIDDEN, "current_password",
                                                           "The current password is not right."));
    if (string_equal(body.password, body.current_password))
        return error_set_field(error, ERROR_BAD_FIELD, "password", "The new password is the present one.");
    r = set_password(call, &change, body.password, error);
    if (r >= 0)
        answer_empty(call);
    return r;
}

/* Another's
 * ---------------------------------------------------------------------------------------------------------
 */

typedef struct ResetBody {
    const char *password;
} ResetBody;

static const JsonField reset_fields[] = {
    {"password", JSON_FIELD_STRING, offsetof(ResetBody, password), JSON_FIELD_NULLABLE | JSON_FIELD_SECRET, 1,
     1024, "a one-time password; made, and shown once, when absent"},
    {0},
};

static int post_reset(ApiCall *call, Error *error)
{
    ResetBody body = {0};
    const char *username = call->parameters[0];
    int r = call->body ? body_dispatch(call, reset_fields, &body, error) : 0;
    if (r < 0)
        return r;
    if (body.password) {
        r = password_set_for_other(call, username, body.password, error);
        if (r >= 0)
            answer_empty(call);
        return r;
    }
    _cleanup_change_ PasswordChange change = {.api = call->api, .username = username, .is_one_time = true};
    _cleanup_secret_ Secret *made = password_generate(call->api->settings.random);
    if (!made)
        return error_set(error, ERROR_INTERNAL, "No memory for a password.");
    r = store_run(call->api->settings.store, STORE_READ, read_account, &change, error);
    if (r >= 0 && password_hash(made, change.new_hash) < 0)
        r = error_set(error, ERROR_INTERNAL, "The password cannot be hashed.");
    if (r >= 0)
        r = api_call_run(call, STORE_WRITE, store_hash, &change, error);
    if (r < 0)
        return r;
    Writer writer = writer_new(&call->answer);
    writer_begin_object(&writer, NULL);
    writer_string(&writer, "username", username);
    writer_string_n(&writer, "one_time_password", (const char *)secret_bytes(made), secret_size(made));
    writer_time(&writer, "expires_at", change.expires_at);
    writer_end_object(&writer);
    return writer.status;
}

const ApiRoute routes_passwords[] = {
    ROUTE(POST, "/user/password", USER_PASSWORD_SELF, NO_TENANT, POOL, JSON_BODY, post_own_password,
          "user_password", 204, "Changes one's own password; ends all one's tokens and sessions",
          .fields = own_password_fields, .shown_by = "/user"),
    ROUTE(POST, "/users/{name}/password", USER_UPDATE, NO_TENANT, POOL, JSON_BODY, post_reset,
          "user_password", 200, "Gives an account a one-time password; ends all its tokens and sessions",
          .fields = reset_fields, .has_secret_answer = true),
    {0},
};
