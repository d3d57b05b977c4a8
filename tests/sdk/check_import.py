"""Conversations that the SDK has stored: taken over, shown and carried on here, given back, and carried on there."""

import os
import subprocess
import uuid

from conftest import FINISH, TOOLS, assert_same_log, call, kinds, lasting, of_kind, says
from handsd import HANDSD, Handsd
from openhands.sdk import LLM, Agent, Conversation, LocalConversation, Tool, Workspace
from openhands.sdk.conversation.state import ConversationExecutionStatus as Status
from openhands.sdk.utils.cipher import Cipher
from pydantic import SecretStr

KEY = "the key that both have"


def handsd(*args):
    env = {k: v for k, v in os.environ.items() if not k.startswith(("OH_", "SESSION_API", "LLM_", "OPENAI_"))}
    done = subprocess.run([HANDSD, *map(str, args)], env={**env, "OH_SECRET_KEY": KEY}, timeout=60, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def agent(model):
    return Agent(llm=LLM(model="openai/test-model", base_url=f"{model.url}/v1", api_key=SecretStr("sk-check-0123456789"), usage_id="agent", num_retries=0),
                 tools=[Tool(name=tool) for tool in TOOLS])


def local(model, folder, work, id, **more):
    return LocalConversation(agent=agent(model), workspace=str(work), persistence_dir=str(folder), conversation_id=id, visualizer=None, **more)


def ids(events):
    return [e.id for e in lasting(events)]


def test_there_and_back(tmp_path, work, model):
    id, stored, data, back = uuid.uuid4(), tmp_path / "stored", tmp_path / "data", tmp_path / "back"
    model.plays(says(call("terminal", command="echo one > first; cat first")), FINISH)
    first = local(model, stored, work, id, secrets={"GATE": "rusty-hinge"}, cipher=Cipher(KEY))
    first.send_message("Write the first file.")
    first.run()
    before = ids(first.state.events)
    first.close()
    assert "imported 1" in handsd("import", stored, "--data", data)

    # Here: the client that attaches sees the same log, the model is shown it, and the secrets are there.
    model.plays(says(call("terminal", command="cat first; echo ${#GATE} > second")), FINISH)
    asked = len(model.requests())
    with Handsd(data, env={"OH_SECRET_KEY": KEY}) as server:
        there = Conversation(agent=agent(model), workspace=Workspace(host=server.url, working_dir=str(work)), conversation_id=id, visualizer=None)
        assert ids(there.state.events) == before
        there.send_message("And the second.")
        there.run()
        assert there.state.execution_status == Status.FINISHED
        assert (work / "second").read_text() == "11\n"
        told = model.requests()[asked]["body"]["messages"]
        assert "Write the first file." in str(told) and [m["role"] for m in told][:2] == ["system", "user"]
        assert_same_log(server, there)
        middle = ids(there.state.events)
        assert middle[:len(before)] == before and len(of_kind(there, "SystemPromptEvent")) == 1
    handsd("export", id, "--data", data, "--to", back)

    # And back: the SDK opens what was exported and goes on.
    model.plays(says(call("terminal", command="cat second")), FINISH)
    last = local(model, back, work, id)
    assert ids(last.state.events) == middle and last.state.execution_status == Status.FINISHED
    assert last.conversation_stats.usage_to_metrics["agent"].accumulated_token_usage.prompt_tokens > 0
    last.send_message("Show me the second.")
    last.run()
    assert last.state.execution_status == Status.FINISHED
    assert ids(last.state.events)[:len(middle)] == middle
    assert "11" in of_kind(last, "ObservationEvent")[-2].observation.text
    assert kinds(lasting(last.state.events)).count("SystemPromptEvent") == 1
    last.close()
