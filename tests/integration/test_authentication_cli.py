# SPDX-License-Identifier: Apache-2.0
"""The command line for accounts, tokens, sessions, second factors, policies and quotas, against a real manager."""

import pytest

from conftest import PASSWORD
from test_authentication import Browser, code_of
from test_cli import Person


@pytest.fixture(name="person")
def meet_person(tmp_path, bastide):
    return Person(tmp_path, bastide)


@pytest.fixture(name="admin")
def meet_admin(tmp_path, bastide):
    (tmp_path / "admin").mkdir()
    admin = Person(tmp_path / "admin", bastide)
    admin.login_with_token()
    return admin


def test_accounts(admin, people, bastide):
    name = people.account()
    assert admin.json("users", "set-role", name, "auditor")["role"] == "auditor"
    admin.run("users", "deactivate", name)
    assert admin.json("users", "show", name)["active"] is False
    admin.run("users", "activate", name)
    for _ in range(8):
        bastide.api("GET", "/user", user=(name, "wrong " + PASSWORD)).expect(401)
    assert admin.json("users", "show", name)["is_locked"]
    assert "can sign in again" in admin.run("users", "unlock", name).stdout
    bastide.api("GET", "/user", user=(name, PASSWORD)).expect(200)


def test_reset_password_goes_to_standard_output_alone(admin, person, people):
    name = people.account()
    done = admin.run("users", "reset-password", name)
    (password,) = done.stdout.split()
    assert password not in done.stderr and "only now" in done.stderr
    person.run("login", "--url", person.url, "--user", name, "--ca", person.ca, "--password-stdin",
               text=f"{password}\nanother good password\n")
    assert person.json("whoami")["must_change_password"] is False


def test_second_factor_and_sign_in(admin, person, people):
    """From the key to a sign-in with its code, and back."""
    name = people.account()
    people.join(name, "default_tenant", "viewer")
    person.login(user=name)
    made = person.json("second-factor", "enrol", "--password-stdin", text=PASSWORD + "\n")
    person.run("second-factor", "recovery-codes", "--code-stdin", text="000000\n", status=73)
    assert person.json("second-factor", "show")["state"] == "enrolled"
    person.run("second-factor", "confirm", "--code-stdin", text="000000\n", status=77)
    done = person.run("second-factor", "confirm", "--code-stdin", text=code_of(made["secret"]) + "\n")
    codes = done.stdout.split()
    assert len(codes) == 10 and not any(code in done.stderr for code in codes)
    person.login(user=name, status=64)  # no code on a second line
    login = ("login", "--url", person.url, "--user", name, "--ca", person.ca, "--password-stdin")
    assert "default_tenant" in person.run(*login, text=f"{PASSWORD}\n{code_of(made['secret'], 1)}\n").stdout
    person.run(*login, text=f"{PASSWORD}\n{codes[0]}\n")
    person.run(*login, text=f"{PASSWORD}\n{codes[0]}\n", status=77)
    assert person.json("tokens", "list")["items"][0]["has_second_factor"]
    shown = person.json("second-factor", "show")
    assert (shown["state"], shown["recovery_codes"]) == ("confirmed", 9)
    new = person.run("second-factor", "recovery-codes", "--code-stdin", text=codes[1] + "\n").stdout.split()
    person.run("second-factor", "end", "--password-stdin", text=f"{PASSWORD}\n{new[0]}\n")
    person.login(user=name)
    admin.run("second-factor", "reset", name, status=66)


def test_one_time_password_of_somebody_with_a_second_factor(admin, person, people):
    name = people.account()
    person.login(user=name)
    made = person.json("second-factor", "enrol", "--password-stdin", text=PASSWORD + "\n")
    codes = person.run("second-factor", "confirm", "--code-stdin", text=code_of(made["secret"]) + "\n").stdout.split()
    (password,) = admin.run("users", "reset-password", name).stdout.split()
    text = "\n".join((password, codes[0], "another good password", codes[1], codes[2])) + "\n"
    person.run("login", "--url", person.url, "--user", name, "--ca", person.ca, "--password-stdin", text=text)
    assert person.json("whoami")["must_change_password"] is False


def test_tokens(admin, person, people, bastide):
    name = people.account()
    people.join(name, "default_tenant", "viewer")
    person.login(user=name)
    token = person.run("tokens", "create", "--permission", "cluster_list", "--permission", "node_list", "--only-tenant",
                       "default_tenant", "--life", "1h").stdout.strip()
    bastide.api("GET", "/clusters", token=token, tenant="default_tenant").expect(200)
    bastide.api("GET", "/user", token=token).expect(403)
    row = next(row for row in person.json("tokens", "list")["items"] if row["scope"])
    assert row["scope"] == {"permissions": ["cluster_list", "node_list"], "tenants": ["default_tenant"]}
    assert person.json("tokens", "show", row["id"])["value"] == "********"
    assert {row["username"] for row in admin.json("tokens", "list", "--user", name)["items"]} == {name}
    person.run("tokens", "revoke", status=64)
    person.run("tokens", "revoke", row["id"], "--all", status=64)
    person.run("tokens", "revoke", row["id"])
    bastide.api("GET", "/clusters", token=token, tenant="default_tenant").expect(401)
    person.run("tokens", "revoke", "--all")
    person.run("whoami", status=77)


def test_sessions(admin, people, bastide):
    name, browser = people.account(), Browser(bastide)
    browser.sign_in(name).expect(201)
    (row,) = admin.json("sessions", "list", "--user", name)["items"]
    assert row["username"] == name and "127.0.0.1" in admin.run("sessions", "list", "--user", name).stdout
    admin.run("sessions", "revoke", row["id"])
    browser.send("GET", "/user").expect(401)
    browser.sign_in(name).expect(201)
    admin.run("sessions", "revoke", "--all", "--user", name)
    browser.send("GET", "/user").expect(401)


def test_policies(admin, people):
    tenant = people.tenant()

    def value(name, *more):
        return next(row["value"] for row in admin.json("policies", "show", *more)["items"] if row["name"] == name)

    admin.run("policies", "set", "session_idle", "10m", "--of", tenant)
    assert (value("session_idle", "--of", tenant), value("session_idle")) == (600, 1800)
    admin.run("policies", "set", "second_factor_roles", "manager,user", "--of", tenant)
    assert value("second_factor_roles", "--of", tenant) == ["manager", "user"]
    assert "manager,user" in admin.run("policies", "show", "--of", tenant).stdout
    admin.run("policies", "set", "session_idle", "default", "--of", tenant)
    assert value("session_idle", "--of", tenant) == 1800
    for name, text in (("session_idle", "soon"), ("no_such_policy", "1"), ("session_idle", "2h")):
        admin.run("policies", "set", name, text, "--of", tenant, status=65)


def test_quotas(admin, people):
    tenant = people.tenant()
    admin.run("tenants", "set-quotas", tenant, "--clusters", 3, "--bundles", "2M")
    shown = admin.json("tenants", "quotas", tenant)
    assert (shown["clusters"], shown["bundle_bytes"]["maximum"]) == ({"used": 0, "maximum": 3}, 2 * 1024 * 1024)
    assert "MiB" in admin.run("tenants", "quotas", tenant).stdout
    admin.run("tenants", "set-quotas", tenant, status=64)
    admin.run("tenants", "set-quotas", tenant, "--nodes", "many", status=64)


def test_secrets_are_not_among_the_arguments(admin):
    """There is no option that takes a password or a code as its value."""
    text = admin.run("--manual").stdout
    for word in ("--password ", "--code ", "--secret "):
        assert word not in text.replace("\\-", "-")
