"""What a model's server can do to a conversation: the right error, the right number of attempts, and nothing that sticks."""

import json
import time

import pytest

from model_talk import CALLS, GROWTH_KB, KEY, both, calls, problem, words
from talk import Others, call, memory_kb


# ---- errors


@both
@pytest.mark.parametrize("answer, code, kind, attempts", [
    ({"status": 500}, "LLMServiceUnavailableError", "transient", 3),
    ({"status": 502, "html": True}, "LLMServiceUnavailableError", "transient", 3),
    ({"status": 503, "error": "overloaded"}, "LLMServiceUnavailableError", "transient", 3),
    ({"status": 529}, "LLMServiceUnavailableError", "transient", 3),
    ({"status": 429, "error": {"message": "slow down"}}, "LLMRateLimitError", "rate_limit", 3),
    ({"status": 429, "error": {"message": "You exceeded your current quota", "code": "insufficient_quota"}}, "LLMRateLimitError",
     "rate_limit", 1),
    ({"status": 408}, "LLMTimeoutError", None, 3),
    ({"status": 401, "error": {"message": f"Incorrect API key provided: {KEY}"}}, "LLMAuthenticationError", "auth", 1),
    ({"status": 403}, "LLMAuthenticationError", "auth", 1),
    ({"status": 404, "error": "no such model"}, "NotFoundError", "config", 1),
    ({"status": 400, "error": "bad"}, "LLMBadRequestError", "config", 1),
    ({"status": 413}, "LLMBadRequestError", "config", 1),
    ({"status": 418, "raw": "\0\0 no json", "content_type": "text/plain"}, "LLMBadRequestError", "config", 1),
    ({"status": 400, "error": {"message": "This model's maximum context length is 8192 tokens", "code": "context_length_exceeded"}},
     "LLMContextWindowExceedError", "agent_action", 1),
    ({"status": 400, "error": "messages with role tool must be a response to a preceding message with 'tool_calls'"},
     "LLMMalformedConversationHistoryError", "agent_action", 1),
    ({"html": True}, "LLMBadRequestError", "config", 1),
    ({"status": 302, "headers": {"Location": "http://127.0.0.1:1/elsewhere"}, "raw": ""}, None, None, None),
    ({"reset": True}, "LLMServiceUnavailableError", "transient", 3),
    ({"raw": ""}, "LLMNoResponseError", "transient", 3),
    ({"raw": "{}"}, None, None, None),
    ({"raw": "[]"}, None, None, None),
    ({"raw": "null"}, None, None, None),
    ({"raw": "{\"choices\":[{\"message\":{\"content\":\"a"}, "LLMServiceUnavailableError", "transient", 3),
    ({"raw": json.dumps({"error": {"message": "upstream", "code": 502}})}, "LLMServiceUnavailableError", "transient", 3),
    ({"raw": "{" * 100000}, "LLMServiceUnavailableError", "transient", 3),
    ({"raw": "[" * 100000}, "LLMServiceUnavailableError", "transient", 3),
    ({"choices": [], "whole": True}, "LLMNoResponseError", "transient", 3),
])
def test_errors(ask, model, answer, code, kind, attempts, stream):
    talk = ask(default=answer, llm={"stream": stream})
    assert talk.say() == talk.status() == "error"
    error = problem(talk)
    assert error["detail"]
    asked = len(model.requests())
    if code:
        # A connection that was kept open may have died of itself: a reset there is tried again at once and not counted.
        assert error["code"] == code and asked in ((attempts, attempts + 1) if "reset" in answer else (attempts,)), error
        assert kind is None or error["classification"]["kind"] == kind, error
    else:
        assert error["code"].endswith("Error") and 1 <= asked <= 3, error
    # The next message starts anew.
    model.plays(default=words("Better."))
    assert talk.say() == "finished"


@both
@pytest.mark.parametrize("answer", [{"status": 500}, {"status": 429}, {"reset": True}, {"reset": "middle"}, {"cut": "middle"}, {"raw": ""}])
def test_a_failure_that_passes(ask, model, answer, stream):
    talk = ask({"text": "Half of this will be lost on the way.", **answer}, words("Here I am."), llm={"stream": stream})
    assert talk.say() == "finished"
    assert [e["llm_message"]["content"][0]["text"] for e in talk.events("MessageEvent")] == ["Go on.", "Here I am."]
    assert len(model.requests()) == 2
    assert "ConversationErrorEvent" not in talk.kinds()


@both
@pytest.mark.parametrize("cut", ["middle", "clean"])
def test_an_answer_cut_in_the_middle(ask, model, cut, stream):
    if cut == "clean" and not stream:
        pytest.skip("a whole answer cannot end cleanly in its middle")
    command = call("terminal", command="touch made && echo " + "x" * 200)
    talk = ask(default={**calls(command), "cut": cut}, llm={"stream": stream})
    assert talk.say() == "error"
    assert problem(talk)["code"] == "LLMServiceUnavailableError"
    assert len(model.requests()) == 3
    assert "ActionEvent" not in talk.kinds() and not (talk.work / "made").exists()


def test_retry_after_is_heeded(ask, model):
    talk = ask({"status": 429, "headers": {"Retry-After": "1"}}, {"status": 503, "headers": {"retry-after-ms": "200"}}, words("Now."))
    assert talk.say() == "finished"
    at = [r["at"] for r in model.requests()]
    assert 1.0 <= at[1] - at[0] < 3 and 0.2 <= at[2] - at[1] < 1.0


def test_back_off_grows(ask, model):
    talk = ask(default={"status": 500}, llm={"num_retries": 4, "retry_multiplier": 0.2, "retry_max_wait": 1})
    assert talk.say() == "error"
    at = [r["at"] for r in model.requests()]
    waits = [b - a for a, b in zip(at, at[1:])]
    assert len(waits) == 3 and waits[0] >= 0.2 and waits[1] >= 0.4 and waits[2] >= 0.8


def test_nobody_listens(ask):
    talk = ask(llm={"base_url": "http://127.0.0.1:1/v1"})
    assert talk.say() == "error"
    assert problem(talk)["code"] == "LLMServiceUnavailableError"


@pytest.mark.parametrize("url", ["ftp://127.0.0.1/", "file:///etc/passwd", "127.0.0.1:1", "http://", "http://[::1"])
def test_addresses_that_are_none(ask, url):
    talk = ask(llm={"base_url": url})
    assert talk.say() == "error"
    error = problem(talk)
    assert error["code"].startswith("LLM") and "root:" not in error["detail"]


def test_time_runs_out(ask, model):
    talk = ask(default={"hang": True}, llm={"timeout": 1, "num_retries": 2})
    started = time.monotonic()
    assert talk.say() == "error"
    assert problem(talk)["code"] == "LLMTimeoutError"
    assert len(model.requests(gone=2)) == 2 and time.monotonic() - started < 8


@both
def test_parameters_that_the_server_refuses_are_left_out(ask, model, stream):
    talk = ask({"status": 400, "error": {"message": "Unsupported parameter: 'temperature'", "param": "temperature"}}, words("Fine."),
               llm={"stream": stream, "temperature": 0.5})
    assert talk.say() == "finished"
    sent = [r["body"] for r in model.requests()]
    assert "temperature" in sent[0] and "temperature" not in sent[1]


def test_a_content_filter_is_told_to_the_model(ask, model):
    talk = ask({"status": 400, "error": {"message": "The response was filtered", "code": "content_filter"}}, words("In other words."))
    assert talk.say() == "finished"
    assert len(model.requests()[1]["body"]["messages"]) > len(model.requests()[0]["body"]["messages"]) - 1
    assert [e["source"] for e in talk.events("MessageEvent")] == ["user", "user", "agent"]


# ---- streaming


def test_deltas_come_before_the_event_and_none_behind(ask):
    text, reasoning = "One two three. " * 40, "I wonder. " * 20
    talk = ask(words(text, reasoning=reasoning, piece=7, pause=0.001), llm={"stream": True})
    assert talk.say() == "finished"
    kinds = [e["kind"] for e in talk.frames]
    final = next(i for i, e in enumerate(talk.frames) if e["kind"] == "MessageEvent" and e["source"] == "agent")
    deltas = [i for i, k in enumerate(kinds) if k == "StreamingDeltaEvent"]
    assert deltas and max(deltas) < final
    assert "".join(talk.frames[i].get("content", "") for i in deltas) == text
    assert "".join(talk.frames[i].get("reasoning_content", "") for i in deltas) == reasoning
    assert "StreamingDeltaEvent" not in talk.kinds()
    for i in deltas:
        assert set(talk.frames[i]) <= {"id", "timestamp", "source", "content", "reasoning_content", "kind"}


def test_whole_answers_have_no_deltas(ask):
    talk = ask(words("Hello."))
    assert talk.say() == "finished"
    assert "StreamingDeltaEvent" not in [e["kind"] for e in talk.frames]


@both
def test_secrets_are_not_streamed(ask, stream):
    secret = "tok-9876543210-abcdef"
    talk = ask(words(f"It is {secret}, I say {secret}", reasoning=f"so {secret}", piece=3), llm={"stream": stream},
               secrets={"TOKEN": secret})
    assert talk.say() == "finished"
    deltas = [e for e in talk.frames if e["kind"] == "StreamingDeltaEvent"]
    said = "".join(e.get("content", "") for e in deltas)
    assert secret not in json.dumps(talk.frames) + json.dumps(talk.events()) and secret not in said
    for piece in range(8, len(secret)):
        assert secret[:piece] not in said
    if stream:
        assert said == "It is <secret-hidden>, I say <secret-hidden>"


def test_what_a_server_repeats_is_hidden_in_the_log(ask, server):
    secret = "tok-9876543210-uvwxyz"
    talk = ask({"status": 500, "error": f"cannot handle: {secret}"}, words("Hello."), secrets={"TOKEN": secret})
    assert talk.say() == "finished"
    server.until_logged("cannot handle: <secret-hidden>")
    assert not [line for line in server.log if secret in line]


@both
def test_broken_bytes_in_an_answer(ask, stream):
    talk = ask({"text": "caf\u00e9 ", "bad_utf8": True}, llm={"stream": stream})
    assert talk.say() == "finished"
    said = talk.events("MessageEvent")[-1]["llm_message"]["content"][0]["text"]
    assert said.startswith("caf\u00e9 ")


@pytest.mark.parametrize("answer", [
    {"gzip": True}, {"whole": True}, {"nameless": True}, {"usage": None}, {"usage": {}}, {"usage": {"prompt_tokens": "many"}},
    {"usage": {"prompt_tokens": -5, "completion_tokens": 1e300}}, {"finish_reason": None}, {"finish_reason": "length"}, {"write": 1},
    {"headers": {"x-litellm-response-cost": "dear"}}, {"content_type": "text/plain"}, {"id": "x" * 100000},
])
@both
def test_odd_answers_are_answers(ask, answer, stream):
    talk = ask({**words("All the same."), **answer}, llm={"stream": stream})
    assert talk.say() == "finished"
    assert talk.events("MessageEvent")[-1]["llm_message"]["content"][0]["text"] == "All the same."
    assert talk.status() == "finished"


# ---- calls


@both
def test_several_calls_in_one_answer(ask, model, stream):
    talk = ask(calls(call("terminal", command="echo one > a"), call("terminal", command="cat a; echo two"), call("think", thought="hm"),
                     call("file_editor", command="view", path="/nowhere"), call("nosuch", x=1), text="Several."),
               CALLS, llm={"stream": stream})
    assert talk.say() == "finished"
    kinds = talk.kinds()
    # All calls, then what is wrong with one at once, then the results together in call order.
    assert kinds[2:] == ["ActionEvent"] * 5 + ["AgentErrorEvent"] + ["ObservationEvent"] * 4 + ["ActionEvent", "ObservationEvent"]
    actions, results = talk.events("ActionEvent"), talk.events("ObservationEvent")
    assert [r["action_id"] for r in results[:4]] == [a["id"] for a in actions[:4]]
    assert actions[0]["thought"][0]["text"] == "Several." and not any(a["thought"] for a in actions[1:5])
    assert len({a["llm_response_id"] for a in actions[:5]}) == 1
    messages = model.requests()[1]["body"]["messages"]
    asked = [m for m in messages if m["role"] == "assistant"][-1]["tool_calls"]
    told = [m for m in messages if m["role"] == "tool"]
    assert [m["tool_call_id"] for m in told] == [c["id"] for c in asked] and len(asked) == 5
    assert "one\ntwo" in json.dumps(told[1]).replace("\\n", "\n")


def test_calls_behind_finish_are_not_executed(ask, model):
    talk = ask(calls(call("terminal", command="touch before"), call("finish", message="Over."), call("terminal", command="touch after")))
    assert talk.say() == "finished"
    assert (talk.work / "before").exists() and not (talk.work / "after").exists()
    assert talk.kinds()[-3:] == ["ObservationEvent", "ObservationEvent", "AgentErrorEvent"]
    assert "not executed" in talk.events("AgentErrorEvent")[0]["error"]
    model.plays(default=words("Fine."))
    assert talk.say() == "finished"
    assert not (talk.work / "after").exists()


@both
@pytest.mark.parametrize("made, begins", [
    ({"name": "nosuch", "arguments": {}}, "Tool 'nosuch' not found"),
    ({"name": "", "arguments": {}}, "Tool '' not found"),
    ({"name": "x" * 100000, "arguments": {}}, "Tool 'xxx"),
    ({"name": "../../etc\n\0", "arguments": {}}, "Tool '"),
    ({"name": "terminal", "arguments": "{\"command\": \"ls"}, "Error validating tool 'terminal'"),
    ({"name": "terminal", "arguments": "rubbish"}, "Error validating tool 'terminal'"),
    ({"name": "terminal", "arguments": "[" * 5000}, "Error validating tool 'terminal'"),
    ({"name": "terminal", "arguments": {}}, "Error validating tool 'terminal'"),
    ({"name": "terminal", "arguments": {"command": "ls", "more": 1}}, "Error validating tool 'terminal'"),
    ({"name": "terminal", "arguments": {"command": 5}}, "Error validating tool 'terminal'"),
    ({"name": "terminal", "arguments": {"command": ["ls"]}}, "Error validating tool 'terminal'"),
    ({"name": "terminal", "arguments": {"command": "ls", "timeout": -1}}, "Error validating tool 'terminal'"),
    ({"name": "terminal", "arguments": {"command": "ls", "is_input": "perhaps"}}, "Error validating tool 'terminal'"),
    ({"name": "file_editor", "arguments": {"command": "destroy", "path": "/x"}}, "Error validating tool 'file_editor'"),
    ({"name": "file_editor", "arguments": {"command": "view", "path": "/x", "view_range": "[1"}}, "Error validating tool 'file_editor'"),
    ({"name": "file_editor", "arguments": {"command": "insert", "path": "/x", "insert_line": -1, "new_str": ""}}, "Error validating"),
    ({"name": "terminal", "arguments_raw": 5}, "Error validating tool 'terminal'"),
    ({"name": "terminal", "arguments_raw": None}, "Error validating tool 'terminal'"),
    ({"name": "terminal", "arguments": "{}" * 3}, "Error validating tool 'terminal'"),
    ({"name": "terminal", "arguments": ""}, "Error validating tool 'terminal'"),
])
def test_calls_that_cannot_be_run(ask, model, made, begins, stream):
    talk = ask(calls(made), CALLS, llm={"stream": stream})
    assert talk.say() == "finished"
    error, = talk.events("AgentErrorEvent")
    assert error["error"].startswith(begins) and len(error["error"]) < 20000, error
    assert error["classification"]["kind"] == "agent_action"
    bad = talk.events("ActionEvent")[0]
    assert "action" not in bad and bad["tool_call_id"] == error["tool_call_id"]
    # The model is shown its call and what was wrong, in a form that providers take.
    messages = model.requests()[1]["body"]["messages"]
    shown = messages[-2]["tool_calls"][0]
    assert isinstance(json.loads(shown["function"]["arguments"]), dict) and shown["function"]["name"]
    assert messages[-1]["role"] == "tool" and messages[-1]["tool_call_id"] == shown["id"]


@pytest.mark.parametrize("made, kind, field, value", [
    ({"name": "bash", "arguments": {"command": "echo x"}}, "TerminalAction", "command", "echo x"),
    ({"name": "execute_bash", "arguments": {"command": "echo x", "timeout": None}}, "TerminalAction", "command", "echo x"),
    ({"name": "git", "arguments": {"command": "status"}}, "TerminalAction", "command", "git status"),
    ({"name": "pwd", "arguments": {}}, "TerminalAction", "command", "pwd"),
    ({"name": "terminal", "arguments": "{\"command\": \"echo a\nb\"}"}, "TerminalAction", "command", "echo a\nb"),
    ({"name": "str_replace_editor", "arguments": {"path": "/x", "file_text": "y"}}, "FileEditorAction", "command", "create"),
    ({"name": "file_editor", "arguments": {"command": "view", "path": "/x", "view_range": "[1, 2]"}}, "FileEditorAction", "view_range",
     [1, 2]),
    ({"name": "terminal", "arguments": {"command": "echo x", "summary": "says x"}}, "TerminalAction", "command", "echo x"),
    ({"name": "terminal<|x|>", "arguments": {"command": "echo x"}}, "TerminalAction", "command", "echo x"),
])
def test_calls_that_are_understood_anyway(ask, made, kind, field, value):
    talk = ask(calls(made), CALLS)
    assert talk.say() == "finished"
    action = talk.events("ActionEvent")[0]["action"]
    assert action["kind"] == kind and action[field] == value


@both
@pytest.mark.parametrize("size", [10 * 1000 * 1000, 300 * 1000])
def test_huge_arguments(server, ask, model, stream, size):
    before = memory_kb(server)
    with Others(server):
        talk = ask({"arguments_bytes": size}, CALLS, llm={"stream": stream})
        assert talk.say() == "finished"
    assert talk.kinds()[-2:] == ["ActionEvent", "ObservationEvent"]
    assert memory_kb(server) - before < GROWTH_KB
    assert len(json.dumps(model.requests()[1]["body"])) < 2 * 1000 * 1000


def test_an_answer_without_end(server, ask):
    """More than any answer is: refused when the bound is reached, not kept."""
    before = memory_kb(server)
    talk = ask(default={"text": "x" * (60 * 1000 * 1000)}, llm={"num_retries": 1})
    assert talk.say() in ("error", "finished")
    if talk.status() == "error":
        assert problem(talk)["code"] == "LLMResponseError"
    assert memory_kb(server) - before < 64 * 1024


@both
def test_many_calls(ask, stream):
    talk = ask(calls(*[call("think", thought=f"no {n}") for n in range(200)]), CALLS, llm={"stream": stream})
    assert talk.say() == "finished"
    actions = [e for e in talk.events("ActionEvent") if e["tool_name"] == "think"]
    answered = [e for e in talk.events() if e["kind"] in ("ObservationEvent", "AgentErrorEvent")]
    assert len(answered) == len(actions) + 1


def test_ids_that_repeat(ask, model):
    same = {"id": "call_0"}
    talk = ask(calls({**call("think", thought="a"), **same}, {**call("think", thought="b"), **same}),
               calls({**call("think", thought="c"), **same}, {**call("think", thought="d"), "no_id": True}), CALLS)
    assert talk.say() == "finished"
    ids = [e["tool_call_id"] for e in talk.events("ActionEvent")]
    assert len(set(ids)) == len(ids) == 5
    told = [m["tool_call_id"] for m in model.requests()[2]["body"]["messages"] if m["role"] == "tool"]
    assert told == ids[:4]


# ---- words


@both
@pytest.mark.parametrize("answer", [{"reasoning": "I wonder what to do."}, {"text": ""}, {"text": " \n\t "}, {"text": None}])
def test_neither_words_nor_calls(ask, model, answer, stream):
    talk = ask(answer, words("Here."), llm={"stream": stream})
    assert talk.say() == "finished"
    said = talk.events("MessageEvent")
    assert [e["source"] for e in said] == ["user", "agent", "environment", "agent"]
    assert said[2]["llm_message"]["role"] == "user" and "tool" in said[2]["llm_message"]["content"][0]["text"]
    assert len(model.requests()) == 2


def test_nothing_but_thoughts_ends_as_stuck(ask, model):
    talk = ask(default={"reasoning": "hm"})
    assert talk.say() == "stuck"
    assert len(model.requests()) <= 6


# ---- going round in circles


def test_the_same_call_with_the_same_result(ask, model):
    talk = ask(default=calls(call("terminal", command="echo again")))
    assert talk.say() == talk.status() == "stuck"
    assert len(model.requests()) == 4


def test_the_same_failing_call_is_nudged_once(ask, model):
    talk = ask(default=calls(call("nosuch", x=1)))
    assert talk.say() == "stuck"
    assert len(model.requests()) == 4
    nudges = [e for e in talk.events("MessageEvent") if e["source"] == "environment"]
    assert len(nudges) == 1 and "nosuch" in nudges[0]["llm_message"]["content"][0]["text"]
    assert json.dumps(model.requests()[3]["body"]["messages"][-1]).count("3 times") == 1


def test_a_nudge_that_helps(ask):
    bad = calls(call("nosuch", x=1))
    talk = ask(bad, bad, bad, words("You are right."))
    assert talk.say() == "finished"


def test_two_calls_in_turns(ask, model):
    a, b = calls(call("terminal", command="echo a")), calls(call("terminal", command="echo b"))
    talk = ask(a, b, a, b, a, b, default=a)
    assert talk.say() == "stuck"
    assert len(model.requests()) == 6


def test_stuck_detection_can_be_off(ask, model):
    talk = ask(*[calls(call("terminal", command="echo again"))] * 8, words("Enough."), stuck_detection=False)
    assert talk.say() == "finished"
    assert len(model.requests()) == 9


def test_a_message_frees_a_stuck_one(ask, model):
    talk = ask(*[calls(call("terminal", command="echo again"))] * 4, words("Thanks."))
    assert talk.say() == "stuck"
    assert talk.say() == "finished"


def test_max_iterations(ask, model):
    talk = ask(*[calls(call("think", thought=f"{n}")) for n in range(5)], max_iterations=3)
    assert talk.say() == "error"
    error = problem(talk)
    assert error["code"] == "MaxIterationsReached" and "3" in error["detail"]
    assert error["classification"] == {"kind": "agent_action", "retryable": False, "user_action": "none"}
    assert len(model.requests()) == 3
    model.plays(default=words("Fine."))  # each run has its own count
    assert talk.say() == "finished"


def test_finish_in_the_last_iteration(ask):
    talk = ask(calls(call("think", thought="a")), CALLS, max_iterations=2)
    assert talk.say() == "finished"
