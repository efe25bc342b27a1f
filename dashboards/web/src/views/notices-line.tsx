// One line on the overview: notices that nobody got.

import { useEffect } from "preact/hooks";
import { thousands } from "../lib/format";
import { useLoaded } from "../lib/load";
import type { OutboxEntry, Page } from "../lib/types";

const READ_EVERY_MS = 5 * 60_000;
const COUNTED = 100;

/** How many there are; nothing while there is none, and nothing where it cannot be read. */
export function Undelivered() {
  const { value, error, reload } = useLoaded<Page<OutboxEntry>>(`/outbox?state=dead&limit=${COUNTED}`);
  useEffect(() => {
    const timer = setInterval(() => document.hidden || reload(), READ_EVERY_MS);
    return () => clearInterval(timer);
  }, [reload]);
  const known = value?.items.length ?? 0;
  if (error !== null || known === 0) return null;
  const many = value?.next ? `At least ${thousands(known)}` : thousands(known);
  return (
    <p class="notice urgent" data-undelivered={known}>
      <a href="/notices">
        {many} {known === 1 && !value?.next ? "notice" : "notices"} could not be delivered
      </a>
    </p>
  );
}
