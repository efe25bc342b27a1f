//! Webhooks: what is sent, what every answer means, and what is never called.

use std::time::Duration;

use serin::core::gate::{Check, WebhookForm};
use serin::core::secret::SecretSource;

use super::kit::{Receiver, ask, rude, said, webhook};

const JSON: (&str, &str) = ("content-type", "application/json");

#[tokio::test]
async fn serins_form_is_a_signed_cloud_event() {
    let receiver = Receiver::answering(200, &[], "").await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("key");
    std::fs::write(&file, "s3cret\n").unwrap();
    let mut check = webhook(receiver.url("/hook?a=b"), WebhookForm::Serin);
    check.secret = Some(SecretSource::File(file.clone()));
    check.headers = [("X-Token".to_owned(), SecretSource::File(file))].into();
    assert_eq!(said(&ask(Check::Webhook(check)).await), "yes: status 200");
    let got = receiver.got().remove(0);
    assert_eq!(got.uri, "/hook?a=b");
    assert_eq!(got.header("content-type"), "application/cloudevents+json");
    assert_eq!(got.header("idempotency-key"), "r1/start/it/1");
    assert_eq!(got.header("x-token"), "s3cret");
    let event = got.json();
    for (pointer, wanted) in [
        ("/specversion", "1.0"),
        ("/id", "r1/start/it/1"),
        ("/source", "/serin/rollouts/r1"),
        ("/type", "serin.gate.asked"),
        ("/subject", "shop"),
        ("/time", "2026-05-28T20:26:40.000Z"),
        ("/data/gate", "it"),
        ("/data/occasion", "start"),
        ("/data/version", "1.4.3"),
        ("/data/stable_version", "1.4.2"),
        ("/data/metadata/a", "b"),
    ] {
        assert_eq!(event.pointer(pointer).and_then(|value| value.as_str()), Some(wanted), "{pointer}");
    }
    assert_eq!(event["data"]["weight_percent"], 5.0);
    // As `openssl dgst -sha256 -hmac s3cret` has it, over the body as it was sent.
    use hmac::{Hmac, KeyInit, Mac};
    let mut mac = Hmac::<sha2::Sha256>::new_from_slice(b"s3cret").unwrap();
    mac.update(&got.body);
    let digest: String = mac.finalize().into_bytes().iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(got.header("x-serin-signature"), format!("sha256={digest}"));
}

#[tokio::test]
async fn flaggers_form_is_what_its_receivers_read() {
    let receiver = Receiver::answering(200, &[], "").await;
    let check = webhook(receiver.url("/gate/check"), WebhookForm::Flagger);
    assert_eq!(said(&ask(Check::Webhook(check)).await), "yes: status 200");
    let got = receiver.got().remove(0);
    assert_eq!(got.header("content-type"), "application/json");
    let body = got.json();
    assert_eq!(body.as_object().unwrap().keys().collect::<Vec<_>>().len(), 5);
    assert_eq!((body["name"].as_str(), body["namespace"].as_str()), (Some("shop"), Some("prod")));
    assert_eq!(body["phase"], "Waiting");
    assert_eq!(body["checksum"].as_str().unwrap().len(), 16);
    assert_eq!(body["metadata"]["a"], "b");
}

#[tokio::test]
async fn every_answer_has_a_meaning() {
    let plain: &[(&str, &str)] = &[];
    let json: &[(&str, &str)] = &[JSON];
    let moved: &[(&str, &str)] = &[("location", "http://127.0.0.1:1/")];
    for (status, headers, body, serin, flagger) in [
        (200, plain, "", "yes: status 200", "yes: status 200"),
        (204, plain, "", "yes: status 204", "yes: status 204"),
        (200, plain, "<p>fine</p>", "yes: status 200", "yes: status 200"),
        (200, json, "{}", "yes: status 200", "yes: status 200"),
        (200, json, r#"{"answer":"yes","detail":"all 12 passed"}"#, "yes: all 12 passed", "yes: status 200"),
        (200, json, r#"{"answer":"not_yet","detail":"3 of 12"}"#, "not yet: 3 of 12", "yes: status 200"),
        (200, json, r#"{"answer":"no","detail":"2 failed"}"#, "no: 2 failed", "yes: status 200"),
        (200, json, r#"{"answer":"maybe"}"#, "fault: the answer in the body", "yes: status 200"),
        (200, json, r#"{"answer":7}"#, "fault: the answer in the body", "yes: status 200"),
        (200, json, "{\"answer\":", "fault: the answer is not the JSON", "yes: status 200"),
        (202, plain, "", "not yet: status 202", "yes: status 202"),
        (302, moved, "", "fault: status 302; redirects are not followed", "not yet: status 302"),
        (400, plain, "bad\nrequest", "no: status 400: bad\\nrequest", "not yet: status 400"),
        (403, json, r#"{"detail":"gate closed"}"#, "no: status 403: gate closed", "not yet: status 403"),
        (408, plain, "", "not yet: status 408", "not yet: status 408"),
        (409, plain, "", "not yet: status 409", "not yet: status 409"),
        (425, plain, "", "not yet: status 425", "not yet: status 425"),
        (429, plain, "", "not yet: status 429", "not yet: status 429"),
        (500, plain, "", "fault: status 500", "not yet: status 500"),
        (503, plain, "later", "fault: status 503: later", "not yet: status 503: later"),
    ] {
        let receiver = Receiver::answering(status, headers, body).await;
        for (form, wanted) in [(WebhookForm::Serin, serin), (WebhookForm::Flagger, flagger)] {
            let found = said(&ask(Check::Webhook(webhook(receiver.url("/"), form))).await);
            assert!(found.starts_with(wanted), "{status} {body} in {form:?}: {found}");
        }
        assert_eq!(receiver.got().len(), 2, "a redirect was followed, or a call repeated");
    }
}

#[tokio::test]
async fn what_gives_no_answer_is_a_fault() {
    let refused = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    for (answer, stays, says) in [
        (&b""[..], false, "fault: "),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nabc", false, "fault: the answer broke off"),
        (b"nonsense\r\n\r\n", false, "fault: "),
        (b"", true, "fault: there was no"),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nabc", true, "fault: there was no"),
    ] {
        let (address, task) = rude(answer, stays).await;
        for form in [WebhookForm::Serin, WebhookForm::Flagger] {
            let mut check = webhook(format!("http://{address}/"), form);
            check.timeout = Duration::from_millis(300);
            let begun = tokio::time::Instant::now();
            let found = said(&ask(Check::Webhook(check)).await);
            assert!(found.starts_with(says), "{answer:?}: {found}");
            assert!(begun.elapsed() < Duration::from_secs(30), "{answer:?}");
        }
        task.abort();
    }
    let check = webhook(format!("http://{refused}/"), WebhookForm::Serin);
    assert!(said(&ask(Check::Webhook(check)).await).starts_with("fault: no connection"));
    let flood = Receiver::answering(200, &[JSON], &"x".repeat(70_000)).await;
    let found = said(&ask(Check::Webhook(webhook(flood.url("/"), WebhookForm::Serin))).await);
    assert_eq!(found, "fault: the answer has more than 65536 bytes");
}

#[tokio::test]
async fn near_addresses_are_called_only_where_that_is_allowed() {
    let receiver = Receiver::answering(200, &[], "").await;
    let port = receiver.address.port();
    for host in ["127.0.0.1", "localhost", "[::ffff:127.0.0.1]", "2130706433"] {
        let mut check = webhook(format!("http://{host}:{port}/"), WebhookForm::Serin);
        check.allow_private = false;
        let found = said(&ask(Check::Webhook(check)).await);
        assert!(
            found.starts_with("fault: ") && found.contains("`allow_private: true` allows it"),
            "{host}: {found}"
        );
    }
    assert!(receiver.got().is_empty(), "it was called");
    let check = webhook(format!("http://localhost:{port}/"), WebhookForm::Serin);
    assert_eq!(said(&ask(Check::Webhook(check)).await), "yes: status 200");
    for url in
        ["http://169.254.169.254/latest/meta-data/", "http://[fd00:ec2::254]/", "http://[::ffff:a9fe:a9fe]/"]
    {
        let found = said(&ask(Check::Webhook(webhook(url.to_owned(), WebhookForm::Serin))).await);
        assert!(found.contains("gives out credentials; it is never called"), "{url}: {found}");
    }
}

#[tokio::test]
async fn a_missing_secret_is_a_fault_with_its_name() {
    let receiver = Receiver::answering(200, &[], "").await;
    let mut check = webhook(receiver.url("/"), WebhookForm::Serin);
    check.secret = Some(SecretSource::Env("SERIN_TEST_IS_NOT_SET".to_owned()));
    let found = said(&ask(Check::Webhook(check.clone())).await);
    assert_eq!(found, "fault: the environment variable SERIN_TEST_IS_NOT_SET is not set");
    check.secret = Some(SecretSource::File("/there/is/no/key".into()));
    let found = said(&ask(Check::Webhook(check)).await);
    assert!(found.starts_with("fault: the secret file /there/is/no/key cannot be read"), "{found}");
    assert!(receiver.got().is_empty(), "it was called without its secret");
}
