# SPDX-License-Identifier: Apache-2.0
"""The daemon may die at any moment; purge leaves nothing. Runs a second daemon, so that the other tests keep theirs."""

import os
import pathlib
import shutil
import signal
import subprocess
import tempfile
import threading
import time

import pytest

from conftest import FIRST_UID, Sandbox


def inventory():
    """What a daemon could leave on the machine."""
    links = subprocess.run(["ip", "-o", "link"], capture_output=True, text=True, check=True).stdout
    routes = [subprocess.run(["ip", version, "route", "show", "table", "all"], capture_output=True, text=True, check=True).stdout
              for version in ("-4", "-6")]
    groups = [str(p) for pattern in ("*/bastide-*", "*/bastide-*/*", "bastide-*") for p in pathlib.Path("/sys/fs/cgroup").glob(pattern) if p.is_dir()]
    return {
        "links": sorted(line.split(":")[1].strip() for line in links.splitlines()),
        "routes": sorted(line.split(" expires")[0] for text in routes for line in text.splitlines()),
        "mounts": sorted(line.split()[1] for line in pathlib.Path("/proc/self/mounts").read_text().splitlines()),
        "groups": sorted(groups),
        "netns": sorted(os.listdir("/run/netns")) if os.path.isdir("/run/netns") else [],
        "run": sorted(p for p in os.listdir("/run") if p.startswith("bastide")),
    }


def processes_in(uids):
    found = []
    for entry in os.listdir("/proc"):
        try:
            if entry.isdigit() and os.stat(f"/proc/{entry}").st_uid in uids:
                found.append(entry)
        except FileNotFoundError:
            pass
    return found


@pytest.fixture
def own(sandbox):
    directory = tempfile.mkdtemp(prefix="bastide-sandbox-")
    os.chmod(directory, 0o711)
    box = Sandbox(directory)
    while box.net == sandbox.net:
        box.__init__(tempfile.mkdtemp(prefix="pool-", dir=directory))
    before = inventory()
    config = pathlib.Path(box.config)
    config.write_text(config.read_text().replace(str(FIRST_UID), str(FIRST_UID + (1 << 28))))
    box.start()
    try:
        yield box
    finally:
        if box.process:
            box.stop()
        done = box.command("purge")
        assert done.returncode == 0, done.stderr
        assert inventory() == before
        uids = range(FIRST_UID + (1 << 28), FIRST_UID + (1 << 28) + 4000 * 65536)
        deadline = time.monotonic() + 5
        while processes_in(uids):  # ended ones, until the machine's first process has taken them
            assert time.monotonic() < deadline, processes_in(uids)
            time.sleep(0.05)
        assert not (box.directory / "state" / "hosts").exists()
        shutil.rmtree(directory)


def test_purge_leaves_nothing(own):
    for token in ("a", "b", "c"):
        own.create(token, cluster=token)
    own.create("disk-less", image="debian12")


def test_purge_is_refused_while_the_daemon_runs(own):
    done = own.command("purge", check=False)
    assert done.returncode != 0 and "runs already" in done.stderr


def test_hosts_survive_kill_and_restart(own):
    hosts = [own.create(f"n{i}") for i in range(3)]
    own.ssh(hosts[0], "touch /root/kept")
    own.stop(signal.SIGKILL)
    assert own.ssh(hosts[0], "test -e /root/kept").returncode == 0  # nobody needs the daemon for that
    own.start()
    listed = own.request({"op": "list"})["hosts"]
    assert {h["id"] for h in listed} == {h["id"] for h in hosts} and {h["state"] for h in listed} == {"running"}
    assert own.request(own.create_request("n0"))["id"] == hosts[0]["id"]
    assert own.ssh(hosts[0], "test -e /root/kept").returncode == 0
    assert own.ssh(hosts[0], f"timeout 3 bash -c '</dev/tcp/{hosts[1]['address_v4']}/22'").returncode == 0
    fresh = own.create("n3")
    assert fresh["address_v4"] not in {h["address_v4"] for h in hosts}
    # The end of an adopted host is still noticed.
    os.kill(own.request({"op": "status", "id": hosts[2]["id"]})["pid"], signal.SIGKILL)
    deadline = time.monotonic() + 5
    while own.request({"op": "status", "id": hosts[2]["id"]})["state"] != "dead":
        assert time.monotonic() < deadline
        time.sleep(0.02)
    assert own.request({"op": "delete-cluster", "cluster": "alpha"})["deleted"]
    assert own.request({"op": "list"})["hosts"] == []


def test_host_that_ended_while_the_daemon_was_down_is_dead(own):
    host = own.create("gone")
    pid = own.request({"op": "status", "id": host["id"]})["pid"]
    own.stop(signal.SIGTERM)
    os.kill(pid, signal.SIGKILL)
    time.sleep(0.2)
    own.start()
    assert own.request({"op": "status", "id": host["id"]})["state"] == "dead"
    assert own.request({"op": "delete", "id": host["id"]})["deleted"]


@pytest.mark.parametrize("delay", [0.01, 0.05, 0.12])
def test_kill_while_hosts_are_made_leaves_no_half_host(own, delay):
    def create(index):
        try:
            own.request(own.create_request(f"k{index}"))
        except (OSError, ValueError):
            pass

    threads = [threading.Thread(target=create, args=(i,)) for i in range(8)]
    for thread in threads:
        thread.start()
    time.sleep(delay)
    own.stop(signal.SIGKILL)
    for thread in threads:
        thread.join()
    own.start()
    deadline = time.monotonic() + 10
    while any(h["state"] != "running" for h in own.request({"op": "list"})["hosts"]):
        assert time.monotonic() < deadline, own.request({"op": "list"})
        time.sleep(0.05)
    for i in range(8):
        host = own.create(f"k{i}")
        assert own.ssh(host, "true").returncode == 0


def test_overlapping_pool_is_refused(sandbox, own):
    other = Sandbox(tempfile.mkdtemp(prefix="overlap-", dir=own.directory))
    config = pathlib.Path(other.config)
    config.write_text(config.read_text().replace(f"10.{other.net}.0.0/16", f"10.{own.net}.128.0/20"))
    done = other.command("serve", check=False)
    assert done.returncode == 78 and "overlaps" in done.stderr, done
    other.command("purge")


def test_storage_on_disk(own):
    own.stop()
    config = pathlib.Path(own.config)
    config.write_text(config.read_text() + "storage = disk\n")
    own.start()
    host = own.create("disk", image="debian12", memory_bytes=96 << 20)
    done = own.ssh(host, "dd if=/dev/zero of=/var/tmp/fill bs=1M count=200 && stat -c %s /var/tmp/fill")
    assert done.stdout.strip() == str(200 << 20), done.stderr
    assert own.request({"op": "delete", "id": host["id"]})["deleted"]
    assert os.listdir(own.directory / "state" / "hosts") == []
