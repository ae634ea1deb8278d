-- SPDX-License-Identifier: Apache-2.0
-- Leases of clusters are watched.

ALTER TABLE clusters ADD COLUMN lease_warned INTEGER NOT NULL DEFAULT 0;   -- 1 = of the last day, 2 = of the last hour
CREATE INDEX clusters_by_lease ON clusters (expires_at) WHERE expires_at > 0 AND status <> 'terminated';
