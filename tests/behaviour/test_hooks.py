"""Hooks: what a client's commands see of a conversation, what they can stop, and what the log says of them."""

import json
import os
import time

import pytest

from handsd import Handsd, processes_in, write_script
from talk import FINISH, Talk, run

SAY = {"text": "Hello there."}


def hooks(command, matcher="*", **more):
    return [{"matcher": matcher, "hooks": [{"command": command, **more}]}]


def ran(talk, event=None):
    return [e for e in talk.events("HookExecutionEvent") if event is None or e["hook_event_type"] == event]


def lines(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def wait_for(condition):
    """For what a hook does beside the log: no event tells of it."""
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_every_moment(server, work):
    """All six kinds, with what each is told and the order in which the log has them."""
    note = f"cat >> {work}/seen; echo >> {work}/seen; env | grep ^OPENHANDS_ >> {work}/env; pwd >> {work}/pwd"
    kinds = ["SessionStart", "UserPromptSubmit", "PreToolUse", "PostToolUse", "Stop", "SessionEnd"]
    config = {kind: hooks(note) for kind in kinds}
    with Talk(server, work, [run("echo one"), FINISH], hook_config={"hooks": config}) as talk:
        assert talk.say("Do it.") == "finished"
        events = ran(talk)
        assert [e["hook_event_type"] for e in events] == [
            "SessionStart", "UserPromptSubmit", "PreToolUse", "PostToolUse", "PreToolUse", "PostToolUse", "Stop"]
        assert all(e["success"] and not e["blocked"] and e["exit_code"] == 0 and e["source"] == "hook" for e in events)
        told = lines(work / "seen")
        assert [t["event_type"] for t in told] == [e["hook_event_type"] for e in events]
        assert all(t["session_id"] == talk.id and t["working_dir"] == str(work) for t in told)
        assert told[1]["message"] == "Do it."
        assert told[2]["tool_name"] == "terminal" and told[2]["tool_input"]["command"] == "echo one"
        assert "one" in json.dumps(told[3]["tool_response"])
        assert told[6]["metadata"] == {"reason": "agent_finished"}
        assert set((work / "pwd").read_text().split()) == {str(work)}
        assert "OPENHANDS_TOOL_NAME=terminal" in (work / "env").read_text()
        messages = [e for e in talk.events("MessageEvent") if e["source"] == "user"]
        assert events[1]["message_id"] == messages[0]["id"]
        actions = talk.events("ActionEvent")
        assert events[2]["action_id"] == events[3]["action_id"] == actions[0]["id"]
        assert events[6]["hook_input"] == {"reason": "agent_finished"}
        server.http.delete(f"/api/conversations/{talk.id}").raise_for_status()
    wait_for(lambda: lines(work / "seen")[-1]["event_type"] == "SessionEnd")


def test_shown_as_given_in_one_naming(server, work):
    with Talk(server, work, [FINISH], hook_config={"PreToolUse": hooks("true", "terminal", **{"async": True})}) as talk:
        shown = talk.info()["hook_config"]
        assert shown["pre_tool_use"] == [{"matcher": "terminal", "hooks": [{
            "type": "command", "name": None, "command": "true", "prompt": None, "system_prompt": None, "tools": [],
            "timeout": 60, "max_iterations": 3, "async_": True}]}]
        assert all(shown[k] == [] for k in ("post_tool_use", "user_prompt_submit", "session_start", "session_end", "stop"))


@pytest.mark.parametrize("config, where", [
    ({"unknown": []}, ["unknown"]),
    ({"pre_tool_use": 5}, ["pre_tool_use"]),
    ({"pre_tool_use": [{"hooks": [{"command": ""}]}]}, ["pre_tool_use", 0, "hooks", 0]),
    ({"pre_tool_use": [{"hooks": [{"type": "prompt"}]}]}, ["pre_tool_use", 0, "hooks", 0]),
    ({"pre_tool_use": [{"hooks": [{"type": "spell", "command": "x"}]}]}, ["pre_tool_use", 0, "hooks", 0, "type"]),
    ({"stop": [{"hooks": [{"command": "x", "timeout": 0}]}]}, ["stop", 0, "hooks", 0, "timeout"]),
    ({"stop": [], "Stop": []}, ["Stop"]),
    ({"hooks": {"nothing": []}}, ["nothing"]),
    ({"hooks": 7}, []),
])
def test_wrong_configurations(server, work, config, where):
    body = {"agent": {"llm": {"model": "scripted/finish"}}, "workspace": {"working_dir": str(work)}, "hook_config": config}
    answer = server.http.post("/api/conversations", json=body)
    assert answer.status_code == 422, answer.text
    assert answer.json()["detail"][0]["loc"] == ["body", "hook_config", *where]


@pytest.mark.parametrize("matcher, hit", [
    ("terminal", True), ("term", False), ("term.*", True), ("file_editor|terminal", True), ("/[a-z]+/", True), ("/term/", False),
    ("", True), ("*", True), ("terminal)", False), ("(", False), ("(a*)*b", False)])
def test_matchers(server, work, matcher, hit):
    with Talk(server, work, [run("echo one"), FINISH], hook_config={"pre_tool_use": hooks("exit 2", matcher)}) as talk:
        talk.say()
        rejected = [e["tool_name"] for e in talk.events("UserRejectObservation")]
        assert ("terminal" in rejected) == hit


def test_a_tool_is_blocked_and_the_model_told_why(server, work):
    command = "grep -q 'rm -rf' && { echo 'No removing here.' >&2; exit 2; }; exit 0"
    with Talk(server, work, [run("rm -rf x"), run("echo fine"), FINISH],
              hook_config={"pre_tool_use": hooks(command, "terminal")}) as talk:
        assert talk.say() == "finished"
        rejected = talk.events("UserRejectObservation")
        assert [(r["rejection_source"], r["rejection_reason"]) for r in rejected] == [("hook", "No removing here.")]
        assert [s.text.strip() for s in talk.seen() if s.exit_code == 0] == ["fine"]
        assert talk.info()["blocked_actions"] == {rejected[0]["action_id"]: "No removing here."}
        blocked = [e["blocked"] for e in ran(talk, "PreToolUse")]
        assert blocked == [True, False]
        updates = [e["value"] for e in talk.events("ConversationStateUpdateEvent") if e["key"] == "blocked_actions"]
        assert updates == [{rejected[0]["action_id"]: "No removing here."}]


def test_a_finish_that_is_blocked_answers_what_stands_behind_it(server, work):
    both = {"calls": [*FINISH["calls"], *run("touch behind")["calls"]]}
    with Talk(server, work, [both, SAY], hook_config={"pre_tool_use": hooks("exit 2", "finish")}) as talk:
        assert talk.say() == "finished"
        assert [e["tool_name"] for e in talk.events("UserRejectObservation")] == ["finish"]
        assert [e["tool_name"] for e in talk.events("AgentErrorEvent")] == ["terminal"]
        assert not talk.events("InterruptEvent") and not (work / "behind").exists()


@pytest.mark.parametrize("command, blocked, reason", [
    ("""echo '{"decision": "deny", "reason": "Because."}'""", True, "Because."),
    ("""echo '{"decision": "DENY"}'""", True, "A hook blocked it."),
    ("""echo '{"continue": false, "reason": "Enough."}'""", True, "Enough."),
    ("""echo '{"decision": "allow", "reason": "Good."}'""", False, None),
    ("""echo '{"decision": 5, "reason": ["x"]}'""", False, None),
    ("echo oops >&2; exit 1", False, None),
    ("printf '\\377\\000{[['; exit 0", False, None),
    ("echo '{\"decision\":'; exit 0", False, None),
    ("no-such-command-anywhere", False, None),
    ("kill -9 $$", False, None),
])
def test_answers_of_a_hook(server, work, command, blocked, reason):
    with Talk(server, work, [run("echo one"), FINISH], hook_config={"pre_tool_use": hooks(command, "terminal")}) as talk:
        assert talk.say() == "finished"
        assert [e["blocked"] for e in ran(talk)] == [blocked]
        assert [r["rejection_reason"] for r in talk.events("UserRejectObservation")] == ([reason] if blocked else [])


def test_the_first_that_blocks_is_the_last(server, work):
    config = {"pre_tool_use": [{"matcher": "terminal", "hooks": [{"command": "exit 0"}, {"command": "exit 2"}, {"command": "touch third"}]}],
              "post_tool_use": hooks("touch after", "terminal")}
    with Talk(server, work, [run("echo one"), FINISH], hook_config=config) as talk:
        talk.say()
        assert [e["hook_command"] for e in ran(talk)] == ["exit 0", "exit 2"]
        assert not (work / "third").exists() and not (work / "after").exists()


def test_a_prompt_is_blocked(server, work):
    command = "grep -q forbidden && { echo 'Not this.' >&2; exit 2; }; exit 0"
    with Talk(server, work, [SAY], hook_config={"user_prompt_submit": hooks(command), "stop": hooks("touch stopped")}) as talk:
        assert talk.say("Something forbidden.") == "finished"
        assert not [e for e in talk.events("MessageEvent") if e["source"] == "agent"]
        message = next(e for e in talk.events("MessageEvent"))
        assert talk.info()["blocked_messages"] == {message["id"]: "Not this."}
        assert not (work / "stopped").exists()
        assert talk.say("Something else.") == "finished"
        assert [e["llm_message"]["content"][0]["text"] for e in talk.events("MessageEvent") if e["source"] == "agent"] == ["Hello there."]
        assert [e["blocked"] for e in ran(talk, "UserPromptSubmit")] == [True, False]


def test_what_the_model_reads(server, work, model):
    """A hook's context stands behind its message; a blocked message is nowhere."""
    command = """grep -q forbidden && exit 2; echo '{"additionalContext": "The build is red."}'"""
    agent = {"kind": "Agent", "tools": [], "llm": {"model": "openai/test-model", "api_key": "sk-test-0123456789", "base_url": f"{model.url}/v1"}}
    model.plays({"text": "Hello."}, {"text": "Hello again."})
    with Talk(server, work, model="openai/test-model", agent=agent, hook_config={"user_prompt_submit": hooks(command)}) as talk:
        for text in ("forbidden words", "First.", "Second."):
            assert talk.say(text) == "finished"
        assert len(model.requests()) == 2
        text = json.dumps([m for m in model.requests()[-1]["body"]["messages"] if m["role"] == "user"])
        assert "forbidden" not in text and text.count("The build is red.") == 2
        assert text.index("First.") < text.index("The build is red.") < text.index("Second.")


def test_stop_is_denied_until_done(server, work):
    command = """test -e done && exit 0; touch done; echo '{"decision": "deny", "additionalContext": "Write the summary first."}'"""
    with Talk(server, work, [FINISH, SAY], hook_config={"stop": hooks(command)}) as talk:
        assert talk.say() == "finished"
        assert [e["blocked"] for e in ran(talk, "Stop")] == [True, False]
        feedback = [e for e in talk.events("MessageEvent") if e["source"] == "environment"]
        assert len(feedback) == 1 and feedback[0]["llm_message"]["role"] == "user"
        assert feedback[0]["llm_message"]["content"][0]["text"].endswith("Write the summary first.")
        statuses = [e["value"] for e in talk.events("ConversationStateUpdateEvent") if e["key"] == "execution_status"]
        assert statuses == ["running", "finished"]


def test_the_last_iteration_is_not_asked(server, work):
    with Talk(server, work, [FINISH], max_iterations=1, hook_config={"stop": hooks("exit 2")}) as talk:
        assert talk.say() == "finished"
        assert ran(talk) == []


def test_a_hook_that_always_denies_ends_with_the_iterations(server, work):
    with Talk(server, work, [FINISH] * 9, max_iterations=3, stuck_detection=False, hook_config={"stop": hooks("exit 2")}) as talk:
        assert talk.say() == "finished"
        assert len(ran(talk, "Stop")) == 2


def test_timeout(server, work):
    with Talk(server, work, [run("echo one"), FINISH],
              hook_config={"pre_tool_use": hooks("echo begun; sleep 600", "terminal", timeout=1)}) as talk:
        started = time.monotonic()
        assert talk.say() == "finished"
        assert time.monotonic() - started < 20
        event = ran(talk)[0]
        assert (event["success"], event["blocked"], event["exit_code"]) == (False, False, -1)
        assert "1 s" in event["error"] and event["stdout"] == "begun\n"
        assert [s.text.strip() for s in talk.seen() if s.exit_code == 0] == ["one"]


@pytest.mark.parametrize("kind", ["session_start", "user_prompt_submit", "pre_tool_use", "post_tool_use", "stop"])
def test_interrupt(server, work, kind):
    with Talk(server, work, [run("echo one"), FINISH], hook_config={kind: hooks(f"touch {work}/begun; sleep 600")}) as talk:
        talk.start()
        wait_for((work / "begun").exists)
        started = time.monotonic()
        talk.post("interrupt").raise_for_status()
        assert talk.until_over() == "paused"
        assert time.monotonic() - started < 5
        assert talk.kinds()[-1] == "InterruptEvent"


def test_async_is_not_waited_for(server, work):
    with Talk(server, work, [run("echo one"), FINISH],
              hook_config={"post_tool_use": hooks("echo noise; sleep 2; cat > told", "terminal", **{"async": True})}) as talk:
        started = time.monotonic()
        assert talk.say() == "finished"
        assert time.monotonic() - started < 2
        event = ran(talk)[0]
        assert (event["success"], event["exit_code"], event["stdout"]) == (True, 0, "")
        wait_for(lambda: (work / "told").exists() and (work / "told").read_text())


def test_much_output_is_cut(server, work):
    with Talk(server, work, [run("echo one"), FINISH],
              hook_config={"pre_tool_use": hooks("yes hostile | head -c 5000000; yes again | head -c 5000000 >&2", "terminal")}) as talk:
        assert talk.say() == "finished"
        event = ran(talk)[0]
        assert event["success"]
        for name in ("stdout", "stderr"):
            assert len(event[name]) == 50000 and event[name].endswith("\n<TRUNCATED>")


def test_output_without_end(server, work):
    with Talk(server, work, [run("echo one"), FINISH], hook_config={"pre_tool_use": hooks("yes", "terminal")}) as talk:
        assert talk.say() == "finished"
        event = ran(talk)[0]
        assert not event["success"] and "MiB" in event["error"]


def test_secrets_are_hidden(server, work):
    with Talk(server, work, [run("echo one"), FINISH], secrets={"TOKEN": "hunter2-and-more"},
              hook_config={"pre_tool_use": hooks("echo hunter2-and-more; echo hunter2-and-more >&2; exit 2", "terminal")}) as talk:
        talk.say()
        assert "hunter2" not in json.dumps(talk.events())
        assert "hunter2" not in json.dumps(talk.info()["blocked_actions"])


def test_large_input(server, work):
    with Talk(server, work, [run("yes 0123456789 | head -c 600000"), FINISH],
              hook_config={"post_tool_use": hooks("wc -c", "terminal")}) as talk:
        assert talk.say() == "finished"
        event = ran(talk)[0]
        assert event["success"] and 10000 < int(event["stdout"]) < 200000


def test_other_types_say_that_they_are_not_run(server, work):
    config = {"pre_tool_use": [{"hooks": [{"type": "prompt", "prompt": "Is this all right?", "name": "judge"}, {"type": "agent"}]}]}
    with Talk(server, work, [FINISH], hook_config=config) as talk:
        assert talk.say() == "finished"
        assert [(e["hook_command"], e["success"], e["exit_code"]) for e in ran(talk)] == [
            ("prompt-hook:judge", False, -1), ("agent-hook:agent", False, -1)]
        assert all("command" in e["error"] for e in ran(talk))


def test_once_for_each_message_and_session(tmp_path, work):
    """Also when the server has been started anew in between; its end ends the session, and the log says so."""
    note = "echo $OPENHANDS_EVENT_TYPE >> times"
    kinds = ("session_start", "user_prompt_submit", "session_end")
    write_script(tmp_path / "scripts", "say", [SAY] * 3)
    with Handsd(tmp_path / "data", scripts=tmp_path / "scripts") as server:
        with Talk(server, work, model="scripted/say", hook_config={k: hooks(note) for k in kinds}) as talk:
            talk.say("One.")
            talk.say("Two.")
            conversation = talk.id
        assert server.stop() == 0
    expected = ["SessionStart", "UserPromptSubmit", "UserPromptSubmit", "SessionEnd"]
    assert (work / "times").read_text().split() == expected
    with Handsd(tmp_path / "data", scripts=tmp_path / "scripts") as server:
        events = [e for e in server.events(conversation) if e["kind"] == "HookExecutionEvent"]
        assert [e["hook_event_type"] for e in events] == expected
        server.send(conversation, "Three.", run=True)
        wait_for(lambda: server.http.get(f"/api/conversations/{conversation}").json()["execution_status"] == "finished")
        assert (work / "times").read_text().split() == expected + ["UserPromptSubmit"]


def test_a_session_end_that_hangs_holds_nobody_up(tmp_path, work):
    write_script(tmp_path / "scripts", "say", [SAY])
    server = Handsd(tmp_path / "data", scripts=tmp_path / "scripts").start()
    with Talk(server, work, model="scripted/say", hook_config={"session_end": hooks("sleep 600")}) as talk:
        talk.say()
    started = time.monotonic()
    assert server.stop() == 0
    assert time.monotonic() - started < 5
    assert not processes_in(work)


def test_a_session_ends_when_the_conversation_leaves_memory(tmp_path, work):
    write_script(tmp_path / "scripts", "say", [SAY])
    with Handsd(tmp_path / "data", scripts=tmp_path / "scripts", env={"OH_CONVERSATION_IDLE_TTL_SECONDS": "1"}) as server:
        with Talk(server, work, model="scripted/say", hook_config={"session_end": hooks("cat > ended; echo done")}) as talk:
            talk.say()
        wait_for(lambda: (work / "ended").exists() and (work / "ended").read_text())
        wait_for(lambda: [e for e in server.events(talk.id) if e["kind"] == "HookExecutionEvent"])
        event = server.events(talk.id)[-1]
        assert (event["hook_event_type"], event["stdout"], event["success"]) == ("SessionEnd", "done\n", True)


# ---- POST /api/hooks


def project_hooks(server, body):
    answer = server.http.post("/api/hooks", json=body)
    assert answer.status_code == 200, answer.text
    return answer.json()["hook_config"]


def test_hooks_of_a_project(server, work):
    assert project_hooks(server, {}) is None
    assert project_hooks(server, {"project_dir": None}) is None
    assert project_hooks(server, {"project_dir": str(work)}) is None
    place = work / ".openhands"
    place.mkdir()
    (place / "hooks.json").write_text(json.dumps({"hooks": {"Stop": [{"hooks": [{"type": "command", "command": "./check", "timeout": 5}]}]}}))
    config = project_hooks(server, {"project_dir": str(work)})
    assert config["stop"][0]["hooks"][0]["command"] == "./check" and config["stop"][0]["matcher"] == "*"
    with Talk(server, work, [SAY], hook_config=config) as talk:
        assert talk.info()["hook_config"] == config


@pytest.mark.parametrize("text", ["", "{}", "[]", "no json", '{"hooks": 5}', '{"unknown": []}', '{"stop": [{"hooks": [{}]}]}',
                                  "[" * 100000, '{"stop": []}', "{}" + " " * (1 << 20)])
def test_hooks_of_a_project_that_are_none(server, work, text):
    (work / ".openhands").mkdir()
    (work / ".openhands" / "hooks.json").write_text(text)
    assert project_hooks(server, {"project_dir": str(work)}) is None


def test_places_that_have_no_hooks(server, work):
    (work / ".openhands").mkdir()
    os.mkfifo(work / ".openhands" / "hooks.json")
    for place in (work, work / "missing", "/dev", "relative/place", "/etc/passwd", "a\0b", ""):
        assert project_hooks(server, {"project_dir": str(place)}) is None
    assert server.http.post("/api/hooks", json={"project_dir": 5}).status_code == 422
