/* SPDX-License-Identifier: Apache-2.0 */

/* The decision (SV4, SV8, SV10, SV11, SV12): every combination against a second evaluation that is written
 * from the rules as a person reads them, one sentence after the other, and named cases. */

#include "base/string.h"
#include "domain/access/access.h"
#include "support.h"

static const unsigned rights_of_class[] = {0, 0, GRANT_READ, GRANT_USE, GRANT_WRITE, GRANT_GRANT};

/* What a person reads
 * -----------------------------------------------------------------------------------------------------------
 */

typedef enum Answer { YES, NOT_KNOWN, NOT_ALLOWED, NOT_THERE } Answer;

static bool may_see(const Principal *who, const AccessObject *what)
{
    bool is_in_own_tenant = strcmp(what->tenant, who->tenant) == 0;
    if (!is_in_own_tenant)
        return what->visibility == VISIBILITY_GLOBAL;
    if (what->visibility == VISIBILITY_TENANT || what->visibility == VISIBILITY_GLOBAL)
        return true;
    bool is_owner = strcmp(what->owner, who->username) == 0;
    bool is_administrator = permission_set_has(&who->rights, PERMISSION_ADMINISTRATORS);
    bool holds_a_grant = what->rights != 0;
    return is_owner || is_administrator || holds_a_grant;
}

static Answer expected(const Principal *who, Permission permission, const AccessObject *what)
{
    const PermissionDescription *description = permission_describe(permission);
    if (who->username == NULL)
        return NOT_KNOWN;
    if (description->scope == ACCESS_SCOPE_TENANT && (who->tenant == NULL || !who->is_member))
        return NOT_KNOWN;
    bool role_has_it = permission_set_has(&who->rights, permission);
    if (what == NULL)
        return role_has_it ? YES : NOT_ALLOWED;

    bool is_in_own_tenant = strcmp(what->tenant, who->tenant) == 0;
    bool grant_has_it = is_in_own_tenant && (what->rights & rights_of_class[description->class]) != 0;
    if (grant_has_it)
        return YES;
    if (!role_has_it)
        return NOT_ALLOWED;
    if (!may_see(who, what))
        return NOT_THERE;
    bool changes = description->class != PERMISSION_CLASS_LIST &&
                   description->class != PERMISSION_CLASS_READ && description->class != PERMISSION_CLASS_USE;
    if (!is_in_own_tenant)
        return changes ? NOT_ALLOWED : YES;
    bool sees_by_grant_alone = what->visibility == VISIBILITY_PRIVATE &&
                               strcmp(what->owner, who->username) != 0 &&
                               !permission_set_has(&who->rights, PERMISSION_ADMINISTRATORS);
    bool needs_more_than_sight = description->class == PERMISSION_CLASS_USE ||
                                 description->class == PERMISSION_CLASS_WRITE ||
                                 description->class == PERMISSION_CLASS_GRANT;
    return sees_by_grant_alone && needs_more_than_sight ? NOT_ALLOWED : YES;
}

static Answer decided(const Principal *who, Permission permission, const AccessObject *what)
{
    AccessVerdict verdict = access_decide(who, permission, what);
    Error error = ERROR_INIT;
    int r = access_verdict_to_error(&verdict, what, &error);
    assert_int_equal(r >= 0, verdict.is_allowed);
    assert_int_equal(verdict.permission, permission);
    if (r >= 0)
        return YES;
    switch (error_describe(error.code)->http_status) {
    case 401:
        assert_string_equal(error.text, "Unauthorized User");
        return NOT_KNOWN;
    case 403:
        assert_non_null(strstr(error.text, permission_describe(permission)->name));
        return NOT_ALLOWED;
    default:
        assert_int_equal(error_describe(error.code)->http_status, 404);
        return NOT_THERE;
    }
}

static unsigned long checked;

static void check(const Principal *who, Permission permission, const AccessObject *what)
{
    Answer found = decided(who, permission, what), wanted = expected(who, permission, what);
    checked++;
    if (found != wanted)
        fail_msg("%s by %s (member %d) on %s of %s, rights %u: %d, expected %d",
                 permission_describe(permission)->name, who->username ? who->username : "-", who->is_member,
                 what ? visibility_to_string(what->visibility) : "nothing", what ? what->tenant : "-",
                 what ? what->rights : 0, found, wanted);
}

static void check_objects(const Principal *who, Permission permission)
{
    static const char *const tenants[] = {"acme", "other"}, *const owners[] = {"ann", "bob", ""};
    check(who, permission, NULL);
    if (permission_describe(permission)->scope != ACCESS_SCOPE_TENANT)
        return;
    for (unsigned t = 0; t < ELEMENTSOF(tenants); t++)
        for (unsigned o = 0; o < ELEMENTSOF(owners); o++)
            for (unsigned v = 0; v < _VISIBILITY_MAX; v++)
                for (unsigned rights = 0; rights <= GRANT_ALL; rights++) {
                    AccessObject object = {.tenant = tenants[t],
                                           .kind = "cluster",
                                           .id = "c",
                                           .owner = owners[o],
                                           .visibility = (Visibility)v,
                                           .rights = rights};
                    check(who, permission, &object);
                }
}

/* Roles, alone and in pairs, member or not, signed in or not, with each permission and each kind of object.
 */
static void test_sv4_sv11_every_combination(void **state)
{
    (void)state;
    checked = 0;
    for (unsigned first = ACCESS_ROLE_NONE; first < _ACCESS_ROLE_MAX; first++)
        for (unsigned second = ACCESS_ROLE_NONE; second <= first; second++)
            for (unsigned shape = 0; shape < 8; shape++) {
                PermissionSet set = access_role_permissions((AccessRole)first),
                              more = access_role_permissions((AccessRole)second);
                permission_set_unite(&set, &more);
                Principal who = {.username = shape & 1 ? "ann" : NULL,
                                 .tenant = shape & 2 ? "acme" : NULL,
                                 .is_member = shape & 4,
                                 .rights = set};
                for (unsigned p = PERMISSION_OPEN + 1; p < _PERMISSION_MAX; p++) {
                    if (who.tenant)
                        check_objects(&who, (Permission)p);
                    else
                        check(&who, (Permission)p, NULL);
                }
            }
    assert_true(checked > 100 * 1000);
}

/* Named cases
 * ------------------------------------------------------------------------------------------------------------------
 */

static Principal member(const char *name, AccessRole role)
{
    return (Principal){
        .username = name, .tenant = "acme", .is_member = true, .rights = access_role_permissions(role)};
}

static const AccessObject private_of_bob = {
    .tenant = "acme", .kind = "cluster", .id = "c", .owner = "bob", .visibility = VISIBILITY_PRIVATE};

static AccessRule rule(const Principal *who, Permission permission, const AccessObject *what)
{
    return access_decide(who, permission, what).rule;
}

static void test_nobody_has_anything_without_a_role(void **state)
{
    (void)state;
    Principal nobody = {.username = "ann"}, stranger = {0};
    for (unsigned p = PERMISSION_OPEN + 1; p < _PERMISSION_MAX; p++) {
        assert_false(access_decide(&nobody, (Permission)p, NULL).is_allowed);
        assert_int_equal(rule(&stranger, (Permission)p, NULL), ACCESS_RULE_NOT_SIGNED_IN);
    }
    assert_true(access_decide(&stranger, PERMISSION_OPEN, NULL).is_allowed);
}

static void test_sv11_private_is_seen_by_owner_administrators_and_holders(void **state)
{
    (void)state;
    Principal ann = member("ann", ACCESS_ROLE_USER), bob = member("bob", ACCESS_ROLE_USER),
              max = member("max", ACCESS_ROLE_MANAGER);
    AccessObject object = private_of_bob;
    assert_int_equal(rule(&ann, PERMISSION_CLUSTER_GET, &object), ACCESS_RULE_HIDDEN);
    assert_int_equal(rule(&ann, PERMISSION_CLUSTER_DELETE, &object), ACCESS_RULE_HIDDEN);
    assert_int_equal(rule(&bob, PERMISSION_CLUSTER_DELETE, &object), ACCESS_RULE_OWNER);
    assert_int_equal(rule(&max, PERMISSION_CLUSTER_GET, &object), ACCESS_RULE_ADMINISTRATOR);
    object.rights = GRANT_READ;
    assert_int_equal(rule(&ann, PERMISSION_CLUSTER_GET, &object), ACCESS_RULE_SIGHT);
    assert_int_equal(rule(&ann, PERMISSION_CLUSTER_DELETE, &object), ACCESS_RULE_NO_GRANT);
    object.rights = GRANT_WRITE;
    assert_int_equal(rule(&ann, PERMISSION_CLUSTER_DELETE, &object), ACCESS_RULE_GRANT);
    assert_int_equal(rule(&ann, PERMISSION_NODE_SSH, &object), ACCESS_RULE_NO_GRANT);
}

/* SV4: a grant gives what no role does, in the tenant only, and never what cannot be granted. */
static void test_sv4_grant_beyond_the_role(void **state)
{
    (void)state;
    Principal viewer = member("ann", ACCESS_ROLE_VIEWER);
    AccessObject object = private_of_bob;
    object.visibility = VISIBILITY_TENANT;
    object.rights = GRANT_WRITE;
    assert_int_equal(rule(&viewer, PERMISSION_CLUSTER_DELETE, &object), ACCESS_RULE_GRANT);
    object.rights = GRANT_READ | GRANT_USE | GRANT_GRANT;
    assert_int_equal(rule(&viewer, PERMISSION_CLUSTER_DELETE, &object), ACCESS_RULE_NO_PERMISSION);
    object.rights = GRANT_ALL;
    assert_int_equal(rule(&viewer, PERMISSION_BUNDLE_APPROVE, &object), ACCESS_RULE_NO_PERMISSION);
    viewer.is_member = false;
    assert_int_equal(rule(&viewer, PERMISSION_CLUSTER_DELETE, &object), ACCESS_RULE_NOT_A_MEMBER);
    viewer.is_member = true;
    object.tenant = "other";
    assert_int_equal(rule(&viewer, PERMISSION_CLUSTER_DELETE, &object), ACCESS_RULE_NO_PERMISSION);
}

/* SV11: what is global is read and used everywhere, and changed at home only, also by administrators. */
static void test_sv11_global_is_read_everywhere_and_changed_at_home(void **state)
{
    (void)state;
    Principal max = member("max", ACCESS_ROLE_MANAGER), all = member("root", ACCESS_ROLE_SYS_ADMIN);
    AccessObject object = private_of_bob;
    object.visibility = VISIBILITY_GLOBAL;
    assert_int_equal(rule(&max, PERMISSION_CATALOG_WRITE, &object), ACCESS_RULE_TENANT_OBJECT);
    object.tenant = "other";
    assert_int_equal(rule(&max, PERMISSION_CATALOG_GET, &object), ACCESS_RULE_GLOBAL);
    assert_int_equal(rule(&max, PERMISSION_CATALOG_WRITE, &object), ACCESS_RULE_FOREIGN);
    assert_int_equal(rule(&all, PERMISSION_CATALOG_WRITE, &object), ACCESS_RULE_FOREIGN);
    object.visibility = VISIBILITY_TENANT;
    assert_int_equal(rule(&all, PERMISSION_CATALOG_GET, &object), ACCESS_RULE_HIDDEN);
}

/* S17: who lacks the permission gets the same answer for what is hidden, for what is there and for nothing.
 */
static void test_s17_refusal_tells_nothing(void **state)
{
    (void)state;
    Principal viewer = member("ann", ACCESS_ROLE_VIEWER);
    AccessObject seen = private_of_bob, foreign = private_of_bob;
    seen.visibility = VISIBILITY_TENANT;
    foreign.tenant = "other";
    AccessRule nothing = rule(&viewer, PERMISSION_CLUSTER_DELETE, NULL);
    assert_int_equal(nothing, ACCESS_RULE_NO_PERMISSION);
    assert_int_equal(rule(&viewer, PERMISSION_CLUSTER_DELETE, &private_of_bob), nothing);
    assert_int_equal(rule(&viewer, PERMISSION_CLUSTER_DELETE, &seen), nothing);
    assert_int_equal(rule(&viewer, PERMISSION_CLUSTER_DELETE, &foreign), nothing);
}

/* SV23: duties are apart. */
static void test_sv23_auditors_read_and_officers_have_no_clusters(void **state)
{
    (void)state;
    PermissionSet auditor = access_role_permissions(ACCESS_ROLE_AUDITOR),
                  officer = access_role_permissions(ACCESS_ROLE_SECURITY_OFFICER);
    static const Permission not_for_auditors[] = {
        PERMISSION_USER_CREATE,    PERMISSION_USER_UPDATE,    PERMISSION_USER_DELETE,
        PERMISSION_TENANT_CREATE,  PERMISSION_TENANT_DELETE,  PERMISSION_TENANT_ADD_USER,
        PERMISSION_BUNDLE_APPROVE, PERMISSION_CATALOG_WRITE,  PERMISSION_CLUSTER_CREATE,
        PERMISSION_CLUSTER_DELETE, PERMISSION_ADMINISTRATORS, PERMISSION_TOKEN_MANAGE_OTHERS};
    for (size_t i = 0; i < ELEMENTSOF(not_for_auditors); i++)
        assert_false(permission_set_has(&auditor, not_for_auditors[i]));
    assert_true(permission_set_has(&auditor, PERMISSION_AUDIT_LIST));
    for (unsigned p = PERMISSION_CLUSTER_LIST; p <= PERMISSION_EXECUTION_DECIDE; p++)
        assert_false(permission_set_has(&officer, (Permission)p));
    assert_true(permission_set_has(&officer, PERMISSION_BUNDLE_APPROVE));
}

/* S20: no tenant role reaches the installation. */
static void test_s20_tenant_roles_stay_in_their_tenant(void **state)
{
    (void)state;
    PermissionSet of_tenants = permission_set_of_tenants();
    for (unsigned role = ACCESS_ROLE_MANAGER; role < _ACCESS_ROLE_MAX; role++) {
        PermissionSet set = access_role_permissions((AccessRole)role);
        assert_true(permission_set_covers(&of_tenants, &set));
    }
    PermissionSet all = access_role_permissions(ACCESS_ROLE_SYS_ADMIN);
    assert_true(permission_set_covers(&all, &of_tenants));
    assert_false(permission_set_covers(&of_tenants, &all));
}

static void test_sets(void **state)
{
    (void)state;
    PermissionSet set = {0}, empty = {0};
    Permission last = (Permission)(_PERMISSION_MAX - 1);
    assert_true(permission_set_covers(&set, &empty));
    permission_set_add(&set, last);
    assert_true(permission_set_has(&set, last));
    assert_false(permission_set_has(&set, PERMISSION_STATUS_GET));
    assert_false(permission_set_covers(&empty, &set));
    assert_true(permission_set_covers(&set, &empty));
    permission_set_remove(&set, last);
    assert_true(permission_set_covers(&empty, &set));
}

static void test_names(void **state)
{
    (void)state;
    for (unsigned p = PERMISSION_OPEN + 1; p < _PERMISSION_MAX; p++) {
        const char *name = permission_describe((Permission)p)->name;
        assert_int_equal(permission_from_string(name), p); /* so no name is there twice */
        assert_true(name_is_valid(name));
    }
    assert_int_equal(permission_from_string("open"), _PERMISSION_INVALID);
    assert_int_equal(permission_from_string("nothing"), _PERMISSION_INVALID);
    assert_int_equal(permission_from_string(NULL), _PERMISSION_INVALID);
    assert_int_equal(visibility_from_string("global"), VISIBILITY_GLOBAL);
    assert_int_equal(visibility_from_string("Global"), _VISIBILITY_INVALID);
    assert_int_equal(access_role_from_string("auditor"), ACCESS_ROLE_AUDITOR);
    assert_int_equal(access_role_from_string("none"), _ACCESS_ROLE_INVALID);
    for (unsigned role = ACCESS_ROLE_SYS_ADMIN; role < _ACCESS_ROLE_MAX; role++)
        assert_int_not_equal(access_role_is_system((AccessRole)role),
                             access_role_is_tenant((AccessRole)role));
}

static void test_every_rule_has_words(void **state)
{
    (void)state;
    for (unsigned r = 0; r < _ACCESS_RULE_MAX; r++) {
        char text[200];
        AccessVerdict verdict = {.rule = (AccessRule)r, .permission = PERMISSION_CLUSTER_GET};
        assert_true(strlen(access_rule_to_string((AccessRule)r)) > 3);
        assert_non_null(strstr(access_verdict_text(&verdict, text, sizeof(text)), "'cluster_get': "));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_sv4_sv11_every_combination),
        cmocka_unit_test(test_nobody_has_anything_without_a_role),
        cmocka_unit_test(test_sv11_private_is_seen_by_owner_administrators_and_holders),
        cmocka_unit_test(test_sv4_grant_beyond_the_role),
        cmocka_unit_test(test_sv11_global_is_read_everywhere_and_changed_at_home),
        cmocka_unit_test(test_s17_refusal_tells_nothing),
        cmocka_unit_test(test_sv23_auditors_read_and_officers_have_no_clusters),
        cmocka_unit_test(test_s20_tenant_roles_stay_in_their_tenant),
        cmocka_unit_test(test_sets),
        cmocka_unit_test(test_names),
        cmocka_unit_test(test_every_rule_has_words),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
