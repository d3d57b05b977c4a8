"""RemoteWorkspace: commands on the server's side, as a program with the SDK runs them."""

import threading
import time

import pytest
from openhands.sdk import Workspace

from handsd import Handsd, processes_in


@pytest.fixture
def workspace(server, work):
    return Workspace(host=server.url, api_key=server.key, working_dir=str(work))


def test_a_command(workspace, work):
    result = workspace.execute_command("echo out; echo err >&2; exit 3", cwd=str(work))
    assert (result.stdout, result.stderr, result.exit_code, result.timeout_occurred) == ("out\n", "err\n", 3, False)
    assert result.command == "echo out; echo err >&2; exit 3"


def test_where_it_runs(workspace, work):
    assert workspace.execute_command("pwd", cwd=str(work)).stdout == f"{work}\n"
    assert workspace.execute_command("touch made", cwd=str(work)).exit_code == 0
    assert (work / "made").exists()
    result = workspace.execute_command("true", cwd="/nonexistent")
    assert result.exit_code == -1 and "/nonexistent" in result.stderr and not result.timeout_occurred


def test_long_output(workspace):
    result = workspace.execute_command("head -c 30000000 /dev/zero | tr '\\0' x; seq 200000 >&2", timeout=60)
    assert (len(result.stdout), result.exit_code) == (30000000, 0)
    assert result.stderr == "".join(f"{n}\n" for n in range(1, 200001))


def test_bytes_that_are_no_text(workspace):
    assert workspace.execute_command(r"printf 'a\377b\303\251'").stdout == "a\ufffdb\u00e9"


def test_a_timeout(workspace, work):
    """Client and server count the same seconds; whoever is first, the command is over."""
    began = time.monotonic()
    result = workspace.execute_command("echo begun; sleep 60", cwd=str(work), timeout=2)
    assert time.monotonic() - began < 10
    assert result.exit_code == -1 and result.timeout_occurred and "timed out" in result.stderr
    deadline = time.monotonic() + 10
    while processes_in(work):
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_many_at_once(workspace, work):
    said = {}

    def run(n):
        said[n] = workspace.execute_command(f"sleep 0.2; echo {n}", cwd=str(work)).stdout

    threads = [threading.Thread(target=run, args=(n,)) for n in range(10)]
    for one in threads:
        one.start()
    for one in threads:
        one.join(30)
    assert said == {n: f"{n}\n" for n in range(10)}


def test_alive(workspace):
    assert workspace.alive


def test_with_a_key(tmp_path, work):
    with Handsd(tmp_path / "data", key="a-key-for-the-check") as server:
        workspace = Workspace(host=server.url, api_key=server.key, working_dir=str(work))
        assert workspace.execute_command("echo in").stdout == "in\n"
        stranger = Workspace(host=server.url, api_key="another", working_dir=str(work))
        assert stranger.execute_command("echo in").exit_code == -1
