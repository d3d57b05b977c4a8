#!/usr/bin/env python3
"""Stands in for openvscode-server and code-server (by its name): takes the options that they take and no other, says what
they say when they listen, and gives its page to whoever knows the token."""

import argparse
import http.server
import os
import stat
import sys
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

CODE_SERVER = Path(sys.argv[0]).name == "code-server"
parser = argparse.ArgumentParser(allow_abbrev=False)
if CODE_SERVER:
    parser.add_argument("--config", required=True)
    parser.add_argument("--abs-proxy-base-path")
    parser.add_argument("--idle-timeout-seconds", type=int)
    flags = ["--disable-telemetry", "--disable-update-check", "--disable-workspace-trust"]
else:
    for name in ("--host", "--port", "--connection-token-file"):
        parser.add_argument(name, required=True)
    parser.add_argument("--server-base-path", default="")
    parser.add_argument("--telemetry-level")
    flags = ["--accept-server-license-terms", "--disable-workspace-trust", "--enable-remote-auto-shutdown"]
for flag in flags:
    parser.add_argument(flag, action="store_true")
options = parser.parse_args()

file = Path(options.config if CODE_SERVER else options.connection_token_file)
assert stat.S_IMODE(file.stat().st_mode) == 0o600
assert stat.S_IMODE(file.parent.stat().st_mode) == 0o700
base = ""
if CODE_SERVER:
    config = dict(line.split(": ", 1) for line in file.read_text().splitlines())
    host, port = config["bind-addr"].split(":")
    token = config["password"]
    assert config["auth"] == "password"
else:
    host, port, token, base = options.host, options.port, file.read_text(), options.server_base_path
assert token not in " ".join(sys.argv) + str(os.environ)


class Page(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        parts = urlsplit(self.path)
        query = {name: values[0] for name, values in parse_qs(parts.query).items()}
        if parts.path == base + "/" and query.get("tkn") == token:
            self.send_response(200)
            body = f"{os.getpid()} {query['folder']}"
        else:
            self.send_response(403)
            body = "Forbidden."
        self.end_headers()
        self.wfile.write(body.encode())

    def log_message(self, *_):
        pass


server = http.server.ThreadingHTTPServer((host, int(port)), Page)
if CODE_SERVER:
    print(f"[2026-01-01T00:00:00.000Z] info  HTTP server listening on http://{host}:{port}/", flush=True)
else:
    print(f"Server bound to {host}:{port} (IPv4)\nExtension host agent listening on {port}\n", flush=True)
    print(f"Web UI available at http://localhost:{port}{base}/?tkn={token}", flush=True)
server.serve_forever()
