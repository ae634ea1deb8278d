# SPDX-License-Identifier: Apache-2.0
"""Active Directory as Debian's Samba provides it: its names, nested groups by its own rule, accounts that are disabled
or expired (SV2)."""

import os
import pwd

import pytest

from directories import BASE, SambaDomain
from installation import MANAGER_USER, Installation
from services import Authority, temporary_folder, wait_until

PASSWORD = "Directory.Pass-1"


@pytest.fixture(scope="module", name="world")
def start_world(pytestconfig):
    with temporary_folder() as folder:
        folder.chmod(0o755)
        with SambaDomain(Authority(folder)) as domain:
            for name in ("Alice", "bob", "disabled", "expired", "outside"):
                domain.user(name, PASSWORD)
            inner = domain.group("Inner", "bob")
            assert inner
            domain.group("Middle", "Inner")
            domain.group("Engineers", "Alice", "Middle", "disabled", "expired")
            domain.disable("disabled")
            domain.expire("expired")
            password = folder / "search.pass"
            password.touch(mode=0o600)
            password.write_text(domain.search_password)
            account = pwd.getpwnam(MANAGER_USER)
            os.chown(password, account.pw_uid, account.pw_gid)
            settings = domain.settings(password, sync_interval="1s", server_timeout="10s", timeout="20s")
            with Installation(os.environ["BASTIDE_BUILD"], pytestconfig.getoption("database"), {"ldap": settings}) as ours:
                ours.stop("manager")
                ours.sql("INSERT INTO user_groups (name, ldap_group_dn, role, created_at) "
                         f"VALUES ('engineers', 'cn=engineers,cn=users,{BASE}', '', 1);"
                         "INSERT INTO group_tenants (tenant, group_name, role) VALUES ('default_tenant', 'engineers', 'user');")
                ours.start("manager")
                yield domain, ours


def sign_in(ours, name, password=PASSWORD):
    return ours.api("GET", "/user", user=(name, password))


def test_sv2_active_directory_signs_in(world):
    """Names keep the spelling of the directory, whatever is typed."""
    _, ours = world
    assert sign_in(ours, "ALICE").expect(200).json["username"] == "Alice"
    ours.api("GET", "/clusters", user=("alice", PASSWORD), tenant="default_tenant").expect(200)
    sign_in(ours, "alice", "wrong").expect(401)


def test_sv2_active_directory_nested_groups(world):
    _, ours = world
    ours.api("GET", "/clusters", user=("bob", PASSWORD), tenant="default_tenant").expect(200)
    seen = ours.api("POST", "/directory/test", {"username": "bob"}).expect(200).json
    assert {"cn=inner", "cn=middle", "cn=engineers"} <= {name.partition(",")[0] for name in seen["directory_groups"]}
    sign_in(ours, "outside").expect(401)


@pytest.mark.parametrize("name", ["disabled", "expired"])
def test_sv2_active_directory_states(world, name):
    _, ours = world
    sign_in(ours, name).expect(401)
    assert ours.api("POST", "/directory/test", {"username": name}).expect(200).json["state"] == name


def test_sv2_active_directory_disabled_later(world):
    domain, ours = world
    token = ours.api("POST", "/tokens", {"tenant": "default_tenant"}, user=("bob", PASSWORD)).expect(201).json["value"]
    ours.api("GET", "/clusters", token=token).expect(200)
    domain.disable("bob")
    wait_until(lambda: ours.api("GET", "/clusters", token=token).status == 401, 30, "the end of the token")
    assert ours.api("GET", "/users/bob").json["active"] is False


def test_s13_active_directory_empty_password(world):
    _, ours = world
    sign_in(ours, "alice", "").expect(401)
