#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""P6: what the stages of a cluster cost: a chain of steps that do nothing on one node, through the API, the engine, the
store and the internal protocol over mutual TLS, from the answer of POST /clusters to the end of the execution.

    bench_stages.py BUILD_DIRECTORY [--rounds N] [--services N] [--nodes N]

The limit in the same run: as many round trips to the same listener that read nothing but the provisioner's own row,
(a heartbeat is a durable commit each), two for a stage. Needs root and openssl."""

import argparse
import io
import json
import pathlib
import statistics
import sys
import tarfile
import time

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent.parent / "lib"))

from installation import DEFAULT_TENANT, Installation  # noqa: E402
from null_provisioner import NullProvisioner  # noqa: E402
from services import temporary_folder  # noqa: E402


def make_bundle():
    manifest = {"name": "null", "version": "1", "description": "Does nothing", "scripts": {
        "null.sh": {"description": "Does nothing", "idempotent": True, "timeout": "1m"}}}
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz", format=tarfile.USTAR_FORMAT) as archive:
        for name, text in (("manifest.json", json.dumps(manifest)), ("null.sh", "#!/bin/sh\n")):
            entry = tarfile.TarInfo(name)
            entry.size = len(text)
            archive.addfile(entry, io.BytesIO(text.encode()))
    return packed.getvalue()


def prepare(bastide, services, nodes):
    """A catalog of services that start one after the other."""
    def put(kind, document):
        answer = bastide.api("PUT", f"/catalog/{kind}/{document['name']}", document, tenant=DEFAULT_TENANT)
        assert answer.status < 300, answer.body
    put("hardwaretypes", {"name": "small", "providermap": {"sandbox": {"flavor": "256M"}}})
    put("imagetypes", {"name": "debian12", "providermap": {"sandbox": {"image": "debian12", "sshuser": "root"}}})
    put("providers", {"name": "sandbox", "providertype": "sandbox", "provisioner": {}})
    action = {"type": "script", "fields": {"bundle": "null", "script": "null.sh"}}
    names = [f"null-{i}" for i in range(services)]
    for i, name in enumerate(names):
        requires = [names[i - 1]] if i else []
        put("services", {"name": name, "dependencies": {
            "provides": [], "conflicts": [], "install": {"requires": [], "uses": []},
            "runtime": {"requires": requires, "uses": []}},
            "provisioner": {"actions": {"start": action}}})
    put("clustertemplates", {
        "name": "null", "defaults": {"services": names, "provider": "sandbox", "hardwaretype": "small",
                                     "imagetype": "debian12", "config": {}},
        "compatibility": {"services": names, "hardwaretypes": ["small"], "imagetypes": ["debian12"]},
        "constraints": {"layout": {"mustcoexist": [names], "cantcoexist": []}, "services": {},
                        "size": {"min": nodes, "max": nodes}},
        "administration": {"leaseduration": {"initial": 0, "max": 0, "step": 0}}})
    digest = bastide.api("POST", "/bundles", make_bundle(), tenant=DEFAULT_TENANT,
                         headers={"Content-Type": "application/gzip"}).expect(201).json["digest"]
    bastide.api("POST", f"/bundles/{digest}/approve", tenant=DEFAULT_TENANT).expect(200)


def run_once(bastide, provisioner, number, nodes):
    """Seconds from the accepted request to the end, tasks, rounds."""
    tasks, rounds = provisioner.tasks, provisioner.rounds
    start = time.monotonic()
    created = bastide.api("POST", "/clusters", {"name": f"null-{number}", "template": "null", "nodes": nodes},
                          tenant=DEFAULT_TENANT).expect(202).json
    accepted = time.monotonic()
    while True:
        leased = provisioner.lease(wait_ms=300 if provisioner.rounds > rounds else 5000)
        if not leased:
            break
        provisioner.report(leased)
        ended = time.monotonic()
    execution = bastide.api("GET", f"/executions/{created['execution_id']}", tenant=DEFAULT_TENANT).expect(200).json
    assert execution["status"] in ("terminated", "succeeded"), execution
    return accepted - start, ended - accepted, provisioner.tasks - tasks, provisioner.rounds - rounds


def round_trip(provisioner):
    start = time.monotonic()
    provisioner.call("heartbeat", {"epoch": provisioner._epoch, "running": [], "free": 1})
    return time.monotonic() - start


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("build")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--services", type=int, default=7)
    parser.add_argument("--nodes", type=int, default=1)
    options = parser.parse_args()
    settings = {"manager": {"log_level": "info"}}
    with temporary_folder() as folder, Installation(options.build, settings=settings) as bastide:
        prepare(bastide, options.services, options.nodes)
        with NullProvisioner(bastide, folder) as provisioner:
            rows, trips = [], []
            for number in range(options.rounds):
                rows.append(run_once(bastide, provisioner, number, options.nodes))
                trips += [round_trip(provisioner) for _ in range(20)]
    accept, run = (statistics.median(row[i] for row in rows) * 1000 for i in (0, 1))
    tasks, stages = rows[-1][2:]
    limit = statistics.median(trips) * 1000 * 2 * stages
    print(f"P6: {options.nodes} node(s), {tasks} tasks in {stages} stages")
    print(f"  request accepted after {accept:6.1f} ms (plan made, stored, audited)")
    print(f"  accepted to finished   {run:6.1f} ms, {run / stages:.2f} ms a stage")
    print(f"  limit: {2 * stages} durable round trips {limit:6.1f} ms; ratio {run / limit:.2f}")
    print(f"  for ten stages         {10 * run / stages:6.1f} ms (target 100)")
    return 0


if __name__ == "__main__":
    sys.exit(main())
