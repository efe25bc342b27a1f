//! Policies on made-up traffic: the traffic is what it says, and the figures are worth their name.

mod command;
mod draws;
mod hostile;
mod plans;
mod rollouts;
mod shapes;

use std::path::Path;

use serin::core::policy::Policy;

/// A policy of this repository.
fn policy(name: &str) -> Policy {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    serin::config::load_policy(root.join("policies").join(name)).unwrap()
}
