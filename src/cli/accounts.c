/* SPDX-License-Identifier: Apache-2.0 */
/* Accounts and tenants. */

#include <inttypes.h>

#include "base/string.h"
#include "cli/cli.h"
#include "cli/text.h"

static const ViewField user_view[] = {
    {"USER", "username", FIELD_STRONG, IN_BOTH},
    {"ROLE", "role", FIELD_TEXT, IN_BOTH},
    {"OF", "origin", FIELD_TEXT, IN_BOTH | MAY_LACK},
    {"ACTIVE", "active", FIELD_FLAG, IN_BOTH},
    {"LOCKED", "is_locked", FIELD_FLAG, IN_BOTH},
    {"NEW PASSWORD DUE", "must_change_password", FIELD_FLAG, IN_DETAILS | MAY_LACK},
    {"SECOND FACTOR", "has_second_factor", FIELD_FLAG, IN_BOTH},
    {"TENANTS", "tenants", FIELD_MAP, IN_DETAILS | MAY_LACK},
    {"CREATED", "created_at", FIELD_TIME, IN_BOTH},
    {"FIRST SIGN-IN", "first_login_at", FIELD_TIME, IN_DETAILS | MAY_LACK},
    {"LAST SIGN-IN", "last_login_at", FIELD_TIME, IN_BOTH | MAY_LACK},
    {0},
};
static const ViewField tenant_view[] = {
    {"TENANT", "name", FIELD_STRONG, IN_BOTH},
    {"ACTIVE", "active", FIELD_FLAG, IN_BOTH},
    {"DESCRIPTION", "description", FIELD_TEXT, IN_BOTH | MAY_LACK | MAY_SHRINK},
    {"CREATED", "created_at", FIELD_TIME, IN_BOTH},
    {"USERS", "users", FIELD_MAP, IN_DETAILS | MAY_LACK},
    {0},
};
/* Accounts ---------------------------------------------------------------------------------- */

static int whoami(Cli *cli, Error *error)
{
    return cli_show_object(cli, "/user?_get_data=true", user_view, error);
}

static int users_list(Cli *cli, Error *error)
{
    return cli_show_list(cli, "/users", user_view, "No accounts.", error);
}

static int users_show(Cli *cli, Error *error)
{
    _cleanup_free_ char *path = cli_path("/users/%s?_get_data=true", cli_argument(cli, 0));
    return cli_show_object(cli, path, user_view, error);
}

/* Typed twice, or one line of standard input. */
int cli_new_password(Cli *cli, const char *user, Secret **ret_password, Error *error)
{
    _cleanup_secret_ Secret *first = NULL, *second = NULL;
    if (cli_option(cli, "password-stdin"))
        return stdin_secret(ret_password, error);
    _cleanup_free_ char *question = string_format("New password of %s (12 characters or more): ", user);
    int r = terminal_ask_secret(question, &first, error);
    if (r >= 0)
        r = terminal_ask_secret("The same again: ", &second, error);
    if (r < 0)
        return r;
    if (!secret_equal(first, second))
        return error_set(error, ERROR_BAD_REQUEST, "the two passwords differ; nothing was changed");
    *ret_password = TAKE_PTR(first);
    return 0;
}

static json_t *password_body(const Secret *password)
{
    json_t *body = json_object();
    (void)json_object_set_new(body, "password",
                              json_stringn((const char *)secret_bytes(password), secret_size(password)));
    return body;
}

static void wipe_member(const json_t *body, const char *member)
{
    const json_t *value = json_object_get(body, member);
    if (json_is_string(value))
        memory_wipe((void *)(uintptr_t)json_string_value(value), json_string_length(value));
}

static int check_utf8(const json_t *body, const char *member, Error *error)
{
    return json_is_string(json_object_get(body, member))
               ? 0
               : error_set(error, ERROR_BAD_REQUEST, "a password must be text in UTF-8");
}

int cli_change_password(Cli *cli, const char *path, const Secret *current, const Secret *password,
                        Error *error)
{
    _cleanup_json_ json_t *body = password_body(password);
    int r = check_utf8(body, "password", error);
    if (r >= 0 && current) {
        (void)json_object_set_new(body, "current_password",
                                  json_stringn((const char *)secret_bytes(current), secret_size(current)));
        r = check_utf8(body, "current_password", error);
    }
    if (r >= 0)
        r = cli_request(cli, "POST", path, body, NULL, error);
    wipe_member(body, "password");
    wipe_member(body, "current_password");
    return MIN(r, 0);
}

static int users_create(Cli *cli, Error *error)
{
    const char *user = cli_argument(cli, 0), *role = cli_option(cli, "role");
    _cleanup_secret_ Secret *password = NULL;
    _cleanup_json_ json_t *answer = NULL;
    int r = cli_new_password(cli, user, &password, error);
    if (r < 0)
        return r;
    _cleanup_json_ json_t *body = password_body(password);
    r = check_utf8(body, "password", error);
    (void)json_object_set_new(body, "username", json_string(user));
    (void)json_object_set_new(body, "must_change_password",
                              json_boolean(cli_option(cli, "must-change") != NULL));
    if (role)
        (void)json_object_set_new(body, "role", json_string(role));
    if (r >= 0)
        r = cli_request(cli, "PUT", "/users", body, &answer, error);
    wipe_member(body, "password");
    if (r >= 0)
        cli_done(cli, answer,
                 "Created '%s'. Put it into a tenant: bastide tenants add-user %s %s --role user", user,
                 cli->profile.tenant ? cli->profile.tenant : "TENANT", user);
    return MIN(r, 0);
}

static int change_user(Cli *cli, const char *path, const json_t *body, const char *done, Error *error)
{
    _cleanup_json_ json_t *answer = NULL;
    int r = cli_request(cli, "POST", path, body, &answer, error);
    if (r >= 0)
        cli_done(cli, answer, "'%s' %s.", cli_argument(cli, 0), done);
    return MIN(r, 0);
}

static int set_active(Cli *cli, const char *action, const char *done, Error *error)
{
    _cleanup_json_ json_t *body = json_pack("{s:s}", "action", action);
    _cleanup_free_ char *path = cli_path("/users/active/%s", cli_argument(cli, 0));
    return change_user(cli, path, body, done, error);
}

static int users_activate(Cli *cli, Error *error)
{
    return set_active(cli, "activate", "is active", error);
}

static int users_deactivate(Cli *cli, Error *error)
{
    return set_active(cli, "deactivate", "is not active: every right is gone at once", error);
}

static int users_unlock(Cli *cli, Error *error)
{
    _cleanup_free_ char *path = cli_path("/users/unlock/%s", cli_argument(cli, 0));
    return change_user(cli, path, NULL, "can sign in again", error);
}

static int users_set_role(Cli *cli, Error *error)
{
    _cleanup_json_ json_t *body = json_pack("{s:s}", "role", cli_argument(cli, 1));
    _cleanup_free_ char *path = cli_path("/users/%s", cli_argument(cli, 0));
    return change_user(cli, path, body, "has another role", error);
}

static int users_reset_password(Cli *cli, Error *error)
{
    _cleanup_json_ json_t *answer = NULL, *body = json_object();
    _cleanup_free_ char *path = cli_path("/users/%s/password", cli_argument(cli, 0));
    int r = cli_request(cli, "POST", path, body, &answer, error);
    if (r >= 0 && !cli_show_raw(cli, answer)) {
        _cleanup_free_ char *when =
            time_relative(json_text_at(answer, "expires_at"), clock_realtime(&system_clock));
        (void)printf("%s\n", json_text_at(answer, "one_time_password"));
        (void)fprintf(stderr, "It is shown only now, and good for choosing another, %s at the latest.\n",
                      when);
    }
    wipe_member(answer, "one_time_password");
    return MIN(r, 0);
}

static int users_delete(Cli *cli, Error *error)
{
    const char *user = cli_argument(cli, 0);
    _cleanup_free_ char *question = string_format("Delete the account '%s'? Type yes: ", user);
    _cleanup_free_ char *path = cli_path("/users/%s", user);
    int r = cli_confirm(cli, question, error);
    if (r >= 0)
        r = cli_request(cli, "DELETE", path, NULL, NULL, error);
    if (r >= 0)
        cli_done(cli, NULL, "Deleted '%s'.", user);
    return MIN(r, 0);
}

/* With --password-stdin a line each: the present one first. */
static int change_own_password(Cli *cli, Error *error)
{
    _cleanup_secret_ Secret *current = NULL, *password = NULL;
    int r = cli_option(cli, "password-stdin") ? stdin_secret(&current, error)
                                              : terminal_ask_secret("Present password: ", &current, error);
    if (r >= 0)
        r = cli_new_password(cli, cli->profile.user ? cli->profile.user : "yours", &password, error);
    if (r >= 0)
        r = cli_change_password(cli, "/user/password", current, password, error);
    if (r >= 0)
        cli_done(cli, NULL,
                 "The password is changed; all tokens ended with it. Sign in again: bastide login");
    return r;
}

static int users_password(Cli *cli, Error *error)
{
    const char *user = cli_argument(cli, 0);
    _cleanup_secret_ Secret *password = NULL;
    if (!user)
        return change_own_password(cli, error);
    _cleanup_free_ char *path = cli_path("/users/%s/password", user);
    int r = cli_new_password(cli, user, &password, error);
    if (r >= 0)
        r = cli_change_password(cli, path, NULL, password, error);
    if (r >= 0)
        cli_done(cli, NULL, "The password of '%s' is set, for one use; all its tokens ended.", user);
    return r;
}

/* Tenants ----------------------------------------------------------------------------------- */

static int tenants_list(Cli *cli, Error *error)
{
    return cli_show_list(cli, "/tenants", tenant_view, "No tenants.", error);
}

static int tenants_show(Cli *cli, Error *error)
{
    _cleanup_free_ char *path = cli_path("/tenants/%s", cli_argument(cli, 0));
    return cli_show_object(cli, path, tenant_view, error);
}

static int tenants_create(Cli *cli, Error *error)
{
    const char *name = cli_argument(cli, 0), *description = cli_option(cli, "description");
    _cleanup_json_ json_t *answer = NULL, *body = json_object();
    _cleanup_free_ char *path = cli_path("/tenants/%s", name);
    if (description)
        (void)json_object_set_new(body, "description", json_string(description));
    int r = cli_request(cli, "POST", path, body, &answer, error);
    if (r >= 0)
        cli_done(cli, answer, "Created the tenant '%s'.", name);
    return MIN(r, 0);
}

static int tenants_delete(Cli *cli, Error *error)
{
    const char *name = cli_argument(cli, 0);
    _cleanup_free_ char *question = string_format("Delete the tenant '%s'? Type yes: ", name);
    _cleanup_free_ char *path = cli_path("/tenants/%s", name);
    int r = cli_confirm(cli, question, error);
    if (r >= 0)
        r = cli_request(cli, "DELETE", path, NULL, NULL, error);
    if (r >= 0)
        cli_done(cli, NULL, "Deleted the tenant '%s'.", name);
    return MIN(r, 0);
}

static const ViewField quota_view[] = {
    {"CLUSTERS", "clusters.used", FIELD_NUMBER, IN_BOTH},
    {"AT MOST", "clusters.maximum", FIELD_NUMBER, IN_BOTH},
    {"NODES", "nodes.used", FIELD_NUMBER, IN_BOTH},
    {"AT MOST", "nodes.maximum", FIELD_NUMBER, IN_BOTH},
    {"RUNNING TASKS", "running_tasks.used", FIELD_NUMBER, IN_BOTH},
    {"AT MOST", "running_tasks.maximum", FIELD_NUMBER, IN_BOTH},
    {"BUNDLES", "bundle_bytes.used", FIELD_BYTES, IN_BOTH},
    {"AT MOST", "bundle_bytes.maximum", FIELD_BYTES, IN_BOTH},
    {0},
};

/* 0 is no limit. */
static int tenants_quotas(Cli *cli, Error *error)
{
    _cleanup_free_ char *path = cli_path("/tenants/%s/quotas", cli_argument(cli, 0));
    return cli_show_object(cli, path, quota_view, error);
}

static int read_quota(const Cli *cli, const char *option, const char *member, json_t *body, Error *error)
{
    const char *text = cli_option(cli, option);
    uint64_t value;
    if (!text)
        return 0;
    if (string_to_bytes(text, &value) < 0 || value > INT64_MAX)
        return error_set(error, ERROR_BAD_REQUEST, "--%s takes a number; 0 is no limit", option);
    return json_object_set_new(body, member, json_integer((json_int_t)value));
}

static int tenants_set_quotas(Cli *cli, Error *error)
{
    _cleanup_json_ json_t *answer = NULL, *body = json_object();
    _cleanup_free_ char *path = cli_path("/tenants/%s/quotas", cli_argument(cli, 0));
    int r = read_quota(cli, "clusters", "clusters", body, error);
    if (r >= 0)
        r = read_quota(cli, "nodes", "nodes", body, error);
    if (r >= 0)
        r = read_quota(cli, "running-tasks", "running_tasks", body, error);
    if (r >= 0)
        r = read_quota(cli, "bundles", "bundle_bytes", body, error);
    if (r >= 0 && json_object_size(body) == 0)
        r = error_set(error, ERROR_BAD_REQUEST, "say which: --clusters, --nodes, --running-tasks, --bundles");
    if (r >= 0)
        r = cli_request(cli, "PATCH", path, body, &answer, error);
    if (r >= 0)
        cli_done(cli, answer, "The quotas of '%s' are set.", cli_argument(cli, 0));
    return MIN(r, 0);
}

static int tenants_add_user(Cli *cli, Error *error)
{
    const char *tenant = cli_argument(cli, 0), *user = cli_argument(cli, 1), *role = cli_option(cli, "role");
    role = role ? role : "user";
    _cleanup_json_ json_t *answer = NULL;
    _cleanup_json_ json_t *body =
        json_pack("{s:s, s:s, s:s}", "tenant_name", tenant, "username", user, "role", role);
    int r = cli_request(cli, "PUT", "/tenants/users", body, &answer, error);
    if (r >= 0)
        cli_done(cli, answer, "'%s' is %s in '%s'.", user, role, tenant);
    return MIN(r, 0);
}

static int tenants_remove_user(Cli *cli, Error *error)
{
    const char *tenant = cli_argument(cli, 0), *user = cli_argument(cli, 1);
    _cleanup_json_ json_t *body = json_pack("{s:s, s:s}", "tenant_name", tenant, "username", user);
    int r = cli_request(cli, "DELETE", "/tenants/users", body, NULL, error);
    if (r >= 0)
        cli_done(cli, NULL, "'%s' is no longer in '%s'.", user, tenant);
    return MIN(r, 0);
}

static const Option limit_options[] = {
    {.name = "limit", .argument = "N", .help = "show at most so many"},
    {.name = NULL},
};
static const Option create_user_options[] = {
    {.name = "role", .argument = "ROLE", .help = "sys_admin or default (default)"},
    {.name = "must-change", .help = "a new password is due at the first sign-in"},
    {.name = "password-stdin", .help = "read the password from standard input"},
    {.name = NULL},
};
static const Option password_options[] = {
    {.name = "password-stdin",
     .help = "read from standard input; for one's own: a line the present, a line the new"},
    {.name = NULL},
};
static const Option yes_options[] = {
    {.name = "yes", .letter = 'y', .help = "do not ask"},
    {.name = NULL},
};
static const Option description_options[] = {
    {.name = "description", .argument = "TEXT", .help = "what it is for"},
    {.name = NULL},
};
static const Option quota_options[] = {
    {.name = "clusters", .argument = "N", .help = "clusters at most; 0 is no limit"},
    {.name = "nodes", .argument = "N", .help = "nodes at most"},
    {.name = "running-tasks", .argument = "N", .help = "steps at a time at most"},
    {.name = "bundles", .argument = "BYTES", .help = "of uploaded bundles at most, e.g. 512M"},
    {.name = NULL},
};
static const Option role_options[] = {
    {.name = "role", .argument = "ROLE", .help = "manager, user (default), operations or viewer"},
    {.name = NULL},
};
const CliVerb verbs_accounts[] = {
    {"whoami", "", 0, 0, SESSION, whoami, NULL, "one's own account, role and tenants", NULL},
    {"users list", "", 0, 0, SESSION, users_list, limit_options, "accounts", NULL},
    {"users show", "NAME", 1, 1, SESSION, users_show, NULL, "one account with its tenants", NULL},
    {"users create", "NAME", 1, 1, SESSION, users_create, create_user_options, "make an account", NULL},
    {"users password", "[NAME]", 0, 1, SESSION, users_password, password_options,
     "change one's own password, or set another's",
     "All tokens and sessions of the account end with its old password. What is set for another is good for "
     "choosing a new one."},
    {"users reset-password", "NAME", 1, 1, SESSION, users_reset_password, NULL,
     "give an account a password for one use; it is shown once", NULL},
    {"users set-role", "NAME ROLE", 2, 2, SESSION, users_set_role, NULL,
     "give an account another system role", NULL},
    {"users unlock", "NAME", 1, 1, SESSION, users_unlock, NULL, "end the lock-out of an account", NULL},
    {"users activate", "NAME", 1, 1, SESSION, users_activate, NULL, "give an account its rights back", NULL},
    {"users deactivate", "NAME", 1, 1, SESSION, users_deactivate, NULL,
     "take all rights of an account at once", NULL},
    {"users delete", "NAME", 1, 1, SESSION, users_delete, yes_options, "remove an account", NULL},
    {"tenants list", "", 0, 0, SESSION, tenants_list, limit_options,
     "tenants one belongs to; all for administrators", NULL},
    {"tenants show", "NAME", 1, 1, SESSION, tenants_show, NULL, "one tenant with its members", NULL},
    {"tenants create", "NAME", 1, 1, SESSION, tenants_create, description_options, "make a tenant", NULL},
    {"tenants delete", "NAME", 1, 1, SESSION, tenants_delete, yes_options, "remove an empty tenant", NULL},
    {"tenants quotas", "NAME", 1, 1, SESSION, tenants_quotas, NULL,
     "what a tenant has, and may have at most (0: no limit)", NULL},
    {"tenants set-quotas", "NAME", 1, 1, SESSION, tenants_set_quotas, quota_options,
     "change what a tenant may have; what it has stays", NULL},
    {"tenants add-user", "TENANT USER", 2, 2, SESSION, tenants_add_user, role_options,
     "put an account into a tenant, or change its role there", NULL},
    {"tenants remove-user", "TENANT USER", 2, 2, SESSION, tenants_remove_user, NULL,
     "take an account out of a tenant", NULL},
    {0},
};
