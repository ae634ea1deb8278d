/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>

#include "base/json.h"
#include "helper.h"

static int parse(const char *text, json_t **ret_value, Error *error)
{
    return json_parse(text, strlen(text), 4096, ret_value, error);
}

static void test_parse(void **state)
{
    _cleanup_json_ json_t *value = NULL;
    Error error = ERROR_INIT;
    assert_int_equal(parse("{\"b\": 1, \"a\": [true, null, \"\\u00e9\"]}", &value, &error), 0);
    assert_false(error_is_set(&error));
    _cleanup_free_ char *text = json_to_text(value), *sorted = json_to_sorted_text(value);
    assert_string_equal(text, "{\"b\":1,\"a\":[true,null,\"\xc3\xa9\"]}");
    assert_string_equal(sorted, "{\"a\":[true,null,\"\xc3\xa9\"],\"b\":1}");
}

static void test_refused(void **state)
{
    static const struct {
        const char *text;
        unsigned line;
    } cases[] = {
        {"", 1},
        {"{", 1},
        {"{\"a\":1}x", 1},
        {"\n\n{\"a\":}", 3},
        {"{\"a\":1,\n\"a\":2}", 2},
        {"{\"a\":\"\\u0000\"}", 1},
        {"[1,]", 1},
        {"{'a':1}", 1},
        {"12", 1},
        {"\"x\"", 1},
        {"[\"\xff\"]", 1},
        {"[99999999999999999999]", 1},
        {"[NaN]", 1},
        {"/* c */ []", 1},
        {"[1e999]", 1},
        {"[\"a\nb\"]", 1},
    };
    for (size_t i = 0; i < ELEMENTSOF(cases); i++) {
        json_t *value = NULL;
        Error error = ERROR_INIT;
        assert_true(parse(cases[i].text, &value, &error) < 0);
        assert_null(value);
        assert_int_equal(error.code, ERROR_BAD_DOCUMENT);
        assert_int_equal(error.line, cases[i].line);
        assert_true(string_starts_with(error.text, "not valid JSON: "));
    }
}

static void test_errors_do_not_quote_the_document(void **state)
{
    json_t *value = NULL;
    Error error = ERROR_INIT;
    assert_int_equal(parse("{\"password\": \"hunter2\" oops}", &value, &error), -EINVAL);
    assert_null(strstr(error.text, "hunter2"));
    assert_null(strstr(error.text, "oops"));
    error_clear(&error);
    assert_int_equal(parse("{\"key\":1,\"key\":2}", &value, &error), -EINVAL);
    assert_string_equal(error.text, "not valid JSON: duplicate object key");
    assert_true(error.column > 0);
}

static void test_limits(void **state)
{
    json_t *value = NULL;
    Error error = ERROR_INIT;
    assert_int_equal(json_parse("[1,2]", 5, 4, &value, &error), -E2BIG);
    assert_int_equal(error.code, ERROR_TOO_LARGE);
    char text[200];
    memset(text, '[', 100);
    memset(text + 100, ']', 100);
    assert_int_equal(json_parse(text + 36, 128, 1000, &value, NULL), 0);
    json_decref(value);
    value = NULL;
    error_clear(&error);
    assert_int_equal(json_parse(text + 35, 130, 1000, &value, &error), -EINVAL);
    assert_non_null(strstr(error.text, "nested deeper than 64"));
    assert_int_equal(error.line, 1);
    assert_int_equal(error.column, 65);
    /* Brackets in strings do not count. */
    _cleanup_buffer_ Buffer strings = BUFFER_INIT;
    assert_int_equal(buffer_append_string(&strings, "[\"\\\""), 0);
    for (unsigned i = 0; i < 100; i++)
        assert_int_equal(buffer_append_string(&strings, "[{"), 0);
    assert_int_equal(buffer_append_string(&strings, "\"]"), 0);
    assert_int_equal(json_parse(buffer_string(&strings), strings.size, 1000, &value, NULL), 0);
    json_decref(value);
}

typedef struct Request {
    const char *name, *user, *password;
    int64_t count;
    bool is_forced;
    json_t *config, *list, *services, *extra;
} Request;

static const JsonField fields[] = {
    {.name = "name",
     .type = JSON_FIELD_STRING,
     .offset = offsetof(Request, name),
     .flags = JSON_FIELD_REQUIRED | JSON_FIELD_NAME},
    {.name = "user",
     .type = JSON_FIELD_STRING,
     .offset = offsetof(Request, user),
     .flags = JSON_FIELD_IDENTIFIER | JSON_FIELD_NULLABLE},
    {.name = "password",
     .type = JSON_FIELD_STRING,
     .offset = offsetof(Request, password),
     .flags = JSON_FIELD_SECRET,
     .minimum = 8,
     .maximum = 20},
    {.name = "count",
     .type = JSON_FIELD_INTEGER,
     .offset = offsetof(Request, count),
     .minimum = 1,
     .maximum = 10},
    {.name = "force",
     .type = JSON_FIELD_BOOLEAN,
     .offset = offsetof(Request, is_forced),
     .flags = JSON_FIELD_LOOSE},
    {.name = "config", .type = JSON_FIELD_OBJECT, .offset = offsetof(Request, config)},
    {.name = "list", .type = JSON_FIELD_ARRAY, .offset = offsetof(Request, list), .minimum = 1, .maximum = 2},
    {.name = "services", .type = JSON_FIELD_STRING_ARRAY, .offset = offsetof(Request, services)},
    {.name = "extra", .type = JSON_FIELD_ANY, .offset = offsetof(Request, extra)},
    {.name = NULL},
};

static void test_dispatch(void **state)
{
    _cleanup_json_ json_t *value = NULL;
    assert_int_equal(
        parse("{\"name\":\"web-1\",\"user\":null,\"password\":\"longenough\",\"count\":10,\"force\":\"yes\","
              "\"config\":{},\"list\":[1,2],\"services\":[\"a\"],\"extra\":null}",
              &value, NULL),
        0);
    Request request = {.user = "untouched"};
    Error error = ERROR_INIT;
    assert_int_equal(json_dispatch(value, fields, &request, "", JSON_UNKNOWN_ERROR, NULL, &error), 0);
    assert_string_equal(request.name, "web-1");
    assert_string_equal(request.user, "untouched");
    assert_string_equal(request.password, "longenough");
    assert_int_equal(request.count, 10);
    assert_true(request.is_forced);
    assert_true(json_is_object(request.config) && json_array_size(request.list) == 2);
    assert_true(json_array_size(request.services) == 1 && json_is_null(request.extra));
}

static void check_refused(const char *text, const char *field, const char *sentence)
{
    _cleanup_json_ json_t *value = NULL;
    Request request = {.name = NULL};
    Error error = ERROR_INIT;
    assert_int_equal(parse(text, &value, NULL), 0);
    assert_int_equal(json_dispatch(value, fields, &request, "body", JSON_UNKNOWN_ERROR, NULL, &error),
                     -EINVAL);
    assert_int_equal(error.code, ERROR_BAD_FIELD);
    assert_string_equal(error.field, field);
    assert_string_equal(error.text, sentence);
}

static void test_dispatch_refuses(void **state)
{
    check_refused("{}", "body.name", "is required");
    check_refused("[]", "body", "must be an object");
    check_refused("{\"name\":null}", "body.name", "must be a string");
    check_refused("{\"name\":\"a b\"}", "body.name",
                  "must be a name: 1 to 255 letters, digits, '_', '.' or '-'");
    check_refused("{\"name\":\"a\",\"user\":\"1\"}", "body.user",
                  "must be a name: a letter, then letters, digits, '-', '.', '_', '~' or '@', 255 at most");
    check_refused("{\"name\":\"a\",\"password\":\"short\"}", "body.password", "must have 8 to 20 bytes");
    check_refused("{\"name\":\"a\",\"password\":\"\"}", "body.password", "must not be empty");
    check_refused("{\"name\":\"a\",\"password\":\"123456789012345678901\"}", "body.password",
                  "must have 8 to 20 bytes");
    check_refused("{\"name\":\"a\",\"count\":0}", "body.count", "must be from 1 to 10");
    check_refused("{\"name\":\"a\",\"count\":\"5\"}", "body.count", "must be an integer");
    check_refused("{\"name\":\"a\",\"count\":1.5}", "body.count", "must be an integer");
    check_refused("{\"name\":\"a\",\"force\":1}", "body.force", "must be true or false");
    check_refused("{\"name\":\"a\",\"force\":\"maybe\"}", "body.force", "must be true or false");
    check_refused("{\"name\":\"a\",\"config\":[]}", "body.config", "must be an object");
    check_refused("{\"name\":\"a\",\"list\":{}}", "body.list", "must be an array");
    check_refused("{\"name\":\"a\",\"list\":[]}", "body.list", "must have at least 1 elements");
    check_refused("{\"name\":\"a\",\"list\":[1,2,3]}", "body.list", "must have at most 2 elements");
    check_refused("{\"name\":\"a\",\"services\":[\"a\",1]}", "body.services",
                  "must be an array of strings; element 1 is none");
    check_refused("{\"name\":\"a\",\"services\":\"a\"}", "body.services", "must be an array of strings");
    check_refused("{\"name\":\"a\",\"cuont\":1}", "body.cuont", "is unknown; did you mean 'count'?");
    check_refused("{\"name\":\"a\",\"zzzzzzz\":1}", "body.zzzzzzz", "is unknown");
}

static void test_secret_is_not_quoted(void **state)
{
    _cleanup_json_ json_t *value = NULL;
    Request request = {.name = NULL};
    Error error = ERROR_INIT;
    assert_int_equal(parse("{\"name\":\"a\",\"password\":\"hunter2\"}", &value, NULL), 0);
    assert_int_equal(json_dispatch(value, fields, &request, NULL, JSON_UNKNOWN_ERROR, NULL, &error), -EINVAL);
    assert_null(strstr(error.text, "hunter2"));
    assert_null(strstr(error.details, "hunter2"));
    assert_string_equal(error.field, "password");
}

static void test_unknown_members(void **state)
{
    _cleanup_json_ json_t *value = NULL;
    Request request = {.name = NULL};
    _cleanup_buffer_ Buffer warnings = BUFFER_INIT;
    assert_int_equal(parse("{\"name\":\"a\",\"x\":1,\"y\":{}}", &value, NULL), 0);
    assert_int_equal(json_dispatch(value, fields, &request, "svc", JSON_UNKNOWN_WARN, &warnings, NULL), 0);
    assert_string_equal(buffer_string(&warnings),
                        "svc.x: is unknown and ignored\nsvc.y: is unknown and ignored\n");
    assert_int_equal(json_dispatch(value, fields, &request, "", JSON_UNKNOWN_WARN, NULL, NULL), 0);
    assert_int_equal(json_dispatch(value, fields, &request, "", JSON_UNKNOWN_IGNORE, &warnings, NULL), 0);
    assert_int_equal(json_dispatch(value, fields, &request, "", JSON_UNKNOWN_ERROR, NULL, NULL), -EINVAL);
}

static void test_default_string_limit(void **state)
{
    static const JsonField one[] = {{.name = "s", .type = JSON_FIELD_STRING}, {.name = NULL}};
    const char *text = NULL;
    _cleanup_free_ char *large = memory_new(65538);
    memset(large, 'x', 65536);
    _cleanup_json_ json_t *value = json_pack("{s:s}", "s", large);
    assert_int_equal(json_dispatch(value, one, &text, "", JSON_UNKNOWN_ERROR, NULL, NULL), 0);
    large[65536] = 'x';
    _cleanup_json_ json_t *larger = json_pack("{s:s}", "s", large);
    assert_int_equal(json_dispatch(larger, one, &text, "", JSON_UNKNOWN_ERROR, NULL, NULL), -EINVAL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_parse),
        cmocka_unit_test(test_refused),
        cmocka_unit_test(test_errors_do_not_quote_the_document),
        cmocka_unit_test(test_limits),
        cmocka_unit_test(test_dispatch),
        cmocka_unit_test(test_dispatch_refuses),
        cmocka_unit_test(test_secret_is_not_quoted),
        cmocka_unit_test(test_unknown_members),
        cmocka_unit_test(test_default_string_limit),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
