# SPDX-License-Identifier: Apache-2.0
"""People of a directory: a real OpenLDAP server, its failures, and what an attacker would try (S06, S13)."""

import contextlib
import os
import pathlib
import pwd
import socket
import subprocess
import threading
import time

import pytest

from directories import BASE, Slapd
from installation import MANAGER_USER, Installation
from services import LOOPBACK, Authority, temporary_folder, wait_until

PASSWORD = "Directory.Pass-1"
GROUPS = {"engineers": ("", "user"), "admins": ("sys_admin", None)}  # name: system role, role in the default tenant


class Files:
    """A folder that the manager may enter, with a certificate authority and files that only it may read."""

    def __init__(self, folder):
        folder.chmod(0o755)
        self.folder, self.authority = folder, Authority(folder)

    def secret(self, name, text, owner=MANAGER_USER):
        path = self.folder / name
        path.touch(mode=0o600)
        path.write_text(text + "\n")
        account = pwd.getpwnam(owner)
        os.chown(path, account.pw_uid, account.pw_gid)
        return path


@pytest.fixture(scope="module", name="files")
def make_files():
    with temporary_folder() as folder:
        yield Files(folder)


@pytest.fixture(scope="module", name="directory")
def start_directory(files):
    with Slapd(files.authority) as slapd:
        for name in ("alice", "bob", "carol", "dora", "erin", "frank", "admin"):
            slapd.person(name, PASSWORD)
        slapd.person("expired", PASSWORD, objectClass=["inetOrgPerson", "shadowAccount"], shadowExpire="1")
        slapd.person("current", PASSWORD, objectClass=["inetOrgPerson", "shadowAccount"], shadowExpire="99999")
        slapd.person("odd name", PASSWORD)
        slapd.add(f"uid=twin,ou=groups,{BASE}", objectClass="inetOrgPerson", uid="twin", cn="a", sn="a", userPassword=PASSWORD)
        slapd.person("twin", PASSWORD)
        person = lambda name: f"uid={name},ou=people,{BASE}"  # noqa: E731
        inner = slapd.group("inner", person("bob"), person("erin"))
        middle = slapd.group("middle", inner)
        slapd.group("engineers", person("alice"), person("current"), person("expired"), person("frank"), person("admin"), middle)
        slapd.group("admins", person("dora"))
        slapd.group("loop", middle)  # middle is in loop, and loop in middle
        slapd.change(middle, member=[inner, f"cn=loop,ou=groups,{BASE}"])
        yield slapd


@contextlib.contextmanager
def installed(database, files, directory, **more):
    """An installation that uses the directory, with groups that are mapped to its groups."""
    password = files.secret("search.pass", directory.search_password)
    settings = directory.settings(password, **{"sync_interval": "1s", "server_timeout": "2s", "timeout": "4s", **more})
    with Installation(os.environ["BASTIDE_BUILD"], database, {"ldap": settings}) as installation:
        map_groups(installation, f"ou=groups,{BASE}")
        yield installation


def map_groups(installation, place):
    installation.stop("manager")
    for name, (role, tenant_role) in GROUPS.items():
        installation.sql("INSERT INTO user_groups (name, ldap_group_dn, role, created_at) "
                         f"VALUES ('{name}', 'CN={name.title()}, {place.upper()}', '{role}', 1);")
        if tenant_role:
            installation.sql("INSERT INTO group_tenants (tenant, group_name, role) "
                             f"VALUES ('default_tenant', '{name}', '{tenant_role}');")
    installation.start("manager")


@pytest.fixture(scope="module", name="ours")
def start_ours(pytestconfig, files, directory):
    with installed(pytestconfig.getoption("database"), files, directory) as installation:
        yield installation


def sign_in(installation, name, password=PASSWORD):
    return installation.api("GET", "/user", user=(name, password))


def may_use_tenant(installation, name):
    return installation.api("GET", "/clusters", user=(name, PASSWORD), tenant="default_tenant").status == 200


# Signing in ----------------------------------------------------------------------------------------------------------


def test_sv2_person_of_the_directory_signs_in(ours):
    """The account comes into being, has no password here, and its rights are those of its group."""
    account = sign_in(ours, "alice").expect(200).json
    assert (account["username"], account["origin"], account["role"]) == ("alice", "ldap", "default")
    assert may_use_tenant(ours, "alice")
    token = ours.api("POST", "/tokens", {"tenant": "default_tenant"}, user=("alice", PASSWORD)).expect(201).json["value"]
    ours.api("GET", "/clusters", token=token).expect(200)
    made = ours.api("GET", "/audit", query={"action": "user_create", "actor": "directory"}).items
    assert "user:alice" in [row["object"] for row in made]


def test_sv2_groups_in_groups(ours):
    """bob is in inner, inner in middle, middle in engineers; middle and loop hold each other."""
    sign_in(ours, "bob").expect(200)
    assert may_use_tenant(ours, "bob")
    groups = ours.api("POST", "/directory/test", {"username": "bob"}).expect(200).json
    assert groups["groups"] == ["engineers"] and groups["state"] == "usable"
    assert {name.partition(",")[0] for name in groups["directory_groups"]} == {"cn=inner", "cn=middle", "cn=loop", "cn=engineers"}


def test_sv2_group_gives_a_system_role(ours):
    ours.api("GET", "/users", user=("dora", PASSWORD)).expect(200)
    ours.api("GET", "/users", user=("alice", PASSWORD)).expect(403)


def test_sv2_without_a_mapped_group_nobody_enters(ours):
    sign_in(ours, "carol").expect(401)
    ours.api("GET", "/users/carol").expect(404)


def test_sv2_local_account_is_not_taken_over(ours):
    """The directory has an 'admin', too; the local one stays who it was, whatever the spelling."""
    for name in ("admin", "Admin", "ADMIN"):
        sign_in(ours, name).expect(401)
    assert ours.api("GET", "/users/admin").json["origin"] == "local"
    assert "a local account has this name" not in ours.log("manager")  # its password was never asked of the directory


def test_sv2_local_account_of_the_same_name_later(ours):
    local = "correct horse battery staple"
    ours.api("PUT", "/users", {"username": "frank", "password": local}).expect(201)
    sign_in(ours, "FRANK").expect(401)
    sign_in(ours, "frank", local).expect(200)
    sign_in(ours, "frank").expect(401)


def test_sv2_break_glass_administrator_needs_no_directory(ours):
    assert ours.api("GET", "/user").expect(200).json["username"] == "admin"


def test_sv2_expired_account(ours):
    sign_in(ours, "expired").expect(401)
    sign_in(ours, "current").expect(200)


def test_sv2_no_password_is_kept_or_set(ours):
    sign_in(ours, "alice").expect(200)
    for path, body in (("/users/alice", {"password": "one for the local account"}), ("/users/alice/password", {})):
        ours.api("POST", path, body).expect(409)
    ours.api("POST", "/user/password", {"password": "one for the local account", "current_password": PASSWORD},
             user=("alice", PASSWORD)).expect(409)
    for path in ours.data_files():
        assert PASSWORD.encode() not in path.read_bytes(), path


def test_sv2_other_spelling_is_the_same_account(ours):
    assert sign_in(ours, "ALICE").expect(200).json["username"] == "alice"


def test_sv25_second_factor_of_a_directory_account(ours):
    """Who enrols one shows the password again: the directory is asked."""
    sign_in(ours, "erin").expect(200)
    ours.api("POST", "/user/second-factor", {"current_password": "another one"}, user=("erin", PASSWORD)).expect(403)
    ours.api("POST", "/user/second-factor", {"current_password": PASSWORD}, user=("erin", PASSWORD)).expect(201)


# Attacks -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["*", "*)(uid=*", "alice)(uid=*", "ali*", "alice\\2a", "alice\0", "(uid=alice)", "twin", "odd name"])
def test_s13_names_that_are_filters(ours, name):
    assert ours.api("POST", "/sessions", {"username": name, "password": PASSWORD}, token=None).status in (400, 401)
    sign_in(ours, name).expect(401)


def test_s13_empty_password_is_never_sent(ours):
    """It would be an anonymous bind, which this server accepts."""
    sign_in(ours, "alice", "").expect(401)
    ours.api("POST", "/sessions", {"username": "alice", "password": ""}, token=None).expect(400)


def test_s06_answers_do_not_differ(ours):
    """Unknown, wrong, expired, in no group, local: one text, and a refusal comes at a full second after the request."""
    seen = set()
    for name, password in (("nobody-here", PASSWORD), ("alice", "wrong"), ("expired", PASSWORD), ("carol", PASSWORD),
                           ("admin", "wrong")):
        begin = time.monotonic()
        answer = sign_in(ours, name, password).expect(401)
        assert time.monotonic() - begin >= 0.95
        body = answer.json
        seen.add((answer.error, body.get("title"), body.get("detail")))
    assert len(seen) == 1


@pytest.fixture(name="variant")
def make_variant(pytestconfig, files, directory):
    """Another installation, with settings changed."""
    @contextlib.contextmanager
    def make(**more):
        with installed(pytestconfig.getoption("database"), files, directory, **more) as installation:
            yield installation
    return make


def test_sv2_starttls_and_fail_over(variant, directory, files):
    """A server that is gone, one of another authority, one whose name is another: the next one answers."""
    dead = "ldaps://127.0.0.1:1"
    with temporary_folder() as folder, Slapd(Authority(folder)) as stranger, \
            Slapd(files.authority, names=("DNS:elsewhere.example.test", "IP:127.9.9.9")) as misnamed:
        servers = [dead, stranger.ldaps, stranger.ldap, misnamed.ldaps, directory.ldap]
        with variant(servers=" ".join(servers), server_timeout="5s", timeout="20s") as installation:
            sign_in(installation, "alice").expect(200)
            status = installation.api("GET", "/directory").expect(200).json["servers"]
            assert [server["url"] for server in status] == servers
            assert all(server["problem"] for server in status[:4]) and not any(server["answered_at"] for server in status[:4])
            assert status[4]["problem"] is None and status[4]["answered_at"]
            assert all("certificate" in server["problem"] for server in status[1:4])
            assert "certificate" not in status[0]["problem"]


@contextlib.contextmanager
def listener(talk):
    """A server on the loopback that runs talk(connection) for each connection."""
    with socket.create_server((LOOPBACK, 0)) as server:
        kept = []

        def serve():
            with contextlib.suppress(OSError):
                while True:
                    connection = server.accept()[0]
                    kept.append(connection)
                    talk(connection)
        threading.Thread(target=serve, daemon=True).start()
        yield server.getsockname()[1]
        for connection in kept:
            connection.close()
        with contextlib.suppress(OSError):
            server.shutdown(socket.SHUT_RDWR)


def test_sv2_server_that_hangs(variant):
    """It accepts and says nothing: local accounts sign in meanwhile, and the rest is refused in time."""
    with listener(lambda connection: None) as port:
        with variant(servers=f"ldaps://127.0.0.1:{port} ldap://127.0.0.1:{port}") as installation:
            statuses = []
            threads = [threading.Thread(target=lambda n=n: statuses.append(sign_in(installation, f"person{n}").status))
                       for n in range(8)]
            for thread in threads:
                thread.start()
            installation.api("GET", "/user").expect(200)
            installation.api("GET", "/user", user=("admin", installation.admin_password)).expect(200)
            for thread in threads:
                thread.join(40)
            assert statuses == [401] * 8


def test_s13_without_tls_no_password_is_sent(variant):
    """A server that refuses StartTLS gets no bind at all."""
    received = bytearray()

    def refuse(connection):
        received.extend(connection.recv(4096))
        # An extended response to message 1: "unavailable".
        connection.sendall(bytes.fromhex("300c02010178070a013404000400"))
        with contextlib.suppress(OSError):
            connection.settimeout(2)
            received.extend(connection.recv(4096))
    with listener(refuse) as port:
        with variant(servers=f"ldap://127.0.0.1:{port}") as installation:
            sign_in(installation, "alice").expect(401)
            assert b"1.3.6.1.4.1.1466.20037" in received
            for text in (PASSWORD.encode(), b"cn=search"):
                assert text not in received


def test_s13_referral_is_not_followed(variant, files):
    """The directory says that somebody else knows: that somebody is not asked."""
    asked = []
    with listener(asked.append) as port, Slapd(files.authority) as pointing:
        pointing.add(f"ou=elsewhere,{BASE}", objectClass=["referral", "extensibleObject"], ou="elsewhere",
                     ref=f"ldap://127.0.0.1:{port}/ou=people,{BASE}")
        password = files.secret("pointing.pass", pointing.search_password)
        with variant(servers=pointing.ldaps, bind_password_file=password) as installation:
            sign_in(installation, "alice").expect(401)
            sign_in(installation, "alice").expect(401)
        with variant(servers=pointing.ldaps, bind_password_file=password, base_dn=f"ou=elsewhere,{BASE}") as installation:
            sign_in(installation, "alice").expect(401)
            assert "Referral" in installation.log("manager")
    assert not asked


def test_sv2_size_limit_of_the_server(variant, files):
    with Slapd(files.authority, size_limit=1) as small:
        for name in ("one", "two"):
            small.group(name, small.person(f"person-{name}", PASSWORD))
        both = small.person("both", PASSWORD)
        for name in ("one", "two"):
            small.change(f"cn={name},ou=groups,{BASE}", member=both)
        password = files.secret("small.pass", small.search_password)
        with variant(servers=small.ldaps, bind_password_file=password, group_attribute="") as installation:
            sign_in(installation, "both").expect(401)
            assert "more than" in installation.log("manager")


# Afterwards ----------------------------------------------------------------------------------------------------------


def token_of(installation, name):
    return installation.api("POST", "/tokens", {"tenant": "default_tenant"}, user=(name, PASSWORD)).expect(201).json["value"]


def test_sv2_changes_count_within_the_interval(ours, directory):
    """Out of the group, back in, gone, there again, and another person with the name: tokens end, rights follow."""
    dn = directory.person("gina", PASSWORD)
    team = directory.group("team", dn)
    engineers = f"cn=engineers,ou=groups,{BASE}"
    people = [f"uid={name},ou=people,{BASE}" for name in ("alice", "current", "expired", "frank", "admin")]
    middle = f"cn=middle,ou=groups,{BASE}"
    directory.change(engineers, member=[*people, middle, team])
    token = token_of(ours, "gina")
    ours.api("GET", "/clusters", token=token).expect(200)

    directory.change(engineers, member=[*people, middle])
    wait_until(lambda: ours.api("GET", "/clusters", token=token).status == 401, 20, "the end of the token")
    assert ours.api("GET", "/users/gina").json["active"] is False
    sign_in(ours, "gina").expect(401)

    directory.change(engineers, member=[*people, middle, team])
    wait_until(lambda: ours.api("GET", "/users/gina").json["active"], 20, "the return of the account")
    ours.api("GET", "/clusters", token=token).expect(401)
    token = token_of(ours, "gina")

    directory.remove(dn)
    wait_until(lambda: ours.api("GET", "/user", token=token).status == 401, 20, "the end of the token")
    directory.person("gina", PASSWORD)
    directory.change(team, member=dn)
    sign_in(ours, "gina").expect(401)
    assert "another entry" in ours.log("manager")
    ours.api("DELETE", "/users/gina").expect(204)
    sign_in(ours, "gina").expect(200)


def test_sv2_administrator_deactivates(ours, directory):
    """What an administrator switched off is not switched on by the directory."""
    directory.change(f"cn=admins,ou=groups,{BASE}", member=[f"uid={name},ou=people,{BASE}" for name in ("dora", "carol")])
    sign_in(ours, "carol").expect(200)
    token = ours.api("POST", "/tokens", {}, user=("carol", PASSWORD)).expect(201).json["value"]
    ours.api("POST", "/users/active/carol", {"action": "deactivate"}).expect(200)
    ours.api("GET", "/user", token=token).expect(401)
    synchronised = ours.api("GET", "/directory").json["synchronised_at"]
    wait_until(lambda: ours.api("GET", "/directory").json["synchronised_at"] not in (None, synchronised), 20, "a look at all accounts")
    sign_in(ours, "carol").expect(401)
    assert ours.api("GET", "/users/carol").json["active"] is False
    ours.api("POST", "/users/active/carol", {"action": "activate"}).expect(200)
    sign_in(ours, "carol").expect(200)


def test_sv2_directory_that_stays_away(variant, directory):
    """Tokens outlive it for the time that is set, and no longer."""
    with variant(unverified_limit="4s") as installation:
        token = token_of(installation, "alice")
        directory.stop()
        try:
            installation.api("GET", "/user", token=token).expect(200)
            wait_until(lambda: installation.api("GET", "/user", token=token).status == 401, 30, "the end of the token")
            sign_in(installation, "alice").expect(401)
            installation.api("GET", "/user").expect(200)
        finally:
            directory.start()
        wait_until(lambda: sign_in(installation, "alice").status == 200, 30, "the directory's return")


# Settings ------------------------------------------------------------------------------------------------------------


def test_sv9_who_vouches(ours, bastide):
    assert ours.api("GET", "/idp").expect(200).json == "local,ldap" and ours.api("GET", "/ldap").expect(200).json == "enabled"
    assert bastide.api("GET", "/idp").expect(200).json == "local" and bastide.api("GET", "/ldap").expect(200).json == "disabled"
    assert bastide.api("GET", "/directory").expect(200).json["is_enabled"] is False
    bastide.api("POST", "/directory/test", {"username": "alice"}).expect(409)
    ours.api("POST", "/directory/test", {"username": "nobody-here"}).expect(404)
    ours.api("POST", "/directory/test", {"username": "alice", "password": PASSWORD}).expect(400)


@pytest.mark.parametrize("change, mark", [
    ({"servers": "http://127.0.0.1"}, "ldap.servers"), ({"servers": "ldaps://"}, "ldap.servers"),
    ({"user_filter": "(uid=fixed)"}, "ldap.user_filter"), ({"user_filter": "(uid={username}"}, "ldap.user_filter"),
    ({"verify": "no"}, "always verified"), ({"referrals": "yes"}, "not followed"), ({"bind_password": "x"}, "in the clear"),
    ({"bind_password_file": "/etc/hostname"}, "nobody but the manager"), ({"ca_file": "/nowhere"}, "/nowhere")])
def test_sv2_settings_that_are_refused(ours, directory, files, change, mark):
    path = ours.prefix / "etc" / "refused.conf"
    lines = {**directory.settings(files.folder / "search.pass"), **change}
    original = (ours.prefix / "etc" / "manager.conf").read_text().partition("[ldap]")[0]
    path.write_text(original + "[ldap]\n" + "".join(f"{name} = {value}\n" for name, value in lines.items()))
    result = subprocess.run([ours.prefix / "bin/bastide-manager", "--config", path, "run"], capture_output=True, text=True, timeout=60,
                            check=False, env={"PATH": "/usr/bin", "ASAN_OPTIONS": "detect_leaks=0"})
    assert result.returncode != 0 and mark in result.stderr, result.stderr


def test_sv2_canary_password_of_the_search_account(ours, directory):
    for path in [*ours.data_files(), pathlib.Path("/proc") / str(ours.processes["manager"].pid) / "environ"]:
        assert directory.search_password.encode() not in path.read_bytes(), path
    assert directory.search_password.encode() not in ours.transcript
