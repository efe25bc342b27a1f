//! The dashboards and alert rules speak of metrics that there are, and can be imported as they are.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use regex::Regex;
use serde_json::{Value, json};
use serin::core::metric::NoData;
use serin::telemetry::{self, Definition, Kind, METRICS};

use crate::testkit::dashboards::{Dashboard, alerts, all, folder, items, text, variables_in, yaml};

/// Panel types of today's Grafana that are used here. `graph` and `singlestat` were taken out of it.
const PANELS: &[&str] =
    &["row", "timeseries", "stat", "table", "state-timeline", "barchart", "heatmap", "bargauge", "gauge"];
/// The schema of Grafana 10.4.
const OLDEST_SCHEMA: u64 = 39;
/// Variables that Grafana gives itself.
const BUILT_IN: &[&str] = &["__rate_interval", "__interval", "__range", "__from"];
/// Severities of alerts; the first four are those of notices.
const SEVERITIES: &[&str] = &["critical", "high", "medium", "low", "info"];

// --------------------------------------------------------------------------------------------- the metrics

/// The metrics that a query names, each with its labels in braces, if it has some.
fn metrics_in(expr: &str) -> Vec<(String, Vec<String>)> {
    let pattern = Regex::new(r"\b(serin_[a-z0-9_]+)(?:\{([^}]*)\})?").expect("a pattern");
    let label = Regex::new(r#"([A-Za-z_]\w*)\s*(?:=~|!~|!=|=)\s*""#).expect("a pattern");
    let labels = |text: &str| label.captures_iter(text).map(|found| found[1].to_owned()).collect();
    let of = |found: regex::Captures<'_>| {
        (found[1].to_owned(), found.get(2).map_or(Vec::new(), |inner| labels(inner.as_str())))
    };
    pattern.captures_iter(expr).map(of).collect()
}

/// The definition of a series' name.
fn definition(series: &str) -> Option<&'static Definition> {
    METRICS.iter().find(|metric| match metric.kind {
        Kind::Histogram(_) => ["_bucket", "_sum", "_count"]
            .iter()
            .any(|suffix| series.strip_suffix(suffix).is_some_and(|name| name == metric.name)),
        _ => series == metric.name,
    })
}

/// What is wrong with the metrics of a query.
fn check_metrics(expr: &str) -> Vec<String> {
    let mut found = Vec::new();
    for (series, labels) in metrics_in(expr) {
        let Some(metric) = definition(&series) else {
            found.push(format!("{series} is not in the table of own metrics"));
            continue;
        };
        let unknown = labels.iter().filter(|label| {
            !metric.labels.contains(&label.as_str()) && !["instance", "job", "le"].contains(&label.as_str())
        });
        found.extend(unknown.map(|label| format!("{series} has no label {label}")));
    }
    found
}

#[test]
fn dashboards_and_alerts_name_metrics_that_there_are() {
    let mut exprs: Vec<(String, String)> = Vec::new();
    for dashboard in all() {
        let queries = dashboard.queries().into_iter().chain(dashboard.annotation_queries());
        exprs.extend(queries.map(|query| (query.place, query.expr)));
        let variables = dashboard.variable_queries().into_iter();
        exprs.extend(variables.map(|(name, query)| (format!("{}: ${name}", dashboard.file), query)));
    }
    exprs.extend(alerts().iter().map(|alert| (text(&alert["alert"]), text(&alert["expr"]))));
    let named: BTreeSet<String> =
        exprs.iter().flat_map(|(_, expr)| metrics_in(expr)).map(|(name, _)| name).collect();
    assert!(named.len() > 30, "only {} metrics were found in the dashboards", named.len());
    let problems: Vec<String> = exprs
        .iter()
        .flat_map(|(place, expr)| check_metrics(expr).into_iter().map(move |p| format!("{place}: {p}")))
        .collect();
    assert!(problems.is_empty(), "{}", problems.join("\n"));
}

#[test]
fn every_own_metric_is_on_a_dashboard() {
    let named: BTreeSet<&str> = all()
        .iter()
        .flat_map(|dashboard| [dashboard.queries(), dashboard.annotation_queries()].concat())
        .flat_map(|query| metrics_in(&query.expr))
        .filter_map(|(series, _)| Some(definition(&series)?.name))
        .collect();
    let missing: Vec<&str> = METRICS.iter().map(|m| m.name).filter(|name| !named.contains(name)).collect();
    assert!(missing.is_empty(), "on no dashboard: {missing:?}");
}

#[test]
fn metrics_that_are_not_there_are_found() {
    let wrong = |expr: &str| check_metrics(expr).join("; ");
    assert_eq!(wrong("sum(rate(serin_ticks_total[5m])) / serin_ready"), "");
    assert_eq!(wrong("rate(serin_tick_duration_seconds_bucket{service=\"a\", le=\"1\"}[5m])"), "");
    assert!(wrong("serin_tick_total").contains("serin_tick_total is not in the table"));
    assert!(
        wrong("serin_tick_duration_seconds").contains("is not in the table"),
        "a histogram has no such series"
    );
    assert!(wrong("serin_ready_count").contains("is not in the table"), "a gauge has no such series");
    assert!(wrong("serin_ready{service=~\"a\"}").contains("has no label service"));
}

#[test]
fn reasons_without_data_all_have_a_counter_from_the_start() {
    let all = [
        NoData::Unreachable(String::new()),
        NoData::Timeout,
        NoData::Status(500),
        NoData::Refused(String::new()),
        NoData::Malformed(String::new()),
        NoData::WrongType(String::new()),
        NoData::Partial(String::new()),
        NoData::Empty,
        NoData::Stale { age_seconds: 1 },
        NoData::NotFinite,
        NoData::ManySeries(2),
        NoData::TooLarge(String::new()),
        NoData::BothArms(String::new()),
        NoData::BoundsDiffer(String::new()),
    ];
    let names: Vec<&str> = all.iter().map(NoData::name).collect();
    assert_eq!(names, telemetry::COLLECT_FAULT_WORDS);
    assert!(telemetry::PROVIDER_FAULT_WORDS.iter().all(|word| names.contains(word)));
}

// ------------------------------------------------------------------------------------------ the dashboards

/// What is wrong with a dashboard.
fn check(dashboard: &Dashboard) -> Vec<String> {
    let mut found = Vec::new();
    let json = &dashboard.json;
    if json["schemaVersion"].as_u64().is_none_or(|version| version < OLDEST_SCHEMA) {
        found.push(format!("schemaVersion {}", json["schemaVersion"]));
    }
    if !json["id"].is_null() {
        found.push("an id of its own: another dashboard may have it".to_owned());
    }
    for field in ["title", "uid", "description"] {
        if text(&json[field]).is_empty() {
            found.push(format!("no {field}"));
        }
    }
    let datasource = |variable: &&Value| {
        variable["name"] == "datasource"
            && variable["type"] == "datasource"
            && variable["query"] == "prometheus"
    };
    if !dashboard.variables().iter().any(datasource) {
        found.push("no variable `datasource` of type datasource".to_owned());
    }
    let of_variable = dashboard.variables().into_iter().filter(|v| v["type"] == "query");
    let of_annotation = dashboard.annotations().into_iter();
    for part in of_variable.chain(of_annotation) {
        if !is_variable(&part["datasource"]) {
            found.push(format!("{}: its data source is not ${{datasource}}", part["name"]));
        }
    }
    for annotation in dashboard.annotations() {
        // Older and newer versions read it at different places.
        if annotation["target"]["expr"] != annotation["expr"] || annotation["useValueForTime"] != json!(true)
        {
            found.push(format!("{}: two queries, or the value is not the time", annotation["name"]));
        }
    }
    let mut ids = BTreeMap::new();
    for panel in dashboard.panels() {
        *ids.entry(panel["id"].as_u64()).or_insert(0) += 1;
        let problems = check_panel(panel).into_iter();
        found.extend(problems.map(|problem| format!("{}: {problem}", panel["title"])));
    }
    let twice = ids.iter().filter(|(id, count)| id.is_none() || **count > 1);
    found.extend(twice.map(|(id, count)| format!("{count} panels have the id {id:?}")));
    found.extend(overlaps(dashboard));
    let declared: BTreeSet<String> = dashboard.variables().iter().map(|v| text(&v["name"])).collect();
    let whole = json.to_string();
    let unknown = variables_in(&whole).into_iter().collect::<BTreeSet<_>>();
    let unknown = unknown.iter().filter(|name| {
        !declared.contains(*name) && !BUILT_IN.contains(&name.as_str()) && name.as_str() != "__all"
    });
    found.extend(unknown.map(|name| format!("the variable ${name} is not declared")));
    found
}

fn is_variable(datasource: &Value) -> bool {
    *datasource == json!({"type": "prometheus", "uid": "${datasource}"})
}

fn check_panel(panel: &Value) -> Vec<String> {
    let mut found = Vec::new();
    let kind = text(&panel["type"]);
    if !PANELS.contains(&kind.as_str()) {
        found.push(format!("the panel type {kind:?}"));
    }
    if text(&panel["title"]).is_empty() {
        found.push("no title".to_owned());
    }
    if kind == "row" {
        return found;
    }
    if text(&panel["fieldConfig"]["defaults"]["unit"]).is_empty() {
        found.push("no unit".to_owned());
    }
    let description = text(&panel["description"]);
    if !description.ends_with('.') || description.len() < 20 {
        found.push(format!("the description {description:?} is no sentence"));
    }
    if !is_variable(&panel["datasource"]) {
        found.push("its data source is not ${datasource}".to_owned());
    }
    if items(&panel["targets"]).next().is_none() {
        found.push("no query".to_owned());
    }
    let mut letters = BTreeSet::new();
    for target in items(&panel["targets"]) {
        if !is_variable(&target["datasource"]) {
            found.push(format!("{}: its data source is not ${{datasource}}", target["refId"]));
        }
        if text(&target["expr"]).is_empty() || !letters.insert(text(&target["refId"])) {
            found.push(format!("{}: no query, or its letter is there twice", target["refId"]));
        }
        if target["instant"] == target["range"] {
            found.push(format!("{}: either instant or range", target["refId"]));
        }
    }
    found
}

/// Panels that lie on one another or stick out of the 24 columns.
fn overlaps(dashboard: &Dashboard) -> Vec<String> {
    let mut taken: BTreeMap<(u64, u64), String> = BTreeMap::new();
    let mut found = Vec::new();
    for panel in items(&dashboard.json["panels"]) {
        let at = |field: &str| panel["gridPos"][field].as_u64().unwrap_or(99);
        let title = text(&panel["title"]);
        if at("x") + at("w") > 24 {
            found.push(format!("{title}: wider than the page"));
        }
        for cell in
            (at("x")..at("x") + at("w")).flat_map(|x| (at("y")..at("y") + at("h")).map(move |y| (x, y)))
        {
            if let Some(other) = taken.insert(cell, title.clone()).filter(|other| *other != title) {
                found.push(format!("{title} lies on {other}"));
                break;
            }
        }
    }
    found
}

#[test]
fn dashboards_can_be_imported_as_they_are() {
    let dashboards = all();
    let files: Vec<&str> = dashboards.iter().map(|dashboard| dashboard.file.as_str()).collect();
    assert_eq!(files, ["fleet.json", "rollout.json", "serin.json"]);
    let uids: BTreeSet<String> = dashboards.iter().map(|dashboard| text(&dashboard.json["uid"])).collect();
    assert_eq!(uids.len(), dashboards.len(), "two dashboards have one uid: {uids:?}");
    for dashboard in &dashboards {
        let found = check(dashboard);
        assert!(found.is_empty(), "{}:\n{}", dashboard.file, found.join("\n"));
        let named: Vec<String> = dashboard.annotations().iter().map(|one| text(&one["name"])).collect();
        assert_eq!(
            named,
            ["Rollout started", "Step changed", "Rolled back", "Promoted"],
            "{}",
            dashboard.file
        );
    }
}

#[test]
fn wrong_dashboards_are_found() {
    type Change<'a> = &'a dyn Fn(&mut Value);
    let spoil = |change: Change<'_>| {
        let mut dashboard = all().remove(1);
        change(&mut dashboard.json);
        check(&dashboard).join("\n")
    };
    assert_eq!(spoil(&|_| {}), "");
    let panel = 1; // The first after its row.
    let cases: [(Change<'_>, &str); 12] = [
        (&|json| json["schemaVersion"] = json!(30), "schemaVersion 30"),
        (&|json| json["panels"][panel]["type"] = json!("graph"), "the panel type \"graph\""),
        (&|json| json["panels"][panel]["id"] = json!(1), "2 panels have the id Some(1)"),
        (&|json| json["panels"][panel]["fieldConfig"]["defaults"]["unit"] = json!(""), "no unit"),
        (&|json| json["panels"][panel]["description"] = json!("Phase"), "is no sentence"),
        (&|json| json["panels"][panel]["targets"][0]["datasource"]["uid"] = json!("abc"), "data source"),
        (&|json| json["panels"][panel]["targets"] = json!([]), "no query"),
        (&|json| json["panels"][panel]["gridPos"]["w"] = json!(9), "lies on"),
        (&|json| json["panels"][panel]["targets"][0]["expr"] = json!("x{a=\"$b\"}"), "$b is not declared"),
        (&|json| json["annotations"]["list"][1]["datasource"] = json!(null), "data source"),
        (&|json| json["annotations"]["list"][1]["expr"] = json!("up"), "two queries"),
        (&|json| json["templating"]["list"] = json!([]), "no variable `datasource`"),
    ];
    for (change, expected) in cases {
        let found = spoil(change);
        assert!(found.contains(expected), "{expected} was not found in: {found}");
    }
}

// ---------------------------------------------------------------------------------------------- the alerts

fn check_alert(alert: &Value) -> Vec<String> {
    let mut found = Vec::new();
    let name = text(&alert["alert"]);
    if !name.starts_with("Serin") || text(&alert["expr"]).is_empty() {
        found.push("a name that begins with Serin, and an expression".to_owned());
    }
    let severity = text(&alert["labels"]["severity"]);
    if !SEVERITIES.contains(&severity.as_str()) {
        found.push(format!("the severity {severity:?}"));
    }
    for (field, least) in [("summary", 20), ("description", 60), ("runbook", 60)] {
        let sentence = text(&alert["annotations"][field]);
        if sentence.len() < least || !sentence.ends_with('.') {
            found.push(format!("no {field} that says enough: {sentence:?}"));
        }
    }
    found
}

#[test]
fn alerts_say_what_is_wrong_and_what_to_do() {
    let alerts = alerts();
    let names: BTreeSet<String> = alerts.iter().map(|alert| text(&alert["alert"])).collect();
    assert_eq!(names.len(), alerts.len(), "two alerts have one name");
    assert!(names.len() >= 12, "{names:?}");
    for alert in &alerts {
        let found = check_alert(alert);
        assert!(found.is_empty(), "{}: {}", alert["alert"], found.join("; "));
    }
    let mut poor = alerts[0].clone();
    poor["annotations"]["runbook"] = json!("Look.");
    poor["labels"]["severity"] = json!("P1");
    assert_eq!(check_alert(&poor).len(), 2);
}

#[test]
fn every_alert_is_tested_firing_and_quiet() {
    let tests =
        yaml(&fs::read_to_string(folder().join("alerts.test.yaml")).expect("the tests of the alerts"));
    let mut tested: BTreeMap<String, (u32, u32)> = BTreeMap::new();
    for one in items(&tests["tests"]).flat_map(|test| items(&test["alert_rule_test"])) {
        let counts = tested.entry(text(&one["alertname"])).or_default();
        match items(&one["exp_alerts"]).count() {
            0 => counts.1 += 1,
            _ => counts.0 += 1,
        }
    }
    let names: BTreeSet<String> = alerts().iter().map(|alert| text(&alert["alert"])).collect();
    assert_eq!(tested.keys().cloned().collect::<BTreeSet<_>>(), names);
    for (name, (firing, quiet)) in tested {
        assert!(firing > 0 && quiet > 0, "{name}: {firing} times firing, {quiet} times quiet");
    }
}
