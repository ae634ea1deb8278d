-- SPDX-License-Identifier: Apache-2.0
-- What a record says about who, how and what (format 2; records of format 1 keep their meaning and their hash).

ALTER TABLE audit_records ADD COLUMN format INTEGER NOT NULL DEFAULT 1;
ALTER TABLE audit_records ADD COLUMN effective_actor TEXT NOT NULL DEFAULT '';  -- in whose name, when not the actor's
ALTER TABLE audit_records ADD COLUMN authentication TEXT NOT NULL DEFAULT '';   -- password, token:<id>, certificate, local
ALTER TABLE audit_records ADD COLUMN digest_before TEXT NOT NULL DEFAULT '';    -- of the object's representation; '' = there was none
ALTER TABLE audit_records ADD COLUMN digest_after TEXT NOT NULL DEFAULT '';

-- Answers that may be given again.
ALTER TABLE idempotency_keys ADD COLUMN content_type TEXT NOT NULL DEFAULT '';
ALTER TABLE idempotency_keys ADD COLUMN object TEXT NOT NULL DEFAULT '';
CREATE INDEX idempotency_keys_by_time ON idempotency_keys (created_at);
