//! The traffic of one run, window by window.

use super::course::Course;
use super::latency::{Pace, conditional};
use super::pods::Pods;
use super::shape::{Bursts, Shape};
use super::span::{Factors, Span};
use super::{Traffic, Truth};
use crate::montecarlo::random::Random;

/// What one arm gets in a window. Of it the counts of any number of metrics are drawn.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Load {
    /// Its requests.
    pub requests: u64,
    /// Its error rate, without what is wrong with the canary.
    error_rate: f64,
    /// How slow it is, without what is wrong with the canary.
    slower: f64,
    /// The share of the window in which something is wrong with it.
    regressed: f64,
    /// Share of its errors that come one by one.
    independent: f64,
    /// Its errors of bursts, which all its metrics see.
    bursts: u64,
    /// Whose requests they are.
    whose: Whose,
}

/// Whose requests a load has, where pods differ.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Whose {
    /// No pods are told apart.
    All,
    /// So many pods of the canary.
    Canary(usize),
    /// All pods of the baseline.
    Baseline,
    /// One pod of the baseline.
    Pod(usize),
}

/// The traffic of one run, drawn window by window.
#[derive(Clone, Debug)]
pub struct Flow<'a> {
    traffic: &'a Traffic,
    random: Random,
    courses: Vec<Course>,
    bursts: Option<Bursts>,
    at: f64,
    /// The shares of buckets that were last needed, by the pace that they are for.
    shares: Vec<(Pace, Whose, Vec<f64>)>,
}

/// Canary and baseline, each with and without what is wrong.
const PACES_KEPT: usize = 4;

impl<'a> Flow<'a> {
    /// From its beginning.
    pub fn new(traffic: &'a Traffic, mut random: Random) -> Flow<'a> {
        let courses = traffic.shapes.iter().map(|shape| Course::begin(shape, &mut random)).collect();
        let bursts = traffic.shapes.iter().find_map(|shape| match shape {
            Shape::Bursts(bursts) => Some(*bursts),
            _ => None,
        });
        Flow { traffic, random, courses, bursts, at: 0.0, shares: Vec::new() }
    }

    /// Goes on with other traffic, of the same shapes: with something else wrong, say.
    pub fn switch(&mut self, traffic: &'a Traffic) {
        self.traffic = traffic;
        self.shares.clear();
    }

    /// Seconds since the beginning.
    pub fn at(&self) -> f64 {
        self.at
    }

    /// The upper bounds of the buckets in seconds.
    pub fn bounds(&self) -> &'a [f64] {
        &self.traffic.latency.le
    }

    /// Draws the requests of the next window: canary and baseline.
    pub fn next(&mut self, span: &Span) -> [Load; 2] {
        let mut factors = Factors::none();
        for (shape, course) in self.traffic.shapes.iter().zip(&mut self.courses) {
            course.act(shape, (self.traffic, self.at, span), &mut self.random, &mut factors);
        }
        let onset = self.traffic.truth.onset_seconds;
        self.at += span.seconds;
        let regressed = ((self.at - onset) / span.seconds).clamp(0.0, 1.0);
        let requests = self.traffic.requests_per_second * factors.traffic * span.seconds;
        let error_rate = self.traffic.error_rate * factors.both_errors;
        let [canary_bursts, baseline_bursts] = factors.bursts;
        let extra = |bursts: u64| if factors.burst_requests { bursts } else { 0 };
        let of_canary = self.random.poisson(requests * span.canary_share * factors.canary_traffic);
        let of_baseline = self.random.poisson(requests * span.baseline_share * factors.baseline_traffic);
        let independent = factors.independent;
        [
            Load {
                requests: of_canary + extra(canary_bursts),
                error_rate: error_rate * factors.canary_errors,
                slower: factors.both_slower * factors.canary_slower,
                regressed,
                independent,
                bursts: canary_bursts,
                whose: factors.pods.map_or(Whose::All, Whose::Canary),
            },
            Load {
                requests: of_baseline + extra(baseline_bursts),
                error_rate: error_rate * factors.baseline_errors,
                slower: factors.both_slower,
                regressed: 0.0,
                independent,
                bursts: baseline_bursts,
                whose: factors.pods.map_or(Whose::All, |_| Whose::Baseline),
            },
        ]
    }

    /// Divides the baseline's load among its pods; one of the whole where they are not told apart.
    pub fn of_pods(&mut self, load: &Load) -> Vec<Load> {
        let Some(pods) = self.courses.iter().find_map(Course::pods) else { return vec![*load] };
        let factors = pods.baseline_errors();
        let mean = factors.iter().sum::<f64>() / factors.len() as f64;
        let mut left = load.requests;
        let mut loads = Vec::with_capacity(factors.len());
        for (i, factor) in factors.iter().enumerate() {
            let requests = self.random.binomial(left, 1.0 / (factors.len() - i) as f64);
            left -= requests;
            let error_rate = load.error_rate * factor / mean;
            loads.push(Load { requests, error_rate, bursts: 0, whose: Whose::Pod(i), ..*load });
        }
        loads
    }

    /// Draws the bad ones among the requests of a load, as the policy's metric `metric` counts them.
    pub fn bad(&mut self, load: &Load, metric: &str) -> u64 {
        let regressed = self.regressed(load, metric);
        let rate = load.error_rate * (1.0 + regressed * (self.traffic.truth.error_ratio - 1.0));
        let rate = (rate * load.independent).clamp(0.0, 1.0);
        let alone = match self.bursts {
            Some(bursts) => bursts.bad(&mut self.random, load.requests, rate),
            None => self.random.binomial(load.requests, rate),
        };
        if load.bursts == 0 {
            return alone;
        }
        let more = 1.0 + regressed * (self.traffic.truth.error_ratio - 1.0);
        let in_bursts = self.random.round(load.bursts as f64 * more);
        alone.saturating_add(in_bursts).min(load.requests)
    }

    /// Draws how the requests of a load spread over the buckets, as the policy's metric `metric` counts
    /// them; one more than there are bounds.
    pub fn buckets(&mut self, load: &Load, metric: &str) -> Vec<u64> {
        let pace = self.pace(load, metric);
        let known = self.shares.iter().position(|(kept, whose, _)| *kept == pace && *whose == load.whose);
        let index = known.unwrap_or_else(|| {
            let paces = self.paces(pace, load.whose);
            let mut above = vec![0.0; self.bounds().len()];
            for pace in &paces {
                let one = self.traffic.latency.shares_above(*pace, &self.traffic.truth);
                above.iter_mut().zip(one).for_each(|(sum, share)| *sum += share / paces.len() as f64);
            }
            if self.shares.len() >= PACES_KEPT.max(2 * self.pods()) {
                self.shares.remove(0);
            }
            self.shares.push((pace, load.whose, conditional(&above)));
            self.shares.len() - 1
        });
        self.random.multinomial(load.requests, &self.shares[index].2)
    }

    /// The paces of which a load is a mixture of equal parts.
    fn paces(&self, pace: Pace, whose: Whose) -> Vec<Pace> {
        let Some(pods) = self.courses.iter().find_map(Course::pods) else { return vec![pace] };
        let slower = match whose {
            Whose::All => return vec![pace],
            Whose::Canary(count) => &pods.canary_slower()[..count],
            Whose::Baseline => pods.baseline_slower(),
            Whose::Pod(i) => &pods.baseline_slower()[i..=i],
        };
        slower.iter().map(|factor| Pace { slower: pace.slower * factor, ..pace }).collect()
    }

    fn pods(&self) -> usize {
        self.courses.iter().find_map(Course::pods).map_or(0, Pods::count)
    }

    /// The sum of the durations of a load's requests in seconds: by the normal law, and independent of
    /// the buckets that are drawn.
    pub fn sum(&mut self, load: &Load, metric: &str) -> f64 {
        let pace = self.pace(load, metric);
        let (mean, sd) = self.moments(&self.paces(pace, load.whose));
        let requests = load.requests as f64;
        (requests * mean + libm::sqrt(requests) * sd * self.random.normal()).max(0.0)
    }

    /// Mean and standard deviation of one duration of a mixture of equal parts.
    fn moments(&self, paces: &[Pace]) -> (f64, f64) {
        let of = |pace: &Pace| self.traffic.latency.moments(*pace, &self.traffic.truth);
        if let [pace] = paces {
            return of(pace);
        }
        let (mut mean, mut square) = (0.0, 0.0);
        for (one, sd) in paces.iter().map(of) {
            mean += one / paces.len() as f64;
            square += (one * one + sd * sd) / paces.len() as f64;
        }
        (mean, libm::sqrt((square - mean * mean).max(0.0)))
    }

    fn pace(&self, load: &Load, metric: &str) -> Pace {
        Pace { slower: load.slower, regressed: self.regressed(load, metric) }
    }

    fn regressed(&self, load: &Load, metric: &str) -> f64 {
        let Truth { only, .. } = &self.traffic.truth;
        if only.as_ref().is_none_or(|only| only == metric) { load.regressed } else { 0.0 }
    }
}
