# SPDX-License-Identifier: Apache-2.0
"""A proxy that signs people in before us: believed on its own listener and by its certificate, nowhere else (SV25)."""

import http.client
import json
import os
import ssl

import pytest

from installation import BASE, Answer, Installation
from services import LOOPBACK, Authority, free_port, temporary_folder

HEADER = "X-Forwarded-User"
LOCAL = "correct horse battery staple"
NAME = "urn:example:front"


class World:
    def __init__(self, ours, port, certificates):
        self.ours, self._port, self._certificates = ours, port, certificates

    def ask(self, headers, certificate="front", path="/user", method="GET", body=None):
        context = ssl.create_default_context(cafile=self.ours.tls_ca)
        context.minimum_version = ssl.TLSVersion.TLSv1_3
        if certificate:
            context.load_cert_chain(*self._certificates[certificate])
        connection = http.client.HTTPSConnection(LOOPBACK, self._port, timeout=30, context=context)
        try:
            connection.request(method, BASE + path, body=json.dumps(body) if body is not None else None,
                               headers={**headers, **({"Content-Type": "application/json"} if body is not None else {})})
            response = connection.getresponse()
            return Answer(response.status, dict(response.getheaders()), response.read())
        finally:
            connection.close()


@pytest.fixture(scope="module", name="world")
def start_world(pytestconfig):
    with temporary_folder() as folder, temporary_folder() as other:
        folder.chmod(0o755)
        authority, stranger = Authority(folder), Authority(other)
        certificates = {"front": authority.issue("front", (f"URI:{NAME}",)), "back": authority.issue("back", ("URI:urn:example:back",)),
                        "nameless": authority.issue("nameless"), "stranger": stranger.issue("front", (f"URI:{NAME}",))}
        port = free_port()
        settings = {"proxy": {"names": NAME, "port": port, "client_ca_file": authority.ca_file, "local_accounts": "ann idle"}}
        with Installation(os.environ["BASTIDE_BUILD"], pytestconfig.getoption("database"), settings) as ours:
            ours.tls_ca = folder / "manager-ca.crt"
            ours.tls_ca.write_text(ours.ca_certificate)
            for name in ("ann", "bob", "idle"):
                ours.api("PUT", "/users", {"username": name, "password": LOCAL}).expect(201)
            yield World(ours, port, certificates)


def test_sv25_proxy_speaks_for_a_person(world):
    """The record of the sign-in names both."""
    assert world.ask({HEADER: "ann"}).expect(200).json["username"] == "ann"
    records = world.ours.api("GET", "/audit", query={"actor": "ann", "action": "sign_in"}).items
    assert any(f"proxy {NAME}" in str(row["details"]) and row["outcome"] == "done" for row in records)
    token = world.ask({HEADER: "ann"}, path="/tokens", method="POST", body={}).expect(201).json["value"]
    world.ours.api("GET", "/user", token=token).expect(200)
    world.ask({"Authentication-Token": token}).expect(200)


@pytest.mark.parametrize("certificate", ["back", "nameless"])
def test_sv25_certificate_of_another(world, certificate):
    world.ask({HEADER: "ann"}, certificate).expect(401)
    world.ask({}, certificate).expect(401)


@pytest.mark.parametrize("certificate", [None, "stranger"])
def test_sv25_without_a_certificate_there_is_no_connection(world, certificate):
    with pytest.raises((ssl.SSLError, OSError, http.client.HTTPException)):
        world.ask({HEADER: "ann"}, certificate)


def test_sv25_header_anywhere_else_is_refused(world):
    """Also beside credentials that would be good alone."""
    world.ours.api("GET", "/user", token=None, headers={HEADER: "ann"}).expect(401)
    world.ours.api("GET", "/user", headers={HEADER: "admin"}).expect(401)
    world.ours.api("GET", "/user", user=("ann", LOCAL), headers={HEADER: "ann"}).expect(401)
    world.ours.api("GET", "/user", user=("ann", LOCAL)).expect(200)


def test_sv25_proxy_speaks_for_nobody_else(world):
    """Not for local accounts that are not named for it, not for the administrator, and not without a name."""
    for name in ("bob", "admin", "nobody-here", "", "ann,bob", "ann\tx"):
        world.ask({HEADER: name}).expect(401)
    world.ask({}).expect(401)


def test_sv25_two_identities_are_none(world):
    headers = world.ours.credentials(user=("ann", LOCAL))
    world.ask({**headers, HEADER: "ann"}).expect(401)
    world.ask({**world.ours.credentials(), HEADER: "ann"}).expect(401)


def test_sv25_proxy_and_a_deactivated_account(world):
    world.ours.api("POST", "/users/active/idle", {"action": "deactivate"}).expect(200)
    world.ask({HEADER: "idle"}).expect(401)
    world.ours.api("POST", "/users/active/idle", {"action": "activate"}).expect(200)
    world.ask({HEADER: "idle"}).expect(200)
