//! The providers on a real Prometheus and on real pages.

#[path = "providers/protected.rs"]
mod protected;
#[path = "providers/service.rs"]
pub mod service;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use serin::core::arms::ArmSelector;
use serin::core::metric::{Counts, MetricCursor, NoData};
use serin::core::source::{MatchOp, Matcher, MetricSource, Selector};
use serin::ports::{CountsAnswer, CountsRequest, MetricsProvider, ValueRequest};
use serin::providers::prometheus::PrometheusConfig;
use serin::providers::scrape::ScrapeConfig;

use crate::testkit::prometheus::{Database, Job, Prometheus};
use crate::testkit::wait::until;
use service::{Service, lives_of, wall};

/// A version that would end the label's value, were it not escaped.
pub const CANARY: &str = "v2\"} or vector(1) or x{a=\\\"\n#ü☃";
pub const BASELINE: &str = "v1";
pub const DEADLINE: Duration = Duration::from_secs(120);
/// Prometheus shows a scrape as soon as it is done.
const LAG: Duration = Duration::from_millis(300);

pub fn prometheus_config(url: &str) -> PrometheusConfig {
    PrometheusConfig {
        url: url.to_owned(),
        deadline: Duration::from_secs(30),
        bearer_token: None,
        basic_auth: None,
        headers: BTreeMap::new(),
        ca_file: None,
        client_certificate_file: None,
        max_series: 1000,
        pin: BTreeMap::new(),
    }
}

fn selector(metric: &str, label: &str, op: MatchOp, value: &str) -> Selector {
    let matcher = Matcher { label: label.to_owned(), op, value: value.to_owned() };
    Selector { metric: metric.to_owned(), matchers: vec![matcher] }
}

pub fn proportion() -> MetricSource {
    MetricSource::Proportion {
        total: vec![selector("requests_total", "code", MatchOp::NotEqual, "499")],
        bad: vec![selector("requests_total", "code", MatchOp::Matches, "5..")],
        process_start: Some("process_start_time_seconds".to_owned()),
    }
}

fn latency() -> MetricSource {
    MetricSource::Latency {
        histogram: Selector { metric: "duration_milliseconds".to_owned(), matchers: Vec::new() },
        unit_seconds: "0.001".to_owned(),
        process_start: Some("process_start_time_seconds".to_owned()),
    }
}

/// The arms are told apart by version for Prometheus, and by their pages for `scrape`.
pub fn arm(version: &str, services: &[&Service]) -> ArmSelector {
    ArmSelector {
        labels: BTreeMap::from([("version".to_owned(), version.to_owned())]),
        endpoints: services.iter().map(|service| service.url()).collect(),
    }
}

pub fn job(name: &str, interval: u64, version: &str, services: &[&Service]) -> Job {
    let targets: Vec<String> = services.iter().map(|service| service.address()).collect();
    Job::new(name, Duration::from_secs(interval), &targets).label("version", version)
}

/// One metric that is looked at again and again, with the sums of what was consumed.
struct Looks {
    provider: Arc<dyn MetricsProvider>,
    request: CountsRequest,
    canary: [u64; 2],
    baseline: [u64; 2],
}

impl Looks {
    fn new(
        provider: Arc<dyn MetricsProvider>,
        source: MetricSource,
        canary: ArmSelector,
        baseline: ArmSelector,
        lag: Duration,
    ) -> Looks {
        let request = CountsRequest {
            by_route: None,
            required: serin::ports::Required::Both,
            metric: "errors".to_owned(),
            source,
            canary,
            baseline,
            cursor: None,
            rollout_started: wall(),
            now: wall(),
            lag,
            stale_after: Duration::from_secs(20),
        };
        Looks { provider, request, canary: [0; 2], baseline: [0; 2] }
    }

    async fn look(&mut self) -> CountsAnswer {
        self.request.now = wall();
        let answer = self.provider.counts(std::slice::from_ref(&self.request)).await.remove(0);
        if let Some(cursor) = &answer.cursor {
            add(&mut self.canary, &answer.observation.canary);
            add(&mut self.baseline, &answer.observation.baseline);
            // Serin may be started again between any two looks: only the stored form goes on.
            let stored = serde_json::to_vec(cursor).unwrap();
            self.request.cursor = Some(serde_json::from_slice::<MetricCursor>(&stored).unwrap());
        }
        answer
    }

    async fn look_until(&mut self, what: &str, is_enough: impl Fn(&CountsAnswer, &Looks) -> bool) {
        let begun = tokio::time::Instant::now();
        let mut ticks = tokio::time::interval(Duration::from_millis(200));
        loop {
            ticks.tick().await;
            let answer = self.look().await;
            if is_enough(&answer, self) {
                return;
            }
            assert!(
                begun.elapsed() < DEADLINE,
                "not seen: {what}; counted {:?} and {:?}, last {answer:?}",
                self.canary,
                self.baseline
            );
        }
    }
}

fn add(sums: &mut [u64; 2], reading: &Result<Counts, NoData>) {
    if let Ok(Counts::Proportion { total, bad }) = reading {
        sums[0] += total;
        sums[1] += bad;
    }
}

/// Two services of the canary and two of the baseline; the second one is not up yet, and the baseline's
/// have had requests before anybody looks.
pub async fn four() -> [Service; 4] {
    let services = [
        Service::start(true).await,
        Service::start(false).await,
        Service::start(true).await,
        Service::start(true).await,
    ];
    services[2].request(200, 1000);
    services[3].request(200, 5000);
    services
}

/// Of each arm one is scraped every second and one every five seconds.
pub fn jobs([canary_fast, canary_slow, baseline_fast, baseline_slow]: &[Service; 4]) -> [Job; 4] {
    [
        job("canary-fast", 1, CANARY, &[canary_fast]),
        job("canary-slow", 5, CANARY, &[canary_slow]),
        job("baseline-fast", 1, BASELINE, &[baseline_fast]),
        job("baseline-slow", 5, BASELINE, &[baseline_slow]),
    ]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_scraped_request_is_counted_once_over_restarts_of_everything() {
    let services = four().await;
    let mut prometheus = Prometheus::start(&jobs(&services)).await;
    counted_once(&mut prometheus, &services, LAG).await;
}

/// Scrape intervals of 1 s and 5 s side by side, processes that are restarted and one that comes late,
/// and a database that ends and comes back: what was consumed is the sum over the lives of the processes
/// of the last values that the database has scraped.
pub async fn counted_once(database: &mut impl Database, services: &[Service; 4], lag: Duration) {
    let [canary_fast, canary_slow, baseline_fast, baseline_slow] = services;
    let provider = prometheus_config(&database.url()).build().unwrap();
    let mut looks = Looks::new(provider, proportion(), arm(CANARY, &[]), arm(BASELINE, &[]), lag);
    let both_seen = |_: &CountsAnswer, looks: &Looks| {
        // The canary's idle instance too: its process is older than the rollout, so its first
        // requests are only known to be new if it was scraped without them.
        let cursor = looks.request.cursor.as_ref();
        cursor.is_some_and(|cursor| cursor.baseline.series.len() == 2 && cursor.canary.instances.len() == 3)
    };
    looks.look_until("the base of all instances that are up", both_seen).await;
    let began = looks.request.cursor.clone().unwrap();
    assert_eq!(looks.canary, [0, 0]);

    let traffic = |canary_share: u64| {
        for (service, requests) in services.iter().zip([canary_share, canary_share, 7, 9]) {
            service.request(200, requests);
            service.request(503, requests / 4);
            service.request(404, 1);
        }
    };
    // The pace of the traffic; nothing depends on it.
    let mut rounds = tokio::time::interval(Duration::from_millis(300));
    for round in 0..40 {
        rounds.tick().await;
        traffic(5 + round % 3);
        looks.look().await;
        match round {
            4 => canary_slow.restart(),
            8 => baseline_fast.restart(),
            9 | 20 => restart_scraped(&*database, BASELINE, baseline_fast).await,
            12 => restart_scraped(&*database, CANARY, canary_fast).await,
            16 => restart_scraped(&*database, BASELINE, baseline_slow).await,
            32 => restart_scraped(&*database, CANARY, canary_slow).await,
            24 => {
                database.stop().await;
                looks
                    .look_until("both arms are blind", |answer, _| {
                        let seen = &answer.observation;
                        matches!(
                            (&seen.canary, &seen.baseline),
                            (Err(NoData::Unreachable(_)), Err(NoData::Unreachable(_)))
                        )
                    })
                    .await;
                traffic(50);
                database.resume().await;
            }
            _ => {}
        }
    }

    // With the traffic over, everything is scraped once more and then counted. When yet another scrape is
    // seen, the one before it is seen whole.
    for _ in 0..2 {
        for (service, version) in services.iter().zip([CANARY, CANARY, BASELINE, BASELINE]) {
            scraped(&*database, version, service).await;
        }
    }
    let mut expected = BTreeMap::new();
    for (version, of_arm) in [(CANARY, &services[..2]), (BASELINE, &services[2..])] {
        let mut sums = [0; 2];
        for service in of_arm {
            let lives = lives_of(&database.url(), version, &service.address()).await;
            assert!(lives.count >= 2, "{}: {lives:?}", service.address());
            sums[0] += lives.total;
            sums[1] += lives.bad;
        }
        expected.insert(version, sums);
    }
    // The base is what was there before; the canary had nothing.
    let base: f64 = began.baseline.series.values().map(|last| last.value).sum();
    expected.get_mut(BASELINE).unwrap()[0] -= base as u64;
    assert_eq!(base, 6000.0);
    looks
        .look_until(&format!("{expected:?}"), |_, looks| {
            looks.canary == expected[CANARY] && looks.baseline == expected[BASELINE]
        })
        .await;
    // And nothing comes after it.
    for _ in 0..3 {
        looks.look().await;
    }
    assert_eq!((looks.canary, looks.baseline), (expected[CANARY], expected[BASELINE]));
    assert!(looks.canary[1] > 0 && looks.baseline[0] > looks.canary[0]);
}

/// Waits until the database shows a scrape of the service after now.
async fn scraped(database: &impl Database, version: &str, service: &Service) {
    let asked = wall();
    until("a scrape", DEADLINE, async || {
        let lives = lives_of(&database.url(), version, &service.address()).await;
        lives.newest.is_some_and(|newest| newest > asked).then_some(())
    })
    .await;
}

/// Restarts a service of whose process the database has seen something.
async fn restart_scraped(database: &impl Database, version: &str, service: &Service) {
    scraped(database, version, service).await;
    service.restart();
}

/// A canary that does not answer yet, and a baseline: nothing may have scraped the canary before its time.
pub async fn without_canary() -> (Service, Service) {
    let (canary, baseline) = (Service::start(true).await, Service::start(true).await);
    canary.answer(false);
    (canary, baseline)
}

/// What every provider does with the same pages; the canary does not answer yet.
pub async fn contract(
    provider: Arc<dyn MetricsProvider>,
    canary: &Service,
    baseline: &Service,
    lag: Duration,
) {
    let arms = || (arm(CANARY, &[canary]), arm(BASELINE, &[baseline]));
    baseline.request(200, 500);
    let of = |source: MetricSource| {
        let (canary, baseline) = arms();
        Looks::new(provider.clone(), source, canary, baseline, lag)
    };
    let mut errors = of(proportion());
    let mut durations = of(latency());
    for looks in [&mut errors, &mut durations] {
        looks
            .look_until("the baseline's base, without a canary", |answer, _| {
                assert!(answer.observation.canary.is_err());
                answer.cursor.is_some()
            })
            .await;
    }
    // The baseline goes on alone.
    baseline.request(200, 10);
    errors.look_until("the baseline alone", |_, looks| looks.baseline == [10, 0]).await;
    // The canary's process begins, and is counted from zero with all that it has.
    canary.replace(false);
    canary.request(200, 30);
    canary.request(500, 2);
    canary.observe(40.0, 20);
    canary.observe(90.0, 3);
    canary.observe(5000.0, 1);
    canary.answer(true);
    errors.look_until("the canary's first requests", |_, looks| looks.canary == [32, 2]).await;
    let expected = Counts::Latency { le: vec![0.05, 0.1], counts: vec![20, 3, 1], sum: Some(6.07) };
    durations
        .look_until("the canary's first durations", |answer, _| match &answer.observation.canary {
            Ok(counts) if answer.cursor.is_some() && counts.requests() > Some(0) => {
                assert_eq!(*counts, expected);
                true
            }
            _ => false,
        })
        .await;
    // Its process is replaced by one that passes the old values at once.
    canary.restart();
    canary.request(200, 100);
    canary.request(500, 2);
    baseline.request(500, 1);
    errors
        .look_until("both after a restart", |_, looks| looks.canary == [134, 4] && looks.baseline == [11, 1])
        .await;
    // The canary falls silent: the baseline is still seen.
    canary.answer(false);
    errors
        .look_until("a silent canary", |answer, _| {
            let seen = &answer.observation;
            let is_silent = matches!(seen.canary, Err(NoData::Stale { .. } | NoData::Unreachable(_)));
            is_silent && seen.baseline.is_ok() && answer.cursor.is_none()
        })
        .await;
    canary.answer(true);
    errors.look_until("the canary again", |answer, _| answer.cursor.is_some()).await;
    assert_eq!((errors.canary, errors.baseline), ([134, 4], [11, 1]));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn prometheus_keeps_the_contract_of_providers() {
    let (canary, baseline) = without_canary().await;
    let jobs = [job("canary", 1, CANARY, &[&canary]), job("baseline", 1, BASELINE, &[&baseline])];
    let prometheus = Prometheus::start(&jobs).await;
    contract(prometheus_config(&prometheus.url()).build().unwrap(), &canary, &baseline, LAG).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn scrape_keeps_the_contract_of_providers() {
    let (canary, baseline) = without_canary().await;
    let provider = ScrapeConfig { deadline: Duration::from_secs(30), max_bytes: 1 << 20 }.build().unwrap();
    contract(provider, &canary, &baseline, LAG).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn values_and_refusals_of_a_real_prometheus() {
    let (canary, baseline) = (Service::start(true).await, Service::start(true).await);
    let jobs = [job("canary", 1, CANARY, &[&canary]), job("baseline", 1, BASELINE, &[&baseline])];
    let prometheus = Prometheus::start(&jobs).await;
    let provider = prometheus_config(&prometheus.url()).build().unwrap();
    canary.request(500, 3);
    baseline.request(500, 1);
    let ask = async |query: &str| {
        let request = ValueRequest {
            guardrail: "g".to_owned(),
            query: query.to_owned(),
            canary: arm(CANARY, &[]),
            baseline: arm(BASELINE, &[]),
            now: wall(),
            lag: LAG,
            stale_after: Duration::from_secs(60),
        };
        provider.values(&[request]).await.remove(0)
    };
    until("the values of both arms", DEADLINE, async || {
        let value = ask("sum(requests_total{code=~\"5..\",$arm})").await;
        (value.canary == Ok(3.0) && value.baseline == Ok(1.0)).then_some(())
    })
    .await;
    assert_eq!(ask("scalar(sum(up{$arm}))").await.canary, Ok(1.0));
    assert_eq!(ask("sum(nothing{$arm})").await.canary, Err(NoData::Empty));
    assert_eq!(ask("sum(up{$arm}) * 0 / 0").await.canary, Err(NoData::NotFinite));
    assert!(matches!(ask("{$arm}").await.canary, Err(NoData::ManySeries(_))));
    assert!(matches!(ask("up{$arm}[1m]").await.canary, Err(NoData::WrongType(_))));
    assert!(matches!(ask("\"text\"").await.canary, Err(NoData::WrongType(_))));
    let Err(NoData::Refused(said)) = ask("sum(up{$arm}").await.canary else { panic!("a parse error") };
    assert!(said.contains("parse error"), "{said}");
}
