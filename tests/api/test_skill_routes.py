"""POST /api/skills and /api/skills/sync: what an agent could be taught."""

import os

import pytest

from handsd import Handsd

NONE = {"load_user": False, "load_project": False}


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    folder = tmp_path_factory.mktemp("handsd")
    (folder / "home").mkdir()
    with Handsd(folder / "data", env={"HOME": str(folder / "home")}) as running:
        running.home = folder / "home"
        yield running


def put(folder, name, text):
    file = folder / name
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)
    return str(file)


def skills(server, **body):
    answer = server.http.post("/api/skills", json=body)
    assert answer.status_code == 200, answer.text
    return {skill["name"]: skill for skill in answer.json()["skills"]}, answer.json()["sources"]


def test_all_places(server, tmp_path):
    guide = put(tmp_path, "AGENTS.md", "House rules\n")
    put(tmp_path, ".openhands/skills/ship.md", "---\ntriggers: [ship it, deploy]\n---\nShip.")
    put(tmp_path, ".agents/skills/pdf/SKILL.md", "---\ndescription: PDF\ndisable-model-invocation: true\n---\nP")
    put(server.home, ".openhands/skills/ship.md", "user's ship")
    put(server.home, ".openhands/microagents/old.md", "old")
    found, sources = skills(server, project_dir=str(tmp_path), sandbox_config={"exposed_urls": [
        {"name": "WORKER_1", "url": "http://w1", "port": 8011}, {"name": "OTHER", "url": "http://o", "port": 1}]})
    assert sources == {"sandbox": 1, "registered_marketplaces": 0, "sdk_base": 2, "org": 0, "project": 3}
    assert set(found) == {"agents", "ship", "pdf", "old", "work_hosts"}
    assert found["agents"] == {
        "name": "agents", "type": "repo", "content": "House rules\n", "triggers": [], "source": guide, "description": None,
        "is_agentskills_format": False, "disable_model_invocation": False}
    assert found["ship"]["type"] == "knowledge" and found["ship"]["triggers"] == ["ship it", "deploy"]
    assert found["ship"]["content"] == "Ship."
    assert found["pdf"]["type"] == "agentskills" and found["pdf"]["disable_model_invocation"]
    assert "http://w1" in found["work_hosts"]["content"] and "http://o" not in found["work_hosts"]["content"]


def test_choices(server, tmp_path):
    put(tmp_path, "AGENTS.md", "House rules")
    assert skills(server, **NONE, project_dir=str(tmp_path)) == (
        {}, {"sandbox": 0, "registered_marketplaces": 0, "sdk_base": 0, "org": 0, "project": 0})
    assert set(skills(server, load_user=False, project_dir=str(tmp_path))[0]) == {"agents"}
    assert skills(server, load_user=False, project_dir=str(tmp_path / "missing"))[0] == {}
    assert skills(server, load_user=False)[0] == {}


def test_a_file_in_place_of_the_directory(server, tmp_path):
    os.mkfifo(tmp_path / "fifo")
    for name in ("fifo", "a\nb", "é", "x" * 300):
        assert skills(server, load_user=False, project_dir=str(tmp_path / name))[0] == {}


def test_bad_requests(server):
    for body in ({"project_dir": 5}, {"load_user": "perhaps"}, {"sandbox_config": {"exposed_urls": [{"name": "x"}]}}, [],
                 {"org_config": {"repository": "org/repo"}}, {"org_configs": [{}]}):
        assert server.http.post("/api/skills", json=body).status_code == 422
    assert server.http.post("/api/skills", json={**NONE, "project_dir": "/a\u0000b"}).status_code in (200, 422)


def test_sync(server):
    answer = server.http.post("/api/skills/sync")
    assert answer.status_code == 200 and answer.json()["status"] == "success" and answer.json()["message"]
