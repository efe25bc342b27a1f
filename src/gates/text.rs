//! Small texts: placeholders, signatures, and what is shown of what came back.

use hmac::{Hmac, KeyInit, Mac};
use secrecy::{ExposeSecret, SecretString};
use sha2::Sha256;

use crate::core::target::Weight;
use crate::ports::GateRequest;

/// What may stand in place of `{name}`.
pub(super) fn placeholders(request: &GateRequest) -> [(&'static str, String); 5] {
    [
        ("version", request.version.clone()),
        ("stable_version", request.stable_version.clone().unwrap_or_default()),
        ("target", request.target.clone()),
        ("rollout", request.rollout.0.clone()),
        ("weight", weight(request.weight)),
    ]
}

/// A weight in percent, without a sign: `5`, `0.5`.
pub(super) fn weight(weight: Weight) -> String {
    format!("{}", f64::from(weight.0) / 100.0)
}

/// `text` with every `{name}` replaced. What is put in is not looked at again.
pub(super) fn fill(text: &str, values: &[(&str, String)]) -> String {
    let mut filled = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('{') {
        filled.push_str(&rest[..at]);
        rest = &rest[at..];
        let known = values
            .iter()
            .find(|(name, _)| rest[1..].strip_prefix(*name).is_some_and(|after| after.starts_with('}')));
        match known {
            Some((name, value)) => {
                filled.push_str(value);
                rest = &rest[name.len() + 2..];
            }
            None => {
                filled.push('{');
                rest = &rest[1..];
            }
        }
    }
    filled.push_str(rest);
    filled
}

/// For a part of a URL: everything but letters, digits and `-._~` is escaped.
pub(super) fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                escaped.push(char::from(byte))
            }
            _ => escaped.push_str(&format!("%{byte:02X}")),
        }
    }
    escaped
}

/// `sha256=` and the HMAC-SHA256 of `body` in hexadecimal digits.
///
/// # Errors
/// Never: a key may have any length.
pub(super) fn signature(secret: &SecretString, body: &[u8]) -> Result<String, String> {
    let key = secret.expose_secret().as_bytes();
    let mut mac =
        Hmac::<Sha256>::new_from_slice(key).map_err(|error| format!("the key cannot be used: {error}"))?;
    mac.update(body);
    let digest = mac.finalize().into_bytes();
    Ok(format!("sha256={}", hexadecimal(&digest)))
}

/// Two digits a byte.
pub(super) fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The head of something that came from outside, in one line.
pub(super) fn head(text: &str) -> String {
    const MOST: usize = 300;
    let mut head: String = text.chars().take(MOST).flat_map(char::escape_debug).collect();
    if text.chars().nth(MOST).is_some() {
        head.push('…');
    }
    head
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn placeholders_are_filled_once() {
        let values = [("version", "{target}".to_owned()), ("target", "shop".to_owned())];
        assert_eq!(
            fill("--v={version} {target}/{other} {{version} {", &values),
            "--v={target} shop/{other} {{target} {"
        );
        assert_eq!(escape("1.0/../a b%é"), "1.0%2F..%2Fa%20b%25%C3%A9");
    }

    #[test]
    fn signatures_are_those_of_the_standard() {
        // RFC 4231, test case 2.
        let signed = signature(&"Jefe".to_owned().into(), b"what do ya want for nothing?").unwrap();
        assert_eq!(signed, "sha256=5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843");
    }

    #[test]
    fn what_came_back_is_one_short_line() {
        assert_eq!(head("a\nb\u{1b}"), "a\\nb\\u{1b}");
        assert!(head(&"x".repeat(1000)).chars().count() == 301);
    }
}
