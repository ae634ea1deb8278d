/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/memory.h"
#include "base/string.h"
#include "directory/filter.h"

static void check(const char *pattern, const char *username, const char *dn, const char *expected)
{
    _cleanup_buffer_ Buffer buffer = BUFFER_INIT;
    assert_int_equal(directory_filter_append(&buffer, pattern, username, dn), 0);
    assert_string_equal(buffer_string(&buffer), expected);
}

static void test_s13_values_are_escaped(void **state)
{
    (void)state;
    check("(uid={username})", "alice", NULL, "(uid=alice)");
    check("(uid={username})", "*)(uid=*", NULL, "(uid=\\2a\\29\\28uid\\3d\\2a)");
    check("(uid={username})", "a\\2a", NULL, "(uid=a\\5c2a)");
    check("(uid={username})", "a\nb c", NULL, "(uid=a\\0ab\\20c)");
    check("(uid={username})", "\xc3\xa4", NULL, "(uid=\\c3\\a4)");
    check("(uid={username})", "{dn}", "x", "(uid={dn})"); /* a value is not a template */
    check("(|(member={dn})(memberUid={username}))", "a", "cn=b,dc=c",
          "(|(member=cn\\3db,dc\\3dc)(memberUid=a))");
    check("(member={dn})", NULL, NULL, "(member=)");
}

static void test_limit(void **state)
{
    (void)state;
    _cleanup_buffer_ Buffer buffer = BUFFER_INIT_LIMIT(16);
    assert_int_equal(directory_filter_append(&buffer, "(uid={username})", "aaaaaaaaaaaaaaaa", NULL), -E2BIG);
}

static void test_patterns(void **state)
{
    (void)state;
    static const char *const good[] = {"(uid={username})", "(&(a=b)(|(c={dn})(d=e)))"};
    static const char *const bad[] = {"",         "uid={username}",     "(uid={user})", "(uid={username}",
                                      "(a=b))",   "(a=b)(c=d)",         ")a=b(",        "(a={)",
                                      "(a=b\n)c", "(a={username})extra"};
    for (size_t i = 0; i < ELEMENTSOF(good); i++)
        assert_true(directory_filter_is_valid(good[i]));
    for (size_t i = 0; i < ELEMENTSOF(bad); i++)
        assert_false(directory_filter_is_valid(bad[i]));
    assert_false(directory_filter_is_valid(NULL));
}

static void check_same(const char *a, const char *b)
{
    _cleanup_free_ char *first = directory_name_normalise(a), *second = directory_name_normalise(b);
    assert_non_null(first);
    assert_string_equal(first, second);
}

static void test_names_in_one_spelling(void **state)
{
    (void)state;
    check_same("CN=Ops, OU=Groups,dc=Example,DC=com", "cn=ops,ou=groups,dc=example,dc=com");
    check_same("cn=a\\2cb,dc=c", "cn=a\\,b,dc=c");
    check_same("cn=\\61,dc=c", "cn=a,dc=c");
    static const char *const wrong[] = {"", "ops", "cn", "=a", "cn=a,", "cn=a,,dc=b", "cn=a\\"};
    for (size_t i = 0; i < ELEMENTSOF(wrong); i++)
        assert_null(directory_name_normalise(wrong[i]));
    assert_null(directory_name_normalise(NULL));
    char lengthy[DIRECTORY_NAME_MAX + 2] = "cn=";
    memset(lengthy + 3, 'a', sizeof(lengthy) - 4);
    assert_null(directory_name_normalise(lengthy));
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_s13_values_are_escaped),
        cmocka_unit_test(test_limit),
        cmocka_unit_test(test_patterns),
        cmocka_unit_test(test_names_in_one_spelling),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
