//! From a distribution to its coupling and weights.

use super::component::Component;
use super::{Before, Built};
use crate::stats::special::{exp, ln};

/// If the share above a bucket is this much smaller than the share above the one below, then the
/// distribution ends within the bucket rather than tailing off through it.
const STEEPEST_TAIL: f64 = 20.0;
/// Slow-downs that are looked for, beyond the accepted one.
const SLOW_DOWNS: [f64; 5] = [1.1, 1.23, 1.36, 1.8, 2.7];
/// A tail above a bound is looked for that has so many times the requests.
const TAILS: [f64; 2] = [2.0, 5.0];
/// Bounds above which so many of the requests lie, and the lowest one of those with fewer.
const RAREST: f64 = 5e-5;
const MOST_FREQUENT: f64 = 0.5;
/// At most so many bounds, evenly among those.
const MOST_BOUNDS: usize = 14;
/// No weight is higher or lower.
const HIGHEST: f64 = 8.0;
const LOWEST: f64 = 0.05;
/// Shares below this are taken to be this, or to be none.
const NOTHING: f64 = 1e-9;
/// Of a bucket with less it does not matter where in it the requests lie.
const MATTERS: f64 = 0.05;
/// Log-normal requests shift the mean of a bucket by up to a quarter of the way from where the interpolation has
/// it to the upper bound.
const EXPLAINED: f64 = 0.25;
/// A further shift than that tells that they are not spread as interpolated.
const TELLING: f64 = 0.3;

pub(super) fn built(before: &Before) -> Built {
    let shape = Shape::new(before);
    let near = near(before, &shape);
    let matrix = matrix(&shape, before.slower, &near);
    let buckets = shape.shares.len();
    let null: Vec<f64> = (0..buckets)
        .map(|j| shape.shares.iter().enumerate().map(|(i, share)| share * matrix[i * buckets + j]).sum())
        .collect();
    let components = if buckets < 2 { Vec::new() } else { weights(&shape, before.slower, &null) };
    let components = components.iter().map(|h| Component::new(h, &matrix)).collect();
    Built { null, matrix, near, components }
}

/// The baseline's shares.
pub(super) struct Shape<'a> {
    le: &'a [f64],
    /// Of each bucket, with half a request more in each.
    pub shares: Vec<f64>,
    /// Above each bound.
    above: Vec<f64>,
}

impl<'a> Shape<'a> {
    pub fn new(before: &'a Before) -> Shape<'a> {
        let buckets = before.counts.len();
        let all = before.counts.iter().map(|count| *count as f64).sum::<f64>() + 0.5 * buckets as f64;
        let shares: Vec<f64> = before.counts.iter().map(|count| (*count as f64 + 0.5) / all).collect();
        let mut above = vec![0.0; before.le.len()];
        let mut sum = 0.0;
        for (i, above) in above.iter_mut().enumerate().rev() {
            sum += shares.get(i + 1).copied().unwrap_or(0.0);
            *above = sum;
        }
        Shape { le: &before.le, shares, above }
    }

    /// The bucket's lower bound and the share above it.
    fn below(&self, bucket: usize) -> (f64, f64) {
        bucket.checked_sub(1).map_or((0.0, 1.0), |i| (self.le[i], self.above[i]))
    }

    /// Whether the distribution is taken to be linear in the bucket, which has an upper bound.
    fn is_linear(&self, bucket: usize) -> bool {
        let (from, share) = self.below(bucket);
        from <= 0.0 || share > STEEPEST_TAIL * self.above[bucket]
    }

    fn share_above(&self, at: f64) -> f64 {
        if at <= 0.0 {
            return 1.0;
        }
        let Some(i) = self.le.iter().position(|bound| *bound >= at) else {
            return self.above.last().copied().unwrap_or(1.0);
        };
        let ((from, share_from), (to, share_to)) = (self.below(i), (self.le[i], self.above[i]));
        if at == to {
            share_to
        } else if self.is_linear(i) {
            share_from + (share_to - share_from) * (at - from) / (to - from)
        } else {
            let way = (ln(at) - ln(from)) / (ln(to) - ln(from));
            exp(ln(share_from) + (ln(share_to) - ln(share_from)) * way)
        }
    }

    /// Above each bound, if all is slower by a factor ≥ 1: never less than it is.
    fn slowed(&self, factor: f64) -> Vec<f64> {
        let of = |(bound, above): (&f64, &f64)| self.share_above(bound / factor).max(*above);
        self.le.iter().zip(&self.above).map(of).collect()
    }

    /// The mean of the requests in a bucket with an upper bound, by the same interpolation.
    fn mean_in(&self, bucket: usize) -> f64 {
        let ((from, share_from), (to, share_to)) =
            (self.below(bucket), (self.le[bucket], self.above[bucket]));
        let tail = ln(share_from / share_to) / ln(to / from.max(f64::MIN_POSITIVE));
        if self.is_linear(bucket) || tail <= 0.0 || (tail - 1.0).abs() < 1e-6 {
            return 0.5 * (from + to);
        }
        // Of a Pareto line S ~ ℓ^−a from one bound to the other: ∫ℓ dS.
        let moment = share_from * from - share_to * to;
        tail / (tail - 1.0) * moment / (share_from - share_to)
    }
}

/// Buckets with ≥ 5% of the requests which, by the sum of all values, may lie within the accepted factor of their
/// upper bound. Where there is no sum: those in which the distribution ends, as anything may be true of them.
///
/// The sum is held against the one that the interpolation gives. What other buckets may explain of the
/// difference is granted to them; what is left is the bucket's.
fn near(before: &Before, shape: &Shape<'_>) -> Vec<usize> {
    let bounded = before.le.len();
    let matters = |bucket: &usize| shape.shares[*bucket] >= MATTERS;
    let requests = before.counts.iter().map(|count| *count as f64).sum::<f64>();
    let Some(sum) = before.sum.filter(|sum| *sum > 0.0 && requests > 0.0) else {
        let ends = |bucket: &usize| *bucket > 0 && shape.is_linear(*bucket);
        return (0..bounded).filter(matters).filter(ends).collect();
    };
    let counted = |bucket: usize| before.counts[bucket] as f64;
    let means: Vec<f64> = (0..bounded).map(|bucket| shape.mean_in(bucket)).collect();
    // How much higher the sum could be by a bucket.
    let room = |bucket: usize| counted(bucket) * (before.le[bucket] - means[bucket]);
    let all_room: f64 = (0..bounded).map(room).sum();
    let interpolated: f64 = (0..bounded).map(|bucket| counted(bucket) * means[bucket]).sum();
    // What lies above every bound is taken to be below twice the last one.
    let beyond = 2.0 * before.le.last().copied().unwrap_or(0.0) * counted(bounded);
    let excess = sum - interpolated - beyond;
    let is_near = |bucket: &usize| {
        let (bound, mean, room) = (before.le[*bucket], means[*bucket], room(*bucket));
        let shift = (excess - EXPLAINED * (all_room - room)) / room.max(f64::MIN_POSITIVE);
        let mean = mean + shift.min(1.0) * (bound - mean);
        shift >= TELLING && mean * before.slower * before.slower >= bound
    };
    (0..bounded).filter(matters).filter(is_near).collect()
}

/// A, row by row. The requests in bucket i lie in the exceedances from above\[i\] to above\[i − 1\], and keep
/// their order when slower.
fn matrix(shape: &Shape<'_>, slower: f64, near: &[usize]) -> Vec<f64> {
    let buckets = shape.shares.len();
    let slowed = shape.slowed(slower);
    let ends = |above: &[f64], bucket: usize| {
        let high = bucket.checked_sub(1).map_or(1.0, |i| above[i]);
        (above.get(bucket).copied().unwrap_or(0.0), high)
    };
    let mut matrix = vec![0.0; buckets * buckets];
    for (i, row) in matrix.chunks_mut(buckets).enumerate() {
        let (low, high) = ends(&shape.above, i);
        for (j, entry) in row.iter_mut().enumerate().skip(i) {
            let (low_slowed, high_slowed) = ends(&slowed, j);
            *entry = (high.min(high_slowed) - low.max(low_slowed)).max(0.0);
        }
        let sum: f64 = row.iter().sum();
        match sum > 0.0 {
            true => row.iter_mut().for_each(|entry| *entry /= sum),
            false => row[i] = 1.0,
        }
        if near.contains(&i) && i + 1 < buckets {
            row[i + 1] += std::mem::take(&mut row[i]);
        }
    }
    matrix
}

/// The weights that are looked for, with Σ null·h = 1 as far as their limits allow.
fn weights(shape: &Shape<'_>, slower: f64, null: &[f64]) -> Vec<Vec<f64>> {
    let mut weights: Vec<Vec<f64>> =
        SLOW_DOWNS.iter().map(|further| slow_down(shape, slower * further, null)).collect();
    let mut above = null.to_vec();
    for i in (1..above.len()).rev() {
        above[i - 1] += above[i];
    }
    for bound in bounds(&above) {
        for times in TAILS {
            let h = (0..null.len()).map(|bucket| if bucket > bound { times } else { 1.0 });
            weights.push(limited(h.collect(), null));
        }
    }
    weights.retain(|h| h.last() > h.first());
    weights
}

/// By the shares at or above each bucket. Bound i lies below bucket i + 1.
fn bounds(above: &[f64]) -> Vec<usize> {
    let share = |bound: usize| above[bound + 1];
    let frequent: Vec<usize> =
        (0..above.len() - 1).filter(|bound| (RAREST..=MOST_FREQUENT).contains(&share(*bound))).collect();
    let wanted = frequent.len().min(MOST_BOUNDS);
    let evenly = (0..wanted).map(|k| frequent[k * (frequent.len() - 1) / (wanted - 1).max(1)]);
    // A tail that the baseline does not have.
    let rare = (0..above.len() - 1).find(|bound| share(*bound) < RAREST);
    evenly.chain(rare).collect()
}

/// The likelihood ratio of the baseline slower by `factor` to the null.
pub(super) fn slow_down(shape: &Shape<'_>, factor: f64, null: &[f64]) -> Vec<f64> {
    let slowed = shape.slowed(factor);
    let share = |bucket: usize| {
        let high = bucket.checked_sub(1).map_or(1.0, |i| slowed[i]);
        (high - slowed.get(bucket).copied().unwrap_or(0.0)).max(NOTHING)
    };
    let all: f64 = (0..null.len()).map(share).sum();
    let ratio = |bucket: usize| {
        let at_edge = null[bucket];
        (at_edge >= NOTHING).then(|| share(bucket) / all / at_edge)
    };
    let ratios: Vec<Option<f64>> = (0..null.len()).map(ratio).collect();
    // Where the null has nothing, as in the neighbour.
    let mut highest = ratios.iter().flatten().next().copied().unwrap_or(1.0);
    let rising = ratios.iter().map(|ratio| {
        highest = ratio.map_or(highest, |ratio| ratio.max(highest));
        highest
    });
    limited(rising.collect(), null)
}

fn limited(h: Vec<f64>, null: &[f64]) -> Vec<f64> {
    let h: Vec<f64> = h.into_iter().map(|h| h.clamp(LOWEST, HIGHEST)).collect();
    let mean: f64 = h.iter().zip(null).map(|(h, share)| h * share).sum();
    h.into_iter().map(|h| (h / mean).min(HIGHEST)).collect()
}
