"""A conversation's files as pages: by key or cookie, sandboxed, and never from outside of the workspace."""

import os
from uuid import uuid4

import httpx
import pytest

KEY = "key; with spaces"


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    root = tmp_path_factory.mktemp("place")
    work = root / "work"
    (work / "sub" / "empty").mkdir(parents=True)
    (work / "index.html").write_text("<h1>root</h1>")
    (work / "sub" / "index.html").write_text("<h1>sub</h1>")
    (work / "a b.css").write_text("a{}")
    (work / "data.bin").write_bytes(os.urandom(300_000))
    (root / "outside").write_text("secret")
    (work / "link").symlink_to(root / "outside")
    (work / "inside").symlink_to("sub/index.html")
    (work / "whole").symlink_to(work / "sub")  # a link's whole path is fine when it stays inside
    (work / "sub" / "whole").symlink_to(work / "whole" / ".." / "index.html")
    (work / "out").symlink_to(f"{work}/../outside")
    (work / "beside").symlink_to(f"{work}-not/file")
    (work / "round").symlink_to(work / "round")
    os.mkfifo(work / "fifo")
    return work


def test_files_directories_and_what_is_refused(server, place):
    conversation = server.create(place)

    def get(path):
        return server.http.get(f"/api/conversations/{conversation}/workspace{path}")

    for path, text, kind in [
        ("", "<h1>root</h1>", "text/html; charset=utf-8"),
        ("/", "<h1>root</h1>", "text/html; charset=utf-8"),
        ("/sub", "<h1>sub</h1>", "text/html; charset=utf-8"),
        ("/inside", "<h1>sub</h1>", "application/octet-stream"),
        ("/whole", "<h1>sub</h1>", "text/html; charset=utf-8"),
        ("/whole/whole", "<h1>root</h1>", "application/octet-stream"),
        ("/a%20b.css", "a{}", "text/css; charset=utf-8"),
    ]:
        answer = get(path)
        assert (path, answer.status_code, answer.text, answer.headers["content-type"]) == (path, 200, text, kind)
        assert answer.headers["content-security-policy"] == "sandbox"
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert "content-disposition" not in answer.headers
    assert get("/data.bin").content == (place / "data.bin").read_bytes()
    for path, status, detail in [
        ("/sub/empty", 404, "No index.html in directory"),
        ("/nope", 404, "File not found"),
        ("/index.html/below", 404, "File not found"),
        ("/%2e%2e/outside", 400, "Path is outside the workspace"),
        ("/sub/..%2f..%2foutside", 400, "Path is outside the workspace"),
        ("/link", 400, "Path is outside the workspace"),
        ("/out", 400, "Path is outside the workspace"),
        ("/beside", 400, "Path is outside the workspace"),
        ("/round", 400, "Path is outside the workspace"),
        ("/fifo", 400, "Path is outside the workspace"),
    ]:
        answer = get(path)
        assert (path, answer.status_code, answer.json()) == (path, status, {"detail": detail})
    missing = uuid4()
    answer = server.http.get(f"/api/conversations/{missing}/workspace")
    assert (answer.status_code, answer.json()) == (404, {"detail": f"Conversation not found: {missing}"})


def test_the_cookie_is_good_for_this_alone(make_server, place):
    server = make_server(key=KEY)
    conversation = server.create(place)
    path = f"/api/conversations/{conversation}/workspace/sub/index.html"
    with httpx.Client(base_url=server.url) as browser:
        assert browser.get(path).status_code == 401
        assert browser.post("/api/auth/workspace-session").status_code == 401
        answer = browser.post("/api/auth/workspace-session", headers={"X-Session-API-Key": KEY})
        assert answer.status_code == 204
        cookie = answer.headers["set-cookie"]
        attributes = [part.strip() for part in cookie.split(";")]
        assert attributes[0].startswith("oh_workspace_session_key=")
        assert set(attributes[1:]) == {
            "HttpOnly", "Max-Age=315360000", "Path=/api/conversations", "SameSite=None", "Secure", "Partitioned"
        }
        header = {"Cookie": "other=1; " + attributes[0]}
        assert browser.get(path, headers=header).text == "<h1>sub</h1>"
        assert browser.get(path, headers={"Cookie": "oh_workspace_session_key=wrong"}).status_code == 401
        # Of an older key, and not partitioned: the browser sends both.
        both = {"Cookie": "oh_workspace_session_key=wrong; " + attributes[0]}
        assert browser.get(path, headers=both).text == "<h1>sub</h1>"
        assert browser.get(f"/api/conversations/{conversation}", headers=header).status_code == 401
        assert browser.delete("/api/auth/workspace-session", headers=header).status_code == 401
        answer = browser.delete("/api/auth/workspace-session", headers={"X-Session-API-Key": KEY})
        assert answer.status_code == 204
        assert "Max-Age=0" in answer.headers["set-cookie"]
    assert server.http.get(path).status_code == 200


def test_the_cookie_fits_a_server_below_a_path(make_server):
    server = make_server(env={"OH_WEB_URL": "https://example.org/agents/"})
    answer = server.http.post("/agents/api/auth/workspace-session")
    assert (answer.status_code, "; Path=/agents/api/conversations;" in answer.headers["set-cookie"]) == (204, True)
