"""Skills through the official client: what it sends is understood, and what comes back decodes."""

from openhands.sdk import LLM, Agent, AgentContext, Conversation, Workspace
from openhands.sdk.context import KeywordTrigger, Skill
from openhands.sdk.event import ActionEvent, MessageEvent, ObservationEvent, SystemPromptEvent
from openhands.sdk.tool.builtins.invoke_skill import InvokeSkillAction, InvokeSkillObservation
from pydantic import SecretStr

FINISH = {"tool_calls": [{"name": "finish", "arguments": {"message": "All done."}}]}


def converse(server, model, work, context):
    llm = LLM(model="openai/test-model", base_url=f"{model.url}/v1", api_key=SecretStr("sk-check-0123456789"), num_retries=0)
    agent = Agent(llm=llm, tools=[], agent_context=context)
    workspace = Workspace(host=server.url, api_key=server.key, working_dir=str(work))
    return Conversation(agent=agent, workspace=workspace, visualizer=None)


def test_invoked_skills(server, model, work, tmp_path):
    source = tmp_path / "frobnitz-converter" / "SKILL.md"
    source.parent.mkdir()
    source.write_text("placeholder")
    skill = Skill(name="frobnitz-converter", content="Convert frobs to meters.", description="Converts frobs.",
                  source=str(source), is_agentskills_format=True)
    model.plays({"tool_calls": [{"name": "invoke_skill", "arguments": {"name": "frobnitz-converter"}}]}, default=FINISH)
    one = converse(server, model, work, AgentContext(skills=[skill]))
    assert one.state.invoked_skills == []
    one.send_message("Please convert.")
    one.run()
    one.state.refresh_from_server()
    assert one.state.invoked_skills == ["frobnitz-converter"]
    events = list(one.state.events)
    action = next(e for e in events if isinstance(e, ActionEvent))
    assert isinstance(action.action, InvokeSkillAction) and action.action.name == "frobnitz-converter"
    observation = next(e for e in events if isinstance(e, ObservationEvent)).observation
    assert isinstance(observation, InvokeSkillObservation)
    assert source.parent.resolve().as_posix() in observation.text
    assert observation.text.rstrip().endswith("relative to that directory.")
    prompt = next(e for e in events if isinstance(e, SystemPromptEvent))
    assert "invoke_skill" in [tool.name for tool in prompt.tools]


def test_keywords_and_suffixes(server, model, work):
    model.plays(default=FINISH)
    context = AgentContext(
        skills=[Skill(name="magic", content="Abracadabra.", trigger=KeywordTrigger(keywords=["wand"])),
                Skill(name="house", content="House rules.")],
        system_message_suffix="Behind the prompt.", user_message_suffix="Behind the message.")
    one = converse(server, model, work, context)
    one.send_message("Take the WAND.")
    one.run()
    message = next(e for e in one.state.events if isinstance(e, MessageEvent))
    assert message.activated_skills == ["magic"]
    assert "Abracadabra." in message.extended_content[0].text and "Behind the message." in message.extended_content[0].text
    prompt = next(e for e in one.state.events if isinstance(e, SystemPromptEvent))
    assert "House rules." in prompt.dynamic_context.text and "Behind the prompt." in prompt.dynamic_context.text
    one.state.refresh_from_server()
    assert one.state.activated_knowledge_skills == ["magic"]
