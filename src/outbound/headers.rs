//! Headers whose values are secrets.

use reqwest::header::{HeaderName, HeaderValue};
use secrecy::{ExposeSecret, SecretString};

/// The name of a header.
///
/// # Errors
/// A sentence, if it has characters that such a name cannot have.
pub fn name(text: &str) -> Result<HeaderName, String> {
    HeaderName::try_from(text).map_err(|_| format!("{text:?} is not the name of a header"))
}

/// A header's value, a secret after `prefix`.
///
/// # Errors
/// A sentence that says which value is wrong, never what it is.
pub fn secret(name: &str, prefix: &str, secret: &SecretString) -> Result<HeaderValue, String> {
    let mut value = HeaderValue::from_str(&format!("{prefix}{}", secret.expose_secret()))
        .map_err(|_| format!("the secret for {name} has characters that a header cannot have"))?;
    value.set_sensitive(true);
    Ok(value)
}
