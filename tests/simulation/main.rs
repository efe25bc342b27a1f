//! The whole engine on a virtual clock, with ports that fail by a seed.
//!
//! `SEEDS=N` chooses how many seeds are run, from `FIRST=N` on; `SEED=N` plays one of them again and tells its story.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod checks;
mod commits;
mod dice;
mod drive;
mod fakes;
mod faults;
mod invariants;
mod life;
mod observations;
mod peace;
mod people;
mod provider;
mod router;
mod run;
mod scenario;
mod seeds;
mod sleep;
mod store;
#[path = "../testkit/mod.rs"]
mod testkit;
mod truths;
mod watch;
mod world;
