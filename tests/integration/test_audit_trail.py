# SPDX-License-Identifier: Apache-2.0
"""Tampering with the audit trail (S56): signed heads, exports that are checked without the manager, older databases."""

import contextlib
import hashlib
import json
import os
import pathlib
import shutil
import subprocess

import pytest

from conftest import build_directory
from installation import ADMIN
from services import ServiceError, wait_until

PROGRAM = pathlib.Path(build_directory()) / "src/cli/bastide"


def verification(bastide):
    return bastide.api("GET", "/audit/verification").expect(200).json


def is_stopped(bastide):
    """Nothing is changed, reading goes on."""
    answer = bastide.api("POST", "/tenants/refused", {})
    assert answer.status == 503 and "audit trail" in answer.json["message"]
    bastide.api("GET", "/tenants").expect(200)
    status = bastide.api("GET", "/status").json
    assert status["status"] == "Fail" and status["services"]["Audit trail"]["status"] == "Inactive"
    return not verification(bastide)["valid"]


@contextlib.contextmanager
def stopped(bastide):
    """The administrator's token is made before: it has to outlive what happens."""
    assert bastide.credentials(ADMIN)
    bastide.stop("manager")
    try:
        yield
    finally:
        bastide.start("manager")


def keep_copy(bastide, name):
    """Of the database, as a backup has it; the manager is stopped."""
    if bastide.postgresql:
        bastide.postgresql.query(f'create database "{name}" template bastide')
    else:
        shutil.copy2(bastide.database_file, bastide.prefix / name)


def put_back(bastide, name):
    if bastide.postgresql:
        bastide.postgresql.query("drop database bastide")
        bastide.postgresql.query(f'alter database "{name}" rename to bastide')
        return
    for ending in ("-wal", "-shm"):
        pathlib.Path(str(bastide.database_file) + ending).unlink(missing_ok=True)
    owner = bastide.database_file.stat()
    shutil.copy2(bastide.prefix / name, bastide.database_file)
    os.chown(bastide.database_file, owner.st_uid, owner.st_gid)


def accept(bastide):
    assert "epoch" in bastide.run("manager", "accept-restore", "--reason", "the disk was lost")


def test_s56_older_database_is_found(breakable):
    """The keeper remembers a later head. Root may accept the database; that is a record and a new epoch."""
    with stopped(breakable):
        keep_copy(breakable, "older")
    for name in ("lost1", "lost2"):
        breakable.api("POST", f"/tenants/{name}", {}).expect(201)
    assert verification(breakable)["valid"]
    with stopped(breakable):
        put_back(breakable, "older")
    assert is_stopped(breakable)
    assert "ends too early" in verification(breakable)["problem"]
    for _ in range(20):  # what is refused is recorded, too: the trail grows beyond what the keeper remembers
        breakable.api("POST", "/tenants/refused", {}).expect(503)
    breakable.restart("manager")
    assert is_stopped(breakable)  # a new start forgets nothing
    with pytest.raises(ServiceError):
        breakable.run("manager", "accept-restore")
    accept(breakable)
    breakable.api("POST", "/tenants/after", {}).expect(201)
    assert verification(breakable)["valid"]
    record = breakable.api("GET", "/audit", query={"action": "audit_restore_accept"}).items[0]
    assert record["details"] == {"reason": "the disk was lost"} and record["authentication"] == "local"
    epoch = breakable.api("GET", "/audit", query={"action": "audit_epoch"}).items[0]["details"]["epoch"]
    assert epoch >= 2
    breakable.restart("manager")
    breakable.api("DELETE", "/tenants/after").expect(204)
    assert verification(breakable)["valid"]


def test_s56_cut_trail_is_found(breakable):
    """The last records are removed, and the head is set to what is left: the chain holds, the signature does not."""
    breakable.api("POST", "/tenants/cut", {}).expect(201)
    breakable.api("DELETE", "/tenants/cut").expect(204)
    with stopped(breakable):
        keep_copy(breakable, "whole")
        breakable.sql("delete from audit_records where sequence > (select max(sequence) - 2 from audit_records)")
        breakable.sql("update audit_heads set sequence = (select max(sequence) from audit_records), hash = "
                      "(select hash from audit_records order by sequence desc limit 1)")
    assert is_stopped(breakable)
    with stopped(breakable):
        put_back(breakable, "whole")
    assert verification(breakable)["valid"]
    breakable.api("POST", "/tenants/cut2", {}).expect(201)


def field(text):
    data = str(text).encode()
    return len(data).to_bytes(4, "big") + data


def chain(previous, row):
    """As docs/internals/protocols.md and src/domain/audit/chain.h have it, written anew here."""
    names = ["shard", "sequence", "time", "actor", "tenant", "source", "request_id", "action", "object", "outcome", "details"]
    if row["format"] > 1:
        names += ["format", "effective_actor", "authentication", "digest_before", "digest_after"]
    return hashlib.sha256(previous + b"".join(field(row[name]) for name in names)).digest()


class Person:
    def __init__(self, home, bastide):
        self.home, self.bastide = home, bastide
        (home / "ca.crt").write_text(bastide.ca_certificate)
        self.run("login", "--url", f"https://localhost:{bastide.external_port}", "--ca", home / "ca.crt", "--token-stdin",
                 text=bastide.admin_token)

    def run(self, *arguments, status=0, text="", home=None):
        done = subprocess.run([PROGRAM, *map(str, arguments)], input=text, capture_output=True, text=True, timeout=120,
                              env={"HOME": str(home or self.home), "PATH": os.environ["PATH"]}, check=False)
        assert "Sanitizer" not in done.stderr, done.stderr
        assert (done.returncode == 0) == (status == 0), f"{done.returncode}: {done.stdout}\n{done.stderr}"
        return done


@pytest.fixture(name="exported")
def export_trail(bastide, tmp_path, unique):
    """(a person, lines of an export, the file of the key)"""
    for _ in range(3):
        bastide.api("POST", f"/tenants/{unique('tenant')}", {}).expect(201)
    bastide.restart("manager")  # signs
    bastide.api("POST", f"/tenants/{unique('tenant')}", {}).expect(201)
    person = Person(tmp_path, bastide)
    key = tmp_path / "key"
    key.write_text(person.run("audit", "key").stdout)
    person.run("audit", "export", "--file", tmp_path / "export")
    return person, (tmp_path / "export").read_text().splitlines(), key


def check(exported, lines, status=0):
    """The outcome of checking such an export, by somebody who has neither profile nor manager."""
    person, _, key = exported
    path, nobody = person.home / "changed", person.home / "nobody"
    nobody.mkdir(exist_ok=True)
    path.write_text("".join(line + "\n" for line in lines))
    done = person.run("audit", "verify", path, "--key", key, status=status, home=nobody)
    return done.stdout if status == 0 else done.stderr


def test_s56_export_is_checked_without_the_manager(exported):
    _, lines, _ = exported
    rows = [json.loads(line) for line in lines]
    records = [row for row in rows if row["type"] == "record"]
    assert rows[0]["type"] == "export" and rows[-1] == {"type": "end", "records": len(records)}
    assert [row["type"] for row in rows].count("signature") >= 1
    previous = bytes(32)
    for row in records:
        assert chain(previous, row).hex() == row["hash"]
        previous = bytes.fromhex(row["hash"])
    assert f"{len(records)} records" in check(exported, lines)


def find(rows, kind, number):
    return [i for i, row in enumerate(rows) if row["type"] == kind][number]


def test_s56_first_bad_record_of_an_export_is_named(exported):
    _, lines, _ = exported
    rows = [json.loads(line) for line in lines]
    one, two, last = find(rows, "record", 1), find(rows, "record", 2), find(rows, "record", -1)
    changed = {**rows[one], "actor": "somebody else"}
    cases = [
        (lines[:one] + [json.dumps(changed)] + lines[one + 1:], f"record {rows[one]['sequence']} "),   # edited
        (lines[:one] + lines[one + 1:], f"record {rows[one]['sequence']} "),                            # dropped
        (lines[:one] + [lines[two], lines[one]] + lines[two + 1:], f"record {rows[one]['sequence']} "),  # reordered
        (lines[:last], "was cut"),                                                                       # truncated
        (lines[:last] + lines[last + 1:], f"record {rows[last]['sequence']} "),
        (lines[:-1], "was cut"),
        (lines + [lines[-1]], "follows the end"),
        (lines[1:], "begins with"),
    ]
    for bad, text in cases:
        assert text in check(exported, bad, status=1), text


def test_s56_forged_chain_is_found_by_its_signatures(exported):
    """The chain is computed anew after a change: only the keeper's signature tells."""
    _, lines, _ = exported
    rows, previous, count = [json.loads(line) for line in lines], bytes(32), 0
    for row in rows:
        if row["type"] == "record":
            count += 1
            if count == 2:
                row["actor"] = "somebody else"
            previous = chain(previous, row)
            row["hash"] = previous.hex()
        elif row["type"] in ("signature", "head"):
            row["hash"] = previous.hex()
    text = check(exported, [json.dumps(row) for row in rows], status=1)
    assert "keeper has signed" in text
    without = [json.dumps(row) for row in rows if row["type"] != "signature"]
    assert "0 signatures, the last one of never" in check(exported, without)


def test_s56_key_of_another_installation(exported):
    person, lines, key = exported
    key.write_text("0" * 64 + "\n")
    assert "another key" in check((person, lines, key), lines, status=1)
    key.write_text("nonsense\n")
    assert "64 hexadecimal digits" in check((person, lines, key), lines, status=1)


def test_heads_are_signed_in_time(bastide, unique):
    before = verification(bastide)["signed_records"]
    bastide.api("POST", f"/tenants/{unique('tenant')}", {}).expect(201)
    wait_until(lambda: verification(bastide)["signed_records"] > before, 120, "a signature")


def test_export_has_limits(bastide, people):
    for query, name in (({"shard": "x"}, "shard"), ({"after": "-1"}, "after")):
        assert bastide.api("GET", "/audit/export", query=query).expect(400).field == name
    bastide.api("GET", "/audit/export", query={"shard": 99}).expect(404)
    viewer = people.make("viewer")
    for path in ("/audit/export", "/audit/heads", "/audit/verification"):
        bastide.api("GET", path, token=viewer).expect(403)
    auditor = people.make(system_role="auditor")
    for path in ("/audit/export", "/audit/heads", "/audit/verification", "/audit"):
        bastide.api("GET", path, token=auditor).expect(200)
