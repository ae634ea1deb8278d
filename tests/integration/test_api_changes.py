# SPDX-License-Identifier: Apache-2.0
"""What happens to clusters after they were made: previews, order of the work, failures in the middle, kills."""

import pytest

from stack import create_stack, prepare_stack
from test_api_internal import Provisioner as PlainProvisioner


class Provisioner(PlainProvisioner):
    """Gives each node an address of its own."""

    def result(self, task):
        result = super().result(task)
        if result and "addresses" in result:
            result["addresses"] = {kind: f"10.0.0.{task['node']['number'] - 900}" for kind in ("access_v4", "bind_v4")}
        return result


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


# Pause, resume, retry ------------------------------------------------------------------------------------------------


def steer(stack, execution, action, status=200):
    return stack.bastide.api("POST", f"/executions/{execution}", {"action": action}, tenant=stack.tenant).expect(status).json


def test_paused_work_is_not_handed_out_pr3(stack):
    """What runs goes on to its end; the next step waits until somebody resumes."""
    plan, answer = stack.change("/services", operation="restart")
    (first,) = stack.provisioner.lease()
    assert steer(stack, answer["execution_id"], "pause")["status"] == "paused"
    assert steer(stack, answer["execution_id"], "pause")["status"] == "paused"
    assert stack.provisioner.report(first) == "accepted"
    assert stack.provisioner.lease(wait_ms=300) == [] and stack.get()["status"] == "pending"
    assert steer(stack, answer["execution_id"], "resume")["status"] == "started"
    assert sorted(steps([first]) + steps(stack.work("active"))) == sorted(plan["steps"])
    steer(stack, answer["execution_id"], "resume", 409)
    steer(stack, answer["execution_id"], "pause", 409)
    events = [event["type"] for event in stack.bastide.api("GET", "/events", tenant=stack.tenant, query={
        "execution_id": answer["execution_id"], "_size": 100}).items]
    assert {"execution_paused", "execution_resumed"} <= set(events)


def test_failed_work_is_taken_up_where_it_stopped_pr3_pr5(stack):
    """Only what has not succeeded is run."""
    plan, answer = stack.change("/members", operation="scale", nodes=5)
    before = stack.fail_at("configure web on 1004")
    assert steer(stack, answer["execution_id"], "retry")["status"] == "started"
    rest = steps(stack.work("active"))
    assert sorted(before + rest) == sorted(plan["steps"]) and "configure web on 1004" in rest
    assert sorted(stack.nodes()) == [1000, 1001, 1002, 1003, 1004]
    steer(stack, answer["execution_id"], "retry", 409)


def test_cancelled_work_is_taken_up_again_pr3(stack):
    plan, answer = stack.change("/services", operation="stop")
    (first,) = stack.provisioner.lease()
    steer(stack, answer["execution_id"], "cancel")
    assert stack.provisioner.report(first) == "accepted"
    assert stack.get()["status"] == "inconsistent"
    steer(stack, answer["execution_id"], "retry")
    assert sorted(steps([first]) + steps(stack.work("active"))) == sorted(plan["steps"])


def test_only_the_last_work_is_retried_pr3(stack):
    _, failed = stack.change("/services", operation="stop")
    (lb,) = by_service(stack, "lb")
    stack.fail_at(f"stop lb on {lb}")
    stack.change("/services", operation="start")
    steer(stack, failed["execution_id"], "retry", 409)  # while other work goes on
    stack.work("active")
    assert "other work" in steer(stack, failed["execution_id"], "retry", 409)["message"]
    steer(stack, failed["execution_id"], "explode", 400)


def test_pause_survives_a_kill_of_the_manager_pr3_pr5(breakable, tmp_path):
    prepare_stack(breakable, "default_tenant")
    stack = Stack(breakable, "default_tenant", Provisioner(breakable, "pausing", tmp_path / "pausing"), name="paused")
    plan, answer = stack.change("/services", operation="stop")
    steer(stack, answer["execution_id"], "pause")
    breakable.kill("manager")
    breakable.start("manager")
    assert stack.provisioner.lease(wait_ms=300) == []
    steer(stack, answer["execution_id"], "resume")
    assert sorted(steps(stack.work("active"))) == sorted(plan["steps"])
    breakable.api("DELETE", stack.path).expect(202)
    stack.work("terminated")
    breakable.api("DELETE", f"/provisioners/{stack.provisioner.id}").expect(204)


# Members -------------------------------------------------------------------------------------------------------------


def by_service(stack, service):
    return sorted(number for number, node in stack.nodes().items() if service in node["services"])


def find_task(tasks, step):
    (task,) = [task for task in tasks if steps([task]) == [step]]
    return task


def position(done, step):
    assert done.count(step) == 1, (step, done)
    return done.index(step)


def test_scale_out_pr3_pr4(stack):
    """One web node more: only what must know of it is told, the store before it starts, the balancer afterwards."""
    before = {node["id"]: node["services"] for node in stack.nodes().values()}
    (lb,), (store,), webs = by_service(stack, "lb"), by_service(stack, "store"), by_service(stack, "web")
    plan, _ = stack.change("/members", operation="scale", nodes=5)
    tasks = stack.work("active")
    done = steps(tasks)
    new = 1004
    assert sorted(done) == sorted(plan["steps"])
    assert set(done) == {
        *(f"{action} on {new}" for action in ("create", "confirm", "bootstrap", "firewall", "configure base", "install web",
                                              "configure web", "start web")),
        *(f"configure base on {number}" for number in range(1000, 1004)),  # the names of all nodes
        f"configure store on {store}", f"firewall on {store}", f"configure lb on {lb}"}
    assert position(done, f"configure store on {store}") < position(done, f"start web on {new}")
    assert position(done, f"firewall on {store}") < position(done, f"start web on {new}")
    assert position(done, f"start web on {new}") < position(done, f"configure lb on {lb}")
    backends = find_task(tasks, f"configure lb on {lb}")["parameters"]["lb"]["backends"]
    assert backends == " ".join(f"10.0.0.{number - 900}:8000" for number in [*webs, new])
    assert f"10.0.0.{new - 900}" in find_task(tasks, f"firewall on {store}")["firewall"]["ruleset"]
    cluster = stack.get()
    assert cluster["nodes"] == 5 and {node["status"] for node in cluster["node_list"]} == {"ready"}
    assert before.items() <= {node["id"]: node["services"] for node in cluster["node_list"]}.items()  # nothing moved
    assert {(row["node"], row["service"]) for row in plan["told"]} == {
        (lb, "lb"), (store, "store"), *((number, "base") for number in range(1000, 1004))}


def test_scale_in_drains_first_pr3_pr4(stack):
    """The balancer forgets the node before it stops, the store and the firewall afterwards; the machine goes last."""
    (lb,), (store,), webs = by_service(stack, "lb"), by_service(stack, "store"), by_service(stack, "web")
    plan, _ = stack.change("/members", operation="scale", quantities={"web": 1})
    tasks = stack.work("active")
    done, gone, kept = steps(tasks), webs[-1], webs[0]
    assert sorted(done) == sorted(plan["steps"])
    assert position(done, f"configure lb on {lb}") < position(done, f"stop web on {gone}")
    assert position(done, f"stop web on {gone}") < position(done, f"configure store on {store}")
    assert position(done, f"stop web on {gone}") < position(done, f"firewall on {store}")
    assert done[-1] == f"delete on {gone}"
    assert find_task(tasks, f"configure lb on {lb}")["parameters"]["lb"]["backends"] == f"10.0.0.{kept - 900}:8000"
    assert f"10.0.0.{gone - 900}" not in find_task(tasks, f"firewall on {store}")["firewall"]["ruleset"]
    cluster = stack.get()
    assert cluster["nodes"] == 3 and sorted(node["number"] for node in cluster["node_list"]) == sorted({lb, store, kept})
    stack.change("/members", operation="scale", nodes=4)
    assert "create on 1004" in steps(stack.work("active"))  # a number is never used again


def test_scale_to_what_there_is_does_nothing_pr14(stack):
    plan = stack.preview(operation="scale", nodes=4)
    assert plan["steps"] == [] and plan["told"] == []


def test_certain_node_leaves_pr3(stack):
    webs = by_service(stack, "web")
    stack.change("/members", operation="scale", remove=[webs[0]])
    stack.work("active")
    assert by_service(stack, "web") == webs[1:]


def test_replace_a_node_pr3(stack):
    """The successor works before anything is taken away."""
    (lb,), webs = by_service(stack, "lb"), by_service(stack, "web")
    stack.change("/members", operation="replace", nodes=[webs[0]])
    tasks = stack.work("active")
    done = steps(tasks)
    assert position(done, "start web on 1004") < position(done, f"stop web on {webs[0]}") < position(done, f"delete on {webs[0]}")
    configured = [task["parameters"]["lb"]["backends"] for task in tasks if steps([task]) == [f"configure lb on {lb}"]]
    assert [len(text.split()) for text in configured] == [3, 2]
    assert by_service(stack, "web") == [*webs[1:], 1004]


def test_replace_a_dead_node_pr3(stack):
    """Nothing is asked of a node that is gone; nobody is told of it any more."""
    (lb,), webs = by_service(stack, "lb"), by_service(stack, "web")
    stack.change("/members", operation="replace", nodes=[webs[0]], dead=True)
    tasks = stack.work("active")
    done = steps(tasks)
    assert [step for step in done if step.endswith(f"on {webs[0]}")] == [f"delete on {webs[0]}"]
    backends = find_task(tasks, f"configure lb on {lb}")["parameters"]["lb"]["backends"]
    assert f"10.0.0.{webs[0] - 900}" not in backends and "10.0.0.104" in backends
    assert by_service(stack, "web") == [*webs[1:], 1004]


def test_add_a_service_pr3(stack):
    """It comes to nodes that exist, its bundle is pinned, nothing else is touched."""
    plan, _ = stack.change("/members", operation="add_services", services=["extra"])
    done = steps(stack.work("active"))
    assert sorted(done) == sorted(plan["steps"])
    assert {step.split(" on ", maxsplit=1)[0] for step in done} == {"install extra", "configure extra", "start extra"}
    assert by_service(stack, "extra") == [1000, 1001, 1002, 1003]  # no constraint: it is everywhere
    assert stack.api("POST", "/members", {"operation": "add_services", "services": ["extra"]}).status == 400


def test_failed_scale_out_keeps_what_runs_pr3(stack):
    """A new node that fails: the cluster is inconsistent, the balancer was not told; taking the node away repairs it."""
    (lb,) = by_service(stack, "lb")
    stack.change("/members", operation="scale", nodes=5)
    before = stack.fail_at("start web on 1004")
    assert f"configure lb on {lb}" not in before
    assert {node["status"] for number, node in stack.nodes().items() if number < 1004} == {"ready"}
    answer = stack.api("POST", "/services", {"operation": "restart"}).expect(409)
    assert "1004" in answer.json["message"]
    assert stack.api("POST", "/members", {"operation": "scale", "nodes": 6}).status == 400
    plan, _ = stack.change("/members", operation="scale", remove=[1004])
    done = steps(stack.work("active"))
    assert sorted(done) == sorted(plan["steps"])
    assert position(done, f"configure lb on {lb}") < position(done, "delete on 1004") and "stop web on 1004" not in done
    assert sorted(stack.nodes()) == [1000, 1001, 1002, 1003]


def test_scale_out_survives_a_kill_of_the_manager_pr3_pr5(breakable, tmp_path):
    prepare_stack(breakable, "default_tenant")
    stack = Stack(breakable, "default_tenant", Provisioner(breakable, "scaling", tmp_path / "scaling"), name="scaled")
    plan, _ = stack.change("/members", operation="scale", nodes=6)
    seen = stack.provisioner.lease()
    assert stack.provisioner.report(seen[0], result=stack.provisioner.result(seen[0])) == "accepted"
    breakable.kill("manager")
    breakable.start("manager")
    for task in seen[1:]:
        assert stack.provisioner.report(task, result=stack.provisioner.result(task)) == "accepted"
    done = steps(seen) + steps(stack.work("active"))
    assert sorted(done) == sorted(plan["steps"])
    assert stack.get()["nodes"] == 6
    breakable.api("DELETE", stack.path).expect(202)
    stack.work("terminated")
    breakable.api("DELETE", f"/provisioners/{stack.provisioner.id}").expect(204)


@pytest.mark.parametrize("body, field", [
    ({"operation": "scale"}, "nodes"), ({"operation": "scale", "nodes": 0}, "nodes"), ({"operation": "scale", "nodes": [1]}, "nodes"),
    ({"operation": "scale", "nodes": 21}, "nodes"), ({"operation": "scale", "nodes": 2}, "nodes"),
    ({"operation": "scale", "quantities": {"absent": 1}}, "quantities"), ({"operation": "scale", "quantities": {"web": "3"}}, "quantities"),
    ({"operation": "scale", "quantities": {"lb": 2}}, "quantities.lb"), ({"operation": "scale", "remove": [7]}, "remove"),
    ({"operation": "scale", "remove": [1000, 1000]}, "remove"), ({"operation": "scale", "services": ["web"]}, "services"),
    ({"operation": "replace"}, "nodes"), ({"operation": "replace", "nodes": [1]}, "nodes"), ({"operation": "replace", "nodes": 1000}, "nodes"),
    ({"operation": "add_services"}, "services"), ({"operation": "add_services", "services": ["absent"]}, "services"),
    ({"operation": "add_services", "services": ["web"]}, "services"), ({"operation": "restart", "dead": True}, "dead"),
])
def test_changes_of_members_that_cannot_be(stack, body, field):
    for path in ("/plans", "/members"):
        answer = stack.api("POST", path, body).expect(400)
        assert answer.field == field or body["operation"] == "restart", answer.body
    assert stack.get()["status"] == "active" and len(stack.nodes()) == 4


def test_impossible_scale_says_why_pr2(stack):
    """Three kinds of services that may not share machines do not fit on two."""
    answer = stack.api("POST", "/plans", {"operation": "scale", "remove": by_service(stack, "web")}).expect(400)
    assert "nodes" in answer.body.decode()


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
