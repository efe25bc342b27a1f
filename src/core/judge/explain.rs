//! One sentence with its figures for everything that the judge says.

use std::time::Duration;

use super::assessment::{GuardrailAssessment, GuardrailStatus, MetricAssessment};
use super::comparison::{Comparison, Tally};
use super::evidence::MetricEvidence;
use super::words::{count, interval, latency, odds, percent, points, significant, time, times};
use crate::core::metric::{MetricObservation, Usage};
use crate::core::policy::{Breach, Guardrail, GuardrailLimit, Metric, Signal};
use crate::stats::proportion::Margin;

/// `errors: canary 3.1% (47 of 1,516) against baseline 0.5% (140 of 28,004), ×6.2 [3.9 – 9.8]; odds
/// against a harmless release 1:4,100, bound 1:100.`
pub(super) fn harm(
    assessed: &MetricAssessment,
    lead: Option<&Comparison>,
    ln_e: f64,
    ln_bound: f64,
) -> String {
    let figures = lead.map_or_else(String::new, |lead| figures(lead, assessed.ratio));
    format!(
        "{}: {figures}; odds against a harmless release {}, bound {}.",
        assessed.name,
        odds(ln_e),
        odds(ln_bound)
    )
}

/// As [`harm`], of the catastrophe lane, with the figures of the warm-up.
pub(super) fn catastrophe(name: &str, canary: Tally, baseline: Tally, ln_e: f64, ln_bound: f64) -> String {
    format!(
        "{name}: {}, warm-up included; far worse in two windows in a row, odds against a harmless release \
         {}, bound {}.",
        against(canary, baseline),
        odds(ln_e),
        odds(ln_bound)
    )
}

/// `errors: canary …; not worse by more than ×2 and 0.1 points: odds 1:25, bound 1:20.`
pub(super) fn not_worse(
    metric: &Metric,
    assessed: &MetricAssessment,
    lead: Option<&Comparison>,
    shown: Option<[f64; 3]>,
    allowed: f64,
    ln_bound: f64,
) -> String {
    let Some(lead) = lead else { return format!("{}: nothing is compared.", metric.name) };
    format!(
        "{}: {}; not worse by more than {}: odds {}, bound {}.",
        metric.name,
        figures(lead, shown),
        margin(lead.no_harm_margin(metric, allowed)),
        odds(assessed.ln_e_no_harm),
        odds(ln_bound)
    )
}

/// What an undecided metric waits for.
pub(super) struct Waiting<'a> {
    pub metric: &'a Metric,
    pub assessed: &'a MetricAssessment,
    pub evidence: &'a MetricEvidence,
    /// The comparison with the least evidence of no harm.
    pub lead: Option<&'a Comparison>,
    pub shown: Option<[f64; 3]>,
    pub seen: Option<&'a MetricObservation>,
    pub allowed: f64,
    pub ln_bound: f64,
    pub remaining: Option<Duration>,
}

/// `errors: canary …; waits for proof that it is not worse by more than ×2 and 0.1 points: odds 1:3,
/// bound 1:20, about 4 min more at this traffic.`
pub(super) fn waiting(w: &Waiting<'_>) -> String {
    let name = &w.metric.name;
    if let Some(chooser) = &w.evidence.chooser {
        return format!("{name}: {}.", chooser.words());
    }
    let Some(lead) = w.lead else {
        return format!("{name}: the histogram has no bounds at which the arms could be compared.");
    };
    if lead.canary.total == 0 || lead.baseline.total == 0 {
        let why = match w.seen.map(|seen| seen.usage) {
            Some(Usage::Outside) => "no step is analysed now",
            Some(Usage::Settling | Usage::Straddling) => "waits until the step's split is in force",
            Some(Usage::WarmUp) => "warm-up, whose windows are not tested",
            Some(Usage::Pending) => "waits until both arms have fresh samples",
            Some(Usage::Baking) => "no baseline is left to compare with",
            Some(Usage::Used) if w.assessed.canary_requests == 0 => {
                "no requests of the canary in this step yet"
            }
            Some(Usage::Used) if w.assessed.baseline_requests == 0 => {
                "no requests of the baseline in this step yet"
            }
            Some(Usage::Used) | None => "no window is tested in this step yet",
        };
        return format!("{name}: {why}.");
    }
    let more = match w.remaining {
        Some(time_left) => format!("about {} more at this traffic", time(time_left)),
        None => "no end in sight at these figures".to_string(),
    };
    format!(
        "{name}: {}; waits for proof that it is not worse by more than {}: odds {}, bound {}, {more}.",
        figures(lead, w.shown),
        margin(lead.no_harm_margin(w.metric, w.allowed)),
        odds(w.assessed.ln_e_no_harm),
        odds(w.ln_bound),
    )
}

/// Why a metric has no data.
pub(super) fn no_data(metric: &Metric, seen: Option<&MetricObservation>) -> String {
    let name = &metric.name;
    let Some(seen) = seen else { return format!("{name}: it was not measured.") };
    match (&seen.canary, &seen.baseline) {
        (Err(why), Ok(_)) => format!("{name}: no data of the canary: {why}."),
        (Ok(_), Err(why)) => format!("{name}: no data of the baseline: {why}."),
        (Err(canary), Err(baseline)) if canary == baseline => format!("{name}: no data: {canary}."),
        (Err(canary), Err(baseline)) => {
            format!("{name}: no data; canary: {canary}; baseline: {baseline}.")
        }
        (Ok(_), Ok(_)) => format!("{name}: not seen in this step yet."),
    }
}

/// `error-rate: canary 6.2%, limit 5%, for 70 s of 60 s; baseline 0.5%.`
pub(super) fn guardrail(guardrail: &Guardrail, assessed: &GuardrailAssessment, limit: Option<f64>) -> String {
    let value = |value: f64| match guardrail.signal {
        Signal::Rate { .. } => percent(value),
        Signal::Mean { .. } | Signal::Quantile { .. } => latency(value),
        Signal::Query { .. } => significant(value),
    };
    let shown = |value_of: Option<f64>| value_of.map_or_else(|| "no value".to_string(), value);
    let side = match guardrail.breach {
        Breach::Above => "at most",
        Breach::Below => "at least",
    };
    let relative = match guardrail.limit {
        GuardrailLimit::Absolute(_) => String::new(),
        GuardrailLimit::RatioToBaseline(factor) => format!(" ({} of the baseline)", times(factor)),
        GuardrailLimit::DifferenceToBaseline(difference) => {
            let difference = match guardrail.signal {
                Signal::Rate { .. } => points(difference.abs()),
                _ => value(difference.abs()),
            };
            format!(" ({difference} from the baseline)")
        }
    };
    let limit = limit.map_or_else(|| "unknown while the baseline has no value".to_string(), value);
    let standing = match assessed.status {
        GuardrailStatus::NoData | GuardrailStatus::Clear => String::new(),
        GuardrailStatus::Breaching | GuardrailStatus::Fired | GuardrailStatus::BothBreach => {
            format!("; breached for {} ({} allowed)", time(assessed.breaching_for), time(guardrail.hold_for))
        }
    };
    let both = if assessed.status == GuardrailStatus::BothBreach { ", by the baseline too" } else { "" };
    format!(
        "{}: canary {}, allowed {side} {limit}{relative}; baseline {}{standing}{both}.",
        guardrail.name,
        shown(assessed.canary),
        shown(assessed.baseline),
    )
}

/// Shares and counts of both arms, and the ratio with its interval.
fn figures(comparison: &Comparison, ratio: Option<[f64; 3]>) -> String {
    let above = comparison.bound.map_or_else(String::new, |b| format!("above {}, ", latency(b)));
    let ratio = ratio.map_or_else(String::new, |ratio| format!(", {}", interval(ratio)));
    format!("{above}{}{ratio}", against(comparison.canary, comparison.baseline))
}

fn against(canary: Tally, baseline: Tally) -> String {
    let arm = |tally: Tally| match tally.share() {
        Some(share) => format!("{} ({} of {})", percent(share), count(tally.bad), count(tally.total)),
        None => "no requests".to_string(),
    };
    format!("canary {} against baseline {}", arm(canary), arm(baseline))
}

fn margin(margin: Margin) -> String {
    format!("{} and {}", times(margin.ratio), points(margin.difference))
}
