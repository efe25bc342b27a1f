// Which commands a rollout can be given, and what each of them will do, in words.

import { weight } from "../../lib/format";
import { TAKEN_IN } from "../../lib/core-words";
import type { Rollout } from "../../lib/types";

export type Command = "pause" | "resume" | "advance" | "promote" | "rollback";

/** The commands that make sense now, the dangerous one last. */
export function possible(view: Rollout): Command[] {
  if (view.ended) return [];
  const paused = view.holds.includes("user");
  const wanted: Command[] = paused ? ["resume"] : view.holds.length > 0 ? ["pause", "resume"] : ["pause"];
  wanted.push("advance", "promote", "rollback");
  return wanted.filter(
    (command) => TAKEN_IN[command].includes(view.state) && (command !== "advance" || next(view) !== null),
  );
}

/** What the button says. */
export function label(command: Command, view: Rollout): string {
  if (command === "rollback") return view.state === "scheduled" ? "Cancel …" : "Roll back …";
  if (command === "promote") return view.state === "baking" ? "End the bake …" : "Promote …";
  if (command === "advance") return "Advance …";
  return command === "pause" ? "Pause …" : "Resume …";
}

/** What the dialog's own button says. */
export function deed(command: Command, view: Rollout): string {
  return label(command, view).replace(" …", "");
}

function next(view: Rollout): number | null {
  if (!view.step) return null;
  return view.steps[view.step.index]?.weight_percent ?? null;
}

function now(view: Rollout): number {
  return view.wanted?.canary_percent ?? 0;
}

/** What a person's `advance` or `promote` can override. */
export interface Force {
  override: boolean;
  even_if_worse: boolean;
}

/** What stands against going on, and is not passed by accident. */
export interface Against {
  /** Who else has paused it. */
  pauses: string[];
  /** How few instances of the canary are ready. */
  unready: string | null;
  /** What says that the canary may be worse. */
  suspects: string[];
}

export function against(view: Rollout, me: string | null): Against {
  const pauses = (view.held ?? [])
    .filter((held) => held.hold === "user" && (held.by === null || held.by !== me))
    .map((held) => `${held.by ?? "somebody"} (${held.why})`);
  if (pauses.length === 0 && view.holds.includes("user") && !view.held?.some((held) => held.hold === "user")) {
    pauses.push("somebody");
  }
  const judged = view.policy.mode === "act" ? view.assessment : null;
  const leaning = judged?.metrics.filter((metric) => metric.harm.ln_e >= judged.harm.ln_bound / 2) ?? [];
  const broken = judged?.guardrails.filter(
    ({ status, action }) => (status === "breaching" || status === "fired") && action !== "alert",
  );
  const suspects = [...leaning, ...(broken ?? [])].map((found) => found.name);
  const { instances } = view;
  const few = instances && instances.ready < instances.least;
  const unready = few ? `${instances.ready} of ${instances.listed} canary instances are ready` : null;
  return { pauses, unready, suspects };
}

/** What will happen, before it happens. */
export function consequence(command: Command, view: Rollout): string {
  const { target, version } = view;
  const stable = view.stable_version ?? "the version that ran before";
  if (view.policy.mode === "observe") return observed(command, view);
  const at = weight(now(view));
  const others = view.holds.filter((hold) => hold !== "user").length;
  switch (command) {
    case "rollback":
      if (view.state === "scheduled") return `The rollout of ${version} ends before it has begun. No traffic is moved.`;
      if (now(view) === 0) return `The rollout of ${version} ends: the canary of ${target} stays at 0%; ${stable} keeps all traffic.`;
      return `The canary of ${target} goes from ${at} to 0% at once; ${stable} gets all traffic.`;
    case "pause":
      return `The canary of ${target} stays at ${at} until somebody resumes. It is still judged, and still rolled back if it is found worse.`;
    case "resume":
      if (view.holds.includes("drift")) {
        const step = weight(view.step?.weight_percent ?? 100);
        return `The weight of ${step} is wanted at the router again, and judging goes on from there.`;
      }
      return others > 0
        ? `Every hold of ${target} is dropped, and it may advance again. A hold whose cause lasts comes again.`
        : `The canary of ${target} stays at ${at} for now, and may advance again when it is proven.`;
    case "advance":
      return `The canary of ${target} goes from ${at} to ${weight(next(view) ?? 100)} at once, proven or not.${dropped(view)}`;
    case "promote":
      if (view.state === "baking") {
        return `The bake ends now: ${version} keeps all traffic of ${target}, is the stable version, and is watched no more.`;
      }
      return `${version} of ${target} goes from ${at} to 100% at once, past the steps that are left, proven or not.${dropped(view)}`;
  }
}

function dropped(view: Rollout): string {
  return view.holds.length > 0 ? " Holds are dropped." : "";
}

function observed(command: Command, view: Rollout): string {
  const what: Record<Command, string> = {
    rollback: "the observation ends",
    pause: "the observation stays at its step",
    resume: "the observation may go on to the next step",
    advance: "the observation goes on to the next step",
    promote: "the observation ends as if it had been promoted",
  };
  return `This policy observes only: ${what[command]}, and no traffic of ${view.target} is moved.`;
}
