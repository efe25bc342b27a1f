//! What is noticed besides the counts, and samples that come rarely.

use super::arms::Looks;
use super::*;

#[tokio::test]
async fn samples_a_minute_apart_are_compared_whatever_lies_between_the_arms() {
    for offset in [0.0, 5.0, 30.0, 55.0] {
        let mut looks = Looks::of(proportion()).await;
        for scrape in -5..=12 {
            let minute = f64::from(scrape);
            let second = minute * 60.0;
            looks.scrape("old", second, 10_000.0 + minute * 600.0, 100.0, -5000.0);
            looks.scrape("new", second + offset, 1_000.0 + minute * 60.0, 60.0 * (minute + 5.0), -5000.0);
        }
        let (mut consumed, mut canary, mut pending_canary) = (0, [0, 0], 0);
        let mut last = f64::NEG_INFINITY;
        for look in 0..60 {
            let second = 6.0 + 10.0 * f64::from(look);
            let answer = looks.look(second).await;
            if look == 0 {
                let spacing = Some(Duration::from_secs(60));
                assert_eq!((answer.notes.canary.spacing, answer.notes.baseline.spacing), (spacing, spacing));
                assert_eq!(answer.cursor.as_ref().unwrap().canary.spacing, spacing, "it is kept");
            }
            for reading in [&answer.observation.canary, &answer.observation.baseline] {
                let fine = matches!(reading, Ok(_) | Err(NoData::Waiting));
                assert!(fine, "offset {offset} s, after {second} s: {reading:?}");
            }
            let Ok(Counts::Proportion { total, bad }) = answer.observation.canary else { continue };
            if answer.cursor.is_none() {
                pending_canary += 1;
                continue;
            }
            consumed += 1;
            canary = [canary[0] + total, canary[1] + bad];
            last = second;
        }
        assert!(consumed >= 10, "offset {offset} s: {consumed} windows in ten minutes");
        assert!(last > 500.0);
        assert_eq!(canary[0], canary[1], "offset {offset} s: every request of the canary fails, and is seen");
        assert!(canary[0] >= 500, "offset {offset} s: {canary:?}, {pending_canary} looks ahead of the pair");
    }
}

#[tokio::test]
async fn a_selector_of_bad_requests_that_matches_nothing_is_noticed() {
    let mut looks = Looks::of(proportion()).await;
    let total = |looks: &Looks, version: &str, second: f64, value: f64| {
        looks.add(&format!("requests_total version={version},instance=i-{version},job=j"), second, value);
        looks.idle(version, second, -500.0);
    };
    for (second, value) in [(0.0, 100.0), (5.0, 120.0)] {
        looks.scrape("old", second, value, 3.0, -500.0);
        total(&looks, "new", second, value);
    }
    looks.look(1.0).await;
    let answer = looks.look(6.0).await;
    assert_eq!(answer.observation.canary, counted(20, 0));
    assert_eq!(answer.notes.canary.bad, Some(serin::core::metric::BadSeries::Absent));
    assert_eq!(answer.notes.baseline.bad, Some(serin::core::metric::BadSeries::Present));
}

#[tokio::test]
async fn processes_that_begin_anew_are_named() {
    let mut looks = Looks::of(proportion()).await;
    for version in ["old", "new"] {
        looks.scrape(version, 0.0, 100.0, 1.0, -500.0);
        looks.scrape(version, 5.0, 120.0, 1.0, -500.0);
    }
    looks.look(1.0).await;
    let before = looks.look(6.0).await.notes.canary.processes.unwrap();
    assert_eq!((before.instances, before.renewed.len()), (1, 0));
    looks.scrape("old", 10.0, 140.0, 1.0, -500.0);
    looks.scrape("new", 10.0, 7.0, 0.0, 8.0);
    let after = looks.look(11.0).await;
    assert_eq!(after.notes.canary.processes.unwrap().renewed.len(), 1);
    assert_eq!(after.notes.baseline.processes.unwrap().renewed.len(), 0);
}
