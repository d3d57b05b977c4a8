"""MCP servers of an agent, as a program with the SDK names them: their tools run on the server's side."""

import sys

from conftest import FINISH, assert_same_log, call, of_kind, says
from openhands.sdk.conversation.state import ConversationExecutionStatus as Status
from openhands.sdk.mcp import MCPToolAction, MCPToolObservation

from handsd import ROOT

SERVER = str(ROOT / "tests" / "support" / "mcp_server.py")


def stdio(*options, **more):
    return {"command": sys.executable, "args": [SERVER, *options], **more}


def use(tool, **arguments):
    return says(call(tool, **arguments))


def mcp(servers, **more):
    """An agent's fields. Older clients want the object that other programs' configuration files have."""
    from openhands.sdk import LLM, Agent
    try:
        Agent(llm=LLM(model="test"), mcp_config=servers)
    except ValueError:
        servers = {"mcpServers": servers}
    return {"mcp_config": servers, **more}


def test_tools_of_a_server(server, talk, model):
    model.plays(use("echo", text="hello"), use("env", text="TOKEN"), use("fail"), use("image"),
                use("structured"), FINISH)
    conversation = talk(agent=mcp({"test": stdio(env={"TOKEN": "of-the-config"})}))
    assert conversation.state.agent.mcp_config
    conversation.send_message("go")
    conversation.run()
    assert conversation.state.execution_status == Status.FINISHED
    actions = of_kind(conversation, "ActionEvent")[:-1]
    assert all(isinstance(a.action, MCPToolAction) for a in actions)
    assert actions[0].action.data == {"text": "hello"} and actions[0].tool_name == "echo"
    results = [e.observation for e in of_kind(conversation, "ObservationEvent")][:-1]
    assert all(isinstance(o, MCPToolObservation) for o in results)
    assert [o.is_error for o in results] == [False, False, True, False, False]
    assert results[0].text.endswith("hello")
    assert any(type(part).__name__ == "ImageContent" for part in results[3].content)
    for observation in results:
        assert observation.visualize.plain is not None and observation.to_llm_content
    assert "of-the-config" not in str(server.http.get(f"/api/conversations/{conversation.id}").json())
    assert_same_log(server, conversation)


def test_servers_that_do_not_work(server, talk, model):
    """They are said once, and the conversation goes on with what there is."""
    model.plays(use("good_echo", text="hello"), FINISH)
    conversation = talk(agent=mcp({"dead": stdio("--die"), "none": {"command": "/no/such/program"}, "good": stdio()}))
    conversation.send_message("go")
    conversation.run()
    assert conversation.state.execution_status == Status.FINISHED
    assert of_kind(conversation, "ObservationEvent")[0].observation.text.endswith("hello")
    assert_same_log(server, conversation)


def test_tools_that_are_left_out(server, talk, model):
    model.plays(use("echo", text="hello"), FINISH)
    conversation = talk(agent=mcp({"test": stdio()}, filter_tools_regex="^(?!env)"))
    conversation.send_message("go")
    conversation.run()
    names = {tool["function"]["name"] for tool in model.requests()[-1]["body"]["tools"]}
    assert "echo" in names and "env" not in names
    assert_same_log(server, conversation)
