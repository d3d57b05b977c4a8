// Starts a real handsd and the tests' own model server, each in its own process, and ends them.
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import { createInterface } from "node:readline";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

const root = fileURLToPath(new URL("../..", import.meta.url));

/** Resolves with the first line for which `match` gives something. */
async function firstLine(stream, match) {
    for await (const line of createInterface({ input: stream })) {
        const found = match(line);
        if (found) return found;
    }
    throw new Error("the process ended before it was ready");
}

export async function startModel() {
    const child = spawn("python3", [join(root, "tests/support/openai_server.py"), "--until-eof"], { stdio: ["pipe", "pipe", "inherit"] });
    const [line] = await once(child.stdout, "data");
    const base = `http://127.0.0.1:${parseInt(line)}`;
    return {
        base: `${base}/v1`,
        script: (...answers) => fetch(`${base}/script`, { method: "POST", body: JSON.stringify(answers) }),
        stop: async () => {
            child.stdin.end();
            await once(child, "exit");
        },
    };
}

export async function startHandsd({ key } = {}) {
    const folder = mkdtempSync(join(tmpdir(), "handsd-js-"));
    const env = { ...process.env, OH_CONVERSATIONS_PATH: join(folder, "conversations") };
    if (key) env.SESSION_API_KEY = key;
    const child = spawn(process.env.HANDSD ?? join(root, "build/handsd"), ["serve", "--port", "0", "--legacy-port", "off", "--data", join(folder, "data")], {
        stdio: ["ignore", "pipe", "inherit"],
        env,
    });
    const url = await firstLine(child.stdout, (line) => line.match(/^listening on (http:\S+) \(agent-server\)/)?.[1]);
    return {
        url,
        folder,
        stop: async () => {
            child.kill("SIGTERM");
            const [status] = child.exitCode === null ? await once(child, "exit") : [child.exitCode];
            rmSync(folder, { recursive: true, force: true });
            return status;
        },
    };
}
