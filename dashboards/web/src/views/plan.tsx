// What a policy will see at given traffic: `serin plan` in the page.

import { useEffect, useRef, useState } from "preact/hooks";
import { get } from "../lib/api";
import { duration, latency, share, weight } from "../lib/format";
import type { Plan, ShareOfRuns, Times } from "../lib/policy-types";
import { Scroll, Trouble } from "../ui/parts";

// It is simulated when it is asked for: that takes seconds.
const DEADLINE_MS = 120_000;

export function PlanCard(props: { policy: string }) {
  const [plan, setPlan] = useState<Plan | null>(null);
  const [error, setError] = useState<unknown>(null);
  const [busy, setBusy] = useState(false);
  const asked = useRef<AbortController | null>(null);
  useEffect(() => () => asked.current?.abort(), []);

  const submit = async (event: SubmitEvent): Promise<void> => {
    event.preventDefault();
    if (!(event.currentTarget instanceof HTMLFormElement)) return;
    const query = new URLSearchParams();
    for (const [name, value] of new FormData(event.currentTarget)) {
      if (typeof value === "string" && value.trim() !== "") query.set(name, value.trim());
    }
    asked.current?.abort();
    const stop = new AbortController();
    asked.current = stop;
    setBusy(true);
    setError(null);
    try {
      const path = `/policies/${encodeURIComponent(props.policy)}/plan?${query}`;
      setPlan(await get<Plan>(path, stop.signal, DEADLINE_MS));
    } catch (failed) {
      if (stop.signal.aborted) return;
      setError(failed);
    }
    setBusy(false);
  };

  return (
    <section class="card">
      <h2>What it will see in your traffic</h2>
      <form class="plan-form" onSubmit={(event) => void submit(event)}>
        <Field label="Requests per second" name="rps" value="100" min="0" required />
        <Field label="Errors, % of requests" name="error_rate_percent" value="0.1" min="0" required />
        <Field label="Median latency, ms" name="latency_median_ms" min="0" />
        <Field label="Latency, σ of its logarithm" name="latency_sigma" min="0" />
        <Field label="Dispersion" name="dispersion" min="1" />
        <button type="submit" class="strong" disabled={busy}>
          {busy ? "Simulating …" : "Work it out"}
        </button>
      </form>
      <p class="hidden" role="status">
        {busy ? "Simulating" : plan ? "The plan is below" : ""}
      </p>
      {error !== null && <Trouble error={error} />}
      {plan && <PlanTables plan={plan} />}
    </section>
  );
}

function Field(props: { label: string; name: string; value?: string; min: string; required?: boolean }) {
  return (
    <label>
      {props.label}
      <input
        name={props.name}
        type="number"
        step="any"
        min={props.min}
        defaultValue={props.value ?? ""}
        required={props.required ?? false}
        placeholder={props.required ? "" : "usual"}
      />
    </label>
  );
}

function runs(of: ShareOfRuns): string {
  return `${share(of.share * 100)} [${(of.low * 100).toFixed(0)} – ${(of.high * 100).toFixed(0)}]`;
}

function times(of: Times): string {
  if (of.median_seconds === null) return "not within the step";
  const late = of.p90_seconds === null ? "90% not within the step" : `90% within ${duration(of.p90_seconds)}`;
  return `${duration(of.median_seconds)}, ${late}`;
}

function PlanTables(props: { plan: Plan }) {
  const { plan } = props;
  return (
    <>
      <p class="faint">
        {plan.requests_per_second} requests/s of both arms, {share(plan.error_rate * 100)} errors, median latency{" "}
        {latency(plan.latency_median_seconds)}
        {plan.latency_assumed && " (assumed)"}, dispersion {plan.dispersion}; {plan.runs} simulated runs for each figure.
      </p>
      {plan.steps.map((step) => (
        <div key={step.weight_percent}>
          <h3>At {weight(step.weight_percent)}</h3>
          <p>
            A harmless version goes on in {runs(step.harmless_advances)} of runs, after {times(step.advance)}.
          </p>
          <Scroll label="Plan">
            <table>
              <thead>
                <tr>
                  <th scope="col">metric</th>
                  <th scope="col">smallest regression found (80%)</th>
                  {step.metrics[0]?.found.map((found) => (
                    <th scope="col" key={found.factor}>
                      ×{found.factor}: rolled back, after
                    </th>
                  ))}
                </tr>
              </thead>
              <tbody>
                {step.metrics.map((metric) => (
                  <tr key={metric.metric}>
                    <th scope="row">{metric.metric}</th>
                    <td>{metric.smallest_found === null ? "none" : `×${metric.smallest_found.toFixed(2)}`}</td>
                    {metric.found.map((found) => (
                      <td key={found.factor}>
                        {runs(found.found)}
                        <br />
                        <span class="faint small">{found.time.median_seconds === null ? "–" : times(found.time)}</span>
                      </td>
                    ))}
                  </tr>
                ))}
              </tbody>
            </table>
          </Scroll>
          {step.warnings.length > 0 && (
            <ul class="warnings">
              {step.warnings.map((warning) => (
                <li key={warning}>{warning}</li>
              ))}
            </ul>
          )}
        </div>
      ))}
    </>
  );
}
