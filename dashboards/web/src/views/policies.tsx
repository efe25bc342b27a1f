// Policies: how versions are stepped and judged.

import { useState } from "preact/hooks";
import { chosen, duration, latency, list, weight, words } from "../lib/format";
import { useLoaded } from "../lib/load";
import { session } from "../lib/session";
import { useStore } from "../lib/store";
import type { Policy, PolicyGuardrail, PolicyMetric } from "../lib/policy-types";
import type { Page } from "../lib/types";
import { Badge, Scroll, Trouble, useTitle, Waiting } from "../ui/parts";
import { PlanCard } from "./plan";
import { PolicyCheck } from "./policy-check";
import { StartDialog } from "./start-dialog";

function StartButton(props: { policy?: string }) {
  const [open, setOpen] = useState(false);
  const now = useStore(session);
  if (now.is !== "in" || !now.me.may.operate) return null;
  return (
    <>
      <button type="button" class="strong" onClick={() => setOpen(true)}>
        Start a rollout …
      </button>
      {open && <StartDialog {...props} onClose={() => setOpen(false)} />}
    </>
  );
}

export function PoliciesView() {
  useTitle("Policies");
  const { value, error, reload } = useLoaded<Page<Policy>>("/policies");
  return (
    <>
      <div class="title-row">
        <h1>Policies</h1>
        <StartButton />
      </div>
      {error !== null && <Trouble error={error} retry={reload} />}
      {value === null && error === null && <Waiting what="the policies" />}
      <div class="cards">
        {value?.items.map((policy) => (
          <section class="card" key={policy.name}>
            <div class="card-head">
              <h2>
                <a href={`/policies/${policy.name}`}>{policy.name}</a>
              </h2>
              {policy.mode === "observe" && <Badge tone="info">observes only</Badge>}
            </div>
            <p>{policy.description.split(/\n\s*\n|(?<=[.!?])\s/)[0]}</p>
            <p class="faint">
              {policy.steps.map((step) => weight(step.weight_percent)).join(" → ")}
              {policy.bake_seconds > 0 && ` · bake ${duration(policy.bake_seconds)}`} · judges{" "}
              {list(policy.metrics.map((metric) => metric.name)) || "nothing"}
            </p>
          </section>
        ))}
      </div>
      <PolicyCheck />
    </>
  );
}

export function PolicyView(props: { name: string }) {
  useTitle(`Policy ${props.name}`);
  const { value: policy, error, reload } = useLoaded<Policy>(`/policies/${encodeURIComponent(props.name)}`);
  if (policy === null) return error === null ? <Waiting what="the policy" /> : <Trouble error={error} retry={reload} />;
  return (
    <>
      <div class="title-row">
        <h1>
          {policy.name} <span class="faint small mono">@{policy.version.slice(0, 6)}</span>{" "}
          {policy.mode === "observe" && <Badge tone="info">observes only</Badge>}
        </h1>
        <StartButton policy={policy.name} />
      </div>
      {policy.description && <p class="description">{policy.description.trim()}</p>}
      <Steps policy={policy} />
      <Metrics metrics={policy.metrics} />
      <Guardrails guardrails={policy.guardrails} />
      <Analysis policy={policy} />
      <PlanCard policy={policy.name} />
    </>
  );
}

const AT_MAX: Record<string, string> = {
  hold: "held, with a notification",
  roll_back: "rolled back",
  promote_unproven: "goes on without proof",
};

function Steps(props: { policy: Policy }) {
  const { policy } = props;
  return (
    <section class="card">
      <h2>Steps</h2>
      <Scroll label="Steps">
        <table>
          <thead>
            <tr>
              <th scope="col">canary's weight</th>
              <th scope="col">at least</th>
              <th scope="col">at most</th>
              <th scope="col">then, if nothing is proven</th>
            </tr>
          </thead>
          <tbody>
            {policy.steps.map((step) => (
              <tr key={step.weight_percent}>
                <th scope="row">{weight(step.weight_percent)}</th>
                {step.weight_percent >= 100 ? (
                  <td colSpan={3}>
                    all traffic{policy.bake_seconds > 0 && `, watched for ${duration(policy.bake_seconds)}`}
                  </td>
                ) : (
                  <>
                    <td>{duration(step.min_seconds)} analysed</td>
                    <td>{step.max_seconds === null ? "no limit" : duration(step.max_seconds)}</td>
                    <td>{step.max_seconds === null ? "–" : (AT_MAX[step.at_max] ?? words(step.at_max))}</td>
                  </>
                )}
              </tr>
            ))}
          </tbody>
        </table>
      </Scroll>
    </section>
  );
}

function Metrics(props: { metrics: PolicyMetric[] }) {
  return (
    <section class="card">
      <h2>Metrics, compared between canary and baseline</h2>
      <Scroll label="Metrics">
        <table>
          <thead>
            <tr>
              <th scope="col">metric</th>
              <th scope="col">bad means</th>
              <th scope="col">accepted</th>
              <th scope="col">never called harm</th>
              <th scope="col">still no harm</th>
            </tr>
          </thead>
          <tbody>
            {props.metrics.map((metric) => (
              <tr key={metric.name}>
                <th scope="row">
                  {metric.name} <span class="faint small">{metric.kind}</span>
                </th>
                <td>
                  {metric.bad_means || "–"}
                  {metric.direction === "higher_is_better" && <span class="faint"> (higher is better)</span>}
                </td>
                <td>up to ×{(1 + metric.tolerance).toFixed(2)}</td>
                <td>{floor(metric, metric.harm_floor_percent)}</td>
                <td>{floor(metric, metric.no_harm_floor_percent)}</td>
              </tr>
            ))}
          </tbody>
        </table>
      </Scroll>
    </section>
  );
}

/** An absolute difference in the metric's own unit; the daemon gives all of them times 100. */
function floor(metric: PolicyMetric, percent: number): string {
  if (percent === 0) return "–";
  if (metric.kind === "proportion" || metric.kind === "latency") return `${chosen(percent)} of requests more`;
  return `${Number((percent / 100).toPrecision(4))} more`;
}

function signalWords(guardrail: PolicyGuardrail): string {
  const { signal } = guardrail;
  if (signal.type === "rate") return `share of bad requests in ${signal.metric}`;
  if (signal.type === "mean") return `mean of ${signal.metric}`;
  if (signal.type === "quantile") return `p${Number(((signal.quantile ?? 0) * 100).toFixed(3))} of ${signal.metric}`;
  return signal.query ?? words(signal.type);
}

function limitWords(guardrail: PolicyGuardrail): string {
  const { limit, signal, breach } = guardrail;
  if (limit.type === "ratio_to_baseline") return `${breach} ×${limit.value} of the baseline's`;
  const value =
    signal.type === "rate"
      ? chosen(limit.value * 100)
      : signal.type === "mean" || signal.type === "quantile"
        ? latency(limit.value)
        : String(limit.value);
  return limit.type === "absolute" ? `${breach} ${value}` : `${breach} the baseline's by ${value}`;
}

function Guardrails(props: { guardrails: PolicyGuardrail[] }) {
  return (
    <section class="card">
      <h2>Guardrails, which hold whatever the tests say</h2>
      {props.guardrails.length === 0 ? (
        <p class="faint">None.</p>
      ) : (
        <Scroll label="Guardrails">
          <table>
            <thead>
              <tr>
                <th scope="col">guardrail</th>
                <th scope="col">what is looked at</th>
                <th scope="col">breached</th>
                <th scope="col">for</th>
                <th scope="col">then</th>
                <th scope="col">severity</th>
              </tr>
            </thead>
            <tbody>
              {props.guardrails.map((guardrail) => (
                <tr key={guardrail.name}>
                  <th scope="row">{guardrail.name}</th>
                  <td>
                    {signalWords(guardrail)} <span class="faint">over {duration(guardrail.over_seconds)}</span>
                  </td>
                  <td>{limitWords(guardrail)}</td>
                  <td>{guardrail.hold_for_seconds === 0 ? "at once" : duration(guardrail.hold_for_seconds)}</td>
                  <td>{words(guardrail.action)}</td>
                  <td>{guardrail.severity}</td>
                </tr>
              ))}
            </tbody>
          </table>
        </Scroll>
      )}
    </section>
  );
}

function Analysis(props: { policy: Policy }) {
  const { policy } = props;
  const then = (outcome: string): string => (outcome === "hold" ? "held" : "rolled back");
  const facts: [string, string][] = [
    ["a look every", duration(policy.interval_seconds)],
    ["figures are read", policy.lag_seconds === 0 ? "at once" : `${duration(policy.lag_seconds)} late`],
    ["warm-up of each step", duration(policy.warm_up_seconds)],
    ["false rollbacks by the tests", `at most ${chosen(policy.false_rollback_rate * 100)}`],
    ["harm taken for no harm", `at most ${chosen(policy.no_harm_alpha * 100)} per metric`],
    ["dispersion without history", String(policy.dispersion)],
    ["no data of both arms", `after ${duration(policy.blind_after_seconds)} ${then(policy.blind_then)}`],
    ["no data of the canary", `after ${duration(policy.silent_after_seconds)} ${then(policy.silent_then)}`],
    ["unconfirmed rollback", `pages after ${duration(policy.confirm_within_seconds)}`],
  ];
  return (
    <section class="card">
      <h2>How it looks and judges</h2>
      <dl class="facts">
        {facts.map(([name, value]) => (
          <div key={name}>
            <dt>{name}</dt>
            <dd>{value}</dd>
          </div>
        ))}
      </dl>
    </section>
  );
}
