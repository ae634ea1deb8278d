/* SPDX-License-Identifier: Apache-2.0 */
/* The audit trail: who did what; taking it away; checking it, there and here. */

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/file.h"
#include "base/string.h"
#include "cli/audit_file.h"
#include "cli/cli.h"
#include "cli/text.h"

enum { PAGES_MAX = 10 * 1000 * 1000, KEY_TEXT_MAX = 256 };

static const ViewField audit_view[] = {
    {"NUMBER", "sequence", FIELD_NUMBER, IN_LIST},
    {"TIME", "timestamp", FIELD_TEXT, IN_LIST},
    {"WHO", "actor", FIELD_STRONG, IN_LIST | MAY_SHRINK},
    {"FROM", "source", FIELD_TEXT, IN_LIST | MAY_LACK},
    {"TENANT", "tenant", FIELD_TEXT, IN_LIST | MAY_LACK},
    {"ACTION", "action", FIELD_TEXT, IN_LIST},
    {"OBJECT", "object", FIELD_TEXT, IN_LIST | MAY_SHRINK},
    {"OUTCOME", "outcome", FIELD_STATE, IN_LIST},
    {0},
};

static int list(Cli *cli, Error *error)
{
    static const struct {
        const char *option, *parameter;
    } filters[] = {{"user", "actor"},    {"action", "action"},     {"of-tenant", "tenant"},
                   {"object", "object"}, {"outcome", "outcome"},   {"since", "since"},
                   {"until", "until"},   {"request", "request_id"}};
    _cleanup_json_ json_t *answer = NULL;
    const char *limit = cli_option(cli, "limit");
    _cleanup_free_ char *path = cli_path("/audit?_size=%s", limit ? limit : "50");
    for (size_t i = 0; i < ELEMENTSOF(filters); i++)
        cli_path_query(&path, filters[i].parameter, cli_option(cli, filters[i].option));
    int r = cli_get(cli, path, &answer, error);
    if (r >= 0 && !cli_show_raw(cli, answer))
        view_list(json_object_get(answer, "items"), audit_view, "No records.");
    return MIN(r, 0);
}

static int show_key(Cli *cli, Error *error)
{
    _cleanup_json_ json_t *answer = NULL;
    int r = cli_get(cli, "/audit/heads", &answer, error);
    if (r < 0 || cli_show_raw(cli, answer))
        return MIN(r, 0);
    _cleanup_free_ char *key = text_safe(json_text_at(answer, "signing_key"));
    (void)printf("%s\n", key);
    return 0;
}

/* Export ------------------------------------------------------------------------------------ */

static int write_text(FILE *stream, const void *data, size_t size, Error *error)
{
    return fwrite(data, 1, size, stream) == size
               ? 0
               : error_set_errno(error, ERROR_IO, errno, "writing the export");
}

/* The last line of a page says where the next one begins, or that there is none. */
static int read_next(const Buffer *page, int64_t *sequence, bool *is_last, Error *error)
{
    _cleanup_json_ json_t *line = NULL;
    const char *text = buffer_string(page);
    size_t size = page->size;
    while (size > 0 && text[size - 1] == '\n')
        size--;
    size_t start = size;
    while (start > 0 && text[start - 1] != '\n')
        start--;
    int r = json_parse(text + start, size - start, AUDIT_FILE_LINE_MAX, &line, error);
    int64_t reached = json_number_at(line, "sequence");
    *is_last = string_equal(json_text_at(line, "type"), "head");
    if (r >= 0 && !*is_last && reached <= *sequence)
        r = error_set(error, ERROR_PROTOCOL, "the manager's answer is not a part of an export");
    *sequence = reached;
    return r;
}

static int export_shard(Cli *cli, int64_t shard, FILE *stream, int64_t *records, Error *error)
{
    int64_t sequence = 0;
    bool is_last = false;
    int r = 0;
    for (int i = 0; i < PAGES_MAX && r >= 0 && !is_last; i++) {
        HttpAnswer answer = {0};
        char path[128];
        (void)string_print(path, sizeof(path), "/audit/export?shard=%" PRId64 "&after=%" PRId64, shard,
                           sequence);
        r = cli_request_raw(cli->client, "GET", path, NULL, NULL, 0, 0, &answer, error);
        if (r >= 0)
            r = read_next(&answer.body, &sequence, &is_last, error);
        if (r >= 0)
            r = write_text(stream, answer.body.data, answer.body.size, error);
        http_answer_done(&answer);
    }
    *records += sequence;
    return r;
}

static int export_to(Cli *cli, const json_t *heads, FILE *stream, int64_t *records, Error *error)
{
    size_t index;
    json_t *head;
    char line[256];
    (void)string_print(line, sizeof(line), "{\"type\":\"export\",\"format\":1,\"signing_key\":\"%s\"}\n",
                       json_text_at(heads, "signing_key"));
    int r = write_text(stream, line, strlen(line), error);
    json_array_foreach (json_object_get(heads, "items"), index, head)
        if (r >= 0)
            r = export_shard(cli, json_number_at(head, "shard"), stream, records, error);
    (void)string_print(line, sizeof(line), "{\"type\":\"end\",\"records\":%" PRId64 "}\n", *records);
    return r < 0 ? r : write_text(stream, line, strlen(line), error);
}

static int export_all(Cli *cli, Error *error)
{
    const char *path = cli_option(cli, "file");
    _cleanup_json_ json_t *heads = NULL;
    int64_t records = 0;
    int r = cli_get(cli, "/audit/heads", &heads, error);
    if (r < 0)
        return r;
    FILE *stream = path ? fopen(path, "wxe") : stdout;
    if (!stream)
        return error_set_errno(error, ERROR_IO, errno, "cannot make the new file %s", path);
    r = export_to(cli, heads, stream, &records, error);
    if (fflush(stream) != 0 && r >= 0)
        r = error_set_errno(error, ERROR_IO, errno, "writing the export");
    if (path)
        (void)fclose(stream);
    if (r >= 0)
        (void)fprintf(stderr, "%" PRId64 " records.\n", records);
    return r;
}

/* Verification ------------------------------------------------------------------------------ */

static int verify_there(Cli *cli, Error *error)
{
    _cleanup_json_ json_t *answer = NULL;
    int r = cli_get(cli, "/audit/verification", &answer, error);
    if (r < 0)
        return r;
    bool is_valid = json_is_true(json_object_get(answer, "valid"));
    int64_t records = json_number_at(answer, "records"), bad = json_number_at(answer, "first_bad_sequence");
    _cleanup_free_ char *problem = text_safe(json_text_at(answer, "problem"));
    if (is_valid)
        cli_done(cli, answer,
                 "The audit trail is whole: %" PRId64
                 " records, each bound to the one before, signed up to %" PRId64 ".",
                 records, json_number_at(answer, "signed_records"));
    else if (bad > 0)
        cli_done(cli, answer, "The audit trail was TAMPERED WITH: record %" PRId64 " does not fit.", bad);
    else
        cli_done(cli, answer, "The audit trail was TAMPERED WITH: %s", problem);
    return is_valid ? EXIT_SUCCESS : EXIT_FAILURE;
}

static int read_key(const Cli *cli, uint8_t ret_key[static SIGN_PUBLIC_SIZE], Error *error)
{
    const char *path = cli_option(cli, "key");
    _cleanup_free_ char *text = NULL;
    size_t size, written = 0;
    if (!path)
        return error_set_field(error, ERROR_BAD_REQUEST, "--key",
                               "FILE with the public key is needed; 'bastide audit key' prints it");
    int r = file_read(path, KEY_TEXT_MAX, &text, &size);
    if (r < 0)
        return error_set_errno(error, ERROR_IO, -r, "cannot read %s", path);
    text[strcspn(text, " \t\r\n")] = '\0';
    if (hex_decode(text, ret_key, SIGN_PUBLIC_SIZE, &written) < 0 || written != SIGN_PUBLIC_SIZE)
        return error_set(error, ERROR_BAD_DOCUMENT, "%s does not begin with a key of %d hexadecimal digits",
                         path, 2 * SIGN_PUBLIC_SIZE);
    return 0;
}

static int read_lines(AuditFile *file, FILE *stream, Error *error)
{
    char *line = NULL;
    size_t capacity = 0;
    int r = 0;
    for (ssize_t size; r >= 0 && (size = getline(&line, &capacity, stream)) >= 0;)
        r = audit_file_line(file, line, (size_t)size - (size > 0 && line[size - 1] == '\n'), error);
    free(line);
    return r;
}

static int verify_here(Cli *cli, const char *path, Error *error)
{
    uint8_t key[SIGN_PUBLIC_SIZE];
    AuditFileReport report;
    int r = read_key(cli, key, error);
    if (r < 0)
        return r;
    FILE *stream = fopen(path, "re");
    if (!stream)
        return error_set_errno(error, ERROR_IO, errno, "cannot read %s", path);
    AuditFile *file = audit_file_new(key);
    r = read_lines(file, stream, error);
    if (r >= 0)
        r = audit_file_end(file, &report, error);
    (void)fclose(stream);
    audit_file_free(file);
    if (r < 0)
        return r;
    char when[TIMESTAMP_SIZE] = "never";
    if (report.last_signed_time > 0)
        timestamp_format((Usec)report.last_signed_time, when);
    (void)printf("The export is whole: %" PRIu64 " records, %" PRIu64
                 " signatures, the last one of %s; %" PRIu64
                 " records after it are bound by the chain alone.\n",
                 report.records, report.signatures, when, report.unsigned_records);
    return 0;
}

static int verify(Cli *cli, Error *error)
{
    const char *path = cli_argument(cli, 0);
    if (path)
        return verify_here(cli, path, error);
    int r = cli_open_session(cli, error);
    return r < 0 ? r : verify_there(cli, error);
}

static const Option list_options[] = {
    {.name = "user", .argument = "NAME", .help = "only what this account did"},
    {.name = "action", .argument = "NAME", .help = "only this action, e.g. cluster_create"},
    {.name = "object", .argument = "KIND:ID", .help = "only about this object"},
    {.name = "outcome", .argument = "NAME", .help = "only done, denied, failed or replayed"},
    {.name = "of-tenant", .argument = "NAME", .help = "only what concerns this tenant"},
    {.name = "since", .argument = "TIME", .help = "not before, e.g. 2026-01-31T12:00:00Z"},
    {.name = "until", .argument = "TIME", .help = "before"},
    {.name = "request", .argument = "ID", .help = "only of this request"},
    {.name = "limit", .argument = "N", .help = "the newest N (50)"},
    {.name = NULL},
};
static const Option export_options[] = {
    {.name = "file", .argument = "FILE", .help = "into this new file, not to standard output"},
    {.name = NULL},
};
static const Option key_options[] = {
    {.name = "key", .argument = "FILE", .help = "the public key, as 'bastide audit key' prints it"},
    {.name = NULL},
};

const CliVerb verbs_audit[] = {
    {"audit list", "", 0, 0, SESSION, list, list_options, "who did what, newest first", NULL},
    {"audit export", "", 0, 0, SESSION, export_all, export_options,
     "all records with their signatures, as JSON Lines",
     "What is written can be checked anywhere with 'bastide audit verify FILE'."},
    {"audit key", "", 0, 0, SESSION, show_key, NULL, "the public key that signs the audit trail",
     "Keep it apart from the exports: who may replace both can forge them."},
    {"audit verify", "[FILE]", 0, 1, ALONE, verify, key_options,
     "check all records and signatures: those of the manager, or of an export",
     "An export is checked here, without the manager, by the public key alone. The first record that was "
     "changed, removed "
     "or moved is named. Records after the last signature are bound by the chain alone: it says how many. "
     "Exit status "
     "other than 0 when the trail was tampered with."},
    {0},
};
