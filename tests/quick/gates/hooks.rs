//! Hooks: the body, the key, and what is tried again.

use std::collections::BTreeMap;
use std::time::Duration;

use serin::core::gate::{CommandCheck, Hook, HookAction, HookPoint};
use serin::core::limit::Severity;
use serin::core::notice::{Notice, NoticeKind};
use serin::core::secret::SecretSource;
use serin::core::split::Weight;
use serin::core::time::Timestamp;
use serin::gates::Gates;
use serin::ports::{Gatekeeper, NotifyError};

use super::kit::Receiver;

fn notice() -> Notice {
    Notice {
        rollout: "r1".into(),
        target: "shop".into(),
        version: "1.4.3".into(),
        weight: Weight(10_000),
        ..Notice::new(
            "r1/7".into(),
            NoticeKind::Succeeded,
            Severity::Low,
            Timestamp(1_780_000_000_000),
            "It is \"done\".".into(),
        )
    }
}

fn call(url: String, body: Option<&str>) -> HookAction {
    HookAction::Webhook {
        url,
        allow_private: true,
        body: body.map(str::to_owned),
        headers: BTreeMap::new(),
        secret: None,
        timeout: Duration::from_secs(5),
    }
}

async fn run(action: HookAction) -> Result<(), NotifyError> {
    let hook = Hook { name: "tag".into(), on: vec![HookPoint::Succeeded], action };
    Gates::new(BTreeMap::new()).run(&hook, &notice()).await
}

#[tokio::test]
async fn a_call_has_the_notice_or_the_template() {
    let receiver = Receiver::answering(201, &[], "").await;
    run(call(receiver.url("/"), None)).await.unwrap();
    let template = r#"{"text": {{ sentence | tojson }}, "v": "{{ version }}", "w": {{ weight_percent }}}"#;
    run(call(receiver.url("/"), Some(template))).await.unwrap();
    run(call(receiver.url("/"), Some("{{ target }} {{ kind }} {{ time }}"))).await.unwrap();
    let got = receiver.got();
    assert_eq!(got[0].header("content-type"), "application/cloudevents+json");
    assert!(got.iter().all(|got| got.header("idempotency-key") == "r1/7/tag"));
    let event = got[0].json();
    assert_eq!(
        (event["id"].as_str(), event["type"].as_str()),
        (Some("r1/7/tag"), Some("serin.notice.succeeded"))
    );
    assert_eq!(event["data"]["sentence"], "It is \"done\".");
    assert_eq!(got[1].header("content-type"), "application/json");
    assert_eq!(got[1].json(), serde_json::json!({"text": "It is \"done\".", "v": "1.4.3", "w": 100.0}));
    assert_eq!(got[2].header("content-type"), "text/plain; charset=utf-8");
    assert_eq!(String::from_utf8_lossy(&got[2].body), "shop succeeded 2026-05-28T20:26:40.000Z");
}

#[tokio::test]
async fn what_makes_sense_is_tried_again() {
    for (status, retry) in
        [(400, false), (404, false), (302, false), (408, true), (429, true), (500, true), (503, true)]
    {
        let receiver = Receiver::answering(status, &[("retry-after", "7")], "why").await;
        let error = run(call(receiver.url("/"), None)).await.unwrap_err();
        assert_eq!(error.retry, retry, "{status}");
        assert_eq!(error.detail, format!("status {status}: why"));
        assert_eq!(error.after, retry.then_some(Duration::from_secs(7)));
    }
    let gone = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    assert!(run(call(format!("http://{gone}/"), None)).await.unwrap_err().retry);
    let wrong = run(call("http://127.0.0.1:1/".into(), Some("{{ nothing }}"))).await.unwrap_err();
    assert!(!wrong.retry && wrong.detail.contains("undefined"), "{wrong}");
    let mut unsigned = call(format!("http://{gone}/"), None);
    if let HookAction::Webhook { secret, .. } = &mut unsigned {
        *secret = Some(SecretSource::Env("SERIN_TEST_IS_NOT_SET".into()));
    }
    let error = run(unsigned).await.unwrap_err();
    assert!(error.retry && error.detail.contains("SERIN_TEST_IS_NOT_SET"), "{error}");
}

#[tokio::test]
async fn a_program_is_never_run_again_by_itself() {
    let command = |script: &str| {
        HookAction::Command(CommandCheck {
            command: ["/bin/sh", "-c", script, "sh", "{version}"].map(str::to_owned).to_vec(),
            directory: None,
            environment: Vec::new(),
            timeout: Duration::from_secs(20),
        })
    };
    run(command("test \"$1 $SERIN_EVENT $SERIN_HOOK $SERIN_KEY\" = '1.4.3 succeeded tag r1/7/tag'"))
        .await
        .unwrap();
    for script in ["exit 1", "exit 75", "kill -9 $$"] {
        assert!(!run(command(script)).await.unwrap_err().retry, "{script}");
    }
}
