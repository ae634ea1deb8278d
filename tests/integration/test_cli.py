# SPDX-License-Identifier: Apache-2.0
"""The command line against a real manager, and against servers that must not be trusted (CH2). Needs root, as the
manager does, and the program `cli` of the build."""

import datetime
import http.server
import ipaddress
import json
import os
import pathlib
import pty
import re
import select
import ssl
import stat
import subprocess
import threading
import time

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from conftest import PASSWORD, build_directory
from samples import SMALL, prepare_tenant

PROGRAM = pathlib.Path(build_directory()) / "src/cli/bastide"
HOSTILE = "evil\033]0;owned\007\u202etxt\x9b31m"


class Person:
    """Somebody with a home of their own; calls return what subprocess.run gives."""

    def __init__(self, home, bastide):
        self.home, self.bastide = home, bastide
        self.ca = home / "ca.crt"
        self.ca.write_text(bastide.ca_certificate)
        self.url = f"https://localhost:{bastide.external_port}"
        self.config = home / ".config/bastide"

    @property
    def environment(self):
        return {"HOME": str(self.home), "PATH": os.environ["PATH"], "TERM": "xterm",
                "ASAN_OPTIONS": "detect_leaks=0" if os.environ.get("NO_LEAKS") else ""}

    def run(self, *arguments, status=0, text=None, **environment):
        done = subprocess.run([PROGRAM, *map(str, arguments)], input=text or "", capture_output=True, text=True,
                              timeout=60, env={**self.environment, **environment}, check=False)
        assert "Sanitizer" not in done.stderr, done.stderr
        assert done.returncode == status, f"{done.returncode} instead of {status}:\n{done.stdout}\n{done.stderr}"
        return done

    def json(self, *arguments, **more):
        return json.loads(self.run(*arguments, "-o", "json", **more).stdout)

    def login(self, *more, status=0, user="admin", password=None, **others):
        return self.run("login", "--url", self.url, "--user", user, "--ca", self.ca, "--password-stdin", *more,
                        status=status, text=(password or PASSWORD) + "\n", **others)

    def login_with_token(self):
        return self.run("login", "--url", self.url, "--ca", self.ca, "--token-stdin", text=self.bastide.admin_token)


@pytest.fixture(name="person")
def meet_person(tmp_path, bastide):
    return Person(tmp_path, bastide)


@pytest.fixture(name="admin")
def meet_admin(person):
    person.login_with_token()
    return person


@pytest.fixture(name="account")
def make_account(people):
    name = people.account()
    people.join(name, "default_tenant", "viewer")
    return name


# Signing in ----------------------------------------------------------------------------------------------------------

def test_login_keeps_a_token_and_no_password(person, account):
    done = person.login(user=account)
    assert f"as {account}" in done.stdout
    path = person.config / "profiles.json"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(person.config.stat().st_mode) == 0o700
    assert all(PASSWORD not in file.read_text() for file in person.config.iterdir())
    profile = json.loads(path.read_text())["profiles"]["default"]
    assert profile["token"].startswith("btk-")
    assert person.json("whoami")["username"] == account
    shown = person.run("profile", "show").stdout + person.run("profile", "list", "-o", "json").stdout
    assert profile["token"] not in shown


def test_wrong_password_leaves_nothing(person, account):
    done = person.login(user=account, password="not the password", status=77)
    assert "user or password is wrong" in done.stderr and "not the password" not in done.stderr
    assert not (person.config / "profiles.json").exists()


def test_password_is_asked_without_echo(person, account):
    child, master = pty.fork()
    if child == 0:
        os.execve(PROGRAM, [PROGRAM, "login", "--url", person.url, "--user", account, "--ca", str(person.ca)],
                  person.environment)
    screen = read_until(master, b"Password of")
    os.write(master, PASSWORD.encode() + b"\n")
    screen += read_until(master, b"Signed in")
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    os.close(master)
    assert PASSWORD.encode() not in screen


def read_until(descriptor, mark):
    seen, deadline = b"", time.monotonic() + 20
    while mark not in seen and time.monotonic() < deadline:
        if select.select([descriptor], [], [], 0.5)[0]:
            seen += os.read(descriptor, 4096)
    assert mark in seen, seen
    time.sleep(0.1)  # the prompt is written after echo went off; give the terminal its turn
    return seen


def test_one_time_password_is_changed_at_once(person, people):
    name = people.account(must_change_password=True)
    done = person.run("login", "--url", person.url, "--user", name, "--ca", person.ca, "--password-stdin",
                      text=f"{PASSWORD}\nanother good password\n")
    assert "Signed in" in done.stdout and "for one use" in done.stderr
    assert person.json("whoami")["must_change_password"] is False
    person.login(user=name, status=77)


def test_login_finds_the_tenant(person, people):
    tenant, name = people.tenant(), people.account()
    assert "in no tenant" in person.login(user=name).stdout
    people.join(name, tenant, "viewer")
    person.login("--profile", "other", user=name)
    assert person.json("profile", "show", "other")["tenant"] == tenant
    assert person.json("clusters", "list", "--profile", "other")["items"] == []


def test_logout_revokes_the_token(person, account):
    person.login(user=account)
    token = json.loads((person.config / "profiles.json").read_text())["profiles"]["default"]["token"]
    assert person.bastide.api("GET", "/user", token=token).status == 200
    person.run("logout")
    assert person.bastide.api("GET", "/user", token=token).status == 401
    assert "token" not in json.loads((person.config / "profiles.json").read_text())["profiles"]["default"]
    assert "Sign in" in person.run("whoami", status=77).stderr


def test_profiles_are_chosen(admin, people):
    admin.login("--profile", "other", user=people.account())
    assert admin.json("whoami")["username"] == "admin"
    assert admin.json("whoami", "--profile", "other")["username"] != "admin"
    assert admin.json("whoami", BASTIDE_PROFILE="other")["username"] != "admin"
    admin.run("profile", "use", "other")
    assert admin.json("whoami")["username"] != "admin"
    admin.run("profile", "remove", "other")
    assert [profile["name"] for profile in admin.json("profile", "list")["items"]] == ["default"]


def test_file_that_others_can_read_is_refused(admin):
    path = admin.config / "profiles.json"
    path.chmod(0o644)
    assert "chmod 600" in admin.run("whoami", status=78).stderr


def test_another_url_ends_the_session(admin):
    """The token of one manager never goes to another."""
    admin.run("profile", "set", "--url", "https://localhost:1")
    assert "signed out" in admin.run("whoami", status=77).stderr


# Trust (CH2) ---------------------------------------------------------------------------------------------------------

def fingerprint(pem):
    return x509.load_pem_x509_certificate(pem.encode()).fingerprint(hashes.SHA256()).hex()


def test_first_contact_needs_the_fingerprint(person, account):
    arguments = ("login", "--url", person.url, "--user", account, "--password-stdin")
    done = person.run(*arguments, status=77, text=PASSWORD)
    assert "--ca-fingerprint" in done.stderr
    done = person.run(*arguments, "--ca-fingerprint", "0" * 64, status=77, text=PASSWORD)
    assert "another fingerprint" in done.stderr
    assert not (person.config / "profiles.json").exists()
    right = fingerprint(person.bastide.ca_certificate)
    colons = ":".join(re.findall("..", right.upper()))
    person.run(*arguments, "--ca-fingerprint", f"SHA256:{colons}", text=PASSWORD)
    assert (person.config / "default.ca.pem").read_text().strip() == person.bastide.ca_certificate.strip()
    assert person.json("whoami")["username"] == account


class Authority:
    """A CA of somebody else."""

    def __init__(self):
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.certificate = self._build("Stranger CA", self.key, x509.BasicConstraints(ca=True, path_length=0))

    def _build(self, name, key, constraints, names=(), life=(-1, 1), issuer=None):
        now = datetime.datetime.utcnow()
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        builder = (x509.CertificateBuilder().subject_name(subject).issuer_name(issuer or subject)
                   .public_key(key.public_key()).serial_number(x509.random_serial_number())
                   .not_valid_before(now + datetime.timedelta(days=life[0]))
                   .not_valid_after(now + datetime.timedelta(days=life[1]))
                   .add_extension(constraints, critical=True)
                   .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
                   .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(self.key.public_key()),
                                  critical=False)
                   .add_extension(x509.KeyUsage(not constraints.ca, False, False, False, False, constraints.ca,
                                                constraints.ca, False, False), critical=True))
        if names:
            builder = (builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
                       .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False))
        return builder.sign(self.key, hashes.SHA256())

    def issue(self, folder, names, life):
        key = ec.generate_private_key(ec.SECP256R1())
        leaf = self._build("server", key, x509.BasicConstraints(ca=False, path_length=None), names, life,
                           self.certificate.subject)
        path = folder / "server.pem"
        path.write_bytes(leaf.public_bytes(serialization.Encoding.PEM) + key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()))
        return path

    @property
    def pem(self):
        return self.certificate.public_bytes(serialization.Encoding.PEM).decode()


class Stranger:
    """An HTTPS server of that CA which notes every request, and answers /ca as a manager does."""

    def __init__(self, folder, names=None, life=(-1, 1), answer=None):
        self.authority, self.requests = Authority(), []
        names = names or [x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
        stranger = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def answer(self):
                length = int(self.headers.get("Content-Length") or 0)
                stranger.requests.append((self.command, self.path, dict(self.headers), self.rfile.read(length)))
                status, kind, body = answer or (200, "application/x-pem-file", stranger.authority.pem)
                data = body.encode()
                self.send_response(status)
                self.send_header("Content-Type", kind)
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            do_GET = do_POST = do_PUT = do_DELETE = answer

            def log_message(self, *_):
                pass

        class Server(http.server.ThreadingHTTPServer):
            daemon_threads = True

            def handle_error(self, *_):
                """Refused handshakes are what the tests are about."""

        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.authority.issue(folder, names, life))
        self.server = Server(("127.0.0.1", 0), Handler)
        self.server.socket = context.wrap_socket(self.server.socket, server_side=True)
        self.url = f"https://localhost:{self.server.server_port}"

    def __enter__(self):
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_):
        self.server.shutdown()
        self.server.server_close()


@pytest.mark.parametrize("what", ["wrong-ca", "wrong-name", "expired", "not-yet-valid"])
def test_untrusted_servers_get_nothing_ch2(person, tmp_path, what):
    """CH2: no request, let alone a password or token, reaches a server that the CA does not vouch for."""
    options = {"wrong-name": {"names": [x509.DNSName("other.example")]}, "expired": {"life": (-3, -1)},
               "not-yet-valid": {"life": (1, 3)}}.get(what, {})
    with Stranger(tmp_path, **options) as stranger:
        ca = tmp_path / "stranger.crt"
        ca.write_text(person.bastide.ca_certificate if what == "wrong-ca" else stranger.authority.pem)
        done = person.run("login", "--url", stranger.url, "--user", "admin", "--ca", ca, "--password-stdin",
                          text=PASSWORD, status=77)
        assert "does not vouch" in done.stderr
        token = person.run("login", "--url", stranger.url, "--ca", ca, "--token-stdin", status=77,
                           text="btk-" + "a" * 20 + "-" + "b" * 43)
        assert "does not vouch" in token.stderr
        assert stranger.requests == []
    assert not (person.config / "profiles.json").exists()


def test_first_contact_sends_no_credentials(person, tmp_path):
    with Stranger(tmp_path) as stranger:
        person.run("login", "--url", stranger.url, "--user", "admin", "--password-stdin", text=PASSWORD, status=77)
        assert [(method, path) for method, path, _, _ in stranger.requests] == [("GET", "/api/v3.1/ca")]
        _, _, headers, body = stranger.requests[0]
        assert set(headers) <= {"Host", "Connection", "Accept"} and body == b""


@pytest.mark.parametrize("options", [{"names": [x509.DNSName("other.example")]}, {"life": (-3, -1)}])
def test_first_contact_refuses_a_ca_that_does_not_fit(person, tmp_path, options):
    with Stranger(tmp_path, **options) as stranger:
        done = person.run("login", "--url", stranger.url, "--user", "admin", "--password-stdin", "--ca-fingerprint",
                          fingerprint(stranger.authority.pem), text=PASSWORD, status=77)
        assert "does not fit" in done.stderr


@pytest.mark.parametrize("status, kind, body, expected, words", [
    (502, "text/html", "<html>", 76, "not one of a Bastide manager"),
    (200, "application/json", "{", 76, "cannot be read"),
    (200, "application/json", "[]", 76, "no token"),
    (503, "application/problem+json", json.dumps({"type": "urn:bastide:error:sealed", "message": HOSTILE}), 69,
     "bastide-keeper unseal"),
])
def test_strange_answers(person, tmp_path, status, kind, body, expected, words):
    """Also of a server that is trusted: what it says is not acted on by the terminal."""
    with Stranger(tmp_path, answer=(status, kind, body)) as stranger:
        ca = tmp_path / "stranger.crt"
        ca.write_text(stranger.authority.pem)
        done = person.run("login", "--url", stranger.url, "--user", "admin", "--ca", ca, "--password-stdin",
                          text=PASSWORD, status=expected)
        assert words in done.stderr
        assert not set(done.stderr) & set("\033\007\u202e\x9b")


# Statuses and output -------------------------------------------------------------------------------------------------

def test_exit_statuses(admin):
    assert "did you mean 'clusters list'" in admin.run("clusters", "lst", status=64).stderr
    assert "bastide clusters list" in admin.run("clusters", "show", "no-such", status=66).stderr
    admin.run("clusters", "plan", "x", "--template", "no-such", status=65)
    admin.run("clusters", "plan", "x", status=64)
    admin.run("catalog", "list", "nonsense", status=64)
    admin.run("users", "list", "-o", "xml", status=64)
    admin.run("users", "list", "--profile", "no-such", status=77)
    admin.run("tenants", "delete", "default_tenant", "--yes", status=73)
    admin.run("tenants", "delete", "default_tenant", status=130)  # nobody is there to be asked


def test_unreachable_manager(person):
    done = person.run("login", "--url", "https://localhost:1", "--user", "a", "--ca", person.ca, "--password-stdin",
                      text=PASSWORD, status=69)
    assert "Is the manager running" in done.stderr


def test_rights_are_the_managers_business(person, account):
    person.login(user=account)
    done = person.run("users", "list", status=77)
    assert "bastide whoami" in done.stderr
    done = person.run("whoami", "--tenant", "no-such-tenant")
    assert account in done.stdout


def test_output_of_lists(admin, unique):
    name = unique("tenant")
    admin.bastide.api("POST", f"/tenants/{name}", {"description": HOSTILE}).expect(201)
    table = admin.run("tenants", "list").stdout
    assert name in table and not set(table) & set("\033\007\u202e\x9b")
    assert "\\x1b]0;owned\\x07\\u{202e}txt\\u{9b}31m" in table
    items = admin.json("tenants", "list")["items"]
    assert next(item for item in items if item["name"] == name)["description"] == HOSTILE
    for form in ("json", "yaml"):
        assert not set(admin.run("tenants", "list", "-o", form).stdout) & set("\033\007\u202e\x9b")
    admin.run("tenants", "delete", name, "--yes")


def test_lists_are_whole_or_limited(admin):
    with_many = [admin.bastide.api("POST", "/tokens", {"description": f"token {number}"}).expect(201).json["id"]
                 for number in range(12)]
    listed = [item["id"] for item in admin.json("tokens", "list")["items"]]
    assert set(with_many) <= set(listed)
    assert len(admin.json("tokens", "list", "--limit", "5")["items"]) == 5
    for token in with_many:
        admin.run("tokens", "revoke", token)


def test_secrets_go_to_standard_output_alone(admin, unique):
    done = admin.run("tokens", "create", "--life", "1h")
    assert re.fullmatch(r"btk-[a-z2-7]{20}-[\w-]{43}\n", done.stdout)
    assert done.stdout.strip() not in done.stderr
    done = admin.run("provisioners", "enrol", unique("p"))
    assert re.fullmatch(r"bpe-[a-z2-7]{20}-[\w-]{43}\n", done.stdout)


def test_full_disk_is_told(admin):
    with open("/dev/full", "w", encoding="utf-8") as full:
        done = subprocess.run([PROGRAM, "users", "list"], stdout=full, stderr=subprocess.PIPE, env=admin.environment,
                              check=False)
    assert done.returncode == 74 and b"cannot write" in done.stderr


# Access --------------------------------------------------------------------------------------------------------------

def test_groups_roles_and_permissions(admin, people, unique):
    tenant, user, group, role = people.tenant(), people.account(), unique("group"), unique("role")
    admin.run("groups", "create", group, "--ldap-group", f"cn={group}")
    admin.run("groups", "add-user", group, user)
    admin.run("tenants", "add-group", tenant, group, "--role", "operations")
    shown = admin.run("groups", "show", group).stdout
    assert user in shown and "operations" in shown and f"cn={group}" in shown
    assert group in admin.run("tenants", "show", tenant).stdout
    assert group in admin.run("groups", "list").stdout
    admin.run("groups", "change", group, status=64)
    admin.run("groups", "change", group, "--role", "auditor")
    assert admin.json("groups", "show", group)["role"] == "auditor"
    admin.run("roles", "create", role, "--description", "for tests")
    admin.run("permissions", "add", role, "cluster_get")
    assert "cluster_get" in admin.run("roles", "show", role).stdout
    assert [row["permission"] for row in admin.json("permissions", "list", role)["items"]] == ["cluster_get"]
    admin.run("permissions", "remove", role, "cluster_get")
    admin.run("permissions", "add", role, "user_list", status=73)
    assert role in admin.run("roles", "list").stdout
    admin.run("roles", "delete", role, "--yes")
    admin.run("tenants", "remove-group", tenant, group)
    admin.run("groups", "delete", group, "--yes", status=73)
    admin.run("groups", "remove-user", group, user)
    admin.run("groups", "delete", group, "--yes")


def test_visibility_grants_and_explanations(admin, people):
    user, tenant = people.account(), people.tenant()
    people.join(user, tenant, "viewer")
    admin.run("profile", "set", "--tenant", tenant)
    prepare_tenant(admin.bastide, tenant)
    admin.run("visibility", "set", "service/app", "private")
    admin.run("visibility", "set", "service/app", "public", status=65)
    admin.run("visibility", "set", "app", "private", status=64)
    explain = lambda: admin.run("access", "explain", user, "catalog_get", "service/app").stdout
    assert "hidden" in explain()
    admin.run("grants", "add", "service/app", "read", "write", status=64)
    admin.run("grants", "add", "service/app", "read", "write", "--user", user)
    assert user in admin.run("grants", "list", "service/app").stdout
    shown = explain()
    assert "sight" in shown and "read" in shown and "viewer" in shown
    assert user in admin.run("access", "review").stdout
    admin.run("grants", "remove", "service/app", "--user", user)
    admin.run("grants", "remove", "service/app", "--user", user, status=66)
    assert "hidden" in explain()


# Work ----------------------------------------------------------------------------------------------------------------

def write_catalog(folder):
    for kind, documents in SMALL.items():
        (folder / kind).mkdir(parents=True)
        for document in documents:
            (folder / kind / f"{document['name']}.json").write_text(json.dumps(document))
    return folder


def write_bundle(folder):
    folder.mkdir()
    scripts = {f"{action}.sh": {"description": "", "idempotent": True} for action in ("install", "start")}
    (folder / "manifest.json").write_text(json.dumps(
        {"name": "app", "version": "cli", "description": "", "scripts": scripts}))
    for script in scripts:
        (folder / script).write_text("#!/bin/sh\n")
    return folder


@pytest.fixture(name="prepared")
def prepare_tenant_by_hand(admin, people, tmp_path):
    """A person in a tenant whose catalog and bundle came through the command line."""
    admin.run("profile", "set", "--tenant", people.tenant())
    admin.run("catalog", "import", write_catalog(tmp_path / "catalog"))
    admin.run("bundles", "add", write_bundle(tmp_path / "bundle"))
    admin.run("bundles", "approve", "app")
    return admin


def test_catalog_goes_round(prepared, tmp_path):
    assert "0 new or changed" in prepared.run("catalog", "import", tmp_path / "catalog").stdout
    prepared.run("catalog", "export", "--directory", tmp_path / "out")
    assert "0 new or changed" in prepared.run("catalog", "import", tmp_path / "out").stdout
    (tmp_path / "all.yaml").write_text(prepared.run("catalog", "export").stdout)
    assert "0 new or changed" in prepared.run("catalog", "import", tmp_path / "all.yaml").stdout
    assert "name: app" in prepared.run("catalog", "show", "service", "app").stdout
    prepared.run("catalog", "delete", "services", "app")
    prepared.run("catalog", "show", "service", "app", status=66)


def test_faults_of_documents_have_file_and_line(prepared, tmp_path):
    path = tmp_path / "bad.yaml"
    path.write_text("name: bad\nnetwork:\n  ports:\n  - port: 80\n    from: [anywhere]\n  - port: 99999\n    from: []\n")
    done = prepared.run("catalog", "validate", path, "--kind", "service", status=1)
    assert f"{path}:6:5: error: network.ports[1].port: " in done.stdout
    done = prepared.run("catalog", "import", path, "--kind", "service", status=65)
    assert f"{path}:6:5: " in done.stderr
    path.write_text("name: [\n")
    assert f"{path}:2:" in prepared.run("catalog", "validate", path, "--kind", "service", status=65).stderr


def test_bundles_are_known_by_their_content(prepared, tmp_path):
    other = write_bundle(tmp_path / "other")
    for file in other.iterdir():
        os.utime(file, (1, 1))
    assert "there already and approved" in prepared.run("bundles", "add", other).stdout
    digest = prepared.json("bundles", "list")["items"][0]["digest"]
    assert prepared.json("bundles", "show", digest[:8])["digest"] == digest
    prepared.run("bundles", "revoke", "app:cli")
    done = prepared.run("clusters", "create", "x", "--template", "one", status=77)
    assert "bastide bundles approve" in done.stderr
    prepared.run("bundles", "approve", digest[:8])


def test_life_of_a_cluster(prepared, tmp_path):
    plan = prepared.run("clusters", "plan", "shop", "--template", "one", "--nodes", "2").stdout
    assert "2 nodes" in plan and "app.password" in plan
    made = prepared.json("clusters", "create", "shop", "--template", "one", "--nodes", "2", "--lease", "2h")
    shown = prepared.run("clusters", "show", "shop").stdout
    assert made["id"] in shown and "in 2 h" in shown or "in 120 min" in shown
    prepared.run("clusters", "create", "shop", "--template", "one", status=73)
    assert "create" in prepared.run("clusters", "tasks", "shop").stdout
    assert "pending" in prepared.run("clusters", "events", "shop").stdout
    # No provisioner is there: the watching ends, the work waits.
    done = prepared.run("clusters", "watch", "shop", "--timeout", "1s", status=75)
    assert "The work goes on" in done.stdout and "pending" in done.stdout
    node = prepared.json("nodes", "list", "shop")["items"][0]["hostname"]
    assert prepared.json("nodes", "show", node.split(".")[0])["hostname"] == node
    prepared.run("nodes", "ssh", node, "--", "id", status=73)
    assert not [path for place in ("/dev/shm", "/tmp") for path in pathlib.Path(place).glob("bastide-ssh-*")]
    prepared.run("clusters", "delete", "shop", status=130)
    prepared.run("clusters", "delete", "shop", "--yes")
    assert prepared.json("clusters", "show", made["id"])["status"] in ("deleting", "terminated")


def test_audit_is_whole(admin):
    assert "is whole" in admin.run("audit", "verify").stdout
    assert admin.json("audit", "list", "--limit", "3")["items"]


def test_completion_is_a_good_script():
    script = subprocess.run([PROGRAM, "completion", "bash"], capture_output=True, text=True, check=True).stdout
    ask = 'COMP_WORDS=(bastide clusters wa); COMP_CWORD=2; _bastide; echo "${COMPREPLY[@]}"'
    done = subprocess.run(["bash", "-euc", script + ask], capture_output=True, text=True, check=True)
    assert done.stdout == "watch\n"


# Secrets and keys ----------------------------------------------------------------------------------------------------

def test_secrets_from_the_command_line(admin, unique, tmp_path):
    key, passphrase, export = unique("secret"), tmp_path / "passphrase", tmp_path / "export"
    passphrase.write_text("long enough passphrase\n")
    done = admin.run("secrets", "create", key, "--hidden", "--description", "of a test", text="value-on-stdin\n")
    assert "value-on-stdin" not in done.stdout + done.stderr
    assert admin.run("secrets", "get", key).stdout == "value-on-stdin"
    assert key in admin.run("secrets", "list").stdout
    assert "value" not in admin.json("secrets", "show", key)
    (tmp_path / "value").write_text("value\nof a file\n")
    admin.run("secrets", "update", key, "--file", tmp_path / "value", "--hidden", "false")
    assert admin.run("secrets", "get", key).stdout == "value\nof a file\n"
    assert admin.run("secrets", "get", key, "--version-number", "1").stdout == "value-on-stdin"
    assert [item["version"] for item in admin.json("secrets", "versions", key)["items"]] == [2, 1]
    admin.run("secrets", "versions", key, "--remove", "1")
    admin.run("secrets", "export", export, "--passphrase-file", passphrase)
    assert stat.S_IMODE(export.stat().st_mode) == 0o600 and "of a file" not in export.read_text()
    admin.run("secrets", "delete", key, "--yes")
    admin.run("secrets", "get", key, status=66)
    admin.run("secrets", "import", export, "--passphrase-file", passphrase)
    assert admin.run("secrets", "get", key).stdout == "value\nof a file\n"


def test_keys_from_the_command_line(admin):
    before = admin.json("keys", "status")["generation"]
    assert f"generation {before + 1}" in admin.run("keys", "rotate").stdout
    assert "GENERATION" in admin.run("keys", "status").stdout.upper()
    admin.run("keys", "shred", "no-such-tenant", status=130)  # nobody confirmed
