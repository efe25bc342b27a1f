// The daemon's changes as they happen: server-sent events read from a fetch, so that a login that has run
// out is told from a daemon that is away, and a connection that has silently died is noticed.

import { ApiError, problem, tellSignedOut } from "./api";
import { Parser } from "./events";
import { store } from "./store";

export interface StreamEvent {
  name: string;
  data: unknown;
}

export type Connection = "none" | "connecting" | "live" | "lost";

/** The state of the view's connection, for the line at the top. */
export const connection = store<Connection>("none");
/** True when the daemon was replaced by another build since the page was loaded. */
export const outdated = store(false);

// A comment comes every 15 s.
const SILENCE_MS = 40_000;
const LONG_MS = 60_000;
const FIRST_PAUSE_MS = 500;
const LONGEST_PAUSE_MS = 10_000;
let build: string | null = null;

export interface Listener {
  event(event: StreamEvent): void;
  /** The connection is there again after it was lost: what was missed has to be read. */
  again(): void;
}

/** Follows the stream until the returned function is called. */
export function follow(query: string, listener: Listener): () => void {
  const stop = new AbortController();
  let lastId: string | null = null;
  let failures = 0;
  let lost = false;
  let wake: () => void = () => undefined;
  const hurry = (): void => wake();
  // A page that waits behind the back button must not hold a connection.
  let cut: () => void = () => undefined;
  const left = (): void => cut();
  addEventListener("pagehide", left);
  addEventListener("pageshow", hurry);
  addEventListener("online", hurry);
  document.addEventListener("visibilitychange", hurry);

  const received = (name: string, text: string): void => {
    let data: unknown;
    try {
      data = JSON.parse(text);
    } catch {
      return;
    }
    if (name === "hello") {
      const revision = (data as { revision?: string }).revision ?? null;
      if (build !== null && revision !== null && revision !== build) outdated.set(true);
      build ??= revision;
    }
    listener.event({ name, data });
  };

  const once = async (): Promise<void> => {
    const attempt = new AbortController();
    cut = () => attempt.abort();
    let watch: ReturnType<typeof setTimeout> | undefined;
    const alive = (): void => {
      clearTimeout(watch);
      watch = setTimeout(() => attempt.abort(), SILENCE_MS);
    };
    try {
      alive();
      const headers: Record<string, string> = { Accept: "text/event-stream" };
      if (lastId !== null) headers["Last-Event-ID"] = lastId;
      const response = await fetch(`/api/v1/stream${query}`, {
        headers,
        credentials: "same-origin",
        cache: "no-store",
        signal: AbortSignal.any([stop.signal, attempt.signal]),
      });
      if (!response.ok) throw await problem(response);
      if (!response.body) throw new ApiError(0, "unreachable", "The stream has no body.");
      failures = 0;
      connection.set("live");
      if (lost) listener.again();
      lost = false;
      const parser = new Parser(received, (id) => (lastId = id));
      const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
      for (;;) {
        const { done, value } = await reader.read();
        if (done) return;
        alive();
        parser.push(value);
      }
    } finally {
      clearTimeout(watch);
      attempt.abort();
    }
  };

  // The daemon ends long streams, so that everybody shows their token again: that is no lost connection.
  const renewed = (since: number): boolean => performance.now() - since > LONG_MS;

  const forever = async (): Promise<void> => {
    connection.set("connecting");
    while (!stop.signal.aborted) {
      const since = performance.now();
      try {
        await once();
        if (!stop.signal.aborted && renewed(since)) {
          lost = true;
          continue;
        }
      } catch (error) {
        if (stop.signal.aborted) return;
        if (error instanceof ApiError && error.status === 401) {
          tellSignedOut();
          return;
        }
        // What it knows may be more than the daemon still does: then it begins anew.
        if (error instanceof ApiError && error.status === 400) lastId = null;
      }
      if (stop.signal.aborted) return;
      lost = true;
      connection.set("lost");
      const pause = Math.min(FIRST_PAUSE_MS * 2 ** failures, LONGEST_PAUSE_MS) * (0.75 + Math.random() / 2);
      failures += 1;
      await new Promise<void>((resolve) => {
        const timer = setTimeout(resolve, pause);
        wake = () => {
          clearTimeout(timer);
          resolve();
        };
      });
    }
  };
  void forever();

  return () => {
    stop.abort();
    wake();
    connection.set("none");
    removeEventListener("pagehide", left);
    removeEventListener("pageshow", hurry);
    removeEventListener("online", hurry);
    document.removeEventListener("visibilitychange", hurry);
  };
}
