"""The 0.53 API: a conversation's events in its terms, and what a client does by them."""

import uuid

import pytest
from talk import FINISH, Talk, call, run

LOOK = {"text": "Let me look.", "calls": [call("terminal", command="echo hi; false", timeout=20)]}


def path_of(talk, rest="events"):
    return f"/api/conversations/{uuid.UUID(talk.id).hex}/{rest}"


def events_of(server, talk, **query):
    answer = server.legacy.get(path_of(talk), params={"limit": 100, **query})
    assert answer.status_code == 200, answer.text
    return answer.json()["events"]


def named(events, name):
    return [e for e in events if name in (e.get("action"), e.get("observation"))]


def states(events):
    return [e["extras"]["agent_state"] for e in named(events, "agent_state_changed")]


def post(server, talk, event):
    return server.legacy.post(path_of(talk), json=event)


def change(server, talk, state):
    return post(server, talk, {"action": "change_agent_state", "args": {"agent_state": state}})


def say(server, talk, text="hello", **args):
    answer = post(server, talk, {"action": "message", "args": {"content": text, **args}})
    assert answer.status_code == 200 and answer.json() == {"success": True}, answer.text


# ---- what is shown ----


def test_a_conversation(server, work):
    file = str(work / "a.txt")
    lines = [
        LOOK,
        {"calls": [call("file_editor", command="create", path=file, file_text="one\ntwo\n")]},
        {"calls": [call("file_editor", command="str_replace", path=file, old_str="two", new_str="zwei")]},
        {"calls": [call("file_editor", command="view", path=file)]},
        {"calls": [call("think", thought="hm")]},
        {"calls": [call("nosuch", x=1)]},
        FINISH,
        {"text": "bye"},
    ]
    with Talk(server, work, lines) as talk:
        say(server, talk, timestamp="2025-08-14T12:00:00.000Z", image_urls=[], file_urls=[])
        assert talk.until_over() == "finished"
        say(server, talk, "again")
        assert talk.until_over() == "finished"
        events = events_of(server, talk)
    assert states(events) == ["loading", "running", "finished", "running", "awaiting_user_input"]
    assert [e["id"] for e in events] == sorted({e["id"] for e in events})
    assert all({"id", "source", "message", "timestamp"} <= set(e) for e in events)

    system, message = named(events, "system")[0], named(events, "message")[0]
    assert list(system) == ["id", "timestamp", "source", "message", "action", "args"]
    assert list(system["args"]) == ["content", "tools", "openhands_version", "agent_class"]
    assert {"terminal", "finish"} <= {t["function"]["name"] for t in system["args"]["tools"]}
    assert list(message) == ["id", "timestamp", "source", "message", "action", "args"]
    assert message["args"] == {"content": "hello", "file_urls": [], "image_urls": [], "wait_for_response": False}

    action, observation = named(events, "run")
    assert list(action) == ["id", "timestamp", "source", "message", "action", "tool_call_metadata", "llm_metrics",
                            "args", "timeout"]
    assert action["message"] == "Running command: echo hi; false" and action["timeout"] == 20.0
    assert list(action["args"]) == ["command", "is_input", "thought", "blocking", "is_static", "cwd", "hidden",
                                    "confirmation_state"]
    assert action["args"]["thought"] == "Let me look." and action["args"]["confirmation_state"] == "confirmed"
    assert list(action["llm_metrics"]) == ["accumulated_cost", "max_budget_per_task", "accumulated_token_usage",
                                           "costs", "response_latencies", "token_usages"]
    assert list(action["tool_call_metadata"]) == ["function_name", "tool_call_id", "model_response",
                                                  "total_calls_in_response"]
    assert list(observation) == ["id", "timestamp", "source", "message", "cause", "observation",
                                 "tool_call_metadata", "content", "extras", "success"]
    assert observation["cause"] == action["id"] and observation["content"] == "hi"
    assert observation["message"] == "Command `echo hi; false` executed with exit code 1."
    assert observation["success"] is False and list(observation["extras"]) == ["command", "metadata", "hidden"]
    assert list(observation["extras"]["metadata"]) == ["exit_code", "pid", "username", "hostname", "working_dir",
                                                       "py_interpreter_path", "prefix", "suffix"]

    create, created, edit, edited = named(events, "edit")
    assert (create["args"]["command"], edit["args"]["old_str"], edit["args"]["new_str"]) == ("create", "two", "zwei")
    assert list(edit["args"]) == ["path", "command", "file_text", "old_str", "new_str", "insert_line", "content",
                                  "start", "end", "thought", "impl_source"]
    assert list(edited["extras"]) == ["path", "prev_exist", "old_content", "new_content", "impl_source", "diff",
                                      "_diff_cache"]
    assert created["extras"]["prev_exist"] is False
    given = [(e["extras"]["old_content"], e["extras"]["new_content"]) for e in (created, edited)]
    assert given == [(None, None), ("two", "zwei")]  # as in 0.53: what the call was given, and not the whole file
    assert edited["cause"] == edit["id"] and edited["extras"]["diff"].endswith(" one\n-two\n+zwei\n")

    read, shown = named(events, "read")
    assert read["args"] == {"path": file, "start": 0, "end": -1, "thought": "", "impl_source": "oh_aci",
                            "view_range": None}
    assert shown["cause"] == read["id"] and "zwei" in shown["content"]
    think, thought = named(events, "think")
    assert think["args"] == {"thought": "hm"} and thought["cause"] == think["id"]
    wrong, error = named(events, "call_tool_mcp")[0], named(events, "error")[0]
    assert wrong["args"]["name"] == "nosuch" and wrong["args"]["arguments"] == {"x": 1}
    assert error["cause"] == wrong["id"] and error["extras"] == {"error_id": ""}
    finish = named(events, "finish")
    assert len(finish) == 1 and finish[0]["args"]["final_thought"] == "All done."
    assert named(events, "message")[-1]["args"]["wait_for_response"] is True


def test_a_confirmation(server, work):
    with Talk(server, work, [run("echo one"), run("echo two"), FINISH],
              confirmation_policy={"kind": "AlwaysConfirm"}) as talk:
        say(server, talk)
        assert talk.until_over() == "waiting_for_confirmation"
        assert change(server, talk, "running").status_code == 409
        assert change(server, talk, "user_confirmed").status_code == 200
        assert talk.until_over() == "waiting_for_confirmation"
        assert change(server, talk, "user_rejected").status_code == 200
        talk.until_kind("UserRejectObservation")
        events = events_of(server, talk)
        refused = change(server, talk, "user_confirmed")
        assert refused.status_code == 409 and list(refused.json()) == ["error"]
    assert states(events) == ["loading", "running", "awaiting_user_confirmation", "user_confirmed", "running",
                              "awaiting_user_confirmation", "user_rejected", "awaiting_user_input"]
    wishes = [(e["source"], e["args"]["agent_state"]) for e in named(events, "change_agent_state")]
    assert wishes == [("user", "user_confirmed"), ("user", "user_rejected")]
    actions = [e for e in named(events, "run") if "action" in e]
    asked, confirmed, second, rejected = actions  # each is shown again with the answer, as 0.53 does, and that is the cause
    assert [a["args"]["confirmation_state"] for a in actions] == [
        "awaiting_confirmation", "confirmed", "awaiting_confirmation", "rejected"]
    assert confirmed["args"] == {**asked["args"], "confirmation_state": "confirmed", "thought": ""}
    assert confirmed["tool_call_metadata"] == asked["tool_call_metadata"] and confirmed["timestamp"] > asked["timestamp"]
    assert confirmed["id"] == named(events, "change_agent_state")[0]["id"] + 1
    assert [e["cause"] for e in named(events, "run") if "observation" in e] == [confirmed["id"]]
    assert second["args"]["command"] == rejected["args"]["command"] == "echo two"
    assert named(events, "user_rejected")[0]["cause"] == rejected["id"]


def test_a_confirmation_over_a_restart_knows_its_cause(server, tmp_path, work):
    from handsd import Handsd

    scripts = tmp_path / "scripts"
    with Handsd(tmp_path / "data", scripts=scripts) as first:
        with Talk(first, work, [run("echo one"), FINISH], confirmation_policy={"kind": "AlwaysConfirm"}) as talk:
            assert talk.say() == "waiting_for_confirmation"
    with Handsd(tmp_path / "data", scripts=scripts) as again:
        stopped = change(again, talk, "user_confirmed")
        assert stopped.status_code == 409 and list(stopped.json()) == ["error"]
        assert again.http.post(f"/api/conversations/{talk.id}/run").status_code == 200
        from websockets.sync.client import connect

        with connect(again.socket_url(talk.id) + "?resend_all=true") as talk.socket:
            talk.until(lambda e: e.get("value") == "finished")
        events = events_of(again, talk)
    action, again, observation = named(events, "run")
    assert again["args"]["confirmation_state"] == "confirmed" and again["args"]["command"] == action["args"]["command"]
    assert observation["cause"] == again["id"]


def test_stop_and_pause(server, work):
    with Talk(server, work, [run("sleep 60"), run("sleep 60"), FINISH]) as talk:
        say(server, talk)
        talk.until_kind("ActionEvent")
        assert change(server, talk, "stopped").status_code == 200
        assert talk.until_over() == "paused"
        events = events_of(server, talk)
        assert states(events)[-1] == "stopped"
        assert named(events, "error")[0]["cause"] == named(events, "run")[0]["id"]
        assert change(server, talk, "running").status_code == 200
        talk.until_kind("ActionEvent")
        assert change(server, talk, "paused").status_code == 200
        talk.until_kind("PauseEvent")
        assert states(events_of(server, talk))[-1] == "paused"
        assert change(server, talk, "stopped").status_code == 200


def test_an_error_says_why(server, work):
    with Talk(server, work, model="scripted/no-such-script") as talk:
        assert talk.say() == "error"
        events = events_of(server, talk)
    last = named(events, "agent_state_changed")[-1]
    assert last["extras"]["agent_state"] == "error" and last["extras"]["reason"].startswith("NotFoundError: ")
    assert named(events, "error")[-1]["source"] == "environment"


# ---- pages ----


@pytest.fixture(scope="module")
def long(server, tmp_path_factory):
    with Talk(server, tmp_path_factory.mktemp("long"), [run(f"echo {n}") for n in range(60)] + [FINISH]) as talk:
        assert talk.say() == "finished"
        yield talk


def test_pages_meet(server, long):
    pages, start = [], 0
    while True:
        answer = server.legacy.get(path_of(long), params={"start_id": start, "limit": 7}).json()
        assert len(answer["events"]) == 7 or not answer["has_more"]
        pages += answer["events"]
        if not answer["has_more"]:
            break
        start = pages[-1]["id"] + 1
    assert len(named(pages, "run")) == 120 and len({e["id"] for e in pages}) == len(pages)
    back, end = [], None
    while True:
        query = {"reverse": "true", "limit": 50, **({} if end is None else {"end_id": end})}
        answer = server.legacy.get(path_of(long), params=query).json()
        back += answer["events"]
        if not answer["has_more"]:
            break
        end = back[-1]["id"] - 1
    assert back == pages[::-1]


def test_ranges_and_limits(server, long):
    events = events_of(server, long)
    some = events_of(server, long, start_id=events[3]["id"], end_id=events[5]["id"])
    assert some == events[3:6]
    assert events_of(server, long, start_id=events[3]["id"] + 1, end_id=events[4]["id"] - 1) == []
    assert events_of(server, long, start_id=10**15) == [] and events_of(server, long, end_id=-3) == []
    none = server.legacy.get(path_of(long), params={"limit": 0}).json()
    assert none == {"events": [], "has_more": True}
    for limit in (-1, 101):
        answer = server.legacy.get(path_of(long), params={"limit": limit})
        assert (answer.status_code, answer.json()) == (400, {"detail": "Invalid limit"})
    wrong = server.legacy.get(path_of(long), params={"limit": "x"})
    assert wrong.status_code == 422 and wrong.json()["detail"][0]["loc"] == ["query", "limit"]
    nobody = server.legacy.get("/api/conversations/nobody/events")
    assert (nobody.status_code, nobody.json()) == (404, {"detail": "Conversation nobody not found"})


def filtered(server, talk, **filter):
    return server.legacy.request("GET", path_of(talk), params={"limit": 100}, json=filter)


def test_filters(server, long):
    events = events_of(server, long)
    users = filtered(server, long, source="user", exclude_hidden=True).json()["events"]
    assert [e["action"] for e in users] == ["message"]
    found = filtered(server, long, query="COMMAND `ECHO 59`").json()
    assert len(found["events"]) == 1 and found["has_more"] is False
    assert found["events"][0]["extras"]["command"] == "echo 59"
    assert filtered(server, long, query='"command": "echo 59"').json()["events"][0]["action"] == "run"
    since = filtered(server, long, start_date=events[10]["timestamp"]).json()["events"]
    assert since[0] == events[10]
    until = filtered(server, long, end_date=events[10]["timestamp"]).json()["events"]
    assert until == events[:11]
    assert filtered(server, long, include_types=[], exclude_types=None).status_code == 200
    wrong = filtered(server, long, include_types=["MessageAction"])
    assert wrong.status_code == 422 and wrong.json()["detail"][0]["type"] == "is_subclass_of"


# ---- what cannot be sent ----


@pytest.mark.parametrize("event", [
    [], "x", {}, {"action": 1}, {"action": "nosuch"}, {"observation": "run"}, {"action": "run", "args": {}},
    {"action": "message"}, {"action": "message", "args": []}, {"action": "message", "args": {"content": 1}},
    {"action": "message", "args": {"content": "a", "more": 1}},
    {"action": "message", "args": {"content": "a", "image_urls": [1]}},
    {"action": "change_agent_state", "args": {"agent_state": "finished"}},
    {"action": "change_agent_state", "args": {}},
])
def test_what_is_no_event(server, long, event):
    answer = post(server, long, event)
    assert answer.status_code == 400 and list(answer.json()) == ["error"], answer.text


def test_what_is_no_json(server, long):
    path = path_of(long)
    broken = server.legacy.post(path, content=b"{", headers={"content-type": "application/json"})
    assert broken.status_code == 400 and list(broken.json()) == ["error"]
    plain = server.legacy.post(path, content=b'{"action":"null"}', headers={"content-type": "text/plain"})
    assert plain.status_code == 400
    assert post(server, long, {"action": "null", "args": {}}).json() == {"success": True}
    missing = server.legacy.post(f"/api/conversations/{uuid.uuid4().hex}/events", json={"action": "null"})
    assert missing.status_code == 404 and missing.json()["detail"].startswith("Conversation ")
