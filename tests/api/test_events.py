"""Events: sending messages, paging, filters, single and batch reads."""

import datetime
import json
import uuid

import pytest

MISSING = "99999999-2222-4333-8444-555555555555"


def problems(answer):
    assert answer.status_code == 422, answer.text
    return [(p["type"], p["loc"]) for p in answer.json()["detail"]]


def nulls(value):
    if isinstance(value, dict):
        return any(nulls(v) for v in value.values())
    if isinstance(value, list):
        return any(nulls(v) for v in value)
    return value is None


@pytest.fixture(scope="module")
def talk(server, tmp_path_factory):
    """A conversation with a system prompt and 12 user messages, that has never run."""
    conversation = server.create(tmp_path_factory.mktemp("talk"), autotitle=False)
    for n in range(12):
        assert server.send(conversation, f"Message number {n} {'APPLE' if n % 3 == 0 else 'pear'}").json() == {"success": True}
    return f"/api/conversations/{conversation}/events", server.events(conversation)


def test_the_log(talk):
    _, events = talk
    assert [e["kind"] for e in events] == ["SystemPromptEvent"] + ["MessageEvent"] * 12
    assert all(e["source"] == "user" for e in events[1:])
    stamps = [e["timestamp"] for e in events]
    assert stamps == sorted(stamps) and len(set(stamps)) == len(stamps)
    assert all(len(s) == 26 and not s.endswith(".000000") for s in stamps)
    assert [e.get("parent_id") for e in events] == [None] + [e["id"] for e in events[:-1]]
    assert not any(nulls(e) for e in events)
    assert events[1]["llm_message"]["content"] == [
        {"cache_prompt": False, "type": "text", "text": "Message number 0 APPLE"}]


def test_pages(server, talk):
    path, events = talk
    for order, expected in (("TIMESTAMP", events), ("TIMESTAMP_DESC", events[::-1])):
        seen, page, pages = [], None, 0
        while True:
            query = {"limit": 5, "sort_order": order, **({"page_id": page} if page else {})}
            body = server.http.get(path + "/search", params=query).json()
            seen += body["items"]
            pages += 1
            page = body["next_page_id"]
            if page is None:
                break
            assert page == expected[len(seen)]["id"]
        assert (seen, pages) == (expected, 3)
    exact = server.http.get(path + "/search", params={"limit": len(events)}).json()
    assert exact["next_page_id"] is None and exact["items"] == events


def test_filters(server, talk):
    path, events = talk

    def find(**query):
        found = server.http.get(path + "/search", params=query).json()["items"]
        assert server.http.get(path + "/count", params=query).json() == len(found)
        return found

    assert find() == events
    messages = events[1:]
    assert find(kind="MessageEvent") == messages
    assert find(kind="openhands.sdk.event.llm_convertible.message.MessageEvent") == messages
    assert find(kind="SystemPromptEvent") == find(source="agent") == events[:1]
    assert find(kind="NoSuchEvent") == find(source="nobody") == []
    assert find(body="apple") == [m for m in messages if "APPLE" in str(m)]
    assert find(body="number 11 PEAR") == messages[11:]
    assert find(body="%") == []
    assert find(source="user", kind="MessageEvent", body="pear") == [m for m in messages if "pear" in str(m)]
    moment = events[6]["timestamp"]
    assert find(timestamp__gte=moment) == events[6:]
    assert find(timestamp__lt=moment) == events[:6]
    assert find(timestamp__gte=moment, timestamp__lt=events[8]["timestamp"]) == events[6:8]
    # With a zone the same moment is meant.
    utc = datetime.datetime.fromisoformat(moment).astimezone(datetime.timezone.utc)
    assert find(timestamp__gte=utc.isoformat()) == events[6:]
    assert find(timestamp__gte=utc.strftime("%Y-%m-%dT%H:%M:%S.%fZ")) == events[6:]


def test_filtered_pages_keep_their_filter(server, talk):
    path, events = talk
    query = {"body": "pear", "limit": 3}
    first = server.http.get(path + "/search", params=query).json()
    second = server.http.get(path + "/search", params={**query, "page_id": first["next_page_id"]}).json()
    assert first["items"] + second["items"] == [e for e in events if "pear" in str(e)][:6]


@pytest.mark.parametrize("query,kind", [
    ({"limit": 0}, "greater_than"), ({"limit": 101}, "less_than_equal"), ({"limit": "all"}, "int_parsing"),
    ({"sort_order": "SIZE"}, "enum"), ({"timestamp__gte": "yesterday"}, "datetime_from_date_parsing"),
    ({"page_id": "nothing"}, "value_error"), ({"page_id": MISSING}, "value_error"),
])
def test_wrong_queries(server, talk, query, kind):
    assert problems(server.http.get(talk[0] + "/search", params=query)) == [(kind, ["query", list(query)[0]])]


def test_one_event(server, talk):
    path, events = talk
    for event in (events[0], events[5]):
        assert server.http.get(f"{path}/{event['id']}").json() == event
    for name in (MISSING, "nothing", "__root__"):
        answer = server.http.get(f"{path}/{name}")
        assert (answer.status_code, answer.json()) == (404, {"detail": "Not Found"})


def test_batch(server, talk):
    """A GET with a JSON body."""
    path, events = talk

    def batch(body):
        return server.http.request("GET", path, json=body)

    wanted = [events[3]["id"], MISSING, events[1]["id"], "nothing"]
    assert batch(wanted).json() == [events[3], None, events[1], None]
    assert batch([]).json() == []
    assert batch([events[0]["id"]] * 100).json() == [events[0]] * 100
    assert problems(batch([MISSING] * 101))[0][0] == "too_long"
    assert problems(batch({"ids": []})) == [("list_type", ["body"])]
    assert problems(batch([1, "x", None])) == [("string_type", ["body", 0]), ("string_type", ["body", 2])]
    assert problems(server.http.get(path)) == [("missing", ["body"])]


def test_large_batches(server, tmp_path):
    """Few ids may mean much text: it is bounded, also when an id is repeated."""
    conversation = server.create(tmp_path, autotitle=False)
    server.send(conversation, "x" * 500_000)
    event = server.events(conversation)[-1]

    def batch(n):
        return server.http.request("GET", f"/api/conversations/{conversation}/events", json=[event["id"]] * n)

    assert batch(20).json() == [event] * 20
    refused = batch(100)
    assert refused.status_code == 413 and "16 MiB" in refused.json()["detail"]


def test_missing_conversation(server):
    expected = (404, {"detail": f"Conversation not found: {MISSING}"})
    path = f"/api/conversations/{MISSING}/events"
    answers = [server.http.get(path + "/search"), server.http.get(path + "/count"), server.http.get(f"{path}/{MISSING}"),
               server.http.request("GET", path, json=[]), server.send(MISSING, "x"),
               server.http.post(path + "/respond_to_confirmation", json={"accept": True})]
    for answer in answers:
        assert (answer.status_code, answer.json()) == expected, answer.url
    for suffix in ("/search", "/count", "/x"):
        assert problems(server.http.get("/api/conversations/zz/events" + suffix))[0][1] == ["path", "conversation_id"]


@pytest.fixture(scope="module")
def quiet(server, tmp_path_factory):
    return server.create(tmp_path_factory.mktemp("quiet"), autotitle=False)


def last(server, conversation):
    return server.events(conversation)[-1]


def test_messages_in_all_their_forms(server, quiet):
    path = f"/api/conversations/{quiet}/events"
    image = {"type": "image", "image_urls": ["data:image/png;base64,AAAA"]}
    forms = [
        ({"content": [{"text": "bare"}]}, [{"cache_prompt": False, "type": "text", "text": "bare"}]),
        ({"role": None, "content": [{"type": "text", "text": "ü \u0000 \ud83d\ude00", "cache_prompt": True}], "run": None},
         [{"cache_prompt": True, "type": "text", "text": "ü \u0000 \U0001f600"}]),
        ({"role": "user", "content": [{"type": "text", "text": "look"}, image], "sender": None, "extra": {"ignored": 1}},
         [{"cache_prompt": False, "type": "text", "text": "look"}, {"cache_prompt": False, **image}]),
        ({"content": [{"type": "text", "text": "of 1.0", "enable_truncation": True}]},
         [{"cache_prompt": False, "type": "text", "text": "of 1.0"}]),
    ]
    for body, stored in forms:
        answer = server.http.post(path, content=json.dumps(body), headers={"Content-Type": "application/json"})
        assert (answer.status_code, answer.json()) == (200, {"success": True}), answer.text
        event = last(server, quiet)
        content = event["llm_message"]["content"]
        assert [{k: v for k, v in c.items() if k != "cache_prompt"} for c in content] == [
            {k: v for k, v in c.items() if k != "cache_prompt"} for c in stored]
        assert "extra" not in event and set(content[0]) == {"cache_prompt", "type", "text"}


@pytest.mark.parametrize("body,kind,place", [
    ({"role": "system", "content": []}, "value_error", ["body", "role"]),
    ({"role": "wizard", "content": []}, "literal_error", ["body", "role"]),
    ({"role": 5, "content": []}, None, ["body", "role"]),
    ({"content": {"text": "x"}}, "list_type", ["body", "content"]),
    ({"content": ["x"]}, "model_attributes_type", ["body", "content", 0]),
    ({"content": [{"type": "text", "text": 5}]}, "string_type", ["body", "content", 0, "text"]),
    ({"content": [{"type": "text", "text": "x", "cache_prompt": "x"}]}, "bool_type", ["body", "content", 0, "cache_prompt"]),
    ({"content": [{"type": "image", "image_urls": [5]}]}, "string_type", ["body", "content", 0, "image_urls", 0]),
    ({"content": [{"type": "text", "text": "x"}] * 1001}, "too_long", ["body", "content"]),
    ({"content": [{"text": "x"}], "run": "soon"}, "bool_parsing", ["body", "run"]),
    ([], "model_attributes_type", ["body"]),
])
def test_wrong_messages(server, quiet, body, kind, place):
    before = server.http.get(f"/api/conversations/{quiet}/events/count").json()
    found = problems(server.http.post(f"/api/conversations/{quiet}/events", json=body))
    assert found[0][1] == place and kind in (None, found[0][0])
    assert server.http.get(f"/api/conversations/{quiet}/events/count").json() == before


def test_large_messages(server, quiet):
    """The log has all of it, pages a shorter text; what is too large is refused, and the server lives."""
    path = f"/api/conversations/{quiet}/events"
    text = "0123456789" * 300_000
    assert server.send(quiet, text).status_code == 200
    shown = last(server, quiet)
    assert len(json.dumps(shown)) < 900_000
    whole = server.http.get(f"{path}/{shown['id']}").json()
    assert whole["llm_message"]["content"][0]["text"] == text
    assert server.send(quiet, "x" * (9 * 1024 * 1024)).status_code == 413
    assert server.send(quiet, "x" * (17 * 1024 * 1024)).status_code == 413
    assert server.http.get("/alive").status_code == 200


def test_many_at_once_keep_their_order(server, tmp_path):
    """Ten clients, ten messages each: all stored, each client's in its order."""
    import threading

    import httpx

    conversation = server.create(tmp_path, autotitle=False)

    def send(client):
        with httpx.Client(base_url=server.url, timeout=30) as http:
            for n in range(10):
                body = {"content": [{"type": "text", "text": f"{client}:{n}"}]}
                assert http.post(f"/api/conversations/{conversation}/events", json=body).status_code == 200

    threads = [threading.Thread(target=send, args=(c,)) for c in range(10)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    texts = [e["llm_message"]["content"][0]["text"] for e in server.events(conversation)[1:]]
    assert len(texts) == 100
    for client in range(10):
        assert [t for t in texts if t.startswith(f"{client}:")] == [f"{client}:{n}" for n in range(10)]


def test_ids_belong_to_their_conversation(server, talk, quiet):
    _, events = talk
    assert server.http.get(f"/api/conversations/{quiet}/events/{events[0]['id']}").status_code == 404
    assert str(uuid.UUID(events[0]["id"])) == events[0]["id"]
