//! The guardrails of a policy.

use std::time::Duration;

use crate::core::limit::{Breach, GuardrailLimit, Severity};
use crate::core::policy::{Guardrail, GuardrailAction, Signal};
use crate::core::words;

use super::decode::{Field, Fields, shorten, suggest};
use super::metric::Known;
use super::templates::MetricKind;
use super::values;

const OVER: Duration = Duration::from_secs(60);
const MIN_REQUESTS: u64 = 50;
const DAY: Duration = Duration::from_secs(86_400);

/// What the values of a signal are.
#[derive(Clone, Copy, PartialEq)]
enum Unit {
    /// A share in [0, 1], written as `5%`.
    Share,
    /// Seconds, written as a duration.
    Time,
    /// A number of the query.
    Number,
}

/// Reads one guardrail. `interval` is the analysis interval, where it is known.
pub(super) fn guardrail(
    field: &Field<'_>,
    metrics: &[Known],
    interval: Option<Duration>,
) -> Option<Guardrail> {
    let fields =
        field.fields("a guardrail: a mapping with `name`, `metric`, `stat`, `above` and `action`")?;
    let name = fields.need("name", "a name for explanations").and_then(|f| f.name());
    let is_query = fields.get("query").is_some();
    let (signal, unit) = if is_query { query(&fields) } else { stat(&fields, metrics) };
    let limit = limit(&fields, unit);
    let hold_for = fields.or("for", Duration::ZERO, |f| f.duration(Duration::ZERO..=DAY));
    let (over, min_requests) = if is_query {
        for name in ["over", "min_requests"] {
            if let Some(field) = fields.get(name) {
                let message = format!("`{name}` has no effect on a query");
                field.problem(message, "the query itself to say so, such as `rate(...[5m])`");
            }
        }
        (Some(interval.unwrap_or(OVER)), Some(0))
    } else {
        let default = OVER.max(interval.unwrap_or(OVER));
        let over = fields.or("over", default, |f| f.duration(interval.unwrap_or(Duration::ZERO)..=DAY));
        (over, fields.or("min_requests", MIN_REQUESTS, |f| f.integer(1..=1_000_000_000)))
    };
    let actions = [
        ("alert", GuardrailAction::Alert),
        ("hold", GuardrailAction::Hold),
        ("roll_back", GuardrailAction::RollBack),
    ];
    let action = fields.need("action", "one of alert, hold, roll_back").and_then(|f| f.one_of(&actions));
    let severities = [
        ("low", Severity::Low),
        ("medium", Severity::Medium),
        ("high", Severity::High),
        ("critical", Severity::Critical),
    ];
    let usual = match action {
        Some(GuardrailAction::RollBack) => Severity::Critical,
        Some(GuardrailAction::Hold) => Severity::High,
        _ => Severity::Medium,
    };
    let severity = fields.or("severity", usual, |f| f.one_of(&severities));
    let regardless_of_baseline = fields.or("regardless_of_baseline", false, |f| f.boolean());
    let warn_after = warn_after(&fields, hold_for, interval, action);
    fields.close();
    let (limit, breach) = limit?;
    Some(Guardrail {
        name: name?,
        signal: signal?,
        limit,
        breach,
        hold_for: hold_for?,
        over: over?,
        min_requests: min_requests?,
        severity: severity?,
        action: action?,
        regardless_of_baseline: regardless_of_baseline?,
        warn_after: warn_after?,
    })
}

/// `class: standard` tells of a breach before it acts: after `warn_after`, by default a third of `for` and
/// at least one look.
fn warn_after(
    fields: &Fields<'_>,
    hold_for: Option<Duration>,
    interval: Option<Duration>,
    action: Option<GuardrailAction>,
) -> Option<Option<Duration>> {
    let class = fields.get("class");
    let is_standard = match &class {
        Some(field) => field.one_of(&[("immediate", false), ("standard", true)])?,
        None => false,
    };
    if !is_standard {
        if let Some(field) = fields.get("warn_after") {
            field.problem("`warn_after` has no effect on the class immediate", "`class: standard` beside it");
            return None;
        }
        return Some(None);
    }
    let class = class?;
    if action == Some(GuardrailAction::Alert) {
        class.problem("a guardrail that only alerts warns of nothing", "no `class`, or another `action`");
        return None;
    }
    let (hold_for, shortest) = (hold_for?, interval.unwrap_or(Duration::from_secs(1)));
    if hold_for <= shortest {
        let show = words::show_duration;
        let message = format!("`for` is {}, so there is no time between warning and acting", show(hold_for));
        class.problem(message, format!("`for` longer than the interval of {}", show(shortest)));
        return None;
    }
    let usual = (hold_for / 3).max(shortest);
    let latest = hold_for.saturating_sub(Duration::from_millis(1));
    fields.or("warn_after", usual, |f| f.duration(Duration::ZERO..=latest)).map(Some)
}

fn query(fields: &Fields<'_>) -> (Option<Signal>, Option<Unit>) {
    for name in ["metric", "stat"] {
        if let Some(field) = fields.get(name) {
            field
                .problem(format!("there is a `query` and a `{name}`"), "a query alone, or a metric and stat");
        }
    }
    let signal = fields.get("query").and_then(|field| {
        let query = field.text(4000)?;
        if !query.contains("$arm") {
            field.problem(
                "the query does not contain `$arm`, so it would give the same for both arms",
                "`$arm` where the arm's labels go, such as `sum(rate(errors_total{$arm}[5m]))`",
            );
            return None;
        }
        Some(Signal::Query { query })
    });
    (signal, Some(Unit::Number))
}

fn stat(fields: &Fields<'_>, metrics: &[Known]) -> (Option<Signal>, Option<Unit>) {
    let metric =
        fields.need("metric", "the name of one of the policy's metrics, or a `query`").and_then(|f| {
            let name = f.raw("the name of a metric")?;
            let known = metrics.iter().find(|known| known.name.as_deref() == Some(name));
            // A metric whose name could not be read may be the one that is meant.
            if known.is_none() && metrics.iter().all(|known| known.name.is_some()) {
                let names = metrics.iter().filter_map(|known| known.name.as_deref()).collect::<Vec<_>>();
                f.problem(format!("the policy has no metric `{}`", shorten(name)), suggest(name, &names));
            }
            known.map(|known| (name.to_owned(), known.kind))
        });
    let Some(field) = fields.need("stat", "rate, mean, or a quantile such as p95") else {
        return (None, None);
    };
    let Some(word) = field.raw("rate, mean, or a quantile such as p95") else { return (None, None) };
    let kind = metric.as_ref().and_then(|(_, kind)| *kind);
    let metric = metric.map(|(name, _)| name);
    let (signal, needs, unit) = match (word, quantile(word)) {
        ("rate", _) => (metric.map(|metric| Signal::Rate { metric }), MetricKind::Proportion, Unit::Share),
        ("mean", _) => (metric.map(|metric| Signal::Mean { metric }), MetricKind::Latency, Unit::Time),
        (_, Some(quantile)) => {
            let signal = metric.map(|metric| Signal::Quantile { metric, quantile });
            (signal, MetricKind::Latency, Unit::Time)
        }
        _ => {
            let message = format!("`{}` is not known here", shorten(word));
            field.problem(message, "rate (of a proportion), mean or a quantile such as p95 (of a latency)");
            return (None, None);
        }
    };
    if let Some(kind) = kind
        && kind != needs
    {
        let right = match kind {
            MetricKind::Proportion => "rate",
            MetricKind::Latency => "mean, or a quantile such as p95",
            MetricKind::Rate | MetricKind::Mean | MetricKind::Saturation => {
                "a guardrail with a `query` of its own"
            }
        };
        field.problem(format!("`{word}` does not fit a metric of type {}", kind.word()), right);
        return (None, Some(unit));
    }
    (signal, Some(unit))
}

/// `p95`, `p99.9`.
fn quantile(word: &str) -> Option<f64> {
    let percent = values::number(word.strip_prefix('p')?)?;
    let quantile = values::ratio(&format!("{}%", &word[1..])).ok()?;
    (percent > 0.0 && percent < 100.0).then_some(quantile)
}

/// `above: 5%`, `above: {ratio_to_baseline: 2}`, `below: {difference_to_baseline: -1%}`.
fn limit(fields: &Fields<'_>, unit: Option<Unit>) -> Option<(GuardrailLimit, Breach)> {
    const EXAMPLE: &str = "`above: 5%`, `above: {ratio_to_baseline: 2}` or `above: {difference_to_baseline: 100ms}`, or `below`";
    let (field, breach) = match (fields.get("above"), fields.get("below")) {
        (Some(field), None) => (field, Breach::Above),
        (None, Some(field)) => (field, Breach::Below),
        (Some(_), Some(field)) => {
            field.problem("there is an `above` and a `below`", "one of the two; two guardrails for both");
            return None;
        }
        (None, None) => {
            fields.field.problem("the guardrail has no limit", EXAMPLE);
            return None;
        }
    };
    if field.is_scalar() {
        return Some((GuardrailLimit::Absolute(value(&field, unit?)?), breach));
    }
    let kinds = field.fields(EXAMPLE)?;
    let absolute = kinds.get("absolute");
    let ratio = kinds.get("ratio_to_baseline");
    let difference = kinds.get("difference_to_baseline");
    kinds.close();
    let limit = match (absolute, ratio, difference) {
        (Some(field), None, None) => GuardrailLimit::Absolute(value(&field, unit?)?),
        (None, Some(field), None) => GuardrailLimit::RatioToBaseline(factor(&field)?),
        (None, None, Some(field)) => {
            GuardrailLimit::DifferenceToBaseline(difference_value(&field, unit?, breach)?)
        }
        _ => {
            field.problem(
                "the limit must have one kind",
                "exactly one of absolute, ratio_to_baseline, difference_to_baseline",
            );
            return None;
        }
    };
    Some((limit, breach))
}

fn value(field: &Field<'_>, unit: Unit) -> Option<f64> {
    match unit {
        Unit::Share => field.ratio(0.0..=1.0),
        Unit::Time => field.duration(Duration::ZERO..=DAY).map(|time| time.as_secs_f64()),
        Unit::Number => field.number(-1e15..=1e15),
    }
}

fn factor(field: &Field<'_>) -> Option<f64> {
    let text = field.raw("a factor such as 1.5")?;
    match values::number(text) {
        Some(factor) if factor > 0.0 && factor <= 1000.0 => Some(factor),
        _ => {
            field.problem(
                format!("`{}` is not a factor of the baseline's value", shorten(text)),
                "a number above 0 and at most 1000, such as 1.5 for 50% more than the baseline",
            );
            None
        }
    }
}

/// A difference: positive for `above`; negative for `below`, that far under the baseline.
fn difference_value(field: &Field<'_>, unit: Unit, breach: Breach) -> Option<f64> {
    let text = field.raw("a difference to the baseline's value")?;
    let (size, is_negative) = match text.strip_prefix('-') {
        Some(size) => (size, true),
        None => (text, false),
    };
    let size = match unit {
        Unit::Share => field.told(values::ratio(size))?,
        Unit::Time => field.told(words::parse_duration(size))?.as_secs_f64(),
        Unit::Number => field.told(values::number(size).ok_or_else(|| {
            (format!("`{}` is not a number", shorten(text)), "a number such as 1.5".to_owned())
        }))?,
    };
    let fits = size > 0.0 && (unit != Unit::Share || size <= 1.0);
    if !fits || is_negative != (breach == Breach::Below) {
        let expected = match breach {
            Breach::Above => "a difference above zero, by which the canary may exceed the baseline",
            Breach::Below => "a negative difference, by which the canary may stay below the baseline",
        };
        field.problem(format!("`{}` does not fit the side of the limit", shorten(text)), expected);
        return None;
    }
    Some(if is_negative { -size } else { size })
}
