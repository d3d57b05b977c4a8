"""One conversation and its socket, and what the tests look at while it goes on: other clients, memory."""

import json
import threading
import time
import uuid

import httpx
from websockets.sync.client import connect

from handsd import write_script

LATEST_S = 60
SLOW_S = 0.1  # a client that has nothing to do with it is answered within this

FINISH = {"calls": [{"name": "finish", "arguments": {"message": "All done."}}]}


def call(name, **arguments):
    return {"name": name, "arguments": arguments}


def run(command, **more):
    """A model's line: one command."""
    return {"calls": [call("terminal", command=command, **more)]}


def key(text):
    return run(text, is_input=True)


class Watcher:
    """The socket of a conversation, whose events are awaited."""

    def __init__(self, server, conversation):
        self.frames = []
        self.socket = connect(server.socket_url(conversation), max_size=2**20, max_queue=None)
        self.until(lambda e: e.get("key") == "full_state")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.socket.close()

    def until(self, wanted):
        while True:
            event = json.loads(self.socket.recv(LATEST_S))
            self.frames.append(event)
            if wanted(event):
                return event

    def until_kind(self, kind):
        return self.until(lambda e: e["kind"] == kind)

    def until_over(self):
        """The status in the full_state that ends a run."""
        return self.until(lambda e: e.get("key") == "full_state" and e["value"]["execution_status"] != "running")[
            "value"]["execution_status"]


class Talk(Watcher):
    """`with Talk(server, work, [run("ls"), FINISH]) as talk: assert talk.say() == "finished"`.

    With `model` the lines are left out and that model is asked."""

    def __init__(self, server, work, lines=(), *, model=None, **more):
        self.server, self.work = server, work
        if model is None:
            name = f"t{uuid.uuid4().hex}"
            write_script(server.scripts, name, lines)
            model = f"scripted/{name}"
        self.id = server.create(work, model, **{"autotitle": False, **more})
        super().__init__(server, self.id)

    def say(self, text="Go on."):
        self.start(text)
        return self.until_over()

    def start(self, text="Go on."):
        answer = self.server.send(self.id, text, run=True)
        assert answer.status_code == 200, answer.text

    def post(self, route, body=None):
        return self.server.http.post(f"/api/conversations/{self.id}/{route}", json=body)

    def info(self):
        return self.server.http.get(f"/api/conversations/{self.id}").json()

    def status(self):
        return self.info()["execution_status"]

    def events(self, kind=None):
        return [e for e in self.server.events(self.id) if kind is None or e["kind"] == kind]

    def kinds(self):
        return [e["kind"] for e in self.events() if e["kind"] != "ConversationStateUpdateEvent"]

    def seen(self):
        """Results of terminal calls in order: observations, and the texts of errors."""
        return [Seen(e) for e in self.events() if e["kind"] in ("ObservationEvent", "AgentErrorEvent")]


class Seen:
    """What the agent was shown of one call."""

    def __init__(self, event):
        self.error = event.get("error")
        self.observation = observation = event.get("observation", {})
        self.is_error = observation.get("is_error", True)
        self.text = "".join(c.get("text", "") for c in observation.get("content", [])) or self.error or ""
        metadata = observation.get("metadata", {})
        self.exit_code = observation.get("exit_code")
        self.cwd = metadata.get("working_dir")
        self.prefix, self.suffix = metadata.get("prefix", ""), metadata.get("suffix", "")

    def __repr__(self):
        return f"<{self.exit_code} {self.prefix!r} {self.text[:300]!r} {self.suffix!r} error={self.error!r}>"


class Others:
    """Another client, asking all the while; at the end every answer must have been quick.

    One in fifty may be late, and no two in a row: the machine that runs the tests has other things to do."""

    def __init__(self, server):
        self.server, self.taken, self.problem = server, [], None
        self.over = threading.Event()
        self.conversation = server.create(server.data / "other", autotitle=False)

    def __enter__(self):
        self.thread = threading.Thread(target=self.ask)
        self.thread.start()
        return self

    def ask(self):
        try:
            with httpx.Client(base_url=self.server.url, timeout=30) as http:
                while not self.over.wait(0.01):
                    for path in ("/alive", f"/api/conversations/{self.conversation}",
                                 f"/api/conversations/{self.conversation}/events/search"):
                        started = time.monotonic()
                        assert http.get(path).status_code == 200
                        self.taken.append(time.monotonic() - started)
        except Exception as e:  # noqa: BLE001 told by the test
            self.problem = e

    def __exit__(self, kind, *_):
        self.over.set()
        self.thread.join()
        if kind is None:
            assert not self.problem, self.problem
            late = [t > SLOW_S for t in self.taken]
            worst = f"{max(self.taken, default=0) * 1000:.0f} ms at worst of {len(late)}"
            assert sum(late) <= 1 + len(late) // 50, worst
            assert not any(a and b for a, b in zip(late, late[1:])), worst


def memory_kb(server, pid=None):
    with open(f"/proc/{pid or server.process.pid}/status") as status:
        return next(int(line.split()[1]) for line in status if line.startswith("VmRSS"))
