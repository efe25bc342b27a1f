//! The pure core: what Serin decides, without I/O, clocks or randomness.
//!
//! `now` and the measured time are arguments. Everything here is a function of its inputs, so that a
//! decision can be made again from what was stored.

pub mod access;
pub mod alert;
pub mod arms;
pub mod calendar;
pub mod carried;
pub mod counter;
pub mod declaration;
pub mod found;
pub mod freeze;
pub mod gate;
pub mod idle;
pub mod ids;
pub mod incident;
pub mod judge;
pub mod limit;
pub mod metric;
pub mod notice;
pub mod policy;
pub mod pools;
pub mod problem;
pub mod reason;
pub mod respec;
pub mod rollout;
pub mod routing;
pub mod secret;
pub mod source;
pub mod spec;
pub mod split;
pub mod target;
pub mod time;
pub mod words;
