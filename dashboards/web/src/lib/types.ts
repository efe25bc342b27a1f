// What the daemon answers with under /api/v1. The same types in Rust: src/contract.rs and below.

import type { Hold, Phase } from "./core-words";
import type { Ratio } from "./format";

export type { Ratio };

export interface Page<T> {
  items: T[];
  next?: string | null;
}

export interface Me {
  name: string | null;
  role: "viewer" | "operator" | "approver" | "admin";
  services: string[];
  open: boolean;
  may: { view: boolean; operate: boolean; approve: boolean; administer: boolean };
}

export type Verdict = "worse" | "not_worse" | "undecided" | "no_data";

export interface WaitingFor {
  on: string;
  sentence: string;
  remaining_seconds?: number | null;
}

export interface Row {
  id: string;
  target: string;
  version: string;
  stable_version: string | null;
  policy: string;
  state: Phase;
  ended: boolean;
  holds: Hold[];
  needs_you: boolean;
  step: { index: number; of: number; weight_percent: number } | null;
  stage: string | null;
  wanted_percent: number | null;
  seen_percent: number | null;
  in_phase_seconds: number;
  remaining_seconds: number | null;
  waiting_for: WaitingFor | null;
  worst: { metric: string; verdict: Verdict; ratio: Ratio } | null;
  spark: number[];
  reason: string | null;
  created_at: string;
  created_by: string;
  ended_at: string | null;
  revision: number;
}

export interface Counts {
  needs_you: number;
  in_progress: number;
  baking: number;
  rolled_back_today: number;
  ended_today: number;
  median_seconds_to_promotion: number | null;
}

export interface Overview {
  at: string;
  counts: Counts;
  items: Row[];
}

/** The last reload of the configuration file. */
export interface Configuration {
  at: string | null;
  file: string | null;
  ok: boolean;
  problems: string[];
  restart_needed: { field: string; why: string }[];
}

export interface Evidence {
  ln_e: number;
  odds: number;
  ln_bound: number;
  bound_odds: number;
  reached: boolean;
}

export interface Quantile {
  quantile: number;
  seconds: number;
  low_seconds: number;
  high_seconds: number;
}

export interface Arm {
  requests: number;
  share_percent: number | null;
  share_interval_percent: [number, number] | null;
  p50_seconds: number | null;
  p95_seconds: number | null;
  p99_seconds: number | null;
  quantiles?: Quantile[];
  rate?: number | null;
  value?: number | null;
}

export interface Metric {
  name: string;
  kind: string;
  unit?: Unit;
  bad_means: string;
  verdict: Verdict;
  harm: Evidence;
  no_harm: Evidence;
  ratio: Ratio | null;
  canary: Arm;
  baseline: Arm;
  bound_seconds: number | null;
  dispersion: number;
  dispersion_source?: string;
}

export interface Guardrail {
  name: string;
  status: "no_data" | "clear" | "breaching" | "fired" | "both_breach";
  canary: number | null;
  baseline: number | null;
  breaching_for_seconds: number;
  hold_for_seconds: number | null;
  baseline_healthy: boolean | null;
  action: string;
  severity: string;
  sentence: string;
}

export interface Assessment {
  tick: number;
  advice: string;
  reasons: { code: string; sentence: string }[];
  harm: Evidence;
  catastrophe: Evidence;
  metrics: Metric[];
  guardrails: Guardrail[];
  remaining_seconds: number | null;
}

export interface StepPlan {
  weight_percent: number;
  min_seconds: number;
  max_seconds: number | null;
  at_max: string;
}

export interface Split {
  canary_percent: number;
  stable_percent: number;
  baseline_percent: number;
}

export interface Seen extends Split {
  at: string;
  as_wanted: boolean;
}

export interface Rollout {
  id: string;
  target: string;
  version: string;
  stable_version: string | null;
  policy: { name: string; version: string; mode: "act" | "observe" };
  kind: "release" | "revert";
  state: Phase;
  ended: boolean;
  step: {
    index: number;
    of: number;
    weight_percent: number;
    min_seconds: number;
    max_seconds: number | null;
    min_requests?: number;
    requests?: number;
  } | null;
  steps: StepPlan[];
  stage: string | null;
  holds: Hold[];
  /** Absent where the daemon is older. */
  held?: { hold: Hold; by: string | null; since: string; why: string }[];
  wanted: Split | null;
  seen: Seen | null;
  unconfirmed_nodes: string[];
  timers: { analysed_seconds: number; in_phase_seconds: number; unseen_seconds: number; quiet_seconds: number };
  assessment: Assessment | null;
  last_compared: { weight_percent: number; assessment: Assessment } | null;
  /** Absent where nothing is known of them. */
  instances?: { ready: number; listed: number; least: number; by: "router" | "metrics"; overridden?: boolean };
  /** The recent ones are of the last 15 minutes; absent where the daemon is older. */
  restarts?: {
    canary: number;
    baseline: number;
    canary_recent?: number;
    baseline_recent?: number;
    canary_instances?: number;
    baseline_instances?: number;
  };
  waiting_for: WaitingFor | null;
  reason: { code: string; sentence: string } | null;
  gates?: Gates;
  superseded_by: string | null;
  supersedes: string | null;
  revision: number;
  created_at: string;
  created_by: string;
  phase_since: string;
  ended_at: string | null;
}

export interface Gate {
  name: string;
  kind: string;
  status: "waiting" | "running" | "open" | "refused" | "lost";
  detail: string;
  by: string | null;
  at: string | null;
  during: boolean;
  waited_seconds: number;
  deadline_seconds: number | null;
  at_deadline: string;
  point_of_no_return: boolean;
  approvals: { by: string; teams: string[]; at: string; reason: string | null }[];
}

export interface Gates {
  before: string | null;
  items: Gate[];
  no_return: string | null;
  insisted_by: string | null;
}

export interface LogLine {
  seq: number;
  at: string;
  kind: string;
  by: string | null;
  sentence: string;
}

export type Numbers = (number | null)[];

/** Of what an arm shows: a share, a rate (of the whole traffic, an instance, another event), or the query's own. */
export type Unit = "percent" | "seconds" | "value" | "per_second" | "per_instance_second" | "each";

export interface SeriesMetric {
  name: string;
  kind: string;
  unit: Unit;
  canary: { requests: Numbers; value: Numbers; low: Numbers; high: Numbers };
  baseline: { requests: Numbers; value: Numbers; low: Numbers; high: Numbers };
  ratio: { low: Numbers; estimate: Numbers; high: Numbers };
  ln_harm: Numbers;
  ln_no_harm: Numbers;
  ln_bound_harm: number | null;
  ln_bound_no_harm: number | null;
  latency: LatencyCounts | null;
}

export interface LatencyCounts {
  le: (number | null)[];
  canary: number[];
  baseline: number[];
  canary_quantiles: Quantile[];
  baseline_quantiles: Quantile[];
}

export interface Series {
  rollout: string;
  from: string | null;
  to: string | null;
  times: number[];
  step: Numbers;
  wanted_percent: Numbers;
  seen_percent: Numbers;
  /** Over all metrics: the decision is made on this one. */
  ln_harm_combined?: Numbers;
  metrics: SeriesMetric[];
}

export interface ReportStep {
  index: number;
  weight_percent: number;
  from: string;
  to: string | null;
  seconds: number;
  outcome: string;
  sentence: string | null;
}

export interface Report {
  rollout: Rollout;
  verdict: string;
  sentence: string;
  duration_seconds: number;
  steps: ReportStep[];
  decisions: LogLine[];
  log: LogLine[];
  alerts: unknown[];
  post_mortem: string | null;
}

export interface Node {
  id: string;
  connected: boolean;
  confirmed: boolean;
  generation: number;
  last_seen: string;
  refused: string | null;
}

export interface Target {
  name: string;
  configured: boolean;
  router: string | null;
  provider: string | null;
  route: string | null;
  stable_version: string | null;
  wanted: Split;
  generation: number;
  seen: Seen | null;
  nodes: Node[];
  unconfirmed_nodes: string[];
  active_rollout: string | null;
  revision: number;
}

export interface Token {
  name: string;
  role: string;
  services: string[];
  state: "active" | "expired" | "revoked";
  created_at: string;
  created_by: string;
  expires_at: string | null;
  revoked_at: string | null;
}

/** A new token: the only answer that ever has its text. */
export interface NewToken extends Token {
  token: string;
}

export interface AuditLine {
  id: number;
  at: string;
  by: string | null;
  via: string;
  from: string;
  action: string;
  subject: string;
  result: string;
  status: number;
}

/** A notice for one channel that was given up, or is on its way. */
export interface OutboxEntry {
  id: number;
  channel: string;
  queue: string;
  state: "dead" | "pending" | "running";
  key: string;
  kind: string;
  rollout: string;
  target: string;
  sentence: string;
  attempts: number;
  since: string;
  detail?: string | null;
}
