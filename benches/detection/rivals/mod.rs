//! How the peers judge, each written from its description, for comparison with Serin.
//!
//! Every rule is brought to one form: window by window it gives a score, and it sounds the alarm when the
//! score reaches a threshold. So all of them can be tuned to the same rate of false alarms.

pub mod dirichlet;
pub mod limits;
pub mod mann_whitney;
pub mod msprt;
pub mod z_test;

/// Requests of one arm in one window or more.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Count {
    pub bad: u64,
    pub total: u64,
}

impl Count {
    pub fn add(&mut self, other: Count) {
        self.bad += other.bad;
        self.total += other.total;
    }

    /// `None` without requests.
    pub fn share(&self) -> Option<f64> {
        (self.total > 0).then(|| self.bad as f64 / self.total as f64)
    }
}
