//! What a source noticed besides the counts. It is not stored with the observation: the transition takes it in.

use std::collections::BTreeSet;
use std::time::Duration;

/// The name under which the requests under way are noted: no metric's.
pub const ACTIVE_REQUESTS: &str = "(active requests)";

/// What a source noticed about one metric besides its counts.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Notes {
    /// About the canary.
    pub canary: ArmNotes,
    /// About the baseline.
    pub baseline: ArmNotes,
}

/// What a source noticed about one arm of a metric.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ArmNotes {
    /// The time between two samples of a series, learned from the samples' own times.
    pub spacing: Option<Duration>,
    /// What is known of the selectors of bad requests; `None` where nothing can be said.
    pub bad: Option<BadSeries>,
    /// Metrics pages of the arm that could not be read.
    pub unread: Option<Unread>,
    /// The arm's instances that the source lists, whether they answer or not; `None` where it lists none.
    pub listed: Option<Listed>,
    /// Requests under way.
    pub active: Option<f64>,
    /// Processes that were replaced since the last consumed window, and how many instances there are.
    pub processes: Option<Processes>,
}

/// Whether the selectors of bad requests match series of an arm whose requests are fresh.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BadSeries {
    /// They do.
    Present,
    /// They match nothing: the bad requests are read as 0.
    Absent,
}

/// Metrics pages that could not be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unread {
    /// So many could not be read.
    pub pages: u32,
    /// Of so many.
    pub of: u32,
    /// Why, of the first one.
    pub why: String,
}

/// The processes of an arm at one look.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Processes {
    /// Instances with fresh samples.
    pub instances: BTreeSet<String>,
    /// Of them, those whose process was replaced, or came anew, since the last look that was consumed.
    pub renewed: BTreeSet<String>,
    /// Of the renewed ones, those that were not there before: they may have replaced others, or be more.
    pub added: BTreeSet<String>,
}

/// The instances that a source lists for an arm.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Listed {
    /// So many.
    pub of: u32,
    /// So many of them answer.
    pub ready: u32,
    /// Those that do not, and never have since the rollout began.
    pub never: BTreeSet<String>,
}
