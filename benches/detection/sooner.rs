//! Where a tuned rival is sooner than Serin, and why.

use serin::stats::proportion::Margin;

use crate::figures::Delays;
use crate::information::{EQUAL, Truth, limit_seconds};
use crate::methods::ALPHA;
use crate::plan::Results;
use crate::study::{Cell, PHI_1, RIVALS, SERIN, Study, TUNED};

/// What Serin's default rule accepts of error rates.
pub const HARM: Margin = Margin { ratio: 1.1, difference: 0.0005 };
/// What it accepts of a latency.
const SLOWER: f64 = 1.1;
/// From so much more information on, the margin is a reason.
const COSTLY: f64 = 1.2;

/// Whether `one` finds more or sooner than `other`, by more than two standard errors of the difference.
pub fn is_sooner(one: &Delays, other: &Delays) -> bool {
    let (a, b) = (one.found(), other.found());
    let difference = a.share() - b.share();
    let error = (a.standard_error().powi(2) + b.standard_error().powi(2)).sqrt();
    if difference.abs() > 2.0 * error {
        return difference > 0.0;
    }
    match (one.median(), other.median()) {
        (Some(a), Some(b)) => {
            let error = (a.standard_error.powi(2) + b.standard_error.powi(2)).sqrt();
            b.seconds - a.seconds > 2.0 * error
        }
        _ => false,
    }
}

/// The peers' own rules; the others are tests that somebody might use instead.
const PEERS: [&str; 5] = ["Kayenta", "Kayenta, p95", "Kayenta, p99", "Flagger", "Argo"];

/// A cell in which some rival finds something.
pub struct Compared<'a> {
    pub study: &'a Study,
    pub cell: &'a Cell,
    /// Columns of the tuned rivals that are sooner than Serin as it is, and of those that are sooner than
    /// Serin with the same rate of false alarms.
    pub sooner: Vec<usize>,
    pub still: Vec<usize>,
}

/// Compares Serin with all tuned rivals, in every cell of traffic that they were tuned on.
pub fn compare(results: &Results) -> Vec<Compared<'_>> {
    let studies = results.errors.iter().chain(&results.latency).chain([&results.ten, &results.steps]);
    let cells = studies.flat_map(|study| study.cells.iter().map(move |cell| (study, cell)));
    cells
        .filter_map(|(study, cell)| {
            let rivals = RIVALS..study.field.columns.len();
            let than = |column: usize| {
                let sooner = |rival: &usize| is_sooner(&cell.delays[*rival], &cell.delays[column]);
                rivals.clone().filter(sooner).collect()
            };
            let finds = rivals.clone().any(|rival| cell.delays[rival].found().hits > 0);
            finds.then(|| Compared { study, cell, sooner: than(SERIN), still: than(TUNED) })
        })
        .collect()
}

impl Compared<'_> {
    /// Whether a rule of a peer finds anything.
    pub fn peers_find(&self) -> bool {
        (RIVALS..self.study.field.columns.len())
            .any(|column| self.is_peer(column) && self.cell.delays[column].found().hits > 0)
    }

    /// Whether one of these columns is a rule of a peer.
    pub fn has_peer(&self, columns: &[usize]) -> bool {
        columns.iter().any(|column| self.is_peer(*column))
    }

    fn is_peer(&self, column: usize) -> bool {
        PEERS.contains(&self.study.field.columns[column].name.as_str())
    }

    /// A row of the table; `None` where no rival is sooner.
    pub fn row(&self) -> Option<Vec<String>> {
        if self.sooner.is_empty() && self.still.is_empty() {
            return None;
        }
        let delays = &self.cell.delays;
        let name = |column: &usize| &self.study.field.columns[*column].name;
        let figures = |column: &usize| format!("{} {}", name(column), delays[*column].text());
        let sooner: Vec<String> = self.sooner.iter().map(figures).collect();
        let still: Vec<&str> = self.still.iter().map(|column| name(column).as_str()).collect();
        Some(vec![
            self.study.name.clone(),
            self.cell.wrong.name.clone(),
            delays[SERIN].text(),
            sooner.join("; "),
            delays[TUNED].text(),
            still.join(", "),
            self.reasons().join(", "),
        ])
    }

    fn reasons(&self) -> Vec<String> {
        let (delays, wrong) = (&self.cell.delays, &self.cell.wrong.truth);
        let mut reasons = Vec::new();
        if self.sooner.iter().any(|rival| !self.still.contains(rival)) {
            reasons.push("A".to_owned());
        }
        reasons.extend(self.margin());
        let quick = delays[SERIN].found().share() >= 0.9;
        if quick && !is_sooner(&delays[TUNED], &delays[SERIN]) {
            reasons.push("G".to_owned());
        }
        if wrong.onset_seconds > 0.0 {
            reasons.push("L".to_owned());
        }
        if is_sooner(&delays[PHI_1], &delays[SERIN]) {
            reasons.push("Φ".to_owned());
        }
        if !self.still.is_empty() {
            reasons.push("P".to_owned());
        }
        reasons
    }

    /// What the margin costs here, if it does.
    fn margin(&self) -> Option<String> {
        if let Some(truth) = truth(self.study, self.cell) {
            return match [HARM, EQUAL].map(|null| limit_seconds(truth, null, ALPHA)) {
                [None, _] => Some("M (accepted)".to_owned()),
                [Some(with), Some(without)] if with > COSTLY * without => {
                    Some(format!("M ({with:.0} s against {without:.0} s)"))
                }
                _ => None,
            };
        }
        let factor = self.cell.wrong.truth.latency_factor;
        if factor <= 1.0 {
            return None;
        }
        if factor <= SLOWER {
            return Some("M (accepted)".to_owned());
        }
        // A shift of a log-normal distribution: the information goes with the square of the logarithm.
        let cost = (factor.ln() / (factor / SLOWER).ln()).powi(2);
        (cost > COSTLY).then(|| format!("M ({cost:.1} times the requests)"))
    }
}

/// Of a regression of the error rate: both arms as they truly are.
pub fn truth(study: &Study, cell: &Cell) -> Option<Truth> {
    let (traffic, wrong) = (&study.field.scene.traffic, &cell.wrong.truth);
    if wrong.error_ratio <= 1.0 {
        return None;
    }
    let share = study.field.scene.weights()[0];
    Some(Truth {
        canary_rps: traffic.requests_per_second * share,
        baseline_rps: traffic.requests_per_second * (1.0 - share),
        canary: traffic.error_rate * wrong.error_ratio,
        baseline: traffic.error_rate,
    })
}
