# SPDX-License-Identifier: Apache-2.0
"""The runner as a black box: real processes, real signals, a real kernel firewall (in a network namespace of the test's own).

usage: test_runner.py RUNNER [unittest arguments]; needs root for the firewall part."""
import glob
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import unittest

from runner_client import Runner, digest, done, frame, pair, u32, u64

PROGRAM = None


def wait_for(condition, seconds=10.0):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if condition():
            return True
        time.sleep(0.02)
    return False


class RunnerTest(unittest.TestCase):
    def setUp(self):
        self.directory = tempfile.mkdtemp(prefix="bastide-runner-")
        self.secrets = tempfile.mkdtemp(prefix="bastide-runner-", dir="/dev/shm")
        self.runners = []

    def tearDown(self):
        for runner in self.runners:
            if runner.process.poll() is None:
                runner.kill()
        shutil.rmtree(self.directory)
        shutil.rmtree(self.secrets)

    def connect(self, prefix=(), greet=True):
        runner = Runner([*prefix, PROGRAM, "serve", "--state", self.directory + "/state", "--secrets", self.secrets], greet)
        self.runners.append(runner)
        return runner

    def step_path(self, step, name):
        return f"{self.directory}/state/steps/{step}/{name}"

    def supervisor(self, step):
        with open(self.step_path(step, "begun")) as begun:
            return int(begun.read().split("session ")[1].split()[0])


class Steps(RunnerTest):
    def test_result_output_and_parameters(self):
        script = (b"#!/bin/sh\necho out\necho err >&2\ncat data/file\nbastide-param db.port\nbastide-param none 7\n"
                  b"bastide-list db\necho 42 >$BASTIDE_RESULTS/answer\npwd\nexit 3\n")
        answer, out, err = self.connect().run("a.1", script, files={"data/file": b"content\n"},
                                              flat=b"db.port\t5432\ndb.text\tone\\ntwo\ndb.hosts.a.ip\t1\ndb.hosts.b.ip\t2\n")
        result = done(answer)
        self.assertEqual(result["exit"], 3)
        self.assertEqual(result["results"], {"answer": "42"})
        self.assertEqual(err, b"err\n")
        self.assertEqual(out.split(b"\n")[:8], [b"out", b"content", b"5432", b"7", b"5432", b"one", b"two", b"hosts"])
        self.assertFalse(os.path.exists(self.step_path("a.1", "work")))

    def test_second_delivery_returns_the_recorded_result_pr5(self):
        script = b"#!/bin/sh\necho run >>" + self.directory.encode() + b"/count\necho once\n"
        self.connect().run("a.1", script)
        again = self.connect()
        answer, out, _ = again.run("a.1", script)
        self.assertEqual((done(answer)["exit"], out), (0, b"once\n"))
        with open(self.directory + "/count") as count:
            self.assertEqual(count.read(), "run\n")

    def test_lost_connection_kills_nothing_and_attach_resumes_pr5(self):
        runner = self.connect()
        script = b"#!/bin/sh\necho one\nwhile [ ! -e " + self.directory.encode() + b"/go ]; do sleep 0.05; done\necho two\n"
        self.assertEqual(runner.start("a.1", script).type, "STARTED")
        first = runner.read()
        self.assertEqual(first.fields[3][0], b"one\n")
        runner.kill()
        open(self.directory + "/go", "w").close()
        other = self.connect()
        other.send("ATTACH", [(1, "a.1"), (2, u64(4))])
        answer, out, _ = other.finish()
        self.assertEqual((done(answer)["exit"], out), (0, b"two\n"))

    def test_two_connections_follow_the_same_step(self):
        script = b"#!/bin/sh\nsleep 0.5\necho both\n"
        first, second = self.connect(), self.connect()
        self.assertEqual(first.start("a.1", script).type, "STARTED")
        self.assertEqual(second.start("a.1", script).type, "STARTED")
        for runner in (first, second):
            answer, out, _ = runner.finish()
            self.assertEqual((done(answer)["exit"], out), (0, b"both\n"))

    def test_many_steps_over_one_connection(self):
        runner = self.connect()
        requests = [runner.run_fields(f"a.{i}", b"#!/bin/sh\necho $BASTIDE_TASK\n") for i in range(40)]
        for fields in requests:
            runner.send("RUN", fields)
        outputs, finished = set(), 0
        while finished < 40:
            answer = runner.read()
            finished += answer.type == "DONE"
            if answer.type == "OUTPUT":
                outputs.add(answer.fields[3][0])
        self.assertEqual(outputs, {f"a.{i}\n".encode() for i in range(40)})

    @staticmethod
    def skip_to(runner, types):
        while True:
            answer = runner.read()
            if answer.type in types:
                return answer

    def test_killed_supervisor_needs_decision_pr5(self):
        runner = self.connect()
        script = b"#!/bin/sh\necho begun\nsleep 60\n"
        runner.start("a.1", script, secrets={"token": b"hidden"})
        self.assertEqual(runner.read().type, "OUTPUT")
        os.kill(self.supervisor("a.1"), signal.SIGKILL)
        self.assertEqual(runner.finish()[0].type, "NEEDS_DECISION")
        self.assertEqual(os.listdir(self.secrets), [])
        self.assertEqual(self.connect().run("a.1", script)[0].type, "NEEDS_DECISION")
        # The script died with its supervisor; a program that it had started may still come to its end.
        self.assertTrue(wait_for(lambda: not self.processes_of("a.1", b"run.sh")))
        subprocess.run(["kill", *(path.split("/")[2] for path in self.processes_of("a.1"))])

    def test_killed_supervisor_runs_again_when_idempotent_pr5(self):
        runner = self.connect()
        marker = self.directory.encode() + b"/second"
        script = b"#!/bin/sh\n[ -e " + marker + b" ] && exit 0\n: >" + marker + b"\nsleep 60 &\nwait\n"
        runner.start("a.1", script, idempotent=True)
        self.assertTrue(wait_for(lambda: os.path.exists(marker)))
        os.kill(self.supervisor("a.1"), signal.SIGKILL)
        runner.finish()
        answer, _, _ = self.connect().run("a.1", script, idempotent=True)
        self.assertEqual(done(answer)["exit"], 0)
        # What the killed run had started did not survive into the second.
        self.assertEqual(self.processes_of("a.1"), [])

    def test_reboot_needs_decision(self):
        runner = self.connect()
        runner.start("a.1", b"#!/bin/sh\nexec sleep 60\n")
        self.assertTrue(wait_for(lambda: os.path.exists(self.step_path("a.1", "begun"))))
        os.kill(self.supervisor("a.1"), signal.SIGKILL)
        runner.finish()
        with open(self.step_path("a.1", "begun")) as begun:
            text = begun.read()
        with open(self.step_path("a.1", "begun"), "w") as begun:
            begun.write("boot another\n" + text.split("\n", 1)[1])
        runner.send("ATTACH", [(1, "a.1")])
        answer = runner.finish()[0]
        self.assertIn("node was started again", answer.fields[1][0].decode())

    @staticmethod
    def processes_of(step, program=b""):
        found = []
        for path in glob.glob("/proc/[0-9]*/environ"):
            try:
                with open(path, "rb") as environ, open(path.replace("environ", "cmdline"), "rb") as command:
                    if f"BASTIDE_TASK={step}".encode() in environ.read().split(b"\0") and program in command.read():
                        found.append(path)
            except OSError:
                pass
        return found

    def test_timeout_kills_everything_below(self):
        script = (b"#!/bin/sh\ntrap '' TERM\n(setsid sh -c 'trap \"\" TERM; sleep 60; :' &)\nsh -c 'sleep 60; :' &\n"
                  b"while :; do sleep 1; done\n")
        started = time.monotonic()
        answer, _, _ = self.connect().run("a.1", script, timeout_ms=300)
        result = done(answer)
        self.assertTrue(result["timed_out"])
        self.assertEqual(result["signal"], signal.SIGKILL)
        self.assertLess(time.monotonic() - started, 10)
        self.assertEqual(self.processes_of("a.1"), [])

    def test_cancel_with_grace(self):
        runner = self.connect()
        runner.start("a.1", b"#!/bin/sh\ntrap 'echo asked; exit 9' TERM\necho ready\nwhile :; do sleep 0.05; done\n")
        self.assertEqual(runner.read().type, "OUTPUT")
        runner.send("CANCEL", [(1, "a.1"), (2, u32(5000))])
        self.assertEqual(self.skip_to(runner, ("OK",)).type, "OK")
        answer, out, _ = runner.finish()
        self.assertEqual((done(answer)["cancelled"], done(answer)["exit"], out), (True, 9, b"asked\n"))

    def test_cancel_then_kill(self):
        runner = self.connect()
        runner.start("a.1", b"#!/bin/sh\ntrap '' TERM\necho ready\nwhile :; do sleep 0.05; done\n")
        self.assertEqual(runner.read().type, "OUTPUT")
        runner.send("CANCEL", [(1, "a.1"), (2, u32(100))])
        self.skip_to(runner, ("OK",))
        self.assertEqual(done(runner.finish()[0])["signal"], signal.SIGKILL)

    def test_output_is_capped(self):
        answer, out, _ = self.connect().run("a.1", b"#!/bin/sh\nhead -c 3000000 /dev/zero | tr '\\0' x\necho end >&2\n",
                                            output_limit=100000)
        self.assertEqual(done(answer)["exit"], 0)
        self.assertEqual(out[:100000], b"x" * 100000)
        self.assertIn(b"2900000 more bytes were left out", out[100000:])
        self.assertLess(len(out), 100100)

    def test_large_output_arrives_whole(self):
        _, out, _ = self.connect().run("a.1", b"#!/bin/sh\nhead -c 3000000 /dev/zero | tr '\\0' x\n", output_limit=4 << 20)
        self.assertEqual(len(out), 3000000)

    def test_daemon_of_a_finished_step_stays(self):
        pid_file = self.directory + "/pid"
        script = f"#!/bin/sh\nsetsid sleep 60 >/dev/null 2>&1 </dev/null &\necho $! >{pid_file}\n".encode()
        answer, _, _ = self.connect().run("a.1", script)
        self.assertEqual(done(answer)["exit"], 0)
        with open(pid_file) as file:
            pid = int(file.read())
        os.kill(pid, 0)
        os.kill(pid, signal.SIGKILL)

    def test_results_beyond_the_limit_are_told(self):
        answer, _, _ = self.connect().run("a.1", b"#!/bin/sh\nhead -c 20000 /dev/zero | tr '\\0' x >$BASTIDE_RESULTS/big\n")
        self.assertIn("16 KiB", done(answer)["message"])

    def test_script_that_cannot_start(self):
        answer, _, _ = self.connect().run("a.1", b"#!/no/such/interpreter\n")
        self.assertEqual(done(answer)["exit"], 127)
        self.assertIn("cannot start", done(answer)["message"])

    def test_forget(self):
        runner = self.connect()
        runner.run("a.1", b"#!/bin/sh\n")
        self.assertEqual(runner.call("FORGET", [(1, "a.1")]).type, "OK")
        self.assertFalse(os.path.exists(self.step_path("a.1", "")))
        self.assertEqual(runner.call("ATTACH", [(1, "a.1")]).type, "ERROR")
        runner.start("b.1", b"#!/bin/sh\nsleep 60\n")
        answer = runner.call("FORGET", [(1, "b.1")])
        self.assertEqual((answer.type, answer.fields[1][0]), ("ERROR", b"busy"))
        runner.send("CANCEL", [(1, "b.1"), (2, u32(0))])
        self.skip_to(runner, ("DONE",))


class Secrets(RunnerTest):
    CANARY = b"canary-5up3r-s3cret-value"

    def test_secret_reaches_the_script_and_is_gone_afterwards_sv20(self):
        runner = self.connect()
        go = self.directory + "/go"
        script = (f"#!/bin/sh\nbastide-secret db.password | sha256sum\nstat -c %a $BASTIDE_SECRETS $BASTIDE_SECRETS/db.password\n"
                  f"while [ ! -e {go} ]; do sleep 0.05; done\n").encode()
        runner.start("a.1", script, secrets={"db.password": self.CANARY})
        first = runner.read()
        import hashlib
        lines = first.fields[3][0]
        while lines.count(b"\n") < 3:
            lines += runner.read().fields[3][0]
        self.assertIn(hashlib.sha256(self.CANARY).hexdigest().encode(), lines)
        self.assertIn(b"700\n600\n", lines)
        self.assertEqual(self.search_processes(), [])
        open(go, "w").close()
        self.assertEqual(done(runner.finish()[0])["exit"], 0)
        self.assertEqual(os.listdir(self.secrets), [])
        self.assertEqual(self.search_files(), [])

    def search_processes(self):
        found = []
        for path in glob.glob("/proc/[0-9]*/cmdline") + glob.glob("/proc/[0-9]*/environ"):
            try:
                with open(path, "rb") as file:
                    if self.CANARY in file.read():
                        found.append(path)
            except OSError:
                pass
        return found

    def search_files(self):
        found = []
        for base in (self.directory, self.secrets):
            for directory, _, names in os.walk(base):
                for name in names:
                    with open(os.path.join(directory, name), "rb") as file:
                        if self.CANARY in file.read():
                            found.append(name)
        return found

    def test_secrets_not_on_tmpfs_are_refused(self):
        status = subprocess.run([PROGRAM, "serve", "--state", self.directory + "/state", "--secrets", self.directory + "/s"],
                                stdin=subprocess.DEVNULL, capture_output=True)
        self.assertEqual(status.returncode, 78)
        self.assertIn(b"tmpfs", status.stderr)


class Protocol(RunnerTest):
    def test_first_request_is_hello(self):
        runner = self.connect(greet=False)
        self.assertEqual(runner.call("PING", []).fields[1][0], b"protocol")

    def test_broken_frames_end_the_connection(self):
        for data in (b"\xff\xff\xff\xff", b"\0\0\0\0", frame(99, 1, []), frame(1, 1, [(9, b"x")])):
            runner = self.connect(greet=False)
            runner.process.stdin.write(data)
            runner.process.stdin.flush()
            self.assertIsNone(runner.read())
            self.assertEqual(runner.close(), 1)

    def test_content_must_match_its_digest(self):
        runner = self.connect()
        answer = runner.call("PUT", [(1, digest(b"other")), (2, u32(4)), (3, u32(0)), (4, b"data")])
        self.assertEqual((answer.type, answer.fields[1][0]), ("ERROR", b"untrusted"))
        self.assertEqual(runner.call("HAVE", [(1, digest(b"other"))]).fields[1], [digest(b"other")])

    def test_changed_store_is_noticed_pr9(self):
        runner = self.connect()
        script = b"#!/bin/sh\necho good\n"
        path = f"{self.directory}/state/store/{runner.put(script).hex()}"
        fields = runner.run_fields("a.1", script)
        os.chmod(path, 0o600)
        with open(path, "w") as file:
            file.write("#!/bin/sh\necho evil\n")
        answer = runner.call("RUN", fields)
        self.assertEqual((answer.type, answer.fields[1][0]), ("ERROR", b"untrusted"))
        self.assertEqual(runner.run("a.1", script)[1], b"good\n")

    def test_step_without_its_files_on_the_node(self):
        runner = self.connect()
        fields = [(t, digest(b"other") + b"run.sh" if t == 8 else digest(b"other") if t == 3 else v)
                  for t, v in runner.run_fields("a.1", b"#!/bin/sh\n")]
        answer = runner.call("RUN", fields)
        self.assertEqual((answer.type, answer.fields[1][0]), ("ERROR", b"not_found"))
        self.assertFalse(os.path.exists(self.step_path("a.1", "")))

    def test_half_written_result_needs_decision(self):
        runner = self.connect()
        script = b"#!/bin/sh\n"
        runner.run("a.1", script)
        with open(self.step_path("a.1", "done"), "r+") as file:
            file.truncate(10)
        self.assertEqual(runner.run("a.1", script)[0].type, "NEEDS_DECISION")

    def test_unsafe_requests_are_refused(self):
        runner = self.connect()
        script = b"#!/bin/sh\n"
        good = runner.run_fields("a.1", script)
        replace = lambda tag, value: [(t, value if t == tag else v) for t, v in good]
        for fields in (replace(1, "../a"), replace(1, ".."), replace(4, "other.sh"), replace(4, "../run.sh"),
                       replace(8, digest(script) + b"../run.sh"), replace(8, digest(script) + b"/run.sh"),
                       replace(3, digest(b"other")), replace(5, u64(0)), replace(6, u64(1 << 40)),
                       good + [(11, pair("../x", b"v"))], good + [(11, b"\xff\xff")]):
            answer = runner.call("RUN", fields)
            self.assertEqual((answer.type, answer.fields[1][0]), ("ERROR", b"bad_request"), fields)

    def test_older_epoch_of_a_provisioner_is_fenced(self):
        hello = lambda epoch, holder: self.connect(greet=False).call("HELLO", [(1, u32(1)), (2, u64(epoch)), (3, holder)])
        self.assertEqual(hello(7, "p1").type, "HELLO")
        self.assertEqual(hello(7, "p1").type, "HELLO")
        self.assertEqual(hello(6, "p1").fields[1][0], b"stale")
        self.assertEqual(hello(1, "p2").type, "HELLO")


class Certificates(RunnerTest):
    def openssl(self, *arguments, data=None):
        return subprocess.run(["openssl", *arguments], input=data, capture_output=True, check=True).stdout

    def test_key_is_made_on_the_node_and_certificate_installed_pk5(self):
        runner = self.connect()
        base = self.directory + "/etc/web"
        fields = [(1, "edge"), (2, base + "/tls.key"), (3, "daemon"), (4, "web.example")]
        csr = runner.call("MAKE_CSR", fields)
        self.assertEqual(csr.type, "CSR")
        status = os.stat(base + "/tls.key.pending")
        import pwd
        self.assertEqual((status.st_mode & 0o777, status.st_uid), (0o600, pwd.getpwnam("daemon").pw_uid))
        ca = self.directory + "/ca"
        self.openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", ca + ".key",
                     "-out", ca + ".crt", "-subj", "/CN=ca", "-days", "1")
        sign = lambda request: self.openssl("x509", "-req", "-CA", ca + ".crt", "-CAkey", ca + ".key", "-days", "1", data=request)
        chain = sign(csr.fields[1][0])
        other = runner.call("MAKE_CSR", [(1, "x"), (2, self.directory + "/other.key"), (4, "x")])
        install = lambda certificate: runner.call("INSTALL_CERTIFICATE", [
            (1, "edge"), (2, base + "/tls.key"), (3, base + "/tls.crt"), (4, base + "/ca.crt"), (5, "daemon"), (6, certificate),
            (7, self.openssl("x509", "-in", ca + ".crt"))])
        self.assertEqual(install(sign(other.fields[1][0])).fields[1][0], b"untrusted")
        self.assertEqual(install(chain).type, "OK")
        self.assertEqual(install(chain).type, "OK")
        self.assertEqual(sorted(os.listdir(base)), ["ca.crt", "tls.crt", "tls.key"])
        self.openssl("verify", "-CAfile", base + "/ca.crt", base + "/tls.crt")

    def test_bad_names_and_paths_are_refused(self):
        runner = self.connect()
        for path, owner, name in (("relative", None, "x"), ("/tmp/../x", None, "x"), ("/proc/x", None, "x"),
                                  (self.directory + "/k", None, "a/O=evil"), (self.directory + "/k", "nobody-here", "x")):
            fields = [(1, "n"), (2, path)] + ([(3, owner)] if owner else []) + [(4, name)]
            self.assertEqual(runner.call("MAKE_CSR", fields).type, "ERROR", path)


class Firewall(RunnerTest):
    RULES = "table inet bastide {\n  chain input {\n    type filter hook input priority 0; policy accept;\n    tcp dport %d drop\n  }\n}\n"

    def setUp(self):
        super().setUp()
        # A network namespace that lives as long as this process holds it.
        self.holder = subprocess.Popen(["unshare", "--net", "sleep", "300"])
        self.assertTrue(wait_for(lambda: os.readlink(f"/proc/{self.holder.pid}/ns/net") != os.readlink("/proc/self/ns/net")))
        self.prefix = ["nsenter", f"--net=/proc/{self.holder.pid}/ns/net"]

    def tearDown(self):
        self.holder.kill()
        self.holder.wait()
        super().tearDown()

    def rules(self):
        return subprocess.run([*self.prefix, "nft", "list", "ruleset"], capture_output=True, text=True, check=True).stdout

    def apply(self, port, seconds):
        return self.connect(self.prefix).call("FIREWALL", [(1, self.RULES % port), (2, u32(seconds))])

    def test_unconfirmed_change_is_reverted_ch8(self):
        token = self.apply(1111, 30).fields[1][0]
        self.assertEqual(self.connect(self.prefix).call("CONFIRM_FIREWALL", [(1, token)]).type, "OK")
        token = self.apply(2222, 1).fields[1][0]
        self.assertIn("2222", self.rules())
        self.assertNotIn("1111", self.rules())
        self.assertTrue(wait_for(lambda: "1111" in self.rules() and "2222" not in self.rules(), 5))
        answer = self.connect(self.prefix).call("CONFIRM_FIREWALL", [(1, token)])
        self.assertEqual(answer.fields[1][0], b"stale")

    def test_first_change_unconfirmed_leaves_no_table(self):
        self.apply(1111, 1)
        self.assertIn("1111", self.rules())
        self.assertTrue(wait_for(lambda: "bastide" not in self.rules(), 5))

    def test_confirmed_change_stays_and_needs_another_connection_ch8(self):
        runner = self.connect(self.prefix)
        token = runner.call("FIREWALL", [(1, self.RULES % 1111), (2, u32(2))]).fields[1][0]
        self.assertEqual(runner.call("CONFIRM_FIREWALL", [(1, token)]).fields[1][0], b"forbidden")
        self.assertEqual(self.connect(self.prefix).call("CONFIRM_FIREWALL", [(1, token)]).type, "OK")
        time.sleep(2.5)
        self.assertIn("1111", self.rules())

    def test_bad_ruleset_changes_nothing(self):
        token = self.apply(1111, 30).fields[1][0]
        self.connect(self.prefix).call("CONFIRM_FIREWALL", [(1, token)])
        runner = self.connect(self.prefix)
        for text in ("table inet bastide { chain c { nonsense } }", "flush ruleset", "table ip other { }",
                     "table inet bastide { }\nadd table ip x", "include \"/etc/passwd\"",
                     "table inet bastide {\ninclude \"/etc/passwd\"\n}", "table inet bastide { } }", "define x = 1"):
            self.assertEqual(runner.call("FIREWALL", [(1, text), (2, u32(5))]).type, "ERROR", text)
        self.assertIn("1111", self.rules())

    def test_other_tables_are_left_alone(self):
        subprocess.run([*self.prefix, "nft", "add", "table", "ip", "theirs"], check=True)
        self.apply(1111, 1)
        self.assertTrue(wait_for(lambda: "bastide" not in self.rules(), 5))
        self.assertIn("theirs", self.rules())


if __name__ == "__main__":
    PROGRAM = os.path.abspath(sys.argv.pop(1))
    unittest.main()
