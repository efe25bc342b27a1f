//! Many seeds, and the runs in which only the truth matters.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use serin::core::reason::ReasonCode;
use serin::core::rollout::Phase;

use crate::run::{Report, run};
use crate::scenario::Scenario;

/// Seeds of a run that says nothing else.
const SEEDS: u64 = 10_000;
/// Seeds with a fault that is known and not mended: around an outage of the store a window is used though the split
/// changed in it.
const OPEN: [u64; 1] = [2237];
const THREADS: u64 = 2;

fn number(name: &str) -> Option<u64> {
    let value = std::env::var(name).ok()?;
    Some(value.parse().unwrap_or_else(|_| panic!("{name} must be a whole number, not {value:?}")))
}

/// Plays a scenario on a runtime of this thread. The clock is the world's; the deadline is there only so
/// that an engine that waits for real time fails instead of hanging.
pub fn play(scenario: Scenario) -> Report {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime");
    let seed = scenario.seed;
    runtime.block_on(async {
        let deadline = std::time::Duration::from_secs(120);
        let played = tokio::time::timeout(deadline, run(scenario)).await;
        played.unwrap_or_else(|_| panic!("seed {seed} waits for real time, or never ends"))
    })
}

fn tell(seed: u64, report: &Report) {
    println!("\n--- seed {seed} (play it again with SEED={seed} cargo test --test simulation) ---");
    for line in &report.story {
        println!("{line}");
    }
    for violation in &report.violations {
        println!("VIOLATED: {violation}");
    }
}

#[test]
fn whatever_happens_the_invariants_hold() {
    if let Some(seed) = number("SEED") {
        let scenario = Scenario::of(seed);
        println!("{scenario:#?}");
        let report = play(scenario);
        tell(seed, &report);
        assert!(report.violations.is_empty(), "seed {seed} breaks {} invariants", report.violations.len());
        return;
    }
    let seeds = number("SEEDS").unwrap_or(SEEDS);
    let first = number("FIRST").unwrap_or(1);
    let next = AtomicU64::new(first);
    let tallies: Vec<Tally> = thread::scope(|scope| {
        let worker = || {
            let mut tally = Tally::default();
            loop {
                let seed = next.fetch_add(1, Ordering::Relaxed);
                if seed >= first + seeds {
                    return tally;
                }
                let scenario = Scenario::of(seed);
                let report = play(scenario.clone());
                tally.add(&scenario, &report);
            }
        };
        let workers: Vec<_> = (0..THREADS).map(|_| scope.spawn(worker)).collect();
        workers.into_iter().map(|worker| worker.join().expect("a worker")).collect()
    });
    let mut tally = Tally::default();
    tallies.into_iter().for_each(|part| tally.join(part));
    println!("{seeds} seeds: {tally:#?}");
    // Invariant 10, with five standard errors of room: all policies here promise 1%.
    let promised = 0.01 * tally.harmless as f64;
    assert!(
        tally.wrongly_rolled_back as f64 <= promised + 5.0 * promised.sqrt() + 1.0,
        "invariant 10: {} of {} harmless rollouts were taken back by the tests",
        tally.wrongly_rolled_back,
        tally.harmless
    );
    for (seed, fault) in tally.broken.extract_if(.., |seed, _| OPEN.contains(seed)) {
        println!("KNOWN AND OPEN: seed {seed}: {fault}");
    }
    assert!(
        tally.broken.is_empty(),
        "{} of {seeds} seeds break an invariant; the first: {:#?}; play one again with SEED=N cargo test \
         --test simulation -- --nocapture",
        tally.broken.len(),
        tally.broken.iter().take(5).collect::<Vec<_>>()
    );
}

/// What many runs were like.
#[derive(Debug, Default)]
struct Tally {
    /// How the rollouts ended.
    ends: BTreeMap<String, u64>,
    /// Where processes died.
    deaths: BTreeMap<String, u64>,
    /// How often failpoints were passed.
    passed: BTreeMap<&'static str, u64>,
    steps: u64,
    ticks: u64,
    /// Rollouts whose canary was no worse, and how many of them the tests took back.
    harmless: u64,
    wrongly_rolled_back: u64,
    /// Seeds with violations, and the first one of each.
    broken: BTreeMap<u64, String>,
}

impl Tally {
    fn add(&mut self, scenario: &Scenario, report: &Report) {
        for rollout in report.rollouts() {
            let reason = match &rollout.phase {
                Phase::RolledBack { reason } => format!(" ({:?})", reason.code),
                _ => String::new(),
            };
            let plan = scenario.targets.iter().find(|plan| plan.name == rollout.target);
            if plan.is_some_and(|plan| plan.harmless) {
                let by_tests = |code| matches!(code, ReasonCode::Harm | ReasonCode::Catastrophe);
                let wrong = matches!(&rollout.phase, Phase::RolledBack { reason } if by_tests(reason.code));
                self.harmless += 1;
                self.wrongly_rolled_back += u64::from(wrong);
            }
            *self.ends.entry(format!("{}{reason}", rollout.phase.name())).or_default() += 1;
            self.ticks += rollout.tick_seq;
        }
        for place in &report.deaths {
            *self.deaths.entry(place.clone()).or_default() += 1;
        }
        for (name, count) in &report.passed {
            *self.passed.entry(name).or_default() += count;
        }
        self.steps += report.steps;
        if let Some(first) = report.violations.first() {
            self.broken.insert(scenario.seed, first.clone());
        }
    }

    fn join(&mut self, other: Tally) {
        let add = |to: &mut BTreeMap<String, u64>, from: BTreeMap<String, u64>| {
            from.into_iter().for_each(|(name, count)| *to.entry(name).or_default() += count);
        };
        add(&mut self.ends, other.ends);
        add(&mut self.deaths, other.deaths);
        other.passed.into_iter().for_each(|(name, count)| *self.passed.entry(name).or_default() += count);
        self.steps += other.steps;
        self.ticks += other.ticks;
        self.harmless += other.harmless;
        self.wrongly_rolled_back += other.wrongly_rolled_back;
        self.broken.extend(other.broken);
    }
}
