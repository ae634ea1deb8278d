-- SPDX-License-Identifier: Apache-2.0
-- Sealed values and the keys they lie under.

-- sealed_value_put: exec
INSERT INTO sealed_values (tenant, owner_kind, owner, name, context, value, created_at, generation)
VALUES (:tenant, :owner_kind, :owner, :name, :context, :value, :created_at, :generation)
ON CONFLICT (tenant, owner_kind, owner, name) DO UPDATE SET context = excluded.context, value = excluded.value,
    created_at = excluded.created_at, generation = excluded.generation;

-- sealed_values_outdated: many
-- across tenants: data keys are rotated for all of them
SELECT tenant, owner_kind, owner, name, context, value FROM sealed_values WHERE generation < :generation
ORDER BY generation, tenant, owner_kind, owner, name LIMIT :maximum!int OFFSET :offset!int;

-- sealed_values_outdated_count: one
-- across tenants: only the number
SELECT COUNT(*) AS total!int FROM sealed_values WHERE generation < :generation;

-- sealed_value_renew: exec
-- Only what nobody has replaced meanwhile.
UPDATE sealed_values SET value = :value, generation = :generation
WHERE tenant = :tenant AND owner_kind = :owner_kind AND owner = :owner AND name = :name AND value = :old_value!blob;

-- sealed_values_by_tenant: many
-- across tenants: how many values each one has, for those who look after the keys
SELECT tenant, COUNT(*) AS total!int, MIN(generation) AS oldest!int FROM sealed_values
GROUP BY tenant ORDER BY tenant LIMIT :maximum!int;

-- sealed_values_delete_tenant: exec
DELETE FROM sealed_values WHERE tenant = :tenant;
