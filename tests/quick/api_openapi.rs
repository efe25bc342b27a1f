//! The description of the API: complete, sound, and the one that is checked in.

use std::collections::BTreeSet;
use std::path::Path;

use serde_json::Value;

use super::world;

fn references(value: &Value, found: &mut BTreeSet<String>) {
    match value {
        Value::Object(fields) => {
            for (name, value) in fields {
                match value.as_str().filter(|_| name == "$ref") {
                    Some(reference) => drop(found.insert(reference.to_owned())),
                    None => references(value, found),
                }
            }
        }
        Value::Array(items) => items.iter().for_each(|item| references(item, found)),
        _ => {}
    }
}

#[tokio::test]
async fn the_description_is_the_one_that_is_checked_in() {
    let answer = world().get("/api/v1/openapi.json").await;
    assert_eq!((answer.status, answer.kind.as_str()), (200, "application/json"));
    let served = answer.json();
    assert_eq!(&served, serin::api::openapi());
    let mut text = serde_json::to_string_pretty(&served).unwrap();
    text.push('\n');
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/openapi.json");
    if std::env::var_os("SERIN_BLESS").is_some() {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, &text).unwrap();
    }
    let kept = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(kept == text, "docs/openapi.json is not what is served; SERIN_BLESS=1 writes it anew");
}

#[test]
fn every_route_is_described() {
    let document = serin::api::openapi();
    assert!(document["openapi"].as_str().unwrap().starts_with("3.1"));
    let source = include_str!("../../src/api.rs");
    let mut found = 0;
    for route in source.split(".route(").skip(1) {
        let (path, handlers) = route.trim().strip_prefix('"').unwrap().split_once('"').unwrap();
        let beside = ["/livez", "/readyz", "/metrics"].contains(&path);
        let path = if beside { path.to_owned() } else { format!("/api/v1{path}") };
        for method in ["get", "post", "put", "patch", "delete"] {
            if handlers.contains(&format!("{method}(")) {
                let operation = &document["paths"][&path][method];
                assert!(operation.is_object(), "{method} {path} is not described");
                assert!(operation["summary"].is_string(), "{method} {path} does not say what it does");
                assert!(operation["responses"]["default"].is_object(), "{method} {path} has no problems");
                found += 1;
            }
        }
    }
    let described: usize =
        document["paths"].as_object().unwrap().values().map(|item| item.as_object().unwrap().len()).sum();
    assert_eq!(found, described, "what is described is there");
    assert!(found > 20, "the routes were not found");
}

#[test]
fn every_reference_leads_somewhere_and_every_operation_has_its_own_name() {
    let document = serin::api::openapi();
    let mut found = BTreeSet::new();
    references(document, &mut found);
    assert!(found.len() > 20, "{found:?}");
    for reference in found {
        let pointer = reference.strip_prefix('#').unwrap();
        assert!(document.pointer(pointer).is_some(), "{reference}");
    }
    let mut names = BTreeSet::new();
    for operation in
        document["paths"].as_object().unwrap().values().flat_map(|item| item.as_object().unwrap().values())
    {
        assert!(names.insert(operation["operationId"].to_string()), "{operation}");
    }
}

#[tokio::test]
async fn the_page_loads_nothing_and_has_every_path() {
    let answer = world().get("/api/v1/docs").await;
    assert_eq!((answer.status, answer.kind.as_str()), (200, "text/html; charset=utf-8"));
    for foreign in ["<script", "http://", "https://", "src=", "@import"] {
        assert!(!answer.text.contains(foreign), "{foreign}");
    }
    for path in serin::api::openapi()["paths"].as_object().unwrap().keys() {
        assert!(answer.text.contains(&format!(" {path}</code>")), "{path}");
    }
}

/// What handlers answer is what is described: the fields that are there, and no others.
#[tokio::test]
async fn answers_have_the_described_fields() {
    let world = world().with_rollout();
    for (path, name) in [
        ("/api/v1/rollouts/0195c1a8", "RolloutView"),
        ("/api/v1/rollouts/0195c1a8/series", "SeriesView"),
        ("/api/v1/rollouts/0195c1a8/report", "ReportView"),
        ("/api/v1/overview", "OverviewView"),
        ("/api/v1/targets/checkout", "TargetView"),
        ("/api/v1/policies/standard", "PolicyView"),
        ("/api/v1/rollouts/nothing", "Problem"),
    ] {
        let schema = &serin::api::openapi()["components"]["schemas"][name];
        let described: BTreeSet<&String> = schema["properties"].as_object().unwrap().keys().collect();
        let answer = world.get(path).await.json();
        let fields = answer.as_object().unwrap();
        for field in fields.keys() {
            assert!(described.contains(field), "{name} has {field}, which is not described");
        }
        for required in schema["required"].as_array().into_iter().flatten() {
            assert!(fields.contains_key(required.as_str().unwrap()), "{name} lacks {required}");
        }
    }
}
