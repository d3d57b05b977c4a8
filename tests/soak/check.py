"""What always holds: of a conversation's log as clients see it, and of the store as it lies on the disk."""

RESULTS = ("ObservationEvent", "AgentErrorEvent", "UserRejectObservation")


class Broken(Exception):
    pass


def expect(condition, text):
    if not condition:
        raise Broken(text)


def check_log(slot):
    """The log of a conversation that is at rest."""
    events = slot.events()
    expect(len(events) == slot.get(f"events/count"), "count and pages differ")
    ids = [e["id"] for e in events]
    expect(len(ids) == len(set(ids)), "an event is there twice")
    stamps = [e["timestamp"] for e in events]
    expect(stamps == sorted(set(stamps)), "timestamps are not in order")
    texts = [e["llm_message"]["content"][0]["text"] for e in events if e["kind"] == "MessageEvent" and e["source"] == "user"]
    expect(texts == slot.sent, f"messages: {len(texts)} stored, {len(slot.sent)} sent, first difference "
           f"{next(((a, b) for a, b in zip(texts, slot.sent) if a != b), None)}")
    check_actions(events)
    check_runs(events)


def check_actions(events):
    calls, results = [], []
    for e in events:
        if e["kind"] == "ActionEvent":
            calls.append(e["tool_call_id"])
        elif e["kind"] in RESULTS:
            results.append(e["tool_call_id"])
            expect(e["tool_call_id"] in calls, "a result before its action")
    expect(len(calls) == len(set(calls)), "a call's id is there twice")
    expect(sorted(calls) == sorted(results), f"{len(calls)} actions, {len(results)} results: "
           f"{sorted(set(calls) ^ set(results))[:3]}")


def check_runs(events):
    """Each run begins once and ends once; what is at rest may become idle (a message) or paused, and nothing else."""
    running = False
    for e in events:
        if e["kind"] == "ConversationStateUpdateEvent" and e["key"] == "execution_status":
            value = e["value"]
            expect(running or value in ("running", "idle", "paused"), f"{value} without a run")
            expect(not running or value != "running", "a run inside a run")
            running = value == "running"
    expect(not running, "a run that did not end")


def check_store(db):
    """Every log dense, and no row left of a conversation that was deleted."""
    if (answer := db.execute("PRAGMA integrity_check").fetchone()[0]) != "ok":
        yield f"the database is damaged: {answer}"
    # An event's key is the conversation's number << 32 | its place in the log.
    logs = {number: (n, last) for number, n, last in
            db.execute("SELECT key >> 32, count(*), max(key & 0xffffffff) FROM event GROUP BY 1")}
    for number, next_seq in db.execute("SELECT number, next_seq FROM conversation"):
        n, last = logs.pop(number, (0, -1))
        if (n, last) != (next_seq, next_seq - 1):
            yield f"the log of conversation {number} has holes: {n} events, the last {last}, the next {next_seq}"
    if logs:
        yield f"events are left of {len(logs)} deleted conversations"
    for table, key in (("usage", "key >> 32"), ("usage_sum", "number"), ("blob", "number"), ("branch", "number"),
                       ("conversation_place", "number"), ("conversation_text", "number")):
        left = db.execute(f"SELECT count(*) FROM {table} WHERE {key} NOT IN (SELECT number FROM conversation)").fetchone()[0]
        if left:
            yield f"{left} rows of {table} are left of deleted conversations"
