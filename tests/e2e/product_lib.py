# SPDX-License-Identifier: Apache-2.0
"""An installation that ./quickstart made, seen from outside: its programs, its command line, its page. Used by the steps of
`product`; one object, one thread unless a function says otherwise. Nothing here looks into the source tree but at
quickstart itself and the catalog that users get."""

import contextlib
import http.client
import html
import io
import json
import os
import pathlib
import re
import shlex
import shutil
import socket
import ssl
import subprocess
import tarfile
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
POOL = "10.211.0.0/16"
SANDBOX_NAME = "chk"
PROGRAMS = ("bastide-manager", "bastide-keeper", "bastide-provisioner", "bastide-sandboxd")
SSH_SECONDS = 40


class Failed(Exception):
    """What was expected and what was seen instead."""


def check(condition, text):
    if not condition:
        raise Failed(text)


def wait_until(condition, seconds, what):
    """Calls condition until it returns something true, which is returned. Failed calls of programs count as false: right
    after a kill nobody answers."""
    deadline = time.monotonic() + seconds
    while True:
        with contextlib.suppress(Failed, OSError, ValueError, KeyError):
            result = condition()
            if result:
                return result
        if time.monotonic() > deadline:
            raise Failed(f"after {seconds} s still waiting for {what() if callable(what) else what}")
        time.sleep(0.1)


def free_ports(count):
    probes = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [probe.getsockname()[1] for probe in probes]
    for probe in probes:
        probe.close()
    return ports


class PinnedConnection(http.client.HTTPSConnection):
    """Connects to an address and verifies the name, as a browser with the right DNS would."""

    def __init__(self, address, hostname, context):
        super().__init__(hostname, 443, timeout=6, context=context)
        self._address, self._tls = address, context

    def connect(self):
        plain = socket.create_connection((self._address, 443), self.timeout)
        self.sock = self._tls.wrap_socket(plain, server_hostname=self.host)


class Product:
    def __init__(self, work, arguments):
        self.work, self.arguments, self.leftovers = work, arguments, None
        self.prefix = work / "prefix"
        self.state = self.prefix / "var" / "quickstart"
        self.log = ROOT / "quickstart.log"
        self.temporary = work / "tmp"
        self.password = None
        self.port, internal = free_ports(2)
        self.temporary.mkdir()
        self.environment = {
            "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME": "/root", "LANG": "C.UTF-8",
            "NO_COLOR": "1", "TMPDIR": str(self.temporary), "XDG_RUNTIME_DIR": str(self.temporary),
            "BASTIDE_PREFIX": str(self.prefix), "BASTIDE_PORT": str(self.port), "BASTIDE_INTERNAL_PORT": str(internal),
            "BASTIDE_POOL": POOL, "BASTIDE_SANDBOX_NAME": SANDBOX_NAME}

    # Programs --------------------------------------------------------------------------------------------------------

    def quickstart(self, *options, seconds=1200):
        """What it printed; it must end well."""
        done = subprocess.run([ROOT / "quickstart", *options], cwd=ROOT, env=self.environment, text=True,
                              stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=seconds)
        end = "\n".join(done.stdout.splitlines()[-12:])
        check(done.returncode == 0, f"quickstart {' '.join(options)} ended with {done.returncode}\n{end}")
        return done.stdout

    def purge_command(self):
        words = [f"{name}={shlex.quote(value)}" for name, value in self.environment.items() if name.startswith("BASTIDE_")]
        return " ".join(words) + f" {ROOT}/quickstart --purge; rm -rf {self.work}"

    def take_image(self):
        """Copies a built image, when there is one: purge removes the prefix, so it must be no mount."""
        source = os.environ.get("BASTIDE_IMAGES")
        if not source:
            return "built anew"
        target = self.prefix / "var" / "sandbox"
        target.mkdir(parents=True, exist_ok=True)
        target.chmod(0o700)
        subprocess.run(["cp", "-a", source, target / "images"], check=True)
        return f"copied from {source}"

    def run(self, *words, text=None, seconds=60, status=0, user=None):
        """A program of the installation; its output. status None = any."""
        environment = dict(self.environment, HOME=str(self.state), BASTIDE_PROFILE="quickstart",
                           PATH=f"{self.prefix}/bin:{self.environment['PATH']}")
        try:
            done = subprocess.run(words, env=environment, input=text, text=True, capture_output=True, timeout=seconds,
                                  user=user, cwd="/", stdin=subprocess.DEVNULL if text is None else None)
        except subprocess.TimeoutExpired as expired:
            raise Failed(f"{' '.join(words[:6])} did not end in {seconds} s") from expired
        if status is not None:
            check(done.returncode == status, f"{' '.join(str(word) for word in words[:6])} ended with {done.returncode}: "
                  f"{(done.stderr or done.stdout).strip()[-600:]}")
        return done.stdout if status is not None else (done.returncode, done.stdout + done.stderr)

    def bastide(self, *words, **options):
        return self.run(f"{self.prefix}/bin/bastide", *words, **options)

    def json(self, *words, **options):
        return json.loads(self.bastide(*words, "-o", "json", **options))

    def sandbox(self, **request):
        return json.loads(self.run(f"{self.prefix}/bin/bastide-sandboxd", "--config", f"{self.prefix}/etc/sandbox.conf",
                                   "request", json.dumps(request)))

    def token(self):
        """Of the administrator's profile, for requests that the command line has no verb for."""
        return json.loads((self.state / ".config/bastide/profiles.json").read_text())["profiles"]["quickstart"]["token"]

    def api(self, path):
        context = ssl.create_default_context(cafile=str(self.prefix / "share/bastide/ca.crt"))
        connection = http.client.HTTPSConnection("localhost", self.port, timeout=20, context=context)
        with contextlib.closing(connection):
            connection.request("GET", "/api/v3.1" + path, headers={"Authorization": f"Bearer {self.token()}",
                                                                   "Tenant": "default_tenant"})
            answer = connection.getresponse()
            body = answer.read()
        check(answer.status == 200, f"GET {path}: {answer.status} {body[:300]!r}")
        return body

    # Supervision -----------------------------------------------------------------------------------------------------

    def pid(self, program):
        """Of the supervised process; None while there is none."""
        if pathlib.Path("/run/systemd/system").is_dir():
            text = self.run("systemctl", "show", "-p", "MainPID", "--value", program)
        else:
            text = (self.prefix / "var/services" / program / "supervise/pid").read_text()
        with contextlib.suppress(OSError, ValueError):
            pid = int(text)
            if os.readlink(f"/proc/{pid}/exe") == f"{self.prefix}/bin/{program}":
                return pid
        return None

    def pids(self):
        return {program: self.pid(program) for program in PROGRAMS}

    def kill(self, program):
        """SIGKILL; waits until its supervisor has started the next one, not until that answers."""
        victim = wait_until(lambda: self.pid(program), 10, f"a process of {program}")
        os.kill(victim, 9)
        wait_until(lambda: self.pid(program) not in (None, victim), 10, f"the supervisor to start {program} again")

    @contextlib.contextmanager
    def output_of_processes(self, seconds=0.03):
        """Collects the arguments and environments of all processes of the machine while the block runs."""
        seen, stop = set(), []

        def collect():
            own = os.getpid()
            while not stop:
                for entry in os.listdir("/proc"):
                    if entry.isdigit() and int(entry) != own:
                        for name in ("cmdline", "environ"):
                            with contextlib.suppress(OSError), open(f"/proc/{entry}/{name}", "rb") as file:
                                seen.add(file.read())
                time.sleep(seconds)
        import threading
        thread = threading.Thread(target=collect, daemon=True)
        thread.start()
        try:
            yield seen
        finally:
            stop.append(True)
            thread.join()

    # Clusters --------------------------------------------------------------------------------------------------------

    def create(self, name, template="web-stack", nodes=4):
        self.bastide("clusters", "create", name, "--template", template, "--nodes", str(nodes))

    def show(self, name):
        return self.json("clusters", "show", name)

    def status(self, name):
        return self.show(name)["status"]

    def tasks(self, name):
        return self.json("clusters", "tasks", name, "--limit", "1000")["items"]

    def wait_status(self, name, wanted, seconds=90):
        seen = {}

        def reached():
            seen["cluster"] = self.show(name)
            return seen["cluster"]["status"] == wanted or seen["cluster"]["status"] in ("incomplete", "inconsistent")

        def doing():
            cluster = seen.get("cluster", {})
            return f"{name} to be {wanted}: {cluster.get('status')}, {json.dumps(cluster.get('progress'))}"
        wait_until(reached, seconds, doing)
        status = seen["cluster"]["status"]
        check(status == wanted, f"{name} is {status} instead of {wanted}: " + "; ".join(
            f"{task['hostname']} {task['action']} {task['service'] or ''}: {task['error_code']} {task['error']}"
            for task in self.tasks(name) if task["error"]))
        return seen["cluster"]

    def delete(self, name):
        """Waits until it is gone, and its hosts with it."""
        cluster = self.show(name)["id"]
        self.bastide("clusters", "delete", name, "--yes", "--watch", seconds=120)
        check(not self.hosts(cluster), f"hosts of {name} are left after its deletion")

    def hosts(self, cluster=None):
        request = {"op": "list", **({"cluster": cluster} if cluster else {})}
        return self.sandbox(**request)["hosts"]

    def node_of(self, cluster, service):
        return next(node for node in cluster["node_list"] if service in node["services"])

    def on_node(self, hostname, *words, text=None, status=0, seconds=SSH_SECONDS):
        """Runs as operator of the node, through `bastide nodes ssh`. Any thread."""
        return self.bastide("nodes", "ssh", hostname, "--", *words, text=text, status=status, seconds=seconds)

    def python_on_node(self, hostname, program, *arguments, root=False):
        words = (["sudo", "-n"] if root else []) + ["python3", "-", *(shlex.quote(word) for word in arguments)]
        return self.on_node(hostname, *words, text=program)

    def page(self, cluster):
        """What the page says, fetched over verified TLS: (node, visits, text of the database tile)."""
        node = self.node_of(cluster, "load-balancer")
        context = ssl.create_default_context(cafile=str(self.prefix / "share/bastide/ca.crt"))
        connection = PinnedConnection(node["addresses"]["access_v4"], node["hostname"], context)
        with contextlib.closing(connection):
            connection.request("GET", "/")
            answer = connection.getresponse()
            text = answer.read().decode()
        check(answer.status == 200, f"the page of {cluster['name']} answers {answer.status}")

        def fact(name):
            found = re.search(rf'id="{name}">([^<]*)<', text)
            check(found, f"the page does not show '{name}'")
            return html.unescape(found[1])
        return fact("node"), int(fact("visits")), fact("database")

    def wait_page(self, cluster, seconds=20):
        """Until it answers, and two times more."""
        wait_until(lambda: self.page(cluster), seconds, f"the page of {cluster['name']}")
        return [self.page(cluster) for _ in range(2)]

    def verify_audit(self):
        self.bastide("audit", "verify")

    # Catalog ---------------------------------------------------------------------------------------------------------

    def add_bundle(self, folder):
        """Packs what the manifest lists, uploads and approves it."""
        archive = self.temporary / "bundle.tar.gz"
        manifest = json.loads((folder / "manifest.json").read_text())
        with tarfile.open(archive, "w:gz") as packed:
            for name in ["manifest.json", *manifest["scripts"], *manifest.get("files", {})]:
                content = (folder / name).read_bytes()
                entry = tarfile.TarInfo(name)
                entry.size, entry.mode = len(content), 0o755 if name in manifest["scripts"] else 0o644
                packed.addfile(entry, io.BytesIO(content))
        digest = self.json("bundles", "add", str(archive))["digest"]
        self.bastide("bundles", "approve", digest)
        archive.unlink()

    def add_scripts(self, name, scripts):
        """A bundle of scripts {path: text}, a service for each {service: [path…]} is up to the caller."""
        folder = self.temporary / name
        shutil.rmtree(folder, ignore_errors=True)
        manifest = {"name": name, "version": "1.0.0", "description": "Of the product test",
                    "scripts": {path: {"description": path, "idempotent": True, "timeout": "1m"} for path in scripts}}
        for path, text in {**scripts, "manifest.json": json.dumps(manifest)}.items():
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            (folder / path).write_text(text)
        self.add_bundle(folder)
        shutil.rmtree(folder)

    def add_template(self, name, services):
        """services: {name: {"actions": {action: script}, "requires": [services]}}, all on one node from bundle `name`."""
        folder = self.temporary / (name + "-catalog")
        documents = {f"services/{service}.json": {
            "name": service, "description": "Of the product test",
            "dependencies": {"provides": [], "conflicts": [], "install": {"requires": what.get("requires", []), "uses": []},
                             "runtime": {"requires": [], "uses": []}},
            "provisioner": {"actions": {action: {"type": "script", "fields": {"bundle": name, "script": script}}
                                        for action, script in what["actions"].items()}}}
            for service, what in services.items()}
        documents[f"clustertemplates/{name}.json"] = {
            "name": name, "description": "Of the product test",
            "defaults": {"services": list(services), "provider": "sandbox", "hardwaretype": "small",
                         "imagetype": "debian12", "dnsSuffix": "bastide.internal", "config": {}},
            "compatibility": {"services": list(services), "hardwaretypes": ["small"], "imagetypes": ["debian12"]},
            "constraints": {"layout": {"mustcoexist": [], "cantcoexist": []}, "services": {},
                            "size": {"min": 1, "max": 10}},
            "administration": {"leaseduration": {"initial": 0, "max": 0, "step": 0}}}
        for path, document in documents.items():
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            (folder / path).write_text(json.dumps(document))
        self.bastide("catalog", "import", str(folder))
        shutil.rmtree(folder)
