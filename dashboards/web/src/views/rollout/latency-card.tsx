// The latencies of both arms over one another, and their quantiles.

import { useMemo } from "preact/hooks";
import uPlot from "uplot";
import { latency } from "../../lib/format";
import type { LatencyCounts, Metric, Quantile, SeriesMetric } from "../../lib/types";
import { axis, Chart, FONT, type Palette } from "../../ui/chart";
import { VerdictBadge } from "../../ui/parts";
import { density, log10 } from "./density";
import { Legend } from "./metric-chart";
import { MetricTable } from "./metric-table";

const MARKED = [0.5, 0.95, 0.99];

/** Lines at p50, p95 and p99: the canary's above, the baseline's below, each with its name. */
function drawQuantiles(counts: LatencyCounts, colour: Palette): (u: uPlot) => void {
  return (u) => {
    const { ctx, bbox } = u;
    const scale = uPlot.pxRatio;
    ctx.save();
    ctx.font = FONT.replace("12px", `${11 * scale}px`);
    ctx.lineWidth = 1.5 * scale;
    ctx.textAlign = "left";
    ctx.textBaseline = "alphabetic";
    const arm = (name: string, quantiles: Quantile[], ink: string, dash: number[], top: number): void => {
      let free = bbox.left + ctx.measureText(name).width + 8 * scale;
      ctx.fillStyle = ink;
      ctx.fillText(name, bbox.left + 2 * scale, bbox.top + top * scale);
      for (const each of quantiles.filter((quantile) => MARKED.includes(quantile.quantile))) {
        const x = u.valToPos(log10(each.seconds), "x", true);
        if (!(x >= bbox.left && x <= bbox.left + bbox.width)) continue;
        ctx.strokeStyle = ink;
        ctx.fillStyle = ink;
        ctx.setLineDash(dash.map((length) => length * scale));
        ctx.beginPath();
        ctx.moveTo(x, bbox.top + (top + 4) * scale);
        ctx.lineTo(x, bbox.top + bbox.height);
        ctx.stroke();
        const text = `p${each.quantile * 100}`;
        const from = Math.max(free, x - ctx.measureText(text).width / 2);
        ctx.fillText(text, from, bbox.top + top * scale);
        free = from + ctx.measureText(text).width + 4 * scale;
      }
    };
    arm("baseline", counts.baseline_quantiles, colour.baseline, [5, 3], 24);
    arm("canary", counts.canary_quantiles, colour.canary, [], 10);
    ctx.restore();
  };
}

export function LatencyCard(props: {
  metric: SeriesMetric;
  counts: LatencyCounts;
  judged: Metric | undefined;
  stable: string | null;
  version: string;
}) {
  const { metric, counts, judged } = props;
  const both = useMemo(() => density(counts), [counts]);
  const data = useMemo<uPlot.AlignedData>(() => [both.at, both.baseline, both.canary], [both]);
  const options = (colour: Palette): Omit<uPlot.Options, "width" | "height"> => {
    const stepped = uPlot.paths.stepped?.({ align: 1 });
    const path = stepped ? { paths: stepped } : {};
    return {
      scales: { x: { time: false }, y: { range: (_, __, max) => [0, (max || 1) * 1.3] } },
      axes: [
        axis(colour, {
          grid: { show: false },
          size: 28,
          splits: (_, __, min, max) => marks(min, max),
          values: (_, at) => at.map((power) => latency(10 ** power).replace(".00", "").replace(".0 ", " ")),
        }),
        axis(colour, { size: 12, values: () => [] }),
      ],
      series: [
        {},
        { stroke: colour.baseline, width: 2, dash: [7, 3], points: { show: false }, ...path },
        { stroke: colour.canary, width: 2, fill: colour.band, points: { show: false }, ...path },
      ],
      hooks: { draw: [drawQuantiles(counts, colour)] },
    };
  };
  const readout = (index: number): string => {
    const [from, to] = [both.at[index], both.at[index + 1]];
    if (from === undefined || to === undefined) return "";
    const show = (shares: number[]): string => `${((shares[index] ?? 0) * 100).toFixed(2)}%`;
    return `${latency(10 ** from)} to ${latency(10 ** to)} · canary ${show(both.canaryShare)} · baseline ${show(both.baselineShare)} of requests`;
  };
  return (
    <section class="card" data-latency={metric.name}>
      <div class="card-head">
        <h2 class="name">{metric.name}: how it is spread</h2>
        {judged && <VerdictBadge verdict={judged.verdict} ratio={judged.ratio} />}
      </div>
      <Legend
        lines={[
          { kind: "baseline", name: `baseline${props.stable ? ` ${props.stable}` : ""}` },
          { kind: "canary", name: `canary ${props.version}` },
        ]}
      />
      <Chart
        label={`Distribution of ${metric.name} in both arms; the table below has its quantiles.`}
        data={data}
        height={190}
        shape={JSON.stringify([counts.canary_quantiles, counts.baseline_quantiles])}
        options={options}
        readout={readout}
      />
      {judged && (
        <MetricTable metric={judged} canary={counts.canary_quantiles} baseline={counts.baseline_quantiles} />
      )}
    </section>
  );
}

/** 1, 3 and 10 of each power of ten. */
function marks(min: number, max: number): number[] {
  const all: number[] = [];
  for (let power = Math.floor(min); power <= max; power += 1) all.push(power, power + Math.log10(3));
  const shown = all.filter((at) => at >= min && at <= max);
  return shown.length > 8 ? shown.filter((at) => Number.isInteger(at)) : shown;
}
