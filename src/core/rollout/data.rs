//! What is done about missing data: holds that name the metric, the arm and the reason.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::Rollout;
use super::door::ready::Readiness;
use super::restarts::RestartState;
use super::trailing::ShareState;
use crate::core::policy::LimitOutcome;
use crate::core::reason::{Reason, ReasonCode};
use crate::core::source::MetricSource;
use crate::core::words::duration;

/// A canary that should have had so many requests and had none is silent, whatever its metrics say.
const MISSING_REQUESTS: f64 = 50.0;
/// Silence and blindness last at least so many sample spacings.
const SPACINGS: u32 = 3;
/// What is known of the data that a rollout is judged on.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct DataState {
    /// The time between two samples of the canary, as learned from their own times.
    pub canary_spacing: Option<Duration>,
    /// The same of the baseline.
    pub baseline_spacing: Option<Duration>,
    /// The canary has requests under way, by the policy's query.
    pub has_active: bool,
    /// The longest request that was seen, by the highest bucket that had any.
    pub longest_request: Duration,
    /// Requests a second of both arms in the last step that was compared.
    pub per_second: Option<f64>,
    /// By metric: what is missing of it.
    pub missing: BTreeMap<String, Missing>,
    /// Metrics whose selectors of bad requests have matched a series in this rollout.
    pub bad_seen: BTreeSet<String>,
    /// Metrics whose selectors match no bad requests of the baseline now.
    pub bad_absent: BTreeSet<String>,
    /// What was told once: by metric and arm.
    pub told: BTreeSet<String>,
    /// By arm: for how long half of its metrics pages or more could not be read.
    pub unread: BTreeMap<String, Duration>,
    /// How many of the canary's listed instances are ready.
    pub readiness: Readiness,
    /// The canary's share of the requests.
    pub share: ShareState,
    /// Restarts of the arms' processes.
    pub restarts: RestartState,
}

/// For how long a metric has had no reading.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Missing {
    /// Of the canary.
    pub canary: Duration,
    /// Of the baseline.
    pub baseline: Duration,
    /// Nothing was compared for so long, whatever the arms show one by one.
    pub unconsumed: Duration,
}

impl Rollout {
    /// The longer of the arms' learned sample spacings; zero where none is known.
    pub fn spacing(&self) -> Duration {
        self.data.canary_spacing.max(self.data.baseline_spacing).unwrap_or_default()
    }

    /// How long the canary may be silent: the policy's time, three sample spacings, and one long request.
    pub fn silent_after(&self) -> Duration {
        let patience = self.policy.analysis.silent.after.max(self.data.longest_request);
        let spacing = self.data.canary_spacing.or(self.data.baseline_spacing).unwrap_or_default();
        patience.max(spacing * SPACINGS)
    }

    /// How long nothing may be seen: the policy's time and three sample spacings.
    pub fn blind_after(&self) -> Duration {
        self.policy.analysis.blind.after.max(self.spacing() * SPACINGS)
    }

    /// A reading that is missing for so long is told.
    pub(super) fn missing_after(&self) -> Duration {
        let soon = (self.policy.analysis.interval * 3).max(self.spacing() * SPACINGS);
        soon.min(self.blind_after())
    }
}

/// A selector of bad requests that has never matched anything, in either arm or in the recorded past: either
/// there were none, or it is wrong, and only a person knows.
pub(super) fn never_matched(rollout: &Rollout) -> Option<String> {
    let known = |name: &str| {
        let past = rollout.history.as_ref().and_then(|history| history.metrics.get(name));
        past.and_then(|past| past.requests).is_some_and(|[bad, _]| bad > 0)
    };
    let metric = rollout.policy.metrics.iter().find(|metric| {
        let name = metric.name.as_str();
        let absent = rollout.data.bad_absent.contains(name) && !rollout.data.bad_seen.contains(name);
        absent && !metric.absent_is_zero && !known(name)
    })?;
    let MetricSource::Proportion { bad, .. } = &metric.source else { return None };
    let selectors: Vec<String> = bad.iter().map(ToString::to_string).collect();
    Some(format!(
        "metric {}: no series matches the selector of its bad requests ({}), in either arm or in the recorded \
         past. If there have been none so far, say `absent: zero` in the policy's metric; else correct the selector.",
        metric.name,
        selectors.join(", ")
    ))
}

/// The canary's own data is missing, or it has no requests where it should have many.
pub(super) fn silent(rollout: &Rollout) -> Option<Reason> {
    let limit = rollout.policy.analysis.silent;
    let timers = &rollout.timers;
    let proven = timers.missing_requests == 0.0 || timers.missing_requests >= MISSING_REQUESTS;
    if timers.silent < rollout.silent_after() || !proven || limit.then == LimitOutcome::Hold {
        return None;
    }
    let sentence = if timers.missing_requests > 0.0 {
        format!(
            "the canary has shown no request for {} though about {:.0} were sent to it.",
            duration(timers.silent),
            timers.missing_requests
        )
    } else {
        format!(
            "the canary's own metrics have been missing for {} while the baseline's are seen.",
            duration(timers.silent)
        )
    };
    Some(Reason::new(ReasonCode::Silent, sentence))
}

/// Before a step is left: how much traffic both arms had in it.
pub(super) fn keep_traffic(rollout: &mut Rollout) {
    let seconds = rollout.timers.analysed.as_secs_f64();
    let requests = rollout.last.as_ref().map_or([0, 0], |last| last.requests());
    let all = requests[0].saturating_add(requests[1]);
    if seconds > 0.0 && all > 0 {
        rollout.data.per_second = Some(all as f64 / seconds);
    }
}
