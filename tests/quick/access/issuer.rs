//! An issuer of tokens on this machine, with keys made at run time.

use std::sync::{Arc, Mutex};

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::get;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64;
use jsonwebtoken::jwk::Jwk;
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use rcgen::{KeyPair, PKCS_ECDSA_P256_SHA256, PKCS_ED25519, PKCS_RSA_SHA256, RsaKeySize};
use serde_json::{Value, json};
use serin::config::OidcConfig;
use serin::core::access::{Grant, Role, Scope};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use crate::api::example::NOW;

/// A key that signs.
pub struct Key {
    pub kid: &'static str,
    pub algorithm: Algorithm,
    pub pair: KeyPair,
}

impl Key {
    pub fn new(kid: &'static str, algorithm: Algorithm) -> Key {
        let pair = match algorithm {
            Algorithm::RS256 => KeyPair::generate_rsa_for(&PKCS_RSA_SHA256, RsaKeySize::_2048),
            Algorithm::ES256 => KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256),
            _ => KeyPair::generate_for(&PKCS_ED25519),
        };
        Key { kid, algorithm, pair: pair.unwrap() }
    }

    fn encoding(&self) -> EncodingKey {
        let pem = self.pair.serialize_pem();
        match self.algorithm {
            Algorithm::RS256 => EncodingKey::from_rsa_pem(pem.as_bytes()).unwrap(),
            Algorithm::ES256 => EncodingKey::from_ec_pem(pem.as_bytes()).unwrap(),
            _ => EncodingKey::from_ed_pem(pem.as_bytes()).unwrap(),
        }
    }

    /// As it is published.
    pub fn jwk(&self) -> Value {
        let raw = self.pair.public_key_raw();
        let mut jwk = match self.algorithm {
            Algorithm::RS256 => {
                serde_json::to_value(Jwk::from_encoding_key(&self.encoding(), Algorithm::RS256).unwrap())
                    .unwrap()
            }
            Algorithm::ES256 => {
                let (x, y) = (BASE64.encode(&raw[1..33]), BASE64.encode(&raw[33..]));
                json!({ "kty": "EC", "crv": "P-256", "x": x, "y": y })
            }
            _ => json!({ "kty": "OKP", "crv": "Ed25519", "x": BASE64.encode(raw) }),
        };
        jwk["kid"] = json!(self.kid);
        jwk["use"] = json!("sig");
        jwk
    }

    /// A token with these claims.
    pub fn sign(&self, claims: &Value) -> String {
        let header = Header { kid: Some(self.kid.to_owned()), ..Header::new(self.algorithm) };
        jsonwebtoken::encode(&header, claims, &self.encoding()).unwrap()
    }
}

/// What it publishes, and how often it was asked.
#[derive(Default)]
pub struct Published {
    pub keys: Vec<Value>,
    pub issuer: Option<String>,
    pub jwks_uri: Option<String>,
    pub broken: bool,
    pub hangs: bool,
    pub asked: u32,
}

pub struct Issuer {
    pub url: String,
    pub published: Arc<Mutex<Published>>,
    serving: JoinHandle<()>,
}

impl Drop for Issuer {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

type Shared = (String, Arc<Mutex<Published>>);

impl Issuer {
    pub async fn start(keys: &[&Key]) -> Issuer {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/realm", listener.local_addr().unwrap());
        let keys = keys.iter().map(|key| key.jwk()).collect();
        let published = Arc::new(Mutex::new(Published { keys, ..Published::default() }));
        let router = Router::new()
            .route("/realm/.well-known/openid-configuration", get(discovery))
            .route("/realm/keys", get(keys_page))
            .with_state((url.clone(), published.clone()));
        let serving = tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        Issuer { url, published, serving }
    }

    pub fn change(&self, change: impl FnOnce(&mut Published)) {
        change(&mut self.published.lock().unwrap());
    }

    pub fn asked(&self) -> u32 {
        self.published.lock().unwrap().asked
    }

    pub fn config(&self) -> OidcConfig {
        let grant = |role, services: &[&str]| Grant { role, scope: Scope::new(services).unwrap() };
        OidcConfig {
            issuer: self.url.clone(),
            audience: "serin".into(),
            roles_claim: "groups".into(),
            roles: [
                ("engineers".to_owned(), grant(Role::Operator, &["check*"])),
                ("everybody".to_owned(), grant(Role::Viewer, &["*"])),
                ("owners".to_owned(), grant(Role::Admin, &["*"])),
            ]
            .into(),
            name_claim: "email".into(),
            ca_file: None,
        }
    }

    /// Claims that are right.
    pub fn claims(&self) -> Value {
        let now = NOW.0 / 1000;
        json!({
            "iss": self.url, "aud": "serin", "exp": now + 600, "nbf": now - 10, "iat": now,
            "sub": "7", "email": "anna@example.com", "groups": ["engineers", "everybody"],
        })
    }
}

async fn discovery(State((url, published)): State<Shared>) -> Result<axum::Json<Value>, StatusCode> {
    let hangs = published.lock().unwrap().hangs;
    if hangs {
        std::future::pending::<()>().await;
    }
    let mut published = published.lock().unwrap();
    published.asked += 1;
    if published.broken {
        return Err(StatusCode::BAD_GATEWAY);
    }
    let issuer = published.issuer.clone().unwrap_or_else(|| url.clone());
    let jwks_uri = published.jwks_uri.clone().unwrap_or_else(|| format!("{url}/keys"));
    Ok(axum::Json(json!({ "issuer": issuer, "jwks_uri": jwks_uri })))
}

async fn keys_page(State((_, published)): State<Shared>) -> axum::Json<Value> {
    axum::Json(json!({ "keys": published.lock().unwrap().keys }))
}
