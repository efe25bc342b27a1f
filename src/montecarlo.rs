//! Policies tried out on made-up traffic: how often a harmless release is rolled back, how soon a bad one
//! is found.
//!
//! All randomness comes from a seed, by generators of our own that stay the same over versions of any
//! crate: the same seed gives the same figures, on however many threads.

pub mod hostile;
mod past;
pub mod plan;
pub mod random;
mod run;
mod share;
mod summary;
mod ticks;
mod told;
pub mod traffic;
mod walk;

pub use past::past;
pub use plan::plan;
pub use run::{Outcome, Runs, rollout, rollout_told, rollouts, rollouts_told};
pub use summary::{Share, Summary, Times};
pub use ticks::Ticks;
pub use told::{By, Told};
pub use walk::{Cause, Left};
