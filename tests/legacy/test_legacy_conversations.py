"""The 0.53 API: conversations are made, listed, shown, renamed, started, stopped and deleted; and they are the same ones that
the agent-server API shows."""

import base64
import json
import re
import time
import uuid

import httpx
import pytest
from websockets.sync.client import connect

from handsd import Handsd, processes_in, write_script
from talk import FINISH, LATEST_S, run

INFO_KEYS = [
    "conversation_id", "title", "last_updated_at", "status", "runtime_status", "selected_repository", "selected_branch",
    "git_provider", "trigger", "num_connections", "url", "session_api_key", "created_at", "pr_number",
]
TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z")
UNKNOWN = ["0" * 32, "f" * 32, "abc", "x" * 300, "%C3%A4%E4%BD%A0", "..%2f..%2fetc", "a-b-c", "%00", "search", "count"]


def settled(folder, model="scripted/main", **env):
    """A server whose LLM_MODEL is this one."""
    return Handsd(folder / "data", scripts=folder / "scripts",
                  env={"LLM_MODEL": model, "OH_WORKSPACE_PATH": str(folder / "work"), **env})


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    folder = tmp_path_factory.mktemp("legacy")
    write_script(folder / "scripts", "main", [run("pwd; echo made > made.txt; git status --short"), FINISH])
    with settled(folder) as running:
        running.work = folder / "work"
        yield running


def dashed(conversation):
    return str(uuid.UUID(conversation))


def create(server, **body):
    answer = server.legacy.post("/api/conversations", json=body)
    assert answer.status_code == 200, answer.text
    return answer.json()["conversation_id"]


def info(server, conversation):
    return server.legacy.get(f"/api/conversations/{conversation}").json()


def until_over(server, conversation):
    """The status in which its run ends."""
    with connect(server.socket_url(dashed(conversation)), max_size=2**20) as socket:
        while True:
            event = json.loads(socket.recv(LATEST_S))
            value = event.get("value")
            status = value.get("execution_status") if event.get("key") == "full_state" else \
                value if event.get("key") == "execution_status" else None
            if status and status not in ("running", "idle"):
                return status


def test_a_conversation_from_here_is_there(server):
    answer = server.legacy.post("/api/conversations", json={"initial_user_msg": "Make it."})
    assert answer.status_code == 200
    body = answer.json()
    assert list(body) == ["status", "conversation_id", "message", "conversation_status"]
    assert re.fullmatch("[0-9a-f]{32}", body["conversation_id"])
    assert body == {**body, "status": "ok", "message": None, "conversation_status": "STARTING"}

    here = body["conversation_id"]
    assert until_over(server, here) == "finished"
    there = server.http.get(f"/api/conversations/{dashed(here)}").json()
    place = server.work / here
    assert there["workspace"]["working_dir"] == str(place)
    assert {t["name"] for t in there["agent"]["tools"]} == {"terminal", "file_editor", "task_tracker"}
    assert there["agent"]["condenser"]["kind"] == "LLMSummarizingCondenser"
    assert (place / "made.txt").read_text() == "made\n"
    [ran, _] = [e for e in server.events(dashed(here)) if e["kind"] == "ObservationEvent"]
    output = ran["observation"]["content"][0]["text"]
    assert str(place) in output and "?? made.txt" in output  # a repository, as ever

    shown = info(server, here)
    assert list(shown) == INFO_KEYS
    assert TIME.fullmatch(shown["created_at"]) and TIME.fullmatch(shown["last_updated_at"])
    assert shown["last_updated_at"] > shown["created_at"]
    assert shown == {
        **shown, "conversation_id": here, "status": "RUNNING", "runtime_status": "STATUS$READY", "trigger": "gui",
        "num_connections": 0, "url": f"/api/conversations/{here}", "session_api_key": None, "pr_number": [],
        "selected_repository": None, "selected_branch": None, "git_provider": None,
    }


def test_one_without_a_message(server):
    here = create(server)
    shown = info(server, here)
    assert shown["title"] == f"Conversation {here[:5]}"
    assert shown["last_updated_at"] is None and shown["status"] == "RUNNING"
    assert server.events(dashed(here)) == []


def test_a_conversation_from_there_is_here(server, tmp_path):
    there = server.create(tmp_path / "there", autotitle=False)
    here = uuid.UUID(there).hex
    for written in (here, there, here.upper()):
        shown = info(server, written)
        assert list(shown) == INFO_KEYS
        assert shown["conversation_id"] == here and shown["trigger"] == "openhands_api"
        assert shown["title"] == f"Conversation {here[:5]}" and shown["status"] == "RUNNING"
    assert here in [c["conversation_id"] for c in server.legacy.get("/api/conversations").json()["results"]]
    assert server.legacy.delete(f"/api/conversations/{here}").json() is True
    assert server.http.get(f"/api/conversations/{there}").status_code == 404


def test_connections_are_counted(server):
    here = create(server)
    with connect(server.socket_url(dashed(here))) as socket:
        socket.recv(LATEST_S)
        assert info(server, here)["num_connections"] == 1


def test_what_it_is_told(server):
    instructions = "Speak like a pirate."
    image = "data:image/png;base64,iVBORw0KGgo="
    here = create(server, initial_user_msg="Look.", image_urls=[image], conversation_instructions=instructions,
                  selected_branch="main", git_provider="gitlab")
    assert until_over(server, here) == "finished"
    log = server.events(dashed(here))
    [prompt] = [e for e in log if e["kind"] == "SystemPromptEvent"]
    assert instructions in json.dumps(prompt)
    message = next(e for e in log if e["kind"] == "MessageEvent" and e["source"] == "user")
    assert [c.get("text") or c["image_urls"] for c in message["llm_message"]["content"]] == ["Look.", [image]]
    shown = info(server, here)
    assert shown["selected_branch"] == "main" and shown["git_provider"] == "gitlab"
    # The first message gives it a title, by and by; until then it has the one of a new one.
    assert shown["title"] in (f"Conversation {here[:5]}", "Look.")


def test_a_suggested_task_is_put_into_words(server):
    task = {"git_provider": "github", "task_type": "OPEN_ISSUE", "repo": "o/r", "issue_number": 7, "title": "It breaks"}
    here = create(server, suggested_task=task, initial_user_msg="not this")
    assert until_over(server, here) == "finished"
    assert info(server, here)["trigger"] == "suggested_task"
    message = next(e for e in server.events(dashed(here)) if e["kind"] == "MessageEvent")
    text = message["llm_message"]["content"][0]["text"]
    assert "#7" in text and "o/r" in text and "It breaks" in text and "not this" not in text


def test_mcp_servers_are_given_to_the_agent(server):
    here = create(server, mcp_config={
        "stdio_servers": [{"name": "files", "command": "true", "args": ["-x"], "env": {"A": "b"}}],
        "sse_servers": [{"url": "http://127.0.0.1:9/sse", "api_key": "very-secret-key"}],
        "shttp_servers": [{"url": "http://127.0.0.1:9/mcp"}]})
    text = server.http.get(f"/api/conversations/{dashed(here)}").text
    servers = json.loads(text)["agent"]["mcp_config"]["mcpServers"]
    assert set(servers) == {"files", "sse_1", "shttp_1"} and servers["shttp_1"]["url"] == "http://127.0.0.1:9/mcp"
    assert "very-secret-key" not in text


# ---- what is refused

def test_unsupported(server):
    before = server.http.get("/api/conversations/count").json()
    for body, status, told in [
        ({"repository": "o/r"}, 400, {"status": "error", "message": "Unable to access repo o/r",
                                      "msg_id": "STATUS$GIT_PROVIDER_AUTHENTICATION_ERROR"}),
        ({"create_microagent": {"repo": "o/m"}}, 400, {"status": "error", "message": "Unable to access repo o/m",
                                                       "msg_id": "STATUS$GIT_PROVIDER_AUTHENTICATION_ERROR"}),
        ({"replay_json": "[]"}, 400, {"status": "error", "message": "This server does not replay trajectories",
                                      "msg_id": "CONFIGURATION$NOT_SUPPORTED"}),
    ]:
        answer = server.legacy.post("/api/conversations", json=body)
        assert answer.status_code == status and answer.json() == told
    assert server.http.get("/api/conversations/count").json() == before


@pytest.mark.parametrize("body, type, where", [
    ({"foo": 1}, "extra_forbidden", ["body", "foo"]),
    ({"conversation_id": "a" * 32}, "extra_forbidden", ["body", "conversation_id"]),
    ({"git_provider": "x"}, "enum", ["body", "git_provider"]),
    ({"initial_user_msg": 1}, "string_type", ["body", "initial_user_msg"]),
    ({"image_urls": "x"}, "list_type", ["body", "image_urls"]),
    ({"suggested_task": {}}, "missing", ["body", "suggested_task", "git_provider"]),
    ({"mcp_config": {"other": []}}, "extra_forbidden", ["body", "mcp_config", "other"]),
    ({"mcp_config": {"sse_servers": [{}]}}, "missing", ["body", "mcp_config", "sse_servers", 0, "url"]),
])
def test_bad_requests(server, body, type, where):
    answer = server.legacy.post("/api/conversations", json=body)
    assert answer.status_code == 422
    assert (answer.json()["detail"][0]["type"], answer.json()["detail"][0]["loc"]) == (type, where)


def test_a_body_is_required(server):
    for content in (b"", b"{"):
        answer = server.legacy.post("/api/conversations", content=content, headers={"Content-Type": "application/json"})
        assert answer.status_code == 422 and answer.json()["detail"][0]["loc"][0] == "body"


def test_mcp_servers_with_one_name(server):
    twice = {"name": "a", "command": "true"}
    answer = server.legacy.post("/api/conversations", json={"mcp_config": {"stdio_servers": [twice, twice]}})
    assert answer.status_code == 422


def test_settings(tmp_path):
    with Handsd(tmp_path / "none") as server:
        answer = server.legacy.post("/api/conversations", json={})
        assert answer.status_code == 400
        assert answer.json() == {"status": "error", "message": "Settings not found",
                                 "msg_id": "CONFIGURATION$SETTINGS_NOT_FOUND"}
    for number, (env, status) in enumerate([
        ({"LLM_MODEL": "openai/gpt-4o"}, 400),
        ({"LLM_MODEL": "openai/gpt-4o", "LLM_API_KEY": "  "}, 400),
        ({"LLM_MODEL": "openai/gpt-4o", "LLM_API_KEY": "sk-something"}, 200),
        ({"LLM_MODEL": "openai/local", "LLM_BASE_URL": "http://127.0.0.1:9/v1"}, 200),
    ]):
        folder = tmp_path / str(number)
        with Handsd(folder, env={**env, "OH_WORKSPACE_PATH": str(folder / "work")}) as server:
            answer = server.legacy.post("/api/conversations", json={})
            assert answer.status_code == status, env
            if status == 400:
                assert answer.json() == {
                    "status": "error", "msg_id": "STATUS$ERROR_LLM_AUTHENTICATION",
                    "message": "Error authenticating with the LLM provider. Please check your API key"}


def test_an_id_of_ones_own(tmp_path):
    write_script(tmp_path / "scripts", "main", [FINISH])
    with settled(tmp_path, ALLOW_SET_CONVERSATION_ID="1") as server:
        wanted = uuid.uuid4().hex
        assert create(server, conversation_id=wanted) == wanted
        again = server.legacy.post("/api/conversations", json={"conversation_id": wanted, "initial_user_msg": "Go on."})
        assert again.json() == {"status": "ok", "conversation_id": wanted, "message": None,
                                "conversation_status": "RUNNING"}
        assert until_over(server, wanted) == "finished"
        answer = server.legacy.post("/api/conversations", json={"conversation_id": "mine"})
        assert answer.status_code == 422 and answer.json()["detail"][0]["loc"] == ["body", "conversation_id"]


# ---- unknown ones

@pytest.mark.parametrize("conversation", UNKNOWN)
def test_unknown(server, conversation):
    url = f"/api/conversations/{conversation}"
    shown = httpx.URL(url).path.split("/", 3)[3]
    answer = server.legacy.get(url)
    if "/" in shown:  # a path of its own
        assert answer.status_code == 404 and answer.json() == {"detail": "Not Found"}
        return
    if conversation == "%00":
        assert answer.status_code in (200, 400)
        return
    assert answer.status_code == 200 and answer.content == b"null"
    assert server.legacy.delete(url).content == b"false"
    patched = server.legacy.patch(url, json={"title": "x"})
    assert patched.status_code == 404
    assert patched.json() == {"status": "error", "message": "Conversation not found", "msg_id": "CONVERSATION$NOT_FOUND"}
    started = server.legacy.post(f"{url}/start", json={})
    assert started.status_code == 404 and started.json() == {"status": "error", "conversation_id": shown}
    stopped = server.legacy.post(f"{url}/stop")
    assert stopped.status_code == 200 and stopped.json() == {
        "status": "ok", "conversation_id": shown, "message": "Conversation was not running",
        "conversation_status": "STOPPED"}


def test_a_key(tmp_path):
    with Handsd(tmp_path / "data", key="the-key") as server:
        for method, path in [("POST", "/api/conversations"), ("GET", "/api/conversations?limit=x"),
                             ("POST", "/api/conversations/x/stop"), ("PATCH", "/api/conversations/x")]:
            with httpx.Client(base_url=server.legacy_url) as stranger:
                answer = stranger.request(method, path)
                assert answer.status_code == 401 and answer.json() == {"detail": "Unauthorized"}
                wrong = stranger.request(method, path, headers={"X-Session-API-Key": "no"})
                assert wrong.status_code == 401
        assert server.legacy.get("/api/conversations").json() == {"results": [], "next_page_id": None}


# ---- titles

def test_titles(server):
    here = create(server)
    url = f"/api/conversations/{here}"
    for title in ["A title", "  stripped\t", "ü" * 200, "\"quotes\" <b> \\", "\u202e🎉"]:
        answer = server.legacy.patch(url, json={"title": title})
        assert answer.status_code == 200 and answer.content == b"true"
        assert info(server, here)["title"] == title.strip()
        assert server.http.get(f"/api/conversations/{dashed(here)}").json()["title"] == title.strip()
    server.legacy.patch(url, json={"title": "   "})
    assert info(server, here)["title"] == f"Conversation {here[:5]}"
    for body, type in [({"title": ""}, "string_too_short"), ({"title": "x" * 201}, "string_too_long"), ({}, "missing"),
                       ({"title": "x", "more": 1}, "extra_forbidden"), ({"title": 7}, "string_type")]:
        answer = server.legacy.patch(url, json=body)
        assert answer.status_code == 422 and answer.json()["detail"][0]["type"] == type


# ---- in use or not

def test_stop_and_start(tmp_path):
    write_script(tmp_path / "scripts", "main", [run("sleep 1000 & sleep 1001"), FINISH])
    with settled(tmp_path) as server:
        here = create(server, initial_user_msg="Wait.")
        place = tmp_path / "work" / here
        with connect(server.socket_url(dashed(here), "?resend_mode=all"), max_size=2**20) as socket:
            while json.loads(socket.recv(LATEST_S)).get("kind") != "ActionEvent":
                pass
            url = f"/api/conversations/{here}"
            stopped = server.legacy.post(f"{url}/stop")
            assert stopped.status_code == 200
            assert stopped.json() == {"status": "ok", "conversation_id": here, "conversation_status": "RUNNING",
                                      "message": "Conversation stopped successfully"}
            assert list(stopped.json()) == ["status", "conversation_id", "message", "conversation_status"]
            shown = info(server, here)
            assert shown["status"] == "STOPPED" and shown["url"] is None and shown["runtime_status"] is None
            while True:
                event = json.loads(socket.recv(LATEST_S))
                if event.get("key") == "full_state" and event["value"]["execution_status"] != "running":
                    break
        assert event["value"]["execution_status"] == "paused"
        kinds = [e["kind"] for e in server.events(dashed(here))]
        assert kinds.count("ActionEvent") == sum(k in ("ObservationEvent", "AgentErrorEvent") for k in kinds)
        until_none(lambda: processes_in(place))
        again = server.legacy.post(f"{url}/stop").json()
        assert again == {"status": "ok", "conversation_id": here, "message": "Conversation was not running",
                         "conversation_status": "STOPPED"}
        assert server.legacy.post(f"{url}/start", json={}).json() == {
            "status": "ok", "conversation_id": here, "message": None, "conversation_status": "STARTING"}
        assert server.legacy.post(f"{url}/start", json={"providers_set": ["github"]}).json()["conversation_status"] == "RUNNING"
        assert info(server, here)["status"] == "RUNNING"
        server.legacy.post(f"{url}/stop")
        server.send(dashed(here), "Go on.", run=True)  # who acts on it on the other port makes it live again
        assert until_over(server, here) == "finished"
        assert info(server, here)["status"] == "RUNNING"
        assert server.legacy.post(f"{url}/start", json={"providers_set": ["nobody"]}).status_code == 422
        no_body = server.legacy.post(f"{url}/start")
        assert no_body.status_code == 422
        assert no_body.json()["detail"] == [{"type": "missing", "loc": ["body"], "msg": "Field required", "input": None}]


def until_none(look):
    end = time.monotonic() + 10
    while found := look():
        assert time.monotonic() < end, found
        time.sleep(0.02)


def test_after_a_kill(tmp_path):
    write_script(tmp_path / "scripts", "main", [run("sleep 1000"), FINISH])
    server = settled(tmp_path).start()
    here = create(server, initial_user_msg="Wait.")
    with connect(server.socket_url(dashed(here), "?resend_mode=all"), max_size=2**20) as socket:
        while json.loads(socket.recv(LATEST_S)).get("kind") != "ActionEvent":
            pass
    server.kill()
    with settled(tmp_path) as server:
        shown = info(server, here)
        assert (shown["status"], shown["url"], shown["runtime_status"]) == ("STOPPED", None, None)
        assert shown["trigger"] == "gui"
        started = server.legacy.post(f"/api/conversations/{here}/start", json={})
        assert started.json()["conversation_status"] == "STARTING"
        assert info(server, here)["status"] == "RUNNING"
        assert server.send(dashed(here), "Go on.", run=True).status_code == 200
        assert until_over(server, here) == "finished"


def test_deleted(server):
    here = create(server, initial_user_msg="Make it.")
    assert until_over(server, here) == "finished"
    assert server.legacy.delete(f"/api/conversations/{here}").content == b"true"
    assert server.legacy.delete(f"/api/conversations/{here}").content == b"false"
    assert info(server, here) is None
    assert server.http.get(f"/api/conversations/{dashed(here)}").status_code == 404
    assert (server.work / here / "made.txt").exists()  # what was worked on stays


# ---- pages

def test_pages(tmp_path):
    with settled(tmp_path) as server:
        made = [create(server, **({"create_microagent": {"repo": ""}} if i % 3 == 0 else {})) for i in range(7)][::-1]
        pages, page = [], None
        while True:
            answer = server.legacy.get("/api/conversations", params={"limit": 3, **({"page_id": page} if page else {})})
            pages.append([c["conversation_id"] for c in answer.json()["results"]])
            page = answer.json()["next_page_id"]
            if not page:
                break
            assert base64.b64decode(page) == str(3 * len(pages)).encode()
        assert pages == [made[:3], made[3:6], made[6:]]

        def listed(**query):
            answer = server.legacy.get("/api/conversations", params=query)
            assert answer.status_code == 200
            return [c["conversation_id"] for c in answer.json()["results"]], answer.json()["next_page_id"]

        assert listed() == (made, None) and listed(limit=10**12) == (made, None)
        assert listed(limit=0) == ([], "MA==") and listed(page_id="OTk=") == ([], None)
        assert listed(page_id="") == (made, None)
        # Filters come after paging, so that a page can be short.
        assert listed(conversation_trigger="microagent_management", limit=4) == ([made[0], made[3]], "NA==")
        assert listed(conversation_trigger="slack") == ([], None) and listed(selected_repository="o/r") == ([], None)
        for bad in ("x", "%%%", "LTE=", "eA==", "A" * 100, base64.b64encode(b"9" * 20).decode()):
            answer = server.legacy.get("/api/conversations", params={"page_id": bad})
            assert answer.status_code == 400 and isinstance(answer.json()["detail"], str)
        for query in ({"limit": "abc"}, {"limit": -1}, {"conversation_trigger": "nobody"}):
            assert server.legacy.get("/api/conversations", params=query).status_code == 422
