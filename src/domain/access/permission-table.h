/* SPDX-License-Identifier: Apache-2.0 */
/* Rows of the permission table; included several times, so no include guard.
 * PERMISSION_ROW(symbol, name, scope, class, roles that have it beside sys_admin, meaning)
 * scope: SYSTEM = of the installation; TENANT = within one tenant.
 * class: which right of a grant on an object gives it, too (READ, USE, WRITE, GRANT); LIST = lists filter;
 * NONE = grants have no part in it. */
PERMISSION_ROW(STATUS_GET, "status_get", SYSTEM, NONE, ROLES_EVERYBODY, "see the state of the manager")
PERMISSION_ROW(TOKEN_CREATE, "create_token", SYSTEM, NONE, ROLES_EVERYBODY, "make tokens of one's own")
PERMISSION_ROW(TOKEN_LIST, "list_token", SYSTEM, NONE, ROLES_EVERYBODY, "list one's own tokens")
PERMISSION_ROW(TOKEN_DELETE, "delete_token", SYSTEM, NONE, ROLES_EVERYBODY, "revoke one's own tokens")
PERMISSION_ROW(TOKEN_MANAGE_OTHERS, "manage_others_tokens", SYSTEM, NONE, ROLE_BIT(SECURITY_OFFICER),
               "list and revoke tokens of others")
PERMISSION_ROW(SESSION_LIST, "session_list", SYSTEM, NONE, ROLES_EVERYBODY, "list one's own sessions")
PERMISSION_ROW(SESSION_DELETE, "session_delete", SYSTEM, NONE, ROLES_EVERYBODY, "end one's own sessions")
PERMISSION_ROW(SESSION_MANAGE_OTHERS, "manage_others_sessions", SYSTEM, NONE, ROLE_BIT(SECURITY_OFFICER),
               "list and end sessions of others")
PERMISSION_ROW(SECOND_FACTOR_SELF, "second_factor_self", SYSTEM, NONE, ROLES_EVERYBODY,
               "set up and end one's own second factor")
PERMISSION_ROW(SECOND_FACTOR_RESET, "second_factor_reset", SYSTEM, NONE, ROLE_BIT(SECURITY_OFFICER),
               "take the second factor off an account")
PERMISSION_ROW(POLICY_GET, "policy_get", SYSTEM, NONE, ROLES_EVERYBODY,
               "see the policies of the installation")
PERMISSION_ROW(POLICY_SET, "policy_set", SYSTEM, NONE, ROLE_BIT(SECURITY_OFFICER),
               "change policies of the installation")
PERMISSION_ROW(TENANT_POLICY_GET, "tenant_policy_get", TENANT, NONE,
               (ROLES_MEMBERS | ROLE_BIT(SECURITY_OFFICER)), "see the policies of a tenant")
PERMISSION_ROW(TENANT_POLICY_SET, "tenant_policy_set", TENANT, NONE,
               (ROLE_BIT(MANAGER) | ROLE_BIT(SECURITY_OFFICER)), "tighten policies of a tenant")
PERMISSION_ROW(USER_GET_SELF, "user_get_self", SYSTEM, NONE, ROLES_EVERYBODY, "see one's own account")
PERMISSION_ROW(USER_PASSWORD_SELF, "user_password_self", SYSTEM, NONE, ROLES_EVERYBODY,
               "change one's own password")
PERMISSION_ROW(USER_LIST, "user_list", SYSTEM, NONE, ROLES_OVERSIGHT, "list accounts")
PERMISSION_ROW(USER_CREATE, "user_create", SYSTEM, NONE, 0, "make accounts")
PERMISSION_ROW(USER_UPDATE, "user_update", SYSTEM, NONE, 0, "change accounts")
PERMISSION_ROW(USER_SET_ACTIVATED, "user_set_activated", SYSTEM, NONE, 0, "activate and deactivate accounts")
PERMISSION_ROW(USER_UNLOCK, "user_unlock", SYSTEM, NONE, ROLE_BIT(SECURITY_OFFICER),
               "end the lock-out of accounts")
PERMISSION_ROW(USER_DELETE, "user_delete", SYSTEM, NONE, 0, "remove accounts")
PERMISSION_ROW(TENANT_LIST, "tenant_list", SYSTEM, NONE, ROLES_EVERYBODY, "list the tenants one belongs to")
PERMISSION_ROW(TENANT_CREATE, "tenant_create", SYSTEM, NONE, 0, "make tenants")
PERMISSION_ROW(TENANT_DELETE, "tenant_delete", SYSTEM, NONE, 0, "remove tenants")
PERMISSION_ROW(TENANT_MEMBERS, "tenant_members", SYSTEM, NONE, 0, "put people into tenants")
PERMISSION_ROW(TENANT_QUOTAS_GET, "tenant_quotas_get", TENANT, NONE, ROLES_MEMBERS,
               "see what a tenant may have at most")
PERMISSION_ROW(TENANT_QUOTAS_SET, "tenant_quotas_set", TENANT, NONE, 0,
               "change what a tenant may have at most")
PERMISSION_ROW(ALL_TENANTS, "all_tenants", SYSTEM, NONE, ROLES_OVERSIGHT,
               "act in every tenant as far as the other permissions go")
PERMISSION_ROW(IDENTITY_PROVIDER_GET, "identity_provider_get", SYSTEM, NONE, ROLES_EVERYBODY,
               "see who vouches for accounts")
PERMISSION_ROW(LDAP_STATUS_GET, "ldap_status_get", SYSTEM, NONE, ROLES_EVERYBODY,
               "see whether there is a directory")
PERMISSION_ROW(DIRECTORY_MANAGE, "directory_manage", SYSTEM, NONE, 0,
               "see how the directory does, and try what it says about somebody")
PERMISSION_ROW(PROVISIONER_LIST, "provisioner_list", SYSTEM, NONE, 0, "list provisioners")
PERMISSION_ROW(PROVISIONER_ENROL, "provisioner_enrol", SYSTEM, NONE, 0, "make enrolment tokens")
PERMISSION_ROW(PROVISIONER_MANAGE, "provisioner_manage", SYSTEM, NONE, 0, "drain and remove provisioners")
PERMISSION_ROW(AUDIT_LIST, "audit_list", SYSTEM, NONE, ROLES_OVERSIGHT, "read the audit trail")
PERMISSION_ROW(KEYS_GET, "keys_get", SYSTEM, NONE, ROLES_OVERSIGHT, "see the state of the keys, never a key")
PERMISSION_ROW(KEYS_MANAGE, "keys_manage", SYSTEM, NONE, 0, "rotate keys, destroy those of a tenant")
PERMISSION_ROW(ADMINISTRATORS, "administrators", TENANT, NONE, ROLE_BIT(MANAGER),
               "see private objects of others in the tenant")
PERMISSION_ROW(CATALOG_LIST, "catalog_list", TENANT, LIST, ROLES_MEMBERS, "list catalog documents")
PERMISSION_ROW(CATALOG_GET, "catalog_get", TENANT, READ, ROLES_MEMBERS, "read catalog documents")
PERMISSION_ROW(CATALOG_WRITE, "catalog_write", TENANT, WRITE, ROLE_BIT(MANAGER), "write catalog documents")
PERMISSION_ROW(CLUSTER_LIST, "cluster_list", TENANT, LIST, ROLES_MEMBERS, "list clusters")
PERMISSION_ROW(CLUSTER_GET, "cluster_get", TENANT, READ, ROLES_MEMBERS, "see a cluster")
PERMISSION_ROW(CLUSTER_PLAN, "cluster_plan", TENANT, NONE, ROLES_WORKERS, "ask for a plan")
PERMISSION_ROW(CLUSTER_CREATE, "cluster_create", TENANT, NONE, ROLES_WORKERS, "request a cluster")
PERMISSION_ROW(CLUSTER_DELETE, "cluster_delete", TENANT, WRITE, ROLES_WORKERS, "delete a cluster")
PERMISSION_ROW(CLUSTER_SERVICES, "cluster_services", TENANT, WRITE, ROLES_WORKERS,
               "start, stop and restart the services of a cluster")
PERMISSION_ROW(CLUSTER_SCALE, "cluster_scale", TENANT, WRITE, ROLES_WORKERS,
               "scale a cluster, add services to it, replace its nodes")
PERMISSION_ROW(NODE_LIST, "node_list", TENANT, LIST, ROLES_MEMBERS, "list nodes")
PERMISSION_ROW(NODE_GET, "node_get", TENANT, READ, ROLES_MEMBERS, "see a node")
PERMISSION_ROW(NODE_LOG, "node_log", TENANT, USE, ROLES_WORKERS, "read the output of steps on a node")
PERMISSION_ROW(NODE_SSH, "node_ssh", TENANT, USE, ROLES_WORKERS,
               "get a short-lived SSH certificate for a node")
PERMISSION_ROW(EXECUTION_LIST, "execution_list", TENANT, LIST, ROLES_MEMBERS, "list executions")
PERMISSION_ROW(EXECUTION_GET, "execution_get", TENANT, READ, ROLES_MEMBERS,
               "see an execution and its operations")
PERMISSION_ROW(EXECUTION_CANCEL, "execution_cancel", TENANT, WRITE, ROLES_WORKERS,
               "cancel, pause, resume or retry an execution")
PERMISSION_ROW(EXECUTION_DECIDE, "execution_decide", TENANT, WRITE, ROLES_WORKERS,
               "decide about a step with an unknown outcome")
PERMISSION_ROW(EVENT_LIST, "event_list", TENANT, LIST, ROLES_MEMBERS, "read events")
PERMISSION_ROW(BUNDLE_LIST, "bundle_list", TENANT, LIST, (ROLES_MEMBERS | ROLE_BIT(SECURITY_OFFICER)),
               "list bundles")
PERMISSION_ROW(BUNDLE_GET, "bundle_get", TENANT, READ, (ROLES_MEMBERS | ROLE_BIT(SECURITY_OFFICER)),
               "see a bundle and its manifest")
PERMISSION_ROW(BUNDLE_UPLOAD, "bundle_upload", TENANT, WRITE, ROLE_BIT(MANAGER), "upload a bundle")
PERMISSION_ROW(BUNDLE_APPROVE, "bundle_approve", TENANT, NONE, ROLE_BIT(SECURITY_OFFICER),
               "approve and revoke bundles")
