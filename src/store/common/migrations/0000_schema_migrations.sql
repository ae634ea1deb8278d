-- SPDX-License-Identifier: Apache-2.0
-- Made before anything else, and again at each start: it records which migrations this database has.
CREATE TABLE IF NOT EXISTS schema_migrations (
    version INTEGER PRIMARY KEY,
    name TEXT NOT NULL,
    digest TEXT NOT NULL,
    applied INTEGER NOT NULL
);
