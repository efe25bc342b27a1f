use super::*;
use crate::core::spec::Pool;
use crate::core::split::{Role, Weight};
use crate::ports::Route;

const FORGET: Duration = Duration::from_secs(60);

fn at(seconds: u64) -> Now {
    Now { wall: Timestamp(1_000_000 + seconds as i64 * 1000), monotonic: Duration::from_secs(seconds) }
}

/// A layer with the targets `a` and `b` at these generations; the canary's weight is the generation.
fn layer(a: u64, b: u64) -> Arc<Snapshot> {
    let route = |target: &str, generation: u64| Route {
        target: target.to_owned(),
        route: target.to_owned(),
        pools: [(Role::Stable, "s"), (Role::Canary, "c")]
            .map(|(role, name)| (role, Pool { backend: name.to_owned(), ..Pool::default() }))
            .into(),
        split: Split::canary(Weight(generation as u16), false),
        generation,
        nodes: BTreeMap::new(),
    };
    Arc::new(Snapshot::new("serin", &[route("a", a), route("b", b)]).unwrap())
}

fn split(generation: u64) -> Option<Split> {
    Some(Split::canary(Weight(generation as u16), false))
}

fn record(generation: u64, seconds: u64, connected: bool) -> NodeRecord {
    NodeRecord { generation, last_seen: at(seconds).wall, connected, refused: None }
}

#[test]
fn a_split_is_seen_when_all_that_are_connected_have_accepted_it() {
    let mut nodes = Nodes::new(FORGET);
    assert_eq!(nodes.observe("a", 1, false).split, None);
    nodes.open("one", 1, true, at(0));
    assert_eq!(nodes.observe("a", 1, false).split, None);
    nodes.ack("one", 1, &layer(1, 1), at(1));
    assert_eq!(nodes.observe("a", 1, false).split, split(1));
    assert_eq!(nodes.observe("a", 2, false).split, None, "an older generation is not what is asked for");
    nodes.open("two", 2, true, at(2));
    assert_eq!(nodes.observe("a", 1, false).split, None);
    nodes.ack("two", 2, &layer(1, 1), at(3));
    assert_eq!(nodes.observe("a", 1, false).split, split(1));
    nodes.ack("two", 2, &layer(2, 1), at(4));
    assert_eq!(nodes.observe("a", 1, false).split, None, "they differ");
    assert_eq!(nodes.observe("b", 1, false).split, split(1), "for the other target they do not");
    nodes.ack("one", 1, &layer(2, 1), at(5));
    let observed = nodes.observe("a", 2, false);
    assert_eq!(observed.split, split(2));
    assert_eq!(observed.nodes["one"], record(2, 5, true));
    assert_eq!(observed.nodes["two"], record(2, 4, true));
}

#[test]
fn a_cut_off_proxy_is_reported_until_it_is_forgotten_and_hides_nothing() {
    let mut nodes = Nodes::new(FORGET);
    nodes.open("one", 1, true, at(0));
    nodes.open("two", 2, true, at(0));
    nodes.ack("one", 1, &layer(1, 1), at(1));
    nodes.ack("two", 2, &layer(1, 1), at(1));
    nodes.close("two", 2, at(10));
    nodes.ack("one", 1, &layer(2, 1), at(11));
    let observed = nodes.observe("a", 2, false);
    assert_eq!(observed.split, split(2));
    assert_eq!(observed.nodes["two"], record(1, 10, false));
    nodes.forget(at(69));
    assert!(nodes.observe("a", 2, false).nodes.contains_key("two"));
    nodes.excuse(at(69));
    nodes.forget(at(128));
    assert!(nodes.observe("a", 2, false).nodes.contains_key("two"));
    nodes.forget(at(129));
    assert_eq!(nodes.observe("a", 2, false).nodes.keys().collect::<Vec<_>>(), ["one"]);
}

#[test]
fn a_proxy_that_comes_back_counts_only_when_it_accepts_again() {
    let mut nodes = Nodes::new(FORGET);
    nodes.open("one", 1, true, at(0));
    nodes.ack("one", 1, &layer(3, 1), at(1));
    nodes.close("one", 1, at(2));
    nodes.open("one", 2, false, at(3));
    let observed = nodes.observe("a", 3, false);
    assert_eq!((observed.split, observed.nodes["one"].generation), (None, 3), "it still holds what it had");
    nodes.ack("one", 2, &layer(3, 1), at(4));
    assert_eq!(nodes.observe("a", 3, false).split, split(3));
    nodes.close("one", 2, at(5));
    nodes.open("one", 3, true, at(6));
    assert_eq!(nodes.observe("a", 3, false).nodes["one"].generation, 0, "a new process holds nothing");
    nodes.close("one", 3, at(7));
    assert_eq!(nodes.observe("a", 3, false).nodes["one"], record(0, 7, false));
}

#[test]
fn two_streams_of_one_id_count_as_the_older_of_both() {
    let mut nodes = Nodes::new(FORGET);
    nodes.open("one", 1, true, at(0));
    nodes.ack("one", 1, &layer(1, 1), at(1));
    nodes.open("one", 2, true, at(2));
    assert_eq!(nodes.observe("a", 1, false).split, None);
    nodes.ack("one", 2, &layer(2, 1), at(3));
    let observed = nodes.observe("a", 1, false);
    assert_eq!((observed.split, observed.nodes["one"].generation), (None, 1));
    nodes.close("one", 1, at(4));
    let observed = nodes.observe("a", 2, false);
    assert_eq!((observed.split, observed.nodes["one"].connected), (split(2), true));
    nodes.close("one", 1, at(5));
    assert_eq!(nodes.open_streams(), 1, "closing twice closes once");
}

#[test]
fn a_refusal_is_reported_for_the_targets_that_it_concerns_until_something_is_accepted() {
    let mut nodes = Nodes::new(FORGET);
    nodes.open("one", 1, true, at(0));
    nodes.ack("one", 1, &layer(1, 1), at(1));
    let refused = layer(2, 1);
    nodes.nack("one", 1, &refused, "no".into(), at(2));
    let observed = nodes.observe("a", 2, false);
    assert_eq!((observed.split, observed.nodes["one"].refused.as_deref()), (None, Some("no")));
    assert_eq!(observed.nodes["one"].generation, 1);
    let other = nodes.observe("b", 1, false);
    assert_eq!((other.split, other.nodes["one"].refused.as_deref()), (split(1), None));
    assert!(nodes.refuses(&refused.version) && !nodes.refuses(&layer(1, 1).version));
    nodes.close("one", 1, at(3));
    assert_eq!(nodes.observe("a", 2, false).nodes["one"].refused.as_deref(), Some("no"));
    nodes.open("one", 2, false, at(4));
    nodes.ack("one", 2, &layer(3, 1), at(5));
    let observed = nodes.observe("a", 3, false);
    assert_eq!((observed.split, observed.nodes["one"].refused.as_deref()), (split(3), None));
}

#[test]
fn stored_records_are_remembered_with_their_time_away() {
    let mut nodes = Nodes::new(FORGET);
    let mut away = record(4, 0, false);
    away.refused = Some("no".into());
    let stored = BTreeMap::from([
        ("away".to_owned(), away.clone()),
        ("there".to_owned(), record(5, 0, true)),
        ("long gone".to_owned(), NodeRecord { last_seen: Timestamp(0), ..record(1, 0, false) }),
    ]);
    nodes.seed("a", &stored, at(40));
    nodes.seed("b", &BTreeMap::from([("there".to_owned(), record(7, 0, true))]), at(40));
    let observed = nodes.observe("a", 5, false);
    assert_eq!(observed.split, None);
    assert_eq!(observed.nodes.keys().collect::<Vec<_>>(), ["away", "there"]);
    assert_eq!(observed.nodes["away"], away);
    assert_eq!(observed.nodes["there"], record(5, 0, false));
    assert_eq!(nodes.observe("b", 7, false).nodes["there"].generation, 7);
    // It was away for 40 s already; the other was there until Serin itself ended.
    nodes.forget(at(60));
    assert_eq!(nodes.observe("a", 5, false).nodes.keys().collect::<Vec<_>>(), ["there"]);
    nodes.forget(at(100));
    assert!(nodes.observe("a", 5, false).nodes.is_empty());
}

#[test]
fn what_is_known_is_newer_than_what_is_stored() {
    let mut nodes = Nodes::new(FORGET);
    nodes.open("one", 1, true, at(0));
    nodes.ack("one", 1, &layer(9, 1), at(1));
    nodes.seed("a", &BTreeMap::from([("one".to_owned(), record(3, 0, false))]), at(2));
    assert_eq!(nodes.observe("a", 9, false).nodes["one"], record(9, 1, true));
    nodes.close("one", 1, at(3));
    nodes.seed("a", &BTreeMap::from([("one".to_owned(), record(3, 0, true))]), at(4));
    assert_eq!(nodes.observe("a", 9, false).nodes["one"], record(9, 3, false));
}
