# SPDX-License-Identifier: Apache-2.0
"""The services start, do what they are for, and leave nothing behind."""

import contextlib
import os
import pathlib
import signal
import subprocess
import sys

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))

from services import (PostgreSQL, Process, ServiceError, Sshd, clean_environment, free_port, is_listening,  # noqa: E402
                      run, temporary_folder, wait_until)


def is_alive(number):
    """False also for what has ended and waits for process 1 to take notice."""
    try:
        return pathlib.Path(f"/proc/{number}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_process_with_port(tmp_path):
    port = free_port()
    assert not is_listening(port)
    program = [sys.executable, "-u", "-m", "http.server", str(port), "--bind", "127.0.0.1"]
    with Process(program, log=tmp_path / "log", folder=tmp_path, port=port) as process:
        assert process.is_running() and is_listening(port)
        process.wait_for_output("GET") if run(["curl", "-s", f"http://127.0.0.1:{port}/"]) else pytest.fail("no page")
    assert not is_listening(port)
    assert process.pid is None


def test_process_that_ends_at_once(tmp_path):
    with pytest.raises(ServiceError, match="ended with status 3\nwhy it failed"):
        Process(["sh", "-c", "echo why it failed; exit 3"], log=tmp_path / "log", port=free_port()).start()


def test_process_that_never_listens(tmp_path):
    process = Process(["sleep", "1000"], log=tmp_path / "log", port=free_port(), seconds=0.3)
    with pytest.raises(ServiceError, match="still waiting for port"):
        process.start()
    assert process.pid is None


def test_whole_tree_is_killed(tmp_path):
    """One child ignores signals, one leaves the session, one is an orphan."""
    script = "trap '' TERM; sleep 1000 & setsid sleep 1000 & (setsid sh -c 'sleep 1000 & sleep 1000' &); echo up; wait"
    with Process(["sh", "-c", script], log=tmp_path / "log", stop_signal=signal.SIGKILL) as process:
        process.wait_for_output("up")
        members = wait_until(lambda: len(process.members()) >= 6 and process.members(), 5, "six processes")
    assert not [number for number in members if is_alive(number)]


def test_environment_is_clean(tmp_path, monkeypatch):
    monkeypatch.setenv("SECRET_OF_CALLER", "x")
    output = run(["env"], folder=tmp_path)
    assert "SECRET_OF_CALLER" not in output and f"HOME={tmp_path}" in output
    assert set(clean_environment("/x")) == {"PATH", "LANG", "HOME"}


def test_folder_is_removed():
    with temporary_folder() as folder:
        (folder / "file").write_text("x")
        assert folder.stat().st_mode & 0o777 == 0o700
    assert not folder.exists()


def test_postgresql():
    with PostgreSQL() as database:
        assert database.query("select version()")[0][0].startswith("PostgreSQL 15")
        used = database.query("select ssl, version from pg_stat_ssl where pid = pg_backend_pid()")
        assert used == [["t", "TLSv1.3"]]
        database.create_database("other")
        database.query("create table t (a int, b text); insert into t values (1, 'x'), (2, null)", "other")
        assert database.query("select * from t order by a", "other") == [["1", "x"], ["2", ""]]
        with pytest.raises(ServiceError, match="does not exist"):
            database.query("select * from missing")
        without_tls = database.conninfo().replace("verify-full", "disable")
        with pytest.raises(ServiceError, match="no pg_hba.conf entry"):
            run(["psql", "-X", "-c", "select 1", without_tls], folder=database.pass_file.parent)
        with pytest.raises(ServiceError, match="no password supplied|password authentication failed"):
            run(["psql", "-X", "-w", "-c", "select 1", database.conninfo().replace("passfile=", "passfile=/nowhere")],
                folder=database.pass_file.parent)
        password = database.pass_file.read_text().rsplit(":", 1)[1].strip()
        checked = 0
        for number in database.process.members():
            with contextlib.suppress(FileNotFoundError, ProcessLookupError):  # sessions end meanwhile
                assert password.encode() not in pathlib.Path(f"/proc/{number}/cmdline").read_bytes()
                assert password.encode() not in pathlib.Path(f"/proc/{number}/environ").read_bytes()
                assert os.geteuid() != 0 or os.stat(f"/proc/{number}").st_uid != 0
                checked += 1
        assert checked >= 5  # the server and its workers
        database.process.kill()  # as a crash of the machine would
        assert not is_listening(database.port)
        database.start()
        assert database.query("select count(*) from t", "other") == [["2"]]
        folders = database.folder, database.pass_file.parent
    assert not is_listening(database.port)
    assert not [folder for folder in folders if folder.exists()]


def test_sshd_with_key():
    with Sshd() as node:
        assert node.run("echo $((6 * 7))") == "42\n"
        assert node.run("id -un").strip() == node.user
        with pytest.raises(ServiceError, match="status 3"):
            node.run("exit 3")
        other = node.folder / "other"
        run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", other])
        with pytest.raises(ServiceError, match="Permission denied"):
            node.run("true", key=other)
        folder = node.folder
    assert not folder.exists() and not is_listening(node.port)


def test_sshd_with_certificate(tmp_path):
    for name in ("ca", "person"):
        run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", tmp_path / name])

    def certify(principal):
        run(["ssh-keygen", "-q", "-s", tmp_path / "ca", "-I", "test", "-n", principal, "-V", "-1m:+5m",
             tmp_path / "person.pub"])

    user = Sshd().user
    with Sshd(user_ca=(tmp_path / "ca.pub").read_text(), principals={user: ["provisioner:c1"]}) as node:
        certify("provisioner:c1")
        assert node.run("echo in", key=tmp_path / "person") == "in\n"
        certify("provisioner:c2")
        with pytest.raises(ServiceError, match="Permission denied"):
            node.run("true", key=tmp_path / "person")


def test_nothing_outlives_a_killed_test(tmp_path):
    """The test process dies by SIGKILL: what it started ends too."""
    script = (f"import sys; sys.path.insert(0, {str(pathlib.Path(__file__).parent)!r})\n"
              "import services, time\n"
              f"p = services.Process(['sleep', '1000'], log={str(tmp_path / 'log')!r}); p.start()\n"
              "print(p.pid, flush=True); time.sleep(1000)\n")
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True) as test:
        number = int(test.stdout.readline())
        assert is_alive(number)
        test.kill()
    wait_until(lambda: not is_alive(number), 5, "the end of the child")
