//! Kayenta's judge: the Mann-Whitney test of the windows' values, with a tolerance of a quarter of the
//! Hodges-Lehmann estimate.
//!
//! The experiment is shifted by μ, and W(μ) is the normal score of its ranks. The confidence interval of
//! the shift ends where W = ±z, the estimate is where W = 0.

use statrs::distribution::{ContinuousCDF, Normal};

/// Kayenta's confidence level.
pub const CONFIDENCE: f64 = 0.98;
/// How much of the estimate is tolerated.
const TOLERANCE: f64 = 0.25;
/// Of the roots, in the unit of the values.
const ROOT_TOLERANCE: f64 = 1e-4;

/// What the judge calls a metric.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Label {
    Pass,
    High,
    Low,
}

/// The shift of the experiment against the control.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Shift {
    pub low: f64,
    pub estimate: f64,
    pub high: f64,
}

/// The values of both arms, rising.
#[derive(Clone, Debug, Default)]
pub struct Samples {
    experiment: Vec<f64>,
    control: Vec<f64>,
}

impl Samples {
    pub fn of(experiment: &[f64], control: &[f64]) -> Samples {
        let mut samples = Samples::default();
        experiment.iter().for_each(|x| samples.add(Some(*x), None));
        control.iter().for_each(|y| samples.add(None, Some(*y)));
        samples
    }

    /// Adds a window's values; what is missing or not a number is left out.
    pub fn add(&mut self, experiment: Option<f64>, control: Option<f64>) {
        for (values, value) in [(&mut self.experiment, experiment), (&mut self.control, control)] {
            if let Some(value) = value.filter(|value| !value.is_nan()) {
                let at = values.partition_point(|smaller| *smaller <= value);
                values.insert(at, value);
            }
        }
    }

    /// W(μ) = (d − ½ sgn d)/σ; 0 where all values are the same.
    pub fn w(&self, mu: f64) -> f64 {
        let (x, y) = (&self.experiment, &self.control);
        let (n, m) = (x.len() as f64, y.len() as f64);
        let (mut i, mut j) = (0, 0);
        let (mut rank_sum, mut ties) = (0.0, 0.0);
        while i < x.len() || j < y.len() {
            let value = match (x.get(i), y.get(j)) {
                (Some(x), Some(y)) => (x - mu).min(*y),
                (Some(x), None) => x - mu,
                (None, y) => y.copied().unwrap_or(f64::NAN),
            };
            let before = (i + j) as f64;
            let first = i;
            while x.get(i).is_some_and(|x| x - mu == value) {
                i += 1;
            }
            while y.get(j).is_some_and(|y| *y == value) {
                j += 1;
            }
            let t = (i + j) as f64 - before;
            rank_sum += (i - first) as f64 * (before + 0.5 * (t + 1.0));
            ties += t * t * t - t;
        }
        let d = rank_sum - n * (n + 1.0) / 2.0 - n * m / 2.0;
        let all = n + m;
        let variance = n * m / 12.0 * (all + 1.0 - ties / (all * (all - 1.0)));
        if d == 0.0 || variance <= 0.0 || variance.is_nan() {
            return 0.0;
        }
        (d - 0.5 * d.signum()) / variance.sqrt()
    }

    /// The shift with its confidence interval. An end whose W does not reach ±z anywhere is the end of
    /// what the values allow. `None` without values in both arms.
    pub fn shift(&self, confidence: f64) -> Option<Shift> {
        let z = Normal::standard().inverse_cdf(0.5 + confidence / 2.0);
        Some(Shift { low: self.root(z)?, estimate: self.root(0.0)?, high: self.root(-z)? })
    }

    /// The judge's word.
    pub fn classify(&self, confidence: f64) -> Label {
        match self.shift(confidence) {
            Some(shift) if shift.low > TOLERANCE * shift.estimate.abs() => Label::High,
            Some(shift) if shift.high < -TOLERANCE * shift.estimate.abs() => Label::Low,
            _ => Label::Pass,
        }
    }

    /// The effect size that may veto: the ratio of the means.
    pub fn ratio_of_means(&self) -> f64 {
        let mean = |values: &[f64]| values.iter().sum::<f64>() / values.len() as f64;
        mean(&self.experiment) / mean(&self.control)
    }

    /// The largest z for which the judge says `High`, if that is more than `bound`. W falls, so the lower
    /// end of the interval is above ¼·|E| just where W(¼·|E|) > z. (With so few values that W reaches z
    /// nowhere the judge takes the end of the range; here that is no alarm.)
    pub fn score_above(&self, bound: f64) -> Option<f64> {
        // The estimate costs many evaluations, and W(0) ≥ W(¼·|E|).
        if self.experiment.is_empty() || self.control.is_empty() || self.w(0.0) <= bound {
            return None;
        }
        let score = self.w(TOLERANCE * self.root(0.0)?.abs());
        (score > bound).then_some(score)
    }

    /// Where W = `z`, between the smallest and the largest difference of the values.
    fn root(&self, z: f64) -> Option<f64> {
        let lowest = self.experiment.first()? - self.control.last()?;
        let highest = self.experiment.last()? - self.control.first()?;
        let f = |mu: f64| self.w(mu) - z;
        Some(if f(lowest) <= 0.0 {
            lowest
        } else if f(highest) >= 0.0 {
            highest
        } else {
            brent(f, lowest, highest)
        })
    }
}

/// Brent's method: a root of `f`, whose signs at `a` and `b` differ.
fn brent(f: impl Fn(f64) -> f64, mut a: f64, mut b: f64) -> f64 {
    let (mut f_a, mut f_b) = (f(a), f(b));
    let (mut c, mut f_c) = (a, f_a);
    let (mut step, mut before) = (b - a, b - a);
    for _ in 0..1000 {
        if f_c.abs() < f_b.abs() {
            (a, b, c) = (b, c, b);
            (f_a, f_b, f_c) = (f_b, f_c, f_b);
        }
        let tolerance = 2.0 * f64::EPSILON * b.abs() + ROOT_TOLERANCE / 2.0;
        let half = (c - b) / 2.0;
        if half.abs() <= tolerance || f_b == 0.0 {
            return b;
        }
        let mut next = (half, half);
        if before.abs() >= tolerance && f_a.abs() > f_b.abs() {
            let s = f_b / f_a;
            let (mut p, mut q) = if a == c {
                (2.0 * half * s, 1.0 - s)
            } else {
                let (t, r) = (f_a / f_c, f_b / f_c);
                (s * (2.0 * half * t * (t - r) - (b - a) * (r - 1.0)), (t - 1.0) * (r - 1.0) * (s - 1.0))
            };
            if p > 0.0 {
                q = -q;
            } else {
                p = -p;
            }
            if p < (1.5 * half * q - 0.5 * (tolerance * q).abs()) && p < (0.5 * before * q).abs() {
                next = (p / q, step);
            }
        }
        (step, before) = next;
        (a, f_a) = (b, f_b);
        b += if step.abs() > tolerance { step } else { tolerance.copysign(half) };
        f_b = f(b);
        if (f_b > 0.0) == (f_c > 0.0) {
            (c, f_c) = (a, f_a);
            step = b - a;
            before = step;
        }
    }
    b
}
