//! Walks a tree of nodes and reads typed values out of it. A value that is wrong is told to the report
//! and given as `None`, so that reading goes on and all problems of a file come at once.

use std::cell::RefCell;
use std::ops::RangeInclusive;
use std::time::Duration;

use super::problem::{Mark, Report};
use super::values;
use super::yaml::{Kind, Node};
use crate::core::words;

/// A node with its path and the report that its problems go to.
#[derive(Clone)]
pub(super) struct Field<'a> {
    node: &'a Node,
    /// Where problems are told: the node, or its key where the node is empty.
    pub(super) mark: Mark,
    pub(super) path: String,
    pub(super) report: &'a Report,
}

impl<'a> Field<'a> {
    /// The whole file.
    pub(super) fn root(node: &'a Node, report: &'a Report) -> Field<'a> {
        Field { node, mark: node.mark, path: String::new(), report }
    }

    /// Tells a problem of this field.
    pub(super) fn problem(&self, message: impl Into<String>, expected: impl Into<String>) {
        self.report.add(self.mark, &*self.path, message, expected);
    }

    fn wrong_type<T>(&self, expected: &str) -> Option<T> {
        let found = match &self.node.kind {
            Kind::Null => "there is no value",
            Kind::Scalar { .. } => "a single value stands here",
            Kind::List(_) => "a list stands here",
            Kind::Map(_) => "a mapping stands here",
        };
        self.problem(found, expected);
        None
    }

    /// The field below this one by a path of keys, as far as it is there, for problems that are found
    /// after reading.
    pub(super) fn at_path(&self, keys: &[&str]) -> Field<'a> {
        let mut field = self.clone();
        for key in keys {
            let Kind::Map(entries) = &field.node.kind else { break };
            let Some(entry) = entries.iter().find(|entry| entry.key == **key) else { break };
            field = field.child(&entry.key, entry.mark, &entry.value);
        }
        field
    }

    fn is_at_root(&self) -> bool {
        self.path.is_empty()
    }

    fn child(&self, key: &str, key_mark: Mark, node: &'a Node) -> Field<'a> {
        let path = if self.is_at_root() { key.to_owned() } else { format!("{}.{key}", self.path) };
        let mark = if node.kind == Kind::Null { key_mark } else { node.mark };
        Field { node, mark, path, report: self.report }
    }

    /// The entry of a mapping, where this is one that has it; it does not become known by this.
    pub(super) fn has(&self, key: &str) -> bool {
        matches!(&self.node.kind, Kind::Map(entries) if entries.iter().any(|entry| entry.key == key))
    }

    pub(super) fn is_scalar(&self) -> bool {
        matches!(self.node.kind, Kind::Scalar { .. })
    }

    pub(super) fn is_list(&self) -> bool {
        matches!(self.node.kind, Kind::List(_))
    }

    /// A mapping with known fields; call [`Fields::close`] when all are asked for.
    pub(super) fn fields(&self, expected: &str) -> Option<Fields<'a>> {
        match &self.node.kind {
            Kind::Map(_) => Some(Fields { field: self.clone(), known: RefCell::default() }),
            _ => self.wrong_type(expected),
        }
    }

    /// A mapping with free keys.
    pub(super) fn entries(&self, expected: &str) -> Option<Vec<(&'a str, Field<'a>)>> {
        match &self.node.kind {
            Kind::Map(entries) => Some(
                entries
                    .iter()
                    .map(|e| {
                        let mut field = self.child(&e.key, e.mark, &e.value);
                        // A problem of the whole entry is best looked up at its name.
                        if !field.is_scalar() {
                            field.mark = e.mark;
                        }
                        (&*e.key, field)
                    })
                    .collect(),
            ),
            _ => self.wrong_type(expected),
        }
    }

    /// A list of at most `most` items.
    pub(super) fn list(&self, most: usize, expected: &str) -> Option<Vec<Field<'a>>> {
        let Kind::List(items) = &self.node.kind else { return self.wrong_type(expected) };
        if items.len() > most {
            self.problem(format!("there are {} items", items.len()), format!("at most {most}"));
            return None;
        }
        let item = |(index, node): (usize, &'a Node)| Field {
            node,
            mark: node.mark,
            path: format!("{}[{index}]", self.path),
            report: self.report,
        };
        Some(items.iter().enumerate().map(item).collect())
    }

    fn scalar(&self, expected: &str) -> Option<(&'a str, bool)> {
        match &self.node.kind {
            Kind::Scalar { text, plain } => Some((text, *plain)),
            _ => self.wrong_type(expected),
        }
    }

    /// Text of 1 to `most` characters, as it is written: `1.10` stays `1.10`.
    pub(super) fn text(&self, most: usize) -> Option<String> {
        let (text, _) = self.scalar("text")?;
        let length = text.chars().count();
        if length == 0 || length > most {
            self.problem(
                format!("the text has {length} characters"),
                format!("between 1 and {most} characters"),
            );
            return None;
        }
        if text.chars().any(|c| c.is_control() && c != '\n' && c != '\t') {
            self.problem("the text has control characters", "text without them");
            return None;
        }
        Some(text.to_owned())
    }

    /// One line of text of 1 to `most` characters.
    pub(super) fn line(&self, most: usize) -> Option<String> {
        let text = self.text(most)?;
        if text.contains(['\n', '\t']) {
            self.problem("the text has a line break or a tab", "one line of text");
            return None;
        }
        Some(text)
    }

    /// A single value as it is written, for readers of their own.
    pub(super) fn raw(&self, expected: &str) -> Option<&'a str> {
        self.scalar(expected).map(|(text, _)| text)
    }

    /// The name of a thing: letters, digits, `.`, `_` and `-`, at most 63 characters.
    pub(super) fn name(&self) -> Option<String> {
        let (text, _) = self.scalar("a name")?;
        self.check_name(text).then(|| text.to_owned())
    }

    /// True if `text` is a name; else the problem is told.
    pub(super) fn check_name(&self, text: &str) -> bool {
        let first = text.bytes().next().is_some_and(|b| b.is_ascii_alphanumeric());
        let rest = text.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b));
        let good = first && rest && text.len() <= 63;
        if !good {
            self.problem(
                format!("`{}` is not a name", shorten(text)),
                "letters, digits, `.`, `_` and `-`, with a letter or digit first, at most 63 characters",
            );
        }
        good
    }

    pub(super) fn boolean(&self) -> Option<bool> {
        match self.scalar("true or false")? {
            ("true", true) => Some(true),
            ("false", true) => Some(false),
            (other, _) => {
                self.problem(format!("`{}` is neither true nor false", shorten(other)), "true or false");
                None
            }
        }
    }

    pub(super) fn integer(&self, range: RangeInclusive<u64>) -> Option<u64> {
        let expected = format!("a whole number from {} to {}", range.start(), range.end());
        let (text, _) = self.scalar(&expected)?;
        let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
        let value = if digits { text.parse::<u64>().ok() } else { None };
        match value {
            Some(value) if range.contains(&value) => Some(value),
            Some(value) => {
                self.problem(format!("{value} is out of range"), expected);
                None
            }
            None => {
                self.problem(format!("`{}` is not such a number", shorten(text)), expected);
                None
            }
        }
    }

    pub(super) fn number(&self, range: RangeInclusive<f64>) -> Option<f64> {
        let expected = format!("a number from {} to {}", range.start(), range.end());
        let (text, _) = self.scalar(&expected)?;
        let Some(value) = values::number(text) else {
            self.problem(format!("`{}` is not a number", shorten(text)), expected);
            return None;
        };
        self.within(value, &range, |v| v.to_string(), expected)
    }

    /// `5%` or `0.05`.
    pub(super) fn ratio(&self, range: RangeInclusive<f64>) -> Option<f64> {
        let (text, _) = self.scalar("a ratio such as 5% or 0.05")?;
        let value = self.told(values::ratio(text))?;
        let show = values::show_ratio;
        let expected = format!("a ratio from {} to {}", show(*range.start()), show(*range.end()));
        self.within(value, &range, |v| show(*v), expected)
    }

    /// `30s`, `5m`, `1h30m`, `500ms`.
    pub(super) fn duration(&self, range: RangeInclusive<Duration>) -> Option<Duration> {
        let (text, _) = self.scalar("a duration such as 30s, 5m, 1h30m or 500ms")?;
        let value = self.told(words::parse_duration(text))?;
        let show = words::show_duration;
        let expected = format!("a duration from {} to {}", show(*range.start()), show(*range.end()));
        self.within(value, &range, |v| show(*v), expected)
    }

    /// One of some words.
    pub(super) fn one_of<T: Clone>(&self, choices: &[(&str, T)]) -> Option<T> {
        let words = choices.iter().map(|(word, _)| *word).collect::<Vec<_>>();
        let (text, _) = self.scalar(&one_of_words(&words))?;
        let found = choices.iter().find(|(word, _)| *word == text).map(|(_, value)| value.clone());
        if found.is_none() {
            self.problem(format!("`{}` is not known here", shorten(text)), suggest(text, &words));
        }
        found
    }

    /// The result, or `None` after its problem is told.
    pub(super) fn told<T>(&self, result: Result<T, (String, String)>) -> Option<T> {
        result.map_err(|(message, expected)| self.problem(message, expected)).ok()
    }

    fn within<T: PartialOrd>(
        &self,
        value: T,
        range: &RangeInclusive<T>,
        show: impl Fn(&T) -> String,
        expected: String,
    ) -> Option<T> {
        if range.contains(&value) {
            return Some(value);
        }
        let side = if value < *range.start() { "little" } else { "much" };
        self.problem(format!("{} is too {side}", show(&value)), expected);
        None
    }
}

/// The fields of a mapping. Asking for a field makes it known; [`Fields::close`] refuses the others.
pub(super) struct Fields<'a> {
    pub(super) field: Field<'a>,
    known: RefCell<Vec<&'static str>>,
}

impl<'a> Fields<'a> {
    /// The field, if it is there.
    pub(super) fn get(&self, name: &'static str) -> Option<Field<'a>> {
        self.known.borrow_mut().push(name);
        let Kind::Map(entries) = &self.field.node.kind else { return None };
        let entry = entries.iter().find(|entry| entry.key == name)?;
        Some(self.field.child(&entry.key, entry.mark, &entry.value))
    }

    /// The field; a problem if it is missing.
    pub(super) fn need(&self, name: &'static str, expected: &str) -> Option<Field<'a>> {
        let field = self.get(name);
        if field.is_none() {
            self.field.problem(format!("the field `{name}` is missing"), expected);
        }
        field
    }

    /// The value of a field that may be left out: `default` then, `None` if it is wrong.
    pub(super) fn or<T>(
        &self,
        name: &'static str,
        default: T,
        read: impl FnOnce(Field<'a>) -> Option<T>,
    ) -> Option<T> {
        match self.get(name) {
            Some(field) => read(field),
            None => Some(default),
        }
    }

    /// The value of a field that may be left out: `Some(None)` then, `None` if it is wrong.
    pub(super) fn maybe<T>(
        &self,
        name: &'static str,
        read: impl FnOnce(Field<'a>) -> Option<T>,
    ) -> Option<Option<T>> {
        match self.get(name) {
            Some(field) => read(field).map(Some),
            None => Some(None),
        }
    }

    /// Refuses every field that was not asked for.
    pub(super) fn close(self) {
        let Kind::Map(entries) = &self.field.node.kind else { return };
        let known = self.known.into_inner();
        for entry in entries.iter().filter(|entry| !known.contains(&&*entry.key)) {
            let field = self.field.child(&entry.key, entry.mark, &entry.value);
            let message = format!("there is no field `{}` here", shorten(&entry.key));
            field.report.add(entry.mark, shorten(&field.path), message, suggest(&entry.key, &known));
        }
    }
}

/// Reads every item of a list; `None` if one of them is wrong, after all have been read.
pub(super) fn all<T>(items: impl IntoIterator<Item = Option<T>>) -> Option<Vec<T>> {
    // Collecting into an Option directly would stop at the first wrong item.
    let read = items.into_iter().collect::<Vec<_>>();
    read.into_iter().collect()
}

/// The nearest of some words if one is near, and all of them.
pub(super) fn suggest<W: AsRef<str>>(found: &str, known: &[W]) -> String {
    let words = known.iter().map(AsRef::as_ref).collect::<Vec<_>>();
    let nearest = words.iter().map(|word| (distance(found, word), *word)).min();
    match nearest {
        Some((changes, word)) if changes <= (word.chars().count() / 3).max(1) && changes < found.len() => {
            format!("`{word}`, perhaps ({})", one_of_words(&words))
        }
        _ => one_of_words(&words),
    }
}

fn one_of_words(words: &[&str]) -> String {
    match words {
        [] => "nothing here".to_owned(),
        [only] => format!("`{only}`"),
        _ => format!("one of {}", words.join(", ")),
    }
}

/// The head of a text that stands in a message.
pub(super) fn shorten(text: &str) -> String {
    let mut head = text.chars().take(80).flat_map(char::escape_debug).collect::<String>();
    if text.chars().count() > 80 {
        head.push('…');
    }
    head
}

/// How many letters must be changed, added, left out or swapped with their neighbour.
fn distance(a: &str, b: &str) -> usize {
    let (a, b) = (a.chars().take(64).collect::<Vec<_>>(), b.chars().collect::<Vec<_>>());
    let mut before_last = vec![0; b.len() + 1];
    let mut last = (0..=b.len()).collect::<Vec<_>>();
    for i in 0..a.len() {
        let mut row = vec![i + 1];
        for j in 0..b.len() {
            let mut cost = (last[j] + usize::from(a[i] != b[j])).min(last[j + 1] + 1).min(row[j] + 1);
            if i > 0 && j > 0 && a[i] == b[j - 1] && a[i - 1] == b[j] {
                cost = cost.min(before_last[j - 1] + 1);
            }
            row.push(cost);
        }
        before_last = last;
        last = row;
    }
    last[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_word_is_suggested() {
        let known = ["weight", "min", "max", "at_max"];
        assert!(suggest("wieght", &known).starts_with("`weight`, perhaps"));
        assert!(suggest("mni", &known).starts_with("`min`, perhaps"));
        assert_eq!(suggest("colour", &known), "one of weight, min, max, at_max");
        assert_eq!(suggest("", &known[..1]), "`weight`");
    }

    #[test]
    fn all_problems_of_a_mapping_come_at_once() {
        let report = Report::new("x.yaml");
        let node = super::super::yaml::read(b"a: 30\nb: maybe\nc:\nd: -1\ne: 2\nf: [1]\n", &report).unwrap();
        let fields = Field::root(&node, &report).fields("a mapping").unwrap();
        let second = Duration::from_secs(1);
        assert_eq!(fields.get("a").and_then(|f| f.duration(second..=second * 60)), None);
        assert_eq!(fields.get("b").and_then(|f| f.boolean()), None);
        assert_eq!(fields.get("c").and_then(|f| f.text(10)), None);
        assert_eq!(fields.get("d").and_then(|f| f.number(0.0..=1.0)), None);
        assert_eq!(fields.get("e").and_then(|f| f.integer(3..=4)), None);
        assert_eq!(fields.need("g", "a name").and_then(|f| f.name()), None);
        fields.close();
        let problems = report.finish::<()>(None).unwrap_err().0;
        let told = problems.iter().map(ToString::to_string).collect::<Vec<_>>();
        assert_eq!(told.len(), 7, "{told:#?}");
        assert_eq!(told[0], "x.yaml:1:1: the field `g` is missing; expected a name");
        assert_eq!(told[1], "x.yaml:1:4: a: `30` has no unit; expected 30s, 30m or another unit");
        assert_eq!(told[3], "x.yaml:3:1: c: there is no value; expected text");
        assert_eq!(told[4], "x.yaml:4:4: d: -1 is too little; expected a number from 0 to 1");
        assert!(
            told[6]
                .starts_with("x.yaml:6:1: f: there is no field `f` here; expected one of a, b, c, d, e, g")
        );
    }
}
