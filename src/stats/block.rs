//! How long the blocks of a linear bet are: as long as one incident's bad requests last.
//!
//! It is chosen from the baseline's earlier windows alone, so it is predictable and costs no validity. φ_B is the
//! dispersion of the baseline's block sums by successive differences, so that drift cancels. It is never measured
//! between two parts of the baseline: what hits both alike would cancel.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::dispersion::Tally;

/// Block lengths at which the dispersion is looked at, in seconds.
pub const LENGTHS: [u64; 4] = [10, 30, 60, 300];
/// Where the bad requests are calm.
pub const CALM: Duration = Duration::from_secs(10);
/// While not enough is known.
pub const USUAL: Duration = Duration::from_secs(30);
/// Where they come in bursts.
pub const BURSTY: Duration = Duration::from_secs(60);
/// Where the bursts last for minutes.
pub const LONG: Duration = Duration::from_secs(300);

/// Below so many bad requests in all nothing is called calm.
const ENOUGH_BAD: u64 = 60;
/// A block length counts once so many blocks are there.
const FEWEST_BLOCKS: u32 = 4;
/// φ below this at every length is calm; the lower bound of φ above it, once, is not.
const BURSTS: f64 = 2.0;
/// Bursts last longer than a minute where φ of 300 s is so many times that of 60 s. Differences of successive
/// blocks see half of a burst that is as long as a block, so for bursts of 60 s it is 1.9 times, for bursts of 100 s
/// 2.8 times.
const GROWS: f64 = 2.3;
/// Scrapes do not come at the exact moment.
const NEARLY: f64 = 0.95;

/// Two windows that are further apart do not follow one another.
const GAP_MILLISECONDS: i64 = 1_000;

/// Whether a block of this target length is full.
pub fn is_full(seconds: f64, target: Duration) -> bool {
    seconds >= NEARLY * target.as_secs_f64()
}

/// What is seen of bursts at one block length.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Seen {
    squares: f64,
    variance: f64,
    /// Blocks, in pairs of successive ones.
    pairs: u32,
}

impl Seen {
    fn add(&mut self, (x, n): (f64, f64), (y, m): (f64, f64)) {
        let share = (x + y) / (n + m);
        // x − y·n/m has no mean where the shares are equal, and this variance.
        let difference = x - y * n / m;
        self.squares += difference * difference;
        self.variance += share * (1.0 - share) * (n + n * n / m);
        self.pairs = self.pairs.saturating_add(1);
    }

    /// φ; `None` with too few blocks.
    pub fn dispersion(&self) -> Option<f64> {
        let known = self.pairs + 1 >= FEWEST_BLOCKS && self.variance > 0.0;
        known.then(|| self.squares / self.variance)
    }

    /// A lower bound of φ: two standard deviations of independent counts below.
    fn at_least(&self) -> Option<f64> {
        Some(self.dispersion()? / (1.0 + 2.0 * (2.0 / f64::from(self.pairs)).sqrt()))
    }
}

/// What the baseline's past tells of its bursts: by [`LENGTHS`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Bursts {
    /// By block length.
    pub seen: [Seen; LENGTHS.len()],
    /// Bad requests in all.
    pub bad: u64,
}

impl Bursts {
    /// Of windows in order, each with its length, without gaps.
    pub fn of(windows: impl IntoIterator<Item = (Tally, Duration)>) -> Bursts {
        let mut watch = Watch::default();
        windows.into_iter().for_each(|(tally, length)| watch.take(tally, length));
        watch.bursts
    }

    /// Of windows in order, each with its begin and end in milliseconds; gaps are not bridged.
    pub fn of_recorded(windows: impl IntoIterator<Item = (Tally, i64, i64)>) -> Bursts {
        let (mut watch, mut until) = (Watch::default(), None);
        for (tally, start, end) in windows {
            if until.is_some_and(|until: i64| (start - until).abs() > GAP_MILLISECONDS) {
                watch.interrupt();
            }
            watch.take(tally, Duration::from_millis(u64::try_from(end - start).unwrap_or(0)));
            until = Some(end);
        }
        watch.bursts
    }

    /// φ by block length, where it is known.
    pub fn dispersions(&self) -> [Option<f64>; LENGTHS.len()] {
        self.seen.map(|seen| seen.dispersion())
    }

    /// The largest φ of the block lengths, at least 1.
    pub fn largest(&self) -> f64 {
        self.dispersions().into_iter().flatten().fold(1.0, f64::max)
    }

    fn are_proven(&self) -> bool {
        self.seen.iter().filter_map(Seen::at_least).any(|least| least > BURSTS)
    }

    fn are_long(&self) -> bool {
        let [_, _, minute, long] = self.dispersions();
        minute.zip(long).is_some_and(|(minute, long)| long > BURSTS && long > GROWS * minute)
    }

    /// All lengths up to `needed` are known, and none shows bursts.
    fn are_none(&self, needed: usize) -> bool {
        let known = self.dispersions();
        self.bad >= ENOUGH_BAD
            && known[..needed].iter().all(Option::is_some)
            && known.iter().flatten().all(|dispersion| *dispersion < BURSTS)
    }
}

/// Watches the baseline's windows of a rollout, and says how long the next block is.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Watch {
    bursts: Bursts,
    open: [Open; LENGTHS.len()],
    /// Bursts were proven once.
    bursty: bool,
}

/// The block that is not full yet, and the one before it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
struct Open {
    bad: f64,
    all: f64,
    seconds: f64,
    before: Option<(f64, f64)>,
}

impl Watch {
    /// Takes in a window of the baseline that follows the one before it.
    pub fn take(&mut self, (bad, all): Tally, length: Duration) {
        self.bursts.bad = self.bursts.bad.saturating_add(bad);
        for ((open, seen), target) in self.open.iter_mut().zip(&mut self.bursts.seen).zip(LENGTHS) {
            open.bad += bad as f64;
            open.all += all as f64;
            open.seconds += length.as_secs_f64();
            if !is_full(open.seconds, Duration::from_secs(target)) {
                continue;
            }
            let block = Some((open.bad, open.all)).filter(|(_, all)| *all > 0.0);
            if let Some((last, block)) = open.before.zip(block) {
                seen.add(last, block);
            }
            *open = Open { before: block.or(open.before), ..Open::default() };
        }
        self.bursty |= self.bursts.are_proven();
    }

    /// What follows does not follow without a gap.
    pub fn interrupt(&mut self) {
        self.open = Default::default();
    }

    /// What was seen.
    pub fn bursts(&self) -> &Bursts {
        &self.bursts
    }

    /// How long the next block is, by what was seen so far and by the time before the rollout.
    pub fn choose(&self, past: Option<&Bursts>) -> (Duration, Because) {
        let past = past.filter(|past| past.bad >= ENOUGH_BAD);
        match past {
            Some(past) if past.are_proven() && past.are_long() => (LONG, Because::LongBursts),
            Some(past) if past.are_proven() => (BURSTY, Because::Bursts),
            _ if self.bursty => (BURSTY, Because::Bursts),
            Some(past) if past.are_none(LENGTHS.len()) => (CALM, Because::Calm),
            None if self.bursts.are_none(NEEDED) => (CALM, Because::Calm),
            _ => (USUAL, Because::Unknown),
        }
    }
}

/// Block lengths that must be known within a rollout before it is called calm: 10, 30 and 60 s.
const NEEDED: usize = 3;

/// Why a block is as long as it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Because {
    /// Not enough is known of the baseline's bursts.
    #[default]
    Unknown,
    /// The baseline's bad requests come one by one.
    Calm,
    /// They come in bursts.
    Bursts,
    /// They come in bursts that last for minutes.
    LongBursts,
    /// The policy says so.
    Policy,
}

impl Because {
    /// The stable name.
    pub fn name(self) -> &'static str {
        match self {
            Because::Unknown => "unknown",
            Because::Calm => "calm",
            Because::Bursts => "bursts",
            Because::LongBursts => "long_bursts",
            Because::Policy => "policy",
        }
    }

    /// For explanations, after "blocks of 30 s, ".
    pub fn words(self) -> &'static str {
        match self {
            Because::Unknown => "as it is not known yet whether the baseline's come in bursts",
            Because::Calm => "as the baseline's come one by one",
            Because::Bursts => "as the baseline's come in bursts",
            Because::LongBursts => "as the baseline's come in bursts that last for minutes",
            Because::Policy => "as the policy says",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WINDOW: Duration = Duration::from_secs(10);

    /// A small generator.
    struct Random(u64);

    impl Random {
        fn unit(&mut self) -> f64 {
            self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (self.0 >> 11) as f64 / (1_u64 << 53) as f64
        }

        fn count(&mut self, n: u64, p: f64) -> u64 {
            (0..n).filter(|_| self.unit() < p).count() as u64
        }
    }

    /// Windows with single errors at 1%, and bursts that spread 30 errors over so many windows.
    fn windows(seed: u64, count: u64, over: u64) -> Vec<(Tally, Duration)> {
        let mut random = Random(seed);
        let begun: Vec<bool> = (0..count).map(|_| random.unit() < 0.15).collect();
        let in_burst =
            |i: u64| (i.saturating_sub(over.max(1) - 1)..=i).filter(|j| begun[*j as usize]).count() as u64;
        (0..count)
            .map(|i| {
                let of_bursts = (in_burst(i) * 30).checked_div(over).unwrap_or(0);
                ((random.count(950, 0.005) + of_bursts, 950), WINDOW)
            })
            .collect()
    }

    #[test]
    fn blocks_are_as_long_as_the_bursts_of_the_past() {
        for (over, expected) in [
            (0, (CALM, Because::Calm)),
            (1, (BURSTY, Because::Bursts)),
            (6, (BURSTY, Because::Bursts)),
            (30, (LONG, Because::LongBursts)),
        ] {
            let past = Bursts::of(windows(7, 720, over));
            assert_eq!(Watch::default().choose(Some(&past)), expected, "{over} {past:?}");
        }
    }

    #[test]
    fn without_a_past_the_rollout_s_own_windows_tell() {
        let mut watch = Watch::default();
        assert_eq!(watch.choose(None), (USUAL, Because::Unknown));
        for (tally, length) in windows(8, 40, 0) {
            watch.take(tally, length);
        }
        assert_eq!(watch.choose(None), (CALM, Because::Calm));
        for (tally, length) in windows(9, 60, 6) {
            watch.take(tally, length);
        }
        assert_eq!(watch.choose(None), (BURSTY, Because::Bursts));
        // Once is enough, whatever follows and whatever was before.
        for (tally, length) in windows(10, 2_000, 0) {
            watch.take(tally, length);
        }
        let calm = Bursts::of(windows(7, 720, 0));
        assert_eq!(watch.choose(Some(&calm)), (BURSTY, Because::Bursts));
    }

    #[test]
    fn a_drift_is_no_burst_and_few_errors_say_nothing() {
        let mut random = Random(5);
        let drift = (0..720).map(|i| ((random.count(950, 0.01 + 0.02 * f64::from(i) / 720.0), 950), WINDOW));
        assert_eq!(Watch::default().choose(Some(&Bursts::of(drift))).1, Because::Calm);
        let few = Bursts::of((0..720).map(|i| ((u64::from(i % 20 == 0), 950), WINDOW)));
        assert_eq!(Watch::default().choose(Some(&few)), (USUAL, Because::Unknown));
        assert_eq!(Watch::default().choose(Some(&Bursts::of([]))), (USUAL, Because::Unknown));
    }

    #[test]
    fn windows_are_not_split_and_a_gap_is_not_bridged() {
        assert!(is_full(30.0, USUAL) && is_full(28.9, USUAL) && !is_full(20.0, USUAL));
        let mut watch = Watch::default();
        for _ in 0..5 {
            watch.take((1, 100), Duration::from_secs(20));
        }
        // 20 s windows: five blocks of 10 s, two of 30 s (40 s each), one of 60 s.
        assert_eq!(watch.bursts().seen.map(|seen| seen.pairs), [4, 1, 0, 0]);
        watch.interrupt();
        watch.take((1, 100), Duration::from_secs(20));
        assert_eq!(watch.bursts().seen[0].pairs, 4);
    }
}
