//! The configuration of channels: what is read, and what is said about what is wrong.

use std::path::PathBuf;
use std::time::Duration;

use serin::config::parse_config;
use serin::notifiers::{Address, NotifierConfig};
use serin::secrets::SecretSource;

use super::cases;
use crate::testkit::channels::{DEADLINE, around};
use crate::testkit::fakes::MemoryStore;

const BASE: &str = r#"
store: {path: serin.db}
policies: [policies/standard.yaml]
providers: {prom: {type: prometheus, url: "http://127.0.0.1:9090"}}
routers: {edge: {type: envoy, listen: "127.0.0.1:7424"}}
targets:
  shop:
    router: edge
    provider: prom
    route: routing.shop
    stable: {backend: shop-a, labels: {envoy_cluster_name: shop-a}}
    canary: {backend: shop-b, labels: {envoy_cluster_name: shop-b}}
notifiers:
"#;

/// One channel `it`, as if it stood at the top of the repository.
fn read(channel: &str) -> Result<NotifierConfig, String> {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("x.yaml");
    let config = parse_config(&path, format!("{BASE}  it: {channel}\n").as_bytes());
    config.map(|config| config.notifiers["it"].clone()).map_err(|problems| problems.to_string())
}

#[test]
fn channels_have_the_documented_defaults() {
    let Ok(NotifierConfig::Pagerduty(pagerduty)) = read("{type: pagerduty, routing_key: {env: KEY}}") else {
        panic!("no PagerDuty")
    };
    assert_eq!(pagerduty.url, "https://events.pagerduty.com");
    assert_eq!(pagerduty.deadline, Duration::from_secs(10));
    assert_eq!(pagerduty.routing_key, SecretSource::Env("KEY".to_owned()));
    let Ok(NotifierConfig::Opsgenie(opsgenie)) = read("{type: opsgenie, region: eu, api_key: {env: KEY}}")
    else {
        panic!("no Opsgenie")
    };
    assert_eq!(opsgenie.url, "https://api.eu.opsgenie.com");
    let Ok(NotifierConfig::Email(email)) =
        read("{type: email, host: mail.example.com, from: a@example.com, to: [\"B <b@example.com>\"]}")
    else {
        panic!("no mail")
    };
    assert_eq!((email.port, email.to.len()), (587, 1));
    let Ok(NotifierConfig::Webhook(webhook)) =
        read("{type: webhook, form: cloudevents, url: {env: HOOK}, secret: {env: KEY}}")
    else {
        panic!("no webhook")
    };
    assert_eq!(webhook.url, Address::Secret(SecretSource::Env("HOOK".to_owned())));
    for good in [
        "{type: slack, webhook: {env: HOOK}}",
        "{type: slack, token: {env: TOKEN}, channel: releases}",
        "{type: teams, webhook: {file: hook}}",
        "{type: alertmanager, url: \"http://127.0.0.1:9093\", labels: {team: shop}}",
        "{type: grafana, url: \"http://127.0.0.1:3000\", token: {env: TOKEN}, tags: [shop]}",
        "{type: email, host: localhost, tls: none, from: a@example.com, to: [b@example.com]}",
        "{type: statuspage, url: {env: HOOK}, kinds: [started], body: '{\"a\": {{ title }}}'}",
    ] {
        read(good).unwrap_or_else(|problems| panic!("{good}: {problems}"));
    }
}

#[test]
fn what_is_wrong_is_said() {
    for (channel, says) in [
        ("{type: pagerdty}", "`pagerduty`, perhaps"),
        ("{type: pagerduty}", "the field `routing_key` is missing"),
        ("{type: webhook, url: \"http://169.254.169.254/latest\"}", "gives out credentials"),
        ("{type: pagerduty, routing_key: abc}", "a secret must not stand in the configuration"),
        ("{type: slack}", "it must say one way into Slack"),
        ("{type: slack, webhook: {env: A}, token: {env: B}, channel: c}", "it must say one way"),
        ("{type: slack, webhook: \"https://hooks.slack.com/x\"}", "a secret must not stand"),
        ("{type: teams, webhook: \"https://x.example.com\"}", "a secret must not stand"),
        ("{type: email, host: h, from: nobody, to: []}", "`nobody` is not a mail address"),
        ("{type: email, host: h, from: nobody, to: []}", "there is no receiver"),
        ("{type: email, host: mail.example.com, tls: none, from: a@b.c, to: [a@b.c]}", "plain text"),
        ("{type: email, host: h, user: u, from: a@b.c, to: [a@b.c]}", "belong together"),
        ("{type: opsgenie, region: eu, url: \"http://x\", api_key: {env: A}}", "a `region` and a `url`"),
        ("{type: alertmanager, url: \"http://x/api/v2/alerts\"}", "added by Serin"),
        ("{type: statuspage, url: \"http://x\", body: '{\"a\": {{ colour }}}'}", "undefined"),
        ("{type: statuspage, url: \"http://x\", body: '{\"a\": \"{{ title }}\"}'}", "bring their own quotes"),
        ("{type: statuspage, url: \"http://x\", kinds: [startd], body: '1'}", "`started`, perhaps"),
        ("{type: webhook, url: \"http://u:p@x\"}", "secrets do not belong"),
        ("{type: webhook, url: \"http://x\", deadline: 0s}", "too little"),
    ] {
        let problems = read(channel).expect_err(channel);
        assert!(problems.contains(says), "{channel}: {problems}");
        assert!(problems.contains("x.yaml:"), "{problems}");
    }
}

#[test]
fn a_secret_that_is_not_there_is_an_error_that_names_it() {
    let folder = tempfile::tempdir().unwrap();
    let build = |config: &NotifierConfig| {
        config.build("it", &around(&MemoryStore::new())).err().expect("no secret").to_string()
    };
    let missing = read("{type: pagerduty, routing_key: {env: SERIN_TEST_NOT_SET}}").unwrap();
    let error = build(&missing);
    assert!(error.contains("routing_key") && error.contains("SERIN_TEST_NOT_SET"), "{error}");
    let error = build(&cases::slack_webhook("not a url", folder.path(), DEADLINE));
    assert!(error.contains("not an http or https URL") && !error.contains("not a url"), "{error}");
    let error = build(&cases::teams("", folder.path(), DEADLINE));
    assert!(error.contains("empty"), "{error}");
    let headers = read("{type: webhook, url: \"http://x\", headers: {X-Token: {env: SERIN_TEST_NOT_SET}}}");
    let error = build(&headers.unwrap());
    assert!(error.contains("X-Token") && error.contains("SERIN_TEST_NOT_SET"), "{error}");
}

#[test]
fn waits_grow_to_five_minutes_and_no_further() {
    use serin::engine::backoff;
    let waits: Vec<Duration> = (0..40).map(|attempts| backoff(attempts, 3)).collect();
    assert!(waits[0] >= Duration::from_millis(500) && waits[0] < Duration::from_secs(1));
    assert!(waits.windows(2).take(8).all(|pair| pair[0] < pair[1]));
    assert!(waits.iter().all(|wait| *wait <= Duration::from_secs(375)));
    assert!(waits[39] >= Duration::from_secs(300));
}

#[test]
fn the_examples_of_the_documentation_are_read() {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    let page = std::fs::read_to_string(root.join("docs/notifiers.md")).expect("the page");
    let (_, after) = page.split_once("```yaml\nnotifiers:\n").expect("the examples");
    let (examples, _) = after.split_once("```").expect("their end");
    let config = parse_config(&root.join("x.yaml"), format!("{BASE}{examples}").as_bytes());
    let config = config.unwrap_or_else(|problems| panic!("{problems}"));
    assert_eq!(config.notifiers.len(), 11, "{:?}", config.notifiers.keys());
}
