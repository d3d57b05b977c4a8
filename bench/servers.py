"""The servers that are measured, and what every case does with them. Both speak the same API, so one client drives both.

Everything started here dies with this process, however that ends (PR_SET_PDEATHSIG)."""

import http.client
import os
import shutil
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

os.environ["HANDSD_TIED"] = "1"  # before the import; pytest started from here takes it over
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests" / "support"))

import httpx  # noqa: E402
from handsd import HANDSD, ROOT, Handsd, die_with_parent, write_script  # noqa: E402, F401

PROGRAMS = Path(HANDSD).parent / "bench"
PYTHON = ROOT / "build" / "bench-python" / "bin" / "python"
WITH_PYTHON = PYTHON.exists() and os.environ.get("HANDSD_BENCH_PYTHON") != "no"
FOREVER = 10**6
READY_S = 300  # a bound; the Python server compiles its modules at its first start


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def spawn(command, **more):
    return subprocess.Popen([str(c) for c in command], preexec_fn=die_with_parent, **more)


def program(name, *arguments):
    """Runs one of bench/*.c; its output."""
    return subprocess.run([PROGRAMS / name, *map(str, arguments)], check=True, capture_output=True, text=True,
                          preexec_fn=die_with_parent).stdout


def end(process):
    if process.poll() is None:
        process.terminate()
    try:
        process.wait(10)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def wait_listens(port, deadline_s=20, process=None):
    deadline = time.monotonic() + deadline_s
    while time.monotonic() < deadline:
        with socket.socket() as s:
            if s.connect_ex(("127.0.0.1", port)) == 0:
                return
        if process and process.poll() is not None:
            break
        time.sleep(0.0005)
    raise RuntimeError("nobody listens")


def wait_ready(port, process):
    """Until GET /ready is 200."""
    wait_listens(port, READY_S, process)
    deadline = time.monotonic() + READY_S
    while time.monotonic() < deadline:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=READY_S)
        connection.request("GET", "/ready")
        answer = connection.getresponse()
        answer.read()
        connection.close()
        if answer.status == 200:
            return
        time.sleep(0.0005)
    raise RuntimeError("the server does not become ready")


class PythonServer(Handsd):
    """The Python agent-server, started as its documentation says, with its data on the same disk."""

    def command(self):
        return [str(PYTHON), "-m", "openhands.agent_server", "--port", str(self.port)]

    def environment(self):
        # Without files of compiled modules it would start ten times slower than anybody's does.
        drop = ("OH_", "SESSION_API", "LLM_", "OPENAI_", "PYTHONDONTWRITEBYTECODE")
        return {**{k: v for k, v in os.environ.items() if not k.startswith(drop)},
                "OH_CONVERSATIONS_PATH": str(self.data / "conversations"), "OH_PERSISTENCE_DIR": str(self.data / "persistence"),
                "OH_BASH_EVENTS_DIR": str(self.data / "bash"), "OH_ENABLE_VSCODE": "false", "OH_PRELOAD_TOOLS": "false",
                "HOME": str(self.data), "LITELLM_LOCAL_MODEL_COST_MAP": "True", "OPENHANDS_SUPPRESS_BANNER": "1"}

    def start(self):
        self.data.mkdir(parents=True, exist_ok=True)
        self.port = free_port()
        with open(self.data / "log", "ab") as log:
            self.process = spawn(self.command(), stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=self.environment(),
                                 cwd=self.data)
        wait_ready(self.port, self.process)
        self.url = f"http://127.0.0.1:{self.port}"
        self.http = httpx.Client(base_url=self.url, timeout=120)
        return self

    def stop(self):
        self.http.close()
        end(self.process)


def start_ms(command, environment, port, folder):
    """Milliseconds from exec to a 200 on /ready. The new process notes the time itself, just before it becomes the server."""
    read, write = os.pipe()

    def stamp():
        die_with_parent()
        os.write(write, str(time.perf_counter()).encode())

    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                               env=environment, cwd=folder, preexec_fn=stamp)
    try:
        begin = float(os.read(read, 64))
        wait_ready(port, process)
        return (time.perf_counter() - begin) * 1000
    finally:
        os.close(read)
        os.close(write)
        end(process)


class Bench:
    """What a case gets: where its data may be, how large it is to be, and the Python server, started once when asked for."""

    def __init__(self, data, scale, report):
        self.data, self.scale, self.report = data, scale, report
        self.row, self.skip = report.row, report.skip
        self.scripts = data / "scripts"
        self._python = None

    def size(self, full, least=1):
        return max(least, int(full * self.scale))

    def seconds(self, full):
        return max(0.5, full * self.scale)

    def python(self):
        """None where it is not installed; scripts/bench has said so."""
        if self._python is None and WITH_PYTHON:
            self._python = PythonServer(self.data / "python").start()
        return self._python

    def close(self):
        if self._python:
            self._python.stop()
            self._python = None


def ratio(ours, theirs):
    """How many times more ours is, with two digits."""
    times = ours / theirs
    return f"{times:,.0f} ×" if times >= 10 else f"{times:.1f} ×"


# ---- what cases do with a server ----

def many_conversations(server, n, work, model="scripted/finish"):
    ids = []
    lock = threading.Lock()
    todo = iter(range(n))

    def worker():
        while True:
            with lock:
                if next(todo, None) is None:
                    return
            one = server.create(work, model, max_iterations=FOREVER, stuck_detection=False)
            with lock:
                ids.append(one)

    threads = [threading.Thread(target=worker) for _ in range(8)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert len(ids) == n, "not every conversation could be made"
    return ids


def run_all(server, ids):
    for i in ids:
        answer = server.send(i, "go", run=True)
        assert answer.status_code < 300, answer.text


def stop_all(server, ids):
    for i in ids:
        server.http.post(f"/api/conversations/{i}/interrupt")


def wait_status(server, ids, status, seconds=300):
    deadline = time.monotonic() + seconds
    for i in ids:
        while server.http.get(f"/api/conversations/{i}").json()["execution_status"] != status:
            assert time.monotonic() < deadline, f"{i} does not become {status}"
            time.sleep(0.05)


def total_events(server, ids):
    return sum(server.http.get(f"/api/conversations/{i}/events/count").json() for i in ids)


def have(*programs):
    return all(shutil.which(p) for p in programs)
