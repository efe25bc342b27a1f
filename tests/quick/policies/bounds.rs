//! What the fields of a policy may hold, and what is said of each value beyond.

use super::{SMALL, told, with};

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
