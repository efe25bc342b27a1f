//! Slack: by an incoming webhook, or by the Web API with a thread for each rollout whose first message
//! always shows where the rollout is.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use reqwest::header::{AUTHORIZATION, HeaderMap};
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::http::{Answer, Http};
use super::slack_text::{blocks, fallback, fits_section};
use super::{Kept, NotifierBuildError, secret, secret_url, text};
use crate::core::notice::Notice;
use crate::messages::Words;
use crate::outbound::headers;
use crate::ports::{Digest, Notifier, NotifyError};
use crate::secrets::SecretSource;

/// Errors of the Web API that pass.
const PASSING: [&str; 9] = [
    "ratelimited",
    "rate_limited",
    "message_limit_exceeded",
    "internal_error",
    "fatal_error",
    "request_timeout",
    "service_unavailable",
    "team_added_to_org",
    "team_access_not_granted",
];
/// Errors that say that the thread is not there any more.
const GONE: [&str; 6] = [
    "message_not_found",
    "thread_not_found",
    "invalid_thread_ts",
    "cannot_reply_to_message",
    "cant_update_message",
    "edit_window_closed",
];

/// Rollouts whose threads are written at the same time, at most.
const THREADS: usize = 16;

/// How Slack is told.
#[derive(Clone, Debug, PartialEq)]
pub struct SlackConfig {
    /// Webhook or Web API.
    pub way: SlackWay,
    /// For each call, connection and answer included.
    pub deadline: Duration,
}

/// The two ways into Slack.
#[derive(Clone, Debug, PartialEq)]
pub enum SlackWay {
    /// An incoming webhook, whose URL is a secret.
    Webhook(SecretSource),
    /// The Web API.
    Api {
        /// The base URL; `https://slack.com/api` unless configured.
        url: String,
        /// A bot's token with the scope `chat:write`.
        token: SecretSource,
        /// The channel's id or name.
        channel: String,
    },
}

impl SlackConfig {
    /// Builds the channel.
    ///
    /// # Errors
    /// If the URL or the token cannot be read.
    pub(super) fn build(
        &self,
        words: &Arc<Words>,
        kept: Kept,
    ) -> Result<Arc<dyn Notifier>, NotifierBuildError> {
        let words = words.clone();
        match &self.way {
            SlackWay::Webhook(source) => {
                let url = secret_url("webhook", source)?;
                let http = Http::new(self.deadline, HeaderMap::new(), vec![url.clone()])?;
                Ok(Arc::new(Hook { http, url, words }))
            }
            SlackWay::Api { url, token, channel } => {
                let token = secret("token", token)?;
                let header = headers::secret("token", "Bearer ", &token).map_err(NotifierBuildError)?;
                let all = HeaderMap::from_iter([(AUTHORIZATION, header)]);
                let http = Http::new(self.deadline, all, vec![token])?;
                let base = url.trim_end_matches('/').to_owned();
                Ok(Arc::new(Api {
                    http,
                    base,
                    channel: channel.clone(),
                    words,
                    kept,
                    threads: Default::default(),
                }))
            }
        }
    }
}

struct Hook {
    http: Http,
    url: SecretString,
    words: Arc<Words>,
}

#[async_trait]
impl Notifier for Hook {
    async fn deliver(&self, notice: &Notice) -> Result<(), NotifyError> {
        let body = json!({"text": fallback(notice, &self.words), "blocks": blocks(notice, &self.words)});
        let request = self.http.post(self.url.expose_secret()).json(&body);
        let answer = self.http.deliver(request).await?;
        if String::from_utf8_lossy(&answer.body).trim() == "ok" {
            return Ok(());
        }
        refusal(&self.http, &answer).map(|_| ())
    }

    async fn deliver_digest(&self, digest: &Digest) -> Result<(), NotifyError> {
        self.deliver(&digest.notice_within(fits_section)).await
    }

    fn longest(&self) -> Duration {
        self.http.deadline()
    }
}

/// What the Web API answered; `ok: false` is an error also with status 200.
fn refusal(http: &Http, answer: &Answer) -> Result<Value, NotifyError> {
    let told = http.json(answer)?;
    if told["ok"] == json!(true) {
        return Ok(told);
    }
    let Some(error) = told["error"].as_str() else {
        return Err(NotifyError::again("the receiver's answer is neither `ok` nor an error"));
    };
    Err(NotifyError {
        retry: PASSING.contains(&error),
        detail: format!("the receiver refused: {}", text::line(&http.clean(error), 200)),
        after: answer.after,
    })
}

/// Where a rollout's thread is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Thread {
    /// The channel's id, as the first answer named it.
    channel: String,
    /// The first message.
    ts: String,
    /// The notice that was said last, so that a second try does not say it twice.
    said: String,
    /// When the newest of them came up: the first message does not go back to what was before.
    #[serde(default)]
    newest: i64,
}

struct Api {
    http: Http,
    base: String,
    channel: String,
    words: Arc<Words>,
    kept: Kept,
    /// What is about incidents and what is not comes side by side: a rollout gets one thread all the same.
    threads: [tokio::sync::Mutex<()>; THREADS],
}

#[async_trait]
impl Notifier for Api {
    async fn deliver(&self, notice: &Notice) -> Result<(), NotifyError> {
        if notice.rollout.is_empty() {
            return self.post(notice, None).await.map(|_| ());
        }
        let _one = self.threads[place(&notice.rollout)].lock().await;
        let key = format!("thread/{}", notice.rollout);
        let known = self.kept.recall(&key).await?;
        let known: Option<Thread> = known.and_then(|text| serde_json::from_str(&text).ok());
        let Some(thread) = known else { return self.begin(notice, &key).await };
        if thread.said != notice.key {
            match self.post(notice, Some(&thread)).await {
                Err(error) if is_gone(&error) => return self.begin(notice, &key).await,
                other => other?,
            };
            let newest = thread.newest.max(notice.at.0);
            let said = Thread { said: notice.key.clone(), newest, ..thread.clone() };
            self.keep(&key, &said, notice).await;
        }
        if notice.at.0 < thread.newest {
            // It has waited for the end of quiet hours.
            return Ok(());
        }
        match self.update(notice, &thread).await {
            Err(error) if is_gone(&error) => Ok(()),
            other => other,
        }
    }

    async fn deliver_digest(&self, digest: &Digest) -> Result<(), NotifyError> {
        self.deliver(&digest.notice_within(fits_section)).await
    }

    /// The message, and the thread's first one; and the same of another notice that comes before it.
    fn longest(&self) -> Duration {
        4 * self.http.deadline()
    }
}

fn place(rollout: &str) -> usize {
    rollout.bytes().fold(0, |sum, byte| (sum * 31 + usize::from(byte)) % THREADS)
}

fn is_gone(error: &NotifyError) -> bool {
    !error.retry && GONE.iter().any(|gone| error.detail.ends_with(gone))
}

impl Api {
    /// The first message of a rollout.
    async fn begin(&self, notice: &Notice, key: &str) -> Result<(), NotifyError> {
        let thread = self.post(notice, None).await?;
        self.keep(key, &thread, notice).await;
        Ok(())
    }

    async fn keep(&self, key: &str, thread: &Thread, notice: &Notice) {
        if let Ok(text) = serde_json::to_string(thread) {
            self.kept.remember(key, &text, notice.at).await;
        }
    }

    async fn post(&self, notice: &Notice, thread: Option<&Thread>) -> Result<Thread, NotifyError> {
        let mut body = self.body(notice, thread.map_or(&self.channel, |thread| &thread.channel));
        body["unfurl_links"] = json!(false);
        if let Some(thread) = thread {
            body["thread_ts"] = json!(thread.ts);
        }
        let told = self.call("chat.postMessage", &body).await?;
        match (told["channel"].as_str(), told["ts"].as_str()) {
            (Some(channel), Some(ts)) => {
                let (channel, ts) = (channel.to_owned(), ts.to_owned());
                Ok(Thread { channel, ts, said: notice.key.clone(), newest: notice.at.0 })
            }
            _ => Err(NotifyError::again("the receiver's answer names no message")),
        }
    }

    /// The thread's first message shows the newest state.
    async fn update(&self, notice: &Notice, thread: &Thread) -> Result<(), NotifyError> {
        let mut body = self.body(notice, &thread.channel);
        body["ts"] = json!(thread.ts);
        self.call("chat.update", &body).await.map(|_| ())
    }

    fn body(&self, notice: &Notice, channel: &str) -> Value {
        json!({
            "channel": channel,
            "text": fallback(notice, &self.words),
            "blocks": blocks(notice, &self.words),
        })
    }

    async fn call(&self, method: &str, body: &Value) -> Result<Value, NotifyError> {
        let answer = self.http.deliver(self.http.post(&format!("{}/{method}", self.base)).json(body)).await?;
        refusal(&self.http, &answer)
    }
}
