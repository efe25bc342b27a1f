//! `serin simulate`.

use std::collections::BTreeMap;
use std::io::{IsTerminal, Write};

use serde::Serialize;

use super::args::HistoryArg;
use super::shapes::called;
use super::{SimulateArgs, hostile, interval, percent, policy, refuse, time};
use crate::cli::text;
use crate::cli::{Exit, Output, print, print_json};
use crate::core::policy::Policy;
use crate::core::words::{count, seconds};
use crate::montecarlo::traffic::{Traffic, Truth};
use crate::montecarlo::{Outcome, Share, Summary, Told, rollouts_told};

/// What a simulation was of, and what came out.
#[derive(Serialize)]
struct Report<'a> {
    policy: &'a str,
    version: &'a str,
    seed: u64,
    dispersion: f64,
    false_rollback_rate: f64,
    traffic: &'a Traffic,
    history: bool,
    #[serde(flatten)]
    summary: Summary,
    #[serde(flatten)]
    causes: Causes,
}

/// What rolled back and what held, by how many runs.
#[derive(Default, Serialize)]
struct Causes {
    rolled_back_by: BTreeMap<String, u64>,
    held_by: BTreeMap<&'static str, u64>,
}

/// Runs it, and writes what came out.
pub(in crate::cli) fn simulate(args: &SimulateArgs, output: Output) -> Exit {
    if !args.hostile.is_empty() {
        return hostile::hostile(args, output);
    }
    if args.history == Some(HistoryArg::Both) {
        return refuse(&["--history both belongs to --hostile".to_owned()]);
    }
    let traffic = match traffic(args) {
        Ok(traffic) => traffic,
        Err(problems) => return refuse(&problems),
    };
    let mut policy = match policy(&args.policy) {
        Ok(policy) => policy,
        Err(exit) => return exit,
    };
    if let Some(phi) = args.phi {
        policy.analysis.dispersion = phi;
    }
    let runs = args.runs.runs();
    let progress = Progress::new(runs.runs);
    let history = args.history == Some(HistoryArg::On);
    let told = rollouts_told(&policy, &traffic, history, runs, &|done| progress.show(done));
    progress.clear();
    let causes = Causes::of(&told);
    let outcomes: Vec<Outcome> = told.into_iter().map(|(outcome, _)| outcome).collect();
    let summary = Summary::new(&outcomes, &traffic.truth);
    match output {
        Output::Json => print_json(
            &Report {
                policy: &policy.name,
                version: &policy.version,
                seed: runs.seed,
                dispersion: policy.analysis.dispersion,
                false_rollback_rate: policy.analysis.false_rollback_rate,
                traffic: &traffic,
                history,
                summary,
                causes,
            },
            true,
        ),
        Output::Text => print(&in_words(args, &policy, &traffic, &summary, &causes)),
    }
    Exit::Done
}

impl Causes {
    fn of(told: &[(Outcome, Told)]) -> Causes {
        let mut causes = Causes::default();
        for (_, told) in told {
            if let Some(by) = &told.by {
                *causes.rolled_back_by.entry(by.name().to_owned()).or_default() += 1;
            }
            for hold in &told.holds {
                *causes.held_by.entry(hold).or_default() += 1;
            }
        }
        causes
    }

    /// Each with its number of runs.
    fn rows(&self, runs: u64) -> Vec<Vec<String>> {
        let row = |words: String, times: u64| {
            let share = Share::new(times, runs);
            vec![words, count(times), percent(share.share), interval(&share)]
        };
        let back = self.rolled_back_by.iter().map(|(by, times)| row(format!("Rolled back by {by}"), *times));
        let held = self.held_by.iter().map(|(hold, times)| row(format!("Held: {hold}"), *times));
        back.chain(held).collect()
    }
}

fn traffic(args: &SimulateArgs) -> Result<Traffic, Vec<String>> {
    let (shapes, mut problems) = match args.shapes.shapes() {
        Ok(shapes) => (shapes, Vec::new()),
        Err(problems) => (Vec::new(), problems),
    };
    let mut traffic = Traffic { shapes, ..Traffic::new(args.rps, args.error_rate) };
    traffic.latency.median_seconds = args.latency_median;
    traffic.latency.sigma = args.latency_sigma;
    traffic.truth = Truth {
        error_ratio: args.error_ratio,
        latency_factor: args.latency_factor,
        tail_share: args.tail_share.unwrap_or(0.0),
        tail_seconds: args.tail_time.unwrap_or(0.0),
        onset_seconds: args.onset.map_or(0.0, |onset| onset.as_secs_f64()),
        only: None,
    };
    problems.extend(traffic.check().err().unwrap_or_default());
    if args.phi.is_some_and(|phi| !(1.0..=1000.0).contains(&phi)) {
        problems.push("--phi must be between 1 and 1000".to_owned());
    }
    if problems.is_empty() { Ok(traffic) } else { Err(problems) }
}

/// A line on a terminal that says how far it has come.
pub(super) struct Progress {
    of: u64,
    shown: bool,
}

impl Progress {
    pub fn new(of: u64) -> Progress {
        Progress { of, shown: std::io::stderr().is_terminal() }
    }

    pub fn show(&self, done: u64) {
        const CELLS: u64 = 30;
        let steps = (self.of / 200).max(1);
        if self.shown && (done.is_multiple_of(steps) || done == self.of) {
            let full = (done * CELLS / self.of) as usize;
            let bar = format!("{}{}", "█".repeat(full), "░".repeat(CELLS as usize - full));
            let (done, of) = (count(done), count(self.of));
            let _ = write!(std::io::stderr().lock(), "\r{bar} {done} of {of} runs");
        }
    }

    pub fn clear(&self) {
        if self.shown {
            let _ = write!(std::io::stderr().lock(), "\r\x1b[K");
        }
    }
}

fn in_words(
    args: &SimulateArgs,
    policy: &Policy,
    traffic: &Traffic,
    summary: &Summary,
    causes: &Causes,
) -> String {
    let mut text = format!(
        "{}@{}, {} runs, seed {}\n",
        text::clean(&policy.name),
        text::clean(&policy.version),
        count(summary.runs),
        args.runs.seed
    );
    text.push_str(&world(args, policy, traffic));
    text.push('\n');
    let mut table = rows(summary);
    table.extend(causes.rows(summary.runs));
    text.push_str(&text::table(&table));
    text.push('\n');
    for line in text::wrap(&sentence(policy, summary), 100) {
        text.push_str(&format!("{line}\n"));
    }
    text
}

/// What was simulated.
fn world(args: &SimulateArgs, policy: &Policy, traffic: &Traffic) -> String {
    let truth = &traffic.truth;
    let names: Vec<&str> = args.shapes.shape.iter().map(|name| called(*name)).collect();
    let mut wrong = Vec::new();
    if truth.error_ratio != 1.0 {
        wrong.push(format!("errors ×{}", truth.error_ratio));
    }
    if truth.latency_factor != 1.0 {
        wrong.push(format!("latency ×{}", truth.latency_factor));
    }
    if truth.tail_share > 0.0 {
        let longer = text::latency(truth.tail_seconds);
        wrong.push(format!("{} of the requests longer by {longer}", percent(truth.tail_share)));
    }
    let truth_words = match (wrong.as_slice(), truth.onset_seconds) {
        ([], _) => "nothing".to_owned(),
        (wrong, 0.0) => wrong.join(", "),
        (wrong, onset) => format!("{}, from {} on", wrong.join(", "), seconds(onset)),
    };
    text::table(&[
        vec![
            "Traffic".into(),
            format!(
                "{} requests/s, {} errors, median latency {} (sigma {})",
                traffic.requests_per_second,
                percent(traffic.error_rate),
                text::latency(traffic.latency.median_seconds),
                traffic.latency.sigma
            ),
        ],
        vec!["Shape".into(), if names.is_empty() { "poisson".to_owned() } else { names.join(", ") }],
        vec!["Dispersion".into(), format!("{}", policy.analysis.dispersion)],
        vec!["Wrong with it".into(), truth_words],
    ])
}

fn rows(summary: &Summary) -> Vec<Vec<String>> {
    let row = |name: &str, share: &Share| {
        vec![name.to_owned(), count(share.count), percent(share.share), interval(share)]
    };
    let mut rows = vec![vec!["Outcome".into(), "runs".into(), "share".into(), "95% interval".into()]];
    rows.push(row("Rolled back by the tests, falsely", &summary.false_by_tests));
    rows.push(row("Rolled back by guardrails, falsely", &summary.false_by_guardrails));
    if !summary.harmless {
        rows.push(row("Found by the tests", &summary.found_by_tests));
        rows.push(row("Found by guardrails", &summary.found_by_guardrails));
    }
    if summary.rolled_back_at_maximum.count > 0 {
        rows.push(row("Rolled back at a step's maximum", &summary.rolled_back_at_maximum));
    }
    rows.push(row("Promoted", &summary.promoted));
    if summary.promoted_unproven.count > 0 {
        rows.push(row("Promoted without proof", &summary.promoted_unproven));
    }
    rows.push(row("Undecided at a step's maximum", &summary.undecided));
    let times = |name: &str, times: &crate::montecarlo::Times| {
        let (median, p90) = (time(times.median_seconds), time(times.p90_seconds));
        vec![name.to_owned(), String::new(), format!("median {median}"), format!("90% within {p90}")]
    };
    if !summary.harmless {
        rows.push(times("Time until found", &summary.detection));
    }
    rows.push(times("Time to promotion", &summary.promotion));
    rows
}

fn sentence(policy: &Policy, summary: &Summary) -> String {
    let promised = policy.analysis.false_rollback_rate;
    let alarms = &summary.false_by_tests;
    let verdict = if alarms.high <= promised {
        "the promise is kept"
    } else if alarms.low > promised {
        "the promise is broken in this traffic"
    } else {
        "more runs would tell whether it is kept"
    };
    let kept =
        format!("the policy promises at most {} of harmless versions, and {verdict}", percent(promised));
    if summary.harmless {
        return format!(
            "The tests rolled back {} of {} harmless versions ({}, with 95% confidence between {} and {}); \
             {kept}. Guardrails, which are promised nothing, rolled back {}.",
            count(alarms.count),
            count(summary.runs),
            percent(alarms.share),
            percent(alarms.low),
            percent(alarms.high),
            count(summary.false_by_guardrails.count),
        );
    }
    let found = Share::new(summary.found_by_tests.count + summary.found_by_guardrails.count, summary.runs);
    let soon = match summary.detection.median_seconds {
        Some(median) => format!("half of all runs within {} of its beginning", seconds(median)),
        None => "so fewer than half of all runs".to_owned(),
    };
    format!(
        "The regression was found in {} of {} runs ({}), {soon}. Times are to the end of the window that \
         showed it; a running daemon looks {} later.",
        count(found.count),
        count(summary.runs),
        percent(found.share),
        seconds(policy.analysis.lag.as_secs_f64()),
    )
}
