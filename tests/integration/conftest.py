# SPDX-License-Identifier: Apache-2.0
"""One installation for all tests of a run, on the database named by --database; small helpers around it."""

import itertools
import os
import pathlib
import sys

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "lib"))

from installation import Installation  # noqa: E402

PASSWORD = "correct horse battery staple"
TENANT_ROLES = ("manager", "user", "operations", "viewer")


def pytest_addoption(parser):
    parser.addoption("--database", default="sqlite", choices=("sqlite", "postgresql"))


def build_directory():
    return os.environ["BASTIDE_BUILD"]


@pytest.fixture(scope="session", name="bastide")
def start_installation(pytestconfig):
    with Installation(build_directory(), pytestconfig.getoption("database")) as installation:
        yield installation


@pytest.fixture(scope="session", name="breakable")
def start_breakable_installation(pytestconfig):
    """Another one, for tests that kill programs or edit the database; they leave it whole."""
    with Installation(build_directory(), pytestconfig.getoption("database")) as installation:
        yield installation


@pytest.fixture(scope="session", name="unique")
def make_names():
    """A function that makes names which no other test uses."""
    numbers = itertools.count(1)
    return lambda what="x": f"{what}{next(numbers)}"


class People:
    """Accounts with tokens: people.make("viewer", tenant) gives a token."""

    def __init__(self, bastide, unique):
        self._bastide, self._unique = bastide, unique

    def account(self, role="default", **more):
        name = self._unique("person")
        self._bastide.api("PUT", "/users", {"username": name, "password": PASSWORD, "role": role, **more}).expect(201)
        return name

    def token(self, name, **body):
        return self._bastide.api("POST", "/tokens", body, user=(name, PASSWORD)).expect(201).json["value"]

    def join(self, name, tenant, role):
        self._bastide.api("PUT", "/tenants/users", {"tenant_name": tenant, "username": name, "role": role}).expect(201)

    def make(self, role=None, tenant="default_tenant", system_role="default"):
        name = self.account(system_role)
        if role:
            self.join(name, tenant, role)
        return self.token(name, **({"tenant": tenant} if role else {}))

    def group(self, *members, tenants=None, role=None):
        """A group with these members, in these tenants {tenant: role}."""
        name = self._unique("group")
        self._bastide.api("POST", "/user-groups", {"group_name": name, "role": role}).expect(201)
        for tenant, tenant_role in (tenants or {}).items():
            body = {"tenant_name": tenant, "group_name": name, "role": tenant_role}
            self._bastide.api("PUT", "/tenants/user-groups", body).expect(201)
        for member in members:
            self._bastide.api("PUT", "/user-groups/users", {"username": member, "group_name": name}).expect(200)
        return name

    def tenant(self):
        name = self._unique("tenant")
        self._bastide.api("POST", f"/tenants/{name}", {}).expect(201)
        return name


@pytest.fixture(scope="session", name="people")
def meet_people(bastide, unique):
    return People(bastide, unique)


@pytest.fixture(scope="session", name="by_role")
def make_people_by_role(people):
    """Role in the default tenant (None = a member of nothing) to token."""
    return {role: people.make(role) for role in (None, *TENANT_ROLES)}
