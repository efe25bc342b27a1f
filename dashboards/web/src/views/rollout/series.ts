// The figures behind the charts: read once, then only what is new.

import { useCallback, useEffect, useRef, useState } from "preact/hooks";
import { get } from "../../lib/api";
import { useThrottled } from "../../lib/load";
import type { Series } from "../../lib/types";
import type { Zoom } from "../../ui/chart";
import { append } from "./append";

const POINTS = 2000;
const APPEND_PAUSE_MS = 1_000;
// What is appended is finer than what was read first: now and then all of it is read anew.
const AFRESH_MS = 60_000;
const MOST_POINTS = 6000;

function iso(seconds: number): string {
  return new Date(seconds * 1000).toISOString();
}

export interface Charted {
  series: Series | null;
  error: unknown;
  /** Something has changed: reads what is new. */
  poke: () => void;
  /** Reads everything again. */
  afresh: () => void;
}

/** The series of a rollout, finer where it is zoomed into. */
export function useSeries(id: string, zoom: Zoom): Charted {
  const [base, setBase] = useState<Series | null>(null);
  const [detail, setDetail] = useState<Series | null>(null);
  const [error, setError] = useState<unknown>(null);
  const state = useRef<{ base: Series | null; at: number; stop: AbortController; busy: boolean }>({
    base: null,
    at: 0,
    stop: new AbortController(),
    busy: false,
  });
  const path = `/rollouts/${encodeURIComponent(id)}/series?points=${POINTS}`;

  const put = (series: Series): void => {
    state.current.base = series;
    setBase(series);
    setError(null);
  };
  const read = useCallback(
    async (all: boolean): Promise<void> => {
      const now = state.current;
      if (now.busy) return;
      now.busy = true;
      try {
        const old = now.base;
        const last = old?.times.at(-1);
        const stale = performance.now() - now.at > AFRESH_MS || (old?.times.length ?? 0) > MOST_POINTS;
        if (all || stale || !old || last === undefined) {
          put(await get<Series>(path, now.stop.signal));
          now.at = performance.now();
        } else {
          put(append(old, await get<Series>(`${path}&from=${encodeURIComponent(iso(last))}`, now.stop.signal)));
        }
      } catch (failed) {
        if (!now.stop.signal.aborted) setError(failed);
      } finally {
        now.busy = false;
      }
    },
    [path],
  );
  useEffect(() => {
    state.current = { base: null, at: 0, stop: new AbortController(), busy: false };
    void read(true);
    return () => state.current.stop.abort();
  }, [read]);

  // The part that is zoomed into, with as much again on both sides, so that moving shows something. With few
  // points in all, each of them is one look already.
  useEffect(() => {
    if (!zoom || !base || base.times.length < POINTS * 0.4) return setDetail(null);
    const width = zoom.max - zoom.min;
    const covered = detail && (detail.times[0] ?? Infinity) <= zoom.min && (detail.times.at(-1) ?? 0) >= zoom.max;
    if (covered && (detail.times.at(-1) ?? 0) - (detail.times[0] ?? 0) < 8 * width) return undefined;
    const stop = new AbortController();
    const timer = setTimeout(() => {
      const [from, to] = [iso(zoom.min - width), iso(zoom.max + width)].map(encodeURIComponent);
      get<Series>(`${path}&from=${from}&to=${to}`, stop.signal).then(setDetail, () => undefined);
    }, 150);
    return () => {
      clearTimeout(timer);
      stop.abort();
    };
  }, [zoom?.min, zoom?.max, path]);

  const poke = useThrottled(() => void read(false), APPEND_PAUSE_MS);
  const afresh = useCallback(() => void read(true), [read]);
  return { series: zoom && detail ? detail : base, error, poke, afresh };
}
