/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "api/access_cache.h"

static const uint8_t one[ACCESS_CACHE_HASH_SIZE] = {1}, two[ACCESS_CACHE_HASH_SIZE] = {1, 0, 2};

static TokenFindRow token_row(const char *username)
{
    return (TokenFindRow){.id = "token",
                          .username = username,
                          .default_tenant = "",
                          .expires_at = 5,
                          .role = "default",
                          .is_active = 1};
}

static void test_what_was_put_is_found(void **state)
{
    (void)state;
    _cleanup_(access_cache_free_pointer) AccessCache *cache = access_cache_new();
    TokenFindRow row = token_row("ann"), found;
    const uint64_t generation = 0;
    assert_false(access_cache_get_token(cache, generation, one, &found));
    access_cache_put_token(cache, generation, one, &row);
    assert_true(access_cache_get_token(cache, generation, one, &found));
    assert_string_equal(found.username, "ann");
    assert_ptr_not_equal(found.username, row.username);
    access_cache_note_use(cache, one, 77);
    assert_true(access_cache_get_token(cache, generation, one, &found));
    assert_int_equal(found.last_used_at, 77);
}

/* Two tokens of one place: the one that asks never gets the other's account. */
static void test_collision_is_not_a_hit(void **state)
{
    (void)state;
    _cleanup_(access_cache_free_pointer) AccessCache *cache = access_cache_new();
    TokenFindRow ann = token_row("ann"), bob = token_row("bob"), found;
    const uint64_t generation = 0;
    access_cache_put_token(cache, generation, one, &ann);
    assert_false(access_cache_get_token(cache, generation, two, &found));
    access_cache_note_use(cache, two, 99);
    assert_true(access_cache_get_token(cache, generation, one, &found));
    assert_int_equal(found.last_used_at, 0);
    access_cache_put_token(cache, generation, two, &bob);
    assert_false(access_cache_get_token(cache, generation, one, &found));
    assert_true(access_cache_get_token(cache, generation, two, &found));
    assert_string_equal(found.username, "bob");
}

static AccessRights manager_rights(void)
{
    return (AccessRights){.is_active = true,
                          .is_tenant = true,
                          .is_member = true,
                          .role = "default",
                          .permissions = access_role_permissions(ACCESS_ROLE_MANAGER)};
}

/* SV3: a revocation acts at once: a later generation finds nothing of an earlier one. */
static void test_change_voids_everything(void **state)
{
    (void)state;
    _cleanup_(access_cache_free_pointer) AccessCache *cache = access_cache_new();
    TokenFindRow ann = token_row("ann"), token;
    AccessRights manager = manager_rights(), rights;
    access_cache_put_token(cache, 7, one, &ann);
    access_cache_put_rights(cache, 7, "acme", "ann", &manager);
    assert_true(access_cache_get_rights(cache, 7, "acme", "ann", &rights));
    assert_false(access_cache_get_token(cache, 8, one, &token));
    assert_false(access_cache_get_rights(cache, 8, "acme", "ann", &rights));
    /* A reader whose snapshot is older than the change puts in what is void from the start. */
    access_cache_put_token(cache, 7, one, &ann);
    assert_false(access_cache_get_token(cache, 8, one, &token));
}

static void test_rights_are_of_tenant_and_account(void **state)
{
    (void)state;
    _cleanup_(access_cache_free_pointer) AccessCache *cache = access_cache_new();
    AccessRights manager = manager_rights(), found;
    assert_false(access_cache_get_rights(cache, 0, "acme", "ann", &found));
    access_cache_put_rights(cache, 0, "acme", "ann", &manager);
    assert_true(access_cache_get_rights(cache, 0, "acme", "ann", &found));
    assert_true(found.is_member);
    assert_string_equal(found.role, "default");
    assert_ptr_not_equal(found.role, manager.role);
    assert_true(permission_set_covers(&found.permissions, &manager.permissions));
    assert_false(access_cache_get_rights(cache, 0, "acmea", "nn", &found)); /* the same bytes */
    assert_false(access_cache_get_rights(cache, 0, "acme", "bob", &found));
    assert_false(access_cache_get_rights(cache, 0, "", "ann", &found));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_what_was_put_is_found),
        cmocka_unit_test(test_collision_is_not_a_hit),
        cmocka_unit_test(test_change_voids_everything),
        cmocka_unit_test(test_rights_are_of_tenant_and_account),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
