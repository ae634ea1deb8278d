# SPDX-License-Identifier: Apache-2.0
"""What rights and quotas do to work that is going on: executions that stand still, and no more of anything than allowed."""

import concurrent.futures

import pytest

from conftest import PASSWORD
from installation import DEFAULT_TENANT
from samples import pack_bundle, prepare_tenant, upload
from test_api_internal import Provisioner
from services import wait_until

REQUEST = {"template": "one", "nodes": 1}


@pytest.fixture(name="provisioner")
def enrol_provisioner(bastide, unique, tmp_path):
    provisioner = Provisioner(bastide, unique("provisioner"), tmp_path / "provisioner")
    provisioner.begin()
    yield provisioner
    bastide.api("DELETE", f"/provisioners/{provisioner.id}").expect(204)


@pytest.fixture(name="tenant")
def make_tenant(bastide, people):
    tenant = people.tenant()
    prepare_tenant(bastide, tenant)
    yield tenant
    for execution in bastide.api("GET", "/executions", tenant=tenant).items:
        bastide.api("POST", f"/executions/{execution['id']}", {"action": "force-cancel"}, tenant=tenant)


@pytest.fixture(name="ann")
def make_worker(bastide, people, tenant):
    """(name, token) of somebody who may make clusters."""
    name = people.account()
    people.join(name, tenant, "user")
    return name, people.token(name, tenant=tenant)


def begin_cluster(bastide, provisioner, token):
    """A cluster whose first step was handed out to the provisioner."""
    made = bastide.api("POST", "/clusters", {"name": "c", **REQUEST}, token=token).expect(202).json
    (task,) = provisioner.lease()
    return made["execution_id"], task


def finish(provisioner, task):
    assert provisioner.report(task, **({"result": provisioner.result(task)} if provisioner.result(task) else {})) == "accepted"


def stands_still(bastide, provisioner, tenant, execution):
    """No further step is handed out, and the execution says why."""
    assert provisioner.lease(wait_ms=300) == []
    row = bastide.api("GET", f"/executions/{execution}", tenant=tenant).expect(200).json
    assert row["is_held"] and row["status"] == "started"
    events = bastide.api("GET", "/events", tenant=tenant, query={"execution_id": execution, "_size": 1000}).items
    assert "execution_held" in [event["type"] for event in events]
    return row


# Rights that go in the middle (SV8, S22) -----------------------------------------------------------------------------


def lose_by_deactivation(bastide, name, tenant):
    bastide.api("POST", f"/users/active/{name}", {"action": "deactivate"}).expect(200)


def lose_by_membership(bastide, name, tenant):
    bastide.api("DELETE", "/tenants/users", {"tenant_name": tenant, "username": name}).expect(204)


def lose_by_role(bastide, name, tenant):
    bastide.api("PATCH", "/tenants/users", {"tenant_name": tenant, "username": name, "role": "viewer"}).expect(200)


@pytest.mark.parametrize("lose", [lose_by_deactivation, lose_by_membership, lose_by_role])
def test_s22_work_ends_with_the_right_to_it(bastide, provisioner, tenant, ann, lose):
    """What runs runs to its end; the next step waits for somebody entitled, who answers for it from then on."""
    name, token = ann
    execution, task = begin_cluster(bastide, provisioner, token)
    lose(bastide, name, tenant)
    finish(provisioner, task)
    assert stands_still(bastide, provisioner, tenant, execution)["responsible"] == name
    path = f"/executions/{execution}"
    assert bastide.api("POST", path, {"action": "resume"}, tenant=tenant).expect(200).json["responsible"] == "admin"
    bastide.api("POST", path, {"action": "resume"}, tenant=tenant).expect(409)
    assert provisioner.lease() != []
    assert bastide.api("GET", "/audit", query={"action": "execution_held", "object": f"execution:{execution}"}).items


def test_s22_who_may_not_have_it_done_cannot_have_it_go_on(bastide, people, provisioner, tenant, ann):
    name, token = ann
    execution, task = begin_cluster(bastide, provisioner, token)
    lose_by_role(bastide, name, tenant)
    finish(provisioner, task)
    stands_still(bastide, provisioner, tenant, execution)
    path = f"/executions/{execution}"
    bastide.api("POST", path, {"action": "resume"}, token=token).expect(403)
    bastide.api("POST", path, {"action": "resume"}, token=people.make("manager"), tenant=tenant).expect(401)
    colleague = people.make("operations", tenant)
    assert bastide.api("POST", path, {"action": "resume"}, token=colleague).expect(200).json["is_held"] is False
    assert provisioner.lease() != []


def test_work_that_stands_still_can_be_cancelled(bastide, provisioner, tenant, ann):
    name, token = ann
    execution, task = begin_cluster(bastide, provisioner, token)
    lose_by_deactivation(bastide, name, tenant)
    finish(provisioner, task)
    stands_still(bastide, provisioner, tenant, execution)
    bastide.api("POST", f"/executions/{execution}", {"action": "cancel"}, tenant=tenant).expect(200)
    wait_until(lambda: bastide.api("GET", f"/executions/{execution}", tenant=tenant).json["status"] == "cancelled", 10, "the end")


def test_right_that_came_back_does_not_start_it_by_itself(bastide, provisioner, tenant, ann):
    """Somebody looks at it first; whoever has the right again may be that one."""
    name, token = ann
    execution, task = begin_cluster(bastide, provisioner, token)
    lose_by_deactivation(bastide, name, tenant)
    finish(provisioner, task)
    stands_still(bastide, provisioner, tenant, execution)
    bastide.api("POST", f"/users/active/{name}", {"action": "activate"}).expect(200)
    assert provisioner.lease(wait_ms=300) == []
    bastide.api("POST", f"/executions/{execution}", {"action": "resume"}, token=token).expect(200)
    assert provisioner.lease() != []


# Quotas (SV24) -------------------------------------------------------------------------------------------------------


def test_s23_parallel_creates_against_a_quota(bastide, tenant):
    """200 at a time against a quota of 10 give exactly 10."""
    bastide.api("PATCH", f"/tenants/{tenant}/quotas", {"clusters": 10}).expect(200)
    with concurrent.futures.ThreadPoolExecutor(24) as pool:
        answers = list(pool.map(lambda number: bastide.api("POST", "/clusters", {"name": f"c{number}", **REQUEST}, tenant=tenant),
                                range(200)))
    statuses = [answer.status for answer in answers]
    assert statuses.count(202) == 10 and set(statuses) == {202, 403}, statuses
    assert {answer.error for answer in answers if answer.status == 403} == {"quota_exceeded"}
    usage = bastide.api("GET", f"/tenants/{tenant}/quotas").expect(200).json
    assert usage["clusters"] == {"used": 10, "maximum": 10} and usage["nodes"]["used"] == 10


def test_quota_of_nodes(bastide, tenant):
    bastide.api("PATCH", f"/tenants/{tenant}/quotas", {"nodes": 5}).expect(200)

    def create(name, nodes):
        return bastide.api("POST", "/clusters", {"name": name, "template": "one", "nodes": nodes}, tenant=tenant)

    create("a", 3).expect(202)
    assert "5 nodes" in create("b", 3).expect(403).json["message"]
    create("b", 2).expect(202)
    create("d", 1).expect(403)
    bastide.api("PATCH", f"/tenants/{tenant}/quotas", {"nodes": 0}).expect(200)
    create("d", 1).expect(202)


def test_quota_of_bundles(bastide, tenant):
    used = bastide.api("GET", f"/tenants/{tenant}/quotas").json["bundle_bytes"]["used"]
    archive, other = pack_bundle("x", "2.0"), pack_bundle("y", "2.0")
    bastide.api("PATCH", f"/tenants/{tenant}/quotas", {"bundle_bytes": used + len(archive)}).expect(200)
    upload(bastide, tenant, archive).expect(201)
    upload(bastide, tenant, archive).expect(200)  # is there already
    assert upload(bastide, tenant, other).expect(403).error == "quota_exceeded"


def test_quota_of_running_tasks(bastide, provisioner, tenant):
    """No more steps are handed out at a time; the others wait for those to end."""
    bastide.api("PATCH", f"/tenants/{tenant}/quotas", {"running_tasks": 2}).expect(200)
    bastide.api("POST", "/clusters", {"name": "c", "template": "one", "nodes": 5}, tenant=tenant).expect(202)
    tasks = provisioner.lease()
    assert len(tasks) == 2
    assert provisioner.lease(wait_ms=300) == []
    assert bastide.api("GET", f"/tenants/{tenant}/quotas").json["running_tasks"] == {"used": 2, "maximum": 2}
    finish(provisioner, tasks[0])
    assert len(provisioner.lease()) == 1
    bastide.api("PATCH", f"/tenants/{tenant}/quotas", {"running_tasks": 0}).expect(200)
    assert len(provisioner.lease()) > 1


def test_who_sees_and_sets_quotas(bastide, people, tenant):
    path = f"/tenants/{tenant}/quotas"
    manager, stranger = people.make("manager", tenant), people.make()
    assert bastide.api("GET", path, token=manager).expect(200).json["clusters"] == {"used": 0, "maximum": 0}
    bastide.api("PATCH", path, {"clusters": 1}, token=manager).expect(403)
    bastide.api("GET", path, token=stranger).expect(401)
    for body, field in (({"clusters": -1}, "clusters"), ({"clusters": "1"}, "clusters"), ({"pods": 1}, "pods")):
        assert bastide.api("PATCH", path, body).expect(400).field == field
    bastide.api("PATCH", "/tenants/nowhere/quotas", {"clusters": 1}).expect(404)


def test_waiting_requests_of_a_lost_account_end(bastide, people):
    """A stream that is open ends when its account is deactivated (SV8)."""
    name = people.account()
    people.join(name, DEFAULT_TENANT, "viewer")
    token = bastide.api("POST", "/tokens", {}, user=(name, PASSWORD)).expect(201).json["value"]
    with bastide.events(token=token) as stream:
        bastide.api("POST", f"/users/active/{name}", {"action": "deactivate"}).expect(200)
        for _ in range(1000):
            if stream.next_event(20) is None:
                return
    pytest.fail("the stream went on")
