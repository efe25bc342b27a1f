//! Microsoft Teams: an Adaptive Card to a Workflows webhook.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use reqwest::header::HeaderMap;
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Value, json};

use super::http::Http;
use super::{NotifierBuildError, secret_url, text};
use crate::core::limit::Severity;
use crate::core::notice::Notice;
use crate::messages::Words;
use crate::ports::{Digest, Notifier, NotifyError};
use crate::secrets::SecretSource;

/// The service's largest message, in bytes.
const MOST_BODY: usize = 28_000;
const MOST_TITLE: usize = 200;
const MOST_TEXT: usize = 4000;
const MOST_FIGURES: usize = 20;

/// Where cards go.
#[derive(Clone, Debug, PartialEq)]
pub struct TeamsConfig {
    /// The workflow's URL, which is a secret.
    pub webhook: SecretSource,
    /// For each attempt, connection and answer included.
    pub deadline: Duration,
}

impl TeamsConfig {
    /// Builds the channel.
    ///
    /// # Errors
    /// If the URL cannot be read.
    pub fn build(&self, words: &Arc<Words>) -> Result<Arc<dyn Notifier>, NotifierBuildError> {
        let url = secret_url("webhook", &self.webhook)?;
        let http = Http::new(self.deadline, HeaderMap::new(), vec![url.clone()])?;
        Ok(Arc::new(Teams { http, url, words: words.clone() }))
    }
}

struct Teams {
    http: Http,
    url: SecretString,
    words: Arc<Words>,
}

#[async_trait]
impl Notifier for Teams {
    async fn deliver(&self, notice: &Notice) -> Result<(), NotifyError> {
        let body = fitting(notice, &self.words);
        self.http.deliver(self.http.post(self.url.expose_secret()).json(&body)).await?;
        Ok(())
    }

    async fn deliver_digest(&self, digest: &Digest) -> Result<(), NotifyError> {
        self.deliver(&digest.notice_within(|text| {
            // Each line has some hundred bytes of its own in the card.
            text.chars().count() <= MOST_TEXT && text.len() + 100 * text.lines().count() <= MOST_BODY - 4000
        }))
        .await
    }

    fn longest(&self) -> Duration {
        self.http.deadline()
    }
}

/// The message with as many figures and as much text as fit.
fn fitting(notice: &Notice, words: &Words) -> Value {
    for (figures, length) in [(MOST_FIGURES, MOST_TEXT), (5, MOST_TEXT), (0, 1000)] {
        let body = message(notice, words, figures, length);
        if body.to_string().len() <= MOST_BODY {
            return body;
        }
    }
    message(notice, words, 0, 200)
}

fn message(notice: &Notice, words: &Words, figures: usize, length: usize) -> Value {
    let told = words.message(notice);
    let mut body = vec![paragraph(
        &text::line(&told.title, MOST_TITLE),
        json!({"size": "Large", "weight": "Bolder", "color": color(notice.severity)}),
    )];
    let lines = text::cut(&told.text, length);
    body.extend(lines.lines().filter(|line| !line.trim().is_empty()).map(|line| paragraph(line, json!({}))));
    let figures = text::figures(notice, figures);
    body.extend(figures.iter().map(|line| paragraph(line, json!({"fontType": "Monospace"}))));
    let mut last = format!("{} · {}", notice.kind.name(), notice.at);
    if let Some(progress) = text::progress(notice) {
        last.push_str(&format!(" · {progress}"));
    }
    body.push(paragraph(&last, json!({"isSubtle": true, "size": "Small"})));
    let links = words.links(notice);
    let links = [(links.rollout, "Rollout"), (links.report, "Report"), (links.runbook, "Runbook")];
    let actions: Vec<Value> = links
        .into_iter()
        .filter_map(|(url, title)| {
            url.filter(|url| url.len() < 2000)
                .map(|url| json!({"type": "Action.OpenUrl", "title": title, "url": url}))
        })
        .collect();
    json!({
        "type": "message",
        "attachments": [{
            "contentType": "application/vnd.microsoft.card.adaptive",
            "contentUrl": null,
            "content": {
                "$schema": "http://adaptivecards.io/schemas/adaptive-card.json",
                "type": "AdaptiveCard",
                "version": "1.5",
                "body": body,
                "actions": actions,
            },
        }],
    })
}

/// Runs of text are shown as they are; in a `TextBlock` they could hold Markdown with links.
fn paragraph(text: &str, style: Value) -> Value {
    let mut run = json!({"type": "TextRun", "text": text});
    if let (Some(run), Value::Object(style)) = (run.as_object_mut(), style) {
        run.extend(style);
    }
    json!({"type": "RichTextBlock", "inlines": [run]})
}

fn color(severity: Severity) -> &'static str {
    match severity {
        Severity::Critical | Severity::High => "Attention",
        Severity::Medium => "Warning",
        Severity::Low => "Default",
    }
}
