/* SPDX-License-Identifier: Apache-2.0 */
/* Signing in and out, profiles. The order in login matters: trust first, credentials after. */

#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/file.h"
#include "base/string.h"
#include "cli/cli.h"
#include "cli/text.h"
#include "cli/trust.h"

enum { CA_FILE_LIMIT = 64 * 1024 };
static const char DEFAULT_TENANT[] = "default_tenant";

/* Trust ------------------------------------------------------------------------------------- */

static int take_ca_file(Cli *cli, Profile *profile, const char *path, Error *error)
{
    _cleanup_free_ char *pem = NULL;
    size_t size;
    int r = file_read(path, CA_FILE_LIMIT, &pem, &size);
    if (r < 0)
        return error_set_errno(error, ERROR_CONFIGURATION, -r, "cannot read %s", path);
    r = profiles_store_ca(cli->profiles, profile, pem, error);
    if (r < 0)
        error_prefix(error, "%s", path);
    return r;
}

static int check_fingerprint(const FetchedCa *ca, const char *expected, Error *error)
{
    char fingerprint[HASH_HEX_SIZE];
    if (trust_parse_fingerprint(expected, fingerprint) < 0)
        return error_set(error, ERROR_BAD_REQUEST,
                         "--ca-fingerprint takes the SHA-256 as 64 hexadecimal digits");
    if (string_equal(fingerprint, ca->fingerprint))
        return 0;
    _cleanup_free_ char *found = trust_format_fingerprint(ca->fingerprint);
    return error_set(error, ERROR_UNTRUSTED, "the CA of %s has another fingerprint: %s", "the server", found);
}

static int ask_about_ca(const FetchedCa *ca, const char *url, Error *error)
{
    _cleanup_free_ char *fingerprint = trust_format_fingerprint(ca->fingerprint);
    _cleanup_free_ char *subject = text_safe(ca->subject), *safe_url = text_safe(url);
    if (!isatty(STDIN_FILENO))
        return error_set(
            error, ERROR_UNTRUSTED,
            "the CA of %s is not known yet; give --ca FILE, or --ca-fingerprint with its SHA-256", url);
    (void)fprintf(stderr,
                  "The CA of %s is not known yet. It calls itself\n"
                  "    %s\n"
                  "and its SHA-256 fingerprint is\n"
                  "    %s%.48s\n    %s%s\n"
                  "Compare it with what the administrator tells you, or on the manager's machine with\n"
                  "    openssl x509 -in /opt/bastide/share/bastide/ca.crt -noout -fingerprint -sha256\n",
                  safe_url, subject, style_begin(stderr, STYLE_STRONG), fingerprint, fingerprint + 48,
                  style_end(stderr));
    return terminal_confirm("Is it the same? Type yes to trust it: ", "give --ca-fingerprint", error);
}

static int fetch_ca(Cli *cli, Profile *profile, Error *error)
{
    const char *expected = cli_option(cli, "ca-fingerprint");
    _cleanup_fetched_ca_ FetchedCa ca = {0};
    int r = trust_fetch(profile->url, &ca, error);
    if (r >= 0)
        r = expected ? check_fingerprint(&ca, expected, error) : ask_about_ca(&ca, profile->url, error);
    return r < 0 ? r : profiles_store_ca(cli->profiles, profile, ca.pem, error);
}

/* The CA that is told now, else the one that is known for this URL, else the server's own after a check. */
static int establish_trust(Cli *cli, Profile *profile, bool is_same_url, Error *error)
{
    const char *file = cli_option(cli, "ca");
    if (file)
        return take_ca_file(cli, profile, file, error);
    if (is_same_url && profile->ca_file && !cli_option(cli, "ca-fingerprint"))
        return 0;
    free(profile->ca_file);
    profile->ca_file = NULL;
    return cli_option(cli, "system-ca") ? 0 : fetch_ca(cli, profile, error);
}

/* Login ------------------------------------------------------------------------------------- */

static void replace(char **text, const char *value)
{
    if (!value || value == *text)
        return;
    free(*text);
    *text = string_duplicate(value);
}

static int need_url(Cli *cli, Profile *profile, bool *ret_is_same, Error *error)
{
    const char *url = cli_option(cli, "url");
    _cleanup_free_ char *answer = NULL, *host = NULL, *port = NULL;
    if (!url && !profile->url) {
        int r = terminal_ask("URL of the manager [https://localhost:8443]: ", &answer, error);
        if (r < 0)
            return r;
        url = *answer ? answer : "https://localhost:8443";
    }
    *ret_is_same = !url || string_equal(url, profile->url);
    replace(&profile->url, url);
    return trust_parse_url(profile->url, &host, &port, error);
}

static int need_user(Cli *cli, Profile *profile, Error *error)
{
    replace(&profile->user, cli_option(cli, "user"));
    if (!profile->user) {
        int r = terminal_ask("User: ", &profile->user, error);
        if (r < 0)
            return r;
    }
    return identifier_is_valid(profile->user)
               ? 0
               : error_set(error, ERROR_BAD_REQUEST, "this cannot be the name of an account");
}

static void set_basic(HttpClient *client, const char *user, const Secret *password)
{
    Buffer pair = BUFFER_INIT_SECRET(16384);
    (void)buffer_append_format(&pair, "%s:", user);
    (void)buffer_append(&pair, secret_bytes(password), secret_size(password));
    size_t size = 4 * ((pair.size + 2) / 3) + 1;
    char *encoded = memory_new(size);
    base64_encode(pair.data, pair.size, encoded);
    char *value = string_format("Basic %s", encoded);
    http_client_set_header(client, "Authorization", value);
    memory_wipe(value, strlen(value));
    memory_wipe(encoded, size);
    free(value);
    free(encoded);
    buffer_wipe(&pair);
}

static int ask_password(Cli *cli, const Profile *profile, Secret **ret_password, Error *error)
{
    if (cli_option(cli, "password-stdin"))
        return stdin_secret(ret_password, error);
    _cleanup_free_ char *question = string_format("Password of %s at %s: ", profile->user, profile->url);
    return terminal_ask_secret(question, ret_password, error);
}

static void take_token(Profile *profile, const json_t *answer)
{
    const json_t *value = json_object_get(answer, "value");
    replace(&profile->token_id, json_text_at(answer, "id"));
    replace(&profile->expires_at, json_text_at(answer, "expiration_date"));
    replace(&profile->user, json_text_at(answer, "username"));
    secret_free(profile->token);
    profile->token = secret_new(json_string_value(value), json_string_length(value));
    if (json_is_string(value))
        memory_wipe((void *)(uintptr_t)json_string_value(value), json_string_length(value));
}

static json_t *token_request(const Profile *profile)
{
    char host[256] = "a terminal";
    (void)gethostname(host, sizeof(host) - 1);
    _cleanup_free_ char *description = string_format("command line on %.200s", host);
    json_t *body = json_pack("{s:s}", "description", description);
    if (profile->tenant)
        (void)json_object_set_new(body, "tenant", json_string(profile->tenant));
    return body;
}

/* The code is asked for when the manager wants one; it is good for one request. */
static int ask_code(Cli *cli, Error *error)
{
    _cleanup_secret_ Secret *code = NULL;
    error_clear(error);
    cli->has_second_factor = true;
    int r = cli_option(cli, "password-stdin")
                ? stdin_secret(&code, error)
                : terminal_ask_secret("Code of the second factor, or a recovery code: ", &code, error);
    if (r >= 0)
        http_client_set_header(cli->client, "Second-Factor", (const char *)secret_bytes(code));
    return r;
}

static int ask_token_for_tenant(Cli *cli, Profile *profile, Error *error)
{
    _cleanup_json_ json_t *answer = NULL, *body = token_request(profile);
    int r = cli_request(cli, "POST", "/tokens", body, &answer, error);
    http_client_set_header(cli->client, "Second-Factor", NULL);
    if (r < 0 && error->code == ERROR_UNAUTHENTICATED) {
        error_clear(error);
        return error_set(error, ERROR_UNAUTHENTICATED,
                         "user or password is wrong, or the account is locked for a while after failures");
    }
    if (r >= 0 && !json_is_string(json_object_get(answer, "value")))
        r = error_set(error, ERROR_PROTOCOL, "the manager's answer has no token");
    if (r >= 0)
        take_token(profile, answer);
    return MIN(r, 0);
}

/* A password that somebody else set is good only for changing it. */
static bool must_change(Cli *cli)
{
    _cleanup_json_ json_t *user = NULL;
    Error ignored = ERROR_INIT;
    return cli_get(cli, "/user", &user, &ignored) >= 0 &&
           json_is_true(json_object_get(user, "must_change_password"));
}

/* Without --tenant: the default one when the person is in it, else the first of theirs, else none. */
static void choose_tenant(Profile *profile, const json_t *user)
{
    const json_t *tenants = json_object_get(user, "tenants");
    bool is_in_default =
        string_equal(json_text_at(user, "role"), "sys_admin") || json_object_get(tenants, DEFAULT_TENANT);
    const char *name = json_object_iter_key(json_object_iter((json_t *)(uintptr_t)tenants));
    free(profile->tenant);
    profile->tenant = string_duplicate(is_in_default ? DEFAULT_TENANT : name);
}

/* A code is spent by one request, so the tenant is looked for with the token that it gave. */
static int ask_token_with_code(Cli *cli, Profile *profile, Error *error)
{
    bool is_guess = !profile->tenant;
    int r = ask_code(cli, error);
    if (r >= 0)
        r = ask_token_for_tenant(cli, profile, error);
    if (r < 0 || !is_guess)
        return r;
    _cleanup_json_ json_t *user = NULL;
    _cleanup_(http_client_free_pointer) HttpClient *client = NULL;
    r = cli_connect(profile, &client, error);
    if (r < 0)
        return r;
    HttpClient *before = cli->client;
    cli->client = client;
    r = cli_get(cli, "/user?_get_data=true", &user, error);
    cli->client = before;
    if (r >= 0)
        choose_tenant(profile, user);
    return MIN(r, 0);
}

static int ask_token(Cli *cli, Profile *profile, Error *error)
{
    _cleanup_json_ json_t *user = NULL;
    bool is_guess = !profile->tenant;
    if (is_guess)
        profile->tenant = string_duplicate(DEFAULT_TENANT);
    int r = ask_token_for_tenant(cli, profile, error);
    if (r < 0 && is_guess) {
        free(profile->tenant);
        profile->tenant = NULL;
    }
    if (r < 0 && error->code == ERROR_SECOND_FACTOR)
        return ask_token_with_code(cli, profile, error);
    if (r >= 0 || !is_guess || error->code != ERROR_NOT_FOUND)
        return r;
    error_clear(error);
    r = cli_get(cli, "/user?_get_data=true", &user, error);
    if (r < 0)
        return r;
    choose_tenant(profile, user);
    return ask_token_for_tenant(cli, profile, error);
}

static int login_with_password(Cli *cli, Profile *profile, Error *error)
{
    _cleanup_secret_ Secret *password = NULL, *changed = NULL;
    int r = need_user(cli, profile, error);
    if (r >= 0)
        r = cli_connect(profile, &cli->client, error);
    if (r >= 0)
        r = ask_password(cli, profile, &password, error);
    if (r < 0)
        return r;
    set_basic(cli->client, profile->user, password);
    http_client_set_header(cli->client, "Tenant", NULL);
    r = ask_token(cli, profile, error);
    if (r >= 0 || error->code != ERROR_FORBIDDEN || !(cli->has_second_factor || must_change(cli)))
        return r;
    error_clear(error);
    (void)fprintf(stderr, "This password was for one use; choose your own now.\n");
    r = cli_new_password(cli, profile->user, &changed, error);
    if (r >= 0 && cli->has_second_factor) /* each is good once: wait for the next */
        r = ask_code(cli, error);
    if (r >= 0)
        r = cli_change_password(cli, "/user/password", password, changed, error);
    if (r < 0)
        return r;
    set_basic(cli->client, profile->user, changed);
    return ask_token(cli, profile, error);
}

/* A token made elsewhere, e.g. by the manager's administration; shown to be good before it is kept. */
static int login_with_token(Cli *cli, Profile *profile, Error *error)
{
    _cleanup_json_ json_t *answer = NULL;
    _cleanup_secret_ Secret *token = NULL;
    int r = stdin_secret(&token, error);
    if (r < 0)
        return r;
    if (!string_starts_with((const char *)secret_bytes(token), "btk-") ||
        string_has_control((const char *)secret_bytes(token), secret_size(token), NULL))
        return error_set(error, ERROR_BAD_REQUEST, "standard input has no token (they begin with btk-)");
    profile->token = TAKE_PTR(token);
    r = cli_connect(profile, &cli->client, error);
    if (r >= 0)
        r = cli_get(cli, "/user?_get_data=true", &answer, error);
    if (r >= 0)
        replace(&profile->user, json_text_at(answer, "username"));
    if (r >= 0 && !profile->tenant)
        choose_tenant(profile, answer);
    return MIN(r, 0);
}

static int login(Cli *cli, Error *error)
{
    _cleanup_profile_ Profile profile = {0};
    bool is_same_url;
    const char *chosen = cli_option(cli, "profile"), *tenant = cli_option(cli, "tenant");
    if (cli_option(cli, "password-stdin") && cli_option(cli, "token-stdin"))
        return error_set(error, ERROR_BAD_REQUEST, "give --password-stdin or --token-stdin, not both");
    int r = cli_open_profiles(cli, error);
    if (r < 0)
        return r;
    const char *name = chosen ? chosen : profiles_current(cli->profiles);
    if (!name_is_valid(name) || strlen(name) > 64)
        return error_set(error, ERROR_BAD_REQUEST,
                         "the name of a profile is made of letters, digits and _.-");
    profiles_get(cli->profiles, name, &profile);
    profile.token = secret_free(profile.token);
    replace(&profile.tenant, tenant);
    r = need_url(cli, &profile, &is_same_url, error);
    if (r >= 0)
        r = establish_trust(cli, &profile, is_same_url, error);
    if (r >= 0)
        r = cli_option(cli, "token-stdin") ? login_with_token(cli, &profile, error)
                                           : login_with_password(cli, &profile, error);
    if (r < 0)
        return r;
    bool is_first = !profiles_has(cli->profiles, profiles_current(cli->profiles));
    profiles_put(cli->profiles, &profile);
    if (is_first || !chosen)
        profiles_set_current(cli->profiles, name);
    r = profiles_save(cli->profiles, error);
    if (r < 0)
        return r;
    _cleanup_free_ char *until = time_relative(profile.expires_at, clock_realtime(&system_clock));
    cli_done(cli, NULL, "Signed in to %s as %s, %s%s%s%s%s.", profile.url, profile.user,
             profile.tenant ? "tenant " : "in no tenant", profile.tenant ? profile.tenant : "",
             *until ? " (the token expires " : "", until, *until ? ")" : "");
    return 0;
}

static int logout(Cli *cli, Error *error)
{
    int r = cli_open_profiles(cli, error);
    if (r < 0)
        return r;
    const char *name =
        cli_option(cli, "profile") ? cli_option(cli, "profile") : profiles_current(cli->profiles);
    profiles_get(cli->profiles, name, &cli->profile);
    if (!cli->profile.token)
        return error_set(error, ERROR_NOT_FOUND, "the profile '%s' is not signed in", name);
    Error revoke_error = ERROR_INIT;
    const char *token = (const char *)secret_bytes(cli->profile.token);
    /* A token names itself: btk-<id>-<secret>. */
    _cleanup_free_ char *id = string_duplicate_n(token + 4, MIN(strcspn(token + 4, "-"), (size_t)ID_LENGTH));
    _cleanup_free_ char *path = cli_path("/tokens/%s", id);
    r = cli_connect(&cli->profile, &cli->client, &revoke_error);
    if (r >= 0)
        r = cli_request(cli, "DELETE", path, NULL, NULL, &revoke_error);
    bool is_gone = r >= 0 || revoke_error.code == ERROR_UNAUTHENTICATED;
    cli->profile.token = secret_free(cli->profile.token);
    profiles_put(cli->profiles, &cli->profile);
    r = profiles_save(cli->profiles, error);
    if (r < 0)
        return r;
    if (!is_gone) {
        *error = revoke_error;
        error_prefix(error, "the token is gone from this machine but could not be revoked");
        return -EIO;
    }
    cli_done(cli, NULL, "Signed out of %s; the token is revoked.", cli->profile.url);
    return 0;
}

/* Profiles ---------------------------------------------------------------------------------- */

static json_t *profile_to_json(const Profiles *profiles, const char *name)
{
    _cleanup_profile_ Profile profile = {0};
    profiles_get(profiles, name, &profile);
    return json_pack("{s:s, s:b, s:s?, s:s?, s:s?, s:s?, s:b, s:s?}", "name", name, "current",
                     string_equal(name, profiles_current(profiles)), "url", profile.url, "user", profile.user,
                     "tenant", profile.tenant, "ca_file", profile.ca_file, "signed_in", profile.token != NULL,
                     "expires_at", profile.token ? profile.expires_at : NULL);
}

static const ViewField profile_view[] = {
    {"PROFILE", "name", FIELD_STRONG, IN_BOTH},
    {"CURRENT", "current", FIELD_FLAG, IN_BOTH},
    {"URL", "url", FIELD_TEXT, IN_BOTH | MAY_SHRINK},
    {"USER", "user", FIELD_TEXT, IN_BOTH},
    {"TENANT", "tenant", FIELD_TEXT, IN_BOTH},
    {"SIGNED IN", "signed_in", FIELD_FLAG, IN_BOTH},
    {"EXPIRES", "expires_at", FIELD_TIME, IN_BOTH | MAY_LACK},
    {"CA", "ca_file", FIELD_TEXT, IN_DETAILS | MAY_LACK},
    {0},
};

static int profile_list(Cli *cli, Error *error)
{
    _cleanup_string_list_ StringList names = {0};
    int r = cli_open_profiles(cli, error);
    if (r < 0)
        return r;
    _cleanup_json_ json_t *answer = json_pack("{s:[]}", "items");
    profiles_names(cli->profiles, &names);
    for (size_t i = 0; i < names.count; i++)
        (void)json_array_append_new(json_object_get(answer, "items"),
                                    profile_to_json(cli->profiles, names.items[i]));
    if (!cli_show_raw(cli, answer))
        view_list(json_object_get(answer, "items"), profile_view,
                  "No profiles yet; 'bastide login' makes one.");
    return 0;
}

/* The argument, --profile or the current one; which must exist. */
static int find_profile(Cli *cli, const char **ret_name, Error *error)
{
    int r = cli_open_profiles(cli, error);
    if (r < 0)
        return r;
    const char *name = cli_argument(cli, 0);
    if (!name)
        name = cli_option(cli, "profile") ? cli_option(cli, "profile") : profiles_current(cli->profiles);
    *ret_name = name;
    return profiles_has(cli->profiles, name)
               ? 0
               : error_set(error, ERROR_NOT_FOUND, "there is no profile '%s'", name);
}

static int profile_show(Cli *cli, Error *error)
{
    const char *name;
    int r = find_profile(cli, &name, error);
    if (r < 0)
        return r;
    _cleanup_json_ json_t *answer = profile_to_json(cli->profiles, name);
    if (!cli_show_raw(cli, answer))
        view_details(answer, profile_view);
    return 0;
}

static int profile_use(Cli *cli, Error *error)
{
    const char *name;
    int r = find_profile(cli, &name, error);
    if (r < 0)
        return r;
    profiles_set_current(cli->profiles, name);
    r = profiles_save(cli->profiles, error);
    if (r < 0)
        return r;
    if (getenv("BASTIDE_PROFILE"))
        cli_warn("BASTIDE_PROFILE is set and chooses before this does");
    cli_done(cli, NULL, "The profile is now '%s'.", name);
    return 0;
}

static int set_members(Cli *cli, Profile *profile, Error *error)
{
    const char *url = cli_option(cli, "url"), *ca = cli_option(cli, "rest-certificate");
    const char *tenant = cli_option(cli, "tenant");
    _cleanup_free_ char *host = NULL, *port = NULL;
    if (!url && !ca && !tenant)
        return error_set(error, ERROR_BAD_REQUEST, "say what to set: --url, --rest-certificate or --tenant");
    int r = url ? trust_parse_url(url, &host, &port, error) : 0;
    if (r >= 0 && tenant && !identifier_is_valid(tenant))
        r = error_set(error, ERROR_BAD_REQUEST, "this cannot be the name of a tenant");
    if (r < 0)
        return r;
    if (url && !string_equal(url, profile->url)) {
        /* A token and a CA belong to one manager: they must not go to another. */
        profile->token = secret_free(profile->token);
        free(profile->ca_file);
        profile->ca_file = NULL;
    }
    replace(&profile->url, url);
    replace(&profile->tenant, tenant);
    return ca ? take_ca_file(cli, profile, ca, error) : 0;
}

static int profile_set(Cli *cli, Error *error)
{
    _cleanup_profile_ Profile profile = {0};
    int r = cli_open_profiles(cli, error);
    if (r < 0)
        return r;
    const char *name = cli_argument(cli, 0);
    if (!name)
        name = cli_option(cli, "profile") ? cli_option(cli, "profile") : profiles_current(cli->profiles);
    if (!name_is_valid(name) || strlen(name) > 64)
        return error_set(error, ERROR_BAD_REQUEST,
                         "the name of a profile is made of letters, digits and _.-");
    profiles_get(cli->profiles, name, &profile);
    bool was_signed_in = profile.token != NULL;
    r = set_members(cli, &profile, error);
    if (r < 0)
        return r;
    profiles_put(cli->profiles, &profile);
    r = profiles_save(cli->profiles, error);
    if (r >= 0)
        cli_done(cli, NULL, "The profile '%s' is set%s.", name,
                 was_signed_in && !profile.token ? "; sign in again, as its manager is another one" : "");
    return r;
}

static int profile_remove(Cli *cli, Error *error)
{
    const char *name;
    int r = find_profile(cli, &name, error);
    if (r < 0)
        return r;
    _cleanup_profile_ Profile profile = {0};
    profiles_get(cli->profiles, name, &profile);
    if (profile.token)
        cli_warn("the token of '%s' stays valid until it expires; 'bastide logout' would have revoked it",
                 name);
    (void)profiles_remove(cli->profiles, name);
    r = profiles_save(cli->profiles, error);
    if (r >= 0)
        cli_done(cli, NULL, "The profile '%s' is removed.", name);
    return r;
}

static const Option login_options[] = {
    {.name = "url", .argument = "URL", .help = "the manager, e.g. https://localhost:8443"},
    {.name = "user", .letter = 'u', .argument = "NAME", .help = "account"},
    {.name = "ca", .argument = "FILE", .help = "certificate of the CA that vouches for the manager (PEM)"},
    {.name = "ca-fingerprint",
     .argument = "SHA256",
     .help = "fetch the CA certificate from the manager; its fingerprint must be this"},
    {.name = "system-ca", .help = "the CAs of this system vouch for the manager"},
    {.name = "password-stdin",
     .help = "read the password from standard input; on a second line the code of the second factor"},
    {.name = "token-stdin", .help = "read a token made elsewhere from standard input, instead of a password"},
    {.name = NULL},
};

static const Option set_options[] = {
    {.name = "url", .argument = "URL", .help = "the manager; another one ends the sign-in"},
    {.name = "rest-certificate",
     .argument = "FILE",
     .help = "certificate of the CA that vouches for the manager (PEM); it is copied"},
    {.name = NULL},
};

const CliVerb verbs_session[] = {
    {"login", "", 0, 0, ALONE, login, login_options, "sign in to a manager",
     "Asks for what is missing, gets a token for the password and keeps the token in the profile; the "
     "password "
     "is kept nowhere. Without --ca the CA certificate is fetched from the manager and shown with its "
     "fingerprint: nothing else is sent before it is confirmed.\n\n"
     "Examples:\n\n"
     "  bastide login --url https://localhost:8443 --user admin --ca /opt/bastide/share/bastide/ca.crt\n"
     "  bastide login --profile production --url https://bastide.example:8443 --user ana --tenant shop"},
    {"logout", "", 0, 0, ALONE, logout, NULL, "revoke the token and forget it", NULL},
    {"profile list", "", 0, 0, ALONE, profile_list, NULL, "managers one has signed in to", NULL},
    {"profile show", "[NAME]", 0, 1, ALONE, profile_show, NULL, "one profile; never its token", NULL},
    {"profile use", "NAME", 1, 1, ALONE, profile_use, NULL, "choose the profile for what follows", NULL},
    {"profile set", "[NAME]", 0, 1, ALONE, profile_set, set_options, "change URL, CA or tenant of a profile",
     NULL},
    {"profile remove", "NAME", 1, 1, ALONE, profile_remove, NULL, "forget a profile", NULL},
    {0},
};
