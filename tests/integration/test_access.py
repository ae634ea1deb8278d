# SPDX-License-Identifier: Apache-2.0
"""Groups, roles, visibility and grants from outside: the matrix of objects, escalation, isolation of tenants."""

import json
import pathlib

import pytest

from conftest import PASSWORD
from installation import DEFAULT_TENANT
from samples import SMALL, pack_bundle, prepare_tenant, upload

HERE = pathlib.Path(__file__).resolve().parent
SITUATIONS = ("own", "other", "vother", "manager", "read", "use", "write", "grant", "vwrite", "vtenant", "group",
              "foreign", "global", "admin")
CLUSTER = {"template": "one", "nodes": 1}
HARDWARE = {"providermap": {"here": {"flavor": "256M"}}}


def read_expected_objects():
    """{(method, path): {situation: sign}}"""
    table = {}
    for line in (HERE / "expected_objects.txt").read_text().splitlines():
        if line and not line.startswith("#"):
            method, path, *signs = line.split()
            assert len(signs) == len(SITUATIONS) and set(signs) <= set("+-x."), line
            table[method, path] = dict(zip(SITUATIONS, signs))
    return table


EXPECTED_OBJECTS = read_expected_objects()


class Scene:
    """A tenant with people, a private object and one of the tenant of each kind, and grants on them."""

    def __init__(self, bastide, people):
        self.bastide, self.people = bastide, people
        self.tenant, self.elsewhere = people.tenant(), people.tenant()
        prepare_tenant(bastide, self.tenant)
        self.names = {what: people.account() for what in ("own", "other", "read", "use", "write", "grant", "group")}
        self.names |= {what: people.account() for what in ("vother", "vwrite")}
        for what, name in self.names.items():
            people.join(name, self.tenant, "viewer" if what.startswith("v") else "manager" if what == "own" else "user")
        self.tokens = {what: people.token(name, tenant=self.tenant) for what, name in self.names.items()}
        self.tokens["vtenant"] = self.tokens["vother"]
        self.tokens["manager"] = people.make("manager", self.tenant)
        self.tokens["foreign"] = self.tokens["global"] = people.make("manager", self.elsewhere)
        self.tokens["admin"] = bastide.admin_token
        group = people.group(self.names["group"], tenants={self.tenant: "viewer"})
        self.private, self.shared, self.global_document = {}, {}, "everybodys-" + self.tenant
        for objects, name in ((self.private, "private"), (self.shared, "shared")):
            self.make(objects, name)
        self.make_document(self.global_document)
        self.set_visibility(f"/catalog/hardwaretypes/{self.global_document}", "global")
        people.join(self.names["own"], self.tenant, "user")  # the owner is no more than a user now
        for path in self.bases(self.private):
            self.set_visibility(path, "private")
            for right in ("read", "use", "write", "grant"):
                self.grant(path, [right], username=self.names[right])
            self.grant(path, ["read", "use", "write", "grant"], group_name=group)
        for path in self.bases(self.shared):
            self.grant(path, ["write"], username=self.names["vwrite"])

    def as_owner(self, method, path, body=None, **more):
        return self.bastide.api(method, path, body, token=self.tokens["own"], tenant=self.tenant, **more)

    def make_document(self, name):
        self.as_owner("PUT", f"/catalog/hardwaretypes/{name}", {"name": name, **HARDWARE}).expect(201)

    def make(self, objects, name):
        self.make_document(name)
        made = self.as_owner("POST", "/clusters", {"name": name, **CLUSTER}).expect(202).json
        digest = upload(self.bastide, self.tenant, pack_bundle(name=name), self.tokens["own"]).expect(201).json["digest"]
        node = self.as_owner("GET", "/nodes", query={"cluster_id": made["id"]}).items[0]["id"]
        objects.update(name=name, cluster=made["id"], execution=made["execution_id"], digest=digest, node=node)

    @staticmethod
    def bases(objects):
        return f"/catalog/hardwaretypes/{objects['name']}", f"/clusters/{objects['cluster']}", f"/bundles/{objects['digest']}"

    def set_visibility(self, path, visibility, token=None):
        return self.bastide.api("PATCH", path + "/set-visibility", {"visibility": visibility}, tenant=self.tenant,
                                token=token or self.bastide.admin_token).expect(200)

    def grant(self, path, rights, token=None, **subject):
        return self.bastide.api("PUT", path + "/grants", {"rights": rights, **subject}, tenant=self.tenant,
                                token=token or self.bastide.admin_token).expect(200)

    def fill(self, path, objects):
        identifier = (objects["node"] if path.startswith("/nodes") else
                      objects["execution"] if path.startswith("/executions") else
                      objects["execution"] + "-1" if path.startswith("/operations") else objects["cluster"])
        return (path.replace("{kind}", "hardwaretypes").replace("{name}", objects["name"])
                .replace("{digest}", objects["digest"]).replace("{id}", identifier))


@pytest.fixture(scope="session", name="scene")
def set_scene(bastide, people):
    return Scene(bastide, people)


# The matrix ----------------------------------------------------------------------------------------------------------


def test_s16_every_route_about_an_object_is_expected(bastide):
    document = json.loads(bastide.run("manager", "openapi"))
    of_tenants = {(method.upper(), path) for path, methods in document["paths"].items() for method in methods
                  if path.startswith(("/catalog/{kind}/{name}", "/clusters/{", "/nodes/{", "/executions/{", "/operations",
                                      "/bundles/{"))}
    assert of_tenants == set(EXPECTED_OBJECTS)


def test_s16_who_may_what_with_one_object(scene):
    """SV4, SV5, SV10, SV11, S16: the whole matrix of expected_objects.txt."""
    wrong = []
    # What deletes comes last in the file of its kind; a document is made again after it.
    for (method, path), signs in EXPECTED_OBJECTS.items():
        for situation, sign in signs.items():
            if sign == ".":
                continue
            objects = scene.shared if situation in ("vwrite", "vtenant") else scene.private
            if situation == "global":
                objects = {**objects, "name": scene.global_document}
            tenant = scene.elsewhere if situation in ("foreign", "global") else scene.tenant
            query = {"execution_id": objects["execution"]} if path == "/operations" else None
            body = None if method == "GET" else {}
            answer = scene.bastide.api(method, scene.fill(path, objects), body, token=scene.tokens[situation],
                                       tenant=tenant, query=query)
            found = {401: "0", 403: "-", 404: "x"}.get(answer.status, "+")
            if b"was not planned by a request of its own" in answer.body:  # let through: the execution has no plan
                found = "+"
            if found != sign or answer.status >= 500:
                wrong.append(f"{method} {path} by {situation}: {answer.status}, expected {sign}: {answer.body[:200]!r}")
            if method == "DELETE" and answer.status == 204 and path == "/catalog/{kind}/{name}":
                remake(scene, objects)
    assert not wrong, "\n".join(wrong)


def remake(scene, objects):
    """The document that was just deleted, with its owner, visibility and grants."""
    scene.people.join(scene.names["own"], scene.tenant, "manager")
    scene.make_document(objects["name"])
    scene.people.join(scene.names["own"], scene.tenant, "user")
    path = scene.bases(objects)[0]
    if objects is scene.private:
        scene.set_visibility(path, "private")
        for right in ("read", "use", "write", "grant"):
            scene.grant(path, [right], username=scene.names[right])
        group = scene.bastide.api("GET", f"/users/{scene.names['group']}", query={"_get_data": "true"}).json["groups"][0]
        scene.grant(path, ["read", "use", "write", "grant"], group_name=group)
    else:
        scene.grant(path, ["write"], username=scene.names["vwrite"])


# Lists ---------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="session", name="hidden")
def hide_objects(bastide, people):
    """A scene of its own, with canary strings in everything private."""
    return Scene(bastide, people)


def ids_of(bastide, path, token, tenant, member, **query):
    answer = bastide.api("GET", path, token=token, tenant=tenant, query={"_size": 1000, **query}).expect(200).json
    items = answer["items"]
    if path not in ("/events",):
        assert answer["metadata"]["pagination"]["total"] == len(items)
    return {item[member] for item in items}


def test_sv11_lists_show_what_one_sees(hidden):
    """Lists, totals, filters and the export agree with what can be read one by one."""
    bastide, tenant = hidden.bastide, hidden.tenant
    for situation, sees in (("own", True), ("other", False), ("vother", False), ("manager", True), ("read", True),
                            ("group", True), ("admin", True)):
        token = hidden.tokens[situation]
        for path, member, key in (("/clusters", "id", "cluster"), ("/nodes", "id", "node"), ("/bundles", "digest", "digest"),
                                  ("/executions", "id", "execution"), ("/catalog/hardwaretypes", "name", "name"),
                                  ("/events", "cluster_id", "cluster")):
            found = ids_of(bastide, path, token, tenant, member)
            assert (hidden.private[key] in found) == sees, (situation, path)
            assert hidden.shared[key] in found, (situation, path)
        names = [row["name"] for row in bastide.api("GET", "/catalog/export", token=token, tenant=tenant).json["hardwaretypes"]]
        assert ("private" in names) == sees and "shared" in names
        cluster = {"cluster_id": hidden.private["cluster"]}
        for path in ("/nodes", "/executions", "/events"):
            assert bool(bastide.api("GET", path, token=token, tenant=tenant, query=cluster).items) == sees, (situation, path)
        found = ids_of(bastide, "/clusters", token, tenant, "id", name="private")
        assert found == ({hidden.private["cluster"]} if sees else set())


def test_sv11_global_documents_are_listed_and_planned_everywhere(hidden):
    bastide, token, name = hidden.bastide, hidden.tokens["foreign"], hidden.global_document
    rows = bastide.api("GET", "/catalog/hardwaretypes", token=token).items
    (row,) = [row for row in rows if row["name"] == name]
    assert row["visibility"] == "global" and row["created_by"] is None
    document = bastide.api("GET", f"/catalog/hardwaretypes/{name}", token=token).expect(200)
    assert document.json["created_by"] is None and hidden.tenant not in document.body.decode().replace(name, "")
    # Nobody makes one of that name now, by whatever way.
    body = {"name": name, **HARDWARE}
    bastide.api("PUT", f"/catalog/hardwaretypes/{name}", body, token=token).expect(403)
    bastide.api("POST", "/catalog/import", {"hardwaretypes": [body]}, token=token).expect(403)


def test_sv11_visibility_has_its_rules(hidden, people):
    bastide, tenant = hidden.bastide, hidden.tenant
    cluster, document = f"/clusters/{hidden.shared['cluster']}", "/catalog/hardwaretypes/shared"

    def change(path, body, token=hidden.tokens["manager"]):
        return bastide.api("PATCH", path + "/set-visibility", body, token=token, tenant=tenant)

    assert change(document, {"visibility": "global"}).expect(403)  # the installation's administrators only
    assert change(cluster, {"visibility": "global"}, bastide.admin_token).expect(400).field == "visibility"
    assert change("/catalog/providers/here", {"visibility": "global"}, bastide.admin_token).expect(400).field == "visibility"
    for body in ({}, {"visibility": "public"}, {"visibility": 1}, {"visibility": "private", "owner": "me"}):
        assert change(document, body).expect(400).error == "bad_field"
    other = people.tenant()
    bastide.api("PUT", "/catalog/hardwaretypes/shared", {"name": "shared", **HARDWARE}, tenant=other).expect(201)
    conflict = change(document, {"visibility": "global"}, bastide.admin_token).expect(409)
    assert other not in conflict.body.decode()
    assert change(document, {"visibility": "private"}).expect(200).json["owner"] == hidden.names["own"]
    assert bastide.api("GET", document, token=hidden.tokens["other"], tenant=tenant).status == 404
    change(document, {"visibility": "tenant"}).expect(200)
    assert bastide.api("GET", document, token=hidden.tokens["other"], tenant=tenant).json["visibility"] == "tenant"


def test_sv11_a_stream_stops_at_once(hidden):
    """What becomes private does not come through streams that are open already."""
    bastide, tenant = hidden.bastide, hidden.tenant
    made = bastide.api("POST", "/clusters", {"name": "streamed", **CLUSTER}, token=hidden.tokens["manager"], tenant=tenant)
    mine = bastide.api("POST", "/clusters", {"name": "mine", **CLUSTER}, token=hidden.tokens["other"], tenant=tenant)
    with bastide.events(hidden.tokens["other"], tenant, after=0) as stream:
        while stream.next_event()["data"]["cluster_id"] != mine.expect(202).json["id"]:
            pass
        hidden.set_visibility(f"/clusters/{made.expect(202).json['id']}", "private")
        for cluster in (made.json["id"], mine.json["id"]):  # both make events, one of them is seen
            bastide.api("DELETE", f"/clusters/{cluster}", tenant=tenant).expect(202)
        while (event := stream.next_event()["data"])["cluster_id"] != mine.json["id"]:
            assert event["cluster_id"] != made.json["id"]


def test_private_documents_are_not_planned_with_by_others(hidden):
    """SV11: a plan of somebody else fails as if the document did not exist; a right to use is enough, one to read is not."""
    bastide, tenant = hidden.bastide, hidden.tenant
    request = {"name": "p", "template": "secret-template", "nodes": 1}
    template = {**SMALL["clustertemplates"][0], "name": "secret-template"}
    bastide.api("PUT", "/catalog/clustertemplates/secret-template", template, tenant=tenant).expect(201)
    hidden.set_visibility("/catalog/clustertemplates/secret-template", "private")
    plan = lambda who: bastide.api("POST", "/cluster-plans", request, token=hidden.tokens[who], tenant=tenant)
    refused = plan("other").expect(400).body.decode()
    unknown = bastide.api("POST", "/cluster-plans", {**request, "template": "no-such-template"}, token=hidden.tokens["other"],
                          tenant=tenant).expect(400).body.decode()
    strip = lambda text, name: {k: v for k, v in json.loads(text.replace(name, "?")).items() if k != "instance"}
    assert strip(refused, "secret-template") == strip(unknown, "no-such-template")
    path = "/catalog/clustertemplates/secret-template"
    hidden.grant(path, ["read"], username=hidden.names["other"])
    plan("other").expect(400)
    hidden.grant(path, ["read", "use"], username=hidden.names["other"])
    plan("other").expect(200)
    body = {"username": hidden.names["other"]}
    bastide.api("DELETE", path + "/grants", body, tenant=tenant).expect(204)
    plan("other").expect(400)
    bastide.api("DELETE", path + "/grants", body, tenant=tenant).expect(404)


# Grants --------------------------------------------------------------------------------------------------------------


def test_sv5_nobody_gives_what_he_lacks(hidden):
    bastide, tenant = hidden.bastide, hidden.tenant
    path = f"/clusters/{hidden.private['cluster']}/grants"

    def give(who, rights, **subject):
        subject = subject or {"username": hidden.names["other"]}
        return bastide.api("PUT", path, {"rights": rights, **subject}, token=hidden.tokens[who], tenant=tenant)

    give("grant", ["grant"]).expect(200)
    for rights in (["read"], ["write"], ["grant", "use"]):
        assert give("grant", rights).expect(403).field == "rights"
    give("read", ["read"]).expect(403)
    give("own", ["read", "use", "write"]).expect(200)  # a user has these on clusters
    give("vother", ["read"]).expect(403)
    for rights in ([], ["everything"], "read", [1], ["read"] * 5):
        assert give("manager", rights).expect(400).field == "rights"
    assert give("manager", ["read"], username="a", group_name="b").expect(400).field == "username"
    stranger = hidden.people.account()
    there, nowhere = (give("manager", ["read"], username=name).expect(404) for name in (stranger, "nobody-at-all"))
    assert there.body.decode().replace(stranger, "?")[:60] == nowhere.body.decode().replace("nobody-at-all", "?")[:60]
    give("manager", ["read"], group_name="no-such-group").expect(404)
    rows = {row["subject"]: row for row in bastide.api("GET", path, token=hidden.tokens["manager"], tenant=tenant).items}
    assert rows[hidden.names["other"]]["rights"] == ["read", "use", "write"]
    assert rows[hidden.names["own"]]["rights"] == ["grant"]
    bastide.api("DELETE", path, {"username": hidden.names["other"]}, token=hidden.tokens["manager"], tenant=tenant).expect(204)


def test_sv5_the_owners_right_to_grant_can_be_taken(hidden):
    bastide, tenant = hidden.bastide, hidden.tenant
    made = bastide.api("POST", "/clusters", {"name": "taken", **CLUSTER}, token=hidden.tokens["other"], tenant=tenant)
    path = f"/clusters/{made.expect(202).json['id']}/grants"
    owner = {"username": hidden.names["other"]}
    bastide.api("GET", path, token=hidden.tokens["other"], tenant=tenant).expect(200)
    bastide.api("DELETE", path, owner, token=hidden.tokens["manager"], tenant=tenant).expect(204)
    bastide.api("GET", path, token=hidden.tokens["other"], tenant=tenant).expect(403)


def test_grants_do_not_outlive_account_or_object(bastide, people):
    tenant = people.tenant()
    owner = people.make("manager", tenant)
    name, body = people.account(), {"name": "d", **HARDWARE}
    people.join(name, tenant, "viewer")
    path = "/catalog/hardwaretypes/d"
    bastide.api("PUT", path, body, token=owner).expect(201)
    grant = {"username": name, "rights": ["write"]}
    bastide.api("PUT", path + "/grants", grant, token=owner).expect(200)
    bastide.api("DELETE", path, token=owner).expect(204)
    bastide.api("PUT", path, body, token=owner).expect(201)  # the same name, another object
    assert name not in {row["subject"] for row in bastide.api("GET", path + "/grants", token=owner).items}
    bastide.api("PUT", path + "/grants", grant, token=owner).expect(200)
    bastide.api("DELETE", f"/users/{name}").expect(204)
    bastide.api("PUT", "/users", {"username": name, "password": PASSWORD}).expect(201)  # the same name, another account
    people.join(name, tenant, "viewer")
    bastide.api("DELETE", path, token=people.token(name, tenant=tenant)).expect(403)


# Groups, roles, permissions ------------------------------------------------------------------------------------------


def test_sv9_group_from_beginning_to_end(bastide, people):
    name, member, tenant = "g-" + people.account(), people.account(), people.tenant()
    made = bastide.api("POST", "/user-groups", {"group_name": name, "ldap_group_dn": f"cn={name}"}).expect(201).json
    assert made == {**made, "name": name, "ldap_dn": f"cn={name}", "role": None, "users": [], "tenants": {}}
    bastide.api("POST", "/user-groups", {"group_name": name}).expect(409)
    assert bastide.api("POST", "/user-groups", {"group_name": name + "2", "ldap_group_dn": f"cn={name}"}).expect(409).field == "ldap_group_dn"
    token = people.token(member)
    bastide.api("GET", "/clusters", token=token, tenant=tenant).expect(401)
    bastide.api("PUT", "/user-groups/users", {"username": member, "group_name": name}).expect(200)
    bastide.api("PUT", "/tenants/user-groups", {"tenant_name": tenant, "group_name": name, "role": "viewer"}).expect(201)
    bastide.api("GET", "/clusters", token=token, tenant=tenant).expect(200)
    bastide.api("POST", "/cluster-plans", {}, token=token, tenant=tenant).expect(403)
    bastide.api("PATCH", "/tenants/user-groups", {"tenant_name": tenant, "group_name": name, "role": "user"}).expect(200)
    bastide.api("POST", "/cluster-plans", {}, token=token, tenant=tenant).expect(400)
    assert [row["name"] for row in bastide.api("GET", "/tenants", token=token).items] == [tenant]
    shown = bastide.api("GET", f"/tenants/{tenant}", token=token).expect(200).json
    assert shown["groups"] == [name] and shown["user_roles"] == {"direct": {}, "groups": {member: {"user": [name]}}}
    assert bastide.api("GET", f"/user-groups/{name}").json["users"] == [member]
    listed = {row["name"]: row for row in bastide.api("GET", "/user-groups", query={"_size": 1000}).items}
    assert (listed[name]["users"], listed[name]["tenants"]) == (1, 1)
    in_full = bastide.api("GET", "/user-groups", query={"_get_data": "true", "name": name}).items
    assert in_full[0]["users"] == [member] and in_full[0]["tenants"] == {tenant: "user"}
    bastide.api("DELETE", f"/user-groups/{name}").expect(409)
    bastide.api("DELETE", "/user-groups/users", {"username": member, "group_name": name}).expect(204)
    bastide.api("GET", "/clusters", token=token, tenant=tenant).expect(401)
    bastide.api("DELETE", "/user-groups/users", {"username": member, "group_name": name}).expect(404)
    bastide.api("DELETE", "/tenants/user-groups", {"tenant_name": tenant, "group_name": name}).expect(204)
    bastide.api("DELETE", f"/user-groups/{name}").expect(204)
    bastide.api("GET", f"/user-groups/{name}").expect(404)


@pytest.mark.parametrize("method, path, body, field", [
    ("POST", "/user-groups", {}, "group_name"), ("POST", "/user-groups", {"group_name": "a b"}, "group_name"),
    ("POST", "/user-groups", {"group_name": "users"}, "group_name"), ("POST", "/user-groups", {"group_name": "x", "role": "viewer"}, "role"),
    ("POST", "/user-groups", {"group_name": "x", "role": "nothing"}, "role"),
    ("POST", "/user-groups", {"group_name": "x", "members": []}, "members"),
    ("PUT", "/tenants/user-groups", {"tenant_name": DEFAULT_TENANT}, "group_name"),
    ("POST", "/roles", {"name": "x"}, "type"), ("POST", "/roles", {"name": "x", "type": "both"}, "type"),
    ("POST", "/roles", {"name": "1x", "type": "tenant"}, "name"),
], ids=str)
def test_bad_bodies(bastide, method, path, body, field):
    assert bastide.api(method, path, body).expect(400).field == field


def test_sv8_role_of_ones_own(bastide, people, unique):
    role, tenant = unique("role"), people.tenant()
    bastide.api("POST", "/roles", {"name": role, "type": "tenant", "description": "lists"}).expect(201)
    bastide.api("POST", "/roles", {"name": role, "type": "system"}).expect(409)
    bastide.api("POST", "/roles", {"name": "manager", "type": "tenant"}).expect(409)
    token = people.make(role, tenant)
    bastide.api("GET", "/clusters", token=token).expect(403)
    bastide.api("PUT", f"/permissions/{role}/cluster_list").expect(200)
    bastide.api("GET", "/clusters", token=token).expect(200)  # at once
    assert bastide.api("GET", f"/roles/{role}").json["permissions"] == ["cluster_list"]
    assert [row["permission"] for row in bastide.api("GET", f"/permissions/{role}").items] == ["cluster_list"]
    bastide.api("DELETE", f"/permissions/{role}/cluster_list").expect(204)
    bastide.api("DELETE", f"/permissions/{role}/cluster_list").expect(404)
    bastide.api("GET", "/clusters", token=token).expect(403)
    bastide.api("DELETE", f"/roles/{role}").expect(409)  # somebody has it
    bastide.api("PUT", f"/permissions/{role}/no_such").expect(404)
    bastide.api("PUT", "/permissions/no-such/cluster_list").expect(404)
    bastide.api("DELETE", "/roles/viewer").expect(409)
    unused = unique("role")
    bastide.api("POST", "/roles", {"name": unused, "type": "system"}).expect(201)
    bastide.api("DELETE", f"/roles/{unused}").expect(204)


def test_sv8_built_in_roles_change_at_run_time(bastide, people):
    token = people.make("viewer", people.tenant())
    bastide.api("POST", "/cluster-plans", {}, token=token).expect(403)
    bastide.api("PUT", "/permissions/viewer/cluster_plan").expect(200)
    try:
        bastide.api("POST", "/cluster-plans", {}, token=token).expect(400)
    finally:
        bastide.api("DELETE", "/permissions/viewer/cluster_plan").expect(204)
    bastide.api("POST", "/cluster-plans", {}, token=token).expect(403)
    bastide.api("DELETE", "/permissions/viewer/cluster_list").expect(204)
    try:
        bastide.api("GET", "/clusters", token=token).expect(403)
    finally:
        bastide.api("PUT", "/permissions/viewer/cluster_list").expect(200)
    bastide.api("GET", "/clusters", token=token).expect(200)


def test_s20_nobody_raises_himself(bastide, people, unique):
    """S20: who may put people into groups and tenants gives no more than he has."""
    role, tenant = unique("role"), people.tenant()
    bastide.api("POST", "/roles", {"name": role, "type": "system"}).expect(201)
    for permission in ("user_group_add_user", "user_group_create", "user_group_update", "tenant_add_user", "tenant_add_group",
                       "all_tenants", "cluster_list"):
        bastide.api("PUT", f"/permissions/{role}/{permission}").expect(200)
    helper = people.account()
    lifted, weak = people.group(helper, role=role), people.group()
    strong, tenants = people.group(role="sys_admin"), people.group(tenants={tenant: "manager"})
    token = people.token(helper)
    add = lambda group, name: bastide.api("PUT", "/user-groups/users", {"username": name, "group_name": group}, token=token)
    add(weak, helper).expect(200)
    add(lifted, people.account()).expect(200)
    for group in (strong, tenants):
        add(group, helper).expect(403)
        add(group, people.account()).expect(403)
    bastide.api("POST", "/user-groups", {"group_name": unique("g"), "role": "sys_admin"}, token=token).expect(403)
    bastide.api("POST", f"/user-groups/{lifted}", {"role": "sys_admin"}, token=token).expect(403)
    bastide.api("POST", f"/user-groups/{strong}", {"role": ""}, token=token).expect(403)
    for method, path, subject in (("PUT", "/tenants/users", {"username": helper}), ("PUT", "/tenants/user-groups", {"group_name": weak})):
        bastide.api(method, path, {"tenant_name": tenant, "role": "manager", **subject}, token=token).expect(403)
        bastide.api(method, path, {"tenant_name": tenant, "role": "sys_admin", **subject}, token=token).expect(400)


def test_s20_tenant_roles_do_not_reach_the_installation(bastide, people, unique):
    role, tenant = unique("role"), people.tenant()
    bastide.api("POST", "/roles", {"name": role, "type": "tenant"}).expect(201)
    bastide.api("PUT", f"/permissions/{role}/user_list").expect(409)
    bastide.api("PUT", "/permissions/manager/user_create").expect(409)
    manager = people.make("manager", tenant)
    for method, path, body in (("PUT", "/tenants/users", {"tenant_name": tenant, "username": "admin", "role": "viewer"}),
                               ("POST", f"/tenants/{unique('t')}", {}), ("GET", "/users", None),
                               ("PUT", "/permissions/manager/bundle_approve", None)):
        bastide.api(method, path, body, token=manager).expect(403)


def test_s20_administration_stays(bastide, people, unique):
    """S20, SV23: sys_admin is untouchable, some permissions are of administrators alone, and one of them stays."""
    bastide.api("DELETE", "/permissions/sys_admin/user_list").expect(409)
    bastide.api("PUT", "/permissions/sys_admin/user_list").expect(409)
    role = unique("role")
    bastide.api("POST", "/roles", {"name": role, "type": "system"}).expect(201)
    for permission in ("permission_manage", "role_manage"):
        bastide.api("PUT", f"/permissions/{role}/{permission}").expect(409)
    bastide.api("DELETE", "/roles/sys_admin").expect(409)


def test_s20_last_administrator_also_through_groups(breakable):
    """The one who is left administers through a group: he can neither leave it nor can the group lose its role."""
    api = breakable.api
    api("PUT", "/users", {"username": "heir", "password": PASSWORD}).expect(201)
    api("POST", "/user-groups", {"group_name": "heirs", "role": "sys_admin"}).expect(201)
    api("PUT", "/user-groups/users", {"username": "heir", "group_name": "heirs"}).expect(200)
    token = api("POST", "/tokens", {}, user=("heir", PASSWORD)).expect(201).json["value"]
    api("GET", "/users", token=token).expect(200)
    api("POST", "/users/admin", {"role": "default"}, token=token).expect(409)  # the last with the role of his own
    member = {"username": "heir", "group_name": "heirs"}
    api("DELETE", "/user-groups/users", member).expect(204)
    api("GET", "/users", token=token).expect(403)
    api("PUT", "/user-groups/users", member).expect(200)
    api("POST", "/user-groups/heirs", {"role": ""}).expect(200)
    api("DELETE", "/user-groups/users", member).expect(204)
    api("DELETE", "/user-groups/heirs").expect(204)
    api("DELETE", "/users/heir").expect(204)


# Isolation -----------------------------------------------------------------------------------------------------------


def test_s17_ids_of_another_tenant_are_nothing(scene):
    """S17: in path, query, body, filter and sort."""
    bastide, token, private, shared = scene.bastide, scene.tokens["foreign"], scene.private, scene.shared
    for objects in (private, shared):
        for path in ("/nodes", "/executions", "/events"):
            assert bastide.api("GET", path, token=token, query={"cluster_id": objects["cluster"]}).items == []
        assert bastide.api("GET", "/clusters", token=token, query={"id": objects["cluster"]}).items == []
        assert bastide.api("GET", "/clusters", token=token, query={"_search": objects["cluster"][:8]}).items == []
        bastide.api("GET", "/operations", token=token, query={"execution_id": objects["execution"]}).expect(404)
        bastide.api("GET", f"/clusters/{objects['name']}", token=token).expect(404)
        assert bastide.api("GET", "/events", token=token, query={"execution_id": objects["execution"]}).items == []
        body = {"username": scene.names["other"], "rights": ["read"]}
        bastide.api("PUT", f"/clusters/{objects['cluster']}/grants", body, token=token).expect(404)
        request = {"name": "x", "template": "one", "nodes": 1}
        bastide.api("POST", "/cluster-plans", request, token=token).expect(400)
    # The same words as for what never was, but for the name.
    def text(path, what):
        body = bastide.api("GET", path, token=token).expect(404).json
        return {k: v.replace(what, "?") if isinstance(v, str) else v for k, v in body.items() if k != "instance"}
    for there, never in ((shared["cluster"], "nosuchnosuchnosuchno"), (private["cluster"], "nosuchnosuchnosuchno")):
        assert text(f"/clusters/{there}", there) == text(f"/clusters/{never}", never)


@pytest.mark.parametrize("extra", [
    {"tenant": "other"}, {"tenant_id": "other"}, {"owner": "admin"}, {"created_by": "admin"}, {"role": "sys_admin"},
    {"status": "approved"}, {"visibility": "global"}, {"approved_by": "me"}, {"quota": 9}, {"id": "x"}, {"granted_by": "me"},
], ids=lambda extra: next(iter(extra)))
def test_s18_mass_assignment(scene, extra):
    """S18: members that a body does not have are refused, never taken."""
    bastide, token, tenant = scene.bastide, scene.tokens["manager"], scene.tenant
    cluster, document = f"/clusters/{scene.shared['cluster']}", "/catalog/hardwaretypes/shared"
    member = next(iter(extra))
    for method, path, body in (
            ("POST", "/clusters", {"name": "x", **CLUSTER}), ("POST", "/cluster-plans", {"name": "x", **CLUSTER}),
            ("PATCH", cluster + "/set-visibility", {"visibility": "tenant"}),
            ("PUT", cluster + "/grants", {"rights": ["read"], "username": scene.names["other"]}),
            ("PUT", document + "/grants", {"rights": ["read"], "username": scene.names["other"]})):
        if member in body or (member == "visibility" and "set-visibility" in path):
            continue
        assert bastide.api(method, path, {**body, **extra}, token=token, tenant=tenant).expect(400).field == member
    if member not in ("role", "tenant"):
        assert bastide.api("POST", "/user-groups", {"group_name": "x", **extra}).expect(400).field == member
        body = {"tenant_name": DEFAULT_TENANT, "username": "admin", **extra}
        assert bastide.api("PUT", "/tenants/users", body).expect(400).field == member


def test_s19_no_answer_has_anything_of_another_tenant(scene, people, unique):
    """S19: canary strings of one tenant are searched for in every answer that the people of another get."""
    bastide, canary = scene.bastide, "canary" + unique("z")
    victim, other = people.tenant(), people.tenant()
    prepare_tenant(bastide, victim)
    owner = people.account()
    people.join(owner, victim, "manager")
    token = people.token(owner, tenant=victim)
    request = {"name": canary, "description": canary, **CLUSTER}
    made = bastide.api("POST", "/clusters", request, token=token).expect(202).json
    document = {"name": canary, "description": canary, **HARDWARE}
    bastide.api("PUT", f"/catalog/hardwaretypes/{canary}", document, token=token).expect(201)
    digest = upload(bastide, victim, pack_bundle(name=canary), token).expect(201).json["digest"]
    node = bastide.api("GET", "/nodes", token=token).items[0]["id"]
    words = [canary, victim, owner, made["id"], made["execution_id"], digest, node]
    openapi = json.loads(bastide.run("manager", "openapi"))
    spies = [people.make("manager", other), people.make("viewer", other), people.make()]
    fillings = {"{id}": made["id"], "{name}": canary, "{kind}": "hardwaretypes", "{digest}": digest, "{role}": "viewer",
                "{permission}": "cluster_list"}
    found = []
    for path, methods in openapi["paths"].items():
        if "get" not in methods or path == "/events/stream":
            continue
        for identifier in (made["id"], made["execution_id"], node):
            target = path
            for name, value in {**fillings, "{id}": identifier}.items():
                target = target.replace(name, value)
            for spy in spies:
                for query in (None, {"_search": canary}, {"cluster_id": made["id"]}, {"execution_id": made["execution_id"]}):
                    answer = bastide.api("GET", target, token=spy, tenant=other, query=query)
                    assert answer.status < 500
                    asked = target + json.dumps(query)
                    text = answer.body.decode("utf-8", "replace")
                    found += [f"{word} in GET {asked}" for word in words if word in text and word not in asked]
            if "{id}" not in path:
                break
    assert not found, "\n".join(found)


# Lists with filters ---------------------------------------------------------------------------------------------------


def test_lists_filter_sort_search_and_project(bastide, people, unique):
    word = unique("word")
    names = [f"{word}-{letter}" for letter in "cab"]
    for name in names:
        bastide.api("POST", f"/tenants/{name}", {"description": "first" if name.endswith("a") else "rest"}).expect(201)
    get = lambda **query: bastide.api("GET", "/tenants", query={"_search": word, **query}).expect(200).json
    listed = lambda **query: [row["name"] for row in get(**query)["items"]]
    assert listed() == sorted(names) and listed(_sort="-name") == sorted(names, reverse=True)
    assert listed(_search=word.upper()) == sorted(names)
    assert listed(description="first") == [f"{word}-a"]
    assert listed(active="true") == sorted(names) and listed(active="false") == []
    assert listed(_sort="description") == [f"{word}-a", f"{word}-b", f"{word}-c"]
    page = get(_size=1, _offset=1, _sort="name", _include="name,active")
    assert page["items"] == [{"name": f"{word}-b", "active": True}]
    assert page["metadata"]["pagination"] == {"total": 3, "size": 1, "offset": 1}
    for query, field in (({"nothing": "x"}, "nothing"), ({"_sort": "password_hash"}, "_sort"), ({"_include": "name,nothing"}, "_include"),
                         ({"_sort": ""}, "_sort"), ({"_like": "x"}, "_like")):
        assert bastide.api("GET", "/tenants", query=query).expect(400).field == field


@pytest.mark.parametrize("path", ["/users", "/tenants", "/user-groups", "/roles", "/permissions", "/catalog/services", "/clusters",
                                  "/nodes", "/executions", "/bundles", "/permissions/manager"])
def test_every_list_knows_its_columns(bastide, path):
    assert bastide.api("GET", path, query={"no_such_column": "x"}).expect(400).field == "no_such_column"
    assert bastide.api("GET", path, query={"_search": "\u2603 nothing has this"}).expect(200).items == []


def test_changes_of_rights_act_within_a_running_stream(bastide, people):
    """SV8: who leaves the tenant loses the stream, also when nothing happens in it."""
    tenant, name = people.tenant(), people.account()
    group = people.group(name, tenants={tenant: "viewer"})
    with bastide.events(people.token(name), tenant) as stream:
        bastide.api("DELETE", "/user-groups/users", {"username": name, "group_name": group}).expect(204)
        assert stream.next_event() is None


# Explanations --------------------------------------------------------------------------------------------------------


def test_sv23_explanations_name_the_rule(scene):
    bastide, tenant = scene.bastide, scene.tenant

    def explain(asker, who, permission, status=200, **query):
        return bastide.api("GET", "/access/explain", token=scene.tokens[asker], tenant=tenant,
                           query={"user": scene.names[who], "permission": permission, **query}).expect(status).json

    private = {"kind": "cluster", "id": scene.private["cluster"]}
    for who, permission, query, rule in (
            ("own", "cluster_get", private, "owner"), ("other", "cluster_get", private, "hidden"),
            ("read", "cluster_get", private, "sight"), ("read", "cluster_delete", private, "no_grant"),
            ("write", "cluster_delete", private, "grant"), ("group", "cluster_get", private, "sight"),
            ("other", "cluster_get", {"kind": "cluster", "id": scene.shared["name"]}, "tenant_object"),
            ("vother", "cluster_delete", private, "no_permission"), ("other", "cluster_list", {}, "permission"),
            ("other", "user_create", {}, "no_permission"),
            ("other", "cluster_get", {"kind": "cluster", "id": "no-such"}, "hidden")):
        answer = explain("manager", who, permission, **query)
        assert (answer["rule"], answer["username"]) == (rule, scene.names[who]), (who, permission, answer)
        assert answer["allowed"] == (rule in ("owner", "sight", "grant", "tenant_object", "permission"))
        assert answer["text"].startswith(f"'{permission}': ")
    through = explain("manager", "group", "cluster_get", **private)
    assert {(role["role"], role["scope"], role["gives"]) for role in through["roles"]} >= {
        ("user", "tenant", True), ("viewer", "tenant", True), ("default", "system", False)}
    group = next(role["group"] for role in through["roles"] if role["role"] == "viewer")
    assert through["grants"] == [{"kind": "cluster", "id": scene.private["cluster"], "group": group,
                                  "rights": ["read", "use", "write", "grant"]}]
    # Oneself: everybody. Others: who administers. What is hidden from somebody looks to him like nothing.
    hidden, nothing = (explain("other", "other", "cluster_get", kind="cluster", id=name)
                       for name in (scene.private["cluster"], "nosuchnosuchnosuchno"))
    assert {**hidden, "id": ""} == {**nothing, "id": ""}
    explain("other", "own", "cluster_get", status=403)
    ask = lambda **query: bastide.api("GET", "/access/explain", token=scene.tokens["manager"], tenant=tenant, query=query)
    stranger = scene.people.account()
    ask(user=stranger, permission="cluster_get").expect(404)
    assert ask(user=scene.names["own"]).expect(400).field == "permission"
    assert ask(user=scene.names["own"], permission="nothing").expect(400).field == "permission"


def test_sv23_explanations_agree_with_what_happens(scene):
    """The explanation of each reading route is the answer that the route gives."""
    for (method, path), signs in EXPECTED_OBJECTS.items():
        if method != "GET" or not path.startswith(("/clusters/{id}", "/bundles/{digest}", "/catalog/{kind}/{name}")):
            continue
        permission = {"/grants": "resource_grant", "/plan": "cluster_get"}.get("/" + path.rsplit("/", 1)[1])
        for situation in scene.names:
            objects = scene.shared if situation == "vwrite" else scene.private
            kind, identifier, reading = (("cluster", objects["cluster"], "cluster_get") if "clusters" in path else
                                         ("bundle", objects["digest"], "bundle_get") if "bundles" in path else
                                         ("hardware_type", objects["name"], "catalog_get"))
            answer = scene.bastide.api("GET", "/access/explain", tenant=scene.tenant, query={
                "user": scene.names[situation], "permission": permission or reading, "kind": kind, "id": identifier})
            assert answer.expect(200).json["allowed"] == (signs[situation] == "+"), (path, situation, answer.json)


def test_sv23_review_of_a_tenant(scene, people):
    bastide, tenant = scene.bastide, scene.tenant
    get = lambda token: {row["username"]: row for row in
                         bastide.api("GET", "/access/review", token=token, tenant=tenant, query={"_size": 1000}).expect(200).items}
    by_manager, by_auditor = get(scene.tokens["manager"]), get(people.make(system_role="auditor"))
    assert set(scene.names.values()) <= set(by_manager) and "admin" not in by_manager and "admin" in by_auditor
    row = by_manager[scene.names["write"]]
    assert [role["role"] for role in row["roles"] if role["scope"] == "tenant"] == ["user"]
    assert "cluster_delete" in row["permissions"] and "catalog_write" not in row["permissions"]
    assert {grant["kind"] for grant in row["grants"]} == {"cluster", "hardware_type", "bundle"}
    assert by_manager[scene.names["own"]]["owned_objects"] >= 6
    through = by_manager[scene.names["group"]]
    assert any(role["group"] for role in through["roles"]) and any(grant["group"] for grant in through["grants"])
    bastide.api("GET", "/access/review", token=scene.tokens["own"], tenant=tenant).expect(403)
