"""RemoteWorkspace: commands on the server's side, as a program with the SDK runs them."""

import subprocess
import threading
import time

import pytest
from openhands.sdk import Workspace
from openhands.sdk.git.models import GitChangeStatus

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


def test_a_file_there_and_back(workspace, work, tmp_path):
    content = bytes(range(256)) * 40000  # 10 MB of anything
    source, back = tmp_path / "source", tmp_path / "back"
    source.write_bytes(content)
    target = work / "a folder" / "näme with spaces & more.bin"
    sent = workspace.file_upload(source, target)
    assert sent.success and not sent.error and target.read_bytes() == content
    got = workspace.file_download(target, back)
    assert got.success and not got.error and back.read_bytes() == content and got.file_size == len(content)
    for wrong in (work / "missing", work):
        assert not workspace.file_download(wrong, tmp_path / "nothing").success


def test_git(workspace, work):
    def git(*arguments):
        subprocess.run(["git", "-c", "user.name=check", "-c", "user.email=check@localhost", *arguments], cwd=work, check=True,
                       stdout=subprocess.DEVNULL)

    git("init", "-b", "main")
    (work / "kept.txt").write_text("one\n")
    (work / "gone.txt").write_text("x\n")
    git("add", ".")
    git("commit", "-m", "first")
    (work / "kept.txt").write_text("one\ntwo\n")
    (work / "gone.txt").unlink()
    (work / "new file.txt").write_text("new\n")
    changes = {str(change.path): change.status for change in workspace.git_changes(work)}
    assert changes == {"kept.txt": GitChangeStatus.UPDATED, "gone.txt": GitChangeStatus.DELETED, "new file.txt": GitChangeStatus.ADDED}
    changed, new = workspace.git_diff(work / "kept.txt"), workspace.git_diff(work / "new file.txt")
    assert (changed.original, changed.modified) == ("one", "one\ntwo")
    assert (new.original, new.modified) == ("", "new")


def test_no_repository(workspace, work):
    assert workspace.git_changes(work) == []


def test_skills_of_a_project(workspace, work):
    if not hasattr(workspace, "load_skills_from_agent_server"):
        pytest.skip("this version of the client cannot ask for skills")
    (work / "AGENTS.md").write_text("Tabs, not spaces.\n")
    one = work / ".agents" / "skills" / "knit" / "SKILL.md"
    one.parent.mkdir(parents=True)
    one.write_text("---\nname: knit\ndescription: Knits socks.\ntriggers: [wool]\n---\nKnit two, purl two.\n")
    skills, context = workspace.load_skills_from_agent_server(load_public=False, load_user=False, load_org=False)
    found = {skill.name: skill for skill in skills}
    assert set(found) == {"agents", "knit"} and context.skills == skills
    assert "Tabs, not spaces." in found["agents"].content
    assert found["knit"].description == "Knits socks." and found["knit"].is_agentskills_format
    assert found["knit"].trigger.keywords == ["wool"] and "purl two" in found["knit"].content


def test_a_command_that_is_watched_and_stopped(workspace, work):
    if not hasattr(workspace, "stop_command"):
        pytest.skip("this version of the client cannot stop a command")
    command = workspace.start_command("head -c 2000000 /dev/zero | tr '\\0' x; setsid sleep 300", cwd=str(work), timeout=600)
    deadline = time.monotonic() + 10
    while not workspace.get_command_output(command):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    assert workspace.get_command_output(command)["exit_code"] is None and processes_in(work)
    workspace.stop_command(command)
    while workspace.get_command_output(command)["exit_code"] is None:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    assert not processes_in(work) and "stopped" in workspace.get_command_output(command)["stderr"]
    workspace.stop_command(command)  # again: it has ended, which is what was wanted


def test_alive(workspace):
    assert workspace.alive


def test_with_a_key(tmp_path, work):
    with Handsd(tmp_path / "data", key="a-key-for-the-check") as server:
        workspace = Workspace(host=server.url, api_key=server.key, working_dir=str(work))
        assert workspace.execute_command("echo in").stdout == "in\n"
        stranger = Workspace(host=server.url, api_key="another", working_dir=str(work))
        assert stranger.execute_command("echo in").exit_code == -1
