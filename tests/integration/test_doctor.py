# SPDX-License-Identifier: Apache-2.0
"""DS3, PK6: `bastide-manager doctor` finds each weakness that is planted, and nothing where there is none."""

import contextlib
import os
import pwd
import subprocess

import pytest
from conftest import build_directory
from installation import MANAGER_USER, Installation


@pytest.fixture(scope="module", name="site")
def start_site(pytestconfig):
    with Installation(build_directory(), pytestconfig.getoption("database")) as site:
        if site.postgresql:
            harden(site)
        (site.prefix / "etc/manager.conf").chmod(0o640)
        yield site


def harden(site):
    """A role with no more than it needs."""
    query = site.postgresql.query
    query("REVOKE ALL ON DATABASE bastide FROM PUBLIC")
    query("REVOKE CREATE ON SCHEMA public FROM PUBLIC", "bastide")
    query("CREATE ROLE owner_of_bastide LOGIN PASSWORD 'set-by-the-test-suite'")
    query("GRANT ALL ON DATABASE bastide TO owner_of_bastide")
    query("GRANT ALL ON SCHEMA public TO owner_of_bastide", "bastide")
    query("GRANT ALL ON ALL TABLES IN SCHEMA public TO owner_of_bastide", "bastide")
    config = site.prefix / "etc/manager.conf"
    pass_file = site.prefix / "etc/postgresql.pass"
    pass_file.write_text(pass_file.read_text() + "*:*:*:owner_of_bastide:set-by-the-test-suite\n")
    config.write_text(config.read_text().replace(f"user={site.postgresql.user} ", "user=owner_of_bastide "))
    site.restart("manager")


def doctor(site):
    done = subprocess.run([site.prefix / "bin/bastide-manager", "--config", site.prefix / "etc/manager.conf", "doctor"],
                          capture_output=True, text=True, timeout=120, check=False,
                          env={"PATH": os.environ["PATH"], "ASAN_OPTIONS": "detect_leaks=0"})
    assert done.returncode == (0 if done.stdout == "Nothing was found.\n" else 1), done.stdout + done.stderr
    return done.stdout.splitlines()


def planted(site):
    """What is found beyond what this machine had before."""
    return [line for line in doctor(site) if line not in site.healthy and line != "Nothing was found."]


@pytest.fixture(autouse=True, name="healthy")
def look_before(site):
    if not hasattr(site, "healthy"):
        site.healthy = []
        # The limits of the machine that runs the tests are not the installation's, and its PostgreSQL is made for speed.
        site.healthy = [line for line in doctor(site) if line.startswith("limits") or "fsync is off" in line]
        assert bool(site.postgresql) == bool([line for line in site.healthy if "fsync" in line])
    assert planted(site) == []
    yield
    assert planted(site) == []


@contextlib.contextmanager
def mode(path, value):
    before = path.stat().st_mode & 0o7777
    path.chmod(value)
    try:
        yield
    finally:
        path.chmod(before)


@pytest.mark.parametrize("path, value", [
    ("var/manager", 0o755), ("var/manager/tls/external.key", 0o640), ("var/manager/tls/internal.key", 0o604),
    ("var/manager/tls/ca.crt", 0o666), ("var/manager/bundles", 0o777), ("etc/manager.conf", 0o644), ("run/admin.sock", 0o666)])
def test_ds3_wrong_modes(site, path, value):
    with mode(site.prefix / path, value):
        (line,) = planted(site)
        assert str(site.prefix / path) in line and f"{value:04o}" in line


def test_ds3_database_file_that_others_read(site):
    if site.postgresql:
        pytest.skip("a server of its own")
    with mode(site.database_file, 0o644):
        (line,) = planted(site)
        assert "bastide.db" in line


def test_ds3_file_of_another_account(site):
    path = site.prefix / "var/manager/tls/external.key"
    os.chown(path, pwd.getpwnam("bin").pw_uid, -1)
    (line,) = planted(site)
    assert "another account" in line
    os.chown(path, pwd.getpwnam(MANAGER_USER).pw_uid, -1)


def test_ds3_certificate_that_expires_soon(site, tmp_path):
    """A given pair with a week of life."""
    run = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "7", "-subj", "/CN=x",
           "-keyout", tmp_path / "k", "-out", tmp_path / "c"]
    subprocess.run(run, check=True, capture_output=True)
    path = site.prefix / "var/manager/tls/external.given.pem"
    path.touch(mode=0o600)
    os.chown(path, pwd.getpwnam(MANAGER_USER).pw_uid, -1)
    path.write_text((tmp_path / "c").read_text() + (tmp_path / "k").read_text())
    lines = planted(site)
    path.unlink()
    assert lines == ["certificates  the external listener's certificate expires within 14 days"]


def test_ds3_keeper_that_is_sealed_or_gone(site, tmp_path):
    passphrase = tmp_path / "passphrase"
    passphrase.touch(mode=0o600)
    passphrase.write_text("correct horse battery staple\n")
    site.run("keeper", "rotate-master", "--passphrase", str(passphrase))
    site.run("keeper", "seal")
    (line,) = planted(site)
    assert "sealed" in line
    site.run("keeper", "unseal", "--passphrase", str(passphrase))


@pytest.mark.parametrize("statement, undo, words", [
    ("ALTER ROLE owner_of_bastide SUPERUSER", "ALTER ROLE owner_of_bastide NOSUPERUSER", "superuser"),
    ("ALTER ROLE owner_of_bastide CREATEROLE", "ALTER ROLE owner_of_bastide NOCREATEROLE", "make roles"),
    ("ALTER ROLE owner_of_bastide BYPASSRLS", "ALTER ROLE owner_of_bastide NOBYPASSRLS", "row security"),
    ("GRANT pg_read_server_files TO owner_of_bastide", "REVOKE pg_read_server_files FROM owner_of_bastide", "files of the server"),
    ("GRANT CONNECT ON DATABASE bastide TO PUBLIC", "REVOKE CONNECT ON DATABASE bastide FROM PUBLIC", "every role of the server"),
    ("GRANT CREATE ON SCHEMA public TO PUBLIC", "REVOKE CREATE ON SCHEMA public FROM PUBLIC", "schema public")])
def test_ds3_rights_of_the_role(site, statement, undo, words):
    if not site.postgresql:
        pytest.skip("no roles in a file")
    site.postgresql.query(statement, "bastide")
    lines = planted(site)
    site.postgresql.query(undo, "bastide")
    assert [line for line in lines if line.startswith("database") and words in line], lines


def test_ds3_connection_without_tls(site):
    if not site.postgresql:
        pytest.skip("no connections to a file")
    (path,) = site.postgresql.query("SHOW hba_file")[0]
    with open(path, encoding="utf-8") as file:
        before = file.read()
    with open(path, "w", encoding="utf-8") as file:
        file.write("hostnossl all all 127.0.0.1/32 scram-sha-256\n" + before)
    site.postgresql.query("SELECT pg_reload_conf()")
    lines = planted(site)
    with open(path, "w", encoding="utf-8") as file:
        file.write(before)
    site.postgresql.query("SELECT pg_reload_conf()")
    assert [line for line in lines if "without TLS" in line], lines
