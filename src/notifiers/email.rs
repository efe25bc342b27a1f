//! Mail by SMTP, as plain text and HTML. The mails of a rollout refer to its first one, so that they are
//! shown as one conversation; a mail that is sent again has the same `Message-ID`.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use async_trait::async_trait;
use lettre::message::{Mailbox, MultiPart};
use lettre::transport::smtp::authentication::Credentials;
use lettre::transport::smtp::client::{Certificate, Tls, TlsParameters};
use lettre::{AsyncSmtpTransport, AsyncTransport, Message, Tokio1Executor};
use secrecy::ExposeSecret;
use sha2::{Digest, Sha256};

use super::{Kept, NotifierBuildError, http, mail_text, secret, text};
use crate::core::rollout::Notice;
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
        let mail = self.mail(notice, &id, first.as_deref().filter(|first| *first != id))?;
        let sent = tokio::time::timeout(self.config.deadline, self.transport.send(mail)).await;
        sent.map_err(|_| NotifyError::again("no answer in time"))?.map_err(|error| self.refusal(&error))?;
        if first.is_none() && !notice.rollout.is_empty() {
            self.kept.remember(&key, &id, notice.at).await;
        }
        Ok(())
    }

    fn longest(&self) -> Duration {
        self.config.deadline
    }
}

impl Email {
    /// `<HASH@DOMAIN>`: the same for a notice, whenever it is sent.
    fn id(&self, key: &str) -> String {
        let hash = hexadecimal(&Sha256::digest(key));
        format!("<serin.{}@{}>", &hash[..32], self.config.from.email.domain())
    }

    fn mail(&self, notice: &Notice, id: &str, first: Option<&str>) -> Result<Message, NotifyError> {
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
        let plain = mail_text::plain(notice, &self.words);
        let html = mail_text::html(notice, &self.words);
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
