"""What clients can do on sockets, and to one conversation at the same time."""

import json
import socket
import threading
import time
import uuid

import httpx
import pytest
from websockets.exceptions import ConnectionClosed

from raw import create_body, raw, request
from talk import FINISH, LATEST_S, Others, Talk, call, memory_kb, run


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
