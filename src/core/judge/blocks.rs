//! Harm of proportions and rates: a linear bet over blocks of whole windows, each as long as one incident's bad
//! requests last by what the baseline has shown before it.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::assessment::BlockAssessment;
use super::comparison::{MILLION, Tally};
use super::harm::HarmWindow;
use super::history::MetricHistory;
use super::interval::Interval;
use crate::core::metric::Usage;
use crate::core::policy::{Metric, Policy};
use crate::core::source::MetricSource;
use crate::core::split::Weight;
use crate::core::time::Timestamp;
use crate::stats::block::{Because, Bursts, Watch, is_full};
use crate::stats::linear::{Counted, Leaders, LinearBet, factors};
use crate::stats::mixture::Starts;
use crate::stats::proportion::{Margin, Pair};
use crate::stats::special::{ln, ln_add_exp, ln_mean_exp};

/// So many routes bet by themselves, beside all of them together.
const MOST_ROUTES: usize = 32;
/// The ratio of the weights counts at most so many times the canary's own share of the step.
const MOST_BY_WEIGHT: f64 = 2.0;
/// A gap between two windows that is more than clocks' doing.
const GAP: Duration = Duration::from_secs(1);

/// The evidence of one metric.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct BlockHarm {
    starts: Starts,
    /// r0.
    ratio: f64,
    /// The traffic is split by weight, and the policy checks that it is.
    by_weight: bool,
    /// What a block may be chosen from besides the rollout's own windows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    past: Option<Bursts>,
    watch: Watch,
    floor: Floor,
    pooled: Bet,
    /// Of a metric that is compared by route; fixed with the first block.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    routes: Vec<RouteBet>,
    block: Block,
    /// All requests of canary and baseline in this step's used windows.
    step: [u64; 2],
    /// When the last window that was consumed ended.
    until: Option<Timestamp>,
    /// ln of the evidence after the last block.
    ln_e: f64,
    /// The interval is wanted.
    shows: bool,
    interval: Interval,
}

/// δ0 = min(the policy's floor, ½ (y + 3)/M) of the baseline before the first block: a floor in points would let
/// a service that hardly ever fails lose many times what it is allowed.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
struct Floor {
    policy: f64,
    /// y of M.
    before: Tally,
    from_history: bool,
    frozen: Option<f64>,
}

impl Floor {
    fn freeze(&mut self) -> f64 {
        let known = 0.5 * (self.before.bad as f64 + 3.0) / self.before.total.max(1) as f64;
        *self.frozen.get_or_insert(self.policy.min(known))
    }
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Bet {
    bet: LinearBet,
    leaders: Leaders,
}

impl Bet {
    fn new(mass: f64) -> Bet {
        Bet { bet: LinearBet::new(mass), leaders: Leaders::new(mass) }
    }

    fn take(&mut self, block: &Block, excesses: impl Iterator<Item = f64>, bad: u64, cut: bool) {
        let share = self.bet.start(block.due);
        let factors = factors(excesses, cut);
        let scale = self.bet.multiply(&factors);
        let from = block.from.map_or(0, |from| from.0);
        self.leaders.take(from, share, &factors, scale, bad);
    }
}

/// A route with a bet of its own.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct RouteBet {
    name: String,
    bet: Bet,
    /// Of canary and baseline, in this step's blocks.
    step: [Tally; 2],
}

/// The block that is not full yet.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
struct Block {
    /// Counts the blocks from 0.
    number: u64,
    target: Duration,
    because: Because,
    seconds: f64,
    /// Prior mass that starts with it.
    due: f64,
    from: Option<Timestamp>,
    weights: [Weight; 2],
    strata: Vec<Stratum>,
}

impl Block {
    fn is_open(&self) -> bool {
        !self.strata.is_empty()
    }

    fn add(&mut self, route: &str, arms: [Tally; 2]) {
        let at = self.strata.iter().position(|stratum| stratum.route == route);
        match at.and_then(|at| self.strata.get_mut(at)) {
            Some(known) => known.arms.iter_mut().zip(arms).for_each(|(sum, arm)| sum.add(arm)),
            None => self.strata.push(Stratum { route: route.to_owned(), arms }),
        }
    }
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Stratum {
    route: String,
    /// Canary and baseline.
    arms: [Tally; 2],
}

impl Stratum {
    /// Where both arms have requests; `by_weight` is the least κ.
    fn counted(&self, by_weight: f64) -> Option<Counted> {
        let [canary, baseline] = self.arms;
        (canary.total > 0 && baseline.total > 0).then(|| Counted {
            bad: canary.bad as f64,
            base_bad: baseline.bad as f64,
            base_requests: baseline.total as f64,
            kappa: (canary.total as f64 / baseline.total as f64).max(by_weight),
        })
    }
}

impl BlockHarm {
    /// `dispersion` tempers what is shown besides; the bet needs none.
    pub fn new(
        metric: &Metric,
        policy: &Policy,
        history: Option<&MetricHistory>,
        dispersion: f64,
    ) -> BlockHarm {
        let starts = Starts::new(policy.expected_analysis(), policy.longest_analysis());
        let unit = if matches!(metric.source, MetricSource::Rate { .. }) { MILLION } else { 1.0 };
        let past = history.and_then(|history| history.requests);
        let before = past.map_or(Tally::default(), |[bad, all]| Tally::new(bad, all));
        let mass = starts.initial();
        BlockHarm {
            ratio: 1.0 + metric.tolerance,
            by_weight: unit == 1.0 && policy.analysis.traffic_share.is_some(),
            past: history.and_then(|history| history.bursts),
            watch: Watch::default(),
            floor: Floor {
                policy: metric.harm_floor / unit,
                before,
                from_history: past.is_some(),
                frozen: None,
            },
            pooled: Bet::new(mass),
            routes: Vec::new(),
            block: Block::default(),
            step: [0; 2],
            until: None,
            ln_e: 0.0,
            shows: true,
            interval: Interval::new(mass, dispersion),
            starts,
        }
    }

    /// As [`BlockHarm::new`], of what is not counted: its past is not kept.
    pub fn of_the_rest(
        metric: &Metric,
        policy: &Policy,
        history: Option<&MetricHistory>,
        dispersion: f64,
    ) -> BlockHarm {
        let mut rest = BlockHarm::new(metric, policy, None, dispersion);
        if let Some([good, all]) = history.and_then(|history| history.requests) {
            rest.floor.before = Tally::new(all.saturating_sub(good), all);
            rest.floor.from_history = true;
        }
        rest
    }

    pub fn enter_step(&mut self) {
        self.end(true);
        self.step = [0; 2];
        self.interval.enter_step();
        self.routes.iter_mut().for_each(|route| route.step = Default::default());
    }

    /// Takes in a window, of whose bad requests `arms` tells: as a whole, or route by route.
    pub fn take(&mut self, window: &HarmWindow<'_>, arms: &[(&str, [Tally; 2])], baseline: Option<Tally>) {
        self.shows = window.ratios;
        let Some(times) = window.seen.window else { return };
        let weights = [window.tick.weight, window.tick.baseline_weight];
        let gap = self.until.is_some_and(|until| times.start > until.plus(GAP));
        let other = self.block.is_open() && self.block.weights != weights;
        let tested = window.used && !arms.is_empty();
        if gap || other || !tested {
            self.end(true);
        }
        if gap {
            self.watch.interrupt();
        }
        self.gather_routes(window.metric, arms);
        if tested {
            self.add(window, arms, weights);
        }
        if let Some(baseline) = baseline.filter(|_| window.seen.usage != Usage::Baking) {
            if !self.floor.from_history && self.floor.frozen.is_none() {
                self.floor.before.add(baseline);
            }
            self.watch.take((baseline.bad, baseline.total), window.length);
        }
        self.until = Some(times.end);
        if self.block.is_open() && is_full(self.block.seconds, self.block.target) {
            self.end(false);
        }
    }

    fn add(&mut self, window: &HarmWindow<'_>, arms: &[(&str, [Tally; 2])], weights: [Weight; 2]) {
        if !self.block.is_open() {
            self.floor.freeze();
            let (target, because) = match window.policy.analysis.burst {
                Some(burst) => (burst, Because::Policy),
                None => self.watch.choose(self.past.as_ref()),
            };
            self.block.target = target;
            self.block.because = because;
            self.block.weights = weights;
            self.block.from = window.seen.window.map(|times| times.start);
        }
        for (route, both) in arms {
            self.block.add(route, *both);
            let [canary, baseline] = *both;
            if let Some(pair) = Pair::new((canary.bad, canary.total), (baseline.bad, baseline.total))
                && self.shows
            {
                self.interval.see(&pair);
            }
            let totals = both.map(|arm| arm.total);
            self.step.iter_mut().zip(totals).for_each(|(sum, total)| *sum = sum.saturating_add(total));
        }
        self.block.seconds += window.length.as_secs_f64();
        self.block.due += self.starts.test(window.length);
    }

    /// Routes that are seen until the first block has ended bet by themselves too.
    fn gather_routes(&mut self, metric: &Metric, arms: &[(&str, [Tally; 2])]) {
        if metric.by_route.is_none() || self.block.number > 0 {
            return;
        }
        for (name, _) in arms {
            if !self.routes.iter().any(|route| route.name == *name) {
                let bet = Bet::new(self.starts.initial());
                self.routes.push(RouteBet { name: (*name).to_owned(), bet, step: Default::default() });
            }
        }
    }

    /// With the first block they are fixed: those with the most requests.
    fn fix_routes(&mut self, block: &Block) {
        let requests = |route: &RouteBet| {
            let of = block.strata.iter().find(|stratum| stratum.route == route.name);
            of.map_or(0, |stratum| stratum.arms[1].total)
        };
        if block.number == 0 && self.routes.len() > MOST_ROUTES {
            self.routes.sort_by_key(|route| std::cmp::Reverse(requests(route)));
            self.routes.truncate(MOST_ROUTES);
        }
    }

    /// Ends the block, if there is one. A block that is `cut` short counts only against harm.
    fn end(&mut self, cut: bool) {
        if !self.block.is_open() {
            return;
        }
        let block = std::mem::take(&mut self.block);
        self.fix_routes(&block);
        let by_weight = self.least_kappa(&block);
        let margin = Margin { ratio: self.ratio, difference: self.floor.freeze() };
        let counted: Vec<(&str, Counted, [Tally; 2])> = block
            .strata
            .iter()
            .filter_map(|stratum| Some((stratum.route.as_str(), stratum.counted(by_weight)?, stratum.arms)))
            .collect();
        let all_bad = counted.iter().map(|(_, _, [canary, _])| canary.bad).sum();
        let excesses = counted.iter().map(|(_, counted, _)| counted.excess(margin));
        self.pooled.take(&block, excesses, all_bad, cut);
        for route in &mut self.routes {
            let mine = counted.iter().find(|(name, _, _)| *name == route.name);
            let bad = mine.map_or(0, |(_, _, [canary, _])| canary.bad);
            route.bet.take(&block, mine.map(|(_, counted, _)| counted.excess(margin)).into_iter(), bad, cut);
            for (sum, arm) in route.step.iter_mut().zip(mine.into_iter().flat_map(|(_, _, arms)| arms)) {
                sum.add(*arm);
            }
        }
        if self.shows {
            let strata: Vec<Counted> = counted.iter().map(|(_, counted, _)| *counted).collect();
            self.interval.take(block.due, cut, &strata);
            self.interval.find(self.starts.unspent());
        }
        let mut emptied = block.strata;
        emptied.clear();
        self.block = Block {
            number: block.number + 1,
            target: block.target,
            because: block.because,
            strata: emptied,
            ..Block::default()
        };
        self.ln_e = self.weigh();
    }

    /// Where errors take traffic away (ejection, readiness, retries elsewhere), the good requests that would
    /// dilute them never come: κ is at least the ratio of the weights, where the traffic is split by weight.
    fn least_kappa(&self, block: &Block) -> f64 {
        let [canary, baseline] = block.weights.map(|weight| f64::from(weight.0));
        let [n, m] = self.step.map(|total| total as f64);
        if !self.by_weight || baseline == 0.0 || m == 0.0 {
            return 0.0;
        }
        (canary / baseline).min(MOST_BY_WEIGHT * n / m)
    }

    /// ½ of the product over routes, ½ of the mean of the routes' own; without routes the whole.
    fn weigh(&self) -> f64 {
        let unspent = self.starts.unspent();
        let pooled = self.pooled.bet.ln_e(unspent);
        if self.routes.is_empty() {
            return pooled;
        }
        let own: Vec<f64> = self.routes.iter().map(|route| route.bet.bet.ln_e(unspent)).collect();
        ln(0.5) + ln_add_exp(pooled, ln_mean_exp(&own))
    }

    pub fn ln_e(&self) -> f64 {
        self.ln_e
    }

    /// Enough bad requests of the canary since the start that leads: three single errors of a service that never
    /// fails decide nothing.
    pub fn may_decide(&self, min_bad: u64) -> bool {
        let (bad, _) = match self.worst_route() {
            Some(worst) if worst.bet.bet.ln_e(0.0) > self.pooled.bet.ln_e(0.0) => worst.bet.leaders.leading(),
            _ => self.pooled.leaders.leading(),
        };
        bad >= min_bad
    }

    /// When the start that leads began.
    pub fn since(&self) -> Timestamp {
        Timestamp(self.pooled.leaders.leading().1)
    }

    fn worst_route(&self) -> Option<&RouteBet> {
        self.routes.iter().reduce(
            |worst, next| {
                if next.bet.bet.ln_e(0.0) > worst.bet.bet.ln_e(0.0) { next } else { worst }
            },
        )
    }

    /// The route with the most evidence, with canary and baseline in this step; `None` where there is only one.
    pub fn worst(&self) -> Option<(&str, [Tally; 2])> {
        self.worst_route().filter(|_| self.routes.len() > 1).map(|route| (route.name.as_str(), route.step))
    }

    /// Low end, estimate and high end of the ratio, after the last block of this step.
    pub fn ends(&self) -> Option<[f64; 3]> {
        self.interval.ends()
    }

    /// What the ratio is surely above.
    pub fn surely_above(&self) -> f64 {
        self.interval.surely_above()
    }

    /// What is told of the blocks.
    pub fn used(&self) -> BlockAssessment {
        let since = (self.block.number > 0).then(|| self.since());
        BlockAssessment {
            seconds: self.block.target.as_secs_f64(),
            because: self.block.because,
            ended: self.block.number,
            since,
            lasts: since.zip(self.until).map_or(Duration::ZERO, |(since, until)| until.since(since)),
            route: self.worst().map(|(name, _)| name.to_owned()),
        }
    }
}
