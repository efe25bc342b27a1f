//! What a policy says of 100%, where no control is left: how long it is watched, absolute limits, and a
//! holdback.

use std::time::Duration;

use super::decode::{Field, Fields, all, suggest};
use super::metric::Known;
use super::templates::MetricKind;
use super::values;
use crate::core::policy::{AtMax, Bake, BakeBound, BakeLimit, GuardrailAction, MIN_REQUESTS, Step};
use crate::core::split::Weight;

const DAY: Duration = Duration::from_secs(86_400);

/// Reads the bake; and the step that a holdback puts before 100%.
pub(super) fn bake(
    field: &Field<'_>,
    known: &[Known],
    steps: Option<&[Step]>,
) -> Option<(Bake, Option<Step>)> {
    let fields = field.fields("a mapping with `duration`, and `limits` or a `holdback` if there are any")?;
    let duration =
        fields.need("duration", "a duration such as 30m").and_then(|f| f.duration(Duration::ZERO..=7 * DAY));
    let limits = fields.or("limits", Vec::new(), |f| {
        let items = f.list(20, "a list such as `- {metric: errors, above: 2%, action: roll_back}`")?;
        all(items.iter().map(|item| bake_limit(item, known)))
    });
    let holdback = fields.maybe("holdback", |f| holdback(&f, steps));
    fields.close();
    Some((Bake { duration: duration?, limits: limits? }, holdback?))
}

/// `{weight: 5%, for: 30m}`: so much traffic stays with the old version for so long before 100%, and the
/// comparison goes on. It is a step of its own, which ends by its time if nothing is found.
fn holdback(field: &Field<'_>, steps: Option<&[Step]>) -> Option<Step> {
    let fields = field.fields("a mapping with `weight` and `for`")?;
    let weight = fields.need("weight", "what the old version keeps, such as `weight: 5%`").and_then(|f| {
        let kept = values::weight(f.ratio(0.000_1..=0.5)?);
        let highest = steps?.iter().rev().nth(1).map_or(Weight::ZERO, |step| step.weight);
        let rest = kept.map(|kept| Weight(Weight::FULL.0 - kept.0)).filter(|rest| *rest > highest);
        if rest.is_none() {
            f.problem(
                format!("the canary's weight would not rise above {highest}, the last step before 100%"),
                "less, in multiples of 0.01%, or fewer steps",
            );
        }
        rest
    });
    let time = fields
        .need("for", "a duration such as 30m")
        .and_then(|f| f.duration(Duration::from_secs(1)..=30 * DAY));
    fields.close();
    let (weight, time) = (weight?, time?);
    Some(Step {
        weight,
        min: time,
        max: Some(time),
        at_max: AtMax::PromoteUnproven,
        min_requests: MIN_REQUESTS,
    })
}

/// `{metric: errors, above: 2%, action: roll_back}`: what a proportion may be at 100%, where nothing is
/// left to compare with; or `times_before: 2` instead of `above`: so many times what it was before.
fn bake_limit(field: &Field<'_>, known: &[Known]) -> Option<BakeLimit> {
    let fields = field.fields("a mapping with `metric`, `above` or `times_before`, and `action`")?;
    let metric = fields.need("metric", "the name of one of the policy's proportions").and_then(|f| {
        let name = f.name()?;
        let found = known.iter().find(|known| known.name.as_deref() == Some(&name));
        match found.map(|known| known.kind) {
            Some(Some(MetricKind::Proportion) | None) => Some(name),
            Some(Some(kind)) => {
                let message = format!("`{name}` is a {}, and a limit needs counted requests", kind.word());
                f.problem(message, "a metric of the type proportion, or a guardrail");
                None
            }
            None => {
                let names = known.iter().filter_map(|known| known.name.as_deref()).collect::<Vec<_>>();
                f.problem(format!("the policy has no metric `{name}`"), suggest(&name, &names));
                None
            }
        }
    });
    let limit = bound(&fields);
    let action = fields.need("action", "one of alert, hold, roll_back").and_then(|f| {
        f.one_of(&[
            ("alert", GuardrailAction::Alert),
            ("hold", GuardrailAction::Hold),
            ("roll_back", GuardrailAction::RollBack),
        ])
    });
    fields.close();
    Some(BakeLimit { metric: metric?, limit: limit?, action: action? })
}

fn bound(fields: &Fields<'_>) -> Option<BakeBound> {
    let before = fields.maybe("times_before", |f| f.number(1.01..=100.0).map(BakeBound::TimesBefore))?;
    let above = match (fields.get("above"), before) {
        (Some(field), Some(_)) => {
            field.problem("there is an `above` and a `times_before`", "one of the two");
            return None;
        }
        (None, Some(before)) => return Some(before),
        _ => fields
            .need("above", "the share that must not be exceeded, such as `above: 2%`, or `times_before: 2`"),
    };
    above.and_then(|f| f.ratio(0.000_001..=0.999)).map(BakeBound::Above)
}
