//! Windows of the week and closed times.

use super::decode::{Field, Fields, all, shorten};
use crate::core::calendar::{self, Calendar, ClosedTime, WeeklyWindow};
use crate::core::gate::Check;

const DAYS: [&str; 7] = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"];

/// `{time_zone: Europe/Berlin, open: [{days: [mon-thu], from: "09:00", until: "16:00"}], outside: wait}`.
pub(super) fn check(field: &Field<'_>) -> Option<Check> {
    let fields = field.fields("a mapping with `time_zone`, `open`, `closed` and `outside`")?;
    let refuse = fields.or("outside", false, |f| f.one_of(&[("wait", false), ("refuse", true)]));
    let time_zone = fields.or("time_zone", "UTC".to_owned(), |f| time_zone(&f));
    let open = fields.or("open", Vec::new(), |f| {
        let items = f.list(50, "a list such as `- {days: [mon-thu], from: \"09:00\", until: \"16:00\"}`")?;
        all(items.iter().map(weekly))
    });
    let closed = fields.or("closed", Vec::new(), |f| {
        let items = f.list(100, "a list such as `- {from: 2026-12-20, until: 2027-01-04, why: holidays}`")?;
        all(items.iter().map(closed))
    });
    if let (Some(open), Some(closed)) = (&open, &closed)
        && open.is_empty()
        && closed.is_empty()
    {
        field.problem("the window is always open", "`open` or `closed` times");
    }
    fields.close();
    let calendar = Calendar { time_zone: time_zone?, open: open?, closed: closed? };
    Some(Check::Window { calendar, refuse: refuse? })
}

/// A zone whose rules are known.
pub(super) fn time_zone(field: &Field<'_>) -> Option<String> {
    let name = field.line(100)?;
    if !calendar::is_time_zone(&name) {
        field.problem(
            format!("the time zone `{}` is not known", shorten(&name)),
            "a name such as Europe/Berlin",
        );
        return None;
    }
    Some(name)
}

fn weekly(field: &Field<'_>) -> Option<WeeklyWindow> {
    let fields = field.fields("a mapping with `days`, `from` and `until`")?;
    let days = fields.or("days", (1..=7).collect(), |f| days(&f));
    let from = fields.need("from", "when it opens, such as \"09:00\"").and_then(|f| minutes(&f, 1439));
    let until = fields.need("until", "when it closes, such as \"16:00\"").and_then(|f| minutes(&f, 1440));
    fields.close();
    Some(WeeklyWindow { days: days?, from: from?, until: until? })
}

/// `[mon-thu, sat]`; `fri-mon` passes the week's end.
fn days(field: &Field<'_>) -> Option<Vec<u8>> {
    const EXPECTED: &str = "days such as `[mon, tue]` or `[mon-fri]`";
    let items = field.list(7, EXPECTED)?;
    if items.is_empty() {
        field.problem("there is no day", EXPECTED);
        return None;
    }
    let mut days = Vec::new();
    for item in all(items.iter().map(|item| item.raw(EXPECTED).map(|text| (item, text))))? {
        let (item, text) = item;
        let (first, last) = text.split_once('-').unwrap_or((text, text));
        let number = |name: &str| (1..=7u8).zip(DAYS).find(|(_, day)| *day == name).map(|(number, _)| number);
        let (Some(first), Some(last)) = (number(first), number(last)) else {
            let expected = format!("one of {}, or a range such as mon-thu", DAYS.join(", "));
            item.problem(format!("`{}` is not a day", shorten(text)), expected);
            return None;
        };
        let mut day = first;
        days.push(day);
        while day != last {
            day = day % 7 + 1;
            days.push(day);
        }
    }
    days.sort_unstable();
    days.dedup();
    Some(days)
}

/// `09:00`, at most `most` minutes after midnight.
fn minutes(field: &Field<'_>, most: u16) -> Option<u16> {
    const EXPECTED: &str = "a time such as \"09:00\", from 00:00 to 24:00";
    let text = field.raw(EXPECTED)?;
    let digits = |part: &str| part.len() == 2 && part.bytes().all(|b| b.is_ascii_digit());
    let parts = text.split_once(':').filter(|(hour, minute)| digits(hour) && digits(minute));
    let read =
        parts.and_then(|(hour, minute)| Some((hour.parse::<u16>().ok()?, minute.parse::<u16>().ok()?)));
    match read.filter(|(_, minute)| *minute < 60).map(|(hour, minute)| hour * 60 + minute) {
        Some(minutes) if minutes <= most => Some(minutes),
        _ => {
            field.problem(format!("`{}` is not a time of the day", shorten(text)), EXPECTED);
            None
        }
    }
}

fn closed(field: &Field<'_>) -> Option<ClosedTime> {
    let fields = field.fields("a mapping with `from`, `until` and `why`")?;
    let closed = closed_time(&fields);
    fields.close();
    closed
}

/// `from`, `until` and `why` of a mapping.
pub(super) fn closed_time(fields: &Fields<'_>) -> Option<ClosedTime> {
    let from = fields.need("from", "when it begins, such as 2026-12-20T18:00").and_then(|f| f.line(40));
    let end = fields.need("until", "when it is over, such as 2027-01-04T00:00");
    let until = end.as_ref().and_then(|f| f.line(40));
    let why = fields.need("why", "the reason, for people").and_then(|f| f.line(200));
    let (from, until) = (from?, until?);
    let problem = match calendar::are_in_order(&from, &until) {
        Some(true) => return Some(ClosedTime { from, until, why: why? }),
        Some(false) => format!("`{}` is not after `{}`", shorten(&until), shorten(&from)),
        None => format!("`{}` or `{}` is not a local time", shorten(&from), shorten(&until)),
    };
    end?.problem(problem, "times by the zone's clock, without an offset, the earlier one in `from`");
    None
}
