# SPDX-License-Identifier: Apache-2.0
"""What the guides show is true: the example documents of the user guide are valid for a running manager, without an
error and without a warning, and give a plan together; the manifest and the generated tables are those of the code.

usage: pytest test_examples.py, with BASTIDE_BUILD naming the build directory"""

import io
import json
import os
import pathlib
import re
import subprocess
import sys
import tarfile

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests" / "lib"))
from installation import Installation  # pylint: disable=wrong-import-position

BUILD = pathlib.Path(os.environ["BASTIDE_BUILD"])
KINDS = ["providers", "hardwaretypes", "imagetypes", "services", "clustertemplates"]
EXAMPLE = re.compile(r"<!-- example: (\w+) -->\n```json\n(.*?)\n```", re.DOTALL)
EXAMPLES = EXAMPLE.findall((ROOT / "docs" / "user-guide.md").read_text(encoding="utf-8"))


def examples(kind):
    return [json.loads(text) for found, text in EXAMPLES if found == kind]


@pytest.fixture(scope="module", name="bastide")
def start_bastide():
    with Installation(BUILD) as installation:
        yield installation
        installation.check_sanitizers()


def archive(manifest):
    """The bundle of the example, with scripts that do nothing."""
    names = ["manifest.json", *manifest["scripts"], *manifest.get("files", {})]
    output = io.BytesIO()
    with tarfile.open(fileobj=output, mode="w:gz") as packed:
        for name in names:
            content = json.dumps(manifest).encode() if name == "manifest.json" else b"#!/bin/sh\nexit 0\n"
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            packed.addfile(entry, io.BytesIO(content))
    return output.getvalue()


def test_examples_are_all_known():
    assert {kind for kind, _ in EXAMPLES} == {*KINDS, "manifest"}


def test_documents_are_valid_pr1(bastide):
    """In the order of the guide nothing is even warned about."""
    for kind in KINDS:
        for document in examples(kind):
            answer = bastide.api("POST", "/catalog/validate", {"kind": kind, "document": document}).expect(200).json
            assert answer["valid"] and not answer["errors"] and not answer["warnings"], answer
            bastide.api("PUT", f"/catalog/{kind}/{document['name']}", document).expect(201)


def test_documents_make_a_cluster_pr4(bastide):
    """The bundle is accepted and approved; the plan has what the guide says; a cluster can be requested."""
    uploaded = bastide.api("POST", "/bundles", archive(examples("manifest")[0]),
                           headers={"Content-Type": "application/octet-stream"}).expect(201).json
    bastide.api("POST", f"/bundles/{uploaded['digest']}/approve").expect(200)
    request = {"name": "first", "template": "pages", "nodes": 2}
    plan = bastide.api("POST", "/cluster-plans", request).expect(200).json
    assert [node["number"] for node in plan["nodes"]] == [1000, 1001]
    assert plan["secrets"] == ["page.key"]
    assert plan["cost"]["hourly"] == "0.02"
    assert {rule["service"] for rule in plan["firewall"]} == {"page"}
    bastide.api("POST", "/clusters", request).expect(202)


def test_generated_tables_are_current():
    result = subprocess.run([sys.executable, ROOT / "tools" / "generate-docs", "--build", BUILD, "--check"],
                            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    assert result.returncode == 0, result.stdout
