-- SPDX-License-Identifier: Apache-2.0
-- Groups of accounts, and roles of the installation's own.

-- user_group_get: one
SELECT name, ldap_group_dn, role, created_at FROM user_groups WHERE name = :name;

-- user_group_list: many
SELECT g.name, g.ldap_group_dn, g.role, g.created_at,
    (SELECT COUNT(*) FROM group_members m WHERE m.group_name = g.name) AS member_count!int
FROM user_groups g ORDER BY g.name LIMIT :maximum!int OFFSET :offset!int;

-- user_group_count: one
SELECT COUNT(*) AS total!int FROM user_groups;

-- user_group_insert: exec
INSERT INTO user_groups (name, ldap_group_dn, role, created_at) VALUES (:name, :ldap_group_dn, :role, :created_at);

-- user_group_update: exec
UPDATE user_groups SET ldap_group_dn = :ldap_group_dn, role = :role WHERE name = :name;

-- user_group_delete: exec
DELETE FROM user_groups WHERE name = :name;

-- user_group_find_by_dn: one
SELECT name FROM user_groups WHERE ldap_group_dn = :ldap_group_dn AND ldap_group_dn <> '' ORDER BY name LIMIT 1;

-- group_member_add: exec
INSERT INTO group_members (group_name, username) VALUES (:group_name, :username) ON CONFLICT (group_name, username) DO NOTHING;

-- group_member_remove: exec
DELETE FROM group_members WHERE group_name = :group_name AND username = :username;

-- group_members_delete: exec
DELETE FROM group_members WHERE group_name = :group_name;

-- group_members_list: many
SELECT username FROM group_members WHERE group_name = :group_name ORDER BY username;

-- groups_of_user: many
SELECT g.name, g.role FROM group_members m JOIN user_groups g ON g.name = m.group_name
WHERE m.username = :username ORDER BY g.name;

-- group_tenant_put: exec
INSERT INTO group_tenants (tenant, group_name, role) VALUES (:tenant, :group_name, :role)
ON CONFLICT (tenant, group_name) DO UPDATE SET role = excluded.role;

-- group_tenant_remove: exec
DELETE FROM group_tenants WHERE tenant = :tenant AND group_name = :group_name;

-- group_tenants_list: many
-- across tenants: a group shows all its tenants
SELECT tenant, role FROM group_tenants WHERE group_name = :group_name ORDER BY tenant;

-- groups_of_tenant: many
SELECT group_name, role FROM group_tenants WHERE tenant = :tenant ORDER BY group_name;

-- group_roles_of_tenant: many
-- Who is in a tenant through a group, and as what.
SELECT m.username, t.role, t.group_name FROM group_tenants t JOIN group_members m ON m.group_name = t.group_name
WHERE t.tenant = :tenant ORDER BY m.username, t.role, t.group_name;

-- group_roles_of_user: many
-- across tenants: an account shows all its tenants
SELECT t.tenant, t.role, t.group_name FROM group_tenants t JOIN group_members m ON m.group_name = t.group_name
WHERE m.username = :username ORDER BY t.tenant, t.role, t.group_name;

-- role_list: many
SELECT name, kind, description, created_at, created_by FROM roles ORDER BY name LIMIT :maximum!int;

-- role_insert: exec
INSERT INTO roles (name, kind, description, created_at, created_by) VALUES (:name, :kind, :description, :created_at, :created_by);

-- role_delete: exec
DELETE FROM roles WHERE name = :name;

-- role_change_put: exec
INSERT INTO role_permissions (role, permission, is_granted) VALUES (:role, :permission, :is_granted)
ON CONFLICT (role, permission) DO UPDATE SET is_granted = excluded.is_granted;

-- role_change_remove: exec
DELETE FROM role_permissions WHERE role = :role AND permission = :permission;

-- role_changes_delete: exec
DELETE FROM role_permissions WHERE role = :role;

-- role_uses: one
-- across tenants: a role that anybody has anywhere stays
SELECT (SELECT COUNT(*) FROM users WHERE role = :role) + (SELECT COUNT(*) FROM user_groups WHERE role = :role)
    + (SELECT COUNT(*) FROM memberships WHERE role = :role) + (SELECT COUNT(*) FROM group_tenants WHERE role = :role) AS total!int;
