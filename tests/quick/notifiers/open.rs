//! Webhooks, Grafana and status pages, at a receiver that takes everything.

use hmac::{Hmac, KeyInit, Mac};
use serin::core::incident::IncidentStep;
use serin::core::notice::NoticeKind;
use serin::notifiers::webhook::WebhookForm;

use super::{Open, cases, channel, channel_with};
use crate::testkit::channels::{DEADLINE, full_notice, incident};
use crate::testkit::fakes::MemoryStore;

#[tokio::test]
async fn a_plain_webhook_is_the_notice_with_its_key_and_a_signature() {
    let (folder, at) = (tempfile::tempdir().unwrap(), Open::start().await);
    let config = cases::webhook(&at.running.url, folder.path(), WebhookForm::Plain, DEADLINE);
    let notice = full_notice(7, NoticeKind::RollbackStarted);
    channel(&config).deliver(&notice).await.unwrap();
    let got = &at.desk.got()[0];
    assert_eq!(got.headers["idempotency-key"], "r1/7");
    assert_eq!(got.headers["content-type"], "application/json");
    assert_eq!(got.body, serde_json::to_value(&notice).unwrap());
    // As a receiver checks it.
    let header = got.headers["serin-signature"].to_str().unwrap();
    let (time, signature) = header.strip_prefix("t=").unwrap().split_once(",v1=").unwrap();
    let mut mac = Hmac::<sha2::Sha256>::new_from_slice(b"signing-key").unwrap();
    mac.update(format!("{time}.").as_bytes());
    mac.update(&got.raw);
    let expected: String = mac.finalize().into_bytes().iter().map(|b| format!("{b:02x}")).collect();
    assert_eq!(signature, expected);
    assert!(time.parse::<i64>().unwrap() > 1_700_000_000);
}

#[tokio::test]
async fn a_cloudevent_has_what_the_specification_asks_for() {
    let (folder, at) = (tempfile::tempdir().unwrap(), Open::start().await);
    let config = cases::webhook(&at.running.url, folder.path(), WebhookForm::Cloudevents, DEADLINE);
    channel(&config).deliver(&full_notice(7, NoticeKind::Promoted)).await.unwrap();
    let got = &at.desk.got()[0];
    assert_eq!(got.headers["content-type"], "application/cloudevents+json");
    let event = &got.body;
    assert_eq!((&event["specversion"], &event["id"]), (&"1.0".into(), &"r1/7".into()));
    assert_eq!(event["type"], "serin.notice.promoted");
    assert_eq!((&event["source"], &event["subject"]), (&"/serin".into(), &"checkout".into()));
    assert!(event["time"].as_str().unwrap().parse::<jiff::Timestamp>().is_ok());
    assert_eq!(event["data"]["notice"]["figures"][0]["metric"], "errors");
    let attributes = event.as_object().unwrap().keys();
    let wrong: Vec<_> = attributes.filter(|name| !name.bytes().all(|b| b.is_ascii_lowercase())).collect();
    assert!(wrong.is_empty(), "{wrong:?}");
}

#[tokio::test]
async fn grafana_gets_a_region_where_something_ends() {
    let (folder, at) = (tempfile::tempdir().unwrap(), Open::start().await);
    let (config, memory) = (cases::grafana(&at.running.url, folder.path(), DEADLINE), MemoryStore::new());
    let (start, end) = (full_notice(1, NoticeKind::Started), full_notice(9, NoticeKind::Succeeded));
    channel_with(&config, &memory).deliver(&start).await.unwrap();
    let channel = channel_with(&config, &memory);
    channel.deliver(&end).await.unwrap();
    channel.deliver(&incident(12, NoticeKind::Verified, IncidentStep::Resolve)).await.unwrap();
    let got = at.desk.got();
    assert!(got.iter().all(|got| got.path == "/api/annotations"));
    assert!(got.iter().all(|got| got.headers["authorization"] == "Bearer grafana-secret"));
    assert_eq!((&got[0].body["time"], got[0].body.get("timeEnd")), (&start.at.0.into(), None));
    assert_eq!((&got[1].body["time"], &got[1].body["timeEnd"]), (&start.at.0.into(), &end.at.0.into()));
    assert!(got[2].body["timeEnd"].as_i64() > got[2].body["time"].as_i64());
    assert!(!got[0].body["text"].as_str().unwrap().contains("<b>"), "{}", got[0].body);
    assert!(got[0].body["tags"].as_array().unwrap().contains(&"service:checkout".into()));
}

#[tokio::test]
async fn a_status_page_gets_the_body_of_the_template() {
    let at = Open::start().await;
    let notice = full_notice(7, NoticeKind::Step);
    channel(&cases::statuspage(&at.running.url, DEADLINE)).deliver(&notice).await.unwrap();
    let got = &at.desk.got()[0];
    assert_eq!((&*got.path, &got.headers["idempotency-key"]), ("/incidents", &"r1/7".parse().unwrap()));
    assert_eq!(got.body["incident"]["body"], notice.sentence);
    assert_eq!(got.body["incident"]["at"], 25.0);
}
