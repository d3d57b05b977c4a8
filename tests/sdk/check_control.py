"""Steering a run from the SDK: pause, interrupt, confirmation, and how failures reach the program."""

import threading
import time

import pytest
from conftest import FINISH, assert_same_log, call, of_kind, says
from openhands.sdk.conversation.exceptions import ConversationRunError
from openhands.sdk.conversation.state import ConversationExecutionStatus as Status
from openhands.sdk.security.confirmation_policy import AlwaysConfirm, ConfirmRisky, NeverConfirm
from openhands.sdk.security.llm_analyzer import LLMSecurityAnalyzer


def in_background(conversation):
    """run() in a thread of its own; join() gives back what it raised."""
    failed = []

    def run():
        try:
            conversation.run()
        except Exception as problem:
            failed.append(problem)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()

    def join(seconds):
        thread.join(seconds)
        assert not thread.is_alive(), f"run() did not return within {seconds} s"
        return failed[0] if failed else None

    return join


def test_pause_and_go_on(server, talk, model):
    model.plays(says(call("terminal", command="echo one"), delay=0.7), FINISH)
    conversation = talk()
    conversation.send_message("go")
    join = in_background(conversation)
    model.requests(wait=1)
    conversation.pause()
    assert join(5) is None
    assert conversation.state.execution_status == Status.PAUSED
    assert len(of_kind(conversation, "PauseEvent")) == 1
    assert len(model.requests()) == 1
    conversation.run()
    assert conversation.state.execution_status == Status.FINISHED
    assert_same_log(server, conversation)


def test_interrupt_a_model_that_hangs(server, talk, model):
    # A hand is there by then: it must not hold the model's connection open.
    model.plays(says(call("terminal", command="true")), {"hang": True}, FINISH)
    conversation = talk()
    conversation.send_message("go")
    join = in_background(conversation)
    model.requests(wait=2)
    began = time.monotonic()
    conversation.interrupt()
    model.requests(gone=1)
    assert time.monotonic() - began < 1
    assert join(5) is None
    assert time.monotonic() - began < 2
    assert conversation.state.execution_status == Status.PAUSED
    conversation.run()
    assert conversation.state.execution_status == Status.FINISHED
    assert_same_log(server, conversation)


def test_interrupt_a_command(server, talk, model, work):
    model.plays(says(call("terminal", command="touch began; sleep 600")), FINISH)
    conversation = talk()
    conversation.send_message("go")
    join = in_background(conversation)
    end = time.monotonic() + 10
    while not (work / "began").exists() and time.monotonic() < end:
        time.sleep(0.01)
    began = time.monotonic()
    conversation.interrupt()
    assert join(5) is None
    assert time.monotonic() - began < 3
    assert conversation.state.execution_status == Status.PAUSED
    conversation.send_message("on")
    conversation.run()
    assert conversation.state.execution_status == Status.FINISHED
    assert_same_log(server, conversation)


def test_reject_then_accept(server, talk, model, work):
    model.plays(says(call("terminal", command="touch rejected")), says(call("terminal", command="touch accepted")), FINISH)
    conversation = talk()
    conversation.set_confirmation_policy(AlwaysConfirm())
    conversation.send_message("go")
    conversation.run()
    assert conversation.state.execution_status == Status.WAITING_FOR_CONFIRMATION
    assert isinstance(conversation.state.confirmation_policy, AlwaysConfirm)
    conversation.reject_pending_actions("not this one")
    conversation.run()
    assert conversation.state.execution_status == Status.WAITING_FOR_CONFIRMATION
    [rejected] = of_kind(conversation, "UserRejectObservation")
    assert rejected.rejection_reason == "not this one"
    conversation.run()
    # A finish is never asked about.
    assert conversation.state.execution_status == Status.FINISHED
    assert not (work / "rejected").exists() and (work / "accepted").exists()
    assert_same_log(server, conversation)


def test_a_policy_can_be_taken_back(server, talk, model, work):
    model.plays(says(call("terminal", command="touch done")), FINISH)
    conversation = talk()
    conversation.set_confirmation_policy(AlwaysConfirm())
    conversation.set_confirmation_policy(NeverConfirm())
    conversation.send_message("go")
    conversation.run()
    assert conversation.state.execution_status == Status.FINISHED
    assert (work / "done").exists()
    conversation.state.refresh_from_server()
    assert isinstance(conversation.state.confirmation_policy, NeverConfirm)


def test_only_risky_actions_wait(server, talk, model, work):
    model.plays(says(call("terminal", command="touch low", security_risk="LOW")),
                says(call("terminal", command="touch high", security_risk="HIGH")), FINISH)
    conversation = talk()
    conversation.set_confirmation_policy(ConfirmRisky())
    conversation.set_security_analyzer(LLMSecurityAnalyzer())
    conversation.send_message("go")
    conversation.run()
    assert conversation.state.execution_status == Status.WAITING_FOR_CONFIRMATION
    assert (work / "low").exists() and not (work / "high").exists()
    conversation.run()
    assert conversation.state.execution_status == Status.FINISHED
    assert (work / "high").exists()


def test_an_error_raises_with_the_server_s_words(server, talk, model):
    model.plays({"status": 401, "error": {"message": "No such key here.", "code": "invalid_api_key"}}, FINISH)
    conversation = talk()
    conversation.send_message("go")
    began = time.monotonic()
    with pytest.raises(ConversationRunError) as raised:
        conversation.run()
    assert time.monotonic() - began < 2
    [error] = of_kind(conversation, "ConversationErrorEvent")
    assert error.code in str(raised.value) and error.detail in str(raised.value)
    assert conversation.state.execution_status == Status.ERROR
    # The next message is a new beginning.
    conversation.send_message("again")
    conversation.run()
    assert conversation.state.execution_status == Status.FINISHED
    assert_same_log(server, conversation)


def test_every_error_raises_with_its_words(server, talk, model):
    """Not a question of luck: the event is there whenever the status is."""
    conversation = talk()
    for number in range(20):
        model.plays({"status": 400, "error": {"message": f"Refusal number {number}."}})
        conversation.send_message("go")
        with pytest.raises(ConversationRunError, match=f"Refusal number {number}[.]"):
            conversation.run()
    assert_same_log(server, conversation)


def test_the_limit_of_steps(server, talk):
    conversation = talk("think", max_iteration_per_run=3)
    conversation.send_message("go")
    with pytest.raises(ConversationRunError, match="(?i)iteration"):
        conversation.run()
    [error] = of_kind(conversation, "ConversationErrorEvent")
    assert error.code == "MaxIterationsReached"
    assert len(of_kind(conversation, "ActionEvent")) == 3


def test_stuck(server, talk, model):
    model.plays(default=says(call("terminal", command="true")))
    conversation = talk()
    conversation.send_message("go")
    with pytest.raises(ConversationRunError, match="stuck"):
        conversation.run()
    assert conversation.state.execution_status == Status.STUCK
    assert_same_log(server, conversation)


def test_a_conversation_that_is_gone(server, talk, model):
    model.plays({"hang": True})
    conversation = talk()
    conversation.send_message("go")
    join = in_background(conversation)
    model.requests(wait=1)
    server.http.delete(f"/api/conversations/{conversation.id}").raise_for_status()
    assert isinstance(join(10), ConversationRunError)
