"""The scripted models of the soak: each is a long list of runs, every run a few tool calls and a finish."""

import random

from handsd import write_script

TURNS = 600        # of one script; a conversation whose script has ended is made anew
LONG_OUTPUT = 40000  # characters: more than the model is shown, so the whole is saved to a file
SLEEP = "sleep 600"  # only an interrupt ends it


def call(name, **arguments):
    return {"calls": [{"name": name, "arguments": arguments}]}


def finish(rng):
    return call("finish", message=f"done {rng.random()}")


def tool(rng, n):
    """One step of ordinary work; no two alike, so that the agent does not look stuck."""
    kind = rng.randrange(8)
    if kind < 3:
        return call("terminal", command=rng.choice(["echo {n}", "export N={n}; cd . && pwd", "seq {n} | tail -3", "false {n}",
                                                    "ls -la; echo {n}"]).replace("{n}", str(n)))
    if kind == 3:
        return call("file_editor", command="create", path=f"/WORK/made-{n}.txt", file_text=f"line {n}\n" * rng.randrange(1, 200))
    if kind == 4:
        return call("file_editor", command="view", path="/WORK/README.md")
    if kind == 5:
        return call("think", thought=f"thought {n}")
    if kind == 6:
        return {"text": f"two at once {n}", "calls": call("think", thought=f"a {n}")["calls"] + call("terminal", command=f"echo b {n}")["calls"]}
    return call("terminal", command=f"echo 'x = {n}' >> README.md; grep -c x README.md")


def mixed(rng):
    n = 0
    while n < TURNS:
        for _ in range(rng.randrange(1, 5)):
            yield tool(rng, n)
            n += 1
        yield finish(rng)
        n += 1


def slow(rng):
    """Every run hangs, in a command or in the model, until it is interrupted."""
    for n in range(TURNS):
        yield call("terminal", command=f"{SLEEP} # {n}") if n % 2 else {**finish(rng), "delay_ms": 600000}


def long(rng):
    for n in range(TURNS // 2):
        yield call("terminal", command=f"seq -s ' ' {n} {n + LONG_OUTPUT // 5}")
        yield finish(rng)


def failing(rng):
    """Some errors pass by themselves, the last one stays."""
    for n in range(rng.randrange(2, 8)):
        yield {**tool(rng, n), "error": {"status": rng.choice([500, 503]), "message": "try again", "times": 1}}
        yield finish(rng)
    yield {"error": {"status": 400, "message": "no such thing"}, "repeat": True}


KINDS = {"mixed": (mixed, 12), "slow": (slow, 2), "long": (long, 2), "failing": (failing, 2)}


def pick(rng):
    return rng.choices(list(KINDS), [weight for _, weight in KINDS.values()])[0]


def write(scripts, name, kind, rng, work):
    lines = KINDS[kind][0](rng)
    write_script(scripts, name, lines)
    path = scripts / f"{name}.jsonl"
    path.write_text(path.read_text().replace("/WORK", str(work)))
