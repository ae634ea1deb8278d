#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The generator of statements: what it refuses, above all statements that could reach another tenant's rows (S47,
no statement without a tenant), how it tells types, and how it translates migrations."""

import importlib.machinery
import importlib.util
import pathlib
import subprocess
import sys
import tempfile
import unittest

TOOL = pathlib.Path(__file__).resolve().parents[3] / "tools" / "generate-statements"
sys.dont_write_bytecode = True
loader = importlib.machinery.SourceFileLoader("generate_statements", str(TOOL))
tool = importlib.util.module_from_spec(importlib.util.spec_from_loader("generate_statements", loader))
loader.exec_module(tool)

SCHEMA = """
CREATE TABLE a (tenant TEXT NOT NULL, id TEXT PRIMARY KEY NOT NULL, name TEXT NOT NULL, size INTEGER, data BLOB,
    UNIQUE (tenant, name));
CREATE TABLE b (tenant TEXT NOT NULL, a_id TEXT NOT NULL, size TEXT NOT NULL, count INTEGER NOT NULL,
    PRIMARY KEY (tenant, a_id));
CREATE TABLE free (name TEXT PRIMARY KEY, value INTEGER NOT NULL, default_tenant TEXT);
"""


class Case(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.TemporaryDirectory()
        self.root = pathlib.Path(self.folder.name)
        self.addCleanup(self.folder.cleanup)
        (self.root / "0001_first.sql").write_text(SCHEMA)
        self.schema = tool.Schema(tool.load_migrations(self.root))

    def compile(self, text):
        path = self.root / "statements" / "s.sql"
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
        (statement,) = tool.load_statements(path)
        statement.compile(self.schema)
        return statement

    def refused(self, text, reason):
        with self.assertRaises(tool.Failure, msg=text) as caught:
            self.compile(text)
        self.assertIn(reason, str(caught.exception), text)


class Tenants(Case):
    ACCEPTED = [
        "-- s: one\nSELECT id FROM a WHERE tenant = :tenant AND id = :id;",
        "-- s: one\nSELECT id FROM a WHERE a.tenant = :tenant;",
        "-- s: one\nSELECT x.id FROM a AS x WHERE x.name = :name AND x.tenant = :tenant ORDER BY x.id LIMIT 1;",
        "-- s: one\nSELECT id FROM a WHERE (tenant = :tenant) AND (id = :id OR name = :name);",
        "-- s: one\nSELECT a.id FROM a JOIN b ON b.tenant = a.tenant AND b.a_id = a.id WHERE a.tenant = :tenant;",
        "-- s: one\nSELECT a.id FROM a LEFT JOIN b ON b.tenant = a.tenant AND b.a_id = a.id WHERE a.tenant = :tenant;",
        "-- s: one\nSELECT a.id FROM a, b WHERE a.tenant = b.tenant AND b.tenant = :tenant;",
        "-- s: one\nSELECT id FROM a WHERE tenant = :tenant AND id IN (SELECT a_id FROM b WHERE tenant = :tenant);",
        "-- s: one\nSELECT id FROM a WHERE tenant = :tenant AND EXISTS (SELECT 1 FROM b WHERE b.tenant = a.tenant);",
        "-- s: one\nWITH x AS (SELECT id FROM a WHERE tenant = :tenant) SELECT COUNT(*) AS n FROM x;",
        "-- s: one\nSELECT id FROM a WHERE tenant = :tenant UNION SELECT a_id AS id FROM b WHERE tenant = :tenant;",
        "-- s: exec\nUPDATE a SET name = :name WHERE tenant = :tenant AND id = :id;",
        "-- s: exec\nDELETE FROM a WHERE tenant = :tenant;",
        "-- s: exec\nINSERT INTO a (id, tenant, name) VALUES (:id, :tenant, :name);",
        "-- s: exec\nINSERT INTO a (id, tenant, name) SELECT a_id, :tenant, size FROM b WHERE tenant = :tenant;",
        "-- s: exec\nINSERT INTO a (id, tenant, name) SELECT b.a_id, b.tenant, b.size FROM b WHERE b.tenant = :tenant;",
        "-- s: exec\nINSERT INTO a (tenant, id, name) VALUES (:tenant, :id, :name)"
        " ON CONFLICT (tenant, name) DO UPDATE SET id = excluded.id;",
        "-- s: exec\nINSERT INTO a (tenant, id, name) VALUES (:tenant, :id, :name)"
        " ON CONFLICT (id) DO UPDATE SET name = excluded.name WHERE a.tenant = :tenant;",
        "-- s: exec\nINSERT INTO a (tenant, id, name) VALUES (:tenant, :id, :name) ON CONFLICT DO NOTHING;",
        "-- s: send\nDELETE FROM a WHERE tenant = :tenant;",
        "-- s: many\nSELECT id FROM a WHERE tenant = :tenant AND id IN (:ids!texts);",
        "-- s: one\nWITH x AS MATERIALIZED (SELECT id FROM a WHERE tenant = :tenant) SELECT COUNT(*) AS n FROM x;",
        "-- s: one\nSELECT value FROM free WHERE name = :name;",
        "-- s: one\n-- across tenants: counts for the operator\nSELECT COUNT(*) AS n FROM a;",
    ]
    REFUSED = [
        ("-- s: one\nSELECT id FROM a WHERE id = :id;", "has a tenant"),
        ("-- s: one\nSELECT id FROM a WHERE tenant = :tenant OR id = :id;", "has a tenant"),
        ("-- s: one\nSELECT id FROM a WHERE (tenant = :tenant OR id = :id) AND name = :name;", "has a tenant"),
        ("-- s: one\nSELECT id FROM a WHERE (tenant = :tenant AND id = :id) OR name = :name;", "has a tenant"),
        ("-- s: one\nSELECT id FROM a WHERE NOT tenant = :tenant;", "has a tenant"),
        ("-- s: one\nSELECT id FROM a WHERE NOT (tenant = :tenant);", "has a tenant"),
        ("-- s: one\nSELECT id FROM a WHERE COALESCE(tenant = :tenant, 1) = 1;", "has a tenant"),
        ("-- s: one\nSELECT id FROM a WHERE tenant = :tenant || '';", "has a tenant"),
        ("-- s: one\nSELECT id FROM a WHERE 1 = tenant = :tenant;", "has a tenant"),
        ("-- s: one\nSELECT id FROM a WHERE tenant <> :tenant;", "has a tenant"),
        ("-- s: one\nSELECT id FROM a WHERE tenant = :other!text;", "has a tenant"),
        ("-- s: one\nSELECT id FROM a WHERE tenant = 'x';", "has a tenant"),
        ("-- s: one\nSELECT id FROM a WHERE CASE WHEN id = '' AND tenant = :tenant AND id = '' THEN 1 ELSE 1 END = 1;",
         "has a tenant"),
        ("-- s: one\nSELECT a.id FROM a JOIN b ON b.a_id = a.id WHERE a.tenant = :tenant;", "table b"),
        ("-- s: one\nSELECT a.id FROM a LEFT JOIN b ON b.a_id = a.id AND a.tenant = :tenant AND b.tenant = :tenant;",
         "table a"),
        ("-- s: one\nSELECT id FROM a WHERE tenant = :tenant AND id IN (SELECT a_id FROM b);", "table b"),
        ("-- s: one\nSELECT id FROM a WHERE id IN (SELECT a_id FROM b WHERE tenant = :tenant);", "table a"),
        ("-- s: one\nSELECT id FROM a WHERE tenant = :tenant UNION SELECT a_id AS id FROM b;", "table b"),
        ("-- s: one\nWITH x AS (SELECT id, tenant FROM a) SELECT id AS i!text FROM x WHERE x.tenant = :tenant;",
         "table a"),
        ("-- s: one\nSELECT id FROM a ORDER BY tenant = :tenant;", "has a tenant"),
        ("-- s: one\nSELECT tenant = :tenant AS same!int FROM a;", "has a tenant"),
        ("-- s: exec\nUPDATE a SET name = :name WHERE id = :id;", "has a tenant"),
        ("-- s: exec\nUPDATE a SET tenant = :tenant WHERE tenant = :tenant;", "another tenant"),
        ("-- s: exec\nUPDATE a SET name = '', tenant = :to!text WHERE tenant = :tenant;", "another tenant"),
        ("-- s: exec\nDELETE FROM a;", "has a tenant"),
        ("-- s: many\nSELECT id FROM a WHERE tenant = :tenant AND id NOT IN (:ids!texts);", "a list stands in"),
        ("-- s: many\nSELECT id FROM a WHERE tenant = :tenant AND id IN (:ids!texts, 'x');", "a list stands in"),
        ("-- s: many\nSELECT id FROM a WHERE tenant = :tenant AND id = :ids!texts;", "a list stands in"),
        ("-- s: many\nSELECT id FROM a WHERE tenant IN (:tenants!texts);", "has a tenant"),
        ("-- s: send\nDELETE FROM a;", "has a tenant"),
        ("-- s: send\nDELETE FROM a WHERE tenant = :tenant RETURNING id;", "'send' with result columns"),
        ("-- s: send\nSELECT id FROM a WHERE tenant = :tenant;", "'send' with result columns"),
        ("-- s: one\nWITH x AS MATERIALIZED (SELECT id FROM a) SELECT COUNT(*) AS n FROM x;", "table a"),
        ("-- s: exec\nINSERT INTO a (tenant, id, name) VALUES ('x', :id, :name);", "something else"),
        ("-- s: exec\nINSERT INTO a (tenant, id, name) VALUES (:tenant, :id, :name), (:id, :tenant, :name);",
         "something else"),
        ("-- s: exec\nINSERT INTO b (a_id, size, count) VALUES (:a_id, :size!text, :count);", "does not set tenant"),
        ("-- s: exec\nINSERT INTO a (id, tenant, name) SELECT a_id, tenant, size FROM b;", "something else"),
        ("-- s: exec\nINSERT INTO a (id, tenant, name) SELECT a_id, :tenant, size FROM b;", "table b"),
        ("-- s: exec\nINSERT INTO a (id, tenant, name) SELECT b.a_id, b.size, b.size FROM b WHERE b.tenant = :tenant;",
         "something else"),
        ("-- s: exec\nINSERT INTO a (tenant, id, name) VALUES (:tenant, :id, :name)"
         " ON CONFLICT (id) DO UPDATE SET name = excluded.name;", "another tenant"),
        ("-- s: one\n-- across tenants:\nSELECT id FROM a;", "needs a reason"),
        ("-- s: one\n-- across tenants: why not\nSELECT value FROM free;", "no table here has a tenant"),
        ("-- s: one\nSELECT id FROM a WHERE tenant = :tenant;\n-- dialect postgresql\nSELECT id FROM a;", "has a tenant"),
    ]

    def test_accepted(self):
        for text in self.ACCEPTED:
            with self.subTest(text):
                self.compile(text)

    def test_refused(self):
        for text, reason in self.REFUSED:
            with self.subTest(text):
                self.refused(text, reason)


class Watching(Case):
    def watched(self, text, tables="free"):
        path = self.root / "statements" / "s.sql"
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
        (statement,) = tool.load_statements(path)
        statement.compile(self.schema, frozenset(tables.split(",")))
        return statement.is_watched

    def test_what_writes_a_watched_table_says_so(self):
        for text in ("INSERT INTO free (name, value) VALUES (:name, :value);",
                     "INSERT INTO free (name, value) VALUES (:name, :value) ON CONFLICT (name) DO UPDATE SET value = 1;",
                     "UPDATE free SET value = :value WHERE name = :name;", "DELETE FROM free WHERE name = :name;",
                     "WITH x AS (SELECT name FROM free) DELETE FROM free WHERE name IN (SELECT name FROM x);"):
            self.assertTrue(self.watched("-- s: exec\n" + text), text)

    def test_reading_or_another_table_is_not_watched(self):
        self.assertFalse(self.watched("-- s: one\nSELECT value FROM free WHERE name = :name;"))
        self.assertFalse(self.watched("-- s: exec\nDELETE FROM a WHERE tenant = :tenant AND id IN (SELECT name FROM free);"))

    def test_exceptions_have_a_reason(self):
        text = "-- s: exec\n-- unwatched: {}\nUPDATE free SET value = 1;"
        self.assertFalse(self.watched(text.format("nobody reads it")))
        with self.assertRaisesRegex(tool.Failure, "needs a reason"):
            self.watched(text.format(""))
        with self.assertRaisesRegex(tool.Failure, "no watched table"):
            self.watched(text.format("nobody reads it"), tables="a")

    def test_watched_tables_exist(self):
        with self.assertRaisesRegex(tool.Failure, "no table gone"):
            self.watched("-- s: one\nSELECT value FROM free;", tables="free,gone")


class Fragments(Case):
    FRAGMENT = "-- small: fragment\n-- For tests.\n(size < :limit!int\n    OR name = 'x')\n\n"

    def test_a_fragment_is_put_in(self):
        statement = self.compile(self.FRAGMENT + "-- s: one\nSELECT id FROM a WHERE tenant = :tenant AND @small;")
        self.assertIn("AND (size < ?2 OR name = 'x')", statement.sqlite)
        self.assertEqual(["tenant", "limit"], [field.name for field in statement.parameters])

    def test_a_fragment_cannot_let_the_tenant_go(self):
        self.refused(self.FRAGMENT + "-- s: one\nSELECT id FROM a WHERE @small;", "has a tenant")
        with self.assertRaisesRegex(tool.Failure, "in parentheses"):
            self.compile("-- s: fragment\n1 = 1) OR (1 = 1\n\n-- t: one\nSELECT id FROM a WHERE tenant = :tenant AND @s;")

    def test_unknown_and_double_fragments(self):
        with self.assertRaisesRegex(tool.Failure, "no fragment nothing"):
            self.compile("-- s: one\nSELECT id FROM a WHERE tenant = :tenant AND @nothing;")
        with self.assertRaisesRegex(tool.Failure, "two fragments"):
            self.compile(self.FRAGMENT + self.FRAGMENT + "-- s: one\nSELECT id FROM a WHERE tenant = :tenant;")


class Types(Case):
    def fields(self, text):
        statement = self.compile(text)
        show = lambda fields: " ".join(f"{f.name}:{f.kind}{'?' if f.is_nullable else ''}" for f in fields)
        return show(statement.parameters), show(statement.columns)

    def test_inferred(self):
        cases = [
            ("-- s: one\nSELECT id, size AS s, data FROM a WHERE tenant = :tenant AND size = :size;",
             "tenant:text size:int", "id:text s:int? data:blob?"),
            ("-- s: exec\nUPDATE a SET size = :size, data = :data WHERE tenant = :tenant AND name = :name;",
             "size:int? data:blob? tenant:text name:text", ""),
            ("-- s: exec\nINSERT INTO a (tenant, id, name, size) VALUES (:tenant, :id, :name, :size);",
             "tenant:text id:text name:text size:int?", ""),
            ("-- s: one\nSELECT a.name, b.count FROM a LEFT JOIN b ON b.tenant = a.tenant WHERE a.tenant = :tenant;",
             "tenant:text", "name:text count:int?"),
            ("-- s: one\nSELECT SUM(value) AS total!int?, COUNT(*) AS n FROM free WHERE value < :most!int;",
             "most:int", "total:int? n:int"),
            ("-- s: one\nINSERT INTO free (name, value) VALUES (:name, :value) RETURNING value, name AS called;",
             "name:text value:int", "value:int called:text"),
            ("-- s: one\nSELECT value FROM free WHERE default_tenant IS NOT DISTINCT FROM :t!text? LIMIT :limit!int;",
             "t:text? limit:int", "value:int"),
        ]
        for text, parameters, columns in cases:
            with self.subTest(text):
                self.assertEqual(self.fields(text), (parameters, columns))

    def test_refused(self):
        for text, reason in [
            ("-- s: one\nSELECT * FROM free;", "name the columns"),
            ("-- s: one\nSELECT value + 1 FROM free;", "needs an alias"),
            ("-- s: one\nSELECT value + 1 AS v FROM free;", "not known"),
            ("-- s: one\nSELECT value FROM free WHERE value < :most;", "type of parameter most"),
            ("-- s: one\nSELECT a.size AS x!int, b.size AS y!text FROM a JOIN b ON a.tenant = b.tenant"
             " WHERE a.tenant = :tenant AND a.size = :size;", "type of parameter size"),
            ("-- s: one\nSELECT value FROM free WHERE value = :v!int OR name = :v!text;", "two types"),
            ("-- s: one\nSELECT value, value FROM free;", "same name"),
            ("-- s: one\nSELECT nothing FROM free;", "SQLite"),
            ("-- s: one\nSELECT value FROM elsewhere;", "no table elsewhere"),
            ("-- s: one\nSELECT value AS int FROM free;", "cannot be a member"),
            ("-- s: one\nDELETE FROM free;", "without result columns"),
            ("-- s: exec\nSELECT value FROM free;", "with result columns"),
            ("-- s: count\nSELECT name FROM free;", "exactly one integer"),
            ("-- s: exec\nDROP TABLE free;", "a statement is"),
            ("-- s: exec\nDELETE FROM free; DELETE FROM free;", "; is not part of the subset"),
            ("-- s: one\nSELECT \"value\" FROM free;", "quoted identifiers"),
            ("-- s: one\nSELECT value FROM free", "no semicolon"),
            ("-- s: one\nSELECT value FROM free WHERE name = ?;", "cannot read"),
            ("SELECT value FROM free;", "without a header"),
        ]:
            with self.subTest(text):
                self.refused(text, reason)

    def test_positions(self):
        statement = self.compile(
            "-- s: one\nSELECT id -- a comment with ' and :nothing\nFROM a\n"
            "WHERE tenant = :tenant AND name <> ':id' AND data <> x'00FF' AND id = :id AND :id <> name;"
        )
        self.assertEqual(
            statement.sqlite,
            "SELECT id FROM a WHERE tenant = ?1 AND name <> ':id' AND data <> x'00FF' AND id = ?2 AND ?2 <> name",
        )
        self.assertEqual(
            statement.postgresql,
            "SELECT id FROM a WHERE tenant = $1 AND name <> ':id' AND data <> '\\x00ff'::bytea AND id = $2 AND $2 <> name",
        )


class Migrations(unittest.TestCase):
    def both(self, text):
        return tool.translate_migration(text, "sqlite").strip(), tool.translate_migration(text, "postgresql").strip()

    def test_translated(self):
        cases = [
            ("CREATE TABLE t (id INTEGER PRIMARY KEY, v BLOB);",
             "CREATE TABLE t (id INTEGER PRIMARY KEY, v BLOB) STRICT;",
             "CREATE TABLE t (id BIGINT GENERATED BY DEFAULT AS IDENTITY PRIMARY KEY, v BYTEA);"),
            ("CREATE TABLE t (id INTEGER PRIMARY KEY AUTOINCREMENT);",
             "CREATE TABLE t (id INTEGER PRIMARY KEY AUTOINCREMENT) STRICT;",
             "CREATE TABLE t (id BIGINT GENERATED BY DEFAULT AS IDENTITY PRIMARY KEY);"),
            ("CREATE TABLE t (text TEXT NOT NULL, integer INTEGER CHECK (integer IN (1, 2)), PRIMARY KEY (text)) WITHOUT ROWID;",
             "CREATE TABLE t (text TEXT NOT NULL, integer INTEGER CHECK (integer IN (1, 2)), PRIMARY KEY (text))"
             " STRICT, WITHOUT ROWID;",
             'CREATE TABLE t (text TEXT COLLATE "C" NOT NULL, integer BIGINT CHECK (integer IN (1, 2)),'
             " PRIMARY KEY (text));"),
            ("ALTER TABLE t ADD COLUMN n INTEGER NOT NULL DEFAULT 0;",
             "ALTER TABLE t ADD COLUMN n INTEGER NOT NULL DEFAULT 0;",
             "ALTER TABLE t ADD COLUMN n BIGINT NOT NULL DEFAULT 0;"),
            ("-- INTEGER\nINSERT INTO t (a) VALUES ('a TEXT; x'), (X'aB');",
             "INSERT INTO t (a) VALUES ('a TEXT; x'), (X'aB');",
             "INSERT INTO t (a) VALUES ('a TEXT; x'), ('\\xab'::bytea);"),
        ]
        for text, sqlite, postgresql in cases:
            with self.subTest(text):
                self.assertEqual(self.both(text), (sqlite, postgresql))

    def test_refused(self):
        for text, reason in [
            ("CREATE TABLE t (id VARCHAR);", "is not INTEGER, TEXT or BLOB"),
            ("CREATE TABLE t (id REAL);", "is not INTEGER, TEXT or BLOB"),
            ("CREATE TRIGGER x AFTER INSERT ON t BEGIN SELECT 1; END;", "not part of the subset"),
            ("CREATE VIEW v AS SELECT 1;", "not part of the subset"),
            ("PRAGMA foreign_keys = OFF;", "not part of the subset"),
            ("CREATE TABLE t (id TEXT)", "no semicolon"),
            ("CREATE TABLE \"t\" (id TEXT);", "quoted identifiers"),
        ]:
            with self.subTest(text):
                with self.assertRaises(tool.Failure) as caught:
                    self.both(text)
                self.assertIn(reason, str(caught.exception))

    def test_digest_is_of_the_file(self):
        with tempfile.TemporaryDirectory() as folder:
            path = pathlib.Path(folder) / "0001_x.sql"
            path.write_text("CREATE TABLE t (id TEXT);\n")
            first = tool.Migration(path)
            path.write_text("CREATE TABLE t (id TEXT); \n")
            self.assertNotEqual(first.digest, tool.Migration(path).digest)
            self.assertEqual(len(first.digest), 64)

    def test_numbers_follow(self):
        with tempfile.TemporaryDirectory() as folder:
            for name in ("0001_x.sql", "0003_y.sql"):
                (pathlib.Path(folder) / name).write_text("DELETE FROM t;\n")
            with self.assertRaises(tool.Failure):
                tool.load_migrations(folder)


class Program(Case):
    def test_failure_stops_the_build(self):
        statements = self.root / "statements"
        statements.mkdir()
        (statements / "s.sql").write_text("-- s: one\nSELECT id FROM a;\n\n-- t: one\nSELECT no FROM free;\n")
        migrations = self.root / "migrations"
        migrations.mkdir()
        (self.root / "0001_first.sql").rename(migrations / "0001_first.sql")
        header = self.root / "out.h"
        result = subprocess.run(
            [sys.executable, TOOL, "--migrations", migrations, "--statements", statements, "--header", header],
            capture_output=True, text=True, check=False,
        )
        self.assertEqual(result.returncode, 1)
        self.assertIn("s.sql:1: s:", result.stderr)
        self.assertIn("s.sql:4: t:", result.stderr)
        self.assertFalse(header.exists())


if __name__ == "__main__":
    unittest.main()
