//! After a way back: the service must come back to what it was before. Until then the incident stays open.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::change::Change;
use super::{EventKind, Phase, Rollout};
use crate::core::incident::IncidentCause;
use crate::core::judge::{Assessment, MetricAssessment};
use crate::core::limit::Severity;
use crate::core::metric::{Counts, Reading, TickObservation};
use crate::core::notice::NoticeKind;
use crate::core::policy::{Direction, Metric, Verify};
use crate::core::reason::Reason;
use crate::core::words::{duration, latency, percent};
use crate::stats::histogram::{share_above, total};

/// What the service has shown since the last time that it was looked at as a whole.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Verification {
    /// By metric: bad (of a latency: above the bound of the comparison) and all requests.
    pub counts: BTreeMap<String, [u64; 2]>,
    /// The time that they cover.
    pub over: Duration,
    /// Looks that showed something of the service, whatever it was compared by.
    #[serde(default)]
    pub looks: u32,
}

/// What a metric of the service was before: its share and, of a latency, the bound that it is above of.
struct Before {
    share: f64,
    bound_seconds: Option<f64>,
}

/// Takes in one look.
pub(super) fn take(change: &mut Change, tick: &TickObservation, assessment: &Assessment, elapsed: Duration) {
    let Phase::Verifying { reason } = change.state.rollout.phase.clone() else { return };
    let Some(verify) = change.state.rollout.policy.verify else { return end(change, reason, true, "") };
    add(&mut change.state.rollout, tick, elapsed);
    let seen = &change.state.rollout.verification;
    if seen.over >= verify.hold_for {
        match missing(&change.state.rollout, &verify, assessment) {
            None => {
                let lasted = duration(change.state.rollout.timers.in_phase);
                return end(
                    change,
                    reason,
                    true,
                    &format!("after {lasted}; {}", shown(&change.state.rollout)),
                );
            }
            Some(_) if change.state.rollout.timers.in_phase < verify.within => {
                change.state.rollout.verification = Verification::default();
            }
            Some(_) => {}
        }
    }
    if change.state.rollout.timers.in_phase >= verify.within {
        let why = missing(&change.state.rollout, &verify, assessment)
            .unwrap_or_else(|| format!("it has not been so for {}", duration(verify.hold_for)));
        end(change, reason, false, &format!("within {}: {why}", duration(verify.within)));
    }
}

fn end(change: &mut Change, reason: Reason, verified: bool, detail: &str) {
    let target = change.state.rollout.target.clone();
    let cause = reason.sentence.clone();
    change.end(Phase::RolledBack { reason });
    if verified {
        let sentence = format!("The rollback is verified: {target} is as it was before, {detail}.");
        change.record(EventKind::Verified, None, sentence.clone());
        let over = change.resolve();
        change.notify_of(NoticeKind::Verified, Severity::High, sentence, over);
    } else {
        let sentence = format!(
            "{target} is not as it was before the release, though the canary is at 0%: {detail}. A person must \
             look."
        );
        change.record(EventKind::Verified, None, sentence.clone());
        change.page_recorded(
            NoticeKind::NotVerified,
            Severity::Critical,
            sentence,
            IncidentCause::NotVerified,
        );
    }
    change.record(EventKind::RolledBack, None, format!("Rolled back. Cause: {cause}"));
}

fn add(rollout: &mut Rollout, tick: &TickObservation, elapsed: Duration) {
    let known: Vec<(String, Before)> = references(rollout);
    let seen = &mut rollout.verification;
    seen.over += elapsed;
    let shows = |reading: &Reading<Counts>| match reading {
        Ok(Counts::Value { .. }) => true,
        Ok(Counts::Rate { events, .. }) => *events > 0,
        Ok(counts) => counts.requests().is_some_and(|requests| requests > 0),
        Err(_) => false,
    };
    if tick.metrics.iter().any(|metric| !metric.usage.is_pending() && shows(&metric.baseline)) {
        seen.looks = seen.looks.saturating_add(1);
    }
    for metric in tick.metrics.iter().filter(|metric| !metric.usage.is_pending()) {
        let Some((_, before)) = known.iter().find(|(name, _)| *name == metric.metric) else { continue };
        let [bad, all] = match (&metric.baseline, before.bound_seconds) {
            (Ok(Counts::Proportion { bad, total }), _) => [*bad, *total],
            (Ok(Counts::Latency { le, counts, .. }), Some(bound)) => {
                let all = total(counts);
                [(share_above(le, counts, bound) * all as f64).round() as u64, all]
            }
            _ => continue,
        };
        let sum = seen.counts.entry(metric.metric.clone()).or_default();
        *sum = [sum[0].saturating_add(bad), sum[1].saturating_add(all)];
    }
}

/// The baseline as it was when the arms were last compared.
fn references(rollout: &Rollout) -> Vec<(String, Before)> {
    let Some(compared) = &rollout.last_compared else { return Vec::new() };
    let before = |found: &MetricAssessment| {
        let before = Before { share: found.baseline_share?, bound_seconds: found.bound_seconds };
        (found.baseline_requests > 0).then(|| (found.name.clone(), before))
    };
    compared.assessment.metrics.iter().filter_map(before).collect()
}

/// Why the service is not as it was; `None` if it is.
fn missing(rollout: &Rollout, verify: &Verify, assessment: &Assessment) -> Option<String> {
    let metrics = &rollout.policy.metrics;
    let broken = assessment.guardrails.iter().find(|guardrail| guardrail.baseline_healthy == Some(false));
    if let Some(guardrail) = broken {
        return Some(format!("the guardrail {} is broken", guardrail.name));
    }
    if rollout.verification.looks == 0 {
        return Some("nothing is seen of the service".to_owned());
    }
    for (name, before) in references(rollout) {
        let Some(metric) = metrics.iter().find(|metric| metric.name == name) else { continue };
        let Some([bad, all]) = rollout.verification.counts.get(&name).filter(|[_, all]| *all > 0) else {
            // No data is never a yes.
            return Some(format!("nothing is seen of {name}"));
        };
        let share = *bad as f64 / *all as f64;
        if !is_back(metric, verify, &before, *bad, *all) {
            let bound = before.bound_seconds.map(|b| format!(" above {}", latency(b))).unwrap_or_default();
            return Some(format!("{name} {}{bound}, before {}", percent(share), percent(before.share)));
        }
    }
    None
}

/// Within the limit, with three standard deviations of a Poisson count to spare.
fn is_back(metric: &Metric, verify: &Verify, before: &Before, bad: u64, all: u64) -> bool {
    let (worse, before) = match metric.direction {
        Direction::LowerIsBetter => (bad, before.share),
        Direction::HigherIsBetter => (all.saturating_sub(bad), 1.0 - before.share),
    };
    let allowed = (before * verify.at_most_times + metric.harm_floor) * all as f64;
    worse as f64 <= allowed + 3.0 * allowed.max(1.0).sqrt()
}

fn shown(rollout: &Rollout) -> String {
    let one = |(name, [bad, all]): (&String, &[u64; 2])| {
        let share = if *all > 0 { *bad as f64 / *all as f64 } else { 0.0 };
        format!("{name} {} ({bad} of {all})", percent(share))
    };
    let all: Vec<String> = rollout.verification.counts.iter().map(one).collect();
    if all.is_empty() { "no metric had been compared".to_owned() } else { all.join(", ") }
}
