//! Where secrets are: never what they are.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// Where a secret is read from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SecretSource {
    /// An environment variable of the daemon.
    Env(String),
    /// A file; white space at the end is dropped.
    File(PathBuf),
}
