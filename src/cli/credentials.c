/* SPDX-License-Identifier: Apache-2.0 */
/* What proves who one is: tokens, sessions, the second factor; and the policies about them. */

#include <inttypes.h>

#include "base/string.h"
#include "cli/cli.h"
#include "cli/text.h"

static const ViewField token_view[] = {
    {"TOKEN", "id", FIELD_STRONG, IN_BOTH},
    {"USER", "username", FIELD_TEXT, IN_BOTH},
    {"TENANT", "tenant", FIELD_TEXT, IN_BOTH | MAY_LACK},
    {"DESCRIPTION", "description", FIELD_TEXT, IN_BOTH | MAY_LACK | MAY_SHRINK},
    {"SECOND FACTOR", "has_second_factor", FIELD_FLAG, IN_BOTH},
    {"MADE FROM", "source", FIELD_TEXT, IN_DETAILS | MAY_LACK},
    {"CREATED", "created_at", FIELD_TIME, IN_BOTH},
    {"USED", "last_used", FIELD_TIME, IN_BOTH | MAY_LACK},
    {"EXPIRES", "expiration_date", FIELD_TIME, IN_BOTH},
    {0},
};
static const ViewField session_view[] = {
    {"SESSION", "id", FIELD_STRONG, IN_BOTH},
    {"USER", "username", FIELD_TEXT, IN_BOTH},
    {"FROM", "source", FIELD_TEXT, IN_BOTH},
    {"BROWSER", "user_agent", FIELD_TEXT, IN_BOTH | MAY_LACK | MAY_SHRINK},
    {"SECOND FACTOR", "has_second_factor", FIELD_FLAG, IN_BOTH},
    {"SINCE", "created_at", FIELD_TIME, IN_BOTH},
    {"USED", "last_used", FIELD_TIME, IN_BOTH},
    {"ENDS", "expires_at", FIELD_TIME, IN_BOTH},
    {0},
};
static const ViewField factor_view[] = {
    {"SECOND FACTOR", "state", FIELD_STRONG, IN_BOTH},
    {"SINCE", "confirmed_at", FIELD_TIME, IN_BOTH | MAY_LACK},
    {"RECOVERY CODES LEFT", "recovery_codes", FIELD_NUMBER, IN_BOTH},
    {0},
};
static const ViewField policy_view[] = {
    {"POLICY", "name", FIELD_STRONG, IN_BOTH},
    {"VALUE", "value", FIELD_TEXT, IN_BOTH},
    {"UNIT", "kind", FIELD_TEXT, IN_BOTH},
    {"SET", "is_set", FIELD_FLAG, IN_BOTH},
    {"BY", "changed_by", FIELD_TEXT, IN_BOTH | MAY_LACK},
    {"MEANING", "meaning", FIELD_TEXT, IN_BOTH | MAY_SHRINK},
    {0},
};

static void wipe_member(const json_t *body, const char *member)
{
    const json_t *value = json_object_get(body, member);
    if (json_is_string(value))
        memory_wipe((void *)(uintptr_t)json_string_value(value), json_string_length(value));
}

/* Tokens ------------------------------------------------------------------------------------ */

static int tokens_list(Cli *cli, Error *error)
{
    _cleanup_free_ char *path = string_duplicate("/tokens");
    cli_path_query(&path, "username", cli_option(cli, "user"));
    return cli_show_list(cli, path, token_view, "No tokens.", error);
}

static int tokens_show(Cli *cli, Error *error)
{
    _cleanup_free_ char *path = cli_path("/tokens/%s", cli_argument(cli, 0));
    return cli_show_object(cli, path, token_view, error);
}

static int set_expiry(const Cli *cli, json_t *body, Error *error)
{
    const char *life = cli_option(cli, "life");
    int64_t milliseconds;
    char text[TIMESTAMP_SIZE];
    if (!life)
        return 0;
    if (string_to_milliseconds(life, &milliseconds) < 0 || milliseconds <= 0)
        return error_set_field(error, ERROR_BAD_REQUEST, "--life", "must be a time such as 12h or 30d");
    timestamp_format(clock_realtime(&system_clock) + (Usec)milliseconds * USEC_PER_MSEC, text);
    (void)json_object_set_new(body, "expiration_date", json_string(text));
    return 0;
}

/* Each value of an option that may be given several times. */
static void add_names(const Cli *cli, const char *option, json_t *body, const char *member)
{
    json_t *names = json_array();
    const char *name;
    for (unsigned i = 0; (name = options_get_nth(cli->options, option, i)); i++)
        (void)json_array_append_new(names, json_string(name));
    if (json_array_size(names) > 0)
        (void)json_object_set(body, member, names);
    json_decref(names);
}

static int tokens_create(Cli *cli, Error *error)
{
    const char *description = cli_option(cli, "description");
    _cleanup_json_ json_t *answer = NULL, *body = json_object();
    if (description)
        (void)json_object_set_new(body, "description", json_string(description));
    if (cli->profile.tenant)
        (void)json_object_set_new(body, "tenant", json_string(cli->profile.tenant));
    add_names(cli, "permission", body, "permissions");
    add_names(cli, "only-tenant", body, "tenants");
    int r = set_expiry(cli, body, error);
    if (r >= 0)
        r = cli_request(cli, "POST", "/tokens", body, &answer, error);
    if (r >= 0 && !cli_show_raw(cli, answer)) {
        _cleanup_free_ char *value = text_safe(json_text_at(answer, "value"));
        _cleanup_free_ char *when =
            time_relative(json_text_at(answer, "expiration_date"), clock_realtime(&system_clock));
        (void)printf("%s\n", value);
        (void)fprintf(stderr, "It is shown only now, and expires %s.\n", when);
        memory_wipe(value, strlen(value));
    }
    wipe_member(answer, "value");
    return MIN(r, 0);
}

/* One by its id, or with --all those of an account: one's own, or of --user. */
static int revoke(Cli *cli, const char *resource, const char *what, Error *error)
{
    const char *id = cli_argument(cli, 0), *user = cli_option(cli, "user");
    if ((id != NULL) == (cli_option(cli, "all") != NULL))
        return error_set(error, ERROR_BAD_REQUEST, "give the id of one, or --all");
    if (!user)
        user = cli->profile.user;
    if (!id && !user)
        return error_set(error, ERROR_BAD_REQUEST, "say whose with --user NAME");
    _cleanup_free_ char *path = id ? cli_path("/%s/%s", resource, id) : cli_path("/%s", resource);
    if (!id)
        cli_path_query(&path, "username", user);
    int r = cli_request(cli, "DELETE", path, NULL, NULL, error);
    if (r >= 0 && id)
        cli_done(cli, NULL, "Ended the %s %s.", what, id);
    else if (r >= 0)
        cli_done(cli, NULL, "Ended all %ss of '%s'.", what, user);
    return MIN(r, 0);
}

static int tokens_revoke(Cli *cli, Error *error)
{
    return revoke(cli, "tokens", "token", error);
}

/* Sessions ---------------------------------------------------------------------------------- */

static int sessions_list(Cli *cli, Error *error)
{
    _cleanup_free_ char *path = string_duplicate("/sessions");
    cli_path_query(&path, "username", cli_option(cli, "user"));
    return cli_show_list(cli, path, session_view, "No sessions of the console.", error);
}

static int sessions_revoke(Cli *cli, Error *error)
{
    return revoke(cli, "sessions", "session", error);
}

/* Second factor ----------------------------------------------------------------------------- */

static int ask(const Cli *cli, const char *option, const char *question, Secret **ret_answer, Error *error)
{
    return cli_option(cli, option) ? stdin_secret(ret_answer, error)
                                   : terminal_ask_secret(question, ret_answer, error);
}

static int set_secret(json_t *body, const char *member, const Secret *value, Error *error)
{
    json_t *text = json_stringn((const char *)secret_bytes(value), secret_size(value));
    if (!text)
        return error_set(error, ERROR_BAD_REQUEST, "what was typed must be text in UTF-8");
    (void)json_object_set_new(body, member, text);
    return 0;
}

static int factor_show(Cli *cli, Error *error)
{
    return cli_show_object(cli, "/user/second-factor", factor_view, error);
}

static int factor_enrol(Cli *cli, Error *error)
{
    _cleanup_secret_ Secret *password = NULL;
    _cleanup_json_ json_t *answer = NULL, *body = json_object();
    int r = ask(cli, "password-stdin", "Present password: ", &password, error);
    if (r >= 0)
        r = set_secret(body, "current_password", password, error);
    if (r >= 0)
        r = cli_request(cli, "POST", "/user/second-factor", body, &answer, error);
    wipe_member(body, "current_password");
    if (r >= 0 && !cli_show_raw(cli, answer)) {
        (void)printf("%s\n%s\n", json_text_at(answer, "secret"), json_text_at(answer, "uri"));
        (void)fprintf(stderr,
                      "Type the key into your authenticator, or show it the address as a picture. It is "
                      "shown only now.\nThen confirm it with a code: bastide second-factor confirm\n");
    }
    wipe_member(answer, "secret");
    wipe_member(answer, "uri");
    return MIN(r, 0);
}

static int send_code(Cli *cli, const char *path, Error *error)
{
    _cleanup_secret_ Secret *code = NULL;
    _cleanup_json_ json_t *answer = NULL, *body = json_object();
    int r = ask(cli, "code-stdin", "Code: ", &code, error);
    if (r >= 0)
        r = set_secret(body, "code", code, error);
    if (r >= 0)
        r = cli_request(cli, "POST", path, body, &answer, error);
    wipe_member(body, "code");
    if (r < 0 || cli_show_raw(cli, answer))
        return MIN(r, 0);
    size_t i;
    const json_t *item;
    json_array_foreach (json_object_get(answer, "recovery_codes"), i, item) {
        _cleanup_free_ char *text = text_safe(json_string_value(item));
        (void)printf("%s\n", text);
        memory_wipe((void *)(uintptr_t)json_string_value(item), json_string_length(item));
    }
    (void)fprintf(stderr, "Each of these gets you in once when the authenticator is lost. Keep them where "
                          "nobody else reads; they are shown only now.\n");
    return 0;
}

static int factor_confirm(Cli *cli, Error *error)
{
    return send_code(cli, "/user/second-factor/confirm", error);
}

static int factor_codes(Cli *cli, Error *error)
{
    return send_code(cli, "/user/second-factor/recovery-codes", error);
}

/* With --password-stdin a line each: the password, then the code. */
static int factor_end(Cli *cli, Error *error)
{
    _cleanup_secret_ Secret *password = NULL, *code = NULL;
    _cleanup_json_ json_t *body = json_object();
    int r = ask(cli, "password-stdin", "Present password: ", &password, error);
    if (r >= 0)
        r = ask(cli, "password-stdin", "Code: ", &code, error);
    if (r >= 0)
        r = set_secret(body, "current_password", password, error);
    if (r >= 0 && secret_size(code) > 0)
        r = set_secret(body, "code", code, error);
    if (r >= 0)
        r = cli_request(cli, "DELETE", "/user/second-factor", body, NULL, error);
    wipe_member(body, "current_password");
    wipe_member(body, "code");
    if (r >= 0)
        cli_done(cli, NULL, "The second factor is ended.");
    return MIN(r, 0);
}

static int factor_reset(Cli *cli, Error *error)
{
    const char *user = cli_argument(cli, 0);
    _cleanup_free_ char *path = cli_path("/users/%s/second-factor", user);
    int r = cli_request(cli, "DELETE", path, NULL, NULL, error);
    if (r >= 0)
        cli_done(cli, NULL, "'%s' has no second factor any more; its tokens and sessions ended.", user);
    return MIN(r, 0);
}

/* Policies ---------------------------------------------------------------------------------- */

static char *policy_path(const Cli *cli)
{
    const char *tenant = cli_option(cli, "of");
    return tenant ? cli_path("/policies/%s", tenant) : string_duplicate("/policies");
}

/* Lists as words, so that a column can show them. */
static void join_names(const json_t *items)
{
    size_t i, j;
    json_t *item;
    const json_t *name;
    json_array_foreach (items, i, item) {
        const json_t *value = json_object_get(item, "value");
        if (!json_is_array(value)) {
            (void)json_object_set_new(item, "value",
                                      json_sprintf("%" JSON_INTEGER_FORMAT, json_integer_value(value)));
            continue;
        }
        Buffer text = BUFFER_INIT;
        json_array_foreach (value, j, name)
            (void)buffer_append_format(&text, "%s%s", j > 0 ? "," : "", json_string_value(name));
        _cleanup_free_ char *joined = buffer_take_string(&text);
        (void)json_object_set_new(item, "value", json_string(*joined ? joined : "-"));
    }
}

static int show_policies(Cli *cli, const json_t *answer)
{
    if (cli_show_raw(cli, answer))
        return 0;
    const json_t *items = json_object_get(answer, "items");
    join_names(items);
    view_list(items, policy_view, "No policies.");
    return 0;
}

static int policies_show(Cli *cli, Error *error)
{
    _cleanup_json_ json_t *answer = NULL;
    _cleanup_free_ char *path = policy_path(cli);
    int r = cli_get(cli, path, &answer, error);
    return r < 0 ? r : show_policies(cli, answer);
}

/* A number, a time such as 12h for those in seconds, names with commas between, or "default". */
static json_t *policy_value(const char *kind, const char *text)
{
    int64_t number;
    if (string_equal(text, "default"))
        return json_null();
    if (string_equal(kind, "names")) {
        _cleanup_string_list_ StringList names = {0};
        json_t *array = json_array();
        if (*text && !string_equal(text, "-"))
            string_list_split(&names, text, ',');
        for (size_t i = 0; i < names.count; i++)
            (void)json_array_append_new(array, json_string(names.items[i]));
        return array;
    }
    if (string_to_i64(text, 0, INT64_MAX, &number) >= 0)
        return json_integer(number);
    if (string_equal(kind, "seconds") && string_to_milliseconds(text, &number) >= 0)
        return json_integer(number / 1000);
    return json_string(text); /* the manager says what is wrong with it */
}

static int policies_set(Cli *cli, Error *error)
{
    const char *name = cli_argument(cli, 0), *kind = "";
    _cleanup_json_ json_t *before = NULL, *after = NULL, *body = json_object();
    _cleanup_free_ char *path = policy_path(cli);
    int r = cli_get(cli, path, &before, error);
    if (r < 0)
        return r;
    size_t i;
    const json_t *item;
    json_array_foreach (json_object_get(before, "items"), i, item)
        if (string_equal(json_text_at(item, "name"), name))
            kind = json_text_at(item, "kind");
    (void)json_object_set_new(body, name, policy_value(kind, cli_argument(cli, 1)));
    r = cli_request(cli, "PATCH", path, body, &after, error);
    if (r >= 0)
        cli_done(cli, after, "The policy '%s' is set.", name);
    return MIN(r, 0);
}

static const Option list_options[] = {
    {.name = "limit", .argument = "N", .help = "show at most so many"},
    {.name = "user", .letter = 'u', .argument = "NAME", .help = "those of this account"},
    {.name = NULL},
};
static const Option token_options[] = {
    {.name = "description", .argument = "TEXT", .help = "what it is for"},
    {.name = "life", .argument = "TIME", .help = "until it expires, e.g. 12h (30d)"},
    {.name = "permission",
     .argument = "NAME",
     .help = "good for this alone, e.g. cluster_list",
     .is_repeatable = true},
    {.name = "only-tenant", .argument = "NAME", .help = "good in this tenant alone", .is_repeatable = true},
    {.name = NULL},
};
static const Option revoke_options[] = {
    {.name = "all", .help = "all of an account: one's own, or of --user"},
    {.name = "user", .letter = 'u', .argument = "NAME", .help = "with --all: whose"},
    {.name = NULL},
};
static const Option password_options[] = {
    {.name = "password-stdin", .help = "read the password from standard input"},
    {.name = NULL},
};
static const Option end_options[] = {
    {.name = "password-stdin", .help = "read from standard input, a line each: the password, then the code"},
    {.name = NULL},
};
static const Option code_options[] = {
    {.name = "code-stdin", .help = "read the code from standard input"},
    {.name = NULL},
};
static const Option policy_options[] = {
    {.name = "of", .argument = "TENANT", .help = "of this tenant, not of the installation"},
    {.name = NULL},
};

const CliVerb verbs_credentials[] = {
    {"tokens list", "", 0, 0, SESSION, tokens_list, list_options,
     "one's own tokens; all for those who manage them", NULL},
    {"tokens show", "ID", 1, 1, SESSION, tokens_show, NULL, "one token; never its value", NULL},
    {"tokens create", "", 0, 0, SESSION, tokens_create, token_options, "make a token; it is shown once",
     "The token alone goes to standard output, e.g. into a file that only a service can read."},
    {"tokens revoke", "[ID]", 0, 1, SESSION, tokens_revoke, revoke_options,
     "end a token, or all of an account, at once", NULL},
    {"sessions list", "", 0, 0, SESSION, sessions_list, list_options, "who is signed in to the console",
     NULL},
    {"sessions revoke", "[ID]", 0, 1, SESSION, sessions_revoke, revoke_options,
     "end a session, or all of an account, at once", NULL},
    {"second-factor show", "", 0, 0, SESSION, factor_show, NULL, "one's own second factor", NULL},
    {"second-factor enrol", "", 0, 0, SESSION, factor_enrol, password_options,
     "make a key for an authenticator program; it is shown once",
     "Codes are asked for at each sign-in once a first one has confirmed the key."},
    {"second-factor confirm", "", 0, 0, SESSION, factor_confirm, code_options,
     "confirm the key with a code; gives ten recovery codes", NULL},
    {"second-factor recovery-codes", "", 0, 0, SESSION, factor_codes, code_options,
     "make new recovery codes; the old ones end", NULL},
    {"second-factor end", "", 0, 0, SESSION, factor_end, end_options, "end one's own second factor", NULL},
    {"second-factor reset", "NAME", 1, 1, SESSION, factor_reset, NULL,
     "take the second factor off an account, for who lost it", NULL},
    {"policies show", "", 0, 0, SESSION, policies_show, policy_options,
     "policies in force, of the installation or of a tenant", NULL},
    {"policies set", "NAME VALUE", 2, 2, SESSION, policies_set, policy_options, "change a policy",
     "VALUE is a number, a time such as 12h, names with commas between, or 'default'. A tenant's policy may "
     "be "
     "tighter than the installation's, not looser.\n\n"
     "Example:\n\n"
     "  bastide policies set second_factor_roles manager --of shop"},
    {0},
};
