"""Commands of clients: /api/bash and /sockets/bash-events."""

import json
import os
import re
import signal
import threading
import time
import uuid
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest
from handsd import processes_in
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import connect as connect_limited

KEY = "a-key-for-the-tests"
LATEST_S = 20
FRAME_MAX = 1024 * 1024  # of the Python client's library


def connect(server, query="", **options):
    return connect_limited(f"{server.url.replace('http', 'ws', 1)}/sockets/bash-events{query}", max_queue=None,
                           max_size=FRAME_MAX, **options)


def receive(socket):
    return json.loads(socket.recv(LATEST_S))


def start(server, command, **more):
    answer = server.http.post("/api/bash/start_bash_command", json={"command": command, **more})
    assert answer.status_code == 200, answer.text
    return answer.json()


def execute(server, command, **more):
    answer = server.http.post("/api/bash/execute_bash_command", json={"command": command, **more})
    assert answer.status_code == 200, answer.text
    return answer.json()


def search(server, **query):
    answer = server.http.get("/api/bash/bash_events/search", params=query)
    assert answer.status_code == 200, answer.text
    return answer.json()


def pages(server, **query):
    """Every page, each with its items."""
    found, page = [], None
    while True:
        body = search(server, **query, **({"page_id": page} if page else {}))
        found.append(body["items"])
        page = body["next_page_id"]
        if not page:
            return found


def follow(server, command, seconds=LATEST_S):
    """Polls as the Python client does; the outputs up to the one with the exit code."""
    outputs, order, deadline = [], -1, time.monotonic() + seconds
    while time.monotonic() < deadline:
        query = {"command_id__eq": command, "sort_order": "TIMESTAMP", "limit": 100, "kind__eq": "BashOutput"}
        if order >= 0:
            query["order__gt"] = order
        for event in search(server, **query)["items"]:
            assert event["id"] not in [one["id"] for one in outputs]
            order = max(order, event["order"])
            outputs.append(event)
            if event["exit_code"] is not None:
                return outputs
        time.sleep(0.05)
    raise AssertionError("no exit code came")


def text(outputs, stream="stdout"):
    return "".join(one[stream] or "" for one in outputs)


@pytest.fixture
def empty(server):
    server.http.delete("/api/bash/bash_events").raise_for_status()
    return server


# ---- one command


def test_the_command_as_it_is_answered(server):
    command = start(server, "true")
    assert list(command) == ["command", "cwd", "timeout", "id", "timestamp", "kind"]
    assert (command["command"], command["cwd"], command["timeout"], command["kind"]) == ("true", None, 300, "BashCommand")
    assert re.fullmatch("[0-9a-f]{32}", command["id"])
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z", command["timestamp"])


def test_start_and_poll(server):
    command = start(server, "echo out; echo err >&2; exit 3")
    (last,) = follow(server, command["id"])
    assert list(last) == ["id", "timestamp", "command_id", "order", "exit_code", "stdout", "stderr", "kind"]
    assert (last["stdout"], last["stderr"], last["exit_code"], last["order"]) == ("out\n", "err\n", 3, 0)
    assert (last["command_id"], last["kind"]) == (command["id"], "BashOutput")
    assert last["timestamp"] > command["timestamp"]


def test_execute(server):
    last = execute(server, "printf 'no newline'", timeout=5)
    assert (last["stdout"], last["stderr"], last["exit_code"]) == ("no newline", None, 0)
    assert execute(server, "true")["stdout"] is None


def test_where_it_runs(server, tmp_path):
    assert execute(server, "pwd")["stdout"] == os.getcwd() + "\n"
    assert execute(server, "pwd", cwd=None)["stdout"] == os.getcwd() + "\n"
    assert execute(server, "pwd", cwd=str(tmp_path))["stdout"] == str(tmp_path) + "\n"
    name = "with space\nand newline"
    (tmp_path / name).mkdir()
    assert execute(server, "pwd", cwd=str(tmp_path / name))["stdout"] == f"{tmp_path}/{name}\n"
    assert execute(server, "pwd", cwd="tests")["stdout"] == f"{os.getcwd()}/tests\n"


def test_it_runs_in_the_hand_of_the_conversation_whose_directory_it_is(server, tmp_path):
    conversation = server.create(tmp_path, autotitle=False)
    parent = "cat /proc/$(cut -d' ' -f4 /proc/$PPID/stat)/stat | cut -d' ' -f1"  # the keeper's parent
    inside = execute(server, parent, cwd=str(tmp_path))["stdout"]
    outside = execute(server, parent, cwd="/")["stdout"]
    assert inside and outside and inside != outside
    server.http.delete(f"/api/conversations/{conversation}")


def test_a_directory_that_is_not_there(server):
    last = execute(server, "true", cwd="/nonexistent/place")
    assert (last["exit_code"], last["order"], last["stdout"]) == (-1, 0, None)
    assert "/nonexistent/place" in last["stderr"] and "could not be started" in last["stderr"]


def test_there_is_no_standard_input(server):
    assert execute(server, "cat; echo end", timeout=5)["stdout"] == "end\n"


def test_what_it_says_in_no_encoding(server):
    last = execute(server, r"printf 'a\377b \303\251 \303'; printf '\342\202' >&2; printf '\254' >&2")
    assert last["stdout"] == "a\ufffdb \u00e9 \ufffd"
    assert last["stderr"] == "\u20ac"


def test_control_characters(server):
    assert execute(server, r"""printf '\000\001"\\\033[1m\t'""")["stdout"] == '\0\1"\\\x1b[1m\t'


def test_killed_by_a_signal(server):
    assert execute(server, "kill -9 $$")["exit_code"] == -9


def test_its_environment(server):
    said = execute(server, "env")["stdout"]
    assert "PATH=" in said
    for name in ("SESSION_API_KEY", "OH_", "LLM_"):
        assert name not in said


def test_timeout_ends_the_tree(server, tmp_path):
    began = time.monotonic()
    last = execute(server, "trap 'echo ended' TERM; (setsid sleep 60 &) ; echo begun; sleep 60", cwd=str(tmp_path),
                   timeout=1)
    assert time.monotonic() - began < LATEST_S
    assert last["exit_code"] == -1 and "timed out" in last["stderr"]
    assert last["stdout"].startswith("begun\n")
    assert not processes_in(tmp_path)


def test_one_that_does_not_want_to_end(server, tmp_path):
    began = time.monotonic()
    last = execute(server, "trap '' TERM; while :; do sleep 0.1; done", cwd=str(tmp_path), timeout=1)
    assert last["exit_code"] == -1 and 1.9 < time.monotonic() - began < LATEST_S
    assert not processes_in(tmp_path)


def test_what_is_left_in_the_background_is_not_waited_for(server, tmp_path):
    began = time.monotonic()
    last = execute(server, "sleep 30 & echo $!", cwd=str(tmp_path))
    assert time.monotonic() - began < LATEST_S and last["exit_code"] == 0
    os.kill(int(last["stdout"]), signal.SIGKILL)


@pytest.mark.parametrize("body,field", [
    ({}, "command"), ({"command": 5}, "command"), ({"command": None}, "command"), ({"command": "x", "timeout": "soon"}, "timeout"),
    ({"command": "x", "timeout": 0}, "timeout"), ({"command": "x", "timeout": -1}, "timeout"),
    ({"command": "x", "timeout": 1e12}, "timeout"), ({"command": "x" * 131072}, "command"),
    ({"command": "\u00e9" * 100000}, "command"), ({"command": "a\0b"}, "command"), ({"command": "x", "cwd": 1}, "cwd"),
    ({"command": "x", "cwd": "a\0b"}, "cwd"), ({"command": "x", "cwd": "d" * 5000}, "cwd"),
])
def test_bad_bodies(server, body, field):
    for route in ("start", "execute"):
        answer = server.http.post(f"/api/bash/{route}_bash_command", json=body)
        assert answer.status_code == 422, answer.text
        assert answer.json()["detail"][0]["loc"] == ["body", field]


# ---- reading


def test_search_pages(empty):
    commands = [start(empty, f"echo {n}") for n in range(7)]
    for one in commands:
        follow(empty, one["id"])
    everything = [event for page in pages(empty) for event in page]
    assert len(everything) == 14
    stamps = [event["timestamp"] for event in everything]
    assert stamps == sorted(set(stamps))
    for limit in (1, 3, 14, 100):
        found = pages(empty, limit=limit)
        assert [event for page in found for event in page] == everything
        assert all(len(page) == limit for page in found[:-1])
        found = pages(empty, limit=limit, sort_order="TIMESTAMP_DESC")
        assert [event for page in found for event in page] == everything[::-1]
    page = search(empty, limit=3)["next_page_id"]
    assert search(empty, limit=3, page_id=page) == search(empty, limit=3, page_id=page)


def test_search_filters(empty):
    one = start(empty, "echo one")
    follow(empty, one["id"])
    two = start(empty, "echo two")
    last = follow(empty, two["id"])[-1]
    ids = lambda **query: [event["id"] for event in search(empty, **query)["items"]]
    assert set(ids(kind__eq="BashCommand")) == {one["id"], two["id"]}
    assert len(ids(kind__eq="BashOutput")) == 2
    assert ids(command_id__eq=two["id"]) == [last["id"]]
    assert ids(command_id__eq=str(uuid.UUID(two["id"]))) == [last["id"]]
    assert ids(command_id__eq=two["id"], sort_order="TIMESTAMP_DESC") == [last["id"]]
    assert ids(command_id__eq=two["id"], kind__eq="BashCommand") == []
    assert ids(command_id__eq=str(uuid.uuid4())) == []
    assert ids(timestamp__gte=two["timestamp"]) == [two["id"], last["id"]]
    assert ids(timestamp__lt=two["timestamp"]) and two["id"] not in ids(timestamp__lt=two["timestamp"])
    assert ids(timestamp__gte=last["timestamp"], timestamp__lt=last["timestamp"]) == []
    assert set(ids(order__gt=0)) == {one["id"], two["id"]}  # commands have no order
    assert ids(order__gt=0, kind__eq="BashOutput") == []
    assert ids(order__gt=-1, command_id__eq=two["id"]) == [last["id"]]
    assert ids(order__gt=0, command_id__eq=two["id"]) == []


@pytest.mark.parametrize("query", [
    "limit=0", "limit=101", "limit=x", "kind__eq=Other", "command_id__eq=x", "timestamp__gte=soon", "order__gt=x",
    "sort_order=UP", "page_id=x", f"page_id={uuid.uuid4()}"])
def test_bad_queries(server, query):
    answer = server.http.get(f"/api/bash/bash_events/search?{query}")
    assert answer.status_code == 422, answer.text
    assert answer.json()["detail"][0]["loc"] == ["query", query.split("=")[0]]


def test_get_and_batch(server):
    command = start(server, "echo one")
    last = follow(server, command["id"])[-1]
    get = lambda event: server.http.get(f"/api/bash/bash_events/{event}")
    assert get(command["id"]).json() == command
    assert get(last["id"]).json() == last
    assert get(str(uuid.UUID(last["id"]))).json() == last
    for missing in (uuid.uuid4().hex, "x", "0" * 32):
        assert (get(missing).status_code, get(missing).json()) == (404, {"detail": "Not Found"})
    batch = lambda ids: server.http.request("GET", "/api/bash/bash_events/", json=ids)
    assert batch([last["id"], uuid.uuid4().hex, "x", command["id"], last["id"]]).json() == [last, None, None, command, last]
    assert batch([]).json() == []
    for wrong in ({}, "x", None, [1], [uuid.uuid4().hex] * 101):
        assert batch(wrong).status_code == 422


def test_clear(empty):
    follow(empty, start(empty, "true")["id"])
    other = start(empty, "echo said")
    follow(empty, other["id"])
    clear = lambda: empty.http.delete("/api/bash/bash_events").json()
    assert clear() == {"cleared_count": 4}
    assert clear() == {"cleared_count": 0}
    assert search(empty) == {"items": [], "next_page_id": None}
    assert empty.http.get(f"/api/bash/bash_events/{other['id']}").status_code == 404
    follow(empty, start(empty, "true")["id"])


def test_clear_while_one_runs(empty, tmp_path):
    os.mkfifo(tmp_path / "gate")
    running = start(empty, "head -c 3000000 /dev/zero | tr '\\0' x; cat gate; echo after", cwd=str(tmp_path))
    while not search(empty, command_id__eq=running["id"], order__gt=1)["items"]:
        time.sleep(0.05)
    seen = search(empty, command_id__eq=running["id"])["items"][-1]["order"]
    assert empty.http.delete("/api/bash/bash_events").json()["cleared_count"] >= 3
    with open(tmp_path / "gate", "w") as gate:
        gate.write("go\n")
    deadline = time.monotonic() + LATEST_S
    while not (found := search(empty, command_id__eq=running["id"], order__gt=seen, kind__eq="BashOutput")["items"]):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    assert found[-1]["exit_code"] == 0 and found[-1]["stdout"].endswith("go\nafter\n")


# ---- much of it


def memory(server, what="VmRSS"):
    with open(f"/proc/{server.process.pid}/status") as status:
        return next(int(line.split()[1]) for line in status if line.startswith(what)) // 1024


def test_thirty_megabytes(make_server):
    server = make_server()
    before = memory(server)
    command = start(server, "head -c 30000000 /dev/zero | tr '\\0' x; echo; seq 100000 >&2")
    outputs = follow(server, command["id"], 60)
    assert text(outputs) == "x" * 30000000 + "\n"
    assert text(outputs, "stderr") == "".join(f"{n}\n" for n in range(1, 100001))
    assert [one["order"] for one in outputs] == list(range(len(outputs)))
    assert max(len(json.dumps(one, ensure_ascii=False).encode()) for one in outputs) < 900_000
    assert memory(server, "VmHWM") < before + 64


def test_every_event_is_small_whatever_is_said(server):
    command = start(server, r"head -c 1500000 /dev/zero; head -c 1500000 /dev/zero | tr '\000' '\377' >&2")
    outputs = follow(server, command["id"], 60)
    assert text(outputs) == "\0" * 1500000
    assert text(outputs, "stderr") == "\ufffd" * 1500000
    for one in outputs:
        assert len(server.http.get(f"/api/bash/bash_events/{one['id']}").content) < 900_000


def test_output_without_end(make_server):
    server = make_server()
    command = start(server, "yes", timeout=3)
    took = []
    until = time.monotonic() + 2
    while time.monotonic() < until:
        began = time.monotonic()
        assert server.http.get("/api/conversations/count").status_code == 200
        took.append(time.monotonic() - began)
    assert sorted(took)[len(took) // 2] < 0.5  # nobody waits for the flood's end
    query = {"command_id__eq": command["id"], "sort_order": "TIMESTAMP_DESC", "limit": 1}
    deadline = time.monotonic() + LATEST_S
    while (last := search(server, **query)["items"])[0]["exit_code"] is None:
        assert time.monotonic() < deadline
        time.sleep(0.1)
    assert last[0]["exit_code"] == -1 and "timed out" in last[0]["stderr"]
    assert memory(server, "VmHWM") < 96


def test_forty_waiters_delay_nobody(make_server, tmp_path):
    server = make_server()
    os.mkfifo(tmp_path / "gate")
    with ThreadPoolExecutor(40) as pool:
        waiting = [pool.submit(execute, server, f"read x < gate; echo {n}", cwd=str(tmp_path), timeout=60) for n in range(40)]
        while len(search(server, kind__eq="BashCommand")["items"]) < 40:
            time.sleep(0.02)
        took = []
        for _ in range(50):
            began = time.monotonic()
            assert server.http.get("/api/conversations/count").json() == 0
            took.append(time.monotonic() - began)
        assert sorted(took)[25] < 0.5
        assert not any(one.done() for one in waiting)
        gate = os.open(tmp_path / "gate", os.O_RDWR)  # everybody's read ends when there is a line for each
        os.write(gate, b"x\n" * 200)
        results = [one.result(LATEST_S) for one in waiting]
        os.close(gate)
    assert sorted(int(one["stdout"]) for one in results) == list(range(40))


def test_too_many_at_once(make_server, tmp_path):
    server = make_server()
    running = [start(server, "sleep 60", cwd=str(tmp_path)) for _ in range(128)]
    answer = server.http.post("/api/bash/start_bash_command", json={"command": "true"})
    assert answer.status_code == 429 and "too many" in answer.json()["detail"]
    assert server.stop() == 0
    assert not processes_in(tmp_path)
    again = make_server(data=server.data)
    for one in running[::16]:
        (last,) = follow(again, one["id"])
        assert last["exit_code"] == -1 and "server was stopped" in last["stderr"]


# ---- the end of the server


def test_a_client_that_goes_away_ends_nothing(server, tmp_path):
    os.mkfifo(tmp_path / "gate")
    with pytest.raises(httpx.ReadTimeout):
        httpx.post(f"{server.url}/api/bash/execute_bash_command",
                   json={"command": "read x < gate; echo done > said", "cwd": str(tmp_path)}, timeout=0.5)
    (tmp_path / "gate").write_text("go\n")  # waits for the command to be there
    command = search(server, kind__eq="BashCommand", sort_order="TIMESTAMP_DESC", limit=1)["items"][0]
    assert follow(server, command["id"])[-1]["exit_code"] == 0
    assert (tmp_path / "said").read_text() == "done\n"


def test_an_orderly_end(make_server, tmp_path):
    server = make_server()
    os.mkfifo(tmp_path / "gate")
    command = start(server, "echo begun; echo > gate; sleep 60", cwd=str(tmp_path))
    (tmp_path / "gate").read_text()
    with ThreadPoolExecutor(1) as pool:
        waiter = pool.submit(execute, server, "echo > gate; sleep 60", cwd=str(tmp_path))
        (tmp_path / "gate").read_text()
        began = time.monotonic()
        server.process.send_signal(signal.SIGTERM)
        last = waiter.result(LATEST_S)
        assert last["exit_code"] == -1 and "server was stopped" in last["stderr"]
        assert server.process.wait(LATEST_S) == 0 and time.monotonic() - began < 5
    assert not processes_in(tmp_path)
    again = make_server(data=server.data)
    (last,) = follow(again, command["id"])
    assert (last["stdout"], last["exit_code"]) == ("begun\n", -1)


def test_a_server_that_was_killed(make_server, tmp_path):
    server = make_server()
    done = execute(server, "echo done")
    quiet = start(server, "sleep 60", cwd=str(tmp_path))
    loud = start(server, "head -c 3000000 /dev/zero | tr '\\0' x; sleep 60", cwd=str(tmp_path))
    while not search(server, command_id__eq=loud["id"], order__gt=1)["items"]:
        time.sleep(0.05)
    before = [event["id"] for page in pages(server) for event in page]
    server.kill()
    again = make_server(data=server.data)
    for command in (quiet, loud):
        outputs = follow(again, command["id"])
        assert [one["order"] for one in outputs] == list(range(len(outputs)))
        assert outputs[-1]["exit_code"] == -1 and "server ended" in outputs[-1]["stderr"]
    after = [event["id"] for page in pages(again) for event in page]
    assert after[:len(before)] == before and len(after) == len(before) + 2
    assert again.http.get(f"/api/bash/bash_events/{done['id']}").json() == done
    again.kill()
    third = make_server(data=server.data)
    assert [event["id"] for page in pages(third) for event in page] == after


# ---- the socket


def test_the_socket_tells_what_happens(empty):
    with connect(empty) as socket:
        command = start(empty, "echo hello; echo err >&2")
        assert receive(socket) == command
        last = receive(socket)
        assert (last["kind"], last["command_id"], last["stdout"]) == ("BashOutput", command["id"], "hello\n")
    everything = search(empty)["items"]
    for query in ("?resend_mode=all", "?resend_all=true"):
        with connect(empty, query) as socket:
            assert [receive(socket) for _ in everything] == everything
            new = start(empty, "true")
            assert receive(socket) == new
            receive(socket)
        everything = search(empty)["items"]
    with connect(empty, "?resend_all=false") as socket:
        new = start(empty, "true")
        assert receive(socket) == new
        assert receive(socket)["command_id"] == new["id"]


def test_commands_through_the_socket(empty, tmp_path):
    with connect(empty) as socket:
        socket.send(json.dumps({"command": "pwd", "cwd": str(tmp_path), "timeout": 5}))
        command, last = receive(socket), receive(socket)
        assert (command["kind"], command["cwd"], command["timeout"]) == ("BashCommand", str(tmp_path), 5)
        assert last["stdout"] == f"{tmp_path}\n"
        for wrong in ("{", "[]", '{"cwd":"/"}', '{"command":5}', json.dumps({"command": "a\0b"})):
            socket.send(wrong)
            error = receive(socket)
            assert sorted(error) == ["code", "detail", "id", "kind", "timestamp"]
            assert (error["kind"], error["code"]) == ("BashError", "ValidationError")
        socket.send(json.dumps({"type": "auth", "session_api_key": "whatever"}))
        socket.send(json.dumps({"command": "true"}))
        assert receive(socket)["kind"] == "BashCommand"
        assert receive(socket)["exit_code"] == 0
    assert len(search(empty)["items"]) == 4  # errors are nowhere stored


def test_a_clear_and_the_socket(empty):
    with connect(empty, "?resend_mode=all") as socket:
        start(empty, "true")
        assert [receive(socket)["kind"] for _ in range(2)] == ["BashCommand", "BashOutput"]
        empty.http.delete("/api/bash/bash_events")
        new = start(empty, "true")
        assert receive(socket) == new
        assert receive(socket)["command_id"] == new["id"]


def test_a_slow_socket_misses_nothing(empty):
    with connect_limited(f"{empty.url.replace('http', 'ws', 1)}/sockets/bash-events", max_queue=1, max_size=FRAME_MAX) as slow:
        command = start(empty, "head -c 20000000 /dev/zero | tr '\\0' x")
        follow(empty, command["id"], 60)
        assert receive(slow)["id"] == command["id"]
        said, order = 0, 0
        while True:
            event = receive(slow)
            assert event["order"] == order
            order += 1
            said += len(event["stdout"] or "")
            if event["exit_code"] is not None:
                break
        assert said == 20000000


def test_keys_of_the_socket(make_server):
    guarded = make_server(key=KEY)

    def opened(socket):
        socket.send('{"command":"true"}')
        while receive(socket)["kind"] != "BashCommand":  # the last output of the socket before
            pass
        return True

    with connect(guarded, f"?session_api_key={KEY}") as socket:
        assert opened(socket)
    with connect(guarded, additional_headers={"X-Session-API-Key": KEY}) as socket:
        assert opened(socket)
    with connect(guarded) as socket:
        socket.send(json.dumps({"type": "auth", "session_api_key": KEY}))
        assert opened(socket)
    with pytest.raises(InvalidStatus) as refused:
        connect(guarded, "?session_api_key=wrong")
    assert refused.value.response.status_code == 403
    before = search(guarded, kind__eq="BashCommand")
    with connect(guarded) as socket:
        socket.send('{"command":"true"}')
        with pytest.raises(ConnectionClosed) as closed:
            socket.recv(LATEST_S)
        assert (closed.value.rcvd.code, closed.value.rcvd.reason) == (4001, "Authentication failed")
    assert search(guarded, kind__eq="BashCommand") == before


def test_a_wrong_handshake_of_the_socket(server):
    with pytest.raises(InvalidStatus) as refused:
        connect(server, "?resend_mode=since")
    assert 400 <= refused.value.response.status_code < 500


# ---- VS Code and the desktop


def test_vscode_and_desktop(server, make_server):
    get = lambda running, path: (lambda a: (a.status_code, a.json()))(running.http.get(path))
    assert get(server, "/api/vscode/url?base_url=http://x&workspace_dir=y") == (200, {"url": None})
    assert get(server, "/api/vscode/status") == (200, {"running": False, "enabled": True})
    status, body = get(server, "/api/desktop/url")
    assert status == 503 and body["exception"].startswith("503: Desktop is disabled")
    other = make_server(env={"OH_ENABLE_VSCODE": "false", "OH_ENABLE_VNC": "1"})
    status, body = get(other, "/api/vscode/url")
    assert (status, body["detail"]) == (503, "Internal Server Error")
    assert body["exception"] == "503: VSCode is disabled in configuration. Set enable_vscode=true to enable."
    assert get(other, "/api/vscode/status") == (
        200, {"running": False, "enabled": False, "message": "VSCode is disabled in configuration"})
    assert get(other, "/api/desktop/url") == (200, {"url": None})


def stop(server, command):
    return server.http.post(f"/api/bash/bash_commands/{command}/stop")


def test_a_command_is_stopped_with_all_it_started(server, tmp_path):
    command = start(server, "setsid sleep 300 & sleep 300 & echo begun; wait", cwd=str(tmp_path), timeout=600)["id"]
    other = start(server, "sleep 300", cwd=str(tmp_path), timeout=600)["id"]
    deadline = time.monotonic() + LATEST_S
    while len(processes_in(tmp_path)) < 4:
        assert time.monotonic() < deadline
        time.sleep(0.02)
    assert stop(server, command).json() == {"success": True}
    [last] = follow(server, command)
    assert (last["exit_code"], last["stdout"]) == (-1, "begun\n")
    assert "stopped" in last["stderr"] and "timed out" not in last["stderr"]
    assert stop(server, command).status_code == 404
    assert processes_in(tmp_path)  # of the other
    assert stop(server, other).status_code == 200
    assert follow(server, other)[-1]["exit_code"] == -1
    assert not processes_in(tmp_path)


def test_only_what_runs_can_be_stopped(server):
    done = execute(server, "true")["command_id"]
    for command in (done, uuid.uuid4().hex, "none", "%00"):
        assert stop(server, command).status_code in ((404,) if command != "%00" else (400, 404))


def test_a_command_is_stopped_as_soon_as_it_is_known(server, tmp_path):
    for _ in range(20):
        command = start(server, "sleep 300", cwd=str(tmp_path), timeout=600)["id"]
        assert stop(server, command).status_code == 200
        assert follow(server, command)[-1]["exit_code"] == -1
    assert not processes_in(tmp_path)
