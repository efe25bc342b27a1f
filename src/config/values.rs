//! Durations and ratios as people write them.

use std::time::Duration;

use crate::core::target::Weight;

/// Reads `500ms`, `30s`, `5m`, `1h30m`, `2d`: whole numbers with units, the larger unit first.
///
/// # Errors
/// What is wrong, and what would be right.
pub(super) fn duration(text: &str) -> Result<Duration, (String, String)> {
    const UNITS: [(&str, u64); 5] =
        [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1)];
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

/// Writes a duration as [`duration`] reads it.
pub(super) fn show_duration(duration: Duration) -> String {
    let mut ms = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    if ms == 0 {
        return "0s".to_owned();
    }
    let mut text = String::new();
    for (unit, size) in [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1)] {
        if ms >= size {
            text.push_str(&format!("{}{unit}", ms / size));
            ms %= size;
        }
    }
    text
}

/// Reads `5%` or `0.05`. A number without `%` must be below 1: `5` could mean 5% or 500%.
///
/// # Errors
/// What is wrong, and what would be right.
pub(super) fn ratio(text: &str) -> Result<f64, (String, String)> {
    let usual = || "a ratio such as 5% or 0.05".to_owned();
    let (number, is_percent) = match text.strip_suffix('%') {
        Some(number) => (number.trim_end(), true),
        None => (text, false),
    };
    if number.starts_with('-') {
        return Err((format!("`{text}` is negative"), usual()));
    }
    if !is_decimal(number) {
        return Err((format!("`{text}` is not a ratio"), usual()));
    }
    // The exponent is put into the text, so that 0.05% is the nearest number to 0.0005.
    let scaled = if is_percent { format!("{number}e-2") } else { number.to_owned() };
    let value = scaled.parse::<f64>().map_err(|_| (format!("`{text}` is not a ratio"), usual()))?;
    if !is_percent && value >= 1.0 {
        let hint = format!("{number}% if percent is meant; without `%`, a number below 1 such as 0.05");
        return Err((format!("`{text}` can be read in two ways"), hint));
    }
    Ok(value)
}

/// Writes a ratio as percent.
pub(super) fn show_ratio(ratio: f64) -> String {
    let percent = (ratio * 100.0 * 1e9).round() / 1e9;
    format!("{percent}%")
}

/// A ratio as a weight in 1/10,000; `None` if it is finer or above 100%.
pub(super) fn weight(ratio: f64) -> Option<Weight> {
    let parts = ratio * 10_000.0;
    let whole = parts.round();
    let fits = (0.0..=10_000.0).contains(&whole) && (parts - whole).abs() < 1e-6;
    fits.then_some(Weight(whole as u16))
}

/// Reads a finite decimal number such as `2`, `1.5`, `-0.1`; no exponents, no `.inf`.
pub(super) fn number(text: &str) -> Option<f64> {
    let digits = text.strip_prefix('-').unwrap_or(text);
    is_decimal(digits).then(|| text.parse::<f64>().ok()).flatten()
}

fn is_decimal(text: &str) -> bool {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, "0"));
    let digits = |part: &str| (1..=15).contains(&part.len()) && part.bytes().all(|b| b.is_ascii_digit());
    digits(whole) && digits(fraction)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations() {
        for (text, ms) in [
            ("500ms", 500),
            ("30s", 30_000),
            ("5m", 300_000),
            ("1h30m", 5_400_000),
            ("2d", 172_800_000),
            ("0s", 0),
            ("1m500ms", 60_500),
        ] {
            assert_eq!(duration(text).unwrap(), Duration::from_millis(ms), "{text}");
            assert_eq!(duration(&show_duration(Duration::from_millis(ms))).unwrap().as_millis(), ms.into());
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
            let (message, _) = duration(text).unwrap_err();
            assert!(message.contains(says), "{text}: {message}");
        }
    }

    #[test]
    fn ratios() {
        for (text, value) in
            [("5%", 0.05), ("0.05%", 0.0005), ("0.1%", 0.001), ("0.05", 0.05), ("0", 0.0), ("150%", 1.5)]
        {
            assert_eq!(ratio(text).unwrap(), value, "{text}");
        }
        for (text, says) in [
            ("5", "two ways"),
            ("1", "two ways"),
            ("1.0", "two ways"),
            ("-5%", "negative"),
            ("five", "not a ratio"),
            ("%", "not a ratio"),
            ("1e2%", "not a ratio"),
            (".inf", "not a ratio"),
            ("nan", "not a ratio"),
        ] {
            let (message, _) = ratio(text).unwrap_err();
            assert!(message.contains(says), "{text}: {message}");
        }
        assert_eq!(show_ratio(0.0005), "0.05%");
        assert_eq!(show_ratio(0.07), "7%");
    }

    #[test]
    fn weights_are_exact() {
        for hundredths in 0..=10_000u16 {
            let text = format!("{}.{:02}%", hundredths / 100, hundredths % 100);
            assert_eq!(weight(ratio(&text).unwrap()), Some(Weight(hundredths)), "{text}");
        }
        assert_eq!(weight(0.000_05), None);
        assert_eq!(weight(1.5), None);
    }
}
