"""Secrets: by value and by URL. A command that names one has it, nobody sees it, and a URL that fails is said and harmless."""

import base64
import json
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from handsd import Handsd, write_script
from talk import FINISH, Talk, run

VALUE = "fetched-value-0123456789"


class Vault:
    """A server of secrets: what it answers by path, and what it was asked."""

    def __init__(self):
        self.answers, self.asked, self.hold = {}, [], threading.Event()
        vault = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                vault.asked.append((self.path, dict(self.headers)))
                status, body, headers = vault.answers.get(self.path, (200, VALUE.encode(), {}))
                if body is None:
                    vault.hold.wait(30)
                    body = b""
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                try:
                    self.wfile.write(body)
                except OSError:
                    pass

            def log_message(self, *_):
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def secret(self, path, **headers):
        return {"kind": "LookupSecret", "url": self.url + path, "headers": headers}


@pytest.fixture
def vault():
    one = Vault()
    yield one
    one.hold.set()
    one.server.shutdown()
    one.server.server_close()


def terminals(talk):
    return [s for s in talk.seen() if s.exit_code is not None]


def test_by_value(server, work):
    with Talk(server, work, [run("echo v=$TOKEN."), run("echo ${#TOKEN}; env | grep -c ^OTHER="), FINISH],
              secrets={"TOKEN": "plain-value-123", "OTHER": {"kind": "StaticSecret", "value": "other-value-123"}}) as talk:
        assert talk.say() == "finished"
        assert terminals(talk)[0].text.strip() == "v=<secret-hidden>."
        assert terminals(talk)[1].text.split() == ["15", "1"]
        assert "plain-value-123" not in json.dumps(talk.events())


def test_by_url(server, work, vault):
    """Fetched when a command names it, once a run, with its headers; hidden as soon as it is known."""
    with Talk(server, work, [run("echo nothing"), run("echo v=$TOKEN. ${#TOKEN}"), run("echo again $TOKEN"), FINISH, FINISH],
              secrets={"TOKEN": vault.secret("/token", Authorization="Bearer key-of-the-vault"), "UNUSED": vault.secret("/unused")}) as talk:
        assert talk.say() == "finished"
        assert [path for path, _ in vault.asked] == ["/token"]
        assert vault.asked[0][1]["Authorization"] == "Bearer key-of-the-vault"
        assert [s.text.strip() for s in terminals(talk)] == ["nothing", f"v=<secret-hidden>. {len(VALUE)}", "again <secret-hidden>"]
        everything = json.dumps(talk.events()) + json.dumps(talk.info())
        assert VALUE not in everything and "key-of-the-vault" not in everything
        prompt = talk.events("SystemPromptEvent")[0]
        assert "$TOKEN" in json.dumps(prompt) and "$UNUSED" in json.dumps(prompt)


def test_a_value_stays_hidden_in_later_runs(server, work, vault):
    with Talk(server, work, [run("echo $TOKEN > file; export COPY=$TOKEN"), FINISH, run("cat file; echo $COPY"), FINISH],
              secrets={"TOKEN": vault.secret("/token")}) as talk:
        talk.say()
        talk.say()
        assert terminals(talk)[-1].text.split() == ["<secret-hidden>"] * 2
        assert VALUE not in json.dumps(talk.events())


def test_a_new_value_in_a_new_run(server, work, vault):
    with Talk(server, work, [run("echo ${#TOKEN} $TOKEN"), FINISH, run("echo ${#TOKEN} $TOKEN"), FINISH],
              secrets={"TOKEN": vault.secret("/token")}) as talk:
        talk.say()
        vault.answers["/token"] = (200, b"rotated", {})
        talk.say()
        assert [s.text.strip() for s in terminals(talk)] == [f"{len(VALUE)} <secret-hidden>", "7 <secret-hidden>"]


@pytest.mark.parametrize("answer, said", [
    ((403, b"no", {}), "403"),
    ((302, b"", {"Location": "http://127.0.0.1:1/elsewhere"}), "302"),
    ((200, b"", {}), "empty"),
    ((200, b"a\0b", {}), "no text"),
    ((200, b"x" * 70000, {}), "65536"),
])
def test_an_answer_that_is_none(server, work, vault, answer, said):
    vault.answers["/token"] = answer
    with Talk(server, work, [run("echo [$TOKEN]"), FINISH], secrets={"TOKEN": vault.secret("/token")}) as talk:
        assert talk.say() == "finished"
        seen = terminals(talk)[0]
        assert seen.text.strip() == "[]" and seen.exit_code == 0
        assert "TOKEN" in seen.prefix and said in seen.prefix


def test_hidden_in_what_the_end_of_a_session_says(tmp_path, work, vault):
    """The conversation runs no more then, but what it fetched is still known."""
    place = {"data": tmp_path / "data", "scripts": tmp_path / "scripts"}
    with Handsd(**place) as server:
        hooks = {"session_end": [{"matcher": "*", "hooks": [{"command": "cat kept"}]}]}
        with Talk(server, work, [run("echo $TOKEN > kept"), FINISH], secrets={"TOKEN": vault.secret("/token")}, hook_config=hooks) as talk:
            assert talk.say() == "finished"
    assert VALUE in (work / "kept").read_text()
    with Handsd(**place) as server:
        said = [e["stdout"] for e in server.events(talk.id) if e["kind"] == "HookExecutionEvent"]
        assert said == ["<secret-hidden>\n"]


@pytest.mark.parametrize("url", ["http://127.0.0.1:1/x", "file:///etc/passwd", "/api/settings/secrets/x", "gopher://127.0.0.1/", "nonsense"])
def test_urls_that_cannot_be_asked(server, work, url):
    with Talk(server, work, [run("echo [$TOKEN]"), FINISH], secrets={"TOKEN": {"kind": "LookupSecret", "url": url}}) as talk:
        assert talk.say() == "finished"
        seen = terminals(talk)[0]
        assert seen.text.strip() == "[]" and "could not be fetched" in seen.prefix
        assert "root:" not in json.dumps(talk.events())


def test_interrupt_while_it_is_fetched(server, work, vault):
    vault.answers["/token"] = (200, None, {})
    with Talk(server, work, [run("echo $TOKEN"), FINISH], secrets={"TOKEN": vault.secret("/token")}) as talk:
        talk.start()
        deadline = time.monotonic() + 30
        while not vault.asked:
            assert time.monotonic() < deadline
            time.sleep(0.01)
        started = time.monotonic()
        talk.post("interrupt").raise_for_status()
        assert talk.until_over() == "paused"
        assert time.monotonic() - started < 5


def test_at_rest_and_after_a_restart(tmp_path, work, vault):
    """Headers are sealed in the store, and still used after a restart."""
    write_script(tmp_path / "scripts", "two", [run("echo $TOKEN"), FINISH] * 2)
    with Handsd(tmp_path / "data", scripts=tmp_path / "scripts") as server:
        with Talk(server, work, model="scripted/two", secrets={"TOKEN": vault.secret("/token", **{"X-Api-Key": "key-of-the-vault"})}) as talk:
            talk.say()
            conversation = talk.id
    for path in (tmp_path / "data").rglob("*"):
        if path.is_file():
            content = path.read_bytes()
            assert b"key-of-the-vault" not in content and VALUE.encode() not in content
            assert base64.b64encode(b"key-of-the-vault") not in content
    with Handsd(tmp_path / "data", scripts=tmp_path / "scripts") as server:
        server.send(conversation, "Again.", run=True)
        deadline = time.monotonic() + 30
        while server.http.get(f"/api/conversations/{conversation}").json()["execution_status"] != "finished":
            assert time.monotonic() < deadline
            time.sleep(0.02)
        assert vault.asked[-1][1]["X-Api-Key"] == "key-of-the-vault"
        assert VALUE not in json.dumps(server.events(conversation))
