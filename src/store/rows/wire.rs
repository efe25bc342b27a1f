//! Numbers and texts in bytes: whole numbers in as many bytes as they need, others exactly.

use std::time::Duration;

use thiserror::Error;

use crate::core::time::Timestamp;

/// Why bytes cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{0}")]
pub(in crate::store) struct Malformed(pub String);

impl Malformed {
    pub(super) fn new(what: &str) -> Malformed {
        Malformed(what.to_owned())
    }
}

/// Whole numbers up to this are exact in an `f64`.
const EXACT: f64 = 9_007_199_254_740_992.0;
/// A decimal fraction with more digits takes as many bytes as the number itself.
const DIGITS: usize = 12;
/// What a number is, in the lowest bits before it: an even one is whole and not negative, in the others two
/// more bits tell.
const DECIMAL: u64 = 0b001;
const BITS: u64 = 0b011;
const NEGATIVE: u64 = 0b101;

/// Writes a row.
#[derive(Debug, Default)]
pub(super) struct Writer {
    bytes: Vec<u8>,
}

impl Writer {
    /// A row of that form.
    pub fn new(version: u8) -> Writer {
        Writer { bytes: vec![version] }
    }

    pub fn done(self) -> Vec<u8> {
        self.bytes
    }

    pub fn byte(&mut self, byte: u8) {
        self.bytes.push(byte);
    }

    pub fn unsigned(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.bytes.push(value as u8 | 0x80);
            value >>= 7;
        }
        self.bytes.push(value as u8);
    }

    pub fn count(&mut self, value: usize) {
        self.unsigned(value as u64);
    }

    pub fn signed(&mut self, value: i64) {
        self.unsigned(zigzag(value));
    }

    /// A time, as its distance from another one.
    pub fn time(&mut self, time: Timestamp, from: Timestamp) {
        self.signed(time.0.wrapping_sub(from.0));
    }

    /// A number, bit for bit.
    pub fn number(&mut self, value: f64) {
        // Negative zero is no whole number here: it would come back positive.
        if value.fract() == 0.0 && value.abs() < EXACT && (value != 0.0 || value.is_sign_positive()) {
            let whole = (value.abs() as u64) << 1;
            self.unsigned(if value < 0.0 { whole << 2 | NEGATIVE } else { whole });
        } else if let Some((mantissa, exponent)) = decimal(value) {
            self.unsigned(zigzag(mantissa) << 3 | DECIMAL);
            self.signed(exponent);
        } else {
            self.unsigned(BITS);
            self.bytes.extend(value.to_le_bytes());
        }
    }

    pub fn optional(&mut self, value: Option<f64>) {
        self.byte(value.is_some().into());
        if let Some(value) = value {
            self.number(value);
        }
    }

    pub fn text(&mut self, text: &str) {
        self.count(text.len());
        self.bytes.extend(text.as_bytes());
    }

    /// A duration, to the nanosecond.
    pub fn duration(&mut self, duration: Duration) {
        self.unsigned(duration.as_secs());
        // Most are whole milliseconds; the lowest bit says whether.
        let nanos = duration.subsec_nanos();
        self.unsigned(match nanos % 1_000_000 {
            0 => u64::from(nanos / 1_000_000) << 1,
            _ => u64::from(nanos) << 1 | 1,
        });
    }
}

/// Reads a row.
#[derive(Clone, Debug)]
pub(super) struct Reader<'a> {
    bytes: &'a [u8],
}

impl<'a> Reader<'a> {
    /// A row of that form.
    pub fn new(bytes: &'a [u8], version: u8) -> Result<Reader<'a>, Malformed> {
        match bytes.split_first() {
            Some((found, bytes)) if *found == version => Ok(Reader { bytes }),
            Some((found, _)) => Err(Malformed(format!("version {found} of its form is not known here"))),
            None => Err(Malformed::new("it is empty")),
        }
    }

    /// Nothing may be left.
    pub fn end(self) -> Result<(), Malformed> {
        if self.bytes.is_empty() { Ok(()) } else { Err(Malformed::new("something follows its end")) }
    }

    fn take(&mut self, count: usize) -> Result<&'a [u8], Malformed> {
        let (taken, rest) =
            self.bytes.split_at_checked(count).ok_or_else(|| Malformed::new("it ends too early"))?;
        self.bytes = rest;
        Ok(taken)
    }

    pub fn byte(&mut self) -> Result<u8, Malformed> {
        self.take(1).map(|byte| byte[0])
    }

    pub fn unsigned(&mut self) -> Result<u64, Malformed> {
        let mut value = 0;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            let part = u64::from(byte & 0x7f);
            if shift == 63 && part > 1 {
                break;
            }
            value |= part << shift;
            if byte < 0x80 {
                return Ok(value);
            }
        }
        Err(Malformed::new("a number is too long"))
    }

    /// How many of something follow, of which each takes at least one byte.
    pub fn count(&mut self) -> Result<usize, Malformed> {
        let count = usize::try_from(self.unsigned()?).unwrap_or(usize::MAX);
        if count > self.bytes.len() { Err(Malformed::new("it ends too early")) } else { Ok(count) }
    }

    pub fn signed(&mut self) -> Result<i64, Malformed> {
        self.unsigned().map(unzigzag)
    }

    pub fn time(&mut self, from: Timestamp) -> Result<Timestamp, Malformed> {
        Ok(Timestamp(from.0.wrapping_add(self.signed()?)))
    }

    pub fn number(&mut self) -> Result<f64, Malformed> {
        let head = self.unsigned()?;
        if head & 1 == 0 {
            return Ok((head >> 1) as f64);
        }
        match head & 0b111 {
            NEGATIVE => Ok(-((head >> 3) as f64)),
            DECIMAL => {
                let text = format!("{}e{}", unzigzag(head >> 3), self.signed()?);
                text.parse().map_err(|_| Malformed::new("a number cannot be read"))
            }
            BITS => {
                let bytes = self.take(8)?.try_into().map_err(|_| Malformed::new("it ends too early"))?;
                Ok(f64::from_le_bytes(bytes))
            }
            _ => Err(Malformed::new("a number is of no known kind")),
        }
    }

    pub fn optional(&mut self) -> Result<Option<f64>, Malformed> {
        match self.byte()? {
            0 => Ok(None),
            _ => self.number().map(Some),
        }
    }

    pub fn text(&mut self) -> Result<String, Malformed> {
        let count = self.count()?;
        let bytes = self.take(count)?;
        std::str::from_utf8(bytes).map(str::to_owned).map_err(|_| Malformed::new("a text is not UTF-8"))
    }

    pub fn duration(&mut self) -> Result<Duration, Malformed> {
        let (seconds, part) = (self.unsigned()?, self.unsigned()?);
        let nanos = if part & 1 == 0 { (part >> 1).saturating_mul(1_000_000) } else { part >> 1 };
        match u32::try_from(nanos) {
            Ok(nanos) if nanos < 1_000_000_000 => Ok(Duration::new(seconds, nanos)),
            _ => Err(Malformed::new("a duration cannot be read")),
        }
    }
}

fn zigzag(value: i64) -> u64 {
    (value << 1 ^ value >> 63).cast_unsigned()
}

fn unzigzag(value: u64) -> i64 {
    (value >> 1).cast_signed() ^ -((value & 1).cast_signed())
}

/// The shortest decimal fraction that is read as exactly this number, if it is short.
fn decimal(value: f64) -> Option<(i64, i64)> {
    if !value.is_finite() || value == 0.0 {
        return None;
    }
    let text = format!("{value:e}");
    let (digits, exponent) = text.split_once('e')?;
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    if whole.len() + fraction.len() > DIGITS {
        return None;
    }
    let mantissa: i64 = format!("{whole}{fraction}").parse().ok()?;
    let exponent: i64 = exponent.parse().ok()?;
    Some((mantissa, exponent - i64::try_from(fraction.len()).ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn number(value: f64) -> Vec<u8> {
        let mut writer = Writer::new(1);
        writer.number(value);
        writer.done()
    }

    proptest! {
        #[test]
        fn everything_comes_back_exactly(
            unsigned in any::<u64>(), signed in any::<i64>(), bits in any::<u64>(), short in -1_000_000i64..1_000_000,
            scale in -12i32..12, text in ".*", seconds in any::<u64>(), nanos in 0u32..1_000_000_000,
        ) {
            let numbers = [f64::from_bits(bits), short as f64, short as f64 * 10f64.powi(scale)];
            let mut writer = Writer::new(7);
            writer.unsigned(unsigned);
            writer.signed(signed);
            numbers.iter().for_each(|number| writer.number(*number));
            writer.text(&text);
            writer.duration(Duration::new(seconds, nanos));
            writer.time(Timestamp(signed), Timestamp(short));
            let bytes = writer.done();
            let mut reader = Reader::new(&bytes, 7).unwrap();
            prop_assert_eq!(reader.unsigned().unwrap(), unsigned);
            prop_assert_eq!(reader.signed().unwrap(), signed);
            for number in numbers {
                prop_assert_eq!(reader.number().unwrap().to_bits(), number.to_bits());
            }
            prop_assert_eq!(reader.text().unwrap(), text);
            prop_assert_eq!(reader.duration().unwrap(), Duration::new(seconds, nanos));
            prop_assert_eq!(reader.time(Timestamp(short)).unwrap(), Timestamp(signed));
            reader.end().unwrap();
        }

        #[test]
        fn whatever_bytes_come_nothing_breaks(bytes in proptest::collection::vec(any::<u8>(), 0..40)) {
            if let Ok(reader) = Reader::new(&bytes, bytes.first().copied().unwrap_or(0)) {
                let _ = reader.clone().unsigned();
                let _ = reader.clone().number();
                let _ = reader.clone().text();
                let _ = reader.clone().duration();
            }
        }
    }

    #[test]
    fn what_is_short_for_people_takes_few_bytes() {
        for value in [0.0, 5.0, -12.0, 0.005, 2.5, 0.1] {
            assert!(number(value).len() <= 4, "{value}: {:?}", number(value));
        }
        assert!(number(123.456_789).len() <= 7);
        for value in [-0.0, f64::NAN, f64::INFINITY, 1.0 / 3.0, 5e-324, f64::MAX] {
            let bytes = number(value);
            let read = Reader::new(&bytes, 1).unwrap().number().unwrap();
            assert_eq!(read.to_bits(), value.to_bits());
        }
    }
}
