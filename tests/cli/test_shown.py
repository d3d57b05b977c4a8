"""What stands on the screen of `handsd run` beside the agent's own words and tools: hooks, condensations, MCP servers, and what
the server in it has to say."""

import re
import sys

import pytest

from handsd import HANDSD, ROOT, write_script
from playing import model  # noqa: F401
from talk import FINISH, run
from terminal import Terminal

MCP = str(ROOT / "tests" / "support" / "mcp_server.py")


@pytest.fixture
def resumed(make_server, tmp_path):
    """Resumes a conversation of a server's in a terminal, and gives the screen at its end."""

    def show(lines, *, width=100, **more):
        (tmp_path / "work").mkdir()
        write_script(tmp_path / "scripts", "play", lines)
        server = make_server(data=tmp_path / "data", scripts=tmp_path / "scripts")
        conversation = server.create(tmp_path / "work", "scripted/play", autotitle=False, **more)
        with Terminal([HANDSD, "run", "Go.", "--resume", conversation[:8], "--data", tmp_path / "data"], width=width) as shown:
            shown.exit_status()
            return shown.screen()

    return show


def hook(command, **more):
    return [{"matcher": "*", "hooks": [{"command": command, **more}]}]


@pytest.mark.parametrize("width", [100, 40])
def test_hooks(resumed, width):
    """One that did its work takes no line; one that failed or blocked says so."""
    blocks = "grep -q forbidden && { echo 'Not this one.' >&2; exit 2; }; true"
    screen = resumed([run("echo allowed"), run("echo forbidden"), FINISH], width=width, hook_config={"hooks": {
        "SessionStart": hook("true"), "PreToolUse": hook(blocks), "PostToolUse": hook("echo told >&2; exit 7"), "Stop": hook("true")}})
    flat = " ".join(screen.split())
    assert "allowed exit code 0" in flat and "SessionStart" not in screen and "hook Stop" not in screen
    assert flat.count("hook PostToolUse failed # echo told >&2; exit 7 told") == 2  # of the command, and of `finish`
    assert flat.count("hook PreToolUse blocked # grep -q forbidden") == 1
    assert "true blocked by a hook: Not this one. ✓ All done." in flat


def test_a_hook_that_wants_the_agent_to_go_on(resumed):
    once = "[ -e seen ] || { touch seen; echo 'Write the tests, too.' >&2; exit 2; }"
    screen = resumed([FINISH, FINISH], hook_config={"hooks": {"Stop": hook(once)}})
    assert "hook Stop blocked  # [ -e seen ]" in screen and screen.count("Write the tests, too.") >= 1
    assert screen.count("✓ All done.") == 2 and "finished in" in screen


def test_a_condensation(resumed):
    thoughts = [{"calls": [{"name": "think", "arguments": {"thought": f"thought {n}"}}]} for n in range(6)]
    screen = resumed([*thoughts, FINISH], agent_more={"condenser": {
        "kind": "LLMSummarizingCondenser", "llm": {"model": "scripted/play", "usage_id": "condenser"}, "max_size": 10, "keep_first": 2}})
    assert "\n\n● the model's view was condensed: a summary in place of 8 events\n\n● thought" in screen


def test_mcp_servers(resumed):
    servers = {"mcpServers": {"good": {"command": sys.executable, "args": [MCP]}, "bad": {"command": "/nowhere/server"}}}
    screen = resumed([{"text": "I ask it.", "calls": [{"name": "good_echo", "arguments": {"text": "hello\nthere"}}]},
                      {"calls": [{"name": "good_fail", "arguments": {}}, {"name": "good_image", "arguments": {}}]}, FINISH],
                     agent_more={"mcp_config": servers})
    for words in ("error: MCPError: The MCP server 'bad' failed: ", "● I ask it.\ngood_echo text: hello there\n  hello\n  there\n",
                  "\n↳ good_fail\n  it went wrong\n  failed\n", "  2 images\n", "finished in"):
        assert words in screen, (words, screen)


# ---- what the server in the command has to say


def test_a_new_key_is_told_once_and_readably(start):
    shown = start([{"text": "Done."}])
    assert shown.exit_status() == 0
    assert shown.screen().startswith("warning: no secret_key is configured") and "Z warning" not in shown.screen()
    again = start([{"text": "Done."}])
    assert again.exit_status() == 0 and again.screen().startswith("› Go.")


def test_a_failing_model_is_told_while_it_is_tried_again(tmp_path, model):
    model.plays({"status": 500, "error": {"message": "out of order"}}, {"text": "There."})
    with Terminal([HANDSD, "run", "Go.", "--model", "openai/gpt-4o-mini", "--base-url", f"{model.url}/v1", "--data", tmp_path / "data",
                   "--workspace", tmp_path], env={"LLM_API_KEY": "k"}) as shown:
        screen = shown.wait("next in")
        assert "\nwarning: model call failed (attempt 1 of 5): openai/gpt-4o-mini at " in screen
        assert "status 500: out of order; next in" in " ".join(screen.split())
        shown.send("C-c")
        shown.wait("Ctrl-C again stops it at once")
        shown.send("C-c")
        assert shown.exit_status() == 130


def test_what_a_wrong_key_needs_is_told(tmp_path, model):
    model.plays({"status": 401, "error": {"message": "no such key"}})
    with Terminal([HANDSD, "run", "Go.", "--model", "openai/gpt-4o-mini", "--base-url", f"{model.url}/v1", "--data", tmp_path / "data",
                   "--workspace", tmp_path], env={"LLM_API_KEY": "k"}) as shown:
        assert shown.exit_status() == 1
        assert re.search("error: LLMAuthenticationError: .*no such key\n  .*LLM_API_KEY", shown.screen())
