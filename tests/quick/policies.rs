//! Policies as people write them: what is read, and what is said about what is wrong.

use std::path::{Path, PathBuf};
use std::time::Duration;

use proptest::prelude::*;
use serin::config::{Problems, check_policies, load_policy, parse_policy, policy_warnings, templates};
use serin::core::policy::{
    AtMax, Breach, Direction, GuardrailAction, GuardrailLimit, LimitOutcome, MatchOp, MetricSource, Mode,
    Policy, Severity, Signal,
};
use serin::core::target::Weight;

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

/// The small policy with `from` replaced by `to` is refused with one problem that begins so.
fn refused(from: &str, to: &str, begins: &str) {
    let text = SMALL.replacen(from, to, 1);
    assert_ne!(text, SMALL, "`{from}` is not in the small policy");
    let problems = told(&text);
    assert!(
        problems.len() == 1 && problems[0].starts_with(begins),
        "expected one problem that begins with\n  {begins}\nbut found\n  {}",
        problems.join("\n  ")
    );
}

/// The small policy with lines added at its end.
fn with(lines: &str) -> String {
    format!("{SMALL}{lines}")
}

fn shipped(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("policies").join(name)
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
fn weights() {
    let steps = |steps: &str| {
        let text = SMALL.replacen("- {weight: 5%, min: 10m}\n  - {weight: 100%}", steps, 1);
        told(&text).join("\n")
    };
    let found = steps("- {weight: 5%, min: 10m}");
    assert!(found.contains("steps[0].weight: the last step has 5%"), "{found}");
    assert!(found.ends_with("expected 100% in the last step"), "{found}");
    let found = steps("- {weight: 25%, min: 1m}\n  - {weight: 25%, min: 1m}\n  - {weight: 100%}");
    assert!(found.contains("25% is not above 25%"), "{found}");
    let found = steps("- {weight: 100%}\n  - {weight: 5%, min: 1m}");
    assert!(found.contains("5% is not above 100%") && found.contains("the last step has 5%"), "{found}");
    let found = steps("- {weight: 0%, min: 1m}\n  - {weight: 100%}");
    assert!(found.contains("a step of 0%"), "{found}");
    let found = steps("- {weight: 5, min: 1m}\n  - {weight: 100%}");
    assert!(found.contains("`5` can be read in two ways; expected 5% if percent is meant"), "{found}");
    let found = steps("- {weight: 0.001%, min: 1m}\n  - {weight: 100%}");
    assert!(found.contains("too fine"), "{found}");
    let found = steps("- {weight: 120%, min: 1m}\n  - {weight: 100%}");
    assert!(found.contains("120% is too much; expected a ratio from 0% to 100%"), "{found}");
    let found = steps("[]");
    assert!(found.contains("there is no step"), "{found}");
    let found = steps(&"- {weight: 1%, min: 1m}\n  ".repeat(51));
    assert!(found.contains("there are 51 items; expected at most 50"), "{found}");
}

#[test]
fn durations_are_within_bounds() {
    let min = "x.yaml:3:23: steps[0].min: ";
    refused("10m", "10", &format!("{min}`10` has no unit; expected 10s, 10m"));
    refused("10m", "-10m", &format!("{min}`-10m` is negative"));
    refused("10m", "5s", &format!("{min}5s is too little; expected a duration from 10s to 30d"));
    refused("10m", "400d", &format!("{min}400d is too much"));
    refused("10m", "99999999999999999999h", &format!("{min}`99999999999999999999h` is too long"));
    refused("10m", "1\n\n    2m", &format!("{min}`1\\n2m` is not a duration"));
    refused("10m", "soon", &format!("{min}`soon` is not a duration"));
    refused("10m", "10m, max: 5m", "x.yaml:3:33: steps[0].max: 5m is less than `min`; expected at least 10m");
    refused("10m", "30s, max: 60s", "x.yaml:3:33: steps[0].max: 1m is over before the warm-up of 1m is");
    refused("10m", "10m, at_max: hold", "x.yaml:3:36: steps[0].at_max: `at_max` has no effect without `max`");
    refused("100%", "100%, min: 5m", "x.yaml:4:25: steps[1].min: `min` has no effect at 100%");
}

#[test]
fn the_analysis_is_within_bounds() {
    for (line, says) in [
        ("{interval: 0s}", "interval: 0s is too little"),
        ("{interval: 2h}", "interval: 2h is too much"),
        ("{false_rollback_rate: 0}", "false_rollback_rate: 0% is too little"),
        ("{false_rollback_rate: 1}", "false_rollback_rate: `1` can be read in two ways"),
        ("{no_harm_alpha: 60%}", "no_harm_alpha: 60% is too much"),
        ("{dispersion: 0.5}", "dispersion: 0.5 is too little"),
        ("{dispersion: .inf}", "dispersion: `.inf` is not a number"),
        ("{silent: {after: 5s}}", "silent.after: 5s is too little; expected a duration from 10s"),
        (
            "{blind: {then: promote}}",
            "blind.then: `promote` is not known here; expected one of hold, roll_back",
        ),
        ("{silent: 60s}", "silent: a single value stands here; expected a mapping with `after`"),
        ("[1]", "analysis: a list stands here"),
    ] {
        let found = told(&with(&format!("analysis: {line}\n"))).join("\n");
        assert!(found.contains(says) && found.starts_with("x.yaml:7:"), "{line}: {found}");
    }
}

#[test]
fn metrics_must_be_whole() {
    let metric =
        |text: &str| told(&SMALL.replacen("- {name: errors, template: http_errors}", text, 1)).join("\n");
    for (text, says) in [
        ("[]", "there is no metric, so nothing could be judged"),
        ("- {name: errors}", "has neither a `template` nor a `selector`"),
        ("- {name: errors, template: http_errors, type: latency}", "type: the type is latency, but"),
        ("- {name: a b, template: http_errors}", "metrics[0].name: `a b` is not a name"),
        ("- {name: errors, template: {name: http_errors, label: x}}", "there is no field `label` here"),
        (
            "- {name: e, template: {name: http_errors, status_label: 'a\"b'}}",
            "cannot be the name of a metric or label",
        ),
        (
            "- {name: e, template: {name: envoy_errors, metric: x}}",
            "there is no field `metric` here; expected `name`",
        ),
        ("- {name: e, template: http_errors, selector: {}}", "there is a `template` and a `selector`"),
        ("- {name: e, bad_means: x, selector: {total: [], bad: [b]}}", "total: the list is empty"),
        ("- {name: e, bad_means: x, selector: {total: [a], bad: [a]}}", "every request would be bad"),
        ("- {name: e, selector: {total: [a], bad: [b]}}", "the field `bad_means` is missing"),
        ("- {name: e, bad_means: x, selector: {total: ['a{b=\"c\"}'], bad: [b]}}", "is not a metric's name"),
        (
            "- {name: e, bad_means: x, selector: {total: [a], bad: [{metric: a, match: {1x: y}}]}}",
            "`1x` is not a label's name",
        ),
        (
            "- {name: e, bad_means: x, selector: {total: [a], bad: [{metric: a, match: {__name__: y}}]}}",
            "is not a label's name",
        ),
        (
            "- {name: e, bad_means: x, selector: {total: [a], bad: [{metric: a, match: [{label: x, op: '~', value: y}]}]}}",
            "expected one of =, !=, =~, !~",
        ),
        ("- {name: l, selector: {histogram: a_bucket}}", "is a part of a histogram; expected `a`"),
        ("- {name: l, selector: {histogram: {metric: a, match: {le: '1'}}}}", "the label `le`"),
        (
            "- {name: l, selector: {histogram: a, unit: hours}}",
            "expected one of seconds, milliseconds, microseconds",
        ),
        (
            "- {name: l, template: http_latency, direction: higher_is_better}",
            "cannot be better when it is higher",
        ),
        (
            "- {name: e, template: http_errors, harm_floor: 0.2%}",
            "no_harm_floor (0.1%) is not above harm_floor (0.2%)",
        ),
        ("- {name: e, template: http_errors, tolerance: 2000%}", "2000% is too much"),
        (
            "- {name: e, template: http_errors}\n  - {name: e, template: http_errors}",
            "metrics[1]: the name `e` is there twice; it was first used in line 6",
        ),
    ] {
        let found = metric(text);
        assert!(found.contains(says), "{text}: {found}");
        assert_eq!(found.lines().count(), 1, "{text}: {found}");
    }
}

#[test]
fn guardrails_must_fit_their_metric() {
    let head = "  - {name: latency, template: http_latency}\nguardrails:\n  - ";
    for (text, says) in [
        (
            "{name: g, metric: error, stat: rate, above: 5%, action: alert}",
            "no metric `error`; expected `errors`, perhaps",
        ),
        (
            "{name: g, metric: errors, stat: p95, above: 5s, action: alert}",
            "`p95` does not fit a metric of type proportion; expected rate",
        ),
        ("{name: g, metric: latency, stat: p100, above: 5s, action: alert}", "`p100` is not known here"),
        ("{name: g, metric: latency, stat: p95, above: 5%, action: alert}", "`5%` is not a duration"),
        ("{name: g, metric: errors, stat: rate, above: 5s, action: alert}", "`5s` is not a ratio"),
        ("{name: g, metric: errors, stat: rate, above: 5, action: alert}", "`5` can be read in two ways"),
        ("{name: g, metric: errors, stat: rate, action: alert}", "the guardrail has no limit"),
        (
            "{name: g, metric: errors, stat: rate, above: 5%, below: 1%, action: alert}",
            "an `above` and a `below`",
        ),
        ("{name: g, metric: errors, stat: rate, above: {}, action: alert}", "exactly one of absolute"),
        (
            "{name: g, metric: errors, stat: rate, above: {ratio: 2}, action: alert}",
            "there is no field `ratio`",
        ),
        (
            "{name: g, metric: errors, stat: rate, above: {ratio_to_baseline: 150%}, action: alert}",
            "`150%` is not a factor",
        ),
        (
            "{name: g, metric: errors, stat: rate, above: {ratio_to_baseline: -2}, action: alert}",
            "`-2` is not a factor",
        ),
        (
            "{name: g, metric: errors, stat: rate, above: {difference_to_baseline: -2%}, action: alert}",
            "expected a difference above zero",
        ),
        (
            "{name: g, metric: errors, stat: rate, below: {difference_to_baseline: 2%}, action: alert}",
            "expected a negative difference",
        ),
        ("{name: g, metric: errors, stat: rate, above: 5%}", "the field `action` is missing"),
        (
            "{name: g, metric: errors, stat: rate, above: 5%, action: rollback}",
            "expected `roll_back`, perhaps",
        ),
        (
            "{name: g, metric: errors, stat: rate, above: 5%, action: alert, severity: p0}",
            "one of low, medium, high, critical",
        ),
        (
            "{name: g, metric: errors, stat: rate, above: 5%, action: alert, min_requests: 0}",
            "0 is out of range",
        ),
        (
            "{name: g, metric: errors, stat: rate, above: 5%, action: alert, over: 1s}",
            "over: 1s is too little; expected a duration from 10s",
        ),
        (
            "{name: g, metric: errors, stat: rate, above: 5%, action: alert, regardless_of_baseline: 'true'}",
            "neither true nor false",
        ),
        ("{name: g, query: 'sum(up)', above: 1, action: alert}", "does not contain `$arm`"),
        (
            "{name: g, query: 'sum(up{$arm})', above: 1, over: 1m, action: alert}",
            "`over` has no effect on a query",
        ),
        (
            "{name: g, query: 'sum(up{$arm})', stat: rate, above: 1, action: alert}",
            "there is a `query` and a `stat`",
        ),
    ] {
        let found = told(&with(&format!("{head}{text}\n"))).join("\n");
        assert!(found.contains(says) && found.starts_with("x.yaml:9:"), "{text}: {found}");
    }
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

#[test]
fn the_shipped_policies_are_read_without_a_warning() {
    for name in ["standard", "hotfix"] {
        let policy = load_policy(shipped(&format!("{name}.yaml"))).unwrap_or_else(|p| panic!("{p}"));
        assert_eq!(policy.name, name);
        assert_eq!(policy.steps.iter().map(|s| s.weight.0).collect::<Vec<_>>(), [500, 2500, 10_000]);
        assert!(!policy.description.is_empty());
        let warnings = policy_warnings(&policy);
        assert!(warnings.is_empty(), "{warnings:#?}");
    }
    let standard = load_policy(shipped("standard.yaml")).unwrap();
    assert_eq!(standard.steps[0].min, Duration::from_secs(1800));
    // "At once" is within 5 minutes of the first breach, the others within 15.
    for guardrail in standard.guardrails.iter().filter(|g| g.action == GuardrailAction::RollBack) {
        let limit =
            if guardrail.name.ends_with("at-once") || guardrail.name.ends_with("5s") { 5 } else { 15 };
        let latest = guardrail.hold_for + guardrail.over;
        assert!(latest <= Duration::from_secs(limit * 60), "{}", guardrail.name);
    }
    let hotfix = load_policy(shipped("hotfix.yaml")).unwrap();
    for guardrail in &hotfix.guardrails {
        assert_eq!(guardrail.action, GuardrailAction::RollBack, "{}", guardrail.name);
        assert!(guardrail.hold_for + guardrail.over <= Duration::from_secs(300), "{}", guardrail.name);
    }
}

#[test]
fn what_is_dubious_is_told() {
    let warnings = policy_warnings(&read(SMALL).unwrap());
    let told = warnings.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n");
    assert!(told.contains("policy small: steps[0].max: without `max` the step waits"), "{told}");
    assert!(told.contains("policy small: guardrails: no guardrail has an absolute limit"), "{told}");

    let text = SMALL.replace("- {weight: 5%, min: 10m}\n", "").replace("http_errors", "http_latency")
        + "analysis: {dispersion: 1, false_rollback_rate: 20%, silent: {after: 10s, then: hold}}
guardrails:
  - {name: a, metric: errors, stat: p99, above: {ratio_to_baseline: 1}, min_requests: 20, action: alert}
bake: {duration: 0s}
";
    let warnings = policy_warnings(&read(&text).unwrap());
    let told = warnings.iter().map(|w| w.field.as_str()).collect::<Vec<_>>();
    assert_eq!(
        told,
        [
            "steps",
            "analysis.false_rollback_rate",
            "analysis.dispersion",
            "analysis.silent.after",
            "analysis.silent.then",
            "metrics",
            "guardrails[0].ratio_to_baseline",
            "guardrails[0].min_requests",
            "bake.duration",
            "guardrails",
        ]
    );
}

#[test]
fn directories_are_read_and_a_name_belongs_to_one_policy() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
    write("a.yaml", SMALL);
    write("b.yml", &SMALL.replace("small", "other"));
    write("c.yaml", &with("# the same name again\n"));
    write("d.yaml", "name: broken\n");
    write("notes.txt", "not a policy");
    let missing = folder.path().join("missing.yaml");
    let results = check_policies(&[folder.path().to_owned(), folder.path().join("a.yaml"), missing]);
    let names =
        results.iter().map(|(path, _)| path.file_name().unwrap().to_str().unwrap()).collect::<Vec<_>>();
    assert_eq!(names, ["a.yaml", "b.yml", "c.yaml", "d.yaml", "missing.yaml"]);
    assert_eq!(results[0].1.as_ref().unwrap().name, "small");
    assert_eq!(results[1].1.as_ref().unwrap().name, "other");
    let twice = results[2].1.as_ref().unwrap_err().to_string();
    assert!(twice.contains("the policy `small` is already in") && twice.contains("a.yaml"), "{twice}");
    assert_eq!(results[3].1.as_ref().unwrap_err().0.len(), 2);
    assert!(results[4].1.as_ref().unwrap_err().to_string().contains("cannot be read"));

    let empty = tempfile::tempdir().unwrap();
    let results = check_policies(&[empty.path()]);
    assert!(results[0].1.as_ref().unwrap_err().to_string().contains("the directory has no policy"));
}

/// Pieces of which policies are made, and some of which YAML is.
fn piece() -> impl Strategy<Value = String> {
    const PIECES: &[&str] = &[
        "name",
        "steps",
        "weight",
        "min",
        "metrics",
        "template",
        "http_errors",
        "selector",
        "total",
        "bad",
        "guardrails",
        "above",
        "analysis",
        ": ",
        ":\n  ",
        "\n",
        "\n- ",
        "\n  - ",
        "- ",
        "{",
        "}",
        "[",
        "]",
        ",",
        "5%",
        "0.05",
        "5",
        "-5m",
        "1h30m",
        "99999999999999999999d",
        "\"",
        "'",
        "|",
        ">",
        "|\n  x\n",
        "? ",
        "!!a ",
        "&a ",
        "*a",
        "---\n",
        "...\n",
        "%YAML 1.2\n",
        "#",
        "\t",
        "\r\n",
        "\u{feff}",
        "\u{0}",
        "é",
        "~",
        "null",
        "<<",
    ];
    prop_oneof![8 => proptest::sample::select(PIECES).prop_map(str::to_owned), 1 => "\\PC{0,4}"]
}

proptest! {
    #[test]
    fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        let _ = parse_policy("x.yaml", &bytes);
    }

    #[test]
    fn arbitrary_yaml_is_read_or_refused_with_a_reason(
        pieces in proptest::collection::vec(piece(), 0..60),
        at in 0usize..200,
        inside in any::<bool>(),
    ) {
        let soup = pieces.concat();
        let text = if inside {
            // A wound in a policy that is well otherwise.
            let at = at.min(SMALL.len());
            format!("{}{soup}{}", &SMALL[..at], &SMALL[at..])
        } else {
            soup
        };
        if let Err(problems) = parse_policy("x.yaml", text.as_bytes()) {
            prop_assert!(!problems.0.is_empty());
            for problem in &problems.0 {
                prop_assert!(!problem.message.is_empty());
                prop_assert_eq!(problem.to_string().lines().count(), 1, "{:?}", problem);
            }
        }
    }
}
