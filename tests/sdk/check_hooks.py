"""Hooks and secrets by URL as a program with the SDK gives them: they run on the server, and the client understands what it
is told of them."""

import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

from conftest import FINISH, assert_same_log, call, of_kind, says
from openhands.sdk.conversation.state import ConversationExecutionStatus as Status
from openhands.sdk.hooks import HookConfig, HookDefinition, HookMatcher
from openhands.sdk.secret import LookupSecret


def one(command, matcher="*"):
    return [HookMatcher(matcher=matcher, hooks=[HookDefinition(command=command, timeout=20)])]


def test_hooks_of_every_kind(server, talk, model):
    model.plays(says(call("terminal", command="rm -rf nothing")), says(call("terminal", command="echo fine")), FINISH, FINISH)
    config = HookConfig(
        session_start=one("true"), session_end=one("true"), post_tool_use=one("cat >/dev/null"),
        user_prompt_submit=one("""echo '{"additionalContext": "The build is red."}'"""),
        pre_tool_use=one("grep -q 'rm -rf' && { echo 'Not this.' >&2; exit 2; }; exit 0", "terminal"),
        stop=one("""test -e done && exit 0; touch done; echo '{"decision": "deny", "reason": "Not yet."}'"""))
    conversation = talk(hook_config=config)
    assert conversation.state.hook_config == config
    conversation.send_message("go")
    conversation.run()
    assert conversation.state.execution_status == Status.FINISHED
    ran = of_kind(conversation, "HookExecutionEvent")
    assert [(e.hook_event_type, e.blocked) for e in ran] == [
        ("SessionStart", False), ("UserPromptSubmit", False), ("PreToolUse", True), ("PreToolUse", False), ("PostToolUse", False),
        ("PostToolUse", False), ("Stop", True), ("PostToolUse", False), ("Stop", False)]
    rejected = of_kind(conversation, "UserRejectObservation")
    assert [(e.rejection_source, e.rejection_reason) for e in rejected] == [("hook", "Not this.")]
    assert len(model.requests()) == 4
    assert_same_log(server, conversation)


def test_a_prompt_that_is_blocked(server, talk, model):
    model.plays(FINISH)
    conversation = talk(hook_config=HookConfig(user_prompt_submit=one("exit 2")))
    conversation.send_message("go")
    conversation.run()
    assert conversation.state.execution_status == Status.FINISHED
    assert model.requests() == []
    assert_same_log(server, conversation)


def test_a_secret_by_url(server, talk, model):
    asked = []

    class Vault(BaseHTTPRequestHandler):
        def do_GET(self):
            asked.append(self.headers["Authorization"])
            self.send_response(200)
            self.send_header("Content-Length", "14")
            self.end_headers()
            self.wfile.write(b"fetched-value!")

        def log_message(self, *_):
            pass

    vault = HTTPServer(("127.0.0.1", 0), Vault)
    threading.Thread(target=vault.serve_forever, daemon=True).start()
    model.plays(says(call("terminal", command="echo ${#TOKEN} $TOKEN")), FINISH)
    secret = LookupSecret(url=f"http://127.0.0.1:{vault.server_port}/token", headers={"Authorization": "Bearer of-the-vault"})
    conversation = talk(secrets={"TOKEN": secret})
    conversation.send_message("go")
    conversation.run()
    vault.shutdown()
    assert asked == ["Bearer of-the-vault"]
    text = of_kind(conversation, "ObservationEvent")[0].observation.content[0].text
    assert text.split() == ["14", "<secret-hidden>"]
    assert_same_log(server, conversation)
