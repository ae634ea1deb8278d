/* SPDX-License-Identifier: Apache-2.0 */
#include "base/yaml.h"

#include <errno.h>
#include <limits.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <yaml.h>

#include "base/string.h"

/* ---- scalars of the YAML 1.2 core schema -------------------------------------------------------------- */

static bool is_one_of(const char *text, const char *const *words)
{
    for (; *words; words++)
        if (string_equal(text, *words))
            return true;
    return false;
}

static const char *const null_words[] = {"", "~", "null", "Null", "NULL", NULL};
static const char *const true_words[] = {"true", "True", "TRUE", NULL};
static const char *const false_words[] = {"false", "False", "FALSE", NULL};
static const char *const unreal_words[] = {".inf",  ".Inf",  ".INF", "+.inf", "+.Inf", "+.INF", "-.inf",
                                           "-.Inf", "-.INF", ".nan", ".NaN",  ".NAN",  NULL};

/* Digits of the base only; -EINVAL when it is no such number, -ERANGE when it is and does not fit. */
static int parse_integer_of_base(const char *text, const char *digits, uint64_t base, json_int_t *ret_value)
{
    uint64_t value = 0;
    if (!*text || text[strspn(text, digits)])
        return -EINVAL;
    for (; *text; text++) {
        char lower = *text >= 'A' && *text <= 'F' ? (char)(*text + 'a' - 'A') : *text;
        uint64_t digit = (uint64_t)(lower >= 'a' ? lower - 'a' + 10 : lower - '0');
        if (__builtin_mul_overflow(value, base, &value) || __builtin_add_overflow(value, digit, &value) ||
            value > INT64_MAX)
            return -ERANGE;
    }
    *ret_value = (json_int_t)value;
    return 0;
}

static int parse_integer(const char *text, json_int_t *ret_value)
{
    if (string_starts_with(text, "0x"))
        return parse_integer_of_base(text + 2, "0123456789abcdefABCDEF", 16, ret_value);
    if (string_starts_with(text, "0o"))
        return parse_integer_of_base(text + 2, "01234567", 8, ret_value);
    int64_t value = 0;
    if (text[0] == '+' && text[1] == '-')
        return -EINVAL;
    int r = string_to_i64(text + (*text == '+'), INT64_MIN, INT64_MAX, &value);
    if (r >= 0)
        *ret_value = value;
    return r;
}

/* [-+]? ( \. [0-9]+ | [0-9]+ ( \. [0-9]* )? ) ( [eE] [-+]? [0-9]+ )? */
static bool looks_real(const char *text)
{
    const char *digits = "0123456789";
    text += *text == '-' || *text == '+';
    size_t before = strspn(text, digits);
    text += before;
    if (*text == '.') {
        size_t after = strspn(++text, digits);
        if (before + after == 0)
            return false;
        text += after;
    } else if (before == 0)
        return false;
    if (*text == 'e' || *text == 'E') {
        text++;
        text += *text == '-' || *text == '+';
        size_t exponent = strspn(text, digits);
        if (exponent == 0)
            return false;
        text += exponent;
    }
    return *text == 0;
}

/* The value of a plain scalar: -ENOENT when it is a string, -ERANGE for a number that JSON cannot hold. */
static int resolve_plain(const char *text, json_t **ret_value)
{
    if (is_one_of(text, null_words))
        *ret_value = json_null();
    else if (is_one_of(text, true_words))
        *ret_value = json_true();
    else if (is_one_of(text, false_words))
        *ret_value = json_false();
    else if (is_one_of(text, unreal_words))
        return -ERANGE;
    else {
        json_int_t integer = 0;
        int r = parse_integer(text, &integer);
        if (r == -ERANGE)
            return r;
        if (r < 0 && !looks_real(text))
            return -ENOENT;
        if (r >= 0)
            *ret_value = json_integer(integer);
        else {
            double real = strtod(text, NULL);
            if (!isfinite(real))
                return -ERANGE;
            *ret_value = json_real(real);
        }
    }
    return 0;
}

/* ---- parsing --------------------------------------------------------------------------------------------
 */

typedef struct Level {
    json_t *container; /* borrowed from the level above */
    char *key;         /* owned; of a mapping, when its value comes next */
} Level;

typedef struct Builder {
    json_t *root; /* owned */
    Level levels[JSON_DEPTH_LIMIT];
    unsigned depth;
    Error *error;
} Builder;

static void builder_done(Builder *builder)
{
    while (builder->depth > 0)
        free(builder->levels[--builder->depth].key);
    json_decref(builder->root);
}

static void parser_done(yaml_parser_t *parser)
{
    yaml_parser_delete(parser);
}

static void event_done(yaml_event_t *event)
{
    yaml_event_delete(event);
}

static unsigned to_place(size_t zero_based)
{
    return zero_based < UINT_MAX ? (unsigned)zero_based + 1 : UINT_MAX;
}

_printf_(3, 4) static int fail_at(Error *error, yaml_mark_t mark, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    int r = error_set_v(error, ERROR_BAD_DOCUMENT, format, arguments);
    va_end(arguments);
    if (error && error->line == 0) {
        error->line = to_place(mark.line);
        error->column = to_place(mark.column);
    }
    return r;
}

/* Takes the value over and hangs it where the document is. */
static int add_value(Builder *builder, yaml_mark_t mark, json_t *value)
{
    ASSERT(value);
    if (builder->depth == 0) {
        builder->root = value;
        return 0;
    }
    Level *level = &builder->levels[builder->depth - 1];
    if (json_is_array(level->container)) {
        ASSERT(json_array_append_new(level->container, value) == 0);
        return 0;
    }
    if (!level->key) {
        json_decref(value);
        return fail_at(builder->error, mark, "a key must be a scalar");
    }
    int r = json_object_set_new(level->container, level->key, value);
    ASSERT(r == 0);
    free(TAKE_PTR(level->key));
    return 0;
}

static int add_key(Builder *builder, const yaml_event_t *event)
{
    Level *level = &builder->levels[builder->depth - 1];
    const char *text = (const char *)event->data.scalar.value;
    bool is_plain = event->data.scalar.style == YAML_PLAIN_SCALAR_STYLE;
    if (is_plain && string_equal(text, "<<"))
        return fail_at(builder->error, event->start_mark, "merge keys ('<<') are not taken");
    if (json_object_get(level->container, text))
        return fail_at(builder->error, event->start_mark, "the key is there twice in one mapping");
    level->key = string_duplicate(text);
    return 0;
}

static int add_scalar(Builder *builder, const yaml_event_t *event)
{
    const char *text = (const char *)event->data.scalar.value;
    size_t length = event->data.scalar.length;
    if (event->data.scalar.tag)
        return fail_at(builder->error, event->start_mark, "tags ('!') are not taken");
    if (memchr(text, 0, length) || !utf8_is_valid(text, length))
        return fail_at(builder->error, event->start_mark, "a string has a NUL or is not UTF-8");
    const Level *level = builder->depth > 0 ? &builder->levels[builder->depth - 1] : NULL;
    if (level && json_is_object(level->container) && !level->key)
        return add_key(builder, event);
    json_t *value = NULL;
    int r = event->data.scalar.style == YAML_PLAIN_SCALAR_STYLE ? resolve_plain(text, &value) : -ENOENT;
    if (r == -ERANGE)
        return fail_at(builder->error, event->start_mark,
                       "the number is out of range; quote it if it is a string");
    if (r < 0)
        value = json_stringn(text, length);
    return add_value(builder, event->start_mark, value);
}

static int open_container(Builder *builder, const yaml_event_t *event, const yaml_char_t *tag,
                          json_t *container)
{
    if (tag || builder->depth >= JSON_DEPTH_LIMIT) {
        json_decref(container);
        return tag ? fail_at(builder->error, event->start_mark, "tags ('!') are not taken")
                   : fail_at(builder->error, event->start_mark,
                             "the document is nested deeper than %d levels", JSON_DEPTH_LIMIT);
    }
    int r = add_value(builder, event->start_mark, container);
    if (r >= 0)
        builder->levels[builder->depth++] = (Level){.container = container};
    return r;
}

static const yaml_char_t *event_anchor(const yaml_event_t *event)
{
    if (event->type == YAML_SCALAR_EVENT)
        return event->data.scalar.anchor;
    if (event->type == YAML_SEQUENCE_START_EVENT)
        return event->data.sequence_start.anchor;
    return event->type == YAML_MAPPING_START_EVENT ? event->data.mapping_start.anchor : NULL;
}

static int handle_event(Builder *builder, const yaml_event_t *event)
{
    if (event->type == YAML_ALIAS_EVENT || event_anchor(event))
        return fail_at(builder->error, event->start_mark, "anchors ('&') and aliases ('*') are not taken");
    switch (event->type) {
    case YAML_DOCUMENT_START_EVENT:
        if (builder->root)
            return fail_at(builder->error, event->start_mark, "there is more than one document");
        if (event->data.document_start.version_directive ||
            event->data.document_start.tag_directives.start != event->data.document_start.tag_directives.end)
            return fail_at(builder->error, event->start_mark, "directives ('%%') are not taken");
        return 0;
    case YAML_SCALAR_EVENT:
        return add_scalar(builder, event);
    case YAML_SEQUENCE_START_EVENT:
        return open_container(builder, event, event->data.sequence_start.tag, json_array());
    case YAML_MAPPING_START_EVENT:
        return open_container(builder, event, event->data.mapping_start.tag, json_object());
    case YAML_SEQUENCE_END_EVENT:
    case YAML_MAPPING_END_EVENT:
        builder->depth--;
        return 0;
    case YAML_NO_EVENT:
    case YAML_ALIAS_EVENT:
    case YAML_STREAM_START_EVENT:
    case YAML_STREAM_END_EVENT:
    case YAML_DOCUMENT_END_EVENT:
        return 0;
    }
    return 0;
}

static int fail_syntax(const yaml_parser_t *parser, Error *error)
{
    if (parser->error == YAML_MEMORY_ERROR)
        return error_set(error, ERROR_INTERNAL, "there is no memory for the document");
    /* Texts of libyaml are fixed and never quote the document. Its reader knows only an offset. */
    const char *problem = parser->problem ? parser->problem : "malformed";
    yaml_mark_t mark = parser->error == YAML_READER_ERROR ? parser->mark : parser->problem_mark;
    return fail_at(error, mark, "not valid YAML: %s%s%s", parser->context ? parser->context : "",
                   parser->context ? ", " : "", problem);
}

int yaml_parse(const char *text, size_t size, size_t limit, json_t **ret_value, Error *error)
{
    if (size > limit)
        return error_set(error, ERROR_TOO_LARGE, "the document has %zu bytes, more than the limit of %zu",
                         size, limit);
    _cleanup_(parser_done) yaml_parser_t parser;
    ASSERT(yaml_parser_initialize(&parser));
    yaml_parser_set_encoding(&parser, YAML_UTF8_ENCODING);
    yaml_parser_set_input_string(&parser, (const unsigned char *)text, size);
    _cleanup_(builder_done) Builder builder = {.error = error};
    for (bool is_at_end = false; !is_at_end;) {
        _cleanup_(event_done) yaml_event_t event = {0};
        if (!yaml_parser_parse(&parser, &event))
            return fail_syntax(&parser, error);
        int r = handle_event(&builder, &event);
        if (r < 0)
            return r;
        is_at_end = event.type == YAML_STREAM_END_EVENT;
    }
    if (!builder.root)
        return error_set(error, ERROR_BAD_DOCUMENT, "the document is empty");
    *ret_value = TAKE_PTR(builder.root);
    return 0;
}

/* ---- writing --------------------------------------------------------------------------------------------
 */

static void emit(yaml_emitter_t *emitter, yaml_event_t *event, int is_made)
{
    ASSERT(is_made);
    ASSERT(yaml_emitter_emit(emitter, event)); /* takes the event over */
}

/* Literal blocks only for text that cannot be misread: no indentation at its start, no blanks at ends of
 * lines, no control characters. */
static bool fits_literal(const char *text, size_t length)
{
    if (!strchr(text, '\n') || strchr(" \t\n", text[0]) || string_has_control(text, length, "\n"))
        return false;
    for (const char *p = text; *p; p++) {
        bool is_blank = *p == ' ' || *p == '\n';
        if (is_blank && p[1] == 0 && !(*p == '\n' && p[-1] != '\n'))
            return false;
        if (*p == ' ' && p[1] == '\n')
            return false;
    }
    /* Line separators of Unicode, the byte order mark. */
    return !strstr(text, "\xc2\x85") && !strstr(text, "\xe2\x80\xa8") && !strstr(text, "\xe2\x80\xa9") &&
           !strstr(text, "\xef\xbb\xbf");
}

static void emit_scalar(yaml_emitter_t *emitter, const char *text, size_t length, yaml_scalar_style_t style)
{
    yaml_event_t event;
    ASSERT(length <= INT_MAX);
    emit(emitter, &event,
         yaml_scalar_event_initialize(&event, NULL, NULL, (const yaml_char_t *)text, (int)length, 1, 1,
                                      style));
}

static void emit_string(yaml_emitter_t *emitter, const char *text, size_t length, bool is_key)
{
    yaml_scalar_style_t style = YAML_DOUBLE_QUOTED_SCALAR_STYLE;
    json_t *other = NULL;
    if (!is_key && fits_literal(text, length))
        style = YAML_LITERAL_SCALAR_STYLE;
    else if (strspn(text, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_./%@+=- ") ==
                 length &&
             length > 0 && !strchr("%@=- ", text[0]) && text[length - 1] != ' ' &&
             resolve_plain(text, &other) == -ENOENT)
        style = YAML_PLAIN_SCALAR_STYLE;
    json_decref(other);
    emit_scalar(emitter, text, length, style);
}

static void emit_value(yaml_emitter_t *emitter, const json_t *value, unsigned depth);

static void emit_object(yaml_emitter_t *emitter, const json_t *value, unsigned depth)
{
    yaml_event_t event;
    yaml_mapping_style_t style = json_object_size(value) ? YAML_BLOCK_MAPPING_STYLE : YAML_FLOW_MAPPING_STYLE;
    emit(emitter, &event, yaml_mapping_start_event_initialize(&event, NULL, NULL, 1, style));
    json_t *object = json_incref((json_t *)(uintptr_t)value); /* jansson's iterators want it writable */
    for (void *i = json_object_iter(object); i; i = json_object_iter_next(object, i)) {
        const char *key = json_object_iter_key(i);
        emit_string(emitter, key, strlen(key), true);
        emit_value(emitter, json_object_iter_value(i), depth + 1);
    }
    json_decref(object);
    emit(emitter, &event, yaml_mapping_end_event_initialize(&event));
}

static void emit_array(yaml_emitter_t *emitter, const json_t *value, unsigned depth)
{
    yaml_event_t event;
    yaml_sequence_style_t style =
        json_array_size(value) ? YAML_BLOCK_SEQUENCE_STYLE : YAML_FLOW_SEQUENCE_STYLE;
    emit(emitter, &event, yaml_sequence_start_event_initialize(&event, NULL, NULL, 1, style));
    for (size_t i = 0; i < json_array_size(value); i++)
        emit_value(emitter, json_array_get(value, i), depth + 1);
    emit(emitter, &event, yaml_sequence_end_event_initialize(&event));
}

static void emit_value(yaml_emitter_t *emitter, const json_t *value, unsigned depth)
{
    ASSERT(depth < 2048); /* as deep as jansson parses; also catches loops */
    if (json_is_object(value))
        emit_object(emitter, value, depth);
    else if (json_is_array(value))
        emit_array(emitter, value, depth);
    else if (json_is_string(value))
        emit_string(emitter, json_string_value(value), json_string_length(value), false);
    else {
        _cleanup_free_ char *text = json_to_text(value); /* null, true, 12, 0.5 are the same in YAML */
        emit_scalar(emitter, text, strlen(text), YAML_PLAIN_SCALAR_STYLE);
    }
}

static int write_output(void *context, unsigned char *data, size_t size)
{
    return buffer_append(context, data, size) >= 0;
}

char *yaml_from_json(const json_t *value)
{
    _cleanup_buffer_ Buffer buffer = BUFFER_INIT_LIMIT(SIZE_MAX / 4);
    yaml_emitter_t emitter;
    yaml_event_t event;
    ASSERT(yaml_emitter_initialize(&emitter));
    yaml_emitter_set_output(&emitter, write_output, &buffer);
    yaml_emitter_set_unicode(&emitter, 1);
    yaml_emitter_set_width(&emitter, -1);
    emit(&emitter, &event, yaml_stream_start_event_initialize(&event, YAML_UTF8_ENCODING));
    emit(&emitter, &event, yaml_document_start_event_initialize(&event, NULL, NULL, NULL, 1));
    emit_value(&emitter, value, 0);
    emit(&emitter, &event, yaml_document_end_event_initialize(&event, 1));
    emit(&emitter, &event, yaml_stream_end_event_initialize(&event));
    yaml_emitter_delete(&emitter);
    return buffer_take_string(&buffer);
}
