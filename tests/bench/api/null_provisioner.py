# SPDX-License-Identifier: Apache-2.0
"""A provisioner that does nothing: enrols with an installation, leases tasks over the internal protocol and reports
each as succeeded at once. What a run of it takes is what the manager costs.

    with NullProvisioner(bastide) as provisioner:
        provisioner.work_until(lambda: finished)"""

import base64
import json
import secrets

from installation import BASE  # noqa: F401
from services import run

HOST_KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAI" + "A" * 43


class NullProvisioner:
    def __init__(self, bastide, folder, name="null"):
        self._folder = folder
        self._key, certificate, request = (folder / f"{name}.{end}" for end in ("key", "crt", "csr"))
        run(["openssl", "req", "-new", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout",
             self._key, "-out", request, "-subj", f"/CN={name}"])
        self._key.chmod(0o600)
        token = bastide.api("POST", "/provisioners/enrolment-tokens", {"name": name}).expect(201).json["value"]
        answer = bastide.api("POST", "/provisioners/enrol", {
            "token": token, "name": name, "tls_csr": request.read_text(),
            "envelope_key": base64.b64encode(secrets.token_bytes(32)).decode()}, token=None)
        assert answer.status < 300, answer.body
        certificate.write_text(answer.json["certificate"])
        self._connection = bastide.internal_connect(certificate, self._key)
        session = self.call("session", {"name": name, "version": "0", "capacity": 256, "capabilities": {
            "providers": ["sandbox", "hosts"], "automators": ["script"]}})
        self._epoch = session["epoch"]
        self.tasks = 0
        self.rounds = 0

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._connection.close()

    def call(self, path, body):
        self._connection.request("POST", f"/internal/v1/{path}", body=json.dumps(body).encode(),
                                 headers={"Content-Type": "application/json"})
        response = self._connection.getresponse()
        text = response.read()
        assert response.status == 200, f"{path}: {response.status} {text[:1000]!r}"
        return json.loads(text)

    def lease(self, wait_ms=5000, maximum=256):
        return self.call("tasks/lease", {"epoch": self._epoch, "maximum": maximum, "wait_ms": wait_ms})["tasks"]

    def report(self, tasks):
        reports = [{"task": task["id"], "attempt": task["attempt"], "state": "succeeded", "retry": False,
                    "result": self._result(task)} for task in tasks]
        results = self.call("tasks/report", {"epoch": self._epoch, "reports": reports})["results"]
        assert all(row["status"] == "accepted" for row in results), results
        self.tasks += len(tasks)
        self.rounds += 1

    @staticmethod
    def _result(task):
        if task["action"] != "create":
            return {}
        number = task["node"]["number"]
        address = f"192.0.2.{1 + number % 250}"
        return {"provider_id": f"null-{number}", "addresses": {"access_v4": address, "bind_v4": address},
                "host_keys": [HOST_KEY], "ssh_user": "root", "ssh_port": 22}
