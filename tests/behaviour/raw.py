"""Requests byte by byte, and what is wrong with those that are refused."""

import socket

from talk import LATEST_S


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
