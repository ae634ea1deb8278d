-- SPDX-License-Identifier: Apache-2.0
-- What somebody may do, and to which objects.

-- visible: fragment
-- Of a table of resources with the alias r that is joined to what is listed; the tenant is pinned beside it. `right`:
-- which rights of a grant count, all of them for seeing.
(r.visibility <> 'private' OR :sees_private!int = 1 OR r.owner = :username!text
    OR EXISTS (SELECT 1 FROM grants g WHERE g.tenant = :tenant AND g.kind = r.kind AND g.id = r.id AND (g.rights & :right!int) <> 0
        AND ((g.subject_kind = 'user' AND g.subject = :username!text)
            OR (g.subject_kind = 'group' AND g.subject IN (SELECT m.group_name FROM group_members m WHERE m.username = :username!text)))))

-- rights_of: many
-- Every role of an account, where it comes from, and what the installation changed about that role. With the tenant ''
-- its system roles alone. The row of source `open` or `closed` says that there is the tenant.
WITH held (source, via, role) AS (
    SELECT 'account', '', role FROM users WHERE username = :username AND is_active = 1
    UNION ALL
    SELECT 'everybody', '', 'default' FROM users WHERE username = :username AND is_active = 1
    UNION ALL
    SELECT 'group', g.name, g.role FROM group_members m JOIN user_groups g ON g.name = m.group_name
    WHERE m.username = :username AND g.role <> ''
    UNION ALL
    SELECT 'tenant', '', role FROM memberships WHERE tenant = :tenant AND username = :username
    UNION ALL
    SELECT 'tenant_group', t.group_name, t.role FROM group_tenants t JOIN group_members m ON m.group_name = t.group_name
    WHERE t.tenant = :tenant AND m.username = :username
    UNION ALL
    SELECT CASE WHEN is_active = 1 THEN 'open' ELSE 'closed' END, '', '' FROM tenants WHERE name = :tenant
)
SELECT h.source AS source!text, h.via AS via!text, h.role AS role!text, COALESCE(p.permission, '') AS permission!text,
    COALESCE(p.is_granted, 0) AS is_granted!int
FROM held h LEFT JOIN role_permissions p ON p.role = h.role
ORDER BY h.source, h.via, h.role, p.permission;

-- administrators_count: one
-- Active accounts that administer the installation, by themselves or through a group.
SELECT COUNT(*) AS total!int FROM users u
WHERE u.is_active = 1 AND (u.role = 'sys_admin' OR EXISTS (
    SELECT 1 FROM group_members m JOIN user_groups g ON g.name = m.group_name
    WHERE m.username = u.username AND g.role = 'sys_admin'));

-- role_changes: many
-- What is said about a role beyond the program's table.
SELECT permission, is_granted FROM role_permissions WHERE role = :role ORDER BY permission;

-- role_get: one
SELECT name, kind, description, created_at, created_by FROM roles WHERE name = :name;

-- resource_insert: exec
INSERT INTO resources (tenant, kind, id, owner, visibility, created_at)
VALUES (:tenant, :kind, :id, :owner, :visibility, :created_at);

-- resource_get: one
SELECT owner, visibility, created_at FROM resources WHERE tenant = :tenant AND kind = :kind AND id = :id;

-- resource_get_global: one
-- across tenants: what is global is there for all of them
SELECT tenant, owner, created_at FROM resources WHERE kind = :kind AND id = :id AND visibility = 'global';

-- resource_set_visibility: exec
UPDATE resources SET visibility = :visibility WHERE tenant = :tenant AND kind = :kind AND id = :id;

-- resource_count_elsewhere: one
-- across tenants: what becomes global must not be there in any other tenant
SELECT COUNT(*) AS total!int FROM resources WHERE kind = :kind AND id = :id AND tenant <> :tenant;

-- resource_delete: exec
DELETE FROM resources WHERE tenant = :tenant AND kind = :kind AND id = :id;

-- resources_disown: exec
-- across tenants: the account goes; one that gets its name later must not own what it left
UPDATE resources SET owner = '' WHERE owner = :owner;

-- grant_put: exec
INSERT INTO grants (tenant, kind, id, subject_kind, subject, rights, granted_by, created_at)
VALUES (:tenant, :kind, :id, :subject_kind, :subject, :rights, :granted_by, :created_at)
ON CONFLICT (tenant, kind, id, subject_kind, subject) DO UPDATE SET rights = excluded.rights, granted_by = excluded.granted_by,
    created_at = excluded.created_at;

-- grants_of_resource: many
SELECT subject_kind, subject, rights, granted_by, created_at FROM grants
WHERE tenant = :tenant AND kind = :kind AND id = :id ORDER BY subject_kind, subject LIMIT :maximum!int OFFSET :offset!int;

-- grants_count: one
SELECT COUNT(*) AS total!int FROM grants WHERE tenant = :tenant AND kind = :kind AND id = :id;

-- grant_delete: exec
DELETE FROM grants
WHERE tenant = :tenant AND kind = :kind AND id = :id AND subject_kind = :subject_kind AND subject = :subject;

-- group_is_in_tenant: one
SELECT COUNT(*) AS total!int FROM group_tenants WHERE tenant = :tenant AND group_name = :group_name;

-- grants_of_account: many
-- What an account was given on an object, by itself and through its groups.
SELECT rights FROM grants
WHERE tenant = :tenant AND kind = :kind AND id = :id
    AND ((subject_kind = 'user' AND subject = :username!text)
        OR (subject_kind = 'group' AND subject IN (SELECT m.group_name FROM group_members m WHERE m.username = :username!text)));

-- grants_delete_of_resource: exec
DELETE FROM grants WHERE tenant = :tenant AND kind = :kind AND id = :id;

-- grants_delete_of_subject: exec
-- across tenants: the account or group goes, and what it was given with it
DELETE FROM grants WHERE subject_kind = :subject_kind AND subject = :subject;

-- group_members_delete_of_user: exec
DELETE FROM group_members WHERE username = :username;

-- review_accounts: many
-- Who is in a tenant, by themselves or through a group; with_system: also who has more than an ordinary account.
SELECT u.username, u.is_active FROM users u
WHERE EXISTS (SELECT 1 FROM memberships m WHERE m.tenant = :tenant AND m.username = u.username)
    OR EXISTS (SELECT 1 FROM group_tenants t JOIN group_members g ON g.group_name = t.group_name
        WHERE t.tenant = :tenant AND g.username = u.username)
    OR (:with_system!int = 1 AND (u.role <> 'default' OR EXISTS (
        SELECT 1 FROM group_members g JOIN user_groups x ON x.name = g.group_name WHERE g.username = u.username AND x.role <> '')))
ORDER BY u.username LIMIT :maximum!int OFFSET :offset!int;

-- review_count: one
SELECT COUNT(*) AS total!int FROM users u
WHERE EXISTS (SELECT 1 FROM memberships m WHERE m.tenant = :tenant AND m.username = u.username)
    OR EXISTS (SELECT 1 FROM group_tenants t JOIN group_members g ON g.group_name = t.group_name
        WHERE t.tenant = :tenant AND g.username = u.username)
    OR (:with_system!int = 1 AND (u.role <> 'default' OR EXISTS (
        SELECT 1 FROM group_members g JOIN user_groups x ON x.name = g.group_name WHERE g.username = u.username AND x.role <> '')));

-- review_grants: many
-- What an account was given in a tenant, by itself and through its groups.
SELECT kind, id, subject_kind, subject, rights FROM grants
WHERE tenant = :tenant
    AND ((subject_kind = 'user' AND subject = :username!text)
        OR (subject_kind = 'group' AND subject IN (SELECT m.group_name FROM group_members m WHERE m.username = :username!text)))
ORDER BY kind, id, subject_kind, subject LIMIT :maximum!int;

-- review_owned: one
-- How many objects of a tenant an account owns.
SELECT COUNT(*) AS total!int FROM resources WHERE tenant = :tenant AND owner = :username!text;
