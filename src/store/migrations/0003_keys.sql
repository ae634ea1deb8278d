-- SPDX-License-Identifier: Apache-2.0
-- Which data key each sealed value lies under, so that all of an older one can be found and sealed anew.

ALTER TABLE sealed_values ADD COLUMN generation INTEGER NOT NULL DEFAULT 0;   -- 0 = not recorded: sealed anew by the next care
CREATE INDEX sealed_values_by_generation ON sealed_values (generation, tenant, owner_kind, owner, name);
