"""What clients can do, by mistake or on purpose: a precise answer for each of them, and nothing for the others to notice."""

import json
import re
import socket
import threading
import time
import uuid

import httpx
import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import connect

from talk import FINISH, LATEST_S, Others, Talk, call, memory_kb, run

MISSING = "99999999-2222-4333-8444-555555555555"
GROWTH_KB = 12 * 1024
CONVERSATION_ROUTES = [
    ("GET", ""), ("PATCH", ""), ("DELETE", ""), ("POST", "/run"), ("POST", "/pause"), ("POST", "/interrupt"), ("POST", "/secrets"),
    ("POST", "/confirmation_policy"), ("GET", "/agent_final_response"), ("GET", "/events"), ("POST", "/events"), ("GET", "/events/search"),
    ("GET", "/events/count"), ("POST", "/events/respond_to_confirmation"),
]


@pytest.fixture(scope="module")
def idle(server, tmp_path_factory):
    """A conversation in which nothing ever happens."""
    return server.create(tmp_path_factory.mktemp("idle"), autotitle=False)


def create_body(work, **more):
    return {"agent": {"kind": "Agent", "llm": {"model": "scripted/finish", "api_key": "sk-hidden-value"}, "tools": [{"name": "terminal"}]},
            "workspace": {"working_dir": str(work)}, "autotitle": False, **more}


def problems(answer):
    assert answer.status_code == 422, answer.text
    detail = answer.json()["detail"]
    assert detail and all({"type", "loc", "msg"} <= set(p) for p in detail)
    return [(p["type"], p["loc"]) for p in detail]


def send_raw(server, data, end=False):
    """One connection, these bytes, and everything that comes back."""
    with raw(server) as s:
        s.sendall(data)
        if end:
            s.shutdown(socket.SHUT_WR)
        return receive_all(s)


def raw(server):
    host, port = server.url.removeprefix("http://").split(":")
    s = socket.create_connection((host, int(port)), timeout=LATEST_S)
    return s


def receive_all(s):
    out = b""
    try:
        while piece := s.recv(65536):
            out += piece
    except ConnectionResetError:
        pass
    return out


def request(method, path, body=b"", close=True, **headers):
    head = [f"{method} {path} HTTP/1.1", "Host: 127.0.0.1"] + [f"{k.replace('_', '-')}: {v}" for k, v in headers.items()]
    if body:
        head += [f"Content-Length: {len(body)}", "Content-Type: application/json"]
    if close:
        head.append("Connection: close")
    return "\r\n".join(head + ["", ""]).encode() + body


# ---- ids and routes


@pytest.mark.parametrize("method, path", CONVERSATION_ROUTES)
def test_ids_that_are_none(server, method, path):
    for bad in ("zz", "1", MISSING[:-1], MISSING + "0", "%00", "..%2f..", "'; drop", "x" * 2000, "99999999-2222-4333-8444-55555555555g"):
        answer = server.http.request(method, f"/api/conversations/{bad}{path}", json={} if method in ("POST", "PATCH") else None)
        assert answer.status_code in (400, 404, 405, 414, 422), (bad, answer.text)
        assert "detail" in answer.json()


@pytest.mark.parametrize("method, path", CONVERSATION_ROUTES)
def test_conversations_that_are_not_there(server, method, path):
    bodies = {"PATCH": {"title": "x"}, "/secrets": {"secrets": {}}, "/confirmation_policy": {"policy": {"kind": "NeverConfirm"}},
              "/events/respond_to_confirmation": {"accept": True}, "/events": {"content": [{"type": "text", "text": "x"}]}}
    body = bodies.get(path) or bodies.get(method)
    if (method, path) == ("GET", "/events"):
        body = [MISSING]
    answer = server.http.request(method, f"/api/conversations/{MISSING}{path}", json=body)
    if method == "PATCH":
        assert (answer.status_code, answer.json()) == (200, {"success": False})
    elif method == "DELETE" or path in ("/pause", "/interrupt"):
        assert answer.status_code == 400
    else:
        assert answer.status_code == 404, answer.text
        assert "not found" in answer.json()["detail"].lower()


@pytest.mark.parametrize("limit", ["0", "-1", "101", "1e3", "99999999999999999999999", "ten", "", "1.5", "0x10", "٣"])
def test_limits(server, idle, limit):
    for path in ("/api/conversations/search", f"/api/conversations/{idle}/events/search"):
        assert problems(server.http.get(path, params={"limit": limit}))[0][1] == ["query", "limit"]


@pytest.mark.parametrize("query, where", [
    ({"kind": "x" * 300, "limit": "0"}, "limit"), ({"sort_order": "RANDOM"}, "sort_order"),
    ({"timestamp__gte": "yesterday"}, "timestamp__gte"), ({"timestamp__lt": "2026-13-40T99:99:99"}, "timestamp__lt"),
])
def test_wrong_filters(server, idle, query, where):
    answer = server.http.get(f"/api/conversations/{idle}/events/search", params=query)
    assert [p[1] for p in problems(answer)] == [["query", where]]


def test_too_many_ids(server, idle):
    assert problems(server.http.get("/api/conversations", params={"ids": [MISSING] * 101}))
    answer = server.http.request("GET", f"/api/conversations/{idle}/events", json=[MISSING] * 101)
    assert problems(answer)
    assert problems(server.http.get("/api/conversations", params={"ids": ["zz"]}))


def test_unknown_routes_and_methods(server, idle):
    for path in ("/nothing", "/api", "/api/nothing", f"/api/conversations/{idle}/nothing", "/api/conversations/../../etc/passwd"):
        answer = server.http.get(path)
        assert answer.status_code in (404, 422) and "detail" in answer.json(), path
    answer = server.http.put(f"/api/conversations/{idle}/run")
    assert (answer.status_code, answer.json()) == (405, {"detail": "Method Not Allowed"}) and answer.headers["allow"]


# ---- bodies


@pytest.mark.parametrize("change, kind, where", [
    ({"workspace": None}, None, ["body", "workspace"]),
    ({"workspace": {}}, "missing", ["body", "workspace", "working_dir"]),
    ({"workspace": {"working_dir": 5}}, "string_type", ["body", "workspace", "working_dir"]),
    ({"workspace": {"working_dir": ["/"]}}, "string_type", ["body", "workspace", "working_dir"]),
    ({"workspace": {"working_dir": "x\0y"}}, None, ["body", "workspace"]),
    ({"workspace": {"working_dir": "/" + "x" * 5000}}, None, ["body", "workspace", "working_dir"]),
    ({"agent": 5}, None, ["body", "agent"]),
    ({"agent": {"llm": 5}}, None, ["body", "agent", "llm"]),
    ({"agent": {"llm": {"model": ["x"]}}}, "string_type", ["body", "agent", "llm", "model"]),
    ({"agent": {"llm": {"model": "x", "temperature": "warm"}}}, None, ["body", "agent", "llm", "temperature"]),
    ({"agent": {"kind": "Robot", "llm": {"model": "x"}}}, None, ["body", "agent"]),
    ({"max_iterations": 0}, None, ["body", "max_iterations"]),
    ({"max_iterations": 1.5}, None, ["body", "max_iterations"]),
    ({"max_iterations": 10**30}, None, ["body", "max_iterations"]),
    ({"stuck_detection": "perhaps"}, "bool_parsing", ["body", "stuck_detection"]),
    ({"confirmation_policy": {"kind": "SometimesConfirm"}}, None, ["body", "confirmation_policy"]),
    ({"confirmation_policy": {"kind": "ConfirmRisky", "threshold": "COLOSSAL"}}, None, ["body", "confirmation_policy"]),
    ({"conversation_id": "zz"}, "uuid_parsing", ["body", "conversation_id"]),
    ({"conversation_id": 5}, None, ["body", "conversation_id"]),
    ({"initial_message": "hello"}, None, ["body", "initial_message"]),
    ({"initial_message": {"role": "king", "content": []}}, None, ["body", "initial_message", "role"]),
    ({"initial_message": {"content": [{"type": "smell"}]}}, None, ["body", "initial_message", "content", 0]),
    ({"tags": {"Not Allowed": "x"}}, None, ["body", "tags"]),
    ({"tags": {"a": "x" * 257}}, None, ["body", "tags"]),
    ({"secrets": {"A": 5}}, None, ["body", "secrets", "A"]),
    ({"secrets": {"A=B": "x"}}, None, ["body", "secrets"]),
])
def test_wrong_types_and_values(server, work, change, kind, where):
    body = create_body(work)
    body.update(change)
    found = problems(server.http.post("/api/conversations", json=body))
    assert any(loc[:len(where)] == where for _, loc in found), found
    assert kind is None or kind in [t for t, _ in found], found


def test_several_problems_are_told_together(server):
    found = problems(server.http.post("/api/conversations", json={"max_iterations": "many", "stuck_detection": 7, "agent": {"llm": {}}}))
    assert len(found) >= 3


def test_what_is_told_of_a_wrong_body_hides_its_secrets(server, work):
    body = create_body(work, secrets={"A": {"kind": "Unknown", "value": "hunter2-hunter2"}}, max_iterations="x")
    body["agent"]["llm"]["temperature"] = "warm"
    text = server.http.post("/api/conversations", json=body).text
    assert "hunter2" not in text and "sk-hidden-value" not in text


@pytest.mark.parametrize("content", [
    b"", b"{", b"null", b"5", b"[]", b'"x"', b"\xff\xfe", b"{\"a\":\"\xc3(\"}", b"{} {}", b"{'a':1}", b"NaN", b"{\"a\":1,}", b"\0",
    b"[" * 100000, b"{\"a\":" * 1000 + b"1" + b"}" * 1000, b"[" * 65 + b"]" * 65, b'{"a":"\x01"}',
    b'{"agent":{},"agent":{}}', b'{"workspace":{"working_dir":"/a","working_dir":"/b"}}',
])
def test_bodies_that_are_no_json(server, idle, content):
    for path in ("/api/conversations", f"/api/conversations/{idle}/events", f"/api/conversations/{idle}/secrets"):
        answer = server.http.post(path, content=content, headers={"Content-Type": "application/json"})
        assert answer.status_code == 422, (path, answer.text)
        assert answer.json()["detail"]


def test_half_characters_are_replaced(server, work):
    with Talk(server, work, [FINISH]) as talk:
        answer = server.http.post(f"/api/conversations/{talk.id}/events", headers={"Content-Type": "application/json"},
                                  content=b'{"content":[{"type":"text","text":"a\\ud800b"}],"run":true}')
        assert answer.status_code == 200
        assert talk.until_over() == "finished"
        assert talk.events("MessageEvent")[0]["llm_message"]["content"][0]["text"] == "a\ufffdb"


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", "text/html", "", None,
                                  "application/jsonp", "application/jso"])
def test_bodies_of_other_kinds(server, idle, kind):
    """What a form or a foreign page can send is never taken for JSON."""
    before = server.http.get(f"/api/conversations/{idle}/events/count").json()
    answer = server.http.post(f"/api/conversations/{idle}/events", content=b'{"content":[{"type":"text","text":"forged"}]}',
                              headers={"Content-Type": kind} if kind is not None else {})
    assert answer.status_code in (415, 422), answer.text
    assert server.http.get(f"/api/conversations/{idle}/events/count").json() == before


@pytest.mark.parametrize("kind", ["application/json", "application/json; charset=utf-8", "APPLICATION/JSON", "application/problem+json"])
def test_bodies_of_json_kinds(server, work, kind):
    answer = server.http.post("/api/conversations", content=json.dumps(create_body(work)), headers={"Content-Type": kind})
    assert answer.status_code == 201, answer.text


def test_a_large_body_is_refused_early(server, idle):
    before = memory_kb(server)
    with Others(server):
        for path in ("/api/conversations", f"/api/conversations/{idle}/events"):
            answer = server.http.post(path, content=b'{"x":"' + b"y" * 20_000_000 + b'"}', headers={"Content-Type": "application/json"})
            assert answer.status_code == 413 and "detail" in answer.json(), answer.text
        # Said beforehand: refused before it is sent.
        answer = send_raw(server, b"POST /api/conversations HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
                          b"Content-Length: 99999999999\r\nExpect: 100-continue\r\n\r\n")
        assert b" 413 " in answer.split(b"\r\n")[0]
        # Never said: cut off at the bound.
        with raw(server) as s:
            s.sendall(b"POST /api/conversations HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
                      b"Transfer-Encoding: chunked\r\n\r\n")
            try:
                for _ in range(400):
                    s.sendall(b"10000\r\n" + b"y" * 65536 + b"\r\n")
            except OSError:
                pass
            answer = receive_all(s)
            assert answer == b"" or b" 413 " in answer.split(b"\r\n")[0]
    assert memory_kb(server) - before < 40 * 1024


def test_a_large_but_allowed_message(server, work):
    text = "漢" * 250_000
    with Talk(server, work, [FINISH]) as talk:
        assert talk.say(text) == "finished"
        for frame in talk.frames:
            assert len(json.dumps(frame, ensure_ascii=False).encode()) < 1_000_000
        assert len(talk.events("MessageEvent")[0]["llm_message"]["content"][0]["text"]) > 100


@pytest.mark.parametrize("role", ["assistant", "system", "tool", "", "USER", 5])
def test_only_users_speak(server, idle, role):
    answer = server.http.post(f"/api/conversations/{idle}/events", json={"role": role, "content": [{"type": "text", "text": "x"}]})
    assert answer.status_code == 422, answer.text


# ---- foreign pages


@pytest.mark.parametrize("origin", ["https://evil.example", "null", "http://127.0.0.1.evil.example", "http://localhost@evil.example"])
def test_foreign_origins(server, idle, origin):
    for method, path in (("GET", "/api/conversations/search"), ("POST", f"/api/conversations/{idle}/run"), ("OPTIONS", "/api/conversations"),
                         ("DELETE", f"/api/conversations/{idle}")):
        answer = server.http.request(method, path, headers={"Origin": origin})
        assert answer.status_code == 403 and "access-control-allow-origin" not in answer.headers
    with pytest.raises(InvalidStatus) as refused:
        connect(server.socket_url(idle), origin=origin)
    assert refused.value.response.status_code == 403
    assert server.http.get(f"/api/conversations/{idle}").status_code == 200


@pytest.mark.parametrize("host", ["evil.example", "evil.example:80", "127.0.0.1.evil.example", "", "[::2]", "0x7f.1"])
def test_foreign_hosts(server, host):
    """A name of somebody else's that leads here."""
    answer = send_raw(server, f"GET /api/conversations/search HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode())
    assert answer.split(b" ")[1] in (b"403", b"400"), answer


# ---- sockets of every speed


def test_half_closed_connections_are_answered(server, idle):
    answer = send_raw(server, request("GET", f"/api/conversations/{idle}", close=False), end=True)
    assert b" 200 " in answer.split(b"\r\n")[0] and idle.encode() in answer
    assert send_raw(server, b"GET /alive HTT", end=True)[:12] in (b"", b"HTTP/1.1 400")
    assert send_raw(server, b"", end=True) == b""
    answer = send_raw(server, b"POST /api/conversations HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\nContent-Length: 50\r\n\r\n{",
                      end=True)
    assert answer[:12] in (b"", b"HTTP/1.1 400")


def test_half_closed_while_a_request_waits(server, work):
    """The answer of a parked request comes though nothing more will be sent."""
    body = json.dumps(create_body(work)).encode()
    answer = send_raw(server, request("POST", "/api/conversations", body, close=False), end=True)
    assert b" 201 " in answer.split(b"\r\n")[0]


def test_slow_writers(make_server):
    server = make_server(env={"OH_REQUEST_HEAD_TIMEOUT_SECONDS": "0.5", "OH_REQUEST_BODY_TIMEOUT_SECONDS": "0.5"})
    text = b"GET /alive HTTP/1.1\r\nHost: 127.0.0.1\r\n" + b"X-Slow: y\r\n" * 2000
    with Others(server):
        started = time.monotonic()
        with raw(server) as s:  # a byte now and then does not put the deadline off
            s.settimeout(0.02)
            answer = b""
            for n in range(len(text)):
                try:
                    s.sendall(text[n:n + 1])
                    answer = s.recv(1000)
                    break
                except TimeoutError:
                    continue
                except OSError:
                    break
            assert answer == b"" or b" 408 " in answer
        assert 0.3 < time.monotonic() - started < 5
        answer = send_raw(server, b"POST /api/conversations HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
                          b"Content-Length: 50\r\n\r\n{")
        assert answer == b"" or b" 408 " in answer


def test_many_idle_connections(server):
    before = memory_kb(server)
    with Others(server):
        held = [raw(server) for _ in range(400)]
        for s in held[::2]:
            s.sendall(b"GET /alive HTTP/1.1\r\n")
        assert httpx.get(f"{server.url}/alive").status_code == 200
        for s in held:
            s.close()
    assert memory_kb(server) - before < GROWTH_KB


def flood(count, size):
    return [{"calls": [call("think", thought=f"{n} " + "x" * size)]} for n in range(count)] + [FINISH]


def test_a_socket_that_never_reads(server, work):
    """Events flow past it: it costs a cursor, and delays nobody."""
    before = memory_kb(server)
    with Others(server), Talk(server, work, flood(120, 60000), stuck_detection=False) as talk:
        stalled = []
        for _ in range(10):
            s = raw(server)
            s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            s.sendall(request("GET", f"/sockets/events/{talk.id}?resend_mode=all", close=False, Upgrade="websocket", Connection="Upgrade",
                              Sec_WebSocket_Key="dGhlIHNhbXBsZSBub25jZQ==", Sec_WebSocket_Version="13"))
            stalled.append(s)
        assert talk.say() == "finished"
        assert memory_kb(server) - before < 40 * 1024
        seen = [e["id"] for e in talk.frames if e["kind"] == "ActionEvent"]
        assert len(seen) == 121
        for s in stalled:
            s.close()


def test_a_reader_that_stalls_in_the_middle_of_pages(server, work):
    with Talk(server, work, flood(100, 20000), stuck_detection=False) as talk:
        assert talk.say() == "finished"
        before = memory_kb(server)
        with Others(server):
            held = []
            for _ in range(30):
                s = raw(server)
                s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
                s.sendall(request("GET", f"/api/conversations/{talk.id}/events/search?limit=100", close=False) * 20)
                held.append(s)
            assert server.http.get(f"/api/conversations/{talk.id}/events/search").status_code == 200
            assert memory_kb(server) - before < 120 * 1024
            for s in held:
                s.close()


def test_pipelined_requests_are_answered_in_order(server, idle):
    paths = [f"/api/conversations/{idle}", "/alive", f"/api/conversations/{MISSING}", "/nothing", f"/api/conversations/{idle}/events/count"]
    answer = send_raw(server, b"".join(request("GET", p, close=False) for p in paths * 20) + request("GET", "/alive"))
    assert b"".join(re.findall(rb"HTTP/1.1 (\d+) ", answer)) == (b"200200404404200" * 20) + b"200"


# ---- frames


def frame(opcode, payload=b"", fin=True, masked=True):
    head = bytes([(0x80 if fin else 0) | opcode])
    n = len(payload)
    mark = 0x80 if masked else 0
    head += bytes([mark | n]) if n < 126 else bytes([mark | 126]) + n.to_bytes(2, "big") if n < 65536 else \
        bytes([mark | 127]) + n.to_bytes(8, "big")
    return head + (b"\0\0\0\0" if masked else b"") + payload


def open_socket(server, conversation):
    s = raw(server)
    s.sendall(request("GET", f"/sockets/events/{conversation}", close=False, Upgrade="websocket", Connection="Upgrade",
                      Sec_WebSocket_Key="dGhlIHNhbXBsZSBub25jZQ==", Sec_WebSocket_Version="13"))
    stream = s.makefile("rb")
    assert b" 101 " in stream.readline()
    while stream.readline() != b"\r\n":
        pass
    assert json.loads(read_frame(stream)[1])["key"] == "full_state"
    return s, stream


def read_frame(stream):
    head = stream.read(2)
    if len(head) < 2:
        return None, b""
    n = head[1] & 127
    if n > 125:
        n = int.from_bytes(stream.read(2 if n == 126 else 8), "big")
    return head[0] & 15, stream.read(n)


@pytest.mark.parametrize("data, code", [
    (frame(1, b"\xff\xfe"), 1007), (frame(1, b'{"a":"\xc3', fin=False) + frame(0, b'("}'), 1007), (frame(1, b"x", masked=False), 1002),
    (frame(3, b"x"), 1002), (frame(11), 1002), (frame(0, b"x"), 1002), (frame(9, b"x" * 126), 1002), (frame(9, b"", fin=False), 1002),
    (frame(1, b"a", fin=False) + frame(1, b"b"), 1002), (b"\xf1\x80\0\0\0\0", 1002), (frame(8, b"\x03"), 1002), (frame(8, b"\x03\xe7"), 1002),
    (frame(8, b"\x03\xe8bye"), 1000), (frame(8), 1000), (frame(1, b"x" * 2_000_000), 1009),
    (b"\x81\xff" + (2**62).to_bytes(8, "big") + b"\0\0\0\0", 1009), (b"\x81\xff" + b"\xff" * 8 + b"\0\0\0\0", None),
    (b"".join(frame(1 if n == 0 else 0, b"x" * 60000, fin=False) for n in range(40)), 1009),
])
def test_frames_that_are_wrong(server, idle, data, code):
    s, stream = open_socket(server, idle)
    with s, stream:
        try:
            s.sendall(data)
        except OSError:
            pass
        opcode, payload = 1, b""
        while opcode not in (8, None):
            opcode, payload = read_frame(stream)
        if code and opcode == 8:
            given = int.from_bytes(payload[:2], "big") if payload else 1000
            assert given == code
        else:
            assert code in (None, 1009)  # it may have been cut off while it was still sending
    assert server.http.get("/alive").status_code == 200


def test_fragments_with_a_ping_between(server, idle):
    s, stream = open_socket(server, idle)
    with s, stream:
        s.sendall(frame(1, b'{"ro', fin=False) + frame(9, b"there?") + frame(0, b'le": 5}'))
        assert read_frame(stream) == (10, b"there?")
        opcode, payload = read_frame(stream)
        assert opcode == 1 and json.loads(payload)["kind"] == "ServerErrorEvent"


def test_pings_are_answered_during_a_step(server, work):
    with Talk(server, work, [run("echo on; sleep 60"), FINISH]) as talk:
        talk.start()
        talk.until_kind("ActionEvent")
        for n in range(20):
            started = time.monotonic()
            assert talk.socket.ping(f"{n}").wait(LATEST_S)
            assert time.monotonic() - started < 0.5
        assert talk.post("interrupt").status_code == 200
        assert talk.until_over() == "paused"


@pytest.mark.parametrize("text", ["{", "null", "[]", "5", '"x"', '{"role":"king","content":"x"}', '{"role":"user","content":5}', "{" * 1000,
                                  '{"role":"user","content":[{"type":"image"}]}', "[" * 100_000, "x" * 900_000])
def test_wrong_messages_are_told_and_it_goes_on(server, work, text):
    with Talk(server, work, [FINISH]) as talk:
        talk.socket.send(text)
        error = talk.until_kind("ServerErrorEvent")
        assert error["code"] == "ValidationError" and error["source"] == "environment" and len(error["detail"]) < 5000
        talk.socket.send(json.dumps({"role": "user", "content": "Now in earnest."}))
        assert talk.until_over() == "finished"
        assert "ServerErrorEvent" not in talk.kinds()


def test_binary_messages(server, work):
    with Talk(server, work, [FINISH]) as talk:
        talk.socket.send(b"\x00\xff\x01")
        try:
            assert talk.until_kind("ServerErrorEvent")
        except ConnectionClosed as closed:
            assert closed.rcvd.code in (1003, 1007)


def test_a_flood_of_messages_on_a_socket(server, work):
    """More than it takes at once: told, or closed with a code, and nothing grows."""
    before = memory_kb(server)
    big = json.dumps({"role": "user", "content": "x" * 500_000})
    with Others(server), Talk(server, work, [{"text": "yes", "repeat": True}]) as talk:
        try:
            for _ in range(60):
                talk.socket.send(big)
        except ConnectionClosed as closed:
            assert closed.rcvd and closed.rcvd.code in (1008, 1009, 1013)
    assert memory_kb(server) - before < 64 * 1024


# ---- conversations that come and go


def test_created_twice_in_parallel(server, work):
    for _ in range(10):
        wanted, answers = str(uuid.uuid4()), []
        body = create_body(work, conversation_id=wanted)
        threads = [threading.Thread(target=lambda: answers.append(httpx.post(f"{server.url}/api/conversations", json=body, timeout=30)))
                   for _ in range(6)]
        for t in threads:
            t.start()
        for t in threads:
            t.join()
        assert sorted(a.status_code for a in answers) == [200] * 5 + [201], [a.text[:200] for a in answers]
        assert {a.json()["id"] for a in answers} == {wanted}


def test_deleted_while_it_runs_and_made_again(server, work):
    """Five times over, under the same id: nothing of the old one is in the new one."""
    wanted = str(uuid.uuid4())
    for n in range(5):
        with Talk(server, work, [run(f"echo on-{n}; sleep 60"), FINISH], conversation_id=wanted) as talk:
            assert talk.id == wanted and talk.kinds() == []
            talk.start(f"number {n}")
            talk.until_kind("ActionEvent")
            started = time.monotonic()
            assert server.http.delete(f"/api/conversations/{wanted}").json() == {"success": True}
            assert time.monotonic() - started < 3
            assert server.http.get(f"/api/conversations/{wanted}").status_code == 404
            with pytest.raises(ConnectionClosed) as closed:
                while True:
                    talk.socket.recv(LATEST_S)
            assert closed.value.rcvd.code == 4004
    assert server.http.delete(f"/api/conversations/{wanted}").status_code == 400


def test_deleted_twice_in_parallel(server, work):
    for _ in range(10):
        conversation, answers = server.create(work, autotitle=False), []
        threads = [threading.Thread(target=lambda: answers.append(
            httpx.delete(f"{server.url}/api/conversations/{conversation}", timeout=30).status_code)) for _ in range(4)]
        for t in threads:
            t.start()
        for t in threads:
            t.join()
        assert 200 in answers and set(answers) <= {200, 400}


def test_everything_at_once_on_one_conversation(server, work):
    """Run, pause, interrupt, messages and a delete from many sides: each is answered, none with a failure of ours."""
    bad = []
    for _ in range(4):
        conversation = server.create(work, "scripted/think", autotitle=False, stuck_detection=False)

        def ask(route, body=None):
            with httpx.Client(base_url=server.url, timeout=30) as http:
                for _ in range(15):
                    answer = http.post(f"/api/conversations/{conversation}/{route}", json=body)
                    if answer.status_code not in (200, 400, 404, 409, 503):
                        bad.append((route, answer.status_code, answer.text))

        threads = [threading.Thread(target=ask, args=a) for a in (
            ("run",), ("run",), ("pause",), ("interrupt",), ("events", {"content": [{"type": "text", "text": "x"}], "run": True}),
            ("events/respond_to_confirmation", {"accept": True}), ("confirmation_policy", {"policy": {"kind": "NeverConfirm"}}))]
        for t in threads:
            t.start()
        for t in threads[:3]:
            t.join()
        assert server.http.delete(f"/api/conversations/{conversation}").status_code == 200
        for t in threads:
            t.join()
        assert server.http.get(f"/api/conversations/{conversation}").status_code == 404
    assert not bad, bad[0]


def test_running_twice_and_after_the_end(server, work):
    with Talk(server, work, [run("until [ -e go ]; do sleep 0.02; done"), FINISH]) as talk:
        talk.start()
        talk.until_kind("ActionEvent")
        answer = talk.post("run")
        assert (answer.status_code, answer.json()) == (409, {"detail": "Conversation already running. Wait for completion or pause first."})
        (work / "go").touch()
        assert talk.until_over() == "finished"
        before = talk.kinds()
        assert talk.post("run").json() == {"success": True}  # finished stays finished, and says so
        assert talk.until_over() == "finished" and talk.kinds() == before


# ---- confirmation


ALWAYS = {"kind": "AlwaysConfirm"}


def test_accepting_by_run(server, work):
    with Talk(server, work, [run("echo 1 >> done"), FINISH], confirmation_policy=ALWAYS) as talk:
        assert talk.say() == "waiting_for_confirmation" and not (work / "done").exists()
        assert talk.post("run").status_code == 200
        assert talk.until_over() == "finished"  # `finish` alone is never asked about
        assert (work / "done").read_text() == "1\n"


def test_rejecting_runs_nothing(server, work):
    with Talk(server, work, [{"calls": [call("terminal", command="touch a"), call("terminal", command="touch b")]}, FINISH],
              confirmation_policy=ALWAYS) as talk:
        assert talk.say() == "waiting_for_confirmation"
        assert talk.post("events/respond_to_confirmation", {"accept": False}).json() == {"success": True}
        rejected = [talk.until_kind("UserRejectObservation") for _ in range(2)]
        assert [r["rejection_source"] for r in rejected] == ["user"] * 2 and rejected[0]["rejection_reason"]
        assert talk.status() == "idle" and talk.kinds()[-1] == "UserRejectObservation"
        actions = talk.events("ActionEvent")
        assert [r["action_id"] for r in rejected] == [a["id"] for a in actions]
        assert talk.post("run").status_code == 200
        assert talk.until_over() == "finished"
        assert not (work / "a").exists() and not (work / "b").exists()


def test_a_message_does_not_accept(server, work):
    with Talk(server, work, [run("touch a"), FINISH], confirmation_policy=ALWAYS) as talk:
        assert talk.say() == "waiting_for_confirmation"
        assert server.send(talk.id, "Well?", run=True).status_code == 200
        talk.socket.send(json.dumps({"role": "user", "content": "Well?"}))
        talk.until(lambda e: e["kind"] == "MessageEvent" and e["source"] == "user" and "Well" in json.dumps(e))
        talk.until(lambda e: e["kind"] == "MessageEvent" and e["source"] == "user" and "Well" in json.dumps(e))
        assert talk.status() == "waiting_for_confirmation" and not (work / "a").exists()
        talk.post("events/respond_to_confirmation", {"accept": True})
        assert talk.until_over() == "finished" and (work / "a").exists()


@pytest.mark.parametrize("policy, risk, asks", [
    ({"kind": "NeverConfirm"}, "HIGH", False), (ALWAYS, "LOW", True), ({"kind": "ConfirmRisky"}, "HIGH", True),
    ({"kind": "ConfirmRisky"}, "MEDIUM", False), ({"kind": "ConfirmRisky"}, None, True), ({"kind": "ConfirmRisky", "threshold": "LOW"}, "LOW", True),
    ({"kind": "ConfirmRisky", "threshold": "MEDIUM", "confirm_unknown": False}, None, False),
    ({"kind": "ConfirmRisky", "threshold": "MEDIUM", "confirm_unknown": False}, "HIGH", True),
])
def test_policies(server, work, policy, risk, asks):
    line = run("touch a", **({"security_risk": risk} if risk else {}))
    with Talk(server, work, [line, FINISH], confirmation_policy=policy, security_analyzer={"kind": "LLMSecurityAnalyzer"}) as talk:
        assert talk.say() == ("waiting_for_confirmation" if asks else "finished")
        assert (work / "a").exists() != asks
        assert talk.events("ActionEvent")[0]["security_risk"] == (risk or "UNKNOWN")


def test_accepting_and_rejecting_at_once(server, work):
    """One of them wins, and the command runs once or never."""
    for n in range(5):
        with Talk(server, work, [run(f"echo x >> done-{n}"), FINISH], confirmation_policy=ALWAYS) as talk:
            assert talk.say() == "waiting_for_confirmation"
            answers = []
            threads = [threading.Thread(target=lambda a=a: answers.append(httpx.post(
                f"{server.url}/api/conversations/{talk.id}/events/respond_to_confirmation", json={"accept": a}, timeout=30).status_code))
                for a in (True, False, True, False)]
            for t in threads:
                t.start()
            for t in threads:
                t.join()
            assert set(answers) <= {200, 409}
            results = [e for e in talk.events() if e["kind"] in ("ObservationEvent", "UserRejectObservation") and e["tool_name"] == "terminal"]
            if talk.status() == "running":
                assert talk.until_over() in ("finished", "idle")
            results = [e for e in talk.events() if e["kind"] in ("ObservationEvent", "UserRejectObservation") and e["tool_name"] == "terminal"]
            assert len(results) == 1, [e["kind"] for e in results]
            ran = (work / f"done-{n}").exists()
            assert ran == (results[0]["kind"] == "ObservationEvent")
            assert not ran or (work / f"done-{n}").read_text() == "x\n"


def test_metrics_sum_up_what_models_were_asked(server, work):
    """Null before the first call, then the snapshot form that the first documentation shows."""
    with Talk(server, work, [FINISH]) as talk:
        assert talk.info()["metrics"] is None
        assert talk.say() == "finished"
        metrics = talk.info()["metrics"]
        assert set(metrics) == {"model_name", "accumulated_cost", "max_budget_per_task", "accumulated_token_usage"}
        assert metrics["model_name"].startswith("scripted/")
