//! Weekly windows and freezes in a time zone. Pure: the moment is an argument, and the rules of time zones
//! are compiled in.

use std::sync::OnceLock;

use jiff::civil::{Date, DateTime};
use jiff::tz::{AmbiguousOffset, TimeZone, TimeZoneDatabase};
use jiff::{Span, Timestamp as Instant};
use serde::{Deserialize, Serialize};

use super::time::Timestamp;

/// The next opening is looked for so far ahead.
const HORIZON_DAYS: i32 = 400;
/// Nearly always the next change is within these.
const NEAR_DAYS: i32 = 9;
/// Where no window is open.
const OUTSIDE: &str = "outside the weekly windows";

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
    /// What it says of `now`: whatever the zone's clock shows decides. An hour that the clock skips is in no
    /// window, and an hour that it shows twice is in the window twice.
    pub fn at(&self, now: Timestamp) -> Opening {
        if self.open.is_empty() && self.closed.is_empty() {
            return Opening::Open { until: None };
        }
        let Some(zone) = time_zone(&self.time_zone) else {
            let why = format!("the time zone {} is not known", self.time_zone);
            return Opening::Closed { until: None, why };
        };
        let Ok(instant) = Instant::from_millisecond(now.0) else {
            return Opening::Closed { until: None, why: "the time is out of range".to_owned() };
        };
        let closed = self.closed_times();
        let here = self.why_closed(&closed, zone.to_datetime(instant));
        let is_open = here.is_none();
        let change = |days| self.next_change(&zone, &closed, instant, is_open, days);
        let until = change(NEAR_DAYS).or_else(|| change(HORIZON_DAYS));
        match here {
            None => Opening::Open { until },
            Some(why) => Opening::Closed { until, why },
        }
    }

    /// The closed times whose ends can be read; `config` lets no others in.
    fn closed_times(&self) -> Vec<(DateTime, DateTime, &str)> {
        let read = |time: &ClosedTime| Some((local(&time.from)?, local(&time.until)?));
        self.closed
            .iter()
            .filter_map(|time| read(time).map(|(from, until)| (from, until, &*time.why)))
            .collect()
    }

    /// Why it is closed when the zone's clock shows that; `None`: it is open.
    fn why_closed(&self, closed: &[(DateTime, DateTime, &str)], shown: DateTime) -> Option<String> {
        if let Some((.., why)) = closed.iter().find(|(from, until, _)| *from <= shown && shown < *until) {
            return Some((*why).to_owned());
        }
        let inside = self.open.is_empty() || self.open.iter().any(|window| window.holds(shown));
        (!inside).then(|| OUTSIDE.to_owned())
    }

    /// The first moment after `now`, within so many days, at which it is not as it is now.
    fn next_change(
        &self,
        zone: &TimeZone,
        closed: &[(DateTime, DateTime, &str)],
        now: Instant,
        is_open: bool,
        days: i32,
    ) -> Option<Timestamp> {
        let today = zone.to_datetime(now).date();
        let end = now.checked_add(jiff::SignedDuration::from_hours(i64::from(days - 1) * 24)).ok()?;
        let mut moments = Vec::new();
        for offset in -2..=days {
            let Ok(day) = today.checked_add(Span::new().days(offset)) else { continue };
            for window in self.open.iter().filter(|window| window.begins_on(day)) {
                moments.extend(shown_at(zone, minutes_after(day, window.from)));
                let next = day.tomorrow().unwrap_or(day);
                let last = if window.until > window.from { day } else { next };
                moments.extend(shown_at(zone, minutes_after(last, window.until)));
            }
        }
        for (from, until, _) in closed {
            moments.extend(shown_at(zone, Some(*from)).into_iter().chain(shown_at(zone, Some(*until))));
        }
        // When the clock is put forward or back, it may jump into a window or out of one.
        let jumps = zone.following(now).map(|jump| jump.timestamp()).take_while(|at| *at <= end);
        moments.extend(jumps.take(16));
        moments.retain(|at| *at > now && *at <= end);
        moments.sort_unstable();
        let changes = |at: &&Instant| self.why_closed(closed, zone.to_datetime(**at)).is_none() != is_open;
        moments.iter().find(changes).map(|at| Timestamp(at.as_millisecond()))
    }
}

impl WeeklyWindow {
    fn begins_on(&self, day: Date) -> bool {
        u8::try_from(day.weekday().to_monday_one_offset()).is_ok_and(|day| self.days.contains(&day))
    }

    /// Whether it is open when the clock shows that.
    fn holds(&self, shown: DateTime) -> bool {
        let minutes = u16::from(shown.hour().unsigned_abs()) * 60 + u16::from(shown.minute().unsigned_abs());
        let today = self.begins_on(shown.date());
        if self.from < self.until {
            return today && (self.from..self.until).contains(&minutes);
        }
        let yesterday = shown.date().yesterday().is_ok_and(|day| self.begins_on(day));
        (today && minutes >= self.from) || (yesterday && minutes < self.until)
    }
}

/// `day` at so many minutes after midnight by the clock; 1440 is the next day's midnight.
fn minutes_after(day: Date, minutes: u16) -> Option<DateTime> {
    day.to_datetime(jiff::civil::Time::midnight()).checked_add(Span::new().minutes(minutes)).ok()
}

/// The moments at which the zone's clock shows that: one, or two where it is put back, or the moment of the
/// jump where it is put forward.
fn shown_at(zone: &TimeZone, shown: Option<DateTime>) -> Vec<Instant> {
    let Some(shown) = shown else { return Vec::new() };
    let moments = match zone.to_ambiguous_timestamp(shown).offset() {
        AmbiguousOffset::Unambiguous { offset } => vec![offset.to_timestamp(shown)],
        AmbiguousOffset::Fold { before, after } => {
            vec![before.to_timestamp(shown), after.to_timestamp(shown)]
        }
        // The jump itself is looked at in any case.
        AmbiguousOffset::Gap { .. } => Vec::new(),
    };
    moments.into_iter().flatten().collect()
}

/// The compiled-in rules of a zone.
fn time_zone(name: &str) -> Option<TimeZone> {
    static RULES: OnceLock<TimeZoneDatabase> = OnceLock::new();
    RULES.get_or_init(TimeZoneDatabase::bundled).get(name).ok()
}

/// True if the name stands for a time zone whose rules are known.
pub fn is_time_zone(name: &str) -> bool {
    time_zone(name).is_some()
}

/// A local time as [`ClosedTime`] has it: `2026-12-20T00:00:00`, seconds or the whole time of day left out
/// or not, never with an offset.
fn local(text: &str) -> Option<DateTime> {
    let has_offset = |text: &str| text.get(10..).is_some_and(|rest| rest.contains(['Z', 'z', '+', '-', '[']));
    if !text.is_ascii() || has_offset(text) { None } else { text.parse().ok() }
}

/// The moments between which the zone's clock shows a time from `from` to `until`: where it shows one of them
/// twice, from the first and to the last; where it skips one, around the jump. `None` if the zone is not known or
/// a time cannot be read, or is too far away.
pub fn moments(zone: &str, from: &str, until: &str) -> Option<(Timestamp, Timestamp)> {
    let zone = time_zone(zone)?;
    let from = zone.to_ambiguous_timestamp(local(from)?).earlier().ok()?;
    let until = zone.to_ambiguous_timestamp(local(until)?).later().ok()?;
    Some((Timestamp(from.as_millisecond()), Timestamp(until.as_millisecond())))
}

/// Whether `from` and `until` are local times, and the second is the later one; `None` if one cannot be read.
pub fn are_in_order(from: &str, until: &str) -> Option<bool> {
    Some(local(from)? < local(until)?)
}

#[cfg(test)]
mod tests;
