//! Policies that somebody thinks about: is it right, and what would it find?

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::Json;
use axum::extract::State;
use serde_json::Value;
use tokio::sync::Semaphore;

use super::Api;
use super::access::Principal;
use super::input::{Body, BodyBytes, Name, Params};
use super::problem::{FieldError, Problem};
use crate::config::{self, parse_policy, policy_warnings};
use crate::contract::bodies::CheckBody;
use crate::contract::{CheckView, PolicyProblem, PolicyView};
use crate::core::policy::Policy;
use crate::montecarlo::plan::{Question, RUNS};
use crate::montecarlo::{self, Runs};

/// The largest body with a policy: its characters may be escaped.
pub(super) const BYTES: BodyBytes = BodyBytes(1024 * 1024);
/// Longest policy that is checked, in characters.
const LONGEST: usize = 60_000;
/// Plans that are kept.
const KEPT: usize = 64;

/// Plans that were made, and the one that is being made.
#[derive(Clone)]
pub(super) struct Plans {
    made: Arc<Mutex<BTreeMap<String, Value>>>,
    place: Arc<Semaphore>,
}

impl Default for Plans {
    fn default() -> Plans {
        Plans { made: Arc::default(), place: Arc::new(Semaphore::new(1)) }
    }
}

/// `POST /policies/check`: everything that is wrong with a policy, as `serin policy check` says it.
#[utoipa::path(post, path = "/api/v1/policies/check", tag = "configuration", operation_id = "check_policy",
    request_body = CheckBody,
    responses((status = 200, description = "What is right and wrong with it", body = CheckView)))]
pub(super) async fn check(_principal: Principal, mut body: Body) -> Result<Json<CheckView>, Problem> {
    let yaml = body.lines("yaml", LONGEST);
    body.finish()?;
    let problem = |problem: config::Problem| PolicyProblem {
        line: Some(problem.line).filter(|line| *line > 0),
        field: Some(problem.field).filter(|field| !field.is_empty()),
        detail: match problem.expected.as_str() {
            "" => problem.message,
            expected => format!("{}; expected {expected}", problem.message),
        },
    };
    Ok(Json(match parse_policy("policy.yaml", yaml.as_bytes()) {
        Ok(policy) => CheckView {
            ok: true,
            problems: Vec::new(),
            warnings: policy_warnings(&policy).into_iter().map(problem).collect(),
            policy: Some(PolicyView::new(&policy)),
        },
        Err(problems) => CheckView {
            ok: false,
            problems: problems.0.into_iter().map(problem).collect(),
            warnings: Vec::new(),
            policy: None,
        },
    }))
}

/// `GET /policies/{name}/plan`: what each step finds at a service's traffic, as `serin plan` says it. One
/// is computed at a time; one that takes longer than a request goes on, and is there the next time.
#[utoipa::path(get, path = "/api/v1/policies/{name}/plan", tag = "configuration", operation_id = "plan_policy",
    params(
        ("name" = String, Path, description = "Its name", min_length = 1, max_length = 200, pattern = "^[^/?#%]+$"),
        ("rps" = Option<f64>, Query, description = "Requests per second of both versions together; 100 if it is not there", minimum = 0.01, maximum = 1000000.0),
        ("error_rate_percent" = Option<f64>, Query, description = "Percent of the running version's requests that fail; 0.1 if it is not there", minimum = 0.0, maximum = 100.0),
        ("latency_median_ms" = Option<f64>, Query, description = "Median latency; only with `latency_sigma`", minimum = 0.001, maximum = 3600000.0),
        ("latency_sigma" = Option<f64>, Query, description = "Standard deviation of the logarithm of the latency", minimum = 0.01, maximum = 5.0),
        ("dispersion" = Option<f64>, Query, description = "The service's dispersion", minimum = 1.0, maximum = 1000.0),
    ),
    responses((status = 200, description = "What `serin plan --output json` writes", body = Object)))]
pub(super) async fn plan(
    State(api): State<Api>,
    _principal: Principal,
    name: Name,
    mut params: Params,
) -> Result<Json<Value>, Problem> {
    let question = question(&mut params)?;
    let Some(policy) = api.handle.policies().get(&name.0).cloned() else {
        return Err(Problem::unknown_policy(&name.0.chars().take(100).collect::<String>()));
    };
    let key = format!("{}@{} {question:?}", policy.name, policy.version);
    if let Some(plan) = api.plans.get(&key) {
        return Ok(Json(plan));
    }
    let Ok(place) = Arc::clone(&api.plans.place).try_acquire_owned() else {
        return Err(Problem::planning());
    };
    let plans = api.plans.clone();
    let working = tokio::task::spawn_blocking(move || {
        let made = make(&policy, &question);
        if let Ok(plan) = &made {
            plans.keep(key, plan.clone());
        }
        drop(place);
        made
    });
    let patience = api.limits.request.saturating_sub(Duration::from_secs(1));
    match tokio::time::timeout(patience, working).await {
        Err(_) => Err(Problem::planning()),
        Ok(Ok(made)) => made.map(Json),
        Ok(Err(error)) => Err(Problem::not_ready(format!("the plan could not be made: {error}"))),
    }
}

fn make(policy: &Policy, question: &Question) -> Result<Value, Problem> {
    let wrong = |detail: String| Problem::parameters(vec![FieldError { field: "rps".to_owned(), detail }]);
    let plan = montecarlo::plan(policy, question).map_err(|problems| wrong(problems.join("; ")))?;
    serde_json::to_value(plan).map_err(|error| wrong(error.to_string()))
}

/// Reads the question; everything in it is bounded, and so is the work.
fn question(params: &mut Params) -> Result<Question, Problem> {
    let rps = params.decimal("rps", 0.01, 1_000_000.0);
    let errors = params.decimal("error_rate_percent", 0.0, 100.0);
    let median = params.decimal("latency_median_ms", 0.001, 3_600_000.0);
    let sigma = params.decimal("latency_sigma", 0.01, 5.0);
    let dispersion = params.decimal("dispersion", 1.0, 1000.0);
    if median.is_some() != sigma.is_some() {
        let detail = "`latency_median_ms` and `latency_sigma` belong together; give both, or none";
        params.wrong("latency_sigma", detail.to_owned());
    }
    params.done()?;
    // Half of the machine is left to the engine.
    let all = Runs::new(RUNS, 1);
    Ok(Question {
        requests_per_second: rps.unwrap_or(100.0),
        error_rate: errors.unwrap_or(0.1) / 100.0,
        latency: median.zip(sigma).map(|(median, sigma)| (median / 1000.0, sigma)),
        dispersion,
        runs: Runs { threads: (all.threads / 2).max(1), ..all },
    })
}

impl Plans {
    fn get(&self, key: &str) -> Option<Value> {
        self.made.lock().unwrap_or_else(PoisonError::into_inner).get(key).cloned()
    }

    fn keep(&self, key: String, plan: Value) {
        let mut made = self.made.lock().unwrap_or_else(PoisonError::into_inner);
        while made.len() >= KEPT {
            made.pop_first();
        }
        made.insert(key, plan);
    }
}
