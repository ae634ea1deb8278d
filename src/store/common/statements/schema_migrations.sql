-- SPDX-License-Identifier: Apache-2.0

-- schema_migration_list: many
-- What was applied, in order.
SELECT version, name, digest FROM schema_migrations ORDER BY version;

-- schema_migration_add: exec
-- Records a migration in its own transaction.
INSERT INTO schema_migrations (version, name, digest, applied) VALUES (:version, :name, :digest, :applied);
