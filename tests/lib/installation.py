# SPDX-License-Identifier: Apache-2.0
"""A whole Bastide on this machine for black-box tests: keeper, manager and database in a temporary prefix, on free
ports of 127.0.0.1, gone with all data when the block ends.

    with Installation(build_dir) as bastide:
        assert bastide.api("GET", "/user").json["username"] == "admin"

Needs root, because keeper and manager want two users of their own; accounts that every Debian has are borrowed, none
is made. TLS is verified in every connection. All answers are kept (`transcript`), for the search of secrets."""

import base64
import contextlib
import dataclasses
import http.client
import json as json_module
import os
import pathlib
import pwd
import shutil
import socket
import ssl
import threading
import urllib.parse

from services import LOOPBACK, PostgreSQL, Process, ServiceError, clean_environment, free_port, run, temporary_folder

KEEPER_USER, MANAGER_USER = "bin", "daemon"
BASE = "/api/v3.1"
DEFAULT_TENANT = "default_tenant"
ADMIN = object()  # stands for the administrator's token
SANITIZER_MARKS = ("ERROR: AddressSanitizer", "runtime error:", "ERROR: LeakSanitizer", "stack smashing")


@dataclasses.dataclass(frozen=True)
class Answer:
    """What came back. `field` and `error` are those of an error body."""
    status: int
    headers: dict
    body: bytes

    @property
    def json(self):
        return json_module.loads(self.body)

    @property
    def items(self):
        return self.json["items"]

    @property
    def error(self):
        """The last part of the error's type: "bad_field"."""
        return self.json["type"].rpartition(":")[2]

    @property
    def field(self):
        return self.json.get("field")

    def expect(self, status):
        """The answer itself; fails with its text when the status is another."""
        assert self.status == status, f"{self.status} instead of {status}: {self.body[:2000]!r}"
        return self


class EventStream:
    """An open event stream: next_event() gives {"id", "event", "data"}, None at its end."""

    def __init__(self, connection, socket_, response):
        self._connection, self._socket, self._response = connection, socket_, response

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        self._response.close()
        self._connection.close()

    def next_event(self, seconds=10):
        self._socket.settimeout(seconds)
        event = {}
        while True:
            line = self._response.readline()
            if not line:
                return None
            text = line.decode().rstrip("\r\n")
            if not text and "data" in event:
                event["data"] = json_module.loads(event["data"])
                return event
            name, _, value = text.partition(":")
            if name in ("id", "event", "data"):  # not the advice about reconnecting
                event[name] = value.removeprefix(" ")


class Installation:
    """database: "sqlite" or "postgresql"; settings: further lines of manager.conf by section; environment: further
    variables of the programs."""

    def __init__(self, build_dir, database="sqlite", settings=None, environment=None):
        build = pathlib.Path(build_dir)
        self._programs = {name: build / "src" / name / f"bastide-{name}" for name in ("keeper", "manager")}
        self._database, self._settings, self._more_environment = database, settings or {}, environment or {}
        self._stack, self._local, self._lock = contextlib.ExitStack(), threading.local(), threading.Lock()
        self.processes, self.transcript = {}, bytearray()
        self.prefix = self.postgresql = self.admin_password = self._admin_token = self.tls = None
        self.external_port = self.internal_port = None

    # Life ------------------------------------------------------------------------------------------------------------

    def __enter__(self):
        if os.geteuid() != 0:
            raise ServiceError("an installation needs root: keeper and manager run as users of their own")
        with contextlib.ExitStack() as stack:
            self._prepare(stack)
            stack.callback(self._end)
            self._initialise()
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_):
        self._stack.close()

    def _end(self):
        ended = [name for name, process in self.processes.items() if process.pid and not process.is_running()]
        statuses = {name: self.processes[name].stop() for name in ("manager", "keeper") if name in self.processes}
        self.check_sanitizers()
        for name in ended:
            raise ServiceError(f"{name} ended by itself with status {statuses[name]}\n{self.log(name)[-4000:]}")
        for name, status in statuses.items():
            if status not in (0, None):
                raise ServiceError(f"{name} stopped with status {status}\n{self.log(name)[-4000:]}")

    def _prepare(self, stack):
        self.prefix = stack.enter_context(temporary_folder())
        self.prefix.chmod(0o755)
        for folder, owner, mode in (("etc", None, 0o755), ("bin", None, 0o755), ("run", MANAGER_USER, 0o755),
                                    ("var", None, 0o755), ("var/keeper", KEEPER_USER, 0o700),
                                    ("var/manager", MANAGER_USER, 0o700), ("log", None, 0o700)):
            path = self.prefix / folder
            path.mkdir()
            path.chmod(mode)
            self._give(path, owner)
        for name, program in self._programs.items():  # the build directory may be closed to other users
            self._programs[name] = pathlib.Path(shutil.copy2(program, self.prefix / "bin"))
        if self._database == "postgresql":
            self.postgresql = stack.enter_context(PostgreSQL())

    @staticmethod
    def _give(path, user):
        if user:
            account = pwd.getpwnam(user)
            os.chown(path, account.pw_uid, account.pw_gid)

    def _initialise(self):
        self._write_configurations()
        ca = self.run("keeper", "init", "--organisation", "Bastide Test")
        self.tls = ssl.create_default_context(cadata=ca)
        self.tls.minimum_version = ssl.TLSVersion.TLSv1_3
        self.start("keeper")
        lines = self.run("manager", "init").splitlines()
        self.admin_password = next(line.split()[-1] for line in lines if line.startswith("One-time password:"))
        self.start("manager")

    def _database_location(self):
        if not self.postgresql:
            return f"sqlite:{self.database_file}"
        # The server's own files belong to root; libpq runs as the manager's user.
        files = {}
        for name, source in (("ca", self.postgresql.ca_file), ("pass", self.postgresql.pass_file)):
            files[name] = self.prefix / "etc" / f"postgresql.{name}"
            files[name].touch(mode=0o600)
            files[name].write_text(source.read_text())
            self._give(files[name], MANAGER_USER)
        self.postgresql.create_database("bastide")
        return (f"postgresql:host={self.postgresql.host} port={self.postgresql.port} user={self.postgresql.user} "
                f"dbname=bastide sslmode=verify-full sslrootcert={files['ca']} passfile={files['pass']}")

    def _write_configurations(self):
        self.external_port, self.internal_port = free_port(), free_port()
        prefix = self.prefix
        self._configure("keeper", {
            "keeper": {"directory": prefix / "var/keeper", "socket": prefix / "run/keeper.sock", "user": KEEPER_USER,
                       "manager_user": MANAGER_USER, "lock_memory": "attempt"},
            "log": {"level": "debug"}})
        manager = {
            "manager": {"directory": prefix / "var/manager", "user": MANAGER_USER, "log_level": "debug", "drain": "2s"},
            "database": {"location": self._database_location()},
            "keeper": {"socket": prefix / "run/keeper.sock"},
            "external": {"address": LOOPBACK, "port": self.external_port},
            "internal": {"address": LOOPBACK, "port": self.internal_port},
            "admin": {"socket": prefix / "run/admin.sock"}}
        for section, keys in self._settings.items():
            manager.setdefault(section, {}).update(keys)
        self._configure("manager", manager)

    def _configure(self, name, sections):
        path = self.prefix / "etc" / f"{name}.conf"
        path.write_text("".join(f"[{section}]\n" + "".join(f"{key} = {value}\n" for key, value in keys.items())
                                for section, keys in sections.items()))
        path.chmod(0o640)

    # Processes -------------------------------------------------------------------------------------------------------

    def _argv(self, name, *arguments):
        return [self._programs[name], "--config", self.prefix / "etc" / f"{name}.conf", *arguments]

    def _environment(self):
        # The programs are not dumpable, so a sanitizer cannot look for leaks at their end.
        return clean_environment(self.prefix, ASAN_OPTIONS="detect_leaks=0", **self._more_environment)

    def run(self, name, *arguments):
        """The output of a verb of a program, run by root."""
        return run(self._argv(name, *arguments), folder=self.prefix, environment=self._environment())

    def start(self, name):
        if name not in self.processes:
            sockets = {"keeper": "run/keeper.sock", "manager": "run/admin.sock"}
            self.processes[name] = Process(
                self._argv(name, "run"), log=self.prefix / "log" / name, folder=self.prefix,
                environment=self._environment(), ready=lambda: self._accepts(self.prefix / sockets[name]),
                port=self.external_port if name == "manager" else None)
        self.processes[name].start()

    @staticmethod
    def _accepts(path):
        with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX) as probe:
            probe.connect(str(path))
            return True
        return False

    def stop(self, name):
        return self.processes[name].stop()

    def kill(self, name):
        """As kill -9 or the end of the machine's power does."""
        return self.processes[name].kill()

    def restart(self, name):
        self.stop(name)
        self.start(name)

    def log(self, name):
        return self.processes[name].output()

    def check_sanitizers(self):
        for name in self.processes:
            text = self.log(name)
            for mark in SANITIZER_MARKS:
                if mark in text:
                    raise ServiceError(f"{name}:\n{text[text.index(mark):][:4000]}")

    # Data ------------------------------------------------------------------------------------------------------------

    @property
    def database_file(self):
        return self.prefix / "var/manager/bastide.db"

    def data_files(self):
        """Every file that holds data or logs of the manager, and all of PostgreSQL's."""
        folders = [self.prefix / "var/manager", self.prefix / "log"]
        if self.postgresql:
            folders.append(self.postgresql.folder)
        return [path for folder in folders for path in folder.rglob("*") if path.is_file()]

    def sql(self, statement):
        """Changes the database behind the manager's back; stop it before when it is SQLite."""
        if self.postgresql:
            return self.postgresql.query(statement, "bastide")
        return run(["/usr/bin/python3", "-c",
                    "import sqlite3, sys\nwith sqlite3.connect(sys.argv[1]) as c: c.executescript(sys.argv[2])",
                    self.database_file, statement], user=MANAGER_USER)

    # Requests --------------------------------------------------------------------------------------------------------

    @property
    def admin_token(self):
        if not self._admin_token:
            self._admin_token = self.run("manager", "token").strip()
        return self._admin_token

    def credentials(self, token=ADMIN, user=None):
        """Headers that say who asks: a token (None = nobody), or (name, password)."""
        if user:
            return {"Authorization": "Basic " + base64.b64encode(":".join(user).encode()).decode()}
        token = self.admin_token if token is ADMIN else token
        return {"Authentication-Token": token} if token else {}

    def connect(self, seconds=30):
        """A new verified connection to the API."""
        return http.client.HTTPSConnection(LOOPBACK, self.external_port, timeout=seconds, context=self.tls)

    def internal_connect(self, certificate=None, key=None, ca=None, seconds=30):
        """To the internal listener, with a client certificate when one is given."""
        context = ca or ssl.create_default_context(cadata=self.ca_certificate)
        context.minimum_version = ssl.TLSVersion.TLSv1_3
        if certificate:
            context.load_cert_chain(certificate, key)
        return http.client.HTTPSConnection(LOOPBACK, self.internal_port, timeout=seconds, context=context)

    @property
    def ca_certificate(self):
        return (self.prefix / "var/manager/tls/ca.crt").read_text()

    def api(self, method, path, body=None, token=ADMIN, tenant=None, user=None, headers=None, query=None):
        """One request; path is below /api/v3.1 unless it starts with /api/. body: bytes as they are, else as JSON."""
        sent = {**self.credentials(token, user), **(headers or {})}
        if tenant:
            sent["Tenant"] = tenant
        if body is not None and not isinstance(body, bytes):
            body = json_module.dumps(body).encode()
        if body is not None:
            sent.setdefault("Content-Type", "application/json")
        path = path if path.startswith("/api/") else BASE + path
        if query:
            path += "?" + urllib.parse.urlencode(query)
        return self._exchange(method, path, body, sent)

    def _exchange(self, method, path, body, headers):
        for attempt in range(2):
            connection = getattr(self._local, "connection", None)
            is_reused = connection is not None
            connection = connection or self.connect()
            self._local.connection = connection
            try:
                connection.request(method, path, body=body, headers=headers)
                response = connection.getresponse()
                answer = Answer(response.status, dict(response.getheaders()), response.read())
                break
            except (http.client.HTTPException, OSError):
                connection.close()
                self._local.connection = None
                if not is_reused or attempt:  # only a kept connection may have been closed meanwhile
                    raise
        with self._lock:
            self.transcript += repr(answer.headers).encode() + answer.body + b"\n"
        return answer

    def events(self, token=ADMIN, tenant=DEFAULT_TENANT, after=None, last_event_id=None, cluster=None):
        """An open event stream; the status must be 200."""
        connection = self.connect()
        parameters = {name: value for name, value in (("after", after), ("cluster_id", cluster)) if value is not None}
        headers = {**self.credentials(token), "Tenant": tenant}
        if last_event_id is not None:
            headers["Last-Event-ID"] = str(last_event_id)
        connection.request("GET", f"{BASE}/events/stream?{urllib.parse.urlencode(parameters)}", headers=headers)
        stream_socket = connection.sock  # http.client forgets it once an answer has no end of its own
        response = connection.getresponse()
        if response.status != 200:
            raise ServiceError(f"no stream: {response.status} {response.read()[:500]!r}")
        return EventStream(connection, stream_socket, response)
