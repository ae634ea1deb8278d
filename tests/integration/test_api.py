# SPDX-License-Identifier: Apache-2.0
"""The external API from outside: who gets in, who may what, what each resource does and refuses."""

import base64
import concurrent.futures
import datetime
import json
import pathlib

import pytest

from conftest import PASSWORD, TENANT_ROLES
from installation import BASE, DEFAULT_TENANT
from samples import prepare_tenant
from services import wait_until

HERE = pathlib.Path(__file__).resolve().parent

# By hand, as docs/security-model.md explains it: nobody needs credentials for these, and for nothing else.
OPEN = {("GET", "/version"), ("GET", "/ca"), ("POST", "/provisioners/enrol"), ("POST", "/sessions")}


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


# The table of routes -------------------------------------------------------------------------------------------------


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


# Who may what --------------------------------------------------------------------------------------------------------


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


# Who one is ----------------------------------------------------------------------------------------------------------

UNKNOWN_TOKEN = "btk-" + "a" * 20 + "-" + "A" * 43


@pytest.mark.parametrize("headers", [
    {"Authentication-Token": UNKNOWN_TOKEN},
    {"Authentication-Token": ""},
    {"Authentication-Token": "btk-"},
    {"Authentication-Token": "x" * 4000},
    {"Authentication-Token": UNKNOWN_TOKEN.replace("btk", "bpe")},
    {"Authorization": "Bearer " + UNKNOWN_TOKEN},
    {"Authorization": "Bearer "},
    {"Authorization": "Basic not-base64!"},
    {"Authorization": "Basic " + base64.b64encode(b"no colon").decode()},
    {"Authorization": "Basic " + base64.b64encode(b"admin:").decode()},
    {"Authorization": "Basic " + base64.b64encode(b":password").decode()},
    {"Authorization": "Basic " + base64.b64encode(b"admin\0:password").decode()},
    {"Authorization": "Basic " + base64.b64encode(b"\xff\xfe:password").decode()},
    {"Authorization": "Basic " + base64.b64encode(b"admin:" + b"x" * 5000).decode()},
    {"Authorization": "Digest username=admin"},
    {"Authorization": "admin"},
    {"Cookie": "token=" + UNKNOWN_TOKEN},
], ids=lambda headers: "-".join(headers) + ":" + next(iter(headers.values()))[:24])
def test_bad_credentials(bastide, headers):
    answer = bastide.api("GET", "/user", token=None, headers=headers).expect(401)
    assert answer.json["message"] == "Unauthorized User"


def test_bad_credentials_are_refused_on_open_routes(bastide):
    bastide.api("GET", "/version", token="btk-wrong").expect(401)


def test_token_works_in_each_header(bastide):
    token = bastide.admin_token
    for headers in ({"Authentication-Token": token}, {"Authorization": f"Bearer {token}"},
                    {"authorization": f"bearer {token}"}):
        bastide.api("GET", "/user", token=None, headers=headers).expect(200)


def test_two_credentials_at_once(bastide, people):
    name = people.account()
    both = {**bastide.credentials(user=(name, PASSWORD)), **bastide.credentials()}
    bastide.api("GET", "/user", token=None, headers=both).expect(401)


def test_user_id_header_must_be_true(bastide, people):
    name = people.account()
    token = people.token(name)
    bastide.api("GET", "/user", token=token, headers={"Coopr-UserID": name}).expect(200)
    bastide.api("GET", "/user", token=token, headers={"Coopr-UserID": "admin"}).expect(401)
    bastide.api("GET", "/user", headers={"Coopr-UserID": name}).expect(401)


def test_deactivated_account(bastide, people):
    name = people.account()
    token = people.token(name)
    bastide.api("POST", f"/users/active/{name}", {"action": "deactivate"}).expect(200)
    bastide.api("GET", "/user", token=token).expect(401)
    bastide.api("GET", "/user", user=(name, PASSWORD)).expect(401)
    bastide.api("POST", f"/users/active/{name}", {"action": "activate"}).expect(200)
    bastide.api("GET", "/user", token=token).expect(200)


def test_lock_out(bastide, people):
    """Eight wrong passwords lock the account, also against the right one; an administrator can open it again."""
    name = people.account()
    for _ in range(8):
        bastide.api("GET", "/user", user=(name, "wrong " + PASSWORD)).expect(401)
    bastide.api("GET", "/user", user=(name, PASSWORD)).expect(401)
    assert bastide.api("GET", f"/users/{name}").json["is_locked"]
    records = bastide.api("GET", "/audit", query={"actor": name, "action": "sign_in"}).items
    assert [row["outcome"] for row in records] == ["denied"] * 9
    bastide.api("POST", f"/users/{name}/password", {"password": PASSWORD + "2"}).expect(204)
    bastide.api("GET", "/user", user=(name, PASSWORD + "2")).expect(200)


def test_one_right_password_forgives_wrong_ones(bastide, people):
    name = people.account()
    for _ in range(2):
        for _ in range(5):
            bastide.api("GET", "/user", user=(name, "wrong " + PASSWORD)).expect(401)
        bastide.api("GET", "/user", user=(name, PASSWORD)).expect(200)
    assert not bastide.api("GET", f"/users/{name}").json["is_locked"]


def test_unknown_account_looks_like_a_wrong_password(bastide, people):
    name = people.account()
    unknown = bastide.api("GET", "/user", user=("nobody-at-all", PASSWORD)).expect(401).json
    wrong = bastide.api("GET", "/user", user=(name, "wrong " + PASSWORD)).expect(401).json
    assert {**unknown, "instance": ""} == {**wrong, "instance": ""}


def test_one_time_password(bastide, people):
    """The first password is good for changing it and for nothing else."""
    name = people.account(must_change_password=True)
    bastide.api("GET", "/user", user=(name, PASSWORD)).expect(200)
    bastide.api("GET", "/tokens", user=(name, PASSWORD)).expect(403)
    bastide.api("POST", "/tokens", {}, user=(name, PASSWORD)).expect(403)
    new = "another " + PASSWORD
    bastide.api("POST", "/user/password", {"password": new, "current_password": PASSWORD},
                user=(name, PASSWORD)).expect(204)
    bastide.api("GET", "/tokens", user=(name, new)).expect(200)


# Accounts ------------------------------------------------------------------------------------------------------------


def test_account_from_beginning_to_end(bastide, people):
    name = people.account()
    account = bastide.api("GET", f"/users/{name}").expect(200).json
    assert (account["username"], account["role"], account["active"], account["tenants"]) == (name, "default", True, 0)
    assert name in [row["username"] for row in bastide.api("GET", "/users", query={"_size": 1000}).items]
    people.join(name, DEFAULT_TENANT, "viewer")
    assert bastide.api("GET", f"/users/{name}").json["tenants"] == 1
    in_full = bastide.api("GET", f"/users/{name}", query={"_get_data": "true"}).json
    assert in_full["tenants"] == in_full["tenant_roles"]["direct"] == {DEFAULT_TENANT: "viewer"}
    assert bastide.api("POST", f"/users/{name}", {"role": "sys_admin"}).expect(200).json["role"] == "sys_admin"
    token = people.token(name)
    bastide.api("GET", "/users", token=token).expect(200)
    bastide.api("POST", f"/users/{name}", {"role": "default"}).expect(200)
    bastide.api("GET", "/users", token=token).expect(403)
    bastide.api("DELETE", f"/users/{name}").expect(204)
    bastide.api("GET", f"/users/{name}").expect(404)
    bastide.api("GET", "/user", token=token).expect(401)
    bastide.api("DELETE", f"/users/{name}").expect(404)


def test_account_exists_already(bastide, people):
    name = people.account()
    bastide.api("PUT", "/users", {"username": name, "password": PASSWORD}).expect(409)
    bastide.api("GET", "/user", user=(name, PASSWORD)).expect(200)


def test_password_change_ends_tokens(bastide, people):
    name = people.account()
    tokens = [people.token(name), people.token(name)]
    new = "another " + PASSWORD
    bastide.api("POST", "/user/password", {"password": new, "current_password": "wrong"}, token=tokens[0]).expect(403)
    assert bastide.api("POST", "/user/password", {"password": new}, token=tokens[0]).expect(400).field == "current_password"
    bastide.api("GET", "/user", token=tokens[1]).expect(200)
    bastide.api("POST", "/user/password", {"password": new, "current_password": PASSWORD}, token=tokens[0]).expect(204)
    for token in tokens:
        bastide.api("GET", "/user", token=token).expect(401)
    bastide.api("GET", "/user", user=(name, PASSWORD)).expect(401)
    bastide.api("GET", "/user", user=(name, new)).expect(200)


def test_administrator_sets_a_password(bastide, people):
    name = people.account()
    token = people.token(name)
    bastide.api("POST", f"/users/{name}/password", {"password": "set by " + PASSWORD}).expect(204)
    bastide.api("GET", "/user", token=token).expect(401)
    bastide.api("GET", "/tokens", user=(name, "set by " + PASSWORD)).expect(403)  # one's own must be chosen first
    bastide.api("POST", "/users/nobody-here/password", {"password": PASSWORD}).expect(404)


def test_last_administrator_stays(bastide, people):
    for path, change in (("/users/active/admin", {"action": "deactivate"}), ("/users/admin", {"role": "default"})):
        assert bastide.api("POST", path, change).expect(409).error == "conflict"
    bastide.api("DELETE", "/users/admin").expect(409)
    name = people.account("sys_admin")
    token = people.token(name)
    bastide.api("DELETE", f"/users/{name}", token=token).expect(409)  # not oneself
    bastide.api("DELETE", f"/users/{name}").expect(204)
    assert bastide.api("GET", "/user").json["role"] == "sys_admin"


def test_two_administrators_cannot_remove_each_other_at_once(bastide, people):
    for _ in range(2):
        names = [people.account("sys_admin") for _ in range(2)]
        tokens = [people.token(name) for name in names]
        with concurrent.futures.ThreadPoolExecutor(2) as pool:
            answers = list(pool.map(lambda pair: bastide.api("POST", f"/users/active/{pair[0]}", {"action": "deactivate"},
                                                             token=pair[1]), [(names[1], tokens[0]), (names[0], tokens[1])]))
        statuses = sorted(answer.status for answer in answers)
        # With another administrator left both may succeed only when the first to commit is still let in.
        assert statuses in ([200, 200], [200, 401]), statuses
        active = [bastide.api("GET", f"/users/{name}").json["active"] for name in names]
        assert active.count(False) == statuses.count(200)
        for name in names:
            bastide.api("DELETE", f"/users/{name}").expect(204)


# Tokens --------------------------------------------------------------------------------------------------------------


def rfc3339(seconds_from_now):
    time_then = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(seconds=seconds_from_now)
    return time_then.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def test_token_from_beginning_to_end(bastide, people):
    name = people.account()
    made = bastide.api("POST", "/tokens", {"description": "for a script"}, user=(name, PASSWORD)).expect(201).json
    assert made["value"].startswith(f"btk-{made['id']}-") and len(made["value"]) == 4 + 20 + 1 + 43
    token = made["value"]
    listed = bastide.api("GET", "/tokens", token=token).expect(200).items
    assert [(row["id"], row["value"], row["description"]) for row in listed] == [(made["id"], "********", "for a script")]
    assert token not in bastide.api("GET", f"/tokens/{made['id']}", token=token).expect(200).body.decode()
    bastide.api("DELETE", f"/tokens/{made['id']}", token=token).expect(204)
    bastide.api("GET", "/user", token=token).expect(401)
    bastide.api("GET", f"/tokens/{made['id']}", user=(name, PASSWORD)).expect(404)
    bastide.api("DELETE", f"/tokens/{made['id']}", user=(name, PASSWORD)).expect(404)


def test_tokens_of_others(bastide, people):
    one, other = people.account(), people.make()
    made = bastide.api("POST", "/tokens", {}, user=(one, PASSWORD)).expect(201).json
    bastide.api("GET", f"/tokens/{made['id']}", token=other).expect(404)
    bastide.api("DELETE", f"/tokens/{made['id']}", token=other).expect(404)
    bastide.api("GET", "/user", token=made["value"]).expect(200)
    bastide.api("DELETE", f"/tokens/{made['id']}").expect(204)  # an administrator may
    bastide.api("GET", "/user", token=made["value"]).expect(401)


def test_token_expires(bastide, people):
    name = people.account()
    token = people.token(name, expiration_date=rfc3339(1.5))
    bastide.api("GET", "/user", token=token).expect(200)
    wait_until(lambda: bastide.api("GET", "/user", token=token).status == 401, 5, "the end of the token's life")
    bastide.api("POST", "/tokens", {}, token=token).expect(401)


def test_token_for_a_tenant_one_is_not_in(bastide, people):
    tenant, name = people.tenant(), people.account()
    bastide.api("POST", "/tokens", {"tenant": tenant}, user=(name, PASSWORD)).expect(404)
    bastide.api("POST", "/tokens", {"tenant": "nowhere"}).expect(404)


# Tenants -------------------------------------------------------------------------------------------------------------


def test_tenant_from_beginning_to_end(bastide, people, unique):
    tenant, name = unique("tenant"), people.account()
    made = bastide.api("POST", f"/tenants/{tenant}", {"description": "a test"}).expect(201).json
    assert (made["name"], made["description"], made["users"]) == (tenant, "a test", {})
    bastide.api("POST", f"/tenants/{tenant}", {}).expect(409)
    token = people.token(name)
    bastide.api("GET", f"/tenants/{tenant}", token=token).expect(404)  # not a member: nothing to see
    people.join(name, tenant, "viewer")
    assert bastide.api("GET", f"/tenants/{tenant}", token=token).expect(200).json["users"] == {name: "viewer"}
    assert [row["name"] for row in bastide.api("GET", "/tenants", token=token).items] == [tenant]
    bastide.api("DELETE", f"/tenants/{tenant}").expect(409)  # has a member
    bastide.api("DELETE", "/tenants/users", {"tenant_name": tenant, "username": name}).expect(204)
    bastide.api("DELETE", "/tenants/users", {"tenant_name": tenant, "username": name}).expect(404)
    bastide.api("DELETE", f"/tenants/{tenant}").expect(204)
    bastide.api("GET", f"/tenants/{tenant}").expect(404)


def test_tenants_that_cannot_be(bastide, people):
    for name in ("users", "user-groups", "1abc", "a%20b", "a" * 256, "-x"):
        assert bastide.api("POST", f"/tenants/{name}", {}).expect(400).field == "name"
    bastide.api("DELETE", f"/tenants/{DEFAULT_TENANT}").expect(409)
    bastide.api("PUT", "/tenants/users", {"tenant_name": "nowhere", "username": "admin"}).expect(404)
    bastide.api("PUT", "/tenants/users", {"tenant_name": DEFAULT_TENANT, "username": "nobody-here"}).expect(404)


# What is malformed ---------------------------------------------------------------------------------------------------

GOOD = {"username": "someone", "password": PASSWORD}
KEY = base64.b64encode(bytes(32)).decode()

BAD_BODIES = [
    ("PUT", "/users", {**GOOD, "username": 5}, "username"),
    ("PUT", "/users", {**GOOD, "username": None}, "username"),
    ("PUT", "/users", {**GOOD, "username": ""}, "username"),
    ("PUT", "/users", {**GOOD, "username": "a" * 256}, "username"),
    ("PUT", "/users", {**GOOD, "username": "a b"}, "username"),
    ("PUT", "/users", {**GOOD, "username": "../a"}, "username"),
    ("PUT", "/users", {"password": PASSWORD}, "username"),
    ("PUT", "/users", {**GOOD, "admin": True}, "admin"),
    ("PUT", "/users", {**GOOD, "password": "short"}, "password"),
    ("PUT", "/users", {**GOOD, "password": "my-someone-password"}, "password"),
    ("PUT", "/users", {**GOOD, "password": "a" * 20}, "password"),
    ("PUT", "/users", {**GOOD, "password": "x" * 512 + "y" * 513}, "password"),
    ("PUT", "/users", {**GOOD, "password": ["x"]}, "password"),
    ("PUT", "/users", {**GOOD, "role": "manager"}, "role"),
    ("PUT", "/users", {**GOOD, "must_change_password": "yes"}, "must_change_password"),
    ("POST", "/users/active/admin", {"action": "no"}, "action"),
    ("POST", "/users/admin", {"role": "viewer"}, "role"),
    ("POST", "/users/admin", {"username": "root"}, "username"),
    ("POST", "/users/admin/password", {"password": "short"}, "password"),
    ("POST", "/user/password", {"password": 12345678901234}, "password"),
    ("POST", "/tokens", {"expiration_date": "tomorrow"}, "expiration_date"),
    ("POST", "/tokens", {"expiration_date": "2001-01-01T00:00:00Z"}, "expiration_date"),
    ("POST", "/tokens", {"expiration_date": "2999-01-01T00:00:00Z"}, "expiration_date"),
    ("POST", "/tokens", {"expiration_date": 1}, "expiration_date"),
    ("POST", "/tokens", {"description": "x" * 256}, "description"),
    ("POST", "/tokens", {"tenant": "not a name"}, "tenant"),
    ("POST", "/tenants/fine", {"description": "x" * 1001}, "description"),
    ("POST", "/tenants/fine", {"quota": 1}, "quota"),
    ("PUT", "/tenants/users", {"tenant_name": DEFAULT_TENANT}, "username"),
    ("PUT", "/tenants/users", {"tenant_name": DEFAULT_TENANT, "username": "admin", "role": "sys_admin"}, "role"),
    ("POST", "/executions/{execution}", {"action": "explode"}, "action"),
    ("POST", "/executions/{execution}", {"action": 1}, "action"),
    ("POST", "/operations/{operation}", {"decision": "maybe"}, "decision"),
    ("POST", "/nodes/{node}/ssh-certificate", {"public_key": ""}, "public_key"),
    ("POST", "/nodes/{node}/ssh-certificate", {"public_key": "ssh-ed25519 " + "A" * 5000}, "public_key"),
    ("POST", "/provisioners/enrolment-tokens", {"name": "a b"}, "name"),
    ("POST", "/provisioners/enrolment-tokens", {"name": "x" * 65}, "name"),
    ("POST", "/provisioners/enrolment-tokens", {"name": "x", "life_seconds": 59}, "life_seconds"),
    ("POST", "/provisioners/enrolment-tokens", {"name": "x", "life_seconds": 86401}, "life_seconds"),
    ("POST", "/provisioners/enrolment-tokens", {"name": "x", "life_seconds": "3600"}, "life_seconds"),
    ("POST", "/provisioners/enrolment-tokens", {"name": "x", "life_seconds": 99.5}, "life_seconds"),
    ("POST", "/provisioners/enrol", {"token": "x", "name": "x", "tls_csr": "x", "envelope_key": "x"}, "envelope_key"),
    ("POST", "/provisioners/enrol", {"token": "x", "name": "x", "tls_csr": "x", "envelope_key": "!" * 44}, "envelope_key"),
    ("POST", "/catalog/validate", {"kind": "services"}, "document"),
    ("POST", "/catalog/validate", {"kind": "services", "document": []}, "document"),
    ("POST", "/catalog/import", {"services": {}}, "services"),
    ("POST", "/catalog/import", {"cars": []}, "cars"),
    ("PUT", "/catalog/services/x", {"name": "y"}, "name"),
    ("PUT", "/catalog/services/x", {"name": 7}, "name"),
    ("PUT", "/catalog/hardwaretypes/x", {"name": "x", "providermap": []}, "providermap"),
    ("POST", "/cluster-plans", {"name": 7, "template": "x", "nodes": 1}, "name"),
    ("POST", "/clusters", {"name": "x", "template": "x", "nodes": "many"}, "nodes"),
    ("POST", "/clusters", {"name": "x", "template": "x", "nodes": -1}, "nodes"),
    ("POST", "/clusters", {"name": "x", "template": "x", "nodes": 1, "frobnicate": 1}, "frobnicate"),
]


@pytest.fixture(scope="session", name="existing")
def make_a_cluster(bastide, people):
    """What there is, for requests that are refused only after their object was found."""
    tenant = people.tenant()
    prepare_tenant(bastide, tenant)
    request = {"name": "c", "template": "one", "nodes": 1}
    made = bastide.api("POST", "/clusters", request, tenant=tenant).expect(202).json
    node = bastide.api("GET", "/nodes", tenant=tenant).items[0]["id"]
    return {"tenant": tenant, "execution": made["execution_id"], "operation": f"{made['execution_id']}-1", "node": node}


@pytest.mark.parametrize("method, path, body, field", BAD_BODIES,
                         ids=lambda value: json.dumps(value)[:60] if isinstance(value, dict) else str(value))
def test_bad_body_names_its_field(bastide, existing, method, path, body, field):
    answer = bastide.api(method, path.format(**existing), body, tenant=existing["tenant"]).expect(400)
    assert answer.field == field, answer.body
    assert answer.json["message"] and answer.json["error_code"] == "bad_parameters_error"
    assert answer.json["instance"] == answer.headers["X-Request-Id"]
    assert PASSWORD not in answer.body.decode()


LISTS = ("/users", "/tokens", "/tenants", "/provisioners", "/audit", "/clusters", "/nodes", "/executions", "/events",
         "/bundles", "/catalog/services")


@pytest.mark.parametrize("path", LISTS)
def test_pages(bastide, path):
    for name, value in (("_size", "1001"), ("_size", "-1"), ("_size", "many"), ("_size", "1e3"), ("_size", "9" * 30),
                        ("_size", ""), ("_offset", "-1"), ("_offset", "99999999999")):
        assert bastide.api("GET", path, query={name: value}).expect(400).field == name, value
    page = bastide.api("GET", path, query={"_size": 0}).expect(200).json
    assert page["items"] == [] and page["metadata"]["pagination"]["size"] == 0
    page = bastide.api("GET", path, query={"_size": 1000, "_offset": 2147483647}).expect(200).json
    assert page["items"] == [] and page["metadata"]["filtered"] is None


def test_pages_follow_each_other(bastide, people):
    names = sorted(people.account() for _ in range(3))
    everybody = [row["username"] for row in bastide.api("GET", "/users", query={"_size": 1000}).items]
    assert everybody == sorted(everybody) and set(names) <= set(everybody)
    paged, offset = [], 0
    while True:
        page = bastide.api("GET", "/users", query={"_size": 7, "_offset": offset}).json
        assert page["metadata"]["pagination"]["total"] == len(everybody)
        if not page["items"]:
            break
        paged += [row["username"] for row in page["items"]]
        offset += 7
    assert paged == everybody


@pytest.mark.parametrize("path, query, field", [
    ("/events", {"after": "x"}, "after"), ("/events/stream", {"after": "-1"}, "after"),
    ("/catalog/services/app", {"version": "latest"}, "version"), ("/clusters", {"all": "perhaps"}, "all"),
    ("/operations", {}, "execution_id"),
])
def test_bad_query_names_its_parameter(bastide, existing, path, query, field):
    assert bastide.api("GET", path, query=query, tenant=existing["tenant"]).expect(400).field == field


@pytest.mark.parametrize("body, line", [
    (b"{", 1), (b'{"description": "x",\n"tenant": }', 2), (b"\n\n nonsense", 3), (b'{"description": "\xff"}', 1),
    (b'{"description": "a\\u0000b"}', 1), (b'{"description": "a\x00b"}', 1), (b'{"description": "x"} {}', 1),
    (b'{"description": "x", "description": "y"}', 1), (b'{"a":' * 70 + b"1" + b"}" * 70, 1), (b"{'description': 1}", 1),
    (b'{"description": 1e999}', 1), (b'{"description": "\\ud800"}', 1),
], ids=lambda value: repr(value)[:40])
def test_malformed_json(bastide, body, line):
    answer = bastide.api("POST", "/tokens", body).expect(400)
    assert answer.json["line"] == line, answer.body


@pytest.mark.parametrize("body", [b"[]", b'"x"', b"7", b"null", b"true"])
def test_body_that_is_no_object(bastide, body):
    bastide.api("POST", "/tokens", body).expect(400)


def test_missing_body(bastide):
    bastide.api("PUT", "/users", b"").expect(400)
    bastide.api("POST", "/clusters", b"").expect(400)
    bastide.api("PUT", "/catalog/services/x", b"").expect(400)


@pytest.mark.parametrize("content_type", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data", "",
                                          "application/jsonp", "text/json"])
def test_wrong_content_type(bastide, content_type):
    answer = bastide.api("POST", "/tokens", {}, headers={"Content-Type": content_type}).expect(415)
    assert answer.error == "unsupported_media_type"


def test_content_type_with_charset(bastide):
    bastide.api("POST", "/tokens", {}, headers={"Content-Type": "application/json; charset=utf-8"}).expect(201)


def test_body_that_is_too_large(bastide):
    connection = bastide.connect()
    connection.putrequest("POST", f"{BASE}/tokens")
    for name, value in {**bastide.credentials(), "Content-Type": "application/json",
                        "Content-Length": str(2 * 1024 * 1024)}.items():
        connection.putheader(name, value)
    connection.endheaders()
    assert connection.getresponse().status == 413
    connection.close()


@pytest.mark.parametrize("path", ["/users/a%00b", "/users/%2e%2e/x", "/users/a%", "/users/%zz", "/tenants/..%2f"])
def test_bad_paths(bastide, path):
    assert bastide.api("GET", path).status in (400, 404)


def test_headers_of_every_answer(bastide):
    for answer in (bastide.api("GET", "/user"), bastide.api("GET", "/nowhere"), bastide.api("GET", "/user", token=None)):
        assert answer.headers["X-Request-Id"]
        assert answer.headers["Cache-Control"] == "no-store"
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert "max-age" in answer.headers["Strict-Transport-Security"]
