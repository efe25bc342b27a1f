//! The whole engine on a virtual clock, with ports that fail by a seed.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod invariants;
#[path = "../testkit/mod.rs"]
mod testkit;
mod world;
