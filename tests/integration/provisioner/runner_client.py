# SPDX-License-Identifier: Apache-2.0
"""A client of the runner's protocol for tests: frames over the pipes of a process (the runner itself, or ssh to it)."""
import collections
import hashlib
import os
import select
import struct
import subprocess
import time

REQUESTS = {"HELLO": 1, "HAVE": 2, "PUT": 3, "RUN": 4, "ATTACH": 5, "CANCEL": 6, "FIREWALL": 7, "CONFIRM_FIREWALL": 8,
            "MAKE_CSR": 9, "INSTALL_CERTIFICATE": 10, "FORGET": 11, "PING": 12}
ANSWERS = {0x8001: "HELLO", 0x8002: "MISSING", 0x8009: "CSR", 0x8100: "OK", 0x8101: "ERROR", 0x8102: "STARTED",
           0x8103: "OUTPUT", 0x8104: "DONE", 0x8105: "NEEDS_DECISION"}
Answer = collections.namedtuple("Answer", "type id fields")


def u32(value):
    return struct.pack(">I", value)


def u64(value):
    return struct.pack(">Q", value)


def pair(name, value):
    return struct.pack(">H", len(name)) + name.encode() + value


def digest(data):
    return hashlib.sha256(data).digest()


def frame(kind, request_id, fields):
    body = struct.pack(">HI", kind, request_id)
    for tag, value in fields:
        value = value.encode() if isinstance(value, str) else value
        body += struct.pack(">BI", tag, len(value)) + value
    return struct.pack(">I", len(body)) + body


class Runner:
    def __init__(self, arguments, greet=True, environment=None):
        self.process = subprocess.Popen(arguments, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment)
        self.data = b""
        self.next_id = 0
        if greet:
            self.hello = self.call("HELLO", [(1, u32(1))])

    def send(self, name, fields):
        self.next_id += 1
        self.process.stdin.write(frame(REQUESTS[name], self.next_id, fields))
        self.process.stdin.flush()
        return self.next_id

    def read(self, timeout=20.0):
        """The next answer, or None when the runner has closed its side."""
        end = time.monotonic() + timeout
        while True:
            if len(self.data) >= 4:
                size = struct.unpack(">I", self.data[:4])[0] + 4
                if len(self.data) >= size:
                    raw, self.data = self.data[:size], self.data[size:]
                    return self.decode(raw)
            left = end - time.monotonic()
            if left <= 0 or not select.select([self.process.stdout], [], [], left)[0]:
                raise TimeoutError("no answer of the runner")
            chunk = os.read(self.process.stdout.fileno(), 65536)
            if not chunk:
                return None
            self.data += chunk

    @staticmethod
    def decode(raw):
        kind, request_id = struct.unpack(">HI", raw[4:10])
        fields, at = collections.defaultdict(list), 10
        while at < len(raw):
            tag, size = struct.unpack(">BI", raw[at:at + 5])
            fields[tag].append(raw[at + 5:at + 5 + size])
            at += 5 + size
        return Answer(ANSWERS[kind], request_id, fields)

    def call(self, name, fields):
        self.send(name, fields)
        return self.read()

    def put(self, data):
        name = digest(data)
        for offset in range(0, max(len(data), 1), 100000):
            answer = self.call("PUT", [(1, name), (2, u32(len(data))), (3, u32(offset)), (4, data[offset:offset + 100000])])
            assert answer.type == "OK", answer
        return name

    def run_fields(self, step, script, files=None, timeout_ms=20000, output_limit=1 << 20, idempotent=False, flat=b"",
                   secrets=None, name="run.sh"):
        files = dict(files or {})
        files[name] = script
        for data in files.values():
            self.put(data)
        fields = [(1, step), (2, u32(1)), (3, digest(script)), (4, name), (5, u64(timeout_ms)), (6, u64(output_limit)),
                  (7, u32(int(idempotent)))]
        fields += [(8, digest(data) + path.encode()) for path, data in files.items()]
        fields += [(9, b"{}"), (10, flat)]
        fields += [(11, pair(secret, value)) for secret, value in (secrets or {}).items()]
        return fields

    def start(self, step, script, **more):
        identifier = self.send("RUN", self.run_fields(step, script, **more))
        answer = self.read()
        assert answer.id == identifier
        return answer

    def finish(self, timeout=30.0):
        """Collects output up to the end of the step: (answer, stdout, stderr)."""
        outputs = {1: b"", 2: b""}
        while True:
            answer = self.read(timeout)
            if answer is None:
                raise EOFError("the runner went away")
            if answer.type == "OUTPUT":
                stream = struct.unpack(">I", answer.fields[1][0])[0]
                outputs[stream] += answer.fields[3][0]
            elif answer.type != "STARTED":
                return answer, outputs[1], outputs[2]

    def run(self, step, script, **more):
        answer = self.start(step, script, **more)
        assert answer.type == "STARTED", answer
        return self.finish()

    def close(self):
        self.process.stdin.close()
        status = self.process.wait(10)
        self.process.stdout.close()
        return status

    def kill(self):
        self.process.kill()
        self.process.wait(10)
        self.process.stdin.close()
        self.process.stdout.close()


def done(answer):
    """The fields of a DONE answer as a dictionary."""
    assert answer.type == "DONE", answer
    number = lambda tag: struct.unpack(">I", answer.fields[tag][0])[0]
    results = {}
    for packed in answer.fields[6]:
        size = struct.unpack(">H", packed[:2])[0]
        results[packed[2:2 + size].decode()] = packed[2 + size:].decode()
    return {"exit": number(1), "signal": number(2), "timed_out": bool(number(3)), "cancelled": bool(number(4)),
            "message": answer.fields[5][0].decode() if answer.fields[5] else "", "results": results}
