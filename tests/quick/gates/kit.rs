//! Local receivers, a provider with given answers, and requests.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use axum::Router;
use axum::body::to_bytes;
use axum::extract::Request;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use serin::core::gate::{Before, Check, Gate, GateAnswer, GateOutcome, Occasion, WebhookCheck, WebhookForm};
use serin::core::ids::RolloutId;
use serin::core::metric::{NoData, Reading, ValueObservation};
use serin::core::split::Weight;
use serin::core::time::Timestamp;
use serin::gates::Gates;
use serin::ports::{
    ArmSelector, CountsAnswer, CountsRequest, GateRequest, Gatekeeper, MetricsProvider, ValueRequest,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

/// What a receiver got.
#[derive(Clone, Debug)]
pub struct Got {
    pub uri: String,
    pub headers: HeaderMap,
    pub body: Vec<u8>,
}

impl Got {
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).expect("JSON")
    }

    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().expect("text"))
    }
}

/// A receiver that answers the same to everything; ends with the test.
pub struct Receiver {
    pub address: SocketAddr,
    got: Arc<Mutex<Vec<Got>>>,
    task: tokio::task::JoinHandle<()>,
}

impl Receiver {
    pub async fn answering(status: u16, headers: &[(&'static str, &str)], body: &str) -> Receiver {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("its address");
        let got: Arc<Mutex<Vec<Got>>> = Arc::default();
        let kept = got.clone();
        let headers: Vec<(&'static str, String)> =
            headers.iter().map(|(name, value)| (*name, (*value).to_owned())).collect();
        let body = body.to_owned();
        let app = Router::new().fallback(move |request: Request| {
            let (kept, headers, body) = (kept.clone(), headers.clone(), body.clone());
            async move {
                let (parts, content) = request.into_parts();
                let content = to_bytes(content, 1 << 20).await.expect("a body").to_vec();
                let got = Got { uri: parts.uri.to_string(), headers: parts.headers, body: content };
                kept.lock().expect("not poisoned").push(got);
                let mut response: Response =
                    (StatusCode::from_u16(status).expect("a status"), body).into_response();
                for (name, value) in headers {
                    response.headers_mut().insert(name, value.parse().expect("a header"));
                }
                response
            }
        });
        let task = tokio::spawn(async move {
            let _ = axum::serve(listener, app).await;
        });
        Receiver { address, got, task }
    }

    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    pub fn got(&self) -> Vec<Got> {
        self.got.lock().expect("not poisoned").clone()
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// A peer that reads a little, writes `answer`, and then stays silent or resets.
pub async fn rude(answer: &'static [u8], stays: bool) -> (SocketAddr, tokio::task::JoinHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("its address");
    let task = tokio::spawn(async move {
        let mut open = Vec::new();
        while let Ok((mut stream, _)) = listener.accept().await {
            let _ = stream.read(&mut [0; 16]).await;
            let _ = stream.write_all(answer).await;
            if stays {
                open.push(stream);
            } else {
                // What was not read is answered by a reset.
                drop(stream);
            }
        }
    });
    (address, task)
}

/// Answers queries by the part of their text that is given.
#[derive(Default)]
pub struct Values {
    pub answers: Vec<(&'static str, Reading<f64>)>,
    pub asked: Mutex<Vec<String>>,
}

#[async_trait]
impl MetricsProvider for Values {
    async fn counts(&self, _requests: &[CountsRequest]) -> Vec<CountsAnswer> {
        Vec::new()
    }

    async fn values(&self, requests: &[ValueRequest]) -> Vec<ValueObservation> {
        let mut asked = self.asked.lock().expect("not poisoned");
        requests
            .iter()
            .map(|request| {
                asked.push(request.query.clone());
                let found = self.answers.iter().find(|(part, _)| request.query.contains(part));
                let value = found.map_or(Err(NoData::Empty), |(_, value)| value.clone());
                ValueObservation {
                    guardrail: request.guardrail.clone(),
                    canary: value.clone(),
                    baseline: value,
                }
            })
            .collect()
    }
}

/// Asks a check once, without a provider.
pub async fn ask(check: Check) -> GateAnswer {
    Gates::new(BTreeMap::new()).ask(&request(check)).await
}

/// Asks a check once; queries are answered so. Gives the queries too.
pub async fn ask_values(check: Check, answers: &[(&'static str, Reading<f64>)]) -> (GateAnswer, Vec<String>) {
    let values = Arc::new(Values { answers: answers.to_vec(), ..Values::default() });
    let providers: BTreeMap<String, Arc<dyn MetricsProvider>> =
        [("prom".to_owned(), values.clone() as _)].into();
    let answer = Gates::new(providers).ask(&request(check)).await;
    let asked = values.asked.lock().expect("not poisoned").clone();
    (answer, asked)
}

pub fn request(check: Check) -> GateRequest {
    GateRequest {
        key: "r1/start/it/1".to_owned(),
        gate: Gate {
            name: "it".to_owned(),
            before: Before::Start,
            check,
            deadline: None,
            at_deadline: GateOutcome::Hold,
            on_refusal: GateOutcome::Hold,
            point_of_no_return: false,
        },
        occasion: Occasion::Start,
        rollout: RolloutId("r1".to_owned()),
        target: "shop".to_owned(),
        provider: "prom".to_owned(),
        version: "1.4.3".to_owned(),
        stable_version: Some("1.4.2".to_owned()),
        policy: "standard".to_owned(),
        weight: Weight(500),
        started_by: "somebody".to_owned(),
        canary: ArmSelector::default(),
        baseline: ArmSelector::default(),
        now: Timestamp(1_780_000_000_000),
    }
}

pub fn webhook(url: String, form: WebhookForm) -> WebhookCheck {
    WebhookCheck {
        url,
        allow_private: true,
        form,
        metadata: [("namespace".to_owned(), "prod".to_owned()), ("a".to_owned(), "b".to_owned())].into(),
        headers: BTreeMap::new(),
        secret: None,
        timeout: Duration::from_secs(5),
        poll: Duration::from_secs(10),
        most_faults: 10,
    }
}

/// `yes: detail` and so on.
pub fn said(answer: &GateAnswer) -> String {
    match answer {
        GateAnswer::Yes(detail) => format!("yes: {detail}"),
        GateAnswer::NotYet(detail) => format!("not yet: {detail}"),
        GateAnswer::No(detail) => format!("no: {detail}"),
        GateAnswer::Fault(detail) => format!("fault: {detail}"),
        GateAnswer::Lost(detail) => format!("lost: {detail}"),
    }
}
