//! Shares and delays with their standard errors.

use statrs::distribution::{Beta, ContinuousCDF};

/// Seconds between two looks.
pub const TICK_SECONDS: f64 = 10.0;

/// So many of so many runs.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rate {
    pub hits: u64,
    pub runs: u64,
}

impl Rate {
    pub fn of(hits: impl IntoIterator<Item = bool>) -> Rate {
        hits.into_iter().fold(Rate { hits: 0, runs: 0 }, |rate, hit| Rate {
            hits: rate.hits + u64::from(hit),
            runs: rate.runs + 1,
        })
    }

    pub fn share(&self) -> f64 {
        self.hits as f64 / self.runs.max(1) as f64
    }

    pub fn standard_error(&self) -> f64 {
        (self.share() * (1.0 - self.share()) / self.runs.max(1) as f64).sqrt()
    }

    /// The 95% upper bound of the true rate (Clopper & Pearson).
    pub fn upper(&self) -> f64 {
        if self.hits >= self.runs {
            return 1.0;
        }
        Beta::new(self.hits as f64 + 1.0, (self.runs - self.hits) as f64)
            .map_or(1.0, |beta| beta.inverse_cdf(0.95))
    }

    /// As "0.35%".
    pub fn text(&self) -> String {
        percent(self.share())
    }

    /// As "0.35 ±0.13%".
    pub fn with_error(&self) -> String {
        format!("{} ±{}", percent(self.share()).trim_end_matches('%'), percent(self.standard_error()))
    }
}

/// With as many digits as matter.
pub fn percent(share: f64) -> String {
    let percent = 100.0 * share;
    match percent {
        _ if percent == 0.0 => "0%".to_owned(),
        _ if percent < 1.0 => format!("{percent:.2}%"),
        _ if percent < 10.0 => format!("{percent:.1}%"),
        _ => format!("{percent:.0}%"),
    }
}

/// When each run's alarm came, in seconds from the start of the step.
#[derive(Clone, Debug)]
pub struct Delays {
    /// Rising.
    alarms: Vec<f64>,
    runs: usize,
}

/// A quantile with its standard error.
#[derive(Clone, Copy, Debug)]
pub struct Quantile {
    pub seconds: f64,
    pub standard_error: f64,
}

impl Delays {
    /// Of the ticks, counted from 1, that ended in an alarm.
    pub fn of(ticks: impl IntoIterator<Item = Option<u16>>) -> Delays {
        let ticks: Vec<Option<u16>> = ticks.into_iter().collect();
        let mut alarms: Vec<f64> =
            ticks.iter().flatten().map(|tick| f64::from(*tick) * TICK_SECONDS).collect();
        alarms.sort_by(f64::total_cmp);
        Delays { alarms, runs: ticks.len() }
    }

    pub fn found(&self) -> Rate {
        Rate { hits: self.alarms.len() as u64, runs: self.runs as u64 }
    }

    /// Runs without an alarm count as later than all others; `None` if the quantile is one of them. The
    /// standard error is half the distance of the order statistics that lie one standard error of the
    /// rank apart (the distance to the earlier one where the later one has no alarm), and at least half a
    /// tick, since alarms come on ticks only.
    pub fn quantile(&self, q: f64) -> Option<Quantile> {
        let n = self.runs as f64;
        let at = |rank: f64| self.alarms.get((rank.ceil() as usize).saturating_sub(1)).copied();
        let seconds = at(q * n)?;
        let apart = (n * q * (1.0 - q)).sqrt();
        let earlier = at((q * n - apart).max(1.0))?;
        let error = match at(q * n + apart) {
            Some(later) => 0.5 * (later - earlier),
            None => seconds - earlier,
        };
        Some(Quantile { seconds, standard_error: error.max(0.5 * TICK_SECONDS) })
    }

    pub fn median(&self) -> Option<Quantile> {
        self.quantile(0.5)
    }

    /// As "150 ±5 / 220 ±5" (median and 90th percentile in seconds), "70 ±2%, 1400 ±30" (found, median),
    /// or "37 ±2%" (found).
    pub fn text(&self) -> String {
        let found = self.found();
        match (self.median(), self.quantile(0.9)) {
            (Some(median), Some(late)) => format!("{} / {}", seconds(median), seconds(late)),
            (Some(median), None) => format!("{}, {}", found.with_error(), seconds(median)),
            (None, _) if found.hits == 0 => "–".to_owned(),
            (None, _) => found.with_error(),
        }
    }
}

fn seconds(quantile: Quantile) -> String {
    format!("{:.0} ±{:.0}", quantile.seconds, quantile.standard_error)
}
