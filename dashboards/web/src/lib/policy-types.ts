// Policies and plans, as the daemon answers with them: src/contract/plan.rs and src/montecarlo/plan.rs.

import type { StepPlan } from "./types";

export interface PolicyMetric {
  name: string;
  kind: string;
  bad_means: string;
  tolerance: number;
  harm_floor_percent: number;
  no_harm_floor_percent: number;
  direction: string;
  source: { type: string; [key: string]: unknown };
}

export interface PolicyGuardrail {
  name: string;
  signal: { type: string; metric?: string; quantile?: number; query?: string };
  limit: { type: "absolute" | "ratio_to_baseline" | "difference_to_baseline"; value: number };
  breach: "above" | "below";
  hold_for_seconds: number;
  over_seconds: number;
  min_requests: number;
  severity: string;
  action: string;
  regardless_of_baseline: boolean;
}

export interface Policy {
  name: string;
  version: string;
  description: string;
  mode: "act" | "observe";
  steps: StepPlan[];
  interval_seconds: number;
  lag_seconds: number;
  warm_up_seconds: number;
  false_rollback_rate: number;
  no_harm_alpha: number;
  dispersion: number;
  blind_after_seconds: number;
  blind_then: string;
  silent_after_seconds: number;
  silent_then: string;
  confirm_within_seconds: number;
  metrics: PolicyMetric[];
  guardrails: PolicyGuardrail[];
  bake_seconds: number;
}

export interface ShareOfRuns {
  count: number;
  share: number;
  low: number;
  high: number;
}

export interface Times {
  median_seconds: number | null;
  p90_seconds: number | null;
}

export interface Plan {
  policy: string;
  requests_per_second: number;
  error_rate: number;
  latency_median_seconds: number;
  latency_sigma: number;
  latency_assumed: boolean;
  dispersion: number;
  runs: number;
  steps: {
    weight_percent: number;
    min_seconds: number;
    max_seconds: number;
    harmless_advances: ShareOfRuns;
    advance: Times;
    metrics: {
      metric: string;
      latency: boolean;
      smallest_found: number | null;
      found: { factor: number; found: ShareOfRuns; advanced: ShareOfRuns; time: Times }[];
    }[];
    warnings: string[];
  }[];
}
