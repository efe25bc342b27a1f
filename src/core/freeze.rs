//! Freezes: times in which nothing advances. They stop no way back.

use serde::{Deserialize, Serialize};

use super::access::Scope;
use super::time::Timestamp;

/// A time in which targets do not advance.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Freeze {
    /// Its name.
    pub id: String,
    /// Patterns of targets, as in scopes; `*` is every target.
    pub targets: Vec<String>,
    /// Since when.
    pub from: Timestamp,
    /// Until when; `None`: until it is ended.
    pub until: Option<Timestamp>,
    /// Why, for people.
    pub why: String,
    /// Who ordered it.
    pub by: String,
    /// When it was ended before its time, and by whom.
    pub ended: Option<(Timestamp, String)>,
}

impl Freeze {
    /// Who orders those that stand in the configuration.
    pub const PLANNED_BY: &str = "the configuration";

    /// Whether it holds for a target now.
    pub fn holds(&self, target: &str, now: Timestamp) -> bool {
        self.is_active(now) && Scope::new(&self.targets).is_ok_and(|scope| scope.holds(target))
    }

    /// Whether it has begun and is not over.
    pub fn is_active(&self, now: Timestamp) -> bool {
        self.ended.is_none() && self.from <= now && self.until.is_none_or(|until| now < until)
    }

    /// The reason of a hold.
    pub fn sentence(&self) -> String {
        let until = match self.until {
            Some(until) => format!("until {until}"),
            None => "until it is ended".to_owned(),
        };
        format!("frozen by {} {until}: {}", self.by, self.why)
    }
}
