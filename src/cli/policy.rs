//! `serin policy`.

use std::path::{Path, PathBuf};

use super::{
    Client, ClientError, Exit, Global, Output, PolicyCommand, complain, configure, print, print_json, text,
};
use crate::config::{self, PolicyFile};
use crate::contract::{PolicyView, StepPlanView};
use crate::core::limit::GuardrailLimit;
use crate::core::policy::{AtMax, LimitOutcome, Mode, Policy, Signal};
use crate::core::words::seconds;

pub(super) async fn run(command: PolicyCommand, global: &Global) -> Result<Exit, ClientError> {
    match command {
        PolicyCommand::Schema => match config::policy_schema() {
            Ok(schema) => {
                print_json(&schema, true);
                Ok(Exit::Done)
            }
            Err(error) => {
                complain(&format!("the schema cannot be written: {error}"));
                Ok(Exit::Usage)
            }
        },
        PolicyCommand::Check { paths } => Ok(check(&paths, global.output)),
        PolicyCommand::Apply(args) => configure::apply("policies", &args, global).await,
        PolicyCommand::Delete(args) => configure::delete("policies", &args, global).await,
        PolicyCommand::Show { policy, resolved: true } if Path::new(&policy).exists() => {
            Ok(show_resolved(Path::new(&policy)))
        }
        PolicyCommand::Show { policy, .. } if Path::new(&policy).exists() => {
            Ok(show_file(PathBuf::from(policy), global.output))
        }
        PolicyCommand::Show { policy, resolved: true } if policy.contains(['/', '.']) => {
            complain(&format!("{policy}: there is no such file"));
            Ok(Exit::Usage)
        }
        // What the daemon has is resolved.
        PolicyCommand::Show { policy, .. } => {
            let view = Client::of(global)?.policy(&policy).await?;
            show(&view, global.output);
            Ok(Exit::Done)
        }
    }
}

/// Says of each file whether it is right, and everything that is not.
fn check(paths: &[PathBuf], output: Output) -> Exit {
    let checked = config::check_policy_files(paths);
    let mut exit = if checked.is_empty() { Exit::Usage } else { Exit::Done };
    if checked.is_empty() {
        complain("there is no policy at these paths; policies are files that end in .yaml or .yml");
    }
    for (path, result) in &checked {
        let path = path.display().to_string();
        match (result, output) {
            (Ok(PolicyFile::Base), Output::Text) => {
                print(&text::clean(&format!("{path}: right (abstract: there to be extended)")));
                print("\n");
            }
            (Ok(PolicyFile::Base), Output::Json) => {
                print_json(&serde_json::json!({ "path": path, "valid": true, "abstract": true }), false);
            }
            (Ok(PolicyFile::Whole(policy)), Output::Text) => {
                print(&text::clean(&format!("{path}: right ({}@{})", policy.name, policy.version)));
                print("\n");
                for warning in warnings(policy) {
                    print(&format!("  perhaps not meant: {}\n", text::clean(&warning)));
                }
            }
            (Ok(PolicyFile::Whole(policy)), Output::Json) => print_json(
                &serde_json::json!({
                    "path": path, "valid": true, "name": policy.name, "version": policy.version,
                    "warnings": warnings(policy),
                }),
                false,
            ),
            (Err(problems), Output::Text) => {
                exit = Exit::No;
                for line in problems.to_string().lines() {
                    print(&format!("{}\n", text::clean(line)));
                }
            }
            (Err(problems), Output::Json) => {
                exit = Exit::No;
                let problems = problems.to_string();
                let problems: Vec<&str> = problems.lines().collect();
                print_json(&serde_json::json!({ "path": path, "valid": false, "problems": problems }), false);
            }
        }
    }
    exit
}

/// What is legal, but perhaps not meant.
fn warnings(policy: &Policy) -> Vec<String> {
    let sentence = |problem: &config::Problem| {
        format!("{}: {}; better: {}", problem.field, problem.message, problem.expected)
    };
    config::policy_warnings(policy).iter().map(sentence).collect()
}

/// Prints a policy with all that it extends, as YAML.
fn show_resolved(path: &Path) -> Exit {
    match config::resolved_policy(path) {
        Ok(yaml) => {
            print(&yaml);
            Exit::Done
        }
        Err(problems) => {
            problems.to_string().lines().for_each(complain);
            Exit::No
        }
    }
}

fn show_file(path: PathBuf, output: Output) -> Exit {
    let mut exit = Exit::Done;
    for (_, result) in config::check_policies(&[path]) {
        match result {
            Ok(policy) => show(&PolicyView::new(&policy), output),
            Err(problems) => {
                exit = Exit::No;
                for line in problems.to_string().lines() {
                    complain(line);
                }
            }
        }
    }
    exit
}

fn show(view: &PolicyView, output: Output) {
    match output {
        Output::Json => print_json(view, true),
        Output::Text => print(&in_words(view)),
    }
}

fn outcome(outcome: LimitOutcome) -> &'static str {
    match outcome {
        LimitOutcome::Hold => "hold",
        LimitOutcome::RollBack => "roll back",
    }
}

/// A policy as a page of text.
fn in_words(view: &PolicyView) -> String {
    let mode = match view.mode {
        Mode::Act => "moves traffic",
        Mode::Observe => "only observes",
    };
    let mut text = format!("{}@{}, {mode}\n", text::clean(&view.name), text::clean(&view.version));
    for line in view.description.lines() {
        text.push_str(&format!("{}\n", text::clean(line.trim_end())));
    }
    text.push_str("\nSteps\n");
    text.push_str(&text::table(&view.steps.iter().map(step_row).collect::<Vec<_>>()));
    text.push_str(&format!("  then watched at 100% for {}\n", seconds(view.bake_seconds)));
    text.push_str("\nMetrics\n");
    let rows: Vec<Vec<String>> = view
        .metrics
        .iter()
        .map(|metric| {
            vec![
                format!("  {}", metric.name),
                metric.kind.clone(),
                format!("tolerance {:.4}%", metric.tolerance * 100.0).replace(".0000%", "%"),
                metric.bad_means.clone(),
            ]
        })
        .collect();
    text.push_str(&text::table(&rows));
    if !view.guardrails.is_empty() {
        text.push_str("\nGuardrails\n");
        text.push_str(&text::table(&guardrail_rows(view)));
    }
    text.push_str(&format!(
        "\nJudging\n  a look every {}, the first {} of each step unused\n  a harmless release is rolled back by \
         the tests with probability at most {}%, over all looks\n  no data of either arm for {}: {}\n  no data \
         of the canary alone for {}: {}\n",
        seconds(view.interval_seconds),
        seconds(view.warm_up_seconds),
        view.false_rollback_rate * 100.0,
        seconds(view.blind_after_seconds),
        outcome(view.blind_then),
        seconds(view.silent_after_seconds),
        outcome(view.silent_then),
    ));
    text
}

fn step_row(step: &StepPlanView) -> Vec<String> {
    let max = match (step.max_seconds, step.at_max) {
        (None, _) => "no maximum".to_owned(),
        (Some(max), AtMax::Hold) => format!("after {}: hold", seconds(max)),
        (Some(max), AtMax::RollBack) => format!("after {}: roll back", seconds(max)),
        (Some(max), AtMax::PromoteUnproven) => format!("after {}: go on unproven", seconds(max)),
    };
    vec![
        format!("  {}", text::weight(step.weight_percent)),
        match step.min_requests {
            0 => format!("at least {}", seconds(step.min_seconds)),
            requests => format!("at least {} and {requests} requests", seconds(step.min_seconds)),
        },
        max,
    ]
}

fn guardrail_rows(view: &PolicyView) -> Vec<Vec<String>> {
    view.guardrails
        .iter()
        .map(|guardrail| {
            let signal = match &guardrail.signal {
                Signal::Rate { metric } => format!("rate of {metric}"),
                Signal::Mean { metric } => format!("mean of {metric}"),
                Signal::Quantile { metric, quantile } => format!("p{} of {metric}", quantile * 100.0),
                Signal::Query { .. } => "query".to_owned(),
            };
            let side = match guardrail.breach {
                crate::core::limit::Breach::Above => "above",
                crate::core::limit::Breach::Below => "below",
            };
            let limit = match guardrail.limit {
                GuardrailLimit::Absolute(limit) => format!("{limit}"),
                GuardrailLimit::RatioToBaseline(ratio) => format!("{ratio} × baseline"),
                GuardrailLimit::DifferenceToBaseline(difference) => format!("baseline + {difference}"),
            };
            let action = serde_json::to_value(guardrail.action)
                .ok()
                .and_then(|value| value.as_str().map(|text| text.replace('_', " ")))
                .unwrap_or_default();
            vec![
                format!("  {}", guardrail.name),
                format!("{signal} {side} {limit}"),
                format!("for {}", seconds(guardrail.hold_for_seconds)),
                action,
            ]
        })
        .collect()
}
