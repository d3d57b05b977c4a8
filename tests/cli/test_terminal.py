"""handsd run as a person sees it, in a real terminal."""

import json
import os
import re
import shlex
import signal
import subprocess
import sys

import pytest

from handsd import HANDSD, ROOT, write_script
from terminal import Terminal

CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")


def call(name, **arguments):
    return {"calls": [{"name": name, "arguments": arguments}]}


def terminal(command, **more):
    return {**call("terminal", command=command), **more}


def kinds(tmp_path, conversation="last"):
    """The kinds of the events of the log, by a server that is started for it."""
    from handsd import Handsd
    with Handsd(tmp_path / "data") as server:
        found = server.http.get("/api/conversations/search?limit=1").json()["items"][0]["id"]
        return [e["kind"] for e in server.events(found)]


EVERYTHING = [
    {"text": "I will look around first, and then say what I have found in as many words as it takes to fill a line or two.",
     "calls": [{"name": "terminal", "arguments": {"command": "printf 'one\\ntwo\\n'; exit_with() { return 3; }; exit_with"}}]},
    call("file_editor", command="create", path="{work}/poem.txt", file_text="a line\nanother line\nthe last line\n"),
    call("file_editor", command="str_replace", path="{work}/poem.txt", old_str="another line", new_str="a better line\nand one more"),
    call("file_editor", command="view", path="{work}/poem.txt"),
    call("task_tracker", command="plan", task_list=[{"title": "Look", "status": "done"},
                                                    {"title": "Change", "status": "in_progress", "notes": "in poem.txt"},
                                                    {"title": "Report", "status": "todo"}]),
    call("file_editor", command="view", path="{work}/missing.txt"),
    call("think", thought="It is all there."),
    call("finish", message="The poem is better now."),
]


def in_folder(lines, work):
    return json.loads(json.dumps(lines).replace("{work}", str(work)))


@pytest.mark.parametrize("width", [200, 40])
def test_everything_is_shown(start, tmp_path, width):
    shown = start(in_folder(EVERYTHING, tmp_path / "work"), width=width, height=90)
    assert shown.exit_status() == 0
    screen = shown.screen()
    lines = shown.screen().splitlines()
    assert all(len(line) <= width for line in lines)
    flat = " ".join(screen.split())
    for words in ("› Go.", "● I will look around first", "$ printf", "exit code 3", "create poem.txt", "1 + a line", "edit poem.txt",
                  "2 - another line", "2 + a better line", "3 + and one more", "view poem.txt", "☑ Look", "◐ Change: in poem.txt",
                  "☐ Report", "failed", "● It is all there.", "✓ The poem is better now.",
                  "finished in", "8 steps", "to go on: handsd run --resume"):
        assert words in flat, (words, screen)
    # Nothing of the status line stays, and no line is there twice.
    assert "Ctrl-C pauses" not in screen and screen.count("exit code 3") == 1 and screen.count("edit poem.txt") == 1
    styled = shown.screen(styles=True)
    assert re.search("\x1b\\[[0-9;]*31m[^\n]*another line", styled) and re.search("\x1b\\[[0-9;]*32m[^\n]*a better line", styled)


@pytest.mark.parametrize("env", [{"TERM": "dumb"}, {"NO_COLOR": "1"}])
def test_plain_where_it_is_asked_for(start, tmp_path, env):
    file = tmp_path / "typescript"
    shown = start([terminal("sleep 1; echo woken"), {"text": "Done."}], env=env)
    shown.tmux("pipe-pane", f"cat >>{file}")
    assert shown.exit_status() == 0
    screen = shown.screen()
    assert "$ sleep 1; echo woken" in screen and "  woken" in screen and "Ctrl-C pauses" not in screen
    assert "\x1b" not in file.read_text()


def test_ascii_where_utf8_is_not_shown(start):
    shown = start([{"text": "Done."}], env={"LANG": "C"})
    assert shown.exit_status() == 0
    assert "* Done." in shown.screen() and "●" not in shown.screen()


def test_progress_on_long_work(start):
    shown = start([terminal("sleep 600")])
    shown.wait("$ sleep 600 (1 s)")
    screen = shown.wait("$ sleep 600 (2 s)")
    assert "1 step" in screen and "Ctrl-C pauses" in screen
    assert screen.count("(2 s)") == 1 and "(1 s)" not in screen
    shown.resize(40)
    screen = shown.wait("(4 s)")
    assert screen.count("sleep 600") == 2, screen  # the command, and the status once
    shown.send("C-c")
    shown.wait("pausing: ")
    shown.send("C-c")
    assert shown.exit_status() == 130


def test_an_answer_appears_as_it_is_written(tmp_path):
    from model_server import ModelServer
    said = "The first paragraph is long enough to fill more than one line of a narrow terminal.\n\n- a point\n\nThe end."
    model = ModelServer()
    model.plays({"reasoning": "I have to think about this.", "text": said, "pause": 0.05, "piece": 4})
    command = [HANDSD, "run", "Go.", "--model", "openai/gpt-4o-mini", "--base-url", f"{model.url}/v1", "--data", tmp_path / "data",
               "--workspace", tmp_path]
    with Terminal(command, width=50, env={"LLM_API_KEY": "k"}) as shown:
        half = shown.wait("● The first paragraph is long")
        assert "The end." not in half and "answering" in half
        assert shown.exit_status() == 0
        screen = shown.screen()
    model.close()
    assert "● The first paragraph is long enough to fill more\n  than one line of a narrow terminal.\n\n  - a point\n\n  The end.\n" in screen
    assert screen.count("The end.") == 1 and "answering" not in screen


def test_long_output_is_cut(start):
    shown = start([terminal("seq 1 500"), {"text": "Done."}])
    assert shown.exit_status() == 0
    screen = shown.screen()
    assert re.search(r"\n  20\n  … 460 more lines\n  481\n", screen)


@pytest.mark.parametrize("width", [40, 200])
def test_a_line_without_an_end_is_cut(start, width):
    shown = start([terminal("head -c 20000 /dev/zero | tr '\\0' x"), {"text": "Done."}], width=width)
    assert shown.exit_status() == 0
    screen = shown.screen()
    assert "… 20000 columns in all" in screen.replace("\n  ", "") and screen.count("x") < 5 * width
    assert "exit code 0" in screen


def test_one_failure_is_said_once(tmp_path):
    """Without a key neither the title nor the run gets an answer."""
    with Terminal([HANDSD, "run", "Go.", "--model", "openai/none", "--data", tmp_path / "data", "--workspace", tmp_path / "work"]) as shown:
        assert shown.exit_status() == 1
        assert shown.screen().count("error: LLMAuthenticationError") == 1


def test_hostile_words_stay_words(start, tmp_path):
    rude = "\x1b]0;title\x07\x9b31m red \x1b[2J\x1b[H end \u202e turned \u2066"
    shown = start([{"text": rude, **terminal("printf '\\033[2J\\033]0;owned\\007 shell'; true " + rude)},
                   call("think", thought=rude), call("finish", message=rude)])
    assert shown.exit_status() == 0
    screen = shown.screen()
    assert "› Go." in screen and "^[]0;title^G" in screen and screen.count("end") >= 4
    assert not re.search("[\u202a-\u202e\u2066-\u2069]", screen)
    assert "title" not in shown.tmux("display-message", "-p", "#{pane_title}")
    assert "owned" not in shown.tmux("display-message", "-p", "#{pane_title}")


def test_wide_characters(start):
    text = "日本語のテキストはとても長いので、折り返される必要があります。絵文字 🎉🎉🎉 と合成文字 e\u0301 も。" * 2
    shown = start([{"text": text, **terminal("sleep 2; echo '日本語の出力もここにあります、そしてこれはとても長いです'")}, {"text": "終わり"}], width=40)
    screen = shown.wait("sleep 2; echo", times=2)
    assert shown.exit_status() == 0
    lines = shown.screen().splitlines()
    said = lines[lines.index(next(line for line in lines if line.startswith("●"))):]
    said = said[:next(i for i, line in enumerate(said) if line.startswith("$"))]
    assert "".join(part[2:] for part in said).replace(" ", "") == text.replace(" ", "")
    assert "● 終わり" in shown.screen() and "Ctrl-C" not in shown.screen(), screen


def test_other_tools_and_calls_side_by_side(make_server, tmp_path):
    """A server's conversation, resumed."""
    work = tmp_path / "work"
    patch = "*** Begin Patch\n*** Update File: poem.txt\n@@\n-old\n+new\n*** End Patch"
    write_script(tmp_path / "scripts", "play", in_folder([
        call("apply_patch", patch=patch),
        {"calls": [{"name": "grep", "arguments": {"pattern": "new", "path": "{work}", "include": "*.txt"}},
                   {"name": "glob", "arguments": {"pattern": "*.txt", "path": "{work}"}},
                   {"name": "dance", "arguments": {"how": "slowly", "times": 3}}]},
        {"text": "Done."}], work))
    work.mkdir()
    (work / "poem.txt").write_text("old\n")
    server = make_server(data=tmp_path / "data", scripts=tmp_path / "scripts")
    conversation = server.create(work, "scripted/play", agent_more={"tools": [{"name": n} for n in ("apply_patch", "grep", "glob")]})
    with Terminal([HANDSD, "run", "Go.", "--resume", conversation[:6], "--data", tmp_path / "data"]) as shown:
        assert shown.exit_status() == 0
        screen = shown.screen()
    for words in ("apply a patch\n  update poem.txt\n  1 - old\n  1 + new\n", "grep new in ", ", files *.txt\n", "glob *.txt in ", "\n  1 file\n",
                  "dance how: slowly, times: 3\n", "↳ glob *.txt", "'dance' not found"):
        assert words in screen, (words, screen)


# ---- Ctrl-C


def test_ctrl_c_pauses_and_a_message_goes_on(start, tmp_path):
    shown = start([terminal("sleep 2; echo slept"), {"text": "I heard you."}])
    shown.wait("$ sleep 2; echo slept", times=2)
    shown.send("C-c")
    shown.wait("Ctrl-C again stops it at once")
    shown.wait("q to leave")
    assert re.search(r"^  slept$", shown.screen(), re.M)  # the step in flight has ended
    shown.type("Look here instead")
    assert shown.exit_status() == 0
    screen = shown.screen()
    assert "› Look here instead" in screen and "● I heard you." in screen and "finished in" in screen


def test_enter_goes_on_after_a_pause(start):
    shown = start([terminal("sleep 1"), {"text": "On we go."}])
    shown.wait("$ sleep 1", times=2)
    shown.send("C-c")
    shown.wait("q to leave")
    shown.send("Enter")
    assert shown.exit_status() == 0 and "On we go." in shown.screen()


@pytest.mark.parametrize("pasted", ["one line\nsecond line\nthe last", "one line\nsecond line\nthe last\n"])
def test_pasted_lines_are_one_message(tmp_path, pasted):
    """With or without a line's end at the end of the last; and nothing of it is left to the shell."""
    write_script(tmp_path / "scripts", "play", [terminal("sleep 1"), {"text": "I heard you."}])
    run = shlex.join(map(str, [HANDSD, "run", "Go.", "--model", "scripted/play", "--data", tmp_path / "data", "--scripts",
                               tmp_path / "scripts", "--workspace", tmp_path]))
    with Terminal(["sh", "-c", f"trap : INT; {run}; echo then; timeout --foreground 1 cat; echo end"]) as shown:
        shown.wait("$ sleep 1", times=2)
        shown.send("C-c")
        shown.wait("q to leave")
        shown.tmux("set-buffer", pasted)
        shown.tmux("paste-buffer")
        if not pasted.endswith("\n"):
            shown.wait("the last")
            shown.type(" one")
        shown.wait("end")
        screen = shown.screen()
    last = "the last" if pasted.endswith("\n") else "the last one"
    assert f"› one line\n  second line\n  {last}\n\n● I heard you.\n" in screen and "then\nend" in screen


def test_ctrl_c_while_the_task_is_typed():
    with Terminal([HANDSD, "run", "-", "--model", "scripted/demo"]) as shown:
        shown.wait("Ctrl-D")
        shown.type("Half a task")
        shown.wait("Half a task")
        shown.send("C-c")
        assert shown.exit_status() == 128 + signal.SIGINT


@pytest.mark.parametrize("key", ["q", "C-d", "C-c"])
def test_leaving_after_a_pause_and_resuming(start, tmp_path, key):
    lines = [terminal("sleep 1"), {"text": "Here I am again."}]
    shown = start(lines)
    shown.wait("$ sleep 1", times=2)
    shown.send("C-c")
    shown.wait("q to leave")
    shown.send(*([key, "Enter"] if key == "q" else [key]))
    assert shown.exit_status() == 130
    hint = re.search(r"to go on: handsd run --resume ([0-9a-f]{8})", shown.screen())
    assert "paused in" in shown.screen()
    for one in (hint[1], "last") if key == "q" else (hint[1],):
        again = start(lines, "--resume", one, task=None)
        assert again.exit_status() == 0
        screen = again.screen()
    assert "finished in" in screen


def test_ctrl_c_twice_stops_at_once(start, tmp_path):
    shown = start([terminal("sleep 600")])
    shown.wait("$ sleep 600", times=2)
    shown.send("C-c")
    shown.wait("Ctrl-C again stops it at once")
    shown.send("C-c")
    assert shown.exit_status() == 130
    screen = shown.screen()
    assert "interrupted" in screen and "paused in" in screen and "--resume" in screen
    assert "InterruptEvent" in kinds(tmp_path)


def test_a_signal_ends_it_decently(start, tmp_path):
    shown = start([terminal("sleep 600")])
    shown.wait("$ sleep 600", times=2)
    os.kill(shown.pid(), signal.SIGTERM)
    assert shown.exit_status() == 130 and "paused in" in shown.screen()


# ---- confirmation

ASKED = [terminal("touch first"), terminal("touch second"), {"text": "So be it."}]


def test_yes_and_no_with_a_reason(start, tmp_path):
    shown = start(ASKED, "--confirm", "always")
    screen = shown.wait("why not:")
    assert "Shall the agent do this?  risk: unknown" in screen and not (tmp_path / "work" / "first").exists()
    shown.type("y")
    shown.wait("why not:", times=2)
    assert (tmp_path / "work" / "first").exists()
    shown.type("n")
    shown.wait("Why not? (Enter: no reason)")
    shown.type("I do not like it")
    assert shown.exit_status() == 0
    assert "rejected: I do not like it" in shown.screen() and not (tmp_path / "work" / "second").exists()


def test_always(start, tmp_path):
    shown = start(ASKED, "--confirm", "always")
    shown.wait("why not:")
    shown.type("a")
    assert shown.exit_status() == 0
    assert shown.screen().count("why not:") == 1
    assert (tmp_path / "work" / "first").exists() and (tmp_path / "work" / "second").exists()


def test_what_is_asked_is_shown_whole(start, tmp_path):
    long = "\n".join(f"echo {i}" for i in range(60))
    edit = {"name": "file_editor", "arguments": {"command": "create", "path": str(tmp_path / "work" / "new.txt"), "file_text": "x\n"}}
    shown = start([{"calls": [{"name": "terminal", "arguments": {"command": long}}, edit]}, {"text": "Fine."}], "--confirm", "always",
                  height=100)
    screen = shown.wait("why not:")
    assert "> echo 59" in screen and "+ x" in screen and "do these 2?" in screen
    assert re.search(r"1\. \$ echo 0…?  risk: unknown", screen) and re.search(r"2\. create new.txt  risk: unknown", screen)
    shown.type("no, not that way")
    assert shown.exit_status() == 0 and shown.screen().count("rejected: no, not that way") == 2
    assert not (tmp_path / "work" / "new.txt").exists()


def test_what_an_mcp_tool_is_asked_for_is_shown_whole(make_server, tmp_path):
    (tmp_path / "work").mkdir()
    text = "first line\n" + "long " * 100 + "\nrm -rf at the end"
    write_script(tmp_path / "scripts", "play", [{"text": "I ask it.", **call("echo", text=text)}, {"text": "Fine."}])
    server = make_server(data=tmp_path / "data", scripts=tmp_path / "scripts")
    servers = {"mcpServers": {"test": {"command": sys.executable, "args": [str(ROOT / "tests" / "support" / "mcp_server.py")]}}}
    conversation = server.create(tmp_path / "work", "scripted/play", agent_more={"mcp_config": servers},
                                 confirmation_policy={"kind": "AlwaysConfirm"})
    with Terminal([HANDSD, "run", "Go.", "--resume", conversation[:6], "--data", tmp_path / "data"]) as shown:
        screen = shown.wait("why not:")
        assert "text: first line\n" in screen and "    rm -rf at the end\n" in screen
        shown.type("no")
        shown.wait("Why not?")
        shown.send("Enter")
        assert shown.exit_status() == 0


def test_risky_asks_about_risk(start, tmp_path):
    shown = start([call("terminal", command="touch harmless", security_risk="LOW"),
                   call("terminal", command="touch wild", security_risk="HIGH"), {"text": "Done."}],
                  "--confirm", "risky")
    shown.wait("why not:")
    assert "Shall the agent do this?  risk: high" in shown.screen() and (tmp_path / "work" / "harmless").exists()
    shown.type("n")
    shown.wait("Why not?")
    shown.send("Enter")
    assert shown.exit_status() == 0 and not (tmp_path / "work" / "wild").exists()


def test_a_question_left_open_is_asked_again(start, tmp_path):
    shown = start(ASKED, "--confirm", "always")
    shown.wait("why not:")
    shown.send("C-d")
    assert shown.exit_status() == 130 and "\nwaiting for confirmation in " in shown.screen()
    again = start(ASKED, "--resume", "last", task="Then do it so.")
    screen = again.wait("why not:")
    assert "$ touch first" in screen and not (tmp_path / "work" / "first").exists()
    again.type("a")
    assert again.exit_status() == 0
    assert "› Then do it so." in again.screen() and (tmp_path / "work" / "first").exists()


# ---- without a task


def test_no_task(tmp_path):
    with Terminal([HANDSD, "run", "--model", "scripted/finish", "--data", tmp_path / "data"]) as shown:
        assert shown.exit_status() == 1
        assert "there is no task" in shown.screen() and "handsd run 'Fix the failing test'" in shown.screen()
    assert not (tmp_path / "data").exists()


def test_nobody_reads(tmp_path):
    """A reader that goes away ends the run."""
    write_script(tmp_path / "scripts", "endless", [{**terminal("echo x"), "repeat": True}])
    done = subprocess.run(["sh", "-c", '"$@" | head -n 3; exit 0', "sh", HANDSD, "run", "Go.", "--json", "--model", "scripted/endless", "--data",
                           str(tmp_path / "data"), "--scripts", str(tmp_path / "scripts"), "--workspace", str(tmp_path)],
                          timeout=60, stdin=subprocess.DEVNULL, capture_output=True, text=True)
    assert len(done.stdout.splitlines()) == 3
