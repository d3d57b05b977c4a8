#!/usr/bin/env python3
"""A small MCP server that behaves as it is told, well or badly.

mcp_server.py [OPTION...]            on standard streams
mcp_server.py --http json|sse [...]  on a free port, which it prints; until its standard input ends

Options: --greeting TEXT (a line that is no message, first), --hold FILE (is ready once FILE exists),
--die (ends while starting), --garbage (says nothing else), --flood (likewise, fast), --wrong-id, --version V,
--log FILE (each method that it is sent, a line each, and the headers of HTTP), --tools N (so many more of them).
"""

import argparse
import base64
import json
import os
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

PIXEL = base64.b64encode(base64.b16decode(
    "89504E470D0A1A0A0000000D49484452000000010000000108060000001F15C4890000000D49444154789C6360606060000000050001"
    "A5F645400000000049454E44AE426082")).decode()


def tool(name, description="", schema=None, **annotations):
    return {"name": name, "description": description, "annotations": annotations,
            "inputSchema": schema or {"type": "object", "properties": {"text": {"type": "string"}}}}


def text(value, **more):
    return {"content": [{"type": "text", "text": value}], **more}


class Server:
    """What is asked and answered, on whatever transport. `send` is for what nobody asked for."""

    def __init__(self, options, send):
        self.options, self.send, self.more = options, send, []
        self.lock = threading.Lock()
        self.waiting = {}
        self.cancelled = threading.Event()

    def log(self, line):
        if self.options.log:
            with open(self.options.log, "a", encoding="utf-8") as out:
                out.write(line + "\n")

    def tools(self):
        found = [
            tool("echo", "Gives the text back.", readOnlyHint=True), tool("env"), tool("pid"), tool("die"), tool("hang"),
            tool("fail"), tool("refuse"), tool("image"), tool("big"), tool("more"), tool("ask"), tool("odd name/ü" + "x" * 90),
            tool("structured"), tool("resource"),
            tool("typed", "Has a nested schema.",
                 {"type": "object", "required": ["who"], "additionalProperties": False,
                  "properties": {"who": {"type": "object", "properties": {"name": {"type": "string"}}}}}),
        ]
        return found + [tool(f"tool_{i}") for i in range(self.options.tools)] + self.more

    def handle(self, message):
        """The answer, or None."""
        method, number = message.get("method"), message.get("id")
        self.log(method or f"answer {json.dumps(message.get('result', message.get('error')))}")
        if method is None:
            waiter = self.waiting.pop(number, None)
            if waiter:
                waiter.answer = message
                waiter.set()
            return None
        if method == "notifications/cancelled":
            self.cancelled.set()
        if number is None:
            return None
        try:
            result = self.result(method, message.get("params", {}))
        except KeyError as e:
            return {"jsonrpc": "2.0", "id": number, "error": {"code": -32602, "message": f"no such thing: {e}"}}
        return {"jsonrpc": "2.0", "id": number + 1000 if self.options.wrong_id else number, "result": result}

    def result(self, method, params):
        if method == "initialize":
            self.start()
            return {"protocolVersion": self.options.version or params["protocolVersion"],
                    "capabilities": {"tools": {"listChanged": True}}, "serverInfo": {"name": "test", "version": "1"}}
        if method == "tools/list":  # three on a page
            at, tools = int(params.get("cursor", 0)), self.tools()
            more = {"nextCursor": str(at + 3)} if at + 3 < len(tools) else {}
            return {"tools": tools[at:at + 3], **more}
        if method == "tools/call":
            return self.call(params["name"], params.get("arguments", {}))
        raise KeyError(method)

    def start(self):
        while self.options.hold and not os.path.exists(self.options.hold):
            time.sleep(0.02)
        if self.options.die:
            print("the key is", os.environ.get("TOKEN", "unknown") + "!" * int(os.environ.get("SHOUT", 0)), file=sys.stderr, flush=True)
            os._exit(3)
        junk = "this is no JSON at all" if self.options.garbage else json.dumps(
            {"jsonrpc": "2.0", "method": "notifications/message", "params": {"data": "x" * 2000}})
        while self.options.garbage or self.options.flood:
            print(junk, flush=True)

    def call(self, name, arguments):
        given = arguments.get("text", "")
        if name == "echo":
            return text(given)
        if name == "env":
            return text(os.environ.get(given, "(unset)"))
        if name == "pid":
            return text(str(os.getpid()))
        if name == "die":
            os._exit(7)
        if name == "hang":
            self.cancelled.wait(60)
            self.log("stopped")
            return text("late")
        if name == "fail":
            return text("it went wrong", isError=True)
        if name == "refuse":
            raise KeyError(given)
        if name == "image":
            image = {"type": "image", "data": PIXEL, "mimeType": "image/png"}
            return {"content": [{"type": "text", "text": "two of them"}, image, image,
                                {"type": "audio", "data": "AAAA", "mimeType": "audio/wav"}]}
        if name == "big":
            return text("a" * int(given) + "END")
        if name == "more":
            self.more.append(tool(given))
            self.send({"jsonrpc": "2.0", "method": "notifications/tools/list_changed"})
            return text("there is more")
        if name == "ask":
            return text(json.dumps([self.ask("ping"), self.ask("roots/list"), self.ask("sampling/createMessage")]))
        if name == "structured":
            return {"content": [], "structuredContent": {"answer": 42}}
        if name == "resource":
            return {"content": [{"type": "resource", "resource": {"uri": "test://a", "mimeType": "text/plain",
                                                                  "text": "inside"}},
                                {"type": "resource_link", "uri": "test://b", "name": "b"}]}
        if name == "typed" or name in [t["name"] for t in self.tools()]:
            return text(json.dumps(arguments))
        raise KeyError(name)

    def ask(self, method):
        waiter = threading.Event()
        with self.lock:
            number = f"s{len(self.waiting)}{time.monotonic_ns()}"
            self.waiting[number] = waiter
        self.send({"jsonrpc": "2.0", "id": number, "method": method})
        assert waiter.wait(20)
        return {k: waiter.answer[k] for k in ("result", "error") if k in waiter.answer}


def stdio(options):
    lock = threading.Lock()

    def send(message):
        with lock:
            print(json.dumps(message), flush=True)

    server = Server(options, send)
    if options.greeting:
        print(options.greeting, flush=True)

    def answer(message):
        result = server.handle(message)
        if result:
            send(result)

    for line in sys.stdin:
        threading.Thread(target=answer, args=(json.loads(line),), daemon=True).start()
    server.log("end of input")
    os._exit(0)


def http(options):
    server = Server(options, lambda message: None)
    sessions = set()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_):
            pass

        def reply(self, status, body=b"", kind="application/json", **headers):
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            for name, value in headers.items():
                self.send_header(name.replace("_", "-"), value)
            self.end_headers()
            self.wfile.write(body)

        def do_DELETE(self):
            server.log("DELETE " + ("known" if self.headers.get("Mcp-Session-Id") in sessions else "unknown"))
            sessions.discard(self.headers.get("Mcp-Session-Id"))
            self.reply(200)

        def do_POST(self):
            message = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            session = self.headers.get("Mcp-Session-Id")
            server.log("headers " + json.dumps({k.lower(): v for k, v in self.headers.items()}))
            if options.hold and os.path.exists(options.hold + ".forget"):
                os.remove(options.hold + ".forget")
                sessions.clear()
            if message.get("method") != "initialize" and session not in sessions:
                return self.reply(404 if session else 400, b"no session")
            answer = server.handle(message)
            more = {}
            if message.get("method") == "initialize":
                session = f"session-{len(sessions)}-{time.monotonic_ns()}"
                sessions.add(session)
                more["Mcp_Session_Id"] = session
            if answer is None:
                return self.reply(202, **more)
            if options.http == "json":
                return self.reply(200, json.dumps(answer).encode(), **more)
            note = {"jsonrpc": "2.0", "method": "notifications/message", "params": {"level": "info", "data": "x"}}
            body = "".join(f"event: message\ndata: {json.dumps(m)}\n\n" for m in (note, answer))
            return self.reply(200, body.encode(), "text/event-stream", **more)

    listener = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    listener.daemon_threads = True
    threading.Thread(target=listener.serve_forever, daemon=True).start()
    print(listener.server_port, flush=True)
    sys.stdin.read()
    os._exit(0)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--http", choices=["json", "sse"])
    for name in ("greeting", "hold", "log", "version"):
        parser.add_argument("--" + name)
    for name in ("die", "garbage", "flood", "wrong-id"):
        parser.add_argument("--" + name, action="store_true")
    parser.add_argument("--tools", type=int, default=0)
    options = parser.parse_args()
    (http if options.http else stdio)(options)


main()
