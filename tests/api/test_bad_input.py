"""Whatever is wrong with a request, the answer is a 4xx in JSON that says so: for every route of the document, and then the
server is as it was."""

import itertools
import json
import re

import httpx
import pytest

MISSING = "99999999-2222-4333-8444-555555555555"
# One is put in place of every part of a path.
IDS = [MISSING, MISSING.replace("-", ""), "zz", "0", "-1", "..", "%2e%2e%2fetc%2fpasswd", "%00", "a%0ab", "%ff%fe", "x" * 4000,
       "' OR 1=1 --", "漢字"]
# One is every parameter of a query.
VALUES = ["", "zz", "-1", "0", "99999999999999999999", "1e400", "NaN", "\x00", "\n", "../../etc/passwd", "/nonexistent/dir", "漢" * 100,
          "2026-99-99", "x" * 4000, MISSING]
JSON = {"Content-Type": "application/json"}
BODIES = [
    (b"", JSON), (b"{", JSON), (b"[]", JSON), (b"null", JSON), (b"5", JSON), (b'"x"', JSON), (b"{}", JSON), (b"\xff\xfe", JSON),
    (b'{"a":' * 2000 + b"1" + b"}" * 2000, JSON), (b'{"a":1e999}', JSON), (b'{"a":"\\ud800"}', JSON), (b'{"a":1,"a":2}', JSON),
    (b"\x00" * 100, JSON), (b"{}", {"Content-Type": "text/plain"}), (b"a=b", {"Content-Type": "application/x-www-form-urlencoded"}),
    (b"--x\r\n", {"Content-Type": "multipart/form-data; boundary=x"}), (b"{}", {"Content-Type": "multipart/form-data"}),
    (b"{}", {"Content-Type": "application/json; charset=utf-16"}), (b"{}", {**JSON, "Content-Encoding": "gzip"}),
]
WRONG_TYPES = [None, True, 5, -5, 1e300, "", "x", "\x00", [], [[]], {}, {"kind": "Nothing"}, "x" * 5000]
SWITCHED_OFF = "/api/desktop/url"  # says so with 503, whatever it is asked
METHODS = ("get", "post", "put", "patch", "delete")


@pytest.fixture(scope="module")
def routes(server):
    """Method, path, names of query parameters, and the names of the members of the body."""
    document = server.http.get("/openapi.json").json()

    def members(operation):
        content = operation.get("requestBody", {}).get("content", {}).get("application/json", {})
        name = content.get("schema", {}).get("$ref", "").rsplit("/", 1)[-1]
        return list(document["components"]["schemas"].get(name, {}).get("properties", {}))

    return [(method.upper(), path, [p["name"] for p in operation.get("parameters", []) if p["in"] == "query"], members(operation))
            for path, operations in document["paths"].items() for method, operation in operations.items() if method in METHODS and path != SWITCHED_OFF]


def check(server, method, path, **request):
    answer = server.http.request(method, path, **request)
    what = f"{method} {path[:200]} {str(request)[:300]}: {answer.status_code} {answer.text[:300]}"
    assert answer.status_code < 500, what
    if answer.status_code >= 400 and method != "HEAD":
        detail = answer.json().get("detail")
        assert detail, what
        if answer.status_code == 422 and isinstance(detail, list):
            assert all({"loc", "msg", "type"} <= set(problem) for problem in detail), what
    return answer


@pytest.fixture(autouse=True)
def as_it_was(server):
    before = server.http.get("/api/conversations/count").json()
    yield
    assert server.process.poll() is None
    assert server.http.get("/api/conversations/count").json() == before


def fill(path, value):
    return re.sub(r"\{[^}]*\}", lambda _: value, path)


@pytest.mark.parametrize("value", IDS, ids=lambda v: ascii(v)[:30])
def test_ids_that_are_none(server, routes, value):
    for method, path, _, _ in routes:
        if "{" in path:
            check(server, method, fill(path, value), json={} if method != "GET" else None)


def test_unknown_conversations(server, routes):
    for method, path, _, _ in routes:
        if path.startswith("/api/conversations/{conversation_id}") and method == "GET" and "workspace" not in path:
            assert check(server, method, fill(path, MISSING)).status_code in (404, 422), path


@pytest.mark.parametrize("value", VALUES, ids=lambda v: ascii(v)[:30])
def test_queries_that_make_no_sense(server, routes, value):
    for method, path, query, _ in routes:
        for name in query:
            if method == "GET":
                check(server, method, fill(path, MISSING), params={name: value})
        if method == "GET" and query:
            check(server, method, fill(path, MISSING), params=dict.fromkeys(query, value))


def test_bodies_that_make_no_sense(server, routes):
    for method, path, _, _ in routes:
        for body, headers in BODIES if method in ("POST", "PUT", "PATCH") else ():
            check(server, method, fill(path, MISSING), content=body, headers=headers)


def test_members_of_other_types(server, routes):
    for (method, path, _, names), value in itertools.product(routes, WRONG_TYPES):
        for name in names if method in ("POST", "PUT", "PATCH") and not path.endswith("_bash_command") else ():
            body = json.dumps({name: value})
            answer = check(server, method, fill(path, MISSING), content=body, headers=JSON)
            assert method != "POST" or path != "/api/conversations" or answer.status_code >= 400


@pytest.mark.parametrize("first", [
    b"GET / HTTP/9.9", b"BREW /pot HTTP/1.1", b"GET http://[::1 HTTP/1.1", b"GET /%zz HTTP/1.1", b"GET /\x01 HTTP/1.1", b"\x16\x03\x01\x02",
    b"GET /api/conversations/search?" + b"a=1&" * 5000 + b" HTTP/1.1",
])
def test_requests_that_are_none(server, first):
    import socket

    with socket.create_connection(httpx.URL(server.url).netloc.decode().split(":"), timeout=15) as raw:
        raw.sendall(first + b"\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        head = raw.recv(65536)
        assert head == b"" or re.match(rb"HTTP/1\.1 [24]\d\d ", head), head[:100]
