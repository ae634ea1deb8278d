# SPDX-License-Identifier: Apache-2.0
"""docs/api/openapi.json is what the program prints, and it is sound."""

import json
import os
import pathlib
import re
import subprocess

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
COMMITTED = ROOT / "docs/api/openapi.json"
MANAGER = pathlib.Path(os.environ["BASTIDE_BUILD"]) / "src/manager/bastide-manager"


@pytest.fixture(scope="module", name="printed")
def print_document():
    return subprocess.run([MANAGER, "openapi"], check=True, stdout=subprocess.PIPE, text=True).stdout


@pytest.fixture(scope="module", name="operations")
def list_operations(printed):
    document = json.loads(printed)
    return [(method, path, operation) for path, methods in document["paths"].items()
            for method, operation in methods.items()]


def test_committed_copy_is_current(printed):
    assert printed == COMMITTED.read_text(), "write it anew: bastide-manager openapi > docs/api/openapi.json"


def test_every_operation_is_described(operations):
    assert len(operations) > 50
    for method, path, operation in operations:
        where = f"{method} {path}"
        assert operation["summary"].strip(), where
        assert operation["x-bastide-permission"], where
        assert ("security" in operation) == (operation["x-bastide-permission"] == "open"), where
        statuses = set(operation["responses"]) - {"default", "304"}
        assert len(statuses) == 1 and int(statuses.pop()) in range(200, 300), where
        assert operation["responses"]["default"] == {"$ref": "#/components/responses/Error"}, where


def test_ids_of_operations_are_unique(operations):
    ids = [operation["operationId"] for _, _, operation in operations]
    assert len(ids) == len(set(ids))
    assert all(re.fullmatch("[a-z0-9_]+", name) for name in ids)


def test_parameters_of_paths(operations):
    for method, path, operation in operations:
        named = re.findall(r"\{(.*?)\}", path)
        described = [row["name"] for row in operation.get("parameters", []) if row.get("in") == "path"]
        assert described == named, f"{method} {path}"


def test_references_lead_somewhere(printed):
    document = json.loads(printed)
    for reference in set(re.findall(r'"\$ref": "(.*?)"', printed)):
        part = document
        for name in reference.removeprefix("#/").split("/"):
            part = part[name]


def test_passwords_are_marked(operations):
    seen = 0
    for method, path, operation in operations:
        body = operation.get("requestBody", {}).get("content", {}).get("application/json", {}).get("schema", {})
        for name, schema in body.get("properties", {}).items():
            if "password" in name and schema["type"] == "string":
                assert schema["format"] == "password" and schema["writeOnly"], f"{method} {path}: {name}"
                seen += 1
    assert seen >= 3
