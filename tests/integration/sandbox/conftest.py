# SPDX-License-Identifier: Apache-2.0
"""A daemon of its own for the tests: own name, address pool, directories. Needs root. Images are kept between
runs below BASTIDE_TEST_IMAGES, because a Debian image takes about a minute."""

import json
import os
import pathlib
import random
import shutil
import signal
import socket
import subprocess
import tempfile
import time

import pytest

SANDBOXD = os.environ["BASTIDE_SANDBOXD"]
IMAGES = os.environ["BASTIDE_TEST_IMAGES"]
FIRST_UID = 1610612736

SSH_OPTIONS = [
    "-F", "none", "-o", "StrictHostKeyChecking=yes", "-o", "LogLevel=ERROR", "-o", "BatchMode=yes",
    "-o", "IdentitiesOnly=yes", "-o", "IdentityAgent=none", "-o", "ConnectTimeout=10",
    "-o", "KexAlgorithms=curve25519-sha256",
]
ROOT_SHELL = 'bash -c "$SSH_ORIGINAL_COMMAND"'


class Sandbox:
    def __init__(self, directory):
        self.directory = pathlib.Path(directory)
        self.name = "t" + "".join(random.choice("abcdefghijklmnopqrstuvwxyz0123456789") for _ in range(5))
        self.net = random.randint(128, 213)
        self.socket = str(self.directory / "sandbox.sock")
        self.config = str(self.directory / "sandbox.conf")
        self.process = None
        runner = self.directory / "runner"
        runner.write_text('#!/bin/sh\necho "runner $*"\ncat\n')
        runner.chmod(0o755)
        pathlib.Path(self.config).write_text(
            f"[sandbox]\nname = {self.name}\nsocket = {self.socket}\nuser = daemon\nstate = {self.directory}/state\n"
            f"images = {IMAGES}\nruntime = /run/bastide-test-{self.name}\nrunner = {runner}\n"
            f"[network]\npool = 10.{self.net}.0.0/16\nblock_prefix = 28\n[hosts]\nfirst_uid = {FIRST_UID}\n"
        )
        os.chmod(self.config, 0o640)
        for key in ("ca", "other_ca", "id"):
            subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", self.directory / key], check=True)
        self.ca = (self.directory / "ca.pub").read_text().strip()

    def command(self, *arguments, check=True):
        return subprocess.run([SANDBOXD, "-c", self.config, *arguments], check=check, capture_output=True, text=True)

    def start(self):
        self.process = subprocess.Popen([SANDBOXD, "-c", self.config, "serve"],
                                        stderr=open(self.directory / "log", "a", encoding="utf-8"))
        deadline = time.monotonic() + 15
        while time.monotonic() < deadline:
            assert self.process.poll() is None, (self.directory / "log").read_text()
            try:
                if "version" in self.request({"op": "info"}):
                    return
            except OSError:
                time.sleep(0.02)
        raise AssertionError("the daemon does not answer")

    def stop(self, number=signal.SIGTERM):
        if self.process:
            self.process.send_signal(number)
            status = self.process.wait(20)
            self.process = None
            if number == signal.SIGTERM:
                assert status == 0, (self.directory / "log").read_text()

    def request(self, value):
        with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as s:
            s.settimeout(60)
            s.connect(self.socket)
            s.send(json.dumps(value).encode())
            return json.loads(s.recv(65536))

    def create_request(self, token, cluster="alpha", **more):
        return {"op": "create", "token": token, "cluster": cluster, "tenant": "default_tenant", "hostname": f"{token}.test",
                "image": "host-usr", "ssh_user_ca": self.ca,
                "principals": {"root": [f"provisioner:{cluster}"], "operator": [f"person:{cluster}"]}, **more}

    def create(self, token, cluster="alpha", **more):
        host = self.request(self.create_request(token, cluster, **more))
        assert host.get("state") == "running", host
        return host

    def certificate(self, label, principal, *options, ca="ca"):
        key = self.directory / f"id-{label}"
        if not key.exists():
            shutil.copy(self.directory / "id", key)
            shutil.copy(self.directory / "id.pub", f"{key}.pub")
            subprocess.run(["ssh-keygen", "-q", "-s", self.directory / ca, "-I", label, "-n", principal, "-V", "+1h",
                            *options, f"{key}.pub"], check=True)
        return str(key)

    def ssh(self, host, command, user="root", key=None, text=None, options=()):
        cluster = host["cluster"]
        if key is None and user == "root":
            key = self.certificate(f"root-{cluster}", f"provisioner:{cluster}", "-O", "clear", "-O", f"force-command={ROOT_SHELL}")
        elif key is None:
            key = self.certificate(f"person-{cluster}", f"person:{cluster}")
        known = self.directory / f"known-{host['id']}"
        known.write_text(f"{host['address_v4']} {host['host_keys'][0]}\n")
        return subprocess.run(["ssh", *SSH_OPTIONS, "-o", f"UserKnownHostsFile={known}", *options, "-i", key,
                               f"{user}@{host['address_v4']}", command], input=text, capture_output=True, text=True, timeout=60,
                              check=False)

    def python(self, host, program):
        """Runs a program as root inside the host; its printed JSON."""
        done = self.ssh(host, "python3 -I -", text=program)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)


@pytest.fixture(scope="session")
def sandbox():
    assert os.geteuid() == 0, "these tests make namespaces: run them as root"
    directory = tempfile.mkdtemp(prefix="bastide-sandbox-")
    os.chmod(directory, 0o711)
    box = Sandbox(directory)
    try:
        box.command("image", "build", "host-usr")
        box.command("image", "build", "debian12")
        box.start()
        yield box
    finally:
        if box.process:
            box.process.kill()
            box.process.wait()
        box.command("purge", check=False)
        shutil.rmtree(directory)


@pytest.fixture(scope="session")
def host(sandbox):
    return sandbox.create("main", memory_bytes=128 << 20, tasks=64)


@pytest.fixture(scope="session")
def neighbour(sandbox):
    return sandbox.create("neighbour")


@pytest.fixture(scope="session")
def stranger(sandbox):
    return sandbox.create("stranger", cluster="omega")


@pytest.fixture(scope="session")
def debian(sandbox):
    return sandbox.create("debian", image="debian12")
