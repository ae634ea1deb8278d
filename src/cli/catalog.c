/* SPDX-License-Identifier: Apache-2.0 */
/* The catalog: import, export, list, show, validate, delete. */

#include <errno.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "base/file.h"
#include "base/string.h"
#include "base/yaml.h"
#include "cli/cli.h"
#include "cli/document.h"
#include "cli/text.h"

static const ViewField document_list[] = {
    {"NAME", "name", FIELD_STRONG, IN_LIST},
    {"VERSION", "version", FIELD_NUMBER, IN_LIST},
    {"DESCRIPTION", "description", FIELD_TEXT, IN_LIST | MAY_SHRINK | MAY_LACK},
    {"WRITTEN", "created_at", FIELD_TIME, IN_LIST},
    {"BY", "created_by", FIELD_TEXT, IN_LIST},
    {0},
};

static int read_kind(const char *text, const char **ret_kind, Error *error)
{
    *ret_kind = document_kind_from_string(text);
    if (*ret_kind)
        return 0;
    return error_set(error, ERROR_BAD_REQUEST,
                     "'%s' is no kind; the kinds are providers, hardwaretypes, imagetypes, services and "
                     "clustertemplates",
                     text);
}

static int catalog_list(Cli *cli, Error *error)
{
    const char *kind;
    int r = read_kind(cli_argument(cli, 0), &kind, error);
    if (r < 0)
        return r;
    _cleanup_free_ char *path = cli_path("/catalog/%s", kind);
    _cleanup_free_ char *nothing = string_format("No %s yet; 'bastide catalog import' brings some.", kind);
    return cli_show_list(cli, path, document_list, nothing, error);
}

static int catalog_show(Cli *cli, Error *error)
{
    const char *kind;
    _cleanup_json_ json_t *answer = NULL;
    int r = read_kind(cli_argument(cli, 0), &kind, error);
    if (r < 0)
        return r;
    _cleanup_free_ char *path = cli_path("/catalog/%s/%s", kind, cli_argument(cli, 1));
    cli_path_query(&path, "version", cli_option(cli, "version"));
    r = cli_get(cli, path, &answer, error);
    if (r < 0 || cli_show_raw(cli, answer))
        return MIN(r, 0);
    _cleanup_free_ char *when =
        time_relative(json_text_at(answer, "created_at"), clock_realtime(&system_clock));
    _cleanup_free_ char *by = text_safe(json_text_at(answer, "created_by"));
    (void)printf("%s# version %lld, written %s by %s%s\n", style_begin(stdout, STYLE_FAINT),
                 (long long)json_number_at(answer, "version"), when, by, style_end(stdout));
    view_print_json(json_object_get(answer, "document"), OUTPUT_YAML);
    return 0;
}

static int catalog_delete(Cli *cli, Error *error)
{
    const char *kind, *name = cli_argument(cli, 1);
    int r = read_kind(cli_argument(cli, 0), &kind, error);
    if (r < 0)
        return r;
    _cleanup_free_ char *path = cli_path("/catalog/%s/%s", kind, name);
    r = cli_request(cli, "DELETE", path, NULL, NULL, error);
    if (r >= 0)
        cli_done(cli, NULL, "Deleted '%s' from the %s; clusters made from it keep their copy.", name, kind);
    return MIN(r, 0);
}

/* Import ------------------------------------------------------------------------------------ */

/* The manager names the document at the beginning of its message: "services 'web': ...". */
static void blame_file(const json_t *origins, Error *error)
{
    const char *key;
    json_t *value;
    json_object_foreach ((json_t *)(uintptr_t)origins, key, value) {
        const char *name = strchr(key, '/') + 1;
        _cleanup_free_ char *prefix = string_format("%.*s '%s'", (int)(name - 1 - key), key, name);
        if (!string_starts_with(error->text, prefix))
            continue;
        unsigned line, column;
        _cleanup_free_ char *text = NULL;
        const char *path = json_string_value(value);
        size_t size;
        error->line = error->column = 0; /* those are of the request */
        if (*error->field && file_read(path, DOCUMENT_FILE_LIMIT, &text, &size) >= 0 &&
            document_locate(text, size, error->field, &line, &column))
            error_prefix(error, "%s:%u:%u", path, line, column);
        else
            error_prefix(error, "%s", path);
        return;
    }
}

static void print_warnings(const json_t *warnings)
{
    size_t index;
    json_t *warning;
    json_array_foreach (warnings, index, warning)
        cli_warn("%s", json_text_at(warning, "message"));
}

static int catalog_import(Cli *cli, Error *error)
{
    _cleanup_json_ json_t *collection = json_object(), *origins = json_object(), *answer = NULL;
    const char *kind = NULL, *given = cli_option(cli, "kind");
    int r = given ? read_kind(given, &kind, error) : 0;
    for (int i = 0; i < options_argument_count(cli->options) && r >= 0; i++)
        r = document_collect(cli_argument(cli, i), kind, collection, origins, error);
    if (r < 0)
        return r;
    if (json_object_size(collection) == 0)
        return error_set(error, ERROR_BAD_REQUEST, "there are no documents (.json, .yaml) to import");
    r = cli_request(cli, "POST", "/catalog/import", collection, &answer, error);
    if (r < 0) {
        blame_file(origins, error);
        return r;
    }
    print_warnings(json_object_get(answer, "warnings"));
    int64_t count = json_number_at(answer, "documents"), changed = json_number_at(answer, "changed");
    cli_done(cli, answer, "Imported %lld document%s: %lld new or changed, %lld as they were.",
             (long long)count, count == 1 ? "" : "s", (long long)changed, (long long)(count - changed));
    return 0;
}

/* Export ------------------------------------------------------------------------------------ */

static int write_document(const char *directory, const char *kind, const json_t *document,
                          OutputFormat format, Error *error)
{
    const char *name = json_text_at(document, "name");
    /* The name comes from the server and becomes a path. */
    if (!name_is_valid(name) || strlen(name) > 200)
        return error_set(error, ERROR_PROTOCOL, "the manager sent a document with a bad name");
    _cleanup_free_ char *file = string_format("%s.%s", name, format == OUTPUT_JSON ? "json" : "yaml");
    _cleanup_free_ char *folder = path_join(directory, kind), *path = path_join(folder, file);
    char *text = format == OUTPUT_JSON ? json_dumps(document, JSON_INDENT(2)) : yaml_from_json(document);
    int r = directory_make(folder, 0755);
    if (r >= 0)
        r = file_write_atomic(path, text, strlen(text), 0644);
    free(text);
    return r < 0 ? error_set_errno(error, ERROR_IO, -r, "cannot write %s", path) : 0;
}

static int write_directory(Cli *cli, const json_t *answer, const char *directory, Error *error)
{
    size_t count = 0, index;
    json_t *document;
    for (size_t i = 0; document_kinds[i]; i++)
        json_array_foreach (json_object_get(answer, document_kinds[i]), index, document) {
            int r = write_document(directory, document_kinds[i], document, cli->format, error);
            if (r < 0)
                return r;
            count++;
        }
    (void)fprintf(stderr, "Wrote %zu documents; secret fields of providers are never exported.\n", count);
    return 0;
}

static int catalog_export(Cli *cli, Error *error)
{
    _cleanup_json_ json_t *answer = NULL;
    const char *directory = cli_option(cli, "directory");
    int r = cli_get(cli, "/catalog/export", &answer, error);
    if (r < 0)
        return r;
    if (directory)
        return write_directory(cli, answer, directory, error);
    view_print_json(answer, cli->format == OUTPUT_JSON ? OUTPUT_JSON : OUTPUT_YAML);
    return 0;
}

/* Validation -------------------------------------------------------------------------------- */

/* "FILE:LINE:COLUMN: field: message", as compilers and editors have it. */
static void print_issues(const json_t *issues, const char *path, const char *text, Style style,
                         const char *what)
{
    size_t index;
    json_t *issue;
    _cleanup_free_ char *safe_path = text_safe(path);
    json_array_foreach (issues, index, issue) {
        unsigned line = 0, column = 0;
        const char *field = json_text_at(issue, "field");
        _cleanup_free_ char *safe_field = text_safe(field);
        _cleanup_free_ char *message = text_safe(json_text_at(issue, "message"));
        (void)printf("%s", safe_path);
        if (document_locate(text, strlen(text), field, &line, &column))
            (void)printf(":%u:%u", line, column);
        (void)printf(": %s%s:%s ", style_begin(stdout, style), what, style_end(stdout));
        if (*safe_field && !string_starts_with(message, safe_field)) /* most messages begin with it */
            (void)printf("%s: ", safe_field);
        (void)printf("%s\n", message);
    }
}

static int validate_file(Cli *cli, const char *path, const char *kind, size_t *error_count, Error *error)
{
    _cleanup_json_ json_t *document = NULL, *answer = NULL;
    _cleanup_free_ char *text = NULL;
    int r = document_read(path, &document, &text, error);
    if (r < 0)
        return r;
    if (!kind) {
        const char *end = strrchr(path, '/');
        _cleanup_free_ char *folder =
            end ? string_duplicate_n(path, (size_t)(end - path)) : string_duplicate("");
        const char *last = strrchr(folder, '/');
        kind = document_kind_from_string(last ? last + 1 : folder);
    }
    kind = kind ? kind : document_guess_kind(document);
    if (!kind)
        return error_set(error, ERROR_BAD_REQUEST, "%s: cannot tell the kind; give --kind", path);
    _cleanup_json_ json_t *body = json_pack("{s:s, s:O}", "kind", kind, "document", document);
    r = cli_request(cli, "POST", "/catalog/validate", body, &answer, error);
    if (r < 0)
        return r;
    *error_count += json_array_size(json_object_get(answer, "errors"));
    if (!cli_show_raw(cli, answer)) {
        print_issues(json_object_get(answer, "errors"), path, text, STYLE_BAD, "error");
        print_issues(json_object_get(answer, "warnings"), path, text, STYLE_WARNING, "warning");
        if (json_is_true(json_object_get(answer, "valid")))
            cli_done(cli, NULL, "%s: valid (%s)", path, kind);
    }
    return 0;
}

static int catalog_validate(Cli *cli, Error *error)
{
    const char *kind = NULL, *given = cli_option(cli, "kind");
    size_t error_count = 0;
    int r = given ? read_kind(given, &kind, error) : 0;
    for (int i = 0; i < options_argument_count(cli->options) && r >= 0; i++)
        r = validate_file(cli, cli_argument(cli, i), kind, &error_count, error);
    return r < 0 ? r : error_count > 0 ? EXIT_FAILURE : EXIT_SUCCESS;
}

static const Option kind_options[] = {
    {.name = "kind", .argument = "KIND", .help = "kind of documents that do not tell by their folder"},
    {.name = NULL},
};
static const Option export_options[] = {
    {.name = "directory",
     .letter = 'd',
     .argument = "DIR",
     .help = "one file a document, in a folder a kind"},
    {.name = NULL},
};
static const Option show_options[] = {
    {.name = "version", .argument = "N", .help = "an older version"},
    {.name = NULL},
};
static const Option limit_options[] = {
    {.name = "limit", .argument = "N", .help = "show at most so many"},
    {.name = NULL},
};

const CliVerb verbs_catalog[] = {
    {"catalog import", "FILE|DIR ...", 1, -1, SESSION, catalog_import, kind_options,
     "write documents, all or none",
     "Takes files with one document (JSON or YAML), files with a whole export, and folders with subfolders "
     "named "
     "providers, hardwaretypes, imagetypes, services and clustertemplates. Documents that did not change "
     "keep "
     "their version."},
    {"catalog export", "", 0, 0, SESSION, catalog_export, export_options, "print or write the whole catalog",
     "Without --directory one document in YAML, or JSON with -o json; 'catalog import' takes it back."},
    {"catalog list", "KIND", 1, 1, SESSION, catalog_list, limit_options, "documents of a kind",
     "KIND is providers, hardwaretypes, imagetypes, services or clustertemplates (or templates)."},
    {"catalog show", "KIND NAME", 2, 2, SESSION, catalog_show, show_options, "a document", NULL},
    {"catalog validate", "FILE ...", 1, -1, SESSION, catalog_validate, kind_options,
     "name every fault of documents, without writing them",
     "One line a fault: FILE:LINE:COLUMN: error: member: what is wrong. Exit status 1 when there is an "
     "error."},
    {"catalog delete", "KIND NAME", 2, 2, SESSION, catalog_delete, NULL, "remove a document", NULL},
    {0},
};
