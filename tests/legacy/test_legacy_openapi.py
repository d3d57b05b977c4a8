"""/openapi.json of port 3000 against the documented 0.53 API (documented_api.txt), for the operations that there are; and the
pages that show it."""

import re
from pathlib import Path

import pytest

from handsd import HANDSD
from openapi_facts import Ours, all_differences, documented, unsound

FACTS = Path(__file__).with_name("documented_api.txt")
CONVERSATION = "/api/conversations/{conversation_id}"

# Not in that document, but named by other documents, or there in the server of 0.53.
BESIDES = {f"GET {CONVERSATION}/vscode-url", f"GET {CONVERSATION}/web-hosts", "GET /server_info"}

# "operation: difference" → why it is meant.
DEVIATIONS = {
    "POST /api/conversations/{conversation_id}/submit-feedback: has a required body":
        "the document leaves out the body that its route reads; without a polarity there is no feedback",
    f"POST {CONVERSATION}/upload-files: gives no file_urls": "the server of 0.53 gives uploaded_files, and so do we",
}


@pytest.fixture(scope="module")
def ours(server):
    return Ours(server.legacy.get("/openapi.json").json())


def test_what_is_there(ours):
    have = set(ours.operations())
    assert {"GET /health", "GET /alive", f"GET {CONVERSATION}/config"} | BESIDES <= have
    assert sorted(have - set(documented(FACTS)) - BESIDES) == []


def test_operations_are_as_documented(ours):
    found = all_differences(ours, documented(FACTS))
    assert "\n".join(sorted(found - set(DEVIATIONS))) == ""
    assert "\n".join(sorted(set(DEVIATIONS) - found)) == ""


def test_the_document(ours):
    """What the page of `GET …/config` shows of it."""
    assert list(unsound(ours)) == []
    document = ours.document
    assert document["openapi"] == "3.1.0"
    assert document["info"] == {"title": "OpenHands", "description": "OpenHands: Code Less, Make More", "version": "0.53.0"}
    assert document["components"]["securitySchemes"] == {
        "APIKeyHeader": {"type": "apiKey", "in": "header", "name": "X-Session-API-Key"}
    }
    error = ours.schemas["ValidationError"]
    assert error["required"] == ["loc", "msg", "type"]
    assert set(error["properties"]) == {"loc", "msg", "type"}
    assert ours.schemas["HTTPValidationError"]["properties"]["detail"]["items"] == {"$ref": "#/components/schemas/ValidationError"}
    config = ours.operations()[f"GET {CONVERSATION}/config"]
    assert config["security"] == [{"APIKeyHeader": []}]
    (parameter,) = config["parameters"]
    assert parameter["schema"] == {"type": "string", "title": "Conversation Id"}
    assert config["responses"]["422"]["content"]["application/json"]["schema"] == {"$ref": "#/components/schemas/HTTPValidationError"}
    for name, operation in ours.operations().items():
        assert ("security" in operation) == ("/api/" in name)


def test_pages(server):
    """/docs and, a level deeper, /swagger-ui/: the same page with addresses that lead to the same files."""
    docs, below = server.legacy.get("/docs"), server.legacy.get("/swagger-ui/")
    assert docs.status_code == below.status_code == 200
    assert "OpenHands" in below.text and "Agent Server" not in below.text
    assert below.headers["content-security-policy"] == docs.headers["content-security-policy"]
    moved = server.legacy.get("/swagger-ui")
    assert (moved.status_code, moved.headers["location"]) == (307, "/swagger-ui/")
    assert "/api/conversations" in server.legacy.get("/redoc").text
    assert server.http.get("/swagger-ui/").status_code == 404
    addresses = re.findall(r'(?:src|href)="([^"]+)"', below.text)
    assert addresses == ["../" + address for address in re.findall(r'(?:src|href)="([^"]+)"', docs.text)]
    for address in addresses:
        assert server.legacy.get("/swagger-ui/" + address).status_code == 200
    if not (Path(HANDSD).parent / "swagger-ui").exists():
        pytest.skip("built without npm: the pages are plain lists")
    assert len(addresses) == 5


def test_below_a_path(make_server):
    """A proxy shows it below a path: pages, and what they ask for, lie there too."""
    server = make_server(env={"OH_WEB_URL": "https://house.example/handsd/"})
    for client in (server.http, server.legacy):
        assert client.get("/openapi.json").json()["servers"] == [{"url": "/handsd"}]
    for path in ("/handsd/swagger-ui/", "/handsd/docs", "/handsd/openapi.json", "/handsd/health"):
        assert server.legacy.get(path).status_code == 200
    moved = server.legacy.get("/handsd/swagger-ui")
    assert (moved.status_code, moved.headers["location"]) == (307, "/handsd/swagger-ui/")
