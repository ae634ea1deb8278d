# SPDX-License-Identifier: Apache-2.0
"""The steps of `product` about clusters that change: services restarted, nodes added, taken away and replaced while the
page is asked for all the time. Each takes the Product and returns a line for the report, or raises Failed."""

import contextlib
import threading
import time

from product_lib import Failed, check

NAME = "life"


def steps_of(product, *words):
    """What the preview says, and its digest."""
    plan = product.json("clusters", *words, "--plan")
    return plan["steps"], plan["digest"]


def change(product, *words, seconds=180):
    """Preview, then the same with the digest of the preview; the tasks that ran."""
    steps, digest = steps_of(product, *words)
    product.bastide("clusters", *words, "--plan-digest", digest, "--watch", seconds=seconds)
    cluster = product.show(NAME)
    check(cluster["status"] == "active", f"the cluster is {cluster['status']}: {cluster['status_message']}")
    ran = [task for task in product.tasks(NAME) if task["action"] != "join"]
    check(len(ran) == len(steps), f"the preview had {len(steps)} steps, {len(ran)} ran")
    check({task["state"] for task in ran} == {"succeeded"}, "not every task succeeded")
    return steps


@contextlib.contextmanager
def visitor(product, cluster):
    """Asks for the page all the time; in the end the list of failures and of the nodes that answered."""
    stop, seen, failures = threading.Event(), [], []

    def visit():
        while not stop.is_set():
            try:
                seen.append(product.page(cluster)[0])
            except (Failed, OSError, ValueError) as problem:
                failures.append(f"{time.strftime('%H:%M:%S')} {problem}")
            stop.wait(0.1)
    thread = threading.Thread(target=visit)
    thread.start()
    try:
        yield seen, failures
    finally:
        stop.set()
        thread.join()


def names(cluster, service):
    return {node["hostname"] for node in cluster["node_list"] if service in node["services"]}


def expect_pages(product, cluster):
    """Exactly the web nodes answer, in turn."""
    product.wait_page(cluster)
    found = {product.page(cluster)[0] for _ in range(4 * len(names(cluster, "web")))}
    check(found == names(cluster, "web"), f"pages came from {sorted(found)}, not {sorted(names(cluster, 'web'))}")


def scale(product):
    """Out: the new web node takes its turn, no page is lost, nobody is told who need not be. In: no page is lost either."""
    product.create(NAME)
    before = product.wait_status(NAME, "active")
    product.leftovers.note()
    product.wait_page(before)
    with visitor(product, before) as (seen, failures):
        steps = change(product, "scale", NAME, "--nodes", "6")
        grown = product.show(NAME)
        expect_pages(product, grown)
        product.node_of(grown, "database")
        check(len(names(grown, "web")) == 4, f"there are {len(names(grown, 'web'))} web nodes, not 4")
        old = {node["number"] for node in before["node_list"] if "web" in node["services"]}
        touched = [step for step in steps if step.rsplit(" ", 1)[1] in {str(number) for number in old}]
        check(set(touched) <= {f"configure base on {number}" for number in old}, f"old web nodes were touched: {touched}")
        change(product, "scale", NAME, "--quantity", "web=2")
        small = product.show(NAME)
        expect_pages(product, small)
    check(not failures, f"{len(failures)} pages were lost while the cluster was scaled: {failures[:3]}")
    check(names(small, "web") == names(before, "web"), "other web nodes stayed than had been there")
    check(len(product.hosts(small["id"])) == 4, f"there are {len(product.hosts(small['id']))} hosts, not 4")
    nothing, _ = steps_of(product, "scale", NAME, "--nodes", "4")
    check(not nothing, f"a cluster that is as it should be has steps: {nothing}")
    return f"4 to 6 to 4 nodes, {len(seen)} pages meanwhile, none lost"


def services(product):
    """Restart in order; the page is there again, the database has kept what it had."""
    cluster = product.show(NAME)
    visits = product.page(cluster)[1]
    steps = change(product, "services", "restart", NAME, "database")
    check(steps[0].startswith("stop load-balancer") and steps[-1].startswith("start load-balancer"), f"wrong order: {steps}")
    product.wait_page(cluster)
    check(product.page(cluster)[1] > visits, "the database has forgotten its visits")
    return f"{len(steps)} steps, visits go on after {visits}"


def replace(product):
    """A web node dies: its successor takes its place, no page is asked of the dead one."""
    cluster = product.show(NAME)
    dead = sorted(names(cluster, "web"))[0]
    host = next(host for host in product.hosts(cluster["id"]) if host["hostname"] == dead)
    product.sandbox(op="delete", id=host["id"])
    change(product, "replace", NAME, dead.split(".")[0], "--dead")
    after = product.show(NAME)
    check(dead not in names(after, "web") and len(names(after, "web")) == 2, "the dead node was not replaced")
    expect_pages(product, after)
    product.verify_audit()
    product.delete(NAME)
    return f"{dead} died and was replaced by {(names(after, 'web') - names(cluster, 'web')).pop()}"
