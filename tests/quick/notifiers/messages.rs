//! Channels that show messages to people.

use std::time::Duration;

use serin::core::notice::NoticeKind;

use super::{cases, channel, channel_with};
use crate::testkit::channels::{DEADLINE, full_notice};
use crate::testkit::fakes::MemoryStore;
use crate::testkit::receivers::Fault;
use crate::testkit::receivers::slack::Slack;
use crate::testkit::receivers::teams::Teams;

#[tokio::test]
async fn slack_has_a_thread_for_a_rollout_whose_head_is_the_newest_state() {
    let (folder, at, memory) = (tempfile::tempdir().unwrap(), Slack::start().await, MemoryStore::new());
    let config = cases::slack_api(&at.api(), folder.path(), DEADLINE);
    channel_with(&config, &memory).deliver(&full_notice(1, NoticeKind::Started)).await.unwrap();
    // The daemon starts again: the thread goes on.
    let channel = channel_with(&config, &memory);
    channel.deliver(&full_notice(2, NoticeKind::Step)).await.unwrap();
    channel.deliver(&full_notice(3, NoticeKind::Promoted)).await.unwrap();
    let mut other = full_notice(4, NoticeKind::Started);
    other.rollout = "r2".to_owned();
    channel.deliver(&other).await.unwrap();
    let said = at.messages();
    assert_eq!(said.len(), 4);
    let head = &said[0];
    assert_eq!((head.thread.as_deref(), head.updates), (None, 2));
    assert!(head.body.to_string().contains("promoted"), "{}", head.body);
    assert_eq!(said[1].thread.as_deref(), Some(&*head.ts));
    assert_eq!(said[2].thread.as_deref(), Some(&*head.ts));
    assert_eq!(said[3].thread, None);
    // What has waited for the end of quiet hours is said, and the head stays as new as it is.
    let mut late = full_notice(5, NoticeKind::Step);
    late.at = late.at.minus(Duration::from_secs(3600));
    channel.deliver(&late).await.unwrap();
    let said = at.messages();
    assert_eq!((said.len(), said[0].updates), (5, 2));
    assert_eq!(at.desk.complaints(), [""; 0]);
}

#[tokio::test]
async fn slack_is_not_told_twice_when_only_the_head_failed() {
    let (folder, at, memory) = (tempfile::tempdir().unwrap(), Slack::start().await, MemoryStore::new());
    let channel = channel_with(&cases::slack_api(&at.api(), folder.path(), DEADLINE), &memory);
    channel.deliver(&full_notice(1, NoticeKind::Started)).await.unwrap();
    let step = full_notice(2, NoticeKind::Step);
    // The reply is said; the head's change fails.
    at.desk.fail(&[Fault::LostAnswer(200)]);
    let error = channel.deliver(&step).await.expect_err("no JSON came back");
    assert!(error.retry, "{error}");
    let replies = at.messages().len();
    channel.deliver(&step).await.unwrap();
    let after_lost_answer = at.messages().len();
    channel.deliver(&step).await.unwrap();
    assert_eq!(at.messages().len(), after_lost_answer, "said again although it was known to be said");
    // Whether a reply arrived whose answer was lost cannot be known: it is said at least once.
    assert_eq!((replies, after_lost_answer), (2, 3));
}

#[tokio::test]
async fn slack_begins_a_new_thread_where_the_old_one_was_deleted() {
    let (folder, at, memory) = (tempfile::tempdir().unwrap(), Slack::start().await, MemoryStore::new());
    let channel = channel_with(&cases::slack_api(&at.api(), folder.path(), DEADLINE), &memory);
    channel.deliver(&full_notice(1, NoticeKind::Started)).await.unwrap();
    at.forget();
    channel.deliver(&full_notice(2, NoticeKind::Step)).await.unwrap();
    let said = at.messages();
    assert_eq!((said.len(), said[0].thread.as_deref()), (1, None));
}

#[tokio::test]
async fn slack_errors_with_status_200_are_errors() {
    let folder = tempfile::tempdir().unwrap();
    for (answer, retry) in [
        (r#"{"ok":false,"error":"ratelimited"}"#, true),
        (r#"{"ok":false,"error":"internal_error"}"#, true),
        (r#"{"ok":false,"error":"channel_not_found"}"#, false),
        (r#"{"ok":false,"error":"invalid_auth"}"#, false),
        (r#"{"hello":1}"#, true),
        ("", true),
    ] {
        let app = axum::Router::new().fallback(move || async move { ([("retry-after", "9")], answer) });
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let server = tokio::spawn(async move { axum::serve(listener, app).await });
        let channel = channel(&cases::slack_api(&url, folder.path(), DEADLINE));
        let error = channel.deliver(&full_notice(1, NoticeKind::Started)).await.expect_err(answer);
        assert_eq!(error.retry, retry, "{answer}: {error}");
        if answer.contains("ratelimited") {
            assert_eq!(error.after.map(|after| after.as_secs()), Some(9));
        }
        server.abort();
    }
}

#[tokio::test]
async fn teams_gets_a_card_whose_texts_are_only_texts() {
    let (folder, at) = (tempfile::tempdir().unwrap(), Teams::start().await);
    let channel = channel(&cases::teams(&at.webhook(), folder.path(), DEADLINE));
    channel.deliver(&full_notice(1, NoticeKind::RollbackStarted)).await.unwrap();
    let card = at.cards()[0].clone();
    let texts: Vec<&str> =
        card["body"].as_array().unwrap().iter().map(|b| b["inlines"][0]["text"].as_str().unwrap()).collect();
    assert!(texts[0].contains("checkout"), "{texts:?}");
    assert!(texts.iter().any(|text| text.contains("canary 2.7%, baseline 0.4%")), "{texts:?}");
    assert_eq!(card["actions"][0]["url"], "https://serin.example.com/rollouts/r1");
    assert_eq!(at.desk.complaints(), [""; 0]);
}
