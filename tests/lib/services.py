# SPDX-License-Identifier: Apache-2.0
"""Real services for black-box tests: each is a context manager that starts in a temporary folder, listens on a free
port of 127.0.0.1, and is gone with all its processes and data when the block ends, also after a failed test.

    with PostgreSQL() as database, Sshd() as node:
        database.query("select 1")
        node.run("hostname")

Started by root, PostgreSQL runs as `postgres`, and sshd as root in a mount namespace of its own. Only the standard
library is used. Passwords go through files, never through arguments or the environment."""

import contextlib
import ctypes
import os
import pathlib
import pwd
import secrets
import shlex
import shutil
import signal
import socket
import subprocess
import tempfile
import time

LOOPBACK = "127.0.0.1"
MARK = "BASTIDE_TEST_SERVICE"  # in the environment of all we start: finds processes that left their group
START_SECONDS = 30
STOP_SECONDS = 10
_PR_SET_PDEATHSIG = 1


class ServiceError(Exception):
    """A service did not start, or a command of it failed; the text has the end of its log."""


def free_port():
    """A port of 127.0.0.1 on which nobody listens now. Another may take it before you do: retry."""
    with socket.socket() as probe:
        probe.bind((LOOPBACK, 0))
        return probe.getsockname()[1]


def is_listening(port, host=LOOPBACK):
    with contextlib.suppress(OSError), socket.create_connection((host, port), timeout=1):
        return True
    return False


def wait_until(condition, seconds, what):
    """Calls condition until it returns something true, which is returned."""
    deadline = time.monotonic() + seconds
    while True:
        result = condition()
        if result:
            return result
        if time.monotonic() > deadline:
            raise ServiceError(f"after {seconds} s still waiting for {what}")
        time.sleep(0.02)


@contextlib.contextmanager
def temporary_folder(owner=None):
    """A folder that only its owner may enter (a user name; the caller when None)."""
    path = pathlib.Path(tempfile.mkdtemp(prefix="bastide-test-"))
    try:
        if owner and os.geteuid() == 0:
            account = pwd.getpwnam(owner)
            os.chown(path, account.pw_uid, account.pw_gid)
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)


def _as_user(user, argv):
    """The command that runs argv as the user; argv itself when we are nobody else than that."""
    argv = [str(word) for word in argv]
    if not user or os.geteuid() != 0:
        return argv
    group = str(pwd.getpwnam(user).pw_gid)
    return ["setpriv", f"--reuid={user}", f"--regid={group}", "--init-groups", "--no-new-privs", "--", *argv]


def clean_environment(home, **more):
    """Nothing of the caller's environment but PATH: libpq, ssh and others read files below HOME."""
    return {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "LANG": "C.UTF-8",
            "HOME": str(home), **more}


def run(argv, *, user=None, folder="/", environment=None, seconds=60, **more):
    """Runs a command to its end; its output as text. ServiceError with the output when it fails."""
    result = subprocess.run(_as_user(user, argv), cwd=folder, env=environment or clean_environment(folder),
                            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=seconds, check=False,
                            **({"stdin": subprocess.DEVNULL} if "input" not in more else {}), **more)
    if result.returncode != 0:
        raise ServiceError(f"{shlex.join(map(str, argv))}: status {result.returncode}\n{result.stdout}")
    return result.stdout


def _die_with_parent():
    """In the child: end when the test process ends, however that happens."""
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


def _parents():
    """Process number to the number of its parent, for all processes."""
    parents = {}
    for entry in pathlib.Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError, ValueError, IndexError):
                parents[int(entry.name)] = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
    return parents


class Process:
    """A program in the background, in its own session, with its output in a log file.

    port: waited for; ready: a function that is asked until it returns true; stop_signal: what ends it in order."""

    def __init__(self, argv, *, log, user=None, folder="/", environment=None, port=None, ready=None,
                 stop_signal=signal.SIGTERM, seconds=START_SECONDS, pass_fds=()):
        self.name = os.path.basename(str(argv[0]))
        self.log = pathlib.Path(log)
        self._argv = _as_user(user, argv)
        self._folder = folder
        self._mark = secrets.token_hex(12)
        self._environment = dict(environment or clean_environment(folder), **{MARK: self._mark})
        self._port, self._ready, self._seconds = port, ready, seconds
        self._stop_signal, self._pass_fds = stop_signal, pass_fds
        self._child = None

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *_):
        self.stop()

    @property
    def pid(self):
        return self._child.pid if self._child else None

    def is_running(self):
        return self._child is not None and self._child.poll() is None

    def output(self):
        """What it has written to standard output and error since its first start."""
        return self.log.read_text(errors="replace") if self.log.exists() else ""

    def start(self):
        """Returns when it is ready; stops it again and raises ServiceError when it does not become so."""
        with open(self.log, "ab") as log:
            # pylint: disable=consider-using-with,subprocess-popen-preexec-fn
            self._child = subprocess.Popen(self._argv, cwd=self._folder, env=self._environment,
                                           stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT,
                                           start_new_session=True, pass_fds=self._pass_fds,
                                           preexec_fn=_die_with_parent)
        try:
            if self._port:
                self._wait(lambda: is_listening(self._port), f"port {self._port}")
            if self._ready:
                self._wait(self._ready, "its readiness")
        except BaseException:
            self.kill()
            raise

    def _wait(self, condition, what):
        def check():
            if not self.is_running():
                raise ServiceError(f"{self.name} ended with status {self._child.returncode}\n{self.output()[-4000:]}")
            return condition()
        try:
            wait_until(check, self._seconds, f"{what} of {self.name}")
        except ServiceError as error:
            raise ServiceError(f"{error}\n{self.output()[-4000:]}") from None

    def wait_for_output(self, text, seconds=START_SECONDS):
        wait_until(lambda: text in self.output(), seconds, f"'{text}' in the log of {self.name}")

    def signal(self, number):
        self._child.send_signal(number)

    def stop(self):
        """In order first; by force when that takes too long. Its exit status, or None when it was not started."""
        if not self._child:
            return None
        if self.is_running():
            self._child.send_signal(self._stop_signal)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._child.wait(STOP_SECONDS)
        return self.kill()

    def kill(self):
        """Ends it and everything it started, as kill -9 does."""
        if not self._child:
            return None
        wait_until(self._kill_all, STOP_SECONDS, f"the end of all processes of {self.name}")
        status = self._child.wait()
        self._child = None
        return status

    def members(self):
        """Its process and all that came from it and still run, also those that left its session or its parent."""
        parents = _parents()
        found = {self._child.pid} if self.is_running() else set()
        mark = f"{MARK}={self._mark}".encode()
        for number in parents:
            with contextlib.suppress(OSError):
                if mark in pathlib.Path(f"/proc/{number}/environ").read_bytes().split(b"\0"):
                    found.add(number)
        for _ in range(64):
            more = {number for number, parent in parents.items() if parent in found} - found
            if not more:
                break
            found |= more
        return found

    def _kill_all(self):
        members = self.members()
        for number in members:
            with contextlib.suppress(ProcessLookupError):
                os.kill(number, signal.SIGKILL)
        self._child.poll()
        return not members


class Authority:
    """A certificate authority for tests: ca_file and what it issued, as PEM files in one folder."""

    def __init__(self, folder, name="bastide test authority"):
        self.folder = pathlib.Path(folder)
        self.ca_file, self._key = self.folder / "ca.crt", self.folder / "ca.key"
        self._openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2",
                      "-subj", f"/CN={name}", "-addext", "keyUsage=critical,keyCertSign,cRLSign",
                      "-keyout", self._key, "-out", self.ca_file)

    def _openssl(self, *arguments):
        run(["openssl", *arguments], folder=self.folder)

    def issue(self, name, alternative_names=("DNS:localhost", "IP:127.0.0.1")):
        """(certificate file, key file) for these names, good as server and as client."""
        certificate, key, request, extensions = (self.folder / f"{name}.{ending}" for ending in
                                                 ("crt", "key", "csr", "ext"))
        extensions.write_text(f"subjectAltName={','.join(alternative_names)}\n"
                              "basicConstraints=critical,CA:FALSE\nextendedKeyUsage=serverAuth,clientAuth\n")
        self._openssl("req", "-new", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
                      "-subj", f"/CN={name}", "-keyout", key, "-out", request)
        self._openssl("x509", "-req", "-in", request, "-CA", self.ca_file, "-CAkey", self._key, "-days", "2",
                      "-set_serial", str(secrets.randbits(60) + 1), "-extfile", extensions, "-out", certificate)
        key.chmod(0o600)
        return certificate, key


class PostgreSQL:
    """A PostgreSQL server that speaks TLS 1.3 only and asks for a password (SCRAM).

    ca_file, port, user, pass_file; conninfo() for libpq. For faults: process (kill, signal), start, stop."""

    def __init__(self, binaries="/usr/lib/postgresql/15/bin", settings=None):
        self._binaries = pathlib.Path(os.environ.get("BASTIDE_POSTGRESQL_BIN", binaries))
        self._settings = {"fsync": "off", "max_connections": 60, "shared_buffers": "32MB", **(settings or {})}
        self._account = "postgres" if os.geteuid() == 0 else None
        self._stack = contextlib.ExitStack()
        self.user, self.host, self.port = "bastide", LOOPBACK, None
        self.folder = self.ca_file = self.pass_file = self.process = None

    def __enter__(self):
        with contextlib.ExitStack() as stack:
            self._prepare(stack)
            self.start()
            stack.callback(self.stop)
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_):
        self._stack.close()

    def _prepare(self, stack):
        # Two folders: the server's is closed to everybody else, and the client must read its files as another user.
        self.folder = stack.enter_context(temporary_folder(self._account))
        own = stack.enter_context(temporary_folder())
        password = secrets.token_urlsafe(24)
        self.ca_file, self.pass_file = own / "ca.crt", own / "pgpass"
        authority = Authority(own)
        certificate, key = authority.issue("server")
        password_file = self._give("password", password)
        run([self._binaries / "initdb", "-D", self.folder / "data", "-U", self.user, "-A", "scram-sha-256",
             f"--pwfile={password_file}", "-E", "UTF8", "--locale=C.UTF-8", "--no-sync"],
            user=self._account, folder=self.folder)
        password_file.unlink()
        for source, name in ((certificate, "server.crt"), (key, "server.key")):
            self._give("data/" + name, source.read_text())
        self._give("data/pg_hba.conf", f"hostssl all all {LOOPBACK}/32 scram-sha-256\n")
        self.pass_file.touch(mode=0o600)
        self.pass_file.write_text(f"*:*:*:{self.user}:{password}\n")

    def _give(self, name, text):
        """A file of the server's user that nobody else reads."""
        path = self.folder / name
        path.unlink(missing_ok=True)
        path.touch(mode=0o600)
        path.write_text(text)
        if self._account:
            account = pwd.getpwnam(self._account)
            os.chown(path, account.pw_uid, account.pw_gid)
        return path

    def start(self):
        """Also after stop() and process.kill(): data and port stay."""
        self.port = self.port or free_port()
        settings = {"listen_addresses": LOOPBACK, "port": self.port, "unix_socket_directories": self.folder,
                    "ssl": "on", "ssl_cert_file": "server.crt", "ssl_key_file": "server.key",
                    "ssl_min_protocol_version": "TLSv1.3", **self._settings}
        arguments = [word for name, value in settings.items() for word in ("-c", f"{name}={value}")]
        self.process = Process([self._binaries / "postgres", "-D", self.folder / "data", *arguments],
                               log=self.folder / "log", user=self._account, folder=self.folder, port=self.port,
                               ready=self._is_ready, stop_signal=signal.SIGINT)
        self.process.start()

    def _is_ready(self):
        return subprocess.run([self._binaries / "pg_isready", "-q", "-h", self.host, "-p", str(self.port)],
                              env=clean_environment(self.folder), check=False).returncode == 0

    def stop(self):
        return self.process.stop()

    def conninfo(self, database="postgres"):
        """For libpq, complete: verifies the server, takes the password from a file."""
        return (f"host={self.host} port={self.port} user={self.user} dbname={database} sslmode=verify-full "
                f"sslrootcert={self.ca_file} passfile={self.pass_file}")

    def query(self, sql, database="postgres"):
        """The rows as lists of strings (NULL and '' are the same)."""
        output = run(["psql", "-X", "-q", "-A", "-t", "-F", "\x1f", "-v", "ON_ERROR_STOP=1", "-f", "-",
                      self.conninfo(database)], folder=self.pass_file.parent, input=sql)
        return [line.split("\x1f") for line in output.splitlines()]

    def create_database(self, name):
        self.query(f'create database "{name}"')
        return self.conninfo(name)


class Sshd:
    """A real sshd that takes one key (client_key), and certificates of user_ca when one is given.

    principals: {user: [principal]} for certificates. host_key is its public line; run() executes a command on it.
    Started by root it lets every user in and has a /run of its own; otherwise only the caller's user."""

    def __init__(self, *, user_ca=None, principals=None, settings=None):
        self._user_ca, self._principals, self._settings = user_ca, principals or {}, settings or {}
        self._stack = contextlib.ExitStack()
        self.host, self.port, self.user = LOOPBACK, None, pwd.getpwuid(os.geteuid()).pw_name
        self.folder = self.process = self.host_key = self.client_key = self.known_hosts = None

    def __enter__(self):
        with contextlib.ExitStack() as stack:
            self.folder = stack.enter_context(temporary_folder())
            # Another user's session reads its authorized keys here.
            self.folder.chmod(0o755)
            self._prepare()
            self.start()
            stack.callback(self.stop)
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_):
        self._stack.close()

    def _prepare(self):
        self.client_key, self.known_hosts = self.folder / "client", self.folder / "known_hosts"
        for name in ("host", "client"):
            run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", name, "-f", self.folder / name])
        self.host_key = " ".join((self.folder / "host.pub").read_text().split()[:2])
        shutil.copy(self.folder / "client.pub", self.folder / "authorized_keys")
        (self.folder / "principals").mkdir()
        for user, names in self._principals.items():
            (self.folder / "principals" / user).write_text("".join(f"{name}\n" for name in names))

    def _write_configuration(self):
        settings = {"Port": self.port, "ListenAddress": LOOPBACK, "HostKey": self.folder / "host", "PidFile": "none",
                    "UsePAM": "no", "StrictModes": "no", "PasswordAuthentication": "no",
                    "KbdInteractiveAuthentication": "no", "PermitRootLogin": "prohibit-password",
                    "AuthorizedKeysFile": self.folder / "authorized_keys", "MaxStartups": "1000", "MaxSessions": "100",
                    "PrintMotd": "no", "UseDNS": "no", "LogLevel": "VERBOSE", "Subsystem": "sftp internal-sftp",
                    **self._settings}
        if self._user_ca:
            authority = self.folder / "user_ca.pub"
            authority.write_text(self._user_ca.rstrip("\n") + "\n")
            settings |= {"TrustedUserCAKeys": authority, "AuthorizedPrincipalsFile": self.folder / "principals/%u"}
        path = self.folder / "sshd_config"
        path.write_text("".join(f"{name} {value}\n" for name, value in settings.items()))
        return path

    def start(self):
        self.port = self.port or free_port()
        self.known_hosts.write_text(f"[{self.host}]:{self.port} {self.host_key}\n")
        argv = ["/usr/sbin/sshd", "-D", "-e", "-f", str(self._write_configuration())]
        if os.geteuid() == 0:  # sshd of root wants /run/sshd; what it is given vanishes with the namespace
            script = 'mount -t tmpfs -o mode=755 tmpfs /run && mkdir -m 755 /run/sshd && exec "$@"'
            argv = ["unshare", "--mount", "--propagation", "private", "sh", "-c", script, "sh", *argv]
        self.process = Process(argv, log=self.folder / "log", port=self.port)
        self.process.start()

    def stop(self):
        return self.process.stop()

    def command(self, *words, user=None, key=None, options=()):
        """The ssh command line; the words are one shell command on the other side."""
        settings = {"BatchMode": "yes", "IdentitiesOnly": "yes", "StrictHostKeyChecking": "yes",
                    "UserKnownHostsFile": self.known_hosts, "GlobalKnownHostsFile": "/dev/null",
                    "ConnectTimeout": 10, "LogLevel": "ERROR"}
        flags = [word for name, value in settings.items() for word in ("-o", f"{name}={value}")]
        return ["ssh", "-F", "/dev/null", *flags, *options, "-i", str(key or self.client_key), "-p", str(self.port),
                "-l", user or self.user, self.host, *words]

    def run(self, *words, **more):
        """Standard output of a command; ServiceError when it fails."""
        return run(self.command(*words, **more), folder=self.folder)
