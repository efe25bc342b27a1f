//! The Prometheus text format, read strictly: a line that is none makes the whole page unreadable,
//! since a page that was cut off must not pass for a whole one. Of OpenMetrics, `# EOF`, `_created`
//! series and exemplars are tolerated.

use std::collections::BTreeMap;
use std::iter::Peekable;
use std::str::Chars;

/// One line of a page.
#[derive(Clone, Debug, PartialEq)]
pub struct PageSample {
    /// Metric name.
    pub name: String,
    /// Labels, unescaped.
    pub labels: BTreeMap<String, String>,
    /// The value; its timestamp, if it has one, is checked and left out.
    pub value: f64,
}

/// Reads a page and gives the samples whose metric name is wanted.
///
/// # Errors
/// A sentence that names the line.
pub fn parse(text: &str, wanted: impl Fn(&str) -> bool) -> Result<Vec<PageSample>, String> {
    let mut samples = Vec::new();
    if !text.is_empty() && !text.ends_with('\n') {
        return Err("the last line is not complete".to_owned());
    }
    for (index, line) in text.lines().enumerate() {
        let line = line.trim_matches([' ', '\t', '\r']);
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let sample = parse_line(line).map_err(|why| format!("line {}: {why}", index + 1))?;
        if wanted(&sample.name) {
            samples.push(sample);
        }
    }
    Ok(samples)
}

fn parse_line(line: &str) -> Result<PageSample, String> {
    let mut chars = line.chars().peekable();
    let name = identifier(&mut chars, true)?;
    skip_blanks(&mut chars);
    let labels = if chars.peek() == Some(&'{') { labels(&mut chars)? } else { BTreeMap::new() };
    let rest: String = chars.collect();
    let mut words = rest.split_ascii_whitespace();
    let value = words.next().ok_or_else(|| format!("{name} has no value"))?;
    let value = number(value).ok_or_else(|| format!("{value:?} is not a number"))?;
    match words.next() {
        None => {}
        Some(exemplar) if exemplar.starts_with('#') => words = "".split_ascii_whitespace(),
        Some(time) => {
            number(time).ok_or_else(|| format!("{time:?} is not a timestamp"))?;
        }
    }
    match words.next() {
        Some(more) if !more.starts_with('#') => Err(format!("{more:?} is more than a sample has")),
        _ => Ok(PageSample { name, labels, value }),
    }
}

fn labels(chars: &mut Peekable<Chars>) -> Result<BTreeMap<String, String>, String> {
    let mut labels = BTreeMap::new();
    chars.next();
    loop {
        skip_blanks(chars);
        if chars.next_if_eq(&'}').is_some() {
            return Ok(labels);
        }
        let label = identifier(chars, false)?;
        skip_blanks(chars);
        if chars.next() != Some('=') {
            return Err(format!("the label {label} has no `=`"));
        }
        skip_blanks(chars);
        let value = quoted(chars, &label)?;
        if labels.insert(label.clone(), value).is_some() {
            return Err(format!("the label {label} is there twice"));
        }
        skip_blanks(chars);
        match chars.next() {
            Some(',') => {}
            Some('}') => return Ok(labels),
            _ => return Err(format!("after the label {label} there is neither `,` nor `}}`")),
        }
    }
}

fn identifier(chars: &mut Peekable<Chars>, is_metric: bool) -> Result<String, String> {
    let mut name = String::new();
    while let Some(c) = chars.next_if(|c| {
        c.is_ascii_alphabetic()
            || *c == '_'
            || (is_metric && *c == ':')
            || (!name.is_empty() && c.is_ascii_digit())
    }) {
        name.push(c);
    }
    if name.is_empty() {
        let what = if is_metric { "a metric" } else { "a label" };
        return Err(match chars.peek() {
            Some(c) => format!("{c:?} is not the beginning of {what}'s name"),
            None => format!("it ends where {what}'s name was expected"),
        });
    }
    Ok(name)
}

fn quoted(chars: &mut Peekable<Chars>, label: &str) -> Result<String, String> {
    if chars.next() != Some('"') {
        return Err(format!("the value of {label} does not begin with a quote"));
    }
    let mut value = String::new();
    loop {
        match chars.next() {
            Some('"') => return Ok(value),
            Some('\\') => match chars.next() {
                Some('n') => value.push('\n'),
                Some(c @ ('\\' | '"')) => value.push(c),
                _ => return Err(format!("the value of {label} has an unknown escape")),
            },
            Some(c) => value.push(c),
            None => return Err(format!("the value of {label} has no end")),
        }
    }
}

fn skip_blanks(chars: &mut Peekable<Chars>) {
    while chars.next_if(|c| matches!(c, ' ' | '\t')).is_some() {}
}

fn number(text: &str) -> Option<f64> {
    text.parse().ok()
}
