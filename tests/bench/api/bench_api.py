#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""P9, P11, P14: a whole installation (manager and keeper, TLS, tokens, audit, durable commits) beside its peers.

    bench_api.py BUILD_DIRECTORY [--only read,write,fair,idle] [--seconds N] [--rounds N] [--connections N]

read   GET of one catalog document (TLS, token, membership, authorisation), beside nginx answering the same bytes with
       `return 200` over TLS with the same kind of certificate; wrk drives both in turn.
write  POST /tokens and PATCH /tenants/users (a row, an audit record, a commit to disk before each answer), beside a bare SQLite loop that
       commits the same rows one by one and in batches.
fair   the 99th percentile of one tenant's requests alone, and while another tenant floods (SV24: at most twice), with
       the rates that an installation has at the beginning, but for that of the address, which both share here.
idle   resident memory of manager and keeper doing nothing, time from start to the first answer, size of the programs;
       PostgreSQL idle as the peer.

Needs root, a release build, wrk, nginx and openssl. Tokens go to wrk in a file, not in its arguments."""

import argparse
import contextlib
import http.client
import json
import os
import pathlib
import re
import shutil
import sqlite3
import ssl
import statistics
import subprocess
import sys
import time
import urllib.parse

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent.parent / "lib"))

from installation import BASE, DEFAULT_TENANT, Installation  # noqa: E402
from services import LOOPBACK, PostgreSQL, Process, free_port, run, temporary_folder  # noqa: E402

DOCUMENT = json.loads((HERE.parents[2] / "catalog/hardwaretypes/small.json").read_text())

NGINX = """
daemon off; master_process off; worker_processes 1; pid {folder}/nginx.pid; error_log {folder}/error.log;
events {{ worker_connections 2000; }}
http {{
  access_log off; keepalive_requests 1000000000; server_tokens off;
  client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy; fastcgi_temp_path {folder}/fastcgi;
  uwsgi_temp_path {folder}/uwsgi; scgi_temp_path {folder}/scgi;
  server {{
    listen 127.0.0.1:{port} ssl backlog=4096;
    ssl_certificate {folder}/certificate.pem; ssl_certificate_key {folder}/key.pem; ssl_protocols TLSv1.3;
    location / {{ default_type application/json; {headers} return 200 '{body}'; }}
  }}
}}
"""

WRK = """
local headers = {headers}
wrk.method = "{method}"
for name, value in pairs(headers) do wrk.headers[name] = value end
wrk.body = {body}
function done(summary, latency, requests)
  io.write(string.format("RESULT %d %d %d %d %d\\n", summary.requests, summary.duration, latency:percentile(50),
    latency:percentile(99), summary.errors.status + summary.errors.connect + summary.errors.read +
    summary.errors.write + summary.errors.timeout))
end
"""


def lua(value):
    """A Lua table or string of plain text."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"[{lua(k)}] = {lua(v)}" for k, v in value.items()) + "}"
    return "nil" if value is None else json.dumps(value)


def cpu_seconds(pid):
    fields = pathlib.Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


class Load:
    """wrk against one URL."""

    def __init__(self, folder, name, pid, url, method="GET", headers=None, body=None):
        self.name, self._pid, self._url = name, pid, url
        self._script = folder / f"{name}.lua"
        self._script.touch(mode=0o600)
        self._script.write_text(WRK.format(headers=lua(headers or {}), method=method, body=lua(body)))
        self.rows = []

    def measure(self, options):
        before = cpu_seconds(self._pid)
        text = subprocess.run(
            ["wrk", "-t1", f"-c{options.connections}", f"-d{options.seconds}s", "-s", self._script, self._url],
            check=True, capture_output=True, text=True).stdout
        requests, duration, p50, p99, errors = map(int, re.search(r"RESULT (.*)", text).group(1).split())
        if errors or not requests:
            sys.exit(f"{self.name}: {requests} answers, {errors} errors in {options.seconds} s\n{text}")
        self.rows.append((requests * 1e6 / duration, (cpu_seconds(self._pid) - before) * 1e6 / requests, p50, p99))

    @contextlib.contextmanager
    def running(self, options):
        """In the background, refusals and all, longer than what runs beside it."""
        with subprocess.Popen(["wrk", "-t1", f"-c{options.connections}", f"-d{options.seconds + 5}s", "-s", self._script,
                               self._url], stdout=subprocess.DEVNULL) as flood:
            time.sleep(1)
            try:
                yield
            finally:
                flood.terminate()

    def median(self, column):
        return statistics.median(row[column] for row in self.rows)

    def print(self):
        print(f"  {self.name:12} {self.median(0):9.0f}/s   CPU {self.median(1):7.1f} us a request   "
              f"median {self.median(2) / 1000:6.2f} ms   p99 {self.median(3) / 1000:6.2f} ms")


class Paced:
    """One client on one connection that asks in even steps, so that it measures the wait and not its own load."""

    RATE = 100

    def __init__(self, folder, name, pid, url, headers):
        del folder, pid
        self.name, self._url, self._headers = name, urllib.parse.urlsplit(url), headers
        self.rows = []

    def measure(self, options):
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE  # a benchmark of our own server on loopback
        connection = http.client.HTTPSConnection(self._url.hostname, self._url.port, context=context)
        times, start = [], time.monotonic()
        for number in range(self.RATE * options.seconds):
            time.sleep(max(0.0, start + number / self.RATE - time.monotonic()))
            before = time.monotonic()
            connection.request("GET", self._url.path, headers=self._headers)
            answer = connection.getresponse()
            answer.read()
            if answer.status != 200:
                sys.exit(f"{self.name}: status {answer.status}")
            times.append((time.monotonic() - before) * 1000)
        connection.close()
        times.sort()
        self.rows.append((statistics.median(times), times[int(len(times) * 0.99)]))

    def median(self, column):
        return statistics.median(row[column] for row in self.rows)


def start_nginx(folder, answer):
    folder.chmod(0o755)
    run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2",
         "-keyout", folder / "key.pem", "-out", folder / "certificate.pem", "-subj", "/CN=localhost"])
    (folder / "key.pem").chmod(0o600)
    port = free_port()
    ours = {"content-type", "content-length", "date", "connection"}
    headers = "".join(f'add_header {k} "{v}"; ' for k, v in answer.headers.items() if k.lower() not in ours)
    (folder / "nginx.conf").write_text(NGINX.format(folder=folder, port=port, headers=headers,
                                                    body=answer.body.decode().replace("'", "\\'")))
    program = shutil.which("nginx", path="/usr/sbin:/usr/bin")
    return Process([program, "-e", folder / "error.log", "-c", folder / "nginx.conf"], log=folder / "log",
                   folder=folder, port=port), port


def bench_read(bastide, folder, options):
    path = f"{BASE}/catalog/hardwaretypes/small"
    bastide.api("PUT", "/catalog/hardwaretypes/small", DOCUMENT, tenant=DEFAULT_TENANT)
    headers = {**bastide.credentials(), "Tenant": DEFAULT_TENANT}
    answer = bastide.api("GET", "/catalog/hardwaretypes/small", tenant=DEFAULT_TENANT).expect(200)
    nginx_folder = folder / "nginx"
    nginx_folder.mkdir()
    server, port = start_nginx(nginx_folder, answer)
    with server:
        loads = [Load(folder, "bastide", bastide.processes["manager"].pid,
                      f"https://{LOOPBACK}:{bastide.external_port}{path}", headers=headers),
                 Load(folder, "nginx", server.pid, f"https://{LOOPBACK}:{port}{path}", headers=headers)]
        for _ in range(options.rounds):
            for load in loads:
                load.measure(options)
    print(f"P9: GET of one object, {options.connections} connections, {len(answer.body)} bytes")
    for load in loads:
        load.print()
    print(f"  ratio {loads[0].median(0) / loads[1].median(0):.2f} (target 0.60), p99 {loads[0].median(3) / 1000:.2f} ms "
          f"(target 5); CPU ratio {loads[1].median(1) / loads[0].median(1):.2f}")


class BareCommits:
    """The rows of one POST /tokens in a copy of the manager's database, committed in batches."""

    def __init__(self, source, copy):
        with sqlite3.connect(f"file:{source}?mode=ro", uri=True) as original, sqlite3.connect(copy) as target:
            original.backup(target)
        self._database = sqlite3.connect(copy, isolation_level=None)
        for pragma in ("journal_mode = WAL", "synchronous = FULL", "foreign_keys = ON"):
            self._database.execute(f"PRAGMA {pragma}")
        self._number, self._head = 0, 10_000_000

    def _write(self):
        execute = self._database.execute
        self._number += 1
        self._head += 1
        execute("INSERT INTO tokens (id, secret_hash, username, default_tenant, description, created_at, expires_at, "
                "last_used_at, is_revoked) VALUES (?, ?, 'admin', '', '', 1, 2000000000000000, 0, 0)",
                (f"t{self._number:019d}", self._number.to_bytes(32, "big")))
        execute("INSERT INTO audit_records VALUES (0, ?, 1763776800000000, 'admin', '', '127.0.0.1', "
                "'0123456789abcdef', 'token_create', 'token:abcdefghijabcdefghij', 'done', '{}', ?)",
                (self._head, bytes(32)))
        execute("UPDATE audit_heads SET sequence = ?, hash = ? WHERE shard = 0", (self._head, bytes(32)))

    def rate(self, seconds, batch):
        start, count = time.monotonic(), 0
        while time.monotonic() - start < seconds:
            self._database.execute("BEGIN IMMEDIATE")
            for _ in range(batch):
                self._write()
            self._database.execute("COMMIT")
            count += batch
        return count / (time.monotonic() - start)


def bench_write(bastide, folder, options):
    headers = {**bastide.credentials(), "Content-Type": "application/json"}
    pid, base = bastide.processes["manager"].pid, f"https://{LOOPBACK}:{bastide.external_port}{BASE}"
    load = Load(folder, "new token", pid, f"{base}/tokens", method="POST", headers=headers,
                body='{"description":"bench"}')
    member = Load(folder, "new role", pid, f"{base}/tenants/users", method="PATCH", headers=headers,
                  body=json.dumps({"tenant_name": DEFAULT_TENANT, "username": "admin", "role": "manager"}))
    bare = BareCommits(bastide.database_file, folder / "bare.db")
    single, batched = [], []
    for _ in range(options.rounds):
        load.measure(options)
        member.measure(options)
        single.append(bare.rate(options.seconds, 1))
        batched.append(bare.rate(options.seconds, options.connections))
    print(f"P11: small write, {options.connections} connections")
    load.print()
    member.print()
    print(f"  bare commits {statistics.median(single):9.0f}/s one by one, {statistics.median(batched):9.0f}/s in batches "
          f"of {options.connections}")
    for row in (load, member):
        print(f"  {row.name}: ratio {row.median(0) / statistics.median(single):.2f} to one by one, "
              f"{row.median(0) / statistics.median(batched):.2f} to batches; target 5,000/s")


def make_member(bastide, name):
    """A token of somebody in a tenant of its own."""
    bastide.api("POST", f"/tenants/{name}", {}).expect(201)
    password = "correct horse battery staple"
    bastide.api("PUT", "/users", {"username": f"{name}-user", "password": password}).expect(201)
    bastide.api("PUT", "/tenants/users", {"tenant_name": name, "username": f"{name}-user", "role": "viewer"}).expect(201)
    return bastide.api("POST", "/tokens", {"tenant": name}, user=(f"{name}-user", password)).expect(201).json["value"]


def bench_fair(bastide, folder, options):
    bastide.api("PATCH", "/policies", {name: None for name in RATES if name != "rate_source"}).expect(200)
    pid, base = bastide.processes["manager"].pid, f"https://{LOOPBACK}:{bastide.external_port}{BASE}"
    quiet_token, loud_token = make_member(bastide, "quiet"), make_member(bastide, "loud")
    alone = Paced(folder, "alone", pid, f"{base}/clusters", headers=bastide.credentials(quiet_token))
    beside = Paced(folder, "beside", pid, f"{base}/clusters", headers=bastide.credentials(quiet_token))
    flood = Load(folder, "flood", pid, f"{base}/clusters", headers=bastide.credentials(loud_token))
    for _ in range(options.rounds):
        alone.measure(options)
        with flood.running(options):
            beside.measure(options)
    print(f"SV24: one tenant asks {Paced.RATE} times a second, another floods on {options.connections} connections")
    for row in (alone, beside):
        print(f"  {row.name:8} median {row.median(0):7.2f} ms   p99 {row.median(1):7.2f} ms")
    print(f"  p99 beside the flood is {beside.median(1) / alone.median(1):.2f} times that alone; target at most 2")
    raise_rates(bastide)


def memory_mib(pids):
    """Resident and proportional memory of processes, in MiB."""
    resident = shared = 0
    for pid in pids:
        text = pathlib.Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="ascii")
        resident += int(re.search(r"^Rss:\s+(\d+)", text, re.M).group(1))
        shared += int(re.search(r"^Pss:\s+(\d+)", text, re.M).group(1))
    return resident / 1024, shared / 1024


def first_answer(bastide):
    """Seconds from the start of keeper and manager to the first answer over TLS."""
    bastide.stop("manager")
    bastide.stop("keeper")
    start = time.monotonic()
    programs, children = bastide._programs, []  # no waiting of Process in between, which polls
    for name in ("keeper", "manager"):
        children.append(subprocess.Popen([programs[name], "--config", bastide.prefix / "etc" / f"{name}.conf", "run"],
                                         stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL))
        while name == "keeper" and not bastide._accepts(bastide.prefix / "run/keeper.sock"):
            time.sleep(0.001)
    while True:
        try:
            connection = bastide.connect(2)
            connection.request("GET", f"{BASE}/version")
            connection.getresponse().read()
            break
        except (OSError, ssl.SSLError):
            time.sleep(0.001)
    elapsed = time.monotonic() - start
    time.sleep(1)
    memory = [memory_mib([child.pid]) for child in children]
    for child in reversed(children):
        child.terminate()
        child.wait()
    bastide.start("keeper")
    bastide.start("manager")
    return elapsed, memory


def postgresql_idle():
    start = time.monotonic()
    with PostgreSQL() as server:
        elapsed = time.monotonic() - start
        time.sleep(1)
        pids = subprocess.run(["pgrep", "-f", str(server.folder)], capture_output=True, text=True, check=False).stdout
        return elapsed, memory_mib([pid for pid in pids.split() if pathlib.Path(f"/proc/{pid}/smaps_rollup").exists()])


def bench_idle(bastide, folder, options):
    del folder
    rows = [first_answer(bastide) for _ in range(options.rounds)]
    elapsed = statistics.median(row[0] for row in rows)
    keeper, manager = rows[-1][1]
    print("P14: idle")
    print(f"  manager      {manager[0]:6.1f} MiB resident, {manager[1]:6.1f} MiB proportional")
    print(f"  keeper       {keeper[0]:6.1f} MiB resident, {keeper[1]:6.1f} MiB proportional")
    print(f"  together     {manager[0] + keeper[0]:6.1f} MiB resident (target 30)")
    print(f"  start of both to the first answer {elapsed:.3f} s (target 0.3)")
    build, total = pathlib.Path(options.build), 0
    for name in ("manager", "keeper", "provisioner", "runner", "sandboxd", "cli", "agent"):
        folder_name = {"sandboxd": "sandbox"}.get(name, name)
        program = build / "src" / folder_name / ("bastide" if name == "cli" else f"bastide-{name}")
        if not program.exists():
            continue
        stripped = build / "bench-stripped"
        run(["strip", "-o", stripped.resolve(), program.resolve()])
        size = stripped.stat().st_size
        stripped.unlink()
        total += size
        print(f"  {program.name:20} {size / 1e6:6.2f} MB stripped")
    print(f"  all programs         {total / 1e6:6.2f} MB (target 10)")
    elapsed, memory = postgresql_idle()
    print(f"  PostgreSQL idle {memory[0]:6.1f} MiB resident, {memory[1]:6.1f} MiB proportional; "
          f"initialised and started in {elapsed:.2f} s")


RATES = ("rate_token", "rate_account", "rate_source", "rate_tenant")


def raise_rates(bastide):
    """One client asks for more than an installation gives to one."""
    bastide.api("PATCH", "/policies", {name: 1000000 for name in RATES}).expect(200)


BENCHES = {"read": bench_read, "write": bench_write, "fair": bench_fair, "idle": bench_idle}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("build")
    parser.add_argument("--only", default=",".join(BENCHES))
    parser.add_argument("--seconds", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--connections", type=int, default=64)
    options = parser.parse_args()
    settings = {"manager": {"log_level": "info"}}
    with temporary_folder() as folder, Installation(options.build, settings=settings) as bastide:
        raise_rates(bastide)
        for name in options.only.split(","):
            BENCHES[name](bastide, folder, options)
    return 0


if __name__ == "__main__":
    sys.exit(main())
