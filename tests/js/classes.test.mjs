// The TypeScript client's classes, one after the other: conversations, bash, files, git, tools, skills, hooks, security.
// node --test tests/js/classes.test.mjs
import { test, before, after } from "node:test";
import assert from "node:assert/strict";
import { File } from "node:buffer";
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import WebSocket from "ws";
import { startHandsd, startModel } from "./handsd.mjs";

globalThis.File ??= File; // Node 18 has it only there
globalThis.window = { WebSocket }; // the client looks for a browser's WebSocket first
const { RemoteConversation, RemoteWorkspace, ConversationManager, BashWebSocketClient } = await import("@openhands/typescript-client");
const clients = await import("@openhands/typescript-client/clients");

const key = "js-test-key";
const limit = { timeout: 60000 };
let server, model, options, workspace;

before(async () => {
    server = await startHandsd({ key });
    model = await startModel();
    options = { host: server.url, apiKey: key };
    workspace = new RemoteWorkspace({ ...options, workingDir: join(server.folder, "work") });
    mkdirSync(workspace.workingDir);
});

after(async () => {
    await model?.stop();
    assert.equal(await server?.stop(), 0);
});

const agent = (more = {}) => ({
    kind: "Agent",
    llm: { model: "openai/test-model", base_url: model.base, api_key: "sk-test", usage_id: "default" },
    tools: [{ name: "terminal" }, { name: "file_editor" }],
    ...more,
});
const say = (text) => ({ role: "user", content: [{ type: "text", text }] });

/** Resolves when the conversation's socket has shown that its run is over. */
function finished(id) {
    return new Promise((resolve, reject) => {
        const socket = new WebSocket(`${server.url.replace("http", "ws")}/sockets/events/${id}?session_api_key=${key}`);
        socket.on("error", reject);
        socket.on("message", (data) => {
            const event = JSON.parse(data);
            if (event.key !== "full_state" || ["idle", "running"].includes(event.value.execution_status)) return;
            socket.close();
            resolve(event.value.execution_status);
        });
    });
}

test("ServerClient and ToolClient", limit, async () => {
    const one = new clients.ServerClient(options);
    assert.equal((await one.getAlive()).status, "ok");
    assert.equal((await one.getHealth()).status, "ok");
    assert.equal((await one.getReady()).status, "ready");
    const info = await one.getServerInfo();
    const tools = await new clients.ToolClient(options).listTools();
    for (const name of ["terminal", "file_editor", "task_tracker", "glob", "grep", "apply_patch"]) assert.ok(tools.includes(name), name);
    assert.ok(info.usable_tools.includes("terminal"));
});

test("ConversationClient: everything around one conversation", limit, async () => {
    const one = new clients.ConversationClient(options);
    const made = await one.createConversation({ agent: agent(), workspace: { working_dir: workspace.workingDir }, autotitle: false });
    const id = made.id;
    assert.equal((await one.getConversation(id)).execution_status, "idle");
    const missing = "99999999-2222-4333-8444-555555555555";
    assert.deepEqual((await one.getConversations([id, missing])).map((c) => c?.id ?? null), [id, null]);
    assert.ok((await one.countConversations()) >= 1);
    assert.ok((await one.searchConversations({ limit: 10 })).items.some((c) => c.id === id));
    await model.script({ tool_calls: [{ name: "terminal", arguments: { command: "echo seen" } }] }, { text: "All done." });
    const over = finished(id);
    await one.sendEvent(id, say("Go."), { run: true });
    assert.equal(await over, "finished");
    assert.equal((await one.getAgentFinalResponse(id)).response, "All done.");
    const page = await one.searchEvents(id, { limit: 100, kind: "ObservationEvent" });
    assert.equal(page.items.length, 1);
    const event = await one.getEvent(id, page.items[0].id);
    assert.equal(event.observation.exit_code, 0);
    assert.ok((await one.getEventCount(id)) > 4);
    await model.script({ text: "Because you asked." });
    assert.equal((await one.askAgent(id, "Why?")).response, "Because you asked.");
    await one.setConfirmationPolicy(id, { kind: "ConfirmRisky", threshold: "HIGH" });
    await one.setSecurityAnalyzer(id, { kind: "LLMSecurityAnalyzer" });
    assert.equal((await one.getConversation(id)).security_analyzer.kind, "LLMSecurityAnalyzer");
    await one.setSecurityAnalyzer(id, null);
    await one.updateSecrets(id, { secrets: { TOKEN: "a-secret-value" } });
    assert.ok("TOKEN" in (await one.getConversation(id)).secret_registry.secret_sources);
    await one.updateConversation(id, { title: "Changed" });
    assert.equal((await one.getConversation(id)).title, "Changed");
    await one.pauseConversation(id);
    await one.deleteConversation(id);
    await assert.rejects(one.getConversation(id), /404/);
});

test("ConversationClient: a condensation on request", limit, async () => {
    const one = new clients.ConversationClient(options);
    const condenser = { kind: "LLMSummarizingCondenser", max_size: 20, keep_first: 1, llm: { ...agent().llm, usage_id: "condenser" } };
    const { id } = await one.createConversation({ agent: agent({ condenser }), workspace: { working_dir: workspace.workingDir }, autotitle: false });
    for (let i = 0; i < 4; i++) {
        await model.script({ text: `answer ${i}` });
        const over = finished(id);
        await one.sendEvent(id, say(`question ${i}`), { run: true });
        await over;
    }
    await model.script({ text: "They asked four questions." });
    await one.condenseConversation(id);
    let found = [];
    for (let i = 0; i < 200 && !found.length; i++) found = (await one.searchEvents(id, { kind: "Condensation" })).items;
    assert.match(found[0].summary, /four questions/);
});

test("BashClient and BashWebSocketClient", limit, async () => {
    const one = new clients.BashClient(options);
    const seen = [];
    let wake = () => {};
    const socket = new BashWebSocketClient({ ...options, resendMode: "all", callback: (e) => (seen.push(e), wake()) });
    const until = async (match) => {
        while (!seen.some(match)) await new Promise((resolve) => (wake = resolve));
    };
    socket.start();
    const output = await one.executeCommand("echo out; echo err >&2; exit 3", workspace.workingDir, 30);
    assert.deepEqual([output.kind, output.exit_code, output.stdout, output.stderr], ["BashOutput", 3, "out\n", "err\n"]);
    const started = await one.startCommand({ command: "echo later", cwd: workspace.workingDir });
    await until((e) => e.kind === "BashOutput" && e.command_id === started.id && e.exit_code === 0);
    socket.stop();
    const page = await one.searchEvents({ command_id__eq: started.id, kind__eq: "BashOutput" });
    assert.equal(page.items.at(-1).stdout, "later\n");
    assert.equal((await one.getEvent(started.id)).command, "echo later");
    assert.deepEqual((await one.getEvents([started.id, output.id])).map((e) => e.kind), ["BashCommand", "BashOutput"]);
    assert.ok((await one.clearEvents()).cleared_count >= 4);
    assert.deepEqual((await one.searchEvents()).items, []);
});

test("RemoteWorkspace: commands, files and git", limit, async () => {
    const result = await workspace.executeCommand("git init -q . ; echo hello > a.txt; git add a.txt; git -c user.name=t -c user.email=t@localhost commit -qm one; echo more >> a.txt; echo new > b.txt", workspace.workingDir);
    assert.equal(result.exit_code, 0);
    assert.deepEqual(await workspace.gitChanges(workspace.workingDir), [{ status: "UPDATED", path: "a.txt" }, { status: "ADDED", path: "b.txt" }]);
    const diff = await workspace.gitDiff(join(workspace.workingDir, "a.txt"));
    assert.deepEqual([diff.original, diff.modified], ["hello", "hello\nmore"]);
    const path = join(workspace.workingDir, "deep/ünï cödé.txt");
    assert.equal((await workspace.uploadText("words", path)).success, true);
    assert.equal(await workspace.downloadAsText(path), "words");
    const big = new Blob([new Uint8Array(5 << 20).fill(7)]);
    assert.equal((await workspace.fileUpload(big, join(workspace.workingDir, "big.bin"))).success, true);
    assert.equal((await workspace.downloadAsBlob(join(workspace.workingDir, "big.bin"))).size, 5 << 20);
    assert.notEqual((await workspace.executeCommand("exit 4")).exit_code, 0);
});

test("FileClient", limit, async () => {
    const one = new clients.FileClient(options);
    await one.uploadTextFile("text", join(workspace.workingDir, "sub/of/file.txt"));
    assert.equal(await one.downloadTextFile(join(workspace.workingDir, "sub/of/file.txt")), "text");
    const page = await one.searchSubdirectories(workspace.workingDir);
    assert.ok(page.items.some((d) => d.name === "sub"));
    assert.equal(typeof (await one.getHome()).home, "string");
    await assert.rejects(one.downloadFile(join(workspace.workingDir, "missing")), /404/);
});

test("SkillsClient, HooksClient, VSCodeClient and DesktopClient", limit, async () => {
    const folder = join(workspace.workingDir, ".openhands");
    mkdirSync(join(folder, "skills"), { recursive: true });
    writeFileSync(join(folder, "skills/build.md"), "---\nname: build\ntriggers:\n- compile\n---\nUse make.\n");
    writeFileSync(join(folder, "hooks.json"), JSON.stringify({ hooks: { Stop: [{ hooks: [{ command: "true" }] }] } }));
    const found = await new clients.SkillsClient(options).getSkills({ load_public: false, load_user: false, load_org: false, project_dir: workspace.workingDir });
    const skill = found.skills.find((s) => s.name === "build");
    assert.deepEqual(skill.triggers, ["compile"]);
    assert.ok((await new clients.SkillsClient(options).syncSkills()).status);
    const hooks = await new clients.HooksClient(options).loadHooks({ project_dir: workspace.workingDir });
    assert.equal(hooks.hook_config.stop[0].hooks[0].command, "true");
    const code = new clients.VSCodeClient(options);
    assert.equal((await code.getStatus()).running, false);
    assert.equal(await code.getUrl(), null);
    await assert.rejects(new clients.DesktopClient(options).getUrl(), /503/);
});

test("ConversationManager and a trajectory", limit, async () => {
    const manager = new ConversationManager(options);
    await model.script({ text: "Hello." });
    const made = await manager.createConversation(agent(), { initialMessage: "Hi", workingDir: workspace.workingDir });
    assert.equal(await finished(made.id), "finished");
    assert.ok((await manager.getAllConversations()).some((c) => c.id === made.id));
    const again = await manager.loadConversation(made.id, workspace.workingDir);
    const zip = Buffer.from(await (await again.downloadTrajectory()).arrayBuffer());
    assert.equal(zip.subarray(0, 2).toString(), "PK");
    assert.ok(zip.includes(`${made.id.replaceAll("-", "")}/`));
});
