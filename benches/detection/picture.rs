//! False alarms against delay, as one SVG of two panels: independent requests, and bursts.

use std::fmt::Write as _;

use crate::figures::{Delays, Rate};
use crate::plan::{PICTURED, PICTURED_SHAPE, PICTURED_STUDY, Results};
use crate::study::{Cell, Harmless, RIVALS, SERIN, Study};
use crate::tuning;

const WIDTH: f64 = 1220.0;
const HEIGHT: f64 = 560.0;
const TOP: f64 = 70.0;
const PANEL_HEIGHT: f64 = 390.0;
const PANEL_WIDTH: f64 = 420.0;
const LEFTS: [f64; 2] = [80.0, 600.0];
const LEGEND: f64 = 1045.0;
/// The x axis is logarithmic in the share of false alarms; below it, 0.
const LEAST: f64 = 0.0005;
/// What stands for 0, on the axis' left end.
const ZERO: f64 = 0.00025;
/// The y axis, in seconds.
const LONGEST: f64 = 1800.0;
const COLOURS: [&str; 7] = ["#0b6e3a", "#c0392b", "#1f5fbf", "#d98200", "#8e44ad", "#2a9d9d", "#7a5230"];

struct Panel<'a> {
    title: String,
    harmless: &'a Harmless,
    cell: &'a Cell,
}

/// The picture.
pub fn picture(results: &Results) -> String {
    let study = &results.errors[PICTURED_STUDY];
    let pictured = |cells: &'static str| move |cell: &&Cell| cell.wrong.name == cells;
    let mut panels = Vec::new();
    if let Some(cell) = study.cells.iter().find(pictured(PICTURED)) {
        panels.push(Panel { title: "independent requests".to_owned(), harmless: &study.harmless, cell });
    }
    let shapes = results.shapes.iter().find(|(index, _)| *index == PICTURED_STUDY);
    let bursts = shapes.and_then(|(_, shapes)| shapes.iter().find(|shape| shape.name == PICTURED_SHAPE));
    if let Some(bursts) = bursts
        && let Some(cell) = bursts.cells.iter().find(pictured(PICTURED))
    {
        let title = format!("{PICTURED_SHAPE}, thresholds as tuned on the left");
        panels.push(Panel { title, harmless: &bursts.harmless, cell });
    }

    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" width=\"{WIDTH}\" height=\"{HEIGHT}\" font-family=\"Helvetica, Arial, sans-serif\" font-size=\"13\" fill=\"#222\">\n<rect width=\"{WIDTH}\" height=\"{HEIGHT}\" fill=\"white\"/>\n"
    );
    text(
        &mut svg,
        LEFTS[0],
        26.0,
        "start",
        17,
        &format!("Errors ×2 at {}: false alarms against delay", study.name),
    );
    for (panel, left) in panels.iter().zip(LEFTS) {
        axes(&mut svg, left, &panel.title);
        for (column, colour) in shown(study).zip(COLOURS) {
            curve(&mut svg, left, panel, (column, study.field.columns[column].method), colour);
        }
        for (column, colour) in shown(study).zip(COLOURS) {
            dot(&mut svg, left, panel, column, colour);
        }
    }
    for ((column, colour), row) in shown(study).zip(COLOURS).zip(0..) {
        let y = TOP + 20.0 + 24.0 * f64::from(row);
        let end = LEGEND + 26.0;
        let _ = writeln!(
            svg,
            "<line x1=\"{LEGEND}\" y1=\"{y}\" x2=\"{end}\" y2=\"{y}\" stroke=\"{colour}\" stroke-width=\"3\"/><circle cx=\"{}\" cy=\"{y}\" r=\"5\" fill=\"{colour}\"/>",
            LEGEND + 13.0
        );
        text(&mut svg, end + 8.0, y + 4.0, "start", 13, &study.field.columns[column].name);
    }
    let note = ["line: all thresholds", "dot: the one in use", "hollow: median not", "within 30 min"];
    for (line, row) in note.iter().zip(0..) {
        text(&mut svg, LEGEND, TOP + 220.0 + 18.0 * f64::from(row), "start", 12, line);
    }
    svg.push_str("</svg>\n");
    svg
}

/// Serin and the rivals.
fn shown(study: &Study) -> impl Iterator<Item = usize> {
    std::iter::once(SERIN).chain(RIVALS..study.field.columns.len())
}

fn x_of(left: f64, share: f64) -> f64 {
    let whole = (1.0 / ZERO).ln();
    left + PANEL_WIDTH * (share.max(ZERO) / ZERO).ln() / whole
}

fn y_of(seconds: f64) -> f64 {
    TOP + PANEL_HEIGHT * (1.0 - seconds / LONGEST)
}

fn text(svg: &mut String, x: f64, y: f64, anchor: &str, size: u32, words: &str) {
    let _ = writeln!(
        svg,
        "<text x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"{anchor}\" font-size=\"{size}\">{words}</text>"
    );
}

fn axes(svg: &mut String, left: f64, title: &str) {
    let (right, bottom) = (left + PANEL_WIDTH, TOP + PANEL_HEIGHT);
    text(svg, left, TOP - 14.0, "start", 14, title);
    let ticks = [(ZERO, "0"), (0.001, "0.1"), (0.01, "1"), (0.1, "10"), (1.0, "100")];
    for (share, label) in ticks {
        let x = x_of(left, share);
        let _ =
            writeln!(svg, "<line x1=\"{x:.1}\" y1=\"{TOP}\" x2=\"{x:.1}\" y2=\"{bottom}\" stroke=\"#ddd\"/>");
        text(svg, x, bottom + 20.0, "middle", 13, label);
    }
    for seconds in (0..=6).map(|i| f64::from(i) * 300.0) {
        let y = y_of(seconds);
        let _ =
            writeln!(svg, "<line x1=\"{left}\" y1=\"{y:.1}\" x2=\"{right}\" y2=\"{y:.1}\" stroke=\"#ddd\"/>");
        text(svg, left - 8.0, y + 4.0, "end", 13, &format!("{seconds:.0}"));
    }
    let _ = writeln!(svg, "<path d=\"M{left} {TOP}V{bottom}H{right}\" fill=\"none\" stroke=\"#222\"/>");
    let middle = 0.5 * (left + right);
    text(svg, middle, bottom + 44.0, "middle", 13, "false alarms in 30 minutes, % of harmless runs");
    let (x, y) = (left - 52.0, TOP + 0.5 * PANEL_HEIGHT);
    let _ = writeln!(
        svg,
        "<text transform=\"translate({x} {y}) rotate(-90)\" text-anchor=\"middle\">median delay, seconds from the start of the step</text>"
    );
}

/// The method's median delay at every rate of false alarms, from the threshold in use on if that has none.
fn curve(svg: &mut String, left: f64, panel: &Panel<'_>, (column, method): (usize, usize), colour: &str) {
    let mut points = String::new();
    let mut last = None;
    if let Some(median) =
        panel.cell.delays[column].median().filter(|_| panel.harmless.rates[column].hits == 0)
    {
        let _ = write!(points, "{:.1},{:.1} ", x_of(left, 0.0), y_of(median.seconds));
    }
    let steps = 60;
    for step in 0..=steps {
        let rate = LEAST * (1.0 / LEAST).powf(f64::from(step) / f64::from(steps));
        let peaks = || panel.harmless.peaks.iter().map(|peaks| peaks[method]);
        let threshold = tuning::threshold(peaks(), rate);
        let share = Rate::of(peaks().map(|peak| peak >= threshold)).share();
        let first = |path: &Vec<f64>| path.iter().position(|score| *score >= threshold);
        let delays =
            Delays::of(panel.cell.paths.iter().map(|run| first(&run[method]).map(|tick| tick as u16 + 1)));
        let Some(median) = delays.median() else { continue };
        let point = (x_of(left, share), y_of(median.seconds));
        if last != Some(point) {
            let _ = write!(points, "{:.1},{:.1} ", point.0, point.1);
            last = Some(point);
        }
    }
    let _ = writeln!(
        svg,
        "<polyline points=\"{}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"2\" stroke-opacity=\"0.75\"/>",
        points.trim_end()
    );
}

fn dot(svg: &mut String, left: f64, panel: &Panel<'_>, column: usize, colour: &str) {
    let x = x_of(left, panel.harmless.rates[column].share());
    let median = panel.cell.delays[column].median();
    let y = y_of(median.map_or(LONGEST, |median| median.seconds));
    let fill = if median.is_some() { colour } else { "white" };
    let _ = writeln!(
        svg,
        "<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"6\" fill=\"{fill}\" stroke=\"{colour}\" stroke-width=\"2\"/>"
    );
}
