-- SPDX-License-Identifier: Apache-2.0
-- Clusters, nodes, and what people see of executions, tasks and events.

-- cluster_insert: exec
INSERT INTO clusters (tenant, id, name, description, owner, template, template_version, provider, status, status_message, request, plan,
    snapshot, config, node_count, execution_id, created_at, updated_at, expires_at, revision)
VALUES (:tenant, :id, :name, :description, :owner, :template, :template_version, :provider, 'pending', '', :request, :plan,
    :snapshot, :config, :node_count, '', :created_at, :created_at, :expires_at, 1);

-- cluster_get: one
SELECT id, name, description, owner, template, template_version, provider, status, status_message, request, plan, snapshot, config,
    node_count, execution_id, created_at, updated_at, expires_at, revision
FROM clusters WHERE tenant = :tenant AND id = :id;

-- cluster_find_by_name: one
SELECT id FROM clusters WHERE tenant = :tenant AND name = :name AND status <> 'terminated';

-- cluster_list: many
SELECT c.id, c.name, c.description, c.owner, c.template, c.template_version, c.provider, c.status, c.status_message, c.node_count,
    c.execution_id, c.created_at, c.updated_at, c.expires_at, c.revision, e.workflow, e.status AS execution_status, e.tasks_total,
    e.tasks_finished
FROM clusters c LEFT JOIN executions e ON e.id = c.execution_id AND e.tenant = :tenant
WHERE c.tenant = :tenant AND (:status!text = '' OR c.status = :status!text) AND (:with_terminated!int = 1 OR c.status <> 'terminated')
ORDER BY c.created_at DESC, c.id LIMIT :maximum!int OFFSET :offset!int;

-- cluster_count: one
SELECT COUNT(*) AS total!int FROM clusters
WHERE tenant = :tenant AND (:status!text = '' OR status = :status!text) AND (:with_terminated!int = 1 OR status <> 'terminated');

-- clusters_live_usage: one
-- What counts against the quota of the tenant.
SELECT COUNT(*) AS clusters!int, COALESCE(SUM(node_count), 0) AS nodes!int FROM clusters WHERE tenant = :tenant AND status <> 'terminated';

-- node_insert: send
INSERT INTO nodes (tenant, id, cluster_id, number, hostname, services, hardware_type, flavor, image_type, image, status, provider_id,
    addresses, host_keys, ssh_user, ssh_port, outputs, active_task, created_at, updated_at)
VALUES (:tenant, :id, :cluster_id, :number, :hostname, :services, :hardware_type, :flavor, :image_type, :image, 'planned', :provider_id,
    '{}', '[]', :ssh_user, 22, '{}', 0, :created_at, :created_at);

-- node_set_services: exec
UPDATE nodes SET services = :services, updated_at = :updated_at WHERE tenant = :tenant AND id = :id;

-- node_set_leaving: exec
UPDATE nodes SET leaving = :leaving, updated_at = :updated_at WHERE tenant = :tenant AND id = :id;

-- cluster_set_members: exec
-- What a cluster is to become: the request that it could be made from, its documents, how many nodes it has.
UPDATE clusters SET request = :request, snapshot = :snapshot, config = :config, node_count = :node_count, updated_at = :updated_at
WHERE tenant = :tenant AND id = :id;

-- node_get: one
SELECT id, cluster_id, number, hostname, services, hardware_type, flavor, image_type, image, status, provider_id, addresses, host_keys,
    ssh_user, ssh_port, outputs, active_task, created_at, updated_at, is_member, leaving
FROM nodes WHERE tenant = :tenant AND id = :id;

-- node_cluster: one
SELECT cluster_id FROM nodes WHERE tenant = :tenant AND id = :id;

-- execution_cluster: one
SELECT cluster_id FROM executions WHERE tenant = :tenant AND id = :id;

-- nodes_of_cluster: many
SELECT id, cluster_id, number, hostname, services, hardware_type, flavor, image_type, image, status, provider_id, addresses, host_keys,
    ssh_user, ssh_port, outputs, active_task, created_at, updated_at, is_member, leaving
FROM nodes WHERE tenant = :tenant AND cluster_id = :cluster_id ORDER BY number;

-- node_list: many
SELECT id, cluster_id, number, hostname, services, hardware_type, flavor, image_type, image, status, provider_id, addresses, host_keys,
    ssh_user, ssh_port, outputs, active_task, created_at, updated_at, is_member, leaving
FROM nodes WHERE tenant = :tenant AND (:cluster_id!text = '' OR cluster_id = :cluster_id!text)
    AND (:with_deleted!int = 1 OR status <> 'deleted')
ORDER BY created_at DESC, cluster_id, number LIMIT :maximum!int OFFSET :offset!int;

-- node_count: one
SELECT COUNT(*) AS total!int FROM nodes
WHERE tenant = :tenant AND (:cluster_id!text = '' OR cluster_id = :cluster_id!text) AND (:with_deleted!int = 1 OR status <> 'deleted');

-- execution_list: many
SELECT id, cluster_id, workflow, status, error, created_by, responsible, is_held, created_at, started_at, finished_at, tasks_total, tasks_finished,
    tasks_leased, tasks_failed, tasks_undecided
FROM executions WHERE tenant = :tenant AND (:cluster_id!text = '' OR cluster_id = :cluster_id!text)
ORDER BY created_at DESC, id LIMIT :maximum!int OFFSET :offset!int;

-- execution_count: one
SELECT COUNT(*) AS total!int FROM executions WHERE tenant = :tenant AND (:cluster_id!text = '' OR cluster_id = :cluster_id!text);

-- execution_open_of_cluster: one
SELECT COUNT(*) AS total!int FROM executions
WHERE tenant = :tenant AND cluster_id = :cluster_id AND workflow = :workflow AND status IN ('pending', 'started', 'paused', 'cancelling', 'failing');

-- executions_open_list: many
SELECT id, workflow, status FROM executions
WHERE tenant = :tenant AND cluster_id = :cluster_id AND status IN ('pending', 'started', 'paused', 'cancelling', 'failing')
ORDER BY created_at, id;

-- task_list: many
SELECT t.number, t.node_id, t.kind, t.action, t.service, t.state, t.waiting_for, t.attempt, t.failures, t.provisioner_id, t.error_code,
    t.error_message, t.result, t.ready_at, t.started_at, t.finished_at, COALESCE(n.hostname, '') AS hostname!text
FROM tasks t LEFT JOIN nodes n ON n.id = t.node_id AND n.tenant = :tenant
WHERE t.tenant = :tenant AND t.execution_id = :execution_id AND (:state!text = '' OR t.state = :state!text)
ORDER BY t.number LIMIT :maximum!int OFFSET :offset!int;

-- task_show: one
SELECT t.number, t.node_id, t.kind, t.action, t.service, t.state, t.waiting_for, t.attempt, t.failures, t.provisioner_id, t.error_code,
    t.error_message, t.result, t.ready_at, t.started_at, t.finished_at, COALESCE(n.hostname, '') AS hostname!text
FROM tasks t LEFT JOIN nodes n ON n.id = t.node_id AND n.tenant = :tenant
WHERE t.tenant = :tenant AND t.execution_id = :execution_id AND t.number = :number;

-- task_count: one
SELECT COUNT(*) AS total!int FROM tasks
WHERE tenant = :tenant AND execution_id = :execution_id AND (:state!text = '' OR state = :state!text);

-- task_details: one
SELECT cluster_id, node_id, kind, action, service, details, state, attempt, provisioner_id, epoch FROM tasks
WHERE tenant = :tenant AND execution_id = :execution_id AND number = :number;

-- task_edges_of_execution: many
SELECT predecessor, successor FROM task_edges WHERE tenant = :tenant AND execution_id = :execution_id ORDER BY predecessor, successor
LIMIT :maximum!int;

-- task_output_insert: send
INSERT INTO task_output (tenant, execution_id, number, attempt, stream, position, created_at, data)
VALUES (:tenant, :execution_id, :number, :attempt, :stream, :position, :created_at, :data)
ON CONFLICT (execution_id, number, attempt, stream, position) DO NOTHING;

-- task_output_get: many
SELECT attempt, stream, position, data FROM task_output
WHERE tenant = :tenant AND execution_id = :execution_id AND number = :number ORDER BY attempt, created_at, stream, position LIMIT :maximum!int;

-- tasks_of_node: many
SELECT execution_id, number, action, service, state, error_message, started_at, finished_at FROM tasks
WHERE tenant = :tenant AND node_id = :node_id
ORDER BY CASE WHEN started_at = 0 THEN 1 ELSE 0 END, started_at, number LIMIT :maximum!int;

-- event_list: many
SELECT sequence, time, type, severity, cluster_id, execution_id, node_id, task, message, data FROM events
WHERE tenant = :tenant AND sequence > :after!int AND (:cluster_id!text = '' OR cluster_id = :cluster_id!text)
    AND (:execution_id!text = '' OR execution_id = :execution_id!text)
ORDER BY sequence LIMIT :maximum!int;

-- event_list_newest: many
SELECT sequence, time, type, severity, cluster_id, execution_id, node_id, task, message, data FROM events
WHERE tenant = :tenant AND (:cluster_id!text = '' OR cluster_id = :cluster_id!text)
    AND (:execution_id!text = '' OR execution_id = :execution_id!text)
ORDER BY sequence DESC LIMIT :maximum!int OFFSET :offset!int;

-- event_last_sequence: one
-- across tenants: only the number, to know where a stream begins
SELECT COALESCE(MAX(sequence), 0) AS sequence!int FROM events;

-- provider_ids_in_use: many
-- The machines of a provider that nodes have.
SELECT n.provider_id FROM nodes n JOIN clusters c ON c.id = n.cluster_id AND c.tenant = :tenant
WHERE n.tenant = :tenant AND c.provider = :provider AND n.status <> 'deleted' AND n.provider_id <> '';
