# SPDX-License-Identifier: Apache-2.0
"""A catalog like the shipped web stack, small enough for tests of what happens to clusters after they were made."""

import json

from samples import SMALL, pack_bundle, upload


def service(name, actions, requires=(), ports=(), configure=None):
    fields = {action: {"bundle": "stack", "script": f"{name}-{action}.sh", "timeout": "1m"} for action in actions}
    fields.get("configure", {}).update(configure or {})
    return {"name": name, "dependencies": {"runtime": {"requires": list(requires)}},
            "provisioner": {"actions": {action: {"type": "script", "fields": row} for action, row in fields.items()}},
            "network": {"ports": [{"port": port, "protocol": "tcp", "from": list(sources)} for port, sources in ports]}}


LIFE = ("install", "configure", "start", "stop")
LIVE = {"restart": False}  # takes a new configuration while it runs
SERVICES = [service("base", ("configure",), configure=LIVE),
            service("lb", LIFE, ("web",), [(443, ["anywhere"])], configure=LIVE),
            service("store", LIFE, (), [(5432, ["service:web"])], configure=LIVE),
            service("web", LIFE, ("store",), [(8000, ["service:lb"])])]
EXTRA = service("extra", LIFE, ("web",))
# What each script reads. Only a change of these makes a service be configured again.
PARAMETERS = {"base-configure.sh": ["base.hosts"], "lb-configure.sh": ["lb.backends"], "store-configure.sh": ["store.clients"],
              "web-configure.sh": ["web.store", "web.title"]}
STACK = {
    **{kind: SMALL[kind] for kind in ("providers", "hardwaretypes", "imagetypes")},
    "services": [*SERVICES, EXTRA],
    "clustertemplates": [{
        "name": "stack", "defaults": {
            "services": ["base", "lb", "store", "web"], "provider": "here", "hardwaretype": "small", "imagetype": "debian",
            "config": {"base": {"hosts": "%join(host.service.base,' ')%"},
                       "lb": {"backends": "%join(map(ip.service.web,'$:8000'),' ')%"},
                       "store": {"clients": "%join(ip.service.web,' ')%"},
                       "web": {"store": "%ip.service.store[0]%", "title": "hello"}}},
        "compatibility": {"services": ["base", "lb", "store", "web", "extra"], "hardwaretypes": ["small"],
                          "imagetypes": ["debian"]},
        "constraints": {
            "layout": {"cantcoexist": [["lb", "web"], ["lb", "store"], ["web", "store"]]},
            "services": {name: {"quantities": {"min": 1, **({"max": 1} if name != "web" else {})}} for name in ("lb", "store", "web")},
            "size": {"min": 3, "max": 20}}}]}


def pack_stack(version="1.0"):
    scripts = {row["fields"]["script"]: {"description": "", "idempotent": True}
               for entry in (*SERVICES, EXTRA) for row in entry["provisioner"]["actions"].values()}
    for script, names in PARAMETERS.items():
        scripts[script]["parameters"] = {name: {"type": "string", "required": True} for name in names}
    manifest = {"name": "stack", "version": version, "description": "", "scripts": scripts}
    return pack_bundle(scripts=tuple(scripts), manifest=json.loads(json.dumps(manifest)))


def prepare_stack(bastide, tenant):
    bastide.api("POST", "/catalog/import", STACK, tenant=tenant).expect(200)
    digest = upload(bastide, tenant, pack_stack()).expect(201).json["digest"]
    bastide.api("POST", f"/bundles/{digest}/approve", tenant=tenant).expect(200)


def create_stack(bastide, tenant, nodes=4, name="shop", **more):
    body = {"name": name, "template": "stack", "nodes": nodes, **more}
    return bastide.api("POST", "/clusters", body, tenant=tenant).expect(202).json
