/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>

#include "base/error.h"
#include "helper.h"

static void test_table(void **state)
{
    for (int code = 0; code < _ERROR_MAX; code++) {
        const ErrorDescription *description = error_describe((ErrorCode)code);
        assert_non_null(description->symbol);
        assert_true(name_is_valid(description->name));
        assert_non_null(description->meaning);
        assert_int_equal(error_code_from_name(description->name), code); /* names are unique */
        assert_in_range(description->exit_status, 0, 255);
        if (code == ERROR_NONE)
            continue;
        assert_in_range(description->http_status, 400, 599);
        assert_int_not_equal(description->exit_status, 0);
        assert_true(error_set(NULL, (ErrorCode)code, "x") < 0);
    }
    assert_int_equal(error_code_from_name("no such"), _ERROR_INVALID);
    assert_int_equal(error_code_from_name(NULL), _ERROR_INVALID);
    assert_ptr_equal(error_describe((ErrorCode)9999), error_describe(ERROR_INTERNAL));
    assert_ptr_equal(error_describe(_ERROR_INVALID), error_describe(ERROR_INTERNAL));
}

static void test_first_wins(void **state)
{
    Error error = ERROR_INIT;
    assert_false(error_is_set(&error));
    assert_int_equal(error_set_field(&error, ERROR_NOT_FOUND, "a.b", "no cluster '%s'", "x"), -ENOENT);
    assert_true(error_is_set(&error));
    assert_int_equal(error_set(&error, ERROR_CONFLICT, "second"), -ENOENT);
    assert_int_equal(error_set_field(&error, ERROR_CONFLICT, "c", "third"), -ENOENT);
    assert_int_equal(error_set_errno(&error, ERROR_IO, EIO, "fourth"), -ENOENT);
    assert_int_equal(error.code, ERROR_NOT_FOUND);
    assert_string_equal(error.text, "no cluster 'x'");
    assert_string_equal(error.field, "a.b");
    assert_int_equal(error_set(NULL, ERROR_CONFLICT, "nobody asks"), -EEXIST);
    error_clear(&error);
    assert_false(error_is_set(&error));
    assert_string_equal(error.text, "");
    error_clear(NULL);
    assert_false(error_is_set(NULL));
}

static void test_errno(void **state)
{
    Error error = ERROR_INIT;
    assert_int_equal(error_set_errno(&error, ERROR_CONFIGURATION, ENOENT, "%s", "/etc/x"), -EINVAL);
    assert_string_equal(error.text, "/etc/x: No such file or directory");
    assert_int_equal(error.cause, ENOENT);
    /* What happens inside is not for the client. */
    error_clear(&error);
    assert_int_equal(error_set_errno(&error, ERROR_INTERNAL, EIO, "/secret/path"), -EIO);
    assert_null(strstr(error.text, "/secret/path"));
    assert_string_equal(error.text, error_describe(ERROR_INTERNAL)->meaning);
    assert_string_equal(error.details, "/secret/path: Input/output error");
    error_clear(&error);
    assert_int_equal(error_set_errno(&error, ERROR_IO, 99999, "x"), -EIO);
    assert_string_equal(error.text, "x: unknown error");
}

static void test_prefix_and_details(void **state)
{
    Error error = ERROR_INIT;
    error_prefix(&error, "nothing to prefix");
    assert_string_equal(error.text, "");
    assert_int_equal(error_set(&error, ERROR_BAD_FIELD, "is wrong"), -EINVAL);
    error_prefix(&error, "file:%d", 3);
    assert_string_equal(error.text, "file:3: is wrong");
    error_add_details(&error, "a=%d", 1);
    error_add_details(&error, "b=%d", 2);
    assert_string_equal(error.details, "a=1; b=2");
    error_add_details(NULL, "x");
    error_prefix(NULL, "x");
}

static void test_long_and_invalid_text(void **state)
{
    char many[2001];
    memset(many, 'x', 2000);
    many[2000] = 0;
    Error error = ERROR_INIT;
    assert_int_equal(error_set_field(&error, ERROR_BAD_FIELD, many, "%s", many), -EINVAL);
    assert_int_equal(strlen(error.text), sizeof(error.text) - 1);
    assert_int_equal(strlen(error.field), sizeof(error.field) - 1);
    error_prefix(&error, "%s", many);
    for (unsigned i = 0; i < 10; i++)
        error_add_details(&error, "%s", many);
    assert_int_equal(strlen(error.details), sizeof(error.details) - 1);
    error_clear(&error);
    assert_int_equal(error_set(&error, ERROR_BAD_FIELD, "a\xff%s", "\xc3"), -EINVAL);
    assert_string_equal(error.text, "a??");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_table),
        cmocka_unit_test(test_first_wins),
        cmocka_unit_test(test_errno),
        cmocka_unit_test(test_prefix_and_details),
        cmocka_unit_test(test_long_and_invalid_text),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
