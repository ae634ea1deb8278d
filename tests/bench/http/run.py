#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""P9 and P15: the bare HTTP server beside nginx's `return 200`, over TLS with the same certificate, in the same run.

    run.py BUILD_DIRECTORY [--seconds N] [--rounds N] [--connections N] [--idle N]

Runs wrk against both in turn (several rounds, alternating, best and median shown), then opens idle TLS connections to
both and compares resident memory before and after. The answers have the same body and header fields. Needs wrk,
nginx and openssl. Exits with 1 when ours is below 0.6 of nginx's rate or above 20 KiB an idle connection.
"""
import argparse
import os
import re
import shutil
import socket
import ssl
import statistics
import subprocess
import sys
import tempfile
import time

BODY = '{"id":"k3v9x2m7q1w8e5r6t4y0","name":"cluster-1","state":"running"}'
NGINX = """
daemon off; master_process off; worker_processes 1; pid {dir}/nginx.pid; error_log {dir}/error.log;
worker_rlimit_nofile 40000;
events {{ worker_connections 20000; }}
http {{
  access_log off; keepalive_requests 1000000000; server_tokens off; keepalive_timeout 75s;
  client_body_temp_path {dir}/body; proxy_temp_path {dir}/proxy; fastcgi_temp_path {dir}/fastcgi;
  uwsgi_temp_path {dir}/uwsgi; scgi_temp_path {dir}/scgi;
  server {{
    listen 127.0.0.1:{port} ssl backlog=4096;
    ssl_certificate {dir}/certificate.pem; ssl_certificate_key {dir}/key.pem;
    ssl_protocols TLSv1.2 TLSv1.3; ssl_session_tickets off; ssl_session_cache off;
    location / {{
      default_type application/json;
      add_header X-Request-Id $request_id;
      add_header Strict-Transport-Security max-age=31536000;
      add_header X-Content-Type-Options nosniff;
      add_header Cache-Control no-store;
      add_header Content-Security-Policy "default-src 'none'; frame-ancestors 'none'";
      add_header Referrer-Policy no-referrer;
      return 200 '{body}';
    }}
  }}
}}
"""


def make_certificate(directory):
    key = os.path.join(directory, "key.pem")
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2",
         "-keyout", key, "-out", os.path.join(directory, "certificate.pem"), "-subj", "/CN=localhost",
         "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"],
        check=True, capture_output=True)
    os.chmod(key, 0o600)


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def wait_for(port):
    for _ in range(100):
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
            return
        except OSError:
            time.sleep(0.05)
    sys.exit(f"nothing listens on port {port}")


def resident_kib(pid):
    with open(f"/proc/{pid}/status", encoding="ascii") as f:
        return int(re.search(r"VmRSS:\s+(\d+)", f.read()).group(1))


def cpu_seconds(pid):
    with open(f"/proc/{pid}/stat", encoding="ascii") as f:
        fields = f.read().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def load(pid, port, options):
    before = cpu_seconds(pid)
    run = subprocess.run(
        ["wrk", "-t1", f"-c{options.connections}", f"-d{options.seconds}s", "--latency", f"https://127.0.0.1:{port}/"],
        check=True, capture_output=True, text=True).stdout
    if "Non-2xx" in run or "Socket errors" in run:
        sys.exit(run)
    requests = int(re.search(r"(\d+) requests in", run).group(1))
    return {"rate": float(re.search(r"Requests/sec:\s+([\d.]+)", run).group(1)),
            "p99": re.search(r"99%\s+(\S+)", run).group(1),
            "cpu_us": (cpu_seconds(pid) - before) * 1e6 / requests}


def idle_memory(pid, port, count, certificate):
    context = ssl.create_default_context(cafile=certificate)
    connections = []

    def open_one():
        raw = socket.create_connection(("127.0.0.1", port))
        c = context.wrap_socket(raw, server_hostname="localhost")
        c.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
        c.recv(4096)
        return c

    connections.append(open_one())  # what the first connection sets up is not a cost per connection
    before = resident_kib(pid)
    connections += [open_one() for _ in range(count)]
    time.sleep(0.3)
    after = resident_kib(pid)
    for c in connections:
        c.close()
    return (after - before) / count


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("build")
    parser.add_argument("--seconds", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--connections", type=int, default=64)
    parser.add_argument("--idle", type=int, default=2000)
    options = parser.parse_args()
    for tool in ("wrk", "nginx", "openssl"):
        if not shutil.which(tool, path=os.environ.get("PATH", "") + ":/usr/sbin"):
            sys.exit(f"{tool} is needed")
    import resource
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(8192, options.idle + 512),) * 2)

    processes = []
    with tempfile.TemporaryDirectory() as directory:
        try:
            make_certificate(directory)
            ports = {"bastide": free_port(), "nginx": free_port()}
            with open(os.path.join(directory, "nginx.conf"), "w", encoding="ascii") as f:
                f.write(NGINX.format(dir=directory, port=ports["nginx"], body=BODY))
            certificate, key = (os.path.join(directory, n) for n in ("certificate.pem", "key.pem"))
            commands = {
                "bastide": [os.path.join(options.build, "tests/bench/http/bench_http_server"), certificate, key,
                            str(ports["bastide"])],
                "nginx": [shutil.which("nginx", path="/usr/sbin:/usr/bin"), "-e", os.path.join(directory, "error.log"),
                          "-c", os.path.join(directory, "nginx.conf")]}
            pids = {}
            for name, command in commands.items():
                processes.append(subprocess.Popen(command, stdout=subprocess.DEVNULL))
                pids[name] = processes[-1].pid
                wait_for(ports[name])

            idle = {name: idle_memory(pids[name], ports[name], options.idle, certificate) for name in commands}
            results = {name: [] for name in commands}
            for _ in range(options.rounds):
                for name in commands:
                    results[name].append(load(pids[name], ports[name], options))
        finally:
            for process in processes:
                process.terminate()
            for process in processes:
                process.wait()

    print(f"{'':10} {'median/s':>10} {'best/s':>10} {'CPU us/request':>15} {'p99':>9} {'idle KiB/connection':>20}")
    median = {}
    for name, rows in results.items():
        median[name] = statistics.median(r["rate"] for r in rows)
        print(f"{name:10} {median[name]:10.0f} {max(r['rate'] for r in rows):10.0f} "
              f"{statistics.median(r['cpu_us'] for r in rows):15.1f} {rows[-1]['p99']:>9} {idle[name]:20.1f}")
    ratio = median["bastide"] / median["nginx"]
    print(f"ratio of the rates {ratio:.2f} (P9 floor with everything on: 0.60); "
          f"idle connection {idle['bastide']:.1f} KiB (P15 limit: 20)")
    return 0 if ratio >= 0.6 and idle["bastide"] < 20 else 1


if __name__ == "__main__":
    sys.exit(main())
