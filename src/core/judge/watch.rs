//! Checks that stand beside the comparison of the arms and are told as guardrails: whether the canary
//! gets the share of the requests that was set, and, at 100%, whether a metric keeps an absolute limit.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::assessment::{GuardrailAssessment, GuardrailStatus};
use super::comparison::Tally;
use super::words::{count, odds, percent};
use crate::core::metric::{Counts, Reading, TickObservation, Usage};
use crate::core::policy::{BakeLimit, GuardrailAction, Policy, Severity, TrafficShare};
use crate::core::target::Weight;
use crate::stats::mixture::Mixture;
use crate::stats::proportion::HARM;
use crate::stats::share::ShareTest;
use crate::stats::special::ln;

/// The name under which the traffic share is told.
pub(super) const SHARE: &str = "traffic-share";
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

    /// Takes in one tick. `None` where the policy does not ask for it.
    pub fn take(&mut self, policy: &Policy, tick: &TickObservation) -> Option<GuardrailAssessment> {
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
        Some(self.told(expected, margin, action, ln_e))
    }

    fn told(&self, expected: f64, margin: f64, action: GuardrailAction, ln_e: f64) -> GuardrailAssessment {
        let (canary, rest) = self.test.requests();
        let share = Tally::new(canary, canary.saturating_add(rest)).share();
        let status = match share {
            _ if self.fired => GuardrailStatus::Fired,
            Some(_) => GuardrailStatus::Clear,
            None => GuardrailStatus::NoData,
        };
        let shown = share.map_or_else(|| "no requests".to_owned(), percent);
        GuardrailAssessment {
            name: SHARE.to_owned(),
            status,
            canary: share,
            baseline: Some(expected).filter(|_| share.is_some()),
            breaching_for: Duration::ZERO,
            baseline_healthy: Some(true),
            action,
            severity: Severity::High,
            sentence: format!(
                "{SHARE}: the canary has {shown} of both arms' requests ({} of {}), by the weights it should \
                 be {} ± {} of that; odds {}, bound {}.",
                count(canary),
                count(canary.saturating_add(rest)),
                percent(expected),
                percent(margin),
                odds(ln_e),
                odds(-ln(SHARE_ALPHA)),
            ),
        }
    }
}

/// One metric at 100% against an absolute limit:
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
}

impl LimitWatch {
    pub fn new() -> LimitWatch {
        LimitWatch { evidence: Mixture::new(HARM.len(), 1.0), seen: Tally::default() }
    }

    /// Takes in one tick; `dispersion` tempers as in the comparison of the arms.
    pub fn take(
        &mut self,
        limit: &BakeLimit,
        dispersion: f64,
        ln_bound: f64,
        tick: &TickObservation,
    ) -> GuardrailAssessment {
        let seen = tick.metrics.iter().find(|seen| seen.metric == limit.metric);
        let baking = seen.filter(|seen| seen.usage == Usage::Baking);
        if let Some(Ok(Counts::Proportion { total, bad })) = baking.map(|seen| &seen.canary) {
            let tally = Tally::new(*bad, *total);
            self.seen.add(tally);
            let increments = HARM.against_limit(tally.bad as f64, tally.total as f64, limit.above);
            self.evidence.multiply(&increments.map(|increment| increment / dispersion));
        }
        let ln_e = self.evidence.ln_e(0.0);
        let share = self.seen.share();
        let status = match share {
            None => GuardrailStatus::NoData,
            Some(_) if ln_e >= ln_bound => GuardrailStatus::Fired,
            Some(_) => GuardrailStatus::Clear,
        };
        let shown = share.map_or_else(|| "no requests".to_owned(), percent);
        GuardrailAssessment {
            name: format!("{}-at-100%", limit.metric),
            status,
            canary: share,
            baseline: None,
            breaching_for: Duration::ZERO,
            baseline_healthy: Some(true),
            action: limit.action,
            severity: Severity::Critical,
            sentence: format!(
                "{}: {shown} ({} of {}) at 100%, where no baseline is left; the policy's limit is {}; odds \
                 against keeping it {}, bound {}.",
                limit.metric,
                count(self.seen.bad),
                count(self.seen.total),
                percent(limit.above),
                odds(ln_e),
                odds(ln_bound),
            ),
        }
    }
}
