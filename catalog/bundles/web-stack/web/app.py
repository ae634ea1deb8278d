#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""A page that shows what is in the database and which node of the cluster answered.

Standard library and psycopg2 only. Settings come from /etc/bastide-web, never from the command line.
"""

import html
import queue
import secrets
import signal
import sys
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import psycopg2

SETTINGS = "/etc/bastide-web/settings"
PASSWORD = "/etc/bastide-web/password"
CONNECTIONS = 8

STYLE = """
:root { --ink: #1b2430; --muted: #5d6b7c; --line: #e3e8ee; --paper: #ffffff; --ground: #f4f6f9; --accent: #0b6e4f;
  --soft: #e4f3ed; }
@media (prefers-color-scheme: dark) { :root { --ink: #e8edf3; --muted: #9aa8b8; --line: #2b3542; --paper: #18202b;
  --ground: #10161e; --accent: #4fc79a; --soft: #17352b; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--ground); color: var(--ink); font: 16px/1.5 system-ui, sans-serif; }
main { max-width: 60rem; margin: 0 auto; padding: 3rem 1.25rem; }
header { display: flex; flex-wrap: wrap; align-items: baseline; justify-content: space-between; gap: .5rem 1rem; }
h1 { margin: 0; font-size: 2rem; letter-spacing: -.02em; }
h2 { margin: 0 0 .75rem; font-size: 1.05rem; }
.badge { background: var(--soft); color: var(--accent); border-radius: 99px; padding: .2rem .8rem; font-size: .875rem;
  font-weight: 600; }
.lead { color: var(--muted); margin: .5rem 0 2rem; }
.tiles { display: grid; grid-template-columns: repeat(auto-fit, minmax(13rem, 1fr)); gap: 1rem; margin-bottom: 1rem; }
.card { background: var(--paper); border: 1px solid var(--line); border-radius: .75rem; padding: 1.25rem; }
.card dt { color: var(--muted); font-size: .875rem; }
.card dd { margin: .25rem 0 0; font-size: 1.35rem; font-weight: 650; overflow-wrap: anywhere; }
.card dd.small { font-size: 1rem; }
table { width: 100%; border-collapse: collapse; font-variant-numeric: tabular-nums; }
th, td { text-align: left; padding: .5rem .25rem; border-bottom: 1px solid var(--line); }
th { color: var(--muted); font-weight: 500; font-size: .875rem; }
tr:last-child td { border-bottom: 0; }
td.number, th.number { text-align: right; }
meter { width: 100%; height: .75rem; }
.wide { margin-top: 1rem; overflow-x: auto; }
footer { color: var(--muted); font-size: .875rem; margin-top: 2rem; }
"""

PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style nonce="{nonce}">{style}</style>
</head>
<body>
<main>
<header><h1>{title}</h1><span class="badge">cluster {cluster}</span></header>
<p class="lead">This page came through the load balancer from one of the web nodes, and every number in it was just
read from the database. Reload to see the nodes take turns.</p>
<dl class="tiles">
<div class="card"><dt>Answered by</dt><dd id="node">{node}</dd></div>
<div class="card"><dt>Visits so far</dt><dd id="visits">{visits}</dd></div>
<div class="card"><dt>Database</dt><dd class="small" id="database">{database}</dd></div>
</dl>
<section class="card wide">
<h2>Visits by node</h2>
<table><thead><tr><th>Node</th><th>Share</th><th class="number">Visits</th></tr></thead><tbody id="nodes">
{nodes}
</tbody></table>
</section>
<section class="card wide">
<h2>Latest visits</h2>
<table><thead><tr><th class="number">No.</th><th>Node</th><th>Time (UTC)</th></tr></thead><tbody id="latest">
{latest}
</tbody></table>
</section>
<footer>Connected over TLS to the load balancer; the database lets only the web nodes in.</footer>
</main>
</body>
</html>
"""


def read_settings():
    settings = {}
    with open(SETTINGS, encoding="utf-8") as lines:
        for line in lines:
            name, separator, value = line.rstrip("\n").partition("=")
            if separator:
                settings[name] = value
    with open(PASSWORD, encoding="utf-8") as text:
        settings["password"] = text.read().strip()
    return settings


class Database:
    """A few connections that are kept; one that fails is thrown away and made anew."""

    def __init__(self, settings):
        self.arguments = {
            "host": settings["database_host"],
            "port": int(settings["database_port"]),
            "dbname": settings["database_name"],
            "user": settings["database_user"],
            "password": settings["password"],
            "connect_timeout": 3,
            "application_name": "bastide-web",
            "options": "-c statement_timeout=5000",
        }
        self.idle = queue.LifoQueue()
        for _ in range(CONNECTIONS):
            self.idle.put(None)

    @contextmanager
    def cursor(self):
        connection = self.idle.get(timeout=5)
        try:
            if connection is None or connection.closed:
                connection = psycopg2.connect(**self.arguments)
            with connection, connection.cursor() as cursor:
                yield cursor
        except (psycopg2.OperationalError, psycopg2.InterfaceError):
            if connection is not None:
                connection.close()
            connection = None
            raise
        finally:
            self.idle.put(connection)

    def check(self):
        with self.cursor() as cursor:
            cursor.execute("SELECT 1")

    def visit(self, node):
        with self.cursor() as cursor:
            cursor.execute("INSERT INTO visits (node) VALUES (%s)", (node,))
            cursor.execute("SELECT current_setting('server_version'), (SELECT count(*) FROM visits)")
            version, visits = cursor.fetchone()
            cursor.execute("SELECT node, count(*) FROM visits GROUP BY node ORDER BY node LIMIT 50")
            nodes = cursor.fetchall()
            cursor.execute(
                "SELECT id, node, to_char(visited_at AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS')"
                " FROM visits ORDER BY id DESC LIMIT 8"
            )
            return version, visits, nodes, cursor.fetchall()


def render(settings, nonce, facts):
    version, visits, nodes, latest = facts

    def cell(value):
        return html.escape(str(value))

    node_rows = "\n".join(
        f'<tr><td>{cell(name)}</td><td><meter min="0" max="{visits}" value="{count}"></meter></td>'
        f'<td class="number">{count}</td></tr>'
        for name, count in nodes
    )
    latest_rows = "\n".join(
        f'<tr><td class="number">{number}</td><td>{cell(name)}</td><td>{cell(time)}</td></tr>'
        for number, name, time in latest
    )
    return PAGE.format(
        title=cell(settings["title"]),
        cluster=cell(settings["cluster"]),
        node=cell(settings["node"]),
        visits=visits,
        database=cell(f"PostgreSQL {version}"),
        nodes=node_rows,
        latest=latest_rows,
        nonce=nonce,
        style=STYLE,
    )


class Handler(BaseHTTPRequestHandler):
    server_version = "bastide-web"
    sys_version = ""
    protocol_version = "HTTP/1.1"
    timeout = 30
    settings = {}
    database = None

    def answer(self, status, kind, text, policy="default-src 'none'"):
        body = text.encode("utf-8")
        self.send_response(status)
        self.send_header("Content-Type", kind + "; charset=utf-8")
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Cache-Control", "no-store")
        self.send_header("Content-Security-Policy", policy + "; frame-ancestors 'none'; base-uri 'none'")
        self.send_header("X-Content-Type-Options", "nosniff")
        self.send_header("Referrer-Policy", "no-referrer")
        self.send_header("X-Bastide-Node", self.settings["node"])
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def do_GET(self):
        path = self.path.split("?", 1)[0]
        try:
            if path == "/health":
                self.database.check()
                self.answer(200, "text/plain", "well\n")
            elif path == "/":
                nonce = secrets.token_urlsafe(16)
                page = render(self.settings, nonce, self.database.visit(self.settings["node"]))
                self.answer(200, "text/html", page, f"default-src 'none'; style-src 'nonce-{nonce}'")
            else:
                self.answer(404, "text/plain", "there is no such page\n")
        except (psycopg2.Error, queue.Empty) as problem:
            # The reason is for the log; who asks learns only that it does not work now.
            self.log_error("database: %s", type(problem).__name__)
            self.answer(503, "text/plain", "the database does not answer\n")

    do_HEAD = do_GET

    def log_request(self, code="-", size="-"):
        if self.path != "/health":
            super().log_request(code, size)


class Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128


def main():
    settings = read_settings()
    Handler.settings = settings
    Handler.database = Database(settings)
    server = Server(("0.0.0.0", int(settings["port"])), Handler)
    signal.signal(signal.SIGTERM, lambda *_: threading.Thread(target=server.shutdown).start())
    server.serve_forever()
    return 0


if __name__ == "__main__":
    sys.exit(main())
