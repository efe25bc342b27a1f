//! Which proxies there are, and what each of them accepted. Plain data: the time is an argument.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use super::snapshot::Snapshot;
use crate::core::pools::{NodeRecord, ObservedSplit};
use crate::core::split::Split;
use crate::core::time::Timestamp;

/// Both clocks: the wall clock for records, the monotonic one for waiting.
#[derive(Clone, Copy, Debug)]
pub(super) struct Now {
    /// For `last_seen`.
    pub(super) wall: Timestamp,
    /// For forgetting.
    pub(super) monotonic: Duration,
}

/// All proxies that are there, or were and are not forgotten.
#[derive(Debug)]
pub(super) struct Nodes {
    pub(super) forget_after: Duration,
    nodes: BTreeMap<String, Node>,
    open: usize,
}

/// One proxy, by the `node.id` of its bootstrap. While it restarts hot it has two streams.
#[derive(Debug)]
struct Node {
    streams: BTreeMap<u64, Stream>,
    /// What it held when its last stream closed.
    held: Held,
    /// Why it refused what it was sent last, when its last stream closed.
    refused: Option<Refusal>,
    last_seen: Timestamp,
    /// By the monotonic clock; matters while no stream is open.
    forget_at: Duration,
}

#[derive(Debug)]
struct Stream {
    held: Held,
    /// What it accepted on this very stream; only this counts as seen.
    acked: Option<Arc<Snapshot>>,
    refused: Option<Refusal>,
}

#[derive(Clone, Debug)]
enum Held {
    /// By the stored records, from before this process.
    Stored(BTreeMap<String, u64>),
    Snapshot(Arc<Snapshot>),
}

#[derive(Clone, Debug)]
enum Refusal {
    /// By the stored records: target and reason.
    Stored(BTreeMap<String, String>),
    Snapshot(Arc<Snapshot>, String),
    /// It is not answered: the reason.
    Unanswered(String),
}

impl Held {
    fn nothing() -> Held {
        Held::Stored(BTreeMap::new())
    }

    fn generation(&self, target: &str) -> u64 {
        match self {
            Held::Stored(generations) => generations.get(target).copied().unwrap_or(0),
            Held::Snapshot(snapshot) => snapshot.generation(target),
        }
    }
}

impl Refusal {
    /// The reason, if what was refused would have brought the target beyond `held`.
    fn of(&self, target: &str, held: u64) -> Option<&str> {
        match self {
            Refusal::Stored(reasons) => reasons.get(target).map(String::as_str),
            Refusal::Unanswered(reason) => Some(reason),
            Refusal::Snapshot(snapshot, reason) => {
                (snapshot.generation(target) > held).then_some(reason.as_str())
            }
        }
    }
}

impl Node {
    fn generation(&self, target: &str) -> u64 {
        let streams = self.streams.values().map(|stream| stream.held.generation(target));
        streams.min().unwrap_or_else(|| self.held.generation(target))
    }

    fn refused(&self, target: &str) -> Option<String> {
        let held = self.generation(target);
        let of = |refusal: Option<&Refusal>| refusal?.of(target, held).map(str::to_owned);
        if self.streams.is_empty() {
            return of(self.refused.as_ref());
        }
        self.streams.values().find_map(|stream| of(stream.refused.as_ref()))
    }

    fn record(&self, target: &str) -> NodeRecord {
        NodeRecord {
            generation: self.generation(target),
            last_seen: self.last_seen,
            connected: !self.streams.is_empty(),
            refused: self.refused(target),
        }
    }

    /// What is in force for a target in all processes of this proxy; `None` while that is not known.
    fn in_force(&self, target: &str) -> Option<(u64, Split)> {
        let mut all = self.streams.values().map(|stream| {
            let acked = stream.acked.as_ref()?;
            Some((acked.generation(target), acked.split(target)?))
        });
        let first = all.next()??;
        all.all(|other| other == Some(first)).then_some(first)
    }
}

impl Nodes {
    /// Nobody yet.
    pub(super) fn new(forget_after: Duration) -> Nodes {
        Nodes { forget_after, nodes: BTreeMap::new(), open: 0 }
    }

    /// How many streams are open.
    pub(super) fn open_streams(&self) -> usize {
        self.open
    }

    /// Takes in what is stored of a target's proxies; what is known here already is newer. A proxy that
    /// was connected when this was stored was cut off by Serin's own end, so its time to be forgotten
    /// begins now.
    pub(super) fn seed(&mut self, target: &str, stored: &BTreeMap<String, NodeRecord>, now: Now) {
        for (id, record) in stored {
            let away = if record.connected { Duration::ZERO } else { now.wall.since(record.last_seen) };
            if away >= self.forget_after {
                continue;
            }
            let node = self.nodes.entry(id.clone()).or_insert_with(|| Node {
                streams: BTreeMap::new(),
                held: Held::nothing(),
                refused: Some(Refusal::Stored(BTreeMap::new())),
                last_seen: record.last_seen,
                forget_at: now.monotonic + (self.forget_after - away),
            });
            if let (true, Held::Stored(generations)) = (node.streams.is_empty(), &mut node.held) {
                generations.entry(target.to_owned()).or_insert(record.generation);
                if let (Some(Refusal::Stored(reasons)), Some(reason)) = (&mut node.refused, &record.refused) {
                    reasons.entry(target.to_owned()).or_insert_with(|| reason.clone());
                }
            }
        }
    }

    /// A stream was opened. `fresh`: the proxy says that it holds nothing, so it has just been started.
    pub(super) fn open(&mut self, id: &str, stream: u64, fresh: bool, now: Now) {
        let node = self.nodes.entry(id.to_owned()).or_insert_with(|| Node {
            streams: BTreeMap::new(),
            held: Held::nothing(),
            refused: None,
            last_seen: now.wall,
            forget_at: now.monotonic,
        });
        let held = if fresh { Held::nothing() } else { node.held.clone() };
        node.streams.insert(stream, Stream { held, acked: None, refused: None });
        node.last_seen = now.wall;
        self.open += 1;
    }

    /// A stream was closed.
    pub(super) fn close(&mut self, id: &str, stream: u64, now: Now) {
        let Some(node) = self.nodes.get_mut(id) else { return };
        let Some(closed) = node.streams.remove(&stream) else { return };
        self.open -= 1;
        node.last_seen = now.wall;
        if node.streams.is_empty() {
            node.held = closed.held;
            node.refused = closed.refused;
            node.forget_at = now.monotonic + self.forget_after;
        }
    }

    /// A proxy accepted what it was sent.
    pub(super) fn ack(&mut self, id: &str, stream: u64, snapshot: &Arc<Snapshot>, now: Now) {
        if let Some((node, stream)) = self.stream(id, stream) {
            stream.held = Held::Snapshot(Arc::clone(snapshot));
            stream.acked = Some(Arc::clone(snapshot));
            stream.refused = None;
            *node = now.wall;
        }
    }

    /// A proxy refused what it was sent; it goes on with what it has.
    pub(super) fn nack(&mut self, id: &str, stream: u64, snapshot: &Arc<Snapshot>, why: String, now: Now) {
        if let Some((node, stream)) = self.stream(id, stream) {
            stream.refused = Some(Refusal::Snapshot(Arc::clone(snapshot), why));
            *node = now.wall;
        }
    }

    /// A proxy is not answered. True if that is new.
    pub(super) fn leave(&mut self, id: &str, stream: u64, why: String) -> bool {
        let Some((_, stream)) = self.stream(id, stream) else { return false };
        let is_new = stream.refused.is_none();
        stream.refused = Some(Refusal::Unanswered(why));
        is_new
    }

    fn stream(&mut self, id: &str, stream: u64) -> Option<(&mut Timestamp, &mut Stream)> {
        let node = self.nodes.get_mut(id)?;
        Some((&mut node.last_seen, node.streams.get_mut(&stream)?))
    }

    /// Drops proxies that have been gone for too long.
    pub(super) fn forget(&mut self, now: Now) {
        self.nodes.retain(|_, node| !node.streams.is_empty() || now.monotonic < node.forget_at);
    }

    /// Proxies that are away get their whole time again, for they could not have come.
    pub(super) fn excuse(&mut self, now: Now) {
        for node in self.nodes.values_mut() {
            node.forget_at = now.monotonic + self.forget_after;
        }
    }

    /// True if some proxy's last word was a refusal of exactly this.
    pub(super) fn refuses(&self, version: &str) -> bool {
        self.nodes.values().flat_map(|node| node.streams.values()).any(|stream| {
            matches!(&stream.refused, Some(Refusal::Snapshot(refused, _)) if refused.version == version)
        })
    }

    /// What the proxies do with a target. The split is what all that are connected have accepted, on
    /// the streams that are open now, at `generation` or a newer one; 0 is that of what is kept from an earlier
    /// process, if it `is_kept`.
    pub(super) fn observe(&self, target: &str, generation: u64, is_kept: bool) -> ObservedSplit {
        let nodes = self.nodes.iter().map(|(id, node)| (id.clone(), node.record(target))).collect();
        let mut connected = self.nodes.values().filter(|node| !node.streams.is_empty());
        let first = connected.next().and_then(|node| node.in_force(target));
        let split = first
            .filter(|(accepted, _)| *accepted >= generation || (is_kept && *accepted == 0))
            .filter(|_| connected.all(|node| node.in_force(target) == first))
            .map(|(_, split)| split);
        ObservedSplit { nodes, ..ObservedSplit::of(split) }
    }

    /// What can be noticed of a proxy for a target, without the time.
    pub(super) fn state(&self, id: &str, target: &str) -> State {
        let node = self.nodes.get(id)?;
        let in_force = node.in_force(target).map(|(generation, _)| generation);
        Some((node.generation(target), !node.streams.is_empty(), in_force, node.refused(target)))
    }
}

/// Accepted generation, connected, accepted by all its open streams, refused.
pub(super) type State = Option<(u64, bool, Option<u64>, Option<String>)>;

#[cfg(test)]
#[path = "nodes_tests.rs"]
mod tests;
