"""Starting and stopping a real handsd for tests: its own data directory, free ports, and nothing left behind."""

import ctypes
import json
import os
import re
import signal
import subprocess
import threading
from pathlib import Path

import httpx

ROOT = Path(__file__).resolve().parents[2]
HANDSD = os.environ.get("HANDSD", str(ROOT / "build" / "handsd"))
START_S = 20  # a bound, not a wait: the server says when it listens
PR_SET_PDEATHSIG = 1


def die_with_parent(libc=ctypes.CDLL(None)):
    """For `preexec_fn`: what is started is killed when the thread that started it ends, even by SIGKILL."""
    libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


# Measurements are cut short by hand; tests start servers on threads that end before them.
TIED = die_with_parent if os.environ.get("HANDSD_TIED") else None


class Handsd:
    """One server process. `with Handsd(tmp_path) as server: server.http.get("/alive")`."""

    def __init__(self, data, *, scripts=None, args=(), env=None, key=None, preload=None):
        self.data = Path(data)
        self.scripts = scripts
        self.args = list(args)
        self.key = key
        self.env = dict(env or {})
        self.preload = preload
        self.process = None
        self.url = None
        self.legacy_url = None  # of the 0.53 API
        self.http = None
        self.legacy = None
        self.log = []
        self.logged = threading.Condition()

    def command(self):
        command = [HANDSD, "serve", "--port", "0", "--legacy-port", "0", "--data", str(self.data)]
        if self.scripts:
            command += ["--scripts", str(self.scripts)]
        return command + self.args

    def start(self):
        environment = {k: v for k, v in os.environ.items() if not k.startswith(("OH_", "SESSION_API", "LLM_", "OPENAI_"))}
        environment["OH_CONVERSATIONS_PATH"] = str(self.data / "conversations")
        environment["OH_PERSISTENCE_DIR"] = str(self.data / "persistence")
        if self.key:
            environment["SESSION_API_KEY"] = self.key
        if self.preload:
            environment["LD_PRELOAD"] = str(self.preload)
        environment.update(self.env)
        self.data.mkdir(parents=True, exist_ok=True)
        self.process = subprocess.Popen(
            self.command(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, stdin=subprocess.DEVNULL,
            env=environment, text=True, preexec_fn=TIED,
        )
        timer = threading.Timer(START_S, self.process.kill)
        timer.start()
        try:
            for line in self.process.stdout:
                found = re.match(r"listening on (http://\S+) \((.+)\)", line)
                if found and found.group(2) == "0.53":
                    self.legacy_url = found.group(1)
                    break
                if found:
                    self.url = found.group(1)
                    if "off" in self.args:
                        break
        finally:
            timer.cancel()
        self.reader = threading.Thread(target=self._drain, daemon=True)
        self.reader.start()
        if not self.url:
            self.process.wait()
            self.reader.join(5)
            raise RuntimeError("the server ended before it listened: " + "".join(self.log))
        headers = {"X-Session-API-Key": self.key} if self.key else {}
        self.http = httpx.Client(base_url=self.url, headers=headers, timeout=30)
        if self.legacy_url:
            self.legacy = httpx.Client(base_url=self.legacy_url, headers=headers, timeout=30)
        return self

    def _drain(self):
        for line in self.process.stderr:
            with self.logged:
                self.log.append(line)
                del self.log[:-500]
                self.logged.notify_all()

    def until_logged(self, text, latest_s=20):
        """Waits for a line of the log that contains `text`."""
        with self.logged:
            assert self.logged.wait_for(lambda: any(text in line for line in self.log), latest_s), f"never logged: {text}"

    def stop(self):
        """SIGTERM; returns the exit status."""
        return self.end(signal.SIGTERM)

    def kill(self):
        return self.end(signal.SIGKILL)

    def end(self, number):
        for client in (self.http, self.legacy):
            if client:
                client.close()
        if self.process.poll() is None:
            self.process.send_signal(number)
        status = self.process.wait(20)
        self.process.stdout.close()
        self.reader.join(5)
        self.process.stderr.close()
        return status

    def __enter__(self):
        return self.start()

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.stop()

    # What most tests do.

    def create(self, workspace, model="scripted/finish", agent_more=None, **more):
        body = {
            "agent": {
                "kind": "Agent",
                "llm": {"model": model, "api_key": "test-key-123456", "usage_id": "default"},
                "tools": [{"name": "terminal"}, {"name": "file_editor"}],
                **(agent_more or {}),
            },
            "workspace": {"kind": "LocalWorkspace", "working_dir": str(workspace)},
        }
        body.update(more)
        answer = self.http.post("/api/conversations", json=body)
        answer.raise_for_status()
        return answer.json()["id"]

    def send(self, conversation, text, run=False):
        return self.http.post(
            f"/api/conversations/{conversation}/events",
            json={"role": "user", "content": [{"type": "text", "text": text}], "run": run},
        )

    def events(self, conversation):
        """The whole log, page by page."""
        items, page = [], None
        while True:
            query = {"limit": 100, **({"page_id": page} if page else {})}
            answer = self.http.get(f"/api/conversations/{conversation}/events/search", params=query)
            answer.raise_for_status()
            body = answer.json()
            items += body["items"]
            page = body["next_page_id"]
            if not page:
                return items

    def socket_url(self, conversation, query=""):
        return f"{self.url.replace('http', 'ws', 1)}/sockets/events/{conversation}{query}"


def write_script(folder, name, lines):
    """A model's answers, one JSON object a line: scripted/NAME."""
    Path(folder).mkdir(parents=True, exist_ok=True)
    with open(Path(folder) / f"{name}.jsonl", "w", encoding="utf-8") as out:
        for line in lines:
            out.write(json.dumps(line) + "\n")


def processes_in(folder):
    """Ids of processes whose working directory is in `folder`."""
    found = []
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            try:
                if os.readlink(f"/proc/{entry}/cwd").startswith(str(folder)):
                    found.append(int(entry))
            except OSError:
                pass
    return found


def children(pid):
    """Ids of its child processes: of a server, its hands."""
    found = []
    for task in os.listdir(f"/proc/{pid}/task"):
        try:
            found += [int(child) for child in Path(f"/proc/{pid}/task/{task}/children").read_text().split()]
        except OSError:
            pass
    return found
