# SPDX-License-Identifier: Apache-2.0
"""What happens to clusters after they were made: previews, order of the work, failures in the middle, kills."""

import pytest

from stack import create_stack, prepare_stack
from test_api_internal import Provisioner


def steps(tasks):
    return [f"{task['action']}{' ' + task['service']['name'] if 'service' in task else ''} on {task['node']['number']}"
            for task in tasks]


class Stack:
    """A cluster of the stack with somebody who works for it."""

    def __init__(self, bastide, tenant, provisioner, **more):
        self.bastide, self.tenant, self.provisioner = bastide, tenant, provisioner
        provisioner.begin()
        self.cluster = create_stack(bastide, tenant, **more)
        self.path = f"/clusters/{self.cluster['id']}"
        self.work("active")

    def api(self, method, path="", body=None, **more):
        return self.bastide.api(method, self.path + path, body, tenant=self.tenant, **more)

    def get(self):
        return self.api("GET").expect(200).json

    def nodes(self):
        return {node["number"]: node for node in self.get()["node_list"]}

    def work(self, status):
        """Does what there is until the cluster has this status; the tasks in their order."""
        seen = []
        self.provisioner.work(lambda: self.get()["status"] == status, seen)
        return seen

    def fail_at(self, wanted):
        """Works until a step comes, which fails for good; the steps before it."""
        seen = []
        while True:
            for task in self.provisioner.lease():
                (step,) = steps([task])
                if step == wanted:
                    assert self.provisioner.report(task, "failed", error={
                        "code": "step_failed", "message": "no", "retry_sensible": False}) == "accepted"
                    self.provisioner.work(lambda: self.get()["status"] == "inconsistent", seen)
                    return steps(seen)
                result = self.provisioner.result(task)
                assert self.provisioner.report(task, **({"result": result} if result else {})) == "accepted"
                seen.append(task)

    def preview(self, **body):
        return self.api("POST", "/plans", body).expect(200).json

    def change(self, path, **body):
        """The plan first; what runs must be what it showed."""
        plan = self.preview(**body)
        answer = self.api("POST", path, {**body, "plan_digest": plan["digest"]}).expect(202).json
        assert answer["plan_digest"] == plan["digest"]
        shown = self.bastide.api("GET", f"/executions/{answer['execution_id']}/plan", tenant=self.tenant).expect(200).json
        assert shown == plan
        return plan, answer


@pytest.fixture(name="stack")
def make_stack(bastide, people, unique, tmp_path):
    tenant = people.tenant()
    prepare_stack(bastide, tenant)
    provisioner = Provisioner(bastide, unique("provisioner"), tmp_path / "provisioner")
    yield Stack(bastide, tenant, provisioner)
    for execution in bastide.api("GET", "/executions", tenant=tenant).items:
        bastide.api("POST", f"/executions/{execution['id']}", {"action": "force-cancel"}, tenant=tenant)
    assert bastide.api("DELETE", f"/provisioners/{provisioner.id}").status in (204, 404)


@pytest.fixture(autouse=True, scope="module")
def cancel_what_others_left(bastide):
    """Clusters of other tests would give their tasks to the provisioners here."""
    for tenant in bastide.api("GET", "/tenants", query={"_size": 1000}).items:
        for execution in bastide.api("GET", "/executions", tenant=tenant["name"], query={"_size": 1000}).items:
            bastide.api("POST", f"/executions/{execution['id']}", {"action": "force-cancel"}, tenant=tenant["name"])


# Services ------------------------------------------------------------------------------------------------------------


def test_restart_in_the_order_of_dependencies_pr3_pr4(stack):
    """What depends on the service is stopped before it and started after it; the preview is what runs."""
    plan, _ = stack.change("/services", operation="restart", services=["web"])
    done = steps(stack.work("active"))
    assert sorted(done) == sorted(plan["steps"])
    assert plan["tasks"]["by_action"] == {"start": 4, "stop": 3}  # the store is only started: it must run
    (lb,) = [node["number"] for node in stack.nodes().values() if "lb" in node["services"]]
    webs = [node["number"] for node in stack.nodes().values() if "web" in node["services"]]
    order = {step: index for index, step in enumerate(done)}
    for web in webs:
        assert order[f"stop lb on {lb}"] < order[f"stop web on {web}"] < order[f"start web on {web}"] < order[f"start lb on {lb}"]


def test_stop_and_start_all_services_pr3(stack):
    plan, _ = stack.change("/services", operation="stop")
    assert plan["tasks"]["by_action"] == {"stop": 4}
    assert {task["action"] for task in stack.work("active")} == {"stop"}
    stack.change("/services", operation="start")
    done = [step.split(" on ", maxsplit=1)[0] for step in steps(stack.work("active"))]
    assert done == ["start store", "start web", "start web", "start lb"]


def test_failed_restart_is_repaired_by_a_start_pr3(stack):
    (store,) = [node for node in stack.nodes().values() if "store" in node["services"]]
    stack.change("/services", operation="restart", services=["store"])
    before = stack.fail_at(f"start store on {store['number']}")
    assert all(step.startswith("stop") for step in before)
    assert stack.get()["status"] == "inconsistent" and "start store: no" in stack.get()["status_message"]
    stack.change("/services", operation="start")
    stack.work("active")
    assert {node["status"] for node in stack.nodes().values()} == {"ready"}


def test_one_operation_at_a_time_pr3(stack):
    stack.change("/services", operation="restart")
    answer = stack.api("POST", "/services", {"operation": "stop"}).expect(409)
    assert answer.error == "conflict" and "pending" in answer.json["message"]
    stack.work("active")


@pytest.mark.parametrize("body, field", [
    ({}, "operation"), ({"operation": "explode"}, "operation"), ({"operation": "stop", "services": ["absent"]}, "services"),
    ({"operation": "stop", "services": []}, "services"), ({"operation": "stop", "services": ["web", "web"]}, "services"),
    ({"operation": "stop", "services": ["../x"]}, "services"), ({"operation": "stop", "services": [1]}, "services"),
    ({"operation": "stop", "more": 1}, "more"), ({"operation": "stop", "plan_digest": "x"}, "plan_digest"),
])
def test_operations_that_cannot_be(stack, body, field):
    for path in ("/plans", "/services"):
        answer = stack.api("POST", path, body).expect(400)
        assert answer.field == field, answer.body
    assert stack.get()["status"] == "active"


def test_operation_on_what_was_seen_only_pr3(stack):
    revision = stack.get()["revision"]
    etag = stack.api("GET").headers["ETag"]
    assert etag == f'"{revision}"'
    body = {"operation": "restart"}
    assert stack.api("POST", "/services", {**body, "revision": revision + 1}).expect(412).error == "precondition_failed"
    assert stack.api("POST", "/services", body, headers={"If-Match": f'"{revision - 1}"'}).status == 412
    assert stack.api("POST", "/services", body, headers={"If-Match": "W/x"}).status == 400
    assert stack.api("POST", "/services", {**body, "plan_digest": "0" * 64}).expect(412).field == "plan_digest"
    stack.api("POST", "/services", body, headers={"If-Match": etag}).expect(202)
    stack.work("active")
    assert stack.api("POST", "/services", body, headers={"If-Match": etag}).status == 412


def test_operations_of_others_find_nothing_pr3(stack, people):
    other = people.tenant()
    for path in ("/plans", "/services"):
        stack.bastide.api("POST", stack.path + path, {"operation": "stop"}, tenant=other).expect(404)


def test_restart_survives_a_kill_of_the_manager_pr3_pr5(breakable, tmp_path):
    """kill -9 between two steps: the rest runs, nothing twice."""
    prepare_stack(breakable, "default_tenant")
    stack = Stack(breakable, "default_tenant", Provisioner(breakable, "changes", tmp_path / "changes"))
    plan, _ = stack.change("/services", operation="restart")
    tasks = stack.provisioner.lease()
    assert stack.provisioner.report(tasks[0]) == "accepted"
    breakable.kill("manager")
    breakable.start("manager")
    for task in tasks[1:]:
        assert stack.provisioner.report(task) == "accepted"
    done = steps(tasks) + steps(stack.work("active"))
    assert sorted(done) == sorted(plan["steps"])
    breakable.api("DELETE", stack.path).expect(202)
    stack.work("terminated")
    breakable.api("DELETE", f"/provisioners/{stack.provisioner.id}").expect(204)
