-- SPDX-License-Identifier: Apache-2.0
-- Clusters that change after they were made: which nodes were completed, which are about to leave, executions that pause.

ALTER TABLE nodes ADD COLUMN is_member INTEGER NOT NULL DEFAULT 0;  -- the work that made it was completed
ALTER TABLE nodes ADD COLUMN leaving INTEGER NOT NULL DEFAULT 0;    -- 0 = stays, 2 = leaves, 3 = is lost

UPDATE nodes SET is_member = 1 WHERE status = 'ready';

DROP INDEX executions_open;
CREATE INDEX executions_open ON executions (cluster_id, created_at)
    WHERE status IN ('pending', 'started', 'paused', 'cancelling', 'failing');

DROP INDEX executions_open_of_tenant;
CREATE INDEX executions_open_of_tenant ON executions (tenant, tasks_leased)
    WHERE status IN ('pending', 'started', 'paused', 'cancelling', 'failing');
