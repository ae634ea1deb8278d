-- SPDX-License-Identifier: Apache-2.0
-- Accounts of the directory and the groups that it decides about.

-- directory_user_insert: exec
INSERT INTO users (username, password_hash, role, is_active, must_change_password, failed_logins, locked_until, created_at,
    first_login_at, last_login_at, password_expires_at, origin, directory_id, directory_checked_at, is_withdrawn)
VALUES (:username, '', 'default', 1, 0, 0, 0, :now!int, 0, 0, 0, 'ldap', :directory_id, :now!int, 0);

-- directory_user_note: exec
-- unwatched: nobody's rights depend on when the directory was asked
UPDATE users SET directory_checked_at = :now!int WHERE username = :username AND origin = 'ldap';

-- directory_user_withdraw: exec
UPDATE users SET is_active = 0, is_withdrawn = 1 WHERE username = :username AND origin = 'ldap' AND is_active = 1;

-- directory_user_give_back: exec
-- Only what the directory itself took away.
UPDATE users SET is_active = 1, is_withdrawn = 0 WHERE username = :username AND origin = 'ldap' AND is_withdrawn = 1;

-- directory_users: many
-- Names after the given one.
SELECT username, is_active, is_withdrawn, directory_checked_at FROM users
WHERE origin = 'ldap' AND username > :after!text ORDER BY username LIMIT :maximum!int;

-- directory_users_count: one
SELECT COUNT(*) AS total!int, COUNT(CASE WHEN is_withdrawn = 1 THEN 1 END) AS withdrawn!int, COALESCE(MIN(CASE WHEN is_active = 1
    THEN directory_checked_at END), 0) AS oldest!int
FROM users WHERE origin = 'ldap';

-- directory_tokens_revoke: exec
-- There is no directory any more that would vouch for anybody.
UPDATE tokens SET is_revoked = 1
WHERE is_revoked = 0 AND username IN (SELECT username FROM users WHERE origin = 'ldap');

-- directory_groups: many
-- The groups whose members the directory names, and whether the account is in them now.
SELECT g.name, g.ldap_group_dn, (SELECT COUNT(*) FROM group_members m WHERE m.group_name = g.name AND m.username = :username) AS is_member!int
FROM user_groups g WHERE g.ldap_group_dn <> '' ORDER BY g.name;

-- directory_group_join: exec
INSERT INTO group_members (group_name, username) VALUES (:group_name, :username);

-- directory_group_leave: exec
DELETE FROM group_members WHERE group_name = :group_name AND username = :username;
