-- SPDX-License-Identifier: Apache-2.0
-- Answers that may be given again, and what else surrounds a change.

-- idempotency_claim: exec
-- The first of several requests with the same key wins; on PostgreSQL the others lose the race and run again.
INSERT INTO idempotency_keys (tenant, username, idempotency_key, request_digest, status, answer, content_type, object, created_at)
VALUES (:tenant, :username, :idempotency_key, :request_digest, 0, '', '', '', :created_at)
ON CONFLICT (tenant, username, idempotency_key) DO NOTHING;

-- idempotency_get: one
SELECT request_digest, status, answer, content_type, object, created_at FROM idempotency_keys
WHERE tenant = :tenant AND username = :username AND idempotency_key = :idempotency_key AND created_at > :expired_at!int;

-- idempotency_answer: exec
UPDATE idempotency_keys SET status = :status, answer = :answer, content_type = :content_type, object = :object
WHERE tenant = :tenant AND username = :username AND idempotency_key = :idempotency_key;

-- idempotency_forget: exec
DELETE FROM idempotency_keys WHERE tenant = :tenant AND username = :username AND idempotency_key = :idempotency_key;

-- idempotency_expire: exec
-- across tenants: housekeeping
DELETE FROM idempotency_keys WHERE created_at <= :expired_at!int;

-- setting_claim: exec
-- The first one stays.
INSERT INTO settings (name, value) VALUES (:name, :value) ON CONFLICT (name) DO NOTHING;
