// All rollouts and targets of the mock, and who listens to their changes.

import { chance } from "./figures.mjs";
import { Rollout } from "./rollout.mjs";
import { rolloutView, rowView } from "./views.mjs";

const HOUR = 3_600_000;
const PEOPLE = ["ci-deploy", "mara", "jonas", "release-bot"];
const NAMES = [
  "auth",
  "billing",
  "cart",
  "catalog",
  "checkout",
  "gateway",
  "images",
  "inventory",
  "mailer",
  "orders",
  "payments",
  "pricing",
  "profile",
  "ratings",
  "search",
  "shipping",
  "shop",
  "sessions",
];

// What every view of the page has something to show for.
const SCENES = [
  { target: "payments", version: "v3.9.0", stable: "v3.8.2", ago: 0.6, hold: { step: 1, name: "user", why: "mara said so: waiting for the other team." } },
  { target: "ledger", version: "v4.2.0", stable: "v4.1.8", ago: 0.5, gated: true, hold: { step: 0, name: "gate", why: "security and 2 people are asked before 25%" } },
  { target: "search", version: "v22.4", stable: "v22.3", ago: 0.36, slower: 1.5, stuck: true, rps: 900 },
  { target: "checkout", version: "v1.5.0", stable: "v1.4.1", ago: 0.05 },
  { target: "catalog", version: "v8.0.1", stable: "v8.0.0", ago: 0.23, rps: 420 },
  { target: "mailer", version: "v2.2.0", stable: "v2.1.9", ago: 0.1, blind: true },
  { target: "profile", version: "v5.1.3", stable: "v5.1.2", ago: 0.45, rps: 2500 },
  { target: "orders", version: "v6.2.0", stable: "v6.1.7", ago: 0.9, worse: 2.7 },
  { target: "images", version: "v0.40", stable: "v0.39", ago: 3 },
  { target: "inventory", version: "v1.1.0", stable: "v1.0.9", ago: 24.05, rps: 300, hold: { step: 1, name: "plan", why: "the step has lasted its maximum" } },
];

export class World {
  constructor(count) {
    this.rollouts = new Map();
    this.listeners = new Set();
    this.position = 0;
    this.next = 1;
    this.quiet = true;
    this.generations = new Map();
    const now = Date.now();
    for (const { ago, ...scene } of SCENES) this.add({ policy: "standard", by: "ci-deploy", ...scene, at: now - ago * HOUR });
    const random = chance(7);
    const active = Math.max(0, Math.round(count / 5) - SCENES.length);
    for (let i = this.rollouts.size; i < count; i += 1) {
      const running = i < active + SCENES.length;
      const name = `${NAMES[i % NAMES.length]}-${Math.floor(i / NAMES.length) + 1}`;
      this.add({
        target: name,
        version: `v${1 + Math.floor(random() * 9)}.${Math.floor(random() * 30)}.${Math.floor(random() * 9)}`,
        stable: "v1.0.0",
        policy: running && random() < 0.3 ? "cautious" : "standard",
        by: PEOPLE[Math.floor(random() * PEOPLE.length)],
        at: now - (running ? random() * 0.4 : 1.2 + random() * 20) * HOUR,
        worse: random() < 0.06 ? 2.5 : 1,
        rps: running ? 300 + random() * 500 : 1500,
        // The ended ones need no more looks than it takes to end.
        coarse: !running,
      });
    }
    this.quiet = false;
  }

  /** A rollout that began at `at`, and has gone on until now. */
  add(options) {
    const id = `0195c1a8${(this.next++).toString(16).padStart(8, "0")}`;
    const rollout = new Rollout({ id, seed: this.next * 7919, ...options }, (name, of, event) => this.tell(name, of, event));
    this.rollouts.set(id, rollout);
    const every = rollout.rule.interval_seconds * 1000;
    const now = Date.now();
    const quiet = this.quiet;
    this.quiet = true;
    for (rollout.due = rollout.at + every; rollout.due < now && !rollout.ended; rollout.due += every) {
      rollout.tick(rollout.due);
      if (options.coarse && rollout.state === "baking") rollout.analysed = 1e9;
    }
    this.quiet = quiet;
    return rollout;
  }

  run() {
    this.timer = setInterval(() => {
      const now = Date.now();
      for (const rollout of this.rollouts.values()) {
        if (rollout.ended || rollout.due > now) continue;
        rollout.due = now + rollout.rule.interval_seconds * 1000;
        rollout.tick(now);
      }
    }, 200);
  }

  tell(name, rollout, event) {
    if (this.quiet) return;
    this.position += 1;
    for (const listener of this.listeners) listener(name, rollout, event, this.position);
  }

  find(id) {
    return this.rollouts.get(id);
  }

  active(target) {
    return [...this.rollouts.values()].find((rollout) => rollout.target === target && !rollout.ended);
  }

  view(rollout) {
    return rolloutView(rollout, Date.now());
  }

  row(rollout) {
    return rowView(rollout, Date.now());
  }

  overview() {
    const now = Date.now();
    const all = [...this.rollouts.values()].filter((each) => !each.ended || now - each.endedAt < 24 * HOUR);
    const rows = all.map((each) => rowView(each, now));
    const ended = rows.filter((row) => row.ended);
    const promoted = all.filter((each) => each.state === "succeeded").map((each) => each.endedAt - each.at);
    promoted.sort((a, b) => a - b);
    return {
      at: new Date(now).toISOString(),
      counts: {
        needs_you: rows.filter((row) => row.needs_you).length,
        in_progress: rows.filter((row) => !row.ended && row.state !== "baking").length,
        baking: rows.filter((row) => row.state === "baking").length,
        rolled_back_today: rows.filter((row) => row.state === "rolled_back").length,
        ended_today: ended.length,
        median_seconds_to_promotion: promoted.length > 0 ? promoted[Math.floor(promoted.length / 2)] / 1000 : null,
      },
      items: rows,
    };
  }

  targets() {
    const names = new Set(["shop", "cart", ...SCENES.map((scene) => scene.target)]);
    return [...names].sort().map((name) => {
      const active = this.active(name);
      const view = active ? this.view(active) : null;
      const wrong = view?.unconfirmed_nodes ?? [];
      const stable = { canary_percent: 0, stable_percent: 100, baseline_percent: 0 };
      const promoted = [...this.rollouts.values()].findLast((each) => each.target === name && each.state === "succeeded");
      return {
        name,
        configured: true,
        router: "envoy",
        provider: "prometheus",
        route: `${name}/edge`,
        stable_version: active?.stable ?? promoted?.version ?? "v1.0.0",
        wanted: view?.wanted ?? stable,
        generation: 4,
        seen: view?.seen ?? { ...stable, at: new Date().toISOString(), as_wanted: true },
        nodes: ["edge-1", "edge-2", "edge-3"].map((id) => ({
          id,
          connected: true,
          confirmed: !wrong.includes(id),
          generation: wrong.includes(id) ? 3 : 4,
          last_seen: new Date().toISOString(),
          refused: null,
        })),
        unconfirmed_nodes: wrong,
        active_rollout: active?.id ?? null,
        revision: 4,
      };
    });
  }
}
