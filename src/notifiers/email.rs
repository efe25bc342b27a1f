//! Mail by SMTP, as plain text and HTML. The mails of a rollout refer to its first one, so that they are
//! shown as one conversation; a mail that is sent again has the same `Message-ID`.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use async_trait::async_trait;
use lettre::address::Envelope;
use lettre::message::{Mailbox, MultiPart};
use lettre::transport::smtp::authentication::Credentials;
use lettre::transport::smtp::client::{Certificate, Tls, TlsParameters};
use lettre::{Address, AsyncSmtpTransport, AsyncTransport, Message, Tokio1Executor};
use secrecy::ExposeSecret;
use serde_json::json;
use sha2::{Digest, Sha256};

use super::{Kept, NotifierBuildError, http, mail_text, secret, text};
use crate::core::notice::Notice;
use crate::core::time::Timestamp;
use crate::messages::Words;
use crate::outbound::redact::Secrets;
use crate::outbound::sign::hexadecimal;
use crate::ports::{Clock, Notifier, NotifyError};
use crate::secrets::SecretSource;

const MOST_SUBJECT: usize = 200;

/// Where mail goes, and how.
#[derive(Clone, Debug, PartialEq)]
pub struct EmailConfig {
    /// The SMTP server.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// How the connection is protected.
    pub tls: MailTls,
    /// An authority that is trusted beside the machine's own, in PEM.
    pub ca_file: Option<PathBuf>,
    /// The user and where the password is.
    pub login: Option<(String, SecretSource)>,
    /// The sender.
    pub from: Mailbox,
    /// The receivers.
    pub to: Vec<Mailbox>,
    /// For each attempt, from the connection to the last answer.
    pub deadline: Duration,
}

/// How a connection to an SMTP server is protected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MailTls {
    /// Begins in plain text and must change to TLS.
    Starttls,
    /// TLS from the first byte.
    Implicit,
    /// Not at all; only to this machine.
    None,
}

impl EmailConfig {
    /// Builds the channel.
    ///
    /// # Errors
    /// If a secret or the authority's certificate cannot be read.
    pub(super) fn build(
        &self,
        words: &Arc<Words>,
        kept: Kept,
        clock: Arc<dyn Clock>,
    ) -> Result<Arc<dyn Notifier>, NotifierBuildError> {
        let tls = match self.tls {
            MailTls::None => Tls::None,
            MailTls::Starttls => Tls::Required(self.parameters()?),
            MailTls::Implicit => Tls::Wrapper(self.parameters()?),
        };
        let mut builder = AsyncSmtpTransport::<Tokio1Executor>::builder_dangerous(&self.host)
            .port(self.port)
            .tls(tls)
            .timeout(Some(self.deadline));
        let mut secrets = Vec::new();
        if let Some((user, source)) = &self.login {
            let password = secret("password", source)?;
            builder =
                builder.credentials(Credentials::new(user.clone(), password.expose_secret().to_owned()));
            secrets.push(password);
        }
        Ok(Arc::new(Email {
            transport: builder.build(),
            config: self.clone(),
            secrets: Secrets::new(&secrets),
            words: words.clone(),
            kept,
            clock,
        }))
    }

    fn parameters(&self) -> Result<TlsParameters, NotifierBuildError> {
        let mut builder = TlsParameters::builder(self.host.clone());
        if let Some(path) = &self.ca_file {
            let wrong = |why: String| NotifierBuildError(format!("ca_file {}: {why}", path.display()));
            let pem = std::fs::read(path).map_err(|error| wrong(error.to_string()))?;
            let certificate = Certificate::from_pem(&pem).map_err(|error| wrong(error.to_string()))?;
            builder = builder.add_root_certificate(certificate);
        }
        builder.build().map_err(|error| NotifierBuildError(format!("tls: {error}")))
    }
}

struct Email {
    transport: AsyncSmtpTransport<Tokio1Executor>,
    config: EmailConfig,
    secrets: Secrets,
    words: Arc<Words>,
    kept: Kept,
    clock: Arc<dyn Clock>,
}

#[async_trait]
impl Notifier for Email {
    async fn deliver(&self, notice: &Notice) -> Result<(), NotifyError> {
        let key = format!("first/{}", notice.rollout);
        let first = if notice.rollout.is_empty() { None } else { self.kept.recall(&key).await? };
        let id = self.id(&notice.key);
        let refused = self.refused().await?;
        let mail = self.mail(notice, &id, first.as_deref().filter(|first| *first != id), &refused)?;
        let known = format!("sent/{}", text::key_within(&notice.key, 200));
        let earlier = self.kept.recall(&known).await?;
        let earlier: Option<BTreeSet<String>> = earlier.and_then(|text| serde_json::from_str(&text).ok());
        match earlier {
            None if refused.is_empty() => match self.send(&mail, None).await {
                // Somebody is refused, and so nobody has it.
                Err(error) if !error.retry && self.config.to.len() > 1 => {
                    self.send_to_each(&mail, notice, &known, BTreeSet::new()).await?;
                }
                result => result?,
            },
            earlier => self.send_to_each(&mail, notice, &known, earlier.unwrap_or_default()).await?,
        }
        if first.is_none() && !notice.rollout.is_empty() {
            self.kept.remember(&key, &id, notice.at).await;
        }
        Ok(())
    }

    /// To all at once, and then to each alone.
    fn longest(&self) -> Duration {
        let tries = u32::try_from(self.config.to.len()).unwrap_or(u32::MAX).saturating_add(1);
        self.config.deadline.saturating_mul(tries)
    }
}

/// Where it is kept whom the server refuses.
const REFUSED: &str = "refused";

impl Email {
    /// Whom the server refused the last time, and in which words.
    async fn refused(&self) -> Result<BTreeMap<String, String>, NotifyError> {
        let kept = self.kept.recall(REFUSED).await?;
        let kept: Option<BTreeMap<String, String>> = kept.and_then(|text| serde_json::from_str(&text).ok());
        let mut kept = kept.unwrap_or_default();
        kept.retain(|address, _| self.config.to.iter().any(|to| to.email.to_string() == *address));
        Ok(kept)
    }

    /// To all receivers, or to one of them.
    async fn send(&self, mail: &Message, to: Option<&Address>) -> Result<(), NotifyError> {
        let envelope = match to {
            None => mail.envelope().clone(),
            Some(to) => Envelope::new(Some(self.config.from.email.clone()), vec![to.clone()])
                .map_err(|error| NotifyError::never(format!("mail: {error}")))?,
        };
        let raw = mail.formatted();
        let sent = tokio::time::timeout(self.config.deadline, self.transport.send_raw(&envelope, &raw)).await;
        sent.map_err(|_| NotifyError::again("no answer in time"))?.map_err(|error| self.refusal(&error))?;
        Ok(())
    }

    /// Each gets it alone, who has not got it yet: one that is refused keeps it from nobody. Who is refused is
    /// told in the log, and in the mails that follow.
    async fn send_to_each(
        &self,
        mail: &Message,
        notice: &Notice,
        known: &str,
        mut done: BTreeSet<String>,
    ) -> Result<(), NotifyError> {
        let mut refused = BTreeMap::new();
        let mut failed = None;
        for to in &self.config.to {
            let address = to.email.to_string();
            if done.contains(&address) {
                continue;
            }
            match self.send(mail, Some(&to.email)).await {
                Ok(()) => {
                    done.insert(address);
                }
                Err(error) if error.retry => failed = Some(error),
                Err(error) => {
                    tracing::error!(%address, detail = %error.detail, "a receiver of mail is refused");
                    refused.insert(address, error.detail);
                }
            }
        }
        self.kept.remember(known, &json!(done).to_string(), notice.at).await;
        self.kept.remember(REFUSED, &json!(refused).to_string(), notice.at).await;
        match (failed, done.is_empty()) {
            (Some(error), _) => Err(error),
            (None, true) => Err(NotifyError::never(refused.into_values().next().unwrap_or_default())),
            (None, false) => Ok(()),
        }
    }

    /// `<HASH@DOMAIN>`: the same for a notice, whenever it is sent.
    fn id(&self, key: &str) -> String {
        let hash = hexadecimal(&Sha256::digest(key));
        format!("<serin.{}@{}>", &hash[..32], self.config.from.email.domain())
    }

    fn mail(
        &self,
        notice: &Notice,
        id: &str,
        first: Option<&str>,
        refused: &BTreeMap<String, String>,
    ) -> Result<Message, NotifyError> {
        let message = self.words.message(notice);
        let mut builder = Message::builder()
            .from(self.config.from.clone())
            .subject(text::line(&message.title, MOST_SUBJECT))
            .date(system_time(self.clock.wall()))
            .message_id(Some(id.to_owned()));
        for receiver in &self.config.to {
            builder = builder.to(receiver.clone());
        }
        if let Some(first) = first {
            builder = builder.in_reply_to(first.to_owned()).references(first.to_owned());
        }
        let plain = mail_text::plain(notice, &self.words, refused);
        let html = mail_text::html(notice, &self.words, refused);
        builder
            .multipart(MultiPart::alternative_plain_html(plain, html))
            .map_err(|error| NotifyError::never(format!("the mail cannot be made: {error}")))
    }

    /// What a server refuses with 5xx it refuses again; everything else may pass.
    fn refusal(&self, error: &lettre::transport::smtp::Error) -> NotifyError {
        let mut detail = error.to_string();
        if let Some(cause) = std::error::Error::source(error) {
            let cause = cause.to_string();
            if !detail.contains(&cause) {
                detail.push_str(&format!(": {cause}"));
            }
        }
        let detail = http::clean(&format!("mail: {detail}"), &self.secrets);
        NotifyError { retry: !error.is_permanent(), detail, after: None }
    }
}

fn system_time(at: Timestamp) -> std::time::SystemTime {
    UNIX_EPOCH + Duration::from_millis(u64::try_from(at.0).unwrap_or(0))
}
