"""Long histories: what is forgotten and when, that the work goes on, and what a client sees of it."""

import json
import uuid

import httpx
import pytest

from talk import Talk, call

OVERFLOW = {"status": 400, "error": {"message": "This model's maximum context length is 8192 tokens.", "code": "context_length_exceeded"}}
DONE = {"tool_calls": [call("finish", message="All done.")]}


def think(n):
    return {"model": "test-model", "tool_calls": [call("think", thought=f"thought {n}")]}


def summary(text="The summary.", **more):
    return {"model": "summarizer", "text": text, **more}


def mine(answer):
    return {"model": "test-model", **answer}


def llm(model, name, usage_id, **more):
    return {"model": f"openai/{name}", "api_key": "sk-test-0123456789", "base_url": f"{model.url}/v1", "usage_id": usage_id,
            "num_retries": 1, "retry_multiplier": 0, "retry_min_wait": 0, "timeout": 20, **more}


@pytest.fixture
def long_talk(server, model, work):
    """long_talk(answers…, condenser={…}) → a conversation with a condenser of its own model."""
    opened = []

    def make(*answers, condenser=None, agent_llm=None, default=None, **more):
        model.plays(*answers, default=default)
        agent = {"kind": "Agent", "llm": llm(model, "test-model", "agent", **(agent_llm or {})), "tools": []}
        if condenser is not None:
            agent["condenser"] = {"kind": "LLMSummarizingCondenser", "llm": llm(model, "summarizer", "condenser"), **condenser}
        talk = Talk(server, work, model="openai/test-model", agent=agent, stuck_detection=False, **more)
        opened.append(talk)
        return talk

    yield make
    for talk in opened:
        talk.socket.close()


def by_model(model, name):
    return [r["body"] for r in model.requests() if r["body"]["model"] == name]


def condense(talk):
    return httpx.post(f"{talk.server.url}/api/conversations/{talk.id}/condense", timeout=60)


def test_an_overflow_is_condensed_and_the_run_goes_on(long_talk, model):
    talk = long_talk(*[think(n) for n in range(6)], mine(OVERFLOW), summary("KEPT: six thoughts.", cost=0.5), mine(DONE), condenser={})
    assert talk.say("Think a lot.") == "finished"
    assert talk.kinds().count("CondensationRequest") == 1 and not talk.events("ConversationErrorEvent")
    made = talk.events("Condensation")[0]
    seen = talk.events()
    forgotten = {e["id"] for e in seen if e["id"] in made["forgotten_event_ids"]}
    assert len(forgotten) == len(made["forgotten_event_ids"]) >= 4
    kept = [e for e in seen if e["kind"] in ("SystemPromptEvent", "MessageEvent")]
    assert not forgotten & {e["id"] for e in kept[:2]}
    assert made["summary"] == "KEPT: six thoughts." and made["summary_offset"] == 2 and made["source"] == "environment"
    # Calls and their results go together.
    actions = {e["id"] for e in seen if e["kind"] == "ActionEvent"}
    for e in seen:
        if e["kind"] == "ObservationEvent" and e["action_id"] in actions:
            assert (e["id"] in forgotten) == (e["action_id"] in forgotten)
    last = by_model(model, "test-model")[-1]["messages"]
    text = json.dumps(last)
    assert "KEPT: six thoughts." in text and "thought 0" not in text and "Think a lot." in text
    assert [m["role"] for m in last][:2] == ["system", "user"]
    asked = by_model(model, "summarizer")
    assert len(asked) == 1 and not asked[0].get("tools") and "thought 0" in json.dumps(asked[0]["messages"])
    stats = talk.info()["stats"]["usage_to_metrics"]
    assert stats["condenser"]["accumulated_cost"] == 0.5 and stats["agent"]["accumulated_token_usage"]["prompt_tokens"] > 0


def test_without_a_condenser_an_overflow_is_an_error(long_talk):
    talk = long_talk(mine(OVERFLOW))
    assert talk.say() == "error"
    assert talk.events("ConversationErrorEvent")[0]["code"] == "LLMContextWindowExceedError"
    assert not talk.events("CondensationRequest")
    answer = condense(talk)
    assert answer.status_code == 422 and "condenser" in answer.text


@pytest.mark.parametrize("off", [{"kind": "NoOpCondenser"}, {"kind": "PipelineCondenser", "condensers": [{"kind": "NoOpCondenser"}]}])
def test_a_condenser_that_does_nothing(long_talk, off):
    talk = long_talk(mine(OVERFLOW), condenser=off)
    assert talk.say() == "error" and condense(talk).status_code == 422


def test_what_never_fits_ends_in_an_error(long_talk, model):
    talk = long_talk(default=OVERFLOW, condenser={})
    assert talk.say() == "error"
    assert talk.events("ConversationErrorEvent")[0]["code"] == "LLMContextWindowExceedError"
    assert len(model.requests()) < 30


def test_what_the_summarizer_repeats_is_hidden_in_the_log(long_talk, server):
    secret = "tok-9876543210-rstuvw"
    refused = {"status": 400, "error": {"message": f"maximum context length exceeded by {secret}", "code": "context_length_exceeded"}}
    talk = long_talk(default=refused, condenser={}, secrets={"TOKEN": secret})
    assert talk.say() == "error"
    server.until_logged("exceeded by <secret-hidden>")
    assert not [line for line in server.log if secret in line]


def test_overflows_that_condensing_does_not_cure(long_talk, model):
    talk = long_talk(*[a for n in range(8) for a in (mine(OVERFLOW), summary(f"s{n}"))], condenser={})
    assert talk.say() == "error"
    assert talk.kinds().count("CondensationRequest") == 3


def test_many_events(long_talk, model):
    talk = long_talk(*[think(n) for n in range(12)], mine(DONE), default=summary("Shorter."), condenser={"max_size": 10, "keep_first": 2})
    assert talk.say() == "finished"
    made = talk.events("Condensation")
    assert len(made) >= 2 and not talk.events("CondensationRequest")
    for body in by_model(model, "test-model"):
        assert len(body["messages"]) <= 12
    # What a later one forgets may be the summary of an earlier one.
    assert any(f"{made[0]['id']}-summary" in c["forgotten_event_ids"] for c in made[1:])


def test_many_tokens(long_talk, model):
    big = {"model": "test-model", "tool_calls": [call("think", thought="word " * 2000)]}
    talk = long_talk(big, big, big, big, mine(DONE), default=summary("Shorter."), condenser={"max_tokens": 9000})
    assert talk.say() == "finished"
    assert talk.events("Condensation")
    for body in by_model(model, "test-model"):
        assert len(json.dumps(body["messages"])) < 4 * 9000 + 11000


def test_the_models_own_window_counts(long_talk):
    big = {"model": "test-model", "tool_calls": [call("think", thought="word " * 2000)]}
    talk = long_talk(big, big, big, big, mine(DONE), default=summary("Shorter."), condenser={}, agent_llm={"max_input_tokens": 9000})
    assert talk.say() == "finished" and talk.events("Condensation")


def test_a_failing_summary_hurts_only_when_it_must(long_talk, model):
    broken = {"model": "summarizer", "status": 401, "error": "no"}
    talk = long_talk(*[think(n) for n in range(12)], mine(DONE), default=broken, condenser={"max_size": 10, "keep_first": 2})
    assert talk.say() == "finished"  # too many events is a wish, not a need
    assert not talk.events("Condensation") and not talk.events("ConversationErrorEvent")
    assert 1 <= len(by_model(model, "summarizer")) < 12
    talk = long_talk(*[think(n) for n in range(3)], mine(OVERFLOW), default=broken, condenser={})
    assert talk.say() == "error"
    error = talk.events("ConversationErrorEvent")[0]
    assert error["code"] == "LLMAuthenticationError" and "condense" in error["detail"]


def test_a_history_too_long_to_summarise_is_shown_shorter(long_talk, model):
    too_long = {"model": "summarizer", **OVERFLOW}
    big = {"model": "test-model", "tool_calls": [call("think", thought="long " * 400)]}
    talk = long_talk(big, big, big, mine(OVERFLOW), too_long, too_long, too_long, summary("At last."), mine(DONE), condenser={})
    assert talk.say() == "finished"
    made = talk.events("Condensation")[0]
    assert made["summary"] == "At last." and made["summary_offset"] == 1
    sizes = [len(json.dumps(b)) for b in by_model(model, "summarizer")]
    assert len(sizes) == 4 and sizes[2] < sizes[1] and sizes[3] < sizes[2]
    assert by_model(model, "test-model")[-1]["messages"][0]["role"] == "system"


def test_on_request_at_rest(long_talk, model, server):
    talk = long_talk(*[think(n) for n in range(4)], mine(DONE), summary("By request."), mine(DONE), condenser={})
    assert talk.say() == "finished"
    assert condense(talk).json() == {"success": True}
    seen = talk.events()
    assert [e["kind"] for e in seen if e["kind"].startswith("Condens")] == ["CondensationRequest", "Condensation"]
    assert talk.status() == "finished"
    talk.until_kind("Condensation")
    assert talk.say("Go on.") == "finished"
    assert "By request." in json.dumps(by_model(model, "test-model")[-1]["messages"])


def test_on_request_while_it_runs(long_talk, model, server):
    slow = {**think(3), "delay": 1.0}
    talk = long_talk(think(0), think(1), think(2), slow, summary("Between."), think(4), mine(DONE), condenser={})
    server.send(talk.id, "Go.", run=True)
    model.requests(wait=4)
    assert condense(talk).status_code == 200
    assert talk.until_over() == "finished"
    kinds = [k for k in talk.kinds() if k.startswith("Condens") or k == "ActionEvent"]
    at = kinds.index("Condensation")
    assert kinds[:at].count("ActionEvent") == 4 and kinds[at + 1:].count("ActionEvent") == 2


def test_on_request_that_fails_changes_nothing(long_talk, server):
    talk = long_talk(think(0), mine(DONE), {"model": "summarizer", "status": 401, "error": "no"}, mine(DONE), condenser={})
    assert talk.say() == "finished"
    before = talk.kinds()
    answer = condense(talk)
    assert answer.status_code in (401, 422, 502), answer.text
    assert talk.kinds() == before and talk.status() == "finished"
    assert talk.say("Go on.") == "finished"
    assert httpx.post(f"{server.url}/api/conversations/{uuid.uuid4()}/condense").json() == {"detail": "Conversation not found"}


def test_on_request_while_a_confirmation_waits(long_talk):
    talk = long_talk(think(0), think(1), mine({"tool_calls": [call("think", thought="a"), call("think", thought="b")]}), summary("Early."),
                     mine(DONE), condenser={}, confirmation_policy={"kind": "AlwaysConfirm"})
    assert talk.say() == "waiting_for_confirmation"
    assert condense(talk).status_code == 200
    assert talk.status() == "waiting_for_confirmation"
    talk.post("events/respond_to_confirmation", {"accept": True})
    assert talk.until_over() == "finished"
    results = [e for e in talk.events("ObservationEvent")]
    assert [e["observation"]["kind"] for e in results].count("ThinkObservation") == 4


@pytest.mark.parametrize("wrong", [{"kind": "AmazingCondenser"}, {"max_size": 0}, {"keep_first": 60, "max_size": 80}, {"minimum_progress": 2},
                                   {"kind": "PipelineCondenser"}, {"llm": None}])
def test_a_condenser_that_cannot_work_is_refused(server, work, wrong):
    good = {"kind": "LLMSummarizingCondenser", "llm": {"model": "scripted/text"}}
    body = {"agent": {"llm": {"model": "scripted/text"}, "condenser": {**good, **wrong}}, "workspace": {"working_dir": str(work)}}
    answer = httpx.post(f"{server.url}/api/conversations", json=body)
    assert answer.status_code == 422 and "condenser" in answer.text
