//! False rollbacks of the whole shipped rule in hostile traffic, and its delays: `benches/results/hostile.md`.

use std::collections::BTreeMap;
use std::time::Instant;

use serin::core::policy::Policy;
use serin::montecarlo::hostile::{Delay, GOAL, GOAL_HIGH, Row, delay, harms, measure, shape, shapes};
use serin::montecarlo::{Runs, Share};

/// Of every cell.
pub const SEED: u64 = 1;
/// Runs of each cell with something wrong, and of the times to 100%.
const DELAYS: u64 = 400;
/// The policy whose rule is measured.
pub const POLICY: &str = "policies/standard.yaml";

/// Measures everything with so many harmless runs a cell, and writes the page.
pub fn page(policy: &Policy, runs: u64) -> String {
    let mut rows = Vec::new();
    let mut delays = Vec::new();
    let began = Instant::now();
    for history in [false, true] {
        for shape in shapes() {
            eprintln!("{} ({}), {:.0} s", shape.name, on(history), began.elapsed().as_secs_f64());
            rows.push(measure(policy, &shape, history, Runs::new(runs, SEED), &|_| {}));
        }
        for harm in harms() {
            eprintln!("{} ({}), {:.0} s", harm.name, on(history), began.elapsed().as_secs_f64());
            delays.push(delay(policy, &harm, history, Runs::new(runs.min(DELAYS), SEED), &|_| {}));
        }
    }
    written(policy, &rows, &delays, runs)
}

fn written(policy: &Policy, rows: &[Row], delays: &[Delay], runs: u64) -> String {
    let mut page = format!(
        "# Hostile traffic: the whole shipped rule\n\n\
         Policy `{POLICY}` ({}@{}): its tests, the catastrophe lane, its guardrails and the rollout's own \
         rules, from 5% to 100%. {runs} harmless releases a cell, seed {SEED}; intervals are exact (Clopper and \
         Pearson, 95%). \"History\" is the two hours of the baseline that a provider has recorded. Every cell is \
         printed by\n\n```sh\nserin simulate --policy {POLICY} --hostile NAME --history on|off --runs {runs} \
         --seed {SEED}\n```\n\nand the whole page by `make bench-hostile RUNS={runs}`. The rules of Kayenta, \
         Flagger and Argo Rollouts are in [detection.md](detection.md).\n\n",
        policy.name, policy.version
    );
    page.push_str(&summary(rows));
    for history in [false, true] {
        page.push_str(&format!("## Harmless releases, {}\n\n", on(history)));
        page.push_str(
            "| traffic | rolled back | 95% interval | goal | by | held | paged | at 100%, median / 90% |\n\
             |---|---|---|---|---|---|---|---|\n",
        );
        for row in rows.iter().filter(|row| row.history == history) {
            page.push_str(&line(row));
        }
        page.push('\n');
    }
    for history in [false, true] {
        page.push_str(&format!("## Delays of harmful releases, {}\n\n", on(history)));
        page.push_str(
            "Seconds from the onset to the rollback, over all runs; \"–\": not in so many of them.\n\n\
             | release | found | median | 90% | before the onset | promoted | by |\n|---|---|---|---|---|---|---|\n",
        );
        for delay in delays.iter().filter(|delay| delay.history == history) {
            page.push_str(&format!(
                "| `{}` | {} | {} | {} | {} | {} | {} |\n",
                delay.harm,
                percent(delay.found.share),
                seconds(delay.detection.median_seconds),
                seconds(delay.detection.p90_seconds),
                percent(delay.early.share),
                percent(delay.promoted.share),
                named(&delay.by)
            ));
        }
        page.push('\n');
    }
    page.push_str("## Shapes\n\n| name | traffic |\n|---|---|\n");
    for shape in shapes() {
        page.push_str(&format!("| `{}` | {} |\n", shape.name, shape.words));
    }
    page.push_str("\n## Harms\n\n| name | what is wrong |\n|---|---|\n");
    for harm in harms() {
        page.push_str(&format!("| `{}` | {} |\n", harm.name, harm.words));
    }
    page
}

/// How many cells meet the goal, and which do not.
fn summary(rows: &[Row]) -> String {
    let covered: Vec<&Row> = rows.iter().filter(|row| row.outside.is_none()).collect();
    let missed: Vec<&&Row> = covered.iter().filter(|row| !row.is_met()).collect();
    let mut text = format!(
        "Goal: at most {} of harmless releases are rolled back, and at most {} by the interval's upper end. {} of \
         {} cells that the promise covers meet it.\n\n",
        percent(GOAL),
        percent(GOAL_HIGH),
        covered.len() - missed.len(),
        covered.len()
    );
    for row in missed {
        let of = percent(row.rolled_back.share);
        text.push_str(&format!(
            "- missed: `{}`, {}: {of} ({})\n",
            row.shape,
            on(row.history),
            named(&row.by)
        ));
    }
    text.push('\n');
    text
}

fn line(row: &Row) -> String {
    let goal = match &row.outside {
        Some(why) => format!("outside: {why}"),
        None if row.is_met() => "met".to_owned(),
        None => "**missed**".to_owned(),
    };
    let held = match row.holds.is_empty() {
        true => percent(row.held.share),
        false => format!("{} ({})", percent(row.held.share), named(&row.holds)),
    };
    let (median, p90) = (seconds(row.promotion.median_seconds), seconds(row.promotion.p90_seconds));
    format!(
        "| `{}` | {} | {} | {goal} | {} | {held} | {} | {median} / {p90} |\n",
        row.shape,
        percent(row.rolled_back.share),
        interval(&row.rolled_back),
        named(&row.by),
        percent(row.paged.share),
    )
}

fn on(history: bool) -> &'static str {
    if history { "with history" } else { "without history" }
}

fn percent(share: f64) -> String {
    format!("{}%", (share * 10_000.0).round() / 100.0)
}

fn interval(share: &Share) -> String {
    format!("{} – {}", percent(share.low), percent(share.high))
}

fn seconds(time: Option<f64>) -> String {
    time.map_or_else(|| "–".to_owned(), |time| format!("{time:.0}"))
}

fn named(counts: &BTreeMap<String, u64>) -> String {
    let all: Vec<String> = counts.iter().map(|(name, times)| format!("{name} {times}")).collect();
    all.join(", ")
}

/// Some cells with few runs: that it works.
pub fn small(policy: &Policy) -> String {
    let runs = Runs::new(2, SEED);
    let of = ["independent", "bursts-30-in-60s"].into_iter().filter_map(shape);
    let rows: Vec<Row> = of.map(|shape| measure(policy, &shape, true, runs, &|_| {})).collect();
    let delays: Vec<Delay> =
        harms().iter().take(1).map(|harm| delay(policy, harm, false, runs, &|_| {})).collect();
    written(policy, &rows, &delays, 2)
}
