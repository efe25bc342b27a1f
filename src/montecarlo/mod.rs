//! Policies tried out on made-up traffic: how often a harmless release is rolled back, how soon a bad one
//! is found.
//!
//! All randomness comes from a seed, by generators of our own that stay the same over versions of any
//! crate: the same seed gives the same figures, on however many threads.

pub mod random;
mod ticks;
pub mod traffic;

pub use ticks::Ticks;
