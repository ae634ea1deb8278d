# SPDX-License-Identifier: Apache-2.0
"""Real sshd processes for tests: one per node, on loopback (or in a network namespace), that trust a user CA of the test's own."""
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time


def run(*arguments, data=None):
    return subprocess.run(arguments, input=data, capture_output=True, check=True).stdout


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class UserCa:
    """Signs user certificates with the runner as forced command."""

    def __init__(self, directory):
        self.directory = directory
        self.key = directory + "/user_ca"
        run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", self.key)
        with open(self.key + ".pub") as file:
            self.public = " ".join(file.read().split()[:2])

    def sign(self, public_key, principal, command=None, validity="-1m:+10m"):
        path = tempfile.mkdtemp(dir=self.directory) + "/key.pub"
        with open(path, "w") as file:
            file.write(public_key + "\n")
        options = ["-O", "clear"] + (["-O", "force-command=" + command] if command else [])
        run("ssh-keygen", "-q", "-s", self.key, "-I", "test", "-n", principal, "-V", validity, *options, path)
        with open(path.replace(".pub", "-cert.pub")) as file:
            return file.read().strip()


class Node:
    def __init__(self, directory, ca, runner, name="node", principal="provisioner:c1", prefix=(), address="127.0.0.1"):
        self.directory = f"{directory}/{name}"
        os.makedirs(self.directory)
        self.secrets = tempfile.mkdtemp(prefix="bastide-node-", dir="/dev/shm")
        self.address, self.port = address, free_port()
        self.command = f"{runner} serve --state {self.directory}/state --secrets {self.secrets}"
        key = self.directory + "/host_key"
        run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", key)
        with open(key + ".pub") as file:
            self.host_key = " ".join(file.read().split()[:2])
        for file, text in (("ca.pub", ca.public), ("principals", principal)):
            with open(f"{self.directory}/{file}", "w") as out:
                out.write(text + "\n")
        with open(self.directory + "/sshd_config", "w") as out:
            out.write(f"Port {self.port}\nListenAddress {address}\nHostKey {key}\nPidFile none\nUsePAM no\nStrictModes no\n"
                      f"TrustedUserCAKeys {self.directory}/ca.pub\nAuthorizedPrincipalsFile {self.directory}/principals\n"
                      "AuthorizedKeysFile none\nPasswordAuthentication no\nKbdInteractiveAuthentication no\n"
                      "PermitRootLogin yes\nMaxStartups 500:30:1000\nLogLevel ERROR\n")
        os.makedirs("/run/sshd", exist_ok=True)
        self.prefix = list(prefix)
        self.start()

    def start(self):
        self.log = open(self.directory + "/log", "a")
        self.process = subprocess.Popen([*self.prefix, "/usr/sbin/sshd", "-D", "-e", "-f", self.directory + "/sshd_config"],
                                        stderr=self.log, stdin=subprocess.DEVNULL)
        end = time.monotonic() + 10
        while time.monotonic() < end:
            try:
                with socket.create_connection((self.address, self.port), 1) as probe:
                    if probe.recv(4) == b"SSH-":
                        return
            except OSError:
                time.sleep(0.02)
        raise TimeoutError("sshd does not answer")

    def children(self, pid):
        found = []
        for entry in os.listdir("/proc"):
            if entry.isdigit():
                try:
                    with open(f"/proc/{entry}/stat") as file:
                        if int(file.read().rsplit(")", 1)[1].split()[1]) == pid:
                            found.append(int(entry))
                except OSError:
                    pass
        return found

    def cut_connections(self):
        """Kills the processes of the present connections, not the listening one; steps go on."""
        for child in self.children(self.process.pid):
            for pid in (*self.children(child), child):
                try:
                    os.kill(pid, signal.SIGKILL)
                except ProcessLookupError:
                    pass

    def kill(self):
        self.cut_connections()
        self.process.kill()
        self.process.wait()
        self.log.close()

    def remove(self):
        self.kill()
        shutil.rmtree(self.secrets, ignore_errors=True)
