// Starts a real handsd for a browser, and finds the browser.
import { spawn } from "node:child_process";
import { once } from "node:events";
import { accessSync, constants, mkdtempSync, rmSync } from "node:fs";
import { createInterface } from "node:readline";
import { tmpdir } from "node:os";
import { delimiter, join } from "node:path";
import { fileURLToPath } from "node:url";

const root = fileURLToPath(new URL("../..", import.meta.url));
export const handsd = process.env.HANDSD ?? join(root, "build/handsd");

/** Path of Debian's Chromium or a like browser, or nothing. */
export function findBrowser() {
    for (const name of ["chromium", "chromium-browser", "google-chrome"])
        for (const folder of (process.env.PATH ?? "").split(delimiter))
            try {
                accessSync(join(folder, name), constants.X_OK);
                return join(folder, name);
            } catch {}
}

export async function startServer({ key, env = {} } = {}) {
    const folder = mkdtempSync(join(tmpdir(), "handsd-web-"));
    const child = spawn(handsd, ["serve", "--port", "0", "--legacy-port", "0", "--data", join(folder, "data")], {
        stdio: ["ignore", "pipe", "inherit"],
        env: { ...process.env, OH_CONVERSATIONS_PATH: join(folder, "conversations"), ...(key ? { SESSION_API_KEY: key } : {}), ...env },
    });
    const urls = {};
    for await (const line of createInterface({ input: child.stdout })) {
        const found = line.match(/^listening on (http:\S+) \((.+)\)/);
        if (found) urls[found[2]] = found[1];
        if (urls["0.53"]) break;
    }
    if (!urls["0.53"]) throw new Error("the server ended before it listened");
    const headers = { "Content-Type": "application/json", ...(key ? { "X-Session-API-Key": key } : {}) };
    return {
        url: urls["agent-server"],
        legacy: urls["0.53"],
        /** Makes a conversation; resolves with its id. */
        create: async () => {
            const body = {
                agent: { kind: "Agent", llm: { model: "scripted/finish", api_key: "test-key", usage_id: "default" }, tools: [{ name: "terminal" }] },
                workspace: { kind: "LocalWorkspace", working_dir: join(folder, "work") },
            };
            const answer = await fetch(`${urls["agent-server"]}/api/conversations`, { method: "POST", headers, body: JSON.stringify(body) });
            if (!answer.ok) throw new Error(await answer.text());
            return (await answer.json()).id;
        },
        stop: async () => {
            child.kill("SIGTERM");
            if (child.exitCode === null) await once(child, "exit");
            rmSync(folder, { recursive: true, force: true });
        },
    };
}
