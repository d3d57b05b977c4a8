"""VS Code of a workspace: the request for its URL starts it, and it ends with what serves the workspace."""

import os
import re
import signal
import socket
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest

STAND_IN = Path(__file__).resolve().parents[1] / "support" / "vscode_server.py"
NO_VSCODE = {"PATH": "/usr/bin:/bin"}
END_S = 10


def path_with(folder, name="openvscode-server"):
    programs = folder / "programs"
    programs.mkdir(exist_ok=True)
    (programs / name).symlink_to(STAND_IN)
    return {"PATH": f"{programs}:{NO_VSCODE['PATH']}", "HOME": str(folder)}


@pytest.fixture
def server(make_server, tmp_path):
    return make_server(env=path_with(tmp_path))


def url_of(server, conversation, **more):
    answer = server.legacy.get(f"/api/conversations/{conversation}/vscode-url", **more)
    assert answer.status_code == 200, answer.text
    return answer.json()["vscode_url"]


def open_page(url):
    """The process that answers, and the folder that it opens."""
    answer = httpx.get(url)
    assert answer.status_code == 200, answer.text
    number, folder = answer.text.split(" ", 1)
    return int(number), folder


def wait_end(process):
    """Until the process that this descriptor names has ended."""
    import select

    assert select.select([process], [], [], END_S)[0]
    os.close(process)


def test_it_answers_when_its_url_is_there(server, tmp_path):
    work = tmp_path / "my work&more"
    work.mkdir()
    conversation = server.create(work)
    url = url_of(server, conversation)
    found = re.fullmatch(r"http://localhost:(4\d{4})/\?tkn=([0-9a-f]{32})&folder=(/\S+)", url)
    assert found and found.group(3).endswith("/my%20work%26more")
    process, folder = open_page(url)
    assert folder == str(work)
    assert httpx.get(url.replace("tkn=", "tkn=0")).status_code == 403
    assert url_of(server, conversation) == url
    assert open_page(url)[0] == process
    other = tmp_path / "other"
    other.mkdir()
    assert open_page(url_of(server, server.create(other))) != (process, folder)
    assert not any(found.group(2) in line for line in server.log)


def test_many_at_once_get_the_same(server, tmp_path):
    conversation = server.create(tmp_path / "work")
    with ThreadPoolExecutor(8) as pool:
        urls = list(pool.map(lambda _: url_of(server, conversation), range(8)))
    assert len(set(urls)) == 1
    open_page(urls[0])


def test_a_dead_one_is_started_again(server, tmp_path):
    conversation = server.create(tmp_path / "work")
    process, _ = open_page(url_of(server, conversation))
    named = os.pidfd_open(process)
    os.kill(process, signal.SIGKILL)
    wait_end(named)
    seen = process
    for _ in range(20):  # the hand tells it as soon as it sees it; a request may be quicker
        try:
            seen = open_page(url_of(server, conversation))[0]
            break
        except httpx.TransportError:
            server.http.get("/alive")
    assert seen != process


def test_it_ends_with_its_hand(server, tmp_path):
    conversation = server.create(tmp_path / "work")
    named = os.pidfd_open(open_page(url_of(server, conversation))[0])
    assert server.http.delete(f"/api/conversations/{conversation}").status_code == 200
    wait_end(named)


def test_it_ends_with_the_server(server, tmp_path):
    named = os.pidfd_open(open_page(url_of(server, server.create(tmp_path / "work")))[0])
    assert server.stop() == 0
    wait_end(named)


def test_code_server(make_server, tmp_path):
    server = make_server(env=path_with(tmp_path, "code-server"))
    url = url_of(server, server.create(tmp_path / "work"))
    assert open_page(url)[1] == str(tmp_path / "work")


def test_none_is_installed(make_server, tmp_path):
    server = make_server(env={**NO_VSCODE, "HOME": str(tmp_path)})
    assert url_of(server, server.create(tmp_path / "work")) is None
    assert server.http.get("/api/vscode/url").json() == {"url": None}
    assert server.http.get("/api/vscode/status").json() == {"running": False, "enabled": True}


def test_switched_off(make_server, tmp_path):
    server = make_server(env={**path_with(tmp_path), "OH_ENABLE_VSCODE": "false"})
    assert url_of(server, server.create(tmp_path / "work")) is None
    assert server.http.get("/api/vscode/url").status_code == 503
    assert server.http.get("/api/vscode/status").json()["enabled"] is False


def test_one_that_ends_at_once(make_server, tmp_path):
    environment = path_with(tmp_path)
    (tmp_path / "programs" / "openvscode-server").unlink()
    (tmp_path / "programs" / "openvscode-server").write_text("#!/bin/sh\nexit 1\n")
    (tmp_path / "programs" / "openvscode-server").chmod(0o755)
    server = make_server(env=environment)
    answer = server.legacy.get(f"/api/conversations/{server.create(tmp_path / 'work')}/vscode-url")
    assert answer.status_code == 500
    assert answer.json() == {"vscode_url": None, "error": "Error getting VSCode URL: VS Code ended when it started"}


@pytest.mark.parametrize("route", ["legacy", "http"])
def test_pages_of_other_sites_start_nothing(server, tmp_path, route):
    path = f"/api/conversations/{server.create(tmp_path / 'work')}/vscode-url" if route == "legacy" else "/api/vscode/url"
    ask = getattr(server, route).get
    assert ask(path, headers={"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "no-cors"}).status_code == 403
    assert ask(path, headers={"Origin": "https://stranger.example"}).status_code == 403
    assert server.http.get("/api/vscode/status").json()["running"] is False
    for site in ("none", "same-origin", "same-site"):
        assert ask(path, headers={"Sec-Fetch-Site": site}).status_code == 200


def free_port():
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


def test_the_servers_own(make_server, tmp_path):
    """8000's VS Code: one for the server, on the configured port, wherever its clients say that they reach it."""
    port = free_port()
    server = make_server(env={**path_with(tmp_path), "OH_VSCODE_PORT": str(port), "OH_VSCODE_BASE_PATH": "/code/"})
    ask = lambda **query: server.http.get("/api/vscode/url", params=query).json()["url"]  # noqa: E731
    assert server.http.get("/api/vscode/status").json() == {"running": False, "enabled": True}
    url = ask(workspace_dir=str(tmp_path))
    assert re.fullmatch(rf"http://localhost:{port}/code/\?tkn=[0-9a-f]+&folder={tmp_path}", url)
    assert open_page(url)[1] == str(tmp_path)
    assert ask(workspace_dir=str(tmp_path), base_url="https://my.example/") == url.replace(
        f"http://localhost:{port}", "https://my.example")
    assert server.http.get("/api/vscode/status").json() == {"running": True, "enabled": True}


def test_its_port_is_taken(make_server, tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        server = make_server(env={**path_with(tmp_path), "OH_VSCODE_PORT": str(taken.getsockname()[1])})
        assert server.http.get("/api/vscode/url").json() == {"url": None}
