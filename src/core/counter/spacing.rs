//! How far apart the samples of an arm are, by their own times.

use std::time::Duration;

use super::Series;

/// A longer gap is an outage, not a scrape interval.
const LONGEST: Duration = Duration::from_secs(600);

/// The median of the gaps between consecutive samples of a series, over all series; `None` where no series has
/// two samples.
pub fn spacing(series: &[Series]) -> Option<Duration> {
    let mut gaps: Vec<Duration> = Vec::new();
    for one in series {
        let mut times: Vec<_> = one.samples.iter().map(|sample| sample.at).collect();
        times.sort_unstable();
        times.dedup();
        gaps.extend(times.windows(2).map(|pair| pair[1].since(pair[0])).filter(|gap| *gap <= LONGEST));
    }
    let middle = gaps.len() / 2;
    (!gaps.is_empty()).then(|| *gaps.select_nth_unstable(middle).1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::counter::{Part, Sample, SeriesId};
    use crate::core::time::Timestamp;

    fn series(seconds: &[i64]) -> Series {
        let id = SeriesId::of_labels("requests_total", &std::collections::BTreeMap::new());
        let samples = seconds.iter().map(|at| Sample { at: Timestamp(at * 1000), value: 1.0 }).collect();
        Series { group: id.key.clone(), id, part: Part::Counter, samples }
    }

    #[test]
    fn it_is_the_usual_gap_whatever_the_order_and_whatever_was_missed_once() {
        assert_eq!(spacing(&[series(&[60, 0, 120, 180])]), Some(Duration::from_secs(60)));
        assert_eq!(spacing(&[series(&[0, 15, 30, 75, 90])]), Some(Duration::from_secs(15)));
        assert_eq!(
            spacing(&[series(&[0, 60]), series(&[5, 65]), series(&[7])]),
            Some(Duration::from_secs(60))
        );
        assert_eq!(spacing(&[series(&[5])]), None);
        assert_eq!(spacing(&[series(&[0, 7200])]), None, "that was an outage");
        assert_eq!(spacing(&[]), None);
    }
}
