/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Who may do what: the table of permissions, the built-in roles, and the one decision function. Pure; any
 * thread. Deny is the default: what no row and no grant gives is refused.
 *
 * Rights of an account in a tenant are the union of what its roles have: its system role, those of its
 * groups, its role in the tenant and those its groups have there. Objects (clusters, catalog documents,
 * bundles) have an owner, a visibility and grants; the decision about one needs all of them. */

#include "base/error.h"
#include "base/macros.h"

typedef enum AccessRole {
    ACCESS_ROLE_NONE,
    ACCESS_ROLE_SYS_ADMIN, /* system role: everything, in every tenant */
    ACCESS_ROLE_DEFAULT,   /* system role: an ordinary account; every account has what it has */
    ACCESS_ROLE_AUDITOR,
    ACCESS_ROLE_SECURITY_OFFICER,
    ACCESS_ROLE_MANAGER, /* tenant roles */
    ACCESS_ROLE_USER,
    ACCESS_ROLE_OPERATIONS,
    ACCESS_ROLE_VIEWER,
    _ACCESS_ROLE_MAX,
    _ACCESS_ROLE_INVALID = -22,
} AccessRole;

#define ROLE_BIT(role)  (1U << ACCESS_ROLE_##role)
#define ROLES_WORKERS   (ROLE_BIT(MANAGER) | ROLE_BIT(USER) | ROLE_BIT(OPERATIONS))
#define ROLES_MEMBERS   (ROLES_WORKERS | ROLE_BIT(VIEWER))
#define ROLES_EVERYBODY ROLE_BIT(DEFAULT)
#define ROLES_OVERSIGHT (ROLE_BIT(AUDITOR) | ROLE_BIT(SECURITY_OFFICER))
/* Of administrators alone: no other role can be given it. */
#define ROLES_RESERVED (1U << 31)

typedef enum AccessScope { ACCESS_SCOPE_SYSTEM, ACCESS_SCOPE_TENANT } AccessScope;

/* What a permission does to an object: which right of a grant stands for it. */
typedef enum PermissionClass {
    PERMISSION_CLASS_NONE, /* nothing that can be granted on an object */
    PERMISSION_CLASS_LIST,
    PERMISSION_CLASS_READ,
    PERMISSION_CLASS_USE,
    PERMISSION_CLASS_WRITE,
    PERMISSION_CLASS_GRANT,
} PermissionClass;

typedef enum Permission {
    PERMISSION_OPEN, /* no credentials needed: the table of SV3, no more */
#define PERMISSION_ROW(symbol, name, scope, class, roles, meaning) PERMISSION_##symbol,
#include "domain/access/permission-table.h"
#undef PERMISSION_ROW
    _PERMISSION_MAX,
    _PERMISSION_INVALID = -22,
} Permission;

typedef struct PermissionDescription {
    const char *name;
    AccessScope scope;
    PermissionClass class;
    unsigned roles; /* bits of AccessRole; sys_admin has all */
    const char *meaning;
} PermissionDescription;

const PermissionDescription *permission_describe(Permission permission);
Permission permission_from_string(const char *text);
bool permission_is_reserved(Permission permission);

AccessRole access_role_from_string(const char *text); /* built-in ones */
const char *access_role_to_string(AccessRole role);
const char *access_role_describe(AccessRole role); /* what it is for */
bool access_role_is_system(AccessRole role);
bool access_role_is_tenant(AccessRole role);

/* Sets of permissions. */
enum { PERMISSION_SET_WORDS = (_PERMISSION_MAX + 63) / 64 };
typedef struct PermissionSet {
    uint64_t words[PERMISSION_SET_WORDS];
} PermissionSet;

static inline bool permission_set_has(const PermissionSet *set, Permission permission)
{
    return set->words[permission / 64] >> (permission % 64) & 1;
}
void permission_set_add(PermissionSet *set, Permission permission);
void permission_set_remove(PermissionSet *set, Permission permission);
void permission_set_unite(PermissionSet *set, const PermissionSet *more);
/* True when `set` has everything that `wanted` has. */
bool permission_set_covers(const PermissionSet *set, const PermissionSet *wanted);
/* What a built-in role has unless the installation changed it. */
PermissionSet access_role_permissions(AccessRole role);
/* Those that a role of the tenants can have: none of the system's. */
PermissionSet permission_set_of_tenants(void);

/* Who asks. */
typedef struct Principal {
    const char *username; /* NULL = not signed in */
    const char *role;     /* the account's own system role */
    const char *tenant;   /* of the request, or NULL */
    const char *token_id; /* the token used, or NULL */
    bool is_member;       /* of that tenant, directly or through a group, or by the right to all of them */
    PermissionSet rights; /* there */
} Principal;

static inline bool principal_has(const Principal *principal, Permission permission)
{
    return permission_set_has(&principal->rights, permission);
}

typedef enum Visibility {
    VISIBILITY_PRIVATE, /* the owner, administrators of the tenant, holders of a grant */
    VISIBILITY_TENANT,
    VISIBILITY_GLOBAL, /* read and used from every tenant */
    _VISIBILITY_MAX,
    _VISIBILITY_INVALID = -22,
} Visibility;

Visibility visibility_from_string(const char *text);
const char *visibility_to_string(Visibility visibility);

/* Rights of grants, as bits. Any of them makes the object visible. */
enum {
    GRANT_READ = 1,
    GRANT_USE = 2,
    GRANT_WRITE = 4,
    GRANT_GRANT = 8,
    GRANT_ALL = GRANT_READ | GRANT_USE | GRANT_WRITE | GRANT_GRANT,
};

/* What is asked for. */
typedef struct AccessObject {
    const char *tenant, *kind, *id;
    const char *owner; /* "" = nobody any more */
    Visibility visibility;
    unsigned rights; /* that grants give to the one who asks, directly or through groups */
} AccessObject;

/* Why: the rule that decided. */
typedef enum AccessRule {
    ACCESS_RULE_OPEN,
    ACCESS_RULE_PERMISSION,    /* a role has it, and no object is concerned */
    ACCESS_RULE_TENANT_OBJECT, /* a role has it, and the whole tenant sees the object */
    ACCESS_RULE_OWNER,         /* … it is private and one's own */
    ACCESS_RULE_ADMINISTRATOR, /* … it is private, and one administers the tenant */
    ACCESS_RULE_SIGHT,         /* … it is private, and a grant lets see it */
    ACCESS_RULE_GRANT,         /* a grant gives the right */
    ACCESS_RULE_GLOBAL,        /* a role has it, and the object is there for all tenants */
    ACCESS_RULE_NOT_SIGNED_IN,
    ACCESS_RULE_NOT_A_MEMBER,
    ACCESS_RULE_NO_PERMISSION,
    ACCESS_RULE_HIDDEN,   /* as if it did not exist */
    ACCESS_RULE_NO_GRANT, /* private, seen through a grant that does not reach that far */
    ACCESS_RULE_FOREIGN,  /* global, and changed in its own tenant only */
    _ACCESS_RULE_MAX,
} AccessRule;

typedef struct AccessVerdict {
    bool is_allowed;
    AccessRule rule;
    Permission permission;
} AccessVerdict;

/* object NULL: the permission alone, for what concerns no single object. Who lacks the permission and has no
 * grant gets ACCESS_RULE_NO_PERMISSION whether or not there is such an object, so the answer tells nothing.
 */
AccessVerdict access_decide(const Principal *principal, Permission permission, const AccessObject *object);
const char *access_rule_to_string(AccessRule rule);
/* One sentence: why, and about which permission. */
const char *access_verdict_text(const AccessVerdict *verdict, char *buffer, size_t size);
/* 0 when allowed; ERROR_UNAUTHENTICATED, ERROR_FORBIDDEN or ERROR_NOT_FOUND otherwise. */
int access_verdict_to_error(const AccessVerdict *verdict, const AccessObject *object, Error *error);
