# SPDX-License-Identifier: Apache-2.0
"""The listener for provisioners: who gets in, and the protocol as docs/internals/protocols.md section 4 has it."""

import base64
import concurrent.futures
import contextlib
import ctypes
import hashlib
import http.client
import json
import pathlib
import ssl
import struct
import time

import pytest

from installation import Answer
from samples import SMALL, pack_bundle, prepare_tenant
from services import Authority, run, wait_until

NOBODY = (ssl.SSLError, http.client.RemoteDisconnected, ConnectionError)


def make_key(folder, name):
    """(key file, signing request) of a fresh EC key."""
    key, request = folder / f"{name}.key", folder / f"{name}.csr"
    run(["openssl", "req", "-new", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-subj", f"/CN={name}",
         "-keyout", key, "-out", request], folder=folder)
    return key, request.read_text()


def make_envelope_key(folder):
    """(secret, public) raw X25519 keys."""
    run(["openssl", "genpkey", "-algorithm", "x25519", "-outform", "DER", "-out", folder / "x.der"], folder=folder)
    run(["openssl", "pkey", "-inform", "DER", "-in", folder / "x.der", "-pubout", "-outform", "DER", "-out",
         folder / "x.pub"], folder=folder)
    return (folder / "x.der").read_bytes()[-32:], (folder / "x.pub").read_bytes()[-32:]


def open_envelope(text, public, secret):
    """(context, value) of a sealed box."""
    sodium = ctypes.CDLL("libsodium.so.23")
    box = base64.b64decode(text)
    plain = ctypes.create_string_buffer(len(box) - 48)
    assert sodium.crypto_box_seal_open(plain, box, ctypes.c_ulonglong(len(box)), public, secret) == 0
    (length,) = struct.unpack(">I", plain.raw[:4])
    return plain.raw[4:4 + length].decode(), plain.raw[4 + length:]


class Provisioner:
    """What a provisioner is to the manager: an enrolled certificate and a session."""

    def __init__(self, bastide, name, folder):
        self._bastide, self._folder = bastide, pathlib.Path(folder)
        self._folder.mkdir(exist_ok=True)
        self.name, self.epoch = name, None
        self.secret, self.public = make_envelope_key(self._folder)
        token = bastide.api("POST", "/provisioners/enrolment-tokens", {"name": name}).expect(201).json["value"]
        self.key, self.request = make_key(self._folder, "tls")
        self.enrolment = self.enrol(token).expect(201).json
        self.id = self.enrolment["id"]
        self.certificate = self._folder / "tls.crt"
        self.certificate.write_text(self.enrolment["certificate"])

    def enrol(self, token, **change):
        body = {"token": token, "name": self.name, "tls_csr": self.request,
                "envelope_key": base64.b64encode(self.public).decode(), **change}
        return self._bastide.api("POST", "/provisioners/enrol", body, token=None)

    def call(self, method, path, body=None, certificate=None):
        connection = self._bastide.internal_connect(certificate or self.certificate, self.key)
        try:
            data = body if isinstance(body, (bytes, type(None))) else json.dumps(body).encode()
            connection.request(method, f"/internal/v1{path}", body=data, headers={"Content-Type": "application/json"})
            response = connection.getresponse()
            return Answer(response.status, dict(response.getheaders()), response.read())
        finally:
            connection.close()

    def begin(self):
        answer = self.call("POST", "/session", {"name": self.name, "version": "1", "capacity": 10,
                                                "capabilities": {"providers": ["sandbox"]}}).expect(200).json
        self.epoch = answer["epoch"]
        return answer

    def post(self, path, **body):
        return self.call("POST", path, {"epoch": self.epoch, **body})

    def lease(self, maximum=10, wait_ms=5000):
        return self.post("/tasks/lease", maximum=maximum, wait_ms=wait_ms).expect(200).json["tasks"]

    def report(self, task, state="succeeded", **more):
        row = {"task": task["id"], "attempt": task["attempt"], "state": state, **more}
        return self.post("/tasks/report", reports=[row]).expect(200).json["results"][0]["status"]

    def result(self, task):
        """What a task of this kind would find out."""
        return {"create": {"provider_id": "p" + str(task["node"]["number"]), "ssh_user": "root", "ssh_port": 22,
                           "addresses": {"access_v4": "10.0.0.9", "bind_v4": "10.0.0.9"},
                           "host_keys": ["ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAI" + "A" * 43]}}.get(task["action"])

    def work(self, until, seen=None):
        """Does what there is until a condition holds."""
        deadline = time.monotonic() + 30
        while not until():
            assert time.monotonic() < deadline, "the work never ended"
            for task in self.lease(wait_ms=200):
                if seen is not None:
                    seen.append(task)
                result = self.result(task)
                assert self.report(task, **({"result": result} if result else {})) == "accepted"


@pytest.fixture(name="provisioner")
def enrol_provisioner(bastide, unique, tmp_path):
    """Enrolled for one test; removed afterwards, so that it takes no tasks of others."""
    provisioner = Provisioner(bastide, unique("provisioner"), tmp_path / "provisioner")
    yield provisioner
    assert bastide.api("DELETE", f"/provisioners/{provisioner.id}").status in (204, 404)


@pytest.fixture(name="tenant")
def make_tenant(bastide, people):
    """With the small catalog; what the test leaves open is cancelled."""
    tenant = people.tenant()
    prepare_tenant(bastide, tenant)
    yield tenant
    for execution in bastide.api("GET", "/executions", tenant=tenant).items:
        bastide.api("POST", f"/executions/{execution['id']}", {"action": "force-cancel"}, tenant=tenant)


@pytest.fixture(autouse=True, scope="module")
def cancel_what_others_left(bastide):
    """Clusters of other tests would give their tasks to the provisioners here."""
    for tenant in bastide.api("GET", "/tenants", query={"_size": 1000}).items:
        for execution in bastide.api("GET", "/executions", tenant=tenant["name"], query={"_size": 1000}).items:
            bastide.api("POST", f"/executions/{execution['id']}", {"action": "force-cancel"}, tenant=tenant["name"])


def create(bastide, tenant, nodes=1, name="c"):
    return bastide.api("POST", "/clusters", {"name": name, "template": "one", "nodes": nodes}, tenant=tenant).expect(202).json


def status_of(bastide, tenant, cluster):
    return bastide.api("GET", f"/clusters/{cluster['id']}", tenant=tenant).expect(200).json["status"]


# Who gets in ---------------------------------------------------------------------------------------------------------


def refuse(bastide, certificate=None, key=None):
    connection = bastide.internal_connect(certificate, key)
    with contextlib.closing(connection), pytest.raises(NOBODY):
        connection.request("POST", "/internal/v1/session", body=b"{}", headers={"Content-Type": "application/json"})
        connection.getresponse()


def test_s12_no_client_certificate(bastide):
    refuse(bastide)


def test_s12_certificate_of_another_authority(bastide, tmp_path):
    """Also when it says to be a provisioner of ours."""
    authority = Authority(tmp_path)
    refuse(bastide, *authority.issue("foreign", ["URI:bastide:provisioner:" + "a" * 20]))


def test_s12_self_signed_certificate(bastide, tmp_path):
    run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "1", "-subj",
         "/CN=self", "-keyout", tmp_path / "k", "-out", tmp_path / "c"], folder=tmp_path)
    refuse(bastide, tmp_path / "c", tmp_path / "k")


def test_certificate_of_the_manager_is_no_provisioner(bastide):
    """The manager's own certificate is of our authority, but not of a provisioner."""
    folder = bastide.prefix / "var/manager/tls"
    connection = bastide.internal_connect(folder / "internal.crt", folder / "internal.key")
    with contextlib.closing(connection):
        try:
            connection.request("POST", "/internal/v1/session", body=b"{}", headers={"Content-Type": "application/json"})
            assert connection.getresponse().status == 401
        except NOBODY:
            pass  # refused in the handshake already: not for clients


def test_removed_provisioner(bastide, provisioner):
    provisioner.begin()
    assert provisioner.lease(wait_ms=0) == []
    bastide.api("DELETE", f"/provisioners/{provisioner.id}").expect(204)
    for path in ("/session", "/heartbeat", "/tasks/lease", "/tasks/report", "/tasks/output", "/ssh-certificates", "/certificate"):
        assert provisioner.post(path).status == 401, path
    for path in ("/approved-sets/default_tenant", "/bundles/" + "0" * 64):
        assert provisioner.call("GET", path).status == 401, path
    bastide.api("GET", f"/provisioners/{provisioner.id}").expect(404)
    assert provisioner.id not in [row["id"] for row in bastide.api("GET", "/provisioners").items]


def test_external_paths_are_not_on_the_internal_listener(bastide, provisioner):
    connection = bastide.internal_connect(provisioner.certificate, provisioner.key)
    connection.request("GET", "/api/v3.1/users", headers=bastide.credentials())
    assert connection.getresponse().status == 404
    connection.close()


# Enrolment -----------------------------------------------------------------------------------------------------------


def test_enrolment(bastide, provisioner):
    answer = provisioner.enrolment
    assert answer["ca_certificate"] == bastide.ca_certificate
    assert answer["internal_url"] == f"https://127.0.0.1:{bastide.internal_port}"
    assert len(base64.b64decode(answer["signing_key"])) == 32
    text = run(["openssl", "x509", "-in", provisioner.certificate, "-noout", "-text"])
    assert f"URI:bastide:provisioner:{provisioner.id}" in text and "TLS Web Client Authentication" in text
    assert "TLS Web Server Authentication" not in text and "DNS:" not in text
    shown = bastide.api("GET", f"/provisioners/{provisioner.name}").expect(200).json
    assert (shown["id"], shown["state"]) == (provisioner.id, "enrolled")
    assert provisioner.call("POST", "/session", {"name": "x", "version": "1", "capacity": 1}).status == 200


def test_enrolment_token_is_good_once(bastide, unique, tmp_path):
    name = unique("provisioner")
    token = bastide.api("POST", "/provisioners/enrolment-tokens", {"name": name}).expect(201).json["value"]
    assert token.startswith("bpe-")
    _, request = make_key(tmp_path, "one")
    _, public = make_envelope_key(tmp_path)
    body = {"token": token, "name": name, "tls_csr": request, "envelope_key": base64.b64encode(public).decode()}

    def enrol(**change):
        return bastide.api("POST", "/provisioners/enrol", {**body, **change}, token=None)

    enrol(name=name + "x").expect(401)  # the token is for one name
    enrol(token="bpe-" + "a" * 20 + "-" + "A" * 43).expect(401)
    enrol(token=bastide.admin_token).expect(401)
    enrol(tls_csr="-----BEGIN CERTIFICATE REQUEST-----\nAAAA\n-----END CERTIFICATE REQUEST-----\n").expect(400)
    made = enrol().expect(201).json
    assert enrol().expect(401).error == "unauthenticated"
    bastide.api("POST", "/provisioners/enrolment-tokens", {"name": name}).expect(409)
    bastide.api("DELETE", f"/provisioners/{made['id']}").expect(204)
    enrol().expect(401)


# Sessions, tasks, reports --------------------------------------------------------------------------------------------


def test_session(bastide, provisioner):
    first = provisioner.begin()
    assert first["heartbeat_ms"] > 0 and first["lease_ms"] > first["heartbeat_ms"]
    stale = first["epoch"]
    assert provisioner.begin()["epoch"] > stale
    for path, body in (("/heartbeat", {"running": []}), ("/tasks/lease", {"maximum": 1}),
                       ("/tasks/report", {"reports": [{"task": "x", "attempt": 1, "state": "succeeded"}]})):
        assert provisioner.call("POST", path, {"epoch": stale, **body}).expect(409).error == "stale", path
        assert provisioner.call("POST", path, body).expect(400).field == "epoch"
    assert provisioner.post("/heartbeat", running=[]).expect(200).json == {"drain": False, "cancel": [], "lost": []}
    shown = bastide.api("GET", f"/provisioners/{provisioner.id}").json
    assert shown["capacity"] == 10 and shown["last_heartbeat_at"]


@pytest.mark.parametrize("path, body, field", [
    ("/session", {"name": "x", "version": "1"}, "capacity"), ("/session", {"name": "x", "version": "1", "capacity": 0}, "capacity"),
    ("/session", {"name": "x", "version": "1", "capacity": 1, "x": 1}, "x"),
    ("/heartbeat", {"epoch": 1, "running": [{"task": "x"}]}, "running.attempt"),
    ("/heartbeat", {"epoch": 1, "running": {}}, "running"), ("/heartbeat", {"epoch": "1"}, "epoch"),
    ("/tasks/lease", {"epoch": 1, "maximum": 0}, "maximum"), ("/tasks/lease", {"epoch": 1, "maximum": 1, "wait_ms": 60001}, "wait_ms"),
    ("/tasks/report", {"epoch": 1, "reports": []}, "reports"),
    ("/tasks/report", {"epoch": 1, "reports": [{"task": "x", "attempt": 1, "state": "fine"}]}, "reports.state"),
    ("/tasks/report", {"epoch": 1, "reports": [7]}, None),
    ("/tasks/output", {"epoch": 1, "chunks": [{"task": "x", "attempt": 1, "stream": "stdout", "offset": 0, "data": ""}]}, "chunks.task"),
    ("/tasks/output", {"epoch": 1, "chunks": [{"task": "x", "attempt": 1, "stream": "stdout", "offset": -1, "data": ""}]}, "chunks.offset"),
    ("/certificate", {"csr": 7}, "csr"), ("/session", b"[]", None), ("/session", b"{", None), ("/heartbeat", b'"x"', None), ("/heartbeat", b"[]", "epoch"),
], ids=str)
def test_malformed_requests(provisioner, path, body, field):
    if isinstance(body, dict) and body.get("epoch") == 1:
        provisioner.begin()
        body = {**body, "epoch": provisioner.epoch}
    answer = provisioner.call("POST", path, body).expect(400)
    assert field is None or answer.field == field, answer.body


def test_cluster_from_request_to_end(bastide, provisioner, tenant):
    """All tasks of a cluster are done in an order that the plan allows; the secret arrives sealed for this provisioner only."""
    provisioner.begin()
    cluster, seen = create(bastide, tenant, nodes=2), []
    provisioner.work(lambda: status_of(bastide, tenant, cluster) == "active", seen)
    plan = bastide.api("GET", f"/clusters/{cluster['id']}/plan", tenant=tenant).json
    assert {task["action"] for task in seen} <= set(plan["tasks"]["by_action"])
    assert {task["tenant"] for task in seen} == {tenant} and {task["cluster"] for task in seen} == {cluster["id"]}
    for node in {task["node"]["id"] for task in seen}:
        actions = [task["action"] for task in seen if task["node"]["id"] == node]
        assert actions[0] == "create" and actions.index("install") < actions.index("start")
    values = set()
    for task in seen:
        for name, envelope in task.get("secrets", {}).items():
            context, value = open_envelope(envelope, provisioner.public, provisioner.secret)
            assert name == "app.password" and context == task["secret_contexts"][name]
            values.add(value)
    (value,) = values
    assert len(value) == 32 and value.isalnum()
    assert value not in bytes(bastide.transcript)
    install = next(task for task in seen if task["action"] == "install")
    assert install["parameters"]["app"] == {"port": 80, "node": install["node"]["hostname"]}
    assert install["bundle"]["digest"] and install["service"]["action"]["fields"]["script"] == "install.sh"
    nodes = bastide.api("GET", "/nodes", tenant=tenant).items
    assert {(node["status"], node["addresses"]["access_v4"]) for node in nodes} == {("ready", "10.0.0.9")}
    execution = bastide.api("GET", f"/executions/{cluster['execution_id']}", tenant=tenant).json
    assert execution["status"] == "terminated" and execution["finished_operations"] == execution["total_operations"]

    bastide.api("DELETE", f"/clusters/{cluster['id']}", tenant=tenant).expect(202)
    provisioner.work(lambda: status_of(bastide, tenant, cluster) == "terminated")
    assert bastide.api("GET", "/clusters", tenant=tenant).items == []
    assert bastide.api("DELETE", f"/clusters/{cluster['id']}", tenant=tenant).status == 200
    assert bastide.api("GET", "/audit/verification").json["valid"]


def test_reports_of_another_attempt_or_session_change_nothing(bastide, provisioner, tenant):
    provisioner.begin()
    cluster = create(bastide, tenant)
    (task,) = provisioner.lease()
    for change in ({"attempt": task["attempt"] + 1}, {"id": task["id"].rpartition("-")[0] + "-999"},
                   {"id": "a" * 20 + "-1"}):
        assert provisioner.report({**task, **change}) == "stale"
    before = provisioner.epoch
    provisioner.begin()  # a new process: what the old one had is offered again
    old = provisioner.call("POST", "/tasks/report", {"epoch": before, "reports": [
        {"task": task["id"], "attempt": task["attempt"], "state": "succeeded"}]})
    assert old.expect(409).error == "stale"
    (again,) = provisioner.lease()
    assert again["id"] == task["id"] and again["attempt"] == task["attempt"] + 1 and again["step"] == task["step"]
    assert provisioner.report(task) == "stale"
    assert provisioner.report(again, result=provisioner.result(again)) == "accepted"
    assert provisioner.report(again) == "stale"  # a repetition finds it ended
    assert status_of(bastide, tenant, cluster) == "pending"


def test_tasks_of_another_provisioner(bastide, provisioner, tenant, unique, tmp_path):
    other = Provisioner(bastide, unique("provisioner"), tmp_path / "other")
    provisioner.begin()
    other.begin()
    create(bastide, tenant)
    (task,) = provisioner.lease()
    assert other.report(task) == "stale"
    assert other.post("/heartbeat", running=[{"task": task["id"], "attempt": task["attempt"]}]).json["lost"] == [task["id"]]
    assert other.post("/tasks/" + task["id"] + "/certificate", attempt=task["attempt"], csr=other.request).status in (403, 409)
    assert other.post("/ssh-certificates", cluster=task["cluster"], public_key="ssh-ed25519 x").status == 403
    chunk = {"task": task["id"], "attempt": task["attempt"], "stream": "stdout", "offset": 0,
             "data": base64.b64encode(b"forged").decode()}
    assert other.post("/tasks/output", chunks=[chunk]).status == 200  # dropped
    log = bastide.api("GET", f"/nodes/{task['node']['id']}/log", tenant=tenant).expect(200)
    assert b"forged" not in log.body
    assert provisioner.post("/heartbeat", running=[{"task": task["id"], "attempt": task["attempt"]}]).json["lost"] == []
    bastide.api("DELETE", f"/provisioners/{other.id}").expect(204)


def test_output(bastide, provisioner, tenant):
    provisioner.begin()
    create(bastide, tenant)
    (task,) = provisioner.lease()

    def send(offset, data, **change):
        chunk = {"task": task["id"], "attempt": task["attempt"], "stream": "stdout", "offset": offset,
                 "data": base64.b64encode(data).decode(), **change}
        return provisioner.post("/tasks/output", chunks=[chunk])

    send(0, b"first\n").expect(200)
    send(6, b"second\n").expect(200)
    send(0, b"first\n").expect(200)  # sent again after a lost answer
    send(13, b"late\n", attempt=task["attempt"] + 1).expect(200)
    send(0, b"x", stream="stdlog").expect(400)
    send(0, b"x" * 70000).expect(400)
    path = f"/nodes/{task['node']['id']}/log"
    log = bastide.api("GET", path, tenant=tenant, query={"task_id": task["id"]}).expect(200)
    assert log.headers["Content-Type"].startswith("text/plain") and log.body == b"first\nsecond\n"
    assert b"first\nsecond\n" in bastide.api("GET", path, tenant=tenant).body


def test_failed_task(bastide, provisioner, tenant):
    provisioner.begin()
    cluster = create(bastide, tenant)
    (task,) = provisioner.lease()
    error = {"code": "no_capacity", "message": "there is no room"}
    assert provisioner.report(task, "failed", retry=False, error=error) == "accepted"
    (operation,) = [row for row in bastide.api("GET", "/operations", tenant=tenant, query={
        "execution_id": cluster["execution_id"], "_size": 1000}).items if row["id"] == task["id"]]
    assert (operation["state"], operation["error_code"], operation["error"]) == ("failed", "no_capacity", "there is no room")
    wait_until(lambda: status_of(bastide, tenant, cluster) == "incomplete", 10, "the end of the execution")


def test_unknown_outcome_needs_a_decision(bastide, provisioner, tenant, people):
    provisioner.begin()
    cluster = create(bastide, tenant)
    (task,) = provisioner.lease()
    assert provisioner.report(task, "unknown") == "accepted"
    query = {"execution_id": cluster["execution_id"], "state": "needs_decision"}
    (operation,) = bastide.api("GET", "/operations", tenant=tenant, query=query).items
    viewer = people.make("viewer", tenant)
    path = f"/operations/{operation['id']}"
    bastide.api("POST", path, {"decision": "retry"}, token=viewer).expect(403)
    bastide.api("POST", path, {"decision": "retry"}, tenant=tenant).expect(200)
    bastide.api("POST", path, {"decision": "retry"}, tenant=tenant).expect(409)
    (again,) = provisioner.lease()
    assert again["id"] == task["id"] and again["attempt"] > task["attempt"]


def test_cancelled_task(bastide, provisioner, tenant):
    provisioner.begin()
    cluster = create(bastide, tenant)
    (task,) = provisioner.lease()
    running = [{"task": task["id"], "attempt": task["attempt"]}]
    assert provisioner.post("/heartbeat", running=running).json["cancel"] == []
    bastide.api("POST", f"/executions/{cluster['execution_id']}", {"action": "cancel"}, tenant=tenant).expect(200)
    assert provisioner.post("/heartbeat", running=running).json["cancel"] == [task["id"]]
    assert provisioner.lease(wait_ms=0) == []
    assert provisioner.report(task, "cancelled") == "accepted"
    execution = bastide.api("GET", f"/executions/{cluster['execution_id']}", tenant=tenant).json
    assert execution["status"] == "cancelled"


def test_draining(bastide, provisioner, tenant):
    provisioner.begin()
    bastide.api("POST", f"/provisioners/{provisioner.id}/drain").expect(200)
    create(bastide, tenant)
    assert provisioner.lease(wait_ms=300) == []
    assert provisioner.post("/heartbeat", running=[]).json["drain"]


def test_lease_waits_for_work(bastide, provisioner, tenant):
    """A poll that waits is woken by the request that makes work, long before its time is up."""
    provisioner.begin()
    started = time.monotonic()
    assert provisioner.lease(wait_ms=400) == []
    assert 0.3 < time.monotonic() - started < 3
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        poll = pool.submit(provisioner.lease, wait_ms=20000)
        time.sleep(0.2)
        started = time.monotonic()
        create(bastide, tenant)
        assert len(poll.result(15)) == 1
        assert time.monotonic() - started < 5


# Bundles, certificates -----------------------------------------------------------------------------------------------


def test_bundles_and_approved_set(bastide, provisioner, tenant):
    provisioner.begin()
    (row,) = bastide.api("GET", "/bundles", tenant=tenant).items
    got = provisioner.call("GET", f"/bundles/{row['digest']}").expect(200)
    assert hashlib.sha256(got.body).hexdigest() == row["digest"]

    def digests():
        answer = provisioner.call("GET", f"/approved-sets/{tenant}").expect(200).json
        body = base64.b64decode(answer["set"])
        assert len(base64.b64decode(answer["signature"])) == 64
        mark = b"bastide-approved-set-1"
        assert body.startswith(mark)
        (length,) = struct.unpack_from(">I", body, len(mark))
        position = len(mark) + 4
        assert body[position:position + length].decode() == tenant
        serial, expiry, count = struct.unpack_from(">QQI", body, position + length)
        assert expiry / 1e6 > time.time()
        start = position + length + 20
        return serial, [body[start + 32 * i:start + 32 * (i + 1)].hex() for i in range(count)]

    serial, approved = digests()
    assert approved == [row["digest"]]
    bastide.api("POST", f"/bundles/{row['digest']}/revoke", tenant=tenant).expect(200)
    later, approved = digests()
    assert approved == [] and later > serial
    assert provisioner.call("GET", "/bundles/" + "0" * 64).status in (403, 404)
    for name in ("..%2f..%2fbastide.db", "x", "0" * 63):
        assert provisioner.call("GET", f"/bundles/{name}").status in (400, 404)
    assert provisioner.call("GET", "/approved-sets/no-such-tenant").status == 404


def test_ssh_certificate_for_a_cluster_in_work(bastide, provisioner, tenant, tmp_path):
    provisioner.begin()
    run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", tmp_path / "id"])
    public = (tmp_path / "id.pub").read_text().strip()
    cluster = create(bastide, tenant)
    assert provisioner.post("/ssh-certificates", cluster=cluster["id"], public_key=public).status == 403
    provisioner.lease()
    answer = provisioner.post("/ssh-certificates", cluster=cluster["id"], public_key=public).expect(200).json
    (tmp_path / "id-cert.pub").write_text(answer["certificate"] + "\n")
    text = run(["ssh-keygen", "-L", "-f", tmp_path / "id-cert.pub"])
    assert f"provisioner:{cluster['id']}" in text and "force-command bastide-runner serve" in text
    assert "permit-pty" not in text and "permit-port-forwarding" not in text
    assert provisioner.post("/ssh-certificates", cluster=cluster["id"], public_key="ssh-ed25519 nonsense").status == 400


def test_renewal_of_the_certificate(bastide, provisioner, tmp_path):
    """The new certificate works and is for the same provisioner; both end with its removal."""
    provisioner.begin()
    chain = provisioner.call("POST", "/certificate", {"csr": provisioner.request}).expect(200).json
    renewed = tmp_path / "renewed.crt"
    renewed.write_text(chain["certificate"])
    assert provisioner.call("POST", "/heartbeat", {"epoch": provisioner.epoch, "running": []}, renewed).status == 200
    assert f"URI:bastide:provisioner:{provisioner.id}" in run(["openssl", "x509", "-in", renewed, "-noout", "-text"])
    bastide.api("DELETE", f"/provisioners/{provisioner.id}").expect(204)
    for certificate in (renewed, provisioner.certificate):
        assert provisioner.call("POST", "/heartbeat", {"epoch": provisioner.epoch, "running": []}, certificate).status == 401


def test_certificate_of_a_task_that_has_none(bastide, provisioner, tenant):
    provisioner.begin()
    create(bastide, tenant)
    (task,) = provisioner.lease()
    answer = provisioner.post(f"/tasks/{task['id']}/certificate", attempt=task["attempt"], csr=provisioner.request)
    assert answer.expect(409).error == "stale"


# Faults --------------------------------------------------------------------------------------------------------------


def test_work_survives_a_kill_of_the_manager(breakable, tmp_path):
    """The session and the lease go on after kill -9: what was accepted stays, and the work ends."""
    breakable.api("POST", "/catalog/import", SMALL).expect(200)
    digest = breakable.api("POST", "/bundles", pack_bundle(), headers={"Content-Type": "application/gzip"}).expect(201).json["digest"]
    breakable.api("POST", f"/bundles/{digest}/approve").expect(200)
    provisioner = Provisioner(breakable, "first", tmp_path / "first")
    provisioner.begin()
    cluster = create(breakable, "default_tenant", nodes=2)
    tasks = provisioner.lease()
    assert provisioner.report(tasks[0], result=provisioner.result(tasks[0])) == "accepted"
    breakable.kill("manager")
    breakable.start("manager")
    assert provisioner.report(tasks[0]) == "stale"  # it was accepted before
    for task in tasks[1:]:
        assert provisioner.report(task, result=provisioner.result(task)) == "accepted"
    provisioner.work(lambda: status_of(breakable, "default_tenant", cluster) == "active")
    assert breakable.api("GET", "/audit/verification").json["valid"]
