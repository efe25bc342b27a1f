//! A body of the operator's own making: a template over the notice, for status pages and whatever else
//! takes a request.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use minijinja::{AutoEscape, Environment, UndefinedBehavior};
use reqwest::header::CONTENT_TYPE;
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Value, json};

use super::http::Http;
use super::webhook::read_headers;
use super::{Address, NotifierBuildError, text};
use crate::core::incident::{IncidentChange, IncidentStep};
use crate::core::notice::{Notice, NoticeKind};
use crate::messages::{Words, sample};
use crate::ports::{Notifier, NotifyError};
use crate::secrets::SecretSource;

/// Steps of the template's machine, so that no template runs for long.
const FUEL: u64 = 50_000;
/// The largest body, in bytes.
const MOST_BODY: usize = 256 * 1024;

/// Where a templated body goes.
#[derive(Clone, Debug, PartialEq)]
pub struct StatuspageConfig {
    /// The receiver.
    pub url: Address,
    /// `POST`, `PUT` or `PATCH`.
    pub method: String,
    /// The template of the body. Values come out as JSON: `{"message": {{ title }}}`.
    pub body: String,
    /// Only these kinds are sent; all, if it is empty.
    pub kinds: Vec<NoticeKind>,
    /// Extra headers.
    pub headers: BTreeMap<String, SecretSource>,
    /// For each attempt, connection and answer included.
    pub deadline: Duration,
}

impl StatuspageConfig {
    /// Builds the channel.
    ///
    /// # Errors
    /// If a secret cannot be read.
    pub fn build(&self, words: &Arc<Words>) -> Result<Arc<dyn Notifier>, NotifierBuildError> {
        let (headers, mut secrets) = read_headers(&self.headers)?;
        let url = self.url.read()?;
        if matches!(self.url, Address::Secret(_)) {
            secrets.push(url.clone());
        }
        let method = reqwest::Method::from_bytes(self.method.as_bytes())
            .map_err(|_| NotifierBuildError(format!("there is no method {}", self.method)))?;
        let http = Http::new(self.deadline, headers, secrets)?;
        Ok(Arc::new(Statuspage { http, url, method, config: self.clone(), words: words.clone() }))
    }
}

struct Statuspage {
    http: Http,
    url: SecretString,
    method: reqwest::Method,
    config: StatuspageConfig,
    words: Arc<Words>,
}

#[async_trait]
impl Notifier for Statuspage {
    async fn deliver(&self, notice: &Notice) -> Result<(), NotifyError> {
        if !self.config.kinds.is_empty() && !self.config.kinds.contains(&notice.kind) {
            return Ok(());
        }
        let body = render(&self.config.body, notice, &self.words).map_err(NotifyError::never)?;
        let request = self
            .http
            .request(self.method.clone(), self.url.expose_secret())
            .header("Idempotency-Key", &notice.key)
            .header(CONTENT_TYPE, "application/json");
        self.http.deliver(request.body(body)).await?;
        Ok(())
    }

    fn longest(&self) -> Duration {
        self.http.deadline()
    }
}

/// The body for a notice. Fields that do not exist are errors, and so is what is no JSON.
fn render(template: &str, notice: &Notice, words: &Words) -> Result<String, String> {
    let mut environment = Environment::new();
    environment.set_undefined_behavior(UndefinedBehavior::Strict);
    environment.set_auto_escape_callback(|_| AutoEscape::Json);
    environment.set_fuel(Some(FUEL));
    let body = environment
        .render_named_str("body", template, minijinja::value::Serde(fields(notice, words)))
        .map_err(|error| text::line(&format!("the template fails: {error}"), 500))?;
    if body.len() > MOST_BODY {
        return Err(format!("the template gives {} bytes, and {MOST_BODY} are the most", body.len()));
    }
    match serde_json::from_str::<serde::de::IgnoredAny>(&body) {
        Ok(_) => Ok(body),
        Err(error) => Err(format!(
            "the template does not give JSON ({error}); values bring their own quotes: {{\"message\": {{{{ title }}}}}}"
        )),
    }
}

/// What a template may name.
fn fields(notice: &Notice, words: &Words) -> Value {
    let message = words.message(notice);
    let links = words.links(notice);
    json!({
        "title": message.title, "text": message.text, "sentence": notice.sentence,
        "key": notice.key, "kind": notice.kind.name(), "severity": text::severity(notice.severity),
        "rollout": notice.rollout, "target": notice.target, "version": notice.version,
        "stable_version": notice.stable_version, "policy": notice.policy, "started_by": notice.started_by,
        "environment": notice.environment, "reason": text::reason(notice),
        "step": notice.step.map(|(step, _)| step), "steps": notice.step.map(|(_, of)| of),
        "weight": f64::from(notice.weight.0) / 100.0, "figures": notice.figures,
        "incident": notice.incident, "at": notice.at.to_string(),
        "begins_at": notice.begins_at.map(|at| at.to_string()),
        "links": {"rollout": links.rollout, "report": links.report, "runbook": links.runbook},
    })
}

/// Says what is wrong with a template, by rendering it for notices of every kind, with and without what
/// not every notice has: it must not fail at the first real rollback.
///
/// # Errors
/// What is wrong.
pub fn check(template: &str) -> Result<(), String> {
    let public_url = Some("https://serin.example.com".to_owned());
    let linked = Words { public_url, ..Words::default() };
    for kind in NoticeKind::ALL.iter().copied() {
        let full = sample(kind);
        render(template, &bare(&full), &Words::default())?;
        for notice in with_and_without(&full) {
            render(template, &notice, &linked)?;
            render(template, &Notice { runbook: None, ..notice }, &Words::default())?;
        }
    }
    Ok(())
}

/// A notice with as little as there can be, such as a digest.
fn bare(full: &Notice) -> Notice {
    let sentence = "A sentence with \"quotes\".".to_owned();
    Notice::new(full.key.clone(), full.kind, full.severity, full.at, sentence)
}

/// The notice with each step of an incident and none, a reason and none, a time to begin at and none.
fn with_and_without(full: &Notice) -> Vec<Notice> {
    let of_step = |step| full.incident.clone().map(|incident| IncidentChange { step, ..incident });
    let steps = [IncidentStep::Trigger, IncidentStep::Acknowledge, IncidentStep::Resolve];
    let mut all = Vec::new();
    for incident in steps.into_iter().map(of_step).chain([None]) {
        for reason in [full.reason, None] {
            for begins_at in [full.begins_at, None] {
                all.push(Notice { incident: incident.clone(), reason, begins_at, ..full.clone() });
            }
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_come_out_as_json_and_unknown_ones_are_told() {
        check(r#"{"name": {{ title }}, "n": {{ weight }}, "f": {{ figures }}, "l": {{ links.rollout }}}"#)
            .unwrap();
        for (template, says) in [
            ("{\"a\": {{ colour }}}", "undefined"),
            ("{\"a\": \"{{ title }}\"}", "quotes"),
            ("{\"a\": {{ title }", "fails"),
            ("{\"a\": {{ incident.key }}}", "undefined"),
            (r#"{"a": {% if kind == "verified" %}{{ colour }}{% else %}1{% endif %}}"#, "undefined"),
            (r#"{"a": {% if links.rollout %}1{% endif %}}"#, "JSON"),
            (r#"{"a": {% if incident and not reason %}{% else %}1{% endif %}}"#, "JSON"),
            ("{% for a in range(9999) %}{% for b in range(9999) %}1{% endfor %}{% endfor %}", "fuel"),
        ] {
            let told = check(template).unwrap_err();
            assert!(told.contains(says), "{template}: {told}");
        }
    }
}
