//! Bursts of errors that take a while, and pods that take themselves out of the traffic.

use super::Traffic;
use super::shape::Hits;
use super::span::{Factors, Span};
use crate::montecarlo::random::Random;

/// What bursts are like.
#[derive(Clone, Copy, Debug)]
pub(super) struct Incident {
    /// Errors in one.
    pub size: u32,
    /// Seconds: of the burst, or of the time that the pod is out.
    pub lasts: f64,
    /// The share of all errors that comes in bursts.
    pub share: f64,
    pub hits: Hits,
}

/// The bursts that have begun and are not over.
#[derive(Clone, Debug, Default)]
pub(super) struct Incidents {
    running: Vec<Running>,
    began: bool,
}

#[derive(Clone, Copy, Debug)]
struct Running {
    /// Its errors up to here have come.
    now: f64,
    ends: f64,
    /// Errors that are still to come.
    left: u64,
    /// `None`: both arms.
    arm: Option<usize>,
}

impl Incidents {
    /// Draws the bursts that begin in the window that begins at `at`, and the errors of all that run.
    pub fn act(
        &mut self,
        kind: Incident,
        (traffic, at, span): (&Traffic, f64, &Span),
        random: &mut Random,
        factors: &mut Factors,
    ) {
        let both = span.canary_share + span.baseline_share;
        let errors = traffic.requests_per_second * factors.traffic * both * traffic.error_rate;
        let per_second = errors * factors.both_errors * kind.share / f64::from(kind.size.max(1));
        let canary = if both > 0.0 { span.canary_share / both } else { 0.0 };
        let end = at + span.seconds;
        // Those that had begun before the run are on their way.
        let from = if self.began { at } else { at - kind.lasts };
        self.began = true;
        for _ in 0..random.poisson(per_second * (end - from)) {
            let begins = from + random.unit() * (end - from);
            let arm = match kind.hits {
                Hits::Both => None,
                Hits::One => Some(usize::from(random.unit() >= canary)),
            };
            let left = u64::from(kind.size);
            self.running.push(Running { now: begins, ends: begins + kind.lasts, left, arm });
        }
        for burst in &mut self.running {
            if burst.now < at {
                burst.come(at, random);
            }
            let came = burst.come(end, random);
            let of_canary = match burst.arm {
                Some(0) => came,
                Some(_) => 0,
                None => random.binomial(came, canary),
            };
            factors.bursts[0] += of_canary;
            factors.bursts[1] += came - of_canary;
        }
        self.running.retain(|burst| burst.left > 0);
        factors.independent *= 1.0 - kind.share;
    }
}

impl Running {
    /// Draws its errors until then.
    fn come(&mut self, until: f64, random: &mut Random) -> u64 {
        let until = until.min(self.ends);
        if until <= self.now {
            return 0;
        }
        let chance = (until - self.now) / (self.ends - self.now);
        let came = random.binomial(self.left, chance);
        self.left -= came;
        self.now = until;
        came
    }
}

/// Pods that fail and are then out for a while. `out` says by pod of canary and baseline until when; what
/// a pod would have got goes to all others.
pub(super) fn eject(
    out: &mut [Vec<f64>; 2],
    kind: Incident,
    (traffic, at, span): (&Traffic, f64, &Span),
    random: &mut Random,
    factors: &mut Factors,
) {
    let end = at + span.seconds;
    let shares = [span.canary_share, span.baseline_share];
    let errors = traffic.requests_per_second * factors.traffic * traffic.error_rate * factors.both_errors;
    let mut kept = [1.0; 2];
    for (arm, pods) in out.iter_mut().enumerate() {
        let count = pods.len() as f64;
        let per_second = errors * shares[arm] * kind.share / f64::from(kind.size.max(1)) / count;
        let mut within = 0.0;
        for until in pods {
            let mut now = at.max(*until);
            while now < end {
                let fails = if per_second > 0.0 { now + random.exponential(1.0 / per_second) } else { end };
                within += fails.min(end) - now;
                if fails >= end {
                    break;
                }
                factors.bursts[arm] += u64::from(kind.size);
                *until = fails + kind.lasts;
                now = *until;
            }
        }
        kept[arm] = within / (count * span.seconds);
    }
    // Pods of either arm take over what the others lose, by their shares.
    let [canary, baseline] = shares;
    let served = canary * kept[0] + baseline * kept[1];
    let all = if served > 0.0 { (canary + baseline) / served } else { 1.0 };
    factors.canary_traffic *= kept[0] * all;
    factors.baseline_traffic *= kept[1] * all;
    factors.independent *= 1.0 - kind.share;
    factors.burst_requests = true;
}
