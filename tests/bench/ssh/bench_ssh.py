# SPDX-License-Identifier: Apache-2.0
"""P1, P2, P3: the provisioner's SSH transport beside a bare libssh loop, clush and ansible, one after the other in the same run, against one
sshd that answers on many loopback addresses (so that every connection is a node's). Needs root and a release build.

usage: bench_ssh.py BUILD-DIRECTORY [--nodes 10,50] [--steps 6] [--sessions N] [--peers clush,ansible]"""
import argparse
import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../../integration/provisioner"))
import nodes  # noqa: E402


def address(index):
    return f"127.{index // 62500}.{index // 250 % 250}.{index % 250 + 1}"


class Peers:
    def __init__(self, directory, node, count):
        self.directory, self.count = directory, count
        self.config = directory + "/ssh_config"
        with open(self.config, "w") as file:
            file.write(f"Host *\n Port {node.port}\n User root\n IdentityFile {directory}/plain\n CertificateFile {directory}/plain-cert.pub\n"
                       f" UserKnownHostsFile {directory}/known\n GlobalKnownHostsFile /dev/null\n StrictHostKeyChecking yes\n"
                       " KexAlgorithms curve25519-sha256\n IdentitiesOnly yes\n BatchMode yes\n")
        with open(directory + "/known", "w") as file:
            for i in range(count):
                file.write(f"[{address(i)}]:{node.port} {node.host_key}\n")
        with open(directory + "/hosts", "w") as file:
            file.write("".join(address(i) + "\n" for i in range(count)))
        with open(directory + "/playbook.yml", "w") as file:
            tasks = "".join(f"    - raw: 'true'\n" for _ in range(5))
            file.write(f"- hosts: all\n  gather_facts: no\n  tasks:\n{tasks}")
        self.ansible_environment = dict(os.environ, ANSIBLE_PIPELINING="1", ANSIBLE_HOST_KEY_CHECKING="0",
                                        ANSIBLE_SSH_ARGS=f"-F {self.config} -o ControlMaster=auto -o ControlPersist=30s",
                                        ANSIBLE_SSH_CONTROL_PATH_DIR=directory + "/cm", ANSIBLE_LOCAL_TEMP=directory + "/tmp")

    def timed(self, arguments, environment=None):
        before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
        done = subprocess.run(arguments, capture_output=True, text=True, env=environment)
        wall, after = time.monotonic() - start, resource.getrusage(resource.RUSAGE_CHILDREN)
        if done.returncode != 0:
            print(done.stdout[-500:], done.stderr[-500:], file=sys.stderr)
        return wall, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime

    def clush(self):
        return self.timed(["clush", "-f", str(self.count), "-o", "-F " + self.config, "-w", ",".join(address(i) for i in range(self.count)),
                           "true"])

    def ansible(self):
        return self.timed(["ansible", "all", "-i", self.directory + "/hosts", "-f", str(self.count), "-m", "raw", "-a", "true"],
                          self.ansible_environment)

    def playbook(self):
        return self.timed(["ansible-playbook", "-i", self.directory + "/hosts", "-f", str(self.count), self.directory + "/playbook.yml"],
                          self.ansible_environment)


def allow_many_files(count):
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, count), max(hard, count)))


def bench(program, mode, count, steps, node, directory, *more):
    key = directory + ("/forced" if mode == "ours" else "/plain")
    done = subprocess.run([program, mode, str(count), str(steps), str(node.port), node.host_key, key, key + "-cert.pub", *more],
                          capture_output=True, text=True, timeout=180)
    if done.returncode != 0:
        raise SystemExit(f"{mode}: {done.stderr}")
    return json.loads(done.stdout)


def make_keys(directory, ca, node):
    for name, command in (("plain", None), ("forced", node.command)):
        nodes.run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", f"{directory}/{name}")
        with open(f"{directory}/{name}.pub") as file:
            line = ca.sign(file.read().strip(), "provisioner:c1", command, "-1m:+2h")
        with open(f"{directory}/{name}-cert.pub", "w") as file:
            file.write(line + "\n")


def main():
    parser = argparse.ArgumentParser(usage=__doc__)
    parser.add_argument("build")
    parser.add_argument("--nodes", default="10,50")
    parser.add_argument("--steps", type=int, default=6)
    parser.add_argument("--sessions", type=int, default=0)
    parser.add_argument("--peers", default="clush,ansible")
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    allow_many_files(4 * options.sessions + 1024)
    directory = tempfile.mkdtemp(prefix="bastide-bench-")
    os.chmod(directory, 0o700)
    runner = directory + "/bastide-runner"
    shutil.copy(options.build + "/src/runner/bastide-runner", runner)
    program = options.build + "/tests/bench/ssh/bench_ssh"
    ca = nodes.UserCa(directory)
    # An empty home: what root's shell reads at its start is not what is measured.
    empty_home = ["unshare", "--mount", "sh", "-c", 'mount -t tmpfs none /root && exec "$@"', "sh"]
    node = nodes.Node(directory, ca, runner, prefix=empty_home)
    try:
        with open(node.directory + "/sshd_config") as file:
            text = file.read().replace("ListenAddress 127.0.0.1", "ListenAddress 0.0.0.0").replace("500:30:1000", "2000:30:4000")
        with open(node.directory + "/sshd_config", "w") as file:
            file.write(text + "MaxSessions 100\n")
        node.kill()
        node.start()
        make_keys(directory, ca, node)
        print(f"{'nodes':>5} {'what':26} {'wall s':>8} {'client CPU s':>13} {'CPU ms/node':>12} {'MiB':>6}")
        row = lambda n, what, wall, cpu, mib="": print(f"{n:5} {what:26} {wall:8.3f} {cpu:13.3f} {1000 * cpu / n:12.2f} {mib:>6}", flush=True)
        for count in [int(n) for n in options.nodes.split(",")]:
            best = {}
            # In turn, and the best of each: other work on the machine hits both.
            for _ in range(options.rounds):
                for mode in ("bare", "ours"):
                    result = bench(program, mode, count, options.steps, node, directory)
                    for key in ("cold", "cold_cpu", "warm", "warm_cpu", "rss_mib"):
                        best[mode, key] = min(result[key], best.get((mode, key), 1e9))
            for mode in ("bare", "ours"):
                row(count, f"{mode}: 1 step, cold", best[mode, "cold"], best[mode, "cold_cpu"], best[mode, "rss_mib"])
                row(count, f"{mode}: {options.steps - 1} steps, warm", best[mode, "warm"], best[mode, "warm_cpu"], best[mode, "rss_mib"])
            print(f"      ratio ours/bare: cold {best['ours', 'cold'] / best['bare', 'cold']:.2f}, warm {best['ours', 'warm'] / best['bare', 'warm']:.2f}")
            peers = Peers(directory, node, count)
            if "clush" in options.peers:
                row(count, "clush, cold", *peers.clush())
            if "ansible" in options.peers:
                row(count, "ansible -m raw, cold", *peers.ansible())
                row(count, "ansible-playbook 5 raw, warm", *peers.playbook())
        if options.sessions:
            # The bare loop connects all at once, which a server takes from about 250.
            for mode, count, more in (("bare", min(options.sessions, 250), ()), ("ours", options.sessions, ("hold",))):
                result = bench(program, mode, count, 1, node, directory, *more)
                print(f"P3: {mode}: {count} live sessions: {result['rss_mib']} MiB peak resident, {result['failures']} failures, "
                      f"{result['cold']:.1f} s", flush=True)
    finally:
        node.remove()
        shutil.rmtree(directory)


main()
