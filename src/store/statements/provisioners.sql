-- SPDX-License-Identifier: Apache-2.0
-- Provisioners, their enrolment, certificates.

-- enrolment_token_insert: exec
INSERT INTO enrolment_tokens (id, secret_hash, name, created_by, created_at, expires_at, used_at)
VALUES (:id, :secret_hash, :name, :created_by, :created_at, :expires_at, 0);

-- enrolment_token_find: one
SELECT id, name, created_by, expires_at, used_at FROM enrolment_tokens WHERE secret_hash = :secret_hash;

-- enrolment_token_get: one
SELECT id, name, created_by, created_at, expires_at, used_at FROM enrolment_tokens WHERE id = :id;

-- enrolment_token_use: exec
-- At most one enrolment wins.
UPDATE enrolment_tokens SET used_at = :used_at WHERE id = :id AND used_at = 0;

-- provisioner_insert: exec
INSERT INTO provisioners (id, name, status, certificate_serial, envelope_key, version, capacity, capabilities, epoch, enrolled_at,
    enrolled_by, last_heartbeat_at)
VALUES (:id, :name, 'enrolled', :certificate_serial, :envelope_key, '', 0, '{}', 0, :enrolled_at, :enrolled_by, 0);

-- provisioner_get: one
SELECT id, name, status, certificate_serial, version, capacity, capabilities, epoch, enrolled_at, enrolled_by, last_heartbeat_at
FROM provisioners WHERE id = :id;

-- provisioner_find_by_name: one
SELECT id FROM provisioners WHERE name = :name AND status <> 'removed';

-- provisioner_list: many
SELECT id, name, status, version, capacity, capabilities, epoch, enrolled_at, enrolled_by, last_heartbeat_at
FROM provisioners WHERE status <> 'removed' ORDER BY name LIMIT :maximum!int OFFSET :offset!int;

-- provisioner_count: one
SELECT COUNT(*) AS total!int FROM provisioners WHERE status <> 'removed';

-- provisioner_begin_session: one
-- A new epoch fences the process that had the last one.
UPDATE provisioners SET epoch = epoch + 1, version = :version, capacity = :capacity, capabilities = :capabilities,
    last_heartbeat_at = :last_heartbeat_at
WHERE id = :id AND status <> 'removed' RETURNING epoch, status;

-- provisioner_note_heartbeat: exec
UPDATE provisioners SET last_heartbeat_at = :last_heartbeat_at WHERE id = :id;

-- provisioner_set_status: exec
UPDATE provisioners SET status = :status WHERE id = :id;

-- provisioner_set_certificate: exec
UPDATE provisioners SET certificate_serial = :certificate_serial WHERE id = :id;

-- certificate_insert: exec
INSERT INTO certificates (serial, owner_tenant, profile, subject, holder, issued_at, expires_at, revoked_at)
VALUES (:serial, :owner_tenant, :profile, :subject, :holder, :issued_at, :expires_at, 0);

-- certificate_get: one
SELECT serial, profile, holder, expires_at, revoked_at FROM certificates WHERE serial = :serial;

-- certificates_revoke_of_holder: exec
UPDATE certificates SET revoked_at = :revoked_at WHERE holder = :holder AND revoked_at = 0;

-- tasks_to_cancel: many
-- across tenants: a provisioner works for all of them
SELECT t.execution_id, t.number FROM tasks t JOIN executions e ON e.id = t.execution_id
WHERE t.state = 'leased' AND t.provisioner_id = :provisioner_id AND e.status = 'cancelling';

-- task_is_leased_by: one
-- across tenants: the provisioner is checked against the lease itself
SELECT tenant, cluster_id, node_id, service, details, action FROM tasks
WHERE execution_id = :execution_id AND number = :number AND state = 'leased' AND attempt = :attempt
    AND provisioner_id = :provisioner_id AND epoch = :epoch;

-- provisioner_has_cluster: one
-- across tenants: a certificate for a cluster's nodes goes only to a provisioner that holds a task of that cluster
SELECT COUNT(*) AS total!int FROM tasks WHERE cluster_id = :cluster_id AND state = 'leased' AND provisioner_id = :provisioner_id AND epoch = :epoch;

-- cluster_provider: one
-- across tenants: asked for a cluster that the provisioner holds a task of
SELECT tenant, provider, snapshot FROM clusters WHERE id = :id;
