/* SPDX-License-Identifier: Apache-2.0 */
#include "runner/helpers.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/memory.h"
#include "base/string.h"
#include "runner/protocol.h"

/* "\n", "\t", "\\" stand for themselves in the flat form. */
static char *unescape(const char *text, size_t length)
{
    char *result = memory_new(length + 1), *out = result;
    for (size_t i = 0; i < length; i++) {
        if (text[i] == '\\' && i + 1 < length) {
            i++;
            *out++ = text[i] == 'n' ? '\n' : text[i] == 't' ? '\t' : text[i];
        } else
            *out++ = text[i];
    }
    *out = 0;
    return result;
}

typedef struct Line {
    char *path, *value; /* owned */
} Line;

static void line_done(Line *line)
{
    free(line->path);
    free(line->value);
}

/* Moves *text behind the line; false at the end. Lines without a tab are passed over. */
static bool next_line(const char **text, Line *ret_line)
{
    while (**text) {
        const char *line = *text;
        size_t length = strcspn(line, "\n");
        *text = line + length + (line[length] == '\n');
        const char *tab = memchr(line, '\t', length);
        if (!tab)
            continue;
        size_t path_length = (size_t)(tab - line);
        *ret_line =
            (Line){.path = unescape(line, path_length), .value = unescape(tab + 1, length - path_length - 1)};
        return true;
    }
    return false;
}

char *parameters_find(const char *text, const char *path)
{
    Line line;
    while (next_line(&text, &line)) {
        if (string_equal(line.path, path)) {
            free(line.path);
            return line.value;
        }
        line_done(&line);
    }
    return NULL;
}

static int read_parameters(char **ret_text)
{
    const char *path = getenv("BASTIDE_PARAMETERS");
    if (path && file_read(path, RUNNER_PARAMETERS_MAX, ret_text, NULL) >= 0)
        return 0;
    (void)fputs("bastide: there are no parameters; this program is for the scripts of a step\n", stderr);
    return -1;
}

int helper_parameter(int argc, char **argv)
{
    if (argc < 1 || argc > 2) {
        (void)fputs("usage: bastide-param PATH [DEFAULT]\n", stderr);
        return 64;
    }
    _cleanup_free_ char *text = NULL;
    if (read_parameters(&text) < 0)
        return 1;
    _cleanup_free_ char *value = parameters_find(text, argv[0]);
    if (!value && argc < 2) {
        (void)fprintf(stderr, "bastide: there is no parameter \"%s\"\n", argv[0]);
        return 1;
    }
    return puts(value ? value : argv[1]) < 0 ? 1 : 0;
}

int helper_secret(int argc, char **argv)
{
    if (argc != 1 || !name_is_valid(argv[0])) {
        (void)fputs("usage: bastide-secret NAME\n", stderr);
        return 64;
    }
    const char *directory = getenv("BASTIDE_SECRETS");
    _cleanup_free_ char *path = path_join(directory ? directory : "", argv[0]), *value = NULL;
    size_t size;
    if (!directory || file_read(path, RUNNER_SECRET_SIZE_MAX, &value, &size) < 0) {
        (void)fprintf(stderr, "bastide: this step has no secret \"%s\"\n", argv[0]);
        return 1;
    }
    int r = write_full(STDOUT_FILENO, value, size);
    explicit_bzero(value, size);
    return r < 0 ? 1 : 0;
}

/* Direct children: the value of one that is a value, the name of one that has children of its own (once). */
int helper_list(int argc, char **argv)
{
    if (argc != 1) {
        (void)fputs("usage: bastide-list PREFIX\n", stderr);
        return 64;
    }
    _cleanup_free_ char *text = NULL;
    if (read_parameters(&text) < 0)
        return 1;
    _cleanup_string_list_ StringList seen = {0};
    _cleanup_free_ char *prefix = string_format("%s.", argv[0]);
    const char *position = text;
    Line line;
    while (next_line(&position, &line)) {
        if (string_starts_with(line.path, prefix)) {
            const char *name = line.path + strlen(prefix);
            size_t length = strcspn(name, ".");
            _cleanup_free_ char *child = string_duplicate_n(name, length);
            if (name[length] == 0)
                (void)puts(line.value);
            else if (!string_list_contains(&seen, child)) {
                string_list_append(&seen, child);
                (void)puts(child);
            }
        }
        line_done(&line);
    }
    return fflush(stdout) == 0 ? 0 : 1;
}
