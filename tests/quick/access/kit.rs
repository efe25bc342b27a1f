//! A daemon with two targets, authentication, and a clock that is set by hand.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use axum::Router;
use axum::body::Body;
use axum::extract::ConnectInfo;
use axum::http::{HeaderMap, Request, header};
use http_body_util::BodyExt;
use serde_json::Value;
use serin::api::{Access, Limits, router_for};
use serin::config::{Authentication, OidcConfig};
use serin::core::access::{Role, TokenRecord};
use serin::core::ids::RolloutId;
use serin::core::target::Target;
use serin::core::time::Timestamp;
use serin::engine::Handle;
use serin::ports::Clock;
use serin::secrets::tokens;
use tower::ServiceExt;

use crate::api::example::{NOW, policy, rollout, rollout_of, spec, steered};
use crate::testkit::fakes::MemoryStore;

/// A clock that goes on when it is told to.
#[derive(Clone, Default)]
pub struct Hands(Arc<Mutex<Duration>>);

impl Hands {
    pub fn advance(&self, by: Duration) {
        *self.0.lock().unwrap() += by;
    }
}

#[async_trait]
impl Clock for Hands {
    fn wall(&self) -> Timestamp {
        NOW.plus(*self.0.lock().unwrap())
    }

    fn monotonic(&self) -> Duration {
        *self.0.lock().unwrap()
    }

    async fn sleep_until(&self, _until: Duration) {
        std::future::pending::<()>().await;
    }
}

/// The rollout of `checkout`, and the one of `search`.
pub const CHECKOUT: &str = "0195c1a8";
pub const SEARCH: &str = "0195c1b0";

pub struct World {
    pub store: MemoryStore,
    pub clock: Hands,
    pub handle: Handle,
    pub router: Router,
}

/// Only tokens of Serin's own.
pub fn by_tokens() -> Authentication {
    Authentication { tokens: true, oidc: None, metrics_open: false }
}

pub fn by_oidc(oidc: OidcConfig) -> Authentication {
    Authentication { tokens: true, oidc: Some(oidc), metrics_open: false }
}

pub fn world() -> World {
    world_with(Access::new(Some(&by_tokens()), false, &[]).unwrap())
}

pub fn world_with(access: Access) -> World {
    let store = MemoryStore::new();
    store.change(|data| {
        data.targets.insert("checkout".into(), steered());
        data.targets.insert(
            "search".into(),
            Target { active: Some(RolloutId(SEARCH.into())), ..Target::new("search") },
        );
        data.put(rollout());
        data.put(rollout_of(SEARCH, "search"));
    });
    world_over(store, access)
}

pub fn world_over(store: MemoryStore, access: Access) -> World {
    let clock = Hands::default();
    let handle = Handle::new(
        Arc::new(store.clone()),
        Arc::new(clock.clone()),
        BTreeMap::from([("standard".to_owned(), policy())]),
        BTreeMap::from([("checkout".to_owned(), spec()), ("search".to_owned(), spec())]),
    );
    handle.set_loaded();
    let short = Duration::from_millis(20);
    let limits = Limits { command_wait: short, recheck: short, ..Limits::default() };
    let router = router_for(
        handle.clone(),
        Arc::new(|| "serin_up 1\n".to_owned()),
        limits,
        access,
        Default::default(),
    );
    World { store, clock, handle, router }
}

/// The text of the token of that name, for tests alone.
pub fn text(name: &str) -> String {
    format!("serin_test-{name}-0123456789abcdefghijklmnopqrstuvwxyz")
}

impl World {
    /// With a token; gives its text.
    pub fn token(&self, name: &str, role: Role, services: &[&str]) -> String {
        self.token_until(name, role, services, None)
    }

    pub fn token_until(&self, name: &str, role: Role, services: &[&str], until: Option<Timestamp>) -> String {
        let text = text(name);
        let record = TokenRecord {
            name: name.to_owned(),
            hash: tokens::hash(&text),
            role,
            services: services.iter().map(|pattern| (*pattern).to_owned()).collect(),
            created_at: NOW,
            created_by: "anna".into(),
            expires_at: until,
            revoked_at: None,
        };
        self.store.change(|data| data.tokens.push(record));
        text
    }

    /// Sends a request from an address.
    pub async fn from(&self, address: &str, mut request: Request<Body>) -> Answer {
        let peer: SocketAddr = format!("{address}:40000").parse().unwrap();
        request.extensions_mut().insert(ConnectInfo(peer));
        Answer::of(self.router.clone().oneshot(request).await.unwrap()).await
    }

    pub async fn send(&self, request: Request<Body>) -> Answer {
        self.from("10.1.2.3", request).await
    }

    pub async fn get(&self, path: &str, token: &str) -> Answer {
        self.send(asking("GET", path, token, &Value::Null)).await
    }

    pub async fn post(&self, path: &str, token: &str, body: &Value) -> Answer {
        self.send(asking("POST", path, token, body)).await
    }

    /// The audit log as `action subject by via result`, oldest first.
    pub fn audited(&self) -> Vec<String> {
        self.store.inspect(|data| {
            let line = |line: &serin::core::access::AuditRecord| {
                let by = line.by.as_deref().unwrap_or("-");
                format!("{} [{}] by {by} via {}: {}", line.action, line.subject, line.via, line.result)
            };
            data.audit.values().map(line).collect()
        })
    }
}

/// A request with a token (none if it is empty) and a JSON body (none if it is null).
pub fn asking(method: &str, path: &str, token: &str, body: &Value) -> Request<Body> {
    let mut request = Request::builder().method(method).uri(path);
    if !token.is_empty() {
        request = request.header(header::AUTHORIZATION, format!("Bearer {token}"));
    }
    if body.is_null() {
        return request.body(Body::empty()).unwrap();
    }
    request = request.header(header::CONTENT_TYPE, "application/json");
    request.body(Body::from(body.to_string())).unwrap()
}

#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: HeaderMap,
    pub text: String,
}

impl Answer {
    pub async fn of(response: axum::response::Response) -> Answer {
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        let bytes = response.into_body().collect().await.unwrap().to_bytes();
        Answer { status, headers, text: String::from_utf8(bytes.to_vec()).unwrap() }
    }

    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    pub fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|_| panic!("not JSON: {self:?}"))
    }

    #[track_caller]
    pub fn problem(&self, status: u16, code: &str) -> Value {
        let problem = self.json();
        assert_eq!((self.status, problem["code"].as_str()), (status, Some(code)), "{}", self.text);
        problem
    }
}
