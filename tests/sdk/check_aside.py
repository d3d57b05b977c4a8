"""Condensation, questions, titles and analyzers from the SDK: every event it makes of them is one that it understands."""

import pytest
from conftest import FINISH, assert_same_log, call, of_kind, says
from openhands.sdk import LLM
from openhands.sdk.context.condenser import LLMSummarizingCondenser, NoOpCondenser, PipelineCondenser
from openhands.sdk.conversation.state import ConversationExecutionStatus as Status
from openhands.sdk.security import EnsembleSecurityAnalyzer, PatternSecurityAnalyzer, PolicyRailSecurityAnalyzer
from openhands.sdk.security.confirmation_policy import ConfirmRisky
from pydantic import SecretStr

OVERFLOW = {"model": "test-model", "status": 400, "error": {"message": "maximum context length is 8192", "code": "context_length_exceeded"}}


def think(n):
    return {"model": "test-model", **says(call("think", thought=f"thought {n}"))}


@pytest.fixture
def condenser(model):
    llm = LLM(model="openai/summarizer", base_url=f"{model.url}/v1", api_key=SecretStr("sk-check-0123456789"), usage_id="condenser", num_retries=0)
    return LLMSummarizingCondenser(llm=llm, max_size=80, keep_first=2)


def test_condense_on_request(server, talk, model, condenser):
    model.plays(*[think(n) for n in range(5)], FINISH, {"model": "summarizer", "text": "USER_CONTEXT: five thoughts."}, FINISH)
    conversation = talk(agent={"condenser": condenser})
    conversation.send_message("Think five times.")
    conversation.run()
    conversation.condense()
    conversation.send_message("And again.")
    conversation.run()
    assert conversation.state.execution_status == Status.FINISHED
    assert len(of_kind(conversation, "CondensationRequest")) == 1
    [made] = of_kind(conversation, "Condensation")
    assert made.summary == "USER_CONTEXT: five thoughts." and made.summary_offset == 2 and len(made.forgotten_event_ids) >= 4
    assert_same_log(server, conversation)
    assert "condenser" in conversation.conversation_stats.usage_to_metrics


def test_an_overflow_does_not_end_the_run(server, talk, model, condenser):
    model.plays(*[think(n) for n in range(4)], OVERFLOW, {"model": "summarizer", "text": "So far."}, FINISH)
    conversation = talk(agent={"condenser": PipelineCondenser(condensers=[NoOpCondenser(), condenser])})
    conversation.send_message("Think.")
    conversation.run()
    assert conversation.state.execution_status == Status.FINISHED and of_kind(conversation, "Condensation")
    assert_same_log(server, conversation)


def test_ask_agent(talk, model):
    model.plays(FINISH, {"text": "I finished."})
    conversation = talk()
    conversation.send_message("Do it.")
    conversation.run()
    before = [e.id for e in conversation.state.events]
    assert conversation.ask_agent("What did you do?") == "I finished."
    assert [e.id for e in conversation.state.events][:len(before)] == before


def test_titles(server, talk, model):
    """Made by the client from the messages that it has; set and read on the server."""
    model.plays(FINISH)
    conversation = talk()
    conversation.send_message("Make shoes.")
    conversation.run()
    assert conversation.generate_title(max_length=30) == "A title"  # which the model server calls everything
    if hasattr(conversation, "set_title"):
        conversation.set_title("Boots")
        assert server.http.get(f"/api/conversations/{conversation.id}").json()["title"] == "Boots"


@pytest.mark.parametrize("analyzer", [PatternSecurityAnalyzer(), EnsembleSecurityAnalyzer(analyzers=[PolicyRailSecurityAnalyzer(), PatternSecurityAnalyzer()])],
                         ids=["pattern", "ensemble"])
def test_analyzers(talk, model, work, analyzer):
    model.plays(says(call("terminal", command="touch low")), says(call("terminal", command="rm -rf low")), FINISH)
    conversation = talk()
    conversation.set_confirmation_policy(ConfirmRisky())
    conversation.set_security_analyzer(analyzer)
    conversation.send_message("go")
    conversation.run()
    assert conversation.state.execution_status == Status.WAITING_FOR_CONFIRMATION
    assert [str(e.security_risk.value) for e in of_kind(conversation, "ActionEvent")] == ["LOW", "HIGH"]
    assert (work / "low").exists()
    conversation.run()
    assert conversation.state.execution_status == Status.FINISHED and not (work / "low").exists()
