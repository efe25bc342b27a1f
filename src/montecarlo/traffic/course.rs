//! Shapes in the course of a run.

use libm::{exp, sin, sqrt};

use super::Traffic;
use super::bursts::{Incident, Incidents, eject};
use super::pods::Pods;
use super::shape::{Hits, Shape};
use super::span::{Factors, Span};
use super::users::Users;
use crate::montecarlo::random::Random;

/// A shape in the course of a run.
#[derive(Clone, Debug)]
pub(super) enum Course {
    /// It has no memory.
    None,
    /// When the current or next shock begins.
    Shocks { begins: f64 },
    /// In radians.
    Drift { phase: f64 },
    /// The standardised logarithms of error rate and latency.
    Noise { errors: f64, latency: f64 },
    /// The factor on the canary's error rate.
    BadPod { factor: f64 },
    /// Bursts on their way.
    Incidents(Incidents),
    /// The factors of all pods.
    Pods(Pods),
    /// All users by their hash.
    Users(Users),
    /// The canary's share of the traffic now and before the last change.
    ColdPods { share: f64, before: f64 },
    /// By pod of canary and baseline: until when it is out.
    Ejection([Vec<f64>; 2]),
}

impl Course {
    pub fn begin(shape: &Shape, random: &mut Random) -> Course {
        match *shape {
            Shape::Bursts(_) | Shape::ColdStart { .. } | Shape::Deploy { .. } | Shape::Client { .. } => {
                Course::None
            }
            Shape::ColdPods { .. } => Course::ColdPods { share: 0.0, before: 0.0 },
            Shape::Incidents { .. } => Course::Incidents(Incidents::default()),
            Shape::Pods { canary, baseline, error_sd, latency_sd } => {
                Course::Pods(Pods::new([canary, baseline], error_sd, latency_sd, random))
            }
            Shape::Users { users, tail, error_sd } => {
                Course::Users(Users::new(users, tail, error_sd, random))
            }
            Shape::Ejection { canary, baseline, .. } => {
                Course::Ejection([canary, baseline].map(|pods| vec![0.0; pods.max(1) as usize]))
            }
            Shape::Shocks { every, .. } => Course::Shocks { begins: random.exponential(every) },
            Shape::Drift { .. } => Course::Drift { phase: std::f64::consts::TAU * random.unit() },
            Shape::Noise { .. } => Course::Noise { errors: random.normal(), latency: random.normal() },
            Shape::BadPod { pods, error_sd } => {
                let pods = pods.max(1);
                let sum: f64 = (0..pods).map(|_| random.factor(error_sd)).sum();
                Course::BadPod { factor: sum / f64::from(pods) }
            }
        }
    }

    /// What it does to the window that begins at `at`.
    pub fn act(
        &mut self,
        shape: &Shape,
        (traffic, at, span): (&Traffic, f64, &Span),
        random: &mut Random,
        factors: &mut Factors,
    ) {
        match (self, *shape) {
            (Course::Shocks { begins }, Shape::Shocks { every, lasts, error_factor, latency_factor }) => {
                let share = shocked(begins, at, span.seconds, every, lasts, random);
                factors.both_errors *= 1.0 + share * (error_factor - 1.0);
                factors.both_slower *= 1.0 + share * (latency_factor - 1.0);
            }
            (Course::Drift { phase }, Shape::Drift { period, error_factor, traffic_share }) => {
                let middle = at + 0.5 * span.seconds;
                let wave = sin(std::f64::consts::TAU * middle / period + *phase);
                factors.both_errors *= exp(libm::log(error_factor) * wave);
                factors.traffic *= 1.0 + traffic_share * wave;
            }
            (Course::Noise { errors, latency }, Shape::Noise { error_sd, latency_sd, correlation }) => {
                factors.canary_errors *= exp(error_sd * *errors - 0.5 * error_sd * error_sd);
                factors.canary_slower *= exp(latency_sd * *latency - 0.5 * latency_sd * latency_sd);
                let kept = exp(-span.seconds / correlation);
                let new = sqrt(1.0 - kept * kept);
                *errors = kept * *errors + new * random.normal();
                *latency = kept * *latency + new * random.normal();
            }
            (_, Shape::ColdStart { lasts, error_factor, latency_factor }) => {
                let share = ((lasts - span.in_step).max(0.0) / span.seconds).min(1.0);
                factors.canary_errors *= 1.0 + share * (error_factor - 1.0);
                factors.canary_slower *= 1.0 + share * (latency_factor - 1.0);
            }
            (Course::BadPod { factor }, _) => factors.canary_errors *= *factor,
            (Course::Pods(pods), _) => pods.act(span, factors),
            (Course::Users(users), _) => users.act(span, factors),
            (Course::Incidents(incidents), Shape::Incidents { size, lasts, share, hits }) => {
                let kind = Incident { size, lasts, share, hits };
                incidents.act(kind, (traffic, at, span), random, factors);
            }
            (Course::Ejection(out), Shape::Ejection { size, lasts, share, .. }) => {
                let kind = Incident { size, lasts, share, hits: Hits::One };
                eject(out, kind, (traffic, at, span), random, factors);
            }
            (_, Shape::Deploy { lasts, error_factor, both }) => {
                let part = ((lasts - span.in_step).max(0.0) / span.seconds).min(1.0);
                let factor = 1.0 + part * (error_factor - 1.0);
                if both {
                    factors.both_errors *= factor;
                } else {
                    factors.canary_errors *= factor;
                }
            }
            (Course::ColdPods { share, before }, Shape::ColdPods { lasts, latency_factor, added }) => {
                if *share != span.canary_share {
                    (*before, *share) = (*share, span.canary_share);
                }
                let new = 1.0 - if *share > 0.0 { (*before / *share).min(1.0) } else { 1.0 };
                let new = if *before > 0.0 && !added { 0.0 } else { new };
                let part = ((lasts - span.in_step).max(0.0) / span.seconds).min(1.0);
                factors.canary_slower *= 1.0 + new * part * (latency_factor - 1.0);
            }
            (_, Shape::Client { share, error_factor }) => {
                factors.canary_traffic /= 1.0 - share;
                factors.canary_errors *= 1.0 + share * (error_factor - 1.0);
            }
            _ => {}
        }
    }

    /// The pods, where the shape has some.
    pub fn pods(&self) -> Option<&Pods> {
        match self {
            Course::Pods(pods) => Some(pods),
            _ => None,
        }
    }
}

/// The share of the window that lies within shocks; moves `begins` on past those that are over.
fn shocked(begins: &mut f64, at: f64, seconds: f64, every: f64, lasts: f64, random: &mut Random) -> f64 {
    let end = at + seconds;
    let mut sum = 0.0;
    while *begins < end {
        let over = *begins + lasts;
        sum += (over.min(end) - begins.max(at)).max(0.0);
        if over > end {
            break;
        }
        *begins = over + random.exponential(every);
    }
    sum / seconds
}
