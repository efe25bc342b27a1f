import { expect, test } from "vitest";
import type { Series } from "../../lib/types";
import { append } from "./append";

function series(times: number[]): Series {
  const numbers = times.map((time) => time * 2);
  const arm = { requests: numbers, value: numbers, low: numbers, high: numbers };
  return {
    rollout: "r",
    from: null,
    to: null,
    times,
    step: numbers,
    wanted_percent: numbers,
    seen_percent: numbers,
    metrics: [
      {
        name: "errors",
        kind: "proportion",
        unit: "percent",
        canary: arm,
        baseline: arm,
        ratio: { low: numbers, estimate: numbers, high: numbers },
        ln_harm: numbers,
        ln_no_harm: numbers,
        ln_bound_harm: 4.6,
        ln_bound_no_harm: 3,
        latency: null,
      },
    ],
  };
}

test("what is new is appended once", () => {
  const joined = append(series([1, 2, 3]), series([2, 3, 4, 5]));
  expect(joined.times).toEqual([1, 2, 3, 4, 5]);
  expect(joined.metrics[0]?.canary.low).toEqual([2, 4, 6, 8, 10]);
  expect(joined.metrics[0]?.ln_harm).toEqual([2, 4, 6, 8, 10]);
  const same = series([1, 2]);
  expect(append(same, series([1, 2]))).toBe(same);
  const without = append(series([1]), { ...series([2]), metrics: [] });
  expect(without.metrics[0]?.ratio.high).toEqual([2, null]);
});
