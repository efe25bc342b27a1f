//! Builders, fakes and the launchers of real components. Each test binary uses a part of it.
#![allow(dead_code, missing_docs)]

pub mod alertmanager;
pub mod builders;
pub mod channels;
pub mod dashboards;
pub mod ear;
pub mod envoy;
pub mod fakes;
pub mod haproxy;
pub mod many;
pub mod process;
pub mod prometheus;
pub mod receivers;
pub mod serin;
pub mod smtpd;
pub mod stage;
pub mod theatre;
pub mod victoria;
pub mod viewers;
pub mod wait;
