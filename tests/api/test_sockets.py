"""/sockets/events/{id}: the three ways to show a key, what is sent first, what is resent, messages that come in."""

import json
import threading
import uuid

import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import connect as connect_limited

from handsd import Handsd, write_script

KEY = "a-key-for-the-tests"
MISSING = "99999999-2222-4333-8444-555555555555"
LATEST_S = 15


def connect(url, **options):
    # A client that stops reading at some number of frames would wait for its own close in vain.
    return connect_limited(url, max_queue=None, **options)


def receive(socket):
    return json.loads(socket.recv(LATEST_S))


def message(text):
    return json.dumps({"role": "user", "content": [{"type": "text", "text": text}]})


def is_state(event):
    return event["kind"] == "ConversationStateUpdateEvent" and event["key"] == "full_state"


def closed_with(socket):
    with pytest.raises(ConnectionClosed) as closed:
        while True:
            socket.recv(LATEST_S)
    return closed.value.rcvd.code, closed.value.rcvd.reason


# ---- keys


@pytest.fixture(scope="module")
def guarded(tmp_path_factory):
    with Handsd(tmp_path_factory.mktemp("guarded"), key=KEY) as running:
        running.conversation = running.create(tmp_path_factory.mktemp("work"), autotitle=False)
        yield running


def test_a_key_in_the_query(guarded):
    with connect(guarded.socket_url(guarded.conversation, f"?session_api_key={KEY}")) as socket:
        assert is_state(receive(socket))


def test_a_key_in_the_header(guarded):
    with connect(guarded.socket_url(guarded.conversation), additional_headers={"X-Session-API-Key": KEY}) as socket:
        assert is_state(receive(socket))


def test_a_key_in_the_first_message(guarded):
    with connect(guarded.socket_url(guarded.conversation)) as socket:
        socket.send(json.dumps({"type": "auth", "session_api_key": KEY}))
        assert is_state(receive(socket))  # and no acknowledgement before it


def test_a_wrong_key_is_refused_before_the_handshake(guarded):
    for query, headers in (("?session_api_key=wrong", {}), ("", {"X-Session-API-Key": "wrong"}),
                           ("?session_api_key=wrong", {"X-Session-API-Key": KEY})):
        with pytest.raises(InvalidStatus) as refused:
            connect(guarded.socket_url(guarded.conversation, query), additional_headers=headers)
        assert refused.value.response.status_code == 403


@pytest.mark.parametrize("first", [
    json.dumps({"type": "auth", "session_api_key": "wrong"}), json.dumps({"type": "auth"}), json.dumps({"type": "hello"}),
    json.dumps({"type": "auth", "session_api_key": 5}), json.dumps({"type": "auth", "session_api_key": None}),
    json.dumps([KEY]), json.dumps(KEY), "{", "", KEY, message("let me in"),
    json.dumps({"type": "auth", "session_api_key": KEY, "padding": "x" * 5000}),
])
def test_a_wrong_first_message(guarded, first):
    with connect(guarded.socket_url(guarded.conversation)) as socket:
        socket.send(first)
        assert closed_with(socket) == (4001, "Authentication failed")


def test_no_first_message(guarded):
    with connect(guarded.socket_url(guarded.conversation)) as socket:
        assert closed_with(socket) == (4001, "Authentication failed")


def test_nothing_is_told_before_the_key(guarded):
    with connect(guarded.socket_url(guarded.conversation, "?resend_mode=all")) as socket:
        with pytest.raises(TimeoutError):
            socket.recv(0.3)
    with connect(guarded.socket_url(MISSING)) as socket:  # not even whether it exists
        socket.send(json.dumps({"type": "auth", "session_api_key": "wrong"}))
        assert closed_with(socket)[0] == 4001


def test_later_auth_messages_are_ignored(guarded, server, tmp_path):
    open_one = server.create(tmp_path, autotitle=False)
    for running, conversation, query in ((guarded, guarded.conversation, f"?session_api_key={KEY}"), (server, open_one, "")):
        before = running.http.get(f"/api/conversations/{conversation}/events/count").json()
        with connect(running.socket_url(conversation, query)) as socket:
            assert is_state(receive(socket))
            socket.send(json.dumps({"type": "auth", "session_api_key": KEY}))
            socket.send(json.dumps({"type": "auth", "session_api_key": "wrong"}))
            socket.send("not json")
            # The one answer is about the last of them.
            error = receive(socket)
            assert (error["kind"], error["code"]) == ("ServerErrorEvent", "ValidationError")
        assert running.http.get(f"/api/conversations/{conversation}/events/count").json() == before


# ---- attaching


def test_a_conversation_that_does_not_exist(server):
    with connect(server.socket_url(MISSING)) as socket:
        assert closed_with(socket) == (4004, "Conversation not found")


@pytest.mark.parametrize("tail", ["/sockets/events/zz", f"/sockets/events/{MISSING}?resend_mode=some",
                                  f"/sockets/events/{MISSING}?after_timestamp=now", "/sockets/nothing/x", "/alive"])
def test_a_wrong_handshake(server, tail):
    with pytest.raises(InvalidStatus) as refused:
        connect(server.url.replace("http", "ws", 1) + tail)
    assert 200 <= refused.value.response.status_code < 500
    assert refused.value.response.status_code != 101


def test_a_plain_get_of_a_socket(server):
    assert server.http.get(f"/sockets/events/{MISSING}").status_code in (400, 404, 405, 426)


@pytest.fixture(scope="module")
def talk(server, tmp_path_factory):
    conversation = server.create(tmp_path_factory.mktemp("talk"), autotitle=False)
    for n in range(8):
        server.send(conversation, f"message {n}")
    return conversation, server.events(conversation)


def resent(server, conversation, query):
    """Frames until a message of our own comes back."""
    with connect(server.socket_url(conversation, query)) as socket:
        assert is_state(receive(socket))
        sign = str(uuid.uuid4())
        server.send(conversation, sign)
        seen = []
        while sign not in json.dumps(event := receive(socket)):
            seen.append(event)
        return seen


def test_resend_modes(server, talk):
    conversation, _ = talk
    first = server.events(conversation)
    assert resent(server, conversation, "") == []
    assert resent(server, conversation, "?resend_mode=since") == []
    everything = server.events(conversation)
    assert resent(server, conversation, "?resend_mode=all") == everything
    everything = server.events(conversation)
    assert resent(server, conversation, "?resend_all=true") == everything
    middle = first[4]["timestamp"]
    everything = server.events(conversation)
    assert resent(server, conversation, f"?resend_mode=since&after_timestamp={middle}") == everything[4:]
    assert resent(server, conversation, "?resend_mode=since&after_timestamp=2999-01-01T00:00:00") == []
    assert resent(server, conversation, "?resend_mode=since&resend_all=true") == []


def test_the_state_comes_first_and_whole(server, talk):
    conversation, _ = talk
    with connect(server.socket_url(conversation, "?resend_mode=all")) as socket:
        first = receive(socket)
    value = first["value"]
    assert value["id"] == conversation and value["execution_status"] == "idle"
    assert value["agent"]["llm"]["api_key"] == "**********"
    assert first["id"] not in [e["id"] for e in server.events(conversation)]
    assert None not in value.values()


# ---- messages


def test_a_message_runs(server, tmp_path):
    conversation = server.create(tmp_path, "scripted/text", autotitle=False)
    with connect(server.socket_url(conversation)) as socket:
        receive(socket)
        socket.send(message("Hello"))
        kinds = []
        while not is_state(event := receive(socket)):
            kinds.append(event["kind"] + ":" + event["source"])
        assert event["value"]["execution_status"] == "finished"
    assert "MessageEvent:user" in kinds and "MessageEvent:agent" in kinds
    assert kinds.index("MessageEvent:user") < kinds.index("MessageEvent:agent")


def test_a_plain_string_is_a_text(server, tmp_path):
    conversation = server.create(tmp_path, "scripted/text", autotitle=False)
    with connect(server.socket_url(conversation)) as socket:
        receive(socket)
        socket.send(json.dumps({"role": "user", "content": "Hello"}))
        while not is_state(receive(socket)):
            pass
    sent = [e for e in server.events(conversation) if e["kind"] == "MessageEvent"][0]
    assert sent["llm_message"]["content"] == [{"cache_prompt": False, "type": "text", "text": "Hello"}]


@pytest.mark.parametrize("text", [
    "{", "null", "5", "[]", json.dumps({"role": "assistant", "content": []}), json.dumps({"role": "user", "content": 5}),
    json.dumps({"role": "user", "content": [{"type": "text"}]}), json.dumps({"type": "auth", "session_api_key": "x", "more": 1,
                                                                             "content": 5}), "[" * 5000,
])
def test_a_wrong_message_is_told_and_the_socket_lives(server, talk, text):
    conversation, _ = talk
    before = server.http.get(f"/api/conversations/{conversation}/events/count").json()
    with connect(server.socket_url(conversation)) as socket:
        receive(socket)
        for _ in range(2):
            socket.send(text)
            error = receive(socket)
            assert error["kind"] == "ServerErrorEvent" and error["code"] == "ValidationError" and error["detail"]
            assert set(error) == {"id", "timestamp", "source", "code", "detail", "kind"}
    assert server.http.get(f"/api/conversations/{conversation}/events/count").json() == before


def test_messages_keep_their_order(make_server, tmp_path):
    write_script(tmp_path / "scripts", "many", [{"text": "yes", "repeat": True}])
    server = make_server(scripts=tmp_path / "scripts")
    conversation = server.create(tmp_path, "scripted/many", autotitle=False)
    with connect(server.socket_url(conversation)) as socket:
        for n in range(50):  # at once, before the state has even come
            socket.send(message(f"number {n}"))
        seen = []
        while len(seen) < 50:
            event = receive(socket)
            if event["kind"] == "MessageEvent" and event["source"] == "user":
                seen.append(event["llm_message"]["content"][0]["text"])
    assert seen == [f"number {n}" for n in range(50)]


def test_a_message_that_is_too_large_closes_with_1009(server, talk):
    conversation, _ = talk
    with connect(server.socket_url(conversation)) as socket:
        receive(socket)
        socket.send("x" * (2 * 1024 * 1024))
        assert closed_with(socket)[0] == 1009
    assert server.http.get("/alive").status_code == 200


def test_delete_closes_the_sockets(server, tmp_path):
    conversation = server.create(tmp_path, autotitle=False)
    with connect(server.socket_url(conversation)) as socket:
        receive(socket)
        assert server.http.delete(f"/api/conversations/{conversation}").status_code == 200
        assert closed_with(socket)[0] == 4004


def test_everyone_gets_everything(server, tmp_path):
    conversation = server.create(tmp_path, autotitle=False)
    sockets = [connect(server.socket_url(conversation)) for _ in range(60)]
    try:
        for socket in sockets:
            assert is_state(receive(socket))
        for n in range(5):
            server.send(conversation, f"message {n}")
        expected = server.events(conversation)
        for socket in sockets:
            assert [receive(socket) for _ in expected] == expected
    finally:
        for socket in sockets:
            socket.close()


def test_clients_that_vanish(server, talk):
    """Sockets that go away at every moment leave nothing behind that hurts."""
    conversation, _ = talk

    def come_and_go(n):
        for i in range(10):
            socket = connect(server.socket_url(conversation, "?resend_mode=all" if i % 2 else ""))
            if i % 3 == 0:
                socket.send(json.dumps({"type": "auth", "session_api_key": "x"}))
            if i % 3 == 1:
                receive(socket)
            socket.socket.close() if n % 2 else socket.close()

    threads = [threading.Thread(target=come_and_go, args=(n,)) for n in range(6)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert server.http.get("/alive").status_code == 200
    with connect(server.socket_url(conversation)) as socket:
        assert is_state(receive(socket))


def test_sigterm_pauses_tells_and_closes_with_1001(make_server, tmp_path):
    write_script(tmp_path / "scripts", "slow", [{"calls": [{"name": "terminal", "arguments": {"command": "sleep 600"}}]}])
    server = make_server(data=tmp_path / "data", scripts=tmp_path / "scripts")
    conversation = server.create(tmp_path / "work", "scripted/slow", autotitle=False)
    with connect(server.socket_url(conversation)) as socket:
        server.send(conversation, "Sleep.", run=True)
        while receive(socket)["kind"] != "ActionEvent":
            pass
        server.process.terminate()
        seen = []
        with pytest.raises(ConnectionClosed) as closed:
            while True:
                seen.append(receive(socket)["kind"])
        assert closed.value.rcvd.code == 1001
        assert "PauseEvent" in seen
    assert server.process.wait(6) == 0
    server.stop()
    server = make_server(data=tmp_path / "data", scripts=tmp_path / "scripts")
    assert server.http.get(f"/api/conversations/{conversation}").json()["execution_status"] == "paused"
    kinds = [e["kind"] for e in server.events(conversation)]
    assert kinds.count("PauseEvent") == 1 and "AgentErrorEvent" in kinds


def test_a_flood_of_empty_messages(server, tmp_path):
    """Each costs memory although it has no text: past a number of them the socket is closed, and nobody else waits."""
    conversation = server.create(tmp_path, autotitle=False)
    with connect(server.socket_url(conversation)) as socket:
        assert is_state(receive(socket))
        try:
            socket.socket.sendall(b"\x81\x80\0\0\0\0" * 50_000)  # masked, empty, text
        except OSError:
            pass  # refused in the middle
        assert closed_with(socket) == (1013, "Too many messages are waiting")
    assert server.http.get("/ready", timeout=2).status_code == 200
