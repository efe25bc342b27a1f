import { describe, expect, test } from "vitest";
import * as format from "./format";

// The cases of src/core/words.rs and src/cli/text.rs: page and terminal write the same.

test("durations", () => {
  const cases: [number, string][] = [
    [0, "0 s"],
    [0.04, "0.0 s"],
    [0.4, "0.4 s"],
    [1, "1 s"],
    [59.4, "59 s"],
    [59.6, "1 min"],
    [200, "3 min 20 s"],
    [1120, "18 min 40 s"],
    [3600, "1 h"],
    [3900, "1 h 5 min"],
    [86_400, "24 h"],
    [183_600, "2 d 3 h"],
  ];
  for (const [seconds, text] of cases) expect(format.duration(seconds)).toBe(text);
  expect(format.duration(Number.NaN)).toBe("0 s");
  expect(format.ticking(59.9)).toBe("59 s");
});

test("figures", () => {
  expect(format.thousands(0)).toBe("0");
  expect(format.thousands(999)).toBe("999");
  expect(format.thousands(1000)).toBe("1,000");
  expect(format.thousands(36_140)).toBe("36,140");
  expect(format.shareWithInterval(1.138, [1.031, 1.262])).toBe("1.14% [1.03 – 1.26]");
  expect(format.shareWithInterval(0, [0, 0.021])).toBe("0% [0 – 0.021]");
  expect(format.weight(12.5)).toBe("12.5%");
  expect(format.weight(100)).toBe("100%");
  expect(format.weight(0)).toBe("0%");
  expect(format.weight(0.01)).toBe("0.01%");
  expect(format.measured(24.93)).toBe("24.9%");
  expect(format.measured(5.021)).toBe("5.02%");
  expect(format.measured(0)).toBe("0%");
  expect(format.latency(0.0072)).toBe("7.2 ms");
  expect(format.latency(0.253)).toBe("253 ms");
  expect(format.latency(0.9999)).toBe("1.00 s");
  expect(format.latency(12)).toBe("12.0 s");
  expect(format.latencyInterval(0.0712, 0.0744)).toBe("[71 – 74 ms]");
  expect(format.latencyInterval(0.517, 1.2)).toBe("[517 ms – 1.20 s]");
  expect(format.chosen(5)).toBe("5%");
  expect(format.chosen(0.07 * 100)).toBe("7%");
  expect(format.chosen(0.02)).toBe("0.02%");
});

test("ratios", () => {
  expect(format.ratio({ low: 1.94, estimate: 2.71, high: 3.58 })).toBe("×2.7 [1.9 – 3.6]");
  expect(format.ratio({ low: 0.8, estimate: 1.1, high: null })).toBe("×1.10 [0.80 – …]");
  expect(format.ratio({ low: 0.06, estimate: null, high: 50 })).toBe("× [0.1 – 50]");
});

describe("odds", () => {
  test("are rounded down", () => {
    const cases: [number, string][] = [
      [0, "<1:1"],
      [0.999, "<1:1"],
      [1, "1:1.0"],
      [2.79, "1:2.7"],
      [1 / 0.05, "1:20"],
      [99.99, "1:99"],
      [100, "1:100"],
      [4187, "1:4,100"],
      [1_234_567, "1:1,200,000"],
      [3e12, ">1:10^9"],
    ];
    for (const [e, text] of cases) expect(format.odds(e)).toBe(text);
    expect(format.evidence({ odds: 1, bound_odds: 100 })).toBe("1:1.0 of 1:100");
    expect(format.evidence({ odds: 4187, bound_odds: Math.exp(Math.log(100)) })).toBe("1:4,100 of 1:100");
  });

  test("of bounds and ticks are whole", () => {
    expect(format.bound(1)).toBe("1:1");
    expect(format.bound(10)).toBe("1:10");
    expect(format.bound(100.00000000000004)).toBe("1:100");
    expect(format.bound(19.999999999999996)).toBe("1:20");
    expect(format.bound(1e6)).toBe("1:1,000,000");
    expect(format.bound(1e7)).toBe("1:10^7");
  });
});

test("words", () => {
  expect(format.words("rolling_back")).toBe("rolling back");
  expect(format.list([])).toBe("");
  expect(format.list(["errors"])).toBe("errors");
  expect(format.list(["errors", "latency"])).toBe("errors and latency");
  expect(format.list(["a", "b", "c"])).toBe("a, b and c");
  expect(format.count(1, "proxy", "proxies")).toBe("1 proxy");
  expect(format.count(1200, "request", "requests")).toBe("1,200 requests");
});
