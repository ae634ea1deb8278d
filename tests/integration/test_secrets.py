# SPDX-License-Identifier: Apache-2.0
"""The secrets store (SE1, SE2, SE4, SE7): versions, hidden values, visibility, who may read and who may only use;
export and import; and that a value is nowhere but in the answer that was asked for it (S45)."""

import base64
import json

import pytest
from samples import SMALL, pack_bundle, upload
from test_api_internal import Provisioner, open_envelope

VALUE = "canary-of-the-store-4711-xyzzy"
PASSPHRASE = "long enough passphrase"


@pytest.fixture(scope="module", name="team")
def make_team(people):
    """A tenant with one person of each role, and another tenant."""
    tenant = people.tenant()
    return {"tenant": tenant, "other": people.tenant(),
            **{role: people.make(role, tenant) for role in ("manager", "user", "operations", "viewer")}}


def ask(bastide, team, method, path, body=None, role="manager", tenant=None, **more):
    return bastide.api(method, path, body, token=team[role] if role else None, tenant=tenant or team["tenant"], **more)


def audit(bastide, action):
    return bastide.api("GET", "/audit", query={"_size": 1000, "action": action}).expect(200).items


def test_se1_life_of_a_secret(bastide, team):
    made = ask(bastide, team, "PUT", "/secrets/db.password", {"value": VALUE, "description": "of the database"}, "user")
    assert made.expect(201).json["version"] == 1 and VALUE not in made.body.decode()
    assert ask(bastide, team, "PUT", "/secrets/db.password", {"value": "x"}).expect(409).error == "conflict"
    read = ask(bastide, team, "GET", "/secrets/db.password", role="operations").expect(200)
    assert read.json["value"] == VALUE and read.headers["Cache-Control"] == "no-store"
    assert "value" not in ask(bastide, team, "GET", "/secrets/db.password", query={"_skip_value": "true"}).expect(200).json
    listed = ask(bastide, team, "GET", "/secrets", role="viewer").expect(200)
    assert [item["key"] for item in listed.items] == ["db.password"] and "value" not in listed.items[0]
    assert ask(bastide, team, "GET", "/secrets/db.password", role="viewer").status == 403
    assert ask(bastide, team, "GET", "/secrets/db.password", tenant=team["other"]).status in (401, 403, 404)
    assert ask(bastide, team, "GET", "/secrets/missing").expect(404).error == "not_found"
    ask(bastide, team, "DELETE", "/secrets/db.password", role="user").expect(204)
    assert ask(bastide, team, "GET", "/secrets/db.password").status == 404
    done = [record["object"] for record in audit(bastide, "secret_get") if record["outcome"] == "done"]
    assert done == ["secret:db.password"]
    for action in ("secret_create", "secret_delete"):
        assert any(record["object"] == "secret:db.password" for record in audit(bastide, action)), action


@pytest.mark.parametrize("body, field", [
    ({}, "value"), ({"value": 7}, "value"), ({"value": "x", "more": 1}, "more"), ({"value": "x" * 70000}, "value"),
    ({"value": "x", "visibility": "global"}, "visibility"), ({"value": "x", "expires_at": "tomorrow"}, "expires_at"),
    ({"value": "x", "is_hidden_value": "yes"}, "is_hidden_value")])
def test_se1_bad_input(bastide, team, body, field):
    answer = ask(bastide, team, "PUT", "/secrets/bad", body).expect(400)
    assert answer.field == field
    assert "xxxxxxx" not in answer.body.decode()
    assert ask(bastide, team, "GET", "/secrets/bad").status == 404


@pytest.mark.parametrize("key", ["a%20b", "a%2Fb", "x" * 300, "a%00b", "%C3%A4"])
def test_se1_bad_keys(bastide, team, key):
    assert ask(bastide, team, "PUT", f"/secrets/{key}", {"value": "x"}).status in (400, 404)


def test_se7_versions(bastide, team):
    for number in range(1, 5):
        body = {"value": f"value-{number}", "update_if_exists": True}
        assert ask(bastide, team, "PUT", "/secrets/rotated", body).expect(201 if number == 1 else 200).json["version"] == number
    assert ask(bastide, team, "PATCH", "/secrets/rotated", {"description": "four of them"}).expect(200).json["version"] == 4
    assert ask(bastide, team, "PATCH", "/secrets/rotated", {"value": "value-5"}).expect(200).json["version"] == 5
    assert ask(bastide, team, "GET", "/secrets/rotated").expect(200).json["value"] == "value-5"
    assert ask(bastide, team, "GET", "/secrets/rotated", query={"version": 2}).expect(200).json["value"] == "value-2"
    assert ask(bastide, team, "GET", "/secrets/rotated", query={"version": 9}).status == 404
    assert ask(bastide, team, "GET", "/secrets/rotated", query={"version": "two"}).expect(400).field == "version"
    ask(bastide, team, "DELETE", "/secrets/rotated/versions/2").expect(204)
    assert ask(bastide, team, "GET", "/secrets/rotated", query={"version": 2}).status == 404
    assert ask(bastide, team, "DELETE", "/secrets/rotated/versions/5").expect(409).error == "conflict"
    versions = ask(bastide, team, "GET", "/secrets/rotated/versions", role="user").expect(200).items
    assert [(item["version"], item["is_present"]) for item in versions] == [(5, True), (4, False), (3, False), (1, False)]


def test_se7_expiry_is_shown(bastide, team):
    for key, time, expected in (("long", "2090-01-01T00:00:00Z", "ok"), ("past", "2020-01-01T00:00:00Z", "expired")):
        body = {"value": "x", "expires_at": time}
        assert ask(bastide, team, "PUT", f"/secrets/{key}", body).expect(201).json["expiry"] == expected
    assert ask(bastide, team, "PATCH", "/secrets/past", {"expires_at": ""}).expect(200).json["expiry"] == "none"


def test_se4_hidden_value(bastide, team, people):
    ask(bastide, team, "PUT", "/secrets/hidden", {"value": VALUE, "is_hidden_value": True}, "user").expect(201)
    assert ask(bastide, team, "GET", "/secrets/hidden", role="user").expect(200).json["value"] == VALUE
    assert ask(bastide, team, "GET", "/secrets/hidden", role="manager").expect(200).json["value"] == VALUE
    seen = ask(bastide, team, "GET", "/secrets/hidden", role="operations").expect(200)
    assert seen.json["value"] == "" and VALUE not in seen.body.decode()
    for method, body in (("PATCH", {"value": "mine"}), ("PATCH", {"is_hidden_value": False}), ("DELETE", None)):
        assert ask(bastide, team, method, "/secrets/hidden", body, "operations").status == 403
    assert ask(bastide, team, "PUT", "/secrets/hidden", {"value": "mine", "update_if_exists": True}, "operations").status == 403
    assert ask(bastide, team, "GET", "/secrets/hidden", role="user").expect(200).json["version"] == 1


def test_se4_private_secret(bastide, team):
    ask(bastide, team, "PUT", "/secrets/private", {"value": VALUE, "visibility": "private"}, "user").expect(201)
    for role, expected in (("user", True), ("manager", True), ("operations", False), ("viewer", False)):
        listed = ask(bastide, team, "GET", "/secrets", role=role).expect(200)
        assert ("private" in [item["key"] for item in listed.items]) == expected, role
        assert listed.json["metadata"]["pagination"]["total"] == len(listed.items)
    missing = ask(bastide, team, "GET", "/secrets/never-made", role="operations").expect(404)
    hidden = ask(bastide, team, "GET", "/secrets/private", role="operations").expect(404)
    assert hidden.json["message"].replace("private", "never-made") == missing.json["message"]


def test_se1_export_and_import(bastide, team, people):
    target = people.tenant()
    source = ask(bastide, team, "GET", "/secrets").expect(200).items
    assert ask(bastide, team, "POST", "/secrets/share/export", {"passphrase": "short"}).expect(400).field == "passphrase"
    assert ask(bastide, team, "POST", "/secrets/share/export", {"passphrase": PASSPHRASE}, "user").status == 403
    exported = ask(bastide, team, "POST", "/secrets/share/export", {"passphrase": PASSPHRASE}).expect(200)
    assert exported.json["count"] == len(source)
    for form in (VALUE.encode(), base64.b64encode(VALUE.encode()).rstrip(b"=")[:-1], VALUE.encode().hex().encode()):
        assert form not in exported.body and form not in base64.b64decode(exported.json["sealed"])
    sealed = exported.json["sealed"]
    wrong = {"passphrase": "another passphrase", "sealed": sealed}
    assert bastide.api("POST", "/secrets/share/import", wrong, tenant=target).status == 403
    broken = base64.b64encode(base64.b64decode(sealed)[:-1] + b"\0").decode()
    assert bastide.api("POST", "/secrets/share/import", {"passphrase": PASSPHRASE, "sealed": broken}, tenant=target).status == 403
    assert bastide.api("POST", "/secrets/share/import", {"passphrase": PASSPHRASE, "sealed": "QUJD"}, tenant=target).status == 400
    body = {"passphrase": PASSPHRASE, "sealed": sealed}
    first = bastide.api("POST", "/secrets/share/import", body, tenant=target).expect(200).json
    assert first == {"colliding_secrets": [], "secrets_errors": [], "imported": len(source)}
    again = bastide.api("POST", "/secrets/share/import", body, tenant=target).expect(200).json
    assert again["imported"] == 0 and again["colliding_secrets"] == sorted(item["key"] for item in source)
    over = bastide.api("POST", "/secrets/share/import", {**body, "override_collisions": True}, tenant=target).expect(200).json
    assert over["imported"] == len(source)
    taken = {item["key"]: item for item in bastide.api("GET", "/secrets", tenant=target).expect(200).items}
    for item in source:
        for name in ("visibility", "is_hidden_value", "description", "expires_at"):
            assert taken[item["key"]][name] == item[name], (item["key"], name)
        assert taken[item["key"]]["version"] == 2
    assert bastide.api("GET", "/secrets/hidden", tenant=target).expect(200).json["value"] == VALUE
    assert any(record["action"] == "secret_export" for record in audit(bastide, "secret_export"))


# Use by tasks --------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module", name="provisioner")
def enrol_provisioner(bastide, unique, tmp_path_factory):
    provisioner = Provisioner(bastide, unique("provisioner"), tmp_path_factory.mktemp("provisioner"))
    provisioner.begin()
    yield provisioner
    bastide.api("DELETE", f"/provisioners/{provisioner.id}").expect(204)


@pytest.fixture(scope="module", name="catalog", autouse=True)
def write_catalog(bastide, team):
    """The small catalog; its template takes a secret that only the script `install.sh` reads."""
    template = {**SMALL["clustertemplates"][0],
                "defaults": {**SMALL["clustertemplates"][0]["defaults"], "config": {"app": {"key": "%secret.page.key%"}}}}
    answer = bastide.api("POST", "/catalog/import", {**SMALL, "clustertemplates": [template]}, tenant=team["tenant"]).expect(200)
    assert "must be one of the tenant's secrets" in answer.body.decode()
    manifest = {"name": "app", "version": "1.0", "description": "", "scripts": {
        "install.sh": {"description": "", "idempotent": True, "secrets": ["page.key"]},
        "start.sh": {"description": "", "idempotent": True}}}
    digest = upload(bastide, team["tenant"], pack_bundle(manifest=manifest)).expect(201).json["digest"]
    bastide.api("POST", f"/bundles/{digest}/approve", tenant=team["tenant"]).expect(200)


def request(bastide, team, name, role="operations"):
    return ask(bastide, team, "POST", "/clusters", {"name": name, "template": "one", "nodes": 1}, role)


def test_se2_use_is_checked_when_planned(bastide, team):
    """A name that the template does not declare must be a secret that the one who asks may use; the answer does not tell
    one that is hidden from one that is not there."""
    missing = request(bastide, team, "none").expect(400)
    assert missing.error == "bad_reference" and "page.key" in missing.json["message"]
    ask(bastide, team, "PUT", "/secrets/page.key", {"value": VALUE, "visibility": "private"}, "user").expect(201)
    assert request(bastide, team, "none").expect(400).json["message"] == missing.json["message"]
    body = {"name": "none", "template": "one", "nodes": 1}
    assert ask(bastide, team, "POST", "/cluster-plans", body, "operations").status == 400
    assert ask(bastide, team, "POST", "/cluster-plans", body, "user").status == 200
    ask(bastide, team, "DELETE", "/secrets/page.key", role="user").expect(204)


def test_se2_task_gets_what_its_requester_may_not_read(bastide, team, provisioner):
    """Sealed for this provisioner, for the step whose script reads it, and recorded."""
    ask(bastide, team, "PUT", "/secrets/page.key", {"value": VALUE, "is_hidden_value": True}, "user").expect(201)
    assert ask(bastide, team, "GET", "/secrets/page.key", role="operations").expect(200).json["value"] == ""
    cluster, seen = request(bastide, team, "uses").expect(202).json, []
    path = f"/clusters/{cluster['id']}"
    provisioner.work(lambda: ask(bastide, team, "GET", path).expect(200).json["status"] == "active", seen)
    install = next(task for task in seen if task["action"] == "install")
    context, value = open_envelope(install["secrets"]["page.key"], provisioner.public, provisioner.secret)
    assert value.decode() == VALUE and context == install["secret_contexts"]["page.key"]
    assert install["parameters"]["app"]["key"] == {"$secret": "page.key"}
    others = [task for task in seen if task["action"] != "install"]
    assert others and not [task for task in others if "page.key" in task.get("secrets", {})]
    for path in (path, path + "/plan", f"/executions/{cluster['execution_id']}"):
        assert VALUE not in ask(bastide, team, "GET", path).expect(200).body.decode()
    (used,) = [record for record in audit(bastide, "secret_use") if install["id"] in json.dumps(record)]
    assert used["object"] == "secret:page.key" and used["details"]["version"] == 1


def test_se2_right_is_looked_at_again_by_the_task(bastide, team, provisioner):
    """The secret becomes private after the request: the step that needs it fails and says why."""
    cluster = request(bastide, team, "late").expect(202).json
    ask(bastide, team, "DELETE", "/secrets/page.key", role="user").expect(204)
    ask(bastide, team, "PUT", "/secrets/page.key", {"value": VALUE, "visibility": "private"}, "user").expect(201)
    path = f"/executions/{cluster['execution_id']}"
    provisioner.work(lambda: ask(bastide, team, "GET", path).expect(200).json["status"] == "failed")
    operations = ask(bastide, team, "GET", "/operations", query={"execution_id": cluster["execution_id"]}).expect(200).items
    (failed,) = [row for row in operations if row["state"] == "failed"]
    assert "page.key" in json.dumps(failed["error"]) and VALUE not in json.dumps(operations)


def test_s45_values_are_nowhere(bastide, team):
    """Answers were made by the tests above; logs, database and files hold no value in any form."""
    needles = [VALUE.encode(), VALUE.encode().hex().encode(), base64.b64encode(VALUE.encode()).rstrip(b"=")[:-1],
               json.dumps(VALUE).encode(), VALUE[::-1].encode(), PASSPHRASE.encode()]
    looked_at = 0
    for path in bastide.data_files():
        data = path.read_bytes()
        looked_at += len(data)
        for needle in needles:
            assert needle not in data, (path, needle)
    assert looked_at > 100_000
    for name in ("keeper", "manager"):
        assert not [needle for needle in needles if needle in bastide.log(name).encode()], name
    for record in bastide.api("GET", "/audit", query={"_size": 1000}).expect(200).items:
        assert VALUE not in json.dumps(record)
    for process in bastide.processes.values():
        for number in process.members():
            for name in ("cmdline", "environ"):
                with open(f"/proc/{number}/{name}", "rb") as file:
                    assert VALUE.encode() not in file.read()
