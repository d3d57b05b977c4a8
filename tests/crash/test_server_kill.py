"""The server is killed at random, again and again, while conversations run. Whatever it had acknowledged is there after
the restart, once and in order; every conversation loads and takes a message; no tool ran twice; no process is left.

HANDSD_KILLS=10000 is the form without hurry (two hours); HANDSD_SEED repeats a run."""

import itertools
import json
import os
import random
import select
import threading
import time
from pathlib import Path

import pytest
from websockets.exceptions import WebSocketException
from websockets.sync.client import connect

from handsd import Handsd, processes_in, write_script

KILLS = int(os.environ.get("HANDSD_KILLS", "100"))
SEED = int(os.environ.get("HANDSD_SEED", str(random.SystemRandom().randrange(10**9))))
CONVERSATIONS = 6
TURNS = 20000
LIFETIME = 60  # kills that a conversation goes through before another one takes its place: each reading of it takes longer
LEFTOVER_S = 5  # the keepers end their trees within 1 s; the rest is for a loaded machine


def script():
    """Turn i appends the line i to a file of the workspace: a line that is there twice is a tool that ran twice."""
    for i in range(TURNS):
        yield {
            "text": f"turn {i}",
            "calls": [{"name": "terminal", "arguments": {"command": f"echo {i} >> ran.txt", "summary": f"line {i}"}}],
        }


class Client:
    """One conversation as a client sees it: messages it got an answer for, events it saw on the socket."""

    def __init__(self, server, name, work):
        self.name = name
        self.workspace = work / name
        self.id = server.create(self.workspace, "scripted/lines", max_iterations=TURNS, stuck_detection=False)
        self.sent = []     # texts whose POST was answered with success
        self.unsure = []   # texts whose POST was cut off
        self.seen = []     # ids of stored events, in the order they came
        self.number = 0

    def act(self, server, rng, stop):
        """Sends messages and keeps it running until the server dies."""
        try:
            while not stop.is_set():
                self.number += 1
                text = f"{self.name} message {self.number}"
                self.unsure.append(text)
                answer = server.send(self.id, text, run=True)
                if answer.status_code < 300:
                    self.unsure.remove(text)
                    self.sent.append(text)
                stop.wait(rng.uniform(0.002, 0.05))
        except Exception:  # noqa: BLE001 the server is being killed under us
            pass

    def listen(self, server):
        try:
            with connect(server.socket_url(self.id), max_size=2**20, open_timeout=5) as socket:
                for frame in socket:
                    event = json.loads(frame)
                    live = event["kind"] == "ConversationStateUpdateEvent" and event["key"] in ("full_state", "stats")
                    if not live:
                        self.seen.append(event["id"])
        except (WebSocketException, OSError, ValueError, EOFError):
            pass


def wait_no_processes(folder):
    """Waits for the end of every process in `folder`, by its pidfd."""
    deadline = time.monotonic() + LEFTOVER_S
    while True:
        left = processes_in(folder)
        if not left:
            return []
        for pid in left:
            try:
                fd = os.pidfd_open(pid)
            except ProcessLookupError:
                continue
            try:
                remaining = deadline - time.monotonic()
                if remaining <= 0 or not select.select([fd], [], [], remaining)[0]:
                    return processes_in(folder)
            finally:
                os.close(fd)


def check(server, client):
    events = server.events(client.id)
    ids = [e["id"] for e in events]
    assert len(ids) == len(set(ids)), "an event is there twice"
    stamps = [e["timestamp"] for e in events]
    assert stamps == sorted(stamps) and len(set(stamps)) == len(stamps), "timestamps are not in order"

    texts = [e["llm_message"]["content"][0]["text"] for e in events
             if e["kind"] == "MessageEvent" and e["source"] == "user"]
    acknowledged = set(client.sent)
    assert [t for t in texts if t in acknowledged] == client.sent, "an acknowledged message is lost, doubled or moved"
    assert all(texts.count(t) <= 1 for t in client.unsure)

    place = {e: i for i, e in enumerate(ids)}
    where = [place.get(e) for e in client.seen]
    assert None not in where, "an event that a client saw is lost"
    assert where == sorted(where), "events came in another order than they are stored"
    assert len(set(where)) == len(where), "an event came twice on one connection"
    client.seen = []

    open_calls = {}
    for e in events:
        if e["kind"] == "ActionEvent" and e.get("action"):
            open_calls[e["tool_call_id"]] = e["id"]
        elif e["kind"] in ("ObservationEvent", "AgentErrorEvent", "UserRejectObservation"):
            open_calls.pop(e["tool_call_id"], None)
    status = server.http.get(f"/api/conversations/{client.id}").json()["execution_status"]
    if status not in ("running", "waiting_for_confirmation"):
        assert not open_calls, f"open actions in status {status}"

    ran = client.workspace / "ran.txt"
    lines = ran.read_text().split() if ran.exists() else []
    assert len(lines) == len(set(lines)), "a tool ran twice"


@pytest.mark.timeout(120)
def test_a_log_without_its_database_is_refused(tmp_path):
    """The database is removed after a kill and its log forgotten: played into a new one, it would damage that."""
    write_script(tmp_path / "scripts", "lines", script())
    data = tmp_path / "data"
    with Handsd(data, scripts=tmp_path / "scripts") as server:
        server.create(tmp_path / "work", "scripted/lines")
        server.kill()
    database, = data.rglob("handsd.db")
    log = database.with_name("handsd.db-wal")
    assert log.stat().st_size > 0
    database.unlink()
    with pytest.raises(RuntimeError, match="handsd.db-wal belongs to a database that is gone"):
        Handsd(data, scripts=tmp_path / "scripts").start()
    assert not database.exists()
    log.rename(tmp_path / "log")
    with Handsd(data, scripts=tmp_path / "scripts") as server:
        assert server.http.get("/api/conversations/count").json() == 0
        assert server.create(tmp_path / "work", "scripted/lines")


@pytest.mark.timeout(600 + 3 * KILLS)
def test_kill_at_random(tmp_path):
    rng = random.Random(SEED)
    print(f"seed {SEED}, {KILLS} kills")
    write_script(tmp_path / "scripts", "lines", script())
    work = tmp_path / "work"
    names = itertools.count()
    clients, retired = [None] * CONVERSATIONS, []
    for kill in range(KILLS):
        server = Handsd(tmp_path / "data", scripts=tmp_path / "scripts").start()
        try:
            for i, client in enumerate(clients):
                if client:
                    check(server, client)
                if client and kill % LIFETIME == i * LIFETIME // CONVERSATIONS:
                    retired.append(client)
                    client = None
                if not client:
                    clients[i] = Client(server, f"c{next(names)}", work)
            stop = threading.Event()
            threads = [threading.Thread(target=c.act, args=(server, rng, stop)) for c in clients]
            threads += [threading.Thread(target=c.listen, args=(server,)) for c in clients]
            for t in threads:
                t.start()
            stop.wait(rng.uniform(0.005, 0.25))
            server.process.kill()
            stop.set()
            for t in threads:
                t.join(30)
                assert not t.is_alive()
        finally:
            server.kill()
        left = wait_no_processes(work)
        if kill % 100 == 99:
            print(f"{kill + 1} kills", flush=True)
        assert not left, f"processes of a dead server's hands are left after kill {kill}: {left}"
    with Handsd(tmp_path / "data", scripts=tmp_path / "scripts") as server:
        for client in retired:
            check(server, client)
        for client in clients:
            check(server, client)
            answer = server.send(client.id, f"{client.name} is alive")
            assert answer.status_code == 200, answer.text
