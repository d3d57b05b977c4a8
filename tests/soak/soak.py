"""The soak: a real server, many conversations, a steady mix of everything that clients do, for a long time. At the end its
memory is where it was after the warm-up, nothing is left over, and every log is whole. Usage: soak.py MINUTES CONVERSATIONS

Memory is compared at quiet points: no client, no run, every hand ended, every conversation out of memory."""

import os
import random
import re
import shutil
import sqlite3
import sys
import threading
import time
from collections import Counter
from pathlib import Path

sys.path[:0] = [str(Path(__file__).resolve().parent), str(Path(__file__).resolve().parents[1] / "support")]
from check import check_log, check_store  # noqa: E402
from steps import STEPS, Broken, Slot  # noqa: E402

from handsd import Handsd, children, processes_in  # noqa: E402

WORKERS = 6
IDLE_S = 6            # conversation_idle_ttl_seconds: short, so that conversations leave memory and come back all the while
STEPS_PER_S = float(os.environ.get("SOAK_STEPS_PER_S", "40"))  # steady, and less than the machine can do
WARM_UP = 0.15        # of the time, and no less than …
WARM_UP_S = 60        # … of a short one: caches and pools fill first
SAMPLE_S = 15
QUIET_LATEST_S = 90
RSS_MORE = 0.08       # of the memory after warm-up that the end may have more: pools and caches breathe
RSS_MORE_KB = 1024
DATABASE_OPEN_MAX = 10  # the store opens its readers when several are wanted at once: READERS_MAX, and the writer
VIOLATIONS_MAX = 20   # then it stops
# What the server may warn about: what the steps provoke, and the key that it makes at its first start.
EXPECTED = ("no secret_key is configured", "model call failed", "download ends early")


class Server(Handsd):
    """Keeps each warning and error of the log."""

    def _drain(self):
        self.warnings = {}
        for line in self.process.stderr:
            self.log.append(line)
            del self.log[:-200]
            if " warning: " in line or " error: " in line:
                text = line.split(" ", 1)[1].strip()
                kind = re.sub(r"[0-9a-f-]{8,}|[0-9]+", "N", text)[:60]
                self.warnings[kind] = (text, self.warnings.get(kind, (text, 0))[1] + 1)


def status(pid, name):
    with open(f"/proc/{pid}/status", encoding="ascii") as lines:
        return next(int(line.split()[1]) for line in lines if line.startswith(name))


def open_files(pid):
    for fd in os.listdir(f"/proc/{pid}/fd"):
        try:
            yield os.readlink(f"/proc/{pid}/fd/{fd}").split(":[")[0]
        except OSError:
            pass


class Soak:
    def __init__(self, folder, minutes, conversations, seed):
        self.folder, self.minutes, self.rng = folder, minutes, random.Random(seed)
        self.scripts, self.temp = folder / "scripts", folder / "tmp"
        self.temp.mkdir(parents=True)
        self.scripts.mkdir()
        self.server = Server(folder / "data", scripts=self.scripts, env={
            "OH_CONVERSATION_IDLE_TTL_SECONDS": str(IDLE_S), "TMPDIR": str(self.temp)}).start()
        self.slots = [Slot(self, n, random.Random(seed * 1000 + n)) for n in range(conversations)]
        self.free = list(self.slots)
        self.lock = threading.Lock()
        self.go, self.over = threading.Event(), threading.Event()
        self.working = 0
        self.idle = threading.Condition(self.lock)
        self.violations, self.counts, self.ids = [], {}, set()
        self.quiet_points = []

    # ---- the workers

    def violation(self, text):
        with self.lock:
            self.violations.append(text)
            print(f"VIOLATION {text}", flush=True)
            if len(self.violations) >= VIOLATIONS_MAX:
                self.over.set()

    def take(self, rng):
        with self.lock:
            if not self.go.is_set() or not self.free:
                return None
            self.working += 1
            return self.free.pop(rng.randrange(len(self.free)))

    def give(self, slot):
        with self.lock:
            self.free.append(slot)
            self.working -= 1
            self.idle.notify_all()

    def work(self, number):
        rng = random.Random(self.rng.random() + number)
        pace = WORKERS / STEPS_PER_S
        due = time.monotonic()
        while not self.over.is_set():
            self.go.wait(1)
            slot = self.take(rng)
            if not slot:
                continue
            step = rng.choices([s for s, _ in STEPS], [weight for _, weight in STEPS])[0]
            try:
                step(slot, rng)
                with self.lock:
                    self.counts[step.__name__] = self.counts.get(step.__name__, 0) + 1
            except Broken as e:
                self.violation(f"{slot.name} {step.__name__}: {e}")
            except Exception as e:  # noqa: BLE001 whatever a client library throws is a violation too
                self.violation(f"{slot.name} {step.__name__}: {type(e).__name__}: {e}")
            finally:
                self.give(slot)
            due = max(due + pace, time.monotonic() - 1)
            self.over.wait(max(0, due - time.monotonic()))

    def steps(self):
        return sum(self.counts.values())

    # ---- what is measured

    def sample(self):
        pid = self.server.process.pid
        hands = children(pid)
        return {"rss_kb": status(pid, "VmRSS"), "anon_kb": status(pid, "RssAnon"), "threads": status(pid, "Threads"),
                "fds": len(os.listdir(f"/proc/{pid}/fd")), "hands": len(hands)}

    def say(self, what, sample):
        print(f"{time.monotonic() - self.begin:6.0f} s  {what:9} {self.steps():7} steps  rss {sample['rss_kb']:6} kB  "
              f"anonymous {sample['anon_kb']:6} kB  "
              f"threads {sample['threads']:3}  fds {sample['fds']:4}  hands {sample['hands']:3}", flush=True)

    def mix(self, seconds):
        """Lets the workers work."""
        until = time.monotonic() + seconds
        self.go.set()
        while not self.over.is_set() and (left := until - time.monotonic()) > 0:
            if not self.over.wait(min(left, SAMPLE_S)):
                self.say("", self.sample())
        self.go.clear()
        with self.lock:
            if not self.idle.wait_for(lambda: self.working == 0, QUIET_LATEST_S):
                self.violations.append("a step does not end")

    def quiet(self, what):
        """Every log is checked, everybody goes away, and the server has time to forget."""
        for slot in self.slots:
            try:
                slot.settle()
                check_log(slot)
            except Broken as e:
                self.violation(f"{slot.name} at {what}: {e}")
            slot.leave()
        self.server.http.delete("/api/bash/bash_events")
        deadline = time.monotonic() + QUIET_LATEST_S
        while self.sample()["hands"] and time.monotonic() < deadline:
            time.sleep(0.5)
        time.sleep(3 * IDLE_S)  # two sweeps: the conversations themselves
        point = self.sample()
        self.say(what, point)
        if point["hands"]:
            self.violation(f"{point['hands']} hands do not end")
        point["files"] = sorted(open_files(self.server.process.pid))
        self.quiet_points.append(point)

    # ---- the whole

    def run(self):
        self.begin = time.monotonic()
        print(f"{len(self.slots)} conversations, {self.minutes} minutes, at most {STEPS_PER_S:g} steps/s, in {self.folder}")
        threads = [threading.Thread(target=self.work, args=(n,), daemon=True) for n in range(WORKERS)]
        for slot in self.slots:
            slot.create()
        for thread in threads:
            thread.start()
        warm_up = max(self.minutes * 60 * WARM_UP, WARM_UP_S)
        rest = max(self.minutes * 60 - warm_up, WARM_UP_S)
        for seconds, what in ((warm_up, "warm"), (rest / 2, "half-way"), (rest / 2, "end")):
            self.mix(seconds)
            self.quiet(what)
        self.over.set()
        for thread in threads:
            thread.join(QUIET_LATEST_S)
        return self.finish()

    def finish(self):
        warm, end = self.quiet_points[0], self.quiet_points[-1]
        allowed = int(warm["rss_kb"] * (1 + RSS_MORE)) + RSS_MORE_KB
        if end["rss_kb"] > allowed:
            self.violation(f"memory grew from {warm['rss_kb']} to {end['rss_kb']} kB, allowed {allowed}")
        if end["threads"] > warm["threads"]:
            self.violation(f"threads grew from {warm['threads']} to {end['threads']}")
        more = Counter(end["files"]) - Counter(warm["files"])
        for name in [name for name in more if "/handsd.db" in name and end["files"].count(name) <= DATABASE_OPEN_MAX]:
            del more[name]
        if more:
            self.violation(f"more files are open: {dict(more)}")
        for slot in self.slots[::2]:
            slot.delete()
        kept = {slot.id for slot in self.slots[1::2]}
        saved = {id: list(Path("/tmp").glob(f"handsd-{id}*")) for id in self.ids}
        left = [str(p) for id, paths in saved.items() if id not in kept for p in paths] + [str(p) for p in self.temp.iterdir()]
        if left:
            self.violation(f"{len(left)} temporary files are left: {left[:3]}")
        exit_status = self.server.stop()
        if exit_status:
            self.violation(f"the server ended with status {exit_status}")
        if left := processes_in(self.folder):
            self.violation(f"processes are left: {left}")
        for text, n in self.server.warnings.values():
            print(f"in the log, {n} times: {text}")
            if not any(part in text for part in EXPECTED):
                self.violation(f"unexplained in the log: {text}")
        for path in (p for paths in saved.values() for p in paths):
            shutil.rmtree(path)
        with sqlite3.connect(f"file:{self.folder}/data/handsd.db?mode=ro", uri=True) as db:
            for problem in check_store(db):
                self.violation(problem)
        print("steps: " + ", ".join(f"{name} {n}" for name, n in sorted(self.counts.items())))
        print(f"memory: {warm['rss_kb']} kB after warm-up, {end['rss_kb']} kB at the end (allowed {allowed}); {self.steps()} steps")
        print(f"{'soak failed' if self.violations else 'soak passed'}: {len(self.violations)} violations")
        return 1 if self.violations else 0


if __name__ == "__main__":
    import tempfile
    seed = int(os.environ.get("SOAK_SEED", str(random.SystemRandom().randrange(10**6))))
    print(f"seed {seed}")
    with tempfile.TemporaryDirectory(prefix="soak-") as name:
        soak = Soak(Path(name), float(sys.argv[1]), int(sys.argv[2]), seed)
        try:
            sys.exit(soak.run())
        finally:
            if soak.server.process.poll() is None:
                soak.server.kill()
