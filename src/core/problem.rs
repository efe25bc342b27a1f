//! One thing that is wrong with a declaration: where, and what would be right.

use std::fmt;

use serde::Serialize;

/// One thing that is wrong.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Problem {
    /// The file as it was named, or what else was read.
    pub file: String,
    /// Counts from 1; 0 if it concerns the whole file.
    pub line: usize,
    /// Counts from 1, in characters; 0 if it concerns the whole file.
    pub column: usize,
    /// Dotted path, such as `steps[1].weight`; empty for the whole file.
    pub field: String,
    /// What is wrong.
    pub message: String,
    /// What would be right; may be empty.
    pub expected: String,
}

impl Problem {
    /// One that concerns a field, or with an empty one the whole, without a line.
    pub fn of(file: impl Into<String>, field: impl Into<String>, message: impl Into<String>) -> Problem {
        Problem { file: file.into(), field: field.into(), message: message.into(), ..Problem::default() }
    }

    /// What is wrong, and what would be right.
    pub fn detail(&self) -> String {
        match self.expected.as_str() {
            "" => self.message.clone(),
            expected => format!("{}; expected {expected}", self.message),
        }
    }
}

impl fmt::Display for Problem {
    /// One line: `policies/x.yaml:12:5: steps[1].weight: what is wrong; expected what would be right`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.file)?;
        if self.line > 0 {
            write!(f, ":{}:{}", self.line, self.column)?;
        }
        if !self.field.is_empty() {
            write!(f, ": {}", self.field)?;
        }
        write!(f, ": {}", self.detail())
    }
}
