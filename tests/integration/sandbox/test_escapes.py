# SPDX-License-Identifier: Apache-2.0
"""What root inside a host tries, and fails at (decision: root in a host is nobody on the machine)."""

import os
import pathlib
import socket
import subprocess
import threading

import pytest

SYSCALLS = """
import ctypes, errno, json, os
libc = ctypes.CDLL(None, use_errno=True)
libc.syscall.restype = ctypes.c_long
def call(number, *arguments):
    ctypes.set_errno(0)
    r = libc.syscall(ctypes.c_long(number), *[ctypes.c_char_p(a) if isinstance(a, bytes) else ctypes.c_long(a) for a in arguments])
    return "ok" if r >= 0 else errno.errorcode[ctypes.get_errno()]
"""

# number on x86-64, arguments, what must come back
FORBIDDEN = {
    "mount tmpfs": ((165, b"x", b"/mnt", b"tmpfs", 0, 0), "EPERM"),
    "bind mount": ((165, b"/proc", b"/mnt", b"", 4096, 0), "EPERM"),
    "remount /sys writable": ((165, b"", b"/sys", b"", 32, 0), "EPERM"),
    "umount /proc/keys": ((166, b"/proc/keys", 2), "EPERM"),
    "pivot_root": ((155, b"/", b"/mnt"), "EPERM"),
    "fsopen": ((430, b"proc", 0), "EPERM"),
    "open_tree": ((428, -100, b"/", 1), "EPERM"),
    "move_mount": ((429, -100, b"/proc", -100, b"/mnt", 0), "EPERM"),
    "mount_setattr": ((442, -100, b"/", 0, 0, 0), "EPERM"),
    "unshare user": ((272, 0x10000000), "EPERM"),
    "unshare mount": ((272, 0x00020000), "EPERM"),
    "unshare net": ((272, 0x40000000), "EPERM"),
    "unshare time": ((272, 0x00000080), "EPERM"),
    "clone user": ((56, 0x10000000 | 17, 0, 0, 0, 0), "EPERM"),
    "clone3": ((435, 0, 0), "ENOSYS"),
    "setns": ((308, 0, 0), "EPERM"),
    "init_module": ((175, b"", 0, b""), "EPERM"),
    "finit_module": ((313, 0, b"", 0), "EPERM"),
    "delete_module": ((176, b"x", 0), "EPERM"),
    "kexec_load": ((246, 0, 0, 0, 0), "EPERM"),
    "bpf": ((321, 0, 0, 0), "EPERM"),
    "perf_event_open": ((298, 0, 0, -1, -1, 0), "EPERM"),
    "userfaultfd": ((323, 0), "EPERM"),
    "io_uring_setup": ((425, 1, 0), "EPERM"),
    "keyctl": ((250, 0, 0, 0, 0, 0), "EPERM"),
    "add_key": ((248, b"user", b"x", b"y", 1, -3), "EPERM"),
    "reboot": ((169, 0, 0, 0, 0), "EPERM"),
    "swapon": ((167, b"/x", 0), "EPERM"),
    "open_by_handle_at": ((304, -100, 0, 0), "EPERM"),
    "fanotify_init": ((300, 0, 0), "EPERM"),
    "settimeofday": ((164, 0, 0), "EPERM"),
    "syslog": ((103, 3, 0, 0), "EPERM"),
    "iopl": ((172, 3), "EPERM"),
    "process_vm_readv": ((310, 1, 0, 0, 0, 0, 0), "EPERM"),
    "mknod block": ((133, b"/tmp/b", 0o60600, 0xfe00), "EPERM"),
    "mknod char": ((133, b"/tmp/c", 0o20600, 0x0101), "EPERM"),
    "mknodat block": ((259, -100, b"/tmp/b", 0o60600, 0xfe00), "EPERM"),
    "socket vsock": ((41, 40, 1, 0), "EAFNOSUPPORT"),
    "socket alg": ((41, 38, 5, 0), "EAFNOSUPPORT"),
    "socket beyond": ((41, 4096, 1, 0), "EAFNOSUPPORT"),
    "capset everything": ((126, 0, 0), "EFAULT"),
}


@pytest.fixture(params=["host-usr", "debian12"])
def victim(request, host, debian):
    return host if request.param == "host-usr" else debian


def test_forbidden_system_calls(sandbox, victim):
    calls = {name: arguments for name, (arguments, _) in FORBIDDEN.items()}
    found = sandbox.python(victim, SYSCALLS + f"print(json.dumps({{n: call(*a) for n, a in {calls!r}.items()}}))")
    assert found == {name: expected for name, (_, expected) in FORBIDDEN.items()}


def test_root_is_nobody_on_the_machine(sandbox, victim):
    pid = sandbox.request({"op": "status", "id": victim["id"]})["pid"]
    status = pathlib.Path(f"/proc/{pid}/status").read_text()
    uid = int(status.split("Uid:")[1].split()[0])
    assert uid >= 1610612736
    kept = int(status.split("CapBnd:")[1].split()[0], 16)
    for refused in (2, 16, 17, 19, 21, 22, 23, 24, 25, 27, 31, 34, 38, 39):  # SYS_ADMIN is 21, MKNOD 27, SYS_PTRACE 19
        assert not kept & (1 << refused) or refused == 2, refused
    assert "Seccomp:\t2" in status


def test_capabilities_do_not_come_back_through_set_user_id(sandbox, debian):
    done = sandbox.ssh(debian, "sudo -n grep -E 'Cap(Eff|Bnd)' /proc/self/status", user="operator")
    assert {line.split()[1] for line in done.stdout.splitlines()} == {"00000000000434fb"}


@pytest.mark.parametrize("path", ["/proc/sysrq-trigger", "/proc/sys/kernel/core_pattern", "/proc/sys/kernel/hostname", "/proc/sys/vm/drop_caches",
                                  "/proc/sys/kernel/modprobe", "/proc/1/oom_score_adj", "/proc/sys/kernel/sysrq", "/sys/class/net/eth0/mtu"])
def test_kernel_files_are_not_writable(sandbox, victim, path):
    done = sandbox.ssh(victim, f"echo b > {path}")
    refusals = ["Read-only", "denied"] + ([] if os.path.exists(path) else ["No such file"])  # kernels differ in what they have
    assert done.returncode != 0 and any(r in done.stderr for r in refusals), done


def test_no_control_group_is_in_reach(sandbox, victim):
    assert sandbox.ssh(victim, "find / -xdev -name cgroup.procs; ls -A /sys/fs; grep cgroup /proc/mounts").stdout == ""


@pytest.mark.parametrize("command", ["nsenter -t 1 -m true", "ls /proc/1/root/", "cat /proc/1/environ", "cat /proc/1/maps", "unshare -U true",
                                     "unshare -m true", "cat /dev/vda", "cat /proc/kcore | head -c1 | grep -q .", "dmesg", "cat /proc/1/mem"])
def test_commands_that_must_fail(sandbox, victim, command):
    done = sandbox.ssh(victim, f"bash -o pipefail -c '{command}'")
    assert done.returncode != 0, done


def test_processes_of_the_machine_are_out_of_sight(sandbox, victim):
    program = SYSCALLS + f"""
outside = {os.getpid()}
seen = [int(p) for p in os.listdir('/proc') if p.isdigit()]
print(json.dumps([outside in seen, call(62, outside, 0), call(101, 16, outside, 0, 0), call(434, outside, 0), max(seen)]))"""
    visible, kill, trace, descriptor, highest = sandbox.python(victim, program)
    assert highest < os.getpid(), "the number must not exist inside for this test to mean anything"
    assert (visible, kill, trace, descriptor) == (False, "ESRCH", "ESRCH", "ESRCH")


def test_first_process_cannot_be_traced(sandbox, victim):
    assert sandbox.python(victim, SYSCALLS + "print(json.dumps(call(101, 16, 1, 0, 0)))") == "EPERM"


def test_files_of_the_machine_cannot_be_read(sandbox, victim):
    marker = sandbox.directory / "marker"
    marker.write_text("machine only")
    marker.chmod(0o644)
    assert sandbox.ssh(victim, f"cat {marker}").returncode != 0
    assert sandbox.ssh(victim, f"find / -xdev -name marker -o -name {sandbox.directory.name} | grep .").returncode != 0
    assert "root" not in sandbox.ssh(victim, "ls /home").stdout
    shadow = sandbox.ssh(victim, "cut -d: -f2 /etc/shadow | sort -u").stdout.split()
    assert set(shadow) <= {"*", "!", "!*"}


def test_usr_of_the_machine_cannot_be_written(sandbox, host):
    for path in ("/usr/bin/x", "/usr/lib/x", "/usr/local/x", "/usr/bin/env"):
        assert "Read-only" in sandbox.ssh(host, f"echo x >> {path}").stderr
    assert sandbox.ssh(host, "ls -A /usr/local/bin | grep -v ^bastide- | grep .").returncode != 0  # the machine's is hidden


def test_image_is_not_changed_by_a_host(sandbox, debian):
    assert sandbox.ssh(debian, "echo x > /usr/bin/planted && echo x >> /etc/passwd && rm /usr/bin/env").returncode == 0
    root = pathlib.Path(os.environ["BASTIDE_TEST_IMAGES"]) / "debian12/root"
    assert not (root / "usr/bin/planted").exists() and (root / "usr/bin/env").exists()
    other = sandbox.create("clean", image="debian12")
    assert sandbox.ssh(other, "test ! -e /usr/bin/planted -a -e /usr/bin/env").returncode == 0
    assert sandbox.request({"op": "delete", "id": other["id"]})["deleted"]


def listener(address, family=socket.AF_INET):
    s = socket.socket(family)
    s.bind((address, 0))
    s.listen(8)
    return s


def connects(sandbox, host, address, port):
    return sandbox.ssh(host, f"timeout 2 bash -c '</dev/tcp/{address}/{port}'").returncode == 0


def test_machine_is_not_reachable(sandbox, victim):
    uplink = f"10.{sandbox.net}.0.1"
    with listener("0.0.0.0") as v4, listener("::", socket.AF_INET6) as v6:
        port4, port6 = v4.getsockname()[1], v6.getsockname()[1]
        socket.create_connection((uplink, port4), timeout=2).close()  # it does listen there
        own = {a.split()[3].split("/")[0] for a in subprocess.run(["ip", "-o", "-4", "a"], capture_output=True, text=True,
                                                                  check=True).stdout.splitlines()}
        for address in own | {"127.0.0.1"}:
            assert not connects(sandbox, victim, address, port4), address
        prefix = victim["gateway_v6"].split(":")[:3]
        assert not connects(sandbox, victim, ":".join(prefix) + "::" + "%x:%x" % ((10 << 8) + sandbox.net, 1), port6)
    router = f"10.{sandbox.net}.0.2"
    assert not connects(sandbox, victim, router, 22) and not connects(sandbox, victim, victim["gateway"], 22)


def test_other_clusters_are_not_reachable(sandbox, host, neighbour, stranger):
    assert connects(sandbox, host, neighbour["address_v4"], 22) and connects(sandbox, host, neighbour["address_v6"], 22)
    assert not connects(sandbox, host, stranger["address_v4"], 22)
    assert not connects(sandbox, host, stranger["address_v6"], 22)
    assert not connects(sandbox, host, stranger["gateway"], 22)


def test_host_cannot_take_the_address_of_another(sandbox, neighbour, debian):
    attacker = sandbox.create("attacker")
    connect = ("import json,socket,sys\ns=socket.socket(%s)\ns.settimeout(2)\ns.bind(('%s',0))\ntry:\n  s.connect(('%s',22));print(json.dumps(True))\n"
               "except OSError:\n  print(json.dumps(False))")
    target4, target6 = neighbour["address_v4"], neighbour["address_v6"]
    assert sandbox.python(attacker, connect % ("socket.AF_INET", attacker["address_v4"], target4))
    # An address of the block that nobody has, and one that somebody has: neither may be used as a source.
    base = attacker["address_v4"].rsplit(".", 1)
    for stolen in (f"{base[0]}.{int(base[1]) + 5}", debian["address_v4"]):
        assert sandbox.ssh(attacker, f"ip addr add {stolen}/28 dev eth0").returncode == 0
        assert not sandbox.python(attacker, connect % ("socket.AF_INET", stolen, target4)), stolen
        assert sandbox.ssh(attacker, f"ip addr del {stolen}/28 dev eth0").returncode == 0
    assert sandbox.ssh(attacker, f"ip addr add {debian['address_v6']}/64 dev eth0 nodad").returncode == 0
    assert not sandbox.python(attacker, connect % ("socket.AF_INET6", debian["address_v6"], target6))
    # The real owner was not disturbed, and lies in ARP do not pass either.
    assert sandbox.ssh(debian, "true").returncode == 0
    changed = sandbox.ssh(attacker, f"ip link set eth0 address 02:b5:00:00:00:99; timeout 2 bash -c '</dev/tcp/{target4}/22'; echo rc=$?; "
                                    f"ip link set eth0 address 02:b5:{':'.join('%02x' % int(x) for x in attacker['address_v4'].split('.'))}")
    assert "rc=0" not in changed.stdout and "rc=" in changed.stdout
    assert sandbox.request({"op": "delete", "id": attacker["id"]})["deleted"]


def test_unix_sockets_of_the_machine_are_out_of_reach(sandbox, victim):
    name = f"\0bastide-test-{os.getpid()}"
    with socket.socket(socket.AF_UNIX) as s:
        s.bind(name)
        s.listen(1)
        program = SYSCALLS + ("import socket\ns=socket.socket(socket.AF_UNIX)\ntry:\n  s.connect(%r);print('true')\nexcept OSError:\n  print('false')" % name)
        assert sandbox.python(victim, program) is False


def test_host_cannot_announce_the_ipv6_address_of_another(sandbox, neighbour, debian):
    liar = sandbox.create("liar")
    victim, target = debian["address_v6"], neighbour["address_v6"]

    def announced(address):
        program = f"""
import json, socket
mac = bytes.fromhex(open('/sys/class/net/eth0/address').read().strip().replace(':', ''))
s = socket.socket(socket.AF_INET6, socket.SOCK_RAW, socket.IPPROTO_ICMPV6)
s.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_UNICAST_HOPS, 255)
for _ in range(3):
    s.sendto(bytes([136, 0, 0, 0, 0x20, 0, 0, 0]) + socket.inet_pton(socket.AF_INET6, {address!r}) + bytes([2, 1]) + mac, ({victim!r}, 0))
print(json.dumps(mac.hex(':')))"""
        mac = sandbox.python(liar, program)
        return mac in sandbox.ssh(debian, f"ip -6 neigh show {address}").stdout

    assert sandbox.ssh(debian, f"ping -c1 -W2 {target} && ping -c1 -W2 {liar['address_v6']}").returncode == 0
    assert announced(liar["address_v6"])
    assert not announced(target)
    assert sandbox.ssh(debian, f"ping -c1 -W2 {target}").returncode == 0
    assert sandbox.request({"op": "delete", "id": liar["id"]})["deleted"]
