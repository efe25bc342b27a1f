//! The default rule as the method's page has it, from an independent simulation: what this code must
//! reach.

use crate::figures::{Delays, Quantile, Rate, TICK_SECONDS};

/// How many runs stand behind a cell, and behind a rate of false alarms.
const RUNS: f64 = 400.0;
const HARMLESS_RUNS: f64 = 2000.0;

/// One cell of the table.
#[derive(Clone, Copy, Debug)]
pub enum Cell {
    /// Median and 90th percentile in seconds from the start of the step, 60 s of warm-up in them.
    Times(f64, f64),
    /// Share found within the half hour, and median in seconds.
    Mostly(f64, f64),
    /// Share found within the half hour.
    Found(f64),
    /// Hardly ever found.
    Hardly,
}

/// A row: Poisson traffic, judged with tests that are tempered by φ.
pub struct Row {
    pub traffic: &'static str,
    pub phi: f64,
    pub false_alarms: f64,
    /// In the order of [`COLUMNS`].
    pub cells: [Cell; 5],
}

/// The columns: ratio of the error rates, and when it begins, in seconds.
pub const COLUMNS: [(f64, f64); 5] = [(1.5, 0.0), (2.0, 0.0), (3.0, 0.0), (5.0, 0.0), (3.0, 600.0)];

/// "The default rule as section 4 has it", section 5.
pub fn table() -> [Row; 6] {
    use Cell::{Found, Hardly, Mostly, Times};
    let row = |traffic, phi, false_alarms, cells| Row { traffic, phi, false_alarms, cells };
    let at_once = [Times(90.0, 90.0), Times(730.0, 770.0)];
    [
        row(
            "2000/s, 0.4%",
            1.0,
            0.0,
            [Times(660.0, 1180.0), Times(150.0, 220.0), Times(100.0, 110.0), at_once[0], at_once[1]],
        ),
        row(
            "2000/s, 0.4%",
            3.0,
            0.0,
            [Found(0.37), Times(330.0, 450.0), Times(120.0, 150.0), at_once[0], at_once[1]],
        ),
        row(
            "2000/s, 0.1%",
            1.0,
            0.0,
            [Hardly, Mostly(0.70, 1400.0), Times(200.0, 340.0), Times(90.0, 130.0), Times(840.0, 960.0)],
        ),
        row(
            "100/s, 1%",
            1.0,
            0.0,
            [
                Found(0.32),
                Times(560.0, 1040.0),
                Times(190.0, 320.0),
                Times(110.0, 150.0),
                Times(880.0, 1030.0),
            ],
        ),
        row(
            "100/s, 1%",
            3.0,
            0.0,
            [Hardly, Mostly(0.63, 1620.0), Times(500.0, 680.0), Times(200.0, 260.0), Times(1140.0, 1350.0)],
        ),
        row(
            "20/s, 0.4%",
            1.0,
            0.001,
            [Hardly, Found(0.10), Mostly(0.55, 1670.0), Times(630.0, 1020.0), Found(0.26)],
        ),
    ]
}

impl Cell {
    /// As the table has it.
    pub fn text(&self) -> String {
        match self {
            Cell::Times(median, late) => format!("{median:.0} / {late:.0}"),
            Cell::Mostly(found, median) => format!("{:.0}%, {median:.0}", 100.0 * found),
            Cell::Found(found) => format!("{:.0}%", 100.0 * found),
            Cell::Hardly => "–".to_owned(),
        }
    }

    /// Whether what was measured is worse by more than two standard errors of the difference.
    pub fn is_missed_by(&self, measured: &Delays) -> bool {
        let later = |expected: f64, q: f64| match measured.quantile(q) {
            Some(quantile) => quantile.seconds - expected > 2.0 * time_error(quantile, measured),
            None => true,
        };
        match *self {
            Cell::Times(median, late) => later(median, 0.5) || later(late, 0.9),
            Cell::Mostly(found, median) => {
                // Near one half the median may well not be reached.
                rarer(found, measured) || (measured.median().is_some() && later(median, 0.5))
            }
            Cell::Found(found) => rarer(found, measured),
            Cell::Hardly => false,
        }
    }
}

impl Row {
    /// Whether there are more false alarms than expected, by more than two standard errors.
    pub fn has_more_false_alarms(&self, measured: Rate) -> bool {
        let difference = measured.share() - self.false_alarms;
        let pooled = (measured.hits as f64 + self.false_alarms * HARMLESS_RUNS)
            / (measured.runs as f64 + HARMLESS_RUNS);
        difference > 2.0 * share_error(pooled, measured.runs as f64, HARMLESS_RUNS)
    }
}

fn rarer(expected: f64, measured: &Delays) -> bool {
    let found = measured.found();
    expected - found.share() > 2.0 * share_error(expected, found.runs as f64, RUNS)
}

/// Of the difference of two shares.
fn share_error(share: f64, runs: f64, others: f64) -> f64 {
    (share * (1.0 - share) * (1.0 / runs + 1.0 / others)).sqrt()
}

/// Of the difference of two times; the expected one has the error of this one at its number of runs.
fn time_error(quantile: Quantile, measured: &Delays) -> f64 {
    let ours = quantile.standard_error;
    let theirs = (ours * (measured.found().runs as f64 / RUNS).sqrt()).max(0.5 * TICK_SECONDS);
    (ours * ours + theirs * theirs).sqrt()
}
