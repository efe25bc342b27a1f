//! Whether the canary gets the share of the requests that was set, over a trailing time.
//!
//! Beyond the margin the weight is written once more; if that does not help, it holds (or alerts, or rolls back, as
//! the policy says). A share that is far beyond the weight is an incident, whatever the policy says.

use std::time::Duration;

use super::change::Change;
use super::trailing::{Noise, ShareState, Slot};
use super::{Ending, EventKind, Hold, Phase};
use crate::core::incident::IncidentCause;
use crate::core::limit::Severity;
use crate::core::metric::{Counts, MetricObservation, Reading, TickObservation, Usage};
use crate::core::notice::NoticeKind;
use crate::core::policy::{GuardrailAction, Mode, TrafficShare};
use crate::core::reason::{Reason, ReasonCode};
use crate::core::split::Weight;
use crate::core::target::Proxies;
use crate::core::words::{duration, percent, significant};
use crate::stats::share::ShareTest;
use crate::stats::special::ln;

/// α of the share: it hardly ever does anything for nothing.
const ALPHA: f64 = 0.000_1;
/// The normal quantile of a one-sided bound of 99.9%.
const Z: f64 = 3.09;
/// A share that is far beyond its weight for so long is an incident.
const FAR_FOR: Duration = Duration::from_secs(60);
/// At least so many points above the weight.
const FAR_POINTS: f64 = 0.05;
/// Three sample spacings of each arm must be seen before a rollback.
const SPACINGS: u32 = 3;
/// What the trailing time shows against the weights.
struct Trail {
    expected: f64,
    share: f64,
    lower: f64,
    is_beyond: bool,
    sentence: String,
}

/// Takes in one look.
pub(super) fn take(change: &mut Change, tick: &TickObservation, elapsed: Duration) {
    let Some(policy) = change.state.rollout.policy.analysis.traffic_share else { return };
    if let Some(why) = change.state.target.split_by.why_no_share() {
        return tell_off(change, why);
    }
    let (rollout, target) = (&change.state.rollout, &change.state.target);
    let Phase::Progressing { step, .. } = rollout.phase else { return };
    let split = target.wanted;
    let expected = split.canary.share() / (split.canary.share() + split.compared().share());
    if rollout.policy.mode == Mode::Observe || !target.is_seen() || !(expected > 0.0 && expected < 1.0) {
        return;
    }
    let generation = target.generation;
    let noise = rollout.data.share.noise_per_second();
    let state = &mut change.state.rollout.data.share;
    if state.generation != generation {
        state.slots.clear();
        (state.generation, state.told, state.far_for) = (generation, false, Duration::ZERO);
        if state.rewritten != Some(step) {
            state.rewritten = None;
        }
    }
    if let Some(slot) = tick.metrics.iter().find_map(|metric| slot(metric, noise)) {
        state.push(slot);
    }
    let Some(mut trail) = Trail::of(&change.state.rollout.data.share, expected, policy) else { return };
    if let Some(why) = &change.state.rollout.share_explained {
        trail.sentence = format!("{} The router says: {why}.", trail.sentence);
    }
    page_if_far(change, &trail, elapsed);
    if !trail.is_beyond {
        change.unhold(Hold::TrafficShare, "the canary's share of the requests is within the margin again.");
        change.state.rollout.data.share.told = false;
        return;
    }
    match policy.action {
        GuardrailAction::Alert => {
            if !std::mem::replace(&mut change.state.rollout.data.share.told, true) {
                change.alert(NoticeKind::Alert, Severity::High, trail.sentence);
            }
        }
        _ if change.state.rollout.data.share.rewritten.is_none() => write_again(change, step, &trail),
        GuardrailAction::RollBack if may_roll_back(change, &trail) => {
            change.roll_back(Reason::new(ReasonCode::TrafficShare, trail.sentence), Ending::RolledBack, None);
        }
        GuardrailAction::Hold | GuardrailAction::RollBack => {
            change.hold(Hold::TrafficShare, None, Severity::High, trail.sentence);
        }
    }
}

/// The check is off for what the target's router shares out; told once.
fn tell_off(change: &mut Change, why: &str) {
    change.unhold(Hold::TrafficShare, "the check of the canary's share is off for this target.");
    if change.state.rollout.data.told.insert("share off".to_owned()) {
        let sentence = format!("The canary's share of the requests is not checked: {why}.");
        change.record(EventKind::Alert, None, sentence);
    }
}

/// A new generation of the same split: the router reads it, and is written once more.
fn write_again(change: &mut Change, step: usize, trail: &Trail) {
    change.state.rollout.data.share.rewritten = Some(step);
    change.state.target.generation += 1;
    let sentence = format!("{} The weight is written once more.", trail.sentence);
    change.record(EventKind::Alert, None, sentence);
}

/// It is the canary that gets too much, and the router says that it does what is wanted and knows no reason.
fn may_roll_back(change: &Change, trail: &Trail) -> bool {
    let rollout = &change.state.rollout;
    let (canary, baseline) = (rollout.data.canary_spacing, rollout.data.baseline_spacing);
    let learned = canary.zip(baseline).map(|(canary, baseline)| canary.max(baseline) * SPACINGS);
    let enough = learned.is_some_and(|least| rollout.data.share.length() >= least);
    let is_whole = rollout.stable.counts().is_none_or(|(up, of)| up >= of);
    let unexplained = rollout.share_explained.is_none();
    enough
        && is_whole
        && unexplained
        && trail.share > 2.0 * trail.expected
        && change.state.target.in_force(Proxies::Reachable)
}

fn page_if_far(change: &mut Change, trail: &Trail, elapsed: Duration) {
    let w = trail.expected;
    let is_far = trail.lower > (2.0 * w).min((1.0 + w) / 2.0) && trail.lower > w + FAR_POINTS;
    let state = &mut change.state.rollout.data.share;
    let before = state.far_for;
    state.far_for = if is_far { before + elapsed } else { Duration::ZERO };
    if !is_far {
        change.calm(
            IncidentCause::TrafficShare,
            "the canary's share of the requests is near its weight again.",
        );
    } else if before < FAR_FOR && before + elapsed >= FAR_FOR {
        let sentence = format!(
            "The canary gets {} of the requests (at least {}) where {} is set, for {}. Likely causes: requests \
             that go around the router, probes or scrapes that are counted as requests, long connections from \
             before, the same requests scraped twice, or weights that somebody else has changed.",
            percent(trail.share),
            percent(trail.lower),
            percent(w),
            duration(FAR_FOR)
        );
        change.page(NoticeKind::Alert, Severity::Critical, sentence, IncidentCause::TrafficShare);
    }
}

impl Trail {
    fn of(state: &ShareState, expected: f64, policy: TrafficShare) -> Option<Trail> {
        let [canary, baseline] = state.requests();
        let all = canary.saturating_add(baseline);
        if all == 0 {
            return None;
        }
        let mut test = ShareTest::new(1.0);
        test.take(canary, baseline);
        // The arms are scraped at different moments, so their counts may cover times that differ by a window.
        let longest = state.slots.iter().map(|slot| slot.length).max().unwrap_or_default();
        let skew = longest.as_secs_f64() / state.length().as_secs_f64().max(f64::MIN_POSITIVE);
        let share = canary as f64 / all as f64;
        let sentence = format!(
            "the canary has {} of both arms' requests in the last {} ({canary} of {all}); by the weights it should \
             have {} ± {} of that.",
            percent(share),
            duration(state.length()),
            percent(expected),
            percent(policy.margin)
        );
        let is_beyond = test.ln_e(expected, policy.margin + skew) >= -ln(ALPHA);
        Some(Trail { expected, share, lower: lower_bound(canary, all), is_beyond, sentence })
    }
}

/// The lower 99.9% bound of a share, after Wilson.
fn lower_bound(canary: u64, all: u64) -> f64 {
    let (n, p) = (all as f64, canary as f64 / all as f64);
    let z2 = Z * Z;
    let middle = p + z2 / (2.0 * n);
    let spread = Z * (p * (1.0 - p) / n + z2 / (4.0 * n * n)).sqrt();
    ((middle - spread) / (1.0 + z2 / n)).max(0.0)
}

fn slot(metric: &MetricObservation, noise: [f64; 2]) -> Option<Slot> {
    let used = matches!(metric.usage, Usage::Used | Usage::Carried | Usage::WarmUp);
    let requests = |reading: &Reading<Counts>| reading.as_ref().ok().and_then(Counts::requests);
    let length = metric.window.filter(|_| used)?.length();
    let [of_canary, of_baseline] = noise.map(|noise| (noise * length.as_secs_f64()).round() as u64);
    Some(Slot {
        length,
        canary: requests(&metric.canary)?.saturating_sub(of_canary),
        baseline: requests(&metric.baseline)?.saturating_sub(of_baseline),
    })
}

/// Before the first step: what the canary, and a fresh copy of stable, are asked for though their weights are 0.
pub(super) fn measure_noise(change: &mut Change, tick: &TickObservation) {
    let rollout = &change.state.rollout;
    match rollout.phase {
        Phase::Preflight | Phase::Preparing { step: 0 } => {}
        Phase::Progressing { step: 0, .. } => return tell_noise(change),
        _ => return,
    }
    if rollout.policy.mode == Mode::Observe {
        return;
    }
    let target = &change.state.target;
    let at_zero = |weight: Weight| weight == Weight::ZERO;
    if !at_zero(target.wanted.canary) || !target.seen.is_some_and(|seen| at_zero(seen.split.canary)) {
        return;
    }
    let has_baseline = target.has_baseline && at_zero(target.wanted.baseline);
    let state = &mut change.state.rollout.data.share;
    state.noise.add(tick, |metric| &metric.canary);
    if has_baseline {
        state.baseline_noise.add(tick, |metric| &metric.baseline);
    }
}

impl Noise {
    fn add(&mut self, tick: &TickObservation, arm: fn(&MetricObservation) -> &Reading<Counts>) {
        let requests = |metric: &MetricObservation| {
            let window = metric.window.filter(|_| !metric.usage.is_pending())?;
            let counted = arm(metric).as_ref().ok().and_then(Counts::requests)?;
            Some((counted, window.length().as_secs_f64()))
        };
        let most = tick.metrics.iter().filter_map(requests).max_by_key(|(counted, _)| *counted);
        if let Some((counted, seconds)) = most {
            self.requests = self.requests.saturating_add(counted);
            self.seconds += seconds;
        }
    }
}

fn tell_noise(change: &mut Change) {
    let [noise, of_baseline] = change.state.rollout.data.share.noise_per_second();
    if of_baseline > 0.0 && change.state.rollout.data.told.insert("baseline noise".to_owned()) {
        let sentence = format!(
            "The baseline had {} requests/s at weight 0 (probes, scrapes or direct calls). They are subtracted from its \
             share.",
            significant(of_baseline)
        );
        change.record(EventKind::Alert, None, sentence);
    }
    if noise > 0.0 && change.state.rollout.data.told.insert("noise".to_owned()) {
        let sentence = format!(
            "The canary had {} requests/s at weight 0 (probes, scrapes or direct calls). They are subtracted wherever \
             its requests are counted: from its share, and where it is asked whether it is silent or gets no more \
             requests.",
            significant(noise)
        );
        change.record(EventKind::Alert, None, sentence);
    }
}
