-- SPDX-License-Identifier: Apache-2.0
-- Secrets of people. No statement here touches a value: those are sealed and in keys.sql.

-- secret_insert: exec
INSERT INTO secrets (tenant, secret_key, description, is_hidden, version, created_at, created_by, updated_at, updated_by, expires_at)
VALUES (:tenant, :secret_key, :description, :is_hidden, 1, :created_at, :created_by, :created_at, :created_by, :expires_at);

-- secret_get: one
SELECT s.secret_key, s.description, s.is_hidden, s.version, s.created_at, s.created_by, s.updated_at, s.updated_by, s.expires_at,
    r.owner, r.visibility
FROM secrets s JOIN resources r ON r.tenant = :tenant AND r.kind = 'secret' AND r.id = s.secret_key
WHERE s.tenant = :tenant AND s.secret_key = :secret_key;

-- secret_list: many
SELECT s.secret_key, s.description, s.is_hidden, s.version, s.created_at, s.created_by, s.updated_at, s.updated_by, s.expires_at,
    r.owner, r.visibility
FROM secrets s JOIN resources r ON r.tenant = :tenant AND r.kind = 'secret' AND r.id = s.secret_key
WHERE s.tenant = :tenant AND (:visibility!text = '' OR r.visibility = :visibility!text) AND @visible
ORDER BY s.secret_key LIMIT :maximum!int OFFSET :offset!int;

-- secret_count: one
SELECT COUNT(*) AS total!int
FROM secrets s JOIN resources r ON r.tenant = :tenant AND r.kind = 'secret' AND r.id = s.secret_key
WHERE s.tenant = :tenant AND (:visibility!text = '' OR r.visibility = :visibility!text) AND @visible;

-- secret_update: exec
UPDATE secrets SET description = :description, is_hidden = :is_hidden, version = :version, updated_at = :updated_at,
    updated_by = :updated_by, expires_at = :expires_at
WHERE tenant = :tenant AND secret_key = :secret_key;

-- secret_make_private: exec
UPDATE resources SET visibility = 'private' WHERE tenant = :tenant AND kind = 'secret' AND id = :secret_key!text;

-- secret_delete: exec
DELETE FROM secrets WHERE tenant = :tenant AND secret_key = :secret_key;

-- secret_version_insert: exec
INSERT INTO secret_versions (tenant, secret_key, version, created_at, created_by)
VALUES (:tenant, :secret_key, :version, :created_at, :created_by);

-- secret_versions_list: many
SELECT version, created_at, created_by FROM secret_versions WHERE tenant = :tenant AND secret_key = :secret_key
ORDER BY version DESC LIMIT :maximum!int;

-- secret_version_get: one
SELECT version, created_at, created_by FROM secret_versions
WHERE tenant = :tenant AND secret_key = :secret_key AND version = :version;

-- secret_version_delete: exec
DELETE FROM secret_versions WHERE tenant = :tenant AND secret_key = :secret_key AND version = :version;

-- secret_versions_delete: exec
DELETE FROM secret_versions WHERE tenant = :tenant AND secret_key = :secret_key;

-- sealed_value_delete: exec
DELETE FROM sealed_values WHERE tenant = :tenant AND owner_kind = :owner_kind AND owner = :owner AND name = :name;
