"""Start-up, and what there is before anybody does anything."""

import os
import shutil
import statistics
import subprocess
from pathlib import Path

from machine import rss_mb
from servers import HANDSD, WITH_PYTHON, Handsd, PythonServer, free_port, many_conversations, program, ratio, start_ms


def ours_starts(where, n):
    port = free_port()
    environment = {**os.environ, "OH_CONVERSATIONS_PATH": str(where / "conversations")}
    command = [HANDSD, "serve", "--port", str(port), "--legacy-port", "0", "--data", str(where)]
    return statistics.median(start_ms(command, environment, port, where) for _ in range(n))


def python_starts(where, n):
    """The first start compiles its modules, which a user sees once: it is not counted."""
    server = PythonServer(where)
    where.mkdir(parents=True)
    server.port = free_port()
    return statistics.median([start_ms(server.command(), server.environment(), server.port, where) for _ in range(n + 1)][1:])


def start(bench):
    medians = {}
    where = bench.data / "start"
    for stored in (0, bench.size(1000), bench.size(10000)):
        with Handsd(where) as server:
            there = server.http.get("/api/conversations/count").json()
            many_conversations(server, stored - there, bench.data / "work-start")
        medians[stored] = ours_starts(where, bench.size(30, 5))
    shutil.rmtree(where)
    empty = medians[0]
    theirs = python_starts(bench.data / "start-python", 2) if WITH_PYTHON else None
    bench.row("exec to 200 on `/ready` with " + ", ".join(f"{n:,}" for n in medians) + " stored conversations",
              ", ".join(f"{t:.1f}" for t in medians.values()) + " ms (p50)", "≤ 10 ms, ±20 %",
              empty <= 10 and all(abs(t - empty) <= empty * 0.2 for t in medians.values()),
              f"{theirs:,.0f} ms with 0" if theirs else "", ratio(theirs, empty) if theirs else "")


def idle(bench):
    with Handsd(bench.data / "idle") as server:
        server.http.get("/ready")
        mb = rss_mb(server.process.pid)
    python = bench.python()
    theirs = rss_mb(python.process.pid) if python else None
    bench.row("idle memory (RSS)", f"{mb:.1f} MB", "≤ 8 MB", mb <= 8, f"{theirs:.0f} MB" if theirs else "",
              ratio(theirs, mb) if theirs else "")


def sizes(bench):
    for name, budget in (("handsd", 3), ("hand", 2)):
        path = Path(HANDSD).with_name(name)
        stripped = bench.data / "stripped"
        subprocess.run(["strip", "-o", str(stripped), str(path)], check=True)
        size = stripped.stat().st_size / 2**20
        stripped.unlink()
        bench.row(f"`{name}`, stripped", f"{size:.2f} MB", f"≤ {budget} MB", size <= budget)


def hand(bench):
    path = Path(HANDSD).with_name("hand")
    linked = subprocess.run(["readelf", "-l", str(path)], check=True, capture_output=True, text=True).stdout
    static = "INTERP" not in linked
    ms = float(program("bench_hand", "start", path, bench.size(300, 20)))
    bench.row("`hand`: start to its first word", f"{ms:.2f} ms (p50), {'static' if static else 'NOT static'}", "≤ 3 ms, static",
              ms <= 3 and static)


CASES = {"start": start, "idle": idle, "sizes": sizes, "hand": hand}
