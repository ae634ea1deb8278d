/* SPDX-License-Identifier: Apache-2.0 */
#include "base/config.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/buffer.h"
#include "base/file.h"
#include "base/memory.h"
#include "base/string.h"

enum { FILE_LIMIT = 256 * 1024, VALUE_LIMIT = 4096, KEYS_LIMIT = 512 };

static void *at(void *destination, const ConfigKey *key)
{
    return (char *)destination + key->offset;
}

/* ---- values ---------------------------------------------------------------------------------------------
 */

static bool has_range(const ConfigKey *key)
{
    return key->minimum != 0 || key->maximum != 0;
}

static int set_text(const ConfigKey *key, const char *text, void *target, Error *error)
{
    if (key->type == CONFIG_PATH && text[0] != '/')
        return error_set(error, ERROR_CONFIGURATION, "'%s' must be an absolute path", key->key);
    char **value = target;
    free(*value);
    *value = string_duplicate(text);
    return 0;
}

static int set_integer(const ConfigKey *key, const char *text, void *target, Error *error)
{
    int64_t minimum = has_range(key) ? key->minimum : INT64_MIN,
            maximum = has_range(key) ? key->maximum : INT64_MAX;
    int r = string_to_i64(text, minimum, maximum, target);
    if (r == -ERANGE)
        return error_set(error, ERROR_CONFIGURATION, "'%s' must be from %lld to %lld", key->key,
                         (long long)minimum, (long long)maximum);
    return r < 0 ? error_set(error, ERROR_CONFIGURATION, "'%s' must be a whole number", key->key) : 0;
}

static int set_boolean(const ConfigKey *key, const char *text, void *target, Error *error)
{
    if (string_to_bool(text, target) < 0)
        return error_set(error, ERROR_CONFIGURATION, "'%s' must be yes or no", key->key);
    return 0;
}

static int set_milliseconds(const ConfigKey *key, const char *text, void *target, Error *error)
{
    int64_t value = 0;
    int r = string_to_milliseconds(text, &value);
    if (r >= 0 && has_range(key) && (value < key->minimum || value > key->maximum))
        r = -ERANGE;
    if (r == -ERANGE)
        return error_set(error, ERROR_CONFIGURATION, "'%s' must be from %lldms to %lldms", key->key,
                         (long long)(has_range(key) ? key->minimum : 0),
                         (long long)(has_range(key) ? key->maximum : INT64_MAX));
    if (r < 0)
        return error_set(error, ERROR_CONFIGURATION, "'%s' must be a time such as 500ms, 15s, 5m, 2h or 7d",
                         key->key);
    *(int64_t *)target = value;
    return 0;
}

static int set_bytes(const ConfigKey *key, const char *text, void *target, Error *error)
{
    uint64_t value = 0;
    int r = string_to_bytes(text, &value);
    if (r >= 0 && has_range(key) && (value < (uint64_t)key->minimum || value > (uint64_t)key->maximum))
        r = -ERANGE;
    if (r == -ERANGE)
        return error_set(error, ERROR_CONFIGURATION, "'%s' must be from %lld to %lld bytes", key->key,
                         (long long)(has_range(key) ? key->minimum : 0),
                         (long long)(has_range(key) ? key->maximum : INT64_MAX));
    if (r < 0)
        return error_set(error, ERROR_CONFIGURATION, "'%s' must be a size such as 512, 64K, 16M or 2G",
                         key->key);
    *(uint64_t *)target = value;
    return 0;
}

static int set_list(const ConfigKey *key, const char *text, void *target, Error *error)
{
    StringList *list = target;
    string_list_done(list);
    while (*(text += strspn(text, " \t,"))) {
        size_t length = strcspn(text, " \t,");
        _cleanup_free_ char *item = string_duplicate_n(text, length);
        string_list_append(list, item);
        text += length;
    }
    return 0;
}

static const struct {
    int (*set)(const ConfigKey *key, const char *text, void *target, Error *error);
    size_t size;
    bool may_be_empty;
} types[] = {
    [CONFIG_STRING] = {set_text, sizeof(char *), true},
    [CONFIG_PATH] = {set_text, sizeof(char *), false},
    [CONFIG_INTEGER] = {set_integer, sizeof(int64_t), false},
    [CONFIG_BOOLEAN] = {set_boolean, sizeof(bool), false},
    [CONFIG_MILLISECONDS] = {set_milliseconds, sizeof(int64_t), false},
    [CONFIG_BYTES] = {set_bytes, sizeof(uint64_t), false},
    [CONFIG_LIST] = {set_list, sizeof(StringList), true},
};

static int set_value(const ConfigKey *key, const char *text, void *destination, Error *error)
{
    if (key->refused)
        return error_set(error, ERROR_INSECURE, "'%s' cannot be set: %s", key->key, key->refused);
    if (!*text && !types[key->type].may_be_empty)
        return error_set(error, ERROR_CONFIGURATION, "'%s' has no value; remove the line to get the default",
                         key->key);
    return types[key->type].set(key, text, at(destination, key), error);
}

/* ---- files ----------------------------------------------------------------------------------------------
 */

typedef struct Parser {
    const ConfigKey *keys;
    void *destination;
    char *section;             /* owned; NULL before the first */
    unsigned seen[KEYS_LIMIT]; /* line of each row of the table in this file, or 0 */
    Error *error;
} Parser;

static void parser_done(Parser *parser)
{
    free(parser->section);
}

/* The nearest of the sections, or of a section's keys. */
static const char *nearest(const ConfigKey *keys, const char *section, const char *text)
{
    const char *best = NULL;
    unsigned best_distance = 3;
    for (const ConfigKey *key = keys; key->section; key++) {
        if (section && !string_equal(section, key->section))
            continue;
        const char *candidate = section ? key->key : key->section;
        unsigned distance = string_distance(text, candidate);
        if (distance < best_distance) {
            best = candidate;
            best_distance = distance;
        }
    }
    return best;
}

static int fail_unknown(const Parser *parser, const char *what, const char *section, const char *text)
{
    const char *other = nearest(parser->keys, section, text);
    if (!other)
        return error_set(parser->error, ERROR_CONFIGURATION, "unknown %s '%s'", what, text);
    return error_set(parser->error, ERROR_CONFIGURATION, "unknown %s '%s'; did you mean '%s'?", what, text,
                     other);
}

/* Cuts white space off both ends, in place. */
static char *trim(char *text)
{
    text += strspn(text, " \t\r");
    size_t length = strlen(text);
    while (length > 0 && strchr(" \t\r", text[length - 1]))
        text[--length] = 0;
    return text;
}

static int parse_section(Parser *parser, char *line)
{
    size_t length = strlen(line);
    if (line[length - 1] != ']')
        return error_set(parser->error, ERROR_CONFIGURATION, "a section line must end with ']'");
    line[length - 1] = 0;
    const char *name = trim(line + 1);
    for (const ConfigKey *key = parser->keys; key->section; key++)
        if (string_equal(key->section, name)) {
            free(parser->section);
            parser->section = string_duplicate(name);
            return 0;
        }
    return fail_unknown(parser, "section", NULL, name);
}

static int parse_assignment(Parser *parser, char *line, unsigned number)
{
    char *equals = strchr(line, '=');
    if (!equals)
        return error_set(parser->error, ERROR_CONFIGURATION, "expected '[section]' or 'key = value'");
    if (!parser->section)
        return error_set(parser->error, ERROR_CONFIGURATION, "a key stands before the first '[section]'");
    *equals = 0;
    const char *name = trim(line), *value = trim(equals + 1);
    size_t row = 0;
    const ConfigKey *key = parser->keys;
    while (key->section && !(string_equal(key->section, parser->section) && string_equal(key->key, name))) {
        key++;
        row++;
    }
    if (!key->section)
        return fail_unknown(parser, "key", parser->section, name);
    if (parser->seen[row])
        return error_set(parser->error, ERROR_CONFIGURATION, "'%s' is set already in line %u", name,
                         parser->seen[row]);
    parser->seen[row] = number;
    if (strlen(value) > VALUE_LIMIT)
        return error_set(parser->error, ERROR_CONFIGURATION, "the value of '%s' has more than %d bytes", name,
                         VALUE_LIMIT);
    return set_value(key, value, parser->destination, parser->error);
}

static int parse_line(Parser *parser, char *line, unsigned number)
{
    size_t length = strlen(line);
    if (!utf8_is_valid(line, length) || string_has_control(line, length, "\t\r"))
        return error_set(parser->error, ERROR_CONFIGURATION,
                         "the line has control characters or is not UTF-8");
    line = trim(line);
    if (!*line || *line == '#')
        return 0;
    return *line == '[' ? parse_section(parser, line) : parse_assignment(parser, line, number);
}

/* Nobody but root, us and our group may write what we trust. */
static int check_trust(const char *path, int descriptor, Error *error)
{
    struct stat status;
    if (fstat(descriptor, &status) < 0)
        return error_set_errno(error, ERROR_CONFIGURATION, errno, "%s", path);
    if (status.st_mode & S_IWOTH)
        return error_set(error, ERROR_INSECURE, "%s: everybody may write here; run 'chmod o-w %s'", path,
                         path);
    return 0;
}

static int load_open_file(const char *path, int descriptor, const ConfigKey *keys, void *destination,
                          Error *error)
{
    int r = check_trust(path, descriptor, error);
    if (r < 0)
        return r;
    _cleanup_free_ char *text = NULL;
    size_t size = 0;
    r = file_read_descriptor(descriptor, FILE_LIMIT, &text, &size);
    if (r < 0)
        return error_set_errno(error, ERROR_CONFIGURATION, -r, "%s", path);
    if (strlen(text) != size)
        return error_set(error, ERROR_CONFIGURATION, "%s: the file has a NUL byte", path);
    _cleanup_(parser_done) Parser parser = {.keys = keys, .destination = destination, .error = error};
    unsigned number = 0;
    for (char *line = text, *next; line; line = next) {
        next = strchr(line, '\n');
        if (next)
            *next++ = 0;
        number++;
        r = parse_line(&parser, line, number);
        if (r < 0) {
            error_prefix(error, "%s:%u", path, number);
            if (error)
                error->line = number;
            return r;
        }
    }
    return 0;
}

static int load_file(const char *path, bool may_be_absent, const ConfigKey *keys, void *destination,
                     Error *error)
{
    _cleanup_close_ int descriptor = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
    if (descriptor < 0 && errno == ENOENT && may_be_absent)
        return 0;
    if (descriptor < 0)
        return error_set_errno(error, ERROR_CONFIGURATION, errno, "%s", path);
    return load_open_file(path, descriptor, keys, destination, error);
}

static void close_directory(DIR **stream)
{
    if (*stream)
        (void)closedir(*stream);
}

static int load_drop_ins(const char *path, const ConfigKey *keys, void *destination, Error *error)
{
    _cleanup_free_ char *directory = string_format("%s.d", path);
    _cleanup_(close_directory) DIR *stream = opendir(directory);
    if (!stream)
        return errno == ENOENT ? 0 : error_set_errno(error, ERROR_CONFIGURATION, errno, "%s", directory);
    int r = check_trust(directory, dirfd(stream), error);
    if (r < 0)
        return r;
    _cleanup_string_list_ StringList names = {0};
    for (const struct dirent *entry; (entry = readdir(stream));)
        if (entry->d_name[0] != '.' && string_ends_with(entry->d_name, ".conf"))
            string_list_append(&names, entry->d_name);
    string_list_sort(&names);
    for (size_t i = 0; i < names.count; i++) {
        _cleanup_free_ char *file = path_join(directory, names.items[i]);
        r = load_file(file, false, keys, destination, error);
        if (r < 0)
            return r;
    }
    return 0;
}

int config_load(const char *path, bool may_be_absent, const ConfigKey *keys, void *destination, Error *error)
{
    size_t count = 0;
    for (const ConfigKey *key = keys; key->section; key++, count++)
        if (!key->refused) /* which has no place in the struct */
            memset(at(destination, key), 0, types[key->type].size);
    ASSERT(count <= KEYS_LIMIT);
    for (const ConfigKey *key = keys; key->section; key++)
        if (key->default_value && !key->refused)
            ASSERT(set_value(key, key->default_value, destination, NULL) >= 0);
    int r = load_file(path, may_be_absent, keys, destination, error);
    if (r >= 0)
        r = load_drop_ins(path, keys, destination, error);
    if (r < 0)
        config_done(keys, destination);
    return r;
}

void config_done(const ConfigKey *keys, void *destination)
{
    for (const ConfigKey *key = keys; key->section; key++) {
        if (key->refused)
            continue;
        if (key->type == CONFIG_STRING || key->type == CONFIG_PATH)
            free(*(char **)at(destination, key));
        else if (key->type == CONFIG_LIST)
            string_list_done(at(destination, key));
        memset(at(destination, key), 0, types[key->type].size);
    }
}

static void append_comment(Buffer *buffer, const char *text)
{
    while (text && *text) {
        size_t length = strcspn(text, "\n");
        (void)buffer_append_format(buffer, "# %.*s\n", (int)length, text);
        text += length + (text[length] != 0);
    }
}

char *config_example(const ConfigKey *keys)
{
    _cleanup_buffer_ Buffer buffer = BUFFER_INIT;
    const char *section = NULL;
    for (const ConfigKey *key = keys; key->section; key++) {
        if (key->refused)
            continue;
        if (!string_equal(section, key->section))
            (void)buffer_append_format(&buffer, "%s[%s]\n", section ? "\n" : "", key->section);
        section = key->section;
        append_comment(&buffer, key->description);
        if (key->default_value)
            (void)buffer_append_format(&buffer, "#%s = %s\n", key->key, key->default_value);
        else
            (void)buffer_append_format(&buffer, "#%s =\n", key->key);
    }
    return buffer_take_string(&buffer);
}
