-- SPDX-License-Identifier: Apache-2.0
-- What the engine reads and writes. The tenant of a task is always known here: it comes with the execution.

-- execution_insert: send
-- A new execution, not yet started.
INSERT INTO executions (tenant, id, cluster_id, workflow, status, error, parameters, created_by, created_at, started_at,
    finished_at, tasks_total, tasks_finished, tasks_leased, tasks_failed, tasks_undecided)
VALUES (:tenant, :id, :cluster_id, :workflow, 'pending', '', :parameters, :created_by, :created_at, 0, 0, :tasks_total, 0, 0, 0, 0);

-- task_insert: send
INSERT INTO tasks (tenant, execution_id, number, cluster_id, node_id, kind, action, service, details, state, is_runnable, waiting_for,
    attempt, run, failures, maximum_failures, not_before, timeout_ms, is_idempotent, provisioner_id, epoch, error_code, error_message,
    result, ready_at, started_at, finished_at)
VALUES (:tenant, :execution_id, :number, :cluster_id, :node_id, :kind, :action, :service, :details, 'waiting', 0, :waiting_for,
    0, 1, 0, :maximum_failures, 0, :timeout_ms, :is_idempotent, '', 0, '', '', '{}', 0, 0, 0);

-- task_edge_insert: send
INSERT INTO task_edges (tenant, execution_id, predecessor, successor) VALUES (:tenant, :execution_id, :predecessor, :successor);

-- execution_next_pending: one
-- The oldest open execution of a cluster: it is the one that may run.
SELECT id, status FROM executions
WHERE tenant = :tenant AND cluster_id = :cluster_id AND status IN ('pending', 'started', 'paused', 'cancelling', 'failing')
ORDER BY created_at, id LIMIT 1;

-- execution_start: send
UPDATE executions SET status = 'started', started_at = :started_at WHERE tenant = :tenant AND id = :id AND status = 'pending';

-- execution_get: one
SELECT id, cluster_id, workflow, status, error, parameters, created_by, responsible, is_held, created_at, started_at, finished_at,
    tasks_total, tasks_finished, tasks_leased, tasks_failed, tasks_undecided
FROM executions WHERE tenant = :tenant AND id = :id;

-- execution_count_tasks: one
-- Adds to the counters of an execution and reads them back.
UPDATE executions SET tasks_finished = tasks_finished + :finished!int, tasks_leased = tasks_leased + :leased!int,
    tasks_failed = tasks_failed + :failed!int, tasks_undecided = tasks_undecided + :undecided!int
WHERE tenant = :tenant AND id = :id
RETURNING cluster_id, workflow, status, tasks_total, tasks_finished, tasks_leased, tasks_failed, tasks_undecided;

-- execution_set_status: send
UPDATE executions SET status = :status, error = :error WHERE tenant = :tenant AND id = :id;

-- execution_finish: send
UPDATE executions SET status = :status, finished_at = :finished_at WHERE tenant = :tenant AND id = :id;

-- tasks_roots: many
-- The tasks of a fresh execution that wait for nothing.
SELECT number, kind, node_id FROM tasks
WHERE tenant = :tenant AND execution_id = :execution_id AND number > :after!int AND state = 'waiting' AND waiting_for = 0
ORDER BY number LIMIT :maximum!int;

-- task_edges_from: many
-- Who follows some tasks, and how many of them.
SELECT successor, COUNT(*) AS ended FROM task_edges
WHERE tenant = :tenant AND execution_id = :execution_id AND predecessor IN (:predecessors!ints) AND successor > :after!int
GROUP BY successor ORDER BY successor LIMIT :maximum!int;

-- tasks_waiting: many
SELECT number, waiting_for, kind, node_id FROM tasks
WHERE tenant = :tenant AND execution_id = :execution_id AND number IN (:numbers!ints) AND state = 'waiting' ORDER BY number;

-- task_set_waiting: send
UPDATE tasks SET waiting_for = :waiting_for WHERE tenant = :tenant AND execution_id = :execution_id AND number = :number;

-- task_set_ready: send
UPDATE tasks SET state = 'ready', waiting_for = 0, is_runnable = :is_runnable, ready_at = :ready_at, not_before = :not_before
WHERE tenant = :tenant AND execution_id = :execution_id AND number = :number;

-- task_set_runnable: send
UPDATE tasks SET is_runnable = 1, not_before = :not_before
WHERE tenant = :tenant AND execution_id = :execution_id AND number = :number AND state = 'ready';

-- tasks_next_on_nodes: many
-- The ready tasks that wait for some nodes, the next one of each first.
SELECT node_id, execution_id, number FROM tasks
WHERE tenant = :tenant AND node_id IN (:node_ids!texts) AND state = 'ready' AND is_runnable = 0 ORDER BY node_id, number;

-- nodes_active: many
SELECT id, active_task FROM nodes WHERE tenant = :tenant AND id IN (:ids!texts);

-- node_set_active: send
UPDATE nodes SET active_task = :number!int WHERE tenant = :tenant AND id = :node_id!text;

-- nodes_release: send
UPDATE nodes SET active_task = 0 WHERE tenant = :tenant AND cluster_id = :cluster_id AND active_task <> 0;

-- tenant_with_runnable_tasks: one
-- across tenants: the queue turns from tenant to tenant
-- The first tenant after a given one that has a task to hand out.
SELECT tenant FROM tasks
WHERE state = 'ready' AND is_runnable = 1 AND tenant > :after!text AND not_before <= :now!int ORDER BY tenant LIMIT 1;

-- tasks_next_runnable_time: one
-- across tenants: the manager sleeps until the earliest retry of anybody
SELECT not_before FROM tasks WHERE state = 'ready' AND is_runnable = 1 AND not_before > :now!int ORDER BY not_before LIMIT 1;

-- tasks_lease: many
-- Hands out the oldest runnable tasks of a tenant, but none of executions that stand still.
UPDATE tasks SET state = 'leased', is_runnable = 0, attempt = attempt + 1, provisioner_id = :provisioner_id, epoch = :epoch,
    started_at = CASE WHEN started_at = 0 THEN :now!int ELSE started_at END
WHERE tenant = :tenant AND (execution_id, number) IN (
    SELECT execution_id, number FROM tasks
    WHERE tenant = :tenant AND state = 'ready' AND is_runnable = 1 AND not_before <= :now!int
        AND execution_id NOT IN (SELECT id FROM executions WHERE tenant = :tenant AND is_held = 1)
    ORDER BY not_before LIMIT :maximum!int)
RETURNING tenant, execution_id, number, cluster_id, node_id, kind, action, service, details, attempt, run, failures, timeout_ms,
    is_idempotent, ready_at;
-- PostgreSQL would look for the rows once for each task there is.
-- dialect postgresql
WITH next AS MATERIALIZED (
    SELECT execution_id, number FROM tasks
    WHERE tenant = :tenant AND state = 'ready' AND is_runnable = 1 AND not_before <= :now!int
        AND execution_id NOT IN (SELECT id FROM executions WHERE tenant = :tenant AND is_held = 1)
    ORDER BY not_before LIMIT :maximum!int)
UPDATE tasks SET state = 'leased', is_runnable = 0, attempt = attempt + 1, provisioner_id = :provisioner_id, epoch = :epoch,
    started_at = CASE WHEN started_at = 0 THEN :now!int ELSE started_at END
FROM next WHERE tasks.tenant = :tenant AND tasks.execution_id = next.execution_id AND tasks.number = next.number
RETURNING tasks.tenant, tasks.execution_id, tasks.number, cluster_id, node_id, kind, action, service, details, attempt, run, failures,
    timeout_ms, is_idempotent, ready_at;

-- tasks_for_report: many
SELECT number, cluster_id, node_id, kind, action, service, state, attempt, run, failures, maximum_failures, provisioner_id, epoch,
    is_idempotent
FROM tasks WHERE tenant = :tenant AND execution_id = :execution_id AND number IN (:numbers!ints);

-- execution_tenant: one
-- across tenants: a provisioner's report names only the task; the lease is checked afterwards
SELECT tenant FROM executions WHERE id = :id;

-- task_finish: send
UPDATE tasks SET state = :state, error_code = :error_code, error_message = :error_message, result = :result, finished_at = :finished_at,
    failures = :failures, waiting_for = 0, is_runnable = 0
WHERE tenant = :tenant AND execution_id = :execution_id AND number = :number;

-- task_retry: send
-- Back to ready with a new run, after its back-off; it keeps its node.
UPDATE tasks SET state = 'ready', is_runnable = 1, run = run + 1, failures = :failures, not_before = :not_before,
    error_code = :error_code, error_message = :error_message, provisioner_id = '', epoch = 0
WHERE tenant = :tenant AND execution_id = :execution_id AND number = :number;

-- task_offer_again: send
-- A lease lapsed: the same run is offered again.
UPDATE tasks SET state = 'ready', is_runnable = 1, not_before = :not_before, provisioner_id = '', epoch = 0
WHERE tenant = :tenant AND execution_id = :execution_id AND number = :number AND state = 'leased' AND attempt = :attempt;

-- tasks_hold: send
-- Of a paused execution: what could be handed out is not.
UPDATE tasks SET is_runnable = 2 WHERE tenant = :tenant AND execution_id = :execution_id AND state = 'ready' AND is_runnable = 1;

-- tasks_unhold: send
UPDATE tasks SET is_runnable = 1 WHERE tenant = :tenant AND execution_id = :execution_id AND state = 'ready' AND is_runnable = 2;

-- tasks_reopen: send
-- What did not succeed waits again. A run that was seen to end is followed by the next; one that nobody knows of stays.
UPDATE tasks SET state = 'waiting', is_runnable = 0, failures = 0, provisioner_id = '', epoch = 0, finished_at = 0, error_message = '',
    run = run + CASE WHEN error_code = 'outcome_unknown' THEN 0 WHEN state = 'failed' THEN 1 WHEN error_code = 'cancelled' THEN 1 ELSE 0 END,
    error_code = '',
    waiting_for = (SELECT COUNT(*) FROM task_edges e CROSS JOIN tasks p
        WHERE e.tenant = :tenant AND e.execution_id = :execution_id AND e.successor = tasks.number
            AND p.tenant = :tenant AND p.execution_id = :execution_id AND p.number = e.predecessor AND p.state <> 'succeeded')
WHERE tasks.tenant = :tenant AND execution_id = :execution_id AND state IN ('failed', 'cancelled');

-- execution_reopen: send
UPDATE executions SET status = 'started', responsible = :responsible, is_held = 0, error = '', finished_at = 0, tasks_leased = 0, tasks_failed = 0, tasks_undecided = 0,
    tasks_finished = (SELECT COUNT(*) FROM tasks WHERE tenant = :tenant AND execution_id = :id AND state = 'succeeded')
WHERE tenant = :tenant AND id = :id;

-- tasks_cancel_open: exec
-- Everything of an execution that nobody has begun.
UPDATE tasks SET state = 'cancelled', is_runnable = 0, finished_at = :finished_at
WHERE tenant = :tenant AND execution_id = :execution_id AND state IN ('waiting', 'ready');

-- tasks_give_up_undecided: exec
UPDATE tasks SET state = 'failed', finished_at = :finished_at
WHERE tenant = :tenant AND execution_id = :execution_id AND state = 'needs_decision';

-- tasks_leased_all: many
-- across tenants: after a start every lease gets fresh grace
SELECT tenant, execution_id, number, attempt, provisioner_id, epoch FROM tasks WHERE state = 'leased';

-- tasks_leased_of_execution: many
SELECT number, attempt, provisioner_id FROM tasks
WHERE tenant = :tenant AND execution_id = :execution_id AND state = 'leased' ORDER BY number;

-- tasks_leased_of_provisioner: many
-- across tenants: a provisioner works for all of them
SELECT tenant, execution_id, number, attempt FROM tasks WHERE state = 'leased' AND provisioner_id = :provisioner_id;

-- node_get_for_engine: one
SELECT id, cluster_id, number, hostname, status, provider_id, addresses, host_keys, ssh_user, ssh_port, outputs, active_task
FROM nodes WHERE tenant = :tenant AND id = :id;

-- node_set_status: send
UPDATE nodes SET status = :status, updated_at = :updated_at WHERE tenant = :tenant AND id = :id;

-- node_set_facts: send
UPDATE nodes SET provider_id = :provider_id, addresses = :addresses, host_keys = :host_keys, ssh_user = :ssh_user,
    ssh_port = :ssh_port, outputs = :outputs, updated_at = :updated_at
WHERE tenant = :tenant AND id = :id;

-- nodes_all_set_status: send
UPDATE nodes SET status = :status, is_member = 1, updated_at = :updated_at
WHERE tenant = :tenant AND cluster_id = :cluster_id AND status NOT IN ('deleted');

-- cluster_set_status: send
UPDATE clusters SET status = :status, status_message = :status_message, updated_at = :updated_at, revision = revision + 1
WHERE tenant = :tenant AND id = :id;

-- cluster_set_execution: send
UPDATE clusters SET execution_id = :execution_id, updated_at = :updated_at WHERE tenant = :tenant AND id = :id;

-- sealed_values_delete_owner: send
DELETE FROM sealed_values WHERE tenant = :tenant AND owner_kind = :owner_kind AND owner = :owner;

-- event_insert: send
INSERT INTO events (tenant, time, type, severity, cluster_id, execution_id, node_id, task, message, data)
VALUES (:tenant, :time, :type, :severity, :cluster_id, :execution_id, :node_id, :task, :message, :data);

-- audit_head_get: one
SELECT sequence, hash FROM audit_heads WHERE shard = :shard;

-- audit_head_insert: send
INSERT INTO audit_heads (shard, sequence, hash, signed_sequence, signature) VALUES (:shard, :sequence, :hash, 0, :signature)
ON CONFLICT (shard) DO NOTHING;

-- audit_head_set: send
UPDATE audit_heads SET sequence = :sequence, hash = :hash WHERE shard = :shard AND sequence = :previous_sequence!int;

-- audit_shards: many
-- A shard without its head, or without records, is one, too.
SELECT shard FROM audit_heads UNION SELECT shard FROM audit_records ORDER BY shard;

-- audit_record_insert: send
INSERT INTO audit_records (shard, sequence, time, actor, object_tenant, source, request_id, action, object, outcome, details, format,
    effective_actor, authentication, digest_before, digest_after, hash)
VALUES (:shard, :sequence, :time, :actor, :object_tenant, :source, :request_id, :action, :object, :outcome, :details, :format,
    :effective_actor, :authentication, :digest_before, :digest_after, :hash);

-- audit_records_after: many
-- For verification and export, in order of the chain.
SELECT shard, sequence, time, actor, object_tenant, source, request_id, action, object, outcome, details, format, effective_actor,
    authentication, digest_before, digest_after, hash
FROM audit_records WHERE shard = :shard AND sequence > :after!int ORDER BY sequence LIMIT :maximum!int;

-- counter_add: send
INSERT INTO counters (tenant, name, value) VALUES (:tenant, :name, :value)
ON CONFLICT (tenant, name) DO UPDATE SET value = counters.value + excluded.value;

-- counter_get: one
SELECT value FROM counters WHERE tenant = :tenant AND name = :name;
