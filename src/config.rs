//! Reads policies and the daemon's configuration: files → trees with places → validated types. Nothing
//! starts before a file is read whole, and all of its problems are told at once.

mod access;
mod adapters;
mod bake;
mod checks;
mod daemon;
mod decode;
mod extend;
mod files;
mod freezes;
mod gates;
mod guardrail;
mod hooks;
mod kinds;
mod metric;
mod notifiers;
mod people;
mod policy;
mod problem;
mod readers;
mod reading;
mod references;
mod reload;
mod routing;
mod schema;
mod selectors;
mod targets;
mod teams;
pub mod templates;
mod values;
mod warnings;
mod window;
mod write;
mod yaml;

pub use access::{Authentication, OidcConfig, TlsConfig, is_safe_url};
pub use daemon::{Config, EngineConfig, StoreConfig, load_config, parse_config};
pub use files::{PolicyFile, check_policies, check_policy_files, load_policy, resolved_policy};
pub use policy::parse_policy;
pub use problem::{Mark, Problem, Problems};
pub use references::{ProviderKind, References, RouterKind};
pub use reload::{Restart, Stamps, restarts, watched};
pub use schema::policy_schema;
pub use targets::{declared_name, parse_target};
pub use teams::Incoming;
pub use warnings::policy_warnings;
pub use yaml::MAX_BYTES;
