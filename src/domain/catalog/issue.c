/* SPDX-License-Identifier: Apache-2.0 */
#include "domain/catalog/issue.h"

#include "base/map.h"
#include "base/memory.h"
#include "base/string.h"

void issue_list_done(IssueList *list)
{
    for (size_t i = 0; i < list->count; i++) {
        free(list->items[i].field);
        free(list->items[i].message);
    }
    free(list->items);
    *list = (IssueList){0};
}

void issue_add(IssueList *list, IssueSeverity severity, const char *field, const char *rule,
               const char *format, ...)
{
    if (!list)
        return;
    if (severity == ISSUE_ERROR)
        list->error_count++;
    else
        list->warning_count++;
    if (list->count >= ISSUE_LIMIT)
        return;
    if (list->count == list->capacity) {
        list->capacity = list->capacity ? list->capacity * 2 : 8;
        list->items = memory_resize_array(list->items, list->capacity, sizeof(Issue));
    }
    va_list arguments;
    va_start(arguments, format);
    char *message = string_format_v(format, arguments);
    va_end(arguments);
    list->items[list->count++] = (Issue){
        .severity = severity,
        .field = string_duplicate(field ? field : ""),
        .rule = rule,
        .message = message,
    };
}

const Issue *issue_list_find(const IssueList *list, const char *rule, const char *field)
{
    for (size_t i = 0; i < list->count; i++)
        if (string_equal(list->items[i].rule, rule) && (!field || string_equal(list->items[i].field, field)))
            return &list->items[i];
    return NULL;
}

json_t *issue_list_to_json(const IssueList *list, IssueSeverity severity)
{
    json_t *array = json_array();
    for (size_t i = 0; i < list->count; i++) {
        const Issue *issue = &list->items[i];
        if (issue->severity != severity)
            continue;
        json_t *item = json_pack("{s:s, s:s, s:s}", "field", issue->field, "rule", issue->rule, "message",
                                 issue->message);
        if (!item)
            continue;
        if (issue->line > 0) {
            (void)json_object_set_new(item, "line", json_integer(issue->line));
            (void)json_object_set_new(item, "column", json_integer(issue->column));
        }
        (void)json_array_append_new(array, item);
    }
    return array;
}

static ErrorCode code_of_rule(const char *rule)
{
    static const struct {
        const char *rule;
        ErrorCode code;
    } codes[] = {
        {"bad_macro", ERROR_BAD_MACRO}, {"unknown_reference", ERROR_BAD_REFERENCE},
        {"cycle", ERROR_CYCLE},         {"impossible", ERROR_IMPOSSIBLE},
        {"gave_up", ERROR_GAVE_UP},
    };
    for (size_t i = 0; i < ELEMENTSOF(codes); i++)
        if (string_equal(codes[i].rule, rule))
            return codes[i].code;
    return ERROR_BAD_FIELD;
}

int issue_list_to_error(const IssueList *list, Error *error)
{
    if (list->error_count == 0)
        return 0;
    for (size_t i = 0; i < list->count; i++) {
        const Issue *issue = &list->items[i];
        if (issue->severity != ISSUE_ERROR)
            continue;
        int r = list->error_count > 1
                    ? error_set_field(error, code_of_rule(issue->rule), issue->field, "%s (and %zu more)",
                                      issue->message, list->error_count - 1)
                    : error_set_field(error, code_of_rule(issue->rule), issue->field, "%s", issue->message);
        if (error) {
            error->line = issue->line;
            error->column = issue->column;
        }
        return r;
    }
    return error_set(error, ERROR_BAD_DOCUMENT, "the document has %zu faults", list->error_count);
}

/* Positions. The text has been accepted by the parser before, so this scanner only has to keep its place; it
 * stops quietly at anything it does not expect. */

typedef struct Position {
    unsigned line, column;
} Position;

typedef struct Scanner {
    const char *text;
    size_t size, position;
    unsigned line;
    size_t line_start;
    StringMap *positions; /* path -> Position, owned */
    Buffer path;
    unsigned depth;
} Scanner;

static void scanner_skip_space(Scanner *scanner)
{
    while (scanner->position < scanner->size && strchr(" \t\r\n", scanner->text[scanner->position])) {
        if (scanner->text[scanner->position] == '\n') {
            scanner->line++;
            scanner->line_start = scanner->position + 1;
        }
        scanner->position++;
    }
}

static bool scanner_take(Scanner *scanner, char expected)
{
    scanner_skip_space(scanner);
    if (scanner->position >= scanner->size || scanner->text[scanner->position] != expected)
        return false;
    scanner->position++;
    return true;
}

static Position scanner_here(const Scanner *scanner)
{
    return (Position){scanner->line, (unsigned)(scanner->position - scanner->line_start + 1)};
}

static void scanner_record(Scanner *scanner, Position here)
{
    Position *position = NEW(Position);
    *position = here;
    string_map_set(scanner->positions, buffer_string(&scanner->path), position);
}

/* Leaves the position after the closing quote; ret_* are the bytes between the quotes, escapes and all. */
static bool scanner_string(Scanner *scanner, const char **ret_start, size_t *ret_length)
{
    if (!scanner_take(scanner, '"'))
        return false;
    size_t start = scanner->position;
    while (scanner->position < scanner->size && scanner->text[scanner->position] != '"')
        scanner->position += scanner->text[scanner->position] == '\\' ? 2 : 1;
    if (scanner->position >= scanner->size)
        return false;
    *ret_start = scanner->text + start;
    *ret_length = scanner->position - start;
    scanner->position++;
    return true;
}

static bool scanner_value(Scanner *scanner);

static bool scanner_object(Scanner *scanner)
{
    size_t length = scanner->path.size;
    if (scanner_take(scanner, '}'))
        return true;
    do {
        scanner_skip_space(scanner);
        Position here = scanner_here(scanner);
        const char *name;
        size_t name_length;
        if (!scanner_string(scanner, &name, &name_length) || !scanner_take(scanner, ':'))
            return false;
        if (length > 0 && buffer_append_byte(&scanner->path, '.') < 0)
            return false;
        if (buffer_append(&scanner->path, name, name_length) < 0)
            return false;
        scanner_record(scanner, here);
        if (!scanner_value(scanner))
            return false;
        scanner->path.size = length;
        if (scanner->path.data)
            scanner->path.data[length] = '\0';
    } while (scanner_take(scanner, ','));
    return scanner_take(scanner, '}');
}

static bool scanner_array(Scanner *scanner)
{
    size_t length = scanner->path.size;
    if (scanner_take(scanner, ']'))
        return true;
    for (size_t index = 0;; index++) {
        scanner_skip_space(scanner);
        if (buffer_append_format(&scanner->path, "[%zu]", index) < 0)
            return false;
        scanner_record(scanner, scanner_here(scanner));
        if (!scanner_value(scanner))
            return false;
        scanner->path.size = length;
        if (scanner->path.data)
            scanner->path.data[length] = '\0';
        if (!scanner_take(scanner, ','))
            break;
    }
    return scanner_take(scanner, ']');
}

static bool scanner_value(Scanner *scanner)
{
    if (scanner->depth >= JSON_DEPTH_LIMIT)
        return false;
    scanner->depth++;
    bool is_good = true;
    const char *ignored;
    size_t ignored_length;
    scanner_skip_space(scanner);
    if (scanner_take(scanner, '{'))
        is_good = scanner_object(scanner);
    else if (scanner_take(scanner, '['))
        is_good = scanner_array(scanner);
    else if (scanner->position < scanner->size && scanner->text[scanner->position] == '"')
        is_good = scanner_string(scanner, &ignored, &ignored_length);
    else
        while (scanner->position < scanner->size && !strchr(",]} \t\r\n", scanner->text[scanner->position]))
            scanner->position++;
    scanner->depth--;
    return is_good;
}

/* The path without its last component; false when there is none left. */
static bool path_parent(char *path)
{
    size_t length = strlen(path);
    while (length > 0 && path[length - 1] != '.' && path[length - 1] != '[')
        length--;
    if (length == 0)
        return false;
    path[length - 1] = '\0';
    return true;
}

void issue_list_locate(IssueList *list, const char *text, size_t size)
{
    if (list->count == 0)
        return;
    _cleanup_string_map_ StringMap *positions = string_map_new(free);
    Scanner scanner = {
        .text = text, .size = size, .line = 1, .positions = positions, .path = BUFFER_INIT_LIMIT(16384)};
    (void)scanner_value(&scanner);
    buffer_done(&scanner.path);
    for (size_t i = 0; i < list->count; i++) {
        Issue *issue = &list->items[i];
        _cleanup_free_ char *path = string_duplicate(issue->field);
        const Position *position = NULL;
        do
            position = string_map_get(positions, path);
        while (!position && path_parent(path));
        if (position) {
            issue->line = position->line;
            issue->column = position->column;
        }
    }
}
