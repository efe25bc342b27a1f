//! Reads the metrics pages of the arms' instances directly, so that no Prometheus is needed.
//!
//! The page is the arm: a series on a canary's page is the canary's, whatever labels it has. Only where
//! both arms name the same page (a proxy's) their labels tell the series apart. Samples have the time
//! of the request. Each page is read once for all metrics of a batch.
//!
//! An instance that cannot be read is left out and the arm's others count; its requests since the last
//! look come with the next page. If no page of an arm can be read, that arm alone is
//! [`NoData::Unreachable`], and the other one's reading shows that it is seen.

pub mod page;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures::{StreamExt, stream};
use regex::{Regex, RegexBuilder};
use reqwest::header::ACCEPT;
use tokio::time::{Instant, timeout_at};

use super::look::{Look, Origin, process_start, selectors};
use super::{ProviderBuildError, no_data, pair};
use crate::core::counter::{Sample, SeriesId};
use crate::core::metric::{Listed, NoData, Unread, ValueObservation};
use crate::core::source::{MatchOp, Matcher};
use crate::outbound::answer::whole;
use crate::outbound::client::Builder;
use crate::outbound::redact;
use crate::ports::{ArmSelector, CountsAnswer, CountsRequest, MetricsProvider, ValueRequest};
use page::PageSample;

/// So many pages are read at once.
const CONCURRENCY: usize = 16;
/// More series of one arm are refused.
const MAX_SERIES: usize = 20_000;

/// How metrics pages are read.
#[derive(Clone, Debug, PartialEq)]
pub struct ScrapeConfig {
    /// For each page, connection and body included.
    pub deadline: Duration,
    /// Larger pages are refused, in bytes.
    pub max_bytes: usize,
}

impl ScrapeConfig {
    /// Builds the provider.
    ///
    /// # Errors
    /// If the client cannot be built.
    pub fn build(&self) -> Result<Arc<dyn MetricsProvider>, ProviderBuildError> {
        let client = Builder::new(self.deadline).build();
        let client =
            client.map_err(|error| ProviderBuildError(format!("the client for metrics pages: {error}")))?;
        Ok(Arc::new(Scrape { client, config: self.clone() }))
    }
}

struct Scrape {
    client: reqwest::Client,
    config: ScrapeConfig,
}

/// What the pages of a batch held, by URL.
type Pages = BTreeMap<String, Result<Vec<PageSample>, NoData>>;

#[async_trait]
impl MetricsProvider for Scrape {
    async fn counts(&self, requests: &[CountsRequest]) -> Vec<CountsAnswer> {
        let pages = self.read_pages(requests).await;
        requests.iter().map(|request| count(request, &pages)).collect()
    }

    async fn values(&self, requests: &[ValueRequest]) -> Vec<ValueObservation> {
        let refused = || {
            Err(NoData::Refused(
                "metrics pages have no query language; use a guardrail on a metric, or the provider \
                 `prometheus`"
                    .into(),
            ))
        };
        let observation = |request: &ValueRequest| ValueObservation {
            guardrail: request.guardrail.clone(),
            canary: refused(),
            baseline: refused(),
        };
        requests.iter().map(observation).collect()
    }
}

impl Scrape {
    async fn read_pages(&self, requests: &[CountsRequest]) -> Pages {
        let mut wanted: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        for request in requests {
            let names: Vec<String> = selectors(&request.source)
                .into_iter()
                .map(|(_, selector)| selector.metric)
                .chain(process_start(&request.source).map(str::to_owned))
                .collect();
            for url in request.canary.endpoints.iter().chain(&request.baseline.endpoints) {
                wanted.entry(url.clone()).or_default().extend(names.iter().cloned());
            }
        }
        let deadline = Instant::now() + self.config.deadline;
        stream::iter(wanted)
            .map(|(url, names)| async move {
                let page = timeout_at(deadline, self.read_page(&url, &names)).await;
                (url, page.unwrap_or(Err(NoData::Timeout)))
            })
            .buffer_unordered(CONCURRENCY)
            .collect()
            .await
    }

    async fn read_page(&self, url: &str, names: &BTreeSet<String>) -> Result<Vec<PageSample>, NoData> {
        let request = self.client.get(url).header(ACCEPT, "text/plain;version=0.0.4");
        let response = request.send().await.map_err(|error| no_data(error.into()))?;
        if !response.status().is_success() {
            return Err(NoData::Status(response.status().as_u16()));
        }
        let body = whole(response, self.config.max_bytes).await.map_err(no_data)?;
        let text = std::str::from_utf8(&body).map_err(|error| NoData::Malformed(error.to_string()))?;
        page::parse(text, |name| names.contains(name)).map_err(NoData::Malformed)
    }
}

fn count(request: &CountsRequest, pages: &Pages) -> CountsAnswer {
    let canary = look(request, &request.canary, &request.baseline, pages);
    let baseline = look(request, &request.baseline, &request.canary, pages);
    match (canary, baseline) {
        (Ok(canary), Ok(baseline)) => {
            let mut answer = pair::answer(request, &canary, &baseline);
            let of = |arm, other| listed(request, arm, other, pages);
            answer.notes.canary.listed = of(&request.canary, &request.baseline);
            answer.notes.baseline.listed = of(&request.baseline, &request.canary);
            answer
        }
        (Err(reason), _) | (_, Err(reason)) => pair::fault(request, &reason),
    }
}

/// An arm's instances are those of its pages that are not the other one's too: that is a proxy's.
fn listed(request: &CountsRequest, arm: &ArmSelector, other: &ArmSelector, pages: &Pages) -> Option<Listed> {
    let own: BTreeSet<&String> = arm.endpoints.iter().filter(|url| !other.endpoints.contains(url)).collect();
    let answers = |url: &&&String| pages.get(url.as_str()).is_some_and(Result::is_ok);
    let cursor = request.cursor.as_ref();
    let was_read = |instance: &String| {
        cursor.is_some_and(|cursor| {
            [&cursor.canary, &cursor.baseline].iter().any(|arm| arm.instances.contains_key(instance))
        })
    };
    let silent = own.iter().filter(|url| !answers(url)).map(|url| SeriesId::page(url));
    let count = |number: usize| u32::try_from(number).unwrap_or(u32::MAX);
    (!own.is_empty()).then(|| Listed {
        of: count(own.len()),
        ready: count(own.iter().filter(answers).count()),
        never: silent.filter(|instance| !was_read(instance)).collect(),
    })
}

/// What an arm's pages show; the inner error says that none of them could be read.
fn look(
    request: &CountsRequest,
    arm: &ArmSelector,
    other: &ArmSelector,
    pages: &Pages,
) -> Result<Result<Look, NoData>, NoData> {
    let uses: Vec<_> = selectors(&request.source)
        .into_iter()
        .map(|(used, selector)| Ok((used, selector.metric, compile(&selector.matchers)?)))
        .collect::<Result<_, NoData>>()?;
    let gauge = process_start(&request.source);
    let mut look = Look::new(request.by_route.as_deref());
    let mut unread: Vec<(&str, &NoData)> = Vec::new();
    for url in arm.endpoints.iter().collect::<BTreeSet<_>>() {
        let samples = match pages.get(url.as_str()) {
            Some(Ok(samples)) => samples,
            Some(Err(reason)) => {
                unread.push((url, reason));
                continue;
            }
            None => continue,
        };
        let instance = SeriesId::page(url);
        look.scrapes.note(&instance, request.now);
        let is_shared = other.endpoints.contains(url);
        for sample in samples {
            if gauge == Some(sample.name.as_str()) {
                look.scrapes.note_start(&instance, request.now, sample.value);
            }
            if is_shared && !has_labels(sample, &arm.labels) {
                continue;
            }
            for (used, metric, matchers) in &uses {
                if *metric == sample.name && matchers.iter().all(|matcher| matcher.holds(&sample.labels)) {
                    let read = vec![Sample { at: request.now, value: sample.value }];
                    look.add(*used, Origin::Page(url), &sample.name, &sample.labels, read, MAX_SERIES)?;
                }
            }
        }
    }
    let pages = arm.endpoints.iter().collect::<BTreeSet<_>>().len();
    if let Some((url, reason)) = unread.first() {
        let count = |number: usize| u32::try_from(number).unwrap_or(u32::MAX);
        let why = format!("{}: {reason}", redact::url(url));
        look.unread = Some(Unread { pages: count(unread.len()), of: count(pages), why });
    }
    Ok(match unread.first() {
        Some((url, reason)) if unread.len() == pages => Err(NoData::Unreachable(format!(
            "no metrics page of the arm can be read; {}: {reason}",
            redact::url(url)
        ))),
        _ => Ok(look),
    })
}

fn has_labels(sample: &PageSample, labels: &BTreeMap<String, String>) -> bool {
    labels.iter().all(|(label, value)| sample.labels.get(label).map_or("", String::as_str) == value)
}

/// A matcher as PromQL has it: a label that is not there has the empty value, expressions are anchored.
enum Compiled {
    Value { label: String, value: String, equal: bool },
    Expression { label: String, expression: Regex, matches: bool },
}

impl Compiled {
    fn holds(&self, labels: &BTreeMap<String, String>) -> bool {
        let found = |label: &str| labels.get(label).map_or("", String::as_str);
        match self {
            Compiled::Value { label, value, equal } => (found(label) == value) == *equal,
            Compiled::Expression { label, expression, matches } => {
                expression.is_match(found(label)) == *matches
            }
        }
    }
}

fn compile(matchers: &[Matcher]) -> Result<Vec<Compiled>, NoData> {
    matchers
        .iter()
        .map(|Matcher { label, op, value }| {
            let label = label.clone();
            Ok(match op {
                MatchOp::Equal => Compiled::Value { label, value: value.clone(), equal: true },
                MatchOp::NotEqual => Compiled::Value { label, value: value.clone(), equal: false },
                MatchOp::Matches => {
                    Compiled::Expression { label, expression: anchored(value)?, matches: true }
                }
                MatchOp::NotMatches => {
                    Compiled::Expression { label, expression: anchored(value)?, matches: false }
                }
            })
        })
        .collect()
}

fn anchored(expression: &str) -> Result<Regex, NoData> {
    RegexBuilder::new(&format!("^(?s:{expression})$"))
        .size_limit(1 << 20)
        .build()
        .map_err(|_| NoData::Refused(format!("{expression:?} is not a regular expression that can be used")))
}
