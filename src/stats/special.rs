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
    // In two loops, so that the first one can work on several values at once.
    let mut sum = 0.0;
    for part in values.chunks(CHUNK) {
        let mut terms = [0.0; CHUNK];
        for (term, value) in terms.iter_mut().zip(part) {
            *term = exp_below(value - max);
        }
        sum += terms.iter().sum::<f64>();
    }
    max + ln(sum)
}

/// ln of the mean of e^v, of at least one value.
pub fn ln_mean_exp(values: &[f64]) -> f64 {
    match values {
        [one] => *one,
        _ => ln_sum_exp(values) - ln(values.len() as f64),
    }
}

const CHUNK: usize = 16;

/// e^x for x ≤ 0, to within 4·10⁻¹⁶ of it; 0 below [`NEGLIGIBLE`]. Without branches or tables, so that it
/// costs a fraction of [`exp`], and by the same few products on every machine.
///
/// x = k·ln 2 + r with |r| ≤ ln 2/2, and e^r by its Taylor series to r¹³ (the next term is below 10⁻¹⁷).
#[inline]
fn exp_below(x: f64) -> f64 {
    const LN_2_HIGH: f64 = 6.931_471_803_691_238e-1;
    const LN_2_LOW: f64 = 1.908_214_929_270_587_7e-10;
    // 1.5·2⁵²: a number added to it is rounded to an integer, which then stands in its lowest bits.
    const SHIFT: f64 = 6_755_399_441_055_744.0;
    let clamped = x.max(NEGLIGIBLE);
    let shifted = clamped * std::f64::consts::LOG2_E + SHIFT;
    let k = shifted - SHIFT;
    let r = (clamped - k * LN_2_HIGH) - k * LN_2_LOW;
    let series = 1.0 + (r + r * r * exp_rest(r));
    // k is between −65 and 0, so the exponent stays a normal one.
    let power = f64::from_bits(shifted.to_bits().wrapping_add(1023) << 52);
    if x > NEGLIGIBLE { series * power } else { 0.0 }
}

/// ln(1 + x) for x ≥ 0, to within 10⁻¹⁵ of it, at a fraction of the cost of [`ln_1p`] and, like
/// the exponential above, without branches.
///
/// With w = 1 + x = 2^k·m and m in [√½, √2): ln w = k·ln 2 + 2·artanh(s) with s = (m − 1)/(m + 1), and
/// what was rounded off in w is added to first order.
#[inline]
pub fn ln_1p_of_positive(x: f64) -> f64 {
    const HALF_ROOT: u64 = 0x3fe6_a09e_667f_3bcd;
    const TWO_52: u64 = 0x4330_0000_0000_0000;
    let w = 1.0 + x;
    let rounded_off = x - (w - 1.0);
    let bits = w.to_bits().wrapping_sub(HALF_ROOT).wrapping_add(1023 << 52);
    let k = f64::from_bits((bits >> 52) | TWO_52) - (4_503_599_627_370_496.0 + 1023.0);
    let m = f64::from_bits((bits & 0x000f_ffff_ffff_ffff).wrapping_add(HALF_ROOT));
    let s = (m - 1.0) / (m + 1.0);
    k * std::f64::consts::LN_2 + (2.0 * artanh(s) + rounded_off / w)
}

/// (e^r − 1 − r)/r² by its Taylor series to r¹¹/13!. The terms are paired, so that none has to wait for all
/// that stand behind it.
#[inline]
fn exp_rest(r: f64) -> f64 {
    let two = r * r;
    let four = two * two;
    let low = (1.0 / 2.0 + r * (1.0 / 6.0)) + two * (1.0 / 24.0 + r * (1.0 / 120.0));
    let middle = (1.0 / 720.0 + r * (1.0 / 5_040.0)) + two * (1.0 / 40_320.0 + r * (1.0 / 362_880.0));
    let high = (1.0 / 3_628_800.0 + r * (1.0 / 39_916_800.0))
        + two * (1.0 / 479_001_600.0 + r * (1.0 / 6_227_020_800.0));
    low + four * (middle + four * high)
}

/// The largest s of [`artanh`].
pub const LARGEST_ARTANH: f64 = 0.171_6;

/// artanh(s) for |s| up to [`LARGEST_ARTANH`], to within 4·10⁻¹⁶ of it.
#[inline]
pub fn artanh(s: f64) -> f64 {
    s + s * artanh_rest(s * s)
}

/// artanh(s)/s − 1 where `square` = s² is at most 0.0295, to within 6·10⁻¹⁸: z times the polynomial in z
/// through the Chebyshev nodes of that range. Its first terms are nearly 1/3, 1/5, 1/7, …; they are paired, so
/// that none has to wait for all that stand behind it.
#[inline]
fn artanh_rest(square: f64) -> f64 {
    const C: [f64; 7] = [
        0.333_333_333_333_333_5,
        0.199_999_999_999_497_22,
        0.142_857_143_130_016_34,
        0.111_111_055_651_299_39,
        0.090_914_447_278_374_73,
        0.076_658_553_091_053_86,
        0.073_082_927_124_443_11,
    ];
    let fourth = square * square;
    let low = (C[0] + C[1] * square) + fourth * (C[2] + C[3] * square);
    let high = (C[4] + C[5] * square) + fourth * C[6];
    square * (low + fourth * fourth * high)
}

/// ln(e^a + e^b).
#[inline]
pub fn ln_add_exp(a: f64, b: f64) -> f64 {
    // Of two infinities the difference is no number, and its exponential is 0.
    a.max(b) + ln_1p_of_positive(exp_below(a.min(b) - a.max(b)))
}

/// Each value v becomes ln(e^v + e^b). Two at a time, as the processor works on them.
pub fn ln_add_exp_to_all(values: &mut [f64], b: f64) {
    let (pairs, rest) = values.as_chunks_mut::<2>();
    for pair in pairs {
        *pair = [ln_add_exp(pair[0], b), ln_add_exp(pair[1], b)];
    }
    rest.iter_mut().for_each(|value| *value = ln_add_exp(*value, b));
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
    fn the_short_logarithm_agrees_with_the_long_one() {
        let mut x = 1e-18;
        while x < 1e15 {
            let (short, long) = (ln_1p_of_positive(x), ln_1p(x));
            assert!((short - long).abs() <= 1e-15 * long.max(1e-300), "{x}: {short}, {long}");
            x *= 1.000_3;
        }
        assert_eq!(ln_1p_of_positive(0.0), 0.0);
    }

    #[test]
    fn the_short_artanh_agrees_with_the_logarithms() {
        for i in -1716..=1716 {
            let s = f64::from(i) * 1e-4;
            let long = 0.5 * (ln_1p(s) - ln_1p(-s));
            assert!((artanh(s) - long).abs() <= 4e-16 * long.abs(), "{s}: {}, {long}", artanh(s));
        }
    }

    #[test]
    fn values_with_a_common_other_are_as_each_with_it() {
        let values = [-3.0, 0.5, f64::NEG_INFINITY, 800.0, -1e4];
        for b in [0.0, -50.0, f64::NEG_INFINITY] {
            let mut all = values;
            ln_add_exp_to_all(&mut all, b);
            assert_eq!(all, values.map(|value| ln_add_exp(value, b)), "{b}");
        }
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
