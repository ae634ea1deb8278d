# SPDX-License-Identifier: Apache-2.0
"""Making, reaching and removing hosts (PR7); limits hold (HB5)."""

import json
import os
import signal
import socket
import subprocess
import threading
import time


def parallel(count, function):
    results = [None] * count

    def run(index):
        results[index] = function(index)

    threads = [threading.Thread(target=run, args=(i,)) for i in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return results


def test_pr7_host_answers_with_its_own_key(sandbox, host):
    done = sandbox.ssh(host, "hostname; cat /etc/resolv.conf; id -u")
    assert done.stdout.split() == ["main.test", "0"], done
    assert host["host_keys"][0].startswith("ssh-ed25519 ")
    assert host["address_v4"].startswith(f"10.{sandbox.net}.")


def test_forced_command_of_the_certificate_runs_the_runner(sandbox, host):
    key = sandbox.certificate("runner", "provisioner:alpha", "-O", "clear", "-O", "force-command=bastide-runner serve")
    done = sandbox.ssh(host, "rm -rf /", key=key, text="hello")
    assert done.stdout == "runner serve\nhello", done


def test_runner_cannot_be_changed_inside(sandbox, debian):
    done = sandbox.ssh(debian, "echo x > /usr/lib/bastide/bastide-runner")
    assert done.returncode != 0 and "Read-only" in done.stderr
    for name in ("bastide-runner", "bastide-param", "bastide-secret", "bastide-list"):
        assert sandbox.ssh(debian, f"command -v {name}").stdout.strip() == f"/usr/local/bin/{name}"


def test_root_without_forced_command_is_refused(sandbox, host):
    key = sandbox.certificate("root-plain", "provisioner:alpha")
    assert sandbox.ssh(host, "id", key=key).returncode == 255


def test_certificate_of_another_authority_principal_or_cluster_is_refused(sandbox, host, stranger):
    force = ("-O", f"force-command={'id'}")
    keys = [sandbox.certificate("foreign", "provisioner:alpha", *force, ca="other_ca"),
            sandbox.certificate("nobody", "provisioner:unknown", *force),
            sandbox.certificate("operator-as-root", "person:alpha", *force)]
    for key in keys:
        assert sandbox.ssh(host, "id", key=key).returncode == 255
    key = sandbox.certificate("alpha-only", "provisioner:alpha", *force)
    assert sandbox.ssh(host, "id", key=key).returncode == 0
    assert sandbox.ssh(stranger, "id", key=key).returncode == 255
    assert sandbox.ssh(host, "id", key=str(sandbox.directory / "id")).returncode == 255  # no certificate at all


def test_password_is_never_offered(sandbox, host):
    done = sandbox.ssh(host, "id", key=str(sandbox.directory / "id"), options=("-o", "BatchMode=no", "-o", "NumberOfPasswordPrompts=1",
                       "-o", "PreferredAuthentications=password,keyboard-interactive"))
    assert done.returncode == 255 and "Permission denied (publickey)" in done.stderr


def test_person_is_operator_and_may_sudo(sandbox, debian):
    assert sandbox.ssh(debian, "id -un; sudo -n id -u", user="operator").stdout.split() == ["operator", "0"]
    assert sandbox.ssh(debian, "cat /etc/shadow", user="operator").returncode != 0


def test_debian_image_has_what_the_services_need(sandbox, debian):
    for program in ("haproxy -v", "/usr/lib/postgresql/15/bin/postgres --version", "openssl version", "python3 -c 'import psycopg2'",
                    "nft --version", "ps ax", "ping -c1 -W2 127.0.0.1"):
        done = sandbox.ssh(debian, program)
        assert done.returncode == 0, (program, done.stderr)


def test_ping_needs_no_root(sandbox, debian):
    done = sandbox.ssh(debian, f"ping -c1 -W2 {debian['gateway']} && ping -c1 -W2 {debian['gateway_v6']}", user="operator")
    assert done.returncode == 0, done


def test_firewall_works_inside(sandbox, debian, neighbour):
    rules = f"""table inet test {{
        chain input {{ type filter hook input priority 0; policy drop;
            ct state established,related accept
            iif lo accept
            ip saddr 10.{sandbox.net}.0.1 tcp dport 22 accept
        }}
    }}"""
    probe = f"timeout 2 bash -c '</dev/tcp/{debian['address_v4']}/22'"
    assert sandbox.ssh(debian, "nft -f -", text=rules).returncode == 0
    try:
        assert "policy drop" in sandbox.ssh(debian, "nft list ruleset").stdout
        assert sandbox.ssh(neighbour, probe).returncode != 0
    finally:
        assert sandbox.ssh(debian, "nft delete table inet test").returncode == 0
    assert sandbox.ssh(neighbour, probe).returncode == 0


def test_token_makes_create_idempotent(sandbox, host):
    request = sandbox.create_request("main", memory_bytes=128 << 20, tasks=64)
    assert sandbox.request(request)["id"] == host["id"]
    request["hostname"] = "another.test"
    assert sandbox.request(request)["error"]["code"] == "conflict"


def test_same_token_at_the_same_time_makes_one_host(sandbox):
    answers = parallel(6, lambda _: sandbox.request(sandbox.create_request("twin", cluster="twins")))
    assert len({a["id"] for a in answers}) == 1
    sandbox.request({"op": "delete-cluster", "cluster": "twins"})


def test_bad_requests_are_refused_with_the_field(sandbox):
    def code(**change):
        return sandbox.request({**sandbox.create_request("bad"), **change})["error"]["code"]

    assert code(unknown=1) == "bad_field"
    assert code(hostname="UPPER_case") == "bad_field"
    assert code(hostname="a" * 64) == "bad_field"
    assert code(ssh_user_ca="ssh-ed25519 AAAA\nssh-ed25519 BBBB") == "bad_field"
    assert code(ssh_user_ca="cert-authority") == "bad_field"
    assert code(principals={"root": ["a b"]}) == "bad_field"
    assert code(principals={"root": ["a\nb"]}) == "bad_field"
    assert code(principals={"toor": []}) == "bad_field"
    assert code(image="../../etc") == "bad_field"
    assert code(image="missing") == "bad_reference"
    assert code(memory_bytes=1) == "bad_field"
    assert code(tasks=1 << 20) == "bad_field"
    assert code(token="../x") == "bad_field"
    assert sandbox.request({"op": "explode"})["error"]["code"] == "bad_field"
    assert sandbox.request({"op": "status", "id": "nobodynobodynobodyno"})["error"]["code"] in ("not_found", "bad_field")
    assert sandbox.request([1])["error"]["code"] == "bad_field"
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as s:
        s.connect(sandbox.socket)
        for junk in (b"{", b"\x00" * 10, b'{"op":"list","op":"info"}', b"x" * 65537):
            s.send(junk)
            assert "error" in json.loads(s.recv(65536))


def test_only_root_and_the_provisioner_may_ask(sandbox):
    program = ("import socket,os,sys\nos.setgroups([])\nos.setgid(int(sys.argv[2]));os.setuid(int(sys.argv[2]))\n"
               "s=socket.socket(socket.AF_UNIX,socket.SOCK_SEQPACKET)\ns.connect(sys.argv[1])\n"
               "s.send(b'{\"op\":\"info\"}')\nprint(s.recv(65536).decode())\n")

    def ask(uid):
        return subprocess.run(["/usr/bin/python3", "-c", program, sandbox.socket, str(uid)], capture_output=True, text=True, check=False)

    assert "version" in ask(1).stdout  # user daemon of the configuration
    assert "PermissionError" in ask(65534).stderr
    os.chmod(sandbox.socket, 0o666)  # even then the credentials decide
    try:
        assert json.loads(ask(65534).stdout)["error"]["code"] == "forbidden"
    finally:
        os.chmod(sandbox.socket, 0o660)


def test_network_cut_and_restore(sandbox, neighbour):
    def reaches():
        try:
            with socket.create_connection((neighbour["address_v4"], 22), timeout=1) as s:
                return s.recv(4) == b"SSH-"
        except OSError:
            return False

    assert reaches()
    sandbox.request({"op": "network", "id": neighbour["id"], "state": "cut"})
    assert not reaches()
    sandbox.request({"op": "network", "id": neighbour["id"], "state": "restore"})
    assert reaches()


def test_twenty_hosts_in_parallel_over_two_blocks(sandbox):
    started = time.monotonic()
    hosts = parallel(20, lambda i: sandbox.request(sandbox.create_request(f"many{i}", cluster="many")))
    print(f"20 hosts in {time.monotonic() - started:.2f} s")
    assert all(h.get("state") == "running" for h in hosts), hosts
    assert len({h["address_v4"] for h in hosts}) == 20
    assert len({h["gateway"] for h in hosts}) == 2  # a /28 block has 13 hosts
    assert len({h["host_keys"][0] for h in hosts}) == 20
    first, last = hosts[0], next(h for h in hosts if h["gateway"] != hosts[0]["gateway"])
    for target in (last["address_v4"], last["address_v6"]):
        assert sandbox.ssh(first, f"timeout 3 bash -c '</dev/tcp/{target}/22'").returncode == 0, target
    assert len(sandbox.request({"op": "list", "cluster": "many"})["hosts"]) == 20
    one = hosts[5]
    for _ in range(2):
        assert sandbox.request({"op": "delete", "id": one["id"]})["deleted"]
    again = sandbox.create("again", cluster="many")
    assert again["address_v4"] == one["address_v4"] and sandbox.ssh(again, "true").returncode == 0
    assert sandbox.request({"op": "delete-cluster", "cluster": "many"})["deleted"]
    assert sandbox.request({"op": "list", "cluster": "many"})["hosts"] == []


def test_hb5_task_limit_stops_a_fork_bomb(sandbox, host):
    made = sandbox.python(host, "import os,time,json,signal\nn=0\npids=[]\ntry:\n  while n<500:\n    p=os.fork()\n"
                                "    if p==0:\n      time.sleep(30)\n      os._exit(0)\n    pids.append(p);n+=1\nexcept OSError as e:\n  pass\n"
                                "for p in pids: os.kill(p,signal.SIGKILL)\nprint(json.dumps(n))")
    assert 10 < made < 64
    assert sandbox.ssh(host, "true").returncode == 0


def test_hb5_memory_limit_kills_inside_only(sandbox, host):
    done = sandbox.ssh(host, "python3 -c 'x=bytearray(300<<20); print(len(x))'; echo rc=$?")
    assert done.stdout == "rc=137\n", done
    assert sandbox.ssh(host, "true").returncode == 0
    status = sandbox.request({"op": "status", "id": host["id"]})
    assert status["state"] == "running" and 0 < status["memory_used"] <= 128 << 20 and status["tasks_used"] >= 2


def test_hb5_files_in_memory_cannot_fill_the_memory(sandbox, host):
    for path in ("/var/tmp/fill", "/run/fill", "/dev/shm/fill"):
        done = sandbox.ssh(host, f"dd if=/dev/zero of={path} bs=1M count=300")
        assert done.returncode != 0 and "No space left" in done.stderr, done
    status = sandbox.request({"op": "status", "id": host["id"]})
    assert 64 << 20 < status["memory_used"] <= 128 << 20  # counted as memory of the host
    assert sandbox.ssh(host, "rm /var/tmp/fill /run/fill /dev/shm/fill").returncode == 0


def test_dead_host_is_reported_and_deletable(sandbox):
    lost = sandbox.create("lost", cluster="lost")
    os.kill(sandbox.request({"op": "status", "id": lost["id"]})["pid"], signal.SIGKILL)
    deadline = time.monotonic() + 5
    while sandbox.request({"op": "status", "id": lost["id"]})["state"] != "dead":
        assert time.monotonic() < deadline
        time.sleep(0.02)
    assert sandbox.request(sandbox.create_request("lost", cluster="lost"))["error"]["code"] == "conflict"
    assert sandbox.request({"op": "delete", "id": lost["id"]})["deleted"]
