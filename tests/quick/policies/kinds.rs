//! Metrics that are no share and no histogram, and what is said of 100%.

use serin::core::policy::{Direction, GuardrailAction};
use serin::core::source::{Exposure, MetricSource};

use super::{SMALL, read, told, with};

fn metric(text: &str) -> String {
    format!("{SMALL}  - {text}\n")
}

#[test]
fn rates_means_and_saturations_are_read() {
    let policy =
        read(&metric("{name: restarts, type: rate, selector: {events: [restarts_total], per: instance}}"));
    let policy = policy.unwrap();
    let restarts = &policy.metrics[1];
    assert!(matches!(&restarts.source, MetricSource::Rate { per: Exposure::Instance, .. }));
    assert_eq!((restarts.harm_floor, restarts.no_harm_floor), (0.0, 0.01));
    let text = metric(
        "{name: orders, selector: {events: [orders_total]}, direction: higher_is_better, no_harm_floor: 2}",
    );
    let orders = &read(&text).unwrap().metrics[1];
    assert!(matches!(&orders.source, MetricSource::Rate { per: Exposure::Share, .. }));
    assert_eq!((orders.direction, orders.no_harm_floor), (Direction::HigherIsBetter, 2.0));
    let text = metric("{name: pool, type: saturation, query: 'avg(pool{$arm})', harm_floor: 0.05}");
    let pool = &read(&text).unwrap().metrics[1];
    assert_eq!(pool.source.query(), Some("avg(pool{$arm})"));
    assert_eq!((pool.harm_floor, pool.no_harm_floor), (0.05, 0.05));
}

#[test]
fn what_is_wrong_with_them_is_told() {
    for (text, said) in [
        ("{name: m, query: 'x{$arm}'}", "its `type` is missing"),
        ("{name: m, type: mean, query: 'x'}", "does not contain `$arm`"),
        ("{name: m, type: proportion, query: 'x{$arm}'}", "needs exact counts"),
        ("{name: m, type: rate, selector: {events: []}}", "the list is empty"),
        ("{name: m, selector: {events: [a], per: hour}}", "per"),
        ("{name: m, template: http_errors, query: 'x{$arm}'}", "there is a `template` and a `query`"),
        (
            "{name: m, type: mean, query: 'x{$arm}', harm_floor: 3, no_harm_floor: 1}",
            "is not above harm_floor",
        ),
        ("{name: m, template: {name: istio_errors, reporter: 'a b'}}", "cannot be the name"),
        ("{name: m, template: http_errors, by_route: 'a b'}", "is not a label's name"),
        ("{name: m, type: mean, query: 'x{$arm}', by_route: route}", "only proportions and latencies"),
    ] {
        let problems = told(&metric(text)).join("\n");
        assert!(problems.contains(said), "{text}: {problems}");
        assert!(problems.contains("x.yaml:7:"), "{text}: {problems}");
    }
    let only =
        SMALL.replace("{name: errors, template: http_errors}", "{name: m, type: mean, query: 'x{$arm}'}");
    assert!(told(&only).join("\n").contains("no metric counts requests"));
}

#[test]
fn what_holds_at_full_traffic_is_read_and_checked() {
    let text = with(
        "bake: {duration: 1h, holdback: {weight: 10%, for: 30m}, limits: [{metric: errors, above: 2%, action: roll_back}]}\n",
    );
    let policy = read(&text).unwrap();
    assert_eq!(policy.steps.iter().map(|step| step.weight.0).collect::<Vec<_>>(), [500, 9000, 10_000]);
    assert_eq!(policy.bake.limits[0].action, GuardrailAction::RollBack);
    for (text, said) in [
        (
            "bake: {duration: 1h, limits: [{metric: mistakes, above: 2%, action: alert}]}\n",
            "no metric `mistakes`",
        ),
        ("bake: {duration: 1h, limits: [{metric: errors, above: 0%, action: alert}]}\n", "above"),
        ("bake: {duration: 1h, limits: [{metric: errors, above: 2%}]}\n", "action"),
        (
            "bake: {duration: 1h, limits: [{metric: errors, times_before: 1, action: alert}]}\n",
            "times_before",
        ),
        (
            "bake: {duration: 1h, limits: [{metric: errors, above: 2%, times_before: 2, action: alert}]}\n",
            "one of the two",
        ),
        ("analysis: {traffic_share: maybe}\n", "traffic_share"),
        ("analysis: {traffic_share: {action: promote}}\n", "traffic_share.action"),
    ] {
        assert!(told(&with(text)).join("\n").contains(said), "{text}: {:?}", told(&with(text)));
    }
    let before = "bake: {duration: 1h, limits: [{metric: errors, times_before: 1.5, action: alert}]}\n";
    let policy = read(&with(before)).unwrap();
    assert_eq!(policy.bake.limits[0].limit, serin::core::policy::BakeBound::TimesBefore(1.5));
    let high = SMALL.replace("weight: 5%", "weight: 97%");
    let text = format!("{high}bake: {{duration: 1h, holdback: {{weight: 5%, for: 30m}}}}\n");
    assert!(told(&text).join("\n").contains("would not rise above 97%"), "{:?}", told(&text));
}
