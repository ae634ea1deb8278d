/* SPDX-License-Identifier: Apache-2.0 */
#include "api/sign_in.h"

#include <errno.h>
#include <inttypes.h>

#include "api/api_internal.h"
#include "api/directory_accounts.h"
#include "api/second_factor.h"
#include "api/sign_in_guard.h"
#include "base/log.h"
#include "base/string.h"
#include "crypto/password.h"

static const Usec REFUSAL_STEP = USEC_PER_SEC;

typedef struct Attempt {
    ApiCall *call;
    SignIn *sign_in;
    char hash[PASSWORD_HASH_SIZE];
    char new_hash[PASSWORD_HASH_SIZE]; /* "" = the stored one is as it should be */
    SecondFactorState factor;
    SecondFactorProof proof;
    bool is_usable, must_change;
    bool is_of_directory; /* or nobody's: the directory may know the name */
    bool is_barred;       /* whatever the directory says */
    DirectoryAccount account;
    Usec started_at;
    bool is_password_right, is_code_missing, is_code_wrong;
    bool may_enter, is_accepted; /* by the job that notes it */
} Attempt;

/* An account that cannot be used is treated as if it had another password. */
static bool is_usable(const UserGetRow *row, int64_t now)
{
    bool is_expired =
        row->must_change_password && row->password_expires_at > 0 && row->password_expires_at <= now;
    return row->is_active && row->locked_until <= now && !is_expired;
}

static int read_account(StoreTransaction *transaction, void *context, Error *error)
{
    Attempt *attempt = context;
    const char *username = attempt->sign_in->username;
    UserGetRow row;
    attempt->is_usable = attempt->is_barred = false;
    attempt->is_of_directory = true;
    int r = second_factor_load(transaction, username, &attempt->factor, error);
    if (r >= 0)
        r = statement_user_get(transaction, &(UserGetParameters){.username = username}, &row, error);
    if (r <= 0)
        return r;
    const int64_t now = (int64_t)store_now(transaction);
    attempt->is_of_directory = !string_equal(row.origin, "local");
    attempt->is_barred = row.locked_until > now || (!row.is_active && !row.is_withdrawn);
    attempt->is_usable = !attempt->is_of_directory && is_usable(&row, now) &&
                         string_copy(attempt->hash, sizeof(attempt->hash), row.password_hash) == 0;
    attempt->must_change = row.must_change_password;
    return 0;
}

static int audit(StoreTransaction *transaction, const Attempt *attempt, bool is_known, Error *error)
{
    const char *details = attempt->is_code_missing ? "{\"second_factor\":\"missing\"}"
                          : attempt->is_code_wrong ? "{\"second_factor\":\"wrong\"}"
                                                   : NULL;
    return audit_trail_append(transaction,
                              &(AuditRecord){.actor = is_known ? attempt->sign_in->username : "nobody",
                                             .authentication = "password",
                                             .source = attempt->call->request->remote_address,
                                             .request_id = attempt->call->request->request_id,
                                             .action = "sign_in",
                                             .object = "user",
                                             .outcome = attempt->is_accepted ? "done" : "denied",
                                             .details = details},
                              error);
}

static int note_success(StoreTransaction *transaction, Attempt *attempt, Error *error)
{
    const char *hash = *attempt->new_hash ? attempt->new_hash : attempt->hash;
    int r = second_factor_spend(transaction, attempt->sign_in->username, &attempt->proof, error);
    if (r < 0)
        return r;
    attempt->is_accepted = r > 0;
    attempt->is_code_wrong = r == 0; /* it was used before */
    if (!attempt->is_accepted)
        return 0;
    return statement_user_note_login(transaction,
                                     &(UserNoteLoginParameters){.username = attempt->sign_in->username,
                                                                .password_hash = hash,
                                                                .now = (int64_t)store_now(transaction)},
                                     error);
}

static int note_failure(StoreTransaction *transaction, const Attempt *attempt, Error *error)
{
    Api *api = attempt->call->api;
    int64_t lock = policy_of_system(api, POLICY_SIGN_IN_LOCK) * (int64_t)USEC_PER_SEC;
    return statement_user_note_failure(
        transaction,
        &(UserNoteFailureParameters){.username = attempt->sign_in->username,
                                     .maximum_failures = policy_of_system(api, POLICY_SIGN_IN_FAILURES),
                                     .locked_until = (int64_t)store_now(transaction) + lock},
        error);
}

static int store_directory_account(StoreTransaction *transaction, const Attempt *attempt, bool *ret_may_enter,
                                   Error *error)
{
    const char *reason;
    const Directory *directory = attempt->call->api->directory;
    int r = directory_account_store(transaction, directory_settings(directory), &attempt->account, &reason,
                                    error);
    if (r == 0)
        log_notice("The directory's '%s' may not sign in: %s.", attempt->account.username, reason);
    *ret_may_enter = r == 1;
    return MIN(r, 0);
}

/* The account is looked at once more: several guesses at a time must not slip past a lock. */
static int note_attempt(StoreTransaction *transaction, void *context, Error *error)
{
    Attempt *attempt = context;
    UserGetRow row;
    bool is_vouched_for = true;
    int r = attempt->is_of_directory && attempt->is_password_right
                ? store_directory_account(transaction, attempt, &is_vouched_for, error)
                : 0;
    if (r >= 0)
        r = statement_user_get(transaction, &(UserGetParameters){.username = attempt->sign_in->username},
                               &row, error);
    if (r < 0)
        return r;
    const bool is_known = r == 1;
    attempt->may_enter = is_known && attempt->is_password_right && is_vouched_for &&
                         is_usable(&row, (int64_t)store_now(transaction)) &&
                         string_equal(row.password_hash, attempt->hash);
    attempt->is_accepted = false;
    if (attempt->may_enter && !attempt->is_code_missing && !attempt->is_code_wrong)
        r = note_success(transaction, attempt, error);
    if (r >= 0 && !attempt->is_accepted && !(attempt->may_enter && attempt->is_code_missing))
        r = note_failure(transaction, attempt, error);
    return r < 0 ? r : audit(transaction, attempt, is_known, error);
}

static int check_source(ApiCall *call, Error *error)
{
    Api *api = call->api;
    Usec wait = sign_in_guard_wait(api->sign_in_guard, call->request->remote_address,
                                   (unsigned)policy_of_system(api, POLICY_SOURCE_FAILURES),
                                   (Usec)policy_of_system(api, POLICY_SOURCE_LOCK) * USEC_PER_SEC,
                                   clock_monotonic(api->settings.clock));
    if (wait == 0)
        return 0;
    call->retry_after = (unsigned)(wait / USEC_PER_SEC) + 1;
    return error_set(error, ERROR_RATE_LIMITED,
                     "Too many sign-ins from this address have failed; wait for %u seconds.",
                     call->retry_after);
}

/* Once the password is right: the code, and a hash with the parameters of today. */
static int check_rest(Attempt *attempt, Error *error)
{
    ApiCall *call = attempt->call;
    if (attempt->factor.is_confirmed) {
        attempt->is_code_missing = string_is_empty(attempt->sign_in->code);
        int r = attempt->is_code_missing
                    ? 0
                    : second_factor_check(call, attempt->sign_in->username, &attempt->factor,
                                          attempt->sign_in->code, &attempt->proof, error);
        if (r < 0)
            return r;
        attempt->is_code_wrong = !attempt->is_code_missing && r == 0;
    }
    if (!attempt->is_of_directory && password_needs_rehash(attempt->hash) &&
        password_hash(attempt->sign_in->password, attempt->new_hash) < 0)
        *attempt->new_hash = '\0'; /* the next sign-in tries again */
    return 0;
}

/* A directory takes another time for who is unknown than for who is wrong, and none for local accounts: every
 * refusal comes at a full step after the request. */
static Usec time_to_even_out(const Attempt *attempt)
{
    Usec passed = clock_monotonic(attempt->call->api->settings.clock) - attempt->started_at;
    return REFUSAL_STEP - passed % REFUSAL_STEP;
}

static int refuse(Attempt *attempt, Error *error)
{
    ApiCall *call = attempt->call;
    Api *api = call->api;
    call->is_recorded = true; /* as a sign-in */
    if (attempt->may_enter && attempt->is_code_missing)
        return error_set(error, ERROR_SECOND_FACTOR, "This account needs a code of its second factor, too.");
    call->delay = sign_in_guard_failed(
        api->sign_in_guard, call->request->remote_address, attempt->sign_in->username,
        (Usec)policy_of_system(api, POLICY_SOURCE_LOCK) * USEC_PER_SEC, clock_monotonic(api->settings.clock));
    if (api->directory)
        call->delay = MAX(call->delay, time_to_even_out(attempt));
    if (attempt->may_enter && attempt->is_code_wrong)
        return error_set(error, ERROR_SECOND_FACTOR, "The code is not right, or was used before.");
    return error_set(error, ERROR_UNAUTHENTICATED, "Unauthorized User");
}

/* That the directory gives no answer is for the log: who asks could tell its people from ours by it. */
static int ask_directory(Attempt *attempt, Error *error)
{
    ApiCall *call = attempt->call;
    const char *reason;
    Error problem = ERROR_INIT;
    directory_account_done(&attempt->account);
    int r = directory_sign_in(call->api->directory, call->arena, attempt->sign_in->username,
                              attempt->sign_in->password, &attempt->account, &reason, &problem);
    if (r < 0)
        log_error_record(LOG_LEVEL_WARNING, "asking the directory for a sign-in", &problem);
    else if (r == 0)
        log_info("The directory does not let '%s' sign in: %s.", attempt->sign_in->username, reason);
    if (r != 1)
        return 0;
    if (!string_equal(attempt->account.username, attempt->sign_in->username)) {
        attempt->sign_in->username = attempt->account.username;
        r = store_run(call->api->settings.store, STORE_READ, read_account, attempt, error);
        if (r < 0)
            return r;
    }
    attempt->is_password_right = attempt->is_of_directory && !attempt->is_barred;
    return 0;
}

static int run_attempt(Attempt *attempt, Error *error)
{
    ApiCall *call = attempt->call;
    Store *store = call->api->settings.store;
    int r = store_run(store, STORE_READ, read_account, attempt, error);
    if (r < 0)
        return r;
    /* The work is done for accounts that do not exist or are locked, too. */
    bool is_match =
        password_verify(attempt->is_usable ? attempt->hash : NULL, attempt->sign_in->password) == 0;
    attempt->is_password_right = is_match && attempt->is_usable;
    if (call->api->directory && attempt->is_of_directory && !attempt->is_barred)
        r = ask_directory(attempt, error);
    if (r < 0)
        return r;
    r = attempt->is_password_right ? check_rest(attempt, error) : 0;
    if (r >= 0)
        r = store_run(store, STORE_WRITE, note_attempt, attempt, error);
    if (r < 0)
        return r;
    return attempt->is_accepted ? 0 : refuse(attempt, error);
}

int sign_in(ApiCall *call, SignIn *sign_in, Error *error)
{
    Attempt attempt = {
        .call = call, .sign_in = sign_in, .started_at = clock_monotonic(call->api->settings.clock)};
    int r = check_source(call, error);
    if (r >= 0)
        r = run_attempt(&attempt, error);
    if (r >= 0) {
        sign_in_guard_succeeded(call->api->sign_in_guard, sign_in->username);
        call->principal = (Principal){.username = arena_string(call->arena, sign_in->username)};
        sign_in->has_second_factor = attempt.factor.is_confirmed;
        sign_in->must_change_password = attempt.must_change;
        call->has_second_factor = attempt.factor.is_confirmed;
        call->authentication = attempt.factor.is_confirmed ? "password+code" : "password";
        call->must_change_password = attempt.must_change;
    }
    second_factor_state_done(&attempt.factor);
    directory_account_done(&attempt.account);
    memory_wipe(&attempt, sizeof(attempt));
    return r;
}

/* Inside
 * ------------------------------------------------------------------------------------------------------------
 */

static int note_inside(StoreTransaction *transaction, void *context, Error *error)
{
    ApiCall *call = context;
    SignIn shown = {.username = call->principal.username};
    Attempt attempt = {.call = call, .sign_in = &shown};
    int r = note_failure(transaction, &attempt, error);
    return r < 0 ? r : audit(transaction, &attempt, true, error);
}

int sign_in_failed_inside(ApiCall *call, int result)
{
    Error error = ERROR_INIT;
    if (store_run(call->api->settings.store, STORE_WRITE, note_inside, call, &error) < 0)
        log_error_record(LOG_LEVEL_ERROR, "noting a wrong password", &error);
    return result;
}

bool sign_in_password_is_right(ApiCall *call, const char *hash, const Secret *password)
{
    _cleanup_directory_account_ DirectoryAccount account = {0};
    const char *reason;
    Error error = ERROR_INIT;
    if (*hash || !call->api->directory)
        return password_verify(*hash ? hash : NULL, password) == 0;
    int r = directory_sign_in(call->api->directory, call->arena, call->principal.username, password, &account,
                              &reason, &error);
    if (r < 0)
        log_error_record(LOG_LEVEL_WARNING, "asking the directory for a password", &error);
    return r == 1 && string_equal(account.username, call->principal.username);
}

int sign_in_check_inside(StoreTransaction *transaction, int64_t locked_until, Error *error)
{
    if (locked_until <= (int64_t)store_now(transaction))
        return 0;
    return error_set(error, ERROR_FORBIDDEN, "The account is locked for a while after failures.");
}
