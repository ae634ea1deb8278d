-- SPDX-License-Identifier: Apache-2.0

-- group_add: exec
-- All types, with and without NULL.
INSERT INTO groups (tenant, id, name, description, size, expires, content)
VALUES (:tenant, :id, :name, :description, :size, :expires, :content);

-- group_send: send
INSERT INTO groups (tenant, id, name, size) VALUES (:tenant, :id, :name, :size);

-- group_among: many
SELECT id FROM groups WHERE tenant = :tenant AND id IN (:ids!texts) AND size IN (:sizes!ints) ORDER BY id;

-- group_get: one
SELECT id, name, description, size AS members, expires, content, colour, weight
FROM groups WHERE tenant = :tenant AND id = :id;

-- group_list: many
SELECT id, name, expires FROM groups WHERE tenant = :tenant ORDER BY name LIMIT :limit!int;

-- group_count: count
SELECT COUNT(*) AS total FROM groups WHERE tenant = :tenant;

-- group_resize: exec
UPDATE groups SET size = :size, expires = :expires WHERE tenant = :tenant AND id = :id;

-- group_put: one
INSERT INTO groups (tenant, id, name, size) VALUES (:tenant, :id, :name, :size)
ON CONFLICT (tenant, name) DO UPDATE SET size = groups.size + excluded.size
RETURNING id, size;

-- group_members: many
SELECT g.name AS group_name, m.id AS member, m.payload
FROM groups g LEFT JOIN members m ON m.tenant = g.tenant AND m.group_id = g.id
WHERE g.tenant = :tenant ORDER BY g.name, m.id;

-- group_same_description: count
-- NULL equals NULL in both dialects.
SELECT COUNT(*) AS total FROM groups
WHERE tenant = :tenant AND description IS NOT DISTINCT FROM :description!text?;

-- group_like: count
SELECT COUNT(*) AS total FROM groups WHERE tenant = :tenant AND name LIKE :pattern!text;

-- group_everywhere: count
-- across tenants: the test wants to see all rows
SELECT COUNT(*) AS total FROM groups;

-- member_add: exec
INSERT INTO members (tenant, group_id, id, payload) VALUES (:tenant, :group_id, :id, :payload);

-- counter_get: one
SELECT value FROM counters WHERE name = :name;

-- counter_set: exec
UPDATE counters SET value = :value WHERE name = :name;

-- counter_touch: exec
-- unwatched: the test wants an exception
UPDATE counters SET value = value WHERE name = :name;

-- counter_sum: one
SELECT SUM(value) AS total!int?, MAX(name) AS last!text?, COUNT(*) > 1 AS is_several!int FROM counters WHERE value >= :least!int;

-- journal_add: one
INSERT INTO journal (at, text) VALUES (:at, :text) RETURNING sequence;

-- journal_list: many
SELECT sequence, at, text FROM journal ORDER BY sequence;

-- journal_count: count
SELECT COUNT(*) AS total FROM journal;

-- journal_fill: exec
-- Many rows at once, for the limits.
WITH RECURSIVE numbers (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < :count!int)
INSERT INTO journal (at, text) SELECT n, :text FROM numbers WHERE n > 0;

-- journal_two: one
-- Not what `one` may be used for.
SELECT sequence FROM journal;

-- later_add: exec
INSERT INTO later (id, counter) VALUES (:id, :counter);

-- dialect_name: one
SELECT 'sqlite' AS name!text;
-- dialect postgresql
SELECT 'postgresql' AS name!text;
