/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>

#include "base/yaml.h"
#include "helper.h"

static void check_same(const char *yaml, const char *json)
{
    _cleanup_json_ json_t *value = NULL;
    Error error = ERROR_INIT;
    int r = yaml_parse(yaml, strlen(yaml), 10000, &value, &error);
    if (r < 0)
        fail_msg("%s: %s", yaml, error.text);
    _cleanup_free_ char *text = json_to_text(value);
    assert_string_equal(text, json);
}

static void test_structure(void **state)
{
    check_same("a: 1\nb:\n  - x\n  - {c: d, e: [f]}\n",
               "{\"a\":1,\"b\":[\"x\",{\"c\":\"d\",\"e\":[\"f\"]}]}");
    check_same("- a\n- - b\n", "[\"a\",[\"b\"]]");
    check_same("just text", "\"just text\"");
    check_same("--- {}\n...\n", "{}");
    check_same("a:\nb: []\n", "{\"a\":null,\"b\":[]}");
    check_same("s: |\n  one\n  two\nf: >-\n  three\n  four\n",
               "{\"s\":\"one\\ntwo\\n\",\"f\":\"three four\"}");
    check_same("1: a\ntrue: b\n~: c\n", "{\"1\":\"a\",\"true\":\"b\",\"~\":\"c\"}");
    check_same("\"<<\": 1\n", "{\"<<\":1}");
    check_same("{\"json\": [true, \"\\u00e9\"]}", "{\"json\":[true,\"\xc3\xa9\"]}");
}

static void test_core_schema(void **state)
{
    static const char *const cases[][2] = {
        {"null", "null"},
        {"Null", "null"},
        {"NULL", "null"},
        {"~", "null"},
        {"nULL", "\"nULL\""},
        {"true", "true"},
        {"False", "false"},
        {"FALSE", "false"},
        {"tRUE", "\"tRUE\""},
        {"yes", "\"yes\""},
        {"no", "\"no\""},
        {"on", "\"on\""},
        {"y", "\"y\""}, /* strings since YAML 1.2 */
        {"0", "0"},
        {"-0", "0"},
        {"+12", "12"},
        {"012", "12"},
        {"0o17", "15"},
        {"0x1F", "31"},
        {"0xfg", "\"0xfg\""},
        {"-0x1", "\"-0x1\""},
        {"0o8", "\"0o8\""},
        {"1_000", "\"1_000\""},
        {"+-1", "\"+-1\""},
        {"-", "[null]"},
        {"9223372036854775807", "9223372036854775807"},
        {"-9223372036854775808", "-9223372036854775808"},
        {"1.5", "1.5"},
        {"-.5", "-0.5"},
        {"1.", "1.0"},
        {"1e3", "1000.0"},
        {"1E-1", "0.10000000000000001"},
        {".", "\".\""},
        {"1e", "\"1e\""},
        {"1.2.3", "\"1.2.3\""},
        {"12:30", "\"12:30\""},
        {"2026-11-22", "\"2026-11-22\""},
        {"'1'", "\"1\""},
        {"\"true\"", "\"true\""},
        {"''", "\"\""},
        {"0x7FFFFFFFFFFFFFFF", "9223372036854775807"},
    };
    for (size_t i = 0; i < ELEMENTSOF(cases); i++)
        check_same(cases[i][0], cases[i][1]);
}

static void test_refused(void **state)
{
    static const struct {
        const char *text, *sentence;
        unsigned line, column;
    } cases[] = {
        {"", "the document is empty", 0, 0},
        {"# only a comment\n", "the document is empty", 0, 0},
        {"a: &x 1\n", "anchors", 1, 4},
        {"- &x [1]\n", "anchors", 1, 3},
        {"&x {}\n", "anchors", 1, 1},
        {"a: 1\nb: *x\n", "anchors", 2, 4},
        {"a: !!str 1\n", "tags", 1, 4},
        {"a: !local [1]\n", "tags", 1, 4},
        {"! {}\n", "tags", 1, 1},
        {"a: 1\nb: 2\n\"a\": 3\n", "twice", 3, 1},
        {"<<: {a: 1}\n", "merge keys", 1, 1},
        {"--- 1\n--- 2\n", "more than one document", 2, 1},
        {"%YAML 1.2\n--- 1\n", "directives", 1, 1},
        {"%TAG ! tag:x,2026:\n--- 1\n", "directives", 1, 1},
        {"? [a]\n: b\n", "a key must be a scalar", 1, 3},
        {"{a: 1}: b\n", "a key must be a scalar", 1, 1},
        {"a: \"x\\0y\"\n", "NUL", 1, 4},
        {"a: 9223372036854775808\n", "out of range", 1, 4},
        {"- 1\n- .inf\n", "out of range", 2, 3},
        {"- .nan\n", "out of range", 1, 3},
        {"- 1e999\n", "out of range", 1, 3},
        {"- 0xFFFFFFFFFFFFFFFF\n", "out of range", 1, 3},
        {"a: b: c\n", "not valid YAML: mapping values are not allowed", 1, 5},
        {"a:\n\tb: 1\n", "not valid YAML", 2, 1},
        {"a: [1, 2\n", "not valid YAML", 2, 1},
        {"a: 'x\n", "not valid YAML", 2, 1},
        {"a: 1\n b: 2\n", "not valid YAML", 2, 3},
    };
    for (size_t i = 0; i < ELEMENTSOF(cases); i++) {
        json_t *value = NULL;
        Error error = ERROR_INIT;
        int r = yaml_parse(cases[i].text, strlen(cases[i].text), 1000, &value, &error);
        if (r >= 0 || !strstr(error.text, cases[i].sentence) || error.line != cases[i].line ||
            error.column != cases[i].column)
            fail_msg("%s: %d '%s' at %u:%u", cases[i].text, r, error.text, error.line, error.column);
        assert_null(value);
        assert_int_equal(error.code, ERROR_BAD_DOCUMENT);
    }
}

static void test_limits(void **state)
{
    json_t *value = NULL;
    Error error = ERROR_INIT;
    assert_int_equal(yaml_parse("a: 1", 4, 3, &value, &error), -E2BIG);
    assert_int_equal(error.code, ERROR_TOO_LARGE);
    char text[200];
    memset(text, '[', 100);
    memset(text + 100, ']', 100);
    assert_int_equal(yaml_parse(text + 36, 128, 1000, &value, NULL), 0);
    json_decref(value);
    value = NULL;
    error_clear(&error);
    assert_int_equal(yaml_parse(text + 35, 130, 1000, &value, &error), -EINVAL);
    assert_non_null(strstr(error.text, "nested deeper than 64"));
    assert_int_equal(error.column, 65);
    error_clear(&error);
    assert_int_equal(yaml_parse("a: \x01", 4, 100, &value, &error), -EINVAL);
    error_clear(&error);
    assert_int_equal(yaml_parse("a: \xff", 4, 100, &value, &error), -EINVAL);
    error_clear(&error);
    assert_int_equal(yaml_parse("a: b\0c", 6, 100, &value, &error), -EINVAL);
    assert_null(value);
}

static void test_errors_do_not_quote_the_document(void **state)
{
    static const char text[] = "password: hunter2: x\n";
    json_t *value = NULL;
    Error error = ERROR_INIT;
    assert_int_equal(yaml_parse(text, strlen(text), 100, &value, &error), -EINVAL);
    assert_null(strstr(error.text, "hunter2"));
}

static void test_writing(void **state)
{
    _cleanup_json_ json_t *value =
        json_pack("{s:s, s:s, s:s, s:i, s:[s,s], s:{}, s:[], s:s, s:n, s:b, s:s}", "name", "web app", "yes",
                  "true", "path", "/a/b.sh", "count", 3, "list", "1", "- x", "object", "array", "script",
                  "#!/bin/sh\necho hi\n", "null", "flag", 1, "empty", "");
    _cleanup_free_ char *text = yaml_from_json(value);
    assert_string_equal(text, "name: web app\n"
                              "yes: \"true\"\n"
                              "path: /a/b.sh\n"
                              "count: 3\n"
                              "list:\n"
                              "- \"1\"\n"
                              "- \"- x\"\n"
                              "object: {}\n"
                              "array: []\n"
                              "script: |\n"
                              "  #!/bin/sh\n"
                              "  echo hi\n"
                              "\"null\": null\n"
                              "flag: true\n"
                              "empty: \"\"\n");
}

static void test_round_trip(void **state)
{
    static const char *const strings[] = {
        "",
        "a",
        "true",
        "null",
        "~",
        "1",
        "1.0",
        "0x1",
        ".inf",
        "- a",
        "a: b",
        "a #b",
        "#a",
        " a",
        "a ",
        "a\n",
        "a\n\n",
        "\na",
        "a\n b\n",
        " a\nb",
        "a \nb",
        "a\tb",
        "a\rb",
        "a\r\nb",
        "\xc3\xa9",
        "\xe2\x80\xa8",
        "\xef\xbb\xbf"
        "a",
        "\xf0\x9f\x98\x80",
        "'a'",
        "\"a\"",
        "a\\b",
        "{a}",
        "[a]",
        "&a",
        "*a",
        "!a",
        "%a",
        "@a",
        "`a",
        "---",
        "...",
        "? a",
        "a:",
        ":a",
        "<<",
        "|",
        ">",
        "\x01",
        "\x7f",
        "a\x0b"
        "b",
        "-",
        "a\n---\nb\n",
        "a\n...\n",
        "=",
        "line\n\n\nline\n",
        "\xc2\x85",
        "-1",
        "+1",
        "a, b",
        "\n",
    };
    _cleanup_json_ json_t *object = json_object();
    for (size_t i = 0; i < ELEMENTSOF(strings); i++)
        assert_int_equal(
            json_object_set_new(object, strings[i], json_pack("[s,{s:s}]", strings[i], "k", strings[i])), 0);
    _cleanup_free_ char *text = yaml_from_json(object);
    _cleanup_json_ json_t *again = NULL;
    Error error = ERROR_INIT;
    if (yaml_parse(text, strlen(text), 100000, &again, &error) < 0)
        fail_msg("%s at %u:%u\n%s", error.text, error.line, error.column, text);
    assert_true(json_equal(object, again));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_structure),
        cmocka_unit_test(test_core_schema),
        cmocka_unit_test(test_refused),
        cmocka_unit_test(test_limits),
        cmocka_unit_test(test_errors_do_not_quote_the_document),
        cmocka_unit_test(test_writing),
        cmocka_unit_test(test_round_trip),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
