-- SPDX-License-Identifier: Apache-2.0
-- The first schema. One SQL subset for SQLite and PostgreSQL: INTEGER, TEXT, BLOB. Times are microseconds since 1970 (UTC), flags 0 or 1.
-- A table with a `tenant` column holds rows of tenants: each statement on it names the tenant, or says why not.

-- Tenants, people, access -------------------------------------------------------------------------------------------

CREATE TABLE tenants (
    name TEXT PRIMARY KEY NOT NULL,
    description TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    is_active INTEGER NOT NULL,
    maximum_clusters INTEGER NOT NULL,      -- 0 = unlimited
    maximum_nodes INTEGER NOT NULL          -- 0 = unlimited
);

CREATE TABLE users (
    username TEXT PRIMARY KEY NOT NULL,
    password_hash TEXT NOT NULL,            -- '' = no password here
    role TEXT NOT NULL,                     -- system role: sys_admin, default
    is_active INTEGER NOT NULL,
    must_change_password INTEGER NOT NULL,
    failed_logins INTEGER NOT NULL,
    locked_until INTEGER NOT NULL,          -- 0 = not locked
    created_at INTEGER NOT NULL,
    last_login_at INTEGER NOT NULL          -- 0 = never
);

CREATE TABLE memberships (
    tenant TEXT NOT NULL REFERENCES tenants (name),
    username TEXT NOT NULL REFERENCES users (username),
    role TEXT NOT NULL,                     -- tenant role: manager, user, operations, viewer
    PRIMARY KEY (tenant, username)
);
CREATE INDEX memberships_by_user ON memberships (username);

CREATE TABLE tokens (
    id TEXT PRIMARY KEY NOT NULL,
    secret_hash BLOB NOT NULL,              -- SHA-256 of the whole token
    username TEXT NOT NULL REFERENCES users (username),
    default_tenant TEXT NOT NULL,           -- '' = none
    description TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    expires_at INTEGER NOT NULL,
    last_used_at INTEGER NOT NULL,
    is_revoked INTEGER NOT NULL
);
CREATE UNIQUE INDEX tokens_by_hash ON tokens (secret_hash);
CREATE INDEX tokens_by_user ON tokens (username);

-- Catalog -----------------------------------------------------------------------------------------------------------

CREATE TABLE catalog_documents (
    tenant TEXT NOT NULL REFERENCES tenants (name),
    kind TEXT NOT NULL,                     -- providers, hardwaretypes, imagetypes, services, clustertemplates
    name TEXT NOT NULL,
    version INTEGER NOT NULL,
    is_latest INTEGER NOT NULL,
    is_deleted INTEGER NOT NULL,
    body TEXT NOT NULL,                     -- JSON; sensitive members replaced by {"sealed":true}
    digest TEXT NOT NULL,
    description TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    created_by TEXT NOT NULL,
    PRIMARY KEY (tenant, kind, name, version)
);
CREATE UNIQUE INDEX catalog_documents_latest ON catalog_documents (tenant, kind, name) WHERE is_latest = 1;

-- Values that only the keeper can open. The context is bound into the ciphertext.
CREATE TABLE sealed_values (
    tenant TEXT NOT NULL REFERENCES tenants (name),
    owner_kind TEXT NOT NULL,               -- provider, cluster
    owner TEXT NOT NULL,                    -- name of the provider, id of the cluster
    name TEXT NOT NULL,
    context TEXT NOT NULL,
    value BLOB NOT NULL,
    created_at INTEGER NOT NULL,
    PRIMARY KEY (tenant, owner_kind, owner, name)
);

CREATE TABLE bundles (
    tenant TEXT NOT NULL REFERENCES tenants (name),
    digest TEXT NOT NULL,                   -- SHA-256 of the archive, hex
    name TEXT NOT NULL,
    version TEXT NOT NULL,
    status TEXT NOT NULL,                   -- uploaded, approved, revoked
    size INTEGER NOT NULL,
    manifest TEXT NOT NULL,
    uploaded_by TEXT NOT NULL,
    uploaded_at INTEGER NOT NULL,
    decided_by TEXT NOT NULL,
    decided_at INTEGER NOT NULL,
    PRIMARY KEY (tenant, digest)
);
CREATE INDEX bundles_by_name ON bundles (tenant, name, uploaded_at);

CREATE TABLE approved_sets (
    tenant TEXT PRIMARY KEY NOT NULL REFERENCES tenants (name),
    serial INTEGER NOT NULL,
    expires_at INTEGER NOT NULL,
    body BLOB NOT NULL,
    signature BLOB NOT NULL
);

-- Clusters ----------------------------------------------------------------------------------------------------------

CREATE TABLE clusters (
    tenant TEXT NOT NULL REFERENCES tenants (name),
    id TEXT PRIMARY KEY NOT NULL,
    name TEXT NOT NULL,
    description TEXT NOT NULL,
    owner TEXT NOT NULL,
    template TEXT NOT NULL,
    template_version INTEGER NOT NULL,
    provider TEXT NOT NULL,
    status TEXT NOT NULL,                   -- pending, active, incomplete, inconsistent, deleting, terminated
    status_message TEXT NOT NULL,
    request TEXT NOT NULL,                  -- JSON, as asked for
    plan TEXT NOT NULL,                     -- JSON, as decided
    snapshot TEXT NOT NULL,                 -- JSON: template, services and types as they were
    config TEXT NOT NULL,                   -- JSON, with macros
    node_count INTEGER NOT NULL,
    execution_id TEXT NOT NULL,             -- the latest one
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL,
    expires_at INTEGER NOT NULL,            -- 0 = never
    revision INTEGER NOT NULL
);
CREATE UNIQUE INDEX clusters_by_name ON clusters (tenant, name) WHERE status <> 'terminated';
CREATE INDEX clusters_by_time ON clusters (tenant, created_at, id);

CREATE TABLE nodes (
    tenant TEXT NOT NULL REFERENCES tenants (name),
    id TEXT PRIMARY KEY NOT NULL,
    cluster_id TEXT NOT NULL REFERENCES clusters (id),
    number INTEGER NOT NULL,
    hostname TEXT NOT NULL,
    services TEXT NOT NULL,                 -- JSON array of names
    hardware_type TEXT NOT NULL,
    flavor TEXT NOT NULL,
    image_type TEXT NOT NULL,
    image TEXT NOT NULL,
    status TEXT NOT NULL,                   -- planned, creating, created, configuring, ready, failed, deleting, deleted
    provider_id TEXT NOT NULL,
    addresses TEXT NOT NULL,                -- JSON object
    host_keys TEXT NOT NULL,                -- JSON array of public key lines
    ssh_user TEXT NOT NULL,
    ssh_port INTEGER NOT NULL,
    outputs TEXT NOT NULL,                  -- JSON object: service.name to value
    active_task INTEGER NOT NULL,           -- number of the task that has the node, 0 = none
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL
);
CREATE UNIQUE INDEX nodes_by_cluster ON nodes (cluster_id, number);
CREATE INDEX nodes_by_tenant ON nodes (tenant, created_at, id);

-- Executions and tasks ----------------------------------------------------------------------------------------------

CREATE TABLE executions (
    tenant TEXT NOT NULL REFERENCES tenants (name),
    id TEXT PRIMARY KEY NOT NULL,
    cluster_id TEXT NOT NULL REFERENCES clusters (id),
    workflow TEXT NOT NULL,                 -- create, delete, ...
    status TEXT NOT NULL,                   -- pending, started, cancelling, failing, terminated, failed, cancelled
    error TEXT NOT NULL,
    parameters TEXT NOT NULL,               -- JSON
    created_by TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    started_at INTEGER NOT NULL,
    finished_at INTEGER NOT NULL,
    tasks_total INTEGER NOT NULL,
    tasks_finished INTEGER NOT NULL,        -- succeeded, failed or cancelled
    tasks_leased INTEGER NOT NULL,
    tasks_failed INTEGER NOT NULL,
    tasks_undecided INTEGER NOT NULL
);
CREATE INDEX executions_by_cluster ON executions (cluster_id, created_at);
CREATE INDEX executions_by_tenant ON executions (tenant, created_at, id);
CREATE INDEX executions_open ON executions (cluster_id, created_at)
    WHERE status IN ('pending', 'started', 'cancelling', 'failing');

-- The API's id of a task is <execution_id>-<number>.
CREATE TABLE tasks (
    tenant TEXT NOT NULL,
    execution_id TEXT NOT NULL,
    number INTEGER NOT NULL,                -- from 1
    cluster_id TEXT NOT NULL,
    node_id TEXT NOT NULL,                  -- '' = none
    kind TEXT NOT NULL,                     -- provider, automator, firewall, certificate, bootstrap, join
    action TEXT NOT NULL,
    service TEXT NOT NULL,                  -- '' = none
    details TEXT NOT NULL,                  -- JSON, what the action needs beyond node and service
    state TEXT NOT NULL,                    -- waiting, ready, leased, succeeded, failed, cancelled, needs_decision
    is_runnable INTEGER NOT NULL,           -- a ready task whose node is free
    waiting_for INTEGER NOT NULL,           -- predecessors that have not succeeded
    attempt INTEGER NOT NULL,               -- deliveries; fences reports
    run INTEGER NOT NULL,                   -- effects: grows when a failed run is tried again
    failures INTEGER NOT NULL,
    maximum_failures INTEGER NOT NULL,
    not_before INTEGER NOT NULL,
    timeout_ms INTEGER NOT NULL,
    is_idempotent INTEGER NOT NULL,
    provisioner_id TEXT NOT NULL,
    epoch INTEGER NOT NULL,                 -- of the provisioner's session that has the lease
    error_code TEXT NOT NULL,
    error_message TEXT NOT NULL,
    result TEXT NOT NULL,                   -- JSON
    ready_at INTEGER NOT NULL,
    started_at INTEGER NOT NULL,
    finished_at INTEGER NOT NULL,
    PRIMARY KEY (execution_id, number)
);
CREATE INDEX tasks_runnable ON tasks (tenant, not_before) WHERE state = 'ready' AND is_runnable = 1;
CREATE INDEX tasks_queued_on_node ON tasks (node_id, number) WHERE state = 'ready' AND is_runnable = 0;
CREATE INDEX tasks_leased ON tasks (provisioner_id, execution_id, number) WHERE state = 'leased';
CREATE INDEX tasks_undecided ON tasks (execution_id, number) WHERE state = 'needs_decision';
CREATE INDEX tasks_by_node ON tasks (node_id, finished_at) WHERE node_id <> '';

CREATE TABLE task_edges (
    tenant TEXT NOT NULL,
    execution_id TEXT NOT NULL,
    predecessor INTEGER NOT NULL,
    successor INTEGER NOT NULL,
    PRIMARY KEY (execution_id, predecessor, successor)
);

-- Output of steps, masked, in chunks.
CREATE TABLE task_output (
    tenant TEXT NOT NULL,
    execution_id TEXT NOT NULL,
    number INTEGER NOT NULL,
    attempt INTEGER NOT NULL,
    stream TEXT NOT NULL,                   -- stdout, stderr
    position INTEGER NOT NULL,              -- in bytes from the start of the stream
    created_at INTEGER NOT NULL,
    data BLOB NOT NULL,
    PRIMARY KEY (execution_id, number, attempt, stream, position)
);

-- Provisioners ------------------------------------------------------------------------------------------------------

CREATE TABLE provisioners (
    id TEXT PRIMARY KEY NOT NULL,
    name TEXT NOT NULL,
    status TEXT NOT NULL,                   -- enrolled, draining, removed
    certificate_serial TEXT NOT NULL,
    envelope_key BLOB NOT NULL,
    version TEXT NOT NULL,
    capacity INTEGER NOT NULL,
    capabilities TEXT NOT NULL,             -- JSON
    epoch INTEGER NOT NULL,                 -- of the current session
    enrolled_at INTEGER NOT NULL,
    enrolled_by TEXT NOT NULL,
    last_heartbeat_at INTEGER NOT NULL
);
CREATE UNIQUE INDEX provisioners_by_name ON provisioners (name) WHERE status <> 'removed';

CREATE TABLE enrolment_tokens (
    id TEXT PRIMARY KEY NOT NULL,
    secret_hash BLOB NOT NULL,
    name TEXT NOT NULL,
    created_by TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    expires_at INTEGER NOT NULL,
    used_at INTEGER NOT NULL                -- 0 = not used
);
CREATE UNIQUE INDEX enrolment_tokens_by_hash ON enrolment_tokens (secret_hash);

-- Certificates issued, of every domain; `tenant` of the system's own is ''.
CREATE TABLE certificates (
    serial TEXT PRIMARY KEY NOT NULL,
    owner_tenant TEXT NOT NULL,
    profile TEXT NOT NULL,
    subject TEXT NOT NULL,
    holder TEXT NOT NULL,                   -- provisioner id, node id, "manager", user
    issued_at INTEGER NOT NULL,
    expires_at INTEGER NOT NULL,
    revoked_at INTEGER NOT NULL             -- 0 = valid
);
CREATE INDEX certificates_by_holder ON certificates (holder);

-- Events and audit --------------------------------------------------------------------------------------------------

CREATE TABLE events (
    sequence INTEGER PRIMARY KEY,
    tenant TEXT NOT NULL,
    time INTEGER NOT NULL,
    type TEXT NOT NULL,                     -- cluster_status, execution_started, task_state, node_status, ...
    severity TEXT NOT NULL,                 -- info, warning, error
    cluster_id TEXT NOT NULL,
    execution_id TEXT NOT NULL,
    node_id TEXT NOT NULL,
    task INTEGER NOT NULL,
    message TEXT NOT NULL,
    data TEXT NOT NULL                      -- JSON
);
CREATE INDEX events_by_cluster ON events (tenant, cluster_id, sequence);
CREATE INDEX events_by_tenant ON events (tenant, sequence);

CREATE TABLE audit_records (
    shard INTEGER NOT NULL,
    sequence INTEGER NOT NULL,
    time INTEGER NOT NULL,
    actor TEXT NOT NULL,                    -- user, provisioner:<id>, system
    object_tenant TEXT NOT NULL,            -- '' = the system
    source TEXT NOT NULL,                   -- address
    request_id TEXT NOT NULL,
    action TEXT NOT NULL,
    object TEXT NOT NULL,
    outcome TEXT NOT NULL,                  -- done, denied, failed
    details TEXT NOT NULL,                  -- JSON, digests before and after
    hash BLOB NOT NULL,                     -- SHA-256 over the previous hash and this record
    PRIMARY KEY (shard, sequence)
);
CREATE INDEX audit_records_by_time ON audit_records (time);

CREATE TABLE audit_heads (
    shard INTEGER PRIMARY KEY NOT NULL,
    sequence INTEGER NOT NULL,
    hash BLOB NOT NULL,
    signed_sequence INTEGER NOT NULL,
    signature BLOB NOT NULL
);

-- One row a counter; lists answer their totals from here.
CREATE TABLE counters (
    tenant TEXT NOT NULL,
    name TEXT NOT NULL,
    value INTEGER NOT NULL,
    PRIMARY KEY (tenant, name)
);

CREATE TABLE idempotency_keys (
    tenant TEXT NOT NULL,
    username TEXT NOT NULL,
    idempotency_key TEXT NOT NULL,
    request_digest TEXT NOT NULL,
    status INTEGER NOT NULL,
    answer TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    PRIMARY KEY (tenant, username, idempotency_key)
);

CREATE TABLE settings (
    name TEXT PRIMARY KEY NOT NULL,
    value TEXT NOT NULL
);
