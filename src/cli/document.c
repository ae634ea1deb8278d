/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/document.h"

#include <dirent.h>
#include <errno.h>
#include <sys/stat.h>
#include <unistd.h>
#include <yaml.h>

#include "base/file.h"
#include "base/string.h"
#include "base/yaml.h"
#include "domain/catalog/issue.h"

const char *const document_kinds[] = {"providers", "hardwaretypes",    "imagetypes",
                                      "services",  "clustertemplates", NULL};

const char *document_kind_from_string(const char *text)
{
    static const struct {
        const char *other, *kind;
    } others[] = {{"hardware", "hardwaretypes"},
                  {"image", "imagetypes"},
                  {"template", "clustertemplates"},
                  {"templates", "clustertemplates"}};
    for (size_t i = 0; text && document_kinds[i]; i++) {
        size_t length = strlen(document_kinds[i]);
        if (string_equal(text, document_kinds[i]) ||
            (strlen(text) == length - 1 && strncmp(text, document_kinds[i], length - 1) == 0))
            return document_kinds[i];
    }
    for (size_t i = 0; text && i < ELEMENTSOF(others); i++)
        if (string_equal(text, others[i].other))
            return others[i].kind;
    return NULL;
}

static bool first_provider_has(const json_t *document, const char *member)
{
    json_t *map = json_object_get(document, "providermap");
    const json_t *first = json_object_iter_value(json_object_iter(map));
    return json_object_get(first, member) != NULL;
}

const char *document_guess_kind(const json_t *document)
{
    if (json_object_get(document, "providertype"))
        return "providers";
    if (json_object_get(document, "defaults") || json_object_get(document, "compatibility"))
        return "clustertemplates";
    if (first_provider_has(document, "flavor"))
        return "hardwaretypes";
    if (first_provider_has(document, "image"))
        return "imagetypes";
    if (json_object_get(document, "provisioner") || json_object_get(document, "dependencies") ||
        json_object_get(document, "dependson"))
        return "services";
    return NULL;
}

/* Reading ----------------------------------------------------------------------------------- */

static int parse(const char *path, const char *text, size_t size, json_t **ret_value, Error *error)
{
    Error cause = ERROR_INIT;
    bool is_json = string_ends_with(path, ".json");
    int r = is_json ? json_parse(text, size, DOCUMENT_FILE_LIMIT, ret_value, &cause)
                    : yaml_parse(text, size, DOCUMENT_FILE_LIMIT, ret_value, &cause);
    if (r >= 0)
        return 0;
    r = cause.line > 0
            ? error_set(error, cause.code, "%s:%u:%u: %s", path, cause.line, cause.column, cause.text)
            : error_set(error, cause.code, "%s: %s", path, cause.text);
    return r;
}

int document_read(const char *path, json_t **ret_value, char **ret_text, Error *error)
{
    _cleanup_free_ char *text = NULL;
    size_t size;
    bool is_input = string_equal(path, "-");
    int r = is_input ? file_read_descriptor(STDIN_FILENO, DOCUMENT_FILE_LIMIT, &text, &size)
                     : file_read(path, DOCUMENT_FILE_LIMIT, &text, &size);
    if (r < 0)
        return error_set_errno(error, r == -ENOENT ? ERROR_NOT_FOUND : ERROR_IO, -r, "cannot read %s", path);
    r = parse(is_input ? "standard input" : path, text, size, ret_value, error);
    if (r >= 0 && ret_text)
        *ret_text = TAKE_PTR(text);
    return r;
}

/* Collecting -------------------------------------------------------------------------------- */

static int add_document(const char *path, const char *kind, json_t *document, json_t *collection,
                        json_t *origins, Error *error)
{
    const char *name = json_string_value(json_object_get(document, "name"));
    if (!json_is_object(document) || !name)
        return error_set(error, ERROR_BAD_DOCUMENT, "%s: a document is an object with a 'name'", path);
    _cleanup_free_ char *key = string_format("%s/%s", kind, name);
    const char *other = json_string_value(json_object_get(origins, key));
    if (other)
        return error_set(error, ERROR_CONFLICT, "%s: the %s '%s' is in %s already", path, kind, name, other);
    if (json_object_size(origins) >= DOCUMENT_FILES_MAX)
        return error_set(error, ERROR_TOO_LARGE, "an import may have %d documents", (int)DOCUMENT_FILES_MAX);
    if (!json_object_get(collection, kind))
        (void)json_object_set_new(collection, kind, json_array());
    (void)json_array_append(json_object_get(collection, kind), document);
    (void)json_object_set_new(origins, key, json_string(path));
    return 0;
}

/* {"providers": [...], "services": [...]}: at least one member, all of them kinds. */
static bool is_export(const json_t *value)
{
    const char *name;
    json_t *list;
    json_object_foreach ((json_t *)(uintptr_t)value, name, list)
        if (!json_is_array(list) ||
            !(document_kind_from_string(name) || string_equal(name, "partialtemplates")))
            return false;
    return json_object_size(value) > 0;
}

static int collect_file(const char *path, const char *kind, json_t *collection, json_t *origins, Error *error)
{
    _cleanup_json_ json_t *value = NULL;
    int r = document_read(path, &value, NULL, error);
    if (r < 0)
        return r;
    if (!is_export(value)) {
        kind = kind ? kind : document_guess_kind(value);
        return kind
                   ? add_document(path, kind, value, collection, origins, error)
                   : error_set(error, ERROR_BAD_DOCUMENT,
                               "%s: cannot tell what kind of document this is; give --kind, or put it into a "
                               "folder named services, clustertemplates, ...",
                               path);
    }
    const char *name;
    json_t *list, *document;
    size_t index;
    json_object_foreach (value, name, list) {
        const char *list_kind = document_kind_from_string(name);
        json_array_foreach (list, index, document) {
            r = list_kind ? add_document(path, list_kind, document, collection, origins, error) : 0;
            if (r < 0)
                return r;
        }
    }
    return 0;
}

static bool is_document_name(const char *name)
{
    return name[0] != '.' && (string_ends_with(name, ".json") || string_ends_with(name, ".yaml") ||
                              string_ends_with(name, ".yml"));
}

static int list_names(const char *path, StringList *names, Error *error)
{
    DIR *directory = opendir(path);
    if (!directory)
        return error_set_errno(error, ERROR_IO, errno, "cannot read the folder %s", path);
    const struct dirent *entry;
    while ((entry = readdir(directory)) && names->count < DOCUMENT_FILES_MAX)
        if (entry->d_name[0] != '.')
            string_list_append(names, entry->d_name);
    (void)closedir(directory);
    string_list_sort(names);
    return 0;
}

static int collect_entry(const char *path, const char *name, const char *kind, json_t *collection,
                         json_t *origins, bool is_top, Error *error)
{
    struct stat state;
    if (stat(path, &state) < 0)
        return error_set_errno(error, ERROR_IO, errno, "cannot look at %s", path);
    const char *folder_kind = is_top ? document_kind_from_string(name) : NULL;
    if (S_ISDIR(state.st_mode) && folder_kind)
        return document_collect(path, folder_kind, collection, origins, error);
    return S_ISREG(state.st_mode) && is_document_name(name)
               ? collect_file(path, kind, collection, origins, error)
               : 0;
}

int document_collect(const char *path, const char *kind, json_t *collection, json_t *origins, Error *error)
{
    struct stat state;
    _cleanup_string_list_ StringList names = {0};
    if (stat(path, &state) < 0)
        return error_set_errno(error, errno == ENOENT ? ERROR_NOT_FOUND : ERROR_IO, errno, "cannot read %s",
                               path);
    if (!S_ISDIR(state.st_mode))
        return collect_file(path, kind, collection, origins, error);
    int r = list_names(path, &names, error);
    if (!kind) { /* the folder may be that of a kind itself */
        _cleanup_free_ char *real = realpath(path, NULL);
        kind = real && strrchr(real, '/') ? document_kind_from_string(strrchr(real, '/') + 1) : NULL;
    }
    for (size_t i = 0; i < names.count && r >= 0; i++) {
        _cleanup_free_ char *inner = path_join(path, names.items[i]);
        r = collect_entry(inner, names.items[i], kind, collection, origins, !kind, error);
    }
    return r;
}

/* Locating ---------------------------------------------------------------------------------- */

/* Walks the events of a YAML document along the path of the member, and remembers how far it got. */
typedef struct Locator {
    yaml_parser_t parser;
    const char *field;
    size_t best; /* bytes of the field that are matched */
    unsigned line, column;
    unsigned budget; /* of events */
} Locator;

static bool next_event(Locator *locator, yaml_event_t *event)
{
    return locator->budget-- > 0 && yaml_parser_parse(&locator->parser, event);
}

/* Bytes of the path that the component takes with its dot, when the rest of the path begins with it. */
static size_t match(const char *rest, const char *component)
{
    size_t length = strlen(component);
    const char *begin = *rest == '.' ? rest + 1 : rest;
    if (length == 0 || strncmp(begin, component, length) != 0 || !strchr(".[", begin[length]))
        return 0; /* strchr also finds the end */
    return (size_t)(begin - rest) + length;
}

static void reach(Locator *locator, size_t done, yaml_mark_t mark)
{
    if (done <= locator->best && locator->line > 0)
        return;
    locator->best = done;
    locator->line = (unsigned)mark.line + 1;
    locator->column = (unsigned)mark.column + 1;
}

enum { NOT_ON_PATH = -1, LOCATE_DEPTH = JSON_DEPTH_LIMIT };

static bool walk(Locator *locator, const yaml_event_t *first, ssize_t done, unsigned depth);

static bool walk_next(Locator *locator, ssize_t done, unsigned depth)
{
    yaml_event_t event;
    if (!next_event(locator, &event))
        return false;
    bool is_good = walk(locator, &event, done, depth);
    yaml_event_delete(&event);
    return is_good;
}

static bool walk_mapping(Locator *locator, ssize_t done, unsigned depth)
{
    for (;;) {
        yaml_event_t key;
        if (!next_event(locator, &key))
            return false;
        bool is_end = key.type == YAML_MAPPING_END_EVENT, is_scalar = key.type == YAML_SCALAR_EVENT;
        ssize_t inner = NOT_ON_PATH;
        if (is_scalar && done >= 0) {
            size_t taken = match(locator->field + done, (const char *)key.data.scalar.value);
            inner = taken ? done + (ssize_t)taken : NOT_ON_PATH;
            if (taken)
                reach(locator, (size_t)inner, key.start_mark);
        }
        yaml_event_delete(&key);
        if (is_end || !is_scalar)
            return is_end;
        if (!walk_next(locator, inner, depth + 1))
            return false;
    }
}

static bool walk_sequence(Locator *locator, ssize_t done, unsigned depth)
{
    for (size_t index = 0;; index++) {
        yaml_event_t event;
        char component[24];
        ssize_t inner = NOT_ON_PATH;
        if (!next_event(locator, &event))
            return false;
        (void)string_print(component, sizeof(component), "[%zu]", index);
        if (done >= 0 && string_starts_with(locator->field + done, component)) {
            inner = done + (ssize_t)strlen(component);
            reach(locator, (size_t)inner, event.start_mark);
        }
        bool is_end = event.type == YAML_SEQUENCE_END_EVENT;
        bool is_good = is_end || walk(locator, &event, inner, depth + 1);
        yaml_event_delete(&event);
        if (is_end || !is_good)
            return is_end;
    }
}

static bool walk(Locator *locator, const yaml_event_t *first, ssize_t done, unsigned depth)
{
    if (depth > LOCATE_DEPTH)
        return false;
    if (first->type == YAML_MAPPING_START_EVENT)
        return walk_mapping(locator, done, depth);
    if (first->type == YAML_SEQUENCE_START_EVENT)
        return walk_sequence(locator, done, depth);
    return first->type == YAML_SCALAR_EVENT;
}

static void locate_yaml(Locator *locator, const char *text, size_t size)
{
    if (!yaml_parser_initialize(&locator->parser))
        return;
    yaml_parser_set_input_string(&locator->parser, (const unsigned char *)text, size);
    for (yaml_event_type_t type = YAML_NO_EVENT; type != YAML_DOCUMENT_START_EVENT;) {
        yaml_event_t event;
        if (!next_event(locator, &event) || event.type == YAML_STREAM_END_EVENT)
            break;
        type = event.type;
        yaml_event_delete(&event);
        if (type == YAML_DOCUMENT_START_EVENT)
            (void)walk_next(locator, 0, 0);
    }
    yaml_parser_delete(&locator->parser);
}

bool document_locate(const char *text, size_t size, const char *field, unsigned *ret_line,
                     unsigned *ret_column)
{
    if (string_is_empty(field) || size > DOCUMENT_FILE_LIMIT)
        return false;
    const char *start = text + strspn(text, " \t\r\n");
    Locator locator = {.field = field, .budget = 1000000};
    if (*start == '{') { /* JSON, whose tabs libyaml refuses */
        _cleanup_issues_ IssueList issues = {0};
        issue_add(&issues, ISSUE_ERROR, field, "located", "here");
        issue_list_locate(&issues, text, size);
        locator.line = issues.items[0].line;
        locator.column = issues.items[0].column;
    } else {
        locate_yaml(&locator, text, size);
    }
    *ret_line = locator.line;
    *ret_column = locator.column;
    return locator.line > 0;
}
