"""Servers for the raw-socket tests: each test runs against every one that is built."""

import os
import re
import select
import subprocess
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
START_SECONDS = 20


def commands(data):
    echo = Path(os.environ.get("HANDSD_NET_ECHO", ROOT / "build/tests/unit/net_echo"))
    handsd = Path(os.environ.get("HANDSD", ROOT / "build/handsd"))
    return {
        "fixture": (echo, [str(echo)]),
        "handsd": (handsd, [str(handsd), "serve", "--port", "0", "--legacy-port", "off", "--data", str(data)]),
    }


def pytest_generate_tests(metafunc):
    if "server" in metafunc.fixturenames:
        built = [name for name, (program, _) in commands("").items() if program.exists()]
        metafunc.parametrize("server", built, indirect=True, scope="session")


def wait_for_port(process):
    """The program prints one line per listener when it is ready."""
    text = b""
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        ready, _, _ = select.select([process.stdout], [], [], 0.5)
        if ready:
            piece = os.read(process.stdout.fileno(), 65536)
            text += piece
            found = re.search(rb"listening on http://([^:]+):(\d+) \((?:fixture|agent-server)\)", text)
            if found:
                return [found[1].decode(), int(found[2])]
            if not piece:
                break
    raise AssertionError(f"the server did not start: {text!r}")


@pytest.fixture(scope="session")
def server(request, tmp_path_factory):
    """[host, port] of a listening server that has GET /alive without a key."""
    _, command = commands(tmp_path_factory.mktemp("data"))[request.param]
    process = subprocess.Popen(command, stdout=subprocess.PIPE)
    try:
        yield wait_for_port(process)
    finally:
        process.terminate()
        try:
            status = process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            raise
    assert status == 0
