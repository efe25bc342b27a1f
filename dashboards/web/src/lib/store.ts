// Small pieces of state that several parts of the page look at.

import { useEffect, useLayoutEffect, useReducer, useState } from "preact/hooks";

export interface Store<T> {
  get(): T;
  set(value: T): void;
  subscribe(listener: () => void): () => void;
}

export function store<T>(initial: T): Store<T> {
  let value = initial;
  const listeners = new Set<() => void>();
  return {
    get: () => value,
    set: (next) => {
      if (Object.is(next, value)) return;
      value = next;
      listeners.forEach((listener) => listener());
    },
    subscribe: (listener) => {
      listeners.add(listener);
      return () => void listeners.delete(listener);
    },
  };
}

/** The value of a store; the component is drawn again when it changes. */
export function useStore<T>(source: Store<T>): T {
  const [, redraw] = useReducer((n: number, _: void) => n + 1, 0);
  const drawn = source.get();
  useLayoutEffect(() => {
    // It may have changed between the drawing and now.
    if (!Object.is(drawn, source.get())) redraw();
    return source.subscribe(() => redraw());
  }, [source]);
  return drawn;
}

const seconds = store(0);
let clock: ReturnType<typeof setInterval> | undefined;
let watchers = 0;

/** Monotonic seconds; the component is drawn again each second while `running`. */
export function useNow(running: boolean): number {
  const [now, setNow] = useState(performance.now() / 1000);
  useEffect(() => {
    if (!running) return undefined;
    watchers += 1;
    clock ??= setInterval(() => seconds.set(performance.now() / 1000), 1000);
    const stop = seconds.subscribe(() => setNow(seconds.get()));
    return () => {
      stop();
      watchers -= 1;
      if (watchers === 0) {
        clearInterval(clock);
        clock = undefined;
      }
    };
  }, [running]);
  return Math.max(now, performance.now() / 1000);
}
