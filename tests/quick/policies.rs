//! Policies as people write them: what is read, and what is said about what is wrong.

mod bounds;
mod files;
mod kinds;
mod soup;

use std::time::Duration;

use serin::config::{Problems, parse_policy, templates};
use serin::core::limit::{Breach, GuardrailLimit, Severity};
use serin::core::policy::{AtMax, Direction, GuardrailAction, LimitOutcome, Mode, Policy, Signal};
use serin::core::source::{MatchOp, MetricSource};
use serin::core::split::Weight;

const SMALL: &str = "\
name: small
steps:
  - {weight: 5%, min: 10m}
  - {weight: 100%}
metrics:
  - {name: errors, template: http_errors}
";

fn read(text: &str) -> Result<Policy, Problems> {
    parse_policy("x.yaml", text.as_bytes())
}

fn told(text: &str) -> Vec<String> {
    read(text).expect_err(text).0.iter().map(ToString::to_string).collect()
}

/// The small policy with lines added at its end.
fn with(lines: &str) -> String {
    format!("{SMALL}{lines}")
}

#[test]
fn a_small_policy_has_the_documented_defaults() {
    let policy = read(SMALL).unwrap();
    assert_eq!(policy.name, "small");
    assert_eq!(policy.mode, Mode::Act);
    assert_eq!(policy.description, "");
    assert_eq!(policy.steps[0].weight, Weight(500));
    assert_eq!((policy.steps[0].min, policy.steps[0].max), (Duration::from_secs(600), None));
    assert_eq!(policy.steps[1].weight, Weight::FULL);
    let analysis = &policy.analysis;
    assert_eq!(analysis.interval, Duration::from_secs(10));
    assert_eq!(analysis.lag, Duration::from_secs(5));
    assert_eq!(analysis.warm_up, Duration::from_secs(60));
    assert_eq!(analysis.false_rollback_rate, 0.01);
    assert_eq!(analysis.no_harm_alpha, 0.05);
    assert_eq!(analysis.dispersion, 3.0);
    assert_eq!((analysis.blind.after, analysis.blind.then), (Duration::from_secs(600), LimitOutcome::Hold));
    assert_eq!(
        (analysis.silent.after, analysis.silent.then),
        (Duration::from_secs(60), LimitOutcome::RollBack)
    );
    let metric = &policy.metrics[0];
    assert_eq!((metric.tolerance, metric.harm_floor, metric.no_harm_floor), (0.1, 0.0005, 0.001));
    assert_eq!(metric.direction, Direction::LowerIsBetter);
    assert_eq!(metric.bad_means, templates::template("http_errors").unwrap().bad_means);
    assert!(policy.guardrails.is_empty());
    assert_eq!(policy.bake.duration, Duration::from_secs(1800));
}

#[test]
fn the_version_is_the_hash_of_the_files_bytes() {
    let version = read(SMALL).unwrap().version;
    assert_eq!(version.len(), 12);
    assert!(version.bytes().all(|b| b.is_ascii_hexdigit() && !b.is_ascii_uppercase()), "{version}");
    assert_eq!(read(SMALL).unwrap().version, version);
    assert_ne!(read(&with("# a comment\n")).unwrap().version, version);
}

#[test]
fn every_field_can_be_written() {
    let policy = read(
        r#"
name: whole
description: Everything at once.
mode: observe
steps:
  - {weight: 0.5%, min: 90s, max: 1h30m, at_max: roll_back}
  - {weight: 0.25, min: 5m, max: 1h, at_max: promote_unproven}
  - {weight: 100%}
analysis:
  interval: 500ms
  lag: 0s
  warm_up: 1s
  false_rollback_rate: 0.02
  no_harm_alpha: 10%
  dispersion: 2.5
  blind: {after: 5m, then: roll_back}
  silent: {after: 30s, then: hold}
  confirm_within: 10s
metrics:
  - name: payments
    type: proportion
    selector:
      total: [payments_total]
      bad:
        - {metric: payments_total, match: {result: failed}}
        - metric: payments_lost_total
          match: [{label: kind, op: "!~", value: "test|demo"}]
      process_start: process_start_time_seconds
    bad_means: payments that failed
    tolerance: 20%
    harm_floor: 0.1%
    no_harm_floor: 0.2%
  - name: logins
    type: proportion
    selector: {total: [logins_total], bad: [logins_ok_total]}
    bad_means: logins that worked
    direction: higher_is_better
  - name: latency
    type: latency
    selector: {histogram: {metric: job_ms, match: {queue: "a"}}, unit: milliseconds}
  - name: plain
    template: {name: http_errors, metric: my_requests_total, status_label: status}
guardrails:
  - {name: a, metric: payments, stat: rate, above: 5%, for: 1m, over: 2m, min_requests: 10, severity: low, action: alert}
  - {name: b, metric: latency, stat: p99.9, above: {difference_to_baseline: 100ms}, action: hold}
  - {name: c, metric: latency, stat: mean, above: {absolute: 1s}, action: roll_back, regardless_of_baseline: true}
  - {name: d, metric: logins, stat: rate, below: {difference_to_baseline: -2%}, action: alert}
  - {name: e, query: "sum(up{$arm})", below: {ratio_to_baseline: 0.5}, for: 5m, action: alert}
bake: {duration: 1h}
"#,
    )
    .unwrap_or_else(|problems| panic!("{problems}"));
    assert_eq!(policy.mode, Mode::Observe);
    assert_eq!(policy.steps.iter().map(|s| s.weight.0).collect::<Vec<_>>(), [50, 2500, 10_000]);
    assert_eq!(policy.steps[0].max, Some(Duration::from_secs(5400)));
    assert_eq!(policy.steps[0].at_max, AtMax::RollBack);
    assert_eq!(policy.steps[1].at_max, AtMax::PromoteUnproven);
    assert_eq!(policy.analysis.interval, Duration::from_millis(500));
    assert_eq!(policy.analysis.blind.then, LimitOutcome::RollBack);

    let MetricSource::Proportion { total, bad, process_start } = &policy.metrics[0].source else { panic!() };
    assert_eq!((total.len(), bad.len()), (1, 2));
    assert_eq!(process_start.as_deref(), Some("process_start_time_seconds"));
    assert_eq!(bad[0].matchers[0].op, MatchOp::Equal);
    assert_eq!(bad[1].matchers[0].op, MatchOp::NotMatches);
    assert_eq!(policy.metrics[0].bad_means, "payments that failed");
    assert_eq!(policy.metrics[1].direction, Direction::HigherIsBetter);
    let MetricSource::Latency { histogram, unit_seconds, .. } = &policy.metrics[2].source else { panic!() };
    assert_eq!((&*histogram.metric, &**unit_seconds), ("job_ms", "0.001"));
    let MetricSource::Proportion { bad, .. } = &policy.metrics[3].source else { panic!() };
    assert_eq!((&*bad[0].metric, &*bad[0].matchers[0].label), ("my_requests_total", "status"));

    let [a, b, c, d, e] = &policy.guardrails[..] else { panic!() };
    assert_eq!((a.limit, a.severity, a.min_requests), (GuardrailLimit::Absolute(0.05), Severity::Low, 10));
    assert_eq!(b.signal, Signal::Quantile { metric: "latency".into(), quantile: 0.999 });
    assert_eq!(b.limit, GuardrailLimit::DifferenceToBaseline(0.1));
    assert_eq!((c.limit, c.regardless_of_baseline), (GuardrailLimit::Absolute(1.0), true));
    assert_eq!(c.severity, Severity::Critical);
    assert_eq!((d.limit, d.breach), (GuardrailLimit::DifferenceToBaseline(-0.02), Breach::Below));
    assert_eq!((e.limit, e.action), (GuardrailLimit::RatioToBaseline(0.5), GuardrailAction::Alert));
    // What is stored with a rollout comes back as it was.
    let stored = serde_json::to_string(&policy).unwrap();
    assert_eq!(serde_json::from_str::<Policy>(&stored).unwrap(), policy);
}

#[test]
fn five_errors_come_at_once_each_with_its_line() {
    let problems = told(
        "name: five
steps:
  - {weight: 25%, min: 10m}
  - {weight: 10%, min: -5m}
  - {wieght: 100%}
metrics:
  - name: errors
    template: envoy_error
  - name: latency
    template: envoy_latency
guardrails:
  - {name: slow, metric: latency, stat: rate, above: 5%, action: roll_back}
",
    );
    let expected = [
        "x.yaml:4:14: steps[1].weight: 10% is not above 25%, the weight of the step before; expected more than 25%",
        "x.yaml:4:24: steps[1].min: `-5m` is negative; expected a duration such as 30s, 5m, 1h30m or 500ms",
        "x.yaml:5:5: steps[2]: the field `weight` is missing; expected the canary's share, such as `weight: 5%`",
        "x.yaml:5:6: steps[2].wieght: there is no field `wieght` here; expected `weight`, perhaps",
        "x.yaml:8:15: metrics[0].template: there is no template `envoy_error`; expected `envoy_errors`, perhaps",
        "x.yaml:12:41: guardrails[0].stat: `rate` does not fit a metric of type latency; expected mean, or",
    ];
    for expected in expected {
        assert!(
            problems.iter().any(|p| p.starts_with(expected)),
            "{expected}\nnot in\n{}",
            problems.join("\n")
        );
    }
    // One of them is two: the misspelt weight is unknown, and the right one is missing. So is `min`.
    assert_eq!(problems.len(), expected.len() + 1, "{}", problems.join("\n"));
}

#[test]
fn a_guardrail_is_not_blamed_for_a_broken_metric() {
    let text = SMALL.replace("http_errors", "nothing_known")
        + "guardrails:\n  - {name: g, metric: errors, stat: rate, above: 5%, action: alert}\n";
    let problems = told(&text);
    assert_eq!(problems.len(), 1, "{problems:#?}");
    assert!(
        problems[0].contains("there is no template `nothing_known`; expected one of envoy_errors"),
        "{problems:#?}"
    );
}

#[test]
fn what_is_not_a_policy_is_refused_plainly() {
    for (text, says) in [
        ("", "the file is empty"),
        ("# nothing\n", "the file is empty"),
        ("- a\n", "a list stands here; expected a policy"),
        ("name: [\n", "this is not valid YAML"),
        ("name: a\nname: b\n", "`name` is there twice"),
        ("a: &x [*x, *x]\n", "anchors"),
    ] {
        let found = told(text).join("\n");
        assert!(found.contains(says), "{text}: {found}");
    }
    let huge = "#".repeat(serin::config::MAX_BYTES + 1);
    assert!(told(&huge)[0].contains("too large"));
}
