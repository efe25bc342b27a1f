//! What is noticed besides the counts, and samples that come rarely.

use super::arms::Looks;
use super::*;
use serin::core::metric::Listed;

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
    assert_eq!((before.instances.len(), before.renewed.len()), (1, 0));
    looks.scrape("old", 10.0, 140.0, 1.0, -500.0);
    looks.scrape("new", 10.0, 7.0, 0.0, 8.0);
    let after = looks.look(11.0).await;
    assert_eq!(after.notes.canary.processes.unwrap().renewed.len(), 1);
    assert_eq!(after.notes.baseline.processes.unwrap().renewed.len(), 0);
}

#[tokio::test]
async fn instances_that_are_scraped_at_moments_of_their_own_are_all_there() {
    let mut looks = Looks::of(proportion()).await;
    let scrape = |looks: &Looks, version: &str, instance: &str, second: f64| {
        let labels = format!("version={version},instance={instance},job=j");
        looks.add(&format!("requests_total {labels}"), second, 1_000.0 + second);
        looks.add(&format!("process_start_time_seconds {labels}"), second, at(-5_000.0).seconds());
    };
    for minute in -5..=4 {
        let second = 60.0 * f64::from(minute);
        for (place, instance) in ["a", "b", "c"].into_iter().enumerate() {
            scrape(&looks, "new", instance, second + 20.0 * place as f64);
        }
        scrape(&looks, "old", "x", second);
    }
    let mut consumed = 0;
    for look in 0..20 {
        let answer = looks.look(6.0 + 10.0 * f64::from(look)).await;
        let Some(processes) = answer.notes.canary.processes.filter(|_| answer.cursor.is_some()) else {
            continue;
        };
        consumed += 1;
        assert_eq!(processes.instances.len(), 3, "{processes:?}");
    }
    assert!(consumed >= 3, "{consumed}");
}

#[tokio::test]
async fn instances_that_prometheus_scrapes_are_listed_whether_they_answer_or_not() {
    let listed = |listed: Option<Listed>| listed.map(|it| (it.ready, it.of, it.never.len()));
    // The labels are the scrape configuration's: `up` carries them.
    let mut looks = Looks::of(proportion()).await;
    for version in ["old", "new"] {
        looks.scrape(version, 0.0, 100.0, 1.0, -500.0);
        looks.add(&format!("up version={version},instance=i-{version},job=j"), 0.0, 1.0);
    }
    looks.look(1.0).await;
    for (instance, up) in [("i-2", 1.0), ("i-3", 0.0), ("i-4", 0.0)] {
        looks.add(&format!("up version=new,instance={instance},job=j"), 4.0, up);
    }
    // An exporter beside the service says nothing of it.
    looks.add("up version=new,instance=i-9,job=exporter", 4.0, 0.0);
    looks.scrape("old", 5.0, 120.0, 1.0, -500.0);
    looks.scrape("new", 5.0, 120.0, 1.0, -500.0);
    let answer = looks.look(6.0).await;
    assert_eq!(listed(answer.notes.canary.listed), Some((2, 4, 2)));
    assert_eq!(listed(answer.notes.baseline.listed), Some((1, 1, 0)));
    // One that has answered before does not count as one that never has.
    looks.add("up version=new,instance=i-new,job=j", 7.0, 0.0);
    assert_eq!(listed(looks.look(8.0).await.notes.canary.listed), Some((1, 4, 2)));
}

#[tokio::test]
async fn instances_are_found_by_their_jobs_where_the_labels_are_the_services_own() {
    let listed = |listed: Option<Listed>| listed.map(|it| (it.ready, it.of, it.never.len()));
    // Each arm has a job of its own: all of it is the arm's.
    let mut looks = Looks::of(proportion()).await;
    let scrape = |looks: &Looks, version: &str, job: &str, instance: &str, second: f64| {
        let labels = format!("version={version},instance={instance},job={job}");
        looks.add(&format!("requests_total {labels}"), second, 100.0 + second);
        looks.add(&format!("up instance={instance},job={job}"), second, 1.0);
    };
    for second in [0.0, 5.0] {
        scrape(&looks, "old", "stable", "a", second);
        scrape(&looks, "new", "canary", "b", second);
    }
    looks.add("up instance=c,job=canary", 0.0, 0.0);
    looks.look(1.0).await;
    let answer = looks.look(6.0).await;
    assert_eq!(listed(answer.notes.canary.listed), Some((1, 2, 1)));
    assert_eq!(listed(answer.notes.baseline.listed), Some((1, 1, 0)));
    // One job of both: only those are known that had counters, and a proxy that has both arms' says nothing.
    let mut looks = Looks::of(proportion()).await;
    for second in [0.0, 5.0] {
        scrape(&looks, "old", "shop", "a", second);
        scrape(&looks, "new", "shop", "b", second);
        scrape(&looks, "new", "shop", "d", second);
        scrape(&looks, "new", "shop", "proxy", second);
        scrape(&looks, "old", "shop", "proxy", second);
    }
    looks.add("up instance=c,job=shop", 0.0, 0.0);
    looks.look(1.0).await;
    looks.add("up instance=d,job=shop", 5.5, 0.0);
    let answer = looks.look(6.0).await;
    assert_eq!(listed(answer.notes.canary.listed), Some((1, 2, 0)));
    assert_eq!(listed(answer.notes.baseline.listed), Some((1, 1, 0)));
}
