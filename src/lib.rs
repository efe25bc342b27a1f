//! Serin judges a new version against the running one on live metrics, and moves traffic by what it
//! finds. The map of the modules is in ARCHITECTURE.md.

#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic))]

pub mod api;
pub mod cli;
pub mod clock;
pub mod config;
pub mod contract;
pub mod core;
pub mod demo;
pub mod engine;
pub mod gates;
pub mod messages;
pub mod montecarlo;
pub mod notifiers;
pub mod outbound;
pub mod ports;
pub mod providers;
pub mod routers;
pub mod secrets;
pub mod stats;
pub mod store;
pub mod telemetry;
