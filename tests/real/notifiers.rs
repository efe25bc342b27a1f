//! Channels at the real programs: Alertmanager and an SMTP server.

use std::collections::BTreeMap;
use std::time::Duration;

use base64::Engine as _;
use serde_json::{Value, json};
use serin::clock::SystemClock;
use serin::core::incident::{IncidentChange, IncidentStep};
use serin::core::notice::{Notice, NoticeKind};
use serin::notifiers::NotifierConfig;
use serin::notifiers::alertmanager::AlertmanagerConfig;
use serin::notifiers::email::{EmailConfig, MailTls};
use serin::ports::Clock;
use serin::secrets::SecretSource;

use crate::testkit::alertmanager::Alertmanager;
use crate::testkit::channels::{DEADLINE, around, full_notice};
use crate::testkit::fakes::MemoryStore;
use crate::testkit::smtpd::Smtpd;
use crate::testkit::stage::{Plan, Stage, policy};
use crate::testkit::wait::until;

const SOON: Duration = Duration::from_secs(30);

#[tokio::test]
async fn alertmanager_sees_an_alert_and_its_end() {
    let at = Alertmanager::start().await;
    let config = NotifierConfig::Alertmanager(AlertmanagerConfig {
        url: at.url(),
        labels: BTreeMap::from([("team".to_owned(), "shop".to_owned())]),
        headers: BTreeMap::new(),
        resolve_after: Duration::from_secs(7 * 86_400),
        deadline: DEADLINE,
    });
    let channel = config.build("alerts", &around(&MemoryStore::new())).expect("a channel");
    let now = SystemClock::new().wall();
    let opened_at = now.minus(Duration::from_secs(5));
    let notice = |seq, kind, step, at| Notice {
        incident: Some(IncidentChange { key: "checkout/r1/7".to_owned(), step, opened_at, told: Vec::new() }),
        at,
        ..full_notice(seq, kind)
    };
    let trigger = notice(7, NoticeKind::RollbackStarted, IncidentStep::Trigger, opened_at);
    channel.deliver(&trigger).await.expect("delivered");
    channel.deliver(&trigger).await.expect("a second time");
    let firing =
        until("the alert fires", SOON, async || at.firing().await.filter(|alerts| !alerts.is_empty())).await;
    assert_eq!(firing.len(), 1, "{firing:?}");
    assert_eq!(firing[0]["labels"]["alertname"], "SerinRollback");
    assert_eq!(firing[0]["labels"]["service"], "checkout");
    assert_eq!(firing[0]["labels"]["team"], "shop");
    assert_eq!(firing[0]["annotations"]["version"], "v2");
    assert_eq!(firing[0]["status"]["state"], "active");
    assert_eq!(firing[0]["generatorURL"], "https://serin.example.com/rollouts/r1");
    let resolve = notice(9, NoticeKind::Verified, IncidentStep::Resolve, now);
    channel.deliver(&resolve).await.expect("its end");
    until("the alert is over", SOON, async || at.firing().await.filter(Vec::is_empty)).await;
}

/// A Serin on the loopback, an Alertmanager with Serin's hook as its receiver: what fires pauses, and takes
/// back when it is critical.
#[tokio::test(flavor = "multi_thread")]
async fn alerts_of_a_real_alertmanager_are_named_and_take_back() {
    let policy = policy("").replace("min: 5s", "min: 9m");
    let stage = Stage::start(Plan { rate: 200.0, policy, ..Plan::default() }).await;
    let at = Alertmanager::start_telling(&stage.daemon.url("/api/v1/hooks/alertmanager")).await;
    let id = stage.daemon.rollout("shop", "test", "v2").await;
    let seen = |view: &Value| view["seen"]["as_wanted"] == true && view["seen"]["canary_percent"] == 5.0;
    stage.daemon.until(&id, "5%", 120, seen).await;
    let alert = |name: &str, service: &str, severity: &str| {
        json!({
            "labels": {"alertname": name, "service": service, "severity": severity},
            "annotations": {"summary": "the queue is long"},
        })
    };
    at.fire(&json!([alert("Other", "search", "critical"), alert("Queue", "shop", "warning")])).await;
    // What is neither critical nor a page is named, and holds nothing.
    let named = async || {
        let told = stage.daemon.sentences(&id).await.join("\n");
        told.contains("alert Queue (warning)").then_some(())
    };
    until("the alert to be named", Duration::from_secs(60), named).await;
    let view = stage.daemon.get(&format!("/api/v1/rollouts/{id}")).await;
    assert_eq!(view["holds"], json!([]), "{view:#}");
    assert_eq!(view["wanted"]["canary_percent"], 5.0, "{view:#}");
    at.fire(&json!([alert("Payments", "shop", "critical")])).await;
    let ended = stage.daemon.ended(&id, 120).await;
    assert_eq!(ended["state"], "rolled_back", "{ended:#}");
    let told = stage.daemon.sentences(&id).await.join("\n");
    assert!(told.contains("alert Payments fires"), "{told}");
    assert!(told.contains("the queue is long"), "{told}");
}

#[tokio::test]
async fn an_smtp_server_behind_tls_wants_a_login_and_a_certificate_that_is_known() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = |name: &str| folder.path().join(name);
    let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).expect("a certificate");
    std::fs::write(path("cert.pem"), made.cert.pem()).expect("written");
    std::fs::write(path("key.pem"), made.signing_key.serialize_pem()).expect("written");
    std::fs::write(path("password"), "right horse\n").expect("written");
    std::fs::write(path("wrong"), "wrong horse\n").expect("written");
    for (mode, tls) in [("starttls", MailTls::Starttls), ("implicit", MailTls::Implicit)] {
        let login = ["serin", "right horse"];
        let at = Smtpd::start_protected(mode, &path("cert.pem"), &path("key.pem"), login).await;
        let good = EmailConfig {
            host: "localhost".to_owned(),
            port: at.port,
            tls,
            ca_file: Some(path("cert.pem")),
            login: Some(("serin".to_owned(), SecretSource::File(path("password")))),
            from: "Serin <serin@example.com>".parse().expect("an address"),
            to: vec!["releases@example.com".parse().expect("an address")],
            deadline: DEADLINE,
        };
        let deliver = async |config: &EmailConfig| {
            let channel = NotifierConfig::Email(config.clone()).build("mail", &around(&MemoryStore::new()));
            channel.expect("a channel").deliver(&full_notice(1, NoticeKind::RollbackStarted)).await
        };
        deliver(&good).await.unwrap_or_else(|error| panic!("{mode}: {error:?}"));
        let wrong = ("serin".to_owned(), SecretSource::File(path("wrong")));
        for (what, config) in [
            ("a wrong password", EmailConfig { login: Some(wrong), ..good.clone() }),
            ("no login", EmailConfig { login: None, ..good.clone() }),
            ("an unknown certificate", EmailConfig { ca_file: None, ..good.clone() }),
            ("no TLS", EmailConfig { tls: MailTls::None, ..good.clone() }),
        ] {
            let refused = deliver(&config).await.expect_err(what);
            assert!(!format!("{refused:?}").contains("horse"), "{what}: {refused:?}");
        }
        let mails =
            until("the mail", SOON, async || Some(at.mails()).filter(|mails| !mails.is_empty())).await;
        assert_eq!(mails.len(), 1, "{mode}: {mails:?}");
    }
}

#[tokio::test]
async fn an_smtp_server_gets_plain_text_and_html() {
    let at = Smtpd::start().await;
    let config = NotifierConfig::Email(EmailConfig {
        host: "127.0.0.1".to_owned(),
        port: at.port,
        tls: MailTls::None,
        ca_file: None,
        login: None,
        from: "Serin <serin@example.com>".parse().expect("an address"),
        to: vec!["releases@example.com".parse().expect("an address")],
        deadline: DEADLINE,
    });
    let channel = config.build("mail", &around(&MemoryStore::new())).expect("a channel");
    channel.deliver(&full_notice(1, NoticeKind::RollbackStarted)).await.expect("delivered");
    channel.deliver(&full_notice(2, NoticeKind::RolledBack)).await.expect("delivered");
    let mails = until("both mails", SOON, async || Some(at.mails()).filter(|mails| mails.len() == 2)).await;
    let first = &mails[0];
    assert!(first.contains("To: releases@example.com"), "{first}");
    assert!(first.contains("multipart/alternative"), "{first}");
    let (plain, html) = (part(first, "text/plain"), part(first, "text/html"));
    assert!(plain.contains("Errors <b>rose</b> & \"more\""), "{plain}");
    assert!(plain.contains("canary 2.7%, baseline 0.4%"), "{plain}");
    assert!(html.contains("&lt;b&gt;rose&lt;/b&gt; &amp; &quot;more&quot;"), "{html}");
    assert!(html.contains("<a href=\"https://serin.example.com/rollouts/r1\">"), "{html}");
    let id = first.lines().find_map(|line| line.strip_prefix("Message-ID: ")).expect("an id");
    assert!(mails[1].contains(&format!("In-Reply-To: {}", id.trim())), "{}", mails[1]);
}

/// The text of a mail's part, whatever it is encoded as.
fn part(mail: &str, kind: &str) -> String {
    let after = mail.split_once(&format!("Content-Type: {kind}")).expect("the part").1;
    let (head, body) = after.split_once("\n\n").expect("its body");
    let body = body.split("\n--").next().unwrap_or_default();
    if head.contains("base64") {
        let packed: String = body.split_whitespace().collect();
        let bytes = base64::engine::general_purpose::STANDARD.decode(packed).expect("base64");
        return String::from_utf8(bytes).expect("text");
    }
    if !head.contains("quoted-printable") {
        return body.to_owned();
    }
    let joined = body.replace("=\r\n", "").replace("=\n", "");
    let mut bytes = Vec::new();
    let mut rest = joined.bytes();
    while let Some(byte) = rest.next() {
        if byte != b'=' {
            bytes.push(byte);
            continue;
        }
        let digits = [rest.next().unwrap_or(b'0'), rest.next().unwrap_or(b'0')];
        let digits = std::str::from_utf8(&digits).expect("digits");
        bytes.push(u8::from_str_radix(digits, 16).expect("hexadecimal"));
    }
    String::from_utf8(bytes).expect("text")
}
