# SPDX-License-Identifier: Apache-2.0
"""The audit trail leaves the database (S57, S58): every record once in order, over restarts, rotation and faults."""

import json
import os
import pwd

import pytest

from conftest import build_directory
from installation import MANAGER_USER, Installation
from services import temporary_folder, wait_until


@pytest.fixture(scope="module", name="shipped")
def start_installation(pytestconfig):
    """(an installation, the folder of its file)"""
    with temporary_folder() as folder:
        account = pwd.getpwnam(MANAGER_USER)
        folder.chmod(0o755)
        sink = folder / "audit"
        sink.mkdir()
        os.chown(sink, account.pw_uid, account.pw_gid)
        settings = {"audit": {"file": sink / "records", "when_unreachable": "refuse", "unreachable_after": "1s"}}
        with Installation(build_directory(), pytestconfig.getoption("database"), settings) as bastide:
            yield bastide, sink


def read(sink):
    """All records in all files, the oldest file first."""
    files = sorted(sink.glob("records*"), key=lambda path: path.name, reverse=True)
    return [json.loads(line) for path in files for line in path.read_text().splitlines()]


def is_there(sink, request):
    return any(row["request_id"] == request for row in read(sink))


def change(bastide, name):
    answer = bastide.api("POST", f"/tenants/{name}", {}).expect(201)
    return answer.headers["X-Request-Id"]


def is_whole(sink):
    numbers = [row["sequence"] for row in read(sink)]
    return numbers == list(range(1, len(numbers) + 1))


def test_s57_records_are_shipped_over_rotation_and_restart(shipped):
    bastide, sink = shipped
    first = change(bastide, "one")
    wait_until(lambda: is_there(sink, first), 30, "the record")
    (sink / "records").rename(sink / "records.1")
    second = change(bastide, "two")
    wait_until(lambda: is_there(sink, second), 30, "the record in a new file")
    bastide.restart("manager")
    bastide.kill("manager")
    bastide.start("manager")
    third = change(bastide, "three")
    wait_until(lambda: is_there(sink, third), 30, "the record after a kill")
    assert is_whole(sink)
    status = bastide.api("GET", "/status").json["services"]["Audit trail"]
    assert status["status"] == "Active" and "shipped" in status["extra_info"]


def test_s57_changes_are_refused_while_records_cannot_be_shipped(shipped):
    bastide, sink = shipped
    away = sink.with_name("away")
    sink.rename(away)
    bastide.api("POST", "/tenants/lost", {})
    wait_until(lambda: bastide.api("POST", "/tokens", {}).status == 503, 30, "a refusal")
    refused = bastide.api("POST", "/tenants/refused", {}).expect(503)
    assert "shipped" in refused.json["message"]
    bastide.api("GET", "/tenants").expect(200)
    status = bastide.api("GET", "/status").json
    assert status["status"] == "Fail" and status["services"]["Audit trail"]["status"] == "Inactive"
    bastide.api("GET", "/tenants/refused").expect(404)
    away.rename(sink)
    wait_until(lambda: bastide.api("POST", "/tokens", {}).status == 201, 30, "changes again")
    wait_until(lambda: is_there(sink, refused.headers["X-Request-Id"]), 30, "the record of the refusal")
    assert is_whole(sink)


def test_s58_settings_are_recorded_before_they_take_effect(shipped):
    bastide, sink = shipped
    (record,) = bastide.api("GET", "/audit", query={"action": "audit_settings"}).items
    assert record["details"]["before"] == {} and record["details"]["after"]["file"] == str(sink / "records")
    first = next(row for row in read(sink) if row["action"] == "audit_settings")
    assert first["sequence"] == record["sequence"]
