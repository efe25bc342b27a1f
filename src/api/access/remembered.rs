//! Tokens that were good a moment ago: a store that hangs must keep nobody from a rollback or a pause.

use std::collections::HashMap;
use std::sync::Mutex;
use std::time::Duration;

use super::lock;
use crate::core::access::{TokenHash, TokenRecord};

/// How long a token stays valid for urgent requests after the store last confirmed it.
const GOOD_FOR: Duration = Duration::from_secs(15 * 60);
/// How often all tokens are read, so that also those are known that nobody has used lately.
pub(super) const READ_EVERY: Duration = Duration::from_secs(10);
/// How long an urgent request waits for the store's answer.
pub(super) const AT_ONCE: Duration = Duration::from_millis(25);
/// Tokens that are remembered.
const MOST: usize = 10_000;

/// What the store has last said of tokens.
#[derive(Default)]
pub(super) struct Remembered(Mutex<HashMap<TokenHash, (TokenRecord, Duration)>>);

impl Remembered {
    /// The store has the token, at this moment of the monotonic clock.
    pub(super) fn found(&self, record: &TokenRecord, now: Duration) {
        let mut known = lock(&self.0);
        if known.len() < MOST || known.contains_key(&record.hash) {
            known.insert(record.hash.clone(), (record.clone(), now));
        }
    }

    /// The store has no such token.
    pub(super) fn gone(&self, hash: &TokenHash) {
        lock(&self.0).remove(hash);
    }

    /// A token of that name was revoked.
    pub(super) fn revoked(&self, name: &str) {
        lock(&self.0).retain(|_, (record, _)| record.name != name);
    }

    /// The store has these tokens and no others.
    pub(super) fn all(&self, records: Vec<TokenRecord>, now: Duration) {
        let good = records.into_iter().filter(|record| record.revoked_at.is_none()).take(MOST);
        *lock(&self.0) = good.map(|record| (record.hash.clone(), (record, now))).collect();
    }

    /// What the store has said of a token within the last minutes.
    pub(super) fn get(&self, hash: &TokenHash, now: Duration) -> Option<TokenRecord> {
        let known = lock(&self.0);
        let (record, at) = known.get(hash)?;
        (now.saturating_sub(*at) <= GOOD_FOR).then(|| record.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::access::Role;
    use crate::core::time::Timestamp;

    fn token(name: &str, revoked_at: Option<Timestamp>) -> TokenRecord {
        TokenRecord {
            name: name.to_owned(),
            hash: TokenHash(name.to_owned()),
            role: Role::Operator,
            services: vec!["*".to_owned()],
            created_at: Timestamp(0),
            created_by: "anna".to_owned(),
            expires_at: None,
            revoked_at,
        }
    }

    #[test]
    fn what_the_store_said_is_remembered_for_some_minutes() {
        let remembered = Remembered::default();
        let second = Duration::from_secs(1);
        let is_known = |name: &str, at| remembered.get(&TokenHash(name.to_owned()), at).is_some();
        remembered.found(&token("a", None), second);
        assert!(is_known("a", second + GOOD_FOR));
        assert!(!is_known("a", second * 2 + GOOD_FOR));
        assert!(!is_known("b", second));
        remembered.all(vec![token("b", None), token("c", Some(Timestamp(5)))], second);
        assert_eq!(["a", "b", "c"].map(|name| is_known(name, second)), [false, true, false]);
        remembered.revoked("b");
        assert!(!is_known("b", second));
        remembered.found(&token("d", None), second);
        remembered.gone(&TokenHash("d".to_owned()));
        assert!(!is_known("d", second));
    }
}
