/* SPDX-License-Identifier: Apache-2.0 */
/* Arguments: what they become, what is refused; requests' paths; answers of the manager that are errors. */

#include "cli/cli.h"
#include "cli/cluster_request.h"
#include "cli_testing.h"

typedef struct Made {
    json_t *request;
    Error error;
    int result;
} Made;

static int make_request(const ParsedOptions *options, void *context)
{
    Made *made = context;
    made->result = cluster_request_make(options, options_argument(options, 0), &made->request, &made->error);
    return 0;
}

/* NULL-terminated arguments after the verb. */
static Made parse(const char *const *arguments)
{
    const Verb verbs[] = {
        {.name = "make", .maximum = 1, .options = cluster_create_options, .run = make_request},
        {.name = NULL}};
    const Program program = {.name = "test", .global_options = cli_global_options, .verbs = verbs};
    char *argv[32] = {(char[]){"test"}, (char[]){"make"}};
    int argc = 2;
    Made made = {.error = ERROR_INIT};
    for (; *arguments; arguments++)
        argv[argc++] = string_duplicate(*arguments);
    assert_int_equal(program_run(&program, argc, argv, &made), 0);
    for (int i = 2; i < argc; i++)
        free(argv[i]);
    return made;
}

static void assert_request(const char *const *arguments, const char *expected)
{
    Made made = parse(arguments);
    _cleanup_json_ json_t *wanted = json_loads(expected, 0, NULL);
    assert_int_equal(made.result, 0);
    assert_non_null(wanted);
    assert_true(json_equal(made.request, wanted));
    json_decref(made.request);
}

static void assert_refused(const char *const *arguments, const char *text)
{
    Made made = parse(arguments);
    assert_true(made.result < 0);
    assert_null(made.request);
    assert_true(strstr(made.error.text, text) || strstr(made.error.field, text));
}

#define ARGUMENTS(...)                                                                                       \
    (const char *const[])                                                                                    \
    {                                                                                                        \
        __VA_ARGS__, NULL                                                                                    \
    }

static void options_become_a_request(void **state)
{
    (void)state;
    assert_request(ARGUMENTS("shop", "--template", "web-stack"),
                   "{\"name\":\"shop\",\"template\":\"web-stack\"}");
    assert_request(ARGUMENTS("shop", "-T", "w", "-n", "5", "-q", "web=3", "--quantity", "db=0", "--lease",
                             "7d", "-s", "web", "--service=db", "-p", "sandbox", "--hardware", "small",
                             "--image", "debian12", "--dns-suffix", "example", "--description", "a shop"),
                   "{\"name\":\"shop\",\"template\":\"w\",\"nodes\":5,\"quantities\":{\"web\":3,\"db\":0},"
                   "\"lease\":604800000,\"services\":[\"web\",\"db\"],\"provider\":\"sandbox\","
                   "\"hardwaretype\":\"small\",\"imagetype\":\"debian12\",\"dns_suffix\":\"example\","
                   "\"description\":\"a shop\"}");
}

static void options_change_a_request_of_a_file(void **state)
{
    (void)state;
    _cleanup_folder_ char *folder = temporary_folder();
    _cleanup_free_ char *file = put_file(
        folder, "request.yaml", "name: a\nclusterTemplate: old\nnumMachines: 2\nquantities: {web: 1}\n");
    _cleanup_free_ char *config = put_file(folder, "config.json", "{\"port\": 80}");
    assert_request(ARGUMENTS("-f", file), "{\"name\":\"a\",\"clusterTemplate\":\"old\",\"numMachines\":2,"
                                          "\"quantities\":{\"web\":1}}");
    assert_request(ARGUMENTS("b", "-f", file, "-T", "new", "-n", "4", "-q", "db=1", "-c", config),
                   "{\"name\":\"b\",\"template\":\"new\",\"nodes\":4,\"quantities\":{\"web\":1,\"db\":1},"
                   "\"config\":{\"port\":80}}");
}

static void bad_options_are_refused(void **state)
{
    (void)state;
    _cleanup_folder_ char *folder = temporary_folder();
    _cleanup_free_ char *list = put_file(folder, "list.yaml", "- a\n");
    assert_refused(ARGUMENTS("--template", "t"), "name");
    assert_refused(ARGUMENTS("shop"), "template");
    assert_refused(ARGUMENTS("s", "-T", "t", "-n", "0"), "--nodes");
    assert_refused(ARGUMENTS("s", "-T", "t", "-n", "many"), "--nodes");
    assert_refused(ARGUMENTS("s", "-T", "t", "-q", "web"), "--quantity");
    assert_refused(ARGUMENTS("s", "-T", "t", "-q", "web=-1"), "--quantity");
    assert_refused(ARGUMENTS("s", "-T", "t", "-q", "=1"), "--quantity");
    assert_refused(ARGUMENTS("s", "-T", "t", "-l", "soon"), "--lease");
    assert_refused(ARGUMENTS("s", "-T", "t", "-s", "a b"), "--service");
    assert_refused(ARGUMENTS("s", "-T", "t", "-c", "/nonexistent"), "/nonexistent");
    assert_refused(ARGUMENTS("s", "-T", "t", "-c", list), "object");
    assert_refused(ARGUMENTS("s", "-T", "t", "-c", "-", "-f", "-"), "standard input");
}

/* Names go into paths as one segment, whatever they hold. */
static void paths_are_encoded(void **state)
{
    (void)state;
    _cleanup_free_ char *path = cli_path("/clusters/%s/plan", "../a b?c#d%/ü");
    assert_string_equal(path, "/clusters/..%2Fa%20b%3Fc%23d%25%2F%C3%BC/plan");
    cli_path_query(&path, "a", "1&2");
    cli_path_query(&path, "none", NULL);
    cli_path_query(&path, "empty", "");
    cli_path_query(&path, "b", "x=y");
    assert_string_equal(path, "/clusters/..%2Fa%20b%3Fc%23d%25%2F%C3%BC/plan?a=1%262&b=x%3Dy");
}

static Error error_of(int status, const char *body)
{
    HttpAnswer answer = {.status = status, .request_id = "r-1"};
    Error error = ERROR_INIT;
    (void)buffer_append_string(&answer.body, body);
    assert_true(cli_answer_error(&answer, &error) < 0);
    http_answer_done(&answer);
    return error;
}

static void errors_of_the_manager_are_understood(void **state)
{
    (void)state;
    Error error = error_of(400, "{\"message\":\"must be a number\",\"type\":\"urn:bastide:error:bad_field\","
                                "\"field\":\"nodes\",\"line\":3,\"column\":7}");
    assert_int_equal(error.code, ERROR_BAD_FIELD);
    assert_string_equal(error.text, "must be a number");
    assert_string_equal(error.field, "nodes");
    assert_int_equal(error.line, 3);
    assert_int_equal(error.column, 7);
    assert_int_equal(error_describe(error.code)->exit_status, 65);

    error = error_of(500, "{\"message\":\"x\",\"type\":\"urn:bastide:error:internal\"}");
    assert_int_equal(error.code, ERROR_INTERNAL);
    assert_string_equal(error.details, "r-1");
}

/* Every name of the table comes back as its code, and every error ends with a status that is not success. */
static void every_error_has_its_exit_status(void **state)
{
    (void)state;
    for (ErrorCode code = ERROR_NONE + 1; code < _ERROR_MAX; code++) {
        const ErrorDescription *row = error_describe(code);
        _cleanup_free_ char *body =
            string_format("{\"message\":\"m\",\"type\":\"urn:bastide:error:%s\"}", row->name);
        Error error = error_of(row->http_status, body);
        assert_int_equal(error.code, code);
        assert_true(row->exit_status > 0 && row->exit_status < 256);
    }
}

static void answers_of_strangers_are_errors_too(void **state)
{
    (void)state;
    Error error = error_of(502, "<html>proxy</html>");
    assert_int_equal(error.code, ERROR_PROTOCOL);
    assert_non_null(strstr(error.text, "not one of a Bastide manager"));
    error = error_of(401, "");
    assert_int_equal(error.code, ERROR_UNAUTHENTICATED);
    error = error_of(400, "{\"type\":\"urn:bastide:error:none\",\"message\":\"x\"}");
    assert_int_equal(error.code, ERROR_BAD_REQUEST);
    error = error_of(418, "{\"type\":\"urn:bastide:error:unheard-of\",\"message\":17}");
    assert_int_equal(error.code, ERROR_BAD_REQUEST);
}

/* Help, manual and completion come from the same tables: each verb has a line of help and a good name. */
static void every_verb_is_documented(void **state)
{
    (void)state;
    const Program *program = cli_program();
    size_t count = 0;
    for (const Verb *verb = program->verbs; verb->name; verb++, count++) {
        assert_non_null(verb->help);
        assert_true(strlen(verb->help) >= 8);
        assert_true(verb->help[0] >= 'a' && verb->help[0] <= 'z');
        assert_true(verb->minimum == 0 || !string_is_empty(verb->arguments));
        assert_non_null(verb->run);
        for (const Option *option = verb->options; option && option->name; option++)
            assert_non_null(option->help);
        for (const Verb *other = program->verbs; other < verb; other++)
            assert_string_not_equal(other->name, verb->name);
    }
    assert_true(count > 50);
    assert_non_null(strstr(program->epilogue, "EXIT STATUS"));
    assert_non_null(strstr(program->epilogue, "77   unauthenticated"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(options_become_a_request),
        cmocka_unit_test(options_change_a_request_of_a_file),
        cmocka_unit_test(bad_options_are_refused),
        cmocka_unit_test(paths_are_encoded),
        cmocka_unit_test(errors_of_the_manager_are_understood),
        cmocka_unit_test(every_error_has_its_exit_status),
        cmocka_unit_test(answers_of_strangers_are_errors_too),
        cmocka_unit_test(every_verb_is_documented),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
