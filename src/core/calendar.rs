//! Weekly windows and freezes in a time zone. Pure: the moment is an argument, and the rules of time zones
//! are compiled in.

use serde::{Deserialize, Serialize};

use super::time::Timestamp;

/// When something is open: within some window (any time if there is none), and not in a closed time.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Calendar {
    /// IANA name, such as `Europe/Berlin`; `UTC` where nothing is said.
    pub time_zone: String,
    /// Open weekly windows.
    pub open: Vec<WeeklyWindow>,
    /// Closed times.
    pub closed: Vec<ClosedTime>,
}

/// A window of every week.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WeeklyWindow {
    /// 1 is Monday, 7 Sunday; on which days it begins. Not empty.
    pub days: Vec<u8>,
    /// Minutes after midnight, by the zone's clock.
    pub from: u16,
    /// Minutes after midnight; not after `from`: it ends on the next day.
    pub until: u16,
}

/// A time in which nothing is open, by the zone's clock.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClosedTime {
    /// RFC 3339 without an offset: `2026-12-20T00:00:00`.
    pub from: String,
    /// The first moment that is open again.
    pub until: String,
    /// Why, for people.
    pub why: String,
}

/// What a calendar says of a moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Opening {
    /// Open, until then if that is known.
    Open {
        /// When it closes.
        until: Option<Timestamp>,
    },
    /// Closed, until then if that is known.
    Closed {
        /// When it opens.
        until: Option<Timestamp>,
        /// Why.
        why: String,
    },
}

impl Calendar {
    /// What it says of `now`.
    pub fn at(&self, _now: Timestamp) -> Opening {
        Opening::Closed { until: None, why: "calendars cannot be read yet".to_owned() }
    }
}
