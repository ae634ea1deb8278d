/* SPDX-License-Identifier: Apache-2.0 */
/* Signing in from a browser, what is signed in where, signing out. */

#include "api/sessions.h"

#include <errno.h>

#include "api/api_internal.h"
#include "api/sign_in.h"
#include "api/tokens.h"
#include "base/string.h"

enum { COOKIE_MAX = 256, USER_AGENT_MAX = 200 };

void new_session_done(NewSession *session)
{
    session->value = secret_free(session->value);
}

/* What the browser calls itself, as far as it can be shown. */
static const char *user_agent(ApiCall *call)
{
    const char *text = http_exchange_header(call->exchange, "User-Agent") ?: "";
    char *copy = arena_string_n(call->arena, text, strnlen(text, USER_AGENT_MAX));
    for (char *c = copy; *c; c++)
        if (*c < ' ' || *c > '~')
            *c = '?';
    return copy;
}

int session_make(ApiCall *call, const char *username, bool has_second_factor, NewSession *session,
                 Error *error)
{
    _cleanup_policy_ Policy policy = {0};
    new_session_done(session);
    int r = policy_of_account(call->api, call->transaction, username, &policy, error);
    if (r < 0)
        return r;
    session->idle_limit = policy.numbers[POLICY_SESSION_IDLE] * (int64_t)USEC_PER_SEC;
    session->expires_at =
        (int64_t)store_now(call->transaction) + policy.numbers[POLICY_SESSION_LIFE] * (int64_t)USEC_PER_SEC;
    return token_create(call->transaction, call->api->settings.random,
                        &(NewToken){.kind = "session",
                                    .username = username,
                                    .description = user_agent(call),
                                    .source = call->request->remote_address,
                                    .expires_at = session->expires_at,
                                    .idle_limit = session->idle_limit,
                                    .has_second_factor = has_second_factor},
                        session->id, &session->value, error);
}

void session_set_cookie(ApiCall *call, const NewSession *session)
{
    char text[COOKIE_MAX];
    (void)string_print(text, sizeof(text), SESSION_COOKIE "=%s; Path=/; Secure; HttpOnly; SameSite=Strict",
                       (const char *)secret_bytes(session->value));
    http_exchange_set_header(call->exchange, "Set-Cookie", text);
    memory_wipe(text, sizeof(text));
}

static void clear_cookie(ApiCall *call)
{
    http_exchange_set_header(call->exchange, "Set-Cookie",
                             SESSION_COOKIE "=; Path=/; Secure; HttpOnly; SameSite=Strict; Max-Age=0");
}

/* Signing in
 * -------------------------------------------------------------------------------------------------------- */

typedef struct SessionBody {
    const char *username, *password, *code;
} SessionBody;

static const JsonField session_fields[] = {
    {"username", JSON_FIELD_STRING, offsetof(SessionBody, username), JSON_FIELD_REQUIRED, 1, 255,
     "the account"},
    {"password", JSON_FIELD_STRING, offsetof(SessionBody, password), JSON_FIELD_REQUIRED | JSON_FIELD_SECRET,
     1, 1024, "its password"},
    {"code", JSON_FIELD_STRING, offsetof(SessionBody, code), JSON_FIELD_NULLABLE | JSON_FIELD_SECRET, 1, 64,
     "of the second factor, or a recovery code; when the account has one"},
    {0},
};

typedef struct SigningIn {
    const char *username;
    bool has_second_factor;
    uint8_t old_hash[HASH_SIZE];
    bool has_old;
    NewSession session;
} SigningIn;

/* The session that the browser had ends: no id lives on over a sign-in. */
static int end_old(ApiCall *call, const SigningIn *signing_in, Error *error)
{
    TokenFindRow row;
    int r = !signing_in->has_old
                ? 0
                : statement_token_find(
                      call->transaction,
                      &(TokenFindParameters){.secret_hash = {signing_in->old_hash, HASH_SIZE}}, &row, error);
    if (r > 0)
        r = statement_token_revoke(call->transaction, &(TokenRevokeParameters){.id = row.id}, error);
    return MIN(r, 0);
}

static int store_session(ApiCall *call, void *context, Error *error)
{
    SigningIn *signing_in = context;
    int r = end_old(call, signing_in, error);
    if (r >= 0)
        r = session_make(call, signing_in->username, signing_in->has_second_factor, &signing_in->session,
                         error);
    call->audit_object = arena_format(call->arena, "session:%s", signing_in->session.id);
    return r;
}

static void write_own_session(ApiCall *call, const char *id, const char *csrf, int64_t expires_at,
                              int64_t idle_limit)
{
    Writer writer = writer_new(&call->answer);
    writer_begin_object(&writer, NULL);
    writer_string(&writer, "id", id);
    writer_string(&writer, "username", call->principal.username);
    writer_string(&writer, "csrf_token", csrf);
    writer_boolean(&writer, "has_second_factor", call->has_second_factor);
    writer_boolean(&writer, "must_change_password", call->must_change_password);
    writer_time(&writer, "expires_at", expires_at);
    writer_integer(&writer, "idle_seconds", idle_limit / (int64_t)USEC_PER_SEC);
    writer_end_object(&writer);
}

static int sign_in_with_body(ApiCall *call, const SessionBody *body, SigningIn *signing_in, Error *error)
{
    _cleanup_secret_ Secret *password = secret_new(body->password, strlen(body->password));
    if (!password)
        return error_set(error, ERROR_INTERNAL, "No memory for a password.");
    SignIn attempt = {.username = body->username, .password = password, .code = body->code};
    int r = sign_in(call, &attempt, error);
    signing_in->username = attempt.username;
    signing_in->has_second_factor = attempt.has_second_factor;
    return r;
}

static int post_session(ApiCall *call, Error *error)
{
    SessionBody body = {0};
    SigningIn signing_in = {0};
    if (!origin_is_own_or_absent(call->exchange))
        return error_set(error, ERROR_FORBIDDEN, "Signing in is for pages of this host.");
    int r = body_dispatch(call, session_fields, &body, error);
    if (r >= 0)
        r = sign_in_with_body(call, &body, &signing_in, error);
    if (r < 0)
        return r;
    _cleanup_credentials_ Credentials old;
    credentials_read(call->exchange, &old);
    signing_in.has_old = old.kind == CREDENTIALS_SESSION;
    memcpy(signing_in.old_hash, old.token_hash, sizeof(signing_in.old_hash));
    r = api_call_run(call, STORE_WRITE, store_session, &signing_in, error);
    if (r >= 0) {
        char csrf[CSRF_TOKEN_SIZE];
        const NewSession *session = &signing_in.session;
        csrf_token_of((const char *)secret_bytes(session->value), secret_size(session->value), csrf);
        session_set_cookie(call, session);
        write_own_session(call, session->id, csrf, session->expires_at, session->idle_limit);
    }
    new_session_done(&signing_in.session);
    return r;
}

/* Seeing
 * ------------------------------------------------------------------------------------------------------------
 */

static int get_own_session(ApiCall *call, Error *error)
{
    TokenGetRow row;
    if (!call->is_session)
        return error_set(error, ERROR_NOT_FOUND, "This request came by no session.");
    int r = statement_token_get(call->transaction, &(TokenGetParameters){.id = call->principal.token_id},
                                &row, error);
    if (r <= 0)
        return r < 0 ? r : error_set(error, ERROR_UNAUTHENTICATED, "Unauthorized User");
    _cleanup_credentials_ Credentials credentials;
    credentials_read(call->exchange, &credentials);
    write_own_session(call, row.id, credentials.csrf, row.expires_at, row.idle_limit);
    return 0;
}

static void write_session(Writer *writer, const TokenListRow *row, const char *present)
{
    writer_begin_object(writer, NULL);
    writer_string(writer, "id", row->id);
    writer_string(writer, "username", row->username);
    writer_string(writer, "source", row->source);
    writer_string(writer, "user_agent", row->description);
    writer_boolean(writer, "has_second_factor", row->has_second_factor);
    writer_boolean(writer, "is_present", string_equal(row->id, present));
    writer_time(writer, "created_at", row->created_at);
    writer_time(writer, "last_used", row->last_used_at);
    writer_time(writer, "expires_at", row->expires_at);
    writer_end_object(writer);
}

static bool may_manage_others(const ApiCall *call)
{
    return principal_has(&call->principal, PERMISSION_SESSION_MANAGE_OTHERS);
}

static int check_whose(ApiCall *call, const char *username, Error *error)
{
    if (string_equal(username, call->principal.username) || may_manage_others(call))
        return 0;
    return error_set(error, ERROR_NOT_FOUND, "There is no account '%s'.", username);
}

static int list_sessions(ApiCall *call, Error *error)
{
    Page page;
    TokenListRow *rows;
    TokenCountRow total;
    size_t count;
    const int64_t now = (int64_t)store_now(call->transaction);
    const char *username = query_or_empty(call, "username");
    if (!*username)
        username = call->principal.username;
    int r = check_whose(call, username, error);
    if (r >= 0)
        r = page_read(call, &page, error);
    if (r >= 0)
        r = statement_token_list(call->transaction,
                                 &(TokenListParameters){.kind = "session",
                                                        .username = username,
                                                        .now = now,
                                                        .maximum = page.size,
                                                        .offset = page.offset},
                                 &rows, &count, error);
    if (r >= 0)
        r = statement_token_count(
            call->transaction, &(TokenCountParameters){.kind = "session", .username = username, .now = now},
            &total, error);
    if (r < 0)
        return r;
    Writer writer = list_begin(call);
    for (size_t i = 0; i < count; i++)
        write_session(&writer, &rows[i], call->principal.token_id);
    list_end(call, &writer, &page, total.total);
    return writer.status;
}

/* Ending
 * ------------------------------------------------------------------------------------------------------------
 */

static int delete_session(ApiCall *call, Error *error)
{
    TokenGetRow row;
    int r =
        statement_token_get(call->transaction, &(TokenGetParameters){.id = call->parameters[0]}, &row, error);
    if (r < 0)
        return r;
    if (r == 0 || !string_equal(row.kind, "session") ||
        (!string_equal(row.username, call->principal.username) && !may_manage_others(call)))
        return error_set(error, ERROR_NOT_FOUND, "There is no session '%s'.", call->parameters[0]);
    r = statement_token_revoke(call->transaction, &(TokenRevokeParameters){.id = row.id}, error);
    if (r < 0)
        return r;
    call->audit_object = arena_format(call->arena, "session:%s", row.id);
    answer_empty(call);
    return 0;
}

static int delete_own_session(ApiCall *call, Error *error)
{
    if (!call->is_session)
        return error_set(error, ERROR_NOT_FOUND, "This request came by no session.");
    int r = statement_token_revoke(call->transaction,
                                   &(TokenRevokeParameters){.id = call->principal.token_id}, error);
    if (r < 0)
        return r;
    clear_cookie(call);
    call->audit_object = arena_format(call->arena, "session:%s", call->principal.token_id);
    answer_empty(call);
    return 0;
}

/* The name must be said, also one's own: an empty query must not end everything. */
static int delete_sessions(ApiCall *call, Error *error)
{
    const char *username = query_or_empty(call, "username");
    if (!*username)
        return error_set_field(error, ERROR_BAD_REQUEST, "username", "Say whose sessions: username=NAME.");
    int r = check_whose(call, username, error);
    if (r >= 0)
        r = statement_tokens_revoke_of_user(
            call->transaction,
            &(TokensRevokeOfUserParameters){.username = username, .kind = "session", .but = ""}, error);
    if (r < 0)
        return r;
    call->audit_object = arena_format(call->arena, "user:%s", username);
    answer_empty(call);
    return 0;
}

static const RouteQuery query_sessions[] = {
    {"_size", "rows at most, 100 when absent", 0, API_PAGE_MAX},
    {"_offset", "rows to leave out", 0, INT32_MAX},
    {"username", "of which account; one's own when absent", 0, 0},
    {0},
};
static const RouteQuery query_whose[] = {{"username", "of which account; needed", 0, 0}, {0}};

const ApiRoute routes_sessions[] = {
    ROUTE(POST, "/sessions", OPEN, NO_TENANT, POOL, JSON_BODY, post_session, "session_create", 201,
          "Signs in with a password and, where there is one, the second factor; sets a cookie",
          .body_limit = 16384, .fields = session_fields, .has_secret_answer = true,
          .unshown = "sessions are only shown as a list"),
    ROUTE(GET, "/sessions", SESSION_LIST, NO_TENANT, READ, NO_BODY, list_sessions, NULL, 200,
          "Sessions of one's own, or of an account for those who manage them", .query = query_sessions),
    ROUTE(DELETE, "/sessions", SESSION_DELETE, NO_TENANT, WRITE, NO_BODY, delete_sessions, "sessions_delete",
          204, "Ends all sessions of an account at once", .query = query_whose,
          .unshown = "it is about many objects"),
    ROUTE(DELETE, "/sessions/{id}", SESSION_DELETE, NO_TENANT, WRITE, NO_BODY, delete_session,
          "session_delete", 204, "Ends a session at once", .unshown = "sessions are only shown as a list"),
    ROUTE(GET, "/session", SESSION_LIST, NO_TENANT, READ, NO_BODY, get_own_session, NULL, 200,
          "The session of this request, with what its pages must show"),
    ROUTE(DELETE, "/session", SESSION_DELETE, NO_TENANT, WRITE, NO_BODY, delete_own_session, "session_delete",
          204, "Signs out: ends the session of this request", .unshown = "sessions are only shown as a list"),
    {0},
};
