// Small pieces that every view uses.

import type { ComponentChildren } from "preact";
import { useEffect, useRef, useState } from "preact/hooks";
import { ApiError, sentence } from "../lib/api";
import { measured, ratio, weight, words } from "../lib/format";
import type { Hold } from "../lib/core-words";
import type { Ratio, Row, Verdict } from "../lib/types";

export type Tone = "plain" | "good" | "bad" | "warn" | "info";

/** A word with a colour; the word says it, the colour only helps to find it. */
export function Badge(props: { tone: Tone; children: ComponentChildren }) {
  return <span class={`badge ${props.tone}`}>{props.children}</span>;
}

/** What a hold is called. */
export function holdWords(hold: Hold): string {
  const names: Record<Hold, string> = {
    user: "paused",
    drift: "weight was changed",
    blind: "blind",
    window: "outside the window",
    gate: "waiting for a gate",
    plan: "unproven, waiting",
    both_bad: "both arms bad",
    guardrail: "guardrail holds",
    freeze: "freeze",
    alert: "an alert fires",
    no_return: "past the point of no return",
    no_traffic: "no traffic at 100%",
    traffic_share: "traffic share",
    restarts: "canary restarts",
    stable_small: "stable has too few servers",
    not_ready: "canary instances not ready",
  };
  // A daemon that is newer than the page may have another one.
  return names[hold] ?? words(hold);
}

/** A state in a badge. Holds come first: they are why it does not go on. */
export function StateBadge(props: { row: Pick<Row, "state" | "stage" | "holds" | "step"> }) {
  const { state, stage, holds, step } = props.row;
  if (state === "rolling_back" || state === "rolled_back" || state === "failed") {
    return <Badge tone="bad">{words(state)}</Badge>;
  }
  if (state === "verifying") return <Badge tone="warn">verifying the rollback</Badge>;
  if (state === "succeeded") return <Badge tone="good">succeeded</Badge>;
  const where = step && (state === "progressing" || state === "preparing") ? `${weight(step.weight_percent)} · ` : "";
  const [first, ...rest] = holds;
  if (first !== undefined) {
    return (
      <>
        <Badge tone="warn">
          {where}
          {holdWords(first)}
        </Badge>
        {rest.length > 0 && <span class="faint small"> and {rest.map(holdWords).join(", ")}</span>}
      </>
    );
  }
  if (state === "baking") return <Badge tone="good">baking at 100%</Badge>;
  if (state === "progressing") return <Badge tone="info">{`${where}${stage ?? "progressing"}`}</Badge>;
  if (state === "preparing") return <Badge tone="info">{`${where}preparing`}</Badge>;
  return <Badge tone="plain">{words(state)}</Badge>;
}

export function verdictTone(verdict: Verdict): Tone {
  if (verdict === "worse") return "bad";
  return verdict === "not_worse" ? "good" : "plain";
}

/** `worse ×2.7 [1.9 – 3.6]`. */
export function VerdictBadge(props: { verdict: Verdict; ratio: Ratio | null }) {
  return (
    <Badge tone={verdictTone(props.verdict)}>
      {words(props.verdict)}
      {props.ratio && <span class="figure"> {ratio(props.ratio)}</span>}
    </Badge>
  );
}

/** The canary's weight: the bar is what is seen, the mark what is wanted, and both stand beside it. */
export function WeightBar(props: { wanted: number | null; seen: number | null }) {
  const { wanted, seen } = props;
  if (wanted === null && seen === null) return <span class="faint">–</span>;
  const at = (percent: number): string => `${Math.min(100, Math.max(0, percent))}%`;
  return (
    <span class="weight">
      <span class="bar" aria-hidden="true">
        <span class="fill" style={{ width: at(seen ?? 0) }} />
        {wanted !== null && <span class="mark" style={{ left: at(wanted) }} />}
      </span>
      <span class="figures">
        {wanted !== null && (
          <span title="wanted">
            <span class="hidden">wanted </span>
            {weight(wanted)}
          </span>
        )}
        <span class="faint" title="seen">
          <span class="hidden">seen </span>
          {seen === null ? "not seen" : measured(seen)}
        </span>
      </span>
    </span>
  );
}

/** The course of a ratio, around the line of "no difference". */
export function Spark(props: { values: readonly number[]; worse: boolean }) {
  const { values } = props;
  if (values.length < 2) return null;
  const [width, height] = [104, 24];
  const logs = values.map((value) => Math.log(Math.min(8, Math.max(0.125, value))));
  const span = Math.max(Math.log(1.5), ...logs.map(Math.abs));
  const y = (log: number): string => (height / 2 - (log / span) * (height / 2 - 2)).toFixed(1);
  const points = logs.map((log, i) => `${((i / (logs.length - 1)) * width).toFixed(1)} ${y(log)}`);
  return (
    <svg class={props.worse ? "spark worse" : "spark"} viewBox={`0 0 ${width} ${height}`} aria-hidden="true">
      <path class="one" d={`M0 ${height / 2}H${width}`} />
      <path class="line" d={`M${points.join("L")}`} />
    </svg>
  );
}

/** What went wrong, with a way to try again. */
export function Trouble(props: { error: unknown; retry?: () => void }) {
  const { error } = props;
  const details = error instanceof ApiError && error.errors.length > 1 ? error.errors : [];
  return (
    <div class="trouble" role="alert">
      <p>{sentence(error)}</p>
      {details.length > 0 && (
        <ul>
          {details.map((each) => (
            <li key={each.field}>{each.detail}</li>
          ))}
        </ul>
      )}
      {error instanceof ApiError && error.rollout && (
        <p>
          <a href={`/rollouts/${error.rollout}`}>Show that rollout</a>
        </p>
      )}
      {props.retry && (
        <button type="button" onClick={props.retry}>
          Try again
        </button>
      )}
    </div>
  );
}

/** Shown while a view has nothing yet; late, so that it does not flicker. */
export function Waiting(props: { what: string }) {
  return (
    <p class="waiting" role="status">
      Reading {props.what} …
    </p>
  );
}

/** A sentence of the daemon; what it has between backticks are names to type. */
export function Told(props: { text: string }) {
  return <>{props.text.split("`").map((part, i) => (i % 2 === 1 ? <code key={i}>{part}</code> : part))}</>;
}

/** A table that may be wider than its place: then it can be scrolled, with the keyboard too. */
export function Scroll(props: { label: string; children: ComponentChildren }) {
  const element = useRef<HTMLDivElement>(null);
  const [wide, setWide] = useState(false);
  useEffect(() => {
    const place = element.current;
    if (!place) return undefined;
    const look = new ResizeObserver(() => setWide(place.scrollWidth > place.clientWidth));
    look.observe(place);
    if (place.firstElementChild) look.observe(place.firstElementChild);
    return () => look.disconnect();
  }, []);
  return (
    <div ref={element} class="scroll" {...(wide ? { tabIndex: 0, role: "region", "aria-label": props.label } : {})}>
      {props.children}
    </div>
  );
}

/** Sets the title of the document while the view is there. */
export function useTitle(title: string): void {
  useEffect(() => {
    document.title = `${title} · Serin`;
  }, [title]);
}

/** A modal dialog: focus stays in it, Escape closes it, and goes back to where it was. */
export function Dialog(props: { title: string; onClose: () => void; children: ComponentChildren }) {
  const element = useRef<HTMLDialogElement>(null);
  useEffect(() => {
    const before = document.activeElement;
    const dialog = element.current;
    dialog?.showModal();
    return () => {
      // While it is open, nothing outside of it takes the focus.
      dialog?.close();
      if (before instanceof HTMLElement) before.focus();
    };
  }, []);
  return (
    <dialog
      ref={element}
      aria-labelledby="dialog-title"
      onClose={props.onClose}
      onCancel={(event) => {
        event.preventDefault();
        props.onClose();
      }}
    >
      <h2 id="dialog-title">{props.title}</h2>
      {props.children}
    </dialog>
  );
}

/** A moment in the viewer's own time zone; the exact one in UTC beside it for who asks. */
export function Moment(props: { at: string; ms?: boolean; date?: boolean }) {
  const date = new Date(props.at);
  return (
    <time dateTime={props.at} title={props.at}>
      {props.date && `${dayOf(date)} `}
      {timeOf(date, props.ms)}
    </time>
  );
}

export function timeOf(date: Date, ms = false): string {
  const two = (n: number): string => String(n).padStart(2, "0");
  const text = `${two(date.getHours())}:${two(date.getMinutes())}:${two(date.getSeconds())}`;
  return ms ? `${text}.${String(date.getMilliseconds()).padStart(3, "0")}` : text;
}

export function dayOf(date: Date): string {
  const two = (n: number): string => String(n).padStart(2, "0");
  return `${date.getFullYear()}-${two(date.getMonth() + 1)}-${two(date.getDate())}`;
}
