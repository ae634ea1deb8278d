#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# P4 on PostgreSQL, beside the common queue in SQL: pgbench takes one task with SKIP LOCKED, notes an event, and ends the
# task in a second transaction. Each system in turn, twice, on the same server with fsync on.
# usage: tests/bench/engine/postgresql.sh BUILD_DIRECTORY [LARGEST]
set -eu
here=$(cd "$(dirname "$0")" && pwd)
build=$(cd "$1" && pwd)
largest=${2:-1000}

if [ -z "${BASTIDE_TEST_POSTGRESQL:-}" ]; then
    BASTIDE_TEST_POSTGRESQL_FSYNC=on exec "$here/../../lib/with-postgresql" "$0" "$build" "$largest"
fi

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
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
INSERT INTO queue (state) SELECT 'ready' FROM generate_series(1, 200000);
END
for connections in 1 4; do
    # shellcheck disable=SC2016
    pgbench -n -M prepared -c "$connections" -j 1 -T 3 -f "$folder/queue.sql" "$BASTIDE_TEST_POSTGRESQL" 2>/dev/null |
        sed -n "s/^tps = \([0-9.]*\).*/SKIP LOCKED by pgbench, $connections connections: \1 tasks\/s/p"
done
"$build/tests/bench/engine/bench_engine" --largest "$largest" --connections 1
