"""What makes a conversation act: run, pause, interrupt, confirmation, secrets, and its last answer."""

import json
import threading

import pytest

from handsd import write_script
from talk import FINISH, LATEST_S, Watcher
from talk import run as command

MISSING = "99999999-2222-4333-8444-555555555555"


def problems(answer):
    assert answer.status_code == 422, answer.text
    return [(p["type"], p["loc"]) for p in answer.json()["detail"]]


def status(server, conversation):
    return server.http.get(f"/api/conversations/{conversation}").json()["execution_status"]


@pytest.fixture
def scripted(make_server, tmp_path):
    """scripted(lines…) → (server, conversation, folder): a server whose model plays these lines."""

    def make(*lines, **more):
        write_script(tmp_path / "scripts", "play", lines)
        server = make_server(scripts=tmp_path / "scripts")
        work = tmp_path / "work"
        work.mkdir()
        return server, server.create(work, "scripted/play", autotitle=False, **more), work

    return make


def kinds(server, conversation):
    return [e["kind"] for e in server.events(conversation) if e["kind"] != "ConversationStateUpdateEvent"]


def post(server, conversation, route, body=None):
    return server.http.post(f"/api/conversations/{conversation}/{route}", json=body)


# ---- run


def test_a_run_from_message_to_answer(scripted):
    server, conversation, work = scripted(command("echo hello > file"), FINISH)
    with Watcher(server, conversation) as watcher:
        assert server.send(conversation, "Make a file.").json() == {"success": True}
        assert status(server, conversation) == "idle"
        assert post(server, conversation, "run").json() == {"success": True}
        assert watcher.until_over() == "finished"
    assert (work / "file").read_text() == "hello\n"
    assert kinds(server, conversation) == ["SystemPromptEvent", "MessageEvent", "ActionEvent", "ObservationEvent",
                                           "ActionEvent", "ObservationEvent"]
    answer = server.http.get(f"/api/conversations/{conversation}/agent_final_response")
    assert answer.json() == {"response": "All done."}


def test_words_are_an_answer_too(scripted):
    server, conversation, _ = scripted({"text": "Hello there."}, {"text": "Again."})
    path = f"/api/conversations/{conversation}/agent_final_response"
    assert server.http.get(path).json() == {"response": ""}
    for expected in ("Hello there.", "Again."):
        with Watcher(server, conversation) as watcher:
            server.send(conversation, "Hi", run=True)
            assert watcher.until_over() == "finished"
        assert server.http.get(path).json() == {"response": expected}


def test_the_newest_answer_counts(scripted):
    commands = [command(f"echo {n}") for n in range(25)]  # more than are looked at in one go
    server, conversation, _ = scripted({"text": "Hello there."}, *commands, FINISH, *commands, {"text": "Bye."})
    path = f"/api/conversations/{conversation}/agent_final_response"
    for expected in ("Hello there.", "All done.", "Bye."):
        with Watcher(server, conversation) as watcher:
            server.send(conversation, "Go on.", run=True)
            assert watcher.until_over() == "finished"
        assert server.http.get(path).json() == {"response": expected}


def test_running_twice_conflicts(scripted):
    server, conversation, work = scripted(command("echo go; sleep 30"), FINISH)
    with Watcher(server, conversation) as watcher:
        server.send(conversation, "Wait.", run=True)
        watcher.until_kind("ActionEvent")
        answer = post(server, conversation, "run")
        assert answer.status_code == 409
        assert answer.json() == {"detail": "Conversation already running. Wait for completion or pause first."}
        # Meanwhile everything else answers.
        assert status(server, conversation) == "running"
        assert server.http.get("/ready", timeout=2).status_code == 200
        assert server.send(conversation, "And then?").status_code == 200
        assert post(server, conversation, "interrupt").json() == {"success": True}
        assert watcher.until_over() == "paused"


def test_run_of_a_finished_one_ends_at_once(scripted):
    server, conversation, _ = scripted(FINISH)
    for _ in range(2):
        with Watcher(server, conversation) as watcher:
            if status(server, conversation) == "idle":
                server.send(conversation, "Finish.")
            assert post(server, conversation, "run").status_code == 200
            assert watcher.until_over() == "finished"
    assert kinds(server, conversation).count("ActionEvent") == 1


@pytest.mark.parametrize("route", ["run", "secrets", "confirmation_policy"])
def test_missing_is_404(server, route):
    body = {"run": None, "secrets": {"secrets": {}}, "confirmation_policy": {"policy": {"kind": "NeverConfirm"}}}[route]
    answer = post(server, MISSING, route, body)
    assert (answer.status_code, answer.json()) == (404, {"detail": "Not Found"})
    assert post(server, "zz", route, body).status_code == 422


@pytest.mark.parametrize("route", ["pause", "interrupt"])
def test_missing_is_400(server, route):
    answer = post(server, MISSING, route)
    assert (answer.status_code, answer.json()) == (400, {"detail": "Bad Request"})
    assert post(server, "zz", route).status_code == 422


# ---- pause, interrupt


def test_pause_of_an_idle_one(server, tmp_path):
    conversation = server.create(tmp_path, autotitle=False)
    assert post(server, conversation, "pause").json() == {"success": True}
    assert status(server, conversation) == "paused"
    assert kinds(server, conversation)[-1] == "PauseEvent"
    assert post(server, conversation, "pause").json() == {"success": True}
    assert kinds(server, conversation).count("PauseEvent") == 1


def test_pause_answers_at_once_and_ends_after_the_step(scripted):
    server, conversation, work = scripted(command("until [ -e go ]; do sleep 0.05; done; echo over > over"), FINISH)
    with Watcher(server, conversation) as watcher:
        server.send(conversation, "Wait.", run=True)
        watcher.until_kind("ActionEvent")
        assert post(server, conversation, "pause").status_code == 200
        watcher.until_kind("PauseEvent")
        assert status(server, conversation) == "paused"
        (work / "go").touch()
        assert watcher.until_over() == "paused"
    assert (work / "over").exists()
    assert "AgentErrorEvent" not in kinds(server, conversation)
    with Watcher(server, conversation) as watcher:
        post(server, conversation, "run")
        assert watcher.until_over() == "finished"


def test_interrupt_ends_a_command_now(scripted):
    server, conversation, _ = scripted(command("sleep 600"), FINISH)
    with Watcher(server, conversation) as watcher:
        server.send(conversation, "Sleep.", run=True)
        watcher.until_kind("ActionEvent")
        assert post(server, conversation, "interrupt").json() == {"success": True}
        assert watcher.until_over() == "paused"
    seen = kinds(server, conversation)
    assert seen[-2:] == ["AgentErrorEvent", "InterruptEvent"] or "InterruptEvent" in seen


def test_interrupt_ends_the_step_that_a_pause_lets_end(scripted):
    server, conversation, _ = scripted(command("sleep 600"), FINISH)
    with Watcher(server, conversation) as watcher:
        server.send(conversation, "Sleep.", run=True)
        watcher.until_kind("ActionEvent")
        post(server, conversation, "pause")
        watcher.until_kind("PauseEvent")
        assert post(server, conversation, "interrupt").json() == {"success": True}
        assert watcher.until_over() == "paused"
    assert kinds(server, conversation)[-1] == "InterruptEvent"
    with Watcher(server, conversation) as watcher:
        post(server, conversation, "run")
        assert watcher.until_over() == "finished"


# ---- confirmation


def test_accept_and_reject(scripted):
    server, conversation, work = scripted(command("echo 1 > one"), command("echo 2 > two"), FINISH,
                                          confirmation_policy={"kind": "AlwaysConfirm"})
    with Watcher(server, conversation) as watcher:
        server.send(conversation, "Make files.", run=True)
        assert watcher.until_over() == "waiting_for_confirmation"
        assert not (work / "one").exists()
        # A message does not accept.
        server.send(conversation, "Well?", run=True)
        assert status(server, conversation) == "waiting_for_confirmation"
        answer = post(server, conversation, "events/respond_to_confirmation", {"accept": False, "reason": "Not this one."})
        assert answer.json() == {"success": True}
        rejected = watcher.until_kind("UserRejectObservation")
        assert rejected["rejection_reason"] == "Not this one." and rejected["rejection_source"] == "user"
        assert status(server, conversation) == "idle"
        post(server, conversation, "run")
        assert watcher.until_over() == "waiting_for_confirmation"
        assert post(server, conversation, "events/respond_to_confirmation", {"accept": True}).status_code == 200
        assert watcher.until_over() == "finished"
    assert not (work / "one").exists() and (work / "two").read_text() == "2\n"


def test_wrong_confirmations(server, tmp_path):
    conversation = server.create(tmp_path, autotitle=False)
    route = "events/respond_to_confirmation"
    assert problems(post(server, conversation, route, {})) == [("missing", ["body", "accept"])]
    assert problems(post(server, conversation, route, {"accept": "maybe"})) == [("bool_parsing", ["body", "accept"])]
    assert problems(post(server, conversation, route, {"accept": True, "reason": 5})) == [("string_type", ["body", "reason"])]
    # Nothing waits: nothing to reject.
    assert post(server, conversation, route, {"accept": False}).json() == {"success": True}


def test_the_policy_can_be_changed(server, tmp_path):
    conversation = server.create(tmp_path, autotitle=False)
    for policy in ({"kind": "AlwaysConfirm"}, {"kind": "ConfirmRisky", "threshold": "MEDIUM", "confirm_unknown": False},
                   {"kind": "NeverConfirm"}):
        assert post(server, conversation, "confirmation_policy", {"policy": policy}).json() == {"success": True}
        assert server.http.get(f"/api/conversations/{conversation}").json()["confirmation_policy"] == policy
    for body in ({}, {"policy": None}, {"policy": {}}, {"policy": {"kind": "Sometimes"}}, {"policy": "NeverConfirm"},
                 {"policy": {"kind": "ConfirmRisky", "threshold": "COLOSSAL"}}):
        assert problems(post(server, conversation, "confirmation_policy", body))


# ---- secrets


def test_secrets_reach_commands_and_nothing_else(scripted):
    server, conversation, work = scripted(command("echo $API_TOKEN > out; echo $API_TOKEN"), FINISH)
    assert post(server, conversation, "secrets", {"secrets": {"API_TOKEN": "tok-12345678"}}).json() == {"success": True}
    assert post(server, conversation, "secrets", {"secrets": {"OTHER": {"value": "oth-12345678"}}}).status_code == 200
    info = server.http.get(f"/api/conversations/{conversation}").json()
    assert set(info["secret_registry"]["secret_sources"]) == {"API_TOKEN", "OTHER"}
    with Watcher(server, conversation) as watcher:
        server.send(conversation, "Use it.", run=True)
        assert watcher.until_over() == "finished"
    assert (work / "out").read_text() == "tok-12345678\n"
    text = json.dumps(server.events(conversation)) + json.dumps(info)
    assert "tok-12345678" not in text and "oth-12345678" not in text and "<secret-hidden>" in text


def test_wrong_secrets(server, tmp_path):
    conversation = server.create(tmp_path, autotitle=False)
    for body in ({}, {"secrets": None}, {"secrets": []}, {"secrets": {"A": 5}}, {"secrets": {"A=B": "x"}},
                 {"secrets": {"": "x"}}, {"secrets": {"A": {"kind": "Unknown"}}},
                 {"secrets": {"A": {"kind": "LookupSecret"}}}, {"secrets": {f"N{i}": "x" for i in range(1001)}}):
        assert problems(post(server, conversation, "secrets", body))
    text = post(server, conversation, "secrets", {"secrets": {"A": {"kind": "Unknown", "value": "hunter2-hunter2"}}}).text
    assert "hunter2" not in text


# ---- one hangs, the others do not


def test_one_conversation_never_delays_another(scripted):
    server, slow, work = scripted(command("sleep 600"), FINISH)
    quick = [server.create(work, "scripted/finish", autotitle=False) for _ in range(5)]
    over = []

    def run(conversation):
        with Watcher(server, conversation) as watcher:
            server.send(conversation, "Go.", run=True)
            over.append(watcher.until_over())

    with Watcher(server, slow) as watcher:
        server.send(slow, "Sleep.", run=True)
        watcher.until_kind("ActionEvent")
        threads = [threading.Thread(target=run, args=(c,)) for c in quick]
        for t in threads:
            t.start()
        for t in threads:
            t.join(LATEST_S)
        assert over == ["finished"] * 5
        assert server.http.delete(f"/api/conversations/{slow}").json() == {"success": True}
