//! When instances were scraped, and when their processes began.

use std::collections::BTreeMap;

use super::Series;
use crate::core::time::Timestamp;

/// When the instances of both arms were scraped in the samples at hand, and the start of the process at
/// each scrape where it is known.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Scrapes {
    instances: BTreeMap<String, BTreeMap<Timestamp, Start>>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Start {
    Unknown,
    Known(f64),
    /// Two pages of the same name and time disagree.
    Ambiguous,
}

impl Scrapes {
    /// Each sample shows that its instance was scraped then.
    pub fn note_series(&mut self, series: &[Series]) {
        for one in series {
            if let Some(instance) = &one.id.instance {
                for sample in &one.samples {
                    self.note(instance, sample.at);
                }
            }
        }
    }

    /// The instance was scraped at that time.
    pub fn note(&mut self, instance: &str, at: Timestamp) {
        self.instances.entry(instance.to_owned()).or_default().entry(at).or_insert(Start::Unknown);
    }

    /// The scrape at that time said when the process began, in seconds since the epoch. What is not a
    /// finite number says nothing.
    pub fn note_start(&mut self, instance: &str, at: Timestamp, started: f64) {
        let known =
            self.instances.entry(instance.to_owned()).or_default().entry(at).or_insert(Start::Unknown);
        *known = match *known {
            known if !started.is_finite() => known,
            Start::Unknown => Start::Known(started),
            Start::Known(other) if other == started => Start::Known(other),
            Start::Known(_) | Start::Ambiguous => Start::Ambiguous,
        };
    }

    /// True if any scrape of the instance says when its process began.
    pub fn has_start(&self, instance: &str) -> bool {
        let scrapes = self.instances.get(instance);
        scrapes.is_some_and(|scrapes| scrapes.values().any(|start| *start != Start::Unknown))
    }

    /// Takes in what the other one knows.
    pub fn merge(&mut self, other: &Scrapes) {
        for (instance, scrapes) in &other.instances {
            for (at, start) in scrapes {
                match start {
                    Start::Known(started) => self.note_start(instance, *at, *started),
                    Start::Unknown => self.note(instance, *at),
                    Start::Ambiguous => {
                        self.instances.entry(instance.clone()).or_default().insert(*at, Start::Ambiguous);
                    }
                }
            }
        }
    }

    /// The last scrape of the instance before a time.
    pub(super) fn before(&self, instance: &str, at: Timestamp) -> Option<Timestamp> {
        self.instances.get(instance)?.range(..at).next_back().map(|(at, _)| *at)
    }

    /// The start of the process as the scrape at exactly that time said.
    pub(super) fn start(&self, instance: &str, at: Timestamp) -> Option<f64> {
        match self.instances.get(instance)?.get(&at)? {
            Start::Known(started) => Some(*started),
            Start::Unknown | Start::Ambiguous => None,
        }
    }

    /// Of each instance: its newest scrape and what that says of the process's start.
    pub(super) fn newest(&self) -> impl Iterator<Item = (&str, Timestamp, Option<f64>)> {
        self.instances.iter().filter_map(|(instance, scrapes)| {
            let (at, _) = scrapes.last_key_value()?;
            Some((instance.as_str(), *at, self.start(instance, *at)))
        })
    }
}
