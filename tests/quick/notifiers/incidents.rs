//! Channels that keep incidents.

use serin::core::incident::IncidentStep;
use serin::core::notice::{Notice, NoticeKind};

use super::{Open, cases, channel, channel_with};
use crate::testkit::channels::{DEADLINE, full_notice, incident};
use crate::testkit::fakes::MemoryStore;
use crate::testkit::receivers::Fault;
use crate::testkit::receivers::opsgenie::Opsgenie;
use crate::testkit::receivers::pagerduty::{Pagerduty, Stage};

#[tokio::test]
async fn pagerduty_has_one_incident_from_trigger_to_resolve() {
    let (folder, at) = (tempfile::tempdir().unwrap(), Pagerduty::start().await);
    let config = cases::pagerduty(at.url(), folder.path(), DEADLINE);
    let trigger = incident(7, NoticeKind::RollbackStarted, IncidentStep::Trigger);
    // The first answer is lost; a channel built anew, as after a restart, tries again.
    at.desk.fail(&[Fault::LostAnswer(502)]);
    assert!(channel(&config).deliver(&trigger).await.expect_err("lost").retry);
    let channel = channel(&config);
    channel.deliver(&trigger).await.unwrap();
    let incidents = at.incidents();
    assert_eq!(incidents.keys().collect::<Vec<_>>(), ["checkout/r1/7"]);
    let opened = &incidents["checkout/r1/7"];
    assert_eq!((opened.stage, opened.opened, opened.triggers.len()), (Stage::Triggered, 1, 2));
    let event = &opened.triggers[0];
    assert_eq!(event["payload"]["severity"], "critical");
    assert_eq!(event["payload"]["component"], "checkout");
    assert_eq!(event["payload"]["group"], "production");
    assert_eq!(event["payload"]["class"], "harm");
    assert_eq!(event["payload"]["custom_details"]["figures"][0]["canary"], "2.7%");
    assert!(event["links"][0]["href"].as_str().unwrap().ends_with("/rollouts/r1"), "{event}");
    let stage = || at.incidents()["checkout/r1/7"].stage;
    channel.deliver(&incident(8, NoticeKind::Acknowledged, IncidentStep::Acknowledge)).await.unwrap();
    assert_eq!(stage(), Stage::Acknowledged);
    channel.deliver(&incident(9, NoticeKind::Verified, IncidentStep::Resolve)).await.unwrap();
    assert_eq!(stage(), Stage::Resolved);
    assert_eq!(at.desk.complaints(), [""; 0]);
}

#[tokio::test]
async fn pagerduty_gets_changes_and_nothing_of_the_rest() {
    let (folder, at) = (tempfile::tempdir().unwrap(), Pagerduty::start().await);
    let channel = channel(&cases::pagerduty(at.url(), folder.path(), DEADLINE));
    for (n, kind) in NoticeKind::ALL.iter().copied().enumerate() {
        channel.deliver(&full_notice(n as u64, kind)).await.unwrap();
    }
    let changes = at.changes();
    let kinds: Vec<&str> =
        changes.iter().map(|change| change["payload"]["custom_details"]["kind"].as_str().unwrap()).collect();
    assert_eq!(kinds, ["started", "rolled_back", "promoted", "succeeded"]);
    assert_eq!((at.incidents().len(), at.desk.came()), (0, 4));
    assert_eq!(at.desk.complaints(), [""; 0]);
}

#[tokio::test]
async fn pagerduty_gets_the_end_of_an_incident_and_the_rollback_as_a_change() {
    let (folder, at) = (tempfile::tempdir().unwrap(), Pagerduty::start().await);
    let channel = channel(&cases::pagerduty(at.url(), folder.path(), DEADLINE));
    channel.deliver(&incident(7, NoticeKind::RollbackStarted, IncidentStep::Trigger)).await.unwrap();
    let end = incident(9, NoticeKind::RolledBack, IncidentStep::Resolve);
    channel.deliver(&end).await.unwrap();
    assert_eq!(at.incidents()["checkout/r1/7"].stage, Stage::Resolved);
    assert_eq!((at.changes().len(), at.desk.came()), (0, 2), "the change comes by itself");
    channel.deliver(&Notice { incident: None, ..end }).await.unwrap();
    let changes = at.changes();
    assert_eq!((changes.len(), at.desk.came()), (1, 3));
    assert_eq!(changes[0]["payload"]["custom_details"]["kind"], "rolled_back");
    assert!(changes[0]["links"][2]["href"].as_str().unwrap().ends_with("#charts"), "{}", changes[0]);
    assert_eq!(at.desk.complaints(), [""; 0]);
}

#[tokio::test]
async fn pagerduty_refuses_a_wrong_key_for_good() {
    let (folder, at) = (tempfile::tempdir().unwrap(), Pagerduty::start().await);
    let config = cases::pagerduty(at.url(), folder.path(), DEADLINE);
    std::fs::write(folder.path().join("routing-key"), "not-the-key").unwrap();
    let trigger = incident(7, NoticeKind::RollbackStarted, IncidentStep::Trigger);
    let error = channel(&config).deliver(&trigger).await.expect_err("refused");
    assert!(!error.retry && error.detail.contains("routing_key is unknown"), "{error}");
    assert!(!error.detail.contains("not-the-key"), "{error}");
}

#[tokio::test]
async fn opsgenie_has_one_alert_that_is_acknowledged_and_closed() {
    let (folder, at) = (tempfile::tempdir().unwrap(), Opsgenie::start().await);
    let channel = channel(&cases::opsgenie(at.url(), folder.path(), DEADLINE));
    let trigger = incident(7, NoticeKind::RollbackStarted, IncidentStep::Trigger);
    channel.deliver(&trigger).await.unwrap();
    channel.deliver(&trigger).await.unwrap();
    let alert = at.alerts()["checkout/r1/7"].clone();
    assert_eq!((alert.open, alert.acknowledged, alert.made), (true, false, 1));
    assert_eq!(alert.body["priority"], "P1");
    assert_eq!(alert.body["tags"], serde_json::json!(["serin", "rollback_started", "team-shop"]));
    channel.deliver(&incident(8, NoticeKind::Acknowledged, IncidentStep::Acknowledge)).await.unwrap();
    assert!(at.alerts()["checkout/r1/7"].acknowledged);
    channel.deliver(&incident(9, NoticeKind::Verified, IncidentStep::Resolve)).await.unwrap();
    assert!(!at.alerts()["checkout/r1/7"].open);
    channel.deliver(&full_notice(10, NoticeKind::Step)).await.unwrap();
    assert_eq!(at.desk.got().len(), 4, "what is no incident makes no call");
    assert_eq!(at.desk.complaints(), [""; 0]);
}

#[tokio::test]
async fn an_alert_keeps_its_labels_from_its_beginning_to_its_end() {
    let (at, memory) = (Open::start().await, MemoryStore::new());
    let config = cases::alertmanager(&at.running.url, DEADLINE);
    let opening = incident(7, NoticeKind::RollbackStarted, IncidentStep::Trigger);
    channel_with(&config, &memory).deliver(&opening).await.unwrap();
    // After a restart, by a notice of another kind and severity.
    let mut end = incident(9, NoticeKind::Verified, IncidentStep::Resolve);
    end.severity = serin::core::limit::Severity::Low;
    channel_with(&config, &memory).deliver(&end).await.unwrap();
    let alerts: Vec<_> = at.desk.got().into_iter().map(|got| got.body[0].clone()).collect();
    assert_eq!(at.desk.got()[0].path, "/api/v2/alerts");
    assert_eq!(alerts[0]["labels"], alerts[1]["labels"]);
    let labels = &alerts[0]["labels"];
    assert_eq!((&labels["alertname"], &labels["service"]), (&"SerinRollback".into(), &"checkout".into()));
    assert_eq!((&labels["severity"], &labels["team"]), (&"critical".into(), &"shop".into()));
    assert_eq!(alerts[0]["startsAt"], opening.incident.as_ref().unwrap().opened_at.to_string());
    let later = opening.at.plus(std::time::Duration::from_secs(7 * 86_400)).to_string();
    assert_eq!(alerts[0]["endsAt"], later);
    assert_eq!(alerts[1]["endsAt"], end.at.to_string());
}
