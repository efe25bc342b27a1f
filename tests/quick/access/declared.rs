//! Targets and policies that are declared through the API.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::body::Body;
use axum::http::{Request, header};
use serde_json::{Value, json};
use serin::api::load_declarations;
use serin::core::access::Role;
use serin::core::declaration::DeclarationKind;
use serin::core::ids::RolloutId;
use serin::core::rollout::{CommandKind, Phase};
use serin::core::spec::TargetSpec;
use serin::core::target::Target;
use serin::engine::{Declared, Handle, Instances, Name, Source};
use serin::ports::{Commits, Declarations};

use super::kit::{Answer, CHECKOUT, Hands, World, world};

const CART: &str = "\
router: edge
provider: prometheus
route: cart
stable: {backend: cart-a, labels: {version: '{version}'}}
canary: {backend: cart-b, labels: {version: '{version}'}}
stable_version: v1
";

fn instances() -> Instances {
    Instances {
        providers: BTreeMap::from([("prometheus".to_owned(), "prometheus")]),
        routers: BTreeMap::from([("edge".to_owned(), "envoy")]),
    }
}

/// A daemon with one provider and one router, and an administrator's token.
fn administered() -> (World, String) {
    let world = world();
    world.handle.configuration().set_instances(instances());
    let token = world.token("root", Role::Admin, &["*"]);
    (world, token)
}

async fn send(world: &World, method: &str, path: &str, token: &str, body: &str) -> Answer {
    let request = Request::builder()
        .method(method)
        .uri(path)
        .header(header::AUTHORIZATION, format!("Bearer {token}"))
        .header(header::CONTENT_TYPE, "application/yaml");
    world.send(request.body(Body::from(body.to_owned())).unwrap()).await
}

#[tokio::test]
async fn a_target_is_declared_changed_and_removed() {
    let (world, token) = administered();
    let path = "/api/v1/targets/cart";
    let created = send(&world, "PUT", path, &token, CART).await;
    assert_eq!(created.status, 201, "{}", created.text);
    assert_eq!(created.json()["declared_in"], "the API (root)");
    assert_eq!(world.handle.targets()["cart"].route, "cart");
    let shown = world.get(path, &token).await;
    assert_eq!((shown.status, shown.json()["configured"].as_bool()), (200, Some(true)), "{}", shown.text);
    assert_eq!(shown.json()["stable_version"], "v1", "nobody has worked on it yet");
    let listed = world.get("/api/v1/targets", &token).await.json();
    assert!(listed["items"].as_array().unwrap().iter().any(|item| item["name"] == "cart"), "{listed}");

    // The same in JSON, with its name inside, changes it.
    let body = json!({
        "name": "cart", "router": "edge", "provider": "prometheus", "route": "cart-2",
        "stable": {"backend": "cart-a", "labels": {"version": "{version}"}},
        "canary": {"backend": "cart-b", "labels": {"version": "{version}"}},
        "stable_version": "v1",
    });
    let changed = world.post("/api/v1/targets", &token, &body).await;
    assert_eq!((changed.status, changed.json()["route"].as_str()), (200, Some("cart-2")), "{}", changed.text);
    assert_eq!(world.handle.targets()["cart"].route, "cart-2");

    let deleted = send(&world, "DELETE", path, &token, "").await;
    assert_eq!(deleted.status, 204, "{}", deleted.text);
    assert!(!world.handle.targets().contains_key("cart"));
    send(&world, "DELETE", path, &token, "").await.problem(404, "not_found");
    assert!(world.store.declarations().await.unwrap().is_empty());
    let audited = world.audited();
    assert_eq!(
        audited,
        [
            "target.apply [cart] by root via token: done",
            "target.apply [cart] by root via token: done",
            "target.delete [cart] by root via token: done",
            "target.delete [cart] by root via token: not_found",
        ]
    );
}

#[tokio::test]
async fn what_the_file_declares_cannot_be_declared_here() {
    let (world, token) = administered();
    for (method, body) in [("PUT", CART), ("PUT", "not: valid"), ("DELETE", "")] {
        let answer = send(&world, method, "/api/v1/targets/checkout", &token, body).await;
        let problem = answer.problem(409, "declared_in_file");
        assert!(problem["detail"].as_str().unwrap().contains("declared in the configuration"), "{problem}");
    }
    let answer = send(&world, "DELETE", "/api/v1/policies/standard", &token, "").await;
    answer.problem(409, "declared_in_file");
    assert!(world.store.declarations().await.unwrap().is_empty());
}

#[tokio::test]
async fn everything_that_is_wrong_is_said_at_once_with_its_place() {
    let (world, token) = administered();
    let body =
        "name: cart\nrouter: edgy\nprovider: prometheus\nroute: checkout\nsteble: {}\ncanary: {backend: b}\n";
    let problem =
        send(&world, "POST", "/api/v1/targets", &token, body).await.problem(422, "invalid_configuration");
    let places: Vec<(String, Option<u64>, String)> = problem["problems"]
        .as_array()
        .unwrap()
        .iter()
        .map(|wrong| {
            let text = |field: &str| wrong[field].as_str().unwrap_or_default().to_owned();
            (text("file"), wrong["line"].as_u64(), text("field"))
        })
        .collect();
    let at = |line: u64, field: &str| ("request body".to_owned(), Some(line), field.to_owned());
    assert!(places.contains(&at(2, "router")), "{problem}");
    assert!(places.contains(&at(5, "steble")), "{problem}");
    assert!(places.len() >= 3, "the missing field too: {problem}");
    assert!(world.handle.targets().get("cart").is_none());
    // The route and the name of the path are checked too.
    let body = CART.replace("route: cart", "route: checkout");
    let problem = send(&world, "PUT", "/api/v1/targets/cart", &token, &body)
        .await
        .problem(422, "invalid_configuration");
    assert!(problem["detail"].as_str().unwrap().contains("has the same route `checkout`"), "{problem}");
    let body = format!("name: other\n{CART}");
    let problem = send(&world, "PUT", "/api/v1/targets/cart", &token, &body)
        .await
        .problem(422, "invalid_configuration");
    assert_eq!(problem["problems"][0]["field"], "name");
    let answer = world.send(
        Request::post("/api/v1/targets")
            .header(header::AUTHORIZATION, format!("Bearer {token}"))
            .body(Body::empty())
            .unwrap(),
    );
    answer.await.problem(415, "unsupported_media_type");
}

#[tokio::test]
async fn only_administrators_of_everything_declare() {
    let (world, _) = administered();
    for (role, services) in [(Role::Viewer, "*"), (Role::Operator, "*")] {
        let token = world.token(role.name(), role, &[services]);
        for (method, path) in [
            ("PUT", "/api/v1/targets/cart"),
            ("POST", "/api/v1/targets"),
            ("DELETE", "/api/v1/targets/cart"),
            ("PUT", "/api/v1/policies/quick"),
            ("POST", "/api/v1/policies"),
            ("DELETE", "/api/v1/policies/quick"),
            ("POST", "/api/v1/reload"),
        ] {
            send(&world, method, path, &token, CART).await.problem(403, "forbidden");
        }
    }
    assert!(!world.handle.targets().contains_key("cart"));
}

#[tokio::test]
async fn a_target_with_a_rollout_stays() {
    let (world, token) = administered();
    assert_eq!(send(&world, "PUT", "/api/v1/targets/cart", &token, CART).await.status, 201);
    world.store.change(|data| {
        let id = RolloutId(CHECKOUT.into());
        data.targets.insert("cart".into(), Target { active: Some(id.clone()), ..Target::new("cart") });
        let rollout = &mut data.rollouts.get_mut(&id).unwrap().rollout;
        rollout.plan_mut().target = "cart".into();
    });
    let answer = send(&world, "DELETE", "/api/v1/targets/cart", &token, "").await;
    let problem = answer.problem(409, "rollout_active");
    assert!(problem["detail"].as_str().unwrap().contains("roll it back first"), "{problem}");
    assert_eq!(problem["rollout"], CHECKOUT);
    assert!(world.handle.targets().contains_key("cart"));
}

#[tokio::test]
async fn a_rollout_keeps_what_is_judged_and_split_until_it_has_ended() {
    let (world, token) = administered();
    assert_eq!(send(&world, "PUT", "/api/v1/targets/cart", &token, CART).await.status, 201);
    let id = RolloutId(CHECKOUT.into());
    let began = Arc::clone(&world.handle.targets()["cart"]);
    world.store.change(|data| {
        data.targets.insert("cart".into(), Target { active: Some(id.clone()), ..Target::new("cart") });
        let rollout = &mut data.rollouts.get_mut(&id).unwrap().rollout;
        rollout.plan_mut().target = "cart".into();
        rollout.plan_mut().spec = Some(TargetSpec::clone(&began));
    });
    let changed = CART.replace("route: cart", "route: other") + "environment: production\n";
    let answer = send(&world, "PUT", "/api/v1/targets/cart", &token, &changed).await;
    assert_eq!(
        (answer.status, &answer.json()["waiting_for_rollout"]),
        (200, &json!(["route"])),
        "{}",
        answer.text
    );
    let now = world.handle.targets()["cart"].clone();
    assert_eq!((now.route.as_str(), now.environment.as_deref()), ("cart", Some("production")));
    // Another process that starts meanwhile keeps it too.
    let restarted = again(&world, instances()).await;
    assert_eq!(restarted.targets()["cart"].route, "cart");
    // Its end lets the new declaration in.
    world.store.change(|data| data.rollouts.get_mut(&id).unwrap().rollout.phase = Phase::Succeeded);
    world.handle.release_kept().await.unwrap();
    assert_eq!(world.handle.targets()["cart"].route, "other");
    assert!(world.handle.declared().kept().is_empty());
}

#[tokio::test]
async fn a_target_that_the_file_removes_is_rolled_back_first() {
    let (world, _) = administered();
    let id = RolloutId(CHECKOUT.into());
    let inbox = || async { world.store.pending(std::slice::from_ref(&id)).await.unwrap() };
    for _ in 0..2 {
        world.handle.declare_kept(Source::File, Declared::Whole(Vec::new())).await.unwrap();
        let commands: Vec<CommandKind> = inbox().await.into_iter().map(|entry| entry.command.kind).collect();
        assert_eq!(commands, [CommandKind::Rollback], "asked once");
        assert!(world.handle.targets().contains_key("checkout"), "it is needed for that");
    }
    world.store.change(|data| data.rollouts.get_mut(&id).unwrap().rollout.phase = Phase::Succeeded);
    let changes = world.handle.release_kept().await.unwrap();
    assert_eq!(changes.removed, [Name::Target("checkout".into())]);
    assert!(!world.handle.targets().contains_key("checkout"));
}

#[tokio::test]
async fn a_rollout_that_waits_for_a_target_that_is_removed_is_ended_first() {
    let (world, _) = administered();
    let id = RolloutId(CHECKOUT.into());
    world.store.change(|data| data.rollouts.get_mut(&id).unwrap().rollout.phase = Phase::Scheduled);
    world.handle.declare_kept(Source::File, Declared::Whole(Vec::new())).await.unwrap();
    let asked = world.store.pending(std::slice::from_ref(&id)).await.unwrap();
    assert_eq!(asked.len(), 1, "it would wait for ever");
    assert_eq!(asked[0].command.kind, CommandKind::Rollback);
    assert!(world.handle.targets().contains_key("checkout"), "it is needed for that");
}

#[tokio::test]
async fn a_rollout_that_takes_its_target_over_keeps_what_it_was_asked_for() {
    let (world, token) = administered();
    assert_eq!(send(&world, "PUT", "/api/v1/targets/cart", &token, CART).await.status, 201);
    let id = RolloutId(CHECKOUT.into());
    let asked = TargetSpec::clone(&world.handle.targets()["cart"]);
    world.store.change(|data| {
        data.targets.insert("cart".into(), Target::new("cart"));
        let rollout = &mut data.rollouts.get_mut(&id).unwrap().rollout;
        rollout.phase = Phase::Scheduled;
        rollout.plan_mut().target = "cart".into();
        rollout.plan_mut().spec = Some(asked);
        rollout.plan_mut().supersedes = Some(RolloutId("0195c100".into()));
    });
    let changed = CART.replace("route: cart", "route: other");
    assert_eq!(send(&world, "PUT", "/api/v1/targets/cart", &token, &changed).await.status, 200);
    assert_eq!(world.handle.targets()["cart"].route, "cart", "it is about to begin");
    // One that begins later takes the target as it is then.
    world.store.change(|data| {
        data.rollouts.get_mut(&id).unwrap().rollout.plan_mut().supersedes = None;
    });
    world.handle.release_kept().await.unwrap();
    assert_eq!(world.handle.targets()["cart"].route, "other");
}

/// Another process over the same store.
async fn again(world: &World, instances: Instances) -> Handle {
    let clock = Arc::new(Hands::default());
    let handle = Handle::new(Arc::new(world.store.clone()), clock, BTreeMap::new(), BTreeMap::new());
    handle.configuration().set_instances(instances);
    load_declarations(&handle).await.unwrap();
    handle.release_kept().await.unwrap();
    handle
}

#[tokio::test]
async fn what_was_declared_is_there_after_a_restart() {
    let (world, token) = administered();
    assert_eq!(send(&world, "PUT", "/api/v1/targets/cart", &token, CART).await.status, 201);
    let policy = include_str!("../../../policies/standard.yaml").replace("name: standard", "name: ours");
    let created = send(&world, "POST", "/api/v1/policies", &token, &policy).await;
    assert_eq!(created.status, 201, "{}", created.text);
    assert_eq!(world.handle.policies()["ours"].name, "ours");

    let restarted = again(&world, instances()).await;
    assert_eq!(restarted.targets()["cart"], world.handle.targets()["cart"]);
    assert_eq!(restarted.policies()["ours"], world.handle.policies()["ours"]);
    let owner = restarted.declared().owner(&Name::Target("cart".into())).unwrap();
    assert_eq!((owner.source, owner.origin.as_str()), (Source::Api, "the API (root)"));

    // Its router is gone: it is shown as wrong, and does not run.
    let without = Instances { routers: BTreeMap::new(), ..instances() };
    let restarted = again(&world, without).await;
    assert!(restarted.targets().is_empty());
    let wrong = restarted.declared().wrong();
    assert_eq!(wrong.len(), 1, "{wrong:?}");
    assert_eq!(wrong[0].0, Name::Target("cart".into()));
    assert!(wrong[0].2[0].detail().contains("there is no router `edge`"), "{wrong:?}");

    assert_eq!(send(&world, "DELETE", "/api/v1/policies/ours", &token, "").await.status, 204);
    let left = world.store.declarations().await.unwrap();
    assert_eq!(left.iter().map(|stored| stored.kind).collect::<Vec<_>>(), [DeclarationKind::Target]);
}

#[tokio::test]
async fn without_a_file_there_is_nothing_to_reload() {
    let (world, token) = administered();
    world.post("/api/v1/reload", &token, &Value::Null).await.problem(409, "no_configuration_file");
    let shown = world.get("/api/v1/reload", &token).await.json();
    assert_eq!((shown["ok"].as_bool(), shown["at"].is_null()), (Some(true), true), "{shown}");
}
