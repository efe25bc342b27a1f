//! The tables of the page.

use crate::expected;
use crate::figures::{Delays, Rate};
use crate::information::{EQUAL, limit_seconds};
use crate::methods::ALPHA;
use crate::sooner::{HARM, is_sooner, truth};
use crate::study::{Cell, PHI_1, PHI_3, RIVALS, SERIN, Shaped, Study};

/// Behind a cell of Serin that misses what is expected.
const MISSED: &str = " ▼";
/// Seconds of each step that no test uses.
const WARM_UP: f64 = 60.0;

/// A Markdown table.
pub fn table(head: &[String], rows: &[Vec<String>]) -> String {
    let line = |cells: &[String]| format!("| {} |\n", cells.join(" | "));
    let rule = vec!["---".to_owned(); head.len()];
    let rows: String = rows.iter().map(|row| line(row)).collect();
    format!("{}{}{rows}", line(head), line(&rule))
}

/// A row of a table.
pub fn words(cells: &[&str]) -> Vec<String> {
    cells.iter().map(|cell| (*cell).to_owned()).collect()
}

/// How the rivals of all studies were tuned.
pub fn tuning<'a>(studies: impl Iterator<Item = &'a Study>) -> String {
    let head = words(&[
        "traffic",
        "method",
        "its authors' threshold",
        "false alarms with it",
        "tuned threshold",
        "false alarms while tuning",
        "on fresh seeds",
    ]);
    let mut rows = Vec::new();
    for study in studies {
        for tuned in &study.tuned {
            let usual = match tuned.usual {
                Some((threshold, rate)) => [number(threshold), rate.with_error()],
                None => ["none".to_owned(), String::new()],
            };
            let [threshold, rate] = usual;
            rows.push(vec![
                study.name.clone(),
                tuned.name.to_owned(),
                threshold,
                rate,
                number(tuned.threshold),
                tuned.tuning.text(),
                tuned.fresh.with_error(),
            ]);
        }
    }
    table(&head, &rows)
}

fn number(x: f64) -> String {
    match x {
        _ if x.is_infinite() && x > 0.0 => "none does".to_owned(),
        _ if x < -1e9 => "any score".to_owned(),
        _ if x.abs() < 0.1 => format!("{x:.5}"),
        _ => format!("{x:.2}"),
    }
}

/// False alarms and delays of all methods. Rivals that are sooner than Serin are bold.
pub fn study(study: &Study) -> String {
    delays(study, &study.harmless.rates, &study.cells)
}

/// The same under another shape.
pub fn shaped(of: &Study, shaped: &Shaped) -> String {
    delays(of, &shaped.harmless.rates, &shaped.cells)
}

fn delays(study: &Study, harmless: &[Rate], cells: &[Cell]) -> String {
    let mut head = words(&["method", "false alarms"]);
    head.extend(cells.iter().map(|cell| cell.wrong.name.clone()));
    let row = |(column, rate): (usize, &Rate)| {
        let mut row = vec![study.field.columns[column].name.clone(), rate.with_error()];
        row.extend(cells.iter().map(|cell| {
            let text = cell.delays[column].text();
            let sooner = column >= RIVALS && is_sooner(&cell.delays[column], &cell.delays[SERIN]);
            if sooner { format!("**{text}**") } else { text }
        }));
        row
    };
    let rows: Vec<Vec<String>> = harmless.iter().enumerate().map(row).collect();
    table(&head, &rows)
}

/// Serin's cells against what is expected, and how many of them miss it.
pub fn against_expected(studies: &[Study]) -> (String, usize, usize) {
    let mut head = words(&["traffic", "φ", "false alarms"]);
    let name = |(ratio, onset): &(f64, f64)| match onset {
        0.0 => format!("×{ratio}"),
        _ => format!("×{ratio} from minute {:.0}", onset / 60.0),
    };
    head.extend(expected::COLUMNS.iter().map(name));
    let (mut rows, mut cells, mut missed) = (Vec::new(), 0, 0);
    for expected in expected::table() {
        let Some(study) = studies.iter().find(|study| study.name == expected.traffic) else { continue };
        let column = if expected.phi == 1.0 { PHI_1 } else { PHI_3 };
        let mut mark = |misses: bool| {
            cells += 1;
            missed += usize::from(misses);
            if misses { MISSED } else { "" }
        };
        let rate = study.harmless.rates[column];
        let more = mark(expected.has_more_false_alarms(rate));
        let mut row = vec![
            study.name.clone(),
            format!("{}", expected.phi),
            format!("{:.1}% → {}{more}", 100.0 * expected.false_alarms, rate.with_error()),
        ];
        for ((ratio, onset), wanted) in expected::COLUMNS.iter().zip(expected.cells) {
            let is_it = |cell: &&Cell| {
                cell.wrong.truth.error_ratio == *ratio && cell.wrong.truth.onset_seconds == *onset
            };
            let Some(cell) = study.cells.iter().find(is_it) else { continue };
            let measured = &cell.delays[column];
            let later = mark(wanted.is_missed_by(measured));
            row.push(format!("{} → {}{later}", wanted.text(), measured.text()));
        }
        rows.push(row);
    }
    (table(&head, &rows), cells, missed)
}

/// The information limit of each error cell that begins at once, and how near Serin comes.
pub fn information(studies: &[Study]) -> String {
    let head = words(&[
        "traffic",
        "wrong",
        "limit against equality, s",
        "limit against Serin's margin, s",
        "Serin, φ = 1: median after the warm-up, s",
        "ratio to equality",
        "ratio to the margin",
    ]);
    let mut rows = Vec::new();
    for study in studies {
        for cell in study.cells.iter().filter(|cell| cell.wrong.truth.onset_seconds == 0.0) {
            let Some(truth) = truth(study, cell) else { continue };
            let limits = [EQUAL, HARM].map(|null| limit_seconds(truth, null, ALPHA));
            let median = cell.delays[PHI_1].median().map(|median| median.seconds - WARM_UP);
            let ratio = |limit: Option<f64>| match (median, limit) {
                (Some(median), Some(limit)) => format!("{:.1}", median / limit),
                _ => "–".to_owned(),
            };
            let [equal, margin] = limits;
            let seconds = |seconds: Option<f64>| match seconds {
                Some(seconds) if seconds < 10.0 => format!("{seconds:.1}"),
                Some(seconds) => format!("{seconds:.0}"),
                None => "accepted".to_owned(),
            };
            rows.push(vec![
                study.name.clone(),
                cell.wrong.name.clone(),
                seconds(equal),
                seconds(margin),
                median.map_or_else(|| "not reached".to_owned(), |median| format!("{median:.0}")),
                ratio(equal),
                ratio(margin),
            ]);
        }
    }
    table(&head, &rows)
}

/// All shapes of a study: false alarms, then a table for each thing that is wrong.
pub fn shapes(study: &Study, shapes: &[Shaped]) -> String {
    let columns = |first: &str| {
        let names = study.field.columns.iter().map(|column| column.name.clone());
        std::iter::once(first.to_owned()).chain(names).collect::<Vec<_>>()
    };
    let rates = |name: &str, rates: &[Rate]| {
        std::iter::once(name.to_owned()).chain(rates.iter().map(Rate::with_error)).collect::<Vec<_>>()
    };
    let mut rows = vec![rates("Poisson", &study.harmless.rates)];
    rows.extend(shapes.iter().map(|shape| rates(&shape.name, &shape.harmless.rates)));
    let mut text = format!("False alarms:\n\n{}", table(&columns("shape"), &rows));
    let wrongs = shapes.first().map_or(0, |shape| shape.cells.len());
    for wrong in 0..wrongs {
        let row = |shape: &Shaped| {
            let delays = shape.cells[wrong].delays.iter().map(Delays::text);
            std::iter::once(shape.name.clone()).chain(delays).collect::<Vec<_>>()
        };
        let rows: Vec<Vec<String>> = shapes.iter().map(row).collect();
        let name = &shapes[0].cells[wrong].wrong.name;
        text.push_str(&format!("\n{name}:\n\n{}", table(&columns("shape"), &rows)));
    }
    text
}

/// When Serin lets a harmless canary advance.
pub fn advancing(studies: &[Study]) -> String {
    let head = words(&["traffic", "Serin", "Serin, φ = 3", "Serin, φ = 1"]);
    let rows: Vec<Vec<String>> = studies
        .iter()
        .map(|study| {
            let method = |column: usize| study.field.columns[column].method;
            let of = |column: usize| study.harmless.advanced[method(column)].text();
            let delays = [SERIN, PHI_3, PHI_1].map(of);
            std::iter::once(study.name.clone()).chain(delays).collect()
        })
        .collect();
    table(&head, &rows)
}
