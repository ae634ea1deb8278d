# SPDX-License-Identifier: Apache-2.0
"""The steps of `product` about faults: killed programs, a cut network, scripts that fail, a node that is not who it was.
Each takes the Product and returns a line for the report, or raises Failed."""

import concurrent.futures
import json
import pathlib
import random
import shutil
import time

from product_lib import PROGRAMS, ROOT, check, wait_until

MOMENTS = (0.1, 0.4, 0.8, 1.5, 2.5)
LATEST_MOMENT = 5.0
CUT_SECONDS = 10

# Each script of the bundle writes the id of its step when it starts: what really ran, not what a journal says.
COUNTED = '\n[ -z "${BASTIDE_TASK:-}" ] || echo "$BASTIDE_TASK" >>/var/log/product-test-effects\n'

# On a node, as root: steps that began, that are done, and that took effect.
JOURNAL = r"""
import json, os
steps = "/var/lib/bastide/steps"
names = sorted(os.listdir(steps)) if os.path.isdir(steps) else []
def with_file(file):
    return [name for name in names if os.path.exists(os.path.join(steps, name, file))]
effects = "/var/log/product-test-effects"
ran = open(effects).read().split() if os.path.exists(effects) else []
print(json.dumps({"begun": with_file("begun"), "done": with_file("done"), "ran": ran}))
"""


def journal(product, hostname):
    return json.loads(product.python_on_node(hostname, JOURNAL, root=True))


def add_counted_bundle(product):
    """The web stack's bundle, whose scripts also write down that they ran. The newest approved one is used."""
    folder = product.temporary / "counted"
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(ROOT / "catalog/bundles/web-stack", folder)
    common = folder / "lib/common.sh"
    common.write_text(common.read_text() + COUNTED)
    product.add_bundle(folder)
    shutil.rmtree(folder)


def check_once(product, cluster):
    """Every step of every node ran exactly once, and all that began ended. Returns how many."""
    def of_node(node):
        found = journal(product, node["hostname"])
        ran, name = found["ran"], node["hostname"]
        check(len(ran) == len(set(ran)), f"{name}: steps ran twice: {sorted(s for s in set(ran) if ran.count(s) > 1)}")
        check(found["begun"] == found["done"], f"{name}: began {found['begun']}, done {found['done']}")
        check(sorted(ran) == found["begun"], f"{name}: ran {sorted(ran)}, journal {found['begun']}")
        # A try that failed before it reached the node (the keeper was away) takes a number, but runs nothing.
        tasks = [step.rsplit(".", 1)[0] for step in ran]
        check(len(tasks) == len(set(tasks)), f"{name}: a task ran twice: {ran}")
        return len(ran)
    with concurrent.futures.ThreadPoolExecutor(max_workers=4) as pool:
        count = sum(pool.map(of_node, cluster["node_list"]))
    # A certificate's task ends with the script that reloads it.
    scripts = [task for task in product.tasks(cluster["name"]) if task["kind"] in ("automator", "certificate")]
    check(count == len(scripts), f"{cluster['name']}: {count} scripts ran for {len(scripts)} tasks")
    return count


def kill_round(product, number, program, moment):
    name = f"kill-{number}"
    product.create(name)
    time.sleep(moment)
    product.kill(program)
    begin = time.monotonic()
    cluster = product.wait_status(name, "active", 120)
    seconds = time.monotonic() - begin
    product.wait_page(cluster)
    count = check_once(product, cluster)
    product.bastide("clusters", "delete", name, "--yes")  # goes on during the next round, so kills meet deletions too
    return seconds, count


def kill(product):
    """SIGKILL to each program at several moments of a creation: the cluster becomes active, each step ran once."""
    add_counted_bundle(product)
    rounds = [(program, moment) for program in PROGRAMS for moment in MOMENTS]
    text = ""
    if product.arguments.nightly:
        chance = random.Random(product.arguments.seed)
        rounds += [(chance.choice(PROGRAMS), chance.uniform(0, LATEST_MOMENT)) for _ in range(product.arguments.rounds)]
        text = f", seed {product.arguments.seed}"
    times, count = {program: [] for program in PROGRAMS}, 0
    for number, (program, moment) in enumerate(rounds):
        try:
            seconds, steps = kill_round(product, number, program, moment)
        except Exception as problem:
            problem.args = (f"{program} killed after {moment:.2f} s{text}: {problem}",)
            raise
        times[program].append(seconds)
        count += steps
    product.verify_audit()
    wait_until(lambda: all(cluster["status"] == "terminated" for cluster in product.json(
        "clusters", "list", "--all", "--limit", "1000")["items"] if cluster["name"].startswith("kill-")), 60, "the deletions to end")
    demo = product.show("demo")["id"]
    left = [host["hostname"] for host in product.hosts() if host["cluster"] != demo]
    check(not left, f"hosts of deleted clusters are left: {left}")
    lines = [f"{program:20} {len(found)} kills, active {min(found):.1f} to {max(found):.1f} s after them"
             for program, found in times.items()]
    return f"{len(rounds)} kills, {count} steps, each ran once; audit whole, all deleted{text}\n" + "\n".join(lines)


def cut(product):
    """One node's network is cut while it is being set up, for longer than a heartbeat."""
    product.create("cut")

    def database_host():
        node = product.node_of(product.show("cut"), "database")
        return node["provider_id"] and any(task["state"] == "succeeded" and task["action"] == "bootstrap"
                                           for task in product.tasks("cut") if task["node_id"] == node["id"]) and node
    node = wait_until(database_host, 20, "the database's node to be there")
    product.sandbox(op="network", id=node["provider_id"], state="cut")
    try:
        time.sleep(CUT_SECONDS)
        check(product.status("cut") == "pending", "the cluster did not need the node that was cut off")
    finally:
        product.sandbox(op="network", id=node["provider_id"], state="restore")
    begin = time.monotonic()
    cluster = product.wait_status("cut", "active", 120)
    seconds = time.monotonic() - begin
    product.wait_page(cluster)
    count = check_once(product, cluster) if product.arguments.only is None else None
    product.delete("cut")
    return (f"{CUT_SECONDS} s without network in the middle, active {seconds:.1f} s after it came back"
            + (f"; {count} steps, each ran once" if count else ""))


FLAKY = """#!/bin/sh
set -eu
echo x >>/var/log/product-test-tries
tries=$(wc -l </var/log/product-test-tries)
echo "this is try $tries"
[ "$tries" -ge 3 ] || { echo "not yet" >&2; exit 7; }
"""


def retry(product):
    """A script that fails twice and then succeeds."""
    product.add_scripts("flaky", {"flaky.sh": FLAKY})
    product.add_template("flaky", {"flaky": {"actions": {"install": "flaky.sh"}}})
    product.create("flaky", "flaky", 1)
    cluster = product.wait_status("flaky", "active")
    task = next(task for task in product.tasks("flaky") if task["action"] == "install")
    tries = product.on_node(cluster["node_list"][0]["hostname"], "sudo", "-n", "cat", "/var/log/product-test-tries")
    check(task["failures"] == 2 and tries.split() == ["x"] * 3,
          f"{task['failures']} failures are recorded, the script ran {len(tries.split())} times")
    log = product.bastide("nodes", "log", cluster["node_list"][0]["hostname"])
    check(all(text in log for text in ("this is try 1", "this is try 2", "this is try 3")),
          "the node's log does not show all tries")
    product.delete("flaky")
    return "failed twice, succeeded the third time; all three outputs are in the node's log"


BROKEN = """#!/bin/sh
echo "about to fail on purpose"
echo "the reason is printed here" >&2
exit 3
"""


def broken(product):
    """A script that always fails: said where and why, and deletion cleans up."""
    product.add_scripts("broken", {"good.sh": "#!/bin/sh\n:\n", "broken.sh": BROKEN})
    product.add_template("broken", {"good": {"actions": {"install": "good.sh"}},
                                    "broken": {"actions": {"install": "broken.sh"}, "requires": ["good"]}})
    product.create("broken", "broken", 1)
    wait_until(lambda: product.status("broken") == "incomplete", 60, "the cluster to be incomplete")
    hostname = product.show("broken")["node_list"][0]["hostname"]
    task = next(task for task in product.tasks("broken") if task["service"] == "broken" and task["action"] == "install")
    check(task["state"] == "failed" and task["failures"] == 3, f"the task is {task['state']} after {task['failures']} failures")
    shown = product.bastide("clusters", "show", "broken")
    check(hostname in shown and "install" in shown and "broken" in shown,
          f"'clusters show' does not name node, step and reason:\n{shown}")
    log = product.bastide("nodes", "log", hostname)
    check("about to fail on purpose" in log and "the reason is printed here" in log and "install broken: failed" in log,
          f"'nodes log' does not show the step and its output:\n{log[-500:]}")
    status, text = product.bastide("clusters", "watch", "broken", status=None)
    check(status != 0 and hostname in text, f"'clusters watch' of a failed cluster ends with {status}: {text[-300:]}")
    product.delete("broken")
    return "incomplete; node, step and its output are shown; deletion removes the host"


WAITS = """#!/bin/sh
set -eu
touch /run/product-test-waiting
while [ ! -e /run/product-test-go ]; do sleep 0.1; done
"""
SECOND = "#!/bin/sh\ntouch /var/log/product-test-second\n"

# As root on the node: new host key, sshd takes it, connections of before end, the waiting script may go on.
CHANGE_KEY = r"""
import os, pathlib, signal, subprocess
config = pathlib.Path("/etc/ssh/sshd_config").read_text()
key = next(line.split()[1] for line in config.splitlines() if line.lower().startswith("hostkey "))
mode, owner = os.stat(key).st_mode & 0o777, os.stat(key)
subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", "/run/new-key"], check=True)
pathlib.Path(key).write_bytes(pathlib.Path("/run/new-key").read_bytes())
os.chmod(key, mode)
listener, sessions = None, []
for pid in filter(str.isdigit, os.listdir("/proc")):
    name = pathlib.Path("/proc", pid, "cmdline").read_bytes().decode(errors="replace")
    if "[listener]" in name:
        listener = int(pid)
    elif name.startswith("sshd: root"):
        sessions.append(int(pid))
os.kill(listener, signal.SIGHUP)
for pid in sessions:
    os.kill(pid, signal.SIGKILL)
pathlib.Path("/run/product-test-go").touch()
"""


def host_key(product):
    """A node that suddenly shows another host key is not trusted: no further step runs on it."""
    product.add_scripts("impostor", {"waits.sh": WAITS, "second.sh": SECOND})
    product.add_template("impostor", {"first": {"actions": {"install": "waits.sh"}},
                                      "second": {"actions": {"install": "second.sh"}, "requires": ["first"]}})
    product.create("impostor", "impostor", 1)
    node = {}

    def is_waiting():
        node.update(product.show("impostor")["node_list"][0])
        return product.on_node(node["hostname"], "test", "-e", "/run/product-test-waiting", status=None)[0] == 0
    wait_until(is_waiting, 30, "the first step to run")
    node.update(product.show("impostor")["node_list"][0])  # all that the manager knows now, also the host's id
    product.python_on_node(node["hostname"], CHANGE_KEY, root=True)

    def undecided():
        return next((task for task in product.tasks("impostor") if task["state"] == "needs_decision"), None)
    task = wait_until(undecided, 60, "the manager to say that nobody knows how the first step ended")
    check("host key" in task["error"], f"the reason given is: {task['error']}")
    # Whoever declares the step as done lets the next one go out, and that must be refused.
    product.bastide("clusters", "decide", task["id"], "done")
    wait_until(lambda: product.status("impostor") != "pending", 60,
               lambda: f"the cluster to end: {json.dumps(product.tasks('impostor')[-1])}")
    status, tasks = product.status("impostor"), product.tasks("impostor")
    errors = {task["error_code"] for task in tasks if task["error_code"]}
    second = next(task for task in tasks if task["service"] == "second" and task["action"] == "install")
    check(status == "incomplete", f"the cluster is {status}: {errors}")
    check(any("untrusted" in code for code in errors), f"errors are {errors}, none says untrusted")
    check(second["state"] == "failed", f"the second step is {second['state']}")
    ended, text = product.on_node(node["hostname"], "true", status=None)
    check(ended == 255 and "host key" in text.lower(), f"'nodes ssh' does not refuse the node: {ended} {text[-300:]}")
    pid = product.sandbox(op="status", id=node["provider_id"])["pid"]
    check(not pathlib.Path(f"/proc/{pid}/root/var/log/product-test-second").exists(), "the second step ran on the impostor")
    check(pathlib.Path(f"/proc/{pid}/root/run/product-test-go").exists(), "the test did not reach the node")
    product.delete("impostor")
    return f"the step under way needs a decision, the next one is refused as {second['error_code']}; it never ran, 'nodes ssh' refuses too"
