//! A service that counts what it is told to, and can be restarted; and what Prometheus has of it.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::{Arc, Mutex};

use serde_json::Value;
use serin::core::time::Timestamp;

use crate::testkit::prometheus::Pages;

/// The wall clock, which scrapes and processes go by.
#[allow(clippy::disallowed_methods, reason = "a real Prometheus goes by the real clock")]
pub fn wall() -> Timestamp {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    Timestamp(i64::try_from(since.as_millis()).unwrap())
}

struct Process {
    started: f64,
    is_up: bool,
    requests: BTreeMap<u16, u64>,
    durations: Vec<f64>,
}

impl Process {
    fn new(is_up: bool) -> Process {
        let started = wall().seconds();
        Process { started, is_up, requests: BTreeMap::new(), durations: Vec::new() }
    }

    fn page(&self) -> Option<String> {
        let mut page = format!("process_start_time_seconds {}\n", self.started);
        for (code, count) in &self.requests {
            let _ = writeln!(page, "requests_total{{code=\"{code}\"}} {count}");
        }
        for (le, bound) in [("50", 50.0), ("1e2", 100.0), ("+Inf", f64::INFINITY)] {
            let count = self.durations.iter().filter(|one| **one <= bound).count();
            let _ = writeln!(page, "duration_milliseconds_bucket{{le=\"{le}\"}} {count}");
        }
        let _ = writeln!(page, "duration_milliseconds_sum {}", self.durations.iter().sum::<f64>());
        self.is_up.then_some(page)
    }
}

pub struct Service {
    process: Arc<Mutex<Process>>,
    pages: Pages,
}

impl Service {
    pub async fn start(is_up: bool) -> Service {
        let process = Arc::new(Mutex::new(Process::new(is_up)));
        let shown = process.clone();
        let pages = Pages::serve(move |_| shown.lock().unwrap().page()).await;
        Service { process, pages }
    }

    pub fn address(&self) -> String {
        self.pages.address.to_string()
    }

    pub fn url(&self) -> String {
        self.pages.url("/metrics")
    }

    pub fn request(&self, code: u16, count: u64) {
        if count > 0 {
            *self.process.lock().unwrap().requests.entry(code).or_default() += count;
        }
    }

    pub fn observe(&self, milliseconds: f64, count: usize) {
        self.process.lock().unwrap().durations.extend(std::iter::repeat_n(milliseconds, count));
    }

    /// Another process at the same address; it answers.
    pub fn restart(&self) {
        self.replace(true);
    }

    /// Another process at the same address, which may not answer yet.
    pub fn replace(&self, is_up: bool) {
        *self.process.lock().unwrap() = Process::new(is_up);
    }

    /// Whether its page can be read.
    pub fn answer(&self, is_up: bool) {
        self.process.lock().unwrap().is_up = is_up;
    }
}

/// What the database has scraped of an instance, by its own account: the sums over the lives of its
/// processes of the last values.
#[derive(Debug)]
pub struct Lives {
    pub count: usize,
    pub total: u64,
    pub bad: u64,
    pub newest: Option<Timestamp>,
}

pub async fn lives_of(prometheus: &str, version: &str, instance: &str) -> Lives {
    let quoted = serde_json::to_string(version).unwrap();
    let labels = format!("version={quoted},instance=\"{instance}\"");
    // One query, so that both are there of each scrape.
    let names = "requests_total|process_start_time_seconds";
    let (requests, starts): (Vec<_>, Vec<_>) =
        raw(prometheus, &format!("{{__name__=~\"{names}\",{labels}}}[1h]"))
            .await
            .into_iter()
            .partition(|(code, _)| !code.is_empty());
    let start_at: BTreeMap<i64, String> = starts.into_iter().flat_map(|(_, samples)| samples).collect();
    let mut last: BTreeMap<(String, String), u64> = BTreeMap::new();
    let mut newest = None;
    for (code, samples) in requests {
        for (at, value) in samples {
            // VictoriaMetrics may show the series of one scrape one after the other.
            let Some(start) = start_at.get(&at) else { continue };
            // Later samples of the same life replace earlier ones.
            last.insert((code.clone(), start.clone()), value.parse().unwrap());
            newest = newest.max(Some(Timestamp(at)));
        }
    }
    let mut starts: Vec<&String> = start_at.values().collect();
    starts.sort();
    starts.dedup();
    let bad = last.iter().filter(|((code, _), _)| code.starts_with('5')).map(|(_, value)| value).sum();
    Lives { count: starts.len(), total: last.values().sum(), bad, newest }
}

/// Raw samples by code, read with nothing of Serin's.
pub async fn raw(prometheus: &str, query: &str) -> Vec<(String, Vec<(i64, String)>)> {
    let client = reqwest::Client::new();
    let mut url = url::Url::parse(&format!("{prometheus}/api/v1/query")).unwrap();
    url.query_pairs_mut().append_pair("query", query);
    let body = client.get(url).send().await.unwrap().bytes().await.unwrap();
    let answer: Value = serde_json::from_slice(&body).unwrap();
    let series = answer["data"]["result"].as_array().unwrap_or_else(|| panic!("{query}: {answer}"));
    series
        .iter()
        .map(|one| {
            let samples = one["values"].as_array().unwrap().iter().map(|pair| {
                let at = (pair[0].as_f64().unwrap() * 1000.0).round() as i64;
                (at, pair[1].as_str().unwrap().to_owned())
            });
            // VictoriaMetrics' mark of a series that has vanished.
            let samples = samples.filter(|(_, value)| value != "NaN");
            (one["metric"]["code"].as_str().unwrap_or("").to_owned(), samples.collect())
        })
        .collect()
}
