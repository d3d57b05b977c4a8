"""The agent's tools, from a model's call to what is in the log and in the files."""

import json
import os
import time
import uuid

import pytest
from websockets.sync.client import connect

from handsd import Handsd, write_script
from talk import FINISH, LATEST_S, Talk, call

AGENT_TOOLS = ["terminal", "file_editor", "task_tracker", "glob", "grep", "apply_patch"]


def talk_with(server, work, calls, *names):
    """A conversation whose model makes the calls, one an answer, and then finishes; its agent has the named tools."""
    script = f"t{uuid.uuid4().hex}"
    write_script(server.scripts, script, [*({"calls": [one]} for one in calls), FINISH])
    agent = {"kind": "Agent", "llm": {"model": f"scripted/{script}", "usage_id": "default"},
             "tools": [{"name": name} for name in names]}
    return Talk(server, work, model=f"scripted/{script}", agent=agent)


def observations(talk):
    return [e["observation"] for e in talk.events("ObservationEvent")][:-1]  # without that of finish


def text(observation):
    return "".join(c["text"] for c in observation["content"])


def test_they_are_listed(server):
    assert set(AGENT_TOOLS) <= set(server.http.get("/api/tools/").json())
    assert set(AGENT_TOOLS) <= set(server.http.get("/server_info").json()["usable_tools"])


def test_the_model_gets_them(server, work):
    with talk_with(server, work, [], *AGENT_TOOLS) as talk:
        assert talk.say() == "finished"
        [prompt] = talk.events("SystemPromptEvent")
        assert {"GlobTool", "GrepTool", "ApplyPatchTool", "TaskTrackerTool"} <= {t["kind"] for t in prompt["tools"]}


def test_glob_and_grep(server, work):
    (work / "src").mkdir()
    (work / ".git").mkdir()
    for age, name in enumerate(["src/new file.py", "src/old.py", "top.py", ".git/hook.py", "notes.txt"]):
        (work / name).write_text("import OS\n" if name.endswith("old.py") else "nothing\n")
        os.utime(work / name, (time.time() - 10 * age,) * 2)
    lines = [call("glob", pattern="*.py"), call("glob", pattern="src/*.py", path=str(work)),
             call("grep", pattern="import os$", include="*.py"), call("grep", pattern="(", path=str(work)),
             call("glob", pattern="*", path=str(work / "none"))]
    with talk_with(server, work, lines, "glob", "grep") as talk:
        assert talk.say() == "finished"
        everywhere, below, contents, invalid, nowhere = observations(talk)
    assert everywhere["files"] == [str(work / n) for n in ["src/new file.py", "src/old.py", "top.py"]]
    assert everywhere["search_path"] == str(work) and everywhere["truncated"] is False
    assert set(everywhere) == {"content", "is_error", "files", "pattern", "search_path", "truncated", "kind"}
    assert below["files"] == everywhere["files"][:2]
    assert contents["matches"] == [str(work / "src/old.py")] and contents["include_pattern"] == "*.py"
    assert str(work / "src/old.py") in text(contents)
    assert invalid["is_error"] and invalid["matches"] == [] and "Invalid `pattern`" in text(invalid)
    assert nowhere["is_error"] and "not a directory" in text(nowhere)


def test_apply_patch(server, work):
    (work / "a.py").write_text("one\ntwo\nthree\n")
    (work / "script.sh").write_text("echo\r\n")
    (work / "script.sh").chmod(0o755)
    patch = ("*** Begin Patch\n*** Update File: a.py\n@@\n one\n-two\n+2\n three\n*** Add File: new/b.py\n+b\n"
             "*** Update File: script.sh\n*** Move to: bin/script.sh\n@@\n-echo\n+echo hello\n*** End Patch")
    failing = ("*** Begin Patch\n*** Update File: a.py\n@@\n-one\n+1\n*** Delete File: missing\n*** End Patch")
    outside = "*** Begin Patch\n*** Add File: ../escaped\n+x\n*** End Patch"
    with talk_with(server, work, [call("apply_patch", patch=p) for p in (patch, failing, outside)], "apply_patch") as talk:
        assert talk.say() == "finished"
        done, failed, refused = observations(talk)
    assert done["is_error"] is False and done["fuzz"] == 0 and done["message"] == text(done)
    assert done["commit"]["changes"] == {
        "a.py": {"type": "update", "old_content": "one\ntwo\nthree\n", "new_content": "one\n2\nthree\n"},
        "new/b.py": {"type": "add", "new_content": "b\n"},
        "script.sh": {"type": "update", "old_content": "echo\r\n", "new_content": "echo hello\r\n",
                      "move_path": "bin/script.sh"},
    }
    assert (work / "a.py").read_text() == "one\n2\nthree\n"
    assert (work / "new/b.py").read_text() == "b\n"
    assert (work / "bin/script.sh").read_bytes() == b"echo hello\r\n"
    assert (work / "bin/script.sh").stat().st_mode & 0o777 == 0o755
    assert not (work / "script.sh").exists()
    assert failed["is_error"] and "missing" in text(failed) and "commit" not in failed
    assert refused["is_error"] and "out of the working directory" in text(refused)
    files = {str(p.relative_to(work)) for p in work.rglob("*") if p.is_file()}
    assert {f for f in files if not f.startswith(".git/")} == {"a.py", "new/b.py", "bin/script.sh"}
    assert not (work.parent / "escaped").exists()


def run_again(server, conversation):
    """Another message, and the end of the run that it starts."""
    with connect(server.socket_url(conversation), max_size=2**20) as socket:
        json.loads(socket.recv(LATEST_S))  # the state at attach
        assert server.send(conversation, "And now?", run=True).status_code == 200
        while True:
            event = json.loads(socket.recv(LATEST_S))
            if event.get("key") == "full_state" and event["value"]["execution_status"] != "running":
                return event["value"]["execution_status"]


def test_task_list_outlives_the_server(tmp_path, work):
    tasks = [{"title": "First", "status": "done"}, {"title": "Second", "notes": "with care", "status": "in_progress"}]
    whole = [{"title": "First", "notes": "", "status": "done"}, tasks[1]]
    finish = FINISH["calls"][0]
    calls = [call("task_tracker", command="plan", task_list=tasks), finish, call("task_tracker")]
    with Handsd(tmp_path / "data", scripts=tmp_path / "scripts") as server:
        with talk_with(server, work, calls, "TaskTrackerTool") as talk:
            assert talk.say() == "finished"
            [planned] = observations(talk)
        assert planned["command"] == "plan" and planned["task_list"] == whole and "2 items" in text(planned)
        server.kill()
        server.start()
        assert run_again(server, talk.id) == "finished"
        viewed = observations(talk)[2]
    assert viewed["command"] == "view" and viewed["task_list"] == whole
    assert "1. [x] First" in text(viewed) and "2. [>] Second\n   with care" in text(viewed)


@pytest.mark.parametrize("arguments, why", [
    ({"command": "plan", "task_list": [{"notes": "no title"}]}, "title"),
    ({"command": "plan", "task_list": "soon"}, "task_list"),
    ({"command": "draw"}, "command"),
])
def test_wrong_tasks_are_explained(server, work, arguments, why):
    with talk_with(server, work, [call("task_tracker", **arguments)], "task_tracker") as talk:
        assert talk.say() == "finished"
        [error] = talk.events("AgentErrorEvent")
        assert why in error["error"] and error["error"].startswith("Error validating tool 'task_tracker'")
