//! One sentence with its figures for everything that the judge says.

use std::time::Duration;

use super::assessment::{GuardrailAssessment, GuardrailStatus, MetricAssessment};
use super::comparison::{Comparison, MILLION, Tally};
use super::evidence::MetricEvidence;
use super::gauge::GaugeMargins;
use crate::core::limit::{Breach, GuardrailLimit};
use crate::core::metric::{MetricObservation, Usage};
use crate::core::policy::{Direction, Guardrail, Metric, Signal};
use crate::core::source::{Exposure, MetricSource};
use crate::core::words::{count, interval, latency, odds, percent, points, significant, time, times};
use crate::stats::proportion::Margin;
use crate::stats::ratio::HIGHEST;

/// `errors: canary 3.1% (47 of 1,516) against baseline 0.5% (140 of 28,004), ×6.2 [3.9 – 9.8]; odds
/// against a harmless release 1:4,100, by the last 4 min, bound 1:100 (blocks of 30 s, as …).`
pub(super) fn harm(
    metric: &Metric,
    assessed: &MetricAssessment,
    lead: Option<&Comparison>,
    worst: Option<(&str, [Tally; 2])>,
    ln_e: f64,
    ln_bound: f64,
) -> String {
    let figures = match (lead, gauge_figures(assessed)) {
        (Some(lead), _) => figures(metric, lead, assessed.ratio),
        (None, Some(gauge)) => gauge,
        (None, None) => String::new(),
    };
    let worst = worst.map_or_else(String::new, |(route, [canary, baseline])| {
        format!(", most of all on {route} ({})", against(canary, baseline))
    });
    let since = assessed.block.as_ref().filter(|block| block.since.is_some());
    let since = since.map_or_else(String::new, |block| format!(" by the last {}", time(block.lasts)));
    format!(
        "{}: {figures}{worst}; odds against a harmless release {}{since}, bound {}{}.",
        assessed.name,
        odds(ln_e),
        odds(ln_bound),
        tempered(metric, assessed)
    )
}

/// What the odds rest on: how long one incident's bad requests last, or what the tests were tempered by, and where
/// that comes from.
fn tempered(metric: &Metric, assessed: &MetricAssessment) -> String {
    if metric.source.query().is_some() {
        return " (a gauge: the odds hold only for many ticks)".to_string();
    }
    if let Some(block) = &assessed.block {
        let length = time(Duration::from_secs_f64(block.seconds));
        return format!(" (bad requests within {length} count as one incident, {})", block.because.words());
    }
    format!(" (dispersion {}, {})", significant(assessed.dispersion), assessed.dispersion_source.words())
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

/// What is said of a metric that is not worse, or undecided.
pub(super) struct About<'a> {
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

impl About<'_> {
    fn figures(&self) -> Option<String> {
        match self.lead {
            Some(lead) => Some(figures(self.metric, lead, self.shown)),
            None => gauge_figures(self.assessed),
        }
    }

    /// `×2 and 0.1 points`, or of a gauge `0.12`.
    fn margin(&self) -> String {
        match self.lead {
            Some(lead) => margin(self.metric, lead.no_harm_margin(self.metric, self.allowed)),
            None => {
                let baseline = self.assessed.baseline_value.unwrap_or_default();
                significant(GaugeMargins::new(self.metric, baseline, self.allowed).no_harm)
            }
        }
    }
}

/// `errors: canary …; not worse by more than ×2 and 0.1 points: odds 1:25, bound 1:20.`
pub(super) fn not_worse(about: &About<'_>) -> String {
    let name = &about.metric.name;
    let Some(figures) = about.figures() else { return format!("{name}: nothing is compared.") };
    format!(
        "{name}: {figures}; not worse by more than {}: odds {}, bound {}.",
        about.margin(),
        odds(about.assessed.ln_e_no_harm),
        odds(about.ln_bound)
    )
}

/// `errors: canary …; waits for proof that it is not worse by more than ×2 and 0.1 points: odds 1:3,
/// bound 1:20, about 4 min more at this traffic; more than ×3.1 is excluded.`
pub(super) fn waiting(about: &About<'_>) -> String {
    let name = &about.metric.name;
    if let Some(why) = not_tested(about) {
        return format!("{name}: {why}.");
    }
    let Some(figures) = about.figures() else { return format!("{name}: nothing is compared.") };
    let more = match about.remaining {
        Some(time_left) => format!("about {} more at this traffic", time(time_left)),
        None => "no end in sight at these figures".to_string(),
    };
    let excluded = match about.assessed.ratio {
        Some([_, _, high]) if about.metric.direction == Direction::LowerIsBetter && high < HIGHEST => {
            format!("; more than {} is excluded", times(high))
        }
        Some([low, _, _]) if about.metric.direction == Direction::HigherIsBetter && low > 1.0 / HIGHEST => {
            format!("; less than {} is excluded", times(low))
        }
        _ => String::new(),
    };
    format!(
        "{name}: {figures}; waits for proof that it is not worse by more than {}: odds {}, bound {}, \
         {more}{excluded}.",
        about.margin(),
        odds(about.assessed.ln_e_no_harm),
        odds(about.ln_bound),
    )
}

/// Why a metric has no evidence in this step yet.
fn not_tested(about: &About<'_>) -> Option<String> {
    if let Some(chooser) = &about.evidence.chooser {
        return Some(chooser.words());
    }
    let (canary, baseline) = match (&about.evidence.gauge, about.lead) {
        (Some(gauge), _) if gauge.is_tested() => return None,
        (Some(gauge), _) if gauge.step.ticks > 0 => {
            return Some("how much its values vary is not known yet".to_string());
        }
        (Some(_), _) => (1, 1),
        (None, Some(lead)) if lead.canary.total > 0 && lead.baseline.total > 0 => return None,
        (None, Some(_)) if matches!(about.metric.source, MetricSource::Rate { .. }) => (1, 1),
        (None, Some(_)) => (about.assessed.canary_requests, about.assessed.baseline_requests),
        (None, None) => {
            return Some("the histogram has no bounds at which the arms could be compared".to_string());
        }
    };
    let why = match about.seen.map(|seen| seen.usage) {
        Some(Usage::Outside) => "no step is analysed now",
        Some(Usage::Settling | Usage::Straddling) => "waits until the step's split is in force",
        Some(Usage::Renewed) => {
            "the canary's processes were replaced, so its evidence of safety begins again"
        }
        Some(Usage::WarmUp) => "warm-up, whose windows are not tested",
        Some(Usage::Pending | Usage::Ahead) => "waits until both arms have fresh samples",
        Some(Usage::Baking) => "no baseline is left to compare with",
        Some(Usage::Used | Usage::Carried) if canary == 0 => "no requests of the canary in this step yet",
        Some(Usage::Used | Usage::Carried) if baseline == 0 => "no requests of the baseline in this step yet",
        Some(Usage::Used | Usage::Carried) | None => "no window is tested in this step yet",
    };
    Some(why.to_string())
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
fn figures(metric: &Metric, comparison: &Comparison, ratio: Option<[f64; 3]>) -> String {
    let above = comparison.bound.map_or_else(String::new, |b| format!("above {}, ", latency(b)));
    let within = metric.by_route.as_ref().map_or_else(String::new, |label| format!(" within each {label}"));
    let ratio = ratio.map_or_else(String::new, |ratio| format!(", {}{within}", interval(ratio)));
    let (canary, baseline) = (comparison.canary, comparison.baseline);
    let arms = match &metric.source {
        MetricSource::Rate { per, .. } => rates(per, canary, baseline),
        _ => against(canary, baseline),
    };
    format!("{above}{arms}{ratio}")
}

fn against(canary: Tally, baseline: Tally) -> String {
    let arm = |tally: Tally| match tally.share() {
        Some(share) => format!("{} ({} of {})", percent(share), count(tally.bad), count(tally.total)),
        None => "no requests".to_string(),
    };
    format!("canary {} against baseline {}", arm(canary), arm(baseline))
}

/// `canary 1.2 a second and instance (360 in all) against …`.
fn rates(per: &Exposure, canary: Tally, baseline: Tally) -> String {
    let unit = match per {
        Exposure::Share => "a second at full traffic",
        Exposure::Instance => "a second and instance",
        Exposure::Counter { .. } => "each",
    };
    let arm = |tally: Tally| match tally.share() {
        Some(share) => format!("{} {unit} ({} in all)", significant(share * MILLION), count(tally.bad)),
        None => "nothing".to_string(),
    };
    format!("canary {} against baseline {}", arm(canary), arm(baseline))
}

/// `canary 0.61 against baseline 0.58 on average`.
fn gauge_figures(assessed: &MetricAssessment) -> Option<String> {
    let (canary, baseline) = (assessed.canary_value?, assessed.baseline_value?);
    Some(format!("canary {} against baseline {} on average", significant(canary), significant(baseline)))
}

fn margin(metric: &Metric, margin: Margin) -> String {
    let difference = match metric.source {
        MetricSource::Rate { .. } if margin.difference == 0.0 => return times(margin.ratio),
        MetricSource::Rate { .. } => significant(margin.difference * MILLION),
        _ => points(margin.difference),
    };
    format!("{} and {difference}", times(margin.ratio))
}
