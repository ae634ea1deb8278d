-- SPDX-License-Identifier: Apache-2.0
-- Certificates as people see them: every one that was issued, of every domain.

-- certificate_note: exec
-- Of the manager's own listeners: seen at every start.
INSERT INTO certificates (serial, owner_tenant, profile, subject, holder, issued_at, expires_at, revoked_at)
VALUES (:serial, '', :profile, :subject, 'manager', :issued_at, :expires_at, 0)
ON CONFLICT (serial) DO NOTHING;

-- certificate_list: many
SELECT serial, owner_tenant, profile, subject, holder, issued_at, expires_at, revoked_at FROM certificates
WHERE (:profile!text = '' OR profile = :profile!text) AND (:holder!text = '' OR holder = :holder!text)
    AND (:search!text = '' OR serial = :search!text OR subject = :search!text OR holder = :search!text)
    AND (:state!text = '' OR (:state!text = 'revoked' AND revoked_at > 0)
        OR (:state!text = 'expired' AND revoked_at = 0 AND expires_at <= :now!int)
        OR (:state!text = 'valid' AND revoked_at = 0 AND expires_at > :now!int))
ORDER BY issued_at DESC, serial LIMIT :maximum!int OFFSET :offset!int;

-- certificate_count: one
SELECT COUNT(*) AS total!int FROM certificates
WHERE (:profile!text = '' OR profile = :profile!text) AND (:holder!text = '' OR holder = :holder!text)
    AND (:search!text = '' OR serial = :search!text OR subject = :search!text OR holder = :search!text)
    AND (:state!text = '' OR (:state!text = 'revoked' AND revoked_at > 0)
        OR (:state!text = 'expired' AND revoked_at = 0 AND expires_at <= :now!int)
        OR (:state!text = 'valid' AND revoked_at = 0 AND expires_at > :now!int));

-- certificate_describe: one
SELECT serial, owner_tenant, profile, subject, holder, issued_at, expires_at, revoked_at FROM certificates WHERE serial = :serial;

-- certificate_revoke: exec
UPDATE certificates SET revoked_at = :revoked_at WHERE serial = :serial AND revoked_at = 0;
