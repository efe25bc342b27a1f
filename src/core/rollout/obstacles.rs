//! What stands against a person who wants to go on: all of it at once, and the one command that goes through.

use super::{Command, Hold, Illegal, Rollout, standing};
use crate::core::gate::Occasion;
use crate::core::judge::GuardrailStatus;
use crate::core::policy::{GuardrailAction, Mode};
use crate::core::words::significant;
use crate::stats::special::{exp, ln};

/// Whether a person's `advance` or `promote` may go on.
///
/// # Errors
/// [`Illegal::Refused`] under a freeze; where somebody else has paused it or too few of the canary's instances are
/// ready, without `override`; where a metric leans worse or a guardrail is broken, without `even_if_worse`.
pub(super) fn check(rollout: &Rollout, command: &Command, to: Occasion) -> Result<(), Illegal> {
    not_frozen(rollout)?;
    let force = command.force;
    if (force.overrides || force.even_if_worse) && command.reason.is_none() {
        return Err(Illegal::Refused(format!(
            "`{}` that overrides something needs a reason",
            command.kind.name()
        )));
    }
    let mut barred = pauses(rollout, &command.by);
    barred.extend(rollout.data.readiness.short());
    let suspects = suspects(rollout);
    if (barred.is_empty() || force.overrides) && (suspects.is_empty() || force.even_if_worse) {
        return Ok(());
    }
    let mut through = format!("`serin rollout {} {}", command.kind.name(), rollout.id);
    if !barred.is_empty() {
        through.push_str(" --override");
    }
    if !suspects.is_empty() {
        through.push_str(" --even-if-worse");
    }
    through.push_str(" --reason \"...\"` overrides this");
    let waiting = standing::closed(rollout, to);
    if !waiting.is_empty() {
        through.push_str(&format!("; before that, these gates must open: {}", waiting.join(", ")));
    }
    let all: Vec<String> = barred.into_iter().chain(suspects).chain(other_holds(rollout)).collect();
    Err(Illegal::Refused(format!("{}. {through}", all.join("; "))))
}

/// # Errors
/// [`Illegal::Refused`] under a freeze.
pub(super) fn not_frozen(rollout: &Rollout) -> Result<(), Illegal> {
    if !rollout.holds.contains(&Hold::Freeze) {
        return Ok(());
    }
    let why =
        rollout.held_by(Hold::Freeze).next().map_or_else(String::new, |held| format!(" ({})", held.why));
    Err(Illegal::Refused(format!(
        "the target is frozen: nothing may advance until the freeze ends{why}; no command passes a freeze"
    )))
}

/// The pauses of others.
fn pauses(rollout: &Rollout, by: &str) -> Vec<String> {
    if !rollout.holds.contains(&Hold::User) {
        return Vec::new();
    }
    let mut known = rollout.held_by(Hold::User).peekable();
    if known.peek().is_none() {
        // Paused before that was kept.
        return vec!["it is paused, and by whom is not known".to_owned()];
    }
    let others = known.filter(|held| held.by.as_deref() != Some(by));
    let one = |held: &super::Held| {
        let who = held.by.as_deref().unwrap_or("somebody");
        format!("it was paused by {who} at {}: {}", held.at, held.why.trim_end_matches('.'))
    };
    others.map(one).collect()
}

/// What says that the canary may be worse: metrics that have gone half the way to a rollback, and guardrails
/// that are broken. Where no traffic is moved, nothing can be made worse.
fn suspects(rollout: &Rollout) -> Vec<String> {
    let Some(last) = rollout.last.as_ref().filter(|_| rollout.policy.mode == Mode::Act) else {
        return Vec::new();
    };
    let bound = ln(1.0 / rollout.policy.analysis.false_rollback_rate);
    let leaning = last.metrics.iter().filter(|metric| metric.ln_e_harm >= bound / 2.0).map(|metric| {
        format!(
            "{} already leans worse (evidence of a regression {}:1; {}:1 rolls back)",
            metric.name,
            significant(exp(metric.ln_e_harm.min(100.0))),
            significant(exp(bound))
        )
    });
    let broken = last.guardrails.iter().filter(|guardrail| {
        matches!(guardrail.status, GuardrailStatus::Breaching | GuardrailStatus::Fired)
            && guardrail.action != GuardrailAction::Alert
    });
    let broken = broken.map(|guardrail| {
        format!("the guardrail {} is broken: {}", guardrail.name, guardrail.sentence.trim_end_matches('.'))
    });
    leaning.chain(broken).collect()
}

/// The other holds, which a person's word outweighs.
fn other_holds(rollout: &Rollout) -> Vec<String> {
    let others = rollout.holds.iter().filter(|hold| {
        !matches!(
            hold,
            Hold::User | Hold::Freeze | Hold::Gate | Hold::Window | Hold::Guardrail | Hold::NotReady
        )
    });
    let one = |hold: &Hold| {
        let why = rollout.held_by(*hold).next().map_or_else(String::new, |held| format!(": {}", held.why));
        format!("held ({}){}", hold.name(), why.trim_end_matches('.'))
    };
    others.map(one).collect()
}
