# SPDX-License-Identifier: Apache-2.0
"""The resources of the external API from outside: catalog, bundles, clusters, events, audit; and what faults do to them."""

import collections
import os
import pathlib
import tarfile

import pytest

from conftest import PASSWORD
from installation import DEFAULT_TENANT
from samples import CANARY, KINDS, SMALL, pack_bundle, prepare_tenant, read_catalog, secret_provider, upload

HERE = pathlib.Path(__file__).resolve().parent
CATALOG = os.environ.get("BASTIDE_TEST_CATALOG")


# Catalog -------------------------------------------------------------------------------------------------------------

def test_document_and_its_versions(bastide, people):
    tenant, path = people.tenant(), "/catalog/hardwaretypes/small"

    def put(flavor, status):
        document = {"name": "small", "description": flavor, "providermap": {"sandbox": {"flavor": flavor}}}
        return bastide.api("PUT", path, document, tenant=tenant).expect(status).json["version"]

    assert [put("a", 201), put("a", 200), put("b", 201), put("b", 200)] == [1, 1, 2, 2]
    latest = bastide.api("GET", path, tenant=tenant).expect(200).json
    assert (latest["version"], latest["document"]["providermap"]["sandbox"]["flavor"]) == (2, "b")
    assert latest["kind"] == "hardwaretypes" and latest["created_by"] == "admin" and len(latest["digest"]) == 64
    old = bastide.api("GET", path, tenant=tenant, query={"version": 1}).expect(200).json
    assert (old["version"], old["document"]["description"]) == (1, "a")
    bastide.api("GET", path, tenant=tenant, query={"version": 3}).expect(404)
    rows = bastide.api("GET", "/catalog/hardwaretypes", tenant=tenant).items
    assert [(row["name"], row["version"], row["description"]) for row in rows] == [("small", 2, "b")]
    bastide.api("DELETE", path, tenant=tenant).expect(204)
    bastide.api("GET", path, tenant=tenant).expect(404)
    bastide.api("DELETE", path, tenant=tenant).expect(404)
    assert bastide.api("GET", "/catalog/hardwaretypes", tenant=tenant).items == []
    assert put("b", 201) == 4  # numbers are never used again


def test_catalog_of_another_tenant(bastide, people):
    one, two = people.tenant(), people.tenant()
    bastide.api("POST", "/catalog/import", SMALL, tenant=one).expect(200)
    for kind in KINDS:
        name = SMALL[kind][0]["name"]
        bastide.api("GET", f"/catalog/{kind}/{name}", tenant=one).expect(200)
        bastide.api("GET", f"/catalog/{kind}/{name}", tenant=two).expect(404)
        bastide.api("DELETE", f"/catalog/{kind}/{name}", tenant=two).expect(404)
        assert bastide.api("GET", f"/catalog/{kind}", tenant=two).items == []
    assert bastide.api("GET", "/catalog/export", tenant=two).json == {kind: [] for kind in KINDS}


def test_unknown_kind(bastide):
    for method in ("GET", "PUT", "DELETE"):
        bastide.api(method, "/catalog/cars/x", {} if method == "PUT" else None).expect(404)
    bastide.api("GET", "/catalog/cars").expect(404)
    assert bastide.api("POST", "/catalog/validate", {"kind": "cars", "document": {}}).expect(400).field == "kind"


def test_export_is_importable(bastide, people):
    one, two = people.tenant(), people.tenant()
    bastide.api("POST", "/catalog/import", SMALL, tenant=one).expect(200)
    exported = bastide.api("GET", "/catalog/export", tenant=one).expect(200).json
    assert {kind: [row["name"] for row in exported[kind]] for kind in KINDS} == {
        kind: [row["name"] for row in SMALL[kind]] for kind in KINDS}
    bastide.api("POST", "/catalog/import", exported, tenant=two).expect(200)
    assert bastide.api("GET", "/catalog/export", tenant=two).json == exported


def test_import_is_all_or_nothing(bastide, people):
    tenant = people.tenant()
    bad = {**SMALL, "hardwaretypes": SMALL["hardwaretypes"] + [{"name": "bad", "providermap": 7}]}
    answer = bastide.api("POST", "/catalog/import", bad, tenant=tenant).expect(400)
    assert "bad" in answer.json["message"] and answer.field == "providermap"
    for kind in KINDS:
        assert bastide.api("GET", f"/catalog/{kind}", tenant=tenant).items == []
    for rows in ([7], [{}], [{"name": 5}]):
        bastide.api("POST", "/catalog/import", {**SMALL, "services": rows}, tenant=tenant).expect(400)
    assert bastide.api("GET", "/catalog/providers", tenant=tenant).items == []


def test_validation_names_every_fault(bastide):
    document = {"name": "x", "dependencies": {"install": {"requires": "y"}},
                "provisioner": {"actions": {"dance": {"type": "script"}, "start": {"type": "script", "fields": 1}}}}
    answer = bastide.api("POST", "/catalog/validate", {"kind": "services", "document": document}).expect(200).json
    assert not answer["valid"] and len(answer["errors"]) >= 3
    assert all(row["field"] and row["rule"] and row["message"] for row in answer["errors"])
    good = bastide.api("POST", "/catalog/validate", {"kind": "hardwaretypes", "document": SMALL["hardwaretypes"][0]})
    assert good.expect(200).json["valid"] and good.json["errors"] == []
    assert [row["rule"] for row in good.json["warnings"]] == ["unknown_reference"]  # its provider may still come
    bastide.api("GET", "/catalog/services/x").expect(404)


def test_shipped_catalog(bastide, people):
    """What the project ships is imported, and again without any change."""
    tenant, catalog = people.tenant(), read_catalog(HERE.parents[1] / "catalog")
    first = bastide.api("POST", "/catalog/import", catalog, tenant=tenant).expect(200)
    bastide.api("POST", "/catalog/import", catalog, tenant=tenant).expect(200)
    assert first.json
    for kind in KINDS:
        rows = bastide.api("GET", f"/catalog/{kind}", tenant=tenant, query={"_size": 1000}).items
        assert [row["name"] for row in rows] == sorted(row["name"] for row in catalog[kind])
        assert {row["version"] for row in rows} == {1}


if CATALOG:  # the catalog of the older system, where there is one

    def test_sample_catalog(bastide, people):
        tenant, catalog = people.tenant(), read_catalog(CATALOG)
        bastide.api("POST", "/catalog/import", catalog, tenant=tenant).expect(200)
        for kind in KINDS:
            rows = bastide.api("GET", f"/catalog/{kind}", tenant=tenant, query={"_size": 1000}).items
            assert sorted(row["name"] for row in rows) == sorted(row["name"] for row in catalog[kind])
            for row in rows:
                bastide.api("GET", f"/catalog/{kind}/{row['name']}", tenant=tenant).expect(200)
        again = bastide.api("GET", "/catalog/export", tenant=tenant).expect(200).json
        other = people.tenant()
        bastide.api("POST", "/catalog/import", again, tenant=other).expect(200)

    def test_plan_from_the_sample_catalog(bastide, people):
        tenant = people.tenant()
        bastide.api("POST", "/catalog/import", read_catalog(CATALOG), tenant=tenant).expect(200)
        for template in bastide.api("GET", "/catalog/clustertemplates", tenant=tenant).items:
            request = {"name": "sample", "clusterTemplate": template["name"], "numMachines": 5}
            answer = bastide.api("POST", "/cluster-plans", request, tenant=tenant)
            assert answer.status in (200, 400), answer.body
            if answer.status == 200:
                assert sum(row["count"] for row in answer.json["layout"]) == 5
            else:
                assert answer.error in ("layout_impossible", "bad_field", "bad_reference"), answer.body


# Secrets of providers ------------------------------------------------------------------------------------------------


def test_secret_fields_never_come_back(bastide, people):
    tenant, path = people.tenant(), "/catalog/providers/cloud"
    bastide.api("PUT", path, secret_provider(), tenant=tenant).expect(201)
    read = bastide.api("GET", path, tenant=tenant).expect(200).json["document"]
    assert read["provisioner"] == {"api_user": "me", "api_password": {"sealed": True}, "joyent_version": "~7.0"}
    # What was read can be written back, and keeps what is stored.
    bastide.api("PUT", path, read, tenant=tenant).expect(200)
    exported = bastide.api("GET", "/catalog/export", tenant=tenant).json
    assert exported["providers"][0]["provisioner"]["api_password"] == {"sealed": True}
    bastide.api("POST", "/catalog/import", {"providers": [secret_provider(joyent_version="~8.0")]}, tenant=tenant).expect(200)
    for version in (1, 2):
        body = bastide.api("GET", path, tenant=tenant, query={"version": version}).expect(200).body
        assert CANARY.encode() not in body
    changed = bastide.api("PUT", path, secret_provider(api_password=CANARY + "2", joyent_version="~8.0"), tenant=tenant)
    assert changed.expect(201).json["version"] == 2  # a secret has no version of its own
    refused = bastide.api("PUT", path, secret_provider(api_password=[CANARY]), tenant=tenant).expect(400)
    assert CANARY not in refused.body.decode() and "api_password" in refused.field
    unknown = bastide.api("POST", "/catalog/validate", {"kind": "providers", "document": secret_provider(x=CANARY)},
                          tenant=tenant).expect(200)
    assert CANARY not in unknown.body.decode()


# Bundles -------------------------------------------------------------------------------------------------------------


def test_bundle_from_beginning_to_end(bastide, people):
    tenant, other = people.tenant(), people.tenant()
    manager = people.make("manager", tenant)
    archive = pack_bundle(version="1.1")
    made = upload(bastide, tenant, archive, manager).expect(201).json
    digest = made["digest"]
    assert (made["name"], made["version"], made["status"], made["size"]) == ("app", "1.1", "uploaded", len(archive))
    assert upload(bastide, tenant, archive, manager).expect(200).json["digest"] == digest
    bastide.api("POST", f"/bundles/{digest}/approve", token=manager, tenant=tenant).expect(403)
    approved = bastide.api("POST", f"/bundles/{digest}/approve", tenant=tenant).expect(200).json
    assert approved["status"] == "approved" and approved["decided_by"] == "admin"
    assert set(bastide.api("GET", f"/bundles/{digest}", tenant=tenant).json["manifest"]["scripts"]) == {"install.sh", "start.sh"}
    assert [row["digest"] for row in bastide.api("GET", "/bundles", tenant=tenant).items] == [digest]
    assert bastide.api("POST", f"/bundles/{digest}/revoke", tenant=tenant).expect(200).json["status"] == "revoked"
    for path in (f"/bundles/{digest}/approve", f"/bundles/{digest}/revoke"):
        bastide.api("POST", path, tenant=other).expect(404)
    bastide.api("GET", f"/bundles/{digest}", tenant=other).expect(404)
    assert bastide.api("GET", "/bundles", tenant=other).items == []


def entry(name, kind=tarfile.REGTYPE, target=""):
    row = tarfile.TarInfo(name)
    row.type, row.linkname = kind, target
    return row


@pytest.mark.parametrize("archive", [
    b"", b"not an archive", b"{}", pack_bundle()[:-20], pack_bundle(extra=[entry("unlisted.sh")]),
    pack_bundle(extra=[entry("../evil.sh")]), pack_bundle(extra=[entry("/etc/evil")]),
    pack_bundle(extra=[entry("link", tarfile.SYMTYPE, "/etc/passwd")]),
    pack_bundle(extra=[entry("link", tarfile.LNKTYPE, "install.sh")]),
    pack_bundle(extra=[entry("device", tarfile.CHRTYPE)]), pack_bundle(extra=[entry("install.sh")]),
    pack_bundle(manifest={"name": "app"}), pack_bundle(manifest={"name": "a/b", "version": "1", "scripts": {}}, scripts=()),
], ids=["empty", "text", "json", "cut", "unlisted", "upwards", "absolute", "symbolic", "hard", "device", "twice", "manifest",
        "name"])
def test_s41_bad_archives(bastide, archive):
    answer = upload(bastide, DEFAULT_TENANT, archive)
    assert answer.status == 400, answer.body
    assert bastide.api("GET", "/bundles").items == []


# Clusters ------------------------------------------------------------------------------------------------------------


def test_plan(bastide, people):
    tenant = people.tenant()
    prepare_tenant(bastide, tenant)
    plan = bastide.api("POST", "/cluster-plans", {"name": "c", "template": "one", "nodes": 3}, tenant=tenant).expect(200).json
    assert plan["template"] == {"name": "one", "version": 1} and plan["provider"] == {"name": "here", "type": "sandbox"}
    assert plan["layout"] == [{"count": 3, "services": ["app"], "hardwaretype": "small", "imagetype": "debian"}]
    assert [node["number"] for node in plan["nodes"]] == [1000, 1001, 1002]
    assert plan["secrets"] == ["app.password"] and plan["tasks"]["total"] > 6
    assert bastide.api("GET", "/clusters", tenant=tenant).items == []  # nothing was made


@pytest.mark.parametrize("change, error, field", [
    ({"template": "missing"}, "bad_reference", "template"), ({"nodes": 21}, None, "nodes"), ({"nodes": 0}, "bad_field", "nodes"),
    ({"name": "a b"}, "bad_field", "name"), ({"provider": "missing"}, "bad_reference", "provider"),
    ({"services": ["missing"]}, "bad_field", "services"), ({"hardwaretype": "missing"}, "bad_field", "hardwaretype"),
    ({"imagetype": 7}, "bad_field", "imagetype"), ({"config": []}, "bad_field", "config"),
], ids=str)
def test_requests_that_cannot_be(bastide, people, change, error, field):
    tenant = people.tenant()
    bastide.api("POST", "/catalog/import", SMALL, tenant=tenant).expect(200)
    for path in ("/cluster-plans", "/clusters"):
        answer = bastide.api("POST", path, {"name": "c", "template": "one", "nodes": 1, **change}, tenant=tenant).expect(400)
        assert answer.json["message"] and (error is None or answer.error == error), answer.body
        assert field is None or answer.field.startswith(field), answer.body


def test_cluster_needs_an_approved_bundle(bastide, people):
    tenant = people.tenant()
    bastide.api("POST", "/catalog/import", SMALL, tenant=tenant).expect(200)
    request = {"name": "c", "template": "one", "nodes": 1}
    assert bastide.api("POST", "/clusters", request, tenant=tenant).expect(403).error == "not_approved"
    digest = upload(bastide, tenant, pack_bundle()).expect(201).json["digest"]
    bastide.api("POST", "/clusters", request, tenant=tenant).expect(403)
    bastide.api("POST", f"/bundles/{digest}/approve", tenant=tenant).expect(200)
    bastide.api("POST", f"/bundles/{digest}/revoke", tenant=tenant).expect(200)
    bastide.api("POST", "/clusters", request, tenant=tenant).expect(403)
    assert bastide.api("GET", "/clusters", tenant=tenant, query={"all": "true"}).items == []


def test_cluster_and_what_belongs_to_it(bastide, people):
    tenant, other = people.tenant(), people.tenant()
    prepare_tenant(bastide, tenant)
    user = people.make("user", tenant)
    made = bastide.api("POST", "/clusters", {"name": "c1", "template": "one", "nodes": 2, "description": "a test"},
                       token=user).expect(202).json
    cluster = bastide.api("GET", f"/clusters/{made['id']}", token=user).expect(200).json
    assert (cluster["name"], cluster["status"], cluster["template"], cluster["nodes"]) == ("c1", "pending", "one", 2)
    assert cluster["config"] == {"app": {"port": 80, "node": "%host.self%"}}
    assert bastide.api("GET", "/clusters/c1", token=user).json["id"] == made["id"]
    assert [row["id"] for row in bastide.api("GET", "/clusters", token=user).items] == [made["id"]]
    bastide.api("POST", "/clusters", {"name": "c1", "template": "one", "nodes": 1}, token=user).expect(409)
    plan = bastide.api("GET", f"/clusters/{made['id']}/plan", token=user).expect(200).json
    nodes = bastide.api("GET", "/nodes", token=user, query={"cluster_id": made["id"]}).items
    assert [node["number"] for node in nodes] == [1000, 1001] and {node["status"] for node in nodes} == {"planned"}
    execution = bastide.api("GET", f"/executions/{made['execution_id']}", token=user).expect(200).json
    assert execution["cluster_id"] == made["id"] and execution["total_operations"] == plan["tasks"]["total"]
    operations = bastide.api("GET", "/operations", token=user,
                             query={"execution_id": made["execution_id"], "_size": 1000}).items
    assert len(operations) == plan["tasks"]["total"]
    assert {row["state"] for row in operations} == {"waiting", "ready"}
    node, operation = nodes[0]["id"], operations[0]["id"]
    bastide.api("GET", f"/nodes/{node}", token=user).expect(200)
    bastide.api("GET", f"/nodes/{node}/log", token=user).expect(200)
    bastide.api("GET", f"/nodes/{node}/log", token=user, query={"task_id": "x"}).expect(400)
    bastide.api("POST", f"/operations/{operation}", {"decision": "done"}, token=user).expect(409)
    bastide.api("POST", f"/nodes/{node}/ssh-certificate", {"public_key": "ssh-ed25519 x"}, token=user).expect(409)

    # Another tenant sees nothing of it, whoever asks, and can do nothing to it.
    for token in (people.make("manager", other), bastide.admin_token):
        for path in (f"/clusters/{made['id']}", "/clusters/c1", f"/clusters/{made['id']}/plan", f"/nodes/{node}",
                     f"/nodes/{node}/log", f"/executions/{made['execution_id']}"):
            bastide.api("GET", path, token=token, tenant=other).expect(404)
        bastide.api("GET", "/operations", token=token, tenant=other,
                    query={"execution_id": made["execution_id"]}).expect(404)
        bastide.api("DELETE", f"/clusters/{made['id']}", token=token, tenant=other).expect(404)
        bastide.api("POST", f"/executions/{made['execution_id']}", {"action": "cancel"}, token=token, tenant=other).expect(404)
        bastide.api("POST", f"/operations/{operation}", {"decision": "done"}, token=token, tenant=other).expect(404)
        bastide.api("POST", f"/nodes/{node}/ssh-certificate", {"public_key": "ssh-ed25519 x"}, token=token,
                    tenant=other).expect(404)
        for path in ("/clusters", "/nodes", "/executions", "/events"):
            query = {"cluster_id": made["id"]} if path != "/clusters" else None
            assert bastide.api("GET", path, token=token, tenant=other, query=query).items == []
    assert bastide.api("GET", f"/clusters/{made['id']}", token=user).json["status"] == "pending"

    # A viewer sees it and cannot touch it.
    viewer = people.make("viewer", tenant)
    bastide.api("GET", f"/clusters/{made['id']}", token=viewer).expect(200)
    bastide.api("DELETE", f"/clusters/{made['id']}", token=viewer).expect(403)

    # Deleting: nothing was made yet, but what may exist is asked for.
    deletion = bastide.api("DELETE", f"/clusters/{made['id']}", token=user).expect(202).json
    assert bastide.api("DELETE", f"/clusters/{made['id']}", token=user).expect(202).json["execution_id"] == deletion["execution_id"]
    assert bastide.api("GET", f"/executions/{made['execution_id']}", token=user).json["status"] == "cancelled"


def test_cancelling(bastide, people):
    tenant = people.tenant()
    prepare_tenant(bastide, tenant)
    made = bastide.api("POST", "/clusters", {"name": "c1", "template": "one", "nodes": 2}, tenant=tenant).expect(202).json
    path = f"/executions/{made['execution_id']}"
    assert bastide.api("POST", path, {"action": "cancel"}, tenant=tenant).expect(200).json["status"] == "cancelled"
    bastide.api("POST", path, {"action": "cancel"}, tenant=tenant).expect(409)
    bastide.api("POST", "/executions/nosuchnosuchnosuchno", {"action": "cancel"}, tenant=tenant).expect(404)


# Events --------------------------------------------------------------------------------------------------------------


def test_event_stream(bastide, people):
    """Events come as they happen, a reader goes on where it was, and a revoked token ends the stream."""
    tenant = people.tenant()
    prepare_tenant(bastide, tenant)
    name = people.account()
    people.join(name, tenant, "viewer")
    made = bastide.api("POST", "/tokens", {"tenant": tenant}, user=(name, PASSWORD)).expect(201).json
    with bastide.events(made["value"], tenant) as stream:
        cluster = bastide.api("POST", "/clusters", {"name": "c", "template": "one", "nodes": 1}, tenant=tenant).expect(202).json
        first = stream.next_event()
        assert first["data"]["cluster_id"] == cluster["id"] and first["data"]["sequence"] == int(first["id"])
        assert first["data"]["type"] == first["event"]
        listed = bastide.api("GET", "/events", tenant=tenant, query={"after": 0, "_size": 1000}).items
        seen = [first] + [stream.next_event() for _ in range(len(listed) - 1)]
        assert [event["data"] for event in seen] == listed
        with bastide.events(made["value"], tenant, last_event_id=first["id"]) as second:
            assert [second.next_event()["id"] for _ in seen[1:]] == [event["id"] for event in seen[1:]]
            bastide.api("POST", f"/executions/{cluster['execution_id']}", {"action": "cancel"}, tenant=tenant).expect(200)
            assert stream.next_event() == second.next_event()
        bastide.api("DELETE", f"/tokens/{made['id']}").expect(204)
        while (event := stream.next_event()) is not None:
            assert event["data"]["cluster_id"] == cluster["id"]
    newest = bastide.api("GET", "/events", tenant=tenant, query={"_size": 1}).items[0]
    assert newest["sequence"] > seen[-1]["data"]["sequence"]
    with bastide.events(tenant=tenant, after=newest["sequence"] - 1) as third:
        assert third.next_event()["data"] == newest


@pytest.mark.parametrize("how", ["membership", "account"])
def test_event_stream_ends_with_the_right(bastide, people, how):
    tenant, name = people.tenant(), people.account()
    people.join(name, tenant, "viewer")
    with bastide.events(people.token(name), tenant) as stream:
        if how == "membership":
            bastide.api("DELETE", "/tenants/users", {"tenant_name": tenant, "username": name}).expect(204)
        else:
            bastide.api("POST", f"/users/active/{name}", {"action": "deactivate"}).expect(200)
        assert stream.next_event() is None


def test_events_of_a_cluster_only(bastide, people):
    tenant = people.tenant()
    prepare_tenant(bastide, tenant)
    ids = [bastide.api("POST", "/clusters", {"name": name, "template": "one", "nodes": 1}, tenant=tenant).expect(202).json["id"]
           for name in ("a", "b")]
    for cluster in ids:
        events = bastide.api("GET", "/events", tenant=tenant, query={"cluster_id": cluster}).items
        assert events and {event["cluster_id"] for event in events} == {cluster}


# Audit ---------------------------------------------------------------------------------------------------------------


def test_changes_are_audited(bastide, people):
    name = people.account()
    people.join(name, DEFAULT_TENANT, "viewer")
    records = bastide.api("GET", "/audit", query={"_size": 2}).expect(200).items
    assert [(row["action"], row["object"], row["actor"], row["outcome"]) for row in records] == [
        ("tenant_add_user", f"tenant:{DEFAULT_TENANT} user:{name}", "admin", "done"),
        ("user_create", f"user:{name}", "admin", "done")]
    assert records[0]["sequence"] == records[1]["sequence"] + 1
    assert all(row["request_id"] and row["source"] == "127.0.0.1" for row in records)


def test_refused_changes_are_recorded_as_such(bastide, people):
    name = people.account()
    for method, path, body, status, error in (
            ("PUT", "/users", {"username": name, "password": PASSWORD}, 409, "conflict"),
            ("DELETE", "/users/nobody-here", None, 404, "not_found")):
        request = bastide.api(method, path, body).expect(status).headers["X-Request-Id"]
        (record,) = bastide.api("GET", "/audit", query={"request_id": request}).items
        assert (record["outcome"], record["details"]) == ("failed", {"error": error})
        assert record["digest_before"] is None and record["digest_after"] is None


KEEP = "create table kept as select * from audit_records where {0}; delete from audit_records where {0}"
PUT_BACK = "insert into audit_records select * from kept; drop table kept"


def edits(shard, last):
    """(what an intruder does, the first record that is wrong then, how to undo it)"""
    def at(sequence):
        return f"shard = {shard} and sequence = {sequence}"
    return [(f"update audit_records set actor = actor || 'x' where {at(2)}", 2,
             f"update audit_records set actor = substr(actor, 1, length(actor) - 1) where {at(2)}"),
            (f"update audit_records set outcome = outcome || 'x' where {at(last)}", last,
             f"update audit_records set outcome = substr(outcome, 1, length(outcome) - 1) where {at(last)}"),
            (f"update audit_records set time = time + 1 where {at(1)}", 1,
             f"update audit_records set time = time - 1 where {at(1)}"),
            (KEEP.format(at(2)), 2, PUT_BACK), (KEEP.format(at(last)), last, PUT_BACK)]


def test_s56_edited_audit_trail_is_found(breakable):
    for number in range(12):
        breakable.api("POST", f"/tenants/tenant-{number}", {}).expect(201)

    def verify():
        return breakable.api("GET", "/audit/verification").expect(200).json

    good = verify()
    assert good["valid"] and good["records"] >= 13
    shards = collections.Counter(item["shard"] for item in breakable.api("GET", "/audit", query={"_size": 100}).items)
    assert shards.total() == good["records"]
    shard, last = shards.most_common(1)[0]
    assert last >= 3
    breakable.stop("manager")
    for change, bad, undo in edits(shard, last):
        breakable.sql(change)
        breakable.start("manager")
        found = verify()
        assert not found["valid"], change
        assert (found["first_bad_shard"], found["first_bad_sequence"]) == (shard, bad), change
        breakable.stop("manager")
        breakable.sql(undo)
    breakable.start("manager")
    assert verify()["valid"]


# Faults --------------------------------------------------------------------------------------------------------------


def test_what_was_answered_survives_a_kill(breakable):
    breakable.api("POST", "/catalog/import", SMALL).expect(200)
    breakable.api("PUT", "/users", {"username": "survivor", "password": PASSWORD}).expect(201)
    breakable.kill("manager")
    breakable.start("manager")
    assert breakable.api("GET", "/users/survivor").expect(200).json["active"]
    assert breakable.api("GET", "/catalog/export").expect(200).json["services"][0]["name"] == "app"
    assert breakable.api("GET", "/audit/verification").expect(200).json["valid"]


def test_without_keeper(breakable):
    """What needs no key goes on; what does says that a part is missing; all is well when the keeper is back."""
    breakable.kill("keeper")
    breakable.api("GET", "/user").expect(200)
    status = breakable.api("GET", "/status").expect(200).json
    assert status["status"] == "Fail" and status["services"]["Keeper"]["status"] == "Inactive"
    answer = breakable.api("PUT", "/catalog/providers/cloud", secret_provider())
    assert answer.status == 503 and "Retry-After" in answer.headers
    assert CANARY not in answer.body.decode()
    breakable.api("GET", "/catalog/providers/cloud").expect(404)
    breakable.start("keeper")
    breakable.api("PUT", "/catalog/providers/cloud", secret_provider()).expect(201)
    assert breakable.api("GET", "/status").json["services"]["Keeper"]["status"] == "Active"
