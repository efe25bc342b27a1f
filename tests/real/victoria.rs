//! VictoriaMetrics speaks to the provider of Prometheus, and keeps the same promises.

use std::time::Duration;

use serin::core::metric::NoData;
use serin::ports::ValueRequest;

use crate::providers::prometheus_config;
use crate::providers::service::{Service, raw, wall};
use crate::providers::{
    BASELINE, CANARY, DEADLINE, arm, contract, counted_once, four, job, jobs, without_canary,
};
use crate::testkit::prometheus::Database;
use crate::testkit::victoria::VictoriaMetrics;
use crate::testkit::wait::until;

/// Samples are seen about a second after they came, those of one scrape not all at once. This is the lag
/// of a policy that says nothing else.
const LAG: Duration = Duration::from_secs(5);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_request_is_counted_once_over_restarts_of_everything() {
    let services = four().await;
    let mut victoria = VictoriaMetrics::start(&jobs(&services)).await;
    counted_once(&mut victoria, &services, LAG).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_keeps_the_contract_of_providers() {
    let (canary, baseline) = without_canary().await;
    let jobs = [job("canary", 1, CANARY, &[&canary]), job("baseline", 1, BASELINE, &[&baseline])];
    let victoria = VictoriaMetrics::start(&jobs).await;
    contract(prometheus_config(&victoria.url()).build().unwrap(), &canary, &baseline, LAG).await;
}

/// It would answer queries as of half a minute ago; Serin asks for what is there now.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn values_are_as_fresh_as_the_samples_and_refusals_are_told() {
    let (canary, baseline) = (Service::start(true).await, Service::start(true).await);
    canary.request(500, 3);
    baseline.request(500, 1);
    let jobs = [job("canary", 1, CANARY, &[&canary]), job("baseline", 1, BASELINE, &[&baseline])];
    let victoria = VictoriaMetrics::start(&jobs).await;
    let provider = prometheus_config(&victoria.url()).build().unwrap();
    let ask = async |query: &str| {
        let request = ValueRequest {
            guardrail: "g".to_owned(),
            query: query.to_owned(),
            canary: arm(CANARY, &[]),
            baseline: arm(BASELINE, &[]),
            now: wall(),
            lag: Duration::ZERO,
            stale_after: Duration::from_secs(60),
        };
        provider.values(&[request]).await.remove(0)
    };
    until("the samples of both", DEADLINE, async || {
        (raw(&victoria.url(), "requests_total[1h]").await.len() == 2).then_some(())
    })
    .await;
    let value = ask("sum(requests_total{code=~\"5..\",$arm})").await;
    assert_eq!((value.canary, value.baseline), (Ok(3.0), Ok(1.0)));
    assert_eq!(ask("sum(nothing{$arm})").await.canary, Err(NoData::Empty));
    assert!(matches!(ask("{$arm}").await.canary, Err(NoData::ManySeries(_))));
    assert!(matches!(ask("up{$arm}[1m]").await.canary, Err(NoData::WrongType(_))));
    let Err(NoData::Refused(said)) = ask("sum(up{$arm}").await.canary else { panic!("a parse error") };
    assert!(said.contains("unexpected token"), "{said}");
}
