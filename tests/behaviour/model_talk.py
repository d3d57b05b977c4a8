"""What a model of the tests says, and how a run that it has ended looks."""

import json

import pytest

from talk import call

KEY = "sk-model-key-0123456789"
GROWTH_KB = 16 * 1024
CALLS = {"tool_calls": [call("finish", message="All done.")]}


def words(text, **more):
    return {"text": text, **more}


def calls(*made, **more):
    return {"tool_calls": list(made), **more}


both = pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])


def problem(talk):
    """The error that ended the run: the status goes before it, and it is the last event."""
    errors = talk.events("ConversationErrorEvent")
    assert len(errors) == 1 and errors[0]["source"] == "environment", talk.kinds()
    seen = talk.events()
    at = seen.index(errors[0])
    states = [e["value"] for e in seen[:at] if e.get("key") == "execution_status"]
    assert states[-1] == "error"
    assert KEY not in json.dumps(seen)
    return errors[0]
