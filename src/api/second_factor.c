/* SPDX-License-Identifier: Apache-2.0 */
/* Enrolling, confirming and ending a second factor (RFC 6238), recovery codes. */

#include "api/second_factor.h"

#include <errno.h>
#include <inttypes.h>

#include "api/api_internal.h"
#include "api/passwords.h"
#include "api/sessions.h"
#include "api/sign_in.h"
#include "base/string.h"

enum { RECOVERY_CODES = 10, URI_MAX = 1024 };
/* Keys of people are nobody's but the installation's: no tenant can have this name. */
static const char KEEPER_TENANT[] = ".accounts";

/* Checking
 * ----------------------------------------------------------------------------------------------------------
 */

void second_factor_state_done(SecondFactorState *state)
{
    buffer_wipe(&state->sealed_key);
    *state = (SecondFactorState){0};
}

int second_factor_load(StoreTransaction *transaction, const char *username, SecondFactorState *state,
                       Error *error)
{
    SecondFactorGetRow row;
    second_factor_state_done(state);
    int r = statement_second_factor_get(transaction, &(SecondFactorGetParameters){.username = username}, &row,
                                        error);
    if (r <= 0)
        return r;
    state->exists = true;
    state->is_confirmed = row.is_confirmed;
    state->version = row.version;
    return buffer_append(&state->sealed_key, row.sealed_key.data, row.sealed_key.size);
}

static char *make_context(const char *username, int64_t version)
{
    return string_format("second_factors/%s/key/%" PRId64, username, version);
}

static int open_key(ApiCall *call, const char *username, const SecondFactorState *state, Secret **ret_key,
                    Error *error)
{
    _cleanup_free_ char *context = make_context(username, state->version);
    KeeperClient *keeper = keeper_take(call->api, error);
    int r = keeper ? keeper_client_open_value(keeper, KEEPER_TENANT, context, state->sealed_key.data,
                                              state->sealed_key.size, ret_key, error)
                   : -EIO;
    keeper_give(call->api, keeper);
    return r;
}

int second_factor_check(ApiCall *call, const char *username, const SecondFactorState *state, const char *code,
                        SecondFactorProof *ret_proof, Error *error)
{
    *ret_proof = (SecondFactorProof){0};
    if (recovery_code_hash(username, code, ret_proof->recovery_hash)) {
        ret_proof->has_recovery_code = true;
        return 1;
    }
    _cleanup_secret_ Secret *key = NULL;
    int r = open_key(call, username, state, &key, error);
    if (r < 0)
        return r;
    ret_proof->has_step =
        totp_check(key, code, clock_realtime(call->api->settings.clock), &ret_proof->step) >= 0;
    return ret_proof->has_step;
}

int second_factor_spend(StoreTransaction *transaction, const char *username, const SecondFactorProof *proof,
                        Error *error)
{
    int r = 1;
    if (proof->has_step)
        r = statement_second_factor_use_step(
            transaction, &(SecondFactorUseStepParameters){.username = username, .step = proof->step}, error);
    if (proof->has_recovery_code)
        r = statement_recovery_code_use(
            transaction,
            &(RecoveryCodeUseParameters){.username = username,
                                         .code_hash = {proof->recovery_hash, HASH_SIZE}},
            error);
    return r;
}

/* Who asks for a change
 * --------------------------------------------------------------------------------------------- */

typedef struct FactorBody {
    const char *current_password, *code;
} FactorBody;

typedef struct FactorChange {
    Api *api;
    const char *username;
    char password_hash[PASSWORD_HASH_SIZE];
    SecondFactorState state;
    SecondFactorProof proof;
    Buffer sealed_key;
    char codes[RECOVERY_CODES][RECOVERY_CODE_SIZE];
    NewSession session;
    bool is_stale;
} FactorChange;

static void change_done(FactorChange *change)
{
    second_factor_state_done(&change->state);
    buffer_wipe(&change->sealed_key);
    new_session_done(&change->session);
    memory_wipe(change->codes, sizeof(change->codes));
    memory_wipe(change->password_hash, sizeof(change->password_hash));
}
#define _cleanup_change_ _cleanup_(change_done)

static int load_change(StoreTransaction *transaction, void *context, Error *error)
{
    FactorChange *change = context;
    UserGetRow user;
    int r = second_factor_load(transaction, change->username, &change->state, error);
    if (r >= 0)
        r = statement_user_get(transaction, &(UserGetParameters){.username = change->username}, &user, error);
    if (r <= 0)
        return r < 0 ? r : error_set(error, ERROR_UNAUTHENTICATED, "Unauthorized User");
    r = sign_in_check_inside(transaction, user.locked_until, error);
    return r < 0 ? r : string_copy(change->password_hash, sizeof(change->password_hash), user.password_hash);
}

/* A token or a cookie that was taken must not be enough to set up or end a second factor. */
static int check_password(ApiCall *call, const FactorChange *change, const char *text, Error *error)
{
    _cleanup_secret_ Secret *password = secret_new(text, strlen(text));
    if (password && sign_in_password_is_right(call, change->password_hash, password))
        return 0;
    return sign_in_failed_inside(call, error_set_field(error, ERROR_FORBIDDEN, "current_password",
                                                       "The current password is not right."));
}

static int check_code(ApiCall *call, FactorChange *change, const char *code, Error *error)
{
    int r = second_factor_check(call, change->username, &change->state, code, &change->proof, error);
    if (r != 0)
        return MIN(r, 0);
    return sign_in_failed_inside(
        call, error_set_field(error, ERROR_FORBIDDEN, "code", "The code is not right, or was used before."));
}

static int spend(ApiCall *call, FactorChange *change, Error *error)
{
    int r = second_factor_spend(call->transaction, change->username, &change->proof, error);
    return r != 0 ? MIN(r, 0)
                  : error_set_field(error, ERROR_FORBIDDEN, "code",
                                    "The code is not right, or was used before.");
}

/* State
 * -------------------------------------------------------------------------------------------------------------
 */

static int get_second_factor(ApiCall *call, Error *error)
{
    const char *username = call->principal.username;
    SecondFactorGetRow row;
    RecoveryCodesCountRow codes;
    int r = statement_recovery_codes_count(
        call->transaction, &(RecoveryCodesCountParameters){.username = username}, &codes, error);
    if (r >= 0)
        r = statement_second_factor_get(call->transaction, &(SecondFactorGetParameters){.username = username},
                                        &row, error);
    if (r < 0)
        return r;
    const bool is_there = r == 1;
    Writer writer = writer_new(&call->answer);
    writer_begin_object(&writer, NULL);
    writer_string(&writer, "state", !is_there ? "none" : row.is_confirmed ? "confirmed" : "enrolled");
    writer_time(&writer, "created_at", is_there ? row.created_at : 0);
    writer_time(&writer, "confirmed_at", is_there ? row.confirmed_at : 0);
    writer_integer(&writer, "recovery_codes", codes.total);
    writer_end_object(&writer);
    return writer.status;
}

/* Enrolling
 * ---------------------------------------------------------------------------------------------------------
 */

static const JsonField enrol_fields[] = {
    {"current_password", JSON_FIELD_STRING, offsetof(FactorBody, current_password),
     JSON_FIELD_REQUIRED | JSON_FIELD_SECRET, 1, 1024, "one's password"},
    {0},
};

static int seal_key(ApiCall *call, FactorChange *change, const Secret *key, Error *error)
{
    _cleanup_free_ char *context = make_context(change->username, change->state.version + 1);
    KeeperClient *keeper = keeper_take(call->api, error);
    int r = keeper ? keeper_client_seal_value(keeper, SEALED_SELF, KEEPER_TENANT, context, key,
                                              &change->sealed_key, error)
                   : -EIO;
    keeper_give(call->api, keeper);
    return r;
}

static int store_key(ApiCall *call, void *context, Error *error)
{
    FactorChange *change = context;
    SecondFactorState now = {0};
    int r = second_factor_load(call->transaction, change->username, &now, error);
    bool is_stale = now.version != change->state.version || now.is_confirmed;
    second_factor_state_done(&now);
    if (r >= 0 && is_stale)
        r = error_set(error, ERROR_CONFLICT, "The second factor was changed at the same time.");
    if (r >= 0)
        r = statement_second_factor_put(
            call->transaction,
            &(SecondFactorPutParameters){.username = change->username,
                                         .sealed_key = {change->sealed_key.data, change->sealed_key.size},
                                         .version = change->state.version + 1,
                                         .created_at = (int64_t)store_now(call->transaction)},
            error);
    call->audit_object = arena_format(call->arena, "user:%s", change->username);
    return MIN(r, 0);
}

static int write_key(ApiCall *call, const char *username, const Secret *key)
{
    char text[TOTP_KEY_TEXT_SIZE], uri[URI_MAX];
    totp_key_text(key, text);
    /* Names are letters, digits and -._~@: nothing to escape but the sign of an address. */
    (void)string_print(uri, sizeof(uri), "otpauth://totp/Bastide:%s?secret=%s&issuer=Bastide", username,
                       text);
    Writer writer = writer_new(&call->answer);
    writer_begin_object(&writer, NULL);
    writer_string(&writer, "secret", text);
    writer_string(&writer, "uri", uri);
    writer_integer(&writer, "digits", TOTP_CODE_LENGTH);
    writer_integer(&writer, "period", 30);
    writer_string(&writer, "algorithm", "SHA1");
    writer_end_object(&writer);
    memory_wipe(text, sizeof(text));
    memory_wipe(uri, sizeof(uri));
    return writer.status;
}

static int post_enrol(ApiCall *call, Error *error)
{
    FactorBody body = {0};
    _cleanup_change_ FactorChange change = {.api = call->api, .username = call->principal.username};
    int r = body_dispatch(call, enrol_fields, &body, error);
    if (r >= 0)
        r = store_run(call->api->settings.store, STORE_READ, load_change, &change, error);
    if (r >= 0)
        r = check_password(call, &change, body.current_password, error);
    if (r < 0)
        return r;
    if (change.state.is_confirmed)
        return error_set(error, ERROR_CONFLICT, "There is a second factor already; end it first.");
    _cleanup_secret_ Secret *key = totp_key_new(call->api->settings.random);
    if (!key)
        return error_set(error, ERROR_INTERNAL, "No memory for a key.");
    r = seal_key(call, &change, key, error);
    if (r >= 0)
        r = api_call_run(call, STORE_WRITE, store_key, &change, error);
    return r < 0 ? r : write_key(call, change.username, key);
}

/* Confirming; recovery codes
 * ---------------------------------------------------------------------------------------- */

static const JsonField code_fields[] = {
    {"code", JSON_FIELD_STRING, offsetof(FactorBody, code), JSON_FIELD_REQUIRED | JSON_FIELD_SECRET, 1, 64,
     "a code of the second factor"},
    {0},
};

static int store_recovery_codes(ApiCall *call, FactorChange *change, Error *error)
{
    int r = statement_recovery_codes_delete(
        call->transaction, &(RecoveryCodesDeleteParameters){.username = change->username}, error);
    for (size_t i = 0; i < RECOVERY_CODES && r >= 0; i++) {
        uint8_t hash[HASH_SIZE];
        recovery_code_new(call->api->settings.random, change->codes[i]);
        ASSERT(recovery_code_hash(change->username, change->codes[i], hash));
        r = statement_recovery_code_put(
            call->transaction,
            &(RecoveryCodePutParameters){.username = change->username, .code_hash = {hash, sizeof(hash)}},
            error);
    }
    return MIN(r, 0);
}

static int write_recovery_codes(ApiCall *call, const FactorChange *change)
{
    Writer writer = writer_new(&call->answer);
    writer_begin_object(&writer, NULL);
    writer_begin_array(&writer, "recovery_codes");
    for (size_t i = 0; i < RECOVERY_CODES; i++)
        writer_string(&writer, NULL, change->codes[i]);
    writer_end_array(&writer);
    writer_end_object(&writer);
    return writer.status;
}

/* Whoever signed in without the code does it again with it; the session at hand gets a new id. */
static int confirm(ApiCall *call, void *context, Error *error)
{
    FactorChange *change = context;
    int r = spend(call, change, error);
    if (r >= 0)
        r = statement_second_factor_confirm(
            call->transaction,
            &(SecondFactorConfirmParameters){.username = change->username,
                                             .confirmed_at = (int64_t)store_now(call->transaction)},
            error);
    if (r == 0)
        return error_set(error, ERROR_CONFLICT, "The second factor was confirmed before.");
    if (r >= 0)
        r = store_recovery_codes(call, change, error);
    if (r >= 0)
        r = statement_tokens_revoke_of_user(
            call->transaction,
            &(TokensRevokeOfUserParameters){.username = change->username, .kind = "session", .but = ""},
            error);
    if (r >= 0 && call->is_session)
        r = session_make(call, change->username, true, &change->session, error);
    call->audit_object = arena_format(call->arena, "user:%s", change->username);
    return MIN(r, 0);
}

static int post_confirm(ApiCall *call, Error *error)
{
    FactorBody body = {0};
    _cleanup_change_ FactorChange change = {.api = call->api, .username = call->principal.username};
    int r = body_dispatch(call, code_fields, &body, error);
    if (r >= 0)
        r = store_run(call->api->settings.store, STORE_READ, load_change, &change, error);
    if (r < 0)
        return r;
    if (!change.state.exists || change.state.is_confirmed)
        return error_set(error, ERROR_CONFLICT, "There is no second factor that waits to be confirmed.");
    r = check_code(call, &change, body.code, error);
    if (r >= 0 && !change.proof.has_step)
        return error_set_field(error, ERROR_FORBIDDEN, "code", "The code is not right, or was used before.");
    if (r >= 0)
        r = api_call_run(call, STORE_WRITE, confirm, &change, error);
    if (r >= 0 && call->is_session)
        session_set_cookie(call, &change.session);
    return r < 0 ? r : write_recovery_codes(call, &change);
}

static int renew_codes(ApiCall *call, void *context, Error *error)
{
    FactorChange *change = context;
    int r = spend(call, change, error);
    if (r >= 0)
        r = store_recovery_codes(call, change, error);
    call->audit_object = arena_format(call->arena, "user:%s", change->username);
    return r;
}

static int post_recovery_codes(ApiCall *call, Error *error)
{
    FactorBody body = {0};
    _cleanup_change_ FactorChange change = {.api = call->api, .username = call->principal.username};
    int r = body_dispatch(call, code_fields, &body, error);
    if (r >= 0)
        r = store_run(call->api->settings.store, STORE_READ, load_change, &change, error);
    if (r >= 0 && !change.state.is_confirmed)
        r = error_set(error, ERROR_CONFLICT, "There is no second factor.");
    if (r >= 0)
        r = check_code(call, &change, body.code, error);
    if (r >= 0)
        r = api_call_run(call, STORE_WRITE, renew_codes, &change, error);
    return r < 0 ? r : write_recovery_codes(call, &change);
}

/* Ending
 * ------------------------------------------------------------------------------------------------------------
 */

static const JsonField end_fields[] = {
    {"current_password", JSON_FIELD_STRING, offsetof(FactorBody, current_password),
     JSON_FIELD_REQUIRED | JSON_FIELD_SECRET, 1, 1024, "one's password"},
    {"code", JSON_FIELD_STRING, offsetof(FactorBody, code), JSON_FIELD_SECRET, 1, 64,
     "a code of the second factor, once it is confirmed"},
    {0},
};

static int remove_factor(ApiCall *call, void *context, Error *error)
{
    FactorChange *change = context;
    int r = spend(call, change, error);
    if (r >= 0)
        r = statement_recovery_codes_delete(
            call->transaction, &(RecoveryCodesDeleteParameters){.username = change->username}, error);
    if (r >= 0)
        r = statement_second_factor_delete(
            call->transaction, &(SecondFactorDeleteParameters){.username = change->username}, error);
    if (r == 0)
        return error_set(error, ERROR_NOT_FOUND, "There is no second factor.");
    call->audit_object = arena_format(call->arena, "user:%s", change->username);
    return MIN(r, 0);
}

static int delete_own(ApiCall *call, Error *error)
{
    FactorBody body = {0};
    _cleanup_change_ FactorChange change = {.api = call->api, .username = call->principal.username};
    int r = body_dispatch(call, end_fields, &body, error);
    if (r >= 0)
        r = store_run(call->api->settings.store, STORE_READ, load_change, &change, error);
    if (r >= 0)
        r = check_password(call, &change, body.current_password, error);
    if (r >= 0 && change.state.is_confirmed && !body.code)
        r = error_set_field(error, ERROR_BAD_FIELD, "code", "Give a code of the second factor that ends.");
    if (r >= 0 && change.state.is_confirmed)
        r = check_code(call, &change, body.code, error);
    if (r >= 0)
        r = api_call_run(call, STORE_WRITE, remove_factor, &change, error);
    if (r >= 0)
        answer_empty(call);
    return r;
}

/* For somebody who lost it; what was signed in with it ends. */
static int delete_of_other(ApiCall *call, Error *error)
{
    FactorChange change = {.username = call->parameters[0]};
    int r = remove_factor(call, &change, error);
    if (r >= 0)
        r = statement_tokens_revoke_of_user(
            call->transaction,
            &(TokensRevokeOfUserParameters){.username = change.username, .kind = "", .but = ""}, error);
    if (r < 0)
        return r;
    answer_empty(call);
    return 0;
}

const ApiRoute routes_second_factor[] = {
    ROUTE(GET, "/user/second-factor", SECOND_FACTOR_SELF, NO_TENANT, READ, NO_BODY, get_second_factor, NULL,
          200, "One's own second factor", .shows_object = true),
    ROUTE(POST, "/user/second-factor", SECOND_FACTOR_SELF, NO_TENANT, POOL, JSON_BODY, post_enrol,
          "second_factor_enrol", 201, "Makes a key for one-time codes, shown once", .fields = enrol_fields,
          .shown_by = "/user/second-factor", .has_secret_answer = true),
    ROUTE(DELETE, "/user/second-factor", SECOND_FACTOR_SELF, NO_TENANT, POOL, JSON_BODY, delete_own,
          "second_factor_end", 204, "Ends one's own second factor", .fields = end_fields,
          .shown_by = "/user/second-factor"),
    ROUTE(POST, "/user/second-factor/confirm", SECOND_FACTOR_SELF, NO_TENANT, POOL, JSON_BODY, post_confirm,
          "second_factor_confirm", 200, "Confirms the key with a code of it; gives recovery codes, once",
          .fields = code_fields, .shown_by = "/user/second-factor", .has_secret_answer = true),
    ROUTE(POST, "/user/second-factor/recovery-codes", SECOND_FACTOR_SELF, NO_TENANT, POOL, JSON_BODY,
          post_recovery_codes, "recovery_codes_create", 200, "Makes new recovery codes; the old ones end",
          .fields = code_fields, .shown_by = "/user/second-factor", .has_secret_answer = true),
    ROUTE(DELETE, "/users/{name}/second-factor", SECOND_FACTOR_RESET, NO_TENANT, WRITE, NO_BODY,
          delete_of_other, "second_factor_reset", 204,
          "Takes the second factor off an account, for who lost it; its tokens and sessions end"),
    {0},
};
