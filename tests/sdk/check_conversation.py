"""A conversation as a program with the SDK sees it: create, attach, send, run, read, close."""

import time
import uuid

import httpx
import pytest
from conftest import FINISH, TOOLS, assert_same_log, call, kinds, lasting, of_kind, says
from openhands.sdk import Agent, Message, TextContent
from openhands.sdk.conversation.impl.remote_conversation import RemoteConversation
from openhands.sdk.conversation.response_utils import get_agent_final_response
from openhands.sdk.conversation.state import ConversationExecutionStatus as Status
from openhands.sdk.event import MessageEvent


def test_the_demonstration_from_start_to_end(server, talk):
    conversation = talk("demo")
    assert isinstance(conversation, RemoteConversation)
    assert conversation.state.execution_status == Status.IDLE
    conversation.send_message("Write a program that prints primes.")
    conversation.run()
    assert conversation.state.execution_status == Status.FINISHED
    assert kinds(lasting(conversation.state.events[:])) == [
        "SystemPromptEvent", "MessageEvent", *["ActionEvent", "ObservationEvent"] * 5]
    assert "the check passes" in get_agent_final_response(conversation.state.events[:])
    assert_same_log(server, conversation)


def test_callbacks_get_each_event_once_and_in_order(server, talk):
    heard = []
    conversation = talk("demo", callbacks=[heard.append])
    conversation.send_message("go")
    conversation.run()
    assert [e.id for e in lasting(heard)] == [e.id for e in lasting(conversation.state.events[:])]
    assert len({e.id for e in heard}) == len(heard)


def test_runs_return_at_once(server, talk):
    """50 runs of an instant model: each returns in less than 2 s, with the answer already there."""
    conversation = talk("finish")
    slowest = 0
    for number in range(50):
        conversation.send_message(f"message {number}")
        began = time.monotonic()
        conversation.run()
        slowest = max(slowest, time.monotonic() - began)
        assert conversation.state.execution_status == Status.FINISHED
        assert len(of_kind(conversation, "ActionEvent")) == number + 1
    assert slowest < 2
    assert_same_log(server, conversation)


def test_state_tells_what_was_asked_for(server, talk, work):
    conversation = talk("finish", tags={"team": "blue"}, max_iteration_per_run=17)
    state = conversation.state
    assert str(state.id) == str(conversation.id)
    agent = state.agent  # once: older clients take `kind` out of their own cache as they read it
    assert isinstance(agent, Agent)
    assert agent.llm.model == "scripted/finish"
    assert [tool.name for tool in agent.tools] == list(TOOLS)
    assert state.workspace["working_dir"] == str(work)
    assert state.persistence_dir.endswith(conversation.id.hex)
    assert type(state.confirmation_policy).__name__ == "NeverConfirm"
    assert state.security_analyzer is None and state.hook_config is None
    assert state.activated_knowledge_skills == []
    fresh = state.refresh_from_server()
    assert fresh["tags"] == {"team": "blue"} and fresh["max_iterations"] == 17


def test_an_agent_message_ends_the_run(server, talk):
    conversation = talk("text")
    conversation.send_message(Message(role="user", content=[TextContent(text="hello")]), sender="check")
    conversation.run()
    assert conversation.state.execution_status == Status.FINISHED
    messages = of_kind(conversation, "MessageEvent")
    assert [(m.source, m.sender) for m in messages] == [("user", "check"), ("agent", None)]
    assert "scripted model" in get_agent_final_response(conversation.state.events[:])
    answer = server.http.get(f"/api/conversations/{conversation.id}/agent_final_response")
    assert answer.json()["response"] == get_agent_final_response(conversation.state.events[:])


def test_attach_by_id(server, talk):
    first = talk("finish")
    first.send_message("one")
    first.run()
    again = talk("finish", conversation_id=first.id)
    assert again.id == first.id
    assert_same_log(server, again)
    again.send_message("two")
    again.run()
    assert [m.llm_message.content[0].text for m in of_kind(again, "MessageEvent")] == ["one", "two"]
    assert_same_log(server, again)


def test_attach_without_an_agent(server, talk):
    first = talk("finish")
    first.send_message("one")
    first.run()
    if not hasattr(RemoteConversation, "attach"):
        pytest.skip("this version of the client has no attach()")
    again = RemoteConversation.attach(first.workspace, first.id, visualizer=None)
    try:
        assert again.agent.llm.model == "scripted/finish"
        assert_same_log(server, again)
    finally:
        again.close()
    with pytest.raises(httpx.HTTPStatusError):
        RemoteConversation.attach(first.workspace, uuid.uuid4(), visualizer=None)


def test_create_from_a_request(server, talk, work):
    if not hasattr(RemoteConversation, "create"):
        pytest.skip("this version of the client has no create()")
    from openhands.sdk.conversation.request import StartConversationRequest
    from openhands.sdk.workspace import LocalWorkspace

    like = talk("finish")
    request = StartConversationRequest(agent=like.agent, workspace=LocalWorkspace(working_dir=str(work)), tags={"a": "b"})
    made = RemoteConversation.create(like.workspace, request, visualizer=None)
    try:
        assert made.id != like.id
        made.send_message("go")
        made.run()
        assert made.state.execution_status == Status.FINISHED
    finally:
        made.close()


def test_an_id_of_ones_own(server, talk):
    wanted = uuid.uuid4()
    conversation = talk("finish", conversation_id=wanted)
    assert conversation.id == wanted
    conversation.send_message("go")
    conversation.run()
    assert conversation.state.execution_status == Status.FINISHED


def test_a_run_without_a_message(server, talk):
    conversation = talk("text")
    began = time.monotonic()
    conversation.run()
    assert time.monotonic() - began < 2


def test_a_run_of_a_finished_conversation(server, talk):
    conversation = talk("finish")
    conversation.send_message("go")
    conversation.run()
    began = time.monotonic()
    conversation.run()
    assert time.monotonic() - began < 2
    assert conversation.state.execution_status == Status.FINISHED
    assert len(of_kind(conversation, "ActionEvent")) == 1


def test_two_clients_on_one_conversation(server, talk):
    heard = []
    first = talk("demo")
    second = talk("demo", conversation_id=first.id, callbacks=[heard.append])
    first.send_message("go")
    first.run()
    end = time.monotonic() + 5
    while second.state.execution_status != Status.FINISHED and time.monotonic() < end:
        time.sleep(0.01)
    assert second.state.execution_status == Status.FINISHED
    assert_same_log(server, first)
    assert_same_log(server, second)
    assert [e.id for e in lasting(heard)] == [e.id for e in lasting(first.state.events[:])]


def test_a_message_while_it_runs(server, talk, model):
    """It is answered within the same run."""
    model.plays(says(call("terminal", command="echo first"), delay=0.5), {"text": "Seen both."})
    conversation = talk()
    conversation.send_message("one")
    conversation.run(blocking=False)
    model.requests(wait=1)
    conversation.send_message("two")
    conversation.run()
    assert conversation.state.execution_status == Status.FINISHED
    asked = model.requests()[-1]["body"]["messages"]
    assert "two" in str(asked)
    assert_same_log(server, conversation)


def test_statistics(server, talk, model):
    usage = {"prompt_tokens": 100, "completion_tokens": 20, "total_tokens": 120}
    model.plays(says(call("think", thought="hm"), usage=usage, cost=0.0025),
                says(call("finish", message="ok"), usage=usage, cost=0.0025))
    conversation = talk()
    conversation.send_message("go")
    conversation.run()
    for stats in (conversation.state.stats, conversation.conversation_stats):
        total = stats.get_combined_metrics()
        assert total.accumulated_cost == pytest.approx(0.005)
        assert total.accumulated_token_usage.prompt_tokens == 200
        assert total.accumulated_token_usage.completion_tokens == 40
        assert list(stats.usage_to_metrics) == ["agent"]
    conversation.state.refresh_from_server()
    assert conversation.state.stats.get_combined_metrics().accumulated_cost == pytest.approx(0.005)


def test_streamed_tokens(server, talk, model):
    if "token_callbacks" not in RemoteConversation.__init__.__code__.co_varnames:
        pytest.skip("this version of the client does not hand over streamed tokens")
    said = "These words arrive in several pieces, one after the other."
    model.plays({"text": said, "reasoning": "Think first.", "piece": 10})
    tokens = []
    conversation = talk(llm={"stream": True}, token_callbacks=[lambda c: tokens.append(c.choices[0].delta)])
    conversation.send_message("go")
    conversation.run()
    assert model.requests()[-1]["body"]["stream"] is True
    assert "".join(t.content or "" for t in tokens) == said
    assert "".join(getattr(t, "reasoning_content", None) or "" for t in tokens) == "Think first."
    assert len([t for t in tokens if t.content]) > 1
    assert get_agent_final_response(conversation.state.events[:]) == said
    assert of_kind(conversation, "MessageEvent")[-1].llm_message.reasoning_content == "Think first."
    assert_same_log(server, conversation)


def test_secrets(server, talk, model, work):
    """Values reach the terminal and nothing else: neither the log nor the model sees one."""
    from openhands.sdk.secret import StaticSecret
    from pydantic import SecretStr

    names = ("PLAIN", "CALLED", "TOLD", "FIRST")
    command = "; ".join(f'printf %s "${name}" > {name}; echo "{name}=${name}"' for name in names)
    model.plays(says(call("terminal", command=command)), FINISH)
    conversation = talk(secrets={"FIRST": "value-of-first"})
    conversation.update_secrets({"PLAIN": "value-of-plain", "CALLED": lambda: "value-of-called",
                                 "TOLD": StaticSecret(value=SecretStr("value-of-told"), description="told")})
    conversation.send_message("go")
    conversation.run()
    for name in names:
        assert (work / name).read_text() == f"value-of-{name.lower()}"
    assert "value-of-" not in str(server.events(str(conversation.id)))
    assert "value-of-" not in str([r["body"] for r in model.requests()])
    assert "value-of-" not in str(conversation.state.model_dump())
    assert_same_log(server, conversation)


def test_close_keeps_the_conversation(server, talk):
    conversation = talk("finish", delete_on_close=False)
    conversation.send_message("go")
    conversation.run()
    conversation.close()
    conversation.close()
    assert server.http.get(f"/api/conversations/{conversation.id}").status_code == 200


def test_delete_on_close(server, talk):
    conversation = talk("finish", delete_on_close=True)
    conversation.send_message("go")
    conversation.run()
    conversation.close()
    assert server.http.get(f"/api/conversations/{conversation.id}").status_code == 404


def test_delete_on_close_while_it_runs(server, talk, model):
    model.plays({"hang": True})
    conversation = talk(delete_on_close=True)
    conversation.send_message("go")
    conversation.run(blocking=False)
    model.requests(wait=1)
    conversation.close()
    assert server.http.get(f"/api/conversations/{conversation.id}").status_code == 404


def test_with_a_session_key(make_server, talk):
    server = make_server(key="check-session-key")
    conversation = talk("demo", on=server)
    conversation.send_message("go")
    conversation.run()
    assert conversation.state.execution_status == Status.FINISHED
    assert_same_log(server, conversation)


def test_the_workspace_object(server, talk):
    workspace = talk("finish").workspace
    assert workspace.alive
    if hasattr(workspace, "get_server_info"):
        assert "version" in workspace.get_server_info()


def test_a_long_history(server, talk):
    """More than one page, on attach and while listening."""
    conversation = talk("think", max_iteration_per_run=120)
    conversation.send_message("go")
    try:
        conversation.run()
    except Exception as ended:  # the limit is an error by design; here only the length counts
        assert "iteration" in str(ended).lower()
    assert len(conversation.state.events) > 240
    assert_same_log(server, conversation)
    assert_same_log(server, talk("think", conversation_id=conversation.id))


def test_a_large_output(server, talk, model):
    """Frames stay below what the client's socket takes (1 MiB): nothing is lost and it does not reconnect."""
    model.plays(says(call("terminal", command="head -c 3000000 /dev/zero | tr '\\0' x")),
                says(call("file_editor", command="create", path="/nowhere-to-write/x", file_text="y" * 700_000)), FINISH)
    heard = []
    conversation = talk(callbacks=[heard.append])
    conversation.send_message("z" * 400_000)
    began = time.monotonic()
    conversation.run()
    assert time.monotonic() - began < 10
    assert [e.id for e in lasting(heard)] == [e.id for e in lasting(conversation.state.events[:])]
    snapshots = [e for e in heard if getattr(e, "key", "") == "full_state"]
    assert len(snapshots) <= 2, "the client had to connect again"
    assert isinstance(of_kind(conversation, "MessageEvent")[0], MessageEvent)
    assert_same_log(server, conversation)
