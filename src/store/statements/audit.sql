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

-- audit_list: many
-- In order of time over all shards, newest first; '' and 0 do not filter.
SELECT shard, sequence, time, actor, object_tenant, source, request_id, action, object, outcome, details, effective_actor, authentication,
    digest_before, digest_after
FROM audit_records
WHERE (:actor!text = '' OR actor = :actor!text OR effective_actor = :actor!text)
    AND (:object_tenant!text = '' OR object_tenant = :object_tenant!text)
    AND (:action!text = '' OR action = :action!text) AND (:object!text = '' OR object = :object!text)
    AND (:outcome!text = '' OR outcome = :outcome!text) AND (:request_id!text = '' OR request_id = :request_id!text)
    AND time >= :since!int AND time < :until!int
ORDER BY time DESC, shard, sequence DESC LIMIT :maximum!int OFFSET :offset!int;

-- audit_count: one
SELECT COALESCE(SUM(sequence), 0) AS total!int FROM audit_heads;

-- audit_heads_list: many
SELECT shard, sequence, hash FROM audit_heads ORDER BY shard;

-- audit_hash_at: one
SELECT hash FROM audit_records WHERE shard = :shard AND sequence = :sequence;

-- audit_signature_insert: exec
INSERT INTO audit_signatures (shard, epoch, sequence, time, hash, signature) VALUES (:shard, :epoch, :sequence, :time, :hash, :signature)
ON CONFLICT (shard, epoch, sequence) DO NOTHING;

-- audit_signature_last: one
SELECT epoch, sequence, time, hash, signature FROM audit_signatures WHERE shard = :shard ORDER BY epoch DESC, sequence DESC LIMIT 1;

-- audit_signatures_after: many
-- With what the records say now.
SELECT s.epoch, s.sequence, s.time, s.hash, s.signature, r.hash AS record_hash!blob?
FROM audit_signatures s LEFT JOIN audit_records r ON r.shard = s.shard AND r.sequence = s.sequence
WHERE s.shard = :shard AND (s.sequence > :after!int OR (s.sequence = :after!int AND s.epoch > :after_epoch!int))
ORDER BY s.sequence, s.epoch LIMIT :maximum!int;

-- audit_shipped_get: one
SELECT sequence FROM audit_shipped WHERE sink = :sink AND shard = :shard;

-- audit_shipped_put: exec
INSERT INTO audit_shipped (sink, shard, sequence) VALUES (:sink, :shard, :sequence)
ON CONFLICT (sink, shard) DO UPDATE SET sequence = excluded.sequence;
