//! People at gates, freezes, and alerts that come in.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::http::{Request, header};
use secrecy::SecretString;
use serde_json::{Value, json};
use serin::api::{Access, Limits, People, router_for};
use serin::core::access::Role;
use serin::core::alert::{Alert, AlertWish};
use serin::core::freeze::Freeze;
use serin::core::gate::{ApprovalRule, Before, Check, Gate, GateOutcome, GateState, GateStatus};
use serin::core::ids::RolloutId;
use serin::core::notice::NoticeKind;
use serin::core::rollout::{CommandKind, Giver};
use serin::core::time::Timestamp;
use serin::ports::{Commit, Commits, Delivery, InboxEntry, Outbox, Outgoing, Signals};

use super::kit::{Answer, CHECKOUT, World, by_tokens, world_with};

/// A daemon with teams, links, and a gate that asks two persons.
fn world() -> World {
    let mut world = world_with(Access::new(Some(&by_tokens()), false, &[]).unwrap());
    world.store.change(|data| {
        let rollout = data.rollouts.get_mut(&RolloutId(CHECKOUT.into())).unwrap();
        rollout.rollout.plan_mut().policy.gates = vec![Gate {
            name: "sure".to_owned(),
            before: Before::Promotion,
            check: Check::Approval {
                rules: vec![ApprovalRule { team: Some("release-lead".to_owned()), count: 2 }],
                by_starter: false,
            },
            deadline: None,
            at_deadline: GateOutcome::Hold,
            on_refusal: GateOutcome::Hold,
            point_of_no_return: false,
        }];
    });
    let team = BTreeSet::from(["lena".to_owned(), "otto".to_owned()]);
    let people = People::new(
        BTreeMap::from([("release-lead".to_owned(), team)]),
        Some(SecretString::from("a secret of at least thirty-two characters")),
        Some("https://serin.example.com".to_owned()),
        Default::default(),
    );
    let short = Duration::from_millis(20);
    let limits = Limits { command_wait: short, recheck: short, ..Limits::default() };
    let access = Access::new(Some(&by_tokens()), false, &[]).unwrap();
    world.router = router_for(world.handle.clone(), Arc::new(String::new), limits, access, people);
    world
}

/// A gate that has waited for longer than it may.
fn late() -> GateState {
    GateState {
        status: GateStatus::Waiting { detail: "one of release-lead".to_owned() },
        waited: Duration::from_secs(90_000),
        asked: 0,
        faults: 0,
        is_late: true,
    }
}

async fn inbox(world: &World) -> Vec<InboxEntry> {
    world.store.pending(&[RolloutId(CHECKOUT.into())]).await.unwrap()
}

/// A link for somebody; its path.
async fn link(world: &World, token: &str, body: &Value) -> String {
    let path = format!("/api/v1/rollouts/{CHECKOUT}/approval-links");
    let answer = world.post(&path, token, body).await;
    assert_eq!(answer.status, 201, "{}", answer.text);
    let url = answer.json()["url"].as_str().unwrap().to_owned();
    url.strip_prefix("https://serin.example.com").expect("where people reach the daemon").to_owned()
}

async fn say(world: &World, path: &str, form: &'static str) -> Answer {
    let request = Request::post(path)
        .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded")
        .body(Body::from(form))
        .unwrap();
    world.send(request).await
}

#[tokio::test]
async fn an_approval_carries_the_teams_that_the_configuration_says() {
    let world = world();
    let lena = world.token("lena", Role::Approver, &["*"]);
    let path = format!("/api/v1/rollouts/{CHECKOUT}/commands");
    let body = json!({"command": "approve", "gate": "sure", "by": "otto", "reason": "looks good"});
    assert_eq!(world.post(&path, &lena, &body).await.status, 202);
    let entry = inbox(&world).await.pop().unwrap();
    assert_eq!(entry.command.by, "lena", "whoever they say that they are");
    let teams = vec!["release-lead".to_owned()];
    assert_eq!(entry.command.kind, CommandKind::Approve { gate: "sure".to_owned(), teams });
    for (role, command, status) in [
        (Role::Operator, "approve", 403),
        (Role::Approver, "override_gate", 403),
        (Role::Operator, "override_gate", 403),
        (Role::Approver, "retry_gate", 403),
        (Role::Approver, "acknowledge", 403),
        (Role::Operator, "retry_gate", 202),
        (Role::Admin, "override_gate", 202),
    ] {
        let token = world.token(&format!("{}-{command}", role.name()), role, &["*"]);
        let mut body = json!({"command": command, "reason": "because"});
        if command != "acknowledge" {
            body["gate"] = json!("sure");
        }
        let answer = world.post(&path, &token, &body).await;
        assert_eq!(answer.status, status, "{} {command}: {}", role.name(), answer.text);
    }
}

#[tokio::test]
async fn a_link_is_for_one_person_and_one_answer() {
    let world = world();
    let anna = world.token("anna", Role::Admin, &["*"]);
    let path = link(&world, &anna, &json!({"gate": "sure", "for": "lena"})).await;
    let page = world.get(&path, "").await;
    assert_eq!(page.status, 200, "{}", page.text);
    assert!(page.text.contains("lena") && page.text.contains("sure"), "{}", page.text);
    assert!(page.header("content-security-policy").contains("form-action 'self'"));
    assert!(inbox(&world).await.is_empty(), "looking at it says nothing");
    let said = say(&world, &path, "answer=approve&reason=looks+good").await;
    assert_eq!(said.status, 200, "{}", said.text);
    let entry = inbox(&world).await.pop().unwrap();
    let teams = vec!["release-lead".to_owned()];
    assert_eq!(entry.command.by, "lena");
    assert_eq!(entry.command.kind, CommandKind::Approve { gate: "sure".to_owned(), teams });
    say(&world, &path, "answer=refuse&reason=no").await.problem(409, "link_used");
    world.get(&path, "").await.problem(409, "link_used");
    assert_eq!(inbox(&world).await.len(), 1);
    let audited = world.audited();
    assert!(audited.iter().any(|line| line.starts_with("approval_link.use [sure of")), "{audited:?}");
}

#[tokio::test]
async fn links_that_are_late_changed_or_made_elsewhere_are_refused() {
    let world = world();
    let anna = world.token("anna", Role::Admin, &["*"]);
    let path = link(&world, &anna, &json!({"gate": "sure", "for": "lena", "expires_in_seconds": 60})).await;
    let mut changed = path.clone();
    changed.replace_range(path.len() - 3.., "AAA");
    say(&world, &changed, "answer=approve&reason=x").await.problem(403, "link_invalid");
    say(&world, "/api/v1/approvals/nonsense", "answer=approve&reason=x").await.problem(403, "link_invalid");
    say(&world, &path, "answer=perhaps&reason=x").await.problem(422, "invalid_field");
    say(&world, &path, "answer=approve&reason=").await.problem(422, "invalid_field");
    world.clock.advance(Duration::from_secs(61));
    say(&world, &path, "answer=approve&reason=x").await.problem(403, "link_expired");
    assert!(inbox(&world).await.is_empty());
    // Not after the gate's own deadline either.
    let path = link(&world, &anna, &json!({"gate": "sure", "for": "lena"})).await;
    world.store.change(|data| {
        let gates = &mut data.rollouts.get_mut(&RolloutId(CHECKOUT.into())).unwrap().rollout.gates;
        gates.states.insert("sure".to_owned(), late());
    });
    // That is the core's to say (`doors`): the command tells that it was given by a link.
    say(&world, &path, "answer=approve&reason=x").await;
    let givers = inbox(&world).await.into_iter().map(|entry| entry.command.giver);
    assert_eq!(givers.collect::<Vec<_>>(), [Giver::Link]);
}

#[tokio::test]
async fn links_are_made_by_administrators_for_gates_that_ask_persons() {
    let world = world();
    let path = format!("/api/v1/rollouts/{CHECKOUT}/approval-links");
    let body = json!({"gate": "sure", "for": "lena"});
    for role in [Role::Viewer, Role::Approver, Role::Operator] {
        let token = world.token(role.name(), role, &["*"]);
        assert_eq!(world.post(&path, &token, &body).await.status, 403, "{}", role.name());
    }
    let anna = world.token("anna", Role::Admin, &["*"]);
    assert_eq!(world.post(&path, &anna, &json!({"gate": "nothing", "for": "lena"})).await.status, 404);
    let far = json!({"gate": "sure", "for": "lena", "expires_in_seconds": 1});
    world.post(&path, &anna, &far).await.problem(422, "invalid_field");
    let others = world.token("others", Role::Admin, &["search"]);
    assert_eq!(world.post(&path, &others, &body).await.status, 404, "as if it were not there");
}

#[tokio::test]
async fn a_freeze_holds_from_the_moment_that_it_is_ordered() {
    let world = world();
    let olga = world.token("olga", Role::Operator, &["*"]);
    let now = |world: &World| world.handle.clock().wall();
    let body = json!({"targets": ["check*"], "why": "the holidays"});
    let answer = world.post("/api/v1/freezes", &olga, &body).await;
    assert_eq!(answer.status, 201, "{}", answer.text);
    let why = world.handle.frozen("checkout", now(&world)).expect("frozen");
    assert!(why.contains("olga") && why.contains("the holidays"), "{why}");
    assert_eq!(world.handle.frozen("search", now(&world)), None);
    let id = answer.json()["id"].as_str().unwrap().to_owned();
    let ended =
        world.send(super::kit::asking("DELETE", &format!("/api/v1/freezes/{id}"), &olga, &Value::Null)).await;
    assert_eq!((ended.status, ended.json()["ended_by"].as_str()), (200, Some("olga")), "{}", ended.text);
    assert_eq!(world.handle.frozen("checkout", now(&world)), None);
    let listed = world.get("/api/v1/freezes", &olga).await.json();
    assert_eq!(listed["items"][0]["active"], false, "{listed}");
    let again =
        world.send(super::kit::asking("DELETE", &format!("/api/v1/freezes/{id}"), &olga, &Value::Null)).await;
    assert_eq!(again.status, 404);
}

#[tokio::test]
async fn a_freeze_of_the_configuration_holds_and_is_ended_there() {
    let world = world();
    let olga = world.token("olga", Role::Operator, &["*"]);
    let now = world.handle.clock().wall();
    let planned = |id: &str, from: i64, until: i64| Freeze {
        id: id.to_owned(),
        targets: vec!["check*".to_owned()],
        from: Timestamp(now.0 + from),
        until: Some(Timestamp(now.0 + until)),
        why: "the holidays".to_owned(),
        by: Freeze::PLANNED_BY.to_owned(),
        ended: None,
    };
    world.handle.plan_freezes(vec![
        planned("planned-1", -9_000, -1_000),
        planned("planned-2", -1_000, 9_000),
        planned("planned-3", 9_000, 99_000),
    ]);
    let why = world.handle.frozen("checkout", now).expect("frozen");
    assert!(why.starts_with("frozen by the configuration until"), "{why}");
    assert_eq!(world.handle.frozen("search", now), None);
    let listed = world.get("/api/v1/freezes", &olga).await.json();
    let told: Vec<_> =
        listed["items"].as_array().unwrap().iter().map(|item| (&item["id"], &item["active"])).collect();
    assert_eq!(json!(told), json!([["planned-2", true], ["planned-3", false]]));
    let ended =
        world.send(super::kit::asking("DELETE", "/api/v1/freezes/planned-2", &olga, &Value::Null)).await;
    ended.problem(409, "planned_freeze");
}

#[tokio::test]
async fn a_freeze_that_is_none_is_refused() {
    let world = world();
    let olga = world.token("olga", Role::Operator, &["*"]);
    for body in [
        json!({"targets": ["*"]}),
        json!({"targets": ["["], "why": "x"}),
        json!({"targets": [], "why": "x"}),
        json!({"why": "x", "until": "2001-01-01T00:00:00Z"}),
        json!({"why": "x", "until": "soon"}),
        json!({"why": "x", "colour": "red"}),
    ] {
        let answer = world.post("/api/v1/freezes", &olga, &body).await;
        assert_eq!(answer.status, 422, "{body}: {}", answer.text);
    }
    // What is not theirs they may not freeze, nor by a pattern that could be more than theirs.
    let search = world.token("search", Role::Operator, &["search"]);
    for (targets, status) in [(json!(["search"]), 201), (json!(["checkout"]), 403), (json!(["*"]), 403)] {
        let body = json!({"targets": targets, "why": "x"});
        let answer = world.post("/api/v1/freezes", &search, &body).await;
        assert_eq!(answer.status, status, "{body}: {}", answer.text);
    }
}

fn alert(status: &str, service: &str, severity: &str) -> Value {
    json!({
        "status": status, "labels": {"alertname": "Errors", "service": service, "severity": severity},
        "annotations": {"summary": "too many"}, "startsAt": "2026-03-01T10:00:00Z",
        "endsAt": "0001-01-01T00:00:00Z", "generatorURL": "http://x", "fingerprint": format!("f-{severity}"),
    })
}

fn webhook(alerts: Vec<Value>) -> Value {
    json!({
        "version": "4", "groupKey": "{}", "truncatedAlerts": 0, "status": "firing", "receiver": "serin",
        "groupLabels": {}, "commonLabels": {}, "commonAnnotations": {}, "externalURL": "http://x",
        "alerts": alerts,
    })
}

/// The alerts that were handed to rollouts, by rollout.
async fn handed_over(world: &World) -> Vec<(String, Vec<Alert>)> {
    let entries = inbox(world).await.into_iter();
    let alerts = entries.filter_map(|entry| match entry.command.kind {
        CommandKind::Alerts { alerts } => Some((entry.rollout.0, alerts)),
        _ => None,
    });
    alerts.collect()
}

fn commands(answer: &Answer) -> Vec<(String, String)> {
    let of = |item: &Value, key: &str| item[key].as_str().unwrap().to_owned();
    let json = answer.json();
    json["items"].as_array().unwrap().iter().map(|item| (of(item, "alert"), of(item, "command"))).collect()
}

const HOOK: &str = "/api/v1/hooks/alertmanager";

#[tokio::test]
async fn alerts_are_handed_to_the_rollout_of_their_target_once() {
    let world = world();
    let olga = world.token("alertmanager", Role::Operator, &["*"]);
    let body = webhook(vec![
        alert("firing", "checkout", "warning"),
        alert("firing", "checkout", "critical"),
        alert("firing", "nothing", "critical"),
    ]);
    for _ in 0..3 {
        let answer = world.post(HOOK, &olga, &body).await;
        assert_eq!(answer.status, 200, "{}", answer.text);
        assert_eq!(answer.json()["items"].as_array().unwrap().len(), 2, "{}", answer.text);
    }
    let handed = handed_over(&world).await;
    assert_eq!(handed.len(), 1, "the same alerts are one command");
    let names: Vec<_> = handed[0].1.iter().map(|a| (a.id.as_str(), a.wish, a.firing)).collect();
    assert_eq!(
        names,
        [("f-critical", AlertWish::Rollback, true), ("f-warning", AlertWish::Tell, true)],
        "what takes the canary back comes first"
    );
    let over = webhook(vec![alert("resolved", "checkout", "critical")]);
    assert_eq!(world.post(HOOK, &olga, &over).await.status, 200);
    assert!(!handed_over(&world).await[1].1[0].firing);
    let remembered = world.store.alerts("checkout").await.unwrap();
    assert_eq!(remembered.len(), 2);
    assert!(world.store.alerts("nothing").await.unwrap().is_empty(), "it is no target");
}

#[tokio::test]
async fn the_webhooks_that_were_seen_are_taken() {
    let world = world();
    let olga = world.token("alertmanager", Role::Operator, &["*"]);
    let nulls = include_str!("../inputs/alerts-annotations-null.json").replace("\"shop\"", "\"checkout\"");
    let nulls: Value = serde_json::from_str(&nulls.replace("\"cart\"", "\"checkout\"")).unwrap();
    let answer = world.post(HOOK, &olga, &nulls).await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    let names: Vec<String> = commands(&answer).into_iter().map(|(name, _)| name).collect();
    assert_eq!(names, ["A", "B"], "both are taken");
    let grafana = include_str!("../inputs/alerts-grafana-v1.json").replace("\"shop\"", "\"checkout\"");
    let answer = world.post(HOOK, &olga, &serde_json::from_str(&grafana).unwrap()).await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    assert_eq!(commands(&answer)[0].0, "CheckoutErrors");
    let handed = handed_over(&world).await;
    assert_eq!(handed.last().unwrap().1[0].summary, "5% of checkouts fail");
}

#[tokio::test]
async fn a_bad_alert_refuses_only_itself() {
    let world = world();
    let olga = world.token("alertmanager", Role::Operator, &["checkout"]);
    let mut nameless = alert("firing", "checkout", "critical");
    nameless["labels"] = json!(["service", "checkout"]);
    let mut timeless = alert("firing", "checkout", "critical");
    timeless["startsAt"] = json!("yesterday");
    let other = alert("pending", "checkout", "critical");
    let body = webhook(vec![nameless, timeless, json!(7), other, alert("firing", "checkout", "critical")]);
    let answer = world.post(HOOK, &olga, &body).await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    assert_eq!(commands(&answer).len(), 1);
    let refused = answer.json()["refused"].clone();
    assert_eq!(refused.as_array().unwrap().len(), 4, "{refused}");
    assert_eq!(answer.json()["refused_count"], 4);
    assert!(refused[1]["why"].as_str().unwrap().contains("startsAt"), "{refused}");
    assert_eq!(refused[1]["alert"], "Errors");
    assert_eq!(handed_over(&world).await.len(), 1);
}

#[tokio::test]
async fn more_than_five_hundred_alerts_are_all_followed() {
    let world = world();
    let olga = world.token("alertmanager", Role::Operator, &["*"]);
    let many = (0..700).map(|number| {
        let severity = if number == 699 { "critical" } else { "warning" };
        let mut one = alert("firing", "checkout", severity);
        one["fingerprint"] = json!(format!("f{number}"));
        one
    });
    let answer = world.post(HOOK, &olga, &webhook(many.collect())).await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    let handed = handed_over(&world).await;
    assert_eq!(handed.iter().map(|(_, alerts)| alerts.len()).sum::<usize>(), 700);
    assert_eq!(handed[0].1[0].id, "f699", "the one that matters comes first");
}

#[tokio::test]
async fn serins_own_alerts_change_nothing() {
    let world = world();
    let olga = world.token("alertmanager", Role::Operator, &["*"]);
    let mut own = alert("firing", "checkout", "critical");
    own["labels"]["alertname"] = json!("SerinRollback");
    own["labels"]["incident"] = json!("checkout/0195c1a8/7");
    let answer = world.post(HOOK, &olga, &webhook(vec![own])).await;
    assert_eq!(answer.json()["items"], json!([]));
    assert!(inbox(&world).await.is_empty());
    assert!(world.store.alerts("checkout").await.unwrap().is_empty());
}

#[tokio::test]
async fn alerts_in_another_form_or_by_the_wrong_caller_are_refused() {
    let world = world();
    let olga = world.token("olga", Role::Operator, &["*"]);
    let mut other = webhook(Vec::new());
    other["version"] = json!("3");
    world.post(HOOK, &olga, &other).await.problem(422, "invalid_field");
    assert_eq!(world.post(HOOK, &olga, &json!({"alerts": 1})).await.status, 400);
    let huge = json!({"version": "4", "alerts": [], "externalURL": "x".repeat(1 << 20)});
    assert_eq!(world.post(HOOK, &olga, &huge).await.status, 413);
    let viewer = world.token("viewer", Role::Viewer, &["*"]);
    assert_eq!(world.post(HOOK, &viewer, &webhook(Vec::new())).await.status, 403);
    assert!(inbox(&world).await.is_empty());
}

#[tokio::test]
async fn the_outbox_says_when_a_notice_is_tried_next() {
    let world = world();
    let anna = world.token("anna", Role::Admin, &["*"]);
    let now = world.handle.clock().wall();
    let mut notice = serin::messages::sample(NoticeKind::Step);
    notice.at = now;
    let outbox = vec![Outgoing::at_once("pager", notice)];
    world.store.commit(&Commit { outbox, ..Commit::default() }).await.unwrap();
    let next = async || {
        let listed = world.get("/api/v1/outbox?state=pending", &anna).await.json();
        let entry = listed["items"][0].clone();
        (entry["attempts"].as_u64().unwrap(), entry["next_attempt_at"].clone())
    };
    assert_eq!(next().await, (0, json!(now.to_string())));
    let id = world.store.outbox_due(now, 9, &[]).await.unwrap()[0].id;
    let due = now.plus(Duration::from_secs(60));
    let again = Delivery::Retry { due, detail: "status 503".to_owned() };
    world.store.outbox_settle(id, &again).await.unwrap();
    assert_eq!(next().await, (1, json!(due.to_string())));
}
