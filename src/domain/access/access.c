/* SPDX-License-Identifier: Apache-2.0 */
#include "domain/access/access.h"

#include "base/string.h"

static const PermissionDescription permissions[_PERMISSION_MAX] = {
    [PERMISSION_OPEN] = {"open", ACCESS_SCOPE_SYSTEM, PERMISSION_CLASS_NONE, 0, "open to everybody"},
#define PERMISSION_ROW(symbol, name, scope, class, roles, meaning)                                           \
    [PERMISSION_##symbol] = {name, ACCESS_SCOPE_##scope, PERMISSION_CLASS_##class, roles, meaning},
#include "domain/access/permission-table.h"
#undef PERMISSION_ROW
};

static const struct RoleDescription {
    const char *name, *meaning;
} roles[_ACCESS_ROLE_MAX] = {
    [ACCESS_ROLE_NONE] = {"none", "nothing"},
    [ACCESS_ROLE_SYS_ADMIN] = {"sys_admin", "everything, in every tenant"},
    [ACCESS_ROLE_DEFAULT] = {"default", "an ordinary account; every account has this"},
    [ACCESS_ROLE_AUDITOR] = {"auditor", "reads accounts, rights and the audit trail, changes nothing"},
    [ACCESS_ROLE_SECURITY_OFFICER] = {"security_officer", "revokes tokens, approves bundles, no clusters"},
    [ACCESS_ROLE_MANAGER] = {"manager", "administers a tenant"},
    [ACCESS_ROLE_USER] = {"user", "reads, and works with clusters"},
    [ACCESS_ROLE_OPERATIONS] = {"operations", "reads, and works with clusters"},
    [ACCESS_ROLE_VIEWER] = {"viewer", "reads, but no output of steps"},
};

static const char *const visibility_names[_VISIBILITY_MAX] = {
    [VISIBILITY_PRIVATE] = "private",
    [VISIBILITY_TENANT] = "tenant",
    [VISIBILITY_GLOBAL] = "global",
};

/* The right of a grant that stands for a class. */
static const unsigned class_rights[] = {
    [PERMISSION_CLASS_NONE] = 0,
    [PERMISSION_CLASS_LIST] = 0, /* lists filter, nothing is granted */
    [PERMISSION_CLASS_READ] = GRANT_READ,
    [PERMISSION_CLASS_USE] = GRANT_USE,
    [PERMISSION_CLASS_WRITE] = GRANT_WRITE,
    [PERMISSION_CLASS_GRANT] = GRANT_GRANT,
};

const PermissionDescription *permission_describe(Permission permission)
{
    ASSERT(permission >= 0 && permission < _PERMISSION_MAX);
    return &permissions[permission];
}

Permission permission_from_string(const char *text)
{
    for (unsigned i = PERMISSION_OPEN + 1; i < _PERMISSION_MAX; i++)
        if (string_equal(text, permissions[i].name))
            return (Permission)i;
    return _PERMISSION_INVALID;
}

bool permission_is_reserved(Permission permission)
{
    return permission_describe(permission)->roles & ROLES_RESERVED;
}

AccessRole access_role_from_string(const char *text)
{
    for (unsigned i = ACCESS_ROLE_SYS_ADMIN; i < _ACCESS_ROLE_MAX; i++)
        if (string_equal(text, roles[i].name))
            return (AccessRole)i;
    return _ACCESS_ROLE_INVALID;
}

const char *access_role_to_string(AccessRole role)
{
    ASSERT(role >= 0 && role < _ACCESS_ROLE_MAX);
    return roles[role].name;
}

const char *access_role_describe(AccessRole role)
{
    ASSERT(role >= 0 && role < _ACCESS_ROLE_MAX);
    return roles[role].meaning;
}

bool access_role_is_system(AccessRole role)
{
    return role >= ACCESS_ROLE_SYS_ADMIN && role < ACCESS_ROLE_MANAGER;
}

bool access_role_is_tenant(AccessRole role)
{
    return role >= ACCESS_ROLE_MANAGER && role < _ACCESS_ROLE_MAX;
}

Visibility visibility_from_string(const char *text)
{
    for (unsigned i = 0; i < _VISIBILITY_MAX; i++)
        if (string_equal(text, visibility_names[i]))
            return (Visibility)i;
    return _VISIBILITY_INVALID;
}

const char *visibility_to_string(Visibility visibility)
{
    ASSERT(visibility >= 0 && visibility < _VISIBILITY_MAX);
    return visibility_names[visibility];
}

/* Sets
 * ----------------------------------------------------------------------------------------------------------------------
 */

void permission_set_add(PermissionSet *set, Permission permission)
{
    ASSERT(permission > PERMISSION_OPEN && permission < _PERMISSION_MAX);
    set->words[permission / 64] |= UINT64_C(1) << (permission % 64);
}

void permission_set_remove(PermissionSet *set, Permission permission)
{
    ASSERT(permission > PERMISSION_OPEN && permission < _PERMISSION_MAX);
    set->words[permission / 64] &= ~(UINT64_C(1) << (permission % 64));
}

void permission_set_unite(PermissionSet *set, const PermissionSet *more)
{
    for (unsigned i = 0; i < PERMISSION_SET_WORDS; i++)
        set->words[i] |= more->words[i];
}

bool permission_set_covers(const PermissionSet *set, const PermissionSet *wanted)
{
    for (unsigned i = 0; i < PERMISSION_SET_WORDS; i++)
        if (wanted->words[i] & ~set->words[i])
            return false;
    return true;
}

PermissionSet access_role_permissions(AccessRole role)
{
    PermissionSet set = {0};
    for (unsigned i = PERMISSION_OPEN + 1; i < _PERMISSION_MAX; i++)
        if (role == ACCESS_ROLE_SYS_ADMIN || (permissions[i].roles & (1U << role)))
            permission_set_add(&set, (Permission)i);
    return set;
}

PermissionSet permission_set_of_tenants(void)
{
    PermissionSet set = {0};
    for (unsigned i = PERMISSION_OPEN + 1; i < _PERMISSION_MAX; i++)
        if (permissions[i].scope == ACCESS_SCOPE_TENANT)
            permission_set_add(&set, (Permission)i);
    return set;
}

/* The decision
 * --------------------------------------------------------------------------------------------------------------
 */

static const struct RuleDescription {
    bool is_allowed;
    ErrorCode error;
    const char *name, *text; /* the text follows "'<permission>': " */
} rules[_ACCESS_RULE_MAX] = {
    [ACCESS_RULE_OPEN] = {true, ERROR_NONE, "open", "open to everybody"},
    [ACCESS_RULE_PERMISSION] = {true, ERROR_NONE, "permission", "a role has it"},
    [ACCESS_RULE_TENANT_OBJECT] = {true, ERROR_NONE, "tenant_object",
                                   "a role has it, and the whole tenant sees the object"},
    [ACCESS_RULE_OWNER] = {true, ERROR_NONE, "owner", "a role has it, and the private object is one's own"},
    [ACCESS_RULE_ADMINISTRATOR] = {true, ERROR_NONE, "administrator",
                                   "a role has it, and administrators see private objects"},
    [ACCESS_RULE_SIGHT] = {true, ERROR_NONE, "sight",
                           "a role has it, and a grant lets see the private object"},
    [ACCESS_RULE_GRANT] = {true, ERROR_NONE, "grant", "a grant on the object gives it"},
    [ACCESS_RULE_GLOBAL] = {true, ERROR_NONE, "global", "a role has it, and the object is for all tenants"},
    [ACCESS_RULE_NOT_SIGNED_IN] = {false, ERROR_UNAUTHENTICATED, "not_signed_in", "nobody is signed in"},
    [ACCESS_RULE_NOT_A_MEMBER] = {false, ERROR_UNAUTHENTICATED, "not_a_member",
                                  "the account is not a member of the tenant"},
    [ACCESS_RULE_NO_PERMISSION] = {false, ERROR_FORBIDDEN, "no_permission",
                                   "no role of the account has it, and no grant gives it"},
    [ACCESS_RULE_HIDDEN] = {false, ERROR_NOT_FOUND, "hidden", "the object is not there for the account"},
    [ACCESS_RULE_NO_GRANT] = {false, ERROR_FORBIDDEN, "no_grant",
                              "the object is private, and the grant on it does not give that right"},
    [ACCESS_RULE_FOREIGN] = {false, ERROR_FORBIDDEN, "foreign",
                             "the object is for all tenants, but is changed in its own only"},
};

static AccessRule decide_private(const Principal *principal, const PermissionDescription *description,
                                 const AccessObject *object)
{
    if (string_equal(object->owner, principal->username))
        return ACCESS_RULE_OWNER;
    if (principal_has(principal, PERMISSION_ADMINISTRATORS))
        return ACCESS_RULE_ADMINISTRATOR;
    if (object->rights == 0)
        return ACCESS_RULE_HIDDEN;
    /* Who was let see it may do to it only what the grant says. */
    bool is_sight = description->class <= PERMISSION_CLASS_READ;
    if (is_sight)
        return ACCESS_RULE_SIGHT;
    return object->rights & class_rights[description->class] ? ACCESS_RULE_GRANT : ACCESS_RULE_NO_GRANT;
}

static AccessRule decide_object(const Principal *principal, Permission permission, const AccessObject *object)
{
    const PermissionDescription *description = permission_describe(permission);
    bool is_own = string_equal(object->tenant, principal->tenant);
    bool is_granted = is_own && (object->rights & class_rights[description->class]);
    if (!principal_has(principal, permission))
        return is_granted ? ACCESS_RULE_GRANT : ACCESS_RULE_NO_PERMISSION;
    if (is_own)
        return object->visibility == VISIBILITY_PRIVATE ? decide_private(principal, description, object)
                                                        : ACCESS_RULE_TENANT_OBJECT;
    if (object->visibility != VISIBILITY_GLOBAL)
        return ACCESS_RULE_HIDDEN;
    bool is_reading =
        description->class >= PERMISSION_CLASS_LIST && description->class <= PERMISSION_CLASS_USE;
    return is_reading ? ACCESS_RULE_GLOBAL : ACCESS_RULE_FOREIGN;
}

static AccessRule decide(const Principal *principal, Permission permission, const AccessObject *object)
{
    if (permission == PERMISSION_OPEN)
        return ACCESS_RULE_OPEN;
    if (!principal->username)
        return ACCESS_RULE_NOT_SIGNED_IN;
    if (permission_describe(permission)->scope == ACCESS_SCOPE_TENANT &&
        (!principal->tenant || !principal->is_member))
        return ACCESS_RULE_NOT_A_MEMBER;
    if (object)
        return decide_object(principal, permission, object);
    return principal_has(principal, permission) ? ACCESS_RULE_PERMISSION : ACCESS_RULE_NO_PERMISSION;
}

AccessVerdict access_decide(const Principal *principal, Permission permission, const AccessObject *object)
{
    AccessRule rule = decide(principal, permission, object);
    return (AccessVerdict){.is_allowed = rules[rule].is_allowed, .rule = rule, .permission = permission};
}

const char *access_rule_to_string(AccessRule rule)
{
    ASSERT(rule >= 0 && rule < _ACCESS_RULE_MAX);
    return rules[rule].name;
}

const char *access_verdict_text(const AccessVerdict *verdict, char *buffer, size_t size)
{
    (void)string_print(buffer, size, "'%s': %s.", permission_describe(verdict->permission)->name,
                       rules[verdict->rule].text);
    return buffer;
}

int access_verdict_to_error(const AccessVerdict *verdict, const AccessObject *object, Error *error)
{
    if (verdict->is_allowed)
        return 0;
    const struct RuleDescription *rule = &rules[verdict->rule];
    if (rule->error == ERROR_UNAUTHENTICATED) /* the same words whatever was wrong */
        return error_set(error, rule->error, "Unauthorized User");
    if (rule->error == ERROR_NOT_FOUND)
        return error_set(error, rule->error, "There is no %s '%s'.", object->kind, object->id);
    return error_set(error, rule->error, "This needs the permission '%s': %s.",
                     permission_describe(verdict->permission)->name, rule->text);
}
