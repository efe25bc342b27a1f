// How surely: the evidence of one metric against both bounds, on a logarithmic scale.

import { useMemo } from "preact/hooks";
import uPlot from "uplot";
import { bound, evidence, odds } from "../../lib/format";
import type { Numbers } from "../../lib/types";
import { axis, Chart, FONT, gaps, type Palette, timeAxis } from "../../ui/chart";
import { timeOf } from "../../ui/parts";
import { type ChartCardProps, Legend } from "./metric-chart";

/**
 * Natural logarithms as powers of ten, no lower than 1:1: below that there is no evidence at all; and no
 * higher than `top`: far beyond both bounds nothing more is decided.
 */
function powers(numbers: Numbers, top: number): Numbers {
  return numbers.map((ln) => (ln === null ? null : Math.min(top, Math.max(0, ln / Math.LN10))));
}

interface Bound {
  power: number;
  text: string;
  colour: string;
  ink: string;
}

/** Both bounds as dashed lines that say what happens there. */
function drawBounds(bounds: Bound[], colour: Palette): (u: uPlot) => void {
  return (u) => {
    const { ctx, bbox } = u;
    const scale = uPlot.pxRatio;
    ctx.save();
    ctx.lineWidth = 1.5 * scale;
    ctx.font = FONT.replace("12px", `600 ${11 * scale}px`);
    ctx.textAlign = "right";
    ctx.textBaseline = "alphabetic";
    for (const each of bounds) {
      const y = u.valToPos(each.power, "y", true);
      ctx.setLineDash([6 * scale, 4 * scale]);
      ctx.strokeStyle = each.colour;
      ctx.beginPath();
      ctx.moveTo(bbox.left, y);
      ctx.lineTo(bbox.left + bbox.width, y);
      ctx.stroke();
      // The lower one is named below its line, so that the names never meet.
      const below = each !== bounds.reduce((a, b) => (b.power > a.power ? b : a));
      const base = y + (below ? 13 : -5) * scale;
      const right = bbox.left + bbox.width - 4 * scale;
      const width = ctx.measureText(each.text).width;
      ctx.globalAlpha = 0.85;
      ctx.fillStyle = colour.surface;
      ctx.fillRect(right - width - 3 * scale, base - 11 * scale, width + 6 * scale, 14 * scale);
      ctx.globalAlpha = 1;
      ctx.fillStyle = each.ink;
      ctx.fillText(each.text, right, base);
    }
    ctx.restore();
  };
}

/** Whole powers of ten, few enough to be read. */
function splits(min: number, max: number): number[] {
  const step = Math.max(1, Math.ceil((max - min) / 6));
  const all: number[] = [];
  for (let power = Math.ceil(min); power <= max; power += step) all.push(power);
  return all;
}

export function EvidenceCard(props: ChartCardProps) {
  const { series, metric, judged } = props;
  const [toHarm, toNoHarm] = [metric.ln_bound_harm, metric.ln_bound_no_harm];
  const highest = Math.max(toHarm ?? 0, toNoHarm ?? 0) / Math.LN10;
  // With one metric, its own evidence is all there is.
  const combined = series.ln_harm_combined !== undefined && series.metrics.length > 1;
  const top = Math.max(1, Math.ceil(highest * 3));
  const data = useMemo<uPlot.AlignedData>(
    () => [
      series.times,
      powers(metric.ln_no_harm, top),
      powers(metric.ln_harm, top),
      powers(combined ? (series.ln_harm_combined ?? []) : [], top),
    ],
    [series, metric, top, combined],
  );
  const options = (colour: Palette): Omit<uPlot.Options, "width" | "height"> => {
    const bounds: Bound[] = [];
    if (toHarm !== null) {
      const text = `roll back ${bound(Math.exp(toHarm))}`;
      bounds.push({ power: toHarm / Math.LN10, text, colour: colour.bad, ink: colour.badText });
    }
    if (toNoHarm !== null) {
      const text = `advance ${bound(Math.exp(toNoHarm))}`;
      bounds.push({ power: toNoHarm / Math.LN10, text, colour: colour.good, ink: colour.goodText });
    }
    return {
      scales: { y: { range: (_, __, max) => [0, Math.max(highest * 1.25, Math.min((max ?? 0) * 1.08, top), 1)] } },
      axes: [
        timeAxis(colour),
        axis(colour, {
          size: 96,
          splits: (_, __, min, max) => splits(min, max),
          values: (_, at) => at.map((power) => (power === top ? "≥ " : "") + bound(10 ** power)),
        }),
      ],
      series: [
        {},
        { stroke: colour.good, width: 2, dash: [3, 3], points: { show: false }, gaps },
        { stroke: colour.bad, width: 2, points: { show: false }, gaps },
        { stroke: colour.text, width: 1, points: { show: false }, gaps },
      ],
      hooks: { draw: [drawBounds(bounds, colour)] },
    };
  };
  const readout = (index: number): string => {
    const show = (numbers: Numbers): string => {
      const ln = numbers[index] ?? null;
      return ln === null ? "no data" : odds(Math.exp(Math.min(ln, 700)));
    };
    const time = series.times[index];
    const when = time === undefined ? "" : timeOf(new Date(time * 1000));
    return `${when} · harm ${show(metric.ln_harm)} · no harm ${show(metric.ln_no_harm)}`;
  };
  return (
    <section class="card" data-evidence={metric.name}>
      <div class="card-head">
        <h2>
          Evidence<span class="faint"> in {metric.name}</span>
        </h2>
        <span class="faint small">how surely, at any number of looks</span>
      </div>
      {judged && (
        <p class="faint small">
          harm {evidence(judged.harm)} · no harm {evidence(judged.no_harm)}
        </p>
      )}
      <Legend
        lines={[
          { kind: "harm", name: "harm" },
          { kind: "no-harm", name: "no harm beyond the margin" },
          ...(combined ? [{ kind: "combined", name: "harm over all metrics" }] : []),
        ]}
      />
      <Chart
        label={`Evidence in ${metric.name} over time${
          judged ? `: at the end harm ${evidence(judged.harm)}, no harm ${evidence(judged.no_harm)}` : ""
        }.`}
        data={data}
        height={225}
        shape={`${toHarm} ${toNoHarm}`}
        options={options}
        zoom={props.zoom}
        onZoom={props.onZoom}
        sync={series.rollout}
        readout={readout}
      />
    </section>
  );
}
