"""GET /api/file/download-trajectory: the conversation in the files of the Python server, without secrets."""

import io
import json
import re
import socket
import threading
import time
import zipfile
from pathlib import Path
from uuid import UUID, uuid4

import httpx
import pytest

from handsd import Handsd, write_script
from test_files import rss

SECRET = "sk-very-secret-value-123"


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    scripts = tmp_path_factory.mktemp("scripts")
    write_script(scripts, "answer", [{"content": "Ünïcödé done"}])
    write_script(scripts, "long", [{"content": "x" * 1000}] * 3)
    with Handsd(tmp_path_factory.mktemp("handsd"), scripts=scripts) as running:
        yield running


def wait_idle(server, conversation):
    for _ in range(1000):
        info = server.http.get(f"/api/conversations/{conversation}").json()
        if info["execution_status"] not in ("running", "idle"):
            return info
        time.sleep(0.01)
    raise AssertionError(info["execution_status"])


def fetch(server, conversation):
    answer = server.http.get(f"/api/file/download-trajectory/{conversation}")
    assert answer.status_code == 200, answer.text
    return answer, zipfile.ZipFile(io.BytesIO(answer.content))


def test_layout_and_content(server, tmp_path):
    agent = {
        "kind": "Agent",
        "llm": {"model": "scripted/answer", "api_key": SECRET, "usage_id": "default"},
        "tools": [{"name": "terminal"}],
        "agent_context": {"skills": [{"name": "s", "content": "a skill", "trigger": None}]},
    }
    conversation = server.create(
        tmp_path, agent=agent, secrets={"TOKEN": SECRET}, tags={"k": "v"},
        initial_message={"role": "user", "content": [{"type": "text", "text": "hello"}]},
    )
    wait_idle(server, conversation)
    answer, archive = fetch(server, conversation)
    name = UUID(conversation).hex
    assert answer.headers["content-type"] == "application/octet-stream"
    assert answer.headers["content-disposition"] == f'attachment; filename="{name}.zip"'
    assert archive.testzip() is None
    events = server.events(conversation)
    names = archive.namelist()
    assert names[:4] == [f"{name}/", f"{name}/events/", f"{name}/meta.json", f"{name}/base_state.json"]
    assert names[4:] == [f"{name}/events/event-{i:05}-{event['id']}.json" for i, event in enumerate(events)]
    assert [json.loads(archive.read(member)) for member in names[4:]] == events
    assert SECRET not in "".join(archive.read(member).decode() for member in names)
    meta = json.loads(archive.read(names[2]))
    assert meta["id"] == name
    assert meta["workspace"]["working_dir"] == str(tmp_path)
    assert meta["tags"] == {"k": "v"}
    assert "agent" not in meta
    state = json.loads(archive.read(names[3]))
    assert state["id"] == conversation
    assert state["agent"]["llm"]["api_key"] == "**********"
    assert state["agent"]["agent_context"]["skills"][0]["content"] == "a skill"
    assert state["execution_status"] == "finished"
    assert "agent_status" not in state
    assert not [key for key, value in state.items() if value is None]


def send_many(server, conversation, count, connections=8):
    """Messages of 2 kB, in requests one behind the other on a few connections."""
    text = Path(__file__).read_text(encoding="utf-8")[:2000]
    body = json.dumps({"role": "user", "content": [{"type": "text", "text": text}], "run": False}).encode()
    head = f"POST /api/conversations/{conversation}/events HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    request = head.encode() + b"Content-Length: %d\r\n\r\n" % len(body) + body
    address = httpx.URL(server.url)
    answered = []

    def send():
        with socket.create_connection((address.host, address.port)) as client:
            client.sendall(request * (count // connections) + b"GET /alive HTTP/1.0\r\n\r\n")
            answered.append(b"".join(iter(lambda: client.recv(1 << 16), b"")).count(b"HTTP/1.1 200"))

    threads = [threading.Thread(target=send) for _ in range(connections)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(answered) == count + connections


def test_what_is_missing_is_404(server):
    answer = server.http.get(f"/api/file/download-trajectory/{uuid4()}")
    assert (answer.status_code, answer.json()) == (404, {"detail": "Conversation not found"})
    assert server.http.get("/api/file/download-trajectory/nonsense").status_code == 422


def test_after_a_restart(make_server, tmp_path):
    server = make_server(data=tmp_path / "data")
    conversation = server.create(tmp_path / "w")
    server.send(conversation, "hello")
    before = len(server.events(conversation))
    server.stop()
    server = make_server(data=tmp_path / "data")
    _, archive = fetch(server, conversation)
    assert len(archive.namelist()) >= before + 4


def test_five_thousand_events_in_flat_memory(make_server, tmp_path):
    server = make_server()
    conversation = server.create(tmp_path)
    send_many(server, conversation, 5000)
    fetch(server, server.create(tmp_path))  # what the first archive costs
    before = rss(server, "VmHWM")
    with server.http.stream("GET", f"/api/file/download-trajectory/{conversation}") as answer:
        stalled = answer.iter_raw(1)
        first = next(stalled)
        assert server.http.get("/alive").status_code == 200
        content = first + b"".join(stalled)
    assert rss(server, "VmHWM") - before < 8 * 1024
    archive = zipfile.ZipFile(io.BytesIO(content))
    events = [name for name in archive.namelist() if re.search(r"/event-\d{5}-[0-9a-f-]{36}\.json$", name)]
    assert len(events) >= 5000
    assert archive.testzip() is None
