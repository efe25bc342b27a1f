//! The calendar.

use crate::core::calendar::{Calendar, Opening};
use crate::core::gate::GateAnswer;
use crate::core::time::Timestamp;

pub(super) fn ask(calendar: &Calendar, refuse: bool, now: Timestamp) -> GateAnswer {
    match calendar.at(now) {
        Opening::Open { until: None } => GateAnswer::Yes("open".to_owned()),
        Opening::Open { until: Some(until) } => GateAnswer::Yes(format!("open until {until}")),
        Opening::Closed { until, why } => {
            let until = until.map_or_else(
                || "with no opening within 400 days".to_owned(),
                |until| format!("until {until}"),
            );
            let said = format!("closed {until}: {why}");
            if refuse { GateAnswer::No(said) } else { GateAnswer::NotYet(said) }
        }
    }
}
