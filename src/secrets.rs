//! Secrets come from the environment or from files, never from the configuration itself; and Serin's own
//! tokens.

pub mod tokens;

use std::path::PathBuf;

use secrecy::SecretString;
use thiserror::Error;

pub use crate::core::secret::SecretSource;

/// Why a secret could not be read; says where, never what.
#[derive(Debug, Error)]
pub enum SecretError {
    /// The variable is not set, or not text.
    #[error("the environment variable {0} is not set")]
    Env(String),
    /// The file could not be read.
    #[error("the secret file {path} cannot be read: {source}")]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
}

impl SecretSource {
    /// Reads the secret.
    ///
    /// # Errors
    /// [`SecretError`] if it is not there.
    pub fn read(&self) -> Result<SecretString, SecretError> {
        match self {
            SecretSource::Env(name) => {
                std::env::var(name).map(SecretString::from).map_err(|_| SecretError::Env(name.clone()))
            }
            SecretSource::File(path) => std::fs::read_to_string(path)
                .map(|text| SecretString::from(text.trim_end().to_owned()))
                .map_err(|source| SecretError::File { path: path.clone(), source }),
        }
    }
}
