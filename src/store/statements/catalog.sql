-- SPDX-License-Identifier: Apache-2.0
-- Catalog documents, sealed values, bundles.

-- catalog_get_latest: one
SELECT kind, name, version, body, digest, description, created_at, created_by FROM catalog_documents
WHERE tenant = :tenant AND kind = :kind AND name = :name AND is_latest = 1 AND is_deleted = 0;

-- catalog_get_version: one
SELECT kind, name, version, body, digest, description, created_at, created_by FROM catalog_documents
WHERE tenant = :tenant AND kind = :kind AND name = :name AND version = :version AND is_deleted = 0;

-- catalog_latest_version: one
-- Deleted documents count too, so that a version number is never given twice.
SELECT version, digest, is_deleted FROM catalog_documents
WHERE tenant = :tenant AND kind = :kind AND name = :name AND is_latest = 1;

-- catalog_unset_latest: exec
UPDATE catalog_documents SET is_latest = 0 WHERE tenant = :tenant AND kind = :kind AND name = :name AND is_latest = 1;

-- catalog_insert: exec
INSERT INTO catalog_documents (tenant, kind, name, version, is_latest, is_deleted, body, digest, description, created_at, created_by)
VALUES (:tenant, :kind, :name, :version, 1, :is_deleted, :body, :digest, :description, :created_at, :created_by);

-- catalog_list: many
-- across tenants: what is global is listed everywhere, without who made it
SELECT d.name, d.version, d.description, d.digest, d.created_at, d.created_by, r.visibility
FROM catalog_documents d JOIN resources r ON r.tenant = :tenant AND r.kind = :resource_kind!text AND r.id = d.name
WHERE d.tenant = :tenant AND d.kind = :kind AND d.is_latest = 1 AND d.is_deleted = 0 AND @visible
UNION ALL
SELECT d.name, d.version, d.description, d.digest, d.created_at, '', r.visibility
FROM resources r JOIN catalog_documents d ON d.tenant = r.tenant AND d.name = r.id
WHERE r.kind = :resource_kind!text AND r.visibility = 'global' AND r.tenant <> :tenant AND d.kind = :kind AND d.is_latest = 1
    AND d.is_deleted = 0
ORDER BY name LIMIT :maximum!int OFFSET :offset!int;

-- catalog_count: one
-- across tenants: what is global is listed everywhere
SELECT (SELECT COUNT(*) FROM catalog_documents d JOIN resources r ON r.tenant = :tenant AND r.kind = :resource_kind!text AND r.id = d.name
    WHERE d.tenant = :tenant AND d.kind = :kind AND d.is_latest = 1 AND d.is_deleted = 0 AND @visible)
    + (SELECT COUNT(*) FROM resources r JOIN catalog_documents d ON d.tenant = r.tenant AND d.name = r.id
    WHERE r.kind = :resource_kind!text AND r.visibility = 'global' AND r.tenant <> :tenant AND d.kind = :kind AND d.is_latest = 1
        AND d.is_deleted = 0) AS total!int;

-- catalog_all: many
-- Everything of the tenant that counts now and that somebody sees, for export and planning.
SELECT d.kind, d.name, d.version, d.body FROM catalog_documents d JOIN resources r ON r.tenant = :tenant AND r.id = d.name
    AND r.kind = CASE d.kind WHEN 'providers' THEN 'provider' WHEN 'hardwaretypes' THEN 'hardware_type'
        WHEN 'imagetypes' THEN 'image_type' WHEN 'services' THEN 'service' ELSE 'template' END
WHERE d.tenant = :tenant AND d.is_latest = 1 AND d.is_deleted = 0 AND @visible ORDER BY d.kind, d.name;

-- catalog_global: many
-- across tenants: what is global is planned with everywhere
SELECT d.kind, d.name, d.version, d.body FROM resources r JOIN catalog_documents d ON d.tenant = r.tenant AND d.name = r.id
WHERE r.visibility = 'global' AND r.tenant <> :tenant AND d.is_latest = 1 AND d.is_deleted = 0
    AND r.kind = CASE d.kind WHEN 'providers' THEN 'provider' WHEN 'hardwaretypes' THEN 'hardware_type'
        WHEN 'imagetypes' THEN 'image_type' WHEN 'services' THEN 'service' ELSE 'template' END
ORDER BY d.kind, d.name;

-- sealed_value_get: one
SELECT context, value FROM sealed_values WHERE tenant = :tenant AND owner_kind = :owner_kind AND owner = :owner AND name = :name;

-- sealed_values_of_owner: many
SELECT name, context, value FROM sealed_values WHERE tenant = :tenant AND owner_kind = :owner_kind AND owner = :owner ORDER BY name;

-- bundle_insert: exec
INSERT INTO bundles (tenant, digest, name, version, status, size, manifest, uploaded_by, uploaded_at, decided_by, decided_at)
VALUES (:tenant, :digest, :name, :version, 'uploaded', :size, :manifest, :uploaded_by, :uploaded_at, '', 0);

-- bundle_get: one
SELECT digest, name, version, status, size, manifest, uploaded_by, uploaded_at, decided_by, decided_at FROM bundles
WHERE tenant = :tenant AND digest = :digest;

-- bundle_find_approved: one
-- The newest approved bundle of a name.
SELECT digest, name, version, manifest FROM bundles
WHERE tenant = :tenant AND name = :name AND status = 'approved' ORDER BY decided_at DESC, digest LIMIT 1;

-- bundle_list: many
SELECT b.digest, b.name, b.version, b.status, b.size, b.uploaded_by, b.uploaded_at, b.decided_by, b.decided_at, r.visibility
FROM bundles b JOIN resources r ON r.tenant = :tenant AND r.kind = 'bundle' AND r.id = b.digest
WHERE b.tenant = :tenant AND @visible ORDER BY b.name, b.uploaded_at DESC, b.digest LIMIT :maximum!int OFFSET :offset!int;

-- bundle_count: one
SELECT COUNT(*) AS total!int FROM bundles b JOIN resources r ON r.tenant = :tenant AND r.kind = 'bundle' AND r.id = b.digest
WHERE b.tenant = :tenant AND @visible;

-- bundle_decide: exec
UPDATE bundles SET status = :status, decided_by = :decided_by, decided_at = :decided_at WHERE tenant = :tenant AND digest = :digest;

-- bundles_approved: many
SELECT digest FROM bundles WHERE tenant = :tenant AND status = 'approved' ORDER BY digest;

-- bundle_is_known: one
-- across tenants: a provisioner works for all of them and asks by digest
SELECT COUNT(*) AS total!int FROM bundles WHERE digest = :digest AND status = 'approved';

-- approved_set_get: one
SELECT serial, expires_at, body, signature FROM approved_sets WHERE tenant = :tenant;

-- approved_set_put: exec
INSERT INTO approved_sets (tenant, serial, expires_at, body, signature) VALUES (:tenant, :serial, :expires_at, :body, :signature)
ON CONFLICT (tenant) DO UPDATE SET serial = excluded.serial, expires_at = excluded.expires_at, body = excluded.body,
    signature = excluded.signature;
