"""What an agent is taught: skills that come with the client or lie in the workspace, suffixes, and prompts of one's own.

What counts is what the model was sent, so that is what these tests read."""

import json
import os
import socket
import uuid

import pytest

from handsd import Handsd
from talk import Talk, call

FINISH = {"tool_calls": [call("finish", message="All done.")]}


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    folder = tmp_path_factory.mktemp("handsd")
    home = folder / "home"
    home.mkdir()
    with Handsd(folder / "data", scripts=folder / "scripts", env={"HOME": str(home)}) as running:
        running.home = home
        yield running


@pytest.fixture
def teach(server, model, work):
    """teach({"skills": […]}, answers…) → a conversation whose agent has that context and whose model answers these."""
    opened = []

    def make(context=None, *answers, tools=("terminal",), agent_more=None, where=None, **more):
        model.plays(*answers, default=FINISH)
        agent = {"kind": "Agent",
                 "llm": {"model": "openai/test-model", "api_key": "sk-test-0123456789", "base_url": f"{model.url}/v1",
                         "usage_id": "default", "num_retries": 0},
                 "tools": [{"name": name} for name in tools], **(agent_more or {})}
        if context is not None:
            agent["agent_context"] = context
        talk = Talk(server, where or work, model="openai/test-model", **{"agent": agent, **more})
        opened.append(talk)
        return talk

    yield make
    for talk in opened:
        talk.socket.close()


def text_of(message):
    content = message["content"]
    return content if isinstance(content, str) else "".join(part.get("text", "") for part in content)


def told(model, at=-1):
    """What the model was sent: the system prompt, and each user message."""
    messages = model.requests()[at]["body"]["messages"]
    return text_of(messages[0]), [text_of(m) for m in messages if m["role"] == "user"]


def tool_names(model):
    return [tool["function"]["name"] for tool in model.requests()[-1]["body"]["tools"]]


def skill_file(folder, name, text):
    file = folder / name
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)
    return file


PROJECT = {"load_project_skills": True}


# ---- skills of the client


def test_forms_of_the_documentation(teach, model):
    """Skills as the conversation page prints them: one always there, one by its word."""
    context = {
        "skills": [
            {"name": "repo.md", "type": "repo", "content": "Answer like a grumpy cat."},
            {"name": "flarglebargle", "type": "knowledge", "trigger": ["flarglebargle"],
             "content": "# Magic\n\nThe magic word.\nTell the user how smart they are."}],
        "system_message_suffix": "Always end with yay.",
        "user_message_prefix": "ignored by everybody"}
    talk = teach(context)
    assert talk.say("hello there") == "finished"
    system, users = told(model)
    assert "Answer like a grumpy cat." in system and "Always end with yay." in system
    assert "The magic word." in system and "how smart" not in system + users[0]
    shown = talk.server.http.get(f"/api/conversations/{talk.id}", params={"include_skills": True}).json()
    assert shown["agent"]["agent_context"] == context
    assert shown["activated_knowledge_skills"] == []

    assert talk.say("Flarglebargle!") == "finished"
    users = told(model)[1]
    assert users[-1].startswith("Flarglebargle!") and "how smart they are" in users[-1]
    message = talk.events("MessageEvent")[-1]
    assert message["activated_skills"] == ["flarglebargle"]
    assert message["llm_message"]["content"][0]["text"] == "Flarglebargle!"
    assert len(message["extended_content"]) == 1 and message["extended_content"][0]["type"] == "text"
    assert talk.info()["activated_knowledge_skills"] == ["flarglebargle"]

    assert talk.say("flarglebargle again") == "finished"  # once is enough
    message = talk.events("MessageEvent")[-1]
    assert message["activated_skills"] == [] and message["extended_content"] == []
    assert told(model)[1][-1] == "flarglebargle again"


def test_words_have_edges(teach):
    """`git` is not in github, and case does not matter."""
    talk = teach({"skills": [
        {"name": "git", "content": "G", "trigger": {"type": "keyword", "keywords": ["git"]}},
        {"name": "deploy", "content": "Deploy ${target}.", "trigger": {"type": "task", "triggers": ["/deploy"]}}]})
    talk.server.send(talk.id, "look at github and digits")
    talk.server.send(talk.id, "now GIT, then /deploy.")
    assert [m["activated_skills"] for m in talk.events("MessageEvent")] == [[], ["git", "deploy"]]


def test_user_suffix(teach, model):
    talk = teach({"user_message_suffix": "  Be brief.  "})
    assert talk.say("Tell me a story") == "finished"
    message = talk.events("MessageEvent")[0]
    assert [c["text"] for c in message["extended_content"]] == ["Be brief."]
    assert message["activated_skills"] == []
    user = told(model)[1][0]
    assert user.startswith("Tell me a story") and user.endswith("Be brief.")


def test_secrets_of_the_context(teach, model):
    """They are the conversation's: named in the prompt, there for commands, hidden from output."""
    talk = teach({"secrets": {"TOKEN_A": "value-of-a-123", "TOKEN_B": {"kind": "StaticSecret", "value": "value-of-b-123"}}},
                 {"tool_calls": [call("terminal", command="echo $TOKEN_A-$TOKEN_B | tr a-z A-Z; echo $TOKEN_A")]}, FINISH,
                 secrets={"TOKEN_B": "the-request-goes-first"})
    assert talk.say() == "finished"
    assert "TOKEN_A" in told(model)[0] and "value-of" not in json.dumps(talk.events()) + json.dumps(talk.info())
    text = talk.events("ObservationEvent")[0]["observation"]["content"][0]["text"]
    assert "VALUE-OF-A-123-THE-REQUEST-GOES-FIRST" in text and "<secret-hidden>" in text


def test_activation_survives_a_restart(tmp_path, work):
    data = tmp_path / "data"
    context = {"skills": [{"name": "k", "content": "K", "trigger": ["word"]}]}
    with Handsd(data) as server:
        conversation = server.create(work, "scripted/demo", agent_more={"agent_context": context})
        server.send(conversation, "a word")
        server.kill()
    with Handsd(data) as server:
        server.send(conversation, "the word again")
        messages = [e for e in server.events(conversation) if e["kind"] == "MessageEvent"]
        assert [m["activated_skills"] for m in messages] == [["k"], []]
        assert server.http.get(f"/api/conversations/{conversation}").json()["activated_knowledge_skills"] == ["k"]


@pytest.mark.parametrize("context, where", [
    ({"skills": [{"name": "a", "content": "1"}, {"name": "a", "content": "2"}]}, "Duplicate skill name found: a"),
    ({"skills": [{"name": "a", "content": "1", "trigger": {"type": "moon"}}]}, "skills.0: trigger.type"),
    ({"skills": [{"name": "a", "content": "1", "trigger": [1, 2]}]}, "skills.0: trigger.0"),
    ({"skills": [{"name": "a", "content": "1", "trigger": ["x"] * 6000}]}, "5000"),
])
def test_bad_skills(server, model, work, context, where):
    answer = server.http.post("/api/conversations", json={
        "agent": {"llm": {"model": "scripted/demo"}, "agent_context": context}, "workspace": {"working_dir": str(work)}})
    assert answer.status_code == 422 and where in json.dumps(answer.json()), answer.text


# ---- skills that the model loads


def invoke(skill):
    return {"name": "invoke_skill", "arguments": {"name": skill}}


def agent_skill(**more):
    return {"name": "frobnitz-converter", "content": "Convert frobs to meters.", "is_agentskills_format": True,
            "description": "Knows <frobs>.", **more}


def test_invoke_skill(teach, model, tmp_path):
    source = skill_file(tmp_path / "frobnitz-converter", "SKILL.md", "placeholder")
    talk = teach({"skills": [agent_skill(source=str(source))]},
                 {"tool_calls": [invoke("frobnitz-converter")]}, FINISH)
    assert talk.info()["invoked_skills"] == []
    assert talk.say("Convert 3 frobs") == "finished"
    system, _ = told(model)
    assert "frobnitz-converter" in system and "Knows &lt;frobs&gt;." in system and "Convert frobs" not in system
    assert "invoke_skill" in tool_names(model)
    observation = talk.events("ObservationEvent")[0]["observation"]
    text = observation["content"][0]["text"]
    assert observation["kind"] == "InvokeSkillObservation" and observation["skill_name"] == "frobnitz-converter"
    assert not observation["is_error"] and text.startswith("Convert frobs to meters.")
    assert str(source.parent) in text and text.rstrip().endswith("relative to that directory.")
    assert talk.info()["invoked_skills"] == ["frobnitz-converter"]
    action = talk.events("ActionEvent")[0]
    assert action["action"] == {"name": "frobnitz-converter", "kind": "InvokeSkillAction"}
    assert any(t["kind"] == "InvokeSkillTool" for t in talk.events("SystemPromptEvent")[0]["tools"])


def test_invoke_skill_that_is_not_there(teach):
    talk = teach({"skills": [agent_skill(), agent_skill(name="secret", disable_model_invocation=True)]},
                 {"tool_calls": [invoke("nonsense"), invoke("secret")]}, FINISH)
    assert talk.say() == "finished"
    unknown, hidden = [e["observation"] for e in talk.events("ObservationEvent")][:2]
    assert unknown["is_error"] and "frobnitz-converter" in unknown["content"][0]["text"]
    assert hidden["is_error"] and "by itself" in hidden["content"][0]["text"]
    assert talk.info()["invoked_skills"] == []


def test_no_skill_no_tool(teach, model):
    talk = teach({"skills": [{"name": "a", "content": "A", "trigger": ["a"]}]})
    assert talk.say() == "finished"
    assert "invoke_skill" not in tool_names(model)
    assert "invoke_skill" not in talk.server.http.get("/api/tools/").json()


COMMANDS = "It is !`echo $((6 * 7))`, not `a!b` nor \\!`echo x`; !`exit 3`!\n```\n!`echo fence`\n```\n"


@pytest.mark.parametrize("tools, policy, runs", [
    (("terminal",), "NeverConfirm", True), (("file_editor",), "NeverConfirm", False), (("terminal",), "AlwaysConfirm", False)])
def test_commands_in_skills(teach, tools, policy, runs):
    """They run where the agent may run commands and nobody wants to see them first."""
    talk = teach({"skills": [agent_skill(content=COMMANDS)]},
                 {"tool_calls": [invoke("frobnitz-converter")]}, FINISH,
                 tools=tools, confirmation_policy={"kind": policy})
    talk.start()
    if policy == "AlwaysConfirm":
        talk.until(lambda e: e.get("key") == "full_state" and e["value"]["execution_status"] == "waiting_for_confirmation")
        talk.post("run")
    talk.until_kind("ObservationEvent")
    text = talk.events("ObservationEvent")[0]["observation"]["content"][0]["text"]
    if runs:
        assert text.startswith("It is 42, ") and "`a!b` nor !`echo x`" in text and "exit code 3" in text
        assert "!`echo fence`" in text
    else:
        assert text == COMMANDS


# ---- rules for files


def test_rules_for_paths(teach, model, work):
    """A rule comes with the first result that worked on one of its files, and only then."""
    skill_file(work, "src/a.py", "a = 1\n")
    skill_file(work, "notes.txt", "n\n")
    view = [{"name": "file_editor", "arguments": {"command": "view", "path": str(work / name)}}
            for name in ("notes.txt", "src/a.py", "src/a.py")]
    rule = {"name": "python", "content": "Four spaces.", "trigger": {"type": "path", "paths": ["src/**/*.py"]}}
    talk = teach({"skills": [rule]}, *[{"tool_calls": [one]} for one in view], FINISH, tools=("file_editor",))
    assert talk.say() == "finished"
    assert "Four spaces" not in told(model, 0)[0] and "python" not in told(model, 0)[0]
    added = [[c["text"] for c in e["extended_content"]] for e in talk.events("ObservationEvent")[:3]]
    assert added[0] == [] and added[2] == [] and len(added[1]) == 1 and "Four spaces." in added[1][0]
    results = [text_of(m) for m in model.requests()[-1]["body"]["messages"] if m["role"] == "tool"]
    assert ["Four spaces." in text for text in results] == [False, True, False]


# ---- files of the workspace


def test_repository_files(teach, model, work):
    skill_file(work, "AGENTS.md", "House rule: tabs.")
    skill_file(work, "CLAUDE.md", "Rules for Claude.")
    skill_file(work, ".cursorrules", "Cursor says hi.")
    skill_file(work, ".openhands/microagents/repo.md", "---\nname: repo\ntype: repo\n---\nOld repo notes.")
    skill_file(work, ".openhands/skills/ship.md", "---\nname: ship\ntriggers:\n- ship it\ndescription: Ships.\n---\nHow to ship.")
    skill_file(work, ".agents/skills/pdf/SKILL.md", "---\nname: pdf\ndescription: Reads PDF files.\n---\nUse pdftotext.")
    talk = teach(PROJECT, {"tool_calls": [invoke("pdf")]}, FINISH)
    assert talk.say("please ship it") == "finished"
    system, users = told(model, 0)
    for part in ("House rule: tabs.", "Rules for Claude.", "Cursor says hi.", "Old repo notes.", "Reads PDF files.", "Ships."):
        assert part in system, part
    assert "How to ship." not in system and "Use pdftotext" not in system
    assert "How to ship." in users[0]
    assert talk.info()["activated_knowledge_skills"] == ["ship"]
    text = talk.events("ObservationEvent")[0]["observation"]["content"][0]["text"]
    assert text.startswith("Use pdftotext.") and "`.agents/skills/pdf`" in text
    assert "tabs" not in json.dumps(talk.info()["agent"])  # what the client sent is what it gets back


def test_not_unless_asked_for(teach, model, work):
    skill_file(work, "AGENTS.md", "House rule: tabs.")
    assert teach({}).say() == "finished"
    assert "House rule" not in told(model)[0]


def test_project_goes_before_client_and_user_behind(teach, server, model, work):
    skill_file(work, ".openhands/skills/one.md", "project's one")
    skill_file(server.home, ".openhands/skills/one.md", "user's one")
    skill_file(server.home, ".agents/skills/two.md", "user's two")
    skill_file(server.home, ".agents/skills/three.md", "user's three")
    skill_file(server.home, ".agents/skills/four.md", "user's four")
    skill_file(server.home, "AGENTS.md", "no guide of anybody")
    talk = teach({**PROJECT, "load_user_skills": True, "disabled_skills": ["four"],
                  "skills": [{"name": "one", "content": "client's one"}, {"name": "two", "content": "client's two"}]})
    assert talk.say() == "finished"
    system = told(model)[0]
    for part in ("project's one", "client's two", "user's three"):
        assert part in system
    for part in ("user's one", "client's one", "user's two", "user's four", "no guide"):
        assert part not in system


def test_root_of_the_repository(teach, model, work):
    """An agent that works in a folder of a repository gets the repository's rules, too; the folder's go first."""
    (work / ".git").mkdir()
    skill_file(work, "AGENTS.md", "root rules")
    skill_file(work, "GEMINI.md", "root gemini")
    skill_file(work, "part/AGENTS.md", "part rules")
    talk = teach(PROJECT, where=work / "part")
    assert talk.say() == "finished"
    system = told(model)[0]
    assert "part rules" in system and "root rules" not in system and "root gemini" in system


def test_files_are_read_once(tmp_path, model, work):
    """What the first message was given stays, whatever becomes of the files and the server."""
    data = tmp_path / "data"
    skill_file(work, "AGENTS.md", "first version")
    skill_file(work, ".openhands/skills/k.md", "---\ntriggers: [word]\n---\nfirst knowledge")
    model.plays(default=FINISH)
    llm = {"model": "openai/m", "api_key": "sk-0123456789", "base_url": f"{model.url}/v1", "num_retries": 0}
    with Handsd(data) as server:
        conversation = server.create(work, agent_more={"llm": llm, "agent_context": PROJECT})
        server.send(conversation, "hello")
        server.kill()
    skill_file(work, "AGENTS.md", "second version")
    skill_file(work, ".openhands/skills/k.md", "---\ntriggers: [word]\n---\nsecond knowledge")
    with Handsd(data) as server:
        server.send(conversation, "the word", run=True)
        model.requests(wait=1)
        system, users = told(model)
    assert "first version" in system and "second version" not in system
    assert "first knowledge" in users[-1] and "second knowledge" not in users[-1]


def test_messages_that_wait_for_the_files_keep_their_order(teach, work):
    skill_file(work, "AGENTS.md", "x" * 100000)
    talk = teach(PROJECT, initial_message={"role": "user", "content": [{"type": "text", "text": "first"}]})
    talk.server.send(talk.id, "second")
    texts = [m["llm_message"]["content"][0]["text"] for m in talk.events("MessageEvent") if m["source"] == "user"]
    assert texts == ["first", "second"]
    assert talk.kinds()[0] == "SystemPromptEvent" and talk.kinds().count("SystemPromptEvent") == 1


def test_hostile_files(teach, model, work, tmp_path):
    """Whatever lies there, the conversation begins, without what cannot be used."""
    secret = skill_file(tmp_path, "outside.md", "secret of somebody else")
    skills = work / ".openhands" / "skills"
    skill_file(work, "AGENTS.md", "good rules")
    os.symlink("AGENTS.md", work / "CLAUDE.md")
    os.symlink(secret, work / "GEMINI.md")
    os.mkfifo(work / ".cursorrules")
    skill_file(skills, "huge.md", "x" * 300000)
    skill_file(skills, "alias.md", "---\na: &a [1]\nb: *a\n---\nalias bomb")
    skill_file(skills, "yaml.md", "---\na: [\n---\nbad yaml")
    skill_file(skills, "python.md", "---\na: !!python/object/apply:os.system ['touch /tmp/x']\n---\ntagged")
    (skills / "latin.md").write_bytes(b"caf\xe9")
    (skills / os.fsdecode(b"na\xefve.md")).write_text("bad name")
    os.mkfifo(skills / "fifo.md")
    os.symlink(tmp_path, skills / "out")
    os.symlink(secret, skills / "link.md")
    os.symlink("loop.md", skills / "loop.md")
    (skills / "dir.md").mkdir()
    os.symlink("..", skills / "up")
    with socket.socket(socket.AF_UNIX) as s:
        s.bind(str(skills / "s.md")) if len(str(skills)) < 90 else None
    (work / ".agents" / "skills" / "Bad_Name").mkdir(parents=True)
    skill_file(work, ".agents/skills/Bad_Name/SKILL.md", "bad name")
    skill_file(work, ".agents/skills/good/SKILL.md", "---\ndescription: the good one\n---\nx")
    deep = skills
    for i in range(40):
        deep = deep / "d"
    skill_file(deep, "deep.md", "too deep")
    talk = teach(PROJECT)
    assert talk.say() == "finished"
    system = told(model)[0]
    assert system.count("good rules") == 1 and "the good one" in system and "tagged" in system
    for part in ("secret of", "xxxx", "alias bomb", "bad yaml", "caf", "bad name", "too deep"):
        assert part not in system, part


# ---- prompts of one's own


def test_prompt_as_text(teach, model):
    """A text is taken as it stands: it may well talk about templates."""
    talk = teach(None, agent_more={"system_prompt": "Write {{ jinja }} and {% nonsense."})
    assert talk.say() == "finished"
    assert told(model)[0].startswith("Write {{ jinja }} and {% nonsense.")


TEMPLATE = "You are {{ name }}.{% if cli_mode %} In a terminal.{% endif %}{% for r in rules %} {{ loop.index }}) {{ r }}{% endfor %}"
KWARGS = {"name": "Ada", "cli_mode": True, "rules": ["be kind", "be brief"]}
RENDERED = "You are Ada. In a terminal. 1) be kind 2) be brief"


def test_prompt_as_template(teach, model):
    talk = teach(None, agent_more={"system_prompt": TEMPLATE, "system_prompt_kwargs": KWARGS})
    assert talk.say() == "finished"
    assert told(model)[0].startswith(RENDERED)


def test_prompt_as_file(teach, model, tmp_path):
    file = skill_file(tmp_path, "prompt.j2", TEMPLATE + "{{ model_name }}\n")
    talk = teach(None, agent_more={"system_prompt_filename": str(file), "system_prompt_kwargs": KWARGS})
    assert talk.say() == "finished"
    assert told(model)[0].startswith(RENDERED + "openai/test-model")


def test_prompt_file_that_cannot_be_used(teach, work, tmp_path):
    """The message is refused with the reason; it can be sent again when the file is there."""
    file = tmp_path / "prompt.j2"
    talk = teach(None, agent_more={"system_prompt_filename": str(file)})
    answer = talk.server.send(talk.id, "hello")
    assert answer.status_code == 422 and "system_prompt_filename" in answer.text
    os.mkfifo(file)
    assert talk.server.send(talk.id, "hello").status_code == 422
    file.unlink()
    file.write_text("ok\n{% include 'other' %}")
    answer = talk.server.send(talk.id, "hello")
    assert answer.status_code == 422 and "line 2" in answer.text and "include" in answer.text
    file.write_text("Fine now.")
    assert talk.server.send(talk.id, "hello").status_code == 200
    assert talk.events("SystemPromptEvent")[0]["system_prompt"]["text"] == "Fine now."
    assert len(talk.events("MessageEvent")) == 1


def test_a_creation_that_fails_leaves_nothing(server, work, tmp_path):
    """Its message is not sent later, when nobody expects it; and its id is free."""
    file, id = tmp_path / "prompt.j2", str(uuid.uuid4())
    body = {"conversation_id": id, "workspace": {"working_dir": str(work)},
            "agent": {"kind": "Agent", "tools": [], "llm": {"model": "scripted/demo"}, "system_prompt_filename": str(file)},
            "initial_message": {"role": "user", "content": [{"type": "text", "text": "hello"}]}}
    assert server.http.post("/api/conversations", json=body).status_code == 422
    assert server.http.get(f"/api/conversations/{id}").status_code == 404
    file.write_text("Fine now.")
    assert server.http.post("/api/conversations", json=body).status_code == 201
    assert [e["kind"] for e in server.events(id)].count("MessageEvent") == 1


@pytest.mark.parametrize("more, part", [
    ({"system_prompt": "{% for x in %}", "system_prompt_kwargs": {"a": 1}}, "line 1"),
    ({"system_prompt": "{{ a.__class__ }}", "system_prompt_kwargs": {"a": 1}}, "__class__"),
    ({"system_prompt": "{{ a | system }}", "system_prompt_kwargs": {"a": 1}}, "no filter system"),
    ({"system_prompt": "x", "system_prompt_filename": "/a.j2"}, "both"),
    ({"system_prompt_filename": "../../etc/passwd"}, "is not known here"),
    ({"system_prompt": "x", "system_prompt_kwargs": []}, "system_prompt_kwargs"),
])
def test_bad_prompts(server, work, more, part):
    answer = server.http.post("/api/conversations", json={
        "agent": {"llm": {"model": "scripted/demo"}, **more}, "workspace": {"working_dir": str(work)}})
    assert answer.status_code == 422 and part in json.dumps(answer.json()), answer.text
