// The pages that show the API, in a real browser: they are opened, an operation is executed, its answer is read. Nothing may be
// loaded from elsewhere, and nothing may be complained about.
// node --test tests/web/docs.test.mjs; HANDSD_SCREENSHOTS=DIR keeps pictures.
import { test, before, after } from "node:test";
import assert from "node:assert/strict";
import { existsSync } from "node:fs";
import { dirname, join } from "node:path";
import { findBrowser, handsd, startServer } from "./web.mjs";

const LONGEST_MS = 30000;
const missing = !findBrowser()
    ? "there is no Chromium (make deps brings it)"
    : !existsSync(join(dirname(handsd), "swagger-ui"))
      ? "built without npm: the pages are plain lists"
      : false;

let browser;

before(async () => {
    if (missing) return;
    const { chromium } = await import("playwright-core");
    browser = await chromium.launch({ executablePath: findBrowser(), args: ["--no-sandbox"] });
});

after(() => browser?.close());

/** Opens a page, gives it to `use`, and holds it to its word. */
async function visit(url, use) {
    const page = await browser.newPage({ viewport: { width: 1280, height: 1000 } });
    const origin = new URL(url).origin;
    const complaints = [];
    page.setDefaultTimeout(LONGEST_MS);
    page.on("console", (message) => message.type() === "error" && !/status of 40[13]/.test(message.text()) && complaints.push(message.text()));
    page.on("pageerror", (error) => complaints.push(String(error)));
    page.on("request", (request) => /^(data|blob):/.test(request.url()) || new URL(request.url()).origin === origin || complaints.push(`loads ${request.url()}`));
    await page.goto(url);
    await page.locator(".swagger-ui .info .title").waitFor();
    await use(page);
    await page.close();
    assert.deepEqual(complaints, []);
}

/** Executes an operation as a person does; resolves with what the page shows of the answer. */
async function execute(page, path, parameters = {}) {
    const operation = page.locator(".opblock", { has: page.locator(`.opblock-summary-path[data-path="${path}"]`) }).first();
    await operation.locator(".opblock-summary").first().click();
    await operation.getByRole("button", { name: "Try it out" }).click();
    for (const [name, value] of Object.entries(parameters))
        await operation.locator(`tr[data-param-name="${name}"] input`).fill(value);
    await operation.getByRole("button", { name: "Execute" }).click();
    const answer = operation.locator(".live-responses-table .response").first();
    await answer.waitFor();
    const shown = {
        status: (await answer.locator(".response-col_status").innerText()).trim().split(/\s/)[0],
        body: (await answer.locator(".response-col_description pre").first().innerText()).trim(),
        url: await operation.locator(".request-url pre").innerText(),
    };
    await operation.scrollIntoViewIfNeeded();
    return shown;
}

const picture = (page, name) =>
    process.env.HANDSD_SCREENSHOTS && page.screenshot({ path: join(process.env.HANDSD_SCREENSHOTS, `${name}.png`), fullPage: false });

test("/swagger-ui/ of the 0.53 API executes operations", { skip: missing, timeout: 2 * LONGEST_MS }, async (t) => {
    const server = await startServer();
    t.after(() => server.stop());
    const id = await server.create();
    await visit(`${server.legacy}/swagger-ui/`, async (page) => {
        assert.match(await page.locator(".info .title").innerText(), /^OpenHands\s+0\.53\.0/);
        await picture(page, "swagger-ui");
        const health = await execute(page, "/health");
        assert.deepEqual([health.status, health.body], ["200", '"OK"']);
        await picture(page, "swagger-ui-health");
        const config = await execute(page, "/api/conversations/{conversation_id}/config", { conversation_id: id });
        assert.equal(config.status, "200");
        const hex = id.replaceAll("-", "");
        assert.deepEqual(JSON.parse(config.body), { runtime_id: hex, session_id: hex });
        await picture(page, "swagger-ui-config");
    });
});

test("a session key is given with Authorize", { skip: missing, timeout: 2 * LONGEST_MS }, async (t) => {
    const server = await startServer({ key: "web-test-key" });
    t.after(() => server.stop());
    const id = await server.create();
    await visit(`${server.legacy}/swagger-ui/`, async (page) => {
        const path = "/api/conversations/{conversation_id}/config";
        assert.equal((await execute(page, path, { conversation_id: id })).status, "401");
        await page.getByRole("button", { name: "Authorize", exact: true }).click();
        await page.locator(".modal-ux input").fill("web-test-key");
        await picture(page, "authorize");
        await page.locator(".modal-ux").getByRole("button", { name: "Apply credentials" }).click();
        await page.locator(".modal-ux").getByRole("button", { name: "Close" }).click();
        const operation = page.locator(".opblock.is-open");
        const answered = page.waitForResponse((response) => response.url().endsWith("/config"));
        await operation.getByRole("button", { name: "Execute" }).click();
        assert.equal((await answered).status(), 200);
        await operation.locator(".live-responses-table .response-col_status", { hasText: "200" }).waitFor();
    });
});

test("/docs of both ports", { skip: missing, timeout: 2 * LONGEST_MS }, async (t) => {
    const server = await startServer();
    t.after(() => server.stop());
    await visit(`${server.url}/docs`, async (page) => {
        assert.match(await page.locator(".info .title").innerText(), /^OpenHands Agent Server/);
        const alive = await execute(page, "/alive");
        assert.deepEqual([alive.status, JSON.parse(alive.body)], ["200", { status: "ok" }]);
        await picture(page, "docs");
    });
    await visit(`${server.legacy}/docs`, async (page) => assert.equal((await execute(page, "/alive")).status, "200"));
});

test("below the path of a web_url", { skip: missing, timeout: 2 * LONGEST_MS }, async (t) => {
    const server = await startServer({ env: { OH_WEB_URL: "http://127.0.0.1/house/handsd" } });
    t.after(() => server.stop());
    for (const page of ["swagger-ui/", "docs"])
        await visit(`${server.legacy}/house/handsd/${page}`, async (page) => {
            const health = await execute(page, "/health");
            assert.equal(health.status, "200");
            assert.equal(health.url, `${server.legacy}/house/handsd/health`);
        });
});
