-- SPDX-License-Identifier: Apache-2.0
-- What proves who somebody is: sessions beside tokens, scopes, second factors; policies and quotas.

ALTER TABLE users ADD COLUMN first_login_at INTEGER NOT NULL DEFAULT 0;        -- 0 = never
ALTER TABLE users ADD COLUMN password_expires_at INTEGER NOT NULL DEFAULT 0;   -- of a one-time password; 0 = does not

-- A session of the console is a token with an idle limit that travels in a cookie.
ALTER TABLE tokens ADD COLUMN kind TEXT NOT NULL DEFAULT 'token';              -- token, session
ALTER TABLE tokens ADD COLUMN scope TEXT NOT NULL DEFAULT '';                  -- JSON; '' = all that the owner may
ALTER TABLE tokens ADD COLUMN idle_limit INTEGER NOT NULL DEFAULT 0;           -- 0 = none
ALTER TABLE tokens ADD COLUMN has_second_factor INTEGER NOT NULL DEFAULT 0;
ALTER TABLE tokens ADD COLUMN source TEXT NOT NULL DEFAULT '';                 -- address of the sign-in
CREATE INDEX tokens_by_expiry ON tokens (expires_at);

-- One a person. The key of the codes is sealed; a code's step counts once.
CREATE TABLE second_factors (
    username TEXT PRIMARY KEY NOT NULL REFERENCES users (username),
    sealed_key BLOB NOT NULL,
    version INTEGER NOT NULL,               -- in the context that the key is sealed for
    is_confirmed INTEGER NOT NULL,
    last_step INTEGER NOT NULL,             -- of the last code that was used
    created_at INTEGER NOT NULL,
    confirmed_at INTEGER NOT NULL           -- 0 = not yet
);

CREATE TABLE recovery_codes (
    username TEXT NOT NULL REFERENCES users (username),
    code_hash BLOB NOT NULL,                -- SHA-256 of name and code
    PRIMARY KEY (username, code_hash)
);

-- What differs from the defaults. The tenant '' is the system.
CREATE TABLE policies (
    tenant TEXT NOT NULL,
    name TEXT NOT NULL,
    value TEXT NOT NULL,                    -- a number, or names with commas between
    changed_at INTEGER NOT NULL,
    changed_by TEXT NOT NULL,
    PRIMARY KEY (tenant, name)
);

ALTER TABLE tenants ADD COLUMN maximum_running_tasks INTEGER NOT NULL DEFAULT 0;   -- 0 = unlimited
ALTER TABLE tenants ADD COLUMN maximum_bundle_bytes INTEGER NOT NULL DEFAULT 0;    -- 0 = unlimited

-- An execution stands still when who answers for it has lost the right to it.
ALTER TABLE executions ADD COLUMN responsible TEXT NOT NULL DEFAULT '';        -- '' = who made it
ALTER TABLE executions ADD COLUMN is_held INTEGER NOT NULL DEFAULT 0;
CREATE INDEX executions_open_of_tenant ON executions (tenant, tasks_leased)
    WHERE status IN ('pending', 'started', 'cancelling', 'failing');
CREATE INDEX executions_held ON executions (tenant, id) WHERE is_held = 1;
