//! What a rollout waits for, in a sentence.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::gates::{GateView, GatesView};
use crate::core::judge::{Assessment, MetricAssessment, Verdict};
use crate::core::policy::{LimitOutcome, Step};
use crate::core::rollout::{Held, Hold, Phase, Rollout, Stage};
use crate::core::target::{Proxies, Target};
use crate::core::words::{duration, list};

/// What a rollout waits for.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct WaitingFor {
    /// Of what kind.
    pub on: Awaited,
    /// The sentence.
    pub sentence: String,
    /// How long it will probably take, where that can be told.
    pub remaining_seconds: Option<f64>,
}

/// What can be waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Awaited {
    /// The target, which another rollout has.
    Target,
    /// The provider, or one arm's series.
    Data,
    /// Requests at the canary.
    Traffic,
    /// The router or its proxies.
    Proxy,
    /// What runs behind the roles.
    Workload,
    /// A duration that is fixed.
    Time,
    /// The tests.
    Evidence,
    /// Both arms, or a guardrail, to be healthy again.
    Health,
    /// Somebody to say how it goes on.
    Person,
    /// A gate.
    Gate,
    /// A deployment window, or the end of a freeze.
    Window,
}

fn waiting(on: Awaited, sentence: impl Into<String>) -> WaitingFor {
    WaitingFor { on, sentence: sentence.into(), remaining_seconds: None }
}

fn within(on: Awaited, remaining: Duration, sentence: impl Into<String>) -> WaitingFor {
    WaitingFor { on, sentence: sentence.into(), remaining_seconds: Some(remaining.as_secs_f64()) }
}

/// What the rollout waits for; `None` at an end. `target` is what is stored of its target.
pub(super) fn waiting_for(rollout: &Rollout, target: Option<&Target>) -> Option<WaitingFor> {
    let mine = target.filter(|target| target.active.as_ref() == Some(&rollout.id));
    Some(match &rollout.phase {
        Phase::Succeeded | Phase::RolledBack { .. } | Phase::Cancelled { .. } | Phase::Failed { .. } => {
            return None;
        }
        Phase::Scheduled => scheduled(rollout, target),
        Phase::RollingBack { .. } => rolling_back(rollout, mine),
        Phase::Finalizing => match mine {
            Some(target) if target.in_force(Proxies::Reachable) => {
                waiting(Awaited::Workload, "Waiting for the new version to become the stable one.")
            }
            _ => proxies(mine, "100%"),
        },
        Phase::Verifying { .. } => waiting(Awaited::Time, "Waiting for the service to be as it was before."),
        _ if !rollout.holds.is_empty() => held(rollout),
        Phase::Preflight => preflight(rollout),
        Phase::Preparing { .. } => {
            waiting(Awaited::Workload, "Waiting for the canary to be ready for the step's traffic.")
        }
        Phase::Progressing { step, stage } => match (stage, rollout.policy.steps.get(*step)) {
            (Stage::Settling, Some(step)) => proxies(mine, &step.weight.to_string()),
            (Stage::Analysing { .. }, Some(step)) => analysing(rollout, step),
            (_, None) => waiting(Awaited::Time, "Waiting for the next look."),
        },
        Phase::Baking => {
            let left = rollout.policy.bake.duration.saturating_sub(rollout.timers.analysed);
            within(
                Awaited::Time,
                left,
                format!("Waiting for the end of the bake at 100%: {} left.", duration(left)),
            )
        }
    })
}

fn scheduled(rollout: &Rollout, target: Option<&Target>) -> WaitingFor {
    let other = target.and_then(|target| target.active.as_ref()).filter(|active| **active != rollout.id);
    match other {
        Some(other) => waiting(
            Awaited::Target,
            format!("Waiting for the target {}, which rollout {other} has.", rollout.target),
        ),
        None => waiting(Awaited::Target, format!("Waiting for the target {}.", rollout.target)),
    }
}

fn preflight(rollout: &Rollout) -> WaitingFor {
    let blind = rollout.timers.blind;
    if blind > Duration::ZERO {
        return waiting(
            Awaited::Data,
            format!("Waiting for data of the baseline: none for {}.", duration(blind)),
        );
    }
    waiting(Awaited::Data, "Waiting for data of the baseline, before any traffic is moved.")
}

fn rolling_back(rollout: &Rollout, mine: Option<&Target>) -> WaitingFor {
    if let (Some(staged), Some(now)) = (rollout.stable.staged, rollout.stable.now) {
        let sentence = format!(
            "Waiting for servers of stable: {} of {} are up, too few for all requests. The canary keeps {} until more \
             are; `rollback` takes it back at once.",
            now.up, now.all, staged.weight
        );
        return waiting(Awaited::Traffic, sentence);
    }
    match mine {
        Some(target) if target.in_force(Proxies::All) => waiting(
            Awaited::Traffic,
            format!(
                "Waiting for the canary's last requests: its weight is 0, and it has been quiet for {} of {}.",
                duration(rollout.timers.quiet),
                duration(rollout.quiet_needed(target))
            ),
        ),
        _ => proxies(mine, "the canary at 0%"),
    }
}

/// The split is wanted and not seen.
fn proxies(mine: Option<&Target>, what: &str) -> WaitingFor {
    let nodes = mine.map(Target::unconfirmed_nodes).unwrap_or_default();
    let all = mine.map_or(0, |target| target.nodes.len());
    if nodes.is_empty() {
        return waiting(Awaited::Proxy, format!("Waiting for the router to show {what}."));
    }
    let mut names: Vec<String> = nodes.iter().take(3).map(|name| (*name).to_owned()).collect();
    if nodes.len() > 3 {
        names.push(format!("{} more", nodes.len() - 3));
    }
    waiting(
        Awaited::Proxy,
        format!("Waiting for {} of {all} proxies to confirm {what}: {}.", nodes.len(), list(&names)),
    )
}

/// A hold keeps it where it is. What a person must do comes before what mends itself.
fn held(rollout: &Rollout) -> WaitingFor {
    let has = |hold: Hold| rollout.holds.contains(&hold);
    if has(Hold::NoReturn) {
        let sentence = "Waiting for a person: it is past its point of no return and would be rolled back; `rollback` \
                        goes back, `resume` goes on.";
        return waiting(Awaited::Person, sentence);
    }
    if has(Hold::StableSmall) {
        let sentence = match rollout.stable.now {
            Some(servers) => format!(
                "Waiting for servers of stable: {} of {} are up, too few for a rollback.",
                servers.up, servers.all
            ),
            None => {
                "Waiting for stable: nothing shows that it is there, so a rollback may have nothing to go to."
                    .to_owned()
            }
        };
        return waiting(Awaited::Health, sentence);
    }
    if has(Hold::Drift) {
        let sentence = "Waiting for a person: somebody has lowered the canary's weight at the router; `resume` \
                        wants the step's weight again.";
        return waiting(Awaited::Person, sentence);
    }
    if has(Hold::User) {
        return waiting(Awaited::Person, paused(rollout));
    }
    if has(Hold::Plan) {
        let sentence = "Waiting for a person, or for evidence: the step has lasted its maximum and nothing is \
                        proven; `advance` goes on, `rollback` goes back.";
        return waiting(Awaited::Person, sentence);
    }
    if has(Hold::NotReady) {
        let short = rollout.data.readiness.short().unwrap_or_else(|| "too few are ready".to_owned());
        let sentence = format!(
            "Waiting for instances: {short}; `advance --override --reason ...` goes on without them."
        );
        return waiting(Awaited::Workload, sentence);
    }
    if has(Hold::Blind) {
        return waiting(Awaited::Data, missing(rollout));
    }
    if has(Hold::NoTraffic) {
        let sentence = format!(
            "Waiting for traffic: the canary has all of it and has had no request for {}; look at its health and \
             its routes.",
            duration(rollout.timers.unrequested)
        );
        return waiting(Awaited::Traffic, sentence);
    }
    if has(Hold::TrafficShare) {
        let sentence = "Waiting for the canary's share of the requests to be near its weight; `resume` begins to measure \
                        it anew.";
        return waiting(Awaited::Traffic, sentence);
    }
    if has(Hold::Restarts) {
        let sentence = "Waiting for a person: all of the canary's processes were replaced three times in this step; \
                        `resume` goes on, `rollback` goes back.";
        return waiting(Awaited::Person, sentence);
    }
    if has(Hold::BothBad) {
        let sentence =
            "Waiting for both arms to be healthy again: both are bad, so it is not the canary alone.";
        return waiting(Awaited::Health, sentence);
    }
    if has(Hold::Guardrail) {
        return waiting(Awaited::Health, "Waiting for a guardrail to clear.");
    }
    if has(Hold::Alert) {
        let sentence =
            "Waiting for an alert to end that had fired before the canary got traffic; `resume` goes on.";
        return waiting(Awaited::Health, sentence);
    }
    if has(Hold::Gate) {
        return gates(rollout);
    }
    if has(Hold::Freeze) {
        return waiting(Awaited::Window, "Waiting for the end of the freeze.");
    }
    if rollout.gates.states.is_empty() {
        return waiting(Awaited::Window, "Waiting for the deployment window.");
    }
    WaitingFor { on: Awaited::Window, ..gates(rollout) }
}

/// Which data is missing: the whole of it, or the metric and the arm.
fn missing(rollout: &Rollout) -> String {
    if rollout.timers.blind > Duration::ZERO {
        return format!(
            "Waiting for data: neither arm has been seen for {}.",
            duration(rollout.timers.blind)
        );
    }
    let arms = rollout.data.missing.iter().flat_map(|(metric, missing)| {
        [("canary", missing.canary), ("baseline", missing.baseline)].map(|(arm, time)| (metric, arm, time))
    });
    match arms.max_by_key(|(_, _, time)| *time) {
        Some((metric, arm, time)) if time > Duration::ZERO => {
            format!(
                "Waiting for data: metric {metric} of the {arm} has had no reading for {}.",
                duration(time)
            )
        }
        _ => "Waiting for data: nothing could be compared lately.".to_owned(),
    }
}

/// Who paused it, since when and why.
fn paused(rollout: &Rollout) -> String {
    let one = |held: &Held| {
        let by = held.by.as_deref().unwrap_or("somebody");
        format!("paused by {by} at {} ({})", held.at, held.why.trim_end_matches('.'))
    };
    let all: Vec<String> = rollout.held_by(Hold::User).map(one).collect();
    let what = if all.is_empty() { "it is paused".to_owned() } else { list(&all) };
    format!(
        "Waiting for a person: {what}. It is still monitored and can still roll back; `resume` lets it go on."
    )
}

/// Which gates have not said yes, what they last said, and the nearest deadline.
fn gates(rollout: &Rollout) -> WaitingFor {
    let view = GatesView::new(rollout);
    let closed: Vec<&GateView> = view.items.iter().filter(|gate| gate.status != "open").collect();
    if closed.is_empty() {
        return waiting(Awaited::Gate, "Waiting for a gate to say yes.");
    }
    let said: Vec<String> = closed.iter().map(|gate| format!("{} ({})", gate.name, gate.detail)).collect();
    let before = view.before.map(|before| format!(" before {before}")).unwrap_or_default();
    let left = closed.iter().filter_map(|gate| Some(gate.deadline_seconds? - gate.waited_seconds));
    WaitingFor {
        remaining_seconds: left.filter(|left| *left > 0.0).min_by(f64::total_cmp),
        ..waiting(Awaited::Gate, format!("Waiting for the gates to say yes{before}: {}.", said.join("; ")))
    }
}

fn analysing(rollout: &Rollout, step: &Step) -> WaitingFor {
    if let Some(missing) = missing_data(rollout) {
        return missing;
    }
    let (analysis, timers) = (&rollout.policy.analysis, &rollout.timers);
    let warming = analysis.warm_up.saturating_sub(timers.in_phase);
    if warming > Duration::ZERO && timers.analysed.is_zero() {
        let sentence = format!("Waiting for the end of the warm-up: {} left.", duration(warming));
        return within(Awaited::Time, warming, sentence);
    }
    let Some(last) = rollout.last.as_ref().filter(|last| !last.metrics.is_empty()) else {
        return waiting(Awaited::Data, "Waiting for the first counts of both arms.");
    };
    let left = step.min.saturating_sub(timers.analysed);
    let open: Vec<&MetricAssessment> =
        last.metrics.iter().filter(|metric| metric.verdict != Verdict::NotWorse).collect();
    let requests = last.requests().into_iter().min().unwrap_or(0);
    match (open.is_empty(), left.is_zero()) {
        (false, _) => unproven(last, &open, left, rollout.undecided_until()),
        (true, false) => within(
            Awaited::Time,
            left,
            format!(
                "Waiting for the step's minimum duration: {} of analysed time left; no metric is worse.",
                duration(left)
            ),
        ),
        (true, true) if requests < step.min_requests => waiting(
            Awaited::Traffic,
            format!("Waiting for traffic: {requests} of {} requests of each arm.", step.min_requests),
        ),
        (true, true) => waiting(Awaited::Time, "Waiting for the next look: no metric is worse."),
    }
}

fn missing_data(rollout: &Rollout) -> Option<WaitingFor> {
    let (analysis, timers) = (&rollout.policy.analysis, &rollout.timers);
    if timers.silent > Duration::ZERO {
        let then = match analysis.silent.then {
            LimitOutcome::RollBack => "it is rolled back",
            LimitOutcome::Hold => "it is held",
        };
        return Some(waiting(
            Awaited::Data,
            format!(
                "Waiting for data of the canary: none for {} while the baseline is seen; after {} {then}.",
                duration(timers.silent),
                duration(analysis.silent.after)
            ),
        ));
    }
    (timers.blind > Duration::ZERO).then(|| {
        waiting(
            Awaited::Data,
            format!("Waiting for data: neither arm has been seen for {}.", duration(timers.blind)),
        )
    })
}

fn unproven(
    last: &Assessment,
    open: &[&MetricAssessment],
    left: Duration,
    undecided_until: Option<Duration>,
) -> WaitingFor {
    let names = |verdict: Option<Verdict>| -> Vec<String> {
        open.iter()
            .filter(|metric| verdict.is_none_or(|verdict| metric.verdict == verdict))
            .map(|metric| metric.name.clone())
            .collect()
    };
    let unseen = names(Some(Verdict::NoData));
    if !unseen.is_empty() {
        if open.iter().all(|metric| metric.canary_requests == 0 && metric.baseline_requests > 0) {
            let sentence = "Waiting for traffic: the canary has had no request that counts in this step.";
            return waiting(Awaited::Traffic, sentence);
        }
        return waiting(Awaited::Data, format!("Waiting for data of {}.", list(&unseen)));
    }
    let all = names(None);
    let claim = format!("Waiting for evidence of no harm in {}", list(&all));
    match (last.remaining, undecided_until) {
        (Some(remaining), Some(until_max)) => {
            let sentence = format!(
                "{claim}: about {} at this traffic, so it will not be decided within this step's maximum, which \
                 is in {}.",
                duration(remaining),
                duration(until_max)
            );
            // What comes first is the maximum.
            within(Awaited::Evidence, until_max, sentence)
        }
        (Some(remaining), None) if remaining >= left => {
            let sentence = format!("{claim}: about {} at this traffic.", duration(remaining));
            within(Awaited::Evidence, remaining, sentence)
        }
        (Some(remaining), None) => {
            let sentence = format!(
                "{claim}: about {} at this traffic, and {} until the step's minimum duration.",
                duration(remaining),
                duration(left)
            );
            within(Awaited::Evidence, left, sentence)
        }
        (None, _) => {
            waiting(Awaited::Evidence, format!("{claim}; too early to estimate how long that takes."))
        }
    }
}
