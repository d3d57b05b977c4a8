#!/usr/bin/env python3
"""Measures the server against its budgets; see scripts/bench, which starts it. main.py DATA_DIR RESULT [--markdown] [CASE…]"""

import os
import shutil
import signal
import sys
import traceback
from pathlib import Path

import machine
import report

SCALE = float(os.environ.get("HANDSD_BENCH_SCALE", "1"))


def cases():
    import answering
    import memory
    import robust
    import starting
    import steps
    return {**starting.CASES, **answering.CASES, **memory.CASES, **steps.CASES, **robust.CASES}


def run(names, known, data, result):
    from servers import WITH_PYTHON, Bench
    about = machine.describe(data)
    about["scale"] = SCALE
    if WITH_PYTHON:
        wanted = Path(__file__).with_name("requirements.txt").read_text()
        about["python_server"] = wanted.split("openhands-agent-server==")[1].split()[0]
    out = report.Report(about)
    print(report.machine_line(about), flush=True)
    bench = Bench(data, SCALE, out)
    if not WITH_PYTHON:
        bench.skip("the Python agent-server", "build/bench-python is not there, or it is not wanted")
    try:
        for name in names:
            out.case = name
            print(f"\n{name}", flush=True)
            try:
                known[name](bench)
            except Exception as e:  # noqa: BLE001 one case that fails does not hide the others
                traceback.print_exc()
                out.row(name, f"failed: {e!r}"[:160], "to be measured", False)
    finally:
        bench.close()
    out.save(result)
    print(f"\n{len(out.rows)} figures, {len(out.missed())} missed" + "".join(f"\n  MISSED {r.case}: {r.what}" for r in out.missed())
          + f"\nkept in {result}; scripts/bench --markdown shows them as README does", flush=True)
    return 1 if out.missed() else 0


def main():
    data, result = Path(sys.argv[1]).resolve() / "server", Path(sys.argv[2])
    names = sys.argv[3:]
    if names == ["--markdown"]:
        print(report.markdown(report.Report.load(result)))
        return 0
    known = cases()
    unknown = [n for n in names if n not in known]
    if unknown:
        print(f"bench: no such case: {', '.join(unknown)}. There are: {' '.join(known)}", file=sys.stderr)
        return 2
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    shutil.rmtree(data, ignore_errors=True)
    data.mkdir(parents=True)
    try:
        return run(names or list(known), known, data, result)
    finally:
        shutil.rmtree(data, ignore_errors=True)


if __name__ == "__main__":
    sys.exit(main())
