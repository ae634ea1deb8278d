-- SPDX-License-Identifier: Apache-2.0
-- Policies, second factors, quotas, executions that wait for somebody entitled.

-- policies_all: many
-- across tenants: the manager keeps all of them in memory
SELECT tenant, name, value FROM policies ORDER BY tenant, name;

-- policies_of_tenant: many
SELECT name, value, changed_at, changed_by FROM policies WHERE tenant = :tenant ORDER BY name;

-- policy_put: exec
INSERT INTO policies (tenant, name, value, changed_at, changed_by) VALUES (:tenant, :name, :value, :changed_at, :changed_by)
ON CONFLICT (tenant, name) DO UPDATE SET value = excluded.value, changed_at = excluded.changed_at, changed_by = excluded.changed_by;

-- policy_delete: exec
DELETE FROM policies WHERE tenant = :tenant AND name = :name;

-- policies_delete_of_tenant: exec
DELETE FROM policies WHERE tenant = :tenant;

-- second_factor_get: one
SELECT sealed_key, version, is_confirmed, last_step, created_at, confirmed_at FROM second_factors WHERE username = :username;

-- second_factor_put: exec
-- A new key that nobody has confirmed yet.
INSERT INTO second_factors (username, sealed_key, version, is_confirmed, last_step, created_at, confirmed_at)
VALUES (:username, :sealed_key, :version, 0, 0, :created_at, 0)
ON CONFLICT (username) DO UPDATE SET sealed_key = excluded.sealed_key, version = excluded.version, is_confirmed = 0, last_step = 0,
    created_at = excluded.created_at, confirmed_at = 0;

-- second_factor_confirm: exec
UPDATE second_factors SET is_confirmed = 1, confirmed_at = :confirmed_at WHERE username = :username AND is_confirmed = 0;

-- second_factor_use_step: exec
-- No row when this code, or a later one, was used before.
UPDATE second_factors SET last_step = :step!int WHERE username = :username AND last_step < :step!int;

-- second_factor_delete: exec
DELETE FROM second_factors WHERE username = :username;

-- recovery_code_put: exec
INSERT INTO recovery_codes (username, code_hash) VALUES (:username, :code_hash);

-- recovery_code_use: exec
-- No row when there is none such: each is used once.
DELETE FROM recovery_codes WHERE username = :username AND code_hash = :code_hash;

-- recovery_codes_count: one
SELECT COUNT(*) AS total!int FROM recovery_codes WHERE username = :username;

-- recovery_codes_delete: exec
DELETE FROM recovery_codes WHERE username = :username;

-- tenant_usage: one
-- What counts against the quotas of a tenant.
SELECT t.maximum_clusters, t.maximum_nodes, t.maximum_running_tasks, t.maximum_bundle_bytes,
    (SELECT COUNT(*) FROM clusters c WHERE c.tenant = :tenant AND c.status <> 'terminated') AS clusters!int,
    (SELECT COALESCE(SUM(c.node_count), 0) FROM clusters c WHERE c.tenant = :tenant AND c.status <> 'terminated') AS nodes!int,
    (SELECT COALESCE(SUM(e.tasks_leased), 0) FROM executions e
        WHERE e.tenant = :tenant AND e.status IN ('pending', 'started', 'paused', 'cancelling', 'failing')) AS running_tasks!int,
    (SELECT COALESCE(SUM(b.size), 0) FROM bundles b WHERE b.tenant = :tenant) AS bundle_bytes!int
FROM tenants t WHERE t.name = :tenant!text;

-- tenant_set_quotas: exec
-- unwatched: nobody's rights depend on how much a tenant may have
UPDATE tenants SET maximum_clusters = :maximum_clusters, maximum_nodes = :maximum_nodes,
    maximum_running_tasks = :maximum_running_tasks, maximum_bundle_bytes = :maximum_bundle_bytes
WHERE name = :tenant!text;

-- tenant_task_room: one
-- How many tasks a tenant may have handed out at a time (0 = any number), and how many are.
SELECT t.maximum_running_tasks, CASE WHEN t.maximum_running_tasks = 0 THEN 0 ELSE
    (SELECT COALESCE(SUM(e.tasks_leased), 0) FROM executions e
        WHERE e.tenant = :tenant AND e.status IN ('pending', 'started', 'paused', 'cancelling', 'failing')) END AS running_tasks!int
FROM tenants t WHERE t.name = :tenant!text;

-- execution_responsible: one
-- Who answers for an execution: who made it, or who had it go on.
SELECT workflow, cluster_id, is_held, CASE WHEN responsible = '' THEN created_by ELSE responsible END AS responsible!text
FROM executions WHERE tenant = :tenant AND id = :id;

-- execution_hold: exec
UPDATE executions SET is_held = 1 WHERE tenant = :tenant AND id = :id AND is_held = 0;

-- execution_resume: exec
UPDATE executions SET is_held = 0, responsible = :responsible WHERE tenant = :tenant AND id = :id AND is_held = 1;
