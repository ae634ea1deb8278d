# SPDX-License-Identifier: Apache-2.0
"""What an installation occupies of the machine, before and after: links, namespaces, mounts, control groups, processes,
users, files. The machine may have other work at the same time, also other installations, so only what can be told to be
ours counts: by prefix, sandbox name, control group, or by having been in one of our namespaces."""

import contextlib
import os
import pathlib
import pwd
import shutil
import signal
import subprocess
import time

from product_lib import SANDBOX_NAME, Failed

RUNTIME = f"/run/bastide-sandbox-{SANDBOX_NAME}"
GROUP = f"bastide-{SANDBOX_NAME}"
CGROUPS = "/sys/fs/cgroup"
# Folders where nothing may appear; where others work too, only names that are ours count.
QUIET_FOLDERS = ("/", "/etc", "/etc/systemd/system", "/etc/ssh", "/etc/cron.d", "/etc/sudoers.d", "/etc/sysctl.d",
                 "/var/lib", "/var/log", "/var/spool", "/opt", "/usr/local", "/usr/local/bin", "/root")
BUSY_FOLDERS = ("/run", "/run/netns", "/tmp", "/var/tmp", "/dev/shm", "/run/lock")


def read(path):
    with contextlib.suppress(OSError):
        return pathlib.Path(path).read_bytes().decode(errors="replace")
    return ""


def link(path):
    with contextlib.suppress(OSError):
        return os.readlink(path)
    return ""


def process_ids():
    return [int(name) for name in os.listdir("/proc") if name.isdigit()]


def start_ticks(pid):
    fields = read(f"/proc/{pid}/stat").rpartition(")")[2].split()
    return int(fields[19]) if len(fields) > 19 else None


def names_in(folder):
    with contextlib.suppress(OSError):
        return {f"{folder.rstrip('/')}/{name}" for name in os.listdir(folder)}
    return set()


def links():
    return {name for name in os.listdir("/sys/class/net") if name.startswith(SANDBOX_NAME + "-")}


def groups():
    """Folders of ours in every hierarchy of control groups, deepest first."""
    found = []
    for folder, names, _ in os.walk(CGROUPS):
        if folder.count("/") > CGROUPS.count("/") + 4:
            names.clear()
        found += [f"{folder}/{name}" for name in names if name == GROUP]
    return found


class Leftovers:
    def __init__(self, product):
        self._product, self._prefix = product, str(product.prefix)
        self._users = {account.pw_name for account in pwd.getpwall()}
        self._files = self._listing()
        self._packages = self._package_state()
        self._namespaces, self._noted_at = set(), 0
        left = self.find()
        if left:
            raise Failed("an earlier run left something: " + ", ".join(left))

    @staticmethod
    def _package_state():
        with contextlib.suppress(OSError):
            return os.stat("/var/lib/dpkg/status").st_mtime_ns
        return 0

    def _listing(self):
        files = set().union(*(names_in(folder) for folder in QUIET_FOLDERS))
        for folder in BUSY_FOLDERS:
            files |= {path for path in names_in(folder) if SANDBOX_NAME in path or path.startswith("/tmp/bastide-ssh-")}
        return files - {str(self._product.work)}

    def processes(self):
        """Ours: programs of the prefix, what was started in it, and everything in the hosts."""
        found = {}
        for pid in process_ids():
            if pid == os.getpid():
                continue
            arguments = read(f"/proc/{pid}/cmdline").replace("\0", " ").strip()
            places = (link(f"/proc/{pid}/exe"), link(f"/proc/{pid}/cwd"), arguments)
            if any(self._prefix in place for place in places) or f"/{GROUP}/" in read(f"/proc/{pid}/cgroup"):
                found[pid] = arguments
        return found

    def mounts(self):
        return [line.split()[4] for line in read("/proc/self/mountinfo").splitlines()
                if self._prefix in line or RUNTIME in line]

    def note(self):
        """Remembers the namespaces that we occupy now; returns how many."""
        own = {kind: link(f"/proc/self/ns/{kind}") for kind in os.listdir("/proc/self/ns")}
        for pid in self.processes():
            for kind, name in own.items():
                other = link(f"/proc/{pid}/ns/{kind}")
                if other and other != name:
                    self._namespaces.add(other)
        with contextlib.suppress(OSError):
            self._namespaces.add(f"net:[{os.stat(f'{RUNTIME}/{SANDBOX_NAME}-router').st_ino}]")
        self._noted_at = time.clock_gettime(time.CLOCK_BOOTTIME) * os.sysconf("SC_CLK_TCK")
        return len(self._namespaces)

    def namespaces(self):
        """Of those noted, the ones that a process from before the note is still in or holds open. (The kernel gives the
        numbers again: later processes prove nothing.)"""
        left = set()
        for pid in process_ids() if self._namespaces else ():
            started = start_ticks(pid)
            if started is None or started > self._noted_at or pid == os.getpid():
                continue
            held = {link(f"/proc/{pid}/ns/{kind}") for kind in names_of_namespaces(pid)}
            held |= {link(path) for path in names_in(f"/proc/{pid}/fd")}
            left |= held & self._namespaces
        return left

    def inventory(self):
        """How much of each there is now."""
        return {"links": len(links()), "mounts": len(self.mounts()), "control groups": len(groups()),
                "processes": len(self.processes()), "namespaces": self.note()}

    def find(self):
        left = [f"link {name}" for name in sorted(links())]
        left += [f"mount {point}" for point in self.mounts()]
        left += [f"control group {path}" for path in groups()]
        left += [f"process {pid} ({arguments[:80]})" for pid, arguments in self.processes().items()]
        left += [f"namespace {name}" for name in sorted(self.namespaces())]
        left += [f"user {account.pw_name}" for account in pwd.getpwall() if account.pw_name not in self._users]
        left += [f"file {path}" for path in (self._prefix, RUNTIME) if os.path.lexists(path)]
        left += [f"file {self._product.temporary / name}" for name in os.listdir(self._product.temporary)
                 if self._product.temporary.exists()]
        if self._package_state() == self._packages:  # packages that quickstart installed bring files and users
            left += [f"file {path}" for path in sorted(self._listing() - self._files)]
        return sorted(set(left))

    def remove(self):
        """Whatever state things are in: first as a user would, then by force."""
        if os.path.lexists(self._prefix):
            with contextlib.suppress(Failed, subprocess.SubprocessError, OSError):
                self._product.quickstart("--purge", seconds=180)
        for _ in range(20):
            processes = self.processes()
            for pid in processes:
                with contextlib.suppress(OSError):
                    os.kill(pid, signal.SIGKILL)
            if not processes:
                break
            time.sleep(0.2)
        for point in reversed(self.mounts()):
            subprocess.run(["umount", "-l", point], check=False, stderr=subprocess.DEVNULL)
        for name in links():
            subprocess.run(["ip", "link", "delete", name], check=False, stderr=subprocess.DEVNULL)
        for path in groups():
            for folder, _, _ in os.walk(path, topdown=False):
                with contextlib.suppress(OSError):
                    os.rmdir(folder)
        for account in pwd.getpwall():
            if account.pw_name.startswith("bastide") and account.pw_name not in self._users:
                subprocess.run(["userdel", account.pw_name], check=False, stderr=subprocess.DEVNULL)
        for path in (self._prefix, RUNTIME):
            shutil.rmtree(path, ignore_errors=True)


def names_of_namespaces(pid):
    with contextlib.suppress(OSError):
        return os.listdir(f"/proc/{pid}/ns")
    return []
