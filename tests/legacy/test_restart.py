"""The 0.53 API: what was shown of a conversation is shown for ever, byte for byte: after a restart, and after a crash."""

import json
import uuid

import httpx
import pytest
from handsd import Handsd, write_script
from talk import FINISH, Talk, call, run


def url_of(talk, rest):
    return f"/api/conversations/{uuid.UUID(talk.id).hex}/{rest}"


def pages(server, talk, limit=7, **query):
    """The texts of all pages."""
    texts, place = [], {}
    while True:
        answer = server.legacy.get(url_of(talk, "events"), params={"limit": limit, **query, **place})
        assert answer.status_code == 200, answer.text
        texts.append(answer.content)
        page = answer.json()
        if not page["has_more"]:
            return texts
        last = page["events"][-1]["id"]
        place = {"end_id": last - 1} if query.get("reverse") else {"start_id": last + 1}


def shown(server, talk):
    trajectory = server.legacy.get(url_of(talk, "trajectory"))
    assert trajectory.status_code == 200
    return trajectory.content, pages(server, talk), pages(server, talk, reverse="true")


def named(events, name):
    return [e for e in events if name in (e.get("action"), e.get("observation"))]


@pytest.fixture
def house(tmp_path):
    """house() → a server over the same data; the one before has ended."""
    running = []

    def start():
        running.append(Handsd(tmp_path / "data", scripts=tmp_path / "scripts").start())
        return running[-1]

    yield start
    for server in running:
        if server.process.poll() is None:
            server.stop()


AGENT = {
    "tools": [{"name": "terminal"}, {"name": "file_editor"}, {"name": "glob"}],
    "condenser": {"kind": "LLMSummarizingCondenser",
                  "llm": {"model": "scripted/summary", "api_key": "key", "usage_id": "condenser"}},
}


def worked(server, work):
    """A conversation with something of everything."""
    write_script(server.scripts, "summary", [{"text": "All of it was tried.", "repeat": True}])
    (work / "a.py").write_text("x\n")
    lines = [
        {"text": "Look.", "calls": [call("terminal", command="echo one; false"), call("glob", pattern="*.py", path=str(work))]},
        {"calls": [call("file_editor", command="create", path=str(work / "b.py"), file_text="y\n")]},
        {"calls": [call("file_editor", command="create", path=str(work / "b.py"), file_text="again\n")]},
        {"calls": [call("glob", wrong=1)]},
        {"calls": [call("think", thought="hm")]},
        {"text": "That is all."},
        run("echo two"),
        FINISH,
    ]
    talk = Talk(server, work, lines, agent_more=AGENT, confirmation_policy={"kind": "AlwaysConfirm"})
    with talk:
        status = talk.say()
        while status == "waiting_for_confirmation":
            assert talk.post("run").status_code == 200
            status = talk.until_over()
        assert status == "finished"
        assert httpx.post(f"{server.url}/api/conversations/{talk.id}/condense", timeout=60).status_code == 200
        talk.start("More.")
        assert talk.until_over() == "waiting_for_confirmation"
        assert talk.post("events/respond_to_confirmation", {"accept": False, "reason": "no"}).status_code == 200
        talk.until_kind("UserRejectObservation")
    return talk


def test_a_restart_changes_nothing(house, work):
    first = house()
    talk = worked(first, work)
    before = shown(first, talk)
    events = json.loads(before[0])["trajectory"]
    assert b"".join(before[1]) and [e for p in before[1] for e in json.loads(p)["events"]] == events
    assert [e for p in before[2] for e in json.loads(p)["events"]] == events[::-1]
    assert first.stop() == 0
    second = house()
    assert shown(second, talk) == before
    assert second.send(talk.id, "And on.").status_code == 200
    after = second.legacy.get(url_of(talk, "trajectory")).json()["trajectory"]
    assert after[:len(events)] == events and len(after) == len(events) + 1


def test_what_names_other_events(house, work):
    """The arguments that a result came of, and what a condensation forgets, stand in other events of the log."""
    server = house()
    events = json.loads(shown(server, worked(server, work))[0])["trajectory"]
    by_id = {e["id"]: e for e in events}
    results = named(events, "mcp")
    assert len(results) == 1
    for result in results:
        assert result["extras"] == {k: by_id[result["cause"]]["args"][k] for k in ("name", "arguments")}
    assert results[0]["extras"]["arguments"] == {"pattern": "*.py", "path": str(work)}
    [condensation] = named(events, "condensation")
    args = condensation["args"]
    assert args["forgotten_event_ids"] is None and args["summary"]
    start, end = args["forgotten_events_start_id"], args["forgotten_events_end_id"]
    assert named(events, "system")[0]["id"] < start <= end < condensation["id"]
    assert [e for e in events if start <= e["id"] <= end and e.get("action") == "run"]


def test_a_crash_only_adds(house, work):
    first = house()
    with Talk(first, work, [run("echo one"), {"calls": [call("glob", pattern="*"), call("terminal", command="sleep 1000")]}, FINISH],
              agent_more=AGENT) as talk:
        talk.start()
        talk.until(lambda e: e["kind"] == "ActionEvent" and "sleep" in json.dumps(e["action"]))
        before = first.legacy.get(url_of(talk, "trajectory")).json()["trajectory"]
    first.kill()
    second = house()
    assert second.send(talk.id, "What happened?").status_code == 200  # it is repaired before that
    after = second.legacy.get(url_of(talk, "trajectory")).json()["trajectory"]
    assert after[:len(before)] == before
    calls = [e["id"] for e in after if e.get("action") in ("run", "call_tool_mcp")]
    answered = [e["cause"] for e in after if "cause" in e]
    assert len(calls) == 3 and answered == calls
    whole = shown(second, talk)
    assert second.stop() == 0
    assert shown(house(), talk) == whole
