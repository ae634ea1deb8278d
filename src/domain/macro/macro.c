/* SPDX-License-Identifier: Apache-2.0 */
#include "domain/macro/macro.h"

#include <ctype.h>
#include <errno.h>

static const char *const address_types[_ADDRESS_TYPE_MAX] = {
    [ADDRESS_ACCESS_V4] = "access_v4",
    [ADDRESS_BIND_V4] = "bind_v4",
    [ADDRESS_ACCESS_V6] = "access_v6",
    [ADDRESS_BIND_V6] = "bind_v6",
};

const char *address_type_to_string(AddressType type)
{
    return type >= 0 && type < _ADDRESS_TYPE_MAX ? address_types[type] : NULL;
}

AddressType address_type_from_string(const char *text)
{
    for (AddressType type = 0; type < _ADDRESS_TYPE_MAX; type++)
        if (string_equal(address_types[type], text))
            return type;
    return _ADDRESS_TYPE_INVALID;
}

typedef struct Parser {
    Arena *arena;
    const char *text; /* the whole value */
    size_t position;
    Error *error;
} Parser;

static int fail(Parser *parser, size_t position, const char *format, ...) _printf_(3, 4);

static int fail(Parser *parser, size_t position, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    (void)error_set_v(parser->error, ERROR_BAD_MACRO, format, arguments);
    va_end(arguments);
    if (parser->error && parser->error->column == 0)
        parser->error->column = (unsigned)position + 1;
    return -EINVAL;
}

static char peek(const Parser *parser)
{
    return parser->text[parser->position];
}

static bool accept(Parser *parser, const char *word)
{
    if (!string_starts_with(parser->text + parser->position, word))
        return false;
    parser->position += strlen(word);
    return true;
}

static void skip_spaces(Parser *parser)
{
    while (peek(parser) == ' ')
        parser->position++;
}

static bool is_name_character(char c)
{
    return isalnum((unsigned char)c) || c == '_' || c == '.' || c == '-';
}

static int parse_name(Parser *parser, const char *what, const char **ret_name)
{
    size_t start = parser->position;
    while (is_name_character(peek(parser)))
        parser->position++;
    size_t length = parser->position - start;
    if (length == 0)
        return fail(parser, start, "a %s is missing", what);
    if (length > MACRO_NAME_LIMIT)
        return fail(parser, start, "the %s is longer than %d characters", what, MACRO_NAME_LIMIT);
    *ret_name = arena_string_n(parser->arena, parser->text + start, length);
    return 0;
}

static int parse_index(Parser *parser, Macro *macro)
{
    if (!accept(parser, "["))
        return 0;
    size_t start = parser->position;
    int64_t index = 0;
    while (isdigit((unsigned char)peek(parser)) && index <= MACRO_INDEX_LIMIT)
        index = index * 10 + (parser->text[parser->position++] - '0');
    if (parser->position == start)
        return fail(parser, start, "an index in brackets must be a number, counted from 0");
    if (index > MACRO_INDEX_LIMIT)
        return fail(parser, start, "the index is larger than %d", MACRO_INDEX_LIMIT);
    if (!accept(parser, "]"))
        return fail(parser, parser->position, "the index must end with ']'");
    macro->index = index;
    return 0;
}

/* After "host." or "ip.[T.]": "self" or "service.S[i]". */
static int parse_subject(Parser *parser, Macro *macro)
{
    if (accept(parser, "service.")) {
        int r = parse_name(parser, "service name", &macro->service);
        return r < 0 ? r : parse_index(parser, macro);
    }
    size_t start = parser->position;
    if (accept(parser, "self") && !is_name_character(peek(parser)))
        return 0;
    return fail(parser, start, "expected 'self' or 'service.<name>'");
}

static int parse_address(Parser *parser, Macro *macro)
{
    macro->kind = MACRO_ADDRESS;
    macro->address_type = ADDRESS_BIND_V4;
    size_t start = parser->position, end = start;
    while (isalnum((unsigned char)parser->text[end]) || parser->text[end] == '_')
        end++;
    _cleanup_free_ char *word = string_duplicate_n(parser->text + start, end - start);
    if (!string_equal(word, "self") && !string_equal(word, "service")) {
        macro->address_type = address_type_from_string(word);
        if (macro->address_type == _ADDRESS_TYPE_INVALID)
            return fail(parser, start,
                        "'%.40s' is no address type; they are access_v4, bind_v4, access_v6 and bind_v6",
                        word);
        if (parser->text[end] != '.')
            return fail(parser, end, "expected '.self' or '.service.<name>'");
        parser->position = end + 1;
    }
    return parse_subject(parser, macro);
}

static int parse_cluster(Parser *parser, Macro *macro)
{
    static const struct {
        const char *name;
        MacroKind kind;
    } members[] = {{"name", MACRO_CLUSTER_NAME}, {"id", MACRO_CLUSTER_ID}, {"owner", MACRO_CLUSTER_OWNER}};
    size_t start = parser->position;
    const char *name;
    int r = parse_name(parser, "name after 'cluster.'", &name);
    if (r < 0)
        return r;
    for (size_t i = 0; i < ELEMENTSOF(members); i++)
        if (string_equal(members[i].name, name)) {
            macro->kind = members[i].kind;
            return 0;
        }
    return fail(parser, start,
                "'cluster.%.40s' is not known; there are cluster.name, cluster.id and cluster.owner", name);
}

/* host, ip: what join and map take. */
static int parse_list(Parser *parser, Macro *macro)
{
    if (accept(parser, "host.")) {
        macro->kind = MACRO_HOST;
        return parse_subject(parser, macro);
    }
    if (accept(parser, "ip."))
        return parse_address(parser, macro);
    return fail(parser, parser->position, "expected a macro that begins with 'host.' or 'ip.'");
}

static int parse_quoted(Parser *parser, const char *what, const char **ret_text)
{
    char quote = peek(parser);
    if (quote != '\'' && quote != '"')
        return fail(parser, parser->position, "the %s must stand in quotes", what);
    size_t start = ++parser->position;
    while (peek(parser) && peek(parser) != quote)
        parser->position++;
    if (!peek(parser))
        return fail(parser, start - 1, "the quote is not closed");
    *ret_text = arena_string_n(parser->arena, parser->text + start, parser->position - start);
    parser->position++;
    return 0;
}

static int parse_map(Parser *parser, Macro *macro)
{
    skip_spaces(parser);
    int r = parse_list(parser, macro);
    if (r < 0)
        return r;
    skip_spaces(parser);
    if (!accept(parser, ","))
        return fail(parser, parser->position, "map needs a comma and a format in quotes");
    skip_spaces(parser);
    r = parse_quoted(parser, "format", &macro->format);
    if (r < 0)
        return r;
    skip_spaces(parser);
    return accept(parser, ")") ? 0 : fail(parser, parser->position, "map must end with ')'");
}

static int parse_join(Parser *parser, Macro *macro)
{
    macro->is_joined = true;
    skip_spaces(parser);
    int r = accept(parser, "map(") ? parse_map(parser, macro) : parse_list(parser, macro);
    if (r < 0)
        return r;
    skip_spaces(parser);
    if (accept(parser, ",")) {
        skip_spaces(parser);
        r = parse_quoted(parser, "delimiter", &macro->delimiter);
        if (r < 0)
            return r;
        skip_spaces(parser);
    }
    return accept(parser, ")") ? 0 : fail(parser, parser->position, "join must end with ')'");
}

static int parse_expression(Parser *parser, Macro *macro)
{
    *macro = (Macro){.index = -1, .delimiter = ","};
    if (accept(parser, "join("))
        return parse_join(parser, macro);
    if (accept(parser, "map("))
        return parse_map(parser, macro);
    if (accept(parser, "cluster."))
        return parse_cluster(parser, macro);
    if (accept(parser, "num.service.")) {
        macro->kind = MACRO_COUNT;
        return parse_name(parser, "service name", &macro->service);
    }
    if (accept(parser, "instance.self.service.")) {
        macro->kind = MACRO_INSTANCE;
        return parse_name(parser, "service name", &macro->service);
    }
    if (accept(parser, "secret.")) {
        macro->kind = MACRO_SECRET;
        return parse_name(parser, "name of a secret", &macro->secret);
    }
    if (string_starts_with(parser->text + parser->position, "host.") ||
        string_starts_with(parser->text + parser->position, "ip."))
        return parse_list(parser, macro);
    return fail(parser, parser->position,
                "this is no macro that is known; a percent sign as such is written %%%%");
}

int macro_parse_expression(Arena *arena, const char *expression, Macro *ret_macro, Error *error)
{
    Parser parser = {.arena = arena, .text = expression, .error = error};
    if (strlen(expression) > MACRO_TEXT_LIMIT)
        return fail(&parser, 0, "the macro is too long");
    int r = parse_expression(&parser, ret_macro);
    if (r < 0)
        return r;
    if (peek(&parser))
        return fail(&parser, parser.position, "unexpected text after the macro");
    return 0;
}

/* Whether the percent sign at `position` begins something that must be a macro: a word followed by one of ".
 * ( [ %". Words that are not known count only when a percent sign closes them without a space between, so
 * that formats such as
 * "%H:%M" stay text. */
static bool begins_macro(const char *text)
{
    static const char *const heads[] = {"cluster", "host", "ip", "num", "instance", "secret", "join", "map"};
    size_t length = 0;
    while (isalpha((unsigned char)text[length]) || text[length] == '_')
        length++;
    if (length == 0 || !text[length] || !strchr(".([%", text[length]))
        return false;
    for (size_t i = 0; i < ELEMENTSOF(heads); i++)
        if (strlen(heads[i]) == length && strncmp(heads[i], text, length) == 0)
            return true;
    size_t end = strcspn(text, "% \t\r\n");
    return text[end] == '%';
}

static void add_literal(Parser *parser, Buffer *literal, MacroText *text)
{
    if (literal->size == 0)
        return;
    text->parts[text->count++] = (MacroPart){.literal = arena_string(parser->arena, buffer_string(literal))};
    buffer_clear(literal);
}

static int parse_part(Parser *parser, MacroText *text)
{
    size_t start = parser->position++;
    MacroPart part = {.column = (unsigned)start + 1};
    int r = parse_expression(parser, &part.macro);
    if (r < 0)
        return r;
    if (!accept(parser, "%"))
        return peek(parser) ? fail(parser, parser->position, "unexpected text inside the macro")
                            : fail(parser, start, "the macro is not closed by a percent sign");
    part.text = arena_string_n(parser->arena, parser->text + start, parser->position - start);
    if (part.macro.kind == MACRO_SECRET && (start > 0 || peek(parser)))
        return fail(parser, start, "a secret must be the whole value, without text around it");
    text->parts[text->count++] = part;
    return 0;
}

int macro_parse(Arena *arena, const char *value, MacroText *ret_text, Error *error)
{
    Parser parser = {.arena = arena, .text = value, .error = error};
    if (strlen(value) > MACRO_TEXT_LIMIT)
        return fail(&parser, 0, "the value is longer than %d bytes", MACRO_TEXT_LIMIT);
    size_t percents = 0;
    for (const char *p = value; *p; p++)
        percents += *p == '%';
    MacroText text = {.parts = arena_allocate_array(arena, percents + 1, sizeof(MacroPart))};
    _cleanup_buffer_ Buffer literal = BUFFER_INIT;
    while (peek(&parser)) {
        const char *here = value + parser.position;
        if (here[0] == '%' && here[1] != '%' && begins_macro(here + 1)) {
            add_literal(&parser, &literal, &text);
            int r = parse_part(&parser, &text);
            if (r < 0)
                return r;
            continue;
        }
        size_t length = here[0] == '%' ? (here[1] == '%' ? 2 : 1) : strcspn(here, "%");
        if (buffer_append(&literal, here, length) < 0)
            return fail(&parser, parser.position, "the value is too long");
        parser.position += length;
    }
    add_literal(&parser, &literal, &text);
    *ret_text = text;
    return 0;
}

typedef struct Walk {
    Arena *arena;
    MacroVisit visit;
    MacroVisitError visit_error;
    void *context;
    Error *error;
} Walk;

static int walk_string(Walk *walk, const json_t *value, const char *path)
{
    if (!strchr(json_string_value(value), '%'))
        return 0;
    MacroText text;
    Error error = ERROR_INIT;
    int r = macro_parse(walk->arena, json_string_value(value), &text, &error);
    if (r < 0 && walk->visit_error) {
        walk->visit_error(walk->context, path, &error);
        return 0;
    }
    if (r < 0) {
        r = error_set_field(walk->error, ERROR_BAD_MACRO, path, "%s: %s", path, error.text);
        if (walk->error)
            walk->error->column = error.column;
        return r;
    }
    return walk->visit ? walk->visit(walk->context, path, &text, walk->error) : 0;
}

static int walk_value(Walk *walk, const json_t *value, const char *path, unsigned depth)
{
    if (depth > JSON_DEPTH_LIMIT)
        return error_set_field(walk->error, ERROR_TOO_LARGE, path, "%s is nested too deeply", path);
    if (json_is_string(value))
        return walk_string(walk, value, path);
    if (json_is_array(value)) {
        size_t i;
        json_t *item;
        json_array_foreach (value, i, item) {
            int r = walk_value(walk, item, arena_format(walk->arena, "%s[%zu]", path, i), depth + 1);
            if (r < 0)
                return r;
        }
        return 0;
    }
    if (!json_is_object(value))
        return 0;
    const char *name;
    json_t *member;
    json_object_foreach ((json_t *)(uintptr_t)value, name, member) {
        const char *child = *path ? arena_format(walk->arena, "%s.%s", path, name) : name;
        int r = walk_value(walk, member, child, depth + 1);
        if (r < 0)
            return r;
    }
    return 0;
}

int macro_walk(Arena *arena, const json_t *value, const char *path, MacroVisit visit,
               MacroVisitError visit_error, void *context, Error *error)
{
    Walk walk = {arena, visit, visit_error, context, error};
    return walk_value(&walk, value, path, 0);
}

static void add_once(StringList *list, const char *text)
{
    if (!string_list_contains(list, text))
        string_list_append(list, text);
}

static int collect(void *context, const char *path, const MacroText *text, Error *error)
{
    MacroReferences *references = context;
    for (size_t i = 0; i < text->count; i++) {
        const MacroPart *part = &text->parts[i];
        if (part->literal)
            continue;
        const Macro *macro = &part->macro;
        if (macro->service)
            add_once(&references->services, macro->service);
        if (macro->kind == MACRO_ADDRESS && macro->service)
            add_once(&references->address_services, macro->service);
        else if (macro->kind == MACRO_ADDRESS)
            references->needs_own_address = true;
        else if (macro->kind == MACRO_HOST && macro->service)
            add_once(&references->host_services, macro->service);
        else if (macro->kind == MACRO_SECRET)
            add_once(&references->secrets, macro->secret);
    }
    return 0;
}

void macro_references_done(MacroReferences *references)
{
    string_list_done(&references->services);
    string_list_done(&references->address_services);
    string_list_done(&references->host_services);
    string_list_done(&references->secrets);
}

int macro_references(const json_t *config, MacroReferences *ret_references, Error *error)
{
    _cleanup_macro_references_ MacroReferences references = {0};
    _cleanup_arena_ Arena *arena = arena_new();
    int r = macro_walk(arena, config, "", collect, NULL, &references, error);
    if (r < 0)
        return r;
    string_list_sort(&references.services);
    string_list_sort(&references.address_services);
    string_list_sort(&references.host_services);
    string_list_sort(&references.secrets);
    *ret_references = references;
    references = (MacroReferences){0};
    return 0;
}
