// The policies of the mock, and what a plan of them looks like.

const step = (weight_percent, min_seconds, max_seconds, at_max = "hold") => ({
  weight_percent,
  min_seconds,
  max_seconds,
  at_max,
});

const selector = (metric) => [{ metric, matchers: [] }];

const METRICS = [
  {
    name: "errors",
    kind: "proportion",
    bad_means: "responses with a 5xx status",
    tolerance: 0.2,
    harm_floor_percent: 0.02,
    no_harm_floor_percent: 0.1,
    direction: "lower_is_better",
    source: { type: "proportion", total: selector("http_requests_total"), bad: selector("http_requests_total") },
  },
  {
    name: "latency",
    kind: "latency",
    bad_means: "slower requests",
    tolerance: 0.25,
    harm_floor_percent: 0.1,
    no_harm_floor_percent: 0.5,
    direction: "lower_is_better",
    source: { type: "latency", histogram: selector("http_request_duration_seconds")[0], unit_seconds: "1" },
  },
];

const RESTARTS = {
  name: "restarts",
  kind: "rate",
  unit: "per_second",
  bad_means: "more of them than the baseline has",
  tolerance: 0.5,
  harm_floor_percent: 0,
  no_harm_floor_percent: 1,
  direction: "lower_is_better",
  source: { type: "rate", events: selector("container_restarts_total"), per: "share" },
};

const POOL = {
  name: "pool in use",
  kind: "mean",
  unit: "value",
  bad_means: "a worse mean than the baseline's",
  tolerance: 0.2,
  harm_floor_percent: 2,
  no_harm_floor_percent: 5,
  direction: "lower_is_better",
  source: { type: "mean", query: "avg(pool_in_use{$arm})" },
};

const GUARDRAILS = [
  {
    name: "error-limit",
    signal: { type: "rate", metric: "errors" },
    limit: { type: "absolute", value: 0.05 },
    breach: "above",
    hold_for_seconds: 120,
    over_seconds: 60,
    min_requests: 100,
    severity: "critical",
    action: "roll_back",
    regardless_of_baseline: false,
  },
  {
    name: "latency-p95-double",
    signal: { type: "quantile", metric: "latency", quantile: 0.95 },
    limit: { type: "ratio_to_baseline", value: 2 },
    breach: "above",
    hold_for_seconds: 300,
    over_seconds: 120,
    min_requests: 100,
    severity: "high",
    action: "hold",
    regardless_of_baseline: false,
  },
];

const usual = {
  mode: "act",
  lag_seconds: 15,
  warm_up_seconds: 60,
  false_rollback_rate: 0.01,
  no_harm_alpha: 0.05,
  dispersion: 3,
  blind_after_seconds: 300,
  blind_then: "hold",
  silent_after_seconds: 120,
  silent_then: "roll_back",
  confirm_within_seconds: 60,
  metrics: METRICS,
};

export const POLICIES = [
  {
    ...usual,
    name: "cautious",
    metrics: [...METRICS, RESTARTS, POOL],
    version: "51d0aa90c3b1",
    description: "For services that are paid by: smaller steps, and nobody is promoted without proof.",
    steps: [step(1, 600, 3600), step(5, 600, 7200), step(25, 1800, 7200), step(50, 1800, 7200), step(100, 0, null)],
    interval_seconds: 10,
    guardrails: GUARDRAILS,
    bake_seconds: 3600,
  },
  {
    ...usual,
    name: "demo",
    version: "77e01c22ab00",
    description: "Real tests with their real bounds, and durations of seconds.\n\nNot for real services.",
    steps: [step(5, 4, 90), step(25, 4, 90), step(100, 0, null)],
    interval_seconds: 1,
    lag_seconds: 0,
    warm_up_seconds: 2,
    dispersion: 1,
    guardrails: [],
    bake_seconds: 5,
  },
  {
    ...usual,
    name: "standard",
    version: "8f31c2d4e5f6",
    description: "For most services with more than 20 requests per second. Steps 5%, 25%, 100%.\n\nRolls back on proof of harm; advances on proof of no harm.",
    steps: [step(5, 300, 1800), step(25, 300, 3600), step(100, 0, null)],
    interval_seconds: 10,
    guardrails: GUARDRAILS,
    bake_seconds: 1800,
  },
];

export const policy = (name) => POLICIES.find((each) => each.name === name);

/** A plan whose figures are made up, and get better with the traffic. */
export function plan(name, rps, errorRate) {
  const of = policy(name);
  const share = (x) => ({ count: Math.round(x * 200), share: x, low: Math.max(0, x - 0.05), high: Math.min(1, x + 0.04) });
  return {
    policy: of.name,
    version: of.version,
    requests_per_second: rps,
    error_rate: errorRate,
    latency_median_seconds: 0.05,
    latency_sigma: 0.6,
    latency_assumed: true,
    dispersion: of.dispersion,
    runs: 200,
    seed: 1,
    steps: of.steps
      .filter((each) => each.weight_percent < 100)
      .map((each) => {
        const power = Math.min(1, (rps * (each.max_seconds ?? 600) * each.weight_percent) / 100 / 30_000);
        return {
          weight_percent: each.weight_percent,
          min_seconds: each.min_seconds,
          max_seconds: each.max_seconds ?? 600,
          harmless_advances: share(0.5 + 0.5 * power),
          advance: { median_seconds: each.min_seconds * 1.2, p90_seconds: power > 0.5 ? each.min_seconds * 2 : null },
          metrics: of.metrics.map((metric) => ({
            metric: metric.name,
            latency: metric.kind === "latency",
            smallest_found: power < 0.1 ? null : 1.2 + (1 - power),
            found: [1.5, 2, 5].map((factor) => {
              const found = Math.min(1, power * (factor - 1));
              const median = found > 0.5 ? each.min_seconds / factor : null;
              return {
                factor,
                found: share(found),
                advanced: share(Math.max(0, 1 - found - 0.1)),
                time: { median_seconds: median, p90_seconds: found > 0.9 ? each.min_seconds : null },
              };
            }),
          })),
          warnings:
            power < 0.3 ? [`At ${each.weight_percent}% this traffic is too little to find a doubling of the errors.`] : [],
        };
      }),
  };
}

/** About as the daemon checks a policy: enough to draw the answer. */
export function check(yaml) {
  const problems = [];
  yaml.split("\n").forEach((text, i) => {
    const key = /^([a-z_]+):/.exec(text)?.[1];
    if (key && !["name", "description", "steps", "analysis", "metrics", "guardrails", "bake", "mode"].includes(key)) {
      problems.push({ line: i + 1, field: key, detail: `unknown field \`${key}\`; expected one of name, steps, analysis, metrics` });
    }
    if (/weight: 1[0-9][1-9]%/.test(text)) {
      problems.push({ line: i + 1, field: "steps[0].weight", detail: "the weight is above 100%; expected a share such as `5%`" });
    }
  });
  if (!/^steps:/m.test(yaml)) problems.push({ line: null, field: "steps", detail: "is missing; expected a list of steps" });
  const ok = problems.length === 0;
  return { ok, problems, warnings: [], policy: ok ? POLICIES[0] : null };
}
