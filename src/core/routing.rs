//! Who is told what, and when. Pure: the moment is an argument, and the rules of time zones are compiled
//! in.

use jiff::civil::{Time, Weekday};
use jiff::tz::{TimeZone, TimeZoneDatabase};
use jiff::{ToSpan, Zoned};

use super::access::Scope;
use super::incident::IncidentStep;
use super::limit::Severity;
use super::notice::{Notice, NoticeKind};
use super::time::Timestamp;

/// Follows a channel's name in the queue of what is merged.
pub const DIGEST: &str = "#digest";
/// Follows a channel's name in the queue of what waits for the end of quiet hours.
pub const QUIET: &str = "#quiet";
/// Follows a channel's name in the queue of what is about an incident: it waits behind nothing else.
pub const PAGE: &str = "#page";

/// The most urgent first.
const SEVERITIES: [Severity; 4] = [Severity::Critical, Severity::High, Severity::Medium, Severity::Low];
/// The kinds that page: each may have opened an incident.
const TRIGGERS: [NoticeKind; 7] = [
    NoticeKind::RollbackStarted,
    NoticeKind::Unconfirmed,
    NoticeKind::Failed,
    NoticeKind::NotVerified,
    NoticeKind::Held,
    NoticeKind::Gate,
    NoticeKind::Alert,
];

/// Who is told what, and when.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Routing {
    /// All channels by name. What no rule takes, if it is critical, goes to all of them.
    pub channels: Vec<String>,
    /// In order; `None`: everything goes to every channel.
    pub rules: Option<Vec<Rule>>,
    /// When channels are left alone.
    pub quiet: Vec<QuietHours>,
    /// Channels that take what a release does as a message of its own, beside the incident that ends with it.
    pub changes: Vec<String>,
}

/// Notices that all conditions hold for go to some channels.
#[derive(Clone, Debug, PartialEq)]
pub struct Rule {
    /// `None`: any.
    pub severities: Option<Vec<Severity>>,
    /// `None`: any.
    pub kinds: Option<Vec<NoticeKind>>,
    /// Names of targets, as patterns.
    pub services: Scope,
    /// `None`: any, and none.
    pub environments: Option<Vec<String>>,
    /// Where they go; nowhere if it is empty.
    pub to: Vec<Destination>,
    /// Whether the rules after it are looked at too.
    pub goes_on: bool,
}

/// A channel, and when.
#[derive(Clone, Debug, PartialEq)]
pub struct Destination {
    /// The channel's name.
    pub channel: String,
    /// `None`: at once. Else merged, once a day.
    pub digest: Option<DailyTime>,
}

/// A time of every day.
#[derive(Clone, Debug, PartialEq)]
pub struct DailyTime {
    /// Minutes after midnight, by the zone's clock.
    pub at: u16,
    /// The zone.
    pub zone: Zone,
}

/// A time of some days of the week in which channels are told only what is critical or about an incident.
#[derive(Clone, Debug, PartialEq)]
pub struct QuietHours {
    /// The channels.
    pub channels: Vec<String>,
    /// 1 is Monday, 7 Sunday; on which days it begins.
    pub days: Vec<u8>,
    /// Minutes after midnight, by the zone's clock.
    pub from: u16,
    /// Minutes after midnight; not after `from`: on the next day.
    pub until: u16,
    /// The zone.
    pub zone: Zone,
}

/// A time zone by its IANA name.
#[derive(Clone, Debug, PartialEq)]
pub struct Zone(TimeZone);

impl Zone {
    /// The zone of that name, such as `Europe/Berlin` or `UTC`; `None` if there is none.
    pub fn named(name: &str) -> Option<Zone> {
        // The compiled-in rules, so that every machine decides alike.
        TimeZoneDatabase::bundled().get(name).ok().map(Zone)
    }
}

/// Where a notice goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route {
    /// The channel's name.
    pub channel: String,
    /// The queue: the channel's name, and what it waits for.
    pub queue: String,
    /// Not before; `None`: at once.
    pub due: Option<Timestamp>,
    /// Whether it is told there as something about the incident, or as what else it is.
    pub about_incident: bool,
}

/// The queues that are worked on together: what is about incidents by itself, so that nothing else of the
/// channel holds it up; the others of a channel one after the other.
pub fn lane_of(queue: &str) -> &str {
    if queue.ends_with(PAGE) { queue } else { channel_of(queue) }
}

/// The channel of a queue.
pub fn channel_of(queue: &str) -> &str {
    queue.split_once('#').map_or(queue, |(channel, _)| channel)
}

impl Routing {
    /// Everything to every channel, at once.
    pub fn everything(channels: impl IntoIterator<Item = String>) -> Routing {
        Routing { channels: channels.into_iter().collect(), rules: None, ..Routing::default() }
    }

    /// Where a notice goes, each queue once. What is about an incident never waits, and has queues of its own,
    /// which keep the order: a resolve must not overtake its trigger. An incident is acknowledged and resolved
    /// where it was opened.
    pub fn routes(&self, notice: &Notice, now: Timestamp) -> Vec<Route> {
        let found = self.destinations(notice, notice.kind, notice.severity);
        let Some(change) = &notice.incident else {
            return found
                .into_iter()
                .map(|(channel, daily)| self.usual(notice, channel, daily, now))
                .collect();
        };
        let ends = change.step != IncidentStep::Trigger;
        let mut about = if ends && !change.told.is_empty() { Vec::new() } else { found.clone() };
        if ends && change.told.is_empty() {
            self.add_triggered(notice, &mut about);
        }
        change.told.iter().for_each(|channel| add(&mut about, channel.clone(), None));
        let mut routes: Vec<Route> = about
            .iter()
            .map(|(channel, _)| Route {
                queue: format!("{channel}{PAGE}"),
                due: None,
                about_incident: true,
                channel: channel.clone(),
            })
            .collect();
        // Others hear what the release does, and nothing of an incident.
        if ends && !matches!(notice.kind, NoticeKind::Resolved | NoticeKind::Acknowledged) {
            let is_told = |channel: &String| about.iter().any(|(known, _)| known == channel);
            let others =
                found.into_iter().filter(|(channel, _)| !is_told(channel) || self.changes.contains(channel));
            routes.extend(others.map(|(channel, daily)| self.usual(notice, channel, daily, now)));
        }
        routes
    }

    /// The way of what is about no incident.
    fn usual(&self, notice: &Notice, channel: String, daily: Option<DailyTime>, now: Timestamp) -> Route {
        let about_incident = false;
        if let Some(daily) = daily {
            let due = Some(daily.next(now));
            return Route { queue: format!("{channel}{DIGEST}"), due, about_incident, channel };
        }
        match self.quiet_until(&channel, now).filter(|_| !is_critical(notice)) {
            Some(until) => {
                Route { queue: format!("{channel}{QUIET}"), due: Some(until), about_incident, channel }
            }
            None => Route { queue: channel.clone(), due: None, about_incident, channel },
        }
    }

    /// Adds every channel that may have got the incident's trigger. Which kind and severity that had, and
    /// which channels keep incidents, is not known here: rather one message more than an incident that stays
    /// open.
    fn add_triggered(&self, notice: &Notice, found: &mut Vec<(String, Option<DailyTime>)>) {
        for severity in SEVERITIES {
            for kind in TRIGGERS {
                for (channel, digest) in self.destinations(notice, kind, severity) {
                    add(found, channel, digest);
                }
            }
        }
    }

    fn destinations(
        &self,
        notice: &Notice,
        kind: NoticeKind,
        severity: Severity,
    ) -> Vec<(String, Option<DailyTime>)> {
        let everywhere = || self.channels.iter().map(|channel| (channel.clone(), None)).collect();
        let Some(rules) = &self.rules else { return everywhere() };
        let mut found = Vec::new();
        let mut taken = false;
        for rule in rules.iter().filter(|rule| rule.holds(notice, kind, severity)) {
            taken = true;
            for to in &rule.to {
                add(&mut found, to.channel.clone(), to.digest.clone());
            }
            if !rule.goes_on {
                break;
            }
        }
        // What wakes people up is never lost in a gap between the rules.
        if !taken && severity == Severity::Critical { everywhere() } else { found }
    }

    /// When the quiet hours that `now` lies in are over, also those that follow at once.
    fn quiet_until(&self, channel: &str, now: Timestamp) -> Option<Timestamp> {
        let mut until = None;
        // Two quiet hours may touch, and each of a week's days may begin one.
        for _ in 0..16 {
            let moment = until.unwrap_or(now);
            let of_channel = self.quiet.iter().filter(|quiet| quiet.channels.iter().any(|c| c == channel));
            match of_channel.filter_map(|quiet| quiet.until(moment)).max() {
                Some(end) => until = Some(end),
                None => break,
            }
        }
        until
    }
}

fn is_critical(notice: &Notice) -> bool {
    notice.severity == Severity::Critical
}

/// At once is more than once a day.
fn add(found: &mut Vec<(String, Option<DailyTime>)>, channel: String, digest: Option<DailyTime>) {
    match found.iter_mut().find(|(known, _)| *known == channel) {
        Some((_, known)) if digest.is_none() => *known = None,
        Some(_) => {}
        None => found.push((channel, digest)),
    }
}

impl Rule {
    fn holds(&self, notice: &Notice, kind: NoticeKind, severity: Severity) -> bool {
        let environment = notice.environment.as_ref();
        self.severities.as_ref().is_none_or(|severities| severities.contains(&severity))
            && self.kinds.as_ref().is_none_or(|kinds| kinds.contains(&kind))
            && self.services.holds(&notice.target)
            && self
                .environments
                .as_ref()
                .is_none_or(|known| environment.is_some_and(|environment| known.contains(environment)))
    }
}

impl DailyTime {
    /// The first one after `now`.
    fn next(&self, now: Timestamp) -> Timestamp {
        let Some(local) = local(now, &self.zone) else { return now };
        for days in 0..3 {
            if let Some(at) = at(&local, days, self.at, &self.zone)
                && at > now
            {
                return at;
            }
        }
        now
    }
}

impl QuietHours {
    /// The end, if `now` lies in it.
    fn until(&self, now: Timestamp) -> Option<Timestamp> {
        let local = local(now, &self.zone)?;
        // One that began yesterday may go over midnight.
        [-1, 0].into_iter().find_map(|day: i64| {
            let date = local.date().checked_add(day.days()).ok()?;
            let weekday = Weekday::to_monday_one_offset(date.weekday());
            if !self.days.iter().any(|known| i8::try_from(*known).is_ok_and(|known| known == weekday)) {
                return None;
            }
            let from = at(&local, day, self.from, &self.zone)?;
            let until = at(&local, day + i64::from(self.until <= self.from), self.until, &self.zone)?;
            (from <= now && now < until).then_some(until)
        })
    }
}

fn local(now: Timestamp, zone: &Zone) -> Option<Zoned> {
    Some(jiff::Timestamp::from_millisecond(now.0).ok()?.to_zoned(zone.0.clone()))
}

/// That minute of the day so many days after `local`'s. A time that a change of the clocks leaves out is
/// as long after midnight as on other days; of one that comes twice it is the first.
fn at(local: &Zoned, days: i64, minutes: u16, zone: &Zone) -> Option<Timestamp> {
    let date = local.date().checked_add(days.days()).ok()?;
    let (hour, minute) = (i8::try_from(minutes / 60).ok()?, i8::try_from(minutes % 60).ok()?);
    // 24:00 is the next day's midnight.
    let (date, hour) = if hour == 24 { (date.tomorrow().ok()?, 0) } else { (date, hour) };
    let time = Time::new(hour, minute, 0, 0).ok()?;
    let zoned = date.to_datetime(time).to_zoned(zone.0.clone()).ok()?;
    Some(Timestamp(zoned.timestamp().as_millisecond()))
}
