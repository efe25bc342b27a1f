// A chart of time on a canvas: drag to zoom, double click to see everything, arrow keys to move.

import { useEffect, useRef } from "preact/hooks";
import uPlot from "uplot";
import { useStore } from "../lib/store";
import { colours } from "../lib/theme";

/** The part of the time that is shown; `null`: all of it. */
export type Zoom = { min: number; max: number } | null;

export interface Palette {
  text: string;
  faint: string;
  line: string;
  surface: string;
  canary: string;
  band: string;
  baseline: string;
  good: string;
  bad: string;
  goodText: string;
  badText: string;
}

export function palette(): Palette {
  const style = getComputedStyle(document.documentElement);
  const value = (name: string): string => style.getPropertyValue(name).trim();
  return {
    text: value("--text"),
    faint: value("--faint"),
    line: value("--line"),
    surface: value("--surface"),
    canary: value("--canary"),
    band: value("--canary-band"),
    baseline: value("--baseline"),
    good: value("--good"),
    bad: value("--bad"),
    goodText: value("--good-text"),
    badText: value("--bad-text"),
  };
}

export const FONT = "12px Inter, system-ui, -apple-system, 'Segoe UI', Roboto, sans-serif";

/** An axis as all charts have it. */
export function axis(colour: Palette, more: Partial<uPlot.Axis>): uPlot.Axis {
  return {
    stroke: colour.faint,
    font: FONT,
    grid: { stroke: colour.line, width: 1 },
    ticks: { show: false },
    ...more,
  };
}

/** The axis of time, in the viewer's own time zone, 24 hours a day. */
export function timeAxis(colour: Palette): uPlot.Axis {
  return axis(colour, {
    grid: { show: false },
    size: 28,
    space: 70,
    values: (_, splits, __, ___, step) => splits.map((at) => clock(at, step < 60)),
  });
}

function clock(at: number, seconds: boolean): string {
  const date = new Date(at * 1000);
  const two = (n: number): string => String(n).padStart(2, "0");
  const text = `${two(date.getHours())}:${two(date.getMinutes())}`;
  return seconds ? `${text}:${two(date.getSeconds())}` : text;
}

/** Leaves out gaps of a point or two: a bucket without a look in it is no missing data. */
export const gaps: NonNullable<uPlot.Series["gaps"]> = (u, _, from, to, found) => {
  if (to <= from || found.length === 0) return found;
  const times = u.data[0];
  const width = u.valToPos(times[to] ?? 0, "x", true) - u.valToPos(times[from] ?? 0, "x", true);
  const spacing = width / (to - from);
  return found.filter(([start, end]) => end - start > 3.5 * spacing + 1);
};

export interface ChartProps {
  /** What a screen reader says of the picture. */
  label: string;
  data: uPlot.AlignedData;
  height: number;
  /** Makes the options; called again when the colours, or `shape`, change. */
  options: (colour: Palette) => Omit<uPlot.Options, "width" | "height">;
  /** Changes when the options would be others. */
  shape: string;
  zoom?: Zoom;
  onZoom?: (zoom: Zoom) => void;
  /** Charts with the same key show the same moment under the pointer. */
  sync?: string;
  /** What stands under the pointer, in words. */
  readout?: (index: number) => string;
}

export function Chart(props: ChartProps) {
  const place = useRef<HTMLDivElement>(null);
  const words = useRef<HTMLParagraphElement>(null);
  const plot = useRef<uPlot | null>(null);
  const latest = useRef(props);
  latest.current = props;
  const generation = useStore(colours);

  useEffect(() => {
    const element = place.current;
    if (!element) return undefined;
    const made = new uPlot(complete(latest, words), latest.current.data, element);
    plot.current = made;
    const resize = new ResizeObserver(() => {
      const width = element.clientWidth;
      if (width > 0 && width !== made.width) made.setSize({ width, height: latest.current.height });
    });
    resize.observe(element);
    return () => {
      resize.disconnect();
      made.destroy();
      plot.current = null;
    };
  }, [generation, props.shape, props.height]);

  // The first data are there already when the chart is made.
  const drawn = useRef<{ data: unknown; zoom: Zoom }>({ data: props.data, zoom: props.zoom ?? null });
  useEffect(() => {
    const zoom = props.zoom ?? null;
    if (drawn.current.data === props.data && drawn.current.zoom === zoom) return;
    drawn.current = { data: props.data, zoom };
    plot.current?.setData(props.data);
  }, [props.data, props.zoom]);

  return (
    <figure class="chart">
      <div
        ref={place}
        role="img"
        aria-label={props.label}
        tabIndex={props.onZoom ? 0 : undefined}
        onKeyDown={(event) => keys(event, props)}
        onWheel={(event) => wheel(event, props)}
      />
      <p class="readout" ref={words} aria-hidden="true" />
    </figure>
  );
}

function complete(
  latest: { current: ChartProps },
  words: { current: HTMLParagraphElement | null },
): uPlot.Options {
  const props = latest.current;
  const made = props.options(palette());
  const zoomable = props.onZoom !== undefined;
  const scales = { ...made.scales };
  if (zoomable) {
    scales["x"] = {
      ...scales["x"],
      range: (_, min, max) => {
        const zoom = latest.current.zoom;
        if (zoom) return [zoom.min, zoom.max];
        return min === max ? [min - 30, max + 30] : [min, max];
      },
    };
  }
  const cursor: uPlot.Cursor = {
    points: { size: 7 },
    y: false,
    drag: { x: zoomable, y: false, setScale: false },
    bind: {
      dblclick: () => () => {
        latest.current.onZoom?.(null);
        return null;
      },
    },
    ...(props.sync ? { sync: { key: props.sync, scales: ["x", null] } } : {}),
    ...made.cursor,
  };
  return {
    ...made,
    width: 600,
    height: props.height,
    legend: { show: false },
    scales,
    cursor,
    hooks: {
      ...made.hooks,
      setSelect: [
        (u) => {
          // A click is no selection; charts that are in step only repeat the one that was dragged in.
          if (!zoomable || u.select.width < 4) return;
          const [min, max] = [u.posToVal(u.select.left, "x"), u.posToVal(u.select.left + u.select.width, "x")];
          u.setSelect({ left: 0, top: 0, width: 0, height: 0 }, false);
          latest.current.onZoom?.({ min, max });
        },
      ],
      setCursor: [
        (u) => {
          if (!words.current) return;
          const index = u.cursor.idx;
          const readout = latest.current.readout;
          words.current.textContent = index == null || !readout ? "" : readout(index);
        },
      ],
    },
  };
}

/** What is shown now, and all there is. */
function bounds(props: ChartProps): { shown: { min: number; max: number }; all: { min: number; max: number } } | null {
  const times = props.data[0];
  const [first, last] = [times?.[0], times?.[times.length - 1]];
  if (first === undefined || last === undefined) return null;
  const all = { min: first, max: last };
  return { shown: props.zoom ?? all, all };
}

function move(props: ChartProps, part: number, factor: number): void {
  const now = bounds(props);
  if (!now || !props.onZoom) return;
  const width = now.shown.max - now.shown.min;
  const middle = (now.shown.min + now.shown.max) / 2 + part * width;
  props.onZoom({ min: middle - (width * factor) / 2, max: middle + (width * factor) / 2 });
}

function keys(event: KeyboardEvent, props: ChartProps): void {
  if (!props.onZoom || event.ctrlKey || event.metaKey || event.altKey) return;
  const action: Record<string, () => void> = {
    ArrowLeft: () => move(props, -0.2, 1),
    ArrowRight: () => move(props, 0.2, 1),
    "+": () => move(props, 0, 0.5),
    "=": () => move(props, 0, 0.5),
    "-": () => move(props, 0, 2),
    "0": () => props.onZoom?.(null),
    Escape: () => props.onZoom?.(null),
  };
  const act = action[event.key];
  if (!act || (!props.zoom && event.key.startsWith("Arrow"))) return;
  event.preventDefault();
  act();
}

/** A wheel that turns sideways moves a part that is zoomed into. */
function wheel(event: WheelEvent, props: ChartProps): void {
  const sideways = event.shiftKey ? event.deltaY || event.deltaX : event.deltaX;
  if (!props.zoom || Math.abs(sideways) < 1 || (!event.shiftKey && Math.abs(event.deltaY) > Math.abs(sideways))) return;
  event.preventDefault();
  move(props, sideways / 1000, 1);
}
