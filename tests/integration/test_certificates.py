# SPDX-License-Identifier: Apache-2.0
"""PK1 to PK3, PK6: certificates listed and revoked; pairs of the listeners given in the configuration or replaced while
connections are open; every wrong pair refused with its reason."""

import contextlib
import http.client
import json
import os
import pwd
import ssl
import subprocess
import threading
import time

import pytest
from conftest import build_directory
from installation import LOOPBACK, MANAGER_USER, Installation
from services import Authority
from test_api_internal import Provisioner


@pytest.fixture(scope="module", name="site")
def start_site(pytestconfig):
    """One of its own: its certificates come and go."""
    with Installation(build_directory(), pytestconfig.getoption("database")) as site:
        yield site


@pytest.fixture(scope="module", name="foreign")
def make_authority(tmp_path_factory):
    return Authority(tmp_path_factory.mktemp("authority"), "another authority")


def pair(authority, name="api", names=("DNS:localhost", f"IP:{LOOPBACK}")):
    certificate, key = authority.issue(name, names)
    return {"certificate": certificate.read_text(), "key": key.read_text()}


def context_of(ca):
    context = ssl.create_default_context(cadata=ca)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    return context


def peer(site, context, port=None):
    """The certificate of a new handshake, as text of ssl; None when it is not trusted."""
    connection = http.client.HTTPSConnection(LOOPBACK, port or site.external_port, timeout=20, context=context)
    try:
        connection.connect()
        return connection.sock.getpeercert()
    except ssl.SSLCertVerificationError:
        return None
    finally:
        connection.close()


class Open:
    """One connection that stays open."""

    def __init__(self, site, context):
        self._site = site
        self.connection = http.client.HTTPSConnection(LOOPBACK, site.external_port, timeout=30, context=context)

    def ask(self, method="GET", path="/version", body=None):
        headers = {**self._site.credentials(), "Content-Type": "application/json"}
        self.connection.request(method, f"/api/v3.1{path}", body=json.dumps(body) if body is not None else None, headers=headers)
        response = self.connection.getresponse()
        return response.status, response.read()


def test_pk2_listeners_have_every_address(site):
    status = site.api("GET", "/certificates/status").expect(200).json
    assert [row["name"] for row in status["listeners"]] == ["external", "internal"]
    for row in status["listeners"]:
        assert row["source"] == "own" and {"localhost", "127.0.0.1"} <= set(row["names"])
        assert row["issued_at"] < row["renewed_at"] < row["expires_at"]
    assert len(status["authorities"]) == 1
    listed = site.api("GET", "/certificates", query={"holder": "manager"}).expect(200).items
    assert {row["serial"] for row in status["listeners"]} <= {row["serial"] for row in listed}


def test_pk2_another_address_is_another_certificate(site):
    path = site.prefix / "etc/manager.conf"
    before, text = path.read_text(), path.read_text()
    serials = [row["serial"] for row in site.api("GET", "/certificates/status").json["listeners"]]
    try:
        path.write_text(text + "[certificates]\nmanagement_addresses = manager.example, 192.0.2.7\n")
        site.restart("manager")
        for row in site.api("GET", "/certificates/status").expect(200).json["listeners"]:
            assert {"manager.example", "192.0.2.7"} <= set(row["names"]) and row["serial"] not in serials
    finally:
        path.write_text(before)
        site.restart("manager")


def test_pk3_replaced_under_load_without_a_dropped_connection(site, foreign):
    """Connections that are open go on; new ones get the new certificate at once, back and forth."""
    new, failures, stop = context_of(foreign.ca_file.read_text()), [], threading.Event()

    def poll():
        opened = Open(site, site.tls)
        while not stop.is_set():
            try:
                status, _ = opened.ask()
                time.sleep(0.02)  # below the rate of one source
            except (OSError, http.client.HTTPException) as error:
                failures.append(error)
                return
            if status != 200:
                failures.append(status)

    operator = Open(site, site.tls)
    assert operator.ask()[0] == 200
    threads = [threading.Thread(target=poll) for _ in range(4)]
    for thread in threads:
        thread.start()
    try:
        for round_ in range(5):
            status, answer = operator.ask("PUT", "/certificates/listeners/external", pair(foreign, f"api{round_}"))
            assert status == 200, answer
            assert peer(site, site.tls) is None
            assert ("commonName", f"api{round_}") in peer(site, new)["subject"][-1]
            status, answer = operator.ask("DELETE", "/certificates/listeners/external")
            assert status == 200, answer
            assert peer(site, new) is None and peer(site, site.tls)
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    assert not failures
    assert not [line for line in site.log("manager").splitlines() if "PRIVATE KEY" in line]


def test_pk3_given_pair_outlives_a_restart(site, foreign):
    new = context_of(foreign.ca_file.read_text())
    body = {**pair(foreign), "ca_certificate": foreign.ca_file.read_text()}
    operator = Open(site, site.tls)
    assert operator.ask("PUT", "/certificates/listeners/external", body)[0] == 200
    site.restart("manager")
    assert peer(site, new) and peer(site, site.tls) is None
    operator = Open(site, new)
    status, answer = operator.ask(path="/certificates/status")
    assert status == 200 and b'"source":"given"' in answer
    assert operator.ask("DELETE", "/certificates/listeners/external")[0] == 200
    assert peer(site, site.tls)


def test_s55_each_replacement_has_one_record(site, foreign):
    def replaced(action):
        return [row for row in site.api("GET", "/audit", query={"_size": 1000, "action": action}).expect(200).items
                if row["outcome"] == "done" and row["object"] == "listener:external"]
    before = len(replaced("certificate_replace")), len(replaced("certificate_reset"))
    body = {**pair(foreign), "ca_certificate": foreign.ca_file.read_text()}
    assert Open(site, site.tls).ask("PUT", "/certificates/listeners/external", body)[0] == 200
    assert Open(site, context_of(foreign.ca_file.read_text())).ask("DELETE", "/certificates/listeners/external")[0] == 200
    assert (len(replaced("certificate_replace")), len(replaced("certificate_reset"))) == (before[0] + 1, before[1] + 1)


def test_pk3_bad_pairs_are_refused_with_their_reason(site, foreign, tmp_path):
    good, other = pair(foreign), pair(foreign, "other")
    strange = Authority(tmp_path, "a third one")
    for body, words in (
            ({**good, "key": other["key"]}, "does not belong"),
            (pair(foreign, "short", ("DNS:localhost",)), "lacks the name '127.0.0.1'"),
            ({**good, "ca_certificate": strange.ca_file.read_text()}, "does not lead to the CA"),
            ({**good, "certificate": foreign.ca_file.read_text()}, ""),
            ({**good, "certificate": "no PEM"}, "no PEM"), ({**good, "key": "no PEM"}, ""), ({"certificate": "x"}, "")):
        answer = site.api("PUT", "/certificates/listeners/external", body)
        assert answer.status in (400, 403), answer.body
        assert words in answer.json["message"], answer.body
        assert "PRIVATE KEY" not in answer.body.decode()
    # The internal one must come from the internal authority.
    answer = site.api("PUT", "/certificates/listeners/internal", good)
    assert answer.status in (400, 403) and "internal CA" in answer.json["message"]
    assert site.api("PUT", "/certificates/listeners/nowhere", good).status == 404
    assert peer(site, site.tls)
    assert all(row["source"] == "own" for row in site.api("GET", "/certificates/status").json["listeners"])


# Configuration -------------------------------------------------------------------------------------------------------


def init(site, *lines):
    path = site.prefix / "etc/manager.conf"
    before = path.read_text()
    path.write_text(before + "[certificates]\n" + "".join(line + "\n" for line in lines))
    try:
        return subprocess.run([site.prefix / "bin/bastide-manager", "--config", path, "init"], capture_output=True, text=True,
                              timeout=60, check=False, env={"PATH": os.environ["PATH"], "ASAN_OPTIONS": "detect_leaks=0"})
    finally:
        path.write_text(before)


def put_files(site, authority, **more):
    """Paths of a pair that the manager's account may read."""
    certificate, key = authority.issue("configured", more.get("names", ("DNS:localhost", f"IP:{LOOPBACK}")))
    paths = site.prefix / "etc/rest.crt", site.prefix / "etc/rest.key"
    for path, source in zip(paths, (certificate, key)):
        path.unlink(missing_ok=True)
        path.touch(mode=0o600)
        path.write_text(source.read_text())
        os.chown(path, pwd.getpwnam(MANAGER_USER).pw_uid, -1)
    return paths


def test_pk1_each_wrong_combination_is_refused(site, foreign):
    certificate, key = put_files(site, foreign)
    ca = site.prefix / "etc/external-ca.crt"
    ca.write_text(site.ca_certificate)
    other_ca = site.prefix / "etc/other-ca.crt"
    other_ca.write_text(foreign.ca_file.read_text())
    for lines, field, words in (
            ([f"rest_certificate = {certificate}"], "certificates.rest_key", "together"),
            ([f"rest_key = {key}"], "certificates.rest_certificate", "together"),
            ([f"internal_certificate = {certificate}"], "certificates.internal_key", "together"),
            ([f"internal_key = {key}"], "certificates.internal_certificate", "together"),
            ([f"external_ca_certificate = {ca}"], "certificates.external_ca_certificate", "rest_certificate"),
            ([f"rest_certificate = {certificate}", f"rest_key = {key}", f"external_ca_certificate = {ca}"],
             "certificates.rest_certificate", "does not lead to the CA"),
            ([f"internal_certificate = {certificate}", f"internal_key = {key}"], "certificates.internal_certificate",
             "internal CA"),
            ([f"ca_certificate = {other_ca}"], "certificates.ca_certificate", "import-ca"),
            (["ca_key = /etc/ca.key"], "", "keeper")):
        done = init(site, *lines)
        assert done.returncode in (65, 77, 78), (lines, done.stderr)
        assert field in done.stderr and words in done.stderr, (lines, done.stderr)
    key.chmod(0o644)
    done = init(site, f"rest_certificate = {certificate}", f"rest_key = {key}")
    assert done.returncode == 78 and "0600" in done.stderr
    assert not list((site.prefix / "var/manager/tls").glob("*.given.pem"))


def test_pk1_good_pair_from_the_configuration(site, foreign):
    """Twice, because `init` can be repeated."""
    certificate, key = put_files(site, foreign)
    ca = site.prefix / "etc/external-ca.crt"
    ca.write_text(foreign.ca_file.read_text())
    own = site.prefix / "etc/own-ca.crt"
    own.write_text(site.ca_certificate)
    for _ in range(2):
        done = init(site, f"rest_certificate = {certificate}", f"rest_key = {key}", f"external_ca_certificate = {ca}",
                    f"ca_certificate = {own}")
        assert done.returncode == 0, done.stderr
    site.restart("manager")
    new = context_of(foreign.ca_file.read_text())
    assert ("commonName", "configured") in peer(site, new)["subject"][-1]
    assert Open(site, new).ask("DELETE", "/certificates/listeners/external")[0] == 200
    assert peer(site, site.tls)


# Certificates of others ----------------------------------------------------------------------------------------------


def test_pk6_revoked_certificate_is_refused_at_once(site, tmp_path):
    provisioner = Provisioner(site, "revoked", tmp_path / "p")
    provisioner.begin()
    (row,) = site.api("GET", "/certificates", query={"holder": provisioner.id}).expect(200).items
    assert row["state"] == "valid" and row["profile"] == "provisioner"
    assert site.api("GET", f"/certificates/{row['serial']}").expect(200).json == row
    with contextlib.closing(site.internal_connect(provisioner.certificate, provisioner.key)) as live:
        live.request("POST", "/internal/v1/heartbeat", body='{"epoch":%d,"running":[],"free":1}' % provisioner.epoch,
                     headers={"Content-Type": "application/json"})
        assert live.getresponse().read()
        revoked = site.api("POST", f"/certificates/{row['serial']}/revoke").expect(200).json
        assert revoked["state"] == "revoked"
        live.request("POST", "/internal/v1/heartbeat", body='{"epoch":%d,"running":[],"free":1}' % provisioner.epoch,
                     headers={"Content-Type": "application/json"})
        assert live.getresponse().status == 401
    again = site.api("POST", f"/certificates/{row['serial']}/revoke").expect(200).json
    assert again["revoked_at"] == revoked["revoked_at"]
    assert site.api("POST", "/certificates/" + "0" * 40 + "/revoke").status == 404
    found = site.api("GET", "/certificates", query={"state": "revoked", "search": provisioner.id}).expect(200).items
    assert [item["serial"] for item in found] == [row["serial"]]
    assert site.api("GET", "/certificates", query={"state": "odd"}).expect(400).field == "state"
    actions = [record["action"] for record in site.api("GET", "/audit", query={"_size": 100}).items]
    assert "certificate_revoke" in actions and "certificate_replace" in actions
