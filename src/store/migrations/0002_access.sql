-- SPDX-License-Identifier: Apache-2.0
-- Roles, groups, and who may do what to which object.

-- Roles beside those that the program brings.
CREATE TABLE roles (
    name TEXT PRIMARY KEY NOT NULL,
    kind TEXT NOT NULL,                     -- system, tenant
    description TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    created_by TEXT NOT NULL
);

-- All permissions of such roles; of the program's own roles what differs from its table.
CREATE TABLE role_permissions (
    role TEXT NOT NULL,
    permission TEXT NOT NULL,
    is_granted INTEGER NOT NULL,
    PRIMARY KEY (role, permission)
);

CREATE TABLE user_groups (
    name TEXT PRIMARY KEY NOT NULL,
    ldap_group_dn TEXT NOT NULL,            -- '' = none
    role TEXT NOT NULL,                     -- system role; '' = none
    created_at INTEGER NOT NULL
);

CREATE TABLE group_members (
    group_name TEXT NOT NULL REFERENCES user_groups (name),
    username TEXT NOT NULL REFERENCES users (username),
    PRIMARY KEY (group_name, username)
);
CREATE INDEX group_members_by_user ON group_members (username);

CREATE TABLE group_tenants (
    tenant TEXT NOT NULL REFERENCES tenants (name),
    group_name TEXT NOT NULL REFERENCES user_groups (name),
    role TEXT NOT NULL,                     -- tenant role
    PRIMARY KEY (tenant, group_name)
);
CREATE INDEX group_tenants_by_group ON group_tenants (group_name);

-- Everything that has an owner and a visibility. Nodes, executions, operations, output and events follow their cluster.
CREATE TABLE resources (
    tenant TEXT NOT NULL REFERENCES tenants (name),
    kind TEXT NOT NULL,                     -- provider, hardware_type, image_type, service, template, cluster, bundle
    id TEXT NOT NULL,
    owner TEXT NOT NULL,                    -- '' = an account that is no more
    visibility TEXT NOT NULL,               -- private, tenant, global
    created_at INTEGER NOT NULL,
    PRIMARY KEY (tenant, kind, id)
);
CREATE INDEX resources_global ON resources (kind, id) WHERE visibility = 'global';
CREATE INDEX resources_by_owner ON resources (owner);

CREATE TABLE grants (
    tenant TEXT NOT NULL,
    kind TEXT NOT NULL,
    id TEXT NOT NULL,
    subject_kind TEXT NOT NULL,             -- user, group
    subject TEXT NOT NULL,
    rights INTEGER NOT NULL,                -- bits: 1 read, 2 use, 4 write, 8 grant
    granted_by TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    PRIMARY KEY (tenant, kind, id, subject_kind, subject),
    FOREIGN KEY (tenant, kind, id) REFERENCES resources (tenant, kind, id)
);
CREATE INDEX grants_by_subject ON grants (subject_kind, subject);

-- What is there already is seen by its whole tenant, as before, and its maker may give rights on it.
INSERT INTO resources (tenant, kind, id, owner, visibility, created_at)
SELECT tenant, 'cluster', id, owner, 'tenant', created_at FROM clusters;

INSERT INTO resources (tenant, kind, id, owner, visibility, created_at)
SELECT tenant, 'bundle', digest, uploaded_by, 'tenant', uploaded_at FROM bundles;

INSERT INTO resources (tenant, kind, id, owner, visibility, created_at)
SELECT tenant,
    CASE kind WHEN 'providers' THEN 'provider' WHEN 'hardwaretypes' THEN 'hardware_type' WHEN 'imagetypes' THEN 'image_type'
        WHEN 'services' THEN 'service' ELSE 'template' END,
    name, created_by, 'tenant', created_at
FROM catalog_documents WHERE is_latest = 1 AND is_deleted = 0;

INSERT INTO grants (tenant, kind, id, subject_kind, subject, rights, granted_by, created_at)
SELECT tenant, kind, id, 'user', owner, 8, owner, created_at FROM resources WHERE owner <> '';
