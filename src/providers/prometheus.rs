//! Anything that speaks the Prometheus HTTP API.
//!
//! Counts come from raw samples (`metric{…}[range]` as an instant query), see
//! [`crate::core::counter`]; the range reaches back a little further than the cursor. A fault of any
//! query of a metric is a fault of both arms: it lies with the provider and says nothing of either arm.
//!
//! Behind Thanos, or with a pair of Prometheus servers, each series is there once per replica; `pin`
//! chooses one, such as `{replica: a}`, so that no request is counted twice.

pub mod decode;
mod listed;
pub mod query;
mod starts;
mod transport;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures::future::{join_all, try_join_all};
use tokio::time::error::Elapsed;
use tokio::time::{Instant, timeout_at};

use super::look::{Look, Origin, process_start, selectors};
use super::{ProviderBuildError, pair};
use crate::core::counter::{KEEP, SeriesId, past};
use crate::core::judge::{Recorded, RecordedWindow};
use crate::core::metric::{Cursor, NoData, Reading, ValueObservation};
use crate::core::time::Timestamp;
use crate::ports::{ArmSelector, CountsAnswer, CountsRequest, HistoryRequest, MetricsProvider, ValueRequest};
use crate::secrets::SecretSource;
use decode::RawSeries;
use starts::Counters;
use transport::Transport;

/// Samples from further back are not read: after so long an outage of Serin, restarts of a process
/// before that are not seen.
const MAX_RANGE: Duration = Duration::from_secs(3600);
/// The range reaches back behind the cursor by at least so much, for samples that came late.
const MIN_MARGIN: Duration = Duration::from_secs(10);
/// The first look reaches back so far, to learn how far apart the samples are.
const LEARN: Duration = Duration::from_secs(300);
/// Answers with more samples are refused.
const MAX_SAMPLES: usize = 1_000_000;

const _: () = assert!(MAX_RANGE.as_secs() < KEEP.as_secs());

/// How a Prometheus is reached.
#[derive(Clone, Debug, PartialEq)]
pub struct PrometheusConfig {
    /// Base URL, without `/api/v1`.
    pub url: String,
    /// For each call, connection and body included.
    pub deadline: Duration,
    /// `Authorization: Bearer`.
    pub bearer_token: Option<SecretSource>,
    /// User and password.
    pub basic_auth: Option<(String, SecretSource)>,
    /// Extra headers.
    pub headers: BTreeMap<String, SecretSource>,
    /// PEM file of authorities to trust besides the system's.
    pub ca_file: Option<PathBuf>,
    /// PEM file with certificate and key of the client.
    pub client_certificate_file: Option<PathBuf>,
    /// Answers with more series are refused.
    pub max_series: usize,
    /// Labels that are pinned, to count one of several replicas.
    pub pin: BTreeMap<String, String>,
}

impl PrometheusConfig {
    /// Builds the provider.
    ///
    /// # Errors
    /// If the URL is none, or a secret or certificate cannot be read.
    pub fn build(&self) -> Result<Arc<dyn MetricsProvider>, ProviderBuildError> {
        let transport = Transport::new(self)?;
        Ok(Arc::new(Prometheus {
            transport,
            deadline: self.deadline,
            max_series: self.max_series,
            pin: self.pin.clone(),
        }))
    }
}

struct Prometheus {
    transport: Transport,
    deadline: Duration,
    max_series: usize,
    pin: BTreeMap<String, String>,
}

/// The time that is looked at: `range` before `at`.
#[derive(Clone, Copy)]
struct Span {
    at: Timestamp,
    range: Duration,
}

#[async_trait]
impl MetricsProvider for Prometheus {
    async fn counts(&self, requests: &[CountsRequest]) -> Vec<CountsAnswer> {
        let begun = Instant::now();
        let counted = join_all(requests.iter().map(|request| async move {
            // A query that hangs must leave the others their time for the starts of processes.
            let counted = timeout_at(begun + self.deadline * 3 / 4, self.count(request)).await;
            counted.unwrap_or(Err(NoData::Timeout))
        }));
        // Who is listed is told beside the counts, and is no fault of theirs.
        let listed = timeout_at(begun + self.deadline * 3 / 4, self.targets_by_labels(requests));
        let (mut counted, listed) = tokio::join!(counted, listed);
        let mut all: Vec<_> = counted.iter_mut().flatten().flatten().collect();
        if timeout_at(begun + self.deadline, self.find_starts(&mut all)).await.is_err() {
            all.iter_mut()
                .filter(|one| one.gauge.is_some())
                .for_each(|one| one.fault = Some(NoData::Timeout));
        }
        let mut targets = unless_known(listed);
        let arms: Vec<_> = counted.iter().flatten().map(|[canary, baseline]| [canary, baseline]).collect();
        let by_jobs = self.targets_by_jobs(requests, &arms, &targets);
        let by_jobs = unless_known(timeout_at(begun + self.deadline, by_jobs).await);
        targets.extend(by_jobs);
        let answers = requests.iter().zip(counted).map(|(request, counted)| {
            let arms = counted.as_ref().ok();
            let listed = arms.map(|[canary, baseline]| listed::listed(request, [canary, baseline], &targets));
            let mut answer = answer(request, counted);
            [answer.notes.canary.listed, answer.notes.baseline.listed] = listed.unwrap_or_default();
            answer
        });
        answers.collect()
    }

    async fn history(&self, requests: &[HistoryRequest]) -> Vec<Reading<Recorded>> {
        let deadline = Instant::now() + self.deadline;
        join_all(requests.iter().map(|request| async move {
            timeout_at(deadline, self.past(request)).await.unwrap_or(Err(NoData::Timeout))
        }))
        .await
    }

    async fn values(&self, requests: &[ValueRequest]) -> Vec<ValueObservation> {
        let deadline = Instant::now() + self.deadline;
        let value = |request, arm| async move {
            timeout_at(deadline, self.value(request, arm)).await.unwrap_or(Err(NoData::Timeout))
        };
        join_all(requests.iter().map(|request| async move {
            let (canary, baseline) =
                tokio::join!(value(request, &request.canary), value(request, &request.baseline));
            ValueObservation { guardrail: request.guardrail.clone(), canary, baseline }
        }))
        .await
    }
}

impl Prometheus {
    /// The counters of both arms.
    async fn count<'r>(&self, request: &'r CountsRequest) -> Result<[Counters<'r>; 2], NoData> {
        let cursor = request.cursor.as_ref();
        let canary = span(request, cursor.map(|cursor| [&cursor.canary, &cursor.baseline]));
        let baseline = span(request, cursor.map(|cursor| [&cursor.baseline, &cursor.canary]));
        let (canary, baseline) = tokio::try_join!(
            self.look(request, &request.canary, canary),
            self.look(request, &request.baseline, baseline)
        )?;
        Ok([canary, baseline])
    }

    async fn look<'r>(
        &self,
        request: &'r CountsRequest,
        arm: &'r ArmSelector,
        span: Span,
    ) -> Result<Counters<'r>, NoData> {
        let selectors = selectors(&request.source);
        let mut queries = Vec::new();
        for (_, selector) in &selectors {
            queries.push(query::raw_samples(selector, &arm.labels, &self.pin, span.range)?);
        }
        let answers = try_join_all(queries.iter().map(|query| self.matrix(query, span.at))).await?;
        let look = Look::new(request.by_route.as_deref());
        let mut counters = Counters::new(look, process_start(&request.source), &arm.labels, span);
        for ((used, _), series) in selectors.iter().zip(answers) {
            for one in series {
                counters.note(&one);
                let look = &mut counters.look;
                look.add(*used, Origin::Database, &one.name, &one.labels, one.samples, self.max_series)?;
            }
        }
        Ok(counters)
    }

    /// Raw samples of the baseline's past, cut into windows by instance. They are bounded as all answers
    /// are: where a service has too many series for the wanted time, the answer is `TooLarge`.
    async fn past(&self, request: &HistoryRequest) -> Result<Recorded, NoData> {
        let mut looks: BTreeMap<String, Look> = BTreeMap::new();
        for (used, selector) in selectors(&request.source) {
            let query = query::raw_samples(&selector, &request.baseline.labels, &self.pin, request.over)?;
            for one in self.matrix(&query, request.now).await? {
                let instance = SeriesId::instance_of(&one.labels).unwrap_or_default();
                let look = looks.entry(instance).or_default();
                look.add(used, Origin::Database, &one.name, &one.labels, one.samples, self.max_series)?;
            }
        }
        let mut windows: BTreeMap<Timestamp, RecordedWindow> = BTreeMap::new();
        for (instance, look) in looks {
            for (window, counted) in past::windows(&look.series(), request.window) {
                // A histogram that was reset within the window cannot be read; the window is left out.
                let Ok(counts) = look.counts(&request.source, &counted) else { continue };
                let empty = || RecordedWindow { window, instances: BTreeMap::new() };
                windows.entry(window.start).or_insert_with(empty).instances.insert(instance.clone(), counts);
            }
        }
        Ok(Recorded { windows: windows.into_values().collect() })
    }

    async fn matrix(&self, query: &str, at: Timestamp) -> Result<Vec<RawSeries>, NoData> {
        decode::matrix(&self.transport.query(query, at).await?, MAX_SAMPLES)
    }

    async fn value(&self, request: &ValueRequest, arm: &ArmSelector) -> Reading<f64> {
        let query = query::of_arm(&request.query, &arm.labels, &self.pin)?;
        let body = self.transport.query(&query, request.now.minus(request.lag)).await?;
        let sample = decode::number(&body)?;
        let age = request.now.since(sample.at);
        if age > request.stale_after {
            return Err(NoData::Stale { age_seconds: age.as_secs() });
        }
        Ok(sample.value)
    }
}

/// What is not known is nothing.
fn unless_known<T: Default>(found: Result<Result<T, NoData>, Elapsed>) -> T {
    let found = found.unwrap_or(Err(NoData::Timeout));
    found
        .inspect_err(|why| tracing::debug!(%why, "the targets of the scrape configuration are not known"))
        .unwrap_or_default()
}

fn answer(request: &CountsRequest, counted: Result<[Counters<'_>; 2], NoData>) -> CountsAnswer {
    match counted {
        Ok([Counters { fault: Some(reason), .. }, _] | [_, Counters { fault: Some(reason), .. }])
        | Err(reason) => pair::fault(request, &reason),
        Ok([canary, baseline]) => pair::answer(request, &Ok(canary.look), &Ok(baseline.look)),
    }
}

/// The range of an arm, the first of the cursors being its own. An arm that was never counted is looked
/// at as far back as the other one.
fn span(request: &CountsRequest, cursors: Option<[&Cursor; 2]>) -> Span {
    let at = request.now.minus(request.lag);
    let known = cursors.and_then(|cursors| cursors[0].spacing.max(cursors[1].spacing));
    let apart = known.map_or(Duration::ZERO, |spacing| spacing * 2);
    let margin = request.stale_after.max(MIN_MARGIN).max(apart).min(MAX_RANGE);
    let until = cursors.iter().flatten().map(|cursor| cursor.until);
    let until = until.into_iter().find(|until| *until > Timestamp::default());
    let range = until.map_or(margin.max(LEARN), |until| at.since(until) + margin);
    Span { at, range: range.min(MAX_RANGE) }
}
