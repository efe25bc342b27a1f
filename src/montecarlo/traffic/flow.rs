//! The traffic of one run, window by window.

use super::latency::{Pace, conditional};
use super::shape::{Bursts, Course, Shape};
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
    shares: Vec<(Pace, Vec<f64>)>,
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
        let mut factors = Factors {
            traffic: 1.0,
            both_errors: 1.0,
            both_slower: 1.0,
            canary_errors: 1.0,
            canary_slower: 1.0,
        };
        for (shape, course) in self.traffic.shapes.iter().zip(&mut self.courses) {
            course.act(shape, self.at, span, &mut self.random, &mut factors);
        }
        let onset = self.traffic.truth.onset_seconds;
        self.at += span.seconds;
        let regressed = ((self.at - onset) / span.seconds).clamp(0.0, 1.0);
        let requests = self.traffic.requests_per_second * factors.traffic * span.seconds;
        let error_rate = self.traffic.error_rate * factors.both_errors;
        [
            Load {
                requests: self.random.poisson(requests * span.canary_share),
                error_rate: error_rate * factors.canary_errors,
                slower: factors.both_slower * factors.canary_slower,
                regressed,
            },
            Load {
                requests: self.random.poisson(requests * span.baseline_share),
                error_rate,
                slower: factors.both_slower,
                regressed: 0.0,
            },
        ]
    }

    /// Draws the bad ones among the requests of a load, as the policy's metric `metric` counts them.
    pub fn bad(&mut self, load: &Load, metric: &str) -> u64 {
        let regressed = self.regressed(load, metric);
        let rate = load.error_rate * (1.0 + regressed * (self.traffic.truth.error_ratio - 1.0));
        let rate = rate.clamp(0.0, 1.0);
        match self.bursts {
            Some(bursts) => bursts.bad(&mut self.random, load.requests, rate),
            None => self.random.binomial(load.requests, rate),
        }
    }

    /// Draws how the requests of a load spread over the buckets, as the policy's metric `metric` counts
    /// them; one more than there are bounds.
    pub fn buckets(&mut self, load: &Load, metric: &str) -> Vec<u64> {
        let pace = self.pace(load, metric);
        let known = self.shares.iter().position(|(kept, _)| *kept == pace);
        let index = known.unwrap_or_else(|| {
            let above = self.traffic.latency.shares_above(pace, &self.traffic.truth);
            if self.shares.len() >= PACES_KEPT {
                self.shares.remove(0);
            }
            self.shares.push((pace, conditional(&above)));
            self.shares.len() - 1
        });
        self.random.multinomial(load.requests, &self.shares[index].1)
    }

    /// The sum of the durations of a load's requests in seconds: by the normal law, and independent of
    /// the buckets that are drawn.
    pub fn sum(&mut self, load: &Load, metric: &str) -> f64 {
        let pace = self.pace(load, metric);
        let (mean, sd) = self.traffic.latency.moments(pace, &self.traffic.truth);
        let requests = load.requests as f64;
        (requests * mean + libm::sqrt(requests) * sd * self.random.normal()).max(0.0)
    }

    fn pace(&self, load: &Load, metric: &str) -> Pace {
        Pace { slower: load.slower, regressed: self.regressed(load, metric) }
    }

    fn regressed(&self, load: &Load, metric: &str) -> f64 {
        let Truth { only, .. } = &self.traffic.truth;
        if only.as_ref().is_none_or(|only| only == metric) { load.regressed } else { 0.0 }
    }
}
