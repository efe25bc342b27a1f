//! `serin simulate --hostile`.

use std::collections::BTreeMap;

use serde::Serialize;

use super::args::HistoryArg;
use super::simulate::Progress;
use super::{SimulateArgs, interval, percent, policy, refuse, time};
use crate::cli::text;
use crate::cli::{Exit, Output, print, print_json};
use crate::core::policy::Policy;
use crate::core::words::count;
use crate::montecarlo::hostile::{Delay, GOAL, GOAL_HIGH, Harm, Hostile, Row, delay, harms, measure, shapes};

/// What came out.
#[derive(Serialize)]
struct Report<'a> {
    policy: &'a str,
    version: &'a str,
    seed: u64,
    runs: u64,
    harmless: Vec<Row>,
    harmful: Vec<Delay>,
}

/// Runs the named shapes and faults, and writes the tables.
pub(super) fn hostile(args: &SimulateArgs, output: Output) -> Exit {
    if args.hostile.iter().any(|name| name == "list") {
        print(&list());
        return Exit::Done;
    }
    let (shapes, harms) = match chosen(&args.hostile) {
        Ok(chosen) => chosen,
        Err(problems) => return refuse(&problems),
    };
    if !args.shapes.shape.is_empty() {
        return refuse(&["--hostile sets the shape; --shape cannot stand beside it".to_owned()]);
    }
    let mut policy = match policy(&args.policy) {
        Ok(policy) => policy,
        Err(exit) => return exit,
    };
    if let Some(phi) = args.phi {
        policy.analysis.dispersion = phi;
    }
    let histories: &[bool] = match args.history.unwrap_or(HistoryArg::Both) {
        HistoryArg::Off => &[false],
        HistoryArg::On => &[true],
        HistoryArg::Both => &[false, true],
    };
    let runs = args.runs.runs();
    let progress = Progress::new(runs.runs);
    let show = |done| progress.show(done);
    let each = |history: &bool| {
        let rows: Vec<Row> =
            shapes.iter().map(|shape| measure(&policy, shape, *history, runs, &show)).collect();
        let delays: Vec<Delay> =
            harms.iter().map(|harm| delay(&policy, harm, *history, runs, &show)).collect();
        (rows, delays)
    };
    let (rows, delays): (Vec<Vec<Row>>, Vec<Vec<Delay>>) = histories.iter().map(each).unzip();
    progress.clear();
    let report = Report {
        policy: &policy.name,
        version: &policy.version,
        seed: runs.seed,
        runs: runs.runs,
        harmless: rows.concat(),
        harmful: delays.concat(),
    };
    match output {
        Output::Json => print_json(&report, true),
        Output::Text => print(&in_words(&policy, &report)),
    }
    Exit::Done
}

fn chosen(names: &[String]) -> Result<(Vec<Hostile>, Vec<Harm>), Vec<String>> {
    let (all_shapes, all_harms) = (shapes(), harms());
    let known = |name: &str| {
        name == "all"
            || all_shapes.iter().any(|shape| shape.name == name)
            || all_harms.iter().any(|harm| harm.name == name)
    };
    let problems: Vec<String> = names
        .iter()
        .filter(|name| !known(name))
        .map(|name| format!("unknown hostile traffic {name:?}; `--hostile list` prints all names"))
        .collect();
    if !problems.is_empty() {
        return Err(problems);
    }
    let wanted = |of: &str| names.iter().any(|name| name == "all" || name == of);
    Ok((
        all_shapes.into_iter().filter(|shape| wanted(&shape.name)).collect(),
        all_harms.into_iter().filter(|harm| wanted(&harm.name)).collect(),
    ))
}

fn list() -> String {
    let mut rows = vec![vec!["Harmless".to_owned(), String::new()]];
    rows.extend(shapes().into_iter().map(|shape| vec![shape.name, shape.words]));
    rows.push(vec!["Harmful".to_owned(), String::new()]);
    rows.extend(harms().into_iter().map(|harm| vec![harm.name, harm.words]));
    text::table(&rows)
}

fn in_words(policy: &Policy, report: &Report<'_>) -> String {
    let mut text = format!(
        "{}@{}, {} runs for each line, seed {}\n",
        text::clean(&policy.name),
        text::clean(&policy.version),
        count(report.runs),
        report.seed
    );
    if !report.harmless.is_empty() {
        text.push('\n');
        text.push_str(&text::table(&harmless(&report.harmless)));
        let (goal, high) = (percent(GOAL), percent(GOAL_HIGH));
        text.push_str(&format!(
            "\nGoal: at most {goal} of harmless releases rolled back, and at most {high} by the upper end of the \
             95% interval.\n"
        ));
    }
    if !report.harmful.is_empty() {
        text.push('\n');
        text.push_str(&text::table(&harmful(&report.harmful)));
    }
    text
}

fn harmless(rows: &[Row]) -> Vec<Vec<String>> {
    let head = [
        "Harmless release",
        "history",
        "rolled back",
        "95% interval",
        "goal",
        "by",
        "held",
        "promoted (90%)",
    ];
    let mut table = vec![head.map(str::to_owned).to_vec()];
    for row in rows {
        let goal = match &row.outside {
            Some(_) => "outside",
            None if row.is_met() => "met",
            None => "missed",
        };
        table.push(vec![
            row.shape.clone(),
            on(row.history),
            percent(row.rolled_back.share),
            interval(&row.rolled_back),
            goal.to_owned(),
            named(&row.by),
            format!("{} {}", percent(row.held.share), named(&row.holds)),
            format!("{} ({})", percent(row.promoted.share), time(row.promotion.p90_seconds)),
        ]);
    }
    table
}

fn harmful(delays: &[Delay]) -> Vec<Vec<String>> {
    let head = ["Harmful release", "history", "found", "median", "90%", "promoted", "by"];
    let mut table = vec![head.map(str::to_owned).to_vec()];
    for delay in delays {
        table.push(vec![
            delay.harm.clone(),
            on(delay.history),
            percent(delay.found.share),
            time(delay.detection.median_seconds),
            time(delay.detection.p90_seconds),
            percent(delay.promoted.share),
            named(&delay.by),
        ]);
    }
    table
}

fn on(history: bool) -> String {
    if history { "on" } else { "off" }.to_owned()
}

/// `tests 3, lane 1`.
fn named(counts: &BTreeMap<String, u64>) -> String {
    let all: Vec<String> = counts.iter().map(|(name, times)| format!("{name} {}", count(*times))).collect();
    all.join(", ")
}
