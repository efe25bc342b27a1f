//! What is legal in a policy, but perhaps not meant.

use std::time::Duration;

use crate::core::limit::{Breach, GuardrailLimit};
use crate::core::policy::{AtMax, Guardrail, GuardrailAction, LimitOutcome, Policy, Signal};
use crate::core::source::MetricSource;
use crate::core::split::Weight;

use super::problem::{Mark, Problem, Report};
use super::values::show_ratio;
use crate::core::words::show_duration;

/// What is dubious in a valid policy. The problems have no line, and the policy's name as their file.
pub fn policy_warnings(policy: &Policy) -> Vec<Problem> {
    let report = Report::new(format!("policy {}", policy.name));
    let warn = |field: &str, message: String, expected: &str| {
        report.add(Mark::default(), field, message, expected);
    };
    steps(policy, &warn);
    analysis(policy, &warn);
    metrics(policy, &warn);
    for (index, guardrail) in policy.guardrails.iter().enumerate() {
        one_guardrail(policy, index, guardrail, &warn);
    }
    bake(policy, &warn);
    report.finish::<()>(Some(())).map_or_else(|problems| problems.0, |()| Vec::new())
}

/// A service that usually has a quarter of a limit's bad requests has more than so many, where these are the limit,
/// in one window of 500 (Poisson).
const FEWEST_BAD: f64 = 5.0;

type Warn<'a> = &'a dyn Fn(&str, String, &str);

fn steps(policy: &Policy, warn: Warn<'_>) {
    if policy.steps.iter().all(|step| step.weight == Weight::FULL) {
        warn(
            "steps",
            "the only step is 100%, so the canary is never compared with a baseline".to_owned(),
            "a step below 100% first",
        );
    }
    let compared = policy.steps.iter().enumerate().filter(|(_, step)| step.weight < Weight::FULL);
    for (index, step) in compared {
        let at = |field: &str| format!("steps[{index}].{field}");
        if step.max.is_none() {
            let message = "without `max` the step waits for a verdict for ever".to_owned();
            warn(&at("max"), message, "a longest time, such as 4h");
        }
        if step.at_max == AtMax::PromoteUnproven {
            let message = "the release goes on without proof when the time is over".to_owned();
            warn(&at("at_max"), message, "`hold`, if a person should decide");
        }
        if step.min < policy.analysis.warm_up {
            let (min, warm_up) = (show_duration(step.min), show_duration(policy.analysis.warm_up));
            warn(&at("min"), format!("{min} is less than the warm-up of {warm_up}"), "more than that");
        }
    }
}

fn analysis(policy: &Policy, warn: Warn<'_>) {
    let analysis = &policy.analysis;
    if analysis.false_rollback_rate > 0.1 {
        let message =
            format!("one of {:.0} harmless releases may be rolled back", 1.0 / analysis.false_rollback_rate);
        warn("analysis.false_rollback_rate", message, "about 1%");
    }
    if analysis.dispersion < 1.5 {
        let message = "errors are taken for independent of each other; where they come in bursts, harmless \
                       releases will be rolled back more often than is promised";
        warn("analysis.dispersion", message.to_owned(), "3, unless the bursts were measured");
    }
    if analysis.silent.after < analysis.interval * 2 {
        let message = format!(
            "{} is less than two looks; one late scrape is enough",
            show_duration(analysis.silent.after)
        );
        warn("analysis.silent.after", message, "some intervals");
    }
    if analysis.silent.then == LimitOutcome::Hold {
        let message = "a canary that dies without a word keeps its traffic".to_owned();
        warn("analysis.silent.then", message, "`roll_back`");
    }
    if analysis.blind.after < analysis.interval * 2 {
        let message = format!(
            "{} is less than two looks; one late scrape is enough",
            show_duration(analysis.blind.after)
        );
        warn("analysis.blind.after", message, "some intervals");
    }
}

fn metrics(policy: &Policy, warn: Warn<'_>) {
    let has_proportion =
        policy.metrics.iter().any(|metric| matches!(metric.source, MetricSource::Proportion { .. }));
    if !has_proportion {
        warn("metrics", "no metric counts errors".to_owned(), "a metric of type proportion");
    }
    for (index, metric) in policy.metrics.iter().enumerate() {
        if metric.tolerance > 1.0 {
            let message = format!("up to {} worse is accepted", show_ratio(metric.tolerance));
            warn(&format!("metrics[{index}].tolerance"), message, "about 10%");
        }
    }
}

fn one_guardrail(policy: &Policy, index: usize, guardrail: &Guardrail, warn: Warn<'_>) {
    let at = |field: &str| format!("guardrails[{index}].{field}");
    let unfit = match (guardrail.limit, guardrail.breach) {
        (GuardrailLimit::RatioToBaseline(factor), Breach::Above) => factor <= 1.0,
        (GuardrailLimit::RatioToBaseline(factor), Breach::Below) => factor >= 1.0,
        _ => false,
    };
    if unfit {
        let message = "a canary that is just like its baseline breaches this about half of the time";
        warn(&at("ratio_to_baseline"), message.to_owned(), "a factor that leaves room");
    }
    if let Signal::Quantile { quantile, .. } = guardrail.signal {
        // Below this, the quantile is about the slowest request.
        let needed = (1.0 / (1.0 - quantile)).ceil();
        if (guardrail.min_requests as f64) < needed {
            let message = format!("with fewer than {needed} requests the quantile is the slowest of them");
            warn(&at("min_requests"), message, "some times as many");
        }
    }
    by_chance(guardrail, &at("min_requests"), warn);
    let compared = policy.steps.iter().filter(|step| step.weight < Weight::FULL);
    let shortest = compared.map(|step| step.min).min().unwrap_or(Duration::MAX);
    if guardrail.hold_for > shortest {
        let (hold_for, shortest) = (show_duration(guardrail.hold_for), show_duration(shortest));
        let message =
            format!("{hold_for} is longer than the shortest step, which may be over after {shortest}");
        warn(&at("for"), message, "less than that");
    }
}

/// A rollback for so few bad requests that they come by chance.
fn by_chance(guardrail: &Guardrail, field: &str, warn: Warn<'_>) {
    let (Signal::Rate { .. }, Breach::Above, GuardrailLimit::Absolute(limit), GuardrailAction::RollBack) =
        (&guardrail.signal, guardrail.breach, guardrail.limit, guardrail.action)
    else {
        return;
    };
    // Rounded: 5% of 100 is 5.000000000000001.
    let bad = (limit * guardrail.min_requests as f64 * 1e6).round() / 1e6;
    if bad < FEWEST_BAD {
        let message = format!(
            "{} bad requests of {} are enough to roll back, and so few come by chance",
            bad.floor() + 1.0,
            guardrail.min_requests
        );
        let enough = (FEWEST_BAD / limit * (1.0 - 1e-9)).ceil();
        let expected = match enough.is_finite() {
            true => format!("at least {enough}, of which {FEWEST_BAD} are bad at the limit"),
            false => "a limit above 0%".to_owned(),
        };
        warn(field, message, &expected);
    }
}

fn bake(policy: &Policy, warn: Warn<'_>) {
    if policy.bake.duration.is_zero() {
        warn("bake.duration", "100% is not watched at all".to_owned(), "some minutes");
    }
    let watches = policy.guardrails.iter().any(|g| matches!(g.limit, GuardrailLimit::Absolute(_)));
    if !watches {
        warn(
            "guardrails",
            "no guardrail has an absolute limit, so nothing can act at 100%, where no baseline is left"
                .to_owned(),
            "a guardrail such as `above: 5%` on the errors",
        );
    }
}
