"""Large things: nothing is lost that the model may want to read, no frame is too large for a client, nobody else waits."""

import base64
import io
import json
import os
import socket
import sys
import threading
import time
import zipfile
from pathlib import Path
from urllib.parse import quote

import httpx
import pytest
from handsd import ROOT, children
from talk import FINISH, LATEST_S, Others, Talk, call, memory_kb, run
from websockets.sync.client import connect

LINES = 3_000_000  # about 22 MB
GROWTH_KB = 40 * 1024
SECRET = "s3cret-in-the-middle"
FRAME_MAX = 2**20  # past it Python's client closes and comes back for ever; `Talk` has the same limit
MESSAGE_MAX = 8 * 2**20
MCP_SERVER = str(ROOT / "tests" / "support" / "mcp_server.py")


def whole(server, conversation, event):
    """The event as the log has it."""
    answer = server.http.get(f"/api/conversations/{conversation}/events/{event}")
    answer.raise_for_status()
    return answer.json()


def size(event):
    return len(json.dumps(event, ensure_ascii=False).encode())


def check_shown(talk):
    """Frames and pages have the same events, each small enough for a client."""
    paged = talk.events()
    assert all(size(e) < FRAME_MAX for e in paged)
    ids = [e["id"] for e in paged]
    with connect(talk.server.socket_url(talk.id, "?resend_mode=all"), max_size=FRAME_MAX, max_queue=None) as socket:
        assert json.loads(socket.recv(LATEST_S))["key"] == "full_state"
        assert [json.loads(socket.recv(LATEST_S)) for _ in ids] == paged
    return paged


def test_an_output_of_any_length_can_be_read_whole(server, work):
    """The model gets its two ends and a file; the file has everything, secrets hidden."""
    command = f"seq 1 {LINES // 2}; echo a$TOKEN; seq {LINES // 2 + 1} {LINES}"
    talk = Talk(server, work, [run(command, timeout=100), FINISH], secrets={"TOKEN": SECRET})
    with talk:
        before = memory_kb(server)
        with Others(server):
            assert talk.say() == "finished"
        result = talk.seen()[0]
        assert len(result.text) < 31_000 and result.text.startswith("1\n2\n") and f"\n{LINES}" in result.text
        name = next(line for line in result.text.splitlines() if "terminal_output_" in line)
        path = name[name.index("/tmp/"):name.index(".txt") + 4]
        text = open(path, encoding="utf-8").read()
        assert SECRET not in text and "a<secret-hidden>\n" in text
        numbers = [line for line in text.splitlines() if line != "a<secret-hidden>"]
        assert len(numbers) == LINES and numbers[LINES // 3] == str(LINES // 3 + 1)
        assert memory_kb(server) - before < GROWTH_KB
        with zipfile.ZipFile(io.BytesIO(server.http.get(f"/api/file/download-trajectory/{talk.id}", timeout=60).content)) as z:
            kept = [n for n in z.namelist() if "/observations/" in n]
            assert len(kept) == 1 and z.read(kept[0]).decode() == text


def saved_in(conversation):
    return Path(f"/tmp/handsd-{conversation}")


def test_an_interrupt_while_an_output_is_saved_keeps_the_result(server, work):
    """The command has run: what it said is in the log, with its file or without."""
    with Talk(server, work, [run(f"seq 1 {LINES}; echo the end", timeout=100), FINISH]) as talk:
        folder, deadline = saved_in(talk.id) / "observations", time.monotonic() + LATEST_S
        talk.start()
        while not folder.exists():
            assert time.monotonic() < deadline
            time.sleep(0.001)
        assert talk.post("interrupt").status_code == 200
        assert talk.until_over() == "paused"
        result, = talk.seen()
        assert not result.error and result.exit_code == 0
        assert result.text.startswith("1\n2\n") and result.text.endswith("the end") and len(result.text) < 31_000


def test_saved_outputs_go_with_their_conversation(make_server, work, tmp_path):
    data, scripts = tmp_path / "data", tmp_path / "scripts"
    server = make_server(data, scripts=scripts)
    with Talk(server, work, [run("seq 100000"), FINISH]) as talk, Talk(server, work, [run("seq 100000"), FINISH]) as other:
        assert (talk.say(), other.say()) == ("finished", "finished")
    server.http.delete(f"/api/conversations/{talk.id}").raise_for_status()
    assert not saved_in(talk.id).exists()
    server.stop()
    assert any(saved_in(other.id).rglob("*.txt"))
    server = make_server(data, scripts=scripts)
    server.http.delete(f"/api/conversations/{other.id}").raise_for_status()
    assert not saved_in(other.id).exists()


# ---- messages


@pytest.mark.parametrize("letter", ["x", "漢", "\x01"], ids=["plain", "wide", "escaped"])
@pytest.mark.parametrize("about", [900_000, FRAME_MAX, MESSAGE_MAX - 4096])
def test_messages_of_every_size(server, work, about, letter):
    """A little below and a little above each bound: whole in the log, small enough wherever it is shown."""
    each = len(json.dumps(letter, ensure_ascii=False).encode()) - 2
    with Talk(server, work, [{"text": "Well.", "repeat": True}]) as talk, Others(server):
        for more in (-2000, 2000):
            text = letter * ((about + more) // each)
            assert talk.say(text) == "finished"
            shown = [e for e in check_shown(talk) if e["kind"] == "MessageEvent" and e["source"] == "user"][-1]
            assert whole(server, talk.id, shown["id"])["llm_message"]["content"][0]["text"] == text
            if size(shown) < 800_000:
                assert "bytes left out" in shown["llm_message"]["content"][0]["text"]


def test_a_message_that_is_too_long(server, work):
    with Talk(server, work, [FINISH]) as talk:
        answer = server.send(talk.id, "x" * MESSAGE_MAX, run=True)
        assert answer.status_code == 413 and answer.json()["detail"]
        assert talk.kinds() == [] and talk.status() == "idle"


def test_a_first_message_of_every_size(make_server, work, tmp_path):
    """It comes with the conversation: whole, also when the server is killed before it has begun."""
    server = make_server(data=tmp_path / "data")
    body = {"agent": {"kind": "Agent", "llm": {"model": "scripted/text"}}, "workspace": {"working_dir": str(work)}, "autotitle": False}
    texts = {}
    with Others(server):
        for n in (FRAME_MAX - 2000, FRAME_MAX + 2000, MESSAGE_MAX - 2000):
            first = {"role": "user", "content": [{"type": "text", "text": "m" * n}]}
            answer = server.http.post("/api/conversations", json={**body, "initial_message": first})
            assert answer.status_code == 201, answer.text
            texts[answer.json()["id"]] = first["content"][0]["text"]
        first["content"][0]["text"] = "m" * MESSAGE_MAX
        answer = server.http.post("/api/conversations", json={**body, "initial_message": first})
        assert answer.status_code == 413 and answer.json()["detail"]
    server.kill()
    again = make_server(data=tmp_path / "data")
    for conversation, text in texts.items():
        with connect(again.socket_url(conversation, "?resend_mode=all"), max_size=FRAME_MAX, max_queue=None) as taken:
            while (event := json.loads(taken.recv(LATEST_S)))["kind"] != "MessageEvent":
                pass
        assert whole(again, conversation, event["id"])["llm_message"]["content"][0]["text"] == text


@pytest.mark.parametrize("parts", [
    [{"type": "image", "image_urls": ["data:image/png;base64," + "A" * 3_000_000] * 2}],
    [{"type": "image", "image_urls": [f"https://example.com/{n}" for n in range(100)]}] * 500,
    [{"type": "text", "text": f"part {n} " + "x" * 2000} for n in range(1000)],
], ids=["large images", "many images", "many texts"])
def test_messages_of_many_parts(server, work, parts):
    with Talk(server, work, [FINISH]) as talk, Others(server):
        answer = talk.post("events", {"role": "user", "content": parts, "run": True})
        assert answer.status_code == 200, answer.text
        assert talk.until_over() == "finished"
        shown = [e for e in check_shown(talk) if e["kind"] == "MessageEvent"][0]
        kept = whole(server, talk.id, shown["id"])["llm_message"]["content"]
        assert [p.get("image_urls", p.get("text")) for p in kept] == [p.get("image_urls", p.get("text")) for p in parts]
        for part in shown["llm_message"]["content"]:
            assert all(url.startswith(("https://example.com/", "data:image/")) for url in part.get("image_urls", []))


# ---- results


def mcp(*options):
    return {"agent_more": {"mcp_config": {"mcpServers": {"test": {"command": sys.executable, "args": [MCP_SERVER, *options]}}}}}


def test_results_and_arguments_of_megabytes(server, work):
    """Of an MCP server and of the editor."""
    (work / "image.png").write_bytes(b"\x89PNG\r\n\x1a\n" + os.urandom(3_000_000))
    (work / "long.txt").write_text("a line of it\n" * 300_000)
    numbers = list(range(200_000))
    members = {f"member {n}": n for n in range(100_000)}
    text = "é\n" * 400_000 + "THE END"
    lines = [
        {"calls": [call("big", text="5000000")]},
        {"calls": [call("typed", who={"name": numbers})]},
        {"calls": [call("typed", who=members)]},
        {"calls": [call("file_editor", command="view", path=str(work / "image.png"))]},
        {"calls": [call("file_editor", command="view", path=str(work / "long.txt"))]},
        {"calls": [call("file_editor", command="create", path=str(work / "new.txt"), file_text=text)]},
        {"calls": [call("file_editor", command="str_replace", path=str(work / "new.txt"), old_str="THE END", new_str="not yet")]},
        FINISH,
    ]
    with Talk(server, work, lines, **mcp()) as talk:
        before = memory_kb(server)
        with Others(server):
            assert talk.say() == "finished"
        assert not any(s.is_error for s in talk.seen()), talk.seen()
        assert memory_kb(server) - before < 2 * GROWTH_KB
        actions = [e for e in check_shown(talk) if e["kind"] == "ActionEvent"]
        kept = [whole(server, talk.id, e["id"])["action"] for e in actions]
        assert kept[1]["data"]["who"] == {"name": numbers} and kept[2]["data"]["who"] == members
        assert kept[5]["file_text"] == text
        seen = talk.seen()
        path = seen[0].text[seen[0].text.index("/tmp/"):]
        assert open(path[:path.index(".txt") + 4], encoding="utf-8").read() == "a" * 5_000_000 + "END"
        image = next(e for e in talk.events("ObservationEvent") if e["action_id"] == actions[3]["id"])
        url = whole(server, talk.id, image["id"])["observation"]["content"][1]["image_urls"][0]
        assert base64.b64decode(url.split(",")[1]) == (work / "image.png").read_bytes()
        assert (work / "new.txt").read_text() == text[:-7] + "not yet"


def test_a_model_that_says_much_at_once(server, model, work):
    """Megabytes in one piece of a stream, under an id of megabytes."""
    text = "Über alles. " * 250_000
    model.plays({"text": text, "piece": len(text), "id": "x" * 2_000_000, "reasoning": "r" * 2_000_000})
    llm = {"model": "openai/test-model", "api_key": "sk-test", "base_url": f"{model.url}/v1", "stream": True, "usage_id": "default"}
    with Talk(server, work, model="see agent", agent_more={"llm": llm}) as talk, Others(server):
        assert talk.say() == "finished"
        deltas = [e.get("content", "") for e in talk.frames if e["kind"] == "StreamingDeltaEvent"]
        assert deltas and all(d in text for d in deltas)  # a client that is behind is spared some: the event has all
        answer = [e for e in check_shown(talk) if e["kind"] == "MessageEvent" and e["source"] == "agent"][0]
        assert whole(server, talk.id, answer["id"])["llm_message"]["content"][0]["text"] == text.strip()
        assert len(server.http.get(f"/api/conversations/{talk.id}").content) < 100_000


def test_a_state_that_is_large(server, work):
    """Hooks, secrets and an agent of megabytes: the state on the socket leaves out what no frame can hold."""
    config = {"pre_tool_use": [{"matcher": f"tool {n}", "hooks": [{"command": "true " + "x" * 150}] * 50} for n in range(90)]}
    secrets = {f"SECRET_{n}_" + "x" * 200: {"kind": "LookupSecret", "url": "http://127.0.0.1:9/" + "y" * 1500} for n in range(1000)}
    suffix = {"agent_context": {"skills": [{"name": f"s{n}", "content": "z" * 1500, "trigger": None} for n in range(300)]}}
    with Talk(server, work, [FINISH], agent_more=suffix, hook_config=config, secrets=secrets) as talk:
        assert talk.say() == "finished"
        states = [e["value"] for e in talk.frames if e.get("key") == "full_state"]
        assert [s["execution_status"] for s in states] == ["idle", "finished"]
        assert states[0]["id"] == talk.id and states[0]["hook_config"]["pre_tool_use"]
        assert len(talk.info()["hook_config"]["pre_tool_use"]) == 90
        check_shown(talk)


# ---- a long conversation


def test_five_thousand_events(make_server, work, tmp_path):
    """Written, read in each way there is, and taken up again by another server."""
    lines = [{"calls": [call("think", thought=f"Thought {n + i}.") for i in range(10)]} for n in range(0, 2500, 10)]
    lines.append({"text": "Well.", "repeat": True})
    server = make_server(data=tmp_path / "data", scripts=tmp_path / "scripts")
    with Talk(server, work, lines, stuck_detection=False) as talk:
        before = memory_kb(server)
        with Others(server):
            assert talk.say() == "finished"
        told = [e for e in talk.frames if e.get("key") not in ("full_state", "stats")]
        with Others(server):
            events = check_shown(talk)
        assert told == events and len(events) >= 5000
        thoughts = [e["action"]["thought"] for e in events if e["kind"] == "ActionEvent"]
        assert thoughts == [f"Thought {n}." for n in range(2500)]
        assert [e["timestamp"] for e in events] == sorted({e["timestamp"] for e in events})
        assert server.http.get(f"/api/conversations/{talk.id}/events/count").json() == len(events)
        with Others(server):
            answer = server.http.get(f"/api/file/download-trajectory/{talk.id}", timeout=60)
        with zipfile.ZipFile(io.BytesIO(answer.content)) as archive:
            names = [n for n in archive.namelist() if "/events/event-" in n]
            assert [json.loads(archive.read(n)) for n in names] == events
        assert memory_kb(server) - before < GROWTH_KB
    assert server.stop() == 0
    again = make_server(data=tmp_path / "data", scripts=tmp_path / "scripts")
    before = memory_kb(again)
    with Others(again), connect(again.socket_url(talk.id), max_size=FRAME_MAX, max_queue=None) as taken:
        talk.server, talk.socket, talk.frames = again, taken, []
        assert talk.until_kind("ConversationStateUpdateEvent")["value"]["execution_status"] == "finished"
        assert talk.say("And now?") == "finished"
        later = check_shown(talk)
        assert later[:len(events)] == events
        assert [e["source"] for e in later[len(events):] if e["kind"] == "MessageEvent"] == ["user", "agent"]
    assert memory_kb(again) - before < GROWTH_KB


# ---- clients that stall


def stalled(server, request, room=4096):
    """A client that asks, reads one piece of the answer, and then nothing more."""
    host, port = server.url.removeprefix("http://").split(":")
    s = socket.socket()
    s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, room)
    s.settimeout(LATEST_S)
    s.connect((host, int(port)))
    s.sendall(f"GET {request} HTTP/1.1\r\nHost: {host}\r\n".encode())
    return s


def test_a_download_of_ten_gigabytes_that_stalls_while_the_agent_works(server, work):
    """One hand serves both; it sends no more than a window ahead, and goes on when the client has gone."""
    with open(work / "huge", "wb") as huge:
        huge.truncate(10 << 30)
    with Talk(server, work, [run("cat step; echo $RANDOM$RANDOM >> step")] * 40 + [FINISH], stuck_detection=False) as talk:
        (work / "step").write_text("")
        assert server.http.get("/api/file/download", params={"path": str(work / "step")}).content == b""
        mine = children(server.process.pid)
        before = memory_kb(server), sum(memory_kb(server, pid) for pid in mine)
        s = stalled(server, f"/api/file/download?path={quote(str(work / 'huge'))}", room=65536)
        s.sendall(b"\r\n")
        got = b""
        while len(got) < 2**20:
            got += s.recv(65536)
        assert got.startswith(b"HTTP/1.1 200") and b"10737418240" in got[:1000]
        with Others(server):
            assert talk.say() == "finished"
            assert memory_kb(server) - before[0] < 16 * 1024
            assert sum(memory_kb(server, pid) for pid in mine) - before[1] < 8 * 1024
        assert not any(r.is_error for r in talk.seen()) and len((work / "step").read_text().split()) == 40
        s.close()
        assert server.http.get("/api/file/download", params={"path": str(work / "step")}).status_code == 200
        os.truncate(work / "huge", 0)


def test_many_who_download_large_conversations_and_stall(server, work):
    """Packing megabytes is nobody else's delay, and waits for its client without them."""
    with Talk(server, work, [{"text": "Well.", "repeat": True}]) as talk:
        for _ in range(3):
            assert talk.say("z" * 8_000_000) == "finished"
        before = memory_kb(server)
        with Others(server):
            slow = [stalled(server, f"/api/file/download-trajectory/{talk.id}") for _ in range(10)]
            for s in slow:
                s.sendall(b"\r\n")
            for s in slow:  # each is served while the others are
                assert s.recv(12) == b"HTTP/1.1 200"
            answer = server.http.get(f"/api/file/download-trajectory/{talk.id}", timeout=LATEST_S)
        assert len(zipfile.ZipFile(io.BytesIO(answer.content)).namelist()) > 6
        assert memory_kb(server) - before < 2 * GROWTH_KB
        for s in slow:
            s.close()


def test_sockets_that_read_nothing_while_a_command_says_thirty_megabytes(server):
    upgrade = ("Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
               "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n").encode()
    before = memory_kb(server)
    slow = [stalled(server, "/sockets/bash-events?resend_mode=all") for _ in range(10)]
    for s in slow:
        s.sendall(upgrade)
        assert s.recv(12) == b"HTTP/1.1 101"
    with connect(f"{server.url.replace('http', 'ws', 1)}/sockets/bash-events", max_size=FRAME_MAX, max_queue=None) as reader:
        with Others(server):
            answer = server.http.post("/api/bash/start_bash_command",
                                      json={"command": "head -c 30000000 /dev/zero | tr '\\0' y; echo; seq 1000 >&2"})
            said, last = 0, answer.json()
            while last.get("exit_code") is None:
                last = json.loads(reader.recv(LATEST_S))
                said += len(last.get("stdout") or "")
        assert said == 30_000_001 and last["exit_code"] == 0
        assert memory_kb(server) - before < GROWTH_KB
    for s in slow:
        s.close()


def test_everything_that_can_hang_at_once(server, work):
    """64 clients that wait for commands, a hook, a server of tools and a command that hang: others read and run as ever."""
    gate = work / "gate"
    os.mkfifo(gate)
    answers = []

    def wait(n):
        answers.append(httpx.post(f"{server.url}/api/bash/execute_bash_command", timeout=LATEST_S,
                                  json={"command": f"read x < gate; echo {n}", "cwd": str(work), "timeout": 60}).json()["stdout"])

    hook = {"pre_tool_use": [{"matcher": "*", "hooks": [{"command": f"touch {work}/hooked; read x < {gate}", "timeout": 60}]}]}
    waiting = [threading.Thread(target=wait, args=(n,)) for n in range(64)]
    with Talk(server, work, [run("true"), FINISH], hook_config=hook) as hooked, \
            Talk(server, work, [{"calls": [call("hang")]}, FINISH], **mcp()) as served, \
            Talk(server, work, [run(f"echo on; read x < {gate}", timeout=60), FINISH]) as shell, \
            Talk(server, work, [run("echo on")] * 20 + [FINISH], stuck_detection=False) as free:
        for thread in waiting:
            thread.start()
        for talk in (hooked, served, shell):
            talk.start()
        for talk in (served, shell):
            talk.until_kind("ActionEvent")
        with Others(server):
            assert free.say() == "finished"
            assert all(t.status() == "running" for t in (hooked, served, shell)) and not answers
            opened = os.open(gate, os.O_RDWR)  # each read ends when there is a line for it
            os.write(opened, b"x\n" * 200)
            for thread in waiting:
                thread.join(LATEST_S)
            assert served.post("interrupt").status_code == 200
            assert [hooked.until_over(), served.until_over(), shell.until_over()] == ["finished", "paused", "finished"]
            os.close(opened)
    assert sorted(int(a) for a in answers) == list(range(64))
