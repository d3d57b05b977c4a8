"""What conversations and sockets cost in memory."""

import re
import resource
import selectors
import shutil
import socket
import statistics
import subprocess
import sys
import time

import httpx
from machine import rss_mb, threads
from servers import (ROOT, Handsd, end, free_port, have, many_conversations, run_all, spawn, stop_all, wait_listens,
                     wait_status, write_script)

THOUGHTS = 248  # with the prompt, the message and the answer, some 500 events
WARM = 50  # conversations whose cost is not counted: the first ones open libraries and grow the heap


def open_conversations(bench):
    """Conversations with 500 events each, opened again by a fresh server."""
    n = bench.size(100, 5)
    write_script(bench.scripts, "think250", [{"calls": [{"name": "think", "arguments": {"thought": f"thought {i}"}}]}
                                             for i in range(THOUGHTS)] + [{"text": "done"}])
    where = bench.data / "open"
    with Handsd(where, scripts=bench.scripts) as server:
        ids = many_conversations(server, n, bench.data / "work-open", "scripted/think250")
        run_all(server, ids)
        wait_status(server, ids, "finished")
        events = sum(server.http.get(f"/api/conversations/{i}/events/count").json() for i in ids)
    with Handsd(where, scripts=bench.scripts) as server:
        for i in ids:
            assert server.send(i, "hello").status_code == 200
        mb = rss_mb(server.process.pid)
    bench.row(f"memory after opening {n} conversations with {events:,} events (RSS)", f"{mb:.1f} MB", "≤ 32 MB", mb <= 32)


# ---- sockets ----

def raw_socket(server, conversation):
    host, port = re.match(r"http://([^:]+):(\d+)", server.url).groups()
    s = socket.create_connection((host, int(port)))
    s.sendall(f"GET /sockets/events/{conversation} HTTP/1.1\r\nHost: {host}:{port}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
              "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n".encode())
    return s


def drain(sockets):
    """Reads what is there until nothing came for 300 ms."""
    with selectors.DefaultSelector() as selector:
        for s in sockets:
            s.setblocking(False)
            selector.register(s, selectors.EVENT_READ)
        while ready := selector.select(0.3):
            for key, _ in ready:
                key.fileobj.recv(65536)


def last_of_all_ms(server, conversation, sockets, n):
    """From sending a message to the last socket that has it."""
    with selectors.DefaultSelector() as selector:
        for s in sockets:
            selector.register(s, selectors.EVENT_READ)
        times = []
        for i in range(n):
            begin = time.perf_counter()
            server.send(conversation, f"message {i}")
            seen = set()
            while len(seen) < len(sockets):
                ready = selector.select(5)
                assert ready, "an event did not come"
                for key, _ in ready:
                    if b"MessageEvent" in key.fileobj.recv(16384):
                        seen.add(key.fd)
            times.append((time.perf_counter() - begin) * 1000)
        return statistics.median(times)


def sockets(bench):
    resource.setrlimit(resource.RLIMIT_NOFILE, (resource.getrlimit(resource.RLIMIT_NOFILE)[1],) * 2)
    few, all_of_them = bench.size(1000, 20), bench.size(10000, 100)
    with Handsd(bench.data / "sockets") as server:
        one, other = (server.create(bench.data / "work-sockets") for _ in range(2))
        server.send(one, "hello")
        before = rss_mb(server.process.pid)
        watching = [raw_socket(server, one) for _ in range(few)]
        drain(watching)
        ms = last_of_all_ms(server, one, watching, 10)
        bench.row(f"an event at the last of {few:,} sockets", f"{ms:.1f} ms (the reader's time in it)", "≤ 20 ms", ms <= 20)
        idle = [raw_socket(server, other) for _ in range(all_of_them - few)]
        drain(idle)
        each = (rss_mb(server.process.pid) - before) * 1024 / all_of_them
        bench.row(f"an idle WebSocket, {all_of_them:,} open (RSS)", f"{each:.2f} kB", "≤ 4 kB", each <= 4)
        for s in watching + idle:
            s.close()


# ---- conversations that wait for their model ----

def grown(server, ids, arrived):
    """Runs all, waits until `arrived` says that so many wait; kB of memory for each after the first ones, MB of the server."""
    run_all(server, ids[:WARM])
    arrived(WARM)
    start = rss_mb(server.process.pid)
    run_all(server, ids[WARM:])
    arrived(len(ids))
    total = rss_mb(server.process.pid)
    return (total - start) * 1024 / (len(ids) - WARM), total


def waiting_row(bench, n, how, each, total, whole=False):
    bench.row(f"{n:,} conversations waiting for {how}", f"{each:.0f} kB each, {total:.0f} MB RSS in all",
              "≤ 100 kB each" + (", ≤ 1 GB in all" if whole else ""), each <= 100 and (total <= 1024 or not whole))


def waiting(bench):
    n = bench.size(5000, 50) + WARM
    write_script(bench.scripts, "slow", [{"delay_ms": 600000, "text": "late"}])
    with Handsd(bench.data / "waiting", scripts=bench.scripts) as server:
        ids = many_conversations(server, n, bench.data / "work-waiting", "scripted/slow")

        def arrived(count):  # a run that waits has a thread
            while threads(server.process.pid, "run") < count:
                time.sleep(0.05)
            time.sleep(0.5)

        each, total = grown(server, ids, arrived)
        waiting_row(bench, n, "a scripted model", each, total, True)
        stop_all(server, ids[:100])
        server.kill()


class SilentModel:
    """A model's server that takes every question and answers none: by HTTP, by TLS, or by TLS with HTTP/2 through nginx."""

    def __init__(self, bench, form):
        self.folder = bench.data / f"model-{form}"
        self.folder.mkdir(parents=True)
        self.key = self.folder / "key.pem"
        self.certificate = self.folder / "certificate.pem"
        if form != "http":
            subprocess.run(["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", self.key, "-out", self.certificate,
                            "-days", "3", "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"],
                           check=True, capture_output=True)
        command = [sys.executable, ROOT / "tests" / "support" / "openai_server.py", "--until-eof"]
        if form == "tls":
            both = self.folder / "both.pem"
            both.write_text(self.key.read_text() + self.certificate.read_text())
            command += ["--tls", both]
        self.process = spawn(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        port = int(self.process.stdout.readline())
        self.http = httpx.Client(base_url=f"{'https' if form == 'tls' else 'http'}://127.0.0.1:{port}", verify=False, timeout=120)
        self.http.post("/script", json={"answers": [], "default": {"hang": True}}).raise_for_status()
        self.proxy = None
        if form == "h2":
            port = self.start_nginx(port)
        self.url = f"{'http' if form == 'http' else 'https'}://127.0.0.1:{port}/v1"

    def start_nginx(self, behind):
        port = free_port()
        temporary = " ".join(f"{name}_temp_path {self.folder}/{name};" for name in
                             ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))
        (self.folder / "nginx.conf").write_text(f"""
daemon off; master_process off; pid {self.folder}/pid; error_log {self.folder}/error.log error; worker_rlimit_nofile 40000;
events {{ worker_connections 20000; }}
http {{ access_log off; {temporary} client_body_buffer_size 64k;
  server {{ listen 127.0.0.1:{port} ssl http2; ssl_certificate {self.certificate}; ssl_certificate_key {self.key};
    location / {{ proxy_pass http://127.0.0.1:{behind}; proxy_read_timeout 600s; }} }} }}
""")
        self.proxy = spawn(["nginx", "-c", self.folder / "nginx.conf", "-e", self.folder / "error.log"], stderr=subprocess.DEVNULL)
        wait_listens(port)
        return port

    def arrived(self, count):
        while self.http.get("/count").json() < count:
            time.sleep(0.1)
        time.sleep(0.5)

    def close(self):
        self.http.close()
        if self.proxy:
            end(self.proxy)
        end(self.process)
        self.process.stdin.close()
        self.process.stdout.close()


def waiting_by(form, how, *programs):
    def case(bench):
        if not have(*programs):
            return bench.skip(f"conversations waiting over {how}", "needs " + " and ".join(programs))
        resource.setrlimit(resource.RLIMIT_NOFILE, (resource.getrlimit(resource.RLIMIT_NOFILE)[1],) * 2)
        n = bench.size(2000, 50) + WARM
        model = SilentModel(bench, form)
        where = bench.data / f"waiting-{form}"
        try:
            with Handsd(where, env={"SSL_CERT_FILE": str(model.certificate)} if form != "http" else None) as server:
                agent = {"llm": {"model": "openai/silent", "api_key": "none", "base_url": model.url, "usage_id": "default"}}
                ids = [server.create(bench.data / "work-waiting", agent_more=agent, autotitle=False) for _ in range(n)]
                each, total = grown(server, ids, model.arrived)
                waiting_row(bench, n, f"a model over {how}", each, total)
                server.kill()
        finally:
            model.close()
            shutil.rmtree(where, ignore_errors=True)
    return case


CASES = {"open": open_conversations, "sockets": sockets, "waiting": waiting, "waiting-http": waiting_by("http", "HTTP"),
         "waiting-h2": waiting_by("h2", "TLS and HTTP/2", "openssl", "nginx"),
         "waiting-tls": waiting_by("tls", "TLS and HTTP/1.1, a connection each", "openssl")}
