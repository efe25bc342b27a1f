//! `serin plan`.

use super::{PlanArgs, percent, policy, refuse, time};
use crate::cli::text;
use crate::cli::{Exit, Output, print, print_json};
use crate::core::words::{count, seconds};
use crate::montecarlo;
use crate::montecarlo::plan::{MetricPlan, Plan, Question, StepPlan};

/// Plans, and writes the plan.
pub(in crate::cli) fn plan(args: &PlanArgs, output: Output) -> Exit {
    let policy = match policy(&args.policy) {
        Ok(policy) => policy,
        Err(exit) => return exit,
    };
    let question = Question {
        requests_per_second: args.rps,
        error_rate: args.error_rate,
        latency: args.latency_median.zip(args.latency_sigma),
        dispersion: args.phi,
        runs: args.runs.runs(),
    };
    match (montecarlo::plan(&policy, &question), output) {
        (Err(problems), _) => return refuse(&problems),
        (Ok(plan), Output::Json) => print_json(&plan, true),
        (Ok(plan), Output::Text) => print(&in_words(&plan)),
    }
    Exit::Done
}

fn in_words(plan: &Plan) -> String {
    let assumed = if plan.latency_assumed { ", taken as usual" } else { "" };
    let mut text = format!(
        "{}@{} at {} requests/s and {} errors\nmedian latency {} (sigma {}{assumed}), dispersion {}, {} runs a \
         figure, seed {}\n",
        text::clean(&plan.policy),
        text::clean(&plan.version),
        plan.requests_per_second,
        percent(plan.error_rate),
        text::latency(plan.latency_median_seconds),
        plan.latency_sigma,
        plan.dispersion,
        count(plan.runs),
        plan.seed,
    );
    for step in &plan.steps {
        text.push_str(&step_words(step));
    }
    let note = "Found: the tests roll back before the step is left, if the regression begins with the step; \
                the time is from there, half of all runs / nine of ten (– : fewer get there). Guardrails are \
                left out. Smallest: found in 80% of the steps.";
    text.push('\n');
    for line in text::wrap(note, 100) {
        text.push_str(&format!("{line}\n"));
    }
    text
}

fn step_words(step: &StepPlan) -> String {
    let mut text = format!(
        "\n{} for {} to {}\n",
        text::weight(step.weight_percent),
        seconds(step.min_seconds),
        seconds(step.max_seconds)
    );
    text.push_str(&format!(
        "  A harmless version goes on after {} / {}, in {} of the runs.\n",
        time(step.advance.median_seconds),
        time(step.advance.p90_seconds),
        percent(step.harmless_advances.share)
    ));
    if !step.metrics.is_empty() {
        let mut rows = vec![heading(&step.metrics)];
        rows.extend(step.metrics.iter().map(row));
        text.push_str(&text::table(&rows));
    }
    for warning in &step.warnings {
        for (index, line) in text::wrap(warning, 98).iter().enumerate() {
            text.push_str(&format!("{}{line}\n", if index == 0 { "! " } else { "  " }));
        }
    }
    text
}

fn heading(metrics: &[MetricPlan]) -> Vec<String> {
    let mut row = vec!["  metric".to_owned(), "smallest".to_owned()];
    let most = metrics.iter().max_by_key(|metric| metric.found.len());
    row.extend(most.into_iter().flat_map(|metric| &metric.found).map(|found| format!("×{}", found.factor)));
    row
}

fn row(metric: &MetricPlan) -> Vec<String> {
    let name =
        if metric.latency { format!("  {} (slower)", metric.metric) } else { format!("  {}", metric.metric) };
    let smallest = metric.smallest_found.map_or_else(|| "none".to_owned(), |factor| format!("×{factor:.2}"));
    let mut row = vec![name, smallest];
    row.extend(metric.found.iter().map(|found| {
        let (median, p90) = (time(found.time.median_seconds), time(found.time.p90_seconds));
        format!("{}: {median} / {p90}", percent(found.found.share))
    }));
    row
}
