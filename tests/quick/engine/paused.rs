//! `advance` and `promote` while somebody else has paused the rollout: refused with everything that stands against it
//! and the one command that goes through, which then does. From end to end, by the API and by the command line.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use serde_json::{Value, json};
use serin::api::{listen, router, serve};
use serin::core::gate::{ApprovalRule, Before, Check, Gate, GateOutcome};
use serin::core::judge::{Assessment, GuardrailAssessment, GuardrailStatus, MetricAssessment};
use serin::core::limit::Severity;
use serin::core::notice::{Notice, NoticeKind};
use serin::core::policy::{GuardrailAction, Policy};
use serin::core::rollout::Rollout;
use serin::core::split::{Role, Weight};
use serin::ports::{Notifier, NotifyError};

use super::{House, SOON, house_with, id, name};
use crate::testkit::builders::{percent, policy, step};
use crate::testkit::wait::until;

/// Keeps what it is told.
#[derive(Clone, Default)]
struct Ears(Arc<Mutex<Vec<Notice>>>);

#[async_trait]
impl Notifier for Ears {
    async fn deliver(&self, notice: &Notice) -> Result<(), NotifyError> {
        self.0.lock().unwrap().push(notice.clone());
        Ok(())
    }
}

/// A canary at 50% with a step of 75% before it, a gate before that, a metric that leans worse and a broken guardrail.
fn doubtful(rollout: &mut Rollout) {
    let steps = vec![step(50.0, 3600), step(75.0, 3600), step(100.0, 0)];
    let lead = Gate {
        name: "lead".to_owned(),
        before: Before::Step(percent(75.0)),
        check: Check::Approval { rules: vec![ApprovalRule { team: None, count: 1 }], by_starter: true },
        deadline: None,
        at_deadline: GateOutcome::Hold,
        on_refusal: GateOutcome::Hold,
        point_of_no_return: false,
    };
    let policy =
        Policy { gates: vec![lead], ..policy().steps(steps).interval(Duration::from_secs(1)).build() };
    let half_way = (1.0 / policy.analysis.false_rollback_rate).ln() / 2.0;
    rollout.plan_mut().policy = policy;
    rollout.last = Some(Assessment {
        metrics: vec![MetricAssessment {
            name: "errors".to_owned(),
            ln_e_harm: half_way + 1e-9,
            ..MetricAssessment::default()
        }],
        guardrails: vec![GuardrailAssessment {
            name: "limit".to_owned(),
            status: GuardrailStatus::Breaching,
            canary: None,
            baseline: None,
            breaching_for: Duration::from_secs(20),
            baseline_healthy: None,
            action: GuardrailAction::RollBack,
            severity: Severity::High,
            sentence: "errors at 9%, over the limit of 5%.".to_owned(),
        }],
        ..Assessment::default()
    });
}

struct Desk {
    house: House,
    url: String,
    ears: Ears,
}

impl Desk {
    /// With the rollout paused by mara.
    async fn paused() -> Desk {
        let ears = Ears::default();
        let told = BTreeMap::from([("ears".to_owned(), Arc::new(ears.clone()) as Arc<dyn Notifier>)]);
        let house = house_with(1, doubtful, told).await;
        let listener = listen(([127, 0, 0, 1], 0).into()).unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let (api, stop) = (router(house.handle.clone(), Arc::new(String::new)), house.stop.clone());
        tokio::spawn(serve(listener, api, async move { stop.cancelled().await }));
        let desk = Desk { house, url, ears };
        let body = json!({"command": "pause", "by": "mara", "reason": "the queue is growing"});
        let (status, answer) = desk.post(&body).await;
        assert_eq!(status, 200, "{answer}");
        desk
    }

    async fn post(&self, body: &Value) -> (u16, Value) {
        let url = format!("{}/api/v1/rollouts/{}/commands", self.url, id(0));
        let answer = reqwest::Client::new().post(url).json(body).send().await.unwrap();
        (answer.status().as_u16(), answer.json().await.unwrap())
    }

    /// Runs the command line as otto; gives its exit code and what it complains of.
    async fn serin(&self, arguments: &[&str]) -> (i32, String) {
        let mut command = tokio::process::Command::new(env!("CARGO_BIN_EXE_serin"));
        command.args(arguments).env("SERIN_SERVER", &self.url).env("SERIN_BY", "otto").env("NO_COLOR", "1");
        let output = command.output().await.unwrap();
        (output.status.code().unwrap(), String::from_utf8(output.stderr).unwrap())
    }

    /// The log as `kind by: sentence`.
    fn log(&self) -> Vec<String> {
        self.house.store.inspect(|data| {
            let events = data.rollouts[&id(0)].events.values();
            let by = |by: &Option<String>| by.clone().unwrap_or_default();
            events.map(|e| format!("{:?} {}: {}", e.kind, by(&e.by), e.sentence)).collect()
        })
    }

    async fn logged(&self, words: &[&str]) {
        let has = |line: &String| words.iter().all(|word| line.contains(word));
        let is_there = async || self.log().iter().any(has).then_some(());
        until(&format!("{words:?} in the log"), SOON, is_there).await;
    }

    fn wanted(&self) -> Weight {
        self.house.store.inspect(|data| data.targets[&name(0)].wanted.canary)
    }
}

/// Everything that stands against it, by name.
fn check_refusal(said: &str, command: &str) {
    let through = format!("`serin rollout {command} r000 --override --even-if-worse --reason \"...\"`");
    for part in [
        "it was paused by mara at 2",
        "Requested by mara: the queue is growing",
        "errors already leans worse (evidence of a regression 10:1; 100:1 rolls back)",
        "the guardrail limit is broken: errors at 9%, over the limit of 5%",
        through.as_str(),
    ] {
        assert!(said.contains(part), "{part}: {said}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_refusal_names_the_one_command_that_goes_through_and_it_does() {
    let desk = Desk::paused().await;
    for command in ["advance", "promote"] {
        let (status, problem) = desk.post(&json!({"command": command, "by": "otto"})).await;
        assert_eq!((status, problem["code"].as_str()), (409, Some("command_refused")), "{problem}");
        let detail = problem["detail"].as_str().unwrap();
        check_refusal(detail, command);
        let (code, said) = desk.serin(&["rollout", command, "r000"]).await;
        assert_eq!(code, 1, "{said}");
        check_refusal(&said, command);
        assert!(said.contains("these gates must open: lead"), "{said}");
    }
    // Half of it is not enough, and nothing is overridden without a reason.
    for half in ["--override", "--even-if-worse"] {
        let (code, said) = desk.serin(&["rollout", "advance", "r000", half, "--reason", "it is mine"]).await;
        assert_eq!(code, 1, "{said}");
        check_refusal(&said, "advance");
    }
    let both = json!({"command": "advance", "by": "otto", "override": true, "even_if_worse": true});
    let (status, problem) = desk.post(&both).await;
    assert_eq!(status, 409, "{problem}");
    assert!(problem["detail"].as_str().unwrap().contains("needs a reason"), "{problem}");
    assert_eq!(desk.wanted(), percent(50.0));

    // The command as it stands in the answer.
    let (_, said) = desk.serin(&["rollout", "advance", "r000"]).await;
    let command = said.split('`').find(|part| part.starts_with("serin rollout advance")).unwrap();
    let reason = "the queue is of another service";
    let words: Vec<&str> =
        command.split(' ').skip(1).map(|word| if word == "\"...\"" { reason } else { word }).collect();
    let (code, said) = desk.serin(&words).await;
    assert_eq!(code, 0, "{said}");

    // The pause is dropped by a line of the log, and who paused is told; the gate still stands.
    desk.logged(&["HoldRemoved otto", "user", reason]).await;
    desk.logged(&["Alert otto", "mara: your pause was overridden", "`advance`", reason]).await;
    let notice = async || {
        let told = desk.ears.0.lock().unwrap();
        let is_it = |notice: &&Notice| {
            notice.kind == NoticeKind::Alert && notice.sentence.contains("mara: your pause was overridden")
        };
        told.iter().find(is_it).map(|notice| notice.severity)
    };
    assert_eq!(until("mara to be told", SOON, notice).await, Severity::High);
    assert_eq!(desk.wanted(), percent(50.0), "{:#?}", desk.log());
    let (status, answer) = desk.post(&json!({"command": "approve", "gate": "lead", "by": "lena"})).await;
    assert_eq!(status, 200, "{answer}");
    let raised = async || (desk.wanted() == percent(75.0)).then_some(());
    until("75%", SOON, raised).await;
    desk.house.stop.cancel();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pause_never_stops_a_rollback_and_the_view_says_so() {
    let desk = Desk::paused().await;
    let url = format!("{}/api/v1/rollouts/r000", desk.url);
    let view: Value = reqwest::get(url).await.unwrap().json().await.unwrap();
    let sentence = view["waiting_for"]["sentence"].as_str().unwrap();
    for part in ["paused by mara", "the queue is growing", "can still roll back"] {
        assert!(sentence.contains(part), "{part}: {sentence}");
    }
    let (code, said) = desk.serin(&["rollout", "rollback", "r000"]).await;
    assert_eq!(code, 0, "{said}");
    let gone = async || {
        let picks = (0..100).map(|part| desk.house.router.pick(&name(0), u64::MAX / 100 * part));
        picks.into_iter().all(|role| role == Role::Stable).then_some(())
    };
    until("the canary to get nothing", SOON, gone).await;
    desk.house.stop.cancel();
}
