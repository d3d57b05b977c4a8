"""The server itself: probes, facts, documentation, and what is no route."""

import json
import os
import socket
import threading
from pathlib import Path

import httpx
import pytest
from websockets.sync.client import connect

from handsd import Handsd, write_script


def test_probes(server):
    assert server.http.get("/alive").json() == {"status": "ok"}
    assert server.http.get("/health").json() == {"status": "ok"}
    assert server.http.get("/ready").json() == {"status": "ready"}
    assert server.http.head("/alive").status_code == 200


def test_server_info(server):
    info = server.http.get("/server_info").json()
    assert info["title"] == "OpenHands Agent Server"
    assert "terminal" in info["usable_tools"] and "file_editor" in info["usable_tools"]
    assert info["uptime"] >= 0 and info["idle_time"] >= 0
    assert info["docs"] == "/docs" and info["redoc"] == "/redoc"
    # Clients compare the version before they use a feature.
    assert [int(part) for part in info["version"].split(".")] >= [1, 31, 0]
    assert server.http.get("/").json()["title"] == info["title"]


def test_a_runtime_that_is_stopped_when_idle(tmp_path):
    """Nobody may wait for one command until the machine is stopped for idleness."""
    write_script(tmp_path / "scripts", "patient", [
        {"calls": [{"name": "terminal", "arguments": {"command": "echo never", "timeout": 1081}}]},
        {"calls": [{"name": "terminal", "arguments": {"command": "echo done", "timeout": 1080}}]},
        {"calls": [{"name": "finish", "arguments": {"message": "ok"}}]}])
    with Handsd(tmp_path / "data", scripts=tmp_path / "scripts", env={"OH_RUNTIME_IDLE_TIMEOUT_SECONDS": "1200"}) as server:
        info = server.http.get("/server_info").json()
        assert (info["runtime_idle_timeout_seconds"], info["max_foreground_terminal_timeout_seconds"]) == (1200, 1080)
        conversation = server.create(tmp_path, model="scripted/patient")
        with connect(server.socket_url(conversation)) as socket:
            server.send(conversation, "go", run=True)
            seen = []
            while len(seen) < 2:
                event = json.loads(socket.recv(timeout=20))
                if event["kind"] == "ObservationEvent":
                    seen.append(event["observation"])
        assert seen[0]["is_error"] and "1080 s" in seen[0]["content"][0]["text"]
        assert not seen[1]["is_error"] and seen[1]["content"][0]["text"].startswith("done")


def test_docs_pages_name_the_routes(server):
    for path in ("/docs", "/redoc"):
        page = server.http.get(path)
        assert page.headers["content-type"].startswith("text/html")
        assert "OpenHands Agent Server" in page.text
    assert "/api/conversations/{conversation_id}/run" in page.text  # the one without a script


def test_openapi_describes_every_route(server):
    document = server.http.get("/openapi.json").json()
    assert document["openapi"].startswith("3.1")
    assert document["info"]["title"] == "OpenHands Agent Server"
    paths = document["paths"]
    expected = {
        "/api/conversations": {"get", "post"},
        "/api/conversations/search": {"get"},
        "/api/conversations/count": {"get"},
        "/api/conversations/{conversation_id}": {"get", "patch", "delete"},
        "/api/conversations/{conversation_id}/run": {"post"},
        "/api/conversations/{conversation_id}/pause": {"post"},
        "/api/conversations/{conversation_id}/interrupt": {"post"},
        "/api/conversations/{conversation_id}/secrets": {"post"},
        "/api/conversations/{conversation_id}/confirmation_policy": {"post"},
        "/api/conversations/{conversation_id}/agent_final_response": {"get"},
        "/api/conversations/{conversation_id}/events": {"get", "post"},
        "/api/conversations/{conversation_id}/events/search": {"get"},
        "/api/conversations/{conversation_id}/events/count": {"get"},
        "/api/conversations/{conversation_id}/events/{event_id}": {"get"},
        "/api/conversations/{conversation_id}/events/respond_to_confirmation": {"post"},
        "/api/tools/": {"get"},
        "/alive": {"get"},
        "/server_info": {"get"},
    }
    for path, methods in expected.items():
        assert methods <= set(paths[path]), path
    names = [operation["operationId"] for path in paths.values() for operation in path.values()]
    assert len(names) == len(set(names))
    assert "start_conversation_api_conversations_post" in names
    # Every reference leads somewhere.
    schemas = document["components"]["schemas"]

    def references(value):
        if isinstance(value, dict):
            if "$ref" in value:
                yield value["$ref"]
            for item in value.values():
                yield from references(item)
        elif isinstance(value, list):
            for item in value:
                yield from references(item)

    for reference in references(document):
        assert reference.removeprefix("#/components/schemas/") in schemas, reference


def test_tools(server):
    assert {"terminal", "file_editor"} <= set(server.http.get("/api/tools/").json())
    redirect = server.http.get("/api/tools")
    assert redirect.status_code == 307
    assert httpx.URL(redirect.headers["location"]).path == "/api/tools/"


def test_what_is_no_route(server):
    missing = server.http.get("/api/nothing")
    assert (missing.status_code, missing.json()) == (404, {"detail": "Not Found"})
    wrong = server.http.put("/api/conversations/search")
    assert (wrong.status_code, wrong.json()) == (405, {"detail": "Method Not Allowed"})
    assert "GET" in wrong.headers["allow"]


def resident(server):
    with open(f"/proc/{server.process.pid}/status", encoding="ascii") as status:
        return next(int(line.split()[1]) for line in status if line.startswith("VmRSS")) * 1024


def test_a_client_that_always_keeps_requests_waiting(server, tmp_path):
    """What was answered is forgotten, also when the next requests are there already."""
    url = httpx.URL(server.url)
    conversation = server.create(tmp_path, autotitle=False)
    # Each waits for a commit, so that the next ones come meanwhile.
    request = (f"PATCH /api/conversations/{conversation} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
               f"X-Long: {'x' * 15_000}\r\nContent-Length: 13\r\n\r\n" + '{"title":"x"}').encode()
    with socket.create_connection((url.host, url.port), timeout=20) as s:
        answers = s.makefile("rb")
        s.sendall(request * 4)
        for n in range(1500):  # 22 MB
            assert answers.readline().startswith(b"HTTP/1.1 200")
            while answers.readline() != b"\r\n":
                pass
            assert answers.read(16) == b'{"success":true}'
            s.sendall(request)
            if n == 100:
                before = resident(server)
        assert resident(server) - before < 8_000_000


def test_it_ends_in_order_amid_requests(make_server, tmp_path):
    server = make_server()
    conversation = server.create(tmp_path, autotitle=False)

    def send():
        with httpx.Client(base_url=server.url, timeout=10) as http:
            try:
                while True:
                    http.post(f"/api/conversations/{conversation}/events", json={"content": [{"text": "x"}], "run": True})
                    http.post("/api/conversations", json={
                        "agent": {"llm": {"model": "scripted/finish"}}, "workspace": {"working_dir": str(tmp_path)}})
            except httpx.HTTPError:
                pass

    threads = [threading.Thread(target=send) for _ in range(8)]
    for t in threads:
        t.start()
    while server.http.get(f"/api/conversations/{conversation}/events/count").json() < 30:
        pass
    assert server.stop() == 0
    for t in threads:
        t.join()


def test_closed_standard_streams(tmp_path):
    """What is opened first must not get their numbers: messages would be written into it."""
    class Closed(Handsd):
        def command(self):
            return ["sh", "-c", 'exec "$@" <&- 2>&-', "sh", *super().command()]

    with Closed(tmp_path / "data") as server:
        descriptors = Path("/proc", str(server.process.pid), "fd")
        try:
            kept = [os.readlink(descriptors / str(number)) for number in (0, 2)]
        except PermissionError:
            pytest.skip("only root may look")
        assert kept == ["/dev/null", "/dev/null"]
        assert server.http.get("/alive").status_code == 200
