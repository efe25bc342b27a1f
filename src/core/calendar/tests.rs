//! Windows and closed times at moments that are easy to get wrong.

use super::*;

fn at(text: &str) -> Timestamp {
    Timestamp(text.parse::<Instant>().unwrap().as_millisecond())
}

fn window(days: &[u8], from: u16, until: u16) -> WeeklyWindow {
    WeeklyWindow { days: days.to_vec(), from, until }
}

fn closed(from: &str, until: &str) -> ClosedTime {
    ClosedTime { from: from.to_owned(), until: until.to_owned(), why: "frozen".to_owned() }
}

fn calendar(zone: &str, open: &[WeeklyWindow], closed: &[ClosedTime]) -> Calendar {
    Calendar { time_zone: zone.to_owned(), open: open.to_vec(), closed: closed.to_vec() }
}

/// `open 2026-…Z`, `closed … (why)`.
fn said(calendar: &Calendar, now: &str) -> String {
    let show = |until: Option<Timestamp>| until.map_or("for ever".to_owned(), |until| until.to_string());
    match calendar.at(at(now)) {
        Opening::Open { until } => format!("open {}", show(until).replace(":00.000Z", "Z")),
        Opening::Closed { until, why } => format!("closed {} ({why})", show(until).replace(":00.000Z", "Z")),
    }
}

const OUT: &str = "(outside the weekly windows)";
const EVERY_DAY: &[u8] = &[1, 2, 3, 4, 5, 6, 7];

#[test]
fn windows_of_the_week() {
    // Berlin, Monday to Thursday from 09:00 to 16:00; 2026-06-01 is a Monday, in summer time.
    let office = calendar("Europe/Berlin", &[window(&[1, 2, 3, 4], 540, 960)], &[]);
    for (now, says) in [
        ("2026-06-01T06:59:59.999Z", format!("closed 2026-06-01T07:00Z {OUT}")),
        ("2026-06-01T07:00:00Z", "open 2026-06-01T14:00Z".to_owned()),
        ("2026-06-01T13:59:59.999Z", "open 2026-06-01T14:00Z".to_owned()),
        ("2026-06-01T14:00:00Z", format!("closed 2026-06-02T07:00Z {OUT}")),
        // After Thursday's end comes Monday.
        ("2026-06-04T14:00:00Z", format!("closed 2026-06-08T07:00Z {OUT}")),
        // In winter an hour later by UTC.
        ("2026-01-05T07:59:00Z", format!("closed 2026-01-05T08:00Z {OUT}")),
        ("2026-01-05T08:00:00Z", "open 2026-01-05T15:00Z".to_owned()),
    ] {
        assert_eq!(said(&office, now), says, "{now}");
    }
}

#[test]
fn windows_that_pass_midnight() {
    // Saturday 22:00 to Sunday 02:00, in UTC; 2026-06-06 is a Saturday.
    let night = calendar("UTC", &[window(&[6], 1320, 120)], &[]);
    for (now, says) in [
        ("2026-06-06T21:59:00Z", format!("closed 2026-06-06T22:00Z {OUT}")),
        ("2026-06-06T22:00:00Z", "open 2026-06-07T02:00Z".to_owned()),
        ("2026-06-07T01:59:00Z", "open 2026-06-07T02:00Z".to_owned()),
        ("2026-06-07T02:00:00Z", format!("closed 2026-06-13T22:00Z {OUT}")),
        // Sunday's evening is no Saturday.
        ("2026-06-07T23:00:00Z", format!("closed 2026-06-13T22:00Z {OUT}")),
    ] {
        assert_eq!(said(&night, now), says, "{now}");
    }
    // From noon to noon on every day: always open; to 24:00 ends with the day.
    assert_eq!(
        said(&calendar("UTC", &[window(EVERY_DAY, 720, 720)], &[]), "2026-06-06T12:00:00Z"),
        "open for ever"
    );
    let whole = calendar("UTC", &[window(&[6], 0, 1440)], &[]);
    assert_eq!(said(&whole, "2026-06-06T23:59:59Z"), "open 2026-06-07T00:00Z");
    // Two windows that touch are one.
    let two = calendar("UTC", &[window(&[6], 600, 660), window(&[6], 660, 720)], &[]);
    assert_eq!(said(&two, "2026-06-06T10:30:00Z"), "open 2026-06-06T12:00Z");
}

#[test]
fn the_change_to_summer_time() {
    // Berlin, 2026-03-29: 02:00 becomes 03:00, at 01:00Z.
    let zone = "Europe/Berlin";
    let early = calendar(zone, &[window(EVERY_DAY, 60, 150)], &[]);
    // Until 02:30, which the clock does not show: it closes when the clock jumps over it.
    assert_eq!(said(&early, "2026-03-29T00:30:00Z"), "open 2026-03-29T01:00Z");
    // A window that lies within the skipped hour is not open on that day.
    let skipped = calendar(zone, &[window(EVERY_DAY, 130, 170)], &[]);
    assert_eq!(said(&skipped, "2026-03-29T00:59:00Z"), format!("closed 2026-03-30T00:10Z {OUT}"));
    // A window that begins in it opens when the clock jumps into it.
    let late = calendar(zone, &[window(EVERY_DAY, 150, 240)], &[]);
    assert_eq!(said(&late, "2026-03-29T00:30:00Z"), format!("closed 2026-03-29T01:00Z {OUT}"));
    assert_eq!(said(&late, "2026-03-29T01:00:00Z"), "open 2026-03-29T02:00Z");
    // A night window is an hour shorter: 22:00 to 06:00 by the clock.
    let night = calendar(zone, &[window(&[6], 1320, 360)], &[]);
    assert_eq!(said(&night, "2026-03-28T21:00:00Z"), "open 2026-03-29T04:00Z");
}

#[test]
fn the_change_back() {
    // Berlin, 2026-10-25: 03:00 becomes 02:00, at 01:00Z.
    let zone = "Europe/Berlin";
    let night = calendar(zone, &[window(&[6], 1320, 360)], &[]);
    assert_eq!(said(&night, "2026-10-24T20:00:00Z"), "open 2026-10-25T05:00Z");
    // 02:10 to 02:40 comes twice, and is open twice.
    let twice = calendar(zone, &[window(EVERY_DAY, 130, 160)], &[]);
    for (now, says) in [
        ("2026-10-25T00:00:00Z", format!("closed 2026-10-25T00:10Z {OUT}")),
        ("2026-10-25T00:10:00Z", "open 2026-10-25T00:40Z".to_owned()),
        ("2026-10-25T00:40:00Z", format!("closed 2026-10-25T01:10Z {OUT}")),
        ("2026-10-25T01:10:00Z", "open 2026-10-25T01:40Z".to_owned()),
        ("2026-10-25T01:40:00Z", format!("closed 2026-10-26T01:10Z {OUT}")),
    ] {
        assert_eq!(said(&twice, now), says, "{now}");
    }
    // Until 03:00: open through both of the hours.
    let until = calendar(zone, &[window(EVERY_DAY, 60, 180)], &[]);
    assert_eq!(said(&until, "2026-10-24T23:30:00Z"), "open 2026-10-25T02:00Z");
    // From 02:30: when the clock is put back from 03:00 to 02:00 it closes for half an hour.
    let from = calendar(zone, &[window(EVERY_DAY, 150, 240)], &[]);
    assert_eq!(said(&from, "2026-10-25T00:45:00Z"), "open 2026-10-25T01:00Z");
    assert_eq!(said(&from, "2026-10-25T01:00:00Z"), format!("closed 2026-10-25T01:30Z {OUT}"));
}

#[test]
fn other_zones() {
    // Lord Howe Island moves its clock by half an hour: 2026-10-04 02:00 becomes 02:30, at 15:30Z before.
    let island = calendar("Australia/Lord_Howe", &[window(EVERY_DAY, 60, 135)], &[]);
    assert_eq!(said(&island, "2026-10-03T15:00:00Z"), "open 2026-10-03T15:30Z");
    // Half an hour beside the full hour.
    let india = calendar("Asia/Kolkata", &[window(EVERY_DAY, 540, 600)], &[]);
    assert_eq!(said(&india, "2026-06-01T03:30:00Z"), "open 2026-06-01T04:30Z");
    assert!(is_time_zone("Europe/Berlin") && is_time_zone("UTC"));
    for name in ["Europe/Berln", "", "../etc/passwd", "CEST!"] {
        assert!(!is_time_zone(name), "{name}");
    }
    let wrong = calendar("Mars/Olympus", &[window(EVERY_DAY, 0, 1440)], &[]);
    assert_eq!(
        said(&wrong, "2026-06-01T00:00:00Z"),
        "closed for ever (the time zone Mars/Olympus is not known)"
    );
}

#[test]
fn closed_times() {
    let freeze = [closed("2026-12-20T00:00:00", "2027-01-04T00:00:00")];
    let only = calendar("Europe/Berlin", &[], &freeze);
    assert_eq!(said(&only, "2026-12-19T22:59:59Z"), "open 2026-12-19T23:00Z");
    assert_eq!(said(&only, "2026-12-19T23:00:00Z"), "closed 2027-01-03T23:00Z (frozen)");
    assert_eq!(said(&only, "2027-01-03T23:00:00Z"), "open for ever");
    // With windows it opens with the first window after the freeze: Monday, 09:00.
    let both = calendar("Europe/Berlin", &[window(&[1, 2, 3, 4], 540, 960)], &freeze);
    assert_eq!(said(&both, "2026-12-22T12:00:00Z"), "closed 2027-01-04T08:00Z (frozen)");
    // A freeze that begins within a window ends it.
    let cut = calendar("UTC", &[window(&[6], 600, 720)], &[closed("2026-06-06T11:00", "2026-06-06T11:30")]);
    assert_eq!(said(&cut, "2026-06-06T10:30:00Z"), "open 2026-06-06T11:00Z");
    assert_eq!(said(&cut, "2026-06-06T11:00:00Z"), "closed 2026-06-06T11:30Z (frozen)");
    // Freezes that overlap are one, and one of two years has no known end.
    let two = [closed("2026-06-01", "2026-06-03"), closed("2026-06-02", "2026-06-05")];
    assert_eq!(
        said(&calendar("UTC", &[], &two), "2026-06-01T00:00:00Z"),
        "closed 2026-06-05T00:00Z (frozen)"
    );
    let long = calendar("UTC", &[window(&[6], 600, 720)], &[closed("2026-01-01", "2028-01-01")]);
    assert_eq!(said(&long, "2026-06-01T00:00:00Z"), "closed for ever (frozen)");
    assert_eq!(said(&Calendar::default(), "2026-06-01T00:00:00Z"), "open for ever");
}

#[test]
fn local_times_are_checked() {
    for (from, until, says) in [
        ("2026-12-20T00:00:00", "2026-12-21T00:00:00", Some(true)),
        ("2026-12-20", "2026-12-20T00:00:00", Some(false)),
        ("2026-12-21", "2026-12-20", Some(false)),
        ("2026-12-20T00:00:00Z", "2026-12-21", None),
        ("2026-12-20", "2026-12-21T00:00:00+01:00", None),
        ("2026-02-30", "2026-12-21", None),
        ("soon", "2026-12-21", None),
        ("2026-12-2ö0000", "2026-12-21", None),
    ] {
        assert_eq!(are_in_order(from, until), says, "{from} {until}");
    }
}

/// Against a plain look at every quarter of an hour of a year with both changes.
#[test]
fn the_next_change_is_the_first_one() {
    let open = [window(&[1, 3, 7], 90, 150), window(&[6, 7], 1380, 135), window(&[5], 600, 900)];
    for zone in ["Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "America/Havana", "UTC"] {
        let calendar = calendar(zone, &open, &[closed("2026-07-01T12:00", "2026-07-09T01:45")]);
        let is_open = |at: Timestamp| matches!(calendar.at(at), Opening::Open { .. });
        let quarter = 900_000;
        let mut now = at("2026-01-01T00:00:00Z");
        let end = at("2026-12-31T00:00:00Z");
        let mut changes = 0;
        while now < end {
            let (Opening::Open { until } | Opening::Closed { until, .. }) = calendar.at(now);
            let until = until.expect("every week has a window");
            let mut seen = now;
            while is_open(seen) == is_open(now) {
                seen = Timestamp(seen.0 + quarter);
            }
            assert_eq!(until, seen, "{zone} at {now}");
            (now, changes) = (until, changes + 1);
        }
        assert!(changes > 400, "{zone}: {changes}");
    }
}

#[test]
fn planned_times_cover_whatever_the_clock_shows() {
    for (from, until, expected) in [
        ("2026-12-20", "2027-01-04T06:00", ("2026-12-19T23:00:00Z", "2027-01-04T05:00:00Z")),
        // The clock is put back: 02:30 is shown at 00:30Z and at 01:30Z.
        ("2026-10-25T02:30", "2026-10-25T02:30:01", ("2026-10-25T00:30:00Z", "2026-10-25T01:30:01Z")),
        // It is put forward: 02:15 and 02:45 are never shown; the jump is at 01:00Z.
        ("2026-03-29T02:15", "2026-03-29T02:45", ("2026-03-29T00:15:00Z", "2026-03-29T01:45:00Z")),
    ] {
        let expected = (at(expected.0), at(expected.1));
        assert_eq!(moments("Europe/Berlin", from, until), Some(expected), "{from} {until}");
    }
    assert_eq!(moments("Europe/Berln", "2026-12-20", "2027-01-04"), None);
    assert_eq!(moments("UTC", "2026-12-20", "9999-12-31"), None);
}
