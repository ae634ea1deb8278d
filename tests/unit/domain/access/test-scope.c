/* SPDX-License-Identifier: Apache-2.0 */

/* Scopes of tokens (S11): they only take away. */

#include "domain/access/scope.h"
#include "support.h"

static Principal principal_of(PermissionSet rights)
{
    return (Principal){.username = "ann", .is_member = true, .rights = rights};
}

static void check_permissions_only_take_away(void **state)
{
    (void)state;
    _cleanup_token_scope_ TokenScope scope = {0};
    assert_int_equal(token_scope_parse("{\"permissions\":[\"cluster_list\",\"cluster_create\"]}", &scope), 0);
    Principal viewer = principal_of(access_role_permissions(ACCESS_ROLE_VIEWER));
    token_scope_apply(&scope, "shop", &viewer);
    assert_true(principal_has(&viewer, PERMISSION_CLUSTER_LIST));
    assert_false(principal_has(&viewer, PERMISSION_CLUSTER_CREATE)); /* the role has it not */
    assert_false(principal_has(&viewer, PERMISSION_NODE_LIST));
    assert_true(viewer.is_member);
}

static void check_tenants(void **state)
{
    (void)state;
    _cleanup_token_scope_ TokenScope scope = {0};
    assert_int_equal(token_scope_parse("{\"tenants\":[\"shop\"]}", &scope), 0);
    const PermissionSet all = access_role_permissions(ACCESS_ROLE_SYS_ADMIN);
    Principal inside = principal_of(all), outside = principal_of(all), nowhere = principal_of(all);
    token_scope_apply(&scope, "shop", &inside);
    token_scope_apply(&scope, "bank", &outside);
    token_scope_apply(&scope, NULL, &nowhere);
    assert_true(principal_has(&inside, PERMISSION_CLUSTER_CREATE));
    assert_false(principal_has(&inside, PERMISSION_USER_CREATE));
    assert_false(outside.is_member);
    assert_false(principal_has(&outside, PERMISSION_CLUSTER_LIST));
    assert_false(principal_has(&nowhere, PERMISSION_USER_CREATE));
    assert_true(principal_has(&nowhere, PERMISSION_USER_GET_SELF));
}

static void check_text(void **state)
{
    (void)state;
    static const char *const good[] = {"", "{\"permissions\":[]}", "{\"tenants\":[]}",
                                       "{\"permissions\":[\"cluster_list\"],\"tenants\":[\"a\",\"b\"]}"};
    static const char *const bad[] = {"x",
                                      "[]",
                                      "{\"permissions\":[\"nothing\"]}",
                                      "{\"permissions\":[\"open\"]}",
                                      "{\"tenants\":[1]}",
                                      "{\"tenants\":[\"a b\"]}",
                                      "{\"permissions\":{}}"};
    for (size_t i = 0; i < ELEMENTSOF(good); i++) {
        _cleanup_token_scope_ TokenScope scope = {0};
        assert_int_equal(token_scope_parse(good[i], &scope), 0);
        _cleanup_free_ char *text = token_scope_to_text(&scope);
        assert_string_equal(text, good[i]);
    }
    for (size_t i = 0; i < ELEMENTSOF(bad); i++) {
        _cleanup_token_scope_ TokenScope scope = {0};
        assert_true(token_scope_parse(bad[i], &scope) < 0);
    }
}

static void check_narrowing(void **state)
{
    (void)state;
    static const struct {
        const char *asked, *maker, *made; /* NULL = refused */
    } rows[] = {
        {"", "", ""},
        {"{\"tenants\":[\"a\"]}", "", "{\"tenants\":[\"a\"]}"},
        {"", "{\"tenants\":[\"a\"]}", "{\"tenants\":[\"a\"]}"},
        {"{\"tenants\":[\"b\"]}", "{\"tenants\":[\"a\"]}", NULL},
        {"", "{\"permissions\":[\"cluster_list\"]}", "{\"permissions\":[\"cluster_list\"]}"},
        {"{\"permissions\":[]}", "{\"permissions\":[\"cluster_list\"]}", "{\"permissions\":[]}"},
        {"{\"permissions\":[\"node_list\"]}", "{\"permissions\":[\"cluster_list\"]}", NULL},
    };
    for (size_t i = 0; i < ELEMENTSOF(rows); i++) {
        _cleanup_token_scope_ TokenScope asked = {0}, maker = {0};
        Error error = ERROR_INIT;
        assert_int_equal(token_scope_parse(rows[i].asked, &asked), 0);
        assert_int_equal(token_scope_parse(rows[i].maker, &maker), 0);
        int r = token_scope_narrow(&asked, &maker, &error);
        if (!rows[i].made) {
            assert_true(r < 0 && error.code == ERROR_FORBIDDEN);
            continue;
        }
        _cleanup_free_ char *text = token_scope_to_text(&asked);
        assert_string_equal(text, rows[i].made);
    }
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(check_permissions_only_take_away),
        cmocka_unit_test(check_tenants),
        cmocka_unit_test(check_text),
        cmocka_unit_test(check_narrowing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
