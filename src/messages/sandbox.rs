//! Renders templates that others wrote, within bounds. Fuel ends loops and the writer bounds what comes
//! out; both see nothing of texts that double inside an expression. So a template may take what a notice
//! has apart and write it, and not build texts or lists: the operators and blocks for that are refused.

use std::fmt;
use std::io;

use minijinja::value::Serde;
use minijinja::{Environment, Error, ErrorKind, UndefinedBehavior, filters, tests};
use serde::Serialize;

use super::fields::FIELDS;

/// Largest template, in bytes.
pub const MOST_TEMPLATE: usize = 8 * 1024;
/// Largest text that a template may give, in bytes.
pub const MOST_OUTPUT: usize = 16 * 1024;
/// Instructions of one rendering.
const FUEL: u64 = 50_000;
/// Blocks that are known here.
const BLOCKS: &[&str] = &["if", "elif", "else", "endif", "for", "endfor", "set"];
const HINT: &str = "docs/messages.md has the fields and what templates may do";

/// What is wrong with a template.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TemplateProblem {
    /// What is wrong.
    pub message: String,
    /// What would be right.
    pub expected: String,
}

impl fmt::Display for TemplateProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}; expected {}", self.message, self.expected)
    }
}

impl std::error::Error for TemplateProblem {}

fn problem(message: String, expected: impl Into<String>) -> TemplateProblem {
    TemplateProblem { message, expected: expected.into() }
}

pub(super) fn render<T: Serialize>(source: &str, fields: &T) -> Result<String, TemplateProblem> {
    if source.len() > MOST_TEMPLATE {
        return Err(problem(
            format!("the template has {} bytes", source.len()),
            format!("at most {MOST_TEMPLATE}"),
        ));
    }
    allowed(source)?;
    let environment = environment();
    let template = environment.template_from_str(source).map_err(|error| told(&error))?;
    unknown_fields(&template.undeclared_variables(true))?;
    let mut out = Bounded::default();
    template.render_captured_to(Serde(fields), &mut out).map_err(|error| told(&error))?;
    String::from_utf8(out.bytes).map_err(|_| problem("the text is not UTF-8".to_owned(), HINT))
}

/// Filters and tests that give no more than they get.
fn environment() -> Environment<'static> {
    let mut environment = Environment::empty();
    environment.set_undefined_behavior(UndefinedBehavior::Strict);
    environment.set_fuel(Some(FUEL));
    environment.set_recursion_limit(32);
    environment.add_filter("lower", filters::lower);
    environment.add_filter("upper", filters::upper);
    environment.add_filter("title", filters::title);
    environment.add_filter("capitalize", filters::capitalize);
    environment.add_filter("trim", filters::trim);
    environment.add_filter("length", filters::length);
    environment.add_filter("default", filters::default);
    environment.add_filter("first", filters::first);
    environment.add_filter("last", filters::last);
    environment.add_filter("tojson", filters::tojson);
    environment.add_filter("urlencode", filters::urlencode);
    environment.add_test("defined", tests::is_defined);
    environment.add_test("none", tests::is_none);
    environment
}

/// Refuses what could build a text or list that nothing bounds.
fn allowed(source: &str) -> Result<(), TemplateProblem> {
    let mut rest = source;
    while let Some(start) = rest.find('{') {
        let code = &rest[start..];
        if let Some(comment) = code.strip_prefix("{#") {
            let Some(end) = comment.find("#}") else { return Ok(()) };
            rest = &comment[end + 2..];
        } else if let Some(block) = code.strip_prefix("{%") {
            rest = expression(block, "%}", true)?;
        } else if let Some(value) = code.strip_prefix("{{") {
            rest = expression(value, "}}", false)?;
        } else {
            rest = &code[1..];
        }
    }
    Ok(())
}

/// Looks through an expression or block up to its end, and gives what follows.
fn expression<'a>(code: &'a str, end: &str, is_block: bool) -> Result<&'a str, TemplateProblem> {
    let bytes = code.as_bytes();
    let (mut at, mut quote, mut before) = (0, None, b' ');
    let mut assigns = false;
    let length = loop {
        let Some(&byte) = bytes.get(at) else { break bytes.len() };
        match quote {
            Some(mark) => {
                if byte == b'\\' {
                    at += 1;
                } else if byte == mark {
                    quote = None;
                }
            }
            None if bytes[at..].starts_with(end.as_bytes()) => break at,
            None => {
                match byte {
                    b'\'' | b'"' => quote = Some(byte),
                    b'~' | b'*' | b'+' | b'{' => return Err(builds(&(byte as char).to_string())),
                    b'[' if !(before.is_ascii_alphanumeric() || b"_)]".contains(&before)) => {
                        return Err(builds("["));
                    }
                    b'=' => assigns = true,
                    _ => {}
                }
                before = byte;
            }
        }
        at += 1;
    };
    if is_block {
        let inside = code[..length].trim_start_matches(['-', '+']).trim_start();
        let name: String = inside.chars().take_while(char::is_ascii_alphabetic).collect();
        if !BLOCKS.contains(&name.as_str()) || (name == "set" && !assigns) {
            let message = match name.as_str() {
                "set" => "`{% set %}` without `=` cannot be used in templates of messages".to_owned(),
                _ => format!("`{{% {name} %}}` cannot be used in templates of messages"),
            };
            return Err(problem(message, format!("one of {}", BLOCKS.join(", "))));
        }
    }
    Ok(code.get(length + end.len()..).unwrap_or_default())
}

fn builds(operator: &str) -> TemplateProblem {
    problem(
        format!("`{operator}` builds a value, which templates of messages may not do"),
        "the parts written one after the other, such as `{{ target }} {{ version }}`",
    )
}

fn unknown_fields(used: &std::collections::HashSet<String>) -> Result<(), TemplateProblem> {
    let mut used: Vec<&str> = used.iter().map(String::as_str).collect();
    used.sort_unstable();
    for path in used {
        let (name, inner) = path.split_once('.').unwrap_or((path, ""));
        let Some((_, parts)) = FIELDS.iter().find(|(known, _)| *known == name) else {
            let names: Vec<&str> = FIELDS.iter().map(|(name, _)| *name).collect();
            return Err(problem(
                format!("there is no field `{}`", name.escape_debug()),
                format!("one of {}", names.join(", ")),
            ));
        };
        if !inner.is_empty() && !parts.contains(&inner) {
            let expected = match parts {
                [] => format!("`{name}` alone"),
                parts => format!("one of {}", parts.join(", ")),
            };
            return Err(problem(format!("`{name}` has no field `{}`", inner.escape_debug()), expected));
        }
    }
    Ok(())
}

/// An error of the engine in words. Its source is what is told for failed writes.
fn told(error: &Error) -> TemplateProblem {
    let place = error.line().map_or(String::new(), |line| format!(" (line {line} of the template)"));
    match error.kind() {
        ErrorKind::OutOfFuel => problem("the template takes too long".to_owned(), "fewer and shorter loops"),
        ErrorKind::WriteFailure => problem(
            "the template gives too much text".to_owned(),
            format!("a text of at most {MOST_OUTPUT} bytes"),
        ),
        ErrorKind::UndefinedError => problem(format!("a field that is not there is used{place}"), HINT),
        kind => {
            let detail = error.detail().map_or(String::new(), |detail| format!(": {detail}"));
            problem(format!("{kind}{detail}{place}"), HINT)
        }
    }
}

#[derive(Default)]
struct Bounded {
    bytes: Vec<u8>,
}

impl io::Write for Bounded {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.bytes.len() + bytes.len() > MOST_OUTPUT {
            return Err(io::Error::other("too much text"));
        }
        self.bytes.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
