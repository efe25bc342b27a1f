import { expect, test } from "vitest";
import type { Rollout } from "../../lib/types";
import { against, consequence, label, possible } from "./commands";

const base = {
  target: "checkout",
  version: "v1.5.0",
  stable_version: "v1.4.1",
  policy: { name: "standard", version: "8f31c2", mode: "act" },
  state: "progressing",
  ended: false,
  step: { index: 1, of: 3, weight_percent: 5, min_seconds: 0, max_seconds: null },
  steps: [5, 25, 100].map((weight_percent) => ({ weight_percent, min_seconds: 0, max_seconds: null, at_max: "hold" })),
  holds: [],
  wanted: { canary_percent: 5, stable_percent: 95, baseline_percent: 0 },
} as unknown as Rollout;

test("only what the state allows is offered", () => {
  expect(possible(base)).toEqual(["pause", "advance", "promote", "rollback"]);
  expect(possible({ ...base, holds: ["user"] })).toEqual(["resume", "advance", "promote", "rollback"]);
  expect(possible({ ...base, holds: ["plan"] })).toEqual(["pause", "resume", "advance", "promote", "rollback"]);
  expect(possible({ ...base, state: "baking", step: null })).toEqual(["pause", "promote", "rollback"]);
  expect(possible({ ...base, state: "scheduled", step: null })).toEqual(["rollback"]);
  expect(possible({ ...base, state: "rolling_back" })).toEqual([]);
  expect(possible({ ...base, state: "verifying", step: null })).toEqual([]);
  expect(possible({ ...base, state: "finalizing", step: null })).toEqual(["pause", "rollback"]);
  expect(possible({ ...base, state: "succeeded", ended: true })).toEqual([]);
  expect(label("rollback", { ...base, state: "scheduled" })).toBe("Cancel …");
});

test("the dangerous buttons say what they will do", () => {
  const at25 = { ...base, wanted: { canary_percent: 25, stable_percent: 75, baseline_percent: 0 } };
  expect(consequence("rollback", at25)).toBe(
    "The canary of checkout goes from 25% to 0% at once; v1.4.1 gets all traffic.",
  );
  expect(consequence("advance", base)).toBe("The canary of checkout goes from 5% to 25% at once, proven or not.");
  expect(consequence("promote", { ...base, holds: ["plan"] })).toBe(
    "v1.5.0 of checkout goes from 5% to 100% at once, past the steps that are left, proven or not. Holds are dropped.",
  );
  const observe = { ...base, policy: { ...base.policy, mode: "observe" as const } };
  expect(consequence("rollback", observe)).toContain("no traffic of checkout is moved");
});

test("what stands against going on is asked for by name", () => {
  expect(against(base, "erin")).toEqual({ pauses: [], unready: null, suspects: [] });
  const instances = { ready: 15, listed: 20, least: 16, by: "router" as const };
  expect(against({ ...base, instances }, "erin").unready).toBe("15 of 20 canary instances are ready");
  expect(against({ ...base, instances: { ...instances, ready: 17 } }, "erin").unready).toBeNull();
  const held = [{ hold: "user" as const, by: "mara", since: "2026-01-02T03:04:05Z", why: "the other team" }];
  const paused: Rollout = { ...base, holds: ["user"], held };
  expect(against(paused, "erin").pauses).toEqual(["mara (the other team)"]);
  expect(against(paused, "mara").pauses).toEqual([]);
  expect(against({ ...paused, held: [] }, "mara").pauses).toEqual(["somebody"]);
  const judged = {
    harm: { ln_bound: 4.6 },
    metrics: [
      { name: "errors", harm: { ln_e: 2.5 } },
      { name: "latency", harm: { ln_e: 1 } },
    ],
    guardrails: [
      { name: "limit", status: "breaching", action: "roll_back" },
      { name: "told", status: "fired", action: "alert" },
    ],
  } as unknown as NonNullable<Rollout["assessment"]>;
  expect(against({ ...base, assessment: judged }, null).suspects).toEqual(["errors", "limit"]);
});
