#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Migrations meet data of the version before: what is in a database stays, and what they add about it is right."""

import importlib.machinery
import importlib.util
import pathlib
import sqlite3
import sys
import unittest

ROOT = pathlib.Path(__file__).resolve().parents[3]
sys.dont_write_bytecode = True
loader = importlib.machinery.SourceFileLoader("generate_statements", str(ROOT / "tools" / "generate-statements"))
tool = importlib.util.module_from_spec(importlib.util.spec_from_loader("generate_statements", loader))
loader.exec_module(tool)


class Migrations(unittest.TestCase):
    def setUp(self):
        self.migrations = {m.version: m for m in tool.load_migrations(ROOT / "src" / "store" / "migrations")}
        self.database = sqlite3.connect(":memory:", isolation_level=None)
        self.addCleanup(self.database.close)
        self.database.execute("PRAGMA foreign_keys = ON")

    def migrate(self, *versions):
        for version in versions:
            self.database.executescript(self.migrations[version].sqlite)

    def insert(self, table, **row):
        """A row; columns that are not named get 0 or ''."""
        columns = {name: 0 if kind == "INTEGER" else b"" if kind == "BLOB" else ""
                   for _, name, kind, *_ in self.database.execute(f"PRAGMA table_info({table})")}
        columns.update(row)
        names = ", ".join(columns)
        self.database.execute(f"INSERT INTO {table} ({names}) VALUES ({', '.join('?' * len(columns))})",
                              list(columns.values()))

    def test_access_gives_everything_its_owner(self):
        """0002: clusters, bundles and living documents are seen by their tenant, and their makers may grant."""
        self.migrate(1)
        for tenant in ("one", "two"):
            self.insert("tenants", name=tenant, is_active=1)
        self.insert("clusters", tenant="one", id="c1", name="c", owner="ann", created_at=7)
        self.insert("bundles", tenant="one", digest="d1", uploaded_by="bob", uploaded_at=8)
        kinds = {"providers": "provider", "hardwaretypes": "hardware_type", "imagetypes": "image_type", "services": "service",
                 "clustertemplates": "template"}
        for kind in kinds:
            self.insert("catalog_documents", tenant="one", kind=kind, name="n", version=1, created_by="old")
            self.insert("catalog_documents", tenant="one", kind=kind, name="n", version=2, is_latest=1, created_by="ann")
        self.insert("catalog_documents", tenant="two", kind="services", name="gone", version=2, is_latest=1, is_deleted=1)
        self.insert("catalog_documents", tenant="two", kind="services", name="nobodys", version=1, is_latest=1)
        self.migrate(2)
        found = set(self.database.execute("SELECT tenant, kind, id, owner, visibility FROM resources"))
        self.assertEqual(found, {("one", "cluster", "c1", "ann", "tenant"), ("one", "bundle", "d1", "bob", "tenant"),
                                 ("two", "service", "nobodys", "", "tenant"),
                                 *(("one", kind, "n", "ann", "tenant") for kind in kinds.values())})
        grants = set(self.database.execute("SELECT tenant, kind, id, subject_kind, subject, rights FROM grants"))
        self.assertEqual(grants, {(tenant, kind, name, "user", owner, 8) for tenant, kind, name, owner, _ in found if owner})

    def test_all_follow_each_other(self):
        self.migrate(*sorted(self.migrations))


if __name__ == "__main__":
    unittest.main()
