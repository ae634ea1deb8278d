-- SPDX-License-Identifier: Apache-2.0
-- Secrets of people: what is known about each; the values are sealed (sealed_values, owner_kind `secret`, one for each version).

CREATE TABLE secrets (
    tenant TEXT NOT NULL REFERENCES tenants (name),
    secret_key TEXT NOT NULL,
    description TEXT NOT NULL,
    is_hidden INTEGER NOT NULL,             -- the value is for the owner, administrators and holders of a grant
    version INTEGER NOT NULL,               -- the present one
    created_at INTEGER NOT NULL,
    created_by TEXT NOT NULL,
    updated_at INTEGER NOT NULL,
    updated_by TEXT NOT NULL,
    expires_at INTEGER NOT NULL,            -- 0 = never; a reminder, no more
    PRIMARY KEY (tenant, secret_key)
);
CREATE INDEX secrets_by_expiry ON secrets (expires_at) WHERE expires_at > 0;

CREATE TABLE secret_versions (
    tenant TEXT NOT NULL,
    secret_key TEXT NOT NULL,
    version INTEGER NOT NULL,
    created_at INTEGER NOT NULL,
    created_by TEXT NOT NULL,
    PRIMARY KEY (tenant, secret_key, version),
    FOREIGN KEY (tenant, secret_key) REFERENCES secrets (tenant, secret_key)
);
