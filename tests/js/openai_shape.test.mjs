// Checks the tests' own model server with the official client: what later tests rely on has to be the real shape.
// node --test tests/js/openai_shape.test.mjs
import { test, before, after } from "node:test";
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { fileURLToPath } from "node:url";
import OpenAI from "openai";

const program = fileURLToPath(new URL("../support/openai_server.py", import.meta.url));
let server, base, client;

before(async () => {
    server = spawn("python3", [program, "--until-eof", "--key", "sk-test"], { stdio: ["pipe", "pipe", "inherit"] });
    const [line] = await once(server.stdout, "data");
    base = `http://127.0.0.1:${parseInt(line)}`;
    client = new OpenAI({ baseURL: `${base}/v1`, apiKey: "sk-test", maxRetries: 0 });
});

after(async () => {
    server.stdin.end();
    await once(server, "exit");
});

const script = (...answers) => fetch(`${base}/script`, { method: "POST", body: JSON.stringify(answers) });
const tools = [{ type: "function", function: { name: "terminal", parameters: { type: "object", properties: {} } } }];
const request = (more) => ({ model: "test-model", messages: [{ role: "user", content: "hi" }], tools, ...more });

test("models are listed", async () => {
    const list = await client.models.list();
    assert.ok(list.data.some((m) => m.id === "test-model"));
});

test("a whole answer has text, calls and usage", async () => {
    await script({
        text: "Let me look.",
        tool_calls: [{ name: "terminal", arguments: { command: "ls" } }],
        usage: { prompt_tokens: 7, completion_tokens: 3, total_tokens: 10 },
    });
    const answer = await client.chat.completions.create(request());
    const [choice] = answer.choices;
    assert.equal(choice.message.content, "Let me look.");
    assert.equal(choice.finish_reason, "tool_calls");
    assert.deepEqual(JSON.parse(choice.message.tool_calls[0].function.arguments), { command: "ls" });
    assert.equal(answer.usage.total_tokens, 10);
});

test("a streamed answer adds up to the same", async () => {
    const text = "Several words, in several pieces, with ümläuts and 🎈.";
    await script({
        text,
        tool_calls: [
            { name: "terminal", arguments: { command: "echo a long enough command" } },
            { name: "think", arguments: { thought: "two calls" } },
        ],
    });
    const stream = client.chat.completions.stream(request({ stream_options: { include_usage: true } }));
    let deltas = 0;
    stream.on("content", () => deltas++);
    const answer = await stream.finalChatCompletion();
    assert.equal(answer.choices[0].message.content, text);
    assert.ok(deltas > 2);
    const calls = answer.choices[0].message.tool_calls;
    assert.deepEqual(calls.map((c) => c.function.name), ["terminal", "think"]);
    assert.equal(JSON.parse(calls[0].function.arguments).command, "echo a long enough command");
    assert.ok(answer.usage.prompt_tokens > 0);
});

test("errors have the status and the shape", async () => {
    await script({ status: 429, error: { message: "slow down", type: "rate_limit", code: "rate_limit_exceeded" } });
    await assert.rejects(client.chat.completions.create(request()), (e) => {
        assert.ok(e instanceof OpenAI.RateLimitError);
        assert.equal(e.code, "rate_limit_exceeded");
        return true;
    });
    const stranger = new OpenAI({ baseURL: `${base}/v1`, apiKey: "sk-wrong", maxRetries: 0 });
    await assert.rejects(stranger.chat.completions.create(request()), OpenAI.AuthenticationError);
});

test("a cut stream and a reset connection are noticed", async () => {
    await script({ text: "x".repeat(500), cut: "middle" }, { reset: true });
    await assert.rejects(async () => {
        for await (const _ of await client.chat.completions.create(request({ stream: true })));
    });
    await assert.rejects(client.chat.completions.create(request()), OpenAI.APIConnectionError);
});

test("requests are recorded, costs and headers sent", async () => {
    await fetch(`${base}/reset`, { method: "POST" });
    await script({ text: "paid", cost: 0.0025 });
    const { response } = await client.chat.completions.create(request()).withResponse();
    assert.equal(response.headers.get("x-litellm-response-cost"), "0.0025");
    const seen = await (await fetch(`${base}/requests?wait=1`)).json();
    assert.equal(seen.at(-1).body.messages[0].content, "hi");
    assert.equal(seen.at(-1).headers.authorization, "Bearer sk-test");
});
