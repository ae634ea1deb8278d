/* SPDX-License-Identifier: Apache-2.0 */
/* Certificates: what was issued, what expires when, revocation, the pairs of the manager's listeners. */

#include <errno.h>
#include <stdio.h>

#include "base/file.h"
#include "base/string.h"
#include "cli/cli.h"
#include "cli/text.h"

enum { PEM_LIMIT = 64 * 1024 };

static const ViewField certificate_view[] = {
    {"SERIAL", "serial", FIELD_SHORT, IN_BOTH},
    {"PROFILE", "profile", FIELD_TEXT, IN_BOTH},
    {"SUBJECT", "subject", FIELD_STRONG, IN_BOTH | MAY_SHRINK},
    {"HOLDER", "holder", FIELD_TEXT, IN_BOTH | MAY_SHRINK},
    {"TENANT", "tenant_name", FIELD_TEXT, IN_BOTH | MAY_LACK},
    {"STATE", "state", FIELD_STATE, IN_BOTH},
    {"ISSUED", "issued_at", FIELD_TIME, IN_BOTH},
    {"EXPIRES", "expires_at", FIELD_TIME, IN_BOTH},
    {"REVOKED", "revoked_at", FIELD_TIME, IN_DETAILS | MAY_LACK},
    {0},
};
static const ViewField listener_view[] = {
    {"LISTENER", "name", FIELD_STRONG, IN_LIST},
    {"PAIR", "source", FIELD_TEXT, IN_LIST},
    {"ISSUER", "issuer", FIELD_TEXT, IN_LIST | MAY_SHRINK},
    {"EXPIRES", "expires_at", FIELD_TIME, IN_LIST},
    {"RENEWED", "renewed_at", FIELD_TIME, IN_LIST | MAY_LACK},
    {"NAMES", "names", FIELD_LIST, IN_LIST | MAY_SHRINK},
    {0},
};
static const ViewField authority_view[] = {
    {"SUBJECT", "subject", FIELD_STRONG, IN_LIST | MAY_SHRINK},
    {"EXPIRES", "expires_at", FIELD_TIME, IN_LIST},
    {"FINGERPRINT", "fingerprint", FIELD_TEXT, IN_LIST | MAY_SHRINK},
    {0},
};

static int show_status(Cli *cli, const json_t *answer)
{
    if (cli_show_raw(cli, answer))
        return 0;
    view_list(json_object_get(answer, "listeners"), listener_view, "No listeners.");
    view_heading("Trusted authorities");
    view_list(json_object_get(answer, "authorities"), authority_view, "None.");
    return 0;
}

static int certificates_status(Cli *cli, Error *error)
{
    _cleanup_json_ json_t *answer = NULL;
    int r = cli_get(cli, "/certificates/status", &answer, error);
    return r < 0 ? r : show_status(cli, answer);
}

static int certificates_list(Cli *cli, Error *error)
{
    static const char *const filters[] = {"profile", "holder", "state", "search"};
    _cleanup_free_ char *path = string_duplicate("/certificates");
    for (size_t i = 0; i < ELEMENTSOF(filters); i++)
        cli_path_query(&path, filters[i], cli_option(cli, filters[i]));
    return cli_show_list(cli, path, certificate_view, "No certificates.", error);
}

static int certificates_show(Cli *cli, Error *error)
{
    _cleanup_free_ char *path = cli_path("/certificates/%s", cli_argument(cli, 0));
    return cli_show_object(cli, path, certificate_view, error);
}

static int certificates_revoke(Cli *cli, Error *error)
{
    _cleanup_json_ json_t *answer = NULL;
    _cleanup_free_ char *path = cli_path("/certificates/%s/revoke", cli_argument(cli, 0)),
                        *safe = text_safe(cli_argument(cli, 0)),
                        *question = string_format("Revoke the certificate '%s'? Type yes: ", safe);
    int r = cli_confirm(cli, question, error);
    if (r >= 0)
        r = cli_request(cli, "POST", path, NULL, &answer, error);
    if (r >= 0)
        cli_done(cli, answer, "Revoked '%s'.", safe);
    return MIN(r, 0);
}

static int add_file(json_t *body, const char *member, const char *path, bool is_key, Error *error)
{
    char *content = NULL;
    size_t size;
    if (!path)
        return 0;
    int r = is_key ? file_read_private(path, geteuid(), PEM_LIMIT, &content, &size)
                   : file_read(path, PEM_LIMIT, &content, &size);
    if (r == -EPERM)
        return error_set(error, ERROR_INSECURE, "%s must be a plain file that only its owner can read", path);
    if (r < 0)
        return error_set_errno(error, ERROR_IO, -r, "cannot read %s", path);
    json_t *text = json_stringn(content, size);
    memory_wipe(content, size);
    free(content);
    return text ? json_object_set_new(body, member, text)
                : error_set(error, ERROR_BAD_DOCUMENT, "%s is no PEM file", path);
}

static int certificates_replace(Cli *cli, Error *error)
{
    _cleanup_json_ json_t *body = json_object(), *answer = NULL;
    _cleanup_free_ char *path = cli_path("/certificates/listeners/%s", cli_argument(cli, 0));
    const char *certificate = cli_option(cli, "certificate"), *key = cli_option(cli, "key");
    bool is_reset = cli_option(cli, "own") != NULL;
    if (is_reset ? certificate || key : !certificate || !key)
        return error_set(error, ERROR_BAD_REQUEST, "give --certificate and --key, or --own alone");
    int r = add_file(body, "certificate", certificate, false, error);
    if (r >= 0)
        r = add_file(body, "key", key, true, error);
    if (r >= 0)
        r = add_file(body, "ca_certificate", cli_option(cli, "ca"), false, error);
    if (r >= 0)
        r = cli_request(cli, is_reset ? "DELETE" : "PUT", path, is_reset ? NULL : body, &answer, error);
    const json_t *text = json_object_get(body, "key");
    if (text)
        memory_wipe((void *)(uintptr_t)json_string_value(text), json_string_length(text));
    if (r < 0)
        return r;
    return show_status(cli, answer);
}

static const Option list_options[] = {
    {.name = "profile", .argument = "NAME", .help = "only of this profile, e.g. provisioner"},
    {.name = "holder", .argument = "ID", .help = "only of this provisioner or node, or manager"},
    {.name = "state", .argument = "STATE", .help = "valid, expired or revoked"},
    {.name = "search", .argument = "TEXT", .help = "a serial, subject or holder"},
    {.name = "limit", .argument = "N", .help = "show at most so many"},
    {.name = NULL},
};
static const Option yes_options[] = {
    {.name = "yes", .letter = 'y', .help = "do not ask"},
    {.name = NULL},
};
static const Option replace_options[] = {
    {.name = "certificate", .argument = "FILE", .help = "PEM, the listener's own first, then its chain"},
    {.name = "key", .argument = "FILE", .help = "its key (PEM, mode 0600)"},
    {.name = "ca", .argument = "FILE", .help = "the authority that the chain must lead to"},
    {.name = "own", .help = "back to a pair of our own authority"},
    {.name = NULL},
};

const CliVerb verbs_certificates[] = {
    {"certificates status", "", 0, 0, SESSION, certificates_status, NULL,
     "listeners and authorities, what expires when", NULL},
    {"certificates list", "", 0, 0, SESSION, certificates_list, list_options, "certificates of every domain",
     NULL},
    {"certificates show", "SERIAL", 1, 1, SESSION, certificates_show, NULL, "one certificate", NULL},
    {"certificates revoke", "SERIAL", 1, 1, SESSION, certificates_revoke, yes_options,
     "revoke a certificate at once", "A provisioner's is refused with its next request."},
    {"certificates replace", "external|internal", 1, 1, SESSION, certificates_replace, replace_options,
     "another pair for a listener, without dropping a connection",
     "New connections get it at once; connections that are there go on. After another authority came: "
     "'bastide profile set --rest-certificate FILE'."},
    {0},
};
