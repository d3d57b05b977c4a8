"""What a person can do while a model works, and what its work costs."""

import json
import os
import time

import pytest

from model_talk import CALLS, KEY, both, calls, words
from talk import Others, call


# ---- stopping and going on


@both
def test_interrupt_while_the_model_hangs(ask, model, stream):
    talk = ask({"hang": True}, words("Awake."), llm={"stream": stream, "timeout": 300})
    talk.start()
    model.requests(wait=1)
    started = time.monotonic()
    assert talk.post("interrupt").json() == {"success": True}
    talk.until_kind("InterruptEvent")
    assert time.monotonic() - started < 0.5
    assert talk.until_over() == "paused"
    model.requests(gone=1)  # the call was given up at its server too
    assert talk.kinds()[-1] == "InterruptEvent" and talk.events("InterruptEvent")[0]["source"] == "user"
    assert talk.post("run").status_code == 200
    assert talk.until_over() == "finished"


def test_interrupt_in_the_middle_of_a_stream(ask, model):
    talk = ask(words("word " * 2000, piece=5, pause=0.02), words("Again."), llm={"stream": True})
    talk.start()
    talk.until_kind("StreamingDeltaEvent")
    talk.post("interrupt")
    talk.until_kind("InterruptEvent")
    behind = len(talk.frames)
    assert talk.until_over() == "paused"
    assert "StreamingDeltaEvent" not in [e["kind"] for e in talk.frames[behind:]]
    assert [e["source"] for e in talk.events("MessageEvent")] == ["user"]


def test_interrupt_between_attempts(ask, model):
    talk = ask(default={"status": 500}, llm={"retry_min_wait": 60, "retry_multiplier": 60})
    talk.start()
    model.requests(wait=1)
    started = time.monotonic()
    talk.post("interrupt")
    talk.until_kind("InterruptEvent")
    assert time.monotonic() - started < 0.5 and len(model.requests()) == 1


def test_pause_while_the_model_hangs_waits_for_it(ask, model):
    talk = ask(calls(call("terminal", command="touch made"), delay=1.5), CALLS)
    talk.start()
    model.requests(wait=1)
    started = time.monotonic()
    assert talk.post("pause").json() == {"success": True}
    assert time.monotonic() - started < 0.5
    talk.until_kind("PauseEvent")
    assert time.monotonic() - started < 0.5 and talk.status() == "paused"
    assert talk.until_over() == "paused"
    assert len(model.requests()) == 1


def test_pause_while_a_tool_runs(ask, model):
    talk = ask(calls(call("terminal", command="until [ -e go ]; do sleep 0.02; done; echo over")), CALLS)
    talk.start()
    talk.until_kind("ActionEvent")
    started = time.monotonic()
    assert talk.post("pause").json() == {"success": True}
    assert time.monotonic() - started < 0.5
    (talk.work / "go").touch()
    assert talk.until_over() == "paused"
    assert talk.kinds()[-1] == "ObservationEvent" and talk.seen()[0].text == "over"
    assert len(model.requests()) == 1
    talk.post("run")
    assert talk.until_over() == "finished"


@pytest.mark.parametrize("times", [1, 3])
def test_messages_while_it_runs_are_answered(ask, model, times):
    talk = ask(words("First.", delay=0.5), default=words("Second."))
    talk.start("one")
    model.requests(wait=1)
    for n in range(times):
        talk.start(f"more {n}")
    talk.until(lambda e: e["kind"] == "MessageEvent" and e["source"] == "agent" and "Second." in json.dumps(e))
    assert talk.until_over() == "finished"
    messages = json.dumps(model.requests()[-1]["body"]["messages"])
    assert all(f"more {n}" in messages for n in range(times)) and messages.index("one") < messages.index("more 0")


def test_a_message_in_the_moment_of_the_end(ask, model):
    """Sent when the answer appears, while the run is just ending: never lost."""
    talk = ask(default=words("Answer."))
    for n in range(30):
        talk.start(f"first {n}")
        talk.until(lambda e: e["kind"] == "MessageEvent" and e["source"] == "agent")
        talk.start(f"second {n}")
        talk.until(lambda e: e["kind"] == "MessageEvent" and e["source"] == "agent")
    assert f"second {n}" in json.dumps(model.requests()[-1]["body"]["messages"][-1])


def test_a_model_that_hangs_delays_nobody_else(server, ask, model):
    talk = ask({"hang": True})
    with Others(server):
        talk.start()
        model.requests(wait=1)
        for _ in range(50):
            assert talk.status() == "running"
            assert talk.server.http.get(f"/api/conversations/{talk.id}/events/search").status_code == 200
    talk.post("interrupt")
    assert talk.until_over() == "paused"


# ---- what it costs, and what it is told


@both
def test_costs_and_tokens(ask, stream):
    usage = {"prompt_tokens": 100, "completion_tokens": 20, "total_tokens": 120, "prompt_tokens_details": {"cached_tokens": 60},
             "completion_tokens_details": {"reasoning_tokens": 5}}
    talk = ask(calls(call("think", thought="a"), usage=usage, cost=0.25), words("Done.", usage=usage, cost=0.5), llm={"stream": stream})
    assert talk.say() == "finished"
    metrics = talk.info()["stats"]["usage_to_metrics"]["default"]
    assert metrics["accumulated_cost"] == pytest.approx(0.75)
    tokens = metrics["accumulated_token_usage"]
    assert (tokens["prompt_tokens"], tokens["completion_tokens"], tokens["cache_read_tokens"]) == (200, 40, 120)
    assert (tokens["reasoning_tokens"], tokens["per_turn_token"]) == (10, 120)
    told = [e for e in talk.frames if e.get("key") == "stats"]
    assert told and told[-1]["value"]["usage_to_metrics"]["default"]["accumulated_cost"] == pytest.approx(0.75)


def test_prices_of_the_configuration(ask):
    usage = {"prompt_tokens": 1000, "completion_tokens": 100, "total_tokens": 1100}
    talk = ask(words("Done.", usage=usage), llm={"input_cost_per_token": 0.001, "output_cost_per_token": 0.01})
    assert talk.say() == "finished"
    assert talk.info()["stats"]["usage_to_metrics"]["default"]["accumulated_cost"] == pytest.approx(2.0)


def test_the_key_goes_to_the_model_and_nothing_else_does(ask, model):
    secret = "tok-1234567890-xyz"
    talk = ask(calls(call("terminal", command="echo $TOKEN; echo $TOKEN > file; cat file | rev | rev")),
               calls(call("terminal", command="cat file; env | grep TOKEN")),
               calls(call("terminal", command=f"./{'x' * 10}$TOKEN")), CALLS, secrets={"TOKEN": secret})
    assert talk.say(f"My token is {secret}?") == "finished"
    requests = model.requests()
    assert len(requests) == 4
    for request in requests:
        assert request["headers"]["authorization"] == f"Bearer {KEY}"
        assert KEY not in json.dumps(request["body"])
        later = json.dumps([m for m in request["body"]["messages"] if m["role"] != "user"])
        assert secret not in later
    assert "<secret-hidden>" in json.dumps(requests[-1]["body"])
    assert KEY not in json.dumps(talk.events()) + json.dumps(talk.info()) + json.dumps(talk.frames)


def test_a_hand_has_nothing_of_the_server(server, ask):
    """No connection to a model, no file of the log, no socket of a client."""
    talk = ask(calls(call("terminal", command="ls -l /proc/$PPID/fd /proc/$$/fd; ls -l /proc/$(ps -o ppid= -p $PPID | tr -d ' ')/fd")), CALLS)
    assert talk.say() == "finished"
    seen = talk.seen()[0].text
    assert "->" in seen and str(server.data) not in seen
    folder = f"/proc/{server.process.pid}/fd"
    for fd in os.listdir(folder):
        try:
            held = os.readlink(f"{folder}/{fd}")
        except FileNotFoundError:
            continue
        assert not held.startswith("socket:") or held not in seen, held


def test_every_call_has_its_result_whatever_happened(ask, model):
    """What the provider is sent is in order after an interrupt, a rejection and a new message in the middle."""
    talk = ask(calls(call("terminal", command="sleep 100"), call("think", thought="x")), calls(call("terminal", command="echo a")),
               words("Done."))
    talk.start()
    talk.until_kind("ActionEvent")
    talk.post("interrupt")
    assert talk.until_over() == "paused"
    assert talk.say("And now?") == "finished"
    for request in model.requests():
        open_calls = []
        for message in request["body"]["messages"]:
            if message["role"] == "tool":
                assert open_calls.pop(0) == message["tool_call_id"]
                continue
            assert not open_calls, "a call without its result"
            open_calls = [c["id"] for c in message.get("tool_calls") or []]
        assert not open_calls
