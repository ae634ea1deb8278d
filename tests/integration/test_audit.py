# SPDX-License-Identifier: Apache-2.0
"""The audit trail from outside: one record for everything that changes something or is refused, and what makes changes
safe to repeat: ETags, If-Match, Idempotency-Key."""

import concurrent.futures
import hashlib
import json

import pytest

from conftest import PASSWORD
from installation import DEFAULT_TENANT
from samples import CANARY, SMALL, pack_bundle, prepare_tenant, secret_provider, upload
from services import run, wait_until
from test_authentication import Browser, code_of, enrol
from test_api_internal import Provisioner, create, status_of
from test_openapi import COMMITTED

HEX = set("0123456789abcdef")


def request_id(answer):
    return answer.headers["X-Request-Id"]


def records_of(bastide, answer):
    return bastide.api("GET", "/audit", query={"request_id": request_id(answer)}).expect(200).items


def record_of(bastide, answer):
    (record,) = records_of(bastide, answer)
    return record


@pytest.fixture(name="tenant")
def make_tenant(bastide, people):
    tenant = people.tenant()
    prepare_tenant(bastide, tenant)
    yield tenant
    for execution in bastide.api("GET", "/executions", tenant=tenant).items:
        bastide.api("POST", f"/executions/{execution['id']}", {"action": "force-cancel"}, tenant=tenant)


# S55: completeness ---------------------------------------------------------------------------------------------------
#
# One function a changing route, by hand: does it once and gives the answer, the object as the record names it (None:
# known only afterwards), and whether there is an object before and after.

class Scenes:
    def __init__(self, bastide, people, unique, tenant, folder):
        self.bastide, self.people, self.unique, self.tenant, self.folder = bastide, people, unique, tenant, folder

    def api(self, method, path, body=None, **more):
        return self.bastide.api(method, path, body, tenant=self.tenant, **more)

    def token_create(self):
        answer = self.api("POST", "/tokens", {"description": "x"})
        return answer, f"token:{answer.json['id']}", False, True

    def token_delete(self):
        made = self.api("POST", "/tokens", {}).json["id"]
        return self.api("DELETE", f"/tokens/{made}"), f"token:{made}", True, False

    def own_password(self):
        name = self.people.account()
        answer = self.bastide.api("POST", "/user/password", {"current_password": PASSWORD, "password": PASSWORD + "2"},
                                  user=(name, PASSWORD))
        return answer, f"user:{name}", True, True

    def user_create(self):
        name = self.unique("person")
        return self.api("PUT", "/users", {"username": name, "password": PASSWORD}), f"user:{name}", False, True

    def user_update(self):
        name = self.people.account()
        return self.api("POST", f"/users/{name}", {"role": "auditor"}), f"user:{name}", True, True

    def user_active(self):
        name = self.people.account()
        return self.api("POST", f"/users/active/{name}", {"action": "deactivate"}), f"user:{name}", True, True

    def user_unlock(self):
        name = self.people.account()
        return self.api("POST", f"/users/unlock/{name}"), f"user:{name}", True, True

    def tokens_delete(self):
        name = self.people.account()
        return self.api("DELETE", "/tokens", query={"username": name}), f"user:{name}", False, False

    def _browser(self):
        browser, name = Browser(self.bastide), self.people.account()
        return browser, name, browser.sign_in(name).expect(201)

    def session_create(self):
        _, _, answer = self._browser()
        return answer, f"session:{answer.json['id']}", False, False

    def session_delete(self):
        _, _, answer = self._browser()
        made = answer.json["id"]
        return self.api("DELETE", f"/sessions/{made}"), f"session:{made}", False, False

    def sessions_delete(self):
        _, name, _ = self._browser()
        return self.api("DELETE", "/sessions", query={"username": name}), f"user:{name}", False, False

    def own_session_delete(self):
        browser, _, answer = self._browser()
        return browser.send("DELETE", "/session"), f"session:{answer.json['id']}", False, False

    def factor_enrol(self):
        name = self.people.account()
        answer = self.bastide.api("POST", "/user/second-factor", {"current_password": PASSWORD}, user=(name, PASSWORD))
        return answer, f"user:{name}", True, True

    def factor_confirm(self):
        name = self.people.account()
        secret = self.bastide.api("POST", "/user/second-factor", {"current_password": PASSWORD},
                                  user=(name, PASSWORD)).expect(201).json["secret"]
        answer = self.bastide.api("POST", "/user/second-factor/confirm", {"code": code_of(secret, -1)},
                                  user=(name, PASSWORD))
        return answer, f"user:{name}", True, True

    def _with_factor(self):
        name = self.people.account()
        token = self.people.token(name)
        secret, codes = enrol(self.bastide, name)
        return name, token, secret, codes

    def factor_end(self):
        name, token, _, codes = self._with_factor()
        body = {"current_password": PASSWORD, "code": codes[0]}
        return self.bastide.api("DELETE", "/user/second-factor", body, token=token), f"user:{name}", True, True

    def recovery_codes(self):
        name, token, secret, _ = self._with_factor()
        body = {"code": code_of(secret, 1)}  # enrolling has used the one before or this one
        answer = self.bastide.api("POST", "/user/second-factor/recovery-codes", body, token=token)
        return answer, f"user:{name}", True, True

    def factor_reset(self):
        name, _, _, _ = self._with_factor()
        return self.api("DELETE", f"/users/{name}/second-factor"), f"user:{name}", True, True

    def policy_set(self):
        answer = self.api("PATCH", "/policies", {"session_idle": 600})
        self.api("PATCH", "/policies", {"session_idle": None}).expect(200)
        return answer, None, True, True

    def policy_of_tenant(self):
        name = self.people.tenant()
        return self.api("PATCH", f"/policies/{name}", {"token_life": 86400}), None, True, True

    def user_delete(self):
        name = self.people.account()
        return self.api("DELETE", f"/users/{name}"), f"user:{name}", True, False

    def user_password(self):
        name = self.people.account()
        return self.api("POST", f"/users/{name}/password", {}), f"user:{name}", True, True

    def _member(self, method):
        name, tenant = self.people.account(), self.people.tenant()
        if method != "PUT":
            self.people.join(name, tenant, "user")
        body = {"tenant_name": tenant, "username": name, **({} if method == "DELETE" else {"role": "viewer"})}
        return self.api(method, "/tenants/users", body), f"tenant:{tenant} user:{name}", True, True

    def member_add(self):
        return self._member("PUT")

    def member_change(self):
        return self._member("PATCH")

    def member_remove(self):
        return self._member("DELETE")

    def tenant_create(self):
        name = self.unique("tenant")
        return self.api("POST", f"/tenants/{name}", {}), f"tenant:{name}", False, True

    def tenant_delete(self):
        name = self.people.tenant()
        return self.api("DELETE", f"/tenants/{name}"), f"tenant:{name}", True, False

    def quotas_set(self):
        name = self.people.tenant()
        return self.api("PATCH", f"/tenants/{name}/quotas", {"clusters": 5}), f"tenant:{name}", True, True

    def catalog_import(self):
        changed = {**SMALL, "hardwaretypes": [{"name": "big", "providermap": {}}]}
        return self.api("POST", "/catalog/import", changed), "catalog", True, True

    def catalog_write(self):
        document = {"name": "new", "providermap": {}}
        return self.api("PUT", "/catalog/hardwaretypes/new", document), "hardwaretypes:new", False, True

    def catalog_delete(self):
        self.api("PUT", "/catalog/hardwaretypes/old", {"name": "old", "providermap": {}}).expect(201)
        return self.api("DELETE", "/catalog/hardwaretypes/old"), "hardwaretypes:old", True, False

    def cluster_create(self):
        answer = self.api("POST", "/clusters", {"name": self.unique("c"), "template": "one", "nodes": 1})
        return answer, f"cluster:{answer.json['id']}", False, True

    def cluster_delete(self):
        made = create(self.bastide, self.tenant, name=self.unique("c"))
        return self.api("DELETE", f"/clusters/{made['id']}"), f"cluster:{made['id']}", True, True

    def cluster_services(self):
        provisioner = self._provisioner()
        provisioner.begin()
        made = create(self.bastide, self.tenant, name=self.unique("c"))
        provisioner.work(lambda: status_of(self.bastide, self.tenant, made) == "active")
        answer = self.api("POST", f"/clusters/{made['id']}/services", {"operation": "restart", "services": ["app"]})
        self.api("DELETE", f"/provisioners/{provisioner.id}").expect(204)
        return answer, f"cluster:{made['id']}", True, True

    def cluster_members(self):
        provisioner = self._provisioner()
        provisioner.begin()
        made = create(self.bastide, self.tenant, name=self.unique("c"))
        provisioner.work(lambda: status_of(self.bastide, self.tenant, made) == "active")
        answer = self.api("POST", f"/clusters/{made['id']}/members", {"operation": "scale", "nodes": 2})
        self.api("DELETE", f"/provisioners/{provisioner.id}").expect(204)
        return answer, f"cluster:{made['id']}", True, True

    def execution_cancel(self):
        made = create(self.bastide, self.tenant, name=self.unique("c"))
        execution = made["execution_id"]
        answer = self.api("POST", f"/executions/{execution}", {"action": "cancel"})
        return answer, f"execution:{execution}", True, True

    def _provisioner(self):
        return Provisioner(self.bastide, self.unique("provisioner"), self.folder / self.unique("p"))

    def ssh_certificate(self):
        provisioner = self._provisioner()
        provisioner.begin()
        made = create(self.bastide, self.tenant, name=self.unique("c"))

        def nodes():
            query = {"cluster_id": made["id"]}
            return [node for node in self.api("GET", "/nodes", query=query).items if node["status"] == "ready"]
        provisioner.work(nodes)
        run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", self.folder / "person"])
        public = (self.folder / "person.pub").read_text().strip()
        node = nodes()[0]["id"]
        answer = self.api("POST", f"/nodes/{node}/ssh-certificate", {"public_key": public})
        self.api("DELETE", f"/provisioners/{provisioner.id}").expect(204)
        return answer, f"node:{node}", True, True

    def operation_decide(self):
        provisioner = self._provisioner()
        provisioner.begin()
        create(self.bastide, self.tenant, name=self.unique("c"))
        (task,) = provisioner.lease(maximum=1)
        assert provisioner.report(task, "unknown") == "accepted"
        answer = self.api("POST", f"/operations/{task['id']}", {"decision": "fail"})
        self.api("DELETE", f"/provisioners/{provisioner.id}").expect(204)
        return answer, f"task:{task['id']}", True, True

    def enrolment_token(self):
        answer = self.api("POST", "/provisioners/enrolment-tokens", {"name": self.unique("p")})
        return answer, f"enrolment-token:{answer.json['id']}", False, True

    def enrol(self):
        provisioner = self._provisioner()
        name = self.unique("provisioner")
        token = self.api("POST", "/provisioners/enrolment-tokens", {"name": name}).json["value"]
        answer = provisioner.enrol(token, name=name)
        for made in (provisioner.id, answer.json["id"]):
            self.api("DELETE", f"/provisioners/{made}").expect(204)
        return answer, f"provisioner:{answer.json['id']}", False, True

    def provisioner_drain(self):
        provisioner = self._provisioner()
        answer = self.api("POST", f"/provisioners/{provisioner.id}/drain")
        self.api("DELETE", f"/provisioners/{provisioner.id}").expect(204)
        return answer, f"provisioner:{provisioner.id}", True, True

    def provisioner_remove(self):
        provisioner = self._provisioner()
        answer = self.api("DELETE", f"/provisioners/{provisioner.id}")
        return answer, f"provisioner:{provisioner.id}", True, False

    def keys_rotate(self):
        return self.api("POST", "/keys/rotate"), None, False, False

    def keys_shred(self):
        name = self.people.tenant()
        return self.api("POST", "/keys/shred", {"tenant": name, "confirmation": name}), f"tenant:{name}", False, False

    def _bundle(self):
        return pack_bundle(version=self.unique("1."))

    def bundle_upload(self):
        archive = self._bundle()
        answer = upload(self.bastide, self.tenant, archive)
        return answer, f"bundle:{hashlib.sha256(archive).hexdigest()}", False, True

    def _decide(self, verb):
        digest = upload(self.bastide, self.tenant, self._bundle()).expect(201).json["digest"]
        return self.api("POST", f"/bundles/{digest}/{verb}"), f"bundle:{digest}", True, True

    def bundle_approve(self):
        return self._decide("approve")

    def bundle_revoke(self):
        return self._decide("revoke")

    # Groups, roles, permissions ---------------------------------------------------------------------------------------

    def _group(self, **more):
        name = self.unique("group")
        self.api("POST", "/user-groups", {"group_name": name, **more}).expect(201)
        return name

    def group_create(self):
        name = self.unique("group")
        return self.api("POST", "/user-groups", {"group_name": name}), f"user_group:{name}", False, True

    def group_update(self):
        name = self._group()
        return self.api("POST", f"/user-groups/{name}", {"role": "auditor"}), f"user_group:{name}", True, True

    def group_delete(self):
        name = self._group()
        return self.api("DELETE", f"/user-groups/{name}"), f"user_group:{name}", True, False

    def _group_member(self, method):
        name, person = self._group(), self.people.account()
        body = {"group_name": name, "username": person}
        if method == "DELETE":
            self.api("PUT", "/user-groups/users", body).expect(200)
        return self.api(method, "/user-groups/users", body), f"user_group:{name} user:{person}", True, True

    def group_member_add(self):
        return self._group_member("PUT")

    def group_member_remove(self):
        return self._group_member("DELETE")

    def _group_of_tenant(self, method):
        name, tenant = self._group(), self.people.tenant()
        body = {"tenant_name": tenant, "group_name": name}
        if method != "PUT":
            self.api("PUT", "/tenants/user-groups", {**body, "role": "user"}).expect(201)
        answer = self.api(method, "/tenants/user-groups", {**body, **({} if method == "DELETE" else {"role": "viewer"})})
        return answer, f"tenant:{tenant} user_group:{name}", True, True

    def group_of_tenant_add(self):
        return self._group_of_tenant("PUT")

    def group_of_tenant_change(self):
        return self._group_of_tenant("PATCH")

    def group_of_tenant_remove(self):
        return self._group_of_tenant("DELETE")

    def _role(self):
        name = self.unique("role")
        self.api("POST", "/roles", {"name": name, "type": "tenant"}).expect(201)
        return name

    def role_create(self):
        name = self.unique("role")
        return self.api("POST", "/roles", {"name": name, "type": "tenant"}), f"role:{name}", False, True

    def role_delete(self):
        name = self._role()
        return self.api("DELETE", f"/roles/{name}"), f"role:{name}", True, False

    def permission_add(self):
        name = self._role()
        return self.api("PUT", f"/permissions/{name}/cluster_list"), f"role:{name} permission:cluster_list", True, True

    def permission_remove(self):
        name = self._role()
        self.api("PUT", f"/permissions/{name}/cluster_list").expect(200)
        return self.api("DELETE", f"/permissions/{name}/cluster_list"), f"role:{name} permission:cluster_list", True, True

    # Visibility and grants ----------------------------------------------------------------------------------------------

    def _object(self, kind):
        """Path of an object and its name in a record."""
        if kind == "catalog":
            name = self.unique("type")
            self.api("PUT", f"/catalog/hardwaretypes/{name}", {"name": name, "providermap": {}}).expect(201)
            return f"/catalog/hardwaretypes/{name}", f"hardware_type:{name}"
        if kind == "cluster":
            made = create(self.bastide, self.tenant, name=self.unique("c"))["id"]
            return f"/clusters/{made}", f"cluster:{made}"
        digest = upload(self.bastide, self.tenant, self._bundle()).expect(201).json["digest"]
        return f"/bundles/{digest}", f"bundle:{digest}"

    def visibility(self, kind):
        path, name = self._object(kind)
        return self.api("PATCH", f"{path}/set-visibility", {"visibility": "private"}), name, True, True

    def grant(self, kind, method):
        (path, name), person = self._object(kind), self.people.account()
        self.people.join(person, self.tenant, "viewer")
        if method == "DELETE":
            self.api("PUT", f"{path}/grants", {"username": person, "rights": ["read"]}).expect(200)
        body = {"username": person, **({"rights": ["read"]} if method == "PUT" else {})}
        return self.api(method, f"{path}/grants", body), name, True, True

    # Secrets, certificates, leases ----------------------------------------------------------------------------------------

    def _secret(self):
        key = self.unique("secret")
        self.api("PUT", f"/secrets/{key}", {"value": "something"}).expect(201)
        return key

    def secret_create(self):
        key = self.unique("secret")
        return self.api("PUT", f"/secrets/{key}", {"value": "something"}), f"secret:{key}", False, True

    def secret_update(self):
        key = self._secret()
        return self.api("PATCH", f"/secrets/{key}", {"description": "of something"}), f"secret:{key}", True, True

    def secret_delete(self):
        key = self._secret()
        return self.api("DELETE", f"/secrets/{key}"), f"secret:{key}", True, False

    def secret_version_delete(self):
        key = self._secret()
        self.api("PATCH", f"/secrets/{key}", {"value": "something else"}).expect(200)
        return self.api("DELETE", f"/secrets/{key}/versions/1"), f"secret:{key}", True, True

    def secrets_export(self):
        self._secret()
        return self.api("POST", "/secrets/share/export", {"passphrase": PASSWORD}), "secrets", False, False

    def secrets_import(self):
        self._secret()
        sealed = self.api("POST", "/secrets/share/export", {"passphrase": PASSWORD}).expect(200).json["sealed"]
        body = {"passphrase": PASSWORD, "sealed": sealed}
        answer = self.bastide.api("POST", "/secrets/share/import", body, tenant=self.people.tenant())
        return answer, "secrets", False, False

    def certificate_revoke(self):
        provisioner = self._provisioner()
        (row,) = self.api("GET", "/certificates", query={"holder": provisioner.id}).expect(200).items
        answer = self.api("POST", f"/certificates/{row['serial']}/revoke")
        self.api("DELETE", f"/provisioners/{provisioner.id}").expect(204)
        return answer, f"certificate:{row['serial']}", True, True

    def cluster_lease(self):
        made = create(self.bastide, self.tenant, name=self.unique("c"))
        answer = self.api("POST", f"/clusters/{made['id']}/lease", {"expires_at": "2099-01-01T00:00:00Z"})
        return answer, f"cluster:{made['id']}", True, True

    def cluster_members(self):
        provisioner = self._provisioner()
        provisioner.begin()
        made = create(self.bastide, self.tenant, name=self.unique("c"))
        provisioner.work(lambda: status_of(self.bastide, self.tenant, made) == "active")
        answer = self.api("POST", f"/clusters/{made['id']}/members", {"operation": "scale", "nodes": 2})
        self.api("DELETE", f"/provisioners/{provisioner.id}").expect(204)
        return answer, f"cluster:{made['id']}", True, True


SCENES = {
    ("POST", "/tokens"): Scenes.token_create,
    ("DELETE", "/tokens/{id}"): Scenes.token_delete,
    ("DELETE", "/tokens"): Scenes.tokens_delete,
    ("POST", "/sessions"): Scenes.session_create,
    ("DELETE", "/sessions"): Scenes.sessions_delete,
    ("DELETE", "/sessions/{id}"): Scenes.session_delete,
    ("DELETE", "/session"): Scenes.own_session_delete,
    ("POST", "/user/second-factor"): Scenes.factor_enrol,
    ("DELETE", "/user/second-factor"): Scenes.factor_end,
    ("POST", "/user/second-factor/confirm"): Scenes.factor_confirm,
    ("POST", "/user/second-factor/recovery-codes"): Scenes.recovery_codes,
    ("DELETE", "/users/{name}/second-factor"): Scenes.factor_reset,
    ("PATCH", "/policies"): Scenes.policy_set,
    ("PATCH", "/policies/{name}"): Scenes.policy_of_tenant,
    ("POST", "/users/active/{name}"): Scenes.user_active,
    ("POST", "/users/unlock/{name}"): Scenes.user_unlock,
    ("POST", "/user/password"): Scenes.own_password,
    ("PUT", "/users"): Scenes.user_create,
    ("POST", "/users/{name}"): Scenes.user_update,
    ("DELETE", "/users/{name}"): Scenes.user_delete,
    ("POST", "/users/{name}/password"): Scenes.user_password,
    ("PUT", "/tenants/users"): Scenes.member_add,
    ("PATCH", "/tenants/users"): Scenes.member_change,
    ("DELETE", "/tenants/users"): Scenes.member_remove,
    ("POST", "/tenants/{name}"): Scenes.tenant_create,
    ("DELETE", "/tenants/{name}"): Scenes.tenant_delete,
    ("PATCH", "/tenants/{name}/quotas"): Scenes.quotas_set,
    ("POST", "/catalog/import"): Scenes.catalog_import,
    ("PUT", "/catalog/{kind}/{name}"): Scenes.catalog_write,
    ("DELETE", "/catalog/{kind}/{name}"): Scenes.catalog_delete,
    ("POST", "/clusters"): Scenes.cluster_create,
    ("DELETE", "/clusters/{id}"): Scenes.cluster_delete,
    ("POST", "/clusters/{id}/services"): Scenes.cluster_services,
    ("POST", "/clusters/{id}/members"): Scenes.cluster_members,
    ("POST", "/executions/{id}"): Scenes.execution_cancel,
    ("POST", "/nodes/{id}/ssh-certificate"): Scenes.ssh_certificate,
    ("POST", "/operations/{id}"): Scenes.operation_decide,
    ("POST", "/provisioners/enrolment-tokens"): Scenes.enrolment_token,
    ("POST", "/provisioners/enrol"): Scenes.enrol,
    ("POST", "/provisioners/{id}/drain"): Scenes.provisioner_drain,
    ("DELETE", "/provisioners/{id}"): Scenes.provisioner_remove,
    ("POST", "/keys/rotate"): Scenes.keys_rotate,
    ("POST", "/keys/shred"): Scenes.keys_shred,
    ("POST", "/bundles"): Scenes.bundle_upload,
    ("POST", "/bundles/{digest}/approve"): Scenes.bundle_approve,
    ("POST", "/bundles/{digest}/revoke"): Scenes.bundle_revoke,
    ("POST", "/user-groups"): Scenes.group_create,
    ("POST", "/user-groups/{name}"): Scenes.group_update,
    ("DELETE", "/user-groups/{name}"): Scenes.group_delete,
    ("PUT", "/user-groups/users"): Scenes.group_member_add,
    ("DELETE", "/user-groups/users"): Scenes.group_member_remove,
    ("PUT", "/tenants/user-groups"): Scenes.group_of_tenant_add,
    ("PATCH", "/tenants/user-groups"): Scenes.group_of_tenant_change,
    ("DELETE", "/tenants/user-groups"): Scenes.group_of_tenant_remove,
    ("POST", "/roles"): Scenes.role_create,
    ("DELETE", "/roles/{name}"): Scenes.role_delete,
    ("PUT", "/permissions/{role}/{permission}"): Scenes.permission_add,
    ("DELETE", "/permissions/{role}/{permission}"): Scenes.permission_remove,
    ("PATCH", "/catalog/{kind}/{name}/set-visibility"): lambda scenes: scenes.visibility("catalog"),
    ("PUT", "/catalog/{kind}/{name}/grants"): lambda scenes: scenes.grant("catalog", "PUT"),
    ("DELETE", "/catalog/{kind}/{name}/grants"): lambda scenes: scenes.grant("catalog", "DELETE"),
    ("PATCH", "/clusters/{id}/set-visibility"): lambda scenes: scenes.visibility("cluster"),
    ("PUT", "/clusters/{id}/grants"): lambda scenes: scenes.grant("cluster", "PUT"),
    ("DELETE", "/clusters/{id}/grants"): lambda scenes: scenes.grant("cluster", "DELETE"),
    ("PATCH", "/bundles/{digest}/set-visibility"): lambda scenes: scenes.visibility("bundle"),
    ("PUT", "/bundles/{digest}/grants"): lambda scenes: scenes.grant("bundle", "PUT"),
    ("DELETE", "/bundles/{digest}/grants"): lambda scenes: scenes.grant("bundle", "DELETE"),
    ("PUT", "/secrets/{key}"): Scenes.secret_create,
    ("PATCH", "/secrets/{key}"): Scenes.secret_update,
    ("DELETE", "/secrets/{key}"): Scenes.secret_delete,
    ("DELETE", "/secrets/{key}/versions/{version}"): Scenes.secret_version_delete,
    ("POST", "/secrets/share/export"): Scenes.secrets_export,
    ("POST", "/secrets/share/import"): Scenes.secrets_import,
    ("POST", "/certificates/{serial}/revoke"): Scenes.certificate_revoke,
    ("POST", "/clusters/{id}/lease"): Scenes.cluster_lease,
    ("POST", "/clusters/{id}/members"): Scenes.cluster_members,
}
# These need a site of their own; test_directory.py and test_certificates.py look at their records.
ELSEWHERE = {("POST", "/directory/test"), ("PUT", "/certificates/listeners/{name}"),
             ("DELETE", "/certificates/listeners/{name}")}
# Requests that change nothing although they are not a GET.
HARMLESS = {("POST", "/catalog/validate"), ("POST", "/cluster-plans"), ("POST", "/clusters/{id}/plans")}


def changing_routes():
    """(method, path) to the action, of all that is not a GET: from the description of the API."""
    return {(method.upper(), path): operation.get("x-bastide-audit")
            for path, methods in json.loads(COMMITTED.read_text())["paths"].items()
            for method, operation in methods.items() if method != "get"}


def test_s55_there_is_a_scene_for_every_changing_route():
    routes = changing_routes()
    assert {route for route, action in routes.items() if not action} == HARMLESS
    assert set(SCENES) == set(routes) - HARMLESS - ELSEWHERE


@pytest.mark.parametrize("route", SCENES, ids=lambda route: " ".join(route))
def test_s55_every_change_leaves_exactly_one_record(bastide, people, unique, tenant, tmp_path, route):
    answer, name, is_before, is_after = SCENES[route](Scenes(bastide, people, unique, tenant, tmp_path))
    assert answer.status < 300, answer.body
    # Beside it: signing in, each secret that was read, and the beginning of what cannot be undone.
    records = [row for row in records_of(bastide, answer)
               if row["action"] not in ("sign_in", "secret_get") and row["details"].get("phase") != "begun"]
    (record,) = records
    assert record["action"] == changing_routes()[route] and record["outcome"] == "done"
    assert name is None or record["object"] == name
    digests = record["digest_before"], record["digest_after"]
    assert (digests[0] is not None, digests[1] is not None) == (is_before, is_after), digests
    assert all(digest is None or (len(digest) == 64 and set(digest) <= HEX) for digest in digests)
    assert record["source"] == "127.0.0.1" and record["effective_actor"] == record["actor"]
    if route != ("POST", "/provisioners/enrol"):
        assert record["authentication"].partition(":")[0] in ("password", "token", "session")
    assert bastide.api("GET", "/audit/verification").json["valid"]


def test_s55_digests_are_of_what_an_administrator_sees(bastide, people):
    name = people.account()
    before = bastide.api("GET", f"/users/{name}").body
    answer = bastide.api("POST", f"/users/active/{name}", {"action": "deactivate"}).expect(200)
    after = bastide.api("GET", f"/users/{name}").body
    record = record_of(bastide, answer)
    assert record["digest_before"] == hashlib.sha256(before).hexdigest()
    assert record["digest_after"] == hashlib.sha256(after).hexdigest() != record["digest_before"]


def test_s55_digests_do_not_depend_on_secrets(bastide, tenant):
    """The digest is of a representation without them: nobody can guess a password by it."""
    digests = set()
    for value in (CANARY, CANARY + "2"):
        document = secret_provider(api_password=value)
        answer = bastide.api("PUT", "/catalog/providers/cloud", document, tenant=tenant)
        shown = bastide.api("GET", "/catalog/providers/cloud", tenant=tenant)
        assert CANARY not in shown.body.decode()
        assert record_of(bastide, answer)["digest_after"] == hashlib.sha256(shown.body).hexdigest()
        digests.add(shown.json["digest"])
    assert digests


def test_s55_refusals_of_known_people(bastide, people):
    viewer = people.make("viewer")
    for method, path, body, action in (("GET", "/users", None, "user_list"), ("GET", "/audit", None, "audit_list"),
                                       ("POST", "/clusters", {}, "cluster_create"),
                                       ("PUT", "/catalog/services/x", {"name": "x"}, "catalog_write")):
        answer = bastide.api(method, path, body, token=viewer, tenant=DEFAULT_TENANT).expect(403)
        record = record_of(bastide, answer)
        assert (record["action"], record["outcome"]) == (action, "denied"), path
        assert record["actor"].startswith("person") and record["authentication"].startswith("token:")


def test_s55_refusals_of_unknown_callers_are_counted(breakable):
    """The first of a source and minute has a record of its own, the rest is one number, however many they are."""
    def of_nobody(**more):
        rows = breakable.api("GET", "/audit", query={"actor": "nobody", "_size": 1000, **more}).items
        return [row for row in rows if row["action"] == "authenticate"]

    before = len(of_nobody())
    for _ in range(50):
        breakable.api("GET", "/users", token=None).expect(401)
        breakable.api("GET", "/user", token="btk-" + "a" * 20 + "-" + "b" * 43).expect(401)
    first = wait_until(lambda: of_nobody()[:-before] if before else of_nobody(), 10, "a record")
    assert first[-1]["outcome"] == "denied" and first[-1]["object"] == "GET /api/v3.1/users"
    assert first[-1]["source"] == "127.0.0.1"
    breakable.restart("manager")  # what is counted is written at the latest at the end
    rows = of_nobody()[:-before] if before else of_nobody()
    counted = sum(row["details"].get("requests", 1) for row in rows)
    assert counted == 100 and len(rows) <= 6, rows


def test_s55_secrets_of_tasks_are_recorded(bastide, people, unique, tenant, tmp_path):
    """A provisioner gets a secret with a task: who, for which task, and which, never its value."""
    provisioner = Provisioner(bastide, unique("provisioner"), tmp_path / "p")
    provisioner.begin()
    made, seen = create(bastide, tenant), []
    provisioner.work(lambda: status_of(bastide, tenant, made) == "active", seen)
    bastide.api("DELETE", f"/provisioners/{provisioner.id}").expect(204)
    with_secrets = {task["id"] for task in seen if task.get("secrets")}
    records = bastide.api("GET", "/audit", query={"tenant": tenant, "action": "secret_read", "_size": 1000}).items
    assert with_secrets and {row["object"] for row in records} == {f"task:{name}" for name in with_secrets}
    assert len(records) == len(with_secrets)
    assert all(row["actor"] == f"provisioner:{provisioner.id}" and row["details"] == {"secrets": "app.password"}
               and row["authentication"].startswith("certificate:") for row in records)
    transitions = bastide.api("GET", "/audit", query={"tenant": tenant, "object": f"task:{seen[0]['id']}"}).items
    assert {row["action"] for row in transitions} == {"task_started", "task_succeeded"}


def test_s55_sign_ins(bastide, people):
    name = people.account()
    good = bastide.api("GET", "/user", user=(name, PASSWORD)).expect(200)
    bad = bastide.api("GET", "/user", user=(name, "wrong " + PASSWORD)).expect(401)
    for answer, outcome in ((good, "done"), (bad, "denied")):
        record = record_of(bastide, answer)
        assert (record["action"], record["actor"], record["outcome"]) == ("sign_in", name, outcome)
        assert record["authentication"] == "password"


def test_s55_local_administration_acts_in_the_name_of_another(bastide):
    bastide.run("manager", "token")
    record = bastide.api("GET", "/audit", query={"actor": "local administration", "_size": 1}).items[0]
    assert (record["effective_actor"], record["authentication"]) == ("admin", "local")


def test_s55_without_a_record_nothing_happens(breakable):
    """The table takes none: no change is made, no secret handed out; reading goes on."""
    token, user = breakable.admin_token, {"username": "unrecorded", "password": PASSWORD}
    breakable.stop("manager")
    breakable.sql("alter table audit_records rename to kept_records")
    breakable.start("manager")
    try:
        for method, path, body in (("PUT", "/users", user), ("POST", "/tokens", {}), ("POST", "/tenants/unrecorded", {}),
                                   ("PUT", "/catalog/hardwaretypes/x", {"name": "x", "providermap": {}}),
                                   ("POST", "/provisioners/enrolment-tokens", {"name": "unrecorded"})):
            answer = breakable.api(method, path, body, token=token, tenant=DEFAULT_TENANT)
            assert answer.status == 500 and b"value" not in answer.body, path
        breakable.api("GET", "/users", token=token).expect(200)
        assert breakable.api("GET", "/user", user=("admin", breakable.admin_password)).status == 500
    finally:
        breakable.stop("manager")
        breakable.sql("alter table kept_records rename to audit_records")
        breakable.start("manager")
    for path in ("/users/unrecorded", "/tenants/unrecorded", "/catalog/hardwaretypes/x"):
        breakable.api("GET", path, tenant=DEFAULT_TENANT).expect(404)


def test_filters(bastide, people):
    name = people.account()
    query = {"object": f"user:{name}"}
    (made,) = bastide.api("GET", "/audit", query=query).items
    assert made["action"] == "user_create"
    bastide.api("DELETE", f"/users/{name}").expect(204)
    assert [row["action"] for row in bastide.api("GET", "/audit", query=query).items] == ["user_delete", "user_create"]
    removed = bastide.api("GET", "/audit", query={**query, "since": made["timestamp"], "action": "user_delete"}).items
    assert len(removed) == 1
    assert bastide.api("GET", "/audit", query={**query, "until": made["timestamp"]}).items == []
    assert bastide.api("GET", "/audit", query={**query, "outcome": "denied"}).items == []
    for name in ("since", "until"):
        assert bastide.api("GET", "/audit", query={name: "yesterday"}).expect(400).field == name


# ETags ---------------------------------------------------------------------------------------------------------------

def test_every_object_has_a_tag(bastide, tenant, people):
    made = create(bastide, tenant)
    name = people.account()
    paths = ["/user", f"/users/{name}", f"/tenants/{tenant}", "/catalog/services/app", f"/clusters/{made['id']}",
             f"/clusters/{made['id']}/plan", f"/executions/{made['execution_id']}"]
    for path in paths:
        answer = bastide.api("GET", path, tenant=tenant).expect(200)
        tag = answer.headers["ETag"]
        assert tag.startswith('"') and tag.endswith('"') and len(tag) == 34, path
        again = bastide.api("GET", path, tenant=tenant, headers={"If-None-Match": f'"x", {tag}'})
        if path != "/user":  # says when one was here last
            assert again.status == 304 and again.body == b"" and again.headers["ETag"] == tag, path
        bastide.api("GET", path, tenant=tenant, headers={"If-None-Match": '"x"'}).expect(200)
    for path in ("/users", "/clusters", "/version"):
        assert "ETag" not in bastide.api("GET", path, tenant=tenant).expect(200).headers


def test_tags_tell_nothing_about_other_tenants(bastide, people):
    """Equal objects have different tags in different tenants; and a tag outlives a restart."""
    one, two = people.tenant(), people.tenant()
    tags = set()
    for tenant in (one, two):
        bastide.api("PUT", "/catalog/hardwaretypes/x", {"name": "x", "providermap": {}}, tenant=tenant).expect(201)
        tags.add(bastide.api("GET", "/catalog/hardwaretypes/x", tenant=tenant).headers["ETag"])
    assert len(tags) == 2


def test_tag_outlives_a_restart(breakable):
    tag = breakable.api("GET", f"/tenants/{DEFAULT_TENANT}").headers["ETag"]
    breakable.restart("manager")
    assert breakable.api("GET", f"/tenants/{DEFAULT_TENANT}").headers["ETag"] == tag


def test_if_match(bastide, tenant):
    path = "/catalog/hardwaretypes/x"

    def put(text, status, **headers):
        headers = {name.replace("_", "-"): value for name, value in headers.items()}
        body = {"name": "x", "description": text, "providermap": {}}
        return bastide.api("PUT", path, body, tenant=tenant, headers=headers).expect(status)

    assert put("a", 412, If_Match='"x"').field == "If-Match"
    put("a", 412, If_Match="*")
    put("a", 201, If_None_Match="*")
    assert put("b", 412, If_None_Match="*").field == "If-None-Match"
    tag = bastide.api("GET", path, tenant=tenant).headers["ETag"]
    put("b", 412, If_Match="W/" + tag)
    put("b", 412, If_Match=tag.strip('"'))
    refused = put("b", 412, If_Match='"' + "0" * 32 + '"')
    assert record_of(bastide, refused)["details"] == {"error": "precondition_failed"}
    put("b", 201, If_Match=f'"other", {tag}')
    put("c", 412, If_Match=tag)
    put("c", 201, If_Match="*")
    bastide.api("DELETE", path, tenant=tenant, headers={"If-Match": tag}).expect(412)
    tag = bastide.api("GET", path, tenant=tenant).headers["ETag"]
    bastide.api("DELETE", path, tenant=tenant, headers={"If-Match": tag}).expect(204)


def test_one_of_many_writers_wins(bastide, tenant):
    path = "/catalog/hardwaretypes/race"
    bastide.api("PUT", path, {"name": "race", "providermap": {}}, tenant=tenant).expect(201)
    tag = bastide.api("GET", path, tenant=tenant).headers["ETag"]

    def write(number):
        body = {"name": "race", "description": str(number), "providermap": {}}
        return bastide.api("PUT", path, body, tenant=tenant, headers={"If-Match": tag}).status

    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        statuses = sorted(pool.map(write, range(16)))
    assert statuses == [201] + [412] * 15


# Idempotency-Key -----------------------------------------------------------------------------------------------------

def keyed(bastide, key, method, path, body=None, **more):
    return bastide.api(method, path, body, headers={"Idempotency-Key": key}, **more)


def test_repetition_gets_the_same_answer(bastide, unique, tenant):
    name, key = unique("tenant"), unique("key")
    first = keyed(bastide, key, "POST", f"/tenants/{name}", {}).expect(201)
    assert "Idempotency-Replayed" not in first.headers
    again = keyed(bastide, key, "POST", f"/tenants/{name}", {}).expect(201)
    assert again.body == first.body and again.headers["Idempotency-Replayed"] == "true"
    assert again.headers["Content-Type"] == first.headers["Content-Type"]
    assert record_of(bastide, again)["outcome"] == "replayed"
    assert record_of(bastide, first)["outcome"] == "done"
    # another request with the key
    for method, path, body in (("POST", f"/tenants/{name}", {"description": "x"}), ("DELETE", f"/tenants/{name}", None),
                               ("POST", f"/tenants/{name}x", {})):
        answer = keyed(bastide, key, method, path, body).expect(422)
        assert answer.error == "idempotency_key_reused" and answer.field == "Idempotency-Key"
    # on a pool thread, with an answer that is made after the transaction
    key, body = unique("key"), {"name": unique("c"), "template": "one", "nodes": 1}
    first = keyed(bastide, key, "POST", "/clusters", body, tenant=tenant).expect(202)
    again = keyed(bastide, key, "POST", "/clusters", body, tenant=tenant).expect(202)
    assert again.json == first.json and len(bastide.api("GET", "/clusters", tenant=tenant).items) == 1
    # without content
    name, key = unique("tenant"), unique("key")
    bastide.api("POST", f"/tenants/{name}", {}).expect(201)
    for _ in range(2):
        assert keyed(bastide, key, "DELETE", f"/tenants/{name}").expect(204).body == b""


def test_keys_belong_to_an_account_and_a_tenant(bastide, unique, people):
    key, body = unique("key"), {"name": "x", "providermap": {}}
    one, two = people.tenant(), people.tenant()
    other = people.make("manager", one)
    path = "/catalog/hardwaretypes/x"
    assert keyed(bastide, key, "PUT", path, body, tenant=one).expect(201).json["version"] == 1
    assert keyed(bastide, key, "PUT", path, body, tenant=two).expect(201).json["version"] == 1
    answer = keyed(bastide, key, "PUT", path, body, tenant=one, token=other)
    assert answer.status == 200 and "Idempotency-Replayed" not in answer.headers


def test_a_failed_request_may_be_tried_again_with_its_key(bastide, unique, people):
    name, key = unique("person"), unique("key")
    tenant = people.tenant()
    body = {"tenant_name": tenant, "username": name, "role": "viewer"}
    assert keyed(bastide, key, "PUT", "/tenants/users", body).status in (400, 404)
    bastide.api("PUT", "/users", {"username": name, "password": PASSWORD}).expect(201)
    keyed(bastide, key, "PUT", "/tenants/users", body).expect(201)


def test_secret_answers_are_not_kept(bastide, unique):
    for path, body in (("/tokens", {"description": "once"}), ("/provisioners/enrolment-tokens", {"name": unique("p")})):
        key = unique("key")
        first = keyed(bastide, key, "POST", path, body).expect(201).json
        again = keyed(bastide, key, "POST", path, body).expect(409)
        assert "shown once" in again.json["message"] and first["id"] in again.json["message"]
        assert first["value"] not in again.body.decode()
        for data in bastide.data_files():
            assert first["value"].encode() not in data.read_bytes(), data


def test_repetition_needs_the_right_again(bastide, unique, people):
    """Who lost it gets no old answer."""
    tenant = people.tenant()
    name = people.account()
    people.join(name, tenant, "manager")
    token, key, body = people.token(name, tenant=tenant), unique("key"), {"name": "x", "providermap": {}}
    keyed(bastide, key, "PUT", "/catalog/hardwaretypes/x", body, token=token, tenant=tenant).expect(201)
    bastide.api("PATCH", "/tenants/users", {"tenant_name": tenant, "username": name, "role": "viewer"}).expect(200)
    keyed(bastide, key, "PUT", "/catalog/hardwaretypes/x", body, token=token, tenant=tenant).expect(403)


@pytest.mark.parametrize("key", ["", " ", "a b", "ä", "x" * 256])
def test_bad_keys(bastide, key):
    answer = bastide.api("POST", "/tokens", {}, headers={"Idempotency-Key": key.encode()})
    assert answer.status == 400


def test_the_same_request_from_many_sides_at_once(bastide, unique, people):
    tenant = people.tenant()
    key, body = unique("key"), {"name": "race", "providermap": {}}

    def write(_):
        return keyed(bastide, key, "PUT", "/catalog/hardwaretypes/race", body, tenant=tenant)

    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(write, range(16)))
    good = [answer for answer in answers if answer.status == 201]
    assert good and all(answer.json["version"] == 1 for answer in good)
    assert {answer.status for answer in answers} <= {201, 409}
    outcomes = [row["outcome"] for row in bastide.api("GET", "/audit", query={"object": "hardwaretypes:race",
                                                                            "tenant": tenant}).items]
    assert outcomes.count("done") == 1


def test_keys_expire(breakable, unique):
    key = unique("key")
    keyed(breakable, key, "POST", "/tenants/expired", {}).expect(201)
    breakable.api("DELETE", "/tenants/expired").expect(204)
    keyed(breakable, key, "POST", "/tenants/expired", {}).expect(201)  # the old answer
    breakable.api("GET", "/tenants/expired").expect(404)
    breakable.stop("manager")
    breakable.sql("update idempotency_keys set created_at = created_at - 86400000000")
    breakable.start("manager")
    keyed(breakable, key, "POST", "/tenants/expired", {}).expect(201)
    breakable.api("GET", "/tenants/expired").expect(200)
