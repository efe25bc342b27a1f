//! The issuer's keys: fetched by discovery, kept, and fetched again when they are old or one is missing.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::http::StatusCode;
use jsonwebtoken::jwk::{AlgorithmParameters, EllipticCurve, Jwk, PublicKeyUse};
use jsonwebtoken::{Algorithm, DecodingKey};
use serde::Deserialize;
use serde_json::Value;

use super::super::identity::wrong;
use super::super::remembered::AT_ONCE;
use super::super::{OidcConfig, lock};
use crate::api::problem::Problem;
use crate::config::is_safe_url;
use crate::outbound::answer::{Fault, whole};
use crate::outbound::client::Builder;
use crate::ports::Clock;

/// Keys older than this are fetched again at the next use.
const FRESH: Duration = Duration::from_secs(3600);
/// Keys older than this are not used any more, should the issuer be away for so long.
const USABLE: Duration = Duration::from_secs(4 * 3600);
/// Between two attempts; a caller who makes up names of keys causes no more than that.
const PAUSE: Duration = Duration::from_secs(10);
/// For each of the two calls.
const DEADLINE: Duration = Duration::from_secs(4);
/// Largest answer, in bytes.
const LARGEST: usize = 512 * 1024;
/// Keys that are kept.
const MOST_KEYS: usize = 100;

/// The keys of one issuer.
pub(super) struct Keys {
    issuer: String,
    http: reqwest::Client,
    state: Mutex<State>,
    /// Held while they are fetched, so that it is done once at a time.
    fetching: tokio::sync::Mutex<()>,
}

#[derive(Clone, Default)]
struct State {
    keys: Arc<Vec<Key>>,
    /// On the monotonic clock.
    fetched: Option<Duration>,
    tried: Option<Duration>,
    /// Why the last attempt gave nothing.
    fault: Option<String>,
}

struct Key {
    kid: Option<String>,
    algorithm: Algorithm,
    key: Arc<DecodingKey>,
}

impl State {
    fn age(&self, now: Duration) -> Duration {
        self.fetched.map_or(Duration::MAX, |at| now.saturating_sub(at))
    }

    /// The key of that name; without a name, the only one that fits.
    fn find(&self, kid: Option<&str>, algorithm: Algorithm) -> Option<Arc<DecodingKey>> {
        let mut fitting = self
            .keys
            .iter()
            .filter(|key| key.algorithm == algorithm)
            .filter(|key| kid.is_none() || key.kid.as_deref() == kid);
        match (fitting.next(), fitting.next()) {
            (Some(key), None) => Some(key.key.clone()),
            _ => None,
        }
    }
}

impl Keys {
    pub(super) fn new(config: &OidcConfig) -> Result<Keys, String> {
        let mut builder = Builder::new(DEADLINE);
        if config.issuer.starts_with("http://") {
            // Only on this machine, where no proxy for the world leads to.
            builder = builder.without_proxy();
        }
        if let Some(path) = &config.ca_file {
            builder = builder.authorities_of(path).map_err(|error| format!("ca_file {error}"))?;
        }
        let http = builder.build().map_err(|error| error.to_string())?;
        let state = Mutex::default();
        Ok(Keys { issuer: config.issuer.clone(), http, state, fetching: tokio::sync::Mutex::new(()) })
    }

    /// The key that a token names. 401 if the issuer has none of that name, 503 if that cannot be known
    /// because the issuer does not answer. What is urgent does not wait for an issuer that hangs where a known key will
    /// do.
    pub(super) async fn find(
        self: &Arc<Self>,
        kid: Option<&str>,
        algorithm: Algorithm,
        clock: &Arc<dyn Clock>,
        is_urgent: bool,
    ) -> Result<Arc<DecodingKey>, Problem> {
        let now = clock.monotonic();
        let state = lock(&self.state).clone();
        if state.age(now) < FRESH
            && let Some(key) = state.find(kid, algorithm)
        {
            return Ok(key);
        }
        let usable = state.find(kid, algorithm).filter(|_| state.age(now) < USABLE);
        let (keys, with) = (Arc::clone(self), Arc::clone(clock));
        match usable {
            // It goes on by itself; what is known will do meanwhile.
            Some(key) if is_urgent => {
                let fetching = tokio::spawn(async move { keys.fetch_if_nobody_does(with.as_ref()).await });
                if tokio::time::timeout(AT_ONCE, fetching).await.is_err() {
                    return Ok(key);
                }
            }
            Some(key) => {
                if !self.fetch_if_nobody_does(clock.as_ref()).await {
                    return Ok(key);
                }
            }
            None => {
                let _guard = self.fetching.lock().await;
                self.fetch_if_due(clock.as_ref()).await;
            }
        }
        let state = lock(&self.state).clone();
        if state.age(clock.monotonic()) < USABLE
            && let Some(key) = state.find(kid, algorithm)
        {
            return Ok(key);
        }
        Err(match state.fault {
            Some(fault) => Problem::new(
                StatusCode::SERVICE_UNAVAILABLE,
                "issuer_unavailable",
                "The issuer of tokens does not answer",
                format!("whether this token is right cannot be known: {fault}"),
            )
            .retry_after(10),
            None => wrong("the token is signed by a key that its issuer does not publish"),
        })
    }

    /// False if somebody fetches already.
    async fn fetch_if_nobody_does(&self, clock: &dyn Clock) -> bool {
        let Ok(_guard) = self.fetching.try_lock() else { return false };
        self.fetch_if_due(clock).await;
        true
    }

    async fn fetch_if_due(&self, clock: &dyn Clock) {
        if lock(&self.state).tried.is_none_or(|at| clock.monotonic().saturating_sub(at) >= PAUSE) {
            self.fetch(clock).await;
        }
    }

    async fn fetch(&self, clock: &dyn Clock) {
        let got = self.published().await;
        let now = clock.monotonic();
        let mut state = lock(&self.state);
        state.tried = Some(now);
        match got {
            Ok(keys) => {
                tracing::debug!(issuer = %self.issuer, keys = keys.len(), "the issuer's keys were fetched");
                *state = State { keys: Arc::new(keys), fetched: Some(now), tried: Some(now), fault: None };
            }
            Err(fault) => {
                tracing::warn!(issuer = %self.issuer, "the issuer's keys could not be fetched: {fault}");
                state.fault = Some(fault);
            }
        }
    }

    async fn published(&self) -> Result<Vec<Key>, String> {
        #[derive(Deserialize)]
        struct Discovery {
            issuer: String,
            jwks_uri: String,
        }
        #[derive(Deserialize)]
        struct Set {
            keys: Vec<Value>,
        }
        let place = format!("{}/.well-known/openid-configuration", self.issuer.trim_end_matches('/'));
        let discovery: Discovery = self.get(&place).await?;
        if discovery.issuer != self.issuer {
            return Err(format!("{place} is of the issuer {:?}", shown(&discovery.issuer)));
        }
        let downgraded = self.issuer.starts_with("https:") && !discovery.jwks_uri.starts_with("https:");
        if downgraded || !is_safe_url(&discovery.jwks_uri) {
            return Err(format!("{:?} is not a place to fetch keys from", shown(&discovery.jwks_uri)));
        }
        let set: Set = self.get(&discovery.jwks_uri).await?;
        // Keys that are of no use here, of other kinds or for other things, are no fault.
        let keys: Vec<Key> = set.keys.into_iter().take(MOST_KEYS).filter_map(key).collect();
        if keys.is_empty() {
            return Err(format!("{} has no key for RS256, ES256 or EdDSA", discovery.jwks_uri));
        }
        Ok(keys)
    }

    async fn get<T: serde::de::DeserializeOwned>(&self, url: &str) -> Result<T, String> {
        let failed = |fault: Fault| match fault {
            Fault::Timeout => format!("{url} did not answer within {} s", DEADLINE.as_secs()),
            Fault::TooLarge(most) => format!("{url} answered with more than {most} bytes"),
            Fault::Refused(why) | Fault::Lost(why) => format!("{url} cannot be reached: {why}"),
        };
        let answer = self.http.get(url).send().await.map_err(|error| failed(error.into()))?;
        if answer.status() != StatusCode::OK {
            return Err(format!("{url} answered with status {}", answer.status().as_u16()));
        }
        let body = whole(answer, LARGEST).await.map_err(failed)?;
        serde_json::from_slice(&body)
            .map_err(|error| format!("{url} did not answer as an issuer does: {error}"))
    }
}

/// A published key, if it is one for signatures that are taken. A secret (`oct`) never is.
fn key(value: Value) -> Option<Key> {
    let jwk: Jwk = serde_json::from_value(value).ok()?;
    if jwk.common.public_key_use.as_ref().is_some_and(|usage| *usage != PublicKeyUse::Signature) {
        return None;
    }
    let algorithm = match &jwk.algorithm {
        AlgorithmParameters::RSA(_) => Algorithm::RS256,
        AlgorithmParameters::EllipticCurve(key) if key.curve == EllipticCurve::P256 => Algorithm::ES256,
        AlgorithmParameters::OctetKeyPair(key) if key.curve == EllipticCurve::Ed25519 => Algorithm::EdDSA,
        _ => return None,
    };
    let named = jwk.common.key_algorithm.map(|named| named.to_string());
    let fits = |named: &str| {
        named == format!("{algorithm:?}") || (named == "Ed25519" && algorithm == Algorithm::EdDSA)
    };
    if named.as_deref().is_some_and(|named| !fits(named)) {
        return None;
    }
    let decoding = DecodingKey::from_jwk(&jwk).ok()?;
    Some(Key { kid: jwk.common.key_id, algorithm, key: Arc::new(decoding) })
}

fn shown(text: &str) -> String {
    text.chars().take(200).collect()
}
