// Overview: does anything need me?

import { useCallback, useEffect, useMemo, useRef, useState } from "preact/hooks";
import { get } from "../lib/api";
import { duration, thousands } from "../lib/format";
import { useThrottled } from "../lib/load";
import { useAddress } from "../lib/router";
import { follow } from "../lib/stream";
import type { Counts, Overview, Row } from "../lib/types";
import { Trouble, useTitle, Waiting } from "../ui/parts";
import { ConfigurationLine } from "./configuration-line";
import { Undelivered } from "./notices-line";
import { Filters, fits, readFilters } from "./overview-filters";
import { OverviewRow, type Received } from "./overview-row";

// What has ended since is counted by the daemon: it is asked again after a change, not more often than this.
const COUNT_PAUSE_MS = 15_000;
// Many rows change at each tick: they are drawn together.
const DRAW_PAUSE_MS = 500;
const FIRST_SCREEN = 40;
const ENDED_SHOWN_FIRST = 60;
const ENDED_SHOWN_MORE = 200;

/** Needs-attention first, then active by newest, then ended by the latest end. */
function order(a: Row, b: Row): number {
  const rank = (row: Row): number => (row.needs_you ? 0 : row.ended ? 2 : 1);
  const when = (row: Row): string => (row.ended ? (row.ended_at ?? row.created_at) : row.created_at);
  return rank(a) - rank(b) || (when(a) < when(b) ? 1 : when(a) > when(b) ? -1 : a.id < b.id ? 1 : -1);
}

/** The daemon's counts, with those that follow from the rows as they are now. */
function live(counts: Counts, all: Received[]): Counts {
  const count = (fits: (row: Row) => boolean): number => all.filter(({ row }) => fits(row)).length;
  return {
    ...counts,
    needs_you: count((row) => row.needs_you),
    in_progress: count((row) => !row.ended && row.state !== "baking"),
    baking: count((row) => row.state === "baking"),
  };
}

export function OverviewView() {
  useTitle("Overview");
  const rows = useRef(new Map<string, Received>());
  const [drawn, redraw] = useState(0);
  const [counted, setCounts] = useState<Counts | null>(null);
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
  const draw = useThrottled(() => redraw((n) => n + 1), DRAW_PAUSE_MS);

  useEffect(() => {
    void read();
    return follow("", {
      event: ({ name, data }) => {
        if (name !== "rollout") return;
        const row = data as Row;
        const old = rows.current.get(row.id)?.row;
        rows.current.set(row.id, { row, at: performance.now() / 1000 });
        if (row.ended && old && !old.ended) reread();
        draw();
      },
      again: () => void read(),
    });
  }, []);

  const address = useAddress();
  const filters = useMemo(() => readFilters(address), [address.search]);
  const all = useMemo(() => [...rows.current.values()].sort((a, b) => order(a.row, b.row)), [drawn]);
  const counts = useMemo(() => (counted === null ? null : live(counted, all)), [counted, all]);
  const shown = useMemo(() => all.filter(({ row }) => fits(row, filters)), [all, filters]);
  if (counts === null) {
    return error === null ? <Waiting what="the rollouts" /> : <Trouble error={error} retry={() => void read()} />;
  }
  return (
    <>
      <h1 class="hidden">Overview</h1>
      <ConfigurationLine />
      <Undelivered />
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

const COLUMNS = [
  ["service", "service"],
  ["state", "state"],
  ["weight", "weight, wanted and seen"],
  ["time", "time in step"],
  ["worst", "worst metric, ratio to baseline"],
  ["course", "course"],
  ["waits", "waiting for"],
];

function Table(props: { rows: Received[]; all: number }) {
  const { rows } = props;
  const active = rows.filter(({ row }) => !row.ended).length;
  const [ended, setEnded] = useState(ENDED_SHOWN_FIRST);
  const more = Math.max(0, rows.length - active - ended);
  // What has ended is below: it is drawn when somebody gets there.
  const below = useRef<HTMLButtonElement>(null);
  const grow = (): void => setEnded((n) => n + ENDED_SHOWN_MORE);
  useEffect(() => {
    if (!below.current) return undefined;
    const watch = new IntersectionObserver((seen) => seen.some((each) => each.isIntersecting) && grow(), {
      rootMargin: "800px",
    });
    watch.observe(below.current);
    return () => watch.disconnect();
  }, [more > 0, ended]);
  // The first screen stands before the rest is drawn.
  const [first, setFirst] = useState(FIRST_SCREEN);
  useEffect(() => {
    once("serin-overview");
    const timer = setTimeout(() => setFirst(Number.POSITIVE_INFINITY));
    return () => clearTimeout(timer);
  }, []);
  useEffect(() => {
    if (first > FIRST_SCREEN) once("serin-overview-active");
  }, [first]);

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
            {COLUMNS.map(([key, name]) => (
              <th key={key} role="columnheader" scope="col" class={`column-${key}`}>
                {key === "course" ? <span class="hidden">{name}</span> : name}
              </th>
            ))}
          </tr>
        </thead>
        <tbody role="rowgroup">
          {rows.slice(0, Math.min(first, active + ended)).map((received) => (
            <OverviewRow key={received.row.id} received={received} />
          ))}
        </tbody>
      </table>
      {more > 0 && (
        <button type="button" class="quiet more" ref={below} onClick={grow}>
          {thousands(more)} more have ended
        </button>
      )}
    </section>
  );
}

/** A mark for measurements: when this was reached for the first time. */
function once(mark: string): void {
  if (performance.getEntriesByName(mark).length === 0) performance.mark(mark);
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

