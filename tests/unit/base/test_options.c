/* SPDX-License-Identifier: Apache-2.0 */
#include <fcntl.h>
#include <sys/mman.h>

#include "base/buffer.h"
#include "base/options.h"
#include "helper.h"

/* What the last verb saw. */
static Buffer seen;

static int run_verb(const ParsedOptions *options, void *context)
{
    assert_ptr_equal(context, &seen);
    (void)buffer_append_format(&seen, "verb=%s", options_verb(options)->name);
    for (int i = 0; i < options_argument_count(options); i++)
        (void)buffer_append_format(&seen, " arg=%s", options_argument(options, i));
    assert_null(options_argument(options, options_argument_count(options)));
    assert_null(options_argument(options, -1));
    static const char *const names[] = {"config", "quiet", "file", "wait", "set"};
    for (size_t i = 0; i < ELEMENTSOF(names); i++)
        for (unsigned n = 0; options_get_nth(options, names[i], n); n++)
            (void)buffer_append_format(&seen, " %s=%s", names[i], options_get_nth(options, names[i], n));
    return 3;
}

static const Option global_options[] = {
    {.name = "config", .letter = 'c', .argument = "FILE", .help = "read this file"},
    {.name = "quiet", .letter = 'q', .help = "say less"},
    {.name = NULL},
};
static const Option create_options[] = {
    {.name = "file",
     .letter = 'f',
     .argument = "FILE",
     .help = "the request, a long sentence that has to be wrapped because no terminal of eighty columns is "
             "as wide as this"},
    {.name = "wait", .help = "wait for the end"},
    {.name = "set", .letter = 's', .argument = "KEY=VALUE", .help = "set a value", .is_repeatable = true},
    {.name = NULL},
};
static const Verb verbs[] = {
    {.name = "clusters list", .maximum = 0, .help = "list the clusters", .run = run_verb},
    {.name = "clusters create",
     .arguments = "NAME [FILE]",
     .minimum = 1,
     .maximum = 2,
     .options = create_options,
     .help = "create a cluster",
     .description = "First\nparagraph.\n\n  an example\n  of two lines\n\nSecond - with .dots and \\ in "
                    "it.\n.starts with a dot\n",
     .run = run_verb},
    {.name = "nodes", .maximum = -1, .help = "show nodes", .run = run_verb},
    {.name = "nodes log",
     .arguments = "NODE",
     .minimum = 1,
     .maximum = 1,
     .help = "show a log",
     .run = run_verb},
    {.name = "login", .maximum = 0, .help = "sign in", .run = run_verb},
    {.name = NULL},
};
static const Program program = {.name = "bastide",
                                .summary = "the command line",
                                .global_options = global_options,
                                .verbs = verbs,
                                .epilogue = "EXIT STATUS\n0 is good.\n\nSEE ALSO\nbastide-manager(8)\n"};
static const Verb single_verbs[] = {
    {.name = "",
     .arguments = "[PATH]",
     .maximum = 1,
     .options = create_options,
     .help = "unused",
     .run = run_verb},
    {.name = NULL},
};
static const Program single = {.name = "bastide-manager", .summary = "the manager", .verbs = single_verbs};

typedef struct Result {
    int status;
    char *output, *errors;
} Result;

static void result_done(Result *result)
{
    free(result->output);
    free(result->errors);
}
#define _cleanup_result_ _cleanup_(result_done)

/* Splits the line at spaces and runs it with standard output and error in memory. */
static Result run(const Program *which, const char *line)
{
    _cleanup_string_list_ StringList words = {0};
    string_list_split(&words, line, ' ');
    _cleanup_free_ char **argv = NEW_ARRAY(char *, words.count + 1);
    memcpy(argv, words.items, words.count * sizeof(char *));
    int descriptors[] = {STDOUT_FILENO, STDERR_FILENO}, files[2], saved[2];
    (void)fflush(stdout);
    for (size_t i = 0; i < 2; i++) {
        files[i] = memfd_create("output", MFD_CLOEXEC);
        saved[i] = fcntl(descriptors[i], F_DUPFD_CLOEXEC, 10);
        ASSERT(dup2(files[i], descriptors[i]) >= 0);
    }
    buffer_clear(&seen);
    Result result = {.status = program_run(which, (int)words.count, argv, &seen)};
    (void)fflush(stdout);
    char **texts[] = {&result.output, &result.errors};
    for (size_t i = 0; i < 2; i++) {
        ASSERT(dup2(saved[i], descriptors[i]) >= 0);
        ASSERT(lseek(files[i], 0, SEEK_SET) == 0);
        ASSERT(file_read_descriptor(files[i], 100000, texts[i], NULL) >= 0);
        (void)close(files[i]);
        (void)close(saved[i]);
    }
    return result;
}

static void test_verbs(void **state)
{
    static const char *const cases[][2] = {
        {"bastide clusters list", "verb=clusters list"},
        {"bastide login", "verb=login"},
        {"bastide -q login", "verb=login quiet="},
        {"bastide login -q -q --quiet", "verb=login quiet="},
        {"bastide --config x clusters create a", "verb=clusters create arg=a config=x"},
        {"bastide clusters create --config=x a b", "verb=clusters create arg=a arg=b config=x"},
        {"bastide clusters create a -f - --wait", "verb=clusters create arg=a file=- wait="},
        {"bastide clusters create -sa=1 a --set b=2 -s c",
         "verb=clusters create arg=a set=a=1 set=b=2 set=c"},
        {"bastide clusters create -- --wait", "verb=clusters create arg=--wait"},
        {"bastide nodes", "verb=nodes"},
        {"bastide nodes a b c", "verb=nodes arg=a arg=b arg=c"},
        {"bastide nodes log a", "verb=nodes log arg=a"},
        {"bastide nodes -- log", "verb=nodes arg=log"},
    };
    for (size_t i = 0; i < ELEMENTSOF(cases); i++) {
        _cleanup_result_ Result result = run(&program, cases[i][0]);
        if (result.status != 3)
            fail_msg("%s: %d %s", cases[i][0], result.status, result.errors);
        assert_string_equal(buffer_string(&seen), cases[i][1]);
    }
    _cleanup_result_ Result result = run(&single, "bastide-manager -f x here");
    assert_int_equal(result.status, 3);
    assert_string_equal(buffer_string(&seen), "verb= arg=here file=x");
}

static void test_wrong_usage(void **state)
{
    static const char *const cases[][2] = {
        {"bastide clutsers list", "unknown command 'clutsers list'; did you mean 'clusters list'?"},
        {"bastide clutsers", "unknown command 'clutsers'; did you mean 'clusters'?"},
        {"bastide clusters lsit", "unknown command 'clusters lsit'; did you mean 'clusters list'?"},
        {"bastide logn", "unknown command 'logn'; did you mean 'login'?"},
        {"bastide completely-else", "unknown command 'completely-else'\n"},
        {"bastide clusters create",
         "clusters create needs NAME [FILE]\nTry 'bastide clusters create --help'."},
        {"bastide clusters create a b c", "too many arguments for clusters create"},
        {"bastide login x", "too many arguments for login"},
        {"bastide clusters create --wiat a", "unknown option '--wiat'; did you mean '--wait'?"},
        {"bastide clusters create --confg=secret a", "unknown option '--confg'; did you mean '--config'?"},
        {"bastide --hepl", "unknown option '--hepl'; did you mean '--help'?"},
        {"bastide login --zzzzz", "unknown option '--zzzzz'\n"},
        {"bastide login -z", "unknown option '-z'"},
        {"bastide login -qz", "unknown option '-z'"},
        {"bastide clusters create a --file", "option '--file' needs a value: FILE"},
        {"bastide clusters create a -f", "option '--file' needs a value: FILE"},
        {"bastide clusters create a --wait=5", "option '--wait' takes no value"},
        {"bastide clusters create a -f x -f y", "option '--file' is given twice"},
        {"bastide login --file x", "unknown option '--file'"},
    };
    for (size_t i = 0; i < ELEMENTSOF(cases); i++) {
        _cleanup_result_ Result result = run(&program, cases[i][0]);
        if (result.status != 64 || !strstr(result.errors, cases[i][1]))
            fail_msg("%s: %d %s", cases[i][0], result.status, result.errors);
        assert_true(string_starts_with(result.errors, "bastide: "));
        assert_null(strstr(result.errors, "secret"));
        assert_string_equal(result.output, "");
        assert_int_equal(seen.size, 0);
    }
    _cleanup_result_ Result empty = run(&program, "bastide"), group = run(&program, "bastide clusters");
    assert_int_equal(empty.status, 64);
    assert_true(string_starts_with(empty.errors, "Usage: bastide [OPTION...] COMMAND ...\n"));
    assert_int_equal(group.status, 64);
    assert_true(string_starts_with(group.errors, "Usage: bastide clusters [OPTION...] COMMAND ...\n"));
}

static void test_help(void **state)
{
    _cleanup_result_ Result whole = run(&program, "bastide --help");
    assert_int_equal(whole.status, 0);
    assert_string_equal(whole.output, "Usage: bastide [OPTION...] COMMAND ...\n"
                                      "\n"
                                      "the command line\n"
                                      "\n"
                                      "Commands\n"
                                      "  clusters list                list the clusters\n"
                                      "  clusters create NAME [FILE]  create a cluster\n"
                                      "  nodes                        show nodes\n"
                                      "  nodes log NODE               show a log\n"
                                      "  login                        sign in\n"
                                      "\n"
                                      "Options\n"
                                      "  -c, --config FILE  read this file\n"
                                      "  -q, --quiet        say less\n"
                                      "  -h, --help         show this help\n"
                                      "      --version      show the version\n");
    _cleanup_result_ Result group = run(&program, "bastide clusters --help");
    assert_int_equal(group.status, 0);
    assert_non_null(strstr(group.output, "  clusters create NAME [FILE]  create a cluster\n"));
    assert_null(strstr(group.output, "login"));
    _cleanup_result_ Result verb = run(&program, "bastide clusters create -h");
    assert_int_equal(verb.status, 0);
    assert_string_equal(verb.output,
                        "Usage: bastide clusters create [OPTION...] NAME [FILE]\n"
                        "\n"
                        "create a cluster\n"
                        "\n"
                        "First paragraph.\n"
                        "\n"
                        "  an example\n"
                        "  of two lines\n"
                        "\n"
                        "Second - with .dots and \\ in it. .starts with a dot\n"
                        "\n"
                        "Options\n"
                        "  -f, --file FILE          the request, a long sentence that has to be wrapped\n"
                        "                           because no terminal of eighty columns is as wide as\n"
                        "                           this\n"
                        "      --wait               wait for the end\n"
                        "  -s, --set KEY=VALUE ...  set a value\n"
                        "\n"
                        "General options\n"
                        "  -c, --config FILE  read this file\n"
                        "  -q, --quiet        say less\n"
                        "  -h, --help         show this help\n"
                        "      --version      show the version\n");
    _cleanup_result_ Result before = run(&program, "bastide --help clusters create"),
                            missing = run(&program, "bastide clusters create --help"),
                            alone = run(&single, "bastide-manager --help");
    assert_string_equal(before.output, verb.output);
    assert_string_equal(missing.output, verb.output); /* asks for no argument first */
    assert_true(
        string_starts_with(alone.output, "Usage: bastide-manager [OPTION...] [PATH]\n\nthe manager\n"));
    assert_null(strstr(whole.output, "\033"));
}

static void test_version(void **state)
{
    _cleanup_result_ Result result = run(&program, "bastide --version"),
                            after = run(&program, "bastide login --version"),
                            alone = run(&single, "bastide-manager --version");
    assert_int_equal(result.status, 0);
    assert_string_equal(result.output, "bastide " BASTIDE_VERSION "\n");
    assert_string_equal(after.output, result.output);
    assert_string_equal(alone.output, "bastide-manager " BASTIDE_VERSION "\n");
}

static char *manual_of(const Program *which, int section)
{
    char *text = NULL;
    size_t size = 0;
    FILE *stream = open_memstream(&text, &size);
    ASSERT(stream);
    program_print_manual(which, section, stream);
    ASSERT(fclose(stream) == 0);
    return text;
}

static void test_manual(void **state)
{
    _cleanup_free_ char *text = manual_of(&program, 1), *other = manual_of(&single, 8);
    assert_true(string_starts_with(text, ".TH \"bastide\" 1 \"\" \"Bastide " BASTIDE_VERSION "\"\n"
                                         ".SH NAME\nbastide \\- the command line\n.SH SYNOPSIS\n"));
    assert_non_null(strstr(text, ".SS \"clusters create NAME [FILE]\"\ncreate a cluster\n"));
    assert_non_null(strstr(text, "\n\\&.starts with a dot\n"));
    assert_non_null(strstr(text, "Second \\- with .dots and \\e in it.\n"));
    assert_non_null(strstr(text, "\\fB\\-f\\fR, \\fB\\-\\-file\\fR \\fIFILE\\fR\n"));
    assert_non_null(strstr(text, ".SH \"EXIT STATUS\"\n0 is good.\n"));
    assert_non_null(strstr(text, ".SH \"SEE ALSO\"\n"));
    assert_true(string_starts_with(other, ".TH \"bastide\\-manager\" 8 "));
    assert_null(strstr(other, ".SH COMMANDS"));
}

static int finish(void **state)
{
    buffer_done(&seen);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_verbs),   cmocka_unit_test(test_wrong_usage), cmocka_unit_test(test_help),
        cmocka_unit_test(test_version), cmocka_unit_test(test_manual),
    };
    return cmocka_run_group_tests(tests, NULL, finish);
}
