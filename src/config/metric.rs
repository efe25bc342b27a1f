//! The metrics of a policy: a template, or a selector of one's own.

use std::collections::BTreeMap;

use crate::core::policy::{Direction, Metric};
use crate::core::source::MetricSource;

use super::decode::{Field, Fields, all, shorten, suggest};
use super::kinds;
use super::selectors::{check_label, metric_name, selector};
use super::templates::{self, MetricKind, Template};

const TOLERANCE: f64 = 0.1;
/// Above this a floor of a rate or a gauge cannot be meant.
const HIGHEST_FLOOR: f64 = 1e12;

/// What guardrails must know of a metric, also where the metric itself has problems.
pub(super) struct Known {
    pub(super) name: Option<String>,
    pub(super) kind: Option<MetricKind>,
}

/// Reads one metric.
pub(super) fn metric(field: &Field<'_>) -> (Known, Option<Metric>) {
    let Some(fields) = field.fields("a metric: a mapping with `name` and `template`, `selector` or `query`")
    else {
        return (Known { name: None, kind: None }, None);
    };
    let name = fields.need("name", "a name that guardrails can refer to").and_then(|f| f.name());
    let source = source(&fields);
    let kind = source.kind;
    let metric = rest(&fields, name.clone(), source);
    fields.close();
    (Known { name, kind }, metric)
}

fn rest(fields: &Fields<'_>, name: Option<String>, source: Source) -> Option<Metric> {
    let direction = fields.or("direction", source.direction.unwrap_or(Direction::LowerIsBetter), |f| {
        let direction = f.one_of(&[
            ("lower_is_better", Direction::LowerIsBetter),
            ("higher_is_better", Direction::HigherIsBetter),
        ])?;
        if source.kind == Some(MetricKind::Latency) && direction == Direction::HigherIsBetter {
            f.problem("a latency cannot be better when it is higher", "lower_is_better");
            return None;
        }
        Some(direction)
    });
    let bad_means = match (fields.get("bad_means"), source.bad_means) {
        (Some(field), _) => field.line(500),
        (None, Some(words)) => Some(words.to_owned()),
        (None, None) => {
            // Without a known kind the missing words are not the problem.
            if source.kind.is_some() {
                fields.field.problem(
                    "the field `bad_means` is missing",
                    "what counts as bad, in words, such as `payments that failed`; it goes into explanations",
                );
            }
            None
        }
    };
    let tolerance = fields.or("tolerance", TOLERANCE, |f| f.ratio(0.0..=10.0));
    let (usual_harm, usual_no_harm) = kinds::floors(source.kind);
    let is_share = matches!(source.kind, None | Some(MetricKind::Proportion | MetricKind::Latency));
    let floor = |f: Field<'_>| if is_share { f.ratio(0.0..=0.5) } else { f.number(0.0..=HIGHEST_FLOOR) };
    let harm_floor = fields.or("harm_floor", usual_harm, floor);
    let usual_no_harm = if is_share { usual_no_harm } else { harm_floor.unwrap_or(0.0).max(usual_no_harm) };
    let no_harm_floor = fields.or("no_harm_floor", usual_no_harm, floor);
    if let (Some(harm), Some(no_harm)) = (harm_floor, no_harm_floor)
        && (no_harm < harm || (is_share && no_harm == harm))
    {
        let show = |floor: f64| if is_share { super::values::show_ratio(floor) } else { floor.to_string() };
        let at = fields.get("no_harm_floor").or_else(|| fields.get("harm_floor"));
        at.unwrap_or_else(|| fields.field.clone()).problem(
            format!("no_harm_floor ({}) is not above harm_floor ({})", show(no_harm), show(harm)),
            "a no_harm_floor above the harm_floor, so that what is never called harm also counts as no harm",
        );
        return None;
    }
    let by_route = fields.maybe("by_route", |f| {
        let label = f.raw("the name of a label")?;
        if !matches!(source.kind, None | Some(MetricKind::Proportion | MetricKind::Latency)) {
            f.problem(
                "only proportions and latencies can be compared route by route",
                "no `by_route` here, or a metric that counts requests",
            );
            return None;
        }
        if label == "le" {
            f.problem("the label `le` is the buckets' own", "the label that names the route");
            return None;
        }
        check_label(&f, label).then(|| label.to_owned())
    });
    let words = [("zero", true), ("ask", false)];
    let absent_is_zero = fields.or("absent", source.absent_is_zero, |f| {
        if source.kind.is_some_and(|kind| kind != MetricKind::Proportion) {
            f.problem("only a proportion has bad requests that may be absent", "no `absent` here");
            return None;
        }
        f.one_of(&words)
    });
    Some(Metric {
        by_route: by_route?,
        absent_is_zero: absent_is_zero?,
        name: name?,
        source: source.value?,
        bad_means: bad_means?,
        tolerance: tolerance?,
        harm_floor: harm_floor?,
        no_harm_floor: no_harm_floor?,
        direction: direction?,
    })
}

#[derive(Default)]
struct Source {
    kind: Option<MetricKind>,
    value: Option<MetricSource>,
    bad_means: Option<&'static str>,
    /// Its selectors are known to be right, or there need be none of what they match.
    absent_is_zero: bool,
    direction: Option<Direction>,
}

fn source(fields: &Fields<'_>) -> Source {
    let kinds = [
        MetricKind::Proportion,
        MetricKind::Latency,
        MetricKind::Rate,
        MetricKind::Mean,
        MetricKind::Saturation,
    ];
    let types = kinds.map(|kind| (kind.word(), kind));
    let type_field = fields.get("type");
    let stated = type_field.as_ref().and_then(|f| f.one_of(&types));
    let none = Source::default();
    let given: Vec<(&'static str, Field<'_>)> = ["template", "selector", "query"]
        .into_iter()
        .filter_map(|name| Some((name, fields.get(name)?)))
        .collect();
    let mut source = match &given[..] {
        [("template", field)] => from_template(field),
        [("query", field)] => from_query(stated, field),
        [(_, field)] => from_selector(field),
        [(first, _), (second, field), ..] => {
            field.problem(format!("there is a `{first}` and a `{second}`"), "one of the two");
            none
        }
        [] => {
            let names = templates::all().map(|t| t.name).collect::<Vec<_>>().join(", ");
            fields.field.problem(
                "the metric has neither a `template` nor a `selector` nor a `query`",
                format!(
                    "`template:` with one of {names}, `selector:` with counters of your own, or `type: mean` or \
                     `type: saturation` with a `query:`"
                ),
            );
            none
        }
    };
    if let (Some(stated), Some(kind), Some(field)) = (stated, source.kind, type_field)
        && stated != kind
    {
        let (is, said) = (kind.word(), stated.word());
        field.problem(
            format!("the type is {said}, but what is given makes a {is}"),
            format!("`{is}`, or other counters"),
        );
        source.value = None;
    }
    source
}

fn from_query(stated: Option<MetricKind>, field: &Field<'_>) -> Source {
    let kind = match stated {
        Some(kind @ (MetricKind::Mean | MetricKind::Saturation)) => kind,
        Some(other) => {
            field.problem(
                format!("a {} needs exact counts, which a query cannot give", other.word()),
                "`type: mean` or `type: saturation` with the query, or a `selector`",
            );
            return Source::default();
        }
        None => {
            field.problem(
                "a `query` is the value of a gauge, and its `type` is missing",
                "`type: mean` or `type: saturation`",
            );
            return Source::default();
        }
    };
    Source {
        kind: Some(kind),
        value: kinds::gauge(kind, field),
        bad_means: usual_words(kind),
        ..Source::default()
    }
}

/// What counts as bad, where the kind alone says it.
fn usual_words(kind: MetricKind) -> Option<&'static str> {
    match kind {
        MetricKind::Proportion => None,
        MetricKind::Latency => Some("slow requests"),
        MetricKind::Rate => Some("more of them than the baseline has"),
        MetricKind::Mean => Some("a worse mean than the baseline's"),
        MetricKind::Saturation => Some("fuller than the baseline"),
    }
}

/// `template: NAME`, or `template: {name: NAME, parameter: value}`.
fn from_template(field: &Field<'_>) -> Source {
    let none = Source::default();
    if field.is_scalar() {
        let Some(template) = known_template(field) else { return none };
        return of(template, Some(BTreeMap::new()));
    }
    let Some(fields) = field.fields("the name of a template, or a mapping with `name` and its parameters")
    else {
        return none;
    };
    let Some(template) = fields.need("name", "the template's name").and_then(|f| known_template(&f)) else {
        return none;
    };
    let mut given = Some(BTreeMap::new());
    for parameter in template.parameters {
        let Some(field) = fields.get(parameter.name) else { continue };
        match field.line(200) {
            Some(value) if parameter.kind.accepts(&value) => {
                if let Some(given) = &mut given {
                    given.insert(parameter.name.to_owned(), value);
                }
            }
            Some(value) => {
                let (what, like) = (shorten(&value), parameter.default);
                field.problem(
                    format!("`{what}` cannot be the name of a metric or label"),
                    format!("a name such as {like}"),
                );
                given = None;
            }
            None => given = None,
        }
    }
    fields.close();
    of(template, given)
}

fn of(template: &'static Template, given: Option<BTreeMap<String, String>>) -> Source {
    Source {
        kind: Some(template.kind),
        value: given.map(|given| template.source(&given)),
        bad_means: Some(template.bad_means),
        absent_is_zero: !template.is_absence_odd(),
        direction: Some(template.direction),
    }
}

fn known_template(field: &Field<'_>) -> Option<&'static Template> {
    let name = field.raw("the name of a template")?;
    let template = templates::template(name);
    if template.is_none() {
        let names = templates::all().map(|t| t.name).collect::<Vec<_>>();
        field.problem(format!("there is no template `{}`", shorten(name)), suggest(name, &names));
    }
    template
}

/// `{total: [...], bad: [...]}`, `{histogram: {...}, unit: seconds}`, or `{events: [...], per: share}`.
fn from_selector(field: &Field<'_>) -> Source {
    let none = Source::default();
    let Some(fields) = field.fields("a mapping with `total` and `bad`, with `histogram`, or with `events`")
    else {
        return none;
    };
    let (kind, value) = if fields.get("events").is_some() {
        (MetricKind::Rate, kinds::rate(&fields))
    } else {
        let process_start = fields.maybe("process_start", |f| metric_name(&f));
        match fields.get("histogram") {
            Some(field) => (MetricKind::Latency, latency(&field, &fields, process_start)),
            None => (MetricKind::Proportion, proportion(&fields, process_start)),
        }
    };
    fields.close();
    Source { kind: Some(kind), value, bad_means: usual_words(kind), ..Source::default() }
}

fn proportion(fields: &Fields<'_>, process_start: Option<Option<String>>) -> Option<MetricSource> {
    let selectors = |name: &'static str, what: &str| {
        let field = fields.need(name, what)?;
        let items = field.list(20, "a list of counters such as `- metric: http_requests_total`")?;
        if items.is_empty() {
            field.problem("the list is empty", what);
            return None;
        }
        all(items.iter().map(selector))
    };
    let total = selectors("total", "the counters of all requests (or `histogram`, for latencies)");
    let bad = selectors("bad", "the counters of the bad requests");
    let (total, bad) = (total?, bad?);
    if total == bad {
        fields.field.problem(
            "`total` and `bad` are the same counters, so every request would be bad",
            "`bad` to be a part of `total`, such as the same metric with `match: {code: \"500\"}`",
        );
        return None;
    }
    Some(MetricSource::Proportion { total, bad, process_start: process_start? })
}

fn latency(
    field: &Field<'_>,
    fields: &Fields<'_>,
    process_start: Option<Option<String>>,
) -> Option<MetricSource> {
    let units = [("seconds", "1"), ("milliseconds", "0.001"), ("microseconds", "0.000001")];
    let unit = fields.or("unit", "1", |f| f.one_of(&units));
    let histogram = selector(field)?;
    let parts = ["_bucket", "_sum", "_count"];
    if let Some(part) = parts.iter().find(|part| histogram.metric.ends_with(*part)) {
        let base = histogram.metric.trim_end_matches(part);
        field.problem(format!("`{}` is a part of a histogram", histogram.metric), format!("`{base}`"));
        return None;
    }
    if histogram.matchers.iter().any(|m| m.label == "le") {
        field.problem(
            "the label `le` is the buckets' own and cannot be matched",
            "matchers of other labels; all buckets are read",
        );
        return None;
    }
    Some(MetricSource::Latency { histogram, unit_seconds: unit?.to_owned(), process_start: process_start? })
}
