"""Steps of an agent: two commits each, the action before its tool runs and the result after it."""

import json
import os
import re
import subprocess
import time

import httpx
from machine import cpu_s
from servers import (PROGRAMS, Handsd, die_with_parent, end, have, many_conversations, program, ratio, run_all, spawn, stop_all,
                     total_events)

EVENTS_PER_STEP = 2
MODEL_STEPS = 25  # of each conversation in the comparison
MODEL_CONVERSATIONS = 16


def steps_per_second(server, ids, seconds):
    """Steps a second, steps per CPU second of the server, microseconds of the writer per step."""
    pid = server.process.pid
    run_all(server, ids)
    time.sleep(min(1, seconds))
    cpu, writer, before, begin = cpu_s(pid), cpu_s(pid, "store"), total_events(server, ids), time.monotonic()
    time.sleep(seconds)
    after, took = total_events(server, ids), time.monotonic() - begin
    cpu, writer = cpu_s(pid) - cpu, cpu_s(pid, "store") - writer
    steps = (after - before) / EVENTS_PER_STEP
    return steps / took, steps / max(cpu, 1e-9), writer / max(steps, 1e-9) * 1e6


def think(bench):
    with Handsd(bench.data / "think") as server:
        ids = many_conversations(server, 32, bench.data / "work-think", "scripted/think")
        rate, per_core, writer_us = steps_per_second(server, ids, bench.seconds(6))
        stop_all(server, ids)
    bench.row("durable steps: `think`, 32 conversations, two commits each", f"{rate:,.0f}/s; {per_core:,.0f} per CPU second",
              "≥ 5,000/s, ≥ 2,500 per core", rate >= 5000 and per_core >= 2500)
    bench.row("the writer's CPU for one such step", f"{writer_us:.0f} µs")


def terminal(bench):
    cores = len(os.sched_getaffinity(0))
    shell = float(program("bench_hand", "shell", bench.size(2000, 50)))
    store = json.loads(program("bench_store", bench.data, bench.seconds(2), 1))
    commits = 2 * store["commit_wait_mean_ms"]
    with Handsd(bench.data / "terminal") as server:
        ids = many_conversations(server, 8, bench.data / "work-terminal", "scripted/true")
        rate, _, _ = steps_per_second(server, ids, bench.seconds(6))
        stop_all(server, ids)
        one = many_conversations(server, 1, bench.data / "work-terminal", "scripted/true")
        alone, _, _ = steps_per_second(server, one, bench.seconds(4))
        stop_all(server, one)
    bench.row(f"steps with a terminal command (`true`), 8 conversations, {cores} cores", f"{rate:,.0f}/s", "≥ 500/s per core",
              rate >= 500 * cores)
    rest = 1000 / alone - shell - commits
    bench.row("one such step alone, beside the shell itself",
              f"{1000 / alone:.2f} ms: {shell:.2f} of a bare shell, {commits:.2f} of two commits, {rest:.2f} of ours", "≤ 1 ms of ours",
              rest <= 1)


# ---- both servers with the same model ----

POST = """
wrk.method = "POST"
wrk.body = string.rep("x", 9000) .. '"tools"' .. string.rep("y", 1000)
wrk.headers["Content-Type"] = "application/json"
"""


class QuickModel:
    """bench_model in a process of its own."""

    def __init__(self, folder):
        self.folder = folder
        self.process = spawn([PROGRAMS / "bench_model", MODEL_STEPS], stdout=subprocess.PIPE, text=True)
        self.url = f"http://127.0.0.1:{int(self.process.stdout.readline())}"
        self.http = httpx.Client(base_url=self.url, timeout=30)

    def finished(self):
        return self.http.get("/finished").json()

    def rate(self):
        """What the model itself can do, with requests of 10 kB; None without wrk."""
        if not have("wrk"):
            return None
        script = self.folder / "post.lua"
        script.write_text(POST)
        out = subprocess.run(["wrk", "-t1", "-c8", "-d2s", "-s", script, self.url + "/v1/chat/completions"], check=True,
                             capture_output=True, text=True, preexec_fn=die_with_parent).stdout
        assert "Non-2xx" not in out, out
        return float(re.search(r"Requests/sec:\s+([\d.]+)", out).group(1))

    def close(self):
        self.http.close()
        end(self.process)
        self.process.stdout.close()


def model_steps_per_second(server, model, work, seconds, conversations=MODEL_CONVERSATIONS):
    """Rounds of conversations, until `seconds` were measured. The model tells when a round is over, so that nobody has to ask
    the server that is measured."""
    agent = {"llm": {"model": "openai/bench", "api_key": "none", "base_url": model.url + "/v1", "usage_id": "default",
                     "num_retries": 0}, "tools": []}
    steps = took = 0.0
    while took < seconds:
        ids = [server.create(work, agent_more=agent, autotitle=False) for _ in range(conversations)]
        before, begin = model.finished(), time.monotonic()
        run_all(server, ids)
        while model.finished() < before + conversations:
            assert time.monotonic() < begin + 300, "the conversations do not end"
            time.sleep(0.002)
        took += time.monotonic() - begin
        steps += conversations * MODEL_STEPS
    kinds = [e["kind"] for e in server.events(ids[-1])]
    assert kinds.count("ObservationEvent") == MODEL_STEPS, "not every step is in the log"
    return steps / took


def model(bench):
    quick = QuickModel(bench.data)
    try:
        own = quick.rate()
        with Handsd(bench.data / "model") as server:
            ours = model_steps_per_second(server, quick, bench.data / "work-model", bench.seconds(4))
        python = bench.python()
        theirs = model_steps_per_second(python, quick, bench.data / "work-python", bench.seconds(4),
                                        bench.size(MODEL_CONVERSATIONS, 2)) if python else None
    finally:
        quick.close()
    bench.row(f"steps (`think`) with a model over HTTP, {MODEL_CONVERSATIONS} conversations of {MODEL_STEPS} steps", f"{ours:,.0f}/s, durable",
              "", True, f"{theirs:,.1f}/s, not synced" if theirs else "", ratio(ours, theirs) if theirs else "")
    if own:
        bench.row("that model by itself, requests of 10 kB", f"{own:,.0f} answers/s", "≥ 2 × the steps", own >= 2 * ours)


CASES = {"think": think, "terminal": terminal, "model": model}
