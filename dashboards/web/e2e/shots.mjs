// Pictures of every view, light, dark and on a phone; and that nothing in them is wrong: no console errors,
// no requests to other hosts, no serious accessibility violations, nothing wider than the screen.
//
//   node e2e/shots.mjs [BASE_URL] [FOLDER]     (SERIN_OPERATOR_TOKEN logs in where that is needed)

import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { api, launch, open, violations } from "./lib.mjs";

const base = (process.argv[2] ?? process.env.SERIN_BASE ?? "http://127.0.0.1:8090").replace(/\/$/, "");
const folder = process.argv[3] ?? join(import.meta.dirname, "shots");
const token = process.env.SERIN_OPERATOR_TOKEN;
mkdirSync(folder, { recursive: true });

const authorization = token ? { headers: { Authorization: `Bearer ${token}` } } : {};
const { items } = await api(base, "/overview", authorization);
const find = (fits) => items.find(fits)?.id;
const [active, back, done] = [
  find((row) => !row.ended && row.spark.length > 20 && row.state === "progressing") ?? find((row) => !row.ended),
  find((row) => row.state === "rolled_back"),
  find((row) => row.state === "succeeded"),
];
const gated = find((row) => row.holds.includes("gate"));
const policies = (await api(base, "/policies", authorization)).items;

const views = [
  ["overview", "/", ".rollouts tbody tr"],
  ["overview-filtered", "/?state=active&q=v1", ".filters"],
  ["targets", "/targets", "[data-target]"],
  ["policies", "/policies", ".cards .card"],
  [`policy`, `/policies/${policies.at(-1).name}`, ".plan-form"],
  active && ["rollout-active", `/rollouts/${active}`, ".charts canvas"],
  gated && ["rollout-gated", `/rollouts/${gated}`, "[data-gate]"],
  back && ["rollout-back", `/rollouts/${back}`, ".charts canvas"],
  done && ["rollout-done", `/rollouts/${done}`, ".charts canvas"],
  back && ["report-back", `/reports/${back}`, "#post-mortem"],
  done && ["report-done", `/reports/${done}`, ".report"],
  ["reports", "/reports", "[data-report]"],
  ["notices", "/notices", "[data-outbox], .empty"],
  !token && ["tokens", "/tokens", "[data-token]"],
  !token && ["audit", "/audit", ".audit tbody tr"],
  ["nowhere", "/nowhere", "main h1"],
].filter(Boolean);

const looks = [
  ["light", { colorScheme: "light" }],
  ["dark", { colorScheme: "dark" }],
  ["phone", { colorScheme: "light", viewport: { width: 390, height: 844 }, isMobile: true, hasTouch: true }],
];

let wrong = 0;
const say = (name, problems) => {
  for (const problem of problems) console.log(`WRONG ${name}: ${problem}`);
  wrong += problems.length;
};
const browser = await launch();
for (const [look, options] of looks) {
  const { page, errors } = await open(browser, options);
  await page.goto(base);
  if (token) {
    await page.fill("input[name=token]", token);
    await page.click("button[type=submit]");
    await page.waitForSelector(".who");
  }
  for (const [name, path, ready] of views) {
    await page.goto(base + path);
    await page.waitForSelector(ready, { timeout: 60_000 }).catch(async (error) => {
      const text = await page.evaluate(() => document.body.innerText);
      throw new Error(`${name} ${look}: ${ready} is not there: ${text} ${errors.join("; ")}`, { cause: error });
    });
    await page.waitForFunction(() => document.querySelector(".connection")?.dataset.state !== "connecting");
    await page.screenshot({ path: join(folder, `${name}-${look}.png`), fullPage: true });
    const wide = await page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
    say(`${name} ${look}`, [
      ...(await violations(page)),
      ...errors.splice(0),
      ...(wide > 1 ? [`it is ${wide} px wider than the screen`] : []),
    ]);
  }
  if (active && options.viewport === undefined) {
    await page.goto(`${base}/rollouts/${active}`);
    await page.click("[data-command=rollback]");
    await page.waitForSelector("dialog[open]");
    await page.screenshot({ path: join(folder, `dialog-${look}.png`) });
    say(`dialog ${look}`, [...(await violations(page)), ...errors.splice(0)]);
    await page.keyboard.press("Escape");
    await page.waitForSelector("dialog", { state: "detached" });
  }
}
if (done) {
  const { page } = await open(browser, { colorScheme: "dark" });
  if (!token) {
    await page.goto(`${base}/reports/${done}`);
    await page.waitForSelector(".report");
    await page.emulateMedia({ media: "print" });
    await page.pdf({ path: join(folder, "report.pdf") });
  }
}
await browser.close();
console.log(`${views.length} views in ${looks.length} looks: ${wrong === 0 ? "nothing is wrong" : `${wrong} problems`}`);
process.exit(wrong === 0 ? 0 : 1);
