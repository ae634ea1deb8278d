/* SPDX-License-Identifier: Apache-2.0 */
#include "base/options.h"

#include <errno.h>
#include <getopt.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "base/options_internal.h"
#include "base/string.h"

enum { EXIT_USAGE = 64, OPTIONS_MAX = 96, GIVEN_MAX = 4096, CODE_FIRST = 1000 };

typedef struct Given {
    const Option *option;
    const char *value;
} Given;

struct ParsedOptions {
    const Verb *verb;
    const char *const *arguments;
    int argument_count;
    Given *given; /* owned */
    size_t given_count;
};

static const Option help_option = {.name = "help", .letter = 'h', .help = "show this help"};
static const Option version_option = {.name = "version", .help = "show the version"};

/* ---- what verbs ask -------------------------------------------------------------------------------------
 */

const char *options_get_nth(const ParsedOptions *options, const char *name, unsigned index)
{
    for (size_t i = 0; i < options->given_count; i++)
        if (string_equal(options->given[i].option->name, name) && index-- == 0)
            return options->given[i].value;
    return NULL;
}

const char *options_get(const ParsedOptions *options, const char *name)
{
    return options_get_nth(options, name, 0);
}

int options_argument_count(const ParsedOptions *options)
{
    return options->argument_count;
}

const char *options_argument(const ParsedOptions *options, int index)
{
    return index >= 0 && index < options->argument_count ? options->arguments[index] : NULL;
}

const Verb *options_verb(const ParsedOptions *options)
{
    return options->verb;
}

/* ---- messages -------------------------------------------------------------------------------------------
 */

static _printf_(3, 4) int fail_usage(const Program *program, const Verb *verb, const char *format, ...)
{
    _cleanup_free_ char *text = NULL;
    va_list arguments;
    va_start(arguments, format);
    text = string_format_v(format, arguments);
    va_end(arguments);
    bool has_verb = verb && verb->name[0];
    (void)fprintf(stderr, "%s: %s\nTry '%s%s%s --help'.\n", program->name, text, program->name,
                  has_verb ? " " : "", has_verb ? verb->name : "");
    return EXIT_USAGE;
}

static unsigned allowed_distance(const char *text)
{
    return strlen(text) > 6 ? 3 : strlen(text) > 2 ? 2 : 1;
}

/* The nearest of one table of options, when it is nearer than *distance. */
static void nearer_option(const Option *options, const char *text, unsigned *distance, const char **best)
{
    for (; options && options->name; options++) {
        unsigned other = string_distance(text, options->name);
        if (other < *distance) {
            *distance = other;
            *best = options->name;
        }
    }
}

static int fail_unknown_option(const Program *program, const Verb *verb, const char *word)
{
    const char *best = NULL;
    _cleanup_free_ char *name = NULL;
    if (string_starts_with(word, "--")) {
        name = string_duplicate_n(word + 2, strcspn(word + 2, "="));
        const Option built_in[] = {help_option, version_option, {.name = NULL}};
        unsigned distance = allowed_distance(name) + 1;
        nearer_option(verb ? verb->options : NULL, name, &distance, &best);
        nearer_option(program->global_options, name, &distance, &best);
        nearer_option(built_in, name, &distance, &best);
    }
    if (!name)
        return fail_usage(program, verb, "unknown option '-%c'", optopt);
    if (best && string_equal(best, name))
        return fail_usage(program, verb, "option '--%s' takes no value", name);
    if (best)
        return fail_usage(program, verb, "unknown option '--%s'; did you mean '--%s'?", name, best);
    return fail_usage(program, verb, "unknown option '--%s'", name);
}

bool verb_is_in_group(const Verb *verb, const char *group, size_t group_length)
{
    return strncmp(verb->name, group, group_length) == 0 &&
           (verb->name[group_length] == ' ' || verb->name[group_length] == 0);
}

static int fail_unknown_verb(const Program *program, const char *first, const char *second)
{
    /* Compared are whole names, or only first words when that is all there is. */
    _cleanup_free_ char *typed = second ? string_format("%s %s", first, second) : string_duplicate(first);
    const char *best = NULL;
    size_t best_length = 0;
    unsigned best_distance = allowed_distance(typed) + 1;
    for (const Verb *verb = program->verbs; verb->name; verb++) {
        const size_t lengths[] = {strlen(verb->name), strcspn(verb->name, " ")};
        const char *const compared[] = {typed, first};
        for (size_t i = 0; i < ELEMENTSOF(lengths); i++) {
            _cleanup_free_ char *candidate = string_duplicate_n(verb->name, lengths[i]);
            unsigned distance = string_distance(compared[i], candidate);
            if (distance > 0 && distance < best_distance) {
                best = verb->name;
                best_length = lengths[i];
                best_distance = distance;
            }
        }
    }
    if (best)
        return fail_usage(program, NULL, "unknown command '%s'; did you mean '%.*s'?", typed,
                          (int)best_length, best);
    return fail_usage(program, NULL, "unknown command '%s'", typed);
}

/* ---- parsing --------------------------------------------------------------------------------------------
 */

/* What getopt_long wants, made of the tables. */
typedef struct Scanner {
    const Option *rows[OPTIONS_MAX];
    struct option longs[OPTIONS_MAX + 1];
    char letters[2 * OPTIONS_MAX + 3];
    size_t count;
} Scanner;

static void scanner_add(Scanner *scanner, const Option *option)
{
    ASSERT(scanner->count < OPTIONS_MAX);
    scanner->rows[scanner->count] = option;
    scanner->longs[scanner->count] =
        (struct option){.name = option->name,
                        .has_arg = option->argument ? required_argument : no_argument,
                        .val = CODE_FIRST + (int)scanner->count};
    scanner->count++;
    if (!option->letter)
        return;
    size_t length = strlen(scanner->letters);
    scanner->letters[length++] = option->letter;
    if (option->argument)
        scanner->letters[length] = ':';
}

static void scanner_init(Scanner *scanner, const Program *program, const Verb *verb, const char *mode)
{
    *scanner = (Scanner){0};
    (void)string_copy(scanner->letters, sizeof(scanner->letters), mode);
    for (const Option *option = verb ? verb->options : NULL; option && option->name; option++)
        scanner_add(scanner, option);
    for (const Option *option = program->global_options; option && option->name; option++)
        scanner_add(scanner, option);
    scanner_add(scanner, &help_option);
    scanner_add(scanner, &version_option);
}

static const Option *scanner_find(const Scanner *scanner, int code)
{
    if (code >= CODE_FIRST && code - CODE_FIRST < (int)scanner->count)
        return scanner->rows[code - CODE_FIRST];
    for (size_t i = 0; i < scanner->count; i++)
        if (scanner->rows[i]->letter && scanner->rows[i]->letter == code)
            return scanner->rows[i];
    return NULL;
}

static int remember(const Program *program, const Verb *verb, ParsedOptions *parsed, const Option *option,
                    const char *value)
{
    if (!option->is_repeatable && options_get(parsed, option->name))
        return option->argument ? fail_usage(program, verb, "option '--%s' is given twice", option->name) : 0;
    ASSERT(parsed->given_count < GIVEN_MAX);
    parsed->given = memory_resize_array(parsed->given, parsed->given_count + 1, sizeof(Given));
    parsed->given[parsed->given_count++] = (Given){.option = option, .value = value ? value : ""};
    return 0;
}

typedef enum Asked { ASKED_NOTHING, ASKED_HELP, ASKED_VERSION } Asked;

/* Takes options up to the first argument (mode "+:") or all (":"); 0 or an exit status. */
static int scan(const Program *program, const Verb *verb, const char *mode, int argc, char **argv,
                ParsedOptions *parsed, Asked *asked)
{
    Scanner scanner;
    scanner_init(&scanner, program, verb, mode);
    opterr = 0;
    optind = 0; /* glibc: starts afresh */
    for (int code; (code = getopt_long(argc, argv, scanner.letters, scanner.longs, NULL)) >= 0;) {
        if (code == '?')
            return fail_unknown_option(program, verb, argv[optind - 1]);
        if (code == ':') {
            const Option *lacking = scanner_find(&scanner, optopt);
            return fail_usage(program, verb, "option '--%s' needs a value: %s", lacking ? lacking->name : "?",
                              lacking ? lacking->argument : "?");
        }
        const Option *option = scanner_find(&scanner, code);
        ASSERT(option);
        if (option == &help_option)
            *asked = ASKED_HELP;
        else if (option == &version_option && *asked == ASKED_NOTHING)
            *asked = ASKED_VERSION;
        else if (option != &version_option) {
            int r = remember(program, verb, parsed, option, optarg);
            if (r != 0)
                return r;
        }
    }
    return 0;
}

static const Verb *find_verb(const Program *program, const char *first, const char *second, int *ret_words)
{
    const Verb *single = NULL;
    for (const Verb *verb = program->verbs; verb->name; verb++) {
        size_t length = strlen(first);
        if (!verb_is_in_group(verb, first, length))
            continue;
        if (verb->name[length] == 0)
            single = verb;
        else if (string_equal(verb->name + length + 1, second)) {
            *ret_words = 2;
            return verb;
        }
    }
    *ret_words = 1;
    return single;
}

static bool is_group(const Program *program, const char *word)
{
    for (const Verb *verb = program->verbs; verb->name; verb++)
        if (verb_is_in_group(verb, word, strlen(word)) && verb->name[strlen(word)] == ' ')
            return true;
    return false;
}

static int check_count(const Program *program, const Verb *verb, int count)
{
    if (count < verb->minimum)
        return fail_usage(program, verb, "%s needs %s", verb->name[0] ? verb->name : program->name,
                          string_is_empty(verb->arguments) ? "more arguments" : verb->arguments);
    if (verb->maximum >= 0 && count > verb->maximum)
        return fail_usage(program, verb, "too many arguments for %s",
                          verb->name[0] ? verb->name : program->name);
    return 0;
}

static int answer(const Program *program, const Verb *verb, Asked asked)
{
    if (asked == ASKED_VERSION)
        (void)printf("%s %s\n", program->name, BASTIDE_VERSION);
    else
        program_print_help(program, verb, stdout);
    return fflush(stdout) == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}

/* words: how many arguments the verb's name takes. */
static int run_verb(const Program *program, const Verb *verb, int words, int argc, char **argv,
                    ParsedOptions *parsed, void *context)
{
    Asked asked = ASKED_NOTHING;
    int r = scan(program, verb, ":", argc, argv, parsed, &asked);
    if (r != 0)
        return r;
    if (asked != ASKED_NOTHING)
        return answer(program, verb, asked);
    /* getopt_long has moved the arguments to the end, the words of the verb's name first. */
    parsed->verb = verb;
    parsed->arguments = (const char *const *)argv + optind + words;
    parsed->argument_count = argc - optind - words;
    ASSERT(parsed->argument_count >= 0);
    r = check_count(program, verb, parsed->argument_count);
    return r != 0 ? r : verb->run(parsed, context);
}

/* A group's first word without a second that is one of its verbs. */
static int handle_group(const Program *program, int argc, char **argv)
{
    const char *group = argv[0];
    for (int i = 1; i < argc; i++)
        if (string_equal(argv[i], "--help") || string_equal(argv[i], "-h")) {
            program_print_group_help(program, group, stdout);
            return EXIT_SUCCESS;
        }
    if (argc > 1 && argv[1][0] != '-')
        return fail_unknown_verb(program, group, argv[1]);
    program_print_group_help(program, group, stderr);
    return EXIT_USAGE;
}

static int dispatch(const Program *program, int argc, char **argv, ParsedOptions *parsed, void *context)
{
    if (program->verbs[0].name && !program->verbs[0].name[0])
        return run_verb(program, &program->verbs[0], 0, argc, argv, parsed, context);
    /* Only to find the verb: its own pass takes the options before it once more. */
    Asked asked = ASKED_NOTHING;
    int r = scan(program, NULL, "+:", argc, argv, parsed, &asked);
    int first = optind;
    parsed->given_count = 0;
    if (r != 0)
        return r;
    if (first >= argc && asked == ASKED_NOTHING) {
        program_print_help(program, NULL, stderr);
        return EXIT_USAGE;
    }
    if (first >= argc || asked == ASKED_VERSION)
        return answer(program, NULL, asked);
    int words = 0;
    const Verb *verb = find_verb(program, argv[first], first + 1 < argc ? argv[first + 1] : NULL, &words);
    if (verb)
        return run_verb(program, verb, words, argc, argv, parsed, context);
    if (is_group(program, argv[first])) {
        if (asked == ASKED_HELP) {
            program_print_group_help(program, argv[first], stdout);
            return EXIT_SUCCESS;
        }
        return handle_group(program, argc - first, argv + first);
    }
    return fail_unknown_verb(program, argv[first],
                             first + 1 < argc && argv[first + 1][0] != '-' ? argv[first + 1] : NULL);
}

int program_run(const Program *program, int argc, char **argv, void *context)
{
    ParsedOptions parsed = {0};
    /* getopt_long changes the order: the caller's array stays as it is. */
    _cleanup_free_ char **copy = NEW_ARRAY(char *, (size_t)argc + 1);
    memcpy(copy, argv, (size_t)argc * sizeof(char *));
    int status = dispatch(program, argc, copy, &parsed, context);
    free(parsed.given);
    return status;
}
