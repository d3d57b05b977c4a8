"""What the checks with the official Python client share. They run under a Python of their own (see run): the client
needs a newer one than Debian 12 has."""

import threading

import pytest
from openhands.sdk import LLM, Agent, Conversation, Tool, Workspace
from openhands.sdk.event import ConversationStateUpdateEvent
from openhands.tools.file_editor import FileEditorTool
from openhands.tools.terminal import TerminalTool
from pydantic import SecretStr

from handsd import Handsd
from model_server import ModelServer

TOOLS = (TerminalTool.name, FileEditorTool.name)


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """A server that plays scripts, shared by a module's checks."""
    folder = tmp_path_factory.mktemp("handsd")
    with Handsd(folder / "data", scripts=folder / "scripts") as running:
        yield running


@pytest.fixture(scope="module")
def model():
    one = ModelServer()
    yield one
    one.close()


@pytest.fixture
def work(tmp_path):
    folder = tmp_path / "work"
    folder.mkdir()
    return folder


@pytest.fixture
def talk(server, model, work):
    """Opens conversations the way a program with the SDK does; they are closed with the check."""
    opened = []

    def open_one(name=None, *, on=None, tools=TOOLS, llm=None, agent=None, **options):
        """name: scripted/NAME; without it the model is the local server. agent: further fields of the Agent."""
        where = on or server
        settings = {"model": f"scripted/{name}"} if name else {"model": "openai/test-model", "base_url": f"{model.url}/v1"}
        made = Agent(llm=LLM(**{**settings, "api_key": SecretStr("sk-check-0123456789"), "usage_id": "agent",
                                "num_retries": 0, **(llm or {})}), tools=[Tool(name=tool) for tool in tools],
                     **(agent or {}))
        workspace = Workspace(host=where.url, api_key=where.key, working_dir=str(work))
        one = Conversation(agent=made, workspace=workspace, visualizer=None, **options)
        opened.append(one)
        return one

    yield open_one
    # close() waits 5 s for a frame that may never come (its reader only looks up when there is one): not our time.
    for one in opened:
        threading.Thread(target=one.close, daemon=True).start()


def call(tool, **arguments):
    return {"name": tool, "arguments": {"summary": "a check", "security_risk": "LOW", **arguments}}


def says(*calls, **more):
    return {"tool_calls": list(calls), **more}


FINISH = says(call("finish", message="All done."))


def kinds(events):
    return [type(event).__name__ for event in events]


def of_kind(conversation, name):
    return [event for event in list(conversation.state.events) if type(event).__name__ == name]


def lasting(events):
    """Without snapshots: a client's list also holds state that only travels on the socket."""
    return [e for e in events if not isinstance(e, ConversationStateUpdateEvent)]


def assert_same_log(server, conversation):
    """What the client has is what the server has: each event once, in the same order, with the same content."""
    log = [e for e in server.events(str(conversation.id)) if e["kind"] != "ConversationStateUpdateEvent"]
    mine = lasting(conversation.state.events[:])
    assert [e.id for e in mine] == [e["id"] for e in log]
    everything = [e.id for e in conversation.state.events[:]]
    assert len(everything) == len(set(everything))
    stamps = [e.timestamp for e in conversation.state.events[:]]
    assert stamps == sorted(stamps)
    for event, raw in zip(mine, log):
        kept = event.model_dump(mode="json", exclude_none=True)
        for one in (kept, raw):
            if "forgotten_event_ids" in one:  # a set in the client
                one["forgotten_event_ids"] = sorted(one["forgotten_event_ids"])
        assert contains(kept, raw), f"lost on the way: {raw}\nkept: {kept}"


def contains(whole, part):
    """Everything the server said is in what the client understood."""
    if isinstance(part, dict):
        return isinstance(whole, dict) and all(k in whole and contains(whole[k], v) for k, v in part.items())
    if isinstance(part, list):
        return isinstance(whole, list) and len(whole) == len(part) and all(map(contains, whole, part))
    return whole == part
