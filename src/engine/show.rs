//! What is said of a target and its rollout on the page of own metrics.

use std::collections::BTreeMap;

use super::connections::Connections;
use super::fleet::Fleet;
use super::target::{Actor, Now};
use crate::core::ids::RolloutId;
use crate::core::judge::{Assessment, GuardrailStatus, MetricAssessment, Verdict};
use crate::core::policy::Policy;
use crate::core::rollout::{Hold, PhaseName};
use crate::core::split::Weight;
use crate::core::target::Proxies;
use crate::telemetry::{self, Current};

const QUANTILES: [&str; 4] = ["0.5", "0.9", "0.95", "0.99"];
const ENDS: [&str; 3] = ["low", "estimate", "high"];

/// What is shown of each target.
pub(super) struct Shown {
    /// The rollout whose counters are there, by target.
    rollouts: BTreeMap<String, RolloutId>,
}

impl Shown {
    /// Counters of everything that is configured are there from the start.
    pub fn new(fleet: &Fleet, connections: &Connections) -> Shown {
        fleet.actors().for_each(|actor| telemetry::begin_target(actor.name()));
        begin(connections);
        Shown { rollouts: BTreeMap::new() }
    }

    /// Counters of what is connected now are there too.
    pub fn connected(&self, connections: &Connections) {
        begin(connections);
    }

    /// Says how a target and its rollout are. What a rollout had is gone when it has ended.
    pub fn show(&mut self, actor: &Actor, now: Now) {
        let mut current = Current::new(actor.name());
        target(&mut current, actor);
        rollout(&mut current, actor, now);
        current.publish();
        let active = actor.active();
        if active.map(|rollout| &rollout.id) == self.rollouts.get(actor.name()) {
            return;
        }
        match active {
            Some(rollout) => {
                telemetry::begin_rollout(actor.name(), &rollout.policy.name);
                self.rollouts.insert(actor.name().to_owned(), rollout.id.clone());
            }
            None => drop(self.rollouts.remove(actor.name())),
        }
    }
}

fn begin(connections: &Connections) {
    connections.sources.keys().for_each(|name| telemetry::begin_provider(name));
    connections.routers.keys().for_each(|name| telemetry::begin_router(name));
    connections.notifiers.keys().for_each(|name| telemetry::begin_channel(name));
}

fn rollout(current: &mut Current, actor: &Actor, now: Now) {
    let Some(rollout) = actor.active() else { return };
    let (policy, timers, phase) = (&rollout.policy, &rollout.timers, rollout.phase.name());
    let stable = actor.target().stable_version.as_deref().unwrap_or_default();
    current.add(telemetry::ROLLOUT_INFO, &[&policy.name, &rollout.version, stable, phase], 1.0);
    let place = PhaseName::active().position(|active| active == PhaseName::from(&rollout.phase));
    if let Some(place) = place {
        current.add(telemetry::ROLLOUT_PHASE, &[], place as f64 + 1.0);
    }
    if let Some(step) = rollout.phase.step() {
        current.add(telemetry::ROLLOUT_STEP, &[], step as f64 + 1.0);
    }
    let looked = actor
        .last_tick()
        .map_or(rollout.created_at, |last| now.wall.minus(now.monotonic.saturating_sub(last)));
    let figures = [
        (telemetry::ROLLOUT_STEPS, policy.steps.len() as f64),
        (telemetry::ROLLOUT_CREATED, rollout.created_at.seconds()),
        (telemetry::ROLLOUT_LAST_TICK, looked.seconds()),
        (telemetry::ROLLOUT_INTERVAL, policy.analysis.interval.as_secs_f64()),
        (telemetry::ROLLOUT_ANALYSED, timers.analysed.as_secs_f64()),
        (telemetry::ROLLOUT_BLIND, timers.blind.as_secs_f64()),
        (telemetry::ROLLOUT_SILENT, timers.silent.as_secs_f64()),
    ];
    for (metric, value) in figures {
        current.add(metric, &[], value);
    }
    for hold in Hold::ALL {
        let is_held = rollout.holds.contains(hold);
        current.add(telemetry::ROLLOUT_HOLD, &[hold.name()], f64::from(u8::from(is_held)));
    }
    if let Some(assessment) = &rollout.last {
        judged(current, policy, assessment);
    }
}

fn target(current: &mut Current, actor: &Actor) {
    let target = actor.target();
    current.add(telemetry::TARGET_WEIGHT, &["wanted"], target.wanted.canary.share());
    if let Some(seen) = target.seen {
        current.add(telemetry::TARGET_WEIGHT, &["seen"], seen.split.canary.share());
    }
    current.add(telemetry::TARGET_PROXIES_BEHIND, &[], target.unconfirmed_nodes().len() as f64);
    if actor.steers() {
        let back = target.wanted.canary == Weight::ZERO;
        let in_force = target.in_force(if back { Proxies::All } else { Proxies::Reachable });
        current.add(telemetry::TARGET_IN_FORCE, &[], f64::from(u8::from(in_force)));
    }
}

fn judged(current: &mut Current, policy: &Policy, assessment: &Assessment) {
    current.add(telemetry::ROLLOUT_COMBINED, &["all"], assessment.ln_e_harm);
    current.add(telemetry::ROLLOUT_COMBINED, &["catastrophe"], assessment.ln_e_catastrophe);
    current.add(telemetry::ROLLOUT_BOUND, &["harm"], assessment.ln_bound_harm);
    current.add(telemetry::ROLLOUT_BOUND, &["no_harm"], assessment.ln_bound_no_harm);
    if let Some(remaining) = assessment.remaining {
        current.add(telemetry::ROLLOUT_REMAINING, &[], remaining.as_secs_f64());
    }
    for metric in &assessment.metrics {
        let is_rate = policy.metric(&metric.name).is_some_and(|metric| metric.source.kind() == "rate");
        compared(current, is_rate, metric);
    }
    for guardrail in &assessment.guardrails {
        let status = match guardrail.status {
            GuardrailStatus::NoData => 0.0,
            GuardrailStatus::Clear => 1.0,
            GuardrailStatus::Breaching => 2.0,
            GuardrailStatus::BothBreach => 3.0,
            GuardrailStatus::Fired => 4.0,
        };
        current.add(telemetry::ROLLOUT_GUARDRAIL, &[&guardrail.name], status);
    }
}

fn compared(current: &mut Current, is_rate: bool, metric: &MetricAssessment) {
    let name = metric.name.as_str();
    let verdict = match metric.verdict {
        Verdict::NoData => 0.0,
        Verdict::Undecided => 1.0,
        Verdict::NotWorse => 2.0,
        Verdict::Worse => 3.0,
    };
    current.add(telemetry::ROLLOUT_VERDICT, &[name], verdict);
    current.add(telemetry::ROLLOUT_EVIDENCE, &[name, "harm"], metric.ln_e_harm);
    current.add(telemetry::ROLLOUT_EVIDENCE, &[name, "no_harm"], metric.ln_e_no_harm);
    for (end, value) in ENDS.into_iter().zip(metric.ratio.unwrap_or([f64::NAN; 3])) {
        current.add(telemetry::ROLLOUT_RATIO, &[name, end], value);
    }
    let arms = [
        (
            "canary",
            metric.canary_requests,
            metric.canary_share,
            metric.canary_value,
            &metric.canary_quantiles,
        ),
        (
            "baseline",
            metric.baseline_requests,
            metric.baseline_share,
            metric.baseline_value,
            &metric.baseline_quantiles,
        ),
    ];
    for (arm, requests, share, value, quantiles) in arms {
        // A rate's share is per millionth of its exposure.
        let (share, value) = if is_rate { (None, share.map(|share| share * 1e6)) } else { (share, value) };
        current.add(telemetry::ROLLOUT_REQUESTS, &[name, arm], requests as f64);
        current.add(telemetry::ROLLOUT_SHARE, &[name, arm], share.unwrap_or(f64::NAN));
        current.add(telemetry::ROLLOUT_VALUE, &[name, arm], value.unwrap_or(f64::NAN));
        for (quantile, ends) in QUANTILES.into_iter().zip(quantiles.iter().flatten()) {
            for (end, seconds) in ENDS.into_iter().zip(ends) {
                current.add(telemetry::ROLLOUT_QUANTILE, &[name, arm, quantile, end], *seconds);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(is_rate: bool, metric: &MetricAssessment) -> Vec<String> {
        let mut current = Current::new("shop");
        compared(&mut current, is_rate, metric);
        current.lines().into_iter().map(|line| line.replace("service=\"shop\",", "")).collect()
    }

    fn has(lines: &[String], line: &str) -> bool {
        lines.iter().any(|l| l == line)
    }

    #[test]
    fn the_share_of_a_rate_is_told_in_its_own_unit() {
        let metric = MetricAssessment {
            name: "restarts".to_owned(),
            canary_share: Some(0.000_002),
            ..MetricAssessment::default()
        };
        let rate = said(true, &metric);
        assert!(has(&rate, "serin_rollout_arm_value{metric=\"restarts\",arm=\"canary\"} 2"), "{rate:?}");
        assert!(!rate.iter().any(|line| line.contains("bad_share")), "{rate:?}");
        let share = said(false, &metric);
        let line = "serin_rollout_bad_share_ratio{metric=\"restarts\",arm=\"canary\"} 0.000002";
        assert!(has(&share, line), "{share:?}");
        assert!(!share.iter().any(|line| line.contains("arm_value")), "{share:?}");
    }

    #[test]
    fn what_is_not_known_is_not_told() {
        let nothing = MetricAssessment { name: "errors".to_owned(), ..MetricAssessment::default() };
        let lines = said(false, &nothing);
        assert!(has(&lines, "serin_rollout_verdict{metric=\"errors\"} 0"), "{lines:?}");
        for absent in ["to_baseline", "bad_share", "quantile", "arm_value"] {
            assert!(!lines.iter().any(|line| line.contains(absent)), "{absent}: {lines:?}");
        }
    }

    #[test]
    fn intervals_are_told_end_by_end_and_open_ends_are_left_out() {
        let metric = MetricAssessment {
            name: "latency".to_owned(),
            verdict: Verdict::Worse,
            ratio: Some([1.5, 2.0, f64::INFINITY]),
            baseline_quantiles: Some([[0.25, 0.5, 0.75]; 4]),
            ..MetricAssessment::default()
        };
        let lines = said(false, &metric);
        let quantile = "serin_rollout_latency_quantile_seconds{metric=\"latency\",arm=\"baseline\",\
                        quantile=\"0.99\",end=\"high\"} 0.75";
        for line in [
            "serin_rollout_verdict{metric=\"latency\"} 3",
            "serin_rollout_canary_to_baseline_ratio{metric=\"latency\",end=\"low\"} 1.5",
            quantile,
        ] {
            assert!(has(&lines, line), "{line}: {lines:?}");
        }
        assert!(!lines.iter().any(|line| line.contains("_ratio{") && line.contains("high")), "{lines:?}");
    }
}
