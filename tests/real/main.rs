//! Tests with real Envoy, HAProxy, Prometheus, VictoriaMetrics, Alertmanager and an SMTP server.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod bad_input;
mod both_arms;
mod connections;
mod counts;
mod dashboards;
mod data;
mod envoy;
mod gates;
mod haproxy;
mod history;
mod kill;
mod latency;
mod lost;
mod notifiers;
mod openapi;
mod outage;
mod page;
mod pages;
mod pools;
mod providers;
mod ready;
mod release;
mod reload;
mod reload_adapters;
mod rollouts;
mod routers;
mod templates;
#[path = "../testkit/mod.rs"]
mod testkit;
mod victoria;
