//! What the API knows of people beyond their roles: teams, and the secret of approval links.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, PoisonError, RwLock};

use secrecy::SecretString;

use crate::config::Incoming;

/// Teams, approval links and incoming hooks, which can be replaced while the API serves. Cheap to clone: all clones
/// are one.
#[derive(Clone, Default)]
pub struct People {
    current: Arc<RwLock<Arc<Inner>>>,
}

#[derive(Default)]
struct Inner {
    teams: BTreeMap<String, BTreeSet<String>>,
    link_secret: Option<SecretString>,
    public_url: Option<String>,
    incoming: Arc<Incoming>,
}

impl People {
    /// Teams by name with their members; the secret that links are signed with; where people reach the
    /// daemon, without a slash at the end; what incoming alerts do.
    pub fn new(
        teams: BTreeMap<String, BTreeSet<String>>,
        link_secret: Option<SecretString>,
        public_url: Option<String>,
        incoming: Incoming,
    ) -> People {
        let inner = Inner { teams, link_secret, public_url, incoming: Arc::new(incoming) };
        People { current: Arc::new(RwLock::new(Arc::new(inner))) }
    }

    /// What `other` knows is what all clones know from now on. Links that were signed with another secret cannot be
    /// used any more.
    pub fn replace(&self, other: &People) {
        let other = other.inner();
        *self.current.write().unwrap_or_else(PoisonError::into_inner) = other;
    }

    fn inner(&self) -> Arc<Inner> {
        self.current.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The teams that somebody is in.
    pub(super) fn teams(&self, name: &str) -> Vec<String> {
        let member = |(team, names): (&String, &BTreeSet<String>)| names.contains(name).then(|| team.clone());
        self.inner().teams.iter().filter_map(member).collect()
    }

    pub(super) fn link_secret(&self) -> Option<SecretString> {
        self.inner().link_secret.clone()
    }

    pub(super) fn public_url(&self) -> Option<String> {
        self.inner().public_url.clone()
    }

    pub(super) fn incoming(&self) -> Arc<Incoming> {
        self.inner().incoming.clone()
    }
}
