//! Which series a metric counts.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A structured selector of series: no PromQL text, so that labels can be added and escaped.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Selector {
    /// Metric name.
    pub metric: String,
    /// All must match.
    pub matchers: Vec<Matcher>,
}

impl fmt::Display for Selector {
    /// As PromQL has it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.metric)?;
        if self.matchers.is_empty() {
            return Ok(());
        }
        let matchers = self.matchers.iter().map(|matcher| {
            let op = match matcher.op {
                MatchOp::Equal => "=",
                MatchOp::NotEqual => "!=",
                MatchOp::Matches => "=~",
                MatchOp::NotMatches => "!~",
            };
            format!("{}{op}{:?}", matcher.label, matcher.value)
        });
        write!(f, "{{{}}}", matchers.collect::<Vec<_>>().join(","))
    }
}

/// One label matcher.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Matcher {
    /// Label name.
    pub label: String,
    /// How the value is compared.
    pub op: MatchOp,
    /// The value, unescaped.
    pub value: String,
}

/// How a label is compared, as PromQL has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum MatchOp {
    /// `=`
    #[serde(rename = "=")]
    Equal,
    /// `!=`
    #[serde(rename = "!=")]
    NotEqual,
    /// `=~`, anchored at both ends.
    #[serde(rename = "=~")]
    Matches,
    /// `!~`
    #[serde(rename = "!~")]
    NotMatches,
}
