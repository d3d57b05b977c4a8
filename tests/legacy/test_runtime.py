"""What a conversation's runtime is called, and where people reach what runs in its workspace."""

import os
import re
import select
import signal
import urllib.request

import pytest

from talk import FINISH, Talk, run


def hosts_of(server, conversation):
    answer = server.legacy.get(f"/api/conversations/{conversation}/web-hosts")
    assert answer.status_code == 200
    return answer.json()["hosts"]


def output_of(server, conversation, command):
    answer = server.http.post(
        "/api/bash/execute_bash_command",
        json={"command": command, "cwd": server.http.get(f"/api/conversations/{conversation}").json()["workspace"]["working_dir"]},
    )
    answer.raise_for_status()
    return answer.json()["stdout"].split()


def test_config(server, work):
    conversation = server.create(work)
    hexadecimal = conversation.replace("-", "")
    for written in (conversation, hexadecimal, hexadecimal.upper()):
        answer = server.legacy.get(f"/api/conversations/{written}/config")
        assert answer.status_code == 200
        assert answer.json() == {"runtime_id": hexadecimal, "session_id": hexadecimal}


@pytest.mark.parametrize("route", ["config", "web-hosts"])
@pytest.mark.parametrize("conversation", ["0" * 32, "f" * 32, "nonsense", "%2e%2e"])
def test_of_no_conversation(server, route, conversation):
    answer = server.legacy.get(f"/api/conversations/{conversation}/{route}")
    assert answer.status_code == 404
    shown = "nonsense" if conversation == "nonsense" else ".." if "%" in conversation else conversation
    assert answer.json() == {"detail": f"Conversation {shown} not found"}


def test_web_hosts_are_the_workspaces_ports(server, work, tmp_path):
    """Two ports for each hand, in the documented ranges, told to what runs there, the same as long as it lives."""
    other = tmp_path / "other"
    other.mkdir()
    seen = []
    for folder in (work, other):
        conversation = server.create(folder)
        hosts = hosts_of(server, conversation)
        first, second = hosts.values()
        assert 50000 <= first < 55000 <= second < 60000
        assert hosts == {f"http://localhost:{first}": first, f"http://localhost:{second}": second}
        names = "echo $APP_PORT_1 $APP_PORT_2 $WORKER_1 $WORKER_2"
        assert output_of(server, conversation, names) == [str(first), str(second)] * 2
        assert hosts_of(server, conversation) == hosts
        seen += [first, second]
    assert len(set(seen)) == 4


def test_what_the_agent_serves_is_reached(server, work):
    (work / "index.html").write_text("here I am")
    serve = (
        "python3 -m http.server $APP_PORT_1 --bind 127.0.0.1 >log 2>&1 & "
        "until (echo >/dev/tcp/127.0.0.1/$APP_PORT_1) 2>/dev/null; do :; done; echo up"
    )
    with Talk(server, work, [run(serve), FINISH]) as talk:
        assert talk.say() == "finished"
        conversation = talk.id
    url = next(iter(hosts_of(server, conversation)))
    with urllib.request.urlopen(url, timeout=10) as page:
        assert page.read() == b"here I am"


def test_host_name(make_server, work):
    server = make_server(env={"DOCKER_HOST_ADDR": "docker.example"})
    hosts = hosts_of(server, server.create(work))
    assert all(re.fullmatch(rf"http://docker\.example:{port}", url) for url, port in hosts.items())
    assert len(hosts) == 2


def test_ports_outlive_the_hand(server, work):
    """A hand that died is started again with the ports that it had."""
    conversation = server.create(work)
    hosts = hosts_of(server, conversation)
    hand = int(output_of(server, conversation, "echo $PPID; ps -o ppid= -p $PPID")[1])
    with open(f"/proc/{hand}/comm", encoding="utf-8") as name:
        assert name.read().strip() == "hand"
    named = os.pidfd_open(hand)
    os.kill(hand, signal.SIGKILL)
    select.select([named], [], [], 10)
    os.close(named)
    assert hosts_of(server, conversation) == hosts
    assert output_of(server, conversation, "echo $APP_PORT_1 $APP_PORT_2") == [str(port) for port in hosts.values()]
