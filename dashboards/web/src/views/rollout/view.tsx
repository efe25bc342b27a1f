// One rollout: why is it where it is, and do I agree?

import { useCallback, useEffect, useRef, useState } from "preact/hooks";
import { get } from "../../lib/api";
import { evidence, ticking, words } from "../../lib/format";
import { useLoaded, useThrottled } from "../../lib/load";
import { mayOperate } from "../../lib/session";
import { useNow } from "../../lib/store";
import { follow } from "../../lib/stream";
import type { Assessment, LogLine, Page, Report, Rollout } from "../../lib/types";
import type { Zoom } from "../../ui/chart";
import { Badge, Moment, StateBadge, Told, type Tone, Trouble, useTitle, Waiting } from "../../ui/parts";
import { CommandBar } from "./command-bar";
import { EvidenceCard } from "./evidence-chart";
import { GatesCard } from "./gates-card";
import { LatencyCard } from "./latency-card";
import { Log } from "./log";
import { MetricCard } from "./metric-chart";
import { useSeries } from "./series";
import { Timeline } from "./timeline";

/** The whole log of a rollout, part by part. */
async function readLog(id: string, after: number): Promise<LogLine[]> {
  const lines: LogLine[] = [];
  let from: string | null = String(after);
  while (from !== null && lines.length < 20_000) {
    const page: Page<LogLine> = await get(`/rollouts/${encodeURIComponent(id)}/events?after=${from}&limit=1000`);
    lines.push(...page.items);
    from = page.next ?? null;
  }
  return lines;
}

export function RolloutView(props: { id: string }) {
  const { id } = props;
  const [view, setView] = useState<{ rollout: Rollout; at: number } | null>(null);
  const [error, setError] = useState<unknown>(null);
  const log = useRef(new Map<number, LogLine>());
  const [, drawLog] = useState(0);
  const [zoom, setZoom] = useState<Zoom>(null);
  const charts = useSeries(id, zoom);
  const path = `/rollouts/${encodeURIComponent(id)}`;
  const report = useLoaded<Report>(`${path}/report?form=json`);
  const rereport = useThrottled(report.reload, 2_000);

  const shown = useRef<Rollout | null>(null);
  const show = useCallback((rollout: Rollout): void => {
    const before = shown.current;
    if (before && before.revision > rollout.revision) return;
    shown.current = rollout;
    setView({ rollout, at: performance.now() / 1000 });
    setError(null);
    if (!before) return;
    if (before.assessment?.tick !== rollout.assessment?.tick || before.state !== rollout.state) charts.poke();
    if (before.state !== rollout.state || before.step?.index !== rollout.step?.index) rereport();
  }, []);
  const add = useCallback((lines: LogLine[]): void => {
    for (const line of lines) log.current.set(line.seq, line);
    drawLog((n) => n + 1);
  }, []);
  const read = useCallback(async (): Promise<void> => {
    try {
      show(await get<Rollout>(path));
      add(await readLog(id, Math.max(0, ...log.current.keys())));
    } catch (failed) {
      setError(failed);
    }
  }, [id]);

  useEffect(() => {
    void read();
    return follow(`?rollout=${encodeURIComponent(id)}`, {
      event: ({ name, data }) => {
        if (name === "rollout" && (data as Rollout).id === id) show(data as Rollout);
        if (name === "log" && (data as { rollout: string }).rollout === id) add([data as LogLine]);
      },
      again: () => {
        void read();
        charts.poke();
      },
    });
  }, [id]);

  const rollout = view?.rollout;
  useTitle(rollout ? `${rollout.target} ${rollout.version}: ${words(rollout.state)}` : "Rollout");
  if (!view || !rollout) {
    return error === null ? <Waiting what="the rollout" /> : <Trouble error={error} retry={() => void read()} />;
  }
  // At 100%, on the way back and at the end nothing is compared: then the last comparison counts.
  const stepping = rollout.state === "preparing" || rollout.state === "progressing";
  const judged = (stepping ? rollout.assessment : null) ?? rollout.last_compared?.assessment ?? rollout.assessment;
  const stable = rollout.stable_version ?? report.value?.rollout.stable_version ?? null;
  const shared = { stable, version: rollout.version };
  const { series } = charts;
  return (
    <>
      <Title rollout={rollout} stable={stable} changed={show} />
      <Sentence rollout={rollout} at={view.at} report={report.value} />
      <Timeline view={rollout} at={view.at} report={report.value} series={series} />
      <GatesCard view={rollout} at={view.at} changed={show} />
      {judged && <Together judged={judged} />}
      {charts.error !== null && <Trouble error={charts.error} retry={charts.afresh} />}
      {series && series.times.length > 0 && <ZoomBar zoom={zoom} set={setZoom} times={series.times} />}
      <div class="charts">
        {series?.times.length !== 0 &&
          series?.metrics.map((metric) => {
            const same = judged?.metrics.find((each) => each.name === metric.name);
            const chart = { ...shared, series, metric, judged: same, zoom, onZoom: setZoom };
            return [
              <MetricCard key={`${metric.name} chart`} {...chart} />,
              <EvidenceCard key={`${metric.name} evidence`} {...chart} />,
            ];
          })}
        {series?.metrics.map(
          (metric) =>
            metric.latency && (
              <LatencyCard
                key={`${metric.name} spread`}
                {...shared}
                metric={metric}
                counts={metric.latency}
                judged={judged?.metrics.find((each) => each.name === metric.name)}
              />
            ),
        )}
        <Log lines={[...log.current.values()]} ended={rollout.ended} />
      </div>
    </>
  );
}

function Title(props: { rollout: Rollout; stable: string | null; changed: (view: Rollout) => void }) {
  const { rollout, stable } = props;
  return (
    <div class="title-row rollout-title">
      <div>
        <h1>
          {rollout.target}{" "}
          <span class="versions">
            {stable && (
              <>
                <span class="baseline">{stable}</span> →{" "}
              </>
            )}
            <span class="canary">{rollout.version}</span>
          </span>{" "}
          <span class="state" data-state={rollout.state}>
            <StateBadge row={rollout} />
          </span>
        </h1>
        <p class="faint">
          policy <a href={`/policies/${rollout.policy.name}`}>{rollout.policy.name}</a>@{rollout.policy.version.slice(0, 6)}{" "}
          · started by {rollout.created_by} <Moment at={rollout.created_at} date />
          {rollout.kind === "revert" && " · a revert"}
          {rollout.policy.mode === "observe" && " · observes only"} · <a href={`/reports/${rollout.id}`}>report</a>
          {rollout.supersedes && (
            <>
              {" · took over from "}
              <a href={`/rollouts/${rollout.supersedes}`}>an earlier rollout</a>
            </>
          )}
          {rollout.superseded_by && (
            <>
              {" · "}
              <a href={`/rollouts/${rollout.superseded_by}`}>a newer rollout took over</a>
            </>
          )}
        </p>
      </div>
      {mayOperate(rollout.target) && <CommandBar view={rollout} changed={props.changed} />}
    </div>
  );
}

function Sentence(props: { rollout: Rollout; at: number; report: Report | null }) {
  const { rollout } = props;
  const waiting = rollout.waiting_for;
  const now = useNow(waiting?.remaining_seconds != null);
  const told = rollout.reason?.sentence ?? (rollout.ended ? props.report?.sentence : null);
  const lead = words(rollout.state).replace(/^./, (first) => first.toUpperCase());
  const good = rollout.state === "succeeded";
  const bad = ["rolling_back", "verifying", "rolled_back", "failed"].includes(rollout.state);
  const left = waiting?.remaining_seconds == null ? null : waiting.remaining_seconds - Math.max(0, now - props.at);
  return (
    <section class={`sentence ${good ? "good" : bad ? "bad" : ""}`} aria-label="Why it is where it is">
      {told && (
        <p class="reason">
          {!/^(roll|cancel|fail|observed)/i.test(told) && <strong>{lead}: </strong>}
          <Told text={told} />
        </p>
      )}
      {!told && rollout.ended && (
        <p class="reason">
          <strong>{good ? `${rollout.version} has all traffic.` : `${lead}.`}</strong>
        </p>
      )}
      {waiting && (
        <p class="waiting-for" data-on={waiting.on}>
          {/* The time that is left is told as it passes. */}
          <Told text={left === null ? waiting.sentence : waiting.sentence.replace(/: [^:]+ left\.$/, ".")} />
          {left !== null && (
            <span class="left faint"> {left > 0 ? `${ticking(left)} left.` : "It should be over any moment."}</span>
          )}
        </p>
      )}
      {waiting === null && !rollout.ended && !told && <p>Nothing is waited for: the next look decides.</p>}
    </section>
  );
}

const GUARDRAIL: Record<string, Tone> = { clear: "good", fired: "bad", both_breach: "warn", breaching: "warn" };

/** What is decided over all metrics together, and the guardrails. */
function Together(props: { judged: Assessment }) {
  const { judged } = props;
  const breached = judged.guardrails.filter((guardrail) => guardrail.status !== "clear");
  return (
    <section class="together" aria-label="Over all metrics">
      <p>
        <strong>Evidence of harm</strong> {evidence(judged.harm)} <span class="faint">over all metrics</span>
        {judged.guardrails.length > 0 && (
          <>
            {" · "}
            <strong>Guardrails</strong> {judged.guardrails.length - breached.length} of {judged.guardrails.length} clear
          </>
        )}
      </p>
      {breached.map((guardrail) => (
        <p key={guardrail.name}>
          <Badge tone={GUARDRAIL[guardrail.status] ?? "plain"}>{words(guardrail.status)}</Badge> {guardrail.name}
          {guardrail.status === "breaching" && guardrail.hold_for_seconds !== null && (
            <>
              {" "}
              for {ticking(guardrail.breaching_for_seconds)} of {ticking(guardrail.hold_for_seconds)}
            </>
          )}
          : <Told text={guardrail.sentence.replace(`${guardrail.name}: `, "")} />
        </p>
      ))}
    </section>
  );
}

function ZoomBar(props: { zoom: Zoom; set: (zoom: Zoom) => void; times: number[] }) {
  const last = props.times.at(-1) ?? 0;
  const span = last - (props.times[0] ?? last);
  const parts = ([["10 min", 600], ["1 h", 3600], ["6 h", 21_600]] as const).filter(([, seconds]) => seconds < span);
  if (parts.length === 0 && props.zoom === null) return <p class="hint faint small">Drag in a chart to zoom in.</p>;
  return (
    <div class="zoom-bar" role="group" aria-label="Shown time">
      <button type="button" class="quiet" aria-pressed={props.zoom === null} onClick={() => props.set(null)}>
        all
      </button>
      {parts.map(([name, seconds]) => (
        <button type="button" class="quiet" key={name} onClick={() => props.set({ min: last - seconds, max: last })}>
          last {name}
        </button>
      ))}
      <span class="hint faint small">
        Drag in a chart to zoom in, double click to see everything; with the keyboard + − ← → 0.
      </span>
    </div>
  );
}
