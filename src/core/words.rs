//! Numbers and durations as people read and write them: the one place where they become texts.

use std::time::Duration;

use crate::stats::ratio::{HIGHEST, LOWEST};
use crate::stats::special::exp;

/// The units of written durations, in milliseconds, the largest first.
const UNITS: [(&str, u64); 5] = [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1)];

/// A proportion as percent, with two significant digits below 10%: `3.1%`, `0.05%`, `31.4%`.
pub fn percent(share: f64) -> String {
    format!("{}%", significant(share * 100.0))
}

/// A proportion as percentage points: `0.1 points`.
pub fn points(share: f64) -> String {
    format!("{} points", significant(share * 100.0))
}

/// Two significant digits, at least to the first decimal: `0.5`, `3.1`, `31.4`, `0`.
pub fn significant(value: f64) -> String {
    let size = value.abs();
    let decimals = match size {
        _ if size >= 0.995 => 1,
        _ if size >= 0.0995 => 2,
        _ if size >= 0.00995 => 3,
        _ => 4,
    };
    let text = format!("{value:.decimals$}");
    let text = text.trim_end_matches('0').trim_end_matches('.');
    if text.is_empty() || text == "-0" { "0".to_string() } else { text.to_string() }
}

/// A number with separators: `1,516`.
pub fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A ratio: `×6.2`, `×1.15`, `×23`.
pub fn times(ratio: f64) -> String {
    format!("×{}", bare_ratio(ratio))
}

/// A ratio with its interval: `×6.2 [3.9 – 9.8]`. Ends beyond which nothing can be told are open.
pub fn interval([low, estimate, high]: [f64; 3]) -> String {
    let [open_low, open_high] = are_open(low, high);
    let low = match open_low {
        // The test of harm tells ratios apart from 0.1 on.
        true if low == LOWEST => "below 0.1".to_owned(),
        true => format!("below {}", bare_ratio(low)),
        false => bare_ratio(low),
    };
    let high = if open_high { format!("above {}", bare_ratio(high)) } else { bare_ratio(high) };
    format!("{} [{low} – {high}]", times(estimate))
}

/// Whether the ends of an interval of a ratio are open: nothing was told apart beyond them. (Where the tests have
/// the arms swapped, both are the other way round.)
pub fn are_open(low: f64, high: f64) -> [bool; 2] {
    [low == LOWEST || low == 1.0 / HIGHEST, high == HIGHEST || high == 1.0 / LOWEST]
}

fn bare_ratio(ratio: f64) -> String {
    let decimals = match ratio {
        _ if ratio >= 9.95 => 0,
        _ if ratio >= 1.995 => 1,
        _ => 2,
    };
    let text = format!("{ratio:.decimals$}");
    if decimals == 0 { text } else { text.trim_end_matches('0').trim_end_matches('.').to_string() }
}

/// Odds from ln of an e-value, two digits: `1:4,100`, `1:2.5`; below even: `less than 1:1`. Beyond a billion the
/// model that they are of is no longer the likeliest thing to be wrong, so no figure is told. Rounded down, so that
/// they never say that a bound is reached that is not.
pub fn odds(ln_e: f64) -> String {
    let power = ln_e / std::f64::consts::LN_10;
    if ln_e < 0.0 {
        "less than 1:1".to_string()
    } else if power >= 9.0 {
        "more than a billion to one".to_string()
    } else {
        // A hair more than the exact value, so that 1/0.05 is 20 and not 19.
        let value = exp(ln_e) * (1.0 + 1e-9);
        if value < 10.0 {
            return format!("1:{}", significant((value * 10.0).floor() / 10.0));
        }
        // Two significant digits; `floor` is exact.
        let unit = 10_u64.pow((power.floor() as u32).saturating_sub(1));
        let rounded = ((value / unit as f64).floor() as u64).saturating_mul(unit);
        format!("1:{}", count(rounded))
    }
}

/// About how long, in one unit: `40 s`, `12 min`, `3.5 h`.
pub fn time(duration: Duration) -> String {
    let seconds = duration.as_secs_f64();
    match seconds {
        _ if seconds < 119.5 => format!("{seconds:.0} s"),
        _ if seconds < 7_170.0 => format!("{:.0} min", seconds / 60.0),
        _ => format!("{} h", significant(seconds / 3600.0)),
    }
}

/// How long, in at most two units: `0.4 s`, `45 s`, `3 min 20 s`, `24 h`, `1 h 5 min`, `2 d 3 h`.
pub fn duration(duration: Duration) -> String {
    let seconds = duration.as_secs_f64();
    if seconds > 0.0 && seconds < 0.95 {
        return format!("{seconds:.1} s");
    }
    let whole = seconds.round() as u64;
    let two = |big: u64, big_name: &str, small: u64, small_name: &str| match small {
        0 => format!("{big} {big_name}"),
        _ => format!("{big} {big_name} {small} {small_name}"),
    };
    match whole {
        0..60 => format!("{whole} s"),
        60..3600 => two(whole / 60, "min", whole % 60, "s"),
        3600..172_800 => two(whole / 3600, "h", whole % 3600 / 60, "min"),
        _ => two(whole / 86_400, "d", whole % 86_400 / 3600, "h"),
    }
}

/// As [`duration`], of seconds; what is no duration is none.
pub fn seconds(seconds: f64) -> String {
    duration(Duration::try_from_secs_f64(seconds).unwrap_or_default())
}

/// Reads `500ms`, `30s`, `5m`, `1h30m`, `2d`: whole numbers with units, the larger unit first.
///
/// # Errors
/// What is wrong, and what would be right.
pub fn parse_duration(text: &str) -> Result<Duration, (String, String)> {
    let wrong = |what: String| Err((what, "a duration such as 30s, 5m, 1h30m or 500ms".to_owned()));
    if text.starts_with('-') {
        return wrong(format!("`{text}` is negative"));
    }
    if !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit()) {
        return Err((format!("`{text}` has no unit"), format!("{text}s, {text}m or another unit")));
    }
    let mut rest = text;
    let mut next_unit = 0;
    let mut total_ms = 0u64;
    while !rest.is_empty() {
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        let letters = rest[digits..].bytes().take_while(u8::is_ascii_alphabetic).count();
        let (number, unit) = (&rest[..digits], &rest[digits..digits + letters]);
        let Some(index) = UNITS.iter().position(|(name, _)| *name == unit) else {
            return wrong(format!("`{text}` is not a duration"));
        };
        if digits == 0 || index < next_unit {
            return wrong(format!("`{text}` is not a duration"));
        }
        next_unit = index + 1;
        let part = number.parse::<u64>().ok().and_then(|n| n.checked_mul(UNITS[index].1));
        match part.and_then(|part| total_ms.checked_add(part)) {
            Some(total) => total_ms = total,
            None => return wrong(format!("`{text}` is too long")),
        }
        rest = &rest[digits + letters..];
    }
    if next_unit == 0 {
        return wrong("the duration is empty".to_owned());
    }
    Ok(Duration::from_millis(total_ms))
}

/// Writes a duration as [`parse_duration`] reads it.
pub fn show_duration(duration: Duration) -> String {
    let mut ms = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    if ms == 0 {
        return "0s".to_owned();
    }
    let mut text = String::new();
    for (unit, size) in UNITS {
        if ms >= size {
            text.push_str(&format!("{}{unit}", ms / size));
            ms %= size;
        }
    }
    text
}

/// `a`, `a and b`, `a, b and c`.
pub fn list(names: &[String]) -> String {
    match names {
        [] => String::new(),
        [one] => one.clone(),
        [first @ .., last] => format!("{} and {last}", first.join(", ")),
    }
}

/// A latency in seconds: `250 ms`, `1.5 s`.
pub fn latency(seconds: f64) -> String {
    if seconds.abs() < 1.0 {
        format!("{} ms", significant(seconds * 1000.0))
    } else {
        format!("{} s", significant(seconds))
    }
}

/// Text as HTML, in an element or in an attribute.
pub fn html(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => safe.push_str("&amp;"),
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '"' => safe.push_str("&quot;"),
            '\'' => safe.push_str("&#39;"),
            c => safe.push(c),
        }
    }
    safe
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_read_well() {
        assert_eq!(percent(47.0 / 1516.0), "3.1%");
        assert_eq!(percent(140.0 / 28004.0), "0.5%");
        assert_eq!(percent(0.0), "0%");
        assert_eq!(percent(0.314), "31.4%");
        assert_eq!(percent(1.0), "100%");
        assert_eq!(percent(0.000512), "0.051%");
        assert_eq!(points(0.001), "0.1 points");
        assert_eq!(count(0), "0");
        assert_eq!(count(999), "999");
        assert_eq!(count(1_516), "1,516");
        assert_eq!(count(1_234_567), "1,234,567");
        assert_eq!(interval([3.92, 6.2, 9.81]), "×6.2 [3.9 – 9.8]");
        assert_eq!(interval([LOWEST, 1.0, HIGHEST]), "×1 [below 0.1 – above 50]");
        assert_eq!(times(1.265), "×1.26");
        assert_eq!(odds(4100_f64.ln()), "1:4,100");
        assert_eq!(odds(4137_f64.ln()), "1:4,100");
        assert_eq!(odds(100_f64.ln()), "1:100");
        assert_eq!(odds(20_f64.ln()), "1:20");
        assert_eq!(odds(2.5_f64.ln()), "1:2.5");
        assert_eq!(odds(-1.0), "less than 1:1");
        assert_eq!(odds(4187_f64.ln()), "1:4,100");
        assert_eq!(odds(99.99_f64.ln()), "1:99");
        assert_eq!(odds(999_999_999_f64.ln()), "1:990,000,000");
        assert_eq!(odds(1e6), "more than a billion to one");
        assert_eq!(time(Duration::from_secs(40)), "40 s");
        assert_eq!(time(Duration::from_secs(240)), "4 min");
        assert_eq!(time(Duration::from_secs(9000)), "2.5 h");
        assert_eq!(latency(0.25), "250 ms");
        assert_eq!(latency(2.5), "2.5 s");
    }

    #[test]
    fn durations_as_they_are_written() {
        for (text, ms) in [
            ("500ms", 500),
            ("30s", 30_000),
            ("5m", 300_000),
            ("1h30m", 5_400_000),
            ("2d", 172_800_000),
            ("0s", 0),
            ("1m500ms", 60_500),
        ] {
            assert_eq!(parse_duration(text).unwrap(), Duration::from_millis(ms), "{text}");
            assert_eq!(
                parse_duration(&show_duration(Duration::from_millis(ms))).unwrap().as_millis(),
                ms.into()
            );
        }
        for (text, says) in [
            ("-5m", "negative"),
            ("30", "no unit"),
            ("", "empty"),
            ("5 m", "not a duration"),
            ("1.5h", "not a duration"),
            ("30m1h", "not a duration"),
            ("1m1m", "not a duration"),
            ("m", "not a duration"),
            ("5q", "not a duration"),
            ("5ü", "not a duration"),
            ("99999999999999999999d", "too long"),
            ("999999999999999d", "too long"),
        ] {
            let (message, _) = parse_duration(text).unwrap_err();
            assert!(message.contains(says), "{text}: {message}");
        }
    }

    #[test]
    fn durations() {
        for (seconds, text) in [
            (0.0, "0 s"),
            (0.04, "0.0 s"),
            (0.4, "0.4 s"),
            (1.0, "1 s"),
            (59.4, "59 s"),
            (59.6, "1 min"),
            (200.0, "3 min 20 s"),
            (3600.0, "1 h"),
            (3900.0, "1 h 5 min"),
            (86_400.0, "24 h"),
            (183_600.0, "2 d 3 h"),
        ] {
            assert_eq!(duration(Duration::from_secs_f64(seconds)), text);
        }
    }

    #[test]
    fn lists() {
        let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
        assert_eq!(list(&names(&["errors"])), "errors");
        assert_eq!(list(&names(&["errors", "latency"])), "errors and latency");
        assert_eq!(list(&names(&["a", "b", "c"])), "a, b and c");
    }
}
