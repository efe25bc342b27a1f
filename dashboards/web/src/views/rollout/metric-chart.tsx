// One metric over time: both arms, and how surely the canary's is known.

import { useMemo } from "preact/hooks";
import uPlot from "uplot";
import { latency, ratio, valueWithUnit, weight } from "../../lib/format";
import type { Metric, Numbers, Series, SeriesMetric } from "../../lib/types";
import { axis, Chart, FONT, gaps, type Palette, timeAxis, type Zoom } from "../../ui/chart";
import { timeOf, VerdictBadge } from "../../ui/parts";

export interface ChartCardProps {
  series: Series;
  metric: SeriesMetric;
  judged: Metric | undefined;
  stable: string | null;
  version: string;
  zoom: Zoom;
  onZoom: (zoom: Zoom) => void;
}

/** What a chart's lines are: the dash says it as well as the colour. */
export function Legend(props: { lines: { kind: string; name: string }[] }) {
  return (
    <ul class="legend">
      {props.lines.map((line) => (
        <li key={line.name}>
          <svg class={`swatch ${line.kind}`} viewBox="0 0 22 8" aria-hidden="true">
            <path d="M1 4H21" />
          </svg>
          {line.name}
        </li>
      ))}
    </ul>
  );
}

/** Where a step begins: the index in the series, and the weight that is wanted from there on. */
export function stepMarks(series: Series): { time: number; text: string }[] {
  const marks: { time: number; text: string }[] = [];
  let before: number | null = null;
  series.times.forEach((time, index) => {
    const wanted = series.wanted_percent[index] ?? null;
    if (wanted === null || wanted === before) return;
    before = wanted;
    marks.push({ time, text: weight(wanted) });
  });
  return marks;
}

/** Draws the marks of the steps as thin lines with the weight at the top. */
export function drawMarks(marks: { time: number; text: string }[], colour: Palette): (u: uPlot) => void {
  return (u) => {
    const { ctx, bbox } = u;
    const ratio = uPlot.pxRatio;
    ctx.save();
    ctx.strokeStyle = colour.faint;
    ctx.fillStyle = colour.faint;
    ctx.globalAlpha = 0.8;
    ctx.lineWidth = ratio;
    ctx.font = FONT.replace("12px", `${11 * ratio}px`);
    ctx.textAlign = "left";
    ctx.textBaseline = "alphabetic";
    ctx.setLineDash([2 * ratio, 3 * ratio]);
    for (const mark of marks) {
      const x = u.valToPos(mark.time, "x", true);
      if (x < bbox.left - 1 || x > bbox.left + bbox.width) continue;
      ctx.beginPath();
      ctx.moveTo(x, bbox.top);
      ctx.lineTo(x, bbox.top + bbox.height);
      ctx.stroke();
      ctx.fillText(mark.text, x + 4 * ratio, bbox.top + 11 * ratio);
    }
    ctx.restore();
  };
}

export function MetricCard(props: ChartCardProps) {
  const { series, metric, judged } = props;
  const unit = metric.unit;
  const data = useMemo<uPlot.AlignedData>(
    () => [series.times, metric.canary.high, metric.canary.low, metric.baseline.value, metric.canary.value],
    [series, metric],
  );
  const marks = useMemo(() => stepMarks(series), [series]);
  const hasInterval = metric.canary.low.some((low) => low !== null);
  const options = (colour: Palette): Omit<uPlot.Options, "width" | "height"> => ({
    scales: { y: { range: (_, min, max) => range(min, max, unit) } },
    axes: [
      timeAxis(colour),
      axis(colour, { size: 64, values: (_, splits) => splits.map((split) => tick(split, unit)) }),
    ],
    series: [
      {},
      { stroke: "transparent", points: { show: false }, gaps },
      { stroke: "transparent", points: { show: false }, gaps },
      { stroke: colour.baseline, width: 2, dash: [7, 3], points: { show: false }, gaps },
      { stroke: colour.canary, width: 2, points: { show: false }, gaps },
    ],
    bands: [{ series: [1, 2], fill: colour.band }],
    hooks: { draw: [drawMarks(marks, colour)] },
  });
  const readout = (index: number): string => {
    const at = (numbers: Numbers): number | null => numbers[index] ?? null;
    const show = (value: number | null): string => (value === null ? "no data" : valueWithUnit(value, unit));
    const [low, high, time] = [at(metric.canary.low), at(metric.canary.high), series.times[index]];
    const interval = low !== null && high !== null ? ` [${show(low)} – ${show(high)}]` : "";
    const compared = { low: at(metric.ratio.low), estimate: at(metric.ratio.estimate), high: at(metric.ratio.high) };
    const so = compared.estimate === null ? "" : ` · ${ratio(compared)}`;
    const when = time === undefined ? "" : timeOf(new Date(time * 1000));
    return `${when} · canary ${show(at(metric.canary.value))}${interval} · baseline ${show(at(metric.baseline.value))}${so}`;
  };
  return (
    <section class="card" data-metric={metric.name}>
      <div class="card-head">
        <h2 class="name">{metric.name}</h2>
        {judged && <VerdictBadge verdict={judged.verdict} ratio={judged.ratio} />}
      </div>
      <p class="faint small">{whatIsShown(metric, judged)}</p>
      <Legend
        lines={[
          { kind: "baseline", name: `baseline${props.stable ? ` ${props.stable}` : ""}` },
          { kind: "canary", name: `canary ${props.version}${hasInterval ? ", with its 95% interval" : ""}` },
        ]}
      />
      <Chart
        label={describe(props)}
        data={data}
        height={225}
        shape={`${unit} ${marks.map((mark) => mark.time).join()}`}
        options={options}
        zoom={props.zoom}
        onZoom={props.onZoom}
        sync={series.rollout}
        readout={readout}
      />
    </section>
  );
}

function whatIsShown(metric: SeriesMetric, judged: Metric | undefined): string {
  if (metric.unit === "percent" && metric.kind === "latency") {
    const bound = judged?.bound_seconds;
    return bound == null ? "share of slow requests" : `share of requests slower than ${latency(bound)}`;
  }
  if (metric.unit === "percent") return judged?.bad_means ? `share of ${judged.bad_means}` : "share of bad requests";
  const units: Record<string, string> = {
    per_second: "events a second at full traffic",
    per_instance_second: "events a second and instance",
    each: "events for each of the others",
    value: metric.kind === "saturation" ? "how full it is" : "mean, in the query's own unit",
  };
  return [units[metric.unit], judged?.bad_means && `worse is ${judged.bad_means}`].filter(Boolean).join("; ");
}

function range(min: number | null, max: number | null, unit: string): [number, number] {
  if (min === null || max === null) return [0, 1];
  const top = max > 0 ? max * 1.1 : 1;
  // A share is looked at from 0; a mean has no natural zero.
  if (unit !== "value" || min < max * 0.5) return [Math.min(0, min), top];
  const margin = (max - min || Math.abs(max) || 1) * 0.15;
  return [min - margin, max + margin];
}

function tick(value: number, unit: string): string {
  if (unit !== "percent") return valueWithUnit(value, unit);
  return `${Number(value.toPrecision(3))}%`;
}

/** The picture in a sentence. */
function describe(props: ChartCardProps): string {
  const { metric, judged } = props;
  const last = (numbers: Numbers): string => {
    const value = numbers.findLast((each) => each !== null) ?? null;
    return value === null ? "no data" : valueWithUnit(value, metric.unit);
  };
  const verdict = judged?.ratio ? `; ${judged.verdict.replace("_", " ")}, ${ratio(judged.ratio)}` : "";
  return `${metric.name} over time: at the end the canary has ${last(metric.canary.value)}, the baseline ${last(metric.baseline.value)}${verdict}.`;
}
