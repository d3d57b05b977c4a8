"""The server on a disk that loses what was not synced, fails at any call, or is full for a while (shim.c).

Whatever was acknowledged is there after a restart, once and in order; what could not be stored got a clear error; reads
go on; and when the disk works again, so does the server."""

import os
import random
import shutil
import subprocess
import threading
import time
from pathlib import Path

import httpx
import pytest

from handsd import HANDSD, Handsd, write_script

BUILD = Path(HANDSD).parent
SHIM = BUILD / "tests" / "crash" / "shim.so"
REPLAY = BUILD / "tests" / "crash" / "shim_replay"
SEED = int(os.environ.get("HANDSD_SEED", str(random.SystemRandom().randrange(10**9))))
POWER_CUTS = int(os.environ.get("HANDSD_POWER_CUTS", "15"))
FAILURES_MAX = int(os.environ.get("HANDSD_FAILURES", "60"))  # of each kind; all of them if there are fewer
PATIENCE_S = 20

pytestmark = pytest.mark.skipif(not SHIM.exists(), reason="the I/O shim is not built")


def script(folder):
    write_script(folder, "steps", [
        {"calls": [{"name": "terminal", "arguments": {"command": f"echo {i} >> ran.txt", "summary": f"line {i}"}}]}
        for i in range(1000)
    ])
    return folder


def shimmed(data, scripts, **shim):
    env = {"SHIM_DIR": str(data), **{f"SHIM_{k}": str(v) for k, v in shim.items()}}
    return Handsd(data, scripts=scripts, preload=SHIM, env=env)


class Workload:
    """A few messages and a run, by a client that remembers what it was told."""

    def __init__(self, work):
        self.work = work
        self.id = None
        self.sent, self.unsure, self.seen = [], [], set()
        self.refused = 0

    def act(self, server, messages=4):
        try:
            if self.id is None:
                self.id = server.create(self.work, "scripted/steps", max_iterations=3, stuck_detection=False)
            for n in range(messages):
                text = f"message {len(self.sent) + len(self.unsure)} {n}"
                self.unsure.append(text)
                answer = server.send(self.id, text, run=n % 2 == 0)
                if answer.status_code == 200:
                    self.unsure.remove(text)
                    self.sent.append(text)
                else:
                    assert answer.status_code == 503, answer.text
                    assert answer.headers["retry-after"]
                    self.unsure.remove(text)  # refused for certain
                    self.refused += 1
                self.seen |= {e["id"] for e in server.events(self.id)}
        except httpx.HTTPStatusError as e:
            assert e.response.status_code == 503, e.response.text
            self.refused += 1
        except httpx.TransportError:
            pass

    def check(self, server):
        """What was acknowledged or seen is there, once and in order; no tool ran twice; it takes a message."""
        if self.id is None:
            return
        events = server.events(self.id)
        ids = [e["id"] for e in events]
        assert len(ids) == len(set(ids))
        assert self.seen <= set(ids), "an event that a client was given is lost"
        texts = [e["llm_message"]["content"][0]["text"] for e in events if e["kind"] == "MessageEvent" and e["source"] == "user"]
        assert [t for t in texts if t in set(self.sent)] == self.sent
        assert set(texts) <= set(self.sent) | set(self.unsure), "a refused message is there"
        ran = self.work / "ran.txt"
        lines = ran.read_text().split() if ran.exists() else []
        assert len(lines) == len(set(lines)), "a tool ran twice"
        answer = server.send(self.id, f"still there? {len(ids)}")
        assert answer.status_code == 200, answer.text
        self.sent.append(f"still there? {len(ids)}")


def count_calls(tmp_path, scripts):
    """How many calls of each kind a whole, undisturbed workload makes."""
    data, log = tmp_path / "count", tmp_path / "count.log"
    with shimmed(data, scripts, LOG=log) as server:
        Workload(tmp_path / "work-count").act(server)
    out = subprocess.run([REPLAY, "-c", log], check=True, capture_output=True, text=True).stdout.split()
    return dict(zip(out[::2], map(int, out[1::2])))


@pytest.mark.timeout(900)
@pytest.mark.parametrize("kind", ["write", "sync", "rename"])
def test_every_call_may_fail(tmp_path, kind):
    scripts = script(tmp_path / "scripts")
    total = count_calls(tmp_path, scripts)[kind]
    chosen = range(1, total + 1)
    if total > FAILURES_MAX:  # the first ones are the start; the rest evenly
        chosen = sorted(set(range(1, FAILURES_MAX // 3)) | set(range(1, total + 1, 3 * total // (2 * FAILURES_MAX) + 1)))
    print(f"{kind}: {len(chosen)} of {total} calls")
    for n in chosen:
        data, work = tmp_path / f"data{n}", Workload(tmp_path / f"work{n}")
        server = shimmed(data, scripts, FAIL_AT=n, FAIL_KIND=kind)
        try:
            server.start()
        except RuntimeError as e:  # refused to start: says why, and the next start is well
            assert "error" in str(e).lower() or "I/O" in str(e), f"{kind} {n}: no clear error: {e}"
        else:
            try:
                work.act(server)
                if work.id:
                    assert server.http.get(f"/api/conversations/{work.id}").status_code == 200
            finally:
                server.kill()
        with Handsd(data, scripts=scripts) as again:
            work.check(again)
        shutil.rmtree(data)


@pytest.mark.timeout(600)
def test_power_loss(tmp_path):
    print(f"seed {SEED}")
    rng = random.Random(SEED)
    scripts = script(tmp_path / "scripts")
    data, base, log = tmp_path / "data", tmp_path / "base", tmp_path / "log"
    works = [Workload(tmp_path / f"work{i}") for i in range(3)]
    data.mkdir()
    for cut in range(POWER_CUTS):
        shutil.rmtree(base, ignore_errors=True)
        shutil.copytree(data, base)
        log.unlink(missing_ok=True)
        server = shimmed(data, scripts, LOG=log).start()
        threads = [threading.Thread(target=w.act, args=(server, 50)) for w in works]
        for t in threads:
            t.start()
        threading.Event().wait(rng.uniform(0.05, 0.4))
        server.process.kill()
        for t in threads:
            t.join()
        server.kill()
        shutil.rmtree(data)
        subprocess.run([REPLAY, log, base, data, *([str(rng.randrange(10**6))] if cut % 2 else [])], check=True)
        with Handsd(data, scripts=scripts) as again:
            for w in works:
                w.check(again)
    assert all(len(w.sent) > POWER_CUTS for w in works), "the workload did not get anywhere"


@pytest.mark.timeout(120)
def test_a_full_disk_is_said_and_lasts_only_as_long_as_it_does(tmp_path):
    scripts = script(tmp_path / "scripts")
    full = tmp_path / "full"
    data, work = tmp_path / "data", Workload(tmp_path / "work")
    with shimmed(data, scripts, FAIL_FILE=full, FAIL_KIND="write", ERRNO="ENOSPC") as server:
        work.act(server, 2)
        assert work.refused == 0
        full.touch()
        answer = server.send(work.id, "lost")
        assert answer.status_code == 503 and answer.headers["retry-after"]
        assert server.http.get(f"/api/conversations/{work.id}").status_code == 200
        assert set(work.seen) <= {e["id"] for e in server.events(work.id)}
        full.unlink()
        deadline = time.monotonic() + PATIENCE_S
        while (answer := server.send(work.id, "kept")).status_code == 503:
            assert time.monotonic() < deadline, "the server does not come back"
            time.sleep(float(answer.headers["retry-after"]) / 10)
        assert answer.status_code == 200
        work.sent.append("kept")
    with Handsd(data, scripts=scripts) as again:
        work.check(again)
