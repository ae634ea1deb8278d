-- SPDX-License-Identifier: Apache-2.0
-- Heads that the keeper signed: record `sequence` of the shard had this hash. The epoch grows when a restored database is accepted.

CREATE TABLE audit_signatures (
    shard INTEGER NOT NULL,
    epoch INTEGER NOT NULL,
    sequence INTEGER NOT NULL,
    time INTEGER NOT NULL,
    hash BLOB NOT NULL,
    signature BLOB NOT NULL,
    PRIMARY KEY (shard, epoch, sequence)
);

-- What was shipped off: up to which record of each shard, per sink.
CREATE TABLE audit_shipped (
    sink TEXT NOT NULL,
    shard INTEGER NOT NULL,
    sequence INTEGER NOT NULL,
    PRIMARY KEY (sink, shard)
);
