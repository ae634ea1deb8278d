-- SPDX-License-Identifier: Apache-2.0
ALTER TABLE groups ADD COLUMN colour TEXT;
ALTER TABLE groups ADD COLUMN weight INTEGER NOT NULL DEFAULT 7;
INSERT INTO counters (name, value) VALUES ('first; with '' and " in it', 0), ('second', 0);
CREATE UNIQUE INDEX members_by_payload ON members (tenant, payload) WHERE length(payload) = 0;
