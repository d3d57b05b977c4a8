"""The sign that a run is over. Official clients arm for it only after the answer to POST run, and take the first one that
comes: one per run, not early, not twice."""

import json
import threading
import time

from websockets.sync.client import connect

from handsd import write_script

CONVERSATIONS = 10  # few, so that this client itself sees answers when they come
RUNS = 100  # each; 1,000 in all
EARLIEST_S = 0.1
LATEST_S = 10


def is_final(event):
    return (event["kind"] == "ConversationStateUpdateEvent" and event["key"] == "full_state"
            and event["value"]["execution_status"] != "running")


def run_and_watch(server, conversation, problems):
    try:
        with connect(server.socket_url(conversation), max_size=2**20) as socket:
            first = json.loads(socket.recv(LATEST_S))
            assert is_final(first), "the first frame is the full state"
            for n in range(RUNS):
                assert server.send(conversation, f"message {n}").status_code == 200
                assert server.http.post(f"/api/conversations/{conversation}/run").status_code == 200
                answered = time.monotonic()
                while not is_final(event := json.loads(socket.recv(LATEST_S))):
                    pass
                waited = time.monotonic() - answered
                assert waited >= EARLIEST_S, f"run {n}: the sign came {waited * 1000:.0f} ms after the answer"
                assert event["value"]["execution_status"] == "finished"
            try:
                while True:
                    extra = json.loads(socket.recv(0.5))
                    assert not is_final(extra), "a second sign came"
            except TimeoutError:
                pass
    except Exception as e:  # noqa: BLE001 reported by the test
        problems.append(e)


def test_each_fast_run_has_exactly_one_sign(server, tmp_path):
    problems = []
    ids = [server.create(tmp_path / "work", "scripted/text", autotitle=False) for _ in range(CONVERSATIONS)]
    threads = [threading.Thread(target=run_and_watch, args=(server, i, problems)) for i in ids]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert not problems, problems[0]


def test_a_subscriber_far_behind_gets_everything_and_the_sign(make_server, tmp_path):
    big = "x" * 60000
    write_script(tmp_path / "scripts", "flood", [{"calls": [{"name": "think", "arguments": {"thought": f"{i} {big}"}}]}
                                                 for i in range(120)] + [{"text": "the end"}])
    server = make_server(scripts=tmp_path / "scripts")
    conversation = server.create(tmp_path / "work", "scripted/flood", stuck_detection=False)
    with connect(server.socket_url(conversation), max_size=2**20, max_queue=1) as socket, \
            connect(server.socket_url(conversation), max_size=2**20) as quick:
        assert server.send(conversation, "go", run=True).status_code == 200
        quick.recv(LATEST_S)
        while not is_final(json.loads(quick.recv(60))):
            pass
        # Only now does the other one read.
        seen = []
        socket.recv(LATEST_S)
        while not is_final(event := json.loads(socket.recv(60))):
            if event.get("key") != "stats":
                seen.append(event["id"])
        assert event["value"]["execution_status"] == "finished"
    assert len(seen) > 240, "the flood did not happen"
    assert seen == [e["id"] for e in server.events(conversation)], "each event once, in order"
