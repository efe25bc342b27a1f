// The mock's report of a rollout.

import { duration } from "./figures.mjs";
import { rolloutView } from "./views.mjs";

const iso = (ms) => (ms === null ? null : new Date(ms).toISOString());
const DECISIONS = ["advanced", "promoted", "rollback_started", "rolled_back", "succeeded", "cancelled"];
const VERDICTS = { succeeded: "promoted", rolled_back: "rolled back", cancelled: "cancelled", failed: "failed" };

export function report(r, now) {
  const decisions = r.events.filter((event) => DECISIONS.includes(event.kind));
  const sentence = r.reason?.sentence ?? (r.ended ? r.events.at(-1).sentence : `${r.version} is in progress.`);
  const minutes = duration(((r.endedAt ?? now) - r.at) / 1000);
  return {
    rollout: { ...rolloutView(r, now), stable_version: r.stable },
    verdict: VERDICTS[r.state] ?? "in progress",
    sentence,
    duration_seconds: ((r.endedAt ?? now) - r.at) / 1000,
    steps: r.marks.map((mark) => ({
      ...mark,
      from: iso(mark.from),
      to: iso(mark.to),
      seconds: ((mark.to ?? now) - mark.from) / 1000,
    })),
    decisions,
    log: r.events,
    alerts: [],
    post_mortem:
      r.state === "rolled_back"
        ? `# Post-mortem (draft): ${r.target} ${r.version}\n\n## What happened\n\n${sentence}\n\n## How long\n\n${minutes} from the start to the end.\n\n## Timeline\n\n${r.events
            .map((event) => `- ${event.at} ${event.sentence}`)
            .join("\n")}\n\n## Why (to be filled in)\n\n- \n\n## What we change (to be filled in)\n\n- \n`
        : null,
  };
}

export function markdown(of) {
  const lines = of.log.map((event) => `- ${event.at} ${event.sentence}`).join("\n");
  return `# ${of.rollout.target} ${of.rollout.version}: ${of.verdict}\n\n${of.sentence}\n\n${lines}\n`;
}
