//! What is wrong with a file: everything at once, each with its place and what would be right.

use std::cell::RefCell;
use std::fmt;

use serde::Serialize;

pub use crate::core::problem::Problem;

/// A place in a file. Lines and columns count from 1; line 0 means the whole file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Mark {
    /// The line.
    pub line: usize,
    /// The column, in characters.
    pub column: usize,
    /// Which of the files that are read together; 0 is the one that was named.
    pub file: usize,
}

/// All that is wrong, in the order of the files and lines; never empty when it is an error.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Problems(pub Vec<Problem>);

impl fmt::Display for Problems {
    /// One line a problem.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, problem) in self.0.iter().enumerate() {
            if index > 0 {
                writeln!(f)?;
            }
            write!(f, "{problem}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Problems {}

/// Gathers the problems of one file while it is read.
pub(super) struct Report {
    files: RefCell<Vec<String>>,
    problems: RefCell<Vec<Problem>>,
}

impl Report {
    pub(super) fn new(file: impl Into<String>) -> Report {
        Report { files: RefCell::new(vec![file.into()]), problems: RefCell::default() }
    }

    /// One more file that is read together with the first one; gives the number for [`Mark::file`].
    pub(super) fn also(&self, file: impl Into<String>) -> usize {
        let mut files = self.files.borrow_mut();
        files.push(file.into());
        files.len() - 1
    }

    /// Whether nothing was told yet.
    pub(super) fn is_clean(&self) -> bool {
        self.problems.borrow().is_empty()
    }

    pub(super) fn add(
        &self,
        mark: Mark,
        field: impl Into<String>,
        message: impl Into<String>,
        expected: impl Into<String>,
    ) {
        self.problems.borrow_mut().push(Problem {
            file: self.files.borrow().get(mark.file).cloned().unwrap_or_default(),
            line: mark.line,
            column: mark.column,
            field: one_line(field.into()),
            message: one_line(message.into()),
            expected: one_line(expected.into()),
        });
    }

    /// Takes over the problems of another file.
    pub(super) fn extend(&self, problems: Problems) {
        self.problems.borrow_mut().extend(problems.0);
    }

    /// `value` if nothing was wrong, else all problems. A value that is missing without a problem would
    /// be a fault of the reader itself; it is told rather than hidden.
    pub(super) fn finish<T>(self, value: Option<T>) -> Result<T, Problems> {
        if self.problems.borrow().is_empty() {
            if let Some(value) = value {
                return Ok(value);
            }
            self.add(Mark::default(), "", "the file could not be read, for no known reason", "");
        }
        let files = self.files.into_inner();
        let mut problems = self.problems.into_inner();
        // Those of this file first; those of the files that it names keep their order.
        problems.sort_by_key(|p| match files.iter().position(|file| *file == p.file) {
            Some(index) => (index, p.line, p.column),
            None => (files.len(), 0, 0),
        });
        Err(Problems(problems))
    }
}

/// What a file holds may go into a problem: it must not break the line, or fill the screen.
fn one_line(text: String) -> String {
    const MOST: usize = 1000;
    if text.chars().count() <= MOST && !text.contains(char::is_control) {
        return text;
    }
    let mut line = String::new();
    for c in text.chars().take(MOST) {
        if c.is_control() {
            line.extend(c.escape_default());
        } else {
            line.push(c);
        }
    }
    if text.chars().count() > MOST {
        line.push('…');
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_problem_is_one_line_with_its_place_and_what_would_be_right() {
        let report = Report::new("policies/x.yaml");
        report.add(
            Mark { line: 12, column: 5, file: 0 },
            "steps[1].weight",
            "10% is too little",
            "more than 25%",
        );
        report.add(Mark::default(), "", "the file is empty", "");
        let problems = report.finish::<()>(None).unwrap_err();
        assert_eq!(
            problems.to_string(),
            "policies/x.yaml: the file is empty\n\
             policies/x.yaml:12:5: steps[1].weight: 10% is too little; expected more than 25%"
        );
    }
    #[test]
    fn what_stands_in_the_file_cannot_break_the_line() {
        let report = Report::new("x.yaml");
        report.add(Mark { line: 1, column: 1, file: 0 }, "a\nb", "`1\r\n2` is wrong", "é".repeat(2000));
        let told = report.finish::<()>(None).unwrap_err().to_string();
        assert!(told.starts_with("x.yaml:1:1: a\\nb: `1\\r\\n2` is wrong; expected éé"), "{told}");
        assert!(told.lines().count() == 1 && told.chars().count() < 1100);
    }
}
