"""The 0.53 API: whole trajectories, and feedback, kept and sent."""

import json
import sqlite3
import threading
import uuid
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from http.server import BaseHTTPRequestHandler, HTTPServer, ThreadingHTTPServer

import pytest
from handsd import Handsd
from talk import FINISH, Talk, run


def path_of(talk, rest):
    return f"/api/conversations/{uuid.UUID(talk.id).hex}/{rest}"


def worked(server, work, lines=()):
    talk = Talk(server, work, [*lines, run("echo hi"), FINISH])
    with talk:
        assert talk.say() == "finished"
    return talk


def test_a_trajectory_is_all_events(server, work):
    talk = worked(server, work, [run(f"seq {n} {n + 2000}") for n in range(120)])
    events, start = [], 0
    while True:
        page = server.legacy.get(path_of(talk, "events"), params={"limit": 100, "start_id": start}).json()
        events += page["events"]
        if not page["has_more"]:
            break
        start = events[-1]["id"] + 1
    answer = server.legacy.get(path_of(talk, "trajectory"))
    assert answer.headers["content-type"] == "application/json" and len(answer.content) > 1_000_000
    assert answer.json() == {"trajectory": events}
    missing = server.legacy.get("/api/conversations/nobody/trajectory")
    assert (missing.status_code, missing.json()) == (404, {"detail": "Conversation nobody not found"})


@pytest.mark.parametrize("body", [{}, {"polarity": "so-so"}, {"polarity": None}, [], "x",
                                  {"polarity": "positive", "permissions": "all"}, {"polarity": "positive", "email": 1}])
def test_what_is_no_feedback(server, work, body):
    talk = Talk(server, work, [FINISH])
    talk.socket.close()
    answer = server.legacy.post(path_of(talk, "submit-feedback"), json=body)
    assert answer.status_code == 422 and answer.json()["detail"], answer.text


def feedback_in(data):
    with sqlite3.connect(data / "handsd.db") as db:
        return dict(db.execute("SELECT name, value FROM document WHERE space = 'feedback' ORDER BY name"))


def test_feedback_is_kept_also_when_the_conversation_goes(tmp_path, work):
    with Handsd(tmp_path / "data", scripts=tmp_path / "scripts") as server:
        talk = worked(server, work, [run(f"seq {n} {n + 2000}") for n in range(120)])
        trajectory = server.legacy.get(path_of(talk, "trajectory")).json()["trajectory"]
        answer = server.legacy.post(path_of(talk, "submit-feedback"), json={"polarity": "positive", "email": "a@b"})
        assert answer.status_code == 200, answer.text
        assert answer.json()["statusCode"] == 200
        said = answer.json()["body"]
        assert list(said) == ["message", "feedback_id", "password"]
        assert server.http.delete(f"/api/conversations/{talk.id}").status_code == 200
    kept = feedback_in(tmp_path / "data")
    head = json.loads(kept.pop(said["feedback_id"]))
    assert (head["polarity"], head["permissions"], head["email"]) == ("positive", "private", "a@b")
    assert head["conversation_id"] == uuid.UUID(talk.id).hex and head["pieces"] == len(kept) > 1
    assert json.loads("".join(kept[k] for k in sorted(kept))) == trajectory


def test_of_a_conversation_that_goes_meanwhile_nothing_is_left(tmp_path, work):
    with Handsd(tmp_path / "data", scripts=tmp_path / "scripts") as server:
        talk = worked(server, work)
        for n in range(20):
            assert server.send(talk.id, f"{n}" + "x" * 190_000).status_code == 200
    with closing(sqlite3.connect(tmp_path / "data" / "handsd.db")) as db, db:  # its end is gone, as after a DELETE
        db.execute("UPDATE event SET key = key + 1000 WHERE key IN (SELECT key FROM event ORDER BY key DESC LIMIT 3)")
    with Handsd(tmp_path / "data", scripts=tmp_path / "scripts") as server:
        answer = server.legacy.post(path_of(talk, "submit-feedback"), json={"polarity": "positive"})
        assert (answer.status_code, list(answer.json())) == (404, ["detail"]), answer.text
    assert feedback_in(tmp_path / "data") == {}


class Gateway(BaseHTTPRequestHandler):
    def do_POST(self):
        self.server.got.append(json.loads(self.rfile.read(int(self.headers["content-length"]))))
        self.send_response(self.server.status)
        self.end_headers()
        self.wfile.write(b'{"anything": [1]}')

    def log_message(self, *_):
        pass


@pytest.mark.parametrize("status", [200, 500])
def test_feedback_is_sent_to_the_configured_address(tmp_path, work, status):
    gateway = HTTPServer(("127.0.0.1", 0), Gateway)
    gateway.got, gateway.status = [], status
    threading.Thread(target=gateway.serve_forever, daemon=True).start()
    url = f"http://127.0.0.1:{gateway.server_port}/feedback"
    with Handsd(tmp_path / "data", scripts=tmp_path / "scripts", env={"OH_FEEDBACK_URL": url}) as server:
        talk = worked(server, work)
        trajectory = server.legacy.get(path_of(talk, "trajectory")).json()["trajectory"]
        answer = server.legacy.post(path_of(talk, "submit-feedback"),
                                    json={"polarity": "negative", "permissions": "public", "version": "1"})
    gateway.shutdown()
    assert gateway.got == [{"version": "1", "email": "", "polarity": "negative", "feedback": "negative",
                            "permissions": "public", "trajectory": trajectory}]
    if status == 200:
        assert (answer.status_code, answer.json()) == (200, {"anything": [1]})
    else:
        assert (answer.status_code, answer.json()) == (500, {"error": "Failed to submit feedback"})
    assert len(feedback_in(tmp_path / "data")) == 2


class Silent(BaseHTTPRequestHandler):
    """Takes what it is sent, and answers when it is let."""

    def do_POST(self):
        self.rfile.read(int(self.headers["content-length"]))
        self.server.got.release()
        self.server.answer.wait(60)
        self.send_response(200)
        self.send_header("content-length", "2")
        self.end_headers()
        self.wfile.write(b"{}")

    def log_message(self, *_):
        pass


def test_an_address_that_does_not_answer_is_sent_no_more_than_fits(tmp_path, work):
    gateway = ThreadingHTTPServer(("127.0.0.1", 0), Silent)
    gateway.got, gateway.answer = threading.Semaphore(0), threading.Event()
    threading.Thread(target=gateway.serve_forever, daemon=True).start()
    url = f"http://127.0.0.1:{gateway.server_port}/feedback"
    with Handsd(tmp_path / "data", scripts=tmp_path / "scripts", env={"OH_FEEDBACK_URL": url}) as server:
        talk = worked(server, work)
        for _ in range(75):  # some 28 MB: each text is shown twice
            assert server.send(talk.id, "x" * 190_000).status_code == 200

        def submit():
            return server.legacy.post(path_of(talk, "submit-feedback"), json={"polarity": "positive"}).json()

        with ThreadPoolExecutor(2) as pool:
            sent = []
            for _ in range(2):
                sent.append(pool.submit(submit))
                assert gateway.got.acquire(timeout=20)
            kept = submit()  # while two wait
            assert kept["body"]["feedback_id"], kept
            gateway.answer.set()
            assert [s.result() for s in sent] == [{}, {}]
        assert submit() == {}  # there is room again
    gateway.shutdown()
