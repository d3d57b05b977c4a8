"""Who may call: session keys, pages of other origins, names that are not ours."""

import json

import httpx
import pytest
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

KEY = "a-key-for-the-tests"
OPEN = ["/alive", "/health", "/ready", "/server_info", "/", "/docs", "/openapi.json"]
CLOSED = [
    ("GET", "/api/conversations/search"), ("GET", "/api/conversations/count"), ("GET", "/api/conversations"),
    ("POST", "/api/conversations"), ("GET", "/api/conversations/{id}"), ("PATCH", "/api/conversations/{id}"),
    ("DELETE", "/api/conversations/{id}"), ("POST", "/api/conversations/{id}/run"),
    ("POST", "/api/conversations/{id}/pause"), ("POST", "/api/conversations/{id}/interrupt"),
    ("POST", "/api/conversations/{id}/secrets"), ("POST", "/api/conversations/{id}/confirmation_policy"),
    ("GET", "/api/conversations/{id}/agent_final_response"), ("GET", "/api/conversations/{id}/events"),
    ("POST", "/api/conversations/{id}/events"), ("GET", "/api/conversations/{id}/events/search"),
    ("GET", "/api/conversations/{id}/events/count"), ("GET", "/api/conversations/{id}/events/{id}"),
    ("POST", "/api/conversations/{id}/events/respond_to_confirmation"), ("GET", "/api/tools/"),
    ("POST", "/api/bash/start_bash_command"), ("POST", "/api/bash/execute_bash_command"),
    ("GET", "/api/bash/bash_events/search"), ("GET", "/api/bash/bash_events/{id}"), ("GET", "/api/bash/bash_events/"),
    ("DELETE", "/api/bash/bash_events"), ("GET", "/api/vscode/url"), ("GET", "/api/vscode/status"), ("GET", "/api/desktop/url"),
]
SOME_ID = "11111111-2222-4333-8444-555555555555"


@pytest.fixture(scope="module")
def guarded(tmp_path_factory):
    from handsd import Handsd

    with Handsd(tmp_path_factory.mktemp("guarded"), key=KEY) as running:
        yield running


def test_probes_need_no_key(guarded):
    for path in OPEN:
        assert httpx.get(guarded.url + path).status_code == 200, path


@pytest.mark.parametrize("method,path", CLOSED)
def test_everything_else_needs_one(guarded, method, path):
    url = guarded.url + path.replace("{id}", SOME_ID)
    for headers in ({}, {"X-Session-API-Key": "wrong"}, {"X-Session-API-Key": ""}, {"Authorization": f"Bearer {KEY}"}):
        answer = httpx.request(method, url, headers=headers)
        assert (answer.status_code, answer.json()) == (401, {"detail": "Unauthorized"}), headers
    assert httpx.request(method, url, params={"session_api_key": KEY}).status_code == 401
    assert httpx.request(method, url, headers={"x-session-api-key": KEY}).status_code != 401


def test_several_keys_from_the_environment(make_server):
    server = make_server(env={"OH_SESSION_API_KEYS_0": "first-key", "OH_SESSION_API_KEYS_1": "second-key"})
    for key, status in (("first-key", 200), ("second-key", 200), ("third-key", 401)):
        assert httpx.get(server.url + "/api/tools/", headers={"X-Session-API-Key": key}).status_code == status


FOREIGN = ["https://evil.example", "null", "http://localhost.evil.example", "file://", "https://127.0.0.1.evil.example"]


@pytest.mark.parametrize("origin", FOREIGN)
def test_a_foreign_page_is_refused(server, origin):
    for method, path in (("GET", "/api/conversations/count"), ("POST", "/api/conversations"), ("GET", "/alive"),
                         ("OPTIONS", "/api/conversations")):
        answer = server.http.request(method, path, headers={"Origin": origin})
        assert answer.status_code == 403, (method, path)
        assert "access-control-allow-origin" not in answer.headers
    with pytest.raises(InvalidStatus) as refused:
        connect(server.socket_url(SOME_ID), origin=origin)
    assert refused.value.response.status_code == 403


@pytest.mark.parametrize("origin", ["http://localhost:5173", "http://127.0.0.1:9", "https://localhost"])
def test_a_page_of_this_machine_is_served(server, origin):
    answer = server.http.get("/api/conversations/count", headers={"Origin": origin})
    assert answer.status_code == 200
    assert answer.headers["access-control-allow-origin"] == origin
    preflight = server.http.options("/api/conversations", headers={
        "Origin": origin, "Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "content-type"})
    assert preflight.status_code in (200, 204)
    assert "POST" in preflight.headers["access-control-allow-methods"]


def test_configured_origins_and_web_url(make_server):
    server = make_server(env={
        "OH_ALLOW_CORS_ORIGINS_0": "https://app.example",
        "OH_ALLOW_CORS_ORIGIN_REGEX": r"https://[a-z]+\.preview\.example",
        "OH_WEB_URL": "https://proxy.example/base/path",
    })
    for origin, status in (("https://app.example", 200), ("https://x.preview.example", 200),
                           ("https://proxy.example", 200), ("https://x.preview.example.evil.example", 403)):
        assert server.http.get("/alive", headers={"Origin": origin}).status_code == status, origin
    assert server.http.get("/base/path/alive", headers={"Host": "proxy.example"}).json() == {"status": "ok"}


def test_a_name_that_is_not_ours(server, guarded):
    assert server.http.get("/alive", headers={"Host": "rebound.example"}).status_code == 403
    assert server.http.get("/alive", headers={"Host": "localhost"}).status_code == 200
    # A key protects against this too, and a proxy may forward any name.
    assert guarded.http.get("/api/tools/", headers={"Host": "anything.example"}).status_code == 200


def test_forms_and_plain_text_are_not_json(server):
    body = json.dumps({"workspace": {"working_dir": "/tmp"}})
    for kind in ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x"):
        answer = server.http.post("/api/conversations", content=body, headers={"Content-Type": kind})
        assert answer.status_code in (415, 422), kind
