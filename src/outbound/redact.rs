//! What must not stand in a text: secrets, parts of them, and passwords in URLs.

use secrecy::{ExposeSecret, SecretString};
use url::Url;

/// A piece of a secret URL is taken out wherever it stands, if it has so many bytes.
const LEAST_PIECE: usize = 8;
/// Shorter secrets are left in: they would be found in words.
const LEAST_SECRET: usize = 4;

/// Secrets with their parts that are secrets too, the longest first: none hides in the rest of another.
pub struct Secrets(Vec<SecretString>);

impl Secrets {
    /// The secrets that are taken out.
    pub fn new(secrets: &[SecretString]) -> Secrets {
        let mut all: Vec<String> = Vec::new();
        for secret in secrets.iter().map(ExposeSecret::expose_secret) {
            all.push(secret.to_owned());
            all.extend(parts(secret));
        }
        all.retain(|part| part.len() >= LEAST_SECRET);
        all.sort_by_key(|part| std::cmp::Reverse(part.len()));
        Secrets(all.into_iter().map(SecretString::from).collect())
    }

    /// The text with `***` where a secret stood.
    pub fn redact(&self, text: &str) -> String {
        let secrets = self.0.iter().map(ExposeSecret::expose_secret);
        secrets.fold(text.to_owned(), |text, secret| text.replace(secret, "***"))
    }
}

/// Of a URL what follows the host, and its long pieces; of `Bearer abc` what follows the scheme.
fn parts(secret: &str) -> Vec<String> {
    let url = Url::parse(secret).ok().filter(|url| matches!(url.scheme(), "http" | "https"));
    let Some(url) = url else {
        let value = secret.trim().split_once(char::is_whitespace).map(|(_, value)| value.trim().to_owned());
        return value.into_iter().collect();
    };
    let path = url.path().to_owned();
    let whole = url.query().map_or_else(|| path.clone(), |query| format!("{path}?{query}"));
    let pieces = whole.split(['/', '?', '&', '=']).filter(|piece| piece.len() >= LEAST_PIECE);
    let mut parts: Vec<String> = pieces.map(str::to_owned).collect();
    parts.extend([whole, path]);
    parts
}

/// A URL without user and password.
pub fn url(text: &str) -> String {
    match Url::parse(text) {
        Ok(mut url) => {
            // Both fail only for URLs that have no host, and so no password either.
            let _ = url.set_username("");
            let _ = url.set_password(None);
            url.to_string()
        }
        Err(_) => "(unreadable URL)".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn redacted(secret: &str, text: &str) -> String {
        Secrets::new(&[SecretString::from(secret.to_owned())]).redact(text)
    }

    #[test]
    fn secrets_are_taken_out() {
        assert_eq!(redacted("abcd-secret", "key abcd-secret is unknown"), "key *** is unknown");
    }

    #[test]
    fn parts_of_secrets_are_taken_out() {
        let hook = "https://hooks.example.com/in/T0123456/B0123456?sig=abcdefgh";
        for (told, clean) in [
            ("no https://hooks.example.com/in/T0123456/B0123456?sig=abcdefgh", "no ***"),
            ("no POST /in/T0123456/B0123456?sig=abcdefgh here", "no POST *** here"),
            ("no /in/T0123456/B0123456 here", "no *** here"),
            ("B0123456 is revoked, in a word", "*** is revoked, in a word"),
            ("abcdefgh does not sign", "*** does not sign"),
        ] {
            assert_eq!(redacted(hook, told), clean);
        }
        assert_eq!(redacted("https://hooks.example.com/", "GET / and /"), "GET / and /");
        assert_eq!(redacted("Bearer abc-def", "abc-def is unknown"), "*** is unknown");
    }

    #[test]
    fn urls_are_told_without_their_passwords() {
        assert_eq!(url("http://ada:secret@shop.example/a?b=c"), "http://shop.example/a?b=c");
        assert_eq!(url("no url"), "(unreadable URL)");
    }
}
