#!/usr/bin/env python3
"""A model's server in the shape of OpenAI's chat completions, for tests: answers by script, misbehaves on request.

    openai_server.py [--port N] [--unix PATH] [--tls PEM] [--key KEY] [--until-eof]

The first line of its output is the port (0 with --unix alone). --tls: a file with key and certificate. --key: other keys get 401. --until-eof: ends when its
standard input does, so that a killed test leaves no server behind.

Served: POST /v1/chat/completions (also without /v1), streamed and whole; GET /v1/models.
Control:
    POST /script     a list of answers, or {"answers": [...], "default": {...}}; replaces what was there
    GET  /requests   every request so far: [{"method","path","headers","body","at"}]; ?wait=N answers once there are N
                     of them; ?gone=N once N clients have gone away before their answer was complete
    GET  /count      how many chat requests there were
    POST /reset      forgets script and requests

Each chat request takes the next answer; an answer with "model" waits for a request for that model; when none is left
the default is given (text "ok"). A request for a conversation's title (no tools, and a system message that speaks of
titles) is answered aside, with an answer that has "for": "title" or a plain one, and is listed by /requests?titles=1 only.
An answer is an object of:

    text, reasoning          what the model says
    tool_calls               [{"name", "arguments": object or string, "id", "index"}]; "arguments_raw": any JSON value,
                             sent as it stands; "no_id": true
    finish_reason, id, usage (null: none), model (which requests it is for)
    status, error            an error answer: {"message", "type", "code", "param"} or a string
    headers                  further response headers; cost: x-litellm-response-cost
    delay                    seconds before the head; hang: true: no answer at all
    pause                    seconds between the pieces of a stream
    piece                    characters of text per piece of a stream (12)
    write                    bytes per write (everything), with "drip": seconds between writes
    cut                      "middle": ends the connection half-way; "clean": a stream ends properly but unfinished
    reset                    true: connection reset instead of an answer; "middle": half-way
    html                     a web page: true or the text; with "status"
    raw, content_type        a body as it stands
    events                   data lines of a stream as they stand, without the closing [DONE]
    choices                  overrides the choices of a whole answer (such as [])
    arguments_bytes          one call of "terminal" with so many bytes of arguments
    bad_utf8                 bytes that are no UTF-8 inside the text
    gzip                     compressed, asked or not
    whole                    answers a streamed request with one JSON text
    nameless                 no id in the answer
"""
import argparse
import asyncio
import gzip
import json
import os
import socket
import ssl
import struct
import sys
import time
import urllib.parse

BODY_MAX = 64 * 1024 * 1024
HEAD_MAX = 256 * 1024


class State:
    def __init__(self):
        self.changed = asyncio.Condition()
        self.reset()

    def reset(self):
        self.answers = []
        self.default = {"text": "ok"}
        self.requests, self.titles = [], []
        self.gone = 0
        self.count = 0

    def take(self, body):
        model = body.get("model") if isinstance(body, dict) else None
        title = "title" if is_title(body) else None
        for i, answer in enumerate(self.answers):
            if answer.get("model") in (None, model) and answer.get("for") == title:
                return self.answers.pop(i)
        return {"text": "A title", "usage": None} if title else self.default


def is_title(body):
    """Whether a request asks for a conversation's title."""
    messages = body.get("messages") if isinstance(body, dict) else None
    if not isinstance(messages, list) or not messages or body.get("tools") or messages[0].get("role") != "system":
        return False
    return "titles for conversations" in json.dumps(messages[0].get("content"))


class Gone(Exception):
    pass


class Connection:
    def __init__(self, server, reader, writer):
        self.server, self.state, self.reader, self.writer = server, server.state, reader, writer

    async def run(self):
        try:
            while await self.one():
                pass
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.LimitOverrunError, Gone):
            pass
        finally:
            self.writer.close()

    async def one(self):
        try:
            head = await self.reader.readuntil(b"\r\n\r\n")
        except asyncio.IncompleteReadError:
            return False
        lines = head.decode("latin-1").split("\r\n")
        self.method, self.target, _ = lines[0].split(" ", 2)
        self.headers = {}
        for line in lines[1:]:
            name, colon, value = line.partition(":")
            if colon:
                self.headers[name.strip().lower()] = value.strip()
        self.body = await self.read_body()
        return await self.route()

    async def read_body(self):
        if "chunked" in self.headers.get("transfer-encoding", ""):
            body = b""
            while True:
                size = int((await self.reader.readline()).split(b";")[0], 16)
                body += await self.reader.readexactly(size)
                await self.reader.readline()
                if size == 0:
                    return body
        size = int(self.headers.get("content-length", 0))
        if size > BODY_MAX:
            raise Gone()
        return await self.reader.readexactly(size)

    async def route(self):
        url = urllib.parse.urlsplit(self.target)
        query = dict(urllib.parse.parse_qsl(url.query))
        path = url.path.removeprefix("/v1")
        if url.path == "/script":
            return await self.control_script()
        if url.path == "/reset":
            self.state.reset()
            return await self.send_json({})
        if url.path == "/count":
            return await self.send_json(self.state.count)
        if url.path == "/requests":
            return await self.control_requests(query)
        await self.record()
        if url.path.startswith("/status/"):
            # For tests of plain HTTP clients: /status/302?location=...
            headers = {"Location": query["location"]} if "location" in query else {}
            return await self.send(int(url.path[8:]), b"moved", "text/plain", headers)
        if self.server.key and self.headers.get("authorization") != "Bearer " + self.server.key:
            return await self.send_json(error_body("Incorrect API key provided.", "invalid_api_key"), 401)
        if path == "/models" and self.method == "GET":
            models = [{"id": m, "object": "model", "created": 1, "owned_by": "tests"} for m in ("test-model", "gpt-4o")]
            return await self.send_json({"object": "list", "data": models})
        if path == "/chat/completions" and self.method == "POST":
            return await self.chat()
        return await self.send_json(error_body("Unknown request URL: %s %s" % (self.method, url.path), "unknown_url"),
                                    404)

    # --- control -----------------------------------------------------------------------------------

    async def control_script(self):
        script = json.loads(self.body)
        if isinstance(script, list):
            script = {"answers": script}
        self.state.answers = list(script["answers"])
        self.state.default = script.get("default", {"text": "ok"})
        return await self.send_json({"answers": len(self.state.answers)})

    async def control_requests(self, query):
        wanted, gone = int(query.get("wait", 0)), int(query.get("gone", 0))
        requests = self.state.titles if query.get("titles") else self.state.requests
        async with self.state.changed:
            await asyncio.wait_for(self.state.changed.wait_for(
                lambda: len(requests) >= wanted and self.state.gone >= gone), 30)
        return await self.send_json(requests)

    async def record(self):
        try:
            body = json.loads(self.body) if self.body else None
        except ValueError:
            body = self.body.decode("utf-8", "replace")
        self.parsed = body
        async with self.state.changed:
            requests = self.state.titles if is_title(body) else self.state.requests
            requests.append({"method": self.method, "path": self.target, "headers": self.headers,
                                        "body": body, "at": time.monotonic()})
            self.state.changed.notify_all()

    # --- chat ---------------------------------------------------------------------------------------

    async def chat(self):
        request = self.parsed if isinstance(self.parsed, dict) else {}
        if not isinstance(request.get("messages"), list) or not request.get("model"):
            return await self.send_json(error_body("you must provide model and messages", None), 400)
        answer = self.state.take(request)
        self.state.count += 1
        watch = asyncio.ensure_future(self.watch())
        work = asyncio.ensure_future(self.answer(request, answer))
        done, _ = await asyncio.wait([watch, work], return_when=asyncio.FIRST_COMPLETED)
        if work in done:
            watch.cancel()
            await asyncio.gather(watch, return_exceptions=True)
            return work.result()
        work.cancel()
        await asyncio.gather(work, return_exceptions=True)
        async with self.state.changed:
            self.state.gone += 1
            self.state.changed.notify_all()
        return False

    async def watch(self):
        """Ends when the client goes away: before it has its answer it sends nothing, so there is nothing to read."""
        if await self.reader.read(1) != b"":
            await asyncio.Event().wait()

    async def answer(self, request, a):
        await asyncio.sleep(a.get("delay", 0))
        if a.get("hang"):
            await asyncio.Event().wait()
        if a.get("reset") is True:
            return self.reset_connection()
        status, headers = a.get("status", 200), dict(a.get("headers", {}))
        if "cost" in a:
            headers["x-litellm-response-cost"] = str(a["cost"])
        if "html" in a:
            page = a["html"] if isinstance(a["html"], str) else \
                "<!DOCTYPE html><html><head><title>It works</title></head><body>No model here.</body></html>"
            return await self.send(status, page.encode(), "text/html", headers, a)
        if "raw" in a:
            return await self.send(status, a["raw"].encode("utf-8", "surrogateescape"),
                                   a.get("content_type", "application/json"), headers, a)
        if "error" in a or status >= 400:
            error = a.get("error", "scripted error")
            body = error_body(error, None) if isinstance(error, str) else {"error": error}
            return await self.send(status if status >= 400 else 500, json.dumps(body).encode(), "application/json",
                                   headers, a)
        if request.get("stream") and not a.get("whole"):
            return await self.stream(request, a, headers)
        body = spoil(json.dumps(whole_answer(request, a, self.state.count)).encode(), a)
        return await self.send(200, body, "application/json", headers, a)

    async def stream(self, request, a, headers):
        usage = (request.get("stream_options") or {}).get("include_usage", False)
        events = a["events"] if "events" in a else stream_events(request, a, self.state.count, usage)
        pieces = [b"data: " + spoil(e.encode(), a) + b"\n\n" for e in events]
        if a.get("cut") == "clean":
            pieces = pieces[:max(1, len(pieces) // 2)]
        elif "events" not in a:
            pieces.append(b"data: [DONE]\n\n")
        if a.get("gzip"):
            return await self.send(200, b"".join(pieces), "text/event-stream", headers, a)
        await self.head(200, "text/event-stream; charset=utf-8", {**headers, "Transfer-Encoding": "chunked"})
        for i, piece in enumerate(pieces):
            if i * 2 >= len(pieces):
                if a.get("cut") == "middle":
                    await self.write(b"%x\r\n" % len(piece) + piece[:len(piece) // 2], a)
                    return False
                if a.get("reset") == "middle":
                    return self.reset_connection()
            await self.write(b"%x\r\n" % len(piece) + piece + b"\r\n", a)
            if a.get("pause"):
                await asyncio.sleep(a["pause"])
        await self.write(b"0\r\n\r\n", a)
        return True

    # --- output -------------------------------------------------------------------------------------

    def reset_connection(self):
        sock = self.writer.get_extra_info("socket")
        if sock.family != socket.AF_UNIX:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.writer.transport.abort()
        return False

    async def write(self, data, a=None):
        size = (a or {}).get("write", 0) or len(data) or 1
        for i in range(0, len(data), size):
            self.writer.write(data[i:i + size])
            await self.writer.drain()
            if a and a.get("drip"):
                await asyncio.sleep(a["drip"])

    async def head(self, status, content_type, headers):
        lines = ["HTTP/1.1 %d %s" % (status, "OK" if status < 400 else "Error"), "Content-Type: " + content_type]
        lines += ["%s: %s" % item for item in headers.items()]
        await self.write("\r\n".join(lines + ["", ""]).encode("latin-1"))

    async def send(self, status, body, content_type, headers, a=None):
        a = a or {}
        headers = dict(headers)
        if a.get("gzip"):
            body = gzip.compress(body)
            headers["Content-Encoding"] = "gzip"
        headers["Content-Length"] = len(body)
        await self.head(status, content_type, headers)
        if a.get("cut") == "middle" or a.get("reset") == "middle":
            await self.write(body[:len(body) // 2], a)
            return self.reset_connection() if a.get("reset") else False
        if self.method != "HEAD":
            await self.write(body, a)
        return True

    async def send_json(self, value, status=200):
        return await self.send(status, json.dumps(value).encode(), "application/json", {})


# --- answers -------------------------------------------------------------------------------------------

def error_body(message, code):
    return {"error": {"message": message, "type": "invalid_request_error", "param": None, "code": code}}


def spoil(data, a):
    return data.replace(b"BAD", b"\xc3\x28\xff") if a.get("bad_utf8") else data


def spoken(a):
    text = a.get("text")
    return (text or "") + "BAD" if a.get("bad_utf8") else text


def calls_of(a, count):
    calls = []
    given = a.get("tool_calls", [])
    if "arguments_bytes" in a:
        given = [{"name": "terminal", "arguments": json.dumps({"command": "x" * (a["arguments_bytes"] - 15)})}]
    for i, call in enumerate(given):
        arguments = call.get("arguments", {})
        arguments = arguments if isinstance(arguments, str) else json.dumps(arguments)
        if "arguments_raw" in call:
            arguments = call["arguments_raw"]
        out = {"index": call.get("index", i), "id": call.get("id", "call_%d_%d" % (count, i)), "type": "function",
               "function": {"name": call.get("name", ""), "arguments": arguments}}
        if call.get("no_id"):
            del out["id"]
        if call.get("no_index"):
            del out["index"]
        calls.append(out)
    return calls


def usage_of(request, a):
    if "usage" in a:
        return a["usage"]
    prompt = len(json.dumps(request.get("messages"))) // 4
    completion = max(1, len(a.get("text") or "") // 4)
    return {"prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": prompt + completion,
            "prompt_tokens_details": {"cached_tokens": 0}, "completion_tokens_details": {"reasoning_tokens": 0}}


def base_of(request, a, count, kind):
    base = {"id": a.get("id", "chatcmpl-%d" % count), "object": kind, "created": int(time.time()),
            "model": request["model"]}
    if a.get("nameless"):
        del base["id"]
    return base


def whole_answer(request, a, count):
    calls = calls_of(a, count)
    message = {"role": "assistant", "content": spoken(a), "refusal": None}
    if "reasoning" in a:
        message["reasoning_content"] = a["reasoning"]
    if calls:
        message["tool_calls"] = [{k: v for k, v in c.items() if k != "index"} for c in calls]
    choice = {"index": 0, "message": message, "logprobs": None,
              "finish_reason": a.get("finish_reason", "tool_calls" if calls else "stop")}
    answer = base_of(request, a, count, "chat.completion")
    answer["choices"] = a.get("choices", [choice])
    usage = usage_of(request, a)
    if usage is not None:
        answer["usage"] = usage
    return answer


def stream_events(request, a, count, include_usage):
    size = a.get("piece", 12)

    def event(delta, finish=None):
        chunk = base_of(request, a, count, "chat.completion.chunk")
        chunk["choices"] = [{"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}]
        return json.dumps(chunk)

    def pieces(text):
        return [text[i:i + size] for i in range(0, len(text), size)]

    events = [event({"role": "assistant", "content": ""})]
    events += [event({"reasoning_content": p}) for p in pieces(a.get("reasoning") or "")]
    events += [event({"content": p}) for p in pieces(spoken(a) or "")]
    calls = calls_of(a, count)
    if "arguments_bytes" in a:
        size = max(size, 65536)
    for call in calls:
        arguments = call["function"]["arguments"]
        parts = pieces(arguments) if isinstance(arguments, str) else [arguments]
        first = {**call, "function": {"name": call["function"]["name"], "arguments": "" if parts[1:] else
                                      parts[0] if parts else ""}}
        events.append(event({"tool_calls": [first]}))
        for part in parts if parts[1:] else []:
            more = {"function": {"arguments": part}}
            if "index" in call:
                more["index"] = call["index"]
            events.append(event({"tool_calls": [more]}))
    events.append(event({}, a.get("finish_reason", "tool_calls" if calls else "stop")))
    usage = usage_of(request, a)
    if include_usage and usage is not None:
        last = base_of(request, a, count, "chat.completion.chunk")
        last.update(choices=[], usage=usage)
        events.append(json.dumps(last))
    return events


# --- main ------------------------------------------------------------------------------------------------

class Server:
    def __init__(self, key):
        self.key, self.state = key, State()

    async def connected(self, reader, writer):
        await Connection(self, reader, writer).run()


async def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--unix")
    parser.add_argument("--tls")
    parser.add_argument("--key")
    parser.add_argument("--until-eof", action="store_true")
    args = parser.parse_args()
    server, port = Server(args.key), 0
    if args.unix:
        await asyncio.start_unix_server(server.connected, args.unix, limit=HEAD_MAX)
    else:
        tls = None
        if args.tls:
            tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
            tls.load_cert_chain(args.tls)
        listener = await asyncio.start_server(server.connected, args.host, args.port, limit=HEAD_MAX, backlog=1024,
                                              ssl=tls)
        port = listener.sockets[0].getsockname()[1]
    sys.stdout.write("%d\n" % port)  # one write, also where Python is told not to buffer
    sys.stdout.flush()
    end = asyncio.Event()
    if args.until_eof:
        loop = asyncio.get_running_loop()
        loop.add_reader(sys.stdin.fileno(), lambda: sys.stdin.buffer.read1(4096) or end.set())
    await end.wait()
    os._exit(0)  # open connections are the tests' leftovers


if __name__ == "__main__":
    try:
        asyncio.run(main())
    except KeyboardInterrupt:
        pass
