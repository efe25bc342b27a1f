//! Pure mathematics: nothing of ours is imported here.
//!
//! All transcendental functions come from the `libm` crate, so that the same counts give the same bits
//! on every machine. Evidence is kept as natural logarithms of e-values; by Ville's inequality an
//! e-process that starts at 1 ever reaches 1/α with probability at most α if its null hypothesis holds,
//! however often one looks.

pub mod best_block;
pub mod block;
pub mod combine;
pub mod coupling;
pub mod dispersion;
pub mod gate;
pub mod gauge;
pub mod histogram;
pub mod linear;
pub mod mixture;
pub mod planner;
pub mod proportion;
pub mod ratio;
pub mod share;
pub mod special;
pub mod trend;
pub mod without;
