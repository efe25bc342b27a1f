//! The daemon's API, as a client sees it.

use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use reqwest::{Method, RequestBuilder, StatusCode};
use secrecy::{ExposeSecret, SecretString};
use serde::de::DeserializeOwned;
use thiserror::Error;
use url::Url;

use super::{Exit, Global, complain};
use crate::contract::gates::FreezeView;
use crate::contract::problem::Problem;
use crate::contract::{CommandView, EventView, Page, PolicyView, ReloadView, RolloutView, TargetView};
use crate::core::metric::TickObservation;
use crate::outbound::answer::{Fault, whole};
use crate::outbound::client::Builder;

/// Longest answer that is read, in bytes.
const LONGEST: usize = 64 * 1024 * 1024;
/// For each call.
const DEADLINE: Duration = Duration::from_secs(20);
/// For its connection.
const CONNECT_WITHIN: Duration = Duration::from_secs(5);

/// Why a call gave nothing.
#[derive(Debug, Error)]
pub enum ClientError {
    /// No connection, or it broke off.
    #[error("the daemon at {server} cannot be reached: {detail}")]
    Unreachable {
        /// The address.
        server: Url,
        /// Why.
        detail: String,
    },
    /// The daemon said no.
    #[error("{}", sentence(.0))]
    Problem(Box<Problem>),
    /// Something answered that is not Serin.
    #[error("the answer from {server} is not one of Serin's: {detail}")]
    Strange {
        /// The address.
        server: Url,
        /// What came.
        detail: String,
    },
    /// The address cannot be used.
    #[error("{0} is not an address of a daemon; it must begin with http:// or https://")]
    Address(Url),
    /// The token or the authorities' certificates cannot be used.
    #[error("{0}")]
    Credentials(String),
}

fn sentence(problem: &Problem) -> String {
    problem.detail.clone()
}

impl ClientError {
    /// The exit code's meaning.
    pub fn exit(&self) -> Exit {
        match self {
            ClientError::Unreachable { .. } | ClientError::Strange { .. } => Exit::Unreachable,
            ClientError::Address(_) | ClientError::Credentials(_) => Exit::Usage,
            ClientError::Problem(problem) => match problem.status {
                409 => Exit::No,
                400..500 => Exit::Usage,
                _ => Exit::Unreachable,
            },
        }
    }

    /// True if the daemon may be there again in a moment.
    pub fn is_passing(&self) -> bool {
        match self {
            ClientError::Unreachable { .. } => true,
            ClientError::Problem(problem) => problem.status == 503,
            _ => false,
        }
    }
}

/// A client of one daemon.
#[derive(Clone, Debug)]
pub struct Client {
    server: Url,
    http: reqwest::Client,
    /// Its debug output does not show it.
    token: Option<SecretString>,
}

impl Client {
    /// A client of the daemon at `server`.
    ///
    /// # Errors
    /// If the address is not one of HTTP.
    pub fn new(server: &Url) -> Result<Client, ClientError> {
        Client::with(server, None, None)
    }

    /// A client as the command line says, with the token of its file or of the variable `SERIN_TOKEN`.
    ///
    /// # Errors
    /// If the address is not one of HTTP, or a file cannot be used.
    pub fn of(global: &Global) -> Result<Client, ClientError> {
        let read = |what: &str, path: &Path| {
            std::fs::read(path).map_err(|error| {
                ClientError::Credentials(format!("the {what} {} cannot be read: {error}", path.display()))
            })
        };
        let ca = global.ca.as_deref().map(|path| read("file of --ca", path)).transpose()?;
        let token = match &global.token_file {
            Some(path) => Some(String::from_utf8_lossy(&read("token file", path)?).trim().to_owned()),
            None => std::env::var("SERIN_TOKEN").ok().map(|token| token.trim().to_owned()),
        };
        let token = token.filter(|token| global.token_file.is_some() || !token.is_empty());
        Client::with(&global.server, token.map(SecretString::from), ca.as_deref())
    }

    fn with(server: &Url, token: Option<SecretString>, ca: Option<&[u8]>) -> Result<Client, ClientError> {
        let plain = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_graphic());
        if token.as_ref().is_some_and(|token| !plain(token.expose_secret())) {
            return Err(ClientError::Credentials(
                "the token is empty, or has characters that none has".to_owned(),
            ));
        }
        if !matches!(server.scheme(), "http" | "https") || server.cannot_be_a_base() {
            return Err(ClientError::Address(server.clone()));
        }
        let mut builder = Builder::new(DEADLINE).connect_within(CONNECT_WITHIN);
        let local = match server.host() {
            Some(url::Host::Domain(name)) => name == "localhost",
            Some(url::Host::Ipv4(ip)) => ip.is_loopback(),
            Some(url::Host::Ipv6(ip)) => ip.is_loopback(),
            None => false,
        };
        if let Some(ca) = ca {
            builder = builder
                .authorities(ca)
                .map_err(|error| ClientError::Credentials(format!("the file of --ca: {error}")))?;
        }
        if token.is_some() && server.scheme() == "http" && !local {
            complain(
                "the token goes over plain HTTP, where others may read it; use https if the daemon has it",
            );
        }
        if local {
            // A proxy for the world cannot reach this machine's own loopback.
            builder = builder.without_proxy();
        }
        let http = builder
            .build()
            .map_err(|e| ClientError::Unreachable { server: server.clone(), detail: e.to_string() })?;
        Ok(Client { server: server.clone(), http, token })
    }

    fn url(&self, segments: &[&str], query: &[(&str, String)]) -> Url {
        let mut url = self.server.clone();
        if let Ok(mut path) = url.path_segments_mut() {
            path.pop_if_empty().extend(["api", "v1"]).extend(segments);
        }
        if !query.is_empty() {
            url.query_pairs_mut().extend_pairs(query);
        }
        url
    }

    async fn send(&self, request: RequestBuilder) -> Result<(StatusCode, Bytes), ClientError> {
        let failed = |fault: Fault| match fault {
            Fault::TooLarge(most) => self.strange(format!("it is longer than {most} bytes")),
            fault => ClientError::Unreachable { server: self.server.clone(), detail: fault.to_string() },
        };
        let request = match &self.token {
            Some(token) => request.bearer_auth(token.expose_secret()),
            None => request,
        };
        let answer = request.send().await.map_err(|error| failed(error.into()))?;
        let status = answer.status();
        let failing = answer.headers().get("serin-store-failing-since").and_then(|since| since.to_str().ok());
        if let Some(since) = failing.filter(|_| status.is_success()) {
            static ONCE: std::sync::Once = std::sync::Once::new();
            ONCE.call_once(|| complain(&format!("the store of the daemon has taken nothing since {since}")));
        }
        let body = whole(answer, LONGEST).await.map_err(failed)?;
        if status.is_success() {
            return Ok((status, body));
        }
        Err(match serde_json::from_slice::<Problem>(&body) {
            Ok(problem) => ClientError::Problem(Box::new(problem)),
            Err(_) => self.strange(format!("status {status}")),
        })
    }

    fn strange(&self, detail: String) -> ClientError {
        ClientError::Strange { server: self.server.clone(), detail }
    }

    fn read<T: DeserializeOwned>(&self, body: &[u8]) -> Result<T, ClientError> {
        serde_json::from_slice(body).map_err(|e| self.strange(e.to_string()))
    }

    /// A rollout's report in the form `json`, `markdown` or `html`.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn report(&self, id: &str, form: &str) -> Result<String, ClientError> {
        let query = [("form", form.to_owned())];
        let (_, body) = self.send(self.http.get(self.url(&["rollouts", id, "report"], &query))).await?;
        String::from_utf8(body.to_vec()).map_err(|e| self.strange(e.to_string()))
    }

    async fn get<T: DeserializeOwned>(
        &self,
        segments: &[&str],
        query: &[(&str, String)],
    ) -> Result<T, ClientError> {
        let (_, body) = self.send(self.http.get(self.url(segments, query))).await?;
        self.read(&body)
    }

    async fn post<T: DeserializeOwned>(
        &self,
        segments: &[&str],
        key: &str,
        body: &serde_json::Value,
    ) -> Result<T, ClientError> {
        let request = self
            .http
            .request(Method::POST, self.url(segments, &[]))
            .header("Idempotency-Key", key)
            .json(body);
        let (_, body) = self.send(request).await?;
        self.read(&body)
    }

    /// Starts a rollout.
    pub async fn start(&self, key: &str, body: &serde_json::Value) -> Result<RolloutView, ClientError> {
        self.post(&["rollouts"], key, body).await
    }

    /// Puts a command into a rollout's inbox.
    pub async fn command(
        &self,
        id: &str,
        key: &str,
        body: &serde_json::Value,
    ) -> Result<CommandView, ClientError> {
        self.post(&["rollouts", id, "commands"], key, body).await
    }

    /// One rollout.
    pub async fn rollout(&self, id: &str) -> Result<RolloutView, ClientError> {
        self.get(&["rollouts", id], &[]).await
    }

    /// A page of rollouts, newest first.
    pub async fn rollouts(&self, query: &[(&str, String)]) -> Result<Page<RolloutView>, ClientError> {
        self.get(&["rollouts"], query).await
    }

    /// Log lines after `after`.
    pub async fn events(&self, id: &str, after: u64) -> Result<Page<EventView>, ClientError> {
        self.get(&["rollouts", id, "events"], &[("after", after.to_string())]).await
    }

    /// Observations after tick `after`.
    pub async fn observations(&self, id: &str, after: u64) -> Result<Page<TickObservation>, ClientError> {
        self.get(&["rollouts", id, "observations"], &[("after", after.to_string())]).await
    }

    /// All targets.
    pub async fn targets(&self) -> Result<Page<TargetView>, ClientError> {
        self.get(&["targets"], &[]).await
    }

    /// One target.
    pub async fn target(&self, name: &str) -> Result<TargetView, ClientError> {
        self.get(&["targets", name], &[]).await
    }

    /// Decides about what was found at a target's router: `adopt` or `zero`.
    pub async fn decide_target(&self, name: &str, word: &str, by: &str) -> Result<TargetView, ClientError> {
        let key = format!("cli-{}", uuid::Uuid::now_v7().simple());
        self.post(&["targets", name, word], &key, &serde_json::json!({ "by": by })).await
    }

    /// Freezes, newest first.
    pub async fn freezes(&self) -> Result<Page<FreezeView>, ClientError> {
        self.get(&["freezes"], &[]).await
    }

    /// Starts a freeze.
    pub async fn start_freeze(&self, body: &serde_json::Value) -> Result<FreezeView, ClientError> {
        self.post(&["freezes"], &format!("cli-{}", uuid::Uuid::now_v7().simple()), body).await
    }

    /// Ends a freeze.
    pub async fn end_freeze(&self, id: &str) -> Result<FreezeView, ClientError> {
        let request = self.http.request(Method::DELETE, self.url(&["freezes", id], &[]));
        let (_, body) = self.send(request).await?;
        self.read(&body)
    }

    /// Declares a target or policy from a document; true if it is new. `kind` is `targets` or `policies`.
    pub async fn declare(
        &self,
        kind: &str,
        document: Vec<u8>,
    ) -> Result<(bool, serde_json::Value), ClientError> {
        let request = self
            .http
            .request(Method::POST, self.url(&[kind], &[]))
            .header(reqwest::header::CONTENT_TYPE, "application/yaml")
            .body(document);
        let (status, body) = self.send(request).await?;
        Ok((status == StatusCode::CREATED, self.read(&body)?))
    }

    /// Removes a declaration. `kind` is `targets` or `policies`.
    pub async fn delete_declared(&self, kind: &str, name: &str) -> Result<(), ClientError> {
        self.send(self.http.request(Method::DELETE, self.url(&[kind, name], &[]))).await.map(|_| ())
    }

    /// Makes the daemon reload its configuration file.
    pub async fn reload(&self) -> Result<ReloadView, ClientError> {
        let (_, body) = self.send(self.http.request(Method::POST, self.url(&["reload"], &[]))).await?;
        self.read(&body)
    }

    /// One policy of the daemon.
    pub async fn policy(&self, name: &str) -> Result<PolicyView, ClientError> {
        self.get(&["policies", name], &[]).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client(server: &str) -> Client {
        Client::new(&server.parse().unwrap()).unwrap()
    }

    #[test]
    fn names_are_escaped_and_a_prefix_is_kept() {
        let url = client("http://127.0.0.1:7423").url(&["targets", "a/b?c"], &[]);
        assert_eq!(url.as_str(), "http://127.0.0.1:7423/api/v1/targets/a%2Fb%3Fc");
        let url = client("https://ops.example/serin/").url(&["rollouts"], &[("target", "a&b".into())]);
        assert_eq!(url.as_str(), "https://ops.example/serin/api/v1/rollouts?target=a%26b");
    }

    #[test]
    fn a_token_is_in_no_debug_output_and_must_be_one() {
        let server: Url = "https://ops.example".parse().unwrap();
        let client = Client::with(&server, Some("serin_hunter2".to_owned().into()), None).unwrap();
        let request =
            client.http.get(server.clone()).bearer_auth(client.token.as_ref().unwrap().expose_secret());
        for shown in [format!("{client:?}"), format!("{request:?}"), format!("{:?}", request.build())] {
            assert!(!shown.contains("hunter2"), "{shown}");
        }
        for token in ["", "a b", "a\nb", "ü"] {
            let error = Client::with(&server, Some(token.to_owned().into()), None).unwrap_err();
            assert_eq!(error.exit(), Exit::Usage, "{token:?}");
        }
        assert!(Client::with(&server, None, Some(b"no certificate")).is_err());
    }

    #[test]
    fn other_schemes_are_refused() {
        for server in ["ftp://example.org", "mailto:x@example.org"] {
            let error = Client::new(&server.parse().unwrap()).unwrap_err();
            assert_eq!(error.exit(), Exit::Usage, "{server}");
        }
    }

    #[test]
    fn exit_codes_of_answers() {
        for (status, exit) in [
            (409, Exit::No),
            (400, Exit::Usage),
            (404, Exit::Usage),
            (422, Exit::Usage),
            (500, Exit::Unreachable),
            (503, Exit::Unreachable),
        ] {
            let status = StatusCode::from_u16(status).unwrap();
            let problem = Problem::new(status, "code", "title", "detail");
            assert_eq!(ClientError::Problem(Box::new(problem)).exit(), exit, "{status}");
        }
    }
}
