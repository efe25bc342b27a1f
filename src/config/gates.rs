//! The gates of a policy: what must say yes before a rollout goes on.

use std::time::Duration;

use super::decode::{Field, all, shorten};
use super::{checks, values};
use crate::core::gate::{Before, Gate, GateOutcome};
use crate::core::policy::Step;
use crate::core::split::Weight;

const MOST_GATES: usize = 50;
const MINUTE: Duration = Duration::from_secs(60);
const MONTH: Duration = Duration::from_secs(30 * 86_400);

const EXAMPLE: &str = "a gate such as `{name: smoke, before: 25%, command: {run: [/usr/local/bin/smoke]}}`";
const BEFORE: &str = "start, a step such as 25%, each_step, promotion, finish or during";
const OUTCOMES: [(&str, GateOutcome); 3] =
    [("hold", GateOutcome::Hold), ("roll_back", GateOutcome::RollBack), ("go_on", GateOutcome::GoOn)];

/// Reads the gates. `steps` are the policy's, where they are known.
pub(super) fn gates(field: &Field<'_>, steps: Option<&[Step]>) -> Option<Vec<Gate>> {
    let items = field.list(MOST_GATES, "a list of gates")?;
    let read = items.iter().map(|item| gate(item, steps)).collect::<Vec<_>>();
    let names = read.iter().map(|gate| gate.as_ref().map(|gate| &*gate.name));
    let unique = super::readers::unique(&items, names);
    all(read).filter(|_| unique)
}

fn gate(field: &Field<'_>, steps: Option<&[Step]>) -> Option<Gate> {
    let fields = field.fields(EXAMPLE)?;
    let name = fields.need("name", "a name by which people speak of it").and_then(|f| f.name());
    let at = fields.need("before", BEFORE);
    let before = at.as_ref().and_then(|f| before(f, steps));
    let check = checks::check(&fields);
    if let (Some(at), Some(Before::During), Some(check)) = (&at, before, &check)
        && !check.is_repeatable()
    {
        at.problem(
            format!("a gate of the kind {} cannot be asked again and again", check.kind()),
            "`during` only with health, alerts, window, metric or slo",
        );
    }
    let deadline = fields.maybe("deadline", |f| {
        if before == Some(Before::During) {
            f.problem("a gate that is asked all along is never over, and has no deadline", "no `deadline`");
        }
        f.duration(MINUTE..=MONTH)
    });
    let at_deadline = fields.or("at_deadline", GateOutcome::Hold, |f| {
        if fields.get("deadline").is_none() {
            f.problem(
                "`at_deadline` has no effect without `deadline`",
                "`deadline` to be set too, such as 24h",
            );
        }
        f.one_of(&OUTCOMES)
    });
    // Before the start there is nothing to keep: a no means that it does not begin.
    let usual = if before == Some(Before::Start) { GateOutcome::RollBack } else { GateOutcome::Hold };
    let on_refusal = fields.or("on_refusal", usual, |f| f.one_of(&OUTCOMES));
    let point_of_no_return = fields.or("point_of_no_return", false, |f| {
        let is_one = f.boolean()?;
        if is_one && before == Some(Before::During) {
            f.problem("a gate that is asked all along is no point", "another `before`, such as 25%");
        }
        Some(is_one)
    });
    if point_of_no_return == Some(true) {
        for (name, outcome) in [("at_deadline", at_deadline), ("on_refusal", on_refusal)] {
            if outcome == Some(GateOutcome::GoOn) {
                let message = format!("`{name}: go_on` would pass a point of no return without a yes");
                fields.get(name).unwrap_or_else(|| field.clone()).problem(message, "hold or roll_back");
            }
        }
    }
    fields.close();
    Some(Gate {
        name: name?,
        before: before?,
        check: check?,
        deadline: deadline?,
        at_deadline: at_deadline?,
        on_refusal: on_refusal?,
        point_of_no_return: point_of_no_return?,
    })
}

/// `start`, `25%`, `each_step`, `promotion`, `finish`, `during`.
fn before(field: &Field<'_>, steps: Option<&[Step]>) -> Option<Before> {
    let text = field.raw(BEFORE)?;
    if !text.starts_with(|c: char| c.is_ascii_digit()) {
        return field.one_of(&[
            ("start", Before::Start),
            ("each_step", Before::EachStep),
            ("promotion", Before::Promotion),
            ("finish", Before::Finish),
            ("during", Before::During),
        ]);
    }
    let ratio = field.told(values::ratio(text))?;
    let weight = values::weight(ratio).filter(|weight| *weight > Weight::ZERO);
    let Some(weight) = weight else {
        field.problem(format!("`{}` is not the weight of a step", shorten(text)), BEFORE);
        return None;
    };
    if weight == Weight::FULL {
        field.problem("100% has a name of its own", "`before: promotion`");
        return None;
    }
    let Some(steps) = steps else { return Some(Before::Step(weight)) };
    let below: Vec<Weight> = steps.iter().map(|step| step.weight).filter(|w| *w < Weight::FULL).collect();
    match below.iter().position(|step| *step == weight) {
        Some(0) => {
            field.problem(format!("{weight} is the first step, which is the start"), "`before: start`");
            None
        }
        Some(_) => Some(Before::Step(weight)),
        None => {
            let later: Vec<String> = below.iter().skip(1).map(ToString::to_string).collect();
            let expected = match later.is_empty() {
                true => "start, each_step, promotion, finish or during".to_owned(),
                false => {
                    format!("one of {}, or start, each_step, promotion, finish, during", later.join(", "))
                }
            };
            field.problem(format!("the policy has no step of {weight}"), expected);
            None
        }
    }
}
