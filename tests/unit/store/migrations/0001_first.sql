-- SPDX-License-Identifier: Apache-2.0
CREATE TABLE groups (
    tenant TEXT NOT NULL,
    id TEXT NOT NULL,
    name TEXT NOT NULL,
    description TEXT,
    size INTEGER NOT NULL DEFAULT 0 CHECK (size >= 0),
    expires INTEGER,
    content BLOB,
    PRIMARY KEY (tenant, id),
    UNIQUE (tenant, name)
);
CREATE TABLE members (
    tenant TEXT NOT NULL,
    group_id TEXT NOT NULL,
    id TEXT NOT NULL,
    payload BLOB NOT NULL,
    PRIMARY KEY (tenant, id),
    FOREIGN KEY (tenant, group_id) REFERENCES groups (tenant, id)
);
CREATE INDEX members_by_group ON members (tenant, group_id);
CREATE TABLE counters (
    name TEXT PRIMARY KEY,
    value INTEGER NOT NULL
);
CREATE TABLE journal (
    sequence INTEGER PRIMARY KEY AUTOINCREMENT,
    at INTEGER NOT NULL,
    text TEXT NOT NULL
);
CREATE TABLE later (
    id TEXT PRIMARY KEY,
    counter TEXT NOT NULL REFERENCES counters (name) DEFERRABLE INITIALLY DEFERRED
);
