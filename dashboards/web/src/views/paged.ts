// Lists that come page by page.

import { useEffect, useRef, useState } from "preact/hooks";
import { get } from "../lib/api";
import type { Page } from "../lib/types";

export interface Paged<T> {
  items: T[] | null;
  error: unknown;
  /** Reads the next page; `null` if there is none. */
  more: (() => void) | null;
  busy: boolean;
  /** From the first page again. */
  reload: () => void;
}

/**
 * What `path` (with its query) lists, as many pages of it as were asked for. `side` is how its next page is asked
 * for: `before` where the newest come first, `after` where the oldest do.
 */
export function usePaged<T>(path: string, side: "before" | "after" = "before"): Paged<T> {
  const [state, setState] = useState<{ path: string; items: T[]; next: string | null } | null>(null);
  const [error, setError] = useState<unknown>(null);
  const [busy, setBusy] = useState(false);
  const stop = useRef(new AbortController());
  const read = (from: string | null, known: T[]): void => {
    stop.current.abort();
    const mine = new AbortController();
    stop.current = mine;
    setBusy(true);
    const query = from === null ? "" : `${path.includes("?") ? "&" : "?"}${side}=${encodeURIComponent(from)}`;
    get<Page<T>>(path + query, mine.signal).then(
      (page) => {
        setState({ path, items: [...known, ...page.items], next: page.next ?? null });
        setError(null);
        setBusy(false);
      },
      (failed: unknown) => {
        if (mine.signal.aborted) return;
        setError(failed);
        setBusy(false);
      },
    );
  };
  useEffect(() => {
    read(null, []);
    return () => stop.current.abort();
  }, [path]);
  const now = state?.path === path ? state : null;
  const next = now?.next ?? null;
  return {
    items: now?.items ?? null,
    error,
    more: next === null ? null : () => read(next, now?.items ?? []),
    busy,
    reload: () => read(null, []),
  };
}
