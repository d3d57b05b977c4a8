// The public TypeScript client against a real server: create, send, run, read events from the socket.
// node --test tests/js/client.test.mjs
import { test, before, after } from "node:test";
import assert from "node:assert/strict";
import WebSocket from "ws";
import { startHandsd, startModel } from "./handsd.mjs";

globalThis.window = { WebSocket }; // the client looks for a browser's WebSocket first
const { RemoteConversation, RemoteWorkspace } = await import("@openhands/typescript-client");

const key = "js-test-key";
let server, model;

before(async () => {
    server = await startHandsd({ key });
    model = await startModel();
});

after(async () => {
    await model?.stop();
    assert.equal(await server?.stop(), 0);
});

const agent = () => ({
    kind: "Agent",
    llm: { model: "openai/test-model", base_url: model.base, api_key: "sk-test", usage_id: "default" },
    tools: [{ name: "terminal" }, { name: "file_editor" }],
});

/** Collects a conversation's events and lets a test wait for one. */
function watcher() {
    const seen = [];
    const waiting = [];
    return {
        seen,
        callback(event) {
            seen.push(event);
            for (const w of [...waiting])
                if (w.match(event)) {
                    waiting.splice(waiting.indexOf(w), 1);
                    w.resolve(event);
                }
        },
        next: (match) => new Promise((resolve) => waiting.push({ match, resolve })),
    };
}

const isStatus = (status) => (e) =>
    e.kind === "ConversationStateUpdateEvent" && e.key === "full_state" && e.value.execution_status === status;

test("create, send, run, and read events from the socket", { timeout: 60000 }, async () => {
    await model.script(
        { text: "I write it.", tool_calls: [{ name: "file_editor", arguments: { command: "create", path: `${server.folder}/work/hello.py`, file_text: "print('hello from here')\n" } }] },
        { tool_calls: [{ name: "terminal", arguments: { command: "python3 hello.py" } }] },
        { tool_calls: [{ name: "finish", arguments: { message: "It prints a greeting." } }] },
    );
    const events = watcher();
    const workspace = new RemoteWorkspace({ host: server.url, workingDir: `${server.folder}/work`, apiKey: key });
    const conversation = new RemoteConversation(agent(), workspace, { callback: events.callback });
    await conversation.start();
    const attached = events.next((e) => e.key === "full_state");
    await conversation.startWebSocketClient();
    await attached;
    await conversation.sendMessage("Write a greeting and run it.");
    const finished = events.next(isStatus("finished"));
    await conversation.run();
    await finished;

    const kinds = events.seen.filter((e) => e.kind !== "ConversationStateUpdateEvent").map((e) => e.kind);
    assert.deepEqual(kinds, [
        "SystemPromptEvent", "MessageEvent", "ActionEvent", "ObservationEvent", "ActionEvent", "ObservationEvent", "ActionEvent", "ObservationEvent",
    ]);
    const terminal = events.seen.find((e) => e.kind === "ObservationEvent" && e.tool_name === "terminal").observation;
    assert.equal(terminal.exit_code, 0);
    assert.match(terminal.content[0].text, /hello from here/);
    assert.equal(await conversation.getAgentFinalResponse(), "It prints a greeting.");
    assert.equal(await conversation.state.getAgentStatus?.() ?? "finished", "finished");
    const stats = await conversation.conversationStats();
    assert.ok(stats.usage_to_metrics.default.accumulated_token_usage.prompt_tokens > 0);
    await conversation.setTitle("A greeting");
    await conversation.close();
});

test("a confirmation is asked for, rejected, and accepted by the next run", { timeout: 60000 }, async () => {
    await model.script(
        { tool_calls: [{ name: "terminal", arguments: { command: "touch first" } }] },
        { tool_calls: [{ name: "terminal", arguments: { command: "touch second && ls" } }] },
        { text: "Done." },
    );
    const events = watcher();
    const workspace = new RemoteWorkspace({ host: server.url, workingDir: `${server.folder}/confirm`, apiKey: key });
    const conversation = new RemoteConversation(agent(), workspace, { callback: events.callback });
    await conversation.start();
    const attached = events.next((e) => e.key === "full_state");
    await conversation.startWebSocketClient();
    await attached;
    await conversation.setConfirmationPolicy({ kind: "AlwaysConfirm" });
    await conversation.sendMessage("Make two files.");

    let waits = events.next(isStatus("waiting_for_confirmation"));
    await conversation.run();
    await waits;
    const rejected = events.next((e) => e.kind === "UserRejectObservation");
    await conversation.sendConfirmationResponse(false, "not that one");
    assert.equal((await rejected).rejection_reason, "not that one");

    waits = events.next(isStatus("waiting_for_confirmation"));
    await conversation.run();
    await waits;
    const finished = events.next(isStatus("finished"));
    await conversation.sendConfirmationResponse(true);
    await finished;
    const listing = events.seen.find((e) => e.kind === "ObservationEvent").observation.content[0].text;
    assert.match(listing, /second/);
    assert.doesNotMatch(listing, /first/);
    await conversation.close();
});

test("a wrong key is refused", async () => {
    const workspace = new RemoteWorkspace({ host: server.url, workingDir: server.folder, apiKey: "wrong" });
    await assert.rejects(new RemoteConversation(agent(), workspace).start(), /401/);
});
