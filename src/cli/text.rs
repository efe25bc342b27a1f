//! Figures and lines as they stand in a terminal.

use crate::contract::{EvidenceView, RatioView};
use crate::core::words::count;

/// Text from elsewhere without anything that would move a terminal's cursor or turn its writing
/// around.
pub fn clean(text: &str) -> String {
    text.chars()
        .map(|c| match c {
            '\n' | '\t' => ' ',
            '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => '?',
            c if c.is_control() => '?',
            c => c,
        })
        .collect()
}

/// A share to the precision that matters, without its sign: `1.14`, `12.3`, `100`.
fn share(percent: f64) -> String {
    match percent.abs() {
        p if p == 0.0 || (p - 100.0).abs() < 1e-9 => format!("{percent:.0}"),
        p if p >= 10.0 => format!("{percent:.1}"),
        p if p >= 0.1 => format!("{percent:.2}"),
        _ => format!("{percent:.3}"),
    }
}

/// A share with its interval: `1.14% [1.03 – 1.26]`.
pub fn share_with_interval(percent: f64, interval: Option<[f64; 2]>) -> String {
    match interval {
        Some([low, high]) => format!("{}% [{} – {}]", share(percent), share(low), share(high)),
        None => format!("{}%", share(percent)),
    }
}

/// A weight: `25%`, `12.5%`.
pub fn weight(percent: f64) -> String {
    let text = format!("{percent:.2}");
    format!("{}%", text.trim_end_matches('0').trim_end_matches('.'))
}

/// A latency: `7.2 ms`, `253 ms`, `1.23 s`.
pub fn latency(seconds: f64) -> String {
    let ms = seconds * 1000.0;
    if ms < 9.95 {
        format!("{ms:.1} ms")
    } else if ms < 999.5 {
        format!("{ms:.0} ms")
    } else if seconds < 9.995 {
        format!("{seconds:.2} s")
    } else {
        format!("{seconds:.1} s")
    }
}

/// `×2.7 [1.9 – 3.6]`, with as many decimals as the estimate deserves; an end that is not bounded is
/// `…`.
pub fn ratio(ratio: &RatioView) -> String {
    let decimals = match ratio.estimate.or(ratio.high) {
        Some(x) if x >= 1.995 => 1,
        _ => 2,
    };
    let figure = |x: f64| if x >= 9.95 { format!("{x:.0}") } else { format!("{x:.decimals$}") };
    let end = |x: Option<f64>| x.map_or_else(|| "…".to_owned(), figure);
    match ratio.estimate {
        Some(estimate) => format!("×{} [{} – {}]", figure(estimate), end(ratio.low), end(ratio.high)),
        None => format!("× [{} – {}]", end(ratio.low), end(ratio.high)),
    }
}

/// Evidence as odds: `1:4,100`. Rounded down, so that it never says that a bound is reached that is
/// not, and no figure beyond a billion.
pub fn odds(e: f64) -> String {
    // A hair more than the exact value, so that 1/0.05 is 20 and not 19.
    let e = e * (1.0 + 1e-9);
    if e < 1.0 {
        "<1:1".to_owned()
    } else if e < 10.0 {
        format!("1:{:.1}", (e * 10.0).floor() / 10.0)
    } else if e < 1_000.0 {
        format!("1:{}", e.floor())
    } else if e < 1e9 {
        let unit = 10_f64.powi(e.log10().floor() as i32 - 1);
        format!("1:{}", count(((e / unit).floor() * unit) as u64))
    } else {
        ">1:10^9".to_owned()
    }
}

/// Evidence against its bound: `1:12 of 1:20`.
pub fn evidence(evidence: &EvidenceView) -> String {
    format!("{} of {}", odds(evidence.odds), odds(evidence.bound_odds))
}

/// How far evidence is on its way to its bound, in the logarithm: `█████░░░░░`. Full only at the bound.
pub fn bar(evidence: &EvidenceView, cells: usize) -> String {
    let full = if evidence.reached {
        cells
    } else if evidence.ln_bound > 0.0 {
        let share = (evidence.ln_e / evidence.ln_bound).clamp(0.0, 1.0);
        ((share * cells as f64).floor() as usize).min(cells.saturating_sub(1))
    } else {
        0
    };
    format!("{}{}", "█".repeat(full), "░".repeat(cells - full))
}

/// How many columns a character takes in a terminal.
fn columns(c: char) -> usize {
    match u32::from(c) {
        0x0300..=0x036f | 0x20d0..=0x20ff | 0xfe00..=0xfe0f => 0,
        0x1100..=0x115f
        | 0x2e80..=0xa4cf
        | 0xac00..=0xd7a3
        | 0xf900..=0xfaff
        | 0xfe30..=0xfe6f
        | 0xff00..=0xff60
        | 0xffe0..=0xffe6
        | 0x1f300..=0x1faff
        | 0x20000..=0x3fffd => 2,
        _ => 1,
    }
}

/// How many columns a text takes in a terminal.
pub fn width(text: &str) -> usize {
    text.chars().map(columns).sum()
}

/// What a piece of text stands for. Colour is never the only sign: verdicts have their word, arms
/// their name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Style {
    /// Nothing.
    Plain,
    /// A name.
    Strong,
    /// Something in the background.
    Faint,
    /// The canary: amber.
    Canary,
    /// The baseline: steel.
    Baseline,
    /// A good verdict: green.
    Good,
    /// A bad verdict: red.
    Bad,
}

impl Style {
    fn code(self) -> Option<&'static str> {
        match self {
            Style::Plain => None,
            Style::Strong => Some("1"),
            Style::Faint => Some("2"),
            Style::Canary => Some("38;5;214"),
            Style::Baseline => Some("38;5;67"),
            Style::Good => Some("32"),
            Style::Bad => Some("31"),
        }
    }
}

/// One line of pieces.
#[derive(Clone, Debug, Default)]
pub struct Line {
    pieces: Vec<(Style, String)>,
}

impl Line {
    /// An empty line.
    pub fn new() -> Line {
        Line::default()
    }

    /// True if nothing is in it.
    pub fn is_empty(&self) -> bool {
        self.pieces.is_empty()
    }

    /// The line with `text` after it.
    #[must_use]
    pub fn with(mut self, style: Style, text: impl AsRef<str>) -> Line {
        self.pieces.push((style, clean(text.as_ref())));
        self
    }

    /// The line with spaces after it up to `column`, at least one unless it is empty.
    #[must_use]
    pub fn to(self, column: usize) -> Line {
        let used: usize = self.pieces.iter().map(|(_, text)| width(text)).sum();
        let least = usize::from(used > 0);
        let spaces = column.saturating_sub(used).max(least);
        self.with(Style::Plain, " ".repeat(spaces))
    }

    /// At most `most` columns of it; `…` stands for the rest.
    pub fn fit(&self, most: usize, colour: bool) -> String {
        let all: usize = self.pieces.iter().map(|(_, text)| width(text)).sum();
        let mut left = if all > most { most.saturating_sub(1) } else { most };
        let mut out = String::new();
        for (style, text) in &self.pieces {
            let mut piece = String::new();
            let mut stopped = false;
            for c in text.chars() {
                let wide = columns(c);
                if wide > left {
                    stopped = true;
                    break;
                }
                left -= wide;
                piece.push(c);
            }
            match style.code().filter(|_| colour && !piece.is_empty()) {
                Some(code) => out.push_str(&format!("\x1b[{code}m{piece}\x1b[0m")),
                None => out.push_str(&piece),
            }
            if stopped {
                break;
            }
        }
        if all > most && most > 0 {
            out.push('…');
        } else {
            out.truncate(out.trim_end().len());
        }
        out
    }
}

/// A sentence in lines of at most `most` columns, broken between words where that is possible.
pub fn wrap(sentence: &str, most: usize) -> Vec<String> {
    let most = most.max(1);
    let mut lines = Vec::new();
    let mut line = String::new();
    for word in clean(sentence).split_whitespace() {
        let space = usize::from(!line.is_empty());
        if width(&line) + space + width(word) <= most {
            if space == 1 {
                line.push(' ');
            }
            line.push_str(word);
            continue;
        }
        if !line.is_empty() {
            lines.push(std::mem::take(&mut line));
        }
        for c in word.chars() {
            if width(&line) + columns(c) > most && !line.is_empty() {
                lines.push(std::mem::take(&mut line));
            }
            line.push(c);
        }
    }
    if !line.is_empty() {
        lines.push(line);
    }
    lines
}

/// Columns of text, each as wide as its widest cell, two spaces apart.
pub fn table(rows: &[Vec<String>]) -> String {
    let count = rows.iter().map(Vec::len).max().unwrap_or(0);
    let rows: Vec<Vec<String>> =
        rows.iter().map(|row| row.iter().map(|cell| clean(cell)).collect()).collect();
    let widths: Vec<usize> = (0..count)
        .map(|index| rows.iter().filter_map(|row| row.get(index)).map(|cell| width(cell)).max().unwrap_or(0))
        .collect();
    let mut out = String::new();
    for row in &rows {
        let mut line = String::new();
        for (index, cell) in row.iter().enumerate() {
            line.push_str(cell);
            line.push_str(&" ".repeat(widths[index] - width(cell) + 2));
        }
        out.push_str(line.trim_end());
        out.push('\n');
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures() {
        assert_eq!(share_with_interval(1.138, Some([1.031, 1.262])), "1.14% [1.03 – 1.26]");
        assert_eq!(share_with_interval(0.0, Some([0.0, 0.021])), "0% [0 – 0.021]");
        assert_eq!(weight(12.5), "12.5%");
        assert_eq!(weight(100.0), "100%");
        assert_eq!(weight(0.01), "0.01%");
        assert_eq!(latency(0.0072), "7.2 ms");
        assert_eq!(latency(0.253), "253 ms");
        assert_eq!(latency(0.9999), "1.00 s");
        assert_eq!(latency(12.0), "12.0 s");
    }

    #[test]
    fn ratios() {
        let view = |low, estimate, high| RatioView { low, estimate, high };
        assert_eq!(ratio(&view(Some(1.94), Some(2.71), Some(3.58))), "×2.7 [1.9 – 3.6]");
        assert_eq!(ratio(&view(Some(0.8), Some(1.1), None)), "×1.10 [0.80 – …]");
        assert_eq!(ratio(&view(Some(0.06), None, Some(50.0))), "× [0.1 – 50]");
    }

    #[test]
    fn odds_are_rounded_down() {
        for (e, text) in [
            (0.0, "<1:1"),
            (0.999, "<1:1"),
            (1.0, "1:1.0"),
            (2.79, "1:2.7"),
            (1.0 / 0.05, "1:20"),
            (99.99, "1:99"),
            (100.0, "1:100"),
            (4_187.0, "1:4,100"),
            (1_234_567.0, "1:1,200,000"),
            (3e12, ">1:10^9"),
        ] {
            assert_eq!(odds(e), text, "{e}");
        }
        // As the view has it: e to the power of a logarithm.
        let view = EvidenceView::new(0.0, 100_f64.ln());
        assert_eq!(evidence(&view), "1:1.0 of 1:100");
    }

    #[test]
    fn bars_are_full_only_at_the_bound() {
        let view = |e: f64| EvidenceView::new(e.ln(), 100_f64.ln());
        assert_eq!(bar(&view(0.2), 4), "░░░░");
        assert_eq!(bar(&view(10.0), 4), "██░░");
        assert_eq!(bar(&view(99.9), 4), "███░");
        assert_eq!(bar(&view(100.0), 4), "████");
        assert_eq!(bar(&view(1e9), 4), "████");
    }

    #[test]
    fn lines_are_cut_at_the_width() {
        let line = Line::new().with(Style::Strong, "checkout").to(10).with(Style::Canary, "canary");
        assert_eq!(line.fit(80, false), "checkout  canary");
        assert_eq!(line.fit(16, false), "checkout  canary");
        assert_eq!(line.fit(12, false), "checkout  c…");
        assert_eq!(line.fit(0, false), "");
        assert_eq!(line.fit(80, true), "\x1b[1mcheckout\x1b[0m  \x1b[38;5;214mcanary\x1b[0m");
        assert_eq!(width(&Line::new().with(Style::Plain, "漢字漢字").fit(5, false)), 5);
    }

    #[test]
    fn sentences_are_wrapped() {
        assert_eq!(wrap("one two three", 7), ["one two", "three"]);
        assert_eq!(wrap("abcdefgh", 3), ["abc", "def", "gh"]);
        assert_eq!(wrap("", 3), Vec::<String>::new());
    }

    #[test]
    fn nothing_from_elsewhere_moves_the_cursor() {
        assert_eq!(clean("a\x1b[2Jb\nc\u{202e}d"), "a?[2Jb c?d");
    }

    #[test]
    fn tables() {
        let rows = vec![vec!["A".into(), "B".into()], vec!["long".into(), "x".into()]];
        assert_eq!(table(&rows), "A     B\nlong  x\n");
    }
}
