//! Reads YAML into a tree that keeps the place of every node. A small and strict part of YAML: one
//! document, text keys, no anchors, aliases or tags, and bounds on size, depth and nodes.

use std::collections::HashMap;

use saphyr_parser::{Event, Parser, ScalarStyle, Span};

use super::problem::{Mark, Report};

/// Larger files are refused, in bytes.
pub const MAX_BYTES: usize = 1024 * 1024;
const MAX_DEPTH: usize = 32;
const MAX_NODES: usize = 100_000;

/// A value and where it stands.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Node {
    pub(super) mark: Mark,
    pub(super) kind: Kind,
}

/// What a node is.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Kind {
    /// Nothing, `~` or `null`.
    Null,
    /// Text as it is written; `plain` if it has no quotes.
    Scalar { text: String, plain: bool },
    /// `- a` or `[a]`.
    List(Vec<Node>),
    /// `a: b` or `{a: b}`, in the file's order, each key once.
    Map(Vec<Entry>),
}

/// One line of a mapping.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Entry {
    pub(super) key: String,
    pub(super) mark: Mark,
    pub(super) value: Node,
}

/// Reads a file. `None` if there is no tree; what is wrong stands in the report in any case.
pub(super) fn read(bytes: &[u8], report: &Report) -> Option<Node> {
    read_as(bytes, report, 0)
}

/// The same for the file of that number in the report.
pub(super) fn read_as(bytes: &[u8], report: &Report, file: usize) -> Option<Node> {
    let whole = Mark { file, ..Mark::default() };
    if bytes.len() > MAX_BYTES {
        report.add(
            whole,
            "",
            format!("the file has {} bytes, which is too large", bytes.len()),
            "at most 1 MiB",
        );
        return None;
    }
    let text = match std::str::from_utf8(bytes) {
        Ok(text) => text,
        Err(error) => {
            let place = Mark { file, ..place_of(bytes, error.valid_up_to()) };
            report.add(place, "", "the file is not UTF-8", "text in UTF-8");
            return None;
        }
    };
    let mut builder = Builder { report, file, open: Vec::new(), root: None, nodes: 0 };
    for event in Parser::new_from_str(text.strip_prefix('\u{feff}').unwrap_or(text)) {
        match event {
            Ok((event, span)) => builder.take(event, span).ok()?,
            Err(error) => {
                let mark = Mark { file, ..mark(error.marker().line(), error.marker().col()) };
                report.add(mark, "", format!("this is not valid YAML: {}", error.info()), "");
                return None;
            }
        }
    }
    if builder.root.is_none() {
        report.add(whole, "", "the file is empty", "a mapping of fields, such as `name: standard`");
    }
    builder.root
}

fn mark(line: usize, column_from_0: usize) -> Mark {
    Mark { line: line.max(1), column: column_from_0 + 1, file: 0 }
}

fn place_of(bytes: &[u8], offset: usize) -> Mark {
    let before = &bytes[..offset];
    let line = before.iter().filter(|b| **b == b'\n').count();
    let column = before.iter().rev().take_while(|b| **b != b'\n').count();
    mark(line + 1, column)
}

/// The reading stops here; the reason stands in the report.
struct Stop;

enum Open {
    List { mark: Mark, items: Vec<Node> },
    Map { mark: Mark, entries: Vec<Entry>, lines: HashMap<String, usize>, key: Option<(String, Mark)> },
}

struct Builder<'a> {
    report: &'a Report,
    file: usize,
    open: Vec<Open>,
    root: Option<Node>,
    nodes: usize,
}

impl Builder<'_> {
    fn take(&mut self, event: Event<'_>, span: Span) -> Result<(), Stop> {
        let mark = Mark { file: self.file, ..mark(span.start.line(), span.start.col()) };
        match event {
            Event::Nothing | Event::StreamStart | Event::StreamEnd | Event::DocumentEnd => Ok(()),
            Event::DocumentStart(_) => {
                if self.root.is_some() {
                    return self.stop(mark, "a second document begins here", "one document a file");
                }
                Ok(())
            }
            Event::Alias(_) => self.stop(mark, "aliases (`*name`) are not read", "the value itself"),
            Event::Scalar(text, style, anchor, tag) => {
                self.plain_node(mark, anchor, tag.is_some())?;
                let plain = style == ScalarStyle::Plain;
                let kind = if plain && matches!(&*text, "" | "~" | "null" | "Null" | "NULL") {
                    Kind::Null
                } else {
                    Kind::Scalar { text: text.into_owned(), plain }
                };
                self.node(Node { mark, kind })
            }
            Event::SequenceStart(anchor, tag) => {
                self.plain_node(mark, anchor, tag.is_some())?;
                self.begin(mark, Open::List { mark, items: Vec::new() })
            }
            Event::MappingStart(anchor, tag) => {
                self.plain_node(mark, anchor, tag.is_some())?;
                self.begin(mark, Open::Map { mark, entries: Vec::new(), lines: HashMap::new(), key: None })
            }
            Event::SequenceEnd | Event::MappingEnd => self.end(mark),
        }
    }

    /// Counts the node, and refuses what makes YAML surprising.
    fn plain_node(&mut self, mark: Mark, anchor: usize, tagged: bool) -> Result<(), Stop> {
        self.nodes += 1;
        if self.nodes > MAX_NODES {
            return self.stop(mark, "the file has too many values", "at most 100,000");
        }
        if anchor != 0 {
            return self.stop(mark, "anchors (`&name`) are not read", "the value without it");
        }
        if tagged {
            return self.stop(mark, "tags (`!name`) are not read", "the value without it");
        }
        Ok(())
    }

    fn begin(&mut self, mark: Mark, open: Open) -> Result<(), Stop> {
        if let Some(Open::Map { key: None, .. }) = self.open.last() {
            return self.stop(mark, "a list or mapping stands where a key must be", "a name as the key");
        }
        if self.open.len() >= MAX_DEPTH {
            return self.stop(mark, "the file is nested too deeply", "at most 32 levels");
        }
        self.open.push(open);
        Ok(())
    }

    fn end(&mut self, mark: Mark) -> Result<(), Stop> {
        match self.open.pop() {
            Some(Open::List { mark, items }) => self.node(Node { mark, kind: Kind::List(items) }),
            Some(Open::Map { mark, entries, .. }) => self.node(Node { mark, kind: Kind::Map(entries) }),
            None => self.stop(mark, "this is not valid YAML: an end without a beginning", ""),
        }
    }

    /// Puts a finished node where it belongs; a scalar may be the next key.
    fn node(&mut self, node: Node) -> Result<(), Stop> {
        match self.open.last_mut() {
            None => self.root = Some(node),
            Some(Open::List { items, .. }) => items.push(node),
            Some(Open::Map { entries, lines, key, .. }) => match key.take() {
                Some((key, mark)) => match lines.get(&key) {
                    Some(first) => self.report.add(
                        mark,
                        "",
                        format!("the field `{key}` is there twice; it was first set in line {first}"),
                        "each field once",
                    ),
                    None => {
                        lines.insert(key.clone(), mark.line);
                        entries.push(Entry { key, mark, value: node });
                    }
                },
                None => match node.kind {
                    Kind::Scalar { text, .. } => *key = Some((text, node.mark)),
                    _ => return self.stop(node.mark, "a key is missing here", "a name as the key"),
                },
            },
        }
        Ok(())
    }

    fn stop(&self, mark: Mark, message: &str, expected: &str) -> Result<(), Stop> {
        self.report.add(mark, "", message, expected);
        Err(Stop)
    }
}

#[cfg(test)]
mod tests {
    use super::super::problem::Problems;
    use super::*;

    fn tree(text: &str) -> Result<Node, Problems> {
        let report = Report::new("x.yaml");
        let node = read(text.as_bytes(), &report);
        report.finish(node)
    }

    fn refused(text: &str) -> String {
        tree(text).unwrap_err().to_string()
    }

    #[test]
    fn every_node_keeps_its_place() {
        let node = tree("# comment\nname: ä b\nsteps:\n  - weight: 5%\n    min: ~\n").unwrap();
        let Kind::Map(entries) = node.kind else { panic!("{node:?}") };
        assert_eq!((entries[0].mark.line, entries[0].mark.column), (2, 1));
        assert_eq!((entries[0].value.mark.line, entries[0].value.mark.column), (2, 7));
        let Kind::List(steps) = &entries[1].value.kind else { panic!("{entries:?}") };
        let Kind::Map(step) = &steps[0].kind else { panic!("{steps:?}") };
        assert_eq!((step[0].value.mark.line, step[0].value.mark.column), (4, 13));
        assert_eq!(step[1].value.kind, Kind::Null);
        assert_eq!((step[1].mark.line, step[1].mark.column), (5, 5));
    }

    #[test]
    fn what_makes_yaml_surprising_is_refused_with_its_line() {
        for (text, line, says) in [
            ("a: 1\nb: 2\na: 3\n", 3, "`a` is there twice; it was first set in line 1"),
            ("a: &x 1\n", 1, "anchors"),
            ("a: 1\nb: *x\n", 2, "not valid YAML"),
            ("a: !!str 1\n", 1, "tags"),
            ("a: 1\n---\nb: 2\n", 2, "a second document"),
            ("? [a]\n: 1\n", 1, "stands where a key must be"),
            ("a: [1\n", 2, "not valid YAML"),
            ("a: 1\n b: 2\n", 2, "not valid YAML"),
        ] {
            let found = refused(text);
            assert!(found.contains(says) && found.contains(&format!("x.yaml:{line}:")), "{text}: {found}");
        }
        assert!(refused("").contains("empty"));
        assert!(refused(&"[".repeat(40)).contains("nested too deeply"));
        assert!(refused(&"- ".repeat(40)).contains("nested too deeply"));
        assert!(refused(&"a".repeat(MAX_BYTES + 1)).contains("too large"));
        assert!(refused(&format!("[{}]", "1,".repeat(MAX_NODES + 1))).contains("too many values"));
    }

    #[test]
    fn a_file_that_is_not_utf8_is_refused_with_its_place() {
        let report = Report::new("x.yaml");
        assert!(read(b"a: 1\nb: \xff\n", &report).is_none());
        let found = report.finish::<()>(None).unwrap_err().to_string();
        assert_eq!(found, "x.yaml:2:4: the file is not UTF-8; expected text in UTF-8");
    }
}
