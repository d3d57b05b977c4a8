"""Malformed and smuggling requests, byte for byte. Each must get one clean refusal and the end of its connection: what
follows in the stream is never answered as a request of its own."""

import re
import socket

import pytest

TIMEOUT = 10
HOST = b"Host: localhost\r\n"
# Behind every refused request: a server that lost track of the framing would answer it.
SMUGGLED = b"GET /alive HTTP/1.1\r\nHost: localhost\r\nX-Smuggled: 1\r\n\r\n"


def post(headers, body=b""):
    return b"POST /alive HTTP/1.1\r\n" + HOST + headers + b"\r\n" + body


def get(target=b"/alive", headers=b"", version=b"HTTP/1.1", method=b"GET", host=HOST):
    return method + b" " + target + b" " + version + b"\r\n" + host + headers + b"\r\n"


CHUNKED = b"Transfer-Encoding: chunked\r\n"


def chunks(body):
    """With GET, which takes any body and drops it: it is the chunks that are refused."""
    return get(headers=CHUNKED) + body


REFUSED = {
    # Two ways to tell the body's length
    "length and chunked": (post(b"Content-Length: 6\r\n" + CHUNKED, b"0\r\n\r\nG"), {400}),
    "chunked and length": (post(CHUNKED + b"Content-Length: 6\r\n", b"0\r\n\r\nG"), {400}),
    "two lengths": (post(b"Content-Length: 5\r\nContent-Length: 6\r\n", b"hello"), {400}),
    "the same length twice": (post(b"Content-Length: 5\r\nContent-Length: 5\r\n", b"hello"), {400}),
    "length list": (post(b"Content-Length: 5, 5\r\n", b"hello"), {400}),
    # Lengths that are no numbers
    "length with plus": (post(b"Content-Length: +5\r\n", b"hello"), {400}),
    "negative length": (post(b"Content-Length: -5\r\n", b"hello"), {400}),
    "hexadecimal length": (post(b"Content-Length: 0x5\r\n", b"hello"), {400}),
    "length with rest": (post(b"Content-Length: 5 a\r\n", b"hello"), {400}),
    "empty length": (post(b"Content-Length: \r\n", b"hello"), {400}),
    "length past 64 bits": (post(b"Content-Length: 18446744073709551621\r\n", b"hello"), {400}),
    "length with underscore": (post(b"Content-Length: 1_0\r\n", b"hellohello"), {400}),
    # Transfer codings
    "unknown coding": (post(b"Transfer-Encoding: xchunked\r\n", b"0\r\n\r\n"), {400, 501}),
    "identity coding": (post(b"Transfer-Encoding: identity\r\n", b"0\r\n\r\n"), {400, 501}),
    "chunked is not last": (post(b"Transfer-Encoding: chunked, identity\r\n", b"0\r\n\r\n"), {400, 501}),
    "chunked twice": (post(b"Transfer-Encoding: chunked, chunked\r\n", b"0\r\n\r\n"), {400, 501}),
    "compressed and chunked": (post(b"Transfer-Encoding: gzip, chunked\r\n", b"0\r\n\r\n"), {400, 501}),
    "two codings": (post(CHUNKED + CHUNKED, b"0\r\n\r\n"), {400}),
    "coding behind a vertical tab": (post(b"Transfer-Encoding: \x0bchunked\r\n", b"0\r\n\r\n"), {400}),
    "quoted coding": (post(b'Transfer-Encoding: "chunked"\r\n', b"0\r\n\r\n"), {400, 501}),
    "space before the colon": (post(b"Transfer-Encoding : chunked\r\n", b"0\r\n\r\n"), {400}),
    "coding in HTTP/1.0": (get(method=b"POST", version=b"HTTP/1.0", headers=CHUNKED) + b"0\r\n\r\n", {400}),
    # Chunks
    "chunk size 0x5": (chunks(b"0x5\r\nhello\r\n0\r\n\r\n"), {400}),
    "negative chunk size": (chunks(b"-5\r\nhello\r\n0\r\n\r\n"), {400}),
    "no chunk size": (chunks(b"\r\nhello\r\n0\r\n\r\n"), {400}),
    "chunk size past 64 bits": (chunks(b"10000000000000005\r\nhello\r\n0\r\n\r\n"), {400, 413}),
    "chunk longer than its size": (chunks(b"5\r\nhello!\r\n0\r\n\r\n"), {400}),
    "chunk size before a bare LF": (chunks(b"5\nhello\r\n0\r\n\r\n"), {400}),
    "chunk end as a bare LF": (chunks(b"5\r\nhello\n0\r\n\r\n"), {400}),
    "endless chunk extension": (chunks(b"5;" + b"a" * 20000 + b"\r\nhello\r\n0\r\n\r\n"), {400, 413}),
    "endless trailers": (chunks(b"0\r\n" + b"X-Trailer: 1234567890\r\n" * 5000 + b"\r\n"), {400, 431}),
    # Header lines
    "folded header": (get(headers=b"X-Folded: a\r\n b\r\n"), {400}),
    "folded coding": (post(b"Transfer-Encoding:\r\n chunked\r\n", b"0\r\n\r\n"), {400}),
    "line without a colon": (get(headers=b"NoColon\r\n"), {400}),
    "empty name": (get(headers=b": value\r\n"), {400}),
    "space in a name": (get(headers=b"X Name: value\r\n"), {400}),
    "first header starts with a space": (get(host=b" Host: localhost\r\n"), {400}),
    "NUL in a name": (get(headers=b"X-N\x00ame: value\r\n"), {400}),
    "NUL in a value": (get(headers=b"X-Name: val\x00ue\r\n"), {400}),
    "bare CR in a value": (get(headers=b"X-Name: a\rContent-Length: 5\r\n"), {400}),
    "DEL in a value": (get(headers=b"X-Name: a\x7f\r\n"), {400}),
    "lines end in a bare LF": (b"GET /alive HTTP/1.1\nHost: localhost\n\n", {400}),
    "one line ends in a bare LF": (get(headers=b"X-Name: a\nContent-Length: 5\r\n"), {400}),
    "head of 80 kB": (get(headers=b"X-Long: " + b"a" * 80000 + b"\r\n"), {431}),
    "200 headers": (get(headers=b"X-Many: 1\r\n" * 200), {431}),
    # Host
    "no host": (get(host=b""), {400}),
    "two hosts": (get(host=HOST + b"Host: other\r\n"), {400}),
    "host with a path": (get(host=b"Host: localhost/alive\r\n"), {400}),
    "host with a user": (get(host=b"Host: evil@localhost\r\n"), {400}),
    "host with a space": (get(host=b"Host: local host\r\n"), {400}),
    "host with a comma list": (get(host=b"Host: localhost, evil\r\n"), {400}),
    "target and host differ": (get(b"http://evil.example/alive"), {400}),
    # Request line
    "lower-case method": (get(method=b"get"), {400}),
    "unknown method": (get(method=b"FROBNICATE"), {400, 405, 501}),
    "CONNECT": (get(b"localhost:443", method=b"CONNECT"), {400, 405}),
    "relative target": (get(b"alive"), {400}),
    "star for GET": (get(b"*"), {400}),
    "space in the target": (get(b"/alive x"), {400}),
    "tab in the target": (get(b"/alive\tx"), {400}),
    "fragment in the target": (get(b"/alive#x"), {400}),
    "raw byte in the target": (get(b"/alive\xc3\xa4"), {400}),
    "NUL in the path": (get(b"/alive%00"), {400}),
    "broken escape in the path": (get(b"/alive%4"), {400}),
    "path that is not UTF-8": (get(b"/alive%ff"), {400}),
    "HTTP/0.9": (b"GET /alive\r\n\r\n", {400, 505}),
    "HTTP/1.2": (get(version=b"HTTP/1.2"), {400, 505}),
    "HTTP/3.0": (get(version=b"HTTP/3.0"), {400, 505}),
    "lower-case version": (get(version=b"http/1.1"), {400}),
    "version with a leading zero": (get(version=b"HTTP/01.1"), {400}),
    "HTTP/2 preface": (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", {400}),
    "TLS": (bytes.fromhex("16030100c6010000c20303") + b"\x00" * 64, {400}),
    "another expectation": (post(b"Expect: 200-ok\r\nContent-Length: 5\r\n", b"hello"), {417}),
    "unknown key twice": (get(headers=b"X-Session-API-Key: a\r\nX-Session-API-Key: b\r\n"), {400}),
}


def connect(server):
    s = socket.create_connection(tuple(server), TIMEOUT)
    s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return s


def read_all(s):
    """Everything up to the end of the connection; a reset counts as the end."""
    text = b""
    try:
        while piece := s.recv(65536):
            text += piece
    except ConnectionResetError:
        pass
    return text


def statuses(text):
    """Status of each answer."""
    return [int(status) for status in re.findall(rb"HTTP/1\.1 (\d{3}) ", text)]


def exchange(server, request, half_close=False):
    with connect(server) as s:
        try:
            s.sendall(request)
            if half_close:
                s.shutdown(socket.SHUT_WR)
        except (BrokenPipeError, ConnectionResetError):
            pass
        return read_all(s)


def is_alive(server):
    return statuses(exchange(server, get(headers=b"Connection: close\r\n"))) == [200]


@pytest.mark.parametrize("name", REFUSED)
def test_refused(server, name):
    request, allowed = REFUSED[name]
    answer = exchange(server, request + SMUGGLED)
    assert len(statuses(answer)) == 1, answer
    assert statuses(answer)[0] in allowed, answer
    assert b"connection: close" in answer.lower()
    assert is_alive(server)


@pytest.mark.parametrize("name", ["length and chunked", "chunk size 0x5", "bare CR in a value", "no host"])
def test_refused_byte_by_byte(server, name):
    request, allowed = REFUSED[name]
    with connect(server) as s:
        try:
            for i in range(len(request)):
                s.sendall(request[i : i + 1])
        except (BrokenPipeError, ConnectionResetError):
            pass
        answer = read_all(s)
    assert len(statuses(answer)) == 1 and statuses(answer)[0] in allowed, answer


CLOSE = b"Connection: close\r\n"

ACCEPTED = {
    "plain": (get(headers=CLOSE), [200]),
    "three in one go": (get() + get() + get(headers=CLOSE), [200, 200, 200]),
    "empty lines before": (b"\r\n\r\n" + get(headers=CLOSE), [200]),
    "absolute target": (get(b"http://localhost/alive", CLOSE), [200]),
    "query": (get(b"/alive?a=%zz&b", CLOSE), [200]),
    "escaped path": (get(b"/%61live", CLOSE), [200]),
    "HTTP/1.0": (get(version=b"HTTP/1.0"), [200]),
    "HTTP/1.0 without host": (get(version=b"HTTP/1.0", host=b""), [200]),
    "HTTP/1.0 kept alive": (get(version=b"HTTP/1.0", headers=b"Connection: keep-alive\r\n") + get(headers=CLOSE), [200, 200]),
    "header case and space": (get(headers=b"CONNECTION:close\r\nX-A:\t b \t\r\n"), [200]),
    "unknown upgrade": (get(headers=b"Connection: Upgrade, close\r\nUpgrade: h2c\r\n"), [200]),
    "upgrade of what is no socket": (get(headers=b"Connection: Upgrade\r\nUpgrade: websocket\r\n") + get(headers=CLOSE), [200, 200]),
    "GET with a body": (get(headers=b"Content-Length: 5\r\n") + b"hello" + get(headers=CLOSE), [200, 200]),
    "GET with chunks": (get(headers=CHUNKED) + b"5;a=b\r\nhello\r\n0\r\nX-T: 1\r\n\r\n" + get(headers=CLOSE), [200, 200]),
    "wrong method with a body": (post(b"Content-Length: 5\r\n", b"hello") + get(headers=CLOSE), [405, 200]),
    "OPTIONS *": (get(b"*", CLOSE, method=b"OPTIONS"), [204]),
    "unknown path": (get(b"/no/such/path", CLOSE), [404]),
    "after an unknown path": (get(b"/no/such/path") + get(headers=CLOSE), [404, 200]),
}


@pytest.mark.parametrize("name", ACCEPTED)
def test_accepted(server, name):
    request, expected = ACCEPTED[name]
    answer = exchange(server, request)
    assert statuses(answer) == expected, answer


@pytest.mark.parametrize("name", ACCEPTED)
def test_accepted_byte_by_byte(server, name):
    request, expected = ACCEPTED[name]
    with connect(server) as s:
        for i in range(len(request)):
            s.sendall(request[i : i + 1])
        assert statuses(read_all(s)) == expected


def test_half_closed_client_is_answered(server):
    assert statuses(exchange(server, get() + get(), half_close=True)) == [200, 200]


def test_head_has_no_body(server):
    answer = exchange(server, get(method=b"HEAD") + get(headers=CLOSE))
    head, rest = answer.split(b"\r\n\r\n", 1)
    assert statuses(answer) == [200, 200]
    assert b"content-length:" in head.lower() and rest.startswith(b"HTTP/1.1 200")


def test_405_names_what_is_allowed(server):
    answer = exchange(server, get(method=b"DELETE", headers=CLOSE))
    assert statuses(answer) == [405]
    assert b"allow: get, head" in answer.lower()
    assert b'{"detail":"Method Not Allowed"}' in answer


def test_foreign_origin_and_host(server):
    assert statuses(exchange(server, get(headers=CLOSE + b"Origin: http://evil.example\r\n"))) == [403]
    assert statuses(exchange(server, get(headers=CLOSE + b"Origin: null\r\n"))) == [403]
    assert statuses(exchange(server, get(headers=CLOSE + b"Origin: http://localhost.evil.example\r\n"))) == [403]
    assert statuses(exchange(server, get(headers=CLOSE, host=b"Host: rebound.example\r\n"))) == [403]
    answer = exchange(server, get(headers=CLOSE + b"Origin: http://localhost:3000\r\n"))
    assert statuses(answer) == [200]
    assert b"access-control-allow-origin: http://localhost:3000" in answer.lower()


def test_foreign_page_cannot_open_a_socket(server):
    upgrade = (
        b"Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
        b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nOrigin: http://evil.example\r\n"
    )
    for path in (b"/socket", b"/sockets/events/00000000000000000000000000000000"):
        with connect(server) as s:
            s.sendall(get(path, upgrade))
            assert statuses(s.recv(65536)) == [403]


def test_expect_continue(server):
    with connect(server) as s:
        s.sendall(get(headers=b"Expect: 100-continue\r\nContent-Length: 5\r\n"))
        first = s.recv(65536)
        # /alive takes no body: either answer is right, but the connection must stay in step.
        if statuses(first) == [100]:
            s.sendall(b"hello")
        s.sendall(get(headers=CLOSE))
        assert statuses(read_all(s))[-1] == 200


def test_many_bad_connections_leave_the_server_well(server):
    for _ in range(200):
        with connect(server) as s:
            s.sendall(b"GET /alive HT")
    assert is_alive(server)
