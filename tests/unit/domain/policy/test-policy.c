/* SPDX-License-Identifier: Apache-2.0 */

/* Policies (SV22): values and their limits, tightening, passwords (S03). */

#include "domain/policy/policy.h"
#include "support.h"

static void check_table(void **state)
{
    (void)state;
    _cleanup_policy_ Policy policy;
    policy_init(&policy);
    for (unsigned i = 0; i < _POLICY_MAX; i++) {
        const PolicyDescription *row = policy_describe((PolicyId)i);
        assert_int_equal(policy_from_name(row->name), i);
        assert_true(row->minimum <= row->initial && row->initial <= row->maximum);
        assert_int_equal(policy.numbers[i], row->initial);
    }
    assert_true(policy_from_name("no_such_policy") < 0);
}

static int read_value(PolicyId id, const char *json, char **ret_text, Error *error)
{
    _cleanup_json_ json_t *value = json_loads(json, JSON_DECODE_ANY, NULL);
    assert_non_null(value);
    *ret_text = NULL;
    return policy_read(id, value, ret_text, error);
}

static void check_values(void **state)
{
    (void)state;
    static const struct {
        PolicyId id;
        const char *json, *text; /* NULL = refused */
    } rows[] = {
        {POLICY_PASSWORD_LENGTH, "8", "8"},
        {POLICY_PASSWORD_LENGTH, "128", "128"},
        {POLICY_PASSWORD_LENGTH, "7", NULL},
        {POLICY_PASSWORD_LENGTH, "129", NULL},
        {POLICY_PASSWORD_LENGTH, "\"12\"", NULL},
        {POLICY_PASSWORD_LENGTH, "12.5", NULL},
        {POLICY_PASSWORD_LENGTH, "true", NULL},
        {POLICY_PASSWORD_LENGTH, "[]", NULL},
        {POLICY_SESSION_IDLE, "59", NULL},
        {POLICY_SESSION_IDLE, "60", "60"},
        {POLICY_SESSION_IDLE, "-60", NULL},
        {POLICY_SECOND_FACTOR_ROLES, "[]", ""},
        {POLICY_SECOND_FACTOR_ROLES, "[\"user\",\"manager\",\"user\"]", "manager,user"},
        {POLICY_SECOND_FACTOR_ROLES, "[\"a,b\"]", NULL},
        {POLICY_SECOND_FACTOR_ROLES, "[\"\"]", NULL},
        {POLICY_SECOND_FACTOR_ROLES, "[1]", NULL},
        {POLICY_SECOND_FACTOR_ROLES, "\"manager\"", NULL},
        {POLICY_SECOND_FACTOR_ROLES, "{}", NULL},
    };
    for (size_t i = 0; i < ELEMENTSOF(rows); i++) {
        _cleanup_free_ char *text = NULL;
        Error error = ERROR_INIT;
        int r = read_value(rows[i].id, rows[i].json, &text, &error);
        if (rows[i].text) {
            assert_int_equal(r, 0);
            assert_string_equal(text, rows[i].text);
        } else {
            assert_true(r < 0);
            assert_int_equal(error.code, ERROR_BAD_FIELD);
            assert_string_equal(error.field, policy_describe(rows[i].id)->name);
        }
    }
}

static void check_stored_nonsense(void **state)
{
    (void)state;
    _cleanup_policy_ Policy policy;
    policy_init(&policy);
    assert_true(policy_apply(&policy, POLICY_PASSWORD_LENGTH, "4") < 0);
    assert_true(policy_apply(&policy, POLICY_PASSWORD_LENGTH, "many") < 0);
    assert_int_equal(policy.numbers[POLICY_PASSWORD_LENGTH], 12);
}

static void check_tightening(void **state)
{
    (void)state;
    _cleanup_policy_ Policy system, tenant, effective;
    policy_init(&system);
    policy_init(&tenant);
    assert_int_equal(policy_apply(&system, POLICY_SECOND_FACTOR_ROLES, "sys_admin"), 0);
    assert_int_equal(policy_apply(&tenant, POLICY_SECOND_FACTOR_ROLES, "manager"), 0);
    assert_int_equal(policy_apply(&tenant, POLICY_PASSWORD_LENGTH, "20"), 0);
    assert_int_equal(policy_apply(&tenant, POLICY_TOKEN_LIFE, "3600"), 0);
    assert_int_equal(policy_apply(&tenant, POLICY_SESSION_IDLE, "86400"), 0);
    policy_copy(&effective, &system);
    policy_tighten(&effective, &tenant);
    assert_int_equal(effective.numbers[POLICY_PASSWORD_LENGTH], 20);
    assert_int_equal(effective.numbers[POLICY_TOKEN_LIFE], 3600);
    assert_int_equal(effective.numbers[POLICY_SESSION_IDLE], 1800); /* the looser one does not count */
    assert_true(string_list_contains(&effective.names[POLICY_SECOND_FACTOR_ROLES], "sys_admin"));
    assert_true(string_list_contains(&effective.names[POLICY_SECOND_FACTOR_ROLES], "manager"));
    assert_int_equal(effective.names[POLICY_SECOND_FACTOR_ROLES].count, 2);
    assert_int_equal(system.names[POLICY_SECOND_FACTOR_ROLES].count, 1);
}

static void check_within(void **state)
{
    (void)state;
    _cleanup_policy_ Policy system;
    policy_init(&system);
    static const struct {
        PolicyId id;
        const char *text;
        bool is_allowed;
    } rows[] = {
        {POLICY_PASSWORD_LENGTH, "12", true},   {POLICY_PASSWORD_LENGTH, "13", true},
        {POLICY_PASSWORD_LENGTH, "11", false},  {POLICY_TOKEN_LIFE, "31536000", true},
        {POLICY_TOKEN_LIFE, "31536001", false}, {POLICY_SECOND_FACTOR_ROLES, "manager", true},
        {POLICY_SIGN_IN_FAILURES, "3", false}, /* the system's alone */
    };
    for (size_t i = 0; i < ELEMENTSOF(rows); i++) {
        Error error = ERROR_INIT;
        assert_int_equal(policy_check_within(&system, rows[i].id, rows[i].text, &error) == 0,
                         rows[i].is_allowed);
    }
}

/* S03: at least 64 characters are allowed, words of the context are refused, Unicode is taken as it is, and
 * nothing is asked about kinds of characters. */
static void check_passwords(void **state)
{
    (void)state;
    static const char *const good[] = {
        "correct horse battery staple",
        "zwoelf zeich",
        "\xc3\xa4\xc3\xb6\xc3\xbc\xc3\x9f \xe2\x82\xac\xe2\x82\xac uvw x", /* 12 characters */
        "mnbvcxyaslkj",
        "my password of thirty",
        "0123456789012345678901234567890123456789012345678901234567890123 or so",
    };
    static const char *const bad[] = {
        "short",
        "elevenchars",
        "\xc3\xa4\xc3\xb6\xc3\xbc\xc3\x9f\xc3\xa4\xc3\xb6\xc3\xbc", /* 7 */
        "aaaaaaaaaaaa",
        "abcabcabcabc",
        "I am Marianne, hello",
        "passwordpassword",
        "qwertyuiop123",
        "PASSWORD12345",
        "the house of zorblax",
    };
    _cleanup_policy_ Policy policy;
    policy_init(&policy);
    assert_int_equal(policy_apply(&policy, POLICY_PASSWORD_WORDS, "zorblax"), 0);
    for (size_t i = 0; i < ELEMENTSOF(good); i++) {
        Error error = ERROR_INIT;
        if (policy_check_password(&policy, "marianne", good[i], &error) < 0)
            fail_msg("%s: %s", good[i], error.text);
    }
    for (size_t i = 0; i < ELEMENTSOF(bad); i++) {
        Error error = ERROR_INIT;
        if (policy_check_password(&policy, "marianne", bad[i], &error) == 0)
            fail_msg("%s was taken", bad[i]);
        assert_null(strstr(error.text, bad[i]));
    }
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(check_table),      cmocka_unit_test(check_values),
        cmocka_unit_test(check_tightening), cmocka_unit_test(check_within),
        cmocka_unit_test(check_passwords),  cmocka_unit_test(check_stored_nonsense),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
