"""How fast and how evenly it answers."""

import http.client
import json
import re
import statistics
import subprocess
import time

from machine import percentile, pin
from servers import (Handsd, die_with_parent, end, free_port, have, many_conversations, ratio, run_all, spawn, stop_all,
                     wait_listens, write_script)

WAITING_CLIENTS = 8


def wrk(url, seconds, connections=32):
    """Requests per second, asked for by one core; the server has the other."""
    out = subprocess.run(["taskset", "-c", "1", "wrk", "-t1", f"-c{connections}", f"-d{max(1, round(seconds))}s", "--timeout", "30s", url],
                         check=True, capture_output=True, text=True, preexec_fn=die_with_parent).stdout
    assert "Non-2xx" not in out, out
    return float(re.search(r"Requests/sec:\s+([\d.]+)", out).group(1))


def nginx(folder, body):
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "one.json").write_bytes(body)
    port = free_port()
    (folder / "nginx.conf").write_text(f"""
daemon off; master_process off; pid {folder}/pid; error_log {folder}/error.log;
events {{ worker_connections 1024; }}
http {{ access_log off; sendfile on; open_file_cache max=10; keepalive_requests 100000000;
  types {{ application/json json; }}
  server {{ listen 127.0.0.1:{port}; root {folder}; }} }}
""")
    process = spawn(["taskset", "-c", "0", "nginx", "-c", folder / "nginx.conf", "-p", folder, "-e", folder / "error.log"],
                    stderr=subprocess.DEVNULL)
    wait_listens(port, process=process)
    return process, f"http://127.0.0.1:{port}/one.json"


def python_rate(bench, path_of, prepare=None):
    """The same request to the Python server, on one core as well; None where there is none."""
    server = bench.python()
    if not server:
        return None
    one = server.create(bench.data / "work-python", agent_more={"tools": []})
    if prepare:
        prepare(server, one)
    pin(server.process.pid, 0)
    try:
        return wrk(server.url + path_of(one), bench.seconds(5))
    finally:
        subprocess.run(["taskset", "-a", "-p", "-c", "0-1023", str(server.process.pid)], check=True, stdout=subprocess.DEVNULL)


def row_with_python(bench, what, rate, text, budget, ok, theirs):
    bench.row(what, text, budget, ok, f"{theirs:,.0f}/s" if theirs else "", ratio(rate, theirs) if theirs else "")


def get(bench):
    if not have("nginx", "wrk"):
        return bench.skip("GET beside nginx", "needs nginx and wrk")
    with Handsd(bench.data / "get") as server:
        one = server.create(bench.data / "work-get")
        server.send(one, "hello")
        pin(server.process.pid, 0)
        url = f"{server.url}/api/conversations/{one}"
        body = server.http.get(url).content
        process, nginx_url = nginx(bench.data / "nginx", body)
        ours, theirs = [], []
        try:
            for _ in range(3):
                theirs.append(wrk(nginx_url, bench.seconds(5)))
                ours.append(wrk(url, bench.seconds(5)))
        finally:
            end(process)
    a, b = statistics.median(ours), statistics.median(theirs)
    python = python_rate(bench, lambda one: f"/api/conversations/{one}")
    row_with_python(bench, f"GET a conversation ({len(body):,} bytes), one core, beside nginx with a file of the same bytes", a,
                    f"{a:,.0f}/s; nginx {b:,.0f}/s: {a / b:.2f}", "≥ 0.7 × nginx", a / b >= 0.7, python)


def search(bench):
    """A page of 50 events of a conversation with 100 messages."""
    if not have("wrk"):
        return bench.skip("event search", "needs wrk")
    path_of = "/api/conversations/{}/events/search?limit=50".format

    def prepare(server, one):
        for i in range(bench.size(100, 60)):
            assert server.send(one, f"message {i}").status_code < 300

    with Handsd(bench.data / "search") as server:
        one = server.create(bench.data / "work-search", agent_more={"tools": []})
        prepare(server, one)
        pin(server.process.pid, 0)
        page = server.http.get(path_of(one)).json()
        assert len(page["items"]) == 50
        rate = wrk(server.url + path_of(one), bench.seconds(5))
    row_with_python(bench, "search: a page of 50 events, one core", rate, f"{rate:,.0f}/s", "", True,
                    python_rate(bench, path_of, prepare))


def waiting_clients(server, n):
    """Clients that wait for commands which do not end; back once all commands run."""
    host, port = re.match(r"http://([^:]+):(\d+)", server.url).groups()
    clients = [http.client.HTTPConnection(host, int(port)) for _ in range(n)]
    for client in clients:
        client.request("POST", "/api/bash/execute_bash_command", json.dumps({"command": "sleep 600", "timeout": 600}),
                       {"Content-Type": "application/json"})
    while len(server.http.get("/api/bash/bash_events/search?kind__eq=BashCommand").json()["items"]) < n:
        time.sleep(0.01)
    return clients


def get_times_ms(server, paths, n):
    host, port = re.match(r"http://([^:]+):(\d+)", server.url).groups()
    connection = http.client.HTTPConnection(host, int(port))
    times = []
    for i in range(n):
        begin = time.perf_counter()
        connection.request("GET", paths[i % len(paths)])
        connection.getresponse().read()
        times.append((time.perf_counter() - begin) * 1000)
    return times


def busy(bench):
    write_script(bench.scripts, "hang", [{"calls": [{"name": "terminal", "arguments": {"command": "sleep 600", "timeout": 500}}]}])
    with Handsd(bench.data / "busy", scripts=bench.scripts) as server:
        agents = many_conversations(server, 32, bench.data / "work-busy", "scripted/think")
        hang = many_conversations(server, 1, bench.data / "work-busy", "scripted/hang")
        run_all(server, hang + agents)
        clients = waiting_clients(server, WAITING_CLIENTS)
        times = get_times_ms(server, [
            f"/api/conversations/{agents[0]}", f"/api/conversations/{hang[0]}", "/ready", "/api/conversations/count",
            f"/api/conversations/{agents[1]}/events/search?limit=10", "/api/bash/bash_events/search?kind__eq=BashCommand",
        ], bench.size(5000, 200))
        ended = server.http.get("/api/bash/bash_events/search?kind__eq=BashOutput").json()["items"]
        stop_all(server, agents + hang)
        for client in clients:
            client.close()
    assert not ended, "a command ended: nobody waited for it"
    p99 = percentile(times, 99)
    bench.row(f"any GET while 32 agents run, a tool hangs and {WAITING_CLIENTS} clients wait for commands (there are no webhooks yet)",
              f"p50 {percentile(times, 50):.2f} ms, p99 {p99:.2f} ms", "p99 ≤ 10 ms", p99 <= 10)


CASES = {"get": get, "search": search, "busy": busy}
