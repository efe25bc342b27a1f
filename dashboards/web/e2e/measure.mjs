// How fast the page is: the overview with many rows, and charts with every look of a day.
//
//   node e2e/measure.mjs BASE_URL [RUNS]      for the charts: node mock/server.mjs --uncapped

import { api, launch, open } from "./lib.mjs";

const base = (process.argv[2] ?? "http://127.0.0.1:8090").replace(/\/$/, "");
const runs = Number(process.argv[3] ?? 5);
const median = (numbers) => [...numbers].sort((a, b) => a - b)[Math.floor(numbers.length / 2)];
const ms = (numbers) => `median ${Math.round(median(numbers))} ms, most ${Math.round(Math.max(...numbers))} ms`;

const browser = await launch();
const [marks, rendered, actives, whole, updates] = [[], [], [], [], []];
let sizes = "";
for (let run = 0; run < runs; run += 1) {
  const { context, page } = await open(browser);
  const session = await context.newCDPSession(page);
  const bytes = { document: 0, assets: 0, overview: 0 };
  const urls = new Map();
  await session.send("Network.enable");
  // In the time of the page's own thread, so that it counts the page and not how busy the machine is.
  await session.send("Performance.enable", { timeDomain: "threadTicks" });
  session.on("Network.responseReceived", (event) => urls.set(event.requestId, event.response.url));
  session.on("Network.loadingFinished", (event) => {
    const url = urls.get(event.requestId) ?? "";
    const kind = url.includes("/assets/") ? "assets" : url.includes("/overview") ? "overview" : "document";
    bytes[kind] += event.encodedDataLength;
  });
  await page.goto(base);
  await page.waitForFunction(() => performance.getEntriesByName("serin-overview-active").length > 0);
  const now = await page.evaluate(() => {
    const mark = performance.getEntriesByName("serin-overview")[0].startTime;
    const read = performance.getEntriesByType("resource").find((each) => each.name.includes("/overview"));
    const all = performance.getEntriesByName("serin-overview-active")[0].startTime;
    return { mark, rendered: mark - read.responseEnd, all };
  });
  marks.push(now.mark);
  rendered.push(now.rendered);
  actives.push(now.all);
  const { items } = await api(base, "/overview");
  const busy = async () => (await session.send("Performance.getMetrics")).metrics.find((each) => each.name === "TaskDuration").value;
  whole.push((await busy()) * 1000);
  // How much of a processor the live changes take.
  await page.waitForTimeout(1_500);
  const [before, since] = [await busy(), performance.now()];
  await page.waitForTimeout(6_000);
  updates.push((((await busy()) - before) / ((performance.now() - since) / 1000)) * 100);
  sizes = `${items.length} rows; received: ${Object.entries(bytes).map(([kind, size]) => `${kind} ${(size / 1024).toFixed(1)} KB`).join(", ")}`;
  await context.close();
}
console.log(sizes);
console.log(`first rows from the start of the navigation: ${ms(marks)}`);
console.log(`  of that after the answer of /overview:      ${ms(rendered)}`);
console.log(`all active rows are there:                    ${ms(actives)}`);
console.log(`processor time of the page until then:        ${ms(whole)}`);
console.log(`live changes take of one processor:           median ${median(updates).toFixed(1)}%`);

// The charts: the rollout with the most looks.
const { items } = await api(base, "/overview");
let [longest, id] = [0, null];
for (const row of items.slice(0, 20)) {
  const series = await api(base, `/rollouts/${row.id}/series?points=2000`);
  if (series.times.length > longest) [longest, id] = [series.times.length, row.id];
}
if (id) {
  const { page } = await open(browser);
  await page.goto(`${base}/rollouts/${id}`);
  await page.waitForSelector(".charts canvas", { timeout: 60_000 });
  await page.locator(".chart > div[tabindex]").first().focus();
  const frames = await page.evaluate(async () => {
    const element = document.activeElement;
    const times = [];
    const press = (key) => element.dispatchEvent(new KeyboardEvent("keydown", { key, bubbles: true, cancelable: true }));
    press("+");
    for (let i = 0; i < 40; i += 1) {
      const before = performance.now();
      press(i % 20 < 10 ? "ArrowRight" : "ArrowLeft");
      await new Promise((resolve) => requestAnimationFrame(() => setTimeout(resolve)));
      times.push(performance.now() - before);
    }
    return times;
  });
  console.log(`moving ${await page.locator(".charts canvas").count()} charts of ${longest} points, each frame: ${ms(frames)}`);
}
await browser.close();
