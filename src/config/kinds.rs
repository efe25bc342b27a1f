//! Metrics that are no share and no histogram: rates, means and saturations.

use super::decode::{Field, Fields};
use super::selectors::{metric_name, selectors};
use super::templates::MetricKind;
use crate::core::source::{Exposure, MetricSource};

/// What a kind's floors are where nothing is said: (harm, no harm).
pub(super) fn floors(kind: Option<MetricKind>) -> (f64, f64) {
    match kind {
        None | Some(MetricKind::Proportion | MetricKind::Latency) => (0.000_5, 0.001),
        // One event in a hundred seconds of an instance; a rate without any would never be proven.
        Some(MetricKind::Rate) => (0.0, 0.01),
        Some(MetricKind::Mean | MetricKind::Saturation) => (0.0, 0.0),
    }
}

/// `{events: [...], per: share | instance | [counters], process_start: ...}`.
pub(super) fn rate(fields: &Fields<'_>) -> Option<MetricSource> {
    let events = fields
        .need("events", "the counters of what happens, such as `- container_restarts_total`")
        .and_then(|field| selectors(&field));
    let per = fields.or("per", Exposure::Share, |field| exposure(&field));
    let process_start = fields.maybe("process_start", |field| metric_name(&field));
    Some(MetricSource::Rate { events: events?, per: per?, process_start: process_start? })
}

fn exposure(field: &Field<'_>) -> Option<Exposure> {
    if field.is_list() {
        return Some(Exposure::Counter { selectors: selectors(field)? });
    }
    field.one_of(&[("share", Exposure::Share), ("instance", Exposure::Instance)])
}

/// The query of a gauge.
pub(super) fn gauge(kind: MetricKind, field: &Field<'_>) -> Option<MetricSource> {
    let query = query(field)?;
    Some(match kind {
        MetricKind::Saturation => MetricSource::Saturation { query },
        _ => MetricSource::Mean { query },
    })
}

/// PromQL for one arm.
pub(super) fn query(field: &Field<'_>) -> Option<String> {
    let query = field.text(4000)?;
    if !query.contains("$arm") {
        field.problem(
            "the query does not contain `$arm`, so it would give the same for both arms",
            "`$arm` where the arm's labels go, such as `avg(pool_in_use{$arm} / pool_size{$arm})`",
        );
        return None;
    }
    Some(query)
}
