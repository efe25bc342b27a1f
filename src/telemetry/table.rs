//! Every metric of Serin's own: name, kind, labels and what it says. Dashboards and alerts are tested
//! against this table.

/// What kind of metric it is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Kind {
    /// Only rises.
    Counter,
    /// Goes up and down.
    Gauge,
    /// A distribution in buckets; the bounds are in the metric's unit.
    Histogram(&'static [f64]),
}

/// One metric of Serin's own.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Definition {
    /// Its name: `serin_`, what, the base unit, and `_total` for counters.
    pub name: &'static str,
    /// Its kind.
    pub kind: Kind,
    /// What it says, in a sentence.
    pub help: &'static str,
    /// Its labels.
    pub labels: &'static [&'static str],
}

const fn definition(
    name: &'static str,
    kind: Kind,
    labels: &'static [&'static str],
    help: &'static str,
) -> Definition {
    Definition { name, kind, help, labels }
}

const SHORT: Kind =
    Kind::Histogram(&[0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0]);
const LONG: Kind =
    Kind::Histogram(&[0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0]);
const SERVICE: &[&str] = &["service"];
const SERVICE_POLICY: &[&str] = &["service", "policy"];

/// The version that runs.
pub const BUILD_INFO: Definition =
    definition("serin_build_info", Kind::Gauge, &["version"], "Always 1; the label says which version runs.");
/// Looks at the metrics.
pub const TICKS: Definition =
    definition("serin_ticks_total", Kind::Counter, SERVICE_POLICY, "Looks at a rollout's metrics.");
/// How long looks take.
pub const TICK_DURATION: Definition = definition(
    "serin_tick_duration_seconds",
    SHORT,
    SERVICE_POLICY,
    "Time from the start of a look to its commit.",
);
/// Decisions.
pub const DECISIONS: Definition = definition(
    "serin_decisions_total",
    Kind::Counter,
    &["service", "policy", "decision"],
    "Decisions by kind: start, advance, promote, roll_back, hold, succeed, cancel, fail.",
);
/// Readings that gave nothing.
pub const COLLECT_FAULTS: Definition = definition(
    "serin_collect_faults_total",
    Kind::Counter,
    &["service", "policy", "reason"],
    "Readings of an arm that gave no data, by reason.",
);
/// Splits that could not be applied.
pub const SPLIT_APPLY_FAULTS: Definition = definition(
    "serin_split_apply_faults_total",
    Kind::Counter,
    SERVICE,
    "Attempts to set a split that the router did not take.",
);
/// From wanting a split to seeing it.
pub const SPLIT_CONFIRM: Definition = definition(
    "serin_split_confirm_seconds",
    LONG,
    SERVICE,
    "Time from wanting a split until the data plane was seen to have it.",
);
/// From deciding on a rollback to seeing weight 0.
pub const ROLLBACK_CONFIRM: Definition = definition(
    "serin_rollback_confirm_seconds",
    LONG,
    SERVICE,
    "Time from the decision to roll back until the data plane was seen to have the canary at 0.",
);
/// Rollouts that are not at an end.
pub const ROLLOUTS_ACTIVE: Definition = definition(
    "serin_rollouts_active",
    Kind::Gauge,
    &["phase"],
    "Rollouts that are not at an end, by phase.",
);
/// Notices on their way.
pub const OUTBOX_PENDING: Definition =
    definition("serin_outbox_pending", Kind::Gauge, &[], "Notices that are not delivered yet.");
/// Notices given up.
pub const OUTBOX_DEAD: Definition =
    definition("serin_outbox_dead", Kind::Gauge, &[], "Notices that were given up after the last attempt.");
/// The oldest notice on its way.
pub const OUTBOX_OLDEST: Definition = definition(
    "serin_outbox_oldest_age_seconds",
    Kind::Gauge,
    &[],
    "How long the oldest notice that is not delivered could have been; 0 for those that wait for their time.",
);
/// Whether the configuration in the file is the one that runs.
pub const CONFIG_RELOAD_OK: Definition = definition(
    "serin_config_last_reload_successful",
    Kind::Gauge,
    &[],
    "1 if the configuration file was valid when it was last read, 0 if the configuration before it stays in force.",
);
/// When a valid configuration was last read.
pub const CONFIG_RELOAD_TIME: Definition = definition(
    "serin_config_last_reload_success_timestamp_seconds",
    Kind::Gauge,
    &[],
    "When a valid configuration was last read, in Unix seconds.",
);
/// How often the configuration was read.
pub const CONFIG_RELOADS: Definition = definition(
    "serin_config_reloads_total",
    Kind::Counter,
    &["result"],
    "Reloads of the configuration, by result: success or failure.",
);
/// Faults of the store.
pub const STORE_FAULTS: Definition = definition(
    "serin_store_faults_total",
    Kind::Counter,
    &["kind"],
    "Faults of the store: conflict, unavailable, corrupt.",
);
/// Whether the store takes writes.
pub const STORE_WRITABLE: Definition = definition(
    "serin_store_writable",
    Kind::Gauge,
    &[],
    "1 while the store takes writes, 0 while no exposure may rise for want of it.",
);
/// Requests at the API.
pub const HTTP_REQUESTS: Definition = definition(
    "serin_http_requests_total",
    Kind::Counter,
    &["route", "method", "status"],
    "Requests at Serin's own HTTP interface.",
);
/// How long requests at the API take.
pub const HTTP_DURATION: Definition = definition(
    "serin_http_request_duration_seconds",
    SHORT,
    &["route", "method"],
    "Time from a request's headers to its answer.",
);

/// Whether Serin can do its work.
pub const READY: Definition = definition(
    "serin_ready",
    Kind::Gauge,
    &[],
    "1 while the stored state is loaded and the store takes writes, as /readyz says; else 0.",
);
/// When decisions were made.
pub const DECISION_TIME: Definition = definition(
    "serin_decision_timestamp_seconds",
    Kind::Gauge,
    &["service", "policy", "decision"],
    "When the last decision of each kind was made by this process, in seconds since the epoch.",
);
/// How long providers take.
pub const PROVIDER_DURATION: Definition = definition(
    "serin_provider_duration_seconds",
    LONG,
    &["provider"],
    "Time that a provider took to answer everything that one look asks for.",
);
/// Looks at which a provider did not do its work.
pub const PROVIDER_FAULTS: Definition = definition(
    "serin_provider_faults_total",
    Kind::Counter,
    &["provider", "reason"],
    "Looks at which a provider gave no answer or no usable one, by reason; missing series are not among them.",
);
/// How long routers take.
pub const ROUTER_DURATION: Definition = definition(
    "serin_router_duration_seconds",
    LONG,
    &["router", "call"],
    "Time that a router took, by call: observe, apply.",
);
/// Calls that a router did not answer well.
pub const ROUTER_FAULTS: Definition = definition(
    "serin_router_faults_total",
    Kind::Counter,
    &["router", "call"],
    "Calls that a router refused or did not answer, by call: observe, apply.",
);
/// How long commits take.
pub const COMMIT_DURATION: Definition = definition(
    "serin_store_commit_duration_seconds",
    SHORT,
    &[],
    "Time that the store took for one commit of a rollout.",
);
/// What became of notices.
pub const NOTICES: Definition = definition(
    "serin_notices_total",
    Kind::Counter,
    &["channel", "outcome"],
    "Tries to deliver a notice, by channel and outcome: delivered, retried, given_up.",
);

// What is there only while a target or its rollout is: see `current`.

/// Wanted and seen weight.
pub const TARGET_WEIGHT: Definition = definition(
    "serin_target_canary_weight_ratio",
    Kind::Gauge,
    &["service", "split"],
    "Share of the traffic that goes to the canary, in [0, 1], by split: wanted, seen.",
);
/// Whether the wanted split is what the data plane does.
pub const TARGET_IN_FORCE: Definition = definition(
    "serin_target_split_in_force",
    Kind::Gauge,
    SERVICE,
    "1 while the last look at the router showed the wanted split, else 0; absent while Serin does not steer.",
);
/// Proxies on an older split.
pub const TARGET_PROXIES_BEHIND: Definition = definition(
    "serin_target_proxies_behind",
    Kind::Gauge,
    SERVICE,
    "Proxies that may still follow an older split.",
);
/// What is released.
pub const ROLLOUT_INFO: Definition = definition(
    "serin_rollout_info",
    Kind::Gauge,
    &["service", "policy", "version", "stable_version", "phase"],
    "Always 1; the labels say what is released on the target, under which policy, and in which phase it is.",
);
/// The phase as a number.
pub const ROLLOUT_PHASE: Definition = definition(
    "serin_rollout_phase_number",
    Kind::Gauge,
    SERVICE,
    "The phase: 1 scheduled, 2 preflight, 3 preparing, 4 progressing, 5 finalizing, 6 baking, 7 rolling_back, \
     8 verifying.",
);
/// The step.
pub const ROLLOUT_STEP: Definition = definition(
    "serin_rollout_step",
    Kind::Gauge,
    SERVICE,
    "The step of the policy that the rollout is at, from 1; absent before the first and during a rollback.",
);
/// How many steps there are.
pub const ROLLOUT_STEPS: Definition =
    definition("serin_rollout_steps", Kind::Gauge, SERVICE, "How many steps the rollout's policy has.");
/// When it was asked for.
pub const ROLLOUT_CREATED: Definition = definition(
    "serin_rollout_created_timestamp_seconds",
    Kind::Gauge,
    SERVICE,
    "When the rollout was asked for, in seconds since the epoch.",
);
/// When its metrics were looked at.
pub const ROLLOUT_LAST_TICK: Definition = definition(
    "serin_rollout_last_tick_timestamp_seconds",
    Kind::Gauge,
    SERVICE,
    "When the last look at the metrics was stored, in seconds since the epoch; before the first one, when \
     the rollout was asked for.",
);
/// How often its metrics are to be looked at.
pub const ROLLOUT_INTERVAL: Definition = definition(
    "serin_rollout_interval_seconds",
    Kind::Gauge,
    SERVICE,
    "How far apart the looks at the metrics are by the policy.",
);
/// How much was analysed.
pub const ROLLOUT_ANALYSED: Definition = definition(
    "serin_rollout_analysed_seconds",
    Kind::Gauge,
    SERVICE,
    "Time analysed in the current step or bake.",
);
/// How much further time is expected.
pub const ROLLOUT_REMAINING: Definition = definition(
    "serin_rollout_remaining_seconds",
    Kind::Gauge,
    SERVICE,
    "Expected further time until every metric is not worse, at this traffic; absent where that is not known.",
);
/// How long nothing was seen.
pub const ROLLOUT_BLIND: Definition = definition(
    "serin_rollout_blind_seconds",
    Kind::Gauge,
    SERVICE,
    "For how long there has been no data of either arm; 0 while there is.",
);
/// How long the canary was not seen.
pub const ROLLOUT_SILENT: Definition = definition(
    "serin_rollout_silent_seconds",
    Kind::Gauge,
    SERVICE,
    "For how long there has been no data of the canary while the baseline is seen; 0 while there is.",
);
/// Why it does not advance.
pub const ROLLOUT_HOLD: Definition = definition(
    "serin_rollout_hold",
    Kind::Gauge,
    &["service", "hold"],
    "1 while the rollout is held for this reason: user, drift, blind, window, gate, plan, both_bad, \
     guardrail, freeze, no_return, alert, no_traffic, traffic_share, restarts, stable_small, \
     not_ready; else 0.",
);
/// Evidence of each metric.
pub const ROLLOUT_EVIDENCE: Definition = definition(
    "serin_rollout_evidence_ln",
    Kind::Gauge,
    &["service", "metric", "claim"],
    "Natural logarithm of a metric's evidence, by claim: harm (the canary is worse), no_harm (it is not).",
);
/// Evidence of all metrics together.
pub const ROLLOUT_COMBINED: Definition = definition(
    "serin_rollout_combined_evidence_ln",
    Kind::Gauge,
    &["service", "lane"],
    "Natural logarithm of the evidence of harm of all metrics together, by lane: all, catastrophe.",
);
/// What evidence is held against.
pub const ROLLOUT_BOUND: Definition = definition(
    "serin_rollout_bound_ln",
    Kind::Gauge,
    &["service", "claim"],
    "Natural logarithm of the bound that evidence is held against, by claim: harm, no_harm.",
);
/// Canary over baseline.
pub const ROLLOUT_RATIO: Definition = definition(
    "serin_rollout_canary_to_baseline_ratio",
    Kind::Gauge,
    &["service", "metric", "end"],
    "Canary over baseline in this step, with its 95% interval, by end: low, estimate, high.",
);
/// Bad shares.
pub const ROLLOUT_SHARE: Definition = definition(
    "serin_rollout_bad_share_ratio",
    Kind::Gauge,
    &["service", "metric", "arm"],
    "Share of bad requests of an arm in this step, in [0, 1]; of a latency the share above the bound that \
     is looked at.",
);
/// Values that are no shares.
pub const ROLLOUT_VALUE: Definition = definition(
    "serin_rollout_arm_value",
    Kind::Gauge,
    &["service", "metric", "arm"],
    "Value of an arm in this step, of a rate, mean or saturation, in the metric's own unit.",
);
/// Latency quantiles.
pub const ROLLOUT_QUANTILE: Definition = definition(
    "serin_rollout_latency_quantile_seconds",
    Kind::Gauge,
    &["service", "metric", "arm", "quantile", "end"],
    "Latency quantile of an arm in this step, with its 95% interval, by end: low, estimate, high.",
);
/// Requests in the step.
pub const ROLLOUT_REQUESTS: Definition = definition(
    "serin_rollout_arm_requests",
    Kind::Gauge,
    &["service", "metric", "arm"],
    "Requests of an arm that the tests have used in this step.",
);
/// Verdicts.
pub const ROLLOUT_VERDICT: Definition = definition(
    "serin_rollout_verdict",
    Kind::Gauge,
    &["service", "metric"],
    "The verdict of a metric: 0 no data, 1 undecided, 2 not worse, 3 worse.",
);
/// Guardrails.
pub const ROLLOUT_GUARDRAIL: Definition = definition(
    "serin_rollout_guardrail_status",
    Kind::Gauge,
    &["service", "guardrail"],
    "Where a guardrail stands: 0 no data, 1 clear, 2 breaching, 3 both arms breach, 4 fired.",
);

/// Every metric of Serin's own.
pub const METRICS: &[Definition] = &[
    BUILD_INFO,
    TICKS,
    TICK_DURATION,
    DECISIONS,
    COLLECT_FAULTS,
    SPLIT_APPLY_FAULTS,
    SPLIT_CONFIRM,
    ROLLBACK_CONFIRM,
    ROLLOUTS_ACTIVE,
    OUTBOX_PENDING,
    OUTBOX_DEAD,
    OUTBOX_OLDEST,
    CONFIG_RELOAD_OK,
    CONFIG_RELOAD_TIME,
    CONFIG_RELOADS,
    STORE_FAULTS,
    STORE_WRITABLE,
    HTTP_REQUESTS,
    HTTP_DURATION,
    READY,
    DECISION_TIME,
    PROVIDER_DURATION,
    PROVIDER_FAULTS,
    ROUTER_DURATION,
    ROUTER_FAULTS,
    COMMIT_DURATION,
    NOTICES,
    TARGET_WEIGHT,
    TARGET_IN_FORCE,
    TARGET_PROXIES_BEHIND,
    ROLLOUT_INFO,
    ROLLOUT_PHASE,
    ROLLOUT_STEP,
    ROLLOUT_STEPS,
    ROLLOUT_CREATED,
    ROLLOUT_LAST_TICK,
    ROLLOUT_INTERVAL,
    ROLLOUT_ANALYSED,
    ROLLOUT_REMAINING,
    ROLLOUT_BLIND,
    ROLLOUT_SILENT,
    ROLLOUT_HOLD,
    ROLLOUT_EVIDENCE,
    ROLLOUT_COMBINED,
    ROLLOUT_BOUND,
    ROLLOUT_RATIO,
    ROLLOUT_SHARE,
    ROLLOUT_VALUE,
    ROLLOUT_QUANTILE,
    ROLLOUT_REQUESTS,
    ROLLOUT_VERDICT,
    ROLLOUT_GUARDRAIL,
];

/// What became of a reload, for [`CONFIG_RELOADS`].
pub const RELOAD_WORDS: &[&str] = &["success", "failure"];
/// Kinds of decisions, for [`DECISIONS`].
pub const DECISION_WORDS: &[&str] =
    &["start", "advance", "promote", "roll_back", "hold", "succeed", "cancel", "fail"];
/// Reasons for which a provider's answer is its own fault, for [`PROVIDER_FAULTS`].
pub const PROVIDER_FAULT_WORDS: &[&str] =
    &["unreachable", "timeout", "status", "refused", "malformed", "wrong_type", "partial", "too_large"];
/// Reasons for which a reading gave nothing, for [`COLLECT_FAULTS`].
pub const COLLECT_FAULT_WORDS: &[&str] = &[
    "unreachable",
    "timeout",
    "status",
    "refused",
    "malformed",
    "wrong_type",
    "partial",
    "empty",
    "stale",
    "not_finite",
    "many_series",
    "too_large",
    "both_arms",
    "bounds_differ",
];
/// Calls to a router, for [`ROUTER_FAULTS`].
pub const ROUTER_CALL_WORDS: &[&str] = &["observe", "apply"];
/// What became of a notice, for [`NOTICES`].
pub const NOTICE_WORDS: &[&str] = &["delivered", "retried", "given_up"];
/// Faults of the store, for [`STORE_FAULTS`].
pub const STORE_FAULT_WORDS: &[&str] = &["conflict", "unavailable", "corrupt"];
