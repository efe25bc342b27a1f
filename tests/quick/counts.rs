//! Exact counts from cumulative counters.

use std::collections::BTreeMap;

use proptest::prelude::*;
use serin::core::counter::{Counted, KEEP, Part, Sample, Scrapes, Series, SeriesId, count};
use serin::core::metric::{Cursor, NoData};
use serin::core::time::Timestamp;

const ROLLOUT: Timestamp = Timestamp(1_000_000);

fn labels(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|(label, value)| ((*label).to_owned(), (*value).to_owned())).collect()
}

fn samples(points: &[(i64, f64)]) -> Vec<Sample> {
    points.iter().map(|(at, value)| Sample { at: Timestamp(*at), value: *value }).collect()
}

fn named(name: &str, pairs: &[(&str, &str)], part: Part, points: &[(i64, f64)]) -> Series {
    let id = SeriesId::of_labels(name, &labels(pairs));
    let group = if part == Part::Counter { id.key.clone() } else { "histogram".to_owned() };
    Series { id, group, part, samples: samples(points) }
}

/// A counter of the instance `a`.
fn counter(code: &str, points: &[(i64, f64)]) -> Series {
    named("requests_total", &[("instance", "a"), ("job", "j"), ("code", code)], Part::Counter, points)
}

const INSTANCE: &str = r#"{instance="a",job="j"}"#;

/// Looks one after the other, each with the start of the instance's process at its times.
#[derive(Default)]
struct Looks {
    cursor: Option<Cursor>,
}

impl Looks {
    fn look(&mut self, series: &[Series], starts: &[(i64, f64)]) -> Counted {
        let mut scrapes = Scrapes::default();
        scrapes.note_series(series);
        for (at, started) in starts {
            scrapes.note_start(INSTANCE, Timestamp(*at), *started);
        }
        let counted = count(series, &scrapes, self.cursor.as_ref(), ROLLOUT).unwrap();
        self.cursor = Some(counted.cursor.clone());
        counted
    }

    /// The sum of all increments of a look.
    fn total(&mut self, series: &[Series], starts: &[(i64, f64)]) -> f64 {
        self.look(series, starts).increments.values().sum()
    }
}

#[test]
fn the_first_look_sets_the_base_and_later_ones_count_from_it() {
    let mut looks = Looks::default();
    assert_eq!(looks.total(&[counter("200", &[(1_001_000, 90.0), (1_002_000, 100.0)])], &[]), 0.0);
    assert_eq!(looks.total(&[counter("200", &[(1_002_000, 100.0), (1_003_000, 130.0)])], &[]), 30.0);
    // The same samples again, and older ones, count nothing.
    assert_eq!(looks.total(&[counter("200", &[(1_003_000, 130.0), (1_001_000, 90.0)])], &[]), 0.0);
    // Samples in any order, one of them twice.
    let jumbled = [(1_005_000, 150.0), (1_004_000, 140.0), (1_005_000, 999.0)];
    assert_eq!(looks.total(&[counter("200", &jumbled)], &[]), 20.0);
}

#[test]
fn a_falling_value_is_a_reset_also_within_a_look() {
    let mut looks = Looks::default();
    looks.total(&[counter("200", &[(1_001_000, 100.0)])], &[]);
    let points = [(1_002_000, 120.0), (1_003_000, 7.0), (1_004_000, 9.0), (1_005_000, 1.0)];
    assert_eq!(looks.total(&[counter("200", &points)], &[]), 20.0 + 7.0 + 2.0 + 1.0);
}

#[test]
fn another_process_is_a_reset_even_if_it_has_passed_the_old_value() {
    let mut looks = Looks::default();
    looks.total(&[counter("200", &[(1_001_000, 100.0)])], &[(1_001_000, 500.0)]);
    let next = [counter("200", &[(1_002_000, 150.0)])];
    assert_eq!(looks.total(&next, &[(1_002_000, 1_001.5)]), 150.0);
}

#[test]
fn a_process_whose_clock_is_ahead_is_not_new_at_each_scrape() {
    let mut looks = Looks::default();
    looks.total(&[counter("200", &[(1_001_000, 100.0)])], &[(1_001_000, 1_030.0)]);
    let next = [counter("200", &[(1_002_000, 150.0)])];
    assert_eq!(looks.total(&next, &[(1_002_000, 1_030.0)]), 50.0);
}

#[test]
fn a_start_that_wobbles_is_the_same_process() {
    let mut looks = Looks::default();
    looks.total(&[counter("200", &[(1_001_000, 100.0)])], &[(1_001_000, 500.2)]);
    let next = [counter("200", &[(1_002_000, 150.0)])];
    assert_eq!(looks.total(&next, &[(1_002_000, 500.9)]), 50.0);
}

#[test]
fn a_child_that_appears_on_a_known_instance_counts_from_zero() {
    let mut looks = Looks::default();
    looks.total(&[counter("200", &[(1_001_000, 100.0)])], &[(1_001_000, 500.0)]);
    let next = [counter("200", &[(1_002_000, 110.0)]), counter("500", &[(1_002_000, 3.0)])];
    let counted = looks.look(&next, &[(1_002_000, 500.0)]);
    assert_eq!(counted.increments[&next[0].id.key], 10.0);
    assert_eq!(counted.increments[&next[1].id.key], 3.0);
}

#[test]
fn a_new_instance_counts_from_zero_only_if_its_process_began_after_the_rollout() {
    let series = |points| [counter("200", points)];
    for (started, expected) in [(1_000.5, 25.0), (999.5, 5.0)] {
        let mut looks = Looks { cursor: Some(Cursor::default()) };
        let starts = [(1_002_000, started), (1_003_000, started)];
        assert_eq!(looks.total(&series(&[(1_002_000, 20.0), (1_003_000, 25.0)]), &starts), expected);
    }
    // Where the start is not known, the first sample is the base.
    let mut looks = Looks { cursor: Some(Cursor::default()) };
    assert_eq!(looks.total(&series(&[(1_002_000, 20.0), (1_003_000, 25.0)]), &[]), 5.0);
}

#[test]
fn series_without_an_instance_never_count_from_zero() {
    let of = |code, points: &[(i64, f64)]| named("r", &[("code", code)], Part::Counter, points);
    let mut looks = Looks::default();
    looks.total(&[of("200", &[(1_001_000, 100.0)])], &[]);
    let next = [of("200", &[(1_002_000, 110.0)]), of("500", &[(1_002_000, 1e6), (1_003_000, 1e6 + 1.0)])];
    assert_eq!(looks.total(&next, &[]), 11.0);
}

#[test]
fn renamed_labels_are_not_new_requests() {
    let mut looks = Looks::default();
    looks.total(&[counter("200", &[(1_001_000, 1e6)])], &[(1_001_000, 500.0)]);
    let renamed = [counter("2xx", &[(1_002_000, 1e6 + 10.0), (1_003_000, 1e6 + 30.0)])];
    assert_eq!(looks.total(&renamed, &[(1_002_000, 500.0), (1_003_000, 500.0)]), 20.0);
}

#[test]
fn a_series_that_vanishes_and_comes_back_goes_on() {
    let mut looks = Looks::default();
    looks.total(&[counter("200", &[(1_001_000, 100.0)]), counter("500", &[(1_001_000, 5.0)])], &[]);
    assert_eq!(looks.total(&[counter("200", &[(1_002_000, 101.0)])], &[]), 1.0);
    let back = [counter("200", &[(1_003_000, 102.0)]), counter("500", &[(1_003_000, 7.0)])];
    assert_eq!(looks.total(&back, &[]), 1.0 + 2.0);
}

#[test]
fn what_is_dropped_from_the_cursor_is_never_counted_twice() {
    let later = KEEP.as_millis() as i64 + 10_000;
    let other = |points: &[(i64, f64)]| {
        named("requests_total", &[("instance", "b"), ("job", "j")], Part::Counter, points)
    };
    let begun = 1_000.5;
    let counted_before = || {
        let mut looks = Looks { cursor: Some(Cursor::default()) };
        let first = [counter("200", &[(1_001_000, 40.0)]), other(&[(1_001_000, 1.0)])];
        assert_eq!(looks.total(&first, &[(1_001_000, begun)]), 40.0);
        assert_eq!(looks.total(&[other(&[(1_001_000 + later, 2.0)])], &[]), 1.0);
        assert!(!looks.cursor.as_ref().unwrap().instances.contains_key(INSTANCE));
        assert_eq!(looks.cursor.as_ref().unwrap().series.len(), 1);
        looks
    };
    let (back, next) = (1_002_000 + later, 1_003_000 + later);
    let points = [(back, 50.0), (next, 55.0)];
    let mut same_process = counted_before();
    assert_eq!(same_process.total(&[counter("200", &points)], &[(back, begun), (next, begun)]), 5.0);
    let mut new_process = counted_before();
    let begun = (later / 1000) as f64 + 1_000.0;
    assert_eq!(new_process.total(&[counter("200", &points)], &[(back, begun), (next, begun)]), 55.0);
}

#[test]
fn a_histogram_is_reset_as_a_whole() {
    let bucket = |le: &str, bound, points: &[(i64, f64)]| {
        named("d_bucket", &[("instance", "a"), ("job", "j"), ("le", le)], Part::Bucket(bound), points)
    };
    let sum = |points: &[(i64, f64)]| named("d_sum", &[("instance", "a"), ("job", "j")], Part::Sum, points);
    let mut looks = Looks::default();
    looks.total(
        &[
            bucket("0.1", 0.1, &[(1_001_000, 5.0)]),
            bucket("+Inf", f64::INFINITY, &[(1_001_000, 10.0)]),
            sum(&[(1_001_000, 3.0)]),
        ],
        &[],
    );
    // Only the lower bucket has fallen; the upper one has passed its old value.
    let next = [
        bucket("+Inf", f64::INFINITY, &[(1_002_000, 12.0)]),
        bucket("0.1", 0.1, &[(1_002_000, 2.0)]),
        sum(&[(1_002_000, 4.0)]),
    ];
    let counted = looks.look(&next, &[]);
    let rises: Vec<f64> = next.iter().map(|one| counted.increments[&one.id.key]).collect();
    assert_eq!(rises, [12.0, 2.0, 4.0]);
    // No bucket has fallen, but the middle between them has: that too is another process.
    let next = [
        bucket("0.1", 0.1, &[(1_003_000, 11.0)]),
        bucket("+Inf", f64::INFINITY, &[(1_003_000, 13.0)]),
        sum(&[(1_003_000, f64::NAN)]),
    ];
    let counted = looks.look(&next, &[]);
    let rises: Vec<f64> =
        next.iter().map(|one| counted.increments.get(&one.id.key).copied().unwrap_or(-1.0)).collect();
    assert_eq!(rises, [11.0, 13.0, -1.0]);
}

#[test]
fn values_that_no_counter_has_are_reasons() {
    let count_one = |value| {
        let series = [counter("200", &[(1_002_000, value)])];
        count(&series, &Scrapes::default(), Some(&Cursor::default()), ROLLOUT)
    };
    assert_eq!(count_one(f64::NAN), Err(NoData::NotFinite));
    assert_eq!(count_one(f64::INFINITY), Err(NoData::NotFinite));
    assert!(matches!(count_one(-1.0), Err(NoData::Malformed(_))));
}

#[test]
fn fractions_are_rounded_in_the_sum_only() {
    let mut looks = Looks::default();
    looks.total(&[counter("a", &[(1_001_000, 0.0)]), counter("b", &[(1_001_000, 0.0)])], &[]);
    let counted = looks.look(&[counter("a", &[(1_002_000, 1.4)]), counter("b", &[(1_002_000, 1.4)])], &[]);
    let keys: Vec<String> = counted.increments.keys().cloned().collect();
    assert_eq!(counted.total(keys.iter().map(String::as_str)), 3);
}

#[test]
fn no_instance_is_the_beginning_of_another() {
    let key = |instance: &str| SeriesId::of_labels("r", &labels(&[("instance", instance), ("job", "j")])).key;
    let tricky = key(r#"a",job="j"} r{"#);
    assert!(!tricky.starts_with(&format!("{INSTANCE} ")));
    assert!(key("a").starts_with(&format!("{INSTANCE} ")));
    let newline = SeriesId::of_labels("r", &labels(&[("instance", "a"), ("path", "x\ny\"\\")]));
    assert_eq!(newline.key, r#"{instance="a"} r{path="x\ny\"\\"}"#);
}

// ------------------------------------------------------------------------------------- random histories

/// A process with up to three children, each made at some time of its life.
#[derive(Clone, Debug)]
struct Life {
    start: i64,
    end: i64,
    children: Vec<(i64, f64)>,
}

impl Life {
    /// The child's value at a time, if it is there.
    fn value(&self, child: usize, at: i64) -> Option<f64> {
        let (age, per_second) = self.children[child];
        let since = at - self.start - age;
        (since >= 0).then(|| 1.0 + (since as f64 / 1000.0 * per_second).floor())
    }
}

#[derive(Clone, Debug)]
struct Instance {
    lives: Vec<Life>,
    scrapes: Vec<i64>,
}

impl Instance {
    fn life(&self, at: i64) -> Option<&Life> {
        self.lives.iter().find(|life| life.start <= at && at < life.end)
    }

    /// Scrapes that found a process, in a time that includes its ends.
    fn seen(&self, from: i64, to: i64) -> impl DoubleEndedIterator<Item = (i64, &Life)> {
        let range = move |at: &&i64| from <= **at && **at <= to;
        self.scrapes.iter().filter(range).filter_map(|at| Some((*at, self.life(*at)?)))
    }

    /// What must have been counted of a child between the first look (that saw scrapes from `from` to
    /// `first`) and the last one: the last scraped value of each life, minus the base.
    fn expected(&self, child: usize, from: i64, first: i64, last: i64) -> f64 {
        let mut by_life: BTreeMap<i64, f64> = BTreeMap::new();
        for (at, life) in self.seen(first + 1, last) {
            by_life.insert(life.start, life.value(child, at).unwrap_or(0.0));
        }
        let base = match (self.seen(from, first).last(), self.seen(first + 1, last).next()) {
            (Some((at, life)), _) => Some((life, at)),
            (None, Some((at, life))) if life.start <= ROLLOUT.0 => Some((life, at)),
            _ => None,
        };
        let base = base.filter(|(life, _)| by_life.contains_key(&life.start));
        by_life.values().sum::<f64>() - base.and_then(|(life, at)| life.value(child, at)).unwrap_or(0.0)
    }
}

fn life() -> impl Strategy<Value = (i64, i64, Vec<(i64, f64)>)> {
    let child = (0..40_000i64, 0.0..50.0f64);
    (1..15_000i64, 1..60_000i64, prop::collection::vec(child, 3))
}

fn instance() -> impl Strategy<Value = Instance> {
    let lives = prop::collection::vec(life(), 1..6);
    let gaps = prop::collection::vec((500..6_000i64, prop::bool::weighted(0.85)), 80);
    (lives, gaps, -90_000..30_000i64, 0..5_000i64).prop_map(|(lives, gaps, begin, phase)| {
        let mut at = ROLLOUT.0 + begin;
        let lives = lives.into_iter().map(|(pause, length, children)| {
            let life = Life { start: at + pause, end: at + pause + length, children };
            at = life.end;
            life
        });
        let lives = lives.collect();
        let mut at = ROLLOUT.0 - 60_000 + phase;
        let scrapes = gaps.into_iter().filter_map(|(gap, is_scraped)| {
            at += gap;
            is_scraped.then_some(at)
        });
        Instance { lives, scrapes: scrapes.collect() }
    })
}

fn look_at(instances: &[Instance], from: i64, to: i64) -> (Vec<Series>, Scrapes) {
    let mut series = Vec::new();
    let mut scrapes = Scrapes::default();
    for (number, instance) in instances.iter().enumerate() {
        let address = format!("{number}");
        for child in 0..3 {
            let points: Vec<(i64, f64)> =
                instance.seen(from, to).filter_map(|(at, life)| Some((at, life.value(child, at)?))).collect();
            if !points.is_empty() {
                let pairs = [("instance", address.as_str()), ("child", ["0", "1", "2"][child])];
                series.push(named("r", &pairs, Part::Counter, &points));
            }
        }
        for (at, life) in instance.seen(from, to) {
            let key = SeriesId::instance_of(&labels(&[("instance", &address)])).unwrap();
            scrapes.note_start(&key, Timestamp(at), life.start as f64 / 1000.0);
        }
    }
    scrapes.note_series(&series);
    (series, scrapes)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1500))]

    /// Over any lives of processes, scrapes and looks, of which some are thrown away, and with the
    /// cursor written and read again each time: per series, the sum of the increments is the sum over
    /// the lives of the last scraped values, minus the base.
    #[test]
    fn each_scraped_request_is_counted_once(
        instances in prop::collection::vec(instance(), 1..4),
        looks in prop::collection::vec((200..20_000i64, prop::bool::weighted(0.7)), 1..25),
        margin in 0..10_000i64,
    ) {
        let first = ROLLOUT.0 + 1_000;
        let (series, scrapes) = look_at(&instances, first - margin, first);
        let mut cursor = count(&series, &scrapes, None, ROLLOUT).unwrap().cursor;
        let mut sums: BTreeMap<String, f64> = BTreeMap::new();
        let (mut at, mut last) = (first, first);
        for (gap, is_consumed) in looks {
            at += gap;
            let from = (cursor.until.0 - margin).max(first - margin);
            let (series, scrapes) = look_at(&instances, from, at);
            let counted = count(&series, &scrapes, Some(&cursor), ROLLOUT).unwrap();
            if !is_consumed {
                continue;
            }
            last = at;
            for (key, increment) in counted.increments {
                *sums.entry(key).or_default() += increment;
            }
            cursor = serde_json::from_str(&serde_json::to_string(&counted.cursor).unwrap()).unwrap();
        }
        for (number, instance) in instances.iter().enumerate() {
            for child in 0..3 {
                let pairs = labels(&[("instance", &number.to_string()), ("child", &child.to_string())]);
                let counted = sums.get(&SeriesId::of_labels("r", &pairs).key).copied().unwrap_or(0.0);
                prop_assert_eq!(
                    counted,
                    instance.expected(child, first - margin, first, last),
                    "instance {} child {}", number, child
                );
            }
        }
    }
}
