-- SPDX-License-Identifier: Apache-2.0
-- Accounts that a directory vouches for. They have no password here.

ALTER TABLE users ADD COLUMN origin TEXT NOT NULL DEFAULT 'local';             -- local, ldap
ALTER TABLE users ADD COLUMN directory_id TEXT NOT NULL DEFAULT '';            -- of the entry; never given again
ALTER TABLE users ADD COLUMN directory_checked_at INTEGER NOT NULL DEFAULT 0;  -- the directory's word is this old
ALTER TABLE users ADD COLUMN is_withdrawn INTEGER NOT NULL DEFAULT 0;          -- the directory took the account away
CREATE INDEX users_by_origin ON users (origin, username);
