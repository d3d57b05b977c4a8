"""The 0.53 API: a conversation that the Python server stored is shown like one that was held here."""

import json
import shutil
import subprocess
from pathlib import Path

import pytest
from handsd import HANDSD, Handsd

STORED = Path(__file__).parents[1] / "api" / "stored"
ID = "0badcafe0badcafe0badcafe0badcafe"


def call_of(response, cost, **tokens):
    return ({"model": "m", "cost": cost, "timestamp": 1.0},
            {"model": "m", "prompt_tokens": 0, "completion_tokens": 0, "cache_read_tokens": 0, "cache_write_tokens": 0,
             "reasoning_tokens": 0, "context_window": 100, "per_turn_token": 1, "response_id": response, **tokens})


def metrics(calls, cost, **tokens):
    return {"model_name": "m", "accumulated_cost": cost, "accumulated_token_usage": {"model": "m", **tokens},
            "costs": [c for c, _ in calls if c], "response_latencies": [], "token_usages": [t for _, t in calls]}


@pytest.fixture
def shown(tmp_path):
    """shown(usage) → what 3000 shows of the stored conversation, with two calls more."""
    def make(usage=None):
        folder = tmp_path / "stored"
        shutil.copytree(STORED, folder)
        state = folder / ID / "base_state.json"
        if usage:
            state.write_text(json.dumps({**json.loads(state.read_text()), "stats": {"usage_to_metrics": usage}}))
            files = sorted((folder / ID / "events").glob("event-*.json"))
            last = json.loads(files[-1].read_text())
            for i, response in enumerate(("r2", "r3"), len(files)):
                ident = f"00000000-0000-4000-8000-{i + 1:012x}"
                event = {**last, "id": ident, "parent_id": last["id"], "timestamp": f"2026-03-01T08:01:{i:02d}.500000",
                         "llm_response_id": response}
                (folder / ID / "events" / f"event-{i:05d}-{ident}.json").write_text(json.dumps(event))
                last = event
        done = subprocess.run([HANDSD, "import", folder, "--data", tmp_path / "data"], capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, done.stderr
        with Handsd(tmp_path / "data") as server:
            return server.legacy.get(f"/api/conversations/{ID}/trajectory").json()["trajectory"]

    return make


def costs(events):
    """Cost and prompt tokens so far, as each event that says so has them."""
    return [(e["llm_metrics"]["accumulated_cost"], e["llm_metrics"]["accumulated_token_usage"]["prompt_tokens"])
            for e in events if "llm_metrics" in e]


def test_what_it_had_cost(shown):
    calls = [call_of("r1", 0.25, prompt_tokens=10), call_of("x", 0.25, prompt_tokens=5), call_of("r2", 0.5, prompt_tokens=20)]
    events = shown({"agent": metrics(calls, 1.5, prompt_tokens=40),
                    "condenser": metrics([call_of("r3", 0.125, prompt_tokens=7)], 0.125, prompt_tokens=7)})
    # The last call of the agent brings what no call of the list has; the other model's comes when it is named.
    assert costs(events) == [(0.25, 10), (0.25, 10), (1.5, 40), (1.625, 47)]
    usage = [e for e in events if "llm_metrics" in e][-1]["llm_metrics"]["accumulated_token_usage"]
    assert usage["model"] == "m" and usage["context_window"] == 100
    run = next(e for e in events if e.get("action") == "run")
    assert next(e for e in events if e.get("observation") == "run")["cause"] == run["id"]


def test_a_call_without_a_price(shown):
    """Then the costs cannot be told apart: only their sum is known."""
    priced, (_, unpriced) = call_of("r1", 0.25, prompt_tokens=10), call_of("r2", 0, prompt_tokens=20)
    events = shown({"agent": metrics([priced, (None, unpriced)], 0.25, prompt_tokens=30)})
    assert costs(events) == [(0.0, 10), (0.0, 10), (0.25, 30), (0.25, 30)]


def test_as_it_was_stored(shown):
    assert costs(shown()) == [(0.25, 120), (0.25, 120)]
