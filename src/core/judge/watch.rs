//! Checks that stand beside the comparison of the arms and are told as guardrails: whether the canary
//! gets the share of the requests that was set, and, at 100%, whether a metric keeps an absolute limit.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::assessment::{GuardrailAssessment, GuardrailStatus};
use super::comparison::Tally;
use super::history::History;
use crate::core::limit::Severity;
use crate::core::metric::{Counts, Reading, TickObservation, Usage};
use crate::core::policy::{BakeBound, BakeLimit, Policy, TrafficShare};
use crate::core::split::Weight;
use crate::core::words::{count, odds, percent, times};
use crate::stats::mixture::Mixture;
use crate::stats::proportion::HARM;
use crate::stats::share::ShareTest;
use crate::stats::special::ln;

/// The name under which the traffic share is told.
pub(in crate::core) const SHARE: &str = "traffic-share";
/// α of the traffic share. It only holds and alerts, and must hardly ever do so for nothing.
const SHARE_ALPHA: f64 = 0.000_1;

/// The traffic share in one step.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct ShareWatch {
    test: ShareTest,
    seen: Duration,
    longest: Duration,
    fired: bool,
}

impl ShareWatch {
    pub fn new() -> ShareWatch {
        ShareWatch { test: ShareTest::new(1.0), seen: Duration::ZERO, longest: Duration::ZERO, fired: false }
    }

    /// A step begins.
    pub fn enter_step(&mut self) {
        *self = ShareWatch::new();
    }

    /// Takes in one tick. `None` where the policy does not ask for it; the sentence is there if it is `told`.
    pub fn take(
        &mut self,
        policy: &Policy,
        tick: &TickObservation,
        told: bool,
    ) -> Option<GuardrailAssessment> {
        let TrafficShare { margin, action } = policy.analysis.traffic_share?;
        let both = f64::from(tick.weight.0) + f64::from(tick.baseline_weight.0);
        let is_split = tick.weight > Weight::ZERO && tick.baseline_weight > Weight::ZERO;
        let expected = if is_split { f64::from(tick.weight.0) / both } else { 0.0 };
        let requests = |reading: &Reading<Counts>| reading.as_ref().ok().and_then(Counts::requests);
        let seen = tick.metrics.iter().find_map(|metric| {
            let arms = (requests(&metric.canary)?, requests(&metric.baseline)?);
            (metric.usage == Usage::Used).then_some((arms, metric.window?.length()))
        });
        if let Some(((canary, baseline), length)) = seen.filter(|_| is_split) {
            self.test.take(canary, baseline);
            self.seen = self.seen.saturating_add(length);
            self.longest = self.longest.max(length);
        }
        // The arms are scraped at different moments, so their counts may cover times that differ by up to
        // a window, once in a step.
        let skew = self.longest.as_secs_f64() / self.seen.as_secs_f64().max(f64::MIN_POSITIVE);
        let ln_e = if is_split { self.test.ln_e(expected, margin + skew) } else { 0.0 };
        self.fired |= ln_e >= -ln(SHARE_ALPHA);
        let share = self.share();
        let status = match share {
            _ if self.fired => GuardrailStatus::Fired,
            Some(_) => GuardrailStatus::Clear,
            None => GuardrailStatus::NoData,
        };
        Some(GuardrailAssessment {
            name: SHARE.to_owned(),
            status,
            canary: share,
            baseline: Some(expected).filter(|_| share.is_some()),
            breaching_for: Duration::ZERO,
            baseline_healthy: Some(true),
            action,
            severity: Severity::High,
            sentence: if told { self.sentence(expected, margin, ln_e) } else { String::new() },
        })
    }

    fn share(&self) -> Option<f64> {
        let (canary, rest) = self.test.requests();
        Tally::new(canary, canary.saturating_add(rest)).share()
    }

    fn sentence(&self, expected: f64, margin: f64, ln_e: f64) -> String {
        let (canary, rest) = self.test.requests();
        let shown = self.share().map_or_else(|| "no requests".to_owned(), percent);
        format!(
            "{SHARE}: the canary has {shown} of both arms' requests ({} of {}), by the weights it should be {} ± {} of \
             that; odds {}, bound {}.",
            count(canary),
            count(canary.saturating_add(rest)),
            percent(expected),
            percent(margin),
            odds(ln_e),
            odds(-ln(SHARE_ALPHA)),
        )
    }
}

/// One metric at 100% against a limit p_max, which is absolute or comes from the time before the rollout:
/// ```text
/// ln E = x ln g − N·p_max(g − 1)
/// ```
/// mixed over g, is an e-process as long as the bad share is at most p_max, since
/// E\[g^x\] ≤ exp(N p (g − 1)). There is no baseline that could excuse a bad share, so it is outside the
/// false-rollback budget.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct LimitWatch {
    evidence: Mixture,
    seen: Tally,
    /// p_max; `None` where nothing is known of the time before.
    highest: Option<f64>,
    /// Bad and all requests before the rollout, where those set the limit.
    before: Option<[u64; 2]>,
}

impl LimitWatch {
    pub fn new(limit: &BakeLimit, policy: &Policy, history: Option<&History>) -> LimitWatch {
        let past = history.and_then(|history| history.metrics.get(&limit.metric));
        let (highest, before) = match limit.limit {
            BakeBound::Above(share) => (Some(share), None),
            BakeBound::TimesBefore(times) => {
                let dispersion = past.map_or(1.0, |past| past.dispersion).max(policy.analysis.dispersion);
                let floor = policy.metric(&limit.metric).map_or(0.0, |metric| metric.harm_floor);
                let highest = past.and_then(|past| past.highest_share(dispersion));
                (highest.map(|share| (share * times + floor).min(0.999)), past.and_then(|past| past.requests))
            }
        };
        LimitWatch { evidence: Mixture::new(HARM.len(), 1.0), seen: Tally::default(), highest, before }
    }

    /// Takes in one tick; `dispersion` tempers as in the comparison of the arms. The sentence is there if it is
    /// `told`.
    pub fn take(
        &mut self,
        limit: &BakeLimit,
        dispersion: f64,
        ln_bound: f64,
        tick: &TickObservation,
        told: bool,
    ) -> GuardrailAssessment {
        let seen = tick.metrics.iter().find(|seen| seen.metric == limit.metric);
        let baking = seen.filter(|seen| seen.usage == Usage::Baking);
        if let Some(Ok(Counts::Proportion { total, bad })) = baking.map(|seen| &seen.canary) {
            let tally = Tally::new(*bad, *total);
            self.seen.add(tally);
            if let Some(highest) = self.highest {
                let increments = HARM.against_limit(tally.bad as f64, tally.total as f64, highest);
                self.evidence.multiply(&increments.map(|increment| increment / dispersion));
            }
        }
        let ln_e = self.evidence.ln_e(0.0);
        let share = self.seen.share();
        let status = match share.and(self.highest) {
            None => GuardrailStatus::NoData,
            Some(_) if ln_e >= ln_bound => GuardrailStatus::Fired,
            Some(_) => GuardrailStatus::Clear,
        };
        GuardrailAssessment {
            name: match limit.limit {
                BakeBound::Above(_) => format!("{}-at-100%", limit.metric),
                BakeBound::TimesBefore(_) => format!("{}-against-before", limit.metric),
            },
            status,
            canary: share,
            baseline: self.before.map(|[bad, all]| bad as f64 / all as f64),
            breaching_for: Duration::ZERO,
            baseline_healthy: Some(true),
            action: limit.action,
            severity: Severity::Critical,
            sentence: if told { self.sentence(limit, ln_e, ln_bound) } else { String::new() },
        }
    }

    fn sentence(&self, limit: &BakeLimit, ln_e: f64, ln_bound: f64) -> String {
        let shown = self.seen.share().map_or_else(|| "no requests".to_owned(), percent);
        let arm =
            format!("{}: {shown} ({} of {})", limit.metric, count(self.seen.bad), count(self.seen.total));
        let evidence = format!("odds against keeping it {}, bound {}", odds(ln_e), odds(ln_bound));
        match (limit.limit, self.before, self.highest) {
            (BakeBound::Above(share), _, _) => format!(
                "{arm} at 100%, where no baseline is left; the policy's limit is {}; {evidence}.",
                percent(share)
            ),
            (BakeBound::TimesBefore(ratio), Some([bad, all]), Some(highest)) => format!(
                "{arm} after the change, against {} ({} of {}) before the rollout; the limit of {} that allows {}; \
                 {evidence}. Before against after: without a guarantee against false rollbacks.",
                percent(bad as f64 / all as f64),
                count(bad),
                count(all),
                times(ratio),
                percent(highest),
            ),
            (BakeBound::TimesBefore(_), _, _) => {
                format!("{arm} after the change; what it was before was not recorded, so there is no limit.")
            }
        }
    }
}
