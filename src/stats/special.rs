//! Logarithms and exponentials that give the same bits everywhere, and sums in log space.

/// Terms this much below the largest one change no bit that matters: e⁻⁴⁵ is 3·10⁻²⁰.
const NEGLIGIBLE: f64 = -45.0;

/// Natural logarithm.
pub fn ln(x: f64) -> f64 {
    libm::log(x)
}

/// e^x.
pub fn exp(x: f64) -> f64 {
    libm::exp(x)
}

/// ln(1 + x), exact for small x.
pub fn ln_1p(x: f64) -> f64 {
    libm::log1p(x)
}

/// ln |Γ(x)|.
pub fn ln_gamma(x: f64) -> f64 {
    libm::lgamma(x)
}

/// ln Σ e^v. Minus infinity for no values, and where all are.
pub fn ln_sum_exp(values: &[f64]) -> f64 {
    let max = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    if max == f64::NEG_INFINITY {
        return max;
    }
    let sum: f64 =
        values.iter().map(|value| value - max).filter(|difference| *difference > NEGLIGIBLE).map(exp).sum();
    max + ln(sum)
}

/// ln(e^a + e^b).
pub fn ln_add_exp(a: f64, b: f64) -> f64 {
    let (high, low) = if a >= b { (a, b) } else { (b, a) };
    if low == f64::NEG_INFINITY || low - high <= NEGLIGIBLE {
        return high;
    }
    high + ln_1p(exp(low - high))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_in_log_space_agree_with_plain_sums_and_survive_extremes() {
        assert!((ln_sum_exp(&[ln(2.0), ln(3.0), ln(5.0)]) - ln(10.0)).abs() < 1e-15);
        assert!((ln_add_exp(ln(2.0), ln(3.0)) - ln(5.0)).abs() < 1e-15);
        assert_eq!(ln_sum_exp(&[]), f64::NEG_INFINITY);
        assert_eq!(ln_sum_exp(&[f64::NEG_INFINITY; 3]), f64::NEG_INFINITY);
        assert_eq!(ln_add_exp(f64::NEG_INFINITY, f64::NEG_INFINITY), f64::NEG_INFINITY);
        assert_eq!(ln_add_exp(f64::NEG_INFINITY, 1.5), 1.5);
        assert_eq!(ln_sum_exp(&[1e9, -1e9]), 1e9);
    }
}
