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
    let sum: f64 = values.iter().map(|value| exp_below(value - max)).sum();
    max + ln(sum)
}

/// e^x for x ≤ 0, to within 2·10⁻¹⁶ of it; 0 below [`NEGLIGIBLE`]. Without branches or tables, so that it
/// costs a fraction of [`exp`], and by the same few products on every machine.
///
/// x = k·ln 2 + r with |r| ≤ ln 2/2, and e^r by its Taylor series to r¹³ (the next term is below 10⁻¹⁷).
fn exp_below(x: f64) -> f64 {
    const LN_2_HIGH: f64 = 6.931_471_803_691_238e-1;
    const LN_2_LOW: f64 = 1.908_214_929_270_587_7e-10;
    let clamped = x.max(NEGLIGIBLE);
    let k = (clamped * std::f64::consts::LOG2_E - 0.5) as i64;
    let r = (clamped - k as f64 * LN_2_HIGH) - k as f64 * LN_2_LOW;
    let mut series = 1.0 / 6_227_020_800.0;
    for factorial in [
        479_001_600.0,
        39_916_800.0,
        3_628_800.0,
        362_880.0,
        40_320.0,
        5_040.0,
        720.0,
        120.0,
        24.0,
        6.0,
        2.0,
        1.0,
        1.0,
    ] {
        series = series * r + 1.0 / factorial;
    }
    // k is between −65 and 0, so the exponent stays a normal one.
    let scaled = series * f64::from_bits(((1023 + k) as u64) << 52);
    if x > NEGLIGIBLE { scaled } else { 0.0 }
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
    fn the_short_exponential_agrees_with_the_long_one() {
        for i in 0..=450_000 {
            let x = f64::from(i) * -1e-4;
            let (short, long) = (exp_below(x), exp(x));
            let expected = if x > NEGLIGIBLE { long } else { 0.0 };
            assert!((short - expected).abs() <= 4e-16 * long, "{x}: {short}, {long}");
        }
        assert_eq!((exp_below(0.0), exp_below(-1e300), exp_below(f64::NEG_INFINITY)), (1.0, 0.0, 0.0));
    }

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
