"""What the tests of behaviour share: a server with scripts, and one whose models are a server of the tests."""

import pytest

from model_talk import KEY
from playing import model, server, work  # noqa: F401
from talk import Talk


@pytest.fixture(scope="module")
def idle(server, tmp_path_factory):
    """A conversation in which nothing ever happens."""
    return server.create(tmp_path_factory.mktemp("idle"), autotitle=False)


@pytest.fixture
def ask(server, model, work):
    """ask(answers…) → a conversation whose model answers these, quick to try again."""
    opened = []

    def make(*answers, llm=None, default=None, tools=True, **more):
        model.plays(*answers, default=default)
        settings = {"model": "openai/test-model", "api_key": KEY, "base_url": f"{model.url}/v1", "usage_id": "default",
                    "num_retries": 3, "retry_multiplier": 0, "retry_min_wait": 0, "timeout": 20, **(llm or {})}
        agent = {"kind": "Agent", "llm": settings, "tools": [{"name": "terminal"}, {"name": "file_editor"}] if tools else []}
        talk = Talk(server, work, model=settings["model"], **{"agent": agent, **more})
        opened.append(talk)
        return talk

    yield make
    for talk in opened:
        talk.socket.close()
