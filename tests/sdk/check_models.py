"""Every kind of event the server makes is valid in the SDK's own models, and so is what it says about an agent."""

import json

import pytest
from conftest import FINISH, TOOLS, call, of_kind, says
from openhands.sdk import Agent
from openhands.sdk.agent.base import AgentBase
from openhands.sdk.conversation.conversation_stats import ConversationStats
from openhands.sdk.event import Event
from openhands.sdk.event.base import LLMConvertibleEvent
from openhands.sdk.security.confirmation_policy import AlwaysConfirm, ConfirmationPolicyBase
from openhands.sdk.tool.schema import Action, Observation
from websockets.sync.client import connect


def socket_frames(server, conversation):
    """Everything the socket says, from the first event to the snapshot at the end."""
    with connect(server.socket_url(conversation, "?resend_mode=all"), max_size=None) as socket:
        frames = []
        while True:
            try:
                frames.append(json.loads(socket.recv(timeout=1)))
            except TimeoutError:
                return frames


def checked(raw):
    """The SDK's own reading of an event, which keeps all of it."""
    event = Event.model_validate(raw)
    again = Event.model_validate(event.model_dump(mode="json"))
    assert again == event
    return event


def test_every_kind_of_event(server, talk, model, work):
    file = str(work / "poem.txt")
    model.plays(
        says(call("terminal", command="echo out; echo err >&2; false"), call("think", thought="both at once"),
             text="Two calls.", reasoning="I reason."),
        says(call("terminal", command="sleep 0.1", timeout=5)),
        says(call("terminal", command="", is_input=True)),
        says(call("terminal", reset=True, command="")),
        says(call("file_editor", command="create", path=file, file_text="one\ntwo\n")),
        says(call("file_editor", command="str_replace", path=file, old_str="two", new_str="three")),
        says(call("file_editor", command="insert", path=file, insert_line=1, new_str="between\n")),
        says(call("file_editor", command="undo_edit", path=file)),
        says(call("file_editor", command="view", path=file)),
        says(call("file_editor", command="view", path=str(work), view_range=None)),
        says(call("file_editor", command="view", path=str(work / "missing"))),
        says(call("no_such_tool", a=1)),
        says(call("terminal", cmmand="typo")),
        says({"name": "terminal", "arguments": "{not json"}),
        FINISH,
        says(call("terminal", command="touch never")),
        {"hang": True},
        {"status": 400, "error": {"message": "No."}},
    )
    conversation = talk(llm={"stream": True})
    conversation.send_message("go")
    conversation.run()
    conversation.set_confirmation_policy(AlwaysConfirm())
    conversation.send_message("again")
    conversation.run()
    conversation.reject_pending_actions("no")
    conversation.run(blocking=False)
    model.requests(wait=17)
    conversation.interrupt()
    conversation.send_message("more")
    with pytest.raises(Exception, match="No[.]"):
        conversation.run()
    log = server.events(str(conversation.id))
    events = [checked(raw) for raw in log]
    seen = {type(e).__name__ for e in events}
    for name in ("SystemPromptEvent", "MessageEvent", "ActionEvent", "ObservationEvent", "AgentErrorEvent",
                 "UserRejectObservation", "ConversationErrorEvent"):
        assert name in seen
    assert seen & {"InterruptEvent", "PauseEvent"}
    inside = {type(e.observation).__name__ for e in events if hasattr(e, "observation")}
    assert {"TerminalObservation", "FileEditorObservation", "ThinkObservation", "FinishObservation"} <= inside
    for event in events:
        if hasattr(event, "action") and event.action is not None:
            assert isinstance(event.action, Action)
        if hasattr(event, "observation"):
            assert isinstance(event.observation, Observation)
            assert event.observation.to_llm_content is not None
            event.observation.visualize.plain
        event.visualize.plain  # what a terminal shows
    LLMConvertibleEvent.events_to_messages([e for e in events if isinstance(e, LLMConvertibleEvent)])
    frames = [checked(raw) for raw in socket_frames(server, conversation.id)]
    assert [e.id for e in frames if type(e).__name__ != "ConversationStateUpdateEvent"] == [
        e.id for e in events if type(e).__name__ != "ConversationStateUpdateEvent"]
    keys = {e.key for e in [*frames, *conversation.state.events[:]] if hasattr(e, "key")}
    assert {"full_state", "stats", "execution_status"} <= keys


def test_search_patch_and_tasks(server, talk, model, work):
    from openhands.tools.apply_patch import ApplyPatchTool
    from openhands.tools.glob import GlobTool
    from openhands.tools.grep import GrepTool
    from openhands.tools.task_tracker import TaskTrackerTool
    (work / "a.py").write_text("one\ntwo\n")
    patch = "*** Begin Patch\n*** Update File: a.py\n*** Move to: c.py\n@@\n-one\n+1\n*** Add File: b.py\n+x\n*** End Patch"
    calls = [
        call("glob", pattern="*.py"), call("glob", pattern="*", path="/none"),
        call("grep", pattern="ONE", include="*.py", path=str(work)), call("grep", pattern="("),
        call("apply_patch", patch=patch), call("apply_patch", patch="nonsense"),
        call("apply_patch", patch="*** Begin Patch\n*** Delete File: b.py\n*** End Patch"),
        call("task_tracker"), call("task_tracker", command="plan", task_list=[{"title": "a"}, {"title": "b", "status": "done"}]),
    ]
    model.plays(*[says(one) for one in calls], FINISH)
    conversation = talk(tools=[t.name for t in (GlobTool, GrepTool, ApplyPatchTool, TaskTrackerTool)])
    conversation.send_message("go")
    conversation.run()
    results = [checked(raw).observation for raw in server.events(str(conversation.id)) if raw["kind"] == "ObservationEvent"]
    assert [type(o).__name__ for o in results] == [
        "GlobObservation", "GlobObservation", "GrepObservation", "GrepObservation", "ApplyPatchObservation",
        "ApplyPatchObservation", "ApplyPatchObservation", "TaskTrackerObservation", "TaskTrackerObservation", "FinishObservation"]
    assert [o.is_error for o in results] == [False, True, False, True, False, True, False, False, False, False]
    assert results[0].files == results[2].matches == [str(work / "a.py")]
    assert results[4].commit.changes["a.py"].move_path == "c.py" and results[4].commit.changes["b.py"].type.value == "add"
    assert [task.status for task in results[8].task_list] == ["todo", "done"]
    for observation in results:
        assert observation.visualize.plain is not None and observation.to_llm_content


def test_the_system_prompt_s_tools(server, talk):
    conversation = talk("finish")
    conversation.send_message("go")
    conversation.run()
    [prompt] = of_kind(conversation, "SystemPromptEvent")
    tools = {tool.name: tool for tool in prompt.tools}
    assert set(tools) == {*TOOLS, "finish", "think"}
    for tool in tools.values():
        assert tool.description
        shape = tool.to_openai_tool()["function"]["parameters"]
        assert shape["type"] == "object" and "properties" in shape
    assert prompt.system_prompt.text


def test_conversation_info(server, talk):
    conversation = talk("demo")
    conversation.send_message("go")
    conversation.run()
    info = server.http.get(f"/api/conversations/{conversation.id}").json()
    assert info["agent"]["llm"]["api_key"] == "**********"
    agent = AgentBase.model_validate(info["agent"])
    assert isinstance(agent, Agent)
    sent = conversation.agent.model_dump(mode="json")
    kept = agent.model_dump(mode="json")
    assert sent["llm"].pop("api_key") == "**********" and kept["llm"].pop("api_key") is None  # hidden is unknown
    assert kept == sent
    ConfirmationPolicyBase.model_validate(info["confirmation_policy"])
    stats = ConversationStats.model_validate(info["stats"])
    assert stats.usage_to_metrics["agent"].accumulated_token_usage.prompt_tokens == 4500
    try:
        from openhands.agent_server.models import ConversationInfo
    except ImportError:
        return  # the package of the Python server is not part of the client
    ConversationInfo.model_validate(info)
