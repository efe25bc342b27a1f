import { expect, test } from "vitest";
import { density } from "./density";

const quantiles = { canary_quantiles: [], baseline_quantiles: [] };

test("a density is the share per factor of latency", () => {
  const made = density({ le: [0.01, 0.1, 1, null], canary: [0, 50, 50, 0], baseline: [0, 90, 10, 0], ...quantiles });
  expect(made.at.map((at) => Math.round(at * 100) / 100)).toEqual([-2.3, -2, -1, 0, 0.3]);
  expect(made.canaryShare).toEqual([0, 0.5, 0.5, 0]);
  expect(made.baseline.slice(1, 3)).toEqual([0.9, 0.1]);
  expect(made.canary.length).toBe(made.at.length);
});

test("counts that were summed up are taken apart", () => {
  const made = density({ le: [0.1, 1, null], canary: [50, 100, 100], baseline: [10, 10, 20], ...quantiles });
  expect(made.canaryShare).toEqual([0.5, 0.5, 0]);
  expect(made.baselineShare).toEqual([0.5, 0, 0.5]);
});
