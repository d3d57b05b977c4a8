"""The command line: what each command prints and how it exits."""

import json
import os
import re
import signal
import socket
import subprocess
from pathlib import Path

import httpx
import pytest

from handsd import HANDSD, Handsd, write_script

KEPT = {k: v for k, v in os.environ.items()
        if not k.startswith(("OH_", "SESSION_API", "LLM_", "OPENAI_", "OPENHANDS_"))}


def handsd(*args, env=None, cwd=None, timeout=60, stdin=""):
    return subprocess.run([HANDSD, *map(str, args)], env={**KEPT, **(env or {})}, cwd=cwd, timeout=timeout, input=stdin,
                          capture_output=True, text=True)


# ---- commands


def test_version_and_help():
    version = handsd("version")
    assert version.returncode == 0 and re.fullmatch(r"handsd \d+\.\d+\.\d+\n", version.stdout)
    assert handsd("--version").stdout == version.stdout
    for args in (("--help",), ("serve", "--help"), ("run", "--help"), ("doctor", "--help")):
        shown = handsd(*args)
        assert shown.returncode == 0 and shown.stdout.startswith("usage: handsd") and not shown.stderr
    for args in ((), ("dance",), ("serve", "--dance"), ("serve", "extra"), ("run", "--dance"), ("run", "a", "b"),
                 ("serve", "--port", "x"), ("serve", "--port", "70000"), ("run", "--confirm", "maybe", "x"),
                 ("run", "--max-iterations", "0", "x"), ("run", "--resume", "x"), ("doctor", "--dance")):
        wrong = handsd(*args)
        assert wrong.returncode == 2 and wrong.stderr and not wrong.stdout, args


@pytest.mark.parametrize("args", [["version"], ["--help"], ["doctor", "--print-config-docs"], ["completion", "zsh"]])
def test_what_cannot_be_printed_is_a_failure(args):
    with open("/dev/full", "w") as full:
        failed = subprocess.run([HANDSD, *args], env=KEPT, stdout=full, stderr=subprocess.PIPE, text=True, timeout=60)
    assert failed.returncode == 1 and re.fullmatch("handsd: standard output: .*\n", failed.stderr)


def test_doctor(tmp_path):
    report = handsd("doctor", "--data", tmp_path / "none")
    assert report.returncode == 0, report.stdout
    assert "WRONG" not in report.stdout and not (tmp_path / "none").exists()
    assert handsd("doctor", env={"HANDSD_HAND": "/nowhere"}).returncode == 1
    bad = tmp_path / "bad.json"
    bad.write_text("{")
    assert handsd("doctor", "--config", bad).returncode == 1
    docs = handsd("doctor", "--print-config-docs").stdout
    assert "`session_api_keys`" in docs and "`conversations_path`" in docs and "LLM_MODEL" in docs


# ---- serve


def test_what_serve_refuses(tmp_path):
    data = ("--data", tmp_path / "data")
    exposed = handsd("serve", "--host", "0.0.0.0", "--port", "0", *data)
    assert exposed.returncode == 1 and "--insecure" in exposed.stderr
    assert handsd("serve", "--legacy-port", "many", *data).returncode == 2
    assert handsd("serve", "--config", tmp_path / "missing.json", *data).returncode == 1
    wrong = tmp_path / "wrong.json"
    for text in ("{", "[]", '{"session_api_keys": 5}', '{"session_api_keys": [5]}', '{"max_connections": "many"}',
                 '{"conversation_idle_ttl_seconds": -1}', '{"conversations_path": []}'):
        wrong.write_text(text)
        refused = handsd("serve", "--port", "0", "--config", wrong, *data)
        assert refused.returncode == 1 and refused.stderr.startswith("handsd: "), text
    assert not (tmp_path / "data").exists()
    refused = handsd("serve", "--port", "0", env={"OH_DATABASE_URL": "postgres://somewhere/x"})
    assert refused.returncode == 1 and "sqlite" in refused.stderr


def test_a_busy_port_and_a_busy_directory(make_server, tmp_path):
    server = make_server(data=tmp_path / "data")
    port = str(httpx.URL(server.url).port)
    busy = handsd("serve", "--port", port, "--data", tmp_path / "other")
    assert busy.returncode == 1 and port in busy.stderr
    busy = handsd("serve", "--port", "0", "--legacy-port", port, "--data", tmp_path / "other")
    assert busy.returncode == 1 and port in busy.stderr
    taken = handsd("serve", "--port", "0", "--data", tmp_path / "data")
    assert taken.returncode == 1 and "data" in taken.stderr
    assert server.http.get("/alive").status_code == 200


def test_legacy_port_off_and_insecure(make_server):
    assert make_server(args=["--legacy-port", "off"]).http.get("/alive").status_code == 200
    open_to_all = make_server(args=["--host", "0.0.0.0", "--insecure"])
    port = httpx.URL(open_to_all.url).port
    assert httpx.get(f"http://127.0.0.1:{port}/alive").status_code == 200
    with_key = make_server(args=["--host", "0.0.0.0"], key="k1")
    assert httpx.get(f"http://127.0.0.1:{httpx.URL(with_key.url).port}/api/tools/").status_code == 401


def test_the_python_servers_configuration(make_server, tmp_path):
    file = tmp_path / "config.json"
    file.write_text(json.dumps({
        "session_api_keys": ["from-file"], "conversations_path": str(tmp_path / "conversations"),
        "workspace_path": str(tmp_path / "project"), "enable_vscode": True, "vscode_port": 8001, "webhooks": [],
        "telemetry": {"exporter": "none"}, "secret_key": "a secret", "bash_events_dir": "x", "unknown_key": 1,
    }))


    for env, args in (({"OPENHANDS_AGENT_SERVER_CONFIG_PATH": str(file)}, []), ({}, ["--config", str(file)])):
        process = subprocess.Popen([HANDSD, "serve", "--port", "0", *args], env={**KEPT, **env}, stdout=subprocess.PIPE,
                                   stderr=subprocess.PIPE, text=True)
        url = re.match(r"listening on (\S+) \(agent-server\)", process.stdout.readline())[1]
        assert httpx.get(url + "/api/tools/", headers={"X-Session-API-Key": "from-file"}).status_code == 200
        assert httpx.get(url + "/api/tools/").status_code == 401
        assert (tmp_path / "conversations" / "handsd.db").exists()
        process.terminate()
        log = process.communicate(timeout=10)[1]
        assert process.returncode == 0
        assert "unknown_key" in log
    # A secret key is configured: none is made.
    assert not (tmp_path / "conversations" / "handsd.key").exists()
    # The environment wins over the file.
    server = make_server(args=["--config", str(file)], env={"OH_SESSION_API_KEYS": '["from-environment"]'})
    assert httpx.get(server.url + "/api/tools/", headers={"X-Session-API-Key": "from-file"}).status_code == 401
    assert httpx.get(server.url + "/api/tools/", headers={"X-Session-API-Key": "from-environment"}).status_code == 200


def test_an_empty_list_of_keys_does_not_open_the_server(make_server, tmp_path):
    file = tmp_path / "config.json"
    file.write_text('{"session_api_keys": []}')
    server = make_server(args=["--config", str(file)], key="the-only-key")
    assert httpx.get(server.url + "/api/tools/").status_code == 401
    assert server.http.get("/api/tools/").status_code == 200
    server.stop()
    log = "".join(server.log)
    assert "SESSION_API_KEY" in log and "the-only-key" not in log


def test_keys_without_effect_are_named(make_server, tmp_path):
    file = tmp_path / "config.json"
    file.write_text('{"webhooks": [], "deferred_init": true, "static_files_path": null, "bash_events_retention_seconds": 60}')
    server = make_server(args=["--config", str(file)], env={"OH_WEBHOOKS_0_BASE_URL": "http://hook.example"})
    server.stop()
    log = "".join(server.log)
    for name in ("webhooks", "deferred_init", "bash_events_retention_seconds"):
        assert log.count(f"{name} is accepted, but not used yet") == 1
    assert "static_files_path" not in log


def test_doctor_knows_a_dead_server(make_server, tmp_path):
    server = make_server(data=tmp_path / "data")
    assert server.url in handsd("doctor", "--data", tmp_path / "data").stdout
    server.kill()
    assert (tmp_path / "data" / "handsd.url").exists()
    assert server.url not in handsd("doctor", "--data", tmp_path / "data").stdout


def test_secrets_leave_the_environment(make_server):
    server = make_server(key="k-very-secret", env={"OH_SECRET_KEY": "s-very-secret", "LLM_API_KEY": "l-very-secret"})
    if os.geteuid() == 0:
        with open(f"/proc/{server.process.pid}/environ", "rb") as environ:
            assert b"very-secret" not in environ.read()
    else:
        with pytest.raises(PermissionError):
            open(f"/proc/{server.process.pid}/environ", "rb").read()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_signals_end_the_server_in_order(make_server, tmp_path, number):
    server = make_server(data=tmp_path / "data")
    assert (tmp_path / "data" / "handsd.url").read_text().strip() == server.url
    assert server.end(number) == 0
    assert not (tmp_path / "data" / "handsd.url").exists()


def test_a_second_signal_ends_it_at_once(make_server, tmp_path):
    write_script(tmp_path / "scripts", "stubborn", [
        {"calls": [{"name": "terminal", "arguments": {"command": "trap '' TERM INT HUP; sleep 600"}}]}])
    server = make_server(scripts=tmp_path / "scripts")
    conversation = server.create(tmp_path / "work", "scripted/stubborn", autotitle=False)
    server.send(conversation, "Go.", run=True)
    server.process.terminate()
    server.process.terminate()
    assert server.process.wait(5) in (0, 128 + signal.SIGTERM)


def test_no_new_connections_after_the_end(make_server):
    server = make_server()
    url = httpx.URL(server.url)
    server.stop()
    with pytest.raises(OSError):
        socket.create_connection((url.host, url.port), timeout=2)


# ---- run


def test_run_by_itself(tmp_path):
    (tmp_path / "work").mkdir()
    done = handsd("run", "Write a small program", "--model", "scripted/demo", "--workspace", tmp_path / "work", "--data",
                  tmp_path / "data")
    assert done.returncode == 0, done.stderr
    text = done.stdout
    assert "$ sh check.sh" in text and "exit code 1" in text and "exit code 0" in text
    assert "ok: 2 3 5 7 11 13" in text
    assert re.search(r"finished in [\d.]+ s: 5 steps, \$0\.0000, 4500 tokens in, 400 out \(conversation [0-9a-f-]{36}\)", text)
    assert "\033" not in text
    assert (tmp_path / "work" / "primes.sh").exists()


def test_a_database_in_a_project_stays_out_of_git(tmp_path):
    subprocess.run(["git", "init", "-q", tmp_path], check=True)
    assert handsd("run", "Go.", "--model", "scripted/demo", "--workspace", "elsewhere", cwd=tmp_path).returncode == 0
    assert (tmp_path / "workspace/conversations/handsd.key").exists()
    seen = subprocess.run(["git", "-C", tmp_path, "status", "--porcelain"], capture_output=True, text=True, check=True).stdout
    assert seen == "?? elsewhere/\n"


def test_run_prints_events(tmp_path):
    done = handsd("run", "Finish.", "--model", "scripted/finish", "--json", "--data", tmp_path / "data", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    events = [json.loads(line) for line in done.stdout.splitlines()]
    kinds = [e["kind"] for e in events]
    for kind in ("MessageEvent", "ActionEvent", "ObservationEvent"):
        assert kind in kinds
    assert "full_state" not in [e.get("key") for e in events]


@pytest.mark.parametrize("more", [[], ["--json"]])
def test_run_on_a_full_disk(tmp_path, more):
    with open("/dev/full", "w") as full:
        failed = subprocess.run([HANDSD, "run", "Go.", "--model", "scripted/finish", "--data", tmp_path / "data", *more], env=KEPT,
                                cwd=tmp_path, stdout=full, stderr=subprocess.PIPE, text=True, timeout=60)
    assert failed.returncode == 1 and failed.stderr.splitlines()[-1] == "handsd: standard output: No space left on device"


def test_closed_standard_streams_are_nobodys(tmp_path):
    """Files of ours must not take their numbers: what is printed would go into them."""
    done = subprocess.run(["sh", "-c", 'exec "$@" <&- >&- 2>&-', "sh", HANDSD, "run", "Go.", "--model", "scripted/finish", "--data",
                           str(tmp_path / "data")], env=KEPT, cwd=tmp_path, timeout=60)
    assert done.returncode == 0
    assert handsd("run", "Go on.", "--resume", "last", "--data", tmp_path / "data", cwd=tmp_path).returncode == 0


def test_run_makes_no_repository(tmp_path):
    """Of somebody's directory, which may be their home; a client of the server gets one."""
    (tmp_path / "mine").mkdir()
    for place in ("mine", "new"):
        assert handsd("run", "Finish.", "--model", "scripted/finish", "--workspace", place, "--data", tmp_path / "data", cwd=tmp_path).returncode == 0
        assert (tmp_path / place).is_dir() and not (tmp_path / place / ".git").exists()
    with Handsd(tmp_path / "data") as server:
        server.create(tmp_path / "mine", autotitle=False)
        assert (tmp_path / "mine" / ".git").is_dir()


def test_run_takes_its_task_from_everywhere(tmp_path):
    write_script(tmp_path / "scripts", "words", [{"text": "Understood."}])
    file = tmp_path / "task.txt"
    file.write_text("From a file.\n")
    common = ("--json", "--data", tmp_path / "data", "--scripts", tmp_path / "scripts")
    env = {"LLM_MODEL": "scripted/words", "LLM_API_KEY": "not-needed-here"}
    for args, stdin, expected in ((["-f", file], "", "From a file."), (["-"], "From standard input.\n", "From standard input."),
                                  (["--", "-dashed"], "", "-dashed")):
        done = handsd("run", *common, *args, env=env, stdin=stdin, cwd=tmp_path)
        assert done.returncode == 0, done.stderr
        sent = [e for e in map(json.loads, done.stdout.splitlines()) if e["kind"] == "MessageEvent" and e["source"] == "user"]
        assert sent[0]["llm_message"]["content"][0]["text"] == expected
        assert "not-needed-here" not in done.stdout


def test_run_fails_plainly(tmp_path):
    data = ("--data", tmp_path / "data")
    for args, words in ((["run", "x", *data], "LLM_MODEL"), (["run", "--model", "m", *data], "no task"),
                        (["run", "--model", "m", "-f", tmp_path / "missing", *data], "missing"),
                        (["run", "--model", "m", "x", "--resume", "99999999222243338444555555555555", *data], "handsd")):
        failed = handsd(*args, cwd=tmp_path)
        assert failed.returncode == 1 and words in failed.stderr, (args, failed.stderr)
    write_script(tmp_path / "scripts", "broken", [{"error": {"status": 400, "message": "no such thing"}}])
    failed = handsd("run", "x", "--model", "scripted/broken", "--scripts", tmp_path / "scripts", *data, cwd=tmp_path)
    assert failed.returncode == 1
    assert "error: LLMBadRequestError" in failed.stdout and "error in" in failed.stdout


def test_what_reads_conversations_makes_no_database(tmp_path):
    for args in (["run", "--resume", "last"], ["export", "--all"], ["export", "99999999-2222-4333-8444-555555555555"]):
        failed = handsd(*args, "--data", tmp_path / "none", cwd=tmp_path)
        assert failed.returncode == 1 and failed.stderr.startswith("handsd: there are no conversations in "), failed.stderr
    assert not (tmp_path / "none").exists()


def test_run_uses_the_server_that_owns_the_data(make_server, tmp_path):
    server = make_server(data=tmp_path / "data", key="k1")
    for env, status in (({"SESSION_API_KEY": "k1"}, 0), ({}, 1)):
        done = handsd("run", "Finish.", "--model", "scripted/finish", "--data", tmp_path / "data", cwd=tmp_path, env=env)
        assert done.returncode == status, done.stderr
    assert server.url in done.stderr and "SESSION_API_KEY" in done.stderr
    assert server.http.get("/api/conversations/count").json() == 1


def test_a_server_that_hangs_can_be_left(make_server, tmp_path):
    server = make_server(data=tmp_path / "data")
    os.kill(server.process.pid, signal.SIGSTOP)
    try:
        process = subprocess.Popen([HANDSD, "run", "Go.", "--model", "scripted/finish", "--data", str(tmp_path / "data")], env=KEPT,
                                   cwd=tmp_path, stderr=subprocess.PIPE, text=True)
        status = Path("/proc", str(process.pid), "status")
        while not int(re.search(r"SigBlk:\s*(\w+)", status.read_text())[1], 16) & 1 << signal.SIGINT - 1:
            assert process.poll() is None  # until signals are its own business
        process.send_signal(signal.SIGINT)
        assert server.url in process.communicate(timeout=20)[1] and process.returncode == 130
    finally:
        os.kill(server.process.pid, signal.SIGCONT)


def test_run_does_not_believe_a_dead_server(tmp_path):
    """What a killed server left behind may be anybody's port by now."""
    with socket.create_server(("127.0.0.1", 0)) as other:
        (tmp_path / "data").mkdir()
        (tmp_path / "data" / "handsd.url").write_text(f"http://127.0.0.1:{other.getsockname()[1]}\n")
        other.settimeout(0.1)
        done = handsd("run", "Finish.", "--model", "scripted/finish", "--data", tmp_path / "data", cwd=tmp_path)
        assert done.returncode == 0, done.stderr
        with pytest.raises(TimeoutError):
            other.accept()


def test_two_at_once_are_told_apart(tmp_path):
    write_script(tmp_path / "scripts", "slow", [{"calls": [{"name": "terminal", "arguments": {"command": "sleep 600"}}]}])
    common = ("--data", str(tmp_path / "data"), "--scripts", str(tmp_path / "scripts"), "--workspace", str(tmp_path))
    first = subprocess.Popen([HANDSD, "run", "Go.", "--model", "scripted/slow", *common], env=KEPT, stdout=subprocess.PIPE,
                             text=True)
    while "sleep 600" not in first.stdout.readline():
        pass
    second = handsd("run", "Go.", "--model", "scripted/slow", *common)
    assert second.returncode == 1 and "in use by another command" in second.stderr
    first.send_signal(signal.SIGTERM)
    first.communicate(timeout=20)
    assert first.returncode == 130


def test_run_goes_on(tmp_path):
    write_script(tmp_path / "scripts", "two", [{"text": "First answer."}, {"text": "Second answer."}])
    common = ("--data", tmp_path / "data", "--scripts", tmp_path / "scripts")
    first = handsd("run", "One.", "--model", "scripted/two", *common, cwd=tmp_path)
    conversation = re.search(r"conversation ([0-9a-f-]{36})", first.stdout)[1]
    second = handsd("run", "Two.", "--resume", conversation, *common, cwd=tmp_path)
    assert second.returncode == 0 and "Second answer." in second.stdout and "First answer." not in second.stdout


def test_run_without_a_terminal_does_not_confirm(tmp_path):
    write_script(tmp_path / "scripts", "act", [{"calls": [{"name": "terminal", "arguments": {"command": "touch made"}}]},
                                               {"text": "Made."}])
    common = ("--data", tmp_path / "data", "--scripts", tmp_path / "scripts", "--workspace", tmp_path)
    asked = handsd("run", "Go.", "--model", "scripted/act", "--confirm", "always", *common)
    assert asked.returncode == 1 and "confirmation" in asked.stdout
    assert not (tmp_path / "made").exists()
    conversation = re.search(r"conversation ([0-9a-f-]{36})", asked.stdout)[1]
    accepted = handsd("run", "--resume", conversation, *common)  # run means accept
    assert accepted.returncode == 0 and (tmp_path / "made").exists()


def test_run_confirms_at_a_terminal(tmp_path):
    import pty

    write_script(tmp_path / "scripts", "act", [
        {"calls": [{"name": "terminal", "arguments": {"command": "touch first"}}]},
        {"calls": [{"name": "terminal", "arguments": {"command": "touch second"}}]}, {"text": "Made."}])
    parent, child = pty.openpty()
    process = subprocess.Popen([HANDSD, "run", "Go.", "--model", "scripted/act", "--confirm", "always", "--data",
                                str(tmp_path / "data"), "--scripts", str(tmp_path / "scripts"), "--workspace",
                                str(tmp_path)], env=KEPT, stdin=child, stdout=child, stderr=child)
    os.close(child)
    shown = b""

    def read_until(text):
        nonlocal shown
        while text not in shown:
            shown += os.read(parent, 4096)

    read_until(b"why not: ")
    os.write(parent, b"I do not want that one\n")
    read_until(b"rejected: I do not want that one")
    shown = shown.split(b"rejected: ")[-1]
    read_until(b"why not: ")
    os.write(parent, b"y\n")
    assert process.wait(30) == 0
    os.close(parent)
    assert not (tmp_path / "first").exists() and (tmp_path / "second").exists()


def test_only_a_word_typed_at_the_question_answers_it(tmp_path):
    import pty

    write_script(tmp_path / "scripts", "act", [
        {"calls": [{"name": "terminal", "arguments": {"command": "touch first"}}]}, {"text": "Made."}])
    parent, child = pty.openpty()
    os.write(parent, b"y\n")  # before there is any question
    process = subprocess.Popen([HANDSD, "run", "Go.", "--model", "scripted/act", "--confirm", "always", "--data",
                                str(tmp_path / "data"), "--scripts", str(tmp_path / "scripts"), "--workspace",
                                str(tmp_path)], env=KEPT, stdin=child, stdout=child, stderr=child)
    os.close(child)
    shown = b""
    for answer in (b"\n", b"  \n", b"rather not\n"):
        while b"why not: " not in shown:
            shown += os.read(parent, 4096)
        shown = shown.split(b"why not: ", 1)[1]
        os.write(parent, answer)
    while b"rejected: rather not" not in shown:
        shown += os.read(parent, 4096)
    assert process.wait(30) == 0
    os.close(parent)
    assert not (tmp_path / "first").exists()


def test_run_is_interrupted(tmp_path):
    write_script(tmp_path / "scripts", "slow", [{"calls": [{"name": "terminal", "arguments": {"command": "sleep 600"}}]}])
    process = subprocess.Popen([HANDSD, "run", "Go.", "--model", "scripted/slow", "--data", str(tmp_path / "data"),
                                "--scripts", str(tmp_path / "scripts"), "--workspace", str(tmp_path)],
                               env=KEPT, stdout=subprocess.PIPE, text=True)
    while "sleep 600" not in process.stdout.readline():
        pass
    process.send_signal(signal.SIGINT)
    rest = process.communicate(timeout=20)[0]
    assert process.returncode == 130
    assert "interrupted" in rest and "paused in" in rest


def test_what_programs_print_cannot_reach_the_terminal(tmp_path):
    write_script(tmp_path / "scripts", "rude", [{"text": "\u001b]0;title\u0007\u009b31mred\u001b[2J end"}])
    done = handsd("run", "Go.", "--model", "scripted/rude", "--data", tmp_path / "data", "--scripts", tmp_path / "scripts",
                  cwd=tmp_path)
    assert done.returncode == 0 and "end" in done.stdout
    assert not re.search(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]", done.stdout)
