// Reading something for a view, again when it is asked for.

import { useCallback, useEffect, useRef, useState } from "preact/hooks";
import { get } from "./api";

export interface Loaded<T> {
  value: T | null;
  error: unknown;
  reload: () => void;
  set: (value: T) => void;
}

/** What `path` gives; `null` as a path reads nothing. What was read stays while it is read again. */
export function useLoaded<T>(path: string | null): Loaded<T> {
  const [state, setState] = useState<{ path: string | null; value: T | null; error: unknown }>({
    path: null,
    value: null,
    error: null,
  });
  const [turn, setTurn] = useState(0);
  useEffect(() => {
    if (path === null) return undefined;
    const stop = new AbortController();
    get<T>(path, stop.signal).then(
      (value) => setState({ path, value, error: null }),
      (error: unknown) => {
        if (!stop.signal.aborted) setState((old) => ({ path, value: old.path === path ? old.value : null, error }));
      },
    );
    return () => stop.abort();
  }, [path, turn]);
  const reload = useCallback(() => setTurn((n) => n + 1), []);
  const set = useCallback((value: T) => setState((old) => ({ ...old, value, error: null })), []);
  const mine = state.path === path;
  return { value: mine ? state.value : null, error: mine ? state.error : null, reload, set };
}

/** Calls `action` at most once in `pauseMs`, and once more after the last call. */
export function useThrottled(action: () => void, pauseMs: number): () => void {
  const latest = useRef(action);
  latest.current = action;
  const state = useRef<{ timer: ReturnType<typeof setTimeout> | null; last: number }>({ timer: null, last: 0 });
  useEffect(
    () => () => {
      if (state.current.timer) clearTimeout(state.current.timer);
    },
    [],
  );
  return useCallback(() => {
    const now = state.current;
    if (now.timer) return;
    const wait = Math.max(0, now.last + pauseMs - performance.now());
    now.timer = setTimeout(() => {
      now.timer = null;
      now.last = performance.now();
      latest.current();
    }, wait);
  }, [pauseMs]);
}
