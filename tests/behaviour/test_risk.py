"""Analyzers: what an action's risk is said to be, and that the confirmation policy goes by it."""

import json
import uuid

import httpx
import pytest

from talk import FINISH, Talk, run

RISKY = {"kind": "ConfirmRisky", "threshold": "HIGH", "confirm_unknown": False}
PATTERN = {"kind": "PatternSecurityAnalyzer"}
RAILS = {"kind": "PolicyRailSecurityAnalyzer"}
LLM = {"kind": "LLMSecurityAnalyzer"}


def risks(talk):
    return [e["security_risk"] for e in talk.events("ActionEvent") if e["tool_name"] == "terminal"]


def analyzer(server, talk, value):
    return server.http.post(f"/api/conversations/{talk.id}/security_analyzer", json={"security_analyzer": value})


@pytest.mark.parametrize("kind, command, risk", [
    (PATTERN, "mkdir -p d && 'rm' -r\"f\" d", "HIGH"),
    (PATTERN, "echo dGVzdA== | base64 -d | sh", "HIGH"),
    (PATTERN, "echo hello > a", "LOW"),
    (PATTERN, "curl -s https://127.0.0.1:1/x", "MEDIUM"),
    (RAILS, "rm -rf ~/", "HIGH"),
    (RAILS, "rm -rf ./build", "LOW"),
    ({"kind": "EnsembleSecurityAnalyzer", "analyzers": [RAILS, PATTERN]}, "rm -rf ./build", "HIGH"),
    ({"kind": "EnsembleSecurityAnalyzer", "analyzers": [LLM, PATTERN], "propagate_unknown": True}, "true", "UNKNOWN"),
    ({**PATTERN, "high_patterns": [["deploy", "no", "own.deploy"]]}, "echo deploy", "HIGH"),
])
def test_what_is_risky_waits(server, work, kind, command, risk):
    with Talk(server, work, [run(command), FINISH], confirmation_policy=RISKY, security_analyzer=kind) as talk:
        assert talk.say() == ("waiting_for_confirmation" if risk == "HIGH" else "finished")
        assert risks(talk) == [risk]
        assert talk.info()["security_analyzer"] == kind


def test_the_last_byte_of_a_long_command_counts(server, work):
    long = "".join(f"echo line {n} >> log\n" for n in range(20000)) + "rm -rf never"
    with Talk(server, work, [run(long), FINISH], confirmation_policy=RISKY, security_analyzer=PATTERN) as talk:
        assert talk.say() == "waiting_for_confirmation" and risks(talk) == ["HIGH"]
        assert not (work / "log").exists()


def test_the_model_is_asked_only_by_its_analyzer(server, work):
    with Talk(server, work, [run("true", security_risk="HIGH"), FINISH], confirmation_policy=RISKY, security_analyzer=PATTERN) as talk:
        assert talk.say() == "finished" and risks(talk) == ["LOW"]
    with Talk(server, work, [run("true", security_risk="HIGH"), FINISH], confirmation_policy=RISKY, security_analyzer=LLM) as talk:
        assert talk.say() == "waiting_for_confirmation" and risks(talk) == ["HIGH"]


def test_another_analyzer_on_the_way(server, work):
    with Talk(server, work, [run("rm -rf a"), run("rm -rf b"), run("rm -rf c"), FINISH], confirmation_policy=RISKY) as talk:
        assert analyzer(server, talk, PATTERN).json() == {"success": True}
        update = talk.until(lambda e: e.get("key") == "security_analyzer")
        assert update["value"] == PATTERN and talk.info()["security_analyzer"] == PATTERN
        assert talk.say() == "waiting_for_confirmation"
        assert analyzer(server, talk, None).status_code == 200
        assert talk.info()["security_analyzer"] is None
        talk.post("events/respond_to_confirmation", {"accept": True})
        assert talk.until_over() == "finished"
        assert risks(talk) == ["HIGH", "UNKNOWN", "UNKNOWN"]


def test_inside_the_agent(server, work, tmp_path):
    """Where an old documentation page has it."""
    from handsd import write_script
    name = f"t{uuid.uuid4().hex}"
    write_script(server.scripts, name, [run("rm -rf x"), FINISH])
    agent = {"llm": {"model": f"scripted/{name}"}, "tools": [{"name": "BashTool"}], "security_analyzer": PATTERN}
    with Talk(server, work, model=f"scripted/{name}", agent=agent, confirmation_policy=RISKY) as talk:
        assert talk.say() == "waiting_for_confirmation" and risks(talk) == ["HIGH"]
        assert talk.info()["agent"]["security_analyzer"] == PATTERN and talk.info()["security_analyzer"] == PATTERN


def test_it_is_there_after_a_restart(tmp_path):
    from handsd import Handsd, write_script
    write_script(tmp_path / "scripts", "play", [run("rm -rf a"), FINISH])
    with Handsd(tmp_path / "data", scripts=tmp_path / "scripts") as server:
        conversation = server.create(tmp_path / "work", "scripted/play", security_analyzer=PATTERN, confirmation_policy=RISKY, autotitle=False)
    with Handsd(tmp_path / "data", scripts=tmp_path / "scripts") as server:
        server.send(conversation, "Go.", run=True)
        from websockets.sync.client import connect
        with connect(server.socket_url(conversation)) as socket:
            while json.loads(socket.recv(20)).get("value") != "waiting_for_confirmation":
                if server.http.get(f"/api/conversations/{conversation}").json()["execution_status"] == "waiting_for_confirmation":
                    break
        assert [e["security_risk"] for e in server.events(conversation) if e["kind"] == "ActionEvent"] == ["HIGH"]


@pytest.mark.parametrize("wrong", [{"kind": "GraySwanAnalyzer"}, {"kind": "Nobody"}, {}, "LLMSecurityAnalyzer", 7,
                                   {"kind": "EnsembleSecurityAnalyzer", "analyzers": []}, {**PATTERN, "high_patterns": [["(", "", ""]]},
                                   {**PATTERN, "high_patterns": 3}])
def test_what_cannot_work_is_refused(server, work, wrong):
    with Talk(server, work, [FINISH]) as talk:
        answer = analyzer(server, talk, wrong)
        assert answer.status_code == 422 and answer.json()["detail"][0]["loc"][:2] == ["body", "security_analyzer"]
        assert server.http.post(f"/api/conversations/{talk.id}/security_analyzer", json={}).json()["detail"][0]["type"] == "missing"
        assert talk.info()["security_analyzer"] is None
    body = {"agent": {"llm": {"model": "scripted/text"}}, "workspace": {"working_dir": str(work)}, "security_analyzer": wrong}
    assert httpx.post(f"{server.url}/api/conversations", json=body).status_code == 422


def test_no_such_conversation(server):
    answer = server.http.post(f"/api/conversations/{uuid.uuid4()}/security_analyzer", json={"security_analyzer": None})
    assert answer.status_code == 404
