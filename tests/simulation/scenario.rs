//! What happens in a run, all of it chosen by the seed before the run begins.

use serin::core::limit::GuardrailLimit;
use serin::core::policy::{AtMax, GuardrailAction, LimitOutcome, Metric, Policy, Signal, Step};
use serin::core::rollout::CommandKind;

use crate::dice::Dice;
use crate::faults::{Fault, FaultKind};
use crate::router::RouterKind;
use crate::testkit::builders::{error_guardrail, errors, latency, percent, policy, secs};
use crate::world::Behaviour;

/// The targets' names.
const NAMES: [&str; 4] = ["shop", "cart", "mail", "bill"];

/// Everything that is chosen beforehand.
#[derive(Clone, Debug)]
pub struct Scenario {
    pub seed: u64,
    pub router: RouterKind,
    pub targets: Vec<TargetPlan>,
    /// Things go wrong until then, in milliseconds.
    pub hostile_until: i64,
    pub faults: Vec<Fault>,
    /// In order of time, with the target's place.
    pub happenings: Vec<(i64, usize, Happening)>,
    /// The chance that a process gets a step at which it dies.
    pub deadly: f64,
}

/// A target, and the truth about it.
#[derive(Clone, Debug)]
pub struct TargetPlan {
    pub name: &'static str,
    pub policy: Policy,
    pub proxies: usize,
    pub rate: f64,
    /// Of the first and the second pool, in milliseconds.
    pub scrapes: [i64; 2],
    pub stable: Behaviour,
    pub canary: Behaviour,
    /// The canary is no worse than the baseline, and nothing but the tests could think so.
    pub harmless: bool,
    /// What a person does with a rollout that only a person can end.
    pub last_word: CommandKind,
    /// It is declared from the beginning.
    pub is_declared: bool,
}

/// Something that somebody does.
#[derive(Clone, Debug, PartialEq)]
pub enum Happening {
    /// A rollout is asked for.
    Start { supersede: bool },
    /// A command for the rollout that has the target.
    Command { kind: CommandKind, revision: Revision, again: bool },
    /// The canary's weight is divided by that, at the router.
    LoweredByHand(u16),
    /// The canary's weight is raised by so much, at the router.
    RaisedByHand(u16),
    /// A proxy starts anew with its configured weights.
    ProxyRestarts,
    /// The processes of the first or the second pool start anew.
    PoolRestarts(usize),
    /// A second process of Serin takes over, and the first does not know.
    SecondProcess,
    /// The configuration declares the target, again or for the first time.
    Declare,
    /// The configuration declares it otherwise.
    Respec(Respec),
    /// The configuration does not declare it any more.
    Remove,
}

/// Which revision a command says it has seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Revision {
    None,
    Current,
    Stale,
}

/// How a target is declared otherwise.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Respec {
    /// Only who is told changes: taken at once.
    Environment,
    /// Its pages are elsewhere: taken at once.
    Endpoints,
    /// Its series have other labels: taken when no rollout has it.
    Mark,
    /// Its series are in the other source: taken when no rollout has it.
    Source,
}

impl Scenario {
    pub fn of(seed: u64) -> Scenario {
        let mut dice = Dice::new(seed);
        let count = *dice.pick(&[1, 1, 1, 1, 2, 2, 2, 2, 3, 4]);
        let router = *dice.pick(&[RouterKind::External, RouterKind::Serving]);
        let policies: Vec<Policy> = (0..count).map(|_| some_policy(&mut dice)).collect();
        let interval = policies[0].analysis.interval.as_millis() as i64;
        let until = interval * dice.between(30, 70) as i64;
        let calm = dice.chance(0.15);
        let targets: Vec<TargetPlan> = policies
            .into_iter()
            .zip(NAMES)
            .map(|(policy, name)| some_target(&mut dice, name, policy, router, until))
            .collect();
        Scenario {
            seed,
            router,
            hostile_until: until,
            faults: if calm { Vec::new() } else { some_faults(&mut dice, router, until, count) },
            happenings: some_happenings(&mut dice, router, until, calm, &targets),
            deadly: if calm { 0.0 } else { *dice.pick(&[0.0, 0.3, 0.9]) },
            targets,
        }
    }
}

fn some_target(
    dice: &mut Dice,
    name: &'static str,
    policy: Policy,
    router: RouterKind,
    until: i64,
) -> TargetPlan {
    let (stable, canary, harmless) = some_truth(dice, until);
    TargetPlan {
        name,
        proxies: match router {
            RouterKind::External => 1,
            RouterKind::Serving => dice.between(1, 3) as usize,
        },
        rate: *dice.pick(&[20.0, 200.0, 1000.0, 4000.0]),
        scrapes: [*dice.pick(&[1000, 2000, 5000]), *dice.pick(&[1000, 2000, 5000])],
        stable,
        canary,
        harmless,
        last_word: dice.pick(&[CommandKind::Promote, CommandKind::Rollback]).clone(),
        is_declared: name == NAMES[0] || dice.chance(0.85),
        policy,
    }
}

fn some_policy(dice: &mut Dice) -> Policy {
    let interval = dice.between(2, 10);
    let at_max = *dice.pick(&[AtMax::Hold, AtMax::RollBack, AtMax::PromoteUnproven]);
    let plans = [vec![5.0, 25.0, 100.0], vec![10.0, 50.0, 100.0], vec![50.0, 100.0], vec![1.0, 100.0]];
    let weights = dice.pick(&plans);
    let steps: Vec<Step> = weights
        .iter()
        .map(|weight| Step {
            weight: percent(*weight),
            min: secs(interval * dice.between(1, 6)),
            max: dice.chance(0.8).then(|| secs(interval * dice.between(8, 20))),
            at_max,
            min_requests: 50,
        })
        .collect();
    let outcome = |dice: &mut Dice| *dice.pick(&[LimitOutcome::Hold, LimitOutcome::RollBack]);
    let (blind, silent) = (outcome(dice), outcome(dice));
    let mut builder = policy()
        .interval(secs(interval))
        .lag(secs(*dice.pick(&[0, 0, 1, 5])))
        .warm_up(secs(*dice.pick(&[0, 0, interval, interval * 2])))
        .dispersion(*dice.pick(&[1.0, 3.0]))
        .steps(steps)
        .blind(secs(interval * dice.between(3, 12)), blind)
        .silent(secs(interval * dice.between(3, 8)), silent)
        .confirm_within(secs(interval * dice.between(3, 10)))
        .metrics(some_metrics(dice))
        .bake(secs(interval * dice.between(1, 8)));
    if dice.chance(0.1) {
        builder = builder.observe_only();
    }
    for number in 0..dice.between(0, 2) {
        let mut guardrail = error_guardrail(*dice.pick(&[0.02, 0.1, 0.5]));
        guardrail.name = format!("guardrail_{number}");
        guardrail.hold_for = secs(interval * dice.between(0, 3));
        guardrail.over = secs(interval * dice.between(1, 4));
        guardrail.action =
            *dice.pick(&[GuardrailAction::RollBack, GuardrailAction::Hold, GuardrailAction::Alert]);
        guardrail.regardless_of_baseline = dice.chance(0.2);
        if dice.chance(0.3) {
            guardrail.limit = GuardrailLimit::RatioToBaseline(3.0);
        }
        if dice.chance(0.2) {
            guardrail.signal = Signal::Query { query: "errors{$arm}".to_owned() };
        }
        builder = builder.guardrail(guardrail);
    }
    builder.build()
}

fn some_metrics(dice: &mut Dice) -> Vec<Metric> {
    match dice.between(0, 9) {
        0..=5 => vec![errors()],
        6 | 7 => vec![errors(), latency()],
        _ => vec![
            Metric { name: "errors".to_owned(), ..errors() },
            Metric { name: "more_errors".to_owned(), ..errors() },
        ],
    }
}

/// How both versions truly are, and whether the canary is harmless.
fn some_truth(dice: &mut Dice, until: i64) -> (Behaviour, Behaviour, bool) {
    let base = *dice.pick(&[0.0, 0.001, 0.005, 0.05]);
    let stable = Behaviour::errors(base);
    let middle = dice.between(1, until as u64) as i64;
    match dice.between(0, 9) {
        0..=3 => (stable, stable, true),
        4 => (stable, Behaviour::errors((base * 3.0).max(0.02)), false),
        5 => (stable, Behaviour::errors(0.5), false),
        6 => (stable, Behaviour { slowness: 1.6, ..stable }, false),
        7 => (stable, Behaviour { turns: Some((middle, 0.3)), ..stable }, false),
        8 => (stable, Behaviour { poisons: Some(0.4), ..stable }, false),
        _ => {
            let both = Behaviour { turns: Some((middle, 0.2)), ..stable };
            (both, both, true)
        }
    }
}

fn some_faults(dice: &mut Dice, router: RouterKind, until: i64, targets: usize) -> Vec<Fault> {
    let count = dice.between(0, 6 + 2 * targets as u64);
    (0..count)
        .map(|_| {
            let from = dice.between(0, until as u64) as i64;
            // Most are short, a few outlast every limit of the policy.
            let length =
                if dice.chance(0.2) { until / 2 } else { dice.between(500, until as u64 / 8) as i64 };
            let kind = some_fault(dice, router);
            let can_be_one =
                kind.is_of_source() || kind.is_of_router() || kind == FaultKind::WorkloadNotReady;
            let is_one = can_be_one && targets > 1 && dice.chance(0.6);
            let target = is_one.then(|| NAMES[dice.between(0, targets as u64 - 1) as usize].to_owned());
            Fault { from, until: from + length, target, kind }
        })
        .collect()
}

fn some_fault(dice: &mut Dice, router: RouterKind) -> FaultKind {
    match dice.between(0, 28) {
        0 => FaultKind::ProviderUnreachable,
        1 => FaultKind::ProviderTimeout,
        2 => FaultKind::ProviderStatus,
        3 => FaultKind::ProviderMalformed,
        4 => FaultKind::ProviderNotFinite,
        5 => FaultKind::ProviderBoundsDiffer,
        6 => FaultKind::ScrapesStop,
        7 => FaultKind::CanarySilent,
        8 => FaultKind::BaselineSilent,
        9 => FaultKind::SamplesLate(dice.between(1000, 20_000) as i64),
        10 => FaultKind::RouterUnreachable,
        11 => FaultKind::RouterRefuses,
        12 => FaultKind::RouterHangs,
        13 => FaultKind::RouterDelays(dice.between(1, 4) as u32),
        14 | 15 if router == RouterKind::Serving => FaultKind::ProxyCutOff,
        14 | 15 => FaultKind::RouterUnreachable,
        16 => FaultKind::StoreFails,
        17 => FaultKind::StoreLosesAnswers,
        18 => FaultKind::NotifierFails,
        19 => FaultKind::NotifierLate,
        20 => FaultKind::WorkloadNotReady,
        21 | 22 => FaultKind::ProviderSlow,
        23 => FaultKind::ProviderHangs,
        24 | 25 => FaultKind::RouterSilent,
        26 => FaultKind::StoreHangs,
        27 => FaultKind::StoreSilent,
        _ => FaultKind::WallClock(*dice.pick(&[3_600_000, -3_600_000, 40_000, -40_000])),
    }
}

fn some_happenings(
    dice: &mut Dice,
    router: RouterKind,
    until: i64,
    calm: bool,
    targets: &[TargetPlan],
) -> Vec<(i64, usize, Happening)> {
    let start = || Happening::Start { supersede: false };
    let mut happenings = Vec::new();
    for (place, plan) in targets.iter().enumerate() {
        let mut at = dice.between(0, 5000) as i64;
        if !plan.is_declared {
            at = dice.between(0, until as u64 / 2) as i64;
            happenings.push((at, place, Happening::Declare));
            at += dice.between(0, 5000) as i64;
        }
        happenings.push((at, place, start()));
        if !calm && dice.chance(0.2) {
            let at = dice.between(0, until as u64) as i64;
            happenings.push((at, place, Happening::Remove));
            let again = at + dice.between(0, until as u64 / 4) as i64;
            if again < until && dice.chance(0.7) {
                happenings.push((again, place, Happening::Declare));
                happenings.push((again + dice.between(0, 20_000) as i64, place, start()));
            }
        }
        if dice.chance(0.3) {
            happenings.push((until, place, start()));
        }
    }
    let count = if calm { 0 } else { dice.between(0, 4 + 2 * targets.len() as u64) };
    for _ in 0..count {
        let at = dice.between(0, until as u64) as i64;
        let place = dice.between(0, targets.len() as u64 - 1) as usize;
        happenings.push((at, place, some_happening(dice, router)));
    }
    happenings.sort_by_key(|(at, ..)| *at);
    happenings
}

fn some_happening(dice: &mut Dice, router: RouterKind) -> Happening {
    let by_hand = router == RouterKind::External;
    match dice.between(0, 14) {
        12 if by_hand => Happening::SecondProcess,
        13 => {
            let ways = [Respec::Environment, Respec::Endpoints, Respec::Mark, Respec::Source];
            Happening::Respec(*dice.pick(&ways))
        }
        0 => Happening::Start { supersede: true },
        1 => Happening::Start { supersede: false },
        2 | 3 if by_hand => Happening::LoweredByHand(dice.between(2, 4) as u16 * (dice.next() % 2) as u16),
        4 if by_hand => Happening::RaisedByHand(dice.between(100, 5000) as u16),
        2..=4 => Happening::ProxyRestarts,
        5 => Happening::PoolRestarts(dice.between(0, 1) as usize),
        _ => {
            let kinds = [
                CommandKind::Pause,
                CommandKind::Resume,
                CommandKind::Resume,
                CommandKind::Advance,
                CommandKind::Promote,
                CommandKind::Rollback,
            ];
            Happening::Command {
                kind: dice.pick(&kinds).clone(),
                revision: *dice.pick(&[Revision::None, Revision::None, Revision::Current, Revision::Stale]),
                again: dice.chance(0.2),
            }
        }
    }
}

/// A run of one target without faults, in which only the truth matters.
pub fn calm(seed: u64, policy: Policy, stable: Behaviour, canary: Behaviour) -> Scenario {
    let mut dice = Dice::new(seed);
    let interval = policy.analysis.interval.as_millis() as i64;
    Scenario {
        seed,
        router: *dice.pick(&[RouterKind::External, RouterKind::Serving]),
        hostile_until: interval * 40,
        faults: Vec::new(),
        happenings: vec![(dice.between(0, 5000) as i64, 0, Happening::Start { supersede: false })],
        deadly: 0.0,
        targets: vec![TargetPlan {
            name: NAMES[0],
            proxies: 1,
            rate: 2000.0,
            scrapes: [1000, 1000],
            stable,
            canary,
            harmless: stable == canary,
            last_word: CommandKind::Rollback,
            is_declared: true,
            policy,
        }],
    }
}
