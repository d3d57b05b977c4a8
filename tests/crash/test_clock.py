"""Wall clocks jump, summer time ends, machines sleep. Events keep their order, and deadlines their length."""

import datetime
import signal
import time
import zoneinfo
from pathlib import Path

import pytest

from handsd import HANDSD, Handsd, write_script

SHIM = Path(HANDSD).parent / "tests" / "crash" / "clock_shim.so"
pytestmark = pytest.mark.skipif(not SHIM.exists(), reason="the clock shim is not built")

HOUR = 3600
STOPPED_S = 12  # longer than a hand's ping


class Clock:
    def __init__(self, path):
        self.path = path
        self.set(0)

    def set(self, seconds):
        mode = "r+" if self.path.exists() else "w"
        with open(self.path, mode, encoding="ascii") as out:
            out.write(f"{int(seconds):<16}"[:16])


@pytest.fixture
def clocked(tmp_path, make_server):
    clock = Clock(tmp_path / "clock")

    def start(zone="UTC", **options):
        write_script(tmp_path / "scripts", "steps", [
            {"calls": [{"name": "terminal", "arguments": {"command": f"echo {i}"}}]} if i % 2 == 0 else {"text": f"answer {i}"}
            for i in range(100)
        ])
        return make_server(tmp_path / "data", scripts=tmp_path / "scripts", preload=SHIM,
                           env={"CLOCK_SHIM_FILE": str(clock.path), "TZ": zone}, **options)

    return clock, start


def run_once(server, conversation, text, patience=20):
    assert server.send(conversation, text, run=True).status_code == 200
    deadline = time.monotonic() + patience
    while server.http.get(f"/api/conversations/{conversation}").json()["execution_status"] == "running":
        assert time.monotonic() < deadline, "the run does not end"
        time.sleep(0.02)


def check_order(server, conversation):
    stamps = [e["timestamp"] for e in server.events(conversation)]
    assert stamps == sorted(stamps) and len(set(stamps)) == len(stamps)
    assert len({len(s) for s in stamps}) == 1, "timestamps differ in width"
    return stamps


def test_the_clock_is_set_back_and_forward(clocked, tmp_path):
    clock, start = clocked
    server = start()
    conversation = server.create(tmp_path / "work", "scripted/steps")
    for n, offset in enumerate((0, -2 * HOUR, 24 * HOUR, -HOUR, 0)):
        clock.set(offset)
        run_once(server, conversation, f"message {n}")
        check_order(server, conversation)
    texts = [e["llm_message"]["content"][0]["text"] for e in server.events(conversation)
             if e["kind"] == "MessageEvent" and e["source"] == "user"]
    assert texts == [f"message {n}" for n in range(5)]


def test_the_end_of_summer_time(clocked, tmp_path):
    """The local clock face goes back an hour; it has to be invisible in the order, also over a restart."""
    clock, start = clocked
    berlin = zoneinfo.ZoneInfo("Europe/Berlin")
    change = datetime.datetime(2025, 10, 26, 1, 0, tzinfo=datetime.timezone.utc).timestamp()  # 03:00 becomes 02:00
    assert datetime.datetime.fromtimestamp(change - 1, berlin).hour == 2
    clock.set(change - time.time() - 60)
    server = start("Europe/Berlin")
    conversation = server.create(tmp_path / "work", "scripted/steps")
    run_once(server, conversation, "before")
    before = check_order(server, conversation)[-1]
    assert before.startswith("2025-10-26T02:59"), before
    clock.set(change - time.time() + 60)
    run_once(server, conversation, "after")
    check_order(server, conversation)
    server.stop()
    server = start("Europe/Berlin")
    run_once(server, conversation, "after a restart")
    stamps = check_order(server, conversation)
    assert stamps[-1] > before


def test_a_stopped_process_goes_on(clocked, tmp_path):
    """SIGSTOP, as a laptop's lid does it: nothing ends, and nobody is taken for dead."""
    _, start = clocked
    server = start()
    conversation = server.create(tmp_path / "work", "scripted/steps")
    run_once(server, conversation, "before")
    server.process.send_signal(signal.SIGSTOP)
    try:
        signal.sigtimedwait([], STOPPED_S)
    finally:
        server.process.send_signal(signal.SIGCONT)
    run_once(server, conversation, "after")
    kinds = [e["kind"] for e in server.events(conversation)]
    assert "AgentErrorEvent" not in kinds and "ConversationErrorEvent" not in kinds
