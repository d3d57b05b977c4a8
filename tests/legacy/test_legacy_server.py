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


def test_the_document(server):
    document = server.legacy.get("/openapi.json").json()
    assert document["info"]["title"] == "OpenHands" and document["info"]["version"] == "0.53.0"
    assert "/health" in document["paths"]
