"""Several calls of one answer at once, when the agent allows it."""

import os

from talk import FINISH, Talk, call

def open_talk(server, work, lines, limit=4):
    return Talk(server, work, lines, agent_more={"tool_concurrency_limit": limit})


def results(talk):
    return [e for e in talk.events() if e["kind"] in ("ObservationEvent", "AgentErrorEvent")]


def test_calls_run_beside_each_other_and_answer_in_order(server, work):
    """The first call waits for what the second one makes."""
    wait = "for i in $(seq 600); do [ -e made ] && break; sleep 0.05; done; cat made"
    lines = [{"calls": [call("terminal", command=wait, timeout=40),
                        call("file_editor", command="create", path=str(work / "made"), file_text="by the other")]}, FINISH]
    with open_talk(server, work, lines) as talk:
        assert talk.say() == "finished"
        first, second = results(talk)[:2]
        assert (first["tool_name"], second["tool_name"]) == ("terminal", "file_editor")
        assert "by the other" in first["observation"]["content"][0]["text"]


def test_calls_on_the_same_file_keep_their_order(server, work):
    path = str(work / "text")
    edits = [call("file_editor", command="create", path=path, file_text="0\n")]
    edits += [call("file_editor", command="str_replace", path=path, old_str=f"{i}\n", new_str=f"{i}\n{i + 1}\n")
              for i in range(10)]
    edits += [call("terminal", command=f"echo {i}") for i in range(5)]
    with open_talk(server, work, [{"calls": edits}, FINISH]) as talk:
        assert talk.say() == "finished"
        assert [e["kind"] for e in results(talk)] == ["ObservationEvent"] * 17
        assert (work / "text").read_text() == "".join(f"{i}\n" for i in range(11))
        assert [e["observation"]["content"][0]["text"].split("\n")[0] for e in results(talk)[11:16]] == list("01234")


def test_an_interrupt_ends_all_and_keeps_what_was_done(server, work):
    os.mkfifo(work / "begun")
    begin = "until [ -e done ]; do sleep 0.02; done; echo > begun; sleep 600"
    lines = [{"calls": [call("file_editor", command="create", path=str(work / "done"), file_text="x"),
                        call("terminal", command=begin),
                        call("terminal", command="touch never")]}]
    with open_talk(server, work, lines) as talk:
        talk.start()
        assert (work / "begun").read_text() == "\n"
        talk.post("interrupt")
        talk.until_over()
        first, second, third = results(talk)
        assert first["kind"] == "ObservationEvent"
        assert second["kind"] == third["kind"] == "AgentErrorEvent"
        assert not (work / "never").exists()
        assert talk.status() == "paused"


def test_what_comes_behind_finish_is_not_run(server, work):
    lines = [{"calls": [call("terminal", command="echo a"), FINISH["calls"][0], call("terminal", command="touch late")]}]
    with open_talk(server, work, lines) as talk:
        assert talk.say() == "finished"
        assert [e["kind"] for e in results(talk)] == ["ObservationEvent", "ObservationEvent", "AgentErrorEvent"]
        assert not (work / "late").exists()
