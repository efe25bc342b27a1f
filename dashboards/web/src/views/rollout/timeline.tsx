// The steps in a row: where it was, where it is, where it will be; wanted, set and seen.

import { duration, measured, weight, words } from "../../lib/format";
import { useNow } from "../../lib/store";
import type { Report, ReportStep, Rollout, Series } from "../../lib/types";
import { Moment } from "../../ui/parts";

interface Stop {
  name: string;
  weight: number | null;
  is: "past" | "now" | "failed" | "ahead";
  /** How much of the line to the next stop is drawn, in [0, 1]. */
  part: number;
  told: ReportStep | null;
}

function stops(view: Rollout, report: Report | null, since: number): Stop[] {
  const told = (index: number): ReportStep | null => report?.steps.findLast((step) => step.index === index) ?? null;
  const passed = ["finalizing", "baking", "succeeded"].includes(view.state);
  const back = ["rolling_back", "verifying", "rolled_back", "failed", "cancelled"].includes(view.state);
  const reached = back ? furthest(view, report) : (view.step?.index ?? 0);
  const steps = view.steps.map((step, i): Stop => {
    const index = i + 1;
    const base = { name: weight(step.weight_percent), weight: step.weight_percent, told: told(index) };
    if (passed) {
      const last = index === view.steps.length && view.state === "finalizing";
      return { ...base, is: last ? "now" : "past", part: last ? 0.5 : 1 };
    }
    if (index < reached) return { ...base, is: "past", part: 1 };
    if (index > reached) return { ...base, is: "ahead", part: 0 };
    if (back) return { ...base, is: "failed", part: 0.6 };
    return { ...base, is: "now", part: portion(view, since) };
  });
  const bake = ((): Stop["is"] => {
    if (view.state === "baking") return "now";
    return view.state === "succeeded" ? "past" : "ahead";
  })();
  return [...steps, { name: "bake", weight: null, is: bake, part: bake === "past" ? 1 : bake === "now" ? 0.5 : 0, told: null }];
}

/** The last step that had traffic, of a rollout that went back. */
function furthest(view: Rollout, report: Report | null): number {
  const told = Math.max(0, ...(report?.steps.map((step) => step.index) ?? []));
  const compared = view.last_compared
    ? view.steps.findIndex((step) => step.weight_percent === view.last_compared?.weight_percent) + 1
    : 0;
  return Math.max(told, compared);
}

function portion(view: Rollout, since: number): number {
  if (view.state !== "progressing" || !view.step) return 0.05;
  const remaining = view.waiting_for?.remaining_seconds ?? null;
  const analysed = view.timers.analysed_seconds + (view.holds.length > 0 ? 0 : since);
  const whole = remaining === null ? (view.step.max_seconds ?? view.step.min_seconds * 2) : analysed + remaining - since;
  return Math.min(0.95, Math.max(0.05, whole > 0 ? analysed / whole : 0.5));
}

/** The canary's share that was last seen in the figures of a step. */
function seenIn(series: Series | null, step: number): number | null {
  if (!series) return null;
  for (let i = series.times.length - 1; i >= 0; i -= 1) {
    const seen = series.seen_percent[i] ?? null;
    if (series.step[i] === step && seen !== null) return seen;
  }
  return null;
}

export function Timeline(props: { view: Rollout; at: number; report: Report | null; series: Series | null }) {
  const { view } = props;
  const now = useNow(!view.ended);
  const since = Math.max(0, now - props.at);
  return (
    <section class="card" aria-label="Steps">
      <ol class="timeline">
        {stops(view, props.report, since).map((stop, i) => (
          <li key={stop.name} class={stop.is} aria-current={stop.is === "now" ? "step" : undefined}>
            <span class="track" aria-hidden="true">
              <span class="done" style={{ width: `${stop.part * 100}%` }} />
              <span class="dot" />
            </span>
            <strong>{stop.name}</strong>{" "}
            {stop.weight !== null && <Weights view={view} stop={stop} seen={seenIn(props.series, i + 1)} />}
            <span class="small faint when">
              <When view={view} stop={stop} since={since} />
            </span>
          </li>
        ))}
      </ol>
      {!view.ended && <Now view={view} />}
      {!view.ended && <Instances view={view} />}
    </section>
  );
}

function Weights(props: { view: Rollout; stop: Stop; seen: number | null }) {
  const { view, stop, seen } = props;
  if (stop.is === "ahead" || seen === null) return null;
  const back = stop.is === "failed" && view.ended ? " → 0%" : "";
  return (
    <span class="faint">
      seen {measured(seen)}
      {back}
    </span>
  );
}

function When(props: { view: Rollout; stop: Stop; since: number }) {
  const { view, stop } = props;
  if (stop.is === "ahead") return <>{view.ended ? "not reached" : "ahead"}</>;
  const { told } = stop;
  const end =
    stop.is === "now" ? (
      <>
        for {duration(Math.floor(view.timers.in_phase_seconds + props.since))}
        <Progress view={view} />
      </>
    ) : told ? (
      <>
        {duration(told.seconds)}
        {told.outcome && ` · ${words(told.outcome)}`}
      </>
    ) : (
      <>{stop.is === "failed" ? words(view.state) : "done"}</>
    );
  return (
    <>
      {told && (
        <>
          <Moment at={told.from} />
          {told.to && (
            <>
              {" – "}
              <Moment at={told.to} />
            </>
          )}
          {" · "}
        </>
      )}
      {end}
    </>
  );
}

/** `8 of 10 min`; where the units differ, both with their own. */
function part(done: string, whole: string): string {
  const unit = (text: string) => text.slice(text.indexOf(" "));
  return unit(done) === unit(whole) ? `${done.slice(0, done.indexOf(" "))} of ${whole}` : `${done} of ${whole}`;
}

/** What counts towards the step's minimum: its time, and the requests of the arm that has the fewest. */
function Progress(props: { view: Rollout }) {
  const { step, state, timers } = props.view;
  if (!step || state !== "progressing") return null;
  const { requests = 0, min_requests: least = 0 } = step;
  return (
    <>
      {" · "}
      {part(duration(Math.floor(timers.analysed_seconds)), duration(step.min_seconds))}
      {least > 0 && `, ${Math.min(requests, least)} of ${least} requests`}
    </>
  );
}

/** How many of the canary's instances are ready, and how often both arms' have restarted. */
function Instances(props: { view: Rollout }) {
  const { instances, restarts } = props.view;
  const parts: string[] = [];
  if (instances) {
    const missing = instances.listed - instances.ready;
    const short = missing > 0 ? `: ${missing} ${missing === 1 ? "does" : "do"} not start` : "";
    parts.push(`${instances.ready} of ${instances.listed} canary instances ready${short}`);
  }
  if (restarts && restarts.canary + restarts.baseline > 0) {
    const arm = (all: number, recent = 0, of = 0) => `${all} (${recent} in 15 min on ${of} instance${of === 1 ? "" : "s"})`;
    const { canary, canary_recent, canary_instances, baseline, baseline_recent, baseline_instances } = restarts;
    parts.push(
      `restarts: canary ${arm(canary, canary_recent, canary_instances)}, ` +
        `baseline ${arm(baseline, baseline_recent, baseline_instances)}`,
    );
  }
  if (parts.length === 0) return null;
  const few = instances !== undefined && instances.ready < instances.least;
  return <p class={few ? "unconfirmed" : "faint"}>{parts.join(" · ")}</p>;
}

/** What the canary shall have, what the proxies have set, and what is still missing. */
function Now(props: { view: Rollout }) {
  const { wanted, seen, unconfirmed_nodes: unconfirmed, policy } = props.view;
  if (policy.mode === "observe") return <p class="faint">Observe mode: evaluated and reported; no traffic is moved.</p>;
  if (!wanted) return null;
  return (
    <p class="now-weights">
      canary <strong class="canary">{weight(wanted.canary_percent)}</strong> wanted ·{" "}
      {seen ? (
        <>
          <strong class="canary">{weight(seen.canary_percent)}</strong> set at the router, seen <Moment at={seen.at} />
        </>
      ) : (
        "not seen at the router yet"
      )}
      {unconfirmed.length > 0 && (
        <span class="unconfirmed">
          {" "}
          · not confirmed by {unconfirmed.slice(0, 4).join(", ")}
          {unconfirmed.length > 4 && ` and ${unconfirmed.length - 4} more`}
        </span>
      )}
    </p>
  );
}
