//! Ratios and numbers as people write them.

use crate::core::split::Weight;

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
