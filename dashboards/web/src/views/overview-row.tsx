// One rollout in the overview.

import { Component } from "preact";
import { duration, ratio, ticking, words } from "../lib/format";
import { useNow } from "../lib/store";
import type { Row } from "../lib/types";
import { Moment, Spark, StateBadge, Told, WeightBar } from "../ui/parts";

/** A row, and when it was received on this page's own clock. */
export interface Received {
  row: Row;
  at: number;
}

/** Drawn again only when its own row has changed. */
export class OverviewRow extends Component<{ received: Received }> {
  override shouldComponentUpdate(next: { received: Received }): boolean {
    return next.received !== this.props.received;
  }

  override render() {
    const { row } = this.props.received;
    const kind = row.needs_you ? "needs" : row.ended ? "ended" : "active";
    return (
      <tr role="row" class={kind} data-id={row.id} data-state={row.state}>
        <td role="cell" class="service">
          <a href={`/rollouts/${row.id}`}>
            <strong>{row.target}</strong> <span class="version">{row.version}</span>
          </a>
          {row.needs_you && <span class="needs-you">needs you</span>}
        </td>
        <td role="cell" data-label="state">
          <StateBadge row={row} />
        </td>
        <td role="cell" data-label="weight, wanted and seen">
          <WeightBar wanted={row.wanted_percent} seen={row.seen_percent} />
        </td>
        <td role="cell" data-label="time in step" class="time">
          {row.ended ? <Ended row={row} /> : <Time received={this.props.received} />}
        </td>
        <td role="cell" data-label="worst metric">
          <Worst row={row} />
        </td>
        <td role="cell" class="course">
          <Spark values={row.spark} worse={row.worst?.verdict === "worse"} />
        </td>
        <td role="cell" data-label={row.ended ? "outcome" : "waiting for"} class="waits">
          <Why row={row} />
        </td>
      </tr>
    );
  }
}

/** What it waits for; of what has ended, why: in two lines, the rest of it is in the rollout. */
function Why(props: { row: Row }) {
  const { row } = props;
  // The column's name says "waiting for" already.
  const waits = row.waiting_for?.sentence.replace(/^Waiting for /, "");
  const text = waits ?? row.reason;
  if (text) {
    return (
      <span class="why" title={text}>
        <Told text={text} />
      </span>
    );
  }
  return <>{row.state === "succeeded" ? "promoted" : row.ended ? words(row.state) : "–"}</>;
}

function Time(props: { received: Received }) {
  const now = useNow(true);
  const { row, at } = props.received;
  const since = Math.max(0, now - at);
  return (
    <>
      <span class="ticks">{ticking(row.in_phase_seconds + since)}</span>
      {row.remaining_seconds !== null && (
        <span class="ticks faint small">≈ {ticking(row.remaining_seconds - since)} left</span>
      )}
    </>
  );
}

function Ended(props: { row: Row }) {
  const { row } = props;
  if (row.ended_at === null) return <span class="faint">ended</span>;
  const seconds = (Date.parse(row.ended_at) - Date.parse(row.created_at)) / 1000;
  return (
    <span class="faint">
      <Moment at={row.ended_at} /> <span class="small">in {duration(seconds)}</span>
    </span>
  );
}

function Worst(props: { row: Row }) {
  const { worst } = props.row;
  if (!worst) return null;
  const { low, estimate, high } = worst.ratio;
  const known = low !== null || estimate !== null || high !== null;
  return (
    <span class="worst">
      <span class="figure">
        {worst.metric} {known && ratio(worst.ratio)}
      </span>{" "}
      <span class={`verdict ${worst.verdict}`}>{words(worst.verdict)}</span>
    </span>
  );
}
