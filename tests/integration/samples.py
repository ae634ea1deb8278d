# SPDX-License-Identifier: Apache-2.0
"""A small catalog, its bundle, and a provider with a secret, for tests of the API."""

import io
import json
import pathlib
import secrets
import tarfile

KINDS = ("providers", "hardwaretypes", "imagetypes", "services", "clustertemplates")

# A secret that a provider is given; nothing that leaves the keeper may ever show it again.
CANARY = "canary-" + secrets.token_hex(16)

SMALL = {
    "providers": [{"name": "here", "providertype": "sandbox", "provisioner": {}}],
    "hardwaretypes": [{"name": "small", "providermap": {"here": {"flavor": "256M"}}}],
    "imagetypes": [{"name": "debian", "providermap": {"here": {"image": "debian12", "ssh-user": "root"}}}],
    "services": [{"name": "app", "provisioner": {"actions": {
        action: {"type": "script", "fields": {"bundle": "app", "script": f"{action}.sh", "timeout": "1m"}}
        for action in ("install", "start")}}}],
    "clustertemplates": [{
        "name": "one", "defaults": {"services": ["app"], "provider": "here", "hardwaretype": "small",
                                    "imagetype": "debian", "config": {"app": {"port": 80, "node": "%host.self%"}}},
        "compatibility": {"services": ["app"], "hardwaretypes": ["small"], "imagetypes": ["debian"]},
        "constraints": {"size": {"min": 1, "max": 20}},
        "secrets": [{"name": "app.password", "length": 32, "alphabet": "alphanumeric", "services": ["app"]}]}],
}


def pack_bundle(name="app", version="1.0", scripts=("install.sh", "start.sh"), extra=(), manifest=None):
    """A .tar.gz with a manifest and scripts; extra: further TarInfo entries."""
    document = manifest or {"name": name, "version": version, "description": "",
                            "scripts": {script: {"description": "", "idempotent": True} for script in scripts}}
    output = io.BytesIO()
    with tarfile.open(fileobj=output, mode="w:gz", format=tarfile.USTAR_FORMAT) as archive:
        content = {"manifest.json": json.dumps(document).encode(),
                   **{script: f"#!/bin/sh\n# {version}\n".encode() for script in scripts}}
        for path, data in content.items():
            entry = tarfile.TarInfo(path)
            entry.size, entry.mode = len(data), 0o755
            archive.addfile(entry, io.BytesIO(data))
        for entry in extra:
            archive.addfile(entry)
    return output.getvalue()


def upload(bastide, tenant, archive, token=None):
    more = {"token": token} if token else {}
    return bastide.api("POST", "/bundles", archive, tenant=tenant, headers={"Content-Type": "application/octet-stream"}, **more)


def prepare_tenant(bastide, tenant):
    """The small catalog, its bundle approved."""
    bastide.api("POST", "/catalog/import", SMALL, tenant=tenant).expect(200)
    digest = upload(bastide, tenant, pack_bundle()).expect(201).json["digest"]
    bastide.api("POST", f"/bundles/{digest}/approve", tenant=tenant).expect(200)
    return digest


def secret_provider(**fields):
    return {"name": "cloud", "providertype": "joyent",
            "provisioner": {"api_user": "me", "api_password": CANARY, "joyent_version": "~7.0", **fields}}


def read_catalog(folder):
    """{kind: documents} of a folder with one folder a kind."""
    return {kind: [json.loads(path.read_text()) for path in sorted((pathlib.Path(folder) / kind).glob("*.json"))]
            for kind in KINDS}
