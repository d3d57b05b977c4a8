"""What clients do in the soak. A step has its conversation (slot) to itself; it raises Broken when an answer is wrong."""

import io
import json
import os
import signal
import subprocess
import zipfile
from pathlib import Path
from uuid import UUID, uuid4

import httpx
import model
from check import Broken, check_log, expect
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

LATEST_S = 90        # for anything: the machine may be busy, but nothing hangs
MESSAGES_MAX = 60    # of one conversation: then it is deleted and made anew, so that the store stays as large as it is
MISSING = "99999999-2222-4333-8444-555555555555"
GIT = {"GIT_CONFIG_GLOBAL": "/dev/null", "GIT_CONFIG_NOSYSTEM": "1", "PATH": os.environ["PATH"]}


class Slot:
    """One place for a conversation; when that is deleted another one takes the place, half of them under the same id."""

    def __init__(self, soak, number, rng):
        self.soak, self.rng, self.name = soak, rng, f"c{number}"
        self.work = soak.folder / "work" / self.name
        self.id, self.kept, self.generation, self.number = None, None, 0, 0
        self.http = None
        self.sent, self.kind, self.stuck = [], None, False

    # ---- talking

    def ask(self, method, path, want=(200,), **more):
        if not self.http:
            self.http = httpx.Client(base_url=self.soak.server.url, timeout=LATEST_S)
        answer = self.http.request(method, path, **more)
        expect(answer.status_code in want, f"{method} {path}: {answer.status_code} {answer.text[:300]}")
        return answer

    def get(self, route, **more):
        return self.ask("GET", f"/api/conversations/{self.id}/{route}".rstrip("/"), **more).json()

    def post(self, route, body=None, **more):
        return self.ask("POST", f"/api/conversations/{self.id}/{route}", json=body, **more).json()

    def events(self):
        items, page = [], None
        while True:
            body = self.get("events/search", params={"limit": 100, **({"page_id": page} if page else {})})
            items += body["items"]
            if not (page := body["next_page_id"]):
                return items

    def socket(self, query=""):
        return connect(self.soak.server.socket_url(self.id, query), max_size=2**20, max_queue=None, open_timeout=LATEST_S)

    def leave(self):
        """No connection is kept."""
        if self.http:
            self.http.close()
            self.http = None
        if self.kept:
            self.kept.close()
            self.kept = None

    # ---- its life

    def create(self):
        self.kind = model.pick(self.rng)
        self.generation += 1
        name = f"{self.name}-{self.generation}"
        if not self.work.exists():
            self.work.mkdir(parents=True)
            (self.work / "README.md").write_text("x\n" * 10)
            for command in (["init", "-q"], ["add", "-A"], ["-c", "user.name=s", "-c", "user.email=s@s", "commit", "-qm", "first"]):
                subprocess.run(["git", *command], cwd=self.work, env=GIT, check=True)
        model.write(self.soak.scripts, name, self.kind, self.rng, self.work)
        id = self.id if self.id and self.generation % 2 else str(uuid4())
        body = {
            "conversation_id": id,
            "agent": {"kind": "Agent", "tools": [{"name": "terminal"}, {"name": "file_editor"}], "llm": {
                "model": f"scripted/{name}", "api_key": "soak-key-123456", "usage_id": "default", "retry_min_wait": 0,
                "retry_max_wait": 0}},
            "workspace": {"kind": "LocalWorkspace", "working_dir": str(self.work)},
            "autotitle": False, "tags": {"slot": self.name},
        }
        answer = self.ask("POST", "/api/conversations", want=(200, 201), json=body)
        self.id = answer.json()["id"]
        expect(UUID(self.id) == UUID(id), "another id than asked for")
        self.soak.ids.update((str(UUID(self.id)), UUID(self.id).hex))
        self.sent, self.stuck = [], False

    def delete(self):
        if self.kept:
            self.kept.close()
            self.kept = None
        self.ask("DELETE", f"/api/conversations/{self.id}")
        self.ask("GET", f"/api/conversations/{self.id}", want=(404,))
        for path in self.soak.scripts.glob(f"{self.name}-*.jsonl"):
            path.unlink()

    def send(self, run):
        self.number += 1
        text = f"{self.name} message {self.number}"
        self.post("events", {"role": "user", "content": [{"type": "text", "text": text}], "run": run})
        self.sent.append(text)

    def status(self):
        return self.get("")["execution_status"]

    def settle(self):
        """Returns when no run goes on; what hangs is interrupted."""
        with self.socket() as socket:
            state = frame_until(socket, is_state)
            if state["value"]["execution_status"] == "running":
                if self.kind == "slow":
                    self.post("interrupt")
                frame_until(socket, is_over)


def is_state(frame):
    return frame.get("key") == "full_state"


def is_over(frame):
    return is_state(frame) and frame["value"]["execution_status"] != "running"


def frame_until(socket, wanted, seen=None):
    while True:
        try:
            frame = json.loads(socket.recv(LATEST_S))
        except TimeoutError:
            raise Broken("a frame does not come") from None
        except ConnectionClosed as e:
            raise Broken(f"the socket closed: {e}") from None
        if seen is not None:
            seen.append(frame)
        if wanted(frame):
            return frame


# ---- runs


def run(slot, rng):
    """A message, its run, and all of it on a socket: every event once, one end."""
    slot.settle()
    with slot.socket() as socket:
        frame_until(socket, is_state)
        frames = []
        slot.send(run=True)
        if slot.kind == "slow":
            frame_until(socket, lambda f: f.get("key") == "execution_status" and f["value"] == "running", frames)
            slot.post("interrupt")
        frame_until(socket, is_over, frames)
        # The next message's frame comes behind everything that belongs to the run.
        slot.send(run=False)
        frame_until(socket, lambda f: f["kind"] == "MessageEvent" and f["llm_message"]["content"][0]["text"] == slot.sent[-1], frames)
        expect(sum(map(is_over, frames)) == 1, f"{sum(map(is_over, frames))} ends of one run")
        ids = [f["id"] for f in frames if f["kind"] != "ConversationStateUpdateEvent"]
        expect(len(ids) == len(set(ids)), "an event came twice")
    after_run(slot)


def run_unwatched(slot, rng):
    """The next step of this conversation may meet it running."""
    if slot.status() != "running":
        with slot.socket() as socket:
            frame_until(socket, is_state)
            slot.send(run=True)
            frame_until(socket, lambda f: f.get("key") == "execution_status" and f["value"] == "running")
    after_run(slot)


def after_run(slot):
    if len(slot.sent) > MESSAGES_MAX or (slot.kind == "failing" and slot.status() == "error"):
        remake(slot, None)


def pause(slot, rng):
    slot.post("pause")
    slot.settle()


def interrupt(slot, rng):
    slot.send(run=slot.status() != "running")
    slot.post("interrupt")
    slot.settle()
    check_log(slot)


def remake(slot, rng):
    """Running or not, it is deleted, and made anew."""
    slot.delete()
    slot.create()


def kill_hand(slot, rng):
    """The hand is killed under the run: a failed call, not a stuck conversation."""
    server = slot.soak.server.process.pid
    for entry in os.listdir("/proc"):
        if not entry.isdigit():
            continue
        try:
            if Path(os.readlink(f"/proc/{entry}/cwd")) != slot.work:
                continue
            pid = int(entry)
            while (parent := parent_of(pid)) not in (server, 0, 1):
                pid = parent
            if parent == server:
                os.kill(pid, signal.SIGKILL)
        except (OSError, ValueError):
            pass
    slot.settle()
    check_log(slot)


def parent_of(pid):
    return int(Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[1])


# ---- reading


def attach(slot, rng):
    """Everything again, as the pages have it; sometimes the socket stays."""
    slot.settle()
    stored = [e["id"] for e in slot.events()]
    socket = slot.socket("?resend_mode=all")
    seen = []
    while len(seen) < len(stored):
        frame = frame_until(socket, lambda f: not is_state(f) and f.get("key") != "stats")
        seen.append(frame["id"])
    expect(seen == stored, "the socket resends other events than the pages show")
    if slot.kept:
        slot.kept.close()
    slot.kept = socket if rng.random() < 0.2 else socket.close()


def message(slot, rng):
    if slot.status() != "running":
        slot.send(run=False)


def search(slot, rng):
    ask = rng.randrange(5)
    if ask == 0:
        body = slot.ask("GET", "/api/conversations/search", params={"limit": 50}).json()
        expect(len(body["items"]) > 0, "no conversation is found")
    elif ask == 1:
        items = slot.get("events/search", params={"kind": "MessageEvent", "limit": 100, "sort_order": "TIMESTAMP_DESC"})["items"]
        expect(all("MessageEvent" in e["kind"] for e in items), "another kind than asked for")
    elif ask == 2:
        body = slot.ask("GET", "/api/conversations", params={"ids": [slot.id, MISSING]}).json()
        expect([c and c["id"] for c in body] == [slot.id, None], "another batch than asked for")
    elif ask == 3:
        slot.get("events/search", params={"body": "echo", "limit": 10})
    else:
        expect(slot.get("")["id"] == slot.id, "another conversation than asked for")


def whole_log(slot, rng):
    slot.settle()
    check_log(slot)


def trajectory(slot, rng):
    answer = slot.ask("GET", f"/api/file/download-trajectory/{slot.id}")
    expect(zipfile.ZipFile(io.BytesIO(answer.content)).testzip() is None, "a damaged archive")


# ---- the workspace


def files(slot, rng):
    content = rng.randbytes(rng.choice([0, 100, 70_000, 1_500_000]))
    path = slot.work / "up.bin"
    slot.ask("POST", "/api/file/upload", params={"path": str(path)}, files={"file": ("up.bin", content)})
    expect(slot.ask("GET", "/api/file/download", params={"path": str(path)}).content == content, "another file than sent")


def git(slot, rng):
    (slot.work / f"made-{rng.randrange(20)}.txt").write_text(str(rng.random()))
    items = slot.ask("GET", "/api/git/changes", params={"path": str(slot.work)}).json()
    expect(items, "git shows no change")
    slot.ask("GET", "/api/git/diff", params={"path": str(slot.work / "README.md")})


def bash(slot, rng):
    word = str(rng.random())
    body = slot.ask("POST", "/api/bash/execute_bash_command", json={"command": f"echo {word}; exit 3", "cwd": str(slot.work)}).json()
    expect((body["stdout"], body["exit_code"]) == (word + "\n", 3), f"another output: {body}")
    started = slot.ask("POST", "/api/bash/start_bash_command", json={"command": "sleep 600"}).json()["id"]
    slot.ask("POST", f"/api/bash/bash_commands/{started}/stop")
    slot.ask("GET", "/api/bash/bash_events/search", params={"command_id__eq": started, "limit": 10})


def secrets(slot, rng):
    slot.post("secrets", {"secrets": {"TOKEN": f"token-{rng.random()}"}})


# ---- what is wrong


def bad_input(slot, rng):
    """Wrong requests get a 4xx that says why, and nothing else happens."""
    ask = [
        ("GET", f"/api/conversations/{MISSING}", 404, {}),
        ("POST", f"/api/conversations/{MISSING}/run", 404, {}),
        ("GET", "/api/conversations/zz/events/search", 422, {}),
        ("POST", f"/api/conversations/{slot.id}/events", 422, {"content": b"{", "headers": {"Content-Type": "application/json"}}),
        ("POST", "/api/conversations", 422, {"json": {"agent": 5}}),
        ("GET", "/api/file/download", 404, {"params": {"path": str(slot.work / "absent")}}),
        ("GET", f"/api/conversations/{slot.id}/workspace/../../../etc/passwd", 404, {}),
        ("PUT", f"/api/conversations/{slot.id}", 405, {}),
        ("GET", "/no/such/route", 404, {}),
        ("GET", f"/api/conversations/{slot.id}/events/search", 422, {"params": {"limit": 1000}}),
    ]
    method, path, want, more = rng.choice(ask)
    answer = slot.ask(method, path, want=range(400, 500), **more)
    expect(answer.status_code == want, f"{method} {path}: {answer.status_code} in place of {want}")


STEPS = [
    (run, 30), (run_unwatched, 10), (message, 5), (pause, 2), (interrupt, 4), (remake, 3), (kill_hand, 2), (attach, 8),
    (search, 15), (whole_log, 3), (trajectory, 2), (files, 8), (git, 4), (bash, 5), (secrets, 1), (bad_input, 4),
]
