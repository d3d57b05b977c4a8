"""The machine: what it is, what its disk does, what a process uses."""

import os
import platform
import re
import statistics
import subprocess
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def fdatasync_ms(folder):
    """The median of 200 synced writes of 4 kB."""
    path = Path(folder) / "probe"
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC, 0o600)
    times = []
    for i in range(200):
        os.pwrite(fd, b"x" * 4096, i * 4096)
        start = time.perf_counter()
        os.fdatasync(fd)
        times.append(time.perf_counter() - start)
    os.close(fd)
    path.unlink()
    return statistics.median(times) * 1000


def describe(folder):
    cpu = re.search(r"^model name\s*: (.*)$", Path("/proc/cpuinfo").read_text(), re.M)
    memory = re.search(r"^MemTotal:\s+(\d+)", Path("/proc/meminfo").read_text(), re.M)
    system = re.search(r'^PRETTY_NAME="?([^"\n]*)', Path("/etc/os-release").read_text(), re.M)
    run = lambda *c: subprocess.run(c, capture_output=True, text=True, cwd=ROOT).stdout.strip()  # noqa: E731
    return {
        "cpu": cpu.group(1) if cpu else platform.machine(),
        "cores": len(os.sched_getaffinity(0)),
        "memory_gb": round(int(memory.group(1)) / 2**20),
        "system": system.group(1) if system else "unknown",
        "kernel": platform.release(),
        "file_system": run("findmnt", "-n", "-o", "FSTYPE", "-T", str(folder)) or "unknown",
        "fdatasync_p50_ms": round(fdatasync_ms(folder), 3),
        "load_before": os.getloadavg()[0],
        "version": run("git", "describe", "--always", "--dirty") or "unknown",
    }


def rss_mb(pid):
    return int(re.search(r"VmRSS:\s+(\d+)", Path(f"/proc/{pid}/status").read_text()).group(1)) / 1024


def tasks(pid, thread=None):
    """The threads of a process, or those of that name."""
    for task in Path(f"/proc/{pid}/task").iterdir():
        try:
            if thread is None or (task / "comm").read_text().strip() == thread:
                yield task
        except FileNotFoundError:
            pass


def threads(pid, name):
    return sum(1 for _ in tasks(pid, name))


def cpu_s(pid, thread=None):
    """User and system seconds of a process, or of its threads of that name."""
    ticks = 0
    for task in tasks(pid, thread):
        try:
            fields = (task / "stat").read_text().rsplit(")", 1)[1].split()
            ticks += int(fields[11]) + int(fields[12])
        except FileNotFoundError:
            pass
    return ticks / os.sysconf("SC_CLK_TCK")


def pin(pid, core):
    subprocess.run(["taskset", "-a", "-p", "-c", str(core), str(pid)], check=True, stdout=subprocess.DEVNULL)


def percentile(values, q):
    return statistics.quantiles(values, n=100)[q - 1] if len(values) > 1 else values[0]
