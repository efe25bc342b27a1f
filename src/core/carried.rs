//! What each server of stable has carried at most in the last 24 hours.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

use super::time::Timestamp;

const HOUR_MS: i64 = 3_600_000;
/// The time that is looked back on.
const HOURS: i64 = 24;
/// A rise of less than one in so many parts is not worth being stored.
const PART: u64 = 20;

/// The largest figure of each hour, in requests a minute and server.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Carried {
    /// Hours since 1970, and the largest figure of each; in order, none older than 24 hours.
    hours: VecDeque<(i64, u64)>,
}

impl Carried {
    /// The servers that were up carried so many requests together.
    pub fn take(&mut self, now: Timestamp, per_minute: u64, up: u32) {
        let Some(each) = per_minute.checked_div(u64::from(up)) else { return };
        let hour = now.0.div_euclid(HOUR_MS);
        // A clock that was set back adds to the newest hour.
        match self.hours.back_mut() {
            Some((last, most)) if *last >= hour => {
                if each > most.saturating_add(*most / PART) {
                    *most = each;
                }
            }
            _ => self.hours.push_back((hour, each)),
        }
        while self.hours.len() as i64 > HOURS + 1
            || self.hours.front().is_some_and(|(at, _)| is_old(*at, hour))
        {
            self.hours.pop_front();
        }
    }

    /// The most that each carried, in requests a minute; `None` if nothing is known or there was none.
    pub fn most(&self, now: Timestamp) -> Option<u64> {
        let hour = now.0.div_euclid(HOUR_MS);
        let recent = self.hours.iter().filter(|(at, _)| !is_old(*at, hour));
        recent.map(|(_, most)| *most).max().filter(|most| *most > 0)
    }
}

fn is_old(at: i64, now: i64) -> bool {
    now - at > HOURS
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hour(hour: i64) -> Timestamp {
        Timestamp(hour * HOUR_MS)
    }

    #[test]
    fn the_most_of_the_last_day_is_known_and_older_hours_are_forgotten() {
        let mut carried = Carried::default();
        assert_eq!(carried.most(hour(0)), None);
        carried.take(hour(0), 1_000, 0);
        assert_eq!(carried.most(hour(0)), None, "no server was up");
        carried.take(hour(0), 1_000, 4);
        carried.take(hour(1), 400, 4);
        assert_eq!(carried.most(hour(1)), Some(250));
        assert_eq!(carried.most(hour(24)), Some(250));
        assert_eq!(carried.most(hour(25)), Some(100));
        assert_eq!(carried.most(hour(40)), None);
        for at in 2..2_000 {
            carried.take(hour(at), 800, 4);
        }
        assert!(carried.hours.len() <= 26, "{}", carried.hours.len());
    }

    #[test]
    fn small_rises_and_clocks_that_go_back_store_nothing() {
        let mut carried = Carried::default();
        carried.take(hour(5), 1_000, 1);
        let before = carried.clone();
        carried.take(hour(5), 1_040, 1);
        carried.take(hour(3), 900, 1);
        assert_eq!(carried, before);
        carried.take(hour(3), 2_000, 1);
        assert_eq!(carried.most(hour(5)), Some(2_000));
    }
}
