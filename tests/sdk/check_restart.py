"""A server that dies and comes back on the same port, under a program that never notices more than a delay."""

import time

from conftest import FINISH, assert_same_log, call, lasting, says
from handsd import Handsd
from openhands.sdk.conversation.state import ConversationExecutionStatus as Status

RECONNECT_S = 15  # the client tries again after 1, 2, 4 … s


def until(true, seconds=RECONNECT_S):
    end = time.monotonic() + seconds
    while not true() and time.monotonic() < end:
        time.sleep(0.02)
    return true()


def again(server):
    """The same data, the same port."""
    port = server.url.rsplit(":", 1)[1]
    return Handsd(server.data, args=["--port", port]).start()


def snapshots(heard):
    return [e for e in heard if getattr(e, "key", "") == "full_state"]


def test_killed_between_runs(make_server, talk):
    server, heard = make_server(), []
    conversation = talk("finish", on=server, callbacks=[heard.append])
    conversation.send_message("one")
    conversation.run()
    server.kill()
    before = len(snapshots(heard))
    second = again(server)
    try:
        assert until(lambda: len(snapshots(heard)) > before), "the client did not come back"
        conversation.send_message("two")
        began = time.monotonic()
        conversation.run()
        assert time.monotonic() - began < 2
        assert conversation.state.execution_status == Status.FINISHED
        assert_same_log(second, conversation)
        # In the order of the log, once each.
        assert [e.id for e in lasting(heard)] == [e.id for e in lasting(conversation.state.events[:])]
    finally:
        second.stop()


def test_what_happens_while_the_client_is_away(make_server, talk):
    server, heard = make_server(), []
    conversation = talk("finish", on=server, callbacks=[heard.append])
    conversation.send_message("one")
    conversation.run()
    server.kill()
    second = again(server)
    try:
        # Somebody else is faster than the client's one second of patience.
        second.send(conversation.id, "two", run=True).raise_for_status()
        assert until(lambda: len(lasting(conversation.state.events[:])) >= 7), "events were missed"
        assert until(lambda: conversation.state.execution_status == Status.FINISHED)
        assert_same_log(second, conversation)
    finally:
        second.stop()


def test_killed_in_the_middle_of_a_run(make_server, talk, model):
    """The open call is answered by the restart, nothing is run twice, and the program goes on."""
    server = make_server()
    model.plays(says(call("terminal", command="echo once >> runs; sleep 600")), FINISH)
    conversation = talk(on=server)
    conversation.send_message("go")
    conversation.run(blocking=False)
    runs = conversation.workspace.working_dir + "/runs"

    def written():
        try:
            with open(runs, encoding="utf-8") as file:
                return file.read()
        except FileNotFoundError:
            return ""

    assert until(lambda: written() == "once\n")
    server.kill()
    second = again(server)
    try:
        def repaired():
            return [e for e in conversation.state.events[:] if type(e).__name__ == "AgentErrorEvent"]

        assert until(lambda: repaired()), "the client did not hear of the repair"
        assert until(lambda: conversation.state.execution_status != Status.RUNNING)
        conversation.send_message("go on")
        conversation.run()
        assert conversation.state.execution_status == Status.FINISHED
        assert written() == "once\n"
        assert_same_log(second, conversation)
    finally:
        second.stop()


def test_a_run_outlives_a_stopped_server(make_server, talk, model):
    """run() is waiting when the server is told to stop; it returns once the server is back and says: paused."""
    from check_control import in_background

    server = make_server()
    model.plays({"hang": True}, FINISH)
    conversation = talk(on=server)
    conversation.send_message("go")
    join = in_background(conversation)
    model.requests(wait=1)
    assert server.stop() == 0
    second = again(server)
    try:
        assert join(RECONNECT_S) is None
        assert conversation.state.execution_status == Status.PAUSED
        conversation.run()
        assert conversation.state.execution_status == Status.FINISHED
        assert_same_log(second, conversation)
    finally:
        second.stop()
