/* SPDX-License-Identifier: Apache-2.0 */
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "base/memory.h"
#include "base/options.h"
#include "base/options_internal.h"
#include "base/string.h"

enum { WIDTH_DEFAULT = 80, WIDTH_LEAST = 50, WIDTH_MOST = 110, COLUMN_MOST = 34 };

/* Where help goes and how it may look there. */
typedef struct Page {
    FILE *stream;
    bool is_terminal;
    int width;
} Page;

static Page page_for(FILE *stream)
{
    Page page = {.stream = stream, .width = WIDTH_DEFAULT};
    int descriptor = fileno(stream);
    const char *terminal = getenv("TERM");
    page.is_terminal = descriptor >= 0 && isatty(descriptor) && terminal && !string_equal(terminal, "dumb");
    struct winsize size;
    if (page.is_terminal && ioctl(descriptor, TIOCGWINSZ, &size) == 0 && size.ws_col > 0)
        page.width = MIN(MAX((int)size.ws_col, (int)WIDTH_LEAST), (int)WIDTH_MOST);
    return page;
}

static void print_heading(const Page *page, const char *text)
{
    (void)fprintf(page->stream, page->is_terminal ? "\n\033[1m%s\033[0m\n" : "\n%s\n", text);
}

/* Words from the column on, wrapped; the cursor stands at the column already. */
static void print_wrapped(const Page *page, int column, const char *text)
{
    int position = column;
    while (*(text += strspn(text, " \n"))) {
        int length = (int)strcspn(text, " \n");
        if (position > column && position + 1 + length > page->width) {
            (void)fprintf(page->stream, "\n%*s", column, "");
            position = column;
        } else if (position > column) {
            (void)fputc(' ', page->stream);
            position++;
        }
        (void)fprintf(page->stream, "%.*s", length, text);
        position += length;
        text += length;
    }
    (void)fputc('\n', page->stream);
}

static void print_row(const Page *page, int column, const char *left, const char *right)
{
    int length = (int)strlen(left);
    (void)fprintf(page->stream, "  %s", left);
    if (length + 4 > column)
        (void)fprintf(page->stream, "\n%*s", column, "");
    else
        (void)fprintf(page->stream, "%*s", column - length - 2, "");
    print_wrapped(page, column, right ? right : "");
}

/* "-o, --output FORMAT" */
static char *option_left(const Option *option)
{
    const char letter[] = {'-', option->letter, ',', ' ', 0};
    return string_format("%s--%s%s%s%s", option->letter ? letter : "    ", option->name,
                         option->argument ? " " : "", option->argument ? option->argument : "",
                         option->is_repeatable ? " ..." : "");
}

static int column_for(int longest)
{
    return MIN(longest + 4, (int)COLUMN_MOST);
}

static void print_options(const Page *page, const char *heading, const Option *options, bool with_built_in)
{
    static const Option built_in[] = {{.name = "help", .letter = 'h', .help = "show this help"},
                                      {.name = "version", .help = "show the version"},
                                      {.name = NULL}};
    const Option *const tables[] = {options, with_built_in ? built_in : NULL};
    int longest = 0;
    for (size_t i = 0; i < ELEMENTSOF(tables); i++)
        for (const Option *option = tables[i]; option && option->name; option++) {
            _cleanup_free_ char *left = option_left(option);
            longest = MAX(longest, (int)strlen(left));
        }
    if (longest == 0)
        return;
    print_heading(page, heading);
    for (size_t i = 0; i < ELEMENTSOF(tables); i++)
        for (const Option *option = tables[i]; option && option->name; option++) {
            _cleanup_free_ char *left = option_left(option);
            print_row(page, column_for(longest), left, option->help);
        }
}

static char *verb_left(const Verb *verb)
{
    return string_format("%s%s%s", verb->name, string_is_empty(verb->arguments) ? "" : " ",
                         string_is_empty(verb->arguments) ? "" : verb->arguments);
}

/* All verbs, or those of one group. */
static void print_verbs(const Page *page, const Program *program, const char *group)
{
    int longest = 0;
    for (const Verb *verb = program->verbs; verb->name; verb++) {
        _cleanup_free_ char *left = verb_left(verb);
        if (!group || verb_is_in_group(verb, group, strlen(group)))
            longest = MAX(longest, (int)strlen(left));
    }
    print_heading(page, "Commands");
    for (const Verb *verb = program->verbs; verb->name; verb++) {
        _cleanup_free_ char *left = verb_left(verb);
        if (!group || verb_is_in_group(verb, group, strlen(group)))
            print_row(page, column_for(longest), left, verb->help);
    }
}

static void print_usage(const Page *page, const Program *program, const char *words, const char *arguments)
{
    (void)fprintf(page->stream, "Usage: %s%s%s [OPTION...]%s%s\n", program->name,
                  string_is_empty(words) ? "" : " ", words, string_is_empty(arguments) ? "" : " ",
                  string_is_empty(arguments) ? "" : arguments);
}

static void print_paragraph(const Page *page, const char *text)
{
    if (string_is_empty(text))
        return;
    (void)fputc('\n', page->stream);
    print_wrapped(page, 0, text);
}

/* Paragraphs are separated by empty lines; those that are indented are examples and keep their lines. */
static void print_paragraphs(const Page *page, const char *text)
{
    while (text && *(text += strspn(text, "\n"))) {
        const char *end = strstr(text, "\n\n");
        size_t length = end ? (size_t)(end - text) : strlen(text);
        _cleanup_free_ char *paragraph = string_duplicate_n(text, length);
        if (paragraph[0] == ' ')
            (void)fprintf(page->stream, "\n%s\n", paragraph);
        else
            print_paragraph(page, paragraph);
        text += length;
    }
}

void program_print_help(const Program *program, const Verb *verb, FILE *stream)
{
    Page page = page_for(stream);
    bool has_verbs = program->verbs[0].name && program->verbs[0].name[0];
    if (!verb && !has_verbs)
        verb = &program->verbs[0];
    if (!verb) {
        print_usage(&page, program, "", "COMMAND ...");
        print_paragraph(&page, program->summary);
        print_verbs(&page, program, NULL);
        print_options(&page, "Options", program->global_options, true);
        return;
    }
    print_usage(&page, program, verb->name, verb->arguments);
    print_paragraph(&page, verb->name[0] ? verb->help : program->summary);
    print_paragraphs(&page, verb->description);
    bool has_own = verb->options && verb->options->name;
    if (has_own)
        print_options(&page, "Options", verb->options, false);
    print_options(&page, has_own ? "General options" : "Options", program->global_options, true);
}

void program_print_group_help(const Program *program, const char *group, FILE *stream)
{
    Page page = page_for(stream);
    print_usage(&page, program, group, "COMMAND ...");
    print_verbs(&page, program, group);
    print_options(&page, "Options", program->global_options, true);
    (void)fprintf(stream, "\n'%s %s COMMAND --help' shows the options of a command.\n", program->name, group);
}

/* ---- roff -----------------------------------------------------------------------------------------------
 */

/* Text in which no character means anything to roff. is_line_start: nothing stands before it on its line. */
static void put_text(FILE *stream, const char *text, size_t length, bool is_line_start)
{
    for (size_t i = 0; i < length; i++) {
        char c = text[i];
        if (is_line_start && (c == '.' || c == '\''))
            (void)fputs("\\&", stream);
        if (c == '\\')
            (void)fputs("\\e", stream);
        else if (c == '-')
            (void)fputs("\\-", stream);
        else
            (void)fputc(c, stream);
        is_line_start = c == '\n';
    }
}

static void put_line(FILE *stream, const char *text)
{
    put_text(stream, text, strlen(text), true);
    (void)fputc('\n', stream);
}

/* One word of a macro call, in quotes. */
static void put_quoted(FILE *stream, const char *text)
{
    (void)fputc('"', stream);
    for (; *text; text++)
        if (*text == '"')
            (void)fputs("\\(dq", stream);
        else
            put_text(stream, text, 1, false);
    (void)fputc('"', stream);
}

static bool is_section_line(const char *text, size_t length)
{
    bool has_letter = false;
    for (size_t i = 0; i < length; i++) {
        if (text[i] >= 'A' && text[i] <= 'Z')
            has_letter = true;
        else if (text[i] != ' ')
            return false;
    }
    return has_letter && text[0] != ' ';
}

/* Empty lines separate paragraphs, lines in capitals begin sections, indented lines stay as they are. */
static void put_prose(FILE *stream, const char *text)
{
    bool is_indented = false;
    while (text && *text) {
        size_t length = strcspn(text, "\n");
        bool was_indented = is_indented;
        is_indented = text[0] == ' ';
        if (is_indented != was_indented)
            (void)fputs(is_indented ? ".nf\n" : ".fi\n", stream);
        if (length == 0)
            (void)fputs(".PP\n", stream);
        else if (is_section_line(text, length))
            (void)fprintf(stream, ".SH %s%.*s%s\n", "\"", (int)length, text, "\"");
        else {
            put_text(stream, text, length, true);
            (void)fputc('\n', stream);
        }
        text += length + (text[length] != 0);
    }
    if (is_indented)
        (void)fputs(".fi\n", stream);
}

static void put_options(FILE *stream, const Option *options)
{
    for (; options && options->name; options++) {
        (void)fputs(".TP\n", stream);
        if (options->letter)
            (void)fprintf(stream, "\\fB\\-%c\\fR, ", options->letter);
        (void)fputs("\\fB\\-\\-", stream);
        put_text(stream, options->name, strlen(options->name), false);
        (void)fputs("\\fR", stream);
        if (options->argument) {
            (void)fputs(" \\fI", stream);
            put_text(stream, options->argument, strlen(options->argument), false);
            (void)fputs("\\fR", stream);
        }
        (void)fputc('\n', stream);
        put_line(stream, options->help ? options->help : "");
        if (options->is_repeatable)
            (void)fputs("May be given several times.\n", stream);
    }
}

static void put_synopsis(FILE *stream, const Program *program, bool has_verbs)
{
    const char *arguments = has_verbs ? "COMMAND ..." : program->verbs[0].arguments;
    (void)fputs(".SH SYNOPSIS\n.B ", stream);
    put_line(stream, program->name);
    (void)fputs("[OPTION...]", stream);
    if (!string_is_empty(arguments)) {
        (void)fputc(' ', stream);
        put_text(stream, arguments, strlen(arguments), false);
    }
    (void)fputc('\n', stream);
}

static void put_verbs(FILE *stream, const Program *program)
{
    (void)fputs(".SH COMMANDS\n", stream);
    for (const Verb *verb = program->verbs; verb->name; verb++) {
        _cleanup_free_ char *left = verb_left(verb);
        (void)fputs(".SS ", stream);
        put_quoted(stream, left);
        (void)fputc('\n', stream);
        put_line(stream, verb->help ? verb->help : "");
        if (verb->description) {
            (void)fputs(".PP\n", stream);
            put_prose(stream, verb->description);
        }
        put_options(stream, verb->options);
    }
}

void program_print_manual(const Program *program, int section, FILE *stream)
{
    static const Option built_in[] = {{.name = "help", .letter = 'h', .help = "Show help and end."},
                                      {.name = "version", .help = "Show the version and end."},
                                      {.name = NULL}};
    bool has_verbs = program->verbs[0].name && program->verbs[0].name[0];
    (void)fputs(".TH ", stream);
    put_quoted(stream, program->name);
    (void)fprintf(stream, " %d \"\" \"Bastide %s\"\n.SH NAME\n", section, BASTIDE_VERSION);
    put_text(stream, program->name, strlen(program->name), true);
    (void)fputs(" \\- ", stream);
    put_text(stream, program->summary, strlen(program->summary), false);
    (void)fputc('\n', stream);
    put_synopsis(stream, program, has_verbs);
    if (has_verbs)
        put_verbs(stream, program);
    else if (program->verbs[0].description) {
        (void)fputs(".SH DESCRIPTION\n", stream);
        put_prose(stream, program->verbs[0].description);
    }
    (void)fputs(".SH OPTIONS\n", stream);
    if (!has_verbs)
        put_options(stream, program->verbs[0].options);
    put_options(stream, program->global_options);
    put_options(stream, built_in);
    put_prose(stream, program->epilogue);
}
