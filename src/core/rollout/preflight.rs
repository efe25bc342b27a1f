//! Before anything rises: the split is as it should be, the arms can be told apart, the baseline is seen
//! and within its guardrails, and the tests can find something at this traffic.

use std::time::Duration;

use super::change::Change;
use super::door::passage::Passage;
use super::door::{self, in_force};
use super::{Ending, EventKind, Hold, Phase, Rollout, data};
use crate::core::gate::Occasion;
use crate::core::judge::Assessment;
use crate::core::limit::Severity;
use crate::core::metric::{MetricObservation, NoData, TickObservation};
use crate::core::notice::NoticeKind;
use crate::core::policy::{GuardrailAction, LimitOutcome, Metric, Mode, Step};
use crate::core::reason::{Reason, ReasonCode};
use crate::core::source::MetricSource;
use crate::core::split::{Split, Weight};
use crate::core::words::{duration, percent, significant};
use crate::stats::block::CALM;
use crate::stats::linear::{Counted, STAKES};
use crate::stats::proportion::Margin;
use crate::stats::special::ln;

/// What a release must be able to be stopped for: bad requests times this.
const WORSE: f64 = 5.0;

/// Takes in one look.
pub(super) fn take(change: &mut Change, tick: &TickObservation, assessment: &Assessment, elapsed: Duration) {
    super::alerts::at_start(change);
    change.state.rollout.timers.unready += elapsed;
    let both_arms = tick.metrics.iter().find_map(|m| match (&m.canary, &m.baseline) {
        (Err(no @ NoData::BothArms(_)), _) | (_, Err(no @ NoData::BothArms(_))) => {
            Some(format!("metric {}: {no}.", m.metric))
        }
        _ => None,
    });
    if let Some(sentence) = both_arms {
        return refuse(change, sentence);
    }
    if !baseline_is_seen(change, tick) {
        return;
    }
    let waited = change.state.rollout.timers.unready;
    let health_known = assessment.guardrails.iter().all(|guardrail| {
        guardrail.baseline_healthy.is_some() || guardrail.action != GuardrailAction::RollBack
    }) || change.state.rollout.timers.in_phase >= patience(&change.state.rollout);
    if let Some(sentence) = data::never_matched(&change.state.rollout) {
        if waited >= change.state.rollout.policy.preflight.within {
            refuse(change, format!("not begun: {sentence}"));
        } else {
            change.hold(Hold::Blind, None, Severity::Medium, sentence);
        }
        return;
    }
    // A proxy that was cut off in an earlier rollout must not block this one until it is forgotten.
    let at_rest = in_force(change)
        && (change.state.rollout.policy.mode == Mode::Observe
            || change.state.target.wanted.canary == Weight::ZERO);
    let within = change.state.rollout.policy.preflight.within;
    if !at_rest && waited >= within {
        let sentence = format!("not begun: the split was not as it should be for {}.", duration(within));
        return refuse(change, sentence);
    }
    if !at_rest || !health_known || !baseline_is_healthy(change, assessment) {
        return;
    }
    if change.state.rollout.policy.preflight.enough_traffic
        && let Some(sentence) = sees_nothing(&change.state.rollout, change.state.target.has_baseline)
    {
        return refuse(change, sentence);
    }
    // A gate may be waited for much longer: one bad look in that time is no refusal.
    change.state.rollout.timers.unready = Duration::ZERO;
    if let Some(passage) = door::ask(change, Occasion::Start) {
        begin(change, &passage);
    }
}

fn refuse(change: &mut Change, sentence: String) {
    let reason = Reason::new(ReasonCode::Preflight, sentence);
    change.roll_back(reason, Ending::Cancelled { superseded_by: None }, None);
}

fn begin(change: &mut Change, passage: &Passage) {
    change.record(
        EventKind::Started,
        None,
        "The baseline is seen and the split is as it should be: the rollout begins.".into(),
    );
    let sentence = {
        let rollout = &change.state.rollout;
        format!("{} begins on {}.", rollout.version, rollout.target)
    };
    change.notify(NoticeKind::Started, Severity::Low, sentence);
    change.state.rollout.phase = Phase::Preparing { step: passage.step().unwrap_or_default() };
    change.state.rollout.phase_since = change.now;
}

/// Whether every metric shows the baseline. Holds, or refuses after the policy's limit, while one does not.
fn baseline_is_seen(change: &mut Change, tick: &TickObservation) -> bool {
    let waited = change.state.rollout.timers.unready;
    let missing = tick.metrics.iter().find_map(|m| {
        let no = m.baseline.as_ref().err().filter(|no| **no != NoData::Waiting)?;
        Some(format!("metric {} shows nothing of the baseline: {no}", m.metric))
    });
    if let Some(missing) = missing {
        let limit = change.state.rollout.policy.analysis.blind;
        if waited > change.state.rollout.policy.analysis.interval * 3 {
            change.hold(Hold::Blind, None, Severity::Medium, format!("{missing}."));
        }
        if waited > limit.after && limit.then == LimitOutcome::RollBack {
            let after = duration(limit.after);
            refuse(change, format!("not begun: for {after} {missing}."));
        }
        return false;
    }
    let fresh = |m: &MetricObservation| !m.usage.is_pending() && m.baseline.is_ok();
    let seen = tick.metrics.iter().all(|m| fresh(m) && m.window.is_some());
    if seen && data::never_matched(&change.state.rollout).is_none() {
        change.unhold(Hold::Blind, "the baseline is seen.");
    }
    seen
}

/// How long preflight waits for the baseline's guardrails to have values (some have none at this traffic,
/// or none without a canary).
fn patience(rollout: &Rollout) -> Duration {
    let over = rollout.policy.guardrails.iter().map(|guardrail| guardrail.over).max();
    over.unwrap_or_default() + rollout.policy.analysis.interval * 2
}

/// Whether the baseline keeps the limits that would act. One that has broken a limit for as long as the
/// limit's time is refused; until then it is waited for.
fn baseline_is_healthy(change: &mut Change, assessment: &Assessment) -> bool {
    let rollout = &change.state.rollout;
    if !rollout.policy.preflight.healthy_baseline {
        return true;
    }
    let broken = assessment.guardrails.iter().find(|guardrail| {
        guardrail.action != GuardrailAction::Alert && guardrail.baseline_healthy == Some(false)
    });
    let Some(broken) = broken else { return true };
    let rail = rollout.policy.guardrails.iter().find(|rail| rail.name == broken.name);
    let needed = patience(rollout) + rail.map_or(Duration::ZERO, |rail| rail.hold_for);
    if rollout.timers.unready >= needed {
        let sentence = format!(
            "not begun: the running version already breaks the guardrail {}: {} A release that repairs it \
             needs a policy with `preflight: {{healthy_baseline: false}}`.",
            broken.name, broken.sentence
        );
        refuse(change, sentence);
    }
    false
}

/// A sentence if, by the traffic of before, no step could find even a large regression in any metric. Only
/// proportions tell their traffic; with a metric of another kind nothing is said.
fn sees_nothing(rollout: &Rollout, has_baseline: bool) -> Option<String> {
    let history = rollout.history.as_ref()?;
    let mut most = 0.0_f64;
    for metric in &rollout.policy.metrics {
        if !matches!(metric.source, MetricSource::Proportion { .. }) {
            return None;
        }
        let past = history.metrics.get(&metric.name)?;
        let [bad, all] = past.requests?;
        let seconds = past.until.since(past.from).as_secs_f64();
        let per_second = all as f64 / seconds.max(1.0);
        most = most.max(per_second);
        let share = (bad as f64).max(0.5) / all as f64;
        let finds = |step: &&Step| finds(rollout, metric, step, per_second, share, has_baseline);
        let steps = rollout.policy.steps.iter().filter(|step| step.weight < Weight::FULL);
        if steps.clone().next().is_none() || steps.clone().any(|step| finds(&step)) {
            return None;
        }
    }
    let metric = rollout.policy.metrics.first()?;
    let [bad, all] = history.metrics.get(&metric.name)?.requests?;
    Some(format!(
        "not begun: at {} requests/s and {} bad ones, no step of this policy could find even five times as many; \
         take a policy for low traffic, or say `preflight: {{enough_traffic: false}}`.",
        significant(most),
        percent(bad as f64 / all as f64)
    ))
}

/// Whether counts as they are expected would pass the bound in the longest time that the step may take.
fn finds(
    rollout: &Rollout,
    metric: &Metric,
    step: &Step,
    per_second: f64,
    share: f64,
    has_baseline: bool,
) -> bool {
    let split = Split::canary(step.weight, has_baseline);
    let seconds = step.longest().as_secs_f64();
    let requests = |weight: Weight| (per_second * weight.share() * seconds).floor();
    let (canary, baseline) = (requests(split.canary), requests(split.compared()));
    let bad = ((share * WORSE).min(1.0) * canary).round();
    if canary == 0.0 || baseline == 0.0 || bad < rollout.policy.analysis.min_bad as f64 {
        return false;
    }
    let counted = Counted {
        bad,
        base_bad: (share * baseline).round(),
        base_requests: baseline,
        kappa: canary / baseline,
    };
    let excess = counted.excess(Margin { ratio: 1.0 + metric.tolerance, difference: metric.harm_floor });
    // The share is what each block shows on the average, and no block grows more than by it. A mixture has at most
    // the weight 1 on the best stake: what is below the bound here is below it in the test.
    let blocks = seconds / rollout.policy.analysis.burst.unwrap_or(CALM).as_secs_f64();
    let most = STAKES.iter().map(|stake| blocks * ln(1.0 + stake * excess)).fold(f64::NEG_INFINITY, f64::max);
    most >= ln(1.0 / rollout.policy.analysis.false_rollback_rate)
}
