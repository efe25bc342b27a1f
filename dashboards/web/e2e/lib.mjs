// A browser for the tests of the page, and what they share.

import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { chromium } from "playwright-core";

const AXE = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");
const ARGS = [
  "--headless",
  "--no-sandbox",
  "--disable-gpu",
  "--disable-quic",
  "--no-first-run",
  "--disable-background-networking",
  "--disable-component-update",
  "--disable-sync",
];

export async function launch() {
  return chromium.launch({ executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium", args: ARGS });
}

/** A page in a fresh context, and a list of everything that went wrong in its console. */
export async function open(browser, options = {}) {
  const context = await browser.newContext({ viewport: { width: 1420, height: 900 }, ...options });
  const page = await context.newPage();
  const errors = [];
  page.on("console", (message) => {
    if (message.type() !== "error") return;
    // The browser itself reports every answer that is no success; which of them are right is checked elsewhere.
    if (/Failed to load resource/.test(message.text())) return;
    errors.push(message.text());
  });
  page.on("pageerror", (error) => errors.push(String(error)));
  page.on("request", (request) => {
    const { host, protocol } = new URL(request.url());
    const own = new URL(page.url() === "about:blank" ? request.url() : page.url());
    if (protocol.startsWith("http") && host !== own.host) errors.push(`a request to another host: ${request.url()}`);
  });
  return { context, page, errors };
}

/** Serious and critical violations of the accessibility rules (axe), one line each. */
export async function violations(page) {
  // Not as a script element: the Content-Security-Policy forbids that.
  await page.evaluate(AXE);
  const results = await page.evaluate(() => globalThis.axe.run(document, { resultTypes: ["violations"] }));
  return results.violations
    .filter((each) => each.impact === "serious" || each.impact === "critical")
    .map((each) => `${each.id}: ${each.nodes.map((node) => `${node.target} ${node.any[0]?.message ?? ""}`).slice(0, 4).join(" | ")}`);
}

export async function api(base, path, options = {}) {
  const response = await fetch(`${base}/api/v1${path}`, options);
  if (!response.ok) throw new Error(`${path}: ${response.status} ${await response.text()}`);
  return response.status === 204 ? null : response.json();
}
