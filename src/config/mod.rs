//! Reads policies and the daemon's configuration: files → trees with places → validated types. Nothing
//! starts before a file is read whole, and all of its problems are told at once.

mod access;
mod adapters;
mod bake;
mod daemon;
mod decode;
mod files;
mod guardrail;
mod kinds;
mod metric;
mod notifiers;
mod policy;
mod problem;
mod schema;
mod targets;
pub mod templates;
mod values;
mod warnings;
mod yaml;

pub use access::{Authentication, OidcConfig, TlsConfig, is_safe_url};
pub use daemon::{Config, EngineConfig, StoreConfig, load_config, parse_config};
pub use files::{check_policies, load_policy};
pub use policy::parse_policy;
pub use problem::{Mark, Problem, Problems};
pub use schema::policy_schema;
pub use warnings::policy_warnings;
pub use yaml::MAX_BYTES;
