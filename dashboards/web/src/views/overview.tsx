// Overview: does anything need me?

import { useCallback, useEffect, useLayoutEffect, useMemo, useRef, useState } from "preact/hooks";
import { get } from "../lib/api";
import { duration, thousands } from "../lib/format";
import { useThrottled } from "../lib/load";
import { useAddress } from "../lib/router";
import { follow } from "../lib/stream";
import type { Counts, Overview, Row } from "../lib/types";
import { Trouble, useTitle, Waiting } from "../ui/parts";
import { Filters, fits, readFilters } from "./overview-filters";
import { OverviewRow, type Received } from "./overview-row";

// The counts are of all rollouts, also of those that are not shown: the daemon counts them.
const COUNT_PAUSE_MS = 2_000;
const ENDED_SHOWN_FIRST = 60;

/** Needs-attention first, then active by newest, then ended by the latest end. */
function order(a: Row, b: Row): number {
  const rank = (row: Row): number => (row.needs_you ? 0 : row.ended ? 2 : 1);
  const when = (row: Row): string => (row.ended ? (row.ended_at ?? row.created_at) : row.created_at);
  return rank(a) - rank(b) || (when(a) < when(b) ? 1 : when(a) > when(b) ? -1 : a.id < b.id ? 1 : -1);
}

export function OverviewView() {
  useTitle("Overview");
  const rows = useRef(new Map<string, Received>());
  const [drawn, redraw] = useState(0);
  const [counts, setCounts] = useState<Counts | null>(null);
  const [error, setError] = useState<unknown>(null);

  const read = useCallback(async (): Promise<void> => {
    try {
      const overview = await get<Overview>("/overview?ended_within=24h");
      const at = performance.now() / 1000;
      const fresh = new Map<string, Received>();
      for (const row of overview.items) {
        const old = rows.current.get(row.id);
        fresh.set(row.id, old && old.row.revision > row.revision ? old : { row, at });
      }
      rows.current = fresh;
      setCounts(overview.counts);
      setError(null);
      redraw((n) => n + 1);
    } catch (failed) {
      setError(failed);
    }
  }, []);
  const reread = useThrottled(() => void read(), COUNT_PAUSE_MS);

  useEffect(() => {
    void read();
    // Many rows change at each tick: they are drawn together.
    let frame = 0;
    const stop = follow("", {
      event: ({ name, data }) => {
        if (name !== "rollout") return;
        const row = data as Row;
        const old = rows.current.get(row.id)?.row;
        rows.current.set(row.id, { row, at: performance.now() / 1000 });
        if (!old || old.state !== row.state || old.needs_you !== row.needs_you) reread();
        if (frame === 0) {
          frame = requestAnimationFrame(() => {
            frame = 0;
            redraw((n) => n + 1);
          });
        }
      },
      again: () => void read(),
    });
    return () => {
      stop();
      cancelAnimationFrame(frame);
    };
  }, []);

  const address = useAddress();
  const filters = useMemo(() => readFilters(address), [address.search]);
  const all = useMemo(() => [...rows.current.values()].sort((a, b) => order(a.row, b.row)), [drawn]);
  const shown = useMemo(() => all.filter(({ row }) => fits(row, filters)), [all, filters]);
  if (counts === null) {
    return error === null ? <Waiting what="the rollouts" /> : <Trouble error={error} retry={() => void read()} />;
  }
  return (
    <>
      <h1 class="hidden">Overview</h1>
      <Tiles counts={counts} />
      <Filters filters={filters} rows={all} />
      {error !== null && <Trouble error={error} retry={() => void read()} />}
      <Table rows={shown} all={all.length} />
    </>
  );
}

function Tiles(props: { counts: Counts }) {
  const { counts } = props;
  const median = counts.median_seconds_to_promotion;
  const tiles: [string, string, string | null, boolean][] = [
    ["needs you", thousands(counts.needs_you), "needs_you", counts.needs_you > 0],
    ["in progress", thousands(counts.in_progress), "active", false],
    ["baking", thousands(counts.baking), "baking", false],
    ["rolled back today", `${thousands(counts.rolled_back_today)} of ${thousands(counts.ended_today)}`, "rolled_back", false],
    ["median time to 100%", median === null ? "–" : duration(median), null, false],
  ];
  return (
    <ul class="tiles">
      {tiles.map(([name, figure, state, urgent]) => (
        <li key={name} class={urgent ? "tile urgent" : "tile"}>
          {state === null ? (
            <span>
              <span class="name">{name}</span>
              <span class="figure">{figure}</span>
            </span>
          ) : (
            <a href={`/?state=${state}`}>
              <span class="name">{name}</span>
              <span class="figure">{figure}</span>
            </a>
          )}
        </li>
      ))}
    </ul>
  );
}

const COLUMNS = ["service", "state", "weight, wanted and seen", "time in step", "worst metric, ratio to baseline", "course", "waiting for"];

function Table(props: { rows: Received[]; all: number }) {
  const { rows } = props;
  const active = rows.filter(({ row }) => !row.ended).length;
  // What has ended is below: it is drawn after the first picture stands.
  const [ended, setEnded] = useState(ENDED_SHOWN_FIRST);
  useLayoutEffect(() => {
    if (active + ended >= rows.length) return undefined;
    const timer = setTimeout(() => setEnded((n) => n + 200), 30);
    return () => clearTimeout(timer);
  }, [ended, rows.length, active]);
  useEffect(() => {
    if (performance.getEntriesByName("serin-overview").length === 0) performance.mark("serin-overview");
  }, []);

  if (rows.length === 0) {
    return props.all === 0 ? (
      <section class="card empty">
        <p>
          No rollout is in progress, and none has ended within 24 h. <a href="/targets">Start one</a>, or with{" "}
          <code>serin rollout start</code>.
        </p>
      </section>
    ) : (
      <section class="card empty">
        <p>
          None of {thousands(props.all)} rollouts fits these filters. <a href="/">Show all</a>
        </p>
      </section>
    );
  }
  return (
    <section class="card table-card">
      <table class="rollouts" role="table" onKeyDown={arrows}>
        <caption class="hidden">Rollouts, those that need somebody first</caption>
        <thead role="rowgroup">
          <tr role="row">
            {COLUMNS.map((name) => (
              <th key={name} role="columnheader" scope="col">
                {name === "course" ? <span class="hidden">{name}</span> : name}
              </th>
            ))}
          </tr>
        </thead>
        <tbody role="rowgroup">
          {rows.slice(0, active + ended).map((received) => (
            <OverviewRow key={received.row.id} received={received} />
          ))}
        </tbody>
      </table>
    </section>
  );
}

/** The arrow keys go from row to row. */
function arrows(event: KeyboardEvent): void {
  if (event.key !== "ArrowDown" && event.key !== "ArrowUp") return;
  const row = event.target instanceof Element ? event.target.closest("tr") : null;
  const next = event.key === "ArrowDown" ? row?.nextElementSibling : row?.previousElementSibling;
  const link = next?.querySelector("a");
  if (!link) return;
  event.preventDefault();
  link.focus();
}

