//! One kind of traffic: the rivals are tuned on it, false alarms are counted on fresh seeds, then what is
//! wrong is to be found.

use serin::montecarlo::traffic::{Shape, Truth};

use crate::figures::{Delays, Rate};
use crate::methods::{ALPHA, Dispersion, Entry, rivals, serin};
use crate::scene::{Column, Run, Scene, Until};
use crate::{parallel, tuning};

/// How many runs.
#[derive(Clone, Copy, Debug)]
pub struct Runs {
    /// With something wrong, a cell.
    pub power: u64,
    /// Harmless ones: for tuning, and again for counting.
    pub harmless: u64,
}

/// Columns of every study: Serin as it is, with history; without history (φ = 3); with φ = 1; with history
/// and its threshold tuned like the rivals'; then the rivals, tuned.
pub const SERIN: usize = 0;
pub const PHI_3: usize = 1;
pub const PHI_1: usize = 2;
pub const TUNED: usize = 3;
pub const RIVALS: usize = 4;
/// Serin with history among the methods; the rivals come after it. These are tuned.
const TUNABLE: usize = 2;

/// What is wrong, and its name.
#[derive(Clone)]
pub struct Wrong {
    pub name: String,
    pub truth: Truth,
}

/// Who judges what, and when it alarms.
pub struct Field {
    pub scene: Scene,
    pub entries: Vec<Entry>,
    pub columns: Vec<Column>,
}

/// A study and its results.
pub struct Study {
    pub name: String,
    pub field: Field,
    pub tuned: Vec<Tuned>,
    pub harmless: Harmless,
    pub cells: Vec<Cell>,
}

/// Fresh runs in which nothing is wrong.
pub struct Harmless {
    /// By column: false alarms.
    pub rates: Vec<Rate>,
    /// By method: when the canary may advance.
    pub advanced: Vec<Delays>,
    /// By run and method: the highest score.
    pub peaks: Vec<Vec<f64>>,
}

/// How a method was tuned.
pub struct Tuned {
    pub name: &'static str,
    /// The authors' threshold, with its false alarms on fresh seeds.
    pub usual: Option<(f64, Rate)>,
    pub threshold: f64,
    /// On the seeds that it was tuned on, and on fresh ones.
    pub tuning: Rate,
    pub fresh: Rate,
}

/// Something that is wrong, and when it was found.
pub struct Cell {
    pub wrong: Wrong,
    /// By column.
    pub delays: Vec<Delays>,
    /// By run, method and tick: the highest score so far, if it was kept.
    pub paths: Vec<Vec<Vec<f64>>>,
}

/// What is to be found, and how often it is tried.
#[derive(Clone, Copy)]
pub struct Task<'a> {
    pub wrongs: &'a [Wrong],
    /// The name of the cell whose scores are kept.
    pub keep: Option<&'a str>,
    pub runs: Runs,
    pub seed: u64,
}

/// Tunes, counts and finds. `typical` is the difference of shares that a test may be made for.
pub fn study(name: &str, scene: Scene, typical: f64, task: Task<'_>) -> Study {
    eprintln!("{name}: tuning");
    let Task { runs, seed, .. } = task;
    let entries = entries(&scene, typical);
    let tunable = &entries[TUNABLE..];
    let first = parallel::each(runs.harmless, |i| scene.run(tunable, &[], Until::TheEnd, seed, i).peaks);
    let of = |method: usize| first.iter().map(move |peaks| peaks[method]);
    let thresholds: Vec<f64> = (0..tunable.len()).map(|m| tuning::threshold(of(m), ALPHA)).collect();
    let field = Field { columns: columns(&entries, &thresholds), entries, scene };

    eprintln!("{name}: false alarms");
    let (harmless, usual) = field.harmless(runs.harmless, seed + 1);
    let tunable = field.entries[TUNABLE..].iter().zip(&thresholds).enumerate();
    let tuned = tunable.map(|(m, (entry, threshold))| Tuned {
        name: entry.name,
        usual: entry.usual.zip(usual[m + TUNABLE]),
        threshold: *threshold,
        tuning: Rate::of(of(m).map(|peak| peak >= *threshold)),
        fresh: harmless.rates[m + TUNED],
    });
    let tuned = tuned.collect();
    let cells = field.cells(name, Task { seed: seed + 2, ..task });
    Study { name: name.to_owned(), field, tuned, harmless, cells }
}

/// The same methods at the same thresholds on traffic of another shape.
pub struct Shaped {
    pub name: String,
    pub harmless: Harmless,
    pub cells: Vec<Cell>,
}

/// Runs a field as it was tuned, under other shapes.
pub fn shaped(field: &Field, name: &str, shapes: &[Shape], task: Task<'_>) -> Shaped {
    eprintln!("{name}");
    let mut scene = field.scene.clone();
    scene.traffic.shapes = shapes.to_vec();
    let (harmless, _) = field.harmless_in(&scene, task.runs.harmless, task.seed);
    let cells = field.cells_in(&scene, name, Task { seed: task.seed + 1, ..task });
    Shaped { name: name.to_owned(), harmless, cells }
}

impl Field {
    fn harmless(&self, runs: u64, seed: u64) -> (Harmless, Vec<Option<Rate>>) {
        self.harmless_in(&self.scene, runs, seed)
    }

    fn cells(&self, name: &str, task: Task<'_>) -> Vec<Cell> {
        self.cells_in(&self.scene, name, task)
    }

    /// And by method the false alarms at its authors' threshold.
    fn harmless_in(&self, scene: &Scene, runs: u64, seed: u64) -> (Harmless, Vec<Option<Rate>>) {
        let runs: Vec<Run> =
            parallel::each(runs, |i| scene.run(&self.entries, &self.columns, Until::TheEnd, seed, i));
        let rate = |column: usize| Rate::of(runs.iter().map(|run| run.alarms[column].is_some()));
        let usual = self.entries.iter().enumerate().map(|(method, entry)| {
            entry.usual.map(|usual| Rate::of(runs.iter().map(|run| run.peaks[method] >= usual)))
        });
        let usual = usual.collect();
        let advanced = |method: usize| Delays::of(runs.iter().map(|run| run.advanced[method]));
        let harmless = Harmless {
            rates: (0..self.columns.len()).map(rate).collect(),
            advanced: (0..self.entries.len()).map(advanced).collect(),
            peaks: runs.into_iter().map(|run| run.peaks).collect(),
        };
        (harmless, usual)
    }

    fn cells_in(&self, scene: &Scene, name: &str, task: Task<'_>) -> Vec<Cell> {
        let cells = task.wrongs.iter().zip(task.seed..).map(|(wrong, seed)| {
            eprintln!("{name}: {}", wrong.name);
            let keep = task.keep == Some(wrong.name.as_str());
            let until = if keep { Until::TheEndKept } else { Until::Alarms };
            let scene = scene.with(wrong.truth.clone());
            let runs =
                parallel::each(task.runs.power, |i| scene.run(&self.entries, &self.columns, until, seed, i));
            let delays = |column: usize| Delays::of(runs.iter().map(|run| run.alarms[column]));
            Cell {
                wrong: wrong.clone(),
                delays: (0..self.columns.len()).map(delays).collect(),
                paths: if keep { runs.into_iter().map(|run| run.paths).collect() } else { Vec::new() },
            }
        });
        cells.collect()
    }
}

fn entries(scene: &Scene, typical: f64) -> Vec<Entry> {
    let latency = scene.metrics.iter().any(|metric| metric.name == "latency");
    let mut entries = vec![
        serin("Serin, φ = 3", scene.policy(3.0), Dispersion::Policy),
        serin("Serin, φ = 1", scene.policy(1.0), Dispersion::Policy),
        serin("Serin", scene.policy(3.0), Dispersion::History),
    ];
    entries.extend(rivals(latency, typical, &scene.weights()));
    entries
}

fn columns(entries: &[Entry], thresholds: &[f64]) -> Vec<Column> {
    let usual = [TUNABLE, 0, 1].map(|method| Column {
        name: entries[method].name.to_owned(),
        method,
        threshold: entries[method].usual.expect("Serin has its α"),
    });
    let tuned = thresholds.iter().enumerate().map(|(i, threshold)| {
        let method = i + TUNABLE;
        let name = if method == TUNABLE { "Serin, tuned" } else { entries[method].name };
        Column { name: name.to_owned(), method, threshold: *threshold }
    });
    usual.into_iter().chain(tuned).collect()
}
