// What happened, newest first.

import type { LogLine } from "../../lib/types";
import { Moment, Told } from "../../ui/parts";

const DECISIONS = new Set([
  "advanced",
  "promoted",
  "rollback_started",
  "rolled_back",
  "succeeded",
  "cancelled",
  "failed",
  "would_have",
]);

export function Log(props: { lines: LogLine[]; ended: boolean }) {
  const lines = [...props.lines].sort((a, b) => b.seq - a.seq);
  return (
    <section class="card log-card">
      <div class="card-head">
        <h2>What happened</h2>
        <span class="faint small">newest first, {zone()}</span>
      </div>
      <ol class="log" reversed aria-live={props.ended ? undefined : "polite"} tabIndex={0}>
        {lines.map((line) => (
          <li key={line.seq} data-kind={line.kind}>
            <Moment at={line.at} ms />
            <span>
              {DECISIONS.has(line.kind) ? <Decision sentence={line.sentence} /> : <Told text={line.sentence} />}
              {line.by && !line.sentence.includes(line.by) && <span class="faint"> ({line.by})</span>}
            </span>
          </li>
        ))}
      </ol>
    </section>
  );
}

/** A decision: what was decided stands out, why is plain. */
function Decision(props: { sentence: string }) {
  const colon = props.sentence.indexOf(": ");
  if (colon < 0) return <strong>{props.sentence}</strong>;
  return (
    <>
      <strong>{props.sentence.slice(0, colon + 1)}</strong>
      <Told text={props.sentence.slice(colon + 1)} />
    </>
  );
}

/** The viewer's time zone, as `UTC+2`. */
function zone(): string {
  const minutes = -new Date().getTimezoneOffset();
  if (minutes === 0) return "UTC";
  const rest = Math.abs(minutes) % 60;
  const text = `UTC${minutes < 0 ? "−" : "+"}${Math.floor(Math.abs(minutes) / 60)}`;
  return rest === 0 ? text : `${text}:${String(rest).padStart(2, "0")}`;
}
