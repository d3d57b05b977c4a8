"""Conversations: making, reading, listing, changing and deleting them, and everything that can be wrong with a request."""

import uuid

import pytest

MISSING = "99999999-2222-4333-8444-555555555555"


def request_body(folder, **more):
    body = {"agent": {"llm": {"model": "scripted/finish", "api_key": "sk-secret-value"}, "tools": [{"name": "terminal"}]},
            "workspace": {"working_dir": str(folder)}, "autotitle": False}
    body.update(more)
    return body


def post(server, body):
    return server.http.post("/api/conversations", json=body)


def problems(answer):
    assert answer.status_code == 422, answer.text
    return [(p["type"], p["loc"]) for p in answer.json()["detail"]]


# ---- creating


def test_create_and_get(server, tmp_path):
    answer = post(server, request_body(tmp_path / "new"))
    assert answer.status_code == 201
    info = answer.json()
    assert str(uuid.UUID(info["id"])) == info["id"]
    assert info["execution_status"] == info["agent_status"] == "idle"
    assert info["secret_registry"] == info["secrets_manager"] == {"secret_sources": {}}
    assert info["workspace"] == {"working_dir": str(tmp_path / "new"), "kind": "LocalWorkspace"}
    assert info["max_iterations"] == 500 and info["stuck_detection"] is True
    assert info["confirmation_policy"] == {"kind": "NeverConfirm"}
    assert info["agent"]["llm"]["api_key"] == "**********"
    assert info["created_at"].endswith("Z")
    assert info["persistence_dir"].endswith(info["id"].replace("-", ""))
    for key in ("title", "security_analyzer", "hook_config", "metrics", "parent_conversation_id"):
        assert info[key] is None
    assert (tmp_path / "new").is_dir()
    for name in (info["id"], info["id"].replace("-", ""), info["id"].upper()):
        assert server.http.get(f"/api/conversations/{name}").json() == info


def test_an_existing_id_is_attached_to(server, tmp_path):
    wanted = str(uuid.uuid4())
    first = post(server, request_body(tmp_path, conversation_id=wanted, max_iterations=7))
    again = post(server, request_body(tmp_path / "elsewhere", conversation_id=wanted, max_iterations=9))
    assert (first.status_code, again.status_code) == (201, 200)
    assert first.json()["id"] == again.json()["id"] == wanted
    assert again.json()["max_iterations"] == 7


def test_what_the_official_client_sends(server, tmp_path):
    """Explicit nulls everywhere, and fields that mean nothing here."""
    body = {
        "agent": {"kind": "Agent", "llm": {"model": "scripted/finish", "api_key": None, "base_url": None, "usage_id": "agent"},
                  "tools": [{"name": "terminal", "params": {}}], "mcp_config": {}, "filter_tools_regex": None,
                  "agent_context": None, "condenser": None, "critic": None, "system_prompt_kwargs": {}},
        "initial_message": None, "max_iterations": 500, "stuck_detection": True,
        "workspace": {"working_dir": str(tmp_path), "kind": "LocalWorkspace"},
        "tool_module_qualnames": {"terminal": "openhands.tools.terminal.definition"}, "agent_definitions": [],
        "plugins": None, "hook_config": None, "client_tools": [], "tags": {}, "observability_metadata": {},
        "observability_tags": [], "observability_span_name": "conversation", "user_id": None, "secrets": {},
        "stuck_detection_thresholds": None, "conversation_id": None, "parent_conversation_id": None,
        "security_analyzer": None, "confirmation_policy": {"kind": "NeverConfirm"}, "worktree": False,
    }
    answer = post(server, body)
    assert answer.status_code == 201, answer.text


def test_the_old_conversation_page(server, tmp_path):
    """The agent object of the first documentation: below `agent`, what was sent comes back."""
    agent = {
        "kind": "Agent",
        "llm": {"api_key": "your_api_key_here", "base_url": "http://127.0.0.1:9/", "model": "litellm_proxy/some/model"},
        "tools": {"name": "BashTool", "params": {}},
        "mcp_config": {"mcpServers": {"fetch": {"args": ["mcp-server-fetch"], "command": "uvx"}}},
        "filter_tools_regex": "^(?!repomix)(.*)|^repomix.*pack_codebase.*$",
        "agent_context": {
            "skills": [{"content": "Be grumpy.", "name": "repo.md", "type": "repo"},
                       {"content": "Flarglebargle!", "name": "flarglebargle", "trigger": ["flarglebargle"],
                        "type": "knowledge"}],
            "system_message_suffix": "Always finish with the word 'yay!'",
            "user_message_prefix": "The first character should be 'I'"},
        "system_prompt_filename": "system_prompt.j2", "system_prompt_kwargs": {"cli_mode": True},
        "security_analyzer": {"kind": "LLMSecurityAnalyzer"},
        "condenser": {"keep_first": 10, "kind": "LLMSummarizingCondenser", "max_size": 80,
                      "llm": {"api_key": "your_api_key_here", "model": "litellm_proxy/some/model"}},
    }
    answer = post(server, {"agent": agent, "workspace": {"kind": "LocalWorkspace", "working_dir": str(tmp_path)},
                           "confirmation_policy": {"kind": "AlwaysConfirm"}})
    assert answer.status_code == 201, answer.text
    info = answer.json()
    shown = dict(agent, llm=dict(agent["llm"], api_key="**********"),
                 condenser=dict(agent["condenser"], llm=dict(agent["condenser"]["llm"], api_key="**********")))
    assert info["agent"] == shown
    assert server.http.get(f"/api/conversations/{info['id']}").json()["agent"] == shown
    assert info["confirmation_policy"] == {"kind": "AlwaysConfirm"}


def test_agent_settings_make_an_agent(server, tmp_path):
    body = request_body(tmp_path, agent_settings={"llm": {"model": "scripted/finish", "api_key": "sk-secret-value"},
                                                  "agent_context": {"system_message_suffix": "Be brief."}})
    del body["agent"]
    answer = post(server, body)
    assert answer.status_code == 201, answer.text
    agent = answer.json()["agent"]
    assert agent["kind"] == "Agent" and agent["llm"]["model"] == "scripted/finish"
    assert {"terminal", "file_editor"} <= {tool["name"] for tool in agent["tools"]}
    assert agent["agent_context"]["system_message_suffix"] == "Be brief."


def test_a_condenser_by_settings(server, tmp_path):
    settings = {"llm": {"model": "scripted/finish", "usage_id": "main"}, "condenser": {"enabled": True, "max_size": 60, "max_tokens": None}}
    body = request_body(tmp_path, agent_settings=settings)
    del body["agent"]
    condenser = post(server, body).json()["agent"]["condenser"]
    assert condenser["kind"] == "LLMSummarizingCondenser" and condenser["max_size"] == 60
    assert condenser["llm"]["usage_id"] == "condenser" and condenser["llm"]["model"] == "scripted/finish"


def test_launch_additions_reach_the_suffix(server, tmp_path):
    body = request_body(tmp_path, agent_launch_additions={"system_message_suffix_append": "Deployed here."})
    body["agent"]["agent_context"] = {"system_message_suffix": "Be brief."}
    info = post(server, body).json()
    assert info["agent"]["agent_context"]["system_message_suffix"] == "Be brief.\n\nDeployed here."


def test_options_come_back(server, tmp_path):
    parent = post(server, request_body(tmp_path)).json()["id"]
    info = post(server, request_body(
        tmp_path, max_iterations=3, stuck_detection=False, tags={"team": "red", "x1": ""},
        confirmation_policy={"kind": "ConfirmRisky", "threshold": "LOW", "confirm_unknown": False},
        security_analyzer={"kind": "LLMSecurityAnalyzer"}, parent_conversation_id=parent,
        secrets={"A": "value-of-a", "B": {"value": "value-of-b"}, "C": {"kind": "StaticSecret", "value": "value-of-c"}},
    )).json()
    assert info["max_iterations"] == 3 and info["stuck_detection"] is False
    assert info["tags"] == {"team": "red", "x1": ""}
    assert info["confirmation_policy"]["threshold"] == "LOW"
    assert info["security_analyzer"]["kind"] == "LLMSecurityAnalyzer"
    assert info["parent_conversation_id"] == parent
    assert set(info["secret_registry"]["secret_sources"]) == {"A", "B", "C"}
    assert "value-of" not in str(info)


def test_an_initial_message_always_runs(server, tmp_path):
    body = request_body(tmp_path, initial_message={"content": [{"text": "Finish."}], "run": False})
    created = post(server, body)
    assert created.status_code == 201
    kinds = [e["kind"] for e in server.events(created.json()["id"])]
    assert "MessageEvent" in kinds
    from websockets.sync.client import connect
    import json
    with connect(server.socket_url(created.json()["id"], "?resend_mode=all")) as socket:
        while True:
            event = json.loads(socket.recv(10))
            if event["kind"] == "ObservationEvent":
                break


# ---- wrong requests


WRONG = [
    ({"workspace": None}, ("missing", ["body", "workspace"])),
    ({"workspace": "x"}, ("model_attributes_type", ["body", "workspace"])),
    ({"workspace": {}}, ("missing", ["body", "workspace", "working_dir"])),
    ({"workspace": {"working_dir": 5}}, ("string_type", ["body", "workspace", "working_dir"])),
    ({"workspace": {"working_dir": ""}}, ("string_too_short", ["body", "workspace", "working_dir"])),
    ({"workspace": {"working_dir": "/tmp/a\u0000b"}}, ("value_error", ["body", "workspace"])),
    ({"workspace": {"working_dir": "/tmp", "kind": "RemoteWorkspace"}}, ("literal_error", ["body", "workspace"])),
    ({"agent": None}, ("value_error", ["body"])),
    ({"agent": "x"}, ("model_attributes_type", ["body", "agent"])),
    ({"agent": {}}, ("missing", ["body", "agent", "llm"])),
    ({"agent": {"llm": "x"}}, ("model_attributes_type", ["body", "agent", "llm"])),
    ({"agent": {"llm": {}}}, ("missing", ["body", "agent", "llm", "model"])),
    ({"agent": {"llm": {"model": 5}}}, ("string_type", ["body", "agent", "llm", "model"])),
    ({"agent": {"llm": {"model": "m", "temperature": "hot"}}}, ("float_parsing", ["body", "agent", "llm", "temperature"])),
    ({"agent": {"llm": {"model": "m", "timeout": -1}}}, ("greater_than_equal", ["body", "agent", "llm", "timeout"])),
    ({"agent": {"llm": {"model": "m", "api_key": {}}}}, ("string_type", ["body", "agent", "llm", "api_key"])),
    ({"agent": {"llm": {"model": "m", "api_mode": "x"}}}, ("enum", ["body", "agent", "llm", "api_mode"])),
    ({"agent": {"llm": {"model": "m"}, "tools": 5}}, ("value_error", ["body", "agent"])),
    ({"agent": {"llm": {"model": "m"}, "tools": [{}]}}, ("value_error", ["body", "agent"])),
    ({"agent": {"llm": {"model": "m"}, "agent_context": 5}}, ("model_attributes_type", ["body", "agent", "agent_context"])),
    ({"agent": {"llm": {"model": "m"}, "agent_context": {"skills": [5]}}},
     ("model_attributes_type", ["body", "agent", "agent_context", "skills", 0])),
    ({"agent": {"llm": {"model": "m"}, "condenser": "x"}}, ("dict_type", ["body", "agent", "condenser"])),
    ({"agent": None, "agent_settings": {}}, ("missing", ["body", "agent_settings", "llm"])),
    ({"agent": None, "agent_settings": {"llm": {"model": "m"}, "agent_kind": "acp"}},
     ("union_tag_invalid", ["body", "agent_settings"])),
    ({"agent": {"kind": "ACPAgent", "llm": {"model": "m"}}}, ("union_tag_invalid", ["body", "agent"])),
    ({"agent_profile_id": MISSING}, ("value_error", ["body"])),
    ({"conversation_id": "zz"}, ("uuid_parsing", ["body", "conversation_id"])),
    ({"conversation_id": 7}, ("uuid_type", ["body", "conversation_id"])),
    ({"parent_conversation_id": MISSING}, ("value_error", ["body", "parent_conversation_id"])),
    ({"max_iterations": 0}, ("greater_than", ["body", "max_iterations"])),
    ({"max_iterations": "many"}, ("int_parsing", ["body", "max_iterations"])),
    ({"max_iterations": 10**30}, ("int_parsing_size", ["body", "max_iterations"])),
    ({"stuck_detection": "perhaps"}, ("bool_parsing", ["body", "stuck_detection"])),
    ({"confirmation_policy": {"kind": "Perhaps"}}, ("union_tag_invalid", ["body", "confirmation_policy"])),
    ({"confirmation_policy": {"kind": "ConfirmRisky", "threshold": "HUGE"}}, ("enum", ["body", "confirmation_policy"])),
    ({"security_analyzer": {"kind": "Nobody"}}, ("union_tag_invalid", ["body", "security_analyzer"])),
    ({"initial_message": {"role": "assistant", "content": []}}, ("value_error", ["body", "initial_message", "role"])),
    ({"initial_message": {"content": "text"}}, ("list_type", ["body", "initial_message", "content"])),
    ({"initial_message": {"content": [{"type": "text"}]}}, ("missing", ["body", "initial_message", "content", 0, "text"])),
    ({"initial_message": {"content": [{"type": "video"}]}},
     ("literal_error", ["body", "initial_message", "content", 0, "type"])),
    ({"initial_message": {"content": [{"text": "a", "colour": 1}]}},
     ("extra_forbidden", ["body", "initial_message", "content", 0, "colour"])),
    ({"initial_message": {"content": [{"type": "image", "image_urls": "x"}]}},
     ("list_type", ["body", "initial_message", "content", 0, "image_urls"])),
    ({"tags": {"Bad": "x"}}, ("value_error", ["body", "tags", "Bad"])),
    ({"tags": {"good": "x" * 257}}, ("value_error", ["body", "tags", "good"])),
    ({"tags": {"good": 1}}, ("string_type", ["body", "tags", "good"])),
    ({"tags": []}, ("dict_type", ["body", "tags"])),
    ({"secrets": {"": "x"}}, ("value_error", None)),
    ({"secrets": {"A": 5}}, ("value_error", None)),
    ({"secrets": {"A": {"kind": "Spell"}}}, ("union_tag_invalid", None)),
    ({"client_tools": {}}, ("list_type", ["body", "client_tools"])),
    ({"plugins": ["x"]}, ("model_attributes_type", ["body", "plugins", 0])),
    ({"observability_span_name": "a b"}, ("string_pattern_mismatch", ["body", "observability_span_name"])),
    ({"agent_launch_additions": {"else": 1}}, ("extra_forbidden", ["body", "agent_launch_additions", "else"])),
    ({"agent_launch_additions": {"system_message_suffix_append": "x" * 32769}},
     ("string_too_long", ["body", "agent_launch_additions", "system_message_suffix_append"])),
]


@pytest.mark.parametrize("change,expected", WRONG, ids=[str(list(c)[0]) + str(i) for i, (c, _) in enumerate(WRONG)])
def test_a_wrong_request_says_where(server, tmp_path, change, expected):
    before = server.http.get("/api/conversations/count").json()
    found = problems(post(server, request_body(tmp_path, **change)))
    kind, place = expected
    assert kind in [k for k, _ in found], found
    if place:
        assert place in [p for _, p in found], found
    assert server.http.get("/api/conversations/count").json() == before


def test_neither_agent_nor_settings(server, tmp_path):
    answer = post(server, {"workspace": {"working_dir": str(tmp_path)}})
    assert answer.status_code == 422
    assert "One of `agent`, `agent_settings`, or `agent_profile_id` must be provided" in answer.json()["detail"][0]["msg"]


def test_malformed_json(server):
    for text, kind in (("{", "json_invalid"), ("", "missing"), ("[]", "model_attributes_type"),
                       ('{"a":1,"a":2}', "json_invalid"), ("[" * 100 + "]" * 100, "json_invalid")):
        answer = server.http.post("/api/conversations", content=text, headers={"Content-Type": "application/json"})
        assert answer.status_code == 422, text[:20]
        assert kind in [p["type"] for p in answer.json()["detail"]], (text[:20], answer.text)
    answer = server.http.post("/api/conversations", content=b'{"a":"\xff"}', headers={"Content-Type": "application/json"})
    assert answer.status_code == 422


def test_secrets_do_not_come_back_in_a_problem(server, tmp_path):
    body = request_body(tmp_path, max_iterations="x", secrets={"TOKEN": {"kind": "Spell", "value": "hunter2-hunter2"}})
    body["agent"]["llm"] = {"api_key": "sk-very-secret", "model": 5}
    body["agent"]["kind"] = "Nothing"
    text = post(server, body).text
    assert "sk-very-secret" not in text and "hunter2" not in text


# ---- reading


def test_missing_and_bad_ids(server):
    for path in ("", "/agent_final_response"):
        answer = server.http.get(f"/api/conversations/{MISSING}{path}")
        assert (answer.status_code, answer.json()) == (404, {"detail": "Not Found"})
        answer = server.http.get(f"/api/conversations/not-a-uuid{path}")
        assert problems(answer) == [("uuid_parsing", ["path", "conversation_id"])]


def test_batch(server, tmp_path):
    ids = [post(server, request_body(tmp_path)).json()["id"] for _ in range(2)]
    answer = server.http.get("/api/conversations", params={"ids": [ids[0], MISSING, ids[1].replace("-", "")]})
    items = answer.json()
    assert [item and item["id"] for item in items] == [ids[0], None, ids[1]]
    assert problems(server.http.get("/api/conversations")) == [("missing", ["query", "ids"])]
    assert problems(server.http.get("/api/conversations", params={"ids": ["x"]}))[0][0] == "uuid_parsing"
    assert server.http.get("/api/conversations", params={"ids": [MISSING] * 100}).json() == [None] * 100
    assert problems(server.http.get("/api/conversations", params={"ids": [MISSING] * 101}))[0][0] == "too_long"


def test_search_pages_in_every_order(make_server, tmp_path):
    server = make_server()
    made = [post(server, request_body(tmp_path)).json()["id"] for _ in range(7)]
    server.http.patch(f"/api/conversations/{made[2]}", json={"title": "changed last"})
    updated = made[:2] + made[3:] + [made[2]]
    orders = {None: made[::-1], "CREATED_AT": made, "CREATED_AT_DESC": made[::-1], "UPDATED_AT": updated,
              "UPDATED_AT_DESC": updated[::-1]}
    for order, expected in orders.items():
        seen, page, pages = [], None, 0
        while True:
            query = {"limit": 3, "page_id": page, "sort_order": order}
            answer = server.http.get("/api/conversations/search", params={k: v for k, v in query.items() if v})
            body = answer.json()
            seen += [item["id"] for item in body["items"]]
            pages += 1
            if body["next_page_id"] is None:
                break
            page = body["next_page_id"]
            assert len(page) == 32
        assert (seen, pages) == (expected, 3), order
    whole = server.http.get("/api/conversations/search").json()
    assert whole["next_page_id"] is None and len(whole["items"]) == 7
    assert server.http.get("/api/conversations/count").json() == 7


def test_a_page_that_has_gone(make_server, tmp_path):
    """The first item of the next page was deleted meanwhile: an answer, and no error of the server."""
    server = make_server()
    made = [post(server, request_body(tmp_path)).json()["id"] for _ in range(4)]
    page = server.http.get("/api/conversations/search", params={"limit": 2}).json()["next_page_id"]
    server.http.delete(f"/api/conversations/{page}")
    for name in (page, MISSING):
        for flag in ("false", "true"):
            answer = server.http.get("/api/conversations/search", params={"page_id": name, "include_skills": flag})
            assert problems(answer) == [("value_error", ["query", "page_id"])]
    assert len(server.http.get("/api/conversations/search").json()["items"]) == len(made) - 1


def test_search_by_status(make_server, tmp_path):
    server = make_server()
    ids = [post(server, request_body(tmp_path)).json()["id"] for _ in range(3)]
    server.http.post(f"/api/conversations/{ids[1]}/pause")
    for name in ("status", "agent_status"):
        found = server.http.get("/api/conversations/search", params={name: "paused"}).json()["items"]
        assert [item["id"] for item in found] == [ids[1]]
        assert server.http.get("/api/conversations/count", params={name: "paused"}).json() == 1
    assert server.http.get("/api/conversations/count", params={"status": "idle"}).json() == 2
    assert server.http.get("/api/conversations/count", params={"status": "deleting"}).json() == 0


@pytest.mark.parametrize("query,kind", [
    ({"limit": 0}, "greater_than"), ({"limit": -5}, "greater_than"), ({"limit": 101}, "less_than_equal"),
    ({"limit": 10**40}, None), ({"limit": "x"}, "int_parsing"), ({"limit": 1.5}, "int_parsing"),
    ({"status": "sleeping"}, "enum"), ({"sort_order": "RANDOM"}, "enum"), ({"page_id": "zz"}, "uuid_parsing"),
])
def test_wrong_queries(server, query, kind):
    found = problems(server.http.get("/api/conversations/search", params=query))
    assert found[0][1] == ["query", list(query)[0]]
    assert kind in (None, found[0][0])


def test_include_skills(server, tmp_path):
    body = request_body(tmp_path)
    body["agent"]["agent_context"] = {"skills": [{"name": "a", "content": "Do it well.", "trigger": None}]}
    made = post(server, body).json()
    assert made["agent"]["agent_context"]["skills"] == []
    for path, pick in ((f"/api/conversations/{made['id']}", lambda b: b),
                       ("/api/conversations/search", lambda b: b["items"][0]),
                       (f"/api/conversations?ids={made['id']}", lambda b: b[0])):
        plain = pick(server.http.get(path).json())
        full = pick(server.http.get(path + ("&" if "?" in path else "?") + "include_skills=true").json())
        assert plain["agent"]["agent_context"]["skills"] == []
        assert full["agent"]["agent_context"]["skills"][0]["content"] == "Do it well."


# ---- changing and deleting


def test_patch(server, tmp_path):
    path = "/api/conversations/" + post(server, request_body(tmp_path, tags={"a": "1"})).json()["id"]
    assert server.http.patch(path, json={"title": "Ein Titel ✓"}).json() == {"success": True}
    assert server.http.get(path).json()["title"] == "Ein Titel ✓"
    assert server.http.get(path).json()["tags"] == {"a": "1"}
    assert server.http.patch(path, json={"tags": {"b": "2"}, "title": None}).json() == {"success": True}
    info = server.http.get(path).json()
    assert (info["title"], info["tags"]) == ("Ein Titel ✓", {"b": "2"})
    assert server.http.patch(path, json={"title": "x" * 200}).status_code == 200
    for body, kind in (({"title": ""}, "string_too_short"), ({"title": "x" * 201}, "string_too_long"),
                       ({"title": 5}, "string_type"), ({"tags": {"B": "x"}}, "value_error"), ([], "model_attributes_type")):
        assert problems(server.http.patch(path, json=body))[0][0] == kind
    missing = server.http.patch(f"/api/conversations/{MISSING}", json={"title": "x"})
    assert (missing.status_code, missing.json()) == (200, {"success": False})


def test_delete_and_make_again(server, tmp_path):
    (tmp_path / "keep").write_text("mine")
    wanted = str(uuid.uuid4())
    path = f"/api/conversations/{wanted}"
    for _ in range(2):
        assert post(server, request_body(tmp_path, conversation_id=wanted)).status_code == 201
        assert server.send(wanted, "hello").status_code == 200
        assert server.http.delete(path).json() == {"success": True}
        assert server.http.get(path).status_code == 404
        assert server.http.get(path + "/events/search").status_code == 404
    again = server.http.delete(path)
    assert (again.status_code, again.json()) == (400, {"detail": "Bad Request"})
    assert server.http.delete("/api/conversations/xyz").status_code == 422
    assert (tmp_path / "keep").read_text() == "mine"


def test_conversations_outlive_the_server(make_server, tmp_path):
    server = make_server(data=tmp_path / "data")
    made = post(server, request_body(tmp_path / "ws")).json()
    server.send(made["id"], "remember this")
    events = server.events(made["id"])
    assert server.stop() == 0
    server = make_server(data=tmp_path / "data")
    assert server.http.get(f"/api/conversations/{made['id']}").json()["id"] == made["id"]
    assert server.events(made["id"]) == events


# ---- size


def large_agent(size):
    return {"kind": "Agent", "llm": {"model": "scripted/finish", "usage_id": "default"}, "note": "x" * size}


def test_an_agent_has_a_largest_size(server, tmp_path):
    body = request_body(tmp_path)
    answer = post(server, {**body, "agent": large_agent(3_000_000)})
    assert problems(answer) == [("too_long", ["body", "agent"])]
    assert "2 MiB" in answer.json()["detail"][0]["msg"] and len(answer.text) < 1000
    answer = post(server, {**body, "hook_config": {"note": "x" * 3_000_000}})
    assert ("too_long", ["body", "hook_config"]) in problems(answer)


def test_answers_about_large_conversations_are_bounded(make_server, tmp_path):
    server = make_server()
    made = [server.create(tmp_path, agent=large_agent(1_900_000)) for _ in range(9)]
    for flag in ("false", "true"):
        seen, page = [], None
        while True:
            query = {"include_skills": flag, "sort_order": "CREATED_AT", **({"page_id": page} if page else {})}
            answer = server.http.get("/api/conversations/search", params=query)
            assert len(answer.content) < 12_000_000
            seen += [item["id"] for item in answer.json()["items"]]
            page = answer.json()["next_page_id"]
            if not page:
                break
        assert seen == made
    for ids in (made, made[:1] * 100):
        refused = server.http.get("/api/conversations", params={"ids": ids})
        assert refused.status_code == 413 and "16 MiB" in refused.json()["detail"]
    assert [c["id"] for c in server.http.get("/api/conversations", params={"ids": made[:2] * 2}).json()] == made[:2] * 2
