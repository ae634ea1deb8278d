# SPDX-License-Identifier: Apache-2.0
"""The provisioner against real sshd processes with real user certificates, and a manager of the test's own.

usage: test_provisioner.py PROVISIONER RUNNER [unittest arguments]; needs root (for sshd, and to give the provisioner another user)."""
import base64
import hashlib
import io
import json
import os
import pwd
import shutil
import signal
import subprocess
import sys
import tarfile
import tempfile
import time
import unittest

import nodes
from fake_manager import Manager, seal
from runner_client import Runner

PROVISIONER = RUNNER = None
USER = "nobody"
CLUSTER = "c1"


def bundle(scripts, secrets=()):
    """An archive whose scripts all get the named secrets: (bytes, hex digest)."""
    manifest = {"name": "test", "version": "1", "description": "for tests", "files": {},
                "scripts": {path: {"description": "test", "idempotent": idempotent, "secrets": list(secrets)}
                            for path, (_, idempotent) in scripts.items()}}
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:gz") as archive:
        for path, data in [("manifest.json", json.dumps(manifest).encode())] + [(p, s) for p, (s, _) in scripts.items()]:
            entry = tarfile.TarInfo(path)
            entry.size, entry.mode = len(data), 0o644
            archive.addfile(entry, io.BytesIO(data))
    return out.getvalue(), hashlib.sha256(out.getvalue()).hexdigest()


class ProvisionerTest(unittest.TestCase):
    def setUp(self):
        self.directory = tempfile.mkdtemp(prefix="bastide-provisioner-")
        os.chmod(self.directory, 0o755)
        self.addCleanup(shutil.rmtree, self.directory)
        self.runner = self.directory + "/bastide-runner"
        shutil.copy(RUNNER, self.runner)
        self.ca = nodes.UserCa(self.directory)
        self.manager = Manager(self.directory, self.ca)
        self.addCleanup(self.manager.close)
        self.node = self.add_node("node")
        self.manager.forced_command[CLUSTER] = self.node.command
        self.state = self.directory + "/provisioner"
        os.mkdir(self.state, 0o700)
        shutil.chown(self.state, USER)
        self.config = self.directory + "/provisioner.conf"
        with open(self.config, "w") as file:
            file.write(f"[provisioner]\ndirectory = {self.state}\nuser = {USER}\nname = test\ndrain_timeout = 5s\n[log]\nlevel = debug\n")
        self.process = None
        self.addCleanup(self.stop)
        self.enrol()
        self.start()

    def add_node(self, name, **more):
        node = nodes.Node(self.directory, self.ca, self.runner, name, **more)
        self.addCleanup(node.remove)
        return node

    def call(self, *arguments):
        environment = dict(os.environ, ASAN_OPTIONS="detect_leaks=0")
        return subprocess.run([PROVISIONER, *arguments], capture_output=True, text=True, env=environment)

    def enrol(self):
        with open(self.directory + "/token", "w") as file:
            file.write(self.manager.token + "\n")
        result = self.call("--config", self.config, "enrol", "--url", self.manager.url, "--token-file", self.directory + "/token",
                           "--ca", self.directory + "/ca.crt")
        self.assertEqual(result.returncode, 0, result.stderr)

    def start(self):
        sessions = self.manager.sessions
        self.log = open(self.directory + "/log", "a")
        # Leaks cannot be looked for in a process that may not be traced.
        environment = dict(os.environ, ASAN_OPTIONS="detect_leaks=0")
        self.process = subprocess.Popen([PROVISIONER, "--config", self.config, "run"], stderr=self.log, env=environment)
        try:
            self.manager.wait(lambda: self.manager.sessions > sessions, 15)
        except TimeoutError:
            self.fail(self.read_log())

    def read_log(self):
        with open(self.directory + "/log") as file:
            return file.read()

    def stop(self, number=signal.SIGTERM):
        if not self.process:
            return None
        if self.process.poll() is None:
            self.process.send_signal(number)
        status = self.process.wait(30)
        self.process = None
        self.log.close()
        return status

    def use_bundle(self, scripts, secrets=()):
        data, digest = bundle(scripts, secrets)
        self.manager.bundles[digest] = data
        self.manager.approved.add(digest)
        self.manager.serial += 1
        return digest

    def task(self, number, kind="automator", node=None, attempt=1, idempotent=False, **more):
        node = node or self.node
        return {"id": f"e1-{number}", "step": f"e1-{number}.1", "attempt": attempt, "tenant": "default_tenant", "cluster": CLUSTER,
                "execution": "e1", "kind": kind, "action": "install", "timeout_ms": 20000, "idempotent": idempotent,
                "node": {"id": "n1", "number": 1000, "hostname": "n1", "ssh_user": "root", "ssh_port": node.port,
                         "addresses": {"access_v4": node.address}, "host_keys": [node.host_key]}, **more}

    def script_task(self, number, digest, script="run.sh", **more):
        return self.task(number, service={"name": "web", "action": {"type": "script", "fields": {"bundle": "test", "script": script}}},
                         bundle={"name": "test", "version": "1", "digest": digest}, **more)

    def do(self, task, seconds=30.0):
        self.manager.add(task)
        try:
            return self.manager.report(task["id"], task["attempt"], seconds)
        except TimeoutError:
            self.fail(self.read_log())


class Running(ProvisionerTest):
    def test_process_has_given_up_its_rights_sv21(self):
        with open(f"/proc/{self.process.pid}/status") as file:
            status = dict(line.rstrip().split(":\t", 1) for line in file if ":\t" in line)
        uid = str(pwd.getpwnam(USER).pw_uid)
        self.assertEqual(status["Uid"].split(), [uid] * 4)
        self.assertEqual((status["NoNewPrivs"], status["Seccomp"]), ("1", "2"))
        self.assertEqual(int(status["CapEff"], 16) | int(status["CapPrm"], 16), 0)
        # Not dumpable: its files below /proc belong to root.
        self.assertEqual(os.stat(f"/proc/{self.process.pid}/environ").st_uid, 0)
        # It opens no port (CH5).
        listening = subprocess.run(["ss", "-Hltnp"], capture_output=True, text=True).stdout
        self.assertNotIn(f"pid={self.process.pid},", listening)

    def test_script_with_parameters_outputs_and_masked_secrets_sv20(self):
        secret = b"s3cret+value/of?the~database"
        digest = self.use_bundle({"run.sh": (
            b"#!/bin/sh\nbastide-param web.port\nprintf 'raw '; bastide-secret db.password; echo\n"
            b"bastide-secret db.password | base64\nprintf x | cat - $BASTIDE_SECRETS/db.password | base64\n"
            b"bastide-secret db.password | od -An -tx1 -v | tr -d ' \\n'; echo\n"
            b"bastide-secret db.password | head -c 10; sleep 0.3; bastide-secret db.password | tail -c +11; echo\n"
            b"echo done >&2\necho 8000 >$BASTIDE_RESULTS/port\nbastide-secret db.password >$BASTIDE_RESULTS/leak\n", False)},
            secrets=["db.password"])
        task = self.script_task(1, digest, parameters={"web": {"port": 8000}},
                                secrets={"db.password": seal(self.manager.envelope_key, "ctx/1", secret)},
                                secret_contexts={"db.password": "ctx/1"})
        report = self.do(task)
        self.assertEqual(report["state"], "succeeded", report)
        self.assertEqual(report["result"], {"outputs": {"port": "8000", "leak": "***"}})
        lines = self.manager.output("e1-1").split(b"\n")
        self.assertEqual(lines[:2], [b"8000", b"raw ***"])
        self.assertEqual((lines[2][:3], lines[4], lines[5]), (b"***", b"***", b"***"))
        whole = self.manager.output("e1-1") + json.dumps(report).encode() + self.read_log().encode()
        for form in (secret, base64.b64encode(secret)[:-4], base64.b64encode(b"x" + secret)[4:-4], secret.hex().encode()):
            self.assertNotIn(form, whole)
        self.assertEqual(self.manager.output("e1-1", "stderr"), b"done\n")

    def test_wrong_envelope_context_is_refused(self):
        digest = self.use_bundle({"run.sh": (b"#!/bin/sh\n", False)})
        report = self.do(self.script_task(1, digest, secrets={"a": seal(self.manager.envelope_key, "other", b"value")},
                                          secret_contexts={"a": "ctx"}))
        self.assertEqual((report["state"], report["error"]["code"], report["retry"]), ("failed", "cryptography", False))

    def test_failing_script(self):
        digest = self.use_bundle({"run.sh": (b"#!/bin/sh\nexit 4\n", False)})
        report = self.do(self.script_task(1, digest))
        self.assertEqual((report["state"], report["error"]["code"]), ("failed", "step_failed"))
        self.assertIn("status 4", report["error"]["message"])

    def test_second_delivery_gives_the_recorded_result_pr5(self):
        count = self.directory + "/count"
        digest = self.use_bundle({"run.sh": (f"#!/bin/sh\necho x >>{count}\necho out\n".encode(), False)})
        self.do(self.script_task(1, digest))
        self.assertEqual(self.do(self.script_task(1, digest, attempt=2))["state"], "succeeded")
        self.assertEqual(self.manager.output("e1-1", attempt=2), b"out\n")
        with open(count) as file:
            self.assertEqual(file.read(), "x\n")

    def test_many_tasks_share_one_connection_and_certificate(self):
        digest = self.use_bundle({"run.sh": (b"#!/bin/sh\nsleep 0.5\n", False)})
        for number in range(30):
            self.manager.add(self.script_task(number, digest))
        for number in range(30):
            self.assertEqual(self.manager.report(f"e1-{number}")["state"], "succeeded")
        self.assertEqual(self.manager.ssh_certificates, 1)
        self.assertEqual(len(self.node.children(self.node.process.pid)), 1)

    def test_bootstrap_waits_for_a_node_that_starts_later(self):
        self.node.kill()
        self.manager.add(self.task(1, "bootstrap"))
        time.sleep(1)
        self.assertEqual(self.manager.reports, [])
        self.node.start()
        self.assertEqual(self.manager.report("e1-1")["state"], "succeeded")

    def test_certificate_task(self):
        base = self.directory + "/tls"
        digest = self.use_bundle({"reload.sh": (f"#!/bin/sh\ntest -s {base}/key.pem && echo reloaded\n".encode(), True)})
        task = self.task(1, "certificate", bundle={"digest": digest}, certificate={
            "name": "edge", "key_path": base + "/key.pem", "certificate_path": base + "/chain.pem", "ca_path": base + "/ca.pem",
            "owner": "daemon", "common_name": "web.example", "dns_names": ["web.example"], "ip_addresses": [], "reload": "reload.sh"})
        self.assertEqual(self.do(task)["state"], "succeeded")
        nodes.run("openssl", "verify", "-CAfile", base + "/ca.pem", base + "/chain.pem")
        self.assertEqual(self.manager.output("e1-1"), b"reloaded\n")

    def test_hosts_provider(self):
        fields = {"host": {"address": "127.0.0.1", "port": self.node.port, "host_key": self.node.host_key}}
        report = self.do(dict(self.task(1, "provider", provider={"name": "pool", "type": "hosts", "fields": fields}), action="create"))
        self.assertEqual(report["result"]["host_keys"], [self.node.host_key])
        self.assertEqual(report["result"]["ssh_port"], self.node.port)
        for number, action in ((2, "confirm"), (3, "delete")):
            task = dict(self.task(number, "provider", provider={"type": "hosts", "fields": fields}), action=action)
            self.assertEqual(self.do(task)["state"], "succeeded")

    def test_unknown_provider_and_automator(self):
        report = self.do(dict(self.task(1, "provider", provider={"type": "moon"}), action="create"))
        self.assertEqual(report["error"]["code"], "bad_reference")
        report = self.do(self.task(2, service={"name": "x", "action": {"type": "chef-solo", "fields": {}}}))
        self.assertEqual(report["error"]["code"], "bad_reference")


class Trust(ProvisionerTest):
    def setUp(self):
        super().setUp()
        self.marker = self.directory + "/ran"
        self.digest = self.use_bundle({"run.sh": (f"#!/bin/sh\ntouch {self.marker}\n".encode(), False)})

    def refused(self, task, code):
        report = self.do(task)
        self.assertEqual((report["state"], report["error"]["code"], report["retry"]), ("failed", code, False), report)
        self.assertFalse(os.path.exists(self.marker))

    def test_swapped_host_key_is_refused_ch7(self):
        other = self.add_node("other")
        task = self.script_task(1, self.digest)
        task["node"]["ssh_port"] = other.port
        self.refused(task, "untrusted")

    def test_node_without_known_host_key_is_refused_ch7(self):
        task = self.script_task(1, self.digest)
        task["node"]["host_keys"] = []
        self.refused(task, "untrusted")
        task = self.script_task(2, self.digest)
        task["node"]["host_keys"] = ["ssh-rsa AAAAB3NzaC1yc2EAAAADAQABAAAAAQAB"]
        self.refused(task, "untrusted")

    def test_expired_certificate_is_refused_by_sshd_pk9(self):
        self.manager.validity = "-20m:-10m"
        self.refused(self.script_task(1, self.digest), "unauthenticated")

    def test_bundle_that_is_not_approved_pr9(self):
        self.manager.approved.clear()
        self.refused(self.script_task(1, self.digest), "not_approved")

    def test_set_with_a_false_signature_pr9(self):
        self.manager.break_set = lambda data, signature: (data, bytes([signature[0] ^ 1]) + signature[1:])
        self.refused(self.script_task(1, self.digest), "untrusted")

    def test_set_of_another_tenant_pr9(self):
        from fake_manager import approved_set

        def other(data, signature):
            data = approved_set("other", 99, time.time() + 3600, [bytes.fromhex(self.digest)])
            return data, self.manager.signer.sign(data)
        self.manager.break_set = other
        self.refused(self.script_task(1, self.digest), "untrusted")

    def test_set_that_goes_back_also_over_a_restart_pr9(self):
        ok = self.use_bundle({"ok.sh": (b"#!/bin/sh\n", False)})
        self.assertEqual(self.do(self.script_task(1, ok, "ok.sh"))["state"], "succeeded")
        self.manager.serial -= 1
        self.stop()
        self.start()
        self.refused(self.script_task(2, self.digest), "stale")

    def test_bundle_with_other_bytes_pr9(self):
        self.manager.bundles[self.digest] = bundle({"run.sh": (f"#!/bin/sh\ntouch {self.marker} # evil\n".encode(), False)})[0]
        report = self.do(self.script_task(1, self.digest))
        self.assertEqual(report["state"], "failed")
        self.assertFalse(os.path.exists(self.marker))

    def test_script_outside_of_the_bundle_pr9(self):
        self.refused(self.script_task(1, self.digest, "other.sh"), "not_approved")


class Faults(ProvisionerTest):
    def waiting_bundle(self, idempotent=False):
        self.count, self.go = self.directory + "/count", self.directory + "/go"
        script = f"#!/bin/sh\necho x >>{self.count}\necho one\nwhile [ ! -e {self.go} ]; do sleep 0.05; done\necho two\n"
        return self.use_bundle({"run.sh": (script.encode(), idempotent)})

    def wait_for_file(self, path):
        end = time.monotonic() + 15
        while not os.path.exists(path):
            self.assertLess(time.monotonic(), end, self.read_log())
            time.sleep(0.02)

    def touch(self, path):
        with open(path, "w"):
            pass

    def ran_once(self):
        with open(self.count) as file:
            self.assertEqual(file.read(), "x\n")

    def test_lost_connection_is_made_again_pr5(self):
        self.manager.add(self.script_task(1, self.waiting_bundle()))
        self.wait_for_file(self.count)
        self.manager.wait(lambda: self.manager.output("e1-1") == b"one\n")
        self.node.cut_connections()
        time.sleep(0.5)
        self.node.cut_connections()
        self.touch(self.go)
        self.assertEqual(self.manager.report("e1-1")["state"], "succeeded")
        self.assertEqual(self.manager.output("e1-1"), b"one\ntwo\n")
        self.ran_once()

    def test_killed_provisioner_next_attempt_attaches_pr5(self):
        digest = self.waiting_bundle()
        self.manager.add(self.script_task(1, digest))
        self.wait_for_file(self.count)
        self.stop(signal.SIGKILL)
        self.start()
        self.manager.add(self.script_task(1, digest, attempt=2))
        time.sleep(0.5)
        self.touch(self.go)
        self.assertEqual(self.manager.report("e1-1", 2)["state"], "succeeded")
        self.assertEqual(self.manager.output("e1-1", attempt=2), b"one\ntwo\n")
        self.ran_once()

    def test_killed_supervisor_is_unknown_pr5(self):
        self.manager.add(self.script_task(1, self.waiting_bundle()))
        self.wait_for_file(self.count)
        with open(self.node.directory + "/state/steps/e1-1.1/begun") as begun:
            os.kill(int(begun.read().split("session ")[1].split()[0]), signal.SIGKILL)
        report = self.manager.report("e1-1")
        self.assertEqual(report["state"], "unknown")
        self.assertIn("killed", report["error"]["message"])

    def test_cancel_ends_the_step_on_the_node(self):
        self.manager.add(self.script_task(1, self.waiting_bundle()))
        self.wait_for_file(self.count)
        with self.manager.lock:
            self.manager.cancels.append("e1-1")
        self.assertEqual(self.manager.report("e1-1")["state"], "cancelled")
        self.touch(self.go)

    def test_timeout(self):
        task = self.script_task(1, self.waiting_bundle())
        task["timeout_ms"] = 1000
        report = self.do(task)
        self.assertEqual((report["state"], report["error"]["code"]), ("failed", "timed_out"))

    def test_reports_wait_for_a_manager_that_is_away_pr6(self):
        self.manager.add(self.script_task(1, self.waiting_bundle()))
        self.wait_for_file(self.count)
        self.manager.failing = True
        self.touch(self.go)
        time.sleep(1.5)
        self.assertEqual(self.manager.reports, [])
        self.manager.failing = False
        self.assertEqual(self.manager.report("e1-1")["state"], "succeeded")
        self.assertEqual(self.manager.output("e1-1"), b"one\ntwo\n")

    def test_heartbeat_names_running_tasks_pr6(self):
        self.manager.add(self.script_task(1, self.waiting_bundle()))
        self.wait_for_file(self.count)
        self.manager.wait(lambda: self.manager.running == [{"task": "e1-1", "attempt": 1}])
        self.touch(self.go)
        self.manager.report("e1-1")
        self.manager.wait(lambda: self.manager.running == [])

    def test_sigterm_lets_running_tasks_end_pr6(self):
        self.manager.add(self.script_task(1, self.waiting_bundle()))
        self.wait_for_file(self.count)
        self.process.send_signal(signal.SIGTERM)
        time.sleep(0.5)
        self.touch(self.go)
        self.assertEqual(self.manager.report("e1-1")["state"], "succeeded")
        self.assertEqual(self.stop(), 0)

    def test_sigterm_leaves_long_steps_to_the_node_pr5(self):
        digest = self.waiting_bundle()
        self.manager.add(self.script_task(1, digest))
        self.wait_for_file(self.count)
        self.process.send_signal(signal.SIGTERM)
        time.sleep(0.2)
        self.assertEqual(self.stop(), 0) # told twice: at once
        self.assertEqual(self.manager.reports, [])
        self.start()
        self.touch(self.go)
        self.assertEqual(self.do(self.script_task(1, digest, attempt=2))["state"], "succeeded")
        self.ran_once()

    def test_drained_provisioner_ends_pr6(self):
        self.manager.is_drained = True
        self.assertEqual(self.process.wait(15), 0)

    def test_fenced_provisioner_ends(self):
        self.manager.is_fenced = True
        self.assertEqual(self.process.wait(15), 75)


class FirewallTask(ProvisionerTest):
    """The node is in a network namespace of its own, so that its firewall is real."""
    RULES = "table inet bastide {\n  chain input {\n    type filter hook input priority 0; policy accept;\n    %s\n  }\n}\n"

    def setUp(self):
        super().setUp()
        self.holder = subprocess.Popen(["unshare", "--net", "sleep", "300"])
        self.addCleanup(self.holder.wait)
        self.addCleanup(self.holder.kill)
        while os.readlink(f"/proc/{self.holder.pid}/ns/net") == os.readlink("/proc/self/ns/net"):
            time.sleep(0.01)
        self.inside = ["nsenter", f"--net=/proc/{self.holder.pid}/ns/net"]
        link, number = f"bp{self.holder.pid}", self.holder.pid % 250
        nodes.run("ip", "link", "add", link, "type", "veth", "peer", "name", "eth0", "netns", str(self.holder.pid))
        nodes.run("ip", "address", "add", f"10.213.{number}.1/30", "dev", link)
        nodes.run("ip", "link", "set", link, "up")
        for command in (["address", "add", f"10.213.{number}.2/30", "dev", "eth0"], ["link", "set", "eth0", "up"],
                        ["link", "set", "lo", "up"]):
            nodes.run(*self.inside, "ip", *command)
        self.walled = self.add_node("walled", prefix=self.inside, address=f"10.213.{number}.2")
        self.manager.forced_command[CLUSTER] = self.walled.command

    def rules(self):
        return nodes.run(*self.inside, "nft", "list", "ruleset").decode()

    def firewall_task(self, number, rule, seconds=20):
        return self.task(number, "firewall", node=self.walled, firewall={"ruleset": self.RULES % rule, "digest": "", "confirm_seconds": seconds})

    def test_good_rules_are_confirmed_and_lock_out_is_reverted_ch8(self):
        self.assertEqual(self.do(self.firewall_task(1, "tcp dport 4444 drop"))["state"], "succeeded")
        self.assertIn("4444", self.rules())
        report = self.do(self.firewall_task(2, f"tcp dport {self.walled.port} drop", 3), 60)
        self.assertEqual(report["state"], "failed", report)
        self.assertIn("goes back to the old one", report["error"]["message"])
        end = time.monotonic() + 10
        while "4444" not in self.rules() and time.monotonic() < end:
            time.sleep(0.1)
        self.assertNotIn(str(self.walled.port), self.rules())
        self.assertIn("4444", self.rules())


class Enrolment(ProvisionerTest):
    def test_files_are_private_and_second_enrolment_is_refused_ch5(self):
        for directory, _, names in os.walk(self.state):
            for name in names:
                status = os.stat(os.path.join(directory, name))
                self.assertEqual((status.st_mode & 0o077, status.st_uid), (0, pwd.getpwnam(USER).pw_uid), name)
        result = self.call("--config", self.config, "enrol", "--url", self.manager.url, "--token-file", self.directory + "/token",
                           "--ca", self.directory + "/ca.crt")
        self.assertEqual(result.returncode, 73)

    def test_wrong_ca_is_refused(self):
        shutil.rmtree(self.state + "/tls")
        os.unlink(self.state + "/id")
        nodes.run("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", "/dev/null",
                  "-out", self.directory + "/other.crt", "-subj", "/CN=other")
        result = self.call("--config", self.config, "enrol", "--url", self.manager.url, "--token-file", self.directory + "/token",
                           "--ca", self.directory + "/other.crt")
        self.assertNotEqual(result.returncode, 0)
        self.assertFalse(os.path.exists(self.state + "/id"))
        self.assertNotIn(self.manager.token, result.stderr)


if __name__ == "__main__":
    PROVISIONER, RUNNER = os.path.abspath(sys.argv.pop(1)), os.path.abspath(sys.argv.pop(1))
    unittest.main()
