//! Tests that need no other program.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod access;
mod alerts;
mod api;
mod away;
mod committing;
mod config;
mod core_words;
mod counts;
mod dashboards;
mod data;
mod demo;
mod documents;
mod doors;
mod engine;
mod found;
mod gates;
mod held;
mod import_rules;
mod judge;
mod montecarlo;
mod notifiers;
mod outbox;
mod policies;
mod pools;
mod providers;
mod recorded;
mod rivals;
mod routers;
mod routing;
mod store;
#[path = "../testkit/mod.rs"]
mod testkit;
mod transition;
