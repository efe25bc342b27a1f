// The story of the page against a running daemon, one line for each check; ends with 1 at the first failure.
//
//   node e2e/story.mjs [BASE_URL]
//
// SERIN_BASE             where the daemon is (or the argument)
// SERIN_OPERATOR_TOKEN   a token that may operate; without tokens the daemon must run without authentication
// SERIN_VIEWER_TOKEN     a token that may only look
// SERIN_APPROVER_TOKEN   a token that may approve: with it, and SERIN_GATED_POLICY, an approval is given
// SERIN_GATED_POLICY     a policy whose gate `sure` wants an approval before the start, not by who started it
// SERIN_ADMIN_TOKEN      a token of an admin: with it, tokens and the audit log are looked at
// SERIN_TARGET           the target that goes bad (shop)
// SERIN_TARGET2          another target (cart)
// SERIN_POLICY           a policy of seconds (demo)
// SERIN_BAD_VERSION      a version that is worse (v2-bad)
// SERIN_GOOD_VERSION     a version that is not (v2)
// SERIN_ROLLBACK_SECONDS how long the bad one may take (300)
// SERIN_NO_RESTART       leaves the restart out
//
// When it prints `RESTART NOW`, whoever runs it stops the daemon and starts it again.

import { mkdirSync } from "node:fs";
import { launch, open, violations } from "./lib.mjs";

const env = (name, fallback) => process.env[`SERIN_${name}`] || fallback;
const base = (process.argv[2] ?? env("BASE", "http://127.0.0.1:8090")).replace(/\/$/, "");
const [approver, gated] = [env("APPROVER_TOKEN"), env("GATED_POLICY")];
const [operator, viewer, admin] = [env("OPERATOR_TOKEN"), env("VIEWER_TOKEN"), env("ADMIN_TOKEN")];
const [target, target2] = [env("TARGET", "shop"), env("TARGET2", "cart")];
const [policy, bad, good] = [env("POLICY", "demo"), env("BAD_VERSION", "v2-bad"), env("GOOD_VERSION", "v2")];
const rollbackMs = Number(env("ROLLBACK_SECONDS", "300")) * 1000;
const SOON = { timeout: 30_000 };

const began = Date.now();
const told = (what) => console.log(`ok ${((Date.now() - began) / 1000).toFixed(1)} s  ${what}`);
function check(holds, what) {
  if (!holds) throw new Error(what);
  told(what);
}

const browser = await launch();
const { page, errors } = await open(browser);
const shown = (selector, options = SOON) => page.waitForSelector(selector, options);
const text = (selector) => page.textContent(selector).then((found) => found?.replace(/\s+/g, " ").trim() ?? "");

async function logIn(token) {
  await shown("input[name=token]");
  await page.fill("input[name=token]", token);
  await page.click("button[type=submit]");
  await shown(".who");
}

async function logOut() {
  await page.click(".who button");
  await shown("input[name=token]");
}

async function live() {
  await shown(".connection[data-state=live]");
}

/** Starts a rollout through the dialog; gives its id. */
async function start(name, version, by = policy) {
  await page.click(".head a[href='/targets']");
  await shown(`[data-target="${name}"]`);
  await page.click(`[data-target="${name}"] button:has-text("Start a rollout")`);
  await shown("dialog[open]");
  await page.waitForFunction((wanted) => document.querySelector("dialog select[name=target]")?.value === wanted, name, SOON);
  await page.waitForFunction((name) => [...document.querySelectorAll("dialog select[name=policy] option")].some((each) => each.value === name), by, SOON);
  await page.selectOption("dialog select[name=policy]", by);
  await page.fill("dialog input[name=version]", version);
  await shown("dialog .consequence");
  const consequence = await text("dialog .consequence");
  check(consequence.includes(version) && consequence.includes("%"), `the dialog says what will happen: ${consequence}`);
  await page.click("dialog button[type=submit]");
  await page.waitForURL(/\/rollouts\/[^/]+$/, SOON);
  await shown(".rollout-title");
  check((await text("h1")).includes(version), `${version} on ${name} is started and shown`);
  return new URL(page.url()).pathname;
}

async function access() {
  const closed = await Promise.race([
    shown("input[name=token]").then(() => true),
    shown(".who").then(() => false),
  ]);
  if (!closed) {
    check((await text(".who")).includes("without authentication"), "without authentication, the page says so");
    if (operator) throw new Error("a token is given, but the daemon asks for none");
    return false;
  }
  if (!operator) throw new Error("the daemon asks for a token: set SERIN_OPERATOR_TOKEN");
  await page.fill("input[name=token]", "not-a-token");
  await page.click("button[type=submit]");
  await shown(".trouble");
  check((await text(".trouble")).length > 10, `a wrong token is refused: ${await text(".trouble")}`);
  await logIn(operator);
  check((await text(".who")).includes("signed in as"), `logged in: ${await text(".who strong")}`);
  return true;
}

async function firstView() {
  const context = await browser.newContext({ viewport: { width: 1420, height: 900 } });
  await context.addCookies(await page.context().cookies());
  const fresh = await context.newPage();
  let bytes = 0;
  const session = await context.newCDPSession(fresh);
  await session.send("Network.enable");
  session.on("Network.loadingFinished", (event) => (bytes += event.encodedDataLength));
  await fresh.goto(base);
  await fresh.waitForFunction(() => performance.getEntriesByName("serin-overview").length > 0, null, SOON);
  const at = await fresh.evaluate(() => performance.getEntriesByName("serin-overview")[0].startTime);
  const rows = await fresh.locator(".rollouts tbody tr").count();
  told(`first view of the overview after ${Math.round(at)} ms, ${rows} rows, ${Math.round(bytes / 1024)} KB received`);
  await context.close();
}

/**
 * Nobody is shut out of what is on the screen now, in light and dark, and it fits a phone; and pictures of it, where
 * SERIN_SHOTS names a folder.
 */
async function seen(name) {
  const folder = process.env.SERIN_SHOTS;
  if (folder) mkdirSync(folder, { recursive: true });
  await page.setViewportSize({ width: 1200, height: 760 });
  for (const [colorScheme, more] of [["dark", "-dark"], ["light", ""]]) {
    await page.emulateMedia({ colorScheme });
    const found = await violations(page);
    check(found.length === 0, `${name}, ${colorScheme}: no serious violation of accessibility${found.map((each) => `\n  ${each}`).join("")}`);
    if (folder) await page.screenshot({ path: `${folder}/${name}${more}.png` });
  }
  await page.setViewportSize({ width: 390, height: 844 });
  // Charts are drawn anew a moment after the window has changed.
  await page.waitForFunction(() => document.documentElement.scrollWidth - innerWidth <= 1, null, { timeout: 5_000 }).catch(() => undefined);
  const wide = await page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
  if (folder) await page.screenshot({ path: `${folder}/${name}-phone.png` });
  await page.setViewportSize({ width: 1200, height: 760 });
  check(wide <= 1, `${name}: nothing is wider than a phone (${wide} px)`);
}

async function badOne() {
  const path = await start(target, bad);
  await live();
  await shown(".charts canvas", { timeout: 60_000 });
  told("its charts are drawn");
  await shown(".log li[data-kind=step_entered]", { timeout: 60_000 });
  await shown(".state[data-state=rolling_back], .state[data-state=rolled_back]", { timeout: rollbackMs });
  told("it is rolled back while the page watches");
  const reason = await text(".reason");
  check(/\d/.test(reason) && reason.length > 20, `the reason stands first: ${reason}`);
  await shown(".state[data-state=rolled_back]", { timeout: 60_000 });
  // Nothing has loaded the page again: the line came by the stream.
  await shown(".log li[data-kind=rollback_started]");
  told("the log has grown by itself");
  check((await page.locator(".commands button").count()) === 0, "at its end nothing can be commanded");
  await seen("rollout");
  await page.click("a[href^='/reports/']");
  await shown("#post-mortem");
  check((await page.inputValue("#post-mortem")).includes(bad), "the report has a draft post-mortem");
  await seen("report");
  return path;
}

async function otherOne() {
  const path = await start(target2, good);
  await live();
  // From here on the commands stay the same: the one that has the focus is not replaced.
  await shown(".state[data-state=progressing]", { timeout: 60_000 });
  await page.click("[data-command=pause]");
  await shown("dialog[open]");
  await page.keyboard.press("Escape");
  await shown("dialog", { ...SOON, state: "detached" });
  await page.waitForFunction(() => document.activeElement?.dataset.command === "pause", null, SOON).catch(async () => {
    throw new Error(`the focus is at ${await page.evaluate(() => document.activeElement?.outerHTML.slice(0, 200))}`);
  });
  told("Escape closes a dialog, and the focus goes back");
  await shown(".state[data-state=progressing]", { timeout: 60_000 });
  // Somebody else's change in between: told, and asked again.
  for (let tries = 0; ; tries += 1) {
    await page.click("[data-command=rollback]");
    await shown("dialog[open] textarea");
    const consequence = await text("dialog .consequence");
    check(/to 0%|stays at 0%|ends/.test(consequence), `the dangerous button says what it will do: ${consequence}`);
    await page.fill("dialog textarea", "the story wants it back");
    await page.click("dialog button[type=submit]");
    const again = await Promise.race([
      shown("dialog", { ...SOON, state: "detached" }).then(() => false),
      shown("dialog .trouble").then(() => true),
    ]);
    if (!again) break;
    const why = await text("dialog .trouble");
    if (tries >= 5 || !why.includes("has changed")) throw new Error(`the command was refused: ${why}`);
    told("it had changed meanwhile, and the page said so");
    await page.keyboard.press("Escape");
    await shown("dialog", { ...SOON, state: "detached" });
  }
  await shown(".state[data-state=rolling_back], .state[data-state=rolled_back]", SOON);
  await page.waitForFunction(() => /the story wants it back/.test(document.querySelector(".reason")?.textContent ?? ""), null, SOON);
  told("it is rolled back by hand, with the reason");
  await shown(".state[data-state=rolled_back]", { timeout: 120_000 });
  return path;
}

async function viewerIsRefused(path) {
  await page.goto(base);
  await shown(".who");
  await logOut();
  told("logged out");
  await seen("login");
  await page.goto(base + path);
  await logIn(viewer ?? operator);
  await shown(".rollout-title");
  check(new URL(page.url()).pathname === path, "a deep link is there after the login");
  if (!viewer) return;
  await page.click(".head a[href='/']");
  await shown(".tiles");
  await seen("overview");
  await page.goto(`${base}/targets`);
  await shown("[data-target]");
  check((await page.locator("button:has-text('Start a rollout')").count()) === 0, "a viewer can start nothing");
  await page.goto(base + path);
  await shown(".rollout-title");
  check((await page.locator("[data-command]").count()) === 0, "a viewer has no buttons");
  const status = await page.evaluate(async (where) => {
    const init = { method: "POST", headers: { "X-Serin": "1", "Content-Type": "application/json" }, body: '{"command":"pause"}' };
    return (await fetch(`/api/v1${where}/commands`, init)).status;
  }, path);
  check(status === 403, "and is refused by the daemon too");
  await logOut();
  await logIn(operator);
}

/** A gate that waits for a person, who then says yes. */
async function approval() {
  const path = await start(target2, good, gated);
  await live();
  await shown("[data-gate=sure][data-status=waiting]", { timeout: 60_000 });
  check((await page.locator("[data-gate=sure] [data-gate-command]").count()) === 0, "who may not approve has no buttons at the gate");
  const canary = await page.evaluate(async (where) => (await (await fetch(`/api/v1${where}`)).json()).wanted?.canary_percent ?? 0, path);
  check(canary === 0, "before the yes the canary has nothing");
  await logOut();
  await page.goto(base + path);
  await logIn(approver);
  await page.click("[data-gate=sure] [data-gate-command=approve]");
  await shown("dialog[open] textarea");
  check((await text("dialog .consequence")).includes("may begin"), `the dialog says what a yes does: ${await text("dialog .consequence")}`);
  await page.fill("dialog textarea", "the story has looked at it");
  await page.click("dialog button[type=submit]");
  await shown("[data-gate=sure][data-status=open]");
  const said = await text("[data-gate=sure]");
  check(said.includes("said yes") && said.includes("the story has looked at it"), `the gate tells who: ${said}`);
  await shown(".state[data-state=progressing]", { timeout: 60_000 });
  told("and the rollout begins");
  await seen("gates");
  await logOut();
  await logIn(operator);
}

/** Tokens and the audit log, as an admin. */
async function adminViews(closed) {
  if (closed) {
    check((await page.locator(".head a[href='/tokens']").count()) === 0, "tokens are not offered to an operator");
    await logOut();
    await logIn(admin);
  }
  await page.click(".head a[href='/tokens']");
  await page.click("button:has-text('New token')");
  await page.fill("dialog input[name=name]", "from-the-story");
  await page.fill("dialog input[name=services]", `${target}, x-*`);
  await page.keyboard.press("Enter");
  await shown("dialog input.once");
  const token = await page.inputValue("dialog input.once");
  check(/^serin_.{40,}$/.test(token), "a new token is shown once");
  await seen("token");
  await page.keyboard.press("Escape");
  await shown("dialog", { ...SOON, state: "detached" });
  await shown("[data-token=from-the-story][data-state=active]");
  check(!(await page.content()).includes(token), "and never again");
  await seen("tokens");
  const asked = () =>
    page.evaluate(async (token) => {
      const init = { credentials: "omit", headers: { Authorization: `Bearer ${token}` } };
      return (await fetch("/api/v1/me", init)).status;
    }, token);
  if (closed && token !== operator) check([200, 401].includes(await asked()), "the new token is known");
  await page.click("[data-token=from-the-story] button");
  await shown("dialog[open] .consequence");
  await page.click("dialog button.danger");
  await shown("[data-token=from-the-story][data-state=revoked]");
  if (closed) check((await asked()) === 401, "a revoked token is worth nothing");
  await page.click(".head a[href='/audit']");
  await shown(".audit tbody tr");
  const log = await text(".audit");
  check(/token.revoke|DELETE/.test(log) && /token.create|POST/.test(log), "the audit log has what was done");
  check(!log.includes(token), "and no token");
  await seen("audit");
  const lines = () => page.locator(".audit tbody tr").count();
  const first = await lines();
  if ((await page.locator("button.more").count()) > 0) {
    await page.click("button.more");
    await page.waitForFunction((first) => document.querySelectorAll(".audit tbody tr").length > first, first, SOON);
    told(`older lines are read when they are asked for: ${first}, then ${await lines()}`);
  }
}

/** A pasted policy is checked, and what is wrong is told with its line. */
async function checkPolicy() {
  await page.click(".head a[href='/policies']");
  await shown(".policy-check textarea");
  await page.fill(".policy-check textarea", "name: mine\nsteppes:\n  - {weight: 5%, min: 10m}\nsteps:\n  - {weight: 105%, min: 5m}\n");
  await page.click(".policy-check button[type=submit]");
  await shown(".checked[data-ok=false] tbody tr");
  const problems = await page.locator(".checked tbody tr").count();
  const said = await text(".checked");
  check(problems >= 2 && said.includes("steppes") && said.includes("weight"), `${problems} problems of a policy are told at once`);
  await page.click(".checked tbody tr:has-text('steppes') button");
  const marked = await page.evaluate(() => {
    const field = document.querySelector(".policy-check textarea");
    return document.activeElement === field && field.value.slice(field.selectionStart, field.selectionEnd);
  });
  check(marked === "steppes:", "the line of a problem is shown in the text");
  await page.locator(".policy-check").scrollIntoViewIfNeeded();
  await seen("policy-check");
}

/** All reports, filtered, and from there to one. */
async function allReports() {
  await page.click(".head a[href='/reports']");
  await shown("[data-report]");
  await seen("reports");
  await page.selectOption("select[name=state]", "rolled_back");
  await page.waitForURL(/state=rolled_back/, SOON);
  await page.selectOption("select[name=service]", target);
  await page.waitForFunction((name) => {
    const rows = [...document.querySelectorAll("[data-report]")];
    return rows.length > 0 && rows.every((row) => row.textContent.includes(name) && row.textContent.includes("rolled back"));
  }, target, SOON);
  told("the reports are filtered by verdict and service");
  await page.click("[data-report] a");
  await shown(".report");
  told("and lead to the report");
}

async function restart() {
  await page.goto(base);
  await live();
  console.log("RESTART NOW");
  await shown(".connection[data-state=lost]", { timeout: 120_000 });
  check((await text(".connection")) === "connection lost, trying again", "a lost connection is told");
  await shown(".connection[data-state=live]", { timeout: 120_000 });
  await shown(".tiles");
  check((await page.locator("input[name=token]").count()) === 0, "the page is live again by itself, and still logged in");
}

try {
  await page.goto(base);
  const closed = await access();
  await shown(".tiles");
  await live();
  told("the overview is live");
  await firstView();
  const path = await badOne();
  await otherOne();
  if (closed) await viewerIsRefused(path);
  if (closed && approver && gated) await approval();
  await allReports();
  await checkPolicy();
  if (admin || !closed) await adminViews(closed);
  if (!env("NO_RESTART")) await restart();
  check(errors.length === 0, `nothing is wrong in the console${errors.length ? `: ${errors.join("; ")}` : ""}`);
  await browser.close();
} catch (error) {
  console.log(`FAILED after ${((Date.now() - began) / 1000).toFixed(1)} s: ${error.message}`);
  console.log(`at ${page.url()}: ${errors.join("; ")}`);
  await page.screenshot({ path: "story-failed.png" }).catch(() => undefined);
  await browser.close();
  process.exit(1);
}
