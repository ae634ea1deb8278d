# SPDX-License-Identifier: Apache-2.0
"""The steps of `product` about what works: first and second run, page, firewall, secrets, stop and start, purge. Each takes
the Product and returns a line for the report, or raises Failed."""

import base64
import concurrent.futures
import contextlib
import hashlib
import json
import os
import pathlib
import re
import subprocess
import time

from product_lib import Failed, check, wait_until

# Who may reach what, derived by hand from the ports in catalog/services (load balancer: 80 and 443 from anywhere, web: 8000
# from the load balancer, database: 5432 from web) and the rule that port 22 is open to whoever comes to the cluster's
# network. Another cluster reaches nothing. Never taken from the rules on the nodes.
PORTS = (22, 80, 443, 5432, 8000, 8404)
ANYONE = {"load-balancer", "web", "database", "outside"}
ALLOWED = {
    "load-balancer": {22: ANYONE, 80: ANYONE, 443: ANYONE},
    "web": {22: ANYONE, 8000: {"load-balancer"}},
    "database": {22: ANYONE, 5432: {"web"}},
}
# What the bundle's programs also listen on with IPv6; on the other allowed ports of IPv6 the refusal gets through.
LISTEN_IPV6 = {22, 5432}

# Tries all targets at once: "open", "refused" (the packet came through, nobody listens), "filtered" (nothing comes back).
PROBE = r"""
import asyncio, json, sys
async def one(address, port):
    try:
        _, writer = await asyncio.wait_for(asyncio.open_connection(address, port), 2)
        writer.close()
        return "open"
    except ConnectionRefusedError:
        return "refused"
    except (asyncio.TimeoutError, OSError):
        return "filtered"
async def main():
    targets = json.loads(sys.argv[1])
    print(json.dumps(await asyncio.gather(*(one(*target) for target in targets))))
asyncio.run(main())
"""


def files_of(folder):
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
            for path in sorted(folder.rglob("*")) if path.is_file() and not path.is_symlink()}


def first_run(product):
    """Ends well; the one-time password is printed once and written nowhere."""
    image = product.take_image()
    begin = time.monotonic()
    text = product.quickstart()
    seconds = time.monotonic() - begin
    shown = re.findall(r"One-time password:\s+(\S{12,})", text)
    check(len(shown) == 1 and text.count(shown[0]) == 1, f"the one-time password is printed {len(shown)} times")
    product.password = shown[0]
    check(text.count("Fetched through the load balancer") == 1, "the demo page is not shown at the end")
    check("offered again" not in text, "a task of the first demo was lost: a program was restarted while it worked")
    places = [product.log, *(path for path in (product.prefix / "log").rglob("*") if path.is_file()),
              *(path for path in (product.prefix / "var/quickstart").rglob("*") if path.is_file())]
    for place in places:
        check(product.password.encode() not in place.read_bytes(), f"the one-time password is in {place}")
    check(all(product.pids().values()), f"not all programs run: {product.pids()}")
    return f"cluster of 4 in {seconds:.0f} s, image {image}; password shown once, in none of {len(places)} files"


def second_run(product):
    """Changes nothing and says so."""
    def state():
        return {"processes": product.pids(), "clusters": product.json("clusters", "list")["items"],
                "hosts": product.hosts(), "bundles": product.json("bundles", "list")["items"],
                "files": [files_of(product.prefix / name) for name in ("bin", "etc", "share", "var/provisioner")]}
    before = state()
    text = product.quickstart()
    after = state()
    check("nothing was changed" in text, "it does not say that nothing was changed")
    check("One-time password" not in text, "it shows a password again")
    for name, value in before.items():
        check(after[name] == value, f"the second run changed {name}")
    return "nothing was changed: same processes, files, clusters, hosts"


def page(product):
    """Both web servers take turns; the count comes from the database."""
    cluster = product.show("demo")
    answers = [product.page(cluster) for _ in range(8)]
    nodes, visits = {answer[0] for answer in answers}, [answer[1] for answer in answers]
    expected = {node["hostname"] for node in cluster["node_list"] if "web" in node["services"]}
    check(nodes == expected, f"pages came from {sorted(nodes)} instead of {sorted(expected)}")
    check(visits == list(range(visits[0], visits[0] + len(visits))), f"the counter does not rise by one: {visits}")
    check(all(answer[2].startswith("PostgreSQL 15") for answer in answers), f"the page shows {answers[0][2]}")
    database = product.node_of(cluster, "database")["hostname"]
    count = product.on_node(database, "sudo", "-n", "setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups",
                            "psql", "-h", "/run/bastide-database", "-U", "postgres", "-At", "-c",
                            "'SELECT count(*) FROM visits'", "application").strip()
    check(count == str(visits[-1]), f"the database counts {count} visits, the page {visits[-1]}")
    return f"verified TLS, {len(nodes)} web nodes take turns, visits {visits[0]} to {visits[-1]} as in the database"


def role_of(node):
    return next(service for service in node["services"] if service != "base")


def firewall(product):
    """Every way between nodes, from outside and from another cluster, IPv4 and IPv6, against the matrix above."""
    product.create("other")
    demo, other = product.show("demo"), product.wait_status("other", "active")
    product.leftovers.note()
    sources = [(node["hostname"], role_of(node), "demo") for node in demo["node_list"]]
    sources += [(node["hostname"], "other cluster", "other") for node in other["node_list"]]
    sources += [("outside", "outside", None)]

    def probe(source):
        hostname, role, _ = source
        cases = [(node, port, family) for node in demo["node_list"] if node["hostname"] != hostname
                 for port in PORTS for family in ("access_v4", "access_v6")]
        targets = json.dumps([(node["addresses"][family], port) for node, port, family in cases])
        if role == "outside":
            text = subprocess.run(["/usr/bin/python3", "-", targets], input=PROBE, text=True, capture_output=True,
                                  check=True, timeout=30).stdout
        else:
            text = product.python_on_node(hostname, PROBE, targets)
        return [(source, *case, result) for case, result in zip(cases, json.loads(text), strict=True)]
    with concurrent.futures.ThreadPoolExecutor(max_workers=len(sources)) as pool:
        results = [result for found in pool.map(probe, sources) for result in found]
    wrong, counts = [], {"open": 0, "refused": 0, "filtered": 0}
    for (hostname, role, _), node, port, family, result in results:
        is_allowed = role in ALLOWED[role_of(node)].get(port, ())
        expected = "filtered"
        if is_allowed:
            expected = "open" if family == "access_v4" or port in LISTEN_IPV6 else "refused"
        counts[result] += 1
        if result != expected:
            wrong.append(f"{hostname} ({role}) to {node['hostname']} ({role_of(node)}) port {port} "
                         f"{family[-2:]}: {result}, not {expected}")
    check(not wrong, f"{len(wrong)} of {len(results)} ways are wrong:\n" + "\n".join(wrong[:10]))
    product.bastide("clusters", "delete", "other", "--yes", "--watch")
    return (f"{len(results)} ways from {len(sources)} places as derived by hand: {counts['open']} open, "
            f"{counts['refused']} let through, {counts['filtered']} filtered")


def forms_of(secret):
    """The value as it could be stored: plain, base64 at each of the three positions, hexadecimal."""
    forms = {secret, secret.hex().encode(), secret.hex().upper().encode()}
    for offset in range(3):
        text = base64.b64encode(b"\0" * offset + secret)
        forms.add(text[4 if offset else 0:-4])
    return forms


def secrets(product):
    """The generated database password is in no place but the nodes that need it."""
    with product.output_of_processes() as seen:
        product.create("canary")
        cluster = product.wait_status("canary", "active")
    web = [node["hostname"] for node in cluster["node_list"] if "web" in node["services"]]
    found = {product.on_node(name, "sudo", "-n", "cat", "/etc/bastide-web/password").strip() for name in web}
    check(len(found) == 1 and len(min(found)) == 32, "the web nodes have no common password of 32 characters")
    secret = found.pop().encode()
    forms = forms_of(secret)
    places = {f"process {number}": content for number, content in enumerate(seen)}
    with product.output_of_processes() as now:
        collect_answers(product, cluster, places)
    places.update({f"process of now {number}": content for number, content in enumerate(now)})
    places.update(files_to_search(product))
    wrong = sorted(name for name, content in places.items() if any(form in content for form in forms))
    check(not wrong, f"the database password is in {', '.join(wrong[:5])}")
    # A search that finds nothing must be able to find: the token of the profile is where it belongs.
    token = product.token().encode()
    check([name for name, content in places.items() if token in content] == [str(profile_of(product))],
          "the administrator's token is not in exactly one place")
    token_of_first_run = product.password.encode()
    check(not any(token_of_first_run in content for content in places.values()), "the one-time password is kept")
    product.bastide("clusters", "delete", "canary", "--yes")
    size = sum(len(content) for content in places.values()) / 1e6
    return f"searched {len(places)} places, {size:.0f} MB: database, logs, answers, arguments, environments; found nowhere"


def profile_of(product):
    return product.state / ".config/bastide/profiles.json"


def collect_answers(product, cluster, places):
    execution = cluster["progress"]["execution_id"]
    for path in (f"/clusters/{cluster['id']}", f"/clusters/{cluster['id']}/plan", "/audit?_size=1000", "/catalog/export",
                 f"/nodes?cluster_id={cluster['id']}", f"/executions/{execution}", "/bundles",
                 f"/operations?execution_id={execution}&_size=1000", f"/events?cluster_id={cluster['id']}&_size=1000",
                 *(f"/nodes/{node['id']}/log" for node in cluster["node_list"])):
        places[f"GET {path}"] = product.api(path)


def files_to_search(product):
    """Everything below the prefix but the images and the programs, and the log of the set-up."""
    found = {str(product.log): product.log.read_bytes()}
    images = product.prefix / "var/sandbox/images"
    for folder, names, files in os.walk(product.prefix):
        names[:] = [name for name in names if pathlib.Path(folder, name) not in (images, product.prefix / "bin")]
        for name in files:
            path = pathlib.Path(folder, name)
            with contextlib.suppress(OSError):
                if path.is_file():
                    found[str(path)] = path.read_bytes()
    check(any(name.endswith("bastide.db") for name in found), "the manager's database is not where it is expected")
    return found


def restart(product):
    """Delete all but the demo; stop, start: what the manager knows is there, the demo is made again."""
    for cluster in product.json("clusters", "list")["items"]:
        if cluster["status"] != "terminated" and cluster["name"] != "demo":
            product.bastide("clusters", "delete", cluster["name"], "--yes", "--watch", seconds=120)
    demo = product.show("demo")["id"]
    others = [host["hostname"] for host in product.hosts() if host["cluster"] != demo]
    check(not others, f"hosts of deleted clusters are left: {others}")
    before = {cluster["id"] for cluster in product.json("clusters", "list", "--all", "--limit", "1000")["items"]}
    product.quickstart("--down")
    running = {pid: text for pid, text in product.leftovers.processes().items()}
    check(not running, f"after --down these still run: {running}")
    begin = time.monotonic()
    text = product.quickstart()
    seconds = time.monotonic() - begin
    check("One-time password" not in text, "a start after --down shows a password again")
    after = {cluster["id"] for cluster in product.json("clusters", "list", "--all", "--limit", "1000")["items"]}
    check(before <= after, f"{len(before - after)} of {len(before)} clusters are forgotten")
    product.wait_page(product.show("demo"))
    product.verify_audit()
    product.delete("demo")
    check(not product.hosts(), "hosts are left though all clusters are deleted")
    return f"all clusters deleted, hosts gone; up again in {seconds:.0f} s, {len(before)} clusters still known"


def purge(product):
    """Nothing stays: compared with what was there before."""
    had = product.leftovers.inventory()
    product.quickstart("--purge")
    left = product.leftovers.find()
    if left:
        with contextlib.suppress(Failed):
            wait_until(lambda: not product.leftovers.find(), 3, "it to go")
        raise Failed(f"{len(left)} things are left:\n" + "\n".join(left[:15]))
    return "nothing left of " + ", ".join(f"{count} {name}" for name, count in had.items())
