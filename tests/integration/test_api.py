# SPDX-License-Identifier: Apache-2.0
"""The external API from outside: who gets in, who may what, what each resource does and refuses."""

import base64
import concurrent.futures
import datetime
import http.client
import io
import json
import os
import pathlib
import secrets
import tarfile
import time

import pytest

from conftest import PASSWORD, TENANT_ROLES
from installation import BASE, DEFAULT_TENANT
from services import wait_until

HERE = pathlib.Path(__file__).resolve().parent
CATALOG = os.environ.get("BASTIDE_TEST_CATALOG")
KINDS = ("providers", "hardwaretypes", "imagetypes", "services", "clustertemplates")

# By hand, as docs/security-model.md explains it: nobody needs credentials for these, and for nothing else.
OPEN = {("GET", "/version"), ("GET", "/ca"), ("POST", "/provisioners/enrol")}

# A secret that a provider is given; nothing that leaves the keeper may ever show it again.
CANARY = "canary-" + secrets.token_hex(16)


def read_expected_access():
    """{(method, path): {caller: sign}}"""
    columns = ("admin", None, *TENANT_ROLES)
    table = {}
    for line in (HERE / "expected_access.txt").read_text().splitlines():
        if line and not line.startswith("#"):
            method, path, *signs = line.split()
            assert len(signs) == len(columns) and set(signs) <= set("+-0"), line
            table[method, path] = dict(zip(columns, signs))
    return table


EXPECTED_ACCESS = read_expected_access()


def fill(path):
    """A path whose parameters name nothing that exists."""
    return (path.replace("{kind}", "services").replace("{digest}", "0" * 64).replace("{name}", "no-such")
            .replace("{id}", "nosuchnosuchnosuchno"))


def send_without_waiting(bastide, method, path, headers):
    """The status of one request on a connection of its own, so that a stream does not hold up the next request."""
    connection = bastide.connect()
    try:
        body = b"{}" if method != "GET" else None
        more = {"Content-Type": "application/json"} if body else {}
        connection.request(method, BASE + fill(path), body=body, headers={**headers, **more})
        return connection.getresponse().status
    finally:
        connection.close()


# The table of routes ---------------------------------------------------------------------------------------------------


@pytest.fixture(scope="session", name="routes")
def read_routes(bastide):
    """What the program itself says it serves: used only to see that no route was forgotten here."""
    document = json.loads(bastide.run("manager", "openapi"))
    return {(method.upper(), path) for path, methods in document["paths"].items() for method in methods}


def test_no_route_is_forgotten(routes):
    assert routes == OPEN | set(EXPECTED_ACCESS)


def test_s01_every_route_needs_credentials(bastide, routes):
    """SV3, S01: 401 without credentials, with the same words everywhere, but for the open ones."""
    for method, path in sorted(routes - OPEN):
        answer = bastide.api(method, fill(path), token=None, body=None if method == "GET" else {})
        assert answer.status == 401, f"{method} {path}: {answer.status}"
        assert answer.json["message"] == "Unauthorized User"
        assert answer.headers["WWW-Authenticate"].startswith("Basic ")
        assert answer.headers["Content-Type"] == "application/problem+json"


def test_open_routes(bastide):
    version = bastide.api("GET", "/version", token=None).expect(200).json
    assert version == {"edition": "bastide", "version": version["version"], "api": "v3.1"}
    assert bastide.api("GET", "/api/version", token=None).expect(200).json == version
    ca = bastide.api("GET", "/ca", token=None).expect(200)
    assert ca.headers["Content-Type"] == "application/x-pem-file"
    assert ca.body.decode() == bastide.ca_certificate
    assert bastide.api("POST", "/provisioners/enrol", {}, token=None).expect(400).error == "bad_field"


@pytest.mark.parametrize("path", ["/nowhere", "/users/x/y/z", "/../v3.1/nowhere", "/clusters//plan", "/internal/v1/session"])
def test_unknown_paths_tell_nothing_without_credentials(bastide, path):
    assert bastide.api("GET", path, token=None).status in (400, 401)
    assert bastide.api("GET", path).status in (400, 404)


def test_internal_paths_are_not_on_the_external_listener(bastide):
    for method, path in (("POST", "/internal/v1/session"), ("POST", "/internal/v1/tasks/lease")):
        connection = bastide.connect()
        connection.request(method, path, body=b"{}", headers={"Content-Type": "application/json"})
        assert connection.getresponse().status == 401
        connection.close()


def test_method_that_a_resource_does_not_know(bastide):
    assert bastide.api("PATCH", "/clusters", {}).expect(405).error == "method_not_allowed"
    assert bastide.api("PATCH", "/clusters", {}, token=None).status == 401


def test_head_is_a_get_without_body(bastide):
    answer = bastide.api("HEAD", "/user").expect(200)
    assert answer.body == b""
    assert bastide.api("HEAD", "/user", token=None).status == 401


# Who may what ------------------------------------------------------------------------------------------------------------


def test_roles_and_routes(bastide, by_role):
    """The whole matrix of expected_access.txt."""
    tokens = {"admin": bastide.admin_token, **by_role}
    wrong = []
    for (method, path), signs in EXPECTED_ACCESS.items():
        for caller, sign in signs.items():
            headers = {**bastide.credentials(tokens[caller]), "Tenant": DEFAULT_TENANT}
            status = send_without_waiting(bastide, method, path, headers)
            found = {401: "0", 403: "-"}.get(status, "+")
            if found != sign or status >= 500:
                wrong.append(f"{method} {path} by {caller}: {status}, expected {sign}")
    assert not wrong, "\n".join(wrong)


def test_denials_are_audited(bastide, people):
    name = people.account()
    bastide.api("GET", "/users", token=people.token(name)).expect(403)
    records = wait_until(lambda: bastide.api("GET", "/audit", query={"actor": name, "action": "user_list"}).items, 5,
                         "the record")
    assert records[0]["outcome"] == "denied" and records[0]["source"] == "127.0.0.1"


def test_roles_act_in_their_tenant_only(bastide, people):
    one, two = people.tenant(), people.tenant()
    token = people.make("manager", one)
    assert bastide.api("GET", "/clusters", token=token, tenant=one).status == 200
    assert bastide.api("GET", "/clusters", token=token, tenant=two).expect(401).json["message"] == "Unauthorized User"
    assert bastide.api("GET", "/clusters", token=token, tenant="nowhere").status == 401
    assert bastide.api("GET", "/clusters", tenant="nowhere").status == 404  # an administrator may know


def test_tenant_of_the_token(bastide, people):
    tenant = people.tenant()
    name = people.account()
    people.join(name, tenant, "viewer")
    bound, free = people.token(name, tenant=tenant), people.token(name)
    assert bastide.api("GET", "/clusters", token=bound).status == 200
    assert "Tenant" in bastide.api("GET", "/clusters", token=free).expect(403).json["message"]


def test_changed_role_counts_at_once(bastide, people):
    tenant = people.tenant()
    name = people.account()
    people.join(name, tenant, "manager")
    token = people.token(name, tenant=tenant)
    path, document = "/catalog/hardwaretypes/tiny", {"name": "tiny", "providermap": {"sandbox": {"flavor": "s"}}}
    bastide.api("PUT", path, document, token=token).expect(201)
    body = {"tenant_name": tenant, "username": name, "role": "viewer"}
    bastide.api("PATCH", "/tenants/users", body).expect(200)
    bastide.api("DELETE", path, token=token).expect(403)
    bastide.api("DELETE", "/tenants/users", body).expect(204)
    bastide.api("GET", path, token=token).expect(401)
