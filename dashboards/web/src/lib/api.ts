// Requests to the daemon. Every error becomes one `ApiError` whose message is for people.

interface ProblemDocument {
  title?: string;
  detail?: string;
  code?: string;
  rollout?: string;
  errors?: { field: string; detail: string }[];
  retry_after_seconds?: number;
}

/** What the daemon refused, or that it could not be reached (`status` 0). */
export class ApiError extends Error {
  constructor(
    readonly status: number,
    readonly code: string,
    detail: string,
    readonly rollout: string | null = null,
    readonly errors: { field: string; detail: string }[] = [],
  ) {
    super(detail);
  }
}

const DEADLINE_MS = 20_000;
let signedOut: () => void = () => undefined;

/** `listener` hears of every answer that says that nobody is logged in (any more). */
export function onSignedOut(listener: () => void): void {
  signedOut = listener;
}

/** Tells that nobody is logged in any more. */
export function tellSignedOut(): void {
  signedOut();
}

/** An answer that is no success, as an error. */
export async function problem(response: Response): Promise<ApiError> {
  let document: ProblemDocument = {};
  try {
    document = (await response.json()) as ProblemDocument;
  } catch {
    // A proxy on the way answers in its own words: the status has to do.
  }
  const detail = document.detail ?? document.title ?? `The daemon answered with status ${response.status}.`;
  return new ApiError(
    response.status,
    document.code ?? "unknown",
    detail,
    document.rollout ?? null,
    document.errors ?? [],
  );
}

async function send(path: string, init: RequestInit, deadlineMs: number): Promise<Response> {
  const deadline = AbortSignal.timeout(deadlineMs);
  const signal = init.signal ? AbortSignal.any([init.signal, deadline]) : deadline;
  let response: Response;
  try {
    response = await fetch(`/api/v1${path}`, { ...init, signal, credentials: "same-origin", cache: "no-store" });
  } catch (error) {
    if (init.signal?.aborted) throw error;
    const late = deadline.aborted ? "did not answer in time" : "cannot be reached";
    throw new ApiError(0, "unreachable", `The daemon ${late}.`);
  }
  if (response.ok) return response;
  const error = await problem(response);
  if (error.status === 401 && error.code === "unauthenticated" && path !== "/session") signedOut();
  throw error;
}

/** Reads `path` under /api/v1. */
export async function get<T>(path: string, signal?: AbortSignal, deadlineMs = DEADLINE_MS): Promise<T> {
  const response = await send(path, signal ? { signal } : {}, deadlineMs);
  return (await response.json()) as T;
}

/** Changes something; the header shows the daemon that it was this page, and not a form elsewhere. */
export async function change<T>(
  method: "POST" | "DELETE",
  path: string,
  body: unknown,
  headers: Record<string, string> = {},
): Promise<{ status: number; body: T | null }> {
  const init: RequestInit = { method, headers: { "X-Serin": "1", ...headers } };
  if (body !== undefined) {
    init.body = JSON.stringify(body);
    init.headers = { ...init.headers, "Content-Type": "application/json" };
  }
  const response = await send(path, init, DEADLINE_MS);
  const text = await response.text();
  return { status: response.status, body: text ? (JSON.parse(text) as T) : null };
}

/** A key that makes the daemon do a thing once, however often it is sent. */
export function idempotencyKey(): string {
  // Not `randomUUID`: it is missing where the page comes over plain HTTP.
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}

/** An error in a sentence. */
export function sentence(error: unknown): string {
  const text = error instanceof Error ? error.message : String(error);
  const first = text.charAt(0).toUpperCase() + text.slice(1);
  return /[.!?…]$/.test(first) ? first : `${first}.`;
}
