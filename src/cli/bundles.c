/* SPDX-License-Identifier: Apache-2.0 */
/* Script bundles: add, list, show, approve, revoke. */

#include <errno.h>
#include <sys/stat.h>

#include "base/file.h"
#include "base/string.h"
#include "cli/cli.h"
#include "cli/pack.h"
#include "cli/text.h"

enum { DIGEST_PREFIX_LEAST = 4 };
static const Usec UPLOAD_TIMEOUT = 600 * USEC_PER_SEC;

static const ViewField bundle_view[] = {
    {"NAME", "name", FIELD_STRONG, IN_BOTH | MAY_SHRINK},
    {"VERSION", "version", FIELD_TEXT, IN_BOTH},
    {"STATUS", "status", FIELD_STATE, IN_BOTH},
    {"DIGEST", "digest", FIELD_SHORT, IN_BOTH},
    {"SIZE", "size", FIELD_BYTES, IN_BOTH},
    {"UPLOADED", "uploaded_at", FIELD_TIME, IN_BOTH},
    {"BY", "uploaded_by", FIELD_TEXT, IN_BOTH},
    {"DECIDED", "decided_at", FIELD_TIME, IN_BOTH | MAY_LACK},
    {"BY", "decided_by", FIELD_TEXT, IN_BOTH | MAY_LACK},
    {0},
};

static bool is_hex(const char *text)
{
    return strspn(text, "0123456789abcdef") == strlen(text);
}

/* By the beginning of its digest, by name (the newest one that is in `status`, or any), or "name:version". */
static const json_t *pick(const json_t *items, const char *name, const char *status, size_t *ret_matches)
{
    const json_t *found = NULL;
    const char *colon = strrchr(name, ':');
    size_t index, by_digest = 0;
    json_t *bundle;
    if (strlen(name) >= DIGEST_PREFIX_LEAST && is_hex(name))
        json_array_foreach (items, index, bundle)
            if (string_starts_with(json_text_at(bundle, "digest"), name)) {
                found = bundle;
                by_digest++;
            }
    *ret_matches = by_digest;
    if (by_digest > 0)
        return found;
    _cleanup_free_ char *plain =
        colon ? string_duplicate_n(name, (size_t)(colon - name)) : string_duplicate(name);
    json_array_foreach (items, index, bundle) {
        bool is_version = !colon || string_equal(json_text_at(bundle, "version"), colon + 1);
        bool is_status = !status || string_equal(json_text_at(bundle, "status"), status);
        bool is_newer =
            !found || strcmp(json_text_at(bundle, "uploaded_at"), json_text_at(found, "uploaded_at")) > 0;
        if (string_equal(json_text_at(bundle, "name"), plain) && is_version && is_status && is_newer)
            found = bundle;
    }
    *ret_matches = found != NULL;
    return found;
}

static int find_bundle(Cli *cli, const char *name, const char *status, json_t **ret_bundle, Error *error)
{
    _cleanup_json_ json_t *answer = NULL;
    size_t matches;
    int r = cli_get_list(cli, "/bundles", &answer, error);
    if (r < 0)
        return r;
    const json_t *bundle = pick(json_object_get(answer, "items"), name, status, &matches);
    if (matches > 1)
        return error_set(error, ERROR_CONFLICT, "the digests of %zu bundles begin with '%s'; give more of it",
                         matches, name);
    if (!bundle && status)
        bundle = pick(json_object_get(answer, "items"), name, NULL, &matches);
    if (!bundle)
        return error_set(error, ERROR_NOT_FOUND, "there is no bundle '%s'", name);
    *ret_bundle = json_incref((json_t *)(uintptr_t)bundle);
    return 0;
}

static int read_archive(const char *path, Buffer *archive, Error *error)
{
    struct stat state;
    _cleanup_string_list_ StringList left_out = {0};
    _cleanup_free_ char *data = NULL;
    size_t size;
    if (stat(path, &state) < 0)
        return error_set_errno(error, errno == ENOENT ? ERROR_NOT_FOUND : ERROR_IO, errno, "cannot read %s",
                               path);
    if (S_ISDIR(state.st_mode)) {
        int r = pack_bundle(path, archive, &left_out, error);
        for (size_t i = 0; i < left_out.count && r >= 0; i++)
            cli_warn("%s/%s is not in the manifest and stays out", path, left_out.items[i]);
        return r;
    }
    int r = file_read(path, PACK_LIMIT, &data, &size);
    if (r < 0)
        return error_set_errno(error, r == -E2BIG ? ERROR_TOO_LARGE : ERROR_IO, -r, "cannot read %s", path);
    archive->limit = PACK_LIMIT;
    return buffer_append(archive, data, size) < 0 ? error_set(error, ERROR_TOO_LARGE, "%s is too large", path)
                                                  : 0;
}

static int bundles_add(Cli *cli, Error *error)
{
    _cleanup_buffer_ Buffer archive = BUFFER_INIT;
    _cleanup_json_ json_t *bundle = NULL;
    HttpAnswer answer = {0};
    int r = read_archive(cli_argument(cli, 0), &archive, error);
    if (r >= 0)
        r = cli_request_raw(cli->client, "POST", "/bundles", "application/octet-stream", archive.data,
                            archive.size, UPLOAD_TIMEOUT, &answer, error);
    if (r < 0)
        return r;
    bool is_new = answer.status == 201;
    r = json_parse(buffer_string(&answer.body), answer.body.size, 4 * 1024 * 1024, &bundle, error);
    http_answer_done(&answer);
    if (r < 0)
        return r;
    const char *digest = json_text_at(bundle, "digest"), *status = json_text_at(bundle, "status");
    if (string_equal(status, "uploaded"))
        cli_done(cli, bundle, "%s %s %s (%.12s). Nothing of it runs before: bastide bundles approve %.12s",
                 is_new ? "Uploaded" : "It is there already:", json_text_at(bundle, "name"),
                 json_text_at(bundle, "version"), digest, digest);
    else
        cli_done(cli, bundle, "It is there already and %s: %s %s (%.12s).", status,
                 json_text_at(bundle, "name"), json_text_at(bundle, "version"), digest);
    return 0;
}

static int bundles_list(Cli *cli, Error *error)
{
    return cli_show_list(cli, "/bundles", bundle_view, "No bundles; 'bastide bundles add DIR' uploads one.",
                         error);
}

static int bundles_show(Cli *cli, Error *error)
{
    _cleanup_json_ json_t *bundle = NULL, *answer = NULL;
    int r = find_bundle(cli, cli_argument(cli, 0), NULL, &bundle, error);
    if (r < 0)
        return r;
    _cleanup_free_ char *path = cli_path("/bundles/%s", json_text_at(bundle, "digest"));
    r = cli_get(cli, path, &answer, error);
    if (r < 0 || cli_show_raw(cli, answer))
        return MIN(r, 0);
    view_details(answer, bundle_view);
    view_heading("Manifest");
    view_print_json(json_object_get(answer, "manifest"), OUTPUT_YAML);
    return 0;
}

static int decide(Cli *cli, const char *verb, const char *before, const char *done, Error *error)
{
    _cleanup_json_ json_t *bundle = NULL, *answer = NULL;
    int r = find_bundle(cli, cli_argument(cli, 0), before, &bundle, error);
    if (r < 0)
        return r;
    _cleanup_free_ char *path = cli_path("/bundles/%s/%s", json_text_at(bundle, "digest"), verb);
    r = cli_request(cli, "POST", path, NULL, &answer, error);
    if (r >= 0)
        cli_done(cli, answer, "%s %s %s (%.12s).", done, json_text_at(answer, "name"),
                 json_text_at(answer, "version"), json_text_at(answer, "digest"));
    return MIN(r, 0);
}

static int bundles_approve(Cli *cli, Error *error)
{
    return decide(cli, "approve", "uploaded", "Approved", error);
}

static int bundles_revoke(Cli *cli, Error *error)
{
    return decide(cli, "revoke", "approved", "Revoked", error);
}

static const Option limit_options[] = {
    {.name = "limit", .argument = "N", .help = "show at most so many"},
    {.name = NULL},
};

const CliVerb verbs_bundles[] = {
    {"bundles add", "FILE|DIR", 1, 1, SESSION, bundles_add, NULL, "upload a bundle of scripts",
     "A folder with manifest.json is packed: exactly the files that the manifest names, so that the same "
     "content "
     "has the same digest on every machine. It must be approved before anything of it runs."},
    {"bundles list", "", 0, 0, SESSION, bundles_list, limit_options, "bundles and whether they are approved",
     NULL},
    {"bundles show", "BUNDLE", 1, 1, SESSION, bundles_show, NULL, "one bundle with its manifest",
     "BUNDLE is the beginning of a digest, a name (its newest version) or NAME:VERSION, here and below."},
    {"bundles approve", "BUNDLE", 1, 1, SESSION, bundles_approve, NULL, "allow a bundle to run", NULL},
    {"bundles revoke", "BUNDLE", 1, 1, SESSION, bundles_revoke, NULL, "forbid a bundle at once", NULL},
    {0},
};
