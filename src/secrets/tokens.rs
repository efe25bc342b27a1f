//! Serin's own tokens: made, looked at, hashed.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rand::TryRng;
use rand::rngs::SysRng;
use secrecy::SecretString;
use sha2::{Digest, Sha256};
use thiserror::Error;

use crate::core::access::TokenHash;

/// What every token begins with, so that programs that look for leaked secrets find them.
pub const PREFIX: &str = "serin_";

/// The machine has no random numbers.
#[derive(Debug, Error)]
#[error("the machine gives no random numbers: {0}")]
pub struct NoRandomness(String);

/// A new token: 256 random bits.
///
/// # Errors
/// [`NoRandomness`] if the machine gives none.
pub fn generate() -> Result<SecretString, NoRandomness> {
    let mut bits = [0_u8; 32];
    SysRng.try_fill_bytes(&mut bits).map_err(|error| NoRandomness(error.to_string()))?;
    Ok(SecretString::from(format!("{PREFIX}{}", URL_SAFE_NO_PAD.encode(bits))))
}

/// What a token is stored as and looked up by.
///
/// One round of SHA-256 is right here, and a slow hash for passwords would be wrong: a token has 256
/// random bits, so there is no list of likely ones to try, and it is looked up at every request. Because
/// the hash is looked up and not the token compared, how long that takes tells nothing of a token that
/// could be used to come nearer to it.
pub fn hash(token: &str) -> TokenHash {
    let digest = Sha256::digest(token.as_bytes());
    TokenHash(digest.iter().map(|byte| format!("{byte:02x}")).collect())
}

#[cfg(test)]
mod tests {
    use secrecy::ExposeSecret;

    use super::*;

    #[test]
    fn tokens_differ_and_have_256_bits() {
        let (a, b) = (generate().unwrap(), generate().unwrap());
        assert_ne!(a.expose_secret(), b.expose_secret());
        let random = a.expose_secret().strip_prefix(PREFIX).unwrap();
        assert_eq!(URL_SAFE_NO_PAD.decode(random).unwrap().len(), 32);
        assert!(!format!("{a:?}").contains(random));
    }

    #[test]
    fn the_hash_is_sha_256() {
        let empty = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
        assert_eq!(hash("").0, empty);
        assert!(!format!("{:?}", hash("")).contains("e3b0"));
    }
}
