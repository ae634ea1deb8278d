# SPDX-License-Identifier: Apache-2.0
"""DS4, S48, S49: rotation of the data keys under load and through kill -9, a tenant's keys destroyed, a sealed keeper."""

import concurrent.futures
import re
import time

from installation import MANAGER_USER
from samples import secret_provider
from services import run

PROVIDERS = 90


def provider(name):
    return {**secret_provider(), "name": name}


def wait_for(what, condition, seconds=120):
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        answer = condition()
        if answer:
            return answer
        time.sleep(0.2)
    raise AssertionError(f"{what} did not come about in {seconds} s")


def keys(bastide):
    return bastide.api("GET", "/keys").expect(200).json


def wait_for_rotation(bastide, generation):
    """Until all values lie under this generation and the keys before it are destroyed."""
    return wait_for("the rotation", lambda: (status := keys(bastide))["retired"] >= generation - 1 and status)


def query(bastide, columns, where="1 = 1"):
    """Rows of sealed_values as lists of text; blobs in hexadecimal."""
    if bastide.postgresql:
        columns = ", ".join(f"encode({name}, 'hex')" if name == "value" else name for name in columns)
        return bastide.postgresql.query(f"SELECT {columns} FROM sealed_values WHERE {where}", "bastide")
    columns = ", ".join(f"lower(hex({name}))" if name == "value" else name for name in columns)
    text = run(["/usr/bin/python3", "-c", "import sqlite3, sys\nfor row in sqlite3.connect(sys.argv[1]).execute(sys.argv[2]): "
                "print('|'.join(map(str, row)))", bastide.database_file,
                f"SELECT {columns} FROM sealed_values WHERE {where}"], user=MANAGER_USER)
    return [line.split("|") for line in text.splitlines()]


def change(bastide, statement):
    """With a blob as X'..' in SQLite's and PostgreSQL's own way."""
    bastide.stop("manager")
    bastide.sql(re.sub(r"BLOB'([0-9a-f]*)'", r"'\\x\1'::bytea" if bastide.postgresql else r"X'\1'", statement))
    bastide.start("manager")


def values(bastide):
    """All sealed values: (context, recorded generation, bytes)."""
    return [(context, int(generation), bytes.fromhex(value))
            for context, generation, value in query(bastide, ("context", "generation", "value"))]


def key_files(bastide):
    return sorted(path.name for path in (bastide.prefix / "var/keeper/keyring").iterdir())


def make_values(bastide, tenant, count=PROVIDERS):
    for number in range(count):
        bastide.api("PUT", f"/catalog/providers/cloud{number}", provider(f"cloud{number}"), tenant=tenant).expect(201)


def test_ds4_rotation_under_load(bastide, people, by_role):
    """Every value is sealed anew while others write; then the old key files are gone."""
    tenant = people.tenant()
    make_values(bastide, tenant)
    before = keys(bastide)["generation"]
    assert bastide.api("POST", "/keys/rotate", token=by_role["manager"]).status == 403

    def write(number):
        answer = bastide.api("PUT", f"/catalog/providers/late{number}", provider(f"late{number}"), tenant=tenant)
        return answer.status

    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        writing = [pool.submit(write, number) for number in range(40)]
        generation = bastide.api("POST", "/keys/rotate").expect(202).json["generation"]
        # 503: sealed just before the rotation, written just after it; the client may try again.
        assert {job.result() for job in writing} <= {201, 503}
    assert generation == before + 1
    status = wait_for_rotation(bastide, generation)
    assert status["rotation"] == {"state": "done", "pending": 0, "unreadable": 0}
    rows = values(bastide)
    assert len(rows) > PROVIDERS
    for context, recorded, value in rows:
        assert recorded == generation, context
        assert int.from_bytes(value[2:6], "big") == generation, context
    assert not [name for name in key_files(bastide) if int(name.rpartition(".")[2]) < generation]
    actions = [record["action"] for record in bastide.api("GET", "/audit", query={"_size": 1000}).expect(200).items]
    assert "keys_rotate" in actions and "keys_retire" in actions


def test_ds4_rotation_goes_on_after_kill(breakable):
    """kill -9 of the manager in the middle of it, again and again; then of the keeper."""
    make_values(breakable, "default_tenant")
    for victim in ("manager", "keeper", "manager"):
        generation = breakable.api("POST", "/keys/rotate").expect(202).json["generation"]
        breakable.kill(victim)
        breakable.start(victim)
        wait_for_rotation(breakable, generation)
        assert {recorded for _, recorded, _ in values(breakable)} == {generation}
    assert breakable.api("GET", "/audit/verification").expect(200).json["valid"]


def test_ds4_rotation_by_the_keeper_alone_is_followed(breakable):
    """`bastide-keeper rotate` on the machine: the manager notices and seals anew."""
    breakable.run("keeper", "rotate")
    generation = wait_for("the notice", lambda: keys(breakable)["generation"])
    wait_for_rotation(breakable, generation)


def test_ds4_damaged_value_keeps_the_old_keys(breakable):
    """What does not open is counted and kept; no key is destroyed that it might need."""
    make_values(breakable, "default_tenant", 3)
    wait_for_rotation(breakable, keys(breakable)["generation"])
    context, _, value = values(breakable)[0]
    damaged = value[:-1] + bytes([value[-1] ^ 1])
    change(breakable, f"UPDATE sealed_values SET value = BLOB'{damaged.hex()}' WHERE context = '{context}'")
    generation = breakable.api("POST", "/keys/rotate").expect(202).json["generation"]
    status = wait_for("the end of the pass", lambda: (s := keys(breakable))["rotation"]["state"] == "stuck" and s)
    assert status["rotation"]["pending"] == status["rotation"]["unreadable"] == 1
    assert status["retired"] < generation - 1
    change(breakable, f"UPDATE sealed_values SET value = BLOB'{value.hex()}' WHERE context = '{context}'")
    wait_for_rotation(breakable, generation)


def test_s48_shredded_tenant_is_unreadable_in_old_copies(breakable):
    tenant = "goes-away"
    breakable.api("POST", f"/tenants/{tenant}", {}).expect(201)
    make_values(breakable, tenant, 2)
    where = f"tenant = '{tenant}'"
    rows = query(breakable, ("owner", "name", "context", "value"), where)
    assert len(rows) >= 2
    body = {"tenant": tenant, "confirmation": "another"}
    assert breakable.api("POST", "/keys/shred", body).expect(400).field == "confirmation"
    answer = breakable.api("POST", "/keys/shred", {**body, "confirmation": tenant}).expect(200).json
    assert answer["keys_destroyed"] >= 1 and answer["values_removed"] == len(rows)
    assert not query(breakable, ("context",), where)
    # An old copy comes back: the value is there, and stays shut.
    owner, name, context, value = rows[0]
    change(breakable, "INSERT INTO sealed_values (tenant, owner_kind, owner, name, context, value, created_at, generation) "
           f"VALUES ('{tenant}', 'provider', '{owner}', '{name}', '{context}', BLOB'{value}', 0, 0)")
    wait_for("the pass", lambda: keys(breakable)["rotation"]["unreadable"] == 1)
    assert query(breakable, ("value",), where) == [[value]]
    breakable.api("POST", "/keys/shred", {**body, "confirmation": tenant}).expect(200)
    # The tenant may go on with keys of its own.
    make_values(breakable, tenant, 1)
    wait_for_rotation(breakable, keys(breakable)["generation"])


def test_s49_sealed_keeper_serves_status_only(breakable, tmp_path):
    """Also after a start with it; unsealing by command brings everything back."""
    passphrase = tmp_path / "passphrase"
    passphrase.touch(mode=0o600)
    passphrase.write_text("correct horse battery staple\n")
    breakable.run("keeper", "rotate-master", "--passphrase", str(passphrase))
    for at_start in (False, True):
        breakable.run("keeper", "seal")
        if at_start:
            breakable.restart("manager")
        wait_for("503", lambda: breakable.api("GET", "/catalog/providers", tenant="default_tenant").status == 503)
        refused = breakable.api("GET", "/catalog/providers", tenant="default_tenant").expect(503)
        assert refused.error == "sealed"
        assert breakable.api("POST", "/tokens", {}).expect(503).error == "sealed"
        status = breakable.api("GET", "/status").expect(200).json
        assert status["services"]["Keeper"] == {"status": "Inactive", "is_remote": False, "extra_info": "sealed"}
        assert breakable.api("GET", "/version", token=None).expect(200)
        breakable.run("keeper", "unseal", "--passphrase", str(passphrase))
        wait_for("200", lambda: breakable.api("GET", "/catalog/providers", tenant="default_tenant").status == 200)
    make_values(breakable, "default_tenant", 1)
