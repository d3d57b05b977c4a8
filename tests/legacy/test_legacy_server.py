"""The 0.53 API on its own port: the server itself."""


def test_probes(server):
    assert server.legacy.get("/alive").json() == {"status": "ok"}
    health = server.legacy.get("/health")
    assert health.content == b'"OK"' and health.headers["content-type"] == "application/json"


def test_what_is_not_there(server):
    missing = server.legacy.get("/api/nothing")
    assert missing.status_code == 404 and missing.json() == {"detail": "Not Found"}
    wrong = server.legacy.post("/alive")
    assert wrong.status_code == 405 and wrong.json() == {"detail": "Method Not Allowed"}


def test_server_info(server):
    before = server.legacy.get("/server_info").json()
    server.create(server.data / "work")  # a hand prepares the workspace
    info = server.legacy.get("/server_info").json()
    assert info["uptime"] > before["uptime"]
    assert info["idle_time"] < info["uptime"]
    resources = info["resources"]
    assert set(resources) == {"cpu_percent", "memory", "disk", "io"}
    assert set(resources["io"]) == {"read_bytes", "write_bytes"}
    memory, disk = resources["memory"], resources["disk"]
    assert 0 < memory["rss"] < memory["vms"] and 0 < memory["percent"] < 100
    assert 0 < disk["used"] <= disk["total"] and 0 <= disk["free"] <= disk["total"] and 0 <= disk["percent"] <= 100
    assert resources["cpu_percent"] >= 0


def test_ways_to_write_a_path(server, work):
    """As the server of 0.53 without its pages: a slash too many leads to the path without it, wherever the path is known."""
    config = f"/api/conversations/{server.create(work)}/config"
    for path in ("/alive/", config + "/"):
        moved = server.legacy.get(path)
        assert (moved.status_code, moved.headers["location"]) == (307, path[:-1])
    for path in ("/Alive", "/api", "/api/conversations//config", config + "/x"):
        assert server.legacy.get(path).status_code == 404
    wrong = server.legacy.put(config)
    assert (wrong.status_code, wrong.json()) == (405, {"detail": "Method Not Allowed"})
    assert "GET" in wrong.headers["allow"]


def test_key(make_server, work):
    server = make_server(key="the-key")
    path = f"/api/conversations/{server.create(work)}/config"
    for headers in ({"X-Session-API-Key": "another"}, {"X-Session-API-Key": ""}):
        for wanted in (path, "/api/conversations/nonsense/config", path.replace("config", "web-hosts")):
            refused = server.legacy.get(wanted, headers=headers)
            assert (refused.status_code, refused.json()) == (401, {"detail": "Unauthorized"})
        for public in ("/alive", "/health", "/server_info", "/openapi.json", "/docs", "/redoc", "/swagger-ui/"):
            assert server.legacy.get(public, headers=headers).status_code == 200
    assert server.legacy.get(path).status_code == 200
