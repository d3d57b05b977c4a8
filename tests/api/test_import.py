"""handsd import: what the Python server stored is there, whole, and goes on; what is broken harms nothing else."""

import json
import os
import re
import shutil
import subprocess
import time
import uuid
from pathlib import Path

import pytest

from handsd import HANDSD, Handsd, write_script

STORED = Path(__file__).parent / "stored"
ID = "0badcafe0badcafe0badcafe0badcafe"
DASHED = str(uuid.UUID(ID))
BEFORE = [{"text": "an answer that the log has already"}]  # of a script: its next line is the next answer
KEPT = {k: v for k, v in os.environ.items() if not k.startswith(("OH_", "SESSION_API", "LLM_", "OPENAI_", "OPENHANDS_"))}


def handsd(*args, env=None, timeout=100):
    return subprocess.run([HANDSD, *map(str, args)], env={**KEPT, **(env or {})}, timeout=timeout, capture_output=True, text=True)


def take(folder, data, status=0, env=None):
    """Imports; answers what was printed."""
    done = handsd("import", folder, "--data", data, env=env)
    assert done.returncode == status, done.stdout + done.stderr
    return done.stdout + done.stderr


def ident(n):
    return f"00000000-0000-4000-8000-{n:012x}"


@pytest.fixture
def folder(tmp_path):
    """A conversations folder of one's own, to be spoiled."""
    shutil.copytree(STORED, tmp_path / "stored")
    return tmp_path / "stored"


@pytest.fixture
def one(folder):
    return folder / ID


@pytest.fixture
def data(tmp_path):
    return tmp_path / "data"


def change(path, **members):
    value = json.loads(path.read_text())
    for name, given in members.items():
        value.pop(name, None)
        if given is not None:
            value[name] = given
    path.write_text(json.dumps(value))


def event_files(one):
    return sorted((one / "events").glob("event-*.json"))


def add(one, *events):
    """Puts events behind those that are there."""
    n = len(event_files(one))
    for i, event in enumerate(events, n):
        event = {"id": ident(i + 1), "timestamp": f"2026-03-01T08:{i // 60:02d}:{i % 60:02d}.500000", **event}
        (one / "events" / f"event-{i:05d}-{event['id']}.json").write_text(json.dumps(event, separators=(",", ":")))


def action(call, parent, command="dig", **more):
    return {"source": "agent", "parent_id": parent, "thought": [], "action": {"command": command, "is_input": False, "reset": False, "kind": "TerminalAction"},
            "tool_name": "terminal", "tool_call_id": call, "tool_call": {"id": call, "name": "terminal", "arguments": json.dumps({"command": command}), "origin": "completion"},
            "llm_response_id": "r2", "kind": "ActionEvent", **more}


def message(text, parent, **more):
    return {"source": "user", "parent_id": parent, "llm_message": {"role": "user", "content": [{"type": "text", "text": text}]}, "kind": "MessageEvent", **more}


# ---- a whole one


def test_all_of_it_is_there(folder, one, data):
    assert "imported 1 (5 events)" in take(folder, data)
    files = [path.read_text() for path in event_files(one)]
    with Handsd(data) as server:
        info = server.http.get(f"/api/conversations/{DASHED}").json()
        assert info["title"] == "The garden" and info["tags"] == {"season": "spring"}
        assert info["created_at"] == "2026-03-01T08:00:00.000000Z" and info["updated_at"] == "2026-03-01T08:05:00.500000Z"
        assert info["execution_status"] == "finished" and info["max_iterations"] == 40
        assert info["confirmation_policy"] == {"kind": "AlwaysConfirm"} and info["activated_knowledge_skills"] == ["soil"]
        assert info["last_user_message_id"] == ident(2) and info["leaf_event_id"] == ident(5)
        assert info["workspace"]["working_dir"] == "/tmp/garden" and list(info["secret_registry"]["secret_sources"]) == ["GATE"]
        usage = info["stats"]["usage_to_metrics"]["agent"]
        assert usage["accumulated_cost"] == 0.25
        tokens = usage["accumulated_token_usage"]
        assert [tokens[k] for k in ("prompt_tokens", "completion_tokens", "cache_read_tokens", "reasoning_tokens", "context_window")] == [120, 30, 20, 5, 8192]
        page = server.http.get(f"/api/conversations/{DASHED}/events/search").text
        assert all(text in page for text in files), "an event was not kept as it was"
        assert [e["id"] for e in server.events(DASHED)] == [ident(n) for n in range(1, 6)]
        assert server.http.get(f"/api/conversations/{DASHED}/events/count", params={"body": "TULIPS"}).json() == 2
        assert server.http.get(f"/api/conversations/{DASHED}/agent_final_response").json()["response"] == "The tulips are watered."


def test_it_goes_on(folder, one, data, tmp_path):
    work = tmp_path / "work"
    change(one / "meta.json", workspace={"working_dir": str(work), "kind": "LocalWorkspace"})
    change(one / "base_state.json", confirmation_policy={"kind": "NeverConfirm"})
    take(folder, data)
    write_script(tmp_path / "scripts", "garden", [*BEFORE, {"calls": [{"name": "finish", "arguments": {"message": "Done."}}]}])
    with Handsd(data, scripts=tmp_path / "scripts") as server:
        assert server.send(DASHED, "And the roses.", run=True).status_code == 200
        answer = wait_status(server, "finished")
        kinds = [e["kind"] for e in answer if e["kind"] != "ConversationStateUpdateEvent"]
        assert kinds[5:] == ["MessageEvent", "ActionEvent", "ObservationEvent"] and kinds.count("SystemPromptEvent") == 1
        first = next(e for e in answer[5:] if e["kind"] == "MessageEvent")
        assert first["parent_id"] == ident(5) and first["timestamp"] > "2026-03-01T08:00:04.500000"


def wait_status(server, status):
    """The log once the run has ended."""
    end = time.monotonic() + 20
    while server.http.get(f"/api/conversations/{DASHED}").json()["execution_status"] != status and time.monotonic() < end:
        time.sleep(0.02)
    assert server.http.get(f"/api/conversations/{DASHED}").json()["execution_status"] == status
    return server.events(DASHED)


def test_twice_and_one_folder(folder, one, data):
    assert "imported 1" in take(one, data)
    again = take(folder, data)
    assert "skipped" in again and "imported 0, skipped 1" in again


def test_a_server_has_the_directory(folder, data):
    with Handsd(data) as server:
        said = take(folder, data, 1)
        assert server.url in said and "stop it" in said
        assert server.http.get("/api/conversations/count").json() == 0


def test_what_is_no_conversation(tmp_path, data):
    (tmp_path / "empty" / "photos").mkdir(parents=True)
    assert "has no conversations" in take(tmp_path / "empty", data, 1)
    assert handsd("import", tmp_path / "nowhere", "--data", tmp_path / "unmade").returncode == 1
    assert not (tmp_path / "unmade").exists()
    assert handsd("import").returncode == 2


# ---- secrets


# "rusty-hinge" as the reference seals it: Fernet under SHA-256 of the key's text.
SEALED = {"the old key": "gAAAAABrAm7e-NhEmaHcKBwKJUzdMFOHeBWKDw4nddTGoi5hFqHjyo9wT2Fj4YZl5lxQBEwdnLA13aQh3m9hhDWZQcAG8nPRyg==",
          "a lost key": "gAAAAABrAm7ex3pu4hnUep4SShWmG475oP9z7I3YEGBYo4W_UcVhHp7ijWpe3MASCYPjBTFUfCatWtbrgpmtSyKE2W20-AM2VA=="}


def with_secret(one, key, command, tmp_path):
    change(one / "base_state.json", confirmation_policy={"kind": "NeverConfirm"},
           secret_registry={"secret_sources": {"GATE": {"kind": "StaticSecret", "value": SEALED[key]}}})
    change(one / "meta.json", workspace={"working_dir": str(tmp_path / "work"), "kind": "LocalWorkspace"})
    (tmp_path / "work").mkdir()
    write_script(tmp_path / "scripts", "garden", [*BEFORE, {"calls": [{"name": "terminal", "arguments": {"command": command}}]},
                                                  {"calls": [{"name": "finish", "arguments": {"message": "Done."}}]}])


@pytest.mark.parametrize("variable", ["OH_SECRET_KEY", "SESSION_API_KEY"])
def test_secrets_are_sealed_anew(folder, one, data, tmp_path, variable):
    with_secret(one, "the old key", "echo ${#GATE}", tmp_path)
    take(folder, data, env={variable: "the old key"})
    # What opens them now is the key of the data directory, or the configured one.
    env = {"OH_SECRET_KEY": "the old key"} if variable == "OH_SECRET_KEY" else {}
    with Handsd(data, scripts=tmp_path / "scripts", env=env) as server:
        server.send(DASHED, "Open the gate.", run=True)
        results = [e["observation"]["content"][0]["text"] for e in wait_status(server, "finished") if e["kind"] == "ObservationEvent"]
        assert results[1].startswith("11")
    assert b"rusty-hinge" not in (data / "handsd.db").read_bytes()


def test_what_no_key_opens(folder, one, data, tmp_path):
    with_secret(one, "a lost key", "true", tmp_path)
    said = take(folder, data)
    assert "imported 1" in said and "GATE" in said
    with Handsd(data, scripts=tmp_path / "scripts") as server:
        assert len(server.events(DASHED)) == 5
        server.send(DASHED, "Open the gate.", run=True)
        log = wait_status(server, "error")
        assert any("GATE" in e.get("detail", "") for e in log if e["kind"] == "ConversationErrorEvent")
        server.http.post(f"/api/conversations/{DASHED}/secrets", json={"secrets": {"GATE": "new"}}).raise_for_status()
        server.http.post(f"/api/conversations/{DASHED}/run").raise_for_status()
        wait_status(server, "finished")


# ---- logs that are not as they should be


def log_of(data):
    with Handsd(data) as server:
        return server.http.get(f"/api/conversations/{DASHED}").json(), server.events(DASHED)


def test_a_call_that_was_under_way(folder, one, data):
    add(one, action("call_b", ident(5)), action("call_c", ident(6), "plant"))
    change(one / "base_state.json", execution_status="running", leaf_event_id=ident(7))
    assert "2 calls had no result" in take(folder, data)
    info, log = log_of(data)
    assert info["execution_status"] == "error" and len(log) == 9
    assert [(e["kind"], e["tool_call_id"]) for e in log[7:]] == [("AgentErrorEvent", "call_b"), ("AgentErrorEvent", "call_c")]
    assert log[7]["parent_id"] == ident(7) and log[8]["parent_id"] == log[7]["id"] == log[8]["parent_id"]
    assert info["leaf_event_id"] == log[8]["id"]


def test_a_call_that_waits_for_confirmation(folder, one, data, tmp_path):
    add(one, action("call_b", ident(5), "touch done"))
    change(one / "base_state.json", execution_status="waiting_for_confirmation", leaf_event_id=ident(6))
    change(one / "meta.json", workspace={"working_dir": str(tmp_path / "work"), "kind": "LocalWorkspace"})
    take(folder, data)
    (tmp_path / "work").mkdir()
    write_script(tmp_path / "scripts", "garden", [*BEFORE, {"calls": [{"name": "finish", "arguments": {"message": "Done."}}]}])
    with Handsd(data, scripts=tmp_path / "scripts") as server:
        assert server.http.get(f"/api/conversations/{DASHED}").json()["execution_status"] == "waiting_for_confirmation"
        assert not (tmp_path / "work" / "done").exists() and len(server.events(DASHED)) == 6
        server.http.post(f"/api/conversations/{DASHED}/events/respond_to_confirmation", json={"accept": True}).raise_for_status()
        wait_status(server, "finished")
        assert (tmp_path / "work" / "done").exists()


def test_a_torn_event(folder, one, data):
    last = event_files(one)[-1]
    last.write_text(last.read_text()[:100])
    said = take(folder, data)
    assert "could not be read" in said and last.name in said
    info, log = log_of(data)
    assert [e["id"] for e in log] == [ident(n) for n in range(1, 5)] and info["leaf_event_id"] == ident(4)


def test_a_gap_a_repetition_and_disorder(folder, one, data):
    first, *_, last = event_files(one)
    event_files(one)[2].unlink()
    shutil.copy(last, one / "events" / last.name.replace("00004", "00005"))
    (one / "events" / "event-00007-not-an-id.json").write_text("{}")
    (one / "events" / "notes.txt").write_text("hello")
    os.utime(first)
    said = take(folder, data)
    assert "1 is missing" in said and "1 was there twice" in said
    info, log = log_of(data)
    assert [e["id"] for e in log] == [ident(n) for n in (1, 2, 4, 5)] and info["leaf_event_id"] == ident(5)


def test_times_that_do_not_grow(folder, one, data):
    add(one, message("later", ident(5), timestamp="2026-03-01T08:00:00"), message("last", ident(6), timestamp="2026-03-01T08:00:00.000000", id=ident(7)))
    change(one / "base_state.json", leaf_event_id=ident(7))
    take(folder, data)
    stamps = [e["timestamp"] for e in log_of(data)[1]]
    assert stamps == sorted(set(stamps)) and {len(s) for s in stamps} == {26}
    assert stamps[5:] == ["2026-03-01T08:00:04.500001", "2026-03-01T08:00:04.500002"]


def test_nulls_lines_and_strangers(folder, one, data):
    """Nulls go, an event is one line, and a kind that is not known stays as it is."""
    add(one, message("hm", ident(5), sender=None), {"source": "agent", "parent_id": ident(6), "petals": [1.5, 12345678901234567890123], "kind": "BloomEvent"})
    pretty = event_files(one)[5]
    pretty.write_text(json.dumps(json.loads(pretty.read_text()), indent=2))
    change(one / "base_state.json", leaf_event_id=ident(7))
    assert "1 is of a kind" in take(folder, data)
    with Handsd(data) as server:
        info, log = server.http.get(f"/api/conversations/{DASHED}").json(), server.events(DASHED)
        assert "sender" not in log[5] and log[5]["llm_message"]["content"][0]["text"] == "hm"
        assert log[6]["kind"] == "BloomEvent" and log[6]["petals"] == [1.5, 12345678901234567890123] and info["leaf_event_id"] == ident(7)
        assert server.http.get(f"/api/conversations/{DASHED}/events/{ident(7)}").json()["kind"] == "BloomEvent"
        assert "\n" not in server.http.get(f"/api/conversations/{DASHED}/events/search").text


def test_branches(folder, one, data, tmp_path):
    """A conversation that went back: what a model is shown is the way to the leaf, and nothing else."""
    add(one, action("call_b", ident(2), "weed"), message("other way", ident(2)), message("and on", ident(7)), message("aside", ident(3)))
    change(one / "base_state.json", leaf_event_id=ident(8), execution_status="idle", confirmation_policy={"kind": "NeverConfirm"})
    change(one / "meta.json", workspace={"working_dir": str(tmp_path / "work"), "kind": "LocalWorkspace"})
    assert "no result" not in take(folder, data)  # the open call is not on the way
    write_script(tmp_path / "scripts", "garden", [*BEFORE, {"calls": [{"name": "finish", "arguments": {"message": "Done."}}]}])
    with Handsd(data, scripts=tmp_path / "scripts") as server:
        assert server.http.get(f"/api/conversations/{DASHED}").json()["leaf_event_id"] == ident(8)
        server.send(DASHED, "go", run=True)
        log = wait_status(server, "finished")
        sent = next(e for e in log[9:] if e["kind"] == "MessageEvent")
        assert sent["parent_id"] == ident(8)


def test_logs_of_before_the_tree(folder, one, data):
    """No parents, no leaf: each event follows the one before; an error at the end is not where the conversation stands."""
    for path in event_files(one):
        change(path, parent_id=None)
    change(one / "base_state.json", leaf_event_id=None)
    add(one, {"source": "environment", "code": "X", "detail": "y", "kind": "ConversationErrorEvent"})
    take(folder, data)
    info, log = log_of(data)
    assert info["leaf_event_id"] == ident(5) and len(log) == 6


# ---- what a stranger may try


def test_links_and_odd_files(folder, one, data, tmp_path):
    outside = tmp_path / "outside"
    shutil.move(one / "events", outside)
    (one / "events").symlink_to(outside)
    assert "symbolic link" in take(folder, data, 1)
    (one / "events").unlink()
    shutil.copytree(outside, one / "events")
    target = event_files(one)[4]
    shutil.move(target, tmp_path / "secret.json")
    target.symlink_to(tmp_path / "secret.json")
    os.mkfifo(one / "events" / f"event-00005-{ident(6)}.json")
    said = take(folder, data)
    assert "2 could not be read" in said
    assert len(log_of(data)[1]) == 4
    (folder / "linked").symlink_to(one)
    assert "symbolic link" in take(folder, data, 1)


@pytest.mark.parametrize("spoil, why", [
    (lambda one: (one / "base_state.json").unlink(), "base_state.json"),
    (lambda one: (one / "base_state.json").write_text("{"), "base_state.json"),
    (lambda one: change(one / "base_state.json", agent=None), "no agent"),
    (lambda one: change(one / "base_state.json", id="me"), "no id"),
    (lambda one: change(one / "meta.json", id=ident(1)), "two conversations"),
    (lambda one: (change(one / "base_state.json", workspace=None), change(one / "meta.json", workspace=None)), "no workspace"),
    (lambda one: (one / "meta.json").write_text("[]"), "meta.json"),
    (lambda one: (one / "base_state.json").write_text("[" * 100000), "base_state.json"),
    (lambda one: change(one / "base_state.json", execution_status="deleting"), "deleted"),
])
def test_a_broken_one_does_not_stop_the_others(folder, one, data, spoil, why):
    other = folder / "1badcafe0badcafe0badcafe0badcafe"
    shutil.copytree(one, other)
    change(other / "base_state.json", id=str(uuid.UUID(other.name)))
    change(other / "meta.json", id=other.name)
    spoil(one)
    said = take(folder, data, 1)
    assert why in said and "imported 1, failed 1" in said
    with Handsd(data) as server:
        assert [c["id"] for c in server.http.get("/api/conversations/search").json()["items"]] == [str(uuid.UUID(other.name))]


def test_types_that_are_wrong_everywhere(folder, one, data):
    """Whatever a member is made of, the answer is an import or a reason."""
    files = {name: json.loads((one / name).read_text()) for name in ("base_state.json", "meta.json")}
    made = 0
    for name, whole in files.items():
        for member in [*whole, "hook_config", "security_analyzer", "client_tools"]:
            for value in (None, -1.5, "x", [], [{"a": []}], {}, {"a": {"b": 1}}):
                made += 1
                copy = folder / f"{made:032x}"
                (copy / "events").mkdir(parents=True)
                shutil.copy(event_files(one)[0], copy / "events")
                for other, content in files.items():
                    same = {"id": str(uuid.UUID(copy.name))}
                    (copy / other).write_text(json.dumps({**content, **same, **({member: value} if other == name else {})}))
    done = handsd("import", folder, "--data", data)
    assert done.returncode == 1, done.stderr
    sums = re.search(r"imported (\d+), failed (\d+)", done.stdout)
    assert int(sums[1]) + int(sums[2]) == made + 1 and int(sums[2]) < 40, done.stdout
    with Handsd(data) as server:  # all of them can be read
        assert server.http.get("/api/conversations/count").json() == int(sums[1])
        page = None
        while page := page or "first":
            answer = server.http.get("/api/conversations/search", params={"limit": 100, **({} if page == "first" else {"page_id": page})})
            assert answer.status_code == 200
            page = answer.json()["next_page_id"]
            if not page:
                break


# ---- large ones


def test_a_huge_event(folder, one, data):
    text = "grass " * 18_000_000
    add(one, message("x" * 2_000_000, ident(5)), message(text, ident(6)))
    change(one / "base_state.json", leaf_event_id=ident(7))
    assert "1 was too large and is shortened" in take(folder, data)
    info, log = log_of(data)
    assert info["leaf_event_id"] == ident(7) and len(log) == 7
    shown = log[6]["llm_message"]["content"][0]["text"]
    assert shown.startswith("grass grass") and 100_000 < len(shown) < 900_000


def test_ten_thousand_events(folder, one, data):
    add(one, *[message(f"row {n}", ident(n)) for n in range(5, 10_005)])
    change(one / "base_state.json", leaf_event_id=ident(10_005))
    assert "imported 1 (10005 events)" in take(folder, data)
    with Handsd(data) as server:
        assert server.http.get(f"/api/conversations/{DASHED}/events/count").json() == 10_005
        assert server.http.get(f"/api/conversations/{DASHED}").json()["leaf_event_id"] == ident(10_005)


def test_killed_in_the_middle(folder, one, data):
    """Nothing half-imported is seen, and the next import has all of it."""
    add(one, *[message(f"row {n}", ident(n)) for n in range(5, 10_005)])
    change(one / "base_state.json", leaf_event_id=ident(10_005))
    process = subprocess.Popen([HANDSD, "import", str(folder), "--data", str(data)], env=KEPT, stdout=subprocess.DEVNULL)
    wal = data / "handsd.db-wal"
    while process.poll() is None and not (wal.exists() and wal.stat().st_size > 2_000_000):
        pass
    process.kill()
    killed = process.wait() != 0
    with Handsd(data) as server:
        assert server.http.get("/api/conversations/count").json() == (0 if killed else 1)
    assert "10005 events" in take(folder, data) or not killed


# ---- export


def exported(to):
    return {str(path.relative_to(to)): path.read_text() for path in sorted(to.rglob("*")) if path.is_file()}


def test_export_gives_back_what_came(folder, one, data, tmp_path):
    """The same from the database and from the server that has it; and it can be imported again."""
    take(folder, data)
    done = handsd("export", DASHED, "--data", data, "--to", tmp_path / "out")
    assert done.returncode == 0 and done.stdout.strip() == str(tmp_path / "out" / ID)
    out = tmp_path / "out" / ID
    assert {p.name: p.read_bytes() for p in event_files(out)} == {p.name: p.read_bytes() for p in event_files(one)}
    meta, state = json.loads((out / "meta.json").read_text()), json.loads((out / "base_state.json").read_text())
    assert meta["title"] == "The garden" and meta["id"] == ID and meta["created_at"] == "2026-03-01T08:00:00.000000Z"
    assert state["leaf_event_id"] == ident(5) and state["agent"]["llm"]["model"] == "scripted/garden"
    with Handsd(data):
        assert handsd("export", "--all", "--data", data, "--to", tmp_path / "served").returncode == 0
    assert exported(tmp_path / "served") == exported(tmp_path / "out")
    assert "imported 1 (5 events)" in take(tmp_path / "served", tmp_path / "other")
    assert handsd("export", "--all", "--data", tmp_path / "other", "--to", tmp_path / "third").returncode == 0
    assert {k: v for k, v in exported(tmp_path / "third").items() if "events" in k} == {k: v for k, v in exported(tmp_path / "out").items() if "events" in k}


def test_export_shows_no_secret(folder, one, data, tmp_path):
    with_secret(one, "the old key", "true", tmp_path)
    take(folder, data, env={"OH_SECRET_KEY": "the old key"})
    assert handsd("export", ID, "--data", data, "--to", tmp_path / "out", env={"OH_SECRET_KEY": "the old key"}).returncode == 0
    assert not any("rusty-hinge" in text or "gAAAA" in text for text in exported(tmp_path / "out").values())


def test_what_export_refuses(folder, one, data, tmp_path):
    take(folder, data)
    out = tmp_path / "out"
    (out / ID).mkdir(parents=True)
    again = handsd("export", ID, "--data", data, "--to", out)
    assert again.returncode == 1 and "there already" in again.stderr and os.listdir(out) == [ID]
    assert handsd("export", ident(9), "--data", data, "--to", tmp_path / "none").returncode == 1
    assert os.listdir(tmp_path / "none") == []  # nothing of the attempt
    for wrong in (["export"], ["export", "me"], ["export", "0ba"], ["export", ID, "--all"]):
        assert handsd(*wrong, "--data", data).returncode == 2


def test_export_of_what_is_meant(folder, one, data, tmp_path):
    """The first digits of an id, as long as they are those of one, and `last`; from the database and from a server."""
    other = ident(1).replace("-", "")
    like = ID[:8] + other[8:]
    for new, month in ((other, 4), (like, 2)):
        shutil.copytree(one, folder / new)
        change(folder / new / "meta.json", id=new, updated_at=f"2026-{month:02}-01T08:00:00Z")
        change(folder / new / "base_state.json", id=new)
    take(folder, data)

    def export(text, to):
        done = handsd("export", text, "--data", data, "--to", tmp_path / to)
        return (os.listdir(tmp_path / to) if (tmp_path / to).exists() else []), done.returncode, done.stderr

    def check(source):
        assert export(other[:4], f"{source}1") == ([other], 0, "")
        assert export(DASHED[:14].upper(), f"{source}2") == ([ID], 0, "")
        assert export("last", f"{source}3") == ([other], 0, "")
        found, status, said = export(ID[:6], f"{source}4")
        assert found == [] and status == 1 and "several conversations begin with" in said
        found, status, said = export("beef", f"{source}5")
        assert found == [] and status == 1 and "there is no conversation whose id begins with beef" in said

    check("stored")
    with Handsd(data):
        check("served")


def test_on_port_3000_a_result_names_its_action(folder, one, data):
    """An imported log has what the 0.53 API needs to know of it; so has the end of a call that was open."""
    event_files(one)[-2].unlink()  # the result
    event_files(one)[-1].unlink()
    change(one / "base_state.json", leaf_event_id=None)
    take(folder, data)
    take(STORED, data.parent / "whole")
    for place, kind in ((data, "error"), (data.parent / "whole", "run")):
        with Handsd(place) as server:
            seen = server.legacy.get(f"/api/conversations/{ID}/events").json()["events"]
            action = next(e for e in seen if e.get("action") == "run")
            assert [e["observation"] for e in seen if e.get("cause") == action["id"]] == [kind]
