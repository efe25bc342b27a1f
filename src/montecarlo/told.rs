//! What a rollout on made-up traffic did besides advancing: what rolled it back, what held it, and the
//! rules that the rollout has beside its judge.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::share::ShareTrail;
use crate::core::judge::{Assessment, GuardrailAssessment, GuardrailStatus};
use crate::core::limit::Severity;
use crate::core::metric::TickObservation;
use crate::core::policy::{GuardrailAction, LimitOutcome, Policy};

/// A canary without requests is taken for dead only where at least so many were to be expected.
const MISSING_REQUESTS: f64 = 50.0;
/// The judge's name for the share of the requests.
const SHARE: &str = "traffic-share";

/// What rolled a canary back.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum By {
    /// The tests.
    Tests,
    /// The catastrophe lane.
    Lane,
    /// The policy's guardrail of this name.
    Guardrail(String),
    /// Both arms broke a critical limit after a change of the weights.
    BothBroke,
    /// The canary had no requests where many were to be expected.
    Silent,
    /// Nothing was proven, and the step's maximum says so.
    AtMaximum,
}

impl By {
    /// The first guardrail of an assessment that has fired.
    pub(super) fn fired(assessment: &Assessment) -> By {
        let fired = assessment.guardrails.iter().find(|guardrail| {
            guardrail.status == GuardrailStatus::Fired && guardrail.action == GuardrailAction::RollBack
        });
        fired.map_or(By::Tests, |guardrail| By::Guardrail(guardrail.name.clone()))
    }

    /// The name in tables: `tests`, `lane`, `both_broke`, …; a guardrail's own.
    pub fn name(&self) -> &str {
        match self {
            By::Tests => "tests",
            By::Lane => "lane",
            By::Guardrail(name) => name,
            By::BothBroke => "both_broke",
            By::Silent => "silent",
            By::AtMaximum => "at_maximum",
        }
    }
}

/// What was told of one rollout.
#[derive(Clone, Debug, PartialEq)]
pub struct Told {
    /// What rolled it back, if something did.
    pub by: Option<By>,
    /// The kinds of holds that there were, by their stable names: `both_bad`, `guardrail`,
    /// `traffic_share`, `at_maximum`.
    pub holds: BTreeSet<&'static str>,
    /// The guardrails that told somebody and did no more.
    pub alerts: BTreeSet<String>,
    /// By guardrail: the baseline was within it when the step began.
    was_healthy: BTreeMap<String, bool>,
    /// The same at the last tick.
    healthy: BTreeMap<String, bool>,
    /// For how long the canary has had no request, and how many it should have had.
    silent: (Duration, f64),
    share: ShareTrail,
}

impl Told {
    /// Nothing yet. Preflight has seen that the baseline is healthy.
    pub(super) fn new(policy: &Policy) -> Told {
        let healthy: BTreeMap<String, bool> =
            policy.guardrails.iter().map(|guardrail| (guardrail.name.clone(), true)).collect();
        Told {
            by: None,
            holds: BTreeSet::new(),
            alerts: BTreeSet::new(),
            was_healthy: healthy.clone(),
            healthy,
            silent: (Duration::ZERO, 0.0),
            share: ShareTrail::default(),
        }
    }

    /// A step begins.
    pub(super) fn enter(&mut self) {
        self.was_healthy.clone_from(&self.healthy);
        self.silent = (Duration::ZERO, 0.0);
        self.share = ShareTrail::default();
    }

    /// A rule beside the judge has rolled the canary back.
    pub(super) fn rolls_back(&self) -> bool {
        self.by.is_some()
    }

    pub(super) fn rolled_back(&mut self, by: By) {
        self.by = Some(by);
    }

    pub(super) fn hold_at_maximum(&mut self) {
        self.holds.insert("at_maximum");
    }

    /// Takes in a tick at which the judge does not roll back.
    pub(super) fn take(
        &mut self,
        policy: &Policy,
        tick: &TickObservation,
        guardrails: &[GuardrailAssessment],
        length: Duration,
    ) {
        for guardrail in guardrails {
            if let Some(healthy) = guardrail.baseline_healthy
                && let Some(last) = self.healthy.get_mut(&guardrail.name)
            {
                *last = healthy;
            }
            self.take_one(guardrail);
        }
        let share = policy.analysis.traffic_share;
        if self.share.is_beyond(policy, tick) && share.is_some_and(|s| s.action != GuardrailAction::Alert) {
            self.holds.insert("traffic_share");
        }
        self.take_silence(policy, tick, length);
    }

    fn take_one(&mut self, guardrail: &GuardrailAssessment) {
        match (guardrail.status, guardrail.action) {
            // Watched over a trailing time instead.
            _ if guardrail.name == SHARE => {}
            (GuardrailStatus::Fired, GuardrailAction::Hold) => {
                self.holds.insert("guardrail");
            }
            (GuardrailStatus::Fired, GuardrailAction::Alert) if !self.alerts.contains(&guardrail.name) => {
                self.alerts.insert(guardrail.name.clone());
            }
            (GuardrailStatus::BothBreach, GuardrailAction::RollBack)
                if guardrail.severity == Severity::Critical
                    && self.was_healthy.get(&guardrail.name) == Some(&true) =>
            {
                self.by = Some(By::BothBroke);
            }
            (GuardrailStatus::BothBreach, action) if action != GuardrailAction::Alert => {
                self.holds.insert("both_bad");
            }
            _ => {}
        }
    }

    fn take_silence(&mut self, policy: &Policy, tick: &TickObservation, length: Duration) {
        let requests = |reading: &crate::core::metric::Reading<crate::core::metric::Counts>| {
            reading.as_ref().ok().and_then(crate::core::metric::Counts::requests)
        };
        let seen =
            tick.metrics.iter().find_map(|seen| Some([requests(&seen.canary)?, requests(&seen.baseline)?]));
        let Some([canary, baseline]) = seen else { return };
        if canary > 0 {
            self.silent = (Duration::ZERO, 0.0);
            return;
        }
        let weight = tick.weight.share();
        let expected = if weight < 1.0 { baseline as f64 * weight / (1.0 - weight) } else { 0.0 };
        let (time, missing) = &mut self.silent;
        *time += length;
        *missing += expected;
        let limit = policy.analysis.silent;
        if *time >= limit.after && *missing >= MISSING_REQUESTS && limit.then != LimitOutcome::Hold {
            self.by = Some(By::Silent);
        }
    }
}
