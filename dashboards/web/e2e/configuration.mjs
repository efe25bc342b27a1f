// What the overview says of the configuration file while it changes; ends with 1 at the first failure.
//
//   node e2e/configuration.mjs BASE_URL
//
// The daemon asks for no token. When it prints `WRONG NOW`, `RESTART NOW` or `RIGHT NOW`, whoever runs it makes the
// daemon's file not valid (a problem at `targets.shop.rute`), one that needs a restart for `listen`, or as it was.

import { launch, open, violations } from "./lib.mjs";

const base = process.argv[2].replace(/\/$/, "");
const PATIENCE_MS = 60_000;

function check(holds, what) {
  if (!holds) throw new Error(what);
  console.log(`ok  ${what}`);
}

const browser = await launch();
const { page, errors } = await open(browser);
const line = "[data-configuration]";

/** The line on the overview, read anew until it is so; `null`: there is none. */
async function until(kind) {
  const end = Date.now() + PATIENCE_MS;
  for (;;) {
    const answered = page.waitForResponse((response) => response.url().endsWith("/api/v1/reload"));
    await page.goto(base);
    await page.waitForSelector(".tiles");
    await (await answered).finished();
    // What was answered is drawn by then.
    await page.evaluate(() => new Promise((drawn) => requestAnimationFrame(() => requestAnimationFrame(drawn))));
    const found = await page.locator(line).all();
    const now = found.length === 0 ? null : await found[0].getAttribute("data-configuration");
    if (now === kind) return found.length === 0 ? "" : (await found[0].innerText()).replace(/\s+/g, " ");
    if (Date.now() > end) throw new Error(`the line is ${now}, not ${kind}`);
  }
}

await until(null);
check(true, "nothing is said while the file is in force");
console.log("WRONG NOW");
let text = await until("wrong");
check(text.includes("The last reload failed") && text.includes("targets.shop.rute"), `the problem is named: ${text}`);
let found = await violations(page);
check(found.length === 0, `no serious violation of accessibility ${found.join(" ")}`);
await page.setViewportSize({ width: 390, height: 844 });
const wide = await page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
check(wide <= 1, `it fits a phone (${wide} px)`);
await page.setViewportSize({ width: 1200, height: 760 });
console.log("RESTART NOW");
text = await until("restart");
check(text.includes("listen: the API's address is bound at the start"), `what needs a restart, and why: ${text}`);
found = await violations(page);
check(found.length === 0, `no serious violation of accessibility ${found.join(" ")}`);
console.log("RIGHT NOW");
await until(null);
check(errors.length === 0, `nothing went wrong in the console: ${errors.join(" | ")}`);
await browser.close();
