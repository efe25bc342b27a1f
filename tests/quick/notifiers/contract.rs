//! What every channel over HTTP keeps to, whatever its receiver does.

use std::time::Duration;

use serin::core::incident::IncidentStep;
use serin::core::notice::NoticeKind;
use serin::notifiers::NotifierConfig;
use serin::notifiers::webhook::WebhookForm;

use super::{Open, SHORT, cases, channel};
use crate::testkit::channels::{DEADLINE, huge_notice, incident};
use crate::testkit::process::free_port;
use crate::testkit::receivers::opsgenie::{API_KEY, Opsgenie};
use crate::testkit::receivers::pagerduty::{Pagerduty, ROUTING_KEY};
use crate::testkit::receivers::slack::{Slack, TOKEN};
use crate::testkit::receivers::teams::Teams;
use crate::testkit::receivers::{Desk, Fault};

/// The secrets of all cases: none of them may stand in what is told.
const SECRETS: [&str; 7] =
    [ROUTING_KEY, API_KEY, TOKEN, "secretpart", "grafana-secret", "hook-secret", "signing-key"];

/// Runs the contract over one channel. `reads` says that the answer's body is read.
async fn keeps_the_contract(config: impl Fn(Duration) -> NotifierConfig, desk: &Desk, reads: bool) {
    let patient = channel(&config(DEADLINE));
    let notice = incident(7, NoticeKind::RollbackStarted, IncidentStep::Trigger);

    // Faults first: a channel that remembers its first message goes another way after it.
    for (fault, retry, after) in [
        (Fault::Status(500), true, None),
        (Fault::Status(503), true, None),
        (Fault::Busy(7), true, Some(7)),
        (Fault::Busy(1_000_000), true, Some(3600)),
        (Fault::Reset, true, None),
        (Fault::Status(400), false, None),
        (Fault::Status(404), false, None),
        (Fault::Status(302), false, None),
    ] {
        desk.fail(std::slice::from_ref(&fault));
        let error = patient.deliver(&notice).await.expect_err(&format!("{fault:?}"));
        assert_eq!(error.retry, retry, "{fault:?}: {error}");
        assert_eq!(error.after.map(|after| after.as_secs()), after, "{fault:?}: {error}");
        let secret = SECRETS.iter().find(|secret| error.detail.contains(**secret));
        assert_eq!(secret, None, "{fault:?}: {error}");
        assert!(!error.detail.is_empty() && error.detail.len() < 2000, "{error}");
    }

    desk.fail(&[Fault::Silence]);
    let error = channel(&config(SHORT)).deliver(&notice).await.expect_err("silence");
    assert!(error.retry && error.detail.contains("no answer in time"), "{error}");

    desk.fail(&[Fault::BadJson]);
    let told = patient.deliver(&notice).await;
    assert_eq!(told.as_ref().err().map(|error| error.retry), reads.then_some(true), "{told:?}");

    patient.deliver(&notice).await.expect("delivered");
    patient.deliver(&notice).await.expect("a second time");
    patient.deliver(&huge_notice(8)).await.expect("cut to what the receiver takes");
    let resolve = incident(9, NoticeKind::Verified, IncidentStep::Resolve);
    patient.deliver(&resolve).await.expect("its end");
    assert_eq!(desk.complaints(), [""; 0]);
    assert!(desk.got().len() >= 3, "the receiver has seen {}", desk.got().len());
}

#[tokio::test]
async fn pagerduty() {
    let (folder, at) = (tempfile::tempdir().unwrap(), Pagerduty::start().await);
    keeps_the_contract(|d| cases::pagerduty(at.url(), folder.path(), d), &at.desk, false).await;
}

#[tokio::test]
async fn opsgenie() {
    let (folder, at) = (tempfile::tempdir().unwrap(), Opsgenie::start().await);
    keeps_the_contract(|d| cases::opsgenie(at.url(), folder.path(), d), &at.desk, true).await;
}

#[tokio::test]
async fn slack_by_the_web_api() {
    let (folder, at) = (tempfile::tempdir().unwrap(), Slack::start().await);
    keeps_the_contract(|d| cases::slack_api(&at.api(), folder.path(), d), &at.desk, true).await;
}

#[tokio::test]
async fn slack_by_a_webhook() {
    let (folder, at) = (tempfile::tempdir().unwrap(), Slack::start().await);
    keeps_the_contract(|d| cases::slack_webhook(&at.webhook(), folder.path(), d), &at.desk, true).await;
}

#[tokio::test]
async fn teams() {
    let (folder, at) = (tempfile::tempdir().unwrap(), Teams::start().await);
    keeps_the_contract(|d| cases::teams(&at.webhook(), folder.path(), d), &at.desk, false).await;
}

#[tokio::test]
async fn alertmanager() {
    let at = Open::start().await;
    keeps_the_contract(|d| cases::alertmanager(&at.running.url, d), &at.desk, false).await;
}

#[tokio::test]
async fn grafana() {
    let (folder, at) = (tempfile::tempdir().unwrap(), Open::start().await);
    keeps_the_contract(|d| cases::grafana(&at.running.url, folder.path(), d), &at.desk, true).await;
}

#[tokio::test]
async fn webhooks() {
    for form in [WebhookForm::Plain, WebhookForm::Cloudevents] {
        let (folder, at) = (tempfile::tempdir().unwrap(), Open::start().await);
        let config = |d| cases::webhook(&at.running.url, folder.path(), form, d);
        keeps_the_contract(config, &at.desk, false).await;
    }
}

#[tokio::test]
async fn statuspage() {
    let at = Open::start().await;
    keeps_the_contract(|d| cases::statuspage(&at.running.url, d), &at.desk, false).await;
}

#[tokio::test]
async fn nobody_there_is_tried_again() {
    let folder = tempfile::tempdir().unwrap();
    let url = format!("http://127.0.0.1:{}", free_port());
    let notice = incident(7, NoticeKind::RollbackStarted, IncidentStep::Trigger);
    for config in [
        cases::pagerduty(&url, folder.path(), DEADLINE),
        cases::slack_webhook(&format!("{url}/secretpart"), folder.path(), DEADLINE),
        cases::teams(&format!("{url}/secretpart"), folder.path(), DEADLINE),
        cases::webhook(&url, folder.path(), WebhookForm::Plain, DEADLINE),
    ] {
        let error = channel(&config).deliver(&notice).await.expect_err("nobody is there");
        assert!(error.retry && !error.detail.contains("secret"), "{error}");
    }
}
