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
    uint64_t generation = access_cache_generation(cache);
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
    uint64_t generation = access_cache_generation(cache);
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

/* SV3: a revocation acts at once. */
static void test_drop_voids_everything(void **state)
{
    (void)state;
    _cleanup_(access_cache_free_pointer) AccessCache *cache = access_cache_new();
    TokenFindRow ann = token_row("ann"), token;
    MembershipGetRow manager = {.role = "manager", .is_active = 1}, membership;
    uint64_t before = access_cache_generation(cache);
    access_cache_put_token(cache, before, one, &ann);
    access_cache_put_membership(cache, before, "acme", "ann", &manager);
    access_cache_drop(cache);
    uint64_t after = access_cache_generation(cache);
    assert_false(access_cache_get_token(cache, after, one, &token));
    assert_false(access_cache_get_membership(cache, after, "acme", "ann", &membership));
    /* A reader whose snapshot is older than the drop puts in what is void from the start. */
    access_cache_put_token(cache, before, one, &ann);
    assert_false(access_cache_get_token(cache, access_cache_generation(cache), one, &token));
}

static void test_memberships_are_of_tenant_and_account(void **state)
{
    (void)state;
    _cleanup_(access_cache_free_pointer) AccessCache *cache = access_cache_new();
    MembershipGetRow manager = {.role = "manager", .is_active = 1}, found;
    uint64_t generation = access_cache_generation(cache);
    access_cache_put_membership(cache, generation, "acme", "ann", &manager);
    assert_true(access_cache_get_membership(cache, generation, "acme", "ann", &found));
    assert_string_equal(found.role, "manager");
    assert_false(access_cache_get_membership(cache, generation, "acmea", "nn", &found)); /* the same bytes */
    assert_false(access_cache_get_membership(cache, generation, "acme", "bob", &found));
    assert_false(access_cache_get_membership(cache, generation, "acme", "", &found));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_what_was_put_is_found),
        cmocka_unit_test(test_collision_is_not_a_hit),
        cmocka_unit_test(test_drop_voids_everything),
        cmocka_unit_test(test_memberships_are_of_tenant_and_account),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
