"""What clients can do, by mistake or on purpose: a precise answer for each of them, and nothing for the others to notice."""

import json
import re
import socket
import time

import httpx
import pytest
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

from raw import create_body, problems, raw, receive_all, request, send_raw
from talk import FINISH, Others, Talk, call, memory_kb, run

MISSING = "99999999-2222-4333-8444-555555555555"
GROWTH_KB = 12 * 1024
CONVERSATION_ROUTES = [
    ("GET", ""), ("PATCH", ""), ("DELETE", ""), ("POST", "/run"), ("POST", "/pause"), ("POST", "/interrupt"), ("POST", "/secrets"),
    ("POST", "/confirmation_policy"), ("GET", "/agent_final_response"), ("GET", "/events"), ("POST", "/events"), ("GET", "/events/search"),
    ("GET", "/events/count"), ("POST", "/events/respond_to_confirmation"),
]


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
