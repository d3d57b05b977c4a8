"""MCP servers: their tools appear when they are ready, and one that is dead, slow or mad hurts nobody else."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
import uuid
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from websockets.sync.client import connect

from handsd import ROOT, processes_in, write_script, write_script
from talk import FINISH, Others, Talk, call, run

SERVER = str(ROOT / "tests" / "support" / "mcp_server.py")
MODULES = ROOT / "tests" / "js" / "node_modules"
PACKAGES = MODULES / "@modelcontextprotocol"


def stdio(*options, **more):
    return {"command": sys.executable, "args": [SERVER, *options], **more}


def agent(servers, llm, **more):
    return {"kind": "Agent", "llm": llm, "tools": [{"name": "terminal"}], "mcp_config": servers, **more}


class McpTalk(Talk):
    def errors(self):
        return [e for e in self.events("ConversationErrorEvent") if e["code"].startswith("MCP")]

    def results(self):
        """What was seen of the calls before the last, which is `finish`."""
        return self.seen()[:-1]


@pytest.fixture
def talk(server, work):
    """Makes talks whose agent has these servers."""
    opened = []

    def make(lines, servers, llm=None, secrets=None, **more):
        name = f"m{uuid.uuid4().hex}"
        write_script(server.scripts, name, lines)
        one = agent(servers, llm or {"model": f"scripted/{name}"}, **more)
        opened.append(McpTalk(server, work, model="see agent", agent=one, **({"secrets": secrets} if secrets else {})))
        return opened[-1]

    yield make
    for one in opened:
        one.socket.close()


def use(*calls):
    """Lines that make these calls, one a step, and finish."""
    return [*[{"calls": [one]} for one in calls], FINISH]


# ---- tools over standard streams


def test_a_tool_is_called_and_its_result_is_an_mcp_observation(talk):
    one = talk(use(call("echo", text="hello", summary="Says hello")), {"mcpServers": {"test": stdio()}})
    assert one.say() == "finished"
    action = one.events("ActionEvent")[0]
    assert action["action"] == {"data": {"text": "hello"}, "kind": "MCPToolAction"}
    assert action["tool_name"] == "echo" and action["summary"] == "Says hello"
    event = one.events("ObservationEvent")[0]
    assert event["observation"] == {
        "content": [{"cache_prompt": False, "type": "text", "text": "hello"}], "is_error": False,
        "tool_name": "echo", "kind": "MCPToolObservation"}
    assert one.errors() == []


def test_results_of_every_kind(talk):
    one = talk(use(call("fail"), call("refuse", text="x"), call("image"), call("structured"), call("resource"),
                   call("typed", who={"name": "Ada"}), call("ask")), {"test": stdio()})
    assert one.say() == "finished"
    fail, refuse, image, structured, resource, typed, ask = one.results()
    assert fail.is_error and fail.text == "it went wrong"
    assert refuse.error and "no such thing" in refuse.error
    assert image.text == "two of them\n[content that cannot be shown was left out (audio/wav)]"
    pictures = image.observation["content"][1]
    assert pictures["type"] == "image" and len(pictures["image_urls"]) == 2
    assert pictures["image_urls"][0].startswith("data:image/png;base64,iVBOR")
    assert structured.text == '{"answer":42}'
    assert "inside" in resource.text and "test://b" in resource.text
    assert json.loads(typed.text) == {"who": {"name": "Ada"}}
    ping, roots, sampling = json.loads(ask.text)
    assert ping == {"result": {}} and roots == {"result": {"roots": []}} and sampling["error"]["code"] == -32601


def test_what_the_model_gets_of_the_tools(talk, model):
    model.plays({"text": "done"})
    one = talk([], {"test": stdio("--tools", "5")},
               llm={"model": "openai/m", "base_url": model.url + "/v1", "api_key": "k", "stream": False})
    assert one.say() == "finished"
    asked = model.requests()
    asked = asked["requests"] if isinstance(asked, dict) else asked
    tools = {t["function"]["name"]: t["function"] for t in asked[0]["body"]["tools"]}
    assert {"terminal", "finish", "think", "echo", "typed", "tool_4"} <= set(tools)
    schema = tools["typed"]["parameters"]
    assert schema["properties"]["who"] == {"type": "object", "properties": {"name": {"type": "string"}}}
    assert schema["required"] == ["who"] and "summary" in schema["properties"]
    assert tools["echo"]["description"] == "Gives the text back."
    odd = [name for name in tools if name.startswith("odd_name")]
    assert len(odd) == 1 and re.fullmatch("[a-zA-Z0-9_-]{64}", odd[0])


def test_several_servers_have_their_names_in_front(talk):
    one = talk(use(call("first_echo", text="1"), call("second_echo", text="2"), call("echo", text="3")),
               {"first": stdio(), "second": stdio(), "third": stdio("--die", enabled=False)})
    assert one.say() == "finished"
    first, second, neither = one.results()
    assert (first.text, second.text) == ("1", "2")
    assert "Tool 'echo' not found" in neither.error and one.errors() == []


def test_the_filter_leaves_out_tools_of_both_kinds(talk):
    one = talk(use(call("echo", text="1"), call("env", text="HOME"), call("terminal", command="true"), call("think", thought="x")),
               {"test": stdio()}, filter_tools_regex="^e(?!nv)")
    assert one.say() == "finished"
    echo, env, terminal, think = one.results()
    assert echo.text == "1" and "not found" in env.error and "not found" in terminal.error and not think.error


@pytest.mark.parametrize("change, where", [
    ({"filter_tools_regex": "("}, "filter_tools_regex"),
    ({"mcp_config": {"a": {"args": ["x"]}}}, "command"),
    ({"mcp_config": {"a": {"transport": "pigeon", "url": "http://x"}}}, "transport"),
    ({"mcp_config": {"a": {"command": "x", "args": [{}]}}}, "args"),
    ({"mcp_config": {"a": "x"}}, "mcp_config.a"),
])
def test_a_wrong_configuration_is_refused(server, work, change, where):
    body = {"agent": {**agent({}, {"model": "scripted/finish"}), **change}, "workspace": {"working_dir": str(work)}}
    answer = server.http.post("/api/conversations", json=body)
    assert answer.status_code == 422 and where in answer.text


def test_secrets_reach_the_server_and_are_hidden_in_its_answers(server, talk):
    one = talk(use(call("env", text="TOKEN"), call("env", text="OTHER"), call("echo", text="$GITHUB_TOKEN ${PORT:-80}"),
                   call("env", text="LLM_API_KEY")),
               {"test": stdio(env={"TOKEN": "${GITHUB_TOKEN}", "OTHER": "${MISSING:-otherwise}"})},
               secrets={"GITHUB_TOKEN": "s3cr3t-value-1"})
    assert one.say() == "finished"
    assert [r.text for r in one.results()] == ["<secret-hidden>", "otherwise", "<secret-hidden> ${PORT:-80}", "(unset)"]
    shown = json.dumps(one.info())
    assert "s3cr3t" not in shown and "GITHUB_TOKEN" in shown
    assert one.info()["agent"]["mcp_config"]["test"]["env"] == {"TOKEN": "**********", "OTHER": "**********"}


class Vault(BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.send_header("Content-Length", "15")
        self.end_headers()
        self.wfile.write(b"fetched-value-1")

    def log_message(self, *_):
        pass


def test_a_secret_that_is_fetched_reaches_the_server(talk):
    with ThreadingHTTPServer(("127.0.0.1", 0), Vault) as vault:
        threading.Thread(target=vault.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{vault.server_port}/"
        one = talk(use(call("env", text="TOKEN"), call("echo", text="[$OTHER]")), {"test": stdio(env={"TOKEN": "is ${FETCHED}"})},
                   secrets={n: {"kind": "LookupSecret", "url": url} for n in ("FETCHED", "OTHER")})
        assert one.say() == "finished"
        vault.shutdown()
    assert [r.text for r in one.results()] == ["is <secret-hidden>", "[<secret-hidden>]"]


def test_new_secrets_start_the_server_anew(talk):
    one = talk([*use(call("env", text="TOKEN"), call("pid")), *use(call("env", text="TOKEN"), call("pid"))],
               {"test": stdio(env={"TOKEN": "x${LETTERS}"})})
    assert one.say() == "finished"
    assert one.post("secrets", {"secrets": {"LETTERS": "abc"}}).status_code == 200
    assert one.say() == "finished"
    before, old, _, after, new = [r.text for r in one.results()]
    assert (before, after) == ("x${LETTERS}", "xabc") and old != new


def test_a_long_result_is_cut_and_can_be_read(talk):
    one = talk(use(call("big", text="300000")), {"test": stdio()})
    assert one.say() == "finished"
    seen = one.results()[0].text
    path = re.search(r"all of it is in (\S+) …\]", seen).group(1)
    assert len(seen) < 60000 and seen.endswith("END")
    with open(path, encoding="utf-8") as saved:
        assert saved.read() == "a" * 300000 + "END"


def test_a_large_result_delays_nobody(server, talk):
    one = talk(use(call("big", text="12000000"), call("echo", text="still there")), {"test": stdio()})
    with Others(server):
        assert one.say() == "finished"
    big, echo = one.results()
    assert big.text.endswith("END") and echo.text == "still there"


def test_tools_that_come_later_are_there_in_the_next_step(talk):
    one = talk(use(call("more", text="brand_new"), call("brand_new", text="x")), {"test": stdio()})
    assert one.say() == "finished"
    assert json.loads(one.results()[1].text) == {"text": "x"}


def test_confirmation_asks_for_tools_of_servers_too(talk):
    one = talk(use(call("echo", text="hello")), {"test": stdio()})
    assert one.post("confirmation_policy", {"policy": {"kind": "AlwaysConfirm"}}).status_code == 200
    assert one.say() == "waiting_for_confirmation"
    assert one.events("ObservationEvent") == []
    one.post("run")
    assert one.until_over() == "finished"
    assert one.results()[0].text == "hello"


def test_a_confirmed_call_waits_for_its_server_after_a_restart(make_server, tmp_path, work):
    hold = tmp_path / "go"
    hold.touch()
    scripts = tmp_path / "scripts"
    write_script(scripts, "echo", use(call("echo", text="hello")))
    body = agent({"test": stdio("--hold", str(hold))}, {"model": "scripted/echo"})
    server = make_server(tmp_path / "data", scripts=scripts)
    with McpTalk(server, work, model="see agent", agent=body) as one:
        assert one.post("confirmation_policy", {"policy": {"kind": "AlwaysConfirm"}}).status_code == 200
        assert one.say() == "waiting_for_confirmation"
        conversation = one.id
    server.stop()
    hold.unlink()
    server = make_server(tmp_path / "data", scripts=scripts)
    with connect(server.socket_url(conversation)) as socket_:
        assert server.http.post(f"/api/conversations/{conversation}/run").status_code == 200
        while json.loads(socket_.recv(20)).get("value") != "running":
            pass
        hold.touch()  # later than the moment that a run gives its servers, or not: it makes no difference
        event = {}
        while event.get("kind") != "ObservationEvent":
            event = json.loads(socket_.recv(20))
    assert event["observation"]["content"][0]["text"] == "hello"


# ---- servers that are slow or bad


def test_creating_and_starting_never_wait_for_a_server(server, talk, tmp_path):
    hold = tmp_path / "go"
    started = time.monotonic()
    one = talk([run("echo first"), {"calls": [call("echo", text="now")]}, FINISH], {"test": stdio("--hold", str(hold))})
    created = time.monotonic() - started
    one.start()
    one.until_kind("ObservationEvent")  # the terminal's, without the server
    assert created < 1
    hold.touch()  # the model asks for a tool that is not there yet: it is waited for
    assert one.until_over() == "finished"
    assert [r.text for r in one.results()] == ["first", "now"] and one.errors() == []


def test_a_server_that_is_too_slow_is_one_event(talk, tmp_path):
    one = talk([run("true"), run("true"), {"calls": [call("echo", text="x")]}, run("true"), FINISH],
               {"test": stdio("--hold", str(tmp_path / "never"), timeout=1.5)})
    assert one.say() == "finished"
    errors = one.errors()
    assert [e["code"] for e in errors] == ["MCPTimeoutError"] and errors[0]["source"] == "environment"
    assert "'test'" in errors[0]["detail"] and "1.5" in errors[0]["detail"]
    assert "Tool 'echo' not found" in one.results()[2].error


@pytest.mark.parametrize("options, said", [
    (["--die"], "exit code 3"),
    (["--garbage"], "not MCP"),
    (["--flood"], "more than anybody asked for"),
    (["--wrong-id"], "never made"),
    (["--version", "1999-01-01"], "1999-01-01"),
])
def test_a_bad_server_is_an_event_and_hurts_nobody(server, talk, options, said):
    with Others(server):
        one = talk([run("true"), {"calls": [call("good_echo", text="fine")]}, {"calls": [call("bad_echo", text="x")]}, FINISH],
                   {"bad": stdio(*options, env={"TOKEN": "a-secret-of-its-own"}), "good": stdio()})
        assert one.say() == "finished"
    errors = one.errors()
    assert [e["code"] for e in errors] == ["MCPError"] and "'bad'" in errors[0]["detail"]
    assert said in errors[0]["detail"] and "a-secret-of-its-own" not in json.dumps(one.events())
    assert one.results()[1].text == "fine" and "not found" in one.results()[2].error


def test_no_part_of_a_secret_is_left_where_an_error_is_cut(talk):
    one = talk(use(call("refuse", text="x" * 1970 + " $WORD")), {"test": stdio()}, secrets={"WORD": "0123456789abcdefghij"})
    assert one.say() == "finished"
    assert "<secret-hidden>" in one.results()[0].error and "0123" not in json.dumps(one.events("AgentErrorEvent"))
    one = talk([FINISH], {"test": stdio("--die", env={"TOKEN": "a-secret-of-its-own", "SHOUT": "1990"})})
    assert one.say() == "finished"
    assert "exit code 3" in one.errors()[0]["detail"] and "its-own" not in json.dumps(one.errors())


def test_a_program_that_does_not_exist(talk):
    one = talk([FINISH], {"test": {"command": "/no/such/program"}})
    assert one.say() == "finished"
    assert len(one.errors()) == 1


def test_a_greeting_on_standard_output_is_forgiven(talk):
    one = talk(use(call("echo", text="x")), {"test": stdio("--greeting", "Server 1.0 starting")})
    assert one.say() == "finished"
    assert one.results()[0].text == "x" and one.errors() == []


def test_a_server_that_dies_in_a_call_is_started_again(talk, tmp_path):
    log = tmp_path / "log"
    one = talk(use(call("die"), call("echo", text="back")), {"test": stdio("--log", str(log))})
    assert one.say() == "finished"
    died, back = one.results()
    assert "exit code 7" in died.error and back.text == "back"
    assert len(one.errors()) == 1
    methods = log.read_text().split("\n")
    assert methods.count("initialize") == 2 and "tools/list" not in methods[methods.index("initialize", 2):]


def hand_above(pid):
    """The outermost hand among a process and its ancestors."""
    found = None
    while pid > 1:
        if os.path.basename(os.readlink(f"/proc/{pid}/exe")) == "hand":
            found = pid
        with open(f"/proc/{pid}/stat", encoding="utf-8") as stat:
            pid = int(stat.read().rsplit(")", 1)[1].split()[1])
    return found


def test_a_server_whose_hand_dies_is_started_again(talk, work):
    one = talk([{"calls": [call("pid")]}, FINISH, {"calls": [call("pid")]}, FINISH], {"test": stdio()})
    assert one.say() == "finished"
    pid = int(one.seen()[0].text)
    os.kill(hand_above(pid), signal.SIGKILL)
    wait_for(lambda: pid not in processes_in(work))
    assert one.say() == "finished"
    first, _, second = one.results()
    assert second.text.isdigit() and first.text != second.text and one.errors() == []


def test_an_interrupt_ends_a_call_that_hangs(talk, tmp_path):
    log = tmp_path / "log"
    one = talk(use(call("hang")), {"test": stdio("--log", str(log))})
    one.start()
    one.until_kind("ActionEvent")
    started = time.monotonic()
    assert one.post("interrupt").status_code == 200
    assert one.until_over() == "paused"
    assert time.monotonic() - started < 2
    wait_for(lambda: "notifications/cancelled" in log.read_text())


def test_a_call_that_hangs_ends_at_its_timeout(talk):
    one = talk(use(call("hang"), call("echo", text="well")), {"test": stdio(timeout=2)})
    assert one.say() == "finished"
    hang, echo = one.results()
    assert "did not answer" in hang.error and echo.text == "well"
    assert [e["code"] for e in one.errors()] == ["MCPTimeoutError"]


def test_deleting_the_conversation_ends_its_servers(server, talk, work):
    one = talk(use(call("pid")), {"test": stdio()})
    assert one.say() == "finished"
    assert processes_in(work)
    assert server.http.delete(f"/api/conversations/{one.id}").status_code == 200
    wait_for(lambda: not processes_in(work))


def test_the_end_of_the_server_ends_all_servers(make_server, tmp_path, work):
    log = tmp_path / "log"
    server = make_server(scripts=tmp_path / "scripts")
    write_script(tmp_path / "scripts", "hang", use(call("a_hang")))
    servers = {"a": stdio("--log", str(log)), "b": stdio("--hold", str(tmp_path / "never"))}
    with McpTalk(server, work, model="see agent", agent=agent(servers, {"model": "scripted/hang"})) as one:
        one.start()
        one.until_kind("ActionEvent")
        started = time.monotonic()
        assert server.stop() == 0
        assert time.monotonic() - started < 5
    wait_for(lambda: not processes_in(work))


def wait_for(condition):
    """Of another process, which tells nobody when it is done."""
    until = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.02)


# ---- over HTTP


class HttpServer:
    def __init__(self, *options):
        self.process = subprocess.Popen([sys.executable, SERVER, *options], stdin=subprocess.PIPE,
                                        stdout=subprocess.PIPE, text=True)
        self.url = f"http://127.0.0.1:{int(self.process.stdout.readline())}/mcp"

    def close(self):
        self.process.stdin.close()
        self.process.wait(10)
        self.process.stdout.close()


@pytest.fixture
def http_server():
    started = []

    def start(*options):
        started.append(HttpServer(*options))
        return started[-1]

    yield start
    for one in started:
        one.close()


@pytest.mark.parametrize("form", ["json", "sse"])
def test_streamable_http(server, talk, http_server, tmp_path, form):
    log, hold = tmp_path / "log", tmp_path / "go"
    hold.touch()
    remote = http_server("--http", form, "--log", str(log), "--hold", str(hold))
    one = talk([*use(call("echo", text="hello"))[:-1], run(f"touch {hold}.forget"), *use(call("echo", text="lost"), call("echo", text="again"))],
               {"test": {"url": remote.url, "transport": "http", "headers": {"X-Custom": "${WORD}"},
                         "auth": {"strategy": "bearer", "value": "tok-123456"}}},
               secrets={"WORD": "from-a-secret"})
    assert one.say() == "finished"
    hello, _, lost, again = one.results()
    assert hello.text == "hello" and "session has ended" in lost.error and again.text == "again"
    assert len(one.errors()) == 1
    lines = log.read_text().split("\n")
    headers = [json.loads(line[8:]) for line in lines if line.startswith("headers ")]
    assert headers[0]["authorization"] == "Bearer tok-123456" and headers[0]["x-custom"] == "from-a-secret"
    assert "mcp-session-id" not in headers[0] and headers[1]["mcp-session-id"].startswith("session-")
    assert headers[1]["mcp-protocol-version"] == "2025-06-18" and headers[0]["accept"] == "application/json, text/event-stream"
    assert "tok-123456" not in json.dumps(one.info())
    server.http.delete(f"/api/conversations/{one.id}")
    wait_for(lambda: "DELETE known" in log.read_text())


def test_a_remote_server_that_is_not_there(talk):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        one = talk([run("true"), FINISH], {"test": {"url": f"http://127.0.0.1:{taken.getsockname()[1]}/mcp"}})
        assert one.say() == "finished"
    assert len(one.errors()) == 1


# ---- the servers of the protocol's own project

needs_packages = pytest.mark.skipif(not PACKAGES.exists(), reason="tests/js/node_modules is missing (scripts/test-env)")


def package(name, *args):
    # Node 18 (Debian 12) has what the servers need, but only shows it when asked to.
    version = subprocess.run(["node", "--version"], capture_output=True, text=True, check=True).stdout
    shown = ["--experimental-global-webcrypto"] if version.startswith("v18.") else []
    return {"command": "node", "args": [*shown, str(PACKAGES / name / "dist" / "index.js"), *args]}


@needs_packages
def test_server_filesystem(talk, work):
    (work / "a.txt").write_text("one\ntwo\n")
    one = talk(use(call("read_text_file", path=str(work / "a.txt")), call("write_file", path=str(work / "b.txt"), content="made"),
                   call("list_directory", path=str(work)), call("read_text_file", path="/etc/passwd")),
               {"files": package("server-filesystem", str(work))})
    assert one.say() == "finished"
    read, _, listed, refused = one.results()
    assert "one\ntwo" in read.text and (work / "b.txt").read_text() == "made"
    assert "[FILE] a.txt" in listed.text and "[FILE] b.txt" in listed.text
    assert refused.is_error


@needs_packages
def test_server_everything(talk):
    one = talk(use(call("echo", message="hello"), call("get-sum", a=2, b=40), call("get-tiny-image"), call("get-env"),
                   call("trigger-long-running-operation", duration=1, steps=3)),
               {"everything": package("server-everything", "stdio")})
    assert one.say() == "finished"
    echo, total, image, env, slow = one.results()
    assert echo.text == "Echo: hello" and "42" in total.text
    assert image.observation["content"][1]["image_urls"][0].startswith("data:image/png;base64,")
    assert "AI_AGENT" in env.text and "completed" in slow.text.lower()
    assert one.errors() == []


@needs_packages
@pytest.mark.parametrize("transport, path, kind", [("streamableHttp", "/mcp", "http"), ("sse", "/sse", None)])
def test_server_everything_over_http(talk, transport, path, kind):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = package("server-everything", transport)
    process = subprocess.Popen([command["command"], *command["args"]], env={**os.environ, "PORT": str(port)},
                               stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    try:
        while str(port) not in process.stderr.readline():
            pass
        one = talk(use(call("echo", message="hello"), call("get-sum", a=2, b=40)),
                   {"everything": {"url": f"http://127.0.0.1:{port}{path}", **({"transport": kind} if kind else {})}})
        assert one.say() == "finished"
        assert one.errors() == []
        assert one.results()[0].text == "Echo: hello" and "42" in one.results()[1].text
    finally:
        process.terminate()
        process.wait(20)
        process.stderr.close()
