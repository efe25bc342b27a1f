// The words of the core's enumerations. Made by tests/quick/core_words.rs (SERIN_BLESS=1), never by hand.

/** The phases of a rollout, in the order of its life. */
export const PHASES = [
  "scheduled",
  "preflight",
  "preparing",
  "progressing",
  "finalizing",
  "baking",
  "rolling_back",
  "verifying",
  "succeeded",
  "rolled_back",
  "cancelled",
  "failed",
] as const;
export type Phase = (typeof PHASES)[number];

/** Why a rollout does not advance. */
export const HOLDS = [
  "user",
  "drift",
  "blind",
  "window",
  "gate",
  "plan",
  "both_bad",
  "guardrail",
  "freeze",
  "no_return",
  "alert",
  "no_traffic",
  "traffic_share",
  "restarts",
  "stable_small",
  "not_ready",
] as const;
export type Hold = (typeof HOLDS)[number];

/** What a rollout can be told. */
export const COMMANDS = [
  "pause",
  "resume",
  "advance",
  "promote",
  "rollback",
  "supersede",
  "approve",
  "refuse",
  "override_gate",
  "retry_gate",
  "acknowledge",
  "alerts",
  "hook_failed",
] as const;
export type CommandName = (typeof COMMANDS)[number];

/** The phases in which a rollout takes each command. */
export const TAKEN_IN: Record<CommandName, readonly Phase[]> = {
  pause: ["preflight", "preparing", "progressing", "finalizing", "baking"],
  resume: ["preflight", "preparing", "progressing", "finalizing", "baking"],
  advance: ["progressing"],
  promote: ["preparing", "progressing", "baking"],
  rollback: ["scheduled", "preflight", "preparing", "progressing", "finalizing", "baking"],
  supersede: ["scheduled", "preflight", "preparing", "progressing", "finalizing", "baking", "rolling_back", "verifying"],
  approve: ["scheduled", "preflight", "preparing", "progressing", "finalizing", "baking"],
  refuse: ["preflight", "preparing", "progressing", "finalizing", "baking"],
  override_gate: ["preflight", "preparing", "progressing", "finalizing", "baking"],
  retry_gate: ["preflight", "preparing", "progressing", "finalizing", "baking"],
  acknowledge: ["scheduled", "preflight", "preparing", "progressing", "finalizing", "baking", "rolling_back", "verifying", "succeeded", "rolled_back", "cancelled", "failed"],
  alerts: ["scheduled", "preflight", "preparing", "progressing", "finalizing", "baking", "rolling_back", "verifying"],
  hook_failed: ["preflight", "preparing", "progressing", "finalizing", "baking", "rolling_back", "verifying", "succeeded", "rolled_back", "cancelled", "failed"],
};
