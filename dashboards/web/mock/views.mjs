// What the mock answers with: the daemon's forms of a rollout.

import {
  BUCKETS,
  duration,
  evidence,
  histogram,
  quantiles,
  ratioOf,
  SLOW_SECONDS,
  wilson,
} from "./figures.mjs";
import { LN_HARM, LN_NO_HARM } from "./rollout.mjs";

const iso = (ms) => (ms === null ? null : new Date(ms).toISOString());
const NEEDS = ["user", "drift", "plan"];

function verdict(sum) {
  if (sum.canary.requests === 0) return "no_data";
  if (sum.harm >= LN_HARM) return "worse";
  return sum.noHarm >= LN_NO_HARM ? "not_worse" : "undecided";
}

function assessment(r, sums) {
  const metrics = r.rule.metrics.map((metric, i) => {
    const sum = sums[i];
    const slow = metric.kind === "latency";
    const arm = (of, shift) => {
      if (metric.unit) {
        const value = of.requests ? of.bad / of.requests : null;
        const none = { share_percent: null, share_interval_percent: null, p50_seconds: null, p95_seconds: null, p99_seconds: null };
        return { requests: 0, ...none, [metric.kind === "rate" ? "rate" : "value"]: value };
      }
      const all = slow ? quantiles(of.requests, shift) : [];
      return {
        requests: of.requests,
        share_percent: of.requests ? (of.bad / of.requests) * 100 : null,
        share_interval_percent: wilson(of.bad, of.requests),
        p50_seconds: all[0]?.seconds ?? null,
        p95_seconds: all[2]?.seconds ?? null,
        p99_seconds: all[3]?.seconds ?? null,
        ...(slow ? { quantiles: all } : {}),
      };
    };
    return {
      name: metric.name,
      kind: metric.kind,
      unit: metric.unit ?? "percent",
      bad_means: metric.bad_means,
      verdict: verdict(sum),
      harm: evidence(sum.harm, LN_HARM),
      no_harm: evidence(sum.noHarm, LN_NO_HARM),
      ratio: ratioOf(sum.canary, sum.baseline),
      canary: arm(sum.canary, r.slower),
      baseline: arm(sum.baseline, 1),
      bound_seconds: slow ? SLOW_SECONDS : null,
      dispersion: r.rule.dispersion,
      dispersion_source: "policy",
    };
  });
  const harm = Math.max(...sums.map((sum) => sum.harm));
  return {
    tick: r.ticks.length,
    advice: harm >= LN_HARM ? "roll_back" : "hold",
    reasons: [],
    harm: evidence(harm, LN_HARM),
    catastrophe: evidence(-2, LN_HARM),
    metrics,
    guardrails: r.rule.guardrails.map((guardrail) => ({
      name: guardrail.name,
      status: "clear",
      canary: 0.004,
      baseline: 0.004,
      breaching_for_seconds: 0,
      hold_for_seconds: guardrail.hold_for_seconds,
      baseline_healthy: true,
      action: guardrail.action,
      severity: guardrail.severity,
      sentence: `${guardrail.name} is within its limit.`,
    })),
    remaining_seconds: remaining(r),
  };
}

function remaining(r) {
  if (r.state !== "progressing" || r.stage !== "analysing" || r.holds.length > 0 || r.analysed === 0) return null;
  const least = Math.min(...r.sums.map((sum) => sum.noHarm));
  const rate = least / r.analysed;
  const proof = rate > 0 ? Math.max(0, (LN_NO_HARM - least) / rate) : null;
  const min = Math.max(0, r.rule.steps[r.step].min_seconds - r.analysed);
  return proof === null ? null : Math.max(proof, min);
}

function waitingFor(r, now) {
  const on = (name, sentence, remaining_seconds = null) => ({ on: name, sentence, remaining_seconds });
  if (r.ended) return null;
  if (r.state === "rolling_back") {
    return r.stuck
      ? on("proxy", `Waiting for 1 of ${r.nodes} proxies to confirm the canary at 0%: edge-3.`)
      : on("traffic", "Waiting for the canary's last requests: its weight is 0.");
  }
  if (r.holds.includes("user")) return on("person", "Waiting for a person: it is paused; `resume` lets it go on.");
  if (r.holds.includes("plan")) {
    return on(
      "person",
      "Waiting for a person, or for evidence: the step has lasted its maximum and nothing is proven; `advance` goes on, `rollback` goes back.",
    );
  }
  if (r.holds.includes("blind")) {
    return on("data", `Waiting for data: neither arm has been seen for ${duration((now - r.phaseAt) / 1000)}.`);
  }
  if (r.state === "preflight") return on("data", "Waiting for data of the baseline, before any traffic is moved.");
  if (r.state === "baking") {
    const left = r.rule.bake_seconds - r.analysed;
    return on("time", `Waiting for the end of the bake at 100%: ${duration(left)} left.`, left);
  }
  if (r.stage === "settling" || r.state === "finalizing") return on("proxy", `Waiting for the router to show ${r.wanted}%.`);
  const left = remaining(r);
  const open = r.rule.metrics.filter((_, i) => r.sums[i].noHarm < LN_NO_HARM).map((metric) => metric.name);
  if (left === null) return on("time", `Waiting for the end of the warm-up.`);
  if (open.length === 0) {
    return on("time", `Waiting for the step's minimum duration: ${duration(left)} of analysed time left; no metric is worse.`, left);
  }
  return on("evidence", `Waiting for evidence of no harm in ${open.join(" and ")}: about ${duration(left)} at this traffic.`, left);
}

const stepOf = (r) =>
  ["progressing", "preparing"].includes(r.state)
    ? { index: r.step + 1, of: r.rule.steps.length, ...pick(r.rule.steps[r.step], "weight_percent", "min_seconds", "max_seconds") }
    : null;

const pick = (from, ...names) => Object.fromEntries(names.map((name) => [name, from[name]]));

const split = (canary) => ({ canary_percent: canary, stable_percent: 100 - canary, baseline_percent: 0 });

const unconfirmed = (r) => (r.stuck && r.state === "rolling_back" ? ["edge-3"] : []);

/** Two gates where the rollout has some: one that persons open, and one that is asked all along. */
function gatesOf(r, now) {
  const none = { before: null, items: [], no_return: null, insisted_by: null };
  if (!r.gated || r.ended) return none;
  const said = r.approvals ?? [{ by: "mara", teams: ["payments"], at: iso(now - 400_000), reason: "the figures are good" }];
  const gate = (name, kind, more) => ({
    name,
    kind,
    detail: "",
    by: null,
    at: null,
    during: false,
    waited_seconds: 430,
    deadline_seconds: null,
    at_deadline: "hold",
    point_of_no_return: false,
    approvals: [],
    ...more,
  });
  const people = { status: r.said ?? "waiting", detail: `${said.length} of 2 have said yes; \`security\` is asked`, approvals: said };
  return {
    ...none,
    before: r.holds.includes("gate") ? "25%" : null,
    items: [
      gate("two-people", "approval", { ...people, deadline_seconds: 3600, at_deadline: "roll_back" }),
      gate("load-test", "webhook", { status: "open", detail: "it passed: 3,000 requests per second", at: iso(now - 300_000) }),
      gate("database", "health", { status: "open", detail: "answers 200", during: true }),
    ],
  };
}

export function rolloutView(r, now) {
  const active = !r.ended;
  return {
    id: r.id,
    target: r.target,
    version: r.version,
    stable_version: active ? r.stable : null,
    policy: { name: r.rule.name, version: r.rule.version, mode: r.rule.mode },
    kind: "release",
    state: r.state,
    ended: r.ended,
    step: stepOf(r),
    steps: r.rule.steps,
    stage: r.stage,
    holds: r.holds,
    wanted: active ? split(r.wanted) : null,
    seen: active ? { ...split(r.seen.percent), at: iso(r.seen.at), as_wanted: r.seen.percent === r.wanted } : null,
    unconfirmed_nodes: unconfirmed(r),
    timers: {
      analysed_seconds: r.analysed,
      blind_seconds: 0,
      silent_seconds: 0,
      in_phase_seconds: (now - r.phaseAt) / 1000,
      unseen_seconds: 0,
      quiet_seconds: 0,
    },
    assessment: r.ticks.length > 0 ? assessment(r, r.sums) : null,
    last_compared: r.compared && { weight_percent: r.compared.weight, assessment: assessment(r, r.compared.sums) },
    waiting_for: waitingFor(r, now),
    reason: r.reason,
    gates: gatesOf(r, now),
    superseded_by: null,
    supersedes: null,
    revision: r.revision,
    created_at: iso(r.at),
    created_by: r.by,
    phase_since: iso(r.phaseAt),
    ended_at: iso(r.endedAt),
  };
}

export function rowView(r, now) {
  const sums = r.state === "progressing" ? r.sums : (r.compared?.sums ?? r.sums);
  const all = r.rule.metrics.map((metric, i) => ({
    metric: metric.name,
    verdict: verdict(sums[i]),
    ratio: ratioOf(sums[i].canary, sums[i].baseline),
    harm: sums[i].harm,
  }));
  const worst = all.filter((each) => each.ratio !== null).sort((a, b) => b.harm - a.harm)[0];
  const active = !r.ended;
  return {
    id: r.id,
    target: r.target,
    version: r.version,
    stable_version: active ? r.stable : null,
    policy: r.rule.name,
    state: r.state,
    ended: r.ended,
    holds: r.holds,
    needs_you: r.holds.some((hold) => NEEDS.includes(hold)) || unconfirmed(r).length > 0,
    step: stepOf(r),
    stage: r.stage,
    wanted_percent: active ? r.wanted : null,
    seen_percent: active ? (r.seen.percent === 0 ? 0 : (r.ticks.at(-1)?.seen ?? null)) : null,
    in_phase_seconds: (now - r.phaseAt) / 1000,
    remaining_seconds: waitingFor(r, now)?.remaining_seconds ?? null,
    waiting_for: active ? pick(waitingFor(r, now), "on", "sentence") : null,
    worst: worst ? pick(worst, "metric", "verdict", "ratio") : null,
    spark: r.spark.map((ratio) => Number(ratio.toFixed(3))),
    reason: r.reason?.sentence ?? null,
    created_at: iso(r.at),
    created_by: r.by,
    ended_at: iso(r.endedAt),
    revision: r.revision,
  };
}

/** Rates and means over time; a rate has its interval (Poisson), a mean none. */
function other(metric, sums) {
  const value = sums.map((sum) => (sum.requests ? sum.bad / sum.requests : null));
  const end = (sign) => (sum, i) =>
    metric.kind === "mean" || !sum.requests ? null : Math.max(0, value[i] + (sign * 1.96 * Math.sqrt(sum.bad)) / sum.requests);
  return { requests: sums.map(() => null), value, low: sums.map(end(-1)), high: sums.map(end(1)), sums };
}

/** The figures over time, in at most `points` buckets. */
export function series(r, { from, to, points }) {
  const ticks = r.ticks.filter((tick) => tick.at > from && tick.at <= to);
  const size = Math.max(1, Math.ceil(ticks.length / points));
  const buckets = [];
  for (let i = 0; i < ticks.length; i += size) buckets.push(ticks.slice(i, i + size));
  const last = (bucket) => bucket[bucket.length - 1];
  const metrics = r.rule.metrics.map((metric, i) => {
    const arm = (name) => {
      const sums = buckets.map((bucket) => ({
        requests: bucket.reduce((sum, tick) => sum + tick.metrics[i][name].requests, 0),
        bad: bucket.reduce((sum, tick) => sum + tick.metrics[i][name].bad, 0),
      }));
      if (metric.unit) return other(metric, sums);
      const intervals = sums.map((sum) => wilson(sum.bad, sum.requests));
      return {
        requests: sums.map((sum) => sum.requests),
        value: sums.map((sum) => (sum.requests ? (sum.bad / sum.requests) * 100 : null)),
        low: intervals.map((interval) => interval?.[0] ?? null),
        high: intervals.map((interval) => interval?.[1] ?? null),
        sums,
      };
    };
    const [canary, baseline] = [arm("canary"), arm("baseline")];
    const ratios = canary.sums.map((sum, at) => ratioOf(sum, baseline.sums[at]));
    const total = (of) => of.requests.reduce((sum, each) => sum + each, 0);
    const slow = metric.kind === "latency";
    const { sums: _, ...canaryNumbers } = canary;
    const { sums: __, ...baselineNumbers } = baseline;
    return {
      name: metric.name,
      kind: metric.kind,
      unit: metric.unit ?? "percent",
      canary: canaryNumbers,
      baseline: baselineNumbers,
      ratio: {
        low: ratios.map((ratio) => ratio?.low ?? null),
        estimate: ratios.map((ratio) => ratio?.estimate ?? null),
        high: ratios.map((ratio) => ratio?.high ?? null),
      },
      ln_harm: buckets.map((bucket) => last(bucket).metrics[i].harm),
      ln_no_harm: buckets.map((bucket) => last(bucket).metrics[i].noHarm),
      ln_bound_harm: LN_HARM,
      ln_bound_no_harm: LN_NO_HARM,
      latency:
        slow && ticks.length > 0
          ? {
              le: BUCKETS,
              canary: histogram(total(canary), r.slower),
              baseline: histogram(total(baseline), 1),
              canary_quantiles: quantiles(total(canary), r.slower),
              baseline_quantiles: quantiles(total(baseline), 1),
            }
          : null,
    };
  });
  return {
    rollout: r.id,
    from: ticks[0] ? iso(ticks[0].at * 1000) : null,
    to: ticks.length > 0 ? iso(last(ticks).at * 1000) : null,
    times: buckets.map((bucket) => last(bucket).at),
    step: buckets.map((bucket) => last(bucket).step),
    wanted_percent: buckets.map((bucket) => last(bucket).wanted),
    seen_percent: buckets.map((bucket) => last(bucket).seen),
    ln_harm_combined: buckets.map((bucket) => Math.max(...last(bucket).metrics.map((metric) => metric.harm)) - 0.7),
    metrics,
  };
}
