"""Model calls beside the run: titles and questions. They wait for nobody, nobody waits for them, and the log stays as it is."""

import json
import threading
import time
import uuid

import httpx
import pytest

from handsd import write_script
from talk import FINISH, Talk, call

KEY = "sk-aside-key-0123456789"
DONE = {"tool_calls": [call("finish", message="All done.")]}


def title(text=None, **more):
    return {"for": "title", **({"text": text} if text else {}), **more}


@pytest.fixture
def chat(server, model, work):
    opened = []

    def make(*answers, llm=None, default=None, **more):
        model.plays(*answers, default=default)
        settings = {"model": "openai/test-model", "api_key": KEY, "base_url": f"{model.url}/v1", "usage_id": "main", "num_retries": 1,
                    "retry_multiplier": 0, "retry_min_wait": 0, "timeout": 20, **(llm or {})}
        agent = {"kind": "Agent", "llm": settings, "tools": [{"name": "terminal"}]}
        talk = Talk(server, work, model="openai/test-model", **{"agent": agent, "autotitle": True, **more})
        opened.append(talk)
        return talk

    yield make
    for talk in opened:
        talk.socket.close()


def until(look, wanted=bool):
    """Asks until the answer is right: what is awaited here is stored without an event."""
    end = time.monotonic() + 20
    while not wanted(found := look()):
        assert time.monotonic() < end, found
        time.sleep(0.02)
    return found


def titled(talk):
    return until(lambda: talk.info()["title"])


# ---- titles by themselves


def test_the_first_message_gives_a_title(chat, model):
    talk = chat(title("  \"\U0001f41b Repair the parser\"\n", cost=0.25), DONE, DONE)
    assert talk.say("Please repair the parser of the thing.") == "finished"
    assert titled(talk) == "\U0001f41b Repair the parser"
    until(lambda: talk.info()["stats"]["usage_to_metrics"]["main"]["accumulated_cost"], lambda cost: cost == 0.25)
    asked = model.requests(titles=1, wait=1)
    assert len(asked) == 1 and not asked[0]["body"].get("tools")
    assert "Please repair the parser of the thing." in json.dumps(asked[0]["body"]["messages"])
    assert talk.say("And the other one.") == "finished"
    assert titled(talk) == "\U0001f41b Repair the parser" and len(model.requests(titles=1)) == 1
    assert [e["kind"] for e in talk.events() if e["kind"] == "ConversationErrorEvent"] == []


def test_long_titles_and_long_messages(chat, model):
    talk = chat(title("word " * 40), DONE)
    assert talk.say("x" * 5000 + "END") == "finished"
    assert len(titled(talk)) == 50 and titled(talk).endswith("...")
    prompt = json.dumps(model.requests(titles=1, wait=1)[0]["body"]["messages"])
    assert "x" * 1000 in prompt and "x" * 1001 not in prompt and "END" not in prompt and "(truncated)" in prompt


def test_a_failing_model_leaves_the_beginning_of_the_message(chat):
    talk = chat(title(status=401, error=f"bad key {KEY}"), DONE)
    assert talk.say("Please paint the bike shed in a colour that everybody in town likes.") == "finished"
    assert titled(talk) == "Please paint the bike shed in a colour that eve..."
    error = talk.events("ConversationErrorEvent")[0]
    assert error["code"] == "LLMAuthenticationError" and KEY not in json.dumps(error)
    assert talk.status() == "finished"


def test_a_slow_title_delays_nothing_and_gives_way(chat, model, server):
    talk = chat(title("Too late", delay=1.5), DONE)
    started = time.monotonic()
    assert talk.say("Do something.") == "finished" and time.monotonic() - started < 1.4
    model.requests(titles=1, wait=1)
    server.http.patch(f"/api/conversations/{talk.id}", json={"title": "Mine"}).raise_for_status()
    time.sleep(2)  # the model's answer comes after 1.5 s; that it changes nothing has no sign
    assert talk.info()["title"] == "Mine"


def test_no_title_where_none_is_wanted(chat, model):
    talk = chat(title("Never"), DONE, autotitle=False)
    assert talk.say() == "finished"
    assert talk.info()["title"] is None and model.requests(titles=1) == []


def test_a_deleted_conversation_gets_none(chat, model, server):
    talk = chat(title("Gone", delay=0.5), DONE)
    assert talk.say() == "finished"
    model.requests(titles=1, wait=1)
    server.http.delete(f"/api/conversations/{talk.id}").raise_for_status()
    time.sleep(1)
    assert server.http.get(f"/api/conversations/{talk.id}").status_code == 404
    assert server.http.get("/health").status_code == 200


def test_scripted_models(server, work):
    """A script's turns are not used up; it may have a line for titles."""
    with Talk(server, work, [{"text": "One."}], autotitle=True) as talk:
        assert talk.say("Say one.") == "finished"
        assert titled(talk) == "Say one." and talk.events("MessageEvent")[-1]["llm_message"]["content"][0]["text"] == "One."
    with Talk(server, work, [{"no_tools": True, "text": "Counting"}, {"text": "One."}], autotitle=True) as talk:
        assert talk.say("Say one.") == "finished" and titled(talk) == "Counting"


# ---- titles on request


def test_generate_title(chat, model, server):
    talk = chat(title("\U0001f4dd A fine title"), DONE, autotitle=False)
    answer = talk.post("generate_title", {"max_length": 30})
    assert answer.status_code == 422, "there is no message yet"
    assert talk.say("Write documentation.") == "finished"
    assert talk.post("generate_title", {"max_length": 30}).json() == {"title": "\U0001f4dd A fine title"}
    assert talk.info()["title"] is None
    model.plays(title("0123456789012345"), {**title("by another"), "model": "other"})
    assert talk.post("generate_title", {"max_length": 10}).json() == {"title": "0123456..."}
    other = {"model": "openai/other", "api_key": KEY, "base_url": f"{model.url}/v1", "usage_id": "titles"}
    assert talk.post("generate_title", {"llm": other}).json() == {"title": "by another"}
    assert talk.post("generate_title", {"max_length": 201}).status_code == 422
    assert talk.post("generate_title", {"llm": {"model": ""}}).status_code == 422
    assert httpx.post(f"{server.url}/api/conversations/{uuid.uuid4()}/generate_title", json={}).status_code == 404


# ---- questions


def test_a_question_at_rest(chat, model):
    talk = chat(DONE, {"text": "  Because.  ", "cost": 0.5}, autotitle=False)
    assert talk.say("Do it.") == "finished"
    before = talk.events()
    assert talk.post("ask_agent", {"question": "Why?"}).json() == {"response": "Because."}
    body = model.requests()[-1]["body"]
    assert [t["function"]["name"] for t in body["tools"]] == [t["function"]["name"] for t in model.requests()[0]["body"]["tools"]]
    text = json.dumps(body["messages"])
    assert "Do it." in text and "All done." in text and "Why?" in json.dumps(body["messages"][-1])
    until(lambda: talk.info()["stats"]["usage_to_metrics"].get("ask-agent-llm"), lambda m: m and m["accumulated_cost"] == 0.5)
    assert talk.events() == before and talk.status() == "finished"


def test_a_question_before_anything_was_said(chat):
    talk = chat({"text": "Nothing yet."}, autotitle=False)
    assert talk.post("ask_agent", {"question": "What happened?"}).json() == {"response": "Nothing yet."}
    assert talk.kinds() == [] and talk.status() == "idle"


def test_a_question_during_a_run(chat, model, server):
    slow = {"tool_calls": [call("terminal", command="sleep 2; echo slept")]}
    talk = chat(slow, {"text": "Still sleeping."}, DONE, autotitle=False)
    talk.start("Sleep.")
    talk.until_kind("ActionEvent")
    started = time.monotonic()
    assert talk.post("ask_agent", {"question": "What are you doing?"}).json() == {"response": "Still sleeping."}
    assert time.monotonic() - started < 1.9 and talk.status() == "running"
    assert talk.until_over() == "finished" and "slept" in talk.seen()[0].text


def test_a_slow_question_blocks_no_run(chat, model, server):
    talk = chat({"text": "At last.", "delay": 2}, DONE, autotitle=False)
    told = []
    thread = threading.Thread(target=lambda: told.append(httpx.post(
        f"{server.url}/api/conversations/{talk.id}/ask_agent", json={"question": "Well?"}, timeout=30).json()))
    thread.start()
    model.requests(wait=1)
    started = time.monotonic()
    assert talk.say("Do it.") == "finished" and time.monotonic() - started < 1.9
    thread.join()
    assert told == [{"response": "At last."}]


def test_questions_that_go_wrong(chat, model, server):
    talk = chat({"status": 401, "error": f"bad key {KEY}"}, DONE, autotitle=False)
    answer = talk.post("ask_agent", {"question": "Why?"})
    assert answer.status_code >= 400 and KEY not in answer.text
    model.plays({"tool_calls": [call("terminal", command="touch never")]})
    assert talk.post("ask_agent", {"question": "Why?"}).status_code == 502, "a call is no answer"
    assert talk.post("ask_agent", {}).status_code == 422
    missing = httpx.post(f"{server.url}/api/conversations/{uuid.uuid4()}/ask_agent", json={"question": "Why?"})
    assert missing.status_code == 404
    assert talk.kinds() == []


def test_a_refused_parameter_is_left_out(chat, model):
    refused = {"status": 400, "error": {"message": "Unsupported parameter: temperature", "param": "temperature"}}
    talk = chat(refused, {"text": "Fine."}, autotitle=False, llm={"temperature": 0.5})
    assert talk.post("ask_agent", {"question": "How?"}).json() == {"response": "Fine."}
    assert ["temperature" in r["body"] for r in model.requests()] == [True, False]


def test_a_server_that_stops_does_not_wait_for_them(tmp_path, model):
    from handsd import Handsd
    model.plays({"hang": True}, title(hang=True))
    with Handsd(tmp_path / "data") as server:
        agent = {"llm": {"model": "openai/test-model", "api_key": KEY, "base_url": f"{model.url}/v1"}, "tools": []}
        conversation = server.create(tmp_path / "work", agent=agent)
        server.send(conversation, "Hello.")
        told = []
        thread = threading.Thread(target=lambda: told.append(httpx.post(
            f"{server.url}/api/conversations/{conversation}/ask_agent", json={"question": "Well?"}, timeout=30)))
        thread.start()
        model.requests(wait=1)
        model.requests(titles=1, wait=1)
        started = time.monotonic()
        assert server.stop() == 0 and time.monotonic() - started < 5
        thread.join()
        assert told[0].status_code == 503
