//! Signatures, and texts as parts of URLs.

use hmac::{Hmac, KeyInit, Mac};
use secrecy::{ExposeSecret, SecretString};
use sha2::Sha256;

/// The HMAC-SHA256 of the parts, one after the other, in hexadecimal digits.
///
/// # Errors
/// Never: a key may have any length.
pub fn signature(key: &SecretString, parts: &[&[u8]]) -> Result<String, String> {
    let mut mac = Hmac::<Sha256>::new_from_slice(key.expose_secret().as_bytes())
        .map_err(|error| format!("the key cannot be used: {error}"))?;
    for part in parts {
        mac.update(part);
    }
    Ok(hexadecimal(&mac.finalize().into_bytes()))
}

/// Two digits a byte.
pub fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// For a part of a URL: everything but letters, digits and `-._~` is escaped.
pub fn escape(text: &str) -> String {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signatures_are_those_of_the_standard() {
        // RFC 4231, test case 2.
        let key = SecretString::from("Jefe".to_owned());
        let wanted = "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843";
        for parts in [&[&b"what do ya want for nothing?"[..]][..], &[b"what do ya ", b"want for nothing?"]] {
            assert_eq!(signature(&key, parts).unwrap(), wanted);
        }
    }

    #[test]
    fn parts_of_urls_are_escaped() {
        assert_eq!(escape("1.0/../a b%é"), "1.0%2F..%2Fa%20b%25%C3%A9");
    }
}
