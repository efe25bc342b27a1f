//! Guardrails: limits that must be breached for a time. All windows count, used by the tests or not.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::assessment::{GuardrailAssessment, GuardrailStatus};
use super::explain;
use super::trailing::{Fresh, Trailing};
use crate::core::limit::{Breach, GuardrailLimit};
use crate::core::metric::{MetricObservation, NoData, Reading, TickObservation, Usage};
use crate::core::policy::{Guardrail, Signal};
use crate::core::words::count;

/// The running state of one guardrail.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct GuardrailState {
    trailing: Trailing,
    canary: ArmState,
    baseline: ArmState,
    status: GuardrailStatus,
    /// Of windows that are not consumed yet: how much of the canary's was taken for its breach.
    #[serde(default, skip_serializing_if = "Duration::is_zero")]
    ahead: Duration,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
struct ArmState {
    /// How long it has been breaching; `None` if it is not.
    breaching: Option<Duration>,
    /// A query's last value, for at most the guardrail's `over`.
    queried: Option<Queried>,
}

#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
struct Queried {
    value: f64,
    age: Duration,
}

/// What a tick showed of a guardrail.
struct Look {
    fresh: Fresh,
    /// Nothing is wrong, there is only nothing new.
    waiting: bool,
    /// Of canary and baseline.
    values: [Option<f64>; 2],
    /// How much of `fresh` the canary's breach has counted already.
    counted: Duration,
}

/// The smallest share that can be seen.
#[derive(Clone, Copy)]
struct Rare {
    share: f64,
    /// It is one of so many.
    requests: u64,
}

impl GuardrailState {
    pub fn new() -> GuardrailState {
        GuardrailState {
            trailing: Trailing::default(),
            canary: ArmState::default(),
            baseline: ArmState::default(),
            status: GuardrailStatus::NoData,
            ahead: Duration::ZERO,
        }
    }

    /// Takes in one tick. `passed` is the time since the last one, for queries; the sentence is there if it
    /// is `told`.
    pub fn take(
        &mut self,
        guardrail: &Guardrail,
        tick: &TickObservation,
        passed: Duration,
        told: bool,
    ) -> GuardrailAssessment {
        let look = self.look(guardrail, tick, passed);
        let [canary, baseline] = look.values;
        let counts_as = self.rare(guardrail).filter(|rare| baseline.is_some_and(|share| share < rare.share));
        let limit = limit(guardrail, counts_as.map_or(baseline, |rare| Some(rare.share)));
        let absolute = matches!(guardrail.limit, GuardrailLimit::Absolute(_));
        let breaches = |value: f64, limit: f64| match guardrail.breach {
            Breach::Above => value > limit,
            Breach::Below => value < limit,
        };
        let canary_breach = canary.zip(limit).map(|(value, limit)| breaches(value, limit));
        // Against its own value the baseline cannot breach.
        let baseline_breach =
            baseline.zip(limit).filter(|_| absolute).map(|(value, limit)| breaches(value, limit));

        let first = match guardrail.signal {
            // A window that breaches has breached over its length; a query's value is of one moment.
            Signal::Query { .. } => Duration::ZERO,
            _ => look.fresh.length,
        };
        let new = |length: Duration| length.saturating_sub(look.counted);
        self.canary.update(canary_breach.filter(|_| look.fresh.canary), new(first), new(look.fresh.length));
        self.baseline.update(baseline_breach.filter(|_| look.fresh.baseline), first, look.fresh.length);
        self.status = self.next_status(guardrail, &look, canary_breach, baseline_breach);

        let mut assessment = GuardrailAssessment {
            name: guardrail.name.clone(),
            status: self.status,
            canary,
            baseline,
            breaching_for: self.canary.breaching.unwrap_or_default(),
            baseline_healthy: baseline_breach.map(|breach| !breach),
            action: guardrail.action,
            severity: guardrail.severity,
            sentence: String::new(),
        };
        if !told {
            return assessment;
        }
        assessment.sentence = explain::guardrail(guardrail, &assessment, limit);
        if let Some(rare) = counts_as {
            let requests = count(rare.requests);
            assessment.sentence += &format!(" The baseline counts as one bad request in {requests}.");
        }
        assessment
    }

    /// The smallest share of bad requests that both arms could show; for limits that are a multiple of
    /// the baseline's rate.
    ///
    /// Without it a baseline without a bad request would make the limit 0, and one error of the canary
    /// would break it; so would one in a canary of a twentieth of the traffic where the baseline had one.
    /// So the baseline counts as at least one bad request in as many as the smaller arm had.
    fn rare(&self, guardrail: &Guardrail) -> Option<Rare> {
        let fits = matches!(guardrail.signal, Signal::Rate { .. })
            && matches!(guardrail.limit, GuardrailLimit::RatioToBaseline(_))
            && guardrail.breach == Breach::Above;
        let [canary, baseline] = self.trailing.requests();
        let requests = canary.min(baseline);
        (fits && requests > 0).then(|| Rare { share: 1.0 / requests as f64, requests })
    }

    fn look(&mut self, guardrail: &Guardrail, tick: &TickObservation, passed: Duration) -> Look {
        let nothing =
            Look { fresh: Fresh::default(), waiting: false, values: [None, None], counted: Duration::ZERO };
        match &guardrail.signal {
            Signal::Rate { metric } | Signal::Mean { metric } | Signal::Quantile { metric, .. } => {
                let seen = tick.metrics.iter().find(|seen| seen.metric == *metric);
                let waits = |seen: &MetricObservation| {
                    seen.canary == Err(NoData::Waiting) || (seen.usage.is_pending() && seen.canary.is_ok())
                };
                let mut look = Look { waiting: seen.is_some_and(waits), ..nothing };
                if let Some(seen) = seen.filter(|seen| !seen.usage.is_pending()) {
                    look.fresh = self.trailing.take(&guardrail.signal, guardrail.over, seen);
                    look.counted = std::mem::take(&mut self.ahead);
                }
                look.values = self.trailing.values(&guardrail.signal, guardrail.min_requests);
                // Against an old value of the baseline nothing new of the canary says anything.
                let absolute = matches!(guardrail.limit, GuardrailLimit::Absolute(_));
                if let Some(seen) = seen.filter(|seen| seen.usage == Usage::Ahead && absolute) {
                    let length = seen.window.map_or(Duration::ZERO, |window| window.length());
                    look.fresh = Fresh { canary: true, baseline: false, length };
                    look.counted = self.ahead.min(length);
                    self.ahead = length;
                    look.values[0] =
                        self.trailing.canary_with(&guardrail.signal, guardrail.min_requests, &seen.canary);
                }
                look
            }
            Signal::Query { .. } => {
                let seen = tick.values.iter().find(|seen| seen.guardrail == guardrail.name);
                let over = guardrail.over;
                let canary = self.canary.query(seen.map(|seen| &seen.canary), passed, over);
                let baseline = self.baseline.query(seen.map(|seen| &seen.baseline), passed, over);
                Look {
                    fresh: Fresh { canary, baseline, length: passed },
                    waiting: seen.is_some_and(|seen| seen.canary == Err(NoData::Waiting)),
                    values: [self.canary.queried, self.baseline.queried].map(|q| q.map(|q| q.value)),
                    counted: Duration::ZERO,
                }
            }
        }
    }

    fn next_status(
        &self,
        guardrail: &Guardrail,
        look: &Look,
        canary_breach: Option<bool>,
        baseline_breach: Option<bool>,
    ) -> GuardrailStatus {
        if !look.fresh.canary || canary_breach.is_none() {
            // Nothing to go by: a breach that was seen stands, and nothing is cleared.
            let stands = self.canary.breaching.is_some() || (look.waiting && !look.fresh.canary);
            return if stands { self.status } else { GuardrailStatus::NoData };
        }
        let long_enough = |arm: &ArmState| arm.breaching.is_some_and(|time| time >= guardrail.hold_for);
        // Where the canary is read ahead of the baseline, the baseline may be about to show the same: what is
        // ahead counts only once it is longer than the limit's own time.
        let ahead = self.ahead.min(guardrail.hold_for);
        let known = |time: Duration| time.saturating_sub(ahead) >= guardrail.hold_for;
        if self.canary.breaching.is_none() {
            GuardrailStatus::Clear
        } else if !self.canary.breaching.is_some_and(known) {
            GuardrailStatus::Breaching
        } else if guardrail.regardless_of_baseline || baseline_breach != Some(true) {
            GuardrailStatus::Fired
        } else if long_enough(&self.baseline) {
            GuardrailStatus::BothBreach
        } else {
            // The baseline has only just followed: not the canary's doing alone, and not yet both's.
            GuardrailStatus::Breaching
        }
    }
}

impl ArmState {
    /// `breach` is `None` where there is nothing new, which neither clears nor extends.
    fn update(&mut self, breach: Option<bool>, first: Duration, further: Duration) {
        match breach {
            Some(true) => {
                self.breaching = Some(self.breaching.map_or(first, |time| time.saturating_add(further)));
            }
            Some(false) => self.breaching = None,
            None => {}
        }
    }

    /// Whether there is a new value.
    fn query(&mut self, reading: Option<&Reading<f64>>, passed: Duration, over: Duration) -> bool {
        match reading {
            Some(Ok(value)) if value.is_finite() => {
                self.queried = Some(Queried { value: *value, age: Duration::ZERO });
                true
            }
            _ => {
                self.queried = self
                    .queried
                    .map(|last| Queried { age: last.age.saturating_add(passed), ..last })
                    .filter(|last| last.age <= over);
                false
            }
        }
    }
}

/// The limit in the signal's unit, by what the baseline counts as; `None` where it needs a value of the baseline that is not there.
fn limit(guardrail: &Guardrail, baseline: Option<f64>) -> Option<f64> {
    match guardrail.limit {
        GuardrailLimit::Absolute(limit) => Some(limit),
        GuardrailLimit::RatioToBaseline(factor) => baseline.map(|value| value * factor),
        GuardrailLimit::DifferenceToBaseline(difference) => baseline.map(|value| match guardrail.breach {
            Breach::Above => value + difference.abs(),
            Breach::Below => value - difference.abs(),
        }),
    }
}
