/* SPDX-License-Identifier: Apache-2.0 */
/* Secrets: kept, read, changed, handed over. Values come from a file or standard input, never from the
 * command line, and go to standard output alone. */

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>

#include "base/file.h"
#include "base/string.h"
#include "cli/cli.h"
#include "cli/terminal.h"
#include "cli/text.h"

enum { VALUE_LIMIT = 64 * 1024, PASSPHRASE_LIMIT = 1024, EXPORT_LIMIT = 16 * 1024 * 1024 };

static const ViewField secret_view[] = {
    {"KEY", "key", FIELD_STRONG, IN_BOTH | MAY_SHRINK},
    {"DESCRIPTION", "description", FIELD_TEXT, IN_BOTH | MAY_LACK | MAY_SHRINK},
    {"VISIBILITY", "visibility", FIELD_TEXT, IN_BOTH},
    {"HIDDEN", "is_hidden_value", FIELD_FLAG, IN_BOTH},
    {"VERSION", "version", FIELD_NUMBER, IN_BOTH},
    {"OWNER", "created_by", FIELD_TEXT, IN_BOTH | MAY_LACK},
    {"CHANGED", "updated_at", FIELD_TIME, IN_BOTH},
    {"BY", "updated_by", FIELD_TEXT, IN_DETAILS},
    {"EXPIRES", "expires_at", FIELD_TIME, IN_BOTH | MAY_LACK},
    {"EXPIRY", "expiry", FIELD_STATE, IN_BOTH},
    {0},
};
static const ViewField version_view[] = {
    {"VERSION", "version", FIELD_NUMBER, IN_LIST},
    {"PRESENT", "is_present", FIELD_FLAG, IN_LIST},
    {"MADE", "created_at", FIELD_TIME, IN_LIST},
    {"BY", "created_by", FIELD_TEXT, IN_LIST},
    {0},
};

static int secrets_list(Cli *cli, Error *error)
{
    _cleanup_free_ char *path = string_duplicate("/secrets");
    cli_path_query(&path, "visibility", cli_option(cli, "visibility"));
    return cli_show_list(cli, path, secret_view, "No secrets; 'bastide secrets create KEY' makes one.",
                         error);
}

static int secrets_show(Cli *cli, Error *error)
{
    _cleanup_free_ char *path = cli_path("/secrets/%s?_skip_value=true", cli_argument(cli, 0));
    return cli_show_object(cli, path, secret_view, error);
}

static void wipe_value(const json_t *object, const char *member)
{
    const json_t *value = json_object_get(object, member);
    if (json_is_string(value))
        memory_wipe((void *)(uintptr_t)json_string_value(value), json_string_length(value));
}

static int secrets_get(Cli *cli, Error *error)
{
    _cleanup_json_ json_t *answer = NULL;
    _cleanup_free_ char *path = cli_path("/secrets/%s", cli_argument(cli, 0));
    cli_path_query(&path, "version", cli_option(cli, "version-number"));
    int r = cli_get(cli, path, &answer, error);
    if (r < 0 || cli_show_raw(cli, answer))
        return MIN(r, 0);
    const json_t *value = json_object_get(answer, "value");
    if (json_is_true(json_object_get(answer, "is_hidden_value")) && json_string_length(value) == 0)
        return error_set(error, ERROR_FORBIDDEN,
                         "the value of '%s' is hidden from you; it can be used in templates",
                         cli_argument(cli, 0));
    (void)fwrite(json_string_value(value), 1, json_string_length(value), stdout);
    if (terminal_is_live())
        (void)putchar('\n');
    wipe_value(answer, "value");
    return 0;
}

/* Writing
 * --------------------------------------------------------------------------------------------------------------------
 */

/* The whole file as it is, or one line of standard input. */
static int read_value(const char *path, size_t limit, bool is_line, Secret **ret_value, Error *error)
{
    char *content = NULL;
    size_t size = 0;
    if (!path)
        return stdin_secret(ret_value, error);
    int r = file_read(path, limit, &content, &size);
    if (r < 0)
        return error_set_errno(error, r == -E2BIG ? ERROR_TOO_LARGE : ERROR_IO, -r, "cannot read %s", path);
    while (is_line && size > 0 && (content[size - 1] == '\n' || content[size - 1] == '\r'))
        size--;
    *ret_value = secret_new(content, size);
    memory_wipe(content, size);
    free(content);
    return *ret_value ? 0 : error_set(error, ERROR_INTERNAL, "no guarded memory for a secret");
}

static int add_secret(json_t *body, const char *member, const Secret *secret, Error *error)
{
    json_t *value = json_stringn((const char *)secret_bytes(secret), secret_size(secret));
    if (!value)
        return error_set(error, ERROR_BAD_REQUEST, "a value must be UTF-8; encode other bytes first");
    return json_object_set_new(body, member, value);
}

static void add_text(Cli *cli, json_t *body, const char *option, const char *member)
{
    const char *text = cli_option(cli, option);
    if (text)
        (void)json_object_set_new(body, member, json_string(text));
}

static int send(Cli *cli, const char *method, json_t *body, const char *done, Error *error)
{
    _cleanup_json_ json_t *answer = NULL;
    _cleanup_free_ char *path = cli_path("/secrets/%s", cli_argument(cli, 0)),
                        *safe = text_safe(cli_argument(cli, 0));
    add_text(cli, body, "description", "description");
    add_text(cli, body, "expires", "expires_at");
    int r = cli_request(cli, method, path, body, &answer, error);
    wipe_value(body, "value");
    if (r >= 0)
        cli_done(cli, answer, "%s '%s', version %" PRId64 ".", done, safe, json_number_at(answer, "version"));
    return MIN(r, 0);
}

static int secrets_create(Cli *cli, Error *error)
{
    _cleanup_json_ json_t *body = json_object();
    _cleanup_secret_ Secret *value = NULL;
    int r = read_value(cli_option(cli, "file"), VALUE_LIMIT, false, &value, error);
    if (r >= 0)
        r = add_secret(body, "value", value, error);
    if (r < 0)
        return r;
    if (cli_option(cli, "private"))
        (void)json_object_set_new(body, "visibility", json_string("private"));
    (void)json_object_set_new(body, "is_hidden_value", json_boolean(cli_option(cli, "hidden") != NULL));
    return send(cli, "PUT", body, "Keeps", error);
}

static int secrets_update(Cli *cli, Error *error)
{
    _cleanup_json_ json_t *body = json_object();
    _cleanup_secret_ Secret *value = NULL;
    const char *file = cli_option(cli, "file"), *hidden = cli_option(cli, "hidden");
    bool is_hidden = false;
    int r = 0;
    if (hidden && string_to_bool(hidden, &is_hidden) < 0)
        return error_set_field(error, ERROR_BAD_REQUEST, "--hidden", "is true or false");
    if (hidden)
        (void)json_object_set_new(body, "is_hidden_value", json_boolean(is_hidden));
    if (file || cli_option(cli, "value-stdin"))
        r = read_value(file, VALUE_LIMIT, false, &value, error);
    if (r >= 0 && value)
        r = add_secret(body, "value", value, error);
    return r < 0 ? r : send(cli, "PATCH", body, "Changed", error);
}

static int secrets_delete(Cli *cli, Error *error)
{
    _cleanup_free_ char *path = cli_path("/secrets/%s", cli_argument(cli, 0)),
                        *safe = text_safe(cli_argument(cli, 0)),
                        *question =
                            string_format("Remove the secret '%s' with all its versions? Type yes: ", safe);
    int r = cli_confirm(cli, question, error);
    if (r >= 0)
        r = cli_request(cli, "DELETE", path, NULL, NULL, error);
    if (r >= 0)
        cli_done(cli, NULL, "Removed '%s'.", safe);
    return MIN(r, 0);
}

static int secrets_versions(Cli *cli, Error *error)
{
    const char *gone = cli_option(cli, "remove");
    if (gone) {
        _cleanup_free_ char *path = cli_path("/secrets/%s/versions/%s", cli_argument(cli, 0), gone);
        int r = cli_request(cli, "DELETE", path, NULL, NULL, error);
        if (r >= 0)
            cli_done(cli, NULL, "Removed version %s.", gone);
        return MIN(r, 0);
    }
    _cleanup_json_ json_t *answer = NULL;
    _cleanup_free_ char *path = cli_path("/secrets/%s/versions", cli_argument(cli, 0));
    int r = cli_get(cli, path, &answer, error);
    if (r >= 0 && !cli_show_raw(cli, answer))
        view_list(json_object_get(answer, "items"), version_view, "No versions.");
    return MIN(r, 0);
}

/* Handing over
 * --------------------------------------------------------------------------------------------------------------------
 */

static int add_passphrase(Cli *cli, json_t *body, Error *error)
{
    _cleanup_secret_ Secret *passphrase = NULL;
    const char *file = cli_option(cli, "passphrase-file");
    int r = file ? read_value(file, PASSPHRASE_LIMIT, true, &passphrase, error)
                 : terminal_ask_secret("Passphrase (12 characters or more): ", &passphrase, error);
    return r < 0 ? r : add_secret(body, "passphrase", passphrase, error);
}

static int secrets_export(Cli *cli, Error *error)
{
    _cleanup_json_ json_t *body = json_object(), *answer = NULL;
    const char *path = cli_argument(cli, 0);
    int r = add_passphrase(cli, body, error);
    if (r >= 0)
        r = cli_request(cli, "POST", "/secrets/share/export", body, &answer, error);
    wipe_value(body, "passphrase");
    if (r < 0)
        return r;
    _cleanup_free_ char *text = json_to_text(answer);
    r = file_write_atomic(path, text, strlen(text), 0600);
    if (r < 0)
        return error_set_errno(error, ERROR_IO, -r, "cannot write %s", path);
    cli_done(cli, NULL, "Exported %" PRId64 " secrets to %s; only the passphrase opens it.",
             json_number_at(answer, "count"), path);
    return 0;
}

static int secrets_import(Cli *cli, Error *error)
{
    _cleanup_json_ json_t *body = json_object(), *answer = NULL, *document = NULL;
    _cleanup_free_ char *content = NULL;
    const char *path = cli_argument(cli, 0);
    size_t size;
    int r = file_read(path, EXPORT_LIMIT, &content, &size);
    if (r < 0)
        return error_set_errno(error, ERROR_IO, -r, "cannot read %s", path);
    r = json_parse(content, size, EXPORT_LIMIT, &document, error);
    if (r >= 0 && !json_is_string(json_object_get(document, "sealed")))
        r = error_set(error, ERROR_BAD_DOCUMENT, "%s is no export of secrets", path);
    if (r >= 0)
        r = add_passphrase(cli, body, error);
    if (r < 0)
        return r;
    (void)json_object_set(body, "sealed", json_object_get(document, "sealed"));
    (void)json_object_set_new(body, "override_collisions", json_boolean(cli_option(cli, "override") != NULL));
    r = cli_request(cli, "POST", "/secrets/share/import", body, &answer, error);
    wipe_value(body, "passphrase");
    if (r >= 0)
        cli_done(cli, answer, "Imported %" PRId64 " secrets; %zu were there already%s.",
                 json_number_at(answer, "imported"),
                 json_array_size(json_object_get(answer, "colliding_secrets")),
                 cli_option(cli, "override") ? " and got a new version" : " and stay as they are");
    return MIN(r, 0);
}

#define TEXT_OPTIONS                                                                                         \
    {.name = "description", .argument = "TEXT", .help = "what it is for"},                                   \
    {                                                                                                        \
        .name = "expires", .argument = "TIME", .help = "RFC 3339; a reminder from 14 days before on"         \
    }

static const Option list_options[] = {
    {.name = "visibility", .argument = "NAME", .help = "only private, tenant or global ones"},
    {.name = "limit", .argument = "N", .help = "show at most so many"},
    {.name = NULL},
};
static const Option get_options[] = {
    {.name = "version-number", .argument = "N", .help = "an earlier version"},
    {.name = NULL},
};
static const Option create_options[] = {
    {.name = "file", .argument = "FILE", .help = "the value is its content; else one line of standard input"},
    {.name = "hidden", .help = "only owner and administrators may read it; others may use it"},
    {.name = "private", .help = "nobody else sees that it exists"},
    TEXT_OPTIONS,
    {.name = NULL},
};
static const Option update_options[] = {
    {.name = "file", .argument = "FILE", .help = "a new version, from a file"},
    {.name = "value-stdin", .help = "a new version, from one line of standard input"},
    {.name = "hidden", .argument = "true|false", .help = "whether others may only use it"},
    TEXT_OPTIONS,
    {.name = NULL},
};
static const Option versions_options[] = {
    {.name = "remove", .argument = "N", .help = "remove an earlier version"},
    {.name = NULL},
};
static const Option share_options[] = {
    {.name = "passphrase-file", .argument = "FILE", .help = "its first line; else it is asked for"},
    {.name = NULL},
};
static const Option import_options[] = {
    {.name = "passphrase-file", .argument = "FILE", .help = "its first line; else it is asked for"},
    {.name = "override", .help = "secrets that are there get a new version"},
    {.name = NULL},
};
static const Option yes_options[] = {
    {.name = "yes", .letter = 'y', .help = "do not ask"},
    {.name = NULL},
};

const CliVerb verbs_secrets[] = {
    {"secrets list", "", 0, 0, SESSION, secrets_list, list_options, "secrets, never their values", NULL},
    {"secrets show", "KEY", 1, 1, SESSION, secrets_show, NULL,
     "what is known about a secret, without its value", NULL},
    {"secrets get", "KEY", 1, 1, SESSION, secrets_get, get_options, "the value, to standard output alone",
     "Each reading is recorded in the audit trail."},
    {"secrets create", "KEY", 1, 1, SESSION, secrets_create, create_options, "keep a secret",
     "A template uses it as %secret.KEY%: scripts get it on tmpfs, for the one step that needs it."},
    {"secrets update", "KEY", 1, 1, SESSION, secrets_update, update_options,
     "change a secret, or give it a new version", NULL},
    {"secrets versions", "KEY", 1, 1, SESSION, secrets_versions, versions_options, "versions of a secret",
     NULL},
    {"secrets delete", "KEY", 1, 1, SESSION, secrets_delete, yes_options,
     "remove a secret with all its versions", NULL},
    {"secrets export", "FILE", 1, 1, SESSION, secrets_export, share_options,
     "all secrets of the tenant into a file that a passphrase opens", NULL},
    {"secrets import", "FILE", 1, 1, SESSION, secrets_import, import_options, "take what an export gave",
     NULL},
    {0},
};
