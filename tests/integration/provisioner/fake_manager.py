# SPDX-License-Identifier: Apache-2.0
"""A small HTTPS server that speaks section 4 of docs/internals/protocols.md, for tests of the provisioner alone. Certificates, signatures and
envelopes are real ones."""
import base64
import ctypes
import http.server
import json
import os
import ssl
import struct
import subprocess
import threading
import time
from nodes import run

sodium = ctypes.CDLL("libsodium.so.23")
assert sodium.sodium_init() >= 0


def seal(public_key, context, value):
    plain = struct.pack(">I", len(context)) + context.encode() + value
    out = ctypes.create_string_buffer(len(plain) + 48)
    assert sodium.crypto_box_seal(out, plain, ctypes.c_ulonglong(len(plain)), public_key) == 0
    return base64.b64encode(out.raw).decode()


class Signer:
    def __init__(self):
        public, secret = ctypes.create_string_buffer(32), ctypes.create_string_buffer(64)
        sodium.crypto_sign_keypair(public, secret)
        self.public, self.secret = public.raw, secret

    def sign(self, message):
        out = ctypes.create_string_buffer(64)
        sodium.crypto_sign_detached(out, None, message, ctypes.c_ulonglong(len(message)), self.secret)
        return out.raw


def approved_set(tenant, serial, expiry, digests):
    return (b"bastide-approved-set-1" + struct.pack(">I", len(tenant)) + tenant.encode() +
            struct.pack(">QQI", serial, int(expiry * 1e6), len(digests)) + b"".join(sorted(digests)))


class Manager:
    def __init__(self, directory, user_ca):
        self.directory, self.user_ca = directory, user_ca
        self.signer = Signer()
        self.lock = threading.Condition()
        self.queue, self.reports, self.outputs, self.cancels = [], [], {}, []
        self.epoch, self.sessions, self.heartbeats = 0, 0, 0
        self.leased = {}
        self.bundles, self.approved, self.serial = {}, set(), 1
        self.envelope_key = None
        self.token = "bpe-test"
        self.failing = False          # answer 503 to everything internal
        self.is_drained = self.is_fenced = False
        self.forced_command = {}      # by cluster
        self.validity = "-1m:+10m"
        self.break_set = None         # changes (set bytes, signature)
        self.ssh_certificates = 0
        self.make_ca()
        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), self.handler())
        self.server.daemon_threads = True
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(directory + "/server.crt", directory + "/server.key")
        context.load_verify_locations(directory + "/ca.crt")
        context.verify_mode = ssl.CERT_OPTIONAL
        self.server.socket = context.wrap_socket(self.server.socket, server_side=True)
        self.url = f"https://127.0.0.1:{self.server.server_address[1]}"
        self.thread = threading.Thread(target=self.server.serve_forever, daemon=True)
        self.thread.start()

    def close(self):
        self.server.shutdown()
        self.server.server_close()

    def make_ca(self):
        d = self.directory
        key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2"]
        run("openssl", "req", "-x509", *key, "-keyout", d + "/ca.key", "-out", d + "/ca.crt", "-subj", "/CN=test ca",
            "-addext", "keyUsage=critical,keyCertSign,cRLSign")
        run("openssl", "req", "-new", *key[:-2], "-keyout", d + "/server.key", "-out", d + "/server.csr", "-subj", "/CN=manager")
        with open(d + "/server.csr", "rb") as csr, open(d + "/server.crt", "wb") as out:
            out.write(self.certify(csr.read(), "subjectAltName=IP:127.0.0.1\nextendedKeyUsage=serverAuth"))

    def certify(self, csr, extensions):
        path = f"{self.directory}/extensions-{threading.get_ident()}"
        with open(path, "w") as file:
            file.write(extensions + "\n")
        return run("openssl", "x509", "-req", "-CA", self.directory + "/ca.crt", "-CAkey", self.directory + "/ca.key", "-days", "1",
                   "-extfile", path, data=csr)

    # --- what tests do ---

    def add(self, task):
        with self.lock:
            self.queue.append(task)
            self.lock.notify_all()

    def wait(self, condition, seconds=30.0):
        end = time.monotonic() + seconds
        with self.lock:
            while not condition():
                left = end - time.monotonic()
                if left <= 0:
                    raise TimeoutError("the provisioner did not do it in time")
                self.lock.wait(min(left, 0.1))

    def report(self, task, attempt=1, seconds=30.0):
        find = lambda: [r for r in self.reports if r["task"] == task and r["attempt"] == attempt]
        self.wait(find, seconds)
        return find()[0]

    def output(self, task, stream="stdout", attempt=1):
        data = b""
        for offset, chunk in sorted(self.outputs.get((task, attempt, stream), {}).items()):
            assert offset == len(data), "chunks of output do not fit together"
            data += chunk
        return data

    # --- requests ---

    def handler(manager):
        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *_):
                pass

            def handle(self):
                try:
                    super().handle()
                except OSError:
                    pass # a provisioner that was killed

            def answer(self, status, body, kind="application/json"):
                data = body if isinstance(body, bytes) else json.dumps(body).encode()
                self.send_response(status)
                self.send_header("Content-Type", kind)
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            def refuse(self, status, name):
                self.answer(status, {"type": "urn:bastide:error:" + name, "message": name})

            def handle_request(self):
                size = int(self.headers.get("Content-Length") or 0)
                body = json.loads(self.rfile.read(size)) if size else {}
                if self.path == "/api/v3.1/provisioners/enrol":
                    return manager.enrol(self, body)
                if not self.connection.getpeercert():
                    return self.refuse(401, "unauthenticated")
                if manager.failing:
                    return self.refuse(503, "unavailable")
                name = self.path.removeprefix("/internal/v1/").split("/")
                if manager.is_fenced and name[0] != "session":
                    return self.refuse(409, "stale")
                getattr(manager, "do_" + "_".join([name[0].replace("-", "_")] + ([name[1]] if name[0] == "tasks" and len(name) == 2
                                                                              else [])))(self, body, name)

            do_GET = do_POST = handle_request
        return Handler

    def enrol(self, request, body):
        if body.get("token") != self.token:
            return request.refuse(403, "forbidden")
        self.envelope_key = base64.b64decode(body["envelope_key"])
        certificate = self.certify(body["tls_csr"].encode(), "subjectAltName=URI:bastide:provisioner:p1\nextendedKeyUsage=clientAuth")
        with open(self.directory + "/ca.crt") as ca:
            request.answer(200, {"id": "p1", "certificate": certificate.decode(), "ca_certificate": ca.read(),
                                 "internal_url": self.url, "signing_key": base64.b64encode(self.signer.public).decode()})

    def do_session(self, request, body, _):
        with self.lock:
            self.epoch += 1
            self.sessions += 1
            self.lock.notify_all()
        request.answer(200, {"epoch": self.epoch, "heartbeat_ms": 100, "lease_ms": 1000})

    def do_heartbeat(self, request, body, _):
        with self.lock:
            self.heartbeats += 1
            self.running = body["running"]
            cancel, self.cancels = self.cancels, []
            self.lock.notify_all()
        request.answer(200, {"cancel": cancel, "drain": self.is_drained, "lost": []})

    def do_tasks_lease(self, request, body, _):
        end = time.monotonic() + min(body["wait_ms"] / 1000, 1)
        with self.lock:
            while not self.queue and time.monotonic() < end:
                self.lock.wait(max(end - time.monotonic(), 0.001))
            # A process that was replaced gets nothing, also when its long poll still waits.
            if body["epoch"] != self.epoch:
                return request.refuse(409, "stale")
            tasks, self.queue = self.queue[:body["maximum"]], self.queue[body["maximum"]:]
        request.answer(200, {"tasks": [dict(task, epoch=body["epoch"]) for task in tasks]})

    def do_tasks_report(self, request, body, _):
        with self.lock:
            self.reports += body["reports"]
            self.lock.notify_all()
        request.answer(200, {"results": [{"task": r["task"], "status": "accepted"} for r in body["reports"]]})

    def do_tasks_output(self, request, body, _):
        with self.lock:
            for chunk in body["chunks"]:
                key = (chunk["task"], chunk["attempt"], chunk["stream"])
                self.outputs.setdefault(key, {})[chunk["offset"]] = base64.b64decode(chunk["data"])
            self.lock.notify_all()
        request.answer(200, {})

    def do_bundles(self, request, _, name):
        data = self.bundles.get(name[1])
        request.answer(200, data, "application/octet-stream") if data else request.refuse(404, "not_found")

    def do_approved_sets(self, request, _, name):
        data = approved_set(name[1], self.serial, time.time() + 3600, [bytes.fromhex(d) for d in self.approved])
        signature = self.signer.sign(data)
        if self.break_set:
            data, signature = self.break_set(data, signature)
        request.answer(200, {"set": base64.b64encode(data).decode(), "signature": base64.b64encode(signature).decode()})

    def do_ssh_certificates(self, request, body, _):
        with self.lock:
            self.ssh_certificates += 1
        line = self.user_ca.sign(body["public_key"], "provisioner:" + body["cluster"], self.forced_command.get(body["cluster"]),
                                 self.validity)
        expires = time.strftime("%Y-%m-%dT%H:%M:%S.000Z", time.gmtime(time.time() + 600))
        request.answer(200, {"certificate": line, "expires_at": expires})

    def do_tasks(self, request, body, name):
        assert name[2] == "certificate"
        chain = self.certify(body["csr"].encode(), "subjectAltName=DNS:web.example")
        request.answer(200, {"chain": chain.decode(), "serial": "01"})
