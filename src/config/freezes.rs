//! Freezes that are planned in the configuration.

use super::decode::{Field, Fields, all};
use super::window;
use crate::core::access::{MOST_PATTERNS, Scope};
use crate::core::calendar;
use crate::core::freeze::Freeze;

/// `[{targets: ["*"], time_zone: Europe/Berlin, from: 2026-12-20, until: 2027-01-04, why: holidays}]`.
pub(super) fn freezes(field: &Field<'_>) -> Option<Vec<Freeze>> {
    let items = field.list(200, "a list such as `- {from: 2026-12-20, until: 2027-01-04, why: holidays}`")?;
    all(items.iter().zip(1..).map(|(item, number): (_, u32)| {
        let fields = item.fields("a mapping with `targets`, `time_zone`, `from`, `until` and `why`")?;
        let freeze = freeze(&fields, format!("planned-{number}"));
        fields.close();
        freeze
    }))
}

fn freeze(fields: &Fields<'_>, id: String) -> Option<Freeze> {
    let targets = fields.or("targets", vec!["*".to_owned()], |f| patterns(&f));
    let zone = fields.or("time_zone", "UTC".to_owned(), |f| window::time_zone(&f));
    let time = window::closed_time(fields);
    let (targets, zone, time) = (targets?, zone?, time?);
    let Some((from, until)) = calendar::moments(&zone, &time.from, &time.until) else {
        if let Some(field) = fields.get("until") {
            field.problem(format!("`{}` is too far away", time.until), "a year before 9999");
        }
        return None;
    };
    Some(Freeze {
        id,
        targets,
        from,
        until: Some(until),
        why: time.why,
        by: Freeze::PLANNED_BY.to_owned(),
        ended: None,
    })
}

fn patterns(field: &Field<'_>) -> Option<Vec<String>> {
    const EXPECTED: &str = "a list of patterns of targets, such as `[shop, \"pay-*\"]`";
    let items = field.list(MOST_PATTERNS, EXPECTED)?;
    let patterns = all(items.iter().map(|item| item.line(200)))?;
    if let Err(error) = Scope::new(&patterns) {
        field.problem(error.to_string(), EXPECTED);
        return None;
    }
    Some(patterns)
}
