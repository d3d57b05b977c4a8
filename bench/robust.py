"""Kills, power cuts and failing disks: the crash tests, as many of them as time allows."""

import os
import re
import subprocess
import sys
import time

from servers import HANDSD, ROOT, spawn

FULL_KILLS = 10000


def crash_test(name, environment):
    """Runs one file of tests/crash; passed, failed, seconds."""
    env = {**os.environ, **environment, "HANDSD": str(HANDSD), "HANDSD_HAND": os.path.join(os.path.dirname(HANDSD), "hand")}
    begin = time.monotonic()
    process = spawn([sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--timeout=36000",
                     ROOT / "tests" / "crash" / name], env=env, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    out = process.communicate()[0]
    count = {word: int(n) for n, word in re.findall(r"(\d+) (passed|failed|error|skipped)", out)}
    failed = count.get("failed", 0) + count.get("error", 0) + (process.returncode != 0)
    if failed:
        print(out[-4000:], flush=True)
    return count.get("passed", 0), failed, time.monotonic() - begin


def kill(bench):
    kills = int(os.environ.get("HANDSD_KILLS") or bench.size(100, 3))
    passed, failed, seconds = crash_test("test_server_kill.py", {"HANDSD_KILLS": str(kills)})
    bench.row(f"`kill -9` at random points, {kills:,} times in {seconds:.0f} s (`HANDSD_KILLS={FULL_KILLS}` for all)",
              "nothing lost, nothing doubled, all go on" if passed and not failed else "FAILED", f"{FULL_KILLS:,} kills without a loss",
              passed and not failed)


def power(bench):
    cuts = bench.size(15, 2)
    passed, failed, seconds = crash_test("test_server_disk.py", {"HANDSD_POWER_CUTS": str(cuts),
                                                                 "HANDSD_FAILURES": str(bench.size(60, 2))})
    bench.row(f"power loss ({cuts} cuts), and each kind of write, sync and rename failing, in {seconds:.0f} s",
              "nothing lost, nothing doubled, all go on" if passed and not failed else "FAILED", "nothing lost", passed and not failed)


CASES = {"kill": kill, "power": power}
