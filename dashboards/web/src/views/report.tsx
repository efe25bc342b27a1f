// The report of a rollout: to read, to print, and to start a post-mortem from.

import { useState } from "preact/hooks";
import { duration, weight, words } from "../lib/format";
import { useLoaded } from "../lib/load";
import type { LogLine, Report, ReportStep } from "../lib/types";
import { Badge, Moment, Scroll, Told, type Tone, Trouble, useTitle, VerdictBadge, Waiting } from "../ui/parts";
import { MetricTable } from "./rollout/metric-table";

export function ReportView(props: { id: string }) {
  const id = encodeURIComponent(props.id);
  const { value: report, error, reload } = useLoaded<Report>(`/rollouts/${id}/report?form=json`);
  const rollout = report?.rollout;
  useTitle(rollout ? `Report: ${rollout.target} ${rollout.version}` : "Report");
  if (!report || !rollout) {
    return error === null ? <Waiting what="the report" /> : <Trouble error={error} retry={reload} />;
  }
  const compared = rollout.last_compared?.assessment ?? rollout.assessment;
  const path = `/api/v1/rollouts/${id}/report`;
  return (
    <article class="report">
      <header>
        <div class="title-row">
          <h1>
            Report: {rollout.target} {rollout.version} <Badge tone={tone(report.verdict)}>{report.verdict}</Badge>
          </h1>
          <div class="buttons no-print">
            <button type="button" onClick={() => print()}>
              Print
            </button>
            <a class="button" href={`${path}?form=markdown`} target="_blank" rel="noopener">
              As Markdown
            </a>
            <a class="button" href={`${path}?form=html`} target="_blank" rel="noopener">
              As one HTML file
            </a>
          </div>
        </div>
        <p class="faint">
          policy <a href={`/policies/${rollout.policy.name}`}>{rollout.policy.name}</a>@{rollout.policy.version.slice(0, 6)}{" "}
          · started by {rollout.created_by} <Moment at={rollout.created_at} date />
          {rollout.ended_at && (
            <>
              {" "}
              · ended <Moment at={rollout.ended_at} date />
            </>
          )}{" "}
          · <a href={`/rollouts/${id}`}>the rollout</a>
        </p>
      </header>
      <p class={`sentence ${tone(report.verdict)}`}>
        <Told text={report.sentence} />{" "}
        <span class="faint">
          {rollout.ended ? "It took" : "So far it has taken"} {duration(report.duration_seconds)}.
        </span>
      </p>
      <Steps steps={report.steps} />
      {compared && compared.metrics.length > 0 && (
        <section class="card">
          <h2>
            What the figures said
            {rollout.last_compared && ` at ${weight(rollout.last_compared.weight_percent)}`}
          </h2>
          {compared.metrics.map((metric) => (
            <section key={metric.name} class="report-metric">
              <div class="card-head">
                <h3>{metric.name}</h3>
                <VerdictBadge verdict={metric.verdict} ratio={metric.ratio} />
              </div>
              <MetricTable metric={metric} />
            </section>
          ))}
        </section>
      )}
      <Lines title="Decisions" lines={report.decisions} empty="None was taken yet." />
      {report.alerts.length > 0 && (
        <section class="card">
          <h2>Alerts</h2>
          <ul>
            {report.alerts.map((alert, index) => (
              <li key={index}>{alertWords(alert)}</li>
            ))}
          </ul>
        </section>
      )}
      {report.post_mortem && <PostMortem text={report.post_mortem} />}
      <Lines title="The whole log" lines={report.log} empty="Nothing was recorded." />
    </article>
  );
}

function tone(verdict: string): Tone {
  if (verdict === "promoted") return "good";
  if (verdict === "rolled back" || verdict === "failed") return "bad";
  return verdict === "in progress" ? "info" : "plain";
}

/** An alert, whatever else the daemon tells of it. */
function alertWords(alert: unknown): string {
  if (typeof alert === "string") return alert;
  if (typeof alert !== "object" || alert === null) return String(alert);
  const fields = alert as Record<string, unknown>;
  const at = typeof fields["at"] === "string" ? `${fields["at"].slice(11, 19)} UTC: ` : "";
  const text = fields["sentence"] ?? fields["detail"] ?? fields["name"];
  return typeof text === "string" ? at + text : JSON.stringify(alert);
}

function Steps(props: { steps: ReportStep[] }) {
  if (props.steps.length === 0) return null;
  return (
    <section class="card">
      <h2>Steps</h2>
      <Scroll label="Steps">
        <table>
          <thead>
            <tr>
              <th scope="col">canary's weight</th>
              <th scope="col">from</th>
              <th scope="col">to</th>
              <th scope="col" class="number">
                duration
              </th>
              <th scope="col">outcome</th>
            </tr>
          </thead>
          <tbody>
            {props.steps.map((step) => (
              <tr key={`${step.index} ${step.from}`}>
                <th scope="row">{weight(step.weight_percent)}</th>
                <td>
                  <Moment at={step.from} />
                </td>
                <td>{step.to ? <Moment at={step.to} /> : "–"}</td>
                <td class="number">{duration(step.seconds)}</td>
                <td>
                  <strong>{words(step.outcome)}</strong> {step.sentence && <Told text={step.sentence} />}
                </td>
              </tr>
            ))}
          </tbody>
        </table>
      </Scroll>
    </section>
  );
}

function Lines(props: { title: string; lines: LogLine[]; empty: string }) {
  return (
    <section class="card">
      <h2>{props.title}</h2>
      {props.lines.length === 0 && <p class="faint">{props.empty}</p>}
      <ol class="log">
        {props.lines.map((line) => (
          <li key={line.seq}>
            <Moment at={line.at} ms />
            <span>
              <Told text={line.sentence} />
              {line.by && <span class="faint"> ({line.by})</span>}
            </span>
          </li>
        ))}
      </ol>
    </section>
  );
}

function PostMortem(props: { text: string }) {
  const [copied, setCopied] = useState<"" | "copied" | "failed">("");
  const copy = (): void => {
    // Without HTTPS there is no clipboard: then the text is selected, ready for the keyboard.
    const select = (): void => {
      const text = document.getElementById("post-mortem");
      if (text instanceof HTMLTextAreaElement) text.select();
      setCopied("failed");
    };
    if (!navigator.clipboard) return select();
    navigator.clipboard.writeText(props.text).then(() => setCopied("copied"), select);
  };
  return (
    <section class="card">
      <div class="card-head">
        <h2>
          <label for="post-mortem">Draft post-mortem</label>
        </h2>
        <span class="no-print">
          <span role="status" class="faint">
            {copied === "copied" ? "Copied. " : copied === "failed" ? "Selected: copy it with the keyboard. " : ""}
          </span>
          <button type="button" onClick={copy}>
            Copy the text
          </button>
        </span>
      </div>
      <textarea id="post-mortem" class="mono no-print" readOnly rows={18} value={props.text} />
      <pre class="only-print">{props.text}</pre>
    </section>
  );
}
