# SPDX-License-Identifier: Apache-2.0
"""SV1: the database's password stands in the configuration sealed, in a file, or as a credential, and never in the clear.
Needs PostgreSQL, which has a password; with SQLite only the refusals are looked at."""

import os
import pwd
import re
import subprocess

import pytest
from conftest import build_directory
from installation import MANAGER_USER, Installation


@pytest.fixture(scope="module", name="site")
def start_site(pytestconfig):
    with Installation(build_directory(), pytestconfig.getoption("database")) as site:
        yield site


@pytest.fixture(name="config")
def open_config(site):
    """The text of manager.conf; put back afterwards, with the manager running."""
    path = site.prefix / "etc/manager.conf"
    before = path.read_text()
    yield before
    path.write_text(before)
    site.restart("manager")


def write(site, text):
    (site.prefix / "etc/manager.conf").write_text(text)


def manager(site, *arguments, text="", environment=None):
    argv = [site.prefix / "bin/bastide-manager", "--config", site.prefix / "etc/manager.conf", *arguments]
    return subprocess.run(argv, input=text, capture_output=True, text=True, timeout=60, check=False,
                          env={"PATH": os.environ["PATH"], "ASAN_OPTIONS": "detect_leaks=0", **(environment or {})})


def password_of(site):
    """As PostgreSQL's own password file has it."""
    return site.postgresql.pass_file.read_text().strip().rpartition(":")[2]


def with_password(config, value):
    """Without the password file, with `password` instead."""
    return re.sub(r"(?m)^(location = .*?) passfile=\S+$", rf"\1\npassword = {value}", config)


def needs_postgresql(site):
    if not site.postgresql:
        pytest.skip("the embedded database has no password")


@pytest.mark.parametrize("line", ["password = hunter2hunter2", "password = sealed:", "password = file:relative", "password = credential:../x"])
def test_sv1_what_is_no_reference_is_refused(site, config, line):
    write(site, config.replace("[database]", f"[database]\n{line}"))
    done = manager(site, "run")
    assert done.returncode == 78 and "hunter2" not in done.stderr
    if site.postgresql and "hunter2" in line:
        assert "bastide-manager config seal database.password" in done.stderr


@pytest.mark.parametrize("location", [
    "postgresql:host=db password=hunter2hunter2 sslmode=verify-full", "postgresql:host=db password = 'hunter2hunter2'",
    "postgresql://bastide:hunter2hunter2@db/bastide?sslmode=verify-full", "postgresql://db/x?password=hunter2hunter2"])
def test_sv1_password_in_the_connection_is_refused(site, config, location):
    write(site, re.sub(r"(?m)^location = .*$", lambda _: f"location = {location}", config))
    done = manager(site, "run")
    assert done.returncode == 78 and "config seal" in done.stderr and "hunter2" not in done.stderr


def test_sv1_sealed_password(site, config):
    needs_postgresql(site)
    done = manager(site, "config", "seal", "database.password", text=password_of(site) + "\n")
    assert done.returncode == 0 and re.fullmatch(r"sealed:[A-Za-z0-9+/=]+\n", done.stdout)
    sealed = done.stdout.strip()
    write(site, with_password(config, sealed))
    site.restart("manager")
    assert site.api("GET", "/user").expect(200)
    # Data keys come and go; what stands in the file still opens.
    site.api("POST", "/keys/rotate").expect(202)
    site.restart("manager")
    assert site.api("GET", "/user").expect(200)
    # One bit of it, or another setting's value, opens nothing.
    write(site, with_password(config, sealed[:-6] + ("A" if sealed[-6] != "A" else "B") + sealed[-5:]))
    done = manager(site, "run")
    assert done.returncode != 0 and "Listening" not in done.stderr


def test_sv1_password_from_a_file(site, config):
    needs_postgresql(site)
    path = site.prefix / "etc/database.password"
    path.touch(mode=0o600)
    path.write_text(password_of(site) + "\n")
    os.chown(path, pwd.getpwnam(MANAGER_USER).pw_uid, -1)
    write(site, with_password(config, f"file:{path}"))
    site.restart("manager")
    assert site.api("GET", "/user").expect(200)
    path.chmod(0o644)
    done = manager(site, "run")
    assert done.returncode == 78 and "0600" in done.stderr


def test_sv1_password_from_a_credential(site, config, tmp_path):
    needs_postgresql(site)
    write(site, with_password(config, "credential:database"))
    done = manager(site, "run")
    assert done.returncode == 78 and "LoadCredentialEncrypted=database:FILE" in done.stderr
    path = site.prefix / "database"
    path.touch(mode=0o400)
    path.write_text("not the password\n")
    os.chown(path, pwd.getpwnam(MANAGER_USER).pw_uid, -1)
    done = manager(site, "init", environment={"CREDENTIALS_DIRECTORY": str(site.prefix)})
    assert done.returncode != 0 and "not the password" not in done.stderr
    path.write_text(password_of(site) + "\n")
    assert manager(site, "init", environment={"CREDENTIALS_DIRECTORY": str(site.prefix)}).returncode == 0


def test_sv1_only_known_settings_are_sealed(site):
    done = manager(site, "config", "seal", "external.port", text="x\n")
    assert done.returncode == 64 and "database.password" in done.stderr
    assert manager(site, "config", "seal", text="").returncode == 64
