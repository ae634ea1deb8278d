# SPDX-License-Identifier: Apache-2.0
"""Tickets of a real Kerberos realm in place of passwords (SV25, RFC 4559)."""

import base64
import os
import pathlib
import pwd
import subprocess
import sys

import pytest

from directories import BASE, Realm, Slapd
from installation import MANAGER_USER, Installation
from services import LOOPBACK, Authority, temporary_folder

PASSWORD = "Realm.Pass-1"
SERVICE = f"HTTP/{LOOPBACK}"


def give(path):
    account = pwd.getpwnam(MANAGER_USER)
    os.chown(path, account.pw_uid, account.pw_gid)
    path.chmod(0o600)
    return path


class World:
    def __init__(self, realm, ours, folder):
        self.realm, self.ours, self.folder = realm, ours, folder

    def ticket(self, person, service=SERVICE):
        """A token for one request, made by the C library of another process."""
        script = pathlib.Path(__file__).with_name("kerberos_token.py")
        result = subprocess.run([sys.executable, script, service], env=self.realm.environment(person), check=True,
                                capture_output=True, timeout=30)
        return result.stdout.decode()

    def ask(self, token, path="/user", **more):
        return self.ours.api("GET", path, token=None, headers={"Authorization": f"Negotiate {token}"}, **more)


@pytest.fixture(scope="module", name="world")
def start_world(pytestconfig):
    with temporary_folder() as folder, Realm() as realm:
        folder.chmod(0o755)
        for name in ("alice", "admin", "local", "stranger", "alice/admin"):
            realm.person(name, PASSWORD)
            realm.sign_in(name, PASSWORD)
        keytab = folder / "keytab"
        realm.service(SERVICE, f"host/{LOOPBACK}", keytab=keytab)
        give(keytab)
        with Slapd(Authority(folder)) as slapd:
            slapd.group("engineers", slapd.person("alice", "Directory.Pass-1"))
            password = folder / "search.pass"
            password.write_text(slapd.search_password)
            settings = {"ldap": slapd.settings(give(password)),
                        "kerberos": {"keytab": keytab, "principal": f"{SERVICE}@{realm.name}", "realm": realm.name,
                                     "local_accounts": "local"}}
            with Installation(os.environ["BASTIDE_BUILD"], pytestconfig.getoption("database"), settings,
                              {"KRB5_CONFIG": str(realm.folder / "krb5.conf")}) as ours:
                ours.stop("manager")
                ours.sql("INSERT INTO user_groups (name, ldap_group_dn, role, created_at) "
                         f"VALUES ('engineers', 'cn=engineers,ou=groups,{BASE}', '', 1);"
                         "INSERT INTO group_tenants (tenant, group_name, role) VALUES ('default_tenant', 'engineers', 'user');")
                ours.start("manager")
                ours.api("PUT", "/users", {"username": "local", "password": "correct horse battery staple"}).expect(201)
                yield World(realm, ours, folder)


def test_sv25_ticket_in_place_of_a_password(world):
    account = world.ask(world.ticket("alice")).expect(200).json
    assert (account["username"], account["origin"]) == ("alice", "ldap")
    world.ask(world.ticket("alice"), "/clusters", tenant="default_tenant").expect(200)
    records = world.ours.api("GET", "/audit", query={"actor": "alice", "action": "sign_in"}).items
    assert any("kerberos" in str(row["details"]) for row in records)
    assert world.ours.api("GET", "/user", token=None).headers["WWW-Authenticate"].startswith("Negotiate, Basic")
    assert world.ours.api("GET", "/idp").json == "local,ldap,kerberos"


def test_sv25_replayed_ticket(world):
    token = world.ticket("alice")
    world.ask(token).expect(200)
    world.ask(token).expect(401)


def test_sv25_ticket_for_another_service(world):
    """The keys of host/… are in the same file; tickets for it are not for us."""
    world.ask(world.ticket("alice", f"host/{LOOPBACK}")).expect(401)
    world.ask(world.ticket("alice")).expect(200)


def test_sv25_realm_does_not_take_local_accounts(world):
    """admin@REALM is not our admin; only accounts that are named for it."""
    world.ask(world.ticket("admin")).expect(401)
    assert world.ask(world.ticket("local")).expect(200).json["origin"] == "local"
    world.ask(world.ticket("stranger")).expect(401)
    world.ask(world.ticket("alice/admin")).expect(401)


def test_sv25_deactivated_account(world):
    world.ours.api("POST", "/users/active/local", {"action": "deactivate"}).expect(200)
    world.ask(world.ticket("local")).expect(401)
    world.ours.api("POST", "/users/active/local", {"action": "activate"}).expect(200)
    world.ask(world.ticket("local")).expect(200)


@pytest.mark.parametrize("token", ["", "!", "AAAA", base64.b64encode(b"NTLMSSP\0\1\0\0\0").decode(),
                                   base64.b64encode(bytes(range(256)) * 8).decode()])
def test_sv25_tokens_that_are_none(world, token):
    world.ask(token).expect(401)


def test_sv25_command_line(world):
    """No password is asked for; the tenant is found; each request has a ticket of its own."""
    program = pathlib.Path(os.environ["BASTIDE_BUILD"]) / "src/cli/bastide"
    ca = world.folder / "manager-ca.crt"
    ca.write_text(world.ours.ca_certificate)
    environment = {**world.realm.environment("alice"), "XDG_CONFIG_HOME": str(world.folder / "config")}

    def bastide(*words):
        return subprocess.run([program, *words], env=environment, capture_output=True, text=True, timeout=60, check=False,
                              stdin=subprocess.DEVNULL)
    url = f"https://{LOOPBACK}:{world.ours.external_port}"
    result = bastide("login", "--url", url, "--ca", str(ca), "--kerberos")
    assert result.returncode == 0, result.stderr
    assert "alice" in bastide("whoami").stdout
    environment["KRB5CCNAME"] = "FILE:/nowhere"
    assert bastide("login", "--url", url, "--ca", str(ca), "--kerberos").returncode == 77
