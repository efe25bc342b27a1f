//! Recorded samples of one instance, cut into windows of equal length.

use std::collections::BTreeMap;
use std::time::Duration;

use super::{Counted, Sample, Series};
use crate::core::metric::{Cursor, Window};
use crate::core::time::Timestamp;

/// What each window of `length` counted, in order; windows without a sample are left out. A counter that
/// falls has been reset and counts its whole value; what a series had at its first sample is not known to
/// be new and is not counted.
pub fn windows(series: &[Series], length: Duration) -> Vec<(Window, Counted)> {
    let length_ms = i64::try_from(length.as_millis()).unwrap_or(i64::MAX).max(1);
    let mut found: BTreeMap<i64, BTreeMap<String, f64>> = BTreeMap::new();
    for one in series {
        let mut samples: Vec<Sample> =
            one.samples.iter().filter(|sample| sample.value.is_finite()).copied().collect();
        samples.sort_by_key(|sample| sample.at);
        for pair in samples.windows(2) {
            let [before, now] = [pair[0], pair[1]];
            let rise = if now.value < before.value { now.value } else { now.value - before.value };
            let window = found.entry(now.at.0.div_euclid(length_ms)).or_default();
            *window.entry(one.id.key.clone()).or_default() += rise.max(0.0);
        }
    }
    found
        .into_iter()
        .map(|(index, increments)| {
            let start = Timestamp(index.saturating_mul(length_ms));
            let end = start.plus(length);
            let counted = Counted {
                increments,
                cursor: Cursor::default(),
                newest: Some(end),
                since: Some(start),
                renewed: Default::default(),
                added: Default::default(),
            };
            (Window { start, end }, counted)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::counter::{Part, SeriesId};

    fn series(name: &str, samples: &[(i64, f64)]) -> Series {
        let id = SeriesId::of_labels(name, &BTreeMap::from([("instance".to_owned(), "a".to_owned())]));
        Series {
            group: id.key.clone(),
            id,
            part: Part::Counter,
            samples: samples.iter().map(|(at, value)| Sample { at: Timestamp(*at), value: *value }).collect(),
        }
    }

    #[test]
    fn rises_go_to_the_window_of_the_later_sample_and_a_fall_is_a_reset() {
        let one =
            series("x", &[(35_000, 9.0), (5_000, 100.0), (12_000, 103.0), (19_000, 110.0), (31_000, 4.0)]);
        let found = windows(&[one], Duration::from_secs(10));
        let rises: Vec<(i64, f64)> = found
            .iter()
            .map(|(window, counted)| (window.start.0, counted.increments.values().sum()))
            .collect();
        assert_eq!(rises, [(10_000, 10.0), (30_000, 9.0)]);
        assert_eq!(found[0].0.end, Timestamp(20_000));
    }

    #[test]
    fn nothing_gives_nothing() {
        assert!(windows(&[series("x", &[(5_000, 1.0)])], Duration::from_secs(10)).is_empty());
        assert!(windows(&[], Duration::from_secs(10)).is_empty());
    }
}
