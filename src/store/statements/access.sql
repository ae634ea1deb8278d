-- SPDX-License-Identifier: Apache-2.0
-- Accounts, tenants, tokens.

-- user_get: one
SELECT username, password_hash, role, is_active, must_change_password, failed_logins, locked_until, created_at, first_login_at,
    last_login_at, password_expires_at, origin, directory_id, is_withdrawn
FROM users WHERE username = :username;

-- user_insert: exec
INSERT INTO users (username, password_hash, role, is_active, must_change_password, failed_logins, locked_until, created_at,
    first_login_at, last_login_at, password_expires_at)
VALUES (:username, :password_hash, :role, 1, :must_change_password, 0, 0, :created_at, 0, 0, :password_expires_at);

-- user_list: many
-- across tenants: in how many tenants an account is
-- Names from the first to the last: one account, or all.
SELECT u.username, u.role, u.is_active, u.must_change_password, u.created_at, u.first_login_at, u.last_login_at, u.locked_until, u.origin,
    (SELECT COUNT(*) FROM memberships m WHERE m.username = u.username) AS tenants!int,
    (SELECT COUNT(*) FROM second_factors f WHERE f.username = u.username AND f.is_confirmed = 1) AS second_factors!int
FROM users u WHERE u.username >= :first!text AND u.username <= :last!text ORDER BY u.username LIMIT :maximum!int OFFSET :offset!int;

-- user_count: one
SELECT COUNT(*) AS total!int FROM users;

-- user_count_administrators: one
SELECT COUNT(*) AS total!int FROM users WHERE role = 'sys_admin' AND is_active = 1;

-- user_set_password: exec
UPDATE users SET password_hash = :password_hash, must_change_password = :must_change_password, password_expires_at = :password_expires_at,
    failed_logins = 0, locked_until = 0
WHERE username = :username;

-- user_set_role: exec
UPDATE users SET role = :role WHERE username = :username;

-- user_set_active: exec
UPDATE users SET is_active = :is_active, is_withdrawn = 0 WHERE username = :username;

-- user_note_login: exec
-- unwatched: nobody's rights depend on when they signed in
-- The hash may be one with newer parameters.
UPDATE users SET failed_logins = 0, locked_until = 0, last_login_at = :now!int, password_hash = :password_hash,
    first_login_at = CASE WHEN first_login_at = 0 THEN :now!int ELSE first_login_at END
WHERE username = :username;

-- user_note_failure: exec
-- unwatched: a lock concerns passwords, which are looked up each time
-- Counts a failure; every so many of them lock the account.
UPDATE users SET failed_logins = failed_logins + 1,
    locked_until = CASE WHEN failed_logins + 1 >= :maximum_failures!int THEN :locked_until ELSE locked_until END
WHERE username = :username;

-- user_unlock: exec
-- unwatched: a lock concerns passwords, which are looked up each time
UPDATE users SET failed_logins = 0, locked_until = 0 WHERE username = :username;

-- user_delete: exec
DELETE FROM users WHERE username = :username;

-- tenant_get: one
SELECT name, description, created_at, is_active, maximum_clusters, maximum_nodes FROM tenants WHERE name = :name;

-- tenant_insert: exec
INSERT INTO tenants (name, description, created_at, is_active, maximum_clusters, maximum_nodes)
VALUES (:name, :description, :created_at, 1, 0, 0);

-- tenant_list: many
SELECT name, description, created_at, is_active FROM tenants ORDER BY name LIMIT :maximum!int OFFSET :offset!int;

-- tenant_count: one
SELECT COUNT(*) AS total!int FROM tenants;

-- tenant_delete: exec
DELETE FROM tenants WHERE name = :name;

-- tenant_list_of_user: many
-- across tenants: one sees the tenants that one belongs to
SELECT t.name, t.description, t.created_at, t.is_active FROM tenants t JOIN memberships m ON m.tenant = t.name
WHERE m.username = :username AND t.is_active = 1 ORDER BY t.name LIMIT :maximum!int OFFSET :offset!int;

-- membership_get: one
SELECT m.role, t.is_active FROM memberships m JOIN tenants t ON t.name = m.tenant WHERE m.tenant = :tenant AND m.username = :username;

-- membership_put: exec
INSERT INTO memberships (tenant, username, role) VALUES (:tenant, :username, :role)
ON CONFLICT (tenant, username) DO UPDATE SET role = excluded.role;

-- membership_delete: exec
DELETE FROM memberships WHERE tenant = :tenant AND username = :username;

-- memberships_of_tenant: many
SELECT username, role FROM memberships WHERE tenant = :tenant ORDER BY username;

-- memberships_of_user: many
-- across tenants: an account shows all its tenants
SELECT tenant, role FROM memberships WHERE username = :username ORDER BY tenant;

-- memberships_delete_of_user: exec
-- across tenants: the account goes, and its memberships with it
DELETE FROM memberships WHERE username = :username;

-- token_insert: exec
INSERT INTO tokens (id, secret_hash, username, default_tenant, description, created_at, expires_at, last_used_at, is_revoked, kind,
    scope, idle_limit, has_second_factor, source)
VALUES (:id, :secret_hash, :username, :default_tenant, :description, :created_at, :expires_at, :last_used_at, 0, :kind, :scope,
    :idle_limit, :has_second_factor, :source);

-- token_find: one
-- With the account it belongs to.
SELECT t.id, t.username, t.default_tenant, t.expires_at, t.last_used_at, t.kind, t.scope, t.idle_limit, t.has_second_factor, u.role,
    u.is_active, u.must_change_password
FROM tokens t JOIN users u ON u.username = t.username WHERE t.secret_hash = :secret_hash AND t.is_revoked = 0;

-- token_note_use: exec
-- unwatched: nobody's rights depend on when a token was used
UPDATE tokens SET last_used_at = :last_used_at WHERE id = :id;

-- token_get: one
SELECT id, username, default_tenant, description, created_at, expires_at, last_used_at, kind, scope, idle_limit, has_second_factor,
    source
FROM tokens WHERE id = :id AND is_revoked = 0;

-- token_list: many
-- Of one account, or of all when it is ''.
SELECT id, username, default_tenant, description, created_at, expires_at, last_used_at, kind, scope, idle_limit, has_second_factor,
    source
FROM tokens
WHERE kind = :kind AND (:username = '' OR username = :username) AND is_revoked = 0 AND expires_at > :now!int
ORDER BY created_at DESC, id LIMIT :maximum!int OFFSET :offset!int;

-- token_count: one
SELECT COUNT(*) AS total!int FROM tokens
WHERE kind = :kind AND (:username = '' OR username = :username) AND is_revoked = 0 AND expires_at > :now!int;

-- token_revoke: exec
UPDATE tokens SET is_revoked = 1 WHERE id = :id AND is_revoked = 0;

-- tokens_revoke_of_user: exec
-- Tokens or sessions, all but one of them when a name for it is given; kind '' means both.
UPDATE tokens SET is_revoked = 1
WHERE username = :username AND (:kind = '' OR kind = :kind) AND id <> :but!text AND is_revoked = 0;

-- tokens_purge_of_user: exec
DELETE FROM tokens WHERE username = :username;

-- tokens_purge_expired: exec
-- unwatched: an expired token is refused by its time
DELETE FROM tokens WHERE expires_at < :now!int;

-- setting_get: one
SELECT value FROM settings WHERE name = :name;

-- setting_put: exec
INSERT INTO settings (name, value) VALUES (:name, :value) ON CONFLICT (name) DO UPDATE SET value = excluded.value;
