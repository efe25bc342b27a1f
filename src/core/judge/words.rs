//! Numbers as people read them.

use std::time::Duration;

use crate::stats::ratio::{HIGHEST, LOWEST};
use crate::stats::special::exp;

/// A proportion as percent, with two significant digits below 10%: `3.1%`, `0.05%`, `31.4%`.
pub(in crate::core) fn percent(share: f64) -> String {
    format!("{}%", significant(share * 100.0))
}

/// A proportion as percentage points: `0.1 points`.
pub(super) fn points(share: f64) -> String {
    format!("{} points", significant(share * 100.0))
}

/// Two significant digits, at least to the first decimal: `0.5`, `3.1`, `31.4`, `0`.
pub(in crate::core) fn significant(value: f64) -> String {
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
pub(super) fn count(number: u64) -> String {
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
pub(super) fn times(ratio: f64) -> String {
    format!("×{}", bare_ratio(ratio))
}

/// A ratio with its interval: `×6.2 [3.9 – 9.8]`. Ends beyond which nothing can be told are open.
pub(super) fn interval([low, estimate, high]: [f64; 3]) -> String {
    let open_low = low == LOWEST || low == 1.0 / HIGHEST;
    let open_high = high == HIGHEST || high == 1.0 / LOWEST;
    format!(
        "{} [{}{} – {}{}]",
        times(estimate),
        if open_low { "below " } else { "" },
        bare_ratio(low),
        if open_high { "above " } else { "" },
        bare_ratio(high)
    )
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

/// Odds from ln of an e-value, two digits: `1:4,100`, `1:2.5`, `1:10^12`; below even: `less than 1:1`.
pub(super) fn odds(ln_e: f64) -> String {
    let power = ln_e / std::f64::consts::LN_10;
    if ln_e < 0.0 {
        "less than 1:1".to_string()
    } else if power >= 9.0 {
        format!("1:10^{power:.0}")
    } else {
        let value = exp(ln_e);
        if value < 9.95 {
            return format!("1:{}", significant(value));
        }
        // Two significant digits; `floor` is exact.
        let unit = 10_u64.pow((power.floor() as u32).saturating_sub(1));
        let rounded = ((value / unit as f64).round() as u64).saturating_mul(unit);
        format!("1:{}", count(rounded))
    }
}

/// A duration: `40 s`, `12 min`, `3.5 h`.
pub(super) fn time(duration: Duration) -> String {
    let seconds = duration.as_secs_f64();
    match seconds {
        _ if seconds < 119.5 => format!("{seconds:.0} s"),
        _ if seconds < 7_170.0 => format!("{:.0} min", seconds / 60.0),
        _ => format!("{} h", significant(seconds / 3600.0)),
    }
}

/// A latency in seconds: `250 ms`, `1.5 s`.
pub(in crate::core) fn latency(seconds: f64) -> String {
    if seconds.abs() < 1.0 {
        format!("{} ms", significant(seconds * 1000.0))
    } else {
        format!("{} s", significant(seconds))
    }
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
        assert_eq!(interval([LOWEST, 1.0, HIGHEST]), "×1 [below 0.05 – above 50]");
        assert_eq!(times(1.265), "×1.26");
        assert_eq!(odds(4100_f64.ln()), "1:4,100");
        assert_eq!(odds(4137_f64.ln()), "1:4,100");
        assert_eq!(odds(100_f64.ln()), "1:100");
        assert_eq!(odds(20_f64.ln()), "1:20");
        assert_eq!(odds(2.5_f64.ln()), "1:2.5");
        assert_eq!(odds(-1.0), "less than 1:1");
        assert_eq!(odds(1e6), "1:10^434294");
        assert_eq!(time(Duration::from_secs(40)), "40 s");
        assert_eq!(time(Duration::from_secs(240)), "4 min");
        assert_eq!(time(Duration::from_secs(9000)), "2.5 h");
        assert_eq!(latency(0.25), "250 ms");
        assert_eq!(latency(2.5), "2.5 s");
    }
}
