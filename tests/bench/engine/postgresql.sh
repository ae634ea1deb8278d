#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# P4 on PostgreSQL, on one server with fsync on, each in turn and as often as asked for:
#   peer:  the common queue in SQL: pgbench takes one task with SKIP LOCKED, notes an event, and ends the task in a second
#          transaction;
#   ours:  bench_engine;
#   limit: the rows that our engine writes for a task, by pgbench in pipeline mode on one connection, which knows what comes
#          next and has nothing to read: 32 tasks a transaction.
# For each also the CPU time of the server for a task, which other load on the machine changes less than the rate.
# usage: tests/bench/engine/postgresql.sh BUILD_DIRECTORY [LARGEST [ROUNDS]]
set -eu
here=$(cd "$(dirname "$0")" && pwd)
build=$(cd "$1" && pwd)
largest=${2:-1000}
rounds=${3:-1}

if [ -z "${BASTIDE_TEST_POSTGRESQL:-}" ]; then
    BASTIDE_TEST_POSTGRESQL_FSYNC=on exec "$here/../../lib/with-postgresql" "$here/postgresql.sh" "$build" "$largest" "$rounds"
fi

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
server=$(head -n 1 "$BASTIDE_TEST_POSTGRESQL_DATA/postmaster.pid")
ticks=$(getconf CLK_TCK)

# Of the server and of the connections that have ended.
server_cpu() {
    sleep 0.5
    awk '{print $14 + $15 + $16 + $17}' "/proc/$server/stat"
}

# cpu_of TASKS COMMAND...: runs it and prints what the server spent for a task.
cpu_of() {
    tasks=$1
    shift
    before=$(server_cpu)
    "$@"
    after=$(server_cpu)
    echo "    server: $(((after - before) * 1000000 / ticks / tasks)) us CPU a task"
}

pgbench_rate() { # NAME TASKS_A_TRANSACTION ARGUMENT...
    name=$1
    per=$2
    shift 2
    pgbench -n -M prepared -j 1 "$@" "$BASTIDE_TEST_POSTGRESQL" 2>"$folder/errors" |
        awk -v name="$name" -v per="$per" '/^tps = / { printf "%s: %.0f tasks/s\n", name, $3 * per; found = 1 }
            END { exit !found }' || { cat "$folder/errors" >&2; exit 1; }
}

cat >"$folder/queue.sql" <<'END'
BEGIN;
WITH next AS (SELECT id FROM queue WHERE state = 'ready' ORDER BY id FOR UPDATE SKIP LOCKED LIMIT 1)
UPDATE queue SET state = 'leased', leased_at = now() FROM next WHERE queue.id = next.id RETURNING queue.id AS id \gset
INSERT INTO queue_events (task, what) VALUES (:id, 'leased');
COMMIT;
BEGIN;
UPDATE queue SET state = 'done', done_at = now() WHERE id = :id;
INSERT INTO queue_events (task, what) VALUES (:id, 'done');
COMMIT;
END
psql -q -d "$BASTIDE_TEST_POSTGRESQL" <<'END'
CREATE TABLE queue (id bigserial PRIMARY KEY, state text NOT NULL, leased_at timestamptz, done_at timestamptz);
CREATE INDEX queue_ready ON queue (id) WHERE state = 'ready';
CREATE TABLE queue_events (sequence bigserial PRIMARY KEY, task bigint NOT NULL, what text NOT NULL, at timestamptz DEFAULT now());
INSERT INTO queue (state) SELECT 'ready' FROM generate_series(1, 200000)
END

# What the limit does for one task, without colons, which pgbench takes for variables; T is the task, N its node (one for ten tasks), A and B the numbers of its records.
cat >"$folder/task.sql" <<'END'
INSERT INTO tasks VALUES ('bare', 'bareexecution', T, 'barecluster', 'bare' || N, 'automator', 'configure', 'web', '{}', 'waiting', 0, 1, 0, 1, 0, 3, 0, 60000, 1, '', 0, '', '', '{}', 0, 0, 0);
INSERT INTO task_edges VALUES ('bare', 'bareexecution', T, T + 1);
UPDATE tasks SET state = 'ready', waiting_for = 0, is_runnable = 1, ready_at = 1, not_before = 1 WHERE execution_id = 'bareexecution' AND number = T;
UPDATE nodes SET active_task = T WHERE id = 'bare' || N;
UPDATE tasks SET state = 'leased', is_runnable = 0, attempt = 1, provisioner_id = 'pqrstuvwxyzabcdefghi', epoch = 1, started_at = 1 WHERE execution_id = 'bareexecution' AND number = T;
INSERT INTO events (tenant, time, type, severity, cluster_id, execution_id, node_id, task, message, data) VALUES ('bare', 1, 'task_started', 'info', 'barecluster', 'bareexecution', 'bare' || N, T, 'configure web', '{}');
INSERT INTO audit_records VALUES (9, A, 1, 'provisioner/pqrstuvwxyzabcdefghi', 'bare', '', '', 'task_started', 'task/bareexecution-' || T, 'done', '{}', '\x00');
UPDATE tasks SET state = 'succeeded', finished_at = 1 WHERE execution_id = 'bareexecution' AND number = T;
INSERT INTO events (tenant, time, type, severity, cluster_id, execution_id, node_id, task, message, data) VALUES ('bare', 1, 'task_succeeded', 'info', 'barecluster', 'bareexecution', 'bare' || N, T, 'configure web', '{}');
INSERT INTO audit_records VALUES (9, B, 1, 'provisioner/pqrstuvwxyzabcdefghi', 'bare', '', '', 'task_succeeded', 'task/bareexecution-' || T, 'done', '{}', '\x00');
END
{
    printf '%s\n' "SELECT nextval('bare') AS base \\gset"
    task=0
    while [ "$task" -lt 32 ]; do
        printf '%s\n' "\\set t$task :base * 32 + $task"
        printf '%s\n' "\\set n$task :t$task / 10 % 1000"
        printf '%s\n' "\\set a$task :t$task * 2"
        printf '%s\n' "\\set b$task :t$task * 2 + 1"
        task=$((task + 1))
    done
    printf '%s\n' '\startpipeline'
    echo 'BEGIN ISOLATION LEVEL SERIALIZABLE;'
    task=0
    while [ "$task" -lt 32 ]; do
        # The server cannot tell the type of a parameter that is only put into a text.
        sed "s/\\bT\\b/:t$task::bigint/g; s/\\bN\\b/:n$task::bigint/g; s/\\bA\\b/:a$task/g; s/\\bB\\b/:b$task/g" "$folder/task.sql"
        task=$((task + 1))
    done
    echo 'COMMIT;'
    printf '%s\n' '\endpipeline'
} >"$folder/bare.sql"

prepare_limit() {
    psql -q -d "$BASTIDE_TEST_POSTGRESQL" <<'END'
SET client_min_messages = warning;
CREATE SEQUENCE IF NOT EXISTS bare MINVALUE 0;
INSERT INTO tenants VALUES ('bare', '', 1, 1, 0, 0) ON CONFLICT DO NOTHING;
INSERT INTO clusters VALUES ('bare', 'barecluster', 'bare', '', 'ann', 't', 1, 'p', 'pending', '', '{}', '{}', '{}', '{}', 1, '', 1, 1, 0, 1)
ON CONFLICT DO NOTHING;
INSERT INTO executions VALUES ('bare', 'bareexecution', 'barecluster', 'create', 'started', '', '{}', 'ann', 1, 1, 0, 1, 0, 0, 0, 0)
ON CONFLICT DO NOTHING;
INSERT INTO nodes SELECT 'bare', 'bare' || n, 'barecluster', n, 'host', '[]', '', '', '', '', 'planned', '', '{}', '[]', 'root', 22, '{}', 0, 1, 1
FROM generate_series(0, 999) AS n ON CONFLICT DO NOTHING
END
}

total=0
size=100
while [ "$size" -le "$largest" ]; do
    total=$((total + size))
    size=$((size * 10))
done
round=0
while [ "$round" -lt "$rounds" ]; do
    round=$((round + 1))
    cpu_of 500 pgbench_rate "SKIP LOCKED by pgbench, 1 connection" 1 -c 1 -t 500 -f "$folder/queue.sql"
    cpu_of 2000 pgbench_rate "SKIP LOCKED by pgbench, 4 connections" 1 -c 4 -t 500 -f "$folder/queue.sql"
    cpu_of "$total" "$build/tests/bench/engine/bench_engine" --largest "$largest" --connections 1
    prepare_limit
    cpu_of 3200 pgbench_rate "the same rows by pgbench" 32 -c 1 -t 100 -f "$folder/bare.sql"
done
